// SPDX-License-Identifier: MIT
/* PIM programs: random ones against a slow scalar oracle, and all that the card must refuse. */
#include "test_card_rig.h"
#include "special_oracle.h"

#define MAX_UNITS 512
#define LANES 8
#define CODE_OFF 256

/* -- the oracle: one unit, one lane, one column at a time, arithmetic in double and then rounded -- */

struct oracle {
	float a[8][MAX_UNITS][LANES], b[8][MAX_UNITS][LANES], srf[8][MAX_UNITS][LANES], acc[4][MAX_UNITS][LANES];
	int pred[8][MAX_UNITS][LANES];
	float base[16][16];
	uint8_t *bar;
	const struct pim_hw_desc *d;
	uint32_t units, stripe, block, plane, steps;
	uint64_t step;
	uint32_t counters[64];
};

static float *oracle_mem(struct oracle *o, uint32_t s, uint32_t u, uint32_t l, uint64_t step)
{
	const struct pim_hw_stream *st = &o->d->program.stream[s];

	return (float *)(o->bar + o->d->binding[st->binding].base + st->off + o->block * st->block_bytes + o->plane * st->plane_bytes +
			 step * o->stripe + u * 32 + l * 4);
}

static float *oracle_place(struct oracle *o, uint32_t space, uint32_t i, uint32_t k, uint32_t u, uint32_t l)
{
	static float zero;

	switch (space) {
	case PIM_S_MEM:
		return oracle_mem(o, i, u, l, o->step + k);
	case PIM_S_GRF_A:
		return &o->a[i + k][u][l];
	case PIM_S_GRF_B:
		return &o->b[i + k][u][l];
	case PIM_S_SRF:
		return &o->srf[i][u][l];
	case PIM_S_ACC:
		return &o->acc[i][u][l];
	}
	zero = 0;
	return &zero;
}

static float pick_max(float x, float y)
{
	if (isnan(x))
		return x;
	if (isnan(y))
		return y;
	return x > y ? x : y;
}

static float pick_min(float x, float y)
{
	if (isnan(x))
		return x;
	if (isnan(y))
		return y;
	return x < y ? x : y;
}

static void oracle_lane(struct oracle *o, uint32_t w, uint32_t k, uint32_t u, uint32_t l)
{
	uint32_t id = w >> 8 & 15, i2 = w >> 12 & 7;
	float x = *oracle_place(o, w >> 22 & 7, w >> 4 & 15, k, u, l), y = *oracle_place(o, w >> 19 & 7, w & 15, k, u, l), z = 0;
	float *d = oracle_place(o, w >> 25 & 7, id, k, u, l), r = 0;

	if (w >> 28 == PIM_I_MAD)
		z = *oracle_place(o, w >> 16 & 7, i2, k, u, l);
	switch (w >> 28) {
	case PIM_I_ADD:
		r = rnd((double)x + y);
		break;
	case PIM_I_SUB:
		r = rnd((double)x - y);
		break;
	case PIM_I_MUL:
		r = rnd((double)x * y);
		break;
	case PIM_I_MAC:
		r = rnd((double)*d + rnd((double)x * y));
		break;
	case PIM_I_MAD:
		r = rnd((double)rnd((double)x * y) + z);
		break;
	case PIM_I_MAX:
		r = pick_max(x, y);
		break;
	case PIM_I_MIN:
		r = pick_min(x, y);
		break;
	case PIM_I_MOV:
	case PIM_I_FILL:
		r = x;
		break;
	case PIM_I_SPEC:
		r = special_oracle(i2, x);
		break;
	case PIM_I_SEL:
		r = o->pred[i2 + k][u][l] ? x : y;
		break;
	case PIM_I_CMP:
		o->pred[id + k][u][l] = i2 == PIM_REL_EQ ? x == y : i2 == PIM_REL_GT ? x > y : i2 == PIM_REL_GE ? x >= y : x != y;
		return;
	}
	memcpy(d, &r, 4);
}

static void oracle_insn(struct oracle *o, uint32_t w)
{
	uint32_t n = w >> 15 & 1 ? 8 : 1, k, u, l;

	for (k = 0; k < n && o->step + k < o->steps; k++)
		for (u = 0; u < o->units; u++)
			if ((o->step + k) * o->stripe + u * 32 < o->d->program.run_bytes)
				for (l = 0; l < LANES; l++)
					oracle_lane(o, w, k, u, l);
}

/* The tree as a recursion: what unit u holds when h units are left. */
static float oracle_tree(struct oracle *o, uint32_t acc, uint32_t h, uint32_t u, uint32_t l)
{
	if (h == o->units)
		return o->acc[acc][u][l];
	return rnd((double)oracle_tree(o, acc, 2 * h, u, l) + oracle_tree(o, acc, 2 * h, u + h, l));
}

static void oracle_base(struct oracle *o, const uint32_t *code, uint32_t at)
{
	const struct pim_hw_program *p = &o->d->program;

	for (;; at++) {
		uint32_t w = code[p->crf_len + at], op = w >> 26, imm = w & 1023, i, u;
		float *d = o->base[w >> 22 & 15], *a = o->base[w >> 18 & 15], *b = o->base[w >> 14 & 15], *c = o->base[w >> 10 & 15], r;
		const struct pim_hw_stream *st = &p->stream[w >> 18 & 7];
		uint8_t *m = o->bar + o->d->binding[st->binding].base + st->off + o->block * st->block_bytes + 64 * imm;

		if (op == PIM_B_RET)
			return;
		for (i = 0; i < 16; i++) {
			r = d[i];
			switch (op) {
			case PIM_B_RED:
				r = oracle_tree(o, w >> 18 & 15, 2, i / 8, i % 8);
				break;
			case PIM_B_LD:
				memcpy(&r, m + 4 * i, 4);
				break;
			case PIM_B_ST:
				memcpy(m + 4 * i, &r, 4);
				break;
			case PIM_B_PAR:
				memcpy(&r, &p->param[imm], 4);
				break;
			case PIM_B_ADD:
				r = rnd((double)a[i] + b[i]);
				break;
			case PIM_B_SUB:
				r = rnd((double)a[i] - b[i]);
				break;
			case PIM_B_MUL:
				r = rnd((double)a[i] * b[i]);
				break;
			case PIM_B_MAD:
				r = rnd((double)rnd((double)a[i] * b[i]) + c[i]);
				break;
			case PIM_B_MAX:
				r = pick_max(a[i], b[i]);
				break;
			case PIM_B_RCP:
				r = rnd(1.0 / a[i]);
				break;
			case PIM_B_SQRT:
				r = rnd(sqrt((double)a[i]));
				break;
			case PIM_B_RSQRT:
				r = rnd(1.0 / rnd(sqrt((double)a[i])));
				break;
			case PIM_B_MOV:
				r = a[i];
				break;
			case PIM_B_BC:
				for (u = i / 8; u < o->units; u += 2)
					o->srf[imm][u][i % 8] = a[i];
				break;
			}
			d[i] = r;
		}
	}
}

static void oracle_run(struct oracle *o, const struct rig *r, uint8_t *bar, const struct pim_hw_desc *d, const uint32_t *code)
{
	const struct pim_hw_program *p = &d->program;
	uint32_t pc = 0;

	memset(o, 0, sizeof(*o));
	o->bar = bar;
	o->d = d;
	o->stripe = r->hw->stripe_bytes;
	o->units = o->stripe / 32;
	o->steps = (p->run_bytes + o->stripe - 1) / o->stripe;
	for (;;) {
		uint32_t w = code[pc], again = 0;

		if (w >> 28 == PIM_I_EXIT)
			return;
		if (w >> 28 == PIM_I_SCAL)
			oracle_base(o, code, w & 0x7ff);
		else if (w >> 28 == PIM_I_JUMP) {
			switch (w >> 26 & 3) {
			case PIM_J_COUNT:
				again = ++o->counters[pc] < (w >> 11 & 0x7fff);
				if (!again)
					o->counters[pc] = 0;
				break;
			case PIM_J_STEP:
				o->step += 8;
				again = o->step < o->steps;
				if (!again)
					o->step = 0;
				break;
			case PIM_J_PLANE:
				again = ++o->plane < p->planes;
				if (!again)
					o->plane = 0;
				break;
			case PIM_J_BLOCK:
				again = ++o->block < p->blocks;
				if (!again)
					o->block = 0;
				break;
			}
			if (again) {
				pc = w & 0x7ff;
				continue;
			}
		} else if (w >> 28 != PIM_I_NOP)
			oracle_insn(o, w);
		pc++;
	}
}

/* -- random programs -- */

static float random_value(void)
{
	static const uint32_t special[] = { 0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 1, 0x80000001, 0x7f7fffff, 0x3f800000, 0xbf800000 };
	float f;

	if (below(12))
		return uniform() * 4;
	memcpy(&f, &special[below(10)], 4);
	return f;
}

static uint32_t random_operand(uint32_t allowed, uint32_t nstreams, uint32_t aam, uint32_t *index)
{
	uint32_t s;

	do
		s = below(7);
	while (!(allowed >> s & 1));
	*index = s == PIM_S_MEM ? below(nstreams) : s == PIM_S_ZERO ? 0 : s == PIM_S_ACC ? below(4) : aam && s != PIM_S_SRF ? 0 : below(8);
	return s;
}

#define SRC 0x3fu /* all but PRED */
#define DST (1u << PIM_S_MEM | 1u << PIM_S_GRF_A | 1u << PIM_S_GRF_B | 1u << PIM_S_ACC)

static uint32_t random_insn(uint32_t nstreams)
{
	static const uint32_t ops[] = { PIM_I_ADD, PIM_I_MUL, PIM_I_MAC, PIM_I_MAD, PIM_I_SUB, PIM_I_MAX,
					PIM_I_MIN, PIM_I_MOV, PIM_I_FILL, PIM_I_CMP, PIM_I_SEL, PIM_I_SPEC };
	uint32_t op = ops[below(12)], aam = below(3) > 0, d, s[3] = { 0, 0, 0 }, id, i[3] = { 0, 0, 0 };

	d = random_operand(op == PIM_I_CMP ? 1u << PIM_S_PRED : DST, nstreams, aam, &id);
	s[0] = random_operand(op == PIM_I_FILL ? 1u << PIM_S_MEM : SRC, nstreams, aam, &i[0]);
	if (op != PIM_I_MOV && op != PIM_I_FILL && op != PIM_I_SPEC)
		s[1] = random_operand(SRC, nstreams, aam, &i[1]);
	if (op == PIM_I_MAD)
		s[2] = random_operand(SRC, nstreams, aam, &i[2]);
	if (op == PIM_I_SEL)
		s[2] = random_operand(1u << PIM_S_PRED, nstreams, aam, &i[2]);
	if (op == PIM_I_CMP)
		i[2] = below(4);
	if (op == PIM_I_SPEC)
		i[2] = below(3);
	return insn(op, d, id, s[0], i[0], s[1], i[1], s[2], i[2], aam);
}

static uint32_t random_base(uint32_t nstreams)
{
	uint32_t op = 1 + below(14), d = below(16), a = below(16), b = below(16), c = below(16);

	switch (op) {
	case PIM_B_RED:
		return base_insn(op, d, below(4), 0, 0, 0);
	case PIM_B_LD:
	case PIM_B_ST:
		return base_insn(op, d, below(nstreams), 0, 0, below(2));
	case PIM_B_PAR:
		return base_insn(op, d, 0, 0, 0, below(16));
	case PIM_B_BC:
		return base_insn(op, 0, a, 0, 0, below(8));
	case PIM_B_MAD:
		return base_insn(op, d, a, b, c, 0);
	case PIM_B_RCP:
	case PIM_B_RSQRT:
	case PIM_B_MOV:
	case PIM_B_SQRT:
		return base_insn(op, d, a, 0, 0, 0);
	}
	return base_insn(op, d, a, b, 0, 0);
}

struct program {
	struct pim_hw_desc d;
	uint32_t code[64];
	uint64_t region, region_bytes; /* memory that its streams share */
};

/* Nested loops of each kind around random instructions, and a random base-die program. */
static void random_program(const struct rig *r, struct program *g)
{
	struct pim_hw_program *p = &g->d.program;
	const uint32_t stripe = r->hw->stripe_bytes;
	uint32_t n = 0, i, step_from, plane_from, block_from, count_from, bytes;

	memset(g, 0, sizeof(*g));
	g->d.op = PIM_HW_OP_PROGRAM;
	p->nstreams = 1 + below(6);
	p->blocks = 1 + below(3);
	p->planes = 1 + below(3);
	p->run_bytes = 1 + below(20 * stripe);
	bytes = (p->run_bytes + stripe - 1) / stripe + 3;
	g->region = r->hw->mem_off + (r->hw->domains - 1) * r->hw->domain_bytes + (uint64_t)below(64) * stripe;
	g->region_bytes = (uint64_t)stripe * 128;
	rig_bind(&g->d, g->region, g->region_bytes, PIM_HW_READ | PIM_HW_WRITE);
	for (i = 0; i < p->nstreams; i++) {
		p->stream[i].off = (uint64_t)below(8) * stripe;
		p->stream[i].plane_bytes = (uint64_t)below(2) * bytes * stripe;
		p->stream[i].block_bytes = (uint64_t)below(3) * bytes / 2 * stripe;
	}
	for (i = 0; i < PIM_HW_MAX_PARAMS; i++) {
		float f = random_value();

		memcpy(&p->param[i], &f, 4);
	}
	p->srf_len = 2 + below(12);
	block_from = n;
	for (i = below(4); i; i--)
		g->code[n++] = random_insn(p->nstreams);
	g->code[n++] = scal(0);
	plane_from = n;
	for (i = below(3); i; i--)
		g->code[n++] = random_insn(p->nstreams);
	step_from = n;
	for (i = 1 + below(6); i; i--)
		g->code[n++] = random_insn(p->nstreams);
	g->code[n++] = jump_to(PIM_J_STEP, 0, step_from);
	g->code[n++] = jump_to(PIM_J_PLANE, 0, plane_from);
	g->code[n++] = scal(below(p->srf_len));
	count_from = n;
	g->code[n++] = random_insn(p->nstreams);
	g->code[n++] = below(2) ? (uint32_t)PIM_I_NOP << 28 : random_insn(p->nstreams);
	g->code[n++] = jump_to(PIM_J_COUNT, 1 + below(3), count_from);
	g->code[n++] = jump_to(PIM_J_BLOCK, 0, block_from);
	g->code[n++] = exit_insn();
	p->crf_len = n;
	for (i = 0; i < p->srf_len - 1; i++)
		g->code[n++] = random_base(p->nstreams);
	g->code[n++] = base_insn(PIM_B_RET, 0, 0, 0, 0, 0);
	p->code_off = CODE_OFF;
	p->code_binding = rig_bind(&g->d, r->hw->window_off, 4096, PIM_HW_READ);
}

static void load_code(struct rig *r, const struct program *g)
{
	memcpy(r->bar + r->hw->window_off + CODE_OFF, g->code, sizeof(g->code));
}

static int same(float a, float b)
{
	return (isnan(a) && isnan(b)) || !memcmp(&a, &b, 4);
}

static void compare_random_programs(const char *path, int rounds)
{
	struct rig *r = rig_open(path);
	struct oracle *o = malloc(sizeof(*o));
	struct program g;
	uint64_t seed = rng_seed(), i;
	uint8_t *copy;
	int round;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy = malloc(256 * r->hw->stripe_bytes);
	for (round = 0; round < rounds; round++) {
		struct pim_hw_done done;
		float *m, *c = (float *)copy;

		random_program(r, &g);
		m = (float *)(r->bar + g.region);
		for (i = 0; i < g.region_bytes / 4; i++)
			m[i] = random_value();
		memcpy(copy, m, g.region_bytes);
		load_code(r, &g);
		done = rig_run(r, PIM_HW_PIM, &g.d);
		ck_assert_msg(done.status == PIM_HW_OK, "RIG_SEED=%llu round %d: status %u at %u", (unsigned long long)seed, round, done.status,
			      done.where);
		oracle_run(o, r, copy - g.region, &g.d, g.code);
		for (i = 0; i < g.region_bytes / 4; i++)
			ck_assert_msg(same(m[i], c[i]), "RIG_SEED=%llu round %d: word %llu is %a, should be %a", (unsigned long long)seed, round,
				      (unsigned long long)i, (double)m[i], (double)c[i]);
	}
	free(copy);
	free(o);
	rig_close(r);
}

START_TEST(random_programs_on_four_and_eight_units_equal_the_oracle)
{
	compare_random_programs("cards/test-4dom.card", 300);
	compare_random_programs("cards/test-8dom.card", 300);
}
END_TEST

START_TEST(random_programs_on_256_units_equal_the_oracle)
{
	compare_random_programs("cards/paper.card", 12);
}
END_TEST

START_TEST(random_programs_on_512_units_equal_the_oracle)
{
	compare_random_programs("cards/hbm-pim.card", 6);
}
END_TEST

/* -- refusals -- */

/* A program that copies stream 0 to stream 1, and runs. */
static void copy_program(const struct rig *r, struct program *g)
{
	struct pim_hw_program *p = &g->d.program;
	const uint32_t stripe = r->hw->stripe_bytes;

	memset(g, 0, sizeof(*g));
	g->d.op = PIM_HW_OP_PROGRAM;
	g->region = r->hw->mem_off;
	rig_bind(&g->d, g->region, 16ull * stripe, PIM_HW_READ);
	rig_bind(&g->d, g->region + 16ull * stripe, 16ull * stripe, PIM_HW_WRITE);
	p->code_binding = rig_bind(&g->d, r->hw->window_off, 4096, PIM_HW_READ);
	p->code_off = CODE_OFF;
	p->nstreams = 2;
	p->stream[1].binding = 1;
	p->blocks = 1;
	p->planes = 1;
	p->run_bytes = 16ull * stripe;
	g->code[0] = insn(PIM_I_FILL, PIM_S_GRF_A, 0, PIM_S_MEM, 0, 0, 0, 0, 0, 1);
	g->code[1] = insn(PIM_I_MOV, PIM_S_MEM, 1, PIM_S_GRF_A, 0, 0, 0, 0, 0, 1);
	g->code[2] = jump_to(PIM_J_STEP, 0, 0);
	g->code[3] = exit_insn();
	p->crf_len = 4;
}

static struct pim_hw_done run_program(struct rig *r, const struct program *g)
{
	load_code(r, g);
	return rig_run(r, PIM_HW_PIM, &g->d);
}

START_TEST(a_copy_moves_what_it_should_and_nothing_else)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct program g;
	uint8_t *m;
	uint64_t bytes, i;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	g.d.program.run_bytes -= 3 * 32; /* the last three units idle in the last step */
	bytes = g.d.program.run_bytes;
	m = r->bar + g.region;
	for (i = 0; i < 16 * r->hw->stripe_bytes; i++)
		m[i] = i * 7 + 1;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_OK);
	ck_assert(!memcmp(m + 16 * r->hw->stripe_bytes, m, bytes));
	for (i = bytes; i < 16 * r->hw->stripe_bytes; i++)
		ck_assert_uint_eq(m[16 * r->hw->stripe_bytes + i], 0);
	rig_close(r);
}
END_TEST

START_TEST(streams_off_the_stripe_are_locality_errors)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct program g;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	g.d.program.stream[0].off = 64;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	copy_program(r, &g);
	g.d.program.stream[1].plane_bytes = 32;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	ck_assert_uint_eq(run_program(r, &g).where, 1);
	copy_program(r, &g);
	g.d.program.stream[1].block_bytes = 96;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	copy_program(r, &g);
	g.d.binding[0].base += 64;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	/* The host window has no units behind it. */
	copy_program(r, &g);
	g.d.binding[0].base = r->hw->window_off + 65536;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	/* Units of one domain do not reach the banks of another. */
	copy_program(r, &g);
	g.d.binding[1].base += r->hw->domain_bytes;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	copy_program(r, &g);
	g.d.binding[0].base = r->hw->mem_off + r->hw->domain_bytes - r->hw->stripe_bytes;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_LOCALITY);
	rig_close(r);
}
END_TEST

START_TEST(a_column_outside_its_binding_is_a_bounds_error_with_word_unit_and_address)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct pim_hw_done done;
	struct program g;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	g.d.binding[1].bytes = 11 * r->hw->stripe_bytes + 5 * 32;
	done = run_program(r, &g);
	ck_assert_uint_eq(done.status, PIM_HW_E_BOUNDS);
	ck_assert_uint_eq(done.where, 1);
	ck_assert_uint_eq(done.unit, 5);
	ck_assert_uint_eq(done.address, g.d.binding[1].base + g.d.binding[1].bytes);
	copy_program(r, &g);
	g.d.program.stream[0].off = 1ull << 63;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	copy_program(r, &g);
	g.d.program.blocks = UINT32_MAX;
	g.d.program.stream[0].block_bytes = 1ull << 40;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	copy_program(r, &g);
	g.d.program.run_bytes = UINT64_MAX;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	/* A binding outside the memory, and one that wraps. */
	copy_program(r, &g);
	g.d.binding[0].base = r->hw->mem_off + r->hw->mem_bytes;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	copy_program(r, &g);
	g.d.binding[0].bytes = UINT64_MAX - r->hw->mem_off;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	/* The registers and rings are no memory. */
	copy_program(r, &g);
	g.d.binding[0].base = PIM_HW_CONTROL_OFF;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	/* The program itself. */
	copy_program(r, &g);
	g.d.program.code_off = 4092;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_BOUNDS);
	rig_close(r);
}
END_TEST

START_TEST(reading_and_writing_need_their_permission)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct program g;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	g.d.binding[0].access = PIM_HW_WRITE;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_ACCESS);
	copy_program(r, &g);
	g.d.binding[1].access = PIM_HW_READ;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_ACCESS);
	copy_program(r, &g);
	g.d.binding[2].access = PIM_HW_WRITE;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_ACCESS);
	/* MAC to memory reads its destination. */
	copy_program(r, &g);
	g.code[1] = insn(PIM_I_MAC, PIM_S_MEM, 1, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, 1);
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_ACCESS);
	rig_close(r);
}
END_TEST

START_TEST(meaningless_instructions_are_invalid_and_named)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	const uint32_t bad[] = {
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, 0, 3, 0), /* no such function */
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, 0, 7, 0),
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0), /* field not in use */
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 1, 0, 0, 0),
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, 0, 0, PIM_S_GRF_A, 0, 0),
		insn(PIM_I_SPEC, PIM_S_SRF, 0, PIM_S_GRF_A, 0, 0, 0, 0, 0, 0), /* SRF is no destination */
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_PRED, 0, 0, 0, 0, 0, 0), /* PRED is no source */
		insn(PIM_I_SPEC, PIM_S_GRF_A, 0, PIM_S_GRF_B, 1, 0, 0, 0, 2, 1), /* counts past GRF_B 7 */
		insn(PIM_I_ADD, PIM_S_SRF, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0), /* SRF is no destination */
		insn(PIM_I_ADD, PIM_S_ZERO, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0),
		insn(PIM_I_ADD, PIM_S_PRED, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0),
		insn(PIM_I_ADD, PIM_S_GRF_A, 8, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0), /* no such register */
		insn(PIM_I_ADD, PIM_S_GRF_A, 0, PIM_S_ACC, 4, PIM_S_GRF_B, 0, 0, 0, 0),
		insn(PIM_I_ADD, PIM_S_GRF_A, 0, PIM_S_MEM, 2, PIM_S_GRF_B, 0, 0, 0, 0), /* no such stream */
		insn(PIM_I_ADD, PIM_S_GRF_A, 1, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 1), /* counts past GRF_A 7 */
		insn(PIM_I_ADD, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, PIM_S_ACC, 0, 0), /* field not in use */
		insn(PIM_I_MOV, PIM_S_GRF_A, 0, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0),
		insn(PIM_I_FILL, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, 0, 0, 0, 0, 0), /* not from memory */
		insn(PIM_I_CMP, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, PIM_S_ZERO, 0, 0, 0, 0), /* not to PRED */
		insn(PIM_I_CMP, PIM_S_PRED, 0, PIM_S_GRF_B, 0, PIM_S_ZERO, 0, 0, 4, 0), /* no such relation */
		insn(PIM_I_SEL, PIM_S_GRF_A, 0, PIM_S_GRF_B, 0, PIM_S_ZERO, 0, PIM_S_GRF_A, 0, 0), /* not by PRED */
		insn(PIM_I_MOV, PIM_S_GRF_A, 0, 7, 0, 0, 0, 0, 0, 0), /* no such space */
		jump_to(PIM_J_STEP, 0, 3), /* forward */
		jump_to(PIM_J_STEP, 1, 0), /* count without meaning */
		jump_to(PIM_J_COUNT, 0, 0),
		scal(0), /* there is no base-die program */
		(uint32_t)PIM_I_NOP << 28 | 1,
		(uint32_t)PIM_I_EXIT << 28 | 1,
	};
	struct pim_hw_done done;
	struct program g;
	size_t i;

	rig_own(r, PIM_HW_OWNER_PIM);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		copy_program(r, &g);
		g.code[1] = bad[i];
		done = run_program(r, &g);
		ck_assert_msg(done.status == PIM_HW_E_INVALID, "word %08x: status %u", bad[i], done.status);
		ck_assert_uint_eq(done.where, 1);
	}
	copy_program(r, &g);
	g.code[3] = g.code[2]; /* runs off its end */
	done = run_program(r, &g);
	ck_assert_uint_eq(done.status, PIM_HW_E_INVALID);
	ck_assert_uint_eq(done.where, 3);
	copy_program(r, &g);
	g.d.program.crf_len = r->hw->crf_words + 1;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_INVALID);
	copy_program(r, &g);
	g.d.program.nstreams = 9;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_INVALID);
	copy_program(r, &g);
	g.d.program.stream[0].binding = 3;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_INVALID);
	copy_program(r, &g);
	g.d.program.blocks = 0;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_INVALID);
	rig_close(r);
}
END_TEST

START_TEST(meaningless_base_die_words_are_invalid_and_named)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	const uint32_t bad[] = {
		15u << 26,
		base_insn(PIM_B_RED, 0, 4, 0, 0, 0),
		base_insn(PIM_B_LD, 0, 2, 0, 0, 0),
		base_insn(PIM_B_PAR, 0, 0, 0, 0, 16),
		base_insn(PIM_B_BC, 0, 0, 0, 0, 8),
		base_insn(PIM_B_BC, 1, 0, 0, 0, 0),
		base_insn(PIM_B_ADD, 0, 0, 0, 1, 0),
		base_insn(PIM_B_RET, 0, 0, 0, 0, 1),
	};
	struct pim_hw_done done;
	struct program g;
	size_t i;

	rig_own(r, PIM_HW_OWNER_PIM);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		copy_program(r, &g);
		g.d.program.srf_len = 2;
		g.code[4] = bad[i];
		done = run_program(r, &g);
		ck_assert_msg(done.status == PIM_HW_E_INVALID, "word %08x: status %u", bad[i], done.status);
		ck_assert_uint_eq(done.where, 4);
	}
	/* A program that does not end with RET. */
	copy_program(r, &g);
	g.d.program.srf_len = 1;
	g.code[4] = base_insn(PIM_B_MOV, 0, 0, 0, 0, 0);
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_E_INVALID);
	/* LD past its binding. */
	copy_program(r, &g);
	g.d.program.srf_len = 2;
	g.d.program.nstreams = 3;
	g.d.program.stream[2].binding = 0;
	g.d.program.stream[2].off = 16ull * r->hw->stripe_bytes - 128;
	g.code[0] = scal(0);
	g.code[4] = base_insn(PIM_B_LD, 0, 2, 0, 0, 2);
	done = run_program(r, &g);
	ck_assert_uint_eq(done.status, PIM_HW_E_BOUNDS);
	ck_assert_uint_eq(done.where, 4);
	rig_close(r);
}
END_TEST

START_TEST(an_endless_program_times_out_and_the_card_goes_on)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct pim_hw_done done;
	struct program g;
	int i;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	for (i = 0; i < 8; i++)
		g.code[i] = jump_to(PIM_J_COUNT, 0x7fff, 0);
	g.code[8] = exit_insn();
	g.d.program.crf_len = 9;
	done = run_program(r, &g);
	ck_assert_uint_eq(done.status, PIM_HW_E_TIMEOUT);
	copy_program(r, &g);
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_OK);
	rig_close(r);
}
END_TEST

START_TEST(registers_begin_at_zero_in_every_job)
{
	struct rig *r = rig_open("cards/test-4dom.card");
	struct program g;
	uint32_t i, *m;

	rig_own(r, PIM_HW_OWNER_PIM);
	copy_program(r, &g);
	m = (uint32_t *)(r->bar + g.region);
	for (i = 0; i < 4 * r->hw->stripe_bytes; i++)
		m[i] = 0x3f800000;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_OK);
	g.code[0] = (uint32_t)PIM_I_NOP << 28;
	ck_assert_uint_eq(run_program(r, &g).status, PIM_HW_OK);
	for (i = 0; i < 4 * r->hw->stripe_bytes; i++)
		ck_assert_uint_eq(m[4 * r->hw->stripe_bytes + i], 0);
	rig_close(r);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: PIM programs");
	TCase *t = tcase_create("programs");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, random_programs_on_four_and_eight_units_equal_the_oracle);
	tcase_add_test(t, random_programs_on_256_units_equal_the_oracle);
	tcase_add_test(t, random_programs_on_512_units_equal_the_oracle);
	tcase_add_test(t, a_copy_moves_what_it_should_and_nothing_else);
	tcase_add_test(t, streams_off_the_stripe_are_locality_errors);
	tcase_add_test(t, a_column_outside_its_binding_is_a_bounds_error_with_word_unit_and_address);
	tcase_add_test(t, reading_and_writing_need_their_permission);
	tcase_add_test(t, meaningless_instructions_are_invalid_and_named);
	tcase_add_test(t, meaningless_base_die_words_are_invalid_and_named);
	tcase_add_test(t, an_endless_program_times_out_and_the_card_goes_on);
	tcase_add_test(t, registers_begin_at_zero_in_every_job);
	suite_add_tcase(s, t);
	return run_suite(s);
}
