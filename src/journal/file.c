/* SPDX-License-Identifier: MIT */
#include "journal/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static file_hook_fn *file_hook;
static void *file_hook_data;

void file_set_hook(file_hook_fn *hook, void *data)
{
	file_hook = hook;
	file_hook_data = data;
}

static int ask(enum file_op op, int fd, const char *name, const void *data, size_t size, uint64_t offset)
{
	if (__builtin_expect(file_hook == NULL, 1))
		return 0;
	const struct file_call call = {.op = op, .fd = fd, .name = name, .data = data, .size = size, .offset = offset};
	return file_hook(file_hook_data, &call);
}

/* The common shape: the hook may fail the call, a signal may not. */
#define CALL(result, op, fd, name, size, call)                \
	do {                                                  \
		int asked = ask(op, fd, name, NULL, size, 0); \
		if (asked > 0)                                \
			return -asked;                        \
		do                                            \
			(result) = (call);                    \
		while ((result) < 0 && errno == EINTR);       \
		if ((result) < 0)                             \
			return -errno;                        \
	} while (0)

int file_make_directory(const char *path, unsigned mode)
{
	char parent[PATH_MAX];
	int result;
	int fd = -1;
	int len = snprintf(parent, sizeof(parent), "%s/..", path);
	if (len < 0 || (size_t)len >= sizeof(parent))
		return -ENAMETOOLONG;
	CALL(result, FILE_MKDIR, -1, path, 0, mkdir(path, (mode_t)mode));
	result = file_open(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, &fd);
	if (result != 0)
		return result;
	result = file_sync_directory(fd);
	file_close(&fd);
	return result;
}

int file_make_directories(const char *path, unsigned mode)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	if (len == 0 || len >= sizeof(part))
		return -ENAMETOOLONG;
	struct stat st;
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (stat(part, &st) == 0)
			continue;
		int r = file_make_directory(part, mode);
		if (r != 0 && r != -EEXIST)
			return r;
	}
	return 0;
}

int file_open(int directory_fd, const char *name, int flags, int *ret_fd)
{
	int fd;
	CALL(fd, FILE_OPEN, directory_fd, name, 0, openat(directory_fd, name, flags | O_CLOEXEC, 0600));
	*ret_fd = fd;
	return 0;
}

void file_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int file_lock(int fd)
{
	int result;
	CALL(result, FILE_LOCK, fd, NULL, 0, flock(fd, LOCK_EX | LOCK_NB));
	return 0;
}

int file_list(int directory_fd, int (*each)(void *data, const char *name), void *data)
{
	int fd;
	CALL(fd, FILE_LIST, directory_fd, NULL, 0, openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	DIR *directory = fdopendir(fd);
	if (directory == NULL) {
		int error = errno;
		close(fd);
		return -error;
	}
	int r = 0;
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(directory);
		if (entry == NULL) {
			r = -errno;
			break;
		}
		r = each(data, entry->d_name);
		if (r != 0)
			break;
	}
	closedir(directory);
	return r;
}

int file_size(int fd, uint64_t *ret)
{
	struct stat st;
	int result;
	CALL(result, FILE_STAT, fd, NULL, 0, fstat(fd, &st));
	*ret = S_ISREG(st.st_mode) && st.st_size > 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

int file_free_space(int fd, uint64_t *ret)
{
	struct statvfs fs;
	int result;
	CALL(result, FILE_SPACE, fd, NULL, 0, fstatvfs(fd, &fs));
	*ret = fs.f_blocks == 0 ? UINT64_MAX : (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

int file_allocate(int fd, uint64_t size)
{
	int asked = ask(FILE_ALLOCATE, fd, NULL, NULL, (size_t)size, 0);
	if (asked > 0)
		return -asked;
	int result;
	do
		result = fallocate(fd, 0, 0, (off_t)size);
	while (result < 0 && errno == EINTR);
	if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return -errno;
}

/* What the hook leaves of `size`: all, less, or (negative) the error. */
static ssize_t allowed(enum file_op op, int fd, const void *data, size_t size, uint64_t offset)
{
	int asked = ask(op, fd, NULL, data, size, offset);
	if (asked > 0)
		return -asked;
	size_t limit = (size_t) - (ssize_t)asked;
	return (ssize_t)(asked < 0 && limit < size ? limit : size);
}

int file_read(int fd, void *data, size_t size, uint64_t offset, size_t *ret)
{
	char *at = data;
	*ret = 0;
	while (size > 0) {
		ssize_t allow = allowed(FILE_READ, fd, NULL, size, offset);
		if (allow < 0)
			return (int)allow;
		ssize_t got = pread(fd, at, (size_t)allow, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		at += got;
		size -= (size_t)got;
		offset += (uint64_t)got;
		*ret += (size_t)got;
	}
	return 0;
}

int file_write(int fd, const void *data, size_t size, uint64_t offset)
{
	const char *at = data;
	while (size > 0) {
		ssize_t allow = allowed(FILE_WRITE, fd, at, size, offset);
		if (allow < 0)
			return (int)allow;
		ssize_t put = pwrite(fd, at, (size_t)allow, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		/* Nothing written and no error is not progress; on a regular file it means that there is no room. */
		if (put == 0)
			return -ENOSPC;
		at += put;
		size -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

int file_sync(int fd)
{
	/* Not repeated on EINTR either: a sync that failed, for whatever reason, proves nothing any more. */
	int asked = ask(FILE_SYNC, fd, NULL, NULL, 0, 0);
	if (asked > 0)
		return -asked;
	return fdatasync(fd) == 0 ? 0 : -errno;
}

int file_sync_directory(int fd)
{
	int asked = ask(FILE_SYNC_DIRECTORY, fd, NULL, NULL, 0, 0);
	if (asked > 0)
		return -asked;
	return fsync(fd) == 0 ? 0 : -errno;
}

int file_rename(int directory_fd, const char *from, const char *to)
{
	int result;
	CALL(result, FILE_RENAME, directory_fd, from, 0, renameat(directory_fd, from, directory_fd, to));
	return 0;
}

int file_unlink(int directory_fd, const char *name)
{
	int result;
	CALL(result, FILE_UNLINK, directory_fd, name, 0, unlinkat(directory_fd, name, 0));
	return 0;
}

void file_drop_cache(int fd)
{
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}
