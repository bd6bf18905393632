/* SPDX-License-Identifier: MIT */
/*
 * The last hour of this process, one sample every 5 seconds, in a ring of fixed size: what the page plots before anybody has set up a Prometheus. Gone after a
 * restart. Loop thread only.
 *
 * Counters become differences per sample. The ledger's counts are asked for with each sample, unless that takes more than a fiftieth of the ledger's
 * time: then up to half of HISTORY_COUNTS_MS lie between two counts. Older than HISTORY_COUNTS_MS they are unknown (null).
 */
#ifndef REELD_ADMIN_HISTORY_H
#define REELD_ADMIN_HISTORY_H

#include "base/buffer.h"
#include "base/metrics.h"
#include "ledger/ledger.h"

#include <stdint.h>
#include <uv.h>

#define HISTORY_INTERVAL_MS 5000
#define HISTORY_SAMPLES 720 /* an hour */
#define HISTORY_COUNTS_MS 60000
#define HISTORY_MAX_JSON (160 * 1024) /* of what history_append_json appends, generously */

struct history;

struct history_options {
	struct metrics *metrics;
	/* Sets the gauges of the journal. May be NULL. */
	void (*collect)(void *data);
	/* Asks the ledger for its counts, unless that is under way. history_counted() is told, later. */
	void (*ask)(void *data);
	void *data;
};

/* NULL when out of memory. Asks for the first counts, and from then on with every sample. */
struct history *history_new(uv_loop_t *loop, const struct history_options *options);
/* What the ledger counted, LEDGER_STATUS_COUNT of them, whoever asked for it; NULL: it could not. */
void history_counted(struct history *history, const int64_t *counts);
/* Takes a sample as the timer does. */
void history_sample(struct history *history);
/*
 * Appends members of a JSON object: "intervalSeconds":5,"now":…,"fields":[…],"counts":{…} or null,"samples":[[ms,…],…]. `ms` is the sample's time since the
 * Unix epoch; the others are in the order of "fields". Samples not later than since_ms are left out; -1: all.
 */
void history_append_json(const struct history *history, int64_t since_ms, struct buffer *out);
/* `closed` comes later, once; the history is gone then. */
void history_close(struct history *history, void (*closed)(void *data), void *data);

#endif
