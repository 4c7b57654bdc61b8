// SPDX-License-Identifier: MIT
/* The text format's kinds of layers: which keys they have, what they build, how values are written. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_text.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

const struct key_info net_key[NKEYS] = {
	[SHAPE] = { "shape", TRIPLE },
	[OUT] = { "out", NUMBER },
	[KERNEL] = { "k", COUNTS },
	[STRIDE] = { "stride", COUNTS },
	[PAD] = { "pad", PAIR },
	[DILATION] = { "dilation", COUNTS },
	[GROUPS] = { "groups", COUNT },
	[BIAS] = { "bias", FLAG },
	[CEIL] = { "ceil", FLAG },
	[EXCLUDE_PAD] = { "exclude_pad", FLAG },
	[EPS] = { "eps", REAL },
	[MOMENTUM] = { "momentum", REAL },
	[SLOPE] = { "slope", REAL },
	[P] = { "p", REAL },
	[SMOOTHING] = { "smoothing", REAL },
};

static int build_input(struct pim_net *net, const struct line *l)
{
	return pim_net_input(net, l->value[SHAPE].n[0], l->value[SHAPE].n[1], l->value[SHAPE].n[2]);
}

static void pair(uint32_t to[2], const struct line *l, enum key key)
{
	memcpy(to, l->value[key].n, 2 * sizeof(to[0]));
}

static int build_conv(struct pim_net *net, const struct line *l)
{
	struct pim_conv c = { .out = l->value[OUT].n[0], .groups = l->value[GROUPS].n[0], .bias = l->value[BIAS].n[0] };

	pair(c.k, l, KERNEL);
	pair(c.stride, l, STRIDE);
	pair(c.pad, l, PAD);
	pair(c.dilation, l, DILATION);
	return pim_net_conv_with(net, l->in[0], l->name, &c);
}

static int build_linear(struct pim_net *net, const struct line *l)
{
	return pim_net_linear(net, l->in[0], l->name, l->value[OUT].n[0]);
}

static int build_bn(struct pim_net *net, const struct line *l)
{
	return pim_net_bn_with(net, l->in[0], l->name, l->given & 1u << EPS ? l->value[EPS].r : 1e-5f,
			       l->given & 1u << MOMENTUM ? l->value[MOMENTUM].r : 0.1f);
}

static int build_act(struct pim_net *net, const struct line *l)
{
	return pim_net_act(net, l->in[0], l->kind->act, l->value[SLOPE].r);
}

static int build_add(struct pim_net *net, const struct line *l)
{
	return pim_net_add(net, l->in[0], l->in[1]);
}

static int build_mul(struct pim_net *net, const struct line *l)
{
	return pim_net_mul(net, l->in[0], l->in[1]);
}

static int build_concat(struct pim_net *net, const struct line *l)
{
	return pim_net_concat(net, l->in, l->nin);
}

static struct pim_pool pool(const struct line *l)
{
	struct pim_pool p = { .ceil = l->value[CEIL].n[0], .exclude_pad = l->value[EXCLUDE_PAD].n[0] };

	pair(p.k, l, KERNEL);
	pair(p.stride, l, STRIDE);
	pair(p.pad, l, PAD);
	return p;
}

static int build_maxpool(struct pim_net *net, const struct line *l)
{
	struct pim_pool p = pool(l);

	return pim_net_maxpool_with(net, l->in[0], &p);
}

static int build_avgpool(struct pim_net *net, const struct line *l)
{
	struct pim_pool p = pool(l);

	return pim_net_avgpool_with(net, l->in[0], &p);
}

static int build_global_avgpool(struct pim_net *net, const struct line *l)
{
	return pim_net_global_avgpool(net, l->in[0]);
}

static int build_dropout(struct pim_net *net, const struct line *l)
{
	return pim_net_dropout(net, l->in[0], l->value[P].r);
}

static int build_softmax_ce(struct pim_net *net, const struct line *l)
{
	return pim_net_softmax_ce_with(net, l->in[0], l->value[SMOOTHING].r);
}

#define K(key) (1u << (key))
#define POOL_KEYS K(KERNEL), K(STRIDE) | K(PAD) | K(CEIL) | K(EXCLUDE_PAD)
static const struct kind kinds[] = {
	{ "input", build_input, 0, 0, K(SHAPE), 0, 0 },
	{ "conv", build_conv, 1, 1, K(OUT) | K(KERNEL), K(STRIDE) | K(PAD) | K(DILATION) | K(GROUPS) | K(BIAS), 0 },
	{ "linear", build_linear, 1, 1, K(OUT), 0, 0 },
	{ "bn", build_bn, 1, 1, 0, K(EPS) | K(MOMENTUM), 0 },
	{ "relu", build_act, 1, 1, 0, 0, PIM_RELU },
	{ "relu6", build_act, 1, 1, 0, 0, PIM_RELU6 },
	{ "leaky_relu", build_act, 1, 1, K(SLOPE), 0, PIM_LEAKY_RELU },
	{ "sigmoid", build_act, 1, 1, 0, 0, PIM_SIGMOID },
	{ "silu", build_act, 1, 1, 0, 0, PIM_SILU },
	{ "add", build_add, 2, 2, 0, 0, 0 },
	{ "mul", build_mul, 2, 2, 0, 0, 0 },
	{ "concat", build_concat, 2, MAX_INPUTS, 0, 0, 0 },
	{ "maxpool", build_maxpool, 1, 1, POOL_KEYS, 0 },
	{ "avgpool", build_avgpool, 1, 1, POOL_KEYS, 0 },
	{ "global_avgpool", build_global_avgpool, 1, 1, 0, 0, 0 },
	{ "dropout", build_dropout, 1, 1, K(P), 0, 0 },
	{ "softmax_ce", build_softmax_ce, 1, 1, 0, K(SMOOTHING), 0 },
};

const struct kind *net_kind_find(const char *name)
{
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		if (!strcmp(kinds[k].name, name))
			return &kinds[k];
	return NULL;
}

const char *net_kind_list(char buf[256])
{
	buf[0] = 0;
	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		snprintf(buf + strlen(buf), 256 - strlen(buf), "%s%s", k ? ", " : "", kinds[k].name);
	return buf;
}

/* -- values ---------------------------------------------------------------------------------------------------------------- */
const char *net_value_text(enum value_type type)
{
	static const char *const type_text[] = {
		[NUMBER] = "a whole number",
		[COUNT] = "a whole number above 0",
		[PAIR] = "a whole number or HEIGHTxWIDTH",
		[COUNTS] = "a whole number above 0 or HEIGHTxWIDTH",
		[TRIPLE] = "CHANNELSxHEIGHTxWIDTH",
		[FLAG] = "yes or no",
		[REAL] = "a decimal number",
	};

	return type_text[type];
}

static bool scan_number(const char **s, uint32_t *n)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++) {
		v = v * 10 + (uint64_t)(**s - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*n = (uint32_t)v;
	return true;
}

/* Up to max numbers with an x in between; how many, 0 if it is anything else. */
static unsigned int scan_numbers(const char *s, uint32_t *n, unsigned int max)
{
	for (unsigned int i = 0; i < max; i++) {
		if (!scan_number(&s, &n[i]))
			return 0;
		if (!*s)
			return i + 1;
		if (*s++ != 'x')
			return 0;
	}
	return 0;
}

bool net_value_scan(const char *s, enum value_type type, uint32_t n[3], float *real)
{
	char *end;

	switch (type) {
	case NUMBER:
	case COUNT:
		return scan_numbers(s, n, 1) == 1 && (n[0] || type == NUMBER);
	case PAIR:
	case COUNTS:
		switch (scan_numbers(s, n, 2)) {
		case 1:
			n[1] = n[0];
			break;
		case 2:
			break;
		default:
			return false;
		}
		return (n[0] && n[1]) || type == PAIR;
	case TRIPLE:
		return scan_numbers(s, n, 3) == 3;
	case FLAG:
		n[0] = !strcmp(s, "yes");
		return n[0] || !strcmp(s, "no");
	case REAL:
		/* No hexadecimal, no infinity, no NaN. */
		if (!*s || s[strspn(s, "0123456789+-.eE")])
			return false;
		*real = strtof(s, &end);
		return end != s && !*end && isfinite(*real);
	}
	return false;
}
