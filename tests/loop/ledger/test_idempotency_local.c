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
	/* The kernel's figure is off by some pages of each thread, both ways. */
	cr_expect_lt(resident_bytes(), before + 1024 * 1024);
	for (unsigned n = 0; n < 4 * ENTRIES; n++) {
		snprintf(url, sizeof(url), "https://s3.example.com/bucket/recordings/2023/11/14/CA%032x/RE%032x.wav", n, n);
		set_archived(n, url);
	}
	cr_expect_lt(resident_bytes(), before + 16 * 1024 * 1024);
	close_filter();
}
#endif
