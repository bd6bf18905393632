/* SPDX-License-Identifier: MIT */
/*
 * Moves events journal → ledger in batches, in order, and advances the journal's checkpoint. Drops what the idempotency filter knows.
 * At least once: a crash between ledger commit and checkpoint forwards again, which the ledger makes harmless.
 *
 * Yields to intake: while webhooks arrive faster than `busy_per_second`, it forwards only a floor (`floor_batch` every
 * `floor_interval_ms`), so that the journal always drains; else as fast as the ledger takes them. When the ledger is down it backs off
 * with jitter and keeps the events where they are.
 */
#ifndef REELD_LEDGER_FORWARDER_H
#define REELD_LEDGER_FORWARDER_H

#include "base/metrics.h"
#include "journal/journal.h"
#include "ledger/idempotency.h"
#include "ledger/ledger.h"

struct forwarder;

struct forwarder_options {
	struct journal *journal;
	struct ledger *ledger;
	struct idempotency *filter;
	struct metrics *metrics;
	/* How many leased jobs the pipeline takes now; asked before each batch. */
	size_t (*capacity)(void *data);
	/* Leased jobs for the pipeline (copied by it during the call). */
	void (*leased)(void *data, const struct ledger_job *jobs, size_t count);
	/* A batch with completed recordings was committed (more may be pending than were leased). */
	void (*forwarded)(void *data, size_t count);
	void *data;
	size_t max_batch; /* events; 0: 512 */
};

/* Starts at once with what the journal holds. NULL when out of memory. */
struct forwarder *forwarder_new(uv_loop_t *loop, const struct forwarder_options *options);
void forwarder_close(struct forwarder *forwarder, void (*closed)(void *data), void *data);

#endif
