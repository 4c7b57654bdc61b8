/* SPDX-License-Identifier: MIT */
#include "harness.h"

static void every_parameter(void)
{
	int fd = dev_open();
	uint32_t p;

	CHECK_EQ(param(fd, DRM_PIM_PARAM_ABI_MAJOR), PIM_HW_ABI_MAJOR);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_MAX_JOBS), DRM_PIM_MAX_JOBS);
	CHECK(param(fd, DRM_PIM_PARAM_DOMAINS) >= 1);
	CHECK(param(fd, DRM_PIM_PARAM_DOMAINS) <= PIM_HW_MAX_DOMAINS);
	CHECK(param(fd, DRM_PIM_PARAM_DOMAIN_BYTES) > 0);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_STRIPE_BYTES) % PIM_HW_COLUMN, 0);
	CHECK(param(fd, DRM_PIM_PARAM_RING_ENTRIES) > 0);
	for (p = 0; p <= DRM_PIM_PARAM_RESETS; p++)
		param(fd, p);
}

static void limits(void)
{
	static const struct {
		const char *knob;
		uint32_t param;
	} knobs[] = {
		{ "job_timeout_ms", DRM_PIM_PARAM_JOB_TIMEOUT_MS },
		{ "max_job_timeout_ms", DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS },
		{ "tenure_ms", DRM_PIM_PARAM_TENURE_MS },
	};
	int fd = dev_open();
	uint64_t old;
	size_t i;

	CHECK_EQ(param(fd, DRM_PIM_PARAM_MAX_SYNCS), DRM_PIM_MAX_SYNCS);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_MAX_BINDINGS), DRM_PIM_JOB_MAX_BINDINGS);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_MAX_WAITS), DRM_PIM_JOB_MAX_WAITS);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_MAX_PAYLOAD), DRM_PIM_JOB_MAX_PAYLOAD);
	CHECK_EQ(param(fd, DRM_PIM_PARAM_DOMAIN_PCS) * param(fd, DRM_PIM_PARAM_DOMAINS),
		 param(fd, DRM_PIM_PARAM_STACKS) * param(fd, DRM_PIM_PARAM_PCS));
	for (i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
		old = param(fd, knobs[i].param);
		CHECK(old);
		module_param(knobs[i].knob, 4321);
		CHECK_EQ(param(fd, knobs[i].param), 4321 * time_scale());
		module_param(knobs[i].knob, (unsigned int)(old / time_scale()));
	}
}

static void queue_limit(void)
{
	int fd = dev_open();
	uint64_t max = param(fd, DRM_PIM_PARAM_MAX_QUEUES), i;
	struct drm_pim_queue_create c = { 0 };

	for (i = 0; i < max; i++)
		queue_new(fd);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c), -ENOSPC);
}

static void name(void)
{
	int fd = dev_open();
	char text[64];
	uint64_t v;
	int i;

	for (i = 0; i < 8; i++) {
		v = param(fd, DRM_PIM_PARAM_NAME0 + (uint32_t)i);
		memcpy(text + 8 * i, &v, 8);
	}
	CHECK(memchr(text, '\0', sizeof(text)));
	CHECK(text[0]);
}

static void unknown(void)
{
	static const uint32_t bad[] = { DRM_PIM_PARAM_RESETS + 1, 1000, 0x7fffffff, 0xffffffff };
	int fd = dev_open();
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct drm_pim_get_param p = { .param = bad[i] };

		CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p), -EINVAL);
	}
}

static void pad(void)
{
	struct drm_pim_get_param p = { .param = DRM_PIM_PARAM_DOMAINS, .pad = 1 };

	CHECK_EQ(pim_ioctl(dev_open(), DRM_IOCTL_PIM_GET_PARAM, &p), -EINVAL);
}

static void unknown_ioctl(void)
{
	struct drm_pim_get_param p = { 0 };
	int fd = dev_open();

	CHECK_EQ(pim_ioctl(fd, DRM_IOWR(DRM_COMMAND_BASE + 0x3f, struct drm_pim_get_param), &p), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOWR(DRM_COMMAND_BASE + 0x5f, struct drm_pim_get_param), &p), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, NULL), -EFAULT);
}

const struct test param_tests[] = {
	{ "every parameter has a value that makes sense", every_parameter },
	{ "the limits are what the header and the module's parameters say", limits },
	{ "as many queues can be had as GET_PARAM says, and no more", queue_limit },
	{ "the card's name is text with an end", name },
	{ "an unknown parameter is EINVAL", unknown },
	{ "a parameter query with a pad is EINVAL", pad },
	{ "an unknown ioctl and a null argument are refused", unknown_ioctl },
	TEST_END
};
