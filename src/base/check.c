/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void check_failed(const char *condition, const char *file, int line)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "reeld: invariant broken: %s (%s:%d); stopping, please report this\n", condition,
			   file, line);
	if (len > 0) {
		size_t size = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
		ssize_t ignored = write(STDERR_FILENO, text, size);
		(void)ignored;
	}
	abort();
}
