/* SPDX-License-Identifier: MIT */
/*
 * One PUT whose body is written while the caller has it. Content-Length is the announced length, so the object appears when the last byte
 * has come, and not before: that byte waits here for commit. Without it, or cut anywhere, the server has a request that never ended.
 *
 * The body is not hashed first (UNSIGNED-PAYLOAD); its MD5 is compared with the ETag in the answer.
 *
 * Until the first write is answered its bytes are still there, so the request can begin again: a dead kept connection, a wrong region, a
 * wrong clock. Later a failure is the put's.
 */
#include "store/s3_internal.h"

#include "base/check.h"

#include <string.h>

static void write_taken(struct s3_put *put)
{
	if (put->op != S3_PUT_WRITE)
		return;
	put->first = slice_make(NULL, 0);
	s3_put_answer(put);
}

/* Everything of the write in flight is on its way, but for the body's last byte. */
static bool all_but_last(const struct s3_put *put)
{
	return put->sent + (int64_t)put->bytes.len == put->length && put->bytes.len == 1;
}

static void keep_last(struct s3_put *put)
{
	put->last = put->bytes.ptr[0];
	put->has_last = true;
	put->bytes.len = 0;
}

static size_t send_last(struct s3_put *put, char *out)
{
	if (!put->has_last)
		return 0;
	if (!put->released)
		return HTTP_CLIENT_PAUSE;
	out[0] = put->last;
	put->has_last = false;
	put->sent++;
	return 1;
}

static size_t on_send(struct s3_call *call, char *out, size_t cap)
{
	struct s3_put *put = call->data;
	if (put->bytes.len == 0)
		return put->sent + put->has_last == put->length ? send_last(put, out) : HTTP_CLIENT_PAUSE;
	size_t len = put->bytes.len < cap ? put->bytes.len : cap;
	if (put->sent + (int64_t)len == put->length)
		len--;
	memcpy(out, put->bytes.ptr, len);
	put->sent += (int64_t)len;
	put->bytes = slice_make(put->bytes.ptr + len, put->bytes.len - len);
	if (all_but_last(put))
		keep_last(put);
	if (put->bytes.len == 0)
		write_taken(put);
	return len > 0 ? len : HTTP_CLIENT_PAUSE;
}

static bool on_rewind(struct s3_call *call)
{
	struct s3_put *put = call->data;
	if (put->sent == 0)
		return true;
	if (put->first.len == 0 || put->op != S3_PUT_WRITE)
		return false;
	put->bytes = put->first;
	put->sent = 0;
	put->has_last = false;
	return true;
}

static void stream_done(struct s3_call *call, int status)
{
	struct s3_put *put = call->data;
	put->calling = false;
	if (put->op == S3_PUT_ABORT) {
		s3_put_answer(put);
		return;
	}
	if (put->op == S3_PUT_COMMIT) {
		s3_put_uploaded(put, call, status);
		return;
	}
	if (call->answer.http_status == 412 && call->sent_conditional) {
		put->exists = true;
	} else {
		struct error error = call->error;
		if (status == 0)
			status = error_set(&error, ERR_PROTOCOL, "%s: the server was content before it had everything", put->key);
		s3_put_fail(put, status, &error, call->answer.retry_after_ms);
	}
	write_taken(put);
}

static void stream_begin(struct s3_put *put)
{
	put->calling = true;
	put->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_PUT,
		.key = put->key,
		.on_send = on_send,
		.on_rewind = on_rewind,
		.send_length = put->length,
		.sha256 = put->sha256_known ? put->expected.sha256 : NULL,
		.checksum = put->sha256_known,
		.conditional = !put->replace,
		.done = stream_done,
		.data = put,
	};
	s3_put_object_headers(put, &put->call);
	s3_call_start(&put->call);
}

void s3_stream_write(struct s3_put *put)
{
	/* Something is there under this key: commit will see whether it is ours. Nothing to write: nothing to wait for. */
	if (put->exists || put->bytes.len == 0) {
		s3_put_answer(put);
		return;
	}
	if (!put->calling) {
		put->first = put->bytes;
		stream_begin(put);
		return;
	}
	if (all_but_last(put)) {
		keep_last(put);
		s3_put_answer(put);
		return;
	}
	s3_call_resume_send(&put->call);
}

void s3_stream_commit(struct s3_put *put)
{
	/* Longer than what is held, so a write has begun it, and it has not ended without a note of it. */
	REQUIRE(put->calling);
	put->released = true;
	s3_call_resume_send(&put->call);
}

void s3_stream_abort(struct s3_put *put)
{
	if (put->calling)
		s3_call_cancel(&put->call);
	else
		s3_put_answer(put);
}
