/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>

static struct fixture fixture;

static void start(uint64_t existing, const char *faults)
{
	struct sandbox_options options = {
		.seed = 3, .bytes_min = 10000, .existing = existing, .stall_ms = 50, .faults = {.attempts = 1}};
	cr_assert_eq(fault_plan_parse(&options.faults, slice_from_cstr(faults), NULL), 0);
	fixture_start(&fixture, options);
}

static void expect_media(const struct answer *answer, uint64_t index, enum audio_format format, int channels)
{
	struct model_recording recording;
	struct audio media;
	uint8_t expected[32], actual[32];
	model_recording(sandbox_model(fixture.sandbox), index, &recording);
	cr_assert(model_audio(sandbox_model(fixture.sandbox), &recording, format, channels, &media));
	cr_assert_eq(sandbox_audio_sha256(&media, expected), 0);
	cr_assert_eq(answer->code, 0);
	cr_assert_eq(answer->status, 200);
	cr_assert_eq(answer->len, media.bytes);
	cr_assert_eq(answer->content_length, (int64_t)media.bytes);
	cr_assert_str_eq(answer->content_type, audio_content_type(format));
	cr_assert_eq(EVP_Digest(answer->body, answer->len, actual, NULL, EVP_sha256(), NULL), 1);
	cr_assert_arr_eq(actual, expected, 32);
}

static void expect_error(struct answer answer, long status, const char *code)
{
	cr_assert_eq(answer.code, 0);
	cr_assert_eq(answer.status, status, "%ld, not %ld: %s", answer.status, status, answer.body);
	cr_assert_not_null(strstr(answer.body, code), "%s", answer.body);
	free(answer.body);
}

static json_t *expect_json(struct answer answer)
{
	cr_assert_eq(answer.status, 200, "%ld: %s", answer.status, answer.body);
	cr_assert_str_eq(answer.content_type, "application/json");
	json_t *json = json_loads(answer.body, 0, NULL);
	cr_assert_not_null(json, "%s", answer.body);
	free(answer.body);
	return json;
}

static const char *text(const json_t *json, const char *name)
{
	const char *value = json_string_value(json_object_get(json, name));
	cr_assert_not_null(value, "%s", name);
	return value;
}

Test(rest, without_credentials_nothing_is_told)
{
	start(1, "");
	expect_error(ask(&fixture, HTTP_GET, "@.json", "wrong"), 401, "{\"code\":20003");
	expect_error(ask(&fixture, HTTP_GET, recording_path(&fixture, 0, ".wav"), "wrong"), 401, "<Code>20003</Code>");
	expect_error(ask(&fixture, HTTP_DELETE, recording_path(&fixture, 0, ".json"), ""), 401, "{\"code\":20003");
	cr_assert_not(model_look(sandbox_model(fixture.sandbox), 0).deleted);
	fixture_stop(&fixture);
}

Test(rest, every_token_of_the_list_opens_it)
{
	struct sandbox_options options = {.seed = 3, .auth_token = "first,second"};
	fixture_start(&fixture, options);
	json_decref(expect_json(ask(&fixture, HTTP_GET, "@.json", "first")));
	json_decref(expect_json(ask(&fixture, HTTP_GET, "@.json", "second")));
	expect_error(ask(&fixture, HTTP_GET, "@.json", "third"), 401, "20003");
	fixture_stop(&fixture);
}

Test(rest, media_are_the_bytes_that_the_model_promises)
{
	start(20, "");
	for (uint64_t i = 0; i < 20; i++) {
		struct answer plain = get(&fixture, recording_path(&fixture, i, ""));
		struct answer wav = get(&fixture, recording_path(&fixture, i, ".wav?RequestedChannels=1"));
		struct answer mp3 = get(&fixture, recording_path(&fixture, i, ".mp3"));
		expect_media(&plain, i, AUDIO_WAV, 0);
		expect_media(&wav, i, AUDIO_WAV, 1);
		expect_media(&mp3, i, AUDIO_MP3, 0);
		free(plain.body);
		free(wav.body);
		free(mp3.body);
	}
	fixture_stop(&fixture);
}

Test(rest, two_channels_of_a_mono_recording_are_error_16113)
{
	unsigned refused = 0;
	start(20, "");
	for (uint64_t i = 0; i < 20; i++) {
		struct answer answer = get(&fixture, recording_path(&fixture, i, ".wav?RequestedChannels=2"));
		struct model_recording recording;
		model_recording(sandbox_model(fixture.sandbox), i, &recording);
		if (recording.channels == 2) {
			expect_media(&answer, i, AUDIO_WAV, 2);
			free(answer.body);
		} else {
			expect_error(answer, 400, "<Code>16113</Code>");
			refused++;
		}
	}
	cr_assert(refused > 0 && refused < 20);
	fixture_stop(&fixture);
}

Test(rest, a_recording_and_its_call_describe_each_other)
{
	start(3, "");
	json_t *recording = expect_json(get(&fixture, recording_path(&fixture, 1, ".json")));
	char path[64];
	snprintf(path, sizeof(path), "@/Calls/%s.json", text(recording, "call_sid"));
	json_t *call = expect_json(get(&fixture, path));
	cr_assert_str_eq(text(call, "sid"), text(recording, "call_sid"));
	cr_assert_str_eq(text(call, "status"), "completed");
	cr_assert_str_eq(text(recording, "status"), "completed");
	cr_assert_eq(text(call, "from")[0], '+');
	snprintf(path, sizeof(path), "@/Calls/%s/Recordings.json", text(recording, "call_sid"));
	json_t *list = expect_json(get(&fixture, path));
	cr_assert_eq(json_array_size(json_object_get(list, "recordings")), 1);
	cr_assert_str_eq(text(json_array_get(json_object_get(list, "recordings"), 0), "sid"), text(recording, "sid"));
	json_decref(list);
	json_decref(recording);
	json_decref(call);
	fixture_stop(&fixture);
}

Test(rest, strangers_are_not_found_in_the_form_that_was_asked_for)
{
	start(1, "");
	expect_error(get(&fixture, "@/Recordings/RE00000000000000000000000000000000.json"), 404, "{\"code\":20404");
	expect_error(get(&fixture, "@/Recordings/RE00000000000000000000000000000000.wav"), 404, "<Code>20404</Code>");
	expect_error(get(&fixture, "@/Recordings/nonsense"), 404, "<Code>20404</Code>");
	expect_error(get(&fixture, "@/Calls/CA00000000000000000000000000000000.json"), 404, "{\"code\":20404");
	expect_error(get(&fixture, "/2010-04-01/Accounts/AC00000000000000000000000000000000.json"), 404, "{\"code\":20404");
	expect_error(get(&fixture, "@/a/b/c/d/e"), 404, "20404");
	expect_error(get(&fixture, "/"), 404, "20404");
	fixture_stop(&fixture);
}

Test(rest, deleted_once_then_gone)
{
	start(2, "");
	struct answer deleted = ask(&fixture, HTTP_DELETE, recording_path(&fixture, 0, ".json"), SANDBOX_AUTH_TOKEN);
	cr_assert_eq(deleted.status, 204);
	cr_assert_eq(deleted.len, 0);
	free(deleted.body);
	expect_error(ask(&fixture, HTTP_DELETE, recording_path(&fixture, 0, ".json"), SANDBOX_AUTH_TOKEN), 404, "20404");
	expect_error(get(&fixture, recording_path(&fixture, 0, ".wav")), 404, "20404");
	expect_error(get(&fixture, recording_path(&fixture, 0, ".json")), 404, "20404");
	json_t *soft = expect_json(get(&fixture, recording_path(&fixture, 0, ".json?IncludeSoftDeleted=true")));
	cr_assert_str_eq(text(soft, "status"), "deleted");
	json_decref(soft);
	cr_assert_eq(model_look(sandbox_model(fixture.sandbox), 0).deletes, 1);
	fixture_stop(&fixture);
}

Test(rest, pages_show_every_recording_once_even_while_new_ones_come)
{
	bool seen[25] = {false};
	unsigned pages = 0, found = 0;
	char next[512] = "@/Recordings.json?PageSize=10";
	start(25, "");
	while (next[0] != '\0') {
		json_t *page = expect_json(get(&fixture, next));
		json_t *recordings = json_object_get(page, "recordings");
		const char *uri = json_string_value(json_object_get(page, "next_page_uri"));
		for (size_t i = 0; i < json_array_size(recordings); i++) {
			uint64_t index;
			cr_assert(model_find(sandbox_model(fixture.sandbox),
					     slice_from_cstr(text(json_array_get(recordings, i), "sid")), "RE", &index));
			cr_assert_lt(index, 25);
			cr_assert_not(seen[index]);
			seen[index] = true;
			found++;
		}
		cr_assert_eq(model_grow(sandbox_model(fixture.sandbox), 3), 0);
		snprintf(next, sizeof(next), "%s", uri == NULL ? "" : uri);
		json_decref(page);
		pages++;
	}
	cr_assert_eq(pages, 3);
	cr_assert_eq(found, 25);
	fixture_stop(&fixture);
}

static size_t listed(const char *query)
{
	char target[256];
	snprintf(target, sizeof(target), "@/Recordings.json?%s", query);
	json_t *page = expect_json(get(&fixture, target));
	size_t count = json_array_size(json_object_get(page, "recordings"));
	json_decref(page);
	return count;
}

Test(rest, the_list_is_filtered_by_date_as_documented_and_as_the_sdks_do)
{
	/* From 2026-11-24 00:00:00 on one begins each second, lasts one, and is created when it ends. */
	struct sandbox_options options = {
		.seed = 3, .bytes_min = 10000, .channels = 1, .existing = 20, .base_ms = INT64_C(1795478400000)};
	fixture_start(&fixture, options);
	cr_assert_eq(listed("DateCreated=2026-11-24"), 20);
	cr_assert_eq(listed("DateCreated=2026-11-23"), 0);
	cr_assert_eq(listed("DateCreated%3E=2026-11-24"), 20);
	cr_assert_eq(listed("DateCreated%3E=2026-11-25"), 0);
	cr_assert_eq(listed("DateCreated%3C=2026-11-23"), 0);
	cr_assert_eq(listed("DateCreated%3C=2026-11-24"), 20);
	cr_assert_eq(listed("DateCreated%3E=2026-11-24T00:00:05Z"), 16);
	cr_assert_eq(listed("DateCreated%3E=2026-11-24T00:00:05Z&DateCreated%3C=2026-11-24T00:00:09Z"), 5);
	expect_error(get(&fixture, "@/Recordings.json?DateCreated=yesterday"), 400, "20001");
	expect_error(get(&fixture, "@/Recordings.json?PageSize=0"), 400, "20001");
	expect_error(get(&fixture, "@/Recordings.json?PageToken=PARE99"), 400, "20001");
	fixture_stop(&fixture);
}

Test(rest, the_date_of_the_list_is_that_of_creation_which_is_the_end)
{
	/* 2026-11-24 23:59:50; a recording of 20 s */
	struct sandbox_options options = {
		.seed = 3, .bytes_min = 320044, .channels = 1, .existing = 1, .base_ms = INT64_C(1795564790000)};
	fixture_start(&fixture, options);
	cr_assert_eq(listed("DateCreated=2026-11-24"), 0);
	cr_assert_eq(listed("DateCreated=2026-11-25"), 1);
	fixture_stop(&fixture);
}

Test(rest, recordings_are_spread_over_days_and_those_of_trunks_say_so)
{
	struct sandbox_options options = {
		.seed = 3, .bytes_min = 10000, .existing = 9, .base_ms = INT64_C(1795478400000), .days = 3};
	cr_assert_eq(fault_plan_parse(&options.faults, SLICE("trunk:1"), NULL), 0);
	fixture_start(&fixture, options);
	cr_assert_eq(listed("DateCreated=2026-11-24"), 3);
	cr_assert_eq(listed("DateCreated=2026-11-23"), 3);
	cr_assert_eq(listed("DateCreated=2026-11-22"), 3);
	json_t *page = expect_json(get(&fixture, "@/Recordings.json"));
	size_t i;
	json_t *entry;
	json_array_foreach(json_object_get(page, "recordings"), i, entry) cr_assert_str_eq(text(entry, "source"), "Trunking");
	json_decref(page);
	json_t *one = expect_json(get(&fixture, recording_path(&fixture, 0, ".json")));
	cr_assert_str_eq(text(one, "source"), "Trunking");
	json_decref(one);
	fixture_stop(&fixture);
}

Test(rest, a_404_comes_first_and_the_description_says_processing_meanwhile)
{
	start(1, "404-first");
	json_t *early = expect_json(get(&fixture, recording_path(&fixture, 0, ".json")));
	cr_assert_str_eq(text(early, "status"), "processing");
	json_decref(early);
	expect_error(get(&fixture, recording_path(&fixture, 0, ".wav")), 404, "20404");
	struct answer second = get(&fixture, recording_path(&fixture, 0, ".wav"));
	expect_media(&second, 0, AUDIO_WAV, 0);
	free(second.body);
	json_t *later = expect_json(get(&fixture, recording_path(&fixture, 0, ".json")));
	cr_assert_str_eq(text(later, "status"), "completed");
	json_decref(later);
	fixture_stop(&fixture);
}

Test(rest, error_faults_strike_each_kind_of_request_and_heal)
{
	bool with = false, without = false;
	start(20, "429");
	for (uint64_t i = 0; i < 20; i++) {
		struct answer first = get(&fixture, recording_path(&fixture, i, ".json"));
		with = with || first.retry_after_ms == 1000;
		without = without || first.retry_after_ms == -1;
		expect_error(first, 429, "\"code\":20429");
		json_decref(expect_json(get(&fixture, recording_path(&fixture, i, ".json"))));
		expect_error(get(&fixture, recording_path(&fixture, i, ".wav")), 429, "<Code>20429</Code>");
	}
	cr_assert(with && without, "some with Retry-After, some without");
	fixture_stop(&fixture);
}

Test(rest, a_500_does_not_delete_and_a_reset_does)
{
	struct fault_plan plan = {.attempts = 1};
	start(2, "500");
	expect_error(ask(&fixture, HTTP_DELETE, recording_path(&fixture, 0, ".json"), SANDBOX_AUTH_TOKEN), 500, "20500");
	cr_assert_not(model_look(sandbox_model(fixture.sandbox), 0).deleted);
	cr_assert_eq(fault_plan_parse(&plan, SLICE("reset"), NULL), 0);
	sandbox_set_faults(fixture.sandbox, &plan);
	struct answer cut = ask(&fixture, HTTP_DELETE, recording_path(&fixture, 1, ".json"), SANDBOX_AUTH_TOKEN);
	/* A kept connection that dies before the first byte is an invitation to try again, which the client may take. */
	cr_assert(cut.code != 0 || cut.status == 404);
	cr_assert(model_look(sandbox_model(fixture.sandbox), 1).deleted, "the answer was lost, not the deletion");
	free(cut.body);
	fixture_stop(&fixture);
}

Test(rest, truncate_announces_more_than_it_sends)
{
	start(1, "truncate");
	struct answer cut = get(&fixture, recording_path(&fixture, 0, ".wav"));
	cr_assert_neq(cut.code, 0);
	cr_assert_eq(cut.status, 200);
	cr_assert_geq(cut.content_length, 9997);
	free(cut.body);
	cr_assert_eq(model_look(sandbox_model(fixture.sandbox), 0).media_complete, 0);
	struct answer whole = get(&fixture, recording_path(&fixture, 0, ".wav"));
	expect_media(&whole, 0, AUDIO_WAV, 0);
	free(whole.body);
	cr_assert_eq(model_look(sandbox_model(fixture.sandbox), 0).media_complete, 1);
	fixture_stop(&fixture);
}

Test(rest, wrong_length_is_a_complete_answer_with_half_a_file)
{
	start(1, "wrong-length");
	struct answer half = get(&fixture, recording_path(&fixture, 0, ".wav"));
	cr_assert_eq(half.code, 0);
	cr_assert_eq(half.status, 200);
	cr_assert_eq((int64_t)half.len, half.content_length);
	cr_assert_leq(half.len, 5000);
	cr_assert_arr_eq(half.body, "RIFF", 4);
	free(half.body);
	fixture_stop(&fixture);
}

Test(rest, xml_body_is_a_200_with_twilios_error_as_xml_or_called_audio)
{
	bool audio = false, xml = false;
	start(20, "xml-body");
	for (uint64_t i = 0; i < 20; i++) {
		struct answer answer = get(&fixture, recording_path(&fixture, i, ".wav"));
		cr_assert_eq(answer.status, 200);
		cr_assert_not_null(strstr(answer.body, "<TwilioResponse>"));
		audio = audio || strcmp(answer.content_type, "audio/x-wav") == 0;
		xml = xml || strcmp(answer.content_type, "application/xml") == 0;
		free(answer.body);
	}
	cr_assert(audio && xml);
	fixture_stop(&fixture);
}

Test(rest, slow_stalled_and_redirected_downloads_arrive_whole)
{
	static const char *const faults[] = {"slow", "stall", "redirect"};
	for (size_t i = 0; i < 3; i++) {
		struct sandbox_stats stats;
		start(1, faults[i]);
		struct answer answer = get(&fixture, recording_path(&fixture, 0, ".wav"));
		expect_media(&answer, 0, AUDIO_WAV, 0);
		sandbox_stats(fixture.sandbox, &stats);
		cr_assert_eq(stats.faults[FAULT_STALL] + stats.faults[FAULT_SLOW] + stats.faults[FAULT_REDIRECT], 1);
		free(answer.body);
		fixture_stop(&fixture);
	}
}

Test(rest, the_listing_says_what_each_recording_must_become)
{
	start(5, "");
	json_t *list = expect_json(get(&fixture, "/sandbox/recordings?from=1&limit=3&format=mp3"));
	json_t *recordings = json_object_get(list, "recordings");
	cr_assert_eq(json_array_size(recordings), 3);
	for (size_t i = 0; i < 3; i++) {
		const json_t *item = json_array_get(recordings, i);
		char target[128], hex[65];
		uint8_t sha256[32];
		snprintf(target, sizeof(target), "@/Recordings/%s.mp3", text(item, "sid"));
		struct answer answer = get(&fixture, target);
		cr_assert_eq(EVP_Digest(answer.body, answer.len, sha256, NULL, EVP_sha256(), NULL), 1);
		for (size_t k = 0; k < 32; k++)
			snprintf(hex + 2 * k, 3, "%02x", sha256[k]);
		cr_assert_str_eq(text(item, "sha256"), hex);
		cr_assert_eq(json_integer_value(json_object_get(item, "bytes")), (json_int_t)answer.len);
		free(answer.body);
	}
	json_decref(list);
	fixture_stop(&fixture);
}

Test(rest, faults_can_be_changed_while_it_runs_and_bad_ones_are_refused)
{
	start(1, "");
	free(ask(&fixture, HTTP_POST, "/sandbox/faults?fault=500&attempts=0", NULL).body);
	for (unsigned i = 0; i < 5; i++)
		expect_error(get(&fixture, recording_path(&fixture, 0, ".wav")), 500, "20500");
	expect_error(ask(&fixture, HTTP_POST, "/sandbox/faults?fault=nonsense", NULL), 400, "unknown fault");
	expect_error(get(&fixture, recording_path(&fixture, 0, ".wav")), 500, "20500");
	free(ask(&fixture, HTTP_POST, "/sandbox/faults?fault=", NULL).body);
	struct answer answer = get(&fixture, recording_path(&fixture, 0, ".wav"));
	expect_media(&answer, 0, AUDIO_WAV, 0);
	free(answer.body);
	expect_error(get(&fixture, "/sandbox/faults"), 405, "POST");
	expect_error(get(&fixture, "/sandbox/nonsense"), 404, "known");
	json_t *stats = expect_json(get(&fixture, "/sandbox/stats"));
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(stats, "faults"), "500")), 6);
	json_decref(stats);
	fixture_stop(&fixture);
}

static void cut_short(struct http_client_request *request, int status)
{
	(void)status;
	http_client_request_release(request);
}

Test(rest, closing_in_the_middle_of_stalled_downloads_and_listings_leaves_nothing_open)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		char urls[3][256];
		struct http_client_request requests[3] = {0};
		start(3, "stall");
		snprintf(urls[0], 256, "http://127.0.0.1:%d/sandbox/recordings", sandbox_port(fixture.sandbox));
		for (unsigned i = 1; i < 3; i++)
			snprintf(urls[i], 256, "http://127.0.0.1:%d/2010-04-01/Accounts/" SANDBOX_ACCOUNT_SID "%s",
				 sandbox_port(fixture.sandbox), recording_path(&fixture, i, ".wav") + 1);
		for (unsigned i = 0; i < 3; i++) {
			requests[i] = (struct http_client_request){.url = urls[i],
								   .username = SANDBOX_ACCOUNT_SID,
								   .password = SANDBOX_AUTH_TOKEN,
								   .done = cut_short};
			cr_assert_eq(http_client_start(fixture.client, &requests[i]), 0);
		}
		for (unsigned i = 0; i < turns; i++)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		fixture_stop(&fixture);
	}
}

Test(rest, options_that_make_no_sense_are_refused_with_a_message)
{
	static const struct sandbox_options wrong[] = {
		{.account_sid = "AC12"},
		{.auth_token = ""},
		{.auth_token = "a,,b"},
		{.bytes_min = 10},
		{.bytes_min = 1000, .bytes_max = 999},
		{.bytes_min = UINT64_C(1) << 33},
		{.listen = "nonsense"},
		{.existing = MODEL_MAX_RECORDINGS + 1},
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uv_loop_t loop;
		struct sandbox *sandbox = NULL;
		struct error error = {0};
		cr_assert_eq(uv_loop_init(&loop), 0);
		cr_assert_lt(sandbox_new(&sandbox, &loop, &wrong[i], &error), 0, "%zu", i);
		cr_assert_null(sandbox);
		cr_assert_neq(error.detail[0], '\0');
		uv_run(&loop, UV_RUN_DEFAULT);
		cr_assert_eq(uv_loop_close(&loop), 0);
	}
}
