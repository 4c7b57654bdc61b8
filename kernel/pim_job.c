// SPDX-License-Identifier: GPL-2.0-only
/* One job: its fence, its way through the scheduler, its end. */
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>

#include "pim_compat.h"
#include "pim_drv.h"
#include "pim_trace.h"

/*
 * A fence outlives everything: whoever holds a sync file may ask for its name after the device, so it has its own lock, constant names,
 * and keeps the module.
 */
struct pim_fence {
	struct dma_fence base;
	spinlock_t lock;
	u32 engine;
	const void *pim; /* to compare with, no more */
};

static struct pim_fence *to_pim_fence(struct dma_fence *fence)
{
	return container_of(fence, struct pim_fence, base);
}

static struct kmem_cache *pim_job_cache;
static LLIST_HEAD(pim_job_freed);

static const char *pim_fence_driver_name(struct dma_fence *fence)
{
	return "pim";
}

static const char *pim_fence_timeline_name(struct dma_fence *fence)
{
	return to_pim_fence(fence)->engine == PIM_HW_PIM ? "pim-pim" : "pim-host";
}

static void pim_fence_release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops pim_fence_ops = {
	.get_driver_name = pim_fence_driver_name,
	.get_timeline_name = pim_fence_timeline_name,
	.release = pim_fence_release,
};

static struct pim_fence *pim_fence_alloc(const struct pim_device *pim, u32 engine)
{
	struct pim_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL);

	if (!fence)
		return NULL;
	spin_lock_init(&fence->lock);
	fence->engine = engine;
	fence->pim = pim;
	return fence;
}

/* Does a job of this card signal it? */
bool pim_job_is_fence_of(struct dma_fence *fence, const struct pim_device *pim)
{
	return pim_fence_is(fence, &pim_fence_ops) && to_pim_fence(fence)->pim == pim;
}

static void pim_fence_end(struct dma_fence *fence, int error)
{
	if (error)
		dma_fence_set_error(fence, error);
	dma_fence_signal(fence);
}

/* What a status of the card means to someone who waits for the fence. */
static const int pim_status_error[] = {
	[PIM_HW_OK] = 0,
	[PIM_HW_E_INVALID] = -EIO,
	[PIM_HW_E_BOUNDS] = -EIO,
	[PIM_HW_E_ACCESS] = -EIO,
	[PIM_HW_E_LOCALITY] = -EIO,
	[PIM_HW_E_AUTHORITY] = -EACCES,
	[PIM_HW_E_TIMEOUT] = -EIO,
	[PIM_HW_E_CANCELED] = -ECANCELED,
};

/* Nobody waits for the job any more, in its queue or outside. */
static void pim_job_end(struct pim_job *job, int error)
{
	pim_pace_leave(job);
	pim_fence_end(job->fence, error); /* the job may be freed from here on */
}

/* Does the job, in its ring, wait for the other engine? */
bool pim_job_waits(const struct pim_job *job)
{
	const struct pim_queue *queue = job->queue;
	u32 i;

	for (i = 0; i < job->desc.nwaits; i++)
		if (READ_ONCE(queue->completed[job->desc.wait[i].slot - queue->slot]) < job->desc.wait[i].value)
			return true;
	return false;
}

/* The job left its ring; its status is known to be in range. */
void pim_job_finish(struct pim_job *job, const struct pim_hw_done *done)
{
	struct pim_queue *queue = job->queue;

	pim_ring_account(job);
	pim_auth_end(job);
	if (done->status != PIM_HW_OK)
		pim_queue_fail(queue, job->engine, job->seq, done);
	spin_lock(&queue->state);
	WRITE_ONCE(queue->completed[job->engine], job->seq);
	spin_unlock(&queue->state);
	trace_pim_job_done(job, done->status);
	pim_job_end(job, pim_status_error[done->status]);
}

static struct dma_fence *pim_job_dependency(struct drm_sched_job *base, struct drm_sched_entity *entity)
{
	struct pim_job *job = to_pim_job(base);
	struct dma_fence *after = job->after;

	job->after = NULL;
	return after ?: pim_pace_wait(job); /* with its reference */
}

/*
 * The jobs of a queue come here in the order of their submission, whatever their engine. So once one is refused, all after it see
 * pim_queue.stop, and no job waits in a ring for one that was never written.
 */
static struct dma_fence *pim_job_run(struct drm_sched_job *base)
{
	struct pim_job *job = to_pim_job(base);
	struct pim_queue *queue = job->queue;
	struct pim_device *pim = queue->pim;
	struct pim_hw_done done = { .status = PIM_HW_E_CANCELED };
	int ret = -ENODEV, idx;

	if (drm_dev_enter(&pim->drm, &idx)) {
		down_read(&pim->reset_sem);
		if (READ_ONCE(queue->stop)) {
			ret = -ECANCELED;
		} else if (pim->lost) {
			ret = -EIO;
		} else {
			ret = pim_auth_start(job);
			if (!ret) {
				pim_pace_run(job);
				pim_ring_write(&pim->ring[job->engine], job);
			}
		}
		up_read(&pim->reset_sem);
		drm_dev_exit(idx);
	}
	if (!ret)
		return dma_fence_get(job->fence);
	if (ret == -EACCES)
		done.status = PIM_HW_E_AUTHORITY;
	pim_queue_fail(queue, job->engine, job->seq, &done);
	trace_pim_job_done(job, done.status);
	pim_job_end(job, ret);
	return ERR_PTR(ret);
}

/* Buffers, fences and the queue may take locks that no fence may depend on: not from the scheduler's thread. */
static void pim_job_free_work(struct work_struct *work)
{
	struct llist_node *list = llist_del_all(&pim_job_freed);
	struct pim_job *job, *next;

	llist_for_each_entry_safe(job, next, list, free) {
		pim_job_destroy(job);
		cond_resched();
	}
}
static DECLARE_WORK(pim_job_freer, pim_job_free_work);

static void pim_job_free(struct drm_sched_job *base)
{
	struct pim_job *job = to_pim_job(base);

	/* A scheduler that is torn down may drop a job that never ran. */
	if (!dma_fence_is_signaled(job->fence))
		pim_job_end(job, -ECANCELED);
	pim_auth_leave(job);
	if (llist_add(&job->free, &pim_job_freed))
		queue_work(pim_wq, &pim_job_freer);
}

static const struct drm_sched_backend_ops pim_sched_ops = {
	.PIM_SCHED_DEPENDENCY = pim_job_dependency,
	.run_job = pim_job_run,
	.free_job = pim_job_free,
};

/* A job without a number yet; the caller fills in the rest. */
struct pim_job *pim_job_alloc(struct pim_queue *queue, u32 engine)
{
	struct pim_job *job = kmem_cache_zalloc(pim_job_cache, GFP_KERNEL);
	struct pim_fence *fence;

	if (!job)
		return NULL;
	fence = pim_fence_alloc(queue->pim, engine);
	if (!fence)
		goto free_job;
	if (pim_sched_job_init(&job->base, &queue->entity[engine], queue, queue->file))
		goto free_fence;
	kref_get(&queue->refs);
	job->queue = queue;
	job->engine = engine;
	job->fence = &fence->base;
	return job;

free_fence:
	kfree(fence);
free_job:
	kmem_cache_free(pim_job_cache, job);
	return NULL;
}

/* Give it its number, and life to its fence. Cannot fail; the caller has the queue's lock. */
void pim_job_number(struct pim_job *job, u64 seq)
{
	struct pim_fence *fence = to_pim_fence(job->fence);

	__module_get(THIS_MODULE);
	dma_fence_init(&fence->base, &pim_fence_ops, &fence->lock, job->queue->context[job->engine], seq);
	job->seq = seq;
}

void pim_job_destroy(struct pim_job *job)
{
	struct pim_queue *queue = job->queue;

	pim_auth_leave(job);
	drm_sched_job_cleanup(&job->base);
	while (job->nbos--)
		drm_gem_object_put(job->bo[job->nbos]);
	dma_fence_put(job->after);
	if (job->seq)
		dma_fence_put(job->fence);
	else
		kfree(to_pim_fence(job->fence));
	kmem_cache_free(pim_job_cache, job);
	pim_queue_put(queue);
}

static void pim_job_fini(struct drm_device *drm, void *ring)
{
	drm_sched_fini(&((struct pim_ring *)ring)->sched);
}

int pim_job_init(struct pim_device *pim)
{
	static const char * const names[] = { "pim-host", "pim-pim" };
	struct pim_ring *ring;
	int e, ret;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		ring = &pim->ring[e];
		ret = pim_sched_init(&ring->sched, &pim_sched_ops, pim->hw.ring_entries, names[e], pim->drm.dev);
		if (ret)
			return ret;
		/* With the last reference to the device, not at unbind: files may be open longer. */
		ret = drmm_add_action_or_reset(&pim->drm, pim_job_fini, ring);
		if (ret)
			return ret;
	}
	return 0;
}

int pim_job_module_init(void)
{
	pim_job_cache = KMEM_CACHE_USERCOPY(pim_job, 0, desc.payload); /* what is copied in from user space, nothing else */
	return pim_job_cache ? 0 : -ENOMEM;
}

void pim_job_module_exit(void)
{
	kmem_cache_destroy(pim_job_cache);
}
