/* SPDX-License-Identifier: MIT */
/*
 * A plan: a network with a batch size, laid out in card memory. Layers are fused into operations, each of which is one kind of task forward
 * and one or more backward; feature maps get a layout and a place.
 */
#ifndef PIM_LIB_PLAN_H
#define PIM_LIB_PLAN_H

#include <pim/device.h>

#include "net.h"

#define MAX_GRADS 8 /* users of one feature map */

/* A feature map. Layout: struct pim_hw_fmap. */
struct map {
	uint32_t c, h, w, blocks;
	uint32_t wh, ww; /* window of the pool that reads it, else 1 x 1 */
	uint64_t pixels_bytes; /* of one plane, without its pad */
	uint64_t plane_bytes, block_bytes;
	uint64_t val; /* place in the plan's buffer */
	uint64_t grad[MAX_GRADS]; /* one per contribution; merged into the first */
	unsigned int nusers, ngrads;
	int producer; /* operation */
	/* Part of a concatenation: a view of blocks [view_block, view_block + blocks) of map view_of, or -1. */
	int view_of;
	uint32_t view_block;
	int view_grad; /* the contribution that is the same blocks of view_of's gradient, or -1 */
};

enum op_kind { OP_CONV, OP_BN, OP_ACT, OP_ADD, OP_MUL, OP_CONCAT, OP_MAXPOOL, OP_AVGPOOL, OP_DROPOUT, OP_LOSS };

struct op {
	enum op_kind kind;
	int layer; /* whose parameters and name it has */
	int x, y; /* maps; OP_LOSS has no y, OP_CONCAT no x: its inputs are views of y */
	int r; /* second input, or -1: OP_ADD, OP_MUL's scale, and OP_BN with a fused residual add */
	bool relu; /* fused */
	bool host; /* a pool that the HOST engine does: its windows overlap, or its maps' planes are another's */
	int gx, gr; /* which gradient of x and r this operation contributes, or -1: the network's input */
};

struct plan {
	const struct pim_net *net;
	struct pim_info info;
	uint32_t n; /* batch */
	bool train;
	struct map *map;
	int nmap;
	struct op *op;
	int nop;
	uint64_t bytes; /* of the buffer of feature maps */
};

/* train: with gradients. Nothing is allocated on the card. */
int plan_create(struct plan *p, const struct pim_net *net, const struct pim_info *info, uint32_t n, bool train);
void plan_destroy(struct plan *p);
/* -ENOTSUP for an operation that a card would refuse, or not promise a result for. */
int plan_check_limits(const struct plan *p);

/* Windows that do not overlap and cover the map: its planes can be the elements of a window. */
bool pool_of_planes(const struct layer *l, const struct map *x);

/*
 * The next place for bytes at or after *end: aligned to a row of all units and in the bank after the one of the last allocation, so that
 * operands of one operation lie in different banks of their unit (row conflicts cost a PIM unit most of its bandwidth).
 */
uint64_t place(uint64_t *end, unsigned int *turn, const struct pim_info *info, uint64_t bytes);

#endif
