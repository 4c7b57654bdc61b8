/* SPDX-License-Identifier: MIT */
/*
 * What user space expects of syncobjs on any DRM node, with fences of this driver's jobs beside fences that the host signals. A fence that has
 * not signalled yet is that of a job behind a gate.
 */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/sync_file.h>

#define ALL DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL
#define FOR_SUBMIT DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT
#define AVAILABLE DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE
#define NOBODY 0xfffffu /* a handle that is not in use */

#ifndef DRM_IOCTL_SYNCOBJ_EVENTFD
struct drm_syncobj_eventfd {
	__u32 handle;
	__u32 flags;
	__u64 point;
	__s32 fd;
	__u32 pad;
};
#define DRM_IOCTL_SYNCOBJ_EVENTFD DRM_IOWR(0xCF, struct drm_syncobj_eventfd)
#endif

/* -- short names ------------------------------------------------------------------------------------------------------- */

static int wait_binary(int fd, const uint32_t *handles, uint32_t n, uint32_t flags, int64_t until, uint32_t *first)
{
	struct drm_syncobj_wait w = { .handles = (uintptr_t)handles, .timeout_nsec = until, .count_handles = n, .flags = flags };
	int ret = pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_WAIT, &w);

	if (first)
		*first = w.first_signaled;
	return ret;
}

static int wait_points(int fd, const uint32_t *handles, const uint64_t *points, uint32_t n, uint32_t flags, int64_t until, uint32_t *first)
{
	struct drm_syncobj_timeline_wait w = {
		.handles = (uintptr_t)handles, .points = (uintptr_t)points, .timeout_nsec = until, .count_handles = n, .flags = flags
	};
	int ret = pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &w);

	if (first)
		*first = w.first_signaled;
	return ret;
}

static int poll_point(int fd, uint32_t handle, uint64_t point)
{
	return wait_points(fd, &handle, &point, 1, 0, 0, NULL);
}

static int reset(int fd, const uint32_t *handles, uint32_t n)
{
	struct drm_syncobj_array a = { .handles = (uintptr_t)handles, .count_handles = n };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_RESET, &a);
}

static int signal_now(int fd, const uint32_t *handles, uint32_t n)
{
	struct drm_syncobj_array a = { .handles = (uintptr_t)handles, .count_handles = n };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_SIGNAL, &a);
}

static int signal_point(int fd, uint32_t handle, uint64_t point)
{
	struct drm_syncobj_timeline_array a = { .handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1 };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &a);
}

static int query(int fd, uint32_t handle, uint32_t flags, uint64_t *point)
{
	struct drm_syncobj_timeline_array a = { .handles = (uintptr_t)&handle, .points = (uintptr_t)point, .count_handles = 1, .flags = flags };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_QUERY, &a);
}

static uint64_t reached(int fd, uint32_t handle)
{
	uint64_t point = ~0ull;

	CHECK_OK(query(fd, handle, 0, &point));
	return point;
}

static uint64_t promised(int fd, uint32_t handle)
{
	uint64_t point = ~0ull;

	CHECK_OK(query(fd, handle, DRM_SYNCOBJ_QUERY_FLAGS_LAST_SUBMITTED, &point));
	return point;
}

static int transfer(int fd, uint32_t src, uint64_t src_point, uint32_t dst, uint64_t dst_point, uint32_t flags)
{
	struct drm_syncobj_transfer t = {
		.src_handle = src, .src_point = src_point, .dst_handle = dst, .dst_point = dst_point, .flags = flags
	};

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TRANSFER, &t);
}

static int to_fd(int fd, uint32_t handle, uint32_t flags, int *out)
{
	struct drm_syncobj_handle h = { .handle = handle, .flags = flags, .fd = -1 };
	int ret = pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h);

	*out = h.fd;
	return ret;
}

static int from_fd(int fd, int from, uint32_t flags, uint32_t *handle)
{
	struct drm_syncobj_handle h = { .handle = *handle, .flags = flags, .fd = from };
	int ret = pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &h);

	*handle = h.handle;
	return ret;
}

static int sync_file_of(int fd, uint32_t handle)
{
	int out;

	CHECK_OK(to_fd(fd, handle, DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, &out));
	CHECK(out >= 0);
	return out;
}

static int put_sync_file(int fd, int file, uint32_t handle)
{
	return from_fd(fd, file, DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE, &handle);
}

static int destroy(int fd, uint32_t handle)
{
	struct drm_syncobj_destroy d = { .handle = handle };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &d);
}

/* A syncobj whose job waits for a gate to be opened, and one whose job is done. */
struct gate {
	int fd;
	uint32_t queue, pending;
};

static struct gate gate_new(int fd)
{
	struct gate g = { .fd = fd, .queue = queue_new(fd), .pending = syncobj_new(fd) };

	gate_close(fd, g.queue, g.pending);
	return g;
}

static void gate_go(struct gate *g)
{
	gate_open(g->fd, g->queue, 0);
}

static uint32_t done_new(int fd)
{
	uint32_t s = syncobj_new(fd);
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_PIM);

	CHECK_OK(submit(fd, queue_new(fd), &job, 1, 0, s, NULL));
	CHECK_OK(syncobj_wait(fd, s, 0, 5000));
	return s;
}

static int submit_point(int fd, uint32_t queue, uint32_t in, uint32_t out, uint64_t point)
{
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_PIM);
	struct drm_pim_sync si = { .handle = in }, so = { .handle = out, .point = point };
	struct drm_pim_submit s = {
		.queue = queue, .njobs = 1, .jobs = (uintptr_t)&job, .nin = !!in, .in_syncs = (uintptr_t)&si, .nout = 1, .out_syncs = (uintptr_t)&so
	};

	return pim_ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s);
}

/* -- a wait in a thread of its own --------------------------------------------------------------------------------------- */

struct waiter {
	pthread_t thread;
	int fd;
	uint32_t handle[4], n, flags, first;
	uint64_t point[4];
	int ret;
	volatile bool over;
};

static void *waiter_run(void *arg)
{
	struct waiter *w = arg;

	w->ret = wait_points(w->fd, w->handle, w->point, w->n, w->flags, (int64_t)in_ms(20000), &w->first);
	w->over = true;
	return NULL;
}

static void waiter_start(struct waiter *w)
{
	CHECK_OK(pthread_create(&w->thread, NULL, waiter_run, w));
}

/* Asleep, as far as a test can tell. */
static bool waiter_sleeps(struct waiter *w)
{
	sleep_ms(60);
	return !w->over;
}

static int waiter_end(struct waiter *w)
{
	uint64_t end = now_ms() + 10000;

	while (!w->over && now_ms() < end)
		sleep_ms(1);
	CHECK(w->over);
	CHECK_OK(pthread_join(w->thread, NULL));
	return w->ret;
}

/* -- handles ------------------------------------------------------------------------------------------------------------- */

static void create_flags(void)
{
	int fd = dev_open();
	struct drm_syncobj_create c = { .flags = 1u << 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c), -EINVAL);
	c.flags = 1u << 31;
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c), -EINVAL);
	c.flags = DRM_SYNCOBJ_CREATE_SIGNALED;
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c));
	CHECK(c.handle);
	CHECK_OK(wait_binary(fd, &c.handle, 1, 0, 0, NULL));
	c.flags = 0;
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c));
	CHECK_EQ(wait_binary(fd, &c.handle, 1, 0, 0, NULL), -EINVAL);
}

static void destroy_bad(void)
{
	int fd = dev_open(), other = dev_open();
	struct drm_syncobj_destroy d = { .handle = syncobj_new(fd), .pad = 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &d), -EINVAL);
	CHECK_EQ(destroy(fd, 0), -EINVAL);
	CHECK_EQ(destroy(fd, NOBODY), -EINVAL);
	CHECK_EQ(destroy(other, d.handle), -EINVAL);
	CHECK_OK(destroy(fd, d.handle));
	CHECK_EQ(destroy(fd, d.handle), -EINVAL);
}

static void share_bad(void)
{
	const uint32_t export = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, import = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE;
	int fd = dev_open(), out, file, plain = eventfd(0, 0);
	uint32_t s = syncobj_new(fd), none = 0, nobody = NOBODY, full = done_new(fd);
	struct drm_syncobj_handle h = { .handle = s, .pad = 1, .fd = -1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h), -EINVAL);
	CHECK_EQ(to_fd(fd, 0, 0, &out), -EINVAL);
	CHECK_EQ(to_fd(fd, NOBODY, 0, &out), -EINVAL);
	CHECK_EQ(to_fd(fd, s, 1u << 31, &out), -EINVAL);
	CHECK_EQ(to_fd(fd, 0, export, &out), -ENOENT);
	CHECK_EQ(to_fd(fd, s, export, &out), -EINVAL); /* no fence yet */

	CHECK_OK(to_fd(fd, s, 0, &out));
	h.fd = out;
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &h), -EINVAL);
	CHECK_EQ(from_fd(fd, out, 1u << 31, &none), -EINVAL);
	CHECK_EQ(from_fd(fd, -1, 0, &none), -EINVAL);
	CHECK_EQ(from_fd(fd, plain, 0, &none), -EINVAL);
	CHECK_EQ(from_fd(fd, out, import, &s), -EINVAL); /* not a sync_file */
	CHECK_EQ(from_fd(fd, plain, import, &s), -EINVAL);
	file = sync_file_of(fd, full);
	CHECK_EQ(from_fd(fd, file, 0, &none), -EINVAL); /* not a syncobj */
	none = 0;
	CHECK_EQ(from_fd(fd, file, import, &none), -ENOENT);
	CHECK_EQ(from_fd(fd, file, import, &nobody), -ENOENT);
}

static void share(void)
{
	int a = dev_open(), b = dev_open(), file;
	uint32_t s = syncobj_new(a), t = 0, u = 0, q = queue_new(b);
	struct drm_pim_job job = job_nop(0);

	CHECK_OK(to_fd(a, s, 0, &file));
	CHECK_EQ(fcntl(file, F_GETFD), FD_CLOEXEC);
	CHECK_OK(from_fd(b, file, 0, &t));
	CHECK_OK(from_fd(a, file, 0, &u));
	close(file);
	CHECK(u != s);
	CHECK_OK(submit(b, q, &job, 1, 0, t, NULL));
	CHECK_OK(syncobj_wait(a, s, 0, 5000));
	CHECK_OK(destroy(a, s));
	CHECK_OK(syncobj_wait(a, u, 0, 0));
	CHECK_OK(reset(a, &u, 1));
	CHECK_EQ(wait_binary(b, &t, 1, 0, 0, NULL), -EINVAL);
}

struct other_process {
	int file;
};

static void signal_by_job(void *arg)
{
	struct other_process *o = arg;
	int fd = dev_open();
	uint32_t s = 0;

	CHECK_OK(from_fd(fd, o->file, 0, &s));
	CHECK_OK(submit_point(fd, queue_new(fd), 0, s, 3));
	CHECK_OK(syncobj_wait(fd, s, 3, 5000));
}

static void share_process(void)
{
	int fd = dev_open();
	struct other_process o;
	struct waiter w = { .fd = fd, .handle = { syncobj_new(fd) }, .point = { 3 }, .n = 1, .flags = FOR_SUBMIT };
	int pid;

	CHECK_OK(to_fd(fd, w.handle[0], 0, &o.file));
	waiter_start(&w);
	CHECK(waiter_sleeps(&w));
	pid = child(signal_by_job, &o);
	child_ok(pid, 10000);
	CHECK_OK(waiter_end(&w));
	CHECK_EQ(reached(fd, w.handle[0]), 3);
}

/* -- waits --------------------------------------------------------------------------------------------------------------- */

static void wait_bad(void)
{
	int fd = dev_open();
	uint32_t two[2] = { done_new(fd), 0 }, first;
	uint64_t points[2] = { 0, 0 };
	int none;

	/* None is nothing to wait for; older kernels take it for a mistake. */
	none = wait_binary(fd, two, 0, 0, 0, NULL);
	CHECK(!none || none == -EINVAL);
	CHECK_EQ(wait_points(fd, two, points, 0, 0, 0, NULL), none);
	CHECK_EQ(wait_binary(fd, two, 1, 1u << 31, 0, NULL), -EINVAL);
	CHECK_EQ(wait_binary(fd, two, 1, AVAILABLE, 0, NULL), -EINVAL); /* timelines only */
	CHECK_EQ(wait_points(fd, two, points, 1, 1u << 31, 0, NULL), -EINVAL);
	CHECK_EQ(wait_binary(fd, two, 2, 0, 0, NULL), -ENOENT);
	CHECK_EQ(wait_points(fd, two, points, 2, 0, 0, NULL), -ENOENT);
	two[1] = NOBODY;
	CHECK_EQ(wait_binary(fd, two, 2, FOR_SUBMIT, 0, NULL), -ENOENT);
	CHECK_EQ(wait_binary(fd, (void *)8, 1, 0, 0, NULL), -EFAULT);
	CHECK_EQ(wait_points(fd, two, (void *)8, 1, 0, 0, NULL), -EFAULT);
	CHECK_OK(wait_binary(fd, two, 1, 0, 0, &first));
	CHECK_EQ(first, 0);
}

enum state { EMPTY, PENDING, DONE, SIGNALLED, STATES };

/* What a wait that does not sleep must say. */
static int expected(const enum state s[3], uint32_t flags, uint32_t *first)
{
	uint32_t i, good = 0;
	bool empty = false;

	*first = ~0u;
	for (i = 0; i < 3; i++) {
		if (s[i] == DONE || s[i] == SIGNALLED || (s[i] == PENDING && (flags & AVAILABLE))) {
			if (!good++)
				*first = i;
		}
		empty |= s[i] == EMPTY;
	}
	if (empty && !(flags & (FOR_SUBMIT | AVAILABLE)))
		return -EINVAL;
	return flags & ALL ? (good == 3 ? 0 : -ETIME) : (good ? 0 : -ETIME);
}

static void every_mix(bool timeline)
{
	int fd = dev_open();
	uint32_t done = done_new(fd); /* before the gate, which takes the engines */
	struct gate g = gate_new(fd);
	uint32_t handle[STATES] = { syncobj_new(fd), g.pending, done, syncobj_new(fd) }, line, flags, first, want_first, i, n;
	const uint64_t points[3] = { timeline ? 7 : 0, timeline ? 7 : 0, timeline ? 7 : 0 };

	CHECK_OK(signal_now(fd, &handle[SIGNALLED], 1));
	for (i = PENDING; timeline && i < STATES; i++) {
		line = syncobj_new(fd);
		CHECK_OK(transfer(fd, handle[i], 0, line, 7, 0));
		handle[i] = line;
	}
	if (timeline) /* it has points, but not this one */
		CHECK_OK(signal_point(fd, handle[EMPTY], 6));
	for (n = 0; n < STATES * STATES * STATES; n++) {
		const enum state s[3] = { n % STATES, n / STATES % STATES, n / STATES / STATES };
		const uint32_t h[3] = { handle[s[0]], handle[s[1]], handle[s[2]] };

		for (flags = 0; flags <= (timeline ? ALL | FOR_SUBMIT | AVAILABLE : ALL | FOR_SUBMIT); flags++) {
			int want = expected(s, flags, &want_first);
			int got = timeline ? wait_points(fd, h, points, 3, flags, 0, &first) : wait_binary(fd, h, 3, flags, 0, &first);

			if (got != want)
				fail(__FILE__, __LINE__, "states %d %d %d, flags %u: %d, not %d", s[0], s[1], s[2], flags, got, want);
			if (!got && !(flags & ALL))
				CHECK_EQ(first, want_first);
		}
	}
	gate_go(&g);
}

static void every_mix_binary(void)
{
	every_mix(false);
}

static void every_mix_timeline(void)
{
	every_mix(true);
}

static void timeouts(void)
{
	const unsigned int ms[] = { 1, 5, 30, 100 };
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint32_t empty = syncobj_new(fd), i, k, early;
	uint64_t point = 0, until, now;

	for (i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
		for (k = 0; k < 4; k++) {
			uint32_t h = k & 1 ? empty : g.pending;

			/* The kernel counts in ticks, which come late on a processor that was not let run: not five times in a row. */
			for (early = 0, now = until = 1; early < 5 && (!early || now < until); early++) {
				until = in_ms(ms[i]);
				CHECK_EQ(k & 2 ? wait_points(fd, &h, &point, 1, FOR_SUBMIT, (int64_t)until, NULL)
					       : wait_binary(fd, &h, 1, FOR_SUBMIT, (int64_t)until, NULL),
					 -ETIME);
				now = in_ms(0);
			}
			CHECK(now >= until);
			CHECK(now < until + 2000000000ull);
		}
	}
	/* The past, and a time before there was any, are polls. */
	now = in_ms(0);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, 0, NULL), -ETIME);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, 1, NULL), -ETIME);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, (int64_t)now, NULL), -ETIME);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, -1, NULL), -ETIME);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, INT64_MIN, NULL), -ETIME);
	CHECK(in_ms(0) < now + 2000000000ull);
	gate_go(&g);
	CHECK_OK(wait_binary(fd, &g.pending, 1, 0, INT64_MAX, NULL)); /* for ever is long enough */
	CHECK_OK(wait_binary(fd, &g.pending, 1, 0, 1, NULL)); /* too late, but it has signalled */
}

static void on_alarm(int sig)
{
	(void)sig;
}

static void alarm_in(unsigned int ms, int flags)
{
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = flags };
	unsigned int real = ms * time_scale();
	struct itimerval t = { .it_value = { .tv_sec = real / 1000, .tv_usec = (suseconds_t)(real % 1000) * 1000 } };

	CHECK_OK(sigaction(SIGALRM, &act, NULL));
	CHECK_OK(setitimer(ITIMER_REAL, &t, NULL));
}

static void interrupted(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint64_t until = in_ms(10000);

	alarm_in(50, 0);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, (int64_t)until, NULL), -EINTR);
	CHECK(in_ms(0) < until);
	/* Restarted, it keeps its time: begun again it would take 350 ms longer. */
	until = in_ms(400);
	alarm_in(350, SA_RESTART);
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, (int64_t)until, NULL), -ETIME);
	CHECK(in_ms(0) >= until - 50000000 && in_ms(0) < until + 300000000ull * time_scale());
	gate_go(&g);
}

static void for_submit(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint32_t s = syncobj_new(fd), t = syncobj_new(fd), q = queue_new(fd);
	struct waiter job = { .fd = fd, .handle = { s }, .n = 1, .flags = FOR_SUBMIT };
	struct waiter point = { .fd = fd, .handle = { t }, .point = { 4 }, .n = 1, .flags = FOR_SUBMIT };
	struct waiter seen = { .fd = fd, .handle = { t }, .point = { 4 }, .n = 1, .flags = AVAILABLE };
	struct waiter both = { .fd = fd, .handle = { s, t }, .point = { 0, 4 }, .n = 2, .flags = FOR_SUBMIT | ALL };

	waiter_start(&job);
	waiter_start(&point);
	waiter_start(&seen);
	waiter_start(&both);
	CHECK(waiter_sleeps(&job) && !point.over && !seen.over);
	CHECK_OK(submit_point(fd, q, g.pending, s, 0));
	CHECK_OK(signal_point(fd, t, 3)); /* not yet the one */
	CHECK(waiter_sleeps(&job) && !point.over && !seen.over);
	CHECK_OK(submit_point(fd, q, 0, t, 4));
	CHECK_OK(waiter_end(&seen)); /* it is there, that is enough */
	CHECK(waiter_sleeps(&job) && !point.over);
	gate_go(&g);
	CHECK_OK(waiter_end(&job));
	CHECK_OK(waiter_end(&point));
	CHECK_OK(waiter_end(&both));
}

static void many_waiters(void)
{
	enum { N = 24 };
	static struct waiter w[N];
	int fd = dev_open(), i;
	struct gate g = gate_new(fd);
	uint32_t line = syncobj_new(fd), q = queue_new(fd), host = syncobj_new(fd);

	CHECK_OK(submit_point(fd, q, g.pending, line, 10));
	for (i = 0; i < N; i++) {
		w[i] = (struct waiter){ .fd = fd, .handle = { g.pending, line, host }, .point = { 0, 10, 1 }, .n = 3, .flags = FOR_SUBMIT };
		w[i].flags |= i % 2 ? ALL : 0;
		waiter_start(&w[i]);
	}
	for (i = 0; i < N; i++)
		CHECK(!w[i].over);
	CHECK(waiter_sleeps(&w[0]));
	CHECK_OK(signal_point(fd, host, 1));
	for (i = 0; i < N; i += 2) {
		CHECK_OK(waiter_end(&w[i]));
		CHECK_EQ(w[i].first, 2);
	}
	CHECK(waiter_sleeps(&w[1]));
	gate_go(&g);
	for (i = 1; i < N; i += 2)
		CHECK_OK(waiter_end(&w[i]));
}

static void reset_under_wait(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	struct waiter w = { .fd = fd, .handle = { g.pending }, .n = 1 };

	waiter_start(&w);
	CHECK(waiter_sleeps(&w));
	CHECK_OK(reset(fd, &g.pending, 1));
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, 0, NULL), -EINVAL);
	CHECK(waiter_sleeps(&w)); /* for the fence it found */
	gate_go(&g);
	CHECK_OK(waiter_end(&w));
	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, 0, NULL), -EINVAL);
}

static void destroy_under_wait(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	struct waiter w = { .fd = fd, .handle = { g.pending }, .n = 1 };

	waiter_start(&w);
	CHECK(waiter_sleeps(&w));
	CHECK_OK(destroy(fd, g.pending));
	CHECK(waiter_sleeps(&w));
	gate_go(&g);
	CHECK_OK(waiter_end(&w));
}

/* -- reset and signal ---------------------------------------------------------------------------------------------------- */

static void reset_signal_bad(void)
{
	static const unsigned long requests[] = { DRM_IOCTL_SYNCOBJ_RESET, DRM_IOCTL_SYNCOBJ_SIGNAL };
	int fd = dev_open();
	uint32_t h[2] = { done_new(fd), 0 };
	struct drm_syncobj_array a;
	size_t i;

	for (i = 0; i < 2; i++) {
		a = (struct drm_syncobj_array){ .handles = (uintptr_t)h, .count_handles = 0 };
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EINVAL);
		a.count_handles = 1;
		a.pad = 1;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EINVAL);
		a.pad = 0;
		a.handles = 8;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EFAULT);
		a.handles = (uintptr_t)h;
		a.count_handles = 2;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -ENOENT);
		CHECK_OK(wait_binary(fd, h, 1, 0, 0, NULL)); /* the good one is as it was */
	}
}

static void reset_signal(void)
{
	enum { N = 32 };
	int fd = dev_open(), i;
	uint32_t h[N];

	for (i = 0; i < N; i++)
		h[i] = syncobj_new(fd);
	CHECK_OK(signal_now(fd, h, N));
	CHECK_OK(wait_binary(fd, h, N, ALL, 0, NULL));
	CHECK_OK(reset(fd, h, N / 2));
	CHECK_EQ(wait_binary(fd, h, N, 0, 0, NULL), -EINVAL);
	CHECK_EQ(wait_binary(fd, h, N, ALL | FOR_SUBMIT, 0, NULL), -ETIME);
	CHECK_OK(wait_binary(fd, h + N / 2, N / 2, ALL, 0, NULL));
	CHECK_OK(reset(fd, h, N));
	CHECK_OK(reset(fd, h, N)); /* of nothing is nothing */
}

static void signal_over_job(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);

	CHECK_EQ(wait_binary(fd, &g.pending, 1, 0, 0, NULL), -ETIME);
	CHECK_OK(signal_now(fd, &g.pending, 1));
	CHECK_OK(wait_binary(fd, &g.pending, 1, 0, 0, NULL));
	gate_go(&g);
}

/* -- timelines ----------------------------------------------------------------------------------------------------------- */

static void timeline_bad(void)
{
	int fd = dev_open();
	uint32_t h = syncobj_new(fd), none = 0;
	uint64_t point = 1;
	struct drm_syncobj_timeline_array a = { .handles = (uintptr_t)&h, .points = (uintptr_t)&point };
	static const unsigned long requests[] = { DRM_IOCTL_SYNCOBJ_QUERY, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL };
	size_t i;

	for (i = 0; i < 2; i++) {
		a.count_handles = 0;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EINVAL);
		a.count_handles = 1;
		a.flags = 1u << 31;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EINVAL);
		a.flags = 0;
		a.handles = (uintptr_t)&none;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -ENOENT);
		a.handles = 8;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EFAULT);
		a.handles = (uintptr_t)&h;
		a.points = 8;
		CHECK_EQ(pim_ioctl(fd, requests[i], &a), -EFAULT);
		a.points = (uintptr_t)&point;
	}
	CHECK_EQ(reached(fd, h), 0);
}

static void timeline_host(void)
{
	int fd = dev_open();
	uint32_t h = syncobj_new(fd);
	uint64_t p;

	CHECK_EQ(reached(fd, h), 0);
	for (p = 1; p < 1000; p += 111) {
		CHECK_OK(signal_point(fd, h, p));
		CHECK_EQ(reached(fd, h), p);
		CHECK_EQ(promised(fd, h), p);
		CHECK_OK(poll_point(fd, h, p));
		CHECK_OK(poll_point(fd, h, p / 2));
		CHECK_EQ(poll_point(fd, h, p + 1), -EINVAL);
	}
	CHECK_OK(signal_point(fd, h, UINT64_MAX));
	CHECK_EQ(reached(fd, h), UINT64_MAX);
	CHECK_OK(reset(fd, &h, 1));
	CHECK_EQ(reached(fd, h), 0);
	CHECK_EQ(poll_point(fd, h, 1), -EINVAL);
}

static void timeline_jobs(void)
{
	enum { N = 50 };
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint32_t h = syncobj_new(fd), q = queue_new(fd);
	uint64_t p, last = 0, now, end = now_ms() + 10000;

	for (p = 1; p <= N; p++)
		CHECK_OK(submit_point(fd, q, p == 1 ? g.pending : 0, h, p * 2));
	CHECK_EQ(reached(fd, h), 0);
	CHECK_EQ(promised(fd, h), 2 * N);
	CHECK_EQ(poll_point(fd, h, 1), -ETIME);
	CHECK_EQ(poll_point(fd, h, 2 * N), -ETIME);
	CHECK_EQ(poll_point(fd, h, 2 * N + 1), -EINVAL);
	gate_go(&g);
	do {
		now = reached(fd, h);
		CHECK(now >= last && now % 2 == 0);
		CHECK_OK(now ? poll_point(fd, h, now) : 0);
		last = now;
	} while (now < 2 * N && now_ms() < end);
	CHECK_EQ(last, 2 * N);
}

/* A point is reached only with all those before it, whoever signals them. */
static void timeline_order(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint32_t h = syncobj_new(fd);
	struct waiter w = { .fd = fd, .handle = { h }, .point = { 20 }, .n = 1 };

	CHECK_OK(transfer(fd, g.pending, 0, h, 10, 0));
	CHECK_OK(signal_point(fd, h, 20));
	CHECK_EQ(promised(fd, h), 20);
	CHECK_EQ(reached(fd, h), 0);
	CHECK_EQ(poll_point(fd, h, 20), -ETIME);
	waiter_start(&w);
	CHECK(waiter_sleeps(&w));
	gate_go(&g);
	CHECK_OK(waiter_end(&w));
	CHECK_OK(poll_point(fd, h, 10));
	CHECK_EQ(reached(fd, h), 20);
}

/* Discouraged, but it must not lose anybody: a point lower than the last one. */
static void timeline_unordered(void)
{
	int fd = dev_open();
	uint32_t h = syncobj_new(fd), q = queue_new(fd);

	CHECK_OK(signal_point(fd, h, 10));
	CHECK_OK(signal_point(fd, h, 5));
	CHECK_OK(submit_point(fd, q, 0, h, 7));
	CHECK_OK(syncobj_wait(fd, h, 5, 5000));
	CHECK_OK(syncobj_wait(fd, h, 7, 5000));
	CHECK_OK(syncobj_wait(fd, h, 10, 5000));
	CHECK_EQ(poll_point(fd, h, 11), -EINVAL);
}

static void transfer_bad(void)
{
	int fd = dev_open();
	uint32_t empty = syncobj_new(fd), full = done_new(fd);
	struct drm_syncobj_transfer t = { .src_handle = full, .dst_handle = empty, .pad = 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TRANSFER, &t), -EINVAL);
	CHECK_EQ(transfer(fd, 0, 0, full, 0, 0), -ENOENT);
	CHECK_EQ(transfer(fd, full, 0, 0, 0, 0), -ENOENT);
	CHECK_EQ(transfer(fd, full, 0, NOBODY, 1, 0), -ENOENT);
	CHECK_EQ(transfer(fd, empty, 0, full, 0, 0), -EINVAL); /* no fence */
	CHECK_EQ(transfer(fd, full, 5, empty, 1, 0), -EINVAL); /* a binary one has no points */
	CHECK_EQ(reached(fd, empty), 0);
}

static void transfer_all_ways(void)
{
	int fd = dev_open();
	struct gate g = gate_new(fd);
	uint32_t line = syncobj_new(fd), line2 = syncobj_new(fd), plain = syncobj_new(fd), q = queue_new(fd);

	CHECK_OK(transfer(fd, g.pending, 0, line, 3, 0)); /* binary to point */
	CHECK_OK(submit_point(fd, q, 0, line, 8));
	CHECK_OK(transfer(fd, line, 3, line2, 100, 0)); /* point to point */
	CHECK_OK(transfer(fd, line, 3, plain, 0, 0)); /* point to binary */
	CHECK_EQ(poll_point(fd, line, 3), -ETIME);
	CHECK_EQ(poll_point(fd, line2, 100), -ETIME);
	CHECK_EQ(wait_binary(fd, &plain, 1, 0, 0, NULL), -ETIME);
	CHECK_OK(reset(fd, &g.pending, 1)); /* the copies are their own */
	CHECK_EQ(poll_point(fd, line2, 100), -ETIME);
	gate_go(&g);
	CHECK_OK(syncobj_wait(fd, line2, 100, 5000));
	CHECK_OK(syncobj_wait(fd, plain, 0, 5000));
	CHECK_OK(syncobj_wait(fd, line, 8, 5000));
	CHECK_OK(transfer(fd, line, 8, g.pending, 0, 0)); /* signalled ones, too */
	CHECK_OK(wait_binary(fd, &g.pending, 1, 0, 0, NULL));
}

static void *signal_later(void *arg)
{
	struct waiter *w = arg;

	sleep_ms(100);
	w->ret = signal_point(w->fd, w->handle[0], w->point[0]);
	return NULL;
}

static void transfer_for_submit(void)
{
	int fd = dev_open();
	uint32_t dst = syncobj_new(fd);
	struct waiter later = { .fd = fd, .handle = { syncobj_new(fd) }, .point = { 2 } };
	uint64_t t0 = now_ms();

	CHECK_OK(pthread_create(&later.thread, NULL, signal_later, &later));
	CHECK_OK(transfer(fd, later.handle[0], 2, dst, 9, FOR_SUBMIT));
	CHECK(now_ms() - t0 >= 90);
	CHECK_OK(pthread_join(later.thread, NULL));
	CHECK_OK(later.ret);
	CHECK_OK(poll_point(fd, dst, 9));
}

/* -- sync_file ----------------------------------------------------------------------------------------------------------- */

static bool readable(int file, int ms)
{
	struct pollfd p = { .fd = file, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

static struct sync_fence_info fence_info(int file, struct sync_file_info *info)
{
	struct sync_fence_info fence = { 0 };

	*info = (struct sync_file_info){ .num_fences = 1, .sync_fence_info = (uintptr_t)&fence };
	CHECK_OK(pim_ioctl(file, SYNC_IOC_FILE_INFO, info));
	return fence;
}

static void sync_file_poll(void)
{
	int fd = dev_open(), file;
	struct gate g = gate_new(fd);
	struct sync_file_info info;
	struct sync_fence_info fence;

	file = sync_file_of(fd, g.pending);
	fence = fence_info(file, &info);
	CHECK_EQ(info.num_fences, 1);
	CHECK_EQ(info.status, 0);
	CHECK_EQ(fence.status, 0);
	CHECK(!strcmp(fence.driver_name, "pim"));
	CHECK(!strcmp(fence.obj_name, "pim-host"));
	CHECK(!readable(file, 50));
	gate_go(&g);
	CHECK(readable(file, 5000));
	fence = fence_info(file, &info);
	CHECK_EQ(info.status, 1);
	CHECK_EQ(fence.status, 1);
	CHECK(fence.timestamp_ns && fence.timestamp_ns <= in_ms(0));
	info.flags = 1;
	CHECK_EQ(pim_ioctl(file, SYNC_IOC_FILE_INFO, &info), -EINVAL);
}

static void sync_file_merge(void)
{
	int fd = dev_open();
	uint32_t other = done_new(fd), merged = syncobj_new(fd), q = queue_new(fd);
	struct gate g = gate_new(fd);
	struct sync_merge_data m = { .name = "both" };
	int a = sync_file_of(fd, g.pending), b;

	b = sync_file_of(fd, other);
	m.fd2 = b;
	CHECK_OK(pim_ioctl(a, SYNC_IOC_MERGE, &m));
	CHECK(readable(b, 5000));
	CHECK(!readable(m.fence, 50));
	CHECK_OK(put_sync_file(fd, m.fence, merged));
	CHECK_EQ(wait_binary(fd, &merged, 1, 0, 0, NULL), -ETIME);
	/* A job may wait for such a fence. */
	CHECK_OK(submit_point(fd, q, merged, other, 0));
	CHECK_EQ(syncobj_wait(fd, other, 0, 50), -ETIME);
	gate_go(&g);
	CHECK_OK(syncobj_wait(fd, other, 0, 5000));
	CHECK_OK(wait_binary(fd, &merged, 1, 0, 0, NULL));
	m.pad = 1;
	CHECK_EQ(pim_ioctl(a, SYNC_IOC_MERGE, &m), -EINVAL);
}

static void sync_file_points(void)
{
	int fd = dev_open(), file;
	struct gate g = gate_new(fd);
	uint32_t plain = syncobj_new(fd), line = syncobj_new(fd), point = syncobj_new(fd), q = queue_new(fd);

	/* Into a point: by way of a binary one; out of a point: the same way back. */
	file = sync_file_of(fd, g.pending);
	CHECK_OK(put_sync_file(fd, file, plain));
	CHECK_OK(transfer(fd, plain, 0, line, 6, 0));
	CHECK_OK(submit_point(fd, q, g.pending, line, 9));
	close(file);
	CHECK_OK(transfer(fd, line, 6, point, 0, 0));
	file = sync_file_of(fd, point);
	CHECK(!readable(file, 50));
	CHECK_EQ(poll_point(fd, line, 6), -ETIME);
	gate_go(&g);
	CHECK(readable(file, 5000));
	CHECK_OK(poll_point(fd, line, 6));
	close(file);
	/* As a whole: its last point. */
	file = sync_file_of(fd, line);
	CHECK(readable(file, 5000));
	CHECK_OK(poll_point(fd, line, 9));
	/* Importing forgets the points. */
	CHECK_OK(put_sync_file(fd, file, line));
	CHECK_OK(wait_binary(fd, &line, 1, 0, 0, NULL));
}

static void sync_file_snapshot(void)
{
	int fd = dev_open(), file;
	struct gate g = gate_new(fd);

	file = sync_file_of(fd, g.pending);
	CHECK_OK(signal_now(fd, &g.pending, 1));
	CHECK(!readable(file, 50));
	CHECK_OK(destroy(fd, g.pending));
	gate_go(&g);
	CHECK(readable(file, 5000));
}

/* -- eventfd ------------------------------------------------------------------------------------------------------------- */

static int tell(int fd, uint32_t handle, uint64_t point, uint32_t flags, int event)
{
	struct drm_syncobj_eventfd e = { .handle = handle, .point = point, .flags = flags, .fd = event };

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_EVENTFD, &e);
}

static int event_new(int fd)
{
	int e = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	CHECK(e >= 0);
	if (tell(fd, done_new(fd), 0, 0, e) == -EINVAL)
		skip("this kernel has no DRM_IOCTL_SYNCOBJ_EVENTFD");
	return e;
}

/* How often it was signalled since the last look; waits for the first time. */
static uint64_t events(int e, int ms)
{
	uint64_t n = 0;

	if (!readable(e, ms))
		return 0;
	CHECK_EQ(read(e, &n, 8), 8);
	return n;
}

static void eventfd_bad(void)
{
	int fd = dev_open(), e = event_new(fd);
	uint32_t h = syncobj_new(fd);
	struct drm_syncobj_eventfd args = { .handle = h, .fd = e, .pad = 1 };

	CHECK_EQ(events(e, 1000), 1);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_EVENTFD, &args), -EINVAL);
	CHECK_EQ(tell(fd, h, 0, 1u << 31, e), -EINVAL);
	CHECK_EQ(tell(fd, h, 0, ALL, e), -EINVAL);
	CHECK_EQ(tell(fd, 0, 0, 0, e), -ENOENT);
	CHECK_EQ(tell(fd, NOBODY, 0, 0, e), -ENOENT);
	CHECK_EQ(tell(fd, h, 0, 0, -1), -EBADF);
	CHECK_EQ(tell(fd, h, 0, 0, fd), -EINVAL);
	CHECK_EQ(events(e, 20), 0);
}

static void eventfd_fires(void)
{
	int fd = dev_open(), e = event_new(fd), available = eventfd(0, EFD_NONBLOCK), host = eventfd(0, EFD_NONBLOCK);
	struct gate g;
	uint32_t line = syncobj_new(fd), q = queue_new(fd);

	CHECK_EQ(events(e, 1000), 1);
	CHECK_OK(tell(fd, line, 5, 0, e));
	CHECK_OK(tell(fd, line, 5, AVAILABLE, available));
	CHECK_OK(tell(fd, line, 9, 0, host));
	g = gate_new(fd);
	CHECK_EQ(events(available, 20), 0);
	CHECK_OK(submit_point(fd, q, g.pending, line, 5));
	CHECK_EQ(events(available, 5000), 1);
	CHECK_EQ(events(e, 50), 0);
	gate_go(&g);
	CHECK_EQ(events(e, 5000), 1);
	CHECK_EQ(events(host, 20), 0);
	CHECK_OK(signal_point(fd, line, 9));
	CHECK_EQ(events(host, 5000), 1);
	/* Once each. */
	CHECK_OK(signal_point(fd, line, 10));
	CHECK_EQ(events(e, 20), 0);
	CHECK_EQ(events(available, 0), 0);
	CHECK_EQ(events(host, 0), 0);
}

static void eventfd_ends(void)
{
	int fd = dev_open(), e = event_new(fd);
	struct gate g = gate_new(fd);
	uint32_t never = syncobj_new(fd);

	CHECK_EQ(events(e, 1000), 1);
	CHECK_OK(tell(fd, g.pending, 0, 0, e));
	CHECK_OK(tell(fd, never, 1, 0, e));
	CHECK_OK(destroy(fd, g.pending));
	CHECK_OK(destroy(fd, never));
	gate_go(&g);
	CHECK_EQ(events(e, 5000), 1); /* of the fence that it had */
	CHECK_EQ(events(e, 50), 0);
}

const struct test drm_syncobj_tests[] = {
	{ "syncobj: creation knows one flag, SIGNALED", create_flags },
	{ "syncobj: only its own file destroys one, once", destroy_bad },
	{ "syncobj: export and import refuse bad handles, descriptors, flags and pads", share_bad },
	{ "syncobj: export and import by descriptor name the same object", share },
	{ "syncobj: another process signals it by its job", share_process },
	{ "syncobj: waits refuse bad counts, flags, handles and pointers", wait_bad },
	{ "syncobj: a poll of any and of all is right for every mix of three binary ones", every_mix_binary },
	{ "syncobj: a poll of any and of all is right for every mix of three points", every_mix_timeline },
	{ "syncobj: a wait ends at its absolute time and not before", timeouts },
	{ "syncobj: a signal interrupts a wait, and a restarted one keeps its time", interrupted },
	{ "syncobj: a wait for submission sleeps until there is a fence and until it signals", for_submit },
	{ "syncobj: one job wakes many threads that wait for any and for all", many_waiters },
	{ "syncobj: a reset leaves those who wait with the fence they found", reset_under_wait },
	{ "syncobj: destruction leaves those who wait with the fence they found", destroy_under_wait },
	{ "syncobj: reset and signal refuse bad arguments and then change none", reset_signal_bad },
	{ "syncobj: reset and signal work on many at once", reset_signal },
	{ "syncobj: the host's signal takes the place of a job's fence", signal_over_job },
	{ "syncobj timeline: query and signal refuse bad arguments", timeline_bad },
	{ "syncobj timeline: the host's points are reached one by one", timeline_host },
	{ "syncobj timeline: points of jobs are promised at once and reached in order", timeline_jobs },
	{ "syncobj timeline: a point is reached only with all those before it", timeline_order },
	{ "syncobj timeline: points out of order lose no waiter", timeline_unordered },
	{ "syncobj timeline: transfer refuses bad arguments", transfer_bad },
	{ "syncobj timeline: transfer goes between binary ones and points, all ways", transfer_all_ways },
	{ "syncobj timeline: transfer waits for submission if asked to", transfer_for_submit },
	{ "sync_file: is polled and says whose fence it is", sync_file_poll },
	{ "sync_file: a merged one signals with the last of its fences", sync_file_merge },
	{ "sync_file: goes into and out of timeline points", sync_file_points },
	{ "sync_file: keeps its fence whatever becomes of the syncobj", sync_file_snapshot },
	{ "syncobj eventfd: refuses bad arguments", eventfd_bad },
	{ "syncobj eventfd: tells once, of the fence or of its signal", eventfd_fires },
	{ "syncobj eventfd: a destroyed syncobj tells of the fence that it had, and no more", eventfd_ends },
	TEST_END
};
