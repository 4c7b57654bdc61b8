// SPDX-License-Identifier: MIT
/* Calls that are more than an ioctl: mappings and what touches them, descriptors, files and processes that come and go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <drm/pim_drm.h>
#include <linux/sync_file.h>
#include <linux/udmabuf.h>

#include "fuzz.h"
#include "ops.h"

/*
 * Mappings go to fixed places, so that a touch of one that another thread has just taken away hits nothing: an empty place is reserved, but
 * not accessible.
 */
#define PLACES 32
#define PLACE_BYTES (4ull << 20)

static struct {
	pthread_mutex_t lock;
	uint8_t *base;
	size_t size[PLACES]; /* 0: empty */
} maps = { .lock = PTHREAD_MUTEX_INITIALIZER };

/*
 * sw_sync deadlocks when the end of a timeline drops the last reference to one of its fences. So each fence is kept until its timeline is
 * closed; also in a process that is killed, which gives up its files from the highest descriptor to the lowest.
 */
#define TIMELINES 4
#define HIGH_FD 700
static struct {
	pthread_mutex_t lock;
	int fd[TIMELINES], fence[TIMELINES];
	unsigned int next;
} timelines = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = { -1, -1, -1, -1 }, .fence = { -1, -1, -1, -1 } };

static void end_timeline(int fd, int fence)
{
	if (fd >= 0)
		close(fd);
	if (fence >= 0)
		close(fence);
}

void ops_init(void)
{
	void *p = mmap(NULL, PLACES * PLACE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("pim-fuzz: mmap");
		exit(1);
	}
	maps.base = p;
}

static void vacate(unsigned int i)
{
	void *p = mmap(maps.base + i * PLACE_BYTES, PLACE_BYTES, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED) {
		perror("pim-fuzz: mmap");
		exit(1);
	}
	maps.size[i] = 0;
}

/* A mapping keeps its file, and the file its claims. Without the lock: who has it may be waiting for just this. */
void ops_unmap_all(void)
{
	unsigned int i;

	for (i = 0; i < PLACES; i++)
		vacate(i);
}

void ops_fini(void)
{
	unsigned int i;

	ops_unmap_all();
	for (i = 0; i < TIMELINES; i++)
		end_timeline(timelines.fd[i], timelines.fence[i]);
}

void ops_forget(void)
{
	unsigned int i;

	pthread_mutex_init(&maps.lock, NULL);
	pthread_mutex_init(&timelines.lock, NULL);
	for (i = 0; i < TIMELINES; i++) { /* shared with the parent, which goes on with them: only our copy, the fence at exit */
		end_timeline(timelines.fd[i], -1);
		timelines.fd[i] = -1;
		timelines.fence[i] = -1;
	}
}

static uint8_t *pick_map(uint64_t *rng, size_t *size)
{
	unsigned int i = (unsigned int)rnd_below(rng, PLACES), n;

	for (n = 0; n < PLACES; n++, i = (i + 1) % PLACES) {
		*size = *(volatile size_t *)&maps.size[i];
		if (*size)
			return maps.base + i * PLACE_BYTES;
	}
	return NULL;
}

void *ops_some_map(uint64_t *rng)
{
	size_t size;
	uint8_t *p = pick_map(rng, &size);

	return p ? p + rnd_below(rng, size / 64) * 64 : NULL;
}

int op_mmap(struct thread *t, struct client *c)
{
	static const int prots[] = { PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	struct drm_pim_gem_mmap m = { 0 };
	int prot = prots[rnd_below(&t->rng, sizeof(prots) / sizeof(prots[0]))], flags = MAP_SHARED, ret;
	unsigned int i = (unsigned int)rnd_below(&t->rng, PLACES);
	struct object gem;
	uint64_t skip = 0;
	size_t size;
	void *p;

	if (!pool_pick(c, &t->rng, P_GEM, &gem))
		return -ENOENT;
	m.handle = gem.handle;
	ret = pim_call(c->fd, DRM_IOCTL_PIM_GEM_MMAP, &m);
	if (ret)
		return ret;
	size = gem.size;
	if (chance(&t->rng, 20)) {
		skip = rnd_below(&t->rng, size / 4096 + 1) * 4096; /* partial mappings are refused */
		size -= skip;
	}
	if (chance(&t->rng, 5))
		size += 4096;
	if (chance(&t->rng, 5))
		flags = MAP_PRIVATE;
	if (chance(&t->rng, 5))
		flags |= MAP_POPULATE; /* may wait for PIM */
	size = (size + 4095) & ~4095ull;
	if (!size || size > PLACE_BYTES)
		size = 4096;
	pthread_mutex_lock(&maps.lock);
	if (maps.size[i])
		vacate(i);
	/* First somewhere else, where it may fail without a trace. */
	p = mmap(NULL, size, prot, flags & ~MAP_POPULATE, c->fd, (off_t)(m.offset + skip));
	ret = p == MAP_FAILED ? -errno : 0;
	if (!ret && mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, maps.base + i * PLACE_BYTES) == MAP_FAILED) {
		ret = -errno;
		munmap(p, size);
	}
	if (!ret)
		maps.size[i] = size;
	pthread_mutex_unlock(&maps.lock);
	if (!ret && flags & MAP_POPULATE)
		madvise(maps.base + i * PLACE_BYTES, size, MADV_POPULATE_READ);
	return ret;
}

int op_munmap(struct thread *t, struct client *c)
{
	unsigned int i = (unsigned int)rnd_below(&t->rng, PLACES);
	int ret = -ENOENT;

	(void)c;
	pthread_mutex_lock(&maps.lock);
	if (maps.size[i]) {
		/* A part of it, at times: the rest stays a mapping of the buffer. */
		if (chance(&t->rng, 20) && maps.size[i] > 8192)
			ret = munmap(maps.base + i * PLACE_BYTES + maps.size[i] / 8192 * 4096, 4096) ? -errno : 0;
		else
			ret = 0;
		vacate(i);
	}
	pthread_mutex_unlock(&maps.lock);
	return ret;
}

/* The handler of SIGSEGV, SIGBUS and of the watchdog's signal jumps out of here. */
int op_touch(struct thread *t, struct client *c)
{
	size_t size, at;
	volatile uint8_t *p = pick_map(&t->rng, &size);
	bool write = chance(&t->rng, 60);
	unsigned int i;
	int sig;

	(void)c;
	if (!p)
		return -ENOENT;
	atomic_store(&t->poke, now_ns() + 10000000ull * time_scale);
	sig = sigsetjmp(t->jump, 1);
	if (!sig) {
		t->may_jump = 1;
		for (i = 0; i < 4; i++) {
			at = rnd_below(&t->rng, size);
			if (write)
				p[at] = (uint8_t)at;
			else
				(void)p[at];
		}
	}
	t->may_jump = 0;
	return sig == SIGUSR1 ? -EINTR : sig ? -EFAULT : 0;
}

int op_syscall(struct thread *t, struct client *c)
{
	uint8_t *p = ops_some_map(&t->rng);
	int io[2], ret = 0;

	(void)c;
	if (!p)
		return -ENOENT;
	if (pipe2(io, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	if (chance(&t->rng, 50)) {
		ret = write(io[1], p, 64) < 0 ? -errno : 0;
	} else {
		ret = write(io[1], "0123456789abcdef", 16) < 0 ? -errno : 0;
		if (!ret)
			ret = read(io[0], p, 16) < 0 ? -errno : 0;
	}
	close(io[0]);
	close(io[1]);
	return ret;
}

int op_mmu(struct thread *t, struct client *c)
{
	size_t size;
	uint8_t *p = pick_map(&t->rng, &size);

	(void)c;
	if (!p)
		return -ENOENT;
	switch (rnd_below(&t->rng, 5)) {
	case 0:
		return mprotect(p, size, PROT_READ) ? -errno : 0;
	case 1:
		return mprotect(p, size, PROT_READ | PROT_WRITE) ? -errno : 0;
	case 2:
		return madvise(p, size, chance(&t->rng, 50) ? MADV_DONTNEED : MADV_WILLNEED) ? -errno : 0;
	case 3: /* may not grow */
		return mremap(p, size, size + 4096, 0) == MAP_FAILED ? -errno : 0;
	default:
		return msync(p, size, MS_SYNC) ? -errno : 0;
	}
}

/* -- descriptors ---------------------------------------------------------------------------------------------------- */

int op_close_fd(struct thread *t, struct client *c)
{
	enum pool_kind kind = P_SYNCFILE + (enum pool_kind)rnd_below(&t->rng, P_KINDS - P_SYNCFILE);
	struct object o;

	if (!pool_take(c, &t->rng, kind, &o))
		return -ENOENT;
	return close((int)o.handle) ? -errno : 0;
}

/* For WATCH: a new one, or what an old one has counted. Its number may just have become another file's, whose read() sleeps. */
int op_eventfd(struct thread *t, struct client *c)
{
	struct pollfd pfd = { .events = POLLIN };
	struct object o = { 0 };
	uint64_t count;

	if (chance(&t->rng, 50) && pool_pick(c, &t->rng, P_EVENTFD, &o)) {
		pfd.fd = (int)o.handle;
		if (poll(&pfd, 1, 0) < 0)
			return -errno;
		return pfd.revents & POLLIN && read(pfd.fd, &count, sizeof(count)) < 0 ? -errno : 0;
	}
	pfd.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (pfd.fd < 0)
		return -errno;
	o.handle = (uint32_t)pfd.fd;
	pool_put(c, P_EVENTFD, &o);
	return 0;
}

int op_sync_file(struct thread *t, struct client *c)
{
	struct sync_fence_info fences[4];
	struct sync_file_info info = { .num_fences = (uint32_t)rnd_below(&t->rng, 5), .sync_fence_info = (uintptr_t)fences };
	struct pollfd pfd = { .events = POLLIN };
	struct sync_merge_data merge = { 0 };
	struct object o, other;

	if (!pool_pick(c, &t->rng, P_SYNCFILE, &o))
		return -ENOENT;
	pfd.fd = (int)o.handle;
	switch (rnd_below(&t->rng, 3)) {
	case 0:
		return poll(&pfd, 1, (int)rnd_below(&t->rng, 5)) < 0 ? -errno : 0;
	case 1:
		return ioctl((int)o.handle, SYNC_IOC_FILE_INFO, &info) < 0 ? -errno : 0;
	default:
		if (!pool_pick(c, &t->rng, P_SYNCFILE, &other))
			return -ENOENT;
		merge.fd2 = (int)other.handle;
		strcpy(merge.name, "fuzz");
		if (ioctl((int)o.handle, SYNC_IOC_MERGE, &merge) < 0)
			return -errno;
		o = (struct object){ .handle = (uint32_t)merge.fence };
		pool_put(c, P_SYNCFILE, &o);
		return 0;
	}
}

/* Of the kernel's test device (drivers/dma-buf/sw_sync.c); no header has it. */
struct sw_sync_create_fence_data {
	uint32_t value;
	char name[32];
	int32_t fence;
};
#define SW_SYNC_IOC_CREATE_FENCE _IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC _IOW('W', 1, uint32_t)

/* A fence of somebody else: signalled at once, soon, or with an error when its timeline is closed by a later call. */
int op_sw_sync(struct thread *t, struct client *c)
{
	struct sw_sync_create_fence_data data = { .value = 1, .name = "fuzz" };
	uint32_t inc = 1;
	struct object o = { 0 };
	int low = open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC), fd, fence = -1, old, old_fence, ret;

	if (low < 0)
		return -errno;
	fd = fcntl(low, F_DUPFD_CLOEXEC, HIGH_FD);
	close(low);
	if (fd < 0)
		return -errno;
	ret = ioctl(fd, SW_SYNC_IOC_CREATE_FENCE, &data) < 0 ? -errno : 0;
	if (!ret) {
		fence = fcntl(data.fence, F_DUPFD_CLOEXEC, 0);
		o.handle = (uint32_t)data.fence;
		if (fence < 0)
			close(data.fence);
		else
			pool_put(c, P_SYNCFILE, &o);
		if (chance(&t->rng, 50))
			ioctl(fd, SW_SYNC_IOC_INC, &inc);
	}
	pthread_mutex_lock(&timelines.lock);
	old = timelines.fd[timelines.next];
	old_fence = timelines.fence[timelines.next];
	timelines.fd[timelines.next] = fd;
	timelines.fence[timelines.next++] = fence;
	timelines.next %= TIMELINES;
	pthread_mutex_unlock(&timelines.lock);
	end_timeline(old, old_fence);
	return ret;
}

int op_udmabuf(struct thread *t, struct client *c)
{
	struct udmabuf_create create = { .flags = UDMABUF_FLAGS_CLOEXEC, .size = 4096ull << rnd_below(&t->rng, 6) };
	int dev, ret, mem;
	struct object o = { 0 };

	dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -errno;
	mem = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (mem < 0 || ftruncate(mem, (off_t)create.size) || fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK)) {
		ret = -errno;
	} else {
		create.memfd = (uint32_t)mem;
		ret = ioctl(dev, UDMABUF_CREATE, &create);
		if (ret < 0) {
			ret = -errno;
		} else {
			o.handle = (uint32_t)ret;
			o.size = create.size;
			pool_put(c, P_DMABUF, &o);
			ret = 0;
		}
	}
	if (mem >= 0)
		close(mem);
	close(dev);
	return ret;
}

static int read_all(const char *path)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buf, sizeof(buf));
	while (n > 0);
	close(fd);
	return n < 0 ? -errno : 0;
}

int op_read(struct thread *t, struct client *c)
{
	static const char *const files[] = { "authority", "queues", "rings", "memory", "state", "gem_names", "name", "clients" };
	char path[96];

	if (chance(&t->rng, 50)) {
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", c->fd);
		return read_all(path);
	}
	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%s/%s", strrchr(node, 'D') + 1,
		 files[rnd_below(&t->rng, sizeof(files) / sizeof(files[0]))]);
	return read_all(path);
}

/* -- files and processes -------------------------------------------------------------------------------------------- */

/* Another file under the same number, while other threads are using the old one. */
int op_reopen(struct thread *t, struct client *c)
{
	int fd = open(node, O_RDWR | O_CLOEXEC);

	(void)t;
	if (fd < 0)
		return -errno;
	if (dup3(fd, c->fd, O_CLOEXEC) < 0) {
		close(fd);
		return -errno;
	}
	close(fd);
	pool_reset(c);
	return 0;
}

static void child(struct thread *t) __attribute__((noreturn));
static void child(struct thread *t)
{
	unsigned int i, n;

	alarm(20 * time_scale);
	ops_forget();
	for (i = 0; i < CLIENTS; i++) {
		/* The parent's files and handles are shared by the fork; then one client gets a file of its own. */
		pthread_mutex_init(&clients[i].lock, NULL);
		memset(clients[i].count + P_SYNCFILE, 0, sizeof(clients[i].count[0]) * (P_KINDS - P_SYNCFILE));
	}
	clients[0].fd = open(node, O_RDWR | O_CLOEXEC);
	memset(clients[0].count, 0, sizeof(clients[0].count));
	atomic_store(&clients[0].held, 0);
	n = 10 + (unsigned int)rnd_below(&t->rng, 60);
	for (i = 0; i < n; i++)
		step(t);
	if (chance(&t->rng, 50))
		pause();
	_exit(0);
}

/* A process that shares everything, does something, and ends or is killed in the middle of it. */
int op_fork(struct thread *t, struct client *c)
{
	uint64_t end = now_ns() + rnd_below(&t->rng, 100) * 1000000ull * time_scale, seed = rnd(&t->rng);
	struct timespec tick = { .tv_nsec = 2000000 };
	int status;
	pid_t pid;

	(void)c;
	if (t->number == UINT32_MAX) /* in a child: no children */
		return -ENOSYS;
	atomic_store(&t->poke, UINT64_MAX);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		t->number = UINT32_MAX;
		t->rng = seed;
		child(t);
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now_ns() >= end)
			kill(pid, SIGKILL);
		nanosleep(&tick, NULL);
	}
	return 0;
}
