/* SPDX-License-Identifier: MIT */
#include "base/soon.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS 6

struct named_item {
	struct soon_item item;
	char name;
	int again; /* how often it adds itself */
	struct named_item *cancels;
	bool closes;
};

static struct {
	uv_loop_t loop;
	struct soon *soon;              /* freed by the close callback, so that the sanitizer sees who comes too late */
	struct named_item items[ITEMS]; /* a, b, c… */
	char ran[64];
	unsigned closed;
} f;

static void on_closed(uv_handle_t *handle)
{
	cr_assert_eq(handle->data, &f);
	cr_assert_eq((void *)handle, &f.soon->idle);
	free(f.soon);
	f.closed++;
}

static void run(struct soon_item *item)
{
	struct named_item *named = CONTAINER_OF(item, struct named_item, item);
	size_t len = strlen(f.ran);

	cr_assert_lt(len + 1, sizeof(f.ran));
	f.ran[len] = named->name;
	if (named->again-- > 0)
		soon_add(f.soon, item);
	if (named->cancels != NULL)
		soon_cancel(&named->cancels->item);
	if (named->closes)
		soon_close(f.soon, on_closed);
}

static void init(void)
{
	cr_assert_eq(uv_loop_init(&f.loop), 0);
	f.soon = malloc(sizeof(*f.soon));
	cr_assert_not_null(f.soon);
	soon_init(f.soon, &f.loop);
	f.soon->idle.data = &f;
	for (int i = 0; i < ITEMS; i++) {
		f.items[i].name = (char)('a' + i);
		soon_item_init(&f.items[i].item, run);
	}
}

static void turn(void)
{
	uv_run(&f.loop, UV_RUN_NOWAIT);
}

/* Runs until nothing waits. */
static void finish(void)
{
	uv_run(&f.loop, UV_RUN_DEFAULT);
}

static void fini(void)
{
	if (f.closed == 0)
		soon_close(f.soon, on_closed);
	finish();
	cr_assert_eq(f.closed, 1);
	cr_assert_eq(uv_loop_close(&f.loop), 0);
}

TestSuite(soon, .init = init, .fini = fini);

Test(soon, runs_from_the_loop_in_order_and_once)
{
	for (int i = 0; i < 3; i++)
		soon_add(f.soon, &f.items[2 - i].item);
	soon_add(f.soon, &f.items[2].item); /* waits already */
	cr_assert_str_eq(f.ran, "");
	turn();
	cr_assert_str_eq(f.ran, "cba");
	finish();
	cr_assert_str_eq(f.ran, "cba");
	soon_add(f.soon, &f.items[0].item);
	finish();
	cr_assert_str_eq(f.ran, "cbaa");
}

Test(soon, keeps_the_loop_alive_only_while_something_waits)
{
	cr_assert_not(uv_loop_alive(&f.loop));
	soon_add(f.soon, &f.items[0].item);
	cr_assert(uv_loop_alive(&f.loop));
	turn();
	cr_assert_not(uv_loop_alive(&f.loop));
	soon_add_after(f.soon, &f.items[0].item, 1);
	cr_assert(uv_loop_alive(&f.loop));
	finish();
	cr_assert_str_eq(f.ran, "aa");
}

Test(soon, what_is_added_while_items_run_is_for_the_next_turn)
{
	f.items[0].again = 2;
	soon_add(f.soon, &f.items[0].item);
	soon_add(f.soon, &f.items[1].item);
	turn();
	cr_assert_str_eq(f.ran, "ab");
	turn();
	cr_assert_str_eq(f.ran, "aba");
	finish();
	cr_assert_str_eq(f.ran, "abaa");
}

Test(soon, a_cancelled_item_does_not_run)
{
	soon_add(f.soon, &f.items[0].item);
	soon_add_after(f.soon, &f.items[1].item, 1);
	soon_add(f.soon, &f.items[2].item);
	soon_cancel(&f.items[0].item);
	soon_cancel(&f.items[1].item);
	soon_cancel(&f.items[3].item); /* does not wait */
	finish();
	cr_assert_str_eq(f.ran, "c");
}

Test(soon, an_item_may_cancel_one_that_is_about_to_run)
{
	f.items[0].cancels = &f.items[1];
	for (int i = 0; i < 3; i++)
		soon_add(f.soon, &f.items[i].item);
	turn();
	cr_assert_str_eq(f.ran, "ac");
}

Test(soon, delayed_items_run_by_when_they_are_due)
{
	uv_update_time(&f.loop);
	uint64_t start = uv_now(&f.loop);
	soon_add_after(f.soon, &f.items[0].item, 30);
	soon_add_after(f.soon, &f.items[1].item, 10);
	soon_add_after(f.soon, &f.items[2].item, 30);
	soon_add_after(f.soon, &f.items[3].item, 0);
	soon_add_after(f.soon, &f.items[4].item, 20);
	soon_add_after(f.soon, &f.items[0].item, 1); /* waits already */
	finish();
	cr_assert_str_eq(f.ran, "dbeac");
	cr_assert_geq(uv_now(&f.loop), start + 30);
}

Test(soon, cancelling_the_first_delayed_item_leaves_the_others)
{
	soon_add_after(f.soon, &f.items[0].item, 1);
	soon_add_after(f.soon, &f.items[1].item, 5);
	soon_cancel(&f.items[0].item);
	finish();
	cr_assert_str_eq(f.ran, "b");
}

Test(soon, closing_forgets_what_waits)
{
	soon_add(f.soon, &f.items[0].item);
	soon_add_after(f.soon, &f.items[1].item, 1);
	soon_close(f.soon, on_closed);
	cr_assert_eq(f.closed, 0);
	finish();
	cr_assert_str_eq(f.ran, "");
	cr_assert_eq(f.closed, 1);
	/* they lie in no list that goes with its owner */
	cr_assert(list_empty(&f.items[0].item.link) && list_empty(&f.items[1].item.link));
}

Test(soon, an_item_may_close)
{
	f.items[1].closes = true;
	for (int i = 0; i < 3; i++)
		soon_add(f.soon, &f.items[i].item);
	finish();
	cr_assert_str_eq(f.ran, "ab");
}

Test(soon, a_delayed_item_may_close)
{
	f.items[0].closes = true;
	soon_add_after(f.soon, &f.items[0].item, 1);
	soon_add_after(f.soon, &f.items[1].item, 1);
	finish();
	cr_assert_str_eq(f.ran, "a");
}
