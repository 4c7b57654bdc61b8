/* SPDX-License-Identifier: MIT */
/* The kinds of layers of the text format, and their keys: what net_kinds.c tells net_text.c. */
#ifndef PIM_LIB_NET_TEXT_H
#define PIM_LIB_NET_TEXT_H

#include "net.h"

enum value_type {
	NUMBER, /* may be zero */
	COUNT, /* may not */
	PAIR,
	COUNTS,
	TRIPLE,
	FLAG,
	REAL,
};

enum key { SHAPE, OUT, KERNEL, STRIDE, PAD, DILATION, GROUPS, BIAS, CEIL, EXCLUDE_PAD, EPS, MOMENTUM, SLOPE, P, SMOOTHING, NKEYS };

struct key_info {
	const char *name;
	enum value_type type;
};
extern const struct key_info net_key[NKEYS];

/* A line taken apart. Values not given are zero, which the building calls take for their default. */
struct line {
	const char *name;
	const struct kind *kind;
	int in[MAX_INPUTS];
	unsigned int nin;
	unsigned int given; /* a bit per key */
	struct {
		uint32_t n[3];
		float r;
	} value[NKEYS];
};

struct kind {
	const char *name;
	int (*build)(struct pim_net *net, const struct line *l);
	unsigned int min_in, max_in;
	unsigned int required, optional; /* a bit per key */
	enum pim_act act;
};

/* NULL if there is none of that name. */
const struct kind *net_kind_find(const char *name);
/* "a, b, c" */
const char *net_kind_list(char buf[256]);

/* What a value of this type is, for messages. */
const char *net_value_text(enum value_type type);
/* The value of a key into n or real. */
bool net_value_scan(const char *s, enum value_type type, uint32_t n[3], float *real);

#endif
