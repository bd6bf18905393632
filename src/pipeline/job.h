/* SPDX-License-Identifier: MIT */
/*
 * A job: the work for one leased recording, as a machine of steps (steps.def). Private to the pipeline's files.
 *
 * A job belongs to the pipeline, lies in one of its lists, and is given back through env->ended when it reaches END. It has at
 * most one operation in flight, `flight` says which. Loop thread only.
 */
#ifndef REELD_PIPELINE_JOB_H
#define REELD_PIPELINE_JOB_H

#include "base/err.h"
#include "base/list.h"
#include "ledger/ledger.h"
#include "pipeline/breaker.h"
#include "pipeline/gate.h"
#include "pipeline/media.h"
#include "pipeline/pipeline.h"
#include "pipeline/retry.h"
#include "base/soon.h"
#include "pipeline/transfer.h"
#include "pipeline/witness.h"
#include "store/store.h"
#include "twilio/client.h"

#include <stdbool.h>
#include <stdint.h>

enum job_step {
#define STEP(NAME, name, to) STEP_##NAME,
#include "pipeline/steps.def"
#undef STEP
	STEP_COUNT
};

enum dependency {
	DEPENDENCY_NONE = -1,
	DEPENDENCY_TWILIO,
	DEPENDENCY_STORE,
	DEPENDENCY_LEDGER,
	DEPENDENCY_COUNT,
	DEPENDENCY_ACCOUNT = DEPENDENCY_COUNT /* at Twilio: each has a breaker of its own, in its gate */
};

struct job;

/* What all jobs of one pipeline share. Owned by the pipeline. */
struct job_env {
	uv_loop_t *loop;
	const struct pipeline_options *options;
	struct soon soon;
	struct breaker breakers[DEPENDENCY_COUNT];
	struct gates gates;
	struct witness witness;
	struct retry_policy policy;
	struct histogram *step_seconds[STEP_COUNT];
	struct histogram *job_seconds;
	bool closing; /* nobody waits for the ledger to come back any more */

	/* Jobs in RECORD or FINISH that wait for the ledger to come back, and the timer that lets them try again. */
	struct list patient;
	uv_timer_t patience;

	/* A transfer to use, or NULL when out of memory; given back after it is done. */
	struct transfer *(*take_transfer)(struct job_env *env);
	void (*give_transfer)(struct job_env *env, struct transfer *transfer);
	/* The job is at END: the pipeline's again. Called last, may be from inside job_resume. */
	void (*ended)(struct job *job);
};

enum job_cut { JOB_NOT_CUT, JOB_CUT_CLOSING, JOB_CUT_LEASE_LOST };
enum job_place { PLACE_OUTSIDE, PLACE_QUEUED, PLACE_RUNNING }; /* as its gate counts it */
enum job_flight { FLIGHT_NONE, FLIGHT_QUEUE, FLIGHT_LEDGER, FLIGHT_PATIENCE, FLIGHT_TWILIO, FLIGHT_TRANSFER, FLIGHT_STORE };
enum job_describe { DESCRIBE_CALL, DESCRIBE_RECORDING, DESCRIBE_ENCRYPTION };
enum step_result { STEP_GO, STEP_WAIT };

struct job {
	struct list link;    /* in one of the pipeline's lists */
	struct list patient; /* in env->patient while FLIGHT_PATIENCE */
	struct job_env *env;
	struct ledger_job work;
	bool was_queued;   /* in the queue, not running; kept by the pipeline */
	struct gate *gate; /* of its account; until job_set_place(OUTSIDE) at its end */
	enum job_place place;
	unsigned probes; /* bits of enum dependency: this job is the one try that an open breaker permitted */

	enum job_step step;
	enum job_step next; /* where a step that returned STEP_GO goes */
	bool waiting;
	enum job_flight flight;
	enum job_cut cut;
	enum job_describe describe;
	uint64_t step_began_ns;
	uint64_t began_ns;

	/* the first failure */
	int status;
	enum job_step failed_step;
	enum dependency failed_at;
	struct error error;
	int64_t retry_after_ms;
	struct trial trial; /* of this step, for the witness */
	bool own_failure;   /* by the witness */
	enum retry_found found;

	/* what was reached */
	bool skipped;     /* UNKNOWN_CALL=skip */
	bool transferred; /* in this attempt */
	bool recorded;    /* the ledger has the object */
	bool lease_ended; /* by RECORD: FINISH has nothing to tell */
	bool purged;
	struct store_digest digest;
	bool md5_known;
	enum media_format format;
	int stored_channels;
	bool key_chosen;    /* in this attempt: the ledger does not have it */
	bool told_by_rest;  /* work.encryption came from there */
	struct error doubt; /* why Twilio was asked: the failure, when it cannot tell more */
	bool ciphertext;    /* what is stored is still encrypted */

	/* FINISH */
	enum ledger_outcome outcome;
	int64_t delay_ms;
	char last_error[384];                    /* place, reason and the whole detail */
	char waits_for[LEDGER_WAITS_FOR_SIZE];   /* the ledger keeps it for: an account, a key; "": nothing */
	bool held_back;                          /* with its account */
	const struct private_keys *keys;         /* those that did not have it */
	char awaited_key[LEDGER_WAITS_FOR_SIZE]; /* of an encrypted one: claim_format_key of its public key */
	bool finish_refused;                     /* FINISH with it, by the ledger and for good */

	/* operations; one in flight */
	struct transfer *transfer;
	struct ledger_request ledger;
	struct twilio_request twilio;
	struct store_request store;
	char md5_hex[33];
	char sha256_hex[65];
};

typedef enum step_result step_fn(struct job *job);
#define STEP(NAME, name, to) step_fn step_##name;
#include "pipeline/steps.def"
#undef STEP

const char *job_step_name(enum job_step step);
/* "transfer", …; "store" for the storing half of a transfer: where the first failure happened. The label of retries. */
const char *job_failed_where(const struct job *job);

/* Makes a job of leased work, in QUEUE. Nothing runs before job_start. */
void job_init(struct job *job, struct job_env *env, const struct ledger_job *work);
/* Runs QUEUE, which waits. */
void job_start(struct job *job);
/* A place is free: the job leaves QUEUE. It may be at END, and gone, afterwards. */
void job_leave_queue(struct job *job);
/* No place will be free soon, `dependency` is down or its account held back: the job goes back to the ledger, not charged. */
void job_turn_away(struct job *job, enum dependency dependency);
/* From the completion of what a step waits for, never from inside the step: the step's outcome and where to go next; FINISH
 * instead when it failed or was cut. */
void job_resume(struct job *job, enum job_step next);
/* Ends the job early: what is in flight is cancelled where it can be. Loss of the lease beats shutdown. Safe any time, the job
 * may be gone afterwards. */
void job_cut(struct job *job, enum job_cut why);

/* Notes a failure (the first one stays) and what the peer asked for. `error` may be NULL or unset. Returns STEP_GO to FINISH for
 * the step's convenience. */
enum step_result job_fail(struct job *job, enum dependency at, int code, const struct error *error, int64_t retry_after_ms);
/* Goes on to `next` without waiting. */
enum step_result job_go(struct job *job, enum job_step next);

/* Starts what a step waits for. job->ledger and job->twilio are prepared by the caller, but for done and data. */
enum step_result job_wait_ledger(struct job *job, ledger_cb *done);
enum step_result job_wait_twilio(struct job *job, twilio_cb *done);
enum step_result job_wait_store(struct job *job, store_cb *done);

/* First thing in a completion: checks that this is what the step waited for. True when the job was cut meanwhile: the caller
 * starts nothing more and resumes. */
bool job_landed(struct job *job, enum job_step step, enum job_flight flight);
/* What was learned about a dependency: `code` 0 or an error, `answered`: it did answer, whatever the answer. */
void job_learned(struct job *job, enum dependency dependency, int code, bool answered);
/*
 * The same of an answer of Twilio's; `account_refused`: it is about the account, and Twilio itself works. Returns whose failure it would be: DEPENDENCY_TWILIO or
 * DEPENDENCY_ACCOUNT.
 */
enum dependency job_learned_of_twilio(struct job *job, int code, bool answered, bool account_refused, int64_t retry_after_ms);
/* The breaker of a dependency, as this job sees it. */
struct breaker *job_breaker(const struct job *job, enum dependency dependency);
/* What a recording waits for that needs the private key of this public key, as the ledger has it: the digits of a SID have no case. */
void claim_format_key(const struct sid *public_key_sid, char out[LEDGER_WAITS_FOR_SIZE]);
/* Counts the job in its gate. */
void job_set_place(struct job *job, enum job_place place);
/* The step got from Twilio and the store what it needs of them: a witness against those that fail there. */
void job_passed(struct job *job);

/* Lets the jobs that wait for the ledger try again, for the timer of job_env. */
void job_env_patience_over(uv_timer_t *timer);
/*
 * As job_learned for what was learned without a job; `subject` as in breaker.h. `detail` for the log, since no line of a job's own tells it; or NULL.
 */
void job_env_learned(struct job_env *env, enum dependency dependency, uint64_t subject, int code, bool answered,
		     const char *detail);

/* RECORD and FINISH outlast an outage of the ledger: true when the request that failed with `status` will be made again, by
 * running the step anew, and the job waits on. */
bool job_waits_for_ledger(struct job *job, int status);

#endif
