// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "asm_isa.h"

#define BIT(n) (1u << (n))
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct isa_op unit_ops[] = {
	{ "nop", "", PIM_I_NOP, 0 },
	{ "add", "d01", PIM_I_ADD, 0 },
	{ "mul", "d01", PIM_I_MUL, 0 },
	{ "mac", "d01", PIM_I_MAC, 0 },
	{ "mad", "d012", PIM_I_MAD, 0 },
	{ "sub", "d01", PIM_I_SUB, 0 },
	{ "max", "d01", PIM_I_MAX, 0 },
	{ "min", "d01", PIM_I_MIN, 0 },
	{ "mov", "d0", PIM_I_MOV, 0 },
	{ "fill", "d0", PIM_I_FILL, 0 },
	{ "cmp.eq", "d01", PIM_I_CMP, PIM_REL_EQ },
	{ "cmp.gt", "d01", PIM_I_CMP, PIM_REL_GT },
	{ "cmp.ge", "d01", PIM_I_CMP, PIM_REL_GE },
	{ "cmp.ne", "d01", PIM_I_CMP, PIM_REL_NE },
	{ "sel", "d012", PIM_I_SEL, 0 },
	{ "rcp", "d0", PIM_I_SPEC, PIM_F_RCP },
	{ "sqrt", "d0", PIM_I_SPEC, PIM_F_SQRT },
	{ "exp", "d0", PIM_I_SPEC, PIM_F_EXP },
	{ "scal", "t", PIM_I_SCAL, 0 },
	{ "jump.count", "nt", PIM_I_JUMP, PIM_J_COUNT },
	{ "jump.step", "t", PIM_I_JUMP, PIM_J_STEP },
	{ "jump.plane", "t", PIM_I_JUMP, PIM_J_PLANE },
	{ "jump.block", "t", PIM_I_JUMP, PIM_J_BLOCK },
	{ "exit", "", PIM_I_EXIT, 0 },
};

static const struct isa_op base_ops[] = {
	{ "ret", "", PIM_B_RET, 0 },
	{ "red", "dA", PIM_B_RED, 0 },
	{ "ld", "ds", PIM_B_LD, 0 },
	{ "st", "sd", PIM_B_ST, 0 },
	{ "par", "dp", PIM_B_PAR, 0 },
	{ "add", "dab", PIM_B_ADD, 0 },
	{ "sub", "dab", PIM_B_SUB, 0 },
	{ "mul", "dab", PIM_B_MUL, 0 },
	{ "mad", "dabc", PIM_B_MAD, 0 },
	{ "max", "dab", PIM_B_MAX, 0 },
	{ "rcp", "da", PIM_B_RCP, 0 },
	{ "rsqrt", "da", PIM_B_RSQRT, 0 },
	{ "bc", "Sa", PIM_B_BC, 0 },
	{ "mov", "da", PIM_B_MOV, 0 },
	{ "sqrt", "da", PIM_B_SQRT, 0 },
};

static const struct register_file {
	const char *prefix;
	uint8_t n; /* 0: the name has no number */
} files[CLASSES] = {
	[PIM_S_MEM] = { "M", PIM_HW_MAX_STREAMS },
	[PIM_S_ZERO] = { "zero", 0 },
	[PIM_S_GRF_A] = { "A", 8 },
	[PIM_S_GRF_B] = { "B", 8 },
	[PIM_S_SRF] = { "S", 8 },
	[PIM_S_ACC] = { "ACC", 4 },
	[PIM_S_PRED] = { "PR", 8 },
	[CLASS_BASE] = { "r", 16 },
	[CLASS_PARAM] = { "P", PIM_HW_MAX_PARAMS },
};

/* Where the fields of a unit instruction are: destination, then sources 0 to 2. */
static const struct field {
	uint8_t space, index, index_bits;
} unit_fields[] = { { 25, 8, 4 }, { 22, 4, 4 }, { 19, 0, 4 }, { 16, 12, 3 } };

#define SOURCES (BIT(PIM_S_MEM) | BIT(PIM_S_ZERO) | BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_SRF) | BIT(PIM_S_ACC))
#define TARGETS (BIT(PIM_S_MEM) | BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_ACC))

static const struct isa_op *find(const struct isa_op *ops, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

const struct isa_op *isa_unit_find(const char *name)
{
	return find(unit_ops, COUNT(unit_ops), name);
}

const struct isa_op *isa_base_find(const char *name)
{
	return find(base_ops, COUNT(base_ops), name);
}

bool isa_operand_parse(const char *text, struct isa_operand *o)
{
	size_t digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
	const char *number = text + digits;
	unsigned int index = 0;

	for (unsigned int c = 0; c < CLASSES; c++) {
		if (!files[c].prefix || strlen(files[c].prefix) != digits || memcmp(files[c].prefix, text, digits))
			continue;
		if (!files[c].n != !*number)
			return false;
		if (*number == '0' && number[1])
			return false;
		for (; *number >= '0' && *number <= '9' && index < files[c].n; number++)
			index = index * 10 + (unsigned int)(*number - '0');
		if (*number || (files[c].n && index >= files[c].n))
			return false;
		*o = (struct isa_operand){ .class = (uint8_t)c, .index = (uint16_t)index };
		return true;
	}
	return false;
}

void isa_operand_print(const struct isa_operand *o, char *buf, size_t len)
{
	if (o->class == CLASS_TARGET || o->class == CLASS_NUMBER)
		snprintf(buf, len, "%u", o->index);
	else if (files[o->class].n)
		snprintf(buf, len, "%s%u", files[o->class].prefix, o->index);
	else
		snprintf(buf, len, "%s", files[o->class].prefix);
}

/* Its i2 is no operand but says what it does: sub. */
static bool has_function(const struct isa_op *op)
{
	return op->opcode == PIM_I_CMP || op->opcode == PIM_I_SPEC;
}

/* Spaces that operand i of a unit instruction may be in. */
static unsigned int allowed(const struct isa_op *op, char slot)
{
	if (slot == 'd')
		return op->opcode == PIM_I_CMP ? BIT(PIM_S_PRED) : op->opcode == PIM_I_MAC ? TARGETS & ~BIT(PIM_S_MEM) : TARGETS;
	if (op->opcode == PIM_I_FILL)
		return BIT(PIM_S_MEM);
	if (op->opcode == PIM_I_SEL && slot == '2')
		return BIT(PIM_S_PRED);
	return SOURCES;
}

static const char *refusal(const struct isa_op *op, char slot)
{
	if (op->opcode == PIM_I_CMP && slot == 'd')
		return "the destination of cmp is a predicate, PR0..PR7";
	if (op->opcode == PIM_I_SEL && slot == '2')
		return "the last operand of sel is a predicate, PR0..PR7";
	if (op->opcode == PIM_I_FILL && slot == '0')
		return "fill loads from a stream; from a register use mov";
	if (op->opcode == PIM_I_MAC && slot == 'd')
		return "the destination of mac is A0..A7, B0..B7 or ACC0..ACC3";
	return slot == 'd' ? "the destination is a stream, A0..A7, B0..B7 or ACC0..ACC3" :
			     "a source is a stream, zero, A0..A7, B0..B7, S0..S7 or ACC0..ACC3";
}

static bool encode_control(const struct isa_op *op, const struct isa_operand *o, uint32_t *word, const char **why)
{
	for (const char *f = op->form; *f; f++, o++) {
		if (*f == 't')
			*word |= o->index;
		if (*f == 'n' && (!o->index || o->index > 0x7fff)) {
			*why = "a count is 1..32767";
			return false;
		}
		if (*f == 'n')
			*word |= (uint32_t)o->index << 11;
	}
	if (op->opcode == PIM_I_JUMP)
		*word |= (uint32_t)op->sub << 26;
	return true;
}

bool isa_unit_encode(const struct isa_op *op, bool aam, const struct isa_operand *o, uint32_t *word, const char **why)
{
	unsigned int mem = 0;

	*word = (uint32_t)op->opcode << 28;
	if (op->form[0] != 'd') {
		*why = "a control instruction has no .a";
		return !aam && encode_control(op, o, word, why);
	}
	for (const char *f = op->form; *f; f++, o++) {
		const struct field *at = &unit_fields[*f == 'd' ? 0 : *f - '0' + 1];

		if (o->class > 7 || !(BIT(o->class) & allowed(op, *f))) {
			*why = refusal(op, *f);
			return false;
		}
		if (aam && o->index && (BIT(o->class) & (BIT(PIM_S_GRF_A) | BIT(PIM_S_GRF_B) | BIT(PIM_S_PRED)))) {
			*why = "with .a the eight columns use registers 0..7 in turn: write A0, B0 or PR0";
			return false;
		}
		mem += o->class == PIM_S_MEM;
		*word |= (uint32_t)o->class << at->space | (uint32_t)o->index << at->index;
	}
	if (mem > 1) {
		*why = "one column command serves one stream: load the other operand into A or B first";
		return false;
	}
	*word |= (uint32_t)aam << 15;
	if (has_function(op))
		*word |= (uint32_t)op->sub << 12;
	return true;
}

/* Class of each operand character of the base die, and the lowest bit of its field. */
static const struct slot {
	char name;
	uint8_t class, shift;
	const char *why;
} slots[] = {
	{ 'd', CLASS_BASE, 22, "this operand is a base-die register, r0..r15" },
	{ 'a', CLASS_BASE, 18, "this operand is a base-die register, r0..r15" },
	{ 'b', CLASS_BASE, 14, "this operand is a base-die register, r0..r15" },
	{ 'c', CLASS_BASE, 10, "this operand is a base-die register, r0..r15" },
	{ 'A', PIM_S_ACC, 18, "red reduces an accumulator, ACC0..ACC3" },
	{ 's', PIM_S_MEM, 18, "the place in memory is written stream[offset], offset in units of 64 bytes" },
	{ 'p', CLASS_PARAM, 0, "par reads a parameter, P0..P15" },
	{ 'S', PIM_S_SRF, 0, "bc writes a scalar register of the units, S0..S7" },
};

static const struct slot *slot_find(char name)
{
	const struct slot *s = slots;

	while (s->name != name)
		s++;
	return s;
}

bool isa_base_encode(const struct isa_op *op, const struct isa_operand *o, uint32_t *word, const char **why)
{
	*word = (uint32_t)op->opcode << 26;
	for (const char *f = op->form; *f; f++, o++) {
		const struct slot *s = slot_find(*f);

		if (o->class != s->class) {
			*why = s->why;
			return false;
		}
		if (o->offset > 1023) {
			*why = "an offset is 0..1023";
			return false;
		}
		*word |= (uint32_t)o->index << s->shift | o->offset;
	}
	return true;
}

const struct isa_op *isa_unit_decode(uint32_t word, bool *aam, struct isa_operand *o)
{
	const char *why;
	uint32_t back;

	for (size_t i = 0; i < COUNT(unit_ops); i++) {
		const struct isa_op *op = &unit_ops[i];
		struct isa_operand *p = o;

		if (op->opcode != word >> 28 || (has_function(op) && op->sub != (word >> 12 & 7)) ||
		    (op->opcode == PIM_I_JUMP && op->sub != (word >> 26 & 3)))
			continue;
		*aam = op->form[0] == 'd' && (word >> 15 & 1);
		for (const char *f = op->form; *f; f++, p++) {
			const struct field *at = &unit_fields[*f == 'd' ? 0 : (*f - '0' + 1) & 3];

			if (*f == 't')
				*p = (struct isa_operand){ .class = CLASS_TARGET, .index = word & 0x7ff };
			else if (*f == 'n')
				*p = (struct isa_operand){ .class = CLASS_NUMBER, .index = word >> 11 & 0x7fff };
			else
				*p = (struct isa_operand){ .class = word >> at->space & 7,
							   .index = word >> at->index & (BIT(at->index_bits) - 1) };
			if (p->class <= PIM_S_PRED && p->index >= (files[p->class].n ? files[p->class].n : 1))
				return NULL;
		}
		/* Bits that no field of the instruction covers must be zero. */
		return isa_unit_encode(op, *aam, o, &back, &why) && back == word ? op : NULL;
	}
	return NULL;
}

const struct isa_op *isa_base_decode(uint32_t word, struct isa_operand *o)
{
	const char *why;
	uint32_t back;

	for (size_t i = 0; i < COUNT(base_ops); i++) {
		const struct isa_op *op = &base_ops[i];
		struct isa_operand *p = o;

		if (op->opcode != word >> 26)
			continue;
		for (const char *f = op->form; *f; f++, p++) {
			const struct slot *s = slot_find(*f);

			*p = (struct isa_operand){ .class = s->class, .index = word >> s->shift & (s->shift ? 15 : 1023) };
			if (*f == 's')
				p->offset = word & 1023;
			if (p->index >= files[p->class].n)
				return NULL;
		}
		return isa_base_encode(op, o, &back, &why) && back == word ? op : NULL;
	}
	return NULL;
}
