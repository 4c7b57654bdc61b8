/* SPDX-License-Identifier: MIT */
/*
 * A step: one pass of a network over a batch (forward, and when training backward and update) as a graph of tasks, each for one engine and
 * one tile of channels. step_build() makes the tasks, in program order; schedule() chooses the order in which the engines get them.
 */
#ifndef PIM_LIB_STEP_H
#define PIM_LIB_STEP_H

#include <pim/hw.h>
#include <pim/train.h>

#include "params.h"
#include "plan.h"

enum step_buffer {
	BUF_MAPS, /* feature maps and their gradients */
	BUF_PARAMS,
	BUF_CODE, /* PIM programs, in the host window */
	BUF_SLOT, /* what CPU and card exchange for one step, in the host window: struct slot_layout */
	BUF_COUNT,
};

struct slot_layout {
	uint64_t input, label, out, timing;
	uint64_t bytes;
};

struct task_binding {
	enum step_buffer buf;
	uint32_t access;
	uint64_t off, bytes;
};

struct task {
	enum pim_engine engine;
	uint32_t op, payload_bytes;
	union {
		struct pim_hw_program program;
		struct pim_hw_conv conv;
		struct pim_hw_pool pool;
		struct pim_hw_dropout dropout;
		struct pim_hw_softmax softmax;
		struct pim_hw_copy copy;
	} payload;
	struct task_binding bind[PIM_HW_MAX_BINDINGS];
	unsigned int nbind;
	bool update; /* the optimizer's program, whose parameters are of the step */
	int layer;
	const char *what;
	uint32_t first, count; /* tile of channels */
	bool memory_bound; /* a convolution that moves more than it computes, predicted */
	uint64_t bytes; /* of PIM memory that it moves, predicted */
	uint64_t cost_ns; /* predicted, alone */
	int *dep; /* tasks that must be done first; smaller numbers */
	int ndeps, depcap;
};

struct step {
	struct plan plan;
	const struct params *params;
	enum pim_mode mode;
	struct task *task;
	int ntasks, taskcap;
	struct slot_layout slot;
	int *order; /* tasks in order of submission */
	/* For order[i]: number of its engine's job within the step, from 1, and of the other engine's job that it waits for, or 0. */
	uint32_t *number, *wait;
	uint32_t njobs[PIM_ENGINES];
	struct cell *cell;
	int ncells;
};

/*
 * tile: output channels per tile, a multiple of 16; 0 lets the planner choose. Serial mode always takes whole layers. Options that the tasks
 * carry (momentum, weight decay) come from opt.
 */
int step_build(struct step *s, const struct pim_net *net, const struct params *params, const struct pim_info *info, uint32_t n,
	       bool train, const struct pim_train_options *opt);
void step_destroy(struct step *s);

int schedule(struct step *s);

#endif
