/* SPDX-License-Identifier: MIT */
/*
 * The private listener: /metrics for Prometheus, /healthz and /readyz, and /api for people and their programs (docs/api.md). Never reachable without
 * being asked for: loopback by default. Loop thread only.
 */
#ifndef REELD_ADMIN_ADMIN_H
#define REELD_ADMIN_ADMIN_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/metrics.h"
#include "ledger/idempotency.h"
#include "ledger/ledger.h"
#include "store/store.h"

#include <stdbool.h>
#include <uv.h>

struct admin;

struct admin_options {
	const char *listen; /* "127.0.0.1:9464" */
	struct metrics *metrics;
	struct ledger *ledger;
	struct store *store;
	struct idempotency *filter; /* forgets what is deleted */
	const char *token;          /* ADMIN_TOKEN, not kept; NULL: the API asks for none */
	/* A recording was put back to be worked on. May be NULL. */
	void (*requeued)(void *data);
	bool history; /* keep the last hour for /api/history */
	/* Sets the gauges that are only worth computing when somebody looks. */
	void (*collect)(void *data);
	/* Appends the /readyz JSON body; true when events can be accepted. */
	bool (*health)(void *data, struct buffer *body);
	void *data;
};

/* Listens at once. 0 or an error with a message; *ret is set also when listening failed and is closed by the caller. */
int admin_new(struct admin **ret, uv_loop_t *loop, const struct admin_options *options, struct error *error);
int admin_port(const struct admin *admin);
/* A new ADMIN_TOKEN, for requests from now on; NULL: none. 0, or ERR_IO and the old one stays. */
int admin_set_token(struct admin *admin, const char *token);
bool admin_has_token(const struct admin *admin);
void admin_close(struct admin *admin, void (*closed)(void *data), void *data);

#endif
