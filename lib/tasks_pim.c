// SPDX-License-Identifier: MIT
/* What PIM does to feature maps: batch norm, activations, sums, channel multiplies, pools whose windows do not overlap. */
#include "builder.h"

void bn_forward(struct builder *b, const struct op *op)
{
	static const char *const name[2][3] = { { "bn_eval", "bn_relu_eval", "bn_add_relu_eval" },
						{ "bn_fwd", "bn_relu_fwd", "bn_add_relu_fwd" } };
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x], *y = &s->plan.map[op->y];
	const struct slice *sl = &s->params->slice[op->layer];
	const struct layer *l = &s->plan.net->layer[op->layer];
	double m = (double)s->plan.n * x->h * x->w, momentum = (double)l->momentum;

	for_tiles(b, y, first, n)
	{
		task_program(b, name[s->plan.train][op->relu + (op->r >= 0)], op->layer, y, first, n);
		task_stream(b, x, x->val);
		task_stream(b, y, y->val);
		task_records(b, s->params->w_off + sl->off, BN_PARAM_BYTES);
		task_records(b, sl->state_off, BN_STATE_BYTES);
		if (op->r >= 0) {
			task_stream(b, y, s->plan.map[op->r].val);
			task_reads(b, b->val[op->r] + (int)first, n);
		}
		task_param(b, 0, 1 / m);
		task_param(b, 1, (double)l->eps);
		task_param(b, 2, 1 - momentum);
		task_param(b, 3, momentum);
		task_param(b, 4, m > 1 ? momentum * m / (m - 1) : momentum);
		task_reads(b, b->val[op->x] + (int)first, n);
		task_reads(b, b->w[op->layer], 1);
		(s->plan.train ? task_writes : task_reads)(b, b->state[op->layer] + (int)first, n);
		task_writes(b, b->val[op->y] + (int)first, n);
	}
}

void bn_backward(struct builder *b, const struct op *op)
{
	static const char *const name[3] = { "bn_bwd", "bn_relu_bwd", "bn_add_relu_bwd" };
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x], *y = &s->plan.map[op->y];
	const struct slice *sl = &s->params->slice[op->layer];

	for_tiles(b, y, first, n)
	{
		task_program(b, name[op->relu + (op->r >= 0)], op->layer, y, first, n);
		task_stream(b, x, x->val);
		task_stream(b, y, y->grad[0]);
		task_stream(b, x, x->grad[op->gx]);
		task_records(b, s->params->w_off + sl->off, BN_PARAM_BYTES);
		task_records(b, s->params->g_off + sl->off, BN_PARAM_BYTES);
		task_records(b, sl->state_off, BN_STATE_BYTES);
		if (op->relu) {
			task_stream(b, y, y->val);
			task_reads(b, b->val[op->y] + (int)first, n);
		}
		if (op->r >= 0) {
			task_stream(b, y, s->plan.map[op->r].grad[op->gr]);
			task_writes(b, b->grad[op->gr][op->r] + (int)first, n);
		}
		task_param(b, 0, 1.0 / ((double)s->plan.n * x->h * x->w));
		task_reads(b, b->val[op->x] + (int)first, n);
		task_reads(b, b->grad[0][op->y] + (int)first, n);
		task_reads(b, b->w[op->layer], 1);
		task_reads(b, b->state[op->layer] + (int)first, n);
		task_writes(b, b->g[op->layer] + (int)first, n);
		task_writes(b, b->grad[op->gx][op->x] + (int)first, n);
	}
}

/* Programs with map operands only: in, in2 (if any) -> out. p0: the parameter of those that have one. */
static void elementwise(struct builder *b, const struct op *op, const char *name, const uint64_t off[], const int cell[], int nin,
			const struct map *m, uint64_t out, int out_cell, double p0)
{
	for_tiles(b, m, first, n)
	{
		task_program(b, name, op->layer, m, first, n);
		for (int i = 0; i < nin; i++) {
			task_stream(b, m, off[i]);
			task_reads(b, cell[i] + (int)first, n);
		}
		task_stream(b, m, out);
		task_param(b, 0, p0);
		task_writes(b, out_cell + (int)first, n);
	}
}

/* Sum of the contributions to a map's gradient, in the order in which they were made. */
void merge_gradients(struct builder *b, const struct op *op, int map)
{
	const struct map *m = &b->s->plan.map[map];

	for (unsigned int g = 1; g < m->ngrads; g++)
		elementwise(b, op, "add", (uint64_t[]){ m->grad[0], m->grad[g] }, (int[]){ b->grad[0][map], b->grad[g][map] }, 2, m,
			    m->grad[0], b->grad[0][map], 0);
}

/* Kernels of the activations. What backward reads besides dy: the output, or the input where that cannot tell. */
static const struct {
	const char *forward, *backward;
	bool input;
} act_kernel[] = {
	[PIM_RELU] = { "relu_fwd", "relu_bwd", false },		[PIM_RELU6] = { "relu6_fwd", "relu6_bwd", false },
	[PIM_LEAKY_RELU] = { "leaky_fwd", "leaky_bwd", false }, [PIM_SIGMOID] = { "sigmoid_fwd", "sigmoid_bwd", false },
	[PIM_SILU] = { "silu_fwd", "silu_bwd", true },
};

/* P0 of the kernels that have one. */
static double act_param(const struct layer *l)
{
	return l->act == PIM_RELU6 ? 6 : (double)l->slope;
}

void act_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];
	const struct layer *l = &b->s->plan.net->layer[op->layer];

	elementwise(b, op, act_kernel[l->act].forward, &x->val, &b->val[op->x], 1, y, y->val, b->val[op->y], act_param(l));
}

void act_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	bool input = act_kernel[l->act].input;

	elementwise(b, op, act_kernel[l->act].backward, (uint64_t[]){ y->grad[0], input ? x->val : y->val },
		    (int[]){ b->grad[0][op->y], input ? b->val[op->x] : b->val[op->y] }, 2, y, x->grad[op->gx],
		    b->grad[op->gx][op->x], act_param(l));
}

void add_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *r = &b->s->plan.map[op->r], *y = &b->s->plan.map[op->y];

	elementwise(b, op, op->relu ? "add_relu" : "add", (uint64_t[]){ x->val, r->val }, (int[]){ b->val[op->x], b->val[op->r] },
		    2, y, y->val, b->val[op->y], 0);
}

/* dy, through the fused ReLU if there is one, into one contribution of map m. */
static void pass_gradient(struct builder *b, const struct op *op, int m, int g)
{
	const struct map *x = &b->s->plan.map[m], *y = &b->s->plan.map[op->y];

	elementwise(b, op, op->relu ? "relu_bwd" : "copy", (uint64_t[]){ y->grad[0], y->val },
		    (int[]){ b->grad[0][op->y], b->val[op->y] }, op->relu ? 2 : 1, y, x->grad[g], b->grad[g][m], 0);
}

void add_backward(struct builder *b, const struct op *op)
{
	pass_gradient(b, op, op->x, op->gx);
	pass_gradient(b, op, op->r, op->gr);
}

/* Channel multiply: x and y have a plane per pixel, the scale has one plane, so that its images lie as theirs do. */
void mul_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *scale = &b->s->plan.map[op->r], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		task_program(b, "mul_fwd", op->layer, x, first, n);
		task_stream(b, x, x->val);
		task_stream(b, scale, scale->val);
		task_stream(b, y, y->val);
		task_reads(b, b->val[op->x] + (int)first, n);
		task_reads(b, b->val[op->r] + (int)first, n);
		task_writes(b, b->val[op->y] + (int)first, n);
	}
}

void mul_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *scale = &b->s->plan.map[op->r], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		task_program(b, "mul_bwd", op->layer, x, first, n);
		task_stream(b, y, y->grad[0]);
		task_stream(b, x, x->val);
		task_stream(b, scale, scale->val);
		task_stream(b, x, x->grad[op->gx]);
		task_stream(b, scale, scale->grad[op->gr]);
		task_reads(b, b->grad[0][op->y] + (int)first, n);
		task_reads(b, b->val[op->x] + (int)first, n);
		task_reads(b, b->val[op->r] + (int)first, n);
		task_writes(b, b->grad[op->gx][op->x] + (int)first, n);
		task_writes(b, b->grad[op->gr][op->r] + (int)first, n);
	}
}

/* The planes of x, one value of y per plane position: the program loops over x's planes. */
static void pool_program(struct builder *b, const char *name, const struct op *op, const struct map *x, uint32_t first, uint32_t n)
{
	task_program(b, name, op->layer, x, first, n);
	task_param(b, 0, 1.0 / (x->wh * x->ww));
}

void pool_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	if (op->host) {
		host_pool_forward(b, op);
		return;
	}
	for_tiles(b, x, first, n)
	{
		pool_program(b, op->kind == OP_MAXPOOL ? "maxpool_fwd" : "avgpool_fwd", op, x, first, n);
		task_stream(b, x, x->val);
		task_stream(b, y, y->val);
		task_reads(b, b->val[op->x] + (int)first, n);
		task_writes(b, b->val[op->y] + (int)first, n);
	}
}

void pool_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	if (op->host) {
		host_pool_backward(b, op);
		return;
	}
	for_tiles(b, x, first, n)
	{
		pool_program(b, op->kind == OP_MAXPOOL ? "maxpool_bwd" : "avgpool_bwd", op, x, first, n);
		if (op->kind == OP_MAXPOOL) {
			task_stream(b, x, x->val);
			task_stream(b, y, y->val);
			task_reads(b, b->val[op->x] + (int)first, n);
			task_reads(b, b->val[op->y] + (int)first, n);
		}
		task_stream(b, y, y->grad[0]);
		task_stream(b, x, x->grad[op->gx]);
		task_reads(b, b->grad[0][op->y] + (int)first, n);
		task_writes(b, b->grad[op->gx][op->x] + (int)first, n);
	}
}
