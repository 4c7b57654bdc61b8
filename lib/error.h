/* SPDX-License-Identifier: MIT */
/* The message that goes with a negative errno: one per thread, read with pim_strerror(). */
#ifndef PIM_LIB_ERROR_H
#define PIM_LIB_ERROR_H

/* Keeps the message, which names cause and fix, and returns err, so that "return pim_error(-EINVAL, ...)" reads as one step. */
int pim_error(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
