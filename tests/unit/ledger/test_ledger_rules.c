/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_rules.h"

#include <criterion/criterion.h>

Test(ledger_rules, every_event_in_every_state_does_what_the_table_says)
{
	/* What each event does to a recording in each state when completed was not known; afterwards nothing does anything. */
	static const struct {
		enum ledger_status status;
		enum ledger_change completed;
		enum ledger_change absent_or_failed;
	} rows[] = {
		{LEDGER_PENDING, LEDGER_CHANGE_START, LEDGER_CHANGE_END},
		{LEDGER_RUNNING, LEDGER_CHANGE_NONE, LEDGER_CHANGE_NONE},
		{LEDGER_STORED, LEDGER_CHANGE_NONE, LEDGER_CHANGE_NONE},
		{LEDGER_SKIPPED, LEDGER_CHANGE_NONE, LEDGER_CHANGE_NONE},
		{LEDGER_ABSENT, LEDGER_CHANGE_START, LEDGER_CHANGE_NONE},
		{LEDGER_FAILED, LEDGER_CHANGE_START, LEDGER_CHANGE_NONE},
		{LEDGER_DEAD, LEDGER_CHANGE_NONE, LEDGER_CHANGE_NONE},
		{LEDGER_DELETED, LEDGER_CHANGE_NONE, LEDGER_CHANGE_NONE},
	};
	cr_assert_eq(sizeof(rows) / sizeof(rows[0]), LEDGER_STATUS_COUNT);
	for (size_t i = 0; i < LEDGER_STATUS_COUNT; i++) {
		const char *name = ledger_status_name(rows[i].status);
		cr_expect_eq(ledger_rule_event(rows[i].status, false, RECORDING_COMPLETED), rows[i].completed, "%s", name);
		cr_expect_eq(ledger_rule_event(rows[i].status, false, RECORDING_ABSENT), rows[i].absent_or_failed, "%s", name);
		cr_expect_eq(ledger_rule_event(rows[i].status, false, RECORDING_FAILED), rows[i].absent_or_failed, "%s", name);
		cr_expect_eq(ledger_rule_event(rows[i].status, false, RECORDING_IN_PROGRESS), LEDGER_CHANGE_NONE, "%s", name);
		cr_expect_eq(ledger_rule_event(rows[i].status, false, RECORDING_UNKNOWN), LEDGER_CHANGE_NONE, "%s", name);
		for (int event = RECORDING_UNKNOWN; event <= RECORDING_FAILED; event++)
			cr_expect_eq(ledger_rule_event(rows[i].status, true, (enum recording_status)event), LEDGER_CHANGE_NONE,
				     "%s", name);
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
