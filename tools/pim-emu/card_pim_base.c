// SPDX-License-Identifier: MIT
/* The base-die scalar unit: sixteen channels at a time, what batch norm needs between its two passes. */
#include <math.h>
#include <string.h>

#include "card_pim_impl.h"

#define LANES PIM_BASE_LANES

/* Fields that an opcode uses; all others must be zero. */
enum { D = 1, A = 2, B = 4, C = 8, IMM = 16 };
static const uint8_t fields[64] = {
	[PIM_B_RED] = D | A,
	[PIM_B_LD] = D | A | IMM,
	[PIM_B_ST] = D | A | IMM,
	[PIM_B_PAR] = D | IMM,
	[PIM_B_ADD] = D | A | B,
	[PIM_B_SUB] = D | A | B,
	[PIM_B_MUL] = D | A | B,
	[PIM_B_MAD] = D | A | B | C,
	[PIM_B_MAX] = D | A | B,
	[PIM_B_RCP] = D | A,
	[PIM_B_RSQRT] = D | A,
	[PIM_B_BC] = A | IMM,
	[PIM_B_MOV] = D | A,
	[PIM_B_SQRT] = D | A,
};

bool pim_base_check(uint32_t word, const struct pim_hw_program *p)
{
	uint32_t op = word >> 26, d = word >> 22 & 15, a = word >> 18 & 15, b = word >> 14 & 15, c = word >> 10 & 15, imm = word & 1023;
	uint32_t f = fields[op];

	if (op != PIM_B_RET && !f)
		return false;
	if ((!(f & D) && d) || (!(f & A) && a) || (!(f & B) && b) || (!(f & C) && c) || (!(f & IMM) && imm))
		return false;
	switch (op) {
	case PIM_B_RED:
		return a < PIM_ACC_REGS;
	case PIM_B_LD:
	case PIM_B_ST:
		return a < p->nstreams;
	case PIM_B_PAR:
		return imm < PIM_HW_MAX_PARAMS;
	case PIM_B_BC:
		return imm < PIM_SRF_REGS;
	}
	return true;
}

void pim_base_reduce(struct card_pim *pim, uint32_t acc, float out[LANES])
{
	uint32_t g, h;
	size_t i;

	for (g = 0; g < pim->ngroups; g++) {
		struct pim_group *pg = &pim->group[g];

		memcpy(pim->tree + (size_t)pg->first * PIM_LANES, pg->acc + (size_t)acc * pg->units * PIM_LANES,
		       (size_t)pg->units * PIM_LANES * sizeof(float));
	}
	for (h = pim->units / 2; h >= 2; h /= 2)
		for (i = 0; i < (size_t)h * PIM_LANES; i++)
			pim->tree[i] += pim->tree[i + (size_t)h * PIM_LANES];
	memcpy(out, pim->tree, LANES * sizeof(float));
}

void pim_base_broadcast(struct card_pim *pim, uint32_t srf, const float in[LANES])
{
	uint32_t g, u;

	for (g = 0; g < pim->ngroups; g++) {
		struct pim_group *pg = &pim->group[g];
		float *d = pg->srf + (size_t)srf * pg->units * PIM_LANES;

		for (u = 0; u < pg->units; u++)
			memcpy(d + (size_t)u * PIM_LANES, in + ((pg->first + u) & 1) * PIM_LANES, PIM_LANES * sizeof(float));
	}
}

/* The place of LD and ST; checked for alignment and access before the program began. */
static float *place(struct pim_run *r, uint32_t word, uint32_t stream, uint32_t block, uint32_t imm)
{
	const struct pim_hw_stream *s = &r->p->stream[stream];
	const struct pim_hw_binding *b = &r->job->d.binding[s->binding];
	uint64_t off = s->off + block * s->block_bytes + (uint64_t)imm * LANES * sizeof(float);

	if (off > b->bytes || b->bytes - off < LANES * sizeof(float)) {
		card_fail(r->job, PIM_HW_E_BOUNDS, r->p->crf_len + word, b->base + off, 0);
		return NULL;
	}
	return (float *)(r->card->bar + b->base + off);
}

static float max1(float a, float b)
{
	return a != a || a > b ? a : b;
}

bool pim_base_run(struct pim_run *r, uint32_t word, uint32_t block)
{
	const struct pim_cardfile *cf = &r->card->cf;
	float(*R)[LANES] = r->base.r;
	float *m;
	int i;

	/* Every program ends with RET and has no jumps. */
	for (;; word++) {
		uint32_t w = r->srf[word];
		uint32_t imm = w & 1023;
		float *d = R[w >> 22 & 15];
		const float *a = R[w >> 18 & 15], *b = R[w >> 14 & 15], *c = R[w >> 10 & 15];

		r->job->cost.base_tck += cf->unit_tck;
		switch (w >> 26) {
		case PIM_B_RET:
			return true;
		case PIM_B_RED:
			pim_base_reduce(r->pim, w >> 18 & 15, d);
			r->job->cost.base_tck += cf->red_tck;
			break;
		case PIM_B_LD:
		case PIM_B_ST:
			m = place(r, word, w >> 18 & 15, block, imm);
			if (!m)
				return false;
			if (w >> 26 == PIM_B_LD)
				memcpy(d, m, LANES * sizeof(float));
			else
				memcpy(m, d, LANES * sizeof(float));
			r->job->cost.base_tck += cf->trcd + cf->tccd_l + cf->trp;
			r->job->cost.mem_bytes += LANES * sizeof(float);
			break;
		case PIM_B_PAR:
			for (i = 0; i < (int)LANES; i++)
				memcpy(&d[i], &r->p->param[imm], sizeof(float));
			break;
		case PIM_B_BC:
			pim_base_broadcast(r->pim, imm, a);
			break;
#define EACH(op, expr)                                      \
	case op:                                            \
		for (i = 0; i < (int)LANES; i++)            \
			d[i] = expr;                        \
		break
		EACH(PIM_B_ADD, a[i] + b[i]);
		EACH(PIM_B_SUB, a[i] - b[i]);
		EACH(PIM_B_MUL, a[i] * b[i]);
		EACH(PIM_B_MAD, a[i] * b[i] + c[i]);
		EACH(PIM_B_MAX, max1(a[i], b[i]));
		EACH(PIM_B_RCP, 1.0f / a[i]);
		EACH(PIM_B_RSQRT, 1.0f / sqrtf(a[i]));
		EACH(PIM_B_MOV, a[i]);
		EACH(PIM_B_SQRT, sqrtf(a[i]));
#undef EACH
		}
	}
}
