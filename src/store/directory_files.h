/* SPDX-License-Identifier: MIT */
/*
 * The file operations of the directory store: plain, blocking, no loop, run on pool threads. One struct directory_files is
 * shared by all threads; a struct directory_temporary belongs to one at a time.
 */
#ifndef REELD_STORE_DIRECTORY_FILES_H
#define REELD_STORE_DIRECTORY_FILES_H

#include "base/err.h"
#include "base/slice.h"
#include "store/store.h"

struct directory_files;

/* Creates what is missing of `directory` and its .tmp. 0 or an error with a message. */
int directory_files_open(struct directory_files **ret, const char *directory, struct error *error);
void directory_files_close(struct directory_files **files);
/* Absolute, no slash at the end but for "/". */
const char *directory_files_root(const struct directory_files *files);

#define DIRECTORY_NAME_SIZE 48 /* ".tmp/put-", 32 digits, NUL */

struct directory_temporary {
	int fd; /* -1: none */
	char name[DIRECTORY_NAME_SIZE];
	uint64_t written;
};

/* A new temporary file, locked by us. */
int directory_temporary_open(struct directory_files *files, struct directory_temporary *temporary, struct error *error);
/* All of the bytes, or an error. */
int directory_temporary_write(struct directory_files *files, struct directory_temporary *temporary, struct slice bytes,
			      struct error *error);
/*
 * Length compared, file synced, renamed to `key`, directories made and synced. On success the temporary is gone; otherwise
 * it is still to be removed.
 */
int directory_temporary_publish(struct directory_files *files, struct directory_temporary *temporary, const char *key,
				int64_t length, struct error *error);
/* A small file under `key`, whole and durable or not at all; replaces what was there. */
int directory_files_write(struct directory_files *files, const char *key, struct slice bytes, struct error *error);
/* Closes and deletes; nothing to do for fd -1. */
void directory_temporary_remove(struct directory_files *files, struct directory_temporary *temporary);

/* 0, ERR_NOT_FOUND, ERR_CHECKSUM, or an error of reading. */
int directory_files_verify(struct directory_files *files, const char *key, const struct store_digest *digest,
			   struct error *error);
/* The object is there and has so many bytes: 0, ERR_NOT_FOUND, ERR_CHECKSUM, or an error. */
int directory_files_look(struct directory_files *files, const char *key, int64_t bytes, struct error *error);
/* Opens the object for reading, following no symbolic link below the root. 0, ERR_NOT_FOUND, or an error. The descriptor is the caller's. */
int directory_files_open_object(struct directory_files *files, const char *key, int *fd, int64_t *length, struct error *error);
/* Up to `size` bytes from `offset` on; fewer only at the end of the file. */
int directory_files_read(struct directory_files *files, int fd, int64_t offset, void *buffer, size_t size, size_t *len,
			 struct error *error);
/* 0 also when there was none. */
int directory_files_delete(struct directory_files *files, const char *key, struct error *error);
/* Writes, reads back and deletes a small temporary. */
int directory_files_probe(struct directory_files *files, struct error *error);
/* Removes the temporaries that no process holds; *removed counts them. */
int directory_files_clean(struct directory_files *files, unsigned *removed, struct error *error);

#endif
