/* SPDX-License-Identifier: MIT */
/* What implementations of the ledger share: memory of results, statuses, pages of lists. Private to the room. */
#ifndef REELD_LEDGER_LEDGER_IMPL_H
#define REELD_LEDGER_LEDGER_IMPL_H

#include "ledger/ledger.h"

/* Most recordings leased by one request; most rows of a LIST; most rows of an audit trail. */
#define LEDGER_LEASE_LIMIT 1024
#define LEDGER_LIST_LIMIT 1000
#define LEDGER_AUDIT_LIMIT 200

/* Zeroed memory that lives until ledger_arena_free. NULL when there is none. */
void *ledger_arena_alloc(struct ledger_request *request, size_t count, size_t size);
/* Frees all of it and clears the results that pointed to it. */
void ledger_arena_free(struct ledger_request *request);
/* Clears results of an earlier use of the request. */
void ledger_results_clear(struct ledger_request *request);

/* The final status of a request. `error` (may be NULL) has the database's words, used where the operation left none. Failed ones keep no results. */
void ledger_settle(struct ledger_request *request, int status, const struct error *error);
/* Errors that say that the ledger does not work, not that the request was wrong. */
bool ledger_means_down(int status);

/* LIST, RETRY: the id of the last row of the page before, left alone when there was none; 0 or ERR_INVALID with words. How many rows a page or a step has. */
int ledger_parse_cursor(struct ledger_request *request, int64_t *id);
size_t ledger_page_size(const struct ledger_request *request);

/* LACKING: room for the standings, all MISSING. 0, ERR_NOMEM, ERR_LIMIT. */
int ledger_alloc_standings(struct ledger_request *request);
/* Of a row: its status, and whether Twilio's completed came. */
enum ledger_standing ledger_standing_of(enum ledger_status status, bool completed_known);
/* "scheduled" */
const char *ledger_reconcile_kind_name(enum ledger_reconcile_kind kind);
/* LIST: whose recordings are asked for. LEDGER_OF_UNKNOWN: no SID of that kind, and words in the request. */
enum ledger_of { LEDGER_OF_ALL, LEDGER_OF_RECORDING, LEDGER_OF_CALL, LEDGER_OF_CONFERENCE, LEDGER_OF_UNKNOWN };
enum ledger_of ledger_list_of(struct ledger_request *request);

/* RETRY, DELETED_OBJECT: who asked, for the trail. */
const char *ledger_by(const struct ledger_request *request);

#endif
