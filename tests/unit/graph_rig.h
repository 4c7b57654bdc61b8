/* SPDX-License-Identifier: MIT */
/* A network trained on the card in every way there is, against the oracle and bit by bit against each other. */
#ifndef TESTS_GRAPH_RIG_H
#define TESTS_GRAPH_RIG_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/safetensors.h>

#include "net_oracle.h"

#define STEPS 3
#define RATE 0.02f
#define NEAR 1e-6 /* a decision as near as this may fall otherwise in FP32 */
#define TOLERANCE 1e-4 /* of a tensor's largest value */
#define NOISE 5e-7 /* of the terms of a gradient whose true value is zero: a bias before a batch norm */
#define WILD 6 /* a loss above says that training diverges, and so does rounding */

#define ok(call) ck_assert_msg(!(call), "%s: %s", g.name, pim_strerror())

static struct {
	const char *name; /* of the network, for messages */
	struct pim_device *dev;
	char path[64];
	float *image;
	uint32_t *label;
} g;

static const struct {
	enum pim_mode mode;
	uint32_t tile;
} ways[] = { { PIM_SERIAL, 0 }, { PIM_PIPELINED, 16 }, { PIM_PIPELINED, 32 }, { PIM_PIPELINED, 0 } };

#define NWAYS (sizeof(ways) / sizeof(ways[0]))

static void graph_setup(void)
{
	const char *spec = getenv("PIM_DEVICE");
	int fd;

	g.name = "device";
	snprintf(g.path, sizeof(g.path), "/tmp/pim-graph-XXXXXX");
	fd = mkstemp(g.path);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ok(pim_device_open(spec ? spec : "emu:cards/test-4dom.card", &g.dev));
}

static void graph_teardown(void)
{
	pim_device_close(g.dev);
	unlink(g.path);
	free(g.image);
	free(g.label);
	memset(&g, 0, sizeof(g));
}

static void make_data(const struct pim_net *net, uint32_t n, uint64_t seed)
{
	const struct layer *in = &net->layer[0];
	size_t size = (size_t)n * in->c * in->h * in->w;

	free(g.image);
	free(g.label);
	g.image = (float *)oracle_zeros(size, sizeof(float));
	g.label = (uint32_t *)oracle_zeros(n, sizeof(uint32_t));
	for (size_t e = 0; e < size; e++)
		g.image[e] = (float)oracle_uniform(&seed, -1, 1);
	for (uint32_t i = 0; i < n; i++)
		g.label[i] = (uint32_t)(oracle_random(&seed) % net->layer[net->n - 1].c);
}

static void store_weights(const struct oracle *o)
{
	struct pim_safetensors *st;

	ok(pim_safetensors_new(&st));
	for (unsigned int i = 0; i < o->nparams; i++) {
		const struct oracle_param *p = &o->param[i];
		float *v = (float *)oracle_zeros(p->n, sizeof(float));

		for (size_t e = 0; e < p->n; e++)
			v[e] = (float)p->v[e];
		ok(pim_safetensors_add_f32(st, p->name, p->dim, p->ndim, v));
		free(v);
	}
	ok(pim_safetensors_write(st, g.path));
	pim_safetensors_free(st);
}

static void compare_tensor(const struct pim_safetensors *st, const char *name, const struct oracle_param *p, const double *want,
			   double terms)
{
	double most = largest(want, p->n), allowed = TOLERANCE * most + NOISE * (1 + terms);
	const float *have;

	ok(pim_safetensors_f32(st, name, p->dim, p->ndim, &have));
	for (size_t e = 0; e < p->n; e++)
		ck_assert_msg(fabs((double)have[e] - want[e]) <= allowed, "%s: %s[%zu] is %.8g, not %.8g; the largest is %.3g",
			      g.name, name, e, (double)have[e], want[e], most);
}

/* Weights, running statistics and the optimizer's averages: these are the gradients, which weights alone would hide. */
static void compare_weights(const struct oracle *o, const struct pim_train_options *opt)
{
	bool adam = opt->optimizer == PIM_ADAM || opt->optimizer == PIM_ADAMW;
	const char *const state[] = { adam ? "exp_avg" : "momentum", "exp_avg_sq" };
	struct pim_safetensors *st;
	unsigned int n = 1; /* the number of steps */

	ok(pim_safetensors_read(g.path, &st));
	for (unsigned int i = 0; i < o->nparams; i++, n++) {
		const struct oracle_param *p = &o->param[i];

		compare_tensor(st, p->name, p, p->v, o->terms);
		for (unsigned int k = 0; p->g && k < 1u + adam; k++, n++) {
			char name[128];

			snprintf(name, sizeof(name), "%s.%s", p->name, state[k]);
			compare_tensor(st, name, p, p->s[k], o->terms);
		}
	}
	ck_assert_uint_eq(pim_safetensors_count(st), n);
	pim_safetensors_free(st);
}

/* Weights of the first seed of which no decision is near. The oracle has then done its steps; loss: of each, then evaluation. */
static struct oracle *oracle_run(const struct pim_net *net, const struct pim_train_options *opt, uint64_t seed,
				 double loss[STEPS + 1], uint32_t correct[STEPS + 1])
{
	for (int i = 0; i < 50; i++, seed += 1000003) {
		struct oracle *o = oracle_new(net, opt->batch, seed, opt->seed);

		make_data(net, opt->batch, seed);
		store_weights(o);
		for (int s = 0; s < STEPS && o->margin > NEAR; s++) {
			oracle_step(o, opt, (double)RATE, g.image, g.label);
			loss[s] = o->loss;
			correct[s] = o->correct;
		}
		oracle_pass(o, false, g.image, g.label);
		loss[STEPS] = o->loss;
		correct[STEPS] = o->correct;
		if (o->margin > NEAR && largest(loss, STEPS + 1) < WILD)
			return o;
		oracle_free(o);
	}
	ck_abort_msg("%s: in fifty tries there was always a decision too near, or it diverged", g.name);
	return NULL;
}

static void train_steps(struct pim_trainer *tr, int n, struct pim_step_result *res)
{
	for (int s = 0; s < n; s++) {
		ok(pim_trainer_step(tr, g.image, g.label, RATE));
		ck_assert_msg(pim_trainer_result(tr, &res[s], 1) == 1, "%s, step %d: %s", g.name, s, pim_strerror());
	}
}

/* One way. Returns the checksum of the weights in the end. */
static uint64_t train_one_way(struct pim_trainer *tr, const struct oracle *o, const struct pim_train_options *opt,
			      const double *loss, const uint32_t *correct, bool compare)
{
	struct pim_step_result res[STEPS + 1] = { 0 };
	uint64_t sum;

	train_steps(tr, STEPS, res);
	ok(pim_trainer_evaluate(tr, g.image, g.label, opt->batch, &res[STEPS].loss, &res[STEPS].correct));
	for (int s = 0; s <= STEPS; s++) {
		ck_assert_msg(fabs((double)res[s].loss - loss[s]) <= 2e-5 * (1 + loss[s]), "%s, %s %d: loss %.8g, not %.8g", g.name,
			      s < STEPS ? "step" : "evaluation after step", s, (double)res[s].loss, loss[s]);
		ck_assert_msg(res[s].correct == correct[s], "%s, step %d: %u correct, not %u", g.name, s, res[s].correct,
			      correct[s]);
	}
	ok(pim_trainer_checksum(tr, &sum));
	if (compare) {
		ok(pim_trainer_save(tr, g.path));
		compare_weights(o, opt);
	}
	return sum;
}

/* 0, or -ENOTSUP if no plan can be made of it. options: sz, mode and tile are of no matter. */
static int check_net(const char *name, const struct pim_net *net, const struct pim_train_options *options, uint64_t seed)
{
	struct pim_train_options opt = *options;
	uint32_t correct[STEPS + 1];
	struct oracle *o = NULL;
	double loss[STEPS + 1];
	uint64_t sum[NWAYS];

	g.name = name;
	ok(pim_net_check(net));
	opt.sz = sizeof(opt);
	for (unsigned int w = 0; w < NWAYS; w++) {
		struct pim_trainer *tr;
		int err;

		opt.mode = ways[w].mode;
		opt.tile = ways[w].tile;
		err = pim_trainer_create(g.dev, net, &opt, &tr);
		if (err == -ENOTSUP && !w)
			return err;
		ck_assert_msg(!err, "%s: %s", name, pim_strerror());
		if (!o)
			o = oracle_run(net, &opt, seed, loss, correct);
		ok(pim_trainer_load(tr, g.path));
		sum[w] = train_one_way(tr, o, &opt, loss, correct, w == NWAYS - 1);
		ck_assert_msg(sum[w] == sum[0], "%s: weights with tile %u differ from serial ones", name, opt.tile);
		pim_trainer_destroy(tr);
	}
	oracle_free(o);
	return 0;
}

#endif
