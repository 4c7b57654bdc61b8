// SPDX-License-Identifier: MIT
/*
 * pim-train: train a network on a card, and compare serial with pipelined execution.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pim/data.h>
#include <pim/device.h>
#include <pim/net.h>
#include <pim/train.h>
#include <pim/zoo.h>

#include "options.h"
#include "plan.h"
#include "progress.h"

/* What one training run showed. */
struct outcome {
	double step_ns, host_ns, pim_ns, stall_ns, switch_ns, switches;
	uint64_t steps, checksum;
	uint32_t correct, ntest;
	float loss, test_loss;
	double wall;
};

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	stop = sig;
}

static int fail(const char *what)
{
	fprintf(stderr, "pim-train: %s: %s\n", what, pim_strerror());
	return 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void account(struct outcome *o, const struct pim_step_result *r)
{
	o->step_ns += (double)r->step_ns;
	o->host_ns += (double)r->host_ns;
	o->pim_ns += (double)r->pim_ns;
	o->stall_ns += (double)r->stall_ns;
	o->switch_ns += (double)r->switch_ns;
	o->switches += (double)r->switches;
	o->steps++;
}

/* -- network and data ------------------------------------------------------------------------------------------------- */

static bool is_digits(const struct options *opt)
{
	return !strcmp(opt->net, "digits");
}

/* Its name; of a file the last part of the path. */
static const char *network_name(const struct options *opt)
{
	const char *slash = strrchr(opt->net, '/');

	return slash ? slash + 1 : opt->net;
}

/* A stock network by its name, else a file. */
static int network_open(const struct options *opt, struct pim_net **net)
{
	if (is_digits(opt)) {
		*net = pim_net_digits(opt->channels);
		return *net ? 0 : fail("--net");
	}
	for (unsigned int i = 0; pim_zoo_name(i); i++) {
		if (!strcmp(pim_zoo_name(i), opt->net)) {
			*net = pim_zoo(opt->net, NULL);
			return *net ? 0 : fail("--net");
		}
	}
	return pim_net_read(opt->net, net) ? fail("--net") : 0;
}

static int data_open(const struct options *opt, const struct pim_net *net, struct pim_data **data)
{
	const struct pim_data_info *di;
	uint32_t in[3], out[3];

	if (pim_net_check(net) || pim_net_shape(net, 0, in) || pim_net_shape(net, pim_net_layers(net) - 1, out))
		return fail("--net");
	if (!strcmp(opt->data, "random"))
		return pim_data_random(opt->images, in[0], in[1], in[2], out[0], opt->seed, data) ? fail("--data") : 0;
	if (pim_data_load(opt->data, NULL, data))
		return fail("--data");
	di = pim_data_info(*data);
	if (di->c == in[0] && di->h == in[1] && di->w == in[2] && di->classes == out[0])
		return 0;
	fprintf(stderr,
		"pim-train: --net %s takes images of %ux%ux%u in %u classes, --data %s has %ux%ux%u in %u; \"--data random\" makes "
		"some that fit\n",
		opt->net, in[0], in[1], in[2], out[0], opt->data, di->c, di->h, di->w, di->classes);
	return 1;
}

/* -- training --------------------------------------------------------------------------------------------------------- */

struct run {
	const struct options *opt;
	const char *mode;
	struct pim_trainer *tr;
	struct pim_batches *batches;
	struct progress bar;
	uint32_t ntrain, ntest;
	char checkpoint[4096];
	struct outcome *o;
	uint64_t begin; /* step that the run started from */
	bool saved; /* the checkpoint is there */
};

/* The library's last message, and the way on if there is one. Returns -1. */
static int broken(struct run *r)
{
	progress_clear(&r->bar);
	fprintf(stderr, "pim-train: training: %s%s%s\n", pim_strerror(),
		r->saved ? "; go on from the last checkpoint with --resume " : "", r->saved ? r->checkpoint : "");
	return -1;
}

/* Takes the results that are there; returns 0, or -1 after a message. */
static int take_results(struct run *r, int wait)
{
	struct pim_step_result res;
	int got;

	while ((got = pim_trainer_result(r->tr, &res, wait)) > 0) {
		account(r->o, &res);
		r->o->loss = res.loss;
		if (!isfinite(res.loss)) {
			fprintf(stderr,
				"pim-train: the loss of step %llu is %f; take a smaller --lr (checkpoint %s is from before)\n",
				(unsigned long long)(r->begin + r->o->steps), (double)res.loss, r->checkpoint);
			return -1;
		}
		progress_step(&r->bar, r->o->steps, res.loss, (double)res.correct / r->opt->batch);
	}
	return got < 0 ? broken(r) : 0;
}

static int save(struct run *r)
{
	if (pim_trainer_save(r->tr, r->checkpoint))
		return broken(r);
	r->saved = true;
	return 0;
}

static int train(struct run *r, float *image, uint32_t *label, uint64_t total)
{
	uint32_t per_epoch = pim_batches_per_epoch(r->batches);
	/* Steps taken so far decide batch and learning rate, so a resumed run goes on where the saved one stopped. */
	uint64_t step = r->begin;

	for (; step < total && !stop; step++) {
		/* A straight line from lr to 0 over the run: no libm function, so the same bits on every machine. */
		double lr = r->opt->lr * (1 - (double)step / (double)total);

		if (pim_batches_get(r->batches, step, image, label) || pim_trainer_step(r->tr, image, label, (float)lr))
			return broken(r);
		if (take_results(r, 0))
			return -1;
		if ((step + 1) % per_epoch == 0 && (take_results(r, 1) || save(r)))
			return -1;
	}
	if (take_results(r, 1) || save(r))
		return -1;
	if (stop) {
		progress_clear(&r->bar);
		fprintf(stderr, "pim-train: stopped after step %llu of %llu; go on with --resume %s\n", (unsigned long long)step,
			(unsigned long long)total, r->checkpoint);
		return -1;
	}
	return 0;
}

static int run_mode(const struct options *opt, const struct pim_net *net, const struct pim_data *data, struct pim_device *dev,
		    enum pim_mode mode, struct outcome *o)
{
	const struct pim_data_info *di = pim_data_info(data);
	struct pim_train_options to = { .sz = sizeof(to),
					.mode = mode,
					.batch = opt->batch,
					.tile = opt->tile,
					.seed = opt->seed,
					.momentum = (float)opt->momentum,
					.weight_decay = (float)opt->weight_decay,
					.optimizer = opt->optimizer };
	struct run r = { .opt = opt, .mode = mode == PIM_SERIAL ? "serial" : "pipelined", .o = o };
	uint32_t *label = NULL;
	float *image = NULL;
	double begin = now();
	uint64_t total;
	int rc = 1;

	*o = (struct outcome){ 0 };
	snprintf(r.checkpoint, sizeof(r.checkpoint), "%s/%s-%s.safetensors", opt->out, network_name(opt), r.mode);
	image = calloc((size_t)opt->batch * di->c * di->h * di->w, sizeof(*image));
	label = calloc(opt->batch, sizeof(*label));
	if (!image || !label) {
		fprintf(stderr, "pim-train: no memory for a batch of %u images\n", opt->batch);
		goto out;
	}
	if (pim_data_split(data, 80, &r.ntrain, &r.ntest) ||
	    pim_batches_create(data, 0, r.ntrain, opt->batch, opt->seed, &r.batches)) {
		fail(opt->data);
		goto out;
	}
	if (pim_trainer_create(dev, net, &to, &r.tr)) {
		fail(r.mode);
		goto out;
	}
	if (opt->plan) {
		rc = plan_print(r.tr, opt->json);
		goto out;
	}
	pim_trainer_set_timeout(r.tr, opt->timeout * 1000);
	if (opt->resume && pim_trainer_load(r.tr, opt->resume)) {
		fail(opt->resume);
		goto out;
	}
	r.begin = pim_trainer_steps(r.tr);
	total = opt->steps ? opt->steps : (uint64_t)opt->epochs * pim_batches_per_epoch(r.batches);
	progress_begin(&r.bar, opt->progress, r.mode, total > r.begin ? total - r.begin : 0, pim_batches_per_epoch(r.batches));
	if (train(&r, image, label, total)) {
		rc = stop ? 128 + stop : 1;
		goto out;
	}
	if (pim_trainer_evaluate(r.tr, pim_data_images(data, r.ntrain), pim_data_labels(data, r.ntrain), r.ntest, &o->test_loss,
				 &o->correct) ||
	    pim_trainer_checksum(r.tr, &o->checksum)) {
		progress_clear(&r.bar);
		fail("evaluation");
		goto out;
	}
	o->ntest = r.ntest;
	o->wall = now() - begin;
	progress_end(&r.bar);
	rc = 0;
out:
	progress_clear(&r.bar);
	pim_trainer_destroy(r.tr);
	pim_batches_free(r.batches);
	free(image);
	free(label);
	return rc;
}

/* -- reports ---------------------------------------------------------------------------------------------------------- */

static void print_json(const char *mode, const struct options *opt, const struct pim_info *info, const struct outcome *o)
{
	double n = o->steps ? (double)o->steps : 1;

	printf("{\"net\":\"%s\",\"channels\":%u,\"batch\":%u,\"card\":\"%s\",\"mode\":\"%s\",\"steps\":%llu,\"train_loss\":%."
	       "6g,"
	       "\"test_loss\":%.6g,\"test_accuracy\":%.6g,\"step_ns\":%.1f,\"host_ns\":%.1f,\"pim_ns\":%.1f,\"stall_ns\":%.1f,"
	       "\"switch_ns\":%.1f,"
	       "\"switches\":%.1f,\"weights\":\"%016llx\",\"wall_s\":%.3f}\n",
	       network_name(opt), opt->channels, opt->batch, info->name, mode, (unsigned long long)o->steps, (double)o->loss,
	       (double)o->test_loss, o->ntest ? (double)o->correct / o->ntest : 0, o->step_ns / n, o->host_ns / n, o->pim_ns / n,
	       o->stall_ns / n, o->switch_ns / n, o->switches / n, (unsigned long long)o->checksum, o->wall);
}

static void print_row(const char *mode, const struct outcome *o, const struct outcome *serial)
{
	double n = o->steps ? (double)o->steps : 1;
	/* Of the time that PIM works: how much of it the step does not take longer for than HOST's work alone and serial's rest. */
	double hidden = serial->pim_ns > 0 ? (serial->step_ns - o->step_ns) / serial->pim_ns : 0;

	printf("%-10s %12.2f %9.3fx %11.2f %11.2f %9.1f%% %11.2f %10.1f   %016llx\n", mode, o->step_ns / n / 1000,
	       serial->step_ns / o->step_ns, o->host_ns / n / 1000, o->pim_ns / n / 1000, 100 * (hidden > 0 ? hidden : 0),
	       (o->stall_ns + o->switch_ns) / n / 1000, o->switches / n, (unsigned long long)o->checksum);
}

static void print_table(const struct options *opt, const struct pim_info *info, const struct outcome *serial,
			const struct outcome *pipelined)
{
	printf("\ncard \"%s\": %s, ", info->name, network_name(opt));
	if (is_digits(opt))
		printf("%u channels, ", opt->channels);
	printf("batch %u; modelled time per training step\n\n", opt->batch);
	printf("%-10s %12s %10s %11s %11s %10s %11s %10s   %s\n", "mode", "step us", "speedup", "GPU us", "PIM us", "PIM hidden",
	       "waiting us", "switches", "weights");
	print_row("serial", serial, serial);
	print_row("pipelined", pipelined, serial);
	printf("\nwall time %.1f s and %.1f s, %.0f and %.0f steps/s\n", serial->wall, pipelined->wall,
	       (double)serial->steps / serial->wall, (double)pipelined->steps / pipelined->wall);
}

static int make_out(const char *dir)
{
	if (mkdir(dir, 0777) && errno != EEXIST) {
		fprintf(stderr, "pim-train: --out %s: %s\n", dir, strerror(errno));
		return 1;
	}
	if (access(dir, W_OK)) {
		fprintf(stderr, "pim-train: --out %s: %s; checkpoints could not be saved there\n", dir, strerror(errno));
		return 1;
	}
	return 0;
}

static int check_target(const struct options *opt, const char *mode, const struct outcome *o)
{
	double percent = o->ntest ? 100.0 * o->correct / o->ntest : 0;

	if (!opt->json)
		printf("%s: test accuracy %.2f %% (%u of %u), test loss %.4f\n", mode, percent, o->correct, o->ntest,
		       (double)o->test_loss);
	if (percent >= opt->target)
		return 0;
	fprintf(stderr, "pim-train: %s: test accuracy %.2f %% is below --target %g; train longer (--epochs)\n", mode, percent,
		opt->target);
	return 1;
}

int main(int argc, char **argv)
{
	struct options opt = { .device = "drm",
			       .net = "digits",
			       .images = 512,
			       .out = ".",
			       .epochs = 10,
			       .batch = 64,
			       .channels = 32,
			       .lr = 0.1,
			       .momentum = 0.9,
			       .weight_decay = 1e-4,
			       .seed = 1,
			       .timeout = 60 };
	struct sigaction sa = { .sa_handler = on_signal };
	struct outcome o[2] = { 0 };
	struct pim_device *dev = NULL;
	struct pim_data *data = NULL;
	struct pim_net *net = NULL;
	const char *name[2] = { "serial", "pipelined" };
	int rc = options_parse(argc, argv, &opt);

	if (rc)
		return rc < 0 ? 0 : rc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	rc = make_out(opt.out);
	if (!rc)
		rc = network_open(&opt, &net);
	if (!rc)
		rc = data_open(&opt, net, &data);
	if (!rc && pim_device_open(opt.device, &dev)) {
		char what[256];

		snprintf(what, sizeof(what), "--device %s", opt.device);
		rc = fail(what);
	}
	for (int mode = 0; mode < 2 && !rc; mode++) {
		if (!opt.compare && (mode == PIM_SERIAL) != opt.serial)
			continue;
		rc = run_mode(&opt, net, data, dev, (enum pim_mode)mode, &o[mode]);
		if (rc || opt.plan)
			break;
		if (opt.json)
			print_json(name[mode], &opt, pim_device_info(dev), &o[mode]);
		rc = check_target(&opt, name[mode], &o[mode]);
	}
	if (!rc && opt.compare) {
		if (!opt.json)
			print_table(&opt, pim_device_info(dev), &o[0], &o[1]);
		if (o[0].checksum != o[1].checksum) {
			fprintf(stderr, "pim-train: serial and pipelined weights differ: %016llx and %016llx\n",
				(unsigned long long)o[0].checksum, (unsigned long long)o[1].checksum);
			rc = 1;
		} else if (!opt.json) {
			puts("serial and pipelined weights are the same bits");
		}
	}
	pim_device_close(dev);
	pim_data_free(data);
	pim_net_free(net);
	return rc;
}
