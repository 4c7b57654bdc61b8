/* SPDX-License-Identifier: MIT */
/* Processes that die, cards that hang, modules that are loaded and unloaded, devices that are unbound. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_MS 500

static void busy_process(void *arg)
{
	int *say = arg, fd = dev_open(), i;
	uint32_t q = queue_new(fd), w = queue_new(fd), s = syncobj_new(fd);
	struct drm_pim_binding b = { .handle = gem(fd, 4 << 20, DRM_PIM_GEM_WINDOW, 0), .access = 3, .bytes = 4 << 20 };
	struct pim_hw_copy payload;
	static struct drm_pim_job jobs[1000];

	for (i = 0; i < 1000; i++)
		jobs[i] = i % 2 ? job_nop(DRM_PIM_ENGINE_PIM) : job_fill(&b, &payload, 1);
	CHECK_OK(submit(fd, q, jobs, 1000, 0, s, NULL));
	CHECK_OK(submit(fd, w, jobs, 1000, s, 0, NULL));
	CHECK_EQ(write(say[1], "x", 1), 1);
	pause();
}

static void killed_with_jobs(void)
{
	int say[2], pid, status, i;
	char c;

	CHECK_OK(pipe(say));
	for (i = 0; i < 3; i++) {
		pid = child(busy_process, say);
		CHECK_EQ(read(say[0], &c, 1), 1);
		CHECK_OK(kill(pid, SIGKILL));
		CHECK(child_ended(pid, 20000, &status));
		usable();
	}
}

static void closed_with_jobs(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd);
	struct drm_pim_job jobs[500];
	int i;

	for (i = 0; i < 500; i++)
		jobs[i] = job_nop((uint32_t)i % 2);
	CHECK_OK(submit(fd, q, jobs, 500, 0, 0, NULL));
	close(fd);
	usable();
}

/* A job that never ends costs its queue, not the others: memory and idle queues do not notice. */
static void job_timeout(void)
{
	int bad = dev_open(), good = dev_open();
	uint32_t qb = queue_new(bad), qg = queue_new(good), never = syncobj_new(bad), done = syncobj_new(good);
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_HOST), waits = job_nop(DRM_PIM_ENGINE_PIM);
	volatile uint32_t *p = gem_map(good, gem(good, 4096, 0, 0), 4096);
	uint64_t t0;

	*p = 77;
	CHECK_OK(submit(good, qg, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(good, done, 0, 5000));
	module_param("job_timeout_ms", TIMEOUT_MS);
	t0 = now_ms();
	spin(bad, qb, SPIN_SECONDS, never); /* with this time-out it hangs */
	CHECK_OK(syncobj_wait(bad, never, 0, 10000));
	module_param("job_timeout_ms", 10000);
	CHECK(now_ms() - t0 >= TIMEOUT_MS);
	CHECK_EQ(syncobj_status(bad, never), -EIO);
	CHECK_EQ(queue_query(bad, qb).status, PIM_HW_E_TIMEOUT);
	CHECK_EQ(queue_query(bad, qb).flags, DRM_PIM_QUEUE_GUILTY);
	CHECK_EQ(submit(bad, qb, &job, 1, 0, 0, NULL), -EIO);

	job_wait(&waits, DRM_PIM_ENGINE_HOST, 1); /* a job of before */
	CHECK_OK(submit(good, qg, &waits, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(good, done, 0, 5000));
	CHECK_EQ(syncobj_status(good, done), 1);
	CHECK_EQ(*p, 77);
	usable();
}

/* Claims, too. */
static void claim_survives(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), q2 = queue_new(fd), never = syncobj_new(fd), done = syncobj_new(fd);
	struct drm_pim_binding b = { .handle = gem(fd, 4096, 0, 0), .access = 3, .bytes = 4096 };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &b);

	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	module_param("job_timeout_ms", TIMEOUT_MS);
	spin(fd, q, SPIN_SECONDS, never);
	CHECK_OK(syncobj_wait(fd, never, 0, 10000));
	module_param("job_timeout_ms", 10000);
	CHECK_EQ(authority(fd, 0).owner, DRM_PIM_OWNER_PIM);
	CHECK_OK(submit(fd, q2, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 5000));
	CHECK_EQ(syncobj_status(fd, done), 1);
}

/* A file closed while its job hangs: the claim still ends, once the job is ended. */
static void hang_and_close(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t q = queue_new(fd);
	struct drm_pim_binding b[2] = {
		{ .handle = gem(fd, SPIN_BYTES, DRM_PIM_GEM_WINDOW, 0), .access = DRM_PIM_ACCESS_READ, .bytes = SPIN_BYTES },
		{ .handle = gem(fd, 4096, 0, 0), .access = 3, .bytes = 4096 },
	};
	volatile uint32_t *code = gem_map(fd, b[0].handle, SPIN_BYTES);
	struct pim_hw_program payload;
	struct drm_pim_job job = job_spin(b, &payload);

	spin_code(code, SPIN_SECONDS);
	CHECK_OK(munmap((void *)code, SPIN_BYTES));
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	job.nbindings = 2;
	CHECK_OK(submit(fd, q, &job, 1, 0, 0, NULL));
	sleep_ms(50);
	module_param("job_timeout_ms", TIMEOUT_MS);
	close(fd);
	module_param("job_timeout_ms", 10000);
	CHECK_OK(acquire(other, 1, DRM_PIM_OWNER_PIM, 5000));
	CHECK_OK(release(other, 1));
	usable();
}

static int load(void)
{
	int fd = open(module_path, O_RDONLY | O_CLOEXEC), ret;

	CHECK(fd >= 0);
	ret = (int)syscall(SYS_finit_module, fd, "", 0);
	ret = ret < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "pim", O_NONBLOCK) < 0 ? -errno : 0;
}

/* A process that just ended may still be giving up its file. */
static void unload_soon(void)
{
	uint64_t end = now_ms() + 5000;
	int ret;

	while ((ret = unload()) == -EWOULDBLOCK && now_ms() < end)
		sleep_ms(20);
	CHECK_OK(ret);
}

static void reload(void)
{
	char path[32];
	int i;

	if (!module_path)
		skip("no --module");
	for (i = 0; i < 5; i++) {
		unload_soon();
		CHECK_EQ(dev_find(path), -ENODEV);
		CHECK_OK(load());
		usable();
	}
}

static void in_use(void)
{
	struct drm_pim_job job = job_nop(0);
	int fd = dev_open();
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	struct drm_syncobj_handle h = { .handle = done, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1 };

	if (!module_path)
		skip("no --module");
	CHECK_EQ(unload(), -EWOULDBLOCK);
	CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	close(fd);
	sleep_ms(200);
	CHECK_EQ(unload(), -EWOULDBLOCK); /* a fence alone keeps the module */
	close(h.fd);
	unload_soon();
	CHECK_OK(load());
	usable();
}

static void touch(void *arg)
{
	CHECK_EQ(**(volatile uint32_t **)arg, 0); /* a page of zeros in place of the card */
}

static void unbind(void)
{
	char name[32];
	int fd = dev_open(), pid, status;
	uint32_t q = queue_new(fd), gateq = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), h = gem(fd, 65536, 0, 0);
	volatile uint32_t *p = gem_map(fd, h, 65536);
	struct drm_pim_job jobs[2] = { job_nop(1), job_nop(0) };
	struct drm_pim_get_param param = { 0 };

	dev_function(0, name);
	*p = 5;
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(touch, &p); /* waits for the memory */
	gate_close(fd, gateq, in);
	CHECK_OK(submit(fd, q, jobs, 2, in, out, NULL));
	CHECK(!child_ended(pid, 50, &status));
	driver_file("unbind", name);

	child_ok(pid, 5000);
	CHECK_EQ(*p, 0);
	*p = 6;
	CHECK_EQ(*p, 6);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &param), -ENODEV);
	close(fd);
	driver_file("bind", name);
	usable();
}

static void unbind_idle(void)
{
	char name[32];
	int i;

	dev_function(0, name);
	for (i = 0; i < 3; i++) {
		driver_file("unbind", name);
		driver_file("bind", name);
	}
	usable();
}

static void pci_file(const char *name, const char *file, char *path, size_t len)
{
	snprintf(path, len, "/sys/bus/pci/devices/%s/%s", name, file);
}

/* The header of the card as another card would have it, through the BAR that sysfs shows while no driver is bound. */
static void refuse_header(void)
{
	static const struct {
		size_t off;
		uint32_t value;
	} wrong[] = {
		{ offsetof(struct pim_hw_header, magic), 0x12345678 },
		{ offsetof(struct pim_hw_header, abi_major), (PIM_HW_ABI_MAJOR + 1) },
		{ offsetof(struct pim_hw_header, domains), 0 },
		{ offsetof(struct pim_hw_header, domains), PIM_HW_MAX_DOMAINS + 1 },
		{ offsetof(struct pim_hw_header, ring_entries), 3 },
		{ offsetof(struct pim_hw_header, stripe_bytes), 0 },
		{ offsetof(struct pim_hw_header, nslots), 0x80000000 },
		{ offsetof(struct pim_hw_header, mem_bytes) + 4, 0xffffffff },
		{ offsetof(struct pim_hw_header, window_off) + 4, 0xffffffff },
	};
	char name[32], path[128];
	unsigned int i;
	uint8_t *bar;
	int fd, bind;

	dev_function(0, name);
	driver_file("unbind", name);
	pci_file(name, "resource2", path, sizeof(path));
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	bar = mmap(NULL, PIM_HW_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(bar != MAP_FAILED);
	bind = open(DRIVER "/bind", O_WRONLY | O_CLOEXEC);
	CHECK(bind >= 0);
	for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		volatile uint32_t *at = (volatile uint32_t *)(bar + wrong[i].off);
		uint32_t good = *at;

		*at = wrong[i].value;
		if (write(bind, name, strlen(name)) >= 0)
			printf("# a header with %#x at %zu was accepted\n", wrong[i].value, wrong[i].off);
		CHECK(access(DRIVER, F_OK) == 0);
		snprintf(path, sizeof(path), DRIVER "/%s", name);
		CHECK(access(path, F_OK) < 0);
		*at = good;
	}
	close(bind);
	munmap(bar, PIM_HW_PAGE);
	close(fd);
	driver_file("bind", name);
	usable();
}

static void wait_for_fence(void *arg)
{
	const uint32_t *w = arg;
	int ret = syncobj_wait((int)w[0], w[1], 0, 20000);

	CHECK(!ret || ret == -ENODEV);
}

/* The device goes while a job runs, others wait behind it, a page is mapped, and a process waits in a fault, another one for a fence. */
static void removal(void)
{
	char name[32], path[128];
	int round;

	for (round = 0; round < 3; round++) {
		int fd = dev_open(), fault, wait, status, i;
		uint32_t q = queue_new(fd), out = syncobj_new(fd), done = syncobj_new(fd);
		volatile uint32_t *p = gem_map(fd, gem(fd, 65536, 0, 0), 65536);
		struct drm_pim_job jobs[2] = { job_nop(1), job_nop(0) };
		uint32_t waited[2] = { (uint32_t)fd, done };

		dev_function(0, name);
		CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 10000));
		fault = child(touch, &p);
		spin(fd, q, SPIN_SECONDS, out);
		for (i = 0; i < 50; i++)
			CHECK_OK(submit(fd, q, jobs, 2, 0, done, NULL));
		wait = child(wait_for_fence, waited);
		CHECK(!child_ended(fault, 50, &status));
		pci_file(name, "remove", path, sizeof(path));
		write_file(path, "1");
		child_ok(fault, 5000);
		child_ok(wait, 5000);
		CHECK_EQ(*p, 0);
		CHECK_EQ(submit(fd, q, jobs, 2, 0, 0, NULL), -ENODEV);
		if (round) /* with and without a file left over */
			close(fd);
		write_file("/sys/bus/pci/rescan", "1");
		usable();
	}
}

const struct test life_tests[] = {
	{ "a process killed with jobs in flight leaves a usable card", killed_with_jobs },
	{ "a file closed with jobs in flight leaves a usable card", closed_with_jobs },
	{ "a hanging job costs its queue; memory and other queues do not notice", job_timeout },
	{ "a claim survives a hanging job", claim_survives },
	{ "a claim ends although its file was closed with a hanging job", hang_and_close },
	{ "the driver is unbound and bound again", unbind_idle },
	{ "a card of another ABI, or with a header that cannot be, is refused", refuse_header },
	{ "an unbind with mappings, waiting faults and jobs in flight ends them all", unbind },
	/* Through sysfs: QEMU 7.2 itself does not survive a device_del of this device (use after free). */
	{ "a device removed with jobs, mappings, faults and waits comes back by a rescan, again and again", removal },
	{ "the module is unloaded and loaded again", reload },
	{ "files and fences keep the module from being unloaded", in_use },
	TEST_END
};
