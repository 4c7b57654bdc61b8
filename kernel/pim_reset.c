// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watching over the card and bringing it back. One watchdog looks at the card as a whole while jobs are in flight: no completion for the
 * job time-out, another generation (its process was started again), a dead state, a heart that stopped. The answer is always a reset: the
 * card forgets all jobs, their queues fail, buffers and the other queues stay. A card that does not answer is lost: every job ends with an
 * error at once and the watchdog goes on trying.
 */
#include <linux/delay.h>
#include <linux/module.h>

#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_HEARTBEAT_MS 3000
#define PIM_LOST_MS 1000 /* between two tries to bring a lost card back */
#define PIM_LOST_WAIT_MS 50 /* that such a try waits for an answer */
#define PIM_POLL_US 100

static u32 pim_state32(struct pim_device *pim, size_t field)
{
	return readl(pim->regs + PIM_HW_STATE_OFF + field);
}

static bool pim_reset_ready(struct pim_device *pim)
{
	return pim_state32(pim, offsetof(struct pim_hw_state, generation)) == pim->generation &&
	       pim_state32(pim, offsetof(struct pim_hw_state, state)) == PIM_HW_CARD_READY;
}

/* RESET with a new generation; the caller keeps everybody else off the rings. */
static int pim_reset_card(struct pim_device *pim, unsigned int timeout_ms)
{
	void __iomem *control = pim->regs + PIM_HW_CONTROL_OFF;
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms) + 1;
	u32 e;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		writeq(0, control + offsetof(struct pim_hw_control, tail) + e * sizeof(u64));
	writel(PIM_HW_CMD_RESET, control + offsetof(struct pim_hw_control, command));
	mb(); /* the command before the generation that makes it valid */
	pim->generation = pim_device_generation(pim);
	writel(pim->generation, control + offsetof(struct pim_hw_control, generation));
	mb(); /* the generation before the doorbell */
	pim_device_doorbell(pim, PIM_HW_DB_CONTROL);
	while (!pim_reset_ready(pim)) {
		if (time_after(jiffies, end))
			return pim_reset_ready(pim) ? 0 : -ETIMEDOUT;
		usleep_range(PIM_POLL_US, 2 * PIM_POLL_US);
	}
	mb(); /* the answer before anything is given to the card */
	return 0;
}

static void pim_reset_start(struct pim_device *pim)
{
	u32 e;

	pim_change_restore(pim);
	pim_queue_restore(pim);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_thaw(&pim->ring[e]);
	WRITE_ONCE(pim->progress, jiffies);
	pim->heartbeat_at = jiffies;
}

/* The first handshake, before there is anybody else. */
int pim_reset_handshake(struct pim_device *pim, unsigned int timeout_ms)
{
	int ret = pim_reset_card(pim, timeout_ms);

	if (!ret)
		pim_reset_start(pim);
	return ret;
}

static void pim_reset_recover(struct pim_device *pim, const char *reason, u32 first_status)
{
	u32 e;
	int ret;

	drm_warn(&pim->drm, "reset: %s\n", reason);
	down_write(&pim->reset_sem);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_freeze(&pim->ring[e]);
	ret = pim_reset_card(pim, pim_reset_timeout_ms);
	/* Only now: until it answered, the card may still write to the buffers of these jobs. */
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_cancel(&pim->ring[e], first_status);
	if (!ret)
		pim_reset_start(pim);
	WRITE_ONCE(pim->lost, ret != 0);
	pim->resets++;
	trace_pim_reset(pim->generation, ret);
	up_write(&pim->reset_sem);
	if (ret)
		drm_err(&pim->drm, "the card does not answer a reset: all jobs fail until it does; start the emulator again\n");
}

static void pim_reset_revive(struct pim_device *pim)
{
	bool back;

	down_write(&pim->reset_sem);
	back = !pim_reset_card(pim, PIM_LOST_WAIT_MS);
	if (back) {
		pim_reset_start(pim);
		WRITE_ONCE(pim->lost, false);
		trace_pim_reset(pim->generation, 0);
	}
	up_write(&pim->reset_sem);
	if (back)
		drm_info(&pim->drm, "the card is back\n");
}

static bool pim_reset_heart_stopped(struct pim_device *pim)
{
	u64 beat = readq(pim->regs + PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, heartbeat));

	if (beat != pim->heartbeat) {
		pim->heartbeat = beat;
		pim->heartbeat_at = jiffies;
	}
	return time_after(jiffies, pim->heartbeat_at + msecs_to_jiffies(PIM_HEARTBEAT_MS));
}

/* Is there a reason for a reset? */
static const char *pim_reset_reason(struct pim_device *pim, bool busy, u32 *first_status)
{
	u32 e;

	*first_status = PIM_HW_E_CANCELED;
	/* First: a card that was started again also counts its completions from zero. */
	if (pim_state32(pim, offsetof(struct pim_hw_state, generation)) != pim->generation)
		return "the card was started again";
	for (e = 0; e < PIM_HW_ENGINES; e++)
		if (READ_ONCE(pim->ring[e].broken))
			return pim->ring[e].broken;
	if (pim_state32(pim, offsetof(struct pim_hw_state, state)) != PIM_HW_CARD_READY)
		return "the card reports that it cannot go on";
	if (!busy)
		return NULL;
	if (pim_reset_heart_stopped(pim))
		return "the card's heart stopped";
	if (time_after(jiffies, READ_ONCE(pim->progress) + msecs_to_jiffies(pim_job_timeout_ms))) {
		*first_status = PIM_HW_E_TIMEOUT;
		return "no job completed within job_timeout_ms";
	}
	return NULL;
}

static void pim_reset_watchdog(struct work_struct *work)
{
	struct pim_device *pim = container_of(to_delayed_work(work), struct pim_device, watchdog);
	unsigned int again = PIM_WATCHDOG_MS;
	const char *reason;
	bool busy = false;
	u32 status;
	int e, idx;

	if (!drm_dev_enter(&pim->drm, &idx))
		return;
	if (pim->lost) {
		pim_reset_revive(pim);
	} else {
		/* An interrupt may have been lost with the card's process. */
		for (e = 0; e < PIM_HW_ENGINES; e++) {
			pim_ring_process(&pim->ring[e]);
			busy |= pim_ring_busy(&pim->ring[e]);
		}
		if (!busy) {
			pim->heartbeat_at = jiffies;
			again = 0;
		}
		reason = pim_reset_reason(pim, busy, &status);
		if (reason)
			pim_reset_recover(pim, reason, status);
	}
	if (pim->lost)
		again = PIM_LOST_MS;
	if (again)
		queue_delayed_work(pim_wq, &pim->watchdog, msecs_to_jiffies(again));
	drm_dev_exit(idx);
}

/* Let the watchdog look now. */
void pim_reset_kick(struct pim_device *pim)
{
	mod_delayed_work(pim_wq, &pim->watchdog, 0);
}

/* Can the card take jobs? If it was started again while nobody looked, this brings it back first. */
bool pim_reset_alive(struct pim_device *pim)
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
	pim_reset_kick(pim);
	flush_delayed_work(&pim->watchdog);
	return !READ_ONCE(pim->lost);
}

static void pim_reset_fini(void *pim)
{
	cancel_delayed_work_sync(&((struct pim_device *)pim)->watchdog);
}

/* Before the interrupts, so that they are gone first. */
int pim_reset_init(struct pim_device *pim)
{
	init_rwsem(&pim->reset_sem);
	INIT_DELAYED_WORK(&pim->watchdog, pim_reset_watchdog);
	return devm_add_action_or_reset(pim->drm.dev, pim_reset_fini, pim);
}

/* The card is going away: quiet it, so that it writes to nobody's memory, and end its jobs. */
void pim_reset_unplug(struct pim_device *pim)
{
	u32 e;

	cancel_delayed_work_sync(&pim->watchdog);
	down_write(&pim->reset_sem);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_freeze(&pim->ring[e]);
	if (!pim->lost && pim_reset_card(pim, pim_reset_timeout_ms))
		drm_warn(&pim->drm, "the card did not answer the last reset\n");
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_cancel(&pim->ring[e], PIM_HW_E_CANCELED);
	pim->lost = true;
	up_write(&pim->reset_sem);
	wake_up_all(&pim->auth.wait);
}
