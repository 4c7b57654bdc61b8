// SPDX-License-Identifier: MIT
/* Drawing progress. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define WIDTH 30
#define REDRAW_S 0.1

static const char *const style_name[] = { [PROGRESS_NONE] = "none", [PROGRESS_LINES] = "lines", [PROGRESS_BAR] = "bar" };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

bool progress_known(const char *how)
{
	for (int i = PROGRESS_NONE; how && i <= PROGRESS_BAR; i++)
		if (!strcmp(how, style_name[i]))
			return true;
	return !how;
}

void progress_begin(struct progress *p, const char *how, const char *name, uint64_t total, uint64_t per_epoch)
{
	*p = (struct progress){ .name = name,
				.total = total,
				.per_epoch = per_epoch,
				.begin = now(),
				.style = isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_LINES };
	for (int i = PROGRESS_NONE; how && i <= PROGRESS_BAR; i++)
		if (!strcmp(how, style_name[i]))
			p->style = (enum progress_style)i;
}

static void draw(struct progress *p)
{
	uint64_t epoch = (p->done + p->per_epoch - 1) / p->per_epoch, epochs = (p->total + p->per_epoch - 1) / p->per_epoch;
	double elapsed = now() - p->begin, eta = p->done ? elapsed * (double)(p->total - p->done) / (double)p->done : 0;
	int full = p->total ? (int)(WIDTH * p->done / p->total) : WIDTH;
	double n = p->in_epoch ? (double)p->in_epoch : 1;

	if (p->style == PROGRESS_BAR)
		fprintf(stderr, "\r%-9s [%.*s%*s] epoch %llu/%llu  loss %.4f  accuracy %5.1f %%  %.0f steps/s  ETA %.0f s \033[K",
			p->name, full, "##############################", WIDTH - full, "", (unsigned long long)epoch,
			(unsigned long long)epochs, p->loss / n, 100 * p->accuracy / n, elapsed > 0 ? (double)p->done / elapsed : 0,
			eta);
	else
		fprintf(stderr, "%s: epoch %llu/%llu step %llu/%llu loss %.4f accuracy %.1f %% %.0f steps/s ETA %.0f s\n", p->name,
			(unsigned long long)epoch, (unsigned long long)epochs, (unsigned long long)p->done,
			(unsigned long long)p->total, p->loss / n, 100 * p->accuracy / n,
			elapsed > 0 ? (double)p->done / elapsed : 0, eta);
	p->on_line = p->style == PROGRESS_BAR;
	p->drawn = now();
}

void progress_step(struct progress *p, uint64_t done, double loss, double accuracy)
{
	bool last = done == p->total || done % p->per_epoch == 0;

	if (p->in_epoch == p->per_epoch) {
		p->in_epoch = 0;
		p->loss = p->accuracy = 0;
	}
	p->done = done;
	p->in_epoch++;
	p->loss += loss;
	p->accuracy += accuracy;
	if (p->style == PROGRESS_LINES ? last : p->style == PROGRESS_BAR && (last || now() - p->drawn > REDRAW_S))
		draw(p);
}

void progress_end(struct progress *p)
{
	if (p->on_line)
		fputc('\n', stderr);
	p->on_line = false;
}

void progress_clear(struct progress *p)
{
	if (p->on_line)
		fputs("\r\033[K", stderr);
	p->on_line = false;
}
