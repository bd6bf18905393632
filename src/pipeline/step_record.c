/* SPDX-License-Identifier: MIT */
/*
 * RECORD: tells the ledger that the object is stored, and the call where it is; one transaction.
 *
 * Needs: a committed object, its digest. Waits for: the ledger, for as long as it takes: the transfer before it was the expensive
 * part. Success: PURGE with DELETE_FROM_TWILIO, else FINISH, with the lease ended. Failure: FINISH; the object stays, the next
 * attempt writes the same one.
 */
#include "pipeline/job.h"

#include "base/check.h"
#include "base/hex.h"

#include <stdio.h>

static void record_succeeded(struct job *job)
{
	const struct pipeline_options *options = job->env->options;
	job->recorded = true;
	job->work.stored = true;
	job->work.bytes = job->digest.bytes;
	job->lease_ended = !options->delete_from_twilio;
	idempotency_set_archived(options->filter, &job->work.recording_sid, job->work.url);
	job_resume(job, options->delete_from_twilio ? STEP_PURGE : STEP_FINISH);
}

static void record_done(struct ledger_request *request, int status)
{
	struct job *job = request->data;
	struct error error = request->error;
	job_landed(job, STEP_RECORD, FLIGHT_LEDGER);
	ledger_request_release(request);
	job_learned(job, DEPENDENCY_LEDGER, status, status == ERR_LEASE_LOST);
	if (status == 0) {
		record_succeeded(job);
		return;
	}
	if (status == ERR_LEASE_LOST)
		job_cut(job, JOB_CUT_LEASE_LOST);
	else if (job_waits_for_ledger(job, status))
		return;
	else
		job_fail(job, DEPENDENCY_LEDGER, status, &error, -1);
	job_resume(job, STEP_FINISH);
}

enum step_result step_record(struct job *job)
{
	const struct pipeline_options *options = job->env->options;
	struct ledger_job *work = &job->work;
	int rc = store_url(options->store, work->key, work->url, sizeof(work->url));
	if (rc != 0)
		return job_fail(job, DEPENDENCY_NONE, rc, NULL, -1);
	hex_encode(job->digest.md5, sizeof(job->digest.md5), job->md5_hex);
	hex_encode(job->digest.sha256, sizeof(job->digest.sha256), job->sha256_hex);
	snprintf(work->sha256, sizeof(work->sha256), "%s", job->sha256_hex);
	job->ledger = (struct ledger_request){
		.op = LEDGER_STORED_OBJECT,
		.recording_sid = work->recording_sid,
		.call_sid = work->call_sid,
		.epoch = work->epoch,
		.object =
			{
				.key = work->key,
				.url = work->url,
				.bytes = job->digest.bytes,
				.md5 = job->md5_hex,
				.sha256 = job->sha256_hex,
				.content_type = job->ciphertext ? MEDIA_TYPE_CIPHERTEXT : media_type_of(job->format),
				.encryption = job->told_by_rest ? work->encryption : NULL,
				.duration_s = work->duration_s,
				.channels = job->stored_channels,
				.keep_lease = options->delete_from_twilio,
			},
	};
	return job_wait_ledger(job, record_done);
}
