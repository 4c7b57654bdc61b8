// SPDX-License-Identifier: GPL-2.0-only
/* Queues: jobs in order on each engine, two slots of the card, and the first failure. */
#include <linux/nospec.h>
#include <linux/sched.h>

#include "pim_compat.h"
#include "pim_drv.h"

static void pim_queue_set_slots(struct pim_queue *queue, const u64 *value)
{
	struct pim_device *pim = queue->pim;
	void __iomem *slot;
	u32 e;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		slot = pim->regs + pim->hw.slots_off + (queue->slot + e) * sizeof(struct pim_hw_slot);
		writeq(value[e], slot + offsetof(struct pim_hw_slot, value));
		writel(0, slot + offsetof(struct pim_hw_slot, error));
		writel(PIM_HW_STOP_NONE, slot + offsetof(struct pim_hw_slot, stop));
	}
}

/* Tell the card to end the queue's jobs: enum pim_hw_stop. */
void pim_queue_stop(struct pim_queue *queue, u32 what)
{
	struct pim_device *pim = queue->pim;
	u32 e;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		writel(what, pim->regs + pim->hw.slots_off + (queue->slot + e) * sizeof(struct pim_hw_slot) +
			     offsetof(struct pim_hw_slot, stop));
	mb(); /* the wish before the doorbells */
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_device_doorbell(pim, e);
}

static void pim_queue_release(struct kref *refs)
{
	struct pim_queue *queue = container_of(refs, struct pim_queue, refs);
	struct pim_device *pim = queue->pim;
	u32 e;

	/*
	 * Only now, with no job left: a scheduler that has to kill jobs leaks a fence for each in some kernels, and waits for their
	 * dependencies in others.
	 */
	for (e = 0; e < PIM_HW_ENGINES; e++)
		drm_sched_entity_fini(&queue->entity[e]);
	pim_pace_fini(queue);
	xa_erase(&pim->queues, queue->slot / PIM_HW_ENGINES);
	dma_fence_put(queue->last);
	pim_client_put(queue->client);
	mutex_destroy(&queue->lock);
	kfree(queue);
	pim_resv_prune(pim);
	drm_dev_put(&pim->drm);
}

void pim_queue_put(struct pim_queue *queue)
{
	kref_put(&queue->refs, pim_queue_release);
}

struct pim_queue *pim_queue_get(struct pim_file *pf, u32 id)
{
	struct pim_queue *queue;

	xa_lock(&pf->queues);
	queue = xa_load(&pf->queues, id);
	if (queue)
		kref_get(&queue->refs);
	xa_unlock(&pf->queues);
	return queue;
}

/* A job failed: no job after it may run. A cancelled job is a consequence, so any other status takes its place as the first failure. */
void pim_queue_fail(struct pim_queue *queue, u32 engine, u64 seq, const struct pim_hw_done *done)
{
	struct drm_pim_queue_query *first = &queue->first;

	spin_lock(&queue->state);
	WRITE_ONCE(queue->stop, true);
	if (done->status != PIM_HW_E_CANCELED)
		first->flags |= DRM_PIM_QUEUE_GUILTY;
	if (!first->status || (first->status == PIM_HW_E_CANCELED && done->status != PIM_HW_E_CANCELED)) {
		first->status = done->status;
		first->engine = engine;
		first->where = done->where;
		first->unit = done->unit;
		first->seq = seq;
		first->address = done->address;
	}
	spin_unlock(&queue->state);
}

/* A reset cost it a running job. */
void pim_queue_lose(struct pim_queue *queue)
{
	spin_lock(&queue->state);
	if (!(queue->first.flags & DRM_PIM_QUEUE_GUILTY))
		queue->first.flags |= DRM_PIM_QUEUE_INNOCENT;
	spin_unlock(&queue->state);
}

/* The reset zeroed the slots: queues that lost no job go on where they were. Legal in recovery. */
void pim_queue_restore(struct pim_device *pim)
{
	struct pim_queue *queue;
	unsigned long i;

	xa_lock(&pim->queues);
	xa_for_each(&pim->queues, i, queue)
		pim_queue_set_slots(queue, queue->completed);
	xa_unlock(&pim->queues);
}

/* Jobs that the card has begun run on; the others end when their turn comes. The last job takes the queue with it. */
static void pim_queue_close(struct pim_queue *queue)
{
	struct pim_device *pim = queue->pim;
	int idx;

	/* Against a reset, which decides by it what begins anew. */
	down_read(&pim->reset_sem);
	spin_lock(&queue->state);
	WRITE_ONCE(queue->stop, true);
	spin_unlock(&queue->state);
	if (drm_dev_enter(&pim->drm, &idx)) {
		pim_queue_stop(queue, PIM_HW_STOP_WAITING);
		drm_dev_exit(idx);
	}
	up_read(&pim->reset_sem);
	mutex_lock(&queue->lock);
	queue->closed = true;
	mutex_unlock(&queue->lock);
	pim_queue_put(queue);
}

void pim_queue_close_all(struct pim_file *pf)
{
	struct pim_queue *queue;
	unsigned long id;

	xa_for_each(&pf->queues, id, queue) {
		xa_erase(&pf->queues, id);
		pim_queue_close(queue);
	}
}

static const struct {
	enum pim_rank rank;
	enum drm_sched_priority sched;
} pim_priorities[] = {
	[DRM_PIM_PRIORITY_NORMAL] = { PIM_RANK_NORMAL, DRM_SCHED_PRIORITY_NORMAL },
	[DRM_PIM_PRIORITY_HIGH] = { PIM_RANK_HIGH, DRM_SCHED_PRIORITY_HIGH },
	[DRM_PIM_PRIORITY_LOW] = { PIM_RANK_LOW, PIM_SCHED_LOW },
};

int pim_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct pim_file *pf = file->driver_priv;
	struct drm_pim_queue_create *args = data;
	struct drm_gpu_scheduler *sched;
	static const u64 zero[PIM_HW_ENGINES];
	struct pim_queue *queue;
	u32 index, prio, e;
	int ret, idx;

	BUILD_BUG_ON(sizeof(queue->policy) != sizeof(args->policy));

	if (args->flags || args->priority >= ARRAY_SIZE(pim_priorities) || args->timeout_ms > READ_ONCE(pim_max_job_timeout_ms) ||
	    args->policy[offsetof(struct pim_hw_policy, pad) / sizeof(u32)])
		return -EINVAL;
	prio = array_index_nospec(args->priority, ARRAY_SIZE(pim_priorities));
	if (pim_priorities[prio].rank > PIM_RANK_NORMAL && !capable(CAP_SYS_NICE))
		return -EACCES;
	queue = kzalloc(sizeof(*queue), GFP_KERNEL);
	if (!queue)
		return -ENOMEM;
	kref_init(&queue->refs);
	queue->pim = pim;
	queue->file = pf->id;
	queue->client = pf->client;
	kref_get(&queue->client->refs);
	queue->batch_id = atomic_inc_return(&pim->batch_ids);
	queue->rank = pim_priorities[prio].rank;
	queue->timeout_ms = args->timeout_ms;
	memcpy(&queue->policy, args->policy, sizeof(queue->policy));
	mutex_init(&queue->lock);
	spin_lock_init(&queue->state);
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		queue->context[e] = dma_fence_context_alloc(1);
		sched = &pim->ring[e].sched;
		ret = drm_sched_entity_init(&queue->entity[e], pim_priorities[prio].sched, &sched, 1, NULL);
		if (ret)
			goto fini;
	}

	ret = xa_alloc(&pim->queues, &index, NULL, XA_LIMIT(0, pim->hw.nslots / PIM_HW_ENGINES - 1), GFP_KERNEL);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto fini;
	}
	queue->slot = index * PIM_HW_ENGINES;
	if (!drm_dev_enter(drm, &idx)) {
		ret = -ENODEV;
		goto erase;
	}
	/* Against a reset, which either zeroes the slots before or finds the queue. */
	down_read(&pim->reset_sem);
	pim_queue_set_slots(queue, zero);
	xa_store(&pim->queues, index, queue, GFP_NOWAIT); /* into the reserved entry: cannot fail */
	up_read(&pim->reset_sem);
	drm_dev_exit(idx);
	drm_dev_get(drm);

	ret = xa_alloc(&pf->queues, &args->queue, queue, xa_limit_32b, GFP_KERNEL);
	if (ret) {
		pim_queue_close(queue);
		return ret;
	}
	return 0;

erase:
	xa_erase(&pim->queues, index);
fini:
	while (e--)
		drm_sched_entity_fini(&queue->entity[e]);
	pim_client_put(queue->client);
	mutex_destroy(&queue->lock);
	kfree(queue);
	return ret;
}

int pim_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_file *pf = file->driver_priv;
	struct drm_pim_queue_destroy *args = data;
	struct pim_queue *queue;

	if (args->pad)
		return -EINVAL;
	queue = xa_erase(&pf->queues, args->queue);
	if (!queue)
		return -ENOENT;
	pim_queue_close(queue);
	return 0;
}

int pim_queue_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_file *pf = file->driver_priv;
	struct drm_pim_queue_query *args = data;
	struct pim_queue *queue;
	u32 id = args->queue, e;

	if (args->flags)
		return -EINVAL;
	queue = pim_queue_get(pf, id);
	if (!queue)
		return -ENOENT;
	spin_lock(&queue->state);
	*args = queue->first;
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		args->submitted[e] = READ_ONCE(queue->submitted[e]);
		args->completed[e] = queue->completed[e];
	}
	spin_unlock(&queue->state);
	args->queue = id;
	pim_queue_put(queue);
	return 0;
}
