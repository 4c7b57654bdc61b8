// SPDX-License-Identifier: MIT
/* PIM kernels on the card model against plain C and a double-precision oracle: element-wise, pools, SGD; and what holds for all. */
#include "kernel_case.h"
#include "run_suite.h"

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
} elementwise[] = {{"copy", 1, want_copy},
		   {"relu_fwd", 1, want_relu},
		   {"relu_bwd", 2, want_relu_bwd},
		   {"add", 2, want_add},
		   {"add_relu", 2, want_add_relu}};

static void elementwise_case(const struct shape *s, int op, bool in_place)
{
	struct map a = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0),
		   b = random_map(s->c, s->planes, s->pixels, s->gap, 1, 0);
	struct map y = in_place ? a : empty_map(s);
	double *va = map_read(rig, &a), *vb = map_read(rig, &b), *vy;
	uint32_t nin = (uint32_t)elementwise[op].nin;
	struct launch l = {
		.kernel = elementwise[op].kernel, .blocks = a.blocks, .planes = s->planes, .pixels = s->pixels, .nmaps = nin + 1};
	uint64_t n = (uint64_t)a.blocks * 16 * s->planes * s->pixels;

	l.map[0] = &a;
	l.map[1] = nin == 2 ? &b : &y;
	l.map[nin] = &y;
	rig_ok(rig, &l);
	vy = map_read(rig, &y);
	for (uint64_t i = 0; i < n; i++) {
		float want = elementwise[op].want((float)va[i], (float)vb[i]);

		ck_assert_msg((float)vy[i] == want, "%s: element %llu is %.9g, expected %.9g", l.kernel, (unsigned long long)i,
			      vy[i], (double)want);
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
	const struct shape s = {10, 1, 37, 1};
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
	l = (struct launch){.kernel = "add_relu", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 3, .map = {&a, &b, &y}};
	rig_ok(rig, &l);
	l = (struct launch){.kernel = "relu_bwd", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 3, .map = {&dy, &y, &dx}};
	rig_ok(rig, &l);
	l = (struct launch){.kernel = "copy", .blocks = 1, .planes = 1, .pixels = s.pixels, .nmaps = 2, .map = {&dy, &da}};
	rig_ok(rig, &l);
	va = map_read(rig, &a);
	vb = map_read(rig, &b);
	vdy = map_read(rig, &dy);
	vdx = map_read(rig, &dx);
	vda = map_read(rig, &da);
	for (uint32_t i = 0; i < n; i++) {
		double at = va[i] + vb[i], up = fmax(at + h, 0), down = fmax(at - h, 0);

		if (fabs(at) > 1e-5)
			near(vdx[i], vdy[i] * (up - down) / (2 * h), 1e-8 * (1 + fabs(vdy[i])), "relu(add)", i / s.pixels,
			     i % s.pixels);
		near(vda[i], vdy[i] * ((at + h) - (at - h)) / (2 * h), 1e-8 * (1 + fabs(vdy[i])), "add", i / s.pixels,
		     i % s.pixels);
	}
	free(va);
	free(vb);
	free(vdy);
	free(vdx);
	free(vda);
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
	struct launch l = {.blocks = t->x.blocks, .planes = s->planes, .pixels = s->pixels};

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
				     dy * pool_gradient(pool, window, s->planes, s->pixels, k), 1e-6 * (1 + fabs(dy)),
				     "pool gradient", c, i);
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
	const struct shape s = {16, 4, 150, 1};
	struct pool_case t;

	start(_i, 700);
	t.x = random_map(s.c, s.planes, s.pixels, s.gap, 1, 0);
	/* Three values only, so that nearly every window has a tie; both zeros among them. */
	for (uint32_t c = 0; c < 16; c++)
		for (uint32_t k = 0; k < s.planes; k++)
			for (uint32_t i = 0; i < s.pixels; i++)
				*map_at(rig, &t.x, c, k, i) = (float[]){-1, -0.0f, 0.0f}[random64() % 3];
	pool_run(&t, &s, true);
	for (uint32_t c = 0; c < 16; c++)
		for (uint32_t i = 0; i < s.pixels; i++) {
			const double *window = t.vx + (uint64_t)c * s.planes * s.pixels + i;
			uint32_t first = 0;

			for (uint32_t k = 1; k < s.planes; k++)
				if (window[k * s.pixels] > window[first * s.pixels])
					first = k;
			for (uint32_t k = 0; k < s.planes; k++)
				near(t.vdx[((uint64_t)c * s.planes + k) * s.pixels + i],
				     k == first ? t.vdy[(uint64_t)c * s.pixels + i] : 0, 0, "tie", c, i);
		}
	pool_release(&t);
	stop();
}
END_TEST

/* -- optimizer, and what holds for all -------------------------------------------------------------------------------- */

START_TEST(sgd_equals_plain_c_bit_for_bit)
{
	const struct shape s = {16, 1, 333, 0};
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
		l = (struct launch){.kernel = "sgd",
				    .blocks = 1,
				    .planes = 1,
				    .pixels = s.pixels,
				    .nmaps = 3,
				    .map = {&w, &g, &v},
				    .param = {decay, momentum, rate}};
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
	const struct shape s = {16, 1, 9, 0};

	*l = (struct launch){.kernel = k->name, .blocks = 1, .planes = 1, .pixels = 9, .nmaps = k->nstreams};
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
				ck_assert_msg(done.status == PIM_HW_E_ACCESS, "%s runs without %s access to %s (status %u)",
					      k->name, bit == PIM_HW_READ ? "read" : "write", k->stream[i], done.status);
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

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, element_wise_kernels_equal_plain_c, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, gradients_of_relu_and_add_equal_differences, 0, NCARDS);
	tcase_add_loop_test(tc, pools_equal_the_oracle_and_its_differences, 0, NCARDS * NSHAPES);
	tcase_add_loop_test(tc, a_tie_in_max_pool_goes_to_the_first_plane, 0, NCARDS);
	tcase_add_loop_test(tc, sgd_equals_plain_c_bit_for_bit, 0, NCARDS);
	tcase_add_loop_test(tc, every_kernel_needs_exactly_the_access_it_declares, 0, NCARDS);
	tcase_add_loop_test(tc, every_kernel_gives_the_same_bits_again, 0, NCARDS);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
