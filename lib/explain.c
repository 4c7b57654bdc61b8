// SPDX-License-Identifier: MIT
/* What a trainer is going to do, and why, for people: the tasks of its step by layer. */
#include <stdio.h>
#include <string.h>

#include "step.h"
#include "trainer.h"

#define PIM_API __attribute__((visibility("default")))

static const char *why(const struct step *s, const struct task *t)
{
	const struct plan *p = &s->plan;

	switch (t->op) {
	case PIM_HW_OP_PROGRAM:
		return t->update ? "bandwidth-bound: every parameter is read and written once"
				 : "bandwidth-bound: done where the map lies";
	case PIM_HW_OP_CONV_FWD:
	case PIM_HW_OP_CONV_BWD_DATA:
	case PIM_HW_OP_CONV_BWD_WEIGHTS:
		return t->memory_bound ? "CONV: bandwidth-bound, but a window's pixels are not in one PIM unit"
				       : "CONV: compute-bound";
	case PIM_HW_OP_POOL_FWD:
	case PIM_HW_OP_POOL_BWD:
		for (int i = 0; i < p->nop; i++)
			if (p->op[i].layer == t->layer && pool_of_planes(&p->net->layer[t->layer], &p->map[p->op[i].x]))
				return "its map's planes are those of another pool, or small ones would be mostly pad";
		return "windows overlap or have a pad: their elements are not in one PIM unit";
	case PIM_HW_OP_DROPOUT:
		return "random numbers: PIM units have no integers";
	case PIM_HW_OP_SOFTMAX_CE:
		return "reads labels, out of the host window";
	default:
		return "the batch comes through the host window";
	}
}

static void describe(const struct step *s, const struct task *t, struct pim_plan_row *row)
{
	const struct layer *l = &s->plan.net->layer[t->layer];

	*row = (struct pim_plan_row){ .what = t->what, .why = why(s, t), .engine = t->engine, .channels = t->count };
	row->policy = s->mode == PIM_SERIAL ? "serial" : "queue";
	if (t->update)
		snprintf(row->layer, sizeof(row->layer), "%s ...", l->name);
	else if (l->name[0])
		snprintf(row->layer, sizeof(row->layer), "%s", l->name);
	else
		snprintf(row->layer, sizeof(row->layer), "%d %s", t->layer,
			 l->kind == LAYER_ACT ? act_name(l->act) : layer_kind_name(l->kind));
}

PIM_API int pim_trainer_plan(const struct pim_trainer *tr, struct pim_plan_row *row, int n)
{
	const struct step *s = trainer_step(tr);
	int rows = 0;

	for (int i = 0, first = 0; i < s->ntasks; i++) {
		const struct task *t = &s->task[i], *before = &s->task[first];

		if (!i || t->layer != before->layer || strcmp(t->what, before->what)) {
			first = i;
			if (rows < n)
				describe(s, t, &row[rows]);
			rows++;
		}
		if (rows <= n) {
			row[rows - 1].tiles++;
			row[rows - 1].bytes += t->bytes;
			row[rows - 1].predicted_ns += t->cost_ns;
		}
	}
	return rows;
}

PIM_API uint64_t pim_trainer_bytes(const struct pim_trainer *tr)
{
	const struct step *s = trainer_step(tr);

	return s->plan.bytes + pim_buffer_bytes(s->params->buf);
}
