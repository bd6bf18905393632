/* SPDX-License-Identifier: MIT */
/* Whole calls: in which order their webhooks come, where they go, and what an answer says. */
#include "sandbox/call_script.h"
#include "sandbox/callback_url.h"
#include "sandbox/twiml_read.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SEED 9

static struct call_script script_of(const char *faults, uint64_t index)
{
	struct fault_plan plan = {.attempts = 1};
	struct call_script script;
	cr_assert_eq(fault_plan_parse(&plan, slice_from_cstr(faults), NULL), 0);
	call_script_make(&script, &plan, SEED, index);
	return script;
}

static unsigned count_of(const struct call_script *script, enum callback_kind kind)
{
	unsigned count = 0;
	for (size_t i = 0; i < script->count; i++)
		count += script->steps[i].kind == kind;
	return count;
}

static const enum callback_kind in_order[] = {CALLBACK_CALL_INCOMING, CALLBACK_CALL_RINGING, CALLBACK_CALL_ANSWERED,
					      CALLBACK_IN_PROGRESS,   CALLBACK_CALL_ENDED,   CALLBACK_COMPLETED};

Test(call_script, has_the_webhooks_of_a_call_in_twilios_order)
{
	struct call_script script = script_of("", 5);
	cr_assert_eq(script.count, 6);
	cr_assert_not(script.reordered);
	for (size_t i = 0; i < 6; i++) {
		cr_assert_eq(script.steps[i].kind, in_order[i]);
		cr_assert_eq(script.steps[i].copy, 0);
	}
}

Test(call_script, dup_repeats_any_of_them_behind_the_first_of_its_kind)
{
	unsigned at_once = 0, late = 0;
	for (uint64_t index = 0; index < 50; index++) {
		struct call_script script = script_of("dup", index);
		unsigned seen[6] = {0};
		for (size_t i = 0; i < script.count; i++) {
			const struct call_step *step = &script.steps[i];
			cr_assert((step->copy == 0) == (seen[step->kind]++ == 0), "the first of a kind comes first");
			at_once += step->copy > 0 && script.steps[i - 1].kind == step->kind;
			late += step->copy > 0 && script.steps[i - 1].kind != step->kind;
		}
		for (size_t kind = 0; kind < 6; kind++)
			cr_assert(seen[kind] >= 2 && seen[kind] <= 4, "%u", seen[kind]);
	}
	cr_assert(at_once > 50 && late > 50, "%u %u", at_once, late);
}

Test(call_script, reorder_shuffles_all_but_the_first)
{
	unsigned recording_before_end = 0, begin_behind_end = 0;
	for (uint64_t index = 0; index < 100; index++) {
		struct call_script script = script_of("reorder", index);
		cr_assert(script.reordered);
		cr_assert_eq(script.count, 6);
		cr_assert_eq(script.steps[0].kind, CALLBACK_CALL_INCOMING);
		for (size_t kind = 0; kind < 6; kind++)
			cr_assert_eq(count_of(&script, (enum callback_kind)kind), 1);
		recording_before_end += script.steps[5].kind == CALLBACK_CALL_ENDED;
		begin_behind_end += script.steps[5].kind == CALLBACK_CALL_RINGING;
	}
	cr_assert(recording_before_end > 5 && begin_behind_end > 5, "%u %u", recording_before_end, begin_behind_end);
}

Test(call_script, lost_takes_the_recordings_end_away_and_never_fills_the_script)
{
	for (uint64_t index = 0; index < 1000; index++) {
		struct call_script script = script_of("lost,dup,reorder", index);
		cr_assert_eq(count_of(&script, CALLBACK_COMPLETED), 0);
		cr_assert_leq(script.count, CALL_SCRIPT_MAX);
	}
}

static struct callback_url url_of(const char *text)
{
	struct callback_url url;
	cr_assert_eq(callback_url_parse(&url, text, NULL), 0);
	return url;
}

Test(callback_url, the_fragment_says_how_often_and_after_what_to_try_again)
{
	const struct {
		const char *fragment;
		unsigned retries;
		bool after_404, after_500, after_nothing;
	} cases[] = {
		{"", 0, false, false, false},
		{"#rc=5&rp=all", 5, true, true, true},
		{"#rp=5xx,ct&rc=2", 2, false, true, true},
		{"#rc=3", 3, false, false, true},
		{"#rc=1&rp=4xx", 1, true, false, false},
		{"#rc=9&rp=all", 0, false, false, false},
		{"#rc=2&rp=never", 2, false, false, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[128];
		snprintf(text, sizeof(text), "http://127.0.0.1/x%s", cases[i].fragment);
		struct callback_url url = url_of(text);
		cr_assert_str_eq(url.text, "http://127.0.0.1/x");
		cr_assert_eq(url.retries, cases[i].retries, "%s", cases[i].fragment);
		cr_assert_eq(callback_url_tries_again(&url, 0, 404), cases[i].after_404, "%s", cases[i].fragment);
		cr_assert_eq(callback_url_tries_again(&url, 0, 503), cases[i].after_500, "%s", cases[i].fragment);
		cr_assert_eq(callback_url_tries_again(&url, 0, 0), cases[i].after_nothing, "%s", cases[i].fragment);
		cr_assert_not(callback_url_tries_again(&url, url.retries, 0));
		callback_url_retry_all(&url);
		cr_assert(callback_url_tries_again(&url, 4, 404) && !callback_url_tries_again(&url, 5, 404));
	}
}

Test(callback_url, a_path_is_resolved_against_the_url_of_its_document)
{
	struct callback_url base = url_of("https://hooks.example.com:8443/api/twilio/incoming?x=/y");
	struct callback_url url;
	cr_assert_eq(callback_url_resolve(&url, "/cb?a=b#rc=1&rp=all", &base, NULL), 0);
	cr_assert_str_eq(url.text, "https://hooks.example.com:8443/cb?a=b");
	cr_assert_eq(url.retries, 1);
	cr_assert_eq(callback_url_resolve(&url, "http://other/cb", &base, NULL), 0);
	cr_assert_str_eq(url.text, "http://other/cb");
	cr_assert_eq(callback_url_resolve(&url, "//other/cb", &base, NULL), ERR_INVALID);
	cr_assert_eq(callback_url_resolve(&url, "cb", &base, NULL), ERR_INVALID);
	cr_assert_eq(callback_url_parse(&url, "/cb", NULL), ERR_INVALID);
	cr_assert_eq(callback_url_parse(&url, NULL, NULL), ERR_INVALID);
}

Test(callback_url, what_is_too_long_is_refused)
{
	char text[CALLBACK_URL_SIZE + 16] = "http://x/";
	struct callback_url url = {.text = "untouched"};
	memset(text + 9, 'a', CALLBACK_URL_SIZE - 9);
	cr_assert_eq(callback_url_parse(&url, text, NULL), ERR_LIMIT);
	cr_assert_str_eq(url.text, "untouched");
	text[CALLBACK_URL_SIZE - 1] = '\0';
	cr_assert_eq(callback_url_parse(&url, text, NULL), 0);
	cr_assert_not(callback_url_replace_end(&url, SLICE("a"), SLICE("bb")));
	cr_assert(callback_url_replace_end(&url, SLICE("aa"), SLICE("b")));
	cr_assert_not(callback_url_replace_end(&url, SLICE("aa"), SLICE("b")));
}

static int read_text(const char *text, struct twiml_recording *recording)
{
	return twiml_read(slice_from_cstr(text), recording);
}

Test(twiml_read, finds_the_recordings_callback_and_its_events)
{
	struct twiml_recording recording;
	cr_assert_eq(read_text("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say>Hello</Say><Start><Recording "
			       "recordingStatusCallback=\"https://x/cb#rc=5&amp;rp=all\" "
			       "recordingStatusCallbackEvent=\"in-progress completed absent\"/></Start></Response>",
			       &recording),
		     0);
	cr_assert_str_eq(recording.callback, "https://x/cb#rc=5&rp=all");
	cr_assert(recording.in_progress && recording.completed);
	cr_assert_eq(read_text("<Response><Dial recordingStatusCallback='/cb'>+1</Dial></Response>", &recording), 0);
	cr_assert(!recording.in_progress && recording.completed);
	cr_assert_eq(
		read_text("<Response><Record recordingStatusCallback='/cb' recordingStatusCallbackEvent='absent in-progress'/>"
			  "</Response>",
			  &recording),
		0);
	cr_assert(recording.in_progress && !recording.completed);
	cr_assert_eq(read_text("<Response/>", &recording), 0);
	cr_assert_str_empty(recording.callback);
}

Test(twiml_read, refuses_what_twilio_would_not_play)
{
	static const char *const documents[] = {
		"",
		"{\"error\":\"no\"}",
		"<Response>",
		"<response/>",
		"<html><Response recordingStatusCallback='/cb'/></html>",
		"<!DOCTYPE x [<!ENTITY e 'e'>]><Response>&e;</Response>",
		" <?xml version=\"1.0\"?><Response/>",
	};
	struct twiml_recording recording;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		cr_assert_eq(read_text(documents[i], &recording), ERR_MALFORMED, "%s", documents[i]);
}
