/* SPDX-License-Identifier: MIT */
/* Two accounts, of which Twilio refuses one: the other's recordings must not notice. */
#include "loop/pipeline/fixture.h"

#include "twilio/accounts.h"

static bool refused;
static struct fake_answer refusal;

static bool is_second(const struct sid *account_sid)
{
	return strcmp(account_sid->text, fake_sid("AC", 2).text) == 0;
}

static struct fake_answer refusing(struct fake_twilio *fake, const struct twilio_request *request)
{
	return refused && is_second(&request->account_sid) ? refusal : scripted(fake, request);
}

/* Every second recording is of the second account. */
static void begin(size_t recordings)
{
	fixture_init(recordings);
	for (size_t i = 1; i < recordings; i += 2)
		fx.ledger.rows[i].job.account_sid = fake_sid("AC", 2);
	fx.options.retry_max_ms = 3600000;
	fx.options.max_attempts = 1;
	fx.twilio.answer = refusing;
	refused = true;
	refusal = fake_failure(401);
}

static void setup(void)
{
	begin(40);
}

TestSuite(accounts, .init = setup, .fini = fixture_close, .timeout = 60);

static void set_accounts(void)
{
	struct twilio_accounts *accounts = twilio_accounts_new();
	cr_assert_eq(twilio_accounts_add(accounts, fake_sid("AC", 1).text, "token", NULL, NULL, NULL), 0);
	cr_assert_eq(twilio_accounts_add(accounts, fake_sid("AC", 2).text, "token", NULL, NULL, NULL), 0);
	cr_assert_eq(pipeline_set_accounts(fx.pipeline, accounts), 0);
	twilio_accounts_free(&accounts);
}

static void start(void)
{
	fixture_start();
	set_accounts();
}

static size_t stored_of(bool second)
{
	size_t found = 0;
	for (size_t i = 0; i < fx.ledger.count; i++)
		found += fx.ledger.rows[i].status == LEDGER_STORED && is_second(&fx.ledger.rows[i].job.account_sid) == second;
	return found;
}

static unsigned leases(void)
{
	unsigned total = 0;
	for (size_t i = 0; i < fx.ledger.count; i++)
		total += fx.ledger.rows[i].leases;
	return total;
}

static size_t waiting_for(const char *name)
{
	size_t found = 0;
	for (size_t i = 0; i < fx.ledger.count; i++)
		found += strcmp(fx.ledger.rows[i].waits_for, name) == 0;
	return found;
}

static void expect_nothing_charged(void)
{
	for (size_t i = 0; i < fx.ledger.count; i++)
		cr_assert_eq(fx.ledger.rows[i].job.attempts, 0);
	cr_assert_eq(fx.outcomes[LEDGER_OUTCOME_DEAD], 0);
}

static void run_for(uint64_t ms)
{
	uint64_t until = uv_hrtime() + ms * 1000000;
	RUN_UNTIL(uv_hrtime() > until);
}

/* From the first to the last: the one is held back, the other flows, and then everything comes through. */
static void one_account_is_refused(void)
{
	start();
	RUN_UNTIL(stored_of(false) == 20 && METRIC_OF(METRIC_ACCOUNTS_HELD) == 1);
	RUN_UNTIL(waiting_for(fake_sid("AC", 2).text) >= 19);
	cr_assert_eq(stored_of(true), 0);
	cr_assert(pipeline_twilio_up(fx.pipeline), "Twilio itself works");
	cr_assert_eq(METRIC_OF(METRIC_DEPENDENCY_UP, "twilio"), 1);
	RUN_UNTIL(pipeline_capacity(fx.pipeline) == 2 * fx.options.max_transfers); /* new recordings are taken in */
	unsigned before = leases();
	run_for(300);
	cr_assert_leq(leases() - before, 20, "only probes: %u", leases() - before);
	expect_nothing_charged();
	refused = false;
	RUN_UNTIL(stored_of(true) == 20);
	expect_nothing_charged();
	cr_assert_eq(METRIC_OF(METRIC_ACCOUNTS_HELD), 0);
}

Test(accounts, refused_credentials_hold_back_the_recordings_of_their_account_alone)
{
	one_account_is_refused();
	cr_assert_gt(METRIC_OF(METRIC_RETRIES, "queue", "account_held"), 0);
}

Test(accounts, a_403_in_twilios_words_is_the_accounts)
{
	refusal = fake_failure(403);
	one_account_is_refused();
}

Test(accounts, a_429_without_end_is_the_accounts)
{
	refusal = fake_failure(429);
	start();
	RUN_UNTIL(stored_of(false) == 20);
	cr_assert_eq(fx.pipeline->env.gates.restricting, 1);
	cr_assert(pipeline_twilio_up(fx.pipeline));
	refused = false;
	RUN_UNTIL(stored_of(true) == 20);
	expect_nothing_charged();
}

Test(accounts, one_at_a_time_and_still_429_holds_the_account_back)
{
	fx.options.max_transfers = 1;
	refusal = fake_failure(429);
	one_account_is_refused();
}

Test(accounts, a_403_that_is_not_in_twilios_words_is_an_outage_for_all)
{
	refusal = fake_failure(403);
	refusal.foreign = true;
	start();
	RUN_UNTIL(!pipeline_twilio_up(fx.pipeline));
	cr_assert_eq(METRIC_OF(METRIC_ACCOUNTS_HELD), 0);
	refused = false;
	RUN_UNTIL(stored_of(false) == 20 && stored_of(true) == 20);
	expect_nothing_charged();
}

Test(accounts, nobody_there_is_an_outage_for_all)
{
	refusal = fake_failure(ERR_CONNECT);
	for (size_t i = 0; i < fx.ledger.count; i++)
		fx.ledger.rows[i].job.account_sid = fake_sid("AC", 2);
	start();
	RUN_UNTIL(!pipeline_twilio_up(fx.pipeline));
	cr_assert_eq(METRIC_OF(METRIC_ACCOUNTS_HELD), 0);
	refused = false;
	RUN_UNTIL(stored_of(true) == 40);
}

Test(accounts, an_account_that_is_held_back_costs_no_lease_where_it_is_the_only_one)
{
	for (size_t i = 0; i < fx.ledger.count; i++)
		fx.ledger.rows[i].job.account_sid = fake_sid("AC", 2);
	fixture_start(); /* without accounts all are one */
	RUN_UNTIL(METRIC_OF(METRIC_ACCOUNTS_HELD) == 1);
	run_for(300);
	cr_assert_leq(leases(), 30);
	cr_assert_leq(fx.ledger.submitted[LEDGER_CLAIM] + fx.ledger.submitted[LEDGER_CLAIM_WAITING], 60);
	refused = false;
	RUN_UNTIL(stored_of(true) == 40);
	expect_nothing_charged();
}

Test(accounts, a_reload_tries_a_held_back_account_at_once)
{
	fx.options.retry_base_ms = 60000; /* else it would take a minute */
	start();
	RUN_UNTIL(stored_of(false) == 20 && waiting_for(fake_sid("AC", 2).text) == 20);
	refused = false;
	run_for(50);
	cr_assert_eq(stored_of(true), 0);
	set_accounts();
	RUN_UNTIL(stored_of(true) == 20);
	expect_nothing_charged();
}

Test(accounts, what_an_earlier_process_left_waiting_is_fetched_at_the_start)
{
	refused = false;
	for (size_t i = 0; i < fx.ledger.count; i++) {
		fx.ledger.rows[i].due_ms = INT64_MAX;
		snprintf(fx.ledger.rows[i].waits_for, sizeof(fx.ledger.rows[i].waits_for), "%s",
			 fx.ledger.rows[i].job.account_sid.text);
	}
	start();
	RUN_UNTIL(stored_of(false) == 20 && stored_of(true) == 20);
}

Test(accounts, the_reason_names_the_account_and_its_refusal)
{
	start();
	RUN_UNTIL(waiting_for(fake_sid("AC", 2).text) >= 19);
	size_t named = 0;
	for (size_t i = 1; i < fx.ledger.count; i += 2) {
		const char *error = fx.ledger.rows[i].last_error;
		named += strstr(error, "queue: account_held: ") == error && strstr(error, fake_sid("AC", 2).text) != NULL &&
			 strstr(error, "401") != NULL;
	}
	cr_assert_gt(named, 0);
}

static int claims_fail(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	*after = fx.ledger.submitted[request->op] % 2 == 0;
	return request->op == LEDGER_CLAIM_WAITING && fx.ledger.submitted[request->op] < 9 ? ERR_LEDGER : 0;
}

Test(accounts, what_waits_is_asked_for_again_when_the_ledger_failed)
{
	fx.ledger.fault = claims_fail;
	start();
	RUN_UNTIL(waiting_for(fake_sid("AC", 2).text) >= 15);
	refused = false;
	RUN_UNTIL(stored_of(true) == 20);
	expect_nothing_charged();
}

Test(accounts, can_be_closed_in_every_turn_of_the_loop)
{
	fixture_close();
	for (unsigned turns = 0; turns < 120; turns++) {
		memset(&fx, 0, sizeof(fx));
		begin(12);
		start();
		for (unsigned i = 0; i < turns; i++) {
			uv_run(&fx.loop, UV_RUN_NOWAIT);
			refused = i < 60;
		}
		pipeline_close(fx.pipeline, fixture_pipeline_closed, NULL);
		RUN_UNTIL(fx.closed);
		fx.pipeline = NULL;
		cr_assert_eq(fake_ledger_in(&fx.ledger, LEDGER_RUNNING), 0, "%u turns: left leased", turns);
		expect_nothing_charged();
		fixture_close();
	}
	memset(&fx, 0, sizeof(fx));
	begin(1); /* for the teardown */
}
