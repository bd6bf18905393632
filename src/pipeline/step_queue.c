/* SPDX-License-Identifier: MIT */
/*
 * QUEUE: leased, but not begun; the pipeline keeps twice the limit so that a free place is filled at once.
 *
 * Waits for: job_leave_queue. Success: LOOKUP, or PURGE when an earlier attempt stored the object already. Failure: FINISH, when
 * the dependency went down meanwhile, the account is held back, or the job was cut.
 */
#include "pipeline/job.h"

#include "base/check.h"

enum step_result step_queue(struct job *job)
{
	job->flight = FLIGHT_QUEUE;
	return STEP_WAIT;
}

void job_leave_queue(struct job *job)
{
	enum job_step next = STEP_LOOKUP;
	job_landed(job, STEP_QUEUE, FLIGHT_QUEUE);
	if (job->work.stored) {
		job->recorded = true;
		next = job->env->options->delete_from_twilio ? STEP_PURGE : STEP_FINISH;
	}
	job_resume(job, next);
}

void job_turn_away(struct job *job, enum dependency dependency)
{
	struct error error = {0};
	job_landed(job, STEP_QUEUE, FLIGHT_QUEUE);
	job_set_place(job, PLACE_OUTSIDE);
	if (dependency == DEPENDENCY_ACCOUNT)
		error_set(&error, ERR_ACCOUNT_HELD, "%s: %s: %s", err_text(ERR_ACCOUNT_HELD), gate_name(job->gate),
			  err_text(job->gate->reason));
	job_fail(job, dependency, dependency == DEPENDENCY_ACCOUNT ? ERR_ACCOUNT_HELD : ERR_UNAVAILABLE, &error, -1);
	job_resume(job, STEP_FINISH);
}
