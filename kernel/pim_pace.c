// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fairness. A ring is in order, so who is in it first is served first, and the scheduler in front of it goes round or by age, as the kernel
 * has it. A client with a long backlog would fill the ring. So a queue may have only so many jobs in a ring, its window: an eighth of the
 * ring, divided by the queues that have something to do there. Then a ring is never full, a job never waits for a place, and finds at most
 * a window of every other queue before it. While a queue of higher rank has something to do, the window is one job.
 *
 * A queue that has filled its window waits for one of its own jobs, which interrupts when it is done: every half window does.
 */
#include "pim_drv.h"

#define PIM_PACE_SHARE 8 /* of the ring's entries, all windows together have one part in so many */
#define PIM_PACE_LEAST 2 /* jobs: one that runs, one that follows */

static u32 pim_pace_window(struct pim_ring *ring, enum pim_rank rank)
{
	u32 entries = ring->pim->hw.ring_entries;
	int all = 0, higher = 0, n, r;

	/* The counts may be a moment behind, even below zero. */
	for (r = 0; r < PIM_RANKS; r++) {
		n = max(atomic_read(&ring->active[r]), 0);
		all += n;
		if (r > rank)
			higher += n;
	}
	if (higher)
		return 1;
	return max_t(u32, entries / PIM_PACE_SHARE / max(all, 1), PIM_PACE_LEAST);
}

/* The job is on its way to the ring. */
void pim_pace_enter(struct pim_job *job)
{
	struct pim_queue *queue = job->queue;

	if (atomic_inc_return(&queue->pending[job->engine]) == 1)
		atomic_inc(&queue->pim->ring[job->engine].active[queue->rank]);
}

/* The job is done, whatever became of it. */
void pim_pace_leave(struct pim_job *job)
{
	struct pim_queue *queue = job->queue;

	if (atomic_dec_and_test(&queue->pending[job->engine]))
		atomic_dec(&queue->pim->ring[job->engine].active[queue->rank]);
}

/* What the job must wait for before it goes to the ring; NULL: nothing. */
struct dma_fence *pim_pace_wait(struct pim_job *job)
{
	struct pim_queue *queue = job->queue;
	struct pim_pace *pace = &queue->pace[job->engine];
	u64 ahead = job->seq - 1 - READ_ONCE(queue->completed[job->engine]);
	u32 i;

	if (ahead < pim_pace_window(&queue->pim->ring[job->engine], queue->rank))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(pace->fence); i++)
		if (pace->fence[i] && !dma_fence_is_signaled(pace->fence[i]))
			return dma_fence_get(pace->fence[i]);
	return NULL; /* nothing that would interrupt is left: this job will */
}

/* The job goes to the ring now. */
void pim_pace_run(struct pim_job *job)
{
	struct pim_queue *queue = job->queue;
	struct pim_pace *pace = &queue->pace[job->engine];

	if (2 * (job->seq - pace->flagged) < pim_pace_window(&queue->pim->ring[job->engine], queue->rank))
		return;
	job->desc.flags |= PIM_HW_JOB_IRQ;
	pace->flagged = job->seq;
	dma_fence_put(pace->fence[0]);
	pace->fence[0] = pace->fence[1];
	pace->fence[1] = dma_fence_get(job->fence);
}

void pim_pace_fini(struct pim_queue *queue)
{
	u32 e;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		dma_fence_put(queue->pace[e].fence[0]);
		dma_fence_put(queue->pace[e].fence[1]);
	}
}
