/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "base/clock.h"
#include "base/turn.h"

#include <stdlib.h>

static struct fixture fixture;

static void start(const char *faults)
{
	struct sandbox_options options = {.seed = 3, .bytes_min = 1000, .faults = {.attempts = 1}};
	cr_assert_eq(fault_plan_parse(&options.faults, slice_from_cstr(faults), NULL), 0);
	fixture_start(&fixture, options);
}

static unsigned received(uint64_t index, const char *status)
{
	struct model_recording recording;
	unsigned count = 0;
	model_recording(sandbox_model(fixture.sandbox), index, &recording);
	for (unsigned i = 0; i < fixture.event_count; i++)
		count += strcmp(fixture.events[i].recording_sid, recording.recording_sid.text) == 0 &&
			 strcmp(fixture.events[i].status, status) == 0;
	return count;
}

static struct callbacks_stats stats(void)
{
	struct sandbox_stats all;
	sandbox_stats(fixture.sandbox, &all);
	return all.callbacks;
}

Test(callbacks, each_recording_once_signed_as_twilio_does)
{
	start("");
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 100}), 0);
	cr_assert_eq(fixture.event_count, 0, "nothing happens inside the call");
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 100);
	cr_assert_eq(fixture.ended, 100);
	for (uint64_t i = 0; i < 100; i++) {
		cr_assert_eq(received(i, "completed"), 1);
		cr_assert(fixture.events[i].signed_right);
		cr_assert_eq(strlen(fixture.events[i].token), 36);
		cr_assert_eq(model_look(sandbox_model(fixture.sandbox), i).callbacks_ok, 1);
	}
	cr_assert_eq(stats().sent, 100);
	cr_assert_eq(stats().acknowledged, 100);
	fixture_stop(&fixture);
}

Test(callbacks, the_fragment_of_the_target_is_neither_sent_nor_signed)
{
	char target[256];
	start("");
	snprintf(target, sizeof(target), "%s#rc=5&rp=all", fixture.target_url);
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 1, .target = target}), 0);
	run_until_done(&fixture);
	cr_assert(fixture.events[0].signed_right);
	fixture_stop(&fixture);
}

Test(callbacks, duplicates_and_late_in_progress_events_come_as_planned)
{
	struct fault_plan plan = {.attempts = 1};
	unsigned extra = 0;
	bool reordered = false;
	start("dup,reorder");
	cr_assert_eq(fault_plan_parse(&plan, SLICE("dup,reorder"), NULL), 0);
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 100, .concurrency = 1}),
		     0);
	run_until_done(&fixture);
	for (uint64_t i = 0; i < 100; i++) {
		unsigned copies = fault_duplicates(&plan, 3, i);
		cr_assert_eq(received(i, "completed"), 1 + copies);
		cr_assert_eq(received(i, "in-progress"), 1);
		extra += copies;
	}
	for (unsigned i = 1; i < 20; i++) {
		struct model_recording recording;
		model_recording(sandbox_model(fixture.sandbox), i, &recording);
		reordered = reordered || strcmp(fixture.events[i].recording_sid, recording.recording_sid.text) != 0;
	}
	cr_assert(reordered);
	cr_assert_eq(stats().duplicates, extra);
	cr_assert_eq(stats().in_progress, 100);
	cr_assert_eq(fixture.event_count, 200 + extra);
	fixture_stop(&fixture);
}

Test(callbacks, lost_ends_never_come_and_trunks_say_nothing_at_all)
{
	start("reorder,lost,trunk:0.5");
	unsigned lost = 0, trunk = 0, sent = 0;
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 200}), 0);
	run_until_done(&fixture);
	for (uint64_t i = 0; i < 200; i++) {
		bool is_lost = fault_lost(sandbox_faults(fixture.sandbox), 3, i);
		bool is_trunk = fault_trunk(sandbox_faults(fixture.sandbox), 3, i);
		bool begun = fault_reordered(sandbox_faults(fixture.sandbox), 3, i) && !is_trunk;
		cr_assert_eq(received(i, "completed"), !is_lost && !is_trunk);
		cr_assert_eq(received(i, "in-progress"), begun);
		lost += is_lost;
		trunk += is_trunk;
		sent += (!is_lost && !is_trunk) + begun;
	}
	cr_assert(lost > 50 && lost < 150 && trunk > 50 && trunk < 150, "%u %u", lost, trunk);
	cr_assert_eq(stats().sent, sent);
	fixture_stop(&fixture);
	start("trunk,lost:1");
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 10}), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 0);
	fixture_stop(&fixture);
}

Test(callbacks, refused_ones_are_repeated_with_the_same_token_when_asked_for)
{
	start("");
	fixture.target_refuse = 2;
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 1, .retry = true}), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 3);
	cr_assert_str_eq(fixture.events[0].token, fixture.events[2].token);
	cr_assert_eq(stats().acknowledged, 1);
	cr_assert_eq(stats().sent, 1);
	cr_assert_eq(stats().retried, 2);
	fixture_stop(&fixture);
}

Test(callbacks, without_retry_a_refusal_or_a_cut_is_the_end)
{
	start("");
	fixture.target_status = 503;
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 5}), 0);
	run_until_done(&fixture);
	cr_assert_eq(stats().refused, 5);
	fixture.target_status = 0;
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = 0, .count = 5}), 0);
	run_until_done(&fixture);
	cr_assert_eq(stats().failed, 5);
	cr_assert_eq(stats().acknowledged, 0);
	cr_assert_eq(model_look(sandbox_model(fixture.sandbox), 4).callbacks_sent, 2);
	fixture_stop(&fixture);
}

Test(callbacks, keep_to_the_rate)
{
	start("");
	uint64_t began = clock_mono_ns();
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 30, .rate = 100}), 0);
	run_until_done(&fixture);
	double seconds = (double)(clock_mono_ns() - began) / 1e9;
	cr_assert_eq(fixture.event_count, 30);
	/* The first goes at once and up to five may be caught up with; an upper bound would only measure the machine. */
	cr_assert_geq(seconds, 0.24);
	fixture_stop(&fixture);
}

Test(callbacks, one_delivery_at_a_time_and_only_to_a_url)
{
	start("");
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 1, .target = "ftp://x/"}),
		     ERR_INVALID);
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = 7, .count = 1}), ERR_LIMIT);
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 3}), 0);
	cr_assert_eq(sandbox_start_callbacks(fixture.sandbox,
					     &(struct callbacks_delivery){.from = 0, .count = 1, .target = fixture.target_url},
					     NULL),
		     ERR_LOCKED);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 3);
	fixture_stop(&fixture);
}

Test(callbacks, an_empty_delivery_ends_by_itself)
{
	start("");
	cr_assert_eq(deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 0}), 0);
	cr_assert_eq(fixture.done, 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 0);
	fixture_stop(&fixture);
}

Test(callbacks, stopping_finishes_what_is_under_way_and_ends)
{
	start("");
	cr_assert_eq(
		deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW, .count = 100000, .concurrency = 4}), 0);
	while (fixture.event_count < 20)
		turn_run(&fixture.loop);
	sandbox_stop_callbacks(fixture.sandbox);
	run_until_done(&fixture);
	cr_assert_lt(fixture.event_count, 40);
	cr_assert_eq(stats().sent, fixture.ended);
	fixture_stop(&fixture);
}

Test(callbacks, closing_at_every_turn_ends_the_delivery_exactly_once)
{
	for (unsigned turns = 0; turns < 40; turns++) {
		start("dup,reorder");
		fixture.target_refuse = 10;
		cr_assert_eq(deliver(&fixture,
				     (struct callbacks_delivery){
					     .from = CALLBACKS_FROM_NEW, .count = 50, .retry = true, .rate = turns % 2 * 1000}),
			     0);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		fixture_stop(&fixture);
		cr_assert_eq(fixture.done, 1, "after %u turns: %u", turns, fixture.done);
	}
}

Test(callbacks, the_control_endpoint_starts_a_delivery_and_refuses_a_second)
{
	char target[512];
	start("");
	snprintf(target, sizeof(target), "/sandbox/deliver?count=4&rate=20&target=%s", fixture.target_url);
	struct answer first = ask(&fixture, HTTP_POST, target, NULL);
	struct answer second = ask(&fixture, HTTP_POST, target, NULL);
	cr_assert_eq(first.status, 202, "%s", first.body);
	cr_assert_eq(second.status, 409, "%s", second.body);
	while (stats().acknowledged < 4)
		turn_run(&fixture.loop);
	struct answer wrong = ask(&fixture, HTTP_POST, "/sandbox/deliver?count=many", NULL);
	cr_assert_eq(wrong.status, 400);
	free(first.body);
	free(second.body);
	free(wrong.body);
	fixture_stop(&fixture);
}

/* ---- whole calls ---- */

#define RECORDS                                                                                                           \
	"<Response><Start><Recording recordingStatusCallback=\"/api/twilio/recording%s\" recordingStatusCallbackEvent=\"" \
	"in-progress completed\"/></Start></Response>"

static int call(uint64_t count, const char *fragment, bool retry)
{
	char target[256];
	snprintf(target, sizeof(target), "http://127.0.0.1:%d/api/twilio/incoming%s", server_port(fixture.target), fragment);
	return deliver(&fixture, (struct callbacks_delivery){.from = CALLBACKS_FROM_NEW,
							     .count = count,
							     .target = target,
							     .calls = true,
							     .retry = retry,
							     .concurrency = 2});
}

static const char *const call_paths[] = {"/api/twilio/incoming",  "/api/twilio/status", "/api/twilio/status",
					 "/api/twilio/recording", "/api/twilio/status", "/api/twilio/recording"};

Test(calls, come_with_all_their_webhooks_in_twilios_order_each_signed)
{
	static const char *const call_statuses[] = {"ringing", "ringing", "in-progress", "", "completed", ""};
	static const char *const recording_statuses[] = {"", "", "", "in-progress", "", "completed"};
	char twiml[256];
	start("");
	snprintf(twiml, sizeof(twiml), RECORDS, "");
	fixture.twiml = twiml;
	cr_assert_eq(call(20, "", false), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 120);
	for (uint64_t index = 0; index < 20; index++) {
		struct model_recording recording;
		unsigned seen = 0;
		model_recording(sandbox_model(fixture.sandbox), index, &recording);
		for (unsigned i = 0; i < fixture.event_count; i++) {
			const struct target_event *event = &fixture.events[i];
			if (strcmp(event->call_sid, recording.call_sid.text) != 0)
				continue;
			cr_assert(event->signed_right);
			cr_assert_str_eq(event->path, call_paths[seen]);
			cr_assert_str_eq(event->call_status, call_statuses[seen]);
			cr_assert_str_eq(event->status, recording_statuses[seen]);
			cr_assert_eq(strtoull(event->call_duration, NULL, 10), seen == 4 ? recording.duration_s : 0);
			seen++;
		}
		cr_assert_eq(seen, 6);
	}
	cr_assert_eq(stats().sent, 120);
	cr_assert_eq(stats().acknowledged, 120);
	cr_assert_eq(stats().calls, 20);
	cr_assert_eq(stats().in_progress, 20);
	cr_assert_eq(stats().reordered, 0);
	fixture_stop(&fixture);
}

Test(calls, end_where_twilio_would_hang_up)
{
	static const struct {
		const char *twiml, *type;
	} cases[] = {{"<Hello/>", NULL}, {"", NULL}, {"<Response/>", "application/json"}, {NULL, NULL}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		start("");
		fixture.twiml = cases[i].twiml;
		fixture.twiml_type = cases[i].type;
		cr_assert_eq(call(3, "", true), 0);
		run_until_done(&fixture);
		cr_assert_eq(fixture.event_count, 3, "case %zu: %u", i, fixture.event_count);
		cr_assert_eq(stats().bad_twiml, 3);
		cr_assert_eq(stats().failed, 3);
		fixture_stop(&fixture);
	}
	start("");
	fixture.twiml = "<Response/>";
	fixture.target_status = 403;
	cr_assert_eq(call(3, "", false), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 3);
	cr_assert_eq(stats().refused, 3);
	cr_assert_eq(stats().bad_twiml, 0);
	fixture_stop(&fixture);
}

Test(calls, without_a_recording_in_the_twiml_have_no_callback_of_one)
{
	start("");
	fixture.twiml = "<Response><Say>Hello</Say></Response>";
	cr_assert_eq(call(1, "", false), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 4);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_str_empty(fixture.events[i].status);
	fixture_stop(&fixture);
}

Test(calls, are_tried_again_as_the_fragment_of_each_url_says)
{
	char twiml[256];
	start("");
	snprintf(twiml, sizeof(twiml), RECORDS, "#rc=1&amp;rp=5xx");
	fixture.twiml = twiml;
	fixture.target_refuse = 2;
	cr_assert_eq(call(1, "#rc=2&rp=all", false), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 8);
	cr_assert_eq(stats().retried, 2);
	cr_assert_eq(stats().acknowledged, 6);
	fixture_stop(&fixture);
	start("");
	fixture.twiml = twiml;
	fixture.target_refuse = 2;
	cr_assert_eq(call(1, "#rc=1&rp=all", false), 0);
	run_until_done(&fixture);
	cr_assert_eq(fixture.event_count, 2, "an unanswered call is over");
	cr_assert_eq(stats().refused, 1);
	fixture_stop(&fixture);
}

Test(calls, need_a_target_that_answers_them)
{
	struct error error = {0};
	start("");
	cr_assert_eq(sandbox_start_callbacks(
			     fixture.sandbox,
			     &(struct callbacks_delivery){.from = 0, .count = 0, .target = fixture.target_url, .calls = true},
			     &error),
		     ERR_INVALID);
	cr_assert(strstr(error.detail, "/api/twilio/incoming") != NULL, "%s", error.detail);
	fixture_stop(&fixture);
}

Test(calls, closing_at_every_turn_ends_the_delivery_exactly_once)
{
	char twiml[256];
	snprintf(twiml, sizeof(twiml), RECORDS, "#rc=5&amp;rp=all");
	for (unsigned turns = 0; turns < 60; turns++) {
		start("dup,reorder");
		fixture.twiml = twiml;
		fixture.target_refuse = turns % 3 * 5;
		cr_assert_eq(call(10, "#rc=5&rp=all", false), 0);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		fixture_stop(&fixture);
		cr_assert_eq(fixture.done, 1, "after %u turns: %u", turns, fixture.done);
	}
}
