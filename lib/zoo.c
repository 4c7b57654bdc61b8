// SPDX-License-Identifier: MIT
/* Stock networks. The order of the layers is that of torchvision's state_dicts, their names are its prefixes. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pim/zoo.h>

#include "error.h"

#define PIM_API __attribute__((visibility("default")))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* What is built, and how. */
struct zoo {
	struct pim_net *net;
	const char *name;
	uint32_t classes;
	double width;
	float eps; /* of every BN */
	enum pim_act act; /* after every BN */
};

/* A layer's name by value: "nm(...).s" lives until the end of the call that it is an argument of. */
struct name {
	char s[64];
};

__attribute__((format(printf, 1, 2))) static struct name nm(const char *fmt, ...)
{
	struct name n;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(n.s, sizeof(n.s), fmt, ap);
	va_end(ap);
	return n;
}

/* The nearest multiple of 8, but at least 0.9 of what was asked for: MobileNet's rule, of which EfficientNet made use too. */
static uint32_t wide(const struct zoo *z, uint32_t c)
{
	double want = c * z->width;
	uint32_t n = (uint32_t)(want + 4) / 8 * 8;

	if (n < 8)
		n = 8;
	return n < 0.9 * want ? n + 8 : n;
}

static uint32_t channels(const struct zoo *z, int x)
{
	uint32_t shape[3] = { 0 };

	return pim_net_shape(z->net, x, shape) ? 0 : shape[0];
}

/* A convolution padded to keep its size but for the stride. */
static int conv(struct zoo *z, int x, const char *name, uint32_t out, uint32_t k, uint32_t stride)
{
	return pim_net_conv(z->net, x, name, out, k, stride, k / 2, false);
}

static int bn(struct zoo *z, int x, const char *name)
{
	return pim_net_bn_with(z->net, x, name, z->eps, 0.1f);
}

static int act(struct zoo *z, int x)
{
	return pim_net_act(z->net, x, z->act, 0);
}

static int maxpool(struct zoo *z, int x, uint32_t k, uint32_t stride, uint32_t pad, bool ceil)
{
	return pim_net_maxpool_with(
		z->net, x, &(struct pim_pool){ .k = { k, k }, .stride = { stride, stride }, .pad = { pad, pad }, .ceil = ceil });
}

/* The end of all of them. */
static void classify(struct zoo *z, int x, const char *name, float dropout)
{
	x = pim_net_global_avgpool(z->net, x);
	if (dropout > 0)
		x = pim_net_dropout(z->net, x, dropout);
	pim_net_softmax_ce(z->net, pim_net_linear(z->net, x, name, z->classes));
}

/* P.conv1, P.bn1, P.conv2, ... and a shortcut, which is a convolution where the shape changes. */
static int residual(struct zoo *z, int x, const char *p, uint32_t c, uint32_t stride, bool bottleneck)
{
	uint32_t out = bottleneck ? 4 * c : c;
	int y = x;

	if (bottleneck) {
		y = act(z, bn(z, conv(z, y, nm("%s.conv1", p).s, c, 1, 1), nm("%s.bn1", p).s));
		y = act(z, bn(z, conv(z, y, nm("%s.conv2", p).s, c, 3, stride), nm("%s.bn2", p).s));
		y = bn(z, conv(z, y, nm("%s.conv3", p).s, out, 1, 1), nm("%s.bn3", p).s);
	} else {
		y = act(z, bn(z, conv(z, y, nm("%s.conv1", p).s, c, 3, stride), nm("%s.bn1", p).s));
		y = bn(z, conv(z, y, nm("%s.conv2", p).s, c, 3, 1), nm("%s.bn2", p).s);
	}
	if (stride != 1 || channels(z, x) != out)
		x = bn(z, conv(z, x, nm("%s.downsample.0", p).s, out, 1, stride), nm("%s.downsample.1", p).s);
	return act(z, pim_net_add(z->net, y, x));
}

/* Blocks per stage: tables 1 and 6 of the paper. */
static const struct {
	const char *name;
	bool bottleneck;
	uint32_t channels;
	unsigned int stages, blocks[4];
} resnets[] = {
	{ "resnet18", false, 64, 4, { 2, 2, 2, 2 } },
	{ "resnet50", true, 64, 4, { 3, 4, 6, 3 } },
	{ "resnet20", false, 16, 3, { 3, 3, 3 } },
};

static void resnet(struct zoo *z, int x)
{
	unsigned int r = 0;
	uint32_t c;

	while (strcmp(resnets[r].name, z->name))
		r++;
	c = wide(z, resnets[r].channels);
	/* Three stages are those for small images. */
	x = act(z, bn(z, conv(z, x, "conv1", c, resnets[r].stages == 3 ? 3 : 7, resnets[r].stages == 3 ? 1 : 2), "bn1"));
	if (resnets[r].stages == 4)
		x = maxpool(z, x, 3, 2, 1, false);
	for (unsigned int s = 0; s < resnets[r].stages; s++, c *= 2)
		for (unsigned int b = 0; b < resnets[r].blocks[s]; b++)
			x = residual(z, x, nm("layer%u.%u", s + 1, b).s, c, s && !b ? 2 : 1, resnets[r].bottleneck);
	classify(z, x, "fc", 0);
}

/* Configuration D: output channels of the 3x3 convolutions, 0 is a pool. */
static const uint32_t vgg16[] = { 64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0 };

static void vgg(struct zoo *z, int x)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(vgg16); i++) {
		if (vgg16[i]) {
			x = pim_net_conv(z->net, x, nm("features.%u", n).s, wide(z, vgg16[i]), 3, 1, 1, true);
			x = act(z, bn(z, x, nm("features.%u", n + 1).s));
		} else {
			x = maxpool(z, x, 2, 2, 0, false);
		}
		n += vgg16[i] ? 3 : 1;
	}
	x = pim_net_dropout(z->net, act(z, pim_net_linear(z->net, x, "classifier.0", wide(z, 4096))), 0.5f);
	x = pim_net_dropout(z->net, act(z, pim_net_linear(z->net, x, "classifier.3", wide(z, 4096))), 0.5f);
	pim_net_softmax_ce(z->net, pim_net_linear(z->net, x, "classifier.6", z->classes));
}

static void densenet(struct zoo *z, int x)
{
	static const unsigned int blocks[] = { 6, 12, 24, 16 };
	uint32_t growth = wide(z, 32);

	x = act(z, bn(z, conv(z, x, "features.conv0", 2 * growth, 7, 2), "features.norm0"));
	x = maxpool(z, x, 3, 2, 1, false);
	for (unsigned int b = 0; b < ARRAY_SIZE(blocks); b++) {
		for (unsigned int i = 0; i < blocks[b]; i++) {
			struct name p = nm("features.denseblock%u.denselayer%u", b + 1, i + 1);
			int y = act(z, bn(z, x, nm("%s.norm1", p.s).s));

			y = act(z, bn(z, conv(z, y, nm("%s.conv1", p.s).s, 4 * growth, 1, 1), nm("%s.norm2", p.s).s));
			y = conv(z, y, nm("%s.conv2", p.s).s, growth, 3, 1);
			/* Each map is the beginning of the next: no copies. */
			x = pim_net_concat(z->net, (int[]){ x, y }, 2);
		}
		if (b + 1 < ARRAY_SIZE(blocks)) {
			x = act(z, bn(z, x, nm("features.transition%u.norm", b + 1).s));
			x = conv(z, x, nm("features.transition%u.conv", b + 1).s, channels(z, x) / 2, 1, 1);
			x = pim_net_avgpool_with(z->net, x, &(struct pim_pool){ .k = { 2, 2 } });
		}
	}
	classify(z, act(z, bn(z, x, "features.norm5")), "classifier", 0);
}

/* P.conv, P.bn */
static int basic_conv(struct zoo *z, int x, const char *p, uint32_t out, uint32_t k, uint32_t stride)
{
	return act(z, bn(z, conv(z, x, nm("%s.conv", p).s, wide(z, out), k, stride), nm("%s.bn", p).s));
}

/* Table 1 of the paper. */
static const struct inception {
	const char *name;
	uint32_t c1, reduce3, c3, reduce5, c5, pool;
	uint32_t pool_after; /* window of the pool of stride 2 that follows */
} inceptions[] = {
	{ "inception3a", 64, 96, 128, 16, 32, 32, 0 },	   { "inception3b", 128, 128, 192, 32, 96, 64, 3 },
	{ "inception4a", 192, 96, 208, 16, 48, 64, 0 },	   { "inception4b", 160, 112, 224, 24, 64, 64, 0 },
	{ "inception4c", 128, 128, 256, 24, 64, 64, 0 },   { "inception4d", 112, 144, 288, 32, 64, 64, 0 },
	{ "inception4e", 256, 160, 320, 32, 128, 128, 2 }, { "inception5a", 256, 160, 320, 32, 128, 128, 0 },
	{ "inception5b", 384, 192, 384, 48, 128, 128, 0 },
};

static void googlenet(struct zoo *z, int x)
{
	z->eps = 1e-3f;
	x = maxpool(z, basic_conv(z, x, "conv1", 64, 7, 2), 3, 2, 0, true);
	x = basic_conv(z, x, "conv2", 64, 1, 1);
	x = maxpool(z, basic_conv(z, x, "conv3", 192, 3, 1), 3, 2, 0, true);
	for (unsigned int i = 0; i < ARRAY_SIZE(inceptions); i++) {
		const struct inception *t = &inceptions[i];
		int y[4];

		y[0] = basic_conv(z, x, nm("%s.branch1", t->name).s, t->c1, 1, 1);
		y[1] = basic_conv(z, x, nm("%s.branch2.0", t->name).s, t->reduce3, 1, 1);
		y[1] = basic_conv(z, y[1], nm("%s.branch2.1", t->name).s, t->c3, 3, 1);
		y[2] = basic_conv(z, x, nm("%s.branch3.0", t->name).s, t->reduce5, 1, 1);
		y[2] = basic_conv(z, y[2], nm("%s.branch3.1", t->name).s, t->c5, 3, 1);
		y[3] = basic_conv(z, maxpool(z, x, 3, 1, 1, true), nm("%s.branch4.1", t->name).s, t->pool, 1, 1);
		x = pim_net_concat(z->net, y, 4);
		if (t->pool_after)
			x = maxpool(z, x, t->pool_after, 2, 0, true);
	}
	classify(z, x, "fc", 0.2f);
}

/* P.0, P.1: a convolution, a depthwise one too, with BN and activation. */
static int norm_act(struct zoo *z, int x, const char *p, uint32_t out, uint32_t k, uint32_t stride, bool depthwise)
{
	struct pim_conv c = { .out = out, .k = { k, k }, .stride = { stride, stride }, .pad = { k / 2, k / 2 } };

	c.groups = depthwise ? out : 1;
	return act(z, bn(z, pim_net_conv_with(z->net, x, nm("%s.0", p).s, &c), nm("%s.1", p).s));
}

/* A stage of inverted residuals: expansion, kernel, first stride, output channels, blocks. */
struct stage {
	uint32_t expand, k, stride, c, blocks;
};

static void mobilenet(struct zoo *z, int x)
{
	/* Table 2 of the paper. */
	static const struct stage stages[] = { { 1, 3, 1, 16, 1 }, { 6, 3, 2, 24, 2 },	{ 6, 3, 2, 32, 3 }, { 6, 3, 2, 64, 4 },
					       { 6, 3, 1, 96, 3 }, { 6, 3, 2, 160, 3 }, { 6, 3, 1, 320, 1 } };
	unsigned int f = 1;

	z->act = PIM_RELU6;
	x = norm_act(z, x, "features.0", wide(z, 32), 3, 2, false);
	for (unsigned int s = 0; s < ARRAY_SIZE(stages); s++) {
		uint32_t out = wide(z, stages[s].c);

		for (unsigned int b = 0; b < stages[s].blocks; b++, f++) {
			uint32_t stride = b ? 1 : stages[s].stride, mid = channels(z, x) * stages[s].expand;
			unsigned int i = 0;
			int y = x;

			if (stages[s].expand != 1)
				y = norm_act(z, y, nm("features.%u.conv.%u", f, i++).s, mid, 1, 1, false);
			y = norm_act(z, y, nm("features.%u.conv.%u", f, i++).s, mid, 3, stride, true);
			y = conv(z, y, nm("features.%u.conv.%u", f, i).s, out, 1, 1);
			y = bn(z, y, nm("features.%u.conv.%u", f, i + 1).s);
			x = stride == 1 && channels(z, x) == out ? pim_net_add(z->net, x, y) : y;
		}
	}
	/* The last one does not shrink: paper, 6.1. */
	x = norm_act(z, x, nm("features.%u", f).s, z->width < 1 ? 1280 : wide(z, 1280), 1, 1, false);
	classify(z, x, "classifier.1", 0.2f);
}

/* P.fc1, P.fc2: every channel times a number from 0 to 1 that is learnt from the mean of all channels. */
static int squeeze_excite(struct zoo *z, int x, const char *p, uint32_t c)
{
	int s = pim_net_global_avgpool(z->net, x);

	s = act(z, pim_net_conv(z->net, s, nm("%s.fc1", p).s, c, 1, 1, 0, true));
	s = pim_net_conv(z->net, s, nm("%s.fc2", p).s, channels(z, x), 1, 1, 0, true);
	return pim_net_mul(z->net, x, pim_net_act(z->net, s, PIM_SIGMOID, 0));
}

static void efficientnet(struct zoo *z, int x)
{
	/* Table 1 of the paper. */
	static const struct stage stages[] = { { 1, 3, 1, 16, 1 },  { 6, 3, 2, 24, 2 },	 { 6, 5, 2, 40, 2 }, { 6, 3, 2, 80, 3 },
					       { 6, 5, 1, 112, 3 }, { 6, 5, 2, 192, 4 }, { 6, 3, 1, 320, 1 } };
	unsigned int s;

	z->act = PIM_SILU;
	x = norm_act(z, x, "features.0", wide(z, 32), 3, 2, false);
	for (s = 0; s < ARRAY_SIZE(stages); s++) {
		uint32_t out = wide(z, stages[s].c);

		for (unsigned int b = 0; b < stages[s].blocks; b++) {
			uint32_t in = channels(z, x), stride = b ? 1 : stages[s].stride, mid = in * stages[s].expand;
			struct name p = nm("features.%u.%u.block", s + 1, b);
			unsigned int i = 0;
			int y = x;

			if (stages[s].expand != 1)
				y = norm_act(z, y, nm("%s.%u", p.s, i++).s, mid, 1, 1, false);
			y = norm_act(z, y, nm("%s.%u", p.s, i++).s, mid, stages[s].k, stride, true);
			y = squeeze_excite(z, y, nm("%s.%u", p.s, i++).s, in / 4);
			y = bn(z, conv(z, y, nm("%s.%u.0", p.s, i).s, out, 1, 1), nm("%s.%u.1", p.s, i).s);
			x = stride == 1 && in == out ? pim_net_add(z->net, y, x) : y;
		}
	}
	x = norm_act(z, x, nm("features.%u", s + 1).s, 4 * channels(z, x), 1, 1, false);
	classify(z, x, "classifier.1", 0.2f);
}

static void digits_of(struct zoo *z, int x, uint32_t c)
{
	for (unsigned int b = 1; b <= 2; b++, c *= 2) {
		x = act(z, bn(z, conv(z, x, nm("conv%u", b).s, c, 3, 1), nm("bn%u", b).s));
		x = residual(z, x, nm("block%u", b).s, c, 1, false);
		if (b == 1)
			x = pim_net_maxpool(z->net, x, 2);
	}
	classify(z, x, "fc", 0);
}

static void digits(struct zoo *z, int x)
{
	digits_of(z, x, wide(z, 16));
}

PIM_API struct pim_net *pim_net_digits(uint32_t c)
{
	struct zoo z = { .net = pim_net_new(), .name = "digits", .classes = 10, .width = 1, .eps = 1e-5f, .act = PIM_RELU };

	if (z.net)
		digits_of(&z, pim_net_input(z.net, 1, 8, 8), c);
	return z.net;
}

static const struct {
	const char *name;
	void (*build)(struct zoo *z, int x);
	uint32_t channels, size, classes;
} zoo[] = {
	{ "resnet18", resnet, 3, 224, 1000 },
	{ "resnet50", resnet, 3, 224, 1000 },
	{ "resnet20", resnet, 3, 32, 10 },
	{ "vgg16_bn", vgg, 3, 224, 1000 },
	{ "densenet121", densenet, 3, 224, 1000 },
	{ "googlenet", googlenet, 3, 224, 1000 },
	{ "mobilenet_v2", mobilenet, 3, 224, 1000 },
	{ "efficientnet_b0", efficientnet, 3, 224, 1000 },
	{ "digits", digits, 1, 8, 10 },
};

PIM_API const char *pim_zoo_name(unsigned int i)
{
	return i < ARRAY_SIZE(zoo) ? zoo[i].name : NULL;
}

static int unknown(const char *name)
{
	char known[256] = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(zoo); i++)
		snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", zoo[i].name);
	return pim_error(-EINVAL, "there is no network \"%s\"; there are %s", name, known);
}

PIM_API struct pim_net *pim_zoo(const char *name, const struct pim_zoo_options *opt)
{
	struct zoo z = { .name = name, .width = opt && opt->width != 0 ? (double)opt->width : 1, .eps = 1e-5f, .act = PIM_RELU };
	unsigned int i = 0;
	uint32_t size;

	while (i < ARRAY_SIZE(zoo) && strcmp(zoo[i].name, name))
		i++;
	if (i == ARRAY_SIZE(zoo)) {
		unknown(name);
		return NULL;
	}
	if (opt && opt->sz != sizeof(*opt)) {
		pim_error(-EINVAL, "pim_zoo_options.sz is %zu, this library knows %zu", opt->sz, sizeof(*opt));
		return NULL;
	}
	if (!(z.width > 0 && z.width <= 16)) {
		pim_error(-EINVAL, "%s: width %g; it is above 0, up to 16", name, z.width);
		return NULL;
	}
	z.classes = opt && opt->classes ? opt->classes : zoo[i].classes;
	size = opt && opt->size ? opt->size : zoo[i].size;
	z.net = pim_net_new();
	if (!z.net) {
		pim_error(-ENOMEM, "no memory for network %s", name);
		return NULL;
	}
	zoo[i].build(&z, pim_net_input(z.net, zoo[i].channels, size, size));
	if (pim_net_check(z.net)) {
		pim_net_free(z.net);
		return NULL;
	}
	return z.net;
}
