/* SPDX-License-Identifier: MIT */
/* Many jobs at once: limits, outages, leases, shutdown. */
#include "loop/pipeline/fixture.h"

static void setup(void)
{
	fixture_init(40);
}

TestSuite(pressure, .init = setup, .fini = fixture_close, .timeout = 60);

static unsigned charged(void)
{
	unsigned total = 0;
	for (size_t i = 0; i < fx.ledger.count; i++)
		total += (unsigned)fx.ledger.rows[i].job.attempts;
	return total;
}

static bool all_stored(void)
{
	return fake_ledger_in(&fx.ledger, LEDGER_STORED) == fx.ledger.count;
}

Test(pressure, never_more_at_once_than_allowed_and_all_of_them_in_the_end)
{
	fixture_start();
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.twilio.most_in_flight, 4);
	cr_assert_eq(fx.store.count, 40);
	cr_assert_leq(fx.pipeline->job_count, 8);
}

Test(pressure, leases_no_more_than_twice_the_limit)
{
	fx.media.hang = true;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight == 4);
	for (int i = 0; i < 100; i++)
		uv_run(&fx.loop, UV_RUN_NOWAIT);
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_RUNNING), 8);
	cr_assert_eq(pipeline_running(fx.pipeline), 8);
	cr_assert_eq(pipeline_capacity(fx.pipeline), 0);
}

Test(pressure, a_slow_store_holds_the_download_back)
{
	fx.media = fake_media(200000);
	fx.store.slow_turns = 20;
	fixture_start();
	while (!all_stored()) {
		turn_run(&fx.loop);
		double held = METRIC_OF(METRIC_TRANSFER_BYTES, "in") - METRIC_OF(METRIC_TRANSFER_BYTES, "out");
		cr_assert_leq(held, 4 * 8192);
		if (fake_ledger_in(&fx.ledger, LEDGER_STORED) > 3)
			break;
	}
	cr_assert_gt(fx.twilio.paused, 100);
}

/* ---- 429 ---- */

static size_t tolerated;
static struct fake_answer throttling(struct fake_twilio *fake, const struct twilio_request *request)
{
	struct fake_answer answer = fake->in_flight > tolerated ? fake_failure(429) : fake_media(20000);
	answer.turns = 3;
	return answer;
}

Test(pressure, a_429_storm_halves_the_limit_charges_nobody_and_passes)
{
	fx.options.max_transfers = 16;
	tolerated = 5;
	fx.twilio.answer = throttling;
	fixture_start();
	RUN_UNTIL(fx.pipeline->env.gates.others.limit.current == 8);
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
	cr_assert_gt(METRIC_OF(METRIC_RETRIES, "transfer", "http_throttled"), 0);
	cr_assert_eq(fx.pipeline->env.breakers[DEPENDENCY_TWILIO].state, BREAKER_CLOSED);
}

Test(pressure, retry_after_is_handed_to_the_ledger)
{
	fx.options.retry_max_ms = 100000;
	fx.media = fake_failure(429);
	fx.media.retry_after_ms = 30000;
	fixture_start();
	RUN_UNTIL(fx.outcomes[LEDGER_OUTCOME_WAIT] >= 4);
	for (size_t i = 0; i < 4; i++)
		cr_assert(fx.ledger.rows[i].last_delay_ms >= 30000 && fx.ledger.rows[i].last_delay_ms <= 30001);
}

/* ---- outages ---- */

static bool down;
static long how_down;
static struct fake_answer sometimes_down(struct fake_twilio *fake, const struct twilio_request *request)
{
	return down ? fake_failure(how_down) : fake_media(20000);
}

static void outage(long how, unsigned most_charged)
{
	down = true;
	how_down = how;
	fx.twilio.answer = sometimes_down;
	fx.options.retry_max_ms = 20;
	fixture_start();
	RUN_UNTIL(!pipeline_twilio_up(fx.pipeline));
	uint64_t until = uv_hrtime() + 500000000;
	unsigned tried = fx.twilio.started[TWILIO_MEDIA];
	RUN_UNTIL(uv_hrtime() > until);
	cr_assert_eq(METRIC_OF(METRIC_DEPENDENCY_UP, "twilio"), 0);
	cr_assert_leq(charged(), most_charged);
	cr_assert(fx.turned_away_by[0] > 0 && fx.turned_away_by[1] == 0);
	/* Probes only: about one each 20 ms, not forty jobs as fast as they go. */
	cr_assert_leq(fx.twilio.started[TWILIO_MEDIA] - tried, 60);
	cr_assert_leq(fx.ledger.submitted[LEDGER_CLAIM], 200);
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_leq(charged(), most_charged);
	cr_assert(pipeline_twilio_up(fx.pipeline));
	cr_assert_eq(METRIC_OF(METRIC_DEPENDENCY_UP, "twilio"), 1);
}

Test(pressure, an_outage_with_nobody_there_burns_no_attempt)
{
	outage(ERR_CONNECT, 0);
}
Test(pressure, an_outage_of_names_burns_no_attempt)
{
	outage(ERR_RESOLVE, 0);
}
Test(pressure, an_outage_of_5xx_burns_no_attempt)
{
	outage(503, 0);
}
Test(pressure, an_outage_of_timeouts_burns_no_attempt)
{
	outage(ERR_TIMEOUT, 0);
}
Test(pressure, an_outage_of_cut_connections_burns_no_attempt)
{
	outage(ERR_RESET, 0);
}

static void an_outage_from_the_first_moment(size_t recordings)
{
	fx.options.max_attempts = 1; /* the first charge would be the end */
	fx.ledger.count = recordings;
	outage(500, 0);
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_DEAD), 0);
}

Test(pressure, an_outage_kills_nobody_where_one_attempt_is_all_there_is)
{
	an_outage_from_the_first_moment(40);
}

/* Fewer than can open the breaker for sure: what keeps them alive is that nobody gets past. */
Test(pressure, an_outage_with_one_recording_kills_nobody_either)
{
	down = true;
	how_down = 500;
	fx.twilio.answer = sometimes_down;
	fx.options.max_attempts = 1;
	fx.ledger.count = 1;
	fixture_start();
	RUN_UNTIL(fx.outcomes[LEDGER_OUTCOME_WAIT] == 20);
	cr_assert(pipeline_twilio_up(fx.pipeline), "one recording alone shows nothing about Twilio");
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
}

Test(pressure, an_outage_in_the_middle_of_work_charges_nobody)
{
	fx.options.max_attempts = 1;
	fx.options.retry_max_ms = 20;
	how_down = 500;
	fx.twilio.answer = sometimes_down;
	fixture_start();
	RUN_UNTIL(fake_ledger_in(&fx.ledger, LEDGER_STORED) >= 10);
	down = true;
	RUN_UNTIL(!pipeline_twilio_up(fx.pipeline));
	uint64_t until = uv_hrtime() + 200000000;
	RUN_UNTIL(uv_hrtime() > until);
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
}

static struct fake_answer down_for_deletion(struct fake_twilio *fake, const struct twilio_request *request)
{
	return down && request->op == TWILIO_DELETE_RECORDING ? fake_failure(500) : scripted(fake, request);
}

/* Media works, and is no witness against those that only wait for their deletion. */
Test(pressure, an_outage_of_deletion_alone_gives_up_no_deletion)
{
	down = true;
	fx.options.max_attempts = 1;
	fx.options.delete_from_twilio = true;
	fx.twilio.answer = down_for_deletion;
	fixture_start();
	RUN_UNTIL(fx.outcomes[LEDGER_OUTCOME_WAIT] >= 40);
	down = false;
	RUN_UNTIL(all_stored() && ALL_ENDED());
	cr_assert_eq(charged(), 0);
	for (size_t i = 0; i < fx.ledger.count; i++)
		cr_assert(fx.ledger.rows[i].deleted_at_twilio);
}

static int broken_store(struct fake_store *fake, enum fake_store_op op, const char *key)
{
	return down && op == FAKE_COMMIT ? ERR_STORE : 0;
}

Test(pressure, an_outage_of_the_store_burns_no_attempt)
{
	down = true;
	fx.options.max_attempts = 1;
	fx.options.retry_max_ms = 20;
	fx.store.fault = broken_store;
	fixture_start();
	RUN_UNTIL(!pipeline_store_up(fx.pipeline));
	uint64_t until = uv_hrtime() + 200000000;
	RUN_UNTIL(uv_hrtime() > until);
	cr_assert(fx.turned_away_by[0] == 0 && fx.turned_away_by[1] > 0);
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
}

static int full_disk(struct fake_store *fake, enum fake_store_op op, const char *key)
{
	return down && op == FAKE_WRITE ? ERR_NO_SPACE : 0;
}

Test(pressure, a_full_disk_burns_no_attempt_and_stops_downloading)
{
	down = true;
	fx.store.fault = full_disk;
	fx.options.retry_max_ms = 20;
	fixture_start();
	RUN_UNTIL(!pipeline_store_up(fx.pipeline));
	uint64_t until = uv_hrtime() + 300000000;
	unsigned tried = fx.twilio.started[TWILIO_MEDIA];
	RUN_UNTIL(uv_hrtime() > until);
	cr_assert_leq(fx.twilio.started[TWILIO_MEDIA] - tried, 40);
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
	cr_assert(pipeline_store_up(fx.pipeline));
}

static int ledger_down(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	return down ? ERR_LEDGER : 0;
}

Test(pressure, an_outage_of_the_ledger_burns_nothing_and_repeats_no_transfer)
{
	fx.ledger.fault = ledger_down;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight > 0);
	down = true;
	uint64_t until = uv_hrtime() + 300000000;
	RUN_UNTIL(uv_hrtime() > until);
	cr_assert_leq(fx.ledger.submitted[LEDGER_CLAIM] + fx.ledger.submitted[LEDGER_STORED_OBJECT], 400);
	down = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(charged(), 0);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 40);
}

Test(pressure, what_is_due_but_locked_by_somebody_is_asked_for_less_and_less)
{
	fx.ledger.locked = true;
	fixture_start();
	RUN_UNTIL(fx.ledger.submitted[LEDGER_CLAIM] == 1);
	uint64_t began = uv_hrtime();
	RUN_UNTIL(fx.ledger.submitted[LEDGER_CLAIM] == 5);
	cr_assert_geq(uv_hrtime() - began, 1400000000, "100, 200, 400, 800 ms");
	fx.ledger.locked = false;
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.pipeline->held_up, 0);
}

static struct fake_answer one_is_poison(struct fake_twilio *fake, const struct twilio_request *request)
{
	return strcmp(request->recording_sid.text, fx.ledger.rows[7].job.recording_sid.text) == 0 ? fake_failure(500)
												  : fake_media(20000);
}

Test(pressure, one_recording_that_twilio_cannot_serve_dies_alone)
{
	fx.twilio.answer = one_is_poison;
	fixture_start();
	fx.ledger.rows[39].status = LEDGER_STORED; /* not yet */
	RUN_UNTIL(fake_ledger_in(&fx.ledger, LEDGER_STORED) == 39);
	/* The last one to get past is the last witness; each accuses once. */
	while (fx.ledger.rows[7].status != LEDGER_DEAD) {
		unsigned failed = fx.outcomes[LEDGER_OUTCOME_WAIT] + fx.outcomes[LEDGER_OUTCOME_RETRY];
		cr_assert_lt(failed, 500);
		fx.ledger.rows[39].status = LEDGER_PENDING;
		fx.ledger.rows[39].job.stored = false;
		fx.ledger.rows[39].recorded = 0;
		pipeline_wake(fx.pipeline);
		RUN_UNTIL(fx.ledger.rows[39].status == LEDGER_STORED);
		RUN_UNTIL(fx.ledger.rows[7].status == LEDGER_DEAD ||
			  fx.outcomes[LEDGER_OUTCOME_WAIT] + fx.outcomes[LEDGER_OUTCOME_RETRY] > failed);
	}
	cr_assert_eq(fx.ledger.rows[7].job.attempts, 4);
	cr_assert_eq(charged(), 4);
	cr_assert(pipeline_twilio_up(fx.pipeline));
}

/* ---- leases ---- */

Test(pressure, a_job_that_lost_its_lease_stores_nothing_more)
{
	fx.ledger.count = 1; /* one is enough */
	fx.media.hang_after = true;
	fx.media.content_length = 40000;
	fixture_start();
	RUN_UNTIL(fx.store.ops[FAKE_WRITE] > 3);
	fx.ledger.rows[0].job.epoch++;
	lease_beat(fx.pipeline);
	RUN_UNTIL(pipeline_running(fx.pipeline) == 0);
	cr_assert_eq(fx.store.count, 0);
	cr_assert_eq(fx.store.ops[FAKE_ABORT], 1);
	cr_assert_eq(fx.store.ops[FAKE_COMMIT], 0);
	cr_assert_eq(fx.ledger.submitted[LEDGER_FINISH], 0);
	cr_assert_eq(fx.ledger.submitted[LEDGER_STORED_OBJECT], 0);
	cr_assert_eq(fx.ledger.rows[0].status, LEDGER_RUNNING, "changed although it is another's");
}

Test(pressure, a_heartbeat_keeps_what_is_ours)
{
	fx.ledger.count = 6;
	fx.media.turns = 200;
	fixture_start();
	RUN_UNTIL(pipeline_running(fx.pipeline) == 6);
	lease_beat(fx.pipeline);
	lease_beat(fx.pipeline); /* one at a time */
	RUN_UNTIL(fake_ledger_in(&fx.ledger, LEDGER_STORED) == 6);
	cr_assert_eq(fx.ledger.submitted[LEDGER_HEARTBEAT], 1);
}

Test(pressure, a_late_writer_with_an_old_epoch_changes_nothing)
{
	fx.ledger.count = 1;
	fx.media.turns = 50;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight == 1);
	fx.ledger.rows[0].job.epoch++; /* another replica; we do not know */
	RUN_UNTIL(pipeline_running(fx.pipeline) == 0);
	cr_assert_eq(fx.ledger.rows[0].recorded, 0);
	cr_assert_eq(fx.ledger.submitted[LEDGER_FINISH], 0);
	cr_assert_eq(fx.ledger.rows[0].status, LEDGER_RUNNING);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DONE], 0);
}

Test(pressure, the_same_recording_leased_to_us_again_waits_for_the_old_job_to_end)
{
	fx.ledger.count = 1;
	fx.media.hang = true;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight == 1);
	fx.media.hang = false;
	fake_ledger_steal(&fx.ledger, 0);
	pipeline_wake(fx.pipeline);
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.twilio.most_in_flight, 1, "two jobs of one recording at once");
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 2);
	cr_assert_eq(fx.store.objects[0].puts, 1);
}

Test(pressure, jobs_brought_by_the_forwarder_run_without_a_claim)
{
	fx.ledger.count = 3;
	struct ledger_job jobs[3];
	for (size_t i = 0; i < 3; i++) {
		fx.ledger.rows[i].status = LEDGER_RUNNING;
		fx.ledger.rows[i].job.epoch = 1;
		jobs[i] = fx.ledger.rows[i].job;
	}
	fixture_start();
	cr_assert_geq(pipeline_capacity(fx.pipeline), 3);
	pipeline_take(fx.pipeline, jobs, 3);
	pipeline_take(fx.pipeline, jobs, 3); /* known already */
	cr_assert_eq(pipeline_running(fx.pipeline), 3);
	memset(jobs, 0xee, sizeof(jobs));
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 3);
}

static unsigned answers_lost;
static int lose_claims(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	*after = true;
	if (request->op != LEDGER_CLAIM || answers_lost == 3)
		return 0;
	answers_lost++;
	return ERR_LEDGER;
}

Test(pressure, leases_whose_answer_was_lost_are_asked_back)
{
	answers_lost = 0;
	fx.ledger.fault = lose_claims;
	fixture_start();
	RUN_UNTIL(all_stored());
	cr_assert_eq(answers_lost, 3);
	cr_assert_geq(fx.ledger.submitted[LEDGER_RECLAIM], 3);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], fx.ledger.count, "each once");
	cr_assert_eq(charged(), 0);
	for (size_t i = 0; i < fx.ledger.count; i++)
		cr_assert_eq(fx.ledger.rows[i].leases, 1, "the lease it has is the one it got");
}

Test(pressure, leases_of_the_forwarder_are_asked_back_when_it_says_so)
{
	fx.ledger.count = 10;
	for (size_t i = 0; i < 10; i++) {
		fx.ledger.rows[i].status = LEDGER_RUNNING;
		fx.ledger.rows[i].job.epoch = 1;
	}
	struct ledger_job known = fx.ledger.rows[3].job;
	fixture_start();
	pipeline_take(fx.pipeline, &known, 1);
	RUN_UNTIL(fx.ledger.rows[3].status == LEDGER_STORED);
	cr_assert_eq(fx.ledger.submitted[LEDGER_RECLAIM], 0, "nobody said that it might be needed");
	pipeline_reclaim(fx.pipeline);
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 10);
	cr_assert_leq(fx.ledger.submitted[LEDGER_RECLAIM], 5);
}

Test(pressure, a_lease_that_comes_by_two_ways_is_one_job)
{
	fx.ledger.count = 1;
	fx.ledger.rows[0].status = LEDGER_RUNNING;
	fx.ledger.rows[0].job.epoch = 1;
	struct ledger_job job = fx.ledger.rows[0].job;
	fx.ledger.hold = true;
	fixture_start();
	pipeline_reclaim(fx.pipeline);
	RUN_UNTIL(fx.ledger.submitted[LEDGER_CLAIM] + fx.ledger.submitted[LEDGER_RECLAIM] > 0);
	pipeline_take(fx.pipeline, &job, 1); /* the forwarder's answer, while the other is on its way */
	fx.ledger.hold = false;
	fake_ledger_go(&fx.ledger);
	RUN_UNTIL(all_stored());
	cr_assert_eq(fx.ledger.submitted[LEDGER_RECLAIM], 1);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 1);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DONE], 1);
}

Test(pressure, more_than_it_can_hold_is_left_to_the_lease)
{
	struct ledger_job jobs[40];
	for (size_t i = 0; i < 40; i++) {
		fx.ledger.rows[i].status = LEDGER_RUNNING;
		fx.ledger.rows[i].job.epoch = 1;
		jobs[i] = fx.ledger.rows[i].job;
	}
	fixture_start();
	pipeline_take(fx.pipeline, jobs, 40);
	cr_assert_eq(pipeline_running(fx.pipeline), 16);
	RUN_UNTIL(fake_ledger_in(&fx.ledger, LEDGER_STORED) == 16);
}

/* ---- shutdown ---- */

static bool drained;
static void on_drained(void *data)
{
	drained = true;
}

Test(pressure, draining_finishes_what_runs_and_releases_what_waits)
{
	drained = false;
	fx.media.turns = 30;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight == 4);
	pipeline_drain(fx.pipeline, on_drained, NULL);
	cr_assert_not(drained, "drained inside drain");
	cr_assert_eq(pipeline_capacity(fx.pipeline), 0);
	RUN_UNTIL(drained);
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_STORED), 4);
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_RUNNING), 0);
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_PENDING), 36);
	cr_assert_eq(charged(), 0);
	cr_assert_eq(fx.twilio.started[TWILIO_MEDIA], 4);
}

Test(pressure, draining_with_nothing_to_do_is_over_soon)
{
	fx.ledger.count = 0;
	fixture_start();
	pipeline_drain(fx.pipeline, on_drained, NULL);
	RUN_UNTIL(drained);
}

/* Closes after `turns` turns of the loop: nothing may stay leased, half-written or charged, and the loop must close. */
static void close_after(unsigned turns, const char *variant)
{
	fixture_start();
	for (unsigned i = 0; i < turns; i++)
		uv_run(&fx.loop, UV_RUN_NOWAIT);
	pipeline_close(fx.pipeline, fixture_pipeline_closed, NULL);
	cr_assert_not(fx.closed);
	RUN_UNTIL(fx.closed);
	fx.pipeline = NULL;
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_RUNNING), 0, "%s, %u turns: left leased", variant, turns);
	cr_assert_eq(charged(), 0, "%s, %u turns: charged", variant, turns);
	for (size_t i = 0; i < fx.ledger.count; i++) {
		if (fx.ledger.rows[i].status == LEDGER_STORED)
			cr_assert_not_null(fake_store_find(&fx.store, fx.ledger.rows[i].job.key));
	}
	fixture_close();
}

#define SHUTDOWN_TURNS 120
static void close_at_every_turn(const char *variant, void (*arrange)(void))
{
	fixture_close();
	for (unsigned turns = 0; turns < SHUTDOWN_TURNS; turns++) {
		memset(&fx, 0, sizeof(fx));
		fixture_init(12);
		arrange();
		close_after(turns, variant);
	}
	memset(&fx, 0, sizeof(fx));
	fixture_init(1); /* for the teardown */
}

static void as_it_is(void) {}
static void with_purge(void)
{
	fx.options.delete_from_twilio = true;
}
static void with_slow_store(void)
{
	fx.store.slow_turns = 3;
	fx.media = fake_media(60000);
}
static void with_unknown_calls(void)
{
	for (size_t i = 0; i < fx.ledger.count; i++)
		fx.ledger.rows[i].call_known = false;
}
static void with_twilio_down(void)
{
	fx.media = fake_failure(ERR_CONNECT);
}
static unsigned ledger_fails_now;
static int ledger_flaky(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	return request->op == LEDGER_STORED_OBJECT && ++ledger_fails_now % 3 != 0 ? ERR_LEDGER : 0;
}
static void with_flaky_ledger(void)
{
	fx.ledger.fault = ledger_flaky;
}

Test(pressure, shutdown_at_every_turn)
{
	close_at_every_turn("plain", as_it_is);
}
Test(pressure, shutdown_at_every_turn_with_purge)
{
	close_at_every_turn("purge", with_purge);
}
Test(pressure, shutdown_at_every_turn_with_a_slow_store)
{
	close_at_every_turn("slow store", with_slow_store);
}
Test(pressure, shutdown_at_every_turn_with_unknown_calls)
{
	close_at_every_turn("unknown calls", with_unknown_calls);
}
Test(pressure, shutdown_at_every_turn_with_twilio_down)
{
	close_at_every_turn("twilio down", with_twilio_down);
}
Test(pressure, shutdown_at_every_turn_while_record_waits_for_the_ledger)
{
	close_at_every_turn("flaky ledger", with_flaky_ledger);
}

Test(pressure, closing_while_the_ledger_is_down_leaves_the_rest_to_the_leases)
{
	fx.ledger.fault = ledger_down;
	fixture_start();
	RUN_UNTIL(fx.twilio.in_flight == 4);
	down = true;
	pipeline_close(fx.pipeline, fixture_pipeline_closed, NULL);
	RUN_UNTIL(fx.closed);
	fx.pipeline = NULL;
	cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_RUNNING), 8);
}
