// SPDX-License-Identifier: MIT
/*
 * bench_submit DEVICE: what a submit costs, from call to fence, and how many empty jobs per second go through at several depths and from several
 * clients. Through the driver a client is a file of its own, with a queue of its own; in this process it is a thread on the one device.
 */
#include <pthread.h>

#include <pim/hw.h>

#include "bench.h"

#define WARMUP 200
#define SAMPLES 3000
#define CLIENT_JOBS 4096 /* of all clients together */
#define CLIENT_DEPTH 8
#define MAX_CLIENTS 16

static double jobs_per_second(uint64_t jobs, uint64_t ns)
{
	return jobs * 1e9 / ns;
}

static void submit_and_wait(struct pim_device *dev, enum pim_engine engine, int jobs, int depth)
{
	const struct pim_job job = { .engine = engine, .op = PIM_HW_OP_NOP };

	for (int i = 0; i < jobs; i++) {
		bench_check(pim_submit(dev, &job, 1, NULL));
		if (i % depth == depth - 1)
			bench_check(pim_wait(dev, 60000));
	}
	bench_check(pim_wait(dev, 60000));
}

static void latency(struct pim_device *dev, enum pim_engine engine, const char *name, double null)
{
	static uint64_t call[SAMPLES], fence[SAMPLES];
	const struct pim_job job = { .engine = engine, .op = PIM_HW_OP_NOP };
	double base, value;
	char line[64];

	submit_and_wait(dev, engine, WARMUP, 1);
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t t = bench_now();

		bench_check(pim_submit(dev, &job, 1, NULL));
		call[i] = bench_now() - t;
		bench_check(pim_wait(dev, 60000));
		fence[i] = bench_now() - t;
	}
	base = bench_percentile(call, SAMPLES, 50);
	snprintf(line, sizeof(line), "%s submit call p50", name);
	bench_line(line, base / 1e3, "us", null ? base / null : 1, null ? "null ioctl" : "itself");
	for (unsigned int p = 50; p < 100; p += 49) {
		value = bench_percentile(fence, SAMPLES, p);
		snprintf(line, sizeof(line), "%s submit to fence p%u", name, p);
		bench_line(line, value / 1e3, "us", value / base, "submit call");
	}
}

static void depths(struct pim_device *dev, enum pim_engine engine, const char *name)
{
	const int depth[] = { 1, 8, 64 };
	double base = 0, rate;
	char line[64];
	uint64_t t;

	for (size_t i = 0; i < sizeof(depth) / sizeof(depth[0]); i++) {
		t = bench_now();
		submit_and_wait(dev, engine, SAMPLES, depth[i]);
		rate = jobs_per_second(SAMPLES, bench_now() - t);
		base = base ? base : rate;
		snprintf(line, sizeof(line), "%s jobs/s at depth %d", name, depth[i]);
		bench_line(line, rate, "1/s", rate / base, "depth 1");
	}
}

struct client {
	pthread_t thread;
	struct pim_device *dev;
	pthread_barrier_t *begin;
	enum pim_engine engine;
	int jobs;
};

static void *client_run(void *arg)
{
	struct client *c = arg;

	pthread_barrier_wait(c->begin);
	submit_and_wait(c->dev, c->engine, c->jobs, CLIENT_DEPTH);
	return NULL;
}

static void clients(const char *spec, struct pim_device *dev, enum pim_engine engine, const char *name)
{
	const int count[] = { 1, 4, MAX_CLIENTS };
	const bool own = !strncmp(spec, "drm", 3);
	struct client c[MAX_CLIENTS];
	pthread_barrier_t begin;
	double base = 0, rate;
	char line[64];
	uint64_t t;

	for (size_t k = 0; k < sizeof(count) / sizeof(count[0]); k++) {
		pthread_barrier_init(&begin, NULL, count[k] + 1);
		for (int i = 0; i < count[k]; i++) {
			c[i] = (struct client){ .dev = dev, .begin = &begin, .engine = engine, .jobs = CLIENT_JOBS / count[k] };
			if (own)
				bench_check(pim_device_open(spec, &c[i].dev));
			if (pthread_create(&c[i].thread, NULL, client_run, &c[i]))
				exit(1);
		}
		pthread_barrier_wait(&begin);
		t = bench_now();
		for (int i = 0; i < count[k]; i++)
			pthread_join(c[i].thread, NULL);
		rate = jobs_per_second(CLIENT_JOBS, bench_now() - t);
		base = base ? base : rate;
		for (int i = 0; own && i < count[k]; i++)
			pim_device_close(c[i].dev);
		pthread_barrier_destroy(&begin);
		snprintf(line, sizeof(line), "%s jobs/s from %d %s%s, depth %d each", name, count[k], own ? "file" : "thread", count[k] > 1 ? "s" : "",
			 CLIENT_DEPTH);
		bench_line(line, rate, "1/s", rate / base, "one");
	}
}

int main(int argc, char **argv)
{
	static const char *const name[] = { [PIM_HOST] = "HOST", [PIM_PIM] = "PIM" };
	struct pim_device *dev;
	double null;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_submit DEVICE\n");
		return 2;
	}
	bench_check(pim_device_open(argv[1], &dev));
	printf("%s, %s: %d empty jobs per figure\n", argv[1], pim_device_info(dev)->name, SAMPLES);
	null = bench_null_ioctl(argv[1]);
	if (null)
		bench_line("null ioctl (GET_PARAM)", null / 1e3, "us", 1, "itself");
	else
		bench_none("null ioctl (GET_PARAM)", "no kernel in between");
	for (int e = 0; e < PIM_ENGINES; e++) {
		latency(dev, e, name[e], null);
		depths(dev, e, name[e]);
		clients(argv[1], dev, e, name[e]);
	}
	pim_device_close(dev);
	return 0;
}
