/* SPDX-License-Identifier: MIT */
/* The layer graph from inside. Layers are in topological order: a layer's inputs have smaller numbers. */
#ifndef PIM_LIB_NET_H
#define PIM_LIB_NET_H

#include <pim/net.h>

enum layer_kind {
	LAYER_INPUT,
	LAYER_CONV, /* linear too: a convolution whose kernel is the whole map */
	LAYER_BN,
	LAYER_RELU,
	LAYER_ADD,
	LAYER_MAXPOOL,
	LAYER_AVGPOOL,
	LAYER_SOFTMAX_CE,
};

struct layer {
	enum layer_kind kind;
	char name[48];
	int in[2];
	unsigned int nin;
	unsigned int nusers;
	uint32_t c, h, w; /* output shape */
	uint32_t kh, kw, stride, pad;
	bool bias;
	bool linear; /* a fully connected layer by name and initialisation */
};

struct pim_net {
	struct layer *layer;
	int n;
	int error;
	char message[256];
};

const char *layer_kind_name(enum layer_kind kind);

#endif
