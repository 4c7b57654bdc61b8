// SPDX-License-Identifier: MIT
/* The batch norm kernels on the card model, against a double-precision oracle and its finite differences. */
#include "kernel_case.h"
#include "run_suite.h"

static const struct variant {
	const char *fwd, *eval, *bwd;
	bool relu, add;
} variants[] = {{"bn_fwd", "bn_eval", "bn_bwd", false, false},
		{"bn_relu_fwd", "bn_relu_eval", "bn_relu_bwd", true, false},
		{"bn_add_relu_fwd", "bn_add_relu_eval", "bn_add_relu_bwd", true, true}};

#define MOMENTUM 0.1
#define EPS 1e-5

struct bn_case {
	const struct shape *s;
	const struct variant *v;
	uint32_t m; /* values of a channel */
	struct map x, y, res, param, state, dy, dx, grad, ds;
	double *vx, *vres, *vy, *state0;
};

static struct launch bn_launch(const struct bn_case *t, const char *kernel)
{
	return (struct launch){.kernel = kernel,
			       .blocks = t->x.blocks,
			       .planes = t->s->planes,
			       .pixels = t->s->pixels,
			       .nmaps = t->v->add ? 5 : 4,
			       .map = {&t->x, &t->y, &t->param, &t->state, &t->res},
			       .param = {(float)(1.0 / t->m), (float)EPS, (float)(1 - MOMENTUM), (float)MOMENTUM,
					 (float)(MOMENTUM * t->m / (t->m - 1))}};
}

static void bn_setup(struct bn_case *t, const struct shape *s, const struct variant *v, float scale, float mean)
{
	*t = (struct bn_case){.s = s, .v = v, .m = s->planes * s->pixels};
	t->x = random_map(s->c, s->planes, s->pixels, s->gap, scale, mean);
	t->res = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
	t->y = empty_map(s);
	t->param = rig_records(rig, s->c, 2);
	t->state = rig_records(rig, s->c, 4);
	for (uint32_t c = 0; c < t->x.blocks * 16; c++) {
		bool pad = c >= s->c;

		*map_at(rig, &t->param, c, 0, 0) = pad ? 0 : 1 + 0.3f * normal();
		*map_at(rig, &t->param, c, 0, 1) = pad ? 0 : 0.5f * normal();
		*map_at(rig, &t->state, c, 0, 0) = 0;
		*map_at(rig, &t->state, c, 0, 1) = 0;
		*map_at(rig, &t->state, c, 0, 2) = pad ? 0 : normal();
		*map_at(rig, &t->state, c, 0, 3) = pad ? 1 : 0.5f + fabsf(normal());
	}
	t->vx = map_read(rig, &t->x);
	t->vres = map_read(rig, &t->res);
	t->state0 = map_read(rig, &t->state);
}

static void bn_release(struct bn_case *t)
{
	free(t->vx);
	free(t->vres);
	free(t->vy);
	free(t->state0);
}

static struct bn bn_oracle(const struct bn_case *t, uint32_t c)
{
	return (struct bn){.m = t->m,
			   .x = t->vx + (uint64_t)c * t->m,
			   .res = t->v->add ? t->vres + (uint64_t)c * t->m : NULL,
			   .gamma = (double)*map_at(rig, &t->param, c, 0, 0),
			   .beta = (double)*map_at(rig, &t->param, c, 0, 1),
			   .eps = EPS,
			   .relu = t->v->relu};
}

/* FP32 error of a x + b: rounding of x, of a and of b, each times what it is multiplied with. */
static double bn_tolerance(const struct bn *b)
{
	double rstd = 1 / sqrt(b->var + b->eps), most = fabs(b->mean);

	for (uint32_t i = 0; i < b->m; i++)
		most = fmax(most, fabs(b->x[i]));
	return 2e-6 * (1 + fabs(b->gamma) * rstd * (most + fabs(b->mean)));
}

static void bn_check_forward(struct bn_case *t, bool eval)
{
	free(t->vy);
	t->vy = map_read(rig, &t->y);
	for (uint32_t c = 0; c < t->x.blocks * 16; c++) {
		struct bn b = bn_oracle(t, c);
		const double *old = t->state0 + (uint64_t)c * 4;
		double tol, spread;

		b.eval = eval;
		b.mean = old[2];
		b.var = old[3];
		bn_stats(&b);
		tol = bn_tolerance(&b);
		for (uint32_t i = 0; i < t->m; i++)
			near(t->vy[(uint64_t)c * t->m + i], bn_output(&b, i), tol * (1 + fabs(bn_output(&b, i))), "y", c, i);
		if (eval)
			continue;
		spread = 1e-6 * (fabs(b.mean) + sqrt(b.var));
		near((double)*map_at(rig, &t->state, c, 0, 0), b.mean, spread, "mean", c, 0);
		near((double)*map_at(rig, &t->state, c, 0, 1), 1 / sqrt(b.var + EPS), 4e-6 / sqrt(b.var + EPS), "rstd", c, 0);
		near((double)*map_at(rig, &t->state, c, 0, 2), (1 - MOMENTUM) * old[2] + MOMENTUM * b.mean,
		     1e-6 * (1 + fabs(b.mean)), "running mean", c, 0);
		near((double)*map_at(rig, &t->state, c, 0, 3), (1 - MOMENTUM) * old[3] + MOMENTUM * b.var * t->m / (t->m - 1),
		     1e-6 * (1 + b.var), "running var", c, 0);
	}
}

/* In the eight channels of a block's pad, and for the odd channel counts, y and dx must stay zero: gamma and beta are. */
static void check_zero_channels(const struct map *m, const char *what)
{
	for (uint32_t c = m->c; c < m->blocks * 16; c++)
		for (uint32_t k = 0; k < m->planes; k++)
			for (uint32_t i = 0; i < m->pixels; i++)
				ck_assert_msg(*map_at(rig, m, c, k, i) == 0, "%s: padded channel %u is not zero", what, c);
}

START_TEST(batch_norm_forward_equals_the_oracle)
{
	const struct shape *s = &shapes[_i % NSHAPES];
	struct bn_case t;
	struct launch l;

	start(_i / NSHAPES, 200 + _i % NSHAPES);
	for (int v = 0; v < 3; v++) {
		bn_setup(&t, s, &variants[v], 1.5f, 0.7f);
		l = bn_launch(&t, variants[v].eval);
		rig_ok(rig, &l);
		bn_check_forward(&t, true);
		l = bn_launch(&t, variants[v].fwd);
		rig_ok(rig, &l);
		bn_check_forward(&t, false);
		if (!variants[v].add)
			check_zero_channels(&t.y, variants[v].fwd);
		bn_release(&t);
	}
	stop();
}
END_TEST

/* Mean 1000 times the deviation: sum x^2 / m - mean^2 would have no correct digit left. */
START_TEST(variance_survives_a_large_mean)
{
	const struct shape s = {16, 1, 1300, 0};
	struct bn_case t;
	struct launch l;

	start(_i, 300);
	bn_setup(&t, &s, &variants[0], 0.01f, 10);
	l = bn_launch(&t, "bn_fwd");
	rig_ok(rig, &l);
	for (uint32_t c = 0; c < 16; c++) {
		struct bn b = bn_oracle(&t, c);

		bn_stats(&b);
		near((double)*map_at(rig, &t.state, c, 0, 1), 1 / sqrt(b.var + EPS), 1e-4 / sqrt(b.var + EPS), "rstd", c, 0);
	}
	bn_release(&t);
	stop();
}
END_TEST

/* A ReLU has no derivative at 0, and which side a value near it falls on may differ in FP32: no gradient is sent there. */
static double *bn_output_gradient(struct bn_case *t)
{
	t->dy = random_map(t->s->c, t->s->planes, t->s->pixels, t->s->gap, 1, 0.2f);
	for (uint32_t c = 0; c < t->x.blocks * 16 && t->v->relu; c++) {
		struct bn b = bn_oracle(t, c);

		bn_stats(&b);
		for (uint32_t i = 0; i < t->m; i++)
			if (fabs(bn_value(&b, i)) < 1e-3)
				*map_at(rig, &t->dy, c, i / t->s->pixels, i % t->s->pixels) = 0;
	}
	return map_read(rig, &t->dy);
}

static void bn_check_channel(struct bn_case *t, uint32_t c, const double *dy, const double *dx, const double *ds)
{
	struct bn b = bn_oracle(t, c);
	uint64_t at = (uint64_t)c * t->m;
	double rstd, most = 0, sum_beta = 0, sum_gamma = 0, want;

	bn_stats(&b);
	rstd = 1 / sqrt(b.var + EPS);
	for (uint32_t i = 0; i < t->m; i++) {
		most = fmax(most, fabs(dy[at + i]));
		sum_beta += fabs(dy[at + i]);
		sum_gamma += fabs(dy[at + i] * (b.x[i] - b.mean) * rstd);
	}
	want = bn_gradient(&b, dy + at, &b.gamma);
	near((double)*map_at(rig, &t->grad, c, 0, 0), want, 3e-6 * sum_gamma + 1e-8, "dgamma", c, 0);
	want = bn_gradient(&b, dy + at, &b.beta);
	near((double)*map_at(rig, &t->grad, c, 0, 1), want, 3e-6 * sum_beta + 1e-8, "dbeta", c, 0);
	/* The ends of every plane, and a sample of the rest. */
	for (uint32_t i = 0; i < t->m; i++) {
		uint32_t in = i % t->s->pixels;
		double tol = 2e-5 * (fabs(b.gamma) * rstd * most * (1 + fabs(b.mean) * rstd)) + 1e-8;

		if (t->m > 64 && in && in != t->s->pixels - 1 && random64() % t->m > 20)
			continue;
		want = bn_gradient(&b, dy + at, &t->vx[at + i]);
		near(dx[at + i], want, tol, "dx", c, i);
		if (!ds)
			continue;
		want = bn_gradient(&b, dy + at, &t->vres[at + i]);
		near(ds[at + i], want, 1e-6 * (1 + most), "ds", c, i);
	}
}

static struct launch bn_bwd_launch(struct bn_case *t)
{
	return (struct launch){.kernel = t->v->bwd,
			       .blocks = t->x.blocks,
			       .planes = t->s->planes,
			       .pixels = t->s->pixels,
			       .nmaps = t->v->add    ? 8
					: t->v->relu ? 7
						     : 6,
			       .map = {&t->x, &t->dy, &t->dx, &t->param, &t->grad, &t->state, &t->y, &t->ds},
			       .param = {(float)(1.0 / t->m)}};
}

static void bn_backward_case(const struct shape *s, const struct variant *v)
{
	double *dy, *dx, *ds = NULL;
	struct bn_case t;
	struct launch l;

	bn_setup(&t, s, v, 1.5f, 0.7f);
	l = bn_launch(&t, v->fwd);
	rig_ok(rig, &l);
	dy = bn_output_gradient(&t);
	t.dx = empty_map(s);
	t.ds = empty_map(s);
	t.grad = rig_records(rig, s->c, 2);
	l = bn_bwd_launch(&t);
	rig_ok(rig, &l);
	dx = map_read(rig, &t.dx);
	if (v->add)
		ds = map_read(rig, &t.ds);
	for (uint32_t c = 0; c < s->c; c++)
		bn_check_channel(&t, c, dy, dx, ds);
	check_zero_channels(&t.dx, v->bwd);
	check_zero_channels(&t.grad, "parameter gradient");
	free(dy);
	free(dx);
	free(ds);
	bn_release(&t);
}

START_TEST(gradients_of_batch_norm_equal_differences)
{
	start(_i / NSHAPES, 400 + _i % NSHAPES);
	for (int v = 0; v < 3; v++)
		bn_backward_case(&shapes[_i % NSHAPES], &variants[v]);
	stop();
}
END_TEST

/* The scheduler lets dx take the place of dy. */
START_TEST(batch_norm_backward_in_place_gives_the_same_bits)
{
	const struct shape *s = &shapes[3];
	uint64_t n = 32ull * s->planes * s->pixels;
	double *apart, *dy, *in_place;

	start(_i, 500);
	for (int v = 0; v < 2; v++) {
		struct bn_case t;
		struct launch l;

		bn_setup(&t, s, &variants[v], 1, 0.5f);
		l = bn_launch(&t, variants[v].fwd);
		rig_ok(rig, &l);
		dy = bn_output_gradient(&t);
		t.dx = empty_map(s);
		t.grad = rig_records(rig, s->c, 2);
		l = bn_bwd_launch(&t);
		rig_ok(rig, &l);
		apart = map_read(rig, &t.dx);
		l.map[2] = &t.dy;
		rig_ok(rig, &l);
		in_place = map_read(rig, &t.dy);
		ck_assert_msg(!memcmp(apart, in_place, n * sizeof(*apart)), "%s differs in place", l.kernel);
		free(dy);
		free(apart);
		free(in_place);
		bn_release(&t);
	}
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("PIM batch norm");
	TCase *tc = tcase_create("kernels");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, batch_norm_forward_equals_the_oracle, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, variance_survives_a_large_mean, 0, NCARDS);
	tcase_add_loop_test(tc, gradients_of_batch_norm_equal_differences, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, batch_norm_backward_in_place_gives_the_same_bits, 0, NCARDS);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
