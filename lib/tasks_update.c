// SPDX-License-Identifier: MIT
/* The optimizer's step for one group of layers: over flat arrays, whatever the layout of the weights. */
#include "builder.h"

void update(struct builder *b, const struct group *gr)
{
	const struct step *s = b->s;
	const struct params *p = s->params;
	const uint64_t off[2 + MAX_STATES] = { p->w_off, p->g_off, p->state_arena[0], p->state_arena[1] };
	uint64_t stripe = s->plan.info.stripe_bytes, bytes = (gr->bytes + stripe - 1) / stripe * stripe;
	struct map flat = { .wh = 1, .ww = 1, .pixels_bytes = gr->bytes };

	task_program(b, p->optimizer->kernel, gr->first, &flat, 0, 1);
	for (unsigned int i = 0; i < 2 + p->optimizer->nstates; i++)
		task_add_stream(b, task_bind(b, BUF_PARAMS, off[i] + gr->off, bytes, task_stream_access(b)), 0, 0);
	task_cost_of_bytes(b, p->optimizer->accesses * gr->bytes);
	b->t->update = true;
	for (int l = gr->first; l <= gr->last; l++) {
		if (!p->slice[l].bytes)
			continue;
		task_reads(b, b->g[l], (s->plan.net->layer[l].c + 15) / 16);
		task_writes(b, b->w[l], 1);
		task_writes(b, b->v[l], 1);
	}
}
