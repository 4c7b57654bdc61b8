// SPDX-License-Identifier: MIT
/* What the HOST engine does besides convolutions: the input, pools that PIM's layout cannot have, dropout, the loss. */
#include <string.h>

#include "builder.h"

void input_forward(struct builder *b)
{
	const struct map *x = &b->s->plan.map[0];
	struct task *t = task_new(b, PIM_HOST, PIM_HW_OP_COPY, 0, "input");

	t->payload_bytes = sizeof(t->payload.copy);
	t->count = x->c;
	t->payload.copy.src = task_fmap_at(b, x, BUF_SLOT, b->s->slot.input, PIM_READ);
	t->payload.copy.dst = task_fmap(b, x, x->val, PIM_WRITE);
	t->bytes = x->block_bytes * x->blocks;
	t->cost_ns = 1000 + t->bytes * 1000 / b->s->plan.info.window_mbps;
	task_writes(b, b->val[0], x->blocks);
}

/* -- pools whose windows overlap, or have a pad -------------------------------------------------------------------------- */

static struct pim_hw_pool *pool_task(struct builder *b, const struct op *op, uint32_t hwop, const char *what, uint32_t first,
				     uint32_t n)
{
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	struct task *t = task_tile(b, PIM_HOST, hwop, op->layer, what, sizeof(t->payload.pool), first, n);
	struct pim_hw_pool *p = &t->payload.pool;

	*p = (struct pim_hw_pool){ .kh = l->kh,
				   .kw = l->kw,
				   .sh = l->sh,
				   .sw = l->sw,
				   .ph = l->ph,
				   .pw = l->pw,
				   .kind = op->kind == OP_MAXPOOL ? PIM_HW_POOL_MAX
					   : l->exclude_pad	  ? PIM_HW_POOL_AVG_REAL
								  : PIM_HW_POOL_AVG,
				   .first = first * 16,
				   .count = n * 16 };
	return p;
}

static void pool_cost(struct builder *b, const struct map *x, const struct map *y, uint32_t n)
{
	b->t->bytes = (x->block_bytes + y->block_bytes) * n;
	b->t->cost_ns = 200 + b->t->bytes * 1000 / b->s->plan.info.host_mbps;
}

void host_pool_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		struct pim_hw_pool *p = pool_task(b, op, PIM_HW_OP_POOL_FWD, "pool_fwd", first, n);

		p->src = task_fmap(b, x, x->val, PIM_READ);
		p->dst = task_fmap(b, y, y->val, PIM_WRITE);
		pool_cost(b, x, y, n);
		task_reads(b, b->val[op->x] + (int)first, n);
		task_writes(b, b->val[op->y] + (int)first, n);
	}
}

void host_pool_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		struct pim_hw_pool *p = pool_task(b, op, PIM_HW_OP_POOL_BWD, "pool_bwd", first, n);

		p->src = task_fmap(b, x, x->grad[op->gx], PIM_WRITE);
		p->dst = task_fmap(b, y, y->grad[0], PIM_READ);
		if (op->kind == OP_MAXPOOL) {
			p->value = task_fmap(b, x, x->val, PIM_READ);
			task_reads(b, b->val[op->x] + (int)first, n);
		}
		pool_cost(b, x, y, n);
		task_reads(b, b->grad[0][op->y] + (int)first, n);
		task_writes(b, b->grad[op->gx][op->x] + (int)first, n);
	}
}

/* -- dropout ------------------------------------------------------------------------------------------------------------ */

/* From one map to another of the same shape, whose layouts may differ: values forward, gradients backward. */
static void dropout(struct builder *b, const struct op *op, const struct map *x, uint64_t from, int from_cell, const struct map *y,
		    uint64_t to, int to_cell)
{
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	float keep = b->s->plan.train ? 1 - l->p : 1;

	for_tiles(b, x, first, n)
	{
		struct task *t =
			task_tile(b, PIM_HOST, PIM_HW_OP_DROPOUT, op->layer, "dropout", sizeof(t->payload.dropout), first, n);
		struct pim_hw_dropout *d = &t->payload.dropout;

		/* The layer's number keeps the masks of two layers apart; the step is filled in when it is submitted. */
		*d = (struct pim_hw_dropout){ .seed = b->opt->seed ^ (uint64_t)op->layer << 48,
					      .first = first * 16,
					      .count = n * 16 };
		memcpy(&d->keep, &keep, sizeof(d->keep));
		d->src = task_fmap(b, x, from, PIM_READ);
		d->dst = task_fmap(b, y, to, PIM_WRITE);
		pool_cost(b, x, y, n);
		task_reads(b, from_cell + (int)first, n);
		task_writes(b, to_cell + (int)first, n);
	}
}

void dropout_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	dropout(b, op, x, x->val, b->val[op->x], y, y->val, b->val[op->y]);
}

/* The same mask on the gradient. */
void dropout_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	dropout(b, op, y, y->grad[0], b->grad[0][op->y], x, x->grad[op->gx], b->grad[op->gx][op->x]);
}

/* -- the loss -------------------------------------------------------------------------------------------------------------- */

void loss_forward(struct builder *b, const struct op *op)
{
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x];
	struct task *t = task_new(b, PIM_HOST, PIM_HW_OP_SOFTMAX_CE, op->layer, "softmax_ce");
	struct pim_hw_softmax *p = &t->payload.softmax;

	t->payload_bytes = sizeof(*p);
	t->count = x->c;
	p->logits = task_fmap(b, x, x->val, PIM_READ);
	if (s->plan.train)
		p->grad = task_fmap(b, x, x->grad[op->gx], PIM_WRITE);
	else
		p->flags = PIM_HW_SOFTMAX_NO_GRAD;
	p->label_binding = task_bind(b, BUF_SLOT, s->slot.label, 4ull * s->plan.n, PIM_READ);
	p->out_binding = task_bind(b, BUF_SLOT, s->slot.out, 8, PIM_WRITE);
	memcpy(&p->smooth, &s->plan.net->layer[op->layer].p, sizeof(p->smooth));
	t->bytes = 2 * x->block_bytes * x->blocks;
	t->cost_ns = 1000;
	task_reads(b, b->val[op->x], x->blocks);
	if (s->plan.train)
		task_writes(b, b->grad[op->gx][op->x], x->blocks);
}
