/* SPDX-License-Identifier: MIT */
/* The S3 store itself: its configuration, what it learned about its server, its names. */
#include "store/s3_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MULTIPART_THRESHOLD ((int64_t)64 * 1024 * 1024)
#define PART_BYTES ((size_t)8 * 1024 * 1024)
#define PARTS_COUNT 8
#define HOLD_BYTES ((size_t)256 * 1024)
#define RETRY_MS 200
#define CLEAN_AGE_MS ((int64_t)24 * 3600 * 1000)
#define URL_BYTES_MAX 8192

/* ---- What was learned ---- */

static int make_address(struct s3_store *store, struct error *error)
{
	return s3_address_make(&store->address,
			       &(struct s3_address_options){
				       .endpoint = store->endpoint,
				       .region = store->region,
				       .bucket = store->bucket,
				       .addressing = store->addressing,
			       },
			       error);
}

void s3_store_set_region(struct s3_store *store, const char *region)
{
	snprintf(store->region, sizeof(store->region), "%s", region);
	store->region_version++;
	reeld_sigv4_key_free(&store->key);
	/* It was made before, with another region: what fails is that name, and it was looked at. */
	(void)make_address(store, NULL);
}

static uint64_t hash_key(const char *key)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
	for (; *key != '\0'; key++)
		hash = (hash ^ (uint8_t)*key) * UINT64_C(1099511628211);
	return hash;
}

bool s3_store_replaces(struct s3_store *store, const char *key)
{
	uint64_t hash = hash_key(key);
	for (size_t i = 0; i < S3_REPLACE_MAX; i++) {
		if (store->replace[i] == hash)
			return true;
	}
	return false;
}

void s3_store_replace_next(struct s3_store *store, const char *key)
{
	store->replace[store->replace_next++ % S3_REPLACE_MAX] = hash_key(key);
}

int s3_may_begin(const struct s3_store *store, const char *key, struct error *error)
{
	if (key != NULL && strlen(key) >= S3_KEY_SIZE)
		return error_set(error, ERR_INVALID, "object key \"%.100s\" is longer than S3 takes", key);
	return store_may_begin(&store->store, key, error);
}

void s3_store_note(struct s3_store *store, int status, const char *detail)
{
	switch (status) {
	case 0:
	case ERR_NOT_FOUND:
		if (store->refused)
			log_event(LOG_INFO, "store.accepted", LOG_STR("bucket", store->bucket));
		store->refused = false;
		store->up = true;
		break;
	case ERR_HTTP_FORBIDDEN:
	case ERR_HTTP_UNAUTHORIZED:
	case ERR_UNAVAILABLE:
	case ERR_CREDENTIALS:
		/* Everything waits until the operator mends it: say so, but not for every recording. */
		if (!store->refused)
			log_event(LOG_ERROR, "store.refused", LOG_STR("bucket", store->bucket),
				  LOG_STR("reason", err_name(status)), LOG_STR("detail", detail));
		store->refused = true;
		store->up = false;
		break;
	case ERR_RESOLVE:
	case ERR_CONNECT:
	case ERR_TLS:
	case ERR_TIMEOUT:
	case ERR_RESET:
	case ERR_PROTOCOL:
	case ERR_IO:
	case ERR_NO_SPACE:
	case ERR_HTTP_SERVER:
	case ERR_HTTP_THROTTLED:
		store->up = false;
		break;
	default: /* the object's, or ours */
		break;
	}
}

/* ---- Names ---- */

/* The end of building a URL: copied out when it fits. */
static int url_give(struct buffer *url, char *out, size_t size)
{
	const char *text = buffer_cstr(url);
	int status = text == NULL || url->failed || url->len >= size ? ERR_LIMIT : 0;
	if (status == 0)
		memcpy(out, text, url->len + 1);
	buffer_free(url);
	return status;
}

static int s3_address(const struct store *base, const char *key, char *out, size_t size)
{
	const struct s3_store *store = CONTAINER_OF(base, struct s3_store, store);
	struct buffer url;
	buffer_init(&url, URL_BYTES_MAX);
	(void)s3_address_url(&store->address, key, &url); /* url.failed remembers */
	return url_give(&url, out, size);
}

static int s3_url(const struct store *base, const char *key, char *out, size_t size)
{
	const struct s3_store *store = CONTAINER_OF(base, struct s3_store, store);
	struct buffer url;
	if (store->public_url == NULL)
		return s3_address(base, key, out, size);
	buffer_init(&url, URL_BYTES_MAX);
	(void)s3_address_public_url(store->public_url, key, &url);
	return url_give(&url, out, size);
}

static int presign(struct s3_store *store, const char *key, unsigned valid_s, struct reeld_sigv4_signed *signed_)
{
	const struct reeld_sigv4_pair host = {"host", strlen("host"), store->address.host, strlen(store->address.host)};
	struct buffer path;
	buffer_init(&path, URL_BYTES_MAX);
	int status = s3_address_path(&store->address, key, &path);
	const struct reeld_sigv4_request request = {
		.method = "GET",
		.path = path.data,
		.path_len = path.len,
		.headers = &host,
		.header_count = 1,
		.payload_hash = REELD_SIGV4_UNSIGNED_PAYLOAD,
		.now_ms = clock_wall_ms() + store->skew_ms,
	};
	if (status == 0) {
		enum reeld_sigv4_status made = reeld_sigv4_presign(store->key, &request, valid_s, store->scratch,
								   REELD_SIGV4_SCRATCH_SIZE, signed_);
		status = made == REELD_SIGV4_OK ? 0 : made == REELD_SIGV4_NO_ROOM ? ERR_LIMIT : ERR_INVALID;
	}
	buffer_free(&path);
	return status;
}

static int s3_link(const struct store *base, const char *key, int64_t valid_s, char *out, size_t size)
{
	/* What changes is a cache: the signing key and the scratch space. */
	struct s3_store *store = (struct s3_store *)CONTAINER_OF(base, struct s3_store, store);
	const struct aws_credentials_value *value = aws_credentials_now(store->credentials);
	struct reeld_sigv4_signed signed_;
	struct buffer url;
	if (value == NULL)
		return ERR_CREDENTIALS;
	if (valid_s < 1 || valid_s > REELD_SIGV4_EXPIRES_MAX)
		return ERR_INVALID;
	int status = s3_store_key(store, value);
	if (status == 0)
		status = presign(store, key, (unsigned)valid_s, &signed_);
	if (status != 0)
		return status;
	buffer_init(&url, URL_BYTES_MAX);
	(void)s3_address_origin(&store->address, &url);
	buffer_append_cstr(&url, signed_.target);
	return url_give(&url, out, size);
}

static bool s3_up(const struct store *base)
{
	return CONTAINER_OF(base, struct s3_store, store)->up;
}

static void store_free(struct s3_store *store)
{
	reeld_sigv4_key_free(&store->key);
	free(store->endpoint);
	free(store->bucket);
	free(store->prefix);
	free(store->public_url);
	free(store->storage_class_line);
	free(store->sse_line);
	free(store->sse_key_line);
	free(store->scratch);
	free(store);
}

static void s3_free(struct store *base)
{
	store_free(CONTAINER_OF(base, struct s3_store, store));
}

/* ---- Open ---- */

static const struct store_ops s3_ops = {
	.kind = "s3",
	.put_open = s3_put_open,
	.put_write = s3_put_write,
	.put_commit = s3_put_commit,
	.put_abort = s3_put_abort,
	.submit = s3_submit,
	.url = s3_url,
	.address = s3_address,
	.link = s3_link,
	.up = s3_up,
	.free = s3_free,
};

static bool is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

/* False when out of memory. NULL stays NULL. */
static bool copy(char **ret, const char *text)
{
	if (!is_set(text))
		return true;
	*ret = strdup(text);
	return *ret != NULL;
}

static bool copy_line(char **ret, const char *name, const char *value)
{
	if (asprintf(ret, "%s: %s", name, value) < 0)
		*ret = NULL;
	return *ret != NULL;
}

static bool is_header_text(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= 0x20 || *text > 0x7e)
			return false;
	}
	return true;
}

static int set_sse(struct s3_store *store, const char *sse, struct error *error)
{
	static const char kms[] = "aws:kms";
	const size_t kms_len = sizeof(kms) - 1;
	const char *key = NULL;
	if (!is_set(sse) || strcmp(sse, "none") == 0)
		return 0;
	bool is_kms = strncmp(sse, kms, kms_len) == 0 &&
		      (sse[kms_len] == '\0' || (sse[kms_len] == ':' && sse[kms_len + 1] != '\0'));
	if (!is_header_text(sse) || (!is_kms && strcmp(sse, "AES256") != 0))
		return error_set(error, ERR_CONFIG,
				 "S3_SSE: \"%.100s\" is none of none, AES256, aws:kms, aws:kms:KEY; example: S3_SSE=aws:kms",
				 sse);
	if (is_kms && sse[kms_len] == ':')
		key = sse + kms_len + 1;
	if (!copy_line(&store->sse_line, "x-amz-server-side-encryption", is_kms ? kms : sse) ||
	    (key != NULL && !copy_line(&store->sse_key_line, "x-amz-server-side-encryption-aws-kms-key-id", key)))
		return error_set(error, ERR_NOMEM, "out of memory");
	return 0;
}

static int set_strings(struct s3_store *store, const struct store_s3_options *options, struct error *error)
{
	const char *prefix = options->prefix != NULL ? options->prefix : "";
	const char *region = is_set(options->region) ? options->region : "us-east-1";
	if (!is_set(options->bucket))
		return error_set(error, ERR_CONFIG, "S3_BUCKET: no bucket is named; example: S3_BUCKET=my-recordings");
	if (is_set(options->storage_class) && !is_header_text(options->storage_class))
		return error_set(error, ERR_CONFIG,
				 "S3_STORAGE_CLASS: \"%.64s\" is not a name; example: S3_STORAGE_CLASS=STANDARD_IA",
				 options->storage_class);
	if (!s3_address_region_is_valid(region))
		return error_set(error, ERR_CONFIG,
				 "AWS_REGION: \"%.64s\" is not a region's name; example: AWS_REGION=eu-central-1", region);
	snprintf(store->region, sizeof(store->region), "%s", region);
	store->prefix = strdup(prefix);
	store->scratch = malloc(REELD_SIGV4_SCRATCH_SIZE);
	bool copied = store->prefix != NULL && store->scratch != NULL && copy(&store->endpoint, options->endpoint) &&
		      copy(&store->bucket, options->bucket) && copy(&store->public_url, options->public_url) &&
		      (!is_set(options->storage_class) ||
		       copy_line(&store->storage_class_line, "x-amz-storage-class", options->storage_class));
	if (!copied)
		return error_set(error, ERR_NOMEM, "out of memory");
	int status = set_sse(store, options->sse, error);
	return status != 0 ? status : make_address(store, error);
}

static void set_sizes(struct s3_store *store, const struct store_s3_options *options)
{
	store->hold_bytes = options->hold_bytes != 0 ? options->hold_bytes : HOLD_BYTES;
	store->part_bytes = options->part_bytes != 0 ? options->part_bytes : PART_BYTES;
	if (store->part_bytes < S3_PART_MIN)
		store->part_bytes = S3_PART_MIN;
	store->parts_max = options->parts_max != 0 ? options->parts_max : PARTS_COUNT;
	store->multipart_threshold = options->multipart_threshold != 0 ? options->multipart_threshold : MULTIPART_THRESHOLD;
	store->stall_timeout_ms = options->stall_timeout_ms;
	store->retry_ms = options->retry_ms != 0 ? options->retry_ms : RETRY_MS;
	store->clean_age_ms = options->clean_age_ms != 0 ? options->clean_age_ms : CLEAN_AGE_MS;
}

int store_s3_open(struct store **ret, uv_loop_t *loop, const struct store_s3_options *options, struct error *error)
{
	struct s3_store *store = calloc(1, sizeof(*store));
	if (store == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	store->addressing = options->addressing;
	set_sizes(store, options);
	int status = set_strings(store, options, error);
	if (status != 0) {
		store_free(store);
		return status;
	}
	store_init(&store->store, &s3_ops, loop);
	store->loop = loop;
	store->http = options->http;
	store->credentials = options->credentials;
	store->conditional = true;
	store->checksums = !options->no_checksums;
	store->etag_is_md5 = true;
	store->up = true;
	list_init(&store->part_waiters);
	*ret = &store->store;
	return 0;
}
