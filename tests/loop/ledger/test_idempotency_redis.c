/* SPDX-License-Identifier: MIT */
/* Promise P7: a Redis that lies, forgets, is full, slow or gone costs duplicate work, nothing else. */
#include "../support/redis_server.h"
#include "base/clock.h"
#include "ledger/idempotency.h"
#include "ledger_support.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct redis_server server;
static struct idempotency *filter;
static struct idempotency_question question;
static struct idempotency_redis_counts counts;

#define wait_until(condition)                                                                  \
	do {                                                                                   \
		uint64_t deadline_ = clock_mono_ns() + 20 * UINT64_C(1000000000);              \
		while (!(condition)) {                                                         \
			cr_assert(clock_mono_ns() < deadline_, "not in time: %s", #condition); \
			turn_run(&loop);                                                       \
		}                                                                              \
	} while (0)

static void open_with(struct idempotency_redis_options options)
{
	struct error error = {0};
	char url[256];
	if (options.timeout_ms == 0)
		options.timeout_ms = 15000; /* a busy machine is no outage */
	if (options.url == NULL) {
		snprintf(url, sizeof(url), "unix:%s", server.socket);
		options.url = url;
	}
	cr_assert_eq(idempotency_redis_open(&filter, &loop, &options, &error), 0, "%s", error.detail);
}

static void close_filter(void)
{
	bool closed = false;
	idempotency_close(filter, flag_closed, &closed);
	cr_expect_not(closed, "closed came inside the call");
	wait_until(closed);
	filter = NULL;
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(uv_loop_init(&loop), 0);
	redis_server_start(&server);
	open_with((struct idempotency_redis_options){.timeout_ms = 15000});
	wait_until(idempotency_up(filter));
}

static void teardown(void)
{
	if (filter != NULL)
		close_filter();
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
	redis_server_remove(&server);
}

TestSuite(idempotency_redis, .init = setup, .fini = teardown);

/* What Redis says about this recording; NULL in the line's place of the SID is not needed: all tests have one recording. */
#define RE "RE0123456789abcdef0123456789abcdef"
static const struct sid sid = {RE};
#define URL_KEY "reeld:url:" RE
#define SEEN_KEY "reeld:seen:" RE ":completed"

static enum idempotency_answer ask(void)
{
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_eq(question.answer, IDEMPOTENCY_UNKNOWN, "an answer inside the call would keep the event from the journal");
	wait_until(question.pending == NULL);
	idempotency_forget(&question);
	return question.answer;
}

static const struct idempotency_redis_counts *count(void)
{
	idempotency_redis_counts(filter, &counts);
	return &counts;
}

Test(idempotency_redis, keys_and_their_expiry_are_as_documented)
{
	close_filter();
	open_with((struct idempotency_redis_options){.ttl_seen_s = 100, .ttl_archived_s = 200});
	wait_until(idempotency_up(filter));
	cr_expect_str_eq(idempotency_kind(filter), "redis");
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	cr_expect_str_eq(redis_server_do(&server, "GET " SEEN_KEY), "1");
	cr_expect_str_eq(redis_server_do(&server, "GET " URL_KEY), "file:///a.wav");
	int ttl = atoi(redis_server_do(&server, "TTL " SEEN_KEY));
	cr_expect(ttl > 90 && ttl <= 100, "%d", ttl);
	ttl = atoi(redis_server_do(&server, "TTL " URL_KEY));
	cr_expect(ttl > 190 && ttl <= 200, "%d", ttl);
	cr_expect_str_eq(redis_server_do(&server, "DBSIZE"), "2");
	idempotency_clear(filter, &sid);
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	cr_expect_str_eq(redis_server_do(&server, "DBSIZE"), "0");
}

/* The one thing that correctness hangs on, see idempotency.h. */
Test(idempotency_redis, an_answer_never_comes_before_the_loop_turns)
{
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	for (unsigned i = 0; i < 100; i++)
		cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
}

Test(idempotency_redis, a_lie_is_no_answer)
{
	static const char *const lies[] = {
		"SET " URL_KEY " nonsense",
		"SET " URL_KEY " 1://x",
		"SET " URL_KEY " ",
		"SET " URL_KEY " file:///a\nb.wav",
		"SET " URL_KEY " file:///a\x7f.wav",
		"LPUSH " URL_KEY " file:///a.wav",
		"HSET " URL_KEY " file:///a.wav 1",
		"SETRANGE " URL_KEY " 1000000 x",
		"SET " SEEN_KEY " 2",
		"SET " SEEN_KEY " 11",
		"SET " SEEN_KEY " ",
		"SADD " SEEN_KEY " 1",
		"SET " URL_KEY ":completed file:///a.wav",
	};
	char line[IDEMPOTENCY_URL_SIZE + 100];
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		redis_server_do(&server, "%s", lies[i]);
		cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN, "%s", lies[i]);
		cr_expect_str_eq(question.url, "");
		redis_server_do(&server, "FLUSHALL");
	}
	snprintf(line, sizeof(line), "SET " URL_KEY " file:///%0*d", IDEMPOTENCY_URL_SIZE - 8, 0);
	redis_server_do(&server, "%s", line);
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN, "one byte too long");
	cr_expect(idempotency_up(filter), "nothing of this ends the connection");
	cr_expect_eq(count()->known, 0);
	/* With a wrong URL the other key still counts. */
	redis_server_do(&server, "SET " URL_KEY " nonsense");
	redis_server_do(&server, "SET " SEEN_KEY " 1");
	cr_expect_eq(ask(), IDEMPOTENCY_SEEN);
}

Test(idempotency_redis, forgetting_everything_costs_an_answer)
{
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	redis_server_do(&server, "FLUSHALL");
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
}

Test(idempotency_redis, a_full_one_refuses_and_still_answers)
{
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	cr_expect_eq(ask(), IDEMPOTENCY_SEEN);
	redis_server_do(&server, "CONFIG SET maxmemory-policy noeviction");
	redis_server_do(&server, "CONFIG SET maxmemory 1");
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_SEEN, "what it has it tells");
	cr_expect_eq(count()->refused, 1);
	cr_expect(idempotency_up(filter));
	redis_server_do(&server, "CONFIG SET maxmemory 0");
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
}

Test(idempotency_redis, one_that_is_gone_is_not_asked)
{
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	redis_server_kill(&server);
	wait_until(!idempotency_up(filter));
	cr_expect_neq(idempotency_redis_problem(filter)->code, 0);
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_null(question.pending);
	cr_expect_eq(question.answer, IDEMPOTENCY_UNKNOWN);
	idempotency_forget(&question);
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	idempotency_clear(filter, &sid);
	cr_expect_eq(count()->dropped_questions, 1);
	cr_expect_eq(count()->dropped_changes, 3);
	redis_server_start(&server);
	wait_until(idempotency_up(filter));
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
}

Test(idempotency_redis, a_hanging_one_holds_nothing_up)
{
	close_filter();
	open_with((struct idempotency_redis_options){.timeout_ms = 100});
	wait_until(idempotency_up(filter));
	redis_server_signal(&server, SIGSTOP);
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	cr_expect_not_null(question.pending);
	wait_until(question.pending == NULL);
	cr_expect_eq(question.answer, IDEMPOTENCY_UNKNOWN);
	cr_expect_not(idempotency_up(filter));
	cr_expect_eq(count()->dropped_changes, 1, "lost with the connection");
	redis_server_signal(&server, SIGCONT);
	wait_until(idempotency_up(filter));
}

Test(idempotency_redis, beyond_the_limits_they_are_dropped_and_counted)
{
	enum { QUESTIONS = 2000, CHANGES = 6000 };
	static struct idempotency_question questions[QUESTIONS];
	redis_server_signal(&server, SIGSTOP);
	for (unsigned n = 0; n < QUESTIONS; n++) {
		struct sid other = make_sid("RE", n);
		idempotency_ask(filter, &questions[n], &other, RECORDING_COMPLETED);
	}
	for (unsigned n = 0; n < CHANGES; n++) {
		struct sid other = make_sid("RE", n);
		idempotency_set_seen(filter, &other, RECORDING_COMPLETED);
	}
	cr_expect_eq(count()->asked, 1024);
	cr_expect_eq(count()->dropped_questions, QUESTIONS - 1024);
	cr_expect_eq(count()->dropped_changes, CHANGES - 4096);
	redis_server_signal(&server, SIGCONT);
	for (unsigned n = 0; n < QUESTIONS; n++)
		wait_until(questions[n].pending == NULL);
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	cr_expect_str_eq(redis_server_do(&server, "DBSIZE"), "4096");
	cr_expect_eq(count()->asked, 1025, "there is room again");
}

/* The memory of a question is its asker's again once forget returned. */
Test(idempotency_redis, a_forgotten_question_is_never_touched)
{
	enum { COUNT = 100 };
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	for (unsigned turns = 0; turns < 10; turns++) {
		struct idempotency_question *questions = calloc(COUNT, sizeof(*questions));
		for (unsigned i = 0; i < COUNT; i++)
			idempotency_ask(filter, &questions[i], &sid, RECORDING_COMPLETED);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		for (unsigned i = 0; i < COUNT; i++)
			idempotency_forget(&questions[i]);
		memset(questions, 0x5a, COUNT * sizeof(*questions));
		cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
		for (unsigned i = 0; i < COUNT * sizeof(*questions); i++)
			cr_assert_eq(((char *)questions)[i], 0x5a);
		free(questions);
	}
}

Test(idempotency_redis, closing_at_every_turn_with_questions)
{
	enum { COUNT = 20 };
	for (unsigned turns = 0; turns < 30; turns++) {
		static struct idempotency_question questions[COUNT];
		close_filter();
		open_with((struct idempotency_redis_options){0});
		if (turns % 2 == 0)
			wait_until(idempotency_up(filter));
		for (unsigned i = 0; i < COUNT; i++) {
			idempotency_ask(filter, &questions[i], &sid, RECORDING_COMPLETED);
			idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
		}
		for (unsigned i = 0; i < turns / 4; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		close_filter();
		for (unsigned i = 0; i < COUNT; i++)
			cr_expect_null(questions[i].pending);
		open_with((struct idempotency_redis_options){0});
	}
}

/* The rule of docs/redis.md is enough, and one of less is an outage of the filter, not of the program. */
Test(idempotency_redis, the_documented_rights_suffice)
{
	char url[256];
	redis_server_do(&server, "ACL SETUSER reeld on >pw ~reeld:* resetchannels -@all +mget +set +del +ping +select");
	snprintf(url, sizeof(url), "redis://reeld:pw@127.0.0.1:%d/3", server.port);
	close_filter();
	open_with((struct idempotency_redis_options){.url = url});
	wait_until(idempotency_up(filter));
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	cr_expect_eq(ask(), IDEMPOTENCY_SEEN);
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	idempotency_clear(filter, &sid);
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	cr_expect_eq(count()->refused, 0);
	redis_server_do(&server, "ACL SETUSER reeld -set -mget");
	idempotency_set_seen(filter, &sid, RECORDING_COMPLETED);
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	cr_expect_eq(count()->refused, 2);
	cr_expect(idempotency_up(filter));
}

Test(idempotency_redis, environments_with_prefixes_of_their_own_do_not_meet)
{
	struct idempotency *first = filter;
	idempotency_set_archived(filter, &sid, "file:///a.wav");
	cr_expect_eq(ask(), IDEMPOTENCY_ARCHIVED);
	open_with((struct idempotency_redis_options){.prefix = "staging:"});
	wait_until(idempotency_up(filter));
	cr_expect_eq(ask(), IDEMPOTENCY_UNKNOWN);
	close_filter();
	filter = first;
}

Test(idempotency_redis, what_cannot_be_opened)
{
	struct idempotency *other;
	struct error error = {0};
	char prefix[80];
	snprintf(prefix, sizeof(prefix), "%070d", 0);
	const struct idempotency_redis_options options[] = {
		{.url = "http://hunter2@host"}, {.url = "redis://host", .prefix = prefix}, {.url = ""}};
	for (size_t i = 0; i < 3; i++) {
		cr_expect_eq(idempotency_redis_open(&other, &loop, &options[i], &error), ERR_CONFIG);
		cr_expect_null(other);
		cr_expect(strstr(error.detail, "hunter2") == NULL && error.detail[0] != '\0');
	}
}

static size_t used_memory(void)
{
	const char *info = redis_server_do(&server, "INFO memory");
	const char *used = strstr(info, "used_memory:");
	return used == NULL ? 0 : strtoul(used + 12, NULL, 10);
}

/* The figures of docs/redis.md. */
Test(idempotency_redis, memory_of_a_recording_is_as_documented)
{
	enum { COUNT = 4000 };
	char url[256];
	size_t before = used_memory();
	for (unsigned n = 0; n < COUNT; n++) {
		struct sid other = make_sid("RE", n);
		struct sid call = make_sid("CA", n);
		snprintf(url, sizeof(url), "https://s3.eu-central-1.amazonaws.com/my-recordings/recordings/2026/01/02/%s/%s.wav",
			 call.text, other.text);
		idempotency_set_seen(filter, &other, RECORDING_IN_PROGRESS);
		idempotency_set_seen(filter, &other, RECORDING_COMPLETED);
		idempotency_set_archived(filter, &other, url);
		if (n % 1000 == 999)
			ask();
	}
	cr_assert_eq(count()->dropped_changes, 0);
	struct sid first = make_sid("RE", 0);
	size_t seen = strtoul(redis_server_do(&server, "MEMORY USAGE reeld:seen:%s:completed", first.text), NULL, 10);
	size_t archived = strtoul(redis_server_do(&server, "MEMORY USAGE reeld:url:%s", first.text), NULL, 10);
	size_t each = (used_memory() - before) / COUNT;
	fprintf(stderr, "seen %zu, url %zu, in all %zu bytes a recording\n", seen, archived, each);
	cr_expect_leq(seen, 160);
	cr_expect_leq(archived, 360);
	cr_expect_leq(each, 800);
}
