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
	bool up;
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
	if (op->step != PUT_ABORT)
		note_status(store, status);
	if (status != 0)
		put->error = op->error;
	bool ended = op->step == PUT_ABORT || (op->step == PUT_COMMIT && status == 0);
	if (ended) {
		put->impl = NULL;
		free(op->encryption);
		free(op);
	}
	put->done(put, status); /* may free the put */
	if (ended)
		store_release(&store->store);
}

static void put_run(struct directory_put *op, enum put_step step)
{
	op->step = step;
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
	if (store_may_begin(base, object->key, &put->error) != 0) {
		store_refuse_put(base, put);
		return;
	}
	size_t key_size = strlen(object->key) + 1;
	struct directory_put *op = calloc(1, sizeof(*op) + key_size);
	if (op == NULL || !describe_encryption(op, object)) {
		free(op);
		error_set(&put->error, ERR_NOMEM, "out of memory for %s", object->key);
		store_refuse_put(base, put);
		return;
	}
	memcpy(op->key, object->key, key_size);
	op->work.data = op;
	op->owner = store;
	op->put = put;
	op->temporary.fd = -1;
	put->impl = op;
	store_hold(base);
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
	store_refuse_put(put->store, put);
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
	note_status(store, status);
	if (status != 0)
		request->error = op->error;
	if (op->removed > 0)
		log_event(LOG_INFO, "store.cleaned", LOG_U64("removed", op->removed));
	request->impl = NULL;
	free(op);
	request->done(request, status); /* may free the request */
	store_release(&store->store);
}

static void directory_submit(struct store *base, struct store_request *request)
{
	struct directory_store *store = store_of(base);
	bool keyed = request->op != STORE_PROBE && request->op != STORE_CLEAN;
	const char *key = keyed ? request->key : NULL;
	if (store_may_begin(base, key, &request->error) != 0) {
		store_refuse_request(base, request);
		return;
	}
	size_t key_len = key != NULL ? strlen(key) : 0;
	struct directory_request *op = calloc(1, sizeof(*op) + key_len + 1);
	if (op == NULL) {
		error_set(&request->error, ERR_NOMEM, "out of memory");
		store_refuse_request(base, request);
		return;
	}
	if (key != NULL)
		memcpy(op->key, key, key_len);
	op->work.data = op;
	op->owner = store;
	op->request = request;
	request->impl = op;
	store_hold(base);
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
	struct store *store = read->store;
	bool ended = (read->step == READ_OPEN && read->status != 0) || read->step == READ_CLOSE;
	(void)cancelled;
	read->done(read, read->status); /* may free the read */
	if (ended)
		store_release(store);
}

static void read_run(struct store_read *read, enum read_step step)
{
	read->step = step;
	int status = uv_queue_work(store_of(read->store)->loop, &read->work, read_work, read_worked);
	REQUIRE(status == 0);
}

static void directory_read_open(struct store *base, struct store_read *read)
{
	store_hold(base);
	read->fd = -1;
	read->status = store_may_begin(base, read->key, &read->error);
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

static void directory_free(struct store *base)
{
	struct directory_store *store = store_of(base);
	directory_files_close(&store->files);
	free(store);
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
	.free = directory_free,
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
	store_init(&store->store, &directory_ops, loop);
	store->loop = loop;
	store->up = true;
	*ret = &store->store;
	return 0;
}
