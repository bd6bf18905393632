/* SPDX-License-Identifier: MIT */
/*
 * The one place that decides what becomes of an attempt that did not succeed: again (charged), wait (not charged), or an end.
 * Pure: chance and the state of the dependency are inputs.
 *
 * What may be an outage (5xx, timeout, connection cut, storage failed) is charged only when it is known to be the recording's own
 * failure (witness.h) and the breaker is closed.
 *
 * Backoff is exponential with full jitter: uniform in [0, min(max, base * 2^attempts)]. It spreads a herd best of the usual
 * variants: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
#ifndef REELD_PIPELINE_RETRY_H
#define REELD_PIPELINE_RETRY_H

#include "ledger/ledger.h"

#include <stdbool.h>
#include <stdint.h>

/* Cap on the backoff of attempts that are not charged: they say nothing about the recording, so they need not become rare. */
#define RETRY_WAIT_MAX_MS 60000
/* The first so many 404 of a recording said to be completed come from Twilio still writing it: these are retried at the base
 * interval. Later ones as every other failure, but never sooner than half the interval: with the default settings a recording is
 * looked for during four to nine minutes. */
#define RETRY_EARLY_ATTEMPTS 3
/* For so long after its webhook a recording that Twilio does not know at all may still be one that it does not know yet. */
#define RETRY_EARLY_MS 300000

struct retry_policy {
	int max_attempts;
	int64_t base_ms;
	int64_t max_ms;
};

/* What the recording's own JSON says where that is an end by itself. */
enum retry_found { RETRY_FOUND_NOTHING, RETRY_FOUND_ABSENT, RETRY_FOUND_FAILED };

struct retry_case {
	int code;               /* negative enum err */
	int attempts;           /* charged before this one */
	int64_t retry_after_ms; /* what the peer asked for; -1: nothing */
	unsigned waits;         /* how often in a row the dependency asked everybody to wait */
	bool own;               /* the witness accuses the recording; of no account unless retry_may_be_outage */
	bool dependency_open;   /* the breaker of the dependency that failed is not closed now */
	int64_t dependency_ms;  /* until that breaker lets somebody try again */
	enum retry_found found;
	bool archived;   /* the object is stored and recorded; what failed is the tidying up behind it */
	uint64_t random; /* uniform */
};

struct retry_decision {
	enum ledger_outcome
		outcome;  /* RETRY, WAIT, DEAD, ABSENT, FAILED; DONE when tidying up behind an archived recording is given up */
	int64_t delay_ms; /* of RETRY and WAIT */
};

struct retry_decision retry_decide(const struct retry_policy *policy, const struct retry_case *input);

/* This error is charged or not, depending on `own` and the breaker. */
bool retry_may_be_outage(int code);

/* Uniform in [low, high], from a uniform 64-bit number. */
int64_t retry_between(int64_t low, int64_t high, uint64_t random);

#endif
