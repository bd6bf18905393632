/* SPDX-License-Identifier: MIT */
/*
 * Hashes chunks of many transfers on pool threads, as a group commit does for a disk: what became ready in one turn of the loop, and while the threads were
 * busy, goes to a thread together, because several MD5s side by side cost little more than one (adapters/md5.h). An encrypted chunk is decrypted in place first.
 *
 *   add ▶ waiting ─the coming turn, when a batch is free▶ a pool thread ▶ done
 *
 * Loop thread only; between add and done the chunk, its length, the digest and the decryption are the hasher's.
 */
#ifndef REELD_PIPELINE_HASHER_H
#define REELD_PIPELINE_HASHER_H

#include "adapters/crypto.h"
#include "base/err.h"
#include "base/soon.h"
#include "pipeline/decrypt.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* Under way at once, at most. libuv's pool has four threads, and one is left for files. */
#define HASHER_BATCHES 3

struct hasher_item;

struct hasher_batch {
	uv_work_t work;
	struct hasher *hasher;
	struct hasher_item *items[CRYPTO_DIGEST_LANES];
	size_t count; /* 0: free */
};

struct hasher {
	uv_loop_t *loop;
	struct soon *soon;
	struct soon_item turn;
	struct list waiting;
	struct hasher_batch batches[HASHER_BATCHES];
	size_t batches_max; /* no more than there are cores to run them */
};

/* Embedded by its owner. */
struct hasher_item {
	/* in */
	struct crypto_digest *digest;
	struct decrypt *decrypt; /* NULL: not encrypted */
	char *bytes;
	size_t *len; /* in and out: what the decryption kept for later is not part of it */
	void (*done)(struct hasher_item *item, int status);
	/* out */
	struct error error; /* of the decryption */
	/* the hasher's */
	struct list link;
	int status;
};

void hasher_init(struct hasher *hasher, uv_loop_t *loop, struct soon *soon);
/* Nothing may be waiting or under way. */
void hasher_close(struct hasher *hasher);

/* `done` comes from the loop, once, unless it is cancelled. One item of a digest at a time. */
void hasher_add(struct hasher *hasher, struct hasher_item *item);
/* True: it had not begun, and `done` does not come. */
bool hasher_cancel(struct hasher_item *item);

#endif
