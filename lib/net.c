// SPDX-License-Identifier: MIT
/* The layer graph: building, shapes, names. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "net.h"

#define PIM_API __attribute__((visibility("default")))
#define MAX_DIM 65536u

static const char *const kind_name[] = {
	[LAYER_INPUT] = "input",
	[LAYER_CONV] = "conv",
	[LAYER_BN] = "bn",
	[LAYER_ACT] = "act",
	[LAYER_ADD] = "add",
	[LAYER_MUL] = "mul",
	[LAYER_CONCAT] = "concat",
	[LAYER_MAXPOOL] = "maxpool",
	[LAYER_AVGPOOL] = "avgpool",
	[LAYER_DROPOUT] = "dropout",
	[LAYER_SOFTMAX_CE] = "softmax_ce",
};
static const char *const act_names[] = {
	[PIM_RELU] = "relu", [PIM_RELU6] = "relu6", [PIM_LEAKY_RELU] = "leaky_relu", [PIM_SIGMOID] = "sigmoid", [PIM_SILU] = "silu",
};
#define NACTS (sizeof(act_names) / sizeof(act_names[0]))

const char *layer_kind_name(enum layer_kind kind)
{
	return kind_name[kind];
}

const char *act_name(enum pim_act act)
{
	return act_names[act];
}

bool layer_name_valid(const char *name)
{
	size_t n = strlen(name);

	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("#=\"\\", *c))
			return false;
	return n && n < sizeof(((struct layer *)0)->name);
}

PIM_API struct pim_net *pim_net_new(void)
{
	return calloc(1, sizeof(struct pim_net));
}

PIM_API void pim_net_free(struct pim_net *net)
{
	if (!net)
		return;
	free(net->layer);
	free(net);
}

/* Only the first error is kept: the later ones follow from it. */
__attribute__((format(printf, 3, 4))) static int fail(struct pim_net *net, int err, const char *fmt, ...)
{
	va_list ap;

	if (!net->error) {
		net->error = err;
		va_start(ap, fmt);
		vsnprintf(net->message, sizeof(net->message), fmt, ap);
		va_end(ap);
	}
	return pim_error(net->error, "%s", net->message);
}

/* "layer 7 (conv block1.conv2, 16x8x8)", for messages. */
static const char *describe(const struct pim_net *net, int i, char buf[128])
{
	const struct layer *l = &net->layer[i];

	snprintf(buf, 128, "layer %d (%s%s%s, %ux%ux%u)", i, l->kind == LAYER_ACT ? act_names[l->act] : kind_name[l->kind],
		 l->name[0] ? " " : "", l->name, l->c, l->h, l->w);
	return buf;
}

/* Appends a layer with the given inputs and the first input's shape; returns its number. */
static int append(struct pim_net *net, enum layer_kind kind, const char *name, const int *in, uint32_t nin)
{
	struct layer *l;

	if (net->error)
		return net->error;
	for (uint32_t i = 0; i < nin; i++) {
		if (in[i] < 0 || in[i] >= net->n)
			return fail(net, -EINVAL, "%s%s%s: its input is no layer of this network", kind_name[kind],
				    name[0] ? " " : "", name);
		if (net->layer[in[i]].kind == LAYER_SOFTMAX_CE)
			return fail(net, -EINVAL, "%s%s%s: nothing can follow the loss", kind_name[kind], name[0] ? " " : "", name);
	}
	if ((kind == LAYER_CONV || kind == LAYER_BN) && !layer_name_valid(name))
		return fail(net, -EINVAL, "%s \"%s\": a name is 1..%zu characters of printable ASCII without blank # = \" \\",
			    kind_name[kind], name, sizeof(l->name) - 1);
	for (int i = 0; name[0] && i < net->n; i++)
		if (!strcmp(net->layer[i].name, name))
			return fail(net, -EINVAL, "two layers are named \"%s\": checkpoints need one name per layer", name);

	l = realloc(net->layer, (size_t)(net->n + 1) * sizeof(*l));
	if (!l)
		return fail(net, -ENOMEM, "no memory for layer %d", net->n);
	net->layer = l;
	l = &net->layer[net->n];
	memset(l, 0, sizeof(*l));
	l->kind = kind;
	strcpy(l->name, name);
	l->nin = nin;
	for (uint32_t i = 0; i < nin; i++) {
		l->in[i] = in[i];
		net->layer[in[i]].nusers++;
	}
	if (nin) {
		l->c = net->layer[in[0]].c;
		l->h = net->layer[in[0]].h;
		l->w = net->layer[in[0]].w;
	}
	return net->n++;
}

PIM_API int pim_net_input(struct pim_net *net, uint32_t c, uint32_t h, uint32_t w)
{
	int id;

	if (net->n)
		return fail(net, -EINVAL, "input: a network has one input, its first layer");
	if (!c || !h || !w || c > MAX_DIM || h > MAX_DIM || w > MAX_DIM)
		return fail(net, -EINVAL, "input: %ux%ux%u is no image; each of c, h, w is 1..%u", c, h, w, MAX_DIM);
	id = append(net, LAYER_INPUT, "", NULL, 0);
	if (id < 0)
		return id;
	net->layer[id].c = c;
	net->layer[id].h = h;
	net->layer[id].w = w;
	return id;
}

/* Output size of windows of k elements, d apart, over size and its pads; 0 if none fits, MAX_DIM + 1 if it is more. */
static uint32_t windows(uint32_t size, uint32_t k, uint32_t stride, uint32_t pad, uint32_t d, bool ceil)
{
	uint64_t span = (uint64_t)(k - 1) * d + 1, room = size + 2ull * pad, n;

	if (room < span)
		return 0;
	n = (room - span + (ceil ? stride - 1 : 0)) / stride + 1;
	/* A window that begins in the right pad has no element. */
	if (ceil && (n - 1) * stride >= size + (uint64_t)pad)
		n--;
	return n > MAX_DIM ? MAX_DIM + 1 : (uint32_t)n;
}

PIM_API int pim_net_conv_with(struct pim_net *net, int in, const char *name, const struct pim_conv *conv)
{
	uint32_t ic, groups = conv->groups ? conv->groups : 1;
	char buf[128];
	struct layer *l;
	int id = append(net, LAYER_CONV, name, &in, 1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	ic = l->c;
	l->sh = conv->stride[0] ? conv->stride[0] : 1;
	l->sw = conv->stride[1] ? conv->stride[1] : 1;
	l->dh = conv->dilation[0] ? conv->dilation[0] : 1;
	l->dw = conv->dilation[1] ? conv->dilation[1] : 1;
	l->kh = conv->k[0];
	l->kw = conv->k[1];
	l->ph = conv->pad[0];
	l->pw = conv->pad[1];
	l->groups = groups;
	l->bias = conv->bias;
	if (!conv->out || conv->out > MAX_DIM || !l->kh || !l->kw || l->kh > MAX_DIM || l->kw > MAX_DIM || l->sh > MAX_DIM ||
	    l->sw > MAX_DIM || l->dh > MAX_DIM || l->dw > MAX_DIM)
		return fail(net, -EINVAL, "conv %s: out %u, kernel %ux%u, stride %ux%u, dilation %ux%u; each is 1..%u", name,
			    conv->out, l->kh, l->kw, l->sh, l->sw, l->dh, l->dw, MAX_DIM);
	if (l->ph > (uint64_t)(l->kh - 1) * l->dh || l->pw > (uint64_t)(l->kw - 1) * l->dw)
		return fail(net, -EINVAL, "conv %s: pad %ux%u: a window of kernel %ux%u would see nothing but pad", name, l->ph,
			    l->pw, l->kh, l->kw);
	if (ic % groups || conv->out % groups)
		return fail(net, -EINVAL, "conv %s: %u input and %u output channels in %u groups; both must be multiples of it",
			    name, ic, conv->out, groups);
	l->h = windows(l->h, l->kh, l->sh, l->ph, l->dh, false);
	l->w = windows(l->w, l->kw, l->sw, l->pw, l->dw, false);
	if (!l->h || !l->w)
		return fail(net, -EINVAL, "conv %s: kernel %ux%u, dilation %ux%u, is larger than its input, %s, with pad %ux%u",
			    name, l->kh, l->kw, l->dh, l->dw, describe(net, in, buf), l->ph, l->pw);
	if (l->h > MAX_DIM || l->w > MAX_DIM)
		return fail(net, -EINVAL, "conv %s: pad %ux%u makes a map of more than %u rows or columns", name, l->ph, l->pw,
			    MAX_DIM);
	l->c = conv->out;
	return id;
}

PIM_API int pim_net_conv(struct pim_net *net, int in, const char *name, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad,
			 bool bias)
{
	if (!net->error && !stride)
		return fail(net, -EINVAL, "conv %s: stride 0", name);
	return pim_net_conv_with(
		net, in, name,
		&(struct pim_conv){ .out = out, .k = { k, k }, .stride = { stride, stride }, .pad = { pad, pad }, .bias = bias });
}

PIM_API int pim_net_bn_with(struct pim_net *net, int in, const char *name, float eps, float momentum)
{
	int id = append(net, LAYER_BN, name, &in, 1);

	if (id < 0)
		return id;
	if (!(eps > 0 && eps < 1) || !(momentum >= 0 && momentum <= 1))
		return fail(net, -EINVAL, "bn %s: eps %g, momentum %g; eps is above 0 and below 1, momentum 0..1", name,
			    (double)eps, (double)momentum);
	net->layer[id].eps = eps;
	net->layer[id].momentum = momentum;
	return id;
}

PIM_API int pim_net_bn(struct pim_net *net, int in, const char *name)
{
	return pim_net_bn_with(net, in, name, 1e-5f, 0.1f);
}

PIM_API int pim_net_act(struct pim_net *net, int in, enum pim_act act, float slope)
{
	int id;

	if (!net->error && (unsigned int)act >= NACTS)
		return fail(net, -EINVAL, "activation %d: there is none of that number", (int)act);
	id = append(net, LAYER_ACT, "", &in, 1);
	if (id < 0)
		return id;
	if (act == PIM_LEAKY_RELU ? !(slope >= 0 && slope < 1) : slope != 0)
		return fail(net, -EINVAL, "%s: slope %g; %s", act_names[act], (double)slope,
			    act == PIM_LEAKY_RELU ? "it is 0..1" : "only leaky_relu has one");
	net->layer[id].act = act;
	net->layer[id].slope = act == PIM_LEAKY_RELU ? slope : 0;
	return id;
}

PIM_API int pim_net_relu(struct pim_net *net, int in)
{
	return pim_net_act(net, in, PIM_RELU, 0);
}

PIM_API int pim_net_add(struct pim_net *net, int a, int b)
{
	const struct layer *p, *q;
	char buf[2][128];
	int id = append(net, LAYER_ADD, "", (int[]){ a, b }, 2);

	if (id < 0)
		return id;
	p = &net->layer[a];
	q = &net->layer[b];
	if (p->c != q->c || p->h != q->h || p->w != q->w)
		return fail(net, -EINVAL, "add: %s and %s differ in shape", describe(net, a, buf[0]), describe(net, b, buf[1]));
	return id;
}

PIM_API int pim_net_mul(struct pim_net *net, int x, int scale)
{
	const struct layer *p, *q;
	char buf[2][128];
	int id = append(net, LAYER_MUL, "", (int[]){ x, scale }, 2);

	if (id < 0)
		return id;
	p = &net->layer[x];
	q = &net->layer[scale];
	if (p->c != q->c || q->h != 1 || q->w != 1)
		return fail(net, -EINVAL, "mul: %s scales %s; it must have one value per channel of it, %ux1x1",
			    describe(net, scale, buf[0]), describe(net, x, buf[1]), p->c);
	return id;
}

PIM_API int pim_net_concat(struct pim_net *net, const int *in, uint32_t n)
{
	char buf[2][128];
	uint64_t c = 0;
	int id;

	if (!net->error && (n < 2 || n > MAX_INPUTS))
		return fail(net, -EINVAL, "concat: %u maps; 2..%d at a time", n, MAX_INPUTS);
	id = append(net, LAYER_CONCAT, "", in, n);
	if (id < 0)
		return id;
	for (uint32_t i = 0; i < n; i++) {
		const struct layer *p = &net->layer[in[0]], *q = &net->layer[in[i]];

		c += q->c;
		if (p->h != q->h || p->w != q->w)
			return fail(net, -EINVAL, "concat: %s and %s differ in height or width", describe(net, in[0], buf[0]),
				    describe(net, in[i], buf[1]));
	}
	if (c > MAX_DIM)
		return fail(net, -EINVAL, "concat: %llu channels; %u are possible", (unsigned long long)c, MAX_DIM);
	net->layer[id].c = (uint32_t)c;
	return id;
}

static int pool(struct pim_net *net, enum layer_kind kind, int in, const struct pim_pool *p)
{
	char buf[128];
	struct layer *l;
	int id = append(net, kind, "", &in, 1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	l->kh = p->k[0];
	l->kw = p->k[1];
	l->sh = p->stride[0] ? p->stride[0] : l->kh;
	l->sw = p->stride[1] ? p->stride[1] : l->kw;
	l->ph = p->pad[0];
	l->pw = p->pad[1];
	l->dh = l->dw = 1;
	l->ceil = p->ceil;
	l->exclude_pad = p->exclude_pad;
	if (!l->kh || !l->kw || l->kh > MAX_DIM || l->kw > MAX_DIM || l->sh > MAX_DIM || l->sw > MAX_DIM || l->ph > l->kh / 2 ||
	    l->pw > l->kw / 2)
		return fail(
			net, -EINVAL,
			"%s: window %ux%u, stride %ux%u, pad %ux%u; window and stride are 1..%u, the pad at most half the window",
			kind_name[kind], l->kh, l->kw, l->sh, l->sw, l->ph, l->pw, MAX_DIM);
	l->h = windows(l->h, l->kh, l->sh, l->ph, 1, p->ceil);
	l->w = windows(l->w, l->kw, l->sw, l->pw, 1, p->ceil);
	if (!l->h || !l->w)
		return fail(net, -EINVAL, "%s: its window %ux%u is larger than its input, %s, with pad %ux%u", kind_name[kind],
			    l->kh, l->kw, describe(net, in, buf), l->ph, l->pw);
	if (l->h > MAX_DIM || l->w > MAX_DIM)
		return fail(net, -EINVAL, "%s: pad %ux%u makes a map of more than %u rows or columns", kind_name[kind], l->ph,
			    l->pw, MAX_DIM);
	return id;
}

PIM_API int pim_net_maxpool_with(struct pim_net *net, int in, const struct pim_pool *p)
{
	return pool(net, LAYER_MAXPOOL, in, p);
}

PIM_API int pim_net_avgpool_with(struct pim_net *net, int in, const struct pim_pool *p)
{
	return pool(net, LAYER_AVGPOOL, in, p);
}

/* Here a remainder is more likely a mistake than meant. */
static int whole_windows(struct pim_net *net, enum layer_kind kind, int in, uint32_t k)
{
	char buf[128];

	if (!net->error && in >= 0 && in < net->n && (!k || net->layer[in].h % k || net->layer[in].w % k))
		return fail(net, -EINVAL, "%s %ux%u: its input, %s, is not made of whole windows", kind_name[kind], k, k,
			    describe(net, in, buf));
	return pool(net, kind, in, &(struct pim_pool){ .k = { k, k } });
}

PIM_API int pim_net_maxpool(struct pim_net *net, int in, uint32_t k)
{
	return whole_windows(net, LAYER_MAXPOOL, in, k);
}

PIM_API int pim_net_avgpool(struct pim_net *net, int in, uint32_t k)
{
	return whole_windows(net, LAYER_AVGPOOL, in, k);
}

PIM_API int pim_net_global_avgpool(struct pim_net *net, int in)
{
	struct pim_pool p = { .k = { 1, 1 } };

	if (!net->error && in >= 0 && in < net->n) {
		p.k[0] = net->layer[in].h;
		p.k[1] = net->layer[in].w;
	}
	return pool(net, LAYER_AVGPOOL, in, &p);
}

PIM_API int pim_net_dropout(struct pim_net *net, int in, float p)
{
	int id = append(net, LAYER_DROPOUT, "", &in, 1);

	if (id < 0)
		return id;
	if (!(p >= 0 && p < 1))
		return fail(net, -EINVAL, "dropout: probability %g; it is 0 or more and below 1", (double)p);
	net->layer[id].p = p;
	return id;
}

PIM_API int pim_net_linear(struct pim_net *net, int in, const char *name, uint32_t out)
{
	struct layer *l;
	int id = append(net, LAYER_CONV, name, &in, 1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	if (!out || out > MAX_DIM)
		return fail(net, -EINVAL, "linear %s: %u outputs; 1..%u are possible", name, out, MAX_DIM);
	l->kh = l->h;
	l->kw = l->w;
	l->sh = l->sw = l->dh = l->dw = l->groups = 1;
	l->bias = true;
	l->linear = true;
	l->c = out;
	l->h = l->w = 1;
	return id;
}

PIM_API int pim_net_softmax_ce_with(struct pim_net *net, int in, float smoothing)
{
	char buf[128];
	int id = append(net, LAYER_SOFTMAX_CE, "", &in, 1);

	if (id < 0)
		return id;
	if (net->layer[id].h != 1 || net->layer[id].w != 1)
		return fail(net, -EINVAL, "softmax_ce: its input is %s; it needs one score per class, c x 1 x 1",
			    describe(net, in, buf));
	if (!(smoothing >= 0 && smoothing < 1))
		return fail(net, -EINVAL, "softmax_ce: label smoothing %g; it is 0 or more and below 1", (double)smoothing);
	net->layer[id].p = smoothing;
	return id;
}

PIM_API int pim_net_softmax_ce(struct pim_net *net, int in)
{
	return pim_net_softmax_ce_with(net, in, 0);
}

PIM_API int pim_net_layers(const struct pim_net *net)
{
	return net->n;
}

PIM_API int pim_net_shape(const struct pim_net *net, int layer, uint32_t shape[3])
{
	if (net->error)
		return pim_error(net->error, "%s", net->message);
	if (layer < 0 || layer >= net->n)
		return pim_error(-EINVAL, "layer %d: the network has layers 0..%d", layer, net->n - 1);
	shape[0] = net->layer[layer].c;
	shape[1] = net->layer[layer].h;
	shape[2] = net->layer[layer].w;
	return 0;
}

PIM_API int pim_net_check(const struct pim_net *net)
{
	char buf[128];

	if (net->error)
		return pim_error(net->error, "%s", net->message);
	if (!net->n || net->layer[net->n - 1].kind != LAYER_SOFTMAX_CE)
		return pim_error(-EINVAL, "the network must begin with an input and end with softmax_ce");
	for (int i = 0; i < net->n - 1; i++)
		if (!net->layer[i].nusers)
			return pim_error(-EINVAL, "%s: nothing uses its output", describe(net, i, buf));
	return 0;
}

PIM_API uint64_t pim_net_parameters(const struct pim_net *net)
{
	uint64_t sum = 0;

	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];

		if (l->kind == LAYER_CONV)
			sum += (uint64_t)l->c * (net->layer[l->in[0]].c / l->groups) * l->kh * l->kw + (l->bias ? l->c : 0);
		else if (l->kind == LAYER_BN)
			sum += 2 * (uint64_t)l->c;
	}
	return sum;
}
