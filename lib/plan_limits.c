// SPDX-License-Identifier: MIT
/* What a card does not do, by hw.rst: found when the network is planned, not by the first job that fails. */
#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "plan.h"

#define MAX_CONV 64u /* kernel, stride, dilation */
#define MAX_POOL 1024u

static int too_large(const struct plan *p, const struct op *op, uint32_t a, uint32_t b, uint32_t most, const char *what)
{
	const struct layer *l = &p->net->layer[op->layer];

	if (a <= most && b <= most)
		return 0;
	return pim_error(-ENOTSUP, "layer %d (%s%s%s): %s %ux%u; a card does up to %u", op->layer, layer_kind_name(l->kind),
			 l->name[0] ? " " : "", l->name, what, a, b, most);
}

static int check_sizes(const struct plan *p, const struct op *op)
{
	const struct layer *l = &p->net->layer[op->layer];
	int err = 0;

	if (op->kind == OP_CONV || op->host) {
		uint32_t most = op->kind == OP_CONV ? MAX_CONV : MAX_POOL;

		err = too_large(p, op, l->kh, l->kw, most, "kernel");
		if (!err)
			err = too_large(p, op, l->sh, l->sw, most, "stride");
		if (!err)
			err = too_large(p, op, l->dh, l->dw, most, "dilation");
	}
	return err;
}

/*
 * Padded channels of whatever the HOST engine reads are zero, and all kernels keep them so but one: sigmoid(0) is 1/2. What has padded
 * channels behind a sigmoid may be multiplied or normalised, which makes them zero again, but not go to the HOST engine.
 */
static bool pads_after(const struct plan *p, const struct op *op, const bool *pads)
{
	const struct layer *l = &p->net->layer[op->layer];

	switch (op->kind) {
	case OP_ACT:
		return pads[op->x] || (l->act == PIM_SIGMOID && l->c % 16);
	case OP_ADD:
		return pads[op->x] || pads[op->r];
	case OP_MUL:
		return pads[op->x] && pads[op->r];
	case OP_BN: /* times a weight and plus a shift that are zero there; then the summand */
		return op->r >= 0 && pads[op->r];
	case OP_CONCAT: /* only its last part can have padded channels */
		for (int m = 0; m < op->y; m++)
			if (p->map[m].view_of == op->y && pads[m])
				return true;
		return false;
	case OP_MAXPOOL:
	case OP_AVGPOOL:
		return pads[op->x];
	default: /* HOST writes zeros */
		return false;
	}
}

static bool on_host(const struct op *op)
{
	return op->kind == OP_CONV || op->kind == OP_DROPOUT || op->kind == OP_LOSS || op->host;
}

int plan_check_limits(const struct plan *p)
{
	bool *pads = calloc((size_t)p->nmap, sizeof(*pads));
	int err = 0;

	if (!pads)
		return pim_error(-ENOMEM, "no memory to plan %d feature maps", p->nmap);
	for (int i = 0; i < p->nop && !err; i++) {
		const struct op *op = &p->op[i];
		const struct layer *l = &p->net->layer[op->layer];

		err = check_sizes(p, op);
		if (!err && on_host(op) && pads[op->x])
			err = pim_error(
				-ENOTSUP,
				"layer %d (%s%s%s): its input comes from a sigmoid of %u channels; only a multiple of 16 can go "
				"from there to the HOST engine",
				op->layer, layer_kind_name(l->kind), l->name[0] ? " " : "", l->name, p->map[op->x].c);
		if (op->y >= 0)
			pads[op->y] = pads_after(p, op, pads);
	}
	free(pads);
	return err;
}
