/* SPDX-License-Identifier: MIT */
/* What reconciling asks of every ledger: what is lacking, one walk at a time, progress that outlives its process. */
#include "ledger_factory.h"
#include "ledger_support.h"

#define DAY INT64_C(86400000)
#define MAY_FIRST INT64_C(1777593600000)

static struct ledger *ledger; /* replica a */
static struct ledger *other;  /* replica b */

static void setup(void)
{
	factory_setup();
	cr_assert_eq(uv_loop_init(&loop), 0);
	ledger = factory_open(&loop, "a");
	other = factory_open(&loop, "b");
}

static void teardown(void)
{
	close_ledger(ledger);
	close_ledger(other);
	cr_expect_eq(uv_loop_close(&loop), 0);
	factory_teardown();
}

TestSuite(ledger_reconcile, .init = setup, .fini = teardown, .timeout = 60);

static size_t forward(struct event event, bool reconciled, size_t lease_max)
{
	event.reconciled = reconciled;
	struct ledger_request request = {.op = LEDGER_FORWARD, .events = &event, .count = 1, .lease_max = lease_max};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	size_t changed = 1 - request.duplicates;
	ledger_request_release(&request);
	return changed;
}

static void lacking(const unsigned *numbers, size_t count, enum ledger_standing *standings, int64_t *waiting)
{
	struct sid sids[8];
	for (size_t i = 0; i < count; i++)
		sids[i] = make_sid("RE", numbers[i]);
	struct ledger_request request = {.op = LEDGER_LACKING, .sids = sids, .count = count, .limit = 3};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	memcpy(standings, request.standings, count * sizeof(*standings));
	if (waiting != NULL)
		*waiting = request.waiting;
	ledger_request_release(&request);
}

static enum ledger_standing standing(unsigned n)
{
	enum ledger_standing answer;
	lacking(&n, 1, &answer, NULL);
	return answer;
}

static void first_trail(unsigned n, size_t i, char *out, size_t size)
{
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = make_sid("RE", n)};
	cr_assert_eq(wait_for(ledger, &request), 0);
	cr_assert_gt(request.audit_count, i);
	snprintf(out, size, "%s: %s", request.audit[i].what, request.audit[i].detail);
	ledger_request_release(&request);
}

Test(ledger_reconcile, a_page_is_compared_in_one_question)
{
	enum ledger_standing standings[6];
	int64_t waiting;
	forward(recording_event(1, RECORDING_COMPLETED), false, 1);
	forward(recording_event(2, RECORDING_IN_PROGRESS), false, 0);
	forward(recording_event(3, RECORDING_ABSENT), false, 0);
	forward(recording_event(4, RECORDING_FAILED), false, 0);
	forward(recording_event(5, RECORDING_COMPLETED), false, 0);
	lacking((const unsigned[]){9, 1, 2, 3, 4, 5}, 6, standings, &waiting);
	cr_assert_eq(standings[0], LEDGER_STANDING_MISSING);
	cr_assert_eq(standings[1], LEDGER_STANDING_KNOWN);
	cr_assert_eq(standings[2], LEDGER_STANDING_WAITING);
	cr_assert_eq(standings[3], LEDGER_STANDING_ENDED);
	cr_assert_eq(standings[4], LEDGER_STANDING_ENDED);
	cr_assert_eq(standings[5], LEDGER_STANDING_KNOWN);
	/* 2 waits for Twilio, not for its turn; 1 is running. */
	cr_assert_eq(waiting, 1);
	for (unsigned n = 10; n < 20; n++)
		forward(recording_event(n, RECORDING_COMPLETED), false, 0);
	lacking((const unsigned[]){9}, 1, standings, &waiting);
	cr_assert_eq(waiting, 3, "counted to the limit");
	lacking((const unsigned[]){0}, 0, standings, &waiting);
	cr_assert_eq(waiting, 3, "a page may be empty");
	factory_sql("UPDATE recordings SET waits_for = 'CR'");
	lacking((const unsigned[]){9}, 1, standings, &waiting);
	cr_assert_eq(waiting, 0, "what waits for a key or an account holds up nobody");
}

static bool working(void)
{
	struct ledger_request request = {.op = LEDGER_LACKING};
	cr_assert_eq(wait_for(other, &request), 0, "%s", request.error.detail);
	bool answer = request.working;
	ledger_request_release(&request);
	return answer;
}

Test(ledger_reconcile, whether_somebody_is_at_work_is_seen_from_everywhere)
{
	forward(recording_event(1, RECORDING_COMPLETED), false, 0);
	cr_assert(!working());
	forward(recording_event(2, RECORDING_COMPLETED), false, 1);
	cr_assert(working());
	factory_pass_time(LEDGER_LEASE_MS);
	cr_assert(!working(), "its lease ran out");
}

static void leased_one(unsigned n, enum ledger_op op, struct ledger_job *job)
{
	struct ledger_request request = {.op = op, .recording_sid = make_sid("RE", n), .lease_max = 1};
	cr_assert_eq(wait_for(ledger, &request), 0, "%s", request.error.detail);
	if (request.leased_count == 1)
		*job = request.leased[0];
	ledger_request_release(&request);
}

Test(ledger_reconcile, what_runs_or_died_before_completed_came_lacks_it)
{
	struct ledger_job job = {.epoch = 0};
	forward(recording_event(1, RECORDING_ABSENT), false, 0);
	leased_one(1, LEDGER_RETRY, &job);
	leased_one(1, LEDGER_CLAIM, &job);
	cr_assert_eq(job.epoch, 1);
	cr_assert_eq(standing(1), LEDGER_STANDING_WAITING, "running");
	struct ledger_request end = {.op = LEDGER_FINISH,
				     .recording_sid = job.recording_sid,
				     .epoch = job.epoch,
				     .finish = {.outcome = LEDGER_OUTCOME_DEAD, .error = "media_not_ready"}};
	cr_assert_eq(wait_for(ledger, &end), 0);
	ledger_request_release(&end);
	cr_assert_eq(standing(1), LEDGER_STANDING_ENDED, "dead");
	cr_assert_eq(forward(recording_event(1, RECORDING_COMPLETED), true, 1), 1);
	cr_assert_eq(standing(1), LEDGER_STANDING_KNOWN);
}

Test(ledger_reconcile, dropped_and_deleted_ones_are_known)
{
	forward(recording_event(1, RECORDING_IN_PROGRESS), false, 0);
	struct ledger_request drop = {.op = LEDGER_DROP, .recording_sid = make_sid("RE", 1)};
	cr_assert_eq(wait_for(ledger, &drop), 0);
	ledger_request_release(&drop);
	cr_assert_eq(standing(1), LEDGER_STANDING_KNOWN);
	cr_assert_eq(forward(recording_event(1, RECORDING_COMPLETED), true, 1), 1, "a completed is kept");
	cr_assert_eq(forward(recording_event(1, RECORDING_COMPLETED), true, 1), 0);
	cr_assert_eq(standing(1), LEDGER_STANDING_KNOWN);
}

Test(ledger_reconcile, what_is_not_a_sid_is_refused)
{
	struct sid sids[2] = {make_sid("RE", 1), {""}};
	struct ledger_request request = {.op = LEDGER_LACKING, .sids = sids, .count = 2};
	cr_assert_eq(wait_for(ledger, &request), ERR_INVALID);
	ledger_request_release(&request);
	request = (struct ledger_request){.op = LEDGER_LACKING, .sids = sids, .count = LEDGER_LACKING_MAX + 1};
	cr_assert_eq(wait_for(ledger, &request), ERR_LIMIT);
	ledger_request_release(&request);
}

Test(ledger_reconcile, healing_says_so_in_the_trail)
{
	char text[320];
	forward(recording_event(2, RECORDING_IN_PROGRESS), false, 0);
	forward(recording_event(3, RECORDING_ABSENT), false, 0);
	forward(recording_event(4, RECORDING_IN_PROGRESS), false, 0);
	for (unsigned n = 1; n <= 3; n++) {
		cr_assert_eq(forward(recording_event(n, RECORDING_COMPLETED), true, 0), 1);
		cr_assert_eq(standing(n), LEDGER_STANDING_KNOWN);
		first_trail(n, n == 1 ? 0 : 1, text, sizeof(text));
		cr_assert_str_eq(text, "received: completed, reconciled");
	}
	struct event absent = recording_event(4, RECORDING_ABSENT);
	absent.error_code = 16104;
	cr_assert_eq(forward(absent, true, 0), 1);
	first_trail(4, 1, text, sizeof(text));
	cr_assert_str_eq(text, "received: absent at Twilio, error 16104: not stored: encrypting it with the account's public key "
			       "failed, reconciled");
	cr_assert_eq(standing(4), LEDGER_STANDING_ENDED);
	forward(recording_event(5, RECORDING_COMPLETED), false, 0);
	first_trail(5, 0, text, sizeof(text));
	cr_assert_str_eq(text, "received: completed");
}

/* ---- the lease ---- */

static struct ledger_reconcile begin(struct ledger *by, enum ledger_reconcile_kind kind, int64_t apart_ms)
{
	struct ledger_request request = {.op = LEDGER_RECONCILE_BEGIN, .reconcile = {.kind = kind, .apart_ms = apart_ms}};
	cr_assert_eq(wait_for(by, &request), 0, "%s", request.error.detail);
	struct ledger_reconcile answer = request.reconcile;
	ledger_request_release(&request);
	return answer;
}

static int save(struct ledger *by, int64_t epoch, enum ledger_reconcile_kind kind, unsigned account, int64_t from_ms,
		int64_t to_ms)
{
	struct ledger_request request = {.op = LEDGER_RECONCILE_SAVE,
					 .reconcile = {.kind = kind,
						       .epoch = epoch,
						       .account_sid = account != 0 ? make_sid("AC", account) : (struct sid){""},
						       .walked_from_ms = from_ms,
						       .walked_to_ms = to_ms}};
	int status = wait_for(by, &request);
	ledger_request_release(&request);
	return status;
}

static int end(struct ledger *by, int64_t epoch, enum ledger_reconcile_kind kind, bool finished)
{
	struct ledger_request request = {.op = LEDGER_RECONCILE_END,
					 .reconcile = {.kind = kind, .epoch = epoch, .finished = finished}};
	int status = wait_for(by, &request);
	ledger_request_release(&request);
	return status;
}

static int64_t loaded_from(enum ledger_reconcile_kind kind, unsigned account, int64_t *to_ms)
{
	struct ledger_request request = {.op = LEDGER_RECONCILE_LOAD,
					 .reconcile = {.kind = kind, .account_sid = make_sid("AC", account)}};
	cr_assert_eq(wait_for(other, &request), 0, "%s", request.error.detail);
	int64_t from_ms = request.reconcile.walked_from_ms;
	if (to_ms != NULL)
		*to_ms = request.reconcile.walked_to_ms;
	ledger_request_release(&request);
	return from_ms;
}

Test(ledger_reconcile, one_walks_at_a_time)
{
	struct ledger_reconcile first = begin(ledger, LEDGER_RECONCILE_REQUESTED, 0);
	cr_assert(first.granted);
	cr_assert_eq(first.finished_at_ms, -1);
	struct ledger_reconcile second = begin(other, LEDGER_RECONCILE_SCHEDULED, DAY);
	cr_assert(!second.granted);
	cr_assert_str_eq(second.holder, "a");
	cr_assert_gt(second.wait_ms, 0);
	cr_assert_leq(second.wait_ms, LEDGER_RECONCILE_LEASE_MS);
	cr_assert_eq(save(ledger, first.epoch, LEDGER_RECONCILE_REQUESTED, 0, 0, 0), 0);
	cr_assert_eq(end(ledger, first.epoch, LEDGER_RECONCILE_REQUESTED, true), 0);
	second = begin(other, LEDGER_RECONCILE_SCHEDULED, DAY);
	cr_assert(second.granted, "a requested walk does not stand for a scheduled one");
	cr_assert_gt(second.epoch, first.epoch);
}

Test(ledger_reconcile, a_late_one_changes_nothing)
{
	struct ledger_reconcile first = begin(ledger, LEDGER_RECONCILE_SCHEDULED, 0);
	cr_assert_eq(save(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, 1, MAY_FIRST, MAY_FIRST + DAY), 0);
	factory_pass_time(LEDGER_RECONCILE_LEASE_MS);
	struct ledger_reconcile second = begin(other, LEDGER_RECONCILE_SCHEDULED, 0);
	cr_assert(second.granted, "the owner's lease ran out");
	cr_assert_eq(save(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, 1, 0, MAY_FIRST + DAY), ERR_LEASE_LOST);
	cr_assert_eq(save(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, 0, 0, 0), ERR_LEASE_LOST);
	cr_assert_eq(end(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, true), ERR_LEASE_LOST);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_SCHEDULED, 1, NULL), MAY_FIRST);
	cr_assert_str_eq(begin(ledger, LEDGER_RECONCILE_SCHEDULED, 0).holder, "b");
	cr_assert_eq(end(other, second.epoch, LEDGER_RECONCILE_SCHEDULED, true), 0);
	cr_assert_eq(save(other, second.epoch, LEDGER_RECONCILE_SCHEDULED, 1, 0, 0), ERR_LEASE_LOST, "it was given back");
	cr_assert_eq(end(other, second.epoch, LEDGER_RECONCILE_SCHEDULED, true), ERR_LEASE_LOST);
}

Test(ledger_reconcile, a_lease_that_ran_out_unnoticed_goes_on)
{
	struct ledger_reconcile first = begin(ledger, LEDGER_RECONCILE_SCHEDULED, 0);
	factory_pass_time(2 * LEDGER_RECONCILE_LEASE_MS);
	cr_assert_eq(save(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, 0, 0, 0), 0);
	cr_assert(!begin(other, LEDGER_RECONCILE_SCHEDULED, 0).granted);
}

Test(ledger_reconcile, replicas_share_the_schedule)
{
	struct ledger_reconcile first = begin(ledger, LEDGER_RECONCILE_SCHEDULED, DAY);
	cr_assert(first.granted);
	cr_assert_eq(end(ledger, first.epoch, LEDGER_RECONCILE_SCHEDULED, true), 0);
	struct ledger_reconcile second = begin(other, LEDGER_RECONCILE_SCHEDULED, DAY);
	cr_assert(!second.granted);
	cr_assert_str_eq(second.holder, "");
	cr_assert_gt(second.finished_at_ms, 0);
	cr_assert_gt(second.wait_ms, DAY - 60000);
	cr_assert_leq(second.wait_ms, DAY);
	factory_pass_time(DAY);
	second = begin(other, LEDGER_RECONCILE_SCHEDULED, DAY);
	cr_assert(second.granted);
	cr_assert_eq(end(other, second.epoch, LEDGER_RECONCILE_SCHEDULED, false), 0);
	cr_assert(begin(ledger, LEDGER_RECONCILE_SCHEDULED, DAY).granted, "one that did not come to its end does not count");
}

Test(ledger_reconcile, progress_is_kept_for_each_account_and_kind_until_the_end)
{
	int64_t to_ms;
	struct ledger_reconcile walk = begin(ledger, LEDGER_RECONCILE_REQUESTED, 0);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_REQUESTED, 1, NULL), -1);
	cr_assert_eq(save(ledger, walk.epoch, LEDGER_RECONCILE_REQUESTED, 1, MAY_FIRST, MAY_FIRST + DAY), 0);
	cr_assert_eq(save(ledger, walk.epoch, LEDGER_RECONCILE_REQUESTED, 1, MAY_FIRST - DAY, MAY_FIRST + DAY + 7), 0);
	cr_assert_eq(save(ledger, walk.epoch, LEDGER_RECONCILE_REQUESTED, 2, MAY_FIRST, MAY_FIRST + 1), 0);
	cr_assert_eq(save(ledger, walk.epoch, LEDGER_RECONCILE_SCHEDULED, 1, MAY_FIRST + 2, MAY_FIRST + 3), 0);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_REQUESTED, 1, &to_ms), MAY_FIRST - DAY);
	cr_assert_eq(to_ms, MAY_FIRST + DAY + 7);
	cr_assert_eq(end(ledger, walk.epoch, LEDGER_RECONCILE_REQUESTED, false), 0);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_REQUESTED, 2, NULL), MAY_FIRST);
	walk = begin(ledger, LEDGER_RECONCILE_REQUESTED, 0);
	cr_assert_eq(end(ledger, walk.epoch, LEDGER_RECONCILE_REQUESTED, true), 0);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_REQUESTED, 1, NULL), -1);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_REQUESTED, 2, NULL), -1);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_SCHEDULED, 1, &to_ms), MAY_FIRST + 2);
	cr_assert_eq(to_ms, MAY_FIRST + 3);
	factory_pass_time(LEDGER_RECONCILE_KEEP_MS);
	cr_assert_eq(loaded_from(LEDGER_RECONCILE_SCHEDULED, 1, NULL), -1, "too old to be continued");
}
