/* SPDX-License-Identifier: MIT */
/*
 * An upload in parts. The bytes are copied into a part's buffer; when it is full and more bytes come, it is hashed on the pool and sent
 * with its MD5 and SHA-256 while the other buffer fills. Everything that happens only changes a state and runs the pump, which starts what
 * can be started:
 *
 *   FREE → FILLING → FULL → HASHING → HASHED → SENDING → FREE
 *
 * Parts are hashed one after the other, in order, for the checksums of the whole are made beside theirs: the SHA-256 over all bytes, which
 * must be the caller's before the upload is completed, and the checksums of checksums that the server then answers.
 *
 * What fits into the first buffer is no upload in parts: s3_put.c sends it whole.
 */
#include "store/s3_internal.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS_MAX 10000 /* S3's own limit */
#define COMPLETE_STALL_MS 120000

/* ---- Buffers ---- */

/* The bound on small puts is their number. */
static bool is_small(const struct s3_put *put)
{
	return put->length >= 0 && put->length <= (int64_t)put->store->hold_bytes;
}

static void wake_waiters(struct s3_store *store)
{
	while (store->parts < store->parts_max && !list_empty(&store->part_waiters)) {
		struct list *link = list_take(&store->part_waiters);
		s3_multipart_pump(LIST_ENTRY(link, struct s3_put, waiter));
	}
}

static void part_give_back(struct s3_part *part)
{
	struct s3_put *put = part->put;
	free(part->bytes);
	part->bytes = NULL;
	if (is_small(put))
		return;
	put->store->parts--;
}

/*
 * The first buffer is worth waiting for, the second only makes it faster: so nobody who holds one waits for another, and those who hold
 * one always come to their end.
 */
static bool part_take_buffer(struct s3_put *put, struct s3_part *part)
{
	struct s3_store *store = put->store;
	bool first = part == &put->parts[0];
	if (!is_small(put) && (store->parts >= store->parts_max || (!first && !list_empty(&store->part_waiters)))) {
		if (first && list_empty(&put->waiter))
			list_append(&store->part_waiters, &put->waiter);
		return false;
	}
	part->bytes = malloc(put->part_bytes);
	if (part->bytes == NULL) {
		s3_put_fail(put, ERR_NOMEM, NULL, -1);
		return false;
	}
	part->put = put;
	if (!is_small(put))
		store->parts++;
	return true;
}

/* A free part to be filled; NULL: not now, or never. */
static struct s3_part *next_part(struct s3_put *put)
{
	if (put->part_number == PARTS_MAX) {
		struct error error;
		error_set(&error, ERR_TOO_LARGE, "%s: more than %d parts of %zu bytes", put->key, PARTS_MAX, put->part_bytes);
		s3_put_fail(put, ERR_TOO_LARGE, &error, -1);
		return NULL;
	}
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		struct s3_part *part = &put->parts[i];
		if (part->state != S3_PART_FREE)
			continue;
		if (part->bytes == NULL && !part_take_buffer(put, part))
			return NULL;
		part->state = S3_PART_FILLING;
		part->len = 0;
		part->number = ++put->part_number;
		put->filling = part;
		return part;
	}
	return NULL;
}

static void fill(struct s3_put *put)
{
	while (put->bytes.len > 0) {
		struct s3_part *part = put->filling;
		if (part != NULL && part->len == put->part_bytes) {
			part->state = S3_PART_FULL;
			put->filling = NULL;
			continue;
		}
		if (part == NULL && (part = next_part(put)) == NULL)
			return;
		size_t room = put->part_bytes - part->len;
		size_t len = put->bytes.len < room ? put->bytes.len : room;
		memcpy(part->bytes + part->len, put->bytes.ptr, len);
		part->len += len;
		put->bytes = slice_make(put->bytes.ptr + len, put->bytes.len - len);
	}
}

/* ---- Hashing ---- */

static int make_digests(struct s3_put *put, struct error *error)
{
	int status = crypto_digest_new(&put->of_part, error);
	if (status == 0)
		status = crypto_digest_new_sha256(&put->whole, error);
	if (status == 0)
		status = crypto_digest_new(&put->of_md5s, error);
	if (status == 0)
		status = crypto_digest_new_sha256(&put->of_sha256s, error);
	return status;
}

static void hash_work(uv_work_t *work)
{
	struct s3_part *part = work->data;
	struct s3_put *put = part->put;
	struct crypto_digest_result sums;
	int status = crypto_digest_reset(put->of_part);
	if (status == 0)
		status = crypto_digest_update(put->of_part, part->bytes, part->len);
	if (status == 0)
		status = crypto_digest_final(put->of_part, &sums);
	if (status == 0)
		status = crypto_digest_update(put->whole, part->bytes, part->len);
	if (status == 0)
		status = crypto_digest_update(put->of_md5s, sums.md5, sizeof(sums.md5));
	if (status == 0)
		status = crypto_digest_update(put->of_sha256s, sums.sha256, sizeof(sums.sha256));
	if (status == 0) {
		memcpy(part->md5, sums.md5, sizeof(part->md5));
		memcpy(part->sha256, sums.sha256, sizeof(part->sha256));
	}
	part->work_status = status;
}

static void hash_done(uv_work_t *work, int status)
{
	struct s3_part *part = work->data;
	struct s3_put *put = part->put;
	(void)status; /* never cancelled */
	put->hashing = false;
	part->state = S3_PART_HASHED;
	if (part->work_status != 0)
		s3_put_fail(put, part->work_status, NULL, -1);
	s3_multipart_pump(put);
}

static void start_hashing(struct s3_put *put)
{
	struct s3_part *part = NULL;
	struct error error = {0};
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		if (put->parts[i].state == S3_PART_FULL && (part == NULL || put->parts[i].number < part->number))
			part = &put->parts[i];
	}
	if (part == NULL || put->hashing)
		return;
	int status = put->of_part != NULL ? 0 : make_digests(put, &error);
	if (status != 0) {
		s3_put_fail(put, status, &error, -1);
		return;
	}
	part->state = S3_PART_HASHING;
	part->work.data = part;
	put->hashing = true;
	int queued = uv_queue_work(put->store->loop, &part->work, hash_work, hash_done);
	REQUIRE(queued == 0);
}

/* ---- Creating ---- */

static void create_done(struct s3_call *call, int status)
{
	struct s3_put *put = call->data;
	struct s3_xml_error refusal;
	struct error error = call->error;
	put->calling = false;
	if (status == 0) {
		put->upload_id = calloc(1, S3_UPLOAD_ID_SIZE);
		status = put->upload_id == NULL ? ERR_NOMEM : s3_xml_read_initiate(call->collected, put->upload_id, &refusal);
		if (status != 0) {
			status = status == ERR_NOMEM ? status : ERR_PROTOCOL;
			error_set(&error, status, "%s: no upload id in the answer to its creation", put->key);
			free(put->upload_id);
			put->upload_id = NULL;
		}
		put->checksums = call->sent_algorithm;
	}
	if (status != 0)
		s3_put_fail(put, status, &error, call->answer.retry_after_ms);
	s3_multipart_pump(put);
}

static void create(struct s3_put *put)
{
	put->calling = true;
	put->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_POST,
		.key = put->key,
		.query = {{"uploads", ""}},
		.checksum_algorithm = true,
		.done = create_done,
		.data = put,
	};
	s3_put_object_headers(put, &put->call);
	s3_call_start(&put->call);
}

/* ---- Sending ---- */

static bool sent_parts_reach(struct s3_put *put, unsigned number)
{
	size_t size = put->sent_parts_size != 0 ? put->sent_parts_size : 16;
	while (size < number)
		size *= 2;
	if (size == put->sent_parts_size)
		return true;
	struct s3_sent_part *parts = realloc(put->sent_parts, size * sizeof(*parts));
	if (parts == NULL)
		return false;
	put->sent_parts = parts;
	put->sent_parts_size = size;
	return true;
}

static void part_sent(struct s3_call *call, int status)
{
	struct s3_part *part = call->data;
	struct s3_put *put = part->put;
	struct error error = call->error;
	const char *etag = call->answer.etag;
	char checksum[BASE64_LEN(32) + 1];
	base64_encode(part->sha256, sizeof(part->sha256), checksum);
	if (status == 0 && (etag[0] == '\0' || strpbrk(etag, "<>&") != NULL))
		status = error_set(&error, ERR_PROTOCOL, "%s: part %u was answered without an ETag", put->key, part->number);
	bool has_checksum = call->answer.checksum_sha256[0] != '\0';
	if (status == 0 && has_checksum && strcmp(call->answer.checksum_sha256, checksum) != 0)
		status = error_set(&error, ERR_CHECKSUM, "%s: part %u arrived with another SHA-256", put->key, part->number);
	if (status == 0 && !sent_parts_reach(put, part->number))
		status = error_set(&error, ERR_NOMEM, "%s: no memory for %u parts", put->key, part->number);
	if (status == 0) {
		struct s3_sent_part *sent = &put->sent_parts[part->number - 1];
		snprintf(sent->etag, sizeof(sent->etag), "%s", etag);
		memcpy(sent->sha256, part->sha256, sizeof(sent->sha256));
		/* Who does not answer it has not understood it, and may refuse to hear of it again. */
		sent->has_checksum = has_checksum;
	} else {
		s3_put_fail(put, status, &error, call->answer.retry_after_ms);
	}
	part->state = S3_PART_FREE;
	/* Others wait for their first. */
	if (part != &put->parts[0] && !list_empty(&put->store->part_waiters)) {
		part_give_back(part);
		wake_waiters(put->store);
	}
	s3_multipart_pump(put);
}

static void send_part(struct s3_part *part)
{
	struct s3_put *put = part->put;
	part->state = S3_PART_SENDING;
	snprintf(part->number_text, sizeof(part->number_text), "%u", part->number);
	part->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_PUT,
		.key = put->key,
		.query = {{"partNumber", part->number_text}, {"uploadId", put->upload_id}},
		.body = slice_make(part->bytes, part->len),
		.sha256 = part->sha256,
		.md5 = part->md5,
		.checksum = put->checksums,
		.done = part_sent,
		.data = part,
	};
	s3_call_start(&part->call);
}

static void start_sending(struct s3_put *put)
{
	bool waiting = false;
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		struct s3_part *part = &put->parts[i];
		if (part->state != S3_PART_HASHED)
			continue;
		if (put->upload_id != NULL)
			send_part(part);
		else
			waiting = true;
	}
	if (waiting && !put->calling)
		create(put);
}

/* ---- Completing ---- */

/* False: the bytes are not the caller's, or it cannot be told. */
static bool whole_is_expected(struct s3_put *put)
{
	struct crypto_digest_result whole, of_md5s, of_sha256s;
	struct s3_expected *expected = &put->expected;
	struct error error;
	char text[BASE64_LEN(32) + 1];
	if (crypto_digest_final(put->whole, &whole) != 0 || crypto_digest_final(put->of_md5s, &of_md5s) != 0 ||
	    crypto_digest_final(put->of_sha256s, &of_sha256s) != 0) {
		s3_put_fail(put, ERR_IO, NULL, -1);
		return false;
	}
	if (memcmp(whole.sha256, expected->sha256, sizeof(whole.sha256)) != 0) {
		error_set(&error, ERR_CHECKSUM, "%s: the bytes written have another SHA-256 than those received", put->key);
		s3_put_fail(put, ERR_CHECKSUM, &error, -1);
		return false;
	}
	hex_encode(of_md5s.md5, sizeof(of_md5s.md5), text);
	snprintf(expected->composite_etag, sizeof(expected->composite_etag), "%s-%u", text, put->part_number);
	base64_encode(of_sha256s.sha256, sizeof(of_sha256s.sha256), text);
	snprintf(expected->composite_sha256, sizeof(expected->composite_sha256), "%s-%u", text, put->part_number);
	return true;
}

static bool make_complete_body(struct s3_put *put)
{
	struct buffer *body = &put->complete_body;
	char sha256[BASE64_LEN(32) + 1];
	buffer_append_cstr(body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (unsigned i = 0; i < put->part_number; i++) {
		buffer_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>\"%s\"</ETag>", i + 1, put->sent_parts[i].etag);
		base64_encode(put->sent_parts[i].sha256, sizeof(put->sent_parts[i].sha256), sha256);
		if (put->sent_parts[i].has_checksum)
			buffer_printf(body, "<ChecksumSHA256>%s</ChecksumSHA256>", sha256);
		buffer_append_cstr(body, "</Part>");
	}
	buffer_append_cstr(body, "</CompleteMultipartUpload>");
	if (body->failed)
		s3_put_fail(put, ERR_NOMEM, NULL, -1);
	return !body->failed;
}

static void complete_done(struct s3_call *call, int status)
{
	struct s3_put *put = call->data;
	struct s3_xml_complete result;
	struct s3_xml_error refusal;
	put->calling = false;
	if (status == 0 && s3_xml_read_complete(call->collected, &result, &refusal) == 0) {
		snprintf(call->answer.etag, sizeof(call->answer.etag), "%s", result.etag);
		snprintf(call->answer.checksum_sha256, sizeof(call->answer.checksum_sha256), "%s", result.checksum_sha256);
	}
	/* An earlier try, whose answer was lost, may have completed it: then there is no such upload any more. */
	if (status != 0 && strcmp(call->answer.error.code, "NoSuchUpload") == 0)
		call->cut = true;
	s3_put_uploaded(put, call, status);
}

void s3_multipart_complete(struct s3_put *put)
{
	put->calling = true;
	put->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_POST,
		.key = put->key,
		.query = {{"uploadId", put->upload_id}},
		.headers = {"Content-Type: application/xml"},
		.body = buffer_slice(&put->complete_body),
		.conditional = !put->replace,
		.stall_timeout_ms = COMPLETE_STALL_MS, /* the server may copy everything before it answers */
		.done = complete_done,
		.data = put,
	};
	s3_call_start(&put->call);
}

/* ---- The pump ---- */

static bool is_quiet(const struct s3_put *put)
{
	if (put->calling || put->hashing)
		return false;
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		if (put->parts[i].state == S3_PART_SENDING)
			return false;
	}
	return true;
}

static bool all_sent(const struct s3_put *put)
{
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		if (put->parts[i].state != S3_PART_FREE)
			return false;
	}
	return is_quiet(put);
}

static void removed_done(struct s3_call *call, int status)
{
	struct s3_put *put = call->data;
	(void)status; /* what is left is found by STORE_CLEAN */
	put->calling = false;
	s3_put_answer(put);
}

void s3_multipart_abandon(struct s3_put *put)
{
	put->calling = true;
	put->call = (struct s3_call){
		.store = put->store,
		.method = HTTP_DELETE,
		.key = put->key,
		.query = {{"uploadId", put->upload_id}},
		.done = removed_done,
		.data = put,
	};
	s3_call_start(&put->call);
}

static void pump_failed(struct s3_put *put)
{
	if (put->op == S3_PUT_WRITE || put->op == S3_PUT_COMMIT) {
		s3_put_answer(put);
		return;
	}
	if (put->op != S3_PUT_ABORT || !is_quiet(put))
		return;
	if (put->upload_id != NULL)
		s3_multipart_abandon(put);
	else
		s3_put_answer(put);
}

void s3_multipart_pump(struct s3_put *put)
{
	if (put->status == 0)
		fill(put);
	if (put->status == 0)
		start_hashing(put);
	if (put->status == 0)
		start_sending(put);
	if (put->status != 0) {
		pump_failed(put);
		return;
	}
	if (put->op == S3_PUT_WRITE && put->bytes.len == 0) {
		s3_put_answer(put);
	} else if (put->op == S3_PUT_COMMIT && all_sent(put)) {
		if (whole_is_expected(put) && make_complete_body(put))
			s3_multipart_complete(put);
		else
			pump_failed(put);
	}
}

void s3_multipart_write(struct s3_put *put)
{
	s3_multipart_pump(put);
}

void s3_multipart_commit(struct s3_put *put)
{
	if (put->filling != NULL) {
		put->filling->state = S3_PART_FULL;
		put->filling = NULL;
	}
	s3_multipart_pump(put);
}

void s3_multipart_abort(struct s3_put *put)
{
	list_remove(&put->waiter);
	if (put->calling)
		s3_call_cancel(&put->call);
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		if (put->parts[i].state == S3_PART_SENDING)
			s3_call_cancel(&put->parts[i].call);
	}
	pump_failed(put);
}

void s3_multipart_free(struct s3_put *put)
{
	struct s3_store *store = put->store;
	list_remove(&put->waiter);
	for (size_t i = 0; i < S3_PARTS_PER_PUT; i++) {
		if (put->parts[i].bytes != NULL)
			part_give_back(&put->parts[i]);
	}
	crypto_digest_free(&put->of_part);
	crypto_digest_free(&put->whole);
	crypto_digest_free(&put->of_md5s);
	crypto_digest_free(&put->of_sha256s);
	buffer_free(&put->complete_body);
	free(put->upload_id);
	free(put->sent_parts);
	wake_waiters(store);
}
