/* SPDX-License-Identifier: MIT */
/*
 * What the PIM kernels must compute, in double precision and in the plainest form: forward functions only. Gradients are taken from
 * these by central differences, so that no backward formula is written down twice.
 */
#ifndef TESTS_KERNEL_ORACLE_H
#define TESTS_KERNEL_ORACLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/** struct bn - batch norm of one channel over m values; res and relu as the fused kernels have them */
struct bn {
	uint32_t m;
	const double *x, *res; /* res may be NULL */
	double gamma, beta, eps;
	bool relu, eval;
	double mean, var; /* of the batch, or given (eval) */
};

static inline void bn_stats(struct bn *b)
{
	if (b->eval)
		return;
	b->mean = b->var = 0;
	for (uint32_t i = 0; i < b->m; i++)
		b->mean += b->x[i] / b->m;
	for (uint32_t i = 0; i < b->m; i++)
		b->var += (b->x[i] - b->mean) * (b->x[i] - b->mean) / b->m;
}

/* Before the ReLU. */
static inline double bn_value(const struct bn *b, uint32_t i)
{
	return (b->x[i] - b->mean) / sqrt(b->var + b->eps) * b->gamma + b->beta + (b->res ? b->res[i] : 0);
}

static inline double bn_output(const struct bn *b, uint32_t i)
{
	double v = bn_value(b, i);

	return b->relu && v < 0 ? 0 : v;
}

/* Loss = sum of dy y: its derivative by anything is the gradient of that. */
static inline double bn_loss(struct bn *b, const double *dy)
{
	double loss = 0;

	bn_stats(b);
	for (uint32_t i = 0; i < b->m; i++)
		loss += dy[i] * bn_output(b, i);
	return loss;
}

/* dLoss / d*p by central differences. */
static inline double bn_gradient(struct bn *b, const double *dy, double *p)
{
	const double h = 1e-5, at = *p;
	double up, down;

	*p = at + h;
	up = bn_loss(b, dy);
	*p = at - h;
	down = bn_loss(b, dy);
	*p = at;
	return (up - down) / (2 * h);
}

/* One window of a pool: k values, stride apart. */
static inline double pool_max(const double *x, uint32_t k, uint64_t stride)
{
	double v = x[0];

	for (uint32_t i = 1; i < k; i++)
		v = x[i * stride] > v ? x[i * stride] : v;
	return v;
}

static inline double pool_mean(const double *x, uint32_t k, uint64_t stride)
{
	double v = 0;

	for (uint32_t i = 0; i < k; i++)
		v += x[i * stride];
	return v / k;
}

static inline double pool_gradient(double (*pool)(const double *, uint32_t, uint64_t), double *x, uint32_t k, uint64_t stride,
				   uint32_t at)
{
	const double h = 1e-6, v = x[at * stride];
	double up, down;

	x[at * stride] = v + h;
	up = pool(x, k, stride);
	x[at * stride] = v - h;
	down = pool(x, k, stride);
	x[at * stride] = v;
	return (up - down) / (2 * h);
}

#endif
