// SPDX-License-Identifier: MIT
/*
 * The order in which the engines get a step's tasks. Serial: program order, each task after the one before. Pipelined: a list scheduler; of
 * the tasks that are ready when an engine is free, the one with the longest predicted way to the end of the step goes first. So the
 * convolution tiles that release PIM work go before those that do not, and weight gradients, on which little waits, fill the gaps.
 */
#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "step.h"

struct list {
	uint64_t *rank; /* predicted ns from the task's start to the end of the step */
	uint64_t *end; /* predicted, of those placed */
	char *placed;
};

static void ranks(const struct step *s, uint64_t *rank)
{
	for (int i = s->ntasks - 1; i >= 0; i--) {
		const struct task *t = &s->task[i];

		/* All users have larger numbers, so rank[i] is the longest of their ways by now. */
		rank[i] += t->cost_ns;
		for (int d = 0; d < t->ndeps; d++)
			if (rank[t->dep[d]] < rank[i])
				rank[t->dep[d]] = rank[i];
	}
}

/* When could task i start? False while a task it depends on has no place. */
static bool ready_at(const struct step *s, const struct list *l, int i, uint64_t *at)
{
	const struct task *t = &s->task[i];

	*at = 0;
	for (int d = 0; d < t->ndeps; d++) {
		if (!l->placed[t->dep[d]])
			return false;
		if (l->end[t->dep[d]] > *at)
			*at = l->end[t->dep[d]];
	}
	return true;
}

static void pipeline(struct step *s, struct list *l)
{
	uint64_t idle[PIM_ENGINES] = { 0 };
	int first = 0;

	ranks(s, l->rank);
	for (int n = 0; n < s->ntasks; n++) {
		uint64_t best_start = UINT64_MAX, best_rank = 0;
		int best = -1;

		while (l->placed[first])
			first++;
		/* Earliest start on its engine; among equals the longest way; among those program order. */
		for (int i = first; i < s->ntasks; i++) {
			uint64_t at;

			if (l->placed[i] || !ready_at(s, l, i, &at))
				continue;
			if (at < idle[s->task[i].engine])
				at = idle[s->task[i].engine];
			if (at < best_start || (at == best_start && l->rank[i] > best_rank)) {
				best = i;
				best_start = at;
				best_rank = l->rank[i];
			}
		}
		l->placed[best] = 1;
		l->end[best] = best_start + s->task[best].cost_ns;
		idle[s->task[best].engine] = l->end[best];
		s->order[n] = best;
	}
}

/*
 * Engines take their jobs in order, so of all dependencies on the other engine only the last one needs a wait, and that only if the engine has not
 * waited for it already.
 */
static void number(struct step *s, uint32_t *place)
{
	uint32_t waited[PIM_ENGINES] = { 0 };

	for (int k = 0; k < s->ntasks; k++) {
		const struct task *t = &s->task[s->order[k]];
		uint32_t last = s->mode == PIM_SERIAL ? s->njobs[!t->engine] : 0;

		for (int d = 0; d < t->ndeps; d++)
			if (s->task[t->dep[d]].engine != t->engine && place[t->dep[d]] > last)
				last = place[t->dep[d]];
		s->wait[k] = last > waited[t->engine] ? last : 0;
		if (s->wait[k])
			waited[t->engine] = last;
		s->number[k] = place[s->order[k]] = ++s->njobs[t->engine];
	}
}

int schedule(struct step *s)
{
	size_t n = (size_t)s->ntasks;
	struct list l = { calloc(n, sizeof(uint64_t)), calloc(n, sizeof(uint64_t)), calloc(n, 1) };
	uint32_t *place = calloc(n, sizeof(*place));
	int err = 0;

	s->order = calloc(n, sizeof(*s->order));
	s->number = calloc(n, sizeof(*s->number));
	s->wait = calloc(n, sizeof(*s->wait));
	if (!l.rank || !l.end || !l.placed || !place || !s->order || !s->number || !s->wait) {
		err = pim_error(-ENOMEM, "no memory to schedule %d tasks", s->ntasks);
		goto out;
	}
	if (s->mode == PIM_PIPELINED)
		pipeline(s, &l);
	else
		for (int i = 0; i < s->ntasks; i++)
			s->order[i] = i;
	number(s, place);
out:
	free(l.rank);
	free(l.end);
	free(l.placed);
	free(place);
	return err;
}
