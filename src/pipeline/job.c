/* SPDX-License-Identifier: MIT */
#include "pipeline/job.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <string.h>

#define TO(NAME) (1u << STEP_##NAME)
static const struct {
	const char *name;
	step_fn *run;
	unsigned to;
} step_defs[STEP_COUNT] = {
#define STEP(NAME, name, to) [STEP_##NAME] = {#name, step_##name, to},
#include "pipeline/steps.def"
#undef STEP
};
#undef TO

/* How long to leave the ledger alone before RECORD and FINISH try it again. */
#define PATIENCE_BASE_MS 100
#define PATIENCE_MAX_MS 5000

const char *job_step_name(enum job_step step)
{
	REQUIRE(step < STEP_COUNT);
	return step_defs[step].name;
}

const char *job_failed_where(const struct job *job)
{
	if (job->failed_step == STEP_TRANSFER && job->failed_at == DEPENDENCY_STORE)
		return "store";
	return job_step_name(job->failed_step);
}

/* ---- the machine ---- */

/* Tells recordings apart, for breakers and witness. */
static uint64_t job_subject(const struct job *job)
{
	uint8_t sid[16] = {0};
	uint64_t halves[2];
	sid_binary(&job->work.recording_sid, sid);
	memcpy(halves, sid, sizeof(halves));
	return halves[0] ^ halves[1];
}

/* Asking why the media is missing, or how it is encrypted, is a part of getting it: that never leads anywhere else. */
static void job_begin_trial(struct job *job)
{
	if (job->step != STEP_DESCRIBE || job->describe == DESCRIBE_CALL)
		job->trial = witness_begin(&job->env->witness, job_subject(job), job->step);
}

/* The only function that changes job->step. */
static void job_move(struct job *job, enum job_step next)
{
	REQUIRE(!job->waiting && job->flight == FLIGHT_NONE);
	REQUIRE((step_defs[job->step].to & (1u << next)) != 0);
	uint64_t now = clock_mono_ns();
	double seconds = (double)(now - job->step_began_ns) / 1e9;
	if (job->env->step_seconds[job->step] != NULL)
		histogram_observe(job->env->step_seconds[job->step], seconds);
	log_event(LOG_DEBUG, "job.step", LOG_STR("recording_sid", job->work.recording_sid.text),
		  LOG_STR("from", step_defs[job->step].name), LOG_STR("to", step_defs[next].name),
		  LOG_STR("status", err_name(job->status)), LOG_F64("seconds", seconds));
	job->step = next;
	job->step_began_ns = now;
	job_begin_trial(job);
}

/* A failed or cut job goes nowhere but to FINISH. */
static enum job_step job_destination(const struct job *job)
{
	if (job->step == STEP_FINISH)
		return STEP_END;
	return job->status != 0 || job->cut != JOB_NOT_CUT ? STEP_FINISH : job->next;
}

static bool ended_for_good(enum ledger_outcome outcome)
{
	return outcome != LEDGER_OUTCOME_RETRY && outcome != LEDGER_OUTCOME_WAIT && outcome != LEDGER_OUTCOME_RELEASE;
}

static void job_end(struct job *job)
{
	struct job_env *env = job->env;
	if (ended_for_good(job->outcome))
		witness_forget(&env->witness, job->trial.subject);
	for (int i = 0; i <= DEPENDENCY_ACCOUNT; i++) {
		if ((job->probes & (1u << i)) != 0)
			breaker_probe_abandoned(job_breaker(job, (enum dependency)i), (int64_t)uv_now(env->loop));
	}
	env->ended(job); /* may free it */
}

static void job_run(struct job *job)
{
	while (job->step != STEP_END) {
		if (step_defs[job->step].run(job) == STEP_WAIT) {
			REQUIRE(job->flight != FLIGHT_NONE);
			job->waiting = true;
			return;
		}
		job_move(job, job_destination(job));
	}
	job_end(job);
}

enum step_result step_end(struct job *job)
{
	(void)job;
	REQUIRE(false); /* END is where job_run stops */
}

void job_init(struct job *job, struct job_env *env, const struct ledger_job *work)
{
	memset(job, 0, sizeof(*job));
	list_init(&job->link);
	list_init(&job->patient);
	job->env = env;
	job->work = *work;
	job->gate = gates_find(&env->gates, &work->account_sid);
	job->step = STEP_QUEUE;
	job->failed_at = DEPENDENCY_NONE;
	job->retry_after_ms = -1;
	job->began_ns = clock_mono_ns();
	job->step_began_ns = job->began_ns;
}

void job_start(struct job *job)
{
	REQUIRE(job->step == STEP_QUEUE && !job->waiting);
	job_run(job);
}

void job_resume(struct job *job, enum job_step next)
{
	REQUIRE(job->waiting && job->flight == FLIGHT_NONE);
	job->waiting = false;
	job->next = next;
	job_move(job, job_destination(job));
	job_run(job);
}

/* ---- for the steps ---- */

enum step_result job_go(struct job *job, enum job_step next)
{
	job->next = next;
	return STEP_GO;
}

enum step_result job_fail(struct job *job, enum dependency at, int code, const struct error *error, int64_t retry_after_ms)
{
	REQUIRE(code < 0);
	if (job->status == 0) {
		job->status = code;
		job->failed_step = job->step;
		job->failed_at = at;
		job->retry_after_ms = retry_after_ms;
		job->own_failure = retry_may_be_outage(code) && witness_failed(&job->env->witness, &job->trial);
		if (error != NULL && error->detail[0] != '\0')
			job->error = *error;
		else
			error_set(&job->error, code, "%s", err_text(code));
	}
	return job_go(job, STEP_FINISH);
}

enum step_result job_wait_ledger(struct job *job, ledger_cb *done)
{
	job->flight = FLIGHT_LEDGER;
	job->ledger.done = done;
	job->ledger.data = job;
	ledger_submit(job->env->options->ledger, &job->ledger);
	return STEP_WAIT;
}

enum step_result job_wait_twilio(struct job *job, twilio_cb *done)
{
	job->twilio.done = done;
	job->twilio.data = job;
	int rc = twilio_start(job->env->options->twilio, &job->twilio);
	if (rc != 0) {
		struct error error = job->twilio.error;
		twilio_request_release(&job->twilio);
		return job_fail(job, DEPENDENCY_TWILIO, rc, &error, -1);
	}
	job->flight = FLIGHT_TWILIO;
	return STEP_WAIT;
}

enum step_result job_wait_store(struct job *job, store_cb *done)
{
	job->flight = FLIGHT_STORE;
	job->store.done = done;
	job->store.data = job;
	store_submit(job->env->options->store, &job->store);
	return STEP_WAIT;
}

bool job_landed(struct job *job, enum job_step step, enum job_flight flight)
{
	REQUIRE(job->waiting && job->step == step && job->flight == flight);
	job->flight = FLIGHT_NONE;
	return job->cut != JOB_NOT_CUT;
}

/* ---- ending early ---- */

void job_cut(struct job *job, enum job_cut why)
{
	if (job->cut == JOB_CUT_LEASE_LOST || job->cut == why)
		return;
	job->cut = why;
	if (!job->waiting)
		return;
	switch (job->flight) {
	case FLIGHT_QUEUE:
	case FLIGHT_PATIENCE:
		list_remove(&job->patient);
		job->flight = FLIGHT_NONE;
		job_resume(job, STEP_FINISH);
		return;
	case FLIGHT_TWILIO:
		twilio_cancel(&job->twilio);
		return;
	case FLIGHT_TRANSFER:
		transfer_cancel(job->transfer);
		return;
	case FLIGHT_LEDGER: /* cannot be called back; short */
	case FLIGHT_STORE:
	case FLIGHT_NONE: /* in its own completion, which looks at `cut` */
		return;
	}
}

/* ---- what was learned about the dependencies ---- */

static const char *const dependency_names[DEPENDENCY_COUNT] = {"twilio", "store", "ledger"};

static void dependency_changed(struct job_env *env, enum dependency dependency, int code, const char *detail)
{
	bool up = env->breakers[dependency].state == BREAKER_CLOSED;
	const char *name = dependency_names[dependency];
	if (up)
		log_event(LOG_INFO, "dependency.up", LOG_STR("dependency", name));
	else
		log_event(LOG_WARN, "dependency.down", LOG_STR("dependency", name), LOG_STR("reason", err_name(code)),
			  LOG_STR("detail", detail),
			  LOG_I64("probe_in_ms", breaker_delay_ms(&env->breakers[dependency], (int64_t)uv_now(env->loop))));
	/* The ledger's gauge is kept by its owner, who also knows of the forwarder's attempts. */
	if (dependency != DEPENDENCY_LEDGER)
		metrics_get(env->options->metrics, METRIC_DEPENDENCY_UP, name)->value = up;
}

void job_env_learned(struct job_env *env, enum dependency dependency, uint64_t subject, int code, bool answered,
		     const char *detail)
{
	struct breaker *breaker = &env->breakers[dependency];
	int64_t now = (int64_t)uv_now(env->loop);
	bool changed = false;
	if (breaker_counts(code)) {
		uint64_t random;
		random_bytes(&random, sizeof(random));
		changed = breaker_failed(breaker, code, subject, now, random);
	} else if (code == 0 || answered) {
		changed = breaker_succeeded(breaker);
	}
	if (changed)
		dependency_changed(env, dependency, code, detail);
}

void job_learned(struct job *job, enum dependency dependency, int code, bool answered)
{
	if (code == 0 || answered || breaker_counts(code))
		job->probes &= ~(1u << dependency);
	job_env_learned(job->env, dependency, job_subject(job), code, answered, NULL);
}

struct breaker *job_breaker(const struct job *job, enum dependency dependency)
{
	REQUIRE(dependency != DEPENDENCY_NONE);
	return dependency == DEPENDENCY_ACCOUNT ? &job->gate->breaker : &job->env->breakers[dependency];
}

void job_set_place(struct job *job, enum job_place place)
{
	struct gate *gate = job->gate;
	gate->queued += place == PLACE_QUEUED;
	gate->queued -= job->place == PLACE_QUEUED;
	gate->running += place == PLACE_RUNNING;
	gate->running -= job->place == PLACE_RUNNING;
	job->place = place;
}

static void account_changed(struct job_env *env, const struct gate *gate, enum gate_change change)
{
	const char *account = gate_name(gate);
	switch (change) {
	case GATE_AS_BEFORE:
		return;
	case GATE_THROTTLED:
		log_event(LOG_WARN, "account.throttled", LOG_STR("account_sid", account), LOG_U64("limit", gate->limit.current),
			  LOG_U64("max", gate->limit.max));
		return;
	case GATE_HELD:
		log_event(LOG_WARN, "account.held", LOG_STR("account_sid", account), LOG_STR("reason", err_name(gate->reason)),
			  LOG_STR("detail",
				  "its recordings wait, uncharged, until Twilio takes its requests again; those of others go on"),
			  LOG_I64("probe_in_ms", breaker_delay_ms(&gate->breaker, (int64_t)uv_now(env->loop))));
		break;
	case GATE_RELEASED:
		log_event(LOG_INFO, "account.released", LOG_STR("account_sid", account));
		break;
	}
	metrics_get(env->options->metrics, METRIC_ACCOUNTS_HELD)->value = (double)env->gates.held;
}

enum dependency job_learned_of_twilio(struct job *job, int code, bool answered, bool account_refused, int64_t retry_after_ms)
{
	struct job_env *env = job->env;
	bool refused = code != 0 && account_refused;
	enum gate_change change = GATE_AS_BEFORE;
	/* Who refuses an account is there. */
	job_learned(job, DEPENDENCY_TWILIO, refused ? 0 : code, answered);
	if (refused) {
		uint64_t random;
		random_bytes(&random, sizeof(random));
		struct gate_refusal refusal = {code, retry_after_ms};
		change = gates_refused(&env->gates, job->gate, refusal, (int64_t)uv_now(env->loop), random);
	} else if (code == 0 || (answered && !breaker_counts(code))) {
		change = gates_accepted(&env->gates, job->gate);
	} else {
		return DEPENDENCY_TWILIO;
	}
	job->probes &= ~(1u << DEPENDENCY_ACCOUNT);
	account_changed(env, job->gate, change);
	return refused ? DEPENDENCY_ACCOUNT : DEPENDENCY_TWILIO;
}

void job_passed(struct job *job)
{
	witness_passed(&job->env->witness, &job->trial);
}

/* ---- outlasting the ledger ---- */

bool job_waits_for_ledger(struct job *job, int status)
{
	struct job_env *env = job->env;
	REQUIRE(job->waiting && job->flight == FLIGHT_NONE);
	if (env->closing || job->cut != JOB_NOT_CUT || err_class(status) == ERR_CLASS_PERMANENT)
		return false;
	job->flight = FLIGHT_PATIENCE;
	list_append(&env->patient, &job->patient);
	if (!uv_is_active((uv_handle_t *)&env->patience)) {
		int64_t base = env->policy.base_ms < PATIENCE_BASE_MS ? env->policy.base_ms : PATIENCE_BASE_MS;
		uint64_t delay = backoff_bound((uint64_t)base, PATIENCE_MAX_MS, env->breakers[DEPENDENCY_LEDGER].failures);
		uv_timer_start(&env->patience, job_env_patience_over, random_upper_half(delay), 0);
	}
	return true;
}

void job_env_patience_over(uv_timer_t *timer)
{
	struct job_env *env = CONTAINER_OF(timer, struct job_env, patience);
	struct list jobs;
	struct list *link;
	list_move(&jobs, &env->patient);
	while ((link = list_take(&jobs)) != NULL) {
		struct job *job = LIST_ENTRY(link, struct job, patient);
		REQUIRE(job->waiting && job->flight == FLIGHT_PATIENCE);
		job->flight = FLIGHT_NONE;
		job->waiting = false;
		job_run(job);
	}
}
