/* SPDX-License-Identifier: MIT */
/*
 * Structured logging: events with typed fields, one line each, JSON or text, on stderr.
 *
 *   log_event(LOG_INFO, "recording.stored", LOG_STR("recording_sid", sid), LOG_U64("bytes", n));
 *
 * Any thread may log. Lines go into a bounded buffer; once log_attach() was called a libuv pool thread writes it out, so
 * the loop never blocks on a slow reader of stderr; when both halves are full, lines are dropped and the loss is counted
 * and reported. Before attach and after detach lines are written at once.
 *
 * Never pass a secret. Numbers of people go through LOG_PHONE, which keeps the last four digits.
 */
#ifndef REELD_BASE_LOG_H
#define REELD_BASE_LOG_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

enum log_type {
	LOG_TYPE_END,
	LOG_TYPE_STR,
	LOG_TYPE_SLICE,
	LOG_TYPE_I64,
	LOG_TYPE_U64,
	LOG_TYPE_F64,
	LOG_TYPE_BOOL,
	LOG_TYPE_PHONE
};

struct log_field {
	enum log_type type;
	const char *key;
	union {
		const char *str;
		struct slice slice;
		int64_t i64;
		uint64_t u64;
		double f64;
		bool boolean;
	} v;
};

/* A NULL string is left out. */
/* clang-format off */
#define LOG_STR(key_, value_) {LOG_TYPE_STR, (key_), {.str = (value_)}}
#define LOG_SLICE(key_, value_) {LOG_TYPE_SLICE, (key_), {.slice = (value_)}}
#define LOG_I64(key_, value_) {LOG_TYPE_I64, (key_), {.i64 = (int64_t)(value_)}}
#define LOG_U64(key_, value_) {LOG_TYPE_U64, (key_), {.u64 = (uint64_t)(value_)}}
#define LOG_F64(key_, value_) {LOG_TYPE_F64, (key_), {.f64 = (value_)}}
#define LOG_BOOL(key_, value_) {LOG_TYPE_BOOL, (key_), {.boolean = (value_)}}
#define LOG_PHONE(key_, value_) {LOG_TYPE_PHONE, (key_), {.str = (value_)}}
/* clang-format on */

/* Checked inline so that a disabled event costs one comparison. */
extern enum log_level log_threshold;

#ifndef __cppcheck__
#define log_event(level, event, ...)                                                                                \
	do {                                                                                                        \
		if ((level) >= log_threshold)                                                                       \
			log_write((level), (event),                                                                 \
				  (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){LOG_TYPE_END, NULL, {0}}}); \
	} while (0)
#else /* which does not know __VA_OPT__ */
#define log_event(level, event, ...) ((void)(level))
#endif

/* Use log_event. `fields` ends with a LOG_TYPE_END entry; nothing is kept after the call. */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* Level and format; call before threads start. The defaults are LOG_INFO and JSON. */
void log_configure(enum log_level level, enum log_format format);

/* Every line from now on says that it is of worker `number`; negative: none. Call before threads start. */
void log_set_worker(int number);

/* From now on lines are written by the pool of `loop` instead of the caller. */
void log_attach(uv_loop_t *loop);
/*
 * Writes out what is buffered (giving up on a reader that takes nothing for 2 s) and goes back to writing at once. Call outside
 * of callbacks, when the loop has nothing else left: it turns the loop until its own handles are closed, so that
 * uv_loop_close() == 0 afterwards.
 */
void log_detach(void);

/* Lines dropped because the reader was too slow, since start. */
uint64_t log_dropped(void);

/* Writes a phone number or address into out, cut to fit, all but its last 4 characters replaced by '*'. */
void log_mask_phone(const char *number, char *out, size_t size);

#endif
