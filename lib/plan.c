// SPDX-License-Identifier: MIT
/* From layers to operations on feature maps that have a layout and a place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pim/hw.h>

#include "error.h"
#include "plan.h"

static uint64_t align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) / a * a;
}

uint64_t place(uint64_t *end, unsigned int *turn, const struct pim_info *info, uint64_t bytes)
{
	uint64_t row = (uint64_t)info->stripe_bytes * (info->row_bytes / PIM_HW_COLUMN);
	uint64_t off = align_up(*end, row);

	while ((off / row) % info->banks_per_unit != *turn % info->banks_per_unit)
		off += row;
	(*turn)++;
	*end = off + align_up(bytes, info->stripe_bytes);
	return off;
}

/* -- layers to operations --------------------------------------------------------------------------------------------- */

/* The only layer that uses this one's output, if it is of that kind; a plain ReLU if it is an activation. */
static int only_user(const struct pim_net *net, int layer, enum layer_kind kind)
{
	if (net->layer[layer].nusers != 1)
		return -1;
	for (int i = layer + 1; i < net->n; i++)
		for (unsigned int k = 0; k < net->layer[i].nin; k++)
			if (net->layer[i].in[k] == layer)
				return net->layer[i].kind == kind && (kind != LAYER_ACT || net->layer[i].act == PIM_RELU) ? i : -1;
	return -1;
}

static const enum op_kind op_of[] = {
	[LAYER_CONV] = OP_CONV,	      [LAYER_BN] = OP_BN,	    [LAYER_ACT] = OP_ACT,	  [LAYER_ADD] = OP_ADD,
	[LAYER_MAXPOOL] = OP_MAXPOOL, [LAYER_AVGPOOL] = OP_AVGPOOL, [LAYER_SOFTMAX_CE] = OP_LOSS,
};

/*
 * One operation per layer, but for a ReLU that alone uses a BN or an add, and an add that alone uses a BN and is alone used by a ReLU: PIM
 * does those in the same pass over memory. map_of[layer] is the map that holds a layer's output; of a fused chain only the last has one.
 */
static int make_ops(struct plan *p)
{
	const struct pim_net *net = p->net;
	int *map_of = calloc((size_t)net->n, sizeof(int)), *done = calloc((size_t)net->n, sizeof(int));

	p->map = calloc((size_t)net->n, sizeof(*p->map));
	p->op = calloc((size_t)net->n, sizeof(*p->op));
	if (!map_of || !done || !p->map || !p->op) {
		free(map_of);
		free(done);
		return pim_error(-ENOMEM, "no memory to plan %d layers", net->n);
	}
	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];
		struct op *op = &p->op[p->nop];
		int last = i, next;

		if (done[i])
			continue;
		if (l->kind != LAYER_INPUT) {
			*op = (struct op){
				.kind = op_of[l->kind], .layer = i, .x = map_of[l->in[0]], .r = -1, .y = -1, .gx = -1, .gr = -1
			};
			if (l->nin == 2)
				op->r = map_of[l->in[1]];
			if (l->kind == LAYER_BN && (next = only_user(net, i, LAYER_ADD)) >= 0) {
				const struct layer *add = &net->layer[next];
				int other = add->in[add->in[0] == i], relu = only_user(net, next, LAYER_ACT);

				/* The other summand must be there when the BN runs. */
				if (relu >= 0 && other < i && other != i) {
					op->r = map_of[other];
					op->relu = true;
					done[next] = done[relu] = 1;
					last = relu;
				}
			}
			if (!op->relu && (l->kind == LAYER_BN || l->kind == LAYER_ADD) &&
			    (next = only_user(net, i, LAYER_ACT)) >= 0) {
				op->relu = true;
				done[next] = 1;
				last = next;
			}
			p->nop++;
		}
		if (l->kind == LAYER_SOFTMAX_CE)
			break;
		p->map[p->nmap] = (struct map){ .c = net->layer[last].c,
						.h = net->layer[last].h,
						.w = net->layer[last].w,
						.blocks = (net->layer[last].c + 15) / 16,
						.wh = 1,
						.ww = 1,
						.producer = l->kind == LAYER_INPUT ? -1 : p->nop - 1 };
		map_of[last] = p->nmap;
		if (l->kind != LAYER_INPUT)
			op->y = p->nmap;
		p->nmap++;
	}
	free(map_of);
	free(done);
	return 0;
}

/* -- layouts ---------------------------------------------------------------------------------------------------------- */

static int root(int *parent, int i)
{
	while (parent[i] != i)
		i = parent[i] = parent[parent[i]];
	return i;
}

/*
 * Element-wise operations need their maps in one layout; a pool needs its window's elements in the planes of its input, and leaves its output
 * plain. The HOST engine reads and writes any layout.
 */
static int choose_layouts(struct plan *p)
{
	int *parent = calloc((size_t)p->nmap, sizeof(int)), err = 0;

	if (!parent)
		return pim_error(-ENOMEM, "no memory to lay out %d feature maps", p->nmap);
	for (int i = 0; i < p->nmap; i++)
		parent[i] = i;
	for (int i = 0; i < p->nop; i++) {
		const struct op *op = &p->op[i];

		if (op->kind != OP_BN && op->kind != OP_ACT && op->kind != OP_ADD)
			continue;
		parent[root(parent, op->x)] = root(parent, op->y);
		if (op->r >= 0)
			parent[root(parent, op->r)] = root(parent, op->y);
	}
	for (int i = 0; i < p->nop && !err; i++) {
		const struct op *op = &p->op[i];
		const struct layer *l = &p->net->layer[op->layer];
		int g;

		if (op->kind != OP_MAXPOOL && op->kind != OP_AVGPOOL)
			continue;
		g = root(parent, op->x);
		if (p->map[g].wh != 1 && (p->map[g].wh != l->kh || p->map[g].ww != l->kw))
			err = pim_error(-ENOTSUP,
					"layer %d: two pools of different windows on maps that are added or normalised together",
					op->layer);
		p->map[g].wh = l->kh;
		p->map[g].ww = l->kw;
	}
	for (int i = 0; i < p->nmap; i++) {
		p->map[i].wh = p->map[root(parent, i)].wh;
		p->map[i].ww = p->map[root(parent, i)].ww;
	}
	for (int i = 0; i < p->nop && !err; i++) {
		const struct op *op = &p->op[i];

		if ((op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL) && p->map[op->y].wh * p->map[op->y].ww != 1)
			err = pim_error(-ENOTSUP, "layer %d: a pool of a pool's output needs a convolution in between", op->layer);
	}
	free(parent);
	return err;
}

/* -- gradients and places --------------------------------------------------------------------------------------------- */

static int take_grad(struct plan *p, const struct op *op, int m)
{
	if (m == 0 && op->kind == OP_CONV)
		return -1; /* nobody asks for the gradient of the input, and a convolution can leave it out */
	if (p->map[m].ngrads == MAX_GRADS)
		return pim_error(-ENOTSUP, "layer %d: more than %d layers use its output", p->op[p->map[m].producer].layer,
				 MAX_GRADS);
	return (int)p->map[m].ngrads++;
}

static int place_maps(struct plan *p)
{
	unsigned int turn = 0;

	/* Contributions are numbered in the order in which the backward pass makes them. */
	for (int i = p->nop - 1; i >= 0 && p->train; i--) {
		struct op *op = &p->op[i];

		op->gx = take_grad(p, op, op->x);
		if (op->gx < -1)
			return op->gx;
		if (op->r < 0)
			continue;
		op->gr = take_grad(p, op, op->r);
		if (op->gr < -1)
			return op->gr;
	}
	for (int i = 0; i < p->nmap; i++) {
		struct map *m = &p->map[i];

		m->pixels_bytes = (uint64_t)p->n * (m->h / m->wh) * (m->w / m->ww) * PIM_HW_BLOCK;
		m->plane_bytes = align_up(m->pixels_bytes, p->info.stripe_bytes);
		m->block_bytes = m->plane_bytes * m->wh * m->ww;
		m->val = place(&p->bytes, &turn, &p->info, m->block_bytes * m->blocks);
		for (unsigned int g = 0; g < m->ngrads; g++)
			m->grad[g] = place(&p->bytes, &turn, &p->info, m->block_bytes * m->blocks);
	}
	return 0;
}

int plan_create(struct plan *p, const struct pim_net *net, const struct pim_info *info, uint32_t n, bool train)
{
	int err = pim_net_check(net);

	*p = (struct plan){ .net = net, .info = *info, .n = n, .train = train };
	if (!err && (!n || n > 65536))
		err = pim_error(-EINVAL, "batch %u: must be 1..65536", n);
	if (!err)
		err = make_ops(p);
	if (!err)
		err = choose_layouts(p);
	if (!err)
		err = place_maps(p);
	if (!err && p->bytes > info->domain_bytes)
		err = pim_error(
			-ENOSPC,
			"the feature maps of batch %u need %llu MiB, card \"%s\" has %llu MiB per domain: take a smaller batch", n,
			(unsigned long long)(p->bytes >> 20), info->name, (unsigned long long)(info->domain_bytes >> 20));
	if (err)
		plan_destroy(p);
	return err;
}

void plan_destroy(struct plan *p)
{
	free(p->map);
	free(p->op);
	*p = (struct plan){ 0 };
}
