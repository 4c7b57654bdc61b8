// SPDX-License-Identifier: GPL-2.0-only
/* The rings: descriptors out, completion records in. What the card writes is read once and checked before it is used. */
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>

#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_IRQS_PER_RING 4 /* at least so many entries of a ring interrupt, so that a full ring empties */

static u32 pim_ring_entry(const struct pim_ring *ring, u64 seqno)
{
	return (seqno - 1) & (ring->pim->hw.ring_entries - 1);
}

/*
 * Under lock: give the card the jobs up to the tail, from the seqno on; the doorbell is left to the caller. The reset_sem is held, so nobody
 * resets it.
 */
static void pim_ring_give(struct pim_ring *ring, u64 seqno)
{
	struct pim_device *pim = ring->pim;
	u32 e = ring->engine, entry;
	struct pim_job *job;

	for (; seqno <= ring->tail; seqno++) {
		entry = pim_ring_entry(ring, seqno);
		job = ring->jobs[entry];
		job->desc.seqno = seqno;
		if (!(seqno & (pim->hw.ring_entries / PIM_IRQS_PER_RING - 1)))
			job->desc.flags |= PIM_HW_JOB_IRQ;
		memcpy_toio(pim->regs + pim->hw.ring_off[e] + entry * sizeof(job->desc), &job->desc, sizeof(job->desc));
		trace_pim_job_run(job);
	}
	ring->given = ring->tail;
	mb(); /* the descriptors before the tail, for an outside process as well */
	writeq(ring->tail, pim->regs + PIM_HW_CONTROL_OFF + offsetof(struct pim_hw_control, tail) + e * sizeof(u64));
	mb(); /* the tail before the doorbell */
}

/* The scheduler's limit keeps the ring from overflowing: a place is free once its fence has signalled. */
void pim_ring_write(struct pim_ring *ring, struct pim_job *job)
{
	struct pim_device *pim = ring->pim;
	bool give;
	u32 entry;

	spin_lock(&ring->lock);
	if (ring->head == ring->tail)
		ring->since = ktime_get_ns();
	ring->tail++;
	entry = pim_ring_entry(ring, ring->tail);
	WARN_ON_ONCE(ring->jobs[entry]);
	ring->jobs[entry] = job;
	give = !ring->paused;
	if (give)
		pim_ring_give(ring, ring->tail);
	spin_unlock(&ring->lock);
	if (give)
		pim_device_doorbell(pim, ring->engine);
	queue_delayed_work(pim_wq, &pim->watchdog, msecs_to_jiffies(PIM_WATCHDOG_MS));
}

/* Under lock: the oldest job leaves. */
static void pim_ring_pop(struct pim_ring *ring, const struct pim_hw_done *done)
{
	u32 entry = pim_ring_entry(ring, ring->head + 1), at = ring->logged++ % PIM_RING_LOG;
	struct pim_job *job = ring->jobs[entry];

	ring->log[at].seqno = ring->head + 1;
	ring->log[at].seq = job->seq;
	ring->log[at].slot = job->queue->slot;
	ring->log[at].status = done->status;
	ring->jobs[entry] = NULL;
	ring->head++;
	ring->since = ktime_get_ns();
	pim_job_finish(job, done);
}

/* Take what the card says it completed. */
static void pim_ring_take(struct pim_ring *ring)
{
	struct pim_device *pim = ring->pim;
	u32 e = ring->engine, entry;
	struct pim_hw_done done;
	u64 completed;

	completed = readq(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, completed) + e * sizeof(u64));
	mb(); /* the counter before the records it covers */
	if (completed == ring->head)
		return;
	if (completed < ring->head || completed > ring->given) {
		ring->broken = "it completed jobs that it was not given";
		return;
	}
	while (ring->head < completed) {
		entry = pim_ring_entry(ring, ring->head + 1);
		memcpy_fromio(&done, pim->regs + pim->hw.done_off[e] + entry * sizeof(done), sizeof(done));
		if (done.seqno != ring->head + 1) {
			ring->broken = "a completion record has the number of another job";
			return;
		}
		if (done.status > PIM_HW_E_CANCELED) {
			ring->broken = "a completion record has an unknown status";
			return;
		}
		pim_ring_pop(ring, &done);
	}
}

void pim_ring_process(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	if (!ring->frozen && !ring->broken) {
		pim_ring_take(ring);
		if (ring->broken)
			pim_watchdog_kick(ring->pim);
	}
	spin_unlock(&ring->lock);
}

bool pim_ring_busy(struct pim_ring *ring)
{
	bool busy;

	spin_lock(&ring->lock);
	busy = ring->head != ring->tail;
	spin_unlock(&ring->lock);
	return busy;
}

/* The oldest job leaves the ring: how long was it that? */
void pim_ring_account(struct pim_job *job)
{
	struct pim_ring *ring = &job->queue->pim->ring[job->engine];
	struct pim_client *client = job->queue->client;
	u64 now = ktime_get_ns();

	lockdep_assert_held(&ring->lock);
	client->busy_ns[ring->engine] += now - ring->since;
	client->jobs[ring->engine]++;
}

/* Time that the oldest job was one of this client's, up to now. */
u64 pim_ring_busy_ns(struct pim_ring *ring, const struct pim_client *client)
{
	u64 ns;

	spin_lock(&ring->lock);
	ns = client->busy_ns[ring->engine];
	if (ring->head != ring->tail && ring->jobs[pim_ring_entry(ring, ring->head + 1)]->queue->client == client)
		ns += ktime_get_ns() - ring->since;
	spin_unlock(&ring->lock);
	return ns;
}

/* Has the card jobs to do? */
bool pim_ring_working(struct pim_ring *ring)
{
	bool working;

	spin_lock(&ring->lock);
	working = ring->head < ring->given;
	spin_unlock(&ring->lock);
	return working;
}

/* Under lock: the job that is to complete next, or NULL. */
struct pim_job *pim_ring_head(struct pim_ring *ring)
{
	lockdep_assert_held(&ring->lock);
	return ring->head == ring->tail ? NULL : ring->jobs[pim_ring_entry(ring, ring->head + 1)];
}

/* From here on the card gets no more jobs. */
void pim_ring_pause(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	ring->paused = true;
	spin_unlock(&ring->lock);
}

/* From here on nothing the card writes counts, either. */
void pim_ring_freeze(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	ring->paused = true;
	ring->frozen = true;
	spin_unlock(&ring->lock);
}

/*
 * The card is quiet: end the jobs it had begun, up to a seqno that it says itself. One that says too much costs its users more jobs, one
 * that says too little runs a job twice, within its own buffers.
 */
void pim_ring_lose(struct pim_ring *ring, u64 started)
{
	struct pim_hw_done done = {};

	spin_lock(&ring->lock);
	while (ring->head < ring->tail && ring->head < started) {
		done.status = ring->head + 1 == ring->stopped ? PIM_HW_E_TIMEOUT : PIM_HW_E_CANCELED;
		pim_queue_lose(pim_ring_head(ring)->queue);
		pim_ring_pop(ring, &done);
	}
	spin_unlock(&ring->lock);
}

/* After a reset both sides count from one again; jobs that are left begin anew, in their order, if nothing they may wait for was lost. */
void pim_ring_thaw(struct pim_ring *ring)
{
	static const struct pim_hw_done canceled = { .status = PIM_HW_E_CANCELED };
	struct pim_job *job;
	u64 tail = 0;

	spin_lock(&ring->lock);
	while ((job = pim_ring_head(ring))) {
		if (READ_ONCE(job->queue->stop)) {
			pim_ring_pop(ring, &canceled);
			continue;
		}
		ring->jobs[pim_ring_entry(ring, ++ring->head)] = NULL;
		ring->spare[pim_ring_entry(ring, ++tail)] = job;
	}
	swap(ring->jobs, ring->spare);
	ring->head = 0;
	ring->tail = tail;
	ring->given = 0;
	ring->since = ktime_get_ns();
	ring->stopped = 0;
	ring->broken = NULL;
	ring->paused = false;
	ring->frozen = false;
	if (tail)
		pim_ring_give(ring, 1);
	spin_unlock(&ring->lock);
	if (tail)
		pim_device_doorbell(ring->pim, ring->engine);
}

static void pim_ring_fini(struct drm_device *drm, void *ring)
{
	kvfree(((struct pim_ring *)ring)->jobs);
	kvfree(((struct pim_ring *)ring)->spare);
}

int pim_ring_init(struct pim_device *pim)
{
	struct pim_ring *ring;
	int e, ret;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		ring = &pim->ring[e];
		ring->pim = pim;
		ring->engine = e;
		spin_lock_init(&ring->lock);
		ring->paused = true; /* until the first reset */
		ring->frozen = true;
		ring->jobs = kvcalloc(pim->hw.ring_entries, sizeof(ring->jobs[0]), GFP_KERNEL);
		ring->spare = kvcalloc(pim->hw.ring_entries, sizeof(ring->spare[0]), GFP_KERNEL);
		ret = drmm_add_action_or_reset(&pim->drm, pim_ring_fini, ring);
		if (ret)
			return ret;
		if (!ring->jobs || !ring->spare)
			return -ENOMEM;
	}
	return 0;
}
