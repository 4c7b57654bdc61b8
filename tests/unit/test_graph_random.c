// SPDX-License-Identifier: MIT
/*
 * Random networks on a device (PIM_DEVICE, default an emulated test card) against the oracle. PIM_SEED=N runs network N alone; PIM_GRAPHS=N
 * that many of them.
 */
#include "graph_rig.h"
#include "run_suite.h"

#define GRAPHS 25
#define MAX_LAYERS 80

struct maker {
	struct pim_net *net;
	uint64_t random;
	bool part[MAX_LAYERS]; /* of a concatenation */
	unsigned int names;
	uint32_t batch;
};

static uint32_t below(struct maker *m, uint32_t n)
{
	return (uint32_t)(oracle_random(&m->random) % n);
}

static uint32_t between(struct maker *m, uint32_t lo, uint32_t hi)
{
	return lo + below(m, hi - lo + 1);
}

static const char *fresh_name(struct maker *m)
{
	static char name[16];

	snprintf(name, sizeof(name), "n%u", m->names++);
	return name;
}

/* Mostly 1..40; often a multiple of 16, so that there is something to concatenate. */
static uint32_t channels(struct maker *m)
{
	return below(m, 2) ? 16 * between(m, 1, 2) : between(m, 1, 40);
}

/* A side of a window that fits: returns its size; stride and pad besides. */
static uint32_t side(struct maker *m, uint32_t size, uint32_t most, uint32_t *stride, uint32_t *pad)
{
	uint32_t k = between(m, 1, size < most ? size : most);

	*stride = between(m, 1, size > 5 ? 2 : 1);
	*pad = below(m, k / 2 + 1);
	return k;
}

static int any_conv(struct maker *m, int x)
{
	const struct layer *l = &m->net->layer[x];
	struct pim_conv c = { .out = channels(m), .bias = below(m, 2) };

	c.k[0] = side(m, l->h, 3, &c.stride[0], &c.pad[0]);
	c.k[1] = side(m, l->w, 5, &c.stride[1], &c.pad[1]);
	for (int i = 0; i < 2; i++)
		if (c.k[i] > 1 && c.k[i] * 2 <= (i ? l->w : l->h) && below(m, 3) == 0)
			c.dilation[i] = 2;
	if (below(m, 2)) {
		c.groups = between(m, 1, l->c);
		while (l->c % c.groups)
			c.groups--;
		c.groups = below(m, 3) ? c.groups : l->c; /* depthwise, or nearly */
		c.out = c.groups * between(m, 1, c.groups > 20 ? 1 : 40 / c.groups);
	}
	return pim_net_conv_with(m->net, x, fresh_name(m), &c);
}

static int any_pool(struct maker *m, int x)
{
	const struct layer *l = &m->net->layer[x];
	struct pim_pool p = { .ceil = below(m, 2), .exclude_pad = below(m, 2) };

	p.k[0] = side(m, l->h, 3, &p.stride[0], &p.pad[0]);
	p.k[1] = side(m, l->w, 3, &p.stride[1], &p.pad[1]);
	if (below(m, 2) && l->h % 2 == 0 && l->w % 3 == 0)
		p = (struct pim_pool){ .k = { 2, 3 } };
	return (below(m, 2) ? pim_net_maxpool_with : pim_net_avgpool_with)(m->net, x, &p);
}

/* A map of a shape; any if c is 0. -1: none. Not the input, which can be no part of a concatenation. */
static int like(struct maker *m, int x, bool concat)
{
	const struct layer *l = &m->net->layer[x];
	int found[MAX_LAYERS], n = 0;

	for (int i = 1; i < m->net->n; i++) {
		const struct layer *o = &m->net->layer[i];

		if (i != x && o->h == l->h && o->w == l->w && (concat ? !m->part[i] && o->c <= 40 : o->c == l->c))
			found[n++] = i;
	}
	return n ? found[below(m, (uint32_t)n)] : -1;
}

static int any_concat(struct maker *m, int x)
{
	int in[2] = { x, like(m, x, true) }, y;

	if (x == 0 || m->part[x] || in[1] < 0)
		return -1;
	if (m->net->layer[in[0]].c % 16)
		in[0] = in[1], in[1] = x;
	if (m->net->layer[in[0]].c % 16)
		return -1;
	y = pim_net_concat(m->net, in, 2);
	m->part[in[0]] = m->part[in[1]] = true;
	return y;
}

static int any_mul(struct maker *m, int x)
{
	int s = pim_net_global_avgpool(m->net, x);

	if (below(m, 2))
		s = pim_net_conv(m->net, s, fresh_name(m), m->net->layer[x].c, 1, 1, 0, true);
	return pim_net_mul(m->net, x, pim_net_act(m->net, s, below(m, 2) ? PIM_SIGMOID : PIM_SILU, 0));
}

static int any_act(struct maker *m, int x)
{
	enum pim_act act = (enum pim_act)below(m, 5);

	if (act == PIM_SIGMOID && m->net->layer[x].c % 16)
		act = PIM_RELU;
	return pim_net_act(m->net, x, act, act == PIM_LEAKY_RELU ? 0.2f : 0);
}

/* One more layer, or -1 where this kind does not fit. */
static int any_layer(struct maker *m, int x)
{
	const struct layer *l = &m->net->layer[x];
	int other;

	switch (below(m, 18)) {
	default:
		return any_conv(m, x);
	case 3:
	case 4:
		/* A variance of few values amplifies rounding. */
		return m->batch * l->h * l->w < 8 || l->kind == LAYER_BN ? -1 : pim_net_bn(m->net, x, fresh_name(m));
	case 5:
	case 6:
		return any_act(m, x);
	case 7:
	case 8:
		other = like(m, x, false);
		return other < 0 ? -1 : pim_net_add(m->net, below(m, 2) ? x : other, below(m, 8) ? other : x);
	case 9:
		return any_mul(m, x);
	case 10:
	case 11:
		return any_concat(m, x);
	case 12:
		return l->h * l->w < 2 ? -1 : any_pool(m, x);
	case 13:
		return pim_net_dropout(m->net, x, 0.25f);
	}
}

/* Everything that nothing uses goes to a sum of linear layers. */
static void any_end(struct maker *m)
{
	uint32_t classes = between(m, 2, 20);
	int n = m->net->n, sum = -1;

	for (int i = 0; i < n; i++) {
		int y;

		if (m->net->layer[i].nusers)
			continue;
		y = below(m, 2) && m->net->layer[i].h * m->net->layer[i].w > 1 ? pim_net_global_avgpool(m->net, i) : i;
		y = pim_net_linear(m->net, y, fresh_name(m), classes);
		sum = sum < 0 ? y : pim_net_add(m->net, sum, y);
	}
	pim_net_softmax_ce_with(m->net, sum, below(m, 2) ? 0.1f : 0);
}

static struct pim_net *any_net(uint64_t seed, uint32_t *batch)
{
	struct maker m = { .net = pim_net_new(), .random = seed };
	uint32_t layers;

	ck_assert_ptr_nonnull(m.net);
	/* Neighbouring seeds shall have nothing in common. */
	m.random = oracle_random(&m.random);
	layers = between(&m, 4, 14);
	*batch = m.batch = between(&m, 1, 5);
	pim_net_input(m.net, between(&m, 1, 20), between(&m, 1, 9), between(&m, 1, 9));
	if (below(&m, 4))
		any_conv(&m, 0);
	for (uint32_t i = 0; i < layers && !m.net->error;) {
		/* The newest mostly, so that it becomes deep. */
		int x = below(&m, 8) ? m.net->n - 1 : (int)below(&m, (uint32_t)m.net->n);

		i += any_layer(&m, x) >= 0 || below(&m, 4) == 0;
	}
	any_end(&m);
	return m.net;
}

static void print_net(const struct pim_net *net)
{
	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];

		printf("#   %2d %s %s %ux%ux%u from %d %d, kernel %ux%u stride %ux%u pad %ux%u dilation %ux%u groups %u\n", i,
		       l->kind == LAYER_ACT ? act_name(l->act) : layer_kind_name(l->kind), l->name, l->c, l->h, l->w, l->in[0],
		       l->in[1], l->kh, l->kw, l->sh, l->sw, l->ph, l->pw, l->dh, l->dw, l->groups);
	}
}

static bool train_any_net(uint64_t seed, bool print)
{
	struct pim_train_options opt = { .optimizer = (enum pim_optimizer)(seed % 4),
					 .momentum = 0.9f,
					 .weight_decay = 0.01f,
					 .seed = seed << 20,
					 .beta1 = 0.8,
					 .beta2 = 0.95,
					 .epsilon = 1e-2 };
	struct pim_net *net = any_net(seed, &opt.batch);
	char name[64];
	int err;

	snprintf(name, sizeof(name), "PIM_SEED=%llu", (unsigned long long)seed);
	if (print)
		print_net(net);
	fflush(stdout);
	err = check_net(name, net, &opt, seed);
	if (err)
		printf("# %s skipped: %s\n", name, pim_strerror());
	pim_net_free(net);
	return !err;
}

START_TEST(random_networks_train_as_the_oracle_does)
{
	const char *one = getenv("PIM_SEED"), *many = getenv("PIM_GRAPHS");
	unsigned int graphs = many ? (unsigned int)atoi(many) : GRAPHS, trained = 0;

	if (one) {
		ck_assert(train_any_net(strtoull(one, NULL, 0), true));
		return;
	}
	for (unsigned int seed = 1; seed <= graphs; seed++)
		trained += train_any_net(seed, false);
	ck_assert_msg(3 * trained > 2 * graphs, "only %u of %u networks could be planned", trained, graphs);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("graph_random");
	TCase *tc = tcase_create("networks");

	tcase_add_checked_fixture(tc, graph_setup, graph_teardown);
	tcase_set_timeout(tc, 3000);
	tcase_add_test(tc, random_networks_train_as_the_oracle_does);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
