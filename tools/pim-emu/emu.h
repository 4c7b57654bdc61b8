/* SPDX-License-Identifier: MIT */
/* The pim-emu process: a supervisor that keeps the card's memory and eventfds, and a worker that is the card. */
#ifndef PIM_EMU_H
#define PIM_EMU_H

#include <stdbool.h>
#include <stdint.h>

#include "card.h"

/** struct emu - what outlives a worker */
struct emu {
	struct pim_cardfile card;
	const char *cardfile;
	uint64_t bar_bytes;
	int memfd;
	int doorbell[PIM_HW_VECTORS]; /* guest -> card */
	int irq[PIM_HW_VECTORS]; /* card -> guest */
	bool verbose;
};

void emu_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Memory and eventfds. Errors are printed; negative errno. */
int emu_setup(struct emu *emu);

/* Listen on path; takes over a socket file that nobody listens on any more. Prints errors; the descriptor or negative errno. */
int emu_listen(const char *path);
/* Hand the card to the QEMU at the other end of sock. Negative errno. */
int emu_introduce(const struct emu *emu, int sock);

/* Be the card until killed; restarted says that a former worker died. Returns the exit status. */
int emu_worker(const struct emu *emu, bool restarted);

/**
 * struct emu_service - how to supervise
 * @listener: listening socket, or -1
 * @client: connected QEMU, or -1
 * @once: end when QEMU disconnects
 * @restarts: how often a worker that died is started again
 */
struct emu_service {
	int listener, client;
	bool once;
	unsigned int restarts;
	const char *path;
};

/* Runs until told to end. Returns the exit status. */
int emu_supervise(const struct emu *emu, struct emu_service *svc);

#endif
