/* SPDX-License-Identifier: MIT */
#include "admin/json.h"

#include "base/clock.h"
#include "base/log.h"
#include "ledger/ledger_rules.h"

#include <inttypes.h>

void json_text(struct buffer *out, const char *name, const char *text)
{
	if (text[0] == '\0') {
		buffer_printf(out, "\"%s\":null,", name);
		return;
	}
	buffer_printf(out, "\"%s\":\"", name);
	buffer_append_json(out, slice_from_cstr(text));
	buffer_append_cstr(out, "\",");
}

void json_time(struct buffer *out, const char *name, int64_t ms)
{
	char text[CLOCK_ISO8601_SIZE] = "";
	if (ms != -1)
		clock_format_iso8601(ms, text);
	json_text(out, name, text);
}

void json_number(struct buffer *out, const char *name, int64_t value, int64_t null_value)
{
	if (value == null_value)
		buffer_printf(out, "\"%s\":null,", name);
	else
		buffer_printf(out, "\"%s\":%" PRId64 ",", name, value);
}

/* Members are written with a comma behind each. */
static void drop_comma(struct buffer *out)
{
	if (!out->failed && out->len > 0 && out->data[out->len - 1] == ',')
		out->len--;
}

void json_end(struct buffer *out)
{
	drop_comma(out);
	buffer_append_char(out, '}');
}

void json_recording(struct buffer *out, const struct ledger_recording *recording)
{
	const struct ledger_job *job = &recording->job;
	json_text(out, "sid", job->recording_sid.text);
	json_text(out, "accountSid", job->account_sid.text);
	json_text(out, "callSid", job->call_sid.text);
	json_text(out, "conferenceSid", job->conference_sid.text);
	json_text(out, "status", ledger_status_name(recording->status));
	json_number(out, "attempts", job->attempts, -1);
	json_time(out, "nextAttemptAt", recording->next_attempt_ms);
	json_text(out, "lastError", recording->last_error);
	json_number(out, "errorCode", recording->error_code, -1);
	json_text(out, "key", job->key);
	json_text(out, "url", job->url);
	json_number(out, "bytes", job->stored ? job->bytes : -1, -1);
	json_text(out, "md5", recording->md5);
	json_text(out, "sha256", job->sha256);
	json_text(out, "contentType", recording->content_type);
	json_number(out, "duration", job->duration_s, -1);
	json_number(out, "channels", job->channels, 0);
	json_text(out, "source", job->source);
	json_time(out, "startTime", job->start_time_ms);
	json_time(out, "receivedAt", recording->received_at_ms);
	json_time(out, "storedAt", recording->stored_at_ms);
	json_time(out, "deletedAtTwilioAt", recording->deleted_at_twilio_ms);
	drop_comma(out);
}

void json_call(struct buffer *out, const struct ledger_call_row *call)
{
	char masked[sizeof(call->from)];
	log_mask_phone(call->from, masked, sizeof(masked));
	json_number(out, "id", call->id, -1);
	json_text(out, "twilioSid", call->twilio_sid);
	json_text(out, "fromNumber", masked);
	json_text(out, "toNumber", call->to);
	json_text(out, "status", call->status);
	json_number(out, "duration", call->duration_s, -1);
	json_text(out, "recordingUrl", call->recording_url);
	json_text(out, "transcriptUrl", call->transcript_url);
	json_number(out, "rating", call->rating, 0);
	json_text(out, "notes", call->notes);
	buffer_printf(out, "\"tags\":%s,", call->tags[0] == '\0' ? "[]" : call->tags);
	json_time(out, "createdAt", call->created_at_ms);
	json_time(out, "updatedAt", call->updated_at_ms);
	buffer_printf(out, "\"_count\":{\"segments\":%" PRId64 "}", call->segments);
}

static void append_calls(struct buffer *out, const char *name, const struct ledger_call_row *calls, size_t count)
{
	buffer_printf(out, ",\"%s\":[", name);
	for (size_t i = 0; i < count; i++) {
		buffer_append_cstr(out, i == 0 ? "{" : ",{");
		json_call(out, &calls[i]);
		buffer_append_char(out, '}');
	}
	buffer_append_char(out, ']');
}

void json_stats(struct buffer *out, const struct ledger_stats *stats)
{
	int64_t total = 0;
	for (size_t i = 0; i < LEDGER_CALL_STATUSES; i++)
		total += stats->calls_by_status[i];
	buffer_printf(out, "{\"totalCalls\":%" PRId64 ",\"totalDuration\":%" PRId64 ",\"averageDuration\":", total,
		      stats->seconds);
	/* Of the calls that have one, to a hundredth of a second. */
	int64_t hundredths = stats->timed == 0 ? 0 : (stats->seconds * 100 + stats->timed / 2) / stats->timed;
	buffer_printf(out, "%" PRId64, hundredths / 100);
	if (hundredths % 100 != 0)
		buffer_printf(out, hundredths % 10 == 0 ? ".%01" PRId64 : ".%02" PRId64,
			      hundredths % 10 == 0 ? hundredths % 100 / 10 : hundredths % 100);
	buffer_append_cstr(out, ",\"callsByStatus\":{");
	for (size_t i = 0; i < LEDGER_CALL_STATUSES; i++)
		buffer_printf(out, "%s\"%s\":%" PRId64, i == 0 ? "" : ",", call_status_name((enum call_status)i),
			      stats->calls_by_status[i]);
	buffer_append_cstr(out, "},\"callsByDay\":[");
	for (size_t i = 0; i < LEDGER_STATS_DAYS; i++)
		buffer_printf(out, "%s{\"date\":\"%s\",\"count\":%" PRId64 "}", i == 0 ? "" : ",", stats->days[i].date,
			      stats->days[i].calls);
	buffer_append_char(out, ']');
	append_calls(out, "topRatedCalls", stats->top_rated, stats->top_rated_count);
	append_calls(out, "longestCalls", stats->longest, stats->longest_count);
	buffer_append_char(out, '}');
}
