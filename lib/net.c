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
	[LAYER_INPUT] = "input", [LAYER_CONV] = "conv",	      [LAYER_BN] = "bn",	   [LAYER_RELU] = "relu",
	[LAYER_ADD] = "add",	 [LAYER_MAXPOOL] = "maxpool", [LAYER_AVGPOOL] = "avgpool", [LAYER_SOFTMAX_CE] = "softmax_ce",
};

const char *layer_kind_name(enum layer_kind kind)
{
	return kind_name[kind];
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

/* Appends a layer with the given inputs and the first input's shape; returns its number. */
static int append(struct pim_net *net, enum layer_kind kind, const char *name, int a, int b)
{
	struct layer *l;

	if (net->error)
		return net->error;
	if (kind != LAYER_INPUT && (a < 0 || a >= net->n || b >= net->n))
		return fail(net, -EINVAL, "%s %s: its input is no layer of this network", kind_name[kind], name);
	if (a >= 0 && net->layer[a].kind == LAYER_SOFTMAX_CE)
		return fail(net, -EINVAL, "%s %s: nothing can follow the loss", kind_name[kind], name);
	if (strlen(name) >= sizeof(l->name))
		return fail(net, -EINVAL, "layer name \"%s\" is longer than %zu characters", name, sizeof(l->name) - 1);
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
	l->in[0] = a;
	l->in[1] = b;
	l->nin = (a >= 0) + (b >= 0);
	for (unsigned int i = 0; i < l->nin; i++)
		net->layer[l->in[i]].nusers++;
	if (a >= 0) {
		l->c = net->layer[a].c;
		l->h = net->layer[a].h;
		l->w = net->layer[a].w;
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
	id = append(net, LAYER_INPUT, "", -1, -1);
	if (id < 0)
		return id;
	net->layer[id].c = c;
	net->layer[id].h = h;
	net->layer[id].w = w;
	return id;
}

PIM_API int pim_net_conv(struct pim_net *net, int in, const char *name, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad,
			 bool bias)
{
	struct layer *l;
	int id = append(net, LAYER_CONV, name, in, -1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	if (!out || out > MAX_DIM || !k || k > MAX_DIM || !stride || stride > MAX_DIM || pad >= k)
		return fail(net, -EINVAL, "conv %s: out %u, kernel %u, stride %u, pad %u (pad < kernel, all others at least 1)",
			    name, out, k, stride, pad);
	if (l->h + 2 * pad < k || l->w + 2 * pad < k)
		return fail(net, -EINVAL, "conv %s: kernel %u is larger than its input %ux%ux%u with pad %u", name, k, l->c, l->h,
			    l->w, pad);
	l->kh = l->kw = k;
	l->stride = stride;
	l->pad = pad;
	l->bias = bias;
	l->c = out;
	l->h = (l->h + 2 * pad - k) / stride + 1;
	l->w = (l->w + 2 * pad - k) / stride + 1;
	return id;
}

PIM_API int pim_net_bn(struct pim_net *net, int in, const char *name)
{
	return append(net, LAYER_BN, name, in, -1);
}

PIM_API int pim_net_relu(struct pim_net *net, int in)
{
	return append(net, LAYER_RELU, "", in, -1);
}

PIM_API int pim_net_add(struct pim_net *net, int a, int b)
{
	const struct layer *p, *q;
	int id;

	if (!net->error && b < 0)
		return fail(net, -EINVAL, "add: its second input is no layer of this network");
	id = append(net, LAYER_ADD, "", a, b);
	if (id < 0)
		return id;
	p = &net->layer[a];
	q = &net->layer[b];
	if (p->c != q->c || p->h != q->h || p->w != q->w)
		return fail(net, -EINVAL, "add: layer %d (%s %s) is %ux%ux%u, layer %d (%s %s) is %ux%ux%u; both must agree", a,
			    kind_name[p->kind], p->name, p->c, p->h, p->w, b, kind_name[q->kind], q->name, q->c, q->h, q->w);
	return id;
}

static int pool(struct pim_net *net, enum layer_kind kind, int in, uint32_t kh, uint32_t kw)
{
	struct layer *l;
	int id = append(net, kind, "", in, -1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	if (!kh || !kw || l->h % kh || l->w % kw)
		return fail(net, -EINVAL, "%s %ux%u after layer %d: its input %ux%ux%u is not made of whole windows",
			    kind_name[kind], kh, kw, in, l->c, l->h, l->w);
	l->kh = kh;
	l->kw = kw;
	l->h /= kh;
	l->w /= kw;
	return id;
}

PIM_API int pim_net_maxpool(struct pim_net *net, int in, uint32_t k)
{
	return pool(net, LAYER_MAXPOOL, in, k, k);
}

PIM_API int pim_net_avgpool(struct pim_net *net, int in, uint32_t k)
{
	return pool(net, LAYER_AVGPOOL, in, k, k);
}

PIM_API int pim_net_global_avgpool(struct pim_net *net, int in)
{
	if (net->error || in < 0 || in >= net->n)
		return pool(net, LAYER_AVGPOOL, in, 1, 1);
	return pool(net, LAYER_AVGPOOL, in, net->layer[in].h, net->layer[in].w);
}

PIM_API int pim_net_linear(struct pim_net *net, int in, const char *name, uint32_t out)
{
	struct layer *l;
	int id = append(net, LAYER_CONV, name, in, -1);

	if (id < 0)
		return id;
	l = &net->layer[id];
	if (!out || out > MAX_DIM)
		return fail(net, -EINVAL, "linear %s: %u outputs; 1..%u are possible", name, out, MAX_DIM);
	l->kh = l->h;
	l->kw = l->w;
	l->stride = 1;
	l->bias = true;
	l->linear = true;
	l->c = out;
	l->h = l->w = 1;
	return id;
}

PIM_API int pim_net_softmax_ce(struct pim_net *net, int in)
{
	int id = append(net, LAYER_SOFTMAX_CE, "", in, -1);

	if (id < 0)
		return id;
	if (net->layer[id].h != 1 || net->layer[id].w != 1)
		return fail(net, -EINVAL, "softmax_ce: its input is %ux%ux%u; it needs one score per class, c x 1 x 1",
			    net->layer[id].c, net->layer[id].h, net->layer[id].w);
	return id;
}

PIM_API int pim_net_check(const struct pim_net *net)
{
	if (net->error)
		return pim_error(net->error, "%s", net->message);
	if (!net->n || net->layer[net->n - 1].kind != LAYER_SOFTMAX_CE)
		return pim_error(-EINVAL, "the network must begin with an input and end with softmax_ce");
	for (int i = 0; i < net->n - 1; i++)
		if (!net->layer[i].nusers)
			return pim_error(-EINVAL, "layer %d (%s %s): nothing uses its output", i, kind_name[net->layer[i].kind],
					 net->layer[i].name);
	return 0;
}

PIM_API uint64_t pim_net_parameters(const struct pim_net *net)
{
	uint64_t sum = 0;

	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];

		if (l->kind == LAYER_CONV)
			sum += (uint64_t)l->c * net->layer[l->in[0]].c * l->kh * l->kw + (l->bias ? l->c : 0);
		else if (l->kind == LAYER_BN)
			sum += 2 * (uint64_t)l->c;
	}
	return sum;
}

static int conv_bn(struct pim_net *net, int x, const char *conv, const char *bn, uint32_t c)
{
	return pim_net_bn(net, pim_net_conv(net, x, conv, c, 3, 1, 1, false), bn);
}

static int residual(struct pim_net *net, int x, const char *name, uint32_t c)
{
	char n[4][48];
	int y;

	snprintf(n[0], sizeof(n[0]), "%s.conv1", name);
	snprintf(n[1], sizeof(n[1]), "%s.bn1", name);
	snprintf(n[2], sizeof(n[2]), "%s.conv2", name);
	snprintf(n[3], sizeof(n[3]), "%s.bn2", name);
	y = pim_net_relu(net, conv_bn(net, x, n[0], n[1], c));
	return pim_net_relu(net, pim_net_add(net, conv_bn(net, y, n[2], n[3], c), x));
}

PIM_API struct pim_net *pim_net_digits(uint32_t c)
{
	struct pim_net *net = pim_net_new();
	int x;

	if (!net)
		return NULL;
	x = pim_net_input(net, 1, 8, 8);
	x = pim_net_relu(net, conv_bn(net, x, "conv1", "bn1", c));
	x = residual(net, x, "block1", c);
	x = pim_net_maxpool(net, x, 2);
	x = pim_net_relu(net, conv_bn(net, x, "conv2", "bn2", 2 * c));
	x = residual(net, x, "block2", 2 * c);
	x = pim_net_global_avgpool(net, x);
	pim_net_softmax_ce(net, pim_net_linear(net, x, "fc", 10));
	return net;
}
