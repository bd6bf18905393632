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

/* ---- What all stores share ---- */

void store_init(struct store *store, const struct store_ops *ops, uv_loop_t *loop)
{
	*store = (struct store){.ops = ops};
	soon_init(&store->soon, loop);
	store->soon.idle.data = store;
}

int store_may_begin(const struct store *store, const char *key, struct error *error)
{
	if (store->closing)
		return error_set(error, ERR_CANCELLED, "the store is closing");
	if (key != NULL && !store_key_is_valid(key))
		return error_set(error, ERR_INVALID, "object key \"%.100s\" is not a path below the store", key);
	return 0;
}

static void soon_is_closed(uv_handle_t *handle)
{
	struct store *store = handle->data;
	void (*closed)(void *data) = store->closed;
	void *data = store->closed_data;
	store->ops->free(store);
	closed(data);
}

static void maybe_close(struct store *store)
{
	if (!store->closing || store->busy > 0 || store->soon_closed)
		return;
	store->soon_closed = true;
	soon_close(&store->soon, soon_is_closed);
}

void store_hold(struct store *store)
{
	store->busy++;
}

void store_release(struct store *store)
{
	REQUIRE(store->busy > 0);
	store->busy--;
	maybe_close(store);
}

static void refuse(struct store *store, struct soon_item *item, void (*refused)(struct soon_item *item))
{
	store_hold(store);
	soon_item_init(item, refused);
	soon_add(&store->soon, item);
}

static void put_refused(struct soon_item *item)
{
	struct store_put *put = CONTAINER_OF(item, struct store_put, refusal);
	struct store *store = put->store;
	put->done(put, put->error.code); /* may free the put */
	store_release(store);
}

void store_refuse_put(struct store *store, struct store_put *put)
{
	refuse(store, &put->refusal, put_refused);
}

static void request_refused(struct soon_item *item)
{
	struct store_request *request = CONTAINER_OF(item, struct store_request, refusal);
	struct store *store = request->store;
	request->done(request, request->error.code); /* may free the request */
	store_release(store);
}

void store_refuse_request(struct store *store, struct store_request *request)
{
	refuse(store, &request->refusal, request_refused);
}

void store_close(struct store *store, void (*closed)(void *data), void *data)
{
	REQUIRE(!store->closing);
	store->closing = true;
	store->closed = closed;
	store->closed_data = data;
	maybe_close(store);
}
