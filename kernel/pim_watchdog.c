// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watching over the card while jobs are in flight, because an interrupt may be lost and a card may do anything. A job that takes longer than
 * its queue allows is ended by the card, alone with its queue. A card that does not do that, that was started again, that reports that it
 * cannot go on, whose heart stopped or that breaks the rules is reset (pim_reset.c).
 */
#include "pim_drv.h"

#define PIM_HEARTBEAT_MS 3000
#define PIM_STOP_MS 1000 /* that the card gets to end a job it was told to end */
#define PIM_LOST_MS 1000 /* between two tries to bring a lost card back */

/* Has the job at the head of a ring taken too long? Then its queue fails, and the card is told. What is said calls for a reset. */
static const char *pim_watchdog_head(struct pim_ring *ring)
{
	static const struct pim_hw_done timeout = { .status = PIM_HW_E_TIMEOUT };
	struct pim_job *job = pim_ring_head(ring);
	struct pim_device *pim = ring->pim;
	struct pim_queue *queue;
	u32 limit;

	if (!job || ring->frozen)
		return NULL;
	queue = job->queue;
	limit = queue->timeout_ms ?: READ_ONCE(pim_job_timeout_ms);
	if (ring->stopped == ring->head + 1)
		return time_after(jiffies, ring->stopped_at + msecs_to_jiffies(PIM_STOP_MS)) ? "it does not end a job it was told to end" : NULL;
	if (pim_job_waits(job)) {
		ring->since = ktime_get_ns(); /* the time is that of a job in the other ring */
		return NULL;
	}
	if (ktime_get_ns() - ring->since < (u64)limit * NSEC_PER_MSEC)
		return NULL;
	drm_warn(&pim->drm, "job %llu of %s[%d] on engine %u took longer than %u ms\n", job->seq, queue->client->comm, queue->client->pid, ring->engine, limit);
	pim_dump_take(pim, "a job took too long", BIT(ring->engine));
	pim_queue_fail(queue, ring->engine, job->seq, &timeout);
	ring->stopped = ring->head + 1;
	ring->stopped_at = jiffies;
	pim_queue_stop(queue, PIM_HW_STOP_ALL);
	return NULL;
}

static bool pim_watchdog_heart_stopped(struct pim_device *pim)
{
	u64 beat = readq(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, heartbeat));

	if (beat != pim->heartbeat) {
		pim->heartbeat = beat;
		pim->heartbeat_at = jiffies;
	}
	return time_after(jiffies, pim->heartbeat_at + msecs_to_jiffies(PIM_HEARTBEAT_MS));
}

/* Is there a reason for a reset? */
static const char *pim_watchdog_reason(struct pim_device *pim, bool busy)
{
	void __iomem *state = pim->regs + PIM_HW_STATE_OFF;
	const char *reason = NULL;
	struct pim_ring *ring;
	u32 e;

	/* First: a card that was started again does nothing else that it should. */
	if (readl(state + offsetof(struct pim_hw_state, generation)) != pim->generation)
		return "the card was started again";
	if (readl(state + offsetof(struct pim_hw_state, state)) != PIM_HW_CARD_READY)
		return "the card reports that it cannot go on";
	for (e = 0; !reason && e < PIM_HW_ENGINES; e++) {
		ring = &pim->ring[e];
		spin_lock(&ring->lock);
		reason = ring->broken ?: pim_watchdog_head(ring);
		spin_unlock(&ring->lock);
	}
	if (!reason && busy && pim_watchdog_heart_stopped(pim))
		reason = "the card's heart stopped";
	return reason;
}

static void pim_watchdog(struct work_struct *work)
{
	struct pim_device *pim = container_of(to_delayed_work(work), struct pim_device, watchdog);
	unsigned int again = PIM_WATCHDOG_MS;
	const char *reason;
	bool busy = false;
	int e, idx;

	if (READ_ONCE(pim->asleep) || !drm_dev_enter(&pim->drm, &idx))
		return;
	if (pim->lost) {
		pim_reset_revive(pim);
	} else {
		for (e = 0; e < PIM_HW_ENGINES; e++) {
			pim_ring_process(&pim->ring[e]);
			busy |= pim_ring_busy(&pim->ring[e]);
		}
		if (!busy) {
			pim->heartbeat_at = jiffies;
			again = 0;
		}
		reason = pim_watchdog_reason(pim, busy);
		if (reason) {
			pim_reset_recover(pim, reason);
			again = PIM_WATCHDOG_MS; /* what it gave to the card again */
		}
	}
	if (pim->lost)
		again = PIM_LOST_MS;
	if (again)
		queue_delayed_work(pim_wq, &pim->watchdog, msecs_to_jiffies(again));
	drm_dev_exit(idx);
}

/* Let the watchdog look now. */
void pim_watchdog_kick(struct pim_device *pim)
{
	mod_delayed_work(pim_wq, &pim->watchdog, 0);
}

/* Can the card take jobs? If it was started again while nobody looked, this brings it back first. */
bool pim_watchdog_alive(struct pim_device *pim)
{
	bool ready;
	int idx;

	if (READ_ONCE(pim->lost))
		return false;
	if (!drm_dev_enter(&pim->drm, &idx))
		return false;
	down_read(&pim->reset_sem);
	ready = pim_reset_ready(pim);
	up_read(&pim->reset_sem);
	drm_dev_exit(idx);
	if (ready)
		return true;
	pim_watchdog_kick(pim);
	flush_delayed_work(&pim->watchdog);
	return !READ_ONCE(pim->lost);
}

static void pim_watchdog_fini(void *pim)
{
	cancel_delayed_work_sync(&((struct pim_device *)pim)->watchdog);
}

/* Before the interrupts, so that they are gone first. */
int pim_watchdog_init(struct pim_device *pim)
{
	init_rwsem(&pim->reset_sem);
	INIT_DELAYED_WORK(&pim->watchdog, pim_watchdog);
	return devm_add_action_or_reset(pim->drm.dev, pim_watchdog_fini, pim);
}
