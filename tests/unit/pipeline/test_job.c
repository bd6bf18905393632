/* SPDX-License-Identifier: MIT */
/* The machine alone, with steps of our own: job.c is compiled into this test and finds the fakes below instead of step_*.c. */
#include "pipeline/job.c"

#include <criterion/criterion.h>
#include <signal.h>

static struct job_env env;
static struct pipeline_options options;
static struct job job;
static char path[256];
static enum job_step plan[STEP_COUNT]; /* where a step that does not wait goes */
static bool waits[STEP_COUNT];
static int fails[STEP_COUNT];
static int ended;

static enum step_result fake_step(struct job *at)
{
	if (path[0] != '\0')
		strcat(path, " ");
	strcat(path, job_step_name(at->step));
	if (waits[at->step]) {
		at->flight = FLIGHT_STORE;
		return STEP_WAIT;
	}
	if (fails[at->step] != 0)
		return job_fail(at, DEPENDENCY_NONE, fails[at->step], NULL, -1);
	return job_go(at, plan[at->step]);
}

enum step_result step_queue(struct job *at)
{
	return fake_step(at);
}
enum step_result step_lookup(struct job *at)
{
	return fake_step(at);
}
enum step_result step_describe(struct job *at)
{
	return fake_step(at);
}
enum step_result step_transfer(struct job *at)
{
	return fake_step(at);
}
enum step_result step_record(struct job *at)
{
	return fake_step(at);
}
enum step_result step_purge(struct job *at)
{
	return fake_step(at);
}
enum step_result step_finish(struct job *at)
{
	return fake_step(at);
}

/* The machine itself must never call these: only steps start operations, and the fakes start none. */
void ledger_submit(struct ledger *ledger, struct ledger_request *request)
{
	REQUIRE(false);
}
void store_submit(struct store *store, struct store_request *request)
{
	REQUIRE(false);
}
int twilio_start(struct twilio_client *client, struct twilio_request *request)
{
	REQUIRE(false);
}
void twilio_cancel(struct twilio_request *request)
{
	REQUIRE(false);
}
void twilio_request_release(struct twilio_request *request)
{
	REQUIRE(false);
}
void transfer_cancel(struct transfer *transfer)
{
	REQUIRE(false);
}

static void job_is_over(struct job *at)
{
	cr_assert_eq(at->step, STEP_END);
	ended++;
}

static void setup(void)
{
	static uv_loop_t loop;
	uv_loop_init(&loop);
	env.loop = &loop;
	env.options = &options;
	env.ended = job_is_over;
	plan[STEP_QUEUE] = STEP_LOOKUP;
	plan[STEP_LOOKUP] = STEP_TRANSFER;
	plan[STEP_DESCRIBE] = STEP_TRANSFER;
	plan[STEP_TRANSFER] = STEP_RECORD;
	plan[STEP_RECORD] = STEP_FINISH;
	plan[STEP_PURGE] = STEP_FINISH;
	plan[STEP_FINISH] = STEP_END;
	job_init(&job, &env, &(struct ledger_job){.epoch = 1});
}

TestSuite(job, .init = setup);

Test(job, runs_from_queue_to_end_and_ends_once)
{
	job_start(&job);
	cr_assert_str_eq(path, "queue lookup transfer record finish");
	cr_assert_eq(ended, 1);
}

Test(job, a_failure_in_any_step_leads_to_finish_and_nowhere_else)
{
	for (int step = STEP_QUEUE; step < STEP_FINISH; step++) {
		path[0] = '\0';
		ended = 0;
		plan[STEP_LOOKUP] = step == STEP_DESCRIBE ? STEP_DESCRIBE : STEP_TRANSFER;
		plan[STEP_RECORD] = STEP_PURGE;
		fails[step] = ERR_TIMEOUT;
		job_init(&job, &env, &(struct ledger_job){.epoch = 1});
		job_start(&job);
		fails[step] = 0;
		char tail[64];
		snprintf(tail, sizeof(tail), "%s finish", job_step_name((enum job_step)step));
		cr_assert_not_null(strstr(path, tail), "%s: %s", job_step_name((enum job_step)step), path);
		cr_assert_eq(strlen(strstr(path, tail)), strlen(tail));
		cr_assert_eq(job.failed_step, (enum job_step)step);
		cr_assert_eq(ended, 1);
	}
}

Test(job, waits_until_it_is_resumed)
{
	waits[STEP_TRANSFER] = true;
	job_start(&job);
	cr_assert_str_eq(path, "queue lookup transfer");
	cr_assert_eq(ended, 0);
	cr_assert_not(job_landed(&job, STEP_TRANSFER, FLIGHT_STORE));
	job_resume(&job, STEP_RECORD);
	cr_assert_str_eq(path, "queue lookup transfer record finish");
	cr_assert_eq(ended, 1);
}

Test(job, one_that_was_cut_while_it_waited_goes_to_finish)
{
	waits[STEP_TRANSFER] = true;
	job_start(&job);
	job_cut(&job, JOB_CUT_CLOSING);
	cr_assert(job_landed(&job, STEP_TRANSFER, FLIGHT_STORE));
	job_resume(&job, STEP_RECORD);
	cr_assert_str_eq(path, "queue lookup transfer finish");
}

Test(job, the_loss_of_the_lease_is_not_forgotten_in_a_shutdown)
{
	waits[STEP_TRANSFER] = true;
	job_start(&job);
	job_cut(&job, JOB_CUT_LEASE_LOST);
	job_cut(&job, JOB_CUT_CLOSING);
	cr_assert_eq(job.cut, JOB_CUT_LEASE_LOST);
	job_landed(&job, STEP_TRANSFER, FLIGHT_STORE);
	job_resume(&job, STEP_FINISH);
}

Test(job, the_first_failure_stays)
{
	waits[STEP_TRANSFER] = true;
	job_start(&job);
	struct error first = {.code = ERR_MEDIA_TYPE, .detail = "xml"};
	job_landed(&job, STEP_TRANSFER, FLIGHT_STORE);
	job_fail(&job, DEPENDENCY_TWILIO, ERR_MEDIA_TYPE, &first, 5);
	job_fail(&job, DEPENDENCY_STORE, ERR_CHECKSUM, NULL, -1);
	job_resume(&job, STEP_FINISH);
	cr_assert_eq(job.status, ERR_MEDIA_TYPE);
	cr_assert_eq(job.failed_at, DEPENDENCY_TWILIO);
	cr_assert_eq(job.retry_after_ms, 5);
	cr_assert_str_eq(job.error.detail, "xml");
}

Test(job, the_storing_half_of_a_transfer_has_its_own_name)
{
	job.failed_step = STEP_TRANSFER;
	job.failed_at = DEPENDENCY_TWILIO;
	cr_assert_str_eq(job_failed_where(&job), "transfer");
	job.failed_at = DEPENDENCY_STORE;
	cr_assert_str_eq(job_failed_where(&job), "store");
}

/* Every pair of steps: what the table does not list must abort. */
static void try_move(enum job_step from, enum job_step to)
{
	job.step = from;
	job.waiting = true;
	waits[to] = true;
	job_resume(&job, to);
}

Test(job, a_forbidden_move_back_aborts, .signal = SIGABRT)
{
	try_move(STEP_RECORD, STEP_LOOKUP);
}
Test(job, recording_before_transferring_aborts, .signal = SIGABRT)
{
	try_move(STEP_LOOKUP, STEP_RECORD);
}
Test(job, purging_before_recording_aborts, .signal = SIGABRT)
{
	try_move(STEP_TRANSFER, STEP_PURGE);
}
Test(job, ending_without_finish_aborts, .signal = SIGABRT)
{
	try_move(STEP_PURGE, STEP_END);
}
Test(job, resuming_a_job_that_does_not_wait_aborts, .signal = SIGABRT)
{
	job_resume(&job, STEP_LOOKUP);
}

Test(job, a_completion_for_another_step_aborts, .signal = SIGABRT)
{
	waits[STEP_TRANSFER] = true;
	job_start(&job);
	job_landed(&job, STEP_RECORD, FLIGHT_STORE);
}

Test(job, the_table_lets_every_step_reach_finish_and_nothing_leave_end)
{
	for (int step = 0; step < STEP_FINISH; step++)
		cr_assert((step_defs[step].to & (1u << STEP_FINISH)) != 0, "%s", step_defs[step].name);
	cr_assert_eq(step_defs[STEP_FINISH].to, 1u << STEP_END);
	cr_assert_eq(step_defs[STEP_END].to, 0);
}

Test(job, end_is_never_run, .signal = SIGABRT)
{
	step_end(&job);
}
