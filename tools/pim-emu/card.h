/* SPDX-License-Identifier: MIT */
/*
 * The card model as a library: everything behind the BAR of include/pim/hw.h. Used by pim-emu (the BAR is a memfd shared with QEMU) and,
 * through libpimcard.so, by librt-pim's emu backend (the BAR is private memory).
 */
#ifndef PIM_CARD_H
#define PIM_CARD_H

#include <stddef.h>
#include <stdint.h>

#include <pim/hw.h>

#pragma GCC visibility push(default)

/** struct pim_cardfile - a card, as its text file describes it (card_file.c has the keys and their bounds) */
struct pim_cardfile {
	char name[64];
	uint32_t stacks, pcs, bank_groups, banks, banks_per_unit, rows, row_bytes, domains;
	uint32_t window_mib; /* where the PIM memory begins; rings and registers are below it too */
	uint32_t ring_entries, slots;
	uint32_t crf_words, srf_words;
	uint32_t program_limit; /* Mi unit instructions (columns) after which a program ends with PIM_HW_E_TIMEOUT */
	/* timings in tCK */
	uint32_t tck_ps, tccd_s, tccd_l, trcd, trp, tras, trfc, trefi, unit_tck, red_tck;
	uint32_t enter_tck, leave_tck; /* mode switch to PIM, back to HOST */
	/* modelled GPU */
	uint32_t gpu_gflops, gpu_conv_percent, gpu_prefetch_kib, window_mbps;
};

/* Parse a card file. On error returns -EINVAL or -errno and err holds "file:line: reason". */
int pim_cardfile_read(const char *path, struct pim_cardfile *cf, char *err, size_t errlen);

/* Bytes of BAR that the card needs: a power of two. */
uint64_t pim_card_bar_bytes(const struct pim_cardfile *cf);

/* Called by the model from its engine threads to raise an interrupt vector (enum pim_hw_engine, PIM_HW_IRQ_EVENT). */
typedef void pim_card_notify(void *ctx, unsigned int vector);

struct pim_card;

/*
 * Take the card into operation over bar (pim_card_bar_bytes() bytes, memory zero or left by a former worker, which stays as it is). Writes
 * the header, state DOWN, generation 0; the driver's RESET makes it ready. Starts one thread per engine.
 */
int pim_card_create(const struct pim_cardfile *cf, void *bar, pim_card_notify *notify, void *ctx, struct pim_card **card, char *err,
		    size_t errlen);
/* A doorbell: vector is an engine or PIM_HW_DB_CONTROL. Never blocks. */
void pim_card_doorbell(struct pim_card *card, unsigned int vector);
/* Stops the engines after the job they are in. The BAR stays the caller's. */
void pim_card_destroy(struct pim_card *card);

#pragma GCC visibility pop

#endif
