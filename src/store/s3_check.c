/* SPDX-License-Identifier: MIT */
/*
 * HEAD first: mostly a digest in its headers settles it. Else the object is read and hashed, through one buffer: curl fills it while
 * the pool is not hashing it.
 */
#include "store/s3_internal.h"

#include "adapters/crypto.h"
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#define READ_BYTES ((size_t)256 * 1024)

struct s3_reader {
	struct s3_check *check;
	struct crypto_digest *digest;
	uv_work_t work;
	int work_status;
	bool hashing;
	bool paused;
	bool ended; /* the call is done, with `status` */
	int status;
	int64_t bytes;
	size_t len;
	char buffer[READ_BYTES];
};

static void check_finish(struct s3_check *check, int status)
{
	struct s3_reader *reader = check->reader;
	check->reader = NULL;
	if (reader != NULL) {
		crypto_digest_free(&reader->digest);
		free(reader);
	}
	check->done(check, status); /* may free the check */
}

static int say_different(struct s3_check *check, const char *how)
{
	return error_set(&check->error, ERR_CHECKSUM, "%s/%s: %s", check->store->bucket, check->key, how);
}

/* ---- Reading ---- */

static void reader_ended(struct s3_reader *reader)
{
	struct s3_check *check = reader->check;
	const struct s3_expected *expected = &check->expected;
	struct crypto_digest_result sums;
	int status = reader->status;
	if (status == 0 && crypto_digest_final(reader->digest, &sums) != 0)
		status = error_set(&check->error, ERR_IO, "hashing failed");
	if (status == 0 &&
	    ((int64_t)sums.bytes != expected->bytes || memcmp(sums.sha256, expected->sha256, sizeof(sums.sha256)) != 0))
		status = say_different(check, "the stored bytes have another length or SHA-256");
	/* Bytes right, ETag wrong: on this server it is something else. */
	if (status == 0 && check->etag_differs)
		check->store->etag_is_md5 = false;
	check_finish(check, status);
}

static void hash_work(uv_work_t *work)
{
	struct s3_reader *reader = work->data;
	reader->work_status = crypto_digest_update(reader->digest, reader->buffer, reader->len);
}

static void hash_done(uv_work_t *work, int status);

static void reader_hash(struct s3_reader *reader)
{
	reader->work.data = reader;
	reader->hashing = true;
	int status = uv_queue_work(reader->check->store->loop, &reader->work, hash_work, hash_done);
	REQUIRE(status == 0);
}

static void hash_done(uv_work_t *work, int status)
{
	struct s3_reader *reader = work->data;
	(void)status; /* never cancelled */
	reader->hashing = false;
	reader->len = 0;
	if (reader->work_status != 0 && reader->status == 0)
		reader->status = error_set(&reader->check->error, ERR_IO, "hashing failed");
	if (reader->ended) {
		reader_ended(reader);
	} else if (reader->paused) {
		reader->paused = false;
		s3_call_resume_receive(&reader->check->call);
	}
}

static size_t on_receive(struct s3_call *call, const char *bytes, size_t len)
{
	struct s3_check *check = call->data;
	struct s3_reader *reader = check->reader;
	if (reader->hashing) {
		reader->paused = true;
		return HTTP_CLIENT_PAUSE;
	}
	/* curl's pieces are at most 512 KiB, ours 64 KiB; still: never past the buffer. */
	if (reader->len + len > READ_BYTES) {
		if (reader->len == 0)
			return HTTP_CLIENT_ABORT;
		reader->paused = true;
		reader_hash(reader);
		return HTTP_CLIENT_PAUSE;
	}
	memcpy(reader->buffer + reader->len, bytes, len);
	reader->len += len;
	reader->bytes += (int64_t)len;
	if (reader->bytes > check->expected.bytes)
		return HTTP_CLIENT_ABORT;
	return len;
}

static void read_done(struct s3_call *call, int status)
{
	struct s3_check *check = call->data;
	struct s3_reader *reader = check->reader;
	reader->ended = true;
	reader->status = status;
	if (reader->bytes > check->expected.bytes)
		reader->status = say_different(check, "the stored object is longer");
	else if (status != 0)
		check->error = call->error;
	check->retry_after_ms = call->answer.retry_after_ms;
	if (reader->hashing)
		return;
	if (reader->status == 0 && reader->len > 0)
		reader_hash(reader);
	else
		reader_ended(reader);
}

static void check_read(struct s3_check *check)
{
	struct s3_reader *reader = calloc(1, sizeof(*reader));
	int status = reader == NULL ? ERR_NOMEM : crypto_digest_new_sha256(&reader->digest, &check->error);
	check->reader = reader;
	if (status != 0) {
		error_set(&check->error, status, "no memory to read an object");
		check_finish(check, status);
		return;
	}
	reader->check = check;
	check->call = (struct s3_call){
		.store = check->store,
		.method = HTTP_GET,
		.key = check->key,
		.on_receive = on_receive,
		.tries = 1, /* what was hashed cannot be taken back */
		.done = read_done,
		.data = check,
	};
	s3_call_start(&check->call);
}

/* ---- Looking ---- */

static void head_done(struct s3_call *call, int status)
{
	struct s3_check *check = call->data;
	const struct s3_store *store = check->store;
	if (status != 0) {
		check->error = call->error;
		check->retry_after_ms = call->answer.retry_after_ms;
		check_finish(check, status);
		return;
	}
	switch (s3_answer_match(&call->answer, &check->expected, store->etag_is_md5)) {
	case S3_MATCH_SAME:
		check_finish(check, 0);
		return;
	case S3_MATCH_DIFFERENT:
		check_finish(check, say_different(check, "the stored object has another length or checksum"));
		return;
	case S3_MATCH_UNKNOWN:
		break;
	}
	if (check->look) {
		check_finish(check, 0);
		return;
	}
	check->etag_differs = s3_answer_etag_differs(&call->answer, &check->expected);
	check_read(check);
}

void s3_check_start(struct s3_check *check)
{
	check->error = (struct error){0};
	check->retry_after_ms = -1;
	check->reader = NULL;
	check->etag_differs = false;
	check->call = (struct s3_call){
		.store = check->store,
		.method = HTTP_HEAD,
		.key = check->key,
		.headers = {"x-amz-checksum-mode: ENABLED"},
		.done = head_done,
		.data = check,
	};
	s3_call_start(&check->call);
}
