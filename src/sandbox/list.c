/* SPDX-License-Identifier: MIT */
/* Twilio's list of recordings: newest first, filtered by date, in pages that stay where they are while recordings are added. */
#include "base/clock.h"
#include "sandbox/internal.h"

#include <inttypes.h>
#include <stdio.h>

#define DEFAULT_PAGE_SIZE 50
#define MAX_PAGE_SIZE 1000
#define MAX_RESPONSE (4u << 20)
#define DAY_MS INT64_C(86400000)

struct list_filter {
	int64_t from_ms; /* inclusive */
	int64_t to_ms;   /* exclusive */
	bool soft_deleted;
	uint64_t page_size;
	uint64_t page;
	uint64_t before; /* recordings with a smaller number only: the page token */
	const uint64_t *only;
};

/* Two digits or four, followed by `separator` (0: none). */
static bool take_number(struct slice *text, size_t digits, char separator, int64_t *value)
{
	uint64_t number;
	if (text->len < digits || !slice_number(slice_make(text->ptr, digits), 9999, &number))
		return false;
	*value = (int64_t)number;
	*text = slice_make(text->ptr + digits, text->len - digits);
	if (separator == 0)
		return true;
	if (text->len == 0 || text->ptr[0] != separator)
		return false;
	*text = slice_make(text->ptr + 1, text->len - 1);
	return true;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = year / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* "2026-11-23" or "2026-11-23T10:00:00Z" */
static bool parse_date(struct slice text, int64_t *ms, bool *whole_day)
{
	int64_t year, month, day, hour = 0, minute = 0, second = 0;
	if (!take_number(&text, 4, '-', &year) || !take_number(&text, 2, '-', &month) || !take_number(&text, 2, 0, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > 31 || year < 1970)
		return false;
	*whole_day = text.len == 0;
	if (!*whole_day) {
		if (text.ptr[0] != 'T')
			return false;
		text = slice_make(text.ptr + 1, text.len - 1);
		if (!take_number(&text, 2, ':', &hour) || !take_number(&text, 2, ':', &minute) ||
		    !take_number(&text, 2, 'Z', &second))
			return false;
	}
	*ms = days_from_civil(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000;
	return text.len == 0;
}

static bool take_date(const struct query *query, const char *name, struct list_filter *filter)
{
	int64_t ms;
	bool whole_day;
	struct slice text = query_get(query, name);
	char last = name[strlen(name) - 1];
	if (text.ptr == NULL)
		return true;
	if (!parse_date(text, &ms, &whole_day))
		return false;
	/* "DateCreated<=" and "DateCreated>=": the sign of equality ends the name of the parameter, so both read the same and both include the day named. */
	if (last != '<')
		filter->from_ms = ms;
	if (last != '>')
		filter->to_ms = ms + (whole_day ? DAY_MS : 1000);
	return true;
}

static bool parse_filter(const struct query *query, uint64_t count, struct list_filter *filter)
{
	if (!query_number(query, "PageSize", DEFAULT_PAGE_SIZE, UINT32_MAX, &filter->page_size) ||
	    !query_number(query, "Page", 0, UINT32_MAX, &filter->page) || filter->page_size == 0)
		return false;
	if (filter->page_size > MAX_PAGE_SIZE)
		filter->page_size = MAX_PAGE_SIZE;
	filter->from_ms = INT64_MIN;
	filter->to_ms = INT64_MAX;
	filter->soft_deleted = slice_equal(query_get(query, "IncludeSoftDeleted"), SLICE("true"));
	struct slice token = query_get(query, "PageToken");
	filter->before = count;
	if (token.ptr != NULL) {
		if (!slice_starts_with(token, SLICE("PARE")) ||
		    !slice_number(slice_make(token.ptr + 4, token.len - 4), count, &filter->before))
			return false;
	}
	return take_date(query, "DateCreated", filter) && take_date(query, "DateCreated<", filter) &&
	       take_date(query, "DateCreated>", filter);
}

/* The query of another page: what was asked for, with another Page and PageToken. */
static void write_uri(const struct request *request, const struct query *query, const struct list_filter *filter, uint64_t page,
		      uint64_t token, struct buffer *out)
{
	buffer_append_slice(out, request->path);
	buffer_printf(out, "?PageSize=%" PRIu64 "&Page=%" PRIu64, filter->page_size, page);
	if (token != UINT64_MAX)
		buffer_printf(out, "&PageToken=PARE%" PRIu64, token);
	for (size_t i = 0; i < query->count; i++) {
		struct slice name = slice_make(query->fields[i].name, query->fields[i].name_len);
		if (slice_starts_with(name, SLICE("Page")))
			continue;
		buffer_append_char(out, '&');
		buffer_append_percent(out, name, false);
		buffer_append_char(out, '=');
		buffer_append_percent(out, slice_make(query->fields[i].value, query->fields[i].value_len), false);
	}
}

static bool passes(const struct sandbox *sandbox, const struct list_filter *filter, const struct model_recording *recording)
{
	int64_t created_ms = model_created_ms(recording);
	if (created_ms < filter->from_ms || created_ms >= filter->to_ms)
		return false;
	if (filter->only != NULL && recording->index != *filter->only)
		return false;
	return filter->soft_deleted || !model_look(sandbox->model, recording->index).deleted;
}

/* Writes the page's recordings. *next becomes the next page's token, UINT64_MAX when this was the last page. Returns how many were written. */
static uint64_t write_recordings(const struct sandbox *sandbox, const struct list_filter *filter, struct buffer *out,
				 uint64_t *next)
{
	struct model_recording recording;
	uint64_t written = 0;
	*next = UINT64_MAX;
	for (uint64_t i = filter->before; i > 0; i--) {
		sandbox_recording(sandbox, i - 1, &recording);
		if (!passes(sandbox, filter, &recording))
			continue;
		if (written == filter->page_size) {
			*next = i;
			break;
		}
		if (written++ > 0)
			buffer_append_char(out, ',');
		model_write_recording(sandbox->model, &recording,
				      model_look(sandbox->model, i - 1).deleted ? "deleted" : "completed", out);
	}
	return written;
}

void list_reply(struct sandbox *sandbox, struct connection *connection, const struct request *request, const uint64_t *only)
{
	struct query query;
	struct list_filter filter;
	struct buffer body;
	uint64_t next;
	sandbox->stats.requests[SANDBOX_LIST]++;
	if (!query_parse(&query, request->query) || !parse_filter(&query, model_count(sandbox->model), &filter)) {
		reply_twilio_error(sandbox, connection, request, 400, 20001, "Bad request: malformed list parameter", NULL);
		return;
	}
	filter.only = only;
	buffer_init(&body, MAX_RESPONSE);
	buffer_append_cstr(&body, "{\"recordings\":[");
	uint64_t written = write_recordings(sandbox, &filter, &body, &next);
	uint64_t start = filter.page * filter.page_size;
	buffer_printf(&body,
		      "],\"page\":%" PRIu64 ",\"page_size\":%" PRIu64 ",\"start\":%" PRIu64 ",\"end\":%" PRIu64
		      ",\"first_page_uri\":\"",
		      filter.page, filter.page_size, start, written == 0 ? start : start + written - 1);
	write_uri(request, &query, &filter, 0, UINT64_MAX, &body);
	buffer_append_cstr(&body, "\",\"uri\":\"");
	write_uri(request, &query, &filter, filter.page, filter.before, &body);
	buffer_append_cstr(&body, "\",\"previous_page_uri\":null,\"next_page_uri\":");
	if (next == UINT64_MAX) {
		buffer_append_cstr(&body, "null}");
	} else {
		buffer_append_char(&body, '"');
		write_uri(request, &query, &filter, filter.page + 1, next, &body);
		buffer_append_cstr(&body, "\"}");
	}
	reply_json(sandbox, connection, 200, &body);
	buffer_free(&body);
}
