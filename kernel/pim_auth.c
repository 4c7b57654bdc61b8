// SPDX-License-Identifier: GPL-2.0-only
/* Who may use a domain now: jobs, and accesses of the CPU. */
#include <drm/drm_managed.h>
#include <drm/drm_utils.h>

#include "pim_drv.h"

/* -- jobs ----------------------------------------------------------------------------------------------------------- */

/*
 * May jobs of this engine be submitted? 0, -EACCES; -EAGAIN: the claim yields, they must wait. A HOST job needs no claim where nobody has
 * one, or where its own file is just giving it up: it is a guest, whose end a later claim waits for.
 */
static int pim_auth_check(const struct pim_domain *dom, u64 file, u32 engine, bool *guest)
{
	*guest = false;
	if (pim_domain_held(dom, file)) {
		if (!pim_owner_allows(dom->promised, engine))
			return -EACCES;
		return dom->lend == PIM_LEND_NO ? 0 : -EAGAIN;
	}
	if (engine != PIM_HW_HOST || (dom->file && dom->file != file))
		return -EACCES;
	*guest = true;
	return 0;
}

/* Let all jobs in, or none. */
int pim_auth_admit(struct pim_device *pim, u64 file, struct pim_job **jobs, u32 n)
{
	struct pim_auth *auth = &pim->auth;
	u32 need[PIM_HW_ENGINES] = {}, guests = 0, d, e, i;
	int ret = 0, one;
	bool guest;

	for (i = 0; i < n; i++)
		need[jobs[i]->engine] |= jobs[i]->domains;

	spin_lock(&auth->lock);
	for (e = 0; e < PIM_HW_ENGINES; e++) {
		for_each_domain(d, need[e]) {
			one = pim_auth_check(&auth->domain[d], file, e, &guest);
			if (one == -EACCES || !ret)
				ret = one;
			if (guest)
				guests |= BIT(d);
		}
	}
	for (i = 0; !ret && i < n; i++) {
		jobs[i]->guest = jobs[i]->engine == PIM_HW_HOST ? jobs[i]->domains & guests : 0;
		jobs[i]->admitted = true;
		jobs[i]->era = auth->era;
		for_each_domain(d, jobs[i]->domains) {
			if (jobs[i]->guest & BIT(d))
				auth->domain[d].guests++;
			else
				auth->domain[d].jobs++;
		}
	}
	spin_unlock(&auth->lock);
	return ret;
}

static bool pim_auth_lent(struct pim_auth *auth, u32 mask)
{
	bool lent = false;
	u32 d;

	spin_lock(&auth->lock);
	for_each_domain(d, mask)
		lent |= auth->domain[d].lend != PIM_LEND_NO;
	spin_unlock(&auth->lock);
	return lent;
}

/* After -EAGAIN: wait until these domains are not lent any more. Jobs wait here, where no fence depends on them yet. */
int pim_auth_await(struct pim_device *pim, struct pim_job **jobs, u32 n)
{
	u32 mask = 0, i;

	for (i = 0; i < n; i++)
		mask |= jobs[i]->domains;
	return wait_event_interruptible(pim->auth.wait, !pim_auth_lent(&pim->auth, mask) || drm_dev_is_unplugged(&pim->drm));
}

/* The job goes to its ring now: is its claim still there, and has its owner the domain? */
int pim_auth_start(struct pim_job *job)
{
	struct pim_auth *auth = &job->queue->pim->auth;
	struct pim_domain *dom;
	int ret = 0;
	u32 d;

	if (!job->domains)
		return 0;
	spin_lock(&auth->lock);
	for_each_domain(d, job->domains) {
		dom = &auth->domain[d];
		if (!(job->guest & BIT(d)) && dom->file != job->queue->file)
			ret = -EACCES;
		if (!pim_owner_allows(dom->owner, job->engine) || !pim_owner_allows(dom->closing, job->engine))
			ret = -EACCES;
	}
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
	struct pim_device *pim = job->queue->pim;
	struct pim_auth *auth = &pim->auth;
	bool waited = false;
	u32 d;

	if (!job->domains)
		return;
	spin_lock(&auth->lock);
	for_each_domain(d, job->domains)
		waited |= !--auth->domain[d].inflight[job->engine] && auth->domain[d].queued;
	spin_unlock(&auth->lock);
	if (waited)
		pim_lend_kick(pim);
}

/* The job is gone, whatever became of it. */
void pim_auth_leave(struct pim_job *job)
{
	struct pim_device *pim = job->queue->pim;
	struct pim_auth *auth = &pim->auth;
	bool last = false;
	struct pim_domain *dom;
	u32 d;

	if (!job->admitted)
		return;
	job->admitted = false;
	spin_lock(&auth->lock);
	for_each_domain(d, job->domains) {
		dom = &auth->domain[d];
		if (!(job->guest & BIT(d)))
			last |= !--dom->jobs && dom->lend == PIM_LEND_DRAIN;
		else if (job->era < dom->era)
			last |= !--dom->early && dom->queued;
		else
			dom->guests--;
	}
	spin_unlock(&auth->lock);
	if (last)
		pim_lend_kick(pim);
}

/* -- the CPU -------------------------------------------------------------------------------------------------------- */

static bool pim_auth_cpu_may(struct pim_device *pim, u32 d)
{
	return READ_ONCE(pim->auth.domain[d].cpu) || drm_dev_is_unplugged(&pim->drm);
}

/*
 * A host request: wait, at most until left jiffies are over, for HOST to have the domain. Positive: it may have it; 0: time is over; else
 * -ERESTARTSYS.
 */
long pim_auth_wait_cpu(struct pim_device *pim, u32 d, bool interruptible, long left)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom = &auth->domain[d];
	long ret;

	spin_lock(&auth->lock);
	if (dom->cpu) {
		spin_unlock(&auth->lock);
		return 1;
	}
	if (!dom->demand.waiting++)
		dom->demand.since = ktime_get_ns();
	dom->host_requests++;
	spin_unlock(&auth->lock);
	pim_lend_kick(pim);

	if (interruptible)
		ret = wait_event_interruptible_timeout(auth->wait, pim_auth_cpu_may(pim, d), left);
	else
		ret = wait_event_killable_timeout(auth->wait, pim_auth_cpu_may(pim, d), left);
	spin_lock(&auth->lock);
	dom->demand.waiting--;
	spin_unlock(&auth->lock);
	return ret;
}

/* Wait until the CPU may use a domain, and keep it so until pim_auth_host_end(). -EINTR on a fatal signal, -ETIME, -ENODEV. */
int pim_auth_host_begin(struct pim_device *pim, u32 domain, u64 timeout_ns)
{
	struct pim_auth *auth = &pim->auth;
	struct pim_domain *dom = &auth->domain[domain];
	long left;

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
		left = drm_timeout_abs_to_jiffies(min_t(u64, timeout_ns, KTIME_MAX));
		left = left ? pim_auth_wait_cpu(pim, domain, false, left) : 0;
		if (left <= 0)
			return left ? -EINTR : -ETIME;
	}
}

void pim_auth_host_end(struct pim_device *pim, u32 domain)
{
	struct pim_auth *auth = &pim->auth;
	bool waited;

	spin_lock(&auth->lock);
	waited = !--auth->domain[domain].users && auth->domain[domain].queued;
	spin_unlock(&auth->lock);
	if (waited)
		pim_lend_kick(pim);
}

/* -- life ----------------------------------------------------------------------------------------------------------- */

static void pim_auth_fini(struct drm_device *drm, void *unused)
{
	struct pim_device *pim = to_pim(drm);

	pim_change_run(pim); /* what the last job left behind */
	pim_lend_fini(pim);
	WARN_ON(!list_empty(&pim->auth.changes) || !list_empty(&pim->auth.line));
	mutex_destroy(&pim->auth.bo_lock);
}

int pim_auth_init(struct pim_device *pim)
{
	struct pim_auth *auth = &pim->auth;
	u64 now = ktime_get_ns();
	struct pim_domain *dom;
	u32 d;

	spin_lock_init(&auth->lock);
	init_rwsem(&auth->fault_sem);
	mutex_init(&auth->bo_lock);
	init_waitqueue_head(&auth->wait);
	INIT_LIST_HEAD(&auth->line);
	INIT_LIST_HEAD(&auth->changes);
	INIT_LIST_HEAD(&auth->watches);
	auth->context = dma_fence_context_alloc(PIM_HW_MAX_DOMAINS);
	for (d = 0; d < PIM_HW_MAX_DOMAINS; d++) {
		dom = &auth->domain[d];
		dom->cpu = true;
		dom->since = now;
		dom->own.pim = pim;
		dom->own.over = true;
		INIT_LIST_HEAD(&dom->bos);
	}
	pim_lend_init(pim);
	return drmm_add_action_or_reset(&pim->drm, pim_auth_fini, NULL);
}
