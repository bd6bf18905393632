/* SPDX-License-Identifier: MIT */
/*
 * Everything that happens (bytes came, hashed, written, the download ended) only changes a flag or a count and asks for the pump
 * to run soon; the pump alone starts operations. So no library is called from inside its own callback, and what may start when is
 * decided in one place.
 *
 * A chunk is decrypted in place, where that is to be done, then hashed, then written. Written while it is hashed, it would be in memory twice with a store that copies
 * (S3's small puts), and a ring of four hides the wait.
 */
#include "pipeline/transfer.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/clock.h"
#include "pipeline/decrypt.h"
#include "pipeline/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_CHUNK_SIZE 1024
#define MAX_CHUNK_SIZE ((size_t)8 * 1024 * 1024) /* the most that store_put_write takes */

struct transfer {
	struct transfer_options options;
	struct soon_item pump;
	transfer_cb *done;
	void *data;
	struct crypto_digest *hash;
	struct decrypt *decrypt; /* made for the first recording that needs it */

	/* what is moved */
	enum media_format format;
	struct sid account_sid;
	struct sid call_sid;
	struct sid recording_sid;
	char key[LEDGER_KEY_SIZE];
	char source[32];
	char duration[24];
	char channels_text[12];
	char start_time[CLOCK_ISO8601_SIZE];
	int asked_channels;
	int told_channels; /* by the webhook */
	struct media_info media;
	struct twilio_encryption encryption;
	bool encrypted;
	bool decrypting;
	bool authentic; /* the tag was right */

	struct ring ring;
	size_t refused_taken; /* of the block that was refused with PAUSE, these were taken: they come again */
	int64_t received;

	/* where it stands */
	bool running;
	bool downloading;
	bool cancel_sent;
	bool restart; /* the download, with other channels */
	bool paused;
	bool proved;     /* the first bytes are audio */
	bool downloaded; /* to the last byte, length checked */
	bool opened;     /* an upload was begun and neither committed nor aborted */
	bool storing;    /* one operation of the store is in flight */
	bool committed;
	bool hashing;

	int status; /* the first failure */
	struct transfer_result result;
	struct store_digest digest;
	struct twilio_request request;
	struct store_put put;
	struct hasher_item hash_item;
};

static void transfer_pump_soon(struct transfer *transfer)
{
	soon_add(transfer->options.soon, &transfer->pump);
}

/* Keeps the first failure; what follows from it is not news. */
static void transfer_fail(struct transfer *transfer, enum transfer_side side, int code, const struct error *error)
{
	REQUIRE(code < 0);
	if (transfer->status != 0)
		return;
	transfer->status = code;
	transfer->result.side = side;
	if (error != NULL && error->code != 0)
		transfer->result.error = *error;
	else
		error_set(&transfer->result.error, code, "%s", err_text(code));
	transfer->result.error.code = code;
}

/* Takes as much as there is room for. */
static size_t transfer_take(struct transfer *transfer, const char *bytes, size_t len)
{
	size_t taken;
	if (!ring_fill(&transfer->ring, slice_make(bytes, len), &taken))
		transfer_fail(transfer, TRANSFER_NEITHER, ERR_NOMEM, NULL);
	transfer->received += (int64_t)taken;
	if (transfer->options.bytes_in != NULL)
		transfer->options.bytes_in->value += (double)taken;
	return taken;
}

/* ---- download ---- */

/* The first bytes, which are in chunk 0, are audio, or not. */
static void transfer_judge(struct transfer *transfer, size_t available)
{
	size_t len = available < MEDIA_PROBE_SIZE ? available : MEDIA_PROBE_SIZE;
	struct slice first = slice_make(ring_chunk(&transfer->ring, 0), len);
	const char *content_type = transfer->request.http.content_type;
	struct error error = {0};
	int rc = transfer->encrypted && !transfer->decrypting
			 ? media_probe_ciphertext(content_type, first, &transfer->media, &error)
			 : media_probe(transfer->format, content_type, first, &transfer->media, &error);
	transfer->result.may_be_encrypted = rc == ERR_MEDIA_TYPE && !transfer->encrypted &&
					    media_may_be_encrypted(content_type, first);
	if (rc != 0)
		transfer_fail(transfer, TRANSFER_SOURCE, rc, &error);
	else
		transfer->proved = true;
}

/* Looks at the first bytes once there are enough of them, or no more will come. Those that are still to be decrypted come later: hash_done. */
static void transfer_prove(struct transfer *transfer, bool ended)
{
	if (transfer->proved || transfer->decrypting || (transfer->received < MEDIA_PROBE_SIZE && !ended))
		return;
	transfer_judge(transfer, transfer->received < MEDIA_PROBE_SIZE ? (size_t)transfer->received : MEDIA_PROBE_SIZE);
}

static size_t download_receive(struct twilio_request *request, const char *bytes, size_t len)
{
	struct transfer *transfer = request->data;
	if (transfer->status != 0)
		return HTTP_CLIENT_ABORT;
	if (transfer->refused_taken >= len) {
		transfer->refused_taken -= len;
		return len;
	}
	size_t skip = transfer->refused_taken;
	size_t taken = skip + transfer_take(transfer, bytes + skip, len - skip);
	transfer_prove(transfer, false);
	transfer_pump_soon(transfer);
	if (transfer->status != 0)
		return HTTP_CLIENT_ABORT;
	if (taken < len) {
		transfer->refused_taken = taken;
		transfer->paused = true;
		return HTTP_CLIENT_PAUSE;
	}
	transfer->refused_taken = 0;
	return len;
}

static void download_end(struct transfer *transfer)
{
	transfer_prove(transfer, true);
	if (transfer->status != 0)
		return;
	struct error error = {0};
	/* What the WAV header of an encrypted one announces is looked at when all of it was decrypted. */
	int rc = media_check_length(&transfer->media, transfer->request.http.content_length, transfer->received, &error);
	if (rc == 0 && transfer->encrypted && transfer->received < MEDIA_CIPHERTEXT_MIN)
		rc = error_set(&error, ERR_MEDIA_LENGTH, "%lld bytes are no encrypted recording", (long long)transfer->received);
	if (rc != 0) {
		transfer_fail(transfer, TRANSFER_SOURCE, rc, &error);
		return;
	}
	if (transfer->ring.fill > 0)
		ring_close_chunk(&transfer->ring);
	transfer->downloaded = true;
}

static void download_done(struct twilio_request *request, int status)
{
	struct transfer *transfer = request->data;
	REQUIRE(transfer->downloading);
	transfer->downloading = false;
	transfer->paused = false;
	transfer->result.http_status = request->http.http_status;
	if (transfer->status == 0 && status == 0) {
		download_end(transfer);
	} else if (transfer->status == 0 && transfer->asked_channels == 2 && status == ERR_MEDIA_CHANNELS) {
		/* "Recordings with one channel answer 400; retry with RequestedChannels=1": Twilio's error 16113. */
		transfer->asked_channels = 1;
		transfer->restart = true;
	} else if (transfer->status == 0) {
		transfer->result.retry_after_ms = request->http.retry_after_ms;
		transfer->result.account_refused = request->account_refused;
		transfer_fail(transfer, TRANSFER_SOURCE, status, &request->error);
	}
	transfer_pump_soon(transfer);
}

static void download_start(struct transfer *transfer)
{
	struct twilio_request *request = &transfer->request;
	twilio_request_release(request);
	*request = (struct twilio_request){
		.op = TWILIO_MEDIA,
		.account_sid = transfer->account_sid,
		.recording_sid = transfer->recording_sid,
		.mp3 = transfer->format == MEDIA_MP3,
		.channels = transfer->asked_channels,
		.on_receive = download_receive,
		.done = download_done,
		.data = transfer,
	};
	transfer->restart = false;
	transfer->cancel_sent = false;
	int rc = twilio_start(transfer->options.twilio, request);
	if (rc == 0) {
		transfer->downloading = true;
		return;
	}
	transfer_fail(transfer, TRANSFER_SOURCE, rc, &request->error);
	transfer_pump_soon(transfer);
}

/* ---- store ---- */

/* The books of every answer of the store. False when the operation failed. */
static bool store_answered(struct transfer *transfer, int status)
{
	REQUIRE(transfer->storing);
	transfer->storing = false;
	transfer_pump_soon(transfer);
	if (status != 0) {
		if (transfer->status == 0)
			transfer->result.retry_after_ms = transfer->put.retry_after_ms;
		transfer_fail(transfer, TRANSFER_STORE, status, &transfer->put.error);
		return false;
	}
	transfer->result.store_answered = true;
	return true;
}

static void put_opened(struct store_put *put, int status)
{
	store_answered(put->data, status);
}

static void put_written(struct store_put *put, int status)
{
	struct transfer *transfer = put->data;
	if (!store_answered(transfer, status))
		return;
	if (transfer->options.bytes_out != NULL)
		transfer->options.bytes_out->value += (double)*ring_len(&transfer->ring, transfer->ring.written);
	ring_written(&transfer->ring);
}

static void put_committed(struct store_put *put, int status)
{
	struct transfer *transfer = put->data;
	if (!store_answered(transfer, status))
		return;
	transfer->opened = false;
	transfer->committed = true;
}

static void put_aborted(struct store_put *put, int status)
{
	struct transfer *transfer = put->data;
	REQUIRE(transfer->storing && transfer->status != 0);
	(void)status; /* whatever is left is swept up by STORE_CLEAN */
	transfer->storing = false;
	transfer->opened = false;
	transfer_pump_soon(transfer);
}

static int stored_channels(const struct transfer *transfer)
{
	if (transfer->media.channels > 0)
		return transfer->media.channels;
	return transfer->asked_channels > 0 ? transfer->asked_channels : transfer->told_channels;
}

static void transfer_open(struct transfer *transfer)
{
	int channels = stored_channels(transfer);
	transfer->result.channels = channels;
	if (channels > 0)
		snprintf(transfer->channels_text, sizeof(transfer->channels_text), "%d", channels);
	int64_t length = transfer->request.http.content_length;
	bool ciphertext = transfer->encrypted && !transfer->decrypting;
	transfer->result.ciphertext = ciphertext;
	struct store_object object = {
		.key = transfer->key,
		.length = transfer->decrypting && length >= 0 ? length - TWILIO_ENCRYPTION_TAG_SIZE : length,
		.content_type = ciphertext ? MEDIA_TYPE_CIPHERTEXT : media_type_of(transfer->format),
		.encryption_type = ciphertext ? TWILIO_ENCRYPTION_TYPE : NULL,
		.encryption_public_key_sid = ciphertext ? transfer->encryption.public_key_sid.text : NULL,
		.encryption_cek = ciphertext ? transfer->encryption.encrypted_cek : NULL,
		.encryption_iv = ciphertext ? transfer->encryption.iv_text : NULL,
		.call_sid = transfer->call_sid.text,
		.recording_sid = transfer->recording_sid.text,
		.account_sid = transfer->account_sid.text,
		.duration = transfer->duration,
		.channels = transfer->channels_text,
		.source = transfer->source,
		.start_time = transfer->start_time,
	};
	transfer->put = (struct store_put){.data = transfer};
	transfer->opened = true;
	transfer->storing = true;
	store_put_open(transfer->options.store, &transfer->put, &object, put_opened);
}

static void transfer_write(struct transfer *transfer)
{
	/* The last chunk of an encrypted recording may be nothing but (a part of) the tag. */
	if (*ring_len(&transfer->ring, transfer->ring.written) == 0) {
		ring_written(&transfer->ring);
		transfer_pump_soon(transfer);
		return;
	}
	transfer->storing = true;
	store_put_write(&transfer->put,
			slice_make(ring_chunk(&transfer->ring, transfer->ring.written),
				   *ring_len(&transfer->ring, transfer->ring.written)),
			put_written);
}

/* Nothing of a decrypted recording may become visible before all of it is known to be authentic, and whole. */
static bool transfer_authenticate(struct transfer *transfer)
{
	struct error error = {0};
	int rc = decrypt_end(transfer->decrypt, &error);
	decrypt_wipe(transfer->decrypt);
	if (rc == 0)
		rc = media_check_length(&transfer->media, -1, transfer->received - TWILIO_ENCRYPTION_TAG_SIZE, &error);
	if (rc != 0) {
		transfer_fail(transfer, TRANSFER_SOURCE, rc, &error);
		transfer_pump_soon(transfer);
	}
	transfer->authentic = rc == 0;
	return transfer->authentic;
}

static void transfer_commit(struct transfer *transfer)
{
	struct crypto_digest_result sums;
	if (transfer->decrypting && !transfer_authenticate(transfer))
		return;
	REQUIRE(transfer->authentic || !transfer->decrypting);
	if (crypto_digest_final(transfer->hash, &sums) != 0) {
		transfer_fail(transfer, TRANSFER_NEITHER, ERR_IO, NULL);
		transfer_pump_soon(transfer);
		return;
	}
	int64_t expected = transfer->received - (transfer->decrypting ? TWILIO_ENCRYPTION_TAG_SIZE : 0);
	REQUIRE((int64_t)sums.bytes == expected);
	transfer->digest.bytes = expected;
	memcpy(transfer->digest.md5, sums.md5, sizeof(transfer->digest.md5));
	memcpy(transfer->digest.sha256, sums.sha256, sizeof(transfer->digest.sha256));
	transfer->storing = true;
	store_put_commit(&transfer->put, &transfer->digest, put_committed);
}

/* ---- hash ---- */

static void hash_done(struct hasher_item *item, int status)
{
	struct transfer *transfer = CONTAINER_OF(item, struct transfer, hash_item);
	REQUIRE(transfer->hashing);
	transfer->hashing = false;
	if (status != 0)
		transfer_fail(transfer, TRANSFER_NEITHER, status, &item->error);
	else if (transfer->decrypting && transfer->ring.hashed == 0)
		transfer_judge(transfer, *item->len);
	if (transfer->status == 0)
		transfer->ring.hashed++;
	transfer_pump_soon(transfer);
}

static void transfer_hash(struct transfer *transfer)
{
	transfer->hash_item = (struct hasher_item){
		.digest = transfer->hash,
		.decrypt = transfer->decrypting ? transfer->decrypt : NULL,
		.bytes = ring_chunk(&transfer->ring, transfer->ring.hashed),
		.len = ring_len(&transfer->ring, transfer->ring.hashed),
		.done = hash_done,
	};
	transfer->hashing = true;
	hasher_add(transfer->options.hasher, &transfer->hash_item);
}

/* ---- the pump ---- */

static void transfer_end(struct transfer *transfer)
{
	REQUIRE(transfer->running && !transfer->downloading && !transfer->storing && !transfer->hashing && !transfer->opened);
	transfer->running = false;
	transfer->result.digest = transfer->digest;
	if (transfer->decrypt != NULL)
		decrypt_wipe(transfer->decrypt);
	twilio_request_release(&transfer->request);
	ring_clear(&transfer->ring);
	soon_cancel(&transfer->pump);
	transfer->done(transfer, transfer->data, transfer->status); /* may start it again or free it */
}

/* After a failure: brings what is in flight to its end, takes the upload back, reports. */
static void transfer_unwind(struct transfer *transfer)
{
	if (transfer->downloading && !transfer->cancel_sent) {
		transfer->cancel_sent = true;
		twilio_cancel(&transfer->request);
	}
	if (transfer->hashing && hasher_cancel(&transfer->hash_item))
		transfer->hashing = false;
	if (transfer->downloading || transfer->hashing || transfer->storing)
		return;
	if (transfer->opened) {
		transfer->storing = true;
		store_put_abort(&transfer->put, put_aborted);
		return;
	}
	transfer_end(transfer);
}

static void transfer_pump(struct soon_item *item)
{
	struct transfer *transfer = CONTAINER_OF(item, struct transfer, pump);
	if (transfer->status != 0) {
		transfer_unwind(transfer);
		return;
	}
	if (transfer->committed) {
		transfer_end(transfer);
		return;
	}
	if (transfer->restart)
		download_start(transfer);
	if (!transfer->storing && !transfer->opened && transfer->proved)
		transfer_open(transfer);
	else if (!transfer->storing && transfer->opened && transfer->ring.written < transfer->ring.hashed)
		transfer_write(transfer);
	if (!transfer->hashing && transfer->ring.hashed < transfer->ring.filled)
		transfer_hash(transfer);
	if (transfer->paused && ring_has_room(&transfer->ring)) {
		transfer->paused = false;
		twilio_resume(&transfer->request);
	}
	if (transfer->downloaded && transfer->opened && !transfer->storing && transfer->ring.written == transfer->ring.filled)
		transfer_commit(transfer);
}

/* ---- public ---- */

size_t transfer_chunk_size(size_t buffer)
{
	size_t size = buffer / RING_CHUNKS;
	if (size < MIN_CHUNK_SIZE)
		return MIN_CHUNK_SIZE;
	return size > MAX_CHUNK_SIZE ? MAX_CHUNK_SIZE : size;
}

int transfer_new(struct transfer **ret, const struct transfer_options *options, struct error *error)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));
	if (transfer == NULL)
		return error_set(error, ERR_NOMEM, "a transfer");
	transfer->options = *options;
	ring_init(&transfer->ring, options->chunks);
	soon_item_init(&transfer->pump, transfer_pump);
	int rc = crypto_digest_new(&transfer->hash, error);
	if (rc != 0) {
		transfer_free(&transfer);
		return rc;
	}
	*ret = transfer;
	return 0;
}

void transfer_free(struct transfer **ref)
{
	struct transfer *transfer = *ref;
	*ref = NULL;
	if (transfer == NULL)
		return;
	REQUIRE(!transfer->running);
	soon_cancel(&transfer->pump);
	crypto_digest_free(&transfer->hash);
	decrypt_free(&transfer->decrypt);
	free(transfer);
}

/* Everything of the last recording goes; memory, options and digest state stay. */
static void transfer_clear(struct transfer *transfer)
{
	struct transfer kept = {
		.options = transfer->options,
		.hash = transfer->hash,
		.decrypt = transfer->decrypt,
		.ring = transfer->ring,
	};
	*transfer = kept;
	soon_item_init(&transfer->pump, transfer_pump);
	transfer->media.announced = -1;
	transfer->result.retry_after_ms = -1;
}

static int transfer_take_encryption(struct transfer *transfer, const struct transfer_job *job)
{
	transfer->encrypted = true;
	transfer->encryption = *job->encryption;
	if (job->private_key == NULL)
		return 0;
	if (transfer->decrypt == NULL && decrypt_new(&transfer->decrypt) != 0)
		return ERR_NOMEM;
	transfer->decrypting = true;
	decrypt_begin(transfer->decrypt, job->encryption, job->private_key);
	return 0;
}

void transfer_start(struct transfer *transfer, const struct transfer_job *job, transfer_cb *done, void *data)
{
	REQUIRE(!transfer->running);
	const struct ledger_job *work = job->work;
	transfer_clear(transfer);
	transfer->running = true;
	transfer->done = done;
	transfer->data = data;
	transfer->format = job->format;
	transfer->account_sid = work->account_sid;
	transfer->call_sid = work->call_sid;
	transfer->recording_sid = work->recording_sid;
	transfer->asked_channels = job->channels;
	transfer->told_channels = work->channels;
	snprintf(transfer->key, sizeof(transfer->key), "%s", job->key);
	snprintf(transfer->source, sizeof(transfer->source), "%s", work->source);
	if (work->duration_s >= 0)
		snprintf(transfer->duration, sizeof(transfer->duration), "%lld", (long long)work->duration_s);
	if (work->start_time_ms >= 0)
		clock_format_iso8601(work->start_time_ms, transfer->start_time);
	int rc = crypto_digest_reset(transfer->hash);
	if (rc == 0 && job->encryption != NULL)
		rc = transfer_take_encryption(transfer, job);
	if (rc != 0) {
		transfer_fail(transfer, TRANSFER_NEITHER, rc, NULL);
		transfer_pump_soon(transfer);
		return;
	}
	download_start(transfer);
}

void transfer_cancel(struct transfer *transfer)
{
	if (!transfer->running || transfer->status != 0 || transfer->committed)
		return;
	transfer_fail(transfer, TRANSFER_NEITHER, ERR_CANCELLED, NULL);
	transfer_pump_soon(transfer);
}

const struct transfer_result *transfer_result(const struct transfer *transfer)
{
	return &transfer->result;
}
