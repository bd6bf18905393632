/* SPDX-License-Identifier: MIT */
/*
 * The composition root: builds every room from the configuration, in start order, connects them, and takes them down in reverse. Used by serve and demo.
 *
 * Loop thread only. app_new blocks (files are opened, the journal is replayed, migrations run) and is called before the loop turns.
 */
#ifndef REELD_APP_H
#define REELD_APP_H

#include "base/err.h"
#include "config.h"
#include "ledger/ledger.h"
#include "twilio/accounts.h"

#include <stdbool.h>
#include <uv.h>

struct app;

/* Which one of the processes on a DATA_DIR this is, and what the supervisor gave it (docs/architecture.md, "Workers"). */
struct app_worker {
	unsigned number; /* from 0 */
	unsigned count;
	int listen_fd;                 /* bound to LISTEN; the app's from the call on */
	int lock_fd;                   /* of DATA_DIR's journal, locked; worker 0's app takes it, the others only keep it open */
	char owner[LEDGER_OWNER_SIZE]; /* its name in leases, the same in each of its lives */
};

/* Makes DATA_DIR where it is missing, durably. 0, or an error with a message. */
int app_make_data_dir(const struct config *config, struct error *error);
/* A name for leases that nobody else has: host, process and a random number. */
void app_make_owner(char owner[LEDGER_OWNER_SIZE]);

/*
 * Opens everything and listens. `config` and `worker` (NULL: the only process) are borrowed until the app is freed. On an error *ret stays NULL and what was opened is closing: run the loop until
 * nothing is left.
 */
int app_new(struct app **ret, uv_loop_t *loop, const struct config *config, const struct app_worker *worker, struct error *error);

int app_public_port(const struct app *app);
int app_admin_port(const struct app *app); /* 0 when off */

/* How each recording's attempt ended, for the demo. One listener. */
typedef void app_outcome_cb(void *data, const struct sid *recording_sid, enum ledger_outcome outcome, int code, const char *step,
			    const char *url);
void app_on_outcome(struct app *app, app_outcome_cb *callback, void *data);

/* How the limit of open files was divided. */
struct app_limits {
	uint64_t limit;       /* open files */
	uint64_t wanted;      /* what the settings need */
	uint64_t connections; /* of the public listener: MAX_CONNECTIONS, or what the limit leaves */
};
/* 0, or ERR_CONFIG with a message: too few even for the transfers and everything else that must have them. */
int app_limit_connections(const struct config *config, uint64_t limit, struct app_limits *ret, struct error *error);

/* The accounts that the configuration names. 0 or ERR_CONFIG with a message. Blocking when there is an accounts file. */
int app_build_accounts(const struct config *config, struct twilio_accounts **ret, struct error *error);

/* SIGHUP: reads secrets, accounts and certificate files again. What is wrong is logged and the old ones stay. */
void app_reload(struct app *app);

/*
 * Not ready at once; stops accepting; lets requests and running jobs finish for at most SHUTDOWN_GRACE, releases what is left, closes every room in
 * reverse order and frees the app; then `stopped`. The loop has none of our handles left afterwards.
 */
void app_stop(struct app *app, void (*stopped)(void *data), void *data);

#endif
