// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel does by itself: a claim that host requests wait for yields, that is, once its jobs have run out the domain is lent to HOST
 * for a moment; a claim whose deadline is over, or whose jobs do not run out, is revoked. So no fence and no page fault depends on a program.
 */
#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_LEND_RETRY_NS NSEC_PER_MSEC

void pim_lend_kick(struct pim_device *pim)
{
	mod_delayed_work(pim_wq, &pim->auth.work, 0);
}

/* What waits for HOST to have the domain. All importers together count as one: they wait for the same fence. */
struct pim_demand pim_lend_demand(const struct pim_domain *dom)
{
	u64 wanted = dom->tenure ? READ_ONCE(dom->tenure->wanted) : 0;
	struct pim_demand demand = dom->demand;

	if (wanted) {
		demand.since = demand.waiting ? min(demand.since, wanted) : wanted;
		demand.waiting++;
	}
	return demand;
}

/* A release takes the place of lending: HOST is to have the domain for good. */
void pim_lend_stop(struct pim_domain *dom)
{
	if (dom->lend != PIM_LEND_BACK || !dom->queued)
		dom->lend = PIM_LEND_NO;
}

static void pim_lend_own(struct pim_domain *dom, u32 d, u32 owner, enum pim_cause cause)
{
	dom->own.mask = BIT(d);
	dom->own.owner = owner;
	dom->own.cause = cause;
	dom->own.unclaim = cause == PIM_CAUSE_REVOKE || cause == PIM_CAUSE_CLOSE;
}

/*
 * End the claim of a domain, whatever is queued for it: what the holder was about to get is cancelled, what he was about to give back does not
 * wait for his fences any more. False: not possible yet, try again soon.
 */
bool pim_lend_end_claim(struct pim_device *pim, u32 d, enum pim_cause cause, struct list_head *over, struct list_head *ended)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom = &auth->domain[d];
	struct pim_change *c, *next;

	lockdep_assert_held(&auth->lock);
	list_for_each_entry_safe(c, next, &auth->changes, link) {
		if (!(c->mask & BIT(d)))
			continue;
		if (c->unclaim)
			WRITE_ONCE(c->ripe, true);
		else
			pim_change_cancel(pim, c, -ECANCELED, over, ended);
	}
	if (!dom->file || dom->leaving)
		return true;
	if (!READ_ONCE(dom->own.over))
		return false;
	dom->lend = PIM_LEND_NO;
	pim_lend_own(dom, d, PIM_HW_OWNER_HOST, cause);
	pim_change_arm(&dom->own, NULL);
	pim_change_queue(auth, &dom->own);
	if (cause == PIM_CAUSE_REVOKE) {
		trace_pim_authority_revoke(pim, BIT(d), PIM_HW_OWNER_HOST, dom->file, pid_nr(dom->pid), NULL);
		dom->revocations++;
	}
	return true;
}

static bool pim_lend_time(u64 time, u64 now, u64 *next)
{
	if (now < time)
		*next = min(*next, time);
	return now >= time;
}

static void pim_lend_revoke(struct pim_device *pim, u32 d, u64 now, u64 *next, struct list_head *over, struct list_head *ended)
{
	if (!pim_lend_end_claim(pim, d, PIM_CAUSE_REVOKE, over, ended))
		pim_lend_time(now + PIM_LEND_RETRY_NS, now, next);
}

/* Its jobs have run out: HOST gets the domain. */
static void pim_lend_out(struct pim_device *pim, u32 d, u64 now, u64 *next)
{
	struct pim_domain *dom = &pim->auth.domain[d];

	if (!READ_ONCE(dom->own.over)) {
		pim_lend_time(now + PIM_LEND_RETRY_NS, now, next);
		return;
	}
	pim_lend_own(dom, d, PIM_HW_OWNER_HOST, PIM_CAUSE_YIELD);
	pim_change_arm(&dom->own, NULL);
	pim_change_queue(&pim->auth, &dom->own);
	trace_pim_authority_yield(pim, BIT(d), PIM_HW_OWNER_HOST, dom->file, pid_nr(dom->pid),
				  dom->tenure ? &dom->tenure->base : NULL);
	dom->yields++;
	dom->lend = PIM_LEND_OUT;
	dom->lend_since = now;
	pim_lend_time(now + pim_slice_ms * NSEC_PER_MSEC, now, next);
}

/*
 * The CPU is shut out as soon as a change is asked for, so that nothing is left to do when its fences signal. But whose they are and when they
 * do is not known: host requests wait for that no longer than for a tenure.
 */
static bool pim_lend_change_overdue(struct pim_device *pim, u32 d, const struct pim_demand *demand, u64 now, u64 *next)
{
	struct pim_domain *dom = &pim->auth.domain[d];

	return demand->waiting && dom->queued && pim_change_waits(&pim->auth, d) &&
	       pim_lend_time(max(demand->since, dom->queued_since) + pim_tenure_ms * NSEC_PER_MSEC, now, next);
}

/* One domain: is it time for something? Lowers *next to when to look again. */
static void pim_lend_decide(struct pim_device *pim, u32 d, u64 now, u64 *next, struct list_head *over, struct list_head *ended)
{
	struct pim_domain *dom = &pim->auth.domain[d];
	struct pim_demand demand = pim_lend_demand(dom);

	if (!dom->file || dom->busy)
		return;
	if (pim_lend_change_overdue(pim, d, &demand, now, next)) {
		pim_lend_revoke(pim, d, now, next, over, ended);
		return;
	}
	if (dom->leaving)
		return;
	if (pim_policy_claim(&dom->policy, now, next) == PIM_REVOKE) {
		pim_lend_revoke(pim, d, now, next, over, ended);
		return;
	}
	if (dom->queued)
		return;
	if (dom->lend == PIM_LEND_NO && dom->owner != PIM_HW_OWNER_HOST &&
	    pim_policy_tenure(&dom->policy, dom->since, &demand, now, next) == PIM_YIELD) {
		dom->lend = PIM_LEND_DRAIN;
		dom->lend_owner = dom->owner;
		dom->lend_since = now;
	}
	switch (dom->lend) {
	case PIM_LEND_DRAIN:
		if (!demand.waiting)
			dom->lend = PIM_LEND_NO; /* who waited was killed */
		else if (!dom->jobs)
			pim_lend_out(pim, d, now, next);
		else if (pim_lend_time(dom->lend_since + pim_tenure_ms * NSEC_PER_MSEC, now, next))
			pim_lend_revoke(pim, d, now, next, over, ended);
		break;
	case PIM_LEND_OUT:
		if (pim_lend_time(dom->lend_since + pim_slice_ms * NSEC_PER_MSEC, now, next)) {
			dom->lend = PIM_LEND_BACK;
			queue_work(system_unbound_wq, &pim->auth.slow);
		}
		break;
	case PIM_LEND_BACK:
	case PIM_LEND_NO:
		break;
	}
}

static void pim_lend_work(struct work_struct *work)
{
	struct pim_device *pim = container_of(to_delayed_work(work), struct pim_device, auth.work);
	struct pim_auth *auth = &pim->auth;
	bool cookie = dma_fence_begin_signalling();
	u64 now = ktime_get_ns(), next = PIM_NEVER;
	LIST_HEAD(over);
	LIST_HEAD(ended);
	u32 d;

	spin_lock(&auth->lock);
	for (d = 0; d < pim->hw.domains; d++)
		pim_lend_decide(pim, d, now, &next, &over, &ended);
	pim_change_advance(pim, &over, &ended);
	spin_unlock(&auth->lock);
	pim_change_finish(pim, &over, &ended);
	/* If it was kicked meanwhile, this does nothing: it is due now. */
	if (next != PIM_NEVER)
		queue_delayed_work(pim_wq, &auth->work, nsecs_to_jiffies(next - now) + 1);
	dma_fence_end_signalling(cookie);
}

/* Take a lent domain back. If memory is short HOST keeps it a moment longer. */
static void pim_lend_take_back(struct pim_device *pim, u32 d)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom = &auth->domain[d];
	struct pim_fence_list fences = {};
	struct dma_fence *after;
	int ret;

	ret = pim_change_shut_out(pim, BIT(d), pim_fence_list_add, &fences);
	after = pim_fence_list_merge(&fences);
	if (IS_ERR(after)) {
		if (!ret)
			pim_change_reopen(pim, BIT(d));
		ret = PTR_ERR(after);
		after = NULL;
	}
	if (!ret)
		pim_change_arm(&dom->own, after);
	else
		dma_fence_put(after);
	spin_lock(&auth->lock);
	dom->busy = false;
	if (ret) {
		dom->lend = PIM_LEND_OUT;
		dom->lend_since = ktime_get_ns();
	} else {
		pim_lend_own(dom, d, dom->lend_owner, PIM_CAUSE_RETURN);
		pim_change_queue(auth, &dom->own);
	}
	spin_unlock(&auth->lock);
	pim_lend_kick(pim);
	wake_up_all(&auth->wait);
}

/* What no fence depends on. */
static void pim_lend_slow_work(struct work_struct *work)
{
	struct pim_device *pim = container_of(work, struct pim_device, auth.slow);
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom;
	bool again = false, take;
	u32 d;

	for (d = 0; d < pim->hw.domains; d++) {
		dom = &auth->domain[d];
		spin_lock(&auth->lock);
		take = dom->lend == PIM_LEND_BACK && !dom->busy && !dom->queued;
		if (take && !READ_ONCE(dom->own.over)) {
			take = false;
			again = true;
		}
		if (take)
			dom->busy = true;
		spin_unlock(&auth->lock);
		if (take)
			pim_lend_take_back(pim, d);
	}
	pim_resv_prune(pim); /* a fence of a tenure that is over would keep the module */
	if (again) {
		cond_resched();
		queue_work(system_unbound_wq, &auth->slow);
	}
}

void pim_lend_init(struct pim_device *pim)
{
	INIT_DELAYED_WORK(&pim->auth.work, pim_lend_work);
	INIT_WORK(&pim->auth.slow, pim_lend_slow_work);
}

void pim_lend_fini(struct pim_device *pim)
{
	cancel_delayed_work_sync(&pim->auth.work);
	cancel_work_sync(&pim->auth.slow);
}
