// SPDX-License-Identifier: GPL-2.0-only
/* The ioctls of authority: claims are made, changed, given back and asked about. */
#include <linux/capability.h>
#include <linux/nospec.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_utils.h>

#include "pim_drv.h"
#include "pim_trace.h"

/* Longer than the watchdog needs to give up on a card: by then every job in a ring has ended one way or the other. */
#define PIM_CLOSE_SLACK_MS 10000

/*
 * struct pim_claim - one call of DRM_IOCTL_PIM_AUTHORITY
 * @change: what it asks for; its own until it is queued
 * @after: fences that the change comes after
 * @out: where its outcome is to be left
 */
struct pim_claim {
	struct pim_device *pim;
	struct pim_auth *auth;
	struct pim_file *pf;
	struct drm_file *file;
	struct drm_pim_authority *args;
	struct pim_change *change;
	struct pim_fence_list after;
	struct pim_sync_out out;
};

/* Until when a wait of this call may last, in jiffies from now. The time is absolute, so that a restarted call ends when it should. */
static long pim_claim_left(const struct pim_claim *cl)
{
	if (cl->args->op != DRM_PIM_AUTHORITY_ACQUIRE || (cl->args->flags & DRM_PIM_AUTHORITY_NONBLOCK))
		return MAX_SCHEDULE_TIMEOUT;
	return drm_timeout_abs_to_jiffies(min_t(u64, cl->args->timeout_ns, KTIME_MAX));
}

/* Wait for a condition, which is not asked again once it is met: 0, -ETIME, -ERESTARTSYS, -ENODEV. */
#define pim_claim_wait(cl, cond) ({ \
	bool met_ = (cond); \
	long left_ = pim_claim_left(cl), ret_ = 0; \
	if (!met_ && left_) \
		ret_ = wait_event_interruptible_timeout((cl)->auth->wait, (met_ = (cond)) || drm_dev_is_unplugged(&(cl)->pim->drm), left_); \
	met_ ? 0 : ret_ < 0 ? (int)ret_ : ret_ ? -ENODEV : -ETIME; \
})

/* -- getting hold of the domains ------------------------------------------------------------------------------------ */

static u32 pim_claim_held(const struct pim_claim *cl)
{
	u32 held = 0, d;

	for_each_domain(d, cl->args->domains)
		if (pim_domain_held(&cl->auth->domain[d], cl->pf->id))
			held |= BIT(d);
	return held;
}

/* Take domains that this file has, for a change. 1: done; 0: they are in use, wait; -ENOENT: they are not this file's (any more). */
static int pim_claim_try_take(struct pim_claim *cl)
{
	u32 mask = cl->args->domains, d;
	struct pim_domain *dom;
	int ret = 1;

	spin_lock(&cl->auth->lock);
	if (pim_claim_held(cl) != mask)
		ret = -ENOENT;
	for_each_domain(d, mask) {
		dom = &cl->auth->domain[d];
		if (ret > 0 && (dom->busy || dom->queued || dom->lend != PIM_LEND_NO))
			ret = 0;
	}
	if (ret > 0) {
		for_each_domain(d, mask)
			cl->auth->domain[d].busy = true;
	}
	spin_unlock(&cl->auth->lock);
	return ret;
}

static bool pim_claim_no_guests(struct pim_claim *cl)
{
	bool none = true;
	u32 d;

	spin_lock(&cl->auth->lock);
	for_each_domain(d, cl->args->domains)
		none &= !cl->auth->domain[d].early;
	spin_unlock(&cl->auth->lock);
	return none;
}

/* Give a claim back before anything was done with it. */
static void pim_claim_drop(struct pim_claim *cl)
{
	u32 d;

	spin_lock(&cl->auth->lock);
	for_each_domain(d, cl->args->domains)
		cl->auth->domain[d].busy = false;
	if (cl->change->fresh)
		pim_change_unclaim(cl->auth, cl->args->domains);
	spin_unlock(&cl->auth->lock);
	pim_change_run(cl->pim);
}

/* Wait in line. On success the domains are this file's, and busy. */
static int pim_claim_line(struct pim_claim *cl)
{
	struct pim_waiter w = { .file = cl->pf->id, .mask = cl->args->domains, .rank = pim_line_rank(cl->args->priority) };
	bool granted;
	int ret = 0;

	spin_lock(&cl->auth->lock);
	pim_line_add(&cl->auth->line, &w);
	spin_unlock(&cl->auth->lock);
	pim_change_run(cl->pim);
	if (!READ_ONCE(w.granted))
		ret = cl->args->flags & DRM_PIM_AUTHORITY_NONBLOCK ? -EBUSY : pim_claim_wait(cl, READ_ONCE(w.granted));
	spin_lock(&cl->auth->lock);
	granted = w.granted;
	if (!granted)
		list_del(&w.link);
	spin_unlock(&cl->auth->lock);
	if (granted)
		return 0; /* perhaps after the time was over, but before anybody else noticed */
	pim_change_run(cl->pim); /* those behind it may go now */
	return ret;
}

/* Get the domains, busy: from the line, or from what this file has already. */
static int pim_claim_take(struct pim_claim *cl)
{
	int got, ret;
	u32 held;

	spin_lock(&cl->auth->lock);
	held = pim_claim_held(cl);
	spin_unlock(&cl->auth->lock);
	if (held == cl->args->domains) {
		got = pim_claim_try_take(cl);
		if (!got && (cl->args->flags & DRM_PIM_AUTHORITY_NONBLOCK))
			return -EBUSY;
		ret = got ? 0 : pim_claim_wait(cl, (got = pim_claim_try_take(cl)) != 0);
		return ret ? ret : min(got, 0);
	}
	if (held)
		return -EDEADLK;
	ret = pim_claim_line(cl);
	if (ret)
		return ret;
	cl->change->fresh = true;
	if ((cl->args->flags & DRM_PIM_AUTHORITY_NONBLOCK) && !pim_claim_no_guests(cl)) {
		pim_claim_drop(cl);
		return -EBUSY;
	}
	return 0;
}

/* -- the change ----------------------------------------------------------------------------------------------------- */

/* Queue the change of an ACQUIRE, and with it what the claim is from now on. Cannot fail. */
static void pim_claim_commit(struct pim_claim *cl)
{
	const struct drm_pim_authority *args = cl->args;
	struct pid *pid = get_task_pid(current, PIDTYPE_TGID);
	char comm[TASK_COMM_LEN];
	u64 longest = READ_ONCE(pim_tenure_ms) * NSEC_PER_MSEC;
	struct pim_domain *dom;
	u32 d;

	get_task_comm(comm, current->group_leader);
	spin_lock(&cl->auth->lock);
	for_each_domain(d, args->domains) {
		dom = &cl->auth->domain[d];
		dom->busy = false;
		put_pid(dom->pid);
		dom->pid = get_pid(pid);
		memcpy(dom->comm, comm, sizeof(comm));
		dom->priority = args->priority;
		dom->policy.deadline = args->deadline_ns;
		dom->policy.min_ns = args->min_ns;
		dom->policy.max_ns = args->max_ns ? min(args->max_ns, longest) : longest;
		dom->policy.host_requests = args->host_requests;
	}
	pim_change_queue(cl->auth, cl->change);
	trace_pim_authority_grant(cl->pim, args->domains, args->owner, cl->pf->id, pid_nr(pid), cl->change->done);
	pim_watch_notify(cl->auth, args->domains);
	spin_unlock(&cl->auth->lock);
	put_pid(pid);
}

/* Queue the change of a RELEASE as soon as no other thread's call is at the domains. 1: done; 0: wait; -ENOENT. */
static int pim_claim_try_leave(struct pim_claim *cl)
{
	int ret = 1;
	u32 d;

	spin_lock(&cl->auth->lock);
	if (pim_claim_held(cl) != cl->args->domains)
		ret = -ENOENT;
	for_each_domain(d, cl->args->domains)
		if (ret > 0 && cl->auth->domain[d].busy)
			ret = 0;
	if (ret > 0) {
		for_each_domain(d, cl->args->domains)
			pim_lend_stop(&cl->auth->domain[d]);
		pim_change_queue(cl->auth, cl->change);
		trace_pim_authority_release(cl->pim, cl->args->domains, PIM_HW_OWNER_HOST, cl->pf->id, task_tgid_nr(current),
					    cl->change->done);
	}
	spin_unlock(&cl->auth->lock);
	return ret;
}

/* Wait until the queued change is over; when the wait ends before that, the change is cancelled. Frees the change. */
static int pim_claim_settle(struct pim_claim *cl)
{
	struct pim_change *c = cl->change;
	LIST_HEAD(over);
	LIST_HEAD(ended);
	int ret;

	/* Pairs with the release of pim_change_finish(), its last look at the change. */
	ret = pim_claim_wait(cl, smp_load_acquire(&c->over));
	if (ret) {
		spin_lock(&cl->auth->lock);
		if (c->queued)
			pim_change_cancel(cl->pim, c, -ECANCELED, &over, &ended);
		else
			ret = 0;
		pim_change_advance(cl->pim, &over, &ended);
		spin_unlock(&cl->auth->lock);
		pim_change_finish(cl->pim, &over, &ended);
		/* Whoever took it from the queue is about to say so. */
		wait_event(cl->auth->wait, smp_load_acquire(&c->over));
	}
	if (!ret)
		ret = c->result;
	kfree(c);
	cl->change = NULL;
	return ret;
}

/* The change is armed: queue it, leave its fence where it is asked for, and let it happen. */
static int pim_claim_go(struct pim_claim *cl)
{
	struct dma_fence *done = cl->change->done ? dma_fence_get(cl->change->done) : NULL;
	bool async = cl->args->flags & DRM_PIM_AUTHORITY_ASYNC;
	int got, ret = 0;

	cl->change->orphan = async;
	if (cl->args->op == DRM_PIM_AUTHORITY_ACQUIRE) {
		pim_claim_commit(cl);
	} else {
		ret = pim_claim_wait(cl, (got = pim_claim_try_leave(cl)) != 0);
		if (!ret)
			ret = min(got, 0);
	}
	if (!ret) {
		if (done)
			pim_sync_signal(&cl->out, done);
		if (async)
			cl->change = NULL;
		pim_change_run(cl->pim);
		pim_lend_kick(cl->pim); /* deadlines are looked at */
		if (!async)
			ret = pim_claim_settle(cl);
	}
	dma_fence_put(done);
	return ret;
}

static int pim_claim_acquire(struct pim_claim *cl)
{
	struct dma_fence *after;
	int ret;

	trace_pim_authority_request(cl->pim, cl->args->domains, cl->args->owner, cl->pf->id, task_tgid_nr(current), cl->change->done);
	ret = pim_claim_take(cl);
	if (ret)
		return ret;
	if (cl->args->owner != PIM_HW_OWNER_HOST)
		ret = pim_change_shut_out(cl->pim, cl->args->domains, pim_fence_list_add, &cl->after);
	if (!ret) {
		after = pim_fence_list_merge(&cl->after);
		ret = PTR_ERR_OR_ZERO(after);
		if (ret)
			pim_change_reopen(cl->pim, cl->args->domains);
	}
	if (ret) {
		pim_claim_drop(cl);
		return ret;
	}
	pim_change_arm(cl->change, after);
	return pim_claim_go(cl);
}

static int pim_claim_release(struct pim_claim *cl)
{
	struct dma_fence *after = pim_fence_list_merge(&cl->after);

	if (IS_ERR(after))
		return PTR_ERR(after);
	cl->change->unclaim = true;
	pim_change_arm(cl->change, after);
	return pim_claim_go(cl);
}

/* -- the ioctls ----------------------------------------------------------------------------------------------------- */

static int pim_claim_check(struct pim_device *pim, const struct drm_pim_authority *args)
{
	if (!args->domains || (args->domains & ~GENMASK_ULL(pim->hw.domains - 1, 0)) || args->nin > DRM_PIM_MAX_SYNCS ||
	    args->nout > DRM_PIM_MAX_SYNCS || ((args->flags & DRM_PIM_AUTHORITY_ASYNC) && !args->nout))
		return -EINVAL;
	switch (args->op) {
	case DRM_PIM_AUTHORITY_ACQUIRE:
		if ((args->flags & ~(DRM_PIM_AUTHORITY_NONBLOCK | DRM_PIM_AUTHORITY_ASYNC)) || args->owner > DRM_PIM_OWNER_AUTO ||
		    args->priority > DRM_PIM_PRIORITY_LOW || ((args->flags & DRM_PIM_AUTHORITY_NONBLOCK) && args->timeout_ns))
			return -EINVAL;
		if (args->priority == DRM_PIM_PRIORITY_HIGH && !capable(CAP_SYS_NICE))
			return -EACCES;
		if (args->deadline_ns && args->deadline_ns <= ktime_get_ns())
			return -ETIME;
		return pim_watchdog_alive(pim) ? 0 : -EIO;
	case DRM_PIM_AUTHORITY_RELEASE:
		if ((args->flags & ~DRM_PIM_AUTHORITY_ASYNC) || args->owner || args->timeout_ns || args->deadline_ns || args->min_ns ||
		    args->max_ns || args->host_requests || args->priority)
			return -EINVAL;
		return 0;
	}
	return -EINVAL;
}

int pim_authority_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_authority *args = data;
	struct pim_claim cl = { .pim = pim, .auth = &pim->auth, .pf = file->driver_priv, .file = file, .args = args };
	bool acquire = args->op == DRM_PIM_AUTHORITY_ACQUIRE;
	int ret;

	ret = pim_claim_check(pim, args);
	if (ret)
		return ret;
	cl.change = kzalloc(sizeof(*cl.change), GFP_KERNEL);
	if (!cl.change)
		return -ENOMEM;
	cl.change->pim = pim;
	cl.change->mask = args->domains;
	cl.change->owner = acquire ? args->owner : PIM_HW_OWNER_HOST;
	cl.change->cause = acquire ? PIM_CAUSE_ACQUIRE : PIM_CAUSE_RELEASE;
	INIT_LIST_HEAD(&cl.change->link);
	ret = pim_sync_in(file, args->in_syncs, args->nin, pim_fence_list_add, &cl.after);
	if (!ret)
		ret = pim_sync_out(&cl.out, file, args->out_syncs, args->nout);
	if (!ret && args->nout) {
		cl.change->done = pim_tenure_fence();
		if (!cl.change->done)
			ret = -ENOMEM;
	}
	if (!ret)
		ret = acquire ? pim_claim_acquire(&cl) : pim_claim_release(&cl);
	pim_sync_put(&cl.out);
	pim_fence_list_put(&cl.after);
	if (cl.change)
		pim_change_free(cl.change);
	return ret;
}

int pim_domain_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct pim_auth *auth = &pim->auth;
	struct drm_pim_domain_query *args = data;
	struct pim_domain *dom;
	u32 d = args->domain;
	u64 now;
	int idx;

	BUILD_BUG_ON(sizeof(args->comm) != sizeof(dom->comm));
	BUILD_BUG_ON(sizeof(args->owned_ns) != sizeof(dom->owned_ns));

	if (d >= pim->hw.domains)
		return -EINVAL;
	d = array_index_nospec(d, pim->hw.domains);
	dom = &auth->domain[d];
	if (!drm_dev_enter(&pim->drm, &idx))
		return -ENODEV;
	args->switches = readq(pim->regs + PIM_HW_AUTHORITY_OFF + offsetof(struct pim_hw_authority, domain[d].switches));
	drm_dev_exit(idx);

	spin_lock(&auth->lock);
	now = ktime_get_ns();
	args->owner = dom->owner;
	args->holder = pid_vnr(dom->pid);
	args->priority = dom->priority;
	memcpy(args->comm, dom->comm, sizeof(args->comm));
	args->waiters = pim_line_waiting(&auth->line, BIT(d));
	args->host_waiters = pim_lend_demand(dom).waiting;
	args->deadline_ns = dom->policy.deadline;
	args->tenure_ns = now - dom->since;
	memcpy(args->owned_ns, dom->owned_ns, sizeof(args->owned_ns));
	args->owned_ns[dom->owner] += args->tenure_ns;
	args->handovers = dom->handovers;
	args->yields = dom->yields;
	args->revocations = dom->revocations;
	args->host_requests = dom->host_requests;
	spin_unlock(&auth->lock);
	return 0;
}

/* -- close ---------------------------------------------------------------------------------------------------------- */

static bool pim_claim_all_gone(struct pim_device *pim, u64 file)
{
	struct pim_auth *auth = &pim->auth;
	LIST_HEAD(over);
	LIST_HEAD(ended);
	bool gone = true;
	u32 d;

	spin_lock(&auth->lock);
	for (d = 0; d < pim->hw.domains; d++) {
		if (auth->domain[d].file != file)
			continue;
		if (!auth->domain[d].busy)
			pim_lend_end_claim(pim, d, PIM_CAUSE_CLOSE, &over, &ended);
	}
	pim_change_advance(pim, &over, &ended);
	for (d = 0; d < pim->hw.domains; d++)
		gone &= auth->domain[d].file != file;
	spin_unlock(&auth->lock);
	if (!list_empty(&over) || !list_empty(&ended))
		pim_change_finish(pim, &over, &ended);
	return gone;
}

/* A claim ends with its file: no process leaves memory owned. No thread of the file is inside an ioctl any more. */
void pim_claim_close(struct pim_device *pim, u64 file)
{
	unsigned long limit = msecs_to_jiffies(pim_job_timeout_ms) + msecs_to_jiffies(pim_reset_timeout_ms) +
			      msecs_to_jiffies(PIM_CLOSE_SLACK_MS);

	if (!wait_event_timeout(pim->auth.wait, pim_claim_all_gone(pim, file), limit))
		drm_err(&pim->drm, "jobs of a closed file did not end\n");
}
