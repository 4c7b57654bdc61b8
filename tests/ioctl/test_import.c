/* SPDX-License-Identifier: MIT */
/* Buffers of other devices: vgem's, udmabuf's, another card's. */
#include "harness.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE 65536u
#define WRITE DRM_PIM_ACCESS_WRITE
#define READ DRM_PIM_ACCESS_READ

/* vgem's ioctls: <drm/vgem_drm.h>, which not every distribution has in its user-space headers */
struct vgem_attach {
	uint32_t handle, flags, out_fence, pad;
};
struct vgem_signal {
	uint32_t fence, flags;
};
#define VGEM_ATTACH DRM_IOWR(DRM_COMMAND_BASE + 0x1, struct vgem_attach)
#define VGEM_SIGNAL DRM_IOW(DRM_COMMAND_BASE + 0x2, struct vgem_signal)
#define VGEM_WRITE 1u

struct vgem {
	int fd, buf;
	uint32_t handle;
	volatile uint32_t *p;
};

static int vgem_open(void)
{
	char path[32], name[8];
	int i, fd;

	for (i = 0; i < 16; i++) {
		struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		memset(name, 0, sizeof(name));
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!pim_ioctl(fd, DRM_IOCTL_VERSION, &v) && !strcmp(name, "vgem"))
			return fd;
		close(fd);
	}
	skip("no vgem in this guest: pim-vm --load vgem");
}

static struct vgem vgem(void)
{
	struct vgem v = { .fd = vgem_open() };
	struct drm_mode_create_dumb c = { .width = SIZE / 4, .height = 1, .bpp = 32 };

	CHECK_OK(pim_ioctl(v.fd, DRM_IOCTL_MODE_CREATE_DUMB, &c));
	v.handle = c.handle;
	v.buf = prime_export(v.fd, v.handle);
	CHECK(v.buf >= 0);
	v.p = buf_map(v.buf, SIZE);
	return v;
}

/* A fence of vgem's on its buffer. */
static uint32_t vgem_attach(const struct vgem *v, uint32_t flags)
{
	struct vgem_attach a = { .handle = v->handle, .flags = flags };

	CHECK_OK(pim_ioctl(v->fd, VGEM_ATTACH, &a));
	return a.out_fence;
}

static void vgem_signal(const struct vgem *v, uint32_t fence)
{
	struct vgem_signal s = { .fence = fence };

	CHECK_OK(pim_ioctl(v->fd, VGEM_SIGNAL, &s));
}

static uint32_t import(int fd, int buf)
{
	uint32_t h;

	CHECK_OK(prime_import(fd, buf, &h));
	return h;
}

static void info_and_map(void)
{
	struct vgem v = vgem();
	int fd = dev_open();
	uint32_t h = import(fd, v.buf), i;
	volatile uint32_t *p = gem_map(fd, h, SIZE);
	struct drm_pim_gem_info q = gem_info(fd, h);

	CHECK_EQ(q.flags, DRM_PIM_GEM_IMPORTED);
	CHECK_EQ(q.size, SIZE);
	CHECK_EQ(q.address, 0);
	CHECK_EQ(q.domain, 0);
	for (i = 0; i < SIZE / 4; i += 64)
		v.p[i] = ~i;
	for (i = 0; i < SIZE / 4; i += 64)
		CHECK_EQ(p[i], ~i);
	p[1] = 5;
	CHECK_EQ(v.p[1], 5);
	/* The mapping keeps the memory. */
	munmap((void *)v.p, SIZE);
	close(v.buf);
	close(v.fd);
	CHECK_OK(gem_close(fd, h));
	close(fd);
	CHECK_EQ(p[1], 5);
}

static void bad_maps(void)
{
	struct vgem v = vgem();
	int fd = dev_open(), other = dev_open();
	uint32_t h = import(fd, v.buf);
	uint64_t off;

	CHECK_OK(gem_offset(fd, h, &off));
	CHECK(mmap(NULL, SIZE + 4096, PROT_READ, MAP_SHARED, fd, (off_t)off) == MAP_FAILED);
	CHECK(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, other, (off_t)off) == MAP_FAILED);
	CHECK_OK(gem_close(fd, h));
	CHECK(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, (off_t)off) == MAP_FAILED);
}

static void no_job(void)
{
	struct vgem v = vgem();
	int fd = dev_open();
	uint32_t q = queue_new(fd);
	struct drm_pim_binding b = { .handle = import(fd, v.buf), .access = READ, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &b);

	CHECK_EQ(submit(fd, q, &job, 1, 0, 0, NULL), -EOPNOTSUPP);
}

static void one_handle(void)
{
	struct vgem v = vgem();
	int fd = dev_open(), again;
	uint32_t h = import(fd, v.buf);

	CHECK_EQ(import(fd, v.buf), h);
	again = prime_export(fd, h);
	CHECK(again >= 0);
	CHECK_EQ(import(v.fd, again), v.handle);
}

static void copies(int fd, uint32_t imported, volatile uint32_t *p)
{
	uint32_t h = gem(fd, SIZE, 0, 0), w = gem(fd, SIZE, DRM_PIM_GEM_WINDOW, 0), i;
	volatile uint32_t *c = gem_map(fd, h, SIZE);

	for (i = 0; i < SIZE / 4; i++)
		p[i] = i * 3;
	CHECK_OK(gem_copy(fd, h, 0, imported, 0, SIZE, 5000));
	for (i = 0; i < SIZE / 4; i++)
		CHECK_EQ(c[i], i * 3);
	CHECK_OK(gem_copy(fd, w, 8, h, 4096, 4096, 5000));
	CHECK_OK(gem_copy(fd, imported, 4, w, 8, 4096, 5000));
	CHECK_EQ(p[0], 0);
	for (i = 0; i < 1024; i++)
		CHECK_EQ(p[1 + i], (1024 + i) * 3);
	CHECK_EQ(p[1025], 1025 * 3);
	CHECK_EQ(gem_copy(fd, imported, 0, imported, 100, 101, 5000), -EINVAL);
	CHECK_EQ(gem_copy(fd, imported, SIZE, h, 0, 1, 5000), -EINVAL);
	CHECK_OK(gem_copy(fd, imported, 0, imported, 200, 100, 5000));
	CHECK_EQ(p[0], p[50]);
}

static void vgem_copies(void)
{
	struct vgem v = vgem();
	int fd = dev_open();

	copies(fd, import(fd, v.buf), v.p);
}

static void copy_waits(void)
{
	struct vgem v = vgem();
	int fd = dev_open();
	uint32_t h = import(fd, v.buf), a = gem(fd, SIZE, 0, 0), fence;

	fence = vgem_attach(&v, 0);
	CHECK_OK(gem_copy(fd, a, 0, h, 0, 8, 50));
	CHECK_EQ(gem_copy(fd, h, 0, a, 0, 8, 50), -ETIME);
	vgem_signal(&v, fence);
	CHECK_OK(gem_copy(fd, h, 0, a, 0, 8, 50));
	fence = vgem_attach(&v, VGEM_WRITE);
	CHECK_EQ(gem_copy(fd, a, 0, h, 0, 8, 50), -ETIME);
	vgem_signal(&v, fence);
	CHECK_OK(gem_copy(fd, a, 0, h, 0, 8, 50));
}

static void no_pages(void)
{
	int fd = dev_open(), v = vgem_open(), buf = prime_export(fd, gem(fd, SIZE, 0, 0));
	uint32_t h;

	CHECK_EQ(prime_import(v, buf, &h), -EOPNOTSUPP);
}

/* An importer's fence in our dma-buf: jobs on that buffer wait, those on buffers nobody exported do not. */
static void importer_gates(void)
{
	static const uint32_t place[] = { 0, DRM_PIM_GEM_WINDOW };
	struct vgem v = vgem();
	unsigned int i;

	for (i = 0; i < 2; i++) {
		int fd = dev_open(), buf, file;
		uint32_t h = gem(fd, SIZE, place[i], 0), own = gem(fd, SIZE, place[i], 0), q = queue_new(fd), q2 = queue_new(fd);
		uint32_t done = syncobj_new(fd), done2 = syncobj_new(fd), fence;
		struct drm_pim_binding b = { .handle = h, .access = READ, .bytes = SIZE };
		struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &b);

		buf = prime_export(fd, h);
		CHECK(buf >= 0);
		/* A reader: our reader does not wait. */
		fence = vgem_attach(&v, 0);
		file = buf_fence(v.buf, DMA_BUF_SYNC_WRITE);
		CHECK_OK(buf_add_fence(buf, file, DMA_BUF_SYNC_READ));
		CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
		CHECK_OK(syncobj_wait(fd, done, 0, 5000));
		b.access = READ | WRITE;
		CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
		CHECK_EQ(syncobj_wait(fd, done, 0, 100), -ETIME);
		b.handle = own;
		CHECK_OK(submit(fd, q2, &job, 1, 0, done2, NULL));
		CHECK_OK(syncobj_wait(fd, done2, 0, 5000));
		vgem_signal(&v, fence);
		CHECK_OK(syncobj_wait(fd, done, 0, 5000));
		close(file);
		/* A writer. */
		fence = vgem_attach(&v, VGEM_WRITE);
		file = buf_fence(v.buf, DMA_BUF_SYNC_READ);
		CHECK_OK(buf_add_fence(buf, file, DMA_BUF_SYNC_WRITE));
		b.handle = h;
		b.access = READ;
		CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
		CHECK_EQ(syncobj_wait(fd, done, 0, 100), -ETIME);
		vgem_signal(&v, fence);
		CHECK_OK(syncobj_wait(fd, done, 0, 5000));
		close(file);
		close(fd);
	}
}

/* Who comes while PIM has the memory waits for its end: jobs that waited for him would wait for themselves. */
static void late_importer(void)
{
	struct vgem v = vgem();
	int fd = dev_open(), buf, file;
	uint32_t h = gem(fd, SIZE, 0, 0), q = queue_new(fd), done = syncobj_new(fd), fence;
	struct drm_pim_binding b = { .handle = h, .access = READ | WRITE, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, &b);

	buf = prime_export(fd, h);
	CHECK(buf >= 0);
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	fence = vgem_attach(&v, VGEM_WRITE);
	file = buf_fence(v.buf, DMA_BUF_SYNC_READ);
	CHECK_OK(buf_add_fence(buf, file, DMA_BUF_SYNC_WRITE));
	CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 5000));
	CHECK_EQ(syncobj_status(fd, done), 1);
	/* But the next hand-over waits for him. */
	CHECK_OK(release(fd, 1));
	CHECK_EQ(acquire(fd, 1, DRM_PIM_OWNER_PIM, 100), -ETIME);
	vgem_signal(&v, fence);
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 5000));
}

/* A fence of another driver by way of a syncobj. */
static void sync_file_in(void)
{
	struct vgem v = vgem();
	int fd = dev_open();
	uint32_t q = queue_new(fd), in = syncobj_new(fd), out = syncobj_new(fd), fence = vgem_attach(&v, VGEM_WRITE);
	struct drm_syncobj_handle s = { .handle = in, .flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE };
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_HOST);
	int back;

	s.fd = buf_fence(v.buf, DMA_BUF_SYNC_READ);
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &s));
	CHECK_OK(submit(fd, q, &job, 1, in, out, NULL));
	back = syncobj_file(fd, out);
	CHECK(!fence_signalled(back, 100));
	vgem_signal(&v, fence);
	CHECK(fence_signalled(back, 5000));
}

static void udmabuf(void)
{
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), mem, buf, fd;
	struct udmabuf_create c = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = SIZE };
	volatile uint32_t *p, *q;
	uint32_t h;

	if (dev < 0)
		skip("no /dev/udmabuf in this kernel");
	mem = memfd_create("udmabuf", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	CHECK_OK(ftruncate(mem, SIZE));
	CHECK_OK(fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK));
	c.memfd = (uint32_t)mem;
	buf = ioctl(dev, UDMABUF_CREATE, &c);
	CHECK(buf >= 0);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	CHECK(p != MAP_FAILED);
	fd = dev_open();
	h = import(fd, buf);
	CHECK_EQ(gem_info(fd, h).flags, DRM_PIM_GEM_IMPORTED);
	if (gem_copy(fd, gem(fd, SIZE, 0, 0), 0, h, 0, SIZE, 5000) == -EOPNOTSUPP)
		skip("this kernel's udmabuf does not map its memory for others (before 6.2)");
	copies(fd, h, p);
	q = gem_map(fd, h, SIZE);
	q[9] = 99;
	CHECK_EQ(p[9], 99);
}

/* -- two cards ------------------------------------------------------------------------------------------------------ */

struct pair {
	int a, b, buf;
	uint32_t on_a, on_b, local; /* the buffer of a, as b's import; memory of b */
	volatile uint32_t *p, *q; /* a's memory, b's */
};

static struct pair pair(void)
{
	struct pair c = { .a = dev_open_n(0), .b = dev_open_n(1) };

	c.on_a = gem(c.a, SIZE, 0, 0);
	c.buf = prime_export(c.a, c.on_a);
	CHECK(c.buf >= 0);
	c.on_b = import(c.b, c.buf);
	c.local = gem(c.b, SIZE, 0, 1);
	c.p = gem_map(c.a, c.on_a, SIZE);
	c.q = gem_map(c.b, c.local, SIZE);
	return c;
}

static void cards_share(void)
{
	struct pair c = pair();
	volatile uint32_t *through = gem_map(c.b, c.on_b, SIZE);
	uint32_t i;

	CHECK_EQ(gem_info(c.b, c.on_b).flags, DRM_PIM_GEM_IMPORTED);
	for (i = 0; i < SIZE / 4; i++)
		c.p[i] = i ^ 0x55555555;
	CHECK_EQ(through[77], 77 ^ 0x55555555);
	CHECK_OK(gem_copy(c.b, c.local, 0, c.on_b, 0, SIZE, 5000));
	for (i = 0; i < SIZE / 4; i++)
		CHECK_EQ(c.q[i], i ^ 0x55555555);
	c.q[1] = 11;
	CHECK_OK(gem_copy(c.b, c.on_b, 0, c.local, 0, 8, 5000));
	CHECK_EQ(c.p[1], 11);
	CHECK_EQ(gem_copy(c.b, c.on_b, 0, c.on_b, 4, 8, 5000), -EINVAL);
}

static void touch(void *arg)
{
	CHECK_EQ(**(volatile uint32_t **)arg, 4);
}

/* The owner's authority is enforced on the other card's mapping and copy as well. */
static void cards_authority(void)
{
	struct pair c = pair();
	volatile uint32_t *through = gem_map(c.b, c.on_b, SIZE);
	int pid, status;

	through[0] = 4;
	CHECK_OK(acquire(c.a, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(touch, &through);
	CHECK(!child_ended(pid, 50, &status));
	CHECK_EQ(gem_copy(c.b, c.local, 0, c.on_b, 0, 8, 30), -ETIME);
	CHECK_OK(release(c.a, 1));
	child_ok(pid, 5000);
	CHECK_OK(gem_copy(c.b, c.local, 0, c.on_b, 0, 8, 1000));
}

static void cards_fences(void)
{
	struct pair c = pair();
	uint32_t qa = queue_new(c.a), qb = queue_new(c.b);
	uint32_t gate = syncobj_new(c.a), gate_b = syncobj_new(c.b), done = syncobj_new(c.a);
	struct drm_pim_binding b = { .handle = c.on_a, .access = WRITE, .bytes = SIZE };
	struct pim_hw_copy payload;
	struct drm_pim_job fill = job_fill(&b, &payload, 0xabcdabcd);
	int file;

	/* a's job gates b's copy. */
	gate_close(c.a, qa, gate);
	CHECK_OK(submit(c.a, qa, &fill, 1, 0, done, NULL));
	CHECK_EQ(gem_copy(c.b, c.local, 0, c.on_b, 0, 8, 50), -ETIME);
	gate_open(c.a, qa, gate);
	CHECK_OK(gem_copy(c.b, c.local, 0, c.on_b, 0, SIZE, 5000));
	CHECK_EQ(c.q[SIZE / 4 - 1], 0xabcdabcd);
	/* b's job, which reads what it got, gates a's next job by its fence in the dma-buf. */
	gate_close(c.b, qb, gate_b);
	file = syncobj_file(c.b, gate_b);
	CHECK_OK(buf_add_fence(c.buf, file, DMA_BUF_SYNC_READ));
	close(file);
	CHECK_OK(submit(c.a, qa, &fill, 1, 0, done, NULL));
	CHECK_EQ(syncobj_wait(c.a, done, 0, 100), -ETIME);
	gate_open(c.b, qb, gate_b);
	CHECK_OK(syncobj_wait(c.a, done, 0, 5000));
	CHECK_EQ(syncobj_status(c.a, done), 1);
}

static void other_unbound(void)
{
	struct pair c = pair();
	volatile uint32_t *through = gem_map(c.b, c.on_b, SIZE);
	char name[32];

	dev_function(0, name);
	c.p[0] = 4;
	driver_file("unbind", name);
	CHECK_EQ(gem_copy(c.b, c.local, 0, c.on_b, 0, 8, 1000), -ENODEV);
	CHECK_EQ(gem_copy(c.b, c.on_b, 0, c.local, 0, 8, 1000), -ENODEV);
	CHECK_EQ(through[0], 0); /* a page of zeros in place of the card */
	c.q[0] = 5;
	CHECK_EQ(c.q[0], 5);
	close(c.a);
	close(c.b);
	driver_file("bind", name);
	close(dev_open_n(1));
}

const struct test import_tests[] = {
	{ "an imported buffer is known as such, and is mapped through its exporter", info_and_map },
	{ "an imported buffer's mapping keeps to its size, its file and its handle", bad_maps },
	{ "a job cannot bind an imported buffer", no_job },
	{ "an imported buffer has one handle, and is exported as what it came from", one_handle },
	{ "bytes are copied between the card and vgem, both ways", vgem_copies },
	{ "a copy waits for vgem's fences: writers of its source, everybody of its destination", copy_waits },
	{ "vgem, which wants pages, cannot import card memory", no_pages },
	{ "an importer's fence in a dma-buf holds back jobs on that buffer, and only those", importer_gates },
	{ "a job of a claim does not wait for importers that came after it, the next hand-over does", late_importer },
	{ "a sync file of another driver comes in by a syncobj, and one of ours goes out", sync_file_in },
	{ "bytes are copied between the card and udmabuf, both ways", udmabuf },
	{ "two cards share a buffer", cards_share },
	{ "a card's authority holds on the other card's mappings and copies", cards_authority },
	{ "fences of two cards gate each other's work on a shared buffer", cards_fences },
	{ "a buffer of an unbound card gives errors and pages of zeros on the other card", other_unbound },
	TEST_END
};
