/* SPDX-License-Identifier: MIT */
#include "ledger/idempotency.h"
#include "ledger_support.h"

#include <stdlib.h>
#include <unistd.h>

static struct idempotency *filter;

static void open_filter(size_t entries)
{
	cr_assert_eq(uv_loop_init(&loop), 0);
	filter = idempotency_local_new(&loop, entries);
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

static struct idempotency_question question;

static enum idempotency_answer ask(unsigned n, enum recording_status status)
{
	struct sid sid = make_sid("RE", n);
	idempotency_ask(filter, &question, &sid, status);
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

Test(idempotency_local, seen_is_by_status_and_archived_answers_for_all)
{
	open_filter(1024);
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
	struct sid sid = make_sid("RE", 1);
	idempotency_clear(filter, &sid);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_UNKNOWN);
	close_filter();
}

Test(idempotency_local, words_that_nobody_knows_are_never_taken_for_each_other)
{
	open_filter(16);
	set_seen(1, RECORDING_UNKNOWN);
	cr_expect_eq(ask(1, RECORDING_UNKNOWN), IDEMPOTENCY_UNKNOWN);
	close_filter();
}

Test(idempotency_local, a_url_that_is_too_long_is_not_cut_but_left_out)
{
	char url[IDEMPOTENCY_URL_SIZE + 8];
	memset(url, 'x', sizeof(url));
	open_filter(16);
	url[IDEMPOTENCY_URL_SIZE] = '\0';
	set_archived(1, url);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_SEEN);
	url[IDEMPOTENCY_URL_SIZE - 1] = '\0';
	set_archived(1, url);
	cr_expect_eq(ask(1, RECORDING_COMPLETED), IDEMPOTENCY_ARCHIVED);
	cr_expect_str_eq(question.url, url);
	close_filter();
}

/* Overfills the table many times over with URLs of changing length; whatever it still answers must be right. */
Test(idempotency_local, overfilled_it_forgets_but_never_answers_wrong)
{
	enum { ENTRIES = 256, COUNT = 20000 };
	char url[IDEMPOTENCY_URL_SIZE];
	size_t archived = 0;
	open_filter(ENTRIES);
	for (unsigned n = 0; n < COUNT; n++) {
		snprintf(url, sizeof(url), "file:///%u/%0*u.wav", n, (int)(n * 7 % 600), n);
		set_archived(n, url);
		for (unsigned back = 0; back < 300; back += 37) {
			if (back > n || ask(n - back, RECORDING_COMPLETED) != IDEMPOTENCY_ARCHIVED)
				continue;
			archived++;
			snprintf(url, sizeof(url), "file:///%u/%0*u.wav", n - back, (int)((n - back) * 7 % 600), n - back);
			cr_assert_str_eq(question.url, url);
		}
	}
	cr_expect_gt(archived, COUNT, "it remembers at least the last one each time");
	close_filter();
}

Test(idempotency_local, what_is_asked_for_stays_longer)
{
	open_filter(64);
	size_t kept = 0;
	for (unsigned round = 0; round < 200; round++) {
		set_seen(1, RECORDING_COMPLETED);
		for (unsigned n = 0; n < 200; n++) {
			set_seen(1000 + round * 200 + n, RECORDING_COMPLETED);
			ask(1, RECORDING_COMPLETED);
		}
		kept += ask(1, RECORDING_COMPLETED) == IDEMPOTENCY_SEEN;
	}
	cr_expect_gt(kept, 150, "kept %zu of 200 rounds", kept);
	close_filter();
}

#ifndef __SANITIZE_ADDRESS__
static size_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");
	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(idempotency_local, memory_is_next_to_nothing_when_empty_and_bounded_when_full)
{
	enum { ENTRIES = 65536 };
	char url[IDEMPOTENCY_URL_SIZE];
	size_t before = resident_bytes();
	open_filter(ENTRIES);
	cr_expect_lt(resident_bytes() - before, 256 * 1024);
	for (unsigned n = 0; n < 4 * ENTRIES; n++) {
		snprintf(url, sizeof(url), "https://s3.example.com/bucket/recordings/2023/11/14/CA%032x/RE%032x.wav", n, n);
		set_archived(n, url);
	}
	cr_expect_lt(resident_bytes() - before, 16 * 1024 * 1024);
	close_filter();
}
#endif
