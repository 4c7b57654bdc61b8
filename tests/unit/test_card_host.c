// SPDX-License-Identifier: MIT
/* The HOST engine: convolutions against naive sums in double precision, whatever the tile and the layout; GEMM, loss, copies. */
#include "test_card_rig.h"

struct map {
	struct pim_hw_fmap f;
	uint64_t base, bytes;
};

static struct rig *rig;
static uint64_t brk_off;

static uint64_t alloc(uint64_t bytes)
{
	uint64_t at = brk_off;

	brk_off += (bytes + 511) & ~255ull;
	ck_assert_uint_le(brk_off, rig->hw->mem_off + rig->hw->mem_bytes);
	memset(rig->bar + at, 0x7f, brk_off - at); /* a large float: what must not be read or written shows */
	return at;
}

static void setup(void)
{
	rig = rig_open("cards/test-4dom.card");
	brk_off = rig->hw->mem_off;
}

static void teardown(void)
{
	rig_close(rig);
}

/* A map whose planes and blocks lie apart by odd numbers of pixels. */
static struct map make_map(uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t wh, uint32_t ww)
{
	struct map m = { .f = { .n = n, .c = c, .h = h, .w = w, .wh = wh, .ww = ww } };
	uint32_t gap = below(4);

	m.f.plane_bytes = 64ull * (n * (h / wh) * (w / ww) + gap);
	m.f.block_bytes = m.f.plane_bytes * wh * ww + 64ull * below(3);
	m.f.off = 64ull * below(3);
	m.bytes = m.f.off + (c + 15) / 16 * m.f.block_bytes;
	m.base = alloc(m.bytes);
	return m;
}

static uint64_t map_off(const struct map *m, uint32_t c, uint32_t i, uint32_t y, uint32_t x)
{
	const struct pim_hw_fmap *f = &m->f;

	return m->base + f->off + c / 16 * f->block_bytes + ((uint64_t)(y % f->wh) * f->ww + x % f->ww) * f->plane_bytes +
	       64ull * (((uint64_t)i * (f->h / f->wh) + y / f->wh) * (f->w / f->ww) + x / f->ww) + 4 * (c % 16);
}

static float *at(const struct map *m, uint32_t c, uint32_t i, uint32_t y, uint32_t x)
{
	return (float *)(rig->bar + map_off(m, c, i, y, x));
}

#define EACH_PIXEL(m, i, y, x)                      \
	for (uint32_t i = 0; i < (m)->f.n; i++)     \
		for (uint32_t y = 0; y < (m)->f.h; y++) \
			for (uint32_t x = 0; x < (m)->f.w; x++)

static void fill_map(const struct map *m)
{
	uint32_t c;

	for (c = 0; c < (m->f.c + 15) / 16 * 16; c++)
		EACH_PIXEL(m, i, y, x)
			*at(m, c, i, y, x) = c < m->f.c ? uniform() : 0;
}

static uint32_t bind_map(struct pim_hw_desc *d, struct map *m, uint32_t access)
{
	m->f.binding = rig_bind(d, m->base, m->bytes, access);
	return m->f.binding;
}

/* A convolution, its operands, and which of them the operation writes. */
struct job {
	struct pim_hw_desc d;
	struct map src, dst;
	uint64_t wei, wei_bytes, bias;
	uint32_t ocb, icb;
};

static float *wei_at(const struct job *j, uint32_t o, uint32_t c, uint32_t y, uint32_t x)
{
	const struct pim_hw_conv *p = &j->d.conv;

	return (float *)(rig->bar + j->wei) + ((((uint64_t)(o / 16) * j->icb + c / 16) * p->kh + y) * p->kw + x) * 256 + c % 16 * 16 + o % 16;
}

static float *bias_at(const struct job *j, uint32_t o)
{
	return (float *)(rig->bar + j->bias) + o;
}

static void bind_conv(struct job *j, uint32_t op, uint32_t flags, uint32_t first, uint32_t count)
{
	struct pim_hw_conv *p = &j->d.conv;

	j->d.op = op;
	j->d.nbindings = 0;
	bind_map(&j->d, &j->src, op == PIM_HW_OP_CONV_BWD_DATA ? PIM_HW_WRITE | PIM_HW_READ : PIM_HW_READ);
	bind_map(&j->d, &j->dst, op == PIM_HW_OP_CONV_FWD ? PIM_HW_WRITE : PIM_HW_READ);
	p->src = j->src.f;
	p->dst = j->dst.f;
	p->wei_binding = rig_bind(&j->d, j->wei, j->wei_bytes, op == PIM_HW_OP_CONV_BWD_WEIGHTS ? PIM_HW_WRITE : PIM_HW_READ);
	p->bias_binding = rig_bind(&j->d, j->bias, j->ocb * 64, op == PIM_HW_OP_CONV_BWD_WEIGHTS ? PIM_HW_WRITE : PIM_HW_READ);
	p->flags = flags;
	p->first = first;
	p->count = count;
}

static void make_conv(struct job *j, uint32_t n, uint32_t ic, uint32_t oc, uint32_t h, uint32_t w, uint32_t kh, uint32_t kw, uint32_t s,
		      uint32_t p, uint32_t swh, uint32_t dwh)
{
	uint32_t oh = (h + 2 * p - kh) / s + 1, ow = (w + 2 * p - kw) / s + 1, o, c, y, x;

	memset(j, 0, sizeof(*j));
	j->src = make_map(n, ic, h, w, swh, swh);
	j->dst = make_map(n, oc, oh, ow, dwh, dwh);
	j->icb = (ic + 15) / 16;
	j->ocb = (oc + 15) / 16;
	j->wei_bytes = 1024ull * j->icb * j->ocb * kh * kw;
	j->wei = alloc(j->wei_bytes);
	j->bias = alloc(64ull * j->ocb);
	j->d.conv = (struct pim_hw_conv){ .kh = kh, .kw = kw, .sh = s, .sw = s, .ph = p, .pw = p, .dh = 1, .dw = 1, .groups = 1 };
	fill_map(&j->src);
	fill_map(&j->dst);
	for (o = 0; o < j->ocb * 16; o++) {
		*bias_at(j, o) = o < oc ? uniform() : 0;
		for (c = 0; c < j->icb * 16; c++)
			for (y = 0; y < kh; y++)
				for (x = 0; x < kw; x++)
					*wei_at(j, o, c, y, x) = o < oc && c < ic ? uniform() : 0;
	}
}

/* The input pixel under tap k of output pixel y; negative: in the padding. */
static int64_t tap(uint32_t y, uint32_t s, uint32_t k, uint32_t p, uint32_t h)
{
	int64_t v = (int64_t)y * s + k - p;

	return v >= 0 && v < h ? v : -1;
}

static void check_value(float got, double want, double scale, const char *what, uint64_t seed)
{
	ck_assert_msg(fabs(got - want) <= 2e-6 * (scale + 1), "RIG_SEED=%llu: %s is %.9g, should be %.9g", (unsigned long long)seed, what,
		      (double)got, want);
}

static void check_forward(const struct job *j, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;

	for (uint32_t o = 0; o < j->ocb * 16; o++) {
		EACH_PIXEL(&j->dst, i, y, x) {
			double sum = 0, scale = 0;

			if (o < j->dst.f.c) {
				sum = p->flags & PIM_HW_CONV_BIAS ? *bias_at(j, o) : 0;
				for (uint32_t c = 0; c < j->src.f.c; c++)
					for (uint32_t ky = 0; ky < p->kh; ky++)
						for (uint32_t kx = 0; kx < p->kw; kx++) {
							int64_t sy = tap(y, p->sh, ky, p->ph, j->src.f.h);
							int64_t sx = tap(x, p->sw, kx, p->pw, j->src.f.w);

							if (sy < 0 || sx < 0)
								continue;
							sum += (double)*at(&j->src, c, i, sy, sx) * *wei_at(j, o, c, ky, kx);
							scale += 1;
						}
			}
			check_value(*at(&j->dst, o, i, y, x), sum, sqrt(scale), "an output", seed);
		}
	}
}

static void check_data(const struct job *j, const float *old, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;
	uint64_t pixels = (uint64_t)j->src.f.n * j->src.f.h * j->src.f.w, k;
	double *sum = calloc(pixels, sizeof(*sum));

	for (uint32_t c = 0; c < j->icb * 16; c++) {
		memset(sum, 0, pixels * sizeof(*sum));
		for (uint32_t o = 0; c < j->src.f.c && o < j->dst.f.c; o++)
			EACH_PIXEL(&j->dst, i, y, x)
				for (uint32_t ky = 0; ky < p->kh; ky++)
					for (uint32_t kx = 0; kx < p->kw; kx++) {
						int64_t sy = tap(y, p->sh, ky, p->ph, j->src.f.h);
						int64_t sx = tap(x, p->sw, kx, p->pw, j->src.f.w);

						if (sy >= 0 && sx >= 0)
							sum[((uint64_t)i * j->src.f.h + sy) * j->src.f.w + sx] +=
								(double)*at(&j->dst, o, i, y, x) * *wei_at(j, o, c, ky, kx);
					}
		k = 0;
		EACH_PIXEL(&j->src, i, y, x) {
			double want = sum[k] + (old ? old[c * pixels + k] : 0);

			check_value(*at(&j->src, c, i, y, x), want, sqrt(p->kh * p->kw * j->dst.f.c), "a gradient of the input", seed);
			k++;
		}
	}
	free(sum);
}

static void check_weights(const struct job *j, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;

	for (uint32_t o = 0; o < j->ocb * 16; o++) {
		double bias = 0;

		EACH_PIXEL(&j->dst, i, y, x)
			bias += o < j->dst.f.c ? *at(&j->dst, o, i, y, x) : 0;
		if (p->flags & PIM_HW_CONV_BIAS)
			check_value(*bias_at(j, o), bias, sqrt(j->dst.f.n * j->dst.f.h * j->dst.f.w), "a gradient of a bias", seed);
		for (uint32_t c = 0; c < j->icb * 16; c++)
			for (uint32_t ky = 0; ky < p->kh; ky++)
				for (uint32_t kx = 0; kx < p->kw; kx++) {
					double sum = 0;

					if (o < j->dst.f.c && c < j->src.f.c)
						EACH_PIXEL(&j->dst, i, y, x) {
							int64_t sy = tap(y, p->sh, ky, p->ph, j->src.f.h);
							int64_t sx = tap(x, p->sw, kx, p->pw, j->src.f.w);

							if (sy >= 0 && sx >= 0)
								sum += (double)*at(&j->dst, o, i, y, x) * *at(&j->src, c, i, sy, sx);
						}
					check_value(*wei_at(j, o, c, ky, kx), sum, sqrt(j->dst.f.n * j->dst.f.h * j->dst.f.w),
						    "a gradient of a weight", seed);
				}
	}
}

static void run_ok(const struct pim_hw_desc *d, uint64_t seed)
{
	struct pim_hw_done done = rig_run(rig, PIM_HW_HOST, d);

	ck_assert_msg(done.status == PIM_HW_OK, "RIG_SEED=%llu: op %u ended with status %u at %u", (unsigned long long)seed, d->op, done.status,
		      done.where);
}

static const struct shape {
	uint32_t n, ic, oc, h, w, kh, kw, s, p, swh, dwh;
} shapes[] = {
	{ 3, 1, 16, 8, 8, 3, 3, 1, 1, 1, 1 }, /* the stem of a digits net */
	{ 2, 16, 32, 8, 8, 3, 3, 1, 1, 1, 2 }, /* into a layout for pooling */
	{ 2, 40, 24, 6, 10, 3, 3, 2, 1, 2, 1 }, /* odd channels, stride, from a pooled layout */
	{ 1, 33, 17, 5, 7, 1, 1, 1, 0, 1, 1 },
	{ 2, 32, 48, 8, 8, 1, 1, 2, 0, 2, 2 }, /* a projection: its last row and column are never read */
	{ 1, 3, 20, 13, 11, 7, 5, 2, 2, 1, 1 },
	{ 5, 16, 10, 4, 4, 4, 4, 1, 0, 1, 1 }, /* the whole map in one output */
	{ 1, 64, 64, 9, 9, 3, 3, 3, 1, 3, 1 },
};
#define NSHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

static void make_shape(struct job *j, const struct shape *s)
{
	make_conv(j, s->n, s->ic, s->oc, s->h, s->w, s->kh, s->kw, s->s, s->p, s->swh, s->dwh);
}

START_TEST(forward_is_the_sum_over_taps_and_input_channels)
{
	uint64_t seed = rng_seed();
	struct job j;

	make_shape(&j, &shapes[_i]);
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

	make_shape(&j, &shapes[_i]);
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

	make_shape(&j, &shapes[_i]);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, _i % 2 ? 0 : PIM_HW_CONV_BIAS, 0, j.ocb * 16);
	run_ok(&j.d, seed);
	check_weights(&j, seed);
}
END_TEST

/* sum of dst x conv(src, weights) + bias in double precision, with the number at "moved" moved by delta. */
static double objective(const struct job *j, const float *moved, double delta)
{
	const struct pim_hw_conv *p = &j->d.conv;
	double sum = 0;

#define VALUE(ptr) ((double)*(ptr) + ((ptr) == moved ? delta : 0))
	for (uint32_t o = 0; o < j->dst.f.c; o++) {
		EACH_PIXEL(&j->dst, i, y, x) {
			double out = VALUE(bias_at(j, o));

			for (uint32_t c = 0; c < j->src.f.c; c++)
				for (uint32_t ky = 0; ky < p->kh; ky++)
					for (uint32_t kx = 0; kx < p->kw; kx++) {
						int64_t sy = tap(y, p->sh, ky, p->ph, j->src.f.h);
						int64_t sx = tap(x, p->sw, kx, p->pw, j->src.f.w);

						if (sy >= 0 && sx >= 0)
							out += VALUE(at(&j->src, c, i, sy, sx)) * VALUE(wei_at(j, o, c, ky, kx));
					}
			sum += out * *at(&j->dst, o, i, y, x);
		}
	}
#undef VALUE
	return sum;
}

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

	make_shape(&j, s);
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
		const float *w = wei_at(&j, below(s->oc), below(s->ic), below(s->kh), below(s->kw)), *b = bias_at(&j, below(s->oc));

		check_slope(&j, w, *w, "a gradient of a weight", seed);
		check_slope(&j, b, *b, "a gradient of a bias", seed);
	}
}
END_TEST

static uint8_t *snapshot(const struct job *j, uint64_t *bytes)
{
	uint8_t *s;

	*bytes = brk_off - rig->hw->mem_off;
	s = malloc(*bytes);
	memcpy(s, rig->bar + rig->hw->mem_off, *bytes);
	(void)j;
	return s;
}

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
		make_shape(&j, &shapes[_i]);
		blocks = ops[k] == PIM_HW_OP_CONV_BWD_DATA ? j.icb : j.ocb;
		before = snapshot(&j, &bytes);
		bind_conv(&j, ops[k], flags, 0, blocks * 16);
		run_ok(&j.d, seed);
		whole = snapshot(&j, &bytes);
		memcpy(rig->bar + rig->hw->mem_off, before, bytes);
		for (b = blocks; b > 0; b -= n) {
			n = 1 + below(b);
			bind_conv(&j, ops[k], flags, (b - n) * 16, n * 16);
			run_ok(&j.d, seed);
		}
		ck_assert_msg(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes), "RIG_SEED=%llu: op %u differs between tiles and the whole",
			      (unsigned long long)seed, ops[k]);
		free(before);
		free(whole);
	}
}
END_TEST

/* More images than are computed together: 64 channels of 64 x 64 pixels, four images fill a chunk. */
START_TEST(many_images_are_cut_the_same_way_for_every_tile)
{
	uint64_t seed = rng_seed(), bytes;
	uint8_t *whole;
	struct job j;

	make_conv(&j, 7, 64, 32, 64, 64, 3, 3, 1, 1, 1, 1);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, 32);
	run_ok(&j.d, seed);
	whole = snapshot(&j, &bytes);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 16, 16);
	run_ok(&j.d, seed);
	bind_conv(&j, PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_CONV_BIAS, 0, 16);
	run_ok(&j.d, seed);
	ck_assert(!memcmp(whole, rig->bar + rig->hw->mem_off, bytes));
	free(whole);
	for (uint32_t o = 0; o < 32; o += 7) {
		double sum = 0;

		EACH_PIXEL(&j.dst, i, y, x)
			sum += *at(&j.dst, o, i, y, x);
		check_value(*bias_at(&j, o), sum, 7 * 64 * 64 / 16, "a gradient of a bias", seed); /* a long sum in FP32 */
	}
}
END_TEST

START_TEST(convolutions_refuse_what_does_not_fit)
{
	struct job good, j;
	struct pim_hw_conv *p = &j.d.conv;

	rng_seed();
	make_conv(&good, 2, 16, 32, 8, 8, 3, 3, 1, 1, 1, 1);
	bind_conv(&good, PIM_HW_OP_CONV_FWD, 0, 0, 32);
#define REFUSED(change, want)                                                                            \
	do {                                                                                             \
		struct pim_hw_done done;                                                                 \
                                                                                                         \
		j = good;                                                                                \
		change;                                                                                  \
		done = rig_run(rig, PIM_HW_HOST, &j.d);                                                  \
		ck_assert_msg(done.status == (want), #change ": status %u at %u", done.status, done.where); \
	} while (0)
	REFUSED((void)0, PIM_HW_OK);
	REFUSED(p->first = 8, PIM_HW_E_INVALID);
	REFUSED(p->count = 48, PIM_HW_E_INVALID);
	REFUSED(p->count = 0, PIM_HW_E_INVALID);
	REFUSED(p->first = UINT32_MAX - 15, PIM_HW_E_INVALID);
	REFUSED(p->kh = 0, PIM_HW_E_INVALID);
	REFUSED(p->sh = 0, PIM_HW_E_INVALID);
	REFUSED(p->ph = 3, PIM_HW_E_INVALID);
	REFUSED(p->dst.h = 7, PIM_HW_E_INVALID);
	REFUSED(p->src.n = 1, PIM_HW_E_INVALID);
	REFUSED(p->src.wh = 3, PIM_HW_E_INVALID);
	REFUSED(p->src.wh = 0, PIM_HW_E_INVALID);
	REFUSED(p->src.c = 0, PIM_HW_E_INVALID);
	REFUSED(p->src.off = 4, PIM_HW_E_INVALID);
	REFUSED(p->src.off = 1ull << 40, PIM_HW_E_BOUNDS);
	REFUSED(p->src.c = 1u << 20, PIM_HW_E_BOUNDS);
	REFUSED((p->dst.block_bytes = 1ull << 63, p->dst.c = 33), PIM_HW_E_BOUNDS);
	REFUSED(p->dst.block_bytes = 64, PIM_HW_E_INVALID); /* blocks in each other */
	REFUSED(p->wei_off = 1024, PIM_HW_E_BOUNDS);
	REFUSED(p->wei_off = ~0ull << 10, PIM_HW_E_BOUNDS);
	REFUSED(p->wei_binding = 4, PIM_HW_E_INVALID);
	REFUSED(p->src.binding = 12, PIM_HW_E_INVALID);
	REFUSED(p->flags = PIM_HW_CONV_ACCUM, PIM_HW_E_INVALID);
	REFUSED(j.d.binding[1].access = PIM_HW_READ, PIM_HW_E_ACCESS);
	REFUSED(j.d.binding[2].access = PIM_HW_WRITE, PIM_HW_E_ACCESS);
	REFUSED(p->flags = 4, PIM_HW_E_INVALID);
#undef REFUSED
}
END_TEST

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
	tcase_add_loop_test(t, forward_is_the_sum_over_taps_and_input_channels, 0, NSHAPES);
	tcase_add_loop_test(t, backward_data_is_the_transposed_sum_and_accumulates, 0, NSHAPES);
	tcase_add_loop_test(t, backward_weights_is_the_sum_over_images_and_pixels, 0, NSHAPES);
	tcase_add_loop_test(t, gradients_of_convolution_are_finite_differences_of_its_forward, 0, NSHAPES);
	tcase_add_loop_test(t, tiles_give_the_bits_of_the_whole, 0, NSHAPES);
	tcase_add_test(t, many_images_are_cut_the_same_way_for_every_tile);
	tcase_add_test(t, convolutions_refuse_what_does_not_fit);
	tcase_add_test(t, gemm_is_the_matrix_product);
	tcase_add_test(t, loss_gradient_and_hits_equal_double_precision);
	tcase_add_test(t, copies_change_the_layout_and_fill_repeats_its_pattern);
	suite_add_tcase(s, t);
	return run_suite(s);
}
