/* SPDX-License-Identifier: MIT */
/* Whole jobs: what each answer of Twilio, store and ledger makes of a recording. */
#include "base/clock.h"
#include "loop/pipeline/fixture.h"

#define KEY_OF(n) "rec/2022/04/20/CA0000000000000000000000000000000" #n "/RE0000000000000000000000000000000" #n

static void setup(void)
{
	fixture_init(1);
}

TestSuite(pipeline, .init = setup, .fini = fixture_close, .timeout = 60);

static void run_to_the_end(void)
{
	fixture_start();
	RUN_UNTIL(ALL_ENDED() && pipeline_running(fx.pipeline) == 0);
}

static struct fake_row *row(size_t n)
{
	return &fx.ledger.rows[n];
}

Test(pipeline, a_recording_is_stored_recorded_and_told)
{
	run_to_the_end();
	const struct fake_object *object = fake_store_find(&fx.store, KEY_OF(0) ".wav");
	cr_assert_not_null(object, "%s", row(0)->job.key);
	cr_assert_eq(object->puts, 1);
	cr_assert_eq(object->digest.bytes, 20000);
	cr_assert_eq(object->announced, 20000);
	cr_assert_str_eq(object->content_type, "audio/wav");
	cr_assert_str_eq(object->channels, "2");
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->recorded, 1);
	cr_assert_eq(row(0)->job.bytes, 20000);
	cr_assert_eq(row(0)->job.attempts, 0);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DONE], 1);
	cr_assert_str_eq(fx.last_url, "fake://" KEY_OF(0) ".wav");
	cr_assert_eq(METRIC_OF(METRIC_JOBS_FINISHED, "stored"), 1);
	cr_assert_eq(METRIC_OF(METRIC_TRANSFER_BYTES, "in"), 20000);
	cr_assert_eq(METRIC_OF(METRIC_TRANSFER_BYTES, "out"), 20000);
	cr_assert_eq(METRIC_OF(METRIC_TRANSFERS_IN_FLIGHT), 0);
	struct idempotency_question question;
	idempotency_ask(fx.filter, &question, &row(0)->job.recording_sid, RECORDING_COMPLETED);
	cr_assert_eq(question.answer, IDEMPOTENCY_ARCHIVED);
	idempotency_forget(&question);
	/* Without a purge RECORD ends the lease: no second transaction. */
	cr_assert_eq(fx.ledger.submitted[LEDGER_FINISH], 0);
	cr_assert_eq(fx.twilio.started[TWILIO_RECORDING], 0);
}

static const size_t sizes[] = {45, 1999, 2047, 2048, 2049, 4096, 8191, 8192, 8193, 16384, 40960, 50001};

static struct fake_answer by_size(struct fake_twilio *fake, const struct twilio_request *request)
{
	size_t n = strtoul(request->recording_sid.text + 2, NULL, 16);
	return fake_media(sizes[n]);
}

Test(pipeline, sizes_around_every_chunk_border_arrive_whole)
{
	fixture_close();
	memset(&fx, 0, sizeof(fx));
	fixture_init(sizeof(sizes) / sizeof(sizes[0]));
	fx.twilio.answer = by_size;
	run_to_the_end();
	for (size_t i = 0; i < fx.ledger.count; i++)
		cr_assert_eq(row(i)->job.bytes, (int64_t)sizes[i]);
	cr_assert_eq(fx.store.count, fx.ledger.count);
}

Test(pipeline, mp3_is_asked_for_and_stored_as_such)
{
	fx.options.mp3 = true;
	fx.media.text = "ID3\x04...........................................................";
	fx.media.content_type = "audio/mpeg";
	run_to_the_end();
	const struct fake_object *object = fake_store_find(&fx.store, KEY_OF(0) ".mp3");
	cr_assert_not_null(object);
	cr_assert_str_eq(object->content_type, "audio/mpeg");
}

Test(pipeline, a_conference_has_no_call_to_look_up)
{
	row(0)->job.conference_sid = fake_sid("CF", 0);
	row(0)->job.call_sid = (struct sid){""};
	row(0)->call_known = false;
	fx.options.unknown_call = UNKNOWN_CALL_SKIP;
	run_to_the_end();
	cr_assert_eq(fx.ledger.submitted[LEDGER_LOOKUP_CALL], 0);
	cr_assert_not_null(fake_store_find(
		&fx.store, "rec/2022/04/20/CF00000000000000000000000000000000/RE00000000000000000000000000000000.wav"));
}

Test(pipeline, a_key_recorded_once_is_used_again)
{
	snprintf(row(0)->job.key, sizeof(row(0)->job.key), "old/place.wav");
	fx.options.mp3 = true; /* the setting changed since */
	run_to_the_end();
	cr_assert_not_null(fake_store_find(&fx.store, "old/place.wav"));
}

/* ---- the call ---- */

Test(pipeline, an_unknown_call_is_fetched_and_created)
{
	row(0)->call_known = false;
	run_to_the_end();
	cr_assert_eq(fx.twilio.started[TWILIO_CALL], 1);
	cr_assert_eq(fx.ledger.calls_created, 1);
	cr_assert_eq(row(0)->status, LEDGER_STORED);
}

Test(pipeline, a_call_that_twilio_does_not_know_does_not_lose_its_recording)
{
	row(0)->call_known = false;
	fx.json = fake_failure(404);
	run_to_the_end();
	cr_assert_eq(fx.ledger.calls_created, 0);
	cr_assert_eq(row(0)->status, LEDGER_STORED);
}

Test(pipeline, an_unknown_call_is_skipped_where_that_is_wanted)
{
	row(0)->call_known = false;
	fx.options.unknown_call = UNKNOWN_CALL_SKIP;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_SKIPPED);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 0);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_SKIPPED], 1);
	cr_assert_eq(METRIC_OF(METRIC_JOBS_FINISHED, "skipped"), 1);
}

Test(pipeline, a_known_call_is_archived_even_with_skip)
{
	fx.options.unknown_call = UNKNOWN_CALL_SKIP;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
}

Test(pipeline, unknown_calls_are_archived_without_asking_where_that_is_wanted)
{
	row(0)->call_known = false;
	fx.options.unknown_call = UNKNOWN_CALL_ARCHIVE;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(fx.twilio.started[TWILIO_CALL], 0);
	cr_assert_eq(fx.ledger.submitted[LEDGER_LOOKUP_CALL], 0);
}

/* ---- what Twilio sends instead of the recording ---- */

static void expect_dead(const char *step, const char *reason)
{
	char start[64];
	snprintf(start, sizeof(start), "%s: %s: ", step, reason);
	cr_assert_eq(row(0)->status, LEDGER_DEAD);
	cr_assert_eq(strncmp(row(0)->last_error, start, strlen(start)), 0, "%s", row(0)->last_error);
	cr_assert_str_eq(fx.last_step, step);
	cr_assert_eq(fx.store.count, 0);
	cr_assert_eq(METRIC_OF(METRIC_JOBS_FINISHED, "dead"), 1);
}

Test(pipeline, xml_with_status_200_never_reaches_the_store)
{
	fx.media.text = "<?xml version='1.0' "
			"encoding='UTF-8'?><TwilioResponse><RestException><Status>404</Status></RestException></TwilioResponse>";
	fx.media.content_type = "text/xml";
	run_to_the_end();
	expect_dead("transfer", "media_type");
	cr_assert_not_null(strstr(row(0)->last_error, "<?xml version"));
	cr_assert_eq(fx.store.ops[FAKE_OPEN], 0);
	cr_assert_eq(row(0)->job.attempts, 4);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_RETRY], 3);
	cr_assert_eq(METRIC_OF(METRIC_RETRIES, "transfer", "media_type"), 3);
}

Test(pipeline, a_page_that_calls_itself_audio_is_refused_as_well)
{
	fx.media.text = "{\"code\":20404,\"message\":\"not found\"}";
	run_to_the_end();
	expect_dead("transfer", "media_type");
}

Test(pipeline, an_empty_body_is_no_recording)
{
	fx.media = fake_media(0);
	run_to_the_end();
	expect_dead("transfer", "media_length");
	cr_assert_eq(fx.store.ops[FAKE_OPEN], 0);
}

Test(pipeline, fewer_bytes_than_content_length_are_taken_back)
{
	fx.media.content_length = 30000;
	run_to_the_end();
	expect_dead("transfer", "media_length");
	cr_assert_eq(fx.store.ops[FAKE_ABORT], fx.store.ops[FAKE_OPEN]);
}

Test(pipeline, fewer_bytes_than_the_wav_header_announces_are_taken_back)
{
	fx.media.riff_bytes = 20002;
	run_to_the_end();
	expect_dead("transfer", "media_length");
	cr_assert_eq(fx.store.ops[FAKE_COMMIT], 0);
}

Test(pipeline, without_content_length_the_recording_is_stored_all_the_same)
{
	fx.media.content_length = -1;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(fx.store.objects[0].announced, -1);
}

static struct fake_answer cut_once(struct fake_twilio *fake, const struct twilio_request *request)
{
	struct fake_answer answer = fake_media(20000);
	if (fake->started[TWILIO_MEDIA] == 1) {
		answer.bytes = 9000;
		answer.content_length = 20000;
		answer.riff_bytes = 20000;
		answer.status = ERR_RESET;
	}
	return answer;
}

Test(pipeline, a_connection_lost_in_the_middle_is_tried_again)
{
	fx.twilio.answer = cut_once;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->outcomes[LEDGER_OUTCOME_WAIT], 1);
	cr_assert_eq(fx.store.ops[FAKE_ABORT], 1);
	cr_assert_eq(row(0)->job.bytes, 20000);
}

static struct fake_answer mono_only(struct fake_twilio *fake, const struct twilio_request *request)
{
	return request->channels == 2 ? fake_failure(400) : fake_media(20000);
}

Test(pipeline, one_channel_is_taken_where_two_are_refused_in_the_same_attempt)
{
	fx.twilio.answer = mono_only;
	fx.options.channels = 2;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->job.attempts, 0);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 2);
}

Test(pipeline, a_400_for_one_channel_is_an_end)
{
	fx.options.channels = 1;
	fx.media = fake_failure(400);
	run_to_the_end();
	expect_dead("transfer", "http_client");
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
}

/* ---- media 404 ---- */

static unsigned missing_times;
static struct fake_answer missing_at_first(struct fake_twilio *fake, const struct twilio_request *request)
{
	if (request->op != TWILIO_MEDIA)
		return fx.json;
	return fake->started[TWILIO_MEDIA] <= missing_times ? fake_failure(404) : fake_media(20000);
}

Test(pipeline, media_that_comes_late_is_waited_for)
{
	fx.twilio.answer = missing_at_first;
	fx.json.recording_status = "processing";
	missing_times = 2;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->job.attempts, 2);
	cr_assert_eq(METRIC_OF(METRIC_RETRIES, "describe", "media_not_ready"), 2);
}

Test(pipeline, media_missing_though_completed_is_tried_again)
{
	fx.twilio.answer = missing_at_first;
	missing_times = 1;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
}

static void missing_because(const char *status, bool external)
{
	fx.media = fake_failure(404);
	fx.json.recording_status = status;
	fx.json.external = external;
	run_to_the_end();
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
}

Test(pipeline, a_deleted_recording_is_given_up_at_once)
{
	missing_because("deleted", false);
	expect_dead("describe", "media_gone");
	cr_assert_not_null(strstr(row(0)->last_error, "deleted at Twilio"), "%s", row(0)->last_error);
}

Test(pipeline, a_recording_in_external_storage_is_given_up_at_once)
{
	missing_because("completed", true);
	expect_dead("describe", "media_external");
	cr_assert_not_null(strstr(row(0)->last_error, "external storage at bucket.s3.test"), "%s", row(0)->last_error);
}

Test(pipeline, an_absent_recording_is_absent)
{
	fx.json.error_code = 16102;
	missing_because("absent", false);
	cr_assert_eq(row(0)->status, LEDGER_ABSENT);
	cr_assert_not_null(strstr(row(0)->last_error, "error 16102: silent"), "%s", row(0)->last_error);
}

Test(pipeline, a_failed_recording_is_failed)
{
	fx.json.error_code = 16111;
	missing_because("failed", false);
	cr_assert_eq(row(0)->status, LEDGER_FAILED);
	cr_assert_not_null(strstr(row(0)->last_error, "external storage"), "%s", row(0)->last_error);
	cr_assert_not_null(strstr(row(0)->last_error, "error 16111: lost"), "%s", row(0)->last_error);
}

Test(pipeline, a_recording_of_which_twilio_knows_nothing_is_tried_a_few_times_and_then_gone)
{
	fx.media = fake_failure(404);
	fx.json = fake_failure(404);
	run_to_the_end();
	expect_dead("describe", "media_gone");
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1 + RETRY_EARLY_ATTEMPTS);
}

Test(pipeline, a_recording_still_unknown_soon_after_its_webhook_is_waited_for)
{
	row(0)->job.received_at_ms = clock_wall_ms();
	fx.media = fake_failure(404);
	fx.json = fake_failure(404);
	run_to_the_end();
	/* To the last attempt, not only the first few. */
	expect_dead("describe", "media_not_ready");
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], (unsigned)fx.options.max_attempts);
}

Test(pipeline, a_recording_that_is_gone_is_explained_like_one_that_is_missing)
{
	fx.media = fake_failure(410);
	fx.json = fake_failure(410);
	row(0)->job.received_at_ms = clock_wall_ms();
	run_to_the_end();
	expect_dead("describe", "media_gone");
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
	cr_assert_eq(fx.twilio.started[TWILIO_RECORDING], 1);
}

Test(pipeline, a_404_that_is_not_twilios_proves_nothing)
{
	fx.media = fake_failure(404);
	fx.json = fake_failure(404);
	fx.json.foreign = true;
	run_to_the_end();
	expect_dead("describe", "http_not_found");
	cr_assert_not_null(strstr(row(0)->last_error, "TWILIO_API_BASE"), "%s", row(0)->last_error);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], (unsigned)fx.options.max_attempts);
}

/* ---- every error of every room ---- */

static int fault_code;
static enum ledger_op fault_op;
static enum fake_store_op fault_store_op;
static unsigned fault_times;

static int ledger_fault(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	if (request->op != fault_op || fault_times == 0)
		return 0;
	fault_times--;
	return fault_code;
}

static int store_fault(struct fake_store *fake, enum fake_store_op op, const char *key)
{
	if (op != fault_store_op || fault_times == 0)
		return 0;
	fault_times--;
	return fault_code;
}

static struct fake_answer twilio_fault(struct fake_twilio *fake, const struct twilio_request *request)
{
	if (request->op != TWILIO_MEDIA || fault_times == 0)
		return scripted(fake, request);
	fault_times--;
	return fake_failure(fault_code);
}

/* The error once: what it is charged, and that the recording is stored in the end or dead at once. */
static void expect_class(int code, const char *room)
{
	enum err_class class = err_class(code);
	if (retry_may_be_outage(code)) /* nobody else has got anywhere since */
		class = ERR_CLASS_WAIT;
	if (class == ERR_CLASS_PERMANENT) {
		cr_assert_eq(row(0)->status, LEDGER_DEAD, "%s %s", room, err_name(code));
		return;
	}
	cr_assert_eq(row(0)->status, LEDGER_STORED, "%s %s", room, err_name(code));
	cr_assert_eq(row(0)->job.attempts, class == ERR_CLASS_RETRY ? 1 : 0, "%s %s", room, err_name(code));
	cr_assert_eq(row(0)->outcomes[class == ERR_CLASS_RETRY ? LEDGER_OUTCOME_RETRY : LEDGER_OUTCOME_WAIT], 1, "%s %s", room,
		     err_name(code));
}

static void run_all_codes(void (*arm)(void), const char *room, const int *codes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fixture_close();
		memset(&fx, 0, sizeof(fx));
		fixture_init(1);
		fault_code = codes[i];
		fault_times = 1;
		arm();
		run_to_the_end();
		cr_assert_eq(fault_times, 0);
		expect_class(codes[i], room);
	}
}

static void arm_twilio(void)
{
	fx.twilio.answer = twilio_fault;
}
static void arm_store(void)
{
	fx.store.fault = store_fault;
}
static void arm_ledger(void)
{
	fx.ledger.fault = ledger_fault;
}
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

Test(pipeline, every_error_of_the_download_has_its_class)
{
	static const int codes[] = {ERR_RESOLVE,        ERR_CONNECT,        ERR_TLS,         ERR_TIMEOUT,
				    ERR_RESET,          ERR_PROTOCOL,       ERR_REDIRECT,    ERR_HTTP_UNAUTHORIZED,
				    ERR_HTTP_FORBIDDEN, ERR_HTTP_THROTTLED, ERR_HTTP_CLIENT, ERR_HTTP_SERVER,
				    ERR_NOMEM};
	run_all_codes(arm_twilio, "twilio", codes, COUNT_OF(codes));
}

Test(pipeline, every_error_of_every_operation_of_the_store_has_its_class)
{
	static const int codes[] = {ERR_STORE,   ERR_CHECKSUM, ERR_NO_SPACE,    ERR_DENIED,     ERR_IO,
				    ERR_CONNECT, ERR_TIMEOUT,  ERR_HTTP_SERVER, ERR_HTTP_CLIENT};
	for (fault_store_op = FAKE_OPEN; fault_store_op <= FAKE_COMMIT; fault_store_op++)
		run_all_codes(arm_store, "store", codes, COUNT_OF(codes));
}

Test(pipeline, an_error_of_the_lookup_has_its_class)
{
	static const int codes[] = {ERR_LEDGER, ERR_TIMEOUT, ERR_NOMEM, ERR_CORRUPT};
	fault_op = LEDGER_LOOKUP_CALL;
	run_all_codes(arm_ledger, "ledger", codes, COUNT_OF(codes));
}

Test(pipeline, the_storing_half_names_itself)
{
	fx.store.fault = store_fault;
	fault_store_op = FAKE_WRITE;
	fault_code = ERR_HTTP_CLIENT;
	fault_times = 100;
	run_to_the_end();
	cr_assert_str_eq(fx.last_step, "store");
	cr_assert_eq(strncmp(row(0)->last_error, "store: http_client: ", 20), 0);
}

Test(pipeline, other_bytes_than_were_sent_are_taken_back_and_sent_again)
{
	fx.store.corrupt_next = true;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->job.attempts, 1);
	cr_assert_eq(fx.store.ops[FAKE_ABORT], 1);
	cr_assert_eq(fx.store.objects[0].puts, 1);
	cr_assert_eq(METRIC_OF(METRIC_RETRIES, "store", "checksum"), 1);
}

Test(pipeline, what_comes_after_a_long_outage_of_the_ledger_is_not_transferred_again)
{
	fault_op = LEDGER_STORED_OBJECT;
	fault_code = ERR_LEDGER;
	fault_times = 12;
	fx.ledger.fault = ledger_fault;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
	cr_assert_eq(fx.ledger.submitted[LEDGER_STORED_OBJECT], 13);
}

static int lose_replies(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	*after = true;
	if (request->op != fault_op || fault_times == 0)
		return 0;
	fault_times--;
	return ERR_LEDGER;
}

Test(pipeline, a_lost_reply_to_record_changes_nothing_twice)
{
	fault_op = LEDGER_STORED_OBJECT;
	fault_times = 3;
	fx.ledger.fault = lose_replies;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(row(0)->recorded, 1);
	cr_assert_eq(fx.store.objects[0].puts, 1);
}

Test(pipeline, a_lost_reply_to_finish_charges_once)
{
	fault_op = LEDGER_FINISH;
	fault_times = 1;
	fx.ledger.fault = lose_replies;
	fx.media.text = "<html>";
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_DEAD);
	cr_assert_eq(row(0)->job.attempts, 4);
}

/* For good, everything but what the ledger says itself when it refused before. */
static int refuse_reasons(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	(void)fake;
	(void)after;
	bool refused = request->op == LEDGER_FINISH && request->finish.error != NULL &&
		       strstr(request->finish.error, "refused") == NULL;
	return refused ? ERR_INVALID : 0;
}

Test(pipeline, an_end_whose_reason_the_ledger_refuses_is_told_without_it)
{
	fx.ledger.fault = refuse_reasons;
	fx.media.text = "<html>";
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_DEAD);
	cr_assert_eq(row(0)->job.attempts, 4, "each one charged");
	cr_assert_not_null(strstr(row(0)->last_error, "job.reason_refused"), "%s", row(0)->last_error);
	cr_assert_eq(fx.ledger.submitted[LEDGER_FINISH], 8);
}

static int refuse_finish(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	(void)fake;
	(void)after;
	return request->op == LEDGER_FINISH ? ERR_INVALID : 0;
}

Test(pipeline, an_end_that_the_ledger_refuses_whatever_it_says_is_told_twice_and_no_more)
{
	fx.ledger.fault = refuse_finish;
	fx.media.text = "<html>";
	fixture_start();
	RUN_UNTIL(fx.ledger.submitted[LEDGER_FINISH] == 2 && fx.pipeline->running_count == 0);
	cr_assert_eq(row(0)->status, LEDGER_RUNNING, "until its lease runs out");
}

/* ---- purge ---- */

static void deletion_is_safe(struct fake_twilio *fake, const struct sid *recording_sid)
{
	const struct fake_row *of = fake_ledger_row(&fx.ledger, recording_sid);
	cr_assert(of->job.stored, "deleted at Twilio before it was recorded");
	const struct fake_object *object = fake_store_find(&fx.store, of->job.key);
	cr_assert_not_null(object, "deleted at Twilio without an object");
	cr_assert_eq(object->digest.bytes, of->job.bytes);
	cr_assert_geq(fx.store.ops[FAKE_VERIFY], 1);
}

static void purge_setup(void)
{
	setup();
	fx.options.delete_from_twilio = true;
	fx.twilio.deleted = deletion_is_safe;
}

TestSuite(purge, .init = purge_setup, .fini = fixture_close, .timeout = 60);

Test(purge, deletes_only_after_the_object_was_recorded_and_verified)
{
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert(row(0)->deleted_at_twilio);
	cr_assert_eq(fx.twilio.started[TWILIO_DELETE_RECORDING], 1);
	cr_assert_eq(fx.store.ops[FAKE_VERIFY], 1);
}

Test(purge, a_404_means_that_it_was_done_before)
{
	fx.deletion = fake_failure(404);
	run_to_the_end();
	cr_assert(row(0)->deleted_at_twilio);
	cr_assert_eq(row(0)->job.attempts, 0);
}

static struct fake_answer once(struct fake_twilio *fake, const struct twilio_request *request)
{
	if (request->op == TWILIO_DELETE_RECORDING && fake->started[TWILIO_DELETE_RECORDING] > 1)
		return (struct fake_answer){.http_status = 204, .retry_after_ms = -1};
	return scripted(fake, request);
}

Test(purge, continues_where_another_attempt_stopped_without_a_new_transfer)
{
	fx.deletion = fake_failure(503);
	fx.twilio.answer = once;
	run_to_the_end();
	cr_assert(row(0)->deleted_at_twilio);
	cr_assert_eq(row(0)->outcomes[LEDGER_OUTCOME_WAIT], 1);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
	cr_assert_eq(fx.ledger.submitted[LEDGER_GET], 1); /* the MD5 */
	cr_assert_eq(fx.ledger.submitted[LEDGER_LOOKUP_CALL], 1);
}

Test(purge, one_that_cannot_be_deleted_stays_archived)
{
	fx.deletion = fake_failure(400);
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_not(row(0)->deleted_at_twilio);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DONE], 1);
	cr_assert_not_null(strstr(row(0)->last_error, "purge: http_client"));
}

static void come_back_stored(const char *key)
{
	row(0)->job.stored = true;
	row(0)->job.bytes = 20000;
	snprintf(row(0)->job.key, sizeof(row(0)->job.key), "%s", key);
	snprintf(row(0)->job.url, sizeof(row(0)->job.url), "fake://%s", key);
	memset(row(0)->job.sha256, 'a', 64);
	memset(row(0)->md5, 'b', 32);
}

Test(purge, an_object_that_is_missing_is_moved_again_before_twilios_copy_goes)
{
	come_back_stored("rec/gone.wav");
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert(row(0)->deleted_at_twilio);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
	cr_assert_not_null(fake_store_find(&fx.store, "rec/gone.wav"));
	cr_assert_eq(fx.store.ops[FAKE_VERIFY], 2);
}

Test(purge, a_store_that_loses_what_it_took_never_costs_twilios_copy)
{
	fx.store.fault = store_fault;
	fault_store_op = FAKE_VERIFY;
	fault_code = ERR_NOT_FOUND;
	fault_times = 1000;
	run_to_the_end();
	cr_assert_eq(fx.twilio.started[TWILIO_DELETE_RECORDING], 0);
	cr_assert_eq(row(0)->status, LEDGER_DEAD);
	cr_assert_not(row(0)->deleted_at_twilio);
}

Test(purge, stored_by_another_attempt_and_no_purge_wanted_any_more_is_done)
{
	come_back_stored("rec/there.wav");
	fx.options.delete_from_twilio = false;
	run_to_the_end();
	cr_assert_eq(row(0)->status, LEDGER_STORED);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 0);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DONE], 1);
	cr_assert_str_eq(fx.last_url, "fake://rec/there.wav");
}
