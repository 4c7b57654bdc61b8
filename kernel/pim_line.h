/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The line of those who wait for domains: by priority, first come first served among equals, all domains of a mask or none. Pure logic:
 * the caller locks. Also built in user space, for its tests.
 */
#ifndef PIM_LINE_H
#define PIM_LINE_H

#include <linux/list.h>
#include <linux/types.h>

/*
 * struct pim_waiter - a place in the line
 * @rank: lower is served first
 * @granted: it left the line with its domains
 */
struct pim_waiter {
	struct list_head link;
	u64 file;
	u32 mask;
	u32 rank;
	bool granted;
};

u32 pim_line_rank(u32 priority);
void pim_line_add(struct list_head *line, struct pim_waiter *w);
struct pim_waiter *pim_line_next(struct list_head *line, u32 taken);
u32 pim_line_waiting(struct list_head *line, u32 mask);

#endif
