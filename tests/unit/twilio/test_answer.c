/* SPDX-License-Identifier: MIT */
#include "twilio/answer.h"
#include "base/err.h"
#include "support/sealed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AC "AC00000000000000000000000000000001"
#define RE "RE00000000000000000000000000000002"
#define CA "CA00000000000000000000000000000003"
#define CF "CF00000000000000000000000000000004"

static const struct sid account = {AC};
static const struct sid recording = {RE};
static const struct sid call = {CA};

static int read_recording(const char *json, struct twilio_answer_recording *out)
{
	return twilio_answer_recording(slice_from_cstr(json), &account, &recording, out);
}

Test(twilio_answer, a_recording_as_twilio_describes_it)
{
	struct twilio_answer_recording out;
	cr_assert_eq(read_recording("{\"sid\":\"" RE
				    "\",\"status\":\"completed\",\"duration\":\"11\",\"channels\":2,\"source\":\"DialVerb\","
				    "\"start_time\":\"Wed, 20 Apr 2022 23:45:25 +0000\",\"call_sid\":\"" CA
				    "\",\"conference_sid\":null,"
				    "\"error_code\":null,\"media_url\":\"http://api.twilio.com/2010-04-01/Accounts/" AC
				    "/Recordings/" RE "\"}",
				    &out),
		     0);
	cr_assert_str_eq(out.status, "completed");
	cr_assert_str_eq(out.source, "DialVerb");
	cr_assert_eq(out.duration_s, 11);
	cr_assert_eq(out.channels, 2);
	cr_assert_eq(out.start_time_ms, 1650498325000);
	cr_assert_str_eq(out.call_sid.text, CA);
	cr_assert(!sid_is_set(&out.conference_sid));
	cr_assert_eq(out.error_code, 0);
	cr_assert(!out.external);
}

Test(twilio_answer, how_a_recording_is_encrypted)
{
	static struct twilio_answer_recording out;
	cr_assert_eq(read_recording("{\"sid\":\"" RE "\",\"encryption_details\":{\"encryption_public_key_sid\":"
				    "\"CR0123456789abcdef0123456789abcdef\",\"encryption_cek\":\"" SEALED_CEK_BASE64
				    "\",\"encryption_iv\":\"AAECAwQFBgcICQoL\"}}",
				    &out),
		     0);
	cr_assert(out.encrypted);
	cr_assert_str_eq(out.encryption.public_key_sid.text, "CR0123456789abcdef0123456789abcdef");
	cr_assert_str_eq(out.encryption.encrypted_cek, SEALED_CEK_BASE64);
	static const char *const none[] = {"", ",\"encryption_details\":null", ",\"encryption_details\":{}",
					   ",\"encryption_details\":\"x\"", ",\"encryption_details\":{\"iv\":1}"};
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		char json[256];
		snprintf(json, sizeof(json), "{\"sid\":\"" RE "\"%s}", none[i]);
		cr_assert_eq(read_recording(json, &out), 0);
		cr_assert_not(out.encrypted);
	}
}

Test(twilio_answer, what_is_missing_null_or_of_another_type_is_unknown)
{
	struct twilio_answer_recording out;
	const char *const bodies[] = {
		"{\"sid\":\"" RE "\"}",
		"{\"sid\":\"" RE
		"\",\"status\":7,\"duration\":-1,\"channels\":\"two\",\"start_time\":\"yesterday\",\"call_sid\":\"x\","
		"\"error_code\":true,\"media_url\":\"\",\"source\":[]}",
		"{\"sid\":\"" RE "\",\"duration\":\"99999999999999999999\",\"channels\":99999999999}"};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		cr_assert_eq(read_recording(bodies[i], &out), 0);
		cr_assert_str_eq(out.status, "");
		cr_assert_eq(out.duration_s, -1);
		cr_assert_eq(out.channels, 0);
		cr_assert_eq(out.start_time_ms, -1);
		cr_assert_eq(out.error_code, 0);
		cr_assert(!sid_is_set(&out.call_sid));
		cr_assert(!out.external);
	}
	cr_assert_eq(read_recording("{\"sid\":\"" RE "\",\"error_code\":\"16101\",\"conference_sid\":\"" CF "\"}", &out), 0);
	cr_assert_eq(out.error_code, 16101);
	cr_assert_str_eq(out.conference_sid.text, CF);
}

Test(twilio_answer, only_the_recordings_own_path_is_twilios_storage)
{
	static const struct {
		const char *url;
		bool external;
	} cases[] = {
		{"https://api.twilio.com/2010-04-01/Accounts/" AC "/Recordings/" RE, false},
		{"http://127.0.0.1:8099/2010-04-01/Accounts/" AC "/Recordings/" RE ".wav", false},
		{"https://api.dublin.ie1.twilio.com/2010-04-01/Accounts/" AC "/Recordings/" RE, false},
		{"https://bucket.s3.amazonaws.com/" AC "/" RE, true},
		{"https://bucket.s3.amazonaws.com/x/2010-04-01/Accounts/" AC "/Recordings/" RE, true},
		{"https://bucket.s3.amazonaws.com", true},
		{"s3:bucket", true},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char json[512];
		struct twilio_answer_recording out;
		snprintf(json, sizeof(json), "{\"sid\":\"" RE "\",\"media_url\":\"%s\"}", cases[i].url);
		cr_assert_eq(read_recording(json, &out), 0);
		cr_assert_eq(out.external, cases[i].external, "%s", cases[i].url);
	}
}

Test(twilio_answer, what_is_no_json_or_about_something_else_is_refused)
{
	struct twilio_answer_recording out;
	struct twilio_answer_call out_call;
	const char *const bodies[] = {"",
				      "null",
				      "[]",
				      "{",
				      "\"" RE "\"",
				      "{}",
				      "{\"sid\":null}",
				      "{\"sid\":\"" CA "\"}",
				      "<html>",
				      "{\"sid\":\"" RE "\"} x"};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		cr_assert_eq(read_recording(bodies[i], &out), ERR_PROTOCOL, "%s", bodies[i]);
		if (strstr(bodies[i], CA) == NULL)
			cr_assert_eq(twilio_answer_call(slice_from_cstr(bodies[i]), &call, &out_call), ERR_PROTOCOL);
	}
	char *deep = malloc(100001);
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	cr_assert_eq(read_recording(deep, &out), ERR_PROTOCOL);
	free(deep);
}

Test(twilio_answer, a_call_with_long_and_odd_texts)
{
	struct twilio_answer_call out;
	char json[512];
	cr_assert_eq(
		twilio_answer_call(SLICE("{\"sid\":\"" CA
					 "\",\"from\":\"+15005550006\",\"to\":\"client:\\u0007joe\",\"status\":\"in-progress\","
					 "\"duration\":\"17\"}"),
				   &call, &out),
		0);
	cr_assert_str_eq(out.from, "+15005550006");
	cr_assert_str_eq(out.to, "client:?joe");
	cr_assert_str_eq(out.status, "in-progress");
	cr_assert_eq(out.duration_s, 17);
	/* 62 bytes, then a character of two: it does not fit whole, so not at all. */
	snprintf(json, sizeof(json), "{\"sid\":\"" CA "\",\"from\":\"%062d\xc3\xbc\xc3\xbc\"}", 0);
	cr_assert_eq(twilio_answer_call(slice_from_cstr(json), &call, &out), 0);
	cr_assert_eq(strlen(out.from), 62);
	cr_assert_eq(out.duration_s, -1);
}

Test(twilio_answer, errors_are_read_from_json_and_xml)
{
	struct twilio_answer_error out;
	twilio_answer_error(SLICE("{\"code\":20404,\"message\":\"The requested resource was not found\",\"status\":404}"), &out);
	cr_assert_eq(out.code, 20404);
	cr_assert_str_eq(out.message, "The requested resource was not found");
	twilio_answer_error(
		SLICE("\r\n<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>20003</Code>"
		      "<Message>Authenticate &amp; retry</Message><Status>401</Status></RestException></TwilioResponse>"),
		&out);
	cr_assert_eq(out.code, 20003);
	cr_assert_str_eq(out.message, "Authenticate & retry");
}

/* https://www.rfc-editor.org/rfc/rfc9457 */
Test(twilio_answer, problem_details_are_read_with_and_without_a_code)
{
	struct twilio_answer_error out;
	twilio_answer_error(SLICE("{\"type\":\"https://www.twilio.com/docs/api/errors/20404\",\"title\":\"Not Found\","
				  "\"status\":404,\"detail\":\"No such recording\",\"instance\":\"/x\"}"),
			    &out);
	cr_assert_eq(out.code, 20404);
	cr_assert_str_eq(out.message, "No such recording");
	twilio_answer_error(SLICE("{\"type\":\"about:blank\",\"title\":\"Too Many Requests\",\"code\":20429,\"detail\":null}"),
			    &out);
	cr_assert_eq(out.code, 20429);
	cr_assert_str_eq(out.message, "Too Many Requests");
	twilio_answer_error(SLICE("{\"type\":\"https://example.com/errors/20404x\",\"title\":7}"), &out);
	cr_assert_eq(out.code, 0);
	cr_assert_str_eq(out.message, "");
	twilio_answer_error(SLICE("{\"type\":\"https://example.com/errors/99999999999999999999\"}"), &out);
	cr_assert_eq(out.code, 0);
}

Test(twilio_answer, what_is_no_error_document_gives_no_code)
{
	struct twilio_answer_error out;
	const char *const bodies[] = {
		"",
		"   ",
		"not found",
		"{\"code\":",
		"[1]",
		"<html><Code>1</Code></html>",
		"<TwilioResponse><RestException><Code>12ab</Code></RestException></TwilioResponse>",
		"<RestException><Code>99999999999</Code>",
		"<!DOCTYPE x [<!ENTITY a \"aaaa\">]><RestException><Code>20404</Code><Message>&a;</Message></RestException>",
		"<"};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		twilio_answer_error(slice_from_cstr(bodies[i]), &out);
		cr_assert_eq(out.code, 0, "%s", bodies[i]);
	}
	/* Cut in the middle: what came counts. */
	twilio_answer_error(SLICE("<TwilioResponse><RestException><Code>20404</Code><Message>The requ"), &out);
	cr_assert_eq(out.code, 20404);
}
