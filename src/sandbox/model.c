/* SPDX-License-Identifier: MIT */
/*
 * A SID's 16 bytes: the number, permuted under the seed and kind, and a check of it, so that a made-up SID is not found. Happenings are kept in pages that
 * appear when one of their recordings is touched.
 */
#include "sandbox/model.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "sandbox/random.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_RECORDINGS 4096
#define PAGE_COUNT (MODEL_MAX_RECORDINGS / PAGE_RECORDINGS)
#define SECONDS_PER_DAY 86400

enum model_salt { SALT_SID = 1, SALT_CHECK, SALT_BYTES, SALT_CHANNELS, SALT_MEDIA, SALT_PHONE };

struct model {
	struct model_options options;
	char account_sid[SID_LEN + 1];
	uint64_t count;
	struct model_state *pages[PAGE_COUNT];
};

struct model *model_new(const struct model_options *options)
{
	struct model *model = calloc(1, sizeof(*model));
	if (model == NULL)
		return NULL;
	model->options = *options;
	memcpy(model->account_sid, options->account_sid, SID_LEN);
	model->options.account_sid = model->account_sid;
	return model;
}

void model_free(struct model **model)
{
	if (*model == NULL)
		return;
	for (size_t i = 0; i < PAGE_COUNT; i++)
		free((*model)->pages[i]);
	free(*model);
	*model = NULL;
}

uint64_t model_count(const struct model *model)
{
	return model->count;
}

const struct sealing *model_sealing(const struct model *model)
{
	return model->options.sealing;
}

int model_grow(struct model *model, uint64_t extra)
{
	if (extra > MODEL_MAX_RECORDINGS - model->count)
		return ERR_LIMIT;
	model->count += extra;
	return 0;
}

static uint64_t sid_key(const struct model *model, const char prefix[2], enum model_salt salt)
{
	return scramble3(model->options.seed, (uint64_t)(unsigned char)prefix[0] << 8 | (unsigned char)prefix[1], salt);
}

static void sid_make(const struct model *model, const char prefix[2], uint64_t index, struct sid *sid)
{
	uint64_t words[2];
	uint64_t number = scramble(index ^ sid_key(model, prefix, SALT_SID));
	words[0] = htobe64(number);
	words[1] = htobe64(scramble(number ^ sid_key(model, prefix, SALT_CHECK)));
	memcpy(sid->text, prefix, 2);
	hex_encode(words, sizeof(words), sid->text + 2);
}

bool model_find(const struct model *model, struct slice text, const char prefix[2], uint64_t *index)
{
	struct sid sid;
	uint8_t bytes[16];
	uint64_t words[2];
	if (!sid_parse(text, prefix, &sid) || !sid_binary(&sid, bytes))
		return false;
	memcpy(words, bytes, sizeof(words));
	uint64_t number = be64toh(words[0]);
	if (be64toh(words[1]) != scramble(number ^ sid_key(model, prefix, SALT_CHECK)))
		return false;
	*index = unscramble(number) ^ sid_key(model, prefix, SALT_SID);
	return *index < model->count;
}

static uint64_t draw(const struct model *model, uint64_t index, enum model_salt salt)
{
	return scramble3(model->options.seed, index, salt);
}

void model_recording(const struct model *model, uint64_t index, struct model_recording *recording)
{
	const struct model_options *options = &model->options;
	uint64_t span = options->bytes_max - options->bytes_min + 1;
	struct audio media;

	REQUIRE(index < model->count);
	recording->index = index;
	recording->source = "StartCallRecordingAPI";
	sid_make(model, "RE", index, &recording->recording_sid);
	sid_make(model, "CA", index, &recording->call_sid);
	recording->channels = options->channels != 0 ? options->channels : 1 + (int)(draw(model, index, SALT_CHANNELS) & 1);
	recording->bytes = options->bytes_min + draw(model, index, SALT_BYTES) % span;
	uint64_t days = options->days == 0 ? 1 : options->days;
	recording->start_ms = options->base_ms + (int64_t)(index / days % SECONDS_PER_DAY) * 1000 -
			      (int64_t)(index % days * SECONDS_PER_DAY) * 1000;
	media = audio_make(AUDIO_WAV, recording->channels, 0, recording->bytes);
	recording->bytes = media.bytes;
	recording->duration_s = audio_seconds(&media);
}

int64_t model_created_ms(const struct model_recording *recording)
{
	return recording->start_ms + (int64_t)recording->duration_s * 1000;
}

void model_numbers(const struct model *model, uint64_t index, struct model_numbers *numbers)
{
	unsigned number = (unsigned)(draw(model, index, SALT_PHONE) % 10000);
	/* 555-01xx are set aside for fiction (NANPA). */
	snprintf(numbers->from, sizeof(numbers->from), "+1415555%04u", number);
	snprintf(numbers->to, sizeof(numbers->to), "+15005550%03u", 100 + number % 100);
}

bool model_audio(const struct model *model, const struct model_recording *recording, enum audio_format format, int channels,
		 struct audio *media)
{
	uint64_t bytes = recording->bytes;
	if (channels == 0)
		channels = recording->channels;
	if (channels > recording->channels)
		return false;
	if (format == AUDIO_WAV && channels < recording->channels)
		bytes = AUDIO_WAV_HEADER + (bytes - AUDIO_WAV_HEADER) / 2;
	if (bytes < AUDIO_MIN_BYTES)
		bytes = AUDIO_MIN_BYTES;
	uint64_t key = draw(model, recording->index, SALT_MEDIA) + (uint64_t)format * 2 + (uint64_t)channels;
	*media = audio_make(format, channels, scramble(key), bytes);
	return true;
}

struct model_state *model_touch(struct model *model, uint64_t index)
{
	REQUIRE(index < MODEL_MAX_RECORDINGS);
	struct model_state **page = &model->pages[index / PAGE_RECORDINGS];
	if (*page == NULL)
		*page = calloc(PAGE_RECORDINGS, sizeof(**page));
	return *page == NULL ? NULL : &(*page)[index % PAGE_RECORDINGS];
}

struct model_state model_look(const struct model *model, uint64_t index)
{
	REQUIRE(index < MODEL_MAX_RECORDINGS);
	const struct model_state *page = model->pages[index / PAGE_RECORDINGS];
	return page == NULL ? (struct model_state){0} : page[index % PAGE_RECORDINGS];
}

/* As in Twilio's description of the resource, whose names are not those of the callback. */
static void write_encryption(const struct model *model, uint64_t index, struct buffer *out)
{
	struct twilio_encryption details;
	if (!sealing_applies(model->options.sealing, index) || sealing_details(model->options.sealing, index, &details) != 0) {
		buffer_append_cstr(out, "\"encryption_details\":null,");
		return;
	}
	buffer_printf(out,
		      "\"encryption_details\":{\"type\":\"%s\",\"encryption_public_key_sid\":\"%s\",\"encryption_cek\":\"%s\","
		      "\"encryption_iv\":\"%s\"},",
		      TWILIO_ENCRYPTION_TYPE, details.public_key_sid.text, details.encrypted_cek, details.iv_text);
}

void model_write_recording(const struct model *model, const struct model_recording *recording, const char *status,
			   struct buffer *out)
{
	char start[CLOCK_RFC2822_SIZE];
	char created[CLOCK_RFC2822_SIZE];
	const char *account = model->account_sid;
	const char *sid = recording->recording_sid.text;
	clock_format_rfc2822(recording->start_ms, start);
	clock_format_rfc2822(model_created_ms(recording), created);
	buffer_printf(out,
		      "{\"account_sid\":\"%s\",\"api_version\":\"2010-04-01\",\"call_sid\":\"%s\",\"conference_sid\":null,\"date_"
		      "created\":\"%s\","
		      "\"date_updated\":\"%s\",\"start_time\":\"%s\",\"duration\":\"%" PRIu64
		      "\",\"sid\":\"%s\",\"price\":\"-0.00250\","
		      "\"price_unit\":\"USD\",\"status\":\"%s\",\"channels\":%d,\"source\":\"%s\",\"error_"
		      "code\":null,",
		      account, recording->call_sid.text, created, created, start, recording->duration_s, sid, status,
		      recording->channels, recording->source);
	write_encryption(model, recording->index, out);
	buffer_printf(out,
		      "\"uri\":\"/2010-04-01/Accounts/%s/Recordings/"
		      "%s.json\",\"subresource_uris\":{\"add_on_results\":"
		      "\"/2010-04-01/Accounts/%s/Recordings/%s/AddOnResults.json\",\"transcriptions\":"
		      "\"/2010-04-01/Accounts/%s/Recordings/%s/Transcriptions.json\"},"
		      "\"media_url\":\"https://api.twilio.com/2010-04-01/Accounts/%s/Recordings/%s\"}",
		      account, sid, account, sid, account, sid, account, sid);
}

void model_write_call(const struct model *model, const struct model_recording *recording, struct buffer *out)
{
	char start[CLOCK_RFC2822_SIZE];
	char end[CLOCK_RFC2822_SIZE];
	const char *account = model->account_sid;
	const char *sid = recording->call_sid.text;
	struct model_numbers numbers;
	clock_format_rfc2822(recording->start_ms, start);
	clock_format_rfc2822(model_created_ms(recording), end);
	model_numbers(model, recording->index, &numbers);
	buffer_printf(
		out,
		"{\"sid\":\"%s\",\"date_created\":\"%s\",\"date_updated\":\"%s\",\"parent_call_sid\":null,\"account_sid\":\"%s\","
		"\"to\":\"%s\",\"to_formatted\":\"(500) 555-%s\",\"from\":\"%s\",\"from_formatted\":\"(415) 555-%s\","
		"\"phone_number_sid\":null,\"status\":\"completed\",\"start_time\":\"%s\",\"end_time\":\"%s\",\"duration\":"
		"\"%" PRIu64 "\",",
		sid, start, end, account, numbers.to, numbers.to + 8, numbers.from, numbers.from + 8, start, end,
		recording->duration_s);
	buffer_printf(out,
		      "\"price\":null,\"price_unit\":\"USD\",\"direction\":\"inbound\",\"answered_by\":null,\"api_version\":"
		      "\"2010-04-01\","
		      "\"forwarded_from\":null,\"group_sid\":null,\"caller_name\":null,\"queue_time\":\"0\",\"trunk_sid\":null,"
		      "\"uri\":\"/2010-04-01/Accounts/%s/Calls/%s.json\",\"subresource_uris\":{\"recordings\":"
		      "\"/2010-04-01/Accounts/%s/Calls/%s/Recordings.json\"}}",
		      account, sid, account, sid);
}

void model_write_account(const struct model *model, struct buffer *out)
{
	const char *sid = model->account_sid;
	buffer_printf(out,
		      "{\"sid\":\"%s\",\"friendly_name\":\"reeld "
		      "sandbox\",\"status\":\"active\",\"type\":\"Full\",\"owner_account_sid\":\"%s\","
		      "\"uri\":\"/2010-04-01/Accounts/%s.json\",\"subresource_uris\":{\"recordings\":\"/2010-04-01/Accounts/%s/"
		      "Recordings.json\","
		      "\"calls\":\"/2010-04-01/Accounts/%s/Calls.json\"}}",
		      sid, sid, sid, sid, sid);
}
