/* SPDX-License-Identifier: MIT */
#include "twilio/event.h"

#include "base/err.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define AC "AC0123456789abcdef0123456789abcdef"
#define CA "CA0123456789abcdef0123456789abcdef"
#define CF "CF0123456789abcdef0123456789abcdef"
#define RE "RE0123456789abcdef0123456789abcdef"
#define REQUIRED "RecordingSid=" RE "&CallSid=" CA

static enum event_problem from_form(struct event *event, enum event_kind kind, const char *form)
{
	static struct reeld_form_field fields[EVENT_MAX_FIELDS];
	static char scratch[8192];
	size_t count;

	memset(event, 0xA5, sizeof(*event)); /* every field must be set, whatever was there */
	cr_assert_eq(reeld_form_parse(form, strlen(form), fields, EVENT_MAX_FIELDS, scratch, sizeof(scratch), &count),
		     REELD_FORM_OK);
	return event_from_form(event, kind, fields, count);
}

static struct event recording(const char *form)
{
	struct event event;
	enum event_problem problem = from_form(&event, EVENT_RECORDING, form);

	cr_assert_eq(problem, EVENT_OK, "%s: %s", form, event_problem_message(problem));
	return event;
}

static void expect_problem(enum event_kind kind, const char *form, enum event_problem expected)
{
	struct event event;
	enum event_problem problem = from_form(&event, kind, form);

	cr_expect_eq(problem, expected, "%s: %s", form, event_problem_message(problem));
}

Test(event, reads_a_real_recording_callback)
{
	struct event e = recording("RecordingSource=StartCallRecordingAPI&RecordingTrack=both&RecordingSid=" RE
				   "&RecordingUrl=https%3A%2F%2Fapi.twilio.com%2F2010-04-01&RecordingStatus=completed&"
				   "RecordingChannels=2&ErrorCode=0&CallSid=" CA
				   "&RecordingStartTime=Wed%2C%2020%20Apr%202022%2023%3A45%3A25%20%2B0000&AccountSid=" AC
				   "&RecordingDuration=11");

	cr_expect_eq(e.kind, EVENT_RECORDING);
	cr_expect_str_eq(e.account_sid.text, AC);
	cr_expect_str_eq(e.call_sid.text, CA);
	cr_expect_str_eq(e.conference_sid.text, "");
	cr_expect_str_eq(e.recording_sid.text, RE);
	cr_expect_eq(e.status, RECORDING_COMPLETED);
	cr_expect_eq(e.duration_s, 11);
	cr_expect_eq(e.channels, 2);
	cr_expect_eq(e.start_time_ms, 1650498325000);
	cr_expect_eq(e.error_code, 0);
	cr_expect_str_eq(e.source, "StartCallRecordingAPI");
	cr_expect_str_eq(e.track, "both");
	cr_expect_str_eq(e.from, "");
	cr_expect_str_eq(e.to, "");
	cr_expect_str_eq(e.call_status, "");
}

Test(event, takes_what_was_not_given_or_is_empty_as_none)
{
	struct event bare = recording(REQUIRED);
	struct event empty = recording(
		REQUIRED "&AccountSid=&ConferenceSid=&RecordingStatus=&RecordingDuration=&RecordingChannels=&ErrorCode="
			 "&RecordingStartTime=&RecordingSource=&RecordingTrack=&From=");

	for (int i = 0; i < 2; i++) {
		struct event *e = i == 0 ? &bare : &empty;
		cr_expect_eq(e->status, RECORDING_UNKNOWN);
		cr_expect_eq(e->duration_s, -1);
		cr_expect_eq(e->channels, 0);
		cr_expect_eq(e->start_time_ms, -1);
		cr_expect_eq(e->error_code, 0);
		cr_expect_str_eq(e->account_sid.text, "");
		cr_expect_str_eq(e->conference_sid.text, "");
		cr_expect_str_eq(e->source, "");
	}
}

Test(event, needs_a_recording_sid_and_a_call_or_conference_sid)
{
	expect_problem(EVENT_RECORDING, "", EVENT_MISSING_FIELDS);
	expect_problem(EVENT_RECORDING, "CallSid=" CA, EVENT_MISSING_FIELDS);
	expect_problem(EVENT_RECORDING, "RecordingSid=" RE, EVENT_MISSING_FIELDS);
	expect_problem(EVENT_RECORDING, "RecordingSid=&CallSid=" CA, EVENT_MISSING_FIELDS);
	expect_problem(EVENT_RECORDING, "RecordingSid=" RE "&CallSid=", EVENT_MISSING_FIELDS);
	cr_expect_str_eq(recording("RecordingSid=" RE "&ConferenceSid=" CF).conference_sid.text, CF);
	cr_expect_str_eq(event_problem_message(EVENT_MISSING_FIELDS), "Missing required fields: CallSid or RecordingSid");
}

Test(event, refuses_malformed_sids)
{
	expect_problem(EVENT_RECORDING, "RecordingSid=RE1&CallSid=" CA, EVENT_BAD_RECORDING_SID);
	expect_problem(EVENT_RECORDING, "RecordingSid=" CA "&CallSid=" CA, EVENT_BAD_RECORDING_SID);
	expect_problem(EVENT_RECORDING, "RecordingSid=" RE "0&CallSid=" CA, EVENT_BAD_RECORDING_SID);
	expect_problem(EVENT_RECORDING, "RecordingSid=RE../../../../../../../../../etc/pa&CallSid=" CA, EVENT_BAD_RECORDING_SID);
	expect_problem(EVENT_RECORDING, "RecordingSid=" RE "&CallSid=" RE, EVENT_BAD_CALL_SID);
	expect_problem(EVENT_RECORDING, "RecordingSid=" RE "&ConferenceSid=" CA, EVENT_BAD_CONFERENCE_SID);
	expect_problem(EVENT_RECORDING, REQUIRED "&ConferenceSid=x", EVENT_BAD_CONFERENCE_SID);
	expect_problem(EVENT_RECORDING, REQUIRED "&AccountSid=" CA, EVENT_BAD_ACCOUNT_SID);
	expect_problem(EVENT_CALL_STATUS, "CallSid=x", EVENT_BAD_CALL_SID);
}

Test(event, knows_the_account_whatever_else_is_wrong)
{
	static const char *const forms[] = {"AccountSid=" AC, "AccountSid=" AC "&RecordingSid=x&CallSid=" CA,
					    REQUIRED "&RecordingDuration=x&AccountSid=" AC,
					    "RecordingSid=" RE "&CallSid=x&AccountSid=" AC};
	struct event event;

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		cr_expect_neq(from_form(&event, EVENT_RECORDING, forms[i]), EVENT_OK);
		cr_expect_str_eq(event.account_sid.text, AC, "%s", forms[i]);
	}
}

Test(event, refuses_numbers_that_are_none_or_overflow)
{
	static const char *const bad[] = {
		"x", "-2", "%2B1", "1.5", "1+",  "+1",   "0x10", "1e3", "2147483648", "99999999999999999999999999",
		"-", "-0", "-10",  "--1", "-1-", "-1.0", "+-1",  "-01"};
	char form[256];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(form, sizeof(form), REQUIRED "&RecordingDuration=%s", bad[i]);
		expect_problem(EVENT_RECORDING, form, EVENT_BAD_DURATION);
		snprintf(form, sizeof(form), REQUIRED "&RecordingChannels=%s", bad[i]);
		expect_problem(EVENT_RECORDING, form, EVENT_BAD_CHANNELS);
		snprintf(form, sizeof(form), REQUIRED "&ErrorCode=%s", bad[i]);
		expect_problem(EVENT_RECORDING, form, EVENT_BAD_ERROR_CODE);
		snprintf(form, sizeof(form), "CallSid=" CA "&CallDuration=%s", bad[i]);
		expect_problem(EVENT_CALL_STATUS, form, EVENT_BAD_CALL_DURATION);
	}
	expect_problem(EVENT_RECORDING, REQUIRED "&RecordingChannels=-1", EVENT_BAD_CHANNELS);
	expect_problem(EVENT_RECORDING, REQUIRED "&ErrorCode=-1", EVENT_BAD_ERROR_CODE);
	expect_problem(EVENT_CALL_STATUS, "CallSid=" CA "&CallDuration=-1", EVENT_BAD_CALL_DURATION);
	cr_expect_eq(recording(REQUIRED "&RecordingDuration=2147483647").duration_s, 2147483647);
	cr_expect_eq(recording(REQUIRED "&RecordingDuration=007").duration_s, 7);
	cr_expect_eq(recording(REQUIRED "&ErrorCode=16101").error_code, 16101);
}

Test(event, takes_a_duration_of_minus_one_as_not_given)
{
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=in-progress&RecordingDuration=-1").duration_s, -1);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=completed&RecordingDuration=%2D1").duration_s, -1);
}

/* The shapes that Twilio's pages and captured requests show, and what may come: "New parameters may be added without notice". */
Test(event, takes_whatever_a_real_callback_may_hold)
{
	/* <Record>: no RecordingTrack */
	cr_expect_str_eq(recording(REQUIRED "&RecordingSource=RecordVerb&RecordingStatus=completed&ErrorCode=0").track, "");
	/* <Conference record>: ConferenceSid instead of CallSid */
	struct event conference = recording("RecordingSid=" RE "&ConferenceSid=" CF
					    "&RecordingSource=Conference&RecordingChannels=1");
	cr_expect_str_eq(conference.conference_sid.text, CF);
	cr_expect(!sid_is_set(&conference.call_sid));
	/* absent, with its reason and without media */
	struct event absent = recording(REQUIRED "&RecordingStatus=absent&ErrorCode=16102");
	cr_expect_eq(absent.status, RECORDING_ABSENT);
	cr_expect_eq(absent.error_code, 16102);
	/* a space as %20 or as + */
	int64_t start = recording(REQUIRED "&RecordingStartTime=Wed%2C%2020%20Apr%202022%2023%3A45%3A25%20%2B0000").start_time_ms;
	cr_expect_eq(start, 1650498325000);
	cr_expect_eq(recording(REQUIRED "&RecordingStartTime=Wed%2c+20+Apr+2022+23%3a45%3a25+%2b0000").start_time_ms, start);
	/* hex digits of either case */
	struct event upper = recording(
		"RecordingSid=RE0123456789ABCDEF0123456789ABCDEF&CallSid=CA0123456789abcDEF0123456789abcdef");
	cr_expect_str_eq(upper.recording_sid.text, "RE0123456789ABCDEF0123456789ABCDEF");
	/* what nobody has heard of yet, and encryption's JSON */
	struct event unknown = recording(REQUIRED
					 "&RecordingStatus=completed&Brand.New%5B0%5D=x&NoValue&=&EncryptionDetails=%7B%22type"
					 "%22%3A%22rsa-aes%22%2C%22public_key_sid%22%3A%22CR1%22%7D");
	cr_expect_eq(unknown.status, RECORDING_COMPLETED);
	cr_expect(unknown.encrypted);
	cr_expect_not(absent.encrypted);
	cr_expect_not(recording(REQUIRED "&EncryptionDetails=").encrypted);
}

/* What the ledger keeps of it: see also the ledger's suite. */
static void expect_encryption(const char *params, const char *expected)
{
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	struct event event = recording(params);
	event.params = slice_from_cstr(params);
	event_encryption(&event, text);
	cr_expect_str_eq(text, expected);
}

Test(event, encryption_that_cannot_be_read_is_kept_as_it_came)
{
	expect_encryption(REQUIRED, "");
	expect_encryption(REQUIRED "&EncryptionDetails=", "");
	expect_encryption(REQUIRED "&EncryptionDetails=%7B%22type%22%3A%22x%22%7D", "{\"type\":\"x\"}");
	expect_encryption(REQUIRED "&EncryptionDetails=a%01b%ff", "a?b?");
	char long_one[5000] = REQUIRED "&EncryptionDetails=";
	memset(long_one + strlen(long_one), 'x', 1100);
	struct event event = recording(long_one);
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	event.params = slice_from_cstr(long_one);
	event_encryption(&event, text);
	cr_expect_eq(strlen(text), sizeof(text) - 1);
	event.params.len = 0;
	event_encryption(&event, text);
	cr_expect_str_eq(text, "unreadable", "whatever happened, it is not forgotten");
}

Test(event, reads_the_status_in_any_case_and_keeps_unknown_words)
{
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=completed").status, RECORDING_COMPLETED);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=COMPLETED").status, RECORDING_COMPLETED);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=In-Progress").status, RECORDING_IN_PROGRESS);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=absent").status, RECORDING_ABSENT);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=failed").status, RECORDING_FAILED);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=complete").status, RECORDING_UNKNOWN);
	cr_expect_eq(recording(REQUIRED "&RecordingStatus=paused").status, RECORDING_UNKNOWN);
	cr_expect_str_eq(recording_status_name(RECORDING_COMPLETED), "completed");
	cr_expect_str_eq(recording_status_name(RECORDING_IN_PROGRESS), "in-progress");
	cr_expect_str_eq(recording_status_name(RECORDING_UNKNOWN), "unknown");
	cr_expect_str_eq(recording_status_name((enum recording_status)77), "unknown");
}

Test(event, takes_an_unreadable_start_time_as_none)
{
	cr_expect_eq(recording(REQUIRED "&RecordingStartTime=yesterday").start_time_ms, -1);
	cr_expect_eq(recording(REQUIRED "&RecordingStartTime=Wed%2C%2031%20Dec%201969%2023%3A59%3A59%20%2B0000").start_time_ms,
		     -1);
	cr_expect_eq(recording(REQUIRED "&RecordingStartTime=Thu%2C%2001%20Jan%201970%2000%3A00%3A00%20%2B0000").start_time_ms,
		     0);
}

Test(event, cuts_texts_between_characters)
{
	/* source takes 31 bytes, track 15: the last euro sign (3 bytes) does not fit whole */
	struct event e = recording(
		REQUIRED "&RecordingSource=0123456789012345678901234567890123456789&RecordingTrack=1234567890123%E2%82%AC");

	cr_expect_str_eq(e.source, "0123456789012345678901234567890");
	cr_expect_str_eq(e.track, "1234567890123");
	e = recording(REQUIRED "&RecordingTrack=123456789012%E2%82%AC");
	cr_expect_str_eq(e.track, "123456789012\xe2\x82\xac");
}

Test(event, replaces_what_is_no_utf8_and_control_characters)
{
	static const char *const pairs[][2] = {
		{"a%FFb", "a?b"},
		{"%C3%A9", "\xc3\xa9"},
		{"%C3", "?"},
		{"%C0%80", "??"},
		{"%ED%A0%80", "???"},
		{"%F0%9F%98%80", "\xf0\x9f\x98\x80"},
		{"%F4%90%80%80", "????"},
		{"%E0%80%80", "???"},
		{"%F0%80%80%80", "????"},
		{"%80", "?"},
		{"a%0Ab%7F", "a?b?"},
		{"%F5%80", "??"},
		{"%EF%BF%BD", "\xef\xbf\xbd"},
	};
	char form[200];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		snprintf(form, sizeof(form), REQUIRED "&RecordingTrack=%s", pairs[i][0]);
		cr_expect_str_eq(recording(form).track, pairs[i][1], "%s", pairs[i][0]);
	}
}

Test(event, of_a_repeated_name_takes_the_same_value_in_any_order)
{
	struct event a = recording(REQUIRED "&RecordingDuration=12&RecordingDuration=11&RecordingDuration=");
	struct event b = recording("RecordingDuration=11&RecordingDuration=12&" REQUIRED);

	cr_expect_eq(a.duration_s, 11);
	cr_expect_eq(b.duration_s, 11);
}

Test(event, reads_call_events_and_leaves_their_recording_aside)
{
	struct event e;

	cr_assert_eq(from_form(&e, EVENT_CALL_STATUS,
			       "CallSid=" CA "&AccountSid=" AC
			       "&From=%2B14158675309&To=client:earl&CallStatus=completed&CallDuration=42"
			       "&RecordingSid=nonsense&RecordingDuration=x"),
		     EVENT_OK);
	cr_expect_eq(e.kind, EVENT_CALL_STATUS);
	cr_expect_str_eq(e.call_sid.text, CA);
	cr_expect_str_eq(e.from, "+14158675309");
	cr_expect_str_eq(e.to, "client:earl");
	cr_expect_str_eq(e.call_status, "completed");
	cr_expect_eq(e.duration_s, 42);
	cr_expect_str_eq(e.recording_sid.text, "");
	expect_problem(EVENT_CALL_INCOMING, "From=%2B14158675309", EVENT_MISSING_FIELDS);
}

Test(event, keeps_the_parameters_that_it_does_not_know)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"&RecordingStatus=completed&RecordingUrl=https%3A%2F%2Fx&EncryptionDetails=%7B%7D&ErrorCode=0&From=1&"
		 "RecordingTrack=both",
		 ""},
		{"&RecordingMood=blue", "RecordingMood=blue"},
		{"&B=2&A=1&Empty", "B=2, A=1, Empty="},
		{"&New%20%3D=%C3%A9%0A%FF+x", "New ==\xc3\xa9?? x"},
		{"&recordingurl=x", "recordingurl=x"},
		{"&Caller=%2B15005550006&ForwardedFrom=%2B49+151+12345678&Zip=94105",
		 "Caller=********0006, ForwardedFrom=**********5678, Zip=94105"},
	};
	char form[400];
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		snprintf(form, sizeof(form), REQUIRED "%s", pairs[i][0]);
		cr_expect_str_eq(recording(form).unknown, pairs[i][1]);
	}
}

Test(event, cuts_unknown_parameters_between_characters_and_says_so)
{
	/* From all that fits to far too much, with a two-byte character on every border. */
	for (size_t n = 100; n < 125; n++) {
		char form[512];
		char all[160];
		size_t at = (size_t)snprintf(form, sizeof(form), REQUIRED "&N=");
		memset(form + at, 'x', n);
		snprintf(form + at + n, sizeof(form) - at - n, "%%C3%%A9");
		snprintf(all, sizeof(all), "N=%.*s\xc3\xa9", (int)n, form + at);
		struct event e = recording(form);
		size_t len = strlen(e.unknown);
		cr_assert_lt(len, sizeof(e.unknown));
		if (strcmp(e.unknown, all) == 0)
			continue;
		cr_assert_geq(len, (size_t)100);
		cr_expect_str_eq(e.unknown + len - 3, "...", "%zu: %s", n, e.unknown);
		cr_expect_eq(strncmp(e.unknown, all, len - 3), 0);
		cr_expect((unsigned char)e.unknown[len - 4] != 0xC3, "%zu: half a character", n);
	}
	char form[1024] = REQUIRED;
	for (int i = 0; i < 60; i++)
		snprintf(form + strlen(form), sizeof(form) - strlen(form), "&P%d=%d", i, i);
	struct event e = recording(form);
	cr_expect_eq(strncmp(e.unknown, "P0=0, P1=1, P2=2, ", 18), 0);
	cr_expect_str_eq(e.unknown + strlen(e.unknown) - 3, "...");
}

Test(event, has_a_message_for_every_problem)
{
	for (int problem = EVENT_OK; problem <= EVENT_BAD_CALL_DURATION; problem++)
		cr_expect_str_neq(event_problem_message((enum event_problem)problem), "unknown problem");
}

/* The journal's payload */

static size_t encode(char *out, enum event_kind kind, int64_t received_at_ms, const char *params)
{
	size_t len = strlen(params);

	event_encode_header((unsigned char *)out, kind, received_at_ms, len);
	memcpy(out + EVENT_HEADER_SIZE, params, len);
	return EVENT_HEADER_SIZE + len;
}

Test(event, header_has_the_documented_bytes)
{
	unsigned char header[EVENT_HEADER_SIZE];
	static const unsigned char expected[EVENT_HEADER_SIZE] = {1,    2,    0,    0,    0x04, 0x03, 0x02, 0x01,
								  0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};

	event_encode_header(header, EVENT_CALL_INCOMING, 0x1122334455667788, 0x01020304);
	cr_expect_eq(memcmp(header, expected, sizeof(expected)), 0);
}

Test(event, decodes_what_was_encoded)
{
	static const char params[] = REQUIRED "&RecordingStatus=completed&New%20Thing=x+y";
	char payload[512], scratch[512];
	size_t len = encode(payload, EVENT_RECORDING, -5, params);
	struct event e;

	cr_assert_eq(event_decode(&e, slice_make(payload, len), scratch, len), 0);
	memset(scratch, 'x', sizeof(scratch));
	cr_expect_eq(e.kind, EVENT_RECORDING);
	cr_expect_eq(e.received_at_ms, -5);
	cr_expect_str_eq(e.recording_sid.text, RE);
	cr_expect_eq(e.status, RECORDING_COMPLETED);
	cr_expect(slice_equal(e.params, SLICE(params)), "the raw parameters stay as they came");
	cr_expect(e.params.ptr == payload + EVENT_HEADER_SIZE);
}

Test(event, finds_every_cut_and_wrong_header_byte_corrupt)
{
	char payload[512], scratch[512];
	size_t len = encode(payload, EVENT_RECORDING, 1, REQUIRED);
	struct event e;

	for (size_t cut = 0; cut < len; cut++)
		cr_expect_eq(event_decode(&e, slice_make(payload, cut), scratch, sizeof(scratch)), ERR_CORRUPT, "cut to %zu",
			     cut);
	for (size_t at = 0; at < 8; at++) {
		payload[at] ^= 0x40;
		cr_expect_eq(event_decode(&e, slice_make(payload, len), scratch, sizeof(scratch)), ERR_CORRUPT, "byte %zu", at);
		payload[at] ^= 0x40;
	}
	cr_expect_eq(event_decode(&e, slice_make(payload, len), scratch, sizeof(scratch)), 0);
}

Test(event, finds_parameters_corrupt_that_intake_would_have_refused)
{
	static const char *const bad[] = {"", "RecordingSid=" RE, REQUIRED "&x=%zz", REQUIRED "&RecordingDuration=x"};
	char payload[512], scratch[512];
	struct event e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t len = encode(payload, EVENT_RECORDING, 1, bad[i]);
		cr_expect_eq(event_decode(&e, slice_make(payload, len), scratch, sizeof(scratch)), ERR_CORRUPT, "%s", bad[i]);
	}
}
