/* SPDX-License-Identifier: MIT */
/*
 * Moves one recording from Twilio to the store through a ring of chunks: the download fills a chunk, a pool thread hashes it, the store writes it, each while the
 * others are at work on other chunks. Both sides push back: no free chunk pauses the download; the store takes the next chunk when it is done with the last. The
 * upload opens only after the first bytes proved to be audio, and is committed only when length and digests are right; everything else ends in an abort, and nothing
 * is visible in the store.
 *
 *   start ▶ downloading ─first bytes are audio▶ open ▶ write* ───────last chunk written──────▶ commit ▶ done(0)
 *              │ any failure, or cancel                                                         │
 *              └──────────▶ cut the download, wait for hash and store ▶ abort ▶ done(the first failure)
 *
 * An encrypted recording whose private key is there is decrypted by the pool thread that hashes, chunk by chunk in place, and the commit comes only after the
 * authentication tag, the last 16 bytes, was found right. Lengths, digests and the proof that it is audio are those of the plaintext. Without its key it is moved as
 * it is, with the details that it takes to decrypt it as metadata.
 *
 * A transfer is used for one recording after another; its chunks come from the pool that all of them share, at most RING_CHUNKS at once. Loop thread only;
 * it has no handles of its own.
 */
#ifndef REELD_PIPELINE_TRANSFER_H
#define REELD_PIPELINE_TRANSFER_H

#include "adapters/rsa_key.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/soon.h"
#include "ledger/ledger.h"
#include "pipeline/chunk_pool.h"
#include "pipeline/hasher.h"
#include "pipeline/media.h"
#include "store/store.h"
#include "twilio/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct transfer_options {
	struct soon *soon;
	struct twilio_client *twilio;
	struct store *store;
	struct chunk_pool *chunks;
	struct hasher *hasher;
	struct metric *bytes_in;  /* may be NULL */
	struct metric *bytes_out; /* may be NULL */
};

enum transfer_side { TRANSFER_NEITHER, TRANSFER_SOURCE, TRANSFER_STORE };

struct transfer;
typedef void transfer_cb(struct transfer *transfer, void *data, int status);

/* What to move. Copied by start. */
struct transfer_job {
	const struct ledger_job *work;
	const char *key;
	enum media_format format;
	int channels; /* asked of Twilio; 0: as recorded. 2 falls back to 1 where Twilio has only one */
	const struct twilio_encryption *encryption; /* NULL: not encrypted */
	struct rsa_key *private_key;                /* decrypt with it; NULL: move the ciphertext */
};

/* How it went. */
struct transfer_result {
	enum transfer_side side;    /* whose failure it was */
	struct error error;         /* of the failure */
	int64_t retry_after_ms;     /* -1 */
	long http_status;           /* of Twilio's answer; 0: none came */
	bool account_refused;       /* Twilio's failure is about the account */
	bool store_answered;        /* the store did at least one operation */
	struct store_digest digest; /* of a success */
	int channels;               /* of a success: as stored; 0: unknown */
	bool ciphertext;            /* of a success: it was moved as Twilio encrypted it */
	bool may_be_encrypted;      /* of ERR_MEDIA_TYPE, where no encryption was told of */
};

/* The size of a chunk for transfers that may hold `buffer` bytes each. */
size_t transfer_chunk_size(size_t buffer);
/* 0, ERR_NOMEM, ERR_CONFIG (no SHA-256 in this OpenSSL). */
int transfer_new(struct transfer **ret, const struct transfer_options *options, struct error *error);
/* Accepts NULL; must not be running. */
void transfer_free(struct transfer **transfer);

/* `done` comes once, never inside start() or cancel(). The transfer may be started again or freed inside it. */
void transfer_start(struct transfer *transfer, const struct transfer_job *job, transfer_cb *done, void *data);
/* Cuts it short: `done` follows with ERR_CANCELLED once nothing is in flight, unless it had ended already. Safe twice. */
void transfer_cancel(struct transfer *transfer);
/* Valid from `done` to the next start. */
const struct transfer_result *transfer_result(const struct transfer *transfer);

#endif
