/* SPDX-License-Identifier: MIT */
/*
 * The bytes of made-up recordings. Any part of any recording can be written at any time, from its key and length alone: nothing is kept, so
 * recordings of gigabytes and millions of them cost no memory. Pure.
 *
 * WAV: 8 kHz, 16-bit PCM, a quiet tone under quiet noise (sources for the layout: RIFF/WAVE, Microsoft Multimedia Programming Interface 1.0).
 * MP3: an ID3v2.3 tag, then silent MPEG-2 layer III frames of 32 kbit/s at 16 kHz whose ancillary bytes differ per recording (ISO 13818-3, id3.org).
 */
#ifndef REELD_SANDBOX_MEDIA_H
#define REELD_SANDBOX_MEDIA_H

#include <stddef.h>
#include <stdint.h>

enum media_format { MEDIA_WAV, MEDIA_MP3 };

#define MEDIA_WAV_HEADER 44
#define MEDIA_SAMPLE_RATE 8000
/* A recording has at least this many bytes (one MP3 tag and frame) and at most what a WAV header can say. */
#define MEDIA_MIN_BYTES 256
#define MEDIA_MAX_BYTES (UINT64_C(0xffffffff) - 64)

struct media {
	enum media_format format;
	int channels;   /* 1 or 2; an MP3 says 1 whatever it is */
	uint64_t key;   /* equal keys, equal bytes */
	uint64_t bytes; /* of the whole file */
};

/* `bytes` within MEDIA_MIN_BYTES and MEDIA_MAX_BYTES; a WAV is cut to whole sample frames (at most 3 bytes less). */
struct media media_make(enum media_format format, int channels, uint64_t key, uint64_t bytes);

/* Writes the bytes [offset, offset + len) of the file; the range must lie within it. */
void media_read(const struct media *media, uint64_t offset, void *out, size_t len);

/* Whole seconds, rounded up, at least 1. */
uint64_t media_seconds(const struct media *media);

/* "audio/x-wav" or "audio/mpeg", as Twilio sends them. */
const char *media_content_type(enum media_format format);

#endif
