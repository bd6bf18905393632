/* SPDX-License-Identifier: MIT */
/*
 * The public listener: Twilio's webhooks (/api/twilio/recording, /api/twilio/incoming, /api/twilio/status), /healthz and /readyz.
 *
 * A webhook is checked in this order: size, media type, form syntax, signature, fields; then it goes to the journal, and the
 * answer leaves when the journal says that it is on disk. It waits for nothing else (with ACK=archived it goes on to wait for
 * the pipeline's word, with ACK=ledger for the ledger's commit, at most ACK_TIMEOUT). A POST is a form or empty: another media type is 415, also JSON that Twilio signs
 * by bodySHA256, since no recording event comes that way. Loop thread only.
 */
#ifndef REELD_INTAKE_WEBHOOK_H
#define REELD_INTAKE_WEBHOOK_H

#include "base/buffer.h"
#include "base/err.h"
#include "base/metrics.h"
#include "intake/tls.h"
#include "journal/journal.h"
#include "ledger/idempotency.h"
#include "ledger/ledger.h"
#include "twilio/accounts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct webhook;

/* Everything named here is borrowed and outlives the webhook, but `listen` and `trusted_proxies`. */
struct webhook_options {
	const char *listen;
	int listen_fd; /* of server_bind, the webhook's from the call on; 0: binds `listen` itself */
	struct journal *journal;
	struct idempotency *filter;
	struct twilio_accounts *accounts;
	struct metrics *metrics;
	struct tls_context *tls; /* NULL: plain HTTP */
	const char *public_url;
	const char *trusted_proxies;
	const char *greeting;   /* valid as config_speech_valid; NULL: none */
	const char *stream_url; /* valid as config_stream_valid; NULL: none */
	bool validate_signature;
	bool ack_archived;
	bool ack_ledger;
	int64_t ack_timeout_ms;
	size_t max_connections;
	size_t max_body;
	uint32_t header_timeout_ms;
	uint32_t idle_timeout_ms;
	/* ACK=archived: a request begins to wait for this recording, which may have come to its end before. May be NULL. */
	void (*waits)(void *data, const struct sid *recording_sid);
	/* Appends the body of /readyz; true when events can be accepted. */
	bool (*health)(void *data, struct buffer *body);
	void *data;
};

/* Listens at once. 0 or an error with a message; *ret is set also when listening failed and is closed by the caller. */
int webhook_new(struct webhook **ret, uv_loop_t *loop, const struct webhook_options *options, struct error *error);
int webhook_port(const struct webhook *webhook);
/* A reload: from now on these accounts sign. */
void webhook_set_accounts(struct webhook *webhook, struct twilio_accounts *accounts);

/*
 * How an attempt of the pipeline ended: answers the requests that wait for it (ACK=archived). `step` is where it failed: "store",
 * "transfer" and "describe" have answers of their own; `url` of DONE.
 */
void webhook_outcome(struct webhook *webhook, const struct sid *recording_sid, enum ledger_outcome outcome, const char *step,
		     const char *url);

/* It was archived before these requests came. */
void webhook_archived_before(struct webhook *webhook, const struct sid *recording_sid, const char *url);

/* The ledger has every event up to this sequence of the journal: answers the requests that wait for it (ACK=ledger). */
void webhook_committed(struct webhook *webhook, uint64_t sequence);
/* The ledger refused the event with this sequence: 503 for the request that waits for it (ACK=ledger). Before webhook_committed says that it is through. */
void webhook_refused(struct webhook *webhook, uint64_t sequence);

/* Stop accepting; idle connections close, busy ones after their answer. */
void webhook_drain(struct webhook *webhook);
/* Requests without an answer yet. */
size_t webhook_busy(const struct webhook *webhook);
/* Answers what still waits for the pipeline as accepted (it is on disk), for the ledger with 503, and closes. The journal must still be open. */
void webhook_close(struct webhook *webhook, void (*closed)(void *data), void *data);

#endif
