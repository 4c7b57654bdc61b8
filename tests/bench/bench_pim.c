// SPDX-License-Identifier: MIT
/*
 * bench_pim DEVICE: bandwidth of the PIM kernel "add" (y = a + b) as this machine computes it, against a copy of the same size by all its processors
 * in the same run. Real time, not modelled: how fast the emulator is.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/hw.h>

#include "../../lib/kernel.h"

#define BYTES (64u << 20)
#define ROUNDS 15
#define MAX_THREADS 64

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void check(int err)
{
	if (!err)
		return;
	fprintf(stderr, "bench_pim: %s\n", pim_strerror());
	exit(1);
}

static void *map(struct pim_device *dev, uint64_t bytes, enum pim_place place, struct pim_buffer **b)
{
	void *p;

	check(pim_buffer_create(dev, bytes, place, 0, b));
	check(pim_buffer_map(*b, &p));
	return p;
}

/* -- the copy --------------------------------------------------------------------------------------------------------- */

struct part {
	const double *from;
	double *to;
	size_t n;
};

static void *copy_part(void *arg)
{
	const struct part *p = arg;

	for (size_t i = 0; i < p->n; i++)
		p->to[i] = p->from[i];
	return NULL;
}

/* Best time of a copy by all processors. */
static double copy(const double *from, double *to, int threads)
{
	size_t each = BYTES / sizeof(*from) / threads;
	pthread_t t[MAX_THREADS];
	struct part part[MAX_THREADS];
	double best = 1e9;

	for (int r = 0; r < ROUNDS; r++) {
		double start = seconds(), took;

		for (int i = 0; i < threads; i++) {
			part[i] = (struct part){ from + i * each, to + i * each, each };
			if (pthread_create(&t[i], NULL, copy_part, &part[i]))
				exit(1);
		}
		for (int i = 0; i < threads; i++)
			pthread_join(t[i], NULL);
		took = seconds() - start;
		best = took < best ? took : best;
	}
	return best;
}

/* -- the kernel ------------------------------------------------------------------------------------------------------- */

static double add(struct pim_device *dev, const struct pim_job *job)
{
	double best = 1e9;

	for (int r = 0; r < ROUNDS; r++) {
		double start = seconds(), took;

		check(pim_submit(dev, job, 1, NULL));
		check(pim_wait(dev, 60000));
		took = seconds() - start;
		best = took < best ? took : best;
	}
	return best;
}

int main(int argc, char **argv)
{
	const struct pim_kernel *k = pim_kernel_find("add");
	struct pim_buffer *buf[4];
	struct pim_hw_program prog = { .nstreams = 3, .blocks = 1, .planes = 1, .run_bytes = BYTES };
	struct pim_job job = { .engine = PIM_PIM, .op = PIM_HW_OP_PROGRAM, .nbindings = 4, .payload = &prog, .payload_bytes = sizeof(prog) };
	int threads = sysconf(_SC_NPROCESSORS_ONLN);
	struct pim_device *dev;
	double copy_s, add_s;
	float *p[3];

	if (argc != 2) {
		fprintf(stderr, "usage: bench_pim DEVICE\n");
		return 2;
	}
	threads = threads > MAX_THREADS ? MAX_THREADS : threads;
	check(pim_device_open(argv[1], &dev));
	memcpy(map(dev, pim_kernel_image_bytes, PIM_PLACE_WINDOW, &buf[3]), pim_kernel_image, pim_kernel_image_bytes);
	for (int i = 0; i < 3; i++) {
		p[i] = map(dev, BYTES, PIM_PLACE_MEMORY, &buf[i]);
		for (size_t e = 0; e < BYTES / 4; e++)
			p[i][e] = i < 2 ? (float)(e % 1000) : 1;
		prog.stream[i].binding = i;
		job.binding[i] = (struct pim_binding){ buf[i], 0, BYTES, i < 2 ? PIM_READ : PIM_WRITE };
	}
	prog.code_binding = 3;
	prog.code_off = k->offset;
	prog.crf_len = k->ncrf;
	prog.srf_len = k->nsrf;
	job.binding[3] = (struct pim_binding){ buf[3], 0, pim_kernel_image_bytes, PIM_READ };

	copy_s = copy((double *)p[0], (double *)p[1], threads);
	check(pim_acquire(dev, 1, PIM_OWNER_PIM, 60000));
	add_s = add(dev, &job);
	check(pim_release(dev, 1));
	for (size_t e = 0; e < BYTES / 4; e++) {
		if (p[2][e] == 2 * (float)(e % 1000))
			continue;
		fprintf(stderr, "bench_pim: element %zu is %g\n", e, (double)p[2][e]);
		return 1;
	}
	printf("%s, %s: PIM add of %u MiB arrays %.1f GB/s; copy by %d threads %.1f GB/s; ratio %.0f %%\n", argv[1], pim_device_info(dev)->name,
	       BYTES >> 20, 3.0 * BYTES / add_s / 1e9, threads, 2.0 * BYTES / copy_s / 1e9, 100 * 1.5 * copy_s / add_s);
	for (int i = 0; i < 4; i++)
		pim_buffer_destroy(buf[i]);
	pim_device_close(dev);
	return 0;
}
