// SPDX-License-Identifier: MIT
/* Every PIM kernel on the card model, against a double-precision oracle and its finite differences. */
#include "card_rig.h"
#include "kernel_oracle.h"

static const struct {
	const char *file;
	uint32_t domain;
} cards[] = { { "cards/paper.card", 0 }, { "cards/hbm-pim.card", 0 }, { "cards/test-4dom.card", 0 }, { "cards/test-4dom.card", 3 } };
#define NCARDS (int)(sizeof(cards) / sizeof(cards[0]))

/* A stripe of these cards holds 128, 256 and 4 pixels; an instruction with A covers eight stripes. */
static const struct shape {
	uint32_t c, planes, pixels, gap;
} shapes[] = { { 16, 1, 5, 0 }, { 10, 1, 37, 1 }, { 16, 4, 16, 0 }, { 24, 4, 25, 1 }, { 48, 1, 128, 0 }, { 40, 1, 1300, 2 }, { 17, 9, 131, 1 } };
#define NSHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

static uint64_t seed;
static struct rig *rig;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* About normal, mean 0, deviation 1. */
static float normal(void)
{
	float v = 0;

	for (int i = 0; i < 12; i++)
		v += (float)(random64() >> 40) / (1 << 24);
	return v - 6;
}

static void start(int card, int salt)
{
	const char *env = getenv("PIM_TEST_SEED");

	seed = (env ? strtoull(env, NULL, 0) : 20240917) * 1000003 + (uint64_t)(card * 1000 + salt) * 7919 + 1;
	printf("# card %s domain %u, shape or case %d, seed %s\n", cards[card].file, cards[card].domain, salt, env ? env : "20240917");
	rig = rig_open(cards[card].file, cards[card].domain);
}

static void stop(void)
{
	rig_close(rig);
}

/* Random pixels in the true channels, zero in the padded ones. */
static struct map random_map(uint32_t c, uint32_t planes, uint32_t pixels, uint32_t gap, float scale, float mean)
{
	struct map m = rig_map(rig, c, planes, pixels, gap);

	for (uint32_t ch = 0; ch < m.blocks * 16; ch++)
		for (uint32_t k = 0; k < planes; k++)
			for (uint32_t i = 0; i < pixels; i++)
				*map_at(rig, &m, ch, k, i) = ch < c ? scale * normal() + mean * (float)(ch % 7) : 0;
	return m;
}

static struct map empty_map(const struct shape *s)
{
	return rig_map(rig, s->c, s->planes, s->pixels, s->gap);
}

static void near(double is, double want, double tolerance, const char *what, uint32_t c, uint32_t i)
{
	ck_assert_msg(fabs(is - want) <= tolerance, "%s, channel %u, pixel %u: %.9g, expected %.9g, difference %.3g over %.3g", what, c, i, is,
		      want, is - want, tolerance);
}

/* -- element-wise ----------------------------------------------------------------------------------------------------- */

static float max0(float v)
{
	return v > 0 ? v : 0;
}

static float want_copy(float a, float b)
{
	(void)b;
	return a;
}

static float want_relu(float a, float b)
{
	(void)b;
	return max0(a);
}

static float want_relu_bwd(float dy, float y)
{
	return y > 0 ? dy : 0;
}

static float want_add(float a, float b)
{
	return a + b;
}

static float want_add_relu(float a, float b)
{
	return max0(a + b);
}

static const struct {
	const char *kernel;
	int nin;
	float (*want)(float a, float b);
} elementwise[] = { { "copy", 1, want_copy },
		    { "relu_fwd", 1, want_relu },
		    { "relu_bwd", 2, want_relu_bwd },
		    { "add", 2, want_add },
		    { "add_relu", 2, want_add_relu } };

static void elementwise_case(const struct shape *s, int op, bool in_place)
{
	struct map a = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0), b = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
	struct map y = in_place ? a : empty_map(s);
	double *va = map_read(rig, &a), *vb = map_read(rig, &b), *vy;
	uint32_t nin = (uint32_t)elementwise[op].nin;
	struct launch l = { .kernel = elementwise[op].kernel, .blocks = a.blocks, .planes = s->planes, .pixels = s->pixels, .nmaps = nin + 1 };
	uint64_t n = (uint64_t)a.blocks * 16 * s->planes * s->pixels;

	l.map[0] = &a;
	l.map[1] = nin == 2 ? &b : &y;
	l.map[nin] = &y;
	rig_ok(rig, &l);
	vy = map_read(rig, &y);
	for (uint64_t i = 0; i < n; i++) {
		float want = elementwise[op].want((float)va[i], (float)vb[i]);

		ck_assert_msg((float)vy[i] == want, "%s: element %llu is %.9g, expected %.9g", l.kernel, (unsigned long long)i, vy[i],
			      (double)want);
	}
	free(va);
	free(vb);
	free(vy);
}

START_TEST(element_wise_kernels_equal_plain_c)
{
	start(_i / NSHAPES, _i % NSHAPES);
	for (int op = 0; op < (int)(sizeof(elementwise) / sizeof(elementwise[0])); op++)
		for (int in_place = 0; in_place < 2; in_place++)
			elementwise_case(&shapes[_i % NSHAPES], op, in_place);
	stop();
}
END_TEST

/* Gradients of relu, add and relu(add): those of their forward functions by central differences. */
START_TEST(gradients_of_relu_and_add_equal_differences)
{
	const struct shape s = { 10, 1, 37, 1 };
	const double h = 1e-6;
	struct map a, b, y, dy, dx, da;
	uint32_t n = 16 * s.pixels;
	double *va, *vb, *vdy, *vdx, *vda;
	struct launch l;

	start(_i, 100);
	a = random_map(s.c, 1, s.pixels, 1, 1, 0);
	b = random_map(s.c, 1, s.pixels, 1, 1, 0);
	dy = random_map(s.c, 1, s.pixels, 1, 1, 0);
	y = empty_map(&s);
	dx = empty_map(&s);
	da = empty_map(&s);
	l = (struct launch){ .kernel = "add_relu", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 3, .map = { &a, &b, &y } };
	rig_ok(rig, &l);
	l = (struct launch){ .kernel = "relu_bwd", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 3, .map = { &dy, &y, &dx } };
	rig_ok(rig, &l);
	l = (struct launch){ .kernel = "copy", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 2, .map = { &dy, &da } };
	rig_ok(rig, &l);
	va = map_read(rig, &a);
	vb = map_read(rig, &b);
	vdy = map_read(rig, &dy);
	vdx = map_read(rig, &dx);
	vda = map_read(rig, &da);
	for (uint32_t i = 0; i < n; i++) {
		double at = va[i] + vb[i], up = fmax(at + h, 0), down = fmax(at - h, 0);

		if (fabs(at) > 1e-5)
			near(vdx[i], vdy[i] * (up - down) / (2 * h), 1e-8 * (1 + fabs(vdy[i])), "relu(add)", i / s.pixels, i % s.pixels);
		near(vda[i], vdy[i] * ((at + h) - (at - h)) / (2 * h), 1e-8 * (1 + fabs(vdy[i])), "add", i / s.pixels, i % s.pixels);
	}
	free(va);
	free(vb);
	free(vdy);
	free(vdx);
	free(vda);
	stop();
}
END_TEST

/* -- batch norm ------------------------------------------------------------------------------------------------------- */

static const struct variant {
	const char *fwd, *eval, *bwd;
	bool relu, add;
} variants[] = { { "bn_fwd", "bn_eval", "bn_bwd", false, false },
		 { "bn_relu_fwd", "bn_relu_eval", "bn_relu_bwd", true, false },
		 { "bn_add_relu_fwd", "bn_add_relu_eval", "bn_add_relu_bwd", true, true } };

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
	return (struct launch){ .kernel = kernel,
				.blocks = t->x.blocks,
				.planes = t->s->planes,
				.pixels = t->s->pixels,
				.nmaps = t->v->add ? 5 : 4,
				.map = { &t->x, &t->y, &t->param, &t->state, &t->res },
				.param = { (float)(1.0 / t->m), (float)EPS, (float)(1 - MOMENTUM), (float)MOMENTUM,
					   (float)(MOMENTUM * t->m / (t->m - 1)) } };
}

static void bn_setup(struct bn_case *t, const struct shape *s, const struct variant *v, float scale, float mean)
{
	*t = (struct bn_case){ .s = s, .v = v, .m = s->planes * s->pixels };
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
	return (struct bn){ .m = t->m,
			    .x = t->vx + (uint64_t)c * t->m,
			    .res = t->v->add ? t->vres + (uint64_t)c * t->m : NULL,
			    .gamma = (double)*map_at(rig, &t->param, c, 0, 0),
			    .beta = (double)*map_at(rig, &t->param, c, 0, 1),
			    .eps = EPS,
			    .relu = t->v->relu };
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
		near((double)*map_at(rig, &t->state, c, 0, 2), (1 - MOMENTUM) * old[2] + MOMENTUM * b.mean, 1e-6 * (1 + fabs(b.mean)),
		     "running mean", c, 0);
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
	const struct shape s = { 16, 1, 1300, 0 };
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
	return (struct launch){ .kernel = t->v->bwd,
				.blocks = t->x.blocks,
				.planes = t->s->planes,
				.pixels = t->s->pixels,
				.nmaps = t->v->add ? 8 : t->v->relu ? 7 : 6,
				.map = { &t->x, &t->dy, &t->dx, &t->param, &t->grad, &t->state, &t->y, &t->ds },
				.param = { (float)(1.0 / t->m) } };
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

/* -- pools ------------------------------------------------------------------------------------------------------------ */

struct pool_case {
	struct map x, y, dy, dx;
	double *vx, *vy, *vdy, *vdx;
};

static void pool_run(struct pool_case *t, const struct shape *s, bool max)
{
	struct launch l = { .blocks = t->x.blocks, .planes = s->planes, .pixels = s->pixels };

	t->y = rig_map(rig, s->c, 1, s->pixels, s->gap);
	t->dy = random_map(s->c, 1, s->pixels, s->gap, 1, 0);
	t->dx = empty_map(s);
	l.param[0] = 1.0f / (float)s->planes;
	l.kernel = max ? "maxpool_fwd" : "avgpool_fwd";
	l.nmaps = 2;
	l.map[0] = &t->x;
	l.map[1] = &t->y;
	rig_ok(rig, &l);
	if (max) {
		l.kernel = "maxpool_bwd";
		l.nmaps = 4;
		l.map[2] = &t->dy;
		l.map[3] = &t->dx;
	} else {
		l.kernel = "avgpool_bwd";
		l.map[0] = &t->dy;
		l.map[1] = &t->dx;
	}
	rig_ok(rig, &l);
	t->vx = map_read(rig, &t->x);
	t->vy = map_read(rig, &t->y);
	t->vdy = map_read(rig, &t->dy);
	t->vdx = map_read(rig, &t->dx);
}

static void pool_release(struct pool_case *t)
{
	free(t->vx);
	free(t->vy);
	free(t->vdy);
	free(t->vdx);
}

/* Two elements of a window nearer to each other than the step of the difference: it has no derivative there. */
static bool ambiguous(const double *x, uint32_t k, uint64_t stride)
{
	double most = pool_max(x, k, stride);
	uint32_t n = 0;

	for (uint32_t i = 0; i < k; i++)
		n += most - x[i * stride] < 1e-4;
	return n > 1;
}

static void pool_check(const struct pool_case *t, const struct shape *s, bool max)
{
	double (*pool)(const double *, uint32_t, uint64_t) = max ? pool_max : pool_mean;

	for (uint32_t c = 0; c < s->c; c++)
		for (uint32_t i = 0; i < s->pixels; i++) {
			double *window = t->vx + (uint64_t)c * s->planes * s->pixels + i, dy = t->vdy[(uint64_t)c * s->pixels + i];

			near(t->vy[(uint64_t)c * s->pixels + i], pool(window, s->planes, s->pixels), max ? 0 : 1e-6, "pool", c, i);
			if (max && ambiguous(window, s->planes, s->pixels))
				continue;
			for (uint32_t k = 0; k < s->planes; k++)
				near(t->vdx[((uint64_t)c * s->planes + k) * s->pixels + i],
				     dy * pool_gradient(pool, window, s->planes, s->pixels, k), 1e-6 * (1 + fabs(dy)), "pool gradient", c, i);
		}
}

START_TEST(pools_equal_the_oracle_and_its_differences)
{
	const struct shape *s = &shapes[_i % NSHAPES];
	struct pool_case t;

	start(_i / NSHAPES, 600 + _i % NSHAPES);
	for (int max = 0; max < 2; max++) {
		t.x = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
		pool_run(&t, s, max);
		pool_check(&t, s, max);
		pool_release(&t);
	}
	stop();
}
END_TEST

START_TEST(a_tie_in_max_pool_goes_to_the_first_plane)
{
	const struct shape s = { 16, 4, 150, 1 };
	struct pool_case t;

	start(_i, 700);
	t.x = random_map(s.c, s.planes, s.pixels, s.gap, 1, 0);
	/* Three values only, so that nearly every window has a tie; both zeros among them. */
	for (uint32_t c = 0; c < 16; c++)
		for (uint32_t k = 0; k < s.planes; k++)
			for (uint32_t i = 0; i < s.pixels; i++)
				*map_at(rig, &t.x, c, k, i) = (float[]){ -1, -0.0f, 0.0f }[random64() % 3];
	pool_run(&t, &s, true);
	for (uint32_t c = 0; c < 16; c++)
		for (uint32_t i = 0; i < s.pixels; i++) {
			const double *window = t.vx + (uint64_t)c * s.planes * s.pixels + i;
			uint32_t first = 0;

			for (uint32_t k = 1; k < s.planes; k++)
				if (window[k * s.pixels] > window[first * s.pixels])
					first = k;
			for (uint32_t k = 0; k < s.planes; k++)
				near(t.vdx[((uint64_t)c * s.planes + k) * s.pixels + i], k == first ? t.vdy[(uint64_t)c * s.pixels + i] : 0, 0,
				     "tie", c, i);
		}
	pool_release(&t);
	stop();
}
END_TEST

/* -- optimizer, and what holds for all -------------------------------------------------------------------------------- */

START_TEST(sgd_equals_plain_c_bit_for_bit)
{
	const struct shape s = { 16, 1, 333, 0 };
	const float decay = 1e-4f, momentum = 0.9f, rate = -0.1f;
	uint32_t n = 16 * s.pixels;
	struct map w, g, v;
	struct launch l;
	float *cw = malloc(n * sizeof(float)), *cv = calloc(n, sizeof(float));

	start(_i, 800);
	w = random_map(s.c, 1, s.pixels, 0, 1, 0);
	v = rig_map(rig, s.c, 1, s.pixels, 0);
	for (uint32_t i = 0; i < n; i++) {
		cw[i] = *map_at(rig, &w, i % 16, 0, i / 16);
		*map_at(rig, &v, i % 16, 0, i / 16) = 0;
	}
	for (int step = 0; step < 3; step++) {
		g = random_map(s.c, 1, s.pixels, 0, 0.1f, 0);
		l = (struct launch){ .kernel = "sgd", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 3, .map = { &w, &g, &v }, .param = { decay, momentum, rate } };
		rig_ok(rig, &l);
		for (uint32_t i = 0; i < n; i++) {
			float d = cw[i] * decay + *map_at(rig, &g, i % 16, 0, i / 16);

			cv[i] = d + cv[i] * momentum;
			cw[i] = cv[i] * rate + cw[i];
			ck_assert_msg(*map_at(rig, &v, i % 16, 0, i / 16) == cv[i] && *map_at(rig, &w, i % 16, 0, i / 16) == cw[i],
				      "step %d, weight %u", step, i);
		}
	}
	free(cw);
	free(cv);
	stop();
}
END_TEST

/* A launch of any kernel on small maps, all of them of one shape. */
static void any_launch(const struct pim_kernel *k, struct map *maps, struct launch *l)
{
	const struct shape s = { 16, 1, 9, 0 };

	*l = (struct launch){ .kernel = k->name, .blocks = 1, .planes = 1, .pixels = 9, .nmaps = k->nstreams };
	for (uint32_t i = 0; i < k->nstreams; i++) {
		maps[i] = k->unit_streams >> i & 1 ? random_map(s.c, 1, s.pixels, 0, 1, 0) : rig_records(rig, s.c, 4);
		for (uint32_t c = 0; c < 16 && !(k->unit_streams >> i & 1); c++)
			for (uint32_t n = 0; n < 4; n++)
				*map_at(rig, &maps[i], c, 0, n) = 1;
		l->map[i] = &maps[i];
	}
	for (uint32_t i = 0; i < PIM_HW_MAX_PARAMS; i++)
		l->param[i] = 0.5f;
}

START_TEST(every_kernel_needs_exactly_the_access_it_declares)
{
	struct map maps[PIM_HW_MAX_STREAMS];
	struct launch l;

	start(_i, 900);
	for (size_t n = 0; n < pim_nkernels; n++) {
		const struct pim_kernel *k = &pim_kernels[n];

		any_launch(k, maps, &l);
		rig_ok(rig, &l);
		for (uint32_t i = 0; i < k->nstreams; i++)
			for (uint8_t bit = PIM_HW_READ; bit <= PIM_HW_WRITE; bit <<= 1) {
				uint8_t access = k->access[i];
				struct pim_hw_done done;

				if (!(access & bit))
					continue;
				/* The other access instead: a binding must allow something. */
				l.access[i] = (uint8_t)(PIM_HW_READ | PIM_HW_WRITE) & (uint8_t)~bit;
				done = rig_run(rig, &l);
				l.access[i] = 0;
				rig_recover(rig);
				ck_assert_msg(done.status == PIM_HW_E_ACCESS, "%s runs without %s access to %s (status %u)", k->name,
					      bit == PIM_HW_READ ? "read" : "write", k->stream[i], done.status);
			}
	}
	stop();
}
END_TEST

START_TEST(every_kernel_gives_the_same_bits_again)
{
	struct map maps[PIM_HW_MAX_STREAMS];
	uint8_t *before, *after;
	struct launch l;

	start(_i, 1000);
	for (size_t n = 0; n < pim_nkernels; n++) {
		uint64_t from = rig->brk, bytes;

		any_launch(&pim_kernels[n], maps, &l);
		bytes = rig->brk - from;
		before = malloc(bytes);
		after = malloc(bytes);
		memcpy(before, rig->bar + from, bytes);
		rig_ok(rig, &l);
		memcpy(after, rig->bar + from, bytes);
		memcpy(rig->bar + from, before, bytes);
		rig_ok(rig, &l);
		ck_assert_msg(!memcmp(after, rig->bar + from, bytes), "%s", l.kernel);
		ck_assert_msg(memcmp(after, before, bytes), "%s wrote nothing", l.kernel);
		free(before);
		free(after);
	}
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("PIM kernels");
	TCase *tc = tcase_create("kernels");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, element_wise_kernels_equal_plain_c, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, gradients_of_relu_and_add_equal_differences, 0, NCARDS);
	tcase_add_loop_test(tc, batch_norm_forward_equals_the_oracle, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, variance_survives_a_large_mean, 0, NCARDS);
	tcase_add_loop_test(tc, gradients_of_batch_norm_equal_differences, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, batch_norm_backward_in_place_gives_the_same_bits, 0, NCARDS);
	tcase_add_loop_test(tc, pools_equal_the_oracle_and_its_differences, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, a_tie_in_max_pool_goes_to_the_first_plane, 0, NCARDS);
	tcase_add_loop_test(tc, sgd_equals_plain_c_bit_for_bit, 0, NCARDS);
	tcase_add_loop_test(tc, every_kernel_needs_exactly_the_access_it_declares, 0, NCARDS);
	tcase_add_loop_test(tc, every_kernel_gives_the_same_bits_again, 0, NCARDS);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
