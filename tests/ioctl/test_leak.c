/* SPDX-License-Identifier: MIT */
/*
 * Nothing is left of processes that are killed with everything in use: cycles of open, create, claim, map, submit, kill -9. The default run
 * does some, "make test-stress" ten thousand.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536u
#define AT_ONCE 4 /* processes that live at the same time */

/* -- what there is ------------------------------------------------------------------------------------------------------- */

struct usage {
	uint32_t queues; /* that one file can have */
	uint32_t bytes_ok; /* domains and window that can be had as a whole: one bit each */
	int descriptors;
	long jobs; /* in the slab */
	long unreclaimable_kib, available_kib;
};

static long number_in(const char *file, const char *key)
{
	char line[256];
	long value = -1;
	FILE *f = fopen(file, "r");

	CHECK(f);
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			CHECK_EQ(sscanf(line + strlen(key), "%ld", &value), 1);
	fclose(f);
	return value;
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void shrink(const char *cache)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "1", 1), 1);
	close(fd);
}

static long jobs_left(void)
{
	shrink("pim_job");
	return number_in("/proc/slabinfo", "pim_job ");
}

static struct usage usage(void)
{
	struct usage u = { .descriptors = descriptors() };
	uint64_t end = now_ms() + 20000;
	struct drm_pim_queue_create c = { 0 };
	int fd = dev_open();
	uint32_t n = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS), d, h;
	int ret;

	while (jobs_left() && now_ms() < end) /* those of the dead end first, and are freed by a worker */
		sleep_ms(20);
	sleep_ms(100);
	for (d = 0; d < n; d++) {
		CHECK_EQ(authority(fd, d).owner, DRM_PIM_OWNER_HOST);
		CHECK_EQ(authority(fd, d).holder, 0);
		CHECK_OK(acquire_now(fd, 1u << d, DRM_PIM_OWNER_PIM));
		CHECK_OK(release(fd, 1u << d));
		u.bytes_ok |= gem_create(fd, param(fd, DRM_PIM_PARAM_DOMAIN_BYTES), 0, d, &h) ? 0 : 1u << d;
	}
	u.bytes_ok |= gem_create(fd, param(fd, DRM_PIM_PARAM_WINDOW_BYTES) & ~(uint64_t)(SIZE - 1), DRM_PIM_GEM_WINDOW, 0, &h) ? 0 : 1u << n;
	while (!(ret = pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c)))
		u.queues++;
	CHECK_EQ(ret, -ENOSPC);
	close(fd);
	u.jobs = jobs_left();
	u.unreclaimable_kib = number_in("/proc/meminfo", "SUnreclaim:");
	u.available_kib = number_in("/proc/meminfo", "MemAvailable:");
	return u;
}

static void usage_print(const char *when, const struct usage *u)
{
	printf("# %s: %u queues, memory %#x, %d descriptors, %ld jobs in the slab, slab %ld KiB, available %ld KiB\n", when, u->queues, u->bytes_ok,
	       u->descriptors, u->jobs, u->unreclaimable_kib, u->available_kib);
	fflush(stdout);
}

/* -- a life -------------------------------------------------------------------------------------------------------------- */

/* Takes some of everything and dies by its own hand or its parent's, by the cycle's number at another place each time. */
static void life(uint32_t cycle)
{
	int fd = dev_open(), i;
	uint32_t n = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS), d = cycle % n, die = cycle / n % 6;
	uint32_t q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd);
	struct drm_pim_binding b = { .handle = gem(fd, SIZE, 0, d), .access = 3, .bytes = SIZE };
	uint32_t w = gem(fd, SIZE, DRM_PIM_GEM_WINDOW, 0);
	volatile uint32_t *p = gem_map(fd, b.handle, SIZE), *pw = gem_map(fd, w, SIZE);
	struct pim_hw_copy payload;
	struct drm_pim_job jobs[8];
	struct drm_syncobj_handle h = { .handle = out, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1 };
	bool owned;

	p[0] = pw[0] = cycle;
	if (die == 0)
		raise(SIGKILL);
	owned = !acquire(fd, 1u << d, cycle % 2 ? DRM_PIM_OWNER_AUTO : DRM_PIM_OWNER_PIM, cycle % 3 ? 1000 : 0);
	if (die == 1)
		raise(SIGKILL);
	for (i = 0; i < 8; i++)
		jobs[i] = i % 2 ? job_nop(DRM_PIM_ENGINE_HOST) : job_on(DRM_PIM_ENGINE_PIM, &b);
	for (i = 0; !owned && i < 8; i++)
		jobs[i] = job_nop((uint32_t)i % 2);
	if (owned && cycle % 2)
		jobs[7] = job_fill(&b, &payload, cycle);
	CHECK_OK(submit(fd, q, jobs, 8, 0, in, NULL));
	if (die == 2)
		raise(SIGKILL);
	CHECK_OK(submit(fd, queue_new(fd), jobs, 8, in, out, NULL)); /* waits for the first */
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	if (die == 3)
		raise(SIGKILL);
	if (die == 4)
		p[1] = 1; /* waits for the memory */
	if (die == 5)
		syncobj_wait(fd, out, 0, 5000);
	pause(); /* for the parent */
}

static void birth(int *pid, uint32_t cycle)
{
	fflush(stdout);
	*pid = fork();
	CHECK(*pid >= 0);
	if (!*pid)
		life(cycle);
}

static void bury(int *pid)
{
	int status;

	if (!*pid)
		return;
	kill(*pid, SIGKILL);
	CHECK_EQ(waitpid(*pid, &status, 0), *pid);
	/* A check that fails ends it otherwise. */
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	*pid = 0;
}

static void bury_all(int pid[AT_ONCE])
{
	int i;

	for (i = 0; i < AT_ONCE; i++)
		bury(&pid[i]);
}

static void cycles(uint32_t total)
{
	struct usage before, after, half = { 0 };
	int pid[AT_ONCE] = { 0 };
	uint64_t t0;
	uint32_t c;

	for (c = 0; c < 200; c++) { /* so that caches have what they will have */
		birth(&pid[0], c);
		bury(&pid[0]);
	}
	before = usage();
	usage_print("before", &before);
	t0 = now_ms();
	for (c = 0; c < total; c++) {
		if (c == total / 2) {
			bury_all(pid);
			half = usage();
			usage_print("half-way", &half);
		}
		bury(&pid[c % AT_ONCE]);
		birth(&pid[c % AT_ONCE], c);
	}
	bury_all(pid);
	printf("# %u cycles, %.1f ms each\n", total, (double)(now_ms() - t0) / total);
	after = usage();
	usage_print("after", &after);

	CHECK_EQ(after.queues, before.queues);
	CHECK_EQ(after.bytes_ok, before.bytes_ok);
	CHECK_EQ(after.descriptors, before.descriptors);
	CHECK_EQ(after.jobs, 0);
	/* The kernel's own memory goes up and down by itself; a leak of the smallest object per cycle would be 64 bytes. */
	CHECK(after.unreclaimable_kib - half.unreclaimable_kib < 256 + (long)total / 2 * 64 / 1024);
	CHECK(half.available_kib - after.available_kib < 4096 + (long)total / 2 / 2);
}

static void some(void)
{
	cycles(300);
}

static void ten_thousand(void)
{
	cycles(10000);
}

const struct test leak_tests[] = {
	{ "leak: 300 processes killed with everything in use leave nothing behind", some },
	TEST_END
};

const struct test stress_tests[] = {
	{ "leak: 10,000 processes killed with everything in use leave nothing behind", ten_thousand },
	TEST_END
};
