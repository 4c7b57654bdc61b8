// SPDX-License-Identifier: MIT
/* The disassembler: words back to source text that assembles to the same words. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "asm.h"
#include "asm_isa.h"
#include "error.h"

struct out {
	char *buf;
	size_t len, at;
	bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->buf + o->at, o->len - o->at, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= o->len - o->at)
		o->full = true;
	else
		o->at += (size_t)n;
}

/* k gives streams, parameters and targets their names; without it they are numbers. */
static void put_operand(struct out *out, const struct pim_asm_kernel *k, const struct isa_op *op, const struct isa_operand *o,
			char slot)
{
	char text[32];

	isa_operand_print(o, text, sizeof(text));
	if (k && o->class == PIM_S_MEM && o->index < k->nstreams)
		snprintf(text, sizeof(text), "%s", k->stream[o->index]);
	else if (k && o->class == CLASS_PARAM && o->index < k->nparams)
		snprintf(text, sizeof(text), "%s", k->param[o->index]);
	else if (k && o->class == CLASS_TARGET)
		snprintf(text, sizeof(text), "%s%u", op->opcode == PIM_I_SCAL ? "scalar" : "word", o->index);
	put(out, "%s", text);
	if (slot == 's')
		put(out, "[%u]", o->offset);
}

static bool put_word(struct out *out, const struct pim_asm_kernel *k, bool unit, uint32_t word)
{
	struct isa_operand o[ISA_OPERANDS] = {0};
	bool aam = false;
	const struct isa_op *op = unit ? isa_unit_decode(word, &aam, o) : isa_base_decode(word, o);

	if (!op)
		return false;
	put(out, "%s%s", op->name, aam ? ".a" : "");
	for (unsigned int i = 0; op->form[i]; i++) {
		put(out, i ? ", " : "\t");
		put_operand(out, k, op, &o[i], op->form[i]);
	}
	return true;
}

static int dis_word(bool unit, uint32_t word, char *buf, size_t len)
{
	struct out out = {.buf = buf, .len = len};

	if (!put_word(&out, NULL, unit, word))
		return pim_error(-EINVAL, "0x%08x is no instruction of the %s", word, unit ? "units" : "base die");
	return out.full ? pim_error(-ENOSPC, "the text of 0x%08x needs more than %zu bytes", word, len) : 0;
}

int pim_dis_unit(uint32_t word, char *buf, size_t len)
{
	return dis_word(true, word, buf, len);
}

int pim_dis_base(uint32_t word, char *buf, size_t len)
{
	return dis_word(false, word, buf, len);
}

/* Words that a jump or a SCAL leads to: they get a label. */
static void targets(const struct pim_asm_kernel *k, bool *unit, bool *base)
{
	for (uint32_t i = 0; i < k->ncrf; i++) {
		uint32_t word = k->crf[i], target = word & 0x7ff;

		if (word >> 28 == PIM_I_JUMP && target < PIM_ASM_CRF)
			unit[target] = true;
		if (word >> 28 == PIM_I_SCAL && target < PIM_ASM_SRF)
			base[target] = true;
	}
}

static int put_section(struct out *out, const struct pim_asm_kernel *k, bool unit, const bool *labels)
{
	const uint32_t *words = unit ? k->crf : k->srf;
	uint32_t n = unit ? k->ncrf : k->nsrf;

	if (n)
		put(out, "%s\n", unit ? ".units" : ".base");
	for (uint32_t i = 0; i < n; i++) {
		if (labels[i])
			put(out, "%s%u:", unit ? "word" : "scalar", i);
		put(out, "\t");
		if (!put_word(out, k, unit, words[i]))
			return pim_error(-EINVAL, "kernel %s: word %u of the %s program, 0x%08x, is no instruction", k->name, i,
					 unit ? "unit" : "base-die", words[i]);
		put(out, "\n");
	}
	return 0;
}

int pim_dis(const struct pim_asm_kernel *k, char *buf, size_t len)
{
	struct out out = {.buf = buf, .len = len};
	bool unit[PIM_ASM_CRF] = {false}, base[PIM_ASM_SRF] = {false};
	int err;

	targets(k, unit, base);
	put(&out, ".kernel %s\n", k->name);
	for (uint32_t i = 0; i < k->nstreams; i++)
		put(&out, ".stream %s M%u\n", k->stream[i], i);
	for (uint32_t i = 0; i < k->nparams; i++)
		put(&out, ".param %s P%u\n", k->param[i], i);
	err = put_section(&out, k, true, unit);
	if (!err)
		err = put_section(&out, k, false, base);
	if (err)
		return err;
	return out.full ? pim_error(-ENOSPC, "the text of kernel %s needs more than %zu bytes", k->name, len) : (int)out.at;
}
