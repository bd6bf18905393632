/* SPDX-License-Identifier: MIT */
/*
 * LOOKUP: does the ledger know the call?
 *
 * Needs: nothing. Waits for: the ledger. Success: TRANSFER; DESCRIBE when the call is unknown and UNKNOWN_CALL=fetch; FINISH as
 * skipped with UNKNOWN_CALL=skip. Failure: FINISH. A recording of a conference has no call, and with UNKNOWN_CALL=archive the
 * answer would change nothing.
 */
#include "pipeline/job.h"

static void lookup_done(struct ledger_request *request, int status)
{
	struct job *job = request->data;
	bool known = request->call_known;
	struct error error = request->error;
	job_landed(job, STEP_LOOKUP, FLIGHT_LEDGER);
	ledger_request_release(request);
	job_learned(job, DEPENDENCY_LEDGER, status, status == 0);
	if (status != 0) {
		job_fail(job, DEPENDENCY_LEDGER, status, &error, -1);
		job_resume(job, STEP_FINISH);
	} else if (known) {
		job_resume(job, STEP_TRANSFER);
	} else if (job->env->options->unknown_call == UNKNOWN_CALL_SKIP) {
		job->skipped = true;
		job_resume(job, STEP_FINISH);
	} else {
		job->describe = DESCRIBE_CALL;
		job_resume(job, STEP_DESCRIBE);
	}
}

enum step_result step_lookup(struct job *job)
{
	if (!sid_is_set(&job->work.call_sid) || job->env->options->unknown_call == UNKNOWN_CALL_ARCHIVE)
		return job_go(job, STEP_TRANSFER);
	job->ledger = (struct ledger_request){
		.op = LEDGER_LOOKUP_CALL,
		.recording_sid = job->work.recording_sid,
		.call_sid = job->work.call_sid,
	};
	return job_wait_ledger(job, lookup_done);
}
