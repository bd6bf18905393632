/* SPDX-License-Identifier: MIT */
/* stderr is a pipe whose other end the test reads, or does not read. */
#include "base/log.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int reader = -1;
static char output[4 * 1024 * 1024];

static void setup(void)
{
	int ends[2];
	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	reader = ends[0];
	fcntl(reader, F_SETFL, O_NONBLOCK);
}

/* Appends what the pipe holds now to `output` and returns it whole. */
static char *read_output(void)
{
	size_t len = strlen(output);
	ssize_t got;
	while ((got = read(reader, output + len, sizeof(output) - 1 - len)) > 0)
		len += (size_t)got;
	return output;
}

static int count_lines(const char *text)
{
	int count = 0;
	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

TestSuite(log, .init = setup);

Test(log, a_json_line_holds_every_field_with_its_type)
{
	log_event(LOG_INFO, "recording.stored", LOG_STR("sid", "RE\"1\n"), LOG_SLICE("part", slice_make("abcdef", 3)),
		  LOG_I64("min", INT64_MIN), LOG_U64("big", UINT64_C(9007199254740993)), LOG_F64("ratio", 0.5),
		  LOG_F64("nan", 0.0 / 0.0), LOG_BOOL("yes", true), LOG_BOOL("no", false), LOG_STR("absent", NULL),
		  LOG_PHONE("from", "+15005550006"));
	json_error_t error;
	json_t *line = json_loads(read_output(), JSON_DECODE_ANY, &error);
	cr_assert_not_null(line, "%s: %s", error.text, output);
	cr_expect_eq(json_object_size(line), 12);
	cr_expect_eq(strlen(json_string_value(json_object_get(line, "time"))), 24);
	cr_expect_str_eq(json_string_value(json_object_get(line, "level")), "info");
	cr_expect_str_eq(json_string_value(json_object_get(line, "event")), "recording.stored");
	cr_expect_str_eq(json_string_value(json_object_get(line, "sid")), "RE\"1\n");
	cr_expect_str_eq(json_string_value(json_object_get(line, "part")), "abc");
	cr_expect_eq(json_integer_value(json_object_get(line, "min")), INT64_MIN);
	cr_expect_eq(json_integer_value(json_object_get(line, "big")), INT64_C(9007199254740993));
	cr_expect_eq(json_real_value(json_object_get(line, "ratio")), 0.5);
	cr_expect(json_is_null(json_object_get(line, "nan")));
	cr_expect(json_is_true(json_object_get(line, "yes")));
	cr_expect(json_is_false(json_object_get(line, "no")));
	cr_expect_str_eq(json_string_value(json_object_get(line, "from")), "********0006");
	json_decref(line);
	log_event(LOG_INFO, "n", LOG_U64("max", UINT64_MAX));
	cr_expect_not_null(strstr(read_output(), "\"max\":18446744073709551615}"));
}

Test(log, a_text_line_quotes_what_could_be_misread)
{
	log_configure(LOG_DEBUG, LOG_FORMAT_TEXT);
	log_event(LOG_DEBUG, "x.y", LOG_STR("a", "plain"), LOG_STR("b", "two words"), LOG_STR("c", ""), LOG_STR("d", "k=v"),
		  LOG_STR("e", "line\nINFO forged"), LOG_U64("n", 7), LOG_BOOL("t", true), LOG_STR("esc", "\x1b[2J"));
	read_output();
	cr_expect_eq(output[23], 'Z');
	cr_expect_str_eq(
		output + 24,
		" DEBUG x.y a=plain b=\"two words\" c=\"\" d=\"k=v\" e=\"line\\nINFO forged\" n=7 t=true esc=\"\\u001b[2J\"\n");
}

Test(log, lines_of_a_worker_say_so)
{
	log_set_worker(3);
	log_event(LOG_INFO, "a.b");
	log_configure(LOG_INFO, LOG_FORMAT_TEXT);
	log_event(LOG_INFO, "a.b");
	log_set_worker(-1);
	log_event(LOG_INFO, "a.b");
	const char *text = read_output();
	cr_expect_not_null(strstr(text, "\"event\":\"a.b\",\"worker\":3}\n"), "%s", text);
	cr_expect_not_null(strstr(text, "INFO  a.b worker=3\n"), "%s", text);
	cr_expect_not_null(strstr(text, "INFO  a.b\n"), "%s", text);
}

/* Other processes write to the same pipe, which takes up to PIPE_BUF without a break. */
Test(log, each_write_ends_with_a_line_where_lines_fit)
{
	int ends[2];
	char piece[8192];
	uv_loop_t loop;
	cr_assert_eq(pipe2(ends, O_DIRECT), 0); /* keeps the borders between writes */
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	fcntl(ends[0], F_SETFL, O_NONBLOCK | O_DIRECT);
	cr_assert_eq(uv_loop_init(&loop), 0);
	log_attach(&loop);
	memset(piece, 'x', 3000);
	for (int i = 0; i < 20; i++)
		log_event(LOG_INFO, "a.b", LOG_SLICE("text", slice_make(piece, (size_t)(1 + 150 * i))));
	log_detach();
	cr_assert_eq(uv_loop_close(&loop), 0);
	int lines = 0;
	for (ssize_t got; (got = read(ends[0], piece, sizeof(piece) - 1)) > 0;) {
		piece[got] = '\0';
		cr_expect_eq(piece[0], '{');
		cr_expect_eq(piece[got - 1], '\n');
		lines += count_lines(piece);
	}
	cr_expect_eq(lines, 20);
}

Test(log, levels_below_the_threshold_are_not_written)
{
	log_configure(LOG_WARN, LOG_FORMAT_JSON);
	log_event(LOG_INFO, "hidden");
	log_event(LOG_WARN, "shown");
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	log_event(LOG_ERROR, "hidden");
	cr_expect_eq(count_lines(read_output()), 1);
	cr_expect_not_null(strstr(output, "shown"));
}

Test(log, long_values_are_cut_and_errno_is_kept)
{
	char *huge = calloc(1, 1024 * 1024);
	memset(huge, 'x', 1024 * 1024 - 1);
	errno = EXDEV;
	log_event(LOG_INFO, "big", LOG_STR("v", huge));
	cr_expect_eq(errno, EXDEV);
	cr_expect_lt(strlen(read_output()), 5000);
	cr_expect_eq(count_lines(output), 1);
	free(huge);
}

static uv_loop_t loop;
static uv_timer_t keeper; /* a loop with no other work would not turn for the log alone */

static void keep(uv_timer_t *timer)
{
	(void)timer;
}

static void attach(void)
{
	cr_assert_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &keeper);
	uv_timer_start(&keeper, keep, 1, 1);
	log_attach(&loop);
}

static void detach(void)
{
	uv_close((uv_handle_t *)&keeper, NULL);
	uv_run(&loop, UV_RUN_DEFAULT); /* returns: the log's handle does not keep the loop alive */
	log_detach();
	cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(log, attached_lines_go_out_in_order_and_do_not_keep_the_loop_alive)
{
	attach();
	for (int i = 0; i < 100; i++)
		log_event(LOG_INFO, "n", LOG_I64("i", i));
	cr_expect_eq(strlen(read_output()), 0, "the caller does not write");
	while (strstr(read_output(), "\"i\":99}") == NULL)
		turn_run(&loop);
	const char *at = output;
	for (int i = 0; i < 100; i++) {
		char expected[32];
		snprintf(expected, sizeof(expected), "\"i\":%d}\n", i);
		at = strstr(at, expected);
		cr_assert_not_null(at, "%d", i);
	}
	detach();
}

Test(log, detach_writes_what_is_left_and_later_lines_go_out_at_once)
{
	attach();
	log_event(LOG_INFO, "before");
	detach();
	cr_expect_not_null(strstr(read_output(), "\"before\""));
	log_event(LOG_INFO, "after");
	cr_expect_not_null(strstr(read_output(), "\"after\""));
	log_detach();
	attach();
	log_event(LOG_INFO, "again");
	detach();
	cr_expect_eq(count_lines(read_output()), 3);
}

Test(log, a_reader_that_stops_costs_lines_not_memory_or_time_and_is_told)
{
	attach();
	uint64_t started = uv_hrtime();
	for (int i = 0; i < 20000; i++) {
		log_event(LOG_INFO, "flood", LOG_STR("v", "0123456789012345678901234567890123456789"));
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	cr_expect_lt(uv_hrtime() - started, UINT64_C(20000000000), "the loop waited for the reader");
	uint64_t dropped = log_dropped();
	cr_expect_gt(dropped, 0);
	/* The reader comes back: all that was kept comes, and the number of what was not. */
	for (int turns = 0; turns < 10000 && strstr(read_output(), "log.dropped") == NULL; turns++)
		turn_run(&loop);
	char told[64];
	snprintf(told, sizeof(told), "\"event\":\"log.dropped\",\"lines\":%llu}", (unsigned long long)dropped);
	cr_expect_not_null(strstr(output, told), "%s", told);
	for (char *line = output, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		cr_assert(line[0] == '{' && end[-1] == '}', "%.*s", (int)(end - line), line);
	cr_expect_eq(log_dropped(), dropped);
	detach();
}

Test(log, detach_gives_up_on_a_reader_that_never_comes_back, .timeout = 20)
{
	attach();
	for (int i = 0; i < 20000; i++)
		log_event(LOG_INFO, "flood", LOG_STR("v", "0123456789012345678901234567890123456789"));
	uint64_t started = uv_hrtime();
	detach();
	cr_expect_lt(uv_hrtime() - started, UINT64_C(8000000000));
}

Test(log, a_closed_stderr_swallows_lines)
{
	attach();
	close(STDERR_FILENO);
	log_event(LOG_INFO, "nowhere");
	detach();
}

static void *log_a_thousand(void *name)
{
	for (int i = 0; i < 1000; i++)
		log_event(LOG_INFO, "thread", LOG_STR("name", name), LOG_I64("i", i));
	return NULL;
}

Test(log, many_threads_log_while_the_loop_turns_and_while_it_detaches)
{
	attach();
	pthread_t threads[4];
	char names[4][2] = {"a", "b", "c", "d"};
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, log_a_thousand, names[i]);
	for (int turn = 0; turn < 200; turn++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		read_output();
	}
	/* The pipe must not fill up: nobody reads while we detach. */
	int null = open("/dev/null", O_WRONLY);
	dup2(null, STDERR_FILENO);
	close(null);
	detach();
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (char *line = read_output(), *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
		cr_assert(line[0] == '{' && end[-1] == '}', "%.*s", (int)(end - line), line);
}

Test(log, masks_all_but_the_last_four)
{
	char out[32];
	log_mask_phone("+15005550006", out, sizeof(out));
	cr_expect_str_eq(out, "********0006");
	log_mask_phone("911", out, sizeof(out));
	cr_expect_str_eq(out, "911");
	log_mask_phone("", out, sizeof(out));
	cr_expect_str_eq(out, "");
	log_mask_phone("sip:somebody@example.com", out, 8);
	cr_expect_str_eq(out, "*******");
	log_mask_phone("x", out, 0);
}
