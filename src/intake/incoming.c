/* SPDX-License-Identifier: MIT */
#include "intake/incoming.h"

#include <reeld/twiml.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLBACK_PATH "/api/twilio/recording" INCOMING_OVERRIDES
#define CALLBACK_SIZE 4096

static enum reeld_twiml_result write_document(struct incoming *incoming, const char *callback, size_t *len, const char **what)
{
	const struct reeld_twiml_recording recording = {.callback = callback, .events = INCOMING_EVENTS};
	struct reeld_twiml twiml;
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

/* A base that Twilio would not call is left out: it resolves a relative URL against that of the document, which it did call. */
static enum reeld_twiml_result write_twiml(struct incoming *incoming, struct slice base, size_t *len, const char **what)
{
	char callback[CALLBACK_SIZE];
	int written = snprintf(callback, sizeof(callback), "%.*s%s", SLICE_FMT(base), CALLBACK_PATH);
	bool valid = written > 0 && (size_t)written < sizeof(callback) && reeld_twiml_callback_url_valid(callback);
	return write_document(incoming, valid ? callback : CALLBACK_PATH, len, what);
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
				 "GREETING, STREAM_URL: the TwiML for incoming calls cannot be written: %s: %s", what,
				 reeld_twiml_message(result));
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
	if (len == 0)
		write_twiml(incoming, base, &len, &what);
	return slice_make(incoming->space, len);
}
