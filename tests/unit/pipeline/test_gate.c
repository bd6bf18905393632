/* SPDX-License-Identifier: MIT */
#include "pipeline/gate.h"

#include "base/err.h"
#include "twilio/accounts.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define A "AC0000000000000000000000000000000a"
#define B "AC0000000000000000000000000000000b"
#define C "AC0000000000000000000000000000000c"
#define BASE 100

static struct gates gates;
static struct gate *a, *b, *others;

static struct gate *gate_of(const char *sid)
{
	struct sid account = {0};
	snprintf(account.text, sizeof(account.text), "%s", sid);
	return gates_find(&gates, &account);
}

/* "" among them is the one for whatever account. */
static void set_accounts(int64_t now, const char *const *sids)
{
	struct twilio_accounts *accounts = twilio_accounts_new();
	for (; *sids != NULL; sids++)
		cr_assert_eq(twilio_accounts_add(accounts, *sids, "token", NULL, NULL, NULL), 0);
	cr_assert_eq(gates_set_accounts(&gates, accounts, now), 0);
	twilio_accounts_free(&accounts);
}
#define SET_ACCOUNTS(now, ...) set_accounts((now), (const char *const[]){__VA_ARGS__, NULL})

static void nothing_waits(void)
{
	size_t room;
	struct gate *gate;
	while ((gate = gates_hungry(&gates, INT64_MAX, &room)) != NULL)
		gates_set_waiting(&gates, gate, false);
}

static void setup(void)
{
	gates_init(&gates, 8, &(struct breaker_options){.threshold = 3, .min_recordings = 1, .base_ms = BASE, .max_ms = 1000});
	SET_ACCOUNTS(0, B, A);
	a = gate_of(A);
	b = gate_of(B);
	others = gate_of(C);
	nothing_waits();
}

static void teardown(void)
{
	gates_free(&gates);
}

TestSuite(gate, .init = setup, .fini = teardown);

static enum gate_change refuse_once(struct gate *gate, int code, int64_t now)
{
	return gates_refused(&gates, gate, (struct gate_refusal){code, -1}, now, 0);
}

static void refuse(struct gate *gate, int code, int times, int64_t now)
{
	for (int i = 0; i < times; i++)
		refuse_once(gate, code, now);
}

Test(gate, each_account_has_one_and_the_unknown_share_one)
{
	cr_assert(a != b && a != others && b != others);
	cr_assert_eq(gate_of("AC0000000000000000000000000000000A"), a, "digits have no case");
	cr_assert_eq(gate_of("AC000000000000000000000000000000ff"), others);
	cr_assert_eq(gate_of(""), b, "who names no account is of the first");
	cr_assert_str_eq(gate_name(a), A);
	cr_assert_str_eq(gate_name(others), "other accounts");
}

Test(gate, refused_several_times_in_a_row_it_holds_back_its_account_alone)
{
	refuse(a, ERR_HTTP_UNAUTHORIZED, 2, 0);
	cr_assert_eq(gates_accepted(&gates, a), GATE_AS_BEFORE);
	refuse(a, ERR_HTTP_UNAUTHORIZED, 2, 0);
	cr_assert_eq(gate_verdict(a, 0), GATE_ADMITS);
	cr_assert_eq(refuse_once(a, ERR_HTTP_FORBIDDEN, 0), GATE_HELD);
	cr_assert_eq(refuse_once(a, ERR_HTTP_FORBIDDEN, 0), GATE_AS_BEFORE, "said once");
	cr_assert_eq(gate_verdict(a, 0), GATE_REFUSES);
	cr_assert_eq(a->reason, ERR_HTTP_FORBIDDEN);
	cr_assert_eq(gates.held, 1);
	cr_assert_eq(gate_verdict(b, 0), GATE_ADMITS);
	cr_assert_eq(gate_verdict(others, 0), GATE_ADMITS);
	cr_assert_eq(gates_room(&gates, 0), SIZE_MAX, "others are as free as ever");
	cr_assert_eq(gates_limit(&gates), SIZE_MAX);
}

Test(gate, held_back_it_lets_one_through_after_its_interval_and_a_success_opens_it)
{
	refuse(a, ERR_HTTP_UNAUTHORIZED, 3, 0);
	int64_t due = gates_next_probe_ms(&gates, 0);
	cr_assert(due > 0 && due <= BASE, "%lld", (long long)due);
	cr_assert_eq(gate_verdict(a, due - 1), GATE_REFUSES);
	cr_assert_eq(gate_verdict(a, due), GATE_ADMITS);
	cr_assert(breaker_start(&a->breaker, due));
	cr_assert_eq(gate_verdict(a, due), GATE_REFUSES, "one");
	cr_assert_eq(refuse_once(a, ERR_HTTP_UNAUTHORIZED, due), GATE_AS_BEFORE);
	int64_t again = gates_next_probe_ms(&gates, due);
	cr_assert_geq(again - due, BASE);
	cr_assert(breaker_start(&a->breaker, again));
	cr_assert_eq(gates_accepted(&gates, a), GATE_RELEASED);
	cr_assert_eq(gate_verdict(a, again), GATE_ADMITS);
	cr_assert_eq(gates.held, 0);
	cr_assert_eq(gates_next_probe_ms(&gates, again), INT64_MAX);
}

Test(gate, a_429_makes_its_account_slower_alone_and_holds_it_back_only_at_one_at_a_time)
{
	cr_assert_eq(refuse_once(a, ERR_HTTP_THROTTLED, 0), GATE_THROTTLED);
	cr_assert_eq(a->limit.current, 4);
	refuse(a, ERR_HTTP_THROTTLED, 20, 500);
	cr_assert_eq(gates.held, 0, "fewer at once is the answer");
	cr_assert_eq(b->limit.current, 8);
	refuse_once(a, ERR_HTTP_THROTTLED, 1000);
	refuse_once(a, ERR_HTTP_THROTTLED, 2000);
	cr_assert_eq(a->limit.current, 1);
	refuse(a, ERR_HTTP_THROTTLED, 2, 2500);
	cr_assert_eq(gates.held, 0);
	cr_assert_eq(refuse_once(a, ERR_HTTP_THROTTLED, 2500), GATE_HELD);
	cr_assert_eq(gates_accepted(&gates, a), GATE_RELEASED);
	for (int i = 0; i < 7; i++)
		gates_moved(&gates, a);
	cr_assert_eq(a->limit.current, 8);
	cr_assert_eq(gates.restricting, 0);
}

Test(gate, retry_after_is_waited_for_as_far_as_an_interval_may_be)
{
	refuse(a, ERR_HTTP_UNAUTHORIZED, 2, 0);
	gates_refused(&gates, a, (struct gate_refusal){ERR_HTTP_UNAUTHORIZED, 700}, 0, 0);
	cr_assert_eq(gates_next_probe_ms(&gates, 0), 700);
	breaker_start(&a->breaker, 700);
	gates_refused(&gates, a, (struct gate_refusal){ERR_HTTP_UNAUTHORIZED, 5000}, 700, 0);
	cr_assert_eq(gates_next_probe_ms(&gates, 700), 1700);
}

Test(gate, a_slowed_down_account_keeps_twice_its_limit_here_and_no_more)
{
	refuse_once(a, ERR_HTTP_THROTTLED, 0);
	a->queued = 9;
	a->running = 0;
	cr_assert_eq(gate_verdict(a, 0), GATE_ADMITS);
	a->running = 4;
	a->queued = 4;
	cr_assert_eq(gate_verdict(a, 0), GATE_QUEUES);
	a->queued = 5;
	cr_assert_eq(gate_verdict(a, 0), GATE_REFUSES);
	a->queued = a->running = 0;
}

Test(gate, what_waits_is_fetched_as_far_as_there_is_room_in_turn)
{
	size_t room;
	cr_assert_null(gates_hungry(&gates, 0, &room));
	gates_set_waiting(&gates, a, true);
	gates_set_waiting(&gates, b, true);
	a->running = 3;
	cr_assert_eq(gates_hungry(&gates, 0, &room), a);
	cr_assert_eq(room, 13);
	cr_assert_eq(gates_hungry(&gates, 0, &room), b, "in turn");
	cr_assert_eq(gates_hungry(&gates, 0, &room), a);
	gates_set_waiting(&gates, b, false);
	gates_set_waiting(&gates, a, false);
	refuse(a, ERR_HTTP_UNAUTHORIZED, 3, 0); /* those that were refused before wait for it, too */
	cr_assert_null(gates_hungry(&gates, 0, &room), "held back");
	cr_assert_eq(gates_hungry(&gates, BASE, &room), a);
	cr_assert_eq(room, 1, "a probe");
	a->queued = 1;
	cr_assert_null(gates_hungry(&gates, BASE, &room), "it is here already");
	a->queued = a->running = 0;
}

Test(gate, only_when_every_account_is_restricted_less_is_claimed)
{
	refuse(a, ERR_HTTP_UNAUTHORIZED, 3, 0);
	refuse_once(b, ERR_HTTP_THROTTLED, 0);
	b->running = 1;
	cr_assert_eq(gates_room(&gates, 0), 2 * 4 - 1);
	cr_assert_eq(gates_room(&gates, BASE), 2 * 4 - 1 + 1, "and the probe");
	cr_assert_eq(gates_limit(&gates), 4 + 1);
	b->running = 0;
	SET_ACCOUNTS(0, A, B, "");
	cr_assert_eq(gates_room(&gates, 0), SIZE_MAX, "whatever other account may come");
	set_accounts(0, (const char *const[]){NULL});
	cr_assert_eq(gates_room(&gates, 0), SIZE_MAX, "without a token, too");
	cr_assert_eq(gates.held, 0);
}

Test(gate, a_reload_tries_at_once_and_looks_for_what_waits)
{
	size_t room;
	refuse(a, ERR_HTTP_UNAUTHORIZED, 3, 0);
	breaker_start(&a->breaker, BASE);
	refuse(a, ERR_HTTP_UNAUTHORIZED, 1, BASE);
	nothing_waits();
	cr_assert_null(gates_hungry(&gates, BASE, &room));
	SET_ACCOUNTS(BASE, A, B);
	cr_assert_eq(gate_of(A), a, "what was learned stays");
	cr_assert_eq(gates.held, 1);
	cr_assert_eq(gate_verdict(a, BASE), GATE_ADMITS);
	nothing_waits();
	breaker_start(&a->breaker, BASE);
	refuse(a, ERR_HTTP_UNAUTHORIZED, 1, BASE);
	cr_assert_leq(gates_next_probe_ms(&gates, BASE), 2 * BASE, "and the intervals begin anew");
}

Test(gate, an_account_that_goes_takes_its_gate_along_once_its_last_job_has_ended)
{
	refuse(a, ERR_HTTP_UNAUTHORIZED, 3, 0);
	a->running = 1;
	SET_ACCOUNTS(0, B, C);
	cr_assert_eq(gates.count, 2);
	cr_assert_eq(gate_of(A), others);
	cr_assert_not(list_empty(&gates.leaving));
	refuse_once(a, ERR_HTTP_UNAUTHORIZED, 0);
	a->running = 0;
	gates_let_go(&gates, a);
	cr_assert(list_empty(&gates.leaving));
	cr_assert_eq(gates.held, 0);
	refuse(gate_of(B), ERR_HTTP_UNAUTHORIZED, 3, 0);
	refuse(gate_of(C), ERR_HTTP_UNAUTHORIZED, 3, 0);
	cr_assert_eq(gates_room(&gates, 0), 0, "counted without it");
	SET_ACCOUNTS(0, B);
	cr_assert_eq(gates.held, 1);
}

Test(gate, without_accounts_all_are_one)
{
	struct gates alone;
	size_t room;
	gates_init(&alone, 2, &(struct breaker_options){.threshold = 1, .min_recordings = 1, .base_ms = BASE, .max_ms = 1000});
	struct gate *one = gates_find(&alone, &(struct sid){A});
	cr_assert_eq(one, gates_find(&alone, &(struct sid){0}));
	cr_assert_eq(gates_hungry(&alone, 0, &room), one, "an earlier process may have left something");
	cr_assert_eq(gates_refused(&alone, one, (struct gate_refusal){ERR_HTTP_UNAUTHORIZED, -1}, 0, 0), GATE_HELD);
	cr_assert_eq(gates_room(&alone, 0), 0);
	gates_free(&alone);
}
