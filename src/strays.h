/* SPDX-License-Identifier: MIT */
/*
 * Journals of workers that are no more: WORKERS was higher once. Their events go to the ledger, one journal after the other, and what is empty is
 * removed. Belongs to worker 0, or to the only process; nobody else opens them while it lives, since it holds the lock of DATA_DIR.
 *
 * Loop thread only.
 */
#ifndef REELD_STRAYS_H
#define REELD_STRAYS_H

#include "config.h"
#include "journal/journal.h"
#include "ledger/forwarder.h"

#include <uv.h>

struct strays;

/*
 * Opens DATA_DIR/worker-K/journal for every K from `workers` on. One that cannot be opened is told in the log and stays for the next start. *ret stays NULL
 * when there is none. Blocking; before the loop runs. 0, or an error with a message: DATA_DIR cannot be read, out of memory.
 */
int strays_open(struct strays **ret, uv_loop_t *loop, const struct config *config, unsigned workers, struct metrics *metrics,
		struct error *error);
/* Begins to forward, as `options` says but for the journal and what is told of its sequences. What they name outlives the strays. */
void strays_start(struct strays *strays, const struct forwarder_options *options);
/* Adds the events that are left, and the age of the oldest. `strays` may be NULL. */
void strays_add_stats(const struct strays *strays, struct journal_stats *stats);
/* Forwards nothing more; what is left stays. Before the ledger and the filter are closed. */
void strays_close(struct strays *strays, void (*closed)(void *data), void *data);

#endif
