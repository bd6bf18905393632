/* SPDX-License-Identifier: MIT */
/* What the sandbox's own files share. */
#ifndef REELD_SANDBOX_INTERNAL_H
#define REELD_SANDBOX_INTERNAL_H

#include "intake/connection.h"
#include "sandbox/sandbox.h"

#include <reeld/form.h>

#define SANDBOX_MAX_CREDENTIALS 8
#define SANDBOX_MAX_QUERY 2048
#define SANDBOX_MAX_PARAMETERS 16

struct sandbox {
	uv_loop_t *loop;
	struct sandbox_options options; /* strings below; NULL where they have no further use */
	char account_sid[SID_LEN + 1];
	char signing_token[128];
	char target[1024];
	char *credentials[SANDBOX_MAX_CREDENTIALS]; /* base64 of "user:password" */
	size_t credential_count;
	struct sealing *sealing; /* NULL: nothing is encrypted */
	struct model *model;
	struct fault_plan faults;
	struct server *server;
	struct http_client *http;
	struct callbacks *callbacks;
	struct sandbox_stats stats;
	uint64_t request_number;
	/* Downloads and listings under way: each holds memory, and a timer or a pool request. */
	size_t open_streams;
	bool closing;
	unsigned open_parts; /* server, and callbacks then client */
	void (*closed)(void *data);
	void *closed_data;
};

/* A stream is gone; the sandbox may now be. */
void sandbox_stream_closed(struct sandbox *sandbox);

/* The decoded query of a request. */
struct query {
	struct reeld_form_field fields[SANDBOX_MAX_PARAMETERS];
	size_t count;
	char scratch[SANDBOX_MAX_QUERY];
};

/* False when it is malformed or too long. */
bool query_parse(struct query *query, struct slice text);
/* The value, or ptr NULL. */
struct slice query_get(const struct query *query, const char *name);
/* The value as a number, `fallback` when there is none; false when it is not a number up to `max`. */
bool query_number(const struct query *query, const char *name, uint64_t fallback, uint64_t max, uint64_t *value);
bool slice_number(struct slice text, uint64_t max, uint64_t *value);

/* Recording `index`, as the faults of the moment make it: one of a trunk has its source. */
void sandbox_recording(const struct sandbox *sandbox, uint64_t index, struct model_recording *recording);

/* Requests under /2010-04-01/ and under /sandbox/. */
void routes_handle(struct sandbox *sandbox, struct connection *connection, struct request *request);
void control_handle(struct sandbox *sandbox, struct connection *connection, struct request *request);

/* Header lines that Twilio's answers carry. Returns `out`. */
#define REPLY_HEADERS_SIZE 512
const char *reply_headers(struct sandbox *sandbox, char out[REPLY_HEADERS_SIZE], const char *more);
/* An error as Twilio sends it: JSON for a path that ends in .json, else XML. `more`: further header lines or NULL. */
void reply_twilio_error(struct sandbox *sandbox, struct connection *connection, const struct request *request, int status,
			int code, const char *message, const char *more);
void reply_not_found(struct sandbox *sandbox, struct connection *connection, const struct request *request);
void reply_json(struct sandbox *sandbox, struct connection *connection, int status, const struct buffer *body);
/* Gives the answer of one of the faults 404-first, 429, 500 and reset; true when it was one. */
bool reply_fault(struct sandbox *sandbox, struct connection *connection, const struct request *request, enum fault fault,
		 bool variant);
/* Counts a request for a recording and says what is to go wrong with it. `attempt` gets its number. */
enum fault sandbox_strike(struct sandbox *sandbox, uint64_t index, enum fault_request kind, unsigned *attempt);

/* GET of a recording's media. */
void media_reply(struct sandbox *sandbox, struct connection *connection, const struct request *request,
		 const struct model_recording *recording, enum audio_format format);
/* GET …/Recordings.json; `only`: the recordings of one call, or NULL. */
void list_reply(struct sandbox *sandbox, struct connection *connection, const struct request *request, const uint64_t *only);
/* GET /sandbox/recordings */
void listing_reply(struct sandbox *sandbox, struct connection *connection, const struct query *query);

#endif
