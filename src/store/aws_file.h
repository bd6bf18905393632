/* SPDX-License-Identifier: MIT */
/* Small text files with secrets in them: read whole, wiped when freed. Blocking; any thread. */
#ifndef REELD_STORE_AWS_FILE_H
#define REELD_STORE_AWS_FILE_H

#include "base/err.h"
#include "base/slice.h"

#include <stddef.h>

struct aws_file {
	char *bytes; /* NUL behind len; NULL: nothing read */
	size_t len;
	size_t size; /* of the allocation */
};

/*
 * 0; ERR_NOT_FOUND, ERR_DENIED, ERR_IO, ERR_LIMIT (longer than max), ERR_CORRUPT (a NUL inside), ERR_NOMEM, with "path: problem".
 * On failure *file is empty.
 */
int aws_file_read(struct aws_file *file, const char *path, size_t max, struct error *error);
void aws_file_free(struct aws_file *file);

static inline struct slice aws_file_text(const struct aws_file *file)
{
	return slice_make(file->bytes == NULL ? "" : file->bytes, file->len);
}

#endif
