/* SPDX-License-Identifier: MIT */
/*
 * The deterministic object key of a recording: {prefix}{YYYY}/{MM}/{DD}/{CallSid or ConferenceSid}/{RecordingSid}.{wav|mp3}.
 * Same inputs, same key, on every try and every replica. Pure.
 */
#ifndef REELD_STORAGE_KEY_H
#define REELD_STORAGE_KEY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * `instant_ms`: RecordingStartTime in epoch milliseconds, else when the event was received. `parent_sid`: CallSid or
 * ConferenceSid. `extension`: "wav" or "mp3". Writes a NUL-terminated key; returns its length, or -1 when it does not
 * fit, an input is not a SID (nothing that came from outside can add a path component) or the instant is outside the
 * years 1970 to 9999.
 */
int reeld_storage_key(char *out, size_t size, const char *prefix, int64_t instant_ms, const char *parent_sid,
		      const char *recording_sid, const char *extension);

#ifdef __cplusplus
}
#endif
#endif
