/* SPDX-License-Identifier: MIT */
/*
 * Files of KEY=VALUE lines for --env-file. Blank lines and lines that begin with # are skipped, `export ` before a key is allowed.
 * A value is taken as it stands, without the white space around it; in '…' nothing is special; in "…" \n, \", \\ and \$ are
 * escapes. A # inside a value belongs to it. Of two lines with one key the last counts. Nothing is expanded. Pure but for the
 * reading of the file.
 */
#ifndef REELD_ENV_FILE_H
#define REELD_ENV_FILE_H

#include "base/err.h"
#include "base/slice.h"

#include <stddef.h>

#define ENV_FILE_MAX ((size_t)1024 * 1024) /* bytes */

struct env_pair {
	char *name;
	char *value;
};

struct env_file {
	struct env_pair *pairs;
	size_t count;
};

/* `path` is for messages. 0 or ERR_CONFIG with "path:line: problem" (never a value); on failure *file is empty. */
int env_file_parse(struct env_file *file, struct slice text, const char *path, struct error *error);
int env_file_read(struct env_file *file, const char *path, struct error *error);
/* The value, NULL when the file does not set `name`. */
const char *env_file_get(const struct env_file *file, const char *name);
void env_file_free(struct env_file *file);

/*
 * The whole of a small text file, malloc'ed with a NUL behind it. 0; ERR_CONFIG and "path: problem" when it cannot be read, is longer
 * than `max` or holds a NUL. Blocking; for the start of the program.
 */
int text_file_read(const char *path, size_t max, char **ret, size_t *len, struct error *error);

#endif
