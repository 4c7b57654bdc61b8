/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory access authority, in four files:
 *
 *	pim_claim.c	the ioctls: who claims what
 *	pim_change.c	changes of owner, from their request to the card's register
 *	pim_lend.c	what the kernel does by itself: claims that yield or are revoked
 *	pim_auth.c	what a job, a CPU access and an importer may do now
 *
 * A domain goes from HOST to PIM in process context, before any fence depends on it: CPU mappings are zapped, and a tenure fence is left for
 * importers; what is then left to do takes no lock that an allocation may need. From PIM to HOST nothing is zapped or allocated, so that way
 * is open to fence callbacks, to recovery, and to the kernel when a program holds on to memory that others wait for.
 */
#ifndef PIM_AUTH_H
#define PIM_AUTH_H

#include <linux/atomic.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_util.h>

#include <pim/hw.h>

#include "pim_line.h"
#include "pim_policy.h"

struct pim_device;
struct pim_file;

/* Why a domain changes its owner. */
enum pim_cause {
	PIM_CAUSE_ACQUIRE,
	PIM_CAUSE_RELEASE,
	PIM_CAUSE_CLOSE,
	PIM_CAUSE_YIELD,
	PIM_CAUSE_RETURN,
	PIM_CAUSE_REVOKE,
};

/*
 * struct pim_change - a change of owner of some domains, under way
 * @link: in pim_auth.changes while @queued; changes of the same domain happen in this order
 * @unclaim: it ends the claim
 * @fresh: it began the claim, which ends if it is cancelled
 * @ripe: @after has signalled
 * @over: it happened, or was cancelled: @result
 * @orphan: nobody waits for it: to be freed once it is over
 * @done: signals when it is over, NULL if nobody wants to know
 */
struct pim_change {
	struct pim_device *pim;
	struct list_head link;
	u32 mask;
	u32 owner;
	enum pim_cause cause;
	bool unclaim;
	bool fresh;
	bool ripe;
	bool queued;
	bool over;
	bool orphan;
	int result;
	struct dma_fence *after;
	struct dma_fence_cb cb;
	struct dma_fence *done;
};

/*
 * struct pim_tenure - the fence of a time in which the CPU and importers are shut out
 * @link: on its way to be signalled
 * @wanted: when somebody began to wait for it; zero if nobody does
 */
struct pim_tenure {
	struct dma_fence base;
	spinlock_t lock;
	struct pim_device *pim;
	struct list_head link;
	u64 wanted;
};

/* How far a claim that yields is. */
enum pim_lend {
	PIM_LEND_NO,
	PIM_LEND_DRAIN, /* the claim's jobs run out, no new ones are let in */
	PIM_LEND_OUT, /* HOST has it */
	PIM_LEND_BACK, /* on its way back */
};

/*
 * struct pim_domain - memory whose authority moves together
 * @owner: who has it on the card
 * @closing: who gets it next, once those whom that owner shuts out have left: none of them may start any more
 * @promised: who has it after all queued changes: what may be submitted
 * @cpu: the CPU may map it; cleared under pim_auth.lock and fault_sem
 * @busy: a call prepares a change, with no lock held
 * @leaving: a queued change ends the claim
 * @queued: changes queued
 * @queued_since: for how long there have been any
 * @file: id of the file that claims it, zero for none
 * @era: pim_auth.era when it was last claimed
 * @guests: jobs admitted without a claim, not yet freed
 * @early: of these, the ones of before the last claim, which waits for them
 * @jobs: jobs admitted under a claim, not yet freed
 * @users: accesses of the kernel's own under way, for which HOST must keep it
 * @inflight: jobs in a ring, per engine
 * @demand: CPU accesses and accesses of the kernel's own that wait for HOST
 * @tenure: since HOST gave it away
 * @own: the kernel's own change
 */
struct pim_domain {
	u32 owner;
	u32 closing;
	u32 promised;
	bool cpu;
	bool busy;
	bool leaving;
	u32 queued;
	u64 queued_since;

	u64 file;
	struct pid *pid;
	char comm[TASK_COMM_LEN];
	u32 priority;
	struct pim_policy policy;

	u64 era;
	u32 guests;
	u32 early;
	u32 jobs;
	u32 users;
	u32 inflight[PIM_HW_ENGINES];
	struct pim_demand demand;
	struct pim_tenure *tenure;
	struct pim_change own;

	enum pim_lend lend;
	u32 lend_owner;
	u64 lend_since;

	u64 since;
	u64 owned_ns[PIM_HW_OWNER_AUTO + 1];
	u64 handovers;
	u64 yields;
	u64 revocations;
	u64 host_requests;

	struct list_head bos;
	struct dma_resv resv; /* of all buffers in it */
};

/*
 * struct pim_auth - the card's domains
 * @context: fence contexts of the domains' tenures, which @tenures counts
 * @era: counts grants, so that jobs of before and after one can be told apart
 * @changes: under way
 * @work: carries out changes, ends tenures; fences depend on it
 * @slow: what no fence depends on: takes lent domains back, which zaps mappings, and tidies up
 */
struct pim_auth {
	spinlock_t lock;
	struct rw_semaphore fault_sem;
	struct mutex bo_lock;
	wait_queue_head_t wait;
	struct list_head line;
	struct list_head changes;
	struct list_head watches;
	struct delayed_work work;
	struct work_struct slow;
	u64 era;
	u64 context;
	atomic64_t tenures;
	struct pim_domain domain[PIM_HW_MAX_DOMAINS];
};

#define for_each_domain(d, mask) for ((d) = 0; (d) < PIM_HW_MAX_DOMAINS; (d)++) for_each_if((mask) & BIT(d))

/* May an engine use a domain that this owner has? */
static inline bool pim_owner_allows(u32 owner, u32 engine)
{
	return owner == PIM_HW_OWNER_AUTO || owner == (engine == PIM_HW_PIM ? PIM_HW_OWNER_PIM : PIM_HW_OWNER_HOST);
}

/* Does this file have the domain, and is it to keep it? */
static inline bool pim_domain_held(const struct pim_domain *dom, u64 file)
{
	return dom->file == file && !dom->leaving;
}

/* Takes a reference to a fence; it is put whatever is returned. */
typedef int (*pim_add_fence)(void *arg, struct dma_fence *fence);

/* pim_tenure.c */
int pim_tenure_begin(struct pim_device *pim, u32 d, pim_add_fence add, void *arg);
void pim_tenure_end(struct pim_tenure *tenure);
struct dma_fence *pim_tenure_fence(void);
bool pim_fence_foreign(struct pim_device *pim, struct dma_fence *fence);

/* pim_change.c */
int pim_change_shut_out(struct pim_device *pim, u32 mask, pim_add_fence add, void *arg);
void pim_change_reopen(struct pim_device *pim, u32 mask);
void pim_change_arm(struct pim_change *c, struct dma_fence *after);
void pim_change_free(struct pim_change *c);
void pim_change_queue(struct pim_auth *auth, struct pim_change *c);
bool pim_change_waits(struct pim_auth *auth, u32 d);
void pim_change_cancel(struct pim_device *pim, struct pim_change *c, int result, struct list_head *over, struct list_head *ended);
void pim_change_unclaim(struct pim_auth *auth, u32 mask);
void pim_change_advance(struct pim_device *pim, struct list_head *over, struct list_head *ended);
void pim_change_finish(struct pim_device *pim, struct list_head *over, struct list_head *ended);
void pim_change_run(struct pim_device *pim);
void pim_change_restore(struct pim_device *pim);

/* pim_lend.c */
void pim_lend_init(struct pim_device *pim);
void pim_lend_fini(struct pim_device *pim);
void pim_lend_kick(struct pim_device *pim);
struct pim_demand pim_lend_demand(const struct pim_domain *dom);
void pim_lend_stop(struct pim_domain *dom);
bool pim_lend_end_claim(struct pim_device *pim, u32 d, enum pim_cause cause, struct list_head *over, struct list_head *ended);

/* pim_watch.c */
void pim_watch_notify(struct pim_auth *auth, u32 mask);
void pim_watch_close(struct pim_device *pim, struct pim_file *pf);

#endif
