/* SPDX-License-Identifier: MIT */
/*
 * The pipeline's own work is one function, run soon after anything changed: release what must not start, start what may, claim
 * when the queue runs low, set the timer, see whether draining or closing is over. Callbacks only note what changed.
 *
 * Leased work is bounded by twice the adaptive limit: one half runs, the other waits so that a free place is filled at once.
 * While the breaker of Twilio or of the store is open nothing is claimed, and what was leased goes back uncharged; when its
 * interval is over one job is claimed and run as the probe.
 */
#include "pipeline/pipeline_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define POLL_MS 2000 /* other replicas' orphans and retries come due without anybody waking us */
#define CLAIM_BACKOFF_MS \
	100 /* after a failed claim, and after one that was given nothing of what is due, doubled up to POLL_MS */
#define BREAKER_THRESHOLD 5
#define BREAKER_MAX_MS 60000
#define JOBS_PER_TRANSFER 4 /* hard bound: the forwarder may bring work that was offered before the limit fell */

static int64_t now_ms(const struct pipeline *pipeline)
{
	return (int64_t)uv_now(pipeline->env.loop);
}

static size_t held_count(const struct pipeline *pipeline)
{
	return pipeline->queued + pipeline->running_count;
}

void pipeline_work_soon(struct pipeline *pipeline)
{
	if (!pipeline->closing_handles)
		soon_add(&pipeline->env.soon, &pipeline->work);
}

/* ---- transfers and jobs from their pools ---- */

static struct transfer *take_transfer(struct job_env *env)
{
	struct pipeline *pipeline = CONTAINER_OF(env, struct pipeline, env);
	struct transfer *transfer = NULL;
	if (pipeline->spare_count > 0) {
		transfer = pipeline->spare[--pipeline->spare_count];
	} else {
		struct metrics *metrics = pipeline->options.metrics;
		struct transfer_options options = {
			.soon = &env->soon,
			.twilio = pipeline->options.twilio,
			.store = pipeline->options.store,
			.chunks = &pipeline->chunks,
			.hasher = &pipeline->hasher,
			.bytes_in = metrics_get(metrics, METRIC_TRANSFER_BYTES, "in"),
			.bytes_out = metrics_get(metrics, METRIC_TRANSFER_BYTES, "out"),
		};
		struct error error = {0};
		if (transfer_new(&transfer, &options, &error) != 0) {
			log_event(LOG_ERROR, "transfer.refused", LOG_STR("reason", err_name(error.code)),
				  LOG_STR("detail", error.detail));
			return NULL;
		}
	}
	pipeline->transfers_in_flight->value++;
	return transfer;
}

static void give_transfer(struct job_env *env, struct transfer *transfer)
{
	struct pipeline *pipeline = CONTAINER_OF(env, struct pipeline, env);
	pipeline->transfers_in_flight->value--;
	if (pipeline->spare_count < pipeline->options.max_transfers)
		pipeline->spare[pipeline->spare_count++] = transfer;
	else
		transfer_free(&transfer);
}

static struct job *take_job(struct pipeline *pipeline)
{
	struct list *link = list_take(&pipeline->resting);
	if (link != NULL)
		return LIST_ENTRY(link, struct job, link);
	if (pipeline->job_count >= JOBS_PER_TRANSFER * pipeline->options.max_transfers)
		return NULL;
	struct job *job = malloc(sizeof(*job));
	if (job != NULL)
		pipeline->job_count++;
	return job;
}

/* Work is known to come due then. */
static void look_again_in(struct pipeline *pipeline, int64_t delay_ms)
{
	int64_t at = now_ms(pipeline) + delay_ms + 1;
	if (at < pipeline->poll_at_ms)
		pipeline->poll_at_ms = at;
}

/* env->ended */
static void job_ended(struct job *job)
{
	struct pipeline *pipeline = CONTAINER_OF(job->env, struct pipeline, env);
	list_remove(&job->link);
	if (job->was_queued)
		pipeline->queued--;
	else
		pipeline->running_count--;
	list_append(&pipeline->resting, &job->link);
	if (job->outcome == LEDGER_OUTCOME_RETRY || job->outcome == LEDGER_OUTCOME_WAIT)
		look_again_in(pipeline, job->delay_ms);
	pipeline_work_soon(pipeline);
}

/* ---- taking work in ---- */

static struct job *find_recording(const struct list *jobs, const struct sid *recording_sid)
{
	for (struct list *link = jobs->next; link != jobs; link = link->next) {
		struct job *job = LIST_ENTRY(link, struct job, link);
		if (strcmp(job->work.recording_sid.text, recording_sid->text) == 0)
			return job;
	}
	return NULL;
}

/* The same recording leased to us again means that the lease we hold has expired and the newer epoch counts. False when the newer
 * one is held already. */
static bool supersede(struct list *jobs, const struct ledger_job *work)
{
	struct job *job = find_recording(jobs, &work->recording_sid);
	if (job == NULL)
		return true;
	if (job->work.epoch >= work->epoch)
		return false;
	job_cut(job, JOB_CUT_LEASE_LOST);
	return true;
}

static void add_job(struct pipeline *pipeline, const struct ledger_job *work)
{
	if (!supersede(&pipeline->queue, work) || !supersede(&pipeline->running, work))
		return;
	struct job *job = take_job(pipeline);
	if (job == NULL) {
		log_event(LOG_WARN, "job.not_taken", LOG_STR("recording_sid", work->recording_sid.text),
			  LOG_STR("detail", "too many jobs or out of memory; it is taken up again when its lease expires"));
		return;
	}
	job_init(job, &pipeline->env, work);
	list_append(&pipeline->queue, &job->link);
	pipeline->queued++;
	job->was_queued = true;
	job_start(job);
}

/* ---- starting ---- */

/* The first job in the queue whose recording is not being worked on (by a job that lost its lease and is being cut). */
static struct job *first_startable(const struct pipeline *pipeline)
{
	for (struct list *link = pipeline->queue.next; link != &pipeline->queue; link = link->next) {
		struct job *job = LIST_ENTRY(link, struct job, link);
		if (job->flight == FLIGHT_QUEUE && find_recording(&pipeline->running, &job->work.recording_sid) == NULL)
			return job;
	}
	return NULL;
}

/* Which of Twilio and the store does not permit a start now; DEPENDENCY_NONE: neither. */
static enum dependency blocked_by(const struct pipeline *pipeline)
{
	int64_t now = now_ms(pipeline);
	if (breaker_permits(&pipeline->env.breakers[DEPENDENCY_TWILIO], now) == 0)
		return DEPENDENCY_TWILIO;
	if (breaker_permits(&pipeline->env.breakers[DEPENDENCY_STORE], now) == 0)
		return DEPENDENCY_STORE;
	return DEPENDENCY_NONE;
}

static void start_job(struct pipeline *pipeline, struct job *job)
{
	for (int i = 0; i < DEPENDENCY_COUNT; i++) {
		if (breaker_start(&pipeline->env.breakers[i], now_ms(pipeline)))
			job->probes |= 1u << i;
	}
	list_remove(&job->link);
	pipeline->queued--;
	list_append(&pipeline->running, &job->link);
	pipeline->running_count++;
	job->was_queued = false;
	job_leave_queue(job);
}

static void start_jobs(struct pipeline *pipeline)
{
	struct job *job;
	while (pipeline->running_count < pipeline->env.limit.current && (job = first_startable(pipeline)) != NULL) {
		enum dependency blocked = blocked_by(pipeline);
		if (blocked != DEPENDENCY_NONE)
			job_turn_away(job, blocked);
		else if (breaker_permits(&pipeline->env.breakers[DEPENDENCY_LEDGER], now_ms(pipeline)) == 0)
			return; /* it could not even be given back */
		else
			start_job(pipeline, job);
	}
}

/* Cuts every job of a list; those that end at once leave it meanwhile. */
static void cut_all(struct list *jobs)
{
	for (struct list *link = jobs->next, *next; link != jobs; link = next) {
		next = link->next;
		job_cut(LIST_ENTRY(link, struct job, link), JOB_CUT_CLOSING);
	}
}

/* ---- claiming ---- */

size_t pipeline_capacity(const struct pipeline *pipeline)
{
	int64_t now = now_ms(pipeline);
	if (pipeline->draining || pipeline->closing || blocked_by(pipeline) != DEPENDENCY_NONE ||
	    breaker_permits(&pipeline->env.breakers[DEPENDENCY_LEDGER], now) == 0)
		return 0;
	size_t taken = held_count(pipeline) + (pipeline->claiming ? pipeline->claim.lease_max : 0);
	size_t most = 2 * pipeline->env.limit.current;
	if (taken >= most)
		return 0;
	bool probing = breaker_permits(&pipeline->env.breakers[DEPENDENCY_TWILIO], now) == 1 ||
		       breaker_permits(&pipeline->env.breakers[DEPENDENCY_STORE], now) == 1;
	if (probing)
		return pipeline->queued == 0 && !pipeline->claiming ? 1 : 0;
	return most - taken;
}

/* What was leased to us without our knowledge. An answer that came meanwhile may have brought the same: add_job knows it. */
static void reclaimed(struct pipeline *pipeline, const struct ledger_request *request)
{
	pipeline->reclaim = request->leased_count == request->lease_max;
	pipeline->due = true;
	if (request->leased_count > 0)
		log_event(LOG_INFO, "lease.reclaimed", LOG_U64("recordings", request->leased_count));
	for (size_t i = 0; i < request->leased_count; i++)
		add_job(pipeline, &request->leased[i]);
}

/* Somebody else has what is due locked, a replica for a moment or an operator for hours: it may be there the next time. */
static void note_held_up(struct pipeline *pipeline, const struct ledger_request *request)
{
	if (request->next_due_ms != 0 || request->leased_count > 0)
		pipeline->held_up_ms = 0;
	else if (pipeline->held_up_ms == 0)
		pipeline->held_up_ms = CLAIM_BACKOFF_MS;
	else
		pipeline->held_up_ms = pipeline->held_up_ms < POLL_MS / 2 ? 2 * pipeline->held_up_ms : POLL_MS;
}

static void claim_done(struct ledger_request *request, int status)
{
	struct pipeline *pipeline = request->data;
	pipeline->claiming = false;
	job_env_learned(&pipeline->env, DEPENDENCY_LEDGER, 0, status, status == 0, request->error.detail);
	if (status != 0)
		breaker_probe_abandoned(&pipeline->env.breakers[DEPENDENCY_LEDGER], now_ms(pipeline));
	free(pipeline->claim_jobs);
	pipeline->claim_jobs = NULL;
	pipeline->claim_worked = status == 0;
	if (status == 0 && request->op == LEDGER_RECLAIM) {
		reclaimed(pipeline, request);
	} else if (status == 0) {
		pipeline->poll_at_ms = now_ms(pipeline) + POLL_MS;
		note_held_up(pipeline, request);
		if (request->next_due_ms >= 0 && request->next_due_ms < POLL_MS)
			look_again_in(pipeline, request->next_due_ms + pipeline->held_up_ms);
		if (request->leased_count == request->lease_max || pipeline->reclaim)
			pipeline->due = true;
		for (size_t i = 0; i < request->leased_count; i++)
			add_job(pipeline, &request->leased[i]);
	} else {
		int64_t base = pipeline->env.policy.base_ms < CLAIM_BACKOFF_MS ? pipeline->env.policy.base_ms : CLAIM_BACKOFF_MS;
		int64_t backoff = retry_backoff_ms(base, POLL_MS, pipeline->env.breakers[DEPENDENCY_LEDGER].failures);
		pipeline->due = true;
		pipeline->reclaim = true;
		pipeline->claim_after_ms = now_ms(pipeline) + (int64_t)random_upper_half((uint64_t)backoff);
		log_event(LOG_DEBUG, "claim.failed", LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", request->error.detail));
	}
	ledger_request_release(request);
	pipeline_work_soon(pipeline);
}

/* Makes the claim one for leases of ours that are not held. */
static void ask_back(struct pipeline *pipeline)
{
	size_t count;
	pipeline->claim_jobs = lease_list(pipeline, &count);
	if (pipeline->claim_jobs == NULL && held_count(pipeline) > 0)
		return; /* out of memory: it was a help, the leases run out by themselves */
	pipeline->claim.op = LEDGER_RECLAIM;
	pipeline->claim.jobs = pipeline->claim_jobs;
	pipeline->claim.count = count;
}

static void claim(struct pipeline *pipeline)
{
	size_t limit = pipeline->env.limit.current;
	size_t low_water = limit + limit / 2;
	if (!pipeline->due || pipeline->claiming || now_ms(pipeline) < pipeline->claim_after_ms ||
	    held_count(pipeline) > low_water)
		return;
	size_t room = pipeline_capacity(pipeline);
	if (room == 0)
		return;
	breaker_start(&pipeline->env.breakers[DEPENDENCY_LEDGER], now_ms(pipeline)); /* the claim itself is the ledger's probe */
	pipeline->due = false;
	pipeline->claiming = true;
	pipeline->claim = (struct ledger_request){
		.op = LEDGER_CLAIM, .lease_max = room, .done = claim_done, .data = pipeline, .next_due_ms = -1};
	/* Only behind a claim that worked: else the one that works would hide from the breaker that the other does not. */
	if (pipeline->reclaim && pipeline->claim_worked)
		ask_back(pipeline);
	ledger_submit(pipeline->options.ledger, &pipeline->claim);
}

/* ---- the one timer ---- */

static void poll_over(uv_timer_t *timer)
{
	struct pipeline *pipeline = CONTAINER_OF(timer, struct pipeline, poll);
	pipeline->due = true;
	pipeline_work_soon(pipeline);
}

static void set_timer(struct pipeline *pipeline)
{
	int64_t now = now_ms(pipeline);
	int64_t at = pipeline->poll_at_ms > now ? pipeline->poll_at_ms : now + POLL_MS;
	if (pipeline->due && pipeline->claim_after_ms > now && pipeline->claim_after_ms < at)
		at = pipeline->claim_after_ms;
	for (int i = 0; i < DEPENDENCY_COUNT; i++) {
		const struct breaker *breaker = &pipeline->env.breakers[i];
		if (breaker->state == BREAKER_OPEN && breaker->probe_at_ms > now && breaker->probe_at_ms < at)
			at = breaker->probe_at_ms;
	}
	uv_timer_start(&pipeline->poll, poll_over, (uint64_t)(at - now), 0);
}

/* ---- the work ---- */

static void handle_closed(uv_handle_t *handle)
{
	struct pipeline *pipeline = handle->data;
	if (--pipeline->open_handles > 0)
		return;
	struct list *link;
	while ((link = list_take(&pipeline->resting)) != NULL)
		free(LIST_ENTRY(link, struct job, link));
	while (pipeline->spare_count > 0)
		transfer_free(&pipeline->spare[--pipeline->spare_count]);
	chunk_pool_free(&pipeline->chunks);
	void (*closed)(void *data) = pipeline->closed;
	void *data = pipeline->closed_data;
	free(pipeline->spare);
	free(pipeline->key_prefix);
	free(pipeline);
	closed(data);
}

static void close_handles(struct pipeline *pipeline)
{
	REQUIRE(list_empty(&pipeline->env.patient));
	pipeline->closing_handles = true;
	hasher_close(&pipeline->hasher);
	uv_close((uv_handle_t *)&pipeline->poll, handle_closed);
	uv_close((uv_handle_t *)&pipeline->heartbeat, handle_closed);
	uv_close((uv_handle_t *)&pipeline->env.patience, handle_closed);
	soon_close(&pipeline->env.soon, handle_closed);
}

static void pipeline_work(struct soon_item *item)
{
	struct pipeline *pipeline = CONTAINER_OF(item, struct pipeline, work);
	if (pipeline->draining || pipeline->closing) {
		cut_all(&pipeline->queue);
		if (pipeline->closing)
			cut_all(&pipeline->running);
	} else {
		pipeline->due = pipeline->due || now_ms(pipeline) >= pipeline->poll_at_ms;
		start_jobs(pipeline);
		claim(pipeline);
		set_timer(pipeline);
	}
	if (held_count(pipeline) > 0 || pipeline->claiming)
		return;
	if (pipeline->drained != NULL) {
		void (*drained)(void *data) = pipeline->drained;
		pipeline->drained = NULL;
		drained(pipeline->drained_data); /* may close us, which works soon */
	}
	if (pipeline->closing && !pipeline->closing_handles && !pipeline->beating)
		close_handles(pipeline);
}

/* ---- public ---- */

static void init_env(struct pipeline *pipeline, uv_loop_t *loop)
{
	struct job_env *env = &pipeline->env;
	const struct pipeline_options *options = &pipeline->options;
	env->loop = loop;
	env->options = options;
	env->policy = (struct retry_policy){options->max_attempts, options->retry_base_ms, options->retry_max_ms};
	env->take_transfer = take_transfer;
	env->give_transfer = give_transfer;
	env->ended = job_ended;
	list_init(&env->patient);
	witness_init(&env->witness);
	limit_init(&env->limit, options->max_transfers);
	struct breaker_options breaker = {
		.threshold = BREAKER_THRESHOLD,
		.base_ms = options->retry_base_ms,
		.max_ms = options->retry_max_ms < BREAKER_MAX_MS ? options->retry_max_ms : BREAKER_MAX_MS,
	};
	for (int i = 0; i < DEPENDENCY_COUNT; i++) {
		/* Twilio may be unable to serve one recording; storage and ledger treat all alike. */
		breaker.min_recordings = i == DEPENDENCY_TWILIO ? 2 : 1;
		breaker_init(&env->breakers[i], &breaker);
	}
	for (int i = 0; i < STEP_END; i++)
		env->step_seconds[i] = metrics_histogram(options->metrics, METRIC_STEP_DURATION, job_step_name((enum job_step)i));
	env->job_seconds = metrics_histogram(options->metrics, METRIC_JOB_DURATION);
	pipeline->transfers_in_flight = metrics_get(options->metrics, METRIC_TRANSFERS_IN_FLIGHT);
	metrics_get(options->metrics, METRIC_DEPENDENCY_UP, "twilio")->value = 1;
	metrics_get(options->metrics, METRIC_DEPENDENCY_UP, "store")->value = 1;
	/* There from the start: the first dead one must be seen as an increase. */
	static const char *const outcomes[] = {"stored", "skipped", "absent", "failed", "dead"};
	for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++)
		metrics_get(options->metrics, METRIC_JOBS_FINISHED, outcomes[i]);
	metrics_get(options->metrics, METRIC_TRANSFER_BYTES, "in");
	metrics_get(options->metrics, METRIC_TRANSFER_BYTES, "out");
}

static void init_handles(struct pipeline *pipeline)
{
	uv_loop_t *loop = pipeline->env.loop;
	soon_init(&pipeline->env.soon, loop);
	soon_item_init(&pipeline->work, pipeline_work);
	REQUIRE(uv_timer_init(loop, &pipeline->poll) == 0);
	REQUIRE(uv_timer_init(loop, &pipeline->heartbeat) == 0);
	REQUIRE(uv_timer_init(loop, &pipeline->env.patience) == 0);
	pipeline->env.soon.idle.data = pipeline;
	pipeline->poll.data = pipeline;
	pipeline->heartbeat.data = pipeline;
	pipeline->env.patience.data = pipeline;
	pipeline->open_handles = 4;
}

struct pipeline *pipeline_new(uv_loop_t *loop, const struct pipeline_options *options)
{
	REQUIRE(options->max_transfers > 0 && options->max_attempts > 0);
	struct pipeline *pipeline = calloc(1, sizeof(*pipeline));
	if (pipeline == NULL)
		return NULL;
	pipeline->options = *options;
	pipeline->key_prefix = strdup(options->key_prefix != NULL ? options->key_prefix : "");
	pipeline->spare = calloc(options->max_transfers, sizeof(struct transfer *));
	if (pipeline->key_prefix == NULL || pipeline->spare == NULL) {
		free(pipeline->spare);
		free(pipeline->key_prefix);
		free(pipeline);
		return NULL;
	}
	pipeline->options.key_prefix = pipeline->key_prefix;
	list_init(&pipeline->queue);
	list_init(&pipeline->running);
	list_init(&pipeline->resting);
	init_env(pipeline, loop);
	init_handles(pipeline);
	chunk_pool_init(&pipeline->chunks, transfer_chunk_size(options->transfer_buffer));
	hasher_init(&pipeline->hasher, loop, &pipeline->env.soon);
	lease_start(pipeline);
	pipeline->due = true;
	pipeline_work_soon(pipeline);
	return pipeline;
}

void pipeline_take(struct pipeline *pipeline, const struct ledger_job *jobs, size_t count)
{
	REQUIRE(!pipeline->closing_handles || count == 0);
	for (size_t i = 0; i < count; i++)
		add_job(pipeline, &jobs[i]);
	pipeline_work_soon(pipeline);
}

void pipeline_wake(struct pipeline *pipeline)
{
	pipeline->due = true;
	pipeline_work_soon(pipeline);
}

void pipeline_set_keys(struct pipeline *pipeline, const struct private_keys *keys)
{
	pipeline->options.keys = keys;
}

void pipeline_reclaim(struct pipeline *pipeline)
{
	pipeline->reclaim = true;
	pipeline_wake(pipeline);
}

size_t pipeline_running(const struct pipeline *pipeline)
{
	return held_count(pipeline);
}

void pipeline_drain(struct pipeline *pipeline, void (*drained)(void *data), void *data)
{
	REQUIRE(!pipeline->draining && !pipeline->closing);
	pipeline->draining = true;
	pipeline->drained = drained;
	pipeline->drained_data = data;
	uv_timer_stop(&pipeline->poll);
	pipeline_work_soon(pipeline);
}

void pipeline_close(struct pipeline *pipeline, void (*closed)(void *data), void *data)
{
	if (pipeline->closing)
		return;
	pipeline->closing = true;
	pipeline->env.closing = true;
	pipeline->closed = closed;
	pipeline->closed_data = data;
	uv_timer_stop(&pipeline->poll);
	pipeline_work_soon(pipeline);
}

bool pipeline_twilio_up(const struct pipeline *pipeline)
{
	return pipeline->env.breakers[DEPENDENCY_TWILIO].state == BREAKER_CLOSED;
}

bool pipeline_store_up(const struct pipeline *pipeline)
{
	return pipeline->env.breakers[DEPENDENCY_STORE].state == BREAKER_CLOSED;
}
