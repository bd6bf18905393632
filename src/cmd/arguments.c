/* SPDX-License-Identifier: MIT */
#include "cmd/arguments.h"

#include <stdio.h>
#include <string.h>

static const struct argument *find(const struct argument *table, size_t count, const char *text, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(table[i].name) == len && memcmp(table[i].name, text, len) == 0)
			return &table[i];
	return NULL;
}

int arguments_parse(int argc, char **argv, const struct argument *table, size_t count, char *problem, size_t size)
{
	for (int i = 1; i < argc; i++) {
		size_t len = strcspn(argv[i], "=");
		const char *value = argv[i][len] == '=' ? argv[i] + len + 1 : NULL;
		const struct argument *argument = find(table, count, argv[i], len);
		if (argument == NULL) {
			snprintf(problem, size, "unknown %s '%s'", argv[i][0] == '-' ? "option" : "argument", argv[i]);
			return -1;
		}
		if (argument->flag != NULL && value != NULL) {
			snprintf(problem, size, "%s takes no value", argument->name);
			return -1;
		}
		if (argument->flag != NULL) {
			*argument->flag = true;
			continue;
		}
		if (value == NULL && i + 1 < argc)
			value = argv[++i];
		if (value == NULL) {
			snprintf(problem, size, "%s needs a value", argument->name);
			return -1;
		}
		*argument->value = value;
	}
	return 0;
}

/* Digits at the start of the text; *rest is what follows. */
static bool take_digits(const char *text, size_t len, uint64_t *value, const char **rest)
{
	uint64_t number = 0;
	size_t i = 0;
	for (; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
		if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
		    __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
			return false;
	}
	*value = number;
	*rest = text + i;
	return i > 0;
}

bool argument_number(const char *text, uint64_t max, uint64_t *value)
{
	uint64_t number;
	const char *rest;
	if (text == NULL)
		return true;
	if (!take_digits(text, strlen(text), &number, &rest) || *rest != '\0' || number > max)
		return false;
	*value = number;
	return true;
}

static bool parse_size(const char *text, size_t len, uint64_t *bytes)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {{"", 1},
		     {"B", 1},
		     {"KB", 1000},
		     {"MB", 1000000},
		     {"GB", 1000000000},
		     {"KiB", UINT64_C(1) << 10},
		     {"MiB", UINT64_C(1) << 20},
		     {"GiB", UINT64_C(1) << 30}};
	uint64_t number;
	const char *unit;
	if (!take_digits(text, len, &number, &unit))
		return false;
	size_t unit_len = len - (size_t)(unit - text);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strlen(units[i].name) == unit_len && memcmp(units[i].name, unit, unit_len) == 0)
			return !__builtin_mul_overflow(number, units[i].factor, bytes);
	return false;
}

bool argument_size(const char *text, uint64_t *bytes)
{
	return text == NULL || parse_size(text, strlen(text), bytes);
}

bool argument_size_range(const char *text, uint64_t *min, uint64_t *max)
{
	if (text == NULL)
		return true;
	size_t len = strcspn(text, "-");
	if (!parse_size(text, len, min) || *min == 0)
		return false;
	*max = *min;
	return text[len] == '\0' || (argument_size(text + len + 1, max) && *min <= *max);
}
