/* SPDX-License-Identifier: MIT */
#include "reconcile/compare.h"

#include "base/clock.h"
#include "twilio/event.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *reconcile_verdict_name(enum reconcile_verdict verdict)
{
	static const char *const names[RECONCILE_VERDICT_COUNT] = {
		[RECONCILE_KNOWN] = "known",   [RECONCILE_MISSING] = "missing",   [RECONCILE_INCOMPLETE] = "incomplete",
		[RECONCILE_RECENT] = "recent", [RECONCILE_EXTERNAL] = "external", [RECONCILE_OTHER] = "other",
	};
	return names[verdict];
}

/* When it was complete, as far as the list says: the last of the times that it cannot have been complete before. */
static int64_t complete_ms(const struct twilio_listed *listed)
{
	const struct twilio_answer_recording *about = &listed->about;
	int64_t end_ms = -1;
	if (about->start_time_ms >= 0 && about->duration_s >= 0 && about->duration_s <= INT32_MAX)
		end_ms = about->start_time_ms + about->duration_s * 1000;
	return end_ms > listed->created_ms ? end_ms : listed->created_ms;
}

enum reconcile_verdict reconcile_compare(const struct twilio_listed *listed, enum ledger_standing standing, int64_t now_ms,
					 int64_t young_ms)
{
	const struct twilio_answer_recording *about = &listed->about;
	bool completed = strcmp(about->status, "completed") == 0;
	bool ended = strcmp(about->status, "absent") == 0 || strcmp(about->status, "failed") == 0;
	if (standing == LEDGER_STANDING_KNOWN)
		return RECONCILE_KNOWN;
	if (ended && standing == LEDGER_STANDING_ENDED)
		return RECONCILE_KNOWN;
	if (!completed && !(ended && standing == LEDGER_STANDING_WAITING))
		return RECONCILE_OTHER;
	if (!sid_is_set(&about->call_sid) && !sid_is_set(&about->conference_sid))
		return RECONCILE_OTHER;
	int64_t complete = complete_ms(listed);
	if (complete >= 0 && complete > now_ms - young_ms)
		return RECONCILE_RECENT;
	if (completed && about->external)
		return RECONCILE_EXTERNAL;
	return standing == LEDGER_STANDING_MISSING ? RECONCILE_MISSING : RECONCILE_INCOMPLETE;
}

static void add(struct buffer *params, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	if (params->len > 0)
		buffer_append_char(params, '&');
	buffer_append_cstr(params, name);
	buffer_append_char(params, '=');
	buffer_append_percent(params, slice_from_cstr(value), false);
}

static void add_number(struct buffer *params, const char *name, int64_t value, int64_t none, int64_t max)
{
	char text[24];
	if (value == none || value < 0 || value > max)
		return;
	snprintf(text, sizeof(text), "%" PRId64, value);
	add(params, name, text);
}

int reconcile_encode(const struct twilio_listed *listed, const struct sid *account_sid, int64_t now_ms, struct buffer *out)
{
	const struct twilio_answer_recording *about = &listed->about;
	unsigned char header[EVENT_HEADER_SIZE];
	char start[CLOCK_RFC2822_SIZE];
	struct buffer params;
	buffer_init(&params, 32 * 1024);
	add(&params, "AccountSid", account_sid->text);
	add(&params, "CallSid", about->call_sid.text);
	add(&params, "ConferenceSid", about->conference_sid.text);
	add(&params, "RecordingSid", listed->recording_sid.text);
	add(&params, "RecordingStatus", about->status);
	add_number(&params, "RecordingDuration", about->duration_s, -1, INT32_MAX);
	add_number(&params, "RecordingChannels", about->channels, 0, INT32_MAX);
	if (about->start_time_ms >= 0) {
		clock_format_rfc2822(about->start_time_ms, start);
		add(&params, "RecordingStartTime", start);
	}
	add(&params, "RecordingSource", about->source);
	add_number(&params, "ErrorCode", about->error_code, 0, INT32_MAX);
	if (listed->encryption != NULL)
		add(&params, "EncryptionDetails", listed->encryption);
	event_encode_header(header, EVENT_RECORDING, now_ms, params.len);
	bool failed = params.failed;
	if (!failed) {
		buffer_append(out, header, sizeof(header));
		buffer_append_slice(out, buffer_slice(&params));
	}
	buffer_free(&params);
	return failed || out->failed ? ERR_NOMEM : 0;
}
