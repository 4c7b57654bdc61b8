// SPDX-License-Identifier: MIT
/*
 * bench_authority DEVICE: what it costs to hand a domain over, from request to grant, with pages of it mapped or not, and to get the pages back
 * afterwards. The model in this process takes no pages away: what it has none of is printed as n/a.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "bench.h"

#define SAMPLES 400
#define PAGE 4096u
#define MANY 1000u
#define TURNS 500

static bool kernel; /* a driver stands between us and the card */

static void touch(volatile char *p, uint32_t pages)
{
	for (uint32_t i = 0; i < pages; i++)
		p[(size_t)i * PAGE]++;
}

static double anonymous_fault(void)
{
	static uint64_t took[SAMPLES];

	for (int i = 0; i < SAMPLES; i++) {
		char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint64_t t = bench_now();

		if (p == MAP_FAILED)
			exit(1);
		touch(p, 1);
		took[i] = bench_now() - t;
		munmap(p, PAGE);
	}
	return bench_percentile(took, SAMPLES, 50);
}

/* -- hand-over -------------------------------------------------------------------------------------------------------- */

struct cost {
	double grant, back, first, all; /* ns, medians */
};

/* Rounds of: map "pages" by touching them, PIM takes the domain, gives it back. */
static struct cost round_trips(struct pim_device *dev, uint32_t size, uint32_t pages)
{
	static uint64_t grant[SAMPLES], back[SAMPLES], first[SAMPLES], all[SAMPLES];
	struct pim_buffer *buf;
	uint64_t t[5];
	void *p;

	bench_check(pim_buffer_create(dev, (uint64_t)size * PAGE, PIM_PLACE_MEMORY, 0, &buf));
	bench_check(pim_buffer_map(buf, &p));
	for (int i = 0; i < SAMPLES; i++) {
		t[0] = bench_now();
		touch(p, pages ? 1 : 0);
		t[1] = bench_now();
		touch(p, pages);
		t[2] = bench_now();
		bench_check(pim_acquire(dev, 1, PIM_OWNER_PIM, 60000));
		t[3] = bench_now();
		bench_check(pim_release(dev, 1));
		t[4] = bench_now();
		first[i] = t[1] - t[0];
		all[i] = t[2] - t[0];
		grant[i] = t[3] - t[2];
		back[i] = t[4] - t[3];
	}
	pim_buffer_destroy(buf);
	return (struct cost){ bench_percentile(grant, SAMPLES, 50), bench_percentile(back, SAMPLES, 50), bench_percentile(first, SAMPLES, 50),
			      bench_percentile(all, SAMPLES, 50) };
}

static void hand_over(struct pim_device *dev, double null)
{
	const struct cost none = round_trips(dev, MANY, 0), one = round_trips(dev, 1, 1), many = round_trips(dev, MANY, MANY);
	const char *const of = null ? "null ioctl" : "itself";
	double anon = anonymous_fault();

	bench_line("hand-over to PIM, 0 pages mapped", none.grant / 1e3, "us", null ? none.grant / null : 1, of);
	bench_line("hand-over back to HOST", none.back / 1e3, "us", null ? none.back / null : none.back / none.grant,
		   null ? of : "hand-over to PIM");
	if (!kernel) {
		bench_none("hand-over to PIM, 1 page mapped", "no mappings are taken away");
		bench_none("hand-over to PIM, 1000 pages mapped", "no mappings are taken away");
		bench_none("fault-in", "no mappings are taken away");
		return;
	}
	bench_line("hand-over to PIM, 1 page mapped", one.grant / 1e3, "us", one.grant / none.grant, "0 pages");
	bench_line("hand-over to PIM, 1000 pages mapped", many.grant / 1e3, "us", many.grant / none.grant, "0 pages");
	bench_line("anonymous memory, first touch of a page", anon / 1e3, "us", 1, "itself");
	bench_line("fault-in, first touch, a buffer of 1 page", one.first / 1e3, "us", one.first / anon, "anonymous");
	bench_line("fault-in, first touch, neighbours come along", many.first / 1e3, "us", many.first / anon, "anonymous");
	bench_line("fault-in, per page, 1000 pages in order", many.all / MANY / 1e3, "us", many.all / MANY / anon, "anonymous");
}

/* -- from client to client -------------------------------------------------------------------------------------------- */

static volatile uint64_t released;

struct player {
	struct pim_device *dev;
	uint64_t took[TURNS];
};

static void *play(void *arg)
{
	struct player *p = arg;

	for (int i = 0; i < TURNS; i++) {
		uint64_t asked = bench_now(), from, got;

		bench_check(pim_acquire(p->dev, 1, PIM_OWNER_PIM, 60000));
		got = bench_now();
		from = __atomic_load_n(&released, __ATOMIC_ACQUIRE);
		/* Asked before the other gave it back: it came from him. */
		p->took[i] = from > asked && got > from ? got - from : 0;
		while (bench_now() < got + 100000) /* let the other ask */
			;
		__atomic_store_n(&released, bench_now(), __ATOMIC_RELEASE);
		bench_check(pim_release(p->dev, 1));
	}
	return NULL;
}

static void turns(const char *spec, double grant)
{
	static struct player p[2];
	static uint64_t took[2 * TURNS];
	pthread_t thread[2];
	size_t n = 0;
	double mid;

	if (!kernel) {
		bench_none("hand-over from one client to another", "the model has one client");
		return;
	}
	for (int i = 0; i < 2; i++)
		bench_check(pim_device_open(spec, &p[i].dev));
	for (int i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, play, &p[i]))
			exit(1);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < TURNS; k++)
			if (p[i].took[k])
				took[n++] = p[i].took[k];
		pim_device_close(p[i].dev);
	}
	if (!n) {
		fprintf(stderr, "bench_authority: no client ever had to wait\n");
		exit(1);
	}
	mid = bench_percentile(took, n, 50);
	bench_line("hand-over from one client to another, release to grant", mid / 1e3, "us", mid / grant, "null ioctl");
}

int main(int argc, char **argv)
{
	struct pim_device *dev;
	double null;

	if (argc != 2) {
		fprintf(stderr, "usage: bench_authority DEVICE\n");
		return 2;
	}
	bench_check(pim_device_open(argv[1], &dev));
	printf("%s, %s: medians of %d\n", argv[1], pim_device_info(dev)->name, SAMPLES);
	null = bench_null_ioctl(argv[1]);
	kernel = null > 0;
	hand_over(dev, null);
	turns(argv[1], null);
	pim_device_close(dev);
	return 0;
}
