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
#include "base/log.h"
#include "twilio/private_keys.h"

#include <reeld/storage_key.h>
#include <string.h>

/* How long a recording waits whose private key is not there: an operator has to do something, so there is no hurry. */
#define KEY_WAIT_MS 300000

/* The key, once recorded, never changes, and its extension says the format. Of an encrypted recording there is only the WAV (Twilio's error 16109). */
static int choose_key(struct job *job)
{
	const struct pipeline_options *options = job->env->options;
	struct ledger_job *work = &job->work;
	if (work->key[0] != '\0' && !job->key_chosen) {
		const char *dot = strrchr(work->key, '.');
		job->format = dot != NULL && strcmp(dot, ".mp3") == 0 ? MEDIA_MP3 : MEDIA_WAV;
		return 0;
	}
	job->format = options->mp3 && work->encryption[0] == '\0' ? MEDIA_MP3 : MEDIA_WAV;
	if (options->mp3 && job->format == MEDIA_WAV)
		log_event(LOG_WARN, "recording.wav_only", LOG_STR("recording_sid", work->recording_sid.text),
			  LOG_STR("detail",
				  "RECORDING_FORMAT=mp3, but Twilio has no MP3 of an encrypted recording: WAV is fetched"));
	const struct sid *parent = sid_is_set(&work->call_sid) ? &work->call_sid : &work->conference_sid;
	int len = reeld_storage_key(work->key, sizeof(work->key), options->key_prefix,
				    work->start_time_ms >= 0 ? work->start_time_ms : work->received_at_ms, parent->text,
				    work->recording_sid.text, media_extension(job->format));
	job->key_chosen = len >= 0;
	if (len >= 0)
		return 0;
	work->key[0] = '\0';
	return ERR_INVALID;
}

/* Then Twilio's REST is asked how. It cannot come here twice: either it says how, or the attempt has failed. */
static bool looks_encrypted(const struct job *job, const struct transfer_result *result, int status)
{
	if (job->work.encryption[0] != '\0' || result->side != TRANSFER_SOURCE)
		return false;
	/* An MP3 of it is refused: error 16109, of which nothing says with which status. */
	bool refused = job->format == MEDIA_MP3 && result->http_status >= 400 && result->http_status < 500 &&
		       result->http_status != 401 && result->http_status != 403 && result->http_status != 404 &&
		       result->http_status != 429;
	return refused || (status == ERR_MEDIA_TYPE && result->may_be_encrypted);
}

/* Returns whose failure it is. */
static enum dependency learn(struct job *job, const struct transfer_result *result, int status)
{
	enum dependency at = DEPENDENCY_NONE;
	bool source_answered = result->http_status > 0;
	bool source_failed = result->side == TRANSFER_SOURCE;
	bool store_failed = result->side == TRANSFER_STORE;
	if (source_failed || source_answered)
		at = job_learned_of_twilio(job, source_failed ? status : 0, source_answered, result->account_refused,
					   result->retry_after_ms);
	/* A store that took a few bytes of something that failed elsewhere proved nothing; only a whole object does. */
	if (store_failed || status == 0)
		job_learned(job, DEPENDENCY_STORE, status, false);
	if (status == 0)
		gates_moved(&job->env->gates, job->gate);
	return source_failed ? at : store_failed ? DEPENDENCY_STORE : DEPENDENCY_NONE;
}

static void step_transfer_done(struct transfer *transfer, void *data, int status)
{
	struct job *job = data;
	bool cut = job_landed(job, STEP_TRANSFER, FLIGHT_TRANSFER);
	struct transfer_result result = *transfer_result(transfer);
	job->transfer = NULL;
	job->env->give_transfer(job->env, transfer);
	enum dependency at = learn(job, &result, status);
	if (status == 0) {
		job_passed(job);
		job->transferred = true;
		job->digest = result.digest;
		job->md5_known = true;
		job->stored_channels = result.channels;
		job->ciphertext = result.ciphertext;
		job_resume(job, STEP_RECORD);
	} else if (result.side == TRANSFER_SOURCE && (status == ERR_HTTP_NOT_FOUND || status == ERR_HTTP_GONE) && !cut) {
		job->describe = DESCRIBE_RECORDING;
		job_resume(job, STEP_DESCRIBE);
	} else if (looks_encrypted(job, &result, status) && !cut) {
		job->describe = DESCRIBE_ENCRYPTION;
		job->doubt = result.error;
		job_resume(job, STEP_DESCRIBE);
	} else {
		job_fail(job, at, status, &result.error, status == ERR_ENCRYPTION_KEY ? KEY_WAIT_MS : result.retry_after_ms);
		job_resume(job, STEP_FINISH);
	}
}

/* The details, and the key where there are keys. 0, or an error with its words. */
static int read_encryption(struct job *job, struct twilio_encryption *encryption, struct rsa_key **key, struct error *error)
{
	const struct private_keys *keys = job->env->options->keys;
	int rc = twilio_encryption_parse(slice_from_cstr(job->work.encryption), encryption, error);
	if (rc != 0 || keys == NULL)
		return rc;
	claim_format_key(&encryption->public_key_sid, job->awaited_key);
	job->keys = keys;
	*key = private_keys_find(keys, &encryption->public_key_sid);
	if (*key != NULL)
		return 0;
	return error_set(
		error, ERR_ENCRYPTION_KEY,
		"encrypted with the public key %s: put its private key into TWILIO_ENCRYPTION_KEYS as %s.pem and send SIGHUP",
		encryption->public_key_sid.text, encryption->public_key_sid.text);
}

enum step_result step_transfer(struct job *job)
{
	struct twilio_encryption encryption;
	struct rsa_key *private_key = NULL;
	bool encrypted = job->work.encryption[0] != '\0';
	struct error problem = {0};
	int unusable = encrypted ? read_encryption(job, &encryption, &private_key, &problem) : 0;
	if (unusable == ERR_ENCRYPTION_DETAILS) {
		job->describe = DESCRIBE_ENCRYPTION;
		job->doubt = problem;
		return job_go(job, STEP_DESCRIBE);
	}
	if (unusable != 0)
		return job_fail(job, DEPENDENCY_NONE, unusable, &problem, unusable == ERR_ENCRYPTION_KEY ? KEY_WAIT_MS : -1);
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
			       /* Encrypted is one file, as recorded: its tag and details hold for no other. */
			       .channels = encrypted ? 0 : job->env->options->channels,
			       .encryption = encrypted ? &encryption : NULL,
			       .private_key = private_key,
		       },
		       step_transfer_done, job);
	return STEP_WAIT;
}
