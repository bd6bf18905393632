/* SPDX-License-Identifier: MIT */
/* What only the Postgres ledger has: a network, other replicas at the same moment, rules written a second time in SQL, migrations of many at once. */
#include "factory_postgres.h"
#include "ledger/ledger_postgres.h"
#include "ledger/ledger_rules.h"
#include "ledger/migrations.h"
#include "ledger_factory.h"
#include "ledger_support.h"
#include "loop/support/proxy.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct proxy *proxy;

static void setup(void)
{
	factory_setup();
	cr_assert_eq(uv_loop_init(&loop), 0);
	proxy = proxy_new(&loop, factory_postgres_port());
}

static void teardown(void)
{
	proxy_close(proxy);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	factory_teardown();
}

TestSuite(ledger_postgres, .init = setup, .fini = teardown, .timeout = 120);

static struct ledger *open_by(const char *owner, bool migrate)
{
	struct ledger *ledger;
	struct error error = {0};
	struct ledger_postgres_options options = {
		.url = factory_postgres_url(proxy_port(proxy)), .owner = owner, .migrate = migrate, .prepared = true};
	cr_assert_eq(ledger_postgres_open(&ledger, &loop, &options, &error), 0, "%s", error.detail);
	return ledger;
}

static void wait_up(struct ledger *ledger, bool up)
{
	uint64_t deadline = uv_hrtime() + 30000000000ULL;
	while (ledger_up(ledger) != up) {
		turn_run(&loop);
		cr_assert_lt(uv_hrtime(), deadline);
	}
}

static int ping(struct ledger *ledger, struct error *error)
{
	struct ledger_request request = {.op = LEDGER_PING};
	int status = wait_for(ledger, &request);
	*error = request.error;
	return status;
}

static int forward_by(struct ledger *ledger, const struct event *events, size_t count, size_t lease_max, struct ledger_job *job)
{
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = events, .count = count, .lease_max = lease_max};
	int status = wait_for(ledger, &request);
	if (status == 0 && job != NULL && request.leased_count > 0)
		*job = request.leased[0];
	ledger_request_release(&request);
	return status;
}

/* ---- the server comes and goes ---- */

Test(ledger_postgres, it_opens_while_the_server_is_away_and_is_up_when_it_comes)
{
	struct error error;
	proxy_down(proxy);
	struct ledger *ledger = open_by("a", true);
	cr_expect_str_eq(ledger_kind(ledger), "postgres");
	cr_expect_not(ledger_up(ledger));
	struct event event = recording_event(1, RECORDING_COMPLETED);
	for (int i = 0; i < 20; i++)
		cr_expect_eq(forward_by(ledger, &event, 1, 1, NULL), ERR_LEDGER,
			     "an outage: the event is kept, no attempt charged");
	cr_expect_eq(ping(ledger, &error), ERR_LEDGER);
	cr_expect_not_null(strstr(error.detail, "refused"), "%s", error.detail);
	cr_expect_null(strstr(error.detail, "s3cret"));
	cr_expect_not(ledger_up(ledger));
	proxy_up(proxy);
	wait_up(ledger, true);
	cr_expect_eq(forward_by(ledger, &event, 1, 1, NULL), 0);
	proxy_down(proxy);
	wait_up(ledger, false);
	proxy_up(proxy);
	wait_up(ledger, true);
	close_ledger(ledger);
}

Test(ledger_postgres, a_url_that_cannot_be_read_is_refused_at_once)
{
	struct ledger *ledger;
	struct error error = {0};
	struct ledger_postgres_options options = {.url = "postgresql://u:s3cret%@h/d", .owner = "a"};
	cr_expect_eq(ledger_postgres_open(&ledger, &loop, &options, &error), ERR_CONFIG);
	cr_expect_null(ledger);
	cr_expect_null(strstr(error.detail, "s3cret"));
	cr_expect_eq(ledger_postgres_migrate("no URL", NULL, &error), ERR_CONFIG);
}

/* An answer that is lost after any of its steps: the caller does it again, and there is one effect. */
Test(ledger_postgres, a_connection_that_breaks_at_any_turn_leaves_one_effect)
{
	enum { TURNS = 16 };
	struct event call = call_event(1, EVENT_CALL_INCOMING, "completed", -1);
	struct ledger *ledger = open_by("a", false);
	cr_assert_eq(forward_by(ledger, &call, 1, 0, NULL), 0);
	for (unsigned turns = 0; turns < TURNS; turns++) {
		struct event event = recording_event(turns, RECORDING_COMPLETED);
		event.call_sid = make_sid("CA", 1);
		struct ledger_job job = {.recording_sid = event.recording_sid, .epoch = 1};
		struct ledger_request steps[] = {
			{.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = 1},
			{.op = LEDGER_STORED_OBJECT,
			 .recording_sid = job.recording_sid,
			 .epoch = 1,
			 .object = {.key = "k",
				    .url = "file:///k",
				    .bytes = 1,
				    .sha256 = "00",
				    .duration_s = 3,
				    .keep_lease = true}},
			{.op = LEDGER_FINISH,
			 .recording_sid = job.recording_sid,
			 .epoch = 1,
			 .finish = {.outcome = LEDGER_OUTCOME_DONE, .deleted_at_twilio = true}},
		};
		for (size_t i = 0; i < 3; i++) {
			struct waited waited = {.submitted = true};
			steps[i].done = waited_done;
			steps[i].data = &waited;
			ledger_submit(ledger, &steps[i]);
			for (unsigned turn = 0; turn < turns; turn++)
				uv_run(&loop, UV_RUN_NOWAIT);
			proxy_cut(proxy);
			while (!waited.done)
				turn_run(&loop);
			cr_expect(waited.status == 0 || waited.status == ERR_LEDGER, "%s", steps[i].error.detail);
			ledger_request_release(&steps[i]);
			while (waited.status == ERR_LEDGER) {
				waited.status = wait_for(ledger, &steps[i]);
				ledger_request_release(&steps[i]);
			}
			cr_expect_eq(waited.status, 0, "step %zu cut after %u turns: %s", i, turns, steps[i].error.detail);
		}
	}
	char text[16];
	snprintf(text, sizeof(text), "%d", TURNS);
	cr_expect_str_eq(
		factory_sql("SELECT count(*) FROM recordings WHERE status = 'stored' AND lease_epoch = 1 AND attempts = 0"),
		text);
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings r WHERE events <> (SELECT max(n) FROM recording_events "
				     "WHERE recording_id = r.id)"),
			 "0");
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recording_events WHERE what = 'leased'"), text);
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recording_events WHERE what = 'purged'"), text);
	cr_expect_str_eq(factory_sql("SELECT recording_url || duration FROM calls"), "file:///k3");
	close_ledger(ledger);
}

/* The batch was committed and its answer cut off: its sender gets the leases at once, nobody else does, and each of them once. */
Test(ledger_postgres, leases_whose_answer_was_cut_off_come_back_to_their_owner)
{
	enum { TURNS = 24 };
	struct ledger *ledger = open_by("a", false);
	struct ledger *other = open_by("b", false);
	unsigned orphans = 0;
	wait_up(other, true);
	for (unsigned turns = 0; turns < TURNS; turns++) {
		struct event event = recording_event(turns, RECORDING_COMPLETED);
		struct ledger_request forward = {.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = 1};
		struct waited waited = {.submitted = true};
		wait_up(ledger, true);
		forward.done = waited_done;
		forward.data = &waited;
		ledger_submit(ledger, &forward);
		for (unsigned turn = 0; turn < turns; turn++)
			uv_run(&loop, UV_RUN_NOWAIT);
		proxy_cut(proxy);
		while (!waited.done)
			turn_run(&loop);
		unsigned told = (unsigned)forward.leased_count;
		ledger_request_release(&forward);
		/* As the forwarder does it: the same batch again, which waits for what the cut connection had begun. */
		while (waited.status != 0) {
			waited.status = wait_for(ledger, &forward);
			told += (unsigned)forward.leased_count;
			ledger_request_release(&forward);
		}
		struct ledger_job job = {.recording_sid = event.recording_sid, .epoch = 1};
		int status;
		do { /* the other lane was cut as well */
			struct ledger_request reclaim = {
				.op = LEDGER_RECLAIM, .jobs = &job, .count = told > 0 ? 1 : 0, .lease_max = 8};
			status = wait_for(ledger, &reclaim);
			if (status == 0) {
				cr_expect_eq(reclaim.leased_count, 1 - told, "turn %u: told of %u", turns, told);
				orphans += (unsigned)reclaim.leased_count;
			}
			ledger_request_release(&reclaim);
			if (status == 0) {
				reclaim = (struct ledger_request){.op = LEDGER_RECLAIM, .lease_max = 8};
				wait_up(other, true);
				if (wait_for(other, &reclaim) == 0)
					cr_expect_eq(reclaim.leased_count, 0);
				ledger_request_release(&reclaim);
			}
		} while (status != 0);
		struct ledger_request finish = {.op = LEDGER_FINISH,
						.recording_sid = job.recording_sid,
						.epoch = 1,
						.finish = {.outcome = LEDGER_OUTCOME_SKIPPED}};
		cr_expect_eq(wait_for(ledger, &finish), 0, "%s", finish.error.detail);
		ledger_request_release(&finish);
	}
	cr_expect_str_eq(factory_sql("SELECT count(*) FROM recordings WHERE lease_epoch <> 1 OR attempts <> 0"), "0");
	cr_expect_gt(orphans, 0, "no cut fell between a commit and its answer");
	close_ledger(ledger);
	close_ledger(other);
}

/* ---- the rules, in SQL ---- */

static const enum recording_status words[] = {RECORDING_UNKNOWN, RECORDING_IN_PROGRESS, RECORDING_COMPLETED, RECORDING_ABSENT,
					      RECORDING_FAILED};
#define WORDS (sizeof(words) / sizeof(words[0]))

Test(ledger_postgres, an_event_changes_what_the_rules_say_whatever_the_recording_is)
{
	char sql[512];
	char status[16];
	struct ledger *ledger = open_by("a", false);
	unsigned n = 0;
	for (int was = 0; was < LEDGER_STATUS_COUNT; was++) {
		for (int known = 0; known < 2; known++) {
			for (size_t w = 0; w < WORDS; w++, n++) {
				struct event event = recording_event(n, words[w]);
				snprintf(sql, sizeof(sql),
					 "INSERT INTO recordings (recording_sid, status, received_at, completed_at, updated_at) "
					 "VALUES ('%s', '%s', now(), %s, now())",
					 event.recording_sid.text, ledger_status_name((enum ledger_status)was),
					 known ? "now()" : "NULL");
				factory_sql(sql);
				cr_assert_eq(forward_by(ledger, &event, 1, 0, NULL), 0);
				snprintf(sql, sizeof(sql), "SELECT status FROM recordings WHERE recording_sid = '%s'",
					 event.recording_sid.text);
				snprintf(status, sizeof(status), "%s", factory_sql(sql));
				enum ledger_status expected = (enum ledger_status)was;
				switch (ledger_rule_event((enum ledger_status)was, known, false, words[w])) {
				case LEDGER_CHANGE_START:
					expected = LEDGER_PENDING;
					break;
				case LEDGER_CHANGE_END:
					expected = ledger_rule_first(words[w]);
					break;
				case LEDGER_CHANGE_KEEP:
				case LEDGER_CHANGE_NONE:
					break;
				}
				cr_expect_str_eq(status, ledger_status_name(expected), "%s, completed %d, then %s: %s",
						 ledger_status_name((enum ledger_status)was), known,
						 recording_status_name(words[w]), status);
			}
		}
	}
	close_ledger(ledger);
}

Test(ledger_postgres, a_call_advances_as_the_rules_say)
{
	static const char *const twilio[CALL_STATUS_COUNT] = {"ringing", "in-progress", "completed", "failed", "no-answer"};
	char sql[256];
	unsigned n = 0;
	struct ledger *ledger = open_by("a", false);
	for (int from = 0; from < CALL_STATUS_COUNT; from++) {
		for (int to = 0; to < CALL_STATUS_COUNT; to++, n++) {
			struct event events[] = {call_event(n, EVENT_CALL_STATUS, twilio[from], -1),
						 call_event(n, EVENT_CALL_STATUS, twilio[to], -1)};
			cr_assert_eq(forward_by(ledger, events, 2, 0, NULL), 0);
			bool advances = call_status_advances((enum call_status)from, (enum call_status)to);
			snprintf(sql, sizeof(sql), "SELECT status FROM calls WHERE twilio_sid = '%s'", make_sid("CA", n).text);
			cr_expect_str_eq(factory_sql(sql), call_status_name((enum call_status)(advances ? to : from)));
		}
	}
	close_ledger(ledger);
}

Test(ledger_postgres, events_of_one_recording_in_one_batch_count_in_their_order)
{
	struct event events[] = {recording_event(1, RECORDING_IN_PROGRESS), recording_event(2, RECORDING_COMPLETED),
				 recording_event(1, RECORDING_ABSENT),      recording_event(1, RECORDING_COMPLETED),
				 recording_event(1, RECORDING_ABSENT),      recording_event(2, RECORDING_COMPLETED),
				 recording_event(3, RECORDING_FAILED),      recording_event(3, RECORDING_UNKNOWN),
				 recording_event(3, RECORDING_UNKNOWN)};
	struct ledger *ledger = open_by("a", false);
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = events, .count = 9, .lease_max = 9};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	cr_expect_eq(request.leased_count, 2);
	cr_expect_eq(request.duplicates, 3, "%zu", request.duplicates);
	ledger_request_release(&request);
	cr_expect_str_eq(
		factory_sql(
			"SELECT string_agg(r.status || ':' || t.trail, ' ' ORDER BY r.received_at) FROM recordings r JOIN "
			"(SELECT recording_id, "
			"string_agg(what, ',' ORDER BY n) AS trail FROM recording_events GROUP BY 1) t ON t.recording_id = r.id"),
		"running:received,received,received,leased running:received,leased failed:received,received");
	close_ledger(ledger);
}

/* ---- other replicas ---- */

enum { RACERS = 3, RACED = 300 };

struct racer {
	struct ledger *ledger;
	struct ledger_request request;
	struct event events[RACED];
	unsigned *leased; /* by recording: how often */
	size_t got;
	bool idle;
};

static void count_leases(struct racer *racer, const struct ledger_request *request)
{
	for (size_t i = 0; i < request->leased_count; i++) {
		unsigned n = (unsigned)strtoul(request->leased[i].recording_sid.text + 10, NULL, 16);
		cr_assert_lt(n, RACED);
		cr_expect_eq(request->leased[i].epoch, 1);
		racer->leased[n]++;
		racer->got++;
	}
}

static void race_on(struct racer *racer);

static void raced(struct ledger_request *request, int status)
{
	struct racer *racer = request->data;
	cr_expect_eq(status, 0, "%s", request->error.detail);
	count_leases(racer, request);
	racer->idle = request->op == LEDGER_CLAIM && request->leased_count == 0 && request->next_due_ms != 0;
	ledger_request_release(request);
	if (!racer->idle)
		race_on(racer);
}

static void race_on(struct racer *racer)
{
	racer->request = (struct ledger_request){.op = LEDGER_CLAIM, .lease_max = 7, .done = raced, .data = racer};
	ledger_submit(racer->ledger, &racer->request);
}

/* All get all events, in different orders, at the same time, and then claim what is left. */
Test(ledger_postgres, of_many_replicas_one_gets_each_recording)
{
	static struct racer racers[RACERS];
	static unsigned leased[RACED];
	char owner[2] = "a";
	for (unsigned r = 0; r < RACERS; r++, owner[0]++) {
		struct racer *racer = &racers[r];
		racer->ledger = open_by(owner, true);
		racer->leased = leased;
		for (unsigned i = 0; i < RACED; i++)
			racer->events[i] = recording_event(r % 2 == 0 ? i : RACED - 1 - i, RECORDING_COMPLETED);
		wait_up(racer->ledger, true);
	}
	for (unsigned r = 0; r < RACERS; r++) {
		racers[r].request = (struct ledger_request){.op = LEDGER_FORWARD,
							    .events = racers[r].events,
							    .count = RACED,
							    .lease_max = 50,
							    .done = raced,
							    .data = &racers[r]};
		ledger_submit(racers[r].ledger, &racers[r].request);
	}
	while (!racers[0].idle || !racers[1].idle || !racers[2].idle)
		turn_run(&loop);
	for (unsigned i = 0; i < RACED; i++)
		cr_expect_eq(leased[i], 1, "recording %u was leased %u times", i, leased[i]);
	cr_expect_str_eq(factory_sql("SELECT count(*) || ' ' || max(lease_epoch) || ' ' || max(events) FROM recordings"),
			 "300 1 2");
	for (unsigned r = 0; r < RACERS; r++)
		close_ledger(racers[r].ledger);
}

struct pair {
	struct ledger_request requests[2];
	unsigned answered;
};

static void pair_done(struct ledger_request *request, int status)
{
	struct pair *pair = request->data;
	(void)status;
	pair->answered++;
	ledger_request_release(request);
}

/* The lease runs out while its owner is about to write: whoever is first, the row is one of the two outcomes and not a mix. */
Test(ledger_postgres, a_late_writer_and_a_taker_at_the_same_time_do_not_mix)
{
	struct ledger *owner = open_by("a", false);
	struct ledger *taker = open_by("b", false);
	wait_up(owner, true);
	wait_up(taker, true);
	for (unsigned n = 0; n < 40; n++) {
		struct ledger_job job;
		struct event event = recording_event(n, RECORDING_COMPLETED);
		struct pair pair = {0};
		cr_assert_eq(forward_by(owner, &event, 1, 1, &job), 0);
		factory_pass_time(LEDGER_LEASE_MS + 1);
		pair.requests[0] = (struct ledger_request){
			.op = LEDGER_STORED_OBJECT,
			.recording_sid = job.recording_sid,
			.epoch = job.epoch,
			.object = {.key = "k", .url = "file:///k", .bytes = 1, .sha256 = "00", .duration_s = -1},
			.done = pair_done,
			.data = &pair};
		pair.requests[1] = (struct ledger_request){.op = LEDGER_CLAIM, .lease_max = 1, .done = pair_done, .data = &pair};
		ledger_submit(n % 2 == 0 ? owner : taker, &pair.requests[n % 2]);
		ledger_submit(n % 2 == 0 ? taker : owner, &pair.requests[1 - n % 2]);
		while (pair.answered < 2)
			turn_run(&loop);
		cr_expect_str_eq(
			factory_sql("SELECT count(*) FROM recordings WHERE NOT ("
				    "status = 'stored' AND lease_epoch = 1 AND lease_owner IS NULL AND url IS NOT NULL OR "
				    "status = 'running' AND lease_epoch = 2 AND lease_owner = 'b' AND url IS NULL)"),
			"0");
		factory_sql("DELETE FROM recordings");
	}
	close_ledger(owner);
	close_ledger(taker);
}

/* ---- counts ---- */

Test(ledger_postgres, many_stored_ones_are_counted_by_the_planners_estimate)
{
	/* Only what counting needs: the rows are quicker made. */
	factory_sql("DROP INDEX recordings_sid, recordings_due, recordings_leased");
	factory_sql(
		"INSERT INTO recordings (recording_sid, status, received_at, updated_at) SELECT 'RE' || lpad(i::text, 32, '0'), "
		"CASE WHEN i <= 5 THEN 'dead' ELSE 'stored' END, now(), now() FROM generate_series(1, 120005) i");
	factory_sql("ANALYZE recordings");
	struct ledger *ledger = open_by("a", false);
	struct ledger_request request = {.op = LEDGER_COUNTS};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	cr_expect_eq(request.counts[LEDGER_DEAD], 5);
	cr_expect(request.counts[LEDGER_STORED] > 110000 && request.counts[LEDGER_STORED] < 130000, "%lld",
		  (long long)request.counts[LEDGER_STORED]);
	ledger_request_release(&request);
	close_ledger(ledger);
}

/* ---- plans ---- */

Test(ledger_postgres, a_page_of_twilios_list_is_compared_by_the_index)
{
	char sql[2048];
	factory_sql("INSERT INTO recordings (recording_sid, status, received_at, updated_at) SELECT 'RE' || lpad(to_hex(i), 32, "
		    "'0'), "
		    "'stored', now(), now() FROM generate_series(1, 20000) i");
	factory_sql("ANALYZE recordings");
	/* Planned without knowing how long the page is, as the prepared statement is. */
	cr_assert_lt(snprintf(sql, sizeof(sql),
			      "SET plan_cache_mode = force_generic_plan; PREPARE page (uuid[]) AS %s; "
			      "EXPLAIN (FORMAT JSON) EXECUTE page ('{00000000-0000-0000-0000-000000000007}')",
			      ledger_postgres_sql[QUERY_STANDINGS]),
		     (int)sizeof(sql));
	const char *plan = factory_sql(sql);
	cr_expect_not_null(strstr(plan, "recordings_sid"), "%s", plan);
	cr_expect_null(strstr(plan, "Seq Scan"), "%s", plan);
}

/* Many wait for an account while the ledger is full of what is stored: neither is read through. */
Test(ledger_postgres, what_waits_for_something_is_found_by_the_index)
{
	char sql[4096];
	factory_sql(
		"INSERT INTO recordings (recording_sid, status, received_at, updated_at, next_attempt_at, waits_for) "
		"SELECT 'RE' || lpad(to_hex(i), 32, '0'), CASE WHEN i % 4 = 0 THEN 'pending' ELSE 'stored' END, now(), now(), "
		"CASE WHEN i % 4 = 0 THEN now() END, CASE WHEN i % 4 = 0 THEN 'AC' || i % 3 END FROM generate_series(1, 20000) "
		"i");
	factory_sql("ANALYZE recordings");
	cr_assert_lt(snprintf(sql, sizeof(sql),
			      "SET plan_cache_mode = force_generic_plan; PREPARE waiting (text, bigint, bigint, text) AS %s; "
			      "EXPLAIN (FORMAT JSON) EXECUTE waiting ('a', 45000, 64, 'AC1')",
			      ledger_postgres_sql[QUERY_CLAIM_WAITING]),
		     (int)sizeof(sql));
	const char *plan = factory_sql(sql);
	cr_expect_not_null(strstr(plan, "recordings_waiting"), "%s", plan);
	cr_expect_null(strstr(plan, "\"Sort Key\": [\"recordings.next_attempt_at\"]"), "%s", plan);
}

/* ---- migrations ---- */

/* The rights of docs/postgres.md, and a person's who may only change calls. */
Test(ledger_postgres, the_documented_rights_suffice)
{
	char sql[1024];
	char role_url[512];
	struct ledger *ledger;
	struct error error = {0};
	struct ledger_job job;
	snprintf(sql, sizeof(sql),
		 "DO $$ BEGIN CREATE ROLE r_%d LOGIN; CREATE ROLE p_%d; EXECUTE 'GRANT USAGE ON SCHEMA ' || current_schema() || "
		 "' TO r_%d, p_%d'; END $$",
		 (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid());
	factory_sql(sql);
	snprintf(sql, sizeof(sql),
		 "GRANT SELECT, INSERT, UPDATE ON calls, recordings, call_days TO r_%d; "
		 "GRANT SELECT, INSERT, UPDATE, DELETE ON recording_events TO r_%d; "
		 "GRANT SELECT, DELETE ON call_deltas TO r_%d; GRANT SELECT ON schema_migrations, call_segments TO r_%d; "
		 "GRANT SELECT, UPDATE ON reconcile TO r_%d; GRANT SELECT, INSERT, UPDATE, DELETE ON reconcile_progress TO r_%d; "
		 "GRANT SELECT, UPDATE, DELETE ON calls TO p_%d",
		 (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid(), (int)getpid());
	factory_sql(sql);
	const char *url = factory_postgres_url(0);
	const char *at = strchr(url, '@');
	snprintf(role_url, sizeof(role_url), "postgresql://r_%d%s", (int)getpid(), at);
	cr_assert_eq(ledger_postgres_open(&ledger, &loop,
					  &(struct ledger_postgres_options){.url = role_url, .owner = "a", .prepared = true},
					  &error),
		     0);
	struct event events[2] = {call_event(1, EVENT_CALL_INCOMING, "completed", 7), recording_event(1, RECORDING_COMPLETED)};
	cr_expect_eq(forward_by(ledger, events, 2, 1, &job), 0);
	snprintf(sql, sizeof(sql), "SET ROLE p_%d; UPDATE calls SET duration = 8; RESET ROLE", (int)getpid());
	factory_sql(sql);
	static const enum ledger_op asked[] = {
		LEDGER_STATS,          LEDGER_COUNTS,         LEDGER_LIST,         LEDGER_GET,
		LEDGER_RETRY,          LEDGER_DELETED_OBJECT, LEDGER_STATS,        LEDGER_RECONCILE_BEGIN,
		LEDGER_RECONCILE_SAVE, LEDGER_RECONCILE_LOAD, LEDGER_RECONCILE_END};
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		struct ledger_request request = {.op = asked[i],
						 .recording_sid = make_sid("RE", 1),
						 .status_filter = -1,
						 .reconcile = {.epoch = 1, .account_sid = make_sid("AC", 1)}};
		cr_expect_eq(wait_for(ledger, &request), 0, "%d: %s", (int)asked[i], request.error.detail);
		if (asked[i] == LEDGER_STATS && request.stats != NULL)
			cr_expect_eq(request.stats->seconds, 8);
		ledger_request_release(&request);
	}
	close_ledger(ledger);
	snprintf(sql, sizeof(sql), "DROP OWNED BY r_%d, p_%d; DROP ROLE r_%d; DROP ROLE p_%d", (int)getpid(), (int)getpid(),
		 (int)getpid(), (int)getpid());
	factory_sql(sql);
}

static void drop_schema(void)
{
	/* All that migrations made, whatever it is. */
	factory_sql("DO $$ DECLARE name text; BEGIN "
		    "FOR name IN SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace "
		    "AND c.relkind = 'r' LOOP "
		    "EXECUTE 'DROP TABLE ' || name || ' CASCADE'; END LOOP; "
		    "FOR name IN SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace "
		    "AND p.prokind = 'f' LOOP "
		    "EXECUTE 'DROP FUNCTION ' || name || ' CASCADE'; END LOOP; "
		    "DROP TYPE IF EXISTS call_status CASCADE; END $$");
}

Test(ledger_postgres, several_processes_starting_at_once_apply_each_migration_once)
{
	enum { PROCESSES = 4 };
	pid_t pids[PROCESSES];
	int gate[2];
	drop_schema();
	cr_assert_eq(pipe(gate), 0);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char go;
			size_t applied = 0;
			close(gate[1]);
			ssize_t closed = read(gate[0], &go, 1); /* all of them go when the parent closes its end */
			int status = closed == 0 ? ledger_postgres_migrate(factory_postgres_url(0), &applied, NULL) : 1;
			_exit(status != 0 ? 99 : (int)applied);
		}
		cr_assert_gt(pids[i], 0);
	}
	close(gate[0]);
	close(gate[1]);
	size_t applied = 0;
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert(WIFEXITED(status) && WEXITSTATUS(status) != 99, "a process could not migrate");
		applied += (size_t)WEXITSTATUS(status);
	}
	cr_expect_eq(applied, migrations_postgres.count);
}

Test(ledger_postgres, replicas_that_start_together_on_an_empty_database_all_come_up)
{
	struct ledger *ledgers[4];
	drop_schema();
	for (int i = 0; i < 4; i++)
		ledgers[i] = open_by("a", true);
	for (int i = 0; i < 4; i++)
		wait_up(ledgers[i], true);
	for (int i = 0; i < 4; i++)
		close_ledger(ledgers[i]);
}

Test(ledger_postgres, without_its_migrations_it_is_down_until_somebody_applies_them)
{
	struct error error;
	size_t applied = 0;
	drop_schema();
	struct ledger *ledger = open_by("a", false);
	cr_expect_eq(ping(ledger, &error), ERR_LEDGER);
	cr_expect_not_null(strstr(error.detail, "reeld migrate"), "%s", error.detail);
	cr_expect_eq(ledger_postgres_migrate(factory_postgres_url(0), &applied, &error), 0, "%s", error.detail);
	cr_expect_eq(applied, migrations_postgres.count);
	wait_up(ledger, true);
	close_ledger(ledger);
	cr_expect_eq(ledger_postgres_migrate(factory_postgres_url(0), &applied, &error), 0);
	cr_expect_eq(applied, 0);
}

Test(ledger_postgres, an_edited_or_a_newer_migration_is_noticed_and_nothing_is_written)
{
	struct error error;
	factory_sql("INSERT INTO schema_migrations (number, name, sha256) VALUES (99, '0099_newer', 'x')");
	cr_expect_eq(ledger_postgres_migrate(factory_postgres_url(0), NULL, &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, "newer reeld"), "%s", error.detail);
	factory_sql("DELETE FROM schema_migrations WHERE number = 99; UPDATE schema_migrations SET sha256 = 'edited'");
	cr_expect_eq(ledger_postgres_migrate(factory_postgres_url(0), NULL, &error), ERR_CORRUPT);
	cr_expect_not_null(strstr(error.detail, "0001_initial"), "%s", error.detail);
	struct ledger *ledger = open_by("a", true);
	cr_expect_eq(ping(ledger, &error), ERR_LEDGER, "the daemon keeps its events and says why");
	cr_expect_not_null(strstr(error.detail, "0001_initial"), "%s", error.detail);
	close_ledger(ledger);
}

Test(ledger_postgres, the_migrations_make_the_contracts_tables)
{
	for (size_t i = 0; i < migrations_postgres.count; i++)
		cr_expect_eq(migrations_postgres.list[i].number, (int64_t)i + 1);
	factory_sql("SELECT id, twilio_sid, from_number, to_number, status, duration, recording_url, transcript_url, rating, "
		    "notes, tags, "
		    "created_at, updated_at FROM calls");
	factory_sql("SELECT id, call_id, speaker, text, timestamp, created_at FROM call_segments");
	factory_sql("SELECT account_sid, call_sid, conference_sid, status, attempts, next_attempt_at, lease_owner, "
		    "lease_expires_at, last_error, "
		    "key, url, bytes, md5, sha256, content_type, duration, channels, source, start_time, received_at, stored_at, "
		    "deleted_at_twilio_at FROM recordings");
	factory_sql("SELECT recording_id, at, what, detail FROM recording_events");
	cr_expect_str_eq(factory_sql("SELECT string_agg(e::text, ',' ORDER BY e) FROM unnest(enum_range(NULL::call_status)) e"),
			 "RINGING,IN_PROGRESS,COMPLETED,FAILED,NO_ANSWER");
	factory_sql("INSERT INTO calls (twilio_sid, rating, tags) VALUES ('CAx', 5, '{scam}')");
}
