// SPDX-License-Identifier: MIT
/* The tasks of a step, in program order: forward, and in training backward and the update of each group of parameters. */
#include <errno.h>
#include <stdlib.h>

#include "builder.h"
#include "error.h"

/* A concatenation has no tasks: its inputs are parts of its map. */
static const struct {
	void (*forward)(struct builder *b, const struct op *op);
	void (*backward)(struct builder *b, const struct op *op);
} op_tasks[] = {
	[OP_CONV] = { conv_forward, conv_backward },
	[OP_BN] = { bn_forward, bn_backward },
	[OP_ACT] = { act_forward, act_backward },
	[OP_ADD] = { add_forward, add_backward },
	[OP_MUL] = { mul_forward, mul_backward },
	[OP_CONCAT] = { NULL, NULL },
	[OP_MAXPOOL] = { pool_forward, pool_backward },
	[OP_AVGPOOL] = { pool_forward, pool_backward },
	[OP_DROPOUT] = { dropout_forward, dropout_backward },
	[OP_LOSS] = { loss_forward, NULL },
};

/* Cells of maps: of values (k < 0), or of contribution k to the gradient. Those of a view are cells of what it is part of. */
static int map_cells(struct builder *b, int k, int *n)
{
	const struct plan *p = &b->s->plan;
	int *first = calloc((size_t)p->nmap, sizeof(int));

	*(k < 0 ? &b->val : &b->grad[k]) = first;
	if (!first)
		return -ENOMEM;
	for (int i = 0; i < p->nmap; i++) {
		const struct map *m = &p->map[i];

		first[i] = *n;
		if (k < 0 ? m->view_of < 0 : k < (int)m->ngrads && k != m->view_grad)
			*n += (int)m->blocks;
	}
	return 0;
}

/* Cells of views, once those of everything else are there. What a view is part of has a larger number. */
static void view_cells(struct builder *b)
{
	const struct plan *p = &b->s->plan;

	for (int i = p->nmap - 1; i >= 0; i--) {
		const struct map *m = &p->map[i];

		if (m->view_of < 0)
			continue;
		b->val[i] = b->val[m->view_of] + (int)m->view_block;
		if (m->view_grad >= 0)
			b->grad[m->view_grad][i] = b->grad[0][m->view_of] + (int)m->view_block;
	}
}

static int make_cells(struct builder *b)
{
	struct step *s = b->s;
	int n = 0, nl = s->plan.net->n;
	int **layer[] = { &b->w, &b->g, &b->v, &b->state };

	for (int k = -1; k < MAX_GRADS; k++)
		if (map_cells(b, k, &n))
			return -ENOMEM;
	view_cells(b);
	for (unsigned int k = 0; k < sizeof(layer) / sizeof(layer[0]); k++) {
		*layer[k] = calloc((size_t)nl, sizeof(int));
		if (!*layer[k])
			return -ENOMEM;
		for (int i = 0; i < nl; i++) {
			(*layer[k])[i] = n;
			n += (int)(s->plan.net->layer[i].c + 15) / 16;
		}
	}
	s->cell = calloc((size_t)n, sizeof(*s->cell));
	if (!s->cell)
		return -ENOMEM;
	s->ncells = n;
	for (int i = 0; i < n; i++)
		s->cell[i].writer = -1;
	return 0;
}

static uint64_t take(uint64_t *end, uint64_t bytes)
{
	uint64_t off = *end;

	*end += (bytes + 63) / 64 * 64;
	return off;
}

int step_build(struct step *s, const struct pim_net *net, const struct params *params, const struct pim_info *info, uint32_t n,
	       bool train, const struct pim_train_options *opt)
{
	struct builder b = { .s = s, .opt = opt };
	int err;

	*s = (struct step){ .params = params, .mode = opt->mode };
	err = plan_create(&s->plan, net, info, n, train);
	if (err)
		return err;
	s->slot.input = take(&s->slot.bytes, s->plan.map[0].block_bytes * s->plan.map[0].blocks);
	s->slot.label = take(&s->slot.bytes, 4ull * n);
	s->slot.out = take(&s->slot.bytes, 8);
	b.err = make_cells(&b) ? pim_error(-ENOMEM, "no memory for the tasks of a step") : 0;

	if (!b.err)
		input_forward(&b);
	for (int i = 0; i < s->plan.nop && !b.err; i++)
		if (op_tasks[s->plan.op[i].kind].forward)
			op_tasks[s->plan.op[i].kind].forward(&b, &s->plan.op[i]);
	for (int i = s->plan.nop - 2, g = params->ngroups - 1; i >= 0 && train && !b.err; i--) {
		const struct op *op = &s->plan.op[i];

		merge_gradients(&b, op, op->y);
		if (op_tasks[op->kind].backward)
			op_tasks[op->kind].backward(&b, op);
		if (g >= 0 && op->layer == params->group[g].first)
			update(&b, &params->group[g--]);
	}
	if (!b.err)
		s->slot.timing = take(&s->slot.bytes, sizeof(struct pim_hw_timing) * (uint64_t)s->ntasks);
	if (!b.err)
		b.err = schedule(s);

	free(b.val);
	for (int i = 0; i < MAX_GRADS; i++)
		free(b.grad[i]);
	free(b.w);
	free(b.g);
	free(b.v);
	free(b.state);
	if (b.err)
		step_destroy(s);
	return b.err;
}

void step_destroy(struct step *s)
{
	for (int i = 0; i < s->ntasks; i++)
		free(s->task[i].dep);
	for (int i = 0; i < s->ncells; i++)
		free(s->cell[i].reader);
	free(s->task);
	free(s->cell);
	free(s->order);
	free(s->number);
	free(s->wait);
	plan_destroy(&s->plan);
	*s = (struct step){ 0 };
}
