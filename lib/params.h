/* SPDX-License-Identifier: MIT */
/*
 * The parameters of a network in card memory, in the layouts that engines use, and their conversion from and to named tensors.
 *
 * Arenas of one shape: weights w, gradients g, and what the optimizer keeps (momentum; Adam's two averages). A parametrised layer has one
 * slice, at the same place of each:
 *	conv	[oc/16][ic/16][kh][kw][16 ic][16 oc], then bias [oc padded to 16]; ic of one group; with groups of one input channel
 *		[oc/16][kh][kw][16 oc]: struct pim_hw_conv
 *	bn	[c/16][2][16]: weight, bias
 * and a bn layer a state record [c/16][4][16]: batch mean, 1/sqrt(batch variance + eps), running mean, running variance.
 * Padded channels hold zeros, and stay zero: their gradients are zero.
 */
#ifndef PIM_LIB_PARAMS_H
#define PIM_LIB_PARAMS_H

#include <pim/device.h>
#include <pim/safetensors.h>

#include "net.h"
#include "optimizer.h"

#define BN_PARAM_BYTES 128u /* per channel block */
#define BN_STATE_BYTES 256u

struct slice {
	uint64_t off, bytes; /* in each arena */
	int group;
	uint64_t bias_off; /* conv: of the bias, from off */
	uint64_t state_off; /* bn: in the buffer */
};

/* Layers that are updated by one task: a convolution and the BN layers after it. */
struct group {
	int first, last; /* layers */
	uint64_t off, bytes; /* in each arena */
};

struct params {
	const struct pim_net *net;
	struct pim_buffer *buf;
	const struct optimizer *optimizer;
	uint64_t w_off, g_off, state_arena[MAX_STATES];
	struct slice *slice; /* one per layer; bytes zero: no parameters */
	struct group *group;
	int ngroups;
};

int params_create(struct params *p, const struct pim_net *net, const struct optimizer *optimizer, struct pim_device *dev);
void params_destroy(struct params *p);
/* The calls below touch card memory: HOST must own the domain. */
int params_init(struct params *p, uint64_t seed);
int params_load(struct params *p, const struct pim_safetensors *st);
int params_store(struct params *p, struct pim_safetensors *st);
/* FNV-1a over all tensors, the optimizer's included, in their named order. */
int params_checksum(struct params *p, uint64_t *hash);

#endif
