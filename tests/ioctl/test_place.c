/* SPDX-License-Identifier: MIT */
/* Where buffers go, and what becomes of memory that is full or in pieces. */
#include "harness.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ull << 20)

struct card {
	int fd;
	uint64_t bytes, unit;
	uint32_t domains;
};

static struct card card(uint32_t domains)
{
	struct card c = { .fd = dev_open() };

	c.bytes = param(c.fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	c.unit = param(c.fd, DRM_PIM_PARAM_STRIPE_BYTES);
	c.unit = c.unit < 4096 ? 4096 : c.unit;
	c.domains = (uint32_t)param(c.fd, DRM_PIM_PARAM_DOMAINS);
	if (c.domains < domains || c.bytes > 256 * MIB)
		skip("a small card with several domains is needed: cards/test-4dom.card");
	return c;
}

static int place(const struct card *c, struct drm_pim_gem_create *out, uint64_t size, uint64_t align, uint32_t domains)
{
	*out = (struct drm_pim_gem_create){ .size = size, .align = align, .domains = domains };
	return pim_ioctl(c->fd, DRM_IOCTL_PIM_GEM_CREATE, out);
}

static void most_free(void)
{
	struct card c = card(3);
	struct drm_pim_gem_create b;
	uint32_t i, seen = 0;

	CHECK_OK(place(&c, &b, 8 * MIB, 0, 1));
	CHECK_OK(place(&c, &b, 4 * MIB, 0, 2));
	CHECK_OK(place(&c, &b, 2 * MIB, 0, 3));
	CHECK_EQ(b.domain, 1);
	CHECK_OK(place(&c, &b, 4 * MIB, 0, 3));
	CHECK_EQ(b.domain, 1);
	CHECK_OK(place(&c, &b, 1 * MIB, 0, 3));
	CHECK_EQ(b.domain, 0);
	/* From equal domains each gets its turn. */
	close(c.fd);
	c = card(3);
	for (i = 0; i < c.domains; i++) {
		CHECK_OK(place(&c, &b, MIB, 0, (1u << c.domains) - 1));
		seen |= 1u << b.domain;
	}
	CHECK_EQ(seen, (1u << c.domains) - 1);
}

static void fills_mask(void)
{
	struct card c = card(2);
	struct drm_pim_gem_create b;
	uint64_t piece = c.bytes / 8, sum = 0;
	uint32_t n = 0, last = 0;
	int ret;

	while (!(ret = place(&c, &b, piece, 0, 3))) {
		CHECK(b.domain < 2);
		sum += b.size;
		last = b.handle;
		n++;
	}
	CHECK_EQ(ret, -ENOSPC);
	CHECK_EQ(sum, 2 * c.bytes);
	CHECK_EQ(n, 16);
	CHECK_EQ(place(&c, &b, 1, 0, 3), -ENOSPC);
	CHECK_OK(gem_close(c.fd, last));
	CHECK_OK(place(&c, &b, piece, 0, 3));
	*(volatile uint32_t *)gem_map(c.fd, b.handle, piece) = 1;
}

static void in_pieces(void)
{
	struct card c = card(2);
	uint64_t piece = c.bytes / 16;
	struct drm_pim_gem_create b[16], big;
	uint32_t i;

	for (i = 0; i < 16; i++)
		CHECK_OK(place(&c, &b[i], piece, 0, 1));
	for (i = 0; i < 16; i += 2)
		CHECK_OK(gem_close(c.fd, b[i].handle));
	CHECK_OK(place(&c, &big, 10 * piece, 0, 2));
	/* Domain 0 has eight free pieces, domain 1 six in one. */
	CHECK_OK(place(&c, &big, 2 * piece, 0, 3));
	CHECK_EQ(big.domain, 1);
	CHECK_OK(place(&c, &big, piece, 0, 3));
	CHECK_EQ(big.domain, 0);
	CHECK_EQ(place(&c, &big, 2 * piece, 0, 1), -ENOSPC);
}

static void aligned(void)
{
	struct card c = card(2);
	struct drm_pim_gem_create b;
	uint64_t align[] = { c.unit, 3 * c.unit, 64 * c.unit, MIB, c.bytes / 2 };
	uint32_t handle[2];
	unsigned int i, k;

	for (i = 0; i < sizeof(align) / sizeof(align[0]); i++) {
		for (k = 0; k < 2; k++) {
			CHECK_OK(place(&c, &b, 1, align[i], 2));
			CHECK_EQ(b.address % align[i], 0);
			CHECK_EQ(b.domain, 1);
			handle[k] = b.handle;
		}
		if (i + 1 == sizeof(align) / sizeof(align[0]))
			CHECK_EQ(place(&c, &b, 1, align[i], 2), -ENOSPC);
		CHECK_OK(gem_close(c.fd, handle[0]));
		CHECK_OK(gem_close(c.fd, handle[1]));
	}
	for (i = 0; i < 64; i++)
		if ((1ull << i) % c.unit)
			CHECK_EQ(place(&c, &b, 1, 1ull << i, 1), -EINVAL);
	CHECK_EQ(place(&c, &b, 1, c.unit + 1, 1), -EINVAL);
	CHECK_EQ(place(&c, &b, 1, ~0ull - c.unit + 1, 2), -ENOSPC);
}

/* -- fragmentation -------------------------------------------------------------------------------------------------- */

#define SLOTS 96u
#define ROUNDS 1500u

struct slot {
	struct drm_pim_gem_create b;
	uint64_t *p, tag;
};

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void fill(struct slot *s)
{
	uint64_t i;

	for (i = 0; i < s->b.size / 8; i += 512) {
		CHECK_EQ(s->p[i], 0);
		s->p[i] = s->tag + i;
	}
}

static void drop(struct card *c, struct slot *s)
{
	uint64_t i;

	for (i = 0; i < s->b.size / 8; i += 512)
		CHECK(s->p[i] == s->tag + i);
	munmap(s->p, s->b.size);
	CHECK_OK(gem_close(c->fd, s->b.handle));
	s->p = NULL;
}

static void fragments(void)
{
	struct card c = card(1);
	struct slot slots[SLOTS] = { 0 };
	uint64_t seed = in_ms(0) | 1, state = seed, size;
	uint32_t i, k, full = 0;
	struct drm_pim_gem_create all;

	printf("# seed %llu\n", (unsigned long long)seed);
	for (i = 0; i < ROUNDS; i++) {
		struct slot *s = &slots[next(&state) % SLOTS];
		int ret;

		if (s->p) {
			drop(&c, s);
			continue;
		}
		size = 1 + next(&state) % (1ull << (8 + next(&state) % 16));
		ret = place(&c, &s->b, size, 0, 1);
		if (ret) {
			CHECK_EQ(ret, -ENOSPC);
			full++;
			continue;
		}
		for (k = 0; k < SLOTS; k++)
			if (slots[k].p && &slots[k] != s)
				CHECK(s->b.address + s->b.size <= slots[k].b.address ||
				      slots[k].b.address + slots[k].b.size <= s->b.address);
		s->p = gem_map(c.fd, s->b.handle, s->b.size);
		s->tag = next(&state);
		fill(s);
	}
	printf("# %u of %u did not fit\n", full, ROUNDS);
	for (i = 0; i < SLOTS; i++)
		if (slots[i].p)
			drop(&c, &slots[i]);
	CHECK_OK(place(&c, &all, c.bytes, 0, 1));
}

/* -- clearing ------------------------------------------------------------------------------------------------------- */

static void create_in_zero(void *arg)
{
	struct card *c = arg;
	struct drm_pim_gem_create b;

	CHECK_OK(place(c, &b, MIB, 0, 1));
}

static void clear_waits(void)
{
	struct card c = card(1);
	int pid, status;

	CHECK_OK(acquire(c.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(create_in_zero, &c);
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(release(c.fd, 1));
	child_ok(pid, 5000);
}

static void clear_killed(void)
{
	struct card c = card(1);
	struct drm_pim_gem_create b;
	int pid, status;

	CHECK_OK(acquire(c.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(create_in_zero, &c);
	CHECK(!child_ended(pid, 50, &status));
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 2000, &status));
	CHECK(WIFSIGNALED(status));
	CHECK_OK(release(c.fd, 1));
	CHECK_OK(place(&c, &b, c.bytes, 0, 1));
}

const struct test place_tests[] = {
	{ "of several domains the one with most free memory is taken", most_free },
	{ "a mask of domains can be filled to the last byte, then it is ENOSPC, and usable again after a close", fills_mask },
	{ "where the domain with most free memory has it in pieces another one of the mask is taken", in_pieces },
	{ "a buffer lies where its alignment says; no multiple of page and stripe is EINVAL, too large ENOSPC", aligned },
	{ "random sizes do not overlap, keep their contents, and leave a domain that can be had as one buffer", fragments },
	{ "a buffer is cleared only once HOST has its domain", clear_waits },
	{ "a process killed while it waits to clear a buffer leaves nothing behind", clear_killed },
	TEST_END
};
