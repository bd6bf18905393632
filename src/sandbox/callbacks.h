/* SPDX-License-Identifier: MIT */
/*
 * Delivers recording status callbacks as Twilio does, or whole calls (call_script.h): signed, in its form and with its headers, at a rate, with duplicates, disorder
 * and retries where asked for. One delivery at a time. Loop thread only.
 */
#ifndef REELD_SANDBOX_CALLBACKS_H
#define REELD_SANDBOX_CALLBACKS_H

#include "adapters/http_client.h"
#include "sandbox/faults.h"
#include "sandbox/model.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define CALLBACKS_MAX_CONCURRENCY 1024
#define CALLBACKS_FROM_NEW UINT64_MAX

struct callbacks;

struct callbacks_options {
	uv_loop_t *loop;
	struct http_client *http; /* borrowed, as the following */
	struct model *model;
	const struct fault_plan *faults;
	uint64_t seed;
	const char *account_sid;
	const char *auth_token; /* signs */
};

struct callbacks_stats {
	uint64_t sent;         /* events handed to the target for the first time */
	uint64_t retried;      /* further tries of them */
	uint64_t acknowledged; /* events that got a 2xx in the end */
	uint64_t refused;      /* got another status in the end */
	uint64_t failed;       /* got no answer in the end, or a call's was no TwiML */
	uint64_t duplicates;   /* of sent */
	uint64_t in_progress;  /* of sent: of recordings */
	uint64_t reordered;    /* in-progress events that follow the end, or calls whose webhooks come in another order */
	uint64_t calls;        /* of sent: calls that asked for an answer */
	uint64_t bad_twiml;    /* answers to calls that were no TwiML */
};

struct callbacks_delivery {
	uint64_t from; /* first recording; CALLBACKS_FROM_NEW: as many new ones */
	uint64_t count;
	const char *target;   /* URL; NULL: as the caller of sandbox_start_callbacks configured */
	double rate;          /* events a second, or calls; 0: as fast as the concurrency allows */
	unsigned concurrency; /* at once; 0: 64 */
	bool retry;           /* every URL as with #rc=5&rp=all, whatever its fragment says */
	/*
	 * A whole call for each recording: `target` is the URL that answers calls and ends in "/incoming"; status callbacks go to its sibling "/status", those
	 * of the recording to where the TwiML says.
	 */
	bool calls;
	/* Each event's end: `status` is the HTTP status, 0 without an answer or TwiML. May be NULL. */
	void (*event_cb)(void *data, const struct model_recording *recording, long status);
	/* All events have ended. Comes once, also when stopped. May be NULL. */
	void (*done_cb)(void *data);
	void *data;
};

/* NULL when out of memory. */
struct callbacks *callbacks_new(const struct callbacks_options *options);
/* As sandbox_start_callbacks, with `from` and `target` set. */
int callbacks_start(struct callbacks *callbacks, const struct callbacks_delivery *delivery, struct error *error);
bool callbacks_running(const struct callbacks *callbacks);
void callbacks_stop(struct callbacks *callbacks);
struct callbacks_stats callbacks_get_stats(const struct callbacks *callbacks);
/* Cancels what is under way, frees, then `closed`. */
void callbacks_close(struct callbacks *callbacks, void (*closed)(void *data), void *data);

#endif
