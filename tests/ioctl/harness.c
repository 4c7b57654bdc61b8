/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sync_file.h>

#define EXIT_SKIP 77

void fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	printf("# %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

/* -- the device ----------------------------------------------------------------------------------------------------- */

int pim_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

int dev_find(char path[32])
{
	int i;

	for (i = 128; i < 192; i++) {
		char name[8] = "";
		struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };
		int fd, ret;

		snprintf(path, 32, "/dev/dri/renderD%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		ret = pim_ioctl(fd, DRM_IOCTL_VERSION, &v);
		close(fd);
		if (!ret && !strcmp(name, "pim"))
			return 0;
	}
	return -ENODEV;
}

int dev_open(void)
{
	char path[32];
	int fd;

	if (dev_find(path))
		fail(__FILE__, __LINE__, "no render node of pim.ko: is the module loaded, and is there a card?");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

uint64_t param(int fd, uint32_t which)
{
	struct drm_pim_get_param p = { .param = which };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p));
	return p.value;
}

int gem_create(int fd, uint64_t size, uint32_t flags, uint32_t domain, uint32_t *handle)
{
	struct drm_pim_gem_create c = { .size = size, .flags = flags, .domain = domain };
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c);

	*handle = c.handle;
	return ret;
}

uint32_t gem(int fd, uint64_t size, uint32_t flags, uint32_t domain)
{
	uint32_t handle;

	CHECK_OK(gem_create(fd, size, flags, domain, &handle));
	CHECK(handle);
	return handle;
}

int gem_close(int fd, uint32_t handle)
{
	struct drm_gem_close c = { .handle = handle };

	return pim_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &c);
}

int gem_offset(int fd, uint32_t handle, uint64_t *offset)
{
	struct drm_pim_gem_mmap m = { .handle = handle };
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_GEM_MMAP, &m);

	*offset = m.offset;
	return ret;
}

void *gem_map(int fd, uint32_t handle, uint64_t size)
{
	uint64_t offset;
	void *p;

	CHECK_OK(gem_offset(fd, handle, &offset));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	CHECK(p != MAP_FAILED);
	return p;
}

uint32_t queue_new(int fd)
{
	struct drm_pim_queue_create c = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c));
	CHECK(c.queue);
	return c.queue;
}

int queue_destroy(int fd, uint32_t queue)
{
	struct drm_pim_queue_destroy d = { .queue = queue };

	return pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_DESTROY, &d);
}

struct drm_pim_queue_query queue_query(int fd, uint32_t queue)
{
	struct drm_pim_queue_query q = { .queue = queue };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q));
	return q;
}

uint32_t syncobj_new(int fd)
{
	struct drm_syncobj_create c = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c));
	return c.handle;
}

int syncobj_wait(int fd, uint32_t handle, uint64_t point, unsigned int ms)
{
	struct drm_syncobj_timeline_wait w = {
		.handles = (uintptr_t)&handle,
		.points = (uintptr_t)&point,
		.timeout_nsec = (int64_t)in_ms(ms),
		.count_handles = 1,
	};

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &w);
}

int syncobj_status(int fd, uint32_t handle)
{
	struct drm_syncobj_handle h = { .handle = handle, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1 };
	struct sync_file_info info = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	CHECK_OK(pim_ioctl(h.fd, SYNC_IOC_FILE_INFO, &info));
	close(h.fd);
	return info.status;
}

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

struct drm_pim_job job_nop(uint32_t engine)
{
	return (struct drm_pim_job){ .engine = engine, .op = PIM_HW_OP_NOP };
}

struct drm_pim_job job_on(uint32_t engine, struct drm_pim_binding *binding)
{
	struct drm_pim_job job = job_nop(engine);

	job.nbindings = 1;
	job.bindings = (uintptr_t)binding;
	job.policy[0] = PIM_HW_POLICY_SERIAL; /* so that it may run in an AUTO domain */
	return job;
}

struct drm_pim_job job_fill(struct drm_pim_binding *binding, struct pim_hw_copy *payload, uint32_t pattern)
{
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, binding);

	memset(payload, 0, sizeof(*payload));
	payload->bytes = binding->bytes;
	payload->pattern = pattern;
	job.op = PIM_HW_OP_FILL;
	job.payload = (uintptr_t)payload;
	job.payload_bytes = sizeof(*payload);
	return job;
}

struct drm_pim_job job_copy(struct drm_pim_binding binding[2], struct pim_hw_copy *payload)
{
	struct drm_pim_job job = job_fill(binding, payload, 0);

	job.op = PIM_HW_OP_COPY;
	job.nbindings = 2;
	payload->src.binding = 0;
	payload->dst.binding = 1;
	return job;
}

void job_wait(struct drm_pim_job *job, uint32_t engine, uint64_t seq)
{
	job->wait[job->nwaits++] = (struct drm_pim_wait){ .engine = engine, .seq = seq };
}

int submit(int fd, uint32_t queue, const struct drm_pim_job *jobs, uint32_t n, uint32_t in, uint32_t out, uint64_t seq[2])
{
	struct drm_pim_sync si = { .handle = in }, so = { .handle = out };
	struct drm_pim_submit s = {
		.queue = queue,
		.njobs = n,
		.nin = !!in,
		.nout = !!out,
		.jobs = (uintptr_t)jobs,
		.in_syncs = (uintptr_t)&si,
		.out_syncs = (uintptr_t)&so,
	};
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s);

	if (!ret && seq)
		memcpy(seq, s.seq, sizeof(s.seq));
	return ret;
}

static void gate(int fd, uint32_t queue, uint32_t out, uint32_t engine)
{
	struct drm_pim_job job = job_nop(engine);

	job.flags = DRM_PIM_JOB_CLOSE;
	job.batch = 1;
	job.batch_engines = 3;
	CHECK_OK(submit(fd, queue, &job, 1, 0, out, NULL));
}

void gate_close(int fd, uint32_t queue, uint32_t out)
{
	gate(fd, queue, out, DRM_PIM_ENGINE_HOST);
	sleep_ms(50); /* the job is in its ring */
}

void gate_open(int fd, uint32_t queue, uint32_t out)
{
	gate(fd, queue, out, DRM_PIM_ENGINE_PIM);
}

/* -- authority ------------------------------------------------------------------------------------------------------ */

unsigned int time_scale(void)
{
	static unsigned int scale;
	const char *text;

	if (!scale) {
		text = getenv("PIM_TIME_SCALE");
		scale = text ? (unsigned int)atoi(text) : 1;
		if (!scale || scale > 100)
			scale = 1;
	}
	return scale;
}

uint64_t in_ms(unsigned int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec + (uint64_t)ms * time_scale() * 1000000ull;
}

uint64_t now_ms(void)
{
	return in_ms(0) / 1000000 / time_scale();
}

int acquire(int fd, uint32_t domains, uint32_t owner, unsigned int ms)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_ACQUIRE, .domains = domains, .owner = owner, .timeout_ns = in_ms(ms) };

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

int acquire_now(int fd, uint32_t domains, uint32_t owner)
{
	struct drm_pim_authority a = {
		.op = DRM_PIM_AUTHORITY_ACQUIRE, .flags = DRM_PIM_AUTHORITY_NONBLOCK, .domains = domains, .owner = owner
	};

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

int release(int fd, uint32_t domains)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_RELEASE, .domains = domains };

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

struct drm_pim_authority authority(int fd, uint32_t domain)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_QUERY, .domains = 1u << domain };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a));
	return a;
}

/* -- processes ------------------------------------------------------------------------------------------------------ */

int child(void (*fn)(void *), void *arg)
{
	int pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

bool child_ended(int pid, unsigned int ms, int *status)
{
	uint64_t end = now_ms() + ms;

	do {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		sleep_ms(2);
	} while (now_ms() < end);
	return false;
}

void child_ok(int pid, unsigned int ms)
{
	int status;

	CHECK(child_ended(pid, ms, &status));
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

void sleep_ms(unsigned int ms)
{
	unsigned int real = ms * time_scale();
	struct timespec t = { .tv_sec = real / 1000, .tv_nsec = real % 1000 * 1000000L };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

void module_param(const char *name, unsigned int value)
{
	size_t n = strlen(name);
	char path[96];
	FILE *f;

	if (n > 3 && !strcmp(name + n - 3, "_ms"))
		value *= time_scale();
	snprintf(path, sizeof(path), "/sys/module/pim/parameters/%s", name);
	f = fopen(path, "w");
	CHECK(f);
	CHECK(fprintf(f, "%u\n", value) > 0);
	CHECK_OK(fclose(f));
}
