/* SPDX-License-Identifier: MIT */
/*
 * Which ledger, filter and store a configuration names, and opening them: what the daemon, `check` and the commands over the ledger
 * share. Loop thread only.
 */
#ifndef REELD_ENGINES_H
#define REELD_ENGINES_H

#include "base/err.h"
#include "config.h"
#include "ledger/idempotency.h"
#include "ledger/ledger.h"
#include "store/store.h"

#include <stdbool.h>
#include <uv.h>

/* Postgres with a DATABASE_URL, else SQLite in DATA_DIR. */
bool engines_use_postgres(const struct config *config);

/* Who opens the ledger: a command changes no schema; one of several workers migrates as configured; the only daemon also ends the leases that it finds. */
enum engines_user { ENGINES_COMMAND, ENGINES_WORKER, ENGINES_DAEMON };

/* For who starts workers and holds the data directory's lock: what ENGINES_DAEMON does beyond ENGINES_WORKER. Blocking. 0 or an error with a message. */
int engines_take_over_ledger(const struct config *config, struct error *error);
/*
 * `owner` names this process in leases. 0 or an error with a message. A Postgres that is away is no error: it is connected to in the background. Blocking; before the loop runs.
 */
int engines_open_ledger(struct ledger **ret, uv_loop_t *loop, const struct config *config, const char *owner,
			enum engines_user user, struct error *error);
/* Redis with a REDIS_URL (away is no error), else a table in this process. The same errors. */
int engines_open_filter(struct idempotency **ret, uv_loop_t *loop, const struct config *config, struct error *error);

/* A store and what it needs: an HTTP client of its own and credentials. */
struct storage;

/* 0 or an error with a message; nothing is to be closed then, but the loop must turn once more. Sends nothing. Blocking; before the loop runs. */
int storage_open(struct storage **ret, uv_loop_t *loop, const struct config *config, struct error *error);
struct store *storage_store(const struct storage *storage);
/* What keys of recordings begin with. */
const char *storage_prefix(const struct storage *storage);
/* For people: "directory /var/lib/reeld/recordings", "s3 bucket my-recordings, credentials from environment". */
void storage_describe(const struct storage *storage, char *out, size_t size);
/* Variables or files changed. `config` replaces the one of storage_open and must live as long as the storage. */
void storage_reload(struct storage *storage, const struct config *config);
/* For the daemon: from now on leftovers of cut uploads are removed, soon and then every few hours (STORE_CLEAN). */
void storage_tend(struct storage *storage);
/* For commands that need credentials at hand (store_link): turns the loop until there are some. 0 or an error with a message. */
int storage_wait_credentials(struct storage *storage, struct error *error);
/* Closes the store (see store_close) and then the rest. */
void storage_close(struct storage *storage, void (*closed)(void *data), void *data);

#endif
