/* SPDX-License-Identifier: MIT */
/* The kernel's log, as it is written: does it say what tests/kernel-trouble says it must not? */
#ifndef KMSG_H
#define KMSG_H

int kmsg_open(void); /* from now on */
int kmsg_trouble(int fd); /* how many bad lines since the last call; they are printed as TAP comments */

#endif
