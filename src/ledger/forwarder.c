/* SPDX-License-Identifier: MIT */
/*
 *             commit, timer                   read done                answer 0
 *   IDLE ─────────────────▶ READING ────────────────────▶ COMMITTING ──────────▶ (checkpoint) ─▶ IDLE, or READING at once
 *                              │ error                        │ error
 *                              └──────────▶ WAITING ◀─────────┘     the batch is kept and sent again when the timer fires
 *
 * One batch at a time. Its events point into the read's buffer, which is released after the commit. The events are decoded on the pool thread that
 * reads; what it writes (events, count, scratch) is the loop's again when the read is done.
 *
 * The filter is asked only where it answers at once (the table in this process): asking Redis here would cost more than the ledger's own
 * answer, and intake has asked it already.
 */
#include "ledger/forwarder.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_BATCH 512
#define DEFAULT_BUSY 10000
#define DEFAULT_FLOOR_BATCH 512
#define DEFAULT_FLOOR_INTERVAL_MS 100
/* While yielding, the ledger gets one part in so many of the time: what a batch costs differs tenfold between ledgers. */
#define FLOOR_SHARE 200
#define FLOOR_WAIT_MAX_MS 2000
#define DEFAULT_LINGER_MS 20
/* As many as this are company enough. */
#define LINGER_EVENTS 64
#define DEFAULT_YIELD_EVENTS 500000
#define READ_BYTES (1024 * 1024)
#define BACKOFF_BASE_MS 100
#define BACKOFF_MAX_MS 5000
#define RATE_WINDOW_MS 100

enum state { IDLE, READING, COMMITTING, WAITING };

struct forwarder {
	struct forwarder_options options;
	enum state state;
	bool closing;
	int open_handles;
	uv_timer_t timer;
	void (*closed)(void *data);
	void *closed_data;

	/* The batch. */
	struct journal_read read;
	struct ledger_request request;
	struct event *events;
	uint64_t *sequences; /* in the journal, of each event */
	size_t count;        /* decoded and not dropped */
	size_t sent;         /* of them, by earlier requests */
	size_t limit;        /* a request takes at most so many: fewer while the ledger refuses one of them for good */
	bool loaded;
	char *scratch; /* pool thread while READING */
	size_t scratch_size;
	int decode_error;

	uint64_t after;    /* everything up to here is in the ledger */
	unsigned failures; /* in a row */
	bool unanswered;   /* a request may have been committed, for all we know */
	bool ask_filter;

	/* How fast webhooks come. */
	uint64_t sample_at;
	uint64_t sample_durable;
	uint64_t per_second;
	uint64_t next_floor_at;
	uint64_t batch_begun_at;
	uint64_t batch_ms; /* what the last batch took, reading included */
	uint64_t linger_until;
};

static void forwarder_pump(struct forwarder *self);

static void forwarder_maybe_closed(struct forwarder *self)
{
	if (!self->closing || self->open_handles > 0 || self->state == READING || self->state == COMMITTING)
		return;
	void (*closed)(void *data) = self->closed;
	void *data = self->closed_data;
	if (self->loaded)
		journal_read_release(&self->read);
	free(self->events);
	free(self->sequences);
	free(self->scratch);
	free(self);
	closed(data);
}

static void handle_closed(uv_handle_t *handle)
{
	struct forwarder *self = handle->data;
	self->open_handles--;
	forwarder_maybe_closed(self);
}

static void on_timer(uv_timer_t *timer)
{
	struct forwarder *self = timer->data;
	if (self->state == WAITING)
		self->state = IDLE;
	forwarder_pump(self);
}

static void wait_ms(struct forwarder *self, uint64_t delay)
{
	self->state = WAITING;
	uv_timer_start(&self->timer, on_timer, delay, 0);
}

static void back_off(struct forwarder *self, const char *what, int status, const struct error *error)
{
	uint64_t delay = backoff_full_jitter(BACKOFF_BASE_MS, BACKOFF_MAX_MS, self->failures);
	if (self->failures++ == 0)
		log_event(LOG_WARN, "forwarder.waiting", LOG_STR("what", what), LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", error == NULL ? NULL : error->detail), LOG_U64("delay_ms", delay));
	wait_ms(self, delay);
}

static uint64_t loop_now(const struct forwarder *self)
{
	return uv_now(self->timer.loop);
}

static void set_ledger_up(struct forwarder *self, bool up)
{
	metrics_get(self->options.metrics, METRIC_DEPENDENCY_UP, "ledger")->value = up ? 1 : 0;
	if (up && self->failures > 0) {
		log_event(LOG_INFO, "forwarder.resumed", LOG_U64("failures", self->failures));
		self->failures = 0;
	}
}

/* Drops the batch: all of it is in the ledger, or was known there already. */
static void finish_batch(struct forwarder *self)
{
	if (self->read.last > self->after)
		self->after = self->read.last;
	journal_read_release(&self->read);
	self->loaded = false;
	self->state = IDLE;
	self->batch_ms = loop_now(self) - self->batch_begun_at;
	journal_checkpoint(self->options.journal, self->after);
	if (self->options.committed != NULL)
		self->options.committed(self->options.data, self->after);
}

/* What the ledger now has, for the filter and for the pipeline. */
static size_t tell_filter(struct forwarder *self, const struct event *events, size_t count)
{
	size_t completed = 0;
	for (size_t i = 0; i < count; i++) {
		if (events[i].kind != EVENT_RECORDING)
			continue;
		idempotency_set_seen(self->options.filter, &events[i].recording_sid, events[i].status);
		completed += events[i].status == RECORDING_COMPLETED;
	}
	return completed;
}

static void log_refused(const struct event *event, const struct error *error)
{
	bool recording = event->kind == EVENT_RECORDING;
	log_event(LOG_ERROR, "forwarder.event_refused", LOG_STR("recording_sid", recording ? event->recording_sid.text : NULL),
		  LOG_STR("call_sid", event->call_sid.text),
		  LOG_STR("status", recording ? recording_status_name(event->status) : event->call_status),
		  LOG_STR("reason", err_name(error->code)), LOG_STR("detail", error->detail));
}

/* A request failed. True: its events are through with (one was stepped over), go on behind them. */
static bool request_failed(struct forwarder *self, int status)
{
	struct ledger_request *request = &self->request;
	if (status == ERR_CANCELLED) {
		back_off(self, "ledger", status, NULL);
		return false;
	}
	if (err_class(status) != ERR_CLASS_PERMANENT) {
		set_ledger_up(self, false);
		self->unanswered = true;
		back_off(self, "ledger", status, &request->error);
		return false;
	}
	if (request->count == 1) {
		log_refused(request->events, &request->error);
		if (self->options.refused != NULL)
			self->options.refused(self->options.data, self->sequences[self->sent]);
		return true;
	}
	self->limit = request->count / 2;
	self->state = IDLE;
	return false;
}

static void on_answer(struct ledger_request *request, int status)
{
	struct forwarder *self = request->data;
	size_t completed = 0;
	self->state = IDLE;
	if (status == 0) {
		set_ledger_up(self, true);
		self->linger_until = loop_now(self) + self->options.linger_ms;
		completed = tell_filter(self, request->events, request->count);
		metrics_get(self->options.metrics, METRIC_DUPLICATES, "ledger")->value += (double)request->duplicates;
	}
	if (status == 0 || request_failed(self, status)) {
		self->sent += request->count;
		self->limit = self->limit < self->options.max_batch / 2 ? self->limit * 2 : self->options.max_batch;
		if (self->sent == self->count)
			finish_batch(self);
	}
	if (status == 0 && request->leased_count > 0)
		self->options.leased(self->options.data, request->leased, request->leased_count);
	if (completed > 0)
		self->options.forwarded(self->options.data, completed);
	if (status == 0 && self->unanswered) {
		self->unanswered = false;
		if (self->options.answer_lost != NULL)
			self->options.answer_lost(self->options.data);
	}
	ledger_request_release(request);
	if (self->closing)
		forwarder_maybe_closed(self);
	else
		forwarder_pump(self);
}

static void send_batch(struct forwarder *self)
{
	size_t left = self->count - self->sent;
	self->request = (struct ledger_request){
		.op = LEDGER_FORWARD,
		.done = on_answer,
		.data = self,
		.events = self->events + self->sent,
		.count = left < self->limit ? left : self->limit,
		.lease_max = self->options.capacity(self->options.data),
	};
	self->state = COMMITTING;
	ledger_submit(self->options.ledger, &self->request);
}

/* Takes out what the filter knows to be in the ledger. */
static void drop_known(struct forwarder *self)
{
	size_t kept = 0;
	for (size_t i = 0; i < self->count; i++) {
		const struct event *event = &self->events[i];
		struct idempotency_question question;
		bool known = false;
		if (self->ask_filter && event->kind == EVENT_RECORDING && event->status != RECORDING_UNKNOWN) {
			idempotency_ask(self->options.filter, &question, &event->recording_sid, event->status);
			known = question.answer != IDEMPOTENCY_UNKNOWN;
			idempotency_forget(&question);
		}
		if (known) {
			metrics_get(self->options.metrics, METRIC_DUPLICATES, idempotency_kind(self->options.filter))->value++;
		} else if (kept++ != i) {
			self->events[kept - 1] = *event;
			self->sequences[kept - 1] = self->sequences[i];
		}
	}
	self->count = kept;
}

static void on_read(struct journal_read *read, int status)
{
	struct forwarder *self = read->data;
	self->state = IDLE;
	if (self->closing) {
		journal_read_release(read);
		forwarder_maybe_closed(self);
		return;
	}
	if (status == 0)
		status = self->decode_error;
	if (status == 0 && read->count == 0 && read->last <= self->after)
		status = ERR_IO; /* durable, yet not to be read */
	if (status != 0) {
		journal_read_release(read);
		back_off(self, "journal", status, NULL);
		return;
	}
	self->loaded = true;
	drop_known(self);
	forwarder_pump(self);
}

/* Pool thread. */
static void on_record(struct journal_read *read, const struct journal_record *record)
{
	struct forwarder *self = read->data;
	if (self->scratch_size < record->payload.len) {
		char *bigger = realloc(self->scratch, record->payload.len);
		if (bigger == NULL) {
			self->decode_error = ERR_NOMEM;
			return;
		}
		self->scratch = bigger;
		self->scratch_size = record->payload.len;
	}
	REQUIRE(self->count < self->options.max_batch);
	if (event_decode(&self->events[self->count], record->payload, self->scratch, self->scratch_size) == 0)
		self->sequences[self->count++] = record->sequence;
	else
		log_event(LOG_ERROR, "forwarder.undecodable_event", LOG_U64("sequence", record->sequence),
			  LOG_U64("bytes", record->payload.len));
}

static void read_batch(struct forwarder *self, size_t max)
{
	self->count = 0;
	self->sent = 0;
	self->decode_error = 0;
	self->batch_begun_at = loop_now(self);
	self->read = (struct journal_read){
		.after = self->after,
		.max_records = max,
		.max_bytes = READ_BYTES,
		.done = on_read,
		.data = self,
		.each = on_record,
	};
	self->state = READING;
	int status = journal_read(self->options.journal, &self->read);
	if (status != 0)
		back_off(self, "journal", status, NULL);
}

static uint64_t floor_wait(const struct forwarder *self)
{
	uint64_t wait = self->batch_ms * FLOOR_SHARE;
	if (wait > FLOOR_WAIT_MAX_MS)
		wait = FLOOR_WAIT_MAX_MS;
	return wait > self->options.floor_interval_ms ? wait : self->options.floor_interval_ms;
}

/* How many events to move now; 0: wait until next_floor_at. */
static size_t allowance(struct forwarder *self, const struct journal_stats *stats)
{
	uint64_t now = loop_now(self);
	uint64_t elapsed = now - self->sample_at;
	if (elapsed >= RATE_WINDOW_MS) {
		self->per_second = (stats->durable - self->sample_durable) * 1000 / elapsed;
		self->sample_at = now;
		self->sample_durable = stats->durable;
	}
	if (self->per_second < self->options.busy_per_second || stats->events >= self->options.yield_events || !stats->accepting)
		return self->options.max_batch;
	if (now < self->next_floor_at)
		return 0;
	self->next_floor_at = now + floor_wait(self);
	return self->options.floor_batch;
}

static void forwarder_pump(struct forwarder *self)
{
	if (self->closing || self->state != IDLE)
		return;
	if (self->loaded && self->sent < self->count) {
		send_batch(self);
		return;
	}
	if (self->loaded)
		finish_batch(self); /* nothing of it was news */
	struct journal_stats stats;
	journal_stats(self->options.journal, &stats);
	if (stats.durable <= self->after)
		return;
	if (stats.durable - self->after < LINGER_EVENTS && loop_now(self) < self->linger_until && stats.accepting) {
		wait_ms(self, self->linger_until - loop_now(self));
		return;
	}
	size_t max = allowance(self, &stats);
	if (max == 0)
		wait_ms(self, self->next_floor_at - loop_now(self));
	else
		read_batch(self, max);
}

static void on_commit(void *data)
{
	forwarder_pump(data);
}

struct forwarder *forwarder_new(uv_loop_t *loop, const struct forwarder_options *options)
{
	struct forwarder *self = calloc(1, sizeof(*self));
	if (self == NULL)
		return NULL;
	self->options = *options;
	struct forwarder_options *own = &self->options;
	own->max_batch = own->max_batch == 0 ? DEFAULT_BATCH : own->max_batch;
	own->busy_per_second = own->busy_per_second == 0 ? DEFAULT_BUSY : own->busy_per_second;
	own->floor_batch = own->floor_batch == 0 ? DEFAULT_FLOOR_BATCH : own->floor_batch;
	own->floor_batch = own->floor_batch > own->max_batch ? own->max_batch : own->floor_batch;
	own->floor_interval_ms = own->floor_interval_ms == 0 ? DEFAULT_FLOOR_INTERVAL_MS : own->floor_interval_ms;
	own->linger_ms = own->prompt ? 0 : own->linger_ms == 0 ? DEFAULT_LINGER_MS : own->linger_ms;
	own->yield_events = own->yield_events == 0 ? DEFAULT_YIELD_EVENTS : own->yield_events;
	self->limit = own->max_batch;
	self->events = calloc(own->max_batch, sizeof(*self->events));
	self->sequences = calloc(own->max_batch, sizeof(*self->sequences));
	if (self->events == NULL || self->sequences == NULL || uv_timer_init(loop, &self->timer) != 0) {
		free(self->events);
		free(self->sequences);
		free(self);
		return NULL;
	}
	self->timer.data = self;
	self->open_handles = 1;
	self->ask_filter = strcmp(idempotency_kind(own->filter), "local") == 0;

	struct journal_stats stats;
	journal_stats(own->journal, &stats);
	self->after = stats.checkpoint;
	self->sample_at = uv_now(loop);
	self->sample_durable = stats.durable;
	metrics_get(own->metrics, METRIC_DUPLICATES, idempotency_kind(own->filter));
	metrics_get(own->metrics, METRIC_DUPLICATES, "ledger");
	journal_on_commit(own->journal, on_commit, self);
	wait_ms(self, 0);
	return self;
}

void forwarder_close(struct forwarder *self, void (*closed)(void *data), void *data)
{
	REQUIRE(!self->closing);
	self->closing = true;
	self->closed = closed;
	self->closed_data = data;
	journal_on_commit(self->options.journal, NULL, NULL);
	uv_close((uv_handle_t *)&self->timer, handle_closed);
}
