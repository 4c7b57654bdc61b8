/* SPDX-License-Identifier: MIT */
/*
 * How the tasks of a step are made, from inside: task.c has the parts that all of them have, tasks_*.c the tasks of each operation, step.c
 * puts them together.
 */
#ifndef PIM_LIB_BUILDER_H
#define PIM_LIB_BUILDER_H

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
	int *w, *g, *v, *state; /* of a layer; v: what the optimizer keeps */
	struct task *t; /* the one being made */
	const struct pim_kernel *k; /* its program */
	int err;
};

/* The task that the calls below are about, from here on. Never NULL: an error is kept in b->err. */
struct task *task_new(struct builder *b, enum pim_engine engine, uint32_t op, int layer, const char *what);
/* The same, for blocks [first, first + n) of channels, with a payload of so many bytes. */
struct task *task_tile(struct builder *b, enum pim_engine engine, uint32_t op, int layer, const char *what, uint32_t payload_bytes,
		       uint32_t first, uint32_t n);
/* Memory that it names; returns the binding's number. */
uint32_t task_bind(struct builder *b, enum step_buffer buf, uint64_t off, uint64_t bytes, uint32_t access);
struct pim_hw_fmap task_fmap_at(struct builder *b, const struct map *m, enum step_buffer buf, uint64_t off, uint32_t access);
struct pim_hw_fmap task_fmap(struct builder *b, const struct map *m, uint64_t off, uint32_t access);
/* Cells [cell, cell + n) that it reads or writes. */
void task_reads(struct builder *b, int cell, unsigned int n);
void task_writes(struct builder *b, int cell, unsigned int n);

/* A new task: a PIM program over blocks [first, first + n) of maps shaped as m. Then its operands, in the kernel's order. */
void task_program(struct builder *b, const char *name, int layer, const struct map *m, uint32_t first, uint32_t n);
/* Its blocks of a map: m is the map, off the place of its block 0. */
void task_stream(struct builder *b, const struct map *m, uint64_t off);
/* Records, one per channel block, that only the base-die scalar unit touches. */
void task_records(struct builder *b, uint64_t off, uint64_t record);
/* Any other. */
void task_add_stream(struct builder *b, uint32_t binding, uint64_t block_bytes, uint64_t plane_bytes);
/* What the kernel's code does with the stream that comes next. */
uint32_t task_stream_access(const struct builder *b);
void task_cost_of_bytes(struct builder *b, uint64_t bytes);
void task_param(struct builder *b, int i, double v);

/* Channel blocks per tile of a map. */
uint32_t tile_blocks(const struct builder *b, const struct map *m);

#define for_tiles(b, m, first, n)                                                                                                  \
	for (uint32_t first = 0, step_ = tile_blocks(b, m), n = step_ < (m)->blocks ? step_ : (m)->blocks; first < (m)->blocks;    \
	     first += n, n = step_ < (m)->blocks - first ? step_ : (m)->blocks - first)

/* -- the tasks of each operation ---------------------------------------------------------------------------------------- */

void conv_forward(struct builder *b, const struct op *op);
void conv_backward(struct builder *b, const struct op *op);
void bn_forward(struct builder *b, const struct op *op);
void bn_backward(struct builder *b, const struct op *op);
void act_forward(struct builder *b, const struct op *op);
void act_backward(struct builder *b, const struct op *op);
void add_forward(struct builder *b, const struct op *op);
void add_backward(struct builder *b, const struct op *op);
void mul_forward(struct builder *b, const struct op *op);
void mul_backward(struct builder *b, const struct op *op);
void pool_forward(struct builder *b, const struct op *op);
void pool_backward(struct builder *b, const struct op *op);
void host_pool_forward(struct builder *b, const struct op *op);
void host_pool_backward(struct builder *b, const struct op *op);
void dropout_forward(struct builder *b, const struct op *op);
void dropout_backward(struct builder *b, const struct op *op);
void loss_forward(struct builder *b, const struct op *op);
/* The input batch, from its slot to map 0. */
void input_forward(struct builder *b);
/* Sum of the contributions to a map's gradient, in the order in which they were made. */
void merge_gradients(struct builder *b, const struct op *op, int map);
/* The optimizer's step for one group of layers. */
void update(struct builder *b, const struct group *gr);

#endif
