// SPDX-License-Identifier: GPL-2.0-only
#include <drm/pim_drm.h>

#include "pim_line.h"

/* Place of each enum drm_pim_priority in the order of service. */
u32 pim_line_rank(u32 priority)
{
	static const u32 rank[] = {
		[DRM_PIM_PRIORITY_HIGH] = 0,
		[DRM_PIM_PRIORITY_NORMAL] = 1,
		[DRM_PIM_PRIORITY_LOW] = 2,
	};

	return rank[priority];
}

void pim_line_add(struct list_head *line, struct pim_waiter *w)
{
	struct pim_waiter *before;

	list_for_each_entry_reverse(before, line, link) {
		if (before->rank <= w->rank) {
			list_add(&w->link, &before->link);
			return;
		}
	}
	list_add(&w->link, line);
}

/*
 * Take the first waiter out of the line that can have all its domains. One that must wait keeps its domains from those behind it, or a
 * wide mask would never be served; so nobody waits for two domains while holding one of them, and claims cannot deadlock.
 */
struct pim_waiter *pim_line_next(struct list_head *line, u32 taken)
{
	struct pim_waiter *w;

	list_for_each_entry(w, line, link) {
		if (!(w->mask & taken)) {
			list_del_init(&w->link);
			w->granted = true;
			return w;
		}
		taken |= w->mask;
	}
	return NULL;
}

/* How many wait for any of these domains? */
u32 pim_line_waiting(struct list_head *line, u32 mask)
{
	struct pim_waiter *w;
	u32 n = 0;

	list_for_each_entry(w, line, link)
		n += !!(w->mask & mask);
	return n;
}
