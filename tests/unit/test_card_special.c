// SPDX-License-Identifier: MIT
/* The special functions of the PIM units: the bits of their definition, their error, special values, and their modelled time. */
#include "test_card_rig.h"
#include "special_oracle.h"

#define VALUES (1u << 20) /* of one program */
#define TIME_OFF 65536u

static struct rig *r;
static float *in, *out;

static void setup(void)
{
	r = rig_open("cards/test-4dom.card");
	rig_own(r, PIM_HW_OWNER_PIM);
	in = (float *)(r->bar + r->hw->mem_off);
	out = in + VALUES;
}

static void teardown(void)
{
	rig_close(r);
}

/* A job of a program that reads n values of stream 0 and writes them to stream 1. */
static struct pim_hw_desc job(const uint32_t *code, uint32_t words, uint32_t n)
{
	struct pim_hw_desc d = { .op = PIM_HW_OP_PROGRAM, .time_off = TIME_OFF, .flags = PIM_HW_JOB_TIMED };
	struct pim_hw_program *p = &d.program;

	rig_bind(&d, r->hw->mem_off, VALUES * 4ull, PIM_HW_READ);
	p->stream[1].binding = rig_bind(&d, r->hw->mem_off + VALUES * 4ull, VALUES * 4ull, PIM_HW_WRITE);
	p->code_binding = d.time_binding = rig_bind(&d, r->hw->window_off, 2 * TIME_OFF, PIM_HW_READ | PIM_HW_WRITE);
	p->nstreams = 2;
	p->blocks = p->planes = 1;
	p->run_bytes = n * 4ull;
	p->crf_len = words;
	memcpy(r->bar + r->hw->window_off, code, words * 4);
	return d;
}

static void run_special(uint32_t which, uint32_t n)
{
	const uint32_t code[] = {
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_MEM, 0, 0, 0, 0, which, 1),
		insn(PIM_I_MOV, PIM_S_MEM, 1, PIM_S_GRF_A, 0, 0, 0, 0, 0, 1),
		jump_to(PIM_J_STEP, 0, 0),
		exit_insn(),
	};
	struct pim_hw_desc d = job(code, 4, n);

	ck_assert_uint_eq(rig_run(r, PIM_HW_PIM, &d).status, PIM_HW_OK);
}

/* Every sign and exponent; of the fractions the ends, and random ones. */
static void fill_values(uint32_t round)
{
	static const uint32_t ends[] = { 0, 1, 2, 0x3fffff, 0x400000, 0x400001, 0x7ffffe, 0x7fffff };
	uint32_t i, u;

	for (i = 0; i < VALUES; i++) {
		u = i % 512 << 23 | (!round && i < 4096 ? ends[i / 512] : (uint32_t)rng() >> 9);
		memcpy(&in[i], &u, 4);
	}
}

/* The half of the exponents that says something of exp: |x| from 2^-26 to 128. */
static void fill_exponents_of_exp(void)
{
	uint32_t i, u;

	for (i = 0; i < VALUES; i++) {
		u = (i & 1u) << 31 | (uint32_t)(101 + i / 2 % 33) << 23 | (uint32_t)rng() >> 9;
		memcpy(&in[i], &u, 4);
	}
}

static void check_bits(uint32_t which)
{
	uint32_t i;

	run_special(which, VALUES);
	for (i = 0; i < VALUES; i++) {
		float want = special_oracle(which, in[i]);

		if (!(isnan(want) && isnan(out[i])) && memcmp(&want, &out[i], 4))
			ck_abort_msg("function %u of %a is %a, should be %a", which, (double)in[i], (double)out[i], (double)want);
	}
}

START_TEST(all_functions_have_the_bits_of_their_definition)
{
	uint32_t round, which;

	rng_seed();
	for (round = 0; round < 3; round++)
		for (which = PIM_F_RCP; which <= PIM_F_EXP; which++) {
			fill_values(round);
			check_bits(which);
		}
	fill_exponents_of_exp();
	check_bits(PIM_F_EXP);
}
END_TEST

/* In units of the last place of the exact result, where that is no less than the smallest denormal. */
static double error_of(float is, double exact)
{
	int e;

	frexp(exact, &e);
	return fabs(is - exact) / ldexp(1, (e < -125 ? -125 : e) - 24);
}

START_TEST(exp_is_within_the_error_that_the_card_abi_names)
{
	double worst = 0;
	uint32_t i, round;

	rng_seed();
	for (round = 0; round < 2; round++) {
		fill_exponents_of_exp();
		for (i = 0; round && i < VALUES; i++)
			in[i] = (float)((double)i / VALUES * (88.7228 + 103.9) - 103.9);
		run_special(PIM_F_EXP, VALUES);
		for (i = 0; i < VALUES; i++) {
			double exact = exp((double)in[i]), error = error_of(out[i], exact);

			/* Where an FP32 number is nearest to it: the ends are another test's. */
			if (in[i] > 88.7228f || in[i] < -103.9f)
				continue;
			worst = fmax(worst, error);
			if (error > 1.03)
				ck_abort_msg("exp(%a) = %a is %.3f ulp off", (double)in[i], (double)out[i], error);
		}
	}
	fprintf(stderr, "exp: at most %.3f ulp\n", worst);
}
END_TEST

#define INF 0x7f800000u
#define NEG 0x80000000u
#define NAN_BITS 0x7fc00000u

static const struct {
	uint32_t which, x, y;
} special_values[] = {
	{ PIM_F_RCP, 0, INF },
	{ PIM_F_RCP, NEG, NEG | INF },
	{ PIM_F_RCP, INF, 0 },
	{ PIM_F_RCP, NEG | INF, NEG },
	{ PIM_F_RCP, NAN_BITS, NAN_BITS },
	{ PIM_F_RCP, NEG | NAN_BITS, NAN_BITS },
	{ PIM_F_RCP, 0x3f800000, 0x3f800000 },
	{ PIM_F_RCP, 0xc0000000, 0xbf000000 },
	{ PIM_F_RCP, 0x40400000, 0x3eaaaaab }, /* 1/3 */
	{ PIM_F_RCP, 1, INF }, /* of the smallest denormal */
	{ PIM_F_RCP, 0x00200000, INF }, /* 2^-128 */
	{ PIM_F_RCP, 0x00200001, 0x7f7ffff8 },
	{ PIM_F_RCP, 0x00400000, 0x7f000000 }, /* 2^-127 */
	{ PIM_F_RCP, 0x7f000000, 0x00400000 }, /* to a denormal */
	{ PIM_F_RCP, 0x7f7fffff, 0x00200000 },
	{ PIM_F_SQRT, 0, 0 },
	{ PIM_F_SQRT, NEG, NEG },
	{ PIM_F_SQRT, INF, INF },
	{ PIM_F_SQRT, NEG | INF, NAN_BITS },
	{ PIM_F_SQRT, 0xbf800000, NAN_BITS },
	{ PIM_F_SQRT, NEG | 1, NAN_BITS },
	{ PIM_F_SQRT, NAN_BITS, NAN_BITS },
	{ PIM_F_SQRT, 0x40800000, 0x40000000 },
	{ PIM_F_SQRT, 0x40000000, 0x3fb504f3 }, /* 2 */
	{ PIM_F_SQRT, 1, 0x1a3504f3 },
	{ PIM_F_SQRT, 2, 0x1a800000 },
	{ PIM_F_SQRT, 0x7f7fffff, 0x5f7fffff },
	{ PIM_F_EXP, 0, 0x3f800000 },
	{ PIM_F_EXP, NEG, 0x3f800000 },
	{ PIM_F_EXP, 1, 0x3f800000 },
	{ PIM_F_EXP, INF, INF },
	{ PIM_F_EXP, NEG | INF, 0 },
	{ PIM_F_EXP, NAN_BITS, NAN_BITS },
	{ PIM_F_EXP, NEG | NAN_BITS, NAN_BITS },
	{ PIM_F_EXP, 0x7fa00000, NAN_BITS }, /* one that signals */
	{ PIM_F_EXP, 0x3f800000, 0x402df854 }, /* e */
	{ PIM_F_EXP, 0x42b17217, 0x7f7fff84 }, /* the last finite one: 88.72283 */
	{ PIM_F_EXP, 0x42b17218, INF },
	{ PIM_F_EXP, 0x42b20000, INF }, /* 89 */
	{ PIM_F_EXP, 0x7f7fffff, INF },
	{ PIM_F_EXP, 0xc2cff1b4, 1 }, /* the last that is not zero: -103.97208 */
	{ PIM_F_EXP, 0xc2cff1b5, 0 },
	{ PIM_F_EXP, 0xc2d00000, 0 }, /* -104 */
	{ PIM_F_EXP, 0xff7fffff, 0 },
};

START_TEST(special_values_give_what_the_card_abi_says)
{
	const uint32_t n = sizeof(special_values) / sizeof(special_values[0]);
	uint32_t i, which, y;

	for (which = PIM_F_RCP; which <= PIM_F_EXP; which++) {
		for (i = 0; i < n; i++)
			memcpy(&in[i], &special_values[i].x, 4);
		run_special(which, n);
		for (i = 0; i < n; i++) {
			memcpy(&y, &out[i], 4);
			if (special_values[i].which != which || (special_values[i].y == NAN_BITS && isnan(out[i])))
				continue;
			ck_assert_msg(y == special_values[i].y, "function %u of %08x is %08x, should be %08x", which,
				      special_values[i].x, y, special_values[i].y);
		}
	}
}
END_TEST

/* Time of a program that loads columns, does one thing, and stores them. */
static struct pim_hw_timing time_of(uint32_t load, uint32_t middle, uint32_t store, uint32_t columns)
{
	const uint32_t code[] = { load, middle, store, jump_to(PIM_J_STEP, 0, 0), exit_insn() };
	struct pim_hw_desc d = job(code, 5, columns * r->hw->stripe_bytes / 4);
	struct pim_hw_timing t;

	ck_assert_uint_eq(rig_run(r, PIM_HW_PIM, &d).status, PIM_HW_OK);
	memcpy(&t, r->bar + r->hw->window_off + TIME_OFF, sizeof(t));
	return t;
}

/* Not hidden by column commands: instructions of registers, at one slot for each column. */
static uint64_t slots(const struct pim_hw_timing *t, uint32_t columns)
{
	uint64_t slot = (uint64_t)columns * r->cf.unit_tck * r->cf.tck_ps / 1000;

	ck_assert_uint_le(t->compute_ns % slot, 1);
	return t->compute_ns / slot;
}

START_TEST(special_functions_take_four_slots_and_moves_one)
{
	const uint32_t n = 1000, load = insn(PIM_I_FILL, PIM_S_GRF_A, 0, PIM_S_MEM, 0, 0, 0, 0, 0, 1),
		       store = insn(PIM_I_MOV, PIM_S_MEM, 1, PIM_S_GRF_A, 0, 0, 0, 0, 0, 1),
		       move = insn(PIM_I_MOV, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, 0, 0, 1);
	struct pim_hw_timing with, moved = time_of(load, move, store, n);
	uint32_t which;

	ck_assert_uint_eq(r->cf.unit_tck, r->cf.tccd_l); /* what the numbers below suppose */
	ck_assert_uint_eq(slots(&moved, n), 1);
	for (which = PIM_F_RCP; which <= PIM_F_EXP; which++) {
		with = time_of(load, insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, 0, which, 1), store, n);
		ck_assert_uint_eq(slots(&with, n), 4);
		ck_assert_uint_eq(with.memory_ns + with.refresh_ns, moved.memory_ns + moved.refresh_ns);
		ck_assert_uint_eq(with.bytes, moved.bytes);
		/* With an operand in memory its column command is one of the four. */
		with = time_of(insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_MEM, 0, 0, 0, 0, which, 1), move, store, n);
		ck_assert_uint_eq(slots(&with, n), 3 + 1);
		with = time_of(load, move, insn(PIM_I_SPEC, PIM_S_MEM, 1, PIM_S_GRF_A, 0, 0, 0, 0, which, 1), n);
		ck_assert_uint_eq(slots(&with, n), 3 + 1);
		ck_assert_uint_eq(with.memory_ns + with.refresh_ns, moved.memory_ns + moved.refresh_ns);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: special functions");
	TCase *t = tcase_create("special");

	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_functions_have_the_bits_of_their_definition);
	tcase_add_test(t, exp_is_within_the_error_that_the_card_abi_names);
	tcase_add_test(t, special_values_give_what_the_card_abi_says);
	tcase_add_test(t, special_functions_take_four_slots_and_moves_one);
	suite_add_tcase(s, t);
	return run_suite(s);
}
