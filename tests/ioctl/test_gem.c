/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KIB 1024ull
#define MIB (1024 * KIB)

static void bad_create(void)
{
	int fd = dev_open();
	uint32_t domains = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS), h;
	struct drm_pim_gem_create c = { .size = 4096 };

	CHECK_EQ(gem_create(fd, 0, 0, 0, &h), -EINVAL);
	CHECK_EQ(gem_create(fd, 0, DRM_PIM_GEM_WINDOW, 0, &h), -EINVAL);
	CHECK_EQ(gem_create(fd, 4096, 1u << 2, 0, &h), -EINVAL);
	CHECK_EQ(gem_create(fd, 4096, 1u << 31, 0, &h), -EINVAL);
	CHECK_EQ(gem_create(fd, 4096, 0, domains, &h), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c), -EINVAL);
	c.domains = 1;
	c.align = 1;
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c), -EINVAL);
	CHECK_EQ(gem_create(fd, 4096, DRM_PIM_GEM_WINDOW, 1, &h), -EINVAL);
}

static void too_large(void)
{
	int fd = dev_open();
	uint64_t domain = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES), window = param(fd, DRM_PIM_PARAM_WINDOW_BYTES);
	uint32_t h;

	CHECK_EQ(gem_create(fd, domain + 1, 0, 0, &h), -ENOSPC);
	CHECK_EQ(gem_create(fd, window + 1, DRM_PIM_GEM_WINDOW, 0, &h), -ENOSPC);
	CHECK_EQ(gem_create(fd, ~0ull, 0, 0, &h), -ENOSPC);
	CHECK_EQ(gem_create(fd, ~0ull - 4095, 0, 0, &h), -ENOSPC);
	CHECK_EQ(gem_create(fd, 1ull << 63, DRM_PIM_GEM_WINDOW, 0, &h), -ENOSPC);
}

static void rounded(void)
{
	int fd = dev_open();
	uint64_t stripe = param(fd, DRM_PIM_PARAM_STRIPE_BYTES);
	struct drm_pim_gem_create a = { .size = 1, .domains = 1 }, b = { .size = 5000, .domains = 1 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &a));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &b));
	CHECK_EQ(a.size % 4096, 0);
	CHECK_EQ(a.size % stripe, 0);
	CHECK_EQ(a.address % stripe, 0);
	CHECK(b.size >= 5000);
	CHECK_EQ(b.address % stripe, 0);
	CHECK(a.address + a.size <= b.address || b.address + b.size <= a.address);
}

static void domains_apart(void)
{
	int fd = dev_open();
	uint64_t bytes = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES), n = param(fd, DRM_PIM_PARAM_DOMAINS), d;

	for (d = 0; d < n; d++) {
		struct drm_pim_gem_create c = { .size = 64 * KIB, .domains = 1u << d };

		CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c));
		CHECK(c.address >= d * bytes);
		CHECK(c.address + c.size <= (d + 1) * bytes);
	}
}

static void handles(void)
{
	int a = dev_open(), b = dev_open();
	uint32_t h = gem(a, 4096, 0, 0);
	uint64_t off;

	CHECK_EQ(gem_offset(b, h, &off), -ENOENT);
	CHECK_EQ(gem_offset(a, 0, &off), -ENOENT);
	CHECK_EQ(gem_offset(a, 0xffffffff, &off), -ENOENT);
	CHECK_OK(gem_offset(a, h, &off));
	CHECK_OK(gem_close(a, h));
	CHECK_EQ(gem_offset(a, h, &off), -ENOENT);
	CHECK_EQ(gem_close(a, h), -EINVAL);
}

static void mmap_flags(void)
{
	int fd = dev_open();
	struct drm_pim_gem_mmap m = { .handle = gem(fd, 4096, 0, 0), .flags = 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_MMAP, &m), -EINVAL);
}

static int map_errno(int fd, uint64_t offset, uint64_t size, int prot, int flags)
{
	void *p = mmap(NULL, size, prot, flags, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, size);
	return 0;
}

static void bad_mappings(void)
{
	const int rw = PROT_READ | PROT_WRITE;
	int a = dev_open(), b = dev_open();
	uint64_t size = 256 * KIB, off;
	uint32_t h = gem(a, size, 0, 0);

	CHECK_OK(gem_offset(a, h, &off));
	CHECK_OK(map_errno(a, off, size, rw, MAP_SHARED));
	CHECK_OK(map_errno(a, off, 4096, PROT_READ, MAP_SHARED));
	CHECK_EQ(map_errno(a, off, size, rw, MAP_PRIVATE), -EINVAL);
	CHECK_EQ(map_errno(a, off, size, PROT_READ, MAP_PRIVATE), -EINVAL);
	CHECK_EQ(map_errno(a, off, size + 4096, rw, MAP_SHARED), -EINVAL);
	CHECK_EQ(map_errno(a, off + 4096, 4096, rw, MAP_SHARED), -EINVAL);
	CHECK_EQ(map_errno(a, off + size, 4096, rw, MAP_SHARED), -EINVAL);
	CHECK_EQ(map_errno(a, 0, 4096, rw, MAP_SHARED), -EINVAL);
	CHECK_EQ(map_errno(b, off, size, rw, MAP_SHARED), -EACCES);
	CHECK_OK(gem_close(a, h));
	CHECK_EQ(map_errno(a, off, size, rw, MAP_SHARED), -EINVAL);
}

static void no_growth(void)
{
	int fd = dev_open();
	void *p = gem_map(fd, gem(fd, 64 * KIB, 0, 0), 4096);

	CHECK(mremap(p, 4096, 64 * KIB, MREMAP_MAYMOVE) == MAP_FAILED);
}

static void keeps_data(void)
{
	int fd = dev_open();
	uint32_t flags[] = { 0, DRM_PIM_GEM_WINDOW, DRM_PIM_GEM_SIGBUS };
	uint64_t size = 3 * MIB, i;
	size_t k;

	for (k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
		uint32_t h = gem(fd, size, flags[k], 0);
		uint64_t *p = gem_map(fd, h, size);
		uint64_t *q = gem_map(fd, h, size);

		for (i = 0; i < size / 8; i += 511)
			p[i] = i * 0x9e3779b97f4a7c15ull;
		for (i = 0; i < size / 8; i += 511)
			CHECK(q[i] == i * 0x9e3779b97f4a7c15ull);
		/* The mapping holds the buffer. */
		CHECK_OK(gem_close(fd, h));
		CHECK(q[511] == 511 * 0x9e3779b97f4a7c15ull);
		munmap(p, size);
		munmap(q, size);
	}
}

static void apart(void)
{
	int fd = dev_open();
	uint32_t *p = gem_map(fd, gem(fd, 64 * KIB, 0, 0), 64 * KIB), *q = gem_map(fd, gem(fd, 64 * KIB, 0, 0), 64 * KIB);

	memset(p, 0x55, 64 * KIB);
	CHECK_EQ(q[0], 0);
	CHECK_EQ(q[16 * KIB - 1], 0);
}

/* Take the whole domain, so that the memory must be the same. */
static void cleared(void)
{
	int fd = dev_open();
	uint64_t size = param(fd, DRM_PIM_PARAM_WINDOW_BYTES) & ~(4 * MIB - 1), i;
	uint32_t h;
	uint64_t *p;

	if (size > 64 * MIB)
		size = 64 * MIB;
	h = gem(fd, size, DRM_PIM_GEM_WINDOW, 0);
	p = gem_map(fd, h, size);
	memset(p, 0xa5, size);
	munmap(p, size);
	close(fd);

	fd = dev_open();
	p = gem_map(fd, gem(fd, size, DRM_PIM_GEM_WINDOW, 0), size);
	for (i = 0; i < size / 8; i++)
		CHECK(!p[i]);
}

static void full(void)
{
	int fd = dev_open();
	uint64_t window = param(fd, DRM_PIM_PARAM_WINDOW_BYTES), piece = window / 8 & ~(64 * KIB - 1);
	uint32_t h[64], n = 0;
	int ret = 0;

	while (n < 64 && !(ret = gem_create(fd, piece, DRM_PIM_GEM_WINDOW, 0, &h[n])))
		n++;
	CHECK_EQ(ret, -ENOSPC);
	CHECK(n >= 7);
	CHECK_OK(gem_close(fd, h[n / 2]));
	CHECK_OK(gem_create(fd, piece, DRM_PIM_GEM_WINDOW, 0, &h[n / 2]));
	*(volatile uint32_t *)gem_map(fd, h[n / 2], piece) = 1;
}

static void info(void)
{
	static const uint32_t flags[] = { 0, DRM_PIM_GEM_SIGBUS, DRM_PIM_GEM_WINDOW };
	int fd = dev_open();
	unsigned int i;

	for (i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct drm_pim_gem_create c = { .size = 5000, .flags = flags[i], .domains = flags[i] & DRM_PIM_GEM_WINDOW ? 0 : 2 };
		struct drm_pim_gem_info q;

		CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c));
		q = gem_info(fd, c.handle);
		CHECK_EQ(q.size, c.size);
		CHECK_EQ(q.flags, flags[i]);
		CHECK_EQ(q.address, c.address);
		CHECK_EQ(q.domain, c.domain);
	}
}

static void bad_info(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t h = gem(fd, 4096, 0, 0);
	struct drm_pim_gem_info zero = { 0 }, foreign = { .handle = h }, flags = { .handle = h, .flags = 1 }, pad = { .handle = h, .pad = 1 };

	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_INFO, &zero), -ENOENT);
	CHECK_EQ(pim_ioctl(other, DRM_IOCTL_PIM_GEM_INFO, &foreign), -ENOENT);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_INFO, &flags), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_INFO, &pad), -EINVAL);
}

struct forked {
	int fd;
	volatile uint32_t *p;
};

static void in_child(void *arg)
{
	struct forked *f = arg;

	CHECK_EQ(f->p[0], 1);
	f->p[1] = 2; /* waits */
}

static void forks(void)
{
	struct forked f = { .fd = dev_open() };
	int pid, status;

	f.p = gem_map(f.fd, gem(f.fd, 64 * KIB, 0, 0), 64 * KIB);
	f.p[0] = 1;
	CHECK_OK(acquire(f.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(in_child, &f);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(release(f.fd, 1));
	child_ok(pid, 5000);
	CHECK_EQ(f.p[1], 2);
}

const struct test gem_tests[] = {
	{ "a buffer of size zero, with unknown flags, domains or a pad is EINVAL", bad_create },
	{ "a buffer larger than its memory is ENOSPC, whatever the size", too_large },
	{ "sizes are rounded up to pages and stripes, places are stripe-aligned and do not overlap", rounded },
	{ "a buffer lies in the domain asked for", domains_apart },
	{ "a handle of nobody, of another file, or closed is refused", handles },
	{ "a mapping offset with flags is EINVAL", mmap_flags },
	{ "private, too long, shifted and foreign mappings are refused", bad_mappings },
	{ "a mapping cannot be grown", no_growth },
	{ "what is written through one mapping is read through another", keeps_data },
	{ "buffers do not share memory", apart },
	{ "memory is cleared before another client sees it", cleared },
	{ "a full memory is ENOSPC, and usable again when a buffer is closed", full },
	{ "a buffer's info is what its creation said", info },
	{ "a buffer's info of no handle is ENOENT, with flags or a pad EINVAL", bad_info },
	{ "after a fork both processes' mappings are taken away and come back", forks },
	TEST_END
};
