/* SPDX-License-Identifier: MIT */
/* Inside of the card model: what its files share. */
#ifndef PIM_CARD_IMPL_H
#define PIM_CARD_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "card.h"

/* The BAR's offsets and sizes, computed from the card file. */
struct card_layout {
	uint64_t slots_off, ring_off[PIM_HW_ENGINES], done_off[PIM_HW_ENGINES];
	uint64_t window_off, mem_off, mem_bytes, bar_bytes;
	uint32_t units; /* of a domain */
};
void card_layout(const struct pim_cardfile *cf, struct card_layout *l);

/* What a job did, for the timing model; counted by the engines, exact and independent of the machine. */
struct card_cost {
	uint64_t flops; /* HOST: of true channels */
	uint64_t mem_bytes; /* traffic with the PIM memory */
	uint64_t window_bytes; /* traffic with the host window */
	uint64_t column_tck; /* PIM: lock-step column commands, and row changes */
	uint64_t unit_tck; /* PIM: register instructions that column commands do not hide */
	uint64_t base_tck; /* PIM: base-die instructions */
};

/* Why a job failed; goes into its done record. */
struct card_fault {
	uint32_t status; /* enum pim_hw_status */
	uint32_t where, unit;
	uint64_t address;
};

/* One job, copied out of the ring: nothing that the driver can still change. */
struct card_job {
	struct pim_hw_desc d;
	struct card_fault fault;
	struct card_cost cost;
	uint32_t domains; /* PIM memory that its bindings touch */
	uint32_t auto_domains; /* those of them under PIM_HW_OWNER_AUTO */
};

struct card_pim;
struct card_host;
struct card_time;

struct card_engine {
	struct pim_card *card;
	unsigned int index; /* enum pim_hw_engine */
	pthread_t thread;
	bool parked; /* holds no job; under lock */
};

struct pim_card {
	struct pim_cardfile cf;
	struct card_layout l;
	struct pim_hw_header hw; /* the card's own copy: the one in the BAR can be scribbled on */
	uint8_t *bar;
	pim_card_notify *notify;
	void *ctx;

	pthread_mutex_t lock; /* all below, and the order of slot updates */
	pthread_cond_t cond; /* any of it changed */
	bool stopping;
	bool control_rung;
	uint32_t generation; /* zero: touch no ring */
	bool dead;
	uint64_t done[PIM_HW_ENGINES]; /* seqno of the last job completed */
	atomic_bool abort; /* jobs in flight end as soon as they can */

	struct card_engine engine[PIM_HW_ENGINES];
	pthread_t control;
	struct card_pim *pim;
	struct card_host *host;
	struct card_time *time;
};

static inline struct pim_hw_control *card_control(struct pim_card *c)
{
	return (struct pim_hw_control *)(c->bar + PIM_HW_CONTROL_OFF);
}

static inline struct pim_hw_state *card_state(struct pim_card *c)
{
	return (struct pim_hw_state *)(c->bar + PIM_HW_STATE_OFF);
}

static inline struct pim_hw_domain *card_domain(struct pim_card *c, uint32_t d)
{
	return &((struct pim_hw_authority *)(c->bar + PIM_HW_AUTHORITY_OFF))->domain[d];
}

static inline struct pim_hw_slot *card_slot(struct pim_card *c, uint32_t s)
{
	return &((struct pim_hw_slot *)(c->bar + c->l.slots_off))[s];
}

/* The other side of the BAR may be another process or a guest. */
#define card_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define card_store(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)

/* Records the first fault of a job. Returns false, so that a check can end with it. */
static inline bool card_fail(struct card_job *j, uint32_t status, uint32_t where, uint64_t address, uint32_t unit)
{
	if (j->fault.status == PIM_HW_OK)
		j->fault = (struct card_fault){ .status = status, .where = where, .address = address, .unit = unit };
	return false;
}

/* Must the job in execution end now? Then it has a fault. */
static inline bool card_job_stopped(struct pim_card *c, struct card_job *j, uint32_t where)
{
	if (atomic_load_explicit(&c->abort, memory_order_relaxed))
		return !card_fail(j, PIM_HW_E_CANCELED, where, 0, 0);
	if (j->d.signal.value && card_load(&card_slot(c, j->d.signal.slot)->stop) == PIM_HW_STOP_ALL)
		return !card_fail(j, PIM_HW_E_TIMEOUT, where, 0, 0);
	return false;
}

/* card_ring.c */
void *card_engine_main(void *engine);

/* card_job.c: descriptor, bindings and authority, then the operation. */
void card_job_run(struct pim_card *c, unsigned int engine, struct card_job *j);
/* [off, off + bytes) of a binding: its address, or NULL and a fault that names the binding */
void *card_at(struct pim_card *c, struct card_job *j, uint32_t binding, uint64_t off, uint64_t bytes, uint32_t access);
static inline bool card_in_window(const struct pim_card *c, uint64_t base)
{
	return base < c->l.mem_off;
}

/* card_pim.c */
int card_pim_new(struct pim_card *c, struct card_pim **pim);
void card_pim_free(struct card_pim *pim);
void card_pim_run(struct pim_card *c, struct card_job *j);

/* card_host.c */
int card_host_new(struct card_host **host);
void card_host_free(struct card_host *host);
void card_host_run(struct pim_card *c, struct card_job *j);
/* On the thread that ran the jobs, after the last one: some of what oneDNN keeps is the thread's. */
void card_host_thread_end(struct card_host *host);

/* card_time.c: from the costs of jobs to modelled time. Has its own lock. */
struct card_timed {
	unsigned int engine;
	uint64_t seqno, batch;
	uint32_t batch_rings;
	bool close;
	uint32_t nwaits;
	struct pim_hw_wait wait[PIM_HW_MAX_WAITS];
	struct pim_hw_wait signal; /* value 0: none */
	uint64_t signal_from; /* value of its slot before */
	struct pim_hw_policy policy;
	struct card_cost cost;
	uint32_t domains, auto_domains;
	struct pim_hw_timing *report; /* in the BAR, or NULL */
	uint8_t *room; /* with report: the binding that it lies in */
	uint64_t room_bytes;
};
int card_time_new(struct pim_card *c, struct card_time **time);
void card_time_free(struct card_time *time);
void card_time_reset(struct card_time *time);
/* Takes the job in; when it is the last to close its batch, simulates the batch and writes its reports. False: no memory. */
bool card_time_add(struct card_time *time, const struct card_timed *job);

#endif
