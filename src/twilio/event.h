/* SPDX-License-Identifier: MIT */
/*
 * An event: one verified webhook. On the wire and in the journal it stays what Twilio sent (the raw parameters), behind a
 * small header, so that nothing unknown is lost; event_decode gives the typed view. Pure.
 *
 * Journal payload, version 1, little endian: u8 version, u8 kind, u16 flags (0), u32 params_len, i64 received_at_ms, then
 * params_len bytes of application/x-www-form-urlencoded parameters exactly as received.
 */
#ifndef REELD_TWILIO_EVENT_H
#define REELD_TWILIO_EVENT_H

#include "base/sid.h"
#include "base/slice.h"
#include "twilio/encryption.h"

#include <reeld/form.h>
#include <stdint.h>

enum event_kind { EVENT_RECORDING = 1, EVENT_CALL_INCOMING = 2, EVENT_CALL_STATUS = 3 };

enum recording_status {
	RECORDING_UNKNOWN, /* a word we do not know: acknowledged, never dropped from the audit trail */
	RECORDING_IN_PROGRESS,
	RECORDING_COMPLETED,
	RECORDING_ABSENT,
	RECORDING_FAILED,
};

#define EVENT_MAX_FIELDS 128
#define EVENT_HEADER_SIZE 16
#define EVENT_UNKNOWN_SIZE 112

struct event {
	enum event_kind kind;
	int64_t received_at_ms;
	bool reconciled; /* made from Twilio's list, no webhook; never of a journal */
	struct sid account_sid;
	struct sid call_sid;
	struct sid conference_sid;
	struct sid recording_sid;
	enum recording_status status;
	int64_t duration_s;    /* RecordingDuration, for call events CallDuration; -1: not given; at most INT32_MAX */
	int channels;          /* 0: not given */
	int64_t start_time_ms; /* RecordingStartTime; -1: not given, not readable or not in the years 1970 to 9999 */
	int64_t error_code;    /* 0: none; at most INT32_MAX */
	/*
	 * Texts: "" when not given, cut to fit between characters; always valid UTF-8 without control characters ('?'
	 * stands for what was not).
	 */
	char source[32]; /* "DialVerb" */
	char track[16];
	/* call events */
	char from[128]; /* "+15005550006", "client:earl", "sip:earl@example.com", "anonymous" */
	char to[128];
	char call_status[32];
	/*
	 * Of a recording event: the parameters that reeld does not know, "Name=value, Other=value", with "..." at the end when there
	 * are more. Whole in `params`.
	 */
	char unknown[EVENT_UNKNOWN_SIZE];
	bool encrypted;      /* EncryptionDetails was given: event_encryption */
	struct slice params; /* raw, points into the decoded payload */
};

/* Why a recording or call event is refused; the texts are the contract's. */
enum event_problem {
	EVENT_OK,
	EVENT_MISSING_FIELDS, /* "Missing required fields: CallSid or RecordingSid" */
	EVENT_BAD_ACCOUNT_SID,
	EVENT_BAD_CALL_SID,
	EVENT_BAD_CONFERENCE_SID,
	EVENT_BAD_RECORDING_SID,
	EVENT_BAD_DURATION,
	EVENT_BAD_CHANNELS,
	EVENT_BAD_ERROR_CODE,
	EVENT_BAD_CALL_DURATION,
};
const char *event_problem_message(enum event_problem problem);

/*
 * Fills the typed view from decoded fields. `params` and received_at_ms are left for the caller. Needed: RecordingSid
 * and one of CallSid and ConferenceSid for a recording, CallSid for a call. A parameter with an empty value counts as
 * not given, and so does a RecordingDuration of -1. Of a repeated name the smallest value (as bytes) counts, so that
 * the sorted fields of a verified request and those of the journal, in order of arrival, give the same event. An
 * unreadable start time is not a problem (-1). account_sid is filled whatever else is wrong.
 */
enum event_problem event_from_form(struct event *event, enum event_kind kind, const struct reeld_form_field *fields,
				   size_t count);
/* The same without texts and the start time: all that can be wrong with an event, and whose and which it is. For intake. */
enum event_problem event_identify(struct event *event, enum event_kind kind, const struct reeld_form_field *fields, size_t count);

/*
 * What the ledger keeps of EncryptionDetails: its canonical text, or, when it cannot be read, what came, cut: that the recording is encrypted must not be
 * forgotten, and Twilio's REST may say it better. "" when there is none. Needs event->params.
 */
void event_encryption(const struct event *event, char out[TWILIO_ENCRYPTION_TEXT_SIZE]);

/* The 16 header bytes that go before the raw params in a journal record. */
void event_encode_header(unsigned char out[EVENT_HEADER_SIZE], enum event_kind kind, int64_t received_at_ms, size_t params_len);

/*
 * Decodes a journal payload. 0 or ERR_CORRUPT (also for parameters that event_from_form refuses). event->params
 * points into payload. scratch: at least payload.len bytes, used only during the call.
 */
int event_decode(struct event *event, struct slice payload, char *scratch, size_t scratch_len);

const char *recording_status_name(enum recording_status status); /* "completed" */

#endif
