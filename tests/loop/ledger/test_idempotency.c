/* SPDX-License-Identifier: MIT */
/* What every idempotency filter does while nothing goes wrong. */
#include "idempotency_factory.h"
#include "ledger_support.h"

#include <stdlib.h>

static struct idempotency *filter;
static struct idempotency_question question;

static void open_filter(void)
{
	cr_assert_eq(uv_loop_init(&loop), 0);
	filter = idempotency_factory_open(&loop);
	cr_assert_not_null(filter);
}

static void close_filter(void)
{
	bool closed = false;
	idempotency_close(filter, flag_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect(closed);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(idempotency, .init = open_filter, .fini = close_filter);

static enum idempotency_answer ask(unsigned n, enum recording_status status)
{
	struct sid sid = make_sid("RE", n);
	idempotency_ask(filter, &question, &sid, status);
	while (question.pending != NULL)
		cr_assert(turn_run(&loop) != 0);
	enum idempotency_answer answer = question.answer;
	idempotency_forget(&question);
	return answer;
}

static void set_seen(unsigned n, enum recording_status status)
{
	struct sid sid = make_sid("RE", n);
	idempotency_set_seen(filter, &sid, status);
}

static void set_archived(unsigned n, const char *url)
{
	struct sid sid = make_sid("RE", n);
	idempotency_set_archived(filter, &sid, url);
}

static void clear(unsigned n)
{
	struct sid sid = make_sid("RE", n);
	idempotency_clear(filter, &sid);
}

Test(idempotency, seen_is_by_status_and_archived_answers_for_all)
{
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_UNKNOWN);
	set_seen(1, RECORDING_IN_PROGRESS);
	cr_expect_eq(ask(1, RECORDING_IN_PROGRESS), IDEMPOTENCY_SEEN);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_UNKNOWN, "a later status is news");
	set_seen(1, RECORDING_COMPLETED);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_SEEN);
	set_archived(1, "file:///a.wav");
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
	cr_expect_str_eq(question.url, "file:///a.wav");
	cr_expect_eq(ask(1, RECORDING_ABSENT), IDEMPOTENCY_ARCHIVED);
	cr_expect_eq(ask(2, RECORDING_COMPLETED), IDEMPOTENCY_UNKNOWN);
	cr_expect_str_eq(question.url, "");
}

Test(idempotency, seen_again_does_not_take_the_url_away)
{
	set_archived(1, "file:///a.wav");
	set_seen(1, RECORDING_COMPLETED);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
	set_archived(1, "https://s3.example.com/b/a.wav");
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
	cr_expect_str_eq(question.url, "https://s3.example.com/b/a.wav");
}

Test(idempotency, a_cleared_one_is_unknown_in_every_status)
{
	static const enum recording_status all[] = {RECORDING_IN_PROGRESS, RECORDING_COMPLETED, RECORDING_ABSENT,
						    RECORDING_FAILED};
	for (unsigned i = 0; i < 4; i++)
		set_seen(1, all[i]);
	set_archived(1, "file:///a.wav");
	set_seen(2, RECORDING_COMPLETED);
	clear(1);
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(ask(1, all[i]), IDEMPOTENCY_UNKNOWN);
	cr_expect_eq(ask(2, RECORDING_COMPLETED), IDEMPOTENCY_SEEN);
	set_archived(1, "file:///b.wav");
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
}

Test(idempotency, words_that_nobody_knows_are_never_taken_for_each_other)
{
	set_seen(1, RECORDING_UNKNOWN);
	cr_expect_eq(ask(1, RECORDING_UNKNOWN), IDEMPOTENCY_UNKNOWN);
}

Test(idempotency, a_sid_in_other_letters_is_the_same)
{
	struct sid lower = {"REabcdef0123456789abcdef0123456789"};
	struct sid upper = {"REABCDEF0123456789ABCDEF0123456789"};
	idempotency_set_seen(filter, &lower, RECORDING_COMPLETED);
	idempotency_ask(filter, &question, &upper, RECORDING_COMPLETED);
	while (question.pending != NULL)
		cr_assert(turn_run(&loop) != 0);
	cr_expect_eq(question.answer, IDEMPOTENCY_SEEN);
}

Test(idempotency, a_url_that_is_too_long_is_not_cut_but_left_out)
{
	char url[IDEMPOTENCY_URL_SIZE + 8];
	memset(url, 'x', sizeof(url));
	memcpy(url, "file:///", 8);
	url[IDEMPOTENCY_URL_SIZE] = '\0';
	set_archived(1, url);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_SEEN);
	url[IDEMPOTENCY_URL_SIZE - 1] = '\0';
	set_archived(1, url);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
	cr_expect_str_eq(question.url, url);
}

Test(idempotency, many_in_one_turn)
{
	enum { COUNT = 512 };
	static struct idempotency_question questions[COUNT];
	bool waiting = true;
	for (unsigned n = 0; n < COUNT; n++)
		set_seen(n, n % 2 == 0 ? RECORDING_COMPLETED : RECORDING_ABSENT);
	for (unsigned n = 0; n < COUNT; n++) {
		struct sid sid = make_sid("RE", n);
		idempotency_ask(filter, &questions[n], &sid, RECORDING_COMPLETED);
	}
	while (waiting) {
		waiting = false;
		for (unsigned n = 0; n < COUNT; n++)
			waiting |= questions[n].pending != NULL;
		if (waiting)
			cr_assert(turn_run(&loop) != 0);
	}
	for (unsigned n = 0; n < COUNT; n++)
		cr_expect_eq(questions[n].answer, n % 2 == 0 ? IDEMPOTENCY_SEEN : IDEMPOTENCY_UNKNOWN);
}
