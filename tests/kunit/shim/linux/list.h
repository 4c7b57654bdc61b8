/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PIM_SHIM_LINUX_LIST_H
#define PIM_SHIM_LINUX_LIST_H

#include <linux/types.h>

#define list_entry(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define list_for_each_entry_to_(pos, head, member, to)                                                                             \
	for ((pos) = list_entry((head)->to, __typeof__(*(pos)), member); &(pos)->member != (head);                                 \
	     (pos) = list_entry((pos)->member.to, __typeof__(*(pos)), member))
#define list_for_each_entry(pos, head, member) list_for_each_entry_to_(pos, head, member, next)
#define list_for_each_entry_reverse(pos, head, member) list_for_each_entry_to_(pos, head, member, prev)

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void list_add(struct list_head *entry, struct list_head *after)
{
	entry->prev = after;
	entry->next = after->next;
	after->next->prev = entry;
	after->next = entry;
}

static inline void list_del_init(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	INIT_LIST_HEAD(entry);
}

#endif
