/* SPDX-License-Identifier: MIT */
/*
 * Moves events journal → ledger in batches, in order, and advances the journal's checkpoint. Drops what the idempotency filter knows.
 * At least once: a crash between ledger commit and checkpoint forwards again, which the ledger makes harmless.
 *
 * Yields to intake: while webhooks arrive faster than `busy_per_second`, it forwards only a floor (`floor_batch` every
 * `floor_interval_ms`, or less often when a batch takes so long that this would be more than a two-hundredth of the time), so that recordings keep
 * moving; else as fast as the ledger takes them. A burst is yielded to until `yield_events` are waiting: after that it
 * is not a burst but the load. Right after a batch, a few events wait `linger_ms` for company, since a commit costs as much as several events; the first
 * one after a pause goes at once. When the ledger is down it backs off with jitter and keeps the events where they are.
 *
 * An event that the ledger refuses for good (an error of class PERMANENT) must not hold up those behind it: the batch is narrowed down to it, it is
 * logged with its SIDs, told of (`refused`) and stepped over.
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
	/* A batch was not answered and now it is, by the same batch sent again: leases may have been given of which `leased` was not told. May be NULL. */
	void (*answer_lost)(void *data);
	/* The ledger has every event up to this sequence, but those of which `refused` was told before. May be NULL. */
	void (*committed)(void *data, uint64_t sequence);
	/* The ledger refused the event with this sequence for good, and it is stepped over. May be NULL. */
	void (*refused)(void *data, uint64_t sequence);
	void *data;
	size_t max_batch;           /* events; 0: 512 */
	uint64_t busy_per_second;   /* 0: 10,000 */
	size_t floor_batch;         /* 0: 512 */
	uint64_t floor_interval_ms; /* 0: 100 */
	uint64_t linger_ms;         /* 0: 20 */
	bool prompt;                /* never linger: somebody waits for the ledger's answer */
	uint64_t yield_events;      /* 0: 500,000; keep it well below what JOURNAL_MAX holds (an event takes about 1 KiB) */
};

/* Starts with what the journal holds, from the first loop turn on. Needs the journal's commit callback. NULL when out of memory. */
struct forwarder *forwarder_new(uv_loop_t *loop, const struct forwarder_options *options);
/* Forwards nothing more; waits for what is under way. Before the journal, the ledger and the filter are closed. */
void forwarder_close(struct forwarder *forwarder, void (*closed)(void *data), void *data);

#endif
