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

/* The scheduler's limit keeps the ring from overflowing: a place is free once its fence has signalled. */
void pim_ring_write(struct pim_ring *ring, struct pim_job *job)
{
	struct pim_device *pim = ring->pim;
	u32 entry, e = ring->engine;

	spin_lock(&ring->lock);
	if (ring->head == ring->tail) {
		WRITE_ONCE(pim->progress, jiffies);
		ring->oldest_ns = ktime_get_ns();
	}
	ring->tail++;
	entry = pim_ring_entry(ring, ring->tail);
	WARN_ON_ONCE(ring->jobs[entry]);
	ring->jobs[entry] = job;
	job->desc.seqno = ring->tail;
	if (!(ring->tail & (pim->hw.ring_entries / PIM_IRQS_PER_RING - 1)))
		job->desc.flags |= PIM_HW_JOB_IRQ;
	memcpy_toio(pim->regs + pim->hw.ring_off[e] + entry * sizeof(job->desc), &job->desc, sizeof(job->desc));
	trace_pim_job_run(job);
	mb(); /* the descriptor before the tail, for an outside process as well */
	writeq(ring->tail, pim->regs + PIM_HW_CONTROL_OFF + offsetof(struct pim_hw_control, tail) + e * sizeof(u64));
	mb(); /* the tail before the doorbell */
	spin_unlock(&ring->lock);
	pim_device_doorbell(pim, e);
	queue_delayed_work(pim_wq, &pim->watchdog, msecs_to_jiffies(PIM_WATCHDOG_MS));
}

/* Take what the card says it completed. */
static void pim_ring_take(struct pim_ring *ring)
{
	struct pim_device *pim = ring->pim;
	u32 e = ring->engine, entry;
	struct pim_hw_done done;
	struct pim_job *job;
	u64 completed;

	completed = readq(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, completed) + e * sizeof(u64));
	mb(); /* the counter before the records it covers */
	if (completed == ring->head)
		return;
	if (completed < ring->head || completed > ring->tail) {
		ring->broken = "it completed jobs that it was not given";
		return;
	}
	WRITE_ONCE(pim->progress, jiffies);
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
		ring->head++;
		job = ring->jobs[entry];
		ring->jobs[entry] = NULL;
		pim_job_finish(job, &done);
	}
}

void pim_ring_process(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	if (!ring->frozen && !ring->broken) {
		pim_ring_take(ring);
		if (ring->broken)
			pim_reset_kick(ring->pim);
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
	client->busy_ns[ring->engine] += now - ring->oldest_ns;
	client->jobs[ring->engine]++;
	ring->oldest_ns = now;
}

/* Time that the oldest job was one of this client's, up to now. */
u64 pim_ring_busy_ns(struct pim_ring *ring, const struct pim_client *client)
{
	u64 ns;

	spin_lock(&ring->lock);
	ns = client->busy_ns[ring->engine];
	if (ring->head != ring->tail && ring->jobs[pim_ring_entry(ring, ring->head + 1)]->queue->client == client)
		ns += ktime_get_ns() - ring->oldest_ns;
	spin_unlock(&ring->lock);
	return ns;
}

/* From here on nothing the card writes counts. */
void pim_ring_freeze(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	ring->frozen = true;
	spin_unlock(&ring->lock);
}

/* The card has forgotten its jobs, or is gone: end them. The oldest one gets first_status. */
void pim_ring_cancel(struct pim_ring *ring, u32 first_status)
{
	struct pim_hw_done done = { .status = first_status };
	struct pim_job *job;
	u32 entry;

	spin_lock(&ring->lock);
	while (ring->head < ring->tail) {
		ring->head++;
		entry = pim_ring_entry(ring, ring->head);
		job = ring->jobs[entry];
		ring->jobs[entry] = NULL;
		pim_job_finish(job, &done);
		done.status = PIM_HW_E_CANCELED;
	}
	spin_unlock(&ring->lock);
}

/* After a reset both sides count from one again. */
void pim_ring_thaw(struct pim_ring *ring)
{
	spin_lock(&ring->lock);
	ring->head = 0;
	ring->tail = 0;
	ring->broken = NULL;
	ring->frozen = false;
	spin_unlock(&ring->lock);
}

static void pim_ring_fini(struct drm_device *drm, void *ring)
{
	kvfree(((struct pim_ring *)ring)->jobs);
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
		ring->frozen = true; /* until the first reset */
		ring->jobs = kvcalloc(pim->hw.ring_entries, sizeof(ring->jobs[0]), GFP_KERNEL);
		if (!ring->jobs)
			return -ENOMEM;
		ret = drmm_add_action_or_reset(&pim->drm, pim_ring_fini, ring);
		if (ret)
			return ret;
	}
	return 0;
}
