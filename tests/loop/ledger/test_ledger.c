/* SPDX-License-Identifier: MIT */
/* The suite of every ledger, written against ledger.h; ledger_factory.h brings the implementation. */
#include "ledger_factory.h"
#include "ledger_support.h"

#include "base/clock.h"
#include "ledger/ledger_rules.h"

#include <limits.h>
#include <stdlib.h>

static struct ledger *ledger; /* replica a */

static void setup(void)
{
	factory_setup();
	cr_assert_eq(uv_loop_init(&loop), 0);
	ledger = factory_open(&loop, "a");
}

static void teardown(void)
{
	if (ledger != NULL)
		close_ledger(ledger);
	cr_expect_eq(uv_loop_close(&loop), 0);
	factory_teardown();
}

TestSuite(ledger, .init = setup, .fini = teardown, .timeout = 60);

/* ---- shorthands ---- */

static size_t last_duplicates;

/* Forwards and returns how many came back leased; *job (may be NULL) is the first of them. */
static size_t forward(const struct event *events, size_t count, size_t lease_max, struct ledger_job *job)
{
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = events, .count = count, .lease_max = lease_max};
	int status = wait_for(ledger, &request);
	cr_assert_eq(status, 0, "%s", request.error.detail);
	size_t leased = request.leased_count;
	last_duplicates = request.duplicates;
	if (job != NULL) {
		cr_assert_gt(leased, 0);
		*job = request.leased[0];
	}
	ledger_request_release(&request);
	return leased;
}

static size_t forward_one(unsigned n, enum recording_status status, struct ledger_job *job)
{
	struct event event = recording_event(n, status);
	return forward(&event, 1, job == NULL ? 0 : 1, job);
}

static size_t claim_by(struct ledger *by, size_t max, struct ledger_job *job, int64_t *next_due_ms)
{
	struct ledger_request request = {.op = LEDGER_CLAIM, .lease_max = max};
	cr_assert_eq(wait_for(by, &request), 0, "%s", request.error.detail);
	size_t count = request.leased_count;
	if (job != NULL && count > 0)
		*job = request.leased[0];
	if (next_due_ms != NULL)
		*next_due_ms = request.next_due_ms;
	ledger_request_release(&request);
	return count;
}

static int finish_by(struct ledger *by, const struct ledger_job *job, struct ledger_finish finish)
{
	struct ledger_request request = {.op = LEDGER_FINISH,
					 .recording_sid = job->recording_sid,
					 .epoch = job->epoch,
					 .call_sid = job->call_sid,
					 .finish = finish};
	int status = wait_for(by, &request);
	ledger_request_release(&request);
	return status;
}

static int finish(const struct ledger_job *job, enum ledger_outcome outcome, int64_t delay_ms, const char *error)
{
	return finish_by(ledger, job, (struct ledger_finish){.outcome = outcome, .delay_ms = delay_ms, .error = error});
}

static int store_by(struct ledger *by, const struct ledger_job *job, bool keep_lease)
{
	struct ledger_request request = {
		.op = LEDGER_STORED_OBJECT,
		.recording_sid = job->recording_sid,
		.epoch = job->epoch,
		.object = {.key = "recordings/2023/11/14/CA/RE.wav",
			   .url = "file:///x/RE.wav",
			   .bytes = 1234,
			   .md5 = "0123456789abcdef0123456789abcdef",
			   .sha256 = "00",
			   .content_type = "audio/wav",
			   .duration_s = 31,
			   .channels = 1,
			   .keep_lease = keep_lease},
	};
	int status = wait_for(by, &request);
	ledger_request_release(&request);
	return status;
}

static struct ledger_recording get(unsigned n)
{
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = make_sid("RE", n)};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	cr_assert_eq(request.recording_count, 1);
	struct ledger_recording recording = request.recordings[0];
	ledger_request_release(&request);
	return recording;
}

static enum ledger_status status_of(unsigned n)
{
	return get(n).status;
}

/* The trail as "received leased stored". */
static const char *trail_of(unsigned n)
{
	static char text[1024];
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = make_sid("RE", n)};
	cr_assert_eq(wait_for(ledger, &request), 0);
	text[0] = '\0';
	for (size_t i = 0; i < request.audit_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i == 0 ? "" : " ", request.audit[i].what);
	ledger_request_release(&request);
	return text;
}

static size_t people(enum ledger_op op, unsigned n, int *status)
{
	struct ledger_request request = {.op = op, .recording_sid = make_sid("RE", n)};
	int answer = wait_for(ledger, &request);
	size_t changed = request.changed;
	ledger_request_release(&request);
	if (status != NULL)
		*status = answer;
	else
		cr_expect_eq(answer, 0);
	return changed;
}

static const char *call_column(const char *column, unsigned n)
{
	char sql[256];
	snprintf(sql, sizeof(sql), "SELECT %s FROM calls WHERE twilio_sid = '%s'", column, make_sid("CA", n).text);
	return factory_sql(sql);
}

static void add_call(unsigned n, const char *word, int64_t duration_s)
{
	struct event event = call_event(n, EVENT_CALL_INCOMING, word, duration_s);
	forward(&event, 1, 0, NULL);
}

/* ---- forwarding ---- */

Test(ledger, a_completed_recording_comes_back_leased_with_all_that_was_said_about_it)
{
	struct ledger_job job;
	cr_expect_eq(forward_one(1, RECORDING_COMPLETED, &job), 1);
	cr_expect_str_eq(job.recording_sid.text, make_sid("RE", 1).text);
	cr_expect_str_eq(job.call_sid.text, make_sid("CA", 1).text);
	cr_expect_str_eq(job.account_sid.text, make_sid("AC", 1).text);
	cr_expect_eq(job.epoch, 1);
	cr_expect_eq(job.attempts, 0);
	cr_expect_eq(job.received_at_ms, 1700000000001);
	cr_expect_eq(job.start_time_ms, 1699999990000);
	cr_expect_eq(job.duration_s, 30);
	cr_expect_eq(job.channels, 2);
	cr_expect_str_eq(job.source, "DialVerb");
	cr_expect_str_eq(job.key, "");
	cr_expect_not(job.stored);
	struct ledger_recording row = get(1);
	cr_expect_eq(row.status, LEDGER_RUNNING);
	cr_expect_str_eq(row.lease_owner, "a");
	cr_expect_str_eq(trail_of(1), "received leased");
	cr_expect_str_eq(factory_sql("SELECT recording_sid FROM recordings"), make_sid("RE", 1).text);
}

/* The form of an event, raw as in the journal. */
static struct event encrypted_event(unsigned n, enum recording_status status, const char *params)
{
	struct event event = recording_event(n, status);
	event.encrypted = true;
	event.params = slice_from_cstr(params);
	return event;
}

#define CEK_OF_256_BYTES                                                                                   \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D%3D"
#define ENCRYPTED_FORM                                                                                            \
	"A=b&EncryptionDetails=%7B%22iv%22%3A%22AAECAwQFBgcICQoL%22%2C%22encrypted_cek%22%3A%22" CEK_OF_256_BYTES \
	"%22%2C%22public_key_sid%22%3A%22CR0123456789abcdef0123456789abcdef%22%2C%22type%22%3A%22rsa-aes%22%7D&c=d"

static void expect_encryption(const char *text)
{
	struct twilio_encryption encryption;
	cr_assert_eq(twilio_encryption_parse(slice_from_cstr(text), &encryption, NULL), 0, "%s", text);
	cr_expect_str_eq(encryption.public_key_sid.text, "CR0123456789abcdef0123456789abcdef");
	cr_expect_str_eq(encryption.iv_text, "AAECAwQFBgcICQoL");
	cr_expect_eq(encryption.sealed_len, 256);
}

Test(ledger, how_a_recording_is_encrypted_stays_with_it)
{
	struct ledger_job job;
	struct event events[] = {
		encrypted_event(1, RECORDING_COMPLETED, ENCRYPTED_FORM),
		recording_event(2, RECORDING_COMPLETED),
		encrypted_event(3, RECORDING_COMPLETED, "EncryptionDetails=%7B%22type%22%3A%22new%01%FFthing%22%7D"),
	};
	cr_expect_eq(forward(events, 3, 1, &job), 1);
	expect_encryption(job.encryption);
	expect_encryption(get(1).job.encryption);
	cr_expect_str_eq(get(2).job.encryption, "");
	cr_expect_str_eq(get(3).job.encryption, "{\"type\":\"new??thing\"}", "kept, though nobody can read it");
	cr_expect_eq(get(1).status, LEDGER_RUNNING);
	cr_expect_str_eq(get(1).lease_owner, "a", "the columns behind it are where they were");
	cr_expect_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_RELEASE, 0, NULL), 0);
	/* Told by the second event only, and leased with it. */
	cr_expect_eq(forward_one(4, RECORDING_IN_PROGRESS, NULL), 0);
	struct event late = encrypted_event(4, RECORDING_COMPLETED, ENCRYPTED_FORM);
	cr_expect_eq(forward(&late, 1, 1, &job), 1);
	expect_encryption(job.encryption);
}

Test(ledger, what_rest_said_about_the_encryption_is_kept_with_the_object)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	struct ledger_request request = {.op = LEDGER_STORED_OBJECT,
					 .recording_sid = job.recording_sid,
					 .epoch = job.epoch,
					 .object = {.key = "k.wav",
						    .url = "file:///k.wav",
						    .bytes = 1,
						    .sha256 = "00",
						    .content_type = "application/octet-stream",
						    .encryption = "{\"a\":1}",
						    .duration_s = -1}};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	ledger_request_release(&request);
	cr_expect_str_eq(get(1).job.encryption, "{\"a\":1}");
	cr_expect_str_eq(get(1).content_type, "application/octet-stream");
	struct event event = encrypted_event(2, RECORDING_COMPLETED, ENCRYPTED_FORM);
	cr_expect_eq(forward(&event, 1, 1, &job), 1);
	cr_expect_eq(store_by(ledger, &job, false), 0);
	expect_encryption(get(2).job.encryption);
}

#define UNREADABLE_FORM "EncryptionDetails=%7B%22type%22%3A%22new-thing%22%7D"

Test(ledger, of_how_a_recording_is_encrypted_the_last_word_counts_and_silence_is_none)
{
	struct ledger_job job;
	struct event early[] = {
		encrypted_event(1, RECORDING_IN_PROGRESS, ENCRYPTED_FORM),
		encrypted_event(2, RECORDING_IN_PROGRESS, UNREADABLE_FORM),
	};
	struct event late[] = {
		recording_event(1, RECORDING_COMPLETED),
		encrypted_event(2, RECORDING_COMPLETED, ENCRYPTED_FORM),
		encrypted_event(3, RECORDING_COMPLETED, UNREADABLE_FORM),
	};
	cr_assert_eq(forward(early, 2, 1, NULL), 0);
	cr_assert_eq(forward(late, 3, 0, NULL), 0);
	expect_encryption(get(1).job.encryption);
	expect_encryption(get(2).job.encryption);
	/* Twilio's REST is asked when what was said cannot be read. */
	char rest[TWILIO_ENCRYPTION_TEXT_SIZE];
	snprintf(rest, sizeof(rest), "%s", get(1).job.encryption);
	while (claim_by(ledger, 1, &job, NULL) == 1) {
		struct ledger_request request = {.op = LEDGER_STORED_OBJECT,
						 .recording_sid = job.recording_sid,
						 .epoch = job.epoch,
						 .object = {.key = "k.wav",
							    .url = "file:///k.wav",
							    .bytes = 1,
							    .sha256 = "00",
							    .content_type = "audio/wav",
							    .encryption = rest,
							    .duration_s = -1}};
		cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
		ledger_request_release(&request);
	}
	cr_expect_eq(get(3).status, LEDGER_STORED);
	expect_encryption(get(3).job.encryption);
}

Test(ledger, only_lease_max_of_a_batch_are_leased_and_the_rest_is_pending_for_anybody)
{
	struct event events[5];
	for (unsigned i = 0; i < 5; i++)
		events[i] = recording_event(i, RECORDING_COMPLETED);
	cr_expect_eq(forward(events, 5, 2, NULL), 2);
	cr_expect_eq(status_of(0), LEDGER_RUNNING);
	cr_expect_eq(status_of(1), LEDGER_RUNNING);
	cr_expect_eq(status_of(2), LEDGER_PENDING);
	struct ledger *other = factory_open(&loop, "b");
	struct ledger_job job;
	int64_t next;
	cr_expect_eq(claim_by(other, 2, &job, &next), 2);
	cr_expect_eq(job.epoch, 1);
	cr_expect_eq(next, 0, "one more is due now");
	cr_expect_eq(claim_by(other, 9, NULL, &next), 1);
	cr_expect(next > 0 && next <= LEDGER_LEASE_MS, "until the first lease runs out: %lld", (long long)next);
	close_ledger(other);
}

Test(ledger, the_same_events_forwarded_again_change_nothing_and_are_counted)
{
	struct event events[] = {recording_event(1, RECORDING_COMPLETED), recording_event(1, RECORDING_COMPLETED),
				 recording_event(2, RECORDING_IN_PROGRESS), call_event(1, EVENT_CALL_STATUS, "completed", 5)};
	cr_expect_eq(forward(events, 4, 8, NULL), 1);
	cr_expect_eq(last_duplicates, 1);
	char before[4096];
	const char *dump = "SELECT group_concat(recording_id || what || at) || (SELECT group_concat(updated_at || status || "
			   "lease_epoch) FROM recordings) "
			   "|| (SELECT updated_at FROM calls) FROM recording_events";
	snprintf(before, sizeof(before), "%s", factory_sql(dump));
	cr_expect_eq(forward(events, 4, 8, NULL), 0, "a crash between commit and checkpoint forwards twice");
	cr_expect_eq(last_duplicates, 4);
	cr_expect_str_eq(factory_sql(dump), before);
}

Test(ledger, a_sid_in_another_case_is_the_same_recording)
{
	struct event event = recording_event(0xabcdef, RECORDING_COMPLETED);
	forward(&event, 1, 1, NULL);
	for (size_t i = 2; i < SID_LEN; i++) {
		char c = event.recording_sid.text[i];
		event.recording_sid.text[i] = c >= 'a' && c <= 'f' ? (char)(c - 32) : c;
	}
	forward(&event, 1, 1, NULL);
	cr_expect_eq(last_duplicates, 1);
}

Test(ledger, in_progress_is_not_work_until_completed_comes)
{
	struct ledger_job job;
	int64_t next;
	forward_one(1, RECORDING_IN_PROGRESS, NULL);
	cr_expect_eq(status_of(1), LEDGER_PENDING);
	cr_expect_eq(claim_by(ledger, 8, NULL, &next), 0);
	cr_expect_eq(next, -1);
	struct event late = recording_event(1, RECORDING_COMPLETED);
	late.received_at_ms += 60000;
	cr_expect_eq(forward(&late, 1, 1, &job), 1);
	cr_expect_eq(job.epoch, 1);
	cr_expect_eq(job.duration_s, 30);
	cr_expect_eq(job.received_at_ms, late.received_at_ms, "the wait before completed is not ours");
	cr_expect_str_eq(trail_of(1), "received received leased");
}

Test(ledger, in_progress_after_completed_changes_nothing)
{
	forward_one(1, RECORDING_COMPLETED, NULL);
	forward_one(1, RECORDING_IN_PROGRESS, NULL);
	cr_expect_eq(last_duplicates, 1);
	cr_expect_eq(status_of(1), LEDGER_PENDING);
	cr_expect_eq(claim_by(ledger, 8, NULL, NULL), 1);
}

Test(ledger, absent_ends_a_recording_with_a_note_and_completed_revives_it)
{
	add_call(1, "ringing", -1);
	struct event absent = recording_event(1, RECORDING_ABSENT);
	absent.error_code = 16101;
	forward_one(1, RECORDING_IN_PROGRESS, NULL);
	forward(&absent, 1, 1, NULL);
	cr_expect_eq(status_of(1), LEDGER_ABSENT);
	cr_expect_not_null(strstr(call_column("notes", 1), "absent"));
	cr_expect_not_null(strstr(call_column("notes", 1), "16101"));
	forward(&absent, 1, 1, NULL);
	cr_expect_eq(last_duplicates, 1);
	struct ledger_job job;
	cr_expect_eq(forward_one(1, RECORDING_COMPLETED, &job), 1);
	cr_expect_eq(status_of(1), LEDGER_RUNNING);
	cr_expect_str_eq(get(1).last_error, "");
}

Test(ledger, a_call_that_comes_after_its_recordings_failed_has_their_notes)
{
	struct event absent = recording_event(1, RECORDING_ABSENT);
	absent.error_code = 16101;
	forward(&absent, 1, 1, NULL);
	struct event second = recording_event(2, RECORDING_COMPLETED);
	second.call_sid = make_sid("CA", 1);
	struct ledger_job job;
	cr_assert_eq(forward(&second, 1, 1, &job), 1);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "media_type: text/xml"), 0);
	add_call(1, "completed", 7);
	const char *notes = call_column("notes", 1);
	const char *first_note = strstr(notes, make_sid("RE", 1).text);
	const char *second_note = strstr(notes, make_sid("RE", 2).text);
	cr_assert(first_note != NULL && second_note > first_note, "%s", notes);
	cr_expect_not_null(strstr(notes, "absent"));
	cr_expect_not_null(strstr(notes, "16101"));
	cr_expect_not_null(strstr(notes, ": dead: media_type: text/xml"), "%s", notes);
	cr_expect_eq(notes[10], 'T', "an instant first: %s", notes);
	size_t len = strlen(notes);
	add_call(1, "completed", 8);
	cr_expect_eq(strlen(call_column("notes", 1)), len, "once");
	add_call(3, "completed", 7);
	cr_expect_str_eq(call_column("notes", 3), "", "the notes of another call");
}

Test(ledger, failed_as_the_first_word_is_an_end_too)
{
	add_call(1, "ringing", -1);
	struct event failed = recording_event(1, RECORDING_FAILED);
	cr_expect_eq(forward(&failed, 1, 1, NULL), 0);
	cr_expect_eq(status_of(1), LEDGER_FAILED);
	cr_expect_not_null(strstr(call_column("notes", 1), "failed"));
}

Test(ledger, absent_after_completed_changes_nothing_whatever_the_work_has_come_to)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, NULL);
	forward_one(1, RECORDING_ABSENT, NULL);
	cr_expect_eq(status_of(1), LEDGER_PENDING);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	forward_one(1, RECORDING_FAILED, NULL);
	cr_expect_eq(status_of(1), LEDGER_RUNNING);
	cr_expect_eq(store_by(ledger, &job, false), 0);
	forward_one(1, RECORDING_ABSENT, NULL);
	forward_one(1, RECORDING_COMPLETED, NULL);
	cr_expect_eq(status_of(1), LEDGER_STORED);
}

Test(ledger, completed_again_does_not_revive_what_the_work_itself_found_absent)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_ABSENT, 0, "media_gone"), 0);
	cr_expect_eq(forward_one(1, RECORDING_COMPLETED, NULL), 0);
	cr_expect_eq(last_duplicates, 1);
	cr_expect_eq(status_of(1), LEDGER_ABSENT);
}

Test(ledger, a_status_that_nobody_knows_is_kept_in_the_trail_once)
{
	struct event event = recording_event(1, RECORDING_UNKNOWN);
	event.params = SLICE("CallSid=CA&RecordingStatus=paused%0a&x=1");
	forward(&event, 1, 1, NULL);
	forward(&event, 1, 1, NULL);
	cr_expect_eq(last_duplicates, 1);
	event.params = SLICE("RecordingStatus=processing");
	forward(&event, 1, 1, NULL);
	cr_expect_eq(last_duplicates, 0);
	cr_expect_str_eq(trail_of(1), "received received");
	cr_expect_str_eq(factory_sql("SELECT detail FROM recording_events WHERE n = 1"), "unknown status \"paused_0a\"");
	cr_expect_eq(status_of(1), LEDGER_PENDING);
}

Test(ledger, an_event_without_a_recording_is_refused_and_takes_nothing_of_its_batch_along)
{
	struct event events[] = {recording_event(1, RECORDING_COMPLETED), recording_event(2, RECORDING_COMPLETED)};
	events[1].recording_sid.text[0] = '\0';
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = events, .count = 2, .lease_max = 2};
	cr_expect_eq(wait_for(ledger, &request), ERR_INVALID);
	cr_expect_neq(request.error.detail[0], '\0');
	cr_expect_eq(request.leased_count, 0);
	ledger_request_release(&request);
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings"), "0");
	cr_expect(ledger_up(ledger), "a wrong request does not mean that the ledger is down");
}

/* ---- calls ---- */

Test(ledger, a_call_goes_forward_through_its_life_and_never_back)
{
	static const struct {
		const char *word;
		int64_t duration;
		const char *status;
		const char *stored_duration;
	} rows[] = {
		{"ringing", -1, "RINGING", ""},       {"in-progress", -1, "IN_PROGRESS", ""}, {"queued", -1, "IN_PROGRESS", ""},
		{"completed", 42, "COMPLETED", "42"}, {"in-progress", 7, "COMPLETED", "42"},  {"no-answer", 8, "COMPLETED", "42"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event event = call_event(1, EVENT_CALL_STATUS, rows[i].word, rows[i].duration);
		forward(&event, 1, 0, NULL);
		cr_expect_str_eq(call_column("status", 1), rows[i].status, "after %s", rows[i].word);
		cr_expect_str_eq(call_column("duration", 1), rows[i].stored_duration, "after %s", rows[i].word);
	}
	cr_expect_str_eq(call_column("from_number", 1), "+15005550006");
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM calls"), "1");
}

Test(ledger, twilio_words_become_call_statuses)
{
	static const char *const rows[][2] = {{"queued", "RINGING"},          {"ringing", "RINGING"},
					      {"in-progress", "IN_PROGRESS"}, {"completed", "COMPLETED"},
					      {"busy", "NO_ANSWER"},          {"no-answer", "NO_ANSWER"},
					      {"failed", "FAILED"},           {"canceled", "FAILED"},
					      {"something-new", "RINGING"},   {"", "RINGING"}};
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event event = call_event(100 + i, EVENT_CALL_INCOMING, rows[i][0], -1);
		forward(&event, 1, 0, NULL);
		cr_expect_str_eq(call_column("status", 100 + i), rows[i][1], "%s", rows[i][0]);
	}
}

Test(ledger, a_call_status_that_nobody_knows_changes_nothing_and_makes_no_call)
{
	struct event events[] = {call_event(1, EVENT_CALL_STATUS, "parked", 9), call_event(1, EVENT_CALL_STATUS, "", 9),
				 call_event(2, EVENT_CALL_STATUS, "parked", 9), recording_event(3, RECORDING_COMPLETED)};
	add_call(1, "ringing", -1);
	cr_expect_eq(forward(events, 3, 0, NULL), 0);
	cr_expect_eq(last_duplicates, 3);
	cr_expect_eq(forward(events, 4, 1, NULL), 1, "the rest of the batch goes its way");
	cr_expect_eq(last_duplicates, 3);
	cr_expect_str_eq(call_column("status || '' || coalesce(duration, -1)", 1), "RINGING-1");
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM calls"), "1");
}

Test(ledger, a_call_in_one_batch_in_any_order_ends_the_same)
{
	/* incoming, in-progress, completed and a duplicate of each; with recordings between them */
	static const char *const words[] = {"ringing", "in-progress", "completed"};
	static const unsigned orders[][6] = {
		{0, 1, 2, 0, 1, 2}, {2, 1, 0, 2, 1, 0}, {1, 0, 2, 2, 0, 1}, {2, 0, 1, 0, 2, 1}, {0, 2, 1, 1, 2, 0}};
	for (unsigned n = 0; n < sizeof(orders) / sizeof(orders[0]); n++) {
		struct event events[9];
		for (size_t i = 0; i < 6; i++) {
			unsigned at = orders[n][i];
			events[i + i / 2] = call_event(n, at == 0 ? EVENT_CALL_INCOMING : EVENT_CALL_STATUS, words[at],
						       at == 2 ? 17 : -1);
		}
		events[2] = recording_event(n, RECORDING_IN_PROGRESS);
		events[5] = recording_event(n, RECORDING_COMPLETED);
		events[8] = recording_event(n, RECORDING_COMPLETED);
		cr_expect_eq(forward(events, 9, 4, NULL), 1);
		cr_expect_str_eq(call_column("status || '' || duration || from_number || to_number", n),
				 "COMPLETED17+15005550006+15005550001");
		cr_expect_eq(status_of(n), LEDGER_RUNNING);
	}
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM calls"), "5");
}

Test(ledger, the_duration_that_comes_with_the_end_of_a_call_counts)
{
	struct ledger_job job;
	struct event end = call_event(1, EVENT_CALL_STATUS, "completed", 40);
	/* The recording is archived while the call goes on: its 31 s are all that is known. */
	add_call(1, "in-progress", -1);
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(store_by(ledger, &job, false), 0);
	cr_expect_str_eq(call_column("duration", 1), "31");
	forward(&end, 1, 0, NULL);
	cr_expect_str_eq(call_column("status || '' || duration", 1), "COMPLETED40");
	forward(&end, 1, 0, NULL);
	cr_expect_eq(last_duplicates, 1);
	/* The call's row was fetched when it had ended, without a duration; the status comes last. */
	struct ledger_request create = {.op = LEDGER_CREATE_CALL,
					.call = {.call_sid = make_sid("CA", 2), .status = "completed", .duration_s = -1}};
	cr_expect_eq(wait_for(ledger, &create), 0);
	ledger_request_release(&create);
	forward_one(2, RECORDING_COMPLETED, &job);
	cr_expect_eq(store_by(ledger, &job, false), 0);
	end = call_event(2, EVENT_CALL_STATUS, "completed", 40);
	forward(&end, 1, 0, NULL);
	cr_expect_str_eq(call_column("duration || from_number || to_number", 2), "40+15005550006+15005550001");
	/* Neither another end nor an earlier word changes it. */
	end = call_event(2, EVENT_CALL_STATUS, "failed", 1);
	forward(&end, 1, 0, NULL);
	end = call_event(2, EVENT_CALL_STATUS, "in-progress", 2);
	forward(&end, 1, 0, NULL);
	cr_expect_eq(last_duplicates, 1);
	cr_expect_str_eq(call_column("status || '' || duration", 2), "COMPLETED40");
}

Test(ledger, who_called_is_kept_as_twilio_says_it)
{
	static const char *const callers[] = {"+4930123456", "client:earl", "sip:earl@example.com;transport=tls", "anonymous",
					      ""};
	for (unsigned n = 0; n < sizeof(callers) / sizeof(callers[0]); n++) {
		struct event event = call_event(n, EVENT_CALL_INCOMING, "ringing", -1);
		snprintf(event.from, sizeof(event.from), "%s", callers[n]);
		memset(event.to, 'x', sizeof(event.to) - 1);
		forward(&event, 1, 0, NULL);
		cr_expect_str_eq(call_column("from_number", n), callers[n]);
		cr_expect_str_eq(call_column("length(to_number)", n), "127");
	}
}

Test(ledger, what_ended_a_recording_is_said_in_words)
{
	static const enum recording_status before[] = {RECORDING_UNKNOWN, RECORDING_IN_PROGRESS};
	for (unsigned n = 0; n < 2; n++) {
		struct event event = recording_event(n, RECORDING_FAILED);
		event.error_code = n == 0 ? 16111 : 16999;
		snprintf(event.unknown, sizeof(event.unknown), "New=x");
		add_call(n, "completed", 1);
		if (before[n] != RECORDING_UNKNOWN)
			forward_one(n, before[n], NULL);
		forward(&event, 1, 1, NULL);
		const char *error = n == 0 ? "failed at Twilio, error 16111: lost by Twilio's external storage"
					   : "failed at Twilio, error 16999, see https://www.twilio.com/docs/api/errors/16999";
		struct ledger_recording recording = get(n);
		cr_expect_eq(strncmp(recording.last_error, error, strlen(error)), 0, "%s", recording.last_error);
		cr_expect_null(strstr(recording.last_error, "New"));
		const char *notes = call_column("notes", n);
		cr_expect_not_null(strstr(notes, recording.last_error), "%s", notes);
		cr_expect_not_null(strstr(notes, make_sid("RE", n).text), "%s", notes);
		char detail[300];
		snprintf(detail, sizeof(detail), "%s; also sent: New=x", recording.last_error);
		cr_expect_str_eq(factory_sql("SELECT detail FROM recording_events ORDER BY recording_id DESC, n DESC LIMIT 1"),
				 detail);
	}
}

Test(ledger, parameters_that_nobody_knows_are_kept_in_the_trail)
{
	struct event event = recording_event(1, RECORDING_IN_PROGRESS);
	snprintf(event.unknown, sizeof(event.unknown), "RecordingMood=blue");
	forward(&event, 1, 1, NULL);
	cr_expect_str_eq(factory_sql("SELECT detail FROM recording_events"), "in-progress; also sent: RecordingMood=blue");
	event = recording_event(1, RECORDING_COMPLETED);
	event.error_code = 16107;
	snprintf(event.unknown, sizeof(event.unknown), "RecordingMood=red");
	forward(&event, 1, 1, NULL);
	const char *detail = factory_sql("SELECT detail FROM recording_events WHERE n = 2");
	cr_expect_eq(strncmp(detail, "completed, error 16107: encrypted with another public key", 57), 0, "%s", detail);
	cr_expect_not_null(strstr(detail, "; also sent: RecordingMood=red"), "%s", detail);
	cr_expect_str_eq(get(1).last_error, "", "it is no failure");
}

Test(ledger, lookup_knows_a_call_only_after_it_was_created)
{
	struct ledger_request lookup = {.op = LEDGER_LOOKUP_CALL, .call_sid = make_sid("CA", 7)};
	cr_expect_eq(wait_for(ledger, &lookup), 0);
	cr_expect_not(lookup.call_known);
	struct ledger_request create = {
		.op = LEDGER_CREATE_CALL,
		.call = {.call_sid = make_sid("CA", 7), .from = "+1", .to = "+2", .status = "completed", .duration_s = 9}};
	cr_expect_eq(wait_for(ledger, &create), 0);
	cr_expect_eq(wait_for(ledger, &create), 0, "twice is no harm");
	cr_expect_eq(wait_for(ledger, &lookup), 0);
	cr_expect(lookup.call_known);
	cr_expect_str_eq(call_column("status", 7), "COMPLETED");
	cr_expect_str_eq(call_column("duration", 7), "9");
}

/* ---- the ends of attempts ---- */

Test(ledger, stored_sets_recording_and_call_at_once_and_a_duration_only_where_there_was_none)
{
	struct ledger_job first;
	struct ledger_job second;
	add_call(1, "in-progress", -1);
	add_call(2, "completed", 99);
	forward_one(1, RECORDING_COMPLETED, &first);
	forward_one(2, RECORDING_COMPLETED, &second);
	cr_expect_eq(store_by(ledger, &first, false), 0);
	cr_expect_eq(store_by(ledger, &second, false), 0);
	struct ledger_recording row = get(1);
	cr_expect_eq(row.status, LEDGER_STORED);
	cr_expect_eq(row.job.bytes, 1234);
	cr_expect_str_eq(row.job.key, "recordings/2023/11/14/CA/RE.wav");
	cr_expect_str_eq(row.content_type, "audio/wav");
	cr_expect_eq(row.job.duration_s, 31);
	cr_expect_eq(row.job.channels, 1);
	cr_expect_gt(row.stored_at_ms, 0);
	cr_expect_str_eq(row.lease_owner, "");
	cr_expect_str_eq(call_column("recording_url", 1), "file:///x/RE.wav");
	cr_expect_str_eq(call_column("duration", 1), "31");
	cr_expect_str_eq(call_column("duration", 2), "99");
	cr_expect_eq(finish(&first, LEDGER_OUTCOME_DONE, 0, NULL), 0);
	cr_expect_str_eq(trail_of(1), "received leased stored");
}

Test(ledger, with_a_purge_to_follow_the_lease_is_kept_and_a_successor_only_purges)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(store_by(ledger, &job, true), 0);
	cr_expect_eq(status_of(1), LEDGER_RUNNING);
	factory_pass_time(LEDGER_LEASE_MS + 1000);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(job.epoch, 2);
	cr_expect(job.stored);
	cr_expect_eq(job.bytes, 1234);
	cr_expect_str_eq(job.url, "file:///x/RE.wav");
	cr_expect_str_eq(job.key, "recordings/2023/11/14/CA/RE.wav");
	cr_expect_eq(finish_by(ledger, &job, (struct ledger_finish){.outcome = LEDGER_OUTCOME_DONE, .deleted_at_twilio = true}),
		     0);
	cr_expect_eq(status_of(1), LEDGER_STORED);
	cr_expect_gt(get(1).deleted_at_twilio_ms, 0);
	cr_expect_str_eq(trail_of(1), "received leased stored leased purged");
}

Test(ledger, a_purge_that_fails_for_good_leaves_the_recording_stored_and_can_be_retried)
{
	struct ledger_job job;
	add_call(1, "completed", 1);
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(store_by(ledger, &job, true), 0);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "http_forbidden"), 0);
	cr_expect_eq(status_of(1), LEDGER_STORED);
	cr_expect_str_eq(get(1).last_error, "http_forbidden");
	cr_expect_str_eq(call_column("notes", 1), "", "the call has its recording");
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect(job.stored);
}

Test(ledger, done_without_an_object_is_refused)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DONE, 0, NULL), ERR_INVALID);
	cr_expect_eq(status_of(1), LEDGER_RUNNING);
}

Test(ledger, retry_is_charged_and_due_later_and_wait_is_not_charged)
{
	struct ledger_job job;
	int64_t next;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_RETRY, 20000, "timeout: slow"), 0);
	cr_expect_eq(claim_by(ledger, 1, &job, &next), 0);
	cr_expect(next > 10000 && next <= 20000, "%lld", (long long)next);
	cr_expect_str_eq(get(1).last_error, "timeout: slow");
	factory_pass_time(20000);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(job.attempts, 1);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_WAIT, 0, "unavailable"), 0);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(job.attempts, 1);
	cr_expect_eq(job.epoch, 3);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_RELEASE, 99999, NULL), 0);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1, "released is due at once");
	cr_expect_eq(job.attempts, 1);
	cr_expect_str_eq(trail_of(1), "received leased retry leased wait leased released leased");
}

Test(ledger, a_long_outage_is_one_row_of_the_trail)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	for (int i = 0; i < 50; i++) {
		cr_expect_eq(finish(&job, LEDGER_OUTCOME_WAIT, 0, "unavailable"), 0);
		cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	}
	cr_expect_str_eq(trail_of(1), "received leased wait leased");
	cr_expect_eq(job.epoch, 51);
}

/* ---- what waits for a key or an account ---- */

static int wait_in_ledger(const struct ledger_job *job, const char *waits_for)
{
	return finish_by(
		ledger, job,
		(struct ledger_finish){
			.outcome = LEDGER_OUTCOME_WAIT, .delay_ms = 3600000, .error = "held back", .waits_for = waits_for});
}

static size_t claim_waiting(const char *waiting_for, size_t max, struct ledger_job *job)
{
	struct ledger_request request = {.op = LEDGER_CLAIM_WAITING, .lease_max = max, .waiting_for = waiting_for};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	size_t count = request.leased_count;
	if (job != NULL && count > 0)
		*job = request.leased[0];
	ledger_request_release(&request);
	return count;
}

Test(ledger, what_waits_for_something_is_claimed_by_its_name_before_it_is_due)
{
	const struct sid account = make_sid("AC", 7);
	struct ledger_job job, again;
	int64_t next;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(wait_in_ledger(&job, account.text), 0);
	cr_expect_str_eq(factory_sql("SELECT waits_for FROM recordings"), account.text);
	cr_expect_eq(claim_by(ledger, 5, NULL, &next), 0, "it is not due");
	cr_expect(next > 3000000 && next <= 3600000, "%lld", (long long)next);
	cr_expect_eq(claim_waiting(make_sid("AC", 8).text, 5, NULL), 0, "it waits for another");
	cr_expect_eq(claim_waiting("other accounts", 5, NULL), 0);
	cr_assert_eq(claim_waiting(account.text, 5, &again), 1);
	cr_expect_str_eq(again.recording_sid.text, job.recording_sid.text);
	cr_expect_eq(again.epoch, 2);
	cr_expect_eq(again.attempts, 0, "nothing was charged");
	cr_expect_eq(claim_waiting(account.text, 5, NULL), 0, "leased once");
	cr_expect_str_eq(factory_sql("SELECT waits_for FROM recordings"), "", "a lease ends the wait");
	cr_expect_eq(finish(&again, LEDGER_OUTCOME_WAIT, 0, "unavailable"), 0);
	cr_expect_eq(claim_waiting(account.text, 5, NULL), 0, "the next end of an attempt says what it waits for, here nothing");
	cr_expect_str_eq(trail_of(1), "received leased wait leased wait");
}

Test(ledger, what_waits_comes_by_itself_once_it_is_due)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(wait_in_ledger(&job, make_sid("CR", 1).text), 0);
	factory_pass_time(3600000);
	cr_assert_eq(claim_by(ledger, 5, &job, NULL), 1);
	cr_expect_eq(claim_waiting(make_sid("CR", 1).text, 5, NULL), 0);
}

Test(ledger, of_many_that_wait_the_longest_waiting_come_first_and_no_more_than_asked_for)
{
	const struct sid key = make_sid("CR", 1);
	struct ledger_job job;
	for (unsigned n = 1; n <= 5; n++) {
		forward_one(n, RECORDING_COMPLETED, &job);
		cr_expect_eq(finish_by(ledger, &job,
				       (struct ledger_finish){.outcome = LEDGER_OUTCOME_WAIT,
							      .delay_ms = (int64_t)(9 - n) * 60000,
							      .waits_for = n == 3 ? NULL : key.text}),
			     0);
	}
	for (unsigned left = 5; left > 0; left--) {
		if (left == 3)
			continue;
		cr_assert_eq(claim_waiting(key.text, 1, &job), 1);
		cr_expect_str_eq(job.recording_sid.text, make_sid("RE", left).text);
	}
	cr_expect_eq(claim_waiting(key.text, 1, NULL), 0);
	cr_expect_eq(status_of(3), LEDGER_PENDING);
}

Test(ledger, two_replicas_never_claim_the_same_that_waited)
{
	struct ledger *other = factory_open(&loop, "b");
	const struct sid key = make_sid("CR", 1);
	struct ledger_job job;
	struct ledger_request requests[2];
	struct waited waited[2] = {{0}};
	for (unsigned n = 1; n <= 20; n++) {
		forward_one(n, RECORDING_COMPLETED, &job);
		cr_expect_eq(wait_in_ledger(&job, key.text), 0);
	}
	for (int i = 0; i < 2; i++) {
		requests[i] = (struct ledger_request){.op = LEDGER_CLAIM_WAITING,
						      .lease_max = 15,
						      .waiting_for = key.text,
						      .done = waited_done,
						      .data = &waited[i]};
		ledger_submit(i == 0 ? ledger : other, &requests[i]);
		waited[i].submitted = true;
	}
	while (!waited[0].done || !waited[1].done)
		uv_run(&loop, UV_RUN_ONCE);
	cr_expect_eq(waited[0].status, 0);
	cr_expect_eq(waited[1].status, 0);
	cr_expect_leq(requests[0].leased_count + requests[1].leased_count, 20);
	for (size_t i = 0; i < requests[0].leased_count; i++) {
		for (size_t k = 0; k < requests[1].leased_count; k++)
			cr_expect_str_neq(requests[0].leased[i].recording_sid.text, requests[1].leased[k].recording_sid.text);
	}
	cr_expect_eq(requests[0].leased_count + requests[1].leased_count + claim_waiting(key.text, 20, NULL), 20);
	ledger_request_release(&requests[0]);
	ledger_request_release(&requests[1]);
	close_ledger(other);
}

Test(ledger, only_what_is_pending_waits)
{
	const struct sid key = make_sid("CR", 1);
	struct ledger_job job;
	int status;
	for (unsigned n = 1; n <= 3; n++) {
		forward_one(n, RECORDING_COMPLETED, &job);
		cr_expect_eq(wait_in_ledger(&job, key.text), 0);
	}
	cr_expect_eq(people(LEDGER_DROP, 1, &status), 1);
	cr_expect_eq(people(LEDGER_RETRY, 2, &status), 1);
	cr_assert_eq(claim_waiting(key.text, 5, &job), 1, "one was dropped, one is due by itself");
	cr_expect_str_eq(job.recording_sid.text, make_sid("RE", 3).text);
	cr_expect_eq(finish_by(ledger, &job, (struct ledger_finish){.outcome = LEDGER_OUTCOME_DEAD, .waits_for = key.text}), 0);
	cr_expect_eq(claim_waiting(key.text, 5, NULL), 0);
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings WHERE waits_for IS NOT NULL"), "0");
}

Test(ledger, dead_and_failed_leave_a_note_on_the_call)
{
	struct ledger_job job;
	add_call(1, "completed", 1);
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "media_type: text/xml"), 0);
	cr_expect_eq(status_of(1), LEDGER_DEAD);
	cr_expect_eq(get(1).job.attempts, 1);
	const char *notes = call_column("notes", 1);
	cr_expect_not_null(strstr(notes, make_sid("RE", 1).text));
	cr_expect_not_null(strstr(notes, "media_type: text/xml"));
	struct ledger_job other;
	struct event second = recording_event(2, RECORDING_COMPLETED);
	second.call_sid = make_sid("CA", 1);
	forward(&second, 1, 1, &other);
	cr_expect_eq(finish(&other, LEDGER_OUTCOME_FAILED, 0, "media_gone"), 0);
	cr_expect_eq(status_of(2), LEDGER_FAILED);
	notes = call_column("notes", 1);
	cr_expect_not_null(strchr(notes, '\n'));
	cr_expect_not_null(strstr(notes, "media_gone"));
}

Test(ledger, skipped_is_an_end)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_SKIPPED, 0, "call unknown"), 0);
	cr_expect_eq(status_of(1), LEDGER_SKIPPED);
	cr_expect_eq(claim_by(ledger, 1, NULL, NULL), 0);
}

/* ---- leases ---- */

Test(ledger, a_dead_replicas_work_is_taken_over_and_its_late_writes_change_nothing)
{
	struct ledger *other = factory_open(&loop, "b");
	struct ledger_job old;
	struct ledger_job taken;
	add_call(1, "completed", 1);
	forward_one(1, RECORDING_COMPLETED, &old);
	cr_expect_eq(claim_by(other, 1, NULL, NULL), 0, "the lease still holds");
	factory_pass_time(LEDGER_LEASE_MS + 1000);
	cr_assert_eq(claim_by(other, 1, &taken, NULL), 1);
	cr_expect_eq(taken.epoch, 2);
	cr_expect_str_eq(get(1).lease_owner, "b");

	cr_expect_eq(store_by(ledger, &old, false), ERR_LEASE_LOST);
	for (int outcome = LEDGER_OUTCOME_DONE; outcome <= LEDGER_OUTCOME_DEAD; outcome++)
		cr_expect_eq(finish(&old, (enum ledger_outcome)outcome, 0, "late"), ERR_LEASE_LOST, "outcome %d", outcome);
	struct ledger_request beat = {.op = LEDGER_HEARTBEAT, .jobs = &old, .count = 1};
	cr_expect_eq(wait_for(ledger, &beat), 0);
	cr_expect(beat.lost[0]);
	ledger_request_release(&beat);
	struct ledger_recording row = get(1);
	cr_expect_eq(row.status, LEDGER_RUNNING);
	cr_expect_str_eq(row.lease_owner, "b");
	cr_expect_eq(row.job.attempts, 0);
	cr_expect_str_eq(row.last_error, "");
	cr_expect_str_eq(call_column("recording_url", 1), "");
	cr_expect_str_eq(call_column("notes", 1), "");
	cr_expect(ledger_up(ledger));

	cr_expect_eq(store_by(other, &taken, false), 0);
	cr_expect_eq(status_of(1), LEDGER_STORED);
	close_ledger(other);
}

static size_t reclaim_by(struct ledger *by, const struct ledger_job *held, size_t count, size_t max, struct ledger_job *jobs)
{
	struct ledger_request request = {.op = LEDGER_RECLAIM, .jobs = held, .count = count, .lease_max = max};
	cr_assert_eq(wait_for(by, &request), 0, "%s", request.error.detail);
	size_t found = request.leased_count;
	cr_assert_leq(found, max);
	for (size_t i = 0; i < found; i++)
		jobs[i] = request.leased[i];
	ledger_request_release(&request);
	return found;
}

Test(ledger, an_owner_is_handed_its_leases_that_it_does_not_hold)
{
	struct ledger *other = factory_open(&loop, "b");
	struct ledger_job held[2];
	struct ledger_job found[8];
	for (unsigned n = 1; n <= 4; n++)
		forward_one(n, RECORDING_COMPLETED, n <= 2 ? &held[n - 1] : &found[0]);
	forward_one(5, RECORDING_COMPLETED, NULL); /* pending */
	forward_one(6, RECORDING_COMPLETED, &found[0]);
	cr_assert_eq(store_by(ledger, &found[0], false), 0);
	cr_expect_eq(reclaim_by(other, NULL, 0, 8, found), 0, "another's leases");
	cr_expect_eq(reclaim_by(ledger, held, 2, 1, found), 1, "as many as there is room for");
	factory_pass_time(LEDGER_LEASE_MS / 2);
	cr_assert_eq(reclaim_by(ledger, held, 2, 8, found), 2);
	unsigned mask = 0;
	for (size_t i = 0; i < 2; i++) {
		for (unsigned n = 3; n <= 4; n++)
			mask |= strcmp(found[i].recording_sid.text, make_sid("RE", n).text) == 0 ? 1u << n : 0;
		cr_expect_eq(found[i].epoch, 1, "the lease that was given, not another");
	}
	cr_expect_eq(mask, 1u << 3 | 1u << 4);
	/* Prolonged: the others' run out before. */
	factory_pass_time(LEDGER_LEASE_MS / 2 + 1000);
	cr_expect_eq(reclaim_by(ledger, NULL, 0, 8, found), 2, "what has run out is nobody's");
	struct ledger_job taken;
	cr_expect_eq(claim_by(other, 8, &taken, NULL), 3, "the two that ran out, and the pending one");
	/* An epoch that is not the row's is not held. */
	struct ledger_job stale = found[0];
	stale.epoch = 7;
	cr_expect_eq(reclaim_by(ledger, &stale, 1, 8, found), 2);
	/* And what was handed back can be ended. */
	cr_expect_eq(store_by(ledger, &found[0], false), 0);
	cr_expect_eq(get(3).job.attempts, 0);
	close_ledger(other);
}

Test(ledger, a_lease_kept_for_the_purge_is_handed_back_as_stored)
{
	struct ledger_job job, found;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_assert_eq(store_by(ledger, &job, true), 0);
	cr_assert_eq(reclaim_by(ledger, NULL, 0, 1, &found), 1);
	cr_expect(found.stored && found.epoch == 1);
	cr_expect_str_eq(found.url, "file:///x/RE.wav");
}

Test(ledger, a_heartbeat_keeps_the_lease)
{
	struct ledger *other = factory_open(&loop, "b");
	struct ledger_job jobs[2];
	forward_one(1, RECORDING_COMPLETED, &jobs[0]);
	jobs[1] = jobs[0];
	jobs[1].recording_sid = make_sid("RE", 99);
	factory_pass_time(LEDGER_LEASE_MS - 1000);
	struct ledger_request beat = {.op = LEDGER_HEARTBEAT, .jobs = jobs, .count = 2};
	cr_expect_eq(wait_for(ledger, &beat), 0);
	cr_expect_not(beat.lost[0]);
	cr_expect(beat.lost[1], "one that does not exist is lost");
	ledger_request_release(&beat);
	factory_pass_time(LEDGER_LEASE_MS - 1000);
	cr_expect_eq(claim_by(other, 1, NULL, NULL), 0);
	close_ledger(other);
}

Test(ledger, finished_work_is_not_finished_twice)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_RETRY, 0, "x"), 0);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_RETRY, 0, "x"), ERR_LEASE_LOST);
	cr_expect_eq(get(1).job.attempts, 1);
}

Test(ledger, two_replicas_never_hold_the_same_work)
{
	struct ledger *other = factory_open(&loop, "b");
	struct event events[64];
	for (unsigned i = 0; i < 64; i++)
		events[i] = recording_event(i, RECORDING_COMPLETED);
	forward(events, 64, 0, NULL);
	size_t got = 0;
	for (size_t one = 1, two = 1; one + two > 0;) {
		one = claim_by(ledger, 7, NULL, NULL);
		two = claim_by(other, 5, NULL, NULL);
		got += one + two;
	}
	cr_expect_eq(got, 64);
	cr_expect_str_eq(factory_sql("SELECT max(lease_epoch) FROM recordings"), "1");
	close_ledger(other);
}

Test(ledger, the_oldest_work_is_claimed_first)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, NULL);
	forward_one(2, RECORDING_COMPLETED, NULL);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_str_eq(job.recording_sid.text, make_sid("RE", 1).text);
	factory_pass_time(LEDGER_LEASE_MS + 1);
	forward_one(3, RECORDING_COMPLETED, NULL);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_str_eq(job.recording_sid.text, make_sid("RE", 1).text, "what a dead replica left comes before what waits");
}

/* ---- every status, every event ---- */

/* The recording in this status, without a `completed` of Twilio; *job: its lease, when it runs. */
static void bring_to(unsigned n, enum ledger_status status, struct ledger_job *job)
{
	forward_one(n,
		    status == LEDGER_PENDING || status == LEDGER_SKIPPED ? RECORDING_IN_PROGRESS
		    : status == LEDGER_FAILED                            ? RECORDING_FAILED
									 : RECORDING_ABSENT,
		    NULL);
	if (status == LEDGER_SKIPPED)
		cr_assert_eq(people(LEDGER_DROP, n, NULL), 1);
	if (status == LEDGER_RUNNING || status == LEDGER_STORED || status == LEDGER_DELETED || status == LEDGER_DEAD) {
		cr_assert_eq(people(LEDGER_RETRY, n, NULL), 1, "Twilio may be wrong");
		cr_assert_eq(claim_by(ledger, 1, job, NULL), 1);
	}
	if (status == LEDGER_DEAD)
		cr_assert_eq(finish(job, LEDGER_OUTCOME_DEAD, 0, "media_not_ready"), 0);
	if (status == LEDGER_STORED || status == LEDGER_DELETED)
		cr_assert_eq(store_by(ledger, job, false), 0);
	if (status == LEDGER_DELETED)
		cr_assert_eq(people(LEDGER_DELETED_OBJECT, n, NULL), 1);
	cr_assert_eq(status_of(n), status);
}

static bool completed_known(unsigned n)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "SELECT count(completed_at) FROM recordings WHERE recording_sid = '%s'",
		 make_sid("RE", n).text);
	return strcmp(factory_sql(sql), "1") == 0;
}

static bool starts(enum ledger_status status)
{
	return status == LEDGER_PENDING || status == LEDGER_ABSENT || status == LEDGER_FAILED || status == LEDGER_DEAD;
}

Test(ledger, the_first_completed_is_kept_in_every_status_and_starts_what_it_may)
{
	for (unsigned n = 0; n < 2 * LEDGER_STATUS_COUNT; n++) {
		enum ledger_status status = (enum ledger_status)(n / 2);
		size_t room = n % 2;
		struct ledger_job job = {.epoch = 0};
		bring_to(n, status, &job);
		char trail[1024];
		snprintf(trail, sizeof(trail), "%s received%s", trail_of(n), starts(status) && room == 1 ? " leased" : "");
		struct event event = recording_event(n, RECORDING_COMPLETED);
		struct ledger_request request = {.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = room};
		cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
		const char *name = ledger_status_name(status);
		cr_expect_eq(request.duplicates, 0, "%s", name);
		cr_expect_eq(request.leased_count, starts(status) ? room : 0, "%s", name);
		if (request.leased_count == 1) {
			cr_expect_eq(request.leased[0].epoch, job.epoch + 1, "%s", name);
			cr_expect_eq(request.leased[0].attempts, 0, "%s", name);
			cr_expect_eq(request.leased[0].received_at_ms, event.received_at_ms);
		}
		ledger_request_release(&request);
		cr_expect(completed_known(n), "%s", name);
		struct ledger_recording row = get(n);
		cr_expect_eq(row.status, !starts(status) ? status : room == 1 ? LEDGER_RUNNING : LEDGER_PENDING, "%s", name);
		cr_expect_eq(row.job.attempts, 0, "%s", name);
		cr_expect_eq(row.job.duration_s, row.job.stored ? 31 : 30, "%s: what the object says counts", name);
		cr_expect_str_eq(row.lease_owner, row.status == LEDGER_RUNNING ? "a" : "", "%s", name);
		cr_expect_str_eq(trail_of(n), trail, "%s", name);
		forward_one(n, RECORDING_COMPLETED, NULL);
		cr_expect_eq(last_duplicates, 1, "%s", name);
		cr_expect_str_eq(trail_of(n), trail, "%s", name);
		if (status == LEDGER_RUNNING)
			cr_expect_eq(store_by(ledger, &job, false), 0, "the lease is still good");
		else if (starts(status) && room == 0)
			cr_expect_eq(claim_by(ledger, 9, NULL, NULL), 1, "%s", name);
	}
}

Test(ledger, absent_and_failed_end_only_what_waits)
{
	for (unsigned n = 0; n < 2 * LEDGER_STATUS_COUNT; n++) {
		enum ledger_status status = (enum ledger_status)(n / 2);
		struct ledger_job job;
		bring_to(n, status, &job);
		forward_one(n, n % 2 == 0 ? RECORDING_ABSENT : RECORDING_FAILED, NULL);
		cr_expect_eq(last_duplicates, status != LEDGER_PENDING);
		enum ledger_status end = n % 2 == 0 ? LEDGER_ABSENT : LEDGER_FAILED;
		cr_expect_eq(status_of(n), status == LEDGER_PENDING ? end : status, "%s", ledger_status_name(status));
		forward_one(n, RECORDING_IN_PROGRESS, NULL);
		cr_expect_eq(last_duplicates, 1, "%s", ledger_status_name(status));
	}
}

Test(ledger, absent_does_not_end_what_is_stored_and_waits_for_its_purge)
{
	struct ledger_job job;
	bring_to(1, LEDGER_RUNNING, &job);
	cr_assert_eq(store_by(ledger, &job, true), 0);
	cr_assert_eq(finish(&job, LEDGER_OUTCOME_WAIT, 0, "unavailable"), 0);
	forward_one(1, RECORDING_ABSENT, NULL);
	cr_expect_eq(status_of(1), LEDGER_PENDING);
	cr_expect_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect(job.stored);
}

Test(ledger, what_is_started_takes_the_leases_and_what_is_only_kept_takes_none)
{
	struct ledger_job job;
	bring_to(1, LEDGER_RUNNING, &job);
	bring_to(2, LEDGER_SKIPPED, &job);
	bring_to(3, LEDGER_DEAD, &job);
	struct event events[] = {recording_event(1, RECORDING_COMPLETED), recording_event(2, RECORDING_COMPLETED),
				 recording_event(3, RECORDING_COMPLETED), recording_event(4, RECORDING_COMPLETED)};
	cr_expect_eq(forward(events, 4, 1, &job), 1);
	cr_expect_str_eq(job.recording_sid.text, make_sid("RE", 3).text);
	cr_expect_eq(last_duplicates, 0);
	cr_expect_eq(status_of(4), LEDGER_PENDING);
}

Test(ledger, an_attempt_that_completed_overtook_does_not_end_the_recording)
{
	static const enum ledger_outcome outcomes[] = {LEDGER_OUTCOME_ABSENT, LEDGER_OUTCOME_FAILED, LEDGER_OUTCOME_RETRY,
						       LEDGER_OUTCOME_WAIT,   LEDGER_OUTCOME_DEAD,   LEDGER_OUTCOME_RELEASE};
	struct ledger_job job;
	for (unsigned n = 0; n < sizeof(outcomes) / sizeof(outcomes[0]); n++) {
		add_call(n, "completed", 1);
		bring_to(n, LEDGER_RUNNING, &job);
		const char *before = call_column("notes", n);
		char notes[512];
		snprintf(notes, sizeof(notes), "%s", before);
		cr_expect_eq(forward_one(n, RECORDING_COMPLETED, NULL), 0);
		cr_assert_eq(finish(&job, outcomes[n], 1000000, "media_not_ready"), 0);
		cr_expect_eq(status_of(n), LEDGER_PENDING, "outcome %d", outcomes[n]);
		cr_expect_str_eq(call_column("notes", n), notes, "outcome %d", outcomes[n]);
		cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1, "outcome %d: not at once", outcomes[n]);
		cr_expect_eq(job.attempts, 0, "outcome %d", outcomes[n]);
		cr_expect_str_eq(trail_of(n), "received requeued leased received retry leased", "outcome %d", outcomes[n]);
		/* The next one is as good as any. */
		cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "x"), 0);
		cr_expect_eq(status_of(n), LEDGER_DEAD);
	}
	bring_to(20, LEDGER_RUNNING, &job);
	forward_one(20, RECORDING_COMPLETED, NULL);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_SKIPPED, 0, "call unknown"), 0);
	cr_expect_eq(status_of(20), LEDGER_SKIPPED, "that has nothing to do with Twilio");
	bring_to(21, LEDGER_RUNNING, &job);
	forward_one(21, RECORDING_COMPLETED, NULL);
	cr_expect_eq(store_by(ledger, &job, true), 0);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "purge: http_forbidden"), 0);
	cr_expect_eq(status_of(21), LEDGER_STORED);
	/* Who takes over a lease that ran out knows of it. */
	bring_to(22, LEDGER_RUNNING, &job);
	forward_one(22, RECORDING_COMPLETED, NULL);
	factory_pass_time(LEDGER_LEASE_MS + 1000);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(finish(&job, LEDGER_OUTCOME_DEAD, 0, "x"), 0);
	cr_expect_eq(status_of(22), LEDGER_DEAD);
}

/* ---- what people do ---- */

Test(ledger, retry_puts_back_what_is_dead_failed_waiting_or_dropped_and_nothing_else)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	finish(&job, LEDGER_OUTCOME_DEAD, 0, "x");
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	cr_expect_eq(job.attempts, 0, "a new count");
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 0, "it is running");
	finish(&job, LEDGER_OUTCOME_RETRY, 1000000, "x");
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	finish(&job, LEDGER_OUTCOME_FAILED, 0, "x");
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1);
	cr_expect_eq(people(LEDGER_DROP, 1, NULL), 1);
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	store_by(ledger, &job, false);
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 0, "it is stored");
	int status;
	people(LEDGER_RETRY, 2, &status);
	cr_expect_eq(status, ERR_NOT_FOUND);
}

Test(ledger, what_waits_for_twilios_completed_is_not_retried)
{
	struct ledger_job job;
	forward_one(1, RECORDING_IN_PROGRESS, NULL);
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 0);
	cr_expect_eq(claim_by(ledger, 1, &job, NULL), 0);
	cr_expect_str_eq(trail_of(1), "received");
	cr_expect_eq(forward_one(1, RECORDING_COMPLETED, NULL), 0);
	cr_expect_eq(people(LEDGER_RETRY, 1, NULL), 1, "from then on it is work");
}

static void make_dead(unsigned count)
{
	struct event events[7];
	for (unsigned i = 0; i < count; i++)
		events[i] = recording_event(i, RECORDING_COMPLETED);
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = events, .count = count, .lease_max = count};
	cr_assert_eq(wait_for(ledger, &request), 0);
	for (unsigned i = 0; i < count; i++)
		finish(&request.leased[i], LEDGER_OUTCOME_DEAD, 0, "x");
	ledger_request_release(&request);
}

Test(ledger, retry_of_all_dead_comes_in_bounded_steps)
{
	make_dead(7);
	static const size_t steps[] = {3, 3, 1, 0};
	for (size_t i = 0; i < 4; i++) {
		struct ledger_request retry = {.op = LEDGER_RETRY, .all_dead = true, .limit = 3};
		cr_expect_eq(wait_for(ledger, &retry), 0);
		cr_expect_eq(retry.changed, steps[i]);
		cr_expect_eq(retry.next_cursor[0] != '\0', steps[i] == 3);
		ledger_request_release(&retry);
	}
	cr_expect_eq(claim_by(ledger, 100, NULL, NULL), 7);
}

Test(ledger, retry_of_all_dead_ends_though_they_die_again_at_once)
{
	char cursor[64] = "";
	make_dead(5);
	static const size_t steps[] = {2, 2, 1};
	for (size_t i = 0; i < 3; i++) {
		struct ledger_request retry = {.op = LEDGER_RETRY, .all_dead = true, .limit = 2, .cursor = cursor};
		struct ledger_job jobs[2];
		cr_assert_eq(wait_for(ledger, &retry), 0);
		cr_expect_eq(retry.changed, steps[i]);
		snprintf(cursor, sizeof(cursor), "%s", retry.next_cursor);
		cr_expect_eq(cursor[0] != '\0', steps[i] == 2);
		ledger_request_release(&retry);
		for (size_t job = 0; job < steps[i]; job++) {
			cr_assert_eq(claim_by(ledger, 1, &jobs[job], NULL), 1);
			finish(&jobs[job], LEDGER_OUTCOME_DEAD, 0, "again");
		}
	}
	struct ledger_request wrong = {.op = LEDGER_RETRY, .all_dead = true, .cursor = "x"};
	cr_expect_eq(wait_for(ledger, &wrong), ERR_INVALID);
	ledger_request_release(&wrong);
}

Test(ledger, drop_ends_work_also_under_a_running_job)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(people(LEDGER_DROP, 1, NULL), 1);
	cr_expect_eq(status_of(1), LEDGER_SKIPPED);
	cr_expect_eq(store_by(ledger, &job, false), ERR_LEASE_LOST);
	cr_expect_eq(people(LEDGER_DROP, 1, NULL), 0);
	forward_one(2, RECORDING_COMPLETED, &job);
	store_by(ledger, &job, false);
	cr_expect_eq(people(LEDGER_DROP, 2, NULL), 0, "what is stored is not dropped");
}

Test(ledger, a_deleted_object_takes_its_link_from_the_call)
{
	struct ledger_job job;
	add_call(1, "completed", 1);
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_eq(people(LEDGER_DELETED_OBJECT, 1, NULL), 0, "there is no object yet");
	store_by(ledger, &job, false);
	cr_expect_eq(people(LEDGER_DELETED_OBJECT, 1, NULL), 1);
	cr_expect_eq(status_of(1), LEDGER_DELETED);
	cr_expect_str_eq(call_column("recording_url", 1), "");
	cr_expect_eq(forward_one(1, RECORDING_COMPLETED, NULL), 0);
	cr_expect_eq(status_of(1), LEDGER_DELETED, "a duplicate does not bring it back");
}

Test(ledger, counts_are_by_status_and_leave_out_what_waits_for_twilio)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	store_by(ledger, &job, false);
	forward_one(2, RECORDING_COMPLETED, &job);
	forward_one(3, RECORDING_COMPLETED, NULL);
	forward_one(4, RECORDING_IN_PROGRESS, NULL);
	forward_one(5, RECORDING_FAILED, NULL);
	struct ledger_request request = {.op = LEDGER_COUNTS};
	cr_expect_eq(wait_for(ledger, &request), 0);
	struct ledger_request third = {.op = LEDGER_GET, .recording_sid = make_sid("RE", 3)};
	cr_expect_eq(wait_for(ledger, &third), 0);
	cr_expect_eq(request.oldest_ms, third.recordings[0].received_at_ms, "the only one that is work and waits");
	ledger_request_release(&third);
	cr_expect_eq(request.counts[LEDGER_STORED], 1);
	cr_expect_eq(request.counts[LEDGER_RUNNING], 1);
	cr_expect_eq(request.counts[LEDGER_PENDING], 1);
	cr_expect_eq(request.counts[LEDGER_FAILED], 1);
	cr_expect_eq(request.counts[LEDGER_DEAD], 0);
	ledger_request_release(&request);
}

/* Walks a list by pages of two and returns how many rows it has in all; the newest must come first. */
static size_t walk(int status_filter, const char *key_prefix)
{
	size_t total = 0;
	char cursor[64] = "";
	int64_t last = INT64_MAX;
	do {
		struct ledger_request request = {.op = LEDGER_LIST,
						 .status_filter = status_filter,
						 .key_prefix = key_prefix,
						 .cursor = cursor,
						 .limit = 2};
		cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
		cr_expect_leq(request.recording_count, 2);
		for (size_t i = 0; i < request.recording_count; i++) {
			cr_expect_lt(request.recordings[i].job.received_at_ms, last);
			last = request.recordings[i].job.received_at_ms;
		}
		total += request.recording_count;
		strcpy(cursor, request.next_cursor);
		ledger_request_release(&request);
	} while (cursor[0] != '\0');
	return total;
}

Test(ledger, lists_page_through_everything_by_status_and_by_key)
{
	struct ledger_job job;
	for (unsigned i = 1; i <= 3; i++) {
		forward_one(i, RECORDING_COMPLETED, &job);
		store_by(ledger, &job, false);
	}
	forward_one(4, RECORDING_COMPLETED, &job);
	finish(&job, LEDGER_OUTCOME_DEAD, 0, "x");
	forward_one(5, RECORDING_COMPLETED, &job);
	forward_one(6, RECORDING_COMPLETED, NULL);
	cr_expect_eq(walk(-1, NULL), 6);
	cr_expect_eq(walk(-2, NULL), 3);
	cr_expect_eq(walk(LEDGER_STORED, NULL), 3);
	cr_expect_eq(walk(LEDGER_ABSENT, NULL), 0);
	cr_expect_eq(walk(LEDGER_STORED, "recordings/2023/11/"), 3);
	cr_expect_eq(walk(LEDGER_STORED, "recordings/2024/"), 0);
	cr_expect_eq(walk(LEDGER_STORED, "%"), 0, "a prefix is not a pattern");
	struct ledger_request request = {.op = LEDGER_LIST, .status_filter = -1, .cursor = "12; DROP TABLE"};
	cr_expect_eq(wait_for(ledger, &request), ERR_INVALID);
	ledger_request_release(&request);
}

/* How many recordings a list of these has, in pages of 2; each once, newest first. */
static size_t walk_of(const char *sid, int status_filter)
{
	char cursor[64] = "";
	size_t total = 0;
	unsigned last = UINT_MAX;
	do {
		struct ledger_request request = {.op = LEDGER_LIST, .status_filter = status_filter, .cursor = cursor, .limit = 2};
		snprintf(request.of.text, sizeof(request.of.text), "%s", sid);
		cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
		for (size_t i = 0; i < request.recording_count; i++) {
			unsigned n = (unsigned)strtoul(request.recordings[i].job.recording_sid.text + 10, NULL, 16);
			cr_expect_lt(n, last);
			last = n;
		}
		total += request.recording_count;
		snprintf(cursor, sizeof(cursor), "%s", request.next_cursor);
		ledger_request_release(&request);
	} while (cursor[0] != '\0');
	return total;
}

Test(ledger, lists_of_one_recording_call_or_conference)
{
	struct ledger_job job;
	for (unsigned i = 1; i <= 12; i++) {
		struct event event = recording_event(i, RECORDING_COMPLETED);
		event.call_sid = i <= 5 ? make_sid("CA", 1) : i <= 9 ? make_sid("CA", 2) : (struct sid){""};
		event.conference_sid = i > 9 ? make_sid("CF", 1) : (struct sid){""};
		forward(&event, 1, 1, &job);
		if (i % 2 == 0)
			store_by(ledger, &job, false);
	}
	/* Eight digits in common with the first call are not enough. */
	struct event event = recording_event(13, RECORDING_COMPLETED);
	event.call_sid = make_sid("CA", 1);
	event.call_sid.text[33] ^= 1;
	forward(&event, 1, 0, NULL);
	cr_expect_eq(walk_of(make_sid("CA", 1).text, -1), 5);
	cr_expect_eq(walk_of(make_sid("CA", 1).text, LEDGER_STORED), 2);
	cr_expect_eq(walk_of(make_sid("CA", 2).text, -1), 4);
	cr_expect_eq(walk_of(make_sid("CA", 3).text, -1), 0);
	cr_expect_eq(walk_of(make_sid("CF", 1).text, -1), 3);
	cr_expect_eq(walk_of(make_sid("CF", 1).text, LEDGER_DEAD), 0);
	cr_expect_eq(walk_of(make_sid("RE", 7).text, -1), 1);
	cr_expect_eq(walk_of(make_sid("RE", 7).text, LEDGER_STORED), 0);
	cr_expect_eq(walk_of(make_sid("RE", 99).text, -1), 0);
	struct ledger_request request = {.op = LEDGER_LIST, .status_filter = -1, .of = {"' OR 1=1 --"}};
	cr_expect_eq(wait_for(ledger, &request), ERR_INVALID);
	ledger_request_release(&request);
}

Test(ledger, a_recording_shows_twilios_error_code_and_when_it_was_first_heard_of)
{
	struct event event = recording_event(1, RECORDING_ABSENT);
	event.error_code = 16104;
	event.received_at_ms = 1700000000123;
	forward(&event, 1, 0, NULL);
	cr_expect_eq(get(1).error_code, 16104);
	cr_expect_eq(get(1).received_at_ms, 1700000000123);
	forward_one(2, RECORDING_COMPLETED, NULL);
	cr_expect_eq(get(2).error_code, -1);
	event = recording_event(3, RECORDING_IN_PROGRESS);
	event.received_at_ms = 1700000000000;
	forward(&event, 1, 0, NULL);
	event = recording_event(3, RECORDING_COMPLETED);
	event.received_at_ms = 1700000009000;
	forward(&event, 1, 0, NULL);
	cr_expect_eq(get(3).received_at_ms, 1700000000000);
	cr_expect_eq(get(3).job.received_at_ms, 1700000009000);
}

Test(ledger, the_trail_says_who_asked)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	finish(&job, LEDGER_OUTCOME_DEAD, 0, "x");
	struct ledger_request retry = {.op = LEDGER_RETRY, .recording_sid = make_sid("RE", 1), .by = "api"};
	cr_assert_eq(wait_for(ledger, &retry), 0);
	ledger_request_release(&retry);
	cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	store_by(ledger, &job, false);
	struct ledger_request remove = {.op = LEDGER_DELETED_OBJECT, .recording_sid = make_sid("RE", 1), .by = "api"};
	cr_assert_eq(wait_for(ledger, &remove), 0);
	ledger_request_release(&remove);
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = make_sid("RE", 1)};
	cr_assert_eq(wait_for(ledger, &request), 0);
	cr_assert_eq(request.audit_count, 7);
	cr_expect_str_eq(request.audit[3].detail, "by api");
	cr_expect_str_eq(request.audit[6].what, "deleted");
	cr_expect_str_eq(request.audit[6].detail, "from storage, by api");
	ledger_request_release(&request);
}

/* ---- figures over all calls ---- */

static struct ledger_stats *stats_of(struct ledger_request *request)
{
	*request = (struct ledger_request){.op = LEDGER_STATS};
	cr_assert_eq(wait_for(ledger, request), 0, "%s", request->error.detail);
	return request->stats;
}

static void expect_stats(const int64_t by_status[LEDGER_CALL_STATUSES], int64_t timed, int64_t seconds)
{
	struct ledger_request request;
	const struct ledger_stats *stats = stats_of(&request);
	for (size_t i = 0; i < LEDGER_CALL_STATUSES; i++)
		cr_expect_eq(stats->calls_by_status[i], by_status[i], "%s: %lld instead of %lld",
			     call_status_name((enum call_status)i), (long long)stats->calls_by_status[i],
			     (long long)by_status[i]);
	cr_expect_eq(stats->timed, timed);
	cr_expect_eq(stats->seconds, seconds);
	ledger_request_release(&request);
}

Test(ledger, an_empty_ledger_has_thirty_days_without_calls)
{
	struct ledger_request request;
	const struct ledger_stats *stats = stats_of(&request);
	char today[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(clock_wall_ms(), today);
	today[10] = '\0';
	cr_expect_str_eq(stats->days[LEDGER_STATS_DAYS - 1].date, today);
	for (size_t i = 0; i < LEDGER_STATS_DAYS; i++) {
		cr_expect_eq(stats->days[i].calls, 0);
		cr_expect_eq(strlen(stats->days[i].date), 10);
		if (i > 0)
			cr_expect_lt(strcmp(stats->days[i - 1].date, stats->days[i].date), 0);
	}
	cr_expect_eq(stats->top_rated_count + stats->longest_count, 0);
	ledger_request_release(&request);
	expect_stats((const int64_t[LEDGER_CALL_STATUSES]){0}, 0, 0);
}

Test(ledger, figures_follow_what_becomes_of_calls)
{
	for (unsigned i = 1; i <= 4; i++)
		add_call(i, "ringing", -1);
	expect_stats((const int64_t[]){4, 0, 0, 0, 0}, 0, 0);
	add_call(1, "in-progress", -1);
	add_call(2, "completed", 100);
	add_call(3, "no-answer", 0);
	add_call(4, "failed", -1);
	expect_stats((const int64_t[]){0, 1, 1, 1, 1}, 2, 100);
	add_call(2, "completed", 100);
	add_call(1, "completed", 11);
	expect_stats((const int64_t[]){0, 0, 2, 1, 1}, 3, 111);
	struct ledger_job job;
	forward_one(4, RECORDING_COMPLETED, &job);
	store_by(ledger, &job, false); /* gives a call without a duration that of its recording */
	expect_stats((const int64_t[]){0, 0, 2, 1, 1}, 4, 142);
	/* Others may change rows too. */
	factory_sql("UPDATE calls SET duration = NULL WHERE duration = 100");
	factory_sql("UPDATE calls SET rating = 5, notes = 'x'");
	expect_stats((const int64_t[]){0, 0, 2, 1, 1}, 3, 42);
	factory_sql("DELETE FROM calls WHERE status = 'COMPLETED'");
	expect_stats((const int64_t[]){0, 0, 0, 1, 1}, 2, 31);
	factory_sql("DELETE FROM calls");
	expect_stats((const int64_t[]){0, 0, 0, 0, 0}, 0, 0);
}

static void start(struct ledger *on, struct ledger_request *request, struct waited *waited)
{
	*waited = (struct waited){0};
	request->done = waited_done;
	request->data = waited;
	ledger_submit(on, request);
	waited->submitted = true;
}

Test(ledger, figures_are_exact_while_others_write_and_ask)
{
	enum { ROUNDS = 40, CALLS = 5 };
	struct ledger *other = factory_open(&loop, "b");
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct event events[CALLS];
		struct ledger_request requests[3] = {
			{.op = LEDGER_STATS}, {.op = LEDGER_FORWARD, .events = events, .count = CALLS}, {.op = LEDGER_STATS}};
		struct waited waited[3];
		for (unsigned i = 0; i < CALLS; i++)
			events[i] = call_event(round * CALLS + i, EVENT_CALL_INCOMING, "completed", 1);
		for (size_t i = 0; i < 3; i++)
			start(i == 2 ? other : ledger, &requests[i], &waited[i]);
		while (!waited[0].done || !waited[1].done || !waited[2].done)
			turn_run(&loop);
		for (size_t i = 0; i < 3; i++) {
			cr_assert_eq(waited[i].status, 0, "%s", requests[i].error.detail);
			if (i != 1) {
				int64_t seen = requests[i].stats->calls_by_status[CALL_COMPLETED];
				cr_expect(seen == round * CALLS || seen == (round + 1) * CALLS, "%lld in round %u",
					  (long long)seen, round);
				cr_expect_eq(requests[i].stats->seconds, seen);
			}
			ledger_request_release(&requests[i]);
		}
	}
	expect_stats((const int64_t[]){0, 0, ROUNDS * CALLS, 0, 0}, ROUNDS * CALLS, ROUNDS * CALLS);
	close_ledger(other);
}

Test(ledger, calls_are_counted_on_the_utc_day_they_were_created)
{
	static const int64_t day_ms = 86400000;
	int64_t today = clock_wall_ms() / day_ms;
	struct {
		int64_t at;
		size_t day; /* LEDGER_STATS_DAYS: not shown */
	} calls[] = {{today * day_ms, 29},        {today * day_ms - 1, 28},        {(today - 1) * day_ms, 28},
		     {(today - 29) * day_ms, 0},  {(today - 29) * day_ms - 1, 30}, {(today - 15) * day_ms + 5000, 14},
		     {(today - 400) * day_ms, 30}};
	int64_t expected[LEDGER_STATS_DAYS + 1] = {0};
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct event event = call_event(i + 1, EVENT_CALL_STATUS, "completed", 1);
		event.received_at_ms = calls[i].at;
		forward(&event, 1, 0, NULL);
		expected[calls[i].day]++;
	}
	struct ledger_request request;
	const struct ledger_stats *stats = stats_of(&request);
	if (clock_wall_ms() / day_ms == today) /* else midnight came in between */
		for (size_t i = 0; i < LEDGER_STATS_DAYS; i++)
			cr_expect_eq(stats->days[i].calls, expected[i], "%s: %lld", stats->days[i].date,
				     (long long)stats->days[i].calls);
	ledger_request_release(&request);
	expect_stats((const int64_t[]){0, 0, 7, 0, 0}, 7, 7);
}

Test(ledger, the_ten_longest_and_the_ten_best_rated_calls_with_all_that_is_known_of_them)
{
	char sql[512];
	for (unsigned i = 1; i <= 25; i++)
		add_call(i, "completed", (int64_t)(i * 7 % 26));
	for (unsigned i = 1; i <= 12; i++) {
		snprintf(sql, sizeof(sql), "UPDATE calls SET rating = %u WHERE twilio_sid = '%s'", i % 5 + 1,
			 make_sid("CA", i).text);
		factory_sql(sql);
	}
	snprintf(sql, sizeof(sql),
		 "UPDATE calls SET notes = 'a \"note\"', transcript_url = 'https://t/1', recording_url = 'https://r/1' WHERE "
		 "twilio_sid = '%s'",
		 make_sid("CA", 9).text);
	factory_sql(sql);
	for (int i = 0; i < 3; i++) {
		snprintf(sql, sizeof(sql),
			 "INSERT INTO call_segments (call_id, speaker, text, timestamp, created_at) "
			 "SELECT id, 'EARL', 'hello', 1.5, created_at FROM calls WHERE twilio_sid = '%s'",
			 make_sid("CA", 9).text);
		factory_sql(sql);
	}
	factory_set_tags(make_sid("CA", 9).text, "refund", "a \"b\"");
	struct ledger_request request;
	const struct ledger_stats *stats = stats_of(&request);
	cr_assert_eq(stats->longest_count, 10);
	for (size_t i = 0; i < 10; i++)
		cr_expect_eq(stats->longest[i].duration_s, 25 - (int64_t)i);
	cr_assert_eq(stats->top_rated_count, 10);
	/* 5: 9, 4; 4: 8, 3; 3: 12, 7, 2; 2: 11, 6, 1 */
	static const unsigned rated[] = {9, 4, 8, 3, 12, 7, 2, 11, 6, 1};
	for (size_t i = 0; i < 10; i++)
		cr_expect_str_eq(stats->top_rated[i].twilio_sid, make_sid("CA", rated[i]).text);
	const struct ledger_call_row *best = &stats->top_rated[0];
	cr_expect_gt(best->id, 0);
	cr_expect_eq(best->rating, 5);
	cr_expect_eq(best->segments, 3);
	cr_expect_str_eq(best->notes, "a \"note\"");
	cr_expect_str_eq(best->tags, "[\"refund\",\"a \\\"b\\\"\"]");
	cr_expect_str_eq(best->recording_url, "https://r/1");
	cr_expect_str_eq(best->transcript_url, "https://t/1");
	cr_expect_str_eq(best->status, "COMPLETED");
	cr_expect_str_eq(best->from, "+15005550006");
	cr_expect_str_eq(best->to, "+15005550001");
	cr_expect_eq(best->created_at_ms, 1700000000000);
	cr_expect_gt(best->updated_at_ms, 1700000000000);
	cr_expect_eq(best->duration_s, 9 * 7 % 26);
	cr_expect_eq(stats->top_rated[1].segments, 0);
	cr_expect_str_eq(stats->top_rated[1].tags, "[]");
	cr_expect_str_eq(stats->top_rated[1].notes, "");
	ledger_request_release(&request);
}

Test(ledger, the_trail_shows_the_newest_200_oldest_first)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	for (int i = 0; i < 130; i++) {
		char error[16];
		snprintf(error, sizeof(error), "e%d", i);
		finish(&job, LEDGER_OUTCOME_RETRY, 0, error);
		cr_assert_eq(claim_by(ledger, 1, &job, NULL), 1);
	}
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = make_sid("RE", 1)};
	cr_assert_eq(wait_for(ledger, &request), 0);
	cr_expect_eq(request.audit_count, 200);
	cr_expect_str_eq(request.audit[199].what, "leased");
	cr_expect_not_null(strstr(request.audit[198].detail, "e129"));
	for (size_t i = 1; i < request.audit_count; i++)
		cr_expect_geq(request.audit[i].at_ms, request.audit[i - 1].at_ms);
	ledger_request_release(&request);
}

/* ---- the interface ---- */

struct many {
	struct ledger_request requests[40];
	struct event events[40];
	unsigned answered;
	unsigned cancelled;
	unsigned committed;
};

static void many_done(struct ledger_request *request, int status)
{
	struct many *many = request->data;
	many->answered++;
	many->cancelled += status == ERR_CANCELLED;
	many->committed += status == 0;
	cr_expect(status == 0 || status == ERR_CANCELLED);
	ledger_request_release(request);
}

static void submit_many(struct many *many, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		many->events[i] = recording_event(i, RECORDING_COMPLETED);
		many->requests[i] = (struct ledger_request){.op = LEDGER_FORWARD,
							    .events = &many->events[i],
							    .count = 1,
							    .lease_max = 1,
							    .done = many_done,
							    .data = many};
		ledger_submit(ledger, &many->requests[i]);
	}
}

Test(ledger, closed_at_every_loop_turn_each_request_is_answered_once)
{
	unsigned expected = 0;
	for (int turns = 0; turns < 12; turns++) {
		static struct many many;
		memset(&many, 0, sizeof(many));
		submit_many(&many, 0, 20);
		for (int i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		bool closed = false;
		ledger_close(ledger, flag_closed, &closed);
		submit_many(&many, 20, 40);
		cr_expect_not(closed);
		uv_run(&loop, UV_RUN_DEFAULT);
		cr_expect(closed);
		cr_expect_eq(many.answered, 40, "%u answers, closed after %d turns", many.answered, turns);
		cr_expect_eq(many.cancelled, 20, "what came after the close is cancelled");
		expected += many.committed > 0;
		ledger = factory_open(&loop, "a");
		cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings"), "20");
	}
	cr_expect_eq(expected, 12);
}

Test(ledger, a_committed_answer_is_there_for_another_connection)
{
	struct ledger_job job;
	forward_one(1, RECORDING_COMPLETED, &job);
	cr_expect_str_eq(factory_sql("SELECT status FROM recordings"), "running");
	store_by(ledger, &job, false);
	cr_expect_str_eq(factory_sql("SELECT status FROM recordings"), "stored");
}

Test(ledger, a_failing_request_takes_nothing_of_its_group_along)
{
	static struct many many;
	memset(&many, 0, sizeof(many));
	struct event bad = recording_event(1000, RECORDING_COMPLETED);
	bad.recording_sid.text[0] = '\0';
	struct event pair[2] = {recording_event(999, RECORDING_COMPLETED), bad};
	struct waited waited = {.submitted = true};
	struct ledger_request wrong = {.op = LEDGER_FORWARD, .events = pair, .count = 2, .done = waited_done, .data = &waited};
	submit_many(&many, 0, 20);
	ledger_submit(ledger, &wrong);
	submit_many(&many, 20, 40);
	while (many.answered < 40 || !waited.done)
		turn_run(&loop);
	cr_expect_eq(waited.status, ERR_INVALID);
	cr_expect_eq(many.committed, 40);
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings"), "40");
}

Test(ledger, ping_answers)
{
	struct ledger_request request = {.op = LEDGER_PING};
	cr_expect_eq(wait_for(ledger, &request), 0);
	cr_expect(ledger_up(ledger));
}

Test(ledger, releasing_a_request_that_was_never_submitted_is_safe)
{
	struct ledger_request request = {0};
	ledger_request_release(&request);
}
