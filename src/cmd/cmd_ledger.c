/* SPDX-License-Identifier: MIT */
#include "cmd/cmd_ledger.h"

#include "base/check.h"
#include "engines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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
	if (engines_open_ledger(&session->ledger, &session->loop, config, owner, false, &error) != 0) {
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
		uv_run(&session->loop, UV_RUN_ONCE);
	if (answer.status != 0)
		cmd_failed(session->command, "%s", request->error.detail);
	return answer.status;
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
