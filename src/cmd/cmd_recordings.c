/* SPDX-License-Identifier: MIT */
/* reeld recordings: what is stored; a link to one; deletion from storage, with the ledger updated. */
#include "base/check.h"
#include "base/turn.h"
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "cmd/table.h"
#include "engines.h"
#include "pipeline/archived.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define USAGE "reeld recordings list [--prefix P] | url SID | delete SID | decrypt FILE [DETAILS.json]"
static const char usage[] = USAGE;
const char cmd_recordings_help[] =
	"usage: " USAGE "\n"
	"\n"
	"What is stored.\n"
	"\n"
	"  list [--prefix P]     stored recordings, newest first, with key and size; only keys that begin with P\n"
	"  url SID               a link that whoever has it may use for an hour (S3), or the file\n"
	"  delete SID            delete it from the store, then note that in the ledger; done twice it is done\n"
	"  decrypt FILE [DETAILS.json]\n"
	"                        decrypt a recording that was archived as ciphertext: docs/encryption.md\n";

#define LINK_VALID_S 3600

static int recordings_list(struct cmd_ledger *session, const char *prefix)
{
	static const char *const headings[] = {"RECORDING", "STORED", "BYTES", "SECONDS", "KEY"};
	static const int widths[] = {SID_LEN, 20, 11, 7, 10};
	struct table table;
	char cursor[64] = "";
	int status;
	table_init(&table, stdout, isatty(STDOUT_FILENO) == 1, 5, headings, widths);
	do {
		struct ledger_request request = {
			.op = LEDGER_LIST, .status_filter = LEDGER_STORED, .key_prefix = prefix, .cursor = cursor};
		status = cmd_ledger_run(session, &request);
		for (size_t i = 0; i < request.recording_count; i++) {
			const struct ledger_recording *recording = &request.recordings[i];
			table_cell(&table, "%s", recording->job.recording_sid.text);
			table_time(&table, recording->stored_at_ms);
			table_cell(&table, "%" PRId64, recording->job.bytes);
			if (recording->job.duration_s == -1)
				table_cell(&table, "%s", "");
			else
				table_cell(&table, "%" PRId64, recording->job.duration_s);
			table_cell(&table, "%s", recording->job.key);
		}
		memcpy(cursor, request.next_cursor, sizeof(cursor));
		ledger_request_release(&request);
	} while (status == 0 && cursor[0] != '\0');
	return status == 0 ? CMD_OK : CMD_FAILED;
}

/* One operation on what is archived, waited for. */
struct errand {
	struct archived archived;
	bool answered;
	int status;
};

static void storage_closed(void *data)
{
	(void)data;
}

static void archived_done(struct archived *archived, int status)
{
	struct errand *errand = CONTAINER_OF(archived, struct errand, archived);
	errand->answered = true;
	errand->status = status;
}

/* Its end, after a line on stderr when it failed. */
static int run_errand(struct cmd_ledger *session, struct errand *errand, void (*operation)(struct archived *, archived_cb *))
{
	const struct archived *archived = &errand->archived;
	operation(&errand->archived, archived_done);
	while (!errand->answered)
		turn_run(&session->loop);
	if (errand->status != 0 && archived->place == ARCHIVED_STORE)
		return cmd_failed("recordings", "%s: %s", archived->recording.job.key, archived->error.detail);
	if (errand->status != 0)
		return cmd_failed("recordings", "%s",
				  archived->error.code != 0 ? archived->error.detail : err_text(errand->status));
	return CMD_OK;
}

static int recordings_url(struct cmd_ledger *session, struct errand *errand)
{
	const struct archived *archived = &errand->archived;
	char link[2048];
	int status = run_errand(session, errand, archived_find);
	if (status != CMD_OK)
		return status;
	const char *key = archived->recording.job.key;
	int made = store_link(archived->store, key, LINK_VALID_S, link, sizeof(link));
	if (made != 0)
		return cmd_failed("recordings", "no link to %s: %s", key, err_text(made));
	puts(link);
	return CMD_OK;
}

static int recordings_delete(struct cmd_ledger *session, struct errand *errand)
{
	const struct archived *archived = &errand->archived;
	int status = run_errand(session, errand, archived_delete);
	if (status != CMD_OK)
		return status;
	if (archived->already)
		printf("%s was deleted before\n", archived->recording_sid.text);
	else
		printf("%s deleted\n", archived->recording.job.key);
	return CMD_OK;
}

static int with_store(struct cmd_ledger *session, const struct config *config, bool remove, const struct sid *sid)
{
	struct storage *storage;
	struct error error = {0};
	if (storage_open(&storage, &session->loop, config, &error) != 0)
		return cmd_failed("recordings", "%s", error.detail);
	struct errand errand = {
		.archived = {.ledger = session->ledger, .store = storage_store(storage), .recording_sid = *sid, .by = "command"}};
	int status = storage_wait_credentials(storage, &error) == 0 ? CMD_OK : cmd_failed("recordings", "%s", error.detail);
	if (status == CMD_OK)
		status = remove ? recordings_delete(session, &errand) : recordings_url(session, &errand);
	if (status == CMD_OK && remove)
		cmd_ledger_forget(session, config, sid);
	storage_close(storage, storage_closed, NULL);
	return status;
}

int cmd_recordings(const struct config *config, int argc, char **argv)
{
	struct cmd_ledger session;
	struct sid sid = {""};
	const char *prefix = NULL;
	if (argc < 2)
		return cmd_usage_error("recordings", usage, "what? list, url, delete or decrypt");
	const char *verb = argv[1];
	if (strcmp(verb, "decrypt") == 0)
		return cmd_recordings_decrypt(config, argc - 1, argv + 1);
	bool list = strcmp(verb, "list") == 0;
	bool remove = strcmp(verb, "delete") == 0;
	if (!list && !remove && strcmp(verb, "url") != 0)
		return cmd_usage_error("recordings", usage, "unknown subcommand '%s'", verb);
	int used = 2;
	if (list && argc > 2 && strcmp(argv[2], "--prefix") == 0) {
		if (argc < 4)
			return cmd_usage_error("recordings", usage, "--prefix wants a value");
		prefix = argv[3];
		used = 4;
	} else if (list && argc > 2 && strncmp(argv[2], "--prefix=", 9) == 0) {
		prefix = argv[2] + 9;
		used = 3;
	} else if (!list) {
		if (argc < 3)
			return cmd_usage_error("recordings", usage, "%s wants a recording SID", verb);
		if (!sid_parse(slice_from_cstr(argv[2]), "RE", &sid))
			return cmd_usage_error("recordings", usage, "not a recording SID (RE and 32 hex digits): '%s'", argv[2]);
		used = 3;
	}
	if (argc > used)
		return cmd_usage_error("recordings", usage, "unexpected argument '%s'", argv[used]);

	int status = cmd_ledger_open(&session, config, "recordings");
	if (status != CMD_OK)
		return status;
	status = list ? recordings_list(&session, prefix) : with_store(&session, config, remove, &sid);
	cmd_ledger_close(&session);
	return status;
}
