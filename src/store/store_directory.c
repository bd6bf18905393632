/* SPDX-License-Identifier: MIT */
/* The directory store's side of the loop: each operation is one visit to libuv's pool, where directory_files.c does the work. */
#include "store/store.h"

#include "base/buffer.h"
#include "base/check.h"
#include "base/log.h"
#include "store/directory_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct directory_store {
	struct store store;
	uv_loop_t *loop;
	struct directory_files *files;
	struct soon soon; /* refusals */
	size_t open_puts;
	size_t open_reads;
	size_t running; /* pool visits and refusals */
	bool up;
	bool closing;
	bool handle_closed;
	void (*closed)(void *data);
	void *closed_data;
};

enum put_step { PUT_OPEN, PUT_WRITE, PUT_COMMIT, PUT_ABORT };

struct directory_put {
	uv_work_t work;
	struct directory_store *owner;
	struct store_put *put;
	struct directory_temporary temporary;
	enum put_step step;
	struct slice bytes;
	int64_t length;
	int status;
	struct error error;
	char *encryption; /* JSON for the file beside a ciphertext; NULL: none */
	char key[];
};

struct directory_request {
	uv_work_t work;
	struct directory_store *owner;
	struct store_request *request;
	unsigned removed;
	int status;
	struct error error;
	char key[];
};

static struct directory_store *store_of(struct store *store)
{
	return CONTAINER_OF(store, struct directory_store, store);
}

/* ---- Close ---- */

static void handle_closed(uv_handle_t *handle)
{
	struct directory_store *store = handle->data;
	void (*closed)(void *) = store->closed;
	void *data = store->closed_data;
	directory_files_close(&store->files);
	free(store);
	closed(data);
}

static void store_maybe_close(struct directory_store *store)
{
	bool busy = store->open_puts > 0 || store->open_reads > 0 || store->running > 0;
	if (!store->closing || busy || store->handle_closed)
		return;
	store->handle_closed = true;
	soon_close(&store->soon, handle_closed);
}

static void directory_close(struct store *base, void (*closed)(void *data), void *data)
{
	struct directory_store *store = store_of(base);
	REQUIRE(!store->closing);
	store->closing = true;
	store->closed = closed;
	store->closed_data = data;
	store_maybe_close(store);
}

/* 0, or why an operation on this key is not begun. */
static int refuse(const struct directory_store *store, const char *key, struct error *error)
{
	if (store->closing)
		return error_set(error, ERR_CANCELLED, "the store is closing");
	if (key != NULL && !store_key_is_valid(key))
		return error_set(error, ERR_INVALID, "object key \"%s\" is not a path below the store", key);
	return 0;
}

static void put_refused(struct soon_item *item)
{
	struct store_put *put = CONTAINER_OF(item, struct store_put, refusal);
	struct directory_store *store = store_of(put->store);
	put->done(put, put->error.code); /* may free the put */
	store->running--;
	store_maybe_close(store);
}

/* Answers with the put's error from the loop. */
static void refuse_put(struct directory_store *store, struct store_put *put)
{
	store->running++;
	soon_item_init(&put->refusal, put_refused);
	soon_add(&store->soon, &put->refusal);
}

static void request_refused(struct soon_item *item)
{
	struct store_request *request = CONTAINER_OF(item, struct store_request, refusal);
	struct directory_store *store = store_of(request->store);
	request->done(request, request->error.code); /* may free the request */
	store->running--;
	store_maybe_close(store);
}

static void refuse_request(struct directory_store *store, struct store_request *request)
{
	store->running++;
	soon_item_init(&request->refusal, request_refused);
	soon_add(&store->soon, &request->refusal);
}

/* Which failures are the store's and not the object's. */
static void note_status(struct directory_store *store, int status)
{
	if (status == 0)
		store->up = true;
	else if (status == ERR_IO || status == ERR_NO_SPACE || status == ERR_DENIED)
		store->up = false;
}

/* ---- Put ---- */

/* KEY.json beside KEY. False when that is too long for any file. */
static bool beside(const char *key, char out[PATH_MAX])
{
	int len = snprintf(out, PATH_MAX, "%s.json", key);
	return len > 0 && len < PATH_MAX;
}

/* The file beside it first: a ciphertext that can be seen has one, also after a crash. What an earlier ciphertext of this key left behind goes. */
static int publish(struct directory_files *files, struct directory_put *op)
{
	char path[PATH_MAX];
	int status = 0;
	bool named = beside(op->key, path);
	if (op->encryption != NULL)
		status = named ? directory_files_write(files, path, slice_from_cstr(op->encryption), &op->error)
			       : error_set(&op->error, ERR_LIMIT, "the name of %s is too long", op->key);
	if (status == 0)
		status = directory_temporary_publish(files, &op->temporary, op->key, op->length, &op->error);
	if (status == 0 && op->encryption == NULL && named)
		status = directory_files_delete(files, path, &op->error);
	return status;
}

/* The object before the file beside it: what is left after a crash is no ciphertext that nobody can open. */
static int delete_both(struct directory_files *files, const char *key, struct error *error)
{
	char path[PATH_MAX];
	int status = directory_files_delete(files, key, error);
	return status == 0 && beside(key, path) ? directory_files_delete(files, path, error) : status;
}

static void put_work(uv_work_t *work)
{
	struct directory_put *op = work->data;
	struct directory_files *files = op->owner->files;
	switch (op->step) {
	case PUT_OPEN:
		op->status = directory_temporary_open(files, &op->temporary, &op->error);
		break;
	case PUT_WRITE:
		op->status = directory_temporary_write(files, &op->temporary, op->bytes, &op->error);
		break;
	case PUT_COMMIT:
		op->status = publish(files, op);
		break;
	case PUT_ABORT:
		directory_temporary_remove(files, &op->temporary);
		op->status = 0;
		break;
	}
}

static void put_worked(uv_work_t *work, int cancelled)
{
	struct directory_put *op = work->data;
	struct directory_store *store = op->owner;
	struct store_put *put = op->put;
	int status = op->status;
	(void)cancelled; /* we never do */
	store->running--;
	if (op->step != PUT_ABORT)
		note_status(store, status);
	if (status != 0)
		put->error = op->error;
	bool ended = op->step == PUT_ABORT || (op->step == PUT_COMMIT && status == 0);
	if (ended) {
		store->open_puts--;
		put->impl = NULL;
		free(op->encryption);
		free(op);
	}
	put->done(put, status); /* may free the put */
	store_maybe_close(store);
}

static void put_run(struct directory_put *op, enum put_step step)
{
	op->step = step;
	op->owner->running++;
	int status = uv_queue_work(op->owner->loop, &op->work, put_work, put_worked);
	REQUIRE(status == 0); /* fails only without a function */
}

/* The details as Twilio's callback has them, and of what. False when out of memory. */
static bool describe_encryption(struct directory_put *op, const struct store_object *object)
{
	if (object->encryption_cek == NULL)
		return true;
	int len = asprintf(
		&op->encryption,
		"{\"type\":\"%s\",\"public_key_sid\":\"%s\",\"encrypted_cek\":\"%s\",\"iv\":\"%s\",\"recording_sid\":\"%s\"}\n",
		object->encryption_type, object->encryption_public_key_sid, object->encryption_cek, object->encryption_iv,
		object->recording_sid != NULL ? object->recording_sid : "");
	if (len < 0)
		op->encryption = NULL;
	return len >= 0;
}

static void directory_put_open(struct store *base, struct store_put *put, const struct store_object *object)
{
	struct directory_store *store = store_of(base);
	if (refuse(store, object->key, &put->error) != 0) {
		refuse_put(store, put);
		return;
	}
	size_t key_size = strlen(object->key) + 1;
	struct directory_put *op = calloc(1, sizeof(*op) + key_size);
	if (op == NULL || !describe_encryption(op, object)) {
		free(op);
		error_set(&put->error, ERR_NOMEM, "out of memory for %s", object->key);
		refuse_put(store, put);
		return;
	}
	memcpy(op->key, object->key, key_size);
	op->work.data = op;
	op->owner = store;
	op->put = put;
	op->temporary.fd = -1;
	put->impl = op;
	store->open_puts++;
	put_run(op, PUT_OPEN);
}

static struct directory_put *put_opened(struct store_put *put)
{
	struct directory_put *op = put->impl;
	REQUIRE(op != NULL && op->temporary.fd >= 0);
	return op;
}

static void directory_put_write(struct store_put *put, struct slice bytes)
{
	struct directory_put *op = put_opened(put);
	op->bytes = bytes;
	put_run(op, PUT_WRITE);
}

static void directory_put_commit(struct store_put *put, const struct store_digest *digest)
{
	struct directory_put *op = put_opened(put);
	op->length = digest->bytes;
	put_run(op, PUT_COMMIT);
}

static void directory_put_abort(struct store_put *put)
{
	if (put->impl != NULL) {
		put_run(put->impl, PUT_ABORT);
		return;
	}
	/* The opening was refused: there is nothing to undo. */
	put->error = (struct error){0};
	refuse_put(store_of(put->store), put);
}

/* ---- Requests ---- */

static void request_work(uv_work_t *work)
{
	struct directory_request *op = work->data;
	struct directory_files *files = op->owner->files;
	switch (op->request->op) {
	case STORE_VERIFY:
		op->status = directory_files_verify(files, op->key, &op->request->digest, &op->error);
		break;
	case STORE_LOOK:
		op->status = directory_files_look(files, op->key, op->request->digest.bytes, &op->error);
		break;
	case STORE_DELETE:
		op->status = delete_both(files, op->key, &op->error);
		break;
	case STORE_PROBE:
		op->status = directory_files_probe(files, &op->error);
		break;
	case STORE_CLEAN:
		op->status = directory_files_clean(files, &op->removed, &op->error);
		break;
	}
}

static void request_worked(uv_work_t *work, int cancelled)
{
	struct directory_request *op = work->data;
	struct directory_store *store = op->owner;
	struct store_request *request = op->request;
	int status = op->status;
	(void)cancelled;
	store->running--;
	note_status(store, status);
	if (status != 0)
		request->error = op->error;
	if (op->removed > 0)
		log_event(LOG_INFO, "store.cleaned", LOG_U64("removed", op->removed));
	request->impl = NULL;
	free(op);
	request->done(request, status); /* may free the request */
	store_maybe_close(store);
}

static void directory_submit(struct store *base, struct store_request *request)
{
	struct directory_store *store = store_of(base);
	bool keyed = request->op != STORE_PROBE && request->op != STORE_CLEAN;
	const char *key = keyed ? request->key : NULL;
	if (refuse(store, key, &request->error) != 0) {
		refuse_request(store, request);
		return;
	}
	size_t key_len = key != NULL ? strlen(key) : 0;
	struct directory_request *op = calloc(1, sizeof(*op) + key_len + 1);
	if (op == NULL) {
		error_set(&request->error, ERR_NOMEM, "out of memory");
		refuse_request(store, request);
		return;
	}
	if (key != NULL)
		memcpy(op->key, key, key_len);
	op->work.data = op;
	op->owner = store;
	op->request = request;
	request->impl = op;
	store->running++;
	int status = uv_queue_work(store->loop, &op->work, request_work, request_worked);
	REQUIRE(status == 0);
}

/* ---- Reading ---- */

enum read_step { READ_OPEN, READ_AT, READ_CLOSE };

static void read_work(uv_work_t *work)
{
	struct store_read *read = CONTAINER_OF(work, struct store_read, work);
	struct directory_files *files = store_of(read->store)->files;
	switch ((enum read_step)read->step) {
	case READ_OPEN:
		if (read->status == 0)
			read->status = directory_files_open_object(files, read->key, &read->fd, &read->length, &read->error);
		break;
	case READ_AT:
		read->status = directory_files_read(files, read->fd, read->offset, read->buffer, read->size, &read->len,
						    &read->error);
		break;
	case READ_CLOSE:
		close(read->fd);
		read->status = 0;
		break;
	}
}

static void read_worked(uv_work_t *work, int cancelled)
{
	struct store_read *read = CONTAINER_OF(work, struct store_read, work);
	struct directory_store *store = store_of(read->store);
	(void)cancelled;
	store->running--;
	if ((read->step == READ_OPEN && read->status != 0) || read->step == READ_CLOSE)
		store->open_reads--;
	read->done(read, read->status); /* may free the read */
	store_maybe_close(store);
}

static void read_run(struct store_read *read, enum read_step step)
{
	struct directory_store *store = store_of(read->store);
	read->step = step;
	store->running++;
	int status = uv_queue_work(store->loop, &read->work, read_work, read_worked);
	REQUIRE(status == 0);
}

static void directory_read_open(struct store *base, struct store_read *read)
{
	struct directory_store *store = store_of(base);
	store->open_reads++;
	read->fd = -1;
	read->status = refuse(store, read->key, &read->error);
	read_run(read, READ_OPEN);
}

static void directory_read_at(struct store_read *read)
{
	REQUIRE(read->fd >= 0);
	read_run(read, READ_AT);
}

static void directory_read_close(struct store_read *read)
{
	REQUIRE(read->fd >= 0);
	read_run(read, READ_CLOSE);
}

/* ---- Names ---- */

static int directory_url(const struct store *base, const char *key, char *out, size_t size)
{
	const struct directory_store *store = CONTAINER_OF(base, struct directory_store, store);
	const char *root = directory_files_root(store->files);
	struct buffer url;
	buffer_init(&url, size);
	buffer_append_cstr(&url, "file://");
	buffer_append_percent(&url, slice_from_cstr(root), true);
	if (strcmp(root, "/") != 0)
		buffer_append_char(&url, '/');
	buffer_append_percent(&url, slice_from_cstr(key), true);
	const char *text = buffer_cstr(&url);
	int status = text == NULL || url.failed || url.len >= size ? ERR_LIMIT : 0;
	if (status == 0)
		memcpy(out, text, url.len + 1);
	buffer_free(&url);
	return status;
}

static int directory_link(const struct store *base, const char *key, int64_t valid_s, char *out, size_t size)
{
	(void)valid_s; /* a file's link does not expire */
	return directory_url(base, key, out, size);
}

static bool directory_up(const struct store *base)
{
	return CONTAINER_OF(base, struct directory_store, store)->up;
}

static const struct store_ops directory_ops = {
	.kind = "directory",
	.put_open = directory_put_open,
	.put_write = directory_put_write,
	.put_commit = directory_put_commit,
	.put_abort = directory_put_abort,
	.submit = directory_submit,
	.read_open = directory_read_open,
	.read_at = directory_read_at,
	.read_close = directory_read_close,
	.url = directory_url,
	.link = directory_link,
	.up = directory_up,
	.close = directory_close,
};

int store_directory_open(struct store **ret, uv_loop_t *loop, const char *directory, struct error *error)
{
	struct directory_store *store = calloc(1, sizeof(*store));
	if (store == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	int status = directory_files_open(&store->files, directory, error);
	if (status != 0) {
		free(store);
		return status;
	}
	store->store.ops = &directory_ops;
	store->loop = loop;
	store->up = true;
	soon_init(&store->soon, loop);
	store->soon.idle.data = store;
	*ret = &store->store;
	return 0;
}
