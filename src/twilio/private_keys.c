/* SPDX-License-Identifier: MIT */
#include "twilio/private_keys.h"

#include "base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536
#define VARIABLE "TWILIO_ENCRYPTION_KEYS"

struct private_key {
	struct sid sid;
	struct rsa_key *key;
};

struct private_keys {
	size_t count;
	struct private_key keys[PRIVATE_KEYS_MAX];
};

struct load {
	struct private_keys *keys;
	const char *directory;
	int fd;
	private_keys_warning *warning;
	void *data;
	char text[FILE_MAX];
};

/* `CR` and 32 hex digits, with or without `.pem`. */
static bool sid_of_name(const char *name, struct sid *sid)
{
	size_t len = strlen(name);
	if (len > 4 && strcasecmp(name + len - 4, ".pem") == 0)
		len -= 4;
	return sid_parse(slice_make(name, len), "CR", sid);
}

struct rsa_key *private_keys_find(const struct private_keys *keys, const struct sid *public_key_sid)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (strcasecmp(keys->keys[i].sid.text, public_key_sid->text) == 0)
			return keys->keys[i].key;
	}
	return NULL;
}

size_t private_keys_count(const struct private_keys *keys)
{
	return keys->count;
}

const struct sid *private_keys_sid(const struct private_keys *keys, size_t n)
{
	REQUIRE(n < keys->count);
	return &keys->keys[n].sid;
}

void private_keys_free(struct private_keys **keys)
{
	if (*keys == NULL)
		return;
	for (size_t i = 0; i < (*keys)->count; i++)
		rsa_key_free(&(*keys)->keys[i].key);
	free(*keys);
	*keys = NULL;
}

static int file_failed(const struct load *load, const char *name, const char *why, struct error *error)
{
	return error_set(error, ERR_CONFIG, VARIABLE ": %s/%s: %s", load->directory, name, why);
}

/* The whole file into load->text. -1 and errno; EFBIG for a long one. */
static ssize_t read_file(struct load *load, int fd)
{
	size_t len = 0;
	while (len < FILE_MAX) {
		ssize_t got = read(fd, load->text + len, FILE_MAX - len);
		if (got == 0)
			return (ssize_t)len;
		if (got < 0 && errno != EINTR)
			return -1;
		len += got > 0 ? (size_t)got : 0;
	}
	errno = EFBIG;
	return -1;
}

/* A PEM file whose halves do not belong together would be noticed with the first recording only. */
static bool key_works(const struct rsa_key *key)
{
	uint8_t sealed[RSA_KEY_BYTES_MAX];
	uint8_t secret[32] = {1, 2, 3};
	uint8_t back[sizeof(secret)];
	size_t sealed_len = sizeof(sealed);
	size_t back_len = sizeof(back);
	return rsa_key_seal(key, secret, sizeof(secret), sealed, &sealed_len) == 0 &&
	       rsa_key_unseal(key, sealed, sealed_len, back, &back_len) == 0 && back_len == sizeof(secret) &&
	       memcmp(back, secret, sizeof(secret)) == 0;
}

static int take_key(struct load *load, const char *name, const struct sid *sid, struct slice pem, struct error *error)
{
	struct private_keys *keys = load->keys;
	struct private_key *key = &keys->keys[keys->count];
	struct error why = {0};
	if (private_keys_find(keys, sid) != NULL)
		return file_failed(load, name, "another file has the key of the same SID", error);
	if (keys->count == PRIVATE_KEYS_MAX)
		return error_set(error, ERR_CONFIG, VARIABLE ": %s: more than %d keys", load->directory, PRIVATE_KEYS_MAX);
	if (rsa_key_parse(&key->key, pem, false, &why) != 0)
		return file_failed(load, name, why.detail, error);
	if (!key_works(key->key)) {
		rsa_key_free(&key->key);
		return file_failed(load, name, "the private key does not open what its public key seals", error);
	}
	key->sid = *sid;
	keys->count++;
	return 0;
}

static int load_file(struct load *load, const char *name, struct error *error)
{
	struct sid sid;
	struct stat status;
	if (name[0] == '.')
		return 0;
	if (!sid_of_name(name, &sid)) {
		load->warning(load->data, name, "passed over: not named like a key, CR and 32 hex digits and .pem");
		return 0;
	}
	int fd = openat(load->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return file_failed(load, name, strerror(errno), error);
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return file_failed(load, name, "not a file", error);
	}
	ssize_t len = read_file(load, fd);
	int errnum = errno;
	close(fd);
	if (len < 0)
		return file_failed(load, name, strerror(errnum), error);
	int result = take_key(load, name, &sid, slice_make(load->text, (size_t)len), error);
	if (result == 0 && (status.st_mode & S_IROTH) != 0)
		load->warning(load->data, name, "everybody on this machine may read this private key: chmod o-r");
	return result;
}

static int load_names(struct load *load, DIR *directory, struct error *error)
{
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(directory);
		if (entry == NULL && errno != 0)
			return error_set(error, ERR_CONFIG, VARIABLE ": %s: %s", load->directory, strerror(errno));
		if (entry == NULL)
			break;
		int status = load_file(load, entry->d_name, error);
		if (status != 0)
			return status;
	}
	if (load->keys->count > 0)
		return 0;
	return error_set(error, ERR_CONFIG,
			 VARIABLE ": %s has no private key in it: want PEM files named by public key SID, CR….pem",
			 load->directory);
}

static void no_warning(void *data, const char *name, const char *warning)
{
	(void)data;
	(void)name;
	(void)warning;
}

int private_keys_load(struct private_keys **ret, const char *directory, private_keys_warning *warning, void *data,
		      struct error *error)
{
	DIR *dir = opendir(directory);
	if (dir == NULL)
		return error_set(error, ERR_CONFIG, VARIABLE ": %s: %s", directory, strerror(errno));
	struct load *load = calloc(1, sizeof(*load));
	struct private_keys *keys = calloc(1, sizeof(*keys));
	int status = ERR_NOMEM;
	if (load != NULL && keys != NULL) {
		load->keys = keys;
		load->directory = directory;
		load->fd = dirfd(dir);
		load->warning = warning != NULL ? warning : no_warning;
		load->data = data;
		status = load_names(load, dir, error);
	} else {
		error_set(error, ERR_NOMEM, VARIABLE ": out of memory");
	}
	closedir(dir);
	if (load != NULL)
		OPENSSL_cleanse(load, sizeof(*load)); /* also what was read of a file that was refused */
	free(load);
	if (status != 0)
		private_keys_free(&keys);
	else
		*ret = keys;
	return status;
}
