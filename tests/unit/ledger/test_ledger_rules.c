/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_rules.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(ledger_rules, every_event_in_every_state_does_what_the_table_says)
{
	/* What each event does to a recording in each state when completed was not known; afterwards nothing does anything. */
	static const struct {
		enum ledger_status status;
		enum ledger_change completed;
		enum ledger_change absent_or_failed;
	} rows[] = {
		{LEDGER_PENDING, LEDGER_CHANGE_START, LEDGER_CHANGE_END},
		{LEDGER_RUNNING, LEDGER_CHANGE_KEEP, LEDGER_CHANGE_NONE},
		{LEDGER_STORED, LEDGER_CHANGE_KEEP, LEDGER_CHANGE_NONE},
		{LEDGER_SKIPPED, LEDGER_CHANGE_KEEP, LEDGER_CHANGE_NONE},
		{LEDGER_ABSENT, LEDGER_CHANGE_START, LEDGER_CHANGE_NONE},
		{LEDGER_FAILED, LEDGER_CHANGE_START, LEDGER_CHANGE_NONE},
		{LEDGER_DEAD, LEDGER_CHANGE_START, LEDGER_CHANGE_NONE},
		{LEDGER_DELETED, LEDGER_CHANGE_KEEP, LEDGER_CHANGE_NONE},
	};
	cr_assert_eq(sizeof(rows) / sizeof(rows[0]), LEDGER_STATUS_COUNT);
	for (size_t i = 0; i < LEDGER_STATUS_COUNT; i++) {
		const char *name = ledger_status_name(rows[i].status);
		for (int event = RECORDING_UNKNOWN; event <= RECORDING_FAILED; event++) {
			bool end = event == RECORDING_ABSENT || event == RECORDING_FAILED;
			enum ledger_change expected = event == RECORDING_COMPLETED ? rows[i].completed
						      : end                        ? rows[i].absent_or_failed
										   : LEDGER_CHANGE_NONE;
			cr_expect_eq(ledger_rule_event(rows[i].status, false, false, (enum recording_status)event), expected,
				     "%s, event %d", name, event);
			cr_expect_eq(ledger_rule_event(rows[i].status, false, true, (enum recording_status)event),
				     end ? LEDGER_CHANGE_NONE : expected, "%s with an object, event %d", name, event);
			cr_expect_eq(ledger_rule_event(rows[i].status, true, false, (enum recording_status)event),
				     LEDGER_CHANGE_NONE, "%s, event %d", name, event);
		}
	}
}

Test(ledger_rules, the_first_word_about_a_recording_makes_its_row)
{
	cr_expect_eq(ledger_rule_first(RECORDING_COMPLETED), LEDGER_PENDING);
	cr_expect_eq(ledger_rule_first(RECORDING_IN_PROGRESS), LEDGER_PENDING);
	cr_expect_eq(ledger_rule_first(RECORDING_UNKNOWN), LEDGER_PENDING);
	cr_expect_eq(ledger_rule_first(RECORDING_ABSENT), LEDGER_ABSENT);
	cr_expect_eq(ledger_rule_first(RECORDING_FAILED), LEDGER_FAILED);
}

Test(ledger_rules, status_names_and_their_reading_agree)
{
	for (int i = 0; i < LEDGER_STATUS_COUNT; i++) {
		enum ledger_status status = LEDGER_STATUS_COUNT;
		cr_expect(ledger_status_parse(slice_from_cstr(ledger_status_name((enum ledger_status)i)), &status));
		cr_expect_eq((int)status, i);
	}
	enum ledger_status status;
	cr_expect_not(ledger_status_parse(SLICE("Stored"), &status));
	cr_expect_not(ledger_status_parse(SLICE(""), &status));
	for (int i = 0; i < CALL_STATUS_COUNT; i++)
		cr_expect_eq((int)call_status_from_name(call_status_name((enum call_status)i)), i);
}

Test(ledger_rules, a_status_callback_counts_when_its_word_is_known)
{
	static const char *const known[] = {"queued",    "initiated", "ringing",   "in-progress", "answered",
					    "completed", "busy",      "no-answer", "failed",      "canceled"};
	static const char *const strangers[] = {"", "Completed", "complete", "parked", "in_progress", "completed "};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct event event = {.kind = EVENT_CALL_STATUS};
		snprintf(event.call_status, sizeof(event.call_status), "%s", known[i]);
		cr_expect_not(ledger_rule_call_ignored(&event), "%s", known[i]);
	}
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		struct event event = {.kind = EVENT_CALL_STATUS};
		snprintf(event.call_status, sizeof(event.call_status), "%s", strangers[i]);
		cr_expect(ledger_rule_call_ignored(&event), "%s", strangers[i]);
		event.kind = EVENT_CALL_INCOMING;
		cr_expect_not(ledger_rule_call_ignored(&event), "who calls is there");
		event.kind = EVENT_RECORDING;
		cr_expect_not(ledger_rule_call_ignored(&event));
		cr_expect_eq(call_status_from_twilio(strangers[i]), CALL_RINGING);
	}
}

Test(ledger_rules, the_duration_of_an_end_counts)
{
	for (int now = 0; now < CALL_STATUS_COUNT; now++) {
		for (int said = 0; said < CALL_STATUS_COUNT; said++) {
			bool expected = now < CALL_COMPLETED ? said > now : said == now;
			cr_expect_eq(ledger_rule_duration_wins((enum call_status)now, (enum call_status)said), expected, "%d, %d",
				     now, said);
		}
	}
}

Test(ledger_rules, what_an_event_says)
{
	static const struct {
		enum recording_status status;
		int64_t error;
		const char *words;
	} rows[] = {
		{RECORDING_COMPLETED, 0, "completed"},
		{RECORDING_IN_PROGRESS, 0, "in-progress"},
		{RECORDING_ABSENT, 0, "absent at Twilio"},
		{RECORDING_FAILED, 0, "failed at Twilio"},
		{RECORDING_ABSENT, 16101, "absent at Twilio, error 16101: shorter than the least that Twilio keeps"},
		{RECORDING_FAILED, 7, "failed at Twilio, error 7, see https://www.twilio.com/docs/api/errors/7"},
		{RECORDING_UNKNOWN, 7, "unknown status \"processing\""},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char space[LEDGER_DESCRIPTION_SIZE];
		char detail[LEDGER_DESCRIPTION_SIZE];
		struct event event = {.kind = EVENT_RECORDING,
				      .status = rows[i].status,
				      .error_code = rows[i].error,
				      .params = SLICE("RecordingStatus=processing")};
		cr_expect_str_eq(ledger_event_words(&event, space), rows[i].words);
		cr_expect_str_eq(ledger_describe_event(&event, space), rows[i].words);
		snprintf(event.unknown, sizeof(event.unknown), "A=1, B=2");
		snprintf(detail, sizeof(detail), "%s; also sent: A=1, B=2", rows[i].words);
		cr_expect_str_eq(ledger_event_words(&event, space), rows[i].words);
		cr_expect_str_eq(ledger_describe_event(&event, space), detail);
	}
}

Test(ledger_rules, the_longest_description_is_whole)
{
	static const int64_t codes[] = {16101, 16102, 16104, 16105, 16106, 16107, 16111, 16112, INT32_MAX};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		char space[LEDGER_DESCRIPTION_SIZE];
		struct event event = {.kind = EVENT_RECORDING, .status = RECORDING_ABSENT, .error_code = codes[i]};
		memset(event.unknown, 'x', sizeof(event.unknown) - 1);
		const char *text = ledger_describe_event(&event, space);
		cr_expect_str_eq(strstr(text, "; also sent: ") + 13, event.unknown, "%lld: cut", (long long)codes[i]);
	}
}

Test(ledger_rules, a_call_advances_only_to_a_later_stage_and_its_ends_are_equal)
{
	for (int from = 0; from < CALL_STATUS_COUNT; from++) {
		for (int to = 0; to < CALL_STATUS_COUNT; to++) {
			bool expected = to > from && from < CALL_COMPLETED;
			cr_expect_eq(call_status_advances((enum call_status)from, (enum call_status)to), expected, "%d to %d",
				     from, to);
		}
	}
}
