// SPDX-License-Identifier: MIT
/* oneDNN's side of the convolutions: primitives, created once per shape, and the reorders to the layouts they want. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_conv_impl.h"

#define MAX_ENTRIES 1024u

/* An operand: our layout, and the primitive's when it wants another. */
struct side {
	dnnl_memory_t ours, theirs;
	dnnl_primitive_t reorder; /* into theirs for inputs, into ours for the result; NULL: same layout */
	bool result;
};

enum { SRC, WEI, BIAS, DST, SIDES };

struct conv_entry {
	struct conv_entry *next;
	struct conv_key key;
	dnnl_primitive_t prim;
	struct side side[SIDES];
};

static unsigned int hash(const struct conv_key *k)
{
	const uint8_t *b = (const uint8_t *)k;
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < sizeof(*k); i++)
		h = (h ^ b[i]) * 16777619u;
	return h % CONV_BUCKETS;
}

static void free_entry(struct conv_entry *e)
{
	int i;

	for (i = 0; i < SIDES; i++) {
		if (e->side[i].reorder)
			dnnl_primitive_destroy(e->side[i].reorder);
		if (e->side[i].theirs)
			dnnl_memory_destroy(e->side[i].theirs);
		if (e->side[i].ours)
			dnnl_memory_destroy(e->side[i].ours);
	}
	if (e->prim)
		dnnl_primitive_destroy(e->prim);
	free(e);
}

void card_conv_forget(struct card_conv *cc)
{
	unsigned int i;

	for (i = 0; i < CONV_BUCKETS; i++) {
		while (cc->bucket[i]) {
			struct conv_entry *e = cc->bucket[i];

			cc->bucket[i] = e->next;
			free_entry(e);
		}
	}
	cc->entries = 0;
}

/* Groups are a dimension of their own in oneDNN's weights. Returns how many dimensions there are. */
static int weight_dims(const struct conv_key *k, dnnl_dims_t dims)
{
	int n = 0;

	if (k->groups > 1)
		dims[n++] = k->groups;
	dims[n++] = k->oc / k->groups;
	dims[n++] = k->ic / k->groups;
	dims[n++] = k->kh;
	dims[n++] = k->kw;
	return n;
}

static dnnl_format_tag_t weight_tag(const struct conv_key *k)
{
	if (k->groups > 1)
		return dnnl_goihw;
	return k->plain ? dnnl_oihw : dnnl_OIhw16i16o;
}

static dnnl_status_t create_desc(struct card_conv *cc, const struct conv_key *k, dnnl_primitive_desc_t *pd)
{
	dnnl_dims_t src = { k->n, k->ic, k->ih, k->iw }, bias = { k->oc }, wei;
	dnnl_dims_t dst = { k->n, k->oc, k->oh, k->ow }, stride = { k->sh, k->sw }, pad = { k->ph, k->pw };
	dnnl_dims_t dilation = { k->dh - 1, k->dw - 1 }; /* oneDNN counts the gaps */
	dnnl_memory_desc_t sm, wm, bm, dm;
	dnnl_convolution_desc_t cd;
	dnnl_primitive_desc_t hint = NULL;
	dnnl_status_t st;

	dnnl_memory_desc_init_by_tag(&sm, 4, src, dnnl_f32, dnnl_format_tag_any);
	dnnl_memory_desc_init_by_tag(&wm, weight_dims(k, wei), wei, dnnl_f32, dnnl_format_tag_any);
	dnnl_memory_desc_init_by_tag(&bm, 1, bias, dnnl_f32, dnnl_x);
	dnnl_memory_desc_init_by_tag(&dm, 4, dst, dnnl_f32, dnnl_format_tag_any);
	st = dnnl_dilated_convolution_forward_desc_init(&cd, dnnl_forward_training, dnnl_convolution_direct, &sm, &wm,
							k->bias ? &bm : NULL, &dm, stride, dilation, pad, pad);
	if (st == dnnl_success)
		st = dnnl_primitive_desc_create(k->op == PIM_HW_OP_CONV_FWD ? pd : &hint, &cd, NULL, cc->engine, NULL);
	if (st != dnnl_success || k->op == PIM_HW_OP_CONV_FWD)
		return st;
	if (k->op == PIM_HW_OP_CONV_BWD_DATA)
		st = dnnl_dilated_convolution_backward_data_desc_init(&cd, dnnl_convolution_direct, &sm, &wm, &dm, stride, dilation,
								      pad, pad);
	else
		st = dnnl_dilated_convolution_backward_weights_desc_init(&cd, dnnl_convolution_direct, &sm, &wm,
									 k->bias ? &bm : NULL, &dm, stride, dilation, pad, pad);
	if (st == dnnl_success)
		st = dnnl_primitive_desc_create(pd, &cd, NULL, cc->engine, hint);
	dnnl_primitive_desc_destroy(hint);
	return st;
}

static dnnl_status_t create_side(struct card_conv *cc, struct side *s, const dnnl_memory_desc_t *ours,
				 const dnnl_memory_desc_t *theirs)
{
	dnnl_primitive_desc_t pd;
	dnnl_status_t st;

	st = dnnl_memory_create(&s->ours, ours, cc->engine, DNNL_MEMORY_NONE);
	if (st != dnnl_success || dnnl_memory_desc_equal(ours, theirs))
		return st;
	st = dnnl_memory_create(&s->theirs, theirs, cc->engine, DNNL_MEMORY_ALLOCATE);
	if (st != dnnl_success)
		return st;
	st = dnnl_reorder_primitive_desc_create(&pd, s->result ? theirs : ours, cc->engine, s->result ? ours : theirs, cc->engine,
						NULL);
	if (st != dnnl_success)
		return st;
	st = dnnl_primitive_create(&s->reorder, pd);
	dnnl_primitive_desc_destroy(pd);
	return st;
}

static const dnnl_memory_desc_t *wanted(dnnl_primitive_desc_t pd, bool result, dnnl_query_t plain, dnnl_query_t diff)
{
	const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, result ? diff : plain, 0);

	return md;
}

static struct conv_entry *create_entry(struct card_conv *cc, const struct conv_key *k)
{
	struct conv_entry *e = calloc(1, sizeof(*e));
	const bool data = k->op == PIM_HW_OP_CONV_BWD_DATA, weights = k->op == PIM_HW_OP_CONV_BWD_WEIGHTS;
	dnnl_dims_t src = { k->n, k->ic, k->ih, k->iw }, bias = { k->oc }, wei;
	dnnl_dims_t dst = { k->n, k->oc, k->oh, k->ow };
	dnnl_memory_desc_t sm, wm, bm, dm;
	dnnl_primitive_desc_t pd = NULL;
	dnnl_status_t st;

	if (!e)
		return NULL;
	e->key = *k;
	if (create_desc(cc, k, &pd) != dnnl_success)
		goto fail;
	dnnl_memory_desc_init_by_tag(&sm, 4, src, dnnl_f32, dnnl_nChw16c);
	dnnl_memory_desc_init_by_tag(&wm, weight_dims(k, wei), wei, dnnl_f32, weight_tag(k));
	dnnl_memory_desc_init_by_tag(&bm, 1, bias, dnnl_f32, dnnl_x);
	dnnl_memory_desc_init_by_tag(&dm, 4, dst, dnnl_f32, dnnl_nChw16c);
	e->side[SRC].result = data;
	e->side[WEI].result = weights;
	e->side[BIAS].result = weights;
	e->side[DST].result = k->op == PIM_HW_OP_CONV_FWD;
	st = create_side(cc, &e->side[SRC], &sm, wanted(pd, data, dnnl_query_src_md, dnnl_query_diff_src_md));
	if (st == dnnl_success)
		st = create_side(cc, &e->side[WEI], &wm, wanted(pd, weights, dnnl_query_weights_md, dnnl_query_diff_weights_md));
	if (st == dnnl_success && k->bias)
		st = create_side(cc, &e->side[BIAS], &bm, &bm);
	if (st == dnnl_success)
		st = create_side(cc, &e->side[DST], &dm, wanted(pd, data || weights, dnnl_query_dst_md, dnnl_query_diff_dst_md));
	if (st == dnnl_success)
		st = dnnl_primitive_create(&e->prim, pd);
	if (st == dnnl_success) {
		dnnl_primitive_desc_destroy(pd);
		return e;
	}
fail:
	if (pd)
		dnnl_primitive_desc_destroy(pd);
	free_entry(e);
	return NULL;
}

static struct conv_entry *find_entry(struct card_conv *cc, const struct conv_key *k)
{
	unsigned int h = hash(k);
	struct conv_entry *e;

	for (e = cc->bucket[h]; e; e = e->next)
		if (!memcmp(&e->key, k, sizeof(*k)))
			return e;
	if (cc->entries >= MAX_ENTRIES)
		card_conv_forget(cc);
	e = create_entry(cc, k);
	if (!e)
		return NULL;
	e->next = cc->bucket[h];
	cc->bucket[h] = e;
	cc->entries++;
	return e;
}

static bool reorder(struct card_conv *cc, struct side *s)
{
	dnnl_exec_arg_t arg[2] = {
		{ DNNL_ARG_FROM, s->result ? s->theirs : s->ours },
		{ DNNL_ARG_TO, s->result ? s->ours : s->theirs },
	};

	return !s->reorder || dnnl_primitive_execute(s->reorder, cc->stream, 2, arg) == dnnl_success;
}

bool conv_execute(struct card_conv *cc, const struct conv_key *key, float *src, float *wei, float *bias, float *dst)
{
	/* Argument names of the operands: as inputs, as results. */
	static const int names[SIDES][2] = {
		[SRC] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_SRC },
		[WEI] = { DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_WEIGHTS },
		[BIAS] = { DNNL_ARG_BIAS, DNNL_ARG_DIFF_BIAS },
		[DST] = { DNNL_ARG_DST, DNNL_ARG_DIFF_DST },
	};
	float *const ptr[SIDES] = { [SRC] = src, [WEI] = wei, [BIAS] = bias, [DST] = dst };
	struct conv_entry *e = find_entry(cc, key);
	dnnl_exec_arg_t arg[SIDES];
	int i, n = 0;

	if (!e)
		return false;
	for (i = 0; i < SIDES; i++) {
		struct side *s = &e->side[i];
		bool diff = s->result;

		if (!s->ours)
			continue;
		if (i == DST)
			diff = key->op != PIM_HW_OP_CONV_FWD;
		if (dnnl_memory_set_data_handle(s->ours, ptr[i]) != dnnl_success || (!s->result && !reorder(cc, s)))
			return false;
		arg[n].arg = names[i][diff];
		arg[n++].memory = s->reorder ? s->theirs : s->ours;
	}
	if (dnnl_primitive_execute(e->prim, cc->stream, n, arg) != dnnl_success)
		return false;
	for (i = 0; i < SIDES; i++)
		if (e->side[i].ours && e->side[i].result && !reorder(cc, &e->side[i]))
			return false;
	return dnnl_stream_wait(cc->stream) == dnnl_success;
}

int card_conv_new(struct card_conv **out)
{
	struct card_conv *cc = calloc(1, sizeof(*cc));

	if (!cc)
		return -ENOMEM;
	if (dnnl_engine_create(&cc->engine, dnnl_cpu, 0) != dnnl_success)
		goto fail;
	if (dnnl_stream_create(&cc->stream, cc->engine, dnnl_stream_default_flags) != dnnl_success)
		goto fail;
	*out = cc;
	return 0;
fail:
	card_conv_free(cc);
	return -ENOMEM;
}

void card_conv_free(struct card_conv *cc)
{
	int i;

	if (!cc)
		return;
	card_conv_forget(cc);
	for (i = 0; i < CONV_SCRATCH; i++)
		free(cc->scratch[i]);
	if (cc->stream)
		dnnl_stream_destroy(cc->stream);
	if (cc->engine)
		dnnl_engine_destroy(cc->engine);
	free(cc);
}
