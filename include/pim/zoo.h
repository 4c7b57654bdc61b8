/* SPDX-License-Identifier: MIT */
/*
 * Stock networks, built with net.h. Layers are named as in torchvision, so that the tensors of a torchvision state_dict are found by name and
 * have the right shape:
 *
 *	struct pim_net *net = pim_zoo("resnet18", &(struct pim_zoo_options){ .sz = sizeof(struct pim_zoo_options), .classes = 10 });
 *
 *	resnet18, resnet50	He et al. 2016, arXiv:1512.03385; resnet50 strides in the 3x3 convolution, "v1.5", as torchvision
 *	resnet20		the same, 4.2, for 32x32 images and 10 classes, but shortcuts between stages are a 1x1 convolution and BN (option B):
 *				the paper's pad with zero channels needs a map of zeros, for which net.h has no layer. 272,474 parameters, 2752 more
 *	vgg16_bn		Simonyan, Zisserman 2015, arXiv:1409.1556, with BN. torchvision pools to 7x7 before the first linear layer, which at
 *				224x224 does nothing; here that layer takes the map as it is, so another size has another number of parameters
 *	densenet121		Huang et al. 2017, arXiv:1608.06993
 *	googlenet		Szegedy et al. 2015, arXiv:1409.4842, as in torchvision: with BN, 3x3 for the paper's 5x5, no auxiliary classifiers;
 *				torchvision's published weights expect pixels scaled otherwise than those of the others (its transform_input)
 *	mobilenet_v2		Sandler et al. 2018, arXiv:1801.04381
 *	efficientnet_b0		Tan, Le 2019, arXiv:1905.11946; without stochastic depth, which drops whole blocks in training; BN has
 *				PyTorch's defaults, as in torchvision, which takes eps 1e-3 and momentum 0.01 from b5 on
 *	digits			pim_net_digits(16)
 */
#ifndef PIM_ZOO_H
#define PIM_ZOO_H

#include <stddef.h>
#include <stdint.h>

#include <pim/net.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct pim_zoo_options - zero means the paper's; sz = sizeof, so that the structure can grow */
struct pim_zoo_options {
	size_t sz;
	uint32_t classes;
	uint32_t size; /* height and width of the image */
	float width; /* every number of channels times this, up to 16, in multiples of 8 as MobileNet rounds them; 1 */
};

/* A checked network, the caller's. opt may be NULL. NULL on error, with pim_strerror(): an unknown name, an image too small. */
struct pim_net *pim_zoo(const char *name, const struct pim_zoo_options *opt);
/* The name of network i, from 0 on; NULL after the last. */
const char *pim_zoo_name(unsigned int i);

#ifdef __cplusplus
}
#endif

#endif
