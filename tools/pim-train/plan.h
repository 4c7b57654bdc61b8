/* SPDX-License-Identifier: MIT */
#ifndef PIM_TRAIN_PLAN_H
#define PIM_TRAIN_PLAN_H

#include <stdbool.h>

#include <pim/train.h>

/* The plan of a trainer on standard output, as a table or as JSON. 0, or 1 after a message. */
int plan_print(const struct pim_trainer *tr, bool json);

#endif
