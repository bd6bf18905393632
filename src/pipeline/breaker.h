/* SPDX-License-Identifier: MIT */
/*
 * A circuit breaker for one dependency, fed by all jobs. Closed: everybody may try. It opens after `threshold` failures in a row
 * that are the dependency's own (breaker_counts); then nobody tries until a backoff has passed, then one job does (the probe):
 * its success closes the breaker, its failure opens it for twice as long. Pure: the caller brings clock and chance.
 *
 * One recording that Twilio cannot serve (a timeout, a 5xx) also looks like an outage, but must not hold up all others. So such
 * failures must come from at least `min_recordings` different recordings. Failures of class WAIT (nobody there, access
 * refused) are nobody's fault and need no second witness. What Twilio refuses one of several accounts goes to that account's breaker (gate.h).
 */
#ifndef REELD_PIPELINE_BREAKER_H
#define REELD_PIPELINE_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_PROBING };

struct breaker_options {
	unsigned threshold;      /* failures in a row; at least 1 */
	unsigned min_recordings; /* 1 or 2 */
	int64_t base_ms;         /* first interval */
	int64_t max_ms;
};

struct breaker {
	struct breaker_options options;
	enum breaker_state state;
	unsigned failures; /* in a row */
	uint64_t first_subject;
	bool certain;        /* the failures in a row cannot be one recording's */
	unsigned opened;     /* how often in a row without a success */
	int64_t probe_at_ms; /* OPEN: from then on one may try */
};

void breaker_init(struct breaker *breaker, const struct breaker_options *options);

/* True for errors that are the dependency's: unreachable, DNS, TLS, timeout, connection cut, 5xx, credentials refused, no space,
 * storage or ledger failed. */
bool breaker_counts(int code);

/* What a job learned about the dependency; `subject` tells recordings apart. Each returns true when the breaker opened or closed.
 */
bool breaker_failed(struct breaker *breaker, int code, uint64_t subject, int64_t now_ms, uint64_t random);
bool breaker_succeeded(struct breaker *breaker);

/* How many more may try now: SIZE_MAX, 1 (the probe), 0. */
size_t breaker_permits(const struct breaker *breaker, int64_t now_ms);
/* The one that was permitted starts. No effect unless it is a probe: true then, and the caller owes a result or
 * breaker_probe_abandoned. */
bool breaker_start(struct breaker *breaker, int64_t now_ms);
/* The probe ended without having learned anything: another may try at once. */
void breaker_probe_abandoned(struct breaker *breaker, int64_t now_ms);

/* There is a new reason to hope: when it is open somebody may try at once, and should that fail the intervals begin anew. */
void breaker_hurry(struct breaker *breaker, int64_t now_ms);

/* Milliseconds until somebody may try: 0 when closed or due. While a probe runs: the base interval. */
int64_t breaker_delay_ms(const struct breaker *breaker, int64_t now_ms);

#endif
