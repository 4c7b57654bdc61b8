/* SPDX-License-Identifier: MIT */
/*
 * The layout that programs were compiled with: it never changes, and is the same in 32-bit and 64-bit processes. New fields get new rows; no
 * row is ever edited.
 */
#include "harness.h"

struct field {
	const char *name;
	uint32_t off, bytes;
	uint32_t want_off, want_bytes;
};

struct layout {
	const char *name;
	uint32_t bytes, want_bytes;
	unsigned long request, want_request;
	const struct field *fields;
};

/* clang-format off */
#define F(s, f, off, bytes) { #f, offsetof(struct drm_pim_##s, f), sizeof(((struct drm_pim_##s *)0)->f), off, bytes }
#define END { NULL, 0, 0, 0, 0 }
#define ROWS (const struct field[])

static const struct layout layouts[] = {
	{ "get_param", sizeof(struct drm_pim_get_param), 16, DRM_IOCTL_PIM_GET_PARAM, 0xc0106440,
	  ROWS{ F(get_param, param, 0, 4), F(get_param, pad, 4, 4), F(get_param, value, 8, 8), END } },
	{ "gem_create", sizeof(struct drm_pim_gem_create), 40, DRM_IOCTL_PIM_GEM_CREATE, 0xc0286441,
	  ROWS{ F(gem_create, size, 0, 8), F(gem_create, align, 8, 8), F(gem_create, flags, 16, 4), F(gem_create, domains, 20, 4),
		F(gem_create, handle, 24, 4), F(gem_create, domain, 28, 4), F(gem_create, address, 32, 8), END } },
	{ "gem_mmap", sizeof(struct drm_pim_gem_mmap), 16, DRM_IOCTL_PIM_GEM_MMAP, 0xc0106442,
	  ROWS{ F(gem_mmap, handle, 0, 4), F(gem_mmap, flags, 4, 4), F(gem_mmap, offset, 8, 8), END } },
	{ "queue_create", sizeof(struct drm_pim_queue_create), 40, DRM_IOCTL_PIM_QUEUE_CREATE, 0xc0286443,
	  ROWS{ F(queue_create, flags, 0, 4), F(queue_create, queue, 4, 4), F(queue_create, priority, 8, 4),
		F(queue_create, timeout_ms, 12, 4), F(queue_create, policy, 16, 24), END } },
	{ "queue_destroy", sizeof(struct drm_pim_queue_destroy), 8, DRM_IOCTL_PIM_QUEUE_DESTROY, 0xc0086444,
	  ROWS{ F(queue_destroy, queue, 0, 4), F(queue_destroy, pad, 4, 4), END } },
	{ "submit", sizeof(struct drm_pim_submit), 64, DRM_IOCTL_PIM_SUBMIT, 0xc0406445,
	  ROWS{ F(submit, queue, 0, 4), F(submit, flags, 4, 4), F(submit, njobs, 8, 4), F(submit, nin, 12, 4), F(submit, nout, 16, 4),
		F(submit, pad, 20, 4), F(submit, jobs, 24, 8), F(submit, in_syncs, 32, 8), F(submit, out_syncs, 40, 8),
		F(submit, seq, 48, 16), END } },
	{ "authority", sizeof(struct drm_pim_authority), 80, DRM_IOCTL_PIM_AUTHORITY, 0xc0506446,
	  ROWS{ F(authority, op, 0, 4), F(authority, flags, 4, 4), F(authority, domains, 8, 4), F(authority, owner, 12, 4),
		F(authority, timeout_ns, 16, 8), F(authority, deadline_ns, 24, 8), F(authority, min_ns, 32, 8), F(authority, max_ns, 40, 8),
		F(authority, host_requests, 48, 4), F(authority, priority, 52, 4), F(authority, nin, 56, 4), F(authority, nout, 60, 4),
		F(authority, in_syncs, 64, 8), F(authority, out_syncs, 72, 8), END } },
	{ "queue_query", sizeof(struct drm_pim_queue_query), 72, DRM_IOCTL_PIM_QUEUE_QUERY, 0xc0486447,
	  ROWS{ F(queue_query, queue, 0, 4), F(queue_query, status, 4, 4), F(queue_query, engine, 8, 4), F(queue_query, where, 12, 4),
		F(queue_query, unit, 16, 4), F(queue_query, flags, 20, 4), F(queue_query, seq, 24, 8), F(queue_query, address, 32, 8),
		F(queue_query, submitted, 40, 16), F(queue_query, completed, 56, 16), END } },
	{ "domain_query", sizeof(struct drm_pim_domain_query), 120, DRM_IOCTL_PIM_DOMAIN_QUERY, 0xc0786448,
	  ROWS{ F(domain_query, domain, 0, 4), F(domain_query, owner, 4, 4), F(domain_query, holder, 8, 4), F(domain_query, priority, 12, 4),
		F(domain_query, comm, 16, 16), F(domain_query, waiters, 32, 4), F(domain_query, host_waiters, 36, 4),
		F(domain_query, deadline_ns, 40, 8), F(domain_query, tenure_ns, 48, 8), F(domain_query, owned_ns, 56, 24),
		F(domain_query, handovers, 80, 8), F(domain_query, yields, 88, 8), F(domain_query, revocations, 96, 8),
		F(domain_query, host_requests, 104, 8), F(domain_query, switches, 112, 8), END } },
	{ "watch", sizeof(struct drm_pim_watch), 8, DRM_IOCTL_PIM_WATCH, 0xc0086449, ROWS{ F(watch, fd, 0, 4), F(watch, domains, 4, 4), END } },
	{ "gem_info", sizeof(struct drm_pim_gem_info), 32, DRM_IOCTL_PIM_GEM_INFO, 0xc020644a,
	  ROWS{ F(gem_info, handle, 0, 4), F(gem_info, flags, 4, 4), F(gem_info, size, 8, 8), F(gem_info, address, 16, 8),
		F(gem_info, domain, 24, 4), F(gem_info, pad, 28, 4), END } },
	{ "gem_copy", sizeof(struct drm_pim_gem_copy), 40, DRM_IOCTL_PIM_GEM_COPY, 0xc028644b,
	  ROWS{ F(gem_copy, dst, 0, 4), F(gem_copy, src, 4, 4), F(gem_copy, dst_offset, 8, 8), F(gem_copy, src_offset, 16, 8),
		F(gem_copy, bytes, 24, 8), F(gem_copy, timeout_ns, 32, 8), END } },
	{ "binding", sizeof(struct drm_pim_binding), 24, 0, 0,
	  ROWS{ F(binding, handle, 0, 4), F(binding, access, 4, 4), F(binding, offset, 8, 8), F(binding, bytes, 16, 8), END } },
	{ "wait", sizeof(struct drm_pim_wait), 16, 0, 0, ROWS{ F(wait, engine, 0, 4), F(wait, pad, 4, 4), F(wait, seq, 8, 8), END } },
	{ "sync", sizeof(struct drm_pim_sync), 16, 0, 0, ROWS{ F(sync, handle, 0, 4), F(sync, pad, 4, 4), F(sync, point, 8, 8), END } },
	{ "job", sizeof(struct drm_pim_job), 152, 0, 0,
	  ROWS{ F(job, engine, 0, 4), F(job, op, 4, 4), F(job, flags, 8, 4), F(job, nwaits, 12, 4), F(job, nbindings, 16, 4),
		F(job, payload_bytes, 20, 4), F(job, bindings, 24, 8), F(job, payload, 32, 8), F(job, wait, 40, 64), F(job, batch, 104, 4),
		F(job, batch_engines, 108, 4), F(job, time_binding, 112, 4), F(job, pad, 116, 4), F(job, time_off, 120, 8),
		F(job, policy, 128, 24), END } },
};

/* clang-format on */

static void structures(void)
{
	const struct layout *l;
	const struct field *f;
	uint32_t end;
	size_t i;

	for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		l = &layouts[i];
		end = 0;
		for (f = l->fields; f->name; f++) {
			if (f->off != f->want_off || f->bytes != f->want_bytes)
				fail(__FILE__, __LINE__, "%s.%s is [%u, +%u), not [%u, +%u)", l->name, f->name, f->off, f->bytes,
				     f->want_off, f->want_bytes);
			if (f->off != end)
				fail(__FILE__, __LINE__, "%s has a gap, or a field without a row, before %s", l->name, f->name);
			end = f->off + f->bytes;
		}
		if (end != l->bytes || l->bytes != l->want_bytes)
			fail(__FILE__, __LINE__, "%s has %u bytes, fields end at %u, pinned are %u", l->name, l->bytes, end,
			     l->want_bytes);
	}
}

static void requests(void)
{
	size_t i;

	for (i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (layouts[i].request != layouts[i].want_request)
			fail(__FILE__, __LINE__, "the request of %s is %#lx, not %#lx", layouts[i].name, layouts[i].request,
			     layouts[i].want_request);
}

static void numbers(void)
{
	static const struct {
		uint64_t have, want;
		/* clang-format off */
	} pinned[] = {
		{ DRM_PIM_ENGINE_HOST, 0 }, { DRM_PIM_ENGINE_PIM, 1 }, { DRM_PIM_ENGINES, 2 },
		{ DRM_PIM_PARAM_ABI_MAJOR, 0 }, { DRM_PIM_PARAM_ABI_MINOR, 1 }, { DRM_PIM_PARAM_FEATURES, 2 }, { DRM_PIM_PARAM_DOMAINS, 3 },
		{ DRM_PIM_PARAM_DOMAIN_BYTES, 4 }, { DRM_PIM_PARAM_WINDOW_BYTES, 5 }, { DRM_PIM_PARAM_STRIPE_BYTES, 6 },
		{ DRM_PIM_PARAM_STACKS, 7 }, { DRM_PIM_PARAM_PCS, 8 }, { DRM_PIM_PARAM_BANK_GROUPS, 9 }, { DRM_PIM_PARAM_BANKS, 10 },
		{ DRM_PIM_PARAM_BANKS_PER_UNIT, 11 }, { DRM_PIM_PARAM_ROWS, 12 }, { DRM_PIM_PARAM_ROW_BYTES, 13 },
		{ DRM_PIM_PARAM_TCK_PS, 14 }, { DRM_PIM_PARAM_HOST_GFLOPS, 15 }, { DRM_PIM_PARAM_HOST_MBPS, 16 },
		{ DRM_PIM_PARAM_PIM_MBPS, 17 }, { DRM_PIM_PARAM_WINDOW_MBPS, 18 }, { DRM_PIM_PARAM_CRF_WORDS, 19 },
		{ DRM_PIM_PARAM_SRF_WORDS, 20 }, { DRM_PIM_PARAM_MAX_JOBS, 21 }, { DRM_PIM_PARAM_RING_ENTRIES, 22 },
		{ DRM_PIM_PARAM_NOW_NS, 23 }, { DRM_PIM_PARAM_NAME0, 24 }, { DRM_PIM_PARAM_EXTENSIONS, 32 },
		{ DRM_PIM_PARAM_DOMAIN_PCS, 33 }, { DRM_PIM_PARAM_MAX_SYNCS, 34 }, { DRM_PIM_PARAM_MAX_BINDINGS, 35 },
		{ DRM_PIM_PARAM_MAX_WAITS, 36 }, { DRM_PIM_PARAM_MAX_PAYLOAD, 37 }, { DRM_PIM_PARAM_MAX_QUEUES, 38 },
		{ DRM_PIM_PARAM_JOB_TIMEOUT_MS, 39 }, { DRM_PIM_PARAM_MAX_JOB_TIMEOUT_MS, 40 }, { DRM_PIM_PARAM_TENURE_MS, 41 },
		{ DRM_PIM_PARAM_RESETS, 42 },
		{ DRM_PIM_GEM_WINDOW, 1 }, { DRM_PIM_GEM_SIGBUS, 2 }, { DRM_PIM_GEM_IMPORTED, 4 },
		{ DRM_PIM_PRIORITY_NORMAL, 0 }, { DRM_PIM_PRIORITY_HIGH, 1 }, { DRM_PIM_PRIORITY_LOW, 2 },
		{ DRM_PIM_QUEUE_GUILTY, 1 }, { DRM_PIM_QUEUE_INNOCENT, 2 },
		{ DRM_PIM_ACCESS_READ, 1 }, { DRM_PIM_ACCESS_WRITE, 2 },
		{ DRM_PIM_JOB_TIMED, 1 }, { DRM_PIM_JOB_CLOSE, 2 }, { DRM_PIM_JOB_QUEUE_POLICY, 4 },
		{ DRM_PIM_JOB_MAX_BINDINGS, 12 }, { DRM_PIM_JOB_MAX_WAITS, 4 }, { DRM_PIM_JOB_MAX_PAYLOAD, 512 }, { DRM_PIM_MAX_JOBS, 4096 },
		{ DRM_PIM_MAX_SYNCS, 1024 },
		{ DRM_PIM_OWNER_HOST, 0 }, { DRM_PIM_OWNER_PIM, 1 }, { DRM_PIM_OWNER_AUTO, 2 },
		{ DRM_PIM_AUTHORITY_ACQUIRE, 0 }, { DRM_PIM_AUTHORITY_RELEASE, 1 },
		{ DRM_PIM_AUTHORITY_NONBLOCK, 1 }, { DRM_PIM_AUTHORITY_ASYNC, 2 },
	};
	/* clang-format on */
	size_t i;

	for (i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++)
		if (pinned[i].have != pinned[i].want)
			fail(__FILE__, __LINE__, "row %zu: %llu, pinned is %llu", i, (unsigned long long)pinned[i].have,
			     (unsigned long long)pinned[i].want);
}

/* -- other lengths -------------------------------------------------------------------------------------------------- */

#define SIZED(request, bytes)                                                                                                      \
	(((request) & ~((unsigned long)_IOC_SIZEMASK << _IOC_SIZESHIFT)) | (unsigned long)(bytes) << _IOC_SIZESHIFT)

/* What a program that knows only the first @bytes of a structure calls. What lies behind must stay as it is. */
static int short_call(int fd, unsigned long request, void *args, size_t bytes)
{
	unsigned char buf[256];
	size_t i;
	int ret;

	memset(buf, 0xa5, sizeof(buf));
	memcpy(buf, args, bytes);
	ret = pim_ioctl(fd, SIZED(request, bytes), buf);
	memcpy(args, buf, bytes);
	for (i = bytes; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], 0xa5);
	return ret;
}

static void shorter(void)
{
	struct drm_pim_authority acq = {
		.op = DRM_PIM_AUTHORITY_ACQUIRE, .domains = 1, .owner = DRM_PIM_OWNER_PIM, .timeout_ns = in_ms(1000)
	};
	struct drm_pim_authority rel = { .op = DRM_PIM_AUTHORITY_RELEASE, .domains = 1 };
	struct drm_pim_queue_create create = { 0 };
	struct drm_pim_queue_query query = { 0 };
	struct drm_pim_domain_query domain = { 0 };
	int fd = dev_open();

	/* As long as they were in driver version 1.0. */
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_QUEUE_CREATE, &create, offsetof(struct drm_pim_queue_create, priority)));
	CHECK(create.queue);
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_AUTHORITY, &acq, offsetof(struct drm_pim_authority, deadline_ns)));
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_DOMAIN_QUERY, &domain, 16));
	CHECK_EQ(domain.owner, DRM_PIM_OWNER_PIM);
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_AUTHORITY, &rel, offsetof(struct drm_pim_authority, deadline_ns)));
	query.queue = create.queue;
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_QUEUE_QUERY, &query, 8));
	CHECK_EQ(query.status, 0);
}

/* A program that is newer than the kernel: what the kernel does not know it neither reads nor writes; EXTENSIONS told the program so. */
static void longer(void)
{
	struct {
		struct drm_pim_get_param p;
		uint64_t more[2];
	} args = { .p = { .param = DRM_PIM_PARAM_MAX_JOBS }, .more = { 0x1234, 0x5678 } };
	int fd = dev_open();

	CHECK_OK(pim_ioctl(fd, SIZED(DRM_IOCTL_PIM_GET_PARAM, sizeof(args)), &args));
	CHECK_EQ(args.p.value, DRM_PIM_MAX_JOBS);
	CHECK_EQ(args.more[0], 0x1234);
	CHECK_EQ(args.more[1], 0x5678);
}

static void nothing(void)
{
	struct drm_pim_get_param p = { .param = 1000 };
	int fd = dev_open();

	/* All zero: parameter ABI_MAJOR, a mask without a domain, a queue that is none. */
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_GET_PARAM, &p, 0));
	CHECK_EQ(short_call(fd, DRM_IOCTL_PIM_AUTHORITY, &p, 0), -EINVAL);
	CHECK_EQ(short_call(fd, DRM_IOCTL_PIM_SUBMIT, &p, 0), -EINVAL);
	CHECK_EQ(short_call(fd, DRM_IOCTL_PIM_QUEUE_DESTROY, &p, 0), -ENOENT);
}

static void unterminated(void)
{
	struct drm_pim_get_param p = { .param = DRM_PIM_PARAM_DOMAINS };
	uint32_t half = 0;
	int fd = dev_open();

	/* The first half of a parameter query: known, then cut. */
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_GET_PARAM, &p, 8));
	CHECK_EQ(p.value, 0);
	CHECK_OK(short_call(fd, DRM_IOCTL_PIM_GET_PARAM, &p, 12));
	memcpy(&half, &p.value, 4);
	CHECK_EQ(half, param(fd, DRM_PIM_PARAM_DOMAINS));
}

const struct test abi_tests[] = {
	{ "every field of every structure lies where it was pinned, without a gap", structures },
	{ "every ioctl has the request number that was pinned", requests },
	{ "every enumerator, flag and limit has the number that was pinned", numbers },
	{ "the structures of driver version 1.0 still do", shorter },
	{ "a structure that is longer than the kernel's is taken up to what the kernel knows", longer },
	{ "a call without a structure is a call with zeros", nothing },
	{ "a result that the caller's structure has no room for is cut off", unterminated },
	TEST_END
};
