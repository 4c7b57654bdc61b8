/* SPDX-License-Identifier: MIT */
/* Progress of a training run: a bar that redraws itself on a terminal, a line per epoch elsewhere. On standard error. */
#ifndef PIM_TRAIN_PROGRESS_H
#define PIM_TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_style { PROGRESS_NONE, PROGRESS_LINES, PROGRESS_BAR };

struct progress {
	enum progress_style style;
	const char *name;
	uint64_t total, per_epoch, done;
	double begin, drawn;
	double loss, accuracy; /* running means of the current epoch */
	uint64_t in_epoch;
	bool on_line;
};

/* how: bar, lines, none, or NULL for bar on a terminal and lines elsewhere. */
bool progress_known(const char *how);
void progress_begin(struct progress *p, const char *how, const char *name, uint64_t total, uint64_t per_epoch);
void progress_step(struct progress *p, uint64_t done, double loss, double accuracy);
void progress_end(struct progress *p);
/* Takes the bar off the line before something else is written; harmless at any time. */
void progress_clear(struct progress *p);

#endif
