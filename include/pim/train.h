/* SPDX-License-Identifier: MIT */
/*
 * Training a network on a card: convolutions and loss on its HOST engine, everything else on its PIM units.
 *
 * A step (forward, backward, update) is queued on the card as a whole; the CPU only writes the batch and reads the loss. The weights after N
 * steps are the same bits in every mode and with every tile size: the layout fixes the order of arithmetic, not the schedule.
 */
#ifndef PIM_TRAIN_H
#define PIM_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include <pim/device.h>
#include <pim/net.h>

#ifdef __cplusplus
extern "C" {
#endif

enum pim_mode {
	PIM_SERIAL = 0, /* one engine at a time, layer by layer: the baseline */
	PIM_PIPELINED = 1, /* both engines, tile by tile */
};

enum pim_optimizer {
	PIM_SGD = 0, /* v = momentum v + g + weight_decay w; w = w - lr v: as torch.optim.SGD */
	PIM_NESTEROV = 1, /* the same with nesterov=True */
	PIM_ADAM = 2, /* torch.optim.Adam: weight decay is added to the gradient */
	PIM_ADAMW = 3, /* torch.optim.AdamW: weight decay acts on the weight itself */
};

/** struct pim_train_options - zero means the default given here; sz = sizeof, so that the structure can grow */
struct pim_train_options {
	size_t sz;
	enum pim_mode mode;
	uint32_t batch; /* 64 */
	uint32_t tile; /* output channels per tile, multiple of 16; chosen by cost */
	float momentum; /* of SGD */
	float weight_decay;
	uint64_t seed; /* of the initial weights, and of dropout */
	uint32_t ahead; /* steps queued on the card before the CPU waits: 4, less if the host window has no room for their batches */
	enum pim_optimizer optimizer;
	double beta1, beta2, epsilon; /* of Adam: 0.9, 0.999, 1e-8 */
};

/** struct pim_step_result - one step's loss and modelled time (card's clock, ns) */
struct pim_step_result {
	float loss; /* mean over the batch */
	uint32_t correct; /* images whose largest score is their label */
	uint64_t step_ns; /* first job ready to last job done */
	uint64_t host_ns, pim_ns; /* time that jobs took on each engine */
	uint64_t stall_ns; /* of those, waiting for authority */
	uint64_t switch_ns; /* switching authority */
	uint64_t switches;
};

struct pim_trainer;

/*
 * pim_trainer_create() - lay the network out on the card, initialise the weights, claim domain 0
 *
 * Initial weights: convolutions uniform in +-sqrt(6 / fan-in), linear layers +-1/sqrt(fan-in), BN 1 and 0, running variance 1. The device and
 * the network must outlive the trainer; one trainer per device. Errors: -EINVAL, -ENOTSUP (a network that cannot be planned), -ENOSPC (with
 * sizes), -EBUSY (domain held by another process) and those of the device.
 */
int pim_trainer_create(struct pim_device *dev, const struct pim_net *net, const struct pim_train_options *opt,
		       struct pim_trainer **tr);
void pim_trainer_destroy(struct pim_trainer *tr);

/** struct pim_plan_row - some tasks of a training step: those of one kind of one layer. Predicted: by the planner, each task alone */
struct pim_plan_row {
	char layer[72]; /* its name, or number and kind */
	const char *what; /* PIM kernel, or operation of the HOST engine */
	const char *why; /* it runs where it does */
	const char *policy; /* by which the card switches authority */
	enum pim_engine engine;
	uint32_t tiles, channels; /* channels of the first tile */
	uint64_t bytes; /* of PIM memory moved */
	uint64_t predicted_ns;
};
/* The plan, in program order: fills in at most n rows, returns how many there are. */
int pim_trainer_plan(const struct pim_trainer *tr, struct pim_plan_row *row, int n);
/* PIM memory that training takes: feature maps, gradients, parameters and what the optimizer keeps. */
uint64_t pim_trainer_bytes(const struct pim_trainer *tr);

/*
 * pim_trainer_step() - queue one training step
 * @image: batch x c x h x w floats; copied
 * @label: batch class numbers; copied
 *
 * Waits only when opt.ahead steps are queued. Results are fetched, in order, with pim_trainer_result().
 */
int pim_trainer_step(struct pim_trainer *tr, const float *image, const uint32_t *label, float lr);
/* The oldest result not fetched yet: 1 and *res, or 0 if there is none; wait: for the steps in flight. */
int pim_trainer_result(struct pim_trainer *tr, struct pim_step_result *res, int wait);

/* Evaluation with running statistics over n images. Waits for steps in flight. */
int pim_trainer_evaluate(struct pim_trainer *tr, const float *image, const uint32_t *label, uint32_t n, float *loss,
			 uint32_t *correct);

/*
 * Parameters, running statistics and momentum to and from a safetensors file: NAME.weight, NAME.bias, NAME.running_mean,
 * NAME.running_var as PyTorch's state_dict has them, NAME.weight.momentum and NAME.bias.momentum. Saving writes the whole file or leaves the
 * old one as it was. Loading needs every parameter in its shape, momentum may be absent (then zero), and changes nothing on error.
 */
int pim_trainer_save(struct pim_trainer *tr, const char *path);
int pim_trainer_load(struct pim_trainer *tr, const char *path);
/* Training steps behind the weights, those before a load included: the file has the number as optimizer.step. */
uint64_t pim_trainer_steps(const struct pim_trainer *tr);

/* 64-bit FNV-1a over the bits of all parameters, running statistics and momentum: equal weights, equal number. */
int pim_trainer_checksum(struct pim_trainer *tr, uint64_t *sum);

/* A time limit for every wait on the card, ms; the default is 60000. After it the step fails with -ETIME. */
void pim_trainer_set_timeout(struct pim_trainer *tr, int ms);

#ifdef __cplusplus
}
#endif

#endif
