// SPDX-License-Identifier: MIT
/* Feature maps: where their pixels lie, and moving them to and from one dense block per image. */
#include <string.h>

#include "card_host_impl.h"

#define MAX_DIM (1u << 20)

bool fmap_check(struct pim_card *c, struct card_job *j, const struct pim_hw_fmap *f, uint32_t access, struct fmap *m)
{
	uint64_t plane, block, last;

	memset(m, 0, sizeof(*m));
	if (f->pad || !f->n || !f->c || !f->h || !f->w || !f->wh || !f->ww || f->n > MAX_DIM || f->c > MAX_DIM || f->h > MAX_DIM ||
	    f->w > MAX_DIM || f->wh > PIM_HW_MAX_PLANES || f->ww > PIM_HW_MAX_PLANES || f->h % f->wh || f->w % f->ww || f->off % PIM_HW_BLOCK ||
	    f->block_bytes % PIM_HW_BLOCK || f->plane_bytes % PIM_HW_BLOCK)
		return card_fail(j, PIM_HW_E_INVALID, f->binding, f->off, 0);
	m->f = *f;
	m->blocks = (f->c + 15) / 16;
	m->pixels = (uint64_t)f->h * f->w;
	/* Each factor is below 2^20, the products below 2^60 and 2^66. */
	if (__builtin_mul_overflow(m->pixels / (f->wh * f->ww) * f->n, (uint64_t)PIM_HW_BLOCK, &plane) ||
	    __builtin_mul_overflow((uint64_t)(f->wh * f->ww - 1), f->plane_bytes, &last) || __builtin_add_overflow(last, plane, &last) ||
	    __builtin_mul_overflow((uint64_t)(m->blocks - 1), f->block_bytes, &block) || __builtin_add_overflow(last, block, &last))
		return card_fail(j, PIM_HW_E_BOUNDS, f->binding, f->off, 0);
	/* Planes and blocks that lie in each other would make the result depend on the order of writing. */
	if ((access & PIM_HW_WRITE) && ((f->wh * f->ww > 1 && f->plane_bytes < plane) ||
					(m->blocks > 1 && f->block_bytes < plane + (f->wh * f->ww - 1) * f->plane_bytes)))
		return card_fail(j, PIM_HW_E_INVALID, f->binding, f->off, 0);
	m->base = card_at(c, j, f->binding, f->off, last, access);
	if (!m->base)
		return false;
	m->window = card_in_window(c, j->d.binding[f->binding].base);
	return true;
}

uint8_t *fmap_pixel(const struct fmap *m, uint32_t block, uint32_t image, uint32_t y, uint32_t x)
{
	const struct pim_hw_fmap *f = &m->f;
	uint64_t plane = y % f->wh * f->ww + x % f->ww;
	uint64_t place = ((uint64_t)image * (f->h / f->wh) + y / f->wh) * (f->w / f->ww) + x / f->ww;

	return m->base + block * f->block_bytes + plane * f->plane_bytes + place * PIM_HW_BLOCK;
}

/* One block of one image, to or from pixels x 16 channels. */
static void move_image(const struct fmap *m, uint32_t block, uint32_t image, uint8_t *dense, bool out)
{
	const struct pim_hw_fmap *f = &m->f;
	uint32_t y, x;

	if (f->wh * f->ww == 1) {
		uint8_t *p = fmap_pixel(m, block, image, 0, 0);

		if (out)
			memcpy(p, dense, m->pixels * PIM_HW_BLOCK);
		else
			memcpy(dense, p, m->pixels * PIM_HW_BLOCK);
		return;
	}
	for (y = 0; y < f->h; y++) {
		for (x = 0; x < f->w; x++, dense += PIM_HW_BLOCK) {
			uint8_t *p = fmap_pixel(m, block, image, y, x);

			if (out)
				memcpy(p, dense, PIM_HW_BLOCK);
			else
				memcpy(dense, p, PIM_HW_BLOCK);
		}
	}
}

void fmap_gather(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense)
{
	uint8_t *d = (uint8_t *)dense;
	uint32_t i, b;

	for (i = 0; i < images; i++)
		for (b = 0; b < count; b++, d += m->pixels * PIM_HW_BLOCK)
			move_image(m, first + b, image + i, d, false);
}

void fmap_scatter(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense)
{
	uint8_t *d = (uint8_t *)dense;
	uint32_t i, b;

	for (i = 0; i < images; i++)
		for (b = 0; b < count; b++, d += m->pixels * PIM_HW_BLOCK)
			move_image(m, first + b, image + i, d, true);
}

/* Lanes [from, from + count) of a pixel of a block, to lane "to" of a dense one. */
static void move_lanes(const struct fmap *m, uint32_t block, uint32_t image, uint32_t from, uint32_t count, float *dense,
		       uint32_t to)
{
	uint32_t y, x;

	for (y = 0; y < m->f.h; y++)
		for (x = 0; x < m->f.w; x++, dense += 16)
			memcpy(dense + to, (float *)fmap_pixel(m, block, image, y, x) + from, count * sizeof(float));
}

void fmap_gather_channels(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense)
{
	const uint64_t floats = m->pixels * 16;
	const uint32_t blocks = (count + 15) / 16, shift = first % 16;
	uint32_t i, b, have;

	for (i = 0; i < images; i++) {
		for (b = 0; b < blocks; b++, dense += floats) {
			const uint32_t want = count - b * 16 < 16 ? count - b * 16 : 16, from = first / 16 + b;

			if (want < 16)
				memset(dense, 0, floats * sizeof(float));
			have = 16 - shift < want ? 16 - shift : want;
			move_lanes(m, from, image + i, shift, have, dense, 0);
			if (have < want)
				move_lanes(m, from + 1, image + i, 0, want - have, dense, have);
		}
	}
}

void fmap_copy(const struct fmap *src, const struct fmap *dst)
{
	uint32_t b, i, y, x;

	for (b = 0; b < src->blocks; b++)
		for (i = 0; i < src->f.n; i++)
			for (y = 0; y < src->f.h; y++)
				for (x = 0; x < src->f.w; x++)
					memmove(fmap_pixel(dst, b, i, y, x), fmap_pixel(src, b, i, y, x), PIM_HW_BLOCK);
}

uint64_t fmap_bytes(const struct fmap *m, uint32_t channels)
{
	return m->pixels * m->f.n * channels * sizeof(float);
}
