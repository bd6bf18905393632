/* SPDX-License-Identifier: MIT */
#include "pipeline/media.h"

#include <stddef.h>
#include <string.h>

#define RIFF_HEADER_SIZE 8        /* "RIFF" and the size of what follows */
#define RIFF_STREAMED 0xffffffffU /* written by encoders that could not seek back */
#define DESCRIBED_BYTES 32

static uint32_t read_u32_le(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Printable, in quotes, cut: what an operator needs to recognise an error page. */
static void describe(struct slice first, char out[DESCRIBED_BYTES + 1])
{
	size_t len = first.len < DESCRIBED_BYTES ? first.len : DESCRIBED_BYTES;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)first.ptr[i];
		out[i] = c >= 0x20 && c < 0x7f && c != '"' && c != '\\' ? (char)c : '.';
	}
	out[len] = '\0';
}

static bool content_type_plausible(const char *content_type)
{
	if (content_type[0] == '\0')
		return true;
	size_t len = strcspn(content_type, "; \t");
	struct slice type = slice_make(content_type, len);
	static const char audio[] = "audio/";
	return (len >= sizeof(audio) - 1 && strncasecmp(content_type, audio, sizeof(audio) - 1) == 0) ||
	       slice_equal_nocase(type, SLICE("application/octet-stream")) ||
	       slice_equal_nocase(type, SLICE("binary/octet-stream"));
}

static bool is_wav(struct slice first)
{
	return first.len >= 12 && memcmp(first.ptr, "RIFF", 4) == 0 && memcmp(first.ptr + 8, "WAVE", 4) == 0;
}

/* An ID3v2 tag, or a frame header without any of its reserved values (so that AAC's ADTS, layer 0, is not taken for it). */
static bool is_mp3(struct slice first)
{
	const unsigned char *bytes = (const unsigned char *)first.ptr;
	if (first.len >= 10 && memcmp(bytes, "ID3", 3) == 0)
		return bytes[3] != 0xff && bytes[4] != 0xff;
	if (first.len < 4 || bytes[0] != 0xff || (bytes[1] & 0xe0) != 0xe0)
		return false;
	bool version_reserved = (bytes[1] & 0x18) == 0x08;
	bool layer_reserved = (bytes[1] & 0x06) == 0;
	bool bitrate_bad = (bytes[2] & 0xf0) == 0xf0;
	bool rate_reserved = (bytes[2] & 0x0c) == 0x0c;
	return !version_reserved && !layer_reserved && !bitrate_bad && !rate_reserved;
}

static void read_wav_header(struct slice first, struct media_info *info)
{
	const unsigned char *bytes = (const unsigned char *)first.ptr;
	uint32_t size = read_u32_le(bytes + 4);
	if (size != 0 && size != RIFF_STREAMED)
		info->announced = (int64_t)size + RIFF_HEADER_SIZE;
	/* The fmt chunk nearly always comes first; where it does not, the channels stay what the webhook said. */
	if (first.len >= 24 && memcmp(bytes + 12, "fmt ", 4) == 0)
		info->channels = bytes[22] | bytes[23] << 8;
}

int media_probe(enum media_format format, const char *content_type, struct slice first, struct media_info *info,
		struct error *error)
{
	*info = (struct media_info){.announced = -1};
	if (first.len == 0)
		return error_set(error, ERR_MEDIA_LENGTH, "the recording's body is empty");
	bool audio = format == MEDIA_WAV ? is_wav(first) : is_mp3(first);
	if (!audio || !content_type_plausible(content_type)) {
		char text[DESCRIBED_BYTES + 1];
		describe(first, text);
		return error_set(error, ERR_MEDIA_TYPE, "expected %s, got \"%.64s\" beginning with \"%s\"",
				 media_extension(format), content_type, text);
	}
	if (format == MEDIA_WAV)
		read_wav_header(first, info);
	return 0;
}

/* All printable ASCII: of random bytes one body in 10^18 is, when MEDIA_PROBE_SIZE of them are looked at. */
static bool is_text(struct slice first)
{
	for (size_t i = 0; i < first.len; i++) {
		unsigned char c = (unsigned char)first.ptr[i];
		if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c > 0x7e)
			return false;
	}
	return true;
}

bool media_may_be_encrypted(const char *content_type, struct slice first)
{
	return first.len == MEDIA_PROBE_SIZE && content_type_plausible(content_type) && !is_text(first) && !is_wav(first);
}

int media_probe_ciphertext(const char *content_type, struct slice first, struct media_info *info, struct error *error)
{
	*info = (struct media_info){.announced = -1};
	if (first.len < MEDIA_PROBE_SIZE)
		return error_set(error, ERR_MEDIA_LENGTH, "%zu bytes are no encrypted recording", first.len);
	if (media_may_be_encrypted(content_type, first))
		return 0;
	char text[DESCRIBED_BYTES + 1];
	describe(first, text);
	return error_set(error, ERR_MEDIA_TYPE, "expected an encrypted recording, got \"%.64s\" beginning with \"%s\"",
			 content_type, text);
}

int media_check_length(const struct media_info *info, int64_t content_length, int64_t received, struct error *error)
{
	if (received <= 0)
		return error_set(error, ERR_MEDIA_LENGTH, "the recording's body is empty");
	if (content_length >= 0 && received != content_length)
		return error_set(error, ERR_MEDIA_LENGTH, "received %lld bytes, Content-Length is %lld", (long long)received,
				 (long long)content_length);
	if (info->announced >= 0 && received < info->announced)
		return error_set(error, ERR_MEDIA_LENGTH, "received %lld bytes, the WAV header announces %lld",
				 (long long)received, (long long)info->announced);
	return 0;
}

const char *media_type_of(enum media_format format)
{
	return format == MEDIA_WAV ? "audio/wav" : "audio/mpeg";
}

const char *media_extension(enum media_format format)
{
	return format == MEDIA_WAV ? "wav" : "mp3";
}
