// SPDX-License-Identifier: MIT
/*
 * Lane loops of the PIM units: every instruction of all units in lock-step is one straight loop over contiguous memory. Compiled for
 * several vector widths; contraction is off, so all of them give the same bits.
 */
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

LANES(add, float, float, a[i] + b[i])
LANES(sub, float, float, a[i] - b[i])
LANES(mul, float, float, a[i] * b[i])
LANES(mac, float, float, d[i] + a[i] * b[i])
LANES(mad, float, float, a[i] * b[i] + c[i])
/* A NaN wins: the first comparison is true for it, and the second is false when b is one. */
LANES(max, float, float, a[i] != a[i] || a[i] > b[i] ? a[i] : b[i])
LANES(min, float, float, a[i] != a[i] || a[i] < b[i] ? a[i] : b[i])
LANES(mov, float, float, a[i])
LANES(eq, uint32_t, float, a[i] == b[i] ? ~0u : 0u)
LANES(gt, uint32_t, float, a[i] > b[i] ? ~0u : 0u)
LANES(ge, uint32_t, float, a[i] >= b[i] ? ~0u : 0u)
LANES(ne, uint32_t, float, a[i] != b[i] ? ~0u : 0u)
LANES(sel, float, uint32_t, c[i] ? a[i] : b[i])
