// SPDX-License-Identifier: MIT
/* The HOST engine's pools against PyTorch's rules in double precision, whatever the shape, the tile and the layout. */
#include "host_rig.h"

/* n, c, h, w: of src. oh, ow: of dst; zero: as many windows as fit. */
static const struct shape {
	uint32_t n, c, h, w, kh, kw, sh, sw, ph, pw, oh, ow, swh, dwh;
} shapes[] = {
	{ 2, 16, 8, 8, 2, 2, 2, 2, 0, 0, 0, 0, 2, 2 }, /* the pool of a digits net, in planes */
	{ 1, 33, 7, 9, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1 }, /* windows overlap */
	{ 2, 20, 8, 6, 3, 2, 1, 1, 1, 1, 0, 0, 2, 1 }, /* rows overlap, from planes */
	{ 1, 5, 7, 7, 2, 2, 2, 2, 0, 0, 4, 4, 1, 2 }, /* the last row and column are clipped: ceil_mode */
	{ 2, 17, 6, 8, 3, 3, 2, 2, 1, 1, 4, 4, 2, 2 }, /* the same, with padding */
	{ 1, 16, 9, 9, 2, 2, 4, 3, 0, 0, 0, 0, 3, 1 }, /* some pixels are in no window */
	{ 3, 40, 5, 7, 5, 7, 1, 1, 0, 0, 0, 0, 1, 1 }, /* the whole map */
	{ 1, 3, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1 },
	{ 2, 18, 1, 1, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1 }, /* one pixel, seen by four windows */
	{ 1, 21, 10, 4, 4, 3, 3, 1, 3, 0, 5, 2, 1, 1 },
};
#define NSHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))
#define KINDS 3

struct job {
	struct pim_hw_desc d;
	struct map src, dst, value; /* src: of gradients, in a backward job */
};

static uint32_t fit(uint32_t in, uint32_t k, uint32_t s, uint32_t p)
{
	return (in + 2 * p - k) / s + 1;
}

static void make_pool(struct job *j, const struct shape *s, uint32_t op, uint32_t kind)
{
	const uint32_t oh = s->oh ? s->oh : fit(s->h, s->kh, s->sh, s->ph), ow = s->ow ? s->ow : fit(s->w, s->kw, s->sw, s->pw);
	struct pim_hw_pool *p = &j->d.pool;
	const bool backward = op == PIM_HW_OP_POOL_BWD;

	memset(j, 0, sizeof(*j));
	j->src = make_map(s->n, s->c, s->h, s->w, s->swh, s->swh);
	j->dst = make_map(s->n, s->c, oh, ow, s->dwh, s->dwh);
	j->value = make_map(s->n, s->c, s->h, s->w, s->swh, 1);
	fill_map(&j->src);
	fill_map(&j->dst);
	fill_map(&j->value);
	j->d.op = op;
	bind_map(&j->d, &j->src, backward ? PIM_HW_WRITE : PIM_HW_READ);
	bind_map(&j->d, &j->dst, backward ? PIM_HW_READ : PIM_HW_WRITE);
	bind_map(&j->d, &j->value, PIM_HW_READ);
	p->src = j->src.f;
	p->dst = j->dst.f;
	if (backward && kind == PIM_HW_POOL_MAX)
		p->value = j->value.f;
	p->kh = s->kh;
	p->kw = s->kw;
	p->sh = s->sh;
	p->sw = s->sw;
	p->ph = s->ph;
	p->pw = s->pw;
	p->kind = kind;
	p->count = (s->c + 15) / 16 * 16;
}

/* Few different values, so that windows have ties, and here and there a NaN and both infinities. */
static void fill_with_ties(const struct map *m)
{
	for (uint32_t c = 0; c < m->f.c; c++)
		EACH_PIXEL(m, i, y, x)
			*at(m, c, i, y, x) = below(3) ? (float)below(3) : below(4) ? -INFINITY : below(4) ? NAN : INFINITY;
}

/* Every pixel of window (oy, ox), the padding too. */
#define EACH_OF_WINDOW(p, oy, ox, iy, ix)                                                                                          \
	for (int64_t iy = (int64_t)(oy) * (p)->sh - (p)->ph, ky = 0; ky < (p)->kh; ky++, iy++)                                     \
		for (int64_t ix = (int64_t)(ox) * (p)->sw - (p)->pw, kx = 0; kx < (p)->kw; kx++, ix++)

static bool inside(const struct pim_hw_fmap *f, int64_t y, int64_t x, uint32_t ph, uint32_t pw)
{
	return y >= -(int64_t)ph && y < (int64_t)f->h + ph && x >= -(int64_t)pw && x < (int64_t)f->w + pw;
}

/* By how much a mean is divided. */
static double elements(const struct pim_hw_pool *p, uint32_t oy, uint32_t ox)
{
	const bool padding = p->kind == PIM_HW_POOL_AVG;
	double n = 0;

	EACH_OF_WINDOW(p, oy, ox, iy, ix)
		n += inside(&p->src, iy, ix, padding ? p->ph : 0, padding ? p->pw : 0);
	return n;
}

/* As PyTorch's loop: the place of the maximum; *best is its value. */
static void find_max(const struct pim_hw_pool *p, const struct map *m, uint32_t c, uint32_t i, uint32_t oy, uint32_t ox,
		     float *best, uint32_t *row, uint32_t *col)
{
	bool first = true;

	EACH_OF_WINDOW(p, oy, ox, iy, ix) {
		if (!inside(&m->f, iy, ix, 0, 0))
			continue;
		if (first || *at(m, c, i, iy, ix) > *best || isnan(*at(m, c, i, iy, ix))) {
			*best = *at(m, c, i, iy, ix);
			*row = iy;
			*col = ix;
		}
		first = false;
	}
	ck_assert(!first);
}

static void check_forward(const struct job *j, uint64_t seed)
{
	const struct pim_hw_pool *p = &j->d.pool;

	for (uint32_t c = 0; c < (j->src.f.c + 15) / 16 * 16; c++) {
		EACH_PIXEL(&j->dst, i, y, x) {
			const float got = *at(&j->dst, c, i, y, x);
			uint32_t row, col;
			double sum = 0;
			float best;

			if (c >= j->src.f.c) {
				ck_assert(got == 0);
			} else if (p->kind == PIM_HW_POOL_MAX) {
				find_max(p, &j->src, c, i, y, x, &best, &row, &col);
				ck_assert_msg(!memcmp(&got, &best, 4) || (isnan(got) && isnan(best)),
					      "RIG_SEED=%llu: %g, should be %g", (unsigned long long)seed, (double)got,
					      (double)best);
			} else {
				EACH_OF_WINDOW(p, y, x, iy, ix)
					sum += inside(&j->src.f, iy, ix, 0, 0) ? *at(&j->src, c, i, iy, ix) : 0;
				check_value(got, sum / elements(p, y, x), 0, "a mean", seed);
			}
		}
	}
}

static void check_backward(const struct job *j, uint64_t seed)
{
	const struct pim_hw_pool *p = &j->d.pool;
	double *sum = calloc((uint64_t)j->src.f.n * j->src.f.h * j->src.f.w, sizeof(*sum));
	uint32_t row, col;
	float best;

#define SUM(i, y, x) sum[((uint64_t)(i)*j->src.f.h + (y)) * j->src.f.w + (x)]
	for (uint32_t c = 0; c < (j->src.f.c + 15) / 16 * 16; c++) {
		EACH_PIXEL(&j->src, i, y, x)
			SUM(i, y, x) = 0;
		EACH_PIXEL(&j->dst, i, y, x) {
			if (c >= j->src.f.c)
				continue;
			if (p->kind == PIM_HW_POOL_MAX) {
				find_max(p, &j->value, c, i, y, x, &best, &row, &col);
				SUM(i, row, col) += *at(&j->dst, c, i, y, x);
				continue;
			}
			EACH_OF_WINDOW(p, y, x, iy, ix)
				if (inside(&j->src.f, iy, ix, 0, 0))
					SUM(i, iy, ix) += *at(&j->dst, c, i, y, x) / elements(p, y, x);
		}
		EACH_PIXEL(&j->src, i, y, x)
			check_value(*at(&j->src, c, i, y, x), SUM(i, y, x), 1, "a gradient", seed);
	}
#undef SUM
	free(sum);
}

START_TEST(forward_is_the_maximum_or_the_mean_of_each_window)
{
	const struct shape *s = &shapes[_i / KINDS];
	uint64_t seed = rng_seed();
	struct job j;

	make_pool(&j, s, PIM_HW_OP_POOL_FWD, _i % KINDS);
	run_ok(&j.d, seed);
	check_forward(&j, seed);
	if (_i % KINDS == PIM_HW_POOL_MAX) {
		fill_with_ties(&j.src);
		run_ok(&j.d, seed);
		check_forward(&j, seed);
	}
}
END_TEST

START_TEST(backward_gives_each_window_to_its_first_maximum_or_to_all)
{
	const struct shape *s = &shapes[_i / KINDS];
	uint64_t seed = rng_seed();
	struct job j;

	make_pool(&j, s, PIM_HW_OP_POOL_BWD, _i % KINDS);
	run_ok(&j.d, seed);
	check_backward(&j, seed);
	if (_i % KINDS == PIM_HW_POOL_MAX) {
		fill_with_ties(&j.value);
		run_ok(&j.d, seed);
		check_backward(&j, seed);
	}
}
END_TEST

/* By hand: what the oracle above says, too. */
START_TEST(ties_go_to_the_first_and_nan_wins)
{
	static const float in[4][4] = {
		{ 1, 7, 7, 7 }, { NAN, 3, NAN, 9 }, { -INFINITY, -INFINITY, -INFINITY, -INFINITY }, { 0, -0.0f, 0, 0 }
	};
	static const float want[4][4] = { { 0, 1, 0, 0 }, { 0, 0, 1, 0 }, { 1, 0, 0, 0 }, { 1, 0, 0, 0 } };
	const struct shape s = { 4, 1, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1, 1, 1 };
	uint64_t seed = rng_seed();
	struct job j;

	make_pool(&j, &s, PIM_HW_OP_POOL_BWD, PIM_HW_POOL_MAX);
	EACH_PIXEL(&j.value, i, y, x) {
		*at(&j.value, 0, i, y, x) = in[i][y * 2 + x];
		*at(&j.dst, 0, i, 0, 0) = 1;
	}
	run_ok(&j.d, seed);
	EACH_PIXEL(&j.src, i, y, x)
		ck_assert_msg(*at(&j.src, 0, i, y, x) == want[i][y * 2 + x], "image %u at %u, %u", i, y, x);
}
END_TEST

/* 3 x 3 with a padding of one over 2 x 2 pixels, two more windows than fit: PyTorch divides by what is left of a window inside the padding. */
START_TEST(means_count_the_padding_only_as_far_as_it_goes)
{
	const struct shape s = { 1, 1, 2, 2, 3, 3, 2, 2, 1, 1, 2, 2, 1, 1 };
	static const float want[2][4] = { { 10 / 9.0f, 6 / 6.0f, 7 / 6.0f, 4 / 4.0f }, { 10 / 4.0f, 6 / 2.0f, 7 / 2.0f, 4 } };
	uint64_t seed = rng_seed();
	struct job j;

	for (uint32_t k = 0; k < 2; k++) {
		make_pool(&j, &s, PIM_HW_OP_POOL_FWD, k ? PIM_HW_POOL_AVG_REAL : PIM_HW_POOL_AVG);
		EACH_PIXEL(&j.src, i, y, x)
			*at(&j.src, 0, i, y, x) = 1 + y * 2 + x;
		run_ok(&j.d, seed);
		EACH_PIXEL(&j.dst, i, y, x)
			ck_assert(*at(&j.dst, 0, i, y, x) == want[k][y * 2 + x]);
	}
}
END_TEST

/* All memory is compared: what lies between pixels, planes and blocks is not written either. */
START_TEST(tiles_give_the_bits_of_the_whole)
{
	uint64_t seed = rng_seed(), bytes;
	uint8_t *before, *whole;
	uint32_t kind, b, n;
	struct job j;

	for (kind = 0; kind < 2 * KINDS; kind++) {
		brk_off = rig->hw->mem_off;
		make_pool(&j, &shapes[_i], kind % 2 ? PIM_HW_OP_POOL_BWD : PIM_HW_OP_POOL_FWD, kind / 2);
		before = snapshot(&bytes);
		run_ok(&j.d, seed);
		whole = snapshot(&bytes);
		memcpy(rig->bar + rig->hw->mem_off, before, bytes);
		for (b = (shapes[_i].c + 15) / 16; b > 0; b -= n) {
			n = 1 + below(b);
			j.d.pool.first = (b - n) * 16;
			j.d.pool.count = n * 16;
			run_ok(&j.d, seed);
		}
		ck_assert_msg(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes), "RIG_SEED=%llu: kind %u",
			      (unsigned long long)seed, kind);
		free(before);
		free(whole);
	}
}
END_TEST

START_TEST(time_is_that_of_true_channels)
{
	const struct shape s = { 2, 40, 32, 32, 3, 3, 2, 2, 1, 1, 16, 16, 1, 1 };
	const uint64_t in = 2 * 32 * 32 * 4, out = 2 * 16 * 16 * 4;
	struct job j;

	make_pool(&j, &s, PIM_HW_OP_POOL_FWD, PIM_HW_POOL_AVG);
	check_time(j.d, 40 * out / 4 * 9, 40 * (in + out));
	j.d.pool.first = 32;
	j.d.pool.count = 16;
	check_time(j.d, 8 * out / 4 * 9, 8 * (in + out));
	make_pool(&j, &s, PIM_HW_OP_POOL_BWD, PIM_HW_POOL_MAX);
	check_time(j.d, 40 * out / 4 * 9, 40 * (2 * in + out)); /* the values, too */
}
END_TEST

START_TEST(pools_refuse_what_does_not_fit)
{
	const struct shape s = { 2, 32, 8, 8, 3, 3, 2, 2, 1, 1, 4, 4, 1, 1 };
	struct pim_hw_desc d;
	struct pim_hw_pool *p = &d.pool;
	struct job j;

	rng_seed();
	make_pool(&j, &s, PIM_HW_OP_POOL_FWD, PIM_HW_POOL_MAX);
	REFUSED(j.d, d, (void)0, PIM_HW_OK);
	REFUSED(j.d, d, p->pad = 1, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.pad = 1, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->value.pad = 1, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->value = j.value.f, PIM_HW_E_INVALID); /* forward has none */
	REFUSED(j.d, d, p->kind = 3, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->kh = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->kw = 1025, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->sw = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->ph = 3, PIM_HW_E_INVALID); /* the first window has no pixel */
	REFUSED(j.d, d, p->pw = UINT32_MAX, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->sh = 3, PIM_HW_E_INVALID); /* the last one begins behind the map */
	REFUSED(j.d, d, (p->sh = 3, p->ph = 2), PIM_HW_OK);
	REFUSED(j.d, d, p->dst.w = 6, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dst.w = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.h = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dst.c = 31, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dst.n = 1, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->first = 8, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->first = 16, PIM_HW_E_INVALID); /* 16 + 32 */
	REFUSED(j.d, d, p->count = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->first = UINT32_MAX - 15, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.off = j.src.bytes, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->dst.block_bytes = 1 << 20, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->dst.block_bytes = 64, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dst.binding = 3, PIM_HW_E_INVALID);
	REFUSED(j.d, d, d.binding[1].access = PIM_HW_READ, PIM_HW_E_ACCESS);
	make_pool(&j, &s, PIM_HW_OP_POOL_BWD, PIM_HW_POOL_MAX);
	REFUSED(j.d, d, (void)0, PIM_HW_OK);
	REFUSED(j.d, d, memset(&p->value, 0, sizeof(p->value)), PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->value.h = 7, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->value.off = j.value.bytes, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->kind = PIM_HW_POOL_AVG, PIM_HW_E_INVALID);
	REFUSED(j.d, d, d.binding[0].access = PIM_HW_READ, PIM_HW_E_ACCESS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: pools");
	TCase *t = tcase_create("pool");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, forward_is_the_maximum_or_the_mean_of_each_window, 0, NSHAPES * KINDS);
	tcase_add_loop_test(t, backward_gives_each_window_to_its_first_maximum_or_to_all, 0, NSHAPES * KINDS);
	tcase_add_test(t, ties_go_to_the_first_and_nan_wins);
	tcase_add_test(t, means_count_the_padding_only_as_far_as_it_goes);
	tcase_add_loop_test(t, tiles_give_the_bits_of_the_whole, 0, NSHAPES);
	tcase_add_test(t, time_is_that_of_true_channels);
	tcase_add_test(t, pools_refuse_what_does_not_fit);
	suite_add_tcase(s, t);
	return run_suite(s);
}
