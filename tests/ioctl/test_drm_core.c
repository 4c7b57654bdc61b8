/* SPDX-License-Identifier: MIT */
/* What user space expects of any DRM node: version, capabilities, which ioctls a render node has, handles, masters, descriptors, removal. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <drm_mode.h>

#define SIZE 65536u

/* -- version and capabilities -------------------------------------------------------------------------------------------- */

static void version(void)
{
	char name[16] = "zzzzzzzzzzzzzzz", desc[64] = "";
	struct drm_version v = { 0 };
	int fd = dev_open();

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_VERSION, &v)); /* lengths alone */
	CHECK_EQ(v.name_len, 3);
	CHECK(v.desc_len > 0 && v.desc_len < sizeof(desc));
	CHECK(v.version_major >= 1);
	v.name = name;
	v.name_len = 2;
	v.desc = desc;
	v.date_len = 0;
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_VERSION, &v));
	CHECK_EQ(v.name_len, 3); /* what it would have been */
	CHECK(!strcmp(name, "pizzzzzzzzzzzzz")); /* no more than asked for, and no end added */
	CHECK_EQ(strlen(desc), v.desc_len);
	v.name = (char *)8;
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_VERSION, &v), -EFAULT);
}

static int cap(int fd, uint64_t which, uint64_t *value)
{
	struct drm_get_cap c = { .capability = which };
	int ret = pim_ioctl(fd, DRM_IOCTL_GET_CAP, &c);

	*value = c.value;
	return ret;
}

static void capabilities(void)
{
	int fd = dev_open();
	uint64_t value;

	CHECK_OK(cap(fd, DRM_CAP_SYNCOBJ, &value));
	CHECK_EQ(value, 1);
	CHECK_OK(cap(fd, DRM_CAP_SYNCOBJ_TIMELINE, &value));
	CHECK_EQ(value, 1);
	CHECK_OK(cap(fd, DRM_CAP_TIMESTAMP_MONOTONIC, &value));
	CHECK_EQ(value, 1);
	CHECK_EQ(cap(fd, DRM_CAP_DUMB_BUFFER, &value), -EOPNOTSUPP); /* a display's */
	CHECK_EQ(cap(fd, DRM_CAP_ADDFB2_MODIFIERS, &value), -EOPNOTSUPP);
	CHECK(cap(fd, 0xffff, &value) < 0);
}

/* -- ioctls -------------------------------------------------------------------------------------------------------------- */

static void render_only(void)
{
	static const struct {
		const char *name;
		unsigned long request;
	} shut[] = {
		{ "GET_UNIQUE", DRM_IOCTL_GET_UNIQUE }, { "GET_MAGIC", DRM_IOCTL_GET_MAGIC }, { "AUTH_MAGIC", DRM_IOCTL_AUTH_MAGIC },
		{ "GET_CLIENT", DRM_IOCTL_GET_CLIENT }, { "GET_STATS", DRM_IOCTL_GET_STATS }, { "SET_VERSION", DRM_IOCTL_SET_VERSION },
		{ "SET_MASTER", DRM_IOCTL_SET_MASTER }, { "DROP_MASTER", DRM_IOCTL_DROP_MASTER }, { "SET_CLIENT_CAP", DRM_IOCTL_SET_CLIENT_CAP },
		{ "GEM_FLINK", DRM_IOCTL_GEM_FLINK }, { "GEM_OPEN", DRM_IOCTL_GEM_OPEN }, { "MODE_GETRESOURCES", DRM_IOCTL_MODE_GETRESOURCES },
		{ "MODE_CREATE_DUMB", DRM_IOCTL_MODE_CREATE_DUMB }, { "WAIT_VBLANK", DRM_IOCTL_WAIT_VBLANK },
	};
	char arg[256] = { 0 };
	int fd = dev_open();
	size_t i;

	for (i = 0; i < sizeof(shut) / sizeof(shut[0]); i++)
		/* For 32-bit processes the core answers this one, with zeros, whatever the node. */
		if (!(sizeof(long) == 4 && shut[i].request == DRM_IOCTL_GET_STATS) && pim_ioctl(fd, shut[i].request, arg) != -EACCES)
			fail(__FILE__, __LINE__, "%s is not refused", shut[i].name);
}

static void unknown(void)
{
	char arg[256] = { 0 };
	int fd = dev_open(), nr;

	for (nr = 0x20; nr < DRM_COMMAND_END - DRM_COMMAND_BASE; nr++)
		CHECK_EQ(pim_ioctl(fd, DRM_IOWR(DRM_COMMAND_BASE + nr, struct drm_pim_get_param), arg), -EINVAL);
	CHECK_EQ(pim_ioctl(fd, DRM_IOWR(0xff, struct drm_pim_get_param), arg), -EINVAL);
}

static void bad_pointers(void)
{
	static const unsigned long requests[] = {
		DRM_IOCTL_VERSION, DRM_IOCTL_GET_CAP, DRM_IOCTL_GEM_CLOSE, DRM_IOCTL_SYNCOBJ_CREATE, DRM_IOCTL_SYNCOBJ_WAIT,
		DRM_IOCTL_PIM_GET_PARAM, DRM_IOCTL_PIM_GEM_CREATE, DRM_IOCTL_PIM_GEM_MMAP, DRM_IOCTL_PIM_QUEUE_CREATE,
		DRM_IOCTL_PIM_QUEUE_DESTROY, DRM_IOCTL_PIM_SUBMIT, DRM_IOCTL_PIM_AUTHORITY, DRM_IOCTL_PIM_QUEUE_QUERY,
		DRM_IOCTL_PIM_DOMAIN_QUERY,
	};
	int fd = dev_open();
	void *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		CHECK_EQ(pim_ioctl(fd, requests[i], NULL), -EFAULT);
		CHECK_EQ(pim_ioctl(fd, requests[i], (void *)8), -EFAULT);
		CHECK_EQ(pim_ioctl(fd, requests[i], (void *)~4095ul), -EFAULT);
	}
	/* Done, but the answer has no place. */
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_PIM_GET_PARAM, ro), -EFAULT);
}

/* Structures grow at their end: a caller of before has a shorter one, a later one a longer one. */
static void sizes(void)
{
	int fd = dev_open();
	struct {
		struct drm_pim_get_param p;
		uint64_t more[4];
	} arg = { .p = { .param = DRM_PIM_PARAM_DOMAINS }, .more = { 1, 2, 3, 4 } };
	uint64_t want = param(fd, DRM_PIM_PARAM_DOMAINS);

	arg.p.value = 12345;
	CHECK_OK(pim_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, 8), &arg));
	CHECK_EQ(arg.p.value, 12345); /* not his */
	arg.p.pad = 1;
	CHECK_OK(pim_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, 4), &arg));
	arg.p.pad = 0;
	CHECK_OK(pim_ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, sizeof(arg)), &arg));
	CHECK_EQ(arg.p.value, want);
	CHECK_EQ(arg.more[3], 4);
	/* Without the answer: allowed, and nothing is written. */
	arg.p.value = 12345;
	CHECK_OK(pim_ioctl(fd, _IOC(_IOC_WRITE, 'd', DRM_COMMAND_BASE + DRM_PIM_GET_PARAM, sizeof(arg.p)), &arg));
	CHECK_EQ(arg.p.value, 12345);
}

/* -- handles ------------------------------------------------------------------------------------------------------------- */

static void gem_handles(void)
{
	int a = dev_open(), b = dev_open();
	uint32_t h = gem(a, SIZE, 0, 0), i, n[8];

	CHECK_EQ(gem_close(a, 0), -EINVAL);
	CHECK_EQ(gem_close(a, 0xfffff), -EINVAL);
	CHECK_EQ(gem_close(a, 0xffffffff), -EINVAL);
	CHECK_EQ(gem_close(b, h), -EINVAL);
	CHECK_OK(gem_close(a, h));
	CHECK_EQ(gem_close(a, h), -EINVAL);
	for (i = 0; i < 8; i++)
		n[i] = gem(a, SIZE, 0, 0);
	for (i = 0; i < 8; i++)
		CHECK_OK(gem_close(a, n[i]));
	for (i = 0; i < 8; i++)
		CHECK_EQ(gem_close(a, n[i]), -EINVAL);
}

static void handle_kinds(void)
{
	int fd = dev_open();
	struct drm_syncobj_destroy d = { .handle = 1 };
	uint32_t h = gem(fd, SIZE, 0, 0), q = queue_new(fd), s = syncobj_new(fd);

	/* Numbers of buffers, queues and syncobjs are spaces of their own. */
	CHECK_EQ(h, 1);
	CHECK_EQ(q, 1);
	CHECK_EQ(s, 1);
	CHECK_OK(queue_destroy(fd, q));
	CHECK_EQ(queue_destroy(fd, q), -ENOENT);
	CHECK_OK(gem_close(fd, h));
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &d));
}

/* -- descriptors --------------------------------------------------------------------------------------------------------- */

static void no_events(void)
{
	int fd = dev_open();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c[64];

	CHECK_EQ(poll(&p, 1, 50), 0);
	CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	CHECK(read(fd, c, sizeof(c)) < 0 && errno == EAGAIN);
	CHECK(write(fd, c, sizeof(c)) < 0 && errno == EINVAL);
	CHECK(lseek(fd, 0, SEEK_SET) == 0); /* DRM's nodes have no position, and no error for it */
}

static void same_file(void)
{
	int fd = dev_open(), copy = dup(fd), sock[2], got;
	uint32_t h = gem(fd, SIZE, 0, 0);
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec v = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	uint64_t offset;

	CHECK_OK(gem_offset(copy, h, &offset));
	CHECK_OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sock));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	CHECK_EQ(sendmsg(sock[0], &msg, 0), 1);
	CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 1000));
	close(fd);
	close(copy);
	sleep_ms(20);
	/* On its way the file lives, with its claim and its buffers. */
	fd = dev_open();
	CHECK_EQ(authority(fd, 0).owner, DRM_PIM_OWNER_PIM);
	CHECK_EQ(recvmsg(sock[1], &msg, 0), 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	CHECK_OK(gem_offset(got, h, &offset));
	CHECK_OK(release(got, 1));
	CHECK_EQ(authority(fd, 0).owner, DRM_PIM_OWNER_HOST);
}

static void many_opens(void)
{
	enum { N = 300 };
	int fd[N], i;

	for (i = 0; i < N; i++) {
		fd[i] = dev_open();
		gem(fd[i], 4096, 0, (uint32_t)i % 4);
		syncobj_new(fd[i]);
	}
	for (i = 0; i < N; i++)
		CHECK_EQ(param(fd[i], DRM_PIM_PARAM_MAX_JOBS), DRM_PIM_MAX_JOBS);
	for (i = 0; i < N; i++)
		CHECK_OK(close(fd[i]));
}

/* -- the primary node ---------------------------------------------------------------------------------------------------- */

/* The node beside the render node, of the same device. */
static int primary_open(void)
{
	char path[96], name[64];
	struct dirent *e;
	DIR *dir;

	CHECK_OK(dev_find(path));
	memcpy(name, path + strlen("/dev/dri/"), 20);
	snprintf(path, sizeof(path), "/sys/class/drm/%.20s/device/drm", name);
	dir = opendir(path);
	CHECK(dir);
	name[0] = '\0';
	while ((e = readdir(dir)))
		if (!strncmp(e->d_name, "card", 4))
			snprintf(name, sizeof(name), "%.40s", e->d_name);
	closedir(dir);
	CHECK(name[0]);
	snprintf(path, sizeof(path), "/dev/dri/%.40s", name);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void client(void)
{
	int fd = primary_open();
	struct drm_client c = { .idx = 0 };

	CHECK(fd >= 0);
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_GET_CLIENT, &c));
	CHECK_EQ(c.pid, getpid());
	CHECK_EQ(c.auth, 1);
	c.idx = 1;
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_GET_CLIENT, &c), -EINVAL);
}

static uint32_t magic(int fd)
{
	struct drm_auth a = { 0 };

	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_GET_MAGIC, &a));
	CHECK(a.magic);
	return a.magic;
}

static int authenticate(int fd, uint32_t number)
{
	struct drm_auth a = { .magic = number };

	return pim_ioctl(fd, DRM_IOCTL_AUTH_MAGIC, &a);
}

static void masters(void)
{
	int a = primary_open(), b = primary_open();
	uint32_t m;

	CHECK(a >= 0 && b >= 0);
	m = magic(b);
	CHECK_EQ(magic(b), m);
	CHECK(magic(a) != m);
	/* The first one is the master. */
	CHECK_EQ(authenticate(b, m), -EACCES);
	CHECK_EQ(authenticate(a, 0), -EINVAL);
	CHECK_EQ(authenticate(a, m + 1000), -EINVAL);
	CHECK_OK(authenticate(a, m));
	CHECK_EQ(authenticate(a, m), -EINVAL); /* once */
	CHECK_EQ(pim_ioctl(b, DRM_IOCTL_SET_MASTER, NULL), -EBUSY);
	CHECK_EQ(pim_ioctl(b, DRM_IOCTL_DROP_MASTER, NULL), -EINVAL);
	CHECK_OK(pim_ioctl(a, DRM_IOCTL_DROP_MASTER, NULL));
	CHECK_OK(pim_ioctl(b, DRM_IOCTL_SET_MASTER, NULL));
	CHECK_OK(pim_ioctl(b, DRM_IOCTL_SET_MASTER, NULL));
	CHECK_EQ(pim_ioctl(a, DRM_IOCTL_SET_MASTER, NULL), -EBUSY);
	close(b);
	CHECK_OK(pim_ioctl(a, DRM_IOCTL_SET_MASTER, NULL));
}

static void no_display(void)
{
	struct drm_mode_card_res res = { 0 };
	struct drm_mode_create_dumb dumb = { .width = 16, .height = 16, .bpp = 32 };
	struct drm_gem_flink flink;
	int fd = primary_open();

	CHECK(fd >= 0);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_MODE_GETRESOURCES, &res), -EOPNOTSUPP);
	CHECK(pim_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb) < 0);
	/* Global names: anybody could guess them. DRM has them for every GEM driver; they are another's handles to the same memory. */
	flink = (struct drm_gem_flink){ .handle = 0 };
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_GEM_FLINK, &flink), -ENOENT);
}

/* -- removal ------------------------------------------------------------------------------------------------------------- */

static void function_name(char name[32])
{
	DIR *dir = opendir(DRIVER);
	struct dirent *e;

	CHECK(dir);
	name[0] = '\0';
	while ((e = readdir(dir)))
		if (strchr(e->d_name, ':') && strlen(e->d_name) < 32)
			strcpy(name, e->d_name);
	closedir(dir);
	CHECK(name[0]);
}

static void wait_for_ever(void *arg)
{
	struct drm_syncobj_wait *w = arg;
	int fd = (int)w->pad;

	w->pad = 0;
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_WAIT, w)); /* the fence signals, with an error */
}

static void removed(void)
{
	char name[32], path[32];
	struct drm_version v = { 0 };
	struct drm_syncobj_create create = { 0 };
	int fd = dev_open(), pid, status;
	uint32_t q = queue_new(fd), pending = syncobj_new(fd), h = gem(fd, SIZE, 0, 0);
	struct drm_syncobj_wait w = { .handles = (uintptr_t)&pending, .count_handles = 1, .timeout_nsec = INT64_MAX, .pad = (uint32_t)fd };
	uint64_t offset, value;

	function_name(name);
	CHECK_OK(gem_offset(fd, h, &offset));
	CHECK_OK(dev_find(path));
	gate_close(fd, q, pending);
	pid = child(wait_for_ever, &w);
	CHECK(!child_ended(pid, 100, &status));
	driver_file("unbind", name);

	child_ok(pid, 5000);
	CHECK(access(path, F_OK) < 0);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_VERSION, &v), -ENODEV);
	CHECK_EQ(cap(fd, DRM_CAP_SYNCOBJ, &value), -ENODEV);
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &create), -ENODEV);
	CHECK_EQ(gem_close(fd, h), -ENODEV);
	CHECK(mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, (off_t)offset) == MAP_FAILED && errno == ENODEV);

	/* A second life beside the open file of the first. */
	driver_file("bind", name);
	pid = dev_open();
	CHECK_OK(pim_ioctl(pid, DRM_IOCTL_VERSION, &v));
	q = queue_new(pid);
	pending = syncobj_new(pid);
	gate_close(pid, q, pending);
	gate_open(pid, q, 0);
	CHECK_OK(syncobj_wait(pid, pending, 0, 5000));
	CHECK_EQ(pim_ioctl(fd, DRM_IOCTL_VERSION, &v), -ENODEV);
	CHECK_OK(close(fd));
	CHECK_OK(pim_ioctl(pid, DRM_IOCTL_VERSION, &v));
}

static void removed_twice(void)
{
	char name[32];
	int fd[3], i;
	struct drm_version v = { 0 };

	function_name(name);
	for (i = 0; i < 3; i++) {
		fd[i] = dev_open();
		gem(fd[i], SIZE, 0, 0);
		queue_new(fd[i]);
		CHECK_OK(acquire(fd[i], 1, DRM_PIM_OWNER_PIM, 1000));
		driver_file("unbind", name);
		driver_file("bind", name);
	}
	for (i = 0; i < 3; i++) {
		CHECK_EQ(pim_ioctl(fd[i], DRM_IOCTL_VERSION, &v), -ENODEV);
		CHECK_OK(close(fd[i]));
	}
	i = dev_open();
	CHECK_OK(acquire(i, 1, DRM_PIM_OWNER_PIM, 1000));
}

const struct test drm_core_tests[] = {
	{ "DRM: the version has lengths, and is cut to what the caller has room for", version },
	{ "DRM: the node says that it has syncobjs and timelines, and no display", capabilities },
	{ "DRM: a render node has no masters, names or modes, not even for root", render_only },
	{ "DRM: unknown ioctls are refused", unknown },
	{ "DRM: bad pointers give EFAULT from every ioctl", bad_pointers },
	{ "DRM: shorter and longer structures are extended and cut", sizes },
	{ "DRM: a buffer's handle is closed by its own file, once", gem_handles },
	{ "DRM: buffers, queues and syncobjs are numbered apart", handle_kinds },
	{ "DRM: a node has no events to read, and takes none", no_events },
	{ "DRM: a file is the same by every descriptor, also one on its way to another process", same_file },
	{ "DRM: hundreds of files at a time", many_opens },
	{ "DRM: the primary node tells a client about itself alone", client },
	{ "DRM: the primary node has one master, who authenticates others", masters },
	{ "DRM: the primary node has no display", no_display },
	{ "DRM: a removed device answers ENODEV, ends its waits, and comes back beside its open files", removed },
	{ "DRM: files of lives gone by are closed in any order", removed_twice },
	TEST_END
};
