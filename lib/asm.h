/* SPDX-License-Identifier: MIT */
/* The PIM assembler: one kernel per source text. lib/kernels/README.md has the syntax. */
#ifndef PIM_LIB_ASM_H
#define PIM_LIB_ASM_H

#include <stddef.h>
#include <stdint.h>

#include <pim/hw.h>

#define PIM_ASM_NAME 32u
#define PIM_ASM_CRF 32u /* words of the unit program: the command register file */
#define PIM_ASM_SRF 64u /* words of the base-die program */

/** struct pim_asm_kernel - an assembled kernel */
struct pim_asm_kernel {
	char name[PIM_ASM_NAME];
	uint32_t ncrf, nsrf, nstreams, nparams;
	uint32_t crf[PIM_ASM_CRF];
	uint32_t srf[PIM_ASM_SRF];
	char stream[PIM_HW_MAX_STREAMS][PIM_ASM_NAME];
	char param[PIM_HW_MAX_PARAMS][PIM_ASM_NAME];
	uint8_t access[PIM_HW_MAX_STREAMS]; /* PIM_HW_READ | PIM_HW_WRITE, from the code */
	uint8_t unit_streams; /* bit per stream that a unit instruction names: these need stripe alignment */
};

/* Assembles text; file is for messages ("file:line: reason"). Returns 0 or -EINVAL. */
int pim_asm(const char *file, const char *text, struct pim_asm_kernel *k);

/*
 * Source text of k: assembling it gives the same words and names. Returns its length, or -ENOSPC if len is too small, or -EINVAL
 * with the word that is no instruction.
 */
int pim_dis(const struct pim_asm_kernel *k, char *buf, size_t len);

/*
 * Text of one word of the unit program, or of the base-die program. Streams, parameters and targets are written as numbers. Returns
 * 0 or -EINVAL if the word means nothing.
 */
int pim_dis_unit(uint32_t word, char *buf, size_t len);
int pim_dis_base(uint32_t word, char *buf, size_t len);

#endif
