// SPDX-License-Identifier: GPL-2.0-only
/*
 * Changes of owner. One is prepared by whoever wants it, queued, and happens once it is first in line for its domains, the fence that it
 * comes after has signalled, and nobody whom the next owner shuts out is left. Fences depend on what happens from there on: it allocates
 * nothing and takes no lock that an allocation may need.
 */
#include <linux/pid.h>

#include <drm/drm_vma_manager.h>

#include "pim_drv.h"

/* -- preparing ------------------------------------------------------------------------------------------------------ */

static void pim_change_zap(struct pim_device *pim, u32 mask)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_bo *bo;
	u32 d;

	/* No fault puts a page back after this. */
	down_write(&auth->fault_sem);
	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		auth->domain[d].cpu = false;
	spin_unlock(&auth->lock);
	up_write(&auth->fault_sem);

	mutex_lock(&auth->bo_lock);
	for_each_domain(d, mask)
		list_for_each_entry(bo, &auth->domain[d].bos, link)
			drm_vma_node_unmap(&bo->base.vma_node, pim->drm.anon_inode->i_mapping);
	mutex_unlock(&auth->bo_lock);
}

/*
 * Take busy domains from the CPU and from importers, whose fences, for the change to come after, go to add. Nothing to do for domains
 * that HOST does not have.
 */
int pim_change_shut_out(struct pim_device *pim, u32 mask, pim_add_fence add, void *arg)
{
	struct pim_auth *auth = &pim->auth;
	u32 lose = 0, d;
	int ret;

	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		if (auth->domain[d].cpu)
			lose |= BIT(d);
	spin_unlock(&auth->lock);
	if (!lose)
		return 0;
	pim_change_zap(pim, lose);
	for_each_domain(d, lose) {
		ret = pim_tenure_begin(pim, d, add, arg);
		if (ret) {
			pim_change_reopen(pim, lose);
			return ret;
		}
	}
	return 0;
}

/* The CPU and importers have the domain. */
static void pim_change_admit_host(struct pim_domain *dom, struct list_head *ended)
{
	dom->cpu = true;
	if (!dom->tenure)
		return;
	list_add_tail(&dom->tenure->link, ended);
	dom->tenure = NULL;
}

/* The change did not come to be: domains that HOST has go back to the CPU. */
void pim_change_reopen(struct pim_device *pim, u32 mask)
{
	struct pim_auth *auth = &pim->auth;
	LIST_HEAD(over);
	LIST_HEAD(ended);
	struct pim_domain *dom;
	u32 d;

	spin_lock(&auth->lock);
	for_each_domain(d, mask) {
		dom = &auth->domain[d];
		if (dom->owner == PIM_HW_OWNER_HOST && !dom->queued)
			pim_change_admit_host(dom, &ended);
	}
	spin_unlock(&auth->lock);
	pim_change_finish(pim, &over, &ended);
}

static void pim_change_ripe(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct pim_change *c = container_of(cb, struct pim_change, cb);

	WRITE_ONCE(c->ripe, true);
	pim_lend_kick(c->pim);
}

/* The change comes after this fence, which it takes; NULL: after none. To be called before it is queued. */
void pim_change_arm(struct pim_change *c, struct dma_fence *after)
{
	INIT_LIST_HEAD(&c->cb.node);
	c->ripe = false;
	c->after = after;
	if (!after || dma_fence_add_callback(after, &c->cb, pim_change_ripe))
		WRITE_ONCE(c->ripe, true);
}

/* One that is not queued (any more). */
void pim_change_free(struct pim_change *c)
{
	if (c->after) {
		dma_fence_remove_callback(c->after, &c->cb);
		dma_fence_put(c->after);
	}
	dma_fence_put(c->done);
	kfree(c);
}

/* -- the queue ------------------------------------------------------------------------------------------------------ */

/* What the domain's claim has, or is going to have. */
static void pim_change_promise(struct pim_auth *auth, u32 d)
{
	struct pim_domain *dom = &auth->domain[d];
	struct pim_change *c;

	dom->promised = dom->lend == PIM_LEND_NO ? dom->owner : dom->lend_owner;
	dom->leaving = false;
	list_for_each_entry(c, &auth->changes, link) {
		if (!(c->mask & BIT(d)) || c->cause == PIM_CAUSE_YIELD)
			continue;
		dom->promised = c->owner;
		dom->leaving = c->unclaim;
	}
}

void pim_change_queue(struct pim_auth *auth, struct pim_change *c)
{
	u32 d;

	lockdep_assert_held(&auth->lock);
	c->queued = true;
	c->over = false;
	list_add_tail(&c->link, &auth->changes);
	for_each_domain(d, c->mask) {
		if (!auth->domain[d].queued++)
			auth->domain[d].queued_since = ktime_get_ns();
		pim_change_promise(auth, d);
	}
}

static void pim_change_dequeue(struct pim_auth *auth, struct pim_change *c, int result, struct list_head *over)
{
	u32 d;

	c->queued = false;
	c->result = result;
	list_move_tail(&c->link, over);
	for_each_domain(d, c->mask)
		auth->domain[d].queued--;
}

/* Nobody claims these domains, which HOST has, any more. */
void pim_change_unclaim(struct pim_auth *auth, u32 mask)
{
	struct pim_domain *dom;
	u32 d;

	lockdep_assert_held(&auth->lock);
	for_each_domain(d, mask) {
		dom = &auth->domain[d];
		dom->file = 0;
		put_pid(dom->pid);
		dom->pid = NULL;
		memset(dom->comm, 0, sizeof(dom->comm));
		memset(&dom->policy, 0, sizeof(dom->policy));
		dom->priority = 0;
		dom->lend = PIM_LEND_NO;
	}
	pim_watch_notify(auth, mask);
}

/* Take a queued change back. */
void pim_change_cancel(struct pim_device *pim, struct pim_change *c, int result, struct list_head *over, struct list_head *ended)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom;
	u32 d;

	lockdep_assert_held(&auth->lock);
	pim_change_dequeue(auth, c, result, over);
	for_each_domain(d, c->mask) {
		dom = &auth->domain[d];
		dom->closing = dom->owner;
		pim_change_promise(auth, d);
		if (dom->queued)
			continue;
		if (dom->owner == PIM_HW_OWNER_HOST)
			pim_change_admit_host(dom, ended);
		if (c->fresh)
			pim_change_unclaim(auth, BIT(d));
	}
}

/* Has its fence signalled? And jobs that were let in while nobody claimed the domains run to their end first. */
static bool pim_change_ready(struct pim_auth *auth, const struct pim_change *c)
{
	u32 d;

	for_each_domain(d, c->mask)
		if (c->fresh && auth->domain[d].early)
			return false;
	return READ_ONCE(c->ripe);
}

/* Does a change of this domain wait for what others do? */
bool pim_change_waits(struct pim_auth *auth, u32 d)
{
	struct pim_change *c;

	lockdep_assert_held(&auth->lock);
	list_for_each_entry(c, &auth->changes, link)
		if ((c->mask & BIT(d)) && !pim_change_ready(auth, c))
			return true;
	return false;
}

/* Have those that the next owner shuts out gone: engines from the rings, the kernel's own accesses? */
static bool pim_change_drained(struct pim_auth *auth, const struct pim_change *c)
{
	struct pim_domain *dom;
	u32 d, e;

	for_each_domain(d, c->mask) {
		dom = &auth->domain[d];
		if (c->owner != PIM_HW_OWNER_HOST && dom->users)
			return false;
		for (e = 0; e < PIM_HW_ENGINES; e++)
			if (!pim_owner_allows(c->owner, e) && dom->inflight[e])
				return false;
	}
	return true;
}

static void pim_change_tell_card(struct pim_device *pim, u32 d, u32 owner)
{
	writel(owner, pim->regs + PIM_HW_AUTHORITY_OFF + offsetof(struct pim_hw_authority, domain[d].owner));
}

static void pim_change_switch(struct pim_device *pim, u32 d, const struct pim_change *c, u64 now)
{
	struct pim_domain *dom = &pim->auth.domain[d];

	pim_history_add(pim, d, dom->owner, c->owner, c->cause, dom->file, pid_nr(dom->pid), dom->comm);
	dom->owned_ns[dom->owner] += now - dom->since;
	dom->since = now;
	dom->owner = c->owner;
	dom->handovers++;
	pim_watch_notify(&pim->auth, BIT(d));
}

/* On a card that is gone the memory is nobody's: it goes back to HOST all the same, and to nobody else. */
static void pim_change_execute(struct pim_device *pim, struct pim_change *c, struct list_head *over, struct list_head *ended)
{
	struct pim_auth *auth = &pim->auth;
	u64 now = ktime_get_ns();
	struct pim_domain *dom;
	bool there;
	int idx;
	u32 d;

	there = drm_dev_enter(&pim->drm, &idx);
	pim_change_dequeue(auth, c, there || c->owner == PIM_HW_OWNER_HOST ? 0 : -ENODEV, over);
	/* CPU stores of before the zap are on the card once this read returns. */
	if (there && c->owner != PIM_HW_OWNER_HOST)
		readl(pim->regs + PIM_HW_STATE_OFF);
	for_each_domain(d, c->mask) {
		dom = &auth->domain[d];
		if (dom->owner != c->owner) {
			pim_change_switch(pim, d, c, now);
			if (there)
				pim_change_tell_card(pim, d, c->owner);
		}
		dom->closing = c->owner;
		if (c->owner == PIM_HW_OWNER_HOST)
			pim_change_admit_host(dom, ended);
		if (c->cause == PIM_CAUSE_RETURN)
			dom->lend = PIM_LEND_NO;
		if (c->unclaim)
			pim_change_unclaim(auth, BIT(d));
		pim_change_promise(auth, d);
	}
	if (there)
		drm_dev_exit(idx);
}

/* Domains that become free go to who is next in line, who finds them busy with his own call. */
static void pim_change_grant(struct pim_auth *auth)
{
	struct pim_domain *dom;
	struct pim_waiter *w;
	u32 taken = 0, d;

	for (d = 0; d < PIM_HW_MAX_DOMAINS; d++)
		if (auth->domain[d].file || auth->domain[d].busy || auth->domain[d].queued)
			taken |= BIT(d);
	while ((w = pim_line_next(&auth->line, taken))) {
		auth->era++;
		for_each_domain(d, w->mask) {
			dom = &auth->domain[d];
			dom->file = w->file;
			dom->busy = true;
			dom->era = auth->era;
			dom->early += dom->guests;
			dom->guests = 0;
		}
		taken |= w->mask;
	}
}

/*
 * Carry out every change whose time has come, and grant what became free. Lock held; the lists are for pim_change_finish(), without it.
 */
void pim_change_advance(struct pim_device *pim, struct list_head *over, struct list_head *ended)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_change *c, *next;
	u32 before = 0, d;

	lockdep_assert_held(&auth->lock);
	list_for_each_entry_safe(c, next, &auth->changes, link) {
		if (!(c->mask & before) && pim_change_ready(auth, c)) {
			for_each_domain(d, c->mask)
				auth->domain[d].closing = c->owner;
			if (pim_change_drained(auth, c)) {
				pim_change_execute(pim, c, over, ended);
				continue;
			}
		}
		before |= c->mask;
	}
	pim_change_grant(auth);
}

/* Tell of changes that are over and of tenures that ended: callbacks of other drivers run, so without a lock. */
void pim_change_finish(struct pim_device *pim, struct list_head *over, struct list_head *ended)
{
	struct pim_tenure *tenure, *next_tenure;
	struct pim_change *c, *next;
	bool tidy;

	if (!list_empty(over))
		pim_lend_kick(pim); /* what the new owner means for those who wait is yet to be decided */
	tidy = !list_empty(ended);
	list_for_each_entry_safe(tenure, next_tenure, ended, link) {
		list_del_init(&tenure->link);
		pim_tenure_end(tenure);
	}
	if (tidy)
		queue_work(system_unbound_wq, &pim->auth.slow);
	list_for_each_entry_safe(c, next, over, link) {
		list_del_init(&c->link);
		if (c->after) {
			dma_fence_remove_callback(c->after, &c->cb);
			dma_fence_put(c->after);
			c->after = NULL;
		}
		if (c->done) {
			if (c->result)
				dma_fence_set_error(c->done, c->result);
			dma_fence_signal(c->done);
			dma_fence_put(c->done);
			c->done = NULL;
		}
		if (c->orphan)
			kfree(c);
		else
			smp_store_release(&c->over, true); /* whoever waits may free it now */
	}
	wake_up_all(&pim->auth.wait);
}

void pim_change_run(struct pim_device *pim)
{
	struct pim_auth *auth = &pim->auth;
	LIST_HEAD(over);
	LIST_HEAD(ended);

	spin_lock(&auth->lock);
	pim_change_advance(pim, &over, &ended);
	spin_unlock(&auth->lock);
	pim_change_finish(pim, &over, &ended);
}

/* After a reset the card thinks that HOST has everything. Legal in recovery. */
void pim_change_restore(struct pim_device *pim)
{
	u32 d;

	spin_lock(&pim->auth.lock);
	for (d = 0; d < pim->hw.domains; d++)
		pim_change_tell_card(pim, d, pim->auth.domain[d].owner);
	spin_unlock(&pim->auth.lock);
}
