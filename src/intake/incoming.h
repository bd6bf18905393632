/* SPDX-License-Identifier: MIT */
/*
 * The TwiML that answers an incoming call: GREETING, recording with our own callback, stream to STREAM_URL. With PUBLIC_URL it is written
 * once, else for each call.
 *
 * The callback's URL carries connection overrides (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides): by default
 * Twilio does not repeat a callback that was answered 5xx or not at all. Events: all four words that Twilio uses; only `completed` is
 * sent when none is asked for.
 */
#ifndef REELD_INTAKE_INCOMING_H
#define REELD_INTAKE_INCOMING_H

#include "base/err.h"
#include "base/slice.h"

#define INCOMING_OVERRIDES "#rc=5&rp=all"
#define INCOMING_EVENTS "in-progress completed absent failed"

struct incoming {
	const char *greeting;   /* NULL: none */
	const char *stream_url; /* NULL: none */
	char *space;
	size_t fixed_len; /* 0: written for each call */
};

/*
 * `greeting` and `stream_url` are borrowed; `base`: PUBLIC_URL without a slash at its end, or empty when it is not set. 0; ERR_CONFIG with the
 * line naming the variable; ERR_NOMEM.
 */
int incoming_init(struct incoming *incoming, const char *greeting, const char *stream_url, struct slice base,
		  struct error *error);
void incoming_fini(struct incoming *incoming);

/*
 * The document for a call that came to `base` (ignored where PUBLIC_URL is set). Where that is empty, or no URL that Twilio would call, the
 * callback is relative to the document's own URL. Valid until the next call. Empty when it cannot be written.
 */
struct slice incoming_twiml(struct incoming *incoming, struct slice base);

#endif
