// SPDX-License-Identifier: MIT
/* Convolutions, linear layers among them: by tiles of output channels on the HOST engine; of input channels for the gradient of the input. */
#include "builder.h"

static void conv_cost(struct builder *b, const struct map *x, const struct map *y, const struct layer *l, double share)
{
	const struct pim_info *info = &b->s->plan.info;
	double flops = 2.0 * b->s->plan.n * y->h * y->w * y->c * (x->c / l->groups) * l->kh * l->kw * share;
	double bytes = (double)(x->block_bytes * x->blocks + y->block_bytes * y->blocks) * share;
	double c = flops / info->host_gflops, m = bytes * 1000 / info->host_mbps;

	b->t->bytes = (uint64_t)bytes;
	b->t->memory_bound = m > c;
	b->t->cost_ns = 200 + (uint64_t)(c > m ? c : m);
}

static struct pim_hw_conv *conv_task(struct builder *b, uint32_t hwop, const struct op *op, const char *what, uint32_t first,
				     uint32_t n)
{
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	struct task *t = task_tile(b, PIM_HOST, hwop, op->layer, what, sizeof(t->payload.conv), first, n);
	struct pim_hw_conv *c = &t->payload.conv;

	*c = (struct pim_hw_conv){ .kh = l->kh,
				   .kw = l->kw,
				   .sh = l->sh,
				   .sw = l->sw,
				   .ph = l->ph,
				   .pw = l->pw,
				   .dh = l->dh,
				   .dw = l->dw,
				   .groups = l->groups,
				   .first = first * 16,
				   .count = n * 16 };
	return c;
}

static void conv_weights(struct builder *b, struct pim_hw_conv *c, const struct op *op, uint64_t arena, uint32_t access)
{
	const struct slice *sl = &b->s->params->slice[op->layer];
	const struct layer *l = &b->s->plan.net->layer[op->layer];

	c->wei_binding = c->bias_binding = task_bind(b, BUF_PARAMS, arena + sl->off, sl->bytes, access);
	if (l->bias && b->t->op != PIM_HW_OP_CONV_BWD_DATA) {
		c->flags |= PIM_HW_CONV_BIAS;
		c->bias_off = sl->bias_off;
	}
}

/* The blocks of map `other` that blocks [first, first + n) of map `of` meet in a convolution: those of the same groups. */
static void partners(const struct layer *l, const struct map *of, const struct map *other, uint32_t first, uint32_t n,
		     uint32_t *from, uint32_t *count)
{
	uint32_t end = (first + n) * 16 < of->c ? (first + n) * 16 : of->c;
	uint32_t per = of->c / l->groups, per_other = other->c / l->groups;

	*from = first * 16 / per * per_other / 16;
	*count = ((end - 1) / per + 1) * per_other;
	*count = (*count + 15) / 16 - *from;
}

void conv_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	uint32_t from, count;

	for_tiles(b, y, first, n)
	{
		struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_FWD, op, "conv_fwd", first, n);

		c->src = task_fmap(b, x, x->val, PIM_READ);
		c->dst = task_fmap(b, y, y->val, PIM_WRITE);
		conv_weights(b, c, op, b->s->params->w_off, PIM_READ);
		conv_cost(b, x, y, l, (double)n / y->blocks);
		partners(l, y, x, first, n, &from, &count);
		task_reads(b, b->val[op->x] + (int)from, count);
		task_reads(b, b->w[op->layer], 1);
		task_writes(b, b->val[op->y] + (int)first, n);
	}
}

void conv_backward(struct builder *b, const struct op *op)
{
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x], *y = &s->plan.map[op->y];
	const struct layer *l = &s->plan.net->layer[op->layer];
	uint32_t from, count;

	if (op->gx >= 0)
		for_tiles(b, x, first, n)
		{
			struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_BWD_DATA, op, "conv_bwd_data", first, n);

			c->src = task_fmap(b, x, x->grad[op->gx], PIM_WRITE);
			c->dst = task_fmap(b, y, y->grad[0], PIM_READ);
			conv_weights(b, c, op, s->params->w_off, PIM_READ);
			conv_cost(b, x, y, l, (double)n / x->blocks);
			partners(l, x, y, first, n, &from, &count);
			task_reads(b, b->grad[0][op->y] + (int)from, count);
			task_reads(b, b->w[op->layer], 1);
			task_writes(b, b->grad[op->gx][op->x] + (int)first, n);
		}
	for_tiles(b, y, first, n)
	{
		struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_BWD_WEIGHTS, op, "conv_bwd_weights", first, n);

		c->src = task_fmap(b, x, x->val, PIM_READ);
		c->dst = task_fmap(b, y, y->grad[0], PIM_READ);
		conv_weights(b, c, op, s->params->g_off, PIM_WRITE);
		conv_cost(b, x, y, l, (double)n / y->blocks);
		partners(l, y, x, first, n, &from, &count);
		task_reads(b, b->val[op->x] + (int)from, count);
		task_reads(b, b->grad[0][op->y] + (int)first, n);
		task_writes(b, b->g[op->layer] + (int)first, n);
	}
}
