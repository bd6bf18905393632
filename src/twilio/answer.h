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
	int64_t error_code;  /* 0: none */
	bool external;       /* media_url is not under this recording's own path */
	char media_host[64]; /* whose it is then, with its port; "": none, or too long */
	bool encrypted;      /* `encryption_details` is there and readable */
	struct twilio_encryption encryption;
};
/* 0, or ERR_PROTOCOL: no JSON object, or about another recording. */
int twilio_answer_recording(struct slice body, const struct sid *account_sid, const struct sid *recording_sid,
			    struct twilio_answer_recording *out);

/* One recording of a page of the list. */
struct twilio_listed {
	struct sid recording_sid;
	struct twilio_answer_recording about;
	int64_t created_ms; /* date_created; -1: unknown */
	char *encryption;   /* encryption_details, the JSON object as compact text; NULL: not encrypted, or over 4 KiB of it */
};

#define TWILIO_LIST_MAX 1000 /* the largest PageSize, https://www.twilio.com/docs/usage/twilios-response#pagination */
#define TWILIO_NEXT_PAGE_SIZE 1024

struct twilio_answer_list {
	struct twilio_listed *items;
	size_t count;
	char next_page[TWILIO_NEXT_PAGE_SIZE]; /* path and query of the next page; "": this was the last */
	const char *problem;                   /* of ERR_PROTOCOL: what is wrong; static */
};
/*
 * A page of an account's recordings. 0; ERR_NOMEM; ERR_PROTOCOL when it is not one: no `recordings` or more than `max`, an entry that is no recording of this
 * account, no `next_page_uri` (null ends the list), or one that leads anywhere but to this account's list: what is not understood must not look like the end of
 * the list, and the request for the next page carries credentials. A page that failed holds nothing.
 */
int twilio_answer_list(struct slice body, const struct sid *account_sid, size_t max, struct twilio_answer_list *out);
/* The same question of a next page that was kept: path and query of a later page of this account's list. */
bool twilio_answer_is_next_page(struct slice uri, const struct sid *account_sid);
/* Harmless on a zeroed one and twice. */
void twilio_answer_list_free(struct twilio_answer_list *list);

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
/*
 * {"code":…,"message":…}, problem details of RFC 9457 ({"type":"…/errors/20404","title":…,"detail":…}, with or without a code) or
 * <RestException><Code>…<Message>…; what cannot be read leaves the fields empty.
 */
void twilio_answer_error(struct slice body, struct twilio_answer_error *out);

#endif
