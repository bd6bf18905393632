/* SPDX-License-Identifier: MIT */
#include "intake/incoming.h"

#include <reeld/twiml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLBACK_PATH "/api/twilio/recording" INCOMING_OVERRIDES
#define CALLBACK_SIZE 4096

static enum reeld_twiml_result write_twiml(struct incoming *incoming, struct slice base, size_t *len, const char **what)
{
	char callback[CALLBACK_SIZE];
	struct reeld_twiml twiml;
	*len = 0;
	*what = "recordingStatusCallback";
	if (base.len + sizeof(CALLBACK_PATH) > sizeof(callback))
		return REELD_TWIML_TOO_LONG;
	snprintf(callback, sizeof(callback), "%.*s%s", SLICE_FMT(base), CALLBACK_PATH);
	const struct reeld_twiml_recording recording = {.callback = callback, .events = INCOMING_EVENTS};
	reeld_twiml_begin(&twiml, incoming->space, REELD_TWIML_MAX + 1);
	if (incoming->greeting != NULL)
		reeld_twiml_say(&twiml, incoming->greeting, strlen(incoming->greeting), NULL, NULL);
	reeld_twiml_start_recording(&twiml, &recording);
	if (incoming->stream_url != NULL)
		reeld_twiml_connect_stream(&twiml, incoming->stream_url, NULL, NULL, 0);
	enum reeld_twiml_result result = reeld_twiml_end(&twiml, len);
	*what = twiml.what;
	return result;
}

int incoming_init(struct incoming *incoming, const char *greeting, const char *stream_url, struct slice base, struct error *error)
{
	size_t len;
	const char *what;
	*incoming = (struct incoming){.greeting = greeting, .stream_url = stream_url};
	incoming->space = malloc(REELD_TWIML_MAX + 1);
	if (incoming->space == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	enum reeld_twiml_result result = write_twiml(incoming, base, &len, &what);
	if (result != REELD_TWIML_OK)
		return error_set(error, ERR_CONFIG,
				 "PUBLIC_URL, GREETING, STREAM_URL: the TwiML for incoming calls cannot be written: %s is %s",
				 what, reeld_twiml_message(result));
	incoming->fixed_len = base.len > 0 ? len : 0;
	return 0;
}

void incoming_fini(struct incoming *incoming)
{
	free(incoming->space);
	incoming->space = NULL;
}

struct slice incoming_twiml(struct incoming *incoming, struct slice base)
{
	const char *what;
	size_t len = incoming->fixed_len;
	/* A Host that is none that Twilio would call: it resolves a relative URL against that of the document, which it did call. */
	if (len == 0 && write_twiml(incoming, base, &len, &what) != REELD_TWIML_OK)
		write_twiml(incoming, slice_make("", 0), &len, &what);
	return slice_make(incoming->space, len);
}
