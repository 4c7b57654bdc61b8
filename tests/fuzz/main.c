// SPDX-License-Identifier: MIT
/*
 * pim-fuzz: threads that make calls, one that watches: a call that takes too long is ended with a signal, then by releasing every claim;
 * one that does not end even then is a bug. So is anything tests/kernel-trouble names in the kernel's log, a call that never succeeded in
 * the whole run, and memory or references that are left at the end. TAP on standard output; the seed comes first.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <drm/pim_drm.h>

#include "fuzz.h"
#include "kmsg.h"

#define MS 1000000ull
#define MAX_THREADS 32
#define POKE_MS 100 /* a call may take that long, then it gets a signal every tick */
#define RELEASE_MS 600 /* then all claims are released */
#define STUCK_MS 45000 /* then it is stuck */
#define JOB_TIMEOUT_MS 500

struct client clients[CLIENTS];
uint32_t domain_count;
uint64_t domain_bytes, window_bytes;
unsigned int time_scale = 1;
const char *node;

static char node_path[32];
static struct thread threads[MAX_THREADS];
static unsigned int thread_count = 4;
static uint64_t seed, call_limit = 200000;
static _Atomic uint64_t calls_made;
static _Atomic bool stop;
static __thread struct thread *self;
static char command[128]; /* to run this again */

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int pim_call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static void on_signal(int sig)
{
	if (self && self->may_jump) {
		self->may_jump = 0;
		siglongjmp(self->jump, sig);
	}
	if (sig == SIGUSR1)
		return; /* ends a system call */
	signal(sig, SIG_DFL); /* a bug of ours */
	raise(sig);
}

/* -- one call ------------------------------------------------------------------------------------------------------- */

static const struct op *pick_op(uint64_t *rng)
{
	static unsigned int total;
	unsigned int i, w;

	if (!total)
		for (i = 0; i < op_count; i++)
			total += ops[i].weight;
	w = (unsigned int)rnd_below(rng, total);
	for (i = 0; w >= ops[i].weight; i++)
		w -= ops[i].weight;
	return &ops[i];
}

static bool destroys(const struct op *op)
{
	const struct field *f;

	for (f = op->arg ? op->arg->fields : NULL; f && f->name; f++)
		if (f->kind == K_DEL)
			return true;
	return false;
}

/* Would the call name an object of which there is none? */
static bool pointless(const struct op *op, const struct client *c)
{
	const struct field *f;

	for (f = op->arg ? op->arg->fields : NULL; f && f->name; f++)
		if ((f->kind == K_HANDLE || f->kind == K_DEL) && !*(const volatile unsigned int *)&c->count[f->a])
			return true;
	return false;
}

void step(struct thread *t)
{
	struct client *c = &clients[rnd_below(&t->rng, CLIENTS)];
	const struct op *op = pick_op(&t->rng);
	struct history *h = &t->history[t->calls++ % HISTORY];
	uint8_t arg[256] __attribute__((aligned(8))) = { 0 };
	struct gen *g = &t->gen;
	uint64_t begin = now_ns();
	unsigned long request;
	int ret;

	while (pointless(op, c) && chance(&t->rng, 90))
		op = pick_op(&t->rng);
	if (t->number == UINT32_MAX && destroys(op))
		c = &clients[0]; /* a child leaves its parent's objects alone, else the parent is soon left with stale handles */
	request = op->request;
	h->op = op;
	h->client = (unsigned int)(c - clients);
	h->mode = VALID;
	h->size = 0;
	h->ret = 1; /* under way */
	atomic_store(&t->poke, begin + POKE_MS * MS * time_scale);
	atomic_store(&t->since, begin);
	if (op->call) {
		ret = op->call(t, c);
	} else {
		g->client = c;
		g->nslots = 0;
		g->used = 0;
		memset(g->last, 0, sizeof(g->last));
		gen_fill(g, op->arg, arg);
		if (chance(&t->rng, 25)) {
			h->mode = SPOILED;
			gen_spoil(g);
		} else if (chance(&t->rng, 3)) {
			h->mode = NOISE;
			gen_noise(g, op->arg, arg);
		}
		/* Structures grow at their end: the kernel must take longer and shorter ones. */
		if (chance(&t->rng, 2))
			request = (request & ~((unsigned long)_IOC_SIZEMASK << _IOC_SIZESHIFT)) | rnd_below(&t->rng, sizeof(arg)) << _IOC_SIZESHIFT;
		h->size = (unsigned int)(op->arg->size < sizeof(h->arg) ? op->arg->size : sizeof(h->arg));
		memcpy(h->arg, arg, h->size);
		ret = pim_call(c->fd, request, arg);
		gen_settle(g, op->arg, arg, ret);
		if (op->done)
			op->done(t, c, arg, ret);
	}
	h->ret = ret;
	atomic_store(&t->since, 0);
	t->results[op - ops][ret < 0 && -ret < ERRNOS ? -ret : ret < 0 ? ERRNOS - 1 : 0]++;
}

static void *run(void *arg)
{
	struct thread *t = arg;

	self = t;
	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop) && atomic_fetch_add(&calls_made, 1) < call_limit)
		step(t);
	atomic_store(&t->tid, 0);
	return NULL;
}

/* -- watching ------------------------------------------------------------------------------------------------------- */

static void print_history(void)
{
	static const char *const modes[] = { "valid", "spoiled", "noise" };
	unsigned int i, n, b;

	for (i = 0; i < thread_count; i++) {
		struct thread *t = &threads[i];

		printf("# last calls of thread %u:\n", i);
		for (n = t->calls > HISTORY ? t->calls - HISTORY : 0; n < t->calls; n++) {
			struct history *h = &t->history[n % HISTORY];

			printf("#   %-24s client %u %-7s ", h->op->name, h->client, modes[h->mode]);
			if (h->ret > 0)
				printf("under way ");
			else
				printf("%-9s ", h->ret ? strerrorname_np(-h->ret) : "ok");
			for (b = 0; b < h->size; b += 4)
				printf(" %x", *(uint32_t *)(void *)&h->arg[b]);
			printf("\n");
		}
	}
}

static void trouble(const char *what)
{
	printf("not ok - %s\n# to run it again: %s\n", what, command);
	print_history();
	fflush(stdout);
}

static void print_file(const char *path)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	char *line, *save;

	if (n < 0)
		printf("#   %s: %s\n", path, strerror(errno));
	if (n > 0) {
		buf[n] = '\0';
		for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			printf("#   %s\n", line);
	}
	if (fd >= 0)
		close(fd);
}

static void stuck(const struct thread *t)
{
	unsigned int i;
	char path[64];
	int fd;

	trouble("every call ends");
	printf("# thread %u is stuck\n", t->number);
	for (i = 0; i < thread_count; i++) {
		printf("# stack of thread %u:\n", i);
		snprintf(path, sizeof(path), "/proc/self/task/%d/stack", atomic_load(&threads[i].tid));
		print_file(path);
	}
	fflush(stdout);
	/* Into the kernel's log: whatever else does not move. */
	fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "w", 1) < 0)
		perror("pim-fuzz: sysrq");
	_exit(1);
}

/* In a thread of its own: a release can wait, too. */
static void *release_all(void *arg)
{
	struct drm_pim_authority a;
	unsigned int i, d;
	struct thread *t = arg;

	self = t;
	atomic_store(&t->tid, (int)syscall(SYS_gettid));
	for (i = 0; i < CLIENTS; i++) {
		for (d = 0; d < domain_count; d++) {
			a = (struct drm_pim_authority){ .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1u << d };
			pim_call(clients[i].fd, DRM_IOCTL_PIM_AUTHORITY, &a);
		}
	}
	ops_unmap_all();
	atomic_store(&t->since, 0);
	return NULL;
}

static void watch_threads(unsigned int *releases)
{
	static struct thread releaser;
	uint64_t now = now_ns(), since, oldest = now;
	unsigned int i;

	for (i = 0; i < thread_count; i++) {
		struct thread *t = &threads[i];

		since = atomic_load(&t->since);
		if (!since)
			continue;
		if (now > atomic_load(&t->poke))
			pthread_kill(t->id, SIGUSR1);
		if (since < oldest && atomic_load(&t->poke) != UINT64_MAX)
			oldest = since;
		if (now > since + STUCK_MS * MS * time_scale)
			stuck(t);
	}
	since = atomic_load(&releaser.since);
	if (since) {
		if (now > since + POKE_MS * MS * time_scale)
			pthread_kill(releaser.id, SIGUSR1);
	} else if (now > oldest + RELEASE_MS * MS * time_scale) {
		if (releaser.id)
			pthread_join(releaser.id, NULL);
		releaser.id = 0;
		atomic_store(&releaser.since, now);
		if (pthread_create(&releaser.id, NULL, release_all, &releaser))
			atomic_store(&releaser.since, 0);
		++*releases;
	}
}

static bool running(void)
{
	unsigned int i;

	for (i = 0; i < thread_count; i++)
		if (atomic_load(&threads[i].tid))
			return true;
	return false;
}

/* -- the run -------------------------------------------------------------------------------------------------------- */

static uint64_t param(int fd, uint32_t which)
{
	struct drm_pim_get_param p = { .param = which };
	int ret = pim_call(fd, DRM_IOCTL_PIM_GET_PARAM, &p);

	if (ret) {
		fprintf(stderr, "pim-fuzz: %s: parameter %u: %s\n", node, which, strerror(-ret));
		exit(1);
	}
	return p.value;
}

static int find_node(void)
{
	char name[8];
	int i, fd;

	for (i = 128; i < 192; i++) {
		struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

		memset(name, 0, sizeof(name));
		snprintf(node_path, sizeof(node_path), "/dev/dri/renderD%d", i);
		fd = open(node_path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!pim_call(fd, DRM_IOCTL_VERSION, &v) && !strcmp(name, "pim")) {
			node = node_path;
			return fd;
		}
		close(fd);
	}
	fprintf(stderr, "pim-fuzz: no render node of pim.ko: is the module loaded, and is there a card?\n");
	exit(1);
}

static void module_param(const char *name, unsigned int value)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/module/pim/parameters/%s", name);
	f = fopen(path, "w");
	if (!f || fprintf(f, "%u\n", value) < 0 || fclose(f))
		fprintf(stderr, "pim-fuzz: %s: %s\n", path, strerror(errno));
}

static void handlers(void)
{
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGBUS };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };
	size_t i;

	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &act, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int open_clients(void)
{
	int fd = find_node(), i;

	domain_count = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS);
	domain_bytes = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	window_bytes = param(fd, DRM_PIM_PARAM_WINDOW_BYTES);
	close(fd);
	for (i = 0; i < CLIENTS; i++) {
		pthread_mutex_init(&clients[i].lock, NULL);
		clients[i].fd = open(node, O_RDWR | O_CLOEXEC);
		if (clients[i].fd < 0) {
			fprintf(stderr, "pim-fuzz: %s: %s\n", node, strerror(errno));
			return 1;
		}
	}
	return 0;
}

static void start_threads(void)
{
	unsigned int i;

	for (i = 0; i < thread_count; i++) {
		struct thread *t = &threads[i];

		t->number = i;
		t->rng = seed + i * 0x1000003ull;
		t->gen.rng = &t->rng;
		t->gen.arena = malloc(ARENA);
		t->results = calloc(op_count, sizeof(*t->results));
		atomic_store(&t->tid, 1);
		if (!t->gen.arena || !t->results || pthread_create(&t->id, NULL, run, t)) {
			fprintf(stderr, "pim-fuzz: cannot start a thread\n");
			exit(1);
		}
	}
}

/* Per call: how often it succeeded, and its errors. False if one never succeeded. */
static bool summary(void)
{
	unsigned int i, e, n;
	bool good = true;

	for (i = 0; i < op_count; i++) {
		uint64_t sum[ERRNOS] = { 0 }, total = 0;

		for (n = 0; n < thread_count; n++)
			for (e = 0; e < ERRNOS; e++)
				sum[e] += threads[n].results[i][e];
		for (e = 0; e < ERRNOS; e++)
			total += sum[e];
		printf("# %-26s %7llu calls %7llu ok", ops[i].name, (unsigned long long)total, (unsigned long long)sum[0]);
		for (e = 1; e < ERRNOS; e++)
			if (sum[e])
				printf("  %s %llu", strerrorname_np((int)e), (unsigned long long)sum[e]);
		if (!sum[0] && !ops[i].may_fail && call_limit >= 20000) {
			printf("  NEVER SUCCEEDED");
			good = false;
		}
		printf("\n");
	}
	return good;
}

#define FD_LIMIT 1024 /* the usual one of a process */

static bool of_a_card(const char *name)
{
	static const char *const prefix[] = { "/dev/dri/", "/dmabuf", "anon_inode:sync_file", "anon_inode:syncobj_file" };
	unsigned int i;

	for (i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++)
		if (!strncmp(name, prefix[i], strlen(prefix[i])))
			return true;
	return false;
}

/*
 * Threads that close and unmap what another one has just got in the place of what they meant make the fuzzer lose sight of descriptors and
 * mappings. What it still has of a card is found where the kernel tells, and given up, so that what is then left is the driver's.
 */
static void give_up_strays(void)
{
	struct {
		unsigned long begin, end;
	} map[256];
	unsigned int fds = 0, maps = 0, i;
	char path[64], name[512];
	ssize_t n;
	FILE *f;
	int fd;

	for (fd = 3; fd < FD_LIMIT; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, name, sizeof(name) - 1);
		if (n < 0)
			continue;
		name[n] = 0;
		if (of_a_card(name) && !close(fd))
			fds++;
	}
	f = fopen("/proc/self/maps", "r");
	if (!f)
		return;
	while (maps < 256 && fgets(name, sizeof(name), f)) {
		const char *file = strchr(name, '/');

		if (file && of_a_card(file) && sscanf(name, "%lx-%lx", &map[maps].begin, &map[maps].end) == 2)
			maps++;
	}
	fclose(f);
	for (i = 0; i < maps; i++)
		munmap((void *)map[i].begin, map[i].end - map[i].begin);
	if (fds || maps)
		printf("# %u descriptors and %u mappings had been lost sight of\n", fds, maps);
}

/* Everything is closed: the module is free, all memory is free. */
static bool clean(void)
{
	uint64_t end = now_ns() + 30000 * MS * time_scale;
	int refs = -1, fd, ret = 0;
	struct timespec tick = { .tv_nsec = 10 * MS };
	uint32_t d;
	FILE *f;

	do {
		nanosleep(&tick, NULL);
		f = fopen("/sys/module/pim/refcnt", "r");
		if (!f)
			break;
		if (fscanf(f, "%d", &refs) != 1)
			refs = -1;
		fclose(f);
	} while (refs > 0 && now_ns() < end);
	if (refs > 0)
		printf("# the module has %d references left\n", refs);
	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		printf("# %s: %s\n", node, strerror(errno));
		return false;
	}
	for (d = 0; d <= domain_count; d++) {
		bool window = d == domain_count;
		struct drm_pim_gem_create c = { .size = window ? window_bytes : domain_bytes, .domains = window ? 0 : 1u << d,
						.flags = window ? DRM_PIM_GEM_WINDOW : 0 };
		int one = pim_call(fd, DRM_IOCTL_PIM_GEM_CREATE, &c);

		if (one)
			printf("# all of %s %u: %s\n", window ? "window" : "domain", window ? 0 : d, strerror(-one));
		ret |= one;
	}
	close(fd);
	return refs <= 0 && !ret;
}

static bool fuzz(void)
{
	struct timespec tick = { .tv_nsec = 5 * MS };
	uint64_t begin = now_ns(), said = begin, took, made;
	unsigned int releases = 0, i;
	int kmsg = kmsg_open(), bad = 0;
	bool good = true;

	if (kmsg < 0) {
		fprintf(stderr, "pim-fuzz: /dev/kmsg: %s: run as root\n", strerror(errno));
		return false;
	}
	module_param("job_timeout_ms", JOB_TIMEOUT_MS * time_scale);
	start_threads();
	while (running()) {
		nanosleep(&tick, NULL);
		watch_threads(&releases);
		if (!bad) {
			bad = kmsg_trouble(kmsg);
			if (bad)
				atomic_store(&stop, true);
		}
		if (now_ns() - said > 10000 * MS) {
			said = now_ns();
			printf("# %llu of %llu calls\n", (unsigned long long)atomic_load(&calls_made), (unsigned long long)call_limit);
			fflush(stdout);
		}
	}
	took = now_ns() - begin;
	for (i = 0; i < thread_count; i++)
		pthread_join(threads[i].id, NULL);
	for (i = 0; i < CLIENTS; i++) {
		pool_reset(&clients[i]);
		close(clients[i].fd);
	}
	ops_fini();
	give_up_strays();
	made = atomic_load(&calls_made) < call_limit ? atomic_load(&calls_made) : call_limit;
	printf("# %llu calls in %.1f s: %.0f per second; %u times all claims were released\n", (unsigned long long)made, (double)took / 1e9,
	       (double)made * 1e9 / (double)took, releases);
	if (!summary()) {
		printf("not ok - every call succeeded at least once\n");
		good = false;
	} else {
		printf("ok - every call succeeded at least once\n");
	}
	if (!clean()) {
		trouble("no reference and no memory of the card is left");
		good = false;
	} else {
		printf("ok - no reference and no memory of the card is left\n");
	}
	module_param("job_timeout_ms", 10000);
	bad += kmsg_trouble(kmsg);
	if (bad) {
		trouble("the kernel has nothing to complain about");
		good = false;
	} else {
		printf("ok - the kernel has nothing to complain about\n");
	}
	return good;
}

static void usage(void)
{
	fprintf(stderr, "usage: pim-fuzz [--seed S] [--calls N] [--threads T]\n");
	exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t v = strtoull(text, &end, 0);

	if (!*text || *end || v > max)
		usage();
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "calls", required_argument, NULL, 'c' },
		{ "threads", required_argument, NULL, 't' }, { NULL, 0, NULL, 0 },
	};
	const char *scale = getenv("PIM_TIME_SCALE");
	int c;

	if (getrandom(&seed, sizeof(seed), 0) < 0)
		seed = now_ns();
	seed &= 0xffffffff;
	while ((c = getopt_long(argc, argv, "s:c:t:", options, NULL)) != -1) {
		if (c == 's')
			seed = number(optarg, UINT64_MAX);
		else if (c == 'c')
			call_limit = number(optarg, UINT32_MAX);
		else if (c == 't')
			thread_count = (unsigned int)number(optarg, MAX_THREADS);
		else
			usage();
	}
	if (!thread_count || !call_limit || optind != argc)
		usage();
	if (scale && atoi(scale) > 0)
		time_scale = (unsigned int)atoi(scale);
	snprintf(command, sizeof(command), "pim-fuzz --seed %llu --calls %llu --threads %u", (unsigned long long)seed,
		 (unsigned long long)call_limit, thread_count);
	printf("TAP version 13\n# %s\n", command);
	fflush(stdout);
	handlers();
	ops_init();
	if (open_clients())
		return 1;
	return fuzz() ? 0 : 1;
}
