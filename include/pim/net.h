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

#ifdef __cplusplus
extern "C" {
#endif

struct pim_net;

/* NULL without memory. The caller owns it. */
struct pim_net *pim_net_new(void);
void pim_net_free(struct pim_net *net);

/* c x h x w images; once per network. */
int pim_net_input(struct pim_net *net, uint32_t c, uint32_t h, uint32_t w);
/* Square k x k convolution, cross-correlation as PyTorch's Conv2d; parameters NAME.weight [out][in][k][k], NAME.bias [out]. */
int pim_net_conv(struct pim_net *net, int in, const char *name, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad, bool bias);
/*
 * Batch norm: y = (x - mean) / sqrt(var + 1e-5) * weight + bias per channel; training uses the batch's statistics (biased variance) and
 * keeps running averages with momentum 0.1 (unbiased variance), as PyTorch's BatchNorm2d. NAME.weight, .bias, .running_mean, .running_var.
 */
int pim_net_bn(struct pim_net *net, int in, const char *name);
int pim_net_relu(struct pim_net *net, int in);
/* Element-wise sum of two maps of one shape. */
int pim_net_add(struct pim_net *net, int a, int b);
/* k x k windows, stride k (windows do not overlap); h and w must be multiples of k. */
int pim_net_maxpool(struct pim_net *net, int in, uint32_t k);
int pim_net_avgpool(struct pim_net *net, int in, uint32_t k);
/* Mean over the whole map: c x 1 x 1. */
int pim_net_global_avgpool(struct pim_net *net, int in);
/* Fully connected over all of the input, flattened as (c, h, w); NAME.weight [out][c*h*w], NAME.bias [out]. */
int pim_net_linear(struct pim_net *net, int in, const char *name, uint32_t out);
/* Softmax cross-entropy against a label per image, mean over the batch; the last layer. */
int pim_net_softmax_ce(struct pim_net *net, int in);

/* 0, or the first error of the building calls (its message is in pim_strerror()), or -EINVAL for a network without input or loss. */
int pim_net_check(const struct pim_net *net);
/* Trainable parameters. */
uint64_t pim_net_parameters(const struct pim_net *net);

/*
 * The digits network: 8x8 grey digits to 10 classes. conv3x3(1->c) BN ReLU, a residual block of c channels, max pool 2x2,
 * conv3x3(c->2c) BN ReLU, a residual block of 2c channels, global average pool, linear. NULL without memory.
 */
struct pim_net *pim_net_digits(uint32_t c);

#ifdef __cplusplus
}
#endif

#endif
