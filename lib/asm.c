// SPDX-License-Identifier: MIT
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asm.h"
#include "asm_isa.h"
#include "error.h"

#define LINE 512
#define NAMES 64

enum section { SECTION_NONE, SECTION_UNITS, SECTION_BASE, SECTIONS };

static const char *const section_name[SECTIONS] = { "none", ".units", ".base" };

/* A word of the source: .stream, .param or .name. */
struct name {
	char text[PIM_ASM_NAME];
	struct isa_operand o;
};

struct label {
	char text[PIM_ASM_NAME];
	enum section section;
	unsigned int word;
};

/* A word that waits for the place of its label. */
struct fixup {
	char label[PIM_ASM_NAME];
	enum section section; /* of the label */
	unsigned int word, line;
	bool back; /* a jump: its label may not be behind it */
};

struct assembler {
	const char *file;
	unsigned int line;
	struct pim_asm_kernel *k;
	enum section section;
	unsigned int nnames, nlabels, nfixups;
	struct name name[NAMES];
	struct label label[PIM_ASM_CRF + PIM_ASM_SRF];
	struct fixup fixup[PIM_ASM_CRF];
	bool streams[PIM_HW_MAX_STREAMS], params[PIM_HW_MAX_PARAMS];
};

__attribute__((format(printf, 2, 3))) static int fail(const struct assembler *as, const char *fmt, ...)
{
	char text[LINE + 256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return pim_error(-EINVAL, "%s:%u: %s", as->file, as->line, text);
}

/* -- words of the source ---------------------------------------------------------------------------------------------- */

static char *skip(char *s)
{
	while (*s && isspace((unsigned char)*s))
		s++;
	return s;
}

static void trim(char *s)
{
	size_t n = strlen(s);

	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
}

/* Cuts the first word off s; returns what follows. */
static char *cut(char *s)
{
	while (*s && !isspace((unsigned char)*s))
		s++;
	if (*s)
		*s++ = '\0';
	return skip(s);
}

static bool is_identifier(const char *s)
{
	if (!isalpha((unsigned char)*s) && *s != '_')
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return !*s;
}

static int check_identifier(const struct assembler *as, const char *what, const char *s)
{
	if (!is_identifier(s))
		return fail(as, "\"%s\" is no %s: letters, digits and _, not beginning with a digit", s, what);
	if (strlen(s) >= PIM_ASM_NAME)
		return fail(as, "%s \"%s\" is longer than %u characters", what, s, PIM_ASM_NAME - 1);
	return 0;
}

/* The length was checked by check_identifier(). */
static void set_text(char *to, const char *text)
{
	memcpy(to, text, strlen(text) + 1);
}

static const struct name *find_name(const struct assembler *as, const char *text)
{
	for (unsigned int i = 0; i < as->nnames; i++)
		if (!strcmp(as->name[i].text, text))
			return &as->name[i];
	return NULL;
}

/* -- directives ------------------------------------------------------------------------------------------------------- */

static int add_name(struct assembler *as, const char *text, const struct isa_operand *o)
{
	struct isa_operand reg;
	int err = check_identifier(as, "name", text);

	if (err)
		return err;
	if (isa_operand_parse(text, &reg))
		return fail(as, "\"%s\" is a register already: choose another name", text);
	if (find_name(as, text))
		return fail(as, "name \"%s\" is given twice", text);
	if (as->nnames == NAMES)
		return fail(as, "more than %d names", NAMES);
	set_text(as->name[as->nnames].text, text);
	as->name[as->nnames++].o = *o;
	return 0;
}

static int dot_kernel(struct assembler *as, const char *name, char *rest)
{
	int err = check_identifier(as, "kernel name", name);

	if (err)
		return err;
	if (*rest)
		return fail(as, "\"%s\" follows the name: .kernel NAME", rest);
	if (as->k->name[0])
		return fail(as, "a second .kernel: one kernel per file");
	set_text(as->k->name, name);
	return 0;
}

/* .stream NAME Mi and .param NAME Pi number their kind without a gap, so that the number is also the place in the job. */
static int dot_slot(struct assembler *as, const char *name, char *rest, uint8_t class, const char *what)
{
	struct isa_operand o;
	uint32_t *n = class == PIM_S_MEM ? &as->k->nstreams : &as->k->nparams;
	char(*text)[PIM_ASM_NAME] = class == PIM_S_MEM ? as->k->stream : as->k->param;
	int err;

	if (!isa_operand_parse(rest, &o) || o.class != class)
		return fail(as, "\"%s\" is no %s: M0..M7 of .stream NAME Mi, P0..P15 of .param NAME Pi", rest, what);
	if (o.index != *n)
		return fail(as, "%s \"%s\" is %s, the next free one is %c%u", what, name, rest, class == PIM_S_MEM ? 'M' : 'P', *n);
	err = add_name(as, name, &o);
	if (err)
		return err;
	set_text(text[(*n)++], name);
	return 0;
}

static int dot_stream(struct assembler *as, const char *name, char *rest)
{
	return dot_slot(as, name, rest, PIM_S_MEM, "stream");
}

static int dot_param(struct assembler *as, const char *name, char *rest)
{
	return dot_slot(as, name, rest, CLASS_PARAM, "parameter");
}

static int dot_name(struct assembler *as, const char *name, char *rest)
{
	struct isa_operand o;

	if (!isa_operand_parse(rest, &o) || o.class == PIM_S_MEM || o.class == CLASS_PARAM)
		return fail(as, "\"%s\" is no register: .name NAME A0..A7, B0..B7, S0..S7, ACC0..ACC3, PR0..PR7 or r0..r15", rest);
	return add_name(as, name, &o);
}

static int dot_section(struct assembler *as, enum section s, char *rest)
{
	if (*rest)
		return fail(as, "\"%s\" follows %s", rest, section_name[s]);
	as->section = s;
	return 0;
}

static const struct {
	const char *name;
	enum section section; /* SECTION_NONE: it has a name */
	int (*run)(struct assembler *as, const char *name, char *rest);
} directives[] = {
	{ ".kernel", SECTION_NONE, dot_kernel }, { ".stream", SECTION_NONE, dot_stream }, { ".param", SECTION_NONE, dot_param },
	{ ".name", SECTION_NONE, dot_name },	 { ".units", SECTION_UNITS, NULL },	  { ".base", SECTION_BASE, NULL },
};

static int directive(struct assembler *as, char *s)
{
	char *arg = cut(s), *rest;

	for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++) {
		if (strcmp(directives[i].name, s))
			continue;
		if (directives[i].section)
			return dot_section(as, directives[i].section, arg);
		if (!*arg)
			return fail(as, "%s needs a name", s);
		rest = cut(arg);
		return directives[i].run(as, arg, rest);
	}
	return fail(as, "no directive \"%s\": .kernel .stream .param .name .units .base", s);
}

/* -- instructions ----------------------------------------------------------------------------------------------------- */

static int add_label(struct assembler *as, const char *text)
{
	int err = check_identifier(as, "label", text);

	if (err)
		return err;
	if (as->section == SECTION_NONE)
		return fail(as, "label \"%s\" before .units or .base", text);
	for (unsigned int i = 0; i < as->nlabels; i++)
		if (as->label[i].section == as->section && !strcmp(as->label[i].text, text))
			return fail(as, "label \"%s\" is given twice in %s", text, section_name[as->section]);
	if (as->nlabels == sizeof(as->label) / sizeof(as->label[0]))
		return fail(as, "more labels than words");
	set_text(as->label[as->nlabels].text, text);
	as->label[as->nlabels].section = as->section;
	as->label[as->nlabels++].word = as->section == SECTION_UNITS ? as->k->ncrf : as->k->nsrf;
	return 0;
}

static int parse_number(const struct assembler *as, const char *s, unsigned int *n)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);

	if (!isdigit((unsigned char)*s) || *end || v > 0xffff)
		return fail(as, "\"%s\" is no number 0..65535", s);
	*n = (unsigned int)v;
	return 0;
}

static int want_label(struct assembler *as, const char *text, const struct isa_op *op)
{
	struct fixup *f = &as->fixup[as->nfixups];
	int err = check_identifier(as, "label", text);

	if (err)
		return err;
	set_text(f->label, text);
	f->section = op->opcode == PIM_I_SCAL ? SECTION_BASE : SECTION_UNITS;
	f->back = op->opcode == PIM_I_JUMP;
	f->word = as->k->ncrf;
	f->line = as->line;
	as->nfixups++;
	return 0;
}

/* One operand; slot is its character in the instruction's form. */
static int operand(struct assembler *as, char *s, char slot, const struct isa_op *op, struct isa_operand *o)
{
	const struct name *name;
	unsigned int n = 0;
	char *open = NULL;
	int err;

	*o = (struct isa_operand){ .class = CLASS_TARGET };
	if (slot == 't')
		return want_label(as, s, op);
	if (slot == 'n') {
		err = parse_number(as, s, &n);
		*o = (struct isa_operand){ .class = CLASS_NUMBER, .index = (uint16_t)n };
		return err;
	}
	if (slot == 's') {
		open = strchr(s, '[');
		if (!open || s[strlen(s) - 1] != ']')
			return fail(as, "\"%s\": the place in memory is written stream[offset], offset in units of 64 bytes", s);
		s[strlen(s) - 1] = '\0';
		*open = '\0';
		err = parse_number(as, open + 1, &n);
		if (err)
			return err;
	}
	name = find_name(as, s);
	if (name)
		*o = name->o;
	else if (!isa_operand_parse(s, o))
		return fail(as, "\"%s\" is no register, stream or name", s);
	if (o->class == PIM_S_MEM && o->index >= as->k->nstreams)
		return fail(as, "stream M%u is not declared: add .stream NAME M%u", o->index, o->index);
	if (o->class == CLASS_PARAM && o->index >= as->k->nparams)
		return fail(as, "parameter P%u is not declared: add .param NAME P%u", o->index, o->index);
	o->offset = (uint16_t)n;
	return 0;
}

static int operands(struct assembler *as, char *s, const struct isa_op *op, struct isa_operand *o)
{
	size_t want = strlen(op->form), have = *s ? 1 : 0;
	char *next;
	int err;

	for (char *c = s; *c; c++)
		have += *c == ',';
	if (have != want)
		return fail(as, "%s takes %zu operand%s, not %zu", op->name, want, want == 1 ? "" : "s", have);
	for (const char *f = op->form; *f; f++, o++, s = next) {
		s = skip(s);
		next = s + strcspn(s, ",");
		if (*next)
			*next++ = '\0';
		trim(s);
		err = operand(as, s, *f, op, o);
		if (err)
			return err;
	}
	return 0;
}

static void note_access(struct pim_asm_kernel *k, const struct isa_op *op, const struct isa_operand *o, bool unit)
{
	for (const char *f = op->form; *f; f++, o++) {
		if (o->class != PIM_S_MEM)
			continue;
		if (unit)
			k->unit_streams |= (uint8_t)(1u << o->index);
		k->access[o->index] |= (unit ? *f == 'd' : op->opcode == PIM_B_ST) ? PIM_HW_WRITE : PIM_HW_READ;
	}
}

static int instruction(struct assembler *as, char *s)
{
	struct pim_asm_kernel *k = as->k;
	struct isa_operand o[ISA_OPERANDS] = { 0 };
	bool unit = as->section == SECTION_UNITS, aam = false, ok;
	char *rest = cut(s), whole[LINE];
	const struct isa_op *op;
	const char *why = NULL;
	size_t n = strlen(s);
	uint32_t word;
	int err;

	if (as->section == SECTION_NONE)
		return fail(as, "instruction \"%s\" before .units or .base", s);
	snprintf(whole, sizeof(whole), "%s", s);
	if (unit && n > 2 && !strcmp(s + n - 2, ".a")) {
		aam = true;
		s[n - 2] = '\0';
	}
	op = unit ? isa_unit_find(s) : isa_base_find(s);
	if (!op)
		return fail(as, "no instruction \"%s\" in %s%s", whole, section_name[as->section],
			    (unit ? isa_base_find(s) : isa_unit_find(s)) ? ": it belongs to the other section" : "");
	if (unit ? k->ncrf == PIM_ASM_CRF : k->nsrf == PIM_ASM_SRF)
		return fail(as, "the %s program is longer than %u words", unit ? "unit" : "base-die",
			    unit ? PIM_ASM_CRF : PIM_ASM_SRF);
	err = operands(as, rest, op, o);
	if (err)
		return err;
	ok = unit ? isa_unit_encode(op, aam, o, &word, &why) : isa_base_encode(op, o, &word, &why);
	if (!ok)
		return fail(as, "%s: %s", whole, why);
	note_access(k, op, o, unit);
	if (unit)
		k->crf[k->ncrf++] = word;
	else
		k->srf[k->nsrf++] = word;
	return 0;
}

static int one_line(struct assembler *as, char *s)
{
	char *colon;
	int err;

	s[strcspn(s, "#")] = '\0';
	s = skip(s);
	trim(s);
	colon = strchr(s, ':');
	if (colon) {
		*colon = '\0';
		trim(s);
		err = add_label(as, s);
		if (err)
			return err;
		s = skip(colon + 1);
	}
	if (!*s)
		return 0;
	return *s == '.' ? directive(as, s) : instruction(as, s);
}

/* -- the whole program ------------------------------------------------------------------------------------------------ */

static int resolve(struct assembler *as)
{
	for (unsigned int i = 0; i < as->nfixups; i++) {
		const struct fixup *f = &as->fixup[i];
		const struct label *l = as->label, *end = l + as->nlabels;

		as->line = f->line;
		while (l < end && (l->section != f->section || strcmp(l->text, f->label)))
			l++;
		if (l == end)
			return fail(as, "no label \"%s\" in %s", f->label, section_name[f->section]);
		if (f->back && l->word > f->word)
			return fail(as, "label \"%s\" is behind the jump: loops jump back", f->label);
		if (!f->back && l->word >= as->k->nsrf)
			return fail(as, "no instruction follows label \"%s\"", f->label);
		as->k->crf[f->word] |= l->word;
	}
	return 0;
}

static int check_whole(struct assembler *as)
{
	const struct pim_asm_kernel *k = as->k;

	if (!k->name[0])
		return fail(as, "no .kernel NAME");
	if (!k->ncrf || k->crf[k->ncrf - 1] >> 28 != PIM_I_EXIT)
		return fail(as, "the unit program does not end with exit");
	if (k->nsrf && k->srf[k->nsrf - 1] >> 26 != PIM_B_RET)
		return fail(as, "the base-die program does not end with ret");
	for (unsigned int i = 0; i < k->nstreams; i++)
		if (!k->access[i])
			return fail(as, "stream \"%s\" is never used", k->stream[i]);
	return 0;
}

int pim_asm(const char *file, const char *text, struct pim_asm_kernel *k)
{
	struct assembler *as = calloc(1, sizeof(*as));
	char line[LINE];
	int err = 0;

	if (!as)
		return pim_error(-ENOMEM, "%s: no memory to assemble it", file);
	memset(k, 0, sizeof(*k));
	as->file = file;
	as->k = k;
	while (!err && *text) {
		size_t n = strcspn(text, "\n");

		as->line++;
		if (n >= sizeof(line)) {
			err = fail(as, "the line is longer than %d characters", LINE - 1);
			break;
		}
		memcpy(line, text, n);
		line[n] = '\0';
		text += n + (text[n] == '\n');
		err = one_line(as, line);
	}
	if (!err)
		err = resolve(as);
	if (!err)
		err = check_whole(as);
	free(as);
	return err;
}
