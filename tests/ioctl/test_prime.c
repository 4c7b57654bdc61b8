/* SPDX-License-Identifier: MIT */
/* Buffers exported as dma-bufs, used by their own driver and by user space. */
#include "harness.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536u
#define WRITE DRM_PIM_ACCESS_WRITE
#define READ DRM_PIM_ACCESS_READ

struct rig {
	int fd, buf;
	uint32_t handle;
	volatile uint32_t *p; /* through the dma-buf */
};

static struct rig rig(uint32_t flags)
{
	struct rig r = { .fd = dev_open() };

	r.handle = gem(r.fd, SIZE, flags, 0);
	r.buf = prime_export(r.fd, r.handle);
	CHECK(r.buf >= 0);
	r.p = buf_map(r.buf, SIZE);
	return r;
}

static void bad_input(void)
{
	struct rig r = rig(0);
	struct drm_prime_handle flags = { .handle = r.handle, .flags = 1u << 30 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t h;

	CHECK_EQ(prime_export(r.fd, 0), -ENOENT);
	CHECK_EQ(prime_export(r.fd, 0x7fffffff), -ENOENT);
	CHECK_EQ(pim_ioctl(r.fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &flags), -EINVAL);
	CHECK_EQ(prime_import(r.fd, -1, &h), -EBADF);
	CHECK_EQ(prime_import(r.fd, null, &h), -EINVAL);
	CHECK_EQ(prime_import(r.fd, r.fd, &h), -EINVAL);
	CHECK(mmap(NULL, SIZE + 4096, PROT_READ, MAP_SHARED, r.buf, 0) == MAP_FAILED);
	CHECK(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, r.buf, 4096) == MAP_FAILED);
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, r.buf, 0) == MAP_FAILED);
	CHECK_EQ(buf_sync(r.buf, 0), -EINVAL);
}

static void same_object(void)
{
	struct rig r = rig(0);
	int other = dev_open();
	uint32_t again, there;

	CHECK_OK(prime_import(r.fd, r.buf, &again));
	CHECK_EQ(again, r.handle);
	CHECK_OK(prime_import(other, r.buf, &there));
	CHECK_EQ(gem_info(other, there).address, gem_info(r.fd, r.handle).address);
	CHECK_EQ(gem_info(other, there).flags, 0);
	CHECK_EQ(gem_info(other, there).size, SIZE);
	CHECK_EQ(lseek(r.buf, 0, SEEK_END), SIZE);
}

static void one_memory(void)
{
	static const uint32_t flags[] = { 0, DRM_PIM_GEM_WINDOW, DRM_PIM_GEM_SIGBUS };
	unsigned int i, k;

	for (i = 0; i < 3; i++) {
		struct rig r = rig(flags[i]);
		volatile uint32_t *q = gem_map(r.fd, r.handle, SIZE);
		volatile uint32_t *part = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r.buf, 8192);

		CHECK(part != MAP_FAILED);
		for (k = 0; k < SIZE / 4; k += 16)
			r.p[k] = k + 1;
		for (k = 0; k < SIZE / 4; k += 16)
			CHECK_EQ(q[k], k + 1);
		CHECK_EQ(part[0], 8192 / 4 + 1);
	}
}

static void touch(void *arg)
{
	struct rig *r = arg;

	CHECK_EQ(r->p[0], 7);
	r->p[1] = 8;
}

static void taken_away(void)
{
	struct rig r = rig(0);
	int pid, status;

	r.p[0] = 7;
	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(touch, &r); /* also: over a fork */
	CHECK(!child_ended(pid, 100, &status));
	CHECK_OK(release(r.fd, 1));
	child_ok(pid, 5000);
	CHECK_EQ(r.p[1], 8);
}

static void sigbus(void)
{
	struct rig r = rig(DRM_PIM_GEM_SIGBUS);
	int pid, status;

	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	pid = child(touch, &r);
	CHECK(child_ended(pid, 2000, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

/* A queue whose jobs are held back, with one that uses the buffer. */
struct held {
	uint32_t queue, gate, done;
};

static struct held hold(struct rig *r, uint32_t access)
{
	struct held h = { .queue = queue_new(r->fd), .gate = syncobj_new(r->fd), .done = syncobj_new(r->fd) };
	struct drm_pim_binding b = { .handle = r->handle, .access = access, .bytes = SIZE };
	struct drm_pim_job job = job_on(DRM_PIM_ENGINE_HOST, &b);

	gate_close(r->fd, h.queue, h.gate);
	CHECK_OK(submit(r->fd, h.queue, &job, 1, 0, h.done, NULL));
	return h;
}

static void job_fence(void)
{
	static const uint32_t flags[] = { 0, DRM_PIM_GEM_WINDOW };
	unsigned int i;

	for (i = 0; i < 2; i++) {
		struct rig r = rig(flags[i]);
		struct held h = hold(&r, READ);
		int for_read = buf_fence(r.buf, DMA_BUF_SYNC_READ), for_write = buf_fence(r.buf, DMA_BUF_SYNC_WRITE), later;

		CHECK(fence_signalled(for_read, 0)); /* a reader keeps no reader off */
		CHECK(!fence_signalled(for_write, 50));
		gate_open(r.fd, h.queue, h.gate);
		CHECK(fence_signalled(for_write, 5000));
		CHECK_OK(syncobj_wait(r.fd, h.done, 0, 5000));

		h = hold(&r, WRITE);
		later = buf_fence(r.buf, DMA_BUF_SYNC_READ);
		CHECK(!fence_signalled(later, 50));
		gate_open(r.fd, h.queue, h.gate);
		CHECK(fence_signalled(later, 5000));
	}
}

/* What was submitted before the buffer was exported counts too. */
static void fence_before_export(void)
{
	struct rig r = { .fd = dev_open() };
	struct held h;
	int fence;

	r.handle = gem(r.fd, SIZE, 0, 0);
	h = hold(&r, WRITE);
	r.buf = prime_export(r.fd, r.handle);
	CHECK(r.buf >= 0);
	fence = buf_fence(r.buf, DMA_BUF_SYNC_READ);
	CHECK(!fence_signalled(fence, 50));
	gate_open(r.fd, h.queue, h.gate);
	CHECK(fence_signalled(fence, 5000));
}

static void both_engines(void)
{
	struct rig r = rig(0);
	uint32_t q = queue_new(r.fd), done = syncobj_new(r.fd);
	struct drm_pim_binding b = { .handle = r.handle, .access = WRITE, .bytes = SIZE };
	struct drm_pim_job jobs[3] = { job_on(0, &b), job_on(1, &b), job_on(0, &b) };
	int fence;

	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_AUTO, 1000));
	CHECK_OK(submit(r.fd, q, jobs, 3, 0, done, NULL));
	fence = buf_fence(r.buf, DMA_BUF_SYNC_RW);
	CHECK(fence_signalled(fence, 5000));
	CHECK_EQ(syncobj_status(r.fd, done), 1);
}

static void sync_as_child(void *arg)
{
	struct rig *r = arg;

	CHECK_OK(buf_sync(r->buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ));
	CHECK_OK(buf_sync(r->buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ));
}

static void sync_waits(void)
{
	struct rig r = rig(0);
	struct held h = hold(&r, WRITE);
	int pid = child(sync_as_child, &r), status;

	CHECK(!child_ended(pid, 100, &status));
	gate_open(r.fd, h.queue, h.gate);
	child_ok(pid, 5000);
}

/* A fence of this card in its own dma-buf: jobs do not wait for it, that is what syncobjs are for. */
static void own_fence(void)
{
	struct rig r = rig(0);
	struct held h = hold(&r, WRITE);
	uint32_t q = queue_new(r.fd), done = syncobj_new(r.fd), pim = DRM_PIM_ENGINE_PIM;
	struct drm_pim_binding b = { .handle = r.handle, .access = WRITE, .bytes = SIZE };
	struct drm_pim_job job = job_on(pim, &b);
	int file = syncobj_file(r.fd, h.done);

	CHECK_OK(buf_add_fence(r.buf, file, DMA_BUF_SYNC_RW));
	/* Another ring, as the gate blocks its own. */
	gate_open(r.fd, h.queue, h.gate);
	CHECK_OK(syncobj_wait(r.fd, h.done, 0, 5000));
	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_PIM, 5000));
	CHECK_OK(submit(r.fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(r.fd, done, 0, 5000));
}

static void lifetime(void)
{
	struct rig r = rig(0);
	int fd = dev_open();
	uint64_t bytes = param(fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	uint32_t h, back;

	r.p[5] = 55;
	CHECK_OK(gem_close(r.fd, r.handle));
	CHECK_EQ(r.p[5], 55);
	close(r.fd);
	CHECK_EQ(r.p[5], 55);
	CHECK_EQ(gem_create(fd, bytes, 0, 0, &h), -ENOSPC);
	munmap((void *)r.p, SIZE);
	r.p = buf_map(r.buf, SIZE);
	CHECK_EQ(r.p[5], 55);
	CHECK_OK(prime_import(fd, r.buf, &back));
	close(r.buf);
	CHECK_EQ(((volatile uint32_t *)gem_map(fd, back, SIZE))[5], 55);
	/* Mappings, the last of them ours, and the handle: then it is free. */
	munmap((void *)r.p, SIZE);
	CHECK_OK(gem_close(fd, back));
	CHECK_EQ(gem_create(fd, bytes, 0, 0, &h), -ENOSPC);
}

static void freed(void)
{
	struct rig r = rig(0);
	uint64_t bytes = param(r.fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	uint32_t h;

	CHECK_OK(gem_close(r.fd, r.handle));
	close(r.buf);
	CHECK_EQ(gem_create(r.fd, bytes, 0, 0, &h), -ENOSPC);
	munmap((void *)r.p, SIZE);
	CHECK_OK(gem_create(r.fd, bytes, 0, 0, &h));
}

static void keeps_module(void)
{
	struct rig r = rig(0);

	munmap((void *)r.p, SIZE);
	close(r.fd);
	sleep_ms(50);
	CHECK(syscall(SYS_delete_module, "pim", O_NONBLOCK) < 0 && errno == EWOULDBLOCK);
}

static void unbound(void)
{
	struct rig r = rig(0), other = rig(0);
	struct held h;
	char name[32];
	int pid, status, fence;
	volatile uint32_t *late;

	dev_function(0, name);
	h = hold(&other, WRITE);
	fence = buf_fence(r.buf, DMA_BUF_SYNC_RW);
	r.p[0] = 7;
	CHECK_OK(acquire(r.fd, 2, DRM_PIM_OWNER_PIM, 1000));
	(void)h;
	driver_file("unbind", name);
	CHECK(fence_signalled(fence, 5000));
	CHECK_OK(buf_sync(r.buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
	CHECK_OK(buf_sync(r.buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
	CHECK_EQ(r.p[0], 0); /* a page of zeros in place of the card */
	late = buf_map(r.buf, SIZE);
	CHECK_EQ(late[3], 0);
	close(r.fd);
	close(other.fd);
	r.p[0] = 7;
	pid = child(touch, &r);
	CHECK(child_ended(pid, 2000, &status));
	CHECK_EQ(status, 0);
	driver_file("bind", name);
	close(dev_open());
}

/* -- two processes -------------------------------------------------------------------------------------------------- */

static void send_fd(int sock, int fd)
{
	char data = 'x', control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec io = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	CHECK_EQ(sendmsg(sock, &msg, 0), 1);
}

static int receive_fd(int sock)
{
	char data, control[CMSG_SPACE(sizeof(int))];
	struct iovec io = { .iov_base = &data, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	int fd;

	CHECK_EQ(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC), 1);
	CHECK(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* Gets a buffer from the other process, lets the card fill it, and says so. */
static void second_process(void *arg)
{
	int sock = *(int *)arg, fd = dev_open(), buf = receive_fd(sock);
	uint32_t h, q = queue_new(fd), done = syncobj_new(fd);
	struct drm_pim_binding b = { .access = WRITE, .bytes = SIZE };
	struct pim_hw_copy payload;
	struct drm_pim_job job;

	CHECK_OK(prime_import(fd, buf, &h));
	CHECK_EQ(((volatile uint32_t *)gem_map(fd, h, SIZE))[3], 33);
	b.handle = h;
	job = job_fill(&b, &payload, 44);
	CHECK_OK(submit(fd, q, &job, 1, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 5000));
	CHECK_EQ(write(sock, "", 1), 1);
}

static void two_processes(void)
{
	struct rig r;
	int sock[2], pid;
	char c;

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = child(second_process, &sock[1]); /* has no file of ours */
	r = rig(0);
	r.p[3] = 33;
	send_fd(sock[0], r.buf);
	CHECK_EQ(read(sock[0], &c, 1), 1);
	CHECK_EQ(r.p[3], 44);
	child_ok(pid, 5000);
	CHECK_EQ(r.p[SIZE / 4 - 1], 44);
}

static void hold_and_die(void *arg)
{
	struct rig r = rig(0);

	(void)arg;
	r.p[0] = 1;
	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_PIM, 1000));
	raise(SIGKILL);
}

static void killed(void)
{
	struct rig r = rig(0);
	uint64_t bytes = param(r.fd, DRM_PIM_PARAM_DOMAIN_BYTES);
	int pid = child(hold_and_die, NULL), status;
	uint32_t h;

	CHECK(child_ended(pid, 5000, &status));
	r.p[0] = 2; /* its claim is gone */
	munmap((void *)r.p, SIZE);
	close(r.buf);
	CHECK_OK(gem_close(r.fd, r.handle));
	CHECK_OK(acquire(r.fd, 1, DRM_PIM_OWNER_HOST, 5000));
	CHECK_OK(gem_create(r.fd, bytes, 0, 0, &h));
}

const struct test prime_tests[] = {
	{ "a dma-buf of no handle or with unknown flags, and an import of what is no dma-buf are refused", bad_input },
	{ "an own dma-buf is imported as the buffer that it is", same_object },
	{ "a dma-buf and its buffer are one memory", one_memory },
	{ "a dma-buf's mapping is taken away at a hand-over to PIM, and an access waits for its end", taken_away },
	{ "a dma-buf's mapping gets SIGBUS where its buffer asks for it", sigbus },
	{ "a job's fence is in the dma-buf until the job is done: for writers if it reads, for all if it writes", job_fence },
	{ "a job's fence is in the dma-buf even if the job is older than the export", fence_before_export },
	{ "jobs of both engines leave their fences in the dma-buf", both_engines },
	{ "DMA_BUF_IOCTL_SYNC waits for the jobs", sync_waits },
	{ "jobs do not wait for fences of their own card in a dma-buf", own_fence },
	{ "a dma-buf outlives handle and file, and can be imported again", lifetime },
	{ "a buffer's memory is free once handle, dma-buf and mapping are gone", freed },
	{ "a dma-buf keeps the module", keeps_module },
	{ "a dma-buf of an unbound card gives pages of zeros, and its fences signal", unbound },
	{ "two processes share a buffer", two_processes },
	{ "a process killed with dma-buf and claim leaves neither", killed },
	TEST_END
};
