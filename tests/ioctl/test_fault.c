/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE MAPPED_BYTES
#define PIM DRM_PIM_OWNER_PIM

static void blocks(const uint32_t owner)
{
	struct mapped r = mapped(0);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, owner, 1000));
	pid = child(mapped_touch, &r);
	CHECK(!child_ended(pid, 300, &status));
	CHECK_OK(release(r.fd, 1));
	child_ok(pid, 5000);
	CHECK_EQ(r.p[1], 2);
}

static void blocks_pim(void)
{
	blocks(PIM);
}

static void blocks_auto(void)
{
	blocks(DRM_PIM_OWNER_AUTO);
}

static void host_claim(void)
{
	struct mapped r = mapped(0);

	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_HOST, 1000));
	mapped_touch(&r);
}

static void window(void)
{
	struct mapped r = mapped(DRM_PIM_GEM_WINDOW);

	CHECK_OK(acquire(r.fd, 1, PIM, 1000));
	mapped_touch(&r);
}

static void other_domain(void)
{
	int fd = dev_open();
	struct mapped r = { .fd = fd };

	if (param(fd, DRM_PIM_PARAM_DOMAINS) < 2)
		skip("the card has too few domains: use cards/test-4dom.card");
	r.p = gem_map(fd, gem(fd, SIZE, 0, 1), SIZE);
	r.p[0] = 1;
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	mapped_touch(&r);
}

static void killable(void)
{
	struct mapped r = mapped(0);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, PIM, 1000));
	pid = child(mapped_touch, &r);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 2000, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_OK(release(r.fd, 1));
}

static void say_and_exit(int sig)
{
	(void)sig;
	_exit(42);
}

static void touch_with_handler(void *arg)
{
	struct sigaction act = { .sa_handler = say_and_exit };

	CHECK_OK(sigaction(SIGUSR1, &act, NULL));
	mapped_touch(arg);
}

static void signals_are_seen(void)
{
	struct mapped r = mapped(0);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, PIM, 1000));
	pid = child(touch_with_handler, &r);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(kill(pid, SIGUSR1));
	CHECK(child_ended(pid, 2000, &status));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void sigbus(void)
{
	struct mapped r = mapped(DRM_PIM_GEM_SIGBUS);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, PIM, 1000));
	pid = child(mapped_touch, &r);
	CHECK(child_ended(pid, 2000, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	CHECK_OK(release(r.fd, 1));
	mapped_touch(&r);
}

/* The kernel's own access to such memory: an argument of a system call. */
static void read_into(void *arg)
{
	struct mapped *r = arg;
	int io[2];

	CHECK_OK(pipe(io));
	CHECK_EQ(write(io[1], "data", 4), 4);
	CHECK_EQ(read(io[0], (void *)&r->p[4], 4), 4);
}

static void system_call(void)
{
	struct mapped r = mapped(0);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, PIM, 1000));
	pid = child(read_into, &r);
	CHECK(!child_ended(pid, 200, &status));
	CHECK_OK(release(r.fd, 1));
	child_ok(pid, 5000);
	CHECK(!memcmp((void *)&r.p[4], "data", 4));
}

static void ten_times(void)
{
	struct mapped r = mapped(0);
	uint32_t i;

	for (i = 0; i < 10; i++) {
		r.p[i * 16] = i;
		CHECK_OK(acquire(r.fd, 1, PIM, 1000));
		CHECK_OK(release(r.fd, 1));
		CHECK_EQ(r.p[i * 16], i);
	}
}

static void count_up(void *arg)
{
	struct mapped *r = arg;
	uint64_t end = now_ms() + 1000;

	while (now_ms() < end)
		(*r->p)++;
}

/* While one process writes without end, ownership goes back and forth; no write may land while PIM has the memory. */
static void no_write_in_tenure(void)
{
	struct mapped r = mapped(0);
	uint32_t q = queue_new(r.fd), done = syncobj_new(r.fd), rounds = 0, wait = gem(r.fd, SIZE, DRM_PIM_GEM_WINDOW, 0);
	volatile uint32_t *seen = gem_map(r.fd, wait, SIZE);
	struct drm_pim_binding b[2] = {
		{ .handle = r.handle, .access = DRM_PIM_ACCESS_READ, .bytes = SIZE },
		{ .handle = wait, .access = DRM_PIM_ACCESS_WRITE, .bytes = SIZE },
	};
	struct pim_hw_copy payload;
	struct drm_pim_job copy = job_copy(b, &payload);
	int pid = child(count_up, &r), status;
	uint32_t first;

	/* AUTO shuts the CPU out and lets the HOST engine read the counter twice. */
	while (!child_ended(pid, 10, &status)) {
		CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_AUTO, 5000));
		CHECK_OK(submit(r.fd, q, &copy, 1, 0, done, NULL));
		CHECK_OK(syncobj_wait(r.fd, done, 0, 5000));
		CHECK_EQ(syncobj_status(r.fd, done), 1);
		first = seen[0];
		sleep_ms(5);
		CHECK_OK(submit(r.fd, q, &copy, 1, 0, done, NULL));
		CHECK_OK(syncobj_wait(r.fd, done, 0, 5000));
		CHECK_EQ(seen[0], first);
		CHECK_OK(release(r.fd, 1));
		rounds++;
	}
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
	CHECK(rounds >= 3);
}

const struct test fault_tests[] = {
	{ "a CPU access while PIM has the domain waits for its release", blocks_pim },
	{ "a CPU access while the domain is AUTO waits for its release", blocks_auto },
	{ "a CPU access while HOST has the claim goes on", host_claim },
	{ "a window buffer is reachable while PIM has the domain", window },
	{ "a buffer of another domain is reachable", other_domain },
	{ "a waiting CPU access can be killed", killable },
	{ "a waiting CPU access sees signals", signals_are_seen },
	{ "with the flag a CPU access gets SIGBUS instead", sigbus },
	{ "a system call that needs the memory waits for it", system_call },
	{ "data survives hand-overs", ten_times },
	{ "no CPU write lands while the CPU is shut out", no_write_in_tenure },
	TEST_END
};
