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
					sum += (double)fa[ta ? k * g->lda + i : i * g->lda + k] * fb[tb ? j * g->ldb + k : k * g->ldb + j];
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
static double mean_loss(const struct map *x, const uint32_t *label, const float *moved, double delta)
{
	double loss = 0;

	for (uint32_t i = 0; i < x->f.n; i++) {
		double sum = 0;

		for (uint32_t k = 0; k < x->f.c; k++)
			sum += exp((double)*at(x, k, i, 0, 0) + (at(x, k, i, 0, 0) == moved ? delta : 0));
		loss += log(sum) - ((double)*at(x, label[i], i, 0, 0) + (at(x, label[i], i, 0, 0) == moved ? delta : 0));
	}
	return loss / x->f.n;
}

START_TEST(loss_gradient_and_hits_equal_double_precision)
{
	uint64_t seed = rng_seed(), label, out;
	struct map x = make_map(9, 21, 1, 1, 1, 1), g = make_map(9, 21, 1, 1, 1, 1);
	struct pim_hw_desc d = { .op = PIM_HW_OP_SOFTMAX_CE };
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
		loss -= log(exp((double)*at(&x, l[i], i, 0, 0)) / sum);
		for (k = 0; k < 32; k++) {
			double want = k < 21 ? (exp((double)*at(&x, k, i, 0, 0)) / sum - (k == l[i])) / 9 : 0;

			check_value(*at(&g, k, i, 0, 0), want, 0, "a gradient", seed);
			if (k < 21) /* and by central differences of the loss */
				check_value(*at(&g, k, i, 0, 0),
					    (mean_loss(&x, l, at(&x, k, i, 0, 0), 1e-4) - mean_loss(&x, l, at(&x, k, i, 0, 0), -1e-4)) / 2e-4, 0,
					    "a gradient by differences", seed);
		}
	}
	check_value(res[0], loss / 9, 1, "the loss", seed);
	ck_assert_uint_eq(((uint32_t *)res)[1], hits);
	/* Without a gradient nothing is written there. */
	memset(rig->bar + g.base, 0, g.bytes);
	d.softmax.flags = PIM_HW_SOFTMAX_NO_GRAD;
	run_ok(&d, seed);
	ck_assert(*at(&g, 0, 0, 0, 0) == 0);
	l[3] = 21;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_E_INVALID);
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

int main(void)
{
	Suite *s = suite_create("card: HOST engine");
	TCase *t = tcase_create("host");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, gemm_is_the_matrix_product);
	tcase_add_test(t, loss_gradient_and_hits_equal_double_precision);
	tcase_add_test(t, copies_change_the_layout_and_fill_repeats_its_pattern);
	suite_add_tcase(s, t);
	return run_suite(s);
}
