// SPDX-License-Identifier: MIT
/* Optimizer kernels on the card model, several steps in a row, against the formulas of torch.optim in double precision. */
#include "kernel_case.h"
#include "run_suite.h"

#define STEPS 10

static const struct hyper {
	double lr, beta1, beta2, eps, decay;
} hypers[] = {
	{ 1e-2, 0.9, 0.999, 1e-8, 0 },
	{ 1e-3, 0.9, 0.99, 1e-8, 1e-2 },
	{ 0.1, 0.5, 0.9, 1e-3, 0.1 },
};
#define NHYPERS (int)(sizeof(hypers) / sizeof(hypers[0]))

struct optimizer {
	struct map w, g, m, v;
	uint64_t n;
	double *dw, *dm, *dv; /* the oracle's */
};

static void zero_map(const struct map *m)
{
	for (uint32_t c = 0; c < m->blocks * 16; c++)
		for (uint32_t k = 0; k < m->planes; k++)
			for (uint32_t i = 0; i < m->pixels; i++)
				*map_at(rig, m, c, k, i) = 0;
}

static void opt_setup(struct optimizer *o, const struct shape *s)
{
	o->n = (uint64_t)(s->c + 15) / 16 * 16 * s->planes * s->pixels;
	o->w = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
	o->g = random_map(s->c, s->planes, s->pixels, s->gap, 0.1f, 0);
	o->m = empty_map(s);
	o->v = empty_map(s);
	zero_map(&o->m);
	zero_map(&o->v);
	o->dw = map_read(rig, &o->w);
	o->dm = calloc(o->n, sizeof(double));
	o->dv = calloc(o->n, sizeof(double));
}

/* A new gradient in the same memory: of very different sizes, a few of them zero. */
static void new_gradient(const struct map *g)
{
	for (uint32_t c = 0; c < g->c; c++)
		for (uint32_t k = 0; k < g->planes; k++)
			for (uint32_t i = 0; i < g->pixels; i++)
				*map_at(rig, g, c, k, i) = random64() % 16 ? ldexpf(normal(), -(int)(random64() % 20)) : 0;
}

static void opt_release(struct optimizer *o)
{
	free(o->dw);
	free(o->dm);
	free(o->dv);
}

/* What a step has of its own: rate and bias corrections. */
struct step {
	double lr, bias1, root_bias2;
};

static struct step step_of(const struct hyper *h, int t, double lr)
{
	return (struct step){ .lr = lr, .bias1 = 1 - pow(h->beta1, t), .root_bias2 = sqrt(1 - pow(h->beta2, t)) };
}

/* torch.optim.Adam and AdamW, word for word, of one weight. */
static void adam_oracle(const struct hyper *h, bool decoupled, const struct step *st, double g, double *w, double *m, double *v)
{
	double denom;

	if (decoupled)
		*w *= 1 - st->lr * h->decay;
	else
		g += h->decay * *w;
	*m += (g - *m) * (1 - h->beta1);
	*v = *v * h->beta2 + (1 - h->beta2) * g * g;
	denom = sqrt(*v) / st->root_bias2 + h->eps;
	*w -= st->lr / st->bias1 * (*m / denom);
}

#define ROUND ldexp(1, -24)

/*
 * What FP32 may be off after one step: w, m, v before and after it. Gradient and weight decay may cancel, and Adam divides by what
 * is left: therefore the error of d goes through all of it.
 */
static void adam_tolerance(const struct hyper *h, bool decoupled, const struct step *st, double g, const double before[3],
			   const double after[3], double tolerance[3])
{
	double decay = decoupled ? 0 : h->decay * fabs(before[0]), d = fabs(g + (decoupled ? 0 : h->decay * before[0]));
	double d_error = 2 * ROUND * (decay + d) * (decay > 0), step = st->lr / st->bias1, denom, denom_error;

	tolerance[1] = (1 - h->beta1) * d_error + 4 * ROUND * (h->beta1 * fabs(before[1]) + (1 - h->beta1) * d);
	tolerance[2] = (1 - h->beta2) * (2 * d + d_error) * d_error + 5 * ROUND * after[2] + 1e-44;
	denom = sqrt(after[2]) / st->root_bias2 + h->eps;
	denom_error = sqrt(tolerance[2] + after[2]) - sqrt(after[2]);
	denom_error = denom_error / st->root_bias2 + 4 * ROUND * denom;
	tolerance[0] = step * (tolerance[1] + fabs(after[1]) * denom_error / denom) / denom +
		       4 * ROUND * step * fabs(after[1]) / denom + ROUND * (2 * fabs(after[0]) + 2 * fabs(before[0]) * decoupled);
}

static struct launch adam_launch(const struct optimizer *o, const struct hyper *h, bool decoupled, int t, double lr)
{
	return (struct launch){ .kernel = decoupled ? "adamw" : "adam",
				.blocks = o->w.blocks,
				.planes = o->w.planes,
				.pixels = o->w.pixels,
				.nmaps = 4,
				.map = { &o->w, &o->g, &o->m, &o->v },
				.param = { decoupled ? (float)(1 - lr * h->decay) : (float)h->decay, (float)h->beta1,
					   (float)(-lr / (1 - pow(h->beta1, t))), (float)(1 / sqrt(1 - pow(h->beta2, t))),
					   (float)h->eps, (float)(1 - h->beta1), (float)h->beta2, (float)(1 - h->beta2) } };
}

static void check_state(const struct map *m, const double *want, uint64_t n, double relative, double absolute, const char *what)
{
	double *is = map_read(rig, m);

	for (uint64_t i = 0; i < n; i++)
		near(is[i], want[i], relative * fabs(want[i]) + absolute, what, (uint32_t)(i / m->pixels / m->planes),
		     (uint32_t)(i % m->pixels));
	free(is);
}

/* One step from where the kernel's last one ended. */
static void check_step(const struct optimizer *o, const struct hyper *h, bool decoupled, const struct step *st,
		       double *const before[3], const double *g)
{
	const struct map *const map[3] = { &o->w, &o->m, &o->v };
	static const char *const name[3] = { "w of one step", "m of one step", "v of one step" };
	double *is[3];
	int k;

	for (k = 0; k < 3; k++)
		is[k] = map_read(rig, map[k]);
	for (uint64_t i = 0; i < o->n; i++) {
		double was[3] = { before[0][i], before[1][i], before[2][i] }, want[3] = { was[0], was[1], was[2] }, tolerance[3];

		adam_oracle(h, decoupled, st, g[i], &want[0], &want[1], &want[2]);
		adam_tolerance(h, decoupled, st, g[i], was, want, tolerance);
		for (k = 0; k < 3; k++)
			near(is[k][i], want[k], tolerance[k], name[k], (uint32_t)(i / o->w.pixels / o->w.planes),
			     (uint32_t)(i % o->w.pixels));
	}
	for (k = 0; k < 3; k++)
		free(is[k]);
}

static void adam_case(const struct shape *s, const struct hyper *h, bool decoupled)
{
	/* What a sum that cancels loses, later steps do not give back. */
	const double drift = decoupled || h->decay == 0 ? 2e-6 : 1e-2;
	struct optimizer o;
	struct launch l;

	opt_setup(&o, s);
	for (int t = 1; t <= STEPS; t++) {
		double lr = t > STEPS / 2 ? h->lr / 10 : h->lr; /* a schedule */
		double *before[3] = { map_read(rig, &o.w), map_read(rig, &o.m), map_read(rig, &o.v) }, *g;
		struct step st = step_of(h, t, lr);

		new_gradient(&o.g);
		l = adam_launch(&o, h, decoupled, t, lr);
		rig_ok(rig, &l);
		g = map_read(rig, &o.g);
		check_step(&o, h, decoupled, &st, before, g);
		/* And all steps together, the oracle by itself. */
		for (uint64_t i = 0; i < o.n; i++)
			adam_oracle(h, decoupled, &st, g[i], &o.dw[i], &o.dm[i], &o.dv[i]);
		check_state(&o.w, o.dw, o.n, 4 * t * ROUND, drift * t * h->lr, l.kernel);
		for (int k = 0; k < 3; k++)
			free(before[k]);
		free(g);
	}
	opt_release(&o);
}

START_TEST(adam_and_adamw_equal_the_formula_over_many_steps)
{
	start(_i / NSHAPES, 1600 + _i % NSHAPES);
	for (int h = 0; h < NHYPERS; h++)
		for (int decoupled = 0; decoupled < 2; decoupled++) {
			adam_case(&shapes[_i % NSHAPES], &hypers[h], decoupled);
			rig->brk = rig->base;
		}
	stop();
}
END_TEST

/* Padded channels are such weights, and so are those of a layer that was cut off. */
START_TEST(a_weight_without_gradient_stays_or_decays)
{
	const struct shape s = { 16, 1, 40, 0 };
	struct hyper h = { 1e-2, 0.9, 0.999, 1e-8, 0 };
	struct optimizer o;
	struct launch l;

	start(_i, 1700);
	for (int decoupled = 0; decoupled < 2; decoupled++) {
		h.decay = decoupled ? 0.5 : 0;
		opt_setup(&o, &s);
		zero_map(&o.g);
		for (int t = 1; t <= 3; t++) {
			l = adam_launch(&o, &h, decoupled, t, h.lr);
			rig_ok(rig, &l);
			for (uint64_t i = 0; i < o.n; i++)
				o.dw[i] *= decoupled ? 1 - h.lr * h.decay : 1;
			check_state(&o.w, o.dw, o.n, decoupled ? t * ldexp(1, -23) : 0, 0, l.kernel);
		}
		check_state(&o.m, o.dm, o.n, 0, 0, "m");
		check_state(&o.v, o.dv, o.n, 0, 0, "v");
		opt_release(&o);
	}
	stop();
}
END_TEST

/* The first step of Adam is lr against the sign of the gradient, whatever its size while its square is in the range of FP32. */
START_TEST(the_first_step_of_adam_has_the_length_of_the_rate)
{
	const struct shape s = { 16, 1, 31, 0 };
	const struct hyper h = { 1e-3, 0.9, 0.999, 1e-30, 0 };
	struct optimizer o;
	struct launch l;

	start(_i, 1800);
	opt_setup(&o, &s);
	zero_map(&o.w);
	for (uint32_t i = 0; i < 16 * s.pixels; i++)
		*map_at(rig, &o.g, i % 16, 0, i / 16) = (float)((i & 1 ? -1 : 1) * pow(10, (int)(i / 16) - 15));
	l = adam_launch(&o, &h, false, 1, h.lr);
	rig_ok(rig, &l);
	for (uint32_t i = 0; i < 16 * s.pixels; i++)
		near((double)*map_at(rig, &o.w, i % 16, 0, i / 16), i & 1 ? h.lr : -h.lr, 1e-6 * h.lr, "w", i % 16, i / 16);
	opt_release(&o);
	stop();
}
END_TEST

START_TEST(nesterov_equals_plain_c_bit_for_bit)
{
	const struct shape *s = &shapes[_i % NSHAPES];
	const float decay = 1e-4f, momentum = 0.9f;
	struct optimizer o;
	struct launch l;

	start(_i / NSHAPES, 1900 + _i % NSHAPES);
	opt_setup(&o, s);
	for (int t = 0; t < 5; t++) {
		float rate = t < 3 ? -0.1f : -0.01f, *v = malloc(o.n * sizeof(float)), *w = malloc(o.n * sizeof(float));
		double *was = map_read(rig, &o.w), *speed = map_read(rig, &o.v), *g;

		new_gradient(&o.g);
		g = map_read(rig, &o.g);
		for (uint64_t i = 0; i < o.n; i++) {
			float d = (float)was[i] * decay + (float)g[i];

			v[i] = (float)speed[i] * momentum + d;
			w[i] = (d + v[i] * momentum) * rate + (float)was[i];
			/* The formula itself, too. */
			o.dv[i] = (double)momentum * o.dv[i] + (g[i] + (double)decay * o.dw[i]);
			o.dw[i] += (double)rate * (g[i] + (double)decay * o.dw[i] + (double)momentum * o.dv[i]);
		}
		l = (struct launch){ .kernel = "sgd_nesterov",
				     .blocks = o.w.blocks,
				     .planes = s->planes,
				     .pixels = s->pixels,
				     .nmaps = 3,
				     .map = { &o.w, &o.g, &o.v },
				     .param = { decay, momentum, rate } };
		rig_ok(rig, &l);
		check_state(&o.w, o.dw, o.n, (t + 1) * ldexp(1, -23), 1e-6, "w");
		check_state(&o.v, o.dv, o.n, 0, 2e-6, "v");
		free(was);
		free(speed);
		was = map_read(rig, &o.w);
		speed = map_read(rig, &o.v);
		for (uint64_t i = 0; i < o.n; i++)
			if ((float)was[i] != w[i] || (float)speed[i] != v[i])
				ck_abort_msg("step %d, weight %llu", t, (unsigned long long)i);
		free(was);
		free(speed);
		free(g);
		free(v);
		free(w);
	}
	opt_release(&o);
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("PIM kernels: optimizers");
	TCase *tc = tcase_create("optimizers");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, adam_and_adamw_equal_the_formula_over_many_steps, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, a_weight_without_gradient_stays_or_decays, 0, NCARDS);
	tcase_add_loop_test(tc, the_first_step_of_adam_has_the_length_of_the_rate, 0, NCARDS);
	tcase_add_loop_test(tc, nesterov_equals_plain_c_bit_for_bit, 0, NCARDS * NSHAPES);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
