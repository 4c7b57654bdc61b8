// SPDX-License-Identifier: MIT
/* The stock networks against torchvision's: every parameter's name and shape, every stage's map (tests/references/make_zoo.py). */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pim/device.h>
#include <pim/zoo.h>

#include "net.h"
#include "run_suite.h"

#define REFERENCE "tests/references/zoo.txt"
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Trainable parameters: torchvision's documentation of the weights (num_params), 1000 classes. */
static const struct {
	const char *name;
	uint64_t parameters;
} published[] = {
	{ "resnet18", 11689512 },
	{ "resnet50", 25557032 },
	{ "vgg16_bn", 138365992 },
	{ "densenet121", 7978856 },
	{ "googlenet", 6624904 },
	{ "mobilenet_v2", 3504872 },
	{ "efficientnet_b0", 5288548 },
	/*
	 * By hand. Stem 9*3*16, stages 6*9*16*16, 9*16*32 + 5*9*32*32, 9*32*64 + 5*9*64*64, BN 2*(7*16 + 6*32 + 6*64), fc 650: the 269,722 of
	 * the paper's 0.27M; and the two shortcuts, 16*32 + 2*32 and 32*64 + 2*64.
	 */
	{ "resnet20", 269722 + 576 + 2176 },
	{ "digits", 144 + 4608 + 4608 + 18432 + 288 + 330 },
};

static struct pim_net *build(const char *name)
{
	struct pim_net *net = pim_zoo(name, NULL);

	ck_assert_msg(net, "%s: %s", name, pim_strerror());
	return net;
}

START_TEST(parameters_are_those_published)
{
	struct pim_net *net = build(published[_i].name);

	ck_assert_uint_eq(pim_net_parameters(net), published[_i].parameters);
	pim_net_free(net);
}
END_TEST

START_TEST(every_network_of_the_list_is_known)
{
	unsigned int n = 0;

	for (; pim_zoo_name(n); n++) {
		unsigned int i = 0;

		while (i < ARRAY_SIZE(published) && strcmp(published[i].name, pim_zoo_name(n)))
			i++;
		ck_assert_msg(i < ARRAY_SIZE(published), "%s has no test of its parameters", pim_zoo_name(n));
	}
	ck_assert_uint_eq(n, ARRAY_SIZE(published));
	ck_assert_ptr_null(pim_zoo_name(n + 1));
}
END_TEST

/* Where a walk along the network and the reference is. */
struct walk {
	const struct pim_net *net;
	int layer; /* the last one that a line was about */
	bool bias; /* its next parameter is the bias */
};

static bool parametric(const struct layer *l)
{
	return l->kind == LAYER_CONV || l->kind == LAYER_BN;
}

/* The next parameter of the walk, "NAME SHAPE"; false after the last. */
static bool next_parameter(struct walk *w, char *buf, size_t size)
{
	const struct layer *l = w->layer >= 0 ? &w->net->layer[w->layer] : NULL;

	if (!w->bias || !l || !(l->kind == LAYER_BN || l->bias)) {
		do {
			if (++w->layer >= w->net->n)
				return false;
			l = &w->net->layer[w->layer];
		} while (!parametric(l));
		w->bias = true;
		if (l->kind == LAYER_BN)
			snprintf(buf, size, "%s.weight %u", l->name, l->c);
		else if (l->linear)
			snprintf(buf, size, "%s.weight %ux%u", l->name, l->c, w->net->layer[l->in[0]].c * l->kh * l->kw);
		else
			snprintf(buf, size, "%s.weight %ux%ux%ux%u", l->name, l->c, w->net->layer[l->in[0]].c / l->groups, l->kh,
				 l->kw);
		return true;
	}
	w->bias = false;
	snprintf(buf, size, "%s.bias %u", l->name, l->c);
	return true;
}

/*
 * The layer that ends a module of torchvision. With parameters: its last one, and what follows without any, down to a pool of stride 2 inside
 * of it. Without: the next pool of stride 2 after the last module.
 */
static int module_end(const struct walk *w, const char *module)
{
	const struct layer *l = w->net->layer;
	size_t len = strlen(module);
	int end = -1;

	for (int i = 0; i < w->net->n; i++)
		if (!strncmp(l[i].name, module, len) && (l[i].name[len] == '.' || !l[i].name[len]))
			end = i;
	if (end < 0) {
		end = w->layer + 1;
		while (end < w->net->n && !(l[end].kind == LAYER_MAXPOOL && l[end].sh == 2))
			end++;
		return end;
	}
	while (l[end + 1].kind == LAYER_ACT || l[end + 1].kind == LAYER_ADD || l[end + 1].kind == LAYER_CONCAT ||
	       (l[end + 1].kind == LAYER_AVGPOOL && l[end + 1].sh == 2))
		end++;
	return end;
}

START_TEST(names_and_shapes_are_torchvisions)
{
	char line[256], buf[256], shape[64], name[128];
	FILE *f = fopen(REFERENCE, "r");
	struct walk w = { .layer = -1 }, maps = { .layer = -1 };
	struct pim_net *net = NULL;
	unsigned int nets = 0;

	ck_assert_msg(f, "%s: not there; run from the top of the tree", REFERENCE);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long parameters;

		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#')
			continue;
		if (sscanf(line, "net %127s %llu", name, &parameters) == 2) {
			ck_assert_msg(!net || !next_parameter(&w, buf, sizeof(buf)), "torchvision has no %s", buf);
			pim_net_free(net);
			net = build(name);
			ck_assert_uint_eq(pim_net_parameters(net), parameters);
			w = maps = (struct walk){ .net = net, .layer = -1 };
			nets++;
		} else if (!strncmp(line, "param ", 6)) {
			ck_assert_msg(next_parameter(&w, buf, sizeof(buf)), "%s: missing", line);
			ck_assert_str_eq(buf, line + 6);
		} else {
			int end;

			ck_assert_int_eq(sscanf(line, "map %127s %63s", name, shape), 2);
			end = module_end(&maps, name);
			ck_assert_msg(end < net->n, "%s: no such layer", line);
			snprintf(buf, sizeof(buf), "%ux%ux%u", net->layer[end].c, net->layer[end].h, net->layer[end].w);
			ck_assert_msg(!strcmp(buf, shape), "%s: here layer %d, %s", line, end, buf);
			maps.layer = end;
		}
	}
	ck_assert_msg(net && !next_parameter(&w, buf, sizeof(buf)), "torchvision has no %s", buf);
	/* All but digits. */
	ck_assert_uint_eq(nets, ARRAY_SIZE(published) - 1);
	pim_net_free(net);
	fclose(f);
}
END_TEST

START_TEST(bn_and_dropout_are_torchvisions)
{
	for (unsigned int n = 0; pim_zoo_name(n); n++) {
		const char *name = pim_zoo_name(n);
		struct pim_net *net = build(name);
		float eps = strcmp(name, "googlenet") ? 1e-5f : 1e-3f, p = strcmp(name, "vgg16_bn") ? 0.2f : 0.5f;
		int dropouts = 0;

		for (int i = 0; i < net->n; i++) {
			if (net->layer[i].kind == LAYER_BN)
				ck_assert(net->layer[i].eps == eps && net->layer[i].momentum == 0.1f);
			if (net->layer[i].kind == LAYER_DROPOUT) {
				ck_assert(net->layer[i].p == p);
				dropouts++;
			}
		}
		ck_assert_int_eq(dropouts,
				 !strcmp(name, "vgg16_bn") ? 2
				 : !strcmp(name, "googlenet") || !strcmp(name, "mobilenet_v2") || !strcmp(name, "efficientnet_b0")
					 ? 1
					 : 0);
		pim_net_free(net);
	}
}
END_TEST

START_TEST(concatenations_of_a_dense_block_are_prefixes)
{
	struct pim_net *net = build("densenet121");
	int concats = 0;

	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i], *q = &net->layer[l->in[0]];

		if (l->kind != LAYER_CONCAT)
			continue;
		concats++;
		ck_assert_uint_eq(l->nin, 2);
		ck_assert(q->kind == LAYER_CONCAT || q->kind == LAYER_MAXPOOL || q->kind == LAYER_AVGPOOL);
		ck_assert_uint_eq(net->layer[l->in[1]].c, 32);
	}
	ck_assert_int_eq(concats, 6 + 12 + 24 + 16);
	pim_net_free(net);
}
END_TEST

START_TEST(digits_of_any_width)
{
	struct pim_net *net = pim_net_digits(3);

	/* conv 9*c, 18*c*c; 18*c*c, 72*c*c; bn 2*(3*c + 3*2*c); fc 20*c + 10 */
	ck_assert_int_eq(pim_net_check(net), 0);
	ck_assert_uint_eq(pim_net_parameters(net), 27 + 162 + 162 + 648 + 54 + 70);
	pim_net_free(net);
	net = pim_net_digits(0);
	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	pim_net_free(net);
}
END_TEST

static struct pim_zoo_options options(uint32_t classes, uint32_t size, float width)
{
	return (struct pim_zoo_options){ .sz = sizeof(struct pim_zoo_options), .classes = classes, .size = size, .width = width };
}

START_TEST(options_change_classes_size_and_width)
{
	struct pim_zoo_options o = options(7, 0, 0);
	struct pim_net *net;

	for (unsigned int n = 0; pim_zoo_name(n); n++) {
		net = pim_zoo(pim_zoo_name(n), &o);
		ck_assert_msg(net, "%s", pim_strerror());
		ck_assert_uint_eq(net->layer[net->n - 1].c, 7);
		pim_net_free(net);
	}
	/* Half the channels are a quarter of the weights, about. */
	o = options(10, 64, 0.5f);
	for (unsigned int n = 0; n < ARRAY_SIZE(published); n++) {
		net = pim_zoo(published[n].name, &o);
		ck_assert_msg(net, "%s: %s", published[n].name, pim_strerror());
		ck_assert_uint_eq(net->layer[0].h, 64);
		ck_assert_uint_lt(pim_net_parameters(net), published[n].parameters * 2 / 5);
		pim_net_free(net);
	}
	/* torchvision: mobilenet_v2(width_mult=1.4) 6,108,776, (0.5) 1,968,680; summed over their named_parameters. */
	o = options(1000, 0, 1.4f);
	net = pim_zoo("mobilenet_v2", &o);
	ck_assert_uint_eq(pim_net_parameters(net), 6108776);
	pim_net_free(net);
	o = options(1000, 0, 0.5f);
	net = pim_zoo("mobilenet_v2", &o);
	ck_assert_uint_eq(pim_net_parameters(net), 1968680);
	pim_net_free(net);
}
END_TEST

static void refused(const char *name, struct pim_zoo_options o, const char *why)
{
	ck_assert_ptr_null(pim_zoo(name, &o));
	ck_assert_msg(strstr(pim_strerror(), why), "\"%s\" does not say \"%s\"", pim_strerror(), why);
}

START_TEST(errors_say_what_is_possible)
{
	struct pim_zoo_options o = options(0, 0, 0);

	refused("resnet19", o, "\"resnet19\"");
	for (unsigned int n = 0; pim_zoo_name(n); n++)
		refused("resnet", o, pim_zoo_name(n));
	refused("", o, "resnet18");
	refused("resnet18", options(0, 0, -1), "width -1");
	refused("resnet18", options(0, 0, 17), "width 17");
	refused("resnet18", options(0, 0, (float)strtod("nan", NULL)), "width nan");
	refused("resnet18", options(70000, 0, 0), "fc");
	refused("resnet18", options(0, 70000, 0), "70000");
	refused("vgg16_bn", options(0, 16, 0), "maxpool");
	refused("densenet121", options(0, 8, 0), "avgpool");
	o.sz--;
	refused("resnet18", o, "sz");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("zoo");
	TCase *tc = tcase_create("zoo");

	tcase_add_loop_test(tc, parameters_are_those_published, 0, (int)ARRAY_SIZE(published));
	tcase_add_test(tc, every_network_of_the_list_is_known);
	tcase_add_test(tc, names_and_shapes_are_torchvisions);
	tcase_add_test(tc, bn_and_dropout_are_torchvisions);
	tcase_add_test(tc, concatenations_of_a_dense_block_are_prefixes);
	tcase_add_test(tc, digits_of_any_width);
	tcase_add_test(tc, options_change_classes_size_and_width);
	tcase_add_test(tc, errors_say_what_is_possible);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
