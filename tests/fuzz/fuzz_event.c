/* SPDX-License-Identifier: MIT */
/*
 * Journal payloads: whatever the disk gives back, an event is whole or refused, and does not depend on the order of
 * its parameters.
 */
#include "base/buffer.h"
#include "base/check.h"
#include "twilio/event.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sid(const struct sid *sid, const char *prefix)
{
	struct sid again;

	REQUIRE(!sid_is_set(sid) || sid_parse(slice_from_cstr(sid->text), prefix, &again));
}

/* A text that escapes to JSON without a replacement character in place of a byte was valid UTF-8. */
static void check_text(const char *text, size_t size)
{
	struct buffer json;

	REQUIRE(memchr(text, '\0', size) != NULL);
	for (const char *c = text; *c != '\0'; c++)
		REQUIRE((unsigned char)*c >= 0x20);
	buffer_init(&json, 6 * size);
	REQUIRE(buffer_append_json(&json, slice_from_cstr(text)) == 0);
	size_t escapes = 0;
	for (const char *c = text; *c != '\0'; c++)
		escapes += *c == '"' || *c == '\\';
	REQUIRE(json.len == strlen(text) + escapes);
	buffer_free(&json);
}

static void check_event(const struct event *event)
{
	check_sid(&event->account_sid, "AC");
	check_sid(&event->call_sid, "CA");
	check_sid(&event->conference_sid, "CF");
	check_sid(&event->recording_sid, "RE");
	if (event->kind == EVENT_RECORDING)
		REQUIRE(sid_is_set(&event->recording_sid) &&
			(sid_is_set(&event->call_sid) || sid_is_set(&event->conference_sid)));
	else
		REQUIRE(sid_is_set(&event->call_sid));
	REQUIRE(event->duration_s >= -1 && event->duration_s <= INT32_MAX);
	REQUIRE(event->error_code >= 0 && event->error_code <= INT32_MAX);
	REQUIRE(event->channels >= 0 && event->start_time_ms >= -1);
	check_text(event->source, sizeof(event->source));
	check_text(event->track, sizeof(event->track));
	check_text(event->from, sizeof(event->from));
	check_text(event->to, sizeof(event->to));
	check_text(event->call_status, sizeof(event->call_status));
}

static void check_other_order(const struct event *event, char *scratch)
{
	struct reeld_form_field fields[EVENT_MAX_FIELDS];
	struct reeld_form_field reversed[EVENT_MAX_FIELDS];
	struct event other = {0};
	size_t count;

	REQUIRE(reeld_form_parse(event->params.ptr, event->params.len, fields, EVENT_MAX_FIELDS, scratch, event->params.len,
				 &count) == REELD_FORM_OK);
	for (size_t i = 0; i < count; i++)
		reversed[i] = fields[count - 1 - i];
	REQUIRE(event_from_form(&other, event->kind, reversed, count) == EVENT_OK);
	REQUIRE(strcmp(other.recording_sid.text, event->recording_sid.text) == 0 &&
		strcmp(other.call_sid.text, event->call_sid.text) == 0);
	REQUIRE(other.status == event->status && other.duration_s == event->duration_s && other.channels == event->channels);
	REQUIRE(strcmp(other.from, event->from) == 0 && strcmp(other.source, event->source) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice payload = {(const char *)data, size};
	struct event event = {0};
	unsigned char header[EVENT_HEADER_SIZE];
	char *scratch = malloc(size > 0 ? size : 1);

	REQUIRE(scratch != NULL);
	if (event_decode(&event, payload, scratch, size) == 0) {
		check_event(&event);
		check_other_order(&event, scratch);
		event_encode_header(header, event.kind, event.received_at_ms, event.params.len);
		REQUIRE(memcmp(header, data, sizeof(header)) == 0);
	}
	free(scratch);
	return 0;
}
