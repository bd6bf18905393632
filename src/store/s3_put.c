/* SPDX-License-Identifier: MIT */
/*
 * One upload. Its way is chosen at the opening, by the length; nothing is sent before the first bytes. The small way is here: the bytes
 * lie in the first part's buffer (s3_multipart.c fills it) and go out at commit, whole.
 *
 * After any of the three ways it is the server's answer that decides: a digest in it that is ours ends the commit. No digest, or none to
 * compare: s3_check looks. Other bytes than ours: what we have just written is deleted, ERR_CHECKSUM.
 *
 * If-None-Match keeps a second writer of the same key (a late replica, a try whose answer was lost) from writing what is there. "412" then
 * means: look whether it is ours, and be content; otherwise replace it.
 */
#include "store/s3_internal.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 10,000 parts, with ETag and checksum. */
#define COMPLETE_BYTES_MAX ((size_t)4 * 1024 * 1024)

static struct s3_store *store_of(struct store *store)
{
	return CONTAINER_OF(store, struct s3_store, store);
}

/* ---- The end of an operation ---- */

void s3_put_fail(struct s3_put *put, int status, const struct error *error, int64_t retry_after_ms)
{
	if (put->status != 0)
		return;
	put->status = status;
	put->retry_after_ms = retry_after_ms;
	if (error != NULL && error->code != 0)
		put->error = *error;
	else
		error_set(&put->error, status, "%s: %s", put->key, err_text(status));
	put->error.code = status;
}

static void put_free(struct s3_put *put)
{
	s3_multipart_free(put);
	free(put->key);
	free(put);
}

static void put_answer(struct soon_item *item)
{
	struct s3_put *put = CONTAINER_OF(item, struct s3_put, answer);
	struct s3_store *store = put->store;
	struct store_put *base = put->put;
	enum s3_put_op op = put->op;
	int status = op == S3_PUT_ABORT ? 0 : put->status;
	put->op = S3_PUT_IDLE;
	if (status != 0) {
		base->error = put->error;
		base->retry_after_ms = put->retry_after_ms;
	}
	bool over = op == S3_PUT_ABORT || (op == S3_PUT_COMMIT && status == 0);
	if (over) {
		base->impl = NULL;
		put_free(put);
	}
	base->done(base, status); /* may free the base */
	if (over)
		store_release(&store->store);
}

void s3_put_answer(struct s3_put *put)
{
	REQUIRE(put->op != S3_PUT_IDLE);
	soon_add(&put->store->store.soon, &put->answer);
}

static void put_fail_answer(struct s3_put *put, int status, const struct error *error, int64_t retry_after_ms)
{
	s3_put_fail(put, status, error, retry_after_ms);
	s3_put_answer(put);
}

/* ---- Open ---- */

/* Header values are ASCII. What is not (nothing of Twilio's) is left out rather than encoded in a way that nobody decodes. */
static void add_line(struct s3_put *put, const char *name, const char *value)
{
	size_t len = value != NULL ? strlen(value) : 0;
	for (size_t i = 0; i < len; i++) {
		if (value[i] < 0x20 || value[i] > 0x7e)
			return;
	}
	if (len == 0 || strlen(name) + len + 3 > S3_LINE_SIZE)
		return;
	REQUIRE(put->line_count < S3_META_HEADERS);
	snprintf(put->lines[put->line_count++], S3_LINE_SIZE, "%s: %s", name, value);
}

/* In pieces that every server takes: OpenStack Swift refuses metadata values longer than 256 bytes (its max_meta_value_length). */
static void add_sealed_key(struct s3_put *put, const char *text)
{
	static const char *const names[] = {"x-amz-meta-encryption-encrypted-cek", "x-amz-meta-encryption-encrypted-cek-2",
					    "x-amz-meta-encryption-encrypted-cek-3"};
	char piece[S3_META_VALUE_MAX + 1];
	size_t left = text != NULL ? strlen(text) : 0;
	REQUIRE(left <= sizeof(names) / sizeof(names[0]) * S3_META_VALUE_MAX);
	for (size_t i = 0; left > 0; i++) {
		size_t len = left < S3_META_VALUE_MAX ? left : S3_META_VALUE_MAX;
		memcpy(piece, text, len);
		piece[len] = '\0';
		add_line(put, names[i], piece);
		text += len;
		left -= len;
	}
}

static void take_object(struct s3_put *put, const struct store_object *object)
{
	struct slice sha256 = slice_from_cstr(object->sha256);
	put->length = object->length >= 0 ? object->length : -1;
	add_line(put, "Content-Type", object->content_type);
	add_line(put, "x-amz-meta-call-sid", object->call_sid);
	add_line(put, "x-amz-meta-recording-sid", object->recording_sid);
	add_line(put, "x-amz-meta-account-sid", object->account_sid);
	add_line(put, "x-amz-meta-duration", object->duration);
	add_line(put, "x-amz-meta-channels", object->channels);
	add_line(put, "x-amz-meta-source", object->source);
	add_line(put, "x-amz-meta-start-time", object->start_time);
	add_line(put, "x-amz-meta-encryption-type", object->encryption_type);
	add_line(put, "x-amz-meta-encryption-public-key-sid", object->encryption_public_key_sid);
	add_line(put, "x-amz-meta-encryption-iv", object->encryption_iv);
	add_sealed_key(put, object->encryption_cek);
	put->sha256_known = sha256.len == 64 && hex_decode(sha256, put->expected.sha256);
	if (put->sha256_known)
		snprintf(put->sha256_line, sizeof(put->sha256_line), "x-amz-meta-sha256: %s", object->sha256);
}

void s3_put_object_headers(const struct s3_put *put, struct s3_call *call)
{
	const struct s3_store *store = put->store;
	const char *const more[] = {put->sha256_line, store->sse_line, store->sse_key_line, store->storage_class_line};
	size_t count = 0;
	for (size_t i = 0; i < put->line_count; i++)
		call->headers[count++] = put->lines[i];
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		if (more[i] != NULL && more[i][0] != '\0')
			call->headers[count++] = more[i];
	}
	REQUIRE(count < S3_CALL_HEADERS);
}

/* True, and answered from the loop, when an operation on this key is not begun. */
static bool refuse(struct s3_store *store, struct store_put *put, const char *key)
{
	if (s3_may_begin(store, key, &put->error) == 0)
		return false;
	store_refuse_put(&store->store, put);
	return true;
}

void s3_put_open(struct store *base, struct store_put *put, const struct store_object *object)
{
	struct s3_store *store = store_of(base);
	if (refuse(store, put, object->key))
		return;
	struct s3_put *op = calloc(1, sizeof(*op));
	if (op == NULL || (op->key = strdup(object->key)) == NULL) {
		free(op);
		error_set(&put->error, ERR_NOMEM, "out of memory for %.100s", object->key);
		store_refuse_put(base, put);
		return;
	}
	op->store = store;
	op->put = put;
	op->retry_after_ms = -1;
	soon_item_init(&op->answer, put_answer);
	list_init(&op->waiter);
	buffer_init(&op->complete_body, COMPLETE_BYTES_MAX);
	take_object(op, object);
	op->streaming = op->length > (int64_t)store->hold_bytes && op->length <= store->multipart_threshold;
	op->part_bytes = store->part_bytes;
	if (op->length >= 0 && op->length <= (int64_t)store->hold_bytes)
		op->part_bytes = op->length > 0 ? (size_t)op->length : 1;
	op->replace = s3_store_replaces(store, op->key);
	op->op = S3_PUT_OPEN;
	put->impl = op;
	store_hold(base);
	s3_put_answer(op);
}

/* ---- Write ---- */

static struct s3_put *put_opened(struct store_put *put, enum s3_put_op op)
{
	struct s3_put *opened = put->impl;
	REQUIRE(opened != NULL && opened->op == S3_PUT_IDLE);
	opened->op = op;
	return opened;
}

void s3_put_write(struct store_put *base, struct slice bytes)
{
	struct s3_put *put = put_opened(base, S3_PUT_WRITE);
	int64_t after = put->taken + (int64_t)bytes.len;
	if (put->status != 0) {
		s3_put_answer(put);
		return;
	}
	if (put->length >= 0 && after > put->length) {
		struct error error;
		error_set(&error, ERR_CHECKSUM, "%s: more bytes than the %lld that were announced", put->key,
			  (long long)put->length);
		put_fail_answer(put, ERR_CHECKSUM, &error, -1);
		return;
	}
	put->bytes = bytes;
	put->taken = after;
	if (put->streaming)
		s3_stream_write(put);
	else
		s3_multipart_write(put);
}

/* ---- What the server holds after an upload ---- */

static void delete_done(struct s3_call *call, int status)
{
	/* If it could not be deleted: the caller is told that the bytes are wrong, and the next try replaces them. */
	(void)status;
	s3_put_answer(call->data);
}

/* Other bytes than ours became visible under our key. */
static void put_take_back(struct s3_put *put)
{
	put->call = (struct s3_call){
		.store = put->store, .method = HTTP_DELETE, .key = put->key, .done = delete_done, .data = put};
	s3_call_start(&put->call);
}

static void check_uploaded_done(struct s3_check *check, int status)
{
	struct s3_put *put = check->data;
	if (status == ERR_NOT_FOUND)
		status = error_set(&check->error, ERR_STORE, "%s: uploaded, and then it was not there", put->key);
	if (status != 0)
		s3_put_fail(put, status, &check->error, check->retry_after_ms);
	if (status == ERR_CHECKSUM)
		put_take_back(put);
	else
		s3_put_answer(put);
}

/* The answer to the upload was lost: the object may be there. If it is not, the upload's own failure is the news. */
static void check_cut_done(struct s3_check *check, int status)
{
	struct s3_put *put = check->data;
	if (status == 0) {
		put->status = 0;
		put->error = (struct error){0};
	}
	s3_put_answer(put);
}

static void put_whole(struct s3_put *put, bool conditional);

static void replace_existing(struct s3_put *put)
{
	struct error error;
	put->replace = true;
	if (!put->streaming && put->upload_id != NULL) {
		s3_multipart_complete(put);
	} else if (!put->streaming) {
		put_whole(put, false);
	} else {
		/* The bytes are gone: the next try replaces it. */
		s3_store_replace_next(put->store, put->key);
		error_set(&error, ERR_STORE, "%s: another object is there under this key; the next try replaces it", put->key);
		put_fail_answer(put, ERR_STORE, &error, -1);
	}
}

static void check_existing_done(struct s3_check *check, int status)
{
	struct s3_put *put = check->data;
	if (status == ERR_CHECKSUM || status == ERR_NOT_FOUND) {
		replace_existing(put);
		return;
	}
	if (status != 0)
		put_fail_answer(put, status, &check->error, check->retry_after_ms);
	else if (put->upload_id != NULL)
		s3_multipart_abandon(put); /* it is there: our parts are not needed */
	else
		s3_put_answer(put);
}

static void put_check(struct s3_put *put, s3_check_cb *done)
{
	put->check = (struct s3_check){
		.store = put->store, .key = put->key, .expected = put->expected, .done = done, .data = put};
	s3_check_start(&put->check);
}

void s3_put_uploaded(struct s3_put *put, struct s3_call *call, int status)
{
	if (status == 0) {
		if (s3_answer_match(&call->answer, &put->expected, put->store->etag_is_md5) == S3_MATCH_SAME)
			s3_put_answer(put);
		else
			put_check(put, check_uploaded_done);
		return;
	}
	if (call->answer.http_status == 412 && call->sent_conditional) {
		put_check(put, check_existing_done);
		return;
	}
	s3_put_fail(put, status, &call->error, call->answer.retry_after_ms);
	if (call->cut)
		put_check(put, check_cut_done);
	else
		s3_put_answer(put);
}

/* ---- Commit ---- */

static void whole_done(struct s3_call *call, int status)
{
	s3_put_uploaded(call->data, call, status);
}

static void put_whole(struct s3_put *put, bool conditional)
{
	char sha256[S3_SHA256_TEXT_SIZE];
	struct s3_part *part = &put->parts[0];
	hex_encode(put->expected.sha256, sizeof(put->expected.sha256), sha256);
	snprintf(put->sha256_line, sizeof(put->sha256_line), "x-amz-meta-sha256: %s", sha256);
	put->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_PUT,
		.key = put->key,
		.body = slice_make(part->bytes, part->len),
		.sha256 = put->expected.sha256,
		.md5 = put->expected.md5,
		.checksum = true,
		.conditional = conditional,
		.done = whole_done,
		.data = put,
	};
	s3_put_object_headers(put, &put->call);
	s3_call_start(&put->call);
}

/* What can be told before anything becomes visible. */
static int compare_before(struct s3_put *put, const struct store_digest *digest, struct error *error)
{
	if (digest->bytes != put->taken)
		return error_set(error, ERR_CHECKSUM, "%s: %lld bytes were written, %lld were received", put->key,
				 (long long)put->taken, (long long)digest->bytes);
	if (put->length >= 0 && put->length != put->taken)
		return error_set(error, ERR_CHECKSUM, "%s: %lld bytes were written, %lld were announced", put->key,
				 (long long)put->taken, (long long)put->length);
	if (put->sha256_known && memcmp(digest->sha256, put->expected.sha256, sizeof(digest->sha256)) != 0)
		return error_set(error, ERR_CHECKSUM, "%s: the bytes have another SHA-256 than was announced", put->key);
	return 0;
}

void s3_put_commit(struct store_put *base, const struct store_digest *digest)
{
	struct s3_put *put = put_opened(base, S3_PUT_COMMIT);
	struct error error = {0};
	int status = put->status != 0 ? put->status : compare_before(put, digest, &error);
	if (status != 0) {
		put_fail_answer(put, status, &error, -1);
		return;
	}
	put->expected.bytes = digest->bytes;
	memcpy(put->expected.md5, digest->md5, sizeof(digest->md5));
	memcpy(put->expected.sha256, digest->sha256, sizeof(digest->sha256));
	if (put->streaming && put->exists)
		put_check(put, check_existing_done);
	else if (put->streaming)
		s3_stream_commit(put);
	else if (put->part_number <= 1)
		put_whole(put, !put->replace);
	else
		s3_multipart_commit(put);
}

/* ---- Abort ---- */

void s3_put_abort(struct store_put *base)
{
	if (base->impl == NULL) {
		/* The opening was refused: there is nothing to undo. */
		base->error = (struct error){0};
		store_refuse_put(base->store, base);
		return;
	}
	struct s3_put *put = put_opened(base, S3_PUT_ABORT);
	if (put->status == 0)
		put->status = ERR_CANCELLED;
	if (put->streaming)
		s3_stream_abort(put);
	else
		s3_multipart_abort(put);
}
