/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include "base/check.h"

#include <string.h>

#define STORE_URL_SIZE 4096 /* longer than any that is recorded */

bool store_key_is_valid(const char *key)
{
	bool at_start = true; /* of a component */
	for (const char *at = key; *at != '\0'; at++) {
		unsigned char c = (unsigned char)*at;
		if (c < 0x20 || c == 0x7f || (at_start && (c == '/' || c == '.')))
			return false;
		at_start = c == '/';
	}
	return !at_start;
}

void store_put_open(struct store *store, struct store_put *put, const struct store_object *object, store_put_cb *done)
{
	put->store = store;
	put->done = done;
	put->impl = NULL;
	put->error = (struct error){0};
	put->retry_after_ms = -1;
	store->ops->put_open(store, put, object);
}

void store_put_write(struct store_put *put, struct slice bytes, store_put_cb *done)
{
	REQUIRE(put->store != NULL);
	put->done = done;
	put->error = (struct error){0};
	put->retry_after_ms = -1;
	put->store->ops->put_write(put, bytes);
}

void store_put_commit(struct store_put *put, const struct store_digest *digest, store_put_cb *done)
{
	REQUIRE(put->store != NULL);
	put->done = done;
	put->error = (struct error){0};
	put->retry_after_ms = -1;
	put->store->ops->put_commit(put, digest);
}

void store_put_abort(struct store_put *put, store_put_cb *done)
{
	REQUIRE(put->store != NULL);
	put->done = done;
	put->store->ops->put_abort(put);
}

void store_submit(struct store *store, struct store_request *request)
{
	request->store = store;
	request->impl = NULL;
	request->error = (struct error){0};
	request->retry_after_ms = -1;
	store->ops->submit(store, request);
}

bool store_reads(const struct store *store)
{
	return store->ops->read_open != NULL;
}

void store_read_open(struct store *store, struct store_read *read, const char *key, store_read_cb *done)
{
	REQUIRE(store_reads(store));
	read->store = store;
	read->done = done;
	read->key = key;
	read->error = (struct error){0};
	store->ops->read_open(store, read);
}

void store_read_at(struct store_read *read, int64_t offset, void *buffer, size_t size, store_read_cb *done)
{
	read->done = done;
	read->offset = offset;
	read->buffer = buffer;
	read->size = size;
	read->len = 0;
	read->error = (struct error){0};
	read->store->ops->read_at(read);
}

void store_read_close(struct store_read *read, store_read_cb *done)
{
	read->done = done;
	read->store->ops->read_close(read);
}

int store_url(const struct store *store, const char *key, char *out, size_t size)
{
	return store->ops->url(store, key, out, size);
}

enum store_url_tells store_url_judge(const struct store *store, const char *key, const char *url)
{
	static const char files[] = "file://";
	bool of_directory = strncmp(url, files, sizeof(files) - 1) == 0;
	char ours[STORE_URL_SIZE];
	if (of_directory != (strcmp(store->ops->kind, "directory") == 0))
		return STORE_URL_FOREIGN;
	bool named = store->ops->url(store, key, ours, sizeof(ours)) == 0 && strcmp(ours, url) == 0;
	if (store->ops->address == NULL)
		return named ? STORE_URL_OWN : STORE_URL_OTHER;
	if (store->ops->address(store, key, ours, sizeof(ours)) == 0 && strcmp(ours, url) == 0)
		return STORE_URL_OWN;
	return named ? STORE_URL_NAMED : STORE_URL_OTHER;
}

int store_link(const struct store *store, const char *key, int64_t valid_s, char *out, size_t size)
{
	return store->ops->link(store, key, valid_s, out, size);
}

const char *store_kind(const struct store *store)
{
	return store->ops->kind;
}

bool store_up(const struct store *store)
{
	return store->ops->up(store);
}

void store_close(struct store *store, void (*closed)(void *data), void *data)
{
	store->ops->close(store, closed, data);
}
