/* SPDX-License-Identifier: MIT */
/* reeld jobs: what is pending, running or dead; one recording with its trail; putting dead ones back; dropping one. */
#include "base/clock.h"
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "cmd/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USAGE "reeld jobs list | show SID | retry SID | retry --all-dead | drop SID"
static const char usage[] = USAGE;
const char cmd_jobs_help[] = "usage: " USAGE "\n"
			     "\n"
			     "What is pending, running or dead in the ledger. Works beside a running daemon, which takes up what "
			     "is put back within seconds.\n"
			     "\n"
			     "  list                  what is not at its end: state, attempts, next attempt, last error\n"
			     "  show SID              everything known of one recording, and its history\n"
			     "  retry SID             put one back, with all its attempts\n"
			     "  retry --all-dead      put all dead ones back\n"
			     "  drop SID              give one up for good\n";

#define RETRY_STEP 500

static int jobs_list(struct cmd_ledger *session)
{
	static const char *const headings[] = {"RECORDING", "STATUS", "ATTEMPTS", "RECEIVED", "NEXT", "OWNER", "LAST ERROR"};
	static const int widths[] = {SID_LEN, 7, 8, 20, 20, 24, 10};
	struct table table;
	char cursor[64] = "";
	int status;
	table_init(&table, stdout, isatty(STDOUT_FILENO) == 1, 7, headings, widths);
	do {
		struct ledger_request request = {.op = LEDGER_LIST, .status_filter = -2, .cursor = cursor};
		status = cmd_ledger_run(session, &request);
		for (size_t i = 0; i < request.recording_count; i++) {
			const struct ledger_recording *recording = &request.recordings[i];
			table_cell(&table, "%s", recording->job.recording_sid.text);
			table_cell(&table, "%s", ledger_status_name(recording->status));
			table_cell(&table, "%d", recording->job.attempts);
			table_time(&table, recording->job.received_at_ms);
			table_time(&table, recording->next_attempt_ms);
			table_cell(&table, "%s", recording->lease_owner);
			table_cell(&table, "%s", recording->last_error);
		}
		memcpy(cursor, request.next_cursor, sizeof(cursor));
		ledger_request_release(&request);
	} while (status == 0 && cursor[0] != '\0');
	return status == 0 ? CMD_OK : CMD_FAILED;
}

static void show_text(struct table *table, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	table_cell(table, "%s", name);
	table_cell(table, "%s", value);
}

static void show_number(struct table *table, const char *name, int64_t value, int64_t none)
{
	if (value == none)
		return;
	table_cell(table, "%s", name);
	table_cell(table, "%" PRId64, value);
}

static void show_time(struct table *table, const char *name, int64_t wall_ms)
{
	if (wall_ms == -1)
		return;
	table_cell(table, "%s", name);
	table_time(table, wall_ms);
}

static void show_recording(const struct ledger_recording *recording, bool aligned)
{
	static const char *const headings[] = {"FIELD", "VALUE"};
	static const int widths[] = {20, 10};
	const struct ledger_job *job = &recording->job;
	struct table table;
	table_init(&table, stdout, aligned, 2, headings, widths);
	show_text(&table, "recording_sid", job->recording_sid.text);
	show_text(&table, "status", ledger_status_name(recording->status));
	show_text(&table, "account_sid", job->account_sid.text);
	show_text(&table, "call_sid", job->call_sid.text);
	show_text(&table, "conference_sid", job->conference_sid.text);
	show_number(&table, "attempts", job->attempts, -1);
	show_time(&table, "received_at", job->received_at_ms);
	show_time(&table, "next_attempt_at", recording->next_attempt_ms);
	show_text(&table, "lease_owner", recording->lease_owner);
	show_time(&table, "lease_expires_at", recording->lease_expires_ms);
	show_text(&table, "last_error", recording->last_error);
	show_text(&table, "source", job->source);
	show_number(&table, "channels", job->channels, 0);
	show_number(&table, "duration", job->duration_s, -1);
	show_time(&table, "start_time", job->start_time_ms);
	show_text(&table, "key", job->key);
	show_text(&table, "url", job->url);
	if (job->stored)
		show_number(&table, "bytes", job->bytes, -1);
	show_text(&table, "md5", recording->md5);
	show_text(&table, "sha256", job->sha256);
	show_text(&table, "content_type", recording->content_type);
	show_text(&table, "encryption", job->encryption);
	show_time(&table, "stored_at", recording->stored_at_ms);
	show_time(&table, "deleted_at_twilio_at", recording->deleted_at_twilio_ms);
}

static int jobs_show(struct cmd_ledger *session, const struct sid *sid)
{
	static const char *const headings[] = {"WHEN", "WHAT", "DETAIL"};
	static const int widths[] = {20, 10, 10};
	bool aligned = isatty(STDOUT_FILENO) == 1;
	struct table table;
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = *sid};
	int status = cmd_ledger_run(session, &request);
	if (status == 0) {
		show_recording(&request.recordings[0], aligned);
		putchar('\n');
		table_init(&table, stdout, aligned, 3, headings, widths);
		for (size_t i = 0; i < request.audit_count; i++) {
			table_time(&table, request.audit[i].at_ms);
			table_cell(&table, "%s", request.audit[i].what);
			table_cell(&table, "%s", request.audit[i].detail);
		}
	}
	ledger_request_release(&request);
	return status == 0 ? CMD_OK : CMD_FAILED;
}

/* What the recording is, for the message why nothing was changed. */
static int nothing_to_do(struct cmd_ledger *session, const struct sid *sid, const char *verb)
{
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = *sid};
	if (cmd_ledger_run(session, &request) == 0) {
		enum ledger_status status = request.recordings[0].status;
		if (status == LEDGER_PENDING && request.recordings[0].next_attempt_ms == -1)
			cmd_failed("jobs", "%s waits for Twilio to say completed: nothing to %s yet", sid->text, verb);
		else
			cmd_failed("jobs", "%s is %s: nothing to %s", sid->text, ledger_status_name(status), verb);
	}
	ledger_request_release(&request);
	return CMD_FAILED;
}

static int jobs_change(struct cmd_ledger *session, const struct sid *sid, enum ledger_op op, const char *verb, const char *now)
{
	struct ledger_request request = {.op = op, .recording_sid = *sid};
	int status = cmd_ledger_run(session, &request);
	size_t changed = request.changed;
	ledger_request_release(&request);
	if (status != 0)
		return CMD_FAILED;
	if (changed == 0)
		return nothing_to_do(session, sid, verb);
	printf("%s is %s\n", sid->text, now);
	return CMD_OK;
}

/* In steps, so that a running daemon is not kept from the ledger; on a terminal each step shows. No more than were dead at the start: what dies again is not put back. */
static int jobs_retry_all(struct cmd_ledger *session)
{
	bool progress = isatty(STDOUT_FILENO) == 1;
	size_t total = 0;
	struct ledger_request counts = {.op = LEDGER_COUNTS};
	int status = cmd_ledger_run(session, &counts);
	int64_t dead = counts.counts[LEDGER_DEAD];
	ledger_request_release(&counts);
	char cursor[sizeof(((struct ledger_request *)NULL)->next_cursor)] = "";
	do {
		struct ledger_request request = {.op = LEDGER_RETRY, .all_dead = true, .limit = RETRY_STEP, .cursor = cursor};
		status = status != 0 ? status : cmd_ledger_run(session, &request);
		total += request.changed;
		memcpy(cursor, request.next_cursor, sizeof(cursor));
		ledger_request_release(&request);
		if (progress && total > 0) {
			printf("\r%zu of %" PRId64, total, dead);
			fflush(stdout);
		}
	} while (status == 0 && cursor[0] != '\0');
	printf("%s%zu put back\n", progress && total > 0 ? "\r\033[K" : "", total);
	return status == 0 ? CMD_OK : CMD_FAILED;
}

static int jobs_run(struct cmd_ledger *session, const char *verb, const struct sid *sid, bool all_dead)
{
	if (strcmp(verb, "list") == 0)
		return jobs_list(session);
	if (strcmp(verb, "show") == 0)
		return jobs_show(session, sid);
	if (strcmp(verb, "drop") == 0)
		return jobs_change(session, sid, LEDGER_DROP, "drop", "skipped");
	return all_dead ? jobs_retry_all(session) : jobs_change(session, sid, LEDGER_RETRY, "retry", "pending");
}

int cmd_jobs(const struct config *config, int argc, char **argv)
{
	struct cmd_ledger session;
	struct sid sid = {""};
	if (argc < 2)
		return cmd_usage_error("jobs", usage, "what? list, show, retry or drop");
	const char *verb = argv[1];
	bool list = strcmp(verb, "list") == 0;
	bool retry = strcmp(verb, "retry") == 0;
	if (!list && !retry && strcmp(verb, "show") != 0 && strcmp(verb, "drop") != 0)
		return cmd_usage_error("jobs", usage, "unknown subcommand '%s'", verb);
	if (!list && argc < 3)
		return cmd_usage_error("jobs", usage, "%s wants a recording SID", verb);
	bool all_dead = retry && strcmp(argv[2], "--all-dead") == 0;
	if (!list && !all_dead && !sid_parse(slice_from_cstr(argv[2]), "RE", &sid))
		return cmd_usage_error("jobs", usage, "not a recording SID (RE and 32 hex digits): '%s'", argv[2]);
	if (argc > (list ? 2 : 3))
		return cmd_usage_error("jobs", usage, "unexpected argument '%s'", argv[list ? 2 : 3]);

	int status = cmd_ledger_open(&session, config, "jobs");
	if (status != CMD_OK)
		return status;
	status = jobs_run(&session, verb, &sid, all_dead);
	cmd_ledger_close(&session);
	return status;
}
