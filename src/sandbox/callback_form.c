/* SPDX-License-Identifier: MIT */
#include "sandbox/callback_form.h"

#include "base/check.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_FIELDS 16

/* The fields, and the texts that some of them point to. */
struct fields {
	struct reeld_form_field list[MAX_FIELDS];
	size_t count;
	char url[160];
	char time[CLOCK_RFC2822_SIZE];
	char duration[24];
	char minutes[24];
	char encryption[TWILIO_ENCRYPTION_TEXT_SIZE];
	struct model_numbers numbers;
};

static const struct {
	const char *status;
	const char *sequence; /* NULL: not a status callback */
	bool of_recording;
} kinds[] = {
	[CALLBACK_COMPLETED] = {"completed", NULL, true},       [CALLBACK_IN_PROGRESS] = {"in-progress", NULL, true},
	[CALLBACK_CALL_INCOMING] = {"ringing", NULL, false},    [CALLBACK_CALL_RINGING] = {"ringing", "0", false},
	[CALLBACK_CALL_ANSWERED] = {"in-progress", "1", false}, [CALLBACK_CALL_ENDED] = {"completed", "2", false},
};

bool callback_is_of_recording(enum callback_kind kind)
{
	return kinds[kind].of_recording;
}

static void add(struct fields *fields, const char *name, const char *value)
{
	REQUIRE(fields->count < MAX_FIELDS);
	fields->list[fields->count++] = (struct reeld_form_field){name, strlen(name), value, strlen(value)};
}

static int add_encryption(struct fields *fields, const struct sealing *sealing, uint64_t index)
{
	struct twilio_encryption details;
	if (!sealing_applies(sealing, index))
		return 0;
	if (sealing_details(sealing, index, &details) != 0)
		return ERR_IO;
	twilio_encryption_format(&details, fields->encryption);
	add(fields, "EncryptionDetails", fields->encryption);
	return 0;
}

static int add_recording(struct fields *fields, const struct callback_form *form, enum callback_kind kind,
			 const struct model_recording *recording)
{
	snprintf(fields->url, sizeof(fields->url), "https://api.twilio.com/2010-04-01/Accounts/%s/Recordings/%s",
		 form->account_sid, recording->recording_sid.text);
	clock_format_rfc2822(recording->start_ms, fields->time);
	add(fields, "RecordingSource", "StartCallRecordingAPI");
	add(fields, "RecordingTrack", "both");
	add(fields, "RecordingSid", recording->recording_sid.text);
	add(fields, "RecordingUrl", fields->url);
	add(fields, "RecordingStatus", kinds[kind].status);
	add(fields, "RecordingChannels", recording->channels == 2 ? "2" : "1");
	add(fields, "ErrorCode", "0");
	add(fields, "CallSid", recording->call_sid.text);
	add(fields, "RecordingStartTime", fields->time);
	add(fields, "AccountSid", form->account_sid);
	if (kind == CALLBACK_IN_PROGRESS)
		return 0;
	add(fields, "RecordingDuration", fields->duration);
	return add_encryption(fields, model_sealing(form->model), recording->index);
}

static void add_call(struct fields *fields, const struct callback_form *form, enum callback_kind kind,
		     const struct model_recording *recording)
{
	bool ended = kind == CALLBACK_CALL_ENDED;
	model_numbers(form->model, recording->index, &fields->numbers);
	clock_format_rfc2822(ended ? model_created_ms(recording) : recording->start_ms, fields->time);
	snprintf(fields->minutes, sizeof(fields->minutes), "%" PRIu64, (recording->duration_s + 59) / 60);
	add(fields, "AccountSid", form->account_sid);
	add(fields, "ApiVersion", "2010-04-01");
	add(fields, "CallSid", recording->call_sid.text);
	add(fields, "CallStatus", kinds[kind].status);
	add(fields, "Called", fields->numbers.to);
	add(fields, "Caller", fields->numbers.from);
	add(fields, "Direction", "inbound");
	add(fields, "From", fields->numbers.from);
	add(fields, "To", fields->numbers.to);
	if (kinds[kind].sequence == NULL)
		return;
	add(fields, "CallbackSource", "call-progress-events");
	add(fields, "SequenceNumber", kinds[kind].sequence);
	add(fields, "Timestamp", fields->time);
	if (ended) {
		add(fields, "CallDuration", fields->duration);
		add(fields, "Duration", fields->minutes);
	}
}

/* The signature sorts the fields, so it comes last. */
int callback_form_write(const struct callback_form *form, enum callback_kind kind, const struct model_recording *recording,
			const char *url, struct buffer *body, char signature[REELD_SIGNATURE_SIZE])
{
	struct fields fields = {.count = 0};
	int code = 0;
	snprintf(fields.duration, sizeof(fields.duration), "%" PRIu64, recording->duration_s);
	if (kinds[kind].of_recording)
		code = add_recording(&fields, form, kind, recording);
	else
		add_call(&fields, form, kind, recording);
	if (code != 0)
		return code;
	buffer_clear(body);
	for (size_t i = 0; i < fields.count; i++) {
		if (i > 0)
			buffer_append_char(body, '&');
		buffer_append(body, fields.list[i].name, fields.list[i].name_len);
		buffer_append_char(body, '=');
		buffer_append_percent(body, slice_make(fields.list[i].value, fields.list[i].value_len), false);
	}
	struct reeld_signature_request request = {
		.base = url, .base_len = strlen(url), .fields = fields.list, .field_count = fields.count};
	return body->failed || !reeld_signature_sign(form->key, &request, signature) ? ERR_NOMEM : 0;
}
