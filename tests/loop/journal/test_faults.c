/* SPDX-License-Identifier: MIT */
/*
 * One short life of a journal, again and again, with the Nth call into the file system failing: once, or from there on until the client
 * has seen it. Whatever fails: no crash, one callback per append, what was acknowledged is there after a clean restart, and the journal
 * takes events again without one.
 */
#include "fixture.h"

#define EVENTS 60

static struct fixture f;
static struct event events[EVENTS + 1];

TestSuite(faults, .timeout = 110);

static bool append_when_possible(unsigned n)
{
	return event_append(&f, &events[n], n, 400) == 0;
}

/* Appends, forwards, fills segments, closes. False when the journal could not even be opened. */
static bool live(void)
{
	if (fixture_open(&f) != 0)
		return false;
	for (unsigned n = 0; n < EVENTS; n++) {
		if (!append_when_possible(n)) {
			/* A refusal is an answer, too: the client would try again. */
			memset(&events[n], 0, sizeof(events[n]));
			events[n].calls = 1;
			events[n].status = ERR_NO_SPACE;
		}
		if (n % 7 == 6)
			RUN_UNTIL(&f, stats_of(&f).pending_bytes == 0);
		if (n != EVENTS / 2)
			continue;
		struct reading reading;
		reading_run(&f, &reading, 0, 10, 100000);
		journal_read_release(&reading.read);
	}
	for (unsigned n = 0; n < EVENTS; n++)
		RUN_UNTIL(&f, events[n].calls > 0);
	return true;
}

static void check_nothing_lost(void)
{
	unsigned seen[EVENTS + 1] = {0};
	OPEN(&f);
	read_all(&f, 0, seen, EVENTS + 1);
	for (unsigned n = 0; n < EVENTS; n++) {
		cr_assert_eq(events[n].calls, 1);
		cr_assert_leq(seen[n], 1);
		if (events[n].status == 0)
			cr_assert_eq(seen[n], 1, "event %u was acknowledged and is lost", n);
	}
	RUN_UNTIL(&f, append_when_possible(EVENTS));
	RUN_UNTIL(&f, events[EVENTS].calls == 1);
	cr_assert_eq(events[EVENTS].status, 0);
	fixture_close(&f);
}

/* Returns the number of calls that this life made. */
static unsigned live_with_fault(unsigned skip, unsigned times, int error)
{
	fixture_init(&f);
	memset(events, 0, sizeof(events));
	f.faults.any = true;
	f.faults.skip = skip;
	f.faults.times = times;
	f.faults.result = error;
	bool opened = live();
	unsigned calls = f.faults.total;
	fault_clear(&f);
	if (opened) {
		RUN_UNTIL(&f, stats_of(&f).accepting);
		fixture_close(&f);
		check_nothing_lost();
	} else {
		cr_assert_neq(f.error.code, 0);
		cr_assert_neq(f.error.detail[0], '\0');
		OPEN(&f);
		fixture_close(&f);
	}
	fixture_end(&f);
	return calls;
}

static void every_call_fails(unsigned times, int error, unsigned step)
{
	unsigned calls = live_with_fault(0, 0, 0);
	cr_assert_gt(calls, 40);
	for (unsigned skip = 0; skip < calls; skip += step)
		live_with_fault(skip, times, error);
}

Test(faults, every_call_fails_once_with_an_input_output_error)
{
	every_call_fails(1, EIO, 1);
}

Test(faults, every_call_fails_once_for_want_of_space)
{
	every_call_fails(1, ENOSPC, 1);
}

Test(faults, every_call_and_the_nine_after_it_fail)
{
	every_call_fails(10, EIO, 4);
}

Test(faults, every_transfer_is_short)
{
	live_with_fault(0, 1000000, -5);
}
