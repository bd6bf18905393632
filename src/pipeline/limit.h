/* SPDX-License-Identifier: MIT */
/*
 * How many recordings are moved at a time: additive increase, multiplicative decrease. Twilio limits by concurrency and says so
 * with 429; nobody publishes the figure, so it is found. Pure: the caller brings the clock.
 */
#ifndef REELD_PIPELINE_LIMIT_H
#define REELD_PIPELINE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Answers that were on their way when the limit was cut say nothing about the new limit: at most one cut per so many
 * milliseconds. */
#define LIMIT_CUT_EVERY_MS 1000

struct limit {
	size_t max;
	size_t current;
	int64_t cut_at_ms; /* of the last cut */
	unsigned cuts;     /* in a row, without a success between */
};

/* Starts at max, which is at least 1. */
void limit_init(struct limit *limit, size_t max);
/* A 429: halves, down to 1. False when it was cut less than LIMIT_CUT_EVERY_MS ago (nothing changes then). */
bool limit_throttled(struct limit *limit, int64_t now_ms);
/* A recording went through: one more, up to max. */
void limit_succeeded(struct limit *limit);

#endif
