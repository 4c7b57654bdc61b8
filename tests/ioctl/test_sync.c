/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <unistd.h>

static int submit_points(int fd, uint32_t queue, uint32_t engine, struct drm_pim_sync *in, uint32_t nin, struct drm_pim_sync *out,
			 uint32_t nout)
{
	struct drm_pim_job job = job_nop(engine);
	struct drm_pim_submit s = {
		.queue = queue, .njobs = 1, .jobs = (uintptr_t)&job, .nin = nin, .nout = nout, .in_syncs = (uintptr_t)in,
		.out_syncs = (uintptr_t)out,
	};

	return pim_ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s);
}

static void bad_syncs(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t q = queue_new(fd), s = syncobj_new(fd), foreign = syncobj_new(other) + 100;
	struct drm_pim_sync bad_in[] = { { .handle = 0 }, { .handle = foreign }, { .handle = s, .pad = 1 }, { .handle = s } };
	const int in_ret[] = { -ENOENT, -ENOENT, -EINVAL, -EINVAL }; /* the last one has no fence yet */
	struct drm_pim_sync bad_out[] = { { .handle = 0 }, { .handle = foreign }, { .handle = s, .pad = 1 } };
	const int out_ret[] = { -ENOENT, -ENOENT, -EINVAL };
	size_t i;

	for (i = 0; i < sizeof(bad_in) / sizeof(bad_in[0]); i++)
		CHECK_EQ(submit_points(fd, q, 0, &bad_in[i], 1, NULL, 0), in_ret[i]);
	for (i = 0; i < sizeof(bad_out) / sizeof(bad_out[0]); i++) {
		struct drm_pim_sync two[2] = { { .handle = s }, bad_out[i] };

		CHECK_EQ(submit_points(fd, q, 0, NULL, 0, two, 2), out_ret[i]);
	}
	CHECK_EQ(syncobj_wait(fd, s, 0, 0), -EINVAL); /* nothing was put into it */
	CHECK_EQ(queue_query(fd, q).submitted[0], 0);
}

static void binary(void)
{
	int fd = dev_open();
	uint32_t a = queue_new(fd), b = queue_new(fd), first = syncobj_new(fd), second = syncobj_new(fd);
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_PIM);

	gate_close(fd, a, first);
	CHECK_OK(submit(fd, b, &job, 1, first, second, NULL));
	CHECK_EQ(syncobj_wait(fd, second, 0, 100), -ETIME);
	CHECK_EQ(syncobj_status(fd, second), 0);
	gate_open(fd, a, 0);
	CHECK_OK(syncobj_wait(fd, second, 0, 5000));
	CHECK_OK(syncobj_wait(fd, first, 0, 0));
	CHECK_EQ(syncobj_status(fd, second), 1);
}

static void timeline(void)
{
	int fd = dev_open();
	uint32_t a = queue_new(fd), b = queue_new(fd), line = syncobj_new(fd), gate = syncobj_new(fd);
	struct drm_pim_sync in = { .handle = gate }, p5 = { .handle = line, .point = 5 }, p9 = { .handle = line, .point = 9 };

	gate_close(fd, a, gate);
	CHECK_OK(submit_points(fd, b, 1, &in, 1, &p5, 1));
	CHECK_OK(submit_points(fd, b, 1, &p5, 1, &p9, 1));
	CHECK_EQ(syncobj_wait(fd, line, 5, 50), -ETIME);
	CHECK_EQ(submit_points(fd, b, 1, &(struct drm_pim_sync){ .handle = line, .point = 10 }, 1, NULL, 0), -EINVAL);
	gate_open(fd, a, 0);
	CHECK_OK(syncobj_wait(fd, line, 5, 5000));
	CHECK_OK(syncobj_wait(fd, line, 9, 5000));
}

static void both_engines(void)
{
	int fd = dev_open();
	uint32_t a = queue_new(fd), b = queue_new(fd), gate = syncobj_new(fd), out = syncobj_new(fd);
	struct drm_pim_job jobs[2] = { job_nop(DRM_PIM_ENGINE_PIM), job_nop(DRM_PIM_ENGINE_HOST) };

	/* The HOST ring is blocked, the PIM job ends at once: the fence is of both. */
	gate_close(fd, a, gate);
	CHECK_OK(submit(fd, b, jobs, 2, 0, out, NULL));
	CHECK_EQ(syncobj_wait(fd, out, 0, 100), -ETIME);
	gate_open(fd, a, 0);
	CHECK_OK(syncobj_wait(fd, out, 0, 5000));
	CHECK_EQ(syncobj_status(fd, out), 1);
}

static void many_syncs(void)
{
	enum { N = 64 };
	int fd = dev_open(), i;
	uint32_t q = queue_new(fd);
	struct drm_pim_sync s[N];

	for (i = 0; i < N; i++)
		s[i] = (struct drm_pim_sync){ .handle = syncobj_new(fd), .point = i % 2 ? 3 : 0 };
	CHECK_OK(submit_points(fd, q, 0, NULL, 0, s, N));
	CHECK_OK(submit_points(fd, q, 1, s, N, NULL, 0));
	for (i = 0; i < N; i++)
		CHECK_OK(syncobj_wait(fd, s[i].handle, s[i].point, 5000));
}

/* A fence outlives its file. */
static void sync_file(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t q = queue_new(fd), out = syncobj_new(fd), imported = syncobj_new(other);
	struct drm_syncobj_handle h = { .handle = out, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1 };
	struct drm_pim_job job = job_nop(0);

	CHECK_OK(submit(fd, q, &job, 1, 0, out, NULL));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	close(fd);
	h.handle = imported;
	h.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE;
	CHECK_OK(pim_ioctl(other, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &h));
	close(h.fd);
	CHECK_OK(syncobj_wait(other, imported, 0, 5000));
	CHECK_OK(submit(other, queue_new(other), &job, 1, imported, 0, NULL));
}

const struct test sync_tests[] = {
	{ "syncobjs that do not exist, have a pad or no fence are refused", bad_syncs },
	{ "a job waits for a binary syncobj of another queue", binary },
	{ "timeline points are waited for and signalled in order", timeline },
	{ "the out fence of jobs on both engines waits for both", both_engines },
	{ "many in and out syncobjs in one call", many_syncs },
	{ "a fence outlives its file and gates another's job", sync_file },
	TEST_END
};
