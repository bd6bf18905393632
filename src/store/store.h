/* SPDX-License-Identifier: MIT */
/*
 * Where audio goes: a directory, or S3. An interface; every operation is asynchronous on the loop, `done` comes exactly
 * once per accepted operation, never inside the call, also on close.
 *
 * A put is open → write* → commit | abort. Nothing is visible under the key before commit answered 0; afterwards all of it
 * is, durable. Putting the same key twice is harmless: the later one replaces the earlier atomically.
 */
#ifndef REELD_STORE_STORE_H
#define REELD_STORE_STORE_H

#include "base/err.h"
#include "base/slice.h"
#include "base/metrics.h"
#include "base/soon.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct store;
struct store_put;
struct store_request;

/* Object metadata; NULL or "" when not known. Strings live until the put's first `done`. */
struct store_object {
	const char *key;          /* relative; made by reeld_storage_key */
	int64_t length;           /* bytes, or -1 when unknown */
	const char *content_type; /* audio/wav, audio/mpeg */
	const char *call_sid;
	const char *recording_sid;
	const char *account_sid;
	const char *duration;
	const char *channels;
	const char *source;
	const char *start_time;
	const char *sha256;
	/* Of an object that is a ciphertext: what it takes to decrypt it, besides the private key. All or none. */
	const char *encryption_type;
	const char *encryption_public_key_sid;
	const char *encryption_cek;
	const char *encryption_iv;
};

/* What the transfer knows about the bytes it wrote; the store compares it with what it holds. */
struct store_digest {
	int64_t bytes;
	uint8_t md5[16];
	uint8_t sha256[32];
};

typedef void store_put_cb(struct store_put *put, int status);
/* Embedded by the caller, zeroed. One operation at a time. */
struct store_put {
	void *data;
	struct error error;     /* of the last failed operation */
	int64_t retry_after_ms; /* and how long the store then asked to wait; -1: it did not */
	/* private */
	struct store *store;
	store_put_cb *done;
	void *impl;
	struct soon_item refusal; /* an answer without an operation */
};

/* Starts an upload. */
void store_put_open(struct store *store, struct store_put *put, const struct store_object *object, store_put_cb *done);
/* Writes bytes, which must stay as they are until `done`; `done` is the backpressure. 1 to 8 MiB of them. */
void store_put_write(struct store_put *put, struct slice bytes, store_put_cb *done);
/* Makes the object durable and visible after comparing it with `digest`: ERR_CHECKSUM (and nothing visible) when it differs. */
void store_put_commit(struct store_put *put, const struct store_digest *digest, store_put_cb *done);
/*
 * Gives up and removes what was written. `done` with 0 whatever happens. Also valid after a failed open, write or commit,
 * and needed then.
 */
void store_put_abort(struct store_put *put, store_put_cb *done);

enum store_op {
	/*
	 * The object under `key` has `bytes` bytes and this sha256 (where the store can tell, md5 otherwise): 0,
	 * ERR_NOT_FOUND, ERR_CHECKSUM.
	 */
	STORE_VERIFY,
	/* The same by what the store tells without reading the object: its length, and a digest where it keeps one. */
	STORE_LOOK,
	STORE_DELETE, /* 0 also when there was none */
	STORE_PROBE,  /* put, get and delete of a small probe object: is the store usable? */
	STORE_CLEAN,  /* remove leftovers of uploads cut by a crash (older than a day, or this host's) */
};
typedef void store_cb(struct store_request *request, int status);
struct store_request {
	enum store_op op;
	store_cb *done;
	void *data;
	const char *key;
	struct store_digest digest; /* VERIFY, LOOK; an MD5 of zeros is not known */
	struct error error;
	int64_t retry_after_ms; /* when it failed: how long the store asked to wait; -1: it did not */
	/* private */
	struct store *store;
	void *impl;
	struct soon_item refusal;
};
void store_submit(struct store *store, struct store_request *request);

/*
 * Reading an object in pieces, for who passes it on. Only where store_reads() says so (a directory): from S3 there are links, and no reason to carry
 * the bytes through this process.
 *
 * open → at* → close; close is needed after an open that answered 0, and only then. Embedded by the caller, zeroed. One operation at a time.
 */
struct store_read;
typedef void store_read_cb(struct store_read *read, int status);
struct store_read {
	void *data;
	struct error error; /* of the last failed operation */
	int64_t length;     /* of the object, once open */
	size_t len;         /* bytes that the last store_read_at gave */
	/* private */
	struct store *store;
	store_read_cb *done;
	uv_work_t work;
	const char *key;
	void *buffer;
	size_t size;
	int64_t offset;
	int step;
	int fd;
	int status;
};
bool store_reads(const struct store *store);
/* 0, ERR_NOT_FOUND (also for what is no plain file, and below symbolic links, which are not followed), or an error of reading. `key` lives until `done`. */
void store_read_open(struct store *store, struct store_read *read, const char *key, store_read_cb *done);
/* Up to `size` bytes from `offset` on into `buffer`, which is the store's until `done`; fewer only at the end. */
void store_read_at(struct store_read *read, int64_t offset, void *buffer, size_t size, store_read_cb *done);
void store_read_close(struct store_read *read, store_read_cb *done);

/* The recordingUrl of a key. 0, or ERR_LIMIT when it does not fit. Pure. */
int store_url(const struct store *store, const char *key, char *out, size_t size);
/* What a URL that was recorded for a key, perhaps under another configuration, says about its object and this store. */
enum store_url_tells {
	STORE_URL_OWN,     /* it is the object's own address here */
	STORE_URL_NAMED,   /* it is what store_url gives, which leads wherever S3_PUBLIC_URL leads */
	STORE_URL_OTHER,   /* another place, or this one spelled differently: only the store can tell */
	STORE_URL_FOREIGN, /* another kind of store */
};
enum store_url_tells store_url_judge(const struct store *store, const char *key, const char *url);
/* A link a browser can open for a while: a presigned URL, or the file:// URL. */
int store_link(const struct store *store, const char *key, int64_t valid_s, char *out, size_t size);
/*
 * True for keys that stay below their root: not empty, relative, no empty, "." or ".." component, none that begins with a
 * dot, no control characters. Pure.
 */
bool store_key_is_valid(const char *key);
const char *store_kind(const struct store *store); /* "directory" or "s3" */
bool store_up(const struct store *store);          /* the last operation did not fail for the store's own reasons */
/*
 * Nothing new begins (ERR_CANCELLED). What is in flight is finished and open puts and reads may go on; they must be committed,
 * aborted or closed, for `closed` comes, from the loop, after the last of them. The store is gone then.
 */
void store_close(struct store *store, void (*closed)(void *data), void *data);

struct store_ops {
	const char *kind;
	void (*put_open)(struct store *, struct store_put *, const struct store_object *);
	void (*put_write)(struct store_put *, struct slice);
	void (*put_commit)(struct store_put *, const struct store_digest *);
	void (*put_abort)(struct store_put *);
	void (*submit)(struct store *, struct store_request *);
	void (*read_open)(struct store *, struct store_read *); /* NULL: no reading, and the other two neither */
	void (*read_at)(struct store_read *);
	void (*read_close)(struct store_read *);
	int (*url)(const struct store *, const char *key, char *out, size_t size);
	int (*address)(const struct store *, const char *key, char *out, size_t size); /* NULL: as url */
	int (*link)(const struct store *, const char *key, int64_t valid_s, char *out, size_t size);
	bool (*up)(const struct store *);
	void (*free)(struct store *); /* the last call */
};
struct store {
	const struct store_ops *ops;
	/* store.c's */
	struct soon soon; /* for the store's own items too */
	size_t busy;
	bool closing;
	bool soon_closed;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- For those who make a store ---- */

void store_init(struct store *store, const struct store_ops *ops, uv_loop_t *loop);
/* A put, read or request has begun; it is over (after its last `done`). A store that closes is freed after the last of them, inside or after the release. */
void store_hold(struct store *store);
void store_release(struct store *store);
/* 0, or with words why an operation is not begun: ERR_CANCELLED when the store closes, ERR_INVALID for a key (NULL: none) that is not valid. */
int store_may_begin(const struct store *store, const char *key, struct error *error);
/* Answers with the error that is in the put or request, 0 or not, from the loop. Holds the store until then. */
void store_refuse_put(struct store *store, struct store_put *put);
void store_refuse_request(struct store *store, struct store_request *request);

/*
 * Recordings under `directory` (created, made absolute); 0 or an error with a message. Blocking; before the loop runs.
 *
 * A put writes to `directory`/.tmp/put-… and renames: file synced, then named, then the directories synced. Commit compares
 * lengths (what was written, the digest's and the file's own); STORE_VERIFY reads the file again and compares its SHA-256.
 * The encryption of an object goes into a file beside it, KEY.json, durable before the object is visible and deleted with it.
 * STORE_CLEAN may run beside other processes on the same directory: a temporary in use is locked by its writer (flock), and
 * what is not locked belongs to nobody. The process must ignore SIGXFSZ to be told of a file size limit.
 */
int store_directory_open(struct store **ret, uv_loop_t *loop, const char *directory, struct error *error);

#endif
