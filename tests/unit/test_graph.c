// SPDX-License-Identifier: MIT
/*
 * Small networks with what the large ones are made of, trained on a device (PIM_DEVICE, default an emulated test card) in every mode and
 * with every tile, against the oracle.
 */
#include "graph_rig.h"
#include "run_suite.h"

static struct pim_net *begin(uint32_t c, uint32_t h, uint32_t w, int *x)
{
	struct pim_net *net = pim_net_new();

	ck_assert_ptr_nonnull(net);
	*x = pim_net_input(net, c, h, w);
	return net;
}

static void classify(struct pim_net *net, int x, uint32_t classes)
{
	pim_net_softmax_ce(net, pim_net_linear(net, pim_net_global_avgpool(net, x), "fc", classes));
}

static int conv_bn(struct pim_net *net, int x, const char *name, const struct pim_conv *conv)
{
	char bn[64];

	snprintf(bn, sizeof(bn), "%s.bn", name);
	return pim_net_bn(net, pim_net_conv_with(net, x, name, conv), bn);
}

/* MobileNetV2: expand, depthwise, project, with a sum around it where the shape stays. */
static int inverted_residual(struct pim_net *net, int x, const char *name, uint32_t c, uint32_t wide, uint32_t out, uint32_t stride)
{
	char part[3][32];
	int y = x;

	snprintf(part[0], sizeof(part[0]), "%s.expand", name);
	snprintf(part[1], sizeof(part[1]), "%s.depthwise", name);
	snprintf(part[2], sizeof(part[2]), "%s.project", name);
	y = pim_net_act(net, conv_bn(net, y, part[0], &(struct pim_conv){ .out = wide, .k = { 1, 1 } }), PIM_RELU6, 0);
	y = conv_bn(
		net, y, part[1],
		&(struct pim_conv){ .out = wide, .k = { 3, 3 }, .stride = { stride, stride }, .pad = { 1, 1 }, .groups = wide });
	y = conv_bn(net, pim_net_act(net, y, PIM_RELU6, 0), part[2], &(struct pim_conv){ .out = out, .k = { 1, 1 } });
	return stride == 1 && c == out ? pim_net_add(net, x, y) : y;
}

static struct pim_net *mobilenet(void)
{
	int x;
	struct pim_net *net = begin(3, 7, 6, &x);

	x = pim_net_act(net, conv_bn(net, x, "stem", &(struct pim_conv){ .out = 24, .k = { 3, 3 }, .pad = { 1, 1 } }), PIM_RELU6,
			0);
	x = inverted_residual(net, x, "a", 24, 40, 24, 1);
	x = inverted_residual(net, x, "b", 24, 40, 32, 2);
	classify(net, x, 7);
	return net;
}

/* EfficientNet: squeeze, excite, multiply; 40 channels have a padded block. */
static int squeeze_excite(struct pim_net *net, int x, const char *name, uint32_t c, uint32_t few)
{
	char part[2][32];
	int s = pim_net_global_avgpool(net, x);

	snprintf(part[0], sizeof(part[0]), "%s.squeeze", name);
	snprintf(part[1], sizeof(part[1]), "%s.excite", name);
	s = pim_net_act(net, pim_net_conv(net, s, part[0], few, 1, 1, 0, true), PIM_SILU, 0);
	s = pim_net_act(net, pim_net_conv(net, s, part[1], c, 1, 1, 0, true), PIM_SIGMOID, 0);
	return pim_net_mul(net, x, s);
}

static struct pim_net *efficientnet(void)
{
	int x, y;
	struct pim_net *net = begin(3, 5, 6, &x);

	x = pim_net_act(net, conv_bn(net, x, "stem", &(struct pim_conv){ .out = 40, .k = { 3, 3 }, .pad = { 1, 1 } }), PIM_SILU, 0);
	y = conv_bn(net, x, "dw", &(struct pim_conv){ .out = 40, .k = { 5, 5 }, .pad = { 2, 2 }, .groups = 40 });
	y = squeeze_excite(net, pim_net_act(net, y, PIM_SILU, 0), "se", 40, 10);
	y = conv_bn(net, y, "project", &(struct pim_conv){ .out = 40, .k = { 1, 1 } });
	y = pim_net_dropout(net, pim_net_add(net, y, x), 0.2f);
	classify(net, y, 5);
	return net;
}

/* DenseNet: every layer sees all before it, through a BN of its own; a transition halves the map. */
static struct pim_net *densenet(void)
{
	int x, y;
	struct pim_net *net = begin(3, 6, 6, &x);
	char name[32];

	x = pim_net_conv(net, x, "stem", 32, 3, 1, 1, false);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "bn%d", i);
		y = pim_net_relu(net, pim_net_bn(net, x, name));
		snprintf(name, sizeof(name), "conv%d", i);
		y = pim_net_conv(net, y, name, i == 2 ? 12 : 16, 3, 1, 1, false);
		x = pim_net_concat(net, (int[]){ x, y }, 2);
	}
	x = pim_net_conv(net, pim_net_relu(net, pim_net_bn(net, x, "bn.t")), "transition", 32, 1, 1, 0, false);
	x = pim_net_avgpool(net, x, 2);
	y = pim_net_conv(net, pim_net_relu(net, pim_net_bn(net, x, "bn.b")), "conv.b", 16, 3, 1, 1, false);
	x = pim_net_relu(net, pim_net_bn(net, pim_net_concat(net, (int[]){ x, y }, 2), "bn.end"));
	classify(net, x, 10);
	return net;
}

/* GoogLeNet: four branches, one of them a pool whose windows overlap; pools whose last window does not fit. */
static int inception(struct pim_net *net, int x, uint32_t last)
{
	int b[4];

	b[0] = pim_net_relu(net, pim_net_conv(net, x, "one", 16, 1, 1, 0, true));
	b[1] = pim_net_relu(net, pim_net_conv(net, x, "three.a", 24, 1, 1, 0, true));
	b[1] = pim_net_relu(net, pim_net_conv(net, b[1], "three.b", 32, 3, 1, 1, true));
	b[2] = pim_net_relu(net, pim_net_conv(net, x, "five.a", 8, 1, 1, 0, true));
	b[2] = pim_net_relu(net, pim_net_conv(net, b[2], "five.b", 16, 5, 1, 2, true));
	b[3] = pim_net_maxpool_with(net, x, &(struct pim_pool){ .k = { 3, 3 }, .stride = { 1, 1 }, .pad = { 1, 1 } });
	b[3] = pim_net_relu(net, pim_net_conv(net, b[3], "pool", last, 1, 1, 0, true));
	return pim_net_concat(net, b, 4);
}

static struct pim_net *googlenet(void)
{
	static const struct pim_pool down = { .k = { 3, 3 }, .stride = { 2, 2 }, .ceil = true };
	int x;
	struct pim_net *net = begin(3, 12, 11, &x);

	x = pim_net_relu(net, pim_net_bn(net, pim_net_conv(net, x, "stem", 20, 3, 1, 1, false), "bn"));
	x = inception(net, pim_net_maxpool_with(net, x, &down), 20);
	x = pim_net_avgpool_with(net, x, &(struct pim_pool){ .k = { 3, 2 }, .stride = { 2, 2 }, .pad = { 1, 1 }, .ceil = true });
	x = pim_net_avgpool_with(net, x,
				 &(struct pim_pool){ .k = { 3, 2 }, .stride = { 2, 1 }, .pad = { 1, 0 }, .exclude_pad = true });
	classify(net, pim_net_dropout(net, x, 0.4f), 6);
	return net;
}

/* VGG: no BN, and a classifier of linear layers with dropout. */
static struct pim_net *vgg(void)
{
	int x;
	struct pim_net *net = begin(3, 8, 8, &x);

	x = pim_net_relu(net, pim_net_conv(net, x, "conv1", 16, 3, 1, 1, true));
	x = pim_net_maxpool(net, pim_net_relu(net, pim_net_conv(net, x, "conv2", 24, 3, 1, 1, true)), 2);
	x = pim_net_relu(net, pim_net_linear(net, pim_net_dropout(net, x, 0.5f), "fc1", 40));
	x = pim_net_relu(net, pim_net_linear(net, pim_net_dropout(net, x, 0.5f), "fc2", 32));
	pim_net_softmax_ce_with(net, pim_net_linear(net, x, "fc3", 9), 0.1f);
	return net;
}

/* Groups that fit blocks of 16 channels and groups that do not, dilation, a multiplier. */
static struct pim_net *groups(void)
{
	int x;
	struct pim_net *net = begin(3, 11, 9, &x);

	x = conv_bn(net, x, "a",
		    &(struct pim_conv){ .out = 36, .k = { 3, 3 }, .dilation = { 2, 2 }, .pad = { 2, 2 }, .groups = 3 });
	x = pim_net_act(net, x, PIM_LEAKY_RELU, 0.1f);
	x = conv_bn(net, x, "b", &(struct pim_conv){ .out = 48, .k = { 3, 3 }, .pad = { 1, 1 }, .groups = 4, .bias = true });
	x = pim_net_act(net, x, PIM_LEAKY_RELU, 0.25f);
	x = pim_net_conv_with(
		net, x, "c", &(struct pim_conv){ .out = 64, .k = { 2, 3 }, .stride = { 2, 1 }, .dilation = { 3, 1 }, .groups = 2 });
	x = pim_net_act(net, x, PIM_SILU, 0);
	x = pim_net_conv_with(net, x, "d", &(struct pim_conv){ .out = 128, .k = { 1, 1 }, .groups = 64, .bias = true });
	classify(net, x, 4);
	return net;
}

/* Kernels, strides, pads and pools that are not square. */
static struct pim_net *rectangles(void)
{
	int x;
	struct pim_net *net = begin(5, 12, 9, &x);

	x = conv_bn(net, x, "a", &(struct pim_conv){ .out = 17, .k = { 1, 7 }, .pad = { 0, 3 } });
	x = pim_net_relu(net, x);
	x = pim_net_conv_with(net, x, "b", &(struct pim_conv){ .out = 33, .k = { 7, 1 }, .pad = { 3, 0 } });
	x = pim_net_bn_with(net, x, "b.bn", 1e-2f, 0.3f);
	x = pim_net_maxpool_with(net, pim_net_relu(net, x), &(struct pim_pool){ .k = { 4, 3 } });
	x = pim_net_conv_with(net, x, "c", &(struct pim_conv){ .out = 20, .k = { 2, 3 }, .stride = { 1, 2 }, .pad = { 1, 1 } });
	x = pim_net_avgpool_with(net, pim_net_relu(net, x), &(struct pim_pool){ .k = { 4, 2 } });
	pim_net_softmax_ce(net, pim_net_linear(net, x, "fc", 3));
	return net;
}

/* Sigmoids of 10 channels: what is multiplied or normalised has zeros in its padded channels again. A mean over more pixels than planes. */
static struct pim_net *sigmoids(void)
{
	int x, s;
	struct pim_net *net = begin(2, 19, 17, &x);

	x = pim_net_conv(net, x, "a", 10, 3, 2, 1, true);
	s = pim_net_conv(net, pim_net_global_avgpool(net, x), "b", 10, 1, 1, 0, true);
	x = pim_net_mul(net, x, pim_net_act(net, s, PIM_SIGMOID, 0));
	x = pim_net_bn(net, pim_net_act(net, x, PIM_SIGMOID, 0), "bn");
	x = pim_net_act(net, pim_net_conv(net, x, "c", 32, 1, 1, 0, true), PIM_SIGMOID, 0);
	x = pim_net_conv(net, pim_net_maxpool(net, x, 1), "d", 16, 3, 1, 1, true);
	classify(net, x, 5);
	return net;
}

/* A mean over a map of more than 16 rows, and of one input by several layers. */
static struct pim_net *wide(void)
{
	int x, y;
	struct pim_net *net = begin(4, 18, 17, &x);

	y = pim_net_add(net, pim_net_bn(net, x, "bn"), pim_net_act(net, x, PIM_SILU, 0));
	y = pim_net_concat(net, (int[]){ pim_net_conv(net, y, "a", 16, 1, 1, 0, false), y }, 2);
	classify(net, pim_net_add(net, y, y), 3);
	return net;
}

static const struct {
	const char *name;
	struct pim_net *(*build)(void);
} nets[] = {
	{ "mobilenet", mobilenet },
	{ "efficientnet", efficientnet },
	{ "densenet", densenet },
	{ "googlenet", googlenet },
	{ "vgg", vgg },
	{ "groups", groups },
	{ "rectangles", rectangles },
	{ "sigmoids", sigmoids },
	{ "wide", wide },
};
#define NNETS (int)(sizeof(nets) / sizeof(nets[0]))

static struct pim_train_options options(enum pim_optimizer optimizer)
{
	/* Adam divides by what may be a rounding error; its epsilon must be well above. */
	return (struct pim_train_options){ .batch = 3,
					   .optimizer = optimizer,
					   .momentum = 0.9f,
					   .weight_decay = 0.01f,
					   .seed = 0x123456789abcdef1ull,
					   .beta1 = 0.8,
					   .beta2 = 0.95,
					   .epsilon = 1e-2 };
}

/* Every network with SGD and one more optimizer. */
START_TEST(networks_train_as_the_oracle_does)
{
	struct pim_train_options opt = options(_i < NNETS ? PIM_SGD : (enum pim_optimizer)(PIM_NESTEROV + _i % 3));
	struct pim_net *net = nets[_i % NNETS].build();

	ck_assert_msg(!check_net(nets[_i % NNETS].name, net, &opt, 1 + (uint64_t)_i), "%s: %s", g.name, pim_strerror());
	pim_net_free(net);
}
END_TEST

/* -- what cannot be planned ------------------------------------------------------------------------------------------------ */

static int sigmoid_of(struct pim_net *net, int x, uint32_t c)
{
	return pim_net_act(net, pim_net_conv(net, x, "a", c, 1, 1, 0, true), PIM_SIGMOID, 0);
}

static int to_convolution(struct pim_net *net, int x)
{
	return pim_net_conv(net, sigmoid_of(net, x, 24), "b", 16, 1, 1, 0, true);
}

static int through_a_sum(struct pim_net *net, int x)
{
	x = sigmoid_of(net, x, 24);
	return pim_net_conv(net, pim_net_relu(net, pim_net_add(net, x, x)), "b", 16, 1, 1, 0, true);
}

static int through_a_concat(struct pim_net *net, int x)
{
	int y = pim_net_conv(net, x, "c", 16, 1, 1, 0, true);

	return pim_net_dropout(net, pim_net_concat(net, (int[]){ y, sigmoid_of(net, x, 8) }, 2), 0.5f);
}

static int to_a_host_pool(struct pim_net *net, int x)
{
	return pim_net_maxpool_with(net, sigmoid_of(net, x, 8), &(struct pim_pool){ .k = { 3, 3 }, .stride = { 1, 1 } });
}

static int large_kernel(struct pim_net *net, int x)
{
	return pim_net_conv_with(net, x, "a", &(struct pim_conv){ .out = 4, .k = { 65, 1 }, .pad = { 64, 0 } });
}

static int many_users(struct pim_net *net, int x)
{
	int y = pim_net_relu(net, x);

	for (int i = 0; i < 8; i++)
		y = pim_net_add(net, y, pim_net_relu(net, x));
	return y;
}

static int concat_of_24(struct pim_net *net, int x)
{
	return pim_net_concat(
		net, (int[]){ pim_net_conv(net, x, "a", 24, 1, 1, 0, true), pim_net_conv(net, x, "b", 16, 1, 1, 0, true) }, 2);
}

static const struct {
	int (*body)(struct pim_net *net, int x);
	const char *message; /* a part of it */
} refused[] = {
	{ to_convolution, "layer 3 (conv b): its input comes from a sigmoid of 24 channels" },
	{ through_a_sum, "conv b): its input comes from a sigmoid" },
	{ through_a_concat, "(dropout): its input comes from a sigmoid of 24 channels" },
	{ to_a_host_pool, "(maxpool): its input comes from a sigmoid" },
	{ large_kernel, "(conv a): kernel 65x1" },
	{ many_users, "layer 0: more than 8 layers" },
	{ concat_of_24, "(concat): its input 1" },
};

START_TEST(what_cannot_be_planned_is_refused_by_name)
{
	struct pim_train_options opt = options(PIM_SGD);
	struct pim_trainer *tr;
	int x;
	struct pim_net *net = begin(3, 17, 4, &x);

	classify(net, refused[_i].body(net, x), 3);
	opt.sz = sizeof(opt);
	ck_assert_msg(!pim_net_check(net), "%s", pim_strerror());
	ck_assert_int_eq(pim_trainer_create(g.dev, net, &opt, &tr), -ENOTSUP);
	ck_assert_msg(strstr(pim_strerror(), refused[_i].message), "%s", pim_strerror());
	pim_net_free(net);
}
END_TEST

/* -- checkpoints ------------------------------------------------------------------------------------------------------------ */

static struct pim_trainer *trainer(const struct pim_net *net, enum pim_mode mode)
{
	struct pim_train_options opt = options(PIM_ADAM);
	struct pim_trainer *tr;

	opt.sz = sizeof(opt);
	opt.mode = mode;
	ok(pim_trainer_create(g.dev, net, &opt, &tr));
	return tr;
}

/* Averages, the number of steps in their correction, and the masks of dropout go on where they were. */
START_TEST(a_resumed_run_of_adam_ends_with_the_same_bits)
{
	struct pim_net *net = efficientnet();
	struct pim_step_result whole[5], part[5];
	struct pim_trainer *tr;
	uint64_t sum[2];

	g.name = "checkpoint";
	make_data(net, 3, 5);
	tr = trainer(net, PIM_SERIAL);
	train_steps(tr, 5, whole);
	ok(pim_trainer_checksum(tr, &sum[0]));
	pim_trainer_destroy(tr);

	tr = trainer(net, PIM_PIPELINED);
	train_steps(tr, 2, part);
	ok(pim_trainer_save(tr, g.path));
	pim_trainer_destroy(tr);
	tr = trainer(net, PIM_PIPELINED);
	train_steps(tr, 1, part); /* forgotten by the load */
	ok(pim_trainer_load(tr, g.path));
	ck_assert_uint_eq(pim_trainer_steps(tr), 2);
	train_steps(tr, 3, part + 2);
	ok(pim_trainer_checksum(tr, &sum[1]));
	pim_trainer_destroy(tr);
	ck_assert_uint_eq(sum[0], sum[1]);
	for (int s = 2; s < 5; s++)
		ck_assert_msg(whole[s].loss == part[s].loss, "loss of step %d", s);
	pim_net_free(net);
}
END_TEST

/* Corrections and masks are each step's own, also of steps that wait on the card. */
START_TEST(steps_in_flight_give_the_same_bits)
{
	struct pim_net *net = efficientnet();
	struct pim_step_result waited[4], res;
	struct pim_trainer *tr;
	uint64_t sum[2];

	g.name = "steps in flight";
	make_data(net, 3, 5);
	for (int queued = 0; queued < 2; queued++) {
		tr = trainer(net, PIM_PIPELINED);
		if (!queued)
			train_steps(tr, 4, waited);
		for (int s = 0; s < 4 && queued; s++)
			ok(pim_trainer_step(tr, g.image, g.label, RATE));
		for (int s = 0; s < 4 && queued; s++) {
			ck_assert_int_eq(pim_trainer_result(tr, &res, 1), 1);
			ck_assert_msg(res.loss == waited[s].loss, "loss of step %d", s);
		}
		ok(pim_trainer_checksum(tr, &sum[queued]));
		pim_trainer_destroy(tr);
	}
	ck_assert_uint_eq(sum[0], sum[1]);
	pim_net_free(net);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("graph");
	TCase *tc = tcase_create("networks");

	tcase_add_checked_fixture(tc, graph_setup, graph_teardown);
	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, networks_train_as_the_oracle_does, 0, 2 * NNETS);
	tcase_add_loop_test(tc, what_cannot_be_planned_is_refused_by_name, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(tc, a_resumed_run_of_adam_ends_with_the_same_bits);
	tcase_add_test(tc, steps_in_flight_give_the_same_bits);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
