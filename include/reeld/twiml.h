/* SPDX-License-Identifier: MIT */
/*
 * TwiML for a voice call: say, record, start a recording, connect a stream. Sources: https://www.twilio.com/docs/voice/twiml
 * (the pages of <Say>, <Record>, <Recording>, <Connect> and <Stream>), https://www.w3.org/TR/xml/#charsets.
 *
 *	struct reeld_twiml t;
 *	char out[4096];
 *	size_t len;
 *
 *	reeld_twiml_begin(&t, out, sizeof(out));
 *	reeld_twiml_say(&t, "Hello", 5, NULL, NULL);
 *	if (reeld_twiml_end(&t, &len) == REELD_TWIML_OK)
 *		...send `len` bytes of `out` as text/xml...
 *
 * Pure: no allocation, no state but the struct's, which belongs to one thread at a time. Calls may follow each other unchecked:
 * after the first failure nothing more is written, and reeld_twiml_end says what it was.
 *
 * All text is escaped, so no input can add an element or an attribute. Text must be UTF-8 and hold only characters that XML 1.0 has
 * (no control characters but tab, line feed and carriage return, no U+FFFE, no surrogates). Attribute values that Twilio limits to
 * a few are checked, because Twilio only logs a wrong one and goes on without it.
 */
#ifndef REELD_TWIML_H
#define REELD_TWIML_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Most bytes of a document: Twilio refuses more than 64 kB (error 11750) and does not say whether a kB has 1000 bytes or 1024. A
 * buffer of one byte more, for the NUL, holds every document.
 */
#define REELD_TWIML_MAX 64000

enum reeld_twiml_result {
	REELD_TWIML_OK = 0,
	REELD_TWIML_TOO_LONG = -1,  /* for the buffer, or longer than REELD_TWIML_MAX */
	REELD_TWIML_BAD_TEXT = -2,  /* not UTF-8, a character that XML does not have, or empty where Twilio wants something */
	REELD_TWIML_BAD_URL = -3,   /* see reeld_twiml_callback_url_valid and reeld_twiml_stream_url_valid */
	REELD_TWIML_BAD_VALUE = -4, /* an attribute value that Twilio does not know */
};

/* The fields are the module's own; read them if you must, never write them. */
struct reeld_twiml {
	char *out;
	size_t cap;
	size_t len;
	bool failed;
	enum reeld_twiml_result result; /* of the first failure */
	const char *what;               /* the element or attribute that failed: "recordingStatusCallback"; a literal */
};

/* Starts a document in `out`, `cap` bytes of the caller's that must stay until reeld_twiml_end. */
void reeld_twiml_begin(struct reeld_twiml *t, char *out, size_t cap);

/*
 * <Say>: `len` bytes of UTF-8, read to the caller. `voice` ("Polly.Joanna-Neural") and `language` ("en-GB") may be NULL; of both
 * only the characters are checked. Empty text is refused: BAD_TEXT.
 */
void reeld_twiml_say(struct reeld_twiml *t, const char *text, size_t len, const char *voice, const char *language);

/* NULL: the attribute is left out, and Twilio's default holds. */
struct reeld_twiml_recording {
	const char *callback; /* recordingStatusCallback: http or https URL, or relative to the document's */
	const char *method;   /* recordingStatusCallbackMethod: "POST" or "GET" */
	const char *
		events; /* recordingStatusCallbackEvent: "in-progress", "completed", "absent", "failed", several with one space */
	const char *channels; /* "mono" or "dual" */
	const char *track;    /* "inbound", "outbound" or "both" */
	const char *trim;     /* "trim-silence" or "do-not-trim" */
	const char *name;     /* for <Stop>; unique in the call */
};

/* <Start><Recording>: records the call in the background, while what follows runs. `options` may be NULL. */
void reeld_twiml_start_recording(struct reeld_twiml *t, const struct reeld_twiml_recording *options);

/* NULL, and 0 of the numbers: the attribute is left out, and Twilio's default holds. */
struct reeld_twiml_record {
	const char *action;        /* where Twilio asks how to go on. Default: this document again, which loops */
	const char *method;        /* of action: "POST" or "GET" */
	unsigned timeout_s;        /* seconds of silence that end it */
	unsigned max_length_s;     /* seconds, 2 to 86400 (many accounts: 14400) */
	const char *finish_on_key; /* the keys that end it, of 0-9 * # */
	const char *play_beep;     /* "true" or "false" */
	const char *trim;          /* "trim-silence" or "do-not-trim" */
	const char *callback;      /* the other attributes as in reeld_twiml_recording */
	const char *callback_method;
	const char *events;
	const char *transcribe;          /* "true" or "false" */
	const char *transcribe_callback; /* URL */
};

/* <Record>: records the caller alone and waits for the end of it. `options` may be NULL. */
void reeld_twiml_record(struct reeld_twiml *t, const struct reeld_twiml_record *options);

/* What the receiver of a stream gets in its "start" message. Neither is NULL. */
struct reeld_twiml_parameter {
	const char *name; /* not empty */
	const char *value;
};

/*
 * <Connect><Stream>: the call's audio to a WebSocket server and back until the server ends it; what follows runs then. `url`: see
 * reeld_twiml_stream_url_valid. `track`: "inbound_track", "outbound_track" or "both_tracks"; NULL, and Twilio's documentation, mean
 * the first for a connected stream.
 */
void reeld_twiml_connect_stream(struct reeld_twiml *t, const char *url, const char *track,
				const struct reeld_twiml_parameter *parameters, size_t count);

/*
 * Ends the document and writes a NUL after it. *len: its bytes without the NUL. On failure *len is 0, `out` is an empty string if
 * it has room for one, and t->what names the element or attribute.
 */
enum reeld_twiml_result reeld_twiml_end(struct reeld_twiml *t, size_t *len);

/* A sentence for a log: "not UTF-8 or not allowed in XML". */
const char *reeld_twiml_message(enum reeld_twiml_result result);

/*
 * A URL that Twilio will call: printable ASCII without quotes, angle brackets, backslash and the like, every '%' before two hex
 * digits, and, if it has a scheme, http or https and a host. Twilio does not report a URL that it cannot parse; it just never calls
 * it (warning 13256). A fragment is allowed: it holds connection overrides ("#rc=5&rp=all").
 */
bool reeld_twiml_callback_url_valid(const char *url);

/*
 * A URL that Twilio can stream to: as above, but with the scheme wss (error 31922), a host, and neither query (error 31920; use
 * parameters) nor fragment nor user name.
 */
bool reeld_twiml_stream_url_valid(const char *url);

#ifdef __cplusplus
}
#endif
#endif
