/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-buf.h>
#include <linux/sync_file.h>

#define EXIT_SKIP 77

void fail(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	va_list ap;

	printf("# %s:%d: ", base ? base + 1 : file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(EXIT_SKIP);
}

/* -- the device ----------------------------------------------------------------------------------------------------- */

int pim_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int is_function(const struct dirent *e)
{
	return strchr(e->d_name, ':') && strlen(e->d_name) < 32;
}

static int is_render(const struct dirent *e)
{
	return !strncmp(e->d_name, "renderD", 7) && strlen(e->d_name) < 16;
}

/* The n-th of the names in a directory that match. */
static int nth_name(const char *dir, int (*match)(const struct dirent *), int n, char name[32])
{
	struct dirent **list;
	int count = scandir(dir, &list, match, alphasort), i;

	if (n < count)
		strcpy(name, list[n]->d_name);
	for (i = 0; i < count; i++)
		free(list[i]);
	if (count >= 0)
		free(list);
	return n < count ? 0 : -ENODEV;
}

/* By the place in the PCI bus: node numbers change when a card comes back. */
static int dev_find_n(unsigned int n, char path[32])
{
	char name[32], dir[128];

	if (nth_name(DRIVER, is_function, (int)n, name))
		return -ENODEV;
	snprintf(dir, sizeof(dir), DRIVER "/%s/drm", name);
	if (nth_name(dir, is_render, 0, name))
		return -ENODEV;
	snprintf(path, 32, "/dev/dri/%.16s", name);
	return 0;
}

int dev_find(char path[32])
{
	return dev_find_n(0, path);
}

int dev_open(void)
{
	char path[32];
	int fd;

	if (dev_find(path))
		fail(__FILE__, __LINE__, "no render node of pim.ko: is the module loaded, and is there a card?");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return fd;
}

int dev_open_n(unsigned int n)
{
	char path[32];
	int fd;

	if (dev_find_n(n, path))
		skip("the guest has too few cards");
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

void dev_function(unsigned int n, char name[32])
{
	CHECK_OK(nth_name(DRIVER, is_function, (int)n, name));
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

void driver_file(const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), DRIVER "/%s", file);
	write_file(path, text);
}

uint64_t param(int fd, uint32_t which)
{
	struct drm_pim_get_param p = { .param = which };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, &p));
	return p.value;
}

int gem_create(int fd, uint64_t size, uint32_t flags, uint32_t domain, uint32_t *handle)
{
	struct drm_pim_gem_create c = { .size = size, .flags = flags, .domains = flags & DRM_PIM_GEM_WINDOW ? domain : 1u << domain };
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_GEM_CREATE, &c);

	*handle = c.handle;
	return ret;
}

uint32_t gem(int fd, uint64_t size, uint32_t flags, uint32_t domain)
{
	uint32_t handle;

	CHECK_OK(gem_create(fd, size, flags, domain, &handle));
	CHECK(handle);
	return handle;
}

int gem_close(int fd, uint32_t handle)
{
	struct drm_gem_close c = { .handle = handle };

	return pim_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &c);
}

int gem_offset(int fd, uint32_t handle, uint64_t *offset)
{
	struct drm_pim_gem_mmap m = { .handle = handle };
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_GEM_MMAP, &m);

	*offset = m.offset;
	return ret;
}

void *gem_map(int fd, uint32_t handle, uint64_t size)
{
	uint64_t offset;
	void *p;

	CHECK_OK(gem_offset(fd, handle, &offset));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	CHECK(p != MAP_FAILED);
	return p;
}

struct mapped mapped(uint32_t flags)
{
	struct mapped m = { .fd = dev_open() };

	m.handle = gem(m.fd, MAPPED_BYTES, flags, 0);
	m.p = gem_map(m.fd, m.handle, MAPPED_BYTES);
	m.p[0] = 1;
	return m;
}

void mapped_touch(void *mapped)
{
	struct mapped *m = mapped;

	CHECK_EQ(m->p[0], 1);
	m->p[1] = 2;
}

struct drm_pim_gem_info gem_info(int fd, uint32_t handle)
{
	struct drm_pim_gem_info i = { .handle = handle };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_GEM_INFO, &i));
	return i;
}

int gem_copy(int fd, uint32_t dst, uint64_t dst_off, uint32_t src, uint64_t src_off, uint64_t bytes, unsigned int ms)
{
	struct drm_pim_gem_copy c = {
		.dst = dst, .src = src, .dst_offset = dst_off, .src_offset = src_off, .bytes = bytes, .timeout_ns = in_ms(ms)
	};

	return pim_ioctl(fd, DRM_IOCTL_PIM_GEM_COPY, &c);
}

/* -- sharing -------------------------------------------------------------------------------------------------------- */

int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle p = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR, .fd = -1 };
	int ret = pim_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &p);

	return ret ? ret : p.fd;
}

int prime_import(int fd, int buf, uint32_t *handle)
{
	struct drm_prime_handle p = { .fd = buf };
	int ret = pim_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &p);

	*handle = p.handle;
	return ret;
}

uint32_t prime_share(int from, uint32_t handle, int to)
{
	int buf = prime_export(from, handle);
	uint32_t shared;

	CHECK(buf >= 0);
	CHECK_OK(prime_import(to, buf, &shared));
	close(buf);
	return shared;
}

void *buf_map(int buf, uint64_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

int buf_sync(int buf, uint64_t flags)
{
	struct dma_buf_sync s = { .flags = flags };

	return pim_ioctl(buf, DMA_BUF_IOCTL_SYNC, &s);
}

int buf_fence(int buf, uint32_t flags)
{
	struct dma_buf_export_sync_file e = { .flags = flags, .fd = -1 };

	CHECK_OK(pim_ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &e));
	return e.fd;
}

int buf_add_fence(int buf, int sync_file, uint32_t flags)
{
	struct dma_buf_import_sync_file i = { .flags = flags, .fd = sync_file };

	return pim_ioctl(buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &i);
}

bool fence_signalled(int sync_file, unsigned int ms)
{
	struct pollfd p = { .fd = sync_file, .events = POLLIN };

	return poll(&p, 1, (int)ms) == 1;
}

int syncobj_file(int fd, uint32_t handle)
{
	struct drm_syncobj_handle h = { .handle = handle, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE, .fd = -1 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &h));
	return h.fd;
}

/* -- queues and syncobjs -------------------------------------------------------------------------------------------- */

uint32_t queue_new(int fd)
{
	struct drm_pim_queue_create c = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c));
	CHECK(c.queue);
	return c.queue;
}

uint32_t queue_with(int fd, uint32_t priority, uint32_t timeout_ms)
{
	struct drm_pim_queue_create c = { .priority = priority, .timeout_ms = timeout_ms * time_scale() };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &c));
	return c.queue;
}

int queue_destroy(int fd, uint32_t queue)
{
	struct drm_pim_queue_destroy d = { .queue = queue };

	return pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_DESTROY, &d);
}

struct drm_pim_queue_query queue_query(int fd, uint32_t queue)
{
	struct drm_pim_queue_query q = { .queue = queue };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_QUEUE_QUERY, &q));
	return q;
}

uint32_t syncobj_new(int fd)
{
	struct drm_syncobj_create c = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &c));
	return c.handle;
}

int syncobj_wait(int fd, uint32_t handle, uint64_t point, unsigned int ms)
{
	struct drm_syncobj_timeline_wait w = {
		.handles = (uintptr_t)&handle,
		.points = (uintptr_t)&point,
		.timeout_nsec = (int64_t)in_ms(ms),
		.count_handles = 1,
	};

	return pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &w);
}

int syncobj_status(int fd, uint32_t handle)
{
	struct sync_file_info info = { 0 };
	int file = syncobj_file(fd, handle);

	CHECK_OK(pim_ioctl(file, SYNC_IOC_FILE_INFO, &info));
	close(file);
	return info.status;
}

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

struct drm_pim_job job_nop(uint32_t engine)
{
	return (struct drm_pim_job){ .engine = engine, .op = PIM_HW_OP_NOP };
}

struct drm_pim_job job_on(uint32_t engine, struct drm_pim_binding *binding)
{
	struct drm_pim_job job = job_nop(engine);

	job.nbindings = 1;
	job.bindings = (uintptr_t)binding;
	job.policy[0] = PIM_HW_POLICY_SERIAL; /* so that it may run in an AUTO domain */
	return job;
}

struct drm_pim_job job_fill(struct drm_pim_binding *binding, struct pim_hw_copy *payload, uint32_t pattern)
{
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, binding);

	memset(payload, 0, sizeof(*payload));
	payload->bytes = binding->bytes;
	payload->pattern = pattern;
	job.op = PIM_HW_OP_FILL;
	job.payload = (uintptr_t)payload;
	job.payload_bytes = sizeof(*payload);
	return job;
}

struct drm_pim_job job_copy(struct drm_pim_binding binding[2], struct pim_hw_copy *payload)
{
	struct drm_pim_job job = job_fill(binding, payload, 0);

	job.op = PIM_HW_OP_COPY;
	job.nbindings = 2;
	payload->src.binding = 0;
	payload->dst.binding = 1;
	return job;
}

void job_wait(struct drm_pim_job *job, uint32_t engine, uint64_t seq)
{
	job->wait[job->nwaits++] = (struct drm_pim_wait){ .engine = engine, .seq = seq };
}

int submit(int fd, uint32_t queue, const struct drm_pim_job *jobs, uint32_t n, uint32_t in, uint32_t out, uint64_t seq[2])
{
	struct drm_pim_sync si = { .handle = in }, so = { .handle = out };
	struct drm_pim_submit s = {
		.queue = queue,
		.njobs = n,
		.nin = !!in,
		.nout = !!out,
		.jobs = (uintptr_t)jobs,
		.in_syncs = (uintptr_t)&si,
		.out_syncs = (uintptr_t)&so,
	};
	int ret = pim_ioctl(fd, DRM_IOCTL_PIM_SUBMIT, &s);

	if (!ret && seq)
		memcpy(seq, s.seq, sizeof(s.seq));
	return ret;
}

/* Unit and base-die instructions as hw.h has them. */
#define UNIT(op, rest) ((uint32_t)(op) << 28 | (rest))
#define BASE(op) ((uint32_t)(op) << 26)
#define SPIN_CRF 4
#define SPIN_SRF 256 /* of test-4dom.card, the last of them RET */
#define SPIN_INNER 32767u /* bound of a loop counter */

void spin_code(volatile uint32_t *code, uint32_t rounds)
{
	uint32_t inner = rounds < SPIN_INNER ? rounds : SPIN_INNER, i;

	for (i = SPIN_CRF; i < SPIN_CRF + SPIN_SRF - 1; i++)
		code[i] = BASE(PIM_B_RSQRT);
	code[i] = BASE(PIM_B_RET);
	code[3] = UNIT(PIM_I_EXIT, 0);
	code[2] = rounds ? UNIT(PIM_I_JUMP, (rounds / inner) << 11) : UNIT(PIM_I_NOP, 0);
	code[1] = rounds ? UNIT(PIM_I_JUMP, inner << 11) : UNIT(PIM_I_NOP, 0);
	code[0] = rounds ? UNIT(PIM_I_SCAL, 0) : UNIT(PIM_I_NOP, 0);
}

struct drm_pim_job job_spin(struct drm_pim_binding *code, struct pim_hw_program *payload)
{
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_PIM, code);

	memset(payload, 0, sizeof(*payload));
	payload->crf_len = SPIN_CRF;
	payload->srf_len = SPIN_SRF;
	payload->blocks = payload->planes = payload->run_bytes = 1;
	job.op = PIM_HW_OP_PROGRAM;
	job.payload = (uintptr_t)payload;
	job.payload_bytes = sizeof(*payload);
	return job;
}

void spin(int fd, uint32_t queue, uint32_t rounds, uint32_t out)
{
	struct drm_pim_binding b = { .handle = gem(fd, SPIN_BYTES, DRM_PIM_GEM_WINDOW, 0), .access = DRM_PIM_ACCESS_READ, .bytes = SPIN_BYTES };
	volatile uint32_t *code = gem_map(fd, b.handle, SPIN_BYTES);
	struct pim_hw_program payload;
	struct drm_pim_job job = job_spin(&b, &payload);

	spin_code(code, rounds);
	CHECK_OK(munmap((void *)code, SPIN_BYTES)); /* a mapping holds the file */
	CHECK_OK(submit(fd, queue, &job, 1, 0, out, NULL));
	CHECK_OK(gem_close(fd, b.handle));
}

#define GATE_JOBS 24 /* one after the other, so that an open gate is soon through */
#define GATE_ROUNDS 16384

static struct gate {
	int fd;
	uint32_t queue;
	volatile uint32_t *code; /* NULL: open */
} gates[16];

/* The entry of a closed gate, or a free one. */
static struct gate *gate_of(int fd, uint32_t queue, bool closed)
{
	struct gate *g = gates;

	while (closed ? !g->code || g->fd != fd || g->queue != queue : !!g->code)
		CHECK(++g < gates + sizeof(gates) / sizeof(gates[0]));
	return g;
}

void gate_close(int fd, uint32_t queue, uint32_t out)
{
	struct drm_pim_binding b = { .handle = gem(fd, SPIN_BYTES, DRM_PIM_GEM_WINDOW, 0), .access = DRM_PIM_ACCESS_READ, .bytes = SPIN_BYTES };
	struct drm_pim_job spin[GATE_JOBS], job = job_nop(DRM_PIM_ENGINE_HOST);
	struct pim_hw_program payload;
	struct gate *g = gate_of(fd, queue, false);
	uint64_t seq[2];
	unsigned int i;

	g->fd = fd;
	g->queue = queue;
	g->code = gem_map(fd, b.handle, SPIN_BYTES);
	spin_code(g->code, GATE_ROUNDS);
	for (i = 0; i < GATE_JOBS; i++)
		spin[i] = job_spin(&b, &payload);
	CHECK_OK(submit(fd, queue, spin, GATE_JOBS, 0, 0, seq));
	job_wait(&job, DRM_PIM_ENGINE_PIM, seq[DRM_PIM_ENGINE_PIM]);
	CHECK_OK(submit(fd, queue, &job, 1, 0, out, NULL));
	CHECK_OK(gem_close(fd, b.handle));
	sleep_ms(50); /* the job is in its ring */
}

void gate_open(int fd, uint32_t queue, uint32_t out)
{
	struct drm_pim_job job = job_nop(DRM_PIM_ENGINE_PIM);
	struct gate *g = gate_of(fd, queue, true);

	spin_code(g->code, 0);
	CHECK_OK(munmap((void *)g->code, SPIN_BYTES)); /* a mapping holds the file */
	g->code = NULL;
	if (out)
		CHECK_OK(submit(fd, queue, &job, 1, 0, out, NULL));
}

/* -- authority ------------------------------------------------------------------------------------------------------ */

unsigned int time_scale(void)
{
	static unsigned int scale;
	const char *text;

	if (!scale) {
		text = getenv("PIM_TIME_SCALE");
		scale = text ? (unsigned int)atoi(text) : 1;
		if (!scale || scale > 100)
			scale = 1;
	}
	return scale;
}

uint64_t in_ms(unsigned int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec + (uint64_t)ms * time_scale() * 1000000ull;
}

uint64_t now_ms(void)
{
	return in_ms(0) / 1000000 / time_scale();
}

int acquire(int fd, uint32_t domains, uint32_t owner, unsigned int ms)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_ACQUIRE, .domains = domains, .owner = owner, .timeout_ns = in_ms(ms) };

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

int acquire_now(int fd, uint32_t domains, uint32_t owner)
{
	struct drm_pim_authority a = {
		.op = DRM_PIM_AUTHORITY_ACQUIRE, .flags = DRM_PIM_AUTHORITY_NONBLOCK, .domains = domains, .owner = owner
	};

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

int release(int fd, uint32_t domains)
{
	struct drm_pim_authority a = { .op = DRM_PIM_AUTHORITY_RELEASE, .domains = domains };

	return pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &a);
}

struct drm_pim_domain_query authority(int fd, uint32_t domain)
{
	struct drm_pim_domain_query q = { .domain = domain };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_DOMAIN_QUERY, &q));
	return q;
}

void until_waiters(int fd, uint32_t domain, uint32_t n)
{
	uint64_t end = now_ms() + 5000;

	while (authority(fd, domain).waiters != n) {
		CHECK(now_ms() < end);
		sleep_ms(2);
	}
}

void usable(void)
{
	int fd = dev_open();
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	struct drm_pim_binding b = { .handle = gem(fd, 65536, 0, 0), .access = 3, .bytes = 65536 };
	struct pim_hw_copy payload;
	struct drm_pim_job fill = job_fill(&b, &payload, 0x12345678);
	volatile uint32_t *p = gem_map(fd, b.handle, 65536);

	CHECK_OK(submit(fd, q, &fill, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 10000));
	CHECK_EQ(syncobj_status(fd, done), 1);
	CHECK_EQ(p[100], 0x12345678);
	CHECK_OK(munmap((void *)p, 65536)); /* a mapping holds the file */
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 10000));
	CHECK_OK(release(fd, 1));
	close(fd);
}

/* -- processes ------------------------------------------------------------------------------------------------------ */

int child(void (*fn)(void *), void *arg)
{
	int pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		fn(arg);
		_exit(0);
	}
	return pid;
}

bool child_ended(int pid, unsigned int ms, int *status)
{
	uint64_t end = now_ms() + ms;

	do {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		sleep_ms(2);
	} while (now_ms() < end);
	return false;
}

void child_ok(int pid, unsigned int ms)
{
	int status;

	CHECK(child_ended(pid, ms, &status));
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}

void sleep_ms(unsigned int ms)
{
	unsigned int real = ms * time_scale();
	struct timespec t = { .tv_sec = real / 1000, .tv_nsec = real % 1000 * 1000000L };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

void module_param(const char *name, unsigned int value)
{
	size_t n = strlen(name);
	char path[96];
	FILE *f;

	if (n > 3 && !strcmp(name + n - 3, "_ms"))
		value *= time_scale();
	snprintf(path, sizeof(path), "/sys/module/pim/parameters/%s", name);
	f = fopen(path, "w");
	CHECK(f);
	CHECK(fprintf(f, "%u\n", value) > 0);
	CHECK_OK(fclose(f));
}
