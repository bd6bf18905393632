/* SPDX-License-Identifier: MIT */
/*
 * Twilio's REST and media, as far as reeld needs them. URLs are built from the base, the account SID and the recording or
 * call SID, never taken from a request. Each call embeds its request, zeroed or released; rules as in
 * adapters/http_client.h.
 *
 * RECORDING asks with IncludeSoftDeleted=true: for 40 days Twilio still knows what was deleted, and says so. With Twilio's own
 * base (twilio.com and what ends in .twilio.com) a private address is refused even for the first request, except behind a proxy;
 * any other base may be wherever its operator put it.
 *
 * What counts as success: RECORDING, CALL, ACCOUNT: 200 with JSON about the SID that was asked for. LIST_RECORDINGS: 200 with a page of this account's list. MEDIA: 200 alone (after
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
struct twilio_listed;   /* twilio/answer.h */
struct twilio_answer_list;

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

enum twilio_op { TWILIO_RECORDING, TWILIO_CALL, TWILIO_MEDIA, TWILIO_DELETE_RECORDING, TWILIO_ACCOUNT, TWILIO_LIST_RECORDINGS };

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
	/*
	 * LIST_RECORDINGS: recordings created on the UTC days from that of from_ms to that of to_ms, both included (at the ends of a range of several days one more
	 * may come along: Twilio's documentation does not say whether a day that is the last one counts). Times are for the caller to check.
	 */
	int64_t from_ms;
	int64_t to_ms;
	size_t page_size; /* LIST_RECORDINGS: 1 to TWILIO_LIST_MAX */
	const char *
		next_page; /* LIST_RECORDINGS: a former answer's listed_next, instead of the range; NULL or "": the first page; copied by start */
	/* MEDIA: as in http_client. on_headers is called only for a 2xx answer. */
	bool (*on_headers)(struct twilio_request *request);
	size_t (*on_receive)(struct twilio_request *request, const char *bytes, size_t len);
	/*
	 * 0; ERR_HTTP_* of the answer; ERR_MEDIA_CHANNELS (MEDIA: 400 when two channels were asked for, or Twilio's code 16113 for
	 * that), ERR_MEDIA_NOT_READY (DELETE_RECORDING: 400 or 409, since only completed recordings can be deleted), ERR_MEDIA_TYPE (MEDIA:
	 * 2xx but not 200), ERR_PROTOCOL (JSON that is none, or about another SID), transport errors. error.detail has
	 * Twilio's code and message where it sent them, what they are likely to mean, and Twilio's name of the request; never
	 * credentials.
	 */
	twilio_cb *done;
	void *data;

	/* out */
	struct http_client_request http; /* http_status, content_length, content_type, retry_after_ms are of interest */
	struct error error;
	int64_t twilio_code; /* 20404, …; 0: none */
	bool account_refused; /* the answer is about the account (twilio/explain.h), neither about Twilio nor about what was asked for */
	int64_t concurrent;  /* Twilio-Concurrent-Requests: of this account at that moment; -1: not said */
	char request_id[40]; /* Twilio-Request-Id, for Twilio's support; "": not said */
	/* RECORDING */
	char recording_status[24]; /* "completed", "processing", "absent", "deleted", … */
	int64_t duration_s;        /* -1 */
	int channels_found;        /* 0 */
	int64_t start_time_ms;     /* -1 */
	char source[32];
	struct sid found_call_sid;
	struct sid found_conference_sid;
	int64_t recording_error_code;
	bool external;       /* media_url points elsewhere: stored externally */
	char media_host[64]; /* of media_url when external; "" when that has none */
	char encryption
		[TWILIO_ENCRYPTION_TEXT_SIZE]; /* its details in the ledger's form; "": not encrypted, or none that can be read */
	/* CALL */
	char from[64];
	char to[64];
	char call_status[16];
	int64_t call_duration_s; /* -1 */
	/* LIST_RECORDINGS; until twilio_request_release */
	struct twilio_listed *listed;
	size_t listed_count;
	const char *listed_next; /* "": this was the last page */

	/* private */
	struct twilio_answer_list *list;
	struct twilio_client *client;
	struct buffer error_body; /* MEDIA: of an answer that is not audio */
};

/* 0, or an error when nothing was started (no credentials for this account: ERR_CONFIG; bad SID: ERR_INVALID). */
int twilio_start(struct twilio_client *client, struct twilio_request *request);
void twilio_resume(struct twilio_request *request);
void twilio_cancel(struct twilio_request *request);
void twilio_request_release(struct twilio_request *request);

#endif
