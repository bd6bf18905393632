/* SPDX-License-Identifier: MIT */
/*
 * One download: generated while it is sent, and harmed on the way where a fault says so. The stream owns a timer, so it lives until that is closed, which is
 * started when the connection says that the reply is over.
 */
#include "base/check.h"
#include "sandbox/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_PAUSES 10
#define SLOW_PAUSE_MS 50

struct media_stream {
	struct sandbox *sandbox;
	struct connection *connection;
	struct audio media;
	uint64_t index;
	uint64_t offset;
	uint64_t end;      /* what is sent, less than the file for wrong-length */
	uint64_t pause_at; /* next standstill; UINT64_MAX: none */
	enum fault fault;
	uint64_t bytes;  /* of the file, with the tag of an encrypted one */
	struct gcm *gcm; /* NULL: not encrypted */
	uint8_t tag[GCM_TAG_SIZE];
	bool sealed; /* the tag is known */
	uv_timer_t timer;
};

static void pause_over(uv_timer_t *timer)
{
	struct media_stream *stream = timer->data;
	reply_stream_resume(stream->connection);
}

static void stand_still(struct media_stream *stream)
{
	uint64_t ms = stream->sandbox->options.stall_ms;
	stream->pause_at = UINT64_MAX;
	if (stream->fault == FAULT_SLOW) {
		ms = SLOW_PAUSE_MS;
		stream->pause_at = stream->offset + stream->end / SLOW_PAUSES + 1;
	}
	uv_timer_start(&stream->timer, pause_over, ms, 0);
}

/* An encrypted file is the audio's bytes, encrypted, and the tag: always read from its beginning to its end. */
static int stream_read(struct media_stream *stream, char *out, size_t len)
{
	uint64_t audio = stream->offset < stream->media.bytes ? stream->media.bytes - stream->offset : 0;
	size_t part = audio < len ? (size_t)audio : len;
	audio_read(&stream->media, stream->offset, out, part);
	if (stream->gcm == NULL)
		return 0;
	if (gcm_seal_update(stream->gcm, (uint8_t *)out, part) != 0)
		return ERR_IO;
	if (part == len)
		return 0;
	if (!stream->sealed && gcm_seal_end(stream->gcm, stream->tag) != 0)
		return ERR_IO;
	stream->sealed = true;
	memcpy(out + part, stream->tag + (stream->offset + part - stream->media.bytes), len - part);
	return 0;
}

static enum reply_fill stream_fill(void *data, char *out, size_t cap, size_t *len)
{
	struct media_stream *stream = data;
	uint64_t left = stream->end - stream->offset;
	*len = 0;
	if (stream->offset >= stream->pause_at) {
		if (stream->fault == FAULT_TRUNCATE)
			return REPLY_ABORT;
		stand_still(stream);
		return REPLY_LATER;
	}
	if (left > stream->pause_at - stream->offset)
		left = stream->pause_at - stream->offset;
	*len = left < cap ? (size_t)left : cap;
	if (stream_read(stream, out, *len) != 0)
		return REPLY_ABORT;
	stream->offset += *len;
	stream->sandbox->stats.media_bytes += *len;
	return stream->offset == stream->end ? REPLY_END : REPLY_MORE;
}

static void stream_timer_closed(uv_handle_t *handle)
{
	struct media_stream *stream = handle->data;
	struct sandbox *sandbox = stream->sandbox;
	gcm_free(&stream->gcm);
	free(stream);
	sandbox_stream_closed(sandbox);
}

static void stream_done(void *data, bool complete)
{
	struct media_stream *stream = data;
	if (complete && stream->end == stream->bytes) {
		struct model_state *state = model_touch(stream->sandbox->model, stream->index);
		if (state != NULL && state->media_complete < UINT16_MAX)
			state->media_complete++;
	}
	uv_close((uv_handle_t *)&stream->timer, stream_timer_closed);
}

static void stream_start(struct sandbox *sandbox, struct connection *connection, const struct audio *media, uint64_t index,
			 enum fault fault)
{
	char headers[REPLY_HEADERS_SIZE];
	struct media_stream *stream = calloc(1, sizeof(*stream));
	struct gcm *gcm = NULL;
	bool encrypted = sealing_applies(sandbox->sealing, index);
	uint64_t bytes = media->bytes + (encrypted ? GCM_TAG_SIZE : 0);
	if (stream == NULL || (encrypted && (gcm_new(&gcm) != 0 || sealing_begin(sandbox->sealing, index, gcm) != 0))) {
		free(stream);
		gcm_free(&gcm);
		reply_error(connection, 503, "the sandbox ran out of memory");
		return;
	}
	*stream = (struct media_stream){
		.sandbox = sandbox,
		.connection = connection,
		.media = *media,
		.index = index,
		.end = fault == FAULT_WRONG_LENGTH ? bytes / 2 : bytes,
		.bytes = bytes,
		.gcm = gcm,
		.pause_at = UINT64_MAX,
		.fault = fault,
	};
	if (fault == FAULT_STALL || fault == FAULT_TRUNCATE)
		stream->pause_at = media->bytes / 2;
	else if (fault == FAULT_SLOW)
		stream->pause_at = 0;
	REQUIRE(uv_timer_init(sandbox->loop, &stream->timer) == 0);
	stream->timer.data = stream;
	sandbox->open_streams++;
	const struct reply_stream reply = {
		.status = 200,
		.content_type = audio_content_type(media->format),
		.headers = reply_headers(sandbox, headers, NULL),
		.length = (int64_t)stream->end,
		.fill = stream_fill,
		.done = stream_done,
		.data = stream,
	};
	reply_stream(connection, &reply);
}

/* Twilio's error text under a 200, as it ends up in buckets when only the status is looked at. */
static void reply_xml_body(struct sandbox *sandbox, struct connection *connection, const char *content_type)
{
	char headers[REPLY_HEADERS_SIZE];
	const struct reply reply = {
		.status = 200,
		.content_type = content_type,
		.headers = reply_headers(sandbox, headers, NULL),
		.body = SLICE(
			"<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException><Code>20404</Code><Message>The "
			"requested resource was "
			"not "
			"found</Message><MoreInfo>https://www.twilio.com/docs/errors/20404</MoreInfo><Status>404</Status></"
			"RestException>"
			"</TwilioResponse>"),
	};
	reply_send(connection, &reply);
}

/* To the same place, marked so that it works the second time. */
static void reply_redirect(struct sandbox *sandbox, struct connection *connection, const struct request *request)
{
	char headers[REPLY_HEADERS_SIZE];
	char location[384];
	struct slice host = request_header(request, SLICE("Host"));
	int len = snprintf(location, sizeof(location), "Location: http://%.*s%.*s%chop=1\r\n", SLICE_FMT(host),
			   SLICE_FMT(request->target), request->query.ptr == NULL ? '?' : '&');
	if (len < 0 || (size_t)len >= sizeof(location)) {
		reply_not_found(sandbox, connection, request);
		return;
	}
	const struct reply reply = {.status = 302, .headers = reply_headers(sandbox, headers, location)};
	reply_send(connection, &reply);
}

void media_reply(struct sandbox *sandbox, struct connection *connection, const struct request *request,
		 const struct model_recording *recording, enum audio_format format)
{
	struct query query;
	struct audio media;
	uint64_t channels;
	unsigned attempt = 0;
	enum fault fault = FAULT_NONE;

	sandbox->stats.requests[SANDBOX_MEDIA]++;
	if (!query_parse(&query, request->query) || !query_number(&query, "RequestedChannels", 0, 2, &channels)) {
		reply_twilio_error(sandbox, connection, request, 400, 20001, "Bad request: RequestedChannels must be 1 or 2",
				   NULL);
		return;
	}
	if (model_look(sandbox->model, recording->index).deleted) {
		reply_not_found(sandbox, connection, request);
		return;
	}
	if (format == AUDIO_MP3 && sealing_applies(sandbox->sealing, recording->index)) {
		reply_twilio_error(sandbox, connection, request, 400, 16109,
				   "Voice Recording: Encrypted recordings are not available as MP3", NULL);
		return;
	}
	if (!model_audio(sandbox->model, recording, format, (int)channels, &media)) {
		reply_twilio_error(sandbox, connection, request, 400, 16113,
				   "Requested channels are not available for this recording", NULL);
		return;
	}
	if (query_get(&query, "hop").ptr == NULL)
		fault = sandbox_strike(sandbox, recording->index, FAULT_REQUEST_MEDIA, &attempt);
	bool variant = fault_variant(sandbox->options.seed, recording->index, attempt);
	if (reply_fault(sandbox, connection, request, fault, variant))
		return;
	/* An MP3 does not say how long it is, so only a cut connection can be noticed. */
	if (fault == FAULT_WRONG_LENGTH && format == AUDIO_MP3)
		fault = FAULT_TRUNCATE;
	if (fault == FAULT_XML_BODY)
		reply_xml_body(sandbox, connection, variant ? "application/xml" : audio_content_type(format));
	else if (fault == FAULT_REDIRECT)
		reply_redirect(sandbox, connection, request);
	else
		stream_start(sandbox, connection, &media, recording->index, fault);
}
