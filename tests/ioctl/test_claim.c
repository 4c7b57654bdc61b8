/* SPDX-License-Identifier: MIT */
/* What a claim may ask for beyond a domain: a deadline, a place in the line, a tenure policy, and news of changes. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define HOST DRM_PIM_OWNER_HOST
#define PIM DRM_PIM_OWNER_PIM
#define AUTO DRM_PIM_OWNER_AUTO
#define MS (1000000ull * time_scale()) /* as the times of this program are */
#define SIZE MAPPED_BYTES

static int call(int fd, struct drm_pim_authority a)
{
	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

static void bad_calls(void)
{
	int fd = dev_open();
	uint64_t soon = in_ms(1000);
	const struct drm_pim_authority bad[] = {
		{ .domains = 1, .timeout_ns = soon, .priority = 3 },
		{ .domains = 1, .timeout_ns = soon, .priority = ~0u },
		{ .domains = 1, .timeout_ns = soon, .flags = 1u << 2 },
		{ .domains = 1, .timeout_ns = soon, .flags = DRM_PIM_AUTHORITY_NONBLOCK },
		{ .domains = 1, .timeout_ns = soon, .flags = DRM_PIM_AUTHORITY_ASYNC },
		{ .domains = 1, .timeout_ns = soon, .nin = DRM_PIM_MAX_SYNCS + 1 },
		{ .domains = 1, .timeout_ns = soon, .nout = DRM_PIM_MAX_SYNCS + 1 },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .flags = DRM_PIM_AUTHORITY_NONBLOCK },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .flags = DRM_PIM_AUTHORITY_ASYNC },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .owner = PIM },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .timeout_ns = soon },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .deadline_ns = soon },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .min_ns = 1 },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .max_ns = 1 },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .host_requests = 1 },
		{ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .priority = DRM_PIM_PRIORITY_LOW },
	};
	struct drm_pim_domain_query q = { .domain = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS) };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (call(fd, bad[i]) != -EINVAL)
			fail(__FILE__, __LINE__, "bad call %zu is not EINVAL", i);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 1, .timeout_ns = soon, .nin = 1 }), -EFAULT);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 1, .timeout_ns = soon, .nout = 1 }), -EFAULT);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 1, .timeout_ns = soon, .deadline_ns = 1 }), -ETIME);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_DOMAIN_QUERY, &q), -EINVAL);
	CHECK_EQ(authority(fd, 0).holder, 0);
}

/* -- deadline ------------------------------------------------------------------------------------------------------- */

static void until_revoked(int fd, uint64_t revocations)
{
	uint64_t end = now_ms() + 5000;

	while (authority(fd, 0).revocations == revocations) {
		CHECK(now_ms() < end);
		sleep_ms(2);
	}
}

static void deadline(void)
{
	int a = dev_open(), b = dev_open();
	struct drm_pim_binding bind = { .handle = gem(a, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &bind);
	struct drm_pim_domain_query before = authority(a, 0), after;
	uint64_t end = in_ms(150), t0 = now_ms();
	uint32_t q = queue_new(a), done = syncobj_new(a);

	CHECK_OK(call(a, (struct drm_pim_authority){ .domains = 1, .owner = PIM, .timeout_ns = in_ms(1000), .deadline_ns = end }));
	CHECK_EQ(authority(b, 0).deadline_ns, end);
	CHECK_OK(submit(a, q, &job, 1, 0, done, NULL));
	CHECK_OK(acquire(b, 1, PIM, 5000)); /* waits in line until then */
	CHECK(now_ms() - t0 >= 145);
	after = authority(b, 0);
	CHECK_EQ(after.revocations, before.revocations + 1);
	CHECK_EQ(after.deadline_ns, 0);
	CHECK_EQ(syncobj_status(a, done), 1);
	CHECK_EQ(submit(a, q, &job, 1, 0, 0, NULL), -EACCES);
	CHECK_EQ(release(a, 1), -ENOENT);
	CHECK_OK(release(b, 1));
}

static void deadline_moved(void)
{
	int fd = dev_open();
	uint64_t n = authority(fd, 0).revocations;

	CHECK_OK(call(fd, (struct drm_pim_authority){ .domains = 1, .owner = PIM, .timeout_ns = in_ms(1000), .deadline_ns = in_ms(200) }));
	CHECK_OK(acquire(fd, 1, PIM, 1000)); /* none any more */
	CHECK_EQ(authority(fd, 0).deadline_ns, 0);
	sleep_ms(300);
	CHECK_EQ(authority(fd, 0).revocations, n);
	CHECK_OK(release(fd, 1));
}

/* Jobs that are in a ring when the claim is revoked end normally, those behind them do not run. */
static void deadline_with_jobs(void)
{
	int fd = dev_open();
	struct drm_pim_binding bind = { .handle = gem(fd, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &bind);
	uint32_t gateq = queue_new(fd), q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd);
	uint64_t n = authority(fd, 0).revocations;

	CHECK_OK(call(fd, (struct drm_pim_authority){ .domains = 1, .owner = AUTO, .timeout_ns = in_ms(1000), .deadline_ns = in_ms(200) }));
	gate_close(fd, gateq, in);
	CHECK_OK(submit(fd, q, &job, 1, in, out, NULL));
	until_revoked(fd, n);
	gate_open(fd, gateq, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(fd, out), -EACCES);
	CHECK_EQ(queue_query(fd, q).status, PIM_HW_E_AUTHORITY);
	CHECK_EQ(authority(fd, 0).holder, 0);
	CHECK_EQ(authority(fd, 0).owner, HOST);
}

static void deadline_of_several(void)
{
	int fd = dev_open();
	uint64_t end = now_ms() + 5000;

	if (param(fd, DRM_PIM_PARAM_DOMAINS) < 2)
		skip("the card has one domain");
	CHECK_OK(call(fd, (struct drm_pim_authority){ .domains = 3, .owner = PIM, .timeout_ns = in_ms(1000), .deadline_ns = in_ms(100) }));
	while (authority(fd, 0).holder || authority(fd, 1).holder) {
		CHECK(now_ms() < end);
		sleep_ms(2);
	}
	CHECK_EQ(authority(fd, 0).owner, HOST);
	CHECK_EQ(authority(fd, 1).owner, HOST);
}

/* -- priority ------------------------------------------------------------------------------------------------------- */

struct waiter {
	uint32_t priority;
	int say;
	char name;
};

static void wait_and_say(void *arg)
{
	struct waiter *w = arg;
	int fd = dev_open();

	CHECK_OK(call(fd, (struct drm_pim_authority){ .domains = 1, .owner = PIM, .timeout_ns = in_ms(20000), .priority = w->priority }));
	CHECK_EQ(authority(fd, 0).priority, w->priority);
	CHECK_EQ(write(w->say, &w->name, 1), 1);
	CHECK_OK(release(fd, 1));
}

static void by_priority(void)
{
	static const struct waiter line[] = {
		{ DRM_PIM_PRIORITY_LOW, 0, 'e' },    { DRM_PIM_PRIORITY_NORMAL, 0, 'c' }, { DRM_PIM_PRIORITY_HIGH, 0, 'a' },
		{ DRM_PIM_PRIORITY_NORMAL, 0, 'd' }, { DRM_PIM_PRIORITY_HIGH, 0, 'b' },	  { DRM_PIM_PRIORITY_LOW, 0, 'f' },
	};
	int fd = dev_open(), say[2], pid[6];
	struct waiter w[6];
	char got;
	int i;

	CHECK_OK(pipe(say));
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	for (i = 0; i < 6; i++) {
		w[i] = line[i];
		w[i].say = say[1];
		pid[i] = child(wait_and_say, &w[i]);
		until_waiters(fd, 0, (uint32_t)i + 1);
	}
	CHECK_OK(release(fd, 1));
	for (i = 0; i < 6; i++) {
		CHECK_EQ(read(say[0], &got, 1), 1);
		CHECK_EQ(got, 'a' + i);
	}
	for (i = 0; i < 6; i++)
		child_ok(pid[i], 5000);
}

static void high_as_nobody(void *arg)
{
	int *fd = arg;

	CHECK_OK(setuid(65534));
	CHECK_EQ(call(*fd, (struct drm_pim_authority){ .domains = 1, .timeout_ns = in_ms(100), .priority = DRM_PIM_PRIORITY_HIGH }), -EACCES);
	CHECK_OK(call(*fd, (struct drm_pim_authority){ .domains = 1, .timeout_ns = in_ms(100), .priority = DRM_PIM_PRIORITY_LOW }));
}

static void high_needs_right(void)
{
	int fd = dev_open();

	child_ok(child(high_as_nobody, &fd), 5000);
}

/* -- yielding ------------------------------------------------------------------------------------------------------- */

static int claim(int fd, uint64_t min_ns, uint64_t max_ns, uint32_t requests)
{
	return call(fd, (struct drm_pim_authority){
				.domains = 1, .owner = PIM, .timeout_ns = in_ms(1000), .min_ns = min_ns, .max_ns = max_ns,
				.host_requests = requests });
}

static void yields(void)
{
	struct mapped r = mapped(0);
	struct drm_pim_binding bind = { .handle = r.handle, .access = 3, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &bind);
	uint32_t q = queue_new(r.fd), done = syncobj_new(r.fd);
	struct drm_pim_domain_query before = authority(r.fd, 0), after;
	uint64_t t0 = now_ms();
	int pid;

	CHECK_OK(claim(r.fd, 0, 200 * MS, 0));
	pid = child(mapped_touch, &r);
	child_ok(pid, 5000);
	CHECK(now_ms() - t0 >= 195);
	after = authority(r.fd, 0);
	CHECK(after.yields > before.yields); /* more than once if the process was not fast enough */
	CHECK(after.host_requests > before.host_requests);
	CHECK_EQ(after.holder, getpid());
	CHECK_EQ(after.revocations, before.revocations);
	/* Jobs wait until it is back, and run. */
	CHECK_OK(submit(r.fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(r.fd, done, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, done), 1);
	CHECK_EQ(authority(r.fd, 0).owner, PIM);
	CHECK_OK(release(r.fd, 1));
	CHECK_EQ(r.p[1], 2);
}

/* The policy sees the requests: the second one ends the tenure at once, the first alone would wait long. */
static void counted(void)
{
	struct mapped r = mapped(0);
	uint64_t t0, end;
	int one, two, status;

	module_param("tenure_ms", 10000);
	CHECK_OK(claim(r.fd, 0, 0, 2));
	one = child(mapped_touch, &r);
	CHECK(!child_ended(one, 300, &status));
	CHECK_EQ(authority(r.fd, 0).host_waiters, 1);
	t0 = now_ms();
	two = child(mapped_touch, &r);
	child_ok(one, 5000);
	child_ok(two, 5000);
	CHECK(now_ms() - t0 < 3000);
	end = now_ms() + 5000;
	while (authority(r.fd, 0).owner != PIM) { /* it comes back by itself */
		CHECK(now_ms() < end);
		sleep_ms(2);
	}
	CHECK_EQ(authority(r.fd, 0).host_waiters, 0);
	module_param("tenure_ms", 1000);
	CHECK_OK(release(r.fd, 1));
}

static void least_tenure(void)
{
	struct mapped r = mapped(0);
	uint64_t t0 = now_ms();
	int pid;

	CHECK_OK(claim(r.fd, 400 * MS, 0, 1));
	pid = child(mapped_touch, &r);
	child_ok(pid, 5000);
	CHECK(now_ms() - t0 >= 395);
	CHECK_OK(release(r.fd, 1));
}

/* A claim whose jobs do not end is not waited for any longer than the kernel says. */
static void no_drain(void)
{
	struct mapped r = mapped(0);
	struct drm_pim_binding bind = { .handle = r.handle, .access = 3, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &bind);
	uint32_t gateq = queue_new(r.fd), q = queue_new(r.fd), in = syncobj_new(r.fd), out = syncobj_new(r.fd);
	uint64_t n = authority(r.fd, 0).revocations;
	int pid;

	module_param("tenure_ms", 300); /* less than a gate holds */
	CHECK_OK(claim(r.fd, 0, 50 * MS, 0));
	gate_close(r.fd, gateq, in);
	CHECK_OK(submit(r.fd, q, &job, 1, in, out, NULL));
	pid = child(mapped_touch, &r);
	child_ok(pid, 8000);
	CHECK_EQ(authority(r.fd, 0).revocations, n + 1);
	module_param("tenure_ms", 1000);
	gate_open(r.fd, gateq, 0);
	CHECK_OK(syncobj_wait(r.fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(r.fd, out), -EACCES);
	CHECK_EQ(release(r.fd, 1), -ENOENT);
}

static void keep_touching(void *arg)
{
	struct mapped *r = arg;

	for (;;)
		r->p[2]++;
}

/* PIM work and CPU accesses to the same domain: every job runs, and the CPU comes on. */
static void side_by_side(void)
{
	struct mapped r = mapped(0);
	struct drm_pim_binding bind = { .handle = r.handle, .access = 3, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &bind);
	uint32_t q = queue_new(r.fd), done = syncobj_new(r.fd);
	struct drm_pim_domain_query s;
	uint64_t end = now_ms() + 2000;
	int pid, status, n = 0;

	CHECK_OK(claim(r.fd, 5 * MS, 20 * MS, 1));
	pid = child(keep_touching, &r);
	while (now_ms() < end) {
		CHECK_OK(submit(r.fd, q, &job, 1, 0, done, NULL));
		CHECK_OK(syncobj_wait(r.fd, done, 0, 5000));
		CHECK_EQ(syncobj_status(r.fd, done), 1);
		n++;
	}
	s = authority(r.fd, 0);
	CHECK_EQ(s.holder, getpid());
	if (s.yields < 5)
		fail(__FILE__, __LINE__, "%llu yields, %d jobs, %llu requests", (unsigned long long)s.yields, n, (unsigned long long)s.host_requests);
	CHECK(n >= 10);
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 5000, &status));
	CHECK_OK(release(r.fd, 1));
	CHECK(r.p[2] > 0);
}

static void release_while_lent(void)
{
	struct mapped r = mapped(0);
	int pid, i, status;

	for (i = 0; i < 20; i++) {
		CHECK_OK(claim(r.fd, 0, (uint64_t)(i % 5) * 5 * MS, 1));
		pid = child(keep_touching, &r);
		sleep_ms((unsigned int)i * 2);
		CHECK_OK(release(r.fd, 1));
		CHECK_EQ(authority(r.fd, 0).owner, HOST);
		CHECK_EQ(authority(r.fd, 0).holder, 0);
		CHECK_OK(kill(pid, SIGKILL));
		CHECK(child_ended(pid, 5000, &status));
	}
}

static void close_while_lent(void)
{
	struct mapped r = mapped(0);
	int pid, i, fd, status;

	for (i = 0; i < 20; i++) {
		fd = dev_open();
		CHECK_OK(claim(fd, 0, (uint64_t)(i % 5) * 5 * MS, 1));
		pid = child(keep_touching, &r);
		sleep_ms((unsigned int)i * 2);
		CHECK_OK(close(fd)); /* the child has it, too */
		CHECK_OK(kill(pid, SIGKILL));
		CHECK(child_ended(pid, 5000, &status));
		CHECK_OK(acquire(r.fd, 1, PIM, 5000));
		CHECK_OK(release(r.fd, 1));
	}
}

/* -- news ----------------------------------------------------------------------------------------------------------- */

static uint64_t news(int efd)
{
	uint64_t n = 0;

	return read(efd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void watch(void)
{
	int a = dev_open(), b = dev_open(), efd = eventfd(0, EFD_NONBLOCK);
	struct drm_pim_watch w = { .fd = efd, .domains = 1 };

	CHECK(efd >= 0);
	CHECK_OK(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w));
	CHECK_EQ(news(efd), 0);
	CHECK_OK(acquire(a, 1, PIM, 1000));
	CHECK(news(efd) > 0);
	CHECK_EQ(news(efd), 0);
	CHECK_OK(release(a, 1));
	CHECK(news(efd) > 0);
	if (param(a, DRM_PIM_PARAM_DOMAINS) > 1) {
		CHECK_OK(acquire(a, 2, PIM, 1000)); /* another domain */
		CHECK_EQ(news(efd), 0);
		w.domains = 2;
		CHECK_OK(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w)); /* instead */
		CHECK_OK(release(a, 2));
		CHECK(news(efd) > 0);
	}
	w = (struct drm_pim_watch){ .fd = -1 };
	CHECK_OK(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w));
	CHECK_OK(acquire(a, 1, PIM, 1000));
	CHECK_OK(release(a, 1));
	CHECK_EQ(news(efd), 0);

	w = (struct drm_pim_watch){ .fd = efd };
	CHECK_EQ(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w), -EINVAL);
	w = (struct drm_pim_watch){ .fd = -1, .domains = 1 };
	CHECK_EQ(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w), -EBADF);
	w = (struct drm_pim_watch){ .fd = b, .domains = 1 };
	CHECK_EQ(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w), -EINVAL); /* no eventfd */
	w = (struct drm_pim_watch){ .fd = efd, .domains = 1u << 31 };
	if (param(a, DRM_PIM_PARAM_DOMAINS) < 32)
		CHECK_EQ(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w), -EINVAL);
	w.domains = 1;
	CHECK_OK(pim_ioctl(b, DRM_IOCTL_PIM_WATCH, &w));
	close(b); /* ends with its file */
	CHECK_OK(acquire(a, 1, PIM, 1000));
	CHECK_EQ(news(efd), 0);
	CHECK_OK(release(a, 1));
}

static void query(void)
{
	int fd = dev_open();
	struct drm_pim_domain_query before = authority(fd, 0), q;
	uint64_t total, later;

	CHECK_OK(prctl(PR_SET_NAME, "claimant"));
	CHECK_EQ(before.comm[0], 0);
	CHECK_OK(acquire(fd, 1, AUTO, 1000));
	sleep_ms(50);
	q = authority(fd, 0);
	CHECK_OK(strcmp(q.comm, "claimant"));
	CHECK(q.tenure_ns >= 49 * MS);
	CHECK(q.owned_ns[AUTO] >= before.owned_ns[AUTO] + 49 * MS);
	CHECK(q.owned_ns[HOST] >= before.owned_ns[HOST]);
	total = q.owned_ns[0] + q.owned_ns[1] + q.owned_ns[2];
	CHECK_OK(release(fd, 1));
	q = authority(fd, 0);
	later = q.owned_ns[0] + q.owned_ns[1] + q.owned_ns[2];
	CHECK(later >= total); /* they cover all the time */
	CHECK_EQ(q.comm[0], 0);
	CHECK(q.tenure_ns < 5000 * MS);
}

const struct test claim_tests[] = {
	{ "claims with bad fields are refused", bad_calls },
	{ "a claim is revoked at its deadline, and the next in line has the domain", deadline },
	{ "acquiring again moves the deadline", deadline_moved },
	{ "a revoked claim's waiting jobs end with EACCES", deadline_with_jobs },
	{ "a claim on several domains is revoked from all of them", deadline_of_several },
	{ "the line is ordered by priority, then by arrival", by_priority },
	{ "high priority needs the right to it", high_needs_right },
	{ "a claim yields to a CPU access, within the time it gave, and goes on", yields },
	{ "CPU accesses are counted, and enough of them end the tenure", counted },
	{ "host requests do not end a tenure before its least time", least_tenure },
	{ "a claim whose jobs do not run out for a host request is revoked", no_drain },
	{ "jobs and CPU accesses side by side all come on", side_by_side },
	{ "a claim is released at any moment of yielding", release_while_lent },
	{ "a claim ends with its file at any moment of yielding", close_while_lent },
	{ "an eventfd tells of changes to the domains watched", watch },
	{ "a query tells holder, name and times", query },
	TEST_END
};
