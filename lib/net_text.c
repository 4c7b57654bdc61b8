// SPDX-License-Identifier: MIT
/*
 * Networks as text: reading lines. net_kinds.c knows the kinds and keys, net_print.c writes.
 *
 *	# A comment; so is the rest of any line after a #. Empty lines are skipped.
 *	image input shape=3x32x32
 *	conv1 conv image out=16 k=3 pad=1
 *	bn1 bn conv1
 *	a relu bn1
 *	...
 *	loss softmax_ce fc
 *
 * A line is NAME KIND INPUT... KEY=VALUE..., separated by blanks; inputs are names of lines above. Names, at most 63 characters of printable
 * ASCII without blank # = " \, are unique; those of layers with parameters (conv, bn, linear) are the names that checkpoints know. Values are
 * whole numbers (n), one number for height and width or HEIGHTxWIDTH (hw), decimal numbers (r), or yes and no (b). Kinds and keys, * must be
 * given:
 *
 *	input		shape* CxHxW
 *	conv		out* n, k* hw, stride hw 1, pad hw 0, dilation hw 1, groups n 1, bias b no
 *	linear		out* n
 *	bn		eps r 1e-5, momentum r 0.1
 *	relu, relu6, sigmoid, silu
 *	leaky_relu	slope* r
 *	add, mul	two inputs; mul: the map, then its scale
 *	concat		2 to 8 inputs
 *	maxpool, avgpool	k* hw, stride hw k, pad hw 0, ceil b no, exclude_pad b no
 *	global_avgpool
 *	dropout		p* r
 *	softmax_ce	smoothing r 0
 */
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <pim/device.h>

#include "error.h"
#include "net_text.h"

#define PIM_API __attribute__((visibility("default")))
#define MAX_TEXT (1u << 20)
#define MAX_LINE 1024
#define MAX_LAYERS 4096

struct reader {
	const char *where;
	unsigned int line;
	struct pim_net *net;
	struct {
		char name[64];
		unsigned int line;
	} * layer; /* of every layer of the network */
};

__attribute__((format(printf, 3, 4))) static int fail(const struct reader *r, int err, const char *fmt, ...)
{
	char message[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	return pim_error(err, "%s:%u: %s", r->where, r->line, message);
}

/* -- lines ---------------------------------------------------------------------------------------------------------------- */
static int find_layer(const struct reader *r, const char *name)
{
	for (int i = r->net->n - 1; i >= 0; i--)
		if (!strcmp(r->layer[i].name, name))
			return i;
	return -1;
}

/* "a, b, c": the keys of a set. */
static const char *list_keys(unsigned int set, char buf[128])
{
	buf[0] = 0;
	for (unsigned int k = 0; k < NKEYS; k++)
		if (set & 1u << k)
			snprintf(buf + strlen(buf), 128 - strlen(buf), "%s%s", buf[0] ? ", " : "", net_key[k].name);
	return buf[0] ? buf : "none";
}

static int read_key(const struct reader *r, struct line *l, char *word, char *value)
{
	unsigned int k = 0, known = l->kind->required | l->kind->optional;
	char buf[128];

	*value++ = 0;
	while (k < NKEYS && !(known & 1u << k && !strcmp(net_key[k].name, word)))
		k++;
	if (k == NKEYS)
		return fail(r, -EINVAL, "%s has no key \"%s\"; its keys: %s", l->kind->name, word, list_keys(known, buf));
	if (l->given & 1u << k)
		return fail(r, -EINVAL, "%s is there twice", word);
	l->given |= 1u << k;
	if (!net_value_scan(value, net_key[k].type, l->value[k].n, &l->value[k].r))
		return fail(r, -EINVAL, "%s=%s: it is %s", word, value, net_value_text(net_key[k].type));
	return 0;
}

static int read_input(const struct reader *r, struct line *l, const char *word)
{
	int layer = find_layer(r, word);

	if (l->given)
		return fail(r, -EINVAL, "\"%s\" after the keys: inputs are first, keys have a =", word);
	if (layer < 0)
		return fail(r, -EINVAL, "no line above is named \"%s\"", word);
	if (l->nin == l->kind->max_in)
		return fail(r, -EINVAL, "%s: too many inputs; it has %u", l->kind->name, l->kind->max_in);
	l->in[l->nin++] = layer;
	return 0;
}

static int read_line(struct reader *r, char *text)
{
	static const char blank[] = " \t\r\f\v";
	struct line l = { 0 };
	char *word, *save, *value, buf[128], kinds[256];
	int err = 0, id;

	text[strcspn(text, "#")] = 0;
	l.name = strtok_r(text, blank, &save);
	if (!l.name)
		return 0;
	if (!layer_name_valid(l.name))
		return fail(r, -EINVAL, "\"%s\": a name is 1..63 characters of printable ASCII without = \" \\", l.name);
	if (find_layer(r, l.name) >= 0)
		return fail(r, -EINVAL, "there is a layer named \"%s\" above", l.name);
	word = strtok_r(NULL, blank, &save);
	if (!word)
		return fail(r, -EINVAL, "a line is NAME KIND INPUT... KEY=VALUE...; after \"%s\" is no kind", l.name);
	l.kind = net_kind_find(word);
	if (!l.kind)
		return fail(r, -EINVAL, "\"%s\" is no kind of layer; there are %s", word, net_kind_list(kinds));
	while (!err && (word = strtok_r(NULL, blank, &save))) {
		value = strchr(word, '=');
		err = value ? read_key(r, &l, word, value) : read_input(r, &l, word);
	}
	if (err)
		return err;
	if (l.nin < l.kind->min_in)
		return fail(r, -EINVAL, "%s: too few inputs; it has %u%s", l.kind->name, l.kind->min_in,
			    l.kind->max_in > l.kind->min_in ? " or more" : "");
	if (l.kind->required & ~l.given)
		return fail(r, -EINVAL, "%s needs %s", l.kind->name, list_keys(l.kind->required & ~l.given, buf));
	if (r->net->n == MAX_LAYERS)
		return fail(r, -E2BIG, "more than %d layers", MAX_LAYERS);
	id = l.kind->build(r->net, &l);
	if (id < 0)
		return fail(r, id, "%s", pim_strerror());
	strcpy(r->layer[id].name, l.name);
	r->layer[id].line = r->line;
	return 0;
}

static int read_lines(struct reader *r, const char *text)
{
	char line[MAX_LINE];
	int err = 0;

	while (*text && !err) {
		size_t n = strcspn(text, "\n");

		r->line++;
		if (n >= sizeof(line))
			return fail(r, -EINVAL, "a line of %zu characters; %d are possible", n, MAX_LINE - 1);
		memcpy(line, text, n);
		line[n] = 0;
		err = read_line(r, line);
		text += n + (text[n] == '\n');
	}
	return err;
}

/* A whole network? */
static int check(struct reader *r)
{
	int err = pim_net_check(r->net), n = r->net->n, unused = 0;

	if (!err)
		return 0;
	/* It ends with a loss: then there is a layer that nothing uses, and that line is the wrong one. */
	if (n && r->net->layer[n - 1].kind == LAYER_SOFTMAX_CE) {
		while (r->net->layer[unused].nusers)
			unused++;
		r->line = r->layer[unused].line;
	}
	return fail(r, err, "%s", pim_strerror());
}

PIM_API int pim_net_parse(const char *text, const char *where, struct pim_net **net)
{
	struct reader r = { .where = where, .net = pim_net_new() };
	/* The decimal point is one, whatever the program's locale. */
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL), old;
	int err;

	r.layer = calloc(MAX_LAYERS, sizeof(*r.layer));
	if (!r.net || !r.layer || !c) {
		err = pim_error(-ENOMEM, "%s: no memory for a network", where);
	} else if (strnlen(text, MAX_TEXT + 1) > MAX_TEXT) {
		err = pim_error(-E2BIG, "%s: larger than %u bytes: no network is", where, MAX_TEXT);
	} else {
		old = uselocale(c);
		err = read_lines(&r, text);
		uselocale(old);
		if (!err)
			err = check(&r);
	}
	if (c)
		freelocale(c);
	free(r.layer);
	if (err)
		pim_net_free(r.net);
	else
		*net = r.net;
	return err;
}

PIM_API int pim_net_read(const char *path, struct pim_net **net)
{
	char *text = malloc(MAX_TEXT + 2);
	FILE *f;
	size_t n;
	int err;

	if (!text)
		return pim_error(-ENOMEM, "%s: no memory", path);
	f = fopen(path, "re");
	if (!f) {
		err = -errno;
		free(text);
		return pim_error(err, "%s: %s", path, strerror(-err));
	}
	n = fread(text, 1, MAX_TEXT + 1, f);
	text[n] = 0;
	if (ferror(f))
		err = pim_error(-EIO, "%s: %s", path, strerror(errno));
	else if (memchr(text, 0, n))
		err = pim_error(-EINVAL, "%s: has a zero byte: no text", path);
	else
		err = pim_net_parse(text, path, net);
	fclose(f);
	free(text);
	return err;
}
