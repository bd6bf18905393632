/* SPDX-License-Identifier: MIT */
/*
 * DESCRIBE: asks Twilio what the webhook did not tell. What it did tell (start, duration, channels, source) is not fetched again.
 *
 * DESCRIBE_CALL (from LOOKUP): the call's JSON becomes a call in the ledger, then TRANSFER. Creating a call that exists changes
 * nothing. A call that Twilio does not know must not keep its recording from being archived. DESCRIBE_RECORDING (from TRANSFER,
 * whose media answered 404): the recording's JSON explains why; the job always goes to FINISH. DESCRIBE_ENCRYPTION (from TRANSFER, to which encryption details
 * are missing): back to TRANSFER with those of the recording's JSON, once an attempt. Waits for: Twilio, then the
 * ledger. Failure: FINISH.
 */
#include "pipeline/job.h"

#include "base/check.h"
#include "base/log.h"

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
	job_learned(job, DEPENDENCY_TWILIO, status, request->http.http_status > 0);
	if (status == 0 || status == ERR_HTTP_NOT_FOUND)
		job_passed(job);
	if (status == 0 && !cut) {
		create_call(job);
		twilio_request_release(request);
		return;
	}
	if (status == ERR_HTTP_NOT_FOUND)
		log_event(LOG_WARN, "call.unknown", LOG_STR("recording_sid", job->work.recording_sid.text),
			  LOG_STR("call_sid", job->work.call_sid.text),
			  LOG_STR("detail", "neither the ledger nor Twilio knows the call"));
	else if (status != 0)
		job_fail(job, DEPENDENCY_TWILIO, status, &request->error, request->http.retry_after_ms);
	twilio_request_release(request);
	job_resume(job, STEP_TRANSFER);
}

/* Why the media of a recording that was said to be completed is not there. */
static int explain_missing_media(struct job *job, const struct twilio_request *request)
{
	const char *status = request->recording_status;
	if (strcmp(status, "absent") == 0)
		job->found = RETRY_FOUND_ABSENT;
	else if (strcmp(status, "failed") == 0)
		job->found = RETRY_FOUND_FAILED;
	if (strcmp(status, "deleted") == 0 || job->found != RETRY_FOUND_NOTHING)
		return ERR_MEDIA_GONE;
	return request->external ? ERR_MEDIA_EXTERNAL : ERR_MEDIA_NOT_READY;
}

static void recording_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	job_landed(job, STEP_DESCRIBE, FLIGHT_TWILIO);
	job_learned(job, DEPENDENCY_TWILIO, status, request->http.http_status > 0);
	struct error error = request->error;
	int code = status;
	if (status == 0) {
		code = explain_missing_media(job, request);
		error_set(&error, code, "media answered 404, the recording is \"%s\"%s, error code %lld",
			  request->recording_status, request->external ? " in external storage" : "",
			  (long long)request->recording_error_code);
	} else if (status == ERR_HTTP_NOT_FOUND) {
		/* Either too early even for the JSON, or deleted long ago. */
		code = job->work.attempts < RETRY_EARLY_ATTEMPTS ? ERR_MEDIA_NOT_READY : ERR_MEDIA_GONE;
		error_set(&error, code, "Twilio knows neither the media nor the recording (404)");
	}
	job_fail(job, DEPENDENCY_TWILIO, code, &error, request->http.retry_after_ms);
	twilio_request_release(request);
	job_resume(job, STEP_FINISH);
}

/* The doubt, if Twilio does not dispel it, is the failure. */
static void encryption_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	job_landed(job, STEP_DESCRIBE, FLIGHT_TWILIO);
	job_learned(job, DEPENDENCY_TWILIO, status, request->http.http_status > 0);
	if (status == 0 && request->encryption[0] != '\0') {
		memcpy(job->work.encryption, request->encryption, sizeof(job->work.encryption));
		job->told_by_rest = true;
	} else if (status != 0 && status != ERR_HTTP_NOT_FOUND) {
		job_fail(job, DEPENDENCY_TWILIO, status, &request->error, request->http.retry_after_ms);
	} else {
		job_fail(job, DEPENDENCY_TWILIO, job->doubt.code, &job->doubt, -1);
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
