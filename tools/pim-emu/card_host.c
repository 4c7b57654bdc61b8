// SPDX-License-Identifier: MIT
/* The HOST engine: the GPU side of the card. Convolutions, pools and dropout have files of their own. */
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "card_host_impl.h"

#define PIECE (1ull << 20) /* bytes between two looks at whether the job must end */

struct card_host {
	struct card_conv *conv;
};

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int card_host_new(struct card_host **out)
{
	struct card_host *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return -ENOMEM;
	ret = card_conv_new(&h->conv);
	if (ret) {
		free(h);
		return ret;
	}
	*out = h;
	return 0;
}

void card_host_thread_end(struct card_host *h)
{
	card_conv_forget(h->conv);
}

void card_host_free(struct card_host *h)
{
	if (!h)
		return;
	card_conv_free(h->conv);
	free(h);
}

/* A matrix of rows x cols at a leading dimension. */
static float *matrix(struct pim_card *c, struct card_job *j, uint32_t binding, uint64_t off, uint32_t rows, uint32_t cols, uint32_t ld,
		     uint32_t access)
{
	uint64_t elements = (uint64_t)(rows - 1) * ld + cols;

	if (ld < cols || off % sizeof(float) || elements > 1ull << 40) {
		card_fail(j, PIM_HW_E_INVALID, binding, off, 0);
		return NULL;
	}
	return card_at(c, j, binding, off, elements * sizeof(float), access);
}

static void run_gemm(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_gemm *g = &j->d.gemm;
	bool ta = g->trans & 1, tb = g->trans >> 1 & 1;
	const uint32_t limit = 1u << 30;
	float *a, *b, *out;

	if (!g->m || !g->n || !g->k || g->m > limit || g->n > limit || g->k > limit || g->lda > limit || g->ldb > limit || g->ldc > limit ||
	    g->trans > 3 || g->accumulate > 1 || g->pad) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	a = matrix(c, j, g->a_binding, g->a_off, ta ? g->k : g->m, ta ? g->m : g->k, g->lda, PIM_HW_READ);
	b = matrix(c, j, g->b_binding, g->b_off, tb ? g->n : g->k, tb ? g->k : g->n, g->ldb, PIM_HW_READ);
	out = matrix(c, j, g->c_binding, g->c_off, g->m, g->n, g->ldc, PIM_HW_WRITE | (g->accumulate ? PIM_HW_READ : 0));
	if (!a || !b || !out)
		return;
	if (dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', g->m, g->n, g->k, 1.0f, a, g->lda, b, g->ldb, g->accumulate ? 1.0f : 0.0f, out,
		       g->ldc) != dnnl_success) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	j->cost.flops += 2ull * g->m * g->n * g->k;
	host_traffic(j, card_in_window(c, j->d.binding[g->a_binding].base), 4ull * g->m * g->k);
	host_traffic(j, card_in_window(c, j->d.binding[g->b_binding].base), 4ull * g->k * g->n);
	host_traffic(j, card_in_window(c, j->d.binding[g->c_binding].base), (g->accumulate ? 8ull : 4ull) * g->m * g->n);
}

/* In double, images and channels in order: the loss is the same on every machine. */
static void softmax_image(const struct fmap *x, const struct fmap *g, uint32_t image, uint32_t label, bool grad, double smooth,
			  double *loss, uint32_t *correct)
{
	const uint32_t nc = x->f.c;
	const float *row = (const float *)(x->base + (uint64_t)image * PIM_HW_BLOCK);
	const uint64_t xs = x->f.block_bytes / sizeof(float);
	float *out;
	double max = -INFINITY, sum = 0, spread = 0;
	uint32_t k, best = 0;

#define LOGIT(i) ((double)row[(i) / 16 * xs + (i) % 16])
	for (k = 0; k < nc; k++) {
		if (LOGIT(k) > max) {
			max = LOGIT(k);
			best = k;
		}
	}
	for (k = 0; k < nc; k++)
		sum += exp(LOGIT(k) - max);
	/* Cross-entropy with (1 - smooth) onehot + smooth / nc. Without smoothing an infinite logit elsewhere must not count. */
	for (k = 0; smooth > 0 && k < nc; k++)
		spread += log(sum) - (LOGIT(k) - max);
	*loss += (1 - smooth) * (log(sum) - (LOGIT(label) - max)) + smooth / nc * spread;
	*correct += best == label;
	if (!grad)
		return;
	for (k = 0; k < g->blocks * 16; k++) {
		double target = (1 - smooth) * (k == label) + smooth / nc;
		double y = k < nc ? (exp(LOGIT(k) - max) / sum - target) / x->f.n : 0;

		out = (float *)(g->base + k / 16 * g->f.block_bytes + (uint64_t)image * PIM_HW_BLOCK);
		out[k % 16] = (float)y;
	}
#undef LOGIT
}

static bool flat(const struct pim_hw_fmap *f)
{
	return f->h == 1 && f->w == 1;
}

static void run_softmax(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_softmax *s = &j->d.softmax;
	bool grad = !(s->flags & PIM_HW_SOFTMAX_NO_GRAD);
	struct {
		float loss;
		uint32_t correct;
	} *out, result;
	const double smooth = host_float(s->smooth);
	struct fmap x, g;
	const uint32_t *label;
	uint32_t *labels, i, correct = 0;
	double loss = 0;

	memset(&g, 0, sizeof(g));
	if ((s->flags & ~PIM_HW_SOFTMAX_NO_GRAD) || !(smooth >= 0 && smooth < 1) || !flat(&s->logits) || s->label_off % 4 ||
	    s->out_off % 4 || (grad && (!flat(&s->grad) || s->grad.n != s->logits.n || s->grad.c != s->logits.c))) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	if (!fmap_check(c, j, &s->logits, PIM_HW_READ, &x) || (grad && !fmap_check(c, j, &s->grad, PIM_HW_WRITE, &g)))
		return;
	label = card_at(c, j, s->label_binding, s->label_off, 4ull * x.f.n, PIM_HW_READ);
	out = card_at(c, j, s->out_binding, s->out_off, sizeof(*out), PIM_HW_WRITE);
	if (!label || !out)
		return;
	/* A label is an index: checked and used from a copy. */
	labels = malloc(4ull * x.f.n);
	if (!labels) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	memcpy(labels, label, 4ull * x.f.n);
	for (i = 0; i < x.f.n; i++) {
		if (labels[i] >= x.f.c) {
			card_fail(j, PIM_HW_E_INVALID, s->label_binding, s->label_off + 4ull * i, 0);
			goto out;
		}
	}
	for (i = 0; i < x.f.n; i++)
		softmax_image(&x, &g, i, labels[i], grad, smooth, &loss, &correct);
	result.loss = (float)(loss / x.f.n);
	result.correct = correct;
	memcpy(out, &result, sizeof(result));
	j->cost.flops += (smooth > 0 ? 10ull : 8ull) * x.f.n * x.f.c;
	host_traffic(j, x.window, fmap_bytes(&x, x.f.c));
	if (grad)
		host_traffic(j, g.window, fmap_bytes(&g, g.f.c));
out:
	free(labels);
}

/* As memmove, in pieces that begin at the end that is overwritten last. False: the job was stopped. */
static bool move(struct pim_card *c, struct card_job *j, uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	uint64_t done, n, at;

	for (done = 0; done < bytes; done += n) {
		if (card_job_stopped(c, j, 0))
			return false;
		n = min64(PIECE, bytes - done);
		at = to < from ? done : bytes - done - n;
		memmove(to + at, from + at, n);
	}
	return true;
}

static void run_copy(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_copy *p = &j->d.copy;
	struct fmap src, dst;
	void *from, *to;

	if (p->pad) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	if (p->bytes) {
		from = card_at(c, j, p->src.binding, p->src.off, p->bytes, PIM_HW_READ);
		to = card_at(c, j, p->dst.binding, p->dst.off, p->bytes, PIM_HW_WRITE);
		if (!from || !to)
			return;
		if (!move(c, j, to, from, p->bytes))
			return;
		host_traffic(j, card_in_window(c, j->d.binding[p->src.binding].base), p->bytes);
		host_traffic(j, card_in_window(c, j->d.binding[p->dst.binding].base), p->bytes);
		return;
	}
	if (p->src.n != p->dst.n || p->src.c != p->dst.c || p->src.h != p->dst.h || p->src.w != p->dst.w) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	if (!fmap_check(c, j, &p->src, PIM_HW_READ, &src) || !fmap_check(c, j, &p->dst, PIM_HW_WRITE, &dst))
		return;
	fmap_copy(&src, &dst);
	host_traffic(j, src.window, fmap_bytes(&src, src.blocks * 16));
	host_traffic(j, dst.window, fmap_bytes(&dst, dst.blocks * 16));
}

static void run_fill(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_copy *p = &j->d.copy;
	uint32_t *to;
	uint64_t i, end;

	if (p->pad || !p->bytes || p->bytes % 4 || p->dst.off % 4) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	to = card_at(c, j, p->dst.binding, p->dst.off, p->bytes, PIM_HW_WRITE);
	if (!to)
		return;
	for (i = 0; i < p->bytes / 4;) {
		if (card_job_stopped(c, j, 0))
			return;
		for (end = min64(p->bytes / 4, i + PIECE / 4); i < end; i++)
			to[i] = p->pattern;
	}
	host_traffic(j, card_in_window(c, j->d.binding[p->dst.binding].base), p->bytes);
}

void card_host_run(struct pim_card *c, struct card_job *j)
{
	/* One thread per primitive: the order of every sum is then fixed. */
	omp_set_num_threads(1);
	switch (j->d.op) {
	case PIM_HW_OP_GEMM:
		run_gemm(c, j);
		break;
	case PIM_HW_OP_SOFTMAX_CE:
		run_softmax(c, j);
		break;
	case PIM_HW_OP_COPY:
		run_copy(c, j);
		break;
	case PIM_HW_OP_FILL:
		run_fill(c, j);
		break;
	case PIM_HW_OP_POOL_FWD:
	case PIM_HW_OP_POOL_BWD:
		card_pool_run(c, j);
		break;
	case PIM_HW_OP_DROPOUT:
		card_dropout_run(c, j);
		break;
	default:
		card_conv_run(c, c->host->conv, j);
	}
}
