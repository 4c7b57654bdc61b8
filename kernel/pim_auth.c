// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory access authority: exclusive claims of files on domains, enforced on CPU mappings and on jobs.
 *
 * A claim is granted under pim_auth.lock, all domains of its mask or none, first come first served among masks that overlap. The file
 * that was granted it then carries out the hand-over in its own context, with the domains marked busy.
 */
#include <linux/nospec.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>

#include <drm/drm_util.h>
#include <drm/drm_utils.h>
#include <drm/drm_vma_manager.h>

#include "pim_drv.h"
#include "pim_trace.h"

/* Longer than the watchdog needs to give up on a card: by then every job in a ring has ended one way or the other. */
#define PIM_CLOSE_SLACK_MS 10000

struct pim_waiter {
	struct list_head link;
	u64 file;
	struct pid *pid;
	u32 mask;
	bool granted;
};

#define for_each_domain(d, mask) for ((d) = 0; (d) < PIM_HW_MAX_DOMAINS; (d)++) for_each_if((mask) & BIT(d))

/* May an engine use a domain that this owner has? */
static bool pim_owner_allows(u32 owner, u32 engine)
{
	return owner == PIM_HW_OWNER_AUTO || owner == (engine == PIM_HW_PIM ? PIM_HW_OWNER_PIM : PIM_HW_OWNER_HOST);
}

static bool pim_domain_allows(const struct pim_domain *dom, u64 file, u32 engine)
{
	if (dom->holder != file)
		return false;
	return pim_owner_allows(dom->owner, engine) && pim_owner_allows(dom->next, engine);
}

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

/* Let all jobs in, or none. Jobs on domains that nobody claims are guests: a later claim waits until they are done. */
int pim_auth_admit(struct pim_device *pim, u64 file, struct pim_job **jobs, u32 n)
{
	struct pim_auth *auth = &pim->auth;
	u32 need[PIM_HW_ENGINES] = {}, guest = 0, d, e, i;
	int ret = 0;

	for (i = 0; i < n; i++)
		need[jobs[i]->engine] |= jobs[i]->domains;

	spin_lock(&auth->lock);
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		for_each_domain(d, need[e]) {
			struct pim_domain *dom = &auth->domain[d];

			if (!dom->holder && e == PIM_HW_HOST)
				guest |= BIT(d);
			else if (!pim_domain_allows(dom, file, e))
				ret = -EACCES;
		}
	}
	for (i = 0; !ret && guest && i < n; i++) {
		if (jobs[i]->engine != PIM_HW_HOST)
			continue;
		jobs[i]->guest = jobs[i]->domains & guest;
		for_each_domain(d, jobs[i]->guest)
			auth->domain[d].guests++;
	}
	spin_unlock(&auth->lock);
	return ret;
}

/* The job goes to its ring now: is its claim still there? */
int pim_auth_start(struct pim_job *job)
{
	struct pim_auth *auth = &job->queue->pim->auth;
	int ret = 0;
	u32 d;

	if (!job->domains)
		return 0;
	spin_lock(&auth->lock);
	for_each_domain(d, job->domains & ~job->guest)
		if (!pim_domain_allows(&auth->domain[d], job->queue->file, job->engine))
			ret = -EACCES;
	if (!ret) {
		for_each_domain(d, job->domains)
			auth->domain[d].inflight[job->engine]++;
	}
	spin_unlock(&auth->lock);
	return ret;
}

/* The job left its ring. */
void pim_auth_end(struct pim_job *job)
{
	struct pim_auth *auth = &job->queue->pim->auth;
	bool wake = false;
	u32 d;

	if (!job->domains)
		return;
	spin_lock(&auth->lock);
	for_each_domain(d, job->domains)
		wake |= !--auth->domain[d].inflight[job->engine];
	spin_unlock(&auth->lock);
	if (wake)
		wake_up_all(&auth->wait);
}

/* The job is gone, whatever became of it. */
void pim_auth_leave(struct pim_job *job)
{
	struct pim_auth *auth = &job->queue->pim->auth;
	bool wake = false;
	u32 d;

	if (!job->guest)
		return;
	spin_lock(&auth->lock);
	for_each_domain(d, job->guest)
		wake |= !--auth->domain[d].guests;
	spin_unlock(&auth->lock);
	job->guest = 0;
	if (wake)
		wake_up_all(&auth->wait);
}

/* -- hand-over ------------------------------------------------------------------------------------------------------ */

static void pim_auth_tell_card(struct pim_device *pim, u32 d, u32 owner)
{
	writel(owner, pim->regs + PIM_HW_AUTHORITY_OFF + offsetof(struct pim_hw_authority, domain[d].owner));
}

/* After a reset the card thinks that HOST has everything. Legal in recovery: no sleeping lock, no allocation. */
void pim_auth_restore(struct pim_device *pim)
{
	u32 d;

	spin_lock(&pim->auth.lock);
	for (d = 0; d < pim->hw.domains; d++)
		pim_auth_tell_card(pim, d, pim->auth.domain[d].owner);
	spin_unlock(&pim->auth.lock);
}

static void pim_auth_zap(struct pim_device *pim, u32 mask)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_bo *bo;
	u32 d;

	mutex_lock(&auth->bo_lock);
	for_each_domain(d, mask)
		list_for_each_entry(bo, &auth->domain[d].bos, link)
			drm_vma_node_unmap(&bo->base.vma_node, pim->drm.anon_inode->i_mapping);
	mutex_unlock(&auth->bo_lock);
}

static void pim_auth_set_cpu(struct pim_auth *auth, u32 mask, bool cpu)
{
	u32 d;

	down_write(&auth->fault_sem);
	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		auth->domain[d].cpu = cpu;
	spin_unlock(&auth->lock);
	up_write(&auth->fault_sem);
}

static bool pim_auth_no_guests(struct pim_auth *auth, u32 mask)
{
	bool none = true;
	u32 d;

	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		none &= !auth->domain[d].guests;
	spin_unlock(&auth->lock);
	return none;
}

/* Wait until the CPU may use a domain, and keep it so until pim_auth_host_end(). -EINTR on a fatal signal, -ETIME, -ENODEV. */
int pim_auth_host_begin(struct pim_device *pim, u32 domain, u64 timeout_ns)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom = &auth->domain[domain];
	long left = drm_timeout_abs_to_jiffies(min_t(u64, timeout_ns, KTIME_MAX));
	long ret;

	for (;;) {
		if (drm_dev_is_unplugged(&pim->drm))
			return -ENODEV;
		spin_lock(&auth->lock);
		if (dom->cpu) {
			dom->users++;
			spin_unlock(&auth->lock);
			return 0;
		}
		spin_unlock(&auth->lock);
		if (!left)
			return -ETIME;
		ret = wait_event_killable_timeout(auth->wait, READ_ONCE(dom->cpu) || drm_dev_is_unplugged(&pim->drm), left);
		if (ret < 0)
			return -EINTR;
		left = ret;
	}
}

void pim_auth_host_end(struct pim_device *pim, u32 domain)
{
	struct pim_auth *auth = &pim->auth;

	spin_lock(&auth->lock);
	auth->domain[domain].users--;
	spin_unlock(&auth->lock);
	wake_up_all(&auth->wait);
}

/* Have those that the next owner shuts out gone: engines from the rings, the kernel's own accesses? */
static bool pim_auth_drained(struct pim_auth *auth, u32 mask)
{
	bool done = true;
	u32 d, e;

	spin_lock(&auth->lock);
	for_each_domain(d, mask) {
		if (auth->domain[d].next != PIM_HW_OWNER_HOST)
			done &= !auth->domain[d].users;
		for (e = 0; e < PIM_HW_ENGINES; e++)
			if (!pim_owner_allows(auth->domain[d].next, e))
				done &= !auth->domain[d].inflight[e];
	}
	spin_unlock(&auth->lock);
	return done;
}

/*
 * Give busy domains another owner. Takes the time that jobs in the rings take, which the job time-out bounds. On error the owner is what it was.
 * @forced: nobody is left to be told of an error: wait past any time-out of the card, and go on whatever comes
 */
static int pim_auth_hand_over(struct pim_device *pim, u32 mask, u32 owner, bool forced)
{
	struct pim_auth *auth = &pim->auth;
	u32 lose_cpu = 0, change = 0, d;
	int ret = 0, idx;

	spin_lock(&auth->lock);
	for_each_domain(d, mask) {
		struct pim_domain *dom = &auth->domain[d];

		dom->next = owner;
		if (dom->owner != owner)
			change |= BIT(d);
		if (dom->cpu && owner != PIM_HW_OWNER_HOST)
			lose_cpu |= BIT(d);
	}
	spin_unlock(&auth->lock);

	if (lose_cpu) {
		pim_auth_set_cpu(auth, lose_cpu, false);
		pim_auth_zap(pim, lose_cpu);
	}
	if (forced) {
		if (!wait_event_timeout(auth->wait, pim_auth_drained(auth, mask),
					msecs_to_jiffies(pim_job_timeout_ms) + msecs_to_jiffies(pim_reset_timeout_ms) +
						msecs_to_jiffies(PIM_CLOSE_SLACK_MS)))
			drm_err(&pim->drm, "jobs of a closed file did not end\n");
	} else {
		ret = wait_event_interruptible(auth->wait, pim_auth_drained(auth, mask));
	}
	if (!ret && drm_dev_enter(&pim->drm, &idx)) {
		/* Under the lock, so that a reset does not restore an owner of the past. */
		spin_lock(&auth->lock);
		for_each_domain(d, change) {
			struct pim_domain *dom = &auth->domain[d];

			trace_pim_handover(d, dom->owner, owner, pid_nr(dom->pid));
			pim_auth_tell_card(pim, d, owner);
			dom->owner = owner;
			dom->handovers++;
		}
		spin_unlock(&auth->lock);
		/* CPU stores of before the zap are on the card once this read returns. */
		readl(pim->regs + PIM_HW_STATE_OFF);
		drm_dev_exit(idx);
	} else if (!ret && !forced) {
		ret = -ENODEV;
	}

	if (!ret && owner == PIM_HW_OWNER_HOST)
		pim_auth_set_cpu(auth, mask, true);
	else if (ret && lose_cpu)
		pim_auth_set_cpu(auth, lose_cpu, true);
	spin_lock(&auth->lock);
	for_each_domain(d, mask) {
		if (forced && !ret)
			auth->domain[d].owner = owner;
		auth->domain[d].next = auth->domain[d].owner;
	}
	spin_unlock(&auth->lock);
	return ret;
}

/* -- claims --------------------------------------------------------------------------------------------------------- */

/* Grant what can be granted, in order of arrival; a waiter that must wait keeps its domains from those behind it. */
static void pim_auth_grant(struct pim_auth *auth)
{
	struct pim_waiter *w, *next;
	u32 taken = 0, d;

	lockdep_assert_held(&auth->lock);
	for (d = 0; d < PIM_HW_MAX_DOMAINS; d++)
		if (auth->domain[d].holder || auth->domain[d].busy)
			taken |= BIT(d);
	list_for_each_entry_safe(w, next, &auth->waiters, link) {
		if (!(w->mask & taken)) {
			for_each_domain(d, w->mask) {
				auth->domain[d].holder = w->file;
				auth->domain[d].pid = get_pid(w->pid);
				auth->domain[d].busy = true;
			}
			list_del_init(&w->link);
			WRITE_ONCE(w->granted, true);
		}
		taken |= w->mask;
	}
}

static u32 pim_auth_held(struct pim_auth *auth, u64 file, u32 mask)
{
	u32 held = 0, d;

	for_each_domain(d, mask)
		if (auth->domain[d].holder == file)
			held |= BIT(d);
	return held;
}

/* End a claim whose domains are HOST's and busy. */
static void pim_auth_unclaim(struct pim_auth *auth, u32 mask)
{
	struct pid *pids[PIM_HW_MAX_DOMAINS] = {};
	u32 d;

	spin_lock(&auth->lock);
	for_each_domain(d, mask) {
		swap(pids[d], auth->domain[d].pid);
		auth->domain[d].holder = 0;
		auth->domain[d].busy = false;
	}
	pim_auth_grant(auth);
	spin_unlock(&auth->lock);
	wake_up_all(&auth->wait);
	for_each_domain(d, mask)
		put_pid(pids[d]);
}

static void pim_auth_idle(struct pim_auth *auth, u32 mask)
{
	u32 d;

	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		auth->domain[d].busy = false;
	spin_unlock(&auth->lock);
	wake_up_all(&auth->wait);
}

/* Mark domains of this file busy. 1: done; 0: another thread's hand-over is under way; -ENOENT: they are not this file's (any more). */
static int pim_auth_try_busy(struct pim_auth *auth, u64 file, u32 mask)
{
	int ret = 1;
	u32 d;

	spin_lock(&auth->lock);
	if (pim_auth_held(auth, file, mask) != mask)
		ret = -ENOENT;
	for_each_domain(d, mask)
		if (ret > 0 && auth->domain[d].busy)
			ret = 0;
	if (ret > 0) {
		for_each_domain(d, mask)
			auth->domain[d].busy = true;
	}
	spin_unlock(&auth->lock);
	return ret;
}

static int pim_auth_get_busy(struct pim_auth *auth, u64 file, u32 mask)
{
	int got, ret;

	ret = wait_event_interruptible(auth->wait, (got = pim_auth_try_busy(auth, file, mask)) != 0);
	if (ret)
		return ret;
	return got < 0 ? got : 0;
}

/* Wait for a condition until an absolute time; -ETIME, -ERESTARTSYS. The time is absolute so that a restarted call ends when it should. */
#define pim_auth_wait(auth, cond, args) ({ \
	long left_ = drm_timeout_abs_to_jiffies(min_t(u64, (args)->timeout_ns, KTIME_MAX)); \
	long ret_ = (cond); \
	if (!ret_ && left_) \
		ret_ = wait_event_interruptible_timeout((auth)->wait, cond, left_); \
	ret_ > 0 ? 0 : ret_ ? (int)ret_ : -ETIME; \
})

/* Wait in line for domains that this file does not hold. On success they are held and busy. */
static int pim_auth_claim(struct pim_auth *auth, u64 file, struct drm_pim_authority *args, struct pim_waiter *w)
{
	bool granted;
	int ret;

	spin_lock(&auth->lock);
	list_add_tail(&w->link, &auth->waiters);
	pim_auth_grant(auth);
	granted = w->granted;
	if (!granted && (args->flags & DRM_PIM_AUTHORITY_NONBLOCK)) {
		list_del(&w->link);
		pim_auth_grant(auth);
		spin_unlock(&auth->lock);
		return -EBUSY;
	}
	spin_unlock(&auth->lock);

	ret = granted ? 0 : pim_auth_wait(auth, READ_ONCE(w->granted), args);
	if (!ret)
		return 0;
	spin_lock(&auth->lock);
	granted = w->granted;
	if (!granted) {
		list_del(&w->link);
		pim_auth_grant(auth); /* those behind it may go now */
	}
	spin_unlock(&auth->lock);
	if (granted) /* between the time-out and the lock */
		return 0;
	wake_up_all(&auth->wait);
	return ret;
}

static int pim_auth_acquire(struct pim_device *pim, struct pim_file *pf, struct drm_pim_authority *args)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_waiter w = { .file = pf->id, .mask = args->domains };
	u32 held;
	int ret;

	spin_lock(&auth->lock);
	held = pim_auth_held(auth, pf->id, args->domains);
	spin_unlock(&auth->lock);
	if (held == args->domains) {
		ret = pim_auth_get_busy(auth, pf->id, args->domains);
		if (ret)
			return ret;
		ret = pim_auth_hand_over(pim, args->domains, args->owner, false);
		pim_auth_idle(auth, args->domains);
		return ret;
	}
	if (held)
		return -EDEADLK;

	w.pid = get_task_pid(current, PIDTYPE_TGID);
	ret = pim_auth_claim(auth, pf->id, args, &w);
	put_pid(w.pid);
	if (ret)
		return ret;
	/* Jobs that were let in while the domain was free may finish first. */
	if (!pim_auth_no_guests(auth, args->domains)) {
		if (args->flags & DRM_PIM_AUTHORITY_NONBLOCK)
			ret = -EBUSY;
		else
			ret = pim_auth_wait(auth, pim_auth_no_guests(auth, args->domains), args);
	}
	if (!ret)
		ret = pim_auth_hand_over(pim, args->domains, args->owner, false);
	if (ret)
		pim_auth_unclaim(auth, args->domains);
	else
		pim_auth_idle(auth, args->domains);
	return ret;
}

static int pim_auth_release(struct pim_device *pim, struct pim_file *pf, struct drm_pim_authority *args)
{
	struct pim_auth *auth = &pim->auth;
	int ret;

	ret = pim_auth_get_busy(auth, pf->id, args->domains);
	if (ret)
		return ret;
	ret = pim_auth_hand_over(pim, args->domains, PIM_HW_OWNER_HOST, false);
	if (ret)
		pim_auth_idle(auth, args->domains);
	else
		pim_auth_unclaim(auth, args->domains);
	return ret;
}

int pim_domain_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct pim_device *pim = to_pim(drm);
	struct pim_auth *auth = &pim->auth;
	struct drm_pim_domain_query *args = data;
	struct pim_domain *dom;
	struct pim_waiter *w;
	u32 d = args->domain;
	int idx;

	if (d >= pim->hw.domains)
		return -EINVAL;
	d = array_index_nospec(d, pim->hw.domains);
	dom = &auth->domain[d];
	if (!drm_dev_enter(&pim->drm, &idx))
		return -ENODEV;
	args->switches = readq(pim->regs + PIM_HW_AUTHORITY_OFF + offsetof(struct pim_hw_authority, domain[d].switches));
	drm_dev_exit(idx);

	args->waiters = 0;
	spin_lock(&auth->lock);
	args->owner = dom->owner;
	args->holder = pid_vnr(dom->pid);
	args->handovers = dom->handovers;
	list_for_each_entry(w, &auth->waiters, link)
		args->waiters += !!(w->mask & BIT(d));
	spin_unlock(&auth->lock);
	return 0;
}

int pim_auth_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	static int (* const ops[])(struct pim_device *, struct pim_file *, struct drm_pim_authority *) = {
		[DRM_PIM_AUTHORITY_ACQUIRE] = pim_auth_acquire,
		[DRM_PIM_AUTHORITY_RELEASE] = pim_auth_release,
	};
	struct pim_device *pim = to_pim(drm);
	struct drm_pim_authority *args = data;
	u32 flags = args->op == DRM_PIM_AUTHORITY_ACQUIRE ? DRM_PIM_AUTHORITY_NONBLOCK : 0;

	if (args->op >= ARRAY_SIZE(ops) || (args->flags & ~flags) || !args->domains)
		return -EINVAL;
	if (args->domains & ~GENMASK_ULL(pim->hw.domains - 1, 0))
		return -EINVAL;
	if (args->op == DRM_PIM_AUTHORITY_ACQUIRE) {
		if (args->owner > DRM_PIM_OWNER_AUTO)
			return -EINVAL;
		if (!pim_watchdog_alive(pim))
			return -EIO;
	}
	return ops[args->op](pim, file->driver_priv, args);
}

/* A claim ends with its file: no process leaves memory owned. No thread of the file is inside an ioctl any more. */
void pim_auth_close(struct pim_device *pim, u64 file)
{
	struct pim_auth *auth = &pim->auth;
	u32 held;

	spin_lock(&auth->lock);
	held = pim_auth_held(auth, file, GENMASK(PIM_HW_MAX_DOMAINS - 1, 0));
	spin_unlock(&auth->lock);
	if (!held)
		return;
	pim_auth_hand_over(pim, held, PIM_HW_OWNER_HOST, true);
	pim_auth_unclaim(auth, held);
}

void pim_auth_init(struct pim_device *pim)
{
	struct pim_auth *auth = &pim->auth;
	u32 d;

	spin_lock_init(&auth->lock);
	init_rwsem(&auth->fault_sem);
	mutex_init(&auth->bo_lock);
	init_waitqueue_head(&auth->wait);
	INIT_LIST_HEAD(&auth->waiters);
	for (d = 0; d < PIM_HW_MAX_DOMAINS; d++) {
		auth->domain[d].cpu = true;
		INIT_LIST_HEAD(&auth->domain[d].bos);
	}
}
