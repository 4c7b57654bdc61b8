// SPDX-License-Identifier: MIT
#include <string.h>

#include "kernel.h"

/* Written by pimas from lib/kernels/: KERNEL_IMAGE and KERNEL_TABLE. */
#include "kernels.h"

const uint32_t pim_kernel_image[] = {KERNEL_IMAGE};
const size_t pim_kernel_image_bytes = sizeof(pim_kernel_image);

const struct pim_kernel pim_kernels[] = {KERNEL_TABLE};
const size_t pim_nkernels = sizeof(pim_kernels) / sizeof(pim_kernels[0]);

const struct pim_kernel *pim_kernel_find(const char *name)
{
	for (size_t i = 0; i < pim_nkernels; i++)
		if (!strcmp(pim_kernels[i].name, name))
			return &pim_kernels[i];
	return NULL;
}
