/* SPDX-License-Identifier: MIT */
/*
 * /api/recordings/{sid}/audio. From a directory the file itself, read in pieces on pool threads: a request holds one piece and one descriptor however slow its
 * reader is. From S3 a link.
 */
#include "admin/admin_internal.h"

#include "admin/json.h"
#include "admin/query.h"
#include "admin/range.h"
#include "base/clock.h"
#include "base/log.h"
#include "pipeline/archived.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define AUDIO_PIECE ((size_t)64 * 1024)
#define LINK_SIZE 4096

struct audio {
	struct admin *admin;
	struct connection *connection;
	const struct request *request; /* until the reply was begun */
	struct archived archived;
	bool link; /* ?as=link */
	struct store_read read;
	int64_t offset; /* of the file: read up to here */
	int64_t end;
	size_t at; /* of the piece: given up to here */
	size_t have;
	bool reading;
	bool failed;
	bool stream_over;
	char piece[AUDIO_PIECE];
};

static void audio_free(struct audio *audio)
{
	struct admin *admin = audio->admin;
	free(audio);
	admin_release(admin);
}

static void refuse(struct audio *audio, int status, const char *message)
{
	admin_reply_error(audio->connection, status, NULL, message);
	audio_free(audio);
}

/* ---- the file ---- */

static void file_closed(struct store_read *read, int status)
{
	(void)status;
	audio_free(read->data);
}

static void piece_read(struct store_read *read, int status)
{
	struct audio *audio = read->data;
	audio->reading = false;
	audio->at = 0;
	audio->have = read->len;
	audio->offset += (int64_t)read->len;
	/* Files of the store are never shortened: who did has to see a broken answer, not a short one. */
	if (status != 0 || read->len < read->size) {
		audio->failed = true;
		log_event(LOG_ERROR, "api.audio_failed", LOG_STR("recording_sid", audio->archived.recording_sid.text),
			  LOG_STR("detail", status != 0 ? read->error.detail : "the file became shorter"));
	}
	if (audio->stream_over)
		store_read_close(&audio->read, file_closed);
	else
		reply_stream_resume(audio->connection);
}

static enum reply_fill audio_fill(void *data, char *out, size_t cap, size_t *len)
{
	struct audio *audio = data;
	if (audio->failed)
		return REPLY_ABORT;
	if (audio->reading)
		return REPLY_LATER;
	if (audio->at == audio->have && audio->offset < audio->end) {
		size_t left = (size_t)(audio->end - audio->offset);
		audio->reading = true;
		store_read_at(&audio->read, audio->offset, audio->piece,
			      left < sizeof(audio->piece) ? left : sizeof(audio->piece), piece_read);
		return REPLY_LATER;
	}
	size_t give = audio->have - audio->at;
	*len = give < cap ? give : cap;
	memcpy(out, audio->piece + audio->at, *len);
	audio->at += *len;
	return audio->at == audio->have && audio->offset == audio->end ? REPLY_END : REPLY_MORE;
}

static void audio_streamed(void *data, bool complete)
{
	struct audio *audio = data;
	(void)complete;
	audio->stream_over = true;
	if (!audio->reading)
		store_read_close(&audio->read, file_closed);
}

/* The last word on a request whose file is open. */
static void close_after_reply(struct audio *audio)
{
	store_read_close(&audio->read, file_closed);
}

static const char *audio_type(const struct ledger_recording *recording)
{
	if (strcmp(recording->content_type, "audio/wav") == 0)
		return "audio/wav";
	return strcmp(recording->content_type, "audio/mpeg") == 0 ? "audio/mpeg" : "application/octet-stream";
}

static void make_tag(const struct ledger_recording *recording, char *tag, size_t size)
{
	const char *sha256 = recording->job.sha256;
	bool known = strspn(sha256, "0123456789abcdef") == 64 && sha256[64] == '\0';
	snprintf(tag, size, "%s%s%s", known ? "\"" : "", known ? sha256 : "", known ? "\"" : "");
}

static void stream_file(struct audio *audio, int status, const char *tag, int64_t from, int64_t to)
{
	const struct ledger_recording *recording = &audio->archived.recording;
	const char *dot = strrchr(recording->job.key, '.');
	char headers[1024];
	int len = snprintf(headers, sizeof(headers),
			   ADMIN_PRIVATE_HEADERS "Accept-Ranges: bytes\r\nContent-Disposition: inline; filename=\"%s%s\"\r\n",
			   recording->job.recording_sid.text,
			   dot != NULL && (strcmp(dot, ".wav") == 0 || strcmp(dot, ".mp3") == 0) ? dot : "");
	if (tag[0] != '\0')
		len += snprintf(headers + len, sizeof(headers) - (size_t)len, "ETag: %s\r\n", tag);
	if (status == 206)
		snprintf(headers + len, sizeof(headers) - (size_t)len,
			 "Content-Range: bytes %" PRId64 "-%" PRId64 "/%" PRId64 "\r\n", from, to - 1, audio->read.length);
	audio->offset = from;
	audio->end = to;
	reply_stream(audio->connection, &(struct reply_stream){.status = status,
							       .content_type = audio_type(recording),
							       .headers = headers,
							       .length = to - from,
							       .fill = audio_fill,
							       .done = audio_streamed,
							       .data = audio});
}

static void reply_not_modified(struct audio *audio, const char *tag)
{
	char headers[512];
	snprintf(headers, sizeof(headers), ADMIN_PRIVATE_HEADERS "ETag: %s\r\n", tag);
	reply_send(audio->connection, &(struct reply){.status = 304, .headers = headers});
	close_after_reply(audio);
}

static void reply_unsatisfiable(struct audio *audio)
{
	char headers[64];
	snprintf(headers, sizeof(headers), "Content-Range: bytes */%" PRId64 "\r\n", audio->read.length);
	admin_reply_error(audio->connection, 416, headers, "The range lies outside of the recording");
	close_after_reply(audio);
}

static void file_opened(struct store_read *read, int status)
{
	struct audio *audio = read->data;
	const struct ledger_recording *recording = &audio->archived.recording;
	if (status != 0) {
		refuse(audio, status == ERR_NOT_FOUND ? 404 : 503, read->error.detail);
		return;
	}
	if (read->length != recording->job.bytes) {
		admin_reply_error(audio->connection, 500, NULL, "The stored file has another length than was archived");
		close_after_reply(audio);
		return;
	}
	char tag[80];
	int64_t from;
	int64_t to;
	make_tag(recording, tag, sizeof(tag));
	if (etag_matches(request_header(audio->request, SLICE("If-None-Match")), slice_from_cstr(tag))) {
		reply_not_modified(audio, tag);
		return;
	}
	struct slice range = request_header(audio->request, SLICE("Range"));
	struct slice condition = request_header(audio->request, SLICE("If-Range"));
	/* Ranges are defined for GET only (RFC 9110, 14.2), and those of another file are of no use. */
	if (audio->request->method != REQUEST_GET || (condition.ptr != NULL && !slice_equal(condition, slice_from_cstr(tag))))
		range = (struct slice){NULL, 0};
	switch (range_parse(range, read->length, &from, &to)) {
	case RANGE_WHOLE:
		stream_file(audio, 200, tag, from, to);
		break;
	case RANGE_PART:
		stream_file(audio, 206, tag, from, to);
		break;
	case RANGE_UNSATISFIABLE:
		reply_unsatisfiable(audio);
		break;
	}
}

/* ---- links ---- */

static void reply_link(struct audio *audio, const char *url, int64_t expires_ms)
{
	struct buffer body;
	buffer_init(&body, (size_t)LINK_SIZE * 8);
	buffer_append_char(&body, '{');
	json_text(&body, "url", url);
	json_time(&body, "expiresAt", expires_ms);
	json_end(&body);
	admin_reply_json(audio->connection, &body);
	buffer_free(&body);
}

static void reply_ticket(struct audio *audio)
{
	const struct sid *sid = &audio->archived.recording_sid;
	int64_t expires_s = clock_wall_ms() / 1000 + TICKET_VALID_S;
	char ticket[TICKET_SIZE];
	char url[64 + TICKET_SIZE + SID_LEN];
	if (ticket_make(&audio->admin->ticket_key, sid, expires_s, ticket) != 0) {
		admin_reply_error(audio->connection, 500, NULL, "No link: OpenSSL failed");
	} else {
		snprintf(url, sizeof(url), "/api/recordings/%s/audio?ticket=%s", sid->text, ticket);
		reply_link(audio, url, expires_s * 1000);
	}
	audio_free(audio);
}

static void reply_store_link(struct audio *audio)
{
	char url[LINK_SIZE];
	char headers[LINK_SIZE + 256];
	int64_t expires_ms = clock_wall_ms() + (int64_t)TICKET_VALID_S * 1000;
	int status = store_link(audio->admin->options.store, audio->archived.recording.job.key, TICKET_VALID_S, url, sizeof(url));
	if (status != 0) {
		refuse(audio, 503, err_text(status));
		return;
	}
	if (audio->link) {
		reply_link(audio, url, expires_ms);
	} else {
		snprintf(headers, sizeof(headers), ADMIN_PRIVATE_HEADERS "Referrer-Policy: no-referrer\r\nLocation: %s\r\n", url);
		reply_send(audio->connection, &(struct reply){.status = 302, .headers = headers});
	}
	audio_free(audio);
}

/* ---- the request ---- */

static void found(struct archived *archived, int status)
{
	struct audio *audio = archived->data;
	if (status != 0 && archived->place == ARCHIVED_LEDGER) {
		admin_reply_ledger_error(audio->connection, status, &archived->error);
		audio_free(audio);
	} else if (status != 0 && archived->place == ARCHIVED_STORE && status != ERR_NOT_FOUND) {
		refuse(audio, status == ERR_CHECKSUM ? 500 : 502, archived->error.detail);
	} else if (status != 0) {
		refuse(audio, 404, archived->error.detail);
	} else if (!store_reads(audio->admin->options.store)) {
		reply_store_link(audio);
	} else if (audio->link) {
		reply_ticket(audio);
	} else {
		audio->read.data = audio;
		store_read_open(audio->admin->options.store, &audio->read, archived->recording.job.key, file_opened);
	}
}

void admin_on_audio(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	char as[16];
	enum admin_query_result result = admin_query_get(request->query, "as", as, sizeof(as));
	if (result == QUERY_BAD || (result == QUERY_FOUND && strcmp(as, "link") != 0)) {
		admin_reply_error(connection, 400, NULL, "as: want link, or nothing");
		return;
	}
	struct audio *audio = calloc(1, sizeof(*audio));
	const struct request *retained = connection_retain(connection);
	if (audio == NULL || retained == NULL) {
		free(audio);
		admin_reply_error(connection, 500, NULL, "out of memory");
		return;
	}
	admin_hold(admin);
	audio->admin = admin;
	audio->connection = connection;
	audio->request = retained;
	audio->link = result == QUERY_FOUND;
	audio->archived = (struct archived){
		.ledger = admin->options.ledger, .store = admin->options.store, .recording_sid = *sid, .data = audio};
	archived_find(&audio->archived, found);
}
