/* SPDX-License-Identifier: MIT */
/*
 * What the ioctl tests share: TAP output, one process per test with a time limit, the guest's kernel log read after every test, and short
 * names for the ioctls of pim.ko. Every wrapper returns 0 or a negative errno of the one call it makes; nothing is retried.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <drm/pim_drm.h>
#include <pim/hw.h>

/*
 * A guest may be many times slower than a real machine. PIM_TIME_SCALE in the environment says how many: then a test's millisecond is that
 * long, in every function here that takes, gives or waits for milliseconds, and in module parameters. A test's own time is measured with
 * now_ms().
 */
unsigned int time_scale(void);

/* -- tests ---------------------------------------------------------------------------------------------------------- */

struct test {
	const char *name; /* the sentence it proves */
	void (*run)(void);
};

#define TEST_END { NULL, NULL }

extern const struct test param_tests[], gem_tests[], queue_tests[], submit_tests[], sync_tests[], fault_tests[], life_tests[];
extern const struct test authority_tests[], claim_tests[], claim_sync_tests[];
extern const struct test place_tests[], copy_tests[], prime_tests[], import_tests[];
extern const struct test map_tests[], drm_core_tests[], drm_syncobj_tests[], race_tests[], leak_tests[];
extern const struct test stress_tests[]; /* only with --stress */
extern const struct test abi_tests[], observe_tests[];
extern const struct test recovery_tests[], lies_tests[], sleep_tests[];
extern const struct test failnth_tests[]; /* only with --fail-nth */

/* The test's process ends with a message. */
void fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
void skip(const char *why) __attribute__((noreturn));

#define CHECK(c) ((c) ? (void)0 : fail(__FILE__, __LINE__, "%s", #c))
#define CHECK_EQ(a, b) do { \
	long long a_ = (long long)(a), b_ = (long long)(b); \
	if (a_ != b_) \
		fail(__FILE__, __LINE__, "%s is %lld, not %s = %lld", #a, a_, #b, b_); \
} while (0)
#define CHECK_OK(call) CHECK_EQ(call, 0)

/* Path of pim.ko, for the tests that load it again; NULL: not given. */
extern const char *module_path;

#define DRIVER "/sys/bus/pci/drivers/pim"

/* -- the device ----------------------------------------------------------------------------------------------------- */

int dev_open(void);
int dev_open_n(unsigned int n); /* the n-th card; skips the test if there are fewer */
void dev_function(unsigned int n, char name[32]); /* the n-th card's PCI function */
void write_file(const char *path, const char *text); /* a file that is there */
void driver_file(const char *file, const char *text); /* the same, of the driver in sysfs: bind, unbind */
int dev_find(char path[32]); /* -ENODEV: no node of this driver */
int pim_ioctl(int fd, unsigned long request, void *arg);
uint64_t param(int fd, uint32_t which);

int gem_create(int fd, uint64_t size, uint32_t flags, uint32_t domain, uint32_t *handle);
uint32_t gem(int fd, uint64_t size, uint32_t flags, uint32_t domain);
int gem_close(int fd, uint32_t handle);
int gem_offset(int fd, uint32_t handle, uint64_t *offset);
void *gem_map(int fd, uint32_t handle, uint64_t size);

/* A buffer of domain 0 with a CPU mapping, whose first word is 1. mapped_touch() reads that and writes a 2 behind it. */
#define MAPPED_BYTES 65536u
struct mapped {
	int fd;
	uint32_t handle;
	volatile uint32_t *p;
};
struct mapped mapped(uint32_t flags);
void mapped_touch(void *mapped);

struct drm_pim_gem_info gem_info(int fd, uint32_t handle);
int gem_copy(int fd, uint32_t dst, uint64_t dst_off, uint32_t src, uint64_t src_off, uint64_t bytes, unsigned int ms);

/* -- sharing -------------------------------------------------------------------------------------------------------- */

int prime_export(int fd, uint32_t handle); /* a dma-buf, or negative errno */
int prime_import(int fd, int buf, uint32_t *handle);
uint32_t prime_share(int from, uint32_t handle, int to); /* the same buffer as a handle of another file */
void *buf_map(int buf, uint64_t size);
int buf_sync(int buf, uint64_t flags); /* DMA_BUF_SYNC_* */
int buf_fence(int buf, uint32_t flags); /* a sync file of its fences */
int buf_add_fence(int buf, int sync_file, uint32_t flags);
bool fence_signalled(int sync_file, unsigned int ms); /* within the time */
int syncobj_file(int fd, uint32_t handle); /* a sync file */

uint32_t queue_new(int fd);
uint32_t queue_with(int fd, uint32_t priority, uint32_t timeout_ms);
int queue_destroy(int fd, uint32_t queue);
struct drm_pim_queue_query queue_query(int fd, uint32_t queue);

/* The card does its work for a new client. */
void usable(void);

uint32_t syncobj_new(int fd);
int syncobj_wait(int fd, uint32_t handle, uint64_t point, unsigned int ms); /* -ETIME */
int syncobj_status(int fd, uint32_t handle); /* 1: signalled, 0: not yet, else the fence's error */

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

struct drm_pim_job job_nop(uint32_t engine);
struct drm_pim_job job_on(uint32_t engine, struct drm_pim_binding *binding); /* a NOP that names memory */
struct drm_pim_job job_fill(struct drm_pim_binding *binding, struct pim_hw_copy *payload, uint32_t pattern);
struct drm_pim_job job_copy(struct drm_pim_binding binding[2], struct pim_hw_copy *payload);
void job_wait(struct drm_pim_job *job, uint32_t engine, uint64_t seq);

/* in, out: syncobj handles, zero for none */
int submit(int fd, uint32_t queue, const struct drm_pim_job *jobs, uint32_t n, uint32_t in, uint32_t out, uint64_t seq[2]);

/*
 * A PIM program that takes its time: some microseconds per round, 2^18 rounds at most. Its code is read from the buffer (at least SPIN_BYTES)
 * when the job begins, so that spin_code() with zero rounds makes a job that waits end at once.
 */
#define SPIN_BYTES 4096
#define SPIN_SECONDS (1u << 18) /* rounds: seconds on any machine, but no card calls it endless */
void spin_code(volatile uint32_t *code, uint32_t rounds);
struct drm_pim_job job_spin(struct drm_pim_binding *code, struct pim_hw_program *payload);

/* A spinning program of its own buffer; `out` is its fence. */
void spin(int fd, uint32_t queue, uint32_t rounds, uint32_t out);

/*
 * A HOST job in its ring that does not end until gate_open(), or some seconds later: it waits for PIM programs, so both rings are taken.
 * Its fence is `out`.
 */
void gate_close(int fd, uint32_t queue, uint32_t out);
void gate_open(int fd, uint32_t queue, uint32_t out);

/* -- authority ------------------------------------------------------------------------------------------------------ */

uint64_t in_ms(unsigned int ms); /* absolute CLOCK_MONOTONIC ns, for the kernel */
int acquire(int fd, uint32_t domains, uint32_t owner, unsigned int ms);
int acquire_now(int fd, uint32_t domains, uint32_t owner); /* NONBLOCK */
int release(int fd, uint32_t domains);
struct drm_pim_domain_query authority(int fd, uint32_t domain);
void until_waiters(int fd, uint32_t domain, uint32_t n); /* fails after some seconds */

/* -- processes ------------------------------------------------------------------------------------------------------ */

/* A child that runs fn and exits with 0 unless a check in it fails. */
int child(void (*fn)(void *), void *arg);
bool child_ended(int pid, unsigned int ms, int *status); /* within the time */
void child_ok(int pid, unsigned int ms);
void sleep_ms(unsigned int ms);
uint64_t now_ms(void);
void module_param(const char *name, unsigned int value); /* in ms if the name ends with _ms */

#endif
