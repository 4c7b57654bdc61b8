// SPDX-License-Identifier: MIT
/* The HOST engine: GEMM, loss, copies, dropout. Convolutions and pools have tests of their own. */
#include "host_rig.h"

START_TEST(gemm_is_the_matrix_product)
{
	uint64_t seed = rng_seed(), a = alloc(1 << 16), b = alloc(1 << 16), c = alloc(1 << 16);
	float *fa = (float *)(rig->bar + a), *fb = (float *)(rig->bar + b), *fc = (float *)(rig->bar + c), old[64 * 64];
	uint32_t i, j, k;
	int round;

	for (round = 0; round < 16; round++) {
		struct pim_hw_desc d = { .op = PIM_HW_OP_GEMM };
		struct pim_hw_gemm *g = &d.gemm;
		bool ta = round & 1, tb = round & 2;

		g->m = 1 + below(40);
		g->n = 1 + below(40);
		g->k = 1 + below(40);
		g->trans = round & 3;
		g->accumulate = round >> 2 & 1;
		g->lda = (ta ? g->m : g->k) + below(5);
		g->ldb = (tb ? g->k : g->n) + below(5);
		g->ldc = g->n + below(5);
		g->a_binding = rig_bind(&d, a, 1 << 16, PIM_HW_READ);
		g->b_binding = rig_bind(&d, b, 1 << 16, PIM_HW_READ);
		g->c_binding = rig_bind(&d, c, 1 << 16, PIM_HW_READ | PIM_HW_WRITE);
		for (i = 0; i < 64 * 64; i++) {
			fa[i] = uniform();
			fb[i] = uniform();
			fc[i] = uniform();
			old[i] = fc[i];
		}
		run_ok(&d, seed);
		for (i = 0; i < g->m; i++) {
			for (j = 0; j < g->ldc; j++) {
				double sum = g->accumulate || j >= g->n ? old[i * g->ldc + j] : 0;

				for (k = 0; j < g->n && k < g->k; k++)
					sum += (double)fa[ta ? k * g->lda + i : i * g->lda + k] *
					       fb[tb ? j * g->ldb + k : k * g->ldb + j];
				if (j < g->n || i + 1 < g->m)
					check_value(fc[i * g->ldc + j], sum, sqrt(g->k), "a product", seed);
			}
		}
		d.gemm.ldc = g->n - 1;
		ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_E_INVALID);
		d.gemm.ldc = g->n;
		d.gemm.c_off = 1 << 16;
		ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_E_BOUNDS);
	}
}
END_TEST

/* Mean loss in double precision with the score at "moved" moved by delta. */
static double mean_loss(const struct map *x, const uint32_t *label, double smooth, const float *moved, double delta)
{
	double loss = 0;

	for (uint32_t i = 0; i < x->f.n; i++) {
		double sum = 0;

#define SCORE(k) ((double)*at(x, k, i, 0, 0) + (at(x, k, i, 0, 0) == moved ? delta : 0))
		for (uint32_t k = 0; k < x->f.c; k++)
			sum += exp(SCORE(k));
		for (uint32_t k = 0; k < x->f.c; k++)
			loss += ((1 - smooth) * (k == label[i]) + smooth / x->f.c) * (log(sum) - SCORE(k));
#undef SCORE
	}
	return loss / x->f.n;
}

START_TEST(loss_gradient_and_hits_equal_double_precision)
{
	uint64_t seed = rng_seed(), label, out;
	struct map x = make_map(9, 21, 1, 1, 1, 1), g = make_map(9, 21, 1, 1, 1, 1);
	struct pim_hw_desc d = { .op = PIM_HW_OP_SOFTMAX_CE };
	const float smooth = (float[]){ 0, 0.1f, 0.75f }[_i];
	uint32_t *l, i, k, hits = 0;
	double loss = 0;
	float *res;

	fill_map(&x);
	label = alloc(4 * 9);
	out = alloc(8);
	l = (uint32_t *)(rig->bar + label);
	res = (float *)(rig->bar + out);
	for (i = 0; i < 9; i++)
		l[i] = below(21);
	*at(&x, l[2], 2, 0, 0) = 90; /* far apart: exp must not overflow */
	bind_map(&d, &x, PIM_HW_READ);
	bind_map(&d, &g, PIM_HW_WRITE);
	d.softmax.logits = x.f;
	d.softmax.grad = g.f;
	memcpy(&d.softmax.smooth, &smooth, 4);
	d.softmax.label_binding = rig_bind(&d, label, 36, PIM_HW_READ);
	d.softmax.out_binding = rig_bind(&d, out, 8, PIM_HW_WRITE);
	run_ok(&d, seed);
	for (i = 0; i < 9; i++) {
		double sum = 0;
		uint32_t best = 0;

		for (k = 0; k < 21; k++) {
			sum += exp((double)*at(&x, k, i, 0, 0));
			if (*at(&x, k, i, 0, 0) > *at(&x, best, i, 0, 0))
				best = k;
		}
		hits += best == l[i];
		for (k = 0; k < 21; k++)
			loss -= ((1 - (double)smooth) * (k == l[i]) + (double)smooth / 21) *
				((double)*at(&x, k, i, 0, 0) - log(sum));
		for (k = 0; k < 32; k++) {
			double want =
				k < 21 ? (exp((double)*at(&x, k, i, 0, 0)) / sum - (1 - smooth) * (k == l[i]) - smooth / 21) / 9
				       : 0;

			check_value(*at(&g, k, i, 0, 0), want, 0, "a gradient", seed);
			if (k < 21) /* and by central differences of the loss */
				check_value(*at(&g, k, i, 0, 0),
					    (mean_loss(&x, l, smooth, at(&x, k, i, 0, 0), 1e-4) -
					     mean_loss(&x, l, smooth, at(&x, k, i, 0, 0), -1e-4)) /
						    2e-4,
					    0, "a gradient by differences", seed);
		}
	}
	check_value(res[0], loss / 9, 1, "the loss", seed);
	ck_assert_uint_eq(((uint32_t *)res)[1], hits);
	/* Without a gradient nothing is written there. */
	memset(rig->bar + g.base, 0, g.bytes);
	d.softmax.flags = PIM_HW_SOFTMAX_NO_GRAD;
	run_ok(&d, seed);
	ck_assert(*at(&g, 0, 0, 0, 0) == 0);
	for (k = 0; k < 4; k++) {
		struct pim_hw_desc bad = d;

		memcpy(&bad.softmax.smooth, &(float[]){ 1, -0.125f, NAN, INFINITY }[k], 4);
		ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &bad).status, PIM_HW_E_INVALID);
	}
	l[3] = 21;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_E_INVALID);
}
END_TEST

/* By hand: logits 0, 0, ln 2 and smooth 0.3 give probabilities 1/4, 1/4, 1/2 and the target 0.8, 0.1, 0.1. */
START_TEST(smoothing_spreads_the_target)
{
	struct map x = make_map(1, 3, 1, 1, 1, 1), g = make_map(1, 3, 1, 1, 1, 1);
	struct pim_hw_desc d = { .op = PIM_HW_OP_SOFTMAX_CE };
	const uint64_t label = alloc(4), out = alloc(8);
	const float smooth = 0.3f;
	uint64_t seed = rng_seed();

	fill_map(&x);
	*at(&x, 0, 0, 0, 0) = *at(&x, 1, 0, 0, 0) = 0;
	*at(&x, 2, 0, 0, 0) = logf(2);
	memset(rig->bar + label, 0, 4);
	bind_map(&d, &x, PIM_HW_READ);
	bind_map(&d, &g, PIM_HW_WRITE);
	d.softmax.logits = x.f;
	d.softmax.grad = g.f;
	d.softmax.label_binding = rig_bind(&d, label, 4, PIM_HW_READ);
	d.softmax.out_binding = rig_bind(&d, out, 8, PIM_HW_WRITE);
	memcpy(&d.softmax.smooth, &smooth, 4);
	run_ok(&d, seed);
	check_value(*(float *)(rig->bar + out), 0.9 * log(4) + 0.1 * log(2), 0, "the loss", seed);
	check_value(*at(&g, 0, 0, 0, 0), 0.25 - 0.8, 0, "a gradient", seed);
	check_value(*at(&g, 1, 0, 0, 0), 0.25 - 0.1, 0, "a gradient", seed);
	check_value(*at(&g, 2, 0, 0, 0), 0.5 - 0.1, 0, "a gradient", seed);
	ck_assert_uint_eq(((uint32_t *)(rig->bar + out))[1], 0);
}
END_TEST

START_TEST(copies_change_the_layout_and_fill_repeats_its_pattern)
{
	struct map a = make_map(3, 20, 6, 6, 1, 1), b = make_map(3, 20, 6, 6, 3, 2);
	struct pim_hw_desc d = { .op = PIM_HW_OP_COPY }, f = { .op = PIM_HW_OP_FILL };
	uint64_t seed = rng_seed();
	uint32_t *m, i;

	fill_map(&a);
	bind_map(&d, &a, PIM_HW_READ);
	bind_map(&d, &b, PIM_HW_WRITE);
	d.copy.src = a.f;
	d.copy.dst = b.f;
	run_ok(&d, seed);
	for (uint32_t c = 0; c < 32; c++)
		EACH_PIXEL(&a, n, y, x)
			ck_assert(*at(&a, c, n, y, x) == *at(&b, c, n, y, x));
	d.copy.dst.h = 3;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_E_INVALID);

	f.copy.dst.binding = rig_bind(&f, b.base, b.bytes, PIM_HW_WRITE);
	f.copy.dst.off = 8;
	f.copy.bytes = 64;
	f.copy.pattern = 0x12345678;
	m = (uint32_t *)(rig->bar + b.base);
	m[1] = m[18] = 5;
	run_ok(&f, seed);
	for (i = 2; i < 18; i++)
		ck_assert_uint_eq(m[i], 0x12345678);
	ck_assert_uint_eq(m[1], 5);
	ck_assert_uint_eq(m[18], 5);
	f.copy.bytes = 1ull << 40;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &f).status, PIM_HW_E_BOUNDS);
	/* Plain bytes, between PIM memory and the host window. */
	memset(&d, 0, sizeof(d));
	d.op = PIM_HW_OP_COPY;
	d.copy.src.binding = rig_bind(&d, a.base, a.bytes, PIM_HW_READ);
	d.copy.dst.binding = rig_bind(&d, rig->hw->window_off, 4096, PIM_HW_WRITE);
	d.copy.src.off = 4;
	d.copy.dst.off = 12;
	d.copy.bytes = 1001;
	run_ok(&d, seed);
	ck_assert(!memcmp(rig->bar + rig->hw->window_off + 12, rig->bar + a.base + 4, 1001));
}
END_TEST

/* Philox4x32-10, from the definition in the paper: ten rounds of two multiplications, the key grows by Weyl constants. */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t x[4] = { counter[0], counter[1], counter[2], counter[3] };

	for (uint32_t r = 0; r < 10; r++) {
		const uint32_t k0 = key[0] + r * 0x9E3779B9, k1 = key[1] + r * 0xBB67AE85;
		const uint64_t a = 0xD2511F53ull * x[0], b = 0xCD9E8D57ull * x[2];

		x[0] = (uint32_t)(b >> 32) ^ x[1] ^ k0;
		x[1] = (uint32_t)b;
		x[2] = (uint32_t)(a >> 32) ^ x[3] ^ k1;
		x[3] = (uint32_t)a;
	}
	memcpy(out, x, sizeof(x));
}

/* Known answers that the authors publish with Random123. */
START_TEST(philox_gives_the_published_words)
{
	static const uint32_t vector[3][10] = {
		{ 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
		{ ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
		{ 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
		  0x24126ea1 },
	};
	uint32_t out[4];

	for (int i = 0; i < 3; i++) {
		philox(vector[i], vector[i] + 4, out);
		ck_assert(!memcmp(out, vector[i] + 6, sizeof(out)));
	}
}
END_TEST

static void bind_dropout(struct pim_hw_desc *d, struct map *src, struct map *dst, float keep)
{
	d->op = PIM_HW_OP_DROPOUT;
	bind_map(d, src, PIM_HW_READ);
	d->dropout.src = src->f;
	bind_map(d, dst, PIM_HW_WRITE); /* may be src itself */
	d->dropout.dst = dst->f;
	d->dropout.count = (src->f.c + 15) / 16 * 16;
	memcpy(&d->dropout.keep, &keep, 4);
}

START_TEST(dropout_keeps_what_philox_says)
{
	static const float probability[] = { 0.5f, 0.9f, 1, 1e-3f };
	const float keep = probability[_i];
	struct map a = make_map(3, 37, 6, 4, 1, 1), b = make_map(3, 37, 6, 4, 2, 2);
	struct pim_hw_desc d = { .op = 0 };
	uint64_t seed = rng_seed(), bytes, kept = 0, index = 0;
	uint8_t *before, *whole;
	uint32_t block, n;

	fill_map(&a);
	*at(&a, 3, 1, 1, 1) = INFINITY; /* dropped is zero all the same */
	bind_dropout(&d, &a, &b, keep);
	d.dropout.seed = rng();
	d.dropout.step = rng();
	before = snapshot(&bytes);
	run_ok(&d, seed);
	for (uint32_t i = 0; i < 3; i++) {
		for (uint32_t c = 0; c < 48; c++) {
			for (uint32_t p = 0; p < 24; p++) {
				const uint64_t key = d.dropout.seed, step = d.dropout.step;
				const float in = *at(&a, c, i, p / 4, p % 4), got = *at(&b, c, i, p / 4, p % 4);
				uint32_t word[4];

				if (c >= 37) {
					ck_assert(got == 0);
					continue;
				}
				philox((uint32_t[]){ index, index >> 32, step, step >> 32 }, (uint32_t[]){ key, key >> 32 }, word);
				index++;
				kept += word[0] < keep * 0x1p32;
				ck_assert_msg(got == (word[0] < keep * 0x1p32 ? in / keep : 0),
					      "RIG_SEED=%llu: image %u channel %u pixel %u", (unsigned long long)seed, i, c, p);
			}
		}
	}
	/* Six standard deviations. */
	ck_assert_msg(fabs(kept - (double)keep * index) <= 6 * sqrt(index * (double)keep * (1 - (double)keep)),
		      "RIG_SEED=%llu: %llu kept", (unsigned long long)seed, (unsigned long long)kept);
	/* In tiles, the last first. */
	whole = snapshot(&bytes);
	memcpy(rig->bar + rig->hw->mem_off, before, bytes);
	for (block = 3; block > 0; block -= n) {
		n = 1 + below(block);
		d.dropout.first = (block - n) * 16;
		d.dropout.count = n * 16;
		run_ok(&d, seed);
	}
	ck_assert_msg(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes), "RIG_SEED=%llu: tiles", (unsigned long long)seed);
	free(before);
	free(whole);
}
END_TEST

/* The card's own known answer, to 24 bits: with seed and step zero the first word is 0x6627e8d5. */
START_TEST(dropout_in_place_and_at_its_threshold)
{
	struct map a = make_map(1, 1, 1, 1, 1, 1);
	uint64_t seed = rng_seed();

	for (int k = 0; k < 2; k++) {
		const float keep = (k ? 0x6627e9 : 0x6627e8) * 0x1p-24f;
		struct pim_hw_desc d = { .op = 0 };

		fill_map(&a);
		*at(&a, 0, 0, 0, 0) = 3;
		bind_dropout(&d, &a, &a, keep);
		run_ok(&d, seed);
		ck_assert(*at(&a, 0, 0, 0, 0) == (k ? 3 / keep : 0));
	}
}
END_TEST

START_TEST(dropout_refuses_what_does_not_fit)
{
	struct map a = make_map(2, 20, 4, 4, 1, 1), b = make_map(2, 20, 4, 4, 2, 2);
	struct pim_hw_desc good = { .op = 0 }, d;
	struct pim_hw_dropout *p = &d.dropout;

	rng_seed();
	fill_map(&a);
	bind_dropout(&good, &a, &b, 0.5f);
	REFUSED(good, d, (void)0, PIM_HW_OK);
	REFUSED(good, d, p->pad = 1, PIM_HW_E_INVALID);
	REFUSED(good, d, p->keep = 0, PIM_HW_E_INVALID);
	REFUSED(good, d, p->keep = 0x80000000, PIM_HW_E_INVALID);
	REFUSED(good, d, p->keep = 0x3f800001, PIM_HW_E_INVALID); /* above 1 */
	REFUSED(good, d, p->keep = 0xbf000000, PIM_HW_E_INVALID);
	REFUSED(good, d, p->keep = 0x7fc00000, PIM_HW_E_INVALID); /* NaN */
	REFUSED(good, d, p->src.n = 1, PIM_HW_E_INVALID);
	REFUSED(good, d, p->dst.c = 19, PIM_HW_E_INVALID);
	REFUSED(good, d, p->dst.h = 2, PIM_HW_E_INVALID);
	REFUSED(good, d, p->first = 4, PIM_HW_E_INVALID);
	REFUSED(good, d, p->count = 48, PIM_HW_E_INVALID);
	REFUSED(good, d, p->count = 0, PIM_HW_E_INVALID);
	REFUSED(good, d, p->src.off = a.bytes, PIM_HW_E_BOUNDS);
	REFUSED(good, d, p->dst.binding = 2, PIM_HW_E_INVALID);
	REFUSED(good, d, d.binding[1].access = PIM_HW_READ, PIM_HW_E_ACCESS);
	check_time(good, 2 * 2 * 20 * 16, 2 * 4 * 2 * 20 * 16);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: HOST engine");
	TCase *t = tcase_create("host");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, gemm_is_the_matrix_product);
	tcase_add_loop_test(t, loss_gradient_and_hits_equal_double_precision, 0, 3);
	tcase_add_test(t, smoothing_spreads_the_target);
	tcase_add_test(t, copies_change_the_layout_and_fill_repeats_its_pattern);
	tcase_add_test(t, philox_gives_the_published_words);
	tcase_add_loop_test(t, dropout_keeps_what_philox_says, 0, 4);
	tcase_add_test(t, dropout_in_place_and_at_its_threshold);
	tcase_add_test(t, dropout_refuses_what_does_not_fit);
	suite_add_tcase(s, t);
	return run_suite(s);
}
