/* SPDX-License-Identifier: MIT */
/*
 * Random worlds: Twilio, store and ledger fail at random rates, replies are lost, leases are taken by others, the process is shut
 * down and started again. Whatever happens: a recording ends stored once, or dead with all its attempts used up; two jobs never
 * work on one recording; Twilio's copy goes only after ours is safe. The seed of a failing world is printed; REELD_SEED=n runs
 * that one.
 */
#include "loop/pipeline/fixture.h"

#include <stdlib.h>

#define WORLDS 60
#define RECORDINGS 60
#define MAX_ATTEMPTS 6

static struct {
	uint64_t state;
	unsigned seed;
	/* percent */
	unsigned twilio_faults;
	unsigned store_faults;
	unsigned ledger_faults;
	unsigned steals;
	unsigned restarts;
	bool deleted_at_twilio[RECORDINGS];
} world;

/* splitmix64, https://prng.di.unimi.it/splitmix64.c: small and good enough, and the same everywhere. */
static uint64_t next_random(void)
{
	uint64_t z = (world.state += 0x9e3779b97f4a7c15ULL);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static unsigned below(unsigned bound)
{
	return (unsigned)(next_random() % bound);
}

static bool chance(unsigned percent)
{
	return below(100) < percent;
}

static size_t number_of(const struct sid *recording_sid)
{
	return strtoul(recording_sid->text + 2, NULL, 16);
}

static size_t size_of(size_t n)
{
	return 45 + n * 397;
}

/* ---- Twilio ---- */

static void nobody_else_works_on(const struct fake_twilio *fake, const struct twilio_request *request)
{
	for (const struct list *link = fake->requests.next; link != &fake->requests; link = link->next) {
		const struct twilio_request *other = LIST_ENTRY(link, struct twilio_request, http.link);
		cr_assert(other == request || strcmp(other->recording_sid.text, request->recording_sid.text) != 0,
			  "seed %u: two jobs work on %s", world.seed, request->recording_sid.text);
	}
}

static struct fake_answer broken_media(size_t size)
{
	struct fake_answer answer = fake_media(size);
	switch (below(8)) {
	case 0:
		return fake_failure(429);
	case 1:
		return fake_failure(503);
	case 2:
		return fake_failure(404);
	case 3:
		return fake_failure(ERR_CONNECT);
	case 4:
		return fake_failure(ERR_TIMEOUT);
	case 5:
		answer.text = "<?xml version='1.0'?><TwilioResponse/>";
		return answer;
	case 6:
		answer.content_length = (int64_t)size;
		answer.riff_bytes = (int64_t)size;
		answer.bytes = size - 1 - below((unsigned)size - 1);
		answer.status = chance(50) ? ERR_RESET : 0;
		return answer;
	default:
		answer.content_length = -1;
		answer.riff_bytes = (int64_t)size + 100;
		return answer;
	}
}

static struct fake_answer random_answer(struct fake_twilio *fake, const struct twilio_request *request)
{
	size_t n = number_of(&request->recording_sid);
	struct fake_answer answer;
	nobody_else_works_on(fake, request);
	if (request->op == TWILIO_MEDIA && world.deleted_at_twilio[n])
		answer = fake_failure(404);
	else if (request->op == TWILIO_MEDIA)
		answer = chance(world.twilio_faults) ? broken_media(size_of(n)) : fake_media(size_of(n));
	else if (chance(world.twilio_faults))
		answer = fake_failure(chance(50) ? 503 : ERR_RESET);
	else if (request->op == TWILIO_DELETE_RECORDING && world.deleted_at_twilio[n])
		answer = fake_failure(404);
	else
		answer = (struct fake_answer){.http_status = 200,
					      .retry_after_ms = -1,
					      .recording_status = world.deleted_at_twilio[n] ? "deleted" : NULL};
	answer.turns = below(4);
	return answer;
}

static void check_deletion(struct fake_twilio *fake, const struct sid *recording_sid)
{
	size_t n = number_of(recording_sid);
	const struct fake_row *row = &fx.ledger.rows[n];
	const struct fake_object *object = fake_store_find(&fx.store, row->job.key);
	cr_assert(row->job.stored && object != NULL && object->digest.bytes == (int64_t)size_of(n),
		  "seed %u: %s deleted at Twilio too early", world.seed, recording_sid->text);
	cr_assert_not(world.deleted_at_twilio[n]);
	world.deleted_at_twilio[n] = true;
}

/* ---- store and ledger ---- */

static int random_store_fault(struct fake_store *fake, enum fake_store_op op, const char *key)
{
	static const int codes[] = {ERR_STORE, ERR_TIMEOUT, ERR_HTTP_SERVER, ERR_NO_SPACE, ERR_CONNECT};
	if (op == FAKE_COMMIT && chance(world.store_faults))
		fake->corrupt_next = true;
	fake->slow_turns = below(3);
	return chance(world.store_faults) ? codes[below(sizeof(codes) / sizeof(codes[0]))] : 0;
}

static int random_ledger_fault(struct fake_ledger *fake, const struct ledger_request *request, bool *after)
{
	*after = chance(50);
	return chance(world.ledger_faults) ? ERR_LEDGER : 0;
}

static void check_change(struct fake_ledger *fake, struct fake_row *row, const struct ledger_request *request)
{
	size_t n = number_of(&row->job.recording_sid);
	if (request->op == LEDGER_STORED_OBJECT) {
		const struct fake_object *object = fake_store_find(&fx.store, row->job.key);
		cr_assert(object != NULL && object->digest.bytes == (int64_t)size_of(n), "seed %u: recorded without an object",
			  world.seed);
		cr_assert_eq(row->recorded, 1, "seed %u: %s recorded %u times", world.seed, row->job.recording_sid.text,
			     row->recorded);
	}
	cr_assert_leq(row->job.attempts, MAX_ATTEMPTS, "seed %u", world.seed);
}

/* ---- the world ---- */

static void steal_one(void)
{
	size_t n = below(RECORDINGS);
	if (fx.ledger.rows[n].status != LEDGER_RUNNING)
		return;
	fake_ledger_steal(&fx.ledger, n);
	pipeline_wake(fx.pipeline);
	if (chance(50))
		lease_beat(fx.pipeline);
}

static void restart(void)
{
	fx.closed = false;
	pipeline_close(fx.pipeline, fixture_pipeline_closed, NULL);
	RUN_UNTIL(fx.closed);
	for (size_t n = 0; n < RECORDINGS; n++) { /* leases that could not be given back run out */
		if (fx.ledger.rows[n].status == LEDGER_RUNNING)
			fake_ledger_steal(&fx.ledger, n);
	}
	fixture_start();
}

static void check_end(void)
{
	for (size_t n = 0; n < RECORDINGS; n++) {
		const struct fake_row *row = &fx.ledger.rows[n];
		const struct fake_object *object = fake_store_find(&fx.store, row->job.key);
		if (row->status == LEDGER_DEAD) {
			cr_assert_eq(row->job.attempts, MAX_ATTEMPTS, "seed %u: %zu dead after %d attempts: %s", world.seed, n,
				     row->job.attempts, row->last_error);
			cr_assert_not(world.deleted_at_twilio[n], "seed %u: %zu is nowhere", world.seed, n);
			continue;
		}
		cr_assert_eq(row->status, LEDGER_STORED, "seed %u: %zu ends as %d: %s", world.seed, n, row->status,
			     row->last_error);
		cr_assert_not_null(object, "seed %u: %zu has no object", world.seed, n);
		cr_assert_eq(object->digest.bytes, (int64_t)size_of(n));
		cr_assert_eq(row->recorded, 1);
		if (row->deleted_at_twilio)
			cr_assert(world.deleted_at_twilio[n]);
	}
	size_t ended = fake_ledger_in(&fx.ledger, LEDGER_STORED) + fake_ledger_in(&fx.ledger, LEDGER_DEAD);
	cr_assert_eq(ended, RECORDINGS);
	cr_assert_leq(fx.store.count, RECORDINGS);
}

static void run_world(unsigned seed)
{
	static const unsigned rates[] = {0, 5, 15, 30};
	memset(&fx, 0, sizeof(fx));
	memset(&world, 0, sizeof(world));
	world.seed = seed;
	world.state = seed;
	world.twilio_faults = rates[below(4)];
	world.store_faults = rates[below(4)] / 3;
	world.ledger_faults = rates[below(4)];
	world.steals = below(3);
	world.restarts = below(2);
	fixture_init(RECORDINGS);
	fx.options.max_transfers = 1 + below(8);
	fx.options.max_attempts = MAX_ATTEMPTS;
	fx.options.delete_from_twilio = chance(50);
	fx.options.retry_max_ms = 3;
	fx.twilio.block = 500 + below(5000);
	fx.twilio.answer = random_answer;
	fx.twilio.deleted = check_deletion;
	fx.store.fault = random_store_fault;
	fx.ledger.fault = random_ledger_fault;
	fx.ledger.changed = check_change;
	for (size_t n = 0; n < RECORDINGS; n++)
		fx.ledger.rows[n].call_known = chance(80);
	fixture_start();
	uint64_t give_up = uv_hrtime() + 100000000000ULL;
	while (!ALL_ENDED() || pipeline_running(fx.pipeline) > 0) {
		turn_run(&fx.loop);
		if (chance(world.steals))
			steal_one();
		if (world.restarts > 0 && below(400) == 0)
			restart();
		cr_assert(uv_hrtime() < give_up, "seed %u: comes to no end", seed);
	}
	check_end();
	fx.ledger.fault = NULL;
	fx.closed = false;
	fixture_close();
	fx.pipeline = NULL;
}

Test(simulation, every_world_ends_well, .timeout = 280)
{
	const char *wanted = getenv("REELD_SEED");
	unsigned first = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : (unsigned)(uv_hrtime() / 1000) % 1000000;
	unsigned count = wanted != NULL ? 1 : WORLDS;
	fprintf(stderr, "seeds %u to %u\n", first, first + count - 1);
	for (unsigned i = 0; i < count; i++)
		run_world(first + i);
}
