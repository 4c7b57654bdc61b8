/* SPDX-License-Identifier: MIT */
#ifndef PIM_TRAIN_OPTIONS_H
#define PIM_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <pim/train.h>

struct options {
	const char *device, *data, *net, *out, *resume, *progress;
	uint32_t epochs, batch, channels, tile, images;
	enum pim_optimizer optimizer;
	uint64_t seed, steps;
	double lr, momentum, weight_decay, target;
	int timeout;
	bool serial, compare, json, plan;
};

/* 0; -1: nothing is left to do (--help); 2 after a message. */
int options_parse(int argc, char **argv, struct options *opt);

#endif
