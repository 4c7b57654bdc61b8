/* SPDX-License-Identifier: MIT */
/* Authority by fences: claims that come after fences and signal fences. */
#include "harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOST DRM_PIM_OWNER_HOST
#define PIM DRM_PIM_OWNER_PIM
#define SIZE 65536u

static int change(int fd, uint32_t op, uint32_t flags, uint32_t owner, uint32_t in, uint64_t in_point, uint32_t out, uint64_t out_point)
{
	struct drm_pim_sync si = { .handle = in, .point = in_point }, so = { .handle = out, .point = out_point };
	struct drm_pim_authority a = {
		.op = op, .flags = flags, .domains = 1, .owner = owner, .nin = !!in, .nout = !!out, .in_syncs = (uintptr_t)&si,
		.out_syncs = (uintptr_t)&so,
	};

	if (op == DRM_PIM_AUTHORITY_ACQUIRE)
		a.timeout_ns = in_ms(3000);
	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

static int acquire_after(int fd, uint32_t owner, uint32_t in, uint32_t out)
{
	return change(fd, DRM_PIM_AUTHORITY_ACQUIRE, DRM_PIM_AUTHORITY_ASYNC, owner, in, 0, out, 0);
}

static int release_after(int fd, uint32_t in, uint32_t out)
{
	return change(fd, DRM_PIM_AUTHORITY_RELEASE, DRM_PIM_AUTHORITY_ASYNC, 0, in, 0, out, 0);
}

static void bad_syncs(void)
{
	int fd = dev_open();
	uint32_t empty = syncobj_new(fd), s = syncobj_new(fd);
	struct drm_pim_sync pad = { .handle = s, .pad = 1 };
	struct drm_pim_authority a = { .domains = 1, .timeout_ns = in_ms(100), .nout = 1, .out_syncs = (uintptr_t)&pad };

	CHECK_EQ(acquire_after(fd, PIM, 0xdead, s), -ENOENT);
	CHECK_EQ(acquire_after(fd, PIM, empty, s), -EINVAL); /* no fence yet */
	CHECK_EQ(acquire_after(fd, PIM, 0, 0xdead), -ENOENT);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a), -EINVAL);
	CHECK_EQ(release_after(fd, 0, s), -ENOENT);
	CHECK_EQ(syncobj_wait(fd, s, 0, 0), -EINVAL); /* nothing was left in it */
	CHECK_EQ(authority(fd, 0).holder, 0);
}

static void comes_after(void)
{
	int fd = dev_open(), pid, status;
	uint32_t q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), handle = gem(fd, SIZE, 0, 0);
	volatile uint32_t *p = gem_map(fd, handle, SIZE);
	struct drm_pim_domain_query s;

	*p = 5;
	gate_close(fd, q, in);
	CHECK_OK(acquire_after(fd, PIM, in, out));
	s = authority(fd, 0);
	CHECK_EQ(s.owner, HOST); /* not yet */
	CHECK_EQ(s.holder, getpid());
	CHECK_EQ(syncobj_wait(fd, out, 0, 50), -ETIME);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(*p != 5); /* but the CPU is out already */
	CHECK(!child_ended(pid, 200, &status));
	gate_open(fd, q, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(fd, out), 1);
	CHECK_EQ(authority(fd, 0).owner, PIM);
	CHECK_OK(release(fd, 1));
	child_ok(pid, 5000);
}

/* The whole round without a wait in between: fill by HOST, to PIM, a job there, back to HOST, a copy there. */
static void round_trip(void)
{
	int fd = dev_open();
	struct drm_pim_binding b = { .handle = gem(fd, SIZE, 0, 0), .access = 3, .bytes = SIZE };
	struct drm_pim_binding w[2] = { b, { .handle = gem(fd, SIZE, DRM_PIM_GEM_WINDOW, 0), .access = 3, .bytes = SIZE } };
	uint32_t q = queue_new(fd), gateq = queue_new(fd), s[6], i, round;
	struct drm_pim_job fill, copy, job = job_on(DRM_PIM_ENGINE_PIM, &b);
	struct pim_hw_copy pf, pc;
	volatile uint32_t *p = gem_map(fd, w[1].handle, SIZE);

	for (i = 0; i < 6; i++)
		s[i] = syncobj_new(fd);
	for (round = 0; round < 5; round++) {
		fill = job_fill(&b, &pf, 1000 + round);
		copy = job_copy(w, &pc);
		gate_close(fd, gateq, s[0]);
		CHECK_OK(submit(fd, q, &fill, 1, s[0], s[1], NULL));
		CHECK_OK(acquire_after(fd, PIM, s[1], s[2]));
		CHECK_OK(submit(fd, q, &job, 1, s[2], s[3], NULL));
		CHECK_OK(release_after(fd, s[3], s[4]));
		CHECK_OK(submit(fd, q, &copy, 1, s[4], s[5], NULL));
		CHECK_EQ(authority(fd, 0).owner, HOST);
		gate_open(fd, gateq, 0);
		CHECK_OK(syncobj_wait(fd, s[5], 0, 5000));
		for (i = 1; i < 6; i++)
			CHECK_EQ(syncobj_status(fd, s[i]), 1);
		CHECK_EQ(p[SIZE / 4 - 1], 1000 + round);
		CHECK_EQ(authority(fd, 0).holder, 0);
	}
	CHECK_EQ(queue_query(fd, q).status, 0);
}

static void timeline(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), in = syncobj_new(fd), line = syncobj_new(fd);

	gate_close(fd, q, in);
	CHECK_OK(change(fd, DRM_PIM_AUTHORITY_ACQUIRE, DRM_PIM_AUTHORITY_ASYNC, PIM, in, 0, line, 3));
	CHECK_OK(change(fd, DRM_PIM_AUTHORITY_RELEASE, DRM_PIM_AUTHORITY_ASYNC, 0, line, 3, line, 7));
	CHECK_EQ(syncobj_wait(fd, line, 3, 20), -ETIME);
	gate_open(fd, q, 0);
	CHECK_OK(syncobj_wait(fd, line, 7, 5000));
	CHECK_OK(syncobj_wait(fd, line, 3, 0));
	CHECK_EQ(authority(fd, 0).owner, HOST);
	CHECK_EQ(authority(fd, 0).handovers % 2, 0);
}

/* Fences that are made of others, together: a point on a timeline, and the end of jobs on both engines. */
static void composed(void)
{
	int fd = dev_open();
	struct drm_pim_job jobs[2] = { job_nop(DRM_PIM_ENGINE_HOST), job_nop(DRM_PIM_ENGINE_PIM) };
	uint32_t q = queue_new(fd), gateq = queue_new(fd), gate = syncobj_new(fd), line = syncobj_new(fd), both = syncobj_new(fd), i;
	uint32_t out = syncobj_new(fd);
	struct drm_pim_sync in[2] = { { .handle = line, .point = 2 }, { .handle = both } }, so = { .handle = out };
	struct drm_pim_authority a = {
		.flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 1, .owner = PIM, .timeout_ns = in_ms(3000), .nin = 2, .nout = 1,
		.in_syncs = (uintptr_t)in, .out_syncs = (uintptr_t)&so,
	};

	gate_close(fd, gateq, gate);
	for (i = 1; i <= 2; i++) {
		struct drm_pim_sync g = { .handle = gate }, o = { .handle = line, .point = i };
		struct drm_pim_submit s = {
			.queue = q, .njobs = 2, .jobs = (uintptr_t)jobs, .nin = 1, .in_syncs = (uintptr_t)&g, .nout = 1, .out_syncs = (uintptr_t)&o,
		};

		CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s));
	}
	CHECK_OK(submit(fd, q, jobs, 2, gate, both, NULL));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a));
	CHECK_EQ(syncobj_wait(fd, out, 0, 20), -ETIME);
	gate_open(fd, gateq, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(authority(fd, 0).owner, PIM);
	CHECK_OK(syncobj_wait(fd, line, 2, 0));
	CHECK_OK(syncobj_wait(fd, both, 0, 0));
	CHECK_OK(release(fd, 1));
}

/* The out fence of a call that waits signals, too. */
static void synchronous(void)
{
	int fd = dev_open();
	uint32_t out = syncobj_new(fd);

	CHECK_OK(change(fd, DRM_PIM_AUTHORITY_ACQUIRE, 0, PIM, 0, 0, out, 0));
	CHECK_EQ(syncobj_status(fd, out), 1);
	CHECK_OK(change(fd, DRM_PIM_AUTHORITY_RELEASE, 0, 0, out, 0, out, 0));
	CHECK_EQ(syncobj_status(fd, out), 1);
}

static void promised(void)
{
	int fd = dev_open(), other = dev_open();
	struct drm_pim_binding b = { .handle = gem(fd, SIZE, 0, 0), .access = 3, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &b);
	uint32_t q = queue_new(fd), gateq = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), done = syncobj_new(fd);

	gate_close(fd, gateq, in);
	CHECK_OK(acquire_after(fd, PIM, in, out));
	CHECK_EQ(acquire_now(other, 1, PIM), -EBUSY);
	/* A job that does not wait for the hand-over comes too early. */
	CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 5000));
	CHECK_EQ(syncobj_status(fd, done), -EACCES);
	gate_open(fd, gateq, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_OK(release(fd, 1));
}

static void cancelled(void)
{
	int fd = dev_open(), keep = dev_open();
	uint32_t q = queue_new(keep), in = syncobj_new(keep), out = syncobj_new(keep);
	struct drm_syncobj_handle h = { .handle = in, .fd = -1 };
	uint64_t n = authority(keep, 0).revocations;
	struct drm_pim_sync si, so;
	struct drm_pim_authority a;

	/* A deadline that comes before the fence. */
	gate_close(keep, q, in);
	si = (struct drm_pim_sync){ .handle = in };
	so = (struct drm_pim_sync){ .handle = out };
	a = (struct drm_pim_authority){
		.flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 1, .owner = PIM, .timeout_ns = in_ms(1000), .deadline_ns = in_ms(100),
		.nin = 1, .nout = 1, .in_syncs = (uintptr_t)&si, .out_syncs = (uintptr_t)&so,
	};
	CHECK_OK(pim_ioctl(keep, DRM_IOCTL_PIM_AUTHORITY, &a));
	CHECK_OK(syncobj_wait(keep, out, 0, 5000));
	CHECK_EQ(syncobj_status(keep, out), -ECANCELED);
	CHECK_EQ(authority(keep, 0).holder, 0);
	CHECK(authority(keep, 0).revocations >= n);

	/* A file that is closed before it. */
	CHECK_OK(pim_ioctl(keep, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &h));
	in = h.handle;
	h = (struct drm_syncobj_handle){ .handle = out, .fd = -1 };
	CHECK_OK(pim_ioctl(keep, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &h));
	CHECK_OK(acquire_after(fd, PIM, in, h.handle));
	CHECK_EQ(syncobj_wait(keep, out, 0, 20), -ETIME);
	CHECK_OK(close(fd));
	CHECK_OK(syncobj_wait(keep, out, 0, 5000));
	CHECK_EQ(syncobj_status(keep, out), -ECANCELED);
	CHECK_EQ(authority(keep, 0).holder, 0);
	gate_open(keep, q, 0);
	CHECK_OK(acquire(keep, 1, PIM, 1000));
	CHECK_OK(release(keep, 1));
}

static void nothing(int sig)
{
	(void)sig;
}

/* A call that waits for a fence is interrupted: nothing has changed. */
static void interrupted(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), handle = gem(fd, SIZE, 0, 0);
	struct sigaction act = { .sa_handler = nothing };
	volatile uint32_t *p = gem_map(fd, handle, SIZE);

	CHECK_OK(sigaction(SIGALRM, &act, NULL));
	gate_close(fd, q, in);
	alarm(1);
	CHECK_EQ(change(fd, DRM_PIM_AUTHORITY_ACQUIRE, 0, PIM, in, 0, out, 0), -EINTR);
	CHECK_EQ(authority(fd, 0).holder, 0);
	CHECK_EQ(syncobj_status(fd, out), -ECANCELED);
	*p = 1; /* the CPU has it */
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	alarm(1);
	CHECK_EQ(change(fd, DRM_PIM_AUTHORITY_RELEASE, 0, 0, in, 0, out, 0), -EINTR);
	CHECK_EQ(authority(fd, 0).owner, PIM);
	CHECK_EQ(authority(fd, 0).holder, getpid());
	gate_open(fd, q, 0);
	CHECK_OK(release(fd, 1));
}

static void times_out(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), in = syncobj_new(fd);
	struct drm_pim_sync si = { .handle = in };
	struct drm_pim_authority a = { .domains = 1, .owner = PIM, .nin = 1, .in_syncs = (uintptr_t)&si };
	uint64_t t0;

	gate_close(fd, q, in);
	t0 = now_ms();
	a.timeout_ns = in_ms(150);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a), -ETIME);
	CHECK(now_ms() - t0 >= 145);
	CHECK_EQ(authority(fd, 0).holder, 0);
	gate_open(fd, q, 0);
}

static void read_five(void *arg)
{
	CHECK_EQ(**(volatile uint32_t **)arg, 5);
}

/* What host requests wait for: each case begins with domain 0 free, and a fence in `in` that does not signal for some seconds. */
static void acquire_overdue(int fd, uint32_t in, uint32_t out)
{
	CHECK_OK(acquire_after(fd, PIM, in, out));
}

static void reclaim_overdue(int fd, uint32_t in, uint32_t out)
{
	CHECK_OK(acquire(fd, 1, HOST, 1000));
	CHECK_OK(acquire_after(fd, PIM, in, out));
}

static void release_overdue(int fd, uint32_t in, uint32_t out)
{
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	CHECK_OK(release_after(fd, in, out));
}

/* The job of another file that came before the claim. */
static void guest_overdue(int fd, uint32_t in, uint32_t out)
{
	struct drm_pim_binding bind = { .handle = gem(fd, SIZE, 0, 0), .access = 3, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &bind);

	CHECK_OK(submit(fd, queue_new(fd), &job, 1, in, 0, NULL));
	CHECK_OK(acquire_after(fd, PIM, 0, out));
}

static void overdue(void)
{
	static const struct {
		void (*prepare)(int fd, uint32_t in, uint32_t out);
		int result;
	} c[] = {
		{ acquire_overdue, -ECANCELED }, { reclaim_overdue, -ECANCELED }, { release_overdue, 1 }, { guest_overdue, -ECANCELED },
	};
	unsigned int i;

	module_param("tenure_ms", 200);
	for (i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		int fd = dev_open(), other = dev_open(), pid, status;
		uint32_t q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd);
		volatile uint32_t *p = gem_map(other, gem(other, SIZE, 0, 0), SIZE);

		*p = 5;
		gate_close(fd, q, in);
		c[i].prepare(fd, in, out);
		pid = child(read_five, &p);
		CHECK(!child_ended(pid, 100, &status));
		child_ok(pid, 1000);
		CHECK_EQ(syncobj_wait(fd, in, 0, 0), -ETIME); /* long before the fence */
		CHECK_OK(syncobj_wait(fd, out, 0, 1000));
		CHECK_EQ(syncobj_status(fd, out), c[i].result);
		CHECK_EQ(authority(fd, 0).holder, 0);
		CHECK_EQ(authority(fd, 0).owner, HOST);
		gate_open(fd, q, 0);
		munmap((void *)p, SIZE);
		close(other);
		close(fd);
	}
	module_param("tenure_ms", 1000);
}

const struct test claim_sync_tests[] = {
	{ "authority calls with bad syncobjs are refused and leave nothing", bad_syncs },
	{ "a claim comes after a fence, and signals one", comes_after },
	{ "memory goes to PIM and back by fences alone, jobs queued ahead", round_trip },
	{ "claims wait for and signal timeline points", timeline },
	{ "a claim comes after fences that are made of others", composed },
	{ "a call that waits signals its fences, too", synchronous },
	{ "a domain promised to one is not given to another, nor used too early", promised },
	{ "a claim that is revoked or closed before its fence signals an error", cancelled },
	{ "a host request does not wait for fences of others longer than for a tenure", overdue },
	{ "an interrupted hand-over leaves everything as it was", interrupted },
	{ "a hand-over that waits too long for its fence is ETIME", times_out },
	TEST_END
};
