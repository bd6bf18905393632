/* SPDX-License-Identifier: MIT */
/*
 * The journal's only way to the file system: thin wrappers that finish what a system call left half done (EINTR, short reads and writes),
 * and the one place where a test can make the Nth call fail. All return 0 or a negative errno, so that messages can name the cause;
 * they block and are called from the writer, the pool, or before the loop runs.
 */
#ifndef REELD_JOURNAL_FILE_H
#define REELD_JOURNAL_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum file_op {
	FILE_MKDIR,
	FILE_OPEN,
	FILE_LOCK,
	FILE_LIST,
	FILE_STAT,
	FILE_SPACE,
	FILE_ALLOCATE,
	FILE_READ,
	FILE_WRITE,
	FILE_SYNC,
	FILE_SYNC_DIRECTORY,
	FILE_RENAME,
	FILE_UNLINK,
	FILE_OP_COUNT
};

struct file_call {
	enum file_op op;
	int fd;           /* of the file, or of the directory for calls with a name */
	const char *name; /* NULL: none */
	const void *data; /* FILE_WRITE */
	size_t size;
	uint64_t offset;
};

/*
 * Asked before each call, on the calling thread. 0: go on. Positive errno: fail with it instead. Negative -n, for FILE_READ and FILE_WRITE:
 * let at most n bytes through.
 */
typedef int file_hook_fn(void *data, const struct file_call *call);
/* For tests; NULL for none. */
void file_set_hook(file_hook_fn *hook, void *data);

/* The directory and, durably, its name in its parent: what is synced inside is worth nothing without. -EEXIST when it is there. */
int file_make_directory(const char *path, unsigned mode);
/* With all that is missing above it. */
int file_make_directories(const char *path, unsigned mode);
/* Descriptors are O_CLOEXEC. */
int file_open(int directory_fd, const char *name, int flags, int *ret_fd);
void file_close(int *fd);
/* -EWOULDBLOCK when another has it. Released when the descriptor is closed. */
int file_lock(int fd);
/* Calls `each` for every name in the directory until it returns non-zero, and returns that. */
int file_list(int directory_fd, int (*each)(void *data, const char *name), void *data);
int file_size(int fd, uint64_t *ret);
/* Bytes of the file system that are free for this process; UINT64_MAX when it does not say. */
int file_free_space(int fd, uint64_t *ret);
/* Reserves the space without writing it; 0 also where the file system cannot. */
int file_allocate(int fd, uint64_t size);
/* *ret: bytes read, less than `size` only at the end of the file. */
int file_read(int fd, void *data, size_t size, uint64_t offset, size_t *ret);
int file_write(int fd, const void *data, size_t size, uint64_t offset);
/* fdatasync */
int file_sync(int fd);
int file_sync_directory(int fd);
int file_rename(int directory_fd, const char *from, const char *to);
int file_unlink(int directory_fd, const char *name);
/* Forgets clean cached pages, so that the next read sees what the disk holds. Advice only. */
void file_drop_cache(int fd);

#endif
