/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <sys/mman.h>
#include <unistd.h>

#define KIB 1024ull

struct rig {
	int fd;
	uint32_t queue;
	uint32_t buf, window;
	struct drm_pim_binding binding[DRM_PIM_JOB_MAX_BINDINGS + 1];
	struct drm_pim_job job;
};

static struct rig rig(void)
{
	struct rig r = { .fd = dev_open() };

	r.queue = queue_new(r.fd);
	r.buf = gem(r.fd, 64 * KIB, 0, 0);
	r.window = gem(r.fd, 64 * KIB, DRM_PIM_GEM_WINDOW, 0);
	r.binding[0] = (struct drm_pim_binding){ .handle = r.window, .access = 3, .bytes = 64 * KIB };
	r.job = job_nop(DRM_PIM_ENGINE_HOST);
	return r;
}

static int raw(struct rig *r, struct drm_pim_submit s)
{
	if (!s.queue)
		s.queue = r->queue;
	return pim_ioctl(r->fd, DRM_IOCTL_PIM_SUBMIT, &s);
}

/* The job as it is now must be refused, and must leave no trace. */
#define REFUSED(r, e) CHECK_EQ(submit((r).fd, (r).queue, &(r).job, 1, 0, 0, NULL), e)

static void nothing_happened(struct rig *r)
{
	struct drm_pim_queue_query q = queue_query(r->fd, r->queue);

	CHECK_EQ(q.submitted[0] + q.submitted[1], 0);
	CHECK_EQ(q.status, 0);
}

static void bad_arguments(void)
{
	struct rig r = rig();
	const uint64_t jobs = (uintptr_t)&r.job;

	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 0, .jobs = jobs }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = DRM_PIM_MAX_JOBS + 1, .jobs = jobs }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 0xffffffff, .jobs = jobs }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .flags = 1 }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .pad = 1 }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .nin = 0xffffffff }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .nout = 0xffffffff }), -EINVAL);
	CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .queue = 12345 }), -ENOENT);
	nothing_happened(&r);
}

static void bad_pointers(void)
{
	struct rig r = rig();
	const uint64_t jobs = (uintptr_t)&r.job, wild[] = { 0, 8, 0xffffffffffff0000ull };
	size_t i;

	for (i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = wild[i] }), -EFAULT);
		CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .nin = 1, .in_syncs = wild[i] }), -EFAULT);
		CHECK_EQ(raw(&r, (struct drm_pim_submit){ .njobs = 1, .jobs = jobs, .nout = 1, .out_syncs = wild[i] }), -EFAULT);
		r.job = job_nop(0);
		r.job.nbindings = 1;
		r.job.bindings = wild[i];
		REFUSED(r, -EFAULT);
		r.job = job_nop(0);
		r.job.payload_bytes = 16;
		r.job.payload = wild[i];
		REFUSED(r, -EFAULT);
		r.job = job_nop(0);
	}
	nothing_happened(&r);
}

static void array_past_mapping(void)
{
	struct rig r = rig();
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct drm_pim_job *last;

	CHECK(p != MAP_FAILED);
	CHECK_OK(munmap(p + 4096, 4096));
	last = (void *)(p + 4096 - sizeof(*last));
	*last = job_nop(0);
	CHECK_EQ(submit(r.fd, r.queue, last, 2, 0, 0, NULL), -EFAULT);
	nothing_happened(&r);
	CHECK_OK(submit(r.fd, r.queue, last, 1, 0, 0, NULL));
}

static void bad_fields(void)
{
	static const struct {
		size_t off;
		uint32_t value;
	} bad[] = {
		{ offsetof(struct drm_pim_job, engine), 2 },
		{ offsetof(struct drm_pim_job, engine), 0xffffffff },
		{ offsetof(struct drm_pim_job, flags), 8 },
		{ offsetof(struct drm_pim_job, flags), 1u << 31 },
		{ offsetof(struct drm_pim_job, flags), DRM_PIM_JOB_CLOSE },
		{ offsetof(struct drm_pim_job, flags), DRM_PIM_JOB_TIMED },
		{ offsetof(struct drm_pim_job, nwaits), DRM_PIM_JOB_MAX_WAITS + 1 },
		{ offsetof(struct drm_pim_job, nwaits), 0xffffffff },
		{ offsetof(struct drm_pim_job, nbindings), DRM_PIM_JOB_MAX_BINDINGS + 1 },
		{ offsetof(struct drm_pim_job, nbindings), 0xffffffff },
		{ offsetof(struct drm_pim_job, payload_bytes), DRM_PIM_JOB_MAX_PAYLOAD + 1 },
		{ offsetof(struct drm_pim_job, payload_bytes), 0xffffffff },
		{ offsetof(struct drm_pim_job, pad), 1 },
		{ offsetof(struct drm_pim_job, batch), 1 },
		{ offsetof(struct drm_pim_job, batch_engines), 1 },
		{ offsetof(struct drm_pim_job, policy) + 3 * sizeof(uint32_t), 1 },
	};
	struct rig r = rig();
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.job = job_nop(0);
		memcpy((char *)&r.job + bad[i].off, &bad[i].value, sizeof(uint32_t));
		REFUSED(r, -EINVAL);
	}
	r.job = job_nop(0);
	r.job.batch = 1;
	r.job.batch_engines = 2; /* not its own engine */
	REFUSED(r, -EINVAL);
	r.job.batch_engines = 5;
	REFUSED(r, -EINVAL);
	nothing_happened(&r);
}

static void bad_bindings(void)
{
	struct rig r = rig();
	const uint64_t size = 64 * KIB;
	const struct {
		struct drm_pim_binding b;
		int ret;
	} bad[] = {
		{ { .handle = 0, .access = 3, .bytes = 64 }, -ENOENT },
		{ { .handle = 0xffffffff, .access = 3, .bytes = 64 }, -ENOENT },
		{ { .handle = r.window, .access = 0, .bytes = 64 }, -EINVAL },
		{ { .handle = r.window, .access = 4, .bytes = 64 }, -EINVAL },
		{ { .handle = r.window, .access = 3, .bytes = 0 }, -EINVAL },
		{ { .handle = r.window, .access = 3, .bytes = size + 1 }, -EINVAL },
		{ { .handle = r.window, .access = 3, .offset = size, .bytes = 1 }, -EINVAL },
		{ { .handle = r.window, .access = 3, .offset = 1, .bytes = size }, -EINVAL },
		{ { .handle = r.window, .access = 3, .offset = ~0ull, .bytes = 1 }, -EINVAL },
		{ { .handle = r.window, .access = 3, .offset = 64, .bytes = ~0ull }, -EINVAL },
		{ { .handle = r.window, .access = 3, .offset = ~0ull - 63, .bytes = 128 }, -EINVAL },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.binding[1] = bad[i].b;
		r.job.nbindings = 2; /* the first one is good: what it took is given back */
		r.job.bindings = (uintptr_t)r.binding;
		REFUSED(r, bad[i].ret);
	}
	nothing_happened(&r);
}

static void bad_timing(void)
{
	struct rig r = rig();
	struct drm_pim_job good = job_on(0, r.binding);

	good.flags = DRM_PIM_JOB_TIMED;
	good.time_off = 64 * KIB - sizeof(struct pim_hw_timing);
	r.job = good;
	r.job.time_binding = 1;
	REFUSED(r, -EINVAL);
	r.job = good;
	r.job.time_off += 8;
	REFUSED(r, -EINVAL);
	r.job.time_off = ~0ull - 7;
	REFUSED(r, -EINVAL);
	r.job.time_off = 4;
	REFUSED(r, -EINVAL);
	r.job = good;
	r.binding[0].access = DRM_PIM_ACCESS_READ;
	REFUSED(r, -EINVAL);
	nothing_happened(&r);
	r.binding[0].access = 3;
	CHECK_OK(submit(r.fd, r.queue, &good, 1, 0, 0, NULL));
}

static void bad_waits(void)
{
	struct rig r = rig();
	struct drm_pim_job jobs[2] = { job_nop(0), job_nop(1) };

	r.job = job_nop(0);
	job_wait(&r.job, 0, 1); /* itself */
	REFUSED(r, -EINVAL);
	r.job = job_nop(0);
	job_wait(&r.job, 1, 1); /* nobody yet */
	REFUSED(r, -EINVAL);
	r.job.wait[0] = (struct drm_pim_wait){ .engine = 2 };
	REFUSED(r, -EINVAL);
	r.job.wait[0] = (struct drm_pim_wait){ .engine = 0, .pad = 1 };
	REFUSED(r, -EINVAL);
	r.job.wait[0] = (struct drm_pim_wait){ .engine = 0, .seq = ~0ull };
	REFUSED(r, -EINVAL);
	job_wait(&jobs[0], 1, 1); /* a later job of the same call */
	CHECK_EQ(submit(r.fd, r.queue, jobs, 2, 0, 0, NULL), -EINVAL);
	nothing_happened(&r);
}

static void all_or_none(void)
{
	struct rig r = rig();
	struct drm_pim_job jobs[100];
	int i;

	for (i = 0; i < 100; i++)
		jobs[i] = job_on((uint32_t)i % 2, r.binding);
	jobs[99].pad = 1;
	CHECK_EQ(submit(r.fd, r.queue, jobs, 100, 0, 0, NULL), -EINVAL);
	nothing_happened(&r);
}

static void run(struct rig *r, const struct drm_pim_job *jobs, uint32_t n)
{
	uint32_t done = syncobj_new(r->fd);

	CHECK_OK(submit(r->fd, r->queue, jobs, n, 0, done, NULL));
	CHECK_OK(syncobj_wait(r->fd, done, 0, 20000));
	CHECK_EQ(syncobj_status(r->fd, done), 1);
}

static void fill_and_copy(void)
{
	struct rig r = rig();
	struct drm_pim_binding both[2] = {
		{ .handle = r.window, .access = DRM_PIM_ACCESS_READ, .bytes = 64 * KIB },
		{ .handle = r.buf, .access = DRM_PIM_ACCESS_WRITE, .bytes = 64 * KIB },
	};
	struct pim_hw_copy fill, copy;
	struct drm_pim_job jobs[2] = { job_fill(r.binding, &fill, 0xdeadbeef), job_copy(both, &copy) };
	uint32_t *p = gem_map(r.fd, r.buf, 64 * KIB);
	size_t i;

	run(&r, jobs, 2);
	for (i = 0; i < 16 * KIB; i++)
		CHECK_EQ(p[i], 0xdeadbeef);
}

/* HOST fills, PIM waits for it, HOST waits for PIM: the fills must land in the order that the waits ask for. */
static void waits_across_engines(void)
{
	enum { ROUNDS = 200 };
	struct rig r = rig();
	static struct drm_pim_job jobs[2 * ROUNDS];
	static struct pim_hw_copy fill[ROUNDS];
	uint32_t *p = gem_map(r.fd, r.window, 64 * KIB), i;

	for (i = 0; i < ROUNDS; i++) {
		jobs[2 * i] = job_fill(r.binding, &fill[i], i);
		job_wait(&jobs[2 * i], DRM_PIM_ENGINE_PIM, i);
		jobs[2 * i + 1] = job_nop(DRM_PIM_ENGINE_PIM);
		job_wait(&jobs[2 * i + 1], DRM_PIM_ENGINE_HOST, i + 1);
	}
	run(&r, jobs, 2 * ROUNDS);
	CHECK_EQ(p[0], ROUNDS - 1);
	CHECK_EQ(p[16 * KIB - 1], ROUNDS - 1);
}

/* Far more than the rings hold, from two queues that wait across the engines in opposite directions. */
static void more_than_rings(void)
{
	struct rig r = rig();
	static struct drm_pim_job jobs[2][DRM_PIM_MAX_JOBS];
	uint32_t q[2] = { r.queue, queue_new(r.fd) }, done[2], i, k;

	for (k = 0; k < 2; k++) {
		done[k] = syncobj_new(r.fd);
		for (i = 0; i < DRM_PIM_MAX_JOBS; i++) {
			jobs[k][i] = job_nop((i + k) % 2);
			if (i)
				job_wait(&jobs[k][i], (i + k + 1) % 2, (i - 1) / 2 + 1);
		}
	}
	for (k = 0; k < 2; k++)
		CHECK_OK(submit(r.fd, q[k], jobs[k], DRM_PIM_MAX_JOBS, 0, done[k], NULL));
	for (k = 0; k < 2; k++) {
		CHECK_OK(syncobj_wait(r.fd, done[k], 0, 30000));
		CHECK_EQ(syncobj_status(r.fd, done[k]), 1);
		CHECK_EQ(queue_query(r.fd, q[k]).completed[0], DRM_PIM_MAX_JOBS / 2);
	}
}

static void failure_stops_queue(void)
{
	struct rig r = rig();
	uint32_t out = syncobj_new(r.fd), other = queue_new(r.fd), fine = syncobj_new(r.fd);
	struct drm_pim_job jobs[3] = { job_nop(0), job_nop(0), job_nop(0) };
	struct drm_pim_queue_query q;

	jobs[1].op = 9999;
	CHECK_OK(submit(r.fd, r.queue, jobs, 3, 0, out, NULL));
	CHECK_OK(syncobj_wait(r.fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, out), -ECANCELED); /* the last job never ran */
	q = queue_query(r.fd, r.queue);
	CHECK_EQ(q.status, PIM_HW_E_INVALID);
	CHECK_EQ(q.engine, DRM_PIM_ENGINE_HOST);
	CHECK_EQ(q.seq, 2);
	CHECK_EQ(q.flags, DRM_PIM_QUEUE_GUILTY);
	CHECK_EQ(submit(r.fd, r.queue, jobs, 1, 0, 0, NULL), -EIO);
	CHECK_EQ(queue_query(r.fd, other).flags, 0);
	CHECK_OK(submit(r.fd, other, jobs, 1, 0, fine, NULL));
	CHECK_OK(syncobj_wait(r.fd, fine, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, fine), 1);
}

static void card_bounds(void)
{
	struct rig r = rig();
	struct pim_hw_copy fill;
	struct drm_pim_queue_query q;
	uint32_t out = syncobj_new(r.fd);

	r.job = job_fill(r.binding, &fill, 1);
	fill.bytes = 64 * KIB + 4;
	CHECK_OK(submit(r.fd, r.queue, &r.job, 1, 0, out, NULL));
	CHECK_OK(syncobj_wait(r.fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, out), -EIO);
	q = queue_query(r.fd, r.queue);
	CHECK_EQ(q.status, PIM_HW_E_BOUNDS);
	CHECK_EQ(q.seq, 1);
}

/* The buffer lives until the job is done, whatever becomes of its handle. */
static void closed_handle(void)
{
	struct rig r = rig();
	uint32_t gateq = queue_new(r.fd), in = syncobj_new(r.fd), out = syncobj_new(r.fd);
	struct pim_hw_copy fill;

	gate_close(r.fd, gateq, in);
	r.job = job_fill(r.binding, &fill, 7);
	CHECK_OK(submit(r.fd, r.queue, &r.job, 1, in, out, NULL));
	CHECK_OK(gem_close(r.fd, r.window));
	gate_open(r.fd, gateq, 0);
	CHECK_OK(syncobj_wait(r.fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, out), 1);
}

const struct test submit_tests[] = {
	{ "a submit with no jobs, too many, flags, pads or no queue is refused", bad_arguments },
	{ "bad pointers are EFAULT", bad_pointers },
	{ "an array that runs past its mapping is EFAULT", array_past_mapping },
	{ "every bad field of a job is EINVAL", bad_fields },
	{ "bindings without buffer, access, bytes or past the buffer's end are refused", bad_bindings },
	{ "a time report outside a writable binding is EINVAL", bad_timing },
	{ "waiting for oneself, for a later job or for an unknown engine is EINVAL", bad_waits },
	{ "one bad job of a hundred leaves no trace of the others", all_or_none },
	{ "FILL and COPY write what they should", fill_and_copy },
	{ "waits across the engines hold", waits_across_engines },
	{ "two queues with more jobs than the rings hold and opposite waits both end", more_than_rings },
	{ "a failed job stops its queue and no other", failure_stops_queue },
	{ "the card refuses what is outside a binding", card_bounds },
	{ "a job keeps its buffers", closed_handle },
	TEST_END
};
