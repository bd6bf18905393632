/* SPDX-License-Identifier: MIT */
/*
 * The operations that are not uploads. CLEAN looks for uploads in parts that a crash left, and for objects of a probe that was cut. Other
 * processes share the bucket: only what has the form of our keys and is older than a day is nobody's work any more.
 */
#include "store/s3_internal.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No key of a recording has a component that begins with a dot (store_key_is_valid). */
#define PROBE_NAME ".reeld-probe-"
#define PROBE_TEXT "written by reeld to see whether it can\n"
#define PAGE "100"
#define FOUND_BYTES_MAX ((size_t)256 * 1024) /* a page of keys and upload ids */

struct s3_request {
	struct s3_store *store;
	struct store_request *request;
	char *key; /* of the object */
	struct s3_call call;
	struct s3_check check;
	int status; /* the first failure */

	/* PROBE */
	uint8_t md5[16];
	uint8_t sha256[32];

	/* CLEAN */
	bool objects; /* the probes' turn, after the uploads' */
	char *prefix;
	struct buffer found; /* pairs of strings: key, upload id */
	size_t found_at;     /* the next of them */
	struct s3_xml_page page;
	int64_t older_than_ms;
	unsigned removed;
};

static void request_free(struct s3_request *op)
{
	buffer_free(&op->found);
	free(op->prefix);
	free(op->key);
	free(op);
}

static void request_finish(struct s3_request *op, int status)
{
	struct s3_store *store = op->store;
	struct store_request *request = op->request;
	request->impl = NULL;
	request_free(op);
	request->done(request, status); /* may free it */
	store_release(&store->store);
}

static int keep_failure(struct s3_request *op, int status, const struct error *error, int64_t retry_after_ms)
{
	if (op->status == 0 && status != 0) {
		op->status = status;
		op->request->error = *error;
		op->request->retry_after_ms = retry_after_ms;
	}
	return op->status;
}

static void call_begin(struct s3_request *op, struct s3_call call, void (*done)(struct s3_call *call, int status))
{
	op->call = call;
	op->call.store = op->store;
	op->call.done = done;
	op->call.data = op;
	s3_call_start(&op->call);
}

/* ---- Verify, delete ---- */

static void verify_done(struct s3_check *check, int status)
{
	struct s3_request *op = check->data;
	request_finish(op, keep_failure(op, status, &check->error, check->retry_after_ms));
}

static void verify(struct s3_request *op)
{
	const struct store_digest *digest = &op->request->digest;
	op->check = (struct s3_check){.store = op->store,
				      .key = op->key,
				      .expected = {.bytes = digest->bytes},
				      .look = op->request->op == STORE_LOOK,
				      .done = verify_done,
				      .data = op};
	memcpy(op->check.expected.md5, digest->md5, sizeof(digest->md5));
	memcpy(op->check.expected.sha256, digest->sha256, sizeof(digest->sha256));
	s3_check_start(&op->check);
}

static void delete_done(struct s3_call *call, int status)
{
	struct s3_request *op = call->data;
	if (status == ERR_NOT_FOUND)
		status = 0;
	request_finish(op, keep_failure(op, status, &call->error, call->answer.retry_after_ms));
}

static void delete_object(struct s3_request *op)
{
	call_begin(op, (struct s3_call){.method = HTTP_DELETE, .key = op->key}, delete_done);
}

/* ---- Probe ---- */

static void probe_got(struct s3_call *call, int status)
{
	struct s3_request *op = call->data;
	if (status == 0 && !slice_equal(call->collected, SLICE(PROBE_TEXT)))
		status = error_set(&call->error, ERR_STORE, "%s/%s was read back with other bytes", op->store->bucket, op->key);
	keep_failure(op, status, &call->error, call->answer.retry_after_ms);
	delete_object(op);
}

static void probe_put(struct s3_call *call, int status)
{
	struct s3_request *op = call->data;
	if (keep_failure(op, status, &call->error, call->answer.retry_after_ms) != 0)
		request_finish(op, op->status);
	else
		call_begin(op, (struct s3_call){.method = HTTP_GET, .key = op->key}, probe_got);
}

static int hash_probe(struct s3_request *op)
{
	struct crypto_digest *digest;
	struct crypto_digest_result sums;
	int status = crypto_digest_new(&digest, &op->request->error);
	if (status != 0)
		return status;
	status = crypto_digest_update(digest, PROBE_TEXT, strlen(PROBE_TEXT));
	if (status == 0)
		status = crypto_digest_final(digest, &sums);
	crypto_digest_free(&digest);
	if (status != 0)
		return error_set(&op->request->error, status, "hashing failed");
	memcpy(op->md5, sums.md5, sizeof(op->md5));
	memcpy(op->sha256, sums.sha256, sizeof(op->sha256));
	return 0;
}

/* With the headers that objects will have, so that what the server refuses, or does not know, is found out before it matters. */
static void probe(struct s3_request *op)
{
	const struct s3_store *store = op->store;
	struct s3_call call = {
		.method = HTTP_PUT,
		.key = op->key,
		.body = SLICE(PROBE_TEXT),
		.md5 = op->md5,
		.sha256 = op->sha256,
		.checksum = true,
		.conditional = true,
		.headers = {"Content-Type: text/plain"},
	};
	const char *const more[] = {store->sse_line, store->sse_key_line, store->storage_class_line};
	size_t count = 1;
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
		if (more[i] != NULL)
			call.headers[count++] = more[i];
	}
	call_begin(op, call, probe_put);
}

/* ---- Clean ---- */

static void clean_list(struct s3_request *op);

/* PREFIX…/RE and 32 digits, .wav or .mp3: as reeld_storage_key makes them. */
static bool is_recording_key(const char *key)
{
	const char *name = strrchr(key, '/');
	if (name == NULL || strncmp(name, "/RE", 3) != 0 || strspn(name + 3, "0123456789abcdefABCDEF") != 32)
		return false;
	return strcmp(name + 35, ".wav") == 0 || strcmp(name + 35, ".mp3") == 0;
}

static bool on_entry(void *data, const struct s3_xml_entry *entry)
{
	struct s3_request *op = data;
	struct buffer *found = &op->found;
	bool ours = strncmp(entry->key, op->prefix, strlen(op->prefix)) == 0 && (op->objects || is_recording_key(entry->key));
	if (!ours || entry->time_ms < 0 || entry->time_ms >= op->older_than_ms)
		return true;
	size_t before = found->len;
	buffer_append(found, entry->key, strlen(entry->key) + 1);
	buffer_append(found, entry->upload_id, strlen(entry->upload_id) + 1);
	if (!found->failed)
		return true;
	found->len = before; /* next time */
	found->failed = false;
	return false;
}

static void clean_end(struct s3_request *op)
{
	if (op->removed > 0)
		log_event(LOG_INFO, "store.cleaned", LOG_U64("removed", op->removed));
	request_finish(op, op->status);
}

static void clean_next(struct s3_request *op);

static void clean_removed(struct s3_call *call, int status)
{
	struct s3_request *op = call->data;
	bool gone = status == ERR_NOT_FOUND || strcmp(call->answer.error.code, "NoSuchUpload") == 0;
	op->removed += status == 0;
	if (!gone)
		keep_failure(op, status, &call->error, call->answer.retry_after_ms);
	clean_next(op);
}

/* The next one found, the next page, the probes; or the end. */
static void clean_next(struct s3_request *op)
{
	if (op->status != 0 || op->store->store.closing) {
		clean_end(op);
	} else if (op->found_at < op->found.len) {
		const char *key = op->found.data + op->found_at;
		const char *upload_id = key + strlen(key) + 1;
		op->found_at += strlen(key) + 1 + strlen(upload_id) + 1;
		struct s3_call call = {.method = HTTP_DELETE, .key = key};
		if (!op->objects) {
			call.query[0][0] = "uploadId";
			call.query[0][1] = upload_id;
		}
		call_begin(op, call, clean_removed);
	} else if (op->page.truncated) {
		clean_list(op);
	} else if (!op->objects) {
		op->objects = true;
		free(op->prefix);
		if (asprintf(&op->prefix, "%s" PROBE_NAME, op->store->prefix) < 0) {
			op->prefix = NULL;
			op->status = error_set(&op->request->error, ERR_NOMEM, "out of memory");
			clean_end(op);
			return;
		}
		clean_list(op);
	} else {
		clean_end(op);
	}
}

static void clean_listed(struct s3_call *call, int status)
{
	struct s3_request *op = call->data;
	int64_t now_ms = call->answer.date_ms >= 0 ? call->answer.date_ms : clock_wall_ms() + op->store->skew_ms;
	op->older_than_ms = now_ms - op->store->clean_age_ms;
	buffer_clear(&op->found);
	if (keep_failure(op, status, &call->error, call->answer.retry_after_ms) == 0) {
		status = op->objects ? s3_xml_read_objects(call->collected, on_entry, op, &op->page)
				     : s3_xml_read_uploads(call->collected, on_entry, op, &op->page);
		if (status != 0)
			op->status = error_set(&op->request->error, ERR_PROTOCOL, "%s: the listing cannot be read",
					       op->store->bucket);
	}
	op->found_at = 0;
	clean_next(op);
}

static void clean_list(struct s3_request *op)
{
	struct s3_call call = {.method = HTTP_GET};
	const char *const uploads[][2] = {{"uploads", ""},
					  {"prefix", op->prefix},
					  {"max-uploads", PAGE},
					  {op->page.truncated ? "key-marker" : NULL, op->page.next_key},
					  {"upload-id-marker", op->page.next_upload_id}};
	const char *const objects[][2] = {{"list-type", "2"},
					  {"prefix", op->prefix},
					  {"max-keys", PAGE},
					  {op->page.truncated ? "continuation-token" : NULL, op->page.next_key}};
	_Static_assert(sizeof(uploads) <= sizeof(call.query) && sizeof(objects) <= sizeof(call.query), "the query fits");
	memcpy(call.query, op->objects ? objects : uploads, op->objects ? sizeof(objects) : sizeof(uploads));
	call_begin(op, call, clean_listed);
}

/* ---- Submit ---- */

/* NULL, and the reason in request->error, when it is not begun. */
static struct s3_request *request_new(struct s3_store *store, struct store_request *request)
{
	bool keyed = request->op != STORE_PROBE && request->op != STORE_CLEAN;
	uint64_t random;
	if (s3_may_begin(store, keyed ? request->key : NULL, &request->error) != 0)
		return NULL;
	struct s3_request *op = calloc(1, sizeof(*op));
	if (op == NULL) {
		error_set(&request->error, ERR_NOMEM, "out of memory");
		return NULL;
	}
	op->store = store;
	op->request = request;
	buffer_init(&op->found, FOUND_BYTES_MAX);
	random_bytes(&random, sizeof(random));
	if (keyed)
		op->key = strdup(request->key);
	else if (asprintf(&op->key, "%s" PROBE_NAME "%016llx", store->prefix, (unsigned long long)random) < 0)
		op->key = NULL;
	op->prefix = strdup(store->prefix);
	if (op->key == NULL || op->prefix == NULL) {
		request_free(op);
		error_set(&request->error, ERR_NOMEM, "out of memory");
		return NULL;
	}
	return op;
}

void s3_submit(struct store *base, struct store_request *request)
{
	struct s3_store *store = CONTAINER_OF(base, struct s3_store, store);
	struct s3_request *op = request_new(store, request);
	if (op != NULL && request->op == STORE_PROBE && hash_probe(op) != 0) {
		request_free(op);
		op = NULL;
	}
	if (op == NULL) {
		store_refuse_request(base, request);
		return;
	}
	store_hold(base);
	request->impl = op;
	switch (request->op) {
	case STORE_VERIFY:
	case STORE_LOOK:
		verify(op);
		break;
	case STORE_DELETE:
		delete_object(op);
		break;
	case STORE_CLEAN:
		clean_list(op);
		break;
	case STORE_PROBE:
		probe(op);
		break;
	}
}
