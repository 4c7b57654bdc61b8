/* SPDX-License-Identifier: MIT */
/*
 * Every allocation, and every copy from and to user space, of a valid call fails once: the kernel's /proc/thread-self/fail-nth lets the
 * n-th fail, for n = 1, 2, 3 and so on until the call needs no more. Each time the call must say so or succeed, and leave nothing behind.
 */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536u
#define MAX_FAULTS 5000

/* What a call may work on: made anew for each fault, without faults. */
struct scene {
	int fd;
	uint32_t gem, queue, in, out;
	uint64_t offset;
	volatile uint32_t *map;
	int prime; /* a descriptor that the call returned */
};

struct victim {
	void (*prepare)(struct scene *s);
	int (*call)(struct scene *s); /* 0 or -errno; nothing but the call under test */
	void (*check)(struct scene *s, int ret); /* what must hold after it; may be NULL */
};

/* A job keeps its memory until the scheduler has put it away, which is after its fence has signalled. */
static uint32_t all_of(int fd, uint64_t bytes, uint32_t flags, uint32_t domain)
{
	uint64_t end = now_ms() + 5000;
	uint32_t handle;
	int ret;

	while ((ret = gem_create(fd, bytes, flags, domain, &handle)) == -ENOSPC && now_ms() < end)
		sleep_ms(2);
	CHECK_OK(ret);
	return handle;
}

static void all_memory_is_free(void)
{
	int fd = dev_open();
	uint64_t bytes = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	uint32_t n = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS), d;

	for (d = 0; d < n; d++)
		CHECK_OK(gem_close(fd, all_of(fd, bytes, 0, d)));
	CHECK_OK(gem_close(fd, all_of(fd, param(fd, DRM_PIM_PARAM_WINDOW_BYTES), DRM_PIM_GEM_WINDOW, 0)));
	close(fd);
}

static int failnth_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		skip("no fault injection in this kernel");
	return fd;
}

/* Let the n-th fault point from here on fail; n = 0: none. This write has such points itself: so it may have to be made again. */
static void arm(int control, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n), tries;

	for (tries = 0; tries < 3; tries++)
		if (pwrite(control, text, (size_t)len, 0) == len)
			return;
	fail(__FILE__, __LINE__, "fail-nth: %s", strerror(errno));
}

/* Did it fail? A read that fails says that it was not yet reached. */
static bool hit(int control)
{
	char text[16] = "";

	return pread(control, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
}

static bool allowed(int ret)
{
	return !ret || ret == -ENOMEM || ret == -EFAULT || ret == -EINTR || ret == -EAGAIN;
}

static void each_fault(const struct victim *v)
{
	int control = failnth_open(), ret;
	unsigned int n, errors = 0;
	bool was_hit = true;

	for (n = 1; was_hit; n++) {
		struct scene s = { .fd = -1, .prime = -1 };

		CHECK(n < MAX_FAULTS);
		if (v->prepare)
			v->prepare(&s);
		arm(control, n);
		ret = v->call(&s);
		was_hit = hit(control);
		arm(control, 0);
		if (!allowed(ret))
			fail(__FILE__, __LINE__, "fault %u: %s", n, strerror(-ret));
		if (!was_hit)
			CHECK_OK(ret);
		errors += ret != 0;
		if (v->check)
			v->check(&s, ret);
		if (s.map)
			munmap((void *)s.map, SIZE);
		if (s.prime >= 0)
			close(s.prime);
		if (s.fd >= 0)
			close(s.fd);
		if (n % 8 == 1)
			usable();
	}
	close(control);
	usable();
	all_memory_is_free();
	printf("# %u faults, %u of them were told\n", n - 2, errors);
}

static void with_file(struct scene *s)
{
	s->fd = dev_open();
}

static void with_gem(struct scene *s)
{
	with_file(s);
	s->gem = gem(s->fd, SIZE, 0, 0);
	CHECK_OK(gem_offset(s->fd, s->gem, &s->offset));
}

static void with_map(struct scene *s)
{
	with_gem(s);
	s->map = gem_map(s->fd, s->gem, SIZE);
}

static void with_queue(struct scene *s)
{
	with_file(s);
	s->queue = queue_new(s->fd);
}

static void with_claim(struct scene *s)
{
	with_map(s);
	s->map[0] = 1;
	CHECK_OK(acquire(s->fd, 1, DRM_PIM_OWNER_PIM, 1000));
}

static void with_eventfd(struct scene *s)
{
	with_file(s);
	s->prime = eventfd(0, EFD_CLOEXEC);
	CHECK(s->prime >= 0);
}

/* Of another file, whose handle is the only other one. */
static void with_export(struct scene *s)
{
	int other = dev_open();

	with_file(s);
	s->prime = prime_export(other, gem(other, SIZE, 0, 0));
	CHECK(s->prime >= 0);
	close(other);
}

static void with_jobs(struct scene *s)
{
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_HOST);

	with_claim(s);
	s->queue = queue_new(s->fd);
	s->in = syncobj_new(s->fd);
	s->out = syncobj_new(s->fd);
	CHECK_OK(submit(s->fd, queue_new(s->fd), &job, 1, 0, s->in, NULL));
}

/* -- calls ---------------------------------------------------------------------------------------------------------- */

static int do_open(struct scene *s)
{
	char path[32];
	int i;

	for (i = 128; i < 192; i++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		s->fd = open(path, O_RDWR | O_CLOEXEC);
		if (s->fd >= 0 || errno != ENOENT)
			return s->fd < 0 ? -errno : 0;
	}
	return -ENODEV;
}

static int do_param(struct scene *s)
{
	struct drm_pim_get_param p = { .param = DRM_PIM_PARAM_DOMAINS };

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_GET_PARAM, &p);
}

static int do_gem(struct scene *s)
{
	return gem_create(s->fd, SIZE, 0, 1, &s->gem);
}

static int do_window(struct scene *s)
{
	return gem_create(s->fd, SIZE, DRM_PIM_GEM_WINDOW, 0, &s->gem);
}

/* A call that failed gives no handle, unless the kernel only could not write it down. */
static void no_handle(struct scene *s, int ret)
{
	if (ret && ret != -EFAULT)
		CHECK_EQ(gem_close(s->fd, 1), -EINVAL);
}

static int do_gem_close(struct scene *s)
{
	return gem_close(s->fd, s->gem);
}

static int do_mmap_offset(struct scene *s)
{
	return gem_offset(s->fd, s->gem, &s->offset);
}

static int do_mmap(struct scene *s)
{
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, (off_t)s->offset);

	if (p == MAP_FAILED)
		return -errno;
	s->map = p;
	return 0;
}

/* A page table that could not be allocated is tried again. */
static int do_touch(struct scene *s)
{
	s->map[0] = 1;
	return 0;
}

static int do_queue(struct scene *s)
{
	struct drm_pim_queue_create c = { 0 };
	int ret = pim_ioctl(s->fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c);

	s->queue = c.queue;
	return ret;
}

static int do_queue_destroy(struct scene *s)
{
	return queue_destroy(s->fd, s->queue);
}

static int do_queue_query(struct scene *s)
{
	struct drm_pim_queue_query q = { .queue = s->queue };

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q);
}

/* Two jobs, one per engine; a buffer; a wait of the second for the first; syncobjs in and out, one of them a point on a timeline. */
static int do_submit(struct scene *s)
{
	struct drm_pim_binding b = { .handle = s->gem, .access = 3, .bytes = SIZE };
	struct drm_pim_job jobs[2] = { job_on(DRM_PIM_ENGINE_PIM, &b), job_nop(DRM_PIM_ENGINE_HOST) };
	struct drm_pim_sync in = { .handle = s->in }, out[2] = { { .handle = s->out, .point = 3 }, { .handle = s->in } };
	struct drm_pim_submit args = {
		.queue = s->queue, .njobs = 2, .nin = 1, .nout = 2, .jobs = (uintptr_t)jobs, .in_syncs = (uintptr_t)&in,
		.out_syncs = (uintptr_t)out,
	};

	job_wait(&jobs[1], DRM_PIM_ENGINE_PIM, 1);
	return pim_ioctl(s->fd, DRM_IOCTL_PIM_SUBMIT, &args);
}

/* All jobs or none; and the same call again works. */
static void all_or_none(struct scene *s, int ret)
{
	struct drm_pim_queue_query q = queue_query(s->fd, s->queue);

	CHECK_EQ(q.submitted[0], q.submitted[1]);
	if (!ret || ret == -EFAULT) { /* the numbers could not be written back: the jobs run */
		if (!q.submitted[0])
			CHECK(ret);
	} else {
		CHECK_EQ(q.submitted[0], 0);
	}
	if (!q.submitted[0])
		CHECK_OK(do_submit(s));
	CHECK_OK(syncobj_wait(s->fd, s->out, 3, 10000));
	CHECK_OK(syncobj_wait(s->fd, s->in, 0, 10000));
	CHECK_EQ(syncobj_status(s->fd, s->in), 1);
}

static int do_acquire(struct scene *s)
{
	return acquire(s->fd, 3, DRM_PIM_OWNER_AUTO, 1000);
}

static void with_claimable(struct scene *s)
{
	with_map(s);
	s->map[0] = 1;
}

/* Both domains or none; and afterwards the memory is the CPU's again. */
static void both_or_none(struct scene *s, int ret)
{
	struct drm_pim_domain_query a = authority(s->fd, 0), b = authority(s->fd, 1);

	CHECK_EQ(a.holder, b.holder);
	if (!ret)
		CHECK(a.holder);
	else if (ret != -EFAULT) /* else it may only be that the answer could not be written back */
		CHECK_EQ(a.holder, 0);
	if (a.holder)
		CHECK_OK(release(s->fd, 3));
	s->map[1] = 0; /* or it waits */
}

static int do_release(struct scene *s)
{
	return release(s->fd, 1);
}

static int do_query(struct scene *s)
{
	struct drm_pim_domain_query q = { 0 };

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_DOMAIN_QUERY, &q);
}

/* After a fence, and leaving fences in a binary syncobj and on a timeline. */
static int do_acquire_async(struct scene *s)
{
	struct drm_pim_sync in = { .handle = s->in }, out[2] = { { .handle = s->out, .point = 3 }, { .handle = s->in } };
	struct drm_pim_authority a = {
		.flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 2, .owner = DRM_PIM_OWNER_PIM, .timeout_ns = in_ms(1000), .nin = 1, .nout = 2,
		.in_syncs = (uintptr_t)&in, .out_syncs = (uintptr_t)out,
	};

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

static int do_release_async(struct scene *s)
{
	struct drm_pim_sync in = { .handle = s->in }, out[2] = { { .handle = s->out, .point = 3 }, { .handle = s->in } };
	struct drm_pim_authority a = {
		.op = DRM_PIM_AUTHORITY_RELEASE, .flags = DRM_PIM_AUTHORITY_ASYNC, .domains = 1, .nin = 1, .nout = 2,
		.in_syncs = (uintptr_t)&in, .out_syncs = (uintptr_t)out,
	};

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

/* A call that failed has changed nothing, one that succeeded comes to its end. */
static void comes_true(struct scene *s, int ret)
{
	if (!ret)
		CHECK_OK(syncobj_wait(s->fd, s->out, 3, 10000));
	else if (ret != -EFAULT)
		CHECK_EQ(syncobj_wait(s->fd, s->out, 3, 0), -EINVAL);
	CHECK_OK(syncobj_wait(s->fd, s->in, 0, 10000)); /* its own fence, or that of the job before it */
	CHECK_EQ(syncobj_status(s->fd, s->in), 1);
}

static int do_watch(struct scene *s)
{
	struct drm_pim_watch w = { .fd = s->prime, .domains = 1 };

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_WATCH, &w);
}

static int do_info(struct scene *s)
{
	struct drm_pim_gem_info info = { .handle = s->gem };

	return pim_ioctl(s->fd, DRM_IOCTL_PIM_GEM_INFO, &info);
}

static int do_copy(struct scene *s)
{
	return gem_copy(s->fd, s->gem, 0, s->gem, SIZE / 2, SIZE / 2, 5000);
}

static int do_export(struct scene *s)
{
	s->prime = prime_export(s->fd, s->gem);
	return s->prime < 0 ? s->prime : 0;
}

static int do_import(struct scene *s)
{
	uint32_t handle;

	return prime_import(s->fd, s->prime, &handle);
}

static int do_close(struct scene *s)
{
	int ret = close(s->fd) ? -errno : 0;

	s->fd = -1;
	return ret;
}

static void ends_its_claim(struct scene *s, int ret)
{
	int other = dev_open();

	(void)ret;
	munmap((void *)s->map, SIZE); /* it holds the file */
	s->map = NULL;
	CHECK_OK(acquire(other, 1, DRM_PIM_OWNER_PIM, 10000));
	close(other);
}

/* -- probe ---------------------------------------------------------------------------------------------------------- */

static char function[32];

static int function_to(const char *file)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, function, strlen(function)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static bool bound(void)
{
	char path[96];

	snprintf(path, sizeof(path), DRIVER "/%s", function);
	return !access(path, F_OK);
}

static int do_bind(struct scene *s)
{
	(void)s;
	return function_to(DRIVER "/bind");
}

/* The number of fault points of a call. */
static unsigned int points(int control, int (*call)(struct scene *s))
{
	char text[16] = "";

	arm(control, MAX_FAULTS);
	call(NULL);
	CHECK(pread(control, text, sizeof(text) - 1, 0) > 0);
	arm(control, 0);
	return MAX_FAULTS - (unsigned int)atoi(text);
}

/* A probe that gives up once it has looked at the header, as it does with another card. */
static unsigned int points_until_header(int control)
{
	volatile uint32_t *header;
	char path[96];
	uint32_t good;
	unsigned int n;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", function);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	header = mmap(NULL, PIM_HW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(header != MAP_FAILED);
	good = header[0];
	header[0] = ~good;
	n = points(control, do_bind);
	CHECK(!bound());
	header[0] = good;
	munmap((void *)header, PIM_HW_PAGE);
	close(fd);
	return n;
}

static void control_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	close(fd);
}

/*
 * Only kmalloc() fails: the kernel complains later of /proc files of interrupts that it could not make. The command line of the debug
 * kernel marks the caches that the filter lets fail.
 */
static void only_kmalloc(bool only)
{
	control_file("/sys/kernel/debug/failslab/cache-filter", only ? "Y" : "N");
	control_file("/sys/kernel/debug/fail_page_alloc/min-order", only ? "20" : "0");
}

/*
 * A probe that failed leaves nothing: the next one works. The first faults are left out: the kernel of Debian 12 does not survive them in
 * its own drm_dev_init(), which puts a device that it could not make.
 */
static void bind_each_fault(void)
{
	int control = failnth_open(), ret;
	unsigned int n, first, told = 0;
	bool was_hit = true;

	dev_function(0, function);
	CHECK_OK(function_to(DRIVER "/unbind"));
	only_kmalloc(true);
	first = points_until_header(control);
	for (n = first; was_hit; n++) {
		CHECK(n < MAX_FAULTS);
		arm(control, n);
		ret = do_bind(NULL);
		was_hit = hit(control);
		arm(control, 0);
		told += ret != 0;
		if (!was_hit)
			CHECK_OK(ret);
		if (bound()) {
			if (n % 16 == 0)
				usable();
			CHECK_OK(function_to(DRIVER "/unbind"));
		}
	}
	CHECK_OK(function_to(DRIVER "/bind"));
	close(control);
	only_kmalloc(false);
	usable();
	all_memory_is_free();
	printf("# faults %u to %u, %u of them were told\n", first, n - 2, told);
}

#define VICTIM(name, ...) \
	static void name(void) \
	{ \
		each_fault(&(const struct victim){ __VA_ARGS__ }); \
	}

VICTIM(f_open, NULL, do_open, NULL)
VICTIM(f_param, with_file, do_param, NULL)
VICTIM(f_gem, with_file, do_gem, no_handle)
VICTIM(f_window, with_file, do_window, no_handle)
VICTIM(f_gem_close, with_gem, do_gem_close, NULL)
VICTIM(f_mmap_offset, with_gem, do_mmap_offset, NULL)
VICTIM(f_mmap, with_gem, do_mmap, NULL)
VICTIM(f_touch, with_map, do_touch, NULL)
VICTIM(f_queue, with_file, do_queue, NULL)
VICTIM(f_queue_destroy, with_queue, do_queue_destroy, NULL)
VICTIM(f_queue_query, with_queue, do_queue_query, NULL)
VICTIM(f_submit, with_jobs, do_submit, all_or_none)
VICTIM(f_acquire, with_claimable, do_acquire, both_or_none)
VICTIM(f_release, with_claim, do_release, NULL)
VICTIM(f_query, with_claim, do_query, NULL)
VICTIM(f_acquire_async, with_jobs, do_acquire_async, comes_true)
VICTIM(f_release_async, with_jobs, do_release_async, comes_true)
VICTIM(f_watch, with_eventfd, do_watch, NULL)
VICTIM(f_info, with_gem, do_info, NULL)
VICTIM(f_copy, with_gem, do_copy, NULL)
VICTIM(f_export, with_gem, do_export, NULL)
VICTIM(f_import, with_export, do_import, NULL)
VICTIM(f_close, with_jobs, do_close, ends_its_claim)

const struct test failnth_tests[] = {
	{ "open survives each fault", f_open },
	{ "GET_PARAM survives each fault", f_param },
	{ "GEM_CREATE survives each fault", f_gem },
	{ "GEM_CREATE of a window buffer survives each fault", f_window },
	{ "GEM_CLOSE survives each fault", f_gem_close },
	{ "GEM_MMAP survives each fault", f_mmap_offset },
	{ "mmap survives each fault", f_mmap },
	{ "a page fault survives each fault", f_touch },
	{ "QUEUE_CREATE survives each fault", f_queue },
	{ "QUEUE_DESTROY survives each fault", f_queue_destroy },
	{ "QUEUE_QUERY survives each fault", f_queue_query },
	{ "SUBMIT survives each fault, with all of its jobs or none", f_submit },
	{ "AUTHORITY, acquire, survives each fault", f_acquire },
	{ "AUTHORITY, release, survives each fault", f_release },
	{ "DOMAIN_QUERY survives each fault", f_query },
	{ "AUTHORITY, acquire by fences, survives each fault", f_acquire_async },
	{ "AUTHORITY, release by fences, survives each fault", f_release_async },
	{ "WATCH survives each fault", f_watch },
	{ "GEM_INFO survives each fault", f_info },
	{ "GEM_COPY survives each fault", f_copy },
	{ "an export survives each fault", f_export },
	{ "an import survives each fault", f_import },
	{ "close, with a claim and a queue, survives each fault", f_close },
	{ "a probe survives each fault, and the next one works", bind_each_fault },
	TEST_END
};
