/* SPDX-License-Identifier: MIT */
#include "pipeline/retry.h"

#include <criterion/criterion.h>
#include <signal.h>

static const struct retry_policy policy = {.max_attempts = 12, .base_ms = 2000, .max_ms = 3600000};

static struct retry_case failed(int code)
{
	return (struct retry_case){.code = code, .retry_after_ms = -1};
}

/* Every error, without a breaker, on the first attempt. */
Test(retry, every_error_has_the_outcome_of_its_class)
{
	static const enum ledger_outcome by_class[] = {[ERR_CLASS_RETRY] = LEDGER_OUTCOME_RETRY,
						       [ERR_CLASS_WAIT] = LEDGER_OUTCOME_WAIT,
						       [ERR_CLASS_PERMANENT] = LEDGER_OUTCOME_DEAD};
	for (int code = -1; - code < ERR_ORDINAL_COUNT; code--) {
		struct retry_case input = failed(code);
		input.own = true;
		cr_assert_eq(retry_decide(&policy, &input).outcome, by_class[err_class(code)], "%s", err_name(code));
	}
}

Test(retry, what_may_be_an_outage_is_not_charged_unless_it_is_the_recordings_own)
{
	static const int codes[] = {ERR_HTTP_SERVER, ERR_TIMEOUT, ERR_RESET, ERR_PROTOCOL, ERR_STORE, ERR_IO};
	static const int never[] = {ERR_MEDIA_TYPE, ERR_MEDIA_LENGTH, ERR_MEDIA_NOT_READY, ERR_CHECKSUM, ERR_HTTP_NOT_FOUND};
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct retry_case input = failed(codes[i]);
		input.attempts = 11;
		cr_assert(retry_may_be_outage(codes[i]));
		cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_WAIT, "%s", err_name(codes[i]));
		input.own = true;
		cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DEAD, "%s", err_name(codes[i]));
		input.dependency_open = true;
		cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_WAIT, "%s", err_name(codes[i]));
	}
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		struct retry_case input = failed(never[i]);
		cr_assert_not(retry_may_be_outage(never[i]));
		cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_RETRY, "%s", err_name(never[i]));
	}
}

Test(retry, the_last_attempt_is_the_end_and_the_one_before_is_not)
{
	struct retry_case input = failed(ERR_CHECKSUM);
	input.attempts = 10;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_RETRY);
	input.attempts = 11;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DEAD);
	input.attempts = 500; /* MAX_ATTEMPTS was lowered meanwhile */
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DEAD);
}

Test(retry, waiting_is_never_charged_and_never_ends_a_recording)
{
	struct retry_case input = failed(ERR_CONNECT);
	input.attempts = 11;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_WAIT);
}

Test(retry, jitter_uses_the_whole_range_and_nothing_else)
{
	cr_assert_eq(retry_between(10, 20, 0), 10);
	cr_assert_eq(retry_between(10, 20, 10), 20);
	cr_assert_eq(retry_between(10, 20, 11), 10);
	cr_assert_eq(retry_between(10, 10, 12345), 10);
	cr_assert_eq(retry_between(20, 10, 12345), 20);
	int64_t seen_low = INT64_MAX, seen_high = -1;
	for (uint64_t random = 0; random < 100000; random += 7) {
		struct retry_case input = failed(ERR_TIMEOUT);
		input.own = true;
		input.attempts = 2;
		input.random = random;
		int64_t delay = retry_decide(&policy, &input).delay_ms;
		cr_assert(delay >= 0 && delay <= 8000);
		seen_low = delay < seen_low ? delay : seen_low;
		seen_high = delay > seen_high ? delay : seen_high;
	}
	cr_assert(seen_low < 200 && seen_high > 7800);
}

Test(retry, retry_after_is_honoured_up_to_the_maximum)
{
	struct retry_case input = failed(ERR_HTTP_THROTTLED);
	input.retry_after_ms = 30000;
	for (input.random = 0; input.random < 100000; input.random += 331) {
		int64_t delay = retry_decide(&policy, &input).delay_ms;
		cr_assert(delay >= 30000 && delay <= 32000, "%lld", (long long)delay);
	}
	input.retry_after_ms = 7 * 24 * 3600000LL;
	cr_assert_eq(retry_decide(&policy, &input).delay_ms, policy.max_ms);
	input.code = ERR_HTTP_SERVER;
	input.own = true;
	input.retry_after_ms = 5000;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_RETRY);
	cr_assert(retry_decide(&policy, &input).delay_ms >= 5000);
}

Test(retry, an_uncharged_attempt_never_comes_back_at_once_and_grows_to_a_cap)
{
	struct retry_case input = failed(ERR_CONNECT);
	cr_assert_geq(retry_decide(&policy, &input).delay_ms, 1000);
	input.waits = 3;
	cr_assert_geq(retry_decide(&policy, &input).delay_ms, 8000);
	input.waits = 100;
	input.random = UINT64_MAX;
	cr_assert_leq(retry_decide(&policy, &input).delay_ms, RETRY_WAIT_MAX_MS);
}

Test(retry, what_failed_because_the_dependency_is_down_waits_until_it_may_be_tried)
{
	struct retry_case input = failed(ERR_HTTP_SERVER);
	input.attempts = 11;
	input.dependency_open = true;
	input.dependency_ms = 45000;
	struct retry_decision decision = retry_decide(&policy, &input);
	cr_assert_eq(decision.outcome, LEDGER_OUTCOME_WAIT);
	cr_assert_geq(decision.delay_ms, 45000);
	input.code = ERR_MEDIA_TYPE; /* about this recording, whatever the state of Twilio */
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DEAD);
	input.code = ERR_MEDIA_GONE;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DEAD);
}

Test(retry, media_that_is_not_ready_is_tried_quickly_at_first)
{
	struct retry_case input = failed(ERR_MEDIA_NOT_READY);
	input.random = UINT64_MAX;
	for (input.attempts = 0; input.attempts <= RETRY_EARLY_ATTEMPTS; input.attempts++)
		cr_assert_leq(retry_decide(&policy, &input).delay_ms, policy.base_ms);
	int64_t most = 0, least = INT64_MAX;
	input.attempts = RETRY_EARLY_ATTEMPTS + 2;
	for (input.random = 0; input.random < 9000; input.random++) {
		int64_t delay = retry_decide(&policy, &input).delay_ms;
		most = delay > most ? delay : most;
		least = delay < least ? delay : least;
	}
	cr_assert_eq(most, 8000);
	cr_assert_eq(least, 4000);
}

Test(retry, media_that_is_not_ready_is_looked_for_during_minutes_whatever_chance_says)
{
	static const uint64_t chances[] = {0, UINT64_MAX};
	for (size_t i = 0; i < 2; i++) {
		struct retry_case input = failed(ERR_MEDIA_NOT_READY);
		int64_t total = 0;
		for (input.random = chances[i]; retry_decide(&policy, &input).outcome == LEDGER_OUTCOME_RETRY; input.attempts++)
			total += retry_decide(&policy, &input).delay_ms;
		cr_assert(total >= 4 * 60000 && total <= 9 * 60000, "%lld ms", (long long)total);
	}
}

Test(retry, what_the_recording_itself_says_is_an_end)
{
	struct retry_case input = failed(ERR_MEDIA_GONE);
	input.found = RETRY_FOUND_ABSENT;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_ABSENT);
	input.found = RETRY_FOUND_FAILED;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_FAILED);
}

Test(retry, an_archived_recording_does_not_die_of_failed_tidying)
{
	struct retry_case input = failed(ERR_HTTP_CLIENT);
	input.archived = true;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DONE);
	input.code = ERR_HTTP_SERVER;
	input.own = true;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_RETRY);
	input.attempts = 11;
	cr_assert_eq(retry_decide(&policy, &input).outcome, LEDGER_OUTCOME_DONE);
}

Test(retry, a_success_is_not_decided_here, .signal = SIGABRT)
{
	struct retry_case input = failed(0);
	retry_decide(&policy, &input);
}
