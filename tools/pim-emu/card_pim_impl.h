/* SPDX-License-Identifier: MIT */
/* Inside of the PIM engine: decoder, lane loops, base die. */
#ifndef PIM_CARD_PIM_IMPL_H
#define PIM_CARD_PIM_IMPL_H

#include "card_impl.h"

#define PIM_LANES 8u /* FP32 lanes of a unit */
#define PIM_GRF_REGS 8u
#define PIM_SRF_REGS 8u
#define PIM_ACC_REGS 4u
#define PIM_PRED_REGS 8u
#define PIM_AAM_COLUMNS 8u
#define PIM_BASE_REGS 16u
#define PIM_BASE_LANES 16u

/* One instruction over n lanes: d = op(a, b, c). The destination may be one of the sources, never a part of one. */
typedef void pim_lanes(void *d, const void *a, const void *b, const void *c, size_t n);
pim_lanes pim_lanes_add, pim_lanes_sub, pim_lanes_mul, pim_lanes_mac, pim_lanes_mad, pim_lanes_max, pim_lanes_min, pim_lanes_mov;
pim_lanes pim_lanes_rcp, pim_lanes_sqrt, pim_lanes_exp;
pim_lanes pim_lanes_eq, pim_lanes_gt, pim_lanes_ge, pim_lanes_ne, pim_lanes_sel;

struct pim_operand {
	uint8_t space; /* enum pim_hw_space */
	uint8_t index;
};

/* A decoded and checked unit instruction. */
struct pim_insn {
	uint8_t op; /* enum pim_hw_opcode */
	uint8_t columns; /* 8 with A, else 1 */
	uint8_t nsrc, nmem;
	bool has_dst;
	uint8_t jump; /* enum pim_hw_jump */
	uint16_t target;
	uint16_t count;
	struct pim_operand dst, src[3];
	pim_lanes *lanes;
};

/* What the instructions do with a stream. */
struct pim_stream_use {
	uint8_t unit, base; /* PIM_HW_READ | PIM_HW_WRITE by unit instructions, by the base die */
	uint16_t unit_where, base_where; /* the first word that does */
};

/* Decodes word n of a program; false: it means nothing. */
bool pim_decode(uint32_t word, uint32_t n, const struct pim_hw_program *p, struct pim_insn *insn);

/* The base-die scalar unit. */
struct pim_base {
	float r[PIM_BASE_REGS][PIM_BASE_LANES];
};
bool pim_base_check(uint32_t word, const struct pim_hw_program *p);

/* Register files of a group of neighbouring units: small enough to stay in the second-level cache of the machine that runs the model. */
struct pim_group {
	uint32_t first, units; /* unit numbers */
	float *grf_a, *grf_b, *srf, *acc, *zero; /* [register][units][lanes] */
	uint32_t *pred; /* all ones or zero per lane */
};

struct card_pim {
	uint32_t units, ngroups;
	struct pim_group *group;
	float *tree; /* one accumulator of all units */
	void *arena;
};

/* Rd = sum over the units of one accumulator. */
void pim_base_reduce(struct card_pim *pim, uint32_t acc, float out[PIM_BASE_LANES]);
void pim_base_broadcast(struct card_pim *pim, uint32_t srf, const float in[PIM_BASE_LANES]);

/* A program in execution. */
struct pim_run {
	struct pim_card *card;
	struct card_job *job;
	struct card_pim *pim;
	const struct pim_hw_program *p;
	struct pim_insn insn[2048];
	uint32_t srf[2048];
	struct pim_stream_use use[PIM_HW_MAX_STREAMS];
	uint64_t stripe;
	uint64_t steps;
	struct pim_base base;
	/* costs */
	uint64_t instructions, limit, check;
	uint64_t mem, reg; /* since the last jump */
	uint64_t open_row[64];
};

/* Runs the base-die program from a word to RET; false: the job has a fault. */
bool pim_base_run(struct pim_run *r, uint32_t word, uint32_t block);

#endif
