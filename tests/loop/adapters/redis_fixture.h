/* SPDX-License-Identifier: MIT */
/* A loop, a client on it, and requests that are counted. For tests of adapters/redis.h. */
#ifndef REELD_TESTS_LOOP_ADAPTERS_REDIS_FIXTURE_H
#define REELD_TESTS_LOOP_ADAPTERS_REDIS_FIXTURE_H

#include "adapters/redis.h"
#include "base/clock.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uv_loop_t loop;
static uv_timer_t tick; /* so that waiting ends though nothing happens */
static struct redis *redis;
static char log_path[64];

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

#define wait_until(condition)                                                                  \
	do {                                                                                   \
		uint64_t deadline_ = clock_mono_ns() + 20 * UINT64_C(1000000000);              \
		while (!(condition)) {                                                         \
			cr_assert(clock_mono_ns() < deadline_, "not in time: %s", #condition); \
			turn_run(&loop);                                                       \
		}                                                                              \
	} while (0)

static inline void fixture_setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, 5, 5);
	/* What is logged goes into a file, to be looked at. */
	snprintf(log_path, sizeof(log_path), "/tmp/reeld-redis-log-XXXXXX");
	int fd = mkstemp(log_path);
	cr_assert(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

static inline const char *logged(void)
{
	static char text[65536];
	FILE *file = fopen(log_path, "r");
	cr_assert_not_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static inline unsigned times_logged(const char *what)
{
	unsigned count = 0;
	for (const char *at = strstr(logged(), what); at != NULL; at = strstr(at + 1, what))
		count++;
	return count;
}

static inline void on_closed(void *data)
{
	*(bool *)data = true;
}

static inline void close_client(void)
{
	bool closed = false;
	redis_close(redis, on_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	wait_until(closed);
	redis = NULL;
}

static inline void fixture_teardown(void)
{
	if (redis != NULL)
		close_client();
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	unlink(log_path);
}

/* Quick in everything; a test that wants otherwise has its own options. */
static inline struct redis_options quick(const char *url)
{
	return (struct redis_options){
		.url = url, .command_timeout_ms = 15000, .backoff_min_ms = 5, .backoff_max_ms = 40, .refused_ms = 40};
}

static inline void open_client(const struct redis_options *options)
{
	struct error error = {0};
	cr_assert_eq(redis_open(&redis, &loop, options, &error), 0, "%s", error.detail);
}

static inline void open_url(const char *url)
{
	struct redis_options options = quick(url);
	open_client(&options);
}

struct asked {
	struct redis_request request;
	unsigned done;
	int status;
	enum redis_answer_kind kind;
	int64_t integer;
	size_t count;
	char text[128];
};

static inline void asked_done(struct redis_request *request, int status, const struct redis_answer *answer)
{
	struct asked *asked = request->data;
	asked->done++;
	asked->status = status;
	cr_expect_eq(status == 0, answer != NULL);
	if (answer == NULL)
		return;
	asked->kind = answer->kind;
	asked->integer = answer->integer;
	asked->count = answer->count;
	snprintf(asked->text, sizeof(asked->text), "%.*s", SLICE_FMT(answer->text));
}

static inline int start(struct asked *asked, const char *line)
{
	struct slice words[REDIS_MAX_ARGUMENTS];
	size_t count = 0;
	memset(asked, 0, sizeof(*asked));
	asked->request.done = asked_done;
	asked->request.data = asked;
	for (const char *word = line; word != NULL; count++) {
		const char *blank = strchr(word, ' ');
		words[count] = blank == NULL ? slice_from_cstr(word) : slice_make(word, (size_t)(blank - word));
		word = blank == NULL ? NULL : blank + 1;
	}
	int err = redis_start(redis, &asked->request, words, count);
	cr_expect_eq(asked->done, 0, "done came inside the call");
	return err;
}

static inline const char *ask(struct asked *asked, const char *line)
{
	cr_assert_eq(start(asked, line), 0, "%s", line);
	wait_until(asked->done == 1);
	return asked->text;
}

#endif
