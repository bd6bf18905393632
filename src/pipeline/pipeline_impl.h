/* SPDX-License-Identifier: MIT */
/* The inside of the pipeline, shared by pipeline.c, claim.c and lease.c. */
#ifndef REELD_PIPELINE_PIPELINE_IMPL_H
#define REELD_PIPELINE_PIPELINE_IMPL_H

#include "pipeline/job.h"

#define PIPELINE_POLL_MS 2000 /* other replicas' orphans and retries come due without anybody waking us */

struct pipeline {
	struct job_env env;
	struct pipeline_options options;
	char *key_prefix;

	/* A job is in exactly one of these. `queue` waits for a place, `running` has one, `resting` is the pool. */
	struct list queue;
	struct list running;
	struct list resting;
	size_t queued;
	size_t running_count;
	size_t job_count; /* in all three */
	struct chunk_pool chunks;
	struct hasher hasher;
	struct transfer **spare; /* room for max_transfers */
	size_t spare_count;
	struct metric *transfers_in_flight;

	struct soon_item work;
	uv_timer_t poll;
	int64_t poll_at_ms;     /* when to look for due work even if nobody woke us */
	int64_t claim_after_ms; /* after a failure: not before */
	unsigned held_up;       /* claims in a row that were given nothing of what is due */
	bool due;               /* there may be work to claim */
	bool reclaim;           /* there may be leases of ours that we do not know of */
	bool claim_worked;      /* the last one was answered */
	bool claiming;
	struct ledger_request claim;
	struct ledger_job *claim_jobs;         /* RECLAIM: what was held then */
	char claim_for[LEDGER_WAITS_FOR_SIZE]; /* CLAIM_WAITING: for what */
	bool fetched;                          /* the last claim was one of these */
	uint64_t keys_awaited;                 /* private keys, by number, that recordings in the ledger may wait for */

	uv_timer_t heartbeat;
	bool beating;
	struct ledger_request beat;
	struct ledger_job *beat_jobs;

	bool draining;
	void (*drained)(void *data);
	void *drained_data;
	bool closing;
	bool closing_handles;
	unsigned open_handles;
	void (*closed)(void *data);
	void *closed_data;
};

/* Leases: a heartbeat every third of their life for all that are held; a lost one cuts its job. */
void lease_start(struct pipeline *pipeline);
/* SID and epoch of all that is held, for a request; *count of them. The caller frees it. NULL when out of memory, or none is held. */
struct ledger_job *lease_list(const struct pipeline *pipeline, size_t *count);
/* One heartbeat now, unless the last one is still under way. */
void lease_beat(struct pipeline *pipeline);

/* Claims, when there may be work and there is room. */
void claim_work(struct pipeline *pipeline);
/* A job went back to the ledger to wait for something. */
void claim_note_waiting(struct pipeline *pipeline, const struct job *job);
/* The keys are new: what waits for any of them is claimed. */
void claim_for_keys(struct pipeline *pipeline);

static inline int64_t pipeline_now_ms(const struct pipeline *pipeline)
{
	return (int64_t)uv_now(pipeline->env.loop);
}

void pipeline_work_soon(struct pipeline *pipeline);
/* Work is known to come due then. */
void pipeline_look_again_in(struct pipeline *pipeline, int64_t delay_ms);
/* Of work that was leased to us; known already or not. */
void pipeline_add_job(struct pipeline *pipeline, const struct ledger_job *work);
/* Which of Twilio and the store does not permit a start now; DEPENDENCY_NONE: neither. */
enum dependency pipeline_blocked_by(const struct pipeline *pipeline);

#endif
