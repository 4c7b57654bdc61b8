// SPDX-License-Identifier: MIT
/* Networks as text: writing. The format is described, and read, in net_text.c. */
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include <pim/device.h>

#include "error.h"
#include "net.h"

#define PIM_API __attribute__((visibility("default")))

typedef char text_name[64];

static bool taken(const struct pim_net *net, const char *name)
{
	for (int i = 0; i < net->n; i++)
		if (!strcmp(net->layer[i].name, name))
			return true;
	return false;
}

/* Layers without parameters are named by their number, or the next that is no other layer's name. */
static void invent_names(const struct pim_net *net, text_name *name)
{
	int next = 0;

	for (int i = 0; i < net->n; i++) {
		if (net->layer[i].name[0]) {
			strcpy(name[i], net->layer[i].name);
			continue;
		}
		if (next < i)
			next = i;
		do
			snprintf(name[i], sizeof(name[i]), "l%d", next++);
		while (taken(net, name[i]));
	}
}

static void put_pair(FILE *f, const char *key, uint32_t h, uint32_t w)
{
	if (h == w)
		fprintf(f, " %s=%" PRIu32, key, h);
	else
		fprintf(f, " %s=%" PRIu32 "x%" PRIu32, key, h, w);
}

/* Nine digits give back the same float. */
static void put_real(FILE *f, const char *key, float r)
{
	fprintf(f, " %s=%.9g", key, (double)r);
}

static const char *text_kind(const struct layer *l)
{
	return l->linear ? "linear" : l->kind == LAYER_ACT ? act_name(l->act) : layer_kind_name(l->kind);
}

static void put_keys(FILE *f, const struct layer *l)
{
	switch (l->kind) {
	case LAYER_INPUT:
		fprintf(f, " shape=%" PRIu32 "x%" PRIu32 "x%" PRIu32, l->c, l->h, l->w);
		break;
	case LAYER_CONV:
		fprintf(f, " out=%" PRIu32, l->c);
		if (l->linear)
			break;
		put_pair(f, "k", l->kh, l->kw);
		if (l->sh != 1 || l->sw != 1)
			put_pair(f, "stride", l->sh, l->sw);
		if (l->ph || l->pw)
			put_pair(f, "pad", l->ph, l->pw);
		if (l->dh != 1 || l->dw != 1)
			put_pair(f, "dilation", l->dh, l->dw);
		if (l->groups != 1)
			fprintf(f, " groups=%" PRIu32, l->groups);
		if (l->bias)
			fputs(" bias=yes", f);
		break;
	case LAYER_BN:
		put_real(f, "eps", l->eps);
		put_real(f, "momentum", l->momentum);
		break;
	case LAYER_ACT:
		if (l->act == PIM_LEAKY_RELU)
			put_real(f, "slope", l->slope);
		break;
	case LAYER_MAXPOOL:
	case LAYER_AVGPOOL:
		put_pair(f, "k", l->kh, l->kw);
		if (l->sh != l->kh || l->sw != l->kw)
			put_pair(f, "stride", l->sh, l->sw);
		if (l->ph || l->pw)
			put_pair(f, "pad", l->ph, l->pw);
		if (l->ceil)
			fputs(" ceil=yes", f);
		if (l->exclude_pad)
			fputs(" exclude_pad=yes", f);
		break;
	case LAYER_DROPOUT:
		put_real(f, "p", l->p);
		break;
	case LAYER_SOFTMAX_CE:
		if (l->p != 0)
			put_real(f, "smoothing", l->p);
		break;
	case LAYER_ADD:
	case LAYER_MUL:
	case LAYER_CONCAT:
		break;
	}
}

PIM_API int pim_net_print(const struct pim_net *net, FILE *f)
{
	text_name *name;
	locale_t c, old;
	int err = pim_net_check(net);

	if (err)
		return err;
	name = calloc((size_t)net->n, sizeof(*name));
	/* The decimal point is one, whatever the program's locale. */
	c = newlocale(LC_ALL_MASK, "C", NULL);
	if (!name || !c) {
		free(name);
		if (c)
			freelocale(c);
		return pim_error(-ENOMEM, "no memory for the names of %d layers", net->n);
	}
	old = uselocale(c);
	invent_names(net, name);
	fprintf(f, "# rt-pim network, %" PRIu64 " parameters. NAME KIND INPUT... KEY=VALUE...\n", pim_net_parameters(net));
	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];

		fprintf(f, "%s %s", name[i], text_kind(l));
		for (unsigned int k = 0; k < l->nin; k++)
			fprintf(f, " %s", name[l->in[k]]);
		put_keys(f, l);
		fputc('\n', f);
	}
	uselocale(old);
	freelocale(c);
	free(name);
	return ferror(f) ? pim_error(-EIO, "the network could not be written") : 0;
}

PIM_API int pim_net_write(const struct pim_net *net, const char *path)
{
	FILE *f;
	int err = pim_net_check(net);

	if (err)
		return err;
	f = fopen(path, "we");
	if (!f)
		return pim_error(-errno, "%s: %s", path, strerror(errno));
	err = pim_net_print(net, f);
	/* A full disk may show only here. */
	if (fclose(f) && !err)
		err = pim_error(-errno, "%s", strerror(errno));
	return err ? pim_error(err, "%s: %s", path, pim_strerror()) : 0;
}
