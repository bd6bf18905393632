/* SPDX-License-Identifier: MIT */
#include "cmd/cmd_ledger.h"

#include "base/check.h"
#include "base/turn.h"
#include "engines.h"
#include "ledger/idempotency.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FORGET_MS 2000 /* Redis has so long to connect and to answer */

int cmd_failed(const char *command, const char *format, ...)
{
	va_list args;
	fflush(stdout);
	fprintf(stderr, "reeld %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return CMD_FAILED;
}

int cmd_ledger_open(struct cmd_ledger *session, const struct config *config, const char *command)
{
	char path[4096];
	char owner[LEDGER_OWNER_SIZE];
	struct error error = {0};
	session->command = command;
	if (cmd_become_owner(command, config->data_dir) != CMD_OK)
		return CMD_FAILED;
	if (ledger_sqlite_path(config->data_dir, path, sizeof(path)) != 0)
		return cmd_failed(command, "DATA_DIR is too long");
	if (!engines_use_postgres(config) && access(path, F_OK) != 0)
		return cmd_failed(command, "no ledger at %s (%s): is DATA_DIR the one that reeld runs with?", path,
				  strerror(errno));
	snprintf(owner, sizeof(owner), "cli:%ld", (long)getpid());
	REQUIRE(uv_loop_init(&session->loop) == 0);
	if (engines_open_ledger(&session->ledger, &session->loop, config, owner, ENGINES_COMMAND, &error) != 0) {
		REQUIRE(uv_loop_close(&session->loop) == 0);
		return cmd_failed(command, "%s", error.detail);
	}
	return CMD_OK;
}

struct answer {
	bool come;
	int status;
};

static void request_done(struct ledger_request *request, int status)
{
	*(struct answer *)request->data = (struct answer){true, status};
}

int cmd_ledger_run(struct cmd_ledger *session, struct ledger_request *request)
{
	struct answer answer = {0};
	request->done = request_done;
	request->data = &answer; // cppcheck-suppress autoVariables ; the answer comes before this returns
	ledger_submit(session->ledger, request);
	while (!answer.come)
		turn_run(&session->loop);
	if (answer.status != 0)
		cmd_failed(session->command, "%s", request->error.detail);
	return answer.status;
}

static void forget_timeout(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

/* Until it is up, says why not, or the time is over; then until the answers are there, which come in the order of the questions. */
static bool forget_in(struct cmd_ledger *session, struct idempotency *filter, const struct sid *sid, const bool *over)
{
	struct idempotency_question question = {0};
	while (!*over && !idempotency_up(filter) && idempotency_redis_problem(filter)->code == 0)
		uv_run(&session->loop, UV_RUN_ONCE);
	if (!idempotency_up(filter))
		return false;
	idempotency_clear(filter, sid);
	idempotency_ask(filter, &question, sid, RECORDING_COMPLETED);
	while (!*over && question.pending != NULL)
		uv_run(&session->loop, UV_RUN_ONCE);
	bool done = question.pending == NULL && idempotency_up(filter);
	idempotency_forget(&question);
	return done;
}

static void forget_closed(void *data)
{
	*(bool *)data = true;
}

static void forget_timer_closed(uv_handle_t *timer)
{
	*(bool *)timer->data = true;
}

void cmd_ledger_forget(struct cmd_ledger *session, const struct config *config, const struct sid *sid)
{
	struct idempotency *filter;
	struct error error = {0};
	uv_timer_t timer;
	bool over = false;
	if (config->redis_url == NULL)
		return;
	if (engines_open_filter(&filter, &session->loop, config, &error) != 0) {
		cmd_failed(session->command, "Redis still names %s: %s", sid->text, error.detail);
		return;
	}
	REQUIRE(uv_timer_init(&session->loop, &timer) == 0);
	timer.data = &over; // cppcheck-suppress autoVariables ; closed before this returns
	uv_timer_start(&timer, forget_timeout, FORGET_MS, 0);
	if (!forget_in(session, filter, sid, &over))
		cmd_failed(session->command, "Redis cannot be reached and may name the deleted %s for up to seven days",
			   sid->text);
	bool timer_closed = false;
	bool filter_closed = false;
	timer.data = &timer_closed;
	uv_close((uv_handle_t *)&timer, forget_timer_closed);
	idempotency_close(filter, forget_closed, &filter_closed);
	while (!timer_closed || !filter_closed)
		uv_run(&session->loop, UV_RUN_ONCE);
}

static void ledger_closed(void *data)
{
	(void)data;
}

void cmd_ledger_close(struct cmd_ledger *session)
{
	ledger_close(session->ledger, ledger_closed, NULL);
	uv_run(&session->loop, UV_RUN_DEFAULT);
	REQUIRE(uv_loop_close(&session->loop) == 0);
}
