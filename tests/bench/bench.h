/* SPDX-License-Identifier: MIT */
/* What the benchmarks share: a clock, and percentiles of a sorted array. */
#ifndef PIM_BENCH_H
#define PIM_BENCH_H

#include <stdlib.h>
#include <time.h>

static inline double bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts v. */
static inline double bench_percentile(double *v, size_t n, double p)
{
	qsort(v, n, sizeof(*v), bench_compare);
	return v[(size_t)((double)(n - 1) * p / 100)];
}

#endif
