/* SPDX-License-Identifier: MIT */
/*
 * Two halves of a bounded buffer. Writers format into the active half under the mutex; the loop, woken by the async handle,
 * swaps the halves and gives the full one to a pool thread. A line that does not fit into the active half while the other is
 * still being written is dropped and counted; the next swap tells how many.
 *
 *   log_write (any thread) -> active half -> async -> swap (loop) -> write(2) (pool thread) -> more? swap again
 *                                                                        +-- reader stalled -> timer -> write(2)
 *
 * A reader that has stopped holds no pool thread and, because the timer is unreferenced, no loop.
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
#include <reeld/phone.h>
#include <string.h>
#include <unistd.h>

#define LOG_HALF_SIZE (256 * 1024)
#define LOG_VALUE_MAX 4096 /* a longer text is cut: one value must not push out a hundred other lines */
#define LOG_STALL_MS 50    /* how long a pool thread waits for a reader, and how long it is then left alone */
#define LOG_DETACH_PATIENCE_MS 2000
#define LOG_ALONE_PATIENCE_MS 2000

enum log_level log_threshold = LOG_INFO;

static struct {
	pthread_mutex_t mutex;
	enum log_format format;
	int worker; /* negative: none */
	struct buffer halves[2];
	int active;
	uint64_t dropped;
	uint64_t dropped_told;
	bool attached; /* the loop writes, not the caller */
	bool awake;    /* the async handle was sent and has not run yet */
	bool closing;  /* the async handle must not be sent any more */
	/* Loop thread only; `written` belongs to the pool thread while `working`. */
	uv_loop_t *loop;
	uv_async_t async;
	uv_timer_t retry;
	uv_work_t work;
	bool working;
	size_t written; /* of the half that is not active; the rest is still to be written */
	int open_handles;
} logger = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.worker = -1,
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

static void put_json(struct buffer *line, const char *time, enum log_level level, const char *event,
		     const struct log_field *fields)
{
	buffer_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"", time, level_names[level]);
	buffer_append_json(line, slice_from_cstr(event));
	buffer_append_char(line, '"');
	if (logger.worker >= 0)
		buffer_printf(line, ",\"worker\":%d", logger.worker);
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

static void put_text(struct buffer *line, const char *time, enum log_level level, const char *event,
		     const struct log_field *fields)
{
	buffer_printf(line, "%s %-5s %s", time, level_names_upper[level], event);
	if (logger.worker >= 0)
		buffer_printf(line, " worker=%d", logger.worker);
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

/* Whole lines where they fit into PIPE_BUF: what other processes write to the same pipe then comes between lines only. */
static size_t piece_of(const char *data, size_t len)
{
	if (len <= PIPE_BUF)
		return len;
	const char *end = memrchr(data, '\n', PIPE_BUF);
	return end == NULL ? PIPE_BUF : (size_t)(end + 1 - data);
}

/*
 * Writes to stderr until the reader took nothing for patience_ms; returns how much was taken. In pieces of at most PIPE_BUF,
 * each after poll said that there is room: a pipe then takes the piece whole and the write does not block. A closed stderr
 * takes everything.
 */
static size_t write_out(const char *data, size_t len, int patience_ms)
{
	size_t written = 0;
	while (written < len) {
		struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
		int ready = poll(&out, 1, patience_ms);
		if (ready == 0)
			return written;
		ssize_t got = ready < 0 ? -1 : write(STDERR_FILENO, data + written, piece_of(data + written, len - written));
		if (got >= 0)
			written += (size_t)got;
		else if (errno != EINTR && errno != EAGAIN)
			return len;
	}
	return written;
}

/* Under the mutex. Tells in the log itself that lines are missing. */
static void tell_dropped(struct buffer *half)
{
	uint64_t lost = logger.dropped - logger.dropped_told;
	const struct log_field fields[] = {LOG_U64("lines", lost), {LOG_TYPE_END, NULL, {0}}};
	if (lost > 0 && put_line(half, LOG_WARN, "log.dropped", fields))
		logger.dropped_told = logger.dropped;
}

/* The half that is being written: nobody else touches it, because halves are swapped only when it is empty. */
static struct buffer *passive_half(void)
{
	return &logger.halves[1 - logger.active];
}

static void flush_work(uv_work_t *work)
{
	(void)work;
	struct buffer *half = passive_half();
	logger.written += write_out(half->data + logger.written, half->len - logger.written, LOG_STALL_MS);
}

static void flush_done(uv_work_t *work, int status);

/* Loop thread. Writes on where the passive half stands, or swaps when it is empty and there is something new. */
static void flush_start(void)
{
	if (logger.working || logger.closing)
		return;
	pthread_mutex_lock(&logger.mutex);
	if (passive_half()->len == 0 && logger.halves[logger.active].len > 0) {
		logger.active = 1 - logger.active;
		tell_dropped(&logger.halves[logger.active]);
	}
	pthread_mutex_unlock(&logger.mutex);
	if (passive_half()->len > 0)
		logger.working = uv_queue_work(logger.loop, &logger.work, flush_work, flush_done) == 0;
}

static void flush_retry(uv_timer_t *timer)
{
	(void)timer;
	flush_start();
}

static void flush_done(uv_work_t *work, int status)
{
	(void)work;
	(void)status;
	logger.working = false;
	if (logger.written == passive_half()->len) {
		buffer_clear(passive_half());
		logger.written = 0;
		flush_start();
	} else if (!logger.closing) {
		uv_timer_start(&logger.retry, flush_retry, LOG_STALL_MS, 0);
	}
}

static void flush_wanted(uv_async_t *async)
{
	(void)async;
	pthread_mutex_lock(&logger.mutex);
	logger.awake = false;
	pthread_mutex_unlock(&logger.mutex);
	if (!uv_is_active((uv_handle_t *)&logger.retry))
		flush_start();
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
		write_out(half->data, half->len, LOG_ALONE_PATIENCE_MS);
		buffer_clear(half);
	} else if (!logger.awake && !logger.closing) {
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

void log_set_worker(int number)
{
	logger.worker = number;
}

void log_attach(uv_loop_t *loop)
{
	REQUIRE(!logger.attached);
	if (uv_async_init(loop, &logger.async, flush_wanted) != 0)
		return;
	uv_timer_init(loop, &logger.retry);
	uv_unref((uv_handle_t *)&logger.async);
	uv_unref((uv_handle_t *)&logger.retry);
	pthread_mutex_lock(&logger.mutex);
	logger.loop = loop;
	logger.open_handles = 2;
	logger.awake = false;
	logger.closing = false;
	logger.attached = true;
	pthread_mutex_unlock(&logger.mutex);
}

static void handle_closed(uv_handle_t *handle)
{
	(void)handle;
	logger.open_handles--;
}

void log_detach(void)
{
	if (!logger.attached)
		return;
	pthread_mutex_lock(&logger.mutex);
	logger.closing = true;
	pthread_mutex_unlock(&logger.mutex);
	uv_close((uv_handle_t *)&logger.async, handle_closed);
	uv_close((uv_handle_t *)&logger.retry, handle_closed);
	while (logger.open_handles > 0 || logger.working)
		uv_run(logger.loop, UV_RUN_ONCE);

	pthread_mutex_lock(&logger.mutex);
	struct buffer *older = passive_half();
	struct buffer *newer = &logger.halves[logger.active];
	size_t rest = older->len - logger.written;
	tell_dropped(newer);
	if (write_out(older->data + logger.written, rest, LOG_DETACH_PATIENCE_MS) == rest)
		write_out(newer->data, newer->len, LOG_DETACH_PATIENCE_MS);
	buffer_free(older);
	buffer_free(newer);
	logger.written = 0;
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

void log_mask_phone(const char *number, char *out, size_t size)
{
	reeld_phone_mask(number, strlen(number), out, size);
}
