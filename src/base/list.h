/* SPDX-License-Identifier: MIT */
/* Intrusive doubly linked list. A link that is in no list points to itself, so list_remove is safe twice. */
#ifndef REELD_BASE_LIST_H
#define REELD_BASE_LIST_H

#include "base/check.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev;
	struct list *next;
};

#define LIST_ENTRY(link, type, member) CONTAINER_OF(link, type, member)

static inline void list_init(struct list *head)
{
	head->prev = head;
	head->next = head;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_append(struct list *head, struct list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* First link, or NULL. */
static inline struct list *list_first(const struct list *head)
{
	return list_empty(head) ? NULL : head->next;
}

/* Removes and returns the first link, or NULL. */
static inline struct list *list_take(struct list *head)
{
	struct list *link = list_first(head);
	if (link != NULL) {
		head->next = link->next;
		head->next->prev = head;
		list_init(link);
	}
	return link;
}

/* Moves every link of `from` to `to` (initialised here); `from` is left empty. For firing callbacks that may touch `from`. */
static inline void list_move(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	to->next = from->next;
	to->prev = from->prev;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

#endif
