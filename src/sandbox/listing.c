/* SPDX-License-Identifier: MIT */
/*
 * GET /sandbox/recordings: for each recording what it must become (bytes, sha256) and what happened to it. Streamed, one recording at a time; hashing is done in
 * libuv's pool.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "sandbox/internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define DEFAULT_LIMIT 1000
#define MAX_ITEM 2048

struct listing {
	struct sandbox *sandbox;
	struct connection *connection;
	uint64_t next;
	uint64_t end;
	enum audio_format format;
	int channels;
	bool hashes;
	struct buffer text; /* what is to be sent next */
	size_t sent;        /* of it */
	bool first;
	bool finished; /* the closing bracket is in `text` */
	bool gone;     /* the reply is over */
	bool working;
	bool failed; /* a hash could not be computed */
	uv_work_t work;
	struct audio media;
	uint8_t sha256[32];
	int hash_code;
};

static void write_item(struct listing *listing)
{
	struct model_recording recording;
	struct audio media;
	char start[CLOCK_ISO8601_SIZE];
	struct buffer *out = &listing->text;
	struct model_state state = model_look(listing->sandbox->model, listing->next);
	model_recording(listing->sandbox->model, listing->next, &recording);
	if (!model_audio(listing->sandbox->model, &recording, listing->format, listing->channels, &media))
		(void)model_audio(listing->sandbox->model, &recording, listing->format, 0, &media);
	clock_format_iso8601(recording.start_ms, start);
	buffer_printf(out,
		      "%s{\"index\":%" PRIu64 ",\"sid\":\"%s\",\"call_sid\":\"%s\",\"channels\":%d,\"duration\":%" PRIu64
		      ",\"start_time\":\"%s\","
		      "\"bytes\":%" PRIu64,
		      listing->first ? "" : ",", recording.index, recording.recording_sid.text, recording.call_sid.text,
		      media.channels, recording.duration_s, start, media.bytes);
	if (listing->hashes) {
		char hex[65];
		hex_encode(listing->sha256, sizeof(listing->sha256), hex);
		buffer_printf(out, ",\"sha256\":\"%s\"", hex);
	}
	buffer_printf(out,
		      ",\"encrypted\":%s,\"callbacks\":%u,\"acknowledged\":%u,\"media_requests\":%u,\"media_complete\":%u,"
		      "\"recording_requests\":%"
		      "u,\"call_requests\":%u,"
		      "\"delete_requests\":%u,\"deletes\":%u,\"deleted\":%s}",
		      sealing_applies(listing->sandbox->sealing, recording.index) ? "true" : "false", state.callbacks_sent,
		      state.callbacks_ok, state.requests[FAULT_REQUEST_MEDIA], state.media_complete,
		      state.requests[FAULT_REQUEST_RECORDING], state.requests[FAULT_REQUEST_CALL],
		      state.requests[FAULT_REQUEST_DELETE], state.deletes, state.deleted ? "true" : "false");
	listing->first = false;
	listing->next++;
}

static void listing_free(struct listing *listing)
{
	struct sandbox *sandbox = listing->sandbox;
	buffer_free(&listing->text);
	free(listing);
	sandbox_stream_closed(sandbox);
}

static void hash_work(uv_work_t *work)
{
	struct listing *listing = work->data;
	listing->hash_code = sandbox_audio_sha256(&listing->media, listing->sha256);
}

static void hash_done(uv_work_t *work, int status)
{
	struct listing *listing = work->data;
	listing->working = false;
	if (listing->gone) {
		listing_free(listing);
		return;
	}
	listing->failed = status != 0 || listing->hash_code != 0;
	if (!listing->failed)
		write_item(listing);
	reply_stream_resume(listing->connection);
}

/* Puts the next piece into `text`; false when it takes the pool to do so. */
static bool prepare(struct listing *listing)
{
	struct model_recording recording;
	buffer_clear(&listing->text);
	listing->sent = 0;
	if (listing->next == listing->end) {
		buffer_printf(&listing->text, "],\"next\":%" PRIu64 ",\"count\":%" PRIu64 "}", listing->next,
			      model_count(listing->sandbox->model));
		listing->finished = true;
		return true;
	}
	if (!listing->hashes) {
		write_item(listing);
		return true;
	}
	model_recording(listing->sandbox->model, listing->next, &recording);
	if (!model_audio(listing->sandbox->model, &recording, listing->format, listing->channels, &listing->media))
		(void)model_audio(listing->sandbox->model, &recording, listing->format, 0, &listing->media);
	listing->work.data = listing;
	listing->working = true;
	REQUIRE(uv_queue_work(listing->sandbox->loop, &listing->work, hash_work, hash_done) == 0);
	return false;
}

static enum reply_fill listing_fill(void *data, char *out, size_t cap, size_t *len)
{
	struct listing *listing = data;
	*len = 0;
	if (listing->working)
		return REPLY_LATER;
	if (listing->failed)
		return REPLY_ABORT;
	if (listing->sent == listing->text.len && !prepare(listing))
		return REPLY_LATER;
	if (listing->text.failed)
		return REPLY_ABORT;
	size_t left = listing->text.len - listing->sent;
	*len = left < cap ? left : cap;
	memcpy(out, listing->text.data + listing->sent, *len);
	listing->sent += *len;
	return listing->finished && listing->sent == listing->text.len ? REPLY_END : REPLY_MORE;
}

static void listing_done(void *data, bool complete)
{
	struct listing *listing = data;
	(void)complete;
	listing->gone = true;
	if (!listing->working)
		listing_free(listing);
}

void listing_reply(struct sandbox *sandbox, struct connection *connection, const struct query *query)
{
	uint64_t count = model_count(sandbox->model);
	uint64_t from, limit, channels, hashes;
	struct slice format = query_get(query, "format");
	if (!query_number(query, "from", 0, MODEL_MAX_RECORDINGS, &from) ||
	    !query_number(query, "limit", DEFAULT_LIMIT, MODEL_MAX_RECORDINGS, &limit) ||
	    !query_number(query, "channels", 0, 2, &channels) || !query_number(query, "sha256", 1, 1, &hashes)) {
		reply_error(connection, 400, "malformed parameter; known: from, limit, format, channels, sha256");
		return;
	}
	struct listing *listing = calloc(1, sizeof(*listing));
	if (listing == NULL) {
		reply_error(connection, 503, "the sandbox ran out of memory");
		return;
	}
	from = from < count ? from : count;
	*listing = (struct listing){
		.sandbox = sandbox,
		.connection = connection,
		.next = from,
		.end = limit < count - from ? from + limit : count,
		.format = format.ptr == NULL                  ? sandbox->options.format
			  : slice_equal(format, SLICE("mp3")) ? AUDIO_MP3
							      : AUDIO_WAV,
		.channels = (int)channels,
		.hashes = hashes != 0,
		.first = true,
	};
	buffer_init(&listing->text, MAX_ITEM);
	buffer_append_cstr(&listing->text, "{\"recordings\":[");
	sandbox->open_streams++;
	const struct reply_stream reply = {
		.status = 200,
		.content_type = "application/json",
		.length = -1,
		.fill = listing_fill,
		.done = listing_done,
		.data = listing,
	};
	reply_stream(connection, &reply);
}
