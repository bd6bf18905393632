/* SPDX-License-Identifier: MIT */
#include "pipeline/retry.h"

#include "base/backoff.h"
#include "base/check.h"
#include "pipeline/breaker.h"

int64_t retry_between(int64_t low, int64_t high, uint64_t random)
{
	if (high <= low)
		return low;
	uint64_t span = (uint64_t)high - (uint64_t)low + 1;
	return low + (int64_t)(span == 0 ? random >> 1 : random % span);
}

bool retry_may_be_outage(int code)
{
	return breaker_counts(code) && err_class(code) == ERR_CLASS_RETRY;
}

static int64_t doubled(int64_t first_ms, int64_t most_ms, unsigned doublings)
{
	return (int64_t)backoff_bound((uint64_t)first_ms, (uint64_t)most_ms, doublings);
}

static int64_t min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* A delay of at least what the peer asked for, as far as the operator allows, with a spread behind it so that not all come back
 * at once. */
static int64_t honour_retry_after(const struct retry_policy *policy, const struct retry_case *input, int64_t delay_ms)
{
	if (input->retry_after_ms < 0)
		return delay_ms;
	int64_t asked = min_i64(input->retry_after_ms, policy->max_ms);
	if (delay_ms < asked)
		delay_ms = retry_between(asked, asked + policy->base_ms, input->random);
	return min_i64(delay_ms, policy->max_ms);
}

static struct retry_decision decide_wait(const struct retry_policy *policy, const struct retry_case *input)
{
	int64_t cap = doubled(policy->base_ms, min_i64(policy->max_ms, RETRY_WAIT_MAX_MS), input->waits);
	/* Half of it for certain: an uncharged attempt must never come back at once, again and again. */
	int64_t delay = retry_between(cap / 2, cap, input->random);
	if (input->dependency_open && delay < input->dependency_ms)
		delay = retry_between(input->dependency_ms, input->dependency_ms + cap, input->random);
	return (struct retry_decision){LEDGER_OUTCOME_WAIT, honour_retry_after(policy, input, delay)};
}

static struct retry_decision decide_again(const struct retry_policy *policy, const struct retry_case *input)
{
	unsigned exponent = input->attempts > 0 ? (unsigned)input->attempts : 0;
	bool missing = input->code == ERR_MEDIA_NOT_READY || input->code == ERR_HTTP_NOT_FOUND;
	if (missing)
		exponent = exponent > RETRY_EARLY_ATTEMPTS ? exponent - RETRY_EARLY_ATTEMPTS : 0;
	int64_t cap = doubled(policy->base_ms, policy->max_ms, exponent);
	/* Attempts at what needs time must not all be spent at once by chance. */
	int64_t delay = retry_between(missing ? cap / 2 : 0, cap, input->random);
	return (struct retry_decision){LEDGER_OUTCOME_RETRY, honour_retry_after(policy, input, delay)};
}

struct retry_decision retry_decide(const struct retry_policy *policy, const struct retry_case *input)
{
	REQUIRE(input->code < 0);
	if (input->found == RETRY_FOUND_ABSENT)
		return (struct retry_decision){LEDGER_OUTCOME_ABSENT, 0};
	if (input->found == RETRY_FOUND_FAILED)
		return (struct retry_decision){LEDGER_OUTCOME_FAILED, 0};

	enum err_class class = err_class(input->code);
	if (retry_may_be_outage(input->code) && (input->dependency_open || !input->own))
		class = ERR_CLASS_WAIT;
	if (class == ERR_CLASS_WAIT)
		return decide_wait(policy, input);
	if (class == ERR_CLASS_RETRY && input->attempts + 1 < policy->max_attempts)
		return decide_again(policy, input);
	return (struct retry_decision){input->archived ? LEDGER_OUTCOME_DONE : LEDGER_OUTCOME_DEAD, 0};
}
