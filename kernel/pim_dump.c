// SPDX-License-Identifier: GPL-2.0-only
/*
 * Core dumps: what the card and the driver looked like when a job was ended or the card was reset, as text in /sys/class/devcoredump.
 * Written to memory set aside at probe, because fences may wait for the caller; handed over by a worker that may allocate.
 */
#include <linux/devcoredump.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

#include <drm/drm_managed.h>

#include "pim_drv.h"

#define PIM_DUMP_BYTES SZ_16K

static const char * const pim_dump_engines[] = { "host", "pim" };

static __printf(2, 3) void pim_dump_say(struct pim_dump *dump, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	dump->len += vscnprintf(dump->text + dump->len, PIM_DUMP_BYTES - dump->len, fmt, ap);
	va_end(ap);
}

static void pim_dump_card(struct pim_device *pim, const char *reason)
{
	struct pim_dump *dump = &pim->dump;
	struct pim_hw_state s;

	memcpy_fromio(&s, pim->regs + PIM_HW_STATE_OFF, sizeof(s));
	pim_dump_say(dump, "reason: %s\ncard: %s, abi %u.%u\ngeneration: %#x, the card's %#x\nstate: %u\nheartbeat: %llu\nresets: %llu\n", reason,
		     pim->hw.name, pim->hw.abi_major, pim->hw.abi_minor, pim->generation, s.generation, s.state, s.heartbeat, pim->resets);
}

static void pim_dump_ring(struct pim_device *pim, struct pim_ring *ring)
{
	void __iomem *state = pim->regs + PIM_HW_STATE_OFF + ring->engine * sizeof(u64);
	struct pim_dump *dump = &pim->dump;
	u64 n = READ_ONCE(ring->logged), i;

	pim_dump_say(dump, "ring %s: head %llu tail %llu, the card's completed %llu started %llu%s%s\n", pim_dump_engines[ring->engine],
		     READ_ONCE(ring->head), READ_ONCE(ring->tail), readq(state + offsetof(struct pim_hw_state, completed)),
		     readq(state + offsetof(struct pim_hw_state, started)), ring->broken ? ": " : "", ring->broken ?: "");
	for (i = n > PIM_RING_LOG ? n - PIM_RING_LOG : 0; i < n; i++)
		pim_dump_say(dump, "  done: %llu, queue %u job %llu, status %u\n", ring->log[i % PIM_RING_LOG].seqno,
			     ring->log[i % PIM_RING_LOG].slot, ring->log[i % PIM_RING_LOG].seq, ring->log[i % PIM_RING_LOG].status);
}

static void pim_dump_job(struct pim_device *pim, const struct pim_job *job)
{
	const struct pim_hw_desc *d = &job->desc;
	const struct pim_queue *queue = job->queue;
	struct pim_dump *dump = &pim->dump;
	u32 i;

	pim_dump_say(dump, "job at the head of ring %s: queue %u job %llu of %s[%d], file %llu\n", pim_dump_engines[job->engine], queue->slot,
		     job->seq, queue->client->comm, queue->client->pid, queue->file);
	pim_dump_say(dump, "  op %u flags %#x seqno %llu batch %#llx rings %u domains %#x policy %u\n", d->op, d->flags, d->seqno, d->batch,
		     d->batch_rings, job->domains, d->policy.kind);
	for (i = 0; i < d->nwaits; i++)
		pim_dump_say(dump, "  wait: slot %u value %llu\n", d->wait[i].slot, d->wait[i].value);
	for (i = 0; i < d->nbindings; i++)
		pim_dump_say(dump, "  binding %u: %#llx + %#llx access %u\n", i, d->binding[i].base, d->binding[i].bytes, d->binding[i].access);
	for (i = 0; i < sizeof(d->payload); i += 32)
		if (memchr_inv(d->payload + i, 0, 32))
			pim_dump_say(dump, "  payload %3u: %*ph\n", i, 32, d->payload + i);
}

static void pim_dump_domains(struct pim_device *pim)
{
	const struct pim_domain *dom;
	u32 d;

	spin_lock(&pim->auth.lock);
	for (d = 0; d < pim->hw.domains; d++) {
		dom = &pim->auth.domain[d];
		pim_dump_say(&pim->dump, "domain %u: owner %u holder %llu %s\n", d, dom->owner, dom->file, dom->comm);
	}
	spin_unlock(&pim->auth.lock);
}

/* The jobs at the heads of these engines' rings do not leave them meanwhile. Legal in recovery. */
void pim_dump_take(struct pim_device *pim, const char *reason, u32 engines)
{
	struct pim_dump *dump = &pim->dump;
	struct pim_ring *ring;
	u32 e;

	/* Until that one is handed over there is no place; and the first of a row of dumps says most. */
	if (test_bit(0, &dump->taken))
		return;
	dump->len = 0;
	pim_dump_card(pim, reason);
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		ring = &pim->ring[e];
		pim_dump_ring(pim, ring);
		if ((engines & BIT(e)) && ring->head != ring->tail)
			pim_dump_job(pim, ring->jobs[ring->head & (pim->hw.ring_entries - 1)]);
	}
	pim_dump_domains(pim);
	set_bit(0, &dump->taken);
	queue_work(system_long_wq, &dump->work);
}

static void pim_dump_work(struct work_struct *work)
{
	struct pim_dump *dump = container_of(work, struct pim_dump, work);
	struct pim_device *pim = container_of(dump, struct pim_device, dump);
	void *text = vmalloc(dump->len);

	if (text) {
		memcpy(text, dump->text, dump->len);
		dev_coredumpv(pim->drm.dev, text, dump->len, GFP_KERNEL);
	}
	clear_bit(0, &dump->taken);
}

static void pim_dump_fini(void *pim)
{
	cancel_work_sync(&((struct pim_device *)pim)->dump.work);
}

/* Before the watchdog, so that it is gone first. */
int pim_dump_init(struct pim_device *pim)
{
	struct pim_dump *dump = &pim->dump;

	INIT_WORK(&dump->work, pim_dump_work);
	dump->text = drmm_kmalloc(&pim->drm, PIM_DUMP_BYTES, GFP_KERNEL);
	if (!dump->text)
		return -ENOMEM;
	return devm_add_action_or_reset(pim->drm.dev, pim_dump_fini, pim);
}
