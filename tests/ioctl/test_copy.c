/* SPDX-License-Identifier: MIT */
/* DRM_IOCTL_PIM_GEM_COPY between buffers of one card. */
#include "harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (1u << 20)
#define READ DRM_PIM_ACCESS_READ
#define WRITE DRM_PIM_ACCESS_WRITE

static void bad_input(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t a = gem(fd, SIZE, 0, 0), b = gem(fd, SIZE, 0, 1), foreign = gem(other, SIZE, 0, 0);

	while (foreign == a || foreign == b)
		foreign = gem(other, 4096, 0, 0);
	CHECK_EQ(gem_copy(fd, 0, 0, a, 0, 8, 100), -ENOENT);
	CHECK_EQ(gem_copy(fd, a, 0, 0, 0, 8, 100), -ENOENT);
	CHECK_EQ(gem_copy(fd, foreign, 0, a, 0, 8, 100), -ENOENT);
	CHECK_EQ(gem_copy(fd, a, 0, b, 0, 0, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 1, b, 0, SIZE, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 0, b, 1, SIZE, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, SIZE, b, 0, 1, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, ~0ull, b, 0, 2, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 0, b, ~0ull - 7, 8, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 8, b, 8, ~0ull, 100), -EINVAL);
	CHECK_OK(gem_copy(fd, a, 0, b, 0, SIZE, 0));
}

static void overlap(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t a = gem(fd, SIZE, 0, 0), again;

	CHECK_EQ(gem_copy(fd, a, 0, a, 0, 8, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 7, a, 0, 8, 100), -EINVAL);
	CHECK_EQ(gem_copy(fd, a, 0, a, 7, 8, 100), -EINVAL);
	CHECK_OK(gem_copy(fd, a, 8, a, 0, 8, 100));
	CHECK_OK(gem_copy(fd, a, 0, a, SIZE / 2, SIZE / 2, 100));
	/* Under another name it is still one buffer. */
	again = prime_share(other, prime_share(fd, a, other), fd);
	CHECK_EQ(again, a);
}

static void copies(void)
{
	int fd = dev_open();
	struct {
		uint32_t flags, domain;
	} place[] = { { 0, 0 }, { 0, 1 }, { DRM_PIM_GEM_WINDOW, 0 }, { DRM_PIM_GEM_SIGBUS, 1 } };
	uint64_t off[] = { 0, 1, 4095, 65537 }, bytes[] = { 1, 7, 4096, 65536, 200003 }, n;
	unsigned int s, d, i, k;

	for (s = 0; s < 4; s++) {
		for (d = 0; d < 4; d++) {
			uint32_t from = gem(fd, SIZE, place[s].flags, place[s].domain);
			uint32_t to = gem(fd, SIZE, place[d].flags, place[d].domain);
			uint8_t *p = gem_map(fd, from, SIZE), *q = gem_map(fd, to, SIZE);

			for (i = 0; i < SIZE; i += 4)
				*(uint32_t *)(p + i) = i * 2654435761u;
			for (i = 0; i < 5; i++) {
				k = (i + s + d) % 4;
				n = bytes[i];
				memset(q, 0x11, SIZE / 2);
				CHECK_OK(gem_copy(fd, to, off[k], from, off[3 - k], n, 1000));
				CHECK(!memcmp(q + off[k], p + off[3 - k], n));
				CHECK(!off[k] || q[off[k] - 1] == 0x11);
				CHECK_EQ(q[off[k] + n], 0x11);
			}
			munmap(p, SIZE);
			munmap(q, SIZE);
			CHECK_OK(gem_close(fd, from));
			CHECK_OK(gem_close(fd, to));
		}
	}
}

static void needs_host(void)
{
	int fd = dev_open();
	uint32_t a = gem(fd, SIZE, 0, 0), b = gem(fd, SIZE, 0, 1), w = gem(fd, SIZE, DRM_PIM_GEM_WINDOW, 0);
	uint64_t start;

	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	start = now_ms();
	CHECK_EQ(gem_copy(fd, b, 0, a, 0, 8, 60), -ETIME);
	CHECK(now_ms() - start >= 55);
	CHECK_EQ(gem_copy(fd, a, 0, b, 0, 8, 30), -ETIME);
	CHECK_EQ(gem_copy(fd, a, 0, w, 0, 8, 0), -ETIME);
	CHECK_OK(gem_copy(fd, b, 0, w, 0, 8, 0));
	CHECK_OK(release(fd, 1));
	CHECK_OK(gem_copy(fd, b, 0, a, 0, 8, 0));
}

struct one {
	int fd;
	uint32_t dst, src;
};

static void copy_one(void *arg)
{
	struct one *o = arg;

	CHECK_OK(gem_copy(o->fd, o->dst, 0, o->src, 0, SIZE, 30000));
}

static void waits_for_host(void)
{
	struct one o = { .fd = dev_open() };
	int pid, status;

	o.dst = gem(o.fd, SIZE, 0, 0);
	o.src = gem(o.fd, SIZE, 0, 1);
	CHECK_OK(acquire(o.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(copy_one, &o);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(release(o.fd, 1));
	child_ok(pid, 5000);
}

static void killed(void)
{
	struct one o = { .fd = dev_open() };
	int pid, status;

	o.dst = gem(o.fd, SIZE, 0, 0);
	o.src = gem(o.fd, SIZE, 0, 1);
	CHECK_OK(acquire(o.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(copy_one, &o);
	CHECK(!child_ended(pid, 50, &status));
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 2000, &status));
	/* It did not keep the other domain. */
	CHECK_OK(acquire(o.fd, 1, DRM_PIM_OWNER_HOST, 1000));
	CHECK_OK(release(o.fd, 1));
	CHECK_OK(acquire(o.fd, 3, DRM_PIM_OWNER_PIM, 1000));
}

static void fences(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), held = syncobj_new(fd), a = gem(fd, SIZE, 0, 0), b = gem(fd, SIZE, 0, 1);
	struct drm_pim_binding reads = { .handle = a, .access = READ, .bytes = SIZE };
	struct drm_pim_binding writes = { .handle = b, .access = WRITE, .bytes = SIZE };
	struct pim_hw_copy payload;
	struct drm_pim_job reader = job_on(DRM_PIM_ENGINE_HOST, &reads), writer = job_fill(&writes, &payload, 0x5a5a5a5a);
	volatile uint32_t *p = gem_map(fd, a, SIZE);

	gate_close(fd, q, held);
	CHECK_OK(submit(fd, q, &reader, 1, 0, 0, NULL));
	/* A reader keeps nobody from reading, only from writing. */
	CHECK_OK(gem_copy(fd, b, 0, a, 0, 8, 50));
	CHECK_EQ(gem_copy(fd, a, 0, b, 0, 8, 50), -ETIME);
	CHECK_OK(submit(fd, q, &writer, 1, 0, 0, NULL));
	CHECK_EQ(gem_copy(fd, b, 0, a, 0, 8, 50), -ETIME);
	gate_open(fd, q, held);
	CHECK_OK(gem_copy(fd, a, 0, b, 0, SIZE, 5000));
	CHECK_EQ(p[0], 0x5a5a5a5a);
	CHECK_EQ(p[SIZE / 4 - 1], 0x5a5a5a5a);
}

static void note(int sig)
{
	(void)sig;
}

static void interrupted_copy(void *arg)
{
	struct sigaction act = { .sa_handler = note };
	struct one *o = arg;

	CHECK_OK(sigaction(SIGUSR1, &act, NULL));
	CHECK_EQ(gem_copy(o->fd, o->dst, 0, o->src, 0, 8, 30000), -EINTR);
}

static void interrupted(void)
{
	struct one o = { .fd = dev_open() };
	uint32_t q = queue_new(o.fd), held = syncobj_new(o.fd);
	struct drm_pim_binding b = { .access = WRITE, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &b);
	int pid, status;

	b.handle = o.src = gem(o.fd, SIZE, 0, 1);
	o.dst = gem(o.fd, SIZE, 0, 0);
	gate_close(o.fd, q, held);
	CHECK_OK(submit(o.fd, q, &job, 1, 0, 0, NULL));
	pid = child(interrupted_copy, &o);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(kill(pid, SIGUSR1));
	child_ok(pid, 2000);
	gate_open(o.fd, q, held);
}

static void copy_for_a_while(void *arg)
{
	struct one *o = arg;
	uint64_t end = now_ms() + 1500;

	while (now_ms() < end)
		CHECK_OK(gem_copy(o->fd, o->dst, 0, o->src, 0, SIZE, 10000));
}

/* Two copies in opposite directions and a claim of both domains, over and over: nobody waits for ever. */
static void no_deadlock(void)
{
	struct one to = { .fd = dev_open() }, fro;
	int claimer = dev_open(), a, b, status;
	uint32_t rounds = 0;
	bool end_a = false, end_b = false;

	to.dst = gem(to.fd, SIZE, 0, 0);
	to.src = gem(to.fd, SIZE, 0, 1);
	fro = (struct one){ .fd = to.fd, .dst = to.src, .src = to.dst };
	a = child(copy_for_a_while, &to);
	b = child(copy_for_a_while, &fro);
	while (!end_a || !end_b) {
		CHECK_OK(acquire(claimer, 3, DRM_PIM_OWNER_PIM, 10000));
		CHECK_OK(release(claimer, 3));
		rounds++;
		if (!end_a && child_ended(a, 1, &status)) {
			end_a = true;
			CHECK_EQ(status, 0);
		}
		if (!end_b && child_ended(b, 1, &status)) {
			end_b = true;
			CHECK_EQ(status, 0);
		}
	}
	CHECK(rounds > 10);
}

const struct test copy_tests[] = {
	{ "a copy with a handle of nobody, of no bytes or out of range is refused", bad_input },
	{ "a copy within one buffer must not overlap", overlap },
	{ "a copy moves the bytes asked for and no others, between any two places", copies },
	{ "a copy from or to a domain that HOST does not have times out, one of the window does not", needs_host },
	{ "a copy goes on once HOST has the domain", waits_for_host },
	{ "a copy killed while it waits keeps no domain", killed },
	{ "a copy waits for writers of its source and for everybody of its destination", fences },
	{ "a copy that waits for a fence is interrupted by a signal", interrupted },
	{ "copies in both directions and claims of both domains do not deadlock", no_deadlock },
	TEST_END
};
