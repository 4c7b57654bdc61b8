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
};

enum op_kind { OP_CONV, OP_BN, OP_ACT, OP_ADD, OP_MAXPOOL, OP_AVGPOOL, OP_LOSS };

struct op {
	enum op_kind kind;
	int layer; /* whose parameters and name it has */
	int x, y; /* maps; OP_LOSS has no y */
	int r; /* second input, or -1: OP_ADD, and OP_BN with a fused residual add */
	bool relu; /* fused */
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

/*
 * The next place for bytes at or after *end: aligned to a row of all units and in the bank after the one of the last allocation, so that
 * operands of one operation lie in different banks of their unit (row conflicts cost a PIM unit most of its bandwidth).
 */
uint64_t place(uint64_t *end, unsigned int *turn, const struct pim_info *info, uint64_t bytes);

#endif
