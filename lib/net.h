/* SPDX-License-Identifier: MIT */
/* The layer graph from inside. Layers are in topological order: a layer's inputs have smaller numbers. */
#ifndef PIM_LIB_NET_H
#define PIM_LIB_NET_H

#include <pim/net.h>

#define MAX_INPUTS 8

enum layer_kind {
	LAYER_INPUT,
	LAYER_CONV, /* linear too: a convolution whose kernel is the whole map */
	LAYER_BN,
	LAYER_ACT,
	LAYER_ADD,
	LAYER_MUL,
	LAYER_CONCAT,
	LAYER_MAXPOOL,
	LAYER_AVGPOOL,
	LAYER_DROPOUT,
	LAYER_SOFTMAX_CE,
};

struct layer {
	enum layer_kind kind;
	char name[64]; /* of a layer with parameters; else empty */
	int in[MAX_INPUTS];
	unsigned int nin;
	unsigned int nusers;
	uint32_t c, h, w; /* output shape */
	uint32_t kh, kw, sh, sw, ph, pw, dh, dw; /* convolution, pool */
	uint32_t groups;
	bool bias;
	bool linear; /* a fully connected layer by name and initialisation */
	bool ceil, exclude_pad; /* pool */
	enum pim_act act;
	float slope; /* leaky ReLU */
	float eps, momentum; /* BN */
	float p; /* dropout: of being zero; softmax_ce: label smoothing */
};

struct pim_net {
	struct layer *layer;
	int n;
	int error;
	char message[256];
};

const char *layer_kind_name(enum layer_kind kind);
const char *act_name(enum pim_act act);
/* Of a layer with parameters; the same in the text format and, by what it leaves out, in checkpoints. */
bool layer_name_valid(const char *name);

#endif
