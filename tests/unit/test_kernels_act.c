// SPDX-License-Identifier: MIT
/* Activations and the broadcast product on the card model, against forward functions in double precision and their differences. */
#include "kernel_case.h"
#include "run_suite.h"

/* -- activations ------------------------------------------------------------------------------------------------------ */

static double relu6(double x, double cap)
{
	return fmin(fmax(x, 0), cap);
}

static double leaky(double x, double slope)
{
	return x > 0 ? x : slope * x;
}

static double sigmoid(double x, double unused)
{
	(void)unused;
	return 1 / (1 + exp(-x));
}

static double silu(double x, double unused)
{
	return x * sigmoid(x, unused);
}

/* error: of the result, in FP32 roundings of it; slack: of the gradient, for each (1 + |x|) |dy|. */
static const struct activation {
	const char *fwd, *bwd;
	double (*of)(double x, double p);
	float p;
	bool from_x; /* the gradient's second operand; else y */
	int kinks;
	double kink[2];
	double error, slack;
} activations[] = {
	{ "relu6_fwd", "relu6_bwd", relu6, 6, false, 2, { 0, 6 }, 0, 1e-8 },
	{ "relu6_fwd", "relu6_bwd", relu6, 1.25f, false, 2, { 0, 1.25 }, 0, 1e-8 },
	{ "leaky_fwd", "leaky_bwd", leaky, 0.01f, false, 1, { 0 }, 0.5, 1e-7 },
	{ "leaky_fwd", "leaky_bwd", leaky, 0, false, 1, { 0 }, 0, 1e-8 },
	{ "leaky_fwd", "leaky_bwd", leaky, 1.5f, false, 1, { 0 }, 0.5, 1e-7 },
	{ "sigmoid_fwd", "sigmoid_bwd", sigmoid, 0, false, 0, { 0 }, 3, 5e-7 },
	{ "silu_fwd", "silu_bwd", silu, 0, true, 0, { 0 }, 4, 5e-7 },
};
#define NACTIVATIONS (int)(sizeof(activations) / sizeof(activations[0]))

static struct launch launch_of(const char *kernel, const struct map *any, float p, uint32_t nmaps)
{
	return (struct launch){ .kernel = kernel,
				.blocks = any->blocks,
				.planes = any->planes,
				.pixels = any->pixels,
				.nmaps = nmaps,
				.param = { p } };
}

static void run_forward(const struct activation *a, const struct map *x, const struct map *y)
{
	struct launch l = launch_of(a->fwd, x, a->p, 2);

	l.map[0] = x;
	l.map[1] = y;
	rig_ok(rig, &l);
}

static void run_backward(const struct activation *a, const struct map *dy, const struct map *other, const struct map *dx)
{
	struct launch l = launch_of(a->bwd, dy, a->p, 3);

	l.map[0] = dy;
	l.map[1] = other;
	l.map[2] = dx;
	rig_ok(rig, &l);
}

static bool at_kink(const struct activation *a, double x)
{
	for (int i = 0; i < a->kinks; i++)
		if (fabs(x - a->kink[i]) < 1e-5)
			return true;
	return false;
}

static double slope_at(const struct activation *a, double x)
{
	const double h = 1e-5;

	return (a->of(x + h, (double)a->p) - a->of(x - h, (double)a->p)) / (2 * h);
}

static void activation_case(const struct activation *a, const struct shape *s, bool in_place)
{
	struct map x = random_map(s->c, s->planes, s->pixels, s->gap, 4, 0),
		   dy = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
	double *vx = map_read(rig, &x), *vdy = map_read(rig, &dy), *vy, *vdx;
	struct map keep = empty_map(s), y = in_place && !a->from_x ? x : empty_map(s), dx = in_place ? dy : empty_map(s);
	uint64_t n = (uint64_t)x.blocks * 16 * s->planes * s->pixels;

	run_forward(a, &x, &keep);
	run_forward(a, &x, &y);
	vy = map_read(rig, &y);
	run_backward(a, &dy, a->from_x ? &x : &y, &dx);
	vdx = map_read(rig, &dx);
	for (uint64_t i = 0; i < n; i++) {
		double want = a->of(vx[i], (double)a->p);

		near(vy[i], want, a->error * ldexp(fabs(want), -23) + 1e-37, a->fwd, (uint32_t)(i / s->pixels),
		     (uint32_t)(i % s->pixels));
		if (!at_kink(a, vx[i]))
			near(vdx[i], vdy[i] * slope_at(a, vx[i]), a->slack * (1 + fabs(vx[i])) * fabs(vdy[i]) + 1e-37, a->bwd,
			     (uint32_t)(i / s->pixels), (uint32_t)(i % s->pixels));
	}
	/* At another place the same bits: in place nothing was read after it was written. */
	free(vdx);
	vdx = map_read(rig, &keep);
	ck_assert_msg(!memcmp(vdx, vy, n * sizeof(double)), "%s in place", a->fwd);
	free(vx);
	free(vy);
	free(vdy);
	free(vdx);
}

START_TEST(activations_equal_the_oracle_and_its_differences)
{
	start(_i / NSHAPES, 1100 + _i % NSHAPES);
	for (int a = 0; a < NACTIVATIONS; a++)
		for (int in_place = 0; in_place < 2; in_place++) {
			activation_case(&activations[a], &shapes[_i % NSHAPES], in_place);
			rig->brk = rig->base;
		}
	stop();
}
END_TEST

/* The gradient may take the place of the other operand, too: each step has read both before it writes. */
START_TEST(a_gradient_in_the_place_of_the_activation_is_the_same)
{
	const struct shape s = { 16, 2, 150, 1 };

	start(_i, 1200);
	for (int a = 0; a < NACTIVATIONS; a++) {
		struct map dy = random_map(s.c, s.planes, s.pixels, 1, 1, 0), x = random_map(s.c, s.planes, s.pixels, 1, 4, 0);
		struct map dx = empty_map(&s);
		double *apart, *there;

		run_backward(&activations[a], &dy, &x, &dx);
		run_backward(&activations[a], &dy, &x, &x);
		apart = map_read(rig, &dx);
		there = map_read(rig, &x);
		ck_assert_msg(!memcmp(apart, there, 16ull * s.planes * s.pixels * sizeof(double)), "%s", activations[a].bwd);
		free(apart);
		free(there);
	}
	stop();
}
END_TEST

/* -- special values --------------------------------------------------------------------------------------------------- */

#define BIG 3e38f
#define TINY 1e-40f

/* For dy = 1; dx of the kernels that take y is that of the y beside it. */
static const struct special {
	const char *fwd, *bwd;
	float p, x, y, dx;
} specials[] = {
	{ "relu6_fwd", "relu6_bwd", 6, 0, 0, 0 },
	{ "relu6_fwd", "relu6_bwd", 6, -0.0f, 0, 0 },
	{ "relu6_fwd", "relu6_bwd", 6, 6, 6, 0 },
	{ "relu6_fwd", "relu6_bwd", 6, 5.9999995f, 5.9999995f, 1 },
	{ "relu6_fwd", "relu6_bwd", 6, TINY, TINY, 1 },
	{ "relu6_fwd", "relu6_bwd", 6, INFINITY, 6, 0 },
	{ "relu6_fwd", "relu6_bwd", 6, -INFINITY, 0, 0 },
	{ "relu6_fwd", "relu6_bwd", 6, NAN, NAN, 0 },
	{ "leaky_fwd", "leaky_bwd", 0.25f, 0, 0, 0.25f },
	{ "leaky_fwd", "leaky_bwd", 0.25f, -0.0f, 0, 0.25f },
	{ "leaky_fwd", "leaky_bwd", 0.25f, BIG, BIG, 1 },
	{ "leaky_fwd", "leaky_bwd", 0.25f, -2, -0.5f, 0.25f },
	{ "leaky_fwd", "leaky_bwd", 0.25f, INFINITY, INFINITY, 1 },
	{ "leaky_fwd", "leaky_bwd", 0.25f, -INFINITY, -INFINITY, 0.25f },
	{ "leaky_fwd", "leaky_bwd", 0.25f, NAN, NAN, 0.25f },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, 0, 0.5f, 0.25f },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, -0.0f, 0.5f, 0.25f },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, TINY, 0.5f, 0.25f },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, 104, 1, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, -104, 0, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, 89, 1, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, -89, 0, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, BIG, 1, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, -BIG, 0, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, INFINITY, 1, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, -INFINITY, 0, 0 },
	{ "sigmoid_fwd", "sigmoid_bwd", 0, NAN, NAN, NAN },
	{ "silu_fwd", "silu_bwd", 0, 0, 0, 0.5f },
	{ "silu_fwd", "silu_bwd", 0, -0.0f, 0, 0.5f },
	{ "silu_fwd", "silu_bwd", 0, 104, 104, 1 },
	{ "silu_fwd", "silu_bwd", 0, -104, 0, 0 },
	{ "silu_fwd", "silu_bwd", 0, BIG, BIG, 1 },
	{ "silu_fwd", "silu_bwd", 0, -BIG, 0, 0 },
	{ "silu_fwd", "silu_bwd", 0, INFINITY, INFINITY, NAN },
	{ "silu_fwd", "silu_bwd", 0, -INFINITY, NAN, NAN },
	{ "silu_fwd", "silu_bwd", 0, NAN, NAN, NAN },
};
#define NSPECIALS (int)(sizeof(specials) / sizeof(specials[0]))

static void expect(float is, float want, const char *kernel, float x)
{
	ck_assert_msg(is == want || (isnan(is) && isnan(want)), "%s at x = %g: %.9g, expected %.9g", kernel, (double)x, (double)is,
		      (double)want);
}

START_TEST(special_values_do_what_the_kernels_promise)
{
	const struct shape s = { 16, 1, 3, 0 };
	struct map x, y, dy, dx;

	start(0, 1300);
	x = empty_map(&s);
	y = empty_map(&s);
	dy = empty_map(&s);
	dx = empty_map(&s);
	for (int n = 0; n < NSPECIALS; n++) {
		const struct special *t = &specials[n];
		const struct activation a = { .fwd = t->fwd, .bwd = t->bwd, .p = t->p, .from_x = !strcmp(t->fwd, "silu_fwd") };

		for (uint32_t i = 0; i < 16 * s.pixels; i++) {
			*map_at(rig, &x, i % 16, 0, i / 16) = t->x;
			*map_at(rig, &dy, i % 16, 0, i / 16) = 1;
		}
		run_forward(&a, &x, &y);
		run_backward(&a, &dy, a.from_x ? &x : &y, &dx);
		for (uint32_t i = 0; i < 16 * s.pixels; i++) {
			expect(*map_at(rig, &y, i % 16, 0, i / 16), t->y, t->fwd, t->x);
			expect(*map_at(rig, &dx, i % 16, 0, i / 16), t->dx, t->bwd, t->x);
		}
	}
	stop();
}
END_TEST

/* From one end to the other: never a NaN, never outside of what the function reaches. */
START_TEST(sigmoid_and_silu_hold_over_the_whole_range)
{
	const struct shape s = { 16, 1, 1300, 0 };
	struct map x, y, z;

	start(0, 1400);
	x = empty_map(&s);
	y = empty_map(&s);
	z = empty_map(&s);
	for (uint32_t i = 0; i < 16 * s.pixels; i++)
		*map_at(rig, &x, i % 16, 0, i / 16) = (float)(-130 + 260.0 * i / (16 * s.pixels - 1));
	run_forward(&activations[NACTIVATIONS - 2], &x, &y);
	run_forward(&activations[NACTIVATIONS - 1], &x, &z);
	for (uint32_t i = 0; i < 16 * s.pixels; i++) {
		double at = (double)*map_at(rig, &x, i % 16, 0, i / 16), want = sigmoid(at, 0);
		double vy = (double)*map_at(rig, &y, i % 16, 0, i / 16), vz = (double)*map_at(rig, &z, i % 16, 0, i / 16);

		ck_assert(vy >= 0 && vy <= 1);
		near(vy, want, 3 * ldexp(want, -23) + 3e-39, "sigmoid", i % 16, i / 16);
		near(vz, at * want, 4 * ldexp(fabs(at * want), -23) + 3e-37, "silu", i % 16, i / 16);
	}
	stop();
}
END_TEST

/* -- broadcast product ------------------------------------------------------------------------------------------------ */

static double product(double x, double s)
{
	return x * s;
}

static double by_x(double x, double s)
{
	return (product(x + 0.5, s) - product(x - 0.5, s));
}

static double by_s(double x, double s)
{
	return (product(x, s + 0.5) - product(x, s - 0.5));
}

static void product_case(const struct shape *sh, bool in_place)
{
	struct map x = random_map(sh->c, sh->planes, sh->pixels, sh->gap, 1, 0),
		   s = random_map(sh->c, 1, sh->pixels, sh->gap, 1, 0),
		   dy = random_map(sh->c, sh->planes, sh->pixels, sh->gap, 1, 0), ds = rig_map(rig, sh->c, 1, sh->pixels, sh->gap);
	struct map y = empty_map(sh), dx = in_place ? dy : empty_map(sh);
	double *vx = map_read(rig, &x), *vs = map_read(rig, &s), *vdy = map_read(rig, &dy), *vy, *vdx, *vds;
	struct launch l = launch_of("mul_bwd", &x, 0, 5);

	l.map[0] = &dy;
	l.map[1] = &x;
	l.map[2] = &s;
	l.map[3] = &dx;
	l.map[4] = &ds;
	rig_ok(rig, &l);
	if (in_place)
		y = x;
	l = launch_of("mul_fwd", &x, 0, 3);
	l.map[0] = &x;
	l.map[1] = &s;
	l.map[2] = &y;
	rig_ok(rig, &l);
	vy = map_read(rig, &y);
	vdx = map_read(rig, &dx);
	vds = map_read(rig, &ds);
	for (uint32_t c = 0; c < x.blocks * 16; c++)
		for (uint32_t i = 0; i < sh->pixels; i++) {
			double scale = vs[(uint64_t)c * sh->pixels + i], sum = 0, size = 0;

			for (uint32_t k = 0; k < sh->planes; k++) {
				uint64_t at = ((uint64_t)c * sh->planes + k) * sh->pixels + i;

				near(vy[at], (double)(float)product(vx[at], scale), 0, "product", c, i);
				near(vdx[at], vdy[at] * by_x(vx[at], scale), 1e-6 * fabs(vdy[at]), "dx of product", c, i);
				sum += vdy[at] * by_s(vx[at], scale);
				size += fabs(vdy[at] * vx[at]);
			}
			near(vds[(uint64_t)c * sh->pixels + i], sum, 1e-6 * size, "ds of product", c, i);
		}
	free(vx);
	free(vs);
	free(vdy);
	free(vy);
	free(vdx);
	free(vds);
}

START_TEST(the_broadcast_product_equals_the_oracle_and_its_differences)
{
	start(_i / NSHAPES, 1500 + _i % NSHAPES);
	for (int in_place = 0; in_place < 2; in_place++)
		product_case(&shapes[_i % NSHAPES], in_place);
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("PIM kernels: activations");
	TCase *tc = tcase_create("activations");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, activations_equal_the_oracle_and_its_differences, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, a_gradient_in_the_place_of_the_activation_is_the_same, 0, NCARDS);
	tcase_add_test(tc, special_values_do_what_the_kernels_promise);
	tcase_add_test(tc, sigmoid_and_silu_hold_over_the_whole_range);
	tcase_add_loop_test(tc, the_broadcast_product_equals_the_oracle_and_its_differences, 0, NCARDS * NSHAPES);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
