/* SPDX-License-Identifier: MIT */
/*
 * PURGE (DELETE_FROM_TWILIO): the store proves once more that it holds exactly these bytes, and only then Twilio's copy is
 * deleted.
 *
 * Needs: a recorded object. Waits for: the ledger (the MD5, when another attempt stored the object), the store, Twilio. Success:
 * FINISH; a recording that Twilio says it does not have was deleted by an earlier attempt. An object that is missing or different
 * is moved again (TRANSFER), once an attempt. Failure: FINISH.
 */
#include "pipeline/job.h"

#include "base/hex.h"
#include "base/log.h"

#include <string.h>

static void delete_done(struct twilio_request *request, int status)
{
	struct job *job = request->data;
	job_landed(job, STEP_PURGE, FLIGHT_TWILIO);
	enum dependency at = job_learned_of_twilio(job, status, request->http.http_status > 0, request->account_refused,
						   request->http.retry_after_ms);
	if (status == 0) { /* which a 404 of Twilio's own is, too */
		job_passed(job);
		job->purged = true;
	} else {
		job_fail(job, at, status, &request->error, request->http.retry_after_ms);
	}
	twilio_request_release(request);
	job_resume(job, STEP_FINISH);
}

static enum step_result purge_delete(struct job *job)
{
	job->twilio = (struct twilio_request){
		.op = TWILIO_DELETE_RECORDING,
		.account_sid = job->work.account_sid,
		.recording_sid = job->work.recording_sid,
	};
	return job_wait_twilio(job, delete_done);
}

/* The ledger says stored, the store says otherwise: what Twilio still has is the only copy. */
static void purge_object_wrong(struct job *job, int status, const struct error *error)
{
	idempotency_clear(job->env->options->filter, &job->work.recording_sid);
	log_event(LOG_ERROR, "object.wrong", LOG_STR("recording_sid", job->work.recording_sid.text),
		  LOG_STR("key", job->work.key), LOG_STR("reason", err_name(status)), LOG_STR("detail", error->detail));
	job->recorded = false;
	if (!job->transferred) {
		job->work.stored = false;
		job_resume(job, STEP_TRANSFER);
		return;
	}
	job_fail(job, DEPENDENCY_STORE, ERR_CHECKSUM, error, -1);
	job_resume(job, STEP_FINISH);
}

static void verify_done(struct store_request *request, int status)
{
	struct job *job = request->data;
	struct error error = request->error;
	int64_t retry_after_ms = request->retry_after_ms;
	bool cut = job_landed(job, STEP_PURGE, FLIGHT_STORE);
	job_learned(job, DEPENDENCY_STORE, status, status == ERR_NOT_FOUND || status == ERR_CHECKSUM);
	if (cut) {
		job_resume(job, STEP_FINISH);
	} else if (status == ERR_NOT_FOUND || status == ERR_CHECKSUM) {
		purge_object_wrong(job, status, &error);
	} else if (status != 0) {
		job_fail(job, DEPENDENCY_STORE, status, &error, retry_after_ms);
		job_resume(job, STEP_FINISH);
	} else if (purge_delete(job) == STEP_GO) {
		job_resume(job, STEP_FINISH);
	}
}

static bool decode_digest(const char *hex, uint8_t *out, size_t size)
{
	struct slice text = slice_from_cstr(hex);
	return text.len == 2 * size && hex_decode(text, out);
}

static enum step_result purge_verify(struct job *job)
{
	job->store = (struct store_request){.op = STORE_VERIFY, .key = job->work.key, .digest = job->digest};
	return job_wait_store(job, verify_done);
}

static void md5_done(struct ledger_request *request, int status)
{
	struct job *job = request->data;
	struct error error = request->error;
	bool cut = job_landed(job, STEP_PURGE, FLIGHT_LEDGER);
	if (status == 0 && request->recording_count == 1)
		decode_digest(request->recordings[0].md5, job->digest.md5, sizeof(job->digest.md5));
	ledger_request_release(request);
	job_learned(job, DEPENDENCY_LEDGER, status, status == 0);
	job->md5_known = true; /* or nobody knows it: the SHA-256 has to do */
	if (status != 0)
		job_fail(job, DEPENDENCY_LEDGER, status, &error, -1);
	if (status != 0 || cut)
		job_resume(job, STEP_FINISH);
	else
		purge_verify(job);
}

enum step_result step_purge(struct job *job)
{
	if (job->md5_known)
		return purge_verify(job);
	job->digest = (struct store_digest){.bytes = job->work.bytes};
	if (!decode_digest(job->work.sha256, job->digest.sha256, sizeof(job->digest.sha256))) {
		/* Without a digest nothing can be verified, and nothing unverified is deleted: move it again. */
		job->recorded = false;
		job->work.stored = false;
		return job_go(job, STEP_TRANSFER);
	}
	job->ledger = (struct ledger_request){.op = LEDGER_GET, .recording_sid = job->work.recording_sid};
	return job_wait_ledger(job, md5_done);
}
