/* SPDX-License-Identifier: MIT */
/* Suspend and resume, as far as pm_test goes: all devices, but not the machine. */
#include "harness.h"

#include <fcntl.h>
#include <unistd.h>

static bool may_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Jobs before, behind and across a sleep, with memory and a claim. */
static void sleep_through(const char *state)
{
	enum { JOBS = 400 };
	int fd = dev_open();
	uint32_t q = queue_new(fd), slow = queue_new(fd), done = syncobj_new(fd), end = syncobj_new(fd), i;
	static struct drm_pim_job jobs[JOBS];
	volatile uint32_t *p = gem_map(fd, gem(fd, 65536, 0, 1), 65536);

	p[0] = 4711;
	p[16383] = 4712;
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	for (i = 0; i < JOBS; i++) {
		jobs[i] = job_nop(i % 2);
		if (i)
			job_wait(&jobs[i], (i + 1) % 2, (i - 1) / 2 + 1);
	}
	spin(fd, slow, SPIN_SECONDS / 8, end);
	CHECK_OK(submit(fd, q, jobs, JOBS, 0, done, NULL));
	if (!may_write("/sys/power/state", state))
		fail(__FILE__, __LINE__, "%s: %s", state, strerror(errno));
	CHECK_OK(syncobj_wait(fd, done, 0, 20000));
	CHECK_EQ(syncobj_status(fd, done), 1);
	CHECK_OK(syncobj_wait(fd, end, 0, 20000));
	CHECK_EQ(queue_query(fd, q).completed[0], JOBS / 2);
	CHECK_EQ(p[0], 4711);
	CHECK_EQ(p[16383], 4712);
	CHECK_EQ(authority(fd, 0).owner, DRM_PIM_OWNER_PIM);
	CHECK_OK(release(fd, 1));
	usable();
}

static void sleep_test(void)
{
	if (!may_write("/sys/power/pm_test", "devices"))
		skip("this kernel cannot test suspend");
	may_write("/sys/module/suspend/parameters/pm_test_delay", "1");
	sleep_through("freeze");
	sleep_through("mem");
	CHECK(may_write("/sys/power/pm_test", "none"));
}

const struct test sleep_tests[] = {
	{ "jobs, memory and claims sleep and wake with the machine", sleep_test },
	TEST_END
};
