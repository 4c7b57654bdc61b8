// SPDX-License-Identifier: MIT
/* A job from its descriptor to its result: what every operation has in common. */
#include <string.h>

#include "card_impl.h"

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	while (n && !*b)
		b++, n--;
	return !n;
}

static bool in_range(uint64_t base, uint64_t bytes, uint64_t from, uint64_t size)
{
	return base >= from && bytes <= size && base - from <= size - bytes;
}

static bool check_binding(struct pim_card *c, struct card_job *j, uint32_t i)
{
	const struct pim_hw_binding *b = &j->d.binding[i];
	uint64_t d, last;

	if (!b->bytes || !b->access || (b->access & ~(PIM_HW_READ | PIM_HW_WRITE)) || b->pad)
		return card_fail(j, PIM_HW_E_INVALID, i, b->base, 0);
	if (in_range(b->base, b->bytes, c->l.window_off, c->l.mem_off - c->l.window_off))
		return true;
	if (!in_range(b->base, b->bytes, c->l.mem_off, c->l.mem_bytes))
		return card_fail(j, PIM_HW_E_BOUNDS, i, b->base, 0);
	last = (b->base + b->bytes - 1 - c->l.mem_off) / c->hw.domain_bytes;
	for (d = (b->base - c->l.mem_off) / c->hw.domain_bytes; d <= last; d++)
		j->domains |= 1u << d;
	return true;
}

static bool check_desc(struct pim_card *c, unsigned int engine, struct card_job *j)
{
	const struct pim_hw_desc *d = &j->d;
	const bool host_op = d->op >= PIM_HW_OP_CONV_FWD && d->op <= PIM_HW_OP_DROPOUT;
	const uint32_t flags = PIM_HW_JOB_IRQ | PIM_HW_JOB_TIMED | PIM_HW_JOB_CLOSE;
	uint32_t i;

	if (d->op != PIM_HW_OP_NOP && (engine == PIM_HW_HOST ? !host_op : d->op != PIM_HW_OP_PROGRAM))
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	if ((d->flags & ~flags) || !is_zero(d->pad, sizeof(d->pad)) || d->signal.pad || d->policy.pad ||
	    d->policy.kind > PIM_HW_POLICY_QUEUE || d->nbindings > PIM_HW_MAX_BINDINGS)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	if (d->batch ? !(d->batch_rings >> engine & 1) || d->batch_rings >> PIM_HW_ENGINES : d->batch_rings || (d->flags & PIM_HW_JOB_CLOSE))
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	for (i = 0; i < d->nbindings; i++)
		if (!check_binding(c, j, i))
			return false;
	return true;
}

/* The race detector: a job runs only where its side is the owner, or where the controller alternates the sides by its policy. */
static bool check_authority(struct pim_card *c, unsigned int engine, struct card_job *j)
{
	const uint32_t mine = engine == PIM_HW_HOST ? PIM_HW_OWNER_HOST : PIM_HW_OWNER_PIM;
	uint32_t d;

	for (d = 0; d < c->cf.domains; d++) {
		uint32_t owner;

		if (!(j->domains >> d & 1))
			continue;
		owner = card_load(&card_domain(c, d)->owner);
		if (owner == mine)
			continue;
		if (owner == PIM_HW_OWNER_AUTO && j->d.policy.kind != PIM_HW_POLICY_NONE) {
			j->auto_domains |= 1u << d;
			continue;
		}
		__atomic_fetch_add(&card_domain(c, d)->refused, 1, __ATOMIC_SEQ_CST);
		return card_fail(j, PIM_HW_E_AUTHORITY, d, c->l.mem_off + d * c->hw.domain_bytes, 0);
	}
	return true;
}

void *card_at(struct pim_card *c, struct card_job *j, uint32_t binding, uint64_t off, uint64_t bytes, uint32_t access)
{
	const struct pim_hw_binding *b;

	if (binding >= j->d.nbindings) {
		card_fail(j, PIM_HW_E_INVALID, binding, 0, 0);
		return NULL;
	}
	b = &j->d.binding[binding];
	if (off > b->bytes || bytes > b->bytes - off) {
		card_fail(j, PIM_HW_E_BOUNDS, binding, b->base + off, 0);
		return NULL;
	}
	if (access & ~b->access) {
		card_fail(j, PIM_HW_E_ACCESS, binding, b->base + off, 0);
		return NULL;
	}
	return c->bar + b->base + off;
}

void card_job_run(struct pim_card *c, unsigned int engine, struct card_job *j)
{
	if (!check_desc(c, engine, j) || !check_authority(c, engine, j))
		return;
	if (j->d.flags & PIM_HW_JOB_TIMED) {
		if (j->d.time_off % 8) {
			card_fail(j, PIM_HW_E_INVALID, j->d.time_binding, 0, 0);
			return;
		}
		if (!card_at(c, j, j->d.time_binding, j->d.time_off, sizeof(struct pim_hw_timing), PIM_HW_WRITE))
			return;
	}
	if (j->d.op == PIM_HW_OP_PROGRAM)
		card_pim_run(c, j);
	else if (j->d.op != PIM_HW_OP_NOP)
		card_host_run(c, j);
}
