// SPDX-License-Identifier: MIT
/*
 * The PIM engine: checks a program, then interprets it. Control flow depends on counters only, never on data, and a unit reaches no
 * other unit's columns; so between two base-die calls the units may run in groups, one group after the other, with the result of
 * lock-step.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_pim_impl.h"

/* Long runs of consecutive memory are worth more than registers in the first-level cache: 64 units gave half the bandwidth of 256. */
#define GROUP_UNITS 256u

/*
 * Pipeline slots that a column of a special function takes beyond those of a MOV. The special function unit is modelled with two lanes
 * for the eight of the SIMD unit: four slots instead of one.
 */
#define SPECIAL_MORE_SLOTS 3u

#define INSTRUCTIONS_A_CHECK 1024 /* between two looks at whether the job must end */

/* Where a program is: the counters that its control flow depends on. */
struct pim_pos {
	uint32_t pc;
	uint64_t step;
	uint32_t plane, block;
	uint16_t count[2048];
};

int card_pim_new(struct pim_card *c, struct card_pim **out)
{
	struct card_pim *pim = calloc(1, sizeof(*pim));
	const uint32_t nregs = 2 * PIM_GRF_REGS + PIM_SRF_REGS + PIM_ACC_REGS + PIM_PRED_REGS + 1;
	uint32_t gu, g;
	float *f;

	if (!pim)
		return -ENOMEM;
	pim->units = c->l.units;
	gu = pim->units < GROUP_UNITS ? pim->units : GROUP_UNITS;
	pim->ngroups = pim->units / gu;
	pim->group = calloc(pim->ngroups, sizeof(*pim->group));
	pim->arena = aligned_alloc(64, ((size_t)pim->units * PIM_LANES * (nregs + 1) * sizeof(float) + 63) & ~63ul);
	if (!pim->group || !pim->arena) {
		card_pim_free(pim);
		return -ENOMEM;
	}
	f = pim->arena;
	pim->tree = f;
	f += (size_t)pim->units * PIM_LANES;
	for (g = 0; g < pim->ngroups; g++) {
		struct pim_group *pg = &pim->group[g];
		const size_t reg = (size_t)gu * PIM_LANES;

		pg->first = g * gu;
		pg->units = gu;
		pg->grf_a = f;
		pg->grf_b = pg->grf_a + PIM_GRF_REGS * reg;
		pg->srf = pg->grf_b + PIM_GRF_REGS * reg;
		pg->acc = pg->srf + PIM_SRF_REGS * reg;
		pg->pred = (uint32_t *)(pg->acc + PIM_ACC_REGS * reg);
		pg->zero = pg->acc + (PIM_ACC_REGS + PIM_PRED_REGS) * reg;
		f += nregs * reg;
	}
	*out = pim;
	return 0;
}

void card_pim_free(struct card_pim *pim)
{
	if (!pim)
		return;
	free(pim->group);
	free(pim->arena);
	free(pim);
}

static void use_stream(struct pim_stream_use *u, uint32_t access, uint32_t where, bool base)
{
	uint8_t *a = base ? &u->base : &u->unit;

	if (!*a)
		*(base ? &u->base_where : &u->unit_where) = where;
	*a |= access;
}

/* Decodes all words and notes what they do with the streams. */
static bool load_program(struct pim_run *r)
{
	const struct pim_hw_program *p = r->p;
	const struct pim_cardfile *cf = &r->card->cf;
	uint32_t i, k, word;
	const uint8_t *code;

	if (!p->crf_len || p->crf_len > cf->crf_words || p->srf_len > cf->srf_words || p->nstreams > PIM_HW_MAX_STREAMS || p->pad ||
	    !p->blocks || !p->planes || !p->run_bytes || p->code_off % 4)
		return card_fail(r->job, PIM_HW_E_INVALID, 0, 0, 0);
	code = card_at(r->card, r->job, p->code_binding, p->code_off, ((uint64_t)p->crf_len + p->srf_len) * 4, PIM_HW_READ);
	if (!code)
		return false;
	for (i = 0; i < p->crf_len; i++) {
		struct pim_insn *insn = &r->insn[i];

		memcpy(&word, code + i * 4, 4);
		if (!pim_decode(word, i, p, insn) || (i == p->crf_len - 1 && insn->op != PIM_I_EXIT))
			return card_fail(r->job, PIM_HW_E_INVALID, i, 0, 0);
		for (k = 0; k < insn->nsrc; k++)
			if (insn->src[k].space == PIM_S_MEM)
				use_stream(&r->use[insn->src[k].index], PIM_HW_READ, i, false);
		if (insn->has_dst && insn->dst.space == PIM_S_MEM)
			use_stream(&r->use[insn->dst.index], PIM_HW_WRITE | (insn->op == PIM_I_MAC ? PIM_HW_READ : 0), i, false);
	}
	for (i = 0; i < p->srf_len; i++) {
		memcpy(&word, code + (p->crf_len + i) * 4, 4);
		r->srf[i] = word;
		if (!pim_base_check(word, p) || (i == p->srf_len - 1 && word >> 26 != PIM_B_RET))
			return card_fail(r->job, PIM_HW_E_INVALID, p->crf_len + i, 0, 0);
		if (word >> 26 == PIM_B_LD || word >> 26 == PIM_B_ST)
			use_stream(&r->use[word >> 18 & 15], word >> 26 == PIM_B_LD ? PIM_HW_READ : PIM_HW_WRITE, i + p->crf_len, true);
	}
	return true;
}

/* The end of what a stream can name must not wrap: then no address computed while running can. */
static bool extent_fits(const struct pim_run *r, const struct pim_hw_stream *s)
{
	uint64_t a, b, sum;

	return !__builtin_mul_overflow(s->block_bytes, (uint64_t)r->p->blocks, &a) &&
	       !__builtin_mul_overflow(s->plane_bytes, (uint64_t)r->p->planes, &b) && !__builtin_add_overflow(a, b, &sum) &&
	       !__builtin_add_overflow(sum, s->off, &sum) && !__builtin_mul_overflow(r->steps + PIM_AAM_COLUMNS, r->stripe, &a) &&
	       !__builtin_add_overflow(sum, a, &sum) && sum < 1ull << 62;
}

static bool check_stream(struct pim_run *r, uint32_t i, int *domain)
{
	const struct pim_hw_stream *s = &r->p->stream[i];
	const struct pim_stream_use *u = &r->use[i];
	const uint64_t mem = r->card->l.mem_off;
	const struct pim_hw_binding *b;
	uint32_t where = u->unit ? u->unit_where : u->base_where;
	uint64_t grain = u->unit ? r->stripe : 64;
	int first, last;

	if (s->pad || s->binding >= r->job->d.nbindings)
		return card_fail(r->job, PIM_HW_E_INVALID, where, 0, 0);
	if (!u->unit && !u->base)
		return true;
	b = &r->job->d.binding[s->binding];
	if (card_in_window(r->card, b->base) || (b->base - mem) % grain || s->off % grain || s->block_bytes % grain ||
	    (u->unit && s->plane_bytes % grain))
		return card_fail(r->job, PIM_HW_E_LOCALITY, where, b->base + s->off, 0);
	if (u->unit & ~b->access)
		return card_fail(r->job, PIM_HW_E_ACCESS, u->unit_where, b->base + s->off, 0);
	if (u->base & ~b->access)
		return card_fail(r->job, PIM_HW_E_ACCESS, u->base_where, b->base + s->off, 0);
	if (!extent_fits(r, s))
		return card_fail(r->job, PIM_HW_E_BOUNDS, where, b->base + s->off, 0);
	if (!u->unit)
		return true;
	/* The units of one domain share a stripe. */
	first = (b->base - mem) / r->card->hw.domain_bytes;
	last = (b->base - mem + b->bytes - 1) / r->card->hw.domain_bytes;
	if (first != last || (*domain >= 0 && *domain != first))
		return card_fail(r->job, PIM_HW_E_LOCALITY, where, b->base + s->off, 0);
	*domain = first;
	return true;
}

/* Units that are not idle at a step: those whose column begins before run_bytes. */
static inline uint32_t active_units(const struct pim_run *r, uint64_t step)
{
	uint64_t left = r->p->run_bytes - step * r->stripe;

	return left >= r->stripe ? r->pim->units : (left + PIM_HW_COLUMN - 1) / PIM_HW_COLUMN;
}

static inline uint64_t stream_off(const struct pim_hw_stream *s, const struct pim_pos *pos)
{
	return s->off + pos->block * s->block_bytes + pos->plane * s->plane_bytes;
}

/* Row state of the banks behind a unit: all units are in lock-step, so one stands for all. */
static void touch_row(struct pim_run *r, uint64_t stripe_number)
{
	const struct pim_cardfile *cf = &r->card->cf;
	uint64_t row_number = stripe_number / (cf->row_bytes / PIM_HW_COLUMN);
	uint32_t bank = row_number % cf->banks_per_unit;
	uint64_t row = row_number / cf->banks_per_unit;

	if (r->open_row[bank] == row + 1)
		return;
	r->open_row[bank] = row + 1;
	r->job->cost.column_tck += cf->trp + cf->trcd;
}

/* Bounds and cost of one memory operand of an instruction. */
static bool account_stream(struct pim_run *r, const struct pim_pos *pos, uint32_t stream, uint64_t columns)
{
	const struct pim_hw_stream *s = &r->p->stream[stream];
	const struct pim_hw_binding *b = &r->job->d.binding[s->binding];
	uint64_t off = stream_off(s, pos) + pos->step * r->stripe;
	uint64_t in_domain = (b->base - r->card->l.mem_off) % r->card->hw.domain_bytes;
	uint64_t k;

	for (k = 0; k < columns; k++, off += r->stripe) {
		uint64_t bytes = (uint64_t)active_units(r, pos->step + k) * PIM_HW_COLUMN;

		if (off > b->bytes || b->bytes - off < bytes) {
			uint64_t in = off > b->bytes ? 0 : (b->bytes - off) / PIM_HW_COLUMN;

			return card_fail(r->job, PIM_HW_E_BOUNDS, pos->pc, b->base + off + in * PIM_HW_COLUMN, in);
		}
		touch_row(r, (in_domain + off) / r->stripe);
		r->job->cost.mem_bytes += bytes;
	}
	return true;
}

/* A loop pass ends: column commands and instruction issue run side by side. */
static void flush_cost(struct pim_run *r)
{
	const struct pim_cardfile *cf = &r->card->cf;
	uint64_t columns = r->mem * cf->tccd_l, issue = (r->mem + r->reg) * cf->unit_tck;

	r->job->cost.column_tck += columns;
	if (issue > columns)
		r->job->cost.unit_tck += issue - columns;
	r->mem = 0;
	r->reg = 0;
}

/* Checks and costs of an instruction, once for all units. */
static bool account(struct pim_run *r, const struct pim_pos *pos, const struct pim_insn *insn, uint64_t columns)
{
	uint32_t k;

	r->instructions += insn->columns ? columns : 1;
	if (r->instructions > r->limit)
		return card_fail(r->job, PIM_HW_E_TIMEOUT, pos->pc, 0, 0);
	if (r->instructions >= r->check) {
		r->check = r->instructions + INSTRUCTIONS_A_CHECK;
		if (card_job_stopped(r->card, r->job, pos->pc))
			return false;
	}
	if (!insn->has_dst) {
		if (insn->op == PIM_I_NOP)
			r->reg++;
		else
			flush_cost(r);
		return true;
	}
	for (k = 0; insn->nmem && k < insn->nsrc; k++)
		if (insn->src[k].space == PIM_S_MEM && !account_stream(r, pos, insn->src[k].index, columns))
			return false;
	if (insn->dst.space == PIM_S_MEM && !account_stream(r, pos, insn->dst.index, columns))
		return false;
	if (insn->nmem)
		r->mem += insn->nmem * columns;
	else
		r->reg += columns;
	if (insn->op == PIM_I_SPEC)
		r->reg += SPECIAL_MORE_SLOTS * columns;
	return true;
}

/* The first lane of an operand in a group, and how far the next column's is. */
static uint8_t *operand(struct pim_run *r, const struct pim_group *g, const struct pim_pos *pos, const struct pim_operand *o, size_t *stride)
{
	const size_t reg = (size_t)g->units * PIM_LANES;
	const struct pim_hw_stream *s;

	*stride = 0;
	switch (o->space) {
	case PIM_S_MEM:
		s = &r->p->stream[o->index];
		*stride = r->stripe;
		return r->card->bar + r->job->d.binding[s->binding].base + stream_off(s, pos) + pos->step * r->stripe +
		       (uint64_t)g->first * PIM_HW_COLUMN;
	case PIM_S_GRF_A:
		*stride = reg * sizeof(float);
		return (uint8_t *)(g->grf_a + o->index * reg);
	case PIM_S_GRF_B:
		*stride = reg * sizeof(float);
		return (uint8_t *)(g->grf_b + o->index * reg);
	case PIM_S_SRF:
		return (uint8_t *)(g->srf + o->index * reg);
	case PIM_S_ACC:
		return (uint8_t *)(g->acc + o->index * reg);
	case PIM_S_PRED:
		*stride = reg * sizeof(uint32_t);
		return (uint8_t *)(g->pred + o->index * reg);
	}
	return (uint8_t *)g->zero;
}

static void execute(struct pim_run *r, const struct pim_group *g, const struct pim_pos *pos, const struct pim_insn *insn, uint64_t columns)
{
	uint8_t *ptr[4] = { NULL, NULL, NULL, NULL };
	size_t stride[4] = { 0, 0, 0, 0 };
	uint64_t k;
	uint32_t i;

	ptr[3] = operand(r, g, pos, &insn->dst, &stride[3]);
	for (i = 0; i < insn->nsrc; i++)
		ptr[i] = operand(r, g, pos, &insn->src[i], &stride[i]);
	for (k = 0; k < columns; k++) {
		uint32_t active = active_units(r, pos->step + k);

		if (active <= g->first)
			return;
		active -= g->first;
		if (active > g->units)
			active = g->units;
		insn->lanes(ptr[3], ptr[0], ptr[1], ptr[2], (size_t)active * PIM_LANES);
		for (i = 0; i < insn->nsrc; i++)
			ptr[i] += stride[i];
		ptr[3] += stride[3];
	}
}

/* True: the jump is taken. */
static bool jump(const struct pim_run *r, struct pim_pos *pos, const struct pim_insn *insn)
{
	switch (insn->jump) {
	case PIM_J_COUNT:
		if (++pos->count[pos->pc] < insn->count)
			return true;
		pos->count[pos->pc] = 0;
		return false;
	case PIM_J_STEP:
		pos->step += PIM_AAM_COLUMNS;
		if (pos->step < r->steps)
			return true;
		pos->step = 0;
		return false;
	case PIM_J_PLANE:
		if (++pos->plane < r->p->planes)
			return true;
		pos->plane = 0;
		return false;
	}
	if (++pos->block < r->p->blocks)
		return true;
	pos->block = 0;
	return false;
}

/*
 * Runs one group from pos to the next base-die call or EXIT, where pos then is; the leading group also checks and counts.
 * A group whose units are all idle at step 0 has nothing to do: it follows the leader.
 */
static bool run_group(struct pim_run *r, const struct pim_group *g, struct pim_pos *pos, bool leader)
{
	for (;;) {
		const struct pim_insn *insn = &r->insn[pos->pc];
		uint64_t columns = r->steps - pos->step < insn->columns ? r->steps - pos->step : insn->columns;

		if (leader && !account(r, pos, insn, columns))
			return false;
		if (insn->op == PIM_I_SCAL || insn->op == PIM_I_EXIT)
			return true;
		if (insn->op == PIM_I_JUMP && jump(r, pos, insn)) {
			pos->pc = insn->target;
			continue;
		}
		if (insn->has_dst)
			execute(r, g, pos, insn, columns);
		pos->pc++;
	}
}

static void interpret(struct pim_run *r)
{
	struct pim_pos *start, *pos;
	uint32_t g;

	start = calloc(2, sizeof(*start));
	if (!start) {
		card_fail(r->job, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	pos = start + 1;
	for (;;) {
		for (g = 0; g < r->pim->ngroups; g++) {
			if (g && r->pim->group[g].first >= active_units(r, 0))
				break;
			*pos = *start;
			if (!run_group(r, &r->pim->group[g], pos, !g))
				goto out;
		}
		*start = *pos;
		if (r->insn[start->pc].op == PIM_I_EXIT)
			break;
		if (!pim_base_run(r, r->insn[start->pc].target, start->block))
			break;
		start->pc++;
	}
out:
	flush_cost(r);
	free(start);
}

void card_pim_run(struct pim_card *c, struct card_job *j)
{
	struct pim_run *r;
	struct card_pim *pim = c->pim;
	int domain = -1;
	uint32_t i, g;

	r = calloc(1, sizeof(*r));
	if (!r) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	r->card = c;
	r->job = j;
	r->pim = pim;
	r->p = &j->d.program;
	r->stripe = c->hw.stripe_bytes;
	r->limit = (uint64_t)c->cf.program_limit << 20;
	if (!load_program(r))
		goto out;
	r->steps = (r->p->run_bytes - 1) / r->stripe + 1;
	for (i = 0; i < r->p->nstreams; i++)
		if (!check_stream(r, i, &domain))
			goto out;
	/* Registers of a job begin at zero: nothing of another client's job is left in them. */
	for (g = 0; g < pim->ngroups; g++)
		memset(pim->group[g].grf_a, 0,
		       (size_t)((uint8_t *)(pim->group[g].zero + (size_t)pim->group[g].units * PIM_LANES) - (uint8_t *)pim->group[g].grf_a));
	interpret(r);
out:
	free(r);
}
