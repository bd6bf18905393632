/* SPDX-License-Identifier: MIT */
/* Written by hand, read by a real parser. */
#include "admin/json.h"

#include "ledger/ledger_rules.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *parse(struct buffer *buffer)
{
	json_error_t error;
	cr_assert_not(buffer->failed);
	json_t *value = json_loadb(buffer->data, buffer->len, 0, &error);
	cr_assert_not_null(value, "%s at %d: %.*s", error.text, error.position, (int)buffer->len, buffer->data);
	buffer_free(buffer);
	return value;
}

static json_t *parse_recording(const struct ledger_recording *recording)
{
	struct buffer buffer;
	buffer_init(&buffer, 65536);
	buffer_append_char(&buffer, '{');
	json_recording(&buffer, recording);
	buffer_append_char(&buffer, '}');
	return parse(&buffer);
}

static const char *text_of(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);
	cr_assert_not_null(value, "%s is missing", name);
	return json_is_null(value) ? NULL : json_string_value(value);
}

Test(json, what_is_not_known_of_a_recording_is_null)
{
	struct ledger_recording recording = {.job = {.start_time_ms = -1, .duration_s = -1},
					     .status = LEDGER_PENDING,
					     .next_attempt_ms = -1,
					     .stored_at_ms = -1,
					     .deleted_at_twilio_ms = -1,
					     .error_code = -1,
					     .received_at_ms = 1795681800123};
	snprintf(recording.job.recording_sid.text, sizeof(recording.job.recording_sid.text), "RE%032x", 1);
	json_t *object = parse_recording(&recording);
	cr_expect_eq(json_object_size(object), 22);
	cr_expect_str_eq(text_of(object, "sid"), recording.job.recording_sid.text);
	cr_expect_str_eq(text_of(object, "status"), "pending");
	cr_expect_str_eq(text_of(object, "receivedAt"), "2026-11-26T08:30:00.123Z");
	cr_expect_eq(json_integer_value(json_object_get(object, "attempts")), 0);
	static const char *const nulls[] = {
		"accountSid", "callSid",  "conferenceSid", "nextAttemptAt", "lastError", "errorCode",
		"key",        "url",      "bytes",         "md5",           "sha256",    "contentType",
		"duration",   "channels", "source",        "startTime",     "storedAt",  "deletedAtTwilioAt"};
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		cr_expect(json_is_null(json_object_get(object, nulls[i])), "%s", nulls[i]);
	json_decref(object);
}

Test(json, what_is_known_of_a_recording)
{
	struct ledger_recording recording = {.job = {.attempts = 3,
						     .start_time_ms = 0,
						     .duration_s = 0,
						     .channels = 2,
						     .source = "DialVerb",
						     .key = "a/b \"c\".wav",
						     .stored = true,
						     .bytes = 5000000000,
						     .sha256 = "ab",
						     .url = "file:///a"},
					     .status = LEDGER_STORED,
					     .next_attempt_ms = 1795681800123,
					     .last_error = "line\nbreak \xff",
					     .error_code = 16104,
					     .content_type = "audio/wav",
					     .stored_at_ms = 1795681800123,
					     .deleted_at_twilio_ms = 1795681800123};
	json_t *object = parse_recording(&recording);
	cr_expect_eq(json_integer_value(json_object_get(object, "bytes")), 5000000000);
	cr_expect_eq(json_integer_value(json_object_get(object, "errorCode")), 16104);
	cr_expect_eq(json_integer_value(json_object_get(object, "attempts")), 3);
	cr_expect(json_is_integer(json_object_get(object, "duration")), "0 s is a duration");
	cr_expect_eq(json_integer_value(json_object_get(object, "channels")), 2);
	cr_expect_str_eq(text_of(object, "startTime"), "1970-01-01T00:00:00.000Z");
	cr_expect_str_eq(text_of(object, "lastError"), "line\nbreak \xef\xbf\xbd");
	cr_expect_str_eq(text_of(object, "key"), "a/b \"c\".wav");
	json_decref(object);
}

Test(json, a_call_hides_its_callers_number)
{
	static const char *const numbers[][2] = {
		{"+15005550006", "********0006"}, {"1234", "1234"}, {"sip:earl@example.com", "****************.com"}};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct ledger_call_row call = {
			.id = 7, .duration_s = -1, .status = "COMPLETED", .to = "+15005550001", .segments = 2};
		struct buffer buffer;
		snprintf(call.from, sizeof(call.from), "%s", numbers[i][0]);
		buffer_init(&buffer, 65536);
		buffer_append_char(&buffer, '{');
		json_call(&buffer, &call);
		buffer_append_char(&buffer, '}');
		json_t *object = parse(&buffer);
		cr_expect_eq(json_object_size(object), 14);
		cr_expect_str_eq(text_of(object, "fromNumber"), numbers[i][1]);
		cr_expect_str_eq(text_of(object, "toNumber"), "+15005550001");
		cr_expect_null(text_of(object, "notes"));
		cr_expect(json_is_null(json_object_get(object, "rating")));
		cr_expect(json_is_null(json_object_get(object, "duration")));
		cr_expect(json_is_array(json_object_get(object, "tags")));
		cr_expect_eq(json_integer_value(json_object_get(json_object_get(object, "_count"), "segments")), 2);
		json_decref(object);
	}
}

Test(json, averages_are_rounded_to_hundredths)
{
	static const struct {
		int64_t seconds;
		int64_t timed;
		const char *text;
	} rows[] = {{0, 0, "\"averageDuration\":0,"},      {10, 2, "\"averageDuration\":5,"},
		    {1, 2, "\"averageDuration\":0.5,"},    {1, 3, "\"averageDuration\":0.33,"},
		    {2, 3, "\"averageDuration\":0.67,"},   {201, 200, "\"averageDuration\":1.01,"},
		    {1, 20, "\"averageDuration\":0.05,"},  {299, 100, "\"averageDuration\":2.99,"},
		    {2999, 1000, "\"averageDuration\":3,"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ledger_stats *stats = calloc(1, sizeof(*stats));
		struct buffer buffer;
		stats->seconds = rows[i].seconds;
		stats->timed = rows[i].timed;
		stats->calls_by_status[CALL_COMPLETED] = 5;
		stats->calls_by_status[CALL_NO_ANSWER] = 1;
		buffer_init(&buffer, 1 << 20);
		json_stats(&buffer, stats);
		cr_expect_not_null(strstr(buffer_cstr(&buffer), rows[i].text), "%s", buffer_cstr(&buffer));
		json_t *object = parse(&buffer);
		cr_expect_eq(json_integer_value(json_object_get(object, "totalCalls")), 6);
		cr_expect_eq(json_array_size(json_object_get(object, "callsByDay")), LEDGER_STATS_DAYS);
		cr_expect_eq(json_object_size(json_object_get(object, "callsByStatus")), 5);
		json_decref(object);
		free(stats);
	}
}
