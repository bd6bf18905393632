/* SPDX-License-Identifier: MIT */
/*
 * Answers in the shape of Twilio's OpenAPI description (https://github.com/twilio/twilio-oai, spec/json/twilio_api_v2010.json at
 * 496e1df3): api.v2010.account.recording and api.v2010.account.call with all their properties. Every property is nullable there
 * and none is required, so each is null and absent once.
 */
#include "base/err.h"
#include "twilio/answer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define AC "AC00000000000000000000000000000001"
#define RE "RE00000000000000000000000000000002"
#define CA "CA00000000000000000000000000000003"
#define CF "CF00000000000000000000000000000004"
#define PATH "/2010-04-01/Accounts/" AC "/Recordings/" RE

struct property {
	const char *name;
	const char *value; /* JSON, of the type that the description gives */
};

/* duration is a string, price a number, channels and error_code integers; encryption_details has no type. */
static const struct property recording_properties[] = {
	{"account_sid", "\"" AC "\""},
	{"api_version", "\"2010-04-01\""},
	{"call_sid", "\"" CA "\""},
	{"conference_sid", "\"" CF "\""},
	{"date_created", "\"Wed, 20 Apr 2022 23:45:25 +0000\""},
	{"date_updated", "\"Wed, 20 Apr 2022 23:45:36 +0000\""},
	{"start_time", "\"Wed, 20 Apr 2022 23:45:25 +0000\""},
	{"duration", "\"11\""},
	{"sid", "\"" RE "\""},
	{"price", "-0.0025"},
	{"price_unit", "\"USD\""},
	{"status", "\"absent\""},
	{"channels", "2"},
	{"source", "\"StartConferenceRecordingAPI\""},
	{"error_code", "16101"},
	{"uri", "\"" PATH ".json\""},
	{"encryption_details", "{\"encryption_public_key_sid\":\"CR00000000000000000000000000000005\",\"encryption_cek\":\"x\","
			       "\"encryption_iv\":\"y\"}"},
	{"subresource_uris", "{\"add_on_results\":\"" PATH "/AddOnResults.json\"}"},
	{"media_url", "\"http://api.twilio.com" PATH "\""},
};

static const struct property call_properties[] = {
	{"sid", "\"" CA "\""},
	{"date_created", "\"Wed, 20 Apr 2022 23:45:25 +0000\""},
	{"date_updated", "\"Wed, 20 Apr 2022 23:45:36 +0000\""},
	{"parent_call_sid", "\"" CA "\""},
	{"account_sid", "\"" AC "\""},
	{"to", "\"+15005550001\""},
	{"to_formatted", "\"(500) 555-0001\""},
	{"from", "\"+15005550006\""},
	{"from_formatted", "\"(500) 555-0006\""},
	{"phone_number_sid", "\"PN00000000000000000000000000000006\""},
	{"status", "\"completed\""},
	{"start_time", "\"Wed, 20 Apr 2022 23:45:25 +0000\""},
	{"end_time", "\"Wed, 20 Apr 2022 23:45:36 +0000\""},
	{"duration", "\"17\""},
	{"price", "\"-0.0085\""},
	{"price_unit", "\"USD\""},
	{"direction", "\"inbound\""},
	{"answered_by", "\"human\""},
	{"api_version", "\"2010-04-01\""},
	{"forwarded_from", "\"+15005550007\""},
	{"group_sid", "\"GP00000000000000000000000000000007\""},
	{"caller_name", "\"\""},
	{"queue_time", "\"0\""},
	{"trunk_sid", "\"TK00000000000000000000000000000008\""},
	{"uri", "\"/2010-04-01/Accounts/" AC "/Calls/" CA ".json\""},
	{"subresource_uris", "{\"recordings\":\"/2010-04-01/Accounts/" AC "/Calls/" CA "/Recordings.json\"}"},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* `value` NULL: the property `name` is left out. */
static struct slice write_json(const struct property *table, size_t count, const char *name, const char *value)
{
	static char out[8192];
	size_t len = (size_t)snprintf(out, sizeof(out), "{");
	for (size_t i = 0; i < count; i++) {
		bool chosen = name != NULL && strcmp(table[i].name, name) == 0;
		if (chosen && value == NULL)
			continue;
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s\"%s\":%s", len > 1 ? "," : "", table[i].name,
					chosen ? value : table[i].value);
	}
	len += (size_t)snprintf(out + len, sizeof(out) - len, "}");
	cr_assert_lt(len, sizeof(out));
	return slice_make(out, len);
}

static int read_recording(const char *name, const char *value, struct twilio_answer_recording *out)
{
	static const struct sid account = {AC}, recording = {RE};
	struct slice json = write_json(recording_properties, COUNT(recording_properties), name, value);
	return twilio_answer_recording(json, &account, &recording, out);
}

static bool is_null(const char *name, const char *property)
{
	return strcmp(name, property) == 0;
}

static void check_recording(const char *name, const char *value)
{
	struct twilio_answer_recording out;
	int status = read_recording(name, value, &out);
	if (strcmp(name, "sid") == 0) {
		/* Whose answer it is must be known. */
		cr_assert_eq(status, ERR_PROTOCOL);
		return;
	}
	cr_assert_eq(status, 0, "%s", name);
	cr_assert_str_eq(out.status, is_null(name, "status") ? "" : "absent");
	cr_assert_str_eq(out.source, is_null(name, "source") ? "" : "StartConferenceRecordingAPI");
	cr_assert_eq(out.duration_s, is_null(name, "duration") ? -1 : 11);
	cr_assert_eq(out.channels, is_null(name, "channels") ? 0 : 2);
	cr_assert_eq(out.error_code, is_null(name, "error_code") ? 0 : 16101);
	cr_assert_eq(out.start_time_ms, is_null(name, "start_time") ? -1 : 1650498325000);
	cr_assert_str_eq(out.call_sid.text, is_null(name, "call_sid") ? "" : CA);
	cr_assert_str_eq(out.conference_sid.text, is_null(name, "conference_sid") ? "" : CF);
	cr_assert(!out.external);
	cr_assert_str_eq(out.media_host, "");
}

Test(twilio_answer_openapi, every_property_of_a_recording_may_be_null_or_missing)
{
	struct twilio_answer_recording out;
	cr_assert_eq(read_recording(NULL, NULL, &out), 0);
	for (size_t i = 0; i < COUNT(recording_properties); i++) {
		check_recording(recording_properties[i].name, "null");
		check_recording(recording_properties[i].name, NULL);
	}
}

Test(twilio_answer_openapi, every_status_and_source_is_taken_as_it_is)
{
	/* recording_enum_status and recording_enum_source; "failed" is in no list of the description, but in its documentation. */
	static const char *const statuses[] = {"in-progress", "paused", "stopped", "processing",
					       "completed",   "absent", "deleted", "failed"};
	static const char *const sources[] = {"DialVerb",
					      "Conference",
					      "OutboundAPI",
					      "Trunking",
					      "RecordVerb",
					      "StartCallRecordingAPI",
					      "StartConferenceRecordingAPI"};
	struct twilio_answer_recording out;
	char text[64];
	for (size_t i = 0; i < COUNT(statuses); i++) {
		snprintf(text, sizeof(text), "\"%s\"", statuses[i]);
		cr_assert_eq(read_recording("status", text, &out), 0);
		cr_assert_str_eq(out.status, statuses[i]);
	}
	for (size_t i = 0; i < COUNT(sources); i++) {
		snprintf(text, sizeof(text), "\"%s\"", sources[i]);
		cr_assert_eq(read_recording("source", text, &out), 0);
		cr_assert_str_eq(out.source, sources[i]);
	}
}

Test(twilio_answer_openapi, a_media_url_tells_whose_storage_it_is)
{
	static const struct {
		const char *url;
		bool external;
		const char *host;
	} cases[] = {
		{"http://api.twilio.com" PATH, false, ""},
		{"https://api.twilio.com" PATH, false, ""},
		{"https://api.dublin.ie1.twilio.com" PATH, false, ""},
		{"https://bucket.s3.amazonaws.com/" AC "/" RE, true, "bucket.s3.amazonaws.com"},
		{"https://bucket.s3.amazonaws.com", true, "bucket.s3.amazonaws.com"},
		{"https://key:secret@bucket.s3.amazonaws.com/x", true, ""},
	};
	struct twilio_answer_recording out;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[256];
		snprintf(text, sizeof(text), "\"%s\"", cases[i].url);
		cr_assert_eq(read_recording("media_url", text, &out), 0);
		cr_assert_eq(out.external, cases[i].external, "%s", cases[i].url);
		cr_assert_str_eq(out.media_host, cases[i].host);
	}
}

Test(twilio_answer_openapi, every_property_of_a_call_may_be_null_or_missing)
{
	static const struct sid call = {CA};
	for (size_t i = 0; i < 2 * COUNT(call_properties); i++) {
		const char *name = call_properties[i / 2].name;
		struct twilio_answer_call out;
		struct slice json = write_json(call_properties, COUNT(call_properties), name, i % 2 == 0 ? "null" : NULL);
		int status = twilio_answer_call(json, &call, &out);
		if (strcmp(name, "sid") == 0) {
			cr_assert_eq(status, ERR_PROTOCOL);
			continue;
		}
		cr_assert_eq(status, 0, "%s", name);
		cr_assert_str_eq(out.from, strcmp(name, "from") == 0 ? "" : "+15005550006");
		cr_assert_str_eq(out.to, strcmp(name, "to") == 0 ? "" : "+15005550001");
		cr_assert_str_eq(out.status, strcmp(name, "status") == 0 ? "" : "completed");
		cr_assert_eq(out.duration_s, strcmp(name, "duration") == 0 ? -1 : 17);
	}
}
