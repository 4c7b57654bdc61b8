// SPDX-License-Identifier: MIT
/* The HOST engine's convolutions against naive sums in double precision, whatever the shape, the groups, the tile and the layout. */
#include "conv_case.h"

static const struct shape shapes[] = {
	{ 3, 1, 16, 8, 8, 3, 3, 1, 1, 1, 1, 0, 0, 0 }, /* the stem of a digits net */
	{ 2, 16, 32, 8, 8, 3, 3, 1, 1, 1, 2, 0, 0, 0 }, /* into a layout for pooling */
	{ 2, 40, 24, 6, 10, 3, 3, 2, 1, 2, 1, 0, 0, 0 }, /* odd channels, stride, from a pooled layout */
	{ 1, 33, 17, 5, 7, 1, 1, 1, 0, 1, 1, 0, 0, 0 },
	{ 2, 32, 48, 8, 8, 1, 1, 2, 0, 2, 2, 0, 0, 0 }, /* a projection: its last row and column are never read */
	{ 1, 3, 20, 13, 11, 7, 5, 2, 2, 1, 1, 0, 0, 0 },
	{ 5, 16, 10, 4, 4, 4, 4, 1, 0, 1, 1, 0, 0, 0 }, /* the whole map in one output */
	{ 1, 64, 64, 9, 9, 3, 3, 3, 1, 3, 1, 0, 0, 0 },
	/* dilation */
	{ 2, 5, 20, 9, 11, 3, 3, 1, 2, 1, 1, 2, 2, 0 },
	{ 1, 24, 17, 12, 10, 3, 2, 2, 2, 2, 1, 3, 2, 0 },
	{ 2, 16, 16, 9, 9, 3, 3, 1, 6, 3, 1, 3, 3, 0 }, /* padded to more than its size */
	{ 1, 18, 5, 1, 1, 3, 3, 1, 3, 1, 1, 3, 3, 0 }, /* one pixel; all taps but one in the padding */
	/* groups */
	{ 2, 24, 24, 6, 5, 3, 3, 1, 1, 1, 1, 0, 0, 2 }, /* both sides change groups inside a block */
	{ 1, 24, 40, 5, 5, 3, 3, 2, 1, 1, 1, 0, 0, 2 },
	{ 2, 48, 36, 4, 4, 1, 1, 1, 0, 2, 2, 0, 0, 3 },
	{ 1, 66, 99, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 3 }, /* groups of more than one block */
	{ 2, 64, 64, 5, 5, 3, 3, 1, 1, 1, 1, 0, 0, 4 }, /* groups are blocks */
	{ 1, 16, 16, 6, 6, 3, 3, 1, 1, 1, 2, 0, 0, 4 }, /* several groups in a block */
	{ 2, 25, 35, 5, 4, 2, 3, 1, 1, 1, 1, 0, 0, 5 },
	{ 2, 30, 18, 8, 6, 2, 2, 3, 0, 1, 1, 0, 0, 2 }, /* the stride is longer than the kernel */
	{ 1, 12, 12, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 4 },
	{ 2, 24, 24, 9, 9, 3, 3, 1, 3, 3, 1, 3, 2, 2 }, /* and dilation */
	/* depthwise, with and without a multiplier, and its opposite */
	{ 2, 20, 20, 7, 7, 3, 3, 1, 1, 1, 1, 0, 0, 20 },
	{ 3, 32, 32, 8, 8, 3, 3, 2, 1, 2, 2, 0, 0, 32 },
	{ 1, 33, 33, 9, 9, 3, 3, 1, 2, 1, 1, 2, 2, 33 },
	{ 1, 7, 7, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 7 },
	{ 2, 20, 40, 5, 6, 3, 3, 1, 1, 1, 1, 0, 0, 20 },
	{ 1, 11, 33, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0, 11 },
	{ 1, 3, 60, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0, 3 },
	{ 2, 40, 10, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0, 10 },
};
#define NSHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

START_TEST(forward_is_the_sum_over_taps_and_input_channels)
{
	uint64_t seed = rng_seed();
	struct job j;

	make_conv(&j, &shapes[_i]);
	bind_conv(&j, PIM_HW_OP_CONV_FWD, _i % 2 ? PIM_HW_CONV_BIAS : 0, 0, j.ocb * 16);
	run_ok(&j.d, seed);
	check_forward(&j, seed);
}
END_TEST

START_TEST(backward_data_is_the_transposed_sum_and_accumulates)
{
	uint64_t seed = rng_seed(), k = 0;
	float *old;
	struct job j;

	make_conv(&j, &shapes[_i]);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_DATA, 0, 0, j.icb * 16);
	run_ok(&j.d, seed);
	check_data(&j, NULL, seed);
	fill_map(&j.src);
	old = malloc((uint64_t)j.icb * 64 * j.src.f.n * j.src.f.h * j.src.f.w);
	for (uint32_t c = 0; c < j.icb * 16; c++)
		EACH_PIXEL(&j.src, i, y, x)
			old[k++] = *at(&j.src, c, i, y, x);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_DATA, PIM_HW_CONV_ACCUM, 0, j.icb * 16);
	run_ok(&j.d, seed);
	check_data(&j, old, seed);
	free(old);
}
END_TEST

START_TEST(backward_weights_is_the_sum_over_images_and_pixels)
{
	uint64_t seed = rng_seed();
	struct job j;

	make_conv(&j, &shapes[_i]);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, _i % 2 ? 0 : PIM_HW_CONV_BIAS, 0, j.ocb * 16);
	run_ok(&j.d, seed);
	check_weights(&j, seed);
}
END_TEST

/* got is the card's derivative of the objective by the number at "moved". The objective is linear in each number: no step is too long. */
static void check_slope(const struct job *j, const float *moved, float got, const char *what, uint64_t seed)
{
	double want = (objective(j, moved, 0.5) - objective(j, moved, -0.5));

	check_value(got, want, 4 * sqrt(j->dst.f.n * j->dst.f.h * j->dst.f.w + j->dst.f.c), what, seed);
}

START_TEST(gradients_of_convolution_are_finite_differences_of_its_forward)
{
	const struct shape *s = &shapes[_i];
	uint64_t seed = rng_seed();
	struct job j;

	make_conv(&j, s);
	/* The gradient lies where its number was; the objective's slope does not depend on that. */
	bind_conv(&j, PIM_HW_OP_CONV_BWD_DATA, 0, 0, j.icb * 16);
	run_ok(&j.d, seed);
	for (int k = 0; k < 6; k++) {
		const float *x = at(&j.src, below(s->ic), below(s->n), below(s->h), below(s->w));

		check_slope(&j, x, *x, "a gradient of the input", seed);
	}
	fill_map(&j.src);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, j.ocb * 16);
	run_ok(&j.d, seed);
	for (int k = 0; k < 6; k++) {
		const float *w = wei_at(&j, below(s->oc), below(j.icg), below(s->kh), below(s->kw)), *b = bias_at(&j, below(s->oc));

		check_slope(&j, w, *w, "a gradient of a weight", seed);
		check_slope(&j, b, *b, "a gradient of a bias", seed);
	}
}
END_TEST

/* All memory is compared: what lies between pixels, planes and blocks is not written either. */
START_TEST(tiles_give_the_bits_of_the_whole)
{
	static const uint32_t ops[] = { PIM_HW_OP_CONV_FWD, PIM_HW_OP_CONV_BWD_DATA, PIM_HW_OP_CONV_BWD_WEIGHTS };
	uint64_t seed = rng_seed(), bytes;
	uint8_t *before, *whole;
	uint32_t blocks, b, n;
	struct job j;
	int k;

	for (k = 0; k < 3; k++) {
		uint32_t flags = ops[k] == PIM_HW_OP_CONV_BWD_DATA ? PIM_HW_CONV_ACCUM : PIM_HW_CONV_BIAS;

		brk_off = rig->hw->mem_off;
		make_conv(&j, &shapes[_i]);
		blocks = ops[k] == PIM_HW_OP_CONV_BWD_DATA ? j.icb : j.ocb;
		before = snapshot(&bytes);
		bind_conv(&j, ops[k], flags, 0, blocks * 16);
		run_ok(&j.d, seed);
		whole = snapshot(&bytes);
		memcpy(rig->bar + rig->hw->mem_off, before, bytes);
		for (b = blocks; b > 0; b -= n) {
			n = 1 + below(b);
			bind_conv(&j, ops[k], flags, (b - n) * 16, n * 16);
			run_ok(&j.d, seed);
		}
		ck_assert_msg(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes),
			      "RIG_SEED=%llu: op %u differs between tiles and the whole", (unsigned long long)seed, ops[k]);
		free(before);
		free(whole);
	}
}
END_TEST

/* A size at which a kernel of this reach fits. */
static uint32_t at_least(uint32_t reach, uint32_t padding)
{
	return (reach > padding ? reach - padding : 0) + 1 + below(7);
}

/* Small shapes of every kind; half of them in layouts for pooling. */
static struct shape random_shape(void)
{
	static const uint32_t groups[] = { 1, 1, 2, 3, 5, 16, 17, 40 };
	struct shape s = { .n = 1 + below(3), .kh = 1 + below(4), .kw = 1 + below(4), .s = 1 + below(3), .swh = 1, .dwh = 1 };
	uint32_t extent;

	s.groups = groups[below(8)];
	s.ic = s.groups * (1 + below(s.groups > 5 ? 3 : 25));
	s.oc = s.groups * (1 + below(s.groups > 5 ? 3 : 25));
	s.dh = 1 + below(4);
	s.dw = 1 + below(4);
	extent = (s.kh - 1) * s.dh < (s.kw - 1) * s.dw ? (s.kh - 1) * s.dh : (s.kw - 1) * s.dw;
	s.p = below(extent + 1);
	s.h = at_least((s.kh - 1) * s.dh, 2 * s.p);
	s.w = at_least((s.kw - 1) * s.dw, 2 * s.p);
	if (below(2) && s.h % 2 == 0 && s.w % 2 == 0)
		s.swh = 2;
	if (below(2) && out_size(s.h, s.kh, s.s, s.p, s.dh) % 2 == 0 && out_size(s.w, s.kw, s.s, s.p, s.dw) % 2 == 0)
		s.dwh = 2;
	return s;
}

START_TEST(any_shape_is_the_sum)
{
	uint64_t seed = rng_seed();
	struct job j;
	int k;

	for (k = 0; k < 60; k++) {
		const struct shape s = random_shape();

		brk_off = rig->hw->mem_off;
		make_conv(&j, &s);
		bind_conv(&j, PIM_HW_OP_CONV_FWD, PIM_HW_CONV_BIAS, 0, j.ocb * 16);
		run_ok(&j.d, seed);
		check_forward(&j, seed);
		fill_map(&j.dst);
		bind_conv(&j, PIM_HW_OP_CONV_BWD_DATA, 0, 0, j.icb * 16);
		run_ok(&j.d, seed);
		check_data(&j, NULL, seed);
		fill_map(&j.src);
		bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, j.ocb * 16);
		run_ok(&j.d, seed);
		check_weights(&j, seed);
	}
}
END_TEST

/* More images than are computed together: 64 channels of 64 x 64 pixels, four images fill a chunk. */
START_TEST(many_images_are_cut_the_same_way_for_every_tile)
{
	static const uint32_t groups[] = { 1, 4, 64 };
	const struct shape s = { 7, 64, 64, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, groups[_i] };
	uint64_t seed = rng_seed(), bytes;
	uint8_t *whole;
	struct job j;

	make_conv(&j, &s);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, 64);
	run_ok(&j.d, seed);
	whole = snapshot(&bytes);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 16, 48);
	run_ok(&j.d, seed);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, 16);
	run_ok(&j.d, seed);
	ck_assert(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes));
	free(whole);
	for (uint32_t o = 0; o < 64; o += 7) {
		double sum = 0, tap = 0;

		EACH_PIXEL(&j.dst, i, y, x) {
			sum += *at(&j.dst, o, i, y, x);
			tap += (double)*at(&j.dst, o, i, y, x) * *at(&j.src, in_channel(&j, o, 0), i, y, x);
		}
		check_value(*bias_at(&j, o), sum, 7 * 64 * 64 / 16, "a gradient of a bias", seed); /* a long sum in FP32 */
		check_value(*wei_at(&j, o, 0, 1, 1), tap, 7 * 64 * 64 / 16, "a gradient of a weight", seed);
	}
}
END_TEST

START_TEST(an_infinity_stays_in_its_group)
{
	static const struct shape s[] = {
		{ 1, 24, 24, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 2 },
		{ 1, 20, 20, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 5 },
		{ 1, 20, 20, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 20 },
	};
	uint64_t seed = rng_seed();
	struct job j;

	make_conv(&j, &s[_i]);
	*at(&j.src, 0, 0, 1, 1) = INFINITY;
	bind_conv(&j, PIM_HW_OP_CONV_FWD, 0, 0, 32);
	run_ok(&j.d, seed);
	for (uint32_t o = 0; o < 32; o++)
		EACH_PIXEL(&j.dst, i, y, x)
			ck_assert_msg((o < j.ocg && y < 3 && x < 3) || isfinite(*at(&j.dst, o, i, y, x)), "channel %u at %u, %u", o,
				      y, x);
}
END_TEST

/* Groups of 20 input and 24 output channels: the second block of both is in both. */
START_TEST(time_is_that_of_the_groups_of_the_tile)
{
	const struct shape s = { 2, 40, 48, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 2 };
	const uint64_t pixels = 2 * 8 * 8, wei = 20 * 9;
	struct job j;

	make_conv(&j, &s);
	bind_conv(&j, PIM_HW_OP_CONV_FWD, PIM_HW_CONV_BIAS, 0, 48);
	check_time(j.d, 2 * pixels * 48 * wei, 4 * (pixels * (40 + 48) + 48 * wei + 48));
	bind_conv(&j, PIM_HW_OP_CONV_FWD, 0, 0, 16);
	check_time(j.d, 2 * pixels * 16 * wei, 4 * (pixels * (20 + 16) + 16 * wei));
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, 0, 16, 16);
	check_time(j.d, 2 * pixels * 16 * wei, 4 * (pixels * (40 + 16) + 16 * wei));
	bind_conv(&j, PIM_HW_OP_CONV_BWD_DATA, PIM_HW_CONV_ACCUM, 32, 16);
	check_time(j.d, 2 * pixels * 8 * 24 * 9, 4 * (pixels * (2 * 8 + 24) + 8 * 24 * 9));
}
END_TEST

START_TEST(convolutions_refuse_what_does_not_fit)
{
	const struct shape shape = { 2, 16, 32, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1 };
	struct pim_hw_desc d;
	struct pim_hw_conv *p = &d.conv;
	struct job j;

	rng_seed();
	make_conv(&j, &shape);
	bind_conv(&j, PIM_HW_OP_CONV_FWD, 0, 0, 32);
	REFUSED(j.d, d, (void)0, PIM_HW_OK);
	REFUSED(j.d, d, p->first = 8, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->count = 48, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->count = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->first = UINT32_MAX - 15, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->kh = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->sh = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->ph = 3, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dst.h = 7, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.n = 1, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.wh = 3, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.wh = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.c = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.off = 4, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.off = 1ull << 40, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->src.c = 1u << 20, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, (p->dst.block_bytes = 1ull << 63, p->dst.c = 33), PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->dst.block_bytes = 64, PIM_HW_E_INVALID); /* blocks in each other */
	REFUSED(j.d, d, p->wei_off = 1024, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->wei_off = ~0ull << 10, PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, p->wei_binding = 4, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->src.binding = 12, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->flags = PIM_HW_CONV_ACCUM, PIM_HW_E_INVALID);
	REFUSED(j.d, d, d.binding[1].access = PIM_HW_READ, PIM_HW_E_ACCESS);
	REFUSED(j.d, d, d.binding[2].access = PIM_HW_WRITE, PIM_HW_E_ACCESS);
	REFUSED(j.d, d, p->flags = 4, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dh = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dw = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->dh = 2, PIM_HW_E_INVALID); /* another size of dst */
	REFUSED(j.d, d, (p->dh = 2, p->ph = 2), PIM_HW_OK);
	REFUSED(j.d, d, (p->dh = 65, p->ph = 65), PIM_HW_E_INVALID);
	REFUSED(j.d, d, (p->dw = UINT32_MAX / 2 + 2, p->pw = 1), PIM_HW_E_INVALID); /* 2 * dw wraps to 2 */
	REFUSED(j.d, d, p->groups = 0, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->groups = 3, PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->groups = 32, PIM_HW_E_INVALID); /* more than input channels */
	REFUSED(j.d, d, (p->groups = 3, p->dst.c = 24), PIM_HW_E_INVALID);
	REFUSED(j.d, d, p->groups = 2, PIM_HW_OK);
	REFUSED(j.d, d, p->groups = 16, PIM_HW_OK);
	REFUSED(j.d, d, (p->groups = 16, p->wei_off = d.binding[2].bytes - 2 * 9 * 64),
		PIM_HW_OK); /* depthwise weights are small */
	REFUSED(j.d, d, (p->groups = 16, p->wei_off = d.binding[2].bytes - 2 * 9 * 64 + 64), PIM_HW_E_BOUNDS);
	REFUSED(j.d, d, (p->groups = 2, p->wei_off = 64), PIM_HW_E_BOUNDS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: convolutions");
	TCase *t = tcase_create("conv");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, forward_is_the_sum_over_taps_and_input_channels, 0, NSHAPES);
	tcase_add_loop_test(t, backward_data_is_the_transposed_sum_and_accumulates, 0, NSHAPES);
	tcase_add_loop_test(t, backward_weights_is_the_sum_over_images_and_pixels, 0, NSHAPES);
	tcase_add_loop_test(t, gradients_of_convolution_are_finite_differences_of_its_forward, 0, NSHAPES);
	tcase_add_loop_test(t, tiles_give_the_bits_of_the_whole, 0, NSHAPES);
	tcase_add_test(t, any_shape_is_the_sum);
	tcase_add_loop_test(t, many_images_are_cut_the_same_way_for_every_tile, 0, 3);
	tcase_add_loop_test(t, an_infinity_stays_in_its_group, 0, 3);
	tcase_add_test(t, time_is_that_of_the_groups_of_the_tile);
	tcase_add_test(t, convolutions_refuse_what_does_not_fit);
	suite_add_tcase(s, t);
	return run_suite(s);
}
