// SPDX-License-Identifier: MIT
/* The PIM assembler: encoding, round trip, messages; and the table of kernels that it made. */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pim/device.h>

#include "asm.h"
#include "kernel.h"
#include "run_suite.h"

#define HEAD ".kernel k\n.stream x M0\n.stream y M1\n.param p P0\n"

static uint64_t seed;

static uint32_t random32(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static void seed_from_environment(void)
{
	const char *env = getenv("PIM_TEST_SEED");

	seed = env ? strtoull(env, NULL, 0) : 20240917;
	printf("# seed %llu\n", (unsigned long long)seed);
	seed = seed * 1000003 + 1;
}

static void same(const struct pim_asm_kernel *a, const struct pim_asm_kernel *b)
{
	ck_assert_str_eq(a->name, b->name);
	ck_assert_uint_eq(a->ncrf, b->ncrf);
	ck_assert_uint_eq(a->nsrf, b->nsrf);
	ck_assert_mem_eq(a->crf, b->crf, sizeof(a->crf[0]) * a->ncrf);
	ck_assert_mem_eq(a->srf, b->srf, sizeof(a->srf[0]) * a->nsrf);
	ck_assert_uint_eq(a->nstreams, b->nstreams);
	ck_assert_uint_eq(a->nparams, b->nparams);
	for (uint32_t i = 0; i < a->nstreams; i++)
		ck_assert_str_eq(a->stream[i], b->stream[i]);
	for (uint32_t i = 0; i < a->nparams; i++)
		ck_assert_str_eq(a->param[i], b->param[i]);
}

static void round_trip(const struct pim_asm_kernel *k, struct pim_asm_kernel *again)
{
	static char text[1 << 14];
	int n = pim_dis(k, text, sizeof(text));

	ck_assert_msg(n > 0 && (size_t)n == strlen(text), "%s: %s", k->name, pim_strerror());
	ck_assert_msg(!pim_asm("again", text, again), "%s\n%s", pim_strerror(), text);
	same(k, again);
}

/* -- encoding --------------------------------------------------------------------------------------------------------- */

#define SPACES(dst, s0, s1, s2) ((dst) << 25 | (s0) << 22 | (s1) << 19 | (s2) << 16)
#define F(op, dst, s0, s1, s2, a, i2, id, i0, i1) \
	((uint32_t)(op) << 28 | SPACES(dst, s0, s1, s2) | (a) << 15 | (i2) << 12 | (id) << 8 | (i0) << 4 | (i1))

/* Fields put together by hand as pim/hw.h draws them. */
static const struct {
	const char *text;
	uint32_t word;
} unit_words[] = {
	{ "nop", 0 },
	{ "exit", 0xf0000000 },
	{ "fill.a A0, y", F(9, PIM_S_GRF_A, PIM_S_MEM, 0, 0, 1, 0, 0, 1, 0) },
	{ "fill B5, x", F(9, PIM_S_GRF_B, PIM_S_MEM, 0, 0, 0, 0, 5, 0, 0) },
	{ "mov ACC3, zero", F(8, PIM_S_ACC, PIM_S_ZERO, 0, 0, 0, 0, 3, 0, 0) },
	{ "add A1, B2, S3", F(1, PIM_S_GRF_A, PIM_S_GRF_B, PIM_S_SRF, 0, 0, 0, 1, 2, 3) },
	{ "sub A1, ACC2, y", F(5, PIM_S_GRF_A, PIM_S_ACC, PIM_S_MEM, 0, 0, 0, 1, 2, 1) },
	{ "mul y, A7, S7", F(2, PIM_S_MEM, PIM_S_GRF_A, PIM_S_SRF, 0, 0, 0, 1, 7, 7) },
	{ "mac.a ACC1, A0, B0", F(3, PIM_S_ACC, PIM_S_GRF_A, PIM_S_GRF_B, 0, 1, 0, 1, 0, 0) },
	{ "mad.a A0, x, S4, S6", F(4, PIM_S_GRF_A, PIM_S_MEM, PIM_S_SRF, PIM_S_SRF, 1, 6, 0, 0, 4) },
	{ "mad B7, A1, A2, y", F(4, PIM_S_GRF_B, PIM_S_GRF_A, PIM_S_GRF_A, PIM_S_MEM, 0, 1, 7, 1, 2) },
	{ "max.a y, A0, zero", F(6, PIM_S_MEM, PIM_S_GRF_A, PIM_S_ZERO, 0, 1, 0, 1, 0, 0) },
	{ "min B0, B1, B2", F(7, PIM_S_GRF_B, PIM_S_GRF_B, PIM_S_GRF_B, 0, 0, 0, 0, 1, 2) },
	{ "cmp.eq PR4, x, A2", F(10, PIM_S_PRED, PIM_S_MEM, PIM_S_GRF_A, 0, 0, PIM_REL_EQ, 4, 0, 2) },
	{ "cmp.gt.a PR0, y, zero", F(10, PIM_S_PRED, PIM_S_MEM, PIM_S_ZERO, 0, 1, PIM_REL_GT, 0, 1, 0) },
	{ "cmp.ge PR1, A0, B0", F(10, PIM_S_PRED, PIM_S_GRF_A, PIM_S_GRF_B, 0, 0, PIM_REL_GE, 1, 0, 0) },
	{ "cmp.ne PR1, A0, B0", F(10, PIM_S_PRED, PIM_S_GRF_A, PIM_S_GRF_B, 0, 0, PIM_REL_NE, 1, 0, 0) },
	{ "sel A3, x, zero, PR5", F(11, PIM_S_GRF_A, PIM_S_MEM, PIM_S_ZERO, PIM_S_PRED, 0, 5, 3, 0, 0) },
	{ "rcp ACC3, S2", F(12, PIM_S_ACC, PIM_S_SRF, 0, 0, 0, PIM_F_RCP, 3, 2, 0) },
	{ "sqrt B7, A1", F(12, PIM_S_GRF_B, PIM_S_GRF_A, 0, 0, 0, PIM_F_SQRT, 7, 1, 0) },
	{ "sqrt.a y, B0", F(12, PIM_S_MEM, PIM_S_GRF_B, 0, 0, 1, PIM_F_SQRT, 1, 0, 0) },
	{ "exp.a A0, y", F(12, PIM_S_GRF_A, PIM_S_MEM, 0, 0, 1, PIM_F_EXP, 0, 1, 0) },
	{ "exp ACC0, zero", F(12, PIM_S_ACC, PIM_S_ZERO, 0, 0, 0, PIM_F_EXP, 0, 0, 0) },
	{ "jump.count 300, here", 14u << 28 | PIM_J_COUNT << 26 | 300 << 11 },
	{ "jump.step here", 14u << 28 | PIM_J_STEP << 26 },
	{ "jump.plane here", 14u << 28 | PIM_J_PLANE << 26 },
	{ "jump.block here", 14u << 28 | (uint32_t)PIM_J_BLOCK << 26 },
	{ "scal second", 13u << 28 | 1 },
};

#define B(op, d, a, b, c, imm) ((uint32_t)(op) << 26 | (d) << 22 | (a) << 18 | (b) << 14 | (c) << 10 | (imm))

static const struct {
	const char *text;
	uint32_t word;
} base_words[] = {
	{ "ret", 0 },
	{ "red r3, ACC2", B(1, 3, 2, 0, 0, 0) },
	{ "ld r15, y[1023]", B(2, 15, 1, 0, 0, 1023) },
	{ "st y[7], r9", B(3, 9, 1, 0, 0, 7) },
	{ "par r1, p", B(4, 1, 0, 0, 0, 0) },
	{ "add r1, r2, r3", B(5, 1, 2, 3, 0, 0) },
	{ "sub r1, r2, r3", B(6, 1, 2, 3, 0, 0) },
	{ "mul r1, r2, r3", B(7, 1, 2, 3, 0, 0) },
	{ "mad r1, r2, r3, r4", B(8, 1, 2, 3, 4, 0) },
	{ "max r1, r2, r3", B(9, 1, 2, 3, 0, 0) },
	{ "rcp r8, r9", B(10, 8, 9, 0, 0, 0) },
	{ "rsqrt r8, r9", B(11, 8, 9, 0, 0, 0) },
	{ "bc S7, r2", B(12, 0, 2, 0, 0, 7) },
	{ "mov r1, r0", B(13, 1, 0, 0, 0, 0) },
	{ "sqrt r1, r0", B(14, 1, 0, 0, 0, 0) },
};

#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
/* Uses both streams, so that any one instruction can stand before it. */
#define TAIL "\tld r0, x[0]\n\tld r0, y[0]\n\tret\n"

START_TEST(unit_instructions_have_the_fields_of_the_card_abi)
{
	struct pim_asm_kernel k;
	struct pim_asm_kernel again;
	char text[512], dis[64];

	snprintf(text, sizeof(text), HEAD ".units\nhere: %s\n exit\n.base\n ret\nsecond:" TAIL, unit_words[_i].text);
	ck_assert_msg(!pim_asm("t", text, &k), "%s", pim_strerror());
	ck_assert_msg(k.crf[0] == unit_words[_i].word, "%s: %08x, expected %08x", unit_words[_i].text, k.crf[0],
		      unit_words[_i].word);
	ck_assert_int_eq(pim_dis_unit(k.crf[0], dis, sizeof(dis)), 0);
	round_trip(&k, &again);
}
END_TEST

START_TEST(base_die_instructions_have_the_fields_of_the_card_abi)
{
	struct pim_asm_kernel k;
	char text[512], dis[64];

	snprintf(text, sizeof(text), HEAD ".units\n exit\n.base\n %s\n" TAIL, base_words[_i].text);
	ck_assert_msg(!pim_asm("t", text, &k), "%s", pim_strerror());
	ck_assert_msg(k.srf[0] == base_words[_i].word, "%s: %08x, expected %08x", base_words[_i].text, k.srf[0],
		      base_words[_i].word);
	ck_assert_int_eq(pim_dis_base(k.srf[0], dis, sizeof(dis)), 0);
}
END_TEST

START_TEST(access_follows_from_the_code)
{
	struct pim_asm_kernel k;

	ck_assert_int_eq(pim_asm("t",
				 ".kernel k\n.stream a M0\n.stream b M1\n.stream c M2\n.stream d M3\n.stream e M4\n.units\n"
				 "fill A0, a\nmov b, A0\nadd A0, A0, c\nmov c, A0\nexit\n.base\n"
				 "ld r0, d[0]\nst d[1], r0\nst e[0], r0\nret\n",
				 &k),
			 0);
	ck_assert_uint_eq(k.access[0], PIM_HW_READ);
	ck_assert_uint_eq(k.access[1], PIM_HW_WRITE);
	ck_assert_uint_eq(k.access[2], PIM_HW_READ | PIM_HW_WRITE);
	ck_assert_uint_eq(k.access[3], PIM_HW_READ | PIM_HW_WRITE);
	ck_assert_uint_eq(k.access[4], PIM_HW_WRITE);
	ck_assert_uint_eq(k.unit_streams, 7);
}
END_TEST

/* -- round trip ------------------------------------------------------------------------------------------------------- */

START_TEST(every_kernel_survives_disassembly)
{
	for (size_t i = 0; i < pim_nkernels; i++) {
		const struct pim_kernel *t = &pim_kernels[i];
		struct pim_asm_kernel k = { .ncrf = t->ncrf, .nsrf = t->nsrf, .nstreams = t->nstreams, .nparams = t->nparams };
		struct pim_asm_kernel again;

		snprintf(k.name, sizeof(k.name), "%s", t->name);
		memcpy(k.crf, pim_kernel_image + t->offset / 4, t->ncrf * 4);
		memcpy(k.srf, pim_kernel_image + t->offset / 4 + t->ncrf, t->nsrf * 4);
		for (uint32_t s = 0; s < t->nstreams; s++)
			snprintf(k.stream[s], sizeof(k.stream[s]), "%s", t->stream[s]);
		for (uint32_t p = 0; p < t->nparams; p++)
			snprintf(k.param[p], sizeof(k.param[p]), "%s", t->param[p]);
		round_trip(&k, &again);
		ck_assert_mem_eq(again.access, t->access, sizeof(again.access));
		ck_assert_uint_eq(again.unit_streams, t->unit_streams);
	}
}
END_TEST

/* A random word that means something where it stands. */
static uint32_t random_unit(uint32_t at, uint32_t nsrf)
{
	char text[64];

	for (;;) {
		uint32_t word = random32() ^ random32() << 7;

		/* Most random words have a bit set that their instruction does not use. */
		if (random32() & 1)
			word &= ~0x00070000u;
		if (word >> 28 == PIM_I_JUMP)
			word = (word & ~0x7ffu) | random32() % (at + 1);
		if (word >> 28 == PIM_I_SCAL)
			word = (uint32_t)PIM_I_SCAL << 28 | random32() % nsrf;
		if (!pim_dis_unit(word, text, sizeof(text)))
			return word;
	}
}

static uint32_t random_base(void)
{
	char text[64];

	for (;;) {
		uint32_t word = random32() & (random32() | 0xfffc0000);

		if (!pim_dis_base(word, text, sizeof(text)))
			return word;
	}
}

START_TEST(random_programs_survive_disassembly)
{
	seed_from_environment();
	for (int n = 0; n < 300; n++) {
		struct pim_asm_kernel k = { .name = "random", .nstreams = PIM_HW_MAX_STREAMS, .nparams = PIM_HW_MAX_PARAMS }, again;

		for (uint32_t i = 0; i < PIM_HW_MAX_STREAMS; i++) {
			snprintf(k.stream[i], sizeof(k.stream[i]), "stream_%u", i);
			k.srf[k.nsrf++] = (uint32_t)PIM_B_LD << 26 | i << 18;
		}
		for (uint32_t i = 0; i < PIM_HW_MAX_PARAMS; i++)
			snprintf(k.param[i], sizeof(k.param[i]), "param_%u", i);
		while (k.nsrf < PIM_ASM_SRF - 1)
			k.srf[k.nsrf++] = random_base();
		k.srf[k.nsrf++] = 0;
		for (; k.ncrf < PIM_ASM_CRF - 1; k.ncrf++)
			k.crf[k.ncrf] = random_unit(k.ncrf, k.nsrf);
		k.crf[k.ncrf++] = (uint32_t)PIM_I_EXIT << 28;
		round_trip(&k, &again);
	}
}
END_TEST

static const uint32_t no_unit[] = { 0xc0000000, 0x00000001, 0xf0000001, 0x92000000, 0xd0000800, 0xe0000000,
				    F(1, PIM_S_ZERO, 2, 2, 0, 0, 0, 0, 0, 0), F(1, PIM_S_SRF, 2, 2, 0, 0, 0, 0, 0, 0),
				    F(1, 2, 2, 7, 0, 0, 0, 0, 0, 0),	      F(1, 2, 2, 2, 0, 0, 0, 8, 0, 0),
				    F(1, 2, 5, 2, 0, 0, 0, 0, 4, 0),	      F(1, 2, 2, 2, 0, 1, 0, 1, 0, 0),
				    F(1, 2, 0, 0, 0, 0, 0, 0, 0, 0),	      F(10, 6, 2, 2, 0, 0, 4, 0, 0, 0),
				    F(11, 2, 2, 2, 2, 0, 0, 0, 0, 0),	      F(1, 2, 1, 2, 0, 0, 0, 0, 1, 0),
				    F(12, 2, 2, 0, 0, 0, 3, 0, 0, 0),	      F(12, 2, 2, 0, 0, 0, 7, 0, 0, 0),
				    F(12, 2, 2, 2, 0, 0, 0, 0, 0, 0),	      F(12, 2, 2, 0, 2, 0, 0, 0, 0, 0),
				    F(12, 2, 2, 0, 0, 0, 0, 0, 0, 1),	      F(12, PIM_S_SRF, 2, 0, 0, 0, 0, 0, 0, 0),
				    F(12, 2, 2, 0, 0, 1, 2, 1, 0, 0) };
static const uint32_t no_base[] = { 0x00000001,
				    B(15, 0, 0, 0, 0, 0),
				    B(63, 0, 0, 0, 0, 0),
				    B(1, 0, 4, 0, 0, 0),
				    B(2, 0, 8, 0, 0, 0),
				    B(4, 0, 0, 0, 0, 16),
				    B(12, 0, 0, 0, 0, 8),
				    B(12, 1, 0, 0, 0, 0),
				    B(5, 0, 0, 0, 1, 0) };

START_TEST(words_that_mean_nothing_are_refused)
{
	char text[64];

	for (int i = 0; i < COUNT(no_unit); i++)
		ck_assert_msg(pim_dis_unit(no_unit[i], text, sizeof(text)) == -EINVAL, "%08x", no_unit[i]);
	for (int i = 0; i < COUNT(no_base); i++)
		ck_assert_msg(pim_dis_base(no_base[i], text, sizeof(text)) == -EINVAL, "%08x", no_base[i]);
	ck_assert_int_eq(pim_dis_unit(0xf0000000, text, 3), -ENOSPC);
}
END_TEST

/* -- messages --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *text, *message;
} errors[] = {
	{ "", "t:0: no .kernel NAME" },
	{ ".kernel\n", "t:1: .kernel needs a name" },
	{ ".kernel 1st\n", "t:1: \"1st\" is no kernel name: letters, digits and _, not beginning with a digit" },
	{ ".kernel a_name_of_more_than_thirty_one_letters\n",
	  "t:1: kernel name \"a_name_of_more_than_thirty_one_letters\" is longer than 31 characters" },
	{ ".kernel a b\n", "t:1: \"b\" follows the name: .kernel NAME" },
	{ ".kernel a\n.kernel b\n", "t:2: a second .kernel: one kernel per file" },
	{ HEAD ".stream z M3\n", "t:5: stream \"z\" is M3, the next free one is M2" },
	{ HEAD ".stream z A0\n", "t:5: \"A0\" is no stream: M0..M7 of .stream NAME Mi, P0..P15 of .param NAME Pi" },
	{ HEAD ".stream x M2\n", "t:5: name \"x\" is given twice" },
	{ HEAD ".stream A0 M2\n", "t:5: \"A0\" is a register already: choose another name" },
	{ HEAD ".name z M1\n", "t:5: \"M1\" is no register: .name NAME A0..A7, B0..B7, S0..S7, ACC0..ACC3, PR0..PR7 or r0..r15" },
	{ HEAD ".loop\n", "t:5: no directive \".loop\": .kernel .stream .param .name .units .base" },
	{ HEAD ".units now\n", "t:5: \"now\" follows .units" },
	{ HEAD "add A0, A0, A0\n", "t:5: instruction \"add\" before .units or .base" },
	{ HEAD "here:\n", "t:5: label \"here\" before .units or .base" },
	{ HEAD ".units\nhere:\nhere:\n", "t:7: label \"here\" is given twice in .units" },
	{ HEAD ".units\n\n# comment\n\tdiv A0, A0, A0\n", "t:8: no instruction \"div\" in .units" },
	{ HEAD ".units\nrsqrt r0, r1\n", "t:6: no instruction \"rsqrt\" in .units: it belongs to the other section" },
	{ HEAD ".units\nexit\n.base\nexp r0, r1\n", "t:8: no instruction \"exp\" in .base: it belongs to the other section" },
	{ HEAD ".units\nrcp r0, r1\n", "t:6: rcp: the destination is a stream, A0..A7, B0..B7 or ACC0..ACC3" },
	{ HEAD ".units\nsqrt A0, PR0\n", "t:6: sqrt: a source is a stream, zero, A0..A7, B0..B7, S0..S7 or ACC0..ACC3" },
	{ HEAD ".units\nexp y, x\n", "t:6: exp: one column command serves one stream: load the other operand into A or B first" },
	{ HEAD ".units\nexp A0, A0, A0\n", "t:6: exp takes 2 operands, not 3" },
	{ HEAD ".units\nadd A0, A0\n", "t:6: add takes 3 operands, not 2" },
	{ HEAD ".units\nscal\n", "t:6: scal takes 1 operand, not 0" },
	{ HEAD ".units\nexit now\n", "t:6: exit takes 0 operands, not 1" },
	{ HEAD ".units\nadd A0, A8, A0\n", "t:6: \"A8\" is no register, stream or name" },
	{ HEAD ".units\nadd A0, A00, A0\n", "t:6: \"A00\" is no register, stream or name" },
	{ HEAD ".units\nadd A0, a0, A0\n", "t:6: \"a0\" is no register, stream or name" },
	{ HEAD ".units\nadd A0, , A0\n", "t:6: \"\" is no register, stream or name" },
	{ HEAD ".units\nfill A0, M2\n", "t:6: stream M2 is not declared: add .stream NAME M2" },
	{ HEAD ".units\nfill A0, A1\n", "t:6: fill: fill loads from a stream; from a register use mov" },
	{ HEAD ".units\nadd.a A1, A0, A0\n",
	  "t:6: add.a: with .a the eight columns use registers 0..7 in turn: write A0, B0 or PR0" },
	{ HEAD ".units\nadd A0, x, y\n",
	  "t:6: add: one column command serves one stream: load the other operand into A or B first" },
	{ HEAD ".units\nmov y, x\n", "t:6: mov: one column command serves one stream: load the other operand into A or B first" },
	{ HEAD ".units\nmac y, A0, A0\n", "t:6: mac: the destination of mac is A0..A7, B0..B7 or ACC0..ACC3" },
	{ HEAD ".units\nadd S0, A0, A0\n", "t:6: add: the destination is a stream, A0..A7, B0..B7 or ACC0..ACC3" },
	{ HEAD ".units\nadd A0, PR0, A0\n",
	  "t:6: add: a source is a stream, zero, A0..A7, B0..B7, S0..S7 or ACC0..ACC3" },
	{ HEAD ".units\ncmp.gt A0, A0, A0\n", "t:6: cmp.gt: the destination of cmp is a predicate, PR0..PR7" },
	{ HEAD ".units\nsel A0, A0, A0, A0\n", "t:6: sel: the last operand of sel is a predicate, PR0..PR7" },
	{ HEAD ".units\nl: jump.step.a l\n", "t:6: jump.step.a: a control instruction has no .a" },
	{ HEAD ".units\nl: jump.count 0, l\n", "t:6: jump.count: a count is 1..32767" },
	{ HEAD ".units\nl: jump.count 32768, l\n", "t:6: jump.count: a count is 1..32767" },
	{ HEAD ".units\nl: jump.count -1, l\n", "t:6: \"-1\" is no number 0..65535" },
	{ HEAD ".units\njump.step on\non: exit\n", "t:6: label \"on\" is behind the jump: loops jump back" },
	{ HEAD ".units\njump.step on\nexit\n.base\non: ret\n", "t:6: no label \"on\" in .units" },
	{ HEAD ".units\nscal s\nexit\n", "t:6: no label \"s\" in .base" },
	{ HEAD ".units\nscal s\nexit\n.base\nret\ns:\n", "t:6: no instruction follows label \"s\"" },
	{ HEAD ".units\nexit\n.base\nld r0, x\n",
	  "t:8: \"x\": the place in memory is written stream[offset], offset in units of 64 bytes" },
	{ HEAD ".units\nexit\n.base\nld r0, x[1024]\n", "t:8: ld: an offset is 0..1023" },
	{ HEAD ".units\nexit\n.base\nld r0, p[0]\n",
	  "t:8: ld: the place in memory is written stream[offset], offset in units of 64 bytes" },
	{ HEAD ".units\nexit\n.base\npar r0, P1\n", "t:8: parameter P1 is not declared: add .param NAME P1" },
	{ HEAD ".units\nexit\n.base\npar r16, p\n", "t:8: \"r16\" is no register, stream or name" },
	{ HEAD ".units\nexit\n.base\nadd r0, r0, S0\n", "t:8: add: this operand is a base-die register, r0..r15" },
	{ HEAD ".units\nexit\n.base\nred r0, A0\n", "t:8: red: red reduces an accumulator, ACC0..ACC3" },
	{ HEAD ".units\nexit\n.base\nbc r0, r0\n", "t:8: bc: bc writes a scalar register of the units, S0..S7" },
	{ HEAD ".units\nmov A0, zero\n", "t:6: the unit program does not end with exit" },
	{ HEAD ".units\nexit\n.base\nmov r0, r1\n", "t:8: the base-die program does not end with ret" },
	{ HEAD ".units\nfill A0, x\nexit\n", "t:7: stream \"y\" is never used" },
};

START_TEST(bad_source_is_refused_with_file_line_and_reason)
{
	struct pim_asm_kernel k;

	ck_assert_int_eq(pim_asm("t", errors[_i].text, &k), -EINVAL);
	ck_assert_str_eq(pim_strerror(), errors[_i].message);
}
END_TEST

START_TEST(programs_longer_than_the_card_holds_are_refused)
{
	static char text[1 << 14];
	struct pim_asm_kernel k;

	strcpy(text, HEAD ".units\n");
	for (uint32_t i = 0; i < PIM_ASM_CRF; i++)
		strcat(text, "nop\n");
	strcat(text, "exit\n");
	ck_assert_int_eq(pim_asm("t", text, &k), -EINVAL);
	ck_assert_str_eq(pim_strerror(), "t:38: the unit program is longer than 32 words");
	strcpy(text, HEAD ".units\nexit\n.base\n");
	for (uint32_t i = 0; i < PIM_ASM_SRF; i++)
		strcat(text, "mov r0, r1\n");
	strcat(text, "ret\n");
	ck_assert_int_eq(pim_asm("t", text, &k), -EINVAL);
	ck_assert_str_eq(pim_strerror(), "t:72: the base-die program is longer than 64 words");
	memset(text, ' ', 600);
	text[600] = '\0';
	ck_assert_int_eq(pim_asm("t", text, &k), -EINVAL);
	ck_assert_str_eq(pim_strerror(), "t:1: the line is longer than 511 characters");
}
END_TEST

/* Any bytes at all: an error or a program, never a crash (run it under a sanitizer). */
START_TEST(garbage_is_refused_quietly)
{
	static const char alphabet[] = " \t\n,.:#[]0189AMPSrxy_addfilmovjumpstepexit";
	struct pim_asm_kernel k;
	char text[400];

	seed_from_environment();
	for (int n = 0; n < 20000; n++) {
		size_t at = (size_t)snprintf(text, sizeof(text), "%s", n & 1 ? HEAD ".units\n" : n & 2 ? HEAD ".base\n" : "");
		size_t len = at + random32() % (sizeof(text) - at - 1);

		while (at < len)
			text[at++] = random32() % 50 ? alphabet[random32() % (sizeof(alphabet) - 1)] : (char)(random32() % 255 + 1);
		text[at] = '\0';
		pim_asm("t", text, &k);
	}
}
END_TEST

/* -- the table of kernels --------------------------------------------------------------------------------------------- */

/* The order of streams and parameters is what the scheduler binds by. */
static const struct {
	const char *name, *streams, *params;
} order[] = {
	{ "bn_fwd", "x y param state", "inv_m eps keep momentum unbiased" },
	{ "bn_relu_fwd", "x y param state", "inv_m eps keep momentum unbiased" },
	{ "bn_add_relu_fwd", "x y param state res", "inv_m eps keep momentum unbiased" },
	{ "bn_eval", "x y param state", "inv_m eps" },
	{ "bn_relu_eval", "x y param state", "inv_m eps" },
	{ "bn_add_relu_eval", "x y param state res", "inv_m eps" },
	{ "bn_bwd", "x dy dx param grad state", "inv_m" },
	{ "bn_relu_bwd", "x dy dx param grad state y", "inv_m" },
	{ "bn_add_relu_bwd", "x dy dx param grad state y ds", "inv_m" },
	{ "relu_fwd", "x y", "" },
	{ "relu_bwd", "dy y dx", "" },
	{ "relu6_fwd", "x y", "cap" },
	{ "relu6_bwd", "dy y dx", "cap" },
	{ "leaky_fwd", "x y", "slope" },
	{ "leaky_bwd", "dy y dx", "slope" },
	{ "sigmoid_fwd", "x y", "" },
	{ "sigmoid_bwd", "dy y dx", "" },
	{ "silu_fwd", "x y", "" },
	{ "silu_bwd", "dy x dx", "" },
	{ "mul_fwd", "x s y", "" },
	{ "mul_bwd", "dy x s dx ds", "" },
	{ "sgd_nesterov", "w g v", "decay momentum minus_lr" },
	{ "adam", "w g m v", "decay beta1 minus_step correction eps one_minus_beta1 beta2 one_minus_beta2" },
	{ "adamw", "w g m v", "keep beta1 minus_step correction eps one_minus_beta1 beta2 one_minus_beta2" },
	{ "add", "a b y", "" },
	{ "add_relu", "a b y", "" },
	{ "maxpool_fwd", "x y", "" },
	{ "maxpool_bwd", "x y dy dx", "" },
	{ "avgpool_fwd", "x y", "inv_k" },
	{ "avgpool_bwd", "dy dx", "inv_k" },
	{ "sgd", "w g v", "decay momentum minus_lr" },
	{ "copy", "x y", "" },
};

static void join(char *buf, size_t len, const char *const *name, uint32_t n)
{
	size_t at = 0;

	buf[0] = '\0';
	for (uint32_t i = 0; i < n; i++)
		at += (size_t)snprintf(buf + at, len - at, "%s%s", i ? " " : "", name[i]);
}

START_TEST(kernels_have_the_streams_and_parameters_of_the_contract)
{
	char text[256];

	ck_assert_uint_eq(pim_nkernels, COUNT(order));
	for (int i = 0; i < COUNT(order); i++) {
		const struct pim_kernel *k = pim_kernel_find(order[i].name);

		ck_assert_msg(k, "%s", order[i].name);
		join(text, sizeof(text), k->stream, k->nstreams);
		ck_assert_str_eq(text, order[i].streams);
		join(text, sizeof(text), k->param, k->nparams);
		ck_assert_str_eq(text, order[i].params);
	}
	ck_assert_ptr_null(pim_kernel_find("softmax"));
	ck_assert_ptr_null(pim_kernel_find(""));
}
END_TEST

START_TEST(kernels_lie_one_after_the_other_in_the_image)
{
	uint32_t at = 0;

	for (size_t i = 0; i < pim_nkernels; i++) {
		const struct pim_kernel *k = &pim_kernels[i];

		ck_assert_uint_eq(k->offset, at);
		ck_assert_uint_eq(pim_kernel_image[at / 4 + k->ncrf - 1], (uint32_t)PIM_I_EXIT << 28);
		at += 4 * (k->ncrf + k->nsrf);
	}
	ck_assert_uint_eq(at, pim_kernel_image_bytes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("PIM assembler");
	TCase *tc = tcase_create("asm");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, unit_instructions_have_the_fields_of_the_card_abi, 0, COUNT(unit_words));
	tcase_add_loop_test(tc, base_die_instructions_have_the_fields_of_the_card_abi, 0, COUNT(base_words));
	tcase_add_test(tc, access_follows_from_the_code);
	tcase_add_test(tc, every_kernel_survives_disassembly);
	tcase_add_test(tc, random_programs_survive_disassembly);
	tcase_add_test(tc, words_that_mean_nothing_are_refused);
	tcase_add_loop_test(tc, bad_source_is_refused_with_file_line_and_reason, 0, COUNT(errors));
	tcase_add_test(tc, programs_longer_than_the_card_holds_are_refused);
	tcase_add_test(tc, garbage_is_refused_quietly);
	tcase_add_test(tc, kernels_have_the_streams_and_parameters_of_the_contract);
	tcase_add_test(tc, kernels_lie_one_after_the_other_in_the_image);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
