/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>

int cmd_usage_error(const char *command, const char *usage, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "reeld %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nusage: %s\n", usage);
	return CMD_USAGE;
}
