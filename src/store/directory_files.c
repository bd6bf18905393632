/* SPDX-License-Identifier: MIT */
/*
 * Durability: a name is durable when the directory that holds it was synced after it was made, and that directory's own
 * name is durable. mkdir may say EEXIST for a directory that another thread has just made and not yet made durable, so
 * existence proves nothing: the parent is synced all the same, unless this process remembers having done so.
 */
#include "store/directory_files.h"

#include "adapters/crypto.h"
#include "base/clock.h"
#include "base/hex.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_DIRECTORY ".tmp"
#define TEMPORARY_PREFIX "put-"
#define RANDOM_BYTES 16
#define KEY_SIZE 1024
#define READ_SIZE ((size_t)256 * 1024)
#define DURABLE_MAX 16
#define NAME_TRIES 8

struct directory_files {
	char *root;
	int root_fd;
	bool made_temporary; /* the directory for temporary files */
	/*
	 * Directories whose names are known to be durable; the oldest is forgotten. Only those above a key's last one: that
	 * one is rarely met again.
	 */
	pthread_mutex_t durable_mutex;
	char durable[DURABLE_MAX][KEY_SIZE];
	size_t durable_next;
};

static int io_failed(struct error *error, const struct directory_files *files, const char *what, const char *name, int errnum)
{
	int code = err_from_errno(errnum);
	/* A directory that went away under us is not an object that does not exist. */
	if (code == ERR_NOT_FOUND || code == ERR_INVALID)
		code = ERR_IO;
	const char *advice = code == ERR_NO_SPACE ? "; free space there or set DATA_DIR elsewhere" : "";
	return error_set(error, code, "cannot %s %s/%s: %s%s", what, files->root, name, strerror(errnum), advice);
}

/* ---- The root ---- */

static int sync_fd(int fd)
{
	return fsync(fd) == 0 ? 0 : errno;
}

/* Syncs the directory that holds `path`. 0 or an errno. */
static int sync_parent(const char *path)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	memcpy(parent, path, len);
	parent[len] = '\0';
	int fd = open(len > 0 ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int errnum = sync_fd(fd);
	close(fd);
	return errnum;
}

/* mkdir -p; each new name is synced into its parent. */
static int make_path(const char *path, struct error *error)
{
	char partial[PATH_MAX];
	size_t len = strlen(path);
	if (len == 0 || len >= sizeof(partial))
		return error_set(error, ERR_CONFIG, "data directory \"%s\": bad path", path);
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(partial, path, i);
		partial[i] = '\0';
		int errnum = mkdir(partial, 0750) == 0 ? sync_parent(partial) : errno;
		if (errnum != 0 && errnum != EEXIST)
			return error_set(error, err_from_errno(errnum), "cannot create directory %s: %s", partial,
					 strerror(errnum));
	}
	return 0;
}

int directory_files_open(struct directory_files **ret, const char *directory, struct error *error)
{
	int status = make_path(directory, error);
	if (status != 0)
		return status;
	struct directory_files *files = calloc(1, sizeof(*files));
	if (files == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	files->root = realpath(directory, NULL);
	if (files->root == NULL) {
		status = error_set(error, err_from_errno(errno), "data directory %s: %s", directory, strerror(errno));
		goto err_files;
	}
	files->root_fd = open(files->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (files->root_fd < 0) {
		status = error_set(error, err_from_errno(errno), "cannot open directory %s: %s", files->root, strerror(errno));
		goto err_root;
	}
	files->made_temporary = mkdirat(files->root_fd, TEMPORARY_DIRECTORY, 0750) == 0;
	if (!files->made_temporary && errno != EEXIST) {
		status = io_failed(error, files, "create directory", TEMPORARY_DIRECTORY, errno);
		goto err_fd;
	}
	if (faccessat(files->root_fd, TEMPORARY_DIRECTORY, W_OK | X_OK, AT_EACCESS) != 0) {
		status = io_failed(error, files, "write to", TEMPORARY_DIRECTORY, errno);
		goto err_fd;
	}
	pthread_mutex_init(&files->durable_mutex, NULL);
	*ret = files;
	return 0;

err_fd:
	close(files->root_fd);
err_root:
	free(files->root);
err_files:
	free(files);
	return status;
}

void directory_files_close(struct directory_files **files)
{
	if (*files == NULL)
		return;
	/* A look leaves no trace. Not when there are files in it, and whoever else needs it makes it anew. */
	if ((*files)->made_temporary)
		unlinkat((*files)->root_fd, TEMPORARY_DIRECTORY, AT_REMOVEDIR);
	close((*files)->root_fd);
	pthread_mutex_destroy(&(*files)->durable_mutex);
	free((*files)->root);
	free(*files);
	*files = NULL;
}

const char *directory_files_root(const struct directory_files *files)
{
	return files->root;
}

/* ---- Directories below it ---- */

static bool durable_known(struct directory_files *files, const char *path)
{
	bool known = false;
	pthread_mutex_lock(&files->durable_mutex);
	for (size_t i = 0; i < DURABLE_MAX && !known; i++)
		known = strcmp(files->durable[i], path) == 0;
	pthread_mutex_unlock(&files->durable_mutex);
	return known;
}

static void durable_add(struct directory_files *files, const char *path)
{
	pthread_mutex_lock(&files->durable_mutex);
	snprintf(files->durable[files->durable_next], KEY_SIZE, "%s", path);
	files->durable_next = (files->durable_next + 1) % DURABLE_MAX;
	pthread_mutex_unlock(&files->durable_mutex);
}

static void durable_forget(struct directory_files *files)
{
	pthread_mutex_lock(&files->durable_mutex);
	memset(files->durable, 0, sizeof(files->durable));
	pthread_mutex_unlock(&files->durable_mutex);
}

/* Makes `name` in the directory `parent` and makes that durable; *child is the new directory, open. 0 or an errno. */
static int enter_directory(int parent, const char *name, bool known, int *child)
{
	int errnum = 0;
	if (!known && mkdirat(parent, name, 0750) != 0 && errno != EEXIST)
		return errno;
	*child = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*child < 0)
		return errno;
	if (!known)
		errnum = sync_fd(parent);
	if (errnum != 0) {
		close(*child);
		*child = -1;
	}
	return errnum;
}

/*
 * Walks from the root to the directory of `key`, making what is missing. *fd is that directory, to be closed; *base is the
 * file's name in it. 0 or an errno.
 */
static int walk(struct directory_files *files, const char *key, int *fd, const char **base)
{
	char path[KEY_SIZE];
	*fd = dup(files->root_fd);
	*base = key;
	if (*fd < 0)
		return errno;
	for (const char *slash; (slash = strchr(*base, '/')) != NULL; *base = slash + 1) {
		char name[NAME_MAX + 1];
		size_t len = (size_t)(slash - *base);
		size_t path_len = (size_t)(slash - key);
		if (len > NAME_MAX || path_len >= sizeof(path)) {
			close(*fd);
			return ENAMETOOLONG;
		}
		memcpy(name, *base, len);
		name[len] = '\0';
		memcpy(path, key, path_len);
		path[path_len] = '\0';
		int child = -1;
		bool known = durable_known(files, path);
		int errnum = enter_directory(*fd, name, known, &child);
		close(*fd);
		if (errnum != 0)
			return errnum;
		*fd = child;
		if (!known && strchr(slash + 1, '/') != NULL)
			durable_add(files, path);
	}
	return 0;
}

/* ---- Temporaries ---- */

static bool is_temporary_name(const char *name)
{
	uint8_t decoded[RANDOM_BYTES];
	size_t prefix = strlen(TEMPORARY_PREFIX);
	return strncmp(name, TEMPORARY_PREFIX, prefix) == 0 && strlen(name + prefix) == (size_t)2 * RANDOM_BYTES &&
	       hex_decode(slice_from_cstr(name + prefix), decoded);
}

/* Between creating and locking, a cleaner may take the file for a leftover: then its lock is held, or its name is gone. */
static bool is_ours(int fd)
{
	struct stat status;
	return flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0 && status.st_nlink > 0;
}

int directory_temporary_open(struct directory_files *files, struct directory_temporary *temporary, struct error *error)
{
	temporary->written = 0;
	for (unsigned tries = 0; tries < NAME_TRIES; tries++) {
		uint8_t random[RANDOM_BYTES];
		char digits[2 * RANDOM_BYTES + 1];
		random_bytes(random, sizeof(random));
		hex_encode(random, sizeof(random), digits);
		snprintf(temporary->name, sizeof(temporary->name), TEMPORARY_DIRECTORY "/" TEMPORARY_PREFIX "%s", digits);
		temporary->fd = openat(files->root_fd, temporary->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
		if (temporary->fd < 0 && errno == ENOENT) {
			/* Somebody tidied up too well. */
			mkdirat(files->root_fd, TEMPORARY_DIRECTORY, 0750);
			continue;
		}
		if (temporary->fd < 0)
			return io_failed(error, files, "create", temporary->name, errno);
		if (is_ours(temporary->fd))
			return 0;
		directory_temporary_remove(files, temporary);
	}
	return error_set(error, ERR_IO, "cannot create a temporary file in %s/" TEMPORARY_DIRECTORY, files->root);
}

int directory_temporary_write(struct directory_files *files, struct directory_temporary *temporary, struct slice bytes,
			      struct error *error)
{
	while (bytes.len > 0) {
		ssize_t count = pwrite(temporary->fd, bytes.ptr, bytes.len, (off_t)temporary->written);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return io_failed(error, files, "write", temporary->name, count < 0 ? errno : ENOSPC);
		temporary->written += (uint64_t)count;
		bytes = slice_make(bytes.ptr + count, bytes.len - (size_t)count);
	}
	return 0;
}

static int check_length(struct directory_files *files, const struct directory_temporary *temporary, int64_t length,
			struct error *error)
{
	struct stat status;
	if (fstat(temporary->fd, &status) != 0)
		return io_failed(error, files, "read", temporary->name, errno);
	if (status.st_size == length && temporary->written == (uint64_t)length)
		return 0;
	return error_set(error, ERR_CHECKSUM, "%s/%s has %jd bytes of %" PRIu64 " written, but %" PRId64 " were received",
			 files->root, temporary->name, (intmax_t)status.st_size, temporary->written, length);
}

int directory_temporary_publish(struct directory_files *files, struct directory_temporary *temporary, const char *key,
				int64_t length, struct error *error)
{
	int directory;
	const char *base;
	int status = check_length(files, temporary, length, error);
	if (status != 0)
		return status;
	int errnum = sync_fd(temporary->fd);
	if (errnum != 0)
		return io_failed(error, files, "sync", temporary->name, errnum);
	errnum = walk(files, key, &directory, &base);
	if (errnum == ENOENT) {
		/* A directory we remembered was removed since. */
		durable_forget(files);
		errnum = walk(files, key, &directory, &base);
	}
	if (errnum != 0)
		return io_failed(error, files, "create the directories of", key, errnum);
	if (renameat(files->root_fd, temporary->name, directory, base) != 0) {
		status = io_failed(error, files, "name", key, errno);
	} else {
		/* The name is another's now: only the descriptor is left to give back. */
		close(temporary->fd);
		temporary->fd = -1;
		errnum = sync_fd(directory);
		if (errnum != 0)
			status = io_failed(error, files, "sync the directory of", key, errnum);
	}
	close(directory);
	return status;
}

void directory_temporary_remove(struct directory_files *files, struct directory_temporary *temporary)
{
	if (temporary->fd < 0)
		return;
	/* Deleted before the lock goes with the descriptor. If it cannot be deleted, a later clean will. */
	unlinkat(files->root_fd, temporary->name, 0);
	close(temporary->fd);
	temporary->fd = -1;
}

/* ---- Other operations ---- */

/* 0 or an errno; digest->bytes is what was read. */
static int hash_file(int fd, struct crypto_digest *digest, struct crypto_digest_result *result)
{
	int errnum = 0;
	char *chunk = malloc(READ_SIZE);
	if (chunk == NULL)
		return ENOMEM;
	for (;;) {
		ssize_t count = read(fd, chunk, READ_SIZE);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			errnum = errno;
		if (count <= 0)
			break;
		if (crypto_digest_update(digest, chunk, (size_t)count) != 0) {
			errnum = EIO;
			break;
		}
	}
	free(chunk);
	if (errnum == 0 && crypto_digest_final(digest, result) != 0)
		errnum = EIO;
	return errnum;
}

int directory_files_verify(struct directory_files *files, const char *key, const struct store_digest *wanted, struct error *error)
{
	struct crypto_digest *digest = NULL;
	struct crypto_digest_result found;
	int fd = openat(files->root_fd, key, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return error_set(error, ERR_NOT_FOUND, "%s/%s does not exist", files->root, key);
	if (fd < 0)
		return io_failed(error, files, "open", key, errno);
	int status = crypto_digest_new_sha256(&digest, error);
	if (status != 0)
		goto out;
	int errnum = hash_file(fd, digest, &found);
	if (errnum != 0)
		status = io_failed(error, files, "read", key, errnum);
	else if (found.bytes != (uint64_t)wanted->bytes)
		status = error_set(error, ERR_CHECKSUM, "%s/%s has %" PRIu64 " bytes instead of %" PRId64, files->root, key,
				   found.bytes, wanted->bytes);
	else if (memcmp(found.sha256, wanted->sha256, sizeof(found.sha256)) != 0)
		status = error_set(error, ERR_CHECKSUM, "%s/%s has another SHA-256 than the bytes received", files->root, key);
out:
	crypto_digest_free(&digest);
	close(fd);
	return status;
}

/* The descriptor, or -1 and errno. One component at a time, so that none of them can be a symbolic link. */
static int open_below(int root, const char *key)
{
	int parent = root;
	int fd = -1;
	for (const char *name = key;;) {
		char component[NAME_MAX + 1];
		const char *slash = strchr(name, '/');
		size_t len = slash == NULL ? strlen(name) : (size_t)(slash - name);
		int flags = slash == NULL ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY;
		errno = ENAMETOOLONG;
		if (len <= NAME_MAX) {
			memcpy(component, name, len);
			component[len] = '\0';
			fd = openat(parent, component, flags | O_NOFOLLOW | O_CLOEXEC);
		}
		int errnum = errno;
		if (parent != root)
			close(parent);
		errno = errnum;
		if (len > NAME_MAX || fd < 0)
			return -1;
		if (slash == NULL)
			return fd;
		parent = fd;
		name = slash + 1;
	}
}

int directory_files_open_object(struct directory_files *files, const char *key, int *fd, int64_t *length, struct error *error)
{
	struct stat stat;
	*fd = open_below(files->root_fd, key);
	if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO || errno == ENAMETOOLONG))
		return error_set(error, ERR_NOT_FOUND, "%s/%s does not exist, or is reached by a symbolic link", files->root,
				 key);
	if (*fd < 0)
		return io_failed(error, files, "open", key, errno);
	int errnum = fstat(*fd, &stat) == 0 ? 0 : errno;
	if (errnum == 0 && S_ISREG(stat.st_mode)) {
		*length = stat.st_size;
		return 0;
	}
	close(*fd);
	*fd = -1;
	if (errnum != 0)
		return io_failed(error, files, "look at", key, errnum);
	return error_set(error, ERR_NOT_FOUND, "%s/%s is no file", files->root, key);
}

int directory_files_look(struct directory_files *files, const char *key, int64_t bytes, struct error *error)
{
	int64_t length = -1;
	int fd;
	int status = directory_files_open_object(files, key, &fd, &length, error);
	if (status != 0)
		return status;
	close(fd);
	return length == bytes ? 0
			       : error_set(error, ERR_CHECKSUM, "%s/%s has %" PRId64 " bytes instead of %" PRId64, files->root,
					   key, length, bytes);
}

int directory_files_read(struct directory_files *files, int fd, int64_t offset, void *buffer, size_t size, size_t *len,
			 struct error *error)
{
	*len = 0;
	while (*len < size) {
		ssize_t count = pread(fd, (char *)buffer + *len, size - *len, offset + (int64_t)*len);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return io_failed(error, files, "read from", "an open object", errno);
		if (count == 0)
			break;
		*len += (size_t)count;
	}
	return 0;
}

int directory_files_delete(struct directory_files *files, const char *key, struct error *error)
{
	char path[KEY_SIZE];
	const char *slash = strrchr(key, '/');
	size_t len = slash != NULL ? (size_t)(slash - key) : 0;
	if (len >= sizeof(path))
		return io_failed(error, files, "delete", key, ENAMETOOLONG);
	if (unlinkat(files->root_fd, key, 0) != 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : io_failed(error, files, "delete", key, errno);
	memcpy(path, key, len);
	path[len] = '\0';
	int directory = openat(files->root_fd, len > 0 ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int errnum = directory >= 0 ? sync_fd(directory) : errno;
	if (directory >= 0)
		close(directory);
	return errnum != 0 ? io_failed(error, files, "sync the directory of", key, errnum) : 0;
}

int directory_files_write(struct directory_files *files, const char *key, struct slice bytes, struct error *error)
{
	struct directory_temporary temporary;
	int status = directory_temporary_open(files, &temporary, error);
	if (status != 0)
		return status;
	status = directory_temporary_write(files, &temporary, bytes, error);
	if (status == 0)
		status = directory_temporary_publish(files, &temporary, key, (int64_t)bytes.len, error);
	if (status != 0)
		directory_temporary_remove(files, &temporary);
	return status;
}

int directory_files_probe(struct directory_files *files, struct error *error)
{
	static const char bytes[] = "reeld can write here";
	char back[sizeof(bytes)];
	struct directory_temporary temporary;
	int status = directory_temporary_open(files, &temporary, error);
	if (status != 0)
		return status;
	status = directory_temporary_write(files, &temporary, slice_make(bytes, sizeof(bytes)), error);
	if (status == 0 && fsync(temporary.fd) != 0)
		status = io_failed(error, files, "sync", temporary.name, errno);
	if (status == 0 &&
	    (pread(temporary.fd, back, sizeof(back), 0) != (ssize_t)sizeof(back) || memcmp(back, bytes, sizeof(bytes)) != 0))
		status = error_set(error, ERR_CHECKSUM, "%s/%s reads back differently than written", files->root, temporary.name);
	directory_temporary_remove(files, &temporary);
	return status;
}

static bool clean_one(int directory, const char *name)
{
	struct stat status;
	if (!is_temporary_name(name) || fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
		return false;
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool removed = flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(directory, name, 0) == 0;
	close(fd);
	return removed;
}

int directory_files_clean(struct directory_files *files, unsigned *removed, struct error *error)
{
	*removed = 0;
	int fd = openat(files->root_fd, TEMPORARY_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	if (directory == NULL) {
		int errnum = errno;
		if (fd >= 0)
			close(fd);
		return errnum == ENOENT ? 0 : io_failed(error, files, "list", TEMPORARY_DIRECTORY, errnum);
	}
	const struct dirent *entry;
	while ((entry = readdir(directory)) != NULL)
		*removed += clean_one(dirfd(directory), entry->d_name);
	closedir(directory);
	return 0;
}
