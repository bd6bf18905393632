/* SPDX-License-Identifier: MIT */
/* What the commands over the ledger share: a ledger and a loop of their own, beside a daemon that may be running. Everything blocks. */
#ifndef REELD_CMD_CMD_LEDGER_H
#define REELD_CMD_CMD_LEDGER_H

#include "base/sid.h"
#include "cmd/cmd.h"
#include "ledger/ledger.h"

#include <stdbool.h>
#include <uv.h>

struct cmd_ledger {
	const char *command; /* for messages */
	uv_loop_t loop;
	struct ledger *ledger;
};

/* CMD_OK, or CMD_FAILED after a line on stderr: no ledger there, or it cannot be opened. Creates nothing. */
int cmd_ledger_open(struct cmd_ledger *session, const struct config *config, const char *command);
/* Submits and waits. 0, or the error after a line on stderr. Release the request afterwards. */
int cmd_ledger_run(struct cmd_ledger *session, struct ledger_request *request);
void cmd_ledger_close(struct cmd_ledger *session);

/*
 * Makes Redis, when there is one, forget the recording, whose object was deleted. When it cannot be reached a line on stderr says so, and the entry goes when its time
 * is up.
 */
void cmd_ledger_forget(struct cmd_ledger *session, const struct config *config, const struct sid *sid);

/*
 * A command run as root becomes the owner of DATA_DIR, where that is another user: the daemon, which runs as that user, could not use files of root's.
 * CMD_OK, also when there is nothing to do; CMD_FAILED after a line on stderr. Before anything is opened; for the rest of the process.
 */
int cmd_become_owner(const char *command, const char *data_dir);

/* "reeld COMMAND: message" on stderr; returns CMD_FAILED. */
int cmd_failed(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
