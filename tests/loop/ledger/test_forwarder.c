/* SPDX-License-Identifier: MIT */
/* The forwarder between a real journal and a real ledger; a ledger in between fails on demand. */
#include "ledger/forwarder.h"

#include "base/clock.h"
#include "base/log.h"
#include "ledger_factory.h"
#include "ledger_support.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[64];
static struct metrics *metrics;
static struct journal *journal;
static struct ledger *ledger;
static struct idempotency *filter;
static struct forwarder *forwarder;

/* What the pipeline was given. */
static size_t capacity;
static size_t leased;
static size_t forwarded;

/* Stands before the ledger. */
struct gate {
	struct ledger base;
	int fail_with;        /* every FORWARD, before it reaches the ledger */
	const char *fail_sid; /* only those that hold this recording */
	bool answer_lost;     /* the ledger commits, the answer is an error */
	unsigned requests;
	size_t largest;
	uv_timer_t later;
	struct ledger_request *waiting;
	ledger_cb *lost_done;
};
static struct gate gate;

static void gate_answer(uv_timer_t *timer)
{
	struct gate *self = timer->data;
	struct ledger_request *request = self->waiting;
	self->waiting = NULL;
	request->done(request, self->fail_with);
}

static void gate_lost(struct ledger_request *request, int status)
{
	cr_expect_eq(status, 0);
	gate.answer_lost = false;
	ledger_request_release(request);
	request->leased_count = 0;
	request->done = gate.lost_done;
	request->done(request, ERR_LEDGER);
}

static void gate_submit(struct ledger *base, struct ledger_request *request)
{
	struct gate *self = (struct gate *)base;
	self->requests++;
	self->largest = request->count > self->largest ? request->count : self->largest;
	bool fails = self->fail_with != 0 && self->fail_sid == NULL;
	for (size_t i = 0; i < request->count; i++)
		fails |= self->fail_sid != NULL && strcmp(request->events[i].recording_sid.text, self->fail_sid) == 0;
	if (fails) {
		self->waiting = request;
		uv_timer_start(&self->later, gate_answer, 0, 0);
		return;
	}
	if (self->answer_lost) {
		self->lost_done = request->done;
		request->done = gate_lost;
	}
	ledger_submit(ledger, request);
}

static bool gate_up(const struct ledger *base)
{
	(void)base;
	return true;
}

static const struct ledger_ops gate_ops = {.kind = "gate", .submit = gate_submit, .up = gate_up};

static size_t take_capacity(void *data)
{
	(void)data;
	return capacity;
}

static void take_leased(void *data, const struct ledger_job *jobs, size_t count)
{
	(void)data;
	cr_expect_neq(jobs[0].recording_sid.text[0], '\0');
	cr_expect_leq(count, capacity);
	leased += count;
}

static void take_forwarded(void *data, size_t count)
{
	(void)data;
	forwarded += count;
}

static void open_journal(void)
{
	struct error error = {0};
	cr_assert_eq(journal_open(&journal, &loop, &(struct journal_options){directory, 64 << 20, 1 << 20, 0, metrics}, &error),
		     0, "%s", error.detail);
}

static void close_journal(void)
{
	bool closed = false;
	journal_close(journal, flag_closed, &closed);
	while (!closed)
		turn_run(&loop);
	journal = NULL;
}

/* How often the forwarder said that an answer was lost, and how many requests it had made by then. */
static unsigned lost_told;
static unsigned lost_told_after;

static void take_answer_lost(void *data)
{
	(void)data;
	lost_told++;
	lost_told_after = gate.requests;
}

/* What was refused, and how often; whether it was told only then that the ledger is through with it. */
static uint64_t refused;
static unsigned refusals;
static bool refused_too_late;

static void take_refused(void *data, uint64_t sequence)
{
	(void)data;
	refused = sequence;
	refusals++;
}

static void take_committed(void *data, uint64_t sequence)
{
	(void)data;
	refused_too_late |= gate.fail_sid != NULL && sequence >= 58 && refusals == 0;
}

static struct forwarder_options options(void)
{
	return (struct forwarder_options){.journal = journal,
					  .ledger = &gate.base,
					  .filter = filter,
					  .metrics = metrics,
					  .capacity = take_capacity,
					  .leased = take_leased,
					  .forwarded = take_forwarded,
					  .answer_lost = take_answer_lost,
					  .committed = take_committed,
					  .refused = take_refused};
}

static void start_with(struct forwarder_options with)
{
	forwarder = forwarder_new(&loop, &with);
	cr_assert_not_null(forwarder);
}

static void stop(void)
{
	bool closed = false;
	forwarder_close(forwarder, flag_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	while (!closed)
		turn_run(&loop);
	forwarder = NULL;
}

static void setup(void)
{
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	factory_setup();
	strcpy(directory, "/tmp/reeld-forward-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	cr_assert_eq(uv_loop_init(&loop), 0);
	metrics = metrics_new();
	cr_assert_not_null(metrics);
	ledger = factory_open(&loop, "a");
	filter = idempotency_local_new(&loop, 1024);
	gate.base.ops = &gate_ops;
	uv_timer_init(&loop, &gate.later);
	gate.later.data = &gate;
	capacity = 1000;
	open_journal();
}

static void teardown(void)
{
	if (forwarder != NULL)
		stop();
	close_journal();
	close_ledger(ledger);
	bool closed = false;
	idempotency_close(filter, flag_closed, &closed);
	uv_close((uv_handle_t *)&gate.later, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	metrics_free(&metrics);
	factory_teardown();
	DIR *dir = opendir(directory);
	for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
		char path[512];
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		unlink(path);
	}
	closedir(dir);
	rmdir(directory);
}

TestSuite(forwarder, .init = setup, .fini = teardown, .timeout = 60);

static unsigned appended;

static void append_done(struct journal_append *append, int status)
{
	cr_expect_eq(status, 0);
	appended++;
	free(append);
}

static void append_raw(const void *head, size_t head_len, const char *params)
{
	struct journal_append *append = calloc(1, sizeof(*append));
	append->done = append_done;
	struct slice parts[2] = {slice_make(head, head_len), slice_from_cstr(params)};
	cr_assert_eq(journal_append(journal, append, parts, 2), 0);
}

static void append_recording(unsigned n, const char *status)
{
	char params[512];
	unsigned char head[EVENT_HEADER_SIZE];
	snprintf(params, sizeof(params), "RecordingSid=%s&CallSid=%s&AccountSid=%s&RecordingStatus=%s&RecordingDuration=7",
		 make_sid("RE", n).text, make_sid("CA", n).text, make_sid("AC", 1).text, status);
	event_encode_header(head, EVENT_RECORDING, 1700000000000, strlen(params));
	append_raw(head, sizeof(head), params);
}

static void append_call(unsigned n, enum event_kind kind, const char *status)
{
	char params[512];
	unsigned char head[EVENT_HEADER_SIZE];
	snprintf(params, sizeof(params),
		 "CallSid=%s&AccountSid=%s&CallStatus=%s&From=client%%3Aearl&RecordingSid=%s&RecordingStatus=completed",
		 make_sid("CA", n).text, make_sid("AC", 1).text, status, make_sid("RE", n).text);
	event_encode_header(head, kind, 1700000000000, strlen(params));
	append_raw(head, sizeof(head), params);
}

static void wait_appended(unsigned count)
{
	while (appended < count)
		turn_run(&loop);
}

static struct journal_stats stats(void)
{
	struct journal_stats now;
	journal_stats(journal, &now);
	return now;
}

/* Turns until everything in the journal is in the ledger. */
static void wait_drained(void)
{
	while (stats().checkpoint < stats().durable)
		turn_run(&loop);
}

static double counter(enum metric_id id, const char *label)
{
	return metrics_get(metrics, id, label)->value;
}

static const char *rows(void)
{
	return factory_sql("SELECT count(*) FROM recordings");
}

Test(forwarder, what_the_journal_holds_is_forwarded_and_leased_as_far_as_the_pipeline_takes_it)
{
	capacity = 30;
	for (unsigned n = 0; n < 100; n++)
		append_recording(n, n < 90 ? "completed" : "in-progress");
	wait_appended(100);
	start_with(options());
	wait_drained();
	cr_expect_str_eq(rows(), "100");
	cr_expect_eq(leased, 30);
	cr_expect_eq(forwarded, 90);
	cr_expect_eq(counter(METRIC_DEPENDENCY_UP, "ledger"), 1);
}

Test(forwarder, what_is_committed_later_follows_by_itself)
{
	start_with(options());
	for (unsigned n = 0; n < 700; n++)
		append_recording(n, "completed");
	wait_appended(700);
	wait_drained();
	cr_expect_str_eq(rows(), "700");
	cr_expect_leq(gate.largest, 512);
}

/* Appends one event each turn, for as long as a few batches take, and returns how many requests carried them. */
static unsigned requests_of_a_trickle(struct forwarder_options with)
{
	start_with(with);
	append_recording(0, "completed");
	wait_appended(1);
	wait_drained();
	cr_expect_eq(gate.requests, 1, "the first one waits for nobody");
	uint64_t end = uv_now(&loop) + 100;
	unsigned n = 1;
	for (; uv_now(&loop) < end || n < 50; n++) {
		append_recording(n, "completed");
		wait_appended(n + 1);
		turn_run(&loop);
	}
	wait_drained();
	cr_expect_eq(leased, n);
	return gate.requests;
}

Test(forwarder, a_trickle_is_gathered_into_batches)
{
	struct forwarder_options with = options();
	with.linger_ms = 200;
	/* However slow the machine: fewer than one request each 200 ms and the few at the ends. */
	uint64_t began = uv_now(&loop);
	unsigned requests = requests_of_a_trickle(with);
	cr_expect_leq(requests, 3 + (uv_now(&loop) - began) / 200, "%u", requests);
}

Test(forwarder, nothing_is_gathered_when_somebody_waits)
{
	struct forwarder_options with = options();
	with.linger_ms = 600000;
	with.prompt = true;
	cr_expect_gt(requests_of_a_trickle(with), 5);
}

Test(forwarder, what_the_filter_knows_does_not_reach_the_ledger)
{
	append_recording(1, "completed");
	wait_appended(1);
	start_with(options());
	wait_drained();
	cr_expect_eq(gate.requests, 1);
	append_recording(1, "completed");
	append_recording(1, "completed");
	wait_appended(3);
	wait_drained();
	cr_expect_eq(gate.requests, 1);
	cr_expect_eq(counter(METRIC_DUPLICATES, "local"), 2);
	cr_expect_eq(counter(METRIC_DUPLICATES, "ledger"), 0);
}

/* Also one that speaks of a recording which the filter knows, and one that is the same as another. */
Test(forwarder, events_of_calls_reach_the_ledger_whatever_the_filter_knows)
{
	struct sid sid = make_sid("RE", 1);
	for (int status = RECORDING_IN_PROGRESS; status <= RECORDING_FAILED; status++)
		idempotency_set_seen(filter, &sid, (enum recording_status)status);
	for (unsigned n = 1; n <= 3; n++) {
		append_call(n, EVENT_CALL_STATUS, "in-progress");
		append_recording(n, "completed");
		append_call(n, EVENT_CALL_INCOMING, "ringing");
	}
	append_call(1, EVENT_CALL_STATUS, "parked");
	append_call(1, EVENT_CALL_STATUS, "completed");
	wait_appended(11);
	start_with(options());
	wait_drained();
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM calls WHERE status = 'IN_PROGRESS' AND from_number = 'client:earl'"),
			 "2");
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM calls WHERE status = 'COMPLETED'"), "1");
	cr_expect_str_eq(rows(), "2", "the recording that the filter knows was dropped, and no call made one");
	cr_expect_eq(forwarded, 2);
	cr_expect_eq(leased, 2);
	cr_expect_eq(counter(METRIC_DUPLICATES, "local"), 1);
	struct idempotency_question question;
	sid = make_sid("RE", 3);
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_eq(question.answer, IDEMPOTENCY_SEEN);
	sid = make_sid("RE", 4);
	append_call(4, EVENT_CALL_STATUS, "completed");
	wait_appended(12);
	wait_drained();
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_eq(question.answer, IDEMPOTENCY_UNKNOWN, "a call's event says nothing about a recording");
}

Test(forwarder, a_filter_that_forgot_costs_a_question_to_the_ledger_and_nothing_else)
{
	append_recording(1, "completed");
	append_recording(1, "completed");
	append_recording(2, "paused");
	wait_appended(3);
	start_with(options());
	wait_drained();
	struct sid sid = make_sid("RE", 1);
	idempotency_clear(filter, &sid);
	append_recording(1, "completed");
	append_recording(2, "paused");
	wait_appended(5);
	wait_drained();
	cr_expect_eq(counter(METRIC_DUPLICATES, "ledger"), 3, "an unknown status is never dropped before the ledger");
	cr_expect_str_eq(rows(), "2");
	cr_expect_eq(leased, 1);
}

Test(forwarder, while_the_ledger_is_away_the_events_stay_and_then_drain)
{
	gate.fail_with = ERR_LEDGER;
	for (unsigned n = 0; n < 10; n++)
		append_recording(n, "completed");
	wait_appended(10);
	start_with(options());
	while (gate.requests < 3)
		turn_run(&loop);
	cr_expect_eq(stats().checkpoint, 0);
	cr_expect_eq(stats().events, 10);
	cr_expect_eq(counter(METRIC_DEPENDENCY_UP, "ledger"), 0);
	struct sid sid = make_sid("RE", 1);
	struct idempotency_question question;
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_eq(question.answer, IDEMPOTENCY_UNKNOWN, "seen is said only of what is committed");
	idempotency_forget(&question);
	gate.fail_with = 0;
	wait_drained();
	cr_expect_str_eq(rows(), "10");
	cr_expect_eq(counter(METRIC_DEPENDENCY_UP, "ledger"), 1);
}

Test(forwarder, a_commit_whose_answer_was_lost_is_forwarded_again_without_harm)
{
	gate.answer_lost = true;
	for (unsigned n = 0; n < 10; n++)
		append_recording(n, "completed");
	wait_appended(10);
	start_with(options());
	wait_drained();
	cr_expect_eq(gate.requests, 2);
	cr_expect(lost_told == 1 && lost_told_after == 2, "told once, when the ledger had answered");
	cr_expect_str_eq(rows(), "10");
	cr_expect_eq(counter(METRIC_DUPLICATES, "ledger"), 10);
	cr_expect_str_eq(factory_sql("SELECT max(lease_epoch) FROM recordings"), "1");
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recording_events WHERE what = 'received'"), "10");
}

Test(forwarder, an_event_that_the_ledger_refuses_for_good_does_not_hold_up_the_others)
{
	char sid[SID_LEN + 1];
	strcpy(sid, make_sid("RE", 57).text);
	gate.fail_with = ERR_INVALID;
	gate.fail_sid = sid;
	/* The filter's gaps do not shift what is told. */
	struct sid known = make_sid("RE", 3);
	idempotency_set_seen(filter, &known, RECORDING_COMPLETED);
	for (unsigned n = 0; n < 200; n++)
		append_recording(n, "completed");
	wait_appended(200);
	start_with(options());
	wait_drained();
	cr_expect_str_eq(rows(), "198");
	cr_expect_eq(leased, 198);
	cr_expect_eq(refusals, 1);
	cr_expect_eq(refused, 58, "sequences begin with 1: %llu", (unsigned long long)refused);
	cr_expect_not(refused_too_late);
}

Test(forwarder, a_record_that_is_no_event_is_stepped_over)
{
	append_recording(1, "completed");
	append_raw("garbage", 7, "");
	append_recording(2, "completed");
	wait_appended(3);
	start_with(options());
	wait_drained();
	cr_expect_str_eq(rows(), "2");
}

Test(forwarder, a_restart_goes_on_where_the_checkpoint_is)
{
	for (unsigned n = 0; n < 20; n++)
		append_recording(n, "completed");
	wait_appended(20);
	start_with(options());
	wait_drained();
	stop();
	for (unsigned n = 20; n < 30; n++)
		append_recording(n, "completed");
	wait_appended(30);
	close_journal();
	open_journal();
	gate.requests = 0;
	start_with(options());
	wait_drained();
	cr_expect_eq(gate.requests, 1);
	cr_expect_str_eq(rows(), "30");
}

Test(forwarder, in_a_burst_only_the_floor_moves_and_afterwards_everything)
{
	struct forwarder_options with = options();
	with.busy_per_second = 50;
	with.floor_batch = 5;
	with.floor_interval_ms = 30;
	start_with(with);
	uint64_t start = clock_mono_ns();
	unsigned n = 0;
	while (clock_mono_ns() - start < 500 * 1000000ULL) {
		if (n == appended) {
			for (unsigned i = 0; i < 4; i++)
				append_recording(n++, "completed");
		}
		turn_run(&loop);
	}
	wait_appended(n);
	uint64_t moved = stats().checkpoint;
	cr_expect_gt(moved, 0, "the floor moved");
	cr_expect_lt(moved, n / 2, "%llu of %u moved", (unsigned long long)moved, n);
	wait_drained();
	cr_expect_eq(stats().events, 0);
}

Test(forwarder, a_burst_without_end_is_not_yielded_to)
{
	struct forwarder_options with = options();
	with.busy_per_second = 1;
	with.floor_batch = 1;
	with.floor_interval_ms = 100000;
	with.yield_events = 50;
	for (unsigned n = 0; n < 300; n++)
		append_recording(n, "completed");
	wait_appended(300);
	start_with(with);
	while (stats().events > 50)
		turn_run(&loop);
}

Test(forwarder, closed_at_every_loop_turn_it_loses_and_doubles_nothing)
{
	unsigned n = 0;
	for (int turns = 0; turns < 25; turns++) {
		for (int i = 0; i < 3; i++)
			append_recording(n++, "completed");
		wait_appended(n);
		start_with(options());
		for (int i = 0; i < turns; i++)
			turn_run(&loop);
		stop();
	}
	start_with(options());
	wait_drained();
	char count[16];
	snprintf(count, sizeof(count), "%u", n);
	cr_expect_str_eq(rows(), count);
	cr_expect_eq(leased, n);
	cr_expect_str_eq(factory_sql("SELECT max(lease_epoch) FROM recordings"), "1");
}

Test(forwarder, closed_while_it_waits_for_the_ledger)
{
	gate.fail_with = ERR_LEDGER;
	append_recording(1, "completed");
	wait_appended(1);
	start_with(options());
	while (gate.requests < 2)
		turn_run(&loop);
	stop();
	cr_expect_eq(stats().checkpoint, 0);
}
