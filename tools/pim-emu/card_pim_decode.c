// SPDX-License-Identifier: MIT
/* Decoder of the unit instructions: what it refuses never runs. */
#include <string.h>

#include "card_pim_impl.h"

#define BIT(s) (1u << (s))
#define SPACES_SRC (BIT(PIM_S_MEM) | BIT(PIM_S_ZERO) | BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_SRF) | BIT(PIM_S_ACC))
#define SPACES_DST (BIT(PIM_S_MEM) | BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_ACC))

static const uint8_t registers[8] = {
	[PIM_S_MEM] = PIM_HW_MAX_STREAMS, [PIM_S_ZERO] = 1, [PIM_S_GRF_A] = PIM_GRF_REGS, [PIM_S_GRF_B] = PIM_GRF_REGS,
	[PIM_S_SRF] = PIM_SRF_REGS, [PIM_S_ACC] = PIM_ACC_REGS, [PIM_S_PRED] = PIM_PRED_REGS,
};

/* Spaces that a step counts up in an instruction with A: such an operand begins at register 0. */
#define SPACES_COUNTED (BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_PRED))

static const struct form {
	bool known;
	uint8_t nsrc;
	uint8_t dst, src[3]; /* spaces allowed */
	pim_lanes *lanes; /* NULL: i2 selects it */
} forms[16] = {
	[PIM_I_ADD] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_add },
	[PIM_I_MUL] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_mul },
	[PIM_I_MAC] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_mac },
	[PIM_I_MAD] = { true, 3, SPACES_DST, { SPACES_SRC, SPACES_SRC, SPACES_SRC }, pim_lanes_mad },
	[PIM_I_SUB] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_sub },
	[PIM_I_MAX] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_max },
	[PIM_I_MIN] = { true, 2, SPACES_DST, { SPACES_SRC, SPACES_SRC }, pim_lanes_min },
	[PIM_I_MOV] = { true, 1, SPACES_DST, { SPACES_SRC }, pim_lanes_mov },
	[PIM_I_FILL] = { true, 1, SPACES_DST, { BIT(PIM_S_MEM) }, pim_lanes_mov },
	[PIM_I_CMP] = { true, 2, BIT(PIM_S_PRED), { SPACES_SRC, SPACES_SRC }, NULL },
	[PIM_I_SPEC] = { true, 1, SPACES_DST, { SPACES_SRC }, NULL },
	[PIM_I_SEL] = { true, 3, SPACES_DST, { SPACES_SRC, SPACES_SRC, BIT(PIM_S_PRED) }, pim_lanes_sel },
};

static pim_lanes *const relations[] = {
	[PIM_REL_EQ] = pim_lanes_eq,
	[PIM_REL_GT] = pim_lanes_gt,
	[PIM_REL_GE] = pim_lanes_ge,
	[PIM_REL_NE] = pim_lanes_ne,
};

static pim_lanes *const specials[] = {
	[PIM_F_RCP] = pim_lanes_rcp,
	[PIM_F_SQRT] = pim_lanes_sqrt,
	[PIM_F_EXP] = pim_lanes_exp,
};

/* i2 of these is no operand: it says what the instruction does. */
static bool decode_function(uint32_t which, struct pim_insn *insn)
{
	const bool cmp = insn->op == PIM_I_CMP;
	const size_t n = cmp ? sizeof(relations) / sizeof(relations[0]) : sizeof(specials) / sizeof(specials[0]);

	if (which >= n)
		return false;
	insn->lanes = cmp ? relations[which] : specials[which];
	return true;
}

static bool decode_control(uint32_t word, uint32_t n, const struct pim_hw_program *p, struct pim_insn *insn)
{
	insn->target = word & 0x7ff;
	if (insn->op == PIM_I_NOP || insn->op == PIM_I_EXIT)
		return !(word & 0xfffffff);
	if (insn->op == PIM_I_SCAL)
		return !(word & 0xffff800) && insn->target < p->srf_len;
	insn->jump = word >> 26 & 3;
	insn->count = word >> 11 & 0x7fff;
	/* Jumps go back: with an EXIT at the end no program runs off its last word. */
	return insn->target <= n && (insn->jump == PIM_J_COUNT ? insn->count > 0 : insn->count == 0);
}

static bool decode_operand(struct pim_operand *o, uint32_t space, uint32_t index, uint32_t allowed, bool aam,
			   const struct pim_hw_program *p)
{
	if (!(allowed & BIT(space)) || index >= registers[space])
		return false;
	if (space == PIM_S_MEM && index >= p->nstreams)
		return false;
	if (aam && (BIT(space) & SPACES_COUNTED) && index)
		return false;
	o->space = space;
	o->index = index;
	return true;
}

bool pim_decode(uint32_t word, uint32_t n, const struct pim_hw_program *p, struct pim_insn *insn)
{
	uint32_t index[3] = { word >> 4 & 15, word & 15, word >> 12 & 7 };
	uint32_t space[3] = { word >> 22 & 7, word >> 19 & 7, word >> 16 & 7 };
	const struct form *f = &forms[word >> 28];
	bool aam = word >> 15 & 1;
	int i;

	memset(insn, 0, sizeof(*insn));
	insn->op = word >> 28;
	if (insn->op == PIM_I_NOP || insn->op == PIM_I_EXIT || insn->op == PIM_I_SCAL || insn->op == PIM_I_JUMP)
		return decode_control(word, n, p, insn);
	if (!f->known)
		return false;
	insn->columns = aam ? PIM_AAM_COLUMNS : 1;
	insn->nsrc = f->nsrc;
	insn->has_dst = true;
	insn->lanes = f->lanes;
	if (!f->lanes) {
		if (!decode_function(index[2], insn))
			return false;
		index[2] = 0;
	}
	if (!decode_operand(&insn->dst, word >> 25 & 7, word >> 8 & 15, f->dst, aam, p))
		return false;
	for (i = 0; i < 3; i++) {
		if (i < f->nsrc && !decode_operand(&insn->src[i], space[i], index[i], f->src[i], aam, p))
			return false;
		if (i >= f->nsrc && (space[i] || index[i]))
			return false;
		insn->nmem += i < f->nsrc && space[i] == PIM_S_MEM;
	}
	/* A MAC to memory reads its column first. */
	if (insn->dst.space == PIM_S_MEM)
		insn->nmem += insn->op == PIM_I_MAC ? 2 : 1;
	return true;
}
