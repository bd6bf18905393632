/* SPDX-License-Identifier: MIT */
#include <reeld/storage_key.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SID_HEX_DIGITS 32
#define DAY_MS INT64_C(86400000)
/* The last day of year 9999; a later one would need a fifth digit. */
#define LAST_DAY INT64_C(2932896)

static bool is_sid(const char *text, const char *prefix)
{
	if (text == NULL || strncmp(text, prefix, 2) != 0)
		return false;
	return strspn(text + 2, "0123456789abcdefABCDEF") == SID_HEX_DIGITS && text[2 + SID_HEX_DIGITS] == '\0';
}

/*
 * Days since 1970-01-01 to a Gregorian date. The year is taken to begin in March, so that the leap day is its last
 * day and the month lengths follow one straight line: five months are 153 days.
 */
static void date_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t since_march_0 = days + 719468; /* 0000-03-01 is day 0 */
	int64_t era = since_march_0 / 146097;
	int64_t day_of_era = since_march_0 % 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t march_month = (5 * day_of_year + 2) / 153;

	*day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
	*month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
	*year = (int)(era * 400 + year_of_era + (*month <= 2 ? 1 : 0));
}

int reeld_storage_key(char *out, size_t size, const char *prefix, int64_t instant_ms, const char *parent_sid,
		      const char *recording_sid, const char *extension)
{
	if (instant_ms < 0 || instant_ms / DAY_MS > LAST_DAY)
		return -1;
	if (!is_sid(parent_sid, "CA") && !is_sid(parent_sid, "CF"))
		return -1;
	if (!is_sid(recording_sid, "RE"))
		return -1;
	if (strcmp(extension, "wav") != 0 && strcmp(extension, "mp3") != 0)
		return -1;

	int year, month, day;
	date_from_days(instant_ms / DAY_MS, &year, &month, &day);
	int len = snprintf(out, size, "%s%04d/%02d/%02d/%s/%s.%s", prefix, year, month, day, parent_sid, recording_sid,
			   extension);
	return len < 0 || (size_t)len >= size ? -1 : len;
}
