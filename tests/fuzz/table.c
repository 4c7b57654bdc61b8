// SPDX-License-Identifier: MIT
/* The calls. A new ioctl is a list of fields and a row; a new field is a line. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <drm/pim_drm.h>
#include <pim/hw.h>

#include "fuzz.h"
#include "ops.h"

#define F(s, f, k, ...) { .name = #f, .off = offsetof(struct s, f), .size = sizeof(((struct s *)NULL)->f), .kind = k, ##__VA_ARGS__ }
#define END { .name = NULL }
#define COUNT_IN(s, f) .count = offsetof(struct s, f)
#define NAMED(n, s, ...) \
	static const struct type n##_type = { .name = #s, .size = sizeof(struct s), .fields = n##_fields, ##__VA_ARGS__ }
#define TYPE(n, ...) NAMED(n, n, ##__VA_ARGS__)

/* -- pim.ko --------------------------------------------------------------------------------------------------------- */

static const struct field drm_pim_get_param_fields[] = {
	F(drm_pim_get_param, param, K_ENUM, .a = DRM_PIM_PARAM_RESETS + 1),
	F(drm_pim_get_param, pad, K_PAD),
	F(drm_pim_get_param, value, K_OUT),
	END
};
TYPE(drm_pim_get_param);

static void fix_gem_create(struct gen *g, void *p)
{
	struct drm_pim_gem_create *c = p;

	if (c->flags & DRM_PIM_GEM_WINDOW)
		c->domains = 0;
	if (chance(g->rng, 90))
		c->align = 0;
}

static const struct field drm_pim_gem_create_fields[] = {
	F(drm_pim_gem_create, size, K_SIZE, .a = 4 << 20),
	F(drm_pim_gem_create, flags, K_FLAGS, .a = DRM_PIM_GEM_WINDOW | DRM_PIM_GEM_SIGBUS),
	F(drm_pim_gem_create, domains, K_DOMAINS),
	F(drm_pim_gem_create, align, K_NUM, .a = 0, .b = 1 << 20),
	F(drm_pim_gem_create, handle, K_NEW, .a = P_GEM),
	F(drm_pim_gem_create, domain, K_OUT),
	F(drm_pim_gem_create, address, K_OUT),
	END
};
TYPE(drm_pim_gem_create, .fix = fix_gem_create);

static const struct field drm_pim_gem_mmap_fields[] = {
	F(drm_pim_gem_mmap, handle, K_HANDLE, .a = P_GEM),
	F(drm_pim_gem_mmap, flags, K_PAD),
	F(drm_pim_gem_mmap, offset, K_OUT),
	END
};
TYPE(drm_pim_gem_mmap);

static const struct field drm_pim_gem_info_fields[] = {
	F(drm_pim_gem_info, handle, K_HANDLE, .a = P_GEM),
	F(drm_pim_gem_info, flags, K_PAD),
	F(drm_pim_gem_info, size, K_OUT),
	F(drm_pim_gem_info, address, K_OUT),
	F(drm_pim_gem_info, domain, K_OUT),
	F(drm_pim_gem_info, pad, K_PAD),
	END
};
TYPE(drm_pim_gem_info);

/* Mostly within one buffer, from its begin to behind that. */
static void fix_gem_copy(struct gen *g, void *p)
{
	struct drm_pim_gem_copy *c = p;

	if (chance(g->rng, 80)) {
		c->bytes = 1 + rnd_below(g->rng, 2048);
		c->src_offset = 0;
		c->dst_offset = 2048;
	}
}

static const struct field drm_pim_gem_copy_fields[] = {
	F(drm_pim_gem_copy, dst, K_HANDLE, .a = P_GEM),
	F(drm_pim_gem_copy, dst_offset, K_OFFSET, .a = 4096),
	F(drm_pim_gem_copy, src, K_HANDLE, .a = P_GEM),
	F(drm_pim_gem_copy, src_offset, K_OFFSET, .a = 4096),
	F(drm_pim_gem_copy, bytes, K_LENGTH),
	F(drm_pim_gem_copy, timeout_ns, K_DEADLINE),
	END
};
TYPE(drm_pim_gem_copy, .fix = fix_gem_copy);

static const struct field pim_hw_policy_fields[] = {
	F(pim_hw_policy, kind, K_ENUM, .a = PIM_HW_POLICY_QUEUE + 1),
	F(pim_hw_policy, high, K_NUM, .a = 0, .b = 64),
	F(pim_hw_policy, low, K_NUM, .a = 0, .b = 64),
	F(pim_hw_policy, pad, K_PAD),
	F(pim_hw_policy, min_ns, K_NUM, .a = 0, .b = 10000),
	F(pim_hw_policy, max_ns, K_NUM, .a = 0, .b = 10000),
	END
};
TYPE(pim_hw_policy);

static const struct field drm_pim_queue_create_fields[] = {
	F(drm_pim_queue_create, flags, K_PAD),
	F(drm_pim_queue_create, queue, K_NEW, .a = P_QUEUE),
	F(drm_pim_queue_create, priority, K_ENUM, .a = DRM_PIM_PRIORITY_LOW + 1),
	F(drm_pim_queue_create, timeout_ms, K_NUM, .a = 0, .b = 60000),
	F(drm_pim_queue_create, policy, K_NEST, .of = &pim_hw_policy_type),
	END
};
TYPE(drm_pim_queue_create);

static const struct field drm_pim_queue_destroy_fields[] = {
	F(drm_pim_queue_destroy, queue, K_DEL, .a = P_QUEUE),
	F(drm_pim_queue_destroy, pad, K_PAD),
	END
};
TYPE(drm_pim_queue_destroy);

static const struct field drm_pim_queue_query_fields[] = {
	F(drm_pim_queue_query, queue, K_HANDLE, .a = P_QUEUE),
	F(drm_pim_queue_query, flags, K_PAD),
	END
};
TYPE(drm_pim_queue_query);

static const struct field drm_pim_binding_fields[] = {
	F(drm_pim_binding, handle, K_HANDLE, .a = P_GEM),
	F(drm_pim_binding, access, K_NUM, .a = 1, .b = 3),
	F(drm_pim_binding, offset, K_OFFSET, .a = 4096),
	F(drm_pim_binding, bytes, K_LENGTH),
	END
};
TYPE(drm_pim_binding);

static const struct field drm_pim_wait_fields[] = {
	F(drm_pim_wait, engine, K_ENUM, .a = DRM_PIM_ENGINES),
	F(drm_pim_wait, pad, K_PAD),
	F(drm_pim_wait, seq, K_SEQ),
	END
};
TYPE(drm_pim_wait);

/* An operation with a payload that the card takes, or noise that it has to refuse. */
static void fix_job(struct gen *g, void *p)
{
	struct drm_pim_job *job = p;
	const struct drm_pim_binding *b = (const void *)(uintptr_t)job->bindings;
	struct pim_hw_copy copy = { 0 };
	uint32_t domains = 0;

	if (job->nbindings)
		domains = 1u << (g->last[P_GEM].domain & 31); /* of the last one: good enough */
	if (job->engine == DRM_PIM_ENGINE_PIM && (domains & ~atomic_load(&g->client->held)) && chance(g->rng, 90))
		job->nbindings = 0; /* it would be refused */
	if (chance(g->rng, 90))
		job->policy[0] = PIM_HW_POLICY_SERIAL; /* may run in an AUTO domain */
	if ((job->flags & DRM_PIM_JOB_QUEUE_POLICY) && chance(g->rng, 90))
		memset(job->policy, 0, sizeof(job->policy));
	if (chance(g->rng, 70))
		job->nwaits = 0;
	job->op = PIM_HW_OP_NOP;
	if (job->flags & DRM_PIM_JOB_TIMED && !(job->nbindings && (b[0].access & DRM_PIM_ACCESS_WRITE) && b[0].bytes >= 4096))
		job->flags &= ~DRM_PIM_JOB_TIMED;
	job->time_binding = 0;
	job->time_off = rnd_below(g->rng, 8) * 8;
	if (chance(g->rng, 80)) {
		job->flags &= ~DRM_PIM_JOB_CLOSE;
		job->batch = 0;
		job->batch_engines = 0;
	} else {
		job->batch = 1 + (uint32_t)rnd_below(g->rng, 3);
		job->batch_engines = 1u << job->engine; /* a batch that the other engine has to close may wait for it for ever */
		if (chance(g->rng, 2))
			job->batch_engines = 3;
	}
	switch (rnd_below(g->rng, 16)) {
	case 0: /* noise: an operation that fails fails the queue */
		job->op = (uint32_t)rnd_below(g->rng, PIM_HW_OP_DROPOUT + 2);
		return;
	case 1:
	case 2:
	case 3:
	case 4:
		if (job->engine != DRM_PIM_ENGINE_HOST || !job->nbindings || !(b[0].access & DRM_PIM_ACCESS_WRITE))
			return;
		copy.bytes = b[0].bytes & ~3ull;
		if (copy.bytes > 65536)
			copy.bytes = 65536;
		copy.pattern = (uint32_t)rnd(g->rng);
		job->op = PIM_HW_OP_FILL;
		if (job->payload_bytes >= sizeof(copy)) {
			memcpy((void *)(uintptr_t)job->payload, &copy, sizeof(copy));
			job->payload_bytes = sizeof(copy);
		} else {
			job->op = PIM_HW_OP_NOP;
		}
		return;
	}
}

static const struct field drm_pim_job_fields[] = {
	F(drm_pim_job, engine, K_ENUM, .a = DRM_PIM_ENGINES),
	F(drm_pim_job, op, K_NUM),
	F(drm_pim_job, flags, K_FLAGS, .a = DRM_PIM_JOB_TIMED | DRM_PIM_JOB_CLOSE | DRM_PIM_JOB_QUEUE_POLICY),
	F(drm_pim_job, nwaits, K_NUM, .a = 0, .b = DRM_PIM_JOB_MAX_WAITS),
	F(drm_pim_job, nbindings, K_COUNT),
	F(drm_pim_job, payload_bytes, K_COUNT),
	F(drm_pim_job, bindings, K_ARRAY, .a = 0, .b = DRM_PIM_JOB_MAX_BINDINGS, .of = &drm_pim_binding_type, COUNT_IN(drm_pim_job, nbindings)),
	F(drm_pim_job, payload, K_BYTES, .a = 0, .b = DRM_PIM_JOB_MAX_PAYLOAD, COUNT_IN(drm_pim_job, payload_bytes)),
	F(drm_pim_job, wait, K_NEST, .of = &drm_pim_wait_type),
	F(drm_pim_job, batch, K_NUM),
	F(drm_pim_job, batch_engines, K_NUM),
	F(drm_pim_job, time_binding, K_NUM),
	F(drm_pim_job, pad, K_PAD),
	F(drm_pim_job, time_off, K_NUM),
	F(drm_pim_job, policy, K_NEST, .of = &pim_hw_policy_type),
	END
};
TYPE(drm_pim_job, .fix = fix_job);

static const struct field in_sync_fields[] = {
	F(drm_pim_sync, handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_pim_sync, pad, K_PAD),
	F(drm_pim_sync, point, K_POINT),
	END
};
NAMED(in_sync, drm_pim_sync);

static const struct field out_sync_fields[] = {
	F(drm_pim_sync, handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_pim_sync, pad, K_PAD),
	F(drm_pim_sync, point, K_POINT, .a = 1),
	END
};
NAMED(out_sync, drm_pim_sync);

static const struct field drm_pim_submit_fields[] = {
	F(drm_pim_submit, queue, K_HANDLE, .a = P_QUEUE),
	F(drm_pim_submit, flags, K_PAD),
	F(drm_pim_submit, njobs, K_COUNT),
	F(drm_pim_submit, nin, K_COUNT),
	F(drm_pim_submit, nout, K_COUNT),
	F(drm_pim_submit, pad, K_PAD),
	F(drm_pim_submit, jobs, K_ARRAY, .a = 1, .b = 40, .of = &drm_pim_job_type, COUNT_IN(drm_pim_submit, njobs)),
	F(drm_pim_submit, in_syncs, K_ARRAY, .a = 0, .b = 4, .of = &in_sync_type, COUNT_IN(drm_pim_submit, nin)),
	F(drm_pim_submit, out_syncs, K_ARRAY, .a = 0, .b = 4, .of = &out_sync_type, COUNT_IN(drm_pim_submit, nout)),
	F(drm_pim_submit, seq, K_OUT),
	END
};
TYPE(drm_pim_submit);

/* A queue that failed takes no more jobs: give it back. */
static void done_submit(struct thread *t, struct client *c, void *arg, int ret)
{
	struct drm_pim_submit *s = arg;

	if (!ret)
		pool_number(c, P_QUEUE, s->queue, s->seq[0] > s->seq[1] ? s->seq[0] : s->seq[1]);
	if (ret == -EIO && chance(&t->rng, 70))
		pool_drop(c, P_QUEUE, s->queue);
}

/* What a client does not hold it cannot release. */
static void fix_authority(struct gen *g, void *p)
{
	struct drm_pim_authority *a = p;
	uint32_t held = atomic_load(&g->client->held);

	if (a->op == DRM_PIM_AUTHORITY_RELEASE && !held && chance(g->rng, 80))
		a->op = DRM_PIM_AUTHORITY_ACQUIRE;
	if (!a->nout)
		a->flags &= ~DRM_PIM_AUTHORITY_ASYNC;
	if (a->flags & DRM_PIM_AUTHORITY_NONBLOCK)
		a->timeout_ns = 0;
	if (chance(g->rng, 70))
		a->deadline_ns = 0;
	if (a->op != DRM_PIM_AUTHORITY_RELEASE)
		return;
	if (held && chance(g->rng, 90))
		a->domains = held;
	a->flags &= DRM_PIM_AUTHORITY_ASYNC;
	a->owner = a->priority = a->host_requests = 0;
	a->timeout_ns = a->deadline_ns = a->min_ns = a->max_ns = 0;
}

static void done_authority(struct thread *t, struct client *c, void *arg, int ret)
{
	struct drm_pim_authority *a = arg;

	(void)t;
	if (!ret && a->op == DRM_PIM_AUTHORITY_ACQUIRE)
		atomic_fetch_or(&c->held, a->domains);
	else if (a->op == DRM_PIM_AUTHORITY_RELEASE && (!ret || ret == -ENOENT))
		atomic_fetch_and(&c->held, ~a->domains);
}

static const struct field drm_pim_authority_fields[] = {
	F(drm_pim_authority, op, K_ENUM, .a = 2),
	F(drm_pim_authority, flags, K_FLAGS, .a = DRM_PIM_AUTHORITY_NONBLOCK | DRM_PIM_AUTHORITY_ASYNC),
	F(drm_pim_authority, domains, K_DOMAINS),
	F(drm_pim_authority, owner, K_ENUM, .a = 3),
	F(drm_pim_authority, timeout_ns, K_DEADLINE),
	F(drm_pim_authority, deadline_ns, K_DEADLINE),
	F(drm_pim_authority, min_ns, K_NUM, .a = 0, .b = 10000000),
	F(drm_pim_authority, max_ns, K_NUM, .a = 0, .b = 10000000),
	F(drm_pim_authority, host_requests, K_NUM, .a = 0, .b = 3),
	F(drm_pim_authority, priority, K_ENUM, .a = DRM_PIM_PRIORITY_LOW + 1),
	F(drm_pim_authority, nin, K_COUNT),
	F(drm_pim_authority, nout, K_COUNT),
	F(drm_pim_authority, in_syncs, K_ARRAY, .a = 0, .b = 2, .of = &in_sync_type, COUNT_IN(drm_pim_authority, nin)),
	F(drm_pim_authority, out_syncs, K_ARRAY, .a = 0, .b = 2, .of = &out_sync_type, COUNT_IN(drm_pim_authority, nout)),
	END
};
TYPE(drm_pim_authority, .fix = fix_authority);

static const struct field drm_pim_domain_query_fields[] = {
	F(drm_pim_domain_query, domain, K_DOMAIN),
	END
};
TYPE(drm_pim_domain_query);

/* Now and then the end of a watch. */
static void fix_watch(struct gen *g, void *p)
{
	struct drm_pim_watch *w = p;

	if (chance(g->rng, 20)) {
		w->fd = -1;
		w->domains = 0;
	}
}

static const struct field drm_pim_watch_fields[] = {
	F(drm_pim_watch, fd, K_HANDLE, .a = P_EVENTFD),
	F(drm_pim_watch, domains, K_DOMAINS),
	END
};
TYPE(drm_pim_watch, .fix = fix_watch);

/* -- DRM's own ------------------------------------------------------------------------------------------------------ */

/* The kernel's own ioctls allocate what they are told to: the allocator warns of more than it has. Not our bug. */
#define CORE_MAX 4096

static const struct field drm_gem_close_fields[] = {
	F(drm_gem_close, handle, K_DEL, .a = P_GEM),
	F(drm_gem_close, pad, K_PAD),
	END
};
TYPE(drm_gem_close);

/* One without a fence is of no use to a submit, until another one gave it one. */
static void fix_syncobj_create(struct gen *g, void *p)
{
	if (chance(g->rng, 60))
		((struct drm_syncobj_create *)p)->flags = DRM_SYNCOBJ_CREATE_SIGNALED;
}

static const struct field drm_syncobj_create_fields[] = {
	F(drm_syncobj_create, handle, K_NEW, .a = P_SYNCOBJ),
	F(drm_syncobj_create, flags, K_ENUM, .a = DRM_SYNCOBJ_CREATE_SIGNALED + 1),
	END
};
TYPE(drm_syncobj_create, .fix = fix_syncobj_create);

static const struct field drm_syncobj_destroy_fields[] = {
	F(drm_syncobj_destroy, handle, K_DEL, .a = P_SYNCOBJ),
	F(drm_syncobj_destroy, pad, K_PAD),
	END
};
TYPE(drm_syncobj_destroy);

static const struct field to_fd_fields[] = {
	F(drm_syncobj_handle, handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_syncobj_handle, flags, K_PAD),
	F(drm_syncobj_handle, fd, K_NEW, .a = P_SYNCOBJ_FD),
	F(drm_syncobj_handle, pad, K_PAD),
	END
};
NAMED(to_fd, drm_syncobj_handle);

static const struct field to_file_fields[] = {
	F(drm_syncobj_handle, handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_syncobj_handle, flags, K_NUM, .a = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	  .b = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE),
	F(drm_syncobj_handle, fd, K_NEW, .a = P_SYNCFILE),
	F(drm_syncobj_handle, pad, K_PAD),
	END
};
NAMED(to_file, drm_syncobj_handle);

static const struct field from_fd_fields[] = {
	F(drm_syncobj_handle, handle, K_NEW, .a = P_SYNCOBJ),
	F(drm_syncobj_handle, flags, K_PAD),
	F(drm_syncobj_handle, fd, K_HANDLE, .a = P_SYNCOBJ_FD),
	F(drm_syncobj_handle, pad, K_PAD),
	END
};
NAMED(from_fd, drm_syncobj_handle);

static const struct field from_file_fields[] = {
	F(drm_syncobj_handle, handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_syncobj_handle, flags, K_NUM, .a = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
	  .b = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE),
	F(drm_syncobj_handle, fd, K_HANDLE, .a = P_SYNCFILE),
	F(drm_syncobj_handle, pad, K_PAD),
	END
};
NAMED(from_file, drm_syncobj_handle);

struct one_handle {
	uint32_t handle;
};
static const struct field one_handle_fields[] = { F(one_handle, handle, K_HANDLE, .a = P_SYNCOBJ), END };
TYPE(one_handle);

struct one_point {
	uint64_t point;
};
static const struct field one_point_fields[] = { F(one_point, point, K_POINT, .a = 1), END };
TYPE(one_point);

static const struct field drm_syncobj_wait_fields[] = {
	F(drm_syncobj_wait, count_handles, K_COUNT, .a = CORE_MAX),
	F(drm_syncobj_wait, handles, K_ARRAY, .a = 1, .b = 8, .of = &one_handle_type, COUNT_IN(drm_syncobj_wait, count_handles)),
	F(drm_syncobj_wait, timeout_nsec, K_DEADLINE),
	F(drm_syncobj_wait, flags, K_FLAGS, .a = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT),
	F(drm_syncobj_wait, first_signaled, K_OUT),
	F(drm_syncobj_wait, pad, K_PAD),
	END
};
TYPE(drm_syncobj_wait);

static const struct field drm_syncobj_timeline_wait_fields[] = {
	F(drm_syncobj_timeline_wait, count_handles, K_COUNT, .a = CORE_MAX),
	F(drm_syncobj_timeline_wait, handles, K_ARRAY, .a = 1, .b = 8, .of = &one_handle_type,
	  COUNT_IN(drm_syncobj_timeline_wait, count_handles)),
	F(drm_syncobj_timeline_wait, points, K_ALONG, .of = &one_point_type, COUNT_IN(drm_syncobj_timeline_wait, count_handles)),
	F(drm_syncobj_timeline_wait, timeout_nsec, K_DEADLINE),
	F(drm_syncobj_timeline_wait, flags, K_FLAGS,
	  .a = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT | DRM_SYNCOBJ_WAIT_FLAGS_WAIT_AVAILABLE),
	F(drm_syncobj_timeline_wait, first_signaled, K_OUT),
	F(drm_syncobj_timeline_wait, pad, K_PAD),
	END
};
TYPE(drm_syncobj_timeline_wait);

static const struct field drm_syncobj_array_fields[] = {
	F(drm_syncobj_array, count_handles, K_COUNT, .a = CORE_MAX),
	F(drm_syncobj_array, handles, K_ARRAY, .a = 1, .b = 8, .of = &one_handle_type, COUNT_IN(drm_syncobj_array, count_handles)),
	F(drm_syncobj_array, pad, K_PAD),
	END
};
TYPE(drm_syncobj_array);

static const struct field drm_syncobj_timeline_array_fields[] = {
	F(drm_syncobj_timeline_array, count_handles, K_COUNT, .a = CORE_MAX),
	F(drm_syncobj_timeline_array, handles, K_ARRAY, .a = 1, .b = 8, .of = &one_handle_type,
	  COUNT_IN(drm_syncobj_timeline_array, count_handles)),
	F(drm_syncobj_timeline_array, points, K_ALONG, .of = &one_point_type, COUNT_IN(drm_syncobj_timeline_array, count_handles)),
	F(drm_syncobj_timeline_array, flags, K_PAD),
	END
};
TYPE(drm_syncobj_timeline_array);

static const struct field drm_syncobj_transfer_fields[] = {
	F(drm_syncobj_transfer, src_handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_syncobj_transfer, src_point, K_POINT),
	F(drm_syncobj_transfer, dst_handle, K_HANDLE, .a = P_SYNCOBJ),
	F(drm_syncobj_transfer, dst_point, K_POINT, .a = 1),
	F(drm_syncobj_transfer, flags, K_PAD),
	F(drm_syncobj_transfer, pad, K_PAD),
	END
};
TYPE(drm_syncobj_transfer);

static const struct field export_fields[] = {
	F(drm_prime_handle, handle, K_HANDLE, .a = P_GEM),
	F(drm_prime_handle, flags, K_FLAGS, .a = DRM_CLOEXEC | DRM_RDWR),
	F(drm_prime_handle, fd, K_NEW, .a = P_DMABUF),
	END
};
NAMED(export, drm_prime_handle);

static const struct field import_fields[] = {
	F(drm_prime_handle, handle, K_NEW, .a = P_GEM),
	F(drm_prime_handle, flags, K_PAD),
	F(drm_prime_handle, fd, K_HANDLE, .a = P_DMABUF),
	END
};
NAMED(import, drm_prime_handle);

static const struct field drm_get_cap_fields[] = {
	F(drm_get_cap, capability, K_NUM, .a = 1, .b = 0x15),
	F(drm_get_cap, value, K_OUT),
	END
};
TYPE(drm_get_cap);

#define AS(n, w, req, type, ...) { .name = n, .weight = w, .request = DRM_IOCTL_##req, .arg = &type##_type, ##__VA_ARGS__ }
#define IOCTL(req, w, type, ...) AS(#req, w, req, type, ##__VA_ARGS__)
#define OTHER(n, w, f, ...) { .name = n, .weight = w, .call = f, ##__VA_ARGS__ }

const struct op ops[] = {
	IOCTL(PIM_GET_PARAM, 4, drm_pim_get_param),
	IOCTL(PIM_GEM_CREATE, 14, drm_pim_gem_create),
	IOCTL(PIM_GEM_MMAP, 4, drm_pim_gem_mmap),
	IOCTL(PIM_QUEUE_CREATE, 8, drm_pim_queue_create),
	IOCTL(PIM_QUEUE_DESTROY, 4, drm_pim_queue_destroy),
	IOCTL(PIM_QUEUE_QUERY, 5, drm_pim_queue_query),
	IOCTL(PIM_SUBMIT, 50, drm_pim_submit, .done = done_submit),
	IOCTL(PIM_AUTHORITY, 40, drm_pim_authority, .done = done_authority),
	IOCTL(PIM_DOMAIN_QUERY, 4, drm_pim_domain_query),
	IOCTL(PIM_WATCH, 2, drm_pim_watch),
	IOCTL(PIM_GEM_INFO, 3, drm_pim_gem_info),
	IOCTL(PIM_GEM_COPY, 8, drm_pim_gem_copy),

	IOCTL(GEM_CLOSE, 6, drm_gem_close),
	IOCTL(GET_CAP, 1, drm_get_cap),
	IOCTL(SYNCOBJ_CREATE, 8, drm_syncobj_create),
	IOCTL(SYNCOBJ_DESTROY, 2, drm_syncobj_destroy),
	AS("SYNCOBJ_HANDLE_TO_FD", 3, SYNCOBJ_HANDLE_TO_FD, to_fd),
	AS("SYNCOBJ_HANDLE_TO_FD file", 4, SYNCOBJ_HANDLE_TO_FD, to_file),
	AS("SYNCOBJ_FD_TO_HANDLE", 3, SYNCOBJ_FD_TO_HANDLE, from_fd),
	AS("SYNCOBJ_FD_TO_HANDLE file", 4, SYNCOBJ_FD_TO_HANDLE, from_file),
	IOCTL(SYNCOBJ_WAIT, 4, drm_syncobj_wait),
	IOCTL(SYNCOBJ_RESET, 1, drm_syncobj_array),
	IOCTL(SYNCOBJ_SIGNAL, 3, drm_syncobj_array),
	IOCTL(SYNCOBJ_TIMELINE_WAIT, 4, drm_syncobj_timeline_wait),
	IOCTL(SYNCOBJ_TIMELINE_SIGNAL, 3, drm_syncobj_timeline_array),
	IOCTL(SYNCOBJ_QUERY, 2, drm_syncobj_timeline_array),
	IOCTL(SYNCOBJ_TRANSFER, 3, drm_syncobj_transfer),
	AS("PRIME_HANDLE_TO_FD", 3, PRIME_HANDLE_TO_FD, export),
	AS("PRIME_FD_TO_HANDLE", 3, PRIME_FD_TO_HANDLE, import),

	OTHER("mmap", 8, op_mmap),
	OTHER("munmap", 6, op_munmap),
	OTHER("touch", 14, op_touch),
	OTHER("system call into mapping", 3, op_syscall),
	OTHER("mprotect, mremap, madvise", 3, op_mmu),
	OTHER("close a descriptor", 5, op_close_fd),
	OTHER("sync file info, poll", 2, op_sync_file),
	OTHER("eventfd, and its count", 2, op_eventfd),
	OTHER("fence of sw_sync", 2, op_sw_sync, .may_fail = true),
	OTHER("buffer of udmabuf", 2, op_udmabuf, .may_fail = true),
	OTHER("read of fdinfo, debugfs", 1, op_read),
	OTHER("reopen", 1, op_reopen),
	OTHER("fork", 1, op_fork),
};
const unsigned int op_count = sizeof(ops) / sizeof(ops[0]);
