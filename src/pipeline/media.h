/* SPDX-License-Identifier: MIT */
/*
 * Is this audio, and all of it? Twilio answers errors with XML that must never become a "recording" (promise P5). Pure: bytes in,
 * verdict out.
 *
 * WAV: RIFF chunk, https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. MP3: an ID3v2 tag
 * (https://id3.org/id3v2.3.0) or an MPEG audio frame header (ISO/IEC 11172-3, 2.4.1.3).
 */
#ifndef REELD_PIPELINE_MEDIA_H
#define REELD_PIPELINE_MEDIA_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum media_format { MEDIA_WAV, MEDIA_MP3 };

/* The first bytes that are looked at; more are needed only when the whole body is shorter. Covers a canonical WAV header. */
#define MEDIA_PROBE_SIZE 44

struct media_info {
	int64_t announced; /* bytes of the whole file as its own header says; -1: it does not */
	int channels;      /* as its own header says; 0: it does not */
};

/*
 * Judges `first`, the body's first MEDIA_PROBE_SIZE bytes or all of a shorter body, and the Content-Type ("" when there was none:
 * then the bytes alone decide). 0 and *info; ERR_MEDIA_TYPE (not this format) or ERR_MEDIA_LENGTH (empty) with *error saying what
 * came instead.
 */
int media_probe(enum media_format format, const char *content_type, struct slice first, struct media_info *info,
		struct error *error);

/*
 * The same of a recording that is archived as Twilio encrypted it: whether its bytes are audio only the key can tell. What can be told: the Content-Type
 * names audio or plain bytes, the bytes are not text (an error page, whatever it is called) and not an unencrypted WAV.
 */
int media_probe_ciphertext(const char *content_type, struct slice first, struct media_info *info, struct error *error);
/* ERR_MEDIA_TYPE came from audio's Content-Type with bytes that are neither the format nor text: it may be encrypted. Pure. */
bool media_may_be_encrypted(const char *content_type, struct slice first);
#define MEDIA_TYPE_CIPHERTEXT "application/octet-stream"
/* Less than a WAV header and a tag is no encrypted WAV. */
#define MEDIA_CIPHERTEXT_MIN (44 + 16)

/*
 * After the last byte: is `received` all there was to come? `content_length` -1: not announced. A WAV whose header announces more
 * than came is truncated; more bytes than announced (a pad byte, trailing chunks) are no harm. 0 or ERR_MEDIA_LENGTH.
 */
int media_check_length(const struct media_info *info, int64_t content_length, int64_t received, struct error *error);

const char *media_type_of(enum media_format format);   /* "audio/wav", "audio/mpeg" */
const char *media_extension(enum media_format format); /* "wav", "mp3" */

#endif
