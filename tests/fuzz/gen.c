// SPDX-License-Identifier: MIT
/* Arguments: filled in so that the call may succeed, then, in a part of the calls, spoiled. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

uint64_t rnd(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t gen_get(const void *p, unsigned int size)
{
	uint64_t v = 0;

	memcpy(&v, p, size < 8 ? size : 8); /* little-endian, as is everything here */
	return v;
}

void gen_set(void *p, unsigned int size, uint64_t value)
{
	memcpy(p, &value, size < 8 ? size : 8);
}

static void *arena(struct gen *g, size_t n)
{
	void *p;

	n = (n + 15) & ~15ull;
	if (g->used + n > ARENA)
		g->used = 0; /* overlaps what is already there: another way to spoil */
	p = g->arena + g->used;
	g->used += n;
	return p;
}

static uint64_t some_size(struct gen *g, uint64_t max)
{
	switch (rnd_below(g->rng, 8)) {
	case 0:
		return 1 + rnd_below(g->rng, max);
	case 1:
		return max >> rnd_below(g->rng, 12);
	case 2:
		return 1 + rnd_below(g->rng, 4096);
	default:
		return 4096ull << rnd_below(g->rng, 7);
	}
}

static uint64_t some_deadline(struct gen *g)
{
	uint64_t ms = 1000000;

	switch (rnd_below(g->rng, 8)) {
	case 0:
		return 0;
	case 1:
		return now_ns() - ms;
	case 2:
		return INT64_MAX; /* the watchdog's signal ends it */
	default:
		return now_ns() + rnd_below(g->rng, 20) * ms;
	}
}

static void fill_array(struct gen *g, const struct field *f, uint8_t *base, uint8_t *at)
{
	uint64_t n = f->kind == K_ALONG ? gen_get(base + f->count, 4) : f->a + rnd_below(g->rng, f->b - f->a + 1), i;
	size_t each = f->of ? f->of->size : 1;
	uint8_t *p;

	/* Small ones are the rule: an error is only looked for at the first few. */
	if (f->kind != K_ALONG && n > f->a + 3 && chance(g->rng, 75))
		n = f->a + rnd_below(g->rng, 3);
	if (n * each > ARENA / 2)
		n = ARENA / 2 / each;
	p = arena(g, n * each);
	if (f->kind == K_BYTES)
		for (i = 0; i < n; i++)
			p[i] = (uint8_t)(chance(g->rng, 60) ? 0 : rnd(g->rng));
	else
		for (i = 0; i < n; i++)
			gen_fill(g, f->of, p + i * each);
	gen_set(at, 8, (uintptr_t)p);
	if (f->kind != K_ALONG)
		gen_set(base + f->count, 4, n);
}

static uint64_t fill_object(struct gen *g, const struct field *f)
{
	struct object *o = &g->last[f->a];
	bool some;

	if (f->kind == K_DEL)
		some = pool_take(g->client, g->rng, f->a, o);
	else if (chance(g->rng, 98))
		some = pool_pick(g->client, g->rng, f->a, o);
	else
		some = pool_pick(&clients[rnd_below(g->rng, CLIENTS)], g->rng, f->a, o); /* a stranger's */
	if (!some) {
		memset(o, 0, sizeof(*o));
		if (f->a >= P_SYNCFILE)
			o->handle = UINT32_MAX;
	}
	g->offset = 0;
	return o->handle;
}

static void fill_field(struct gen *g, const struct field *f, uint8_t *base)
{
	const struct object *gem = &g->last[P_GEM];
	uint8_t *at = base + f->off;
	uint64_t v = 0, i;

	if (g->nslots < SLOTS && f->kind != K_NEST && f->kind != K_OUT && f->kind != K_NEW)
		g->slot[g->nslots++] = (struct slot){ .at = at, .f = f };
	switch (f->kind) {
	case K_PAD:
	case K_OUT:
	case K_NEW:
		memset(at, 0, f->size);
		return;
	case K_COUNT:
		return;
	case K_ARRAY:
	case K_ALONG:
	case K_BYTES:
		fill_array(g, f, base, at);
		return;
	case K_NEST:
		for (i = 0; i + f->of->size <= f->size; i += f->of->size)
			gen_fill(g, f->of, at + i);
		return;
	case K_FLAGS:
		v = chance(g->rng, 50) ? 0 : rnd(g->rng) & f->a;
		break;
	case K_ENUM:
		v = rnd_below(g->rng, f->a);
		break;
	case K_NUM:
		v = f->a + rnd_below(g->rng, f->b - f->a + 1);
		break;
	case K_SIZE:
		v = some_size(g, f->a);
		break;
	case K_HANDLE:
	case K_DEL:
		v = fill_object(g, f);
		break;
	case K_OFFSET:
		v = chance(g->rng, 50) || gem->size <= f->a ? 0 : rnd_below(g->rng, gem->size / f->a) * f->a;
		g->offset = v;
		break;
	case K_LENGTH:
		v = gem->size > g->offset ? gem->size - g->offset : 4096;
		if (chance(g->rng, 50))
			v = 1 + rnd_below(g->rng, v);
		break;
	case K_DOMAIN:
		v = rnd_below(g->rng, domain_count);
		break;
	case K_DOMAINS:
		v = 1ull << rnd_below(g->rng, domain_count);
		if (chance(g->rng, 30))
			v |= rnd(g->rng) & ((1ull << domain_count) - 1);
		break;
	case K_DEADLINE:
		v = some_deadline(g);
		break;
	case K_SEQ:
		v = chance(g->rng, 60) ? 0 : rnd_below(g->rng, g->last[P_QUEUE].number / 2 + 1);
		break;
	case K_POINT:
		v = f->a ? g->last[P_SYNCOBJ].number + 1 + rnd_below(g->rng, 3) : rnd_below(g->rng, g->last[P_SYNCOBJ].number + 1);
		if (chance(g->rng, 50))
			v = 0;
		break;
	}
	gen_set(at, f->size, v);
}

void gen_fill(struct gen *g, const struct type *t, void *p)
{
	const struct field *f;

	for (f = t->fields; f->name; f++)
		fill_field(g, f, p);
	if (t->fix)
		t->fix(g, p);
}

/* -- spoiling ------------------------------------------------------------------------------------------------------- */

static uint64_t bad_pointer(struct gen *g, uint64_t valid)
{
	static uint8_t *edge; /* one page that is there, then one that is not */
	void *p;

	if (!edge) {
		p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p != MAP_FAILED) {
			mprotect((uint8_t *)p + 4096, 4096, PROT_NONE);
			mprotect((uint8_t *)p + 8192, 4096, PROT_READ);
			edge = p;
		}
	}
	switch (rnd_below(g->rng, 8)) {
	case 0:
		return 0;
	case 1:
		return valid + 1;
	case 2:
		return (uintptr_t)edge + 4096 - 8 * (1 + rnd_below(g->rng, 20)); /* crosses over */
	case 3:
		return (uintptr_t)edge + 8192; /* may be read only */
	case 4:
		return 0xffff888000000000ull + rnd_below(g->rng, 1 << 30);
	case 5:
		return rnd(g->rng);
	case 6:
		p = ops_some_map(g->rng); /* the card's own memory, which may have to be waited for */
		return p ? (uintptr_t)p : 0;
	default:
		return UINT64_MAX - rnd_below(g->rng, 4096);
	}
}

static uint64_t boundary(struct gen *g, uint64_t valid)
{
	static const uint64_t edge[] = {
		0, 1, 2, 3, 7, 8, 0x7f, 0x80, 0xff, 0xfff, 0x1000, 0x1001, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
		INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 4095,
	};

	switch (rnd_below(g->rng, 6)) {
	case 0:
		return valid ^ 1ull << rnd_below(g->rng, 64);
	case 1:
		return valid ^ 1ull << rnd_below(g->rng, 8);
	case 2:
		return valid + 1;
	case 3:
		return valid - 1;
	case 4:
		return rnd(g->rng) >> rnd_below(g->rng, 64);
	default:
		return edge[rnd_below(g->rng, sizeof(edge) / sizeof(edge[0]))];
	}
}

static uint64_t limited(const struct field *f, uint64_t v)
{
	return f->kind == K_COUNT && f->a ? (uint32_t)v % f->a : v;
}

void gen_spoil(struct gen *g)
{
	unsigned int n = 1 + (unsigned int)rnd_below(g->rng, 3);

	while (n-- && g->nslots) {
		struct slot *s = &g->slot[rnd_below(g->rng, g->nslots)];
		uint64_t v = gen_get(s->at, s->f->size);
		bool pointer = s->f->kind == K_ARRAY || s->f->kind == K_ALONG || s->f->kind == K_BYTES;

		gen_set(s->at, s->f->size, pointer ? bad_pointer(g, v) : limited(s->f, boundary(g, v)));
	}
}

void gen_noise(struct gen *g, const struct type *t, void *p)
{
	const struct field *f;
	size_t i;

	for (i = 0; i < t->size; i++)
		((uint8_t *)p)[i] = (uint8_t)(chance(g->rng, 70) ? 0 : rnd(g->rng));
	for (f = t->fields; f->name; f++)
		gen_set((uint8_t *)p + f->off, f->size, limited(f, gen_get((uint8_t *)p + f->off, f->size)));
}

void gen_settle(struct gen *g, const struct type *t, void *p, int ret)
{
	struct object o = { 0 };
	const struct field *f, *made = NULL;

	for (f = t->fields; f->name; f++) {
		uint8_t *at = (uint8_t *)p + f->off;

		if (f->kind == K_NEW)
			made = f;
		else if (f->kind == K_SIZE)
			o.size = gen_get(at, f->size);
		else if (f->kind == K_DOMAIN)
			o.domain = (uint32_t)gen_get(at, f->size);
		else if (f->kind == K_DEL && ret && ret != -2 /* ENOENT */ && g->last[f->a].handle)
			pool_put(g->client, f->a, &g->last[f->a]); /* still there */
	}
	if (!made || ret)
		return;
	o.handle = (uint32_t)gen_get((uint8_t *)p + made->off, made->size);
	if (!o.size)
		o.size = g->last[P_GEM].size;
	pool_put(g->client, made->a, &o);
}
