/* SPDX-License-Identifier: MIT */
/*
 * Twilio's REST and media, as far as reeld needs them. URLs are built from the base, the account SID and the recording or
 * call SID, never taken from a request. Each call embeds its request, zeroed or released; rules as in
 * adapters/http_client.h.
 *
 * What counts as success: RECORDING, CALL, ACCOUNT: 200 with JSON about the SID that was asked for. MEDIA: 200 alone (after
 * at most three redirects); its bytes are still to be proved audio. DELETE_RECORDING: 2xx, or 404 with Twilio's code 20404,
 * since then somebody has deleted it before; a 404 without that code may come from something that is not Twilio. Sources:
 * Twilio's pages on the Recordings and Calls resources and its OpenAPI document twilio_api_v2010.
 */
#ifndef REELD_TWILIO_CLIENT_H
#define REELD_TWILIO_CLIENT_H

#include "adapters/http_client.h"
#include "base/buffer.h"
#include "base/sid.h"
#include "twilio/encryption.h"

#include <stdbool.h>
#include <stdint.h>

struct twilio_accounts; /* twilio/accounts.h */

struct twilio_client;

struct twilio_client_options {
	struct http_client *http;
	const char *base;                 /* TWILIO_API_BASE */
	struct twilio_accounts *accounts; /* borrowed; looked up per request */
};
struct twilio_client *twilio_client_new(const struct twilio_client_options *options);
/* No request may be in flight. */
void twilio_client_free(struct twilio_client **client);
void twilio_client_set_accounts(struct twilio_client *client, struct twilio_accounts *accounts);

enum twilio_op { TWILIO_RECORDING, TWILIO_CALL, TWILIO_MEDIA, TWILIO_DELETE_RECORDING, TWILIO_ACCOUNT };

struct twilio_request;
typedef void twilio_cb(struct twilio_request *request, int status);

struct twilio_request {
	/* in */
	enum twilio_op op;
	struct sid account_sid;
	struct sid recording_sid; /* RECORDING, MEDIA, DELETE_RECORDING */
	struct sid call_sid;      /* CALL */
	bool mp3;                 /* MEDIA: else wav */
	int channels;             /* MEDIA: RequestedChannels; 0: not asked */
	/* MEDIA: as in http_client. on_headers is called only for a 2xx answer. */
	bool (*on_headers)(struct twilio_request *request);
	size_t (*on_receive)(struct twilio_request *request, const char *bytes, size_t len);
	/*
	 * 0; ERR_HTTP_* of the answer; ERR_MEDIA_CHANNELS (MEDIA: 400 when channels were asked for), ERR_MEDIA_TYPE (MEDIA:
	 * 2xx but not 200), ERR_PROTOCOL (JSON that is none, or about another SID), transport errors. error.detail has
	 * Twilio's code and message where it sent them, never credentials.
	 */
	twilio_cb *done;
	void *data;

	/* out */
	struct http_client_request http; /* http_status, content_length, content_type, retry_after_ms are of interest */
	struct error error;
	int64_t twilio_code; /* 20404, …; 0: none */
	/* RECORDING */
	char recording_status[24]; /* "completed", "processing", "absent", "deleted", … */
	int64_t duration_s;        /* -1 */
	int channels_found;        /* 0 */
	int64_t start_time_ms;     /* -1 */
	char source[32];
	struct sid found_call_sid;
	struct sid found_conference_sid;
	int64_t recording_error_code;
	bool external; /* media_url points elsewhere: stored externally */
	char encryption
		[TWILIO_ENCRYPTION_TEXT_SIZE]; /* its details in the ledger's form; "": not encrypted, or none that can be read */
	/* CALL */
	char from[64];
	char to[64];
	char call_status[16];
	int64_t call_duration_s; /* -1 */

	/* private */
	struct twilio_client *client;
	struct buffer error_body; /* MEDIA: of an answer that is not audio */
};

/* 0, or an error when nothing was started (no credentials for this account: ERR_CONFIG; bad SID: ERR_INVALID). */
int twilio_start(struct twilio_client *client, struct twilio_request *request);
void twilio_resume(struct twilio_request *request);
void twilio_cancel(struct twilio_request *request);
void twilio_request_release(struct twilio_request *request);

#endif
