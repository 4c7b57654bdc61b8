/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trace events, all with the card's device name. A client is the drm-client-id of fdinfo. A fence is named as dma_fence's own events name it:
 * by context and seqno, so that a job and a hand-over can be followed into other drivers.
 *
 *	job	queue	the submit ioctl took it
 *		run	it is in its engine's ring
 *		done	its fence signals next
 *	authority	request	a client asks for domains, or for another owner of those it has
 *			grant	it has the claim; the hand-over comes after what it is to come after
 *			release	it gives the claim back
 *			revoke	the claim is ended by deadline or time-out
 *			yield	the claim lends a domain to host requests; fence: the one that importers wait for
 *			switch	the card is told a domain's new owner: the hand-over itself
 *
 * The fence of request, grant and release is the one that its out_syncs get: it signals when the hand-over is over.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pim

#if !defined(PIM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PIM_TRACE_H

#include <linux/tracepoint.h>

#include "pim_drv.h"

#define PIM_TRACE_DEV 16 /* "0000:00:04.0", and a domain of five digits */
#define PIM_TRACE_ENGINE(e) __print_symbolic(e, { PIM_HW_HOST, "host" }, { PIM_HW_PIM, "pim" })
#define PIM_TRACE_OWNER(o) __print_symbolic(o, { PIM_HW_OWNER_HOST, "host" }, { PIM_HW_OWNER_PIM, "pim" }, { PIM_HW_OWNER_AUTO, "auto" })
#define PIM_TRACE_CAUSE(c) __print_symbolic(c, { PIM_CAUSE_ACQUIRE, "acquire" }, { PIM_CAUSE_RELEASE, "release" }, \
	{ PIM_CAUSE_REVOKE, "revoke" }, { PIM_CAUSE_YIELD, "yield" }, { PIM_CAUSE_RETURN, "return" }, { PIM_CAUSE_CLOSE, "close" })

DECLARE_EVENT_CLASS(pim_job,
	TP_PROTO(const struct pim_job *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__array(char, dev, PIM_TRACE_DEV)
		__field(u64, client)
		__field(u64, context)
		__field(u64, seqno)
		__field(u64, place)
		__field(u32, slot)
		__field(u32, engine)
		__field(u32, op)
		__field(u32, domains)
	),
	TP_fast_assign(
		strscpy(__entry->dev, dev_name(job->queue->pim->drm.dev), PIM_TRACE_DEV);
		__entry->client = job->queue->file;
		__entry->context = job->fence->context;
		__entry->seqno = job->fence->seqno;
		__entry->place = job->desc.seqno;
		__entry->slot = job->queue->slot;
		__entry->engine = job->engine;
		__entry->op = job->desc.op;
		__entry->domains = job->domains;
	),
	TP_printk("dev=%s client=%llu fence=%llu:%llu slot=%u engine=%s ring=%llu op=%u domains=%#x", __entry->dev, __entry->client,
		  __entry->context, __entry->seqno, __entry->slot, PIM_TRACE_ENGINE(__entry->engine), __entry->place, __entry->op,
		  __entry->domains)
);

DEFINE_EVENT(pim_job, pim_job_queue, TP_PROTO(const struct pim_job *job), TP_ARGS(job));
DEFINE_EVENT(pim_job, pim_job_run, TP_PROTO(const struct pim_job *job), TP_ARGS(job));

TRACE_EVENT(pim_job_done,
	TP_PROTO(const struct pim_job *job, u32 status),
	TP_ARGS(job, status),
	TP_STRUCT__entry(
		__array(char, dev, PIM_TRACE_DEV)
		__field(u64, client)
		__field(u64, context)
		__field(u64, seqno)
		__field(u32, slot)
		__field(u32, engine)
		__field(u32, status)
	),
	TP_fast_assign(
		strscpy(__entry->dev, dev_name(job->queue->pim->drm.dev), PIM_TRACE_DEV);
		__entry->client = job->queue->file;
		__entry->context = job->fence->context;
		__entry->seqno = job->fence->seqno;
		__entry->slot = job->queue->slot;
		__entry->engine = job->engine;
		__entry->status = status;
	),
	TP_printk("dev=%s client=%llu fence=%llu:%llu slot=%u engine=%s status=%u", __entry->dev, __entry->client, __entry->context,
		  __entry->seqno, __entry->slot, PIM_TRACE_ENGINE(__entry->engine), __entry->status)
);

/* @owner: who is to have the domains; @fence: where there is one, else NULL, traced as 0:0 */
DECLARE_EVENT_CLASS(pim_authority,
	TP_PROTO(struct pim_device *pim, u32 domains, u32 owner, u64 client, pid_t pid, struct dma_fence *fence),
	TP_ARGS(pim, domains, owner, client, pid, fence),
	TP_STRUCT__entry(
		__array(char, dev, PIM_TRACE_DEV)
		__field(u64, client)
		__field(u64, context)
		__field(u64, seqno)
		__field(u32, domains)
		__field(u32, owner)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		strscpy(__entry->dev, dev_name(pim->drm.dev), PIM_TRACE_DEV);
		__entry->client = client;
		__entry->context = fence ? fence->context : 0;
		__entry->seqno = fence ? fence->seqno : 0;
		__entry->domains = domains;
		__entry->owner = owner;
		__entry->pid = pid;
	),
	TP_printk("dev=%s client=%llu pid=%d domains=%#x owner=%s fence=%llu:%llu", __entry->dev, __entry->client, __entry->pid,
		  __entry->domains, PIM_TRACE_OWNER(__entry->owner), __entry->context, __entry->seqno)
);

#define PIM_AUTHORITY_EVENT(name) \
	DEFINE_EVENT(pim_authority, name, \
		TP_PROTO(struct pim_device *pim, u32 domains, u32 owner, u64 client, pid_t pid, struct dma_fence *fence), \
		TP_ARGS(pim, domains, owner, client, pid, fence))

PIM_AUTHORITY_EVENT(pim_authority_request);
PIM_AUTHORITY_EVENT(pim_authority_grant);
PIM_AUTHORITY_EVENT(pim_authority_release);
PIM_AUTHORITY_EVENT(pim_authority_revoke);
PIM_AUTHORITY_EVENT(pim_authority_yield);

TRACE_EVENT(pim_authority_switch,
	TP_PROTO(struct pim_device *pim, u32 domain, u32 from, u32 to, u32 cause, u64 client, pid_t pid),
	TP_ARGS(pim, domain, from, to, cause, client, pid),
	TP_STRUCT__entry(
		__array(char, dev, PIM_TRACE_DEV)
		__field(u64, client)
		__field(u32, domain)
		__field(u32, from)
		__field(u32, to)
		__field(u32, cause)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		strscpy(__entry->dev, dev_name(pim->drm.dev), PIM_TRACE_DEV);
		__entry->client = client;
		__entry->domain = domain;
		__entry->from = from;
		__entry->to = to;
		__entry->cause = cause;
		__entry->pid = pid;
	),
	TP_printk("dev=%s client=%llu pid=%d domain=%u from=%s to=%s cause=%s", __entry->dev, __entry->client, __entry->pid,
		  __entry->domain, PIM_TRACE_OWNER(__entry->from), PIM_TRACE_OWNER(__entry->to), PIM_TRACE_CAUSE(__entry->cause))
);

TRACE_EVENT(pim_reset,
	TP_PROTO(struct pim_device *pim, int error),
	TP_ARGS(pim, error),
	TP_STRUCT__entry(
		__array(char, dev, PIM_TRACE_DEV)
		__field(u32, generation)
		__field(int, error)
	),
	TP_fast_assign(
		strscpy(__entry->dev, dev_name(pim->drm.dev), PIM_TRACE_DEV);
		__entry->generation = pim->generation;
		__entry->error = error;
	),
	TP_printk("dev=%s generation=%#x error=%d", __entry->dev, __entry->generation, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE pim_trace
#include <trace/define_trace.h>
