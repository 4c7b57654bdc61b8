/* SPDX-License-Identifier: MIT */
/* Inside of the timing model. All times are integers, in ps. */
#ifndef PIM_CARD_TIME_IMPL_H
#define PIM_CARD_TIME_IMPL_H

#include "card_impl.h"

#define SIM_MAX_DEPS PIM_HW_MAX_WAITS

/* One job in the simulation. */
struct sim_job {
	struct card_timed t;
	/* work */
	uint64_t work; /* HOST: arithmetic or window traffic; PIM: the whole program */
	uint64_t arith; /* the part of work that is arithmetic */
	uint64_t fetch; /* HOST: time of its traffic with the PIM memory */
	uint64_t ahead; /* HOST: how much of fetch may be ahead of work */
	/* progress */
	uint64_t done, fetched;
	bool ended;
	uint64_t start, end;
	/* where the time went */
	uint64_t progress, memory, authority, switching;
	uint64_t switches;
	struct sim_job *dep[SIM_MAX_DEPS];
};

/* Jobs of one batch, in ring order. */
struct sim_list {
	struct sim_job *job;
	size_t n, room;
};

struct sim_domain {
	uint64_t switches;
	uint64_t tenure[PIM_HW_ENGINES];
};

struct sim {
	const struct pim_cardfile *cf;
	struct sim_list *list; /* per engine */
	uint64_t now;
	struct sim_domain domain[PIM_HW_MAX_DOMAINS]; /* adds to what is in it */
	/* the arbiter */
	uint32_t pim_domains; /* AUTO domains in PIM mode */
	uint32_t moving; /* domains being switched */
	unsigned int moving_to;
	uint64_t moving_end;
	uint64_t tenure_since; /* end of the last switch */
	/* the engines */
	struct sim_job *active[PIM_HW_ENGINES];
	size_t next[PIM_HW_ENGINES];
};

/* Fills in the work of a job from its costs. */
void sim_job_init(const struct pim_cardfile *cf, struct sim_job *j);
/* Runs the batch from now on; all AUTO domains are HOST's before and after. False: no memory. */
bool sim_run(struct sim *s);

#endif
