/* SPDX-License-Identifier: MIT */
/*
 * Which way the statements of the Postgres ledger take to their rows when there are many, as the server counted it: each operation is done by the ledger itself,
 * with the plans that its prepared statements get, and neither calls nor recordings may be read from end to end. The ledger's sessions avoid sequential scans,
 * so that what has no index of its own reads another one from end to end: the rows tell that. What is small by nature (call_days, call_deltas) may be read whole.
 */
#include "factory_postgres.h"
#include "ledger/ledger_postgres.h"
#include "ledger_factory.h"
#include "ledger_support.h"

#include <stdlib.h>

#define ROWS "50000"
#define OWNER "reader"
/* A prepared statement is planned anew five times before the server may settle for one plan for all parameters. */
#define TIMES 8
#define BATCH 64
#define ROWS_MAX 1000 /* for one operation */
#define RUNNING 5000  /* recordings with a lease */

static struct ledger *ledger;
static unsigned next_new = 1000000; /* SIDs that the tables do not have */

static void setup(void)
{
	factory_setup();
	cr_assert_eq(uv_loop_init(&loop), 0);
	/* Nearly all are stored, as after a year; a few are in each state that somebody looks for. */
	factory_sql("INSERT INTO calls (twilio_sid, from_number, to_number, status, duration, rating, created_at) "
		    "SELECT 'CA' || lpad(to_hex(i), 32, '0'), '+15005550006', '+15005550001', 'COMPLETED', i % 3600, "
		    "CASE WHEN i % 20 = 0 THEN i % 5 + 1 END, now() - i % 400 * interval '1 day' FROM generate_series(1, " ROWS
		    ") i");
	factory_sql("INSERT INTO recordings (recording_sid, account_sid, call_sid, status, next_attempt_at, lease_owner, "
		    "lease_epoch, lease_expires_at, "
		    "key, stored_at, received_at, completed_at, updated_at, events) "
		    "SELECT 'RE' || lpad(to_hex(i), 32, '0'), 'AC' || lpad('1', 32, '0'), 'CA' || lpad(to_hex(i), 32, '0'), s, "
		    "CASE WHEN s = 'pending' THEN now() - interval '1 minute' + i / 10 % 30 * interval '1 hour' END, "
		    "CASE WHEN s = 'running' THEN CASE WHEN i % 2 = 0 THEN '" OWNER "' ELSE 'other' END END, 1, "
		    "CASE WHEN s = 'running' THEN now() + i / 20 % 100 * interval '1 minute' END, "
		    "'recordings/' || i, CASE WHEN s = 'stored' THEN now() END, now(), now(), now(), 1 "
		    "FROM (SELECT i, CASE WHEN i % 10 = 1 THEN 'pending' WHEN i % 20 IN (2, 3) THEN 'running' WHEN i % 200 = 4 "
		    "THEN 'dead' ELSE 'stored' END AS s "
		    "FROM generate_series(1, " ROWS ") i) x");
	factory_sql("INSERT INTO recording_events (recording_id, n, at, what) SELECT id, 1, now(), 'received' FROM recordings");
	factory_sql("ANALYZE");
}

static void teardown(void)
{
	cr_expect_eq(uv_loop_close(&loop), 0);
	factory_teardown();
}

TestSuite(ledger_postgres_plans, .init = setup, .fini = teardown, .timeout = 120);

static long number(const char *sql)
{
	return strtol(factory_sql(sql), NULL, 10);
}

#define OURS "schemaname = current_schema() AND relname IN ('calls', 'recordings')"

struct reads {
	long whole; /* calls or recordings, from end to end */
	long rows;  /* of them, and entries of their indexes */
};

/* A connection tells the server when it ends. */
static struct reads reads_so_far(void)
{
	uint64_t deadline = uv_hrtime() + UINT64_C(30000000000);
	while (number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "
		      "backend_type = 'client backend'") > 0)
		cr_assert_lt(uv_hrtime(), deadline, "a connection does not end");
	return (struct reads){
		.whole = number("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE " OURS),
		.rows = number("SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE " OURS
			       ") + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE " OURS ")"),
	};
}

/* Done by the ledger several times. An index may be read from end to end, too: so the rows are counted as well. */
static void check(const char *what, long rows_max, void (*operation)(unsigned time))
{
	struct reads before = reads_so_far();
	ledger = factory_open(&loop, OWNER);
	for (unsigned time = 0; time < TIMES; time++)
		operation(time);
	close_ledger(ledger);
	struct reads after = reads_so_far();
	cr_expect_eq(after.whole, before.whole, "%s reads a table from end to end", what);
	cr_expect_leq(after.rows - before.rows, TIMES * rows_max, "%s reads %ld rows, %d times", what, after.rows - before.rows,
		      TIMES);
}

static struct ledger_request answered(struct ledger_request request)
{
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	return request;
}

static void done(struct ledger_request request)
{
	request = answered(request);
	ledger_request_release(&request);
}

/* The n-th SID of the tables. */
static struct sid sid_of(const char *prefix, unsigned n)
{
	struct sid sid;
	snprintf(sid.text, sizeof(sid.text), "%.2s%032x", prefix, n);
	return sid;
}

static struct event recording_of(unsigned n, enum recording_status status)
{
	struct event event = recording_event(n, status);
	event.recording_sid = sid_of("RE", n);
	event.call_sid = sid_of("CA", n);
	return event;
}

static void forward(const struct event *events)
{
	done((struct ledger_request){.op = LEDGER_FORWARD, .events = events, .count = BATCH, .lease_max = 4});
}

static void forward_new_recordings(unsigned time)
{
	struct event events[BATCH];
	(void)time;
	for (unsigned i = 0; i < BATCH; i++)
		events[i] = recording_of(next_new++, i % 4 == 0 ? RECORDING_FAILED : RECORDING_COMPLETED);
	forward(events);
}

static void forward_known_recordings(unsigned time)
{
	struct event events[BATCH];
	for (unsigned i = 0; i < BATCH; i++)
		events[i] = recording_of(1 + time * 500 + i * 7, i % 2 == 0 ? RECORDING_COMPLETED : RECORDING_ABSENT);
	forward(events);
}

static void forward_unknown_status(unsigned time)
{
	struct event events[BATCH];
	for (unsigned i = 0; i < BATCH; i++)
		events[i] = recording_of(1 + time * 500 + i * 7, RECORDING_UNKNOWN);
	forward(events);
}

static void forward_calls(unsigned time)
{
	struct event events[BATCH];
	for (unsigned i = 0; i < BATCH; i++) {
		events[i] = call_event(0, i % 2 == 0 ? EVENT_CALL_STATUS : EVENT_CALL_INCOMING,
				       i % 2 == 0 ? "completed" : "ringing", i % 2 == 0 ? 7 : -1);
		events[i].call_sid = sid_of("CA", i % 3 == 0 ? next_new++ : 1 + time * 500 + i * 7);
	}
	forward(events);
}

static void claim(unsigned time)
{
	struct ledger_request claimed = answered((struct ledger_request){.op = LEDGER_CLAIM, .lease_max = 16});
	(void)time;
	cr_assert_eq(claimed.leased_count, 16);
	ledger_request_release(&claimed);
}

static void heartbeat(unsigned time)
{
	struct ledger_job jobs[BATCH] = {0};
	(void)time;
	for (unsigned i = 0; i < BATCH; i++) {
		jobs[i].recording_sid = sid_of("RE", 2 + 20 * (i + 1));
		jobs[i].epoch = 1;
	}
	struct ledger_request request = answered((struct ledger_request){.op = LEDGER_HEARTBEAT, .jobs = jobs, .count = BATCH});
	cr_assert_not(request.lost[0]);
	ledger_request_release(&request);
}

static void reclaim(unsigned time)
{
	struct ledger_job held = {.recording_sid = sid_of("RE", 22), .epoch = 1};
	(void)time;
	struct ledger_request request = answered(
		(struct ledger_request){.op = LEDGER_RECLAIM, .jobs = &held, .count = 1, .lease_max = 16});
	cr_assert_eq(request.leased_count, 16);
	ledger_request_release(&request);
}

static void whole_job(unsigned time)
{
	struct ledger_request claimed = answered((struct ledger_request){.op = LEDGER_CLAIM, .lease_max = 2});
	cr_assert_eq(claimed.leased_count, 2);
	const struct ledger_job *job = &claimed.leased[0];
	done((struct ledger_request){.op = LEDGER_LOOKUP_CALL, .call_sid = job->call_sid, .recording_sid = job->recording_sid});
	done((struct ledger_request){
		.op = LEDGER_CREATE_CALL,
		.call = {
			.call_sid = sid_of("CA", next_new++), .from = "+1", .to = "+2", .status = "completed", .duration_s = 3}});
	done((struct ledger_request){.op = LEDGER_STORED_OBJECT,
				     .recording_sid = job->recording_sid,
				     .epoch = job->epoch,
				     .object = {.key = "k.wav",
						.url = "file:///k.wav",
						.bytes = 1,
						.sha256 = "00",
						.content_type = "audio/wav",
						.duration_s = 2}});
	job = &claimed.leased[1];
	done((struct ledger_request){.op = LEDGER_FINISH,
				     .recording_sid = job->recording_sid,
				     .call_sid = job->call_sid,
				     .epoch = job->epoch,
				     .finish = {.outcome = time % 2 == 0 ? LEDGER_OUTCOME_DEAD : LEDGER_OUTCOME_WAIT,
						.delay_ms = 60000,
						.error = "no"}});
	ledger_request_release(&claimed);
}

static void stats(unsigned time)
{
	struct ledger_request request = answered((struct ledger_request){.op = LEDGER_STATS});
	(void)time;
	cr_expect_eq(request.stats->top_rated_count, LEDGER_STATS_CALLS);
	cr_expect_eq(request.stats->longest_count, LEDGER_STATS_CALLS);
	ledger_request_release(&request);
}

Test(ledger_postgres_plans, forwarding_claiming_heartbeats_and_figures_read_no_table_from_end_to_end)
{
	check("connecting", ROWS_MAX, stats);
	check("forwarding new recordings", ROWS_MAX, forward_new_recordings);
	check("forwarding known recordings", ROWS_MAX, forward_known_recordings);
	check("forwarding a status that nobody knows", ROWS_MAX, forward_unknown_status);
	check("forwarding calls", ROWS_MAX, forward_calls);
	check("claiming", ROWS_MAX, claim);
	check("a heartbeat", ROWS_MAX, heartbeat);
	/* May look at all that are running, which are as many as the replicas have at work. */
	check("asking leases back", ROWS_MAX + RUNNING, reclaim);
	check("a job", ROWS_MAX, whole_job);
	check("figures", ROWS_MAX, stats);
}

Test(ledger_postgres_plans, what_does_is_noticed)
{
	struct reads before = reads_so_far();
	factory_sql("SELECT count(*) FROM recordings WHERE last_error = 'x'");
	struct reads after = reads_so_far();
	cr_assert_gt(after.whole, before.whole);
	cr_assert_geq(after.rows - before.rows, 50000);
}
