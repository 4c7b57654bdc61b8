// SPDX-License-Identifier: MIT
/*
 * bench_pim DEVICE: bytes per second of element-wise PIM programs (as the card's process runs them; wall clock, not modelled time) against a
 * copy by memcpy of the same size on two threads in the same run.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <pim/device.h>
#include <pim/hw.h>

#include "bench.h"
#include "kernel.h"

#define BYTES (64ull << 20)
#define ROUNDS 10

static char *src, *dst;

static int fail(const char *what)
{
	fprintf(stderr, "bench_pim: %s: %s\n", what, pim_strerror());
	return 1;
}

static void *copy_half(void *half)
{
	size_t off = half ? BYTES / 2 : 0;

	memcpy(dst + off, src + off, BYTES / 2);
	return NULL;
}

static double copy_rate(void)
{
	double best = 0;

	for (int i = 0; i < ROUNDS; i++) {
		double t = bench_now();
		pthread_t th;

		if (pthread_create(&th, NULL, copy_half, &i))
			return 0;
		copy_half(NULL);
		pthread_join(th, NULL);
		t = bench_now() - t;
		if (2 * BYTES / t > best)
			best = 2 * BYTES / t;
	}
	return best;
}

/* Three arrays in different banks, as the planner places them. */
static int pim_rate(struct pim_device *dev, const char *name, double *rate)
{
	const struct pim_info *info = pim_device_info(dev);
	const struct pim_kernel *k = pim_kernel_find(name);
	uint64_t row = (uint64_t)info->stripe_bytes * (info->row_bytes / PIM_HW_COLUMN), span = BYTES + row;
	struct pim_hw_program p = {
		.crf_len = k->ncrf, .srf_len = k->nsrf, .nstreams = k->nstreams, .blocks = 1, .planes = 1, .run_bytes = BYTES
	};
	struct pim_job job = { .engine = PIM_PIM, .op = PIM_HW_OP_PROGRAM, .payload = &p, .payload_bytes = sizeof(p) };
	struct pim_buffer *mem, *code;
	void *map;

	if (pim_buffer_create(dev, span * k->nstreams, PIM_PLACE_MEMORY, 0, &mem) ||
	    pim_buffer_create(dev, pim_kernel_image_bytes, PIM_PLACE_WINDOW, 0, &code) || pim_buffer_map(mem, &map))
		return fail("buffers");
	memset(map, 0, span * k->nstreams);
	if (pim_buffer_map(code, &map))
		return fail("code");
	memcpy(map, pim_kernel_image, pim_kernel_image_bytes);
	for (uint32_t i = 0; i < k->nstreams; i++) {
		job.binding[i] = (struct pim_binding){ mem, i * span, BYTES, k->access[i] };
		p.stream[i].binding = i;
	}
	job.binding[k->nstreams] = (struct pim_binding){ code, k->offset, 4 * (k->ncrf + k->nsrf), PIM_READ };
	job.nbindings = k->nstreams + 1;
	p.code_binding = k->nstreams;
	if (pim_acquire(dev, 1, PIM_OWNER_PIM, 1000))
		return fail("acquire");
	*rate = 0;
	for (int i = 0; i < ROUNDS; i++) {
		double t = bench_now();

		if (pim_submit(dev, &job, 1, NULL) || pim_wait(dev, 60000))
			return fail(name);
		t = bench_now() - t;
		if ((double)(k->nstreams * BYTES) / t > *rate)
			*rate = (double)(k->nstreams * BYTES) / t;
	}
	if (pim_release(dev, 1))
		return fail("release");
	pim_buffer_destroy(mem);
	pim_buffer_destroy(code);
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const kernel[] = { "copy", "add", "relu_fwd", "sgd" };
	struct pim_device *dev;
	double copy, rate;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_pim DEVICE\n");
		return 2;
	}
	src = malloc(BYTES);
	dst = malloc(BYTES);
	if (!src || !dst) {
		fprintf(stderr, "bench_pim: no memory for 2 x %llu MiB\n", (unsigned long long)(BYTES >> 20));
		return 1;
	}
	memset(src, 1, BYTES);
	memset(dst, 0, BYTES);
	if (pim_device_open(argv[1], &dev))
		return fail(argv[1]);
	copy = copy_rate();
	printf("  copy by memcpy, 2 threads     %6.1f GB/s\n", copy / 1e9);
	for (unsigned int i = 0; i < sizeof(kernel) / sizeof(kernel[0]); i++) {
		if (pim_rate(dev, kernel[i], &rate))
			return 1;
		printf("  PIM program %-10s        %6.1f GB/s  %5.1f %% of that copy\n", kernel[i], rate / 1e9, 100 * rate / copy);
	}
	pim_device_close(dev);
	free(src);
	free(dst);
	return 0;
}
