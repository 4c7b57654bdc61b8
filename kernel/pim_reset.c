// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resets. The card stops and forgets everything but its memory. Jobs it had begun are lost, and with them their queues; the others are
 * given to it again, in their order, with owners and slots as they were. A card that does not answer is lost: every job ends with an error
 * at once, until it answers a later try.
 */
#include <linux/delay.h>

#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_LOST_WAIT_MS 50 /* that a try to bring a lost card back waits for an answer */
#define PIM_SUSPEND_MS 2000 /* that jobs in the rings get to end before a suspend */
#define PIM_POLL_US 100

static u32 pim_state32(struct pim_device *pim, size_t field)
{
	return readl(pim->regs + PIM_HW_STATE_OFF + field);
}

bool pim_reset_ready(struct pim_device *pim)
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

/* The other half of a reset: what the card forgot. */
static void pim_reset_start(struct pim_device *pim)
{
	u32 e;

	pim_change_restore(pim);
	pim_queue_restore(pim);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_thaw(&pim->ring[e]);
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

/* Quiet the card, then end the jobs that it had begun; all of them if it does not answer. */
static int pim_reset_quiet(struct pim_device *pim)
{
	size_t started = PIM_HW_STATE_OFF + offsetof(struct pim_hw_state, started);
	int ret;
	u32 e;

	lockdep_assert_held_write(&pim->reset_sem);
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		pim_ring_process(&pim->ring[e]);
		pim_ring_freeze(&pim->ring[e]);
	}
	ret = pim_reset_card(pim, pim_reset_timeout_ms);
	/* Only now: until it answered, the card may still write to the buffers of these jobs. */
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_lose(&pim->ring[e], ret ? U64_MAX : readq(pim->regs + started + e * sizeof(u64)));
	return ret;
}

static void pim_reset_done(struct pim_device *pim, int ret)
{
	if (!ret)
		pim_reset_start(pim);
	WRITE_ONCE(pim->lost, ret != 0);
	pim->resets++;
	trace_pim_reset(pim, ret);
}

void pim_reset_recover(struct pim_device *pim, const char *reason)
{
	int ret;

	drm_warn(&pim->drm, "reset: %s\n", reason);
	down_write(&pim->reset_sem);
	pim_dump_take(pim, reason, BIT(PIM_HW_ENGINES) - 1);
	ret = pim_reset_quiet(pim);
	pim_reset_done(pim, ret);
	up_write(&pim->reset_sem);
	if (ret)
		drm_err(&pim->drm, "the card does not answer a reset: all jobs fail until it does; start the emulator again\n");
}

/* Try to bring a lost card back. */
void pim_reset_revive(struct pim_device *pim)
{
	bool back;

	down_write(&pim->reset_sem);
	back = !pim_reset_card(pim, PIM_LOST_WAIT_MS);
	if (back) {
		pim_reset_start(pim);
		WRITE_ONCE(pim->lost, false);
		trace_pim_reset(pim, 0);
	}
	up_write(&pim->reset_sem);
	if (back)
		drm_info(&pim->drm, "the card is back\n");
}

/* The card is going away: quiet it, so that it writes to nobody's memory, and end its jobs. */
void pim_reset_unplug(struct pim_device *pim)
{
	u32 e;

	cancel_delayed_work_sync(&pim->watchdog);
	down_write(&pim->reset_sem);
	if (!pim->lost && pim_reset_quiet(pim))
		drm_warn(&pim->drm, "the card did not answer the last reset\n");
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_lose(&pim->ring[e], U64_MAX);
	pim->lost = true;
	up_write(&pim->reset_sem);
	wake_up_all(&pim->auth.wait);
}

static bool pim_reset_drained(struct pim_device *pim)
{
	bool busy = false;
	u32 e;

	for (e = 0; e < PIM_HW_ENGINES; e++) {
		pim_ring_process(&pim->ring[e]);
		busy |= pim_ring_working(&pim->ring[e]);
	}
	return !busy;
}

/*
 * Programs are frozen, the scheduler's threads are not: from here on jobs enter the rings, but not the card. What the card has may end; what
 * has not ended in time is treated as in any reset, when the card is awake again.
 */
int pim_reset_suspend(struct pim_device *pim)
{
	unsigned long end = jiffies + msecs_to_jiffies(PIM_SUSPEND_MS);
	u32 e;

	WRITE_ONCE(pim->asleep, true);
	cancel_delayed_work_sync(&pim->watchdog);
	down_write(&pim->reset_sem);
	for (e = 0; e < PIM_HW_ENGINES; e++)
		pim_ring_pause(&pim->ring[e]);
	up_write(&pim->reset_sem);
	while (!pim->lost && !pim_reset_drained(pim) && time_before(jiffies, end))
		usleep_range(PIM_POLL_US, 2 * PIM_POLL_US);
	down_write(&pim->reset_sem);
	if (!pim->lost && pim_reset_quiet(pim))
		pim->lost = true;
	up_write(&pim->reset_sem);
	return 0;
}

int pim_reset_resume(struct pim_device *pim)
{
	int ret;
	u32 e;

	down_write(&pim->reset_sem);
	ret = pim_reset_card(pim, pim_reset_timeout_ms);
	if (ret)
		for (e = 0; e < PIM_HW_ENGINES; e++)
			pim_ring_lose(&pim->ring[e], U64_MAX);
	pim_reset_done(pim, ret);
	WRITE_ONCE(pim->asleep, false);
	up_write(&pim->reset_sem);
	if (ret)
		drm_err(&pim->drm, "the card did not wake up: all jobs fail until it does\n");
	pim_watchdog_kick(pim);
	return 0;
}
