/* SPDX-License-Identifier: MIT */
/* How a lane loop is written: one expression, several vector widths. */
#ifndef PIM_CARD_LANES_IMPL_H
#define PIM_CARD_LANES_IMPL_H

#include "card_pim_impl.h"

#if defined(PIM_SANITIZE) || !defined(__x86_64__)
#define PIM_CLONES
#else
#define PIM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

/* The loops carry no dependency: a destination is a source or disjoint from it. */
#define LANES(name, dtype, ctype, expr)                                                             \
	PIM_CLONES void pim_lanes_##name(void *dst, const void *s0, const void *s1, const void *s2, size_t n) \
	{                                                                                           \
		dtype *d = dst;                                                                     \
		const float *a = s0, *b = s1;                                                       \
		const ctype *c = s2;                                                                \
                                                                                                    \
		(void)a, (void)b, (void)c;                                                          \
		_Pragma("omp simd") for (size_t i = 0; i < n; i++) d[i] = expr;                     \
	}

#endif
