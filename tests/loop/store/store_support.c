/* SPDX-License-Identifier: MIT */
#include "loop/store/store_support.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <stdlib.h>

uv_loop_t loop;
struct store *store;
bool support_store_closed;

static bool inside;

void support_init_loop(void)
{
	REQUIRE(uv_loop_init(&loop) == 0);
	store = NULL;
	support_store_closed = false;
}

void support_run_until(const bool *flag)
{
	while (!*flag) {
		cr_assert(uv_loop_alive(&loop), "nothing is left that could happen");
		turn_run(&loop);
	}
}

void support_on_closed(void *data)
{
	(void)data;
	support_store_closed = true;
}

void support_close_store(void)
{
	if (store == NULL || support_store_closed)
		return;
	store_close(store, support_on_closed, NULL);
	cr_assert(!support_store_closed, "closed inside the call");
	support_run_until(&support_store_closed);
}

void support_close_loop(void)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
}

static void put_done(struct store_put *base, int status)
{
	struct put *put = base->data;
	cr_assert(!inside, "done inside the call");
	put->done++;
	put->status = status;
	uv_stop(&loop); /* it may have been a timer: the loop would go on to wait for something else */
}

static void request_done(struct store_request *base, int status)
{
	struct request *request = base->data;
	cr_assert(!inside, "done inside the call");
	request->done++;
	request->status = status;
	uv_stop(&loop);
}

void put_start_open(struct put *put, const struct store_object *object)
{
	put->put.data = put;
	put->done = 0;
	inside = true;
	store_put_open(store, &put->put, object, put_done);
	inside = false;
}

void put_start_write(struct put *put, struct slice bytes)
{
	put->done = 0;
	inside = true;
	store_put_write(&put->put, bytes, put_done);
	inside = false;
}

void put_start_commit(struct put *put, const struct store_digest *digest)
{
	put->done = 0;
	inside = true;
	store_put_commit(&put->put, digest, put_done);
	inside = false;
}

void put_start_abort(struct put *put)
{
	put->done = 0;
	inside = true;
	store_put_abort(&put->put, put_done);
	inside = false;
}

void request_start(struct request *request, enum store_op op, const char *key)
{
	request->request.op = op;
	request->request.key = key;
	request->request.done = request_done;
	request->request.data = request;
	request->done = 0;
	inside = true;
	store_submit(store, &request->request);
	inside = false;
}

int put_wait(struct put *put)
{
	while (put->done == 0) {
		cr_assert(uv_loop_alive(&loop), "nothing is left that could happen");
		turn_run(&loop);
	}
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(put->done, 1, "done came twice");
	return put->status;
}

int request_wait(struct request *request)
{
	while (request->done == 0) {
		cr_assert(uv_loop_alive(&loop), "nothing is left that could happen");
		turn_run(&loop);
	}
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(request->done, 1, "done came twice");
	return request->status;
}

int put_open_object(struct put *put, const struct store_object *object)
{
	put_start_open(put, object);
	return put_wait(put);
}

int put_open(struct put *put, const char *key, int64_t length)
{
	const struct store_object object = {.key = key, .length = length, .content_type = "audio/wav"};
	return put_open_object(put, &object);
}

int put_write(struct put *put, struct slice bytes)
{
	put_start_write(put, bytes);
	return put_wait(put);
}

int put_write_text(struct put *put, const char *text)
{
	return put_write(put, slice_from_cstr(text));
}

int put_commit(struct put *put, const struct store_digest *digest)
{
	put_start_commit(put, digest);
	return put_wait(put);
}

int put_abort(struct put *put)
{
	put_start_abort(put);
	return put_wait(put);
}

int submit(struct request *request, enum store_op op, const char *key)
{
	request_start(request, op, key);
	return request_wait(request);
}

struct store_digest digest_of(struct slice bytes)
{
	struct crypto_digest *digest;
	struct crypto_digest_result sums;
	REQUIRE(crypto_digest_new(&digest, NULL) == 0);
	REQUIRE(crypto_digest_update(digest, bytes.ptr, bytes.len) == 0 && crypto_digest_final(digest, &sums) == 0);
	crypto_digest_free(&digest);
	struct store_digest ret = {.bytes = (int64_t)bytes.len};
	memcpy(ret.md5, sums.md5, sizeof(ret.md5));
	memcpy(ret.sha256, sums.sha256, sizeof(ret.sha256));
	return ret;
}

int put_object(const struct store_object *object, struct slice bytes, size_t piece, struct error *error)
{
	struct put put = {0};
	const struct store_digest digest = digest_of(bytes);
	int status = put_open_object(&put, object);
	for (size_t at = 0; status == 0 && at < bytes.len; at += piece)
		status = put_write(&put, slice_make(bytes.ptr + at, bytes.len - at < piece ? bytes.len - at : piece));
	if (status == 0)
		status = put_commit(&put, &digest);
	if (status == 0)
		return 0;
	if (error != NULL)
		*error = put.put.error;
	cr_assert_eq(put_abort(&put), 0);
	return status;
}

int put_text(const char *key, const char *text)
{
	const struct store_object object = {.key = key, .length = (int64_t)strlen(text), .content_type = "audio/wav"};
	return put_object(&object, slice_from_cstr(text), 4, NULL);
}

int verify_bytes(const char *key, struct slice bytes)
{
	struct request request = {.request.digest = digest_of(bytes)};
	return submit(&request, STORE_VERIFY, key);
}

char *make_bytes(size_t len, unsigned seed)
{
	char *bytes = malloc(len > 0 ? len : 1);
	uint64_t state = seed * UINT64_C(2654435761) + 1;
	REQUIRE(bytes != NULL);
	for (size_t i = 0; i < len; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		bytes[i] = (char)(state >> 56);
	}
	return bytes;
}
