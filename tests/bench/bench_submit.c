// SPDX-License-Identifier: MIT
/* bench_submit DEVICE: latency from submit to fence of an empty job, and submits per second one at a time and queued deep. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <pim/device.h>
#include <pim/hw.h>

#define WARMUP 200
#define SAMPLES 5000
#define DEEP 64 /* submits in flight */

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static void check(int err)
{
	if (!err)
		return;
	fprintf(stderr, "bench_submit: %s\n", pim_strerror());
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void bench(struct pim_device *dev, enum pim_engine engine, const char *name)
{
	static uint64_t took[SAMPLES];
	const struct pim_job job = { .engine = engine, .op = PIM_HW_OP_NOP };
	uint64_t start, single, deep;

	for (int i = 0; i < WARMUP; i++) {
		check(pim_submit(dev, &job, 1, NULL));
		check(pim_wait(dev, 10000));
	}
	start = now();
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t t = now();

		check(pim_submit(dev, &job, 1, NULL));
		check(pim_wait(dev, 10000));
		took[i] = now() - t;
	}
	single = now() - start;
	start = now();
	for (int i = 0; i < SAMPLES; i++) {
		check(pim_submit(dev, &job, 1, NULL));
		if (i % DEEP == DEEP - 1)
			check(pim_wait(dev, 10000));
	}
	check(pim_wait(dev, 10000));
	deep = now() - start;
	qsort(took, SAMPLES, sizeof(took[0]), by_value);
	printf("  %-5s submit to fence p50 %.1f us, p99 %.1f us; submits/s: %.0f one at a time, %.0f up to %d deep\n", name, took[SAMPLES / 2] / 1e3,
	       took[SAMPLES * 99 / 100] / 1e3, SAMPLES * 1e9 / single, SAMPLES * 1e9 / deep, DEEP);
}

int main(int argc, char **argv)
{
	struct pim_device *dev;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_submit DEVICE\n");
		return 2;
	}
	check(pim_device_open(argv[1], &dev));
	printf("%s, %s: %d empty jobs per figure\n", argv[1], pim_device_info(dev)->name, SAMPLES);
	bench(dev, PIM_HOST, "HOST");
	bench(dev, PIM_PIM, "PIM");
	pim_device_close(dev);
	return 0;
}
