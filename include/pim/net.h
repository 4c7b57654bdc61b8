/* SPDX-License-Identifier: MIT */
/*
 * A network: a graph of layers, built in C. Layers are named by the number that the call returns; a negative number is an errno and passes
 * through every later call, so a network is written without a check per line and checked once, by pim_net_check() or by whoever takes it.
 *
 *	int x = pim_net_input(net, 1, 8, 8);
 *	x = pim_net_relu(net, pim_net_bn(net, pim_net_conv(net, x, "conv1", 16, 3, 1, 1, false), "bn1"));
 *
 * Shapes are channels x height x width; the batch is chosen by who runs the network.
 */
#ifndef PIM_NET_H
#define PIM_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pim_net;

/* NULL without memory. The caller owns it. */
struct pim_net *pim_net_new(void);
void pim_net_free(struct pim_net *net);

/* c x h x w images; once per network. */
int pim_net_input(struct pim_net *net, uint32_t c, uint32_t h, uint32_t w);

/*
 * struct pim_conv - a convolution: cross-correlation as PyTorch's Conv2d
 * @out: output channels
 * @k: kernel height, width
 * @stride, @dilation: height, width; 0 means 1
 * @pad: rows, columns of zeros on either side
 * @groups: 0 means 1; input and output channels are multiples of it. As many groups as input channels: depthwise
 */
struct pim_conv {
	uint32_t out;
	uint32_t k[2], stride[2], pad[2], dilation[2];
	uint32_t groups;
	bool bias;
};
/*
 * Parameters NAME.weight [out][in / groups][kh][kw], NAME.bias [out]. Names of layers are unique, at most 63 characters of printable ASCII
 * without blank # = " \.
 */
int pim_net_conv_with(struct pim_net *net, int in, const char *name, const struct pim_conv *conv);
/* Square k x k, dense. */
int pim_net_conv(struct pim_net *net, int in, const char *name, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad, bool bias);

/*
 * Batch norm: y = (x - mean) / sqrt(var + eps) * weight + bias per channel; training uses the batch's statistics (biased variance) and
 * keeps running averages (unbiased variance), as PyTorch's BatchNorm2d. NAME.weight, .bias, .running_mean, .running_var.
 * momentum: weight of the new value in the running average.
 */
int pim_net_bn_with(struct pim_net *net, int in, const char *name, float eps, float momentum);
/* eps 1e-5, momentum 0.1: PyTorch's defaults. */
int pim_net_bn(struct pim_net *net, int in, const char *name);

enum pim_act {
	PIM_RELU, /* max(x, 0) */
	PIM_RELU6, /* min(max(x, 0), 6) */
	PIM_LEAKY_RELU, /* x > 0 ? x : slope x */
	PIM_SIGMOID, /* 1 / (1 + e^-x); of a number of channels that is no multiple of 16, only for pim_net_mul() and pim_net_bn() */
	PIM_SILU, /* x sigmoid(x) */
};
/* slope: of PIM_LEAKY_RELU; the others take 0. */
int pim_net_act(struct pim_net *net, int in, enum pim_act act, float slope);
int pim_net_relu(struct pim_net *net, int in);

/* Element-wise sum of two maps of one shape. */
int pim_net_add(struct pim_net *net, int a, int b);
/* Channel multiply (squeeze-excite): x is c x h x w, scale c x 1 x 1 of the same image. No trainer takes h or w above 16. */
int pim_net_mul(struct pim_net *net, int x, int scale);
/* Along channels, in the order given; h and w of all must agree. 2..8 maps; more by nesting. */
int pim_net_concat(struct pim_net *net, const int *in, uint32_t n);

/*
 * struct pim_pool - windows of a pool, as PyTorch's MaxPool2d and AvgPool2d
 * @k: window height, width
 * @stride: 0 means k
 * @pad: at most half the window
 * @ceil: a last window that begins inside of the map (or its left pad) but does not fit is clipped, not left out
 * @exclude_pad: average: over the real elements only
 */
struct pim_pool {
	uint32_t k[2], stride[2], pad[2];
	bool ceil, exclude_pad;
};
int pim_net_maxpool_with(struct pim_net *net, int in, const struct pim_pool *pool);
int pim_net_avgpool_with(struct pim_net *net, int in, const struct pim_pool *pool);
/* k x k windows, stride k (windows do not overlap); h and w must be multiples of k. */
int pim_net_maxpool(struct pim_net *net, int in, uint32_t k);
int pim_net_avgpool(struct pim_net *net, int in, uint32_t k);
/* Mean over the whole map: c x 1 x 1. */
int pim_net_global_avgpool(struct pim_net *net, int in);

/* In training each element is zero with probability p, else divided by 1 - p. The mask depends on seed, layer and step alone. */
int pim_net_dropout(struct pim_net *net, int in, float p);
/* Fully connected over all of the input, flattened as (c, h, w); NAME.weight [out][c*h*w], NAME.bias [out]. */
int pim_net_linear(struct pim_net *net, int in, const char *name, uint32_t out);
/*
 * Softmax cross-entropy against a label per image, mean over the batch; the last layer. smoothing s: the target is (1 - s) of the label's
 * class and s / classes of every class, as PyTorch's label_smoothing.
 */
int pim_net_softmax_ce_with(struct pim_net *net, int in, float smoothing);
int pim_net_softmax_ce(struct pim_net *net, int in);

/* Layers, numbered from 0; the first is the input, the last the loss, whose shape is that of the scores. */
int pim_net_layers(const struct pim_net *net);
/* c, h, w of a layer's output. */
int pim_net_shape(const struct pim_net *net, int layer, uint32_t shape[3]);

/* 0, or the first error of the building calls (its message is in pim_strerror()), or -EINVAL for a network without input or loss. */
int pim_net_check(const struct pim_net *net);
/* Trainable parameters. */
uint64_t pim_net_parameters(const struct pim_net *net);

/*
 * Networks as text, a line per layer: NAME KIND INPUT... KEY=VALUE..., inputs are names of lines above, # begins a comment.
 *
 *	image input shape=1x8x8
 *	conv1 conv image out=16 k=3 pad=1	# stride=2 dilation=1x2 groups=4 bias=yes
 *	bn1 bn conv1				# eps=1e-5 momentum=0.1
 *	a relu bn1				# relu6, sigmoid, silu; leaky_relu slope=0.1
 *	pool maxpool a k=2			# avgpool; stride=1x2 pad=1 ceil=yes exclude_pad=yes; global_avgpool
 *	fc linear pool out=10
 *	loss softmax_ce fc			# smoothing=0.1
 *
 * and add A B, mul MAP SCALE, concat A B ..., dropout A p=0.5. Names of layers with parameters are those of checkpoints. What is written reads
 * back as the same layers; names of the others are invented. At most 1 MiB, 4096 layers, 1023 characters a line.
 *
 * Only a whole network (pim_net_check()) is read or written. Reading: 0 and *net, the caller's, or an error "WHERE:LINE: reason" and *net
 * untouched; where: what messages call the text.
 */
int pim_net_parse(const char *text, const char *where, struct pim_net **net);
int pim_net_read(const char *path, struct pim_net **net);
int pim_net_print(const struct pim_net *net, FILE *f);
int pim_net_write(const struct pim_net *net, const char *path);

/*
 * The digits network: 8x8 grey digits to 10 classes. conv3x3(1->c) BN ReLU, a residual block of c channels, max pool 2x2,
 * conv3x3(c->2c) BN ReLU, a residual block of 2c channels, global average pool, linear. NULL without memory. More networks: zoo.h.
 */
struct pim_net *pim_net_digits(uint32_t c);

#ifdef __cplusplus
}
#endif

#endif
