/* SPDX-License-Identifier: MIT */
/* A trainer from inside. */
#ifndef PIM_LIB_TRAINER_H
#define PIM_LIB_TRAINER_H

#include "step.h"

/* Of its training. */
const struct step *trainer_step(const struct pim_trainer *tr);

#endif
