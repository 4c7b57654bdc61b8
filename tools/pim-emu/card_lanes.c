// SPDX-License-Identifier: MIT
/*
 * Lane loops of the PIM units: every instruction of all units in lock-step is one straight loop over contiguous memory. Compiled for
 * several vector widths; contraction is off, so all of them give the same bits.
 */
#include "card_lanes_impl.h"

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
