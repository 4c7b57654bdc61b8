// SPDX-License-Identifier: MIT
/*
 * The parts of a task: its engine and payload, the memory it names, what it depends on. Each task says which blocks of which maps and
 * parameters it reads and writes; its dependencies follow from that (read after write, write after read, write after write), so no rule about
 * layers is needed anywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "builder.h"
#include "error.h"

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

void task_reads(struct builder *b, int cell, unsigned int n)
{
	for (struct cell *c = &b->s->cell[cell]; n--; c++) {
		depend(b, c->writer);
		if (grow((void **)&c->reader, c->nreaders, &c->cap, sizeof(*c->reader)))
			b->err = -ENOMEM;
		else
			c->reader[c->nreaders++] = b->s->ntasks - 1;
	}
}

void task_writes(struct builder *b, int cell, unsigned int n)
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

struct task *task_new(struct builder *b, enum pim_engine engine, uint32_t op, int layer, const char *what)
{
	static _Thread_local struct task scratch;
	struct step *s = b->s;

	if (b->err || grow((void **)&s->task, s->ntasks, &s->taskcap, sizeof(*s->task))) {
		b->err = b->err ? b->err : -ENOMEM;
		b->t = &scratch; /* the caller goes on; step_build() returns the error */
	} else {
		b->t = &s->task[s->ntasks++];
	}
	*b->t = (struct task){ .engine = engine, .op = op, .layer = layer, .what = what };
	return b->t;
}

struct task *task_tile(struct builder *b, enum pim_engine engine, uint32_t op, int layer, const char *what, uint32_t payload_bytes,
		       uint32_t first, uint32_t n)
{
	struct task *t = task_new(b, engine, op, layer, what);

	t->payload_bytes = payload_bytes;
	t->first = first * 16;
	t->count = n * 16;
	return t;
}

uint32_t task_bind(struct builder *b, enum step_buffer buf, uint64_t off, uint64_t bytes, uint32_t access)
{
	b->t->bind[b->t->nbind] = (struct task_binding){ .buf = buf, .off = off, .bytes = bytes, .access = access };
	return b->t->nbind++;
}

struct pim_hw_fmap task_fmap_at(struct builder *b, const struct map *m, enum step_buffer buf, uint64_t off, uint32_t access)
{
	return (struct pim_hw_fmap){ .binding = task_bind(b, buf, off, m->block_bytes * m->blocks, access),
				     .n = b->s->plan.n,
				     .c = m->c,
				     .h = m->h,
				     .w = m->w,
				     .wh = m->wh,
				     .ww = m->ww,
				     .block_bytes = m->block_bytes,
				     .plane_bytes = m->plane_bytes };
}

struct pim_hw_fmap task_fmap(struct builder *b, const struct map *m, uint64_t off, uint32_t access)
{
	return task_fmap_at(b, m, BUF_MAPS, off, access);
}

/* A PIM program over blocks [first, first + n) of maps shaped as m. */
void task_program(struct builder *b, const char *name, int layer, const struct map *m, uint32_t first, uint32_t n)
{
	const struct pim_kernel *k = pim_kernel_find(name);
	struct task *t = task_tile(b, PIM_PIM, PIM_HW_OP_PROGRAM, layer, name, sizeof(t->payload.program), first, n);
	struct pim_hw_program *p = &t->payload.program;

	b->k = k;
	if (!k) {
		b->err = pim_error(-ENOENT, "no PIM kernel \"%s\"", name);
		return;
	}
	p->code_binding = task_bind(b, BUF_CODE, k->offset, 4 * (k->ncrf + k->nsrf), PIM_READ);
	p->crf_len = k->ncrf;
	p->srf_len = k->nsrf;
	p->blocks = n;
	p->planes = m->wh * m->ww;
	p->run_bytes = m->pixels_bytes;
	t->cost_ns = 200; /* fixed cost of a launch */
}

/* What the kernel's code does with the stream that comes next. */
uint32_t task_stream_access(const struct builder *b)
{
	return b->k ? b->k->access[b->t->payload.program.nstreams] : 0;
}

void task_cost_of_bytes(struct builder *b, uint64_t bytes)
{
	b->t->bytes += bytes;
	b->t->cost_ns += bytes * 1000 / b->s->plan.info.pim_mbps;
}

void task_add_stream(struct builder *b, uint32_t binding, uint64_t block_bytes, uint64_t plane_bytes)
{
	struct pim_hw_program *p = &b->t->payload.program;

	p->stream[p->nstreams++] =
		(struct pim_hw_stream){ .binding = binding, .block_bytes = block_bytes, .plane_bytes = plane_bytes };
}

/* Stream over the program's blocks of a map: m is the map, off the place of its block 0. */
void task_stream(struct builder *b, const struct map *m, uint64_t off)
{
	struct pim_hw_program *p = &b->t->payload.program;
	uint64_t at = off + b->t->first / 16 * m->block_bytes, bytes = p->blocks * m->block_bytes;

	task_add_stream(b, task_bind(b, BUF_MAPS, at, bytes, task_stream_access(b)), m->block_bytes,
			m->wh * m->ww > 1 ? m->plane_bytes : 0);
	task_cost_of_bytes(b, (uint64_t)p->blocks * m->wh * m->ww * m->pixels_bytes);
}

/* Stream of records, one per channel block, that only the base-die scalar unit touches. */
void task_records(struct builder *b, uint64_t off, uint64_t record)
{
	uint32_t blocks = b->t->payload.program.blocks;

	task_add_stream(b, task_bind(b, BUF_PARAMS, off + b->t->first / 16 * record, blocks * record, task_stream_access(b)),
			record, 0);
}

void task_param(struct builder *b, int i, double v)
{
	float f = (float)v;

	memcpy(&b->t->payload.program.param[i], &f, 4);
}

/* Channel blocks per tile of a map. A tile below about 1 us of PIM work costs more in switching than its overlap wins. */
uint32_t tile_blocks(const struct builder *b, const struct map *m)
{
	uint64_t block_ns = 3 * m->pixels_bytes * m->wh * m->ww * 1000 / b->s->plan.info.pim_mbps + 1;
	uint64_t n = b->opt->tile ? b->opt->tile / 16 : (1000 + block_ns - 1) / block_ns;

	if (b->s->mode == PIM_SERIAL || n > m->blocks)
		return m->blocks;
	return (uint32_t)n;
}
