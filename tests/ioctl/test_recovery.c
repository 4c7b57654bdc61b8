/* SPDX-License-Identifier: MIT */
/* Jobs that hang or are lost, and who pays for it; core dumps. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t resets(int fd)
{
	return param(fd, DRM_PIM_PARAM_RESETS);
}

/* What others have behind the hanging job in both rings is done, and the card was not reset for it. */
static void hangs_alone(void)
{
	int bad = dev_open(), good = dev_open();
	uint32_t qb = queue_with(bad, 0, 200), qg = queue_new(good), hung = syncobj_new(bad), after = syncobj_new(bad), done = syncobj_new(good);
	struct drm_pim_job behind = job_nop(DRM_PIM_ENGINE_PIM), pair[2] = { job_nop(DRM_PIM_ENGINE_PIM), job_nop(DRM_PIM_ENGINE_HOST) };
	uint64_t before = resets(good), t0;
	struct drm_pim_queue_query q;

	job_wait(&pair[1], DRM_PIM_ENGINE_PIM, 1);
	t0 = now_ms();
	spin(bad, qb, SPIN_SECONDS, hung);
	CHECK_OK(submit(bad, qb, &behind, 1, 0, after, NULL));
	CHECK_OK(submit(good, qg, pair, 2, 0, done, NULL));
	CHECK_OK(syncobj_wait(good, done, 0, 5000));
	CHECK_EQ(syncobj_status(good, done), 1);
	CHECK(now_ms() - t0 >= 195);
	CHECK_OK(syncobj_wait(bad, hung, 0, 1000));
	CHECK_EQ(syncobj_status(bad, hung), -EIO);
	CHECK_OK(syncobj_wait(bad, after, 0, 1000));
	CHECK_EQ(syncobj_status(bad, after), -ECANCELED);
	q = queue_query(bad, qb);
	CHECK_EQ(q.status, PIM_HW_E_TIMEOUT);
	CHECK_EQ(q.engine, DRM_PIM_ENGINE_PIM);
	CHECK_EQ(q.seq, 1);
	CHECK_EQ(q.flags, DRM_PIM_QUEUE_GUILTY);
	CHECK_EQ(queue_query(good, qg).flags, 0);
	CHECK_EQ(queue_query(good, qg).status, 0);
	CHECK_EQ(resets(good), before);
	CHECK_OK(submit(good, qg, pair, 2, 0, done, NULL));
}

/* A HOST job at the head of its ring that waits for PIM, where another client's long job runs, takes no time of its own. */
static void waiting_is_no_hanging(void)
{
	int slow = dev_open(), fd = dev_open();
	uint32_t qs = queue_new(slow), q = queue_with(fd, 0, 200), done = syncobj_new(fd), end = syncobj_new(slow);
	struct drm_pim_job jobs[2] = { job_nop(DRM_PIM_ENGINE_PIM), job_nop(DRM_PIM_ENGINE_HOST) };

	spin(slow, qs, SPIN_SECONDS / 4, end);
	job_wait(&jobs[1], DRM_PIM_ENGINE_PIM, 1);
	CHECK_OK(submit(fd, q, jobs, 2, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 20000));
	CHECK_EQ(syncobj_status(fd, done), 1);
	CHECK_EQ(syncobj_status(slow, end), 1);
}

static void each_its_time(void)
{
	int fd = dev_open();
	uint32_t longer = queue_with(fd, 0, 15000), def = queue_new(fd), a = syncobj_new(fd), b = syncobj_new(fd);

	module_param("job_timeout_ms", 200);
	spin(fd, longer, SPIN_SECONDS / 4, a);
	CHECK_OK(syncobj_wait(fd, a, 0, 20000));
	spin(fd, def, SPIN_SECONDS, b);
	CHECK_OK(syncobj_wait(fd, b, 0, 20000));
	module_param("job_timeout_ms", 10000);
	CHECK_EQ(syncobj_status(fd, a), 1);
	CHECK_EQ(syncobj_status(fd, b), -EIO);
}

/* -- core dumps ----------------------------------------------------------------------------------------------------- */

#define DUMPS "/sys/class/devcoredump"

static bool find_dump(char path[300])
{
	DIR *dir = opendir(DUMPS);
	struct dirent *e;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (e = readdir(dir)))
		if (!strncmp(e->d_name, "devcd", 5))
			found = snprintf(path, 300, DUMPS "/%s/data", e->d_name) > 0;
	closedir(dir);
	return found;
}

static void drop_dumps(void)
{
	char path[300];
	int fd, i;

	for (i = 0; i < 100 && find_dump(path); i++) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0) {
			CHECK_EQ(write(fd, "0", 1), 1);
			close(fd);
		}
		sleep_ms(20);
	}
}

static void core_dump(void)
{
	static char text[65536];
	char path[300], want[80];
	int fd = dev_open(), file, i;
	uint32_t q = queue_with(fd, 0, 200), hung = syncobj_new(fd);
	size_t len = 0;
	ssize_t n;

	drop_dumps();
	spin(fd, q, SPIN_SECONDS, hung);
	CHECK_OK(syncobj_wait(fd, hung, 0, 10000));
	for (i = 0; i < 100 && !find_dump(path); i++)
		sleep_ms(20);
	CHECK(i < 100);
	file = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(file >= 0);
	while ((n = read(file, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	close(file);
	CHECK(strstr(text, "reason: a job took too long\n"));
	snprintf(want, sizeof(want), "job at the head of ring pim: queue %u job 1 of pim-ioctl[%d]", 0, getpid());
	CHECK(strstr(text, strchr(want, ' ') + 1) || strstr(text, "job 1 of pim-ioctl["));
	snprintf(want, sizeof(want), "pim-ioctl[%d]", getpid());
	CHECK(strstr(text, want));
	CHECK(strstr(text, "\n  op 1 "));
	CHECK(strstr(text, "\n  binding 0: "));
	CHECK(strstr(text, "\ndomain 0: owner "));
	CHECK(strstr(text, "\nring host: "));
	drop_dumps();
	CHECK(!find_dump(path));
}

const struct test recovery_tests[] = {
	{ "a hanging job ends with its queue, and nobody else's jobs", hangs_alone },
	{ "the time that a job waits for the other engine is not its own", waiting_is_no_hanging },
	{ "each queue has its time-out", each_its_time },
	{ "an ended job leaves a core dump that names it", core_dump },
	TEST_END
};
