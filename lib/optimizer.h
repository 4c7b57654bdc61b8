/* SPDX-License-Identifier: MIT */
/* Optimizers: what each keeps per parameter, its PIM kernel, and the kernel's parameters, constant or of a step. */
#ifndef PIM_LIB_OPTIMIZER_H
#define PIM_LIB_OPTIMIZER_H

#include <stdint.h>

#include <pim/train.h>

#define MAX_STATES 2

struct optimizer {
	const char *name;
	const char *kernel; /* streams: weights, gradients, states */
	unsigned int nstates;
	const char *state[MAX_STATES]; /* suffix of their tensors in a checkpoint */
	unsigned int accesses; /* of memory, per parameter */
	/* Parameters of the program; lr and t, the step from 1, are of the step. */
	void (*params)(const struct pim_train_options *opt, double lr, uint64_t t, float param[]);
};

/* NULL, and the message is set: there is none of that number, or an option is out of its range. */
const struct optimizer *optimizer_find(const struct pim_train_options *opt);

#endif
