/* SPDX-License-Identifier: MIT */
/* Reading a command's options: "--name VALUE", "--name=VALUE" and flags. Pure. */
#ifndef REELD_CMD_ARGUMENTS_H
#define REELD_CMD_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct argument {
	const char *name;   /* "--count" */
	const char **value; /* of an option with a value; else NULL */
	bool *flag;         /* of one without */
};

/*
 * Reads argv[1..argc) into the table's variables. 0, or -1 with a sentence in `problem` ("unknown option '--cout'"). The last one wins when an option
 * is given twice.
 */
int arguments_parse(int argc, char **argv, const struct argument *table, size_t count, char *problem, size_t size);

/* Decimal digits up to `max`. A NULL text leaves *value as it is. */
bool argument_number(const char *text, uint64_t max, uint64_t *value);
/* "1000", "1MB" (a million), "64KiB", "2GiB" and so on. A NULL text leaves *value as it is. */
bool argument_size(const char *text, uint64_t *bytes);
/* A size but 0, or "MIN-MAX". */
bool argument_size_range(const char *text, uint64_t *min, uint64_t *max);

#endif
