/* SPDX-License-Identifier: MIT */
#include "base/list.h"

#include <criterion/criterion.h>

struct item {
	int number;
	struct list link;
};

static int take_number(struct list *head)
{
	struct list *link = list_take(head);
	return link == NULL ? -1 : LIST_ENTRY(link, struct item, link)->number;
}

Test(list, takes_in_the_order_of_appending)
{
	struct list head;
	struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
	list_init(&head);
	cr_assert(list_empty(&head));
	cr_assert_null(list_first(&head));
	for (int i = 0; i < 3; i++)
		list_append(&head, &items[i].link);
	cr_assert_eq(list_first(&head), &items[0].link);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(take_number(&head), i);
	cr_assert_eq(take_number(&head), -1);
}

Test(list, removing_twice_is_harmless)
{
	struct list head;
	struct item items[2] = {{.number = 0}, {.number = 1}};
	list_init(&head);
	list_append(&head, &items[0].link);
	list_append(&head, &items[1].link);
	list_remove(&items[0].link);
	list_remove(&items[0].link);
	cr_assert_eq(take_number(&head), 1);
	cr_assert(list_empty(&head));
}

Test(list, move_empties_the_source_so_that_it_can_be_filled_meanwhile)
{
	struct list from, to;
	struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
	list_init(&from);
	list_move(&to, &from);
	cr_assert(list_empty(&to));
	list_append(&from, &items[0].link);
	list_append(&from, &items[1].link);
	list_move(&to, &from);
	list_append(&from, &items[2].link);
	cr_assert_eq(take_number(&to), 0);
	cr_assert_eq(take_number(&to), 1);
	cr_assert_eq(take_number(&to), -1);
	cr_assert_eq(take_number(&from), 2);
}
