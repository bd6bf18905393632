/* SPDX-License-Identifier: MIT */
/*
 * FINISH: decides what the attempt came to, from its first failure, from what was reached and from whether it was cut, and tells
 * the ledger.
 *
 * Needs: nothing; every path leads here. Waits for: the ledger, for as long as it takes; not any more once the pipeline closes:
 * the lease then expires by itself and the work is done again, without harm. An end that the ledger refuses for good is told once more
 * without the reason, the only text in it that is not ours. Whatever happens, END follows.
 */
#include "pipeline/job.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/*
 * When a recording of an account that is held back is looked at although nobody fetched it: the gate that sent it back does so as soon as it opens (gate.h), unless
 * its process has ended for good.
 */
#define ACCOUNT_WAIT_MS 3600000

#define REASON_REFUSED "the ledger refused the reason; it is in the log: job.reason_refused"

static bool job_complete(const struct job *job)
{
	return job->skipped || (job->recorded && (job->purged || !job->env->options->delete_from_twilio));
}

/* How often in a row the dependency that failed made everybody wait: the exponent of the uncharged backoff. */
static unsigned waits_in_a_row(const struct job *job)
{
	if (job->status == ERR_HTTP_THROTTLED)
		return job->gate->limit.cuts;
	if (job->failed_at == DEPENDENCY_NONE)
		return 0;
	const struct breaker *breaker = job_breaker(job, job->failed_at);
	if (breaker->state != BREAKER_CLOSED)
		return breaker->opened;
	return breaker->failures > 0 ? breaker->failures - 1 : 0;
}

/* What must change before another try is worth it, where that is known; the ledger keeps the recording for it. "": nothing. A 429 is over by itself. */
static const char *awaited(const struct job *job)
{
	if (job->status == ERR_ENCRYPTION_KEY)
		return job->awaited_key;
	bool refused = job->failed_at == DEPENDENCY_ACCOUNT && (job->held_back || job->status != ERR_HTTP_THROTTLED);
	return refused ? gate_name(job->gate) : "";
}

static void decide(struct job *job)
{
	if (job->status == 0 && job_complete(job)) {
		job->outcome = job->skipped ? LEDGER_OUTCOME_SKIPPED : LEDGER_OUTCOME_DONE;
		return;
	}
	if (job->cut != JOB_NOT_CUT && (job->status == 0 || job->status == ERR_CANCELLED)) {
		job->outcome = LEDGER_OUTCOME_RELEASE;
		return;
	}
	struct retry_case input = {
		.code = job->status,
		.attempts = job->work.attempts,
		.retry_after_ms = job->retry_after_ms,
		.waits = waits_in_a_row(job),
		.found = job->found,
		.archived = job->recorded,
		.own = job->own_failure,
	};
	if (job->failed_at != DEPENDENCY_NONE) {
		const struct breaker *breaker = job_breaker(job, job->failed_at);
		input.dependency_open = breaker->state != BREAKER_CLOSED;
		input.dependency_ms = breaker_delay_ms(breaker, (int64_t)uv_now(job->env->loop));
	}
	job->held_back = job->failed_at == DEPENDENCY_ACCOUNT &&
			 (job->status == ERR_ACCOUNT_HELD || job->gate->breaker.state != BREAKER_CLOSED);
	if (job->held_back)
		input.retry_after_ms = ACCOUNT_WAIT_MS;
	random_bytes(&input.random, sizeof(input.random));
	struct retry_decision decision = retry_decide(&job->env->policy, &input);
	job->outcome = decision.outcome;
	job->delay_ms = decision.delay_ms;
	if (job->outcome == LEDGER_OUTCOME_WAIT)
		snprintf(job->waits_for, sizeof(job->waits_for), "%s", awaited(job));
	snprintf(job->last_error, sizeof(job->last_error), "%s: %s: %s", job_failed_where(job), err_name(job->status),
		 job->error.detail);
	utf8_repair(job->last_error, strlen(job->last_error));
}

/* ---- what people see of it ---- */

#define JOB_LOG_FIELDS(job)                                                                                               \
	LOG_STR("recording_sid", (job)->work.recording_sid.text),                                                         \
		LOG_STR("call_sid",                                                                                       \
			sid_is_set(&(job)->work.call_sid) ? (job)->work.call_sid.text : (job)->work.conference_sid.text), \
		LOG_I64("attempt", (job)->work.attempts + 1)
#define FAILURE_LOG_FIELDS(job) \
	LOG_STR("step", job_failed_where(job)), LOG_STR("reason", err_name((job)->status)), LOG_STR("detail", (job)->error.detail)

static void report_done(const struct job *job)
{
	if (job->status != 0)
		log_event(LOG_ERROR, "purge.given_up", JOB_LOG_FIELDS(job), FAILURE_LOG_FIELDS(job));
	if (job->env->job_seconds != NULL)
		histogram_observe(job->env->job_seconds, (double)(clock_wall_ms() - job->work.received_at_ms) / 1000.0);
	log_event(LOG_INFO, "recording.stored", JOB_LOG_FIELDS(job), LOG_I64("bytes", job->work.bytes),
		  LOG_U64("duration_ms", (clock_mono_ns() - job->began_ns) / 1000000), LOG_STR("key", job->work.key),
		  LOG_BOOL("encrypted", job->ciphertext), LOG_BOOL("deleted_at_twilio", job->purged));
}

static void report_again(const struct job *job)
{
	bool charged = job->outcome == LEDGER_OUTCOME_RETRY;
	metrics_get(job->env->options->metrics, METRIC_RETRIES, job_failed_where(job), err_name(job->status))->value++;
	/* Jobs that were turned away learned nothing: the breaker's or the account's own line says it once for all of them. */
	bool turned_away = job->status == ERR_UNAVAILABLE || job->status == ERR_ACCOUNT_HELD;
	log_event(turned_away ? LOG_DEBUG : LOG_WARN, "job.retry", JOB_LOG_FIELDS(job), FAILURE_LOG_FIELDS(job),
		  LOG_BOOL("charged", charged), LOG_I64("delay_ms", job->delay_ms));
}

static void count_finished(const struct job *job, const char *outcome)
{
	metrics_get(job->env->options->metrics, METRIC_JOBS_FINISHED, outcome)->value++;
}

/* For who waits for the outcome: a job that was turned away before it began failed where it could not have gone on. */
static const char *failed_side(const struct job *job)
{
	if (job->failed_step == STEP_QUEUE && job->failed_at == DEPENDENCY_STORE)
		return "store";
	if (job->failed_step == STEP_QUEUE && (job->failed_at == DEPENDENCY_TWILIO || job->failed_at == DEPENDENCY_ACCOUNT))
		return job_step_name(STEP_TRANSFER);
	return job_failed_where(job);
}

static void report(struct job *job)
{
	switch (job->outcome) {
	case LEDGER_OUTCOME_DONE:
		count_finished(job, "stored");
		report_done(job);
		break;
	case LEDGER_OUTCOME_SKIPPED:
		count_finished(job, "skipped");
		log_event(LOG_INFO, "recording.skipped", JOB_LOG_FIELDS(job),
			  LOG_STR("detail", "the call is unknown and UNKNOWN_CALL=skip"));
		break;
	case LEDGER_OUTCOME_ABSENT:
		count_finished(job, "absent");
		log_event(LOG_WARN, "recording.absent", JOB_LOG_FIELDS(job), FAILURE_LOG_FIELDS(job));
		break;
	case LEDGER_OUTCOME_FAILED:
		count_finished(job, "failed");
		log_event(LOG_WARN, "recording.failed", JOB_LOG_FIELDS(job), FAILURE_LOG_FIELDS(job));
		break;
	case LEDGER_OUTCOME_DEAD:
		count_finished(job, "dead");
		log_event(LOG_ERROR, "recording.dead", JOB_LOG_FIELDS(job), FAILURE_LOG_FIELDS(job));
		break;
	case LEDGER_OUTCOME_RETRY:
	case LEDGER_OUTCOME_WAIT:
		report_again(job);
		break;
	case LEDGER_OUTCOME_RELEASE:
		log_event(LOG_DEBUG, "job.released", JOB_LOG_FIELDS(job), LOG_STR("step", job_step_name(job->step)));
		break;
	}
	const struct pipeline_options *options = job->env->options;
	if (options->on_outcome != NULL)
		options->on_outcome(options->data, &job->work.recording_sid, job->outcome, job->status,
				    job->status == 0 ? NULL : failed_side(job),
				    job->outcome == LEDGER_OUTCOME_DONE ? job->work.url : NULL);
}

static void report_lease_lost(const struct job *job)
{
	log_event(LOG_WARN, "job.lease_lost", JOB_LOG_FIELDS(job),
		  LOG_STR("detail", "another replica works on it, or it was changed by hand"));
}

/* ---- the step ---- */

static enum step_result tell_ledger(struct job *job, const char *reason);

/* A recording whose end cannot be written would run again and again, uncharged. */
static bool finish_without_reason(struct job *job, int status, const struct error *error)
{
	if (job->last_error[0] == '\0' || job->finish_refused || err_class(status) != ERR_CLASS_PERMANENT)
		return false;
	job->finish_refused = true;
	log_event(LOG_ERROR, "job.reason_refused", JOB_LOG_FIELDS(job), LOG_STR("reason", err_name(status)),
		  LOG_STR("detail", error->detail));
	tell_ledger(job, REASON_REFUSED);
	return true;
}

static void finish_done(struct ledger_request *request, int status)
{
	struct job *job = request->data;
	struct error error = request->error;
	job_landed(job, STEP_FINISH, FLIGHT_LEDGER);
	ledger_request_release(request);
	job_learned(job, DEPENDENCY_LEDGER, status, status == ERR_LEASE_LOST);
	if (status == 0)
		report(job);
	else if (status == ERR_LEASE_LOST)
		report_lease_lost(job);
	else if (job_waits_for_ledger(job, status) || finish_without_reason(job, status, &error))
		return;
	else
		log_event(LOG_ERROR, "job.finish_failed", JOB_LOG_FIELDS(job), LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", error.detail));
	job_resume(job, STEP_END);
}

static enum step_result tell_ledger(struct job *job, const char *reason)
{
	job->ledger = (struct ledger_request){
		.op = LEDGER_FINISH,
		.recording_sid = job->work.recording_sid,
		.epoch = job->work.epoch,
		.call_sid = job->work.call_sid,
		.finish =
			{
				.outcome = job->outcome,
				.delay_ms = job->delay_ms,
				.error = reason,
				.deleted_at_twilio = job->purged,
				.waits_for = job->waits_for[0] != '\0' ? job->waits_for : NULL,
			},
	};
	return job_wait_ledger(job, finish_done);
}

enum step_result step_finish(struct job *job)
{
	if (job->cut == JOB_CUT_LEASE_LOST) {
		report_lease_lost(job);
		return job_go(job, STEP_END);
	}
	decide(job);
	if (job->outcome == LEDGER_OUTCOME_DONE && job->lease_ended) {
		report(job);
		return job_go(job, STEP_END);
	}
	return tell_ledger(job, job->last_error[0] == '\0' ? NULL : job->finish_refused ? REASON_REFUSED : job->last_error);
}
