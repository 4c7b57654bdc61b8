/* SPDX-License-Identifier: MIT */
/* Inside of the assembler: the instruction tables that assembler and disassembler share, and the rules of a word. */
#ifndef PIM_LIB_ASM_ISA_H
#define PIM_LIB_ASM_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "asm.h"

/* Operand classes: the spaces of the units (enum pim_hw_space), then those of the base die. */
enum { CLASS_BASE = 8, CLASS_PARAM = 9, CLASS_TARGET = 10, CLASS_NUMBER = 11, CLASSES = 12 };

struct isa_operand {
	uint8_t class;
	uint16_t index;
	uint16_t offset; /* stream[offset] of the base die */
};

/*
 * form: one character per operand in source order. Units: d destination, 0 1 2 sources, t target, n count. Base die: d a b c
 * registers, A accumulator, s stream[offset], p parameter, S scalar register of the units.
 */
struct isa_op {
	const char *name;
	const char *form;
	uint8_t opcode;
	uint8_t sub; /* relation of CMP, function of SPEC, kind of JUMP */
};

#define ISA_OPERANDS 4

const struct isa_op *isa_unit_find(const char *name);
const struct isa_op *isa_base_find(const char *name);

/* Operand by its register name (A0, ACC3, r15, zero, M2 ...). */
bool isa_operand_parse(const char *text, struct isa_operand *o);
/* Its name, into at least 16 bytes. */
void isa_operand_print(const struct isa_operand *o, char *buf, size_t len);

/* One word from checked operands; on error the reason (static text) and false. */
bool isa_unit_encode(const struct isa_op *op, bool aam, const struct isa_operand *o, uint32_t *word, const char **why);
bool isa_base_encode(const struct isa_op *op, const struct isa_operand *o, uint32_t *word, const char **why);

/* Operands of one word; NULL if it means nothing. */
const struct isa_op *isa_unit_decode(uint32_t word, bool *aam, struct isa_operand *o);
const struct isa_op *isa_base_decode(uint32_t word, struct isa_operand *o);

#endif
