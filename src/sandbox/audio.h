/* SPDX-License-Identifier: MIT */
/*
 * The bytes of made-up recordings. Any part of any recording can be written at any time, from its key and length alone: nothing is kept, so
 * recordings of gigabytes and millions of them cost no memory. Pure.
 *
 * WAV: 8 kHz, 16-bit PCM, a quiet tone under quiet noise (sources for the layout: RIFF/WAVE, Microsoft Multimedia Programming Interface 1.0).
 * MP3: an ID3v2.3 tag, then silent MPEG-2 layer III frames of 32 kbit/s at 16 kHz whose ancillary bytes differ per recording (ISO 13818-3, id3.org).
 */
#ifndef REELD_SANDBOX_AUDIO_H
#define REELD_SANDBOX_AUDIO_H

#include <stddef.h>
#include <stdint.h>

enum audio_format { AUDIO_WAV, AUDIO_MP3 };

#define AUDIO_WAV_HEADER 44
#define AUDIO_SAMPLE_RATE 8000
/* A recording has at least this many bytes (one MP3 tag and frame) and at most what a WAV header can say. */
#define AUDIO_MIN_BYTES 256
#define AUDIO_MAX_BYTES (UINT64_C(0xffffffff) - 64)

struct audio {
	enum audio_format format;
	int channels;   /* 1 or 2; an MP3 says 1 whatever it is */
	uint64_t key;   /* equal keys, equal bytes */
	uint64_t bytes; /* of the whole file */
};

/* `bytes` within AUDIO_MIN_BYTES and AUDIO_MAX_BYTES; a WAV is cut to whole sample frames (at most 3 bytes less). */
struct audio audio_make(enum audio_format format, int channels, uint64_t key, uint64_t bytes);

/* Writes the bytes [offset, offset + len) of the file; the range must lie within it. */
void audio_read(const struct audio *media, uint64_t offset, void *out, size_t len);

/* Whole seconds, rounded up, at least 1. */
uint64_t audio_seconds(const struct audio *media);

/* "audio/x-wav" or "audio/mpeg", as Twilio sends them. */
const char *audio_content_type(enum audio_format format);

#endif
