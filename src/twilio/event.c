/* SPDX-License-Identifier: MIT */
#include "twilio/event.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/utf8.h"

#include <limits.h>
#include <reeld/phone.h>
#include <stdlib.h>

#define EVENT_VERSION 1

/* The parameters we read; all others stay in the raw ones. */
enum param {
	PARAM_ACCOUNT_SID,
	PARAM_CALL_SID,
	PARAM_CONFERENCE_SID,
	PARAM_RECORDING_SID,
	PARAM_STATUS,
	PARAM_DURATION,
	PARAM_CHANNELS,
	PARAM_START_TIME,
	PARAM_ERROR_CODE,
	PARAM_SOURCE,
	PARAM_TRACK,
	PARAM_FROM,
	PARAM_TO,
	PARAM_CALL_STATUS,
	PARAM_CALL_DURATION,
	PARAM_ENCRYPTION,
	PARAM_COUNT
};

static const struct slice param_names[PARAM_COUNT] = {
	[PARAM_ACCOUNT_SID] = SLICE("AccountSid"),
	[PARAM_CALL_SID] = SLICE("CallSid"),
	[PARAM_CONFERENCE_SID] = SLICE("ConferenceSid"),
	[PARAM_RECORDING_SID] = SLICE("RecordingSid"),
	[PARAM_STATUS] = SLICE("RecordingStatus"),
	[PARAM_DURATION] = SLICE("RecordingDuration"),
	[PARAM_CHANNELS] = SLICE("RecordingChannels"),
	[PARAM_START_TIME] = SLICE("RecordingStartTime"),
	[PARAM_ERROR_CODE] = SLICE("ErrorCode"),
	[PARAM_SOURCE] = SLICE("RecordingSource"),
	[PARAM_TRACK] = SLICE("RecordingTrack"),
	[PARAM_FROM] = SLICE("From"),
	[PARAM_TO] = SLICE("To"),
	[PARAM_CALL_STATUS] = SLICE("CallStatus"),
	[PARAM_CALL_DURATION] = SLICE("CallDuration"),
	[PARAM_ENCRYPTION] = SLICE("EncryptionDetails"),
};

static const struct {
	struct slice name;
	enum recording_status status;
} status_names[] = {
	{SLICE("in-progress"), RECORDING_IN_PROGRESS},
	{SLICE("completed"), RECORDING_COMPLETED},
	{SLICE("absent"), RECORDING_ABSENT},
	{SLICE("failed"), RECORDING_FAILED},
};

#define STATUS_COUNT (sizeof(status_names) / sizeof(status_names[0]))

const char *event_problem_message(enum event_problem problem)
{
	switch (problem) {
	case EVENT_OK:
		return "no problem";
	case EVENT_MISSING_FIELDS:
		return "Missing required fields: CallSid or RecordingSid";
	case EVENT_BAD_ACCOUNT_SID:
		return "AccountSid is not AC and 32 hex digits";
	case EVENT_BAD_CALL_SID:
		return "CallSid is not CA and 32 hex digits";
	case EVENT_BAD_CONFERENCE_SID:
		return "ConferenceSid is not CF and 32 hex digits";
	case EVENT_BAD_RECORDING_SID:
		return "RecordingSid is not RE and 32 hex digits";
	case EVENT_BAD_DURATION:
		return "RecordingDuration is not a whole number of seconds";
	case EVENT_BAD_CHANNELS:
		return "RecordingChannels is not a whole number";
	case EVENT_BAD_ERROR_CODE:
		return "ErrorCode is not a whole number";
	case EVENT_BAD_CALL_DURATION:
		return "CallDuration is not a whole number of seconds";
	}
	return "unknown problem";
}

const char *recording_status_name(enum recording_status status)
{
	for (size_t i = 0; i < STATUS_COUNT; i++) {
		if (status_names[i].status == status)
			return status_names[i].name.ptr;
	}
	return "unknown";
}

static bool slice_less(struct slice a, struct slice b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order != 0 ? order < 0 : a.len < b.len;
}

static void collect_params(struct slice values[PARAM_COUNT], const struct reeld_form_field *fields, size_t count)
{
	memset(values, 0, sizeof(values[0]) * PARAM_COUNT);
	for (size_t i = 0; i < count; i++) {
		struct slice name = {fields[i].name, fields[i].name_len};
		struct slice value = {fields[i].value, fields[i].value_len};
		if (value.len == 0)
			continue;
		for (size_t param = 0; param < PARAM_COUNT; param++) {
			/* The names differ early from the end on: most comparisons end with the last byte. */
			if (name.len != param_names[param].len ||
			    name.ptr[name.len - 1] != param_names[param].ptr[name.len - 1] ||
			    !slice_equal(name, param_names[param]))
				continue;
			if (values[param].len == 0 || slice_less(value, values[param]))
				values[param] = value;
			break;
		}
	}
}

/* False for a value that is there but is no SID of that kind. */
static bool read_sid(struct slice value, const char prefix[2], struct sid *sid)
{
	return sid_parse(value, prefix, sid) || value.len == 0;
}

/* Digits only, no sign or space, up to `max`. Leaves *out alone and is true when there is no value. */
static bool read_number(struct slice value, int64_t max, int64_t *out)
{
	if (value.len == 0)
		return true;
	int64_t number = 0;
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return false;
		int digit = value.ptr[i] - '0';
		if (number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*out = number;
	return true;
}

/* -1 stands for a length that is not known (yet): while the recording is in progress. */
static bool read_duration(struct slice value, int64_t *out)
{
	return slice_equal(value, SLICE("-1")) || read_number(value, INT32_MAX, out);
}

/*
 * Appends at *used of `out`. These texts end in the database and in JSON, which take no broken UTF-8: one bad value must not hold up
 * a whole batch. False when it was cut.
 */
static bool append_text(struct slice value, char *out, size_t size, size_t *used)
{
	while (value.len > 0) {
		bool control = (unsigned char)value.ptr[0] < 0x20 || value.ptr[0] == 0x7F;
		size_t len = control ? 0 : utf8_char(value);
		size_t taken = len > 0 ? len : 1;
		struct slice c = len > 0 ? slice_make(value.ptr, len) : SLICE("?");
		if (c.len > size - 1 - *used)
			break;
		memcpy(out + *used, c.ptr, c.len);
		*used += c.len;
		value = slice_make(value.ptr + taken, value.len - taken);
	}
	out[*used] = '\0';
	return value.len == 0;
}

static void read_text(struct slice value, char *out, size_t size)
{
	size_t used = 0;

	append_text(value, out, size, &used);
}

/* A number in full would be there for whoever reads the trail. */
static bool append_value(struct slice value, char *out, size_t size, size_t *used)
{
	char masked[REELD_PHONE_SIZE];
	struct reeld_phone phone;
	if (reeld_phone_parse(value.ptr, value.len, NULL, &phone) != REELD_PHONE_OK || phone.kind != REELD_PHONE_NUMBER)
		return append_text(value, out, size, used);
	reeld_phone_mask(phone.number, strlen(phone.number), masked, sizeof(masked));
	return append_text(slice_from_cstr(masked), out, size, used);
}

/* Also those that we know and leave alone: the URL is built from the SIDs, and what decrypts a recording is no matter for a trail. */
static bool is_known(struct slice name)
{
	if (slice_equal(name, SLICE("RecordingUrl")) || slice_equal(name, SLICE("EncryptionDetails")))
		return true;
	for (size_t param = 0; param < PARAM_COUNT; param++) {
		if (slice_equal(name, param_names[param]))
			return true;
	}
	return false;
}

static void read_unknown(struct event *event, const struct reeld_form_field *fields, size_t count)
{
	static const char more[] = "...";
	const size_t size = EVENT_UNKNOWN_SIZE - (sizeof(more) - 1);
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		struct slice name = {fields[i].name, fields[i].name_len};
		struct slice value = {fields[i].value, fields[i].value_len};
		if (is_known(name))
			continue;
		if ((used > 0 && !append_text(SLICE(", "), event->unknown, size, &used)) ||
		    !append_text(name, event->unknown, size, &used) || !append_text(SLICE("="), event->unknown, size, &used) ||
		    !append_value(value, event->unknown, size, &used)) {
			memcpy(event->unknown + used, more, sizeof(more));
			return;
		}
	}
}

static enum recording_status read_status(struct slice value)
{
	for (size_t i = 0; i < STATUS_COUNT; i++) {
		if (slice_equal_nocase(value, status_names[i].name))
			return status_names[i].status;
	}
	return RECORDING_UNKNOWN;
}

/* An instant before 1970 would be no more use for a key than none. */
static int64_t read_start_time(struct slice value)
{
	int64_t ms = -1;

	if (value.len == 0 || clock_parse_rfc2822(value.ptr, value.len, &ms) != 0 || ms < 0)
		return -1;
	return ms;
}

static void event_reset(struct event *event, enum event_kind kind)
{
	event->kind = kind;
	event->reconciled = false;
	event->account_sid.text[0] = '\0';
	event->call_sid.text[0] = '\0';
	event->conference_sid.text[0] = '\0';
	event->recording_sid.text[0] = '\0';
	event->status = RECORDING_UNKNOWN;
	event->duration_s = -1;
	event->channels = 0;
	event->start_time_ms = -1;
	event->error_code = 0;
	event->source[0] = '\0';
	event->track[0] = '\0';
	event->from[0] = '\0';
	event->to[0] = '\0';
	event->call_status[0] = '\0';
	event->unknown[0] = '\0';
	event->encrypted = false;
}

static enum event_problem read_recording(struct event *event, const struct slice values[PARAM_COUNT])
{
	int64_t channels = 0;

	if (values[PARAM_RECORDING_SID].len == 0 || (values[PARAM_CALL_SID].len == 0 && values[PARAM_CONFERENCE_SID].len == 0))
		return EVENT_MISSING_FIELDS;
	if (!read_sid(values[PARAM_RECORDING_SID], "RE", &event->recording_sid))
		return EVENT_BAD_RECORDING_SID;
	if (!read_sid(values[PARAM_CONFERENCE_SID], "CF", &event->conference_sid))
		return EVENT_BAD_CONFERENCE_SID;
	if (!read_duration(values[PARAM_DURATION], &event->duration_s))
		return EVENT_BAD_DURATION;
	if (!read_number(values[PARAM_CHANNELS], INT_MAX, &channels))
		return EVENT_BAD_CHANNELS;
	if (!read_number(values[PARAM_ERROR_CODE], INT32_MAX, &event->error_code))
		return EVENT_BAD_ERROR_CODE;
	event->channels = (int)channels;
	event->status = read_status(values[PARAM_STATUS]);
	return EVENT_OK;
}

/* A call's own callbacks may speak of a recording too; that one is not what they are about. */
static enum event_problem read_call(struct event *event, const struct slice values[PARAM_COUNT])
{
	if (values[PARAM_CALL_SID].len == 0)
		return EVENT_MISSING_FIELDS;
	if (!read_number(values[PARAM_CALL_DURATION], INT32_MAX, &event->duration_s))
		return EVENT_BAD_CALL_DURATION;
	return EVENT_OK;
}

static enum event_problem identify(struct event *event, enum event_kind kind, const struct reeld_form_field *fields, size_t count,
				   struct slice values[PARAM_COUNT])
{
	event_reset(event, kind);
	collect_params(values, fields, count);
	/* Whatever else is wrong with the event: the account says whose signature it must have. */
	bool account_good = read_sid(values[PARAM_ACCOUNT_SID], "AC", &event->account_sid);
	enum event_problem problem = kind == EVENT_RECORDING ? read_recording(event, values) : read_call(event, values);
	if (problem != EVENT_OK)
		return problem;
	if (!read_sid(values[PARAM_CALL_SID], "CA", &event->call_sid))
		return EVENT_BAD_CALL_SID;
	return account_good ? EVENT_OK : EVENT_BAD_ACCOUNT_SID;
}

enum event_problem event_identify(struct event *event, enum event_kind kind, const struct reeld_form_field *fields, size_t count)
{
	struct slice values[PARAM_COUNT];

	return identify(event, kind, fields, count, values);
}

enum event_problem event_from_form(struct event *event, enum event_kind kind, const struct reeld_form_field *fields, size_t count)
{
	struct slice values[PARAM_COUNT];
	enum event_problem problem = identify(event, kind, fields, count, values);

	if (problem != EVENT_OK)
		return problem;
	if (kind == EVENT_RECORDING) {
		event->start_time_ms = read_start_time(values[PARAM_START_TIME]);
		read_text(values[PARAM_SOURCE], event->source, sizeof(event->source));
		read_text(values[PARAM_TRACK], event->track, sizeof(event->track));
		read_unknown(event, fields, count);
		event->encrypted = values[PARAM_ENCRYPTION].len > 0;
	} else {
		read_text(values[PARAM_CALL_STATUS], event->call_status, sizeof(event->call_status));
	}
	read_text(values[PARAM_FROM], event->from, sizeof(event->from));
	read_text(values[PARAM_TO], event->to, sizeof(event->to));
	return EVENT_OK;
}

void event_encryption(const struct event *event, char out[TWILIO_ENCRYPTION_TEXT_SIZE])
{
	struct reeld_form_field fields[EVENT_MAX_FIELDS];
	struct slice values[PARAM_COUNT];
	struct twilio_encryption encryption;
	size_t count;
	out[0] = '\0';
	if (!event->encrypted)
		return;
	char *scratch = malloc(event->params.len);
	if (scratch != NULL && reeld_form_parse(event->params.ptr, event->params.len, fields, EVENT_MAX_FIELDS, scratch,
						event->params.len, &count) == REELD_FORM_OK) {
		collect_params(values, fields, count);
		if (twilio_encryption_parse(values[PARAM_ENCRYPTION], &encryption, NULL) == 0)
			twilio_encryption_format(&encryption, out);
		else
			read_text(values[PARAM_ENCRYPTION], out, TWILIO_ENCRYPTION_TEXT_SIZE);
	}
	if (out[0] == '\0')
		memcpy(out, "unreadable", sizeof("unreadable"));
	free(scratch);
}

static void put_le(unsigned char *out, size_t size, uint64_t value)
{
	for (size_t i = 0; i < size; i++)
		out[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_le(const char *in, size_t size)
{
	uint64_t value = 0;

	for (size_t i = 0; i < size; i++)
		value |= (uint64_t)(unsigned char)in[i] << (8 * i);
	return value;
}

void event_encode_header(unsigned char out[EVENT_HEADER_SIZE], enum event_kind kind, int64_t received_at_ms, size_t params_len)
{
	out[0] = EVENT_VERSION;
	out[1] = (unsigned char)kind;
	put_le(out + 2, 2, 0); /* flags */
	put_le(out + 4, 4, params_len);
	put_le(out + 8, 8, (uint64_t)received_at_ms);
}

int event_decode(struct event *event, struct slice payload, char *scratch, size_t scratch_len)
{
	if (payload.len < EVENT_HEADER_SIZE || payload.ptr[0] != EVENT_VERSION || get_le(payload.ptr + 2, 2) != 0)
		return ERR_CORRUPT;
	int kind = (unsigned char)payload.ptr[1];
	if (kind != EVENT_RECORDING && kind != EVENT_CALL_INCOMING && kind != EVENT_CALL_STATUS)
		return ERR_CORRUPT;
	struct slice params = {payload.ptr + EVENT_HEADER_SIZE, payload.len - EVENT_HEADER_SIZE};
	if (get_le(payload.ptr + 4, 4) != params.len)
		return ERR_CORRUPT;

	struct reeld_form_field fields[EVENT_MAX_FIELDS];
	size_t count;
	if (reeld_form_parse(params.ptr, params.len, fields, EVENT_MAX_FIELDS, scratch, scratch_len, &count) != REELD_FORM_OK)
		return ERR_CORRUPT;
	if (event_from_form(event, (enum event_kind)kind, fields, count) != EVENT_OK)
		return ERR_CORRUPT;
	event->received_at_ms = (int64_t)get_le(payload.ptr + 8, 8);
	event->params = params;
	return 0;
}
