// SPDX-License-Identifier: MIT
/*
 * Special functions of the PIM units: reciprocal, square root, exponential. Division and square root are IEEE 754 and round
 * correctly at any vector width; the exponential is the sequence of operations that hw.rst gives, without branches, so that it is
 * one lane loop too.
 */
#include <math.h>
#include <string.h>

#include "card_lanes_impl.h"

/* Adding it leaves a number below 2^22 rounded to an integer, in the low bits of the sum. */
#define TO_INTEGER 0x1.8p23f

static inline __attribute__((always_inline)) uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static inline __attribute__((always_inline)) float number(uint32_t u)
{
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

/* yes ? a : b, with masks: of two such choices in a row a compiler makes branches, and then no vector loop. */
static inline __attribute__((always_inline)) float choose(int yes, float a, float b)
{
	uint32_t mask = -(uint32_t)yes;

	return number((bits(a) & mask) | (bits(b) & ~mask));
}

/* 2^n for -126 <= n <= 127; of anything else, which a NaN brings here, some number: it does not matter which. */
static inline __attribute__((always_inline)) float power(int32_t n)
{
	return number((uint32_t)(n + 127) << 23);
}

static inline __attribute__((always_inline)) float exp_of(float x)
{
	float c = choose(x < -104.0f, -104.0f, x), sum, n, r, q;
	int32_t i, half;

	c = choose(c > 89.0f, 89.0f, c);
	sum = c * 0x1.715476p+0f + TO_INTEGER;
	n = sum - TO_INTEGER;
	i = (int32_t)(bits(sum) - bits(TO_INTEGER));
	r = c - n * 0x1.63p-1f;
	r = r - n * -0x1.bd0106p-13f;
	q = 0x1.a01a02p-13f;
	q = q * r + 0x1.6c16c2p-10f;
	q = q * r + 0x1.111112p-7f;
	q = q * r + 0x1.555556p-5f;
	q = q * r + 0x1.555556p-3f;
	q = q * r + 0x1p-1f;
	/* 2^n in two factors, each a normal number; only the second product can round. */
	half = i >> 1;
	return (1.0f + (r + r * r * q)) * power(half) * power(i - half);
}

LANES(rcp, float, float, 1.0f / a[i])
LANES(sqrt, float, float, sqrtf(a[i]))
LANES(exp, float, float, exp_of(a[i]))
