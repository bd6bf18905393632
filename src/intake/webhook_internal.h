/* SPDX-License-Identifier: MIT */
/* What webhook.c (checks, recordings, health) and webhook_call.c (incoming calls, call statuses) share; nobody else includes it. */
#ifndef REELD_INTAKE_WEBHOOK_INTERNAL_H
#define REELD_INTAKE_WEBHOOK_INTERNAL_H

#include "base/log.h"
#include "intake/answers.h"
#include "intake/commit_queue.h"
#include "intake/connection.h"
#include "intake/incoming.h"
#include "intake/public_url.h"
#include "intake/waiting.h"
#include "intake/webhook.h"
#include "twilio/event.h"

#include <reeld/form.h>

struct webhook {
	struct webhook_options options;
	struct server *server;
	struct public_url *public_url;
	struct answers answers[ENDPOINT_COUNT];
	struct incoming incoming;
	struct metric *caught; /* duplicates that the filter kept from the journal */
	char *scratch;         /* form_parse's, for the longest body or query */
	size_t scratch_len;
	struct waiting waiting;
	struct commit_queue commits;
	/* refusals are logged, but nobody shall fill the disk with them */
	uint64_t refusals_second;
	unsigned refusals_logged;
	uint64_t refusals_suppressed;

	bool server_closed;
	unsigned open_timers;
	void (*closed)(void *data);
	void *closed_data;
};

/* A webhook that waits for the disk, and then perhaps for the ledger. First in the connection's memory of the request. */
struct pending {
	struct journal_append append;
	struct commit_waiter commit;
	struct webhook *webhook;
	struct connection *connection;
	uint64_t received_ns;
	enum endpoint endpoint;
};

/* Of a recording; it may wait for the pipeline too. */
struct call {
	struct pending pending;
	struct waiter waiter;
	struct idempotency_question question;
	struct sid recording_sid;
	enum recording_status status;
};

/* Of a call. */
struct call_event {
	struct pending pending;
	struct sid call_sid;
	bool known_status;
	uint16_t base_len;
	char base[PUBLIC_URL_BASE_SIZE]; /* the server's own URL as this request tells it, for the TwiML */
};

/* What is known of a request while it is checked. */
struct checked {
	struct connection *connection;
	const struct request *request;
	struct slice params; /* raw: body, or query of a GET */
	struct reeld_form_field fields[EVENT_MAX_FIELDS];
	size_t field_count;
	struct event event;
};

/* For the log. NULL and empty fields are left out. */
struct refusal {
	enum log_level level;
	const char *reason;
	const char *detail;
	const struct connection *connection;
	struct slice path; /* without the query */
	uint64_t now_ns;
	const char *sid; /* of the recording or call */
	const char *account_sid;
};
/* Anybody can have requests refused, at any rate: logs a few a second and counts the rest. */
void webhook_log_refused(struct webhook *webhook, const struct refusal *refusal);
/* What is told of a webhook that passed all checks and cannot be kept. */
void webhook_log_lost(const struct pending *pending, enum log_level level, const char *reason, const char *detail,
		      const char *sid);
/* The server's own part of the URL that Twilio called; see public_url_base. */
struct slice webhook_base(struct webhook *webhook, const struct checked *checked, char out[PUBLIC_URL_BASE_SIZE]);

/* webhook_call.c: an event of a call that passed all checks goes to the journal; a commit that it waited for ended. */
void webhook_take_call(struct webhook *webhook, enum endpoint endpoint, const struct checked *checked);
void webhook_call_committed(struct pending *pending, bool committed);

#endif
