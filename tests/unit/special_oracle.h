/* SPDX-License-Identifier: MIT */
/* The special functions of the PIM units as hw.rst defines them, one number at a time: arithmetic in double and then rounded. */
#ifndef TESTS_SPECIAL_ORACLE_H
#define TESTS_SPECIAL_ORACLE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <pim/hw.h>

/* Of a sum, product, quotient or root of two FP32 numbers in double this is the FP32 result: 53 bits are more than twice 24. */
static inline float rnd(double x)
{
	volatile float f = (float)x;

	return f;
}

static inline double from_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static inline float special_exp(float x)
{
	static const uint32_t factor[] = { 0x3ab60b61, 0x3c088889, 0x3d2aaaab, 0x3e2aaaab, 0x3f000000 };
	double c = x < -104 ? -104 : x > 89 ? 89 : x, n, r, q = from_bits(0x39500d01);
	unsigned int i;

	if (isnan(x))
		return x;
	n = nearbyint(rnd(c * from_bits(0x3fb8aa3b)));
	r = rnd(c - rnd(n * from_bits(0x3f318000)));
	r = rnd(r - rnd(n * from_bits(0xb95e8083)));
	for (i = 0; i < sizeof(factor) / sizeof(factor[0]); i++)
		q = rnd(rnd(q * r) + from_bits(factor[i]));
	return rnd(ldexp(rnd(1 + (double)rnd(r + rnd(rnd(r * r) * q))), (int)n));
}

/* which: enum pim_hw_special */
static inline float special_oracle(uint32_t which, float x)
{
	return which == PIM_F_RCP ? rnd(1.0 / x) : which == PIM_F_SQRT ? rnd(sqrt((double)x)) : special_exp(x);
}

#endif
