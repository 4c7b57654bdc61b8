// SPDX-License-Identifier: GPL-2.0-only
/*
 * The submit ioctl: all jobs of the array, or none. First everything that can fail, without a lock that a page fault may need; then, under
 * the queue's lock, numbers and waits; then nothing can fail any more and the jobs go to the scheduler.
 */
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_JOB_FLAGS (DRM_PIM_JOB_TIMED | DRM_PIM_JOB_CLOSE | DRM_PIM_JOB_QUEUE_POLICY)
#define PIM_ENGINE_BITS (BIT(PIM_HW_ENGINES) - 1)

/*
 * struct pim_submit - one call
 * @njobs: of @jobs, allocated so far
 */
struct pim_submit {
	struct pim_queue *queue;
	struct drm_file *file;
	struct drm_pim_submit *args;
	struct drm_pim_job *in;
	struct pim_job **jobs;
	u32 njobs;
	struct pim_sync_out out;
	struct dma_fence *fence; /* of all jobs */
	struct pim_resv_set resv;
};

static int pim_submit_bindings(struct pim_submit *s, const struct drm_pim_job *in, struct pim_job *job)
{
	struct drm_pim_binding user[DRM_PIM_JOB_MAX_BINDINGS];
	struct pim_hw_binding *b = job->desc.binding;
	struct drm_gem_object *obj;
	struct pim_bo *bo;
	u64 end;
	u32 i;

	BUILD_BUG_ON(DRM_PIM_JOB_MAX_BINDINGS != PIM_HW_MAX_BINDINGS);
	BUILD_BUG_ON(DRM_PIM_ACCESS_READ != PIM_HW_READ || DRM_PIM_ACCESS_WRITE != PIM_HW_WRITE);

	if (copy_from_user(user, u64_to_user_ptr(in->bindings), in->nbindings * sizeof(user[0])))
		return -EFAULT;
	for (i = 0; i < in->nbindings; i++, b++) {
		if (!user[i].access || (user[i].access & ~(DRM_PIM_ACCESS_READ | DRM_PIM_ACCESS_WRITE)) || !user[i].bytes)
			return -EINVAL;
		obj = drm_gem_object_lookup(s->file, user[i].handle);
		if (!obj)
			return -ENOENT;
		job->bo[job->nbos++] = obj;
		if (check_add_overflow(user[i].offset, user[i].bytes, &end) || end > obj->size)
			return -EINVAL;
		bo = pim_bo_from_gem(obj);
		if (!bo)
			return -EOPNOTSUPP; /* the engines reach the card's own memory only */
		b->base = bo->off + user[i].offset;
		b->bytes = user[i].bytes;
		b->access = user[i].access;
		if (!(bo->flags & DRM_PIM_GEM_WINDOW))
			job->domains |= BIT(bo->domain);
		pim_resv_use(&s->resv, bo, job->engine, user[i].access & DRM_PIM_ACCESS_WRITE);
	}
	job->desc.nbindings = in->nbindings;
	return 0;
}

/* Where the card is to write the job's modelled time: it must lie inside a binding that may be written. */
static int pim_submit_timing(const struct drm_pim_job *in, struct pim_hw_desc *desc)
{
	u32 i = in->time_binding;
	u64 end;

	if (!(in->flags & DRM_PIM_JOB_TIMED))
		return 0;
	if (i >= in->nbindings || !IS_ALIGNED(in->time_off, 8))
		return -EINVAL;
	i = array_index_nospec(i, PIM_HW_MAX_BINDINGS);
	if (check_add_overflow(in->time_off, (u64)sizeof(struct pim_hw_timing), &end) || end > desc->binding[i].bytes ||
	    !(desc->binding[i].access & PIM_HW_WRITE))
		return -EINVAL;
	desc->flags |= PIM_HW_JOB_TIMED;
	desc->time_binding = i;
	desc->time_off = in->time_off;
	return 0;
}

static int pim_submit_batch(const struct pim_queue *queue, const struct drm_pim_job *in, struct pim_hw_desc *desc)
{
	if (!in->batch)
		return in->batch_engines || (in->flags & DRM_PIM_JOB_CLOSE) ? -EINVAL : 0;
	if ((in->batch_engines & ~PIM_ENGINE_BITS) || !(in->batch_engines & BIT(in->engine)))
		return -EINVAL;
	if (in->flags & DRM_PIM_JOB_CLOSE)
		desc->flags |= PIM_HW_JOB_CLOSE;
	desc->batch = (u64)queue->batch_id << 32 | in->batch;
	desc->batch_rings = in->batch_engines;
	return 0;
}

/* What a queue has for its jobs, or their own. */
static int pim_submit_policy(const struct pim_queue *queue, const struct drm_pim_job *in, struct pim_hw_desc *desc)
{
	if (in->flags & DRM_PIM_JOB_QUEUE_POLICY) {
		desc->policy = queue->policy;
		return memchr_inv(in->policy, 0, sizeof(in->policy)) ? -EINVAL : 0;
	}
	memcpy(&desc->policy, in->policy, sizeof(desc->policy));
	return desc->policy.pad ? -EINVAL : 0;
}

/* Everything of a job that does not depend on its number. */
static int pim_submit_job(struct pim_submit *s, const struct drm_pim_job *in)
{
	struct pim_hw_desc *desc;
	struct pim_job *job;
	int ret;

	BUILD_BUG_ON(sizeof(in->policy) != sizeof(desc->policy));
	BUILD_BUG_ON(sizeof(desc->payload) != DRM_PIM_JOB_MAX_PAYLOAD);
	BUILD_BUG_ON(DRM_PIM_JOB_MAX_WAITS != PIM_HW_MAX_WAITS);

	if (in->engine >= PIM_HW_ENGINES || (in->flags & ~PIM_JOB_FLAGS) || in->nwaits > DRM_PIM_JOB_MAX_WAITS ||
	    in->nbindings > DRM_PIM_JOB_MAX_BINDINGS || in->payload_bytes > DRM_PIM_JOB_MAX_PAYLOAD || in->pad)
		return -EINVAL;
	job = pim_job_alloc(s->queue, array_index_nospec(in->engine, PIM_HW_ENGINES));
	if (!job)
		return -ENOMEM;
	s->jobs[s->njobs++] = job;
	desc = &job->desc;
	desc->op = in->op;
	ret = pim_submit_policy(s->queue, in, desc);
	if (!ret)
		ret = pim_submit_bindings(s, in, job);
	if (!ret)
		ret = pim_submit_timing(in, desc);
	if (!ret)
		ret = pim_submit_batch(s->queue, in, desc);
	if (!ret && copy_from_user(desc->payload, u64_to_user_ptr(in->payload), in->payload_bytes))
		ret = -EFAULT;
	return ret;
}

/* Waits name jobs submitted before: those of earlier calls and of this array. */
static int pim_submit_waits(const struct pim_queue *queue, const struct drm_pim_job *in, struct pim_job *job, const u64 *submitted)
{
	struct pim_hw_desc *desc = &job->desc;
	u32 i, e;

	for (i = 0; i < in->nwaits; i++) {
		if (in->wait[i].engine >= PIM_HW_ENGINES || in->wait[i].pad)
			return -EINVAL;
		e = array_index_nospec(in->wait[i].engine, PIM_HW_ENGINES);
		if (in->wait[i].seq > submitted[e])
			return -EINVAL;
		if (!in->wait[i].seq)
			continue;
		desc->wait[desc->nwaits].slot = queue->slot + e;
		desc->wait[desc->nwaits].value = in->wait[i].seq;
		desc->nwaits++;
	}
	return 0;
}

/* The first job's: the order of submission keeps the others behind it. */
static int pim_submit_dependency(void *s, struct dma_fence *fence)
{
	return drm_sched_job_add_dependency(&((struct pim_submit *)s)->jobs[0]->base, fence);
}

/* One fence for the last job of each engine; the fences of an engine signal in order. */
static int pim_submit_fence(struct pim_submit *s, struct pim_job * const *last)
{
	struct pim_fence_list fences = {};
	struct dma_fence *merged;
	int ret = 0;
	u32 e;

	for (e = 0; !ret && e < PIM_HW_ENGINES; e++)
		if (last[e])
			ret = pim_fence_list_add(&fences, dma_fence_get(last[e]->fence));
	if (ret) {
		pim_fence_list_put(&fences);
		return ret;
	}
	merged = pim_fence_list_merge(&fences);
	if (IS_ERR(merged))
		return PTR_ERR(merged);
	s->fence = merged;
	return 0;
}

/* With the queue's lock: numbers, waits, admission; then the point of no return. */
static int pim_submit_push(struct pim_submit *s)
{
	struct pim_queue *queue = s->queue;
	struct pim_job *job, *last[PIM_HW_ENGINES] = {};
	u64 submitted[PIM_HW_ENGINES];
	u32 claimed = 0, i, e;
	int ret;

	lockdep_assert_held(&queue->lock);
	if (queue->closed)
		return -ENOENT;
	if (READ_ONCE(queue->stop))
		return -EIO;
	/* First: -EAGAIN must leave nothing behind. */
	ret = pim_auth_admit(queue->pim, queue->file, s->jobs, s->njobs);
	if (ret)
		return ret;
	memcpy(submitted, queue->submitted, sizeof(submitted));
	for (i = 0; i < s->njobs; i++) {
		job = s->jobs[i];
		ret = pim_submit_waits(queue, &s->in[i], job, submitted);
		if (ret)
			return ret;
		e = job->engine;
		pim_job_number(job, ++submitted[e]);
		job->desc.signal.slot = queue->slot + e;
		job->desc.signal.value = job->seq;
		last[e] = job;
		claimed |= job->domains & ~job->guest;
	}
	for (e = 0; e < PIM_HW_ENGINES; e++)
		if (last[e])
			last[e]->desc.flags |= PIM_HW_JOB_IRQ;
	ret = pim_submit_fence(s, last);
	if (ret)
		return ret;
	ret = pim_resv_lock(queue->pim, &s->resv);
	if (ret)
		return ret;
	ret = pim_resv_prepare(queue->pim, &s->resv, claimed, &s->jobs[0]->base);
	if (ret) {
		pim_resv_unlock(queue->pim, &s->resv);
		return ret;
	}
	for (e = 0; e < PIM_HW_ENGINES; e++)
		if (last[e])
			pim_resv_publish(queue->pim, &s->resv, e, last[e]->fence);
	/* Else a fence of both engines that is only polled would lose the error of either. */
	dma_fence_enable_sw_signaling(s->fence);

	for (i = 0; i < s->njobs; i++) {
		job = s->jobs[i];
		if (queue->last && queue->last_engine != job->engine)
			job->after = dma_fence_get(queue->last);
		trace_pim_job_queue(job);
		pim_pace_enter(job);
		drm_sched_job_arm(&job->base);
		dma_fence_put(queue->last);
		queue->last = dma_fence_get(&job->base.s_fence->scheduled);
		queue->last_engine = job->engine;
		WRITE_ONCE(queue->submitted[job->engine], job->seq);
		drm_sched_entity_push_job(&job->base); /* the job may be gone from here on */
	}
	pim_resv_unlock(queue->pim, &s->resv);
	s->njobs = 0;
	memcpy(s->args->seq, submitted, sizeof(submitted));
	return 0;
}

static int pim_submit_run(struct pim_submit *s)
{
	int ret, again = 0;
	u32 i;

	s->in = vmemdup_user(u64_to_user_ptr(s->args->jobs), array_size(s->args->njobs, sizeof(*s->in)));
	if (IS_ERR(s->in)) {
		ret = PTR_ERR(s->in);
		s->in = NULL;
		return ret;
	}
	s->jobs = kvcalloc(s->args->njobs, sizeof(*s->jobs), GFP_KERNEL);
	if (!s->jobs)
		return -ENOMEM;
	for (i = 0; i < s->args->njobs; i++) {
		ret = pim_submit_job(s, &s->in[i]);
		if (ret)
			return ret;
	}
	ret = pim_sync_in(s->file, s->args->in_syncs, s->args->nin, pim_submit_dependency, s);
	if (ret)
		return ret;
	ret = pim_sync_out(&s->out, s->file, s->args->out_syncs, s->args->nout);
	if (ret)
		return ret;
	do {
		mutex_lock(&s->queue->lock);
		ret = pim_submit_push(s);
		mutex_unlock(&s->queue->lock);
		if (ret == -EAGAIN)
			again = pim_auth_await(s->queue->pim, s->jobs, s->njobs);
	} while (ret == -EAGAIN && !again);
	if (ret == -EAGAIN)
		ret = again;
	if (!ret)
		pim_sync_signal(&s->out, s->fence);
	return ret;
}

static void pim_submit_cleanup(struct pim_submit *s)
{
	pim_sync_put(&s->out);
	dma_fence_put(s->fence);
	while (s->njobs--)
		pim_job_destroy(s->jobs[s->njobs]);
	kvfree(s->jobs);
	kvfree(s->in);
}

int pim_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_submit *args = data;
	struct pim_submit s = { .args = args, .file = file };
	int ret;

	if (args->flags || args->pad || !args->njobs || args->njobs > DRM_PIM_MAX_JOBS || args->nin > DRM_PIM_MAX_SYNCS ||
	    args->nout > DRM_PIM_MAX_SYNCS)
		return -EINVAL;
	s.queue = pim_queue_get(file->driver_priv, args->queue);
	if (!s.queue)
		return -ENOENT;
	ret = pim_watchdog_alive(pim) ? pim_submit_run(&s) : -EIO;
	pim_submit_cleanup(&s);
	pim_queue_put(s.queue);
	return ret;
}
