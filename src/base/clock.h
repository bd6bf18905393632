/* SPDX-License-Identifier: MIT */
/* Time and randomness, the one place they come from. All are thread-safe and do not block. */
#ifndef REELD_BASE_CLOCK_H
#define REELD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since the Unix epoch. */
int64_t clock_wall_ms(void);
/* Monotonic nanoseconds; only differences mean something. */
uint64_t clock_mono_ns(void);

/* Cryptographically secure bytes (getrandom). */
void random_bytes(void *out, size_t len);
/* Uniform in [0, bound); bound 0 gives 0. */
uint64_t random_below(uint64_t bound);
/* For pauses after a failure: half of `most` for certain and the rest by chance, so that those that failed together come back apart. */
uint64_t random_upper_half(uint64_t most);

/* "2026-11-23T23:10:05.123Z" (25 bytes with NUL). */
#define CLOCK_ISO8601_SIZE 25
void clock_format_iso8601(int64_t wall_ms, char out[CLOCK_ISO8601_SIZE]);

/*
 * Parses what RFC 3339 makes of ISO 8601 ("2026-11-23T23:10:05Z", a fraction of any length, "+01:00" for the Z) into epoch
 * milliseconds; 0 or ERR_MALFORMED.
 */
int clock_parse_iso8601(const char *text, size_t len, int64_t *wall_ms);

/* Parses RFC 2822 ("Wed, 20 Apr 2022 23:45:25 +0000", weekday optional, any numeric zone or GMT/UT) into epoch milliseconds; 0 or ERR_MALFORMED. */
int clock_parse_rfc2822(const char *text, size_t len, int64_t *wall_ms);
/* The same instant as Twilio writes it: "Wed, 20 Apr 2022 23:45:25 +0000" (32 bytes with NUL). */
#define CLOCK_RFC2822_SIZE 32
void clock_format_rfc2822(int64_t wall_ms, char out[CLOCK_RFC2822_SIZE]);

#endif
