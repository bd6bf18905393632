/* SPDX-License-Identifier: MIT */
/*
 * What Twilio's answers say: JSON about recordings and calls, and errors in JSON or XML. Pure; the input may be anything.
 * Formats: Twilio's OpenAPI document twilio_api_v2010 (api.v2010.account.recording, .call); errors as its server SDKs read them.
 */
#ifndef REELD_TWILIO_ANSWER_H
#define REELD_TWILIO_ANSWER_H

#include "base/sid.h"
#include "base/slice.h"
#include "twilio/encryption.h"

#include <stdbool.h>
#include <stdint.h>

/* Texts are "" when absent, cut to fit, with '?' for control characters. */
struct twilio_answer_recording {
	char status[24];
	int64_t duration_s;    /* -1: unknown */
	int channels;          /* 0: unknown */
	int64_t start_time_ms; /* -1: unknown */
	char source[32];
	struct sid call_sid;
	struct sid conference_sid;
	int64_t error_code; /* 0: none */
	bool external;      /* media_url is not under this recording's own path */
	bool encrypted;     /* `encryption_details` is there and readable */
	struct twilio_encryption encryption;
};
/* 0, or ERR_PROTOCOL: no JSON object, or about another recording. */
int twilio_answer_recording(struct slice body, const struct sid *account_sid, const struct sid *recording_sid,
			    struct twilio_answer_recording *out);

struct twilio_answer_call {
	char from[64];
	char to[64];
	char status[16];
	int64_t duration_s; /* -1: unknown */
};
/* 0, or ERR_PROTOCOL as above. */
int twilio_answer_call(struct slice body, const struct sid *call_sid, struct twilio_answer_call *out);

struct twilio_answer_error {
	int64_t code; /* 20404, …; 0: none */
	char message[160];
};
/* {"code":…,"message":…} or <RestException><Code>…<Message>…; what cannot be read leaves the fields empty. */
void twilio_answer_error(struct slice body, struct twilio_answer_error *out);

#endif
