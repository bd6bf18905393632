/* SPDX-License-Identifier: MIT */
/*
 * TRANSFER: Twilio's media into the store, verified (transfer.h).
 *
 * Needs: nothing; the key depends on the recording alone, so that doing it twice writes the same bytes to the same place. Waits
 * for: the transfer. Success: RECORD. Failure: FINISH, and nothing is visible in the store; DESCRIBE when the media answered 404 or 410,
 * to learn why.
 */
#include "pipeline/job.h"

#include "base/check.h"

#include <reeld/storage_key.h>
#include <string.h>

/* The key, once recorded, never changes, and its extension says the format. */
static int choose_key(struct job *job)
{
	const struct pipeline_options *options = job->env->options;
	struct ledger_job *work = &job->work;
	if (work->key[0] != '\0') {
		const char *dot = strrchr(work->key, '.');
		job->format = dot != NULL && strcmp(dot, ".mp3") == 0 ? MEDIA_MP3 : MEDIA_WAV;
		return 0;
	}
	job->format = options->mp3 ? MEDIA_MP3 : MEDIA_WAV;
	const struct sid *parent = sid_is_set(&work->call_sid) ? &work->call_sid : &work->conference_sid;
	int len = reeld_storage_key(work->key, sizeof(work->key), options->key_prefix,
				    work->start_time_ms >= 0 ? work->start_time_ms : work->received_at_ms, parent->text,
				    work->recording_sid.text, media_extension(job->format));
	if (len >= 0)
		return 0;
	work->key[0] = '\0';
	return ERR_INVALID;
}

static void learn(struct job *job, const struct transfer_result *result, int status)
{
	bool source_answered = result->http_status > 0;
	bool source_failed = result->side == TRANSFER_SOURCE;
	bool store_failed = result->side == TRANSFER_STORE;
	if (source_failed || source_answered)
		job_learned(job, DEPENDENCY_TWILIO, source_failed ? status : 0, source_answered);
	/* A store that took a few bytes of something that failed elsewhere proved nothing; only a whole object does. */
	if (store_failed || status == 0)
		job_learned(job, DEPENDENCY_STORE, status, false);
	if (status == 0)
		limit_succeeded(&job->env->limit);
}

static void step_transfer_done(struct transfer *transfer, void *data, int status)
{
	struct job *job = data;
	bool cut = job_landed(job, STEP_TRANSFER, FLIGHT_TRANSFER);
	struct transfer_result result = *transfer_result(transfer);
	job->transfer = NULL;
	job->env->give_transfer(job->env, transfer);
	learn(job, &result, status);
	if (status == 0) {
		job_passed(job);
		job->transferred = true;
		job->digest = result.digest;
		job->md5_known = true;
		job->stored_channels = result.channels;
		job_resume(job, STEP_RECORD);
	} else if (result.side == TRANSFER_SOURCE && (status == ERR_HTTP_NOT_FOUND || status == ERR_HTTP_GONE) && !cut) {
		job->describe = DESCRIBE_RECORDING;
		job_resume(job, STEP_DESCRIBE);
	} else {
		enum dependency at = result.side == TRANSFER_SOURCE  ? DEPENDENCY_TWILIO
				     : result.side == TRANSFER_STORE ? DEPENDENCY_STORE
								     : DEPENDENCY_NONE;
		job_fail(job, at, status, &result.error, result.retry_after_ms);
		job_resume(job, STEP_FINISH);
	}
}

enum step_result step_transfer(struct job *job)
{
	int rc = choose_key(job);
	if (rc != 0) {
		struct error error;
		error_set(&error, rc, "no storage key can be made of recording \"%s\", call \"%s\", conference \"%s\"",
			  job->work.recording_sid.text, job->work.call_sid.text, job->work.conference_sid.text);
		return job_fail(job, DEPENDENCY_NONE, rc, &error, -1);
	}
	job->transfer = job->env->take_transfer(job->env);
	if (job->transfer == NULL)
		return job_fail(job, DEPENDENCY_NONE, ERR_NOMEM, NULL, -1);
	job->flight = FLIGHT_TRANSFER;
	transfer_start(job->transfer,
		       &(struct transfer_job){
			       .work = &job->work,
			       .key = job->work.key,
			       .format = job->format,
			       .channels = job->env->options->channels,
		       },
		       step_transfer_done, job);
	return STEP_WAIT;
}
