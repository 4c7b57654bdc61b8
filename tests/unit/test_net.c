// SPDX-License-Identifier: MIT
/* Building networks: shapes by PyTorch's rules, and what the building calls refuse, with which words. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include <pim/device.h>

#include "net.h"
#include "run_suite.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* -- shapes --------------------------------------------------------------------------------------------------------------- */
static void shape_is(const struct pim_net *net, int layer, uint32_t c, uint32_t h, uint32_t w)
{
	uint32_t s[3] = { 0 };

	ck_assert_msg(layer >= 0, "%s", pim_strerror());
	ck_assert_int_eq(pim_net_shape(net, layer, s), 0);
	ck_assert_msg(s[0] == c && s[1] == h && s[2] == w, "%ux%ux%u, not %ux%ux%u", s[0], s[1], s[2], c, h, w);
}

/* Sizes that PyTorch 1.13's Conv2d gives. */
static const struct {
	uint32_t h, w;
	struct pim_conv conv;
	uint32_t oh, ow;
} convs[] = {
	{ 8, 10, { .k = { 3, 5 }, .stride = { 1, 2 }, .pad = { 1, 2 } }, 8, 5 },
	{ 16, 16, { .k = { 3, 3 }, .pad = { 2, 2 }, .dilation = { 2, 2 } }, 16, 16 },
	{ 17, 9, { .k = { 3, 2 }, .stride = { 2, 3 }, .pad = { 0, 1 }, .dilation = { 3, 4 } }, 6, 3 },
	{ 7, 7, { .k = { 7, 7 } }, 1, 1 },
	{ 9, 11, { .k = { 1, 3 }, .stride = { 2, 2 }, .pad = { 0, 4 }, .dilation = { 5, 2 } }, 5, 8 },
};

START_TEST(convolutions_have_pytorchs_size)
{
	struct pim_conv conv = convs[_i].conv;
	struct pim_net *net = pim_net_new();

	conv.out = 12;
	shape_is(net, pim_net_conv_with(net, pim_net_input(net, 4, convs[_i].h, convs[_i].w), "c", &conv), 12, convs[_i].oh,
		 convs[_i].ow);
	pim_net_free(net);
}
END_TEST

/* Those of MaxPool2d, without and with ceil_mode: a last window that would begin in the right pad is left out. */
static const struct {
	uint32_t h, w;
	struct pim_pool pool;
	uint32_t floor[2], ceil[2];
} pools[] = {
	{ 112, 112, { .k = { 3, 3 }, .stride = { 2, 2 } }, { 55, 55 }, { 56, 56 } },
	{ 7, 8, { .k = { 3, 3 }, .stride = { 2, 2 }, .pad = { 1, 1 } }, { 4, 4 }, { 4, 5 } },
	{ 7, 8, { .k = { 2, 2 }, .stride = { 3, 3 }, .pad = { 1, 1 } }, { 3, 3 }, { 3, 3 } },
	{ 5, 6, { .k = { 2, 2 }, .stride = { 2, 2 }, .pad = { 1, 1 } }, { 3, 4 }, { 3, 4 } },
	{ 4, 9, { .k = { 3, 3 }, .stride = { 3, 3 }, .pad = { 1, 1 } }, { 2, 3 }, { 2, 4 } },
	{ 3, 3, { .k = { 2, 2 }, .stride = { 4, 4 }, .pad = { 1, 1 } }, { 1, 1 }, { 1, 1 } },
	{ 6, 5, { .k = { 1, 2 }, .stride = { 4, 3 }, .pad = { 0, 1 } }, { 2, 2 }, { 2, 2 } },
	{ 1, 2, { .k = { 2, 2 }, .stride = { 2, 2 }, .pad = { 1, 1 } }, { 1, 2 }, { 1, 2 } },
};

START_TEST(pools_have_pytorchs_size)
{
	struct pim_net *net = pim_net_new();
	struct pim_pool p = pools[_i].pool;
	int x = pim_net_input(net, 4, pools[_i].h, pools[_i].w);

	shape_is(net, pim_net_maxpool_with(net, x, &p), 4, pools[_i].floor[0], pools[_i].floor[1]);
	shape_is(net, pim_net_avgpool_with(net, x, &p), 4, pools[_i].floor[0], pools[_i].floor[1]);
	p.ceil = true;
	shape_is(net, pim_net_maxpool_with(net, x, &p), 4, pools[_i].ceil[0], pools[_i].ceil[1]);
	shape_is(net, pim_net_avgpool_with(net, x, &p), 4, pools[_i].ceil[0], pools[_i].ceil[1]);
	pim_net_free(net);
}
END_TEST

START_TEST(the_other_layers_shapes)
{
	struct pim_net *net = pim_net_new();
	int x = pim_net_input(net, 6, 8, 10), y, v;

	shape_is(net, x, 6, 8, 10);
	y = pim_net_conv_with(net, x, "g",
			      &(struct pim_conv){ .out = 12, .k = { 3, 3 }, .pad = { 1, 1 }, .groups = 3, .bias = true });
	shape_is(net, y, 12, 8, 10);
	ck_assert_uint_eq(pim_net_parameters(net), 12 * 2 * 9 + 12);
	y = pim_net_conv_with(net, y, "d", &(struct pim_conv){ .out = 24, .k = { 1, 5 }, .pad = { 0, 2 }, .groups = 12 });
	shape_is(net, y, 24, 8, 10);
	ck_assert_uint_eq(pim_net_parameters(net), 12 * 2 * 9 + 12 + 24 * 5);
	shape_is(net, pim_net_bn(net, y, "b"), 24, 8, 10);
	ck_assert_uint_eq(pim_net_parameters(net), 12 * 2 * 9 + 12 + 24 * 5 + 48);
	shape_is(net, pim_net_act(net, y, PIM_LEAKY_RELU, 0.25f), 24, 8, 10);
	shape_is(net, pim_net_add(net, y, y), 24, 8, 10);
	v = pim_net_global_avgpool(net, y);
	shape_is(net, v, 24, 1, 1);
	shape_is(net, pim_net_mul(net, y, v), 24, 8, 10);
	shape_is(net, pim_net_concat(net, (int[]){ x, y, x }, 3), 36, 8, 10);
	shape_is(net, pim_net_maxpool(net, y, 2), 24, 4, 5);
	shape_is(net, pim_net_avgpool(net, y, 2), 24, 4, 5);
	shape_is(net, pim_net_maxpool_with(net, y, &(struct pim_pool){ .k = { 2, 5 } }), 24, 4, 2);
	shape_is(net, pim_net_dropout(net, y, 0.5f), 24, 8, 10);
	y = pim_net_linear(net, y, "fc", 7);
	shape_is(net, y, 7, 1, 1);
	ck_assert_uint_eq(pim_net_parameters(net), 12 * 2 * 9 + 12 + 24 * 5 + 48 + 7 * 24 * 80 + 7);
	shape_is(net, pim_net_softmax_ce_with(net, y, 0.1f), 7, 1, 1);
	ck_assert_int_eq(pim_net_shape(net, -1, (uint32_t[3]){ 0 }), -EINVAL);
	ck_assert_int_eq(pim_net_shape(net, 1000, (uint32_t[3]){ 0 }), -EINVAL);
	pim_net_free(net);
}
END_TEST

/* -- what is refused ------------------------------------------------------------------------------------------------------ */
/* The call failed, with all of these words, and the error is there to stay. */
static void refused(struct pim_net *net, int err, const char *const *word)
{
	char first[512];

	ck_assert_msg(err == -EINVAL, "%d: accepted, \"%s\" was expected", err, word[0]);
	for (; *word; word++)
		ck_assert_msg(strstr(pim_strerror(), *word), "\"%s\" does not say \"%s\"", pim_strerror(), *word);
	strcpy(first, pim_strerror());
	ck_assert_int_eq(pim_net_bn(net, err, "later"), -EINVAL);
	ck_assert_int_eq(pim_net_maxpool(net, err, 0), -EINVAL);
	ck_assert_int_eq(pim_net_global_avgpool(net, err), -EINVAL);
	ck_assert_int_eq(pim_net_shape(net, 0, (uint32_t[3]){ 0 }), -EINVAL);
	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	ck_assert_str_eq(pim_strerror(), first);
	pim_net_free(net);
}

/* In a network of its own: x is its input, 6x8x10, layer 0; y a convolution of it, "c1", 16x4x5, layer 1; v a vector, 16x1x1, layer 2. */
#define REFUSED(call, ...)                                                                                                         \
	do {                                                                                                                       \
		struct pim_net *net = pim_net_new();                                                                               \
		int x = pim_net_input(net, 6, 8, 10), y = pim_net_conv(net, x, "c1", 16, 3, 2, 1, false);                          \
		int v = pim_net_global_avgpool(net, y);                                                                            \
                                                                                                                                   \
		(void)x, (void)y, (void)v;                                                                                         \
		refused(net, call, (const char *const[]){ __VA_ARGS__, NULL });                                                    \
	} while (0)
#define CONV(...) pim_net_conv_with(net, x, "c2", &(struct pim_conv){ __VA_ARGS__ })
#define MAXPOOL(...) pim_net_maxpool_with(net, y, &(struct pim_pool){ __VA_ARGS__ })
#define AVGPOOL(...) pim_net_avgpool_with(net, y, &(struct pim_pool){ __VA_ARGS__ })

#define X "layer 0 (input, 6x8x10)"
#define Y "layer 1 (conv c1, 16x4x5)"
#define V "layer 2 (avgpool, 16x1x1)"

START_TEST(shapes_that_do_not_fit_are_named)
{
	REFUSED(pim_net_add(net, x, y), "add", X, Y);
	REFUSED(pim_net_add(net, y, v), "add", Y, V);
	REFUSED(pim_net_mul(net, x, v), "mul", X, V, "6x1x1");
	REFUSED(pim_net_mul(net, v, y), "mul", Y, V, "16x1x1");
	REFUSED(pim_net_concat(net, (int[]){ y, y, x }, 3), "concat", X, Y);
	REFUSED(CONV(.out = 4, .k = { 9, 3 }), "conv c2", "9x3", X);
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .dilation = { 1, 5 }), "conv c2", "1x5", X);
	REFUSED(MAXPOOL(.k = { 5, 2 }), "maxpool", "5x2", Y);
	REFUSED(AVGPOOL(.k = { 2, 6 }), "avgpool", "2x6", Y);
	REFUSED(pim_net_maxpool(net, y, 2), "maxpool 2x2", Y);
	REFUSED(pim_net_avgpool(net, y, 0), "avgpool 0x0", Y);
	REFUSED(pim_net_softmax_ce(net, y), "softmax_ce", Y);
}
END_TEST

START_TEST(numbers_out_of_range_are_named)
{
	REFUSED(CONV(.out = 0, .k = { 3, 3 }), "conv c2", "out 0");
	REFUSED(CONV(.out = 65537, .k = { 3, 3 }), "conv c2", "out 65537");
	REFUSED(CONV(.out = 4, .k = { 0, 3 }), "conv c2", "kernel 0x3");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .stride = { 1, 70000 }), "conv c2", "stride 1x70000");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .dilation = { 70000, 1 }), "conv c2", "dilation 70000x1");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .pad = { 3, 1 }), "conv c2", "pad 3x1");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .dilation = { 65536, 1 }, .pad = { 131072, 0 }), "conv c2", "pad 131072x0", "65536");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .groups = 4), "conv c2", "6 input", "4 output", "4 groups");
	REFUSED(CONV(.out = 4, .k = { 3, 3 }, .groups = 3), "conv c2", "3 groups");
	REFUSED(pim_net_conv(net, x, "c2", 4, 3, 0, 1, false), "conv c2", "stride 0");
	REFUSED(pim_net_bn_with(net, x, "b", 0, 0.1f), "bn b", "eps 0");
	REFUSED(pim_net_bn_with(net, x, "b", NAN, 0.1f), "bn b", "eps nan");
	REFUSED(pim_net_bn_with(net, x, "b", 1e-5f, -0.5f), "bn b", "momentum -0.5");
	REFUSED(pim_net_bn_with(net, x, "b", 1e-5f, 1.5f), "bn b", "momentum 1.5");
	REFUSED(pim_net_act(net, x, (enum pim_act)77, 0), "activation 77");
	REFUSED(pim_net_act(net, x, PIM_LEAKY_RELU, 1), "leaky_relu", "slope 1");
	REFUSED(pim_net_act(net, x, PIM_LEAKY_RELU, NAN), "leaky_relu", "slope nan");
	REFUSED(pim_net_act(net, x, PIM_SILU, 0.5f), "silu", "slope 0.5");
	REFUSED(pim_net_concat(net, &x, 1), "concat", "1 maps");
	REFUSED(pim_net_concat(net, (int[]){ x, x, x, x, x, x, x, x, x }, 9), "concat", "9 maps");
	REFUSED(MAXPOOL(.k = { 0, 2 }), "maxpool", "window 0x2");
	REFUSED(MAXPOOL(.k = { 2, 2 }, .stride = { 70000, 1 }), "maxpool", "stride 70000x1");
	REFUSED(AVGPOOL(.k = { 3, 3 }, .pad = { 1, 2 }), "avgpool", "pad 1x2");
	REFUSED(pim_net_dropout(net, x, 1), "dropout", "1");
	REFUSED(pim_net_dropout(net, x, -0.1f), "dropout", "-0.1");
	REFUSED(pim_net_linear(net, x, "fc", 0), "linear fc", "0");
	REFUSED(pim_net_linear(net, x, "fc", 65537), "linear fc", "65537");
	REFUSED(pim_net_softmax_ce_with(net, v, 1), "softmax_ce", "smoothing 1");
	REFUSED(pim_net_softmax_ce_with(net, v, NAN), "softmax_ce", "nan");
}
END_TEST

START_TEST(channels_of_a_concatenation_are_limited)
{
	struct pim_net *net = pim_net_new();
	int x = pim_net_input(net, 65536, 1, 1);

	refused(net, pim_net_concat(net, (int[]){ x, x }, 2), (const char *const[]){ "concat", "131072", NULL });
}
END_TEST

START_TEST(inputs_and_names_are_checked)
{
	char name[65] = "";

	memset(name, 'n', 64);
	REFUSED(pim_net_input(net, 1, 8, 8), "one input");
	REFUSED(pim_net_relu(net, 3), "act", "no layer");
	REFUSED(pim_net_relu(net, -5), "act", "no layer");
	REFUSED(pim_net_add(net, x, 99), "add", "no layer");
	REFUSED(pim_net_concat(net, (int[]){ x, -1 }, 2), "concat", "no layer");
	REFUSED(pim_net_maxpool(net, 99, 2), "maxpool", "no layer");
	REFUSED(pim_net_global_avgpool(net, 99), "avgpool", "no layer");
	REFUSED(pim_net_relu(net, pim_net_softmax_ce(net, v)), "act", "follow the loss");
	REFUSED(pim_net_bn(net, x, "c1"), "\"c1\"", "two layers");
	REFUSED(pim_net_linear(net, x, "c1", 10), "\"c1\"", "two layers");
	REFUSED(pim_net_conv(net, x, "", 4, 3, 1, 1, false), "conv \"\"", "name");
	REFUSED(pim_net_bn(net, x, name), name, "63");
	REFUSED(pim_net_bn(net, x, "a b"), "\"a b\"", "name");
	REFUSED(pim_net_bn(net, x, "a=b"), "\"a=b\"", "name");
	REFUSED(pim_net_bn(net, x, "#a"), "\"#a\"", "name");
	REFUSED(pim_net_bn(net, x, "a\n"), "name");
	REFUSED(pim_net_bn(net, x, "\xc3\xa4"), "name");
}
END_TEST

START_TEST(an_input_is_an_image)
{
	static const uint32_t wrong[][3] = { { 0, 8, 8 },     { 1, 0, 8 },     { 1, 8, 0 },
					     { 65537, 1, 1 }, { 1, 65537, 1 }, { 1, 1, 65537 } };

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct pim_net *net = pim_net_new();
		char shape[40];

		snprintf(shape, sizeof(shape), "%ux%ux%u", wrong[i][0], wrong[i][1], wrong[i][2]);
		refused(net, pim_net_input(net, wrong[i][0], wrong[i][1], wrong[i][2]),
			(const char *const[]){ "input", shape, NULL });
	}
}
END_TEST

START_TEST(a_network_is_whole_or_says_what_is_missing)
{
	struct pim_net *net = pim_net_new();
	int x;

	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	x = pim_net_input(net, 3, 4, 4);
	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "softmax_ce"));
	x = pim_net_linear(net, x, "fc", 10);
	pim_net_relu(net, x);
	pim_net_softmax_ce(net, x);
	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "layer 2 (relu, 10x1x1)"));
	pim_net_free(net);

	net = pim_net_new();
	pim_net_softmax_ce(net, pim_net_linear(net, pim_net_input(net, 3, 4, 4), "fc", 10));
	ck_assert_int_eq(pim_net_check(net), 0);
	pim_net_free(net);
	pim_net_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net");
	TCase *tc = tcase_create("shapes");

	tcase_add_loop_test(tc, convolutions_have_pytorchs_size, 0, (int)ARRAY_SIZE(convs));
	tcase_add_loop_test(tc, pools_have_pytorchs_size, 0, (int)ARRAY_SIZE(pools));
	tcase_add_test(tc, the_other_layers_shapes);
	suite_add_tcase(s, tc);
	tc = tcase_create("refused");
	tcase_add_test(tc, shapes_that_do_not_fit_are_named);
	tcase_add_test(tc, numbers_out_of_range_are_named);
	tcase_add_test(tc, channels_of_a_concatenation_are_limited);
	tcase_add_test(tc, inputs_and_names_are_checked);
	tcase_add_test(tc, an_input_is_an_image);
	tcase_add_test(tc, a_network_is_whole_or_says_what_is_missing);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
