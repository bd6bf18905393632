/* SPDX-License-Identifier: MIT */
#include "store/aws_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads up to file->size bytes; 0 or an errno. */
static int read_all(int fd, struct aws_file *file)
{
	while (file->len < file->size) {
		ssize_t got = read(fd, file->bytes + file->len, file->size - file->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		if (got == 0)
			return 0;
		file->len += (size_t)got;
	}
	return 0;
}

static int refuse(struct aws_file *file, const char *path, struct error *error, int code, const char *problem)
{
	aws_file_free(file);
	return error_set(error, code, "%s: %s", path, problem);
}

int aws_file_read(struct aws_file *file, const char *path, size_t max, struct error *error)
{
	*file = (struct aws_file){0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return refuse(file, path, error, err_from_errno(errno), strerror(errno));
	file->size = max + 1; /* one more than allowed, which then is the NUL's */
	file->bytes = malloc(file->size);
	if (file->bytes == NULL) {
		close(fd);
		return refuse(file, path, error, ERR_NOMEM, "out of memory");
	}
	int errnum = read_all(fd, file);
	close(fd);
	if (errnum != 0)
		return refuse(file, path, error, err_from_errno(errnum), strerror(errnum));
	if (file->len > max)
		return refuse(file, path, error, ERR_LIMIT, "longer than allowed");
	if (memchr(file->bytes, '\0', file->len) != NULL)
		return refuse(file, path, error, ERR_CORRUPT, "holds a NUL byte, is not a text file");
	file->bytes[file->len] = '\0';
	return 0;
}

void aws_file_free(struct aws_file *file)
{
	if (file->bytes != NULL)
		OPENSSL_cleanse(file->bytes, file->size);
	free(file->bytes);
	*file = (struct aws_file){0};
}
