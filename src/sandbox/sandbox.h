/* SPDX-License-Identifier: MIT */
/*
 * A stand-in for Twilio on the caller's loop: an HTTP server for REST and media, and a client that delivers signed callbacks. It misbehaves on demand
 * (sandbox/faults.h). Everything it makes up follows from the seed.
 *
 * Served with Basic auth under /2010-04-01/Accounts/{AC}: the account, recordings (JSON, list with paging, media, DELETE) and calls. Served without
 * auth under /sandbox/, for tests and people, so listen where only they can reach it:
 *   POST /sandbox/deliver?count=&from=&rate=&concurrency=&retry=&calls=&target=   starts deliveries (409 while others run)
 *   POST /sandbox/faults?fault=LIST&attempts=N                             changes the faults
 *   GET  /sandbox/stats                                                    counters
 *   GET  /sandbox/recordings?from=&limit=&format=&channels=&sha256=0|1     every recording with what it must become and what happened to it
 *
 * Loop thread only.
 */
#ifndef REELD_SANDBOX_SANDBOX_H
#define REELD_SANDBOX_SANDBOX_H

#include "base/err.h"
#include "sandbox/callbacks.h"
#include "sandbox/faults.h"
#include "sandbox/model.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* What is used when nothing is said: well-known, and of no use at the real Twilio. */
#define SANDBOX_ACCOUNT_SID "AC5a4db0c50000000000000000000000ed"
#define SANDBOX_AUTH_TOKEN "sandbox0token0sandbox0token0sand"

struct sandbox;

struct sandbox_options {
	const char *listen;      /* NULL: "127.0.0.1:0" */
	const char *account_sid; /* NULL: SANDBOX_ACCOUNT_SID */
	const char *auth_token;  /* NULL: SANDBOX_AUTH_TOKEN; a comma list: each opens REST, the first signs */
	const char *api_key;     /* further REST credentials; NULL: none */
	const char *api_secret;
	const char *target; /* callback URL when a delivery names none; NULL: none */
	uint64_t seed;
	uint64_t bytes_min;       /* 0: 64 KiB; of a recording in whatever format */
	uint64_t bytes_max;       /* 0: bytes_min */
	int channels;             /* 1, 2, or 0: some of each */
	enum audio_format format; /* what a media URL without extension gives */
	uint64_t existing;        /* recordings that are there from the start, without a callback */
	int64_t base_ms;          /* start time of the first recording; 0: the start of yesterday (UTC) */
	uint64_t days;            /* recordings are spread over so many days, up to that of base_ms; 0: 1 */
	struct fault_plan faults;
	const char *encrypt;   /* PEM file of an RSA key: recordings are encrypted with it; NULL: none is */
	double encrypted_rate; /* which part of them; 0: all */
	uint32_t stall_ms;     /* how long a stalled download stands still; 0: 60 s */
};

/* Requests by what was asked for, whatever the answer. */
enum sandbox_request {
	SANDBOX_ACCOUNT,
	SANDBOX_RECORDING,
	SANDBOX_MEDIA,
	SANDBOX_CALL,
	SANDBOX_LIST,
	SANDBOX_DELETE,
	SANDBOX_UNKNOWN, /* no such path */
	SANDBOX_REQUEST_KINDS
};

struct sandbox_stats {
	uint64_t requests[SANDBOX_REQUEST_KINDS];
	uint64_t unauthorized;        /* of the above: answered 401 */
	uint64_t not_found;           /* of the above: answered 404, faults not counted */
	uint64_t faults[FAULT_COUNT]; /* dup, reorder: see callbacks_stats */
	uint64_t media_bytes;
	uint64_t deleted;
	struct callbacks_stats callbacks;
};

/* Listens at once. `options` and its strings are copied. 0, or an error with a message and *ret NULL. */
int sandbox_new(struct sandbox **ret, uv_loop_t *loop, const struct sandbox_options *options, struct error *error);
int sandbox_port(const struct sandbox *sandbox);

/*
 * Delivers the callbacks of `delivery->count` recordings, new ones unless it says `from`. target NULL: the sandbox's. ERR_LOCKED while another
 * delivery runs, ERR_INVALID without a usable target, ERR_LIMIT, ERR_NOMEM; then no callback comes.
 */
int sandbox_start_callbacks(struct sandbox *sandbox, const struct callbacks_delivery *delivery, struct error *error);
/* Starts no further callbacks; those under way are finished, then the delivery's done_cb comes. */
void sandbox_stop_callbacks(struct sandbox *sandbox);

void sandbox_set_faults(struct sandbox *sandbox, const struct fault_plan *faults);
/* The plan in force; what a test expects follows from it. */
const struct fault_plan *sandbox_faults(const struct sandbox *sandbox);

/* "" when nothing is encrypted. */
const char *sandbox_public_key_sid(const struct sandbox *sandbox);

/* The recordings; owned by the sandbox. */
struct model *sandbox_model(struct sandbox *sandbox);
/* A media file's SHA-256. Computes all of it: 0.5 s for a GiB. Any thread. 0 or ERR_NOMEM. */
int sandbox_audio_sha256(const struct audio *media, uint8_t out[32]);

void sandbox_stats(const struct sandbox *sandbox, struct sandbox_stats *stats);

/* Ends deliveries and downloads, closes everything, frees the sandbox, then `closed`. */
void sandbox_close(struct sandbox *sandbox, void (*closed)(void *data), void *data);

#endif
