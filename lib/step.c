// SPDX-License-Identifier: MIT
/*
 * The tasks of a step, in program order. Each task says which blocks of which maps and parameters it reads and writes; its dependencies follow
 * from that (read after write, write after read, write after write), so no rule about layers is needed anywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "kernel.h"
#include "step.h"

/* The last writer of one block of one thing, and who has read it since. */
struct cell {
	int writer;
	int *reader;
	int nreaders, cap;
};

struct builder {
	struct step *s;
	const struct pim_train_options *opt;
	int *val, *grad[MAX_GRADS]; /* first cell of a map */
	int *w, *g, *v, *state; /* of a layer */
	int input, label, out;
	struct task *t; /* the one being made */
	const struct pim_kernel *k; /* its program */
	int err;
};

/* -- dependencies ----------------------------------------------------------------------------------------------------- */

static int grow(void **array, int n, int *cap, size_t size)
{
	void *p;

	if (n < *cap)
		return 0;
	p = realloc(*array, (size_t)(*cap ? 2 * *cap : 8) * size);
	if (!p)
		return pim_error(-ENOMEM, "no memory for the tasks of a step");
	*array = p;
	*cap = *cap ? 2 * *cap : 8;
	return 0;
}

static void depend(struct builder *b, int on)
{
	struct task *t = b->t;

	if (on < 0 || on == b->s->ntasks - 1)
		return;
	for (int i = 0; i < t->ndeps; i++)
		if (t->dep[i] == on)
			return;
	if (grow((void **)&t->dep, t->ndeps, &t->depcap, sizeof(*t->dep)))
		b->err = -ENOMEM;
	else
		t->dep[t->ndeps++] = on;
}

static void reads(struct builder *b, int cell, unsigned int n)
{
	for (struct cell *c = &b->s->cell[cell]; n--; c++) {
		depend(b, c->writer);
		if (grow((void **)&c->reader, c->nreaders, &c->cap, sizeof(*c->reader)))
			b->err = -ENOMEM;
		else
			c->reader[c->nreaders++] = b->s->ntasks - 1;
	}
}

static void writes(struct builder *b, int cell, unsigned int n)
{
	for (struct cell *c = &b->s->cell[cell]; n--; c++) {
		depend(b, c->writer);
		for (int i = 0; i < c->nreaders; i++)
			depend(b, c->reader[i]);
		c->nreaders = 0;
		c->writer = b->s->ntasks - 1;
	}
}

/* -- the parts of a task ---------------------------------------------------------------------------------------------- */

static struct task *new_task(struct builder *b, enum pim_engine engine, uint32_t op, int layer, const char *what)
{
	static struct task scratch;
	struct step *s = b->s;

	if (b->err || grow((void **)&s->task, s->ntasks, &s->taskcap, sizeof(*s->task))) {
		b->err = b->err ? b->err : -ENOMEM;
		b->t = &scratch; /* the caller goes on; step_build() returns the error */
	} else {
		b->t = &s->task[s->ntasks++];
	}
	*b->t = (struct task){ .engine = engine, .op = op, .layer = layer, .what = what, .lr_param = -1 };
	return b->t;
}

static uint32_t bind(struct builder *b, enum step_buffer buf, uint64_t off, uint64_t bytes, uint32_t access)
{
	b->t->bind[b->t->nbind] = (struct task_binding){ .buf = buf, .off = off, .bytes = bytes, .access = access };
	return b->t->nbind++;
}

static struct pim_hw_fmap fmap_at(struct builder *b, const struct map *m, enum step_buffer buf, uint64_t off, uint32_t access)
{
	return (struct pim_hw_fmap){ .binding = bind(b, buf, off, m->block_bytes * m->blocks, access),
				     .n = b->s->plan.n,
				     .c = m->c,
				     .h = m->h,
				     .w = m->w,
				     .wh = m->wh,
				     .ww = m->ww,
				     .block_bytes = m->block_bytes,
				     .plane_bytes = m->plane_bytes };
}

static struct pim_hw_fmap fmap(struct builder *b, const struct map *m, uint64_t off, uint32_t access)
{
	return fmap_at(b, m, BUF_MAPS, off, access);
}

/* A PIM program over blocks [first, first + n) of maps shaped as m. */
static void program(struct builder *b, const char *name, int layer, const struct map *m, uint32_t first, uint32_t n)
{
	const struct pim_kernel *k = pim_kernel_find(name);
	struct task *t = new_task(b, PIM_PIM, PIM_HW_OP_PROGRAM, layer, name);
	struct pim_hw_program *p = &t->payload.program;

	b->k = k;
	if (!k) {
		b->err = pim_error(-ENOENT, "no PIM kernel \"%s\"", name);
		return;
	}
	t->payload_bytes = sizeof(*p);
	t->first = first * 16;
	t->count = n * 16;
	p->code_binding = bind(b, BUF_CODE, k->offset, 4 * (k->ncrf + k->nsrf), PIM_READ);
	p->crf_len = k->ncrf;
	p->srf_len = k->nsrf;
	p->blocks = n;
	p->planes = m->wh * m->ww;
	p->run_bytes = m->pixels_bytes;
	t->cost_ns = 200; /* fixed cost of a launch */
}

/* What the kernel's code does with the stream that comes next. */
static uint32_t stream_access(const struct builder *b)
{
	return b->k ? b->k->access[b->t->payload.program.nstreams] : 0;
}

static void cost_of_bytes(struct builder *b, uint64_t bytes)
{
	b->t->cost_ns += bytes * 1000 / b->s->plan.info.pim_mbps;
}

static void add_stream(struct builder *b, uint32_t binding, uint64_t block_bytes, uint64_t plane_bytes)
{
	struct pim_hw_program *p = &b->t->payload.program;

	p->stream[p->nstreams++] =
		(struct pim_hw_stream){ .binding = binding, .block_bytes = block_bytes, .plane_bytes = plane_bytes };
}

/* Stream over the program's blocks of a map: m is the map, off the place of its block 0. */
static void stream(struct builder *b, const struct map *m, uint64_t off)
{
	struct pim_hw_program *p = &b->t->payload.program;
	uint64_t at = off + b->t->first / 16 * m->block_bytes, bytes = p->blocks * m->block_bytes;

	add_stream(b, bind(b, BUF_MAPS, at, bytes, stream_access(b)), m->block_bytes, m->wh * m->ww > 1 ? m->plane_bytes : 0);
	cost_of_bytes(b, (uint64_t)p->blocks * m->wh * m->ww * m->pixels_bytes);
}

/* Stream of records, one per channel block, that only the base-die scalar unit touches. */
static void records(struct builder *b, uint64_t off, uint64_t record)
{
	uint32_t blocks = b->t->payload.program.blocks;

	add_stream(b, bind(b, BUF_PARAMS, off + b->t->first / 16 * record, blocks * record, stream_access(b)), record, 0);
}

static void param(struct builder *b, int i, double v)
{
	float f = (float)v;

	memcpy(&b->t->payload.program.param[i], &f, 4);
}

/* Channel blocks per tile of a map. A tile below about 1 us of PIM work costs more in switching than its overlap wins. */
static uint32_t tile_blocks(const struct builder *b, const struct map *m)
{
	uint64_t block_ns = 3 * m->pixels_bytes * m->wh * m->ww * 1000 / b->s->plan.info.pim_mbps + 1;
	uint64_t n = b->opt->tile ? b->opt->tile / 16 : (1000 + block_ns - 1) / block_ns;

	if (b->s->mode == PIM_SERIAL || n > m->blocks)
		return m->blocks;
	return (uint32_t)n;
}

#define for_tiles(b, m, first, n)                                                                                                  \
	for (uint32_t first = 0, step_ = tile_blocks(b, m), n = step_ < (m)->blocks ? step_ : (m)->blocks; first < (m)->blocks;    \
	     first += n, n = step_ < (m)->blocks - first ? step_ : (m)->blocks - first)

/* -- forward ---------------------------------------------------------------------------------------------------------- */

static void conv_cost(struct builder *b, const struct map *x, const struct map *y, const struct layer *l, double share)
{
	const struct pim_info *info = &b->s->plan.info;
	double flops = 2.0 * b->s->plan.n * y->h * y->w * y->c * x->c * l->kh * l->kw * share;
	double bytes = (double)(x->block_bytes * x->blocks + y->block_bytes * y->blocks) * share;
	double c = flops / info->host_gflops, m = bytes * 1000 / info->host_mbps;

	b->t->cost_ns = 200 + (uint64_t)(c > m ? c : m);
}

static struct pim_hw_conv *conv_task(struct builder *b, uint32_t hwop, const struct op *op, const char *what, uint32_t first,
				     uint32_t n)
{
	const struct layer *l = &b->s->plan.net->layer[op->layer];
	struct task *t = new_task(b, PIM_HOST, hwop, op->layer, what);
	struct pim_hw_conv *c = &t->payload.conv;

	t->payload_bytes = sizeof(*c);
	t->first = first * 16;
	t->count = n * 16;
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

	c->wei_binding = c->bias_binding = bind(b, BUF_PARAMS, arena + sl->off, sl->bytes, access);
	if (l->bias && b->t->op != PIM_HW_OP_CONV_BWD_DATA) {
		c->flags |= PIM_HW_CONV_BIAS;
		c->bias_off = sl->bias_off;
	}
}

static void conv_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];
	const struct layer *l = &b->s->plan.net->layer[op->layer];

	for_tiles(b, y, first, n)
	{
		struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_FWD, op, "conv_fwd", first, n);

		c->src = fmap(b, x, x->val, PIM_READ);
		c->dst = fmap(b, y, y->val, PIM_WRITE);
		conv_weights(b, c, op, b->s->params->w_off, PIM_READ);
		conv_cost(b, x, y, l, (double)n / y->blocks);
		reads(b, b->val[op->x], x->blocks);
		reads(b, b->w[op->layer], 1);
		writes(b, b->val[op->y] + (int)first, n);
	}
}

static void bn_forward(struct builder *b, const struct op *op)
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
		program(b, name[s->plan.train][op->relu + (op->r >= 0)], op->layer, y, first, n);
		stream(b, x, x->val);
		stream(b, y, y->val);
		records(b, s->params->w_off + sl->off, BN_PARAM_BYTES);
		records(b, sl->state_off, BN_STATE_BYTES);
		if (op->r >= 0) {
			stream(b, y, s->plan.map[op->r].val);
			reads(b, b->val[op->r] + (int)first, n);
		}
		param(b, 0, 1 / m);
		param(b, 1, (double)l->eps);
		param(b, 2, 1 - momentum);
		param(b, 3, momentum);
		param(b, 4, m > 1 ? momentum * m / (m - 1) : momentum);
		reads(b, b->val[op->x] + (int)first, n);
		reads(b, b->w[op->layer], 1);
		(s->plan.train ? writes : reads)(b, b->state[op->layer] + (int)first, n);
		writes(b, b->val[op->y] + (int)first, n);
	}
}

/* Programs with map operands only: in, in2 (if any) -> out. */
static void elementwise(struct builder *b, const struct op *op, const char *name, const uint64_t off[], const int cell[], int nin,
			const struct map *m, uint64_t out, int out_cell)
{
	for_tiles(b, m, first, n)
	{
		program(b, name, op->layer, m, first, n);
		for (int i = 0; i < nin; i++) {
			stream(b, m, off[i]);
			reads(b, cell[i] + (int)first, n);
		}
		stream(b, m, out);
		writes(b, out_cell + (int)first, n);
	}
}

static void relu_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	elementwise(b, op, "relu_fwd", &x->val, &b->val[op->x], 1, y, y->val, b->val[op->y]);
}

static void add_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *r = &b->s->plan.map[op->r], *y = &b->s->plan.map[op->y];

	elementwise(b, op, op->relu ? "add_relu" : "add", (uint64_t[]){ x->val, r->val }, (int[]){ b->val[op->x], b->val[op->r] },
		    2, y, y->val, b->val[op->y]);
}

/* The planes of x, one value of y per plane position: the program loops over x's planes. */
static void pool_program(struct builder *b, const char *name, const struct op *op, const struct map *x, uint32_t first, uint32_t n)
{
	program(b, name, op->layer, x, first, n);
	param(b, 0, 1.0 / (x->wh * x->ww));
}

static void pool_forward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		pool_program(b, op->kind == OP_MAXPOOL ? "maxpool_fwd" : "avgpool_fwd", op, x, first, n);
		stream(b, x, x->val);
		stream(b, y, y->val);
		reads(b, b->val[op->x] + (int)first, n);
		writes(b, b->val[op->y] + (int)first, n);
	}
}

static void loss(struct builder *b, const struct op *op)
{
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x];
	struct task *t = new_task(b, PIM_HOST, PIM_HW_OP_SOFTMAX_CE, op->layer, "softmax_ce");
	struct pim_hw_softmax *p = &t->payload.softmax;

	t->payload_bytes = sizeof(*p);
	t->count = x->c;
	p->logits = fmap(b, x, x->val, PIM_READ);
	if (s->plan.train)
		p->grad = fmap(b, x, x->grad[op->gx], PIM_WRITE);
	else
		p->flags = PIM_HW_SOFTMAX_NO_GRAD;
	p->label_binding = bind(b, BUF_SLOT, s->slot.label, 4ull * s->plan.n, PIM_READ);
	p->out_binding = bind(b, BUF_SLOT, s->slot.out, 8, PIM_WRITE);
	t->cost_ns = 1000;
	reads(b, b->val[op->x], x->blocks);
	if (s->plan.train)
		writes(b, b->grad[op->gx][op->x], x->blocks);
}

/* -- backward --------------------------------------------------------------------------------------------------------- */

/* Sum of the contributions to a map's gradient, in the order in which they were made. */
static void merge(struct builder *b, const struct op *op, int map)
{
	const struct map *m = &b->s->plan.map[map];

	for (unsigned int g = 1; g < m->ngrads; g++)
		elementwise(b, op, "add", (uint64_t[]){ m->grad[0], m->grad[g] }, (int[]){ b->grad[0][map], b->grad[g][map] }, 2, m,
			    m->grad[0], b->grad[0][map]);
}

static void conv_backward(struct builder *b, const struct op *op)
{
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x], *y = &s->plan.map[op->y];
	const struct layer *l = &s->plan.net->layer[op->layer];

	if (op->gx >= 0)
		for_tiles(b, x, first, n)
		{
			struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_BWD_DATA, op, "conv_bwd_data", first, n);

			c->src = fmap(b, x, x->grad[op->gx], PIM_WRITE);
			c->dst = fmap(b, y, y->grad[0], PIM_READ);
			conv_weights(b, c, op, s->params->w_off, PIM_READ);
			conv_cost(b, x, y, l, (double)n / x->blocks);
			reads(b, b->grad[0][op->y], y->blocks);
			reads(b, b->w[op->layer], 1);
			writes(b, b->grad[op->gx][op->x] + (int)first, n);
		}
	for_tiles(b, y, first, n)
	{
		struct pim_hw_conv *c = conv_task(b, PIM_HW_OP_CONV_BWD_WEIGHTS, op, "conv_bwd_weights", first, n);

		c->src = fmap(b, x, x->val, PIM_READ);
		c->dst = fmap(b, y, y->grad[0], PIM_READ);
		conv_weights(b, c, op, s->params->g_off, PIM_WRITE);
		conv_cost(b, x, y, l, (double)n / y->blocks);
		reads(b, b->val[op->x], x->blocks);
		reads(b, b->grad[0][op->y] + (int)first, n);
		writes(b, b->g[op->layer] + (int)first, n);
	}
}

static void bn_backward(struct builder *b, const struct op *op)
{
	static const char *const name[3] = { "bn_bwd", "bn_relu_bwd", "bn_add_relu_bwd" };
	const struct step *s = b->s;
	const struct map *x = &s->plan.map[op->x], *y = &s->plan.map[op->y];
	const struct slice *sl = &s->params->slice[op->layer];

	for_tiles(b, y, first, n)
	{
		program(b, name[op->relu + (op->r >= 0)], op->layer, y, first, n);
		stream(b, x, x->val);
		stream(b, y, y->grad[0]);
		stream(b, x, x->grad[op->gx]);
		records(b, s->params->w_off + sl->off, BN_PARAM_BYTES);
		records(b, s->params->g_off + sl->off, BN_PARAM_BYTES);
		records(b, sl->state_off, BN_STATE_BYTES);
		if (op->relu) {
			stream(b, y, y->val);
			reads(b, b->val[op->y] + (int)first, n);
		}
		if (op->r >= 0) {
			stream(b, y, s->plan.map[op->r].grad[op->gr]);
			writes(b, b->grad[op->gr][op->r] + (int)first, n);
		}
		param(b, 0, 1.0 / ((double)s->plan.n * x->h * x->w));
		reads(b, b->val[op->x] + (int)first, n);
		reads(b, b->grad[0][op->y] + (int)first, n);
		reads(b, b->w[op->layer], 1);
		reads(b, b->state[op->layer] + (int)first, n);
		writes(b, b->g[op->layer] + (int)first, n);
		writes(b, b->grad[op->gx][op->x] + (int)first, n);
	}
}

/* dy through a ReLU (or none) into one contribution of map m. */
static void pass_gradient(struct builder *b, const struct op *op, int m, int g)
{
	const struct map *x = &b->s->plan.map[m], *y = &b->s->plan.map[op->y];

	elementwise(b, op, op->relu || op->kind == OP_ACT ? "relu_bwd" : "copy", (uint64_t[]){ y->grad[0], y->val },
		    (int[]){ b->grad[0][op->y], b->val[op->y] }, op->relu || op->kind == OP_ACT ? 2 : 1, y, x->grad[g],
		    b->grad[g][m]);
}

static void relu_backward(struct builder *b, const struct op *op)
{
	pass_gradient(b, op, op->x, op->gx);
}

static void add_backward(struct builder *b, const struct op *op)
{
	pass_gradient(b, op, op->x, op->gx);
	pass_gradient(b, op, op->r, op->gr);
}

static void pool_backward(struct builder *b, const struct op *op)
{
	const struct map *x = &b->s->plan.map[op->x], *y = &b->s->plan.map[op->y];

	for_tiles(b, x, first, n)
	{
		pool_program(b, op->kind == OP_MAXPOOL ? "maxpool_bwd" : "avgpool_bwd", op, x, first, n);
		if (op->kind == OP_MAXPOOL) {
			stream(b, x, x->val);
			stream(b, y, y->val);
			reads(b, b->val[op->x] + (int)first, n);
			reads(b, b->val[op->y] + (int)first, n);
		}
		stream(b, y, y->grad[0]);
		stream(b, x, x->grad[op->gx]);
		reads(b, b->grad[0][op->y] + (int)first, n);
		writes(b, b->grad[op->gx][op->x] + (int)first, n);
	}
}

/* The update of one group of layers: as flat arrays, whatever the layout. */
static void update(struct builder *b, const struct group *gr)
{
	const struct step *s = b->s;
	const uint64_t off[3] = { s->params->w_off, s->params->g_off, s->params->v_off };
	struct map flat = { .wh = 1, .ww = 1, .pixels_bytes = gr->bytes };
	uint64_t stripe = s->plan.info.stripe_bytes;

	program(b, "sgd", gr->first, &flat, 0, 1);
	for (int i = 0; i < 3; i++)
		add_stream(b, bind(b, BUF_PARAMS, off[i] + gr->off, (gr->bytes + stripe - 1) / stripe * stripe, stream_access(b)),
			   0, 0);
	cost_of_bytes(b, 5 * gr->bytes);
	param(b, 0, b->opt->weight_decay);
	param(b, 1, b->opt->momentum);
	b->t->lr_param = 2;
	for (int l = gr->first; l <= gr->last; l++) {
		if (!s->params->slice[l].bytes)
			continue;
		reads(b, b->g[l], (s->plan.net->layer[l].c + 15) / 16);
		writes(b, b->w[l], 1);
		writes(b, b->v[l], 1);
	}
}

/* -- the step --------------------------------------------------------------------------------------------------------- */

static const struct {
	void (*forward)(struct builder *b, const struct op *op);
	void (*backward)(struct builder *b, const struct op *op);
} op_tasks[] = {
	[OP_CONV] = { conv_forward, conv_backward },
	[OP_BN] = { bn_forward, bn_backward },
	[OP_ACT] = { relu_forward, relu_backward },
	[OP_ADD] = { add_forward, add_backward },
	[OP_MAXPOOL] = { pool_forward, pool_backward },
	[OP_AVGPOOL] = { pool_forward, pool_backward },
	[OP_LOSS] = { loss, NULL },
};

static void copy_input(struct builder *b)
{
	const struct map *x = &b->s->plan.map[0];
	struct task *t = new_task(b, PIM_HOST, PIM_HW_OP_COPY, 0, "input");

	t->payload_bytes = sizeof(t->payload.copy);
	t->count = x->c;
	t->payload.copy.src = fmap_at(b, x, BUF_SLOT, b->s->slot.input, PIM_READ);
	t->payload.copy.dst = fmap(b, x, x->val, PIM_WRITE);
	t->cost_ns = 1000 + x->block_bytes * x->blocks * 1000 / b->s->plan.info.window_mbps;
	writes(b, b->val[0], x->blocks);
}

static int make_cells(struct builder *b)
{
	struct step *s = b->s;
	int n = 0, nl = s->plan.net->n, nm = s->plan.nmap;
	int **layer[] = { &b->w, &b->g, &b->v, &b->state };

	for (int k = -1; k < MAX_GRADS; k++) {
		int *first = calloc((size_t)nm, sizeof(int));

		*(k < 0 ? &b->val : &b->grad[k]) = first;
		if (!first)
			return -ENOMEM;
		for (int i = 0; i < nm; i++) {
			first[i] = n;
			n += k < (int)s->plan.map[i].ngrads ? (int)s->plan.map[i].blocks : 0;
		}
	}
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
		copy_input(&b);
	for (int i = 0; i < s->plan.nop && !b.err; i++)
		op_tasks[s->plan.op[i].kind].forward(&b, &s->plan.op[i]);
	for (int i = s->plan.nop - 2, g = params->ngroups - 1; i >= 0 && train && !b.err; i--) {
		const struct op *op = &s->plan.op[i];

		merge(&b, op, op->y);
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
