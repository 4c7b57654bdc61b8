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

extern const struct test param_tests[], gem_tests[], queue_tests[], submit_tests[], sync_tests[], authority_tests[], fault_tests[],
	life_tests[], failnth_tests[];

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

/* -- the device ----------------------------------------------------------------------------------------------------- */

int dev_open(void);
int dev_find(char path[32]); /* -ENODEV: no node of this driver */
int pim_ioctl(int fd, unsigned long request, void *arg);
uint64_t param(int fd, uint32_t which);

int gem_create(int fd, uint64_t size, uint32_t flags, uint32_t domain, uint32_t *handle);
uint32_t gem(int fd, uint64_t size, uint32_t flags, uint32_t domain);
int gem_close(int fd, uint32_t handle);
int gem_offset(int fd, uint32_t handle, uint64_t *offset);
void *gem_map(int fd, uint32_t handle, uint64_t size);

uint32_t queue_new(int fd);
int queue_destroy(int fd, uint32_t queue);
struct drm_pim_queue_query queue_query(int fd, uint32_t queue);

uint32_t syncobj_new(int fd);
int syncobj_wait(int fd, uint32_t handle, uint64_t point, unsigned int ms); /* -ETIME */
int syncobj_status(int fd, uint32_t handle); /* 1: signalled, 0: not yet, else the fence's error */

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

struct submit {
	struct drm_pim_submit args;
	struct drm_pim_sync in, out;
};

struct drm_pim_job job_nop(uint32_t engine);
struct drm_pim_job job_on(uint32_t engine, struct drm_pim_binding *binding); /* a NOP that names memory */
struct drm_pim_job job_fill(struct drm_pim_binding *binding, struct pim_hw_copy *payload, uint32_t pattern);
struct drm_pim_job job_copy(struct drm_pim_binding binding[2], struct pim_hw_copy *payload);
void job_wait(struct drm_pim_job *job, uint32_t engine, uint64_t seq);

/* in, out: syncobj handles, zero for none */
int submit(int fd, uint32_t queue, const struct drm_pim_job *jobs, uint32_t n, uint32_t in, uint32_t out, uint64_t seq[2]);

/*
 * A HOST job that does not end until gate_open(): it closes a batch that the PIM engine has not closed yet. Its fence is `out`.
 */
void gate_close(int fd, uint32_t queue, uint32_t out);
void gate_open(int fd, uint32_t queue, uint32_t out);

/* -- authority ------------------------------------------------------------------------------------------------------ */

uint64_t in_ms(unsigned int ms); /* absolute CLOCK_MONOTONIC ns, for the kernel */
int acquire(int fd, uint32_t domains, uint32_t owner, unsigned int ms);
int acquire_now(int fd, uint32_t domains, uint32_t owner); /* NONBLOCK */
int release(int fd, uint32_t domains);
struct drm_pim_authority authority(int fd, uint32_t domain);

/* -- processes ------------------------------------------------------------------------------------------------------ */

/* A child that runs fn and exits with 0 unless a check in it fails. */
int child(void (*fn)(void *), void *arg);
bool child_ended(int pid, unsigned int ms, int *status); /* within the time */
void child_ok(int pid, unsigned int ms);
void sleep_ms(unsigned int ms);
uint64_t now_ms(void);
void module_param(const char *name, unsigned int value); /* in ms if the name ends with _ms */

#endif
