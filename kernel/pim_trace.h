/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pim

#if !defined(PIM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PIM_TRACE_H

#include <linux/tracepoint.h>

#include "pim_drv.h"

#define PIM_TRACE_ENGINE(e) __print_symbolic(e, { PIM_HW_HOST, "host" }, { PIM_HW_PIM, "pim" })
#define PIM_TRACE_OWNER(o) __print_symbolic(o, { PIM_HW_OWNER_HOST, "host" }, { PIM_HW_OWNER_PIM, "pim" }, { PIM_HW_OWNER_AUTO, "auto" })

TRACE_EVENT(pim_job_submit,
	TP_PROTO(const struct pim_job *job),
	TP_ARGS(job),
	TP_STRUCT__entry(
		__field(u64, file)
		__field(u64, seq)
		__field(u32, slot)
		__field(u32, engine)
		__field(u32, op)
		__field(u32, domains)
	),
	TP_fast_assign(
		__entry->file = job->queue->file;
		__entry->seq = job->seq;
		__entry->slot = job->queue->slot;
		__entry->engine = job->engine;
		__entry->op = job->desc.op;
		__entry->domains = job->domains;
	),
	TP_printk("file=%llu slot=%u %s seq=%llu op=%u domains=%#x", __entry->file, __entry->slot, PIM_TRACE_ENGINE(__entry->engine),
		  __entry->seq, __entry->op, __entry->domains)
);

TRACE_EVENT(pim_job_run,
	TP_PROTO(const struct pim_job *job, u64 seqno),
	TP_ARGS(job, seqno),
	TP_STRUCT__entry(
		__field(u64, seqno)
		__field(u64, seq)
		__field(u32, slot)
		__field(u32, engine)
	),
	TP_fast_assign(
		__entry->seqno = seqno;
		__entry->seq = job->seq;
		__entry->slot = job->queue->slot;
		__entry->engine = job->engine;
	),
	TP_printk("slot=%u %s seq=%llu ring=%llu", __entry->slot, PIM_TRACE_ENGINE(__entry->engine), __entry->seq, __entry->seqno)
);

TRACE_EVENT(pim_job_done,
	TP_PROTO(const struct pim_job *job, u32 status),
	TP_ARGS(job, status),
	TP_STRUCT__entry(
		__field(u64, seq)
		__field(u32, slot)
		__field(u32, engine)
		__field(u32, status)
	),
	TP_fast_assign(
		__entry->seq = job->seq;
		__entry->slot = job->queue->slot;
		__entry->engine = job->engine;
		__entry->status = status;
	),
	TP_printk("slot=%u %s seq=%llu status=%u", __entry->slot, PIM_TRACE_ENGINE(__entry->engine), __entry->seq, __entry->status)
);

TRACE_EVENT(pim_handover,
	TP_PROTO(u32 domain, u32 from, u32 to, pid_t pid),
	TP_ARGS(domain, from, to, pid),
	TP_STRUCT__entry(
		__field(u32, domain)
		__field(u32, from)
		__field(u32, to)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		__entry->domain = domain;
		__entry->from = from;
		__entry->to = to;
		__entry->pid = pid;
	),
	TP_printk("domain=%u %s->%s pid=%d", __entry->domain, PIM_TRACE_OWNER(__entry->from), PIM_TRACE_OWNER(__entry->to), __entry->pid)
);

TRACE_EVENT(pim_reset,
	TP_PROTO(u32 generation, int error),
	TP_ARGS(generation, error),
	TP_STRUCT__entry(
		__field(u32, generation)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->generation = generation;
		__entry->error = error;
	),
	TP_printk("generation=%#x error=%d", __entry->generation, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE pim_trace
#include <trace/define_trace.h>
