/* SPDX-License-Identifier: MIT */
/*
 * DESCRIBE: asks Twilio what the webhook did not tell. What it did tell (start, duration, channels, source) is not fetched again.
 *
 * DESCRIBE_CALL (from LOOKUP): the call's JSON becomes a call in the ledger, then TRANSFER. Creating a call that exists changes
 * nothing. A call that Twilio does not know must not keep its recording from being archived. DESCRIBE_RECORDING (from TRANSFER,
 * whose media answered 404 or 410): the recording's JSON explains why; the job always goes to FINISH. DESCRIBE_ENCRYPTION (from TRANSFER, to which encryption details
 * are missing): back to TRANSFER with those of the recording's JSON, once an attempt. Waits for: Twilio, then the
 * ledger. Failure: FINISH.
 */
#include "pipeline/job.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "twilio/error_code.h"

#include <stdio.h>
#include <string.h>

static void create_done(struct ledger_request *request, int status)
{
	struct job *job = request->data;
	struct error error = request->error;
	job_landed(job, STEP_DESCRIBE, FLIGHT_LEDGER);
	ledger_request_release(request);
	job_learned(job, DEPENDENCY_LEDGER, status, status == 0);
	if (status != 0)
		job_fail(job, DEPENDENCY_LEDGER, status, &error, -1);
	job_resume(job, STEP_TRANSFER);
}

static void create_call(struct job *job)
{
	job->ledger = (struct ledger_request){
		.op = LEDGER_CREATE_CALL, .recording_sid = job->work.recording_sid, .call_sid = job->work.call_sid};
	struct ledger_call *call = &job->ledger.call;
	call->call_sid = job->work.call_sid;
	call->duration_s = job->twilio.call_duration_s;
	snprintf(call->from, sizeof(call->from), "%s", job->twilio.from);
	snprintf(call->to, sizeof(call->to), "%s", job->twilio.to);
	snprintf(call->status, sizeof(call->status), "%s", job->twilio.call_status);
	job_wait_ledger(job, create_done);
}

static void call_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	bool cut = job_landed(job, STEP_DESCRIBE, FLIGHT_TWILIO);
	enum dependency at = job_learned_of_twilio(job, status, request->http.http_status > 0, request->account_refused,
						   request->http.retry_after_ms);
	bool unknown = status == ERR_HTTP_NOT_FOUND || status == ERR_HTTP_GONE;
	if (status == 0 || unknown)
		job_passed(job);
	if (status == 0 && !cut) {
		create_call(job);
		twilio_request_release(request);
		return;
	}
	if (unknown)
		log_event(LOG_WARN, "call.unknown", LOG_STR("recording_sid", job->work.recording_sid.text),
			  LOG_STR("call_sid", job->work.call_sid.text),
			  LOG_STR("detail", "neither the ledger nor Twilio knows the call"));
	else if (status != 0)
		job_fail(job, at, status, &request->error, request->http.retry_after_ms);
	twilio_request_release(request);
	job_resume(job, STEP_TRANSFER);
}

static bool is_one_of(const char *text, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (strcmp(text, *names) == 0)
			return true;
	}
	return false;
}

/* ": error 16101: shorter than …", or nothing. */
static const char *format_code(const struct twilio_request *request, char *out, size_t size)
{
	char words[TWILIO_ERROR_TEXT_SIZE];
	out[0] = '\0';
	if (request->recording_error_code != 0)
		snprintf(out, size, ": %s", twilio_error_describe(request->recording_error_code, words));
	return out;
}

/* Why the media of a recording that was said to be completed is not there, in words for the dead letter and the call's note. */
static int explain_missing_media(struct job *job, const struct twilio_request *request, struct error *error)
{
	static const char *const being_made[] = {"in-progress", "paused", "stopped", "processing", NULL};
	const char *status = request->recording_status;
	char code[TWILIO_ERROR_TEXT_SIZE + 2];
	format_code(request, code, sizeof(code));
	if (strcmp(status, "deleted") == 0)
		return error_set(error, ERR_MEDIA_GONE, "the recording was deleted at Twilio before it was archived");
	if (strcmp(status, "absent") == 0) {
		job->found = RETRY_FOUND_ABSENT;
		return error_set(error, ERR_MEDIA_GONE, "Twilio has no audio of this recording (absent)%s", code);
	}
	if (strcmp(status, "failed") == 0) {
		job->found = RETRY_FOUND_FAILED;
		return error_set(error, ERR_MEDIA_GONE, "Twilio failed to make this recording%s", code);
	}
	if (request->external)
		return error_set(error, ERR_MEDIA_EXTERNAL,
				 "Twilio uploaded it to the account's external storage%s%s and keeps no copy%s",
				 request->media_host[0] != '\0' ? " at " : "", request->media_host, code);
	if (is_one_of(status, being_made))
		return error_set(error, ERR_MEDIA_NOT_READY, "Twilio is still making the recording (%s)", status);
	return error_set(error, ERR_MEDIA_NOT_READY, "Twilio says \"%s\", yet its media answers 404%s", status, code);
}

/* Twilio knows neither media nor description. Soon after the webhook that may be too early even for the description. */
static int explain_unknown_recording(const struct job *job, const struct twilio_request *request, struct error *error)
{
	if (request->http.http_status == 404 && request->twilio_code != 20404)
		return error_set(error, ERR_HTTP_NOT_FOUND,
				 "media and description answer 404, but not in Twilio's words: is TWILIO_API_BASE right?");
	bool early = job->work.attempts < RETRY_EARLY_ATTEMPTS || clock_wall_ms() - job->work.received_at_ms < RETRY_EARLY_MS;
	if (early && request->http.http_status == 404)
		return error_set(error, ERR_MEDIA_NOT_READY, "Twilio does not know the recording yet (404)");
	return error_set(
		error, ERR_MEDIA_GONE,
		"Twilio does not know the recording (%ld): deleted more than 40 days ago, or of another account or region",
		request->http.http_status);
}

static void recording_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	job_landed(job, STEP_DESCRIBE, FLIGHT_TWILIO);
	enum dependency at = job_learned_of_twilio(job, status, request->http.http_status > 0, request->account_refused,
						   request->http.retry_after_ms);
	struct error error = request->error;
	int code = status;
	if (status == 0)
		code = explain_missing_media(job, request, &error);
	else if (status == ERR_HTTP_NOT_FOUND || status == ERR_HTTP_GONE)
		code = explain_unknown_recording(job, request, &error);
	job_fail(job, at, code, &error, request->http.retry_after_ms);
	twilio_request_release(request);
	job_resume(job, STEP_FINISH);
}

/* The doubt, if Twilio does not dispel it, is the failure. */
static void encryption_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	job_landed(job, STEP_DESCRIBE, FLIGHT_TWILIO);
	enum dependency at = job_learned_of_twilio(job, status, request->http.http_status > 0, request->account_refused,
						   request->http.retry_after_ms);
	if (status == 0 && request->encryption[0] != '\0') {
		memcpy(job->work.encryption, request->encryption, sizeof(job->work.encryption));
		job->told_by_rest = true;
	} else if (status != 0 && status != ERR_HTTP_NOT_FOUND) {
		job_fail(job, at, status, &request->error, request->http.retry_after_ms);
	} else {
		job_fail(job, at, job->doubt.code, &job->doubt, -1);
	}
	twilio_request_release(request);
	job_resume(job, STEP_TRANSFER);
}

enum step_result step_describe(struct job *job)
{
	static twilio_cb *const done[] = {
		[DESCRIBE_CALL] = call_done, [DESCRIBE_RECORDING] = recording_done, [DESCRIBE_ENCRYPTION] = encryption_done};
	job->twilio = (struct twilio_request){
		.op = job->describe == DESCRIBE_CALL ? TWILIO_CALL : TWILIO_RECORDING,
		.account_sid = job->work.account_sid,
		.recording_sid = job->work.recording_sid,
		.call_sid = job->work.call_sid,
	};
	return job_wait_twilio(job, done[job->describe]);
}
