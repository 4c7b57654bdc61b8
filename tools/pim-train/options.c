// SPDX-License-Identifier: MIT
/* The command line of pim-train. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "progress.h"

enum {
	OPT_PROGRESS = 256,
	OPT_TARGET,
	OPT_TIMEOUT,
	OPT_SEED,
	OPT_STEPS,
	OPT_RESUME,
	OPT_TILE,
	OPT_LR,
	OPT_MOMENTUM,
	OPT_DECAY,
	OPT_OPTIMIZER,
	OPT_IMAGES,
	OPT_PLAN,
};

static const struct option long_options[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "data", required_argument, NULL, 'i' },
	{ "out", required_argument, NULL, 'o' },
	{ "net", required_argument, NULL, 'n' },
	{ "images", required_argument, NULL, OPT_IMAGES },
	{ "optimizer", required_argument, NULL, OPT_OPTIMIZER },
	{ "epochs", required_argument, NULL, 'e' },
	{ "steps", required_argument, NULL, OPT_STEPS },
	{ "batch", required_argument, NULL, 'b' },
	{ "channels", required_argument, NULL, 'c' },
	{ "mode", required_argument, NULL, 'm' },
	{ "compare", no_argument, NULL, 'C' },
	{ "tile", required_argument, NULL, OPT_TILE },
	{ "lr", required_argument, NULL, OPT_LR },
	{ "momentum", required_argument, NULL, OPT_MOMENTUM },
	{ "weight-decay", required_argument, NULL, OPT_DECAY },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "resume", required_argument, NULL, OPT_RESUME },
	{ "target", required_argument, NULL, OPT_TARGET },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "plan", no_argument, NULL, OPT_PLAN },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void help(void)
{
	puts("usage: pim-train --data FILE [options]\n"
	     "\n"
	     "Train a CNN: convolutions on the card's HOST engine, everything else as PIM programs.\n"
	     "\n"
	     "  --device SPEC        emu:CARDFILE (model in this process), drm (first PIM card) or drm:/dev/dri/renderDN [drm]\n"
	     "  --data FILE          digits.csv or digits.csv.gz; \"random\": random images of the network's size, to measure "
	     "with\n"
	     "  --net NET            a stock network or a file in the text format (pim/net.h) [digits]\n"
	     "  --images N           of --data random [512]\n"
	     "  --out DIR            where checkpoints go [.]\n"
	     "  --mode MODE          serial or pipelined [pipelined]\n"
	     "  --compare            train in both modes, print the table; fails unless the weights are the same bits\n"
	     "  --epochs N           [10]          --steps N            instead of epochs\n"
	     "  --batch N            [64]          --channels N         of the first block of digits [32]\n"
	     "  --optimizer NAME     sgd, nesterov, adam, adamw [sgd]\n"
	     "  --lr X               [0.1] falls to 0 over the run      --momentum X         [0.9]\n"
	     "  --weight-decay X     [0.0001]      --seed N             of weights and order [1]\n"
	     "  --tile N             output channels per tile, a multiple of 16 [by cost]\n"
	     "  --target P           fail below P percent test accuracy [0]\n"
	     "  --resume FILE        go on from a checkpoint, bit for bit as if never stopped\n"
	     "  --timeout S          give up when the card is silent for S seconds [60]\n"
	     "  --progress HOW       bar, lines, none [bar on a terminal]\n"
	     "  --plan               print what a step does, layer by layer, where and why, and train nothing\n"
	     "  --json               results as one JSON line per run\n"
	     "\n"
	     "Exit status: 0 trained (and, with --compare, the same weights); 1 failed; 2 wrong command line; 130 stopped by "
	     "Ctrl-C, checkpoint saved.");
}

static int usage(const char *what, const char *arg)
{
	fprintf(stderr, "pim-train: %s%s%s; pim-train --help lists the options\n", what, arg ? ": " : "", arg ? arg : "");
	return 2;
}

/* A number in [min, max], whole if asked; false if text is none. */
static bool number(const char *text, double min, double max, bool whole, double *v)
{
	char *end;

	errno = 0;
	*v = strtod(text, &end);
	return !errno && end != text && !*end && *v >= min && *v <= max && (!whole || *v == floor(*v));
}

static bool find_optimizer(const char *name, enum pim_optimizer *o)
{
	static const char *const names[] = {
		[PIM_SGD] = "sgd", [PIM_NESTEROV] = "nesterov", [PIM_ADAM] = "adam", [PIM_ADAMW] = "adamw"
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(names[i], name)) {
			*o = (enum pim_optimizer)i;
			return true;
		}
	}
	return false;
}

int options_parse(int argc, char **argv, struct options *opt)
{
	const struct {
		int c;
		double min, max;
		bool whole;
		const char *range;
	} num[] = {
		{ 'e', 1, 1e6, true, "--epochs takes 1..1000000" },
		{ OPT_STEPS, 1, 1e9, true, "--steps takes 1..1000000000" },
		{ 'b', 1, 4096, true, "--batch takes 1..4096" },
		{ 'c', 1, 2048, true, "--channels takes 1..2048" },
		{ OPT_TILE, 16, 4096, true, "--tile takes a multiple of 16" },
		{ OPT_LR, 0, 1e3, false, "--lr takes 0..1000" },
		{ OPT_MOMENTUM, 0, 1, false, "--momentum takes 0..1" },
		{ OPT_DECAY, 0, 1, false, "--weight-decay takes 0..1" },
		{ OPT_SEED, 0, 9e15, true, "--seed takes a whole number, not negative" },
		{ OPT_TARGET, 0, 100, false, "--target takes 0..100 percent" },
		{ OPT_IMAGES, 10, 1e6, true, "--images takes 10..1000000" },
		{ OPT_TIMEOUT, 1, 1e5, true, "--timeout takes 1..100000 seconds" },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		double v = 0;

		for (unsigned int i = 0; i < sizeof(num) / sizeof(num[0]); i++)
			if (c == num[i].c && !number(optarg, num[i].min, num[i].max, num[i].whole, &v))
				return usage(num[i].range, optarg);
		switch (c) {
		case 'd':
			opt->device = optarg;
			break;
		case 'i':
			opt->data = optarg;
			break;
		case 'o':
			opt->out = optarg;
			break;
		case 'e':
			opt->epochs = (uint32_t)v;
			break;
		case OPT_STEPS:
			opt->steps = (uint64_t)v;
			break;
		case 'b':
			opt->batch = (uint32_t)v;
			break;
		case 'c':
			opt->channels = (uint32_t)v;
			break;
		case OPT_TILE:
			opt->tile = (uint32_t)v;
			break;
		case OPT_LR:
			opt->lr = v;
			break;
		case OPT_MOMENTUM:
			opt->momentum = v;
			break;
		case OPT_DECAY:
			opt->weight_decay = v;
			break;
		case OPT_SEED:
			opt->seed = (uint64_t)v;
			break;
		case OPT_TARGET:
			opt->target = v;
			break;
		case OPT_TIMEOUT:
			opt->timeout = (int)v;
			break;
		case 'n':
			opt->net = optarg;
			break;
		case OPT_IMAGES:
			opt->images = (uint32_t)v;
			break;
		case OPT_OPTIMIZER:
			if (!find_optimizer(optarg, &opt->optimizer))
				return usage("--optimizer is sgd, nesterov, adam or adamw", optarg);
			break;
		case OPT_RESUME:
			opt->resume = optarg;
			break;
		case OPT_PROGRESS:
			opt->progress = optarg;
			break;
		case 'C':
			opt->compare = true;
			break;
		case OPT_PLAN:
			opt->plan = true;
			break;
		case 'j':
			opt->json = true;
			break;
		case 'm':
			if (strcmp(optarg, "serial") && strcmp(optarg, "pipelined"))
				return usage("--mode is serial or pipelined", optarg);
			opt->serial = !strcmp(optarg, "serial");
			break;
		case 'h':
			help();
			return -1;
		case ':':
			return usage("an option needs a value", argv[optind - 1]);
		default:
			return usage("unknown option", argv[optind - 1]);
		}
	}
	if (optind < argc)
		return usage("unexpected argument", argv[optind]);
	if (!opt->data)
		return usage("--data FILE is missing", NULL);
	if (opt->tile % 16)
		return usage("--tile takes a multiple of 16", NULL);
	if (!progress_known(opt->progress))
		return usage("--progress is bar, lines or none", opt->progress);
	if (opt->compare && opt->resume)
		return usage("--compare trains from the start; it cannot --resume", NULL);
	return 0;
}
