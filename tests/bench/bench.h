/* SPDX-License-Identifier: MIT */
/* What the benchmarks share: time, medians, and one form of line: name, value, unit, and how many times what it is measured against. */
#ifndef BENCH_H
#define BENCH_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <drm/pim_drm.h>
#include <pim/device.h>

static inline uint64_t bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * UINT64_C(1000000000) + t.tv_nsec;
}

static inline void bench_check(int err)
{
	if (!err)
		return;
	fprintf(stderr, "bench: %s\n", pim_strerror());
	exit(1);
}

static inline int bench_by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts; in ns. */
static inline double bench_percentile(uint64_t *took, size_t n, unsigned int percent)
{
	qsort(took, n, sizeof(took[0]), bench_by_value);
	return (double)took[(n - 1) * percent / 100];
}

static inline void bench_line(const char *name, double value, const char *unit, double ratio, const char *of)
{
	printf("  %-52s %12.2f %-6s %9.2f x %s\n", name, value, unit, ratio, of);
	fflush(stdout);
}

static inline void bench_none(const char *name, const char *why)
{
	printf("  %-52s %12s        %s\n", name, "n/a", why);
}

/* Median of one GET_PARAM on the driver's node, ns: what entering the driver costs at the least. Zero for the model in this process. */
static inline double bench_null_ioctl(const char *spec)
{
	enum { SAMPLES = 20000, EACH = 10 };
	static uint64_t took[SAMPLES / EACH];
	struct drm_pim_get_param p = { .param = DRM_PIM_PARAM_DOMAINS };
	char node[32] = "";
	int fd = -1;

	if (strncmp(spec, "drm", 3))
		return 0;
	for (int i = 128; i < 192 && fd < 0; i++) {
		snprintf(node, sizeof(node), "/dev/dri/renderD%d", i);
		fd = open(spec[3] == ':' ? spec + 4 : node, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		fprintf(stderr, "bench: no node of pim.ko\n");
		exit(1);
	}
	for (int i = 0; i < SAMPLES / EACH; i++) {
		uint64_t t = bench_now();

		for (int k = 0; k < EACH; k++)
			if (ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p))
				exit(1);
		took[i] = (bench_now() - t) / EACH;
	}
	close(fd);
	return bench_percentile(took, SAMPLES / EACH, 50);
}

#endif
