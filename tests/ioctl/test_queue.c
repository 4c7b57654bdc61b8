/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

static void bad_calls(void)
{
	int fd = dev_open(), other = dev_open();
	struct drm_pim_queue_create c = { .flags = 1 };
	struct drm_pim_queue_destroy d = { .queue = queue_new(fd), .pad = 1 };
	struct drm_pim_queue_query q = { .queue = d.queue, .flags = 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_DESTROY, &d), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q), -EINVAL);
	CHECK_EQ(queue_destroy(fd, 0), -ENOENT);
	CHECK_EQ(queue_destroy(fd, 0xffffffff), -ENOENT);
	CHECK_EQ(queue_destroy(other, d.queue), -ENOENT);
	q.flags = 0;
	CHECK_EQ(pim_ioctl(other, DRM_IOCTL_PIM_QUEUE_QUERY, &q), -ENOENT);
	CHECK_OK(queue_destroy(fd, d.queue));
	CHECK_EQ(queue_destroy(fd, d.queue), -ENOENT);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q), -ENOENT);
}

static void full(void)
{
	int fd = dev_open(), n = 0, ret;
	struct drm_pim_queue_create c = { 0 };
	uint32_t first = queue_new(fd);

	while (!(ret = pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c)) && n < 100000)
		n++;
	CHECK_EQ(ret, -ENOSPC);
	CHECK_OK(queue_destroy(fd, first));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c));
	close(fd);
	queue_new(dev_open()); /* the file's queues went with it */
}

static void counts(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	struct drm_pim_job jobs[3] = { job_nop(0), job_nop(1), job_nop(0) };
	struct drm_pim_queue_query s;
	uint64_t seq[2];

	s = queue_query(fd, q);
	CHECK_EQ(s.status, 0);
	CHECK_EQ(s.submitted[0] + s.submitted[1] + s.completed[0] + s.completed[1], 0);
	CHECK_OK(submit(fd, q, jobs, 3, 0, done, seq));
	CHECK_EQ(seq[0], 2);
	CHECK_EQ(seq[1], 1);
	CHECK_OK(submit(fd, q, jobs, 3, 0, done, seq));
	CHECK_EQ(seq[0], 4);
	CHECK_EQ(seq[1], 2);
	CHECK_OK(syncobj_wait(fd, done, 0, 5000));
	s = queue_query(fd, q);
	CHECK_EQ(s.status, 0);
	CHECK_EQ(s.submitted[0], 4);
	CHECK_EQ(s.submitted[1], 2);
	CHECK_EQ(s.completed[0], 4);
	CHECK_EQ(s.completed[1], 2);
}

/* Slots of the card are used again: a new queue must start at zero. */
static void reused(void)
{
	int fd = dev_open(), i;
	uint32_t done = syncobj_new(fd);
	struct drm_pim_job jobs[2];
	uint64_t seq[2];

	for (i = 0; i < 50; i++) {
		uint32_t q = queue_new(fd);

		jobs[0] = job_nop(DRM_PIM_ENGINE_HOST);
		jobs[1] = job_nop(DRM_PIM_ENGINE_PIM);
		job_wait(&jobs[1], DRM_PIM_ENGINE_HOST, 1);
		CHECK_OK(submit(fd, q, jobs, 2, 0, done, seq));
		CHECK_EQ(seq[0], 1);
		CHECK_EQ(seq[1], 1);
		CHECK_OK(syncobj_wait(fd, done, 0, 5000));
		CHECK_EQ(syncobj_status(fd, done), 1);
		CHECK_OK(queue_destroy(fd, q));
	}
}

static void destroy_cancels(void)
{
	int fd = dev_open();
	uint32_t a = queue_new(fd), b = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd);
	struct drm_pim_job jobs[2] = { job_nop(1), job_nop(0) };

	gate_close(fd, a, in);
	CHECK_OK(submit(fd, b, jobs, 2, in, out, NULL));
	sleep_ms(20);
	CHECK_OK(queue_destroy(fd, b));
	gate_open(fd, a, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(fd, out), -ECANCELED);
	CHECK_OK(syncobj_wait(fd, in, 0, 5000));
	CHECK_EQ(syncobj_status(fd, in), 1);
}

static void bad_create(void)
{
	int fd = dev_open();
	const uint32_t max = (uint32_t)param(fd, DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS);
	const struct drm_pim_queue_create bad[] = {
		{ .priority = 3 }, { .priority = 0xffffffff }, { .timeout_ms = max + 1 }, { .timeout_ms = 0xffffffff }, { .policy = { 0, 0, 0, 1 } },
	};
	struct drm_pim_queue_create good = { .priority = DRM_PIM_PRIORITY_LOW, .timeout_ms = max, .policy = { PIM_HW_POLICY_QUEUE, 56, 32 } };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct drm_pim_queue_create c = bad[i];

		CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c), -EINVAL);
	}
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &good));
}

static void without_nice(void *arg)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	struct drm_pim_queue_create c = { .priority = DRM_PIM_PRIORITY_HIGH };
	int fd = *(int *)arg;

	CHECK_OK(syscall(SYS_capget, &head, caps));
	caps[CAP_TO_INDEX(CAP_SYS_NICE)].effective &= ~CAP_TO_MASK(CAP_SYS_NICE);
	CHECK_OK(syscall(SYS_capset, &head, caps));
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c), -EACCES);
	c.priority = DRM_PIM_PRIORITY_LOW;
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c));
}

static void high_needs_nice(void)
{
	int fd = dev_open();

	queue_with(fd, DRM_PIM_PRIORITY_HIGH, 0);
	child_ok(child(without_nice, &fd), 5000);
}

static int run_on(int fd, uint32_t queue, struct drm_pim_job *job)
{
	uint32_t out = syncobj_new(fd);
	int ret = submit(fd, queue, job, 1, 0, out, NULL);

	if (ret)
		return ret;
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	return syncobj_status(fd, out);
}

static void queue_policy(void)
{
	int fd = dev_open();
	struct drm_pim_queue_create with = { .policy = { PIM_HW_POLICY_SERIAL } }, without = { 0 };
	struct drm_pim_binding b = { .handle = gem(fd, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &b);

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &with));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &without));
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_AUTO, 1000)); /* where a job without a policy is refused by the card */
	job.flags = DRM_PIM_JOB_QUEUE_POLICY;
	CHECK_EQ(run_on(fd, with.queue, &job), -EINVAL); /* it has one of its own */
	memset(job.policy, 0, sizeof(job.policy));
	CHECK_EQ(run_on(fd, with.queue, &job), 1);
	CHECK_EQ(run_on(fd, without.queue, &job), -EACCES);
	CHECK_EQ(queue_query(fd, without.queue).status, PIM_HW_E_AUTHORITY);
}

/* -- fairness: measured in jobs, not in time ------------------------------------------------------------------------ */

#define FLOOD 1000
#define FLOOD_ROUNDS (80 * time_scale()) /* about a millisecond: the card is what they wait for */
#define FLOOD_BYTES ((6u << 20) * time_scale()) /* the same */

struct client {
	int fd;
	uint32_t queue, out;
};

/* A client with n jobs of a millisecond, all queued at once. */
static struct client flood(uint32_t engine, uint32_t priority, uint32_t n)
{
	struct client c = { .fd = dev_open() };
	struct drm_pim_binding b;
	static struct drm_pim_job jobs[FLOOD];
	static struct pim_hw_program program;
	static struct pim_hw_copy fill;
	volatile uint32_t *p;
	uint32_t i;

	c.queue = queue_with(c.fd, priority, 0);
	c.out = syncobj_new(c.fd);
	if (engine == DRM_PIM_ENGINE_PIM) {
		b = (struct drm_pim_binding){ .handle = gem(c.fd, SPIN_BYTES, DRM_PIM_GEM_WINDOW, 0), .access = 1, .bytes = SPIN_BYTES };
		p = gem_map(c.fd, b.handle, SPIN_BYTES);
		spin_code(p, FLOOD_ROUNDS);
		CHECK_OK(munmap((void *)p, SPIN_BYTES)); /* a mapping holds the file */
	} else {
		b = (struct drm_pim_binding){ .handle = gem(c.fd, FLOOD_BYTES, 0, 0), .access = 3, .bytes = FLOOD_BYTES };
	}
	for (i = 0; i < n; i++)
		jobs[i] = engine == DRM_PIM_ENGINE_PIM ? job_spin(&b, &program) : job_fill(&b, &fill, i);
	CHECK_OK(submit(c.fd, c.queue, jobs, n, 0, c.out, NULL));
	return c;
}

static uint64_t done_of(const struct client *c, uint32_t engine)
{
	return queue_query(c->fd, c->queue).completed[engine];
}

static void single_job(uint32_t engine)
{
	struct client c = flood(engine, DRM_PIM_PRIORITY_NORMAL, FLOOD);
	int fd = dev_open();
	uint32_t q = queue_new(fd), out = syncobj_new(fd);
	struct drm_pim_job job = job_nop(engine);
	uint64_t before, after;

	while (done_of(&c, engine) < 50)
		sleep_ms(1);
	before = done_of(&c, engine);
	CHECK_OK(submit(fd, q, &job, 1, 0, out, NULL));
	CHECK_OK(syncobj_wait(fd, out, 0, 20000));
	after = done_of(&c, engine);
	printf("# engine %u: %llu jobs of %u before it\n", engine, (unsigned long long)(after - before), FLOOD);
	CHECK(after - before < 150); /* its window is 32; the rest is for how late we look */
}

static void flooder_keeps_nobody_out(void)
{
	single_job(DRM_PIM_ENGINE_HOST);
	single_job(DRM_PIM_ENGINE_PIM);
}

/* More clients than the ring has windows of the full size. */
static void many_flooders(void)
{
	enum { N = 24 };
	struct client c[N];
	uint64_t before = 0, after = 0;
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_PIM);
	int fd = dev_open(), i;
	uint32_t q = queue_new(fd), out = syncobj_new(fd);

	for (i = 0; i < N; i++)
		c[i] = flood(DRM_PIM_ENGINE_PIM, DRM_PIM_PRIORITY_NORMAL, 200);
	for (i = 0; i < N; i++)
		before += done_of(&c[i], DRM_PIM_ENGINE_PIM);
	CHECK_OK(submit(fd, q, &job, 1, 0, out, NULL));
	CHECK_OK(syncobj_wait(fd, out, 0, 30000));
	for (i = 0; i < N; i++)
		after += done_of(&c[i], DRM_PIM_ENGINE_PIM);
	printf("# %llu jobs of %llu before it\n", (unsigned long long)(after - before), 200ull * N - (unsigned long long)before);
	CHECK(after - before < 500); /* the ring has 256 */
}

static void equal_shares(void)
{
	enum { N = 4, JOBS = 800 };
	struct client c[N];
	uint64_t begin[N], done[N], sum, least, most;
	uint32_t e;
	int i;

	for (e = 0; e < DRM_PIM_ENGINES; e++) {
		for (i = 0; i < N; i++)
			c[i] = flood(e, DRM_PIM_PRIORITY_NORMAL, FLOOD);
		/* From when all of them are there. */
		for (i = 0; i < N; i++)
			begin[i] = done_of(&c[i], e);
		do {
			sleep_ms(1);
			for (sum = 0, i = 0; i < N; i++)
				sum += done[i] = done_of(&c[i], e) - begin[i];
		} while (sum < JOBS);
		least = most = done[0];
		for (i = 1; i < N; i++) {
			least = done[i] < least ? done[i] : least;
			most = done[i] > most ? done[i] : most;
		}
		printf("# engine %u: from %llu to %llu jobs\n", e, (unsigned long long)least, (unsigned long long)most);
		CHECK(most < 2 * least);
		for (i = 0; i < N; i++)
			close(c[i].fd);
	}
}

/* Two floods of unequal rank: what the lower one gets while the higher one lasts. */
static void ranks(uint32_t high, uint32_t low)
{
	struct client l = flood(DRM_PIM_ENGINE_PIM, low, FLOOD), h;
	uint64_t before, after;

	while (done_of(&l, DRM_PIM_ENGINE_PIM) < 50)
		sleep_ms(1);
	before = done_of(&l, DRM_PIM_ENGINE_PIM);
	h = flood(DRM_PIM_ENGINE_PIM, high, 400);
	CHECK_OK(syncobj_wait(h.fd, h.out, 0, 30000));
	after = done_of(&l, DRM_PIM_ENGINE_PIM);
	printf("# 400 jobs of priority %u, meanwhile %llu of priority %u\n", high, (unsigned long long)(after - before), low);
	CHECK(after - before < 200);
	close(h.fd);
	close(l.fd);
}

static void priorities(void)
{
	ranks(DRM_PIM_PRIORITY_HIGH, DRM_PIM_PRIORITY_NORMAL);
	ranks(DRM_PIM_PRIORITY_NORMAL, DRM_PIM_PRIORITY_LOW);
}

const struct test queue_tests[] = {
	{ "queue calls with flags, pads, unknown or foreign queues are refused", bad_calls },
	{ "a card out of queues is ENOSPC, and usable again when one is destroyed", full },
	{ "jobs are numbered from 1 on each engine, and counted when they are done", counts },
	{ "a queue on used slots starts at zero", reused },
	{ "a destroyed queue's waiting jobs end with ECANCELED", destroy_cancels },
	{ "priorities, time-outs and policies that cannot be are EINVAL", bad_create },
	{ "a queue of high priority needs CAP_SYS_NICE", high_needs_nice },
	{ "jobs that ask for it have their queue's policy", queue_policy },
	{ "a client with a long backlog delays another's job by a window at most", flooder_keeps_nobody_out },
	{ "many clients with a long backlog delay another's job by a ring at most", many_flooders },
	{ "clients with long backlogs get equal shares", equal_shares },
	{ "a queue of higher priority goes before the others", priorities },
	TEST_END
};
