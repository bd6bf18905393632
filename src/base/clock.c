/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MS_PER_SECOND INT64_C(1000)
#define MS_PER_DAY (INT64_C(86400) * MS_PER_SECOND)
/* The years 0000 to 9999, the ones that four digits can write. */
#define WALL_MIN (INT64_C(-719528) * MS_PER_DAY)
#define WALL_MAX (INT64_C(2932897) * MS_PER_DAY - 1)

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char weekday_names[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"}; /* day 0 was a Thursday */

int64_t clock_wall_ms(void)
{
	struct timespec now;
	REQUIRE(clock_gettime(CLOCK_REALTIME, &now) == 0);
	return (int64_t)now.tv_sec * MS_PER_SECOND + now.tv_nsec / 1000000;
}

uint64_t clock_mono_ns(void)
{
	struct timespec now;
	REQUIRE(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void random_bytes(void *out, size_t len)
{
	char *p = out;
	while (len > 0) {
		ssize_t got = getrandom(p, len, 0);
		if (got < 0) {
			/* Nothing that needs randomness may go on without it. */
			REQUIRE(errno == EINTR);
			continue;
		}
		p += got;
		len -= (size_t)got;
	}
}

uint64_t random_below(uint64_t bound)
{
	if (bound < 2)
		return 0;
	/* Values above the largest multiple of bound would favour the small results: draw again. */
	uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
	uint64_t value;
	do {
		random_bytes(&value, sizeof(value));
	} while (value >= limit);
	return value % bound;
}

uint64_t random_upper_half(uint64_t most)
{
	return most / 2 + random_below(most / 2 + 1);
}

struct civil {
	int64_t year;
	int month; /* 1 to 12 */
	int day;   /* 1 to 31 */
	int hour, minute, second, ms;
	int weekday; /* index into weekday_names */
};

/* Days from 1970-01-01 to a date of the Gregorian calendar, counting years from March so that the leap day comes last. */
static int64_t days_from_date(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static struct civil civil_from_wall(int64_t wall_ms)
{
	wall_ms = wall_ms < WALL_MIN ? WALL_MIN : wall_ms > WALL_MAX ? WALL_MAX : wall_ms;
	int64_t days = wall_ms / MS_PER_DAY;
	int64_t ms = wall_ms % MS_PER_DAY;
	if (ms < 0) {
		days--;
		ms += MS_PER_DAY;
	}
	int64_t shifted = days + 719468; /* from 0000-03-01 */
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t day_of_era = shifted - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day_of_year + 2) / 153;
	struct civil civil = {
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
		.hour = (int)(ms / 3600000),
		.minute = (int)(ms / 60000 % 60),
		.second = (int)(ms / 1000 % 60),
		.ms = (int)(ms % 1000),
		.weekday = (int)((days % 7 + 7) % 7),
	};
	civil.year = year_of_era + era * 400 + (civil.month <= 2);
	return civil;
}

/* Writes `value` as `width` digits: faster than snprintf for the one thing every log line does, and free of its size doubts. */
static char *put_digits(char *out, int64_t value, int width)
{
	for (int i = width - 1; i >= 0; i--, value /= 10)
		out[i] = (char)('0' + value % 10);
	return out + width;
}

static char *put_text(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

void clock_format_iso8601(int64_t wall_ms, char out[CLOCK_ISO8601_SIZE])
{
	struct civil civil = civil_from_wall(wall_ms);
	char *p = put_digits(out, civil.year, 4);
	*p++ = '-';
	p = put_digits(p, civil.month, 2);
	*p++ = '-';
	p = put_digits(p, civil.day, 2);
	*p++ = 'T';
	p = put_digits(p, civil.hour, 2);
	*p++ = ':';
	p = put_digits(p, civil.minute, 2);
	*p++ = ':';
	p = put_digits(p, civil.second, 2);
	*p++ = '.';
	p = put_digits(p, civil.ms, 3);
	put_text(p, "Z", 2);
}

void clock_format_rfc2822(int64_t wall_ms, char out[CLOCK_RFC2822_SIZE])
{
	struct civil civil = civil_from_wall(wall_ms);
	char *p = put_text(out, weekday_names[civil.weekday], 3);
	p = put_text(p, ", ", 2);
	p = put_digits(p, civil.day, 2);
	*p++ = ' ';
	p = put_text(p, month_names[civil.month - 1], 3);
	*p++ = ' ';
	p = put_digits(p, civil.year, 4);
	*p++ = ' ';
	p = put_digits(p, civil.hour, 2);
	*p++ = ':';
	p = put_digits(p, civil.minute, 2);
	*p++ = ':';
	p = put_digits(p, civil.second, 2);
	put_text(p, " +0000", 7);
}

/* A cursor over the text; each take_* advances it, or returns false and leaves it anywhere. */
struct cursor {
	const char *p;
	const char *end;
};

static void skip_spaces(struct cursor *cursor)
{
	while (cursor->p < cursor->end && (*cursor->p == ' ' || *cursor->p == '\t'))
		cursor->p++;
}

static bool take_char(struct cursor *cursor, char c)
{
	if (cursor->p == cursor->end || *cursor->p != c)
		return false;
	cursor->p++;
	return true;
}

/* min_digits to max_digits decimal digits of a value from low to high. */
static bool take_number(struct cursor *cursor, int min_digits, int max_digits, int low, int high, int *value)
{
	int digits = 0;
	*value = 0;
	while (digits < max_digits && cursor->p < cursor->end && *cursor->p >= '0' && *cursor->p <= '9') {
		*value = *value * 10 + (*cursor->p - '0');
		cursor->p++;
		digits++;
	}
	return digits >= min_digits && *value >= low && *value <= high;
}

/* The index of the three-letter name at the cursor, -1 when it is none. */
static int take_name(struct cursor *cursor, const char names[][4], int count)
{
	if (cursor->end - cursor->p < 3)
		return -1;
	for (int i = 0; i < count; i++) {
		if (strncasecmp(cursor->p, names[i], 3) == 0) {
			cursor->p += 3;
			return i;
		}
	}
	return -1;
}

static bool take_zone(struct cursor *cursor, int *minutes_east)
{
	*minutes_east = 0;
	struct slice rest = {cursor->p, (size_t)(cursor->end - cursor->p)};
	if (slice_equal_nocase(rest, SLICE("GMT")) || slice_equal_nocase(rest, SLICE("UT")) ||
	    slice_equal_nocase(rest, SLICE("UTC"))) {
		cursor->p = cursor->end;
		return true;
	}
	bool west = take_char(cursor, '-');
	if (!west && !take_char(cursor, '+'))
		return false;
	int hours, minutes;
	if (!take_number(cursor, 2, 2, 0, 23, &hours) || !take_number(cursor, 2, 2, 0, 59, &minutes))
		return false;
	*minutes_east = (hours * 60 + minutes) * (west ? -1 : 1);
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

static bool parse_rfc2822(struct cursor *cursor, int64_t *wall_ms)
{
	int year, day, hour, minute, second = 0, minutes_east;
	skip_spaces(cursor);
	if (take_name(cursor, weekday_names, 7) >= 0) {
		if (!take_char(cursor, ','))
			return false;
		skip_spaces(cursor);
	}
	if (!take_number(cursor, 1, 2, 1, 31, &day) || !take_char(cursor, ' '))
		return false;
	skip_spaces(cursor);
	int month = take_name(cursor, month_names, 12) + 1;
	if (month == 0 || !take_char(cursor, ' '))
		return false;
	skip_spaces(cursor);
	if (!take_number(cursor, 4, 4, 0, 9999, &year) || day > days_in_month(year, month) || !take_char(cursor, ' '))
		return false;
	skip_spaces(cursor);
	if (!take_number(cursor, 2, 2, 0, 23, &hour) || !take_char(cursor, ':') || !take_number(cursor, 2, 2, 0, 59, &minute))
		return false;
	/* 60 is a leap second: it counts as the first of the next minute. */
	if (take_char(cursor, ':') && !take_number(cursor, 2, 2, 0, 60, &second))
		return false;
	if (!take_char(cursor, ' '))
		return false;
	skip_spaces(cursor);
	if (!take_zone(cursor, &minutes_east))
		return false;
	int64_t minutes = days_from_date(year, month, day) * 1440 + hour * 60 + minute - minutes_east;
	*wall_ms = (minutes * 60 + second) * MS_PER_SECOND;
	return cursor->p == cursor->end;
}

int clock_parse_rfc2822(const char *text, size_t len, int64_t *wall_ms)
{
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	struct cursor cursor = {text, text + len};
	return parse_rfc2822(&cursor, wall_ms) ? 0 : ERR_MALFORMED;
}

/* ".123": what is finer than milliseconds is cut off. */
static bool take_fraction(struct cursor *cursor, int *ms)
{
	int digits = 0;
	*ms = 0;
	for (; cursor->p < cursor->end && *cursor->p >= '0' && *cursor->p <= '9'; cursor->p++, digits++) {
		if (digits < 3)
			*ms = *ms * 10 + (*cursor->p - '0');
	}
	for (int i = digits; i < 3; i++)
		*ms *= 10;
	return digits > 0;
}

static bool parse_iso8601(struct cursor *cursor, int64_t *wall_ms)
{
	int year, month, day, hour, minute, second, ms = 0, zone_hours = 0, zone_minutes = 0;
	if (!take_number(cursor, 4, 4, 0, 9999, &year) || !take_char(cursor, '-') || !take_number(cursor, 2, 2, 1, 12, &month) ||
	    !take_char(cursor, '-') || !take_number(cursor, 2, 2, 1, days_in_month(year, month), &day))
		return false;
	if (!take_char(cursor, 'T') && !take_char(cursor, 't') && !take_char(cursor, ' '))
		return false;
	if (!take_number(cursor, 2, 2, 0, 23, &hour) || !take_char(cursor, ':') || !take_number(cursor, 2, 2, 0, 59, &minute) ||
	    !take_char(cursor, ':') || !take_number(cursor, 2, 2, 0, 60, &second))
		return false;
	if (take_char(cursor, '.') && !take_fraction(cursor, &ms))
		return false;
	if (!take_char(cursor, 'Z') && !take_char(cursor, 'z')) {
		bool west = take_char(cursor, '-');
		if (!west && !take_char(cursor, '+'))
			return false;
		if (!take_number(cursor, 2, 2, 0, 23, &zone_hours) || !take_char(cursor, ':') ||
		    !take_number(cursor, 2, 2, 0, 59, &zone_minutes))
			return false;
		zone_hours = west ? -zone_hours : zone_hours;
		zone_minutes = west ? -zone_minutes : zone_minutes;
	}
	int64_t minutes = days_from_date(year, month, day) * 1440 + (hour - zone_hours) * 60 + minute - zone_minutes;
	*wall_ms = (minutes * 60 + second) * MS_PER_SECOND + ms;
	return cursor->p == cursor->end;
}

int clock_parse_iso8601(const char *text, size_t len, int64_t *wall_ms)
{
	struct cursor cursor = {text, text + len};
	return parse_iso8601(&cursor, wall_ms) ? 0 : ERR_MALFORMED;
}
