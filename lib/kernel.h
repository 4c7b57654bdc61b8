/* SPDX-License-Identifier: MIT */
/* The PIM kernels (lib/kernels/): their code as one image, and what a job must bind to run one. */
#ifndef PIM_LIB_KERNEL_H
#define PIM_LIB_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include <pim/hw.h>

/** struct pim_kernel - one kernel; lib/kernels/NAME.pim has its mathematics */
struct pim_kernel {
	const char *name;
	uint32_t offset; /* bytes into the image: its unit program, then its base-die program */
	uint32_t ncrf, nsrf; /* words of each */
	uint32_t nstreams, nparams;
	uint8_t access[PIM_HW_MAX_STREAMS]; /* PIM_HW_READ | PIM_HW_WRITE of each stream, as its code does */
	uint8_t unit_streams; /* bit per stream that the units touch: stripe alignment; the others 64 bytes */
	const char *stream[PIM_HW_MAX_STREAMS];
	const char *param[PIM_HW_MAX_PARAMS];
};

extern const struct pim_kernel pim_kernels[];
extern const size_t pim_nkernels;

/* The code of all kernels; a copy of it in one buffer serves every job. */
extern const uint32_t pim_kernel_image[];
extern const size_t pim_kernel_image_bytes;

/* NULL if there is none of this name. */
const struct pim_kernel *pim_kernel_find(const char *name);

#endif
