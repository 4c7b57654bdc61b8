// SPDX-License-Identifier: MIT
/*
 * bench_submit DEVICE: an empty job from submission to its fence, one at a time and many deep, on each engine. Latencies beside a clock_gettime()
 * round of the same run, so that a slow machine (or an emulated one) shows as such.
 */
#include <stdio.h>

#include <pim/device.h>
#include <pim/hw.h>

#include "bench.h"

#define ROUNDS 1000
#define DEPTH 512

static int fail(const char *what)
{
	fprintf(stderr, "bench_submit: %s: %s\n", what, pim_strerror());
	return 1;
}

int main(int argc, char **argv)
{
	static const char *const name[] = { "HOST", "PIM" };
	static struct pim_job deep[DEPTH];
	static double lat[ROUNDS], clk[ROUNDS];
	struct pim_device *dev;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_submit DEVICE\n");
		return 2;
	}
	if (pim_device_open(argv[1], &dev))
		return fail(argv[1]);
	for (int e = 0; e < PIM_ENGINES; e++) {
		struct pim_job nop = { .engine = (enum pim_engine)e, .op = PIM_HW_OP_NOP };
		double begin, wall, p50, p99;
		int rounds = 0;

		for (int i = 0; i < ROUNDS; i++) {
			double t = bench_now();

			clk[i] = bench_now() - t;
			t = bench_now();
			if (pim_submit(dev, &nop, 1, NULL) || pim_wait(dev, 10000))
				return fail("submit");
			lat[i] = bench_now() - t;
		}
		for (int i = 0; i < DEPTH; i++)
			deep[i] = nop;
		begin = bench_now();
		do {
			if (pim_submit(dev, deep, DEPTH, NULL) || pim_wait(dev, 60000))
				return fail("submit");
			rounds++;
		} while (bench_now() - begin < 1);
		wall = bench_now() - begin;
		p50 = bench_percentile(lat, ROUNDS, 50);
		p99 = bench_percentile(lat, ROUNDS, 99);
		printf("  empty submit to fence, %-4s  p50 %8.1f us  p99 %8.1f us  (%.0f x a clock read)  %9.0f jobs/s %d deep\n",
		       name[e], p50 * 1e6, p99 * 1e6, p50 / (bench_percentile(clk, ROUNDS, 50) + 1e-9),
		       rounds * (double)DEPTH / wall, DEPTH);
	}
	pim_device_close(dev);
	return 0;
}
