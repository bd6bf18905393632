/* SPDX-License-Identifier: MIT */
/*
 * Two halves of a bounded buffer. Writers format into the active half under the mutex; the loop, woken by the async handle,
 * swaps the halves and gives the full one to a pool thread. A line that does not fit into the active half while the other is
 * still being written is dropped and counted; the next swap tells how many.
 *
 *   log_write (any thread) -> active half -> async -> swap (loop) -> write(2) (pool thread) -> more? swap again
 *
 * Not attached, there is nobody to swap: the caller writes its own line under the mutex.
 */
#include "base/log.h"

#include "base/buffer.h"
#include "base/check.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#define LOG_HALF_SIZE (256 * 1024)
#define LOG_VALUE_MAX 4096 /* a longer text is cut: one value must not push out a hundred other lines */
#define LOG_DETACH_PATIENCE_NS UINT64_C(2000000000)
#define LOG_POLL_MS 100

enum log_level log_threshold = LOG_INFO;

static struct {
	pthread_mutex_t mutex;
	enum log_format format;
	struct buffer halves[2];
	int active;
	uint64_t dropped;
	uint64_t dropped_told;
	bool attached; /* the loop writes, not the caller */
	bool awake;    /* the async handle was sent and has not run yet; also set while it must not be sent any more */
	bool writing;  /* the pool thread owns the half that is not active */
	/* Loop thread only. */
	uv_loop_t *loop;
	uv_async_t async;
	uv_work_t work;
	bool closed;
	/* Set by log_detach, read by the pool thread: when to give up on a reader that has stopped reading; 0: never. */
	_Atomic uint64_t give_up_ns;
} logger = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.halves = {{.max = LOG_HALF_SIZE}, {.max = LOG_HALF_SIZE}},
};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};
static const char *const level_names_upper[] = {"DEBUG", "INFO", "WARN", "ERROR", "OFF"};

/* ---- Formatting ---- */

static struct slice field_text(const struct log_field *field, char *scratch, size_t scratch_size)
{
	struct slice text = field->v.slice;
	if (field->type == LOG_TYPE_STR)
		text = slice_from_cstr(field->v.str);
	if (field->type == LOG_TYPE_PHONE) {
		log_mask_phone(field->v.str, scratch, scratch_size);
		text = slice_from_cstr(scratch);
	}
	if (text.len > LOG_VALUE_MAX)
		text.len = LOG_VALUE_MAX;
	return text;
}

static bool field_is_text(const struct log_field *field)
{
	return field->type == LOG_TYPE_STR || field->type == LOG_TYPE_SLICE || field->type == LOG_TYPE_PHONE;
}

static bool field_is_left_out(const struct log_field *field)
{
	return (field->type == LOG_TYPE_STR || field->type == LOG_TYPE_PHONE) && field->v.str == NULL;
}

/* Numbers and booleans look the same in both formats. */
static void put_plain_value(struct buffer *line, const struct log_field *field)
{
	switch (field->type) {
	case LOG_TYPE_I64:
		buffer_printf(line, "%" PRId64, field->v.i64);
		break;
	case LOG_TYPE_U64:
		buffer_printf(line, "%" PRIu64, field->v.u64);
		break;
	case LOG_TYPE_F64:
		if (isfinite(field->v.f64))
			buffer_printf(line, "%.9g", field->v.f64);
		else
			buffer_append_cstr(line, "null");
		break;
	case LOG_TYPE_BOOL:
		buffer_append_cstr(line, field->v.boolean ? "true" : "false");
		break;
	case LOG_TYPE_END:
	case LOG_TYPE_STR:
	case LOG_TYPE_SLICE:
	case LOG_TYPE_PHONE:
		REQUIRE(false);
	}
}

static void put_json(struct buffer *line, const char *time, enum log_level level, const char *event, const struct log_field *fields)
{
	buffer_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"", time, level_names[level]);
	buffer_append_json(line, slice_from_cstr(event));
	buffer_append_char(line, '"');
	for (const struct log_field *field = fields; field->type != LOG_TYPE_END; field++) {
		if (field_is_left_out(field))
			continue;
		buffer_append_cstr(line, ",\"");
		buffer_append_json(line, slice_from_cstr(field->key));
		buffer_append_cstr(line, "\":");
		if (!field_is_text(field)) {
			put_plain_value(line, field);
			continue;
		}
		char scratch[64];
		buffer_append_char(line, '"');
		buffer_append_json(line, field_text(field, scratch, sizeof(scratch)));
		buffer_append_char(line, '"');
	}
	buffer_append_cstr(line, "}\n");
}

static bool text_needs_quotes(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7F)
			return true;
	}
	return text.len == 0;
}

static void put_text(struct buffer *line, const char *time, enum log_level level, const char *event, const struct log_field *fields)
{
	buffer_printf(line, "%s %-5s %s", time, level_names_upper[level], event);
	for (const struct log_field *field = fields; field->type != LOG_TYPE_END; field++) {
		if (field_is_left_out(field))
			continue;
		buffer_printf(line, " %s=", field->key);
		if (!field_is_text(field)) {
			put_plain_value(line, field);
			continue;
		}
		char scratch[64];
		struct slice text = field_text(field, scratch, sizeof(scratch));
		if (!text_needs_quotes(text)) {
			buffer_append_slice(line, text);
			continue;
		}
		/* Quoted and escaped: a value from outside can neither forge a line nor move the terminal's cursor. */
		buffer_append_char(line, '"');
		buffer_append_json(line, text);
		buffer_append_char(line, '"');
	}
	buffer_append_char(line, '\n');
}

/* Appends the whole line or nothing. False when it did not fit. */
static bool put_line(struct buffer *half, enum log_level level, const char *event, const struct log_field *fields)
{
	char time[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(clock_wall_ms(), time);
	size_t start = half->len;
	if (logger.format == LOG_FORMAT_JSON)
		put_json(half, time, level, event, fields);
	else
		put_text(half, time, level, event, fields);
	if (!half->failed)
		return true;
	half->failed = false;
	half->len = start;
	return false;
}

/* ---- Writing ---- */

/*
 * Writes to stderr in pieces of at most PIPE_BUF, each after poll said that there is room: a pipe then takes the piece whole
 * and a reader that has stopped cannot hold the thread past give_up_ns. A closed stderr swallows everything.
 */
static void write_out(const char *data, size_t len)
{
	while (len > 0) {
		struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
		int ready = poll(&out, 1, LOG_POLL_MS);
		if (ready < 0 && errno != EINTR)
			return;
		if (ready <= 0) {
			uint64_t give_up_ns = logger.give_up_ns;
			if (give_up_ns != 0 && clock_mono_ns() >= give_up_ns)
				return;
			continue;
		}
		ssize_t written = write(STDERR_FILENO, data, len < PIPE_BUF ? len : PIPE_BUF);
		if (written < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			return;
		}
		data += written;
		len -= (size_t)written;
	}
}

/* Under the mutex. Tells in the log itself that lines are missing. */
static void tell_dropped(struct buffer *half)
{
	uint64_t lost = logger.dropped - logger.dropped_told;
	const struct log_field fields[] = {LOG_U64("lines", lost), {LOG_TYPE_END, NULL, {0}}};
	if (lost > 0 && put_line(half, LOG_WARN, "log.dropped", fields))
		logger.dropped_told = logger.dropped;
}

static void flush_work(uv_work_t *work)
{
	(void)work;
	/* The half is ours until flush_done: nobody swaps while `writing`. */
	struct buffer *half = &logger.halves[1 - logger.active];
	write_out(half->data, half->len);
}

static void flush_done(uv_work_t *work, int status);

/* Under the mutex, loop thread. */
static void flush_start(void)
{
	struct buffer *full = &logger.halves[logger.active];
	if (logger.writing || full->len == 0 || logger.give_up_ns != 0)
		return;
	logger.active = 1 - logger.active;
	logger.writing = true;
	tell_dropped(&logger.halves[logger.active]);
	if (uv_queue_work(logger.loop, &logger.work, flush_work, flush_done) != 0) {
		/* Cannot happen with a work callback given; the lines go out with the next flush. */
		logger.writing = false;
		logger.active = 1 - logger.active;
	}
}

static void flush_done(uv_work_t *work, int status)
{
	(void)work;
	(void)status;
	pthread_mutex_lock(&logger.mutex);
	buffer_clear(&logger.halves[1 - logger.active]);
	logger.writing = false;
	flush_start();
	pthread_mutex_unlock(&logger.mutex);
}

static void flush_wanted(uv_async_t *async)
{
	(void)async;
	pthread_mutex_lock(&logger.mutex);
	logger.awake = logger.give_up_ns != 0;
	flush_start();
	pthread_mutex_unlock(&logger.mutex);
}

/* ---- Public ---- */

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	REQUIRE(level < LOG_OFF);
	int saved_errno = errno;
	pthread_mutex_lock(&logger.mutex);
	struct buffer *half = &logger.halves[logger.active];
	if (!put_line(half, level, event, fields))
		logger.dropped++;
	if (!logger.attached) {
		write_out(half->data, half->len);
		buffer_clear(half);
		tell_dropped(half);
	} else if (!logger.awake) {
		logger.awake = true;
		uv_async_send(&logger.async);
	}
	pthread_mutex_unlock(&logger.mutex);
	errno = saved_errno;
}

void log_configure(enum log_level level, enum log_format format)
{
	log_threshold = level;
	logger.format = format;
}

void log_attach(uv_loop_t *loop)
{
	REQUIRE(!logger.attached);
	if (uv_async_init(loop, &logger.async, flush_wanted) != 0)
		return;
	uv_unref((uv_handle_t *)&logger.async);
	pthread_mutex_lock(&logger.mutex);
	logger.loop = loop;
	logger.closed = false;
	logger.give_up_ns = 0;
	logger.awake = false;
	logger.attached = true;
	pthread_mutex_unlock(&logger.mutex);
}

static void async_closed(uv_handle_t *handle)
{
	(void)handle;
	logger.closed = true;
}

void log_detach(void)
{
	if (!logger.attached)
		return;
	pthread_mutex_lock(&logger.mutex);
	logger.give_up_ns = clock_mono_ns() + LOG_DETACH_PATIENCE_NS;
	logger.awake = true;
	pthread_mutex_unlock(&logger.mutex);
	uv_close((uv_handle_t *)&logger.async, async_closed);
	while (!logger.closed || logger.writing)
		uv_run(logger.loop, UV_RUN_ONCE);

	pthread_mutex_lock(&logger.mutex);
	struct buffer *half = &logger.halves[logger.active];
	tell_dropped(half);
	write_out(half->data, half->len);
	buffer_free(&logger.halves[0]);
	buffer_free(&logger.halves[1]);
	logger.give_up_ns = 0;
	logger.attached = false;
	pthread_mutex_unlock(&logger.mutex);
}

uint64_t log_dropped(void)
{
	pthread_mutex_lock(&logger.mutex);
	uint64_t dropped = logger.dropped;
	pthread_mutex_unlock(&logger.mutex);
	return dropped;
}

bool log_level_parse(struct slice text, enum log_level *level)
{
	for (int i = LOG_DEBUG; i <= LOG_OFF; i++) {
		if (slice_equal(text, slice_from_cstr(level_names[i]))) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool log_format_parse(struct slice text, enum log_format *format)
{
	bool json = slice_equal(text, SLICE("json"));
	if (!json && !slice_equal(text, SLICE("text")))
		return false;
	*format = json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	return true;
}

void log_mask_phone(const char *number, char *out, size_t size)
{
	if (size == 0)
		return;
	size_t len = strlen(number);
	size_t i = 0;
	for (; i < len && i + 1 < size; i++)
		out[i] = i + 4 < len ? '*' : number[i];
	out[i] = '\0';
}
