/* SPDX-License-Identifier: MIT */
/*
 * Races: threads and processes that do everything at once for some seconds. Every call must end with a result that its operation may have;
 * afterwards the card is as it was. The order is drawn from a seed, which is printed; PIM_SEED=N draws it again.
 */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RACE_MS 4000u
#define THREADS 6
#define PROCESSES 5
#define SLOTS 8
#define SIZE 65536u
#define PIM DRM_PIM_OWNER_PIM

/* What the threads share: the last number seen in each place, valid or not any more. */
struct arena {
	int fd;
	uint32_t domains;
	uint32_t bo[SLOTS], queue[SLOTS], sync[SLOTS];
	volatile bool stop;
	volatile uint64_t calls, good;
};

struct racer {
	struct arena *arena;
	uint64_t random;
	pthread_t thread;
};

static uint64_t seed(void)
{
	const char *env = getenv("PIM_SEED");
	uint64_t s = env ? strtoull(env, NULL, 0) : in_ms(0) ^ (uint64_t)getpid() << 48;

	s |= 1;
	printf("# PIM_SEED=%#llx\n", (unsigned long long)s);
	return s;
}

static uint32_t draw(struct racer *r, uint32_t below)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return (uint32_t)((r->random >> 20) % below);
}

/* A place's number, and sometimes one that nobody has. */
static uint32_t pick(struct racer *r, const uint32_t place[SLOTS])
{
	return draw(r, 50) ? __atomic_load_n(&place[draw(r, SLOTS)], __ATOMIC_RELAXED) : 0xfffff;
}

static uint32_t swap(struct racer *r, uint32_t place[SLOTS], uint32_t value)
{
	return __atomic_exchange_n(&place[draw(r, SLOTS)], value, __ATOMIC_RELAXED);
}

/* -- operations ---------------------------------------------------------------------------------------------------------- */

static int new_bo(struct racer *r)
{
	uint32_t h, flags = (const uint32_t[]){ 0, 0, DRM_PIM_GEM_WINDOW, DRM_PIM_GEM_SIGBUS }[draw(r, 4)];
	int ret = gem_create(r->arena->fd, SIZE, flags, flags & DRM_PIM_GEM_WINDOW ? 0 : draw(r, r->arena->domains), &h);

	if (!ret)
		gem_close(r->arena->fd, swap(r, r->arena->bo, h));
	return ret;
}

static int close_bo(struct racer *r)
{
	return gem_close(r->arena->fd, pick(r, r->arena->bo));
}

static int new_queue(struct racer *r)
{
	struct drm_pim_queue_create c = { 0 };
	int ret = pim_ioctl(r->arena->fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c);

	if (!ret)
		queue_destroy(r->arena->fd, swap(r, r->arena->queue, c.queue));
	return ret;
}

static int end_queue(struct racer *r)
{
	return queue_destroy(r->arena->fd, pick(r, r->arena->queue));
}

static int ask_queue(struct racer *r)
{
	struct drm_pim_queue_query q = { .queue = pick(r, r->arena->queue) };
	int ret = pim_ioctl(r->arena->fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q);

	if (!ret)
		CHECK(q.completed[0] <= q.submitted[0] && q.completed[1] <= q.submitted[1]);
	return ret;
}

static int new_sync(struct racer *r)
{
	struct drm_syncobj_destroy d = { .handle = swap(r, r->arena->sync, syncobj_new(r->arena->fd)) };

	return pim_ioctl(r->arena->fd, DRM_IOCTL_SYNCOBJ_DESTROY, &d);
}

static int wait_sync(struct racer *r)
{
	uint32_t h = pick(r, r->arena->sync);

	return syncobj_wait(r->arena->fd, h, 0, draw(r, 4));
}

static int submit_jobs(struct racer *r)
{
	struct drm_pim_binding b[8][2];
	struct pim_hw_copy payload[8];
	struct drm_pim_job jobs[8];
	uint32_t n = 1 + draw(r, 8), i;

	for (i = 0; i < n; i++) {
		b[i][0] = (struct drm_pim_binding){ .handle = pick(r, r->arena->bo), .access = DRM_PIM_ACCESS_READ, .bytes = SIZE };
		b[i][1] = (struct drm_pim_binding){ .handle = pick(r, r->arena->bo), .access = 3, .bytes = SIZE };
		switch (draw(r, 4)) {
		case 0:
			jobs[i] = job_nop(draw(r, 2));
			break;
		case 1:
			jobs[i] = job_on(draw(r, 2), b[i]);
			break;
		case 2:
			jobs[i] = job_fill(&b[i][1], &payload[i], (uint32_t)r->random);
			break;
		default:
			jobs[i] = job_copy(b[i], &payload[i]);
		}
	}
	return submit(r->arena->fd, pick(r, r->arena->queue), jobs, n, draw(r, 4) ? 0 : pick(r, r->arena->sync),
		      draw(r, 2) ? 0 : pick(r, r->arena->sync), NULL);
}

static uint32_t draw_mask(struct racer *r)
{
	return 1 + draw(r, (1u << r->arena->domains) - 1);
}

static int claim(struct racer *r)
{
	uint32_t mask = draw_mask(r), owner = draw(r, 3);

	return draw(r, 2) ? acquire(r->arena->fd, mask, owner, draw(r, 20)) : acquire_now(r->arena->fd, mask, owner);
}

static int unclaim(struct racer *r)
{
	return release(r->arena->fd, draw_mask(r));
}

static int ask_domain(struct racer *r)
{
	return authority(r->arena->fd, draw(r, r->arena->domains)).owner > DRM_PIM_OWNER_AUTO ? -ERANGE : 0;
}

static uint8_t *map_some(struct racer *r, uint32_t handle)
{
	uint64_t offset;
	void *p;

	if (gem_offset(r->arena->fd, handle, &offset))
		return NULL;
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->arena->fd, (off_t)offset);
	return p == MAP_FAILED ? NULL : p;
}

/* A touch may sleep until a domain is given back; the umpire sees to that. Through a pipe, so that a SIGBUS buffer gives an error. */
static int touch(struct racer *r)
{
	uint8_t *p = map_some(r, pick(r, r->arena->bo));
	int io[2], ret = 0;

	if (!p)
		return -ENOENT;
	CHECK_OK(pipe(io));
	if (write(io[1], p + draw(r, SIZE), 1) != 1 || read(io[0], p + draw(r, SIZE), 1) != 1)
		ret = -errno;
	close(io[0]);
	close(io[1]);
	CHECK_OK(munmap(p, SIZE));
	return ret;
}

/* The child has the mapping and the file, touches it and goes, or is killed while it waits. */
static int fork_and_touch(struct racer *r)
{
	uint8_t *p = map_some(r, pick(r, r->arena->bo));
	volatile uint8_t *at = p;
	int parent = getpid(), pid, status;

	if (!p)
		return -ENOENT;
	pid = fork();
	if (!pid) {
		/* It must not wait for a domain that a file of its own has: no orphans, no files but that of the mapping. */
		CHECK_OK(prctl(PR_SET_PDEATHSIG, SIGKILL));
		if (getppid() != parent)
			_exit(0);
		close_range(3, ~0u, 0);
		at[draw(r, SIZE)]++;
		_exit(0);
	}
	CHECK(pid > 0);
	if (draw(r, 2))
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		CHECK_EQ(errno, EINTR);
	CHECK_OK(munmap(p, SIZE));
	CHECK((WIFEXITED(status) && !WEXITSTATUS(status)) || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGBUS)));
	return 0;
}

static int open_close(struct racer *r)
{
	struct racer own = *r;
	struct arena arena = { .fd = dev_open(), .domains = r->arena->domains };

	own.arena = &arena;
	new_bo(&own);
	new_queue(&own);
	acquire_now(arena.fd, draw_mask(r), draw(r, 3));
	submit_jobs(&own);
	return close(arena.fd) ? -errno : 0;
}

/* Each operation, how often it is drawn, and what it may say besides 0. */
static const struct op {
	const char *name;
	int (*run)(struct racer *r);
	uint32_t weight;
	int may[8];
} ops[] = {
	{ "create a buffer", new_bo, 10, { -ENOSPC, -EINTR } },
	{ "close a buffer", close_bo, 4, { -EINVAL } },
	{ "create a queue", new_queue, 8, { -ENOSPC } },
	{ "destroy a queue", end_queue, 2, { -ENOENT } },
	{ "query a queue", ask_queue, 4, { -ENOENT } },
	{ "create a syncobj", new_sync, 3, { -EINVAL } },
	{ "wait for a syncobj", wait_sync, 6, { -ENOENT, -EINVAL, -ETIME } },
	{ "submit", submit_jobs, 30, { -ENOENT, -EINVAL, -EACCES, -EIO, -EINTR } },
	{ "acquire", claim, 12, { -EBUSY, -ETIME, -EDEADLK, -EINTR, -ENOENT } },
	{ "release", unclaim, 10, { -ENOENT, -EINTR } },
	{ "query a domain", ask_domain, 4, { 0 } },
	{ "touch", touch, 10, { -ENOENT, -EFAULT } },
	{ "fork and touch", fork_and_touch, 1, { -ENOENT } },
	{ "open and close", open_close, 2, { 0 } },
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static const struct op *draw_op(struct racer *r)
{
	uint32_t all = 0, i, at;

	for (i = 0; i < OPS; i++)
		all += ops[i].weight;
	at = draw(r, all);
	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	return &ops[i];
}

static void *race(void *arg)
{
	struct racer *r = arg;
	const struct op *op;
	uint32_t i;
	int ret;

	while (!r->arena->stop) {
		op = draw_op(r);
		ret = op->run(r);
		for (i = 0; ret && i < 8 && op->may[i] != ret; i++)
			;
		if (ret && i == 8)
			fail(__FILE__, __LINE__, "%s: %d (%s)", op->name, ret, strerror(-ret));
		__atomic_add_fetch(&r->arena->calls, 1, __ATOMIC_RELAXED);
		__atomic_add_fetch(&r->arena->good, !ret, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Gives back what anybody left claimed, so that whoever waits for memory gets on. */
static void umpire(struct arena *a, const struct racer *r, uint32_t threads, unsigned int ms)
{
	uint64_t end = now_ms() + ms;
	uint32_t d, i;

	while (now_ms() < end) {
		sleep_ms(10);
		for (d = 0; d < a->domains; d++)
			release(a->fd, 1u << d);
	}
	a->stop = true;
	for (i = 0; i < threads; i++) {
		while (pthread_tryjoin_np(r[i].thread, NULL) == EBUSY) {
			sleep_ms(1);
			for (d = 0; d < a->domains; d++)
				release(a->fd, 1u << d);
		}
	}
}

static void arena_init(struct arena *a)
{
	memset(a, 0, sizeof(*a));
	a->fd = dev_open();
	a->domains = (uint32_t)param(a->fd, DRM_PIM_PARAM_DOMAINS);
	a->domains = a->domains > 8 ? 8 : a->domains;
}

/* Nothing is claimed, nothing is missing, everything works. */
static void as_before(void)
{
	int fd = dev_open();
	uint32_t n = (uint32_t)param(fd, DRM_PIM_PARAM_DOMAINS), d, q = queue_new(fd), done = syncobj_new(fd);
	uint64_t bytes = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES), end = now_ms() + 20000;
	struct drm_pim_binding b = { .access = 3, .bytes = SIZE };
	struct pim_hw_copy payload;
	struct drm_pim_job jobs[2];
	int ret;

	for (d = 0; d < n; d++) {
		while ((ret = gem_create(fd, bytes, 0, d, &b.handle)) == -ENOSPC && now_ms() < end)
			sleep_ms(10); /* jobs of the dead hold their buffers a little longer */
		CHECK_OK(ret);
		CHECK_EQ(authority(fd, d).owner, DRM_PIM_OWNER_HOST);
		CHECK_OK(acquire(fd, 1u << d, DRM_PIM_OWNER_AUTO, 5000));
		jobs[0] = job_fill(&b, &payload, d);
		jobs[1] = job_on(DRM_PIM_ENGINE_PIM, &b);
		CHECK_OK(submit(fd, q, jobs, 2, 0, done, NULL));
		CHECK_OK(syncobj_wait(fd, done, 0, 10000));
		CHECK_EQ(syncobj_status(fd, done), 1);
		CHECK_OK(release(fd, 1u << d));
		CHECK_OK(gem_close(fd, b.handle));
	}
	CHECK_OK(gem_create(fd, param(fd, DRM_PIM_PARAM_WINDOW_BYTES) & ~(uint64_t)(SIZE - 1), DRM_PIM_GEM_WINDOW, 0, &b.handle));
	close(fd);
}

static void report(const struct arena *a)
{
	printf("# %llu operations, %llu of them did something\n", (unsigned long long)a->calls, (unsigned long long)a->good);
	CHECK(a->good > a->calls / 20);
}

static void one_file(void)
{
	static struct arena a;
	struct racer r[THREADS];
	uint64_t s = seed();
	uint32_t i;

	arena_init(&a);
	for (i = 0; i < THREADS; i++) {
		r[i] = (struct racer){ .arena = &a, .random = s * (2 * i + 1) };
		CHECK_OK(pthread_create(&r[i].thread, NULL, race, &r[i]));
	}
	umpire(&a, r, THREADS, RACE_MS);
	report(&a);
	close(a.fd);
	as_before();
}

static void own_files(void)
{
	static struct arena a[THREADS];
	struct racer r[THREADS];
	uint64_t s = seed(), end = now_ms() + RACE_MS;
	uint32_t i, d, left = THREADS;

	for (i = 0; i < THREADS; i++) {
		arena_init(&a[i]);
		r[i] = (struct racer){ .arena = &a[i], .random = s * (2 * i + 1) };
		CHECK_OK(pthread_create(&r[i].thread, NULL, race, &r[i]));
	}
	while (left) {
		sleep_ms(5);
		for (i = 0; i < THREADS; i++) {
			a[i].stop = now_ms() >= end;
			for (d = 0; d < a[i].domains; d++)
				release(a[i].fd, 1u << d);
			if (r[i].thread && !pthread_tryjoin_np(r[i].thread, NULL)) {
				r[i].thread = 0;
				left--;
			}
		}
	}
	for (i = 0; i < THREADS; i++) {
		report(&a[i]);
		close(a[i].fd);
	}
	as_before();
}

/* -- processes ----------------------------------------------------------------------------------------------------------- */

/* Two threads and an umpire, until killed. */
static void victim(void *arg)
{
	static struct arena a;
	struct racer r[2];
	uint32_t i;

	arena_init(&a);
	for (i = 0; i < 2; i++) {
		r[i] = (struct racer){ .arena = &a, .random = *(uint64_t *)arg * (2 * i + 1) };
		CHECK_OK(pthread_create(&r[i].thread, NULL, race, &r[i]));
	}
	umpire(&a, r, 2, 20000);
	_exit(0);
}

static void killed(void)
{
	uint64_t s = seed(), end = now_ms() + RACE_MS, each;
	struct racer r = { .random = s };
	int pid[PROCESSES], status, kills = 0;
	uint32_t i;

	for (i = 0; i < PROCESSES; i++) {
		each = s * (i + 2) | 1;
		pid[i] = child(victim, &each);
	}
	while (now_ms() < end) {
		sleep_ms(draw(&r, 60));
		i = draw(&r, PROCESSES);
		/* It can only have ended by itself if one of its checks failed. */
		CHECK_EQ(waitpid(pid[i], &status, WNOHANG), 0);
		CHECK_OK(kill(pid[i], SIGKILL));
		CHECK(child_ended(pid[i], 30000, &status));
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		kills++;
		each = r.random | 1;
		pid[i] = child(victim, &each);
	}
	for (i = 0; i < PROCESSES; i++) {
		CHECK_OK(kill(pid[i], SIGKILL));
		CHECK(child_ended(pid[i], 30000, &status));
	}
	printf("# %d processes killed\n", kills);
	as_before();
}

/* -- pairs that meet ----------------------------------------------------------------------------------------------------- */

struct pair {
	int fd;
	uint32_t handle;
	volatile uint32_t *p;
	volatile bool stop;
	volatile uint32_t rounds;
};

static void *hammer(void *arg)
{
	struct pair *m = arg;

	while (!m->stop) {
		m->p[1024]++;
		m->rounds++;
	}
	return NULL;
}

/* Faults of four threads against hand-overs: none is lost, each gets through in the end. */
static void faults_and_handovers(void)
{
	struct pair m[4] = { { .fd = dev_open() } };
	pthread_t thread[4];
	uint32_t i, before[4], n = 0;
	uint64_t end = now_ms() + RACE_MS / 2;

	m[0].handle = gem(m[0].fd, SIZE, 0, 0);
	for (i = 0; i < 4; i++) {
		m[i] = (struct pair){ .p = gem_map(m[0].fd, m[0].handle, SIZE), .fd = m[0].fd, .handle = m[0].handle };
		m[i].p += i;
	}
	for (i = 0; i < 4; i++)
		CHECK_OK(pthread_create(&thread[i], NULL, hammer, &m[i]));
	for (; now_ms() < end; n++) {
		CHECK_OK(acquire(m[0].fd, 1, n % 2 ? PIM : DRM_PIM_OWNER_AUTO, 5000));
		CHECK_OK(release(m[0].fd, 1));
	}
	for (i = 0; i < 4; i++)
		before[i] = m[i].rounds;
	for (i = 0, end = now_ms() + 10000; i < 4; i++) {
		while (m[i].rounds == before[i] && now_ms() < end)
			sleep_ms(1);
		CHECK(m[i].rounds != before[i]);
	}
	for (i = 0; i < 4; i++)
		m[i].stop = true;
	for (i = 0; i < 4; i++) {
		CHECK_OK(pthread_join(thread[i], NULL));
		CHECK_EQ(m[0].p[1024 + i], m[i].rounds);
	}
	printf("# %u hand-overs\n", n);
}

static void *close_loop(void *arg)
{
	struct pair *m = arg;

	while (!m->stop) {
		uint32_t h;
		int ret = gem_create(m->fd, SIZE, 0, 0, &h);

		if (ret == -ENOSPC) { /* jobs keep what they name until they are done */
			sleep_ms(1);
			continue;
		}
		CHECK_OK(ret);
		__atomic_store_n(&m->handle, h, __ATOMIC_RELEASE);
		CHECK_OK(gem_close(m->fd, h));
		m->rounds++;
	}
	return NULL;
}

static void close_and_submit(void)
{
	struct pair m = { .fd = dev_open() };
	uint32_t q = queue_new(m.fd), done = syncobj_new(m.fd), in = 0, out = 0;
	uint64_t end = now_ms() + RACE_MS / 2;
	struct drm_pim_binding b = { .access = 3, .bytes = SIZE };
	struct pim_hw_copy payload;
	struct drm_pim_job job;
	pthread_t thread;
	int ret;

	CHECK_OK(pthread_create(&thread, NULL, close_loop, &m));
	while (now_ms() < end) {
		b.handle = __atomic_load_n(&m.handle, __ATOMIC_ACQUIRE);
		job = job_fill(&b, &payload, 7);
		ret = submit(m.fd, q, &job, 1, 0, done, NULL);
		CHECK(!ret || ret == -ENOENT);
		in += !ret;
		out += !!ret;
	}
	m.stop = true;
	CHECK_OK(pthread_join(thread, NULL));
	if (in) {
		CHECK_OK(syncobj_wait(m.fd, done, 0, 10000));
		CHECK_EQ(syncobj_status(m.fd, done), 1);
	}
	CHECK_EQ(queue_query(m.fd, q).status, 0);
	printf("# %u submits were in time, %u too late\n", in, out);
}

static void *queue_loop(void *arg)
{
	struct pair *m = arg;

	while (!m->stop) {
		uint32_t q = queue_new(m->fd);

		__atomic_store_n(&m->handle, q, __ATOMIC_RELEASE);
		if (m->rounds++ % 2)
			sleep_ms(1);
		CHECK_OK(queue_destroy(m->fd, q));
	}
	return NULL;
}

/* Every job that was taken ends, run or cancelled. */
static void destroy_and_submit(void)
{
	struct pair m = { .fd = dev_open() };
	uint32_t done = syncobj_new(m.fd), in = 0, out = 0, i;
	uint64_t end = now_ms() + RACE_MS / 2;
	struct drm_pim_job jobs[16];
	pthread_t thread;
	int ret, status;

	for (i = 0; i < 16; i++)
		jobs[i] = job_nop(i % 2);
	CHECK_OK(pthread_create(&thread, NULL, queue_loop, &m));
	while (now_ms() < end) {
		ret = submit(m.fd, __atomic_load_n(&m.handle, __ATOMIC_ACQUIRE), jobs, 16, 0, done, NULL);
		CHECK(!ret || ret == -ENOENT || ret == -EIO || ret == -ENOSPC);
		in += !ret;
		out += !!ret;
		if (ret)
			continue;
		CHECK_OK(syncobj_wait(m.fd, done, 0, 10000));
		status = syncobj_status(m.fd, done);
		CHECK(status == 1 || status == -ECANCELED);
	}
	m.stop = true;
	CHECK_OK(pthread_join(thread, NULL));
	printf("# %u submits were in time, %u too late\n", in, out);
}

const struct test race_tests[] = {
	{ "race: threads that do everything at once on one file", one_file },
	{ "race: threads that do everything at once on files of their own", own_files },
	{ "race: processes that do everything at once and are killed at any moment", killed },
	{ "race: page faults against hand-overs lose no store", faults_and_handovers },
	{ "race: closing buffers while submitting", close_and_submit },
	{ "race: destroying queues while submitting", destroy_and_submit },
	TEST_END
};
