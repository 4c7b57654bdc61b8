/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <signal.h>
#include <unistd.h>

#define HOST DRM_PIM_OWNER_HOST
#define PIM DRM_PIM_OWNER_PIM
#define AUTO DRM_PIM_OWNER_AUTO

static uint32_t domains(int fd)
{
	return (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS);
}

static int dev_with(uint32_t n)
{
	int fd = dev_open();

	if (domains(fd) < n)
		skip("the card has too few domains: use cards/test-4dom.card");
	return fd;
}

static int call(int fd, struct drm_pim_authority a)
{
	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

static void bad_calls(void)
{
	int fd = dev_open();
	uint32_t n = domains(fd), all = n == 32 ? ~0u : (1u << n) - 1;
	uint64_t soon = in_ms(100);

	CHECK_EQ(call(fd, (struct drm_pim_authority){ .op = 2, .domains = 1 }), -EINVAL);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .op = ~0u, .domains = 1 }), -EINVAL);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 0, .timeout_ns = soon }), -EINVAL);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 1, .owner = 3, .timeout_ns = soon }), -EINVAL);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .domains = 1, .flags = 2, .timeout_ns = soon }), -EINVAL);
	CHECK_EQ(call(fd, (struct drm_pim_authority){ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1, .flags = 1 }), -EINVAL);
	if (n < 32) {
		CHECK_EQ(acquire(fd, 1u << n, PIM, 100), -EINVAL);
		CHECK_EQ(acquire(fd, all | 1u << 31, PIM, 100), -EINVAL);
		CHECK_EQ(release(fd, 1u << n), -EINVAL);
	}
	CHECK_EQ(release(fd, 1), -ENOENT);
	CHECK_EQ(authority(fd, 0).holder, 0);
}

static void life_of_a_claim(void)
{
	int fd = dev_open(), other = dev_open();
	struct drm_pim_domain_query before = authority(fd, 0), a;
	const uint32_t owners[] = { PIM, AUTO, HOST, PIM };
	size_t i;

	CHECK_EQ(before.owner, HOST);
	for (i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		CHECK_OK(acquire(fd, 1, owners[i], 1000)); /* the same file changes it at once */
		a = authority(other, 0);
		CHECK_EQ(a.owner, owners[i]);
		CHECK_EQ(a.holder, getpid());
		CHECK_EQ(a.waiters, 0);
		CHECK_EQ(a.handovers, before.handovers + i + 1);
	}
	CHECK_EQ(release(other, 1), -ENOENT);
	CHECK_OK(release(fd, 1));
	CHECK_EQ(release(fd, 1), -ENOENT);
	a = authority(fd, 0);
	CHECK_EQ(a.owner, HOST);
	CHECK_EQ(a.holder, 0);
}

static void held_by_another(void)
{
	int a = dev_open(), b = dev_open();
	uint64_t t0;

	CHECK_OK(acquire(a, 1, PIM, 1000));
	CHECK_EQ(acquire_now(b, 1, PIM), -EBUSY);
	CHECK_EQ(acquire_now(b, 1, HOST), -EBUSY);
	t0 = now_ms();
	CHECK_EQ(acquire(b, 1, PIM, 200), -ETIME);
	CHECK(now_ms() - t0 >= 190);
	CHECK_EQ(acquire(b, 1, PIM, 0), -ETIME);
	CHECK_EQ(call(b, (struct drm_pim_authority){ .domains = 1, .timeout_ns = 1 }), -ETIME); /* long past */
	CHECK_EQ(authority(b, 0).waiters, 0);
	CHECK_OK(release(a, 1));
	CHECK_OK(acquire_now(b, 1, AUTO));
}

static void partly_held(void)
{
	int fd = dev_with(2);

	CHECK_OK(acquire(fd, 1, PIM, 1000));
	CHECK_EQ(acquire(fd, 3, PIM, 1000), -EDEADLK);
	CHECK_EQ(release(fd, 3), -ENOENT);
	CHECK_EQ(authority(fd, 0).owner, PIM);
	CHECK_EQ(authority(fd, 1).holder, 0);
	CHECK_OK(acquire(fd, 2, AUTO, 1000));
	CHECK_OK(acquire(fd, 3, HOST, 1000)); /* now all of it */
	CHECK_OK(release(fd, 2));
	CHECK_OK(release(fd, 1));
}

static void all_or_none(void)
{
	int a = dev_with(2), b = dev_open();

	CHECK_OK(acquire(a, 2, PIM, 1000));
	CHECK_EQ(acquire(b, 3, PIM, 100), -ETIME);
	CHECK_EQ(authority(b, 0).holder, 0); /* nothing was kept */
	CHECK_OK(acquire_now(b, 1, PIM));
}

struct waiter {
	uint32_t mask;
	int say;
	char name;
};

static void wait_and_say(void *arg)
{
	struct waiter *w = arg;
	int fd = dev_open();

	CHECK_OK(acquire(fd, w->mask, PIM, 20000));
	CHECK_EQ(write(w->say, &w->name, 1), 1);
	sleep_ms(50);
	CHECK_OK(release(fd, w->mask));
}

static void first_come(void)
{
	int fd = dev_open(), say[2], pid[3], i;
	struct waiter w[3];
	char got[3];

	CHECK_OK(pipe(say));
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	for (i = 0; i < 3; i++) {
		w[i] = (struct waiter){ .mask = 1, .say = say[1], .name = (char)('a' + i) };
		pid[i] = child(wait_and_say, &w[i]);
		until_waiters(fd, 0, (uint32_t)i + 1);
	}
	CHECK_OK(release(fd, 1));
	for (i = 0; i < 3; i++) {
		CHECK_EQ(read(say[0], &got[i], 1), 1);
		CHECK_EQ(got[i], 'a' + i);
	}
	for (i = 0; i < 3; i++)
		child_ok(pid[i], 5000);
}

/* Who wants two domains is not starved by those who want one. */
static void wide_claim(void)
{
	int fd = dev_with(2), say[2], pid[2];
	struct waiter wide = { .mask = 3, .name = 'w' }, narrow = { .mask = 2, .name = 'n' };
	char got;

	CHECK_OK(pipe(say));
	wide.say = narrow.say = say[1];
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	pid[0] = child(wait_and_say, &wide);
	until_waiters(fd, 1, 1);
	pid[1] = child(wait_and_say, &narrow); /* domain 1 is free, but promised */
	until_waiters(fd, 1, 2);
	CHECK_OK(release(fd, 1));
	CHECK_EQ(read(say[0], &got, 1), 1);
	CHECK_EQ(got, 'w');
	CHECK_EQ(read(say[0], &got, 1), 1);
	CHECK_EQ(got, 'n');
	child_ok(pid[0], 5000);
	child_ok(pid[1], 5000);
}

static void hold(void *arg)
{
	int *say = arg, fd = dev_open();

	CHECK_OK(acquire(fd, 1, PIM, 5000));
	CHECK_EQ(write(say[1], "x", 1), 1);
	pause();
}

static void ends_with_file(void)
{
	int a = dev_open(), b = dev_open();

	CHECK_OK(acquire(a, 1, PIM, 1000));
	close(a);
	CHECK_EQ(authority(b, 0).owner, HOST);
	CHECK_OK(acquire_now(b, 1, PIM));
}

static void ends_with_kill(void)
{
	int fd = dev_open(), say[2], pid, status;
	char c;

	CHECK_OK(pipe(say));
	pid = child(hold, say);
	CHECK_EQ(read(say[0], &c, 1), 1);
	CHECK_EQ(authority(fd, 0).holder, pid);
	CHECK_EQ(acquire_now(fd, 1, PIM), -EBUSY);
	CHECK_OK(kill(pid, SIGKILL));
	CHECK_OK(acquire(fd, 1, PIM, 5000));
	CHECK(child_ended(pid, 5000, &status));
}

static void killed_waiter(void)
{
	int fd = dev_open(), say[2], pid, status;
	struct waiter w = { .mask = 1, .name = 'k' };

	CHECK_OK(pipe(say));
	w.say = say[1];
	CHECK_OK(acquire(fd, 1, PIM, 1000));
	pid = child(wait_and_say, &w);
	until_waiters(fd, 0, 1);
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 2000, &status));
	until_waiters(fd, 0, 0);
	CHECK_OK(release(fd, 1));
	CHECK_EQ(authority(fd, 0).holder, 0);
}

static void nothing(int sig)
{
	(void)sig;
}

static void waits_are_restarted(void)
{
	int a = dev_open(), b = dev_open();
	struct sigaction act = { .sa_handler = nothing };
	uint64_t t0;

	CHECK_OK(acquire(a, 1, PIM, 1000));
	CHECK_OK(sigaction(SIGALRM, &act, NULL));
	alarm(1);
	CHECK_EQ(acquire(b, 1, PIM, 5000), -EINTR);
	act.sa_flags = SA_RESTART;
	CHECK_OK(sigaction(SIGALRM, &act, NULL));
	t0 = now_ms();
	alarm(1);
	CHECK_EQ(acquire(b, 1, PIM, 1500), -ETIME); /* not 1000 + 1500: the time is absolute */
	CHECK(now_ms() - t0 >= 1450 && now_ms() - t0 < 2300);
}

static void jobs_need_claims(void)
{
	int a = dev_open(), b = dev_open();
	struct drm_pim_binding ba = { .handle = gem(a, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_binding bb = { .handle = gem(b, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job pa = job_on(DRM_PIM_ENGINE_PIM, &ba), ha = job_on(DRM_PIM_ENGINE_HOST, &ba);
	struct drm_pim_job pb = job_on(DRM_PIM_ENGINE_PIM, &bb), hb = job_on(DRM_PIM_ENGINE_HOST, &bb);
	uint32_t qa = queue_new(a), qb = queue_new(b), done = syncobj_new(a);
	const struct {
		uint32_t owner;
		int pim, host;
	} rules[] = { { PIM, 0, -EACCES }, { AUTO, 0, 0 }, { HOST, -EACCES, 0 } };
	size_t i;

	CHECK_EQ(submit(a, qa, &pa, 1, 0, 0, NULL), -EACCES); /* PIM without a claim */
	CHECK_OK(submit(a, qa, &ha, 1, 0, 0, NULL));
	for (i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		CHECK_OK(acquire(a, 1, rules[i].owner, 5000));
		CHECK_EQ(submit(a, qa, &pa, 1, 0, done, NULL), rules[i].pim);
		if (!rules[i].pim) {
			CHECK_OK(syncobj_wait(a, done, 0, 5000));
			CHECK_EQ(syncobj_status(a, done), 1);
		}
		CHECK_EQ(submit(a, qa, &ha, 1, 0, done, NULL), rules[i].host);
		if (!rules[i].host) {
			CHECK_OK(syncobj_wait(a, done, 0, 5000));
			CHECK_EQ(syncobj_status(a, done), 1);
		}
		/* Nobody else, whatever the owner. */
		CHECK_EQ(submit(b, qb, &pb, 1, 0, 0, NULL), -EACCES);
		CHECK_EQ(submit(b, qb, &hb, 1, 0, 0, NULL), -EACCES);
	}
	CHECK_OK(release(a, 1));
	CHECK_OK(submit(b, qb, &hb, 1, 0, 0, NULL));
	CHECK_EQ(queue_query(a, qa).status, 0);
}

/* The race detector: the job was let in under a claim that is gone when it could run. */
static void race(void)
{
	int fd = dev_open();
	struct drm_pim_binding b = { .handle = gem(fd, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &b), nop = job_nop(DRM_PIM_ENGINE_HOST);
	uint32_t gateq = queue_new(fd), q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), after = syncobj_new(fd);
	struct drm_pim_queue_query s;

	CHECK_OK(acquire(fd, 1, PIM, 1000));
	gate_close(fd, gateq, in);
	CHECK_OK(submit(fd, q, &job, 1, in, out, NULL));
	CHECK_OK(submit(fd, q, &nop, 1, 0, after, NULL));
	CHECK_OK(release(fd, 1)); /* does not wait for it: it is in no ring */
	gate_open(fd, gateq, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(fd, out), -EACCES);
	CHECK_OK(syncobj_wait(fd, after, 0, 5000));
	CHECK_EQ(syncobj_status(fd, after), -ECANCELED);
	s = queue_query(fd, q);
	CHECK_EQ(s.status, PIM_HW_E_AUTHORITY);
	CHECK_EQ(s.engine, DRM_PIM_ENGINE_PIM);
	CHECK_EQ(s.seq, 1);
	CHECK_EQ(submit(fd, q, &nop, 1, 0, 0, NULL), -EIO);
}

/* Jobs that were let in while the domain was free are done before a claim is granted. */
static void guests_first(void)
{
	int a = dev_open(), b = dev_open();
	struct drm_pim_binding bind = { .handle = gem(a, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &bind);
	uint32_t gateq = queue_new(a), q = queue_new(a), out = syncobj_new(a);

	gate_close(a, gateq, 0);
	CHECK_OK(submit(a, q, &job, 1, 0, out, NULL));
	CHECK_EQ(acquire_now(b, 1, PIM), -EBUSY);
	CHECK_EQ(acquire(b, 1, PIM, 100), -ETIME);
	CHECK_EQ(authority(b, 0).holder, 0);
	gate_open(a, gateq, 0);
	CHECK_OK(acquire(b, 1, PIM, 5000));
	CHECK_EQ(syncobj_status(a, out), 1);
}

const struct test authority_tests[] = {
	{ "bad operations, masks, owners and flags are EINVAL, releasing what is not held ENOENT", bad_calls },
	{ "a claim takes, changes and gives back a domain, and is seen by others", life_of_a_claim },
	{ "a held domain is EBUSY or ETIME to others, at the time they gave", held_by_another },
	{ "a mask of which a part is held is EDEADLK", partly_held },
	{ "a claim that cannot have all its domains has none", all_or_none },
	{ "claims are granted first come first served", first_come },
	{ "a wide claim is not overtaken by narrow ones", wide_claim },
	{ "a claim ends with its file", ends_with_file },
	{ "a claim ends with a killed process", ends_with_kill },
	{ "a killed waiter leaves the line", killed_waiter },
	{ "a signal interrupts a wait, and a restarted one keeps its time", waits_are_restarted },
	{ "jobs need the claim of their side, and nobody else's run", jobs_need_claims },
	{ "a job whose claim was given up before it ran ends with EACCES", race },
	{ "jobs on an unclaimed domain end before a claim is granted", guests_first },
	TEST_END
};
