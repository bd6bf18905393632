/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "reconcile/compare.h"
#include "twilio/event.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define YOUNG INT64_C(300000)
#define NOW INT64_C(1777600000000)

static struct twilio_listed listed_as(const char *status)
{
	struct twilio_listed listed = {
		.recording_sid = {"RE00000000000000000000000000000001"},
		.created_ms = NOW - 2 * YOUNG,
		.about = {.duration_s = 12,
			  .channels = 2,
			  .start_time_ms = NOW - 2 * YOUNG - 12000,
			  .source = "Trunking",
			  .call_sid = {"CA00000000000000000000000000000002"}},
	};
	snprintf(listed.about.status, sizeof(listed.about.status), "%s", status);
	return listed;
}

static enum reconcile_verdict compare(const char *status, enum ledger_standing standing)
{
	const struct twilio_listed listed = listed_as(status);
	return reconcile_compare(&listed, standing, NOW, YOUNG);
}

Test(reconcile_compare, twilios_status_against_the_ledgers)
{
	static const struct {
		const char *status;
		enum reconcile_verdict known, missing, waiting, ended;
	} rows[] = {
		{"completed", RECONCILE_KNOWN, RECONCILE_MISSING, RECONCILE_INCOMPLETE, RECONCILE_INCOMPLETE},
		{"absent", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_INCOMPLETE, RECONCILE_KNOWN},
		{"failed", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_INCOMPLETE, RECONCILE_KNOWN},
		{"in-progress", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_OTHER, RECONCILE_OTHER},
		{"processing", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_OTHER, RECONCILE_OTHER},
		{"deleted", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_OTHER, RECONCILE_OTHER},
		{"", RECONCILE_KNOWN, RECONCILE_OTHER, RECONCILE_OTHER, RECONCILE_OTHER},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(compare(rows[i].status, LEDGER_STANDING_KNOWN), rows[i].known, "%s", rows[i].status);
		cr_expect_eq(compare(rows[i].status, LEDGER_STANDING_MISSING), rows[i].missing, "%s", rows[i].status);
		cr_expect_eq(compare(rows[i].status, LEDGER_STANDING_WAITING), rows[i].waiting, "%s", rows[i].status);
		cr_expect_eq(compare(rows[i].status, LEDGER_STANDING_ENDED), rows[i].ended, "%s", rows[i].status);
	}
}

Test(reconcile_compare, a_young_one_is_left_to_its_callback)
{
	struct twilio_listed listed = listed_as("completed");
	/* A recording is created when it begins: of a long call that is long ago. */
	listed.created_ms = NOW - 24 * 12 * YOUNG;
	listed.about.start_time_ms = NOW - 12 * YOUNG;
	listed.about.duration_s = 12 * YOUNG / 1000 - 1;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_RECENT);
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_KNOWN, NOW, YOUNG), RECONCILE_KNOWN);
	listed.about.duration_s = 11 * YOUNG / 1000;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_MISSING);
	listed.created_ms = NOW - YOUNG + 1;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_RECENT);
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_WAITING, NOW, YOUNG), RECONCILE_RECENT);
	/* A clock that is behind Twilio's does not make it old. */
	listed.created_ms = NOW + YOUNG;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_RECENT);
	/* Without any time it is better fetched than lost. */
	listed.created_ms = listed.about.start_time_ms = -1;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_MISSING);
}

Test(reconcile_compare, what_cannot_be_fetched_is_not_asked_for)
{
	struct twilio_listed listed = listed_as("completed");
	listed.about.external = true;
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_EXTERNAL);
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_WAITING, NOW, YOUNG), RECONCILE_EXTERNAL);
	listed = listed_as("completed");
	listed.about.call_sid.text[0] = '\0';
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_OTHER);
	snprintf(listed.about.conference_sid.text, sizeof(listed.about.conference_sid.text),
		 "CF00000000000000000000000000000003");
	cr_assert_eq(reconcile_compare(&listed, LEDGER_STANDING_MISSING, NOW, YOUNG), RECONCILE_MISSING);
}

static void decode(const struct twilio_listed *listed, struct event *event, struct buffer *payload)
{
	static const struct sid account = {"AC00000000000000000000000000000004"};
	static char scratch[64 * 1024];
	buffer_init(payload, 64 * 1024);
	cr_assert_eq(reconcile_encode(listed, &account, NOW, payload), 0);
	cr_assert_eq(event_decode(event, buffer_slice(payload), scratch, sizeof(scratch)), 0);
}

Test(reconcile_compare, the_event_is_what_the_callback_would_have_been)
{
	struct twilio_listed listed = listed_as("completed");
	struct event event;
	struct buffer payload;
	listed.encryption = (char[]){"{\"encrypted_cek\":\"a+/=&\",\"iv\":\"b\"}"};
	decode(&listed, &event, &payload);
	cr_assert_eq(event.kind, EVENT_RECORDING);
	cr_assert_eq(event.received_at_ms, NOW);
	cr_assert_str_eq(event.account_sid.text, "AC00000000000000000000000000000004");
	cr_assert_str_eq(event.recording_sid.text, listed.recording_sid.text);
	cr_assert_str_eq(event.call_sid.text, listed.about.call_sid.text);
	cr_assert(!sid_is_set(&event.conference_sid));
	cr_assert_eq(event.status, RECORDING_COMPLETED);
	cr_assert_eq(event.duration_s, 12);
	cr_assert_eq(event.channels, 2);
	cr_assert_eq(event.start_time_ms, listed.about.start_time_ms);
	cr_assert_eq(event.error_code, 0);
	cr_assert_str_eq(event.source, "Trunking");
	cr_assert(!event.reconciled, "the payload does not say so");
	static const char details[] = "&EncryptionDetails=%7B%22encrypted_cek%22%3A%22a%2B%2F%3D%26%22%2C%22iv%22%3A%22b%22%7D";
	cr_assert_not_null(memmem(payload.data, payload.len, details, sizeof(details) - 1));
	buffer_free(&payload);
}

Test(reconcile_compare, what_the_list_does_not_say_is_not_said)
{
	struct twilio_listed listed = listed_as("absent");
	struct event event;
	struct buffer payload;
	listed.about.duration_s = -1;
	listed.about.channels = 0;
	listed.about.start_time_ms = -1;
	listed.about.source[0] = '\0';
	listed.about.error_code = 16104;
	decode(&listed, &event, &payload);
	cr_assert_eq(event.status, RECORDING_ABSENT);
	cr_assert_eq(event.error_code, 16104);
	cr_assert_eq(event.duration_s, -1);
	cr_assert_eq(event.channels, 0);
	cr_assert_eq(event.start_time_ms, -1);
	cr_assert_str_eq(event.source, "");
	buffer_free(&payload);
	/* Numbers that no event may have are left out, not refused. */
	listed.about.duration_s = INT64_C(1) << 40;
	listed.about.error_code = INT64_C(1) << 40;
	decode(&listed, &event, &payload);
	cr_assert_eq(event.duration_s, -1);
	cr_assert_eq(event.error_code, 0);
	buffer_free(&payload);
}
