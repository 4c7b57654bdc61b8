/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <unistd.h>

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

const struct test queue_tests[] = {
	{ "queue calls with flags, pads, unknown or foreign queues are refused", bad_calls },
	{ "a card out of queues is ENOSPC, and usable again when one is destroyed", full },
	{ "jobs are numbered from 1 on each engine, and counted when they are done", counts },
	{ "a queue on used slots starts at zero", reused },
	{ "a destroyed queue's waiting jobs end with ECANCELED", destroy_cancels },
	TEST_END
};
