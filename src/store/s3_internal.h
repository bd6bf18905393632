/* SPDX-License-Identifier: MIT */
/*
 * Private to the S3 store.
 *
 *   store_s3.c      the store: open, close, names, timers; hands operations out
 *   s3_call.c       one signed request and its retries
 *   s3_check.c      does the server hold these bytes? HEAD, and where that proves nothing, GET and hash
 *   s3_put.c        one upload: what all three ways have in common, and the smallest of them
 *   s3_stream.c     one PUT that streams
 *   s3_multipart.c  parts
 *   s3_request.c    VERIFY, LOOK, DELETE, PROBE, CLEAN
 *   s3_answer.c, s3_xml.c, s3_address.c  pure
 *
 * Whatever is started here ends by a callback from the loop, never inside the starting call.
 */
#ifndef REELD_STORE_S3_INTERNAL_H
#define REELD_STORE_S3_INTERNAL_H

#include "adapters/http_client.h"
#include "base/list.h"
#include "store/aws_credentials.h"
#include "store/s3_address.h"
#include "store/s3_answer.h"
#include "store/store_s3.h"

#include <reeld/sigv4.h>

/* Keys whose object turned out to be another one than ours: the next put replaces it. */
#define S3_REPLACE_MAX 64

struct s3_store {
	struct store store;
	uv_loop_t *loop;
	struct http_client *http;
	struct aws_credentials *credentials;

	/* how it was configured */
	char *endpoint; /* or NULL */
	char *bucket;
	char *prefix;
	char *public_url;         /* or NULL */
	char *storage_class_line; /* "x-amz-storage-class: …", or NULL */
	char *sse_line;
	char *sse_key_line;
	enum s3_addressing addressing;
	size_t hold_bytes;
	size_t part_bytes;
	int64_t multipart_threshold;
	size_t parts_max; /* part buffers of all uploads together */
	uint32_t retry_ms;
	uint32_t stall_timeout_ms; /* 0: the client's */
	int64_t clean_age_ms;

	/* what was learned */
	char region[S3_REGION_SIZE];
	unsigned region_version;
	struct s3_address address;
	int64_t skew_ms;  /* the server's clock minus ours */
	bool proven;      /* the last answer of a signed request was no refusal of the signature, region or time */
	bool conditional; /* If-None-Match is understood, as far as we know */
	bool checksums;   /* so are x-amz-checksum-* */
	bool etag_is_md5; /* ETags were, up to now */
	bool refused;     /* that the bucket or the access is wrong was logged */
	bool up;
	uint64_t replace[S3_REPLACE_MAX]; /* hashes of keys */
	size_t replace_next;

	struct reeld_sigv4_key *key;
	uint64_t key_generation;
	char *scratch; /* REELD_SIGV4_SCRATCH_SIZE bytes for one signature */

	size_t parts; /* buffers in use */
	struct list part_waiters;
};

/* ---- store_s3.c ---- */

/* As store_may_begin; a key has at most S3_KEY_SIZE - 1 bytes. */
int s3_may_begin(const struct s3_store *store, const char *key, struct error *error);
/* What an operation's end says about the store. `detail` is for the log, once until it works again. */
void s3_store_note(struct s3_store *store, int status, const char *detail);
/* A new region; the address follows. */
void s3_store_set_region(struct s3_store *store, const char *region);
bool s3_store_replaces(struct s3_store *store, const char *key);
void s3_store_replace_next(struct s3_store *store, const char *key);

/* ---- s3_call.c ---- */

/* store->key for these credentials and the store's region. 0, or ERR_NOMEM. */
int s3_store_key(struct s3_store *store, const struct aws_credentials_value *value);

#define S3_CALL_HEADERS 22
#define S3_CALL_QUERY 6

struct s3_call {
	/* in; everything it points to must live until done */
	struct s3_store *store;
	enum http_method method;
	const char *key;                      /* NULL: the bucket */
	const char *query[S3_CALL_QUERY][2];  /* name, value; a NULL name ends */
	const char *headers[S3_CALL_HEADERS]; /* "name: value"; NULL ends; all are signed */
	struct slice body;                    /* a fixed one, with its SHA-256 and MD5, which the server will check */
	const uint8_t *sha256;                /* of the body; NULL: computed when there is a fixed one, else not signed */
	const uint8_t *md5;                   /* NULL: no Content-MD5 */
	bool checksum;                        /* send x-amz-checksum-sha256 where it is understood */
	bool checksum_algorithm;              /* announce the parts' */
	bool conditional;                     /* only when there is no such object, where that is understood */
	size_t (*on_send)(struct s3_call *call, char *out, size_t cap); /* a streamed body of send_length bytes */
	bool (*on_rewind)(struct s3_call *call);
	int64_t send_length;
	size_t (*on_receive)(struct s3_call *call, const char *bytes, size_t len); /* of a success; else collected */
	unsigned tries;                                                            /* 0: S3_TRIES */
	uint32_t stall_timeout_ms;                                                 /* 0: the store's */
	void (*done)(struct s3_call *call, int status);
	void *data;

	/* out, valid in done; the call may be used again then */
	struct s3_answer answer;
	struct slice collected;
	struct error error;
	bool cut; /* no answer came, and the server may have done what was asked */
	bool sent_conditional;
	bool sent_checksum;
	bool sent_algorithm;

	/* private */
	struct http_client_request http;
	struct aws_credentials_request credentials;
	struct soon_item later;
	char refusal[2048]; /* the beginning of an error's body, where the body is not collected */
	size_t refusal_len;
	uint64_t generation; /* of the credentials it was signed with */
	unsigned region_version;
	bool without_conditional;
	bool without_checksum;
	unsigned tried;
	unsigned learned; /* 1 << action */
	int status;       /* of a failure without a request */
	bool running;
	bool waiting; /* for credentials */
	bool in_flight;
	bool cancelled;
};

void s3_call_start(struct s3_call *call);
/* `done` follows with ERR_CANCELLED, unless it was on its way. Without effect when nothing runs. */
void s3_call_cancel(struct s3_call *call);
/* For on_send and on_receive that paused. */
void s3_call_resume_send(struct s3_call *call);
void s3_call_resume_receive(struct s3_call *call);

/* ---- s3_check.c ---- */

struct s3_check;
typedef void s3_check_cb(struct s3_check *check, int status);

/* 0: these bytes are there. ERR_NOT_FOUND, ERR_CHECKSUM: something else is there. Other: not known. */
struct s3_check {
	struct s3_store *store;
	const char *key;
	struct s3_expected expected;
	bool look; /* what only reading could tell is taken as right */
	s3_check_cb *done;
	void *data;
	struct error error;
	int64_t retry_after_ms;
	/* private */
	struct s3_call call;
	struct s3_reader *reader;
	bool etag_differs; /* there was an ETag like an MD5, and it was not ours */
};

void s3_check_start(struct s3_check *check);

/* ---- s3_put.c ---- */

#define S3_PARTS_PER_PUT 2
#define S3_META_HEADERS 14
#define S3_META_VALUE_MAX 256
#define S3_LINE_SIZE 320

enum s3_part_state { S3_PART_FREE, S3_PART_FILLING, S3_PART_FULL, S3_PART_HASHING, S3_PART_HASHED, S3_PART_SENDING };

struct s3_put;

struct s3_part {
	struct s3_put *put;
	enum s3_part_state state;
	char *bytes;
	size_t len;
	unsigned number; /* from 1 */
	char number_text[12];
	uint8_t md5[16];
	uint8_t sha256[32];
	uv_work_t work;
	int work_status;
	struct s3_call call;
};

struct s3_sent_part {
	char etag[S3_ETAG_SIZE];
	uint8_t sha256[32];
	bool has_checksum; /* with the server */
};

enum s3_put_op { S3_PUT_IDLE, S3_PUT_OPEN, S3_PUT_WRITE, S3_PUT_COMMIT, S3_PUT_ABORT };

struct s3_put {
	struct s3_store *store;
	struct store_put *put;
	struct soon_item answer;
	enum s3_put_op op;
	bool streaming; /* else in parts, or whole when it fits into one */
	char *key;
	char lines[S3_META_HEADERS][S3_LINE_SIZE]; /* of the object: type and metadata */
	size_t line_count;
	char sha256_line[S3_LINE_SIZE]; /* its SHA-256 as metadata, "" until it is known */
	int64_t length;                 /* -1: unknown */
	int64_t taken;                  /* bytes accepted from the caller */
	struct slice bytes;             /* of the write in flight: what is left of them */
	struct s3_expected expected;    /* from commit on */
	bool sha256_known;              /* before the upload: expected.sha256 must be the digest's */
	bool replace;                   /* what is there */
	int status;                     /* the first failure; nothing goes on then but abort */
	struct error error;
	int64_t retry_after_ms;

	struct s3_call call; /* PUT; or create, complete and abort of an upload in parts */
	bool calling;
	struct s3_check check;

	/* streaming */
	bool exists;   /* 412: something is there, commit will look at it */
	bool released; /* the last byte may go */
	bool has_last;
	char last;
	int64_t sent;       /* of the body, in this try */
	struct slice first; /* the first write, while it lasts: until then the body can begin again */

	/* parts */
	size_t part_bytes;
	struct list waiter; /* in store->part_waiters */
	struct s3_part parts[S3_PARTS_PER_PUT];
	struct s3_part *filling;
	unsigned part_number; /* of the last one begun */
	char *upload_id;      /* NULL before it was created */
	bool checksums;       /* were announced */
	bool hashing;
	struct s3_sent_part *sent_parts; /* by number - 1 */
	size_t sent_parts_size;
	struct crypto_digest *of_part;
	struct crypto_digest *whole;
	struct crypto_digest *of_md5s; /* the parts' */
	struct crypto_digest *of_sha256s;
	struct buffer complete_body;
};

void s3_put_open(struct store *store, struct store_put *put, const struct store_object *object);
void s3_put_write(struct store_put *put, struct slice bytes);
void s3_put_commit(struct store_put *put, const struct store_digest *digest);
void s3_put_abort(struct store_put *put);
/* The operation in flight is over: `done` comes, from the loop. With a failure in put->status that is the answer. */
void s3_put_answer(struct s3_put *put);
/* Keeps the first failure. */
void s3_put_fail(struct s3_put *put, int status, const struct error *error, int64_t retry_after_ms);
/* The object's headers into call->headers. */
void s3_put_object_headers(const struct s3_put *put, struct s3_call *call);
/* The request that makes the object visible has ended: what the server then holds decides. Answers the commit. */
void s3_put_uploaded(struct s3_put *put, struct s3_call *call, int status);

/* ---- s3_stream.c ---- */

void s3_stream_write(struct s3_put *put);
void s3_stream_commit(struct s3_put *put);
void s3_stream_abort(struct s3_put *put);

/* ---- s3_multipart.c ---- */

void s3_multipart_write(struct s3_put *put);
void s3_multipart_commit(struct s3_put *put);
void s3_multipart_abort(struct s3_put *put);
/* Starts whatever can be started. */
void s3_multipart_pump(struct s3_put *put);
/* Makes an object of the parts, all of which were sent. Once more when the condition failed. */
void s3_multipart_complete(struct s3_put *put);
/* Removes the parts, then answers the operation. */
void s3_multipart_abandon(struct s3_put *put);
void s3_multipart_free(struct s3_put *put);

/* ---- s3_request.c ---- */

void s3_submit(struct store *store, struct store_request *request);

#endif
