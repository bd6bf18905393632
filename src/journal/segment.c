/* SPDX-License-Identifier: MIT */
#include "journal/segment.h"

#include "base/err.h"
#include "journal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_PREFIX "segment-"
#define NAME_DIGITS 16
#define TEMPORARY_SUFFIX ".tmp"

#define ZERO_CHUNK ((size_t)256 * 1024)
/* So that a commit never has to wait behind a whole segment of zeros in the disk's queue. */
#define ZERO_SYNC_EVERY ((uint64_t)512 * 1024)

#define READ_BLOCK ((size_t)4096)

struct segment *segment_new(uint64_t id, uint64_t size)
{
	struct segment *segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return NULL;
	list_init(&segment->link);
	segment->id = id;
	segment->size = size;
	segment->first = 1;
	segment->durable = HEADER_BLOCK_SIZE;
	segment->fd = -1;
	return segment;
}

void segment_free(struct segment *segment)
{
	if (segment == NULL)
		return;
	file_close(&segment->fd);
	free(segment);
}

void segment_name(uint64_t id, char out[SEGMENT_NAME_SIZE])
{
	snprintf(out, SEGMENT_NAME_SIZE, NAME_PREFIX "%016" PRIx64, id);
}

void segment_temporary_name(uint64_t id, char out[SEGMENT_NAME_SIZE])
{
	snprintf(out, SEGMENT_NAME_SIZE, NAME_PREFIX "%016" PRIx64 TEMPORARY_SUFFIX, id);
}

static bool parse_hex_digit(char c, uint64_t *value)
{
	unsigned digit;
	if (c >= '0' && c <= '9')
		digit = (unsigned)(c - '0');
	else if (c >= 'a' && c <= 'f')
		digit = (unsigned)(c - 'a') + 10;
	else
		return false;
	*value = *value << 4 | digit;
	return true;
}

bool segment_parse_name(const char *name, uint64_t *id, bool *temporary)
{
	size_t prefix = sizeof(NAME_PREFIX) - 1;
	if (strncmp(name, NAME_PREFIX, prefix) != 0)
		return false;
	const char *at = name + prefix;
	*id = 0;
	for (int i = 0; i < NAME_DIGITS; i++) {
		if (!parse_hex_digit(*at, id))
			return false;
		at++;
	}
	*temporary = strcmp(at, TEMPORARY_SUFFIX) == 0;
	return *temporary || *at == '\0';
}

static int write_zeros(int fd, uint64_t size)
{
	char *zeros = calloc(1, ZERO_CHUNK);
	if (zeros == NULL)
		return -ENOMEM;
	int r = 0;
	for (uint64_t offset = 0; offset < size && r == 0;) {
		size_t chunk = size - offset < ZERO_CHUNK ? (size_t)(size - offset) : ZERO_CHUNK;
		r = file_write(fd, zeros, chunk, offset);
		offset += chunk;
		if (r == 0 && (offset % ZERO_SYNC_EVERY == 0 || offset == size))
			r = file_sync(fd);
	}
	free(zeros);
	return r;
}

static int create_sized(int directory_fd, uint64_t id, uint64_t size)
{
	char temporary[SEGMENT_NAME_SIZE];
	char name[SEGMENT_NAME_SIZE];
	segment_temporary_name(id, temporary);
	segment_name(id, name);
	int fd;
	int r = file_open(directory_fd, temporary, O_RDWR | O_CREAT | O_TRUNC, &fd);
	if (r != 0)
		return r;
	/* Reserving first says at once when there is no room; writing zeros is what makes later syncs cheap (no extents to convert). */
	r = file_allocate(fd, size);
	if (r == 0)
		r = write_zeros(fd, size);
	file_close(&fd);
	if (r == 0)
		r = file_rename(directory_fd, temporary, name);
	if (r != 0) {
		file_unlink(directory_fd, temporary);
		return r;
	}
	r = file_sync_directory(directory_fd);
	if (r != 0)
		file_unlink(directory_fd, name);
	return r;
}

int segment_create(int directory_fd, uint64_t id, uint64_t size, uint64_t smallest, uint64_t *ret_size)
{
	uint64_t free_space;
	int r = file_free_space(directory_fd, &free_space);
	if (r != 0)
		return r;
	for (;; size = size / 2 / HEADER_BLOCK_SIZE * HEADER_BLOCK_SIZE) {
		if (size < smallest)
			return -ENOSPC;
		if (size > free_space / 2)
			continue;
		r = create_sized(directory_fd, id, size);
		if (r != -ENOSPC && r != -EDQUOT && r != -EFBIG)
			break;
	}
	*ret_size = size;
	return r;
}

/* One block at a time, and what cannot be read as bytes that are no record. */
static int read_blocks(struct segment_file *file, char *buffer, size_t size, uint64_t offset)
{
	for (size_t done = 0; done < size;) {
		size_t block = READ_BLOCK - (size_t)((offset + done) % READ_BLOCK);
		if (block > size - done)
			block = size - done;
		size_t got;
		int r = file_read(file->fd, buffer + done, block, offset + done, &got);
		if (r == -EIO) {
			memset(buffer + done, 0xff, block);
			file->unreadable++;
		} else if (r != 0) {
			return r;
		}
		done += block;
	}
	return 0;
}

int64_t segment_file_read(void *ctx, void *buffer, size_t size, uint64_t offset)
{
	struct segment_file *file = ctx;
	size_t got = 0;
	int r = file_read(file->fd, buffer, size, offset, &got);
	if (r == -EIO && file->skip_unreadable) {
		uint64_t file_end;
		r = file_size(file->fd, &file_end);
		if (r == 0) {
			got = file_end <= offset ? 0 : file_end - offset < size ? (size_t)(file_end - offset) : size;
			r = read_blocks(file, buffer, got, offset);
		}
	}
	return r == 0 ? (int64_t)got : err_from_errno(-r);
}
