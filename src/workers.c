/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DIRECTORY_PREFIX "worker-"
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 30000
#define PORT_MAX 65535

/* Digits, up to `max`. What is left is at *text. */
static bool read_number(const char **text, unsigned max, unsigned *value)
{
	const char *at = *text;
	unsigned number = 0;
	for (; *at >= '0' && *at <= '9'; at++) {
		number = number * 10 + (unsigned)(*at - '0');
		if (number > max)
			return false;
	}
	bool any = at != *text;
	*text = at;
	*value = number;
	return any;
}

static int fits(int len, size_t size)
{
	return len >= 0 && (size_t)len < size ? 0 : ERR_LIMIT;
}

int workers_journal_path(const char *data_dir, unsigned number, char *out, size_t size)
{
	if (number == 0)
		return fits(snprintf(out, size, "%s/journal", data_dir), size);
	return fits(snprintf(out, size, "%s/" DIRECTORY_PREFIX "%u/journal", data_dir, number), size);
}

unsigned workers_parse_directory(const char *name)
{
	size_t prefix = strlen(DIRECTORY_PREFIX);
	unsigned number;
	if (strncmp(name, DIRECTORY_PREFIX, prefix) != 0 || name[prefix] == '0')
		return 0;
	name += prefix;
	return read_number(&name, WORKERS_MAX - 1, &number) && *name == '\0' ? number : 0;
}

int workers_admin_address(const char *address, unsigned number, char *out, size_t size)
{
	const char *colon = strrchr(address, ':');
	const char *text = colon == NULL ? "" : colon + 1;
	unsigned port;
	if (!read_number(&text, PORT_MAX, &port) || *text != '\0' || (port != 0 && port + number > PORT_MAX))
		return ERR_LIMIT;
	return fits(snprintf(out, size, "%.*s:%u", (int)(colon - address), address, port == 0 ? 0 : port + number), size);
}

int workers_format_place(unsigned number, unsigned count, char *out, size_t size)
{
	return fits(snprintf(out, size, "%u/%u", number, count), size);
}

int workers_parse_place(const char *text, unsigned *number, unsigned *count)
{
	bool valid = read_number(&text, WORKERS_MAX - 1, number) && *text++ == '/' && read_number(&text, WORKERS_MAX, count) &&
		     *text == '\0' && *number < *count;
	return valid ? 0 : ERR_INVALID;
}

uint64_t workers_restart_delay(unsigned ends)
{
	uint64_t delay = RESTART_FIRST_MS;
	for (unsigned i = 1; i < ends && delay < RESTART_MAX_MS; i++)
		delay *= 2;
	return delay < RESTART_MAX_MS ? delay : RESTART_MAX_MS;
}
