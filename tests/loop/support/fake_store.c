/* SPDX-License-Identifier: MIT */
#include "loop/support/fake_store.h"

#include "adapters/crypto.h"
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_put {
	struct list link;
	struct fake_store *fake;
	struct store_put *put;
	enum fake_store_op op;
	unsigned turns;
	bool open;
	bool failed;
	char key[512];
	char content_type[32];
	char encryption[1024];
	char channels[16];
	int64_t announced;
	int64_t bytes;
	struct crypto_digest *hash;
	struct store_digest digest; /* asked for by commit */
	struct slice writing;
	uint32_t writing_sum; /* the bytes must stay as they are until done */
};

static uint32_t sum(struct slice bytes)
{
	uint32_t total = 2166136261U;
	for (size_t i = 0; i < bytes.len; i++)
		total = (total ^ (unsigned char)bytes.ptr[i]) * 16777619U;
	return total;
}

struct fake_object *fake_store_find(struct fake_store *fake, const char *key)
{
	for (size_t i = 0; i < fake->count; i++) {
		if (strcmp(fake->objects[i].key, key) == 0)
			return &fake->objects[i];
	}
	return NULL;
}

static struct fake_object *add(struct fake_store *fake, const char *key)
{
	if (fake->count == fake->capacity) {
		fake->capacity = fake->capacity == 0 ? 16 : 2 * fake->capacity;
		fake->objects = realloc(fake->objects, fake->capacity * sizeof(*fake->objects));
		REQUIRE(fake->objects != NULL);
	}
	struct fake_object *object = &fake->objects[fake->count++];
	memset(object, 0, sizeof(*object));
	snprintf(object->key, sizeof(object->key), "%s", key);
	return object;
}

static int commit(struct fake_store *fake, struct fake_put *state)
{
	struct crypto_digest_result found;
	REQUIRE(crypto_digest_final(state->hash, &found) == 0);
	if (fake->corrupt_next) {
		fake->corrupt_next = false;
		found.md5[3] ^= 1;
	}
	if ((int64_t)found.bytes != state->digest.bytes || memcmp(found.md5, state->digest.md5, 16) != 0 ||
	    memcmp(found.sha256, state->digest.sha256, 32) != 0)
		return ERR_CHECKSUM;
	REQUIRE(state->announced < 0 || state->announced == state->bytes);
	struct fake_object *object = fake_store_find(fake, state->key);
	if (object == NULL)
		object = add(fake, state->key);
	snprintf(object->content_type, sizeof(object->content_type), "%s", state->content_type);
	snprintf(object->channels, sizeof(object->channels), "%s", state->channels);
	memcpy(object->encryption, state->encryption, sizeof(object->encryption));
	object->announced = state->announced;
	object->digest = state->digest;
	object->puts++;
	if (fake->committed != NULL)
		fake->committed(fake, object);
	return 0;
}

static int verify(struct fake_store *fake, const struct store_request *request)
{
	const struct fake_object *object = fake_store_find(fake, request->key);
	if (object == NULL)
		return ERR_NOT_FOUND;
	bool same = object->digest.bytes == request->digest.bytes &&
		    memcmp(object->digest.sha256, request->digest.sha256, 32) == 0 &&
		    memcmp(object->digest.md5, request->digest.md5, 16) == 0;
	return same ? 0 : ERR_CHECKSUM;
}

static void put_free(struct fake_put *state)
{
	state->fake->open_puts--;
	state->put->impl = NULL;
	crypto_digest_free(&state->hash);
	free(state);
}

/* The operation is over: its effect, its status, its callback. */
static void put_done(struct fake_put *state)
{
	struct fake_store *fake = state->fake;
	struct store_put *put = state->put;
	int status = fake->fault != NULL && state->op != FAKE_ABORT ? fake->fault(fake, state->op, state->key) : 0;
	if (state->op == FAKE_WRITE) {
		REQUIRE(sum(state->writing) == state->writing_sum);
		REQUIRE(crypto_digest_update(state->hash, state->writing.ptr, state->writing.len) == 0);
		state->bytes += (int64_t)state->writing.len;
		fake->bytes_written += (int64_t)state->writing.len;
	} else if (state->op == FAKE_COMMIT && status == 0) {
		status = commit(fake, state);
	}
	state->failed = state->failed || status != 0;
	if (status != 0)
		error_set(&put->error, status, "fake store: %s", err_name(status));
	if (state->op == FAKE_ABORT || (state->op == FAKE_COMMIT && status == 0))
		put_free(state);
	put->done(put, status);
}

static void tick(struct soon_item *item)
{
	struct fake_store *fake = CONTAINER_OF(item, struct fake_store, tick);
	struct list waiting;
	struct list *link;
	list_move(&waiting, &fake->waiting);
	while ((link = list_take(&waiting)) != NULL) {
		struct fake_put *state = LIST_ENTRY(link, struct fake_put, link);
		if (state->turns > 0) {
			state->turns--;
			list_append(&fake->waiting, link);
		} else {
			put_done(state);
		}
	}
	if (!list_empty(&fake->waiting))
		soon_add(&fake->soon, &fake->tick);
}

static void put_begin(struct store_put *put, enum fake_store_op op)
{
	struct fake_put *state = put->impl;
	struct fake_store *fake = state->fake;
	REQUIRE(list_empty(&state->link)); /* one operation at a time */
	REQUIRE(op == FAKE_ABORT || op == FAKE_OPEN || !state->failed);
	fake->ops[op]++;
	state->op = op;
	state->turns = fake->slow_turns;
	list_append(&fake->waiting, &state->link);
	soon_add(&fake->soon, &fake->tick);
}

static void put_open(struct store *store, struct store_put *put, const struct store_object *object)
{
	struct fake_store *fake = (struct fake_store *)store;
	struct fake_put *state = calloc(1, sizeof(*state));
	REQUIRE(state != NULL && crypto_digest_new(&state->hash, NULL) == 0);
	list_init(&state->link);
	state->fake = fake;
	state->put = put;
	snprintf(state->key, sizeof(state->key), "%s", object->key);
	snprintf(state->content_type, sizeof(state->content_type), "%s", object->content_type);
	snprintf(state->channels, sizeof(state->channels), "%s", object->channels);
	state->announced = object->length;
	if (object->encryption_type != NULL)
		snprintf(state->encryption, sizeof(state->encryption), "%s %s %s %s", object->encryption_type,
			 object->encryption_public_key_sid, object->encryption_cek, object->encryption_iv);
	put->impl = state;
	fake->open_puts++;
	if (fake->open_puts > fake->most_open_puts)
		fake->most_open_puts = fake->open_puts;
	put_begin(put, FAKE_OPEN);
}

static void put_write(struct store_put *put, struct slice bytes)
{
	struct fake_put *state = put->impl;
	REQUIRE(bytes.len > 0);
	state->writing = bytes;
	state->writing_sum = sum(bytes);
	put_begin(put, FAKE_WRITE);
}

static void put_commit(struct store_put *put, const struct store_digest *digest)
{
	struct fake_put *state = put->impl;
	state->digest = *digest;
	put_begin(put, FAKE_COMMIT);
}

static void put_abort(struct store_put *put)
{
	put_begin(put, FAKE_ABORT);
}

/* ---- requests ---- */

struct fake_request {
	struct soon_item item;
	struct fake_store *fake;
	struct store_request *request;
};

static void request_done(struct soon_item *item)
{
	struct fake_request *state = CONTAINER_OF(item, struct fake_request, item);
	struct store_request *request = state->request;
	int status = state->fake->fault != NULL ? state->fake->fault(state->fake, FAKE_VERIFY, request->key) : 0;
	if (status == 0)
		status = verify(state->fake, request);
	if (status != 0)
		error_set(&request->error, status, "fake store: %s", err_name(status));
	free(state);
	request->done(request, status);
}

static void submit(struct store *store, struct store_request *request)
{
	struct fake_store *fake = (struct fake_store *)store;
	struct fake_request *state = calloc(1, sizeof(*state));
	REQUIRE(state != NULL && request->op == STORE_VERIFY);
	fake->ops[FAKE_VERIFY]++;
	state->fake = fake;
	state->request = request;
	soon_item_init(&state->item, request_done);
	soon_add(&fake->soon, &state->item);
}

static int url(const struct store *store, const char *key, char *out, size_t size)
{
	int len = snprintf(out, size, "fake://%s", key);
	return len < 0 || (size_t)len >= size ? ERR_LIMIT : 0;
}

static const struct store_ops fake_ops = {
	.kind = "fake",
	.put_open = put_open,
	.put_write = put_write,
	.put_commit = put_commit,
	.put_abort = put_abort,
	.submit = submit,
	.url = url,
};

void fake_store_init(struct fake_store *fake, uv_loop_t *loop)
{
	*fake = (struct fake_store){.store.ops = &fake_ops, .loop = loop};
	soon_init(&fake->soon, loop);
	soon_item_init(&fake->tick, tick);
	list_init(&fake->waiting);
}

void fake_store_close(struct fake_store *fake, uv_close_cb closed)
{
	REQUIRE(list_empty(&fake->waiting));
	free(fake->objects);
	soon_close(&fake->soon, closed);
}
