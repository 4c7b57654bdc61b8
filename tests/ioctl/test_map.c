/* SPDX-License-Identifier: MIT */
/*
 * What the rest of the kernel does with a mapped buffer: read() and write(), get_user_pages(), ptrace, fork, mremap, while HOST and while PIM
 * has its domain.
 */
#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/io_uring.h>

#define SIZE 65536u
#define PAGE 4096u
#define WORD 0x1122334455667788ull
#define PIM DRM_PIM_OWNER_PIM

struct map {
	int fd;
	uint32_t handle;
	volatile uint64_t *p;
};

static struct map map_flags(uint32_t flags)
{
	struct map m = { .fd = dev_open() };
	uint32_t i;

	m.handle = gem(m.fd, SIZE, flags, 0);
	m.p = gem_map(m.fd, m.handle, SIZE);
	for (i = 0; i < SIZE / 8; i++)
		m.p[i] = WORD + i;
	return m;
}

static struct map map(void)
{
	return map_flags(0);
}

/* What a child does with the map, while the parent watches whether it gets through. */
static int start(void (*fn)(void *), struct map *m)
{
	return child(fn, m);
}

static bool waits(int pid)
{
	int status;

	return !child_ended(pid, 200, &status);
}

static bool killed_soon(int pid)
{
	int status;

	CHECK_OK(kill(pid, SIGKILL));
	return child_ended(pid, 5000, &status) && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static bool died_of(int pid, int sig)
{
	int status;

	return child_ended(pid, 5000, &status) && WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

static void touch(void *arg)
{
	struct map *m = arg;

	CHECK(m->p[1] == WORD + 1);
	m->p[2] = 77;
}

/* -- read() and write() ------------------------------------------------------------------------------------------------ */

static void write_out(void *arg)
{
	struct map *m = arg;
	int fd = memfd_create("data", 0);
	uint64_t got[2];

	CHECK_EQ(pwrite(fd, (void *)m->p, SIZE, 0), SIZE);
	CHECK_EQ(pread(fd, got, sizeof(got), SIZE - sizeof(got)), sizeof(got));
	CHECK(got[1] == WORD + SIZE / 8 - 1);
}

static void read_in(void *arg)
{
	static uint64_t data[SIZE / 8];
	struct map *m = arg;
	int fd = memfd_create("data", 0);
	uint32_t i;

	for (i = 0; i < SIZE / 8; i++)
		data[i] = i;
	CHECK_EQ(pwrite(fd, data, SIZE, 0), SIZE);
	CHECK_EQ(pread(fd, (void *)m->p, SIZE, 0), SIZE);
	for (i = 0; i < SIZE / 8; i++)
		CHECK(m->p[i] == i);
}

static void read_write(void)
{
	struct map m = map();

	write_out(&m);
	read_in(&m);
}

static void read_write_waits(void)
{
	void (* const fn[])(void *) = { write_out, read_in };
	struct map m = map();
	size_t i;
	int pid;

	for (i = 0; i < 2; i++) {
		CHECK_OK(acquire(m.fd, 1, PIM, 1000));
		pid = start(fn[i], &m);
		CHECK(waits(pid));
		CHECK_OK(release(m.fd, 1));
		child_ok(pid, 5000);
	}
}

static void read_write_killable(void)
{
	void (* const fn[])(void *) = { write_out, read_in };
	struct map m = map();
	size_t i;
	int pid;

	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	for (i = 0; i < 2; i++) {
		pid = start(fn[i], &m);
		CHECK(waits(pid));
		CHECK(killed_soon(pid));
	}
}

/* A fault of the kernel's own that may not wait is an error of the system call, not a signal. */
static void read_write_sigbus(void)
{
	struct map m = map_flags(DRM_PIM_GEM_SIGBUS);
	int fd = memfd_create("data", 0);

	CHECK_EQ(pwrite(fd, (void *)m.p, SIZE, 0), SIZE);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	CHECK(pread(fd, (void *)m.p, SIZE, 0) < 0 && errno == EFAULT);
	CHECK(pwrite(fd, (void *)m.p, SIZE, 0) < 0 && errno == EFAULT);
}

/* -- get_user_pages() -------------------------------------------------------------------------------------------------- */

static int gup_vmsplice(struct map *m)
{
	struct iovec v = { (void *)m->p, PAGE };
	int io[2];
	ssize_t n;

	CHECK_OK(pipe(io));
	n = vmsplice(io[1], &v, 1, SPLICE_F_NONBLOCK);
	close(io[0]);
	close(io[1]);
	return n < 0 ? errno : 0;
}

static int gup_process_vm(struct map *m, bool write)
{
	uint64_t x = 0;
	struct iovec local = { &x, 8 }, remote = { (void *)m->p, 8 };
	ssize_t n = write ? process_vm_writev(getpid(), &local, 1, &remote, 1, 0) : process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

	return n < 0 ? errno : 0;
}

static int gup_futex(struct map *m)
{
	return syscall(SYS_futex, m->p, FUTEX_WAKE, 1, NULL, NULL, 0) < 0 ? errno : 0;
}

static int gup_io_uring(struct map *m)
{
	struct io_uring_params p = { 0 };
	struct iovec v = { (void *)m->p, PAGE };
	int fd = (int)syscall(SYS_io_uring_setup, 1, &p), ret;

	CHECK(fd >= 0);
	ret = syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &v, 1) < 0 ? errno : 0;
	close(fd);
	return ret;
}

static void gup_all(void *arg)
{
	struct map *m = arg;

	CHECK_EQ(gup_vmsplice(m), EFAULT);
	CHECK_EQ(gup_process_vm(m, false), EFAULT);
	CHECK_EQ(gup_process_vm(m, true), EFAULT);
	CHECK_EQ(gup_futex(m), EFAULT);
	CHECK_EQ(gup_io_uring(m), EFAULT);
}

static void gup(void)
{
	struct map m = map();

	gup_all(&m);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	child_ok(start(gup_all, &m), 5000);
}

/* -- ptrace ------------------------------------------------------------------------------------------------------------ */

static void sleep_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
}

static int attach(struct map *m)
{
	int pid = start(sleep_for_ever, m), status;

	CHECK_OK(ptrace(PTRACE_ATTACH, pid, NULL, NULL));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSTOPPED(status));
	return pid;
}

/* By the words that a debugger has: one for 64 bits, or two. */
#define DEBUGGER_WORDS (sizeof(uint64_t) / sizeof(long))

static int peek(int pid, volatile void *at, uint64_t *value)
{
	long word[DEBUGGER_WORDS];
	size_t i;

	errno = 0;
	for (i = 0; i < DEBUGGER_WORDS && !errno; i++)
		word[i] = ptrace(PTRACE_PEEKDATA, pid, (volatile long *)at + i, NULL);
	memcpy(value, word, sizeof(*value));
	return errno;
}

static int poke(int pid, volatile void *at, uint64_t value)
{
	long word[DEBUGGER_WORDS];
	size_t i;

	memcpy(word, &value, sizeof(value));
	for (i = 0; i < DEBUGGER_WORDS; i++)
		if (ptrace(PTRACE_POKEDATA, pid, (volatile long *)at + i, word[i]) < 0)
			return errno;
	return 0;
}

static int mem_file(int pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void ptrace_host(void)
{
	static uint64_t got[SIZE / 8 + 1];
	struct map m = map();
	int pid = attach(&m), mem = mem_file(pid);
	uint64_t value, i;

	CHECK_OK(peek(pid, &m.p[5], &value));
	CHECK(value == WORD + 5);
	CHECK_OK(poke(pid, &m.p[5], 99));
	CHECK(m.p[5] == 99);
	CHECK_OK(poke(pid, &m.p[5], WORD + 5));
	/* Over a page's border, and the buffer as a whole; nothing beyond its end. */
	CHECK_OK(peek(pid, (volatile char *)m.p + PAGE - 4, &value));
	CHECK(value == ((WORD + PAGE / 8 - 1) >> 32 | (WORD + PAGE / 8) << 32));
	CHECK_EQ(pread(mem, got, SIZE, (off_t)(uintptr_t)m.p), SIZE);
	for (i = 0; i < SIZE / 8; i++)
		CHECK(got[i] == WORD + i);
	got[100] = 5;
	CHECK_EQ(pwrite(mem, got, SIZE, (off_t)(uintptr_t)m.p), SIZE);
	CHECK(m.p[100] == 5 && m.p[101] == WORD + 101);
	CHECK(killed_soon(pid));
}

static void ptrace_end(void)
{
	struct map m = map();
	char *p = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t offset, value, got[4];
	int pid, mem;

	/* Half of the buffer, then nothing. */
	CHECK(p != MAP_FAILED);
	CHECK_OK(munmap(p + SIZE, SIZE));
	CHECK_OK(gem_offset(m.fd, m.handle, &offset));
	p = mmap(p + SIZE / 2, SIZE / 2, PROT_READ, MAP_SHARED | MAP_FIXED, m.fd, (off_t)offset);
	CHECK(p != MAP_FAILED);
	pid = attach(&m);
	mem = mem_file(pid);
	CHECK_EQ(pread(mem, got, sizeof(got), (off_t)(uintptr_t)(p + SIZE / 2 - 16)), 16);
	CHECK(got[0] == WORD + SIZE / 16 - 2 && got[1] == WORD + SIZE / 16 - 1);
	CHECK_OK(peek(pid, p, &value));
	CHECK(value == WORD);
	/* It was mapped read-only. */
	CHECK_EQ(poke(pid, p, 1), EIO);
	CHECK(m.p[0] == WORD);
	CHECK(killed_soon(pid));
}

static void ptrace_pim(void)
{
	const uint32_t flags[] = { 0, DRM_PIM_GEM_SIGBUS };
	uint64_t value;
	size_t i;

	for (i = 0; i < 2; i++) {
		struct map m = map_flags(flags[i]);
		int pid = attach(&m), mem = mem_file(pid);

		CHECK_OK(acquire(m.fd, 1, PIM, 1000));
		CHECK_EQ(peek(pid, m.p, &value), EIO);
		CHECK_EQ(poke(pid, m.p, 1), EIO);
		CHECK(pread(mem, &value, 8, (off_t)(uintptr_t)m.p) < 0 && errno == EIO);
		CHECK(pwrite(mem, &value, 8, (off_t)(uintptr_t)m.p) < 0 && errno == EIO);
		CHECK_OK(release(m.fd, 1));
		CHECK_OK(peek(pid, m.p, &value));
		CHECK(value == WORD);
		CHECK(killed_soon(pid));
	}
}

static void ptrace_window(void)
{
	struct map m = map_flags(DRM_PIM_GEM_WINDOW);
	int pid = attach(&m);
	uint64_t value;

	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	CHECK_OK(peek(pid, &m.p[3], &value));
	CHECK(value == WORD + 3);
	CHECK_OK(poke(pid, &m.p[3], 4));
	CHECK(m.p[3] == 4);
	CHECK(killed_soon(pid));
}

/* -- fork -------------------------------------------------------------------------------------------------------------- */

static void fork_shares(void)
{
	struct map m = map();
	int pid = start(touch, &m);

	child_ok(pid, 5000);
	CHECK(m.p[2] == 77);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	pid = start(touch, &m);
	CHECK(waits(pid));
	CHECK_OK(release(m.fd, 1));
	child_ok(pid, 5000);
}

/* The child has the pages of before; the hand-over takes them from it, too. */
static void touch_twice(void *arg)
{
	struct map *m = arg;

	touch(m);
	m->p[3] = 1;
	while (m->p[3] == 1)
		sleep_ms(1);
	m->p[4] = 1;
}

static void fork_zapped(void)
{
	struct map m = map();
	uint64_t end = now_ms() + 5000;
	int pid = start(touch_twice, &m);

	while (m.p[3] != 1 && now_ms() < end)
		sleep_ms(1);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	sleep_ms(50);
	CHECK(waits(pid));
	CHECK_OK(release(m.fd, 1));
	CHECK(waits(pid)); /* for us */
	m.p[3] = 2;
	child_ok(pid, 5000);
	CHECK(m.p[4] == 1);
}

static void outlive_parent(void *arg)
{
	int *say = arg;
	struct map m = map();
	int pid;

	pid = fork();
	CHECK(pid >= 0);
	if (pid)
		_exit(0); /* with the claim-less file, which the child's copy and mapping keep */
	sleep_ms(100);
	touch(&m);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	CHECK_OK(release(m.fd, 1));
	touch(&m);
	CHECK_EQ(write(say[1], "x", 1), 1);
	_exit(0);
}

static void fork_outlives(void)
{
	int say[2];
	char c;

	CHECK_OK(pipe(say));
	child_ok(child(outlive_parent, say), 5000);
	CHECK_EQ(read(say[0], &c, 1), 1);
}

/* A child has the file too: its end, even by a signal, must not end the claim. */
static void fork_keeps_claim(void)
{
	struct map m = map();

	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	CHECK(killed_soon(start(sleep_for_ever, &m)));
	sleep_ms(50);
	CHECK_EQ(authority(m.fd, 0).owner, PIM);
	CHECK_OK(release(m.fd, 1));
}

static void dontfork(void)
{
	struct map m = map();

	CHECK_OK(madvise((void *)m.p, SIZE, MADV_DONTFORK));
	CHECK(died_of(start(touch, &m), SIGSEGV));
	touch(&m);
}

/* -- the address space ------------------------------------------------------------------------------------------------- */

static void mremap_moves(void)
{
	struct map m = map(), old = m;
	char *to = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pid;

	CHECK(to != MAP_FAILED);
	m.p = mremap((void *)m.p, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CHECK(m.p != MAP_FAILED);
	touch(&m);
	CHECK(died_of(start(touch, &old), SIGSEGV));
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	pid = start(touch, &m);
	CHECK(waits(pid));
	CHECK_OK(release(m.fd, 1));
	child_ok(pid, 5000);
}

static void mremap_size(void)
{
	struct map m = map();

	CHECK(mremap((void *)m.p, SIZE, SIZE + PAGE, 0) == MAP_FAILED && errno == EFAULT);
	CHECK(mremap((void *)m.p, SIZE, 2 * SIZE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(mremap((void *)m.p, 0, SIZE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT); /* a duplicate */
	touch(&m);
	CHECK(mremap((void *)m.p, SIZE, PAGE, 0) == m.p);
	touch(&m);
}

static void hole(void)
{
	struct map m = map(), gone = m, tail = m;
	int pid;

	tail.p += 2 * PAGE / 8;
	CHECK_OK(munmap((char *)m.p + PAGE, PAGE));
	gone.p += PAGE / 8;
	CHECK(died_of(start(touch, &gone), SIGSEGV));
	tail.p[1] = WORD + 1;
	touch(&tail);
	touch(&m);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	pid = start(touch, &tail);
	CHECK(waits(pid));
	CHECK_OK(release(m.fd, 1));
	child_ok(pid, 5000);
}

static void madvise_data(void)
{
	const int refused[] = { MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DOFORK, MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	struct map m = map();
	size_t i;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		CHECK(madvise((void *)m.p, SIZE, refused[i]) < 0);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		CHECK(madvise((void *)m.p, SIZE, refused[i]) < 0);
	CHECK_OK(release(m.fd, 1));
	for (i = 0; i < SIZE / 8; i++)
		CHECK(m.p[i] == WORD + i);
}

static void mprotect_rights(void)
{
	struct map m = map();
	int pid;

	CHECK_OK(mprotect((void *)m.p, SIZE, PROT_READ));
	CHECK(m.p[1] == WORD + 1);
	CHECK(died_of(start(touch, &m), SIGSEGV));
	/* Rights come before authority: no wait for what is not allowed anyway. */
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	CHECK_OK(mprotect((void *)m.p, SIZE, PROT_NONE));
	CHECK(died_of(start(touch, &m), SIGSEGV));
	CHECK_OK(mprotect((void *)m.p, SIZE, PROT_READ | PROT_WRITE));
	pid = start(touch, &m);
	CHECK(waits(pid));
	CHECK_OK(release(m.fd, 1));
	child_ok(pid, 5000);
}

static void read_only_node(void)
{
	char path[32];
	uint64_t offset;
	uint32_t h;
	int fd;

	CHECK_OK(dev_find(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	h = gem(fd, SIZE, 0, 0);
	CHECK_OK(gem_offset(fd, h, &offset));
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset) == MAP_FAILED && errno == EACCES);
}

static void populate(void *arg)
{
	struct map *m = arg;
	uint64_t offset;

	CHECK_OK(gem_offset(m->fd, m->handle, &offset));
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, m->fd, (off_t)offset) != MAP_FAILED);
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_LOCKED, m->fd, (off_t)offset) != MAP_FAILED);
	CHECK_OK(mlock((void *)m->p, SIZE));
	CHECK_OK(munlock((void *)m->p, SIZE));
	CHECK_OK(mlockall(MCL_CURRENT | MCL_FUTURE));
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, (off_t)offset) != MAP_FAILED);
	CHECK_OK(munlockall());
}

static void populate_does_not_wait(void)
{
	struct map m = map();

	populate(&m);
	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	child_ok(start(populate, &m), 5000);
}

static void look(void *arg)
{
	static const char * const files[] = { "maps", "smaps", "numa_maps", "pagemap", "status" };
	struct map *m = arg;
	static char text[65536];
	char path[48];
	uint64_t entry;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT) /* numa_maps: by configuration */
			continue;
		CHECK(fd >= 0);
		if (!strcmp(files[i], "pagemap"))
			CHECK_EQ(pread(fd, &entry, 8, (off_t)((uintptr_t)m->p / PAGE * 8)), 8);
		else
			while (read(fd, text, sizeof(text)) > 0)
				;
		close(fd);
	}
}

static void dump_core(void *arg)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char dir[] = "/tmp/coreXXXXXX";

	(void)arg;
	CHECK(mkdtemp(dir));
	CHECK_OK(chdir(dir));
	CHECK_OK(setrlimit(RLIMIT_CORE, &unlimited));
	abort();
}

static void looks_do_not_wait(void)
{
	struct map m = map();
	int pid, status;

	CHECK_OK(acquire(m.fd, 1, PIM, 1000));
	child_ok(start(look, &m), 5000);
	pid = start(dump_core, &m);
	CHECK(child_ended(pid, 10000, &status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

const struct test map_tests[] = {
	{ "read() and write() move data in and out of a mapped buffer", read_write },
	{ "read() and write() with a mapped buffer wait while PIM has the domain", read_write_waits },
	{ "read() and write() that wait for the domain can be killed", read_write_killable },
	{ "read() and write() with a SIGBUS buffer fail with EFAULT while PIM has the domain", read_write_sigbus },
	{ "get_user_pages() of a mapped buffer fails with EFAULT, whoever has the domain", gup },
	{ "a debugger reads and writes a mapped buffer", ptrace_host },
	{ "a debugger sees no more than the mapping, and writes only where it may be written", ptrace_end },
	{ "a debugger gets EIO at once while PIM has the domain", ptrace_pim },
	{ "a debugger reaches a window buffer while PIM has the domain", ptrace_window },
	{ "a child shares its parent's mapping", fork_shares },
	{ "a hand-over takes the pages of a child's mapping, too", fork_zapped },
	{ "a child's mapping outlives its parent", fork_outlives },
	{ "a claim stays while any process has the file", fork_keeps_claim },
	{ "MADV_DONTFORK keeps a mapping from children", dontfork },
	{ "mremap() moves a mapping, and hand-overs follow it", mremap_moves },
	{ "mremap() may shrink a mapping, but neither grow nor duplicate it", mremap_size },
	{ "a mapping with a hole works on both sides of it", hole },
	{ "madvise() can neither drop nor populate card memory, and takes no data", madvise_data },
	{ "mprotect() is obeyed before authority is asked for", mprotect_rights },
	{ "a node opened for reading gives no writable mapping", read_only_node },
	{ "MAP_POPULATE and mlock() do not wait for the domain", populate_does_not_wait },
	{ "/proc and core dumps do not wait for the domain", looks_do_not_wait },
	TEST_END
};
