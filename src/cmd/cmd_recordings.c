/* SPDX-License-Identifier: MIT */
/* reeld recordings: what is stored; a link to one; deletion from storage, with the ledger updated. */
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "cmd/table.h"
#include "engines.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "reeld recordings list [--prefix P] | url SID | delete SID | decrypt FILE [DETAILS.json]";

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

struct store_session {
	struct store *store;
	bool answered;
	int status;
};

static void storage_closed(void *data)
{
	(void)data;
}

static void store_done(struct store_request *request, int status)
{
	struct store_session *session = request->data;
	session->answered = true;
	session->status = status;
}

/* The stored recording; its object must be where the store of this configuration would look for it. */
static int find_stored(struct cmd_ledger *session, const struct store *store, const struct sid *sid,
		       struct ledger_recording *recording)
{
	struct ledger_request request = {.op = LEDGER_GET, .recording_sid = *sid};
	int status = cmd_ledger_run(session, &request);
	if (status == 0)
		*recording = request.recordings[0];
	ledger_request_release(&request);
	if (status != 0)
		return CMD_FAILED;
	if (recording->status != LEDGER_STORED)
		return cmd_failed("recordings", "%s is %s, not stored", sid->text, ledger_status_name(recording->status));
	char url[LEDGER_URL_SIZE];
	if (store_url(store, recording->job.key, url, sizeof(url)) != 0 || strcmp(url, recording->job.url) != 0)
		return cmd_failed("recordings", "%s is stored at %s, which is not in the storage of this configuration",
				  sid->text, recording->job.url);
	return CMD_OK;
}

static int recordings_url(struct cmd_ledger *session, const struct store *store, const struct sid *sid)
{
	struct ledger_recording recording;
	char link[2048];
	int status = find_stored(session, store, sid, &recording);
	if (status != CMD_OK)
		return status;
	int made = store_link(store, recording.job.key, LINK_VALID_S, link, sizeof(link));
	if (made != 0)
		return cmd_failed("recordings", "no link to %s: %s", recording.job.key, err_text(made));
	puts(link);
	return CMD_OK;
}

/* First the object, then the ledger: cut in between, the same command does the rest. */
static int recordings_delete(struct cmd_ledger *session, struct store_session *stored, const struct sid *sid)
{
	struct ledger_recording recording;
	int status = find_stored(session, stored->store, sid, &recording);
	if (status != CMD_OK)
		return status;
	struct store_request remove = {.op = STORE_DELETE, .done = store_done, .data = stored, .key = recording.job.key};
	store_submit(stored->store, &remove);
	while (!stored->answered)
		uv_run(&session->loop, UV_RUN_ONCE);
	if (stored->status != 0)
		return cmd_failed("recordings", "cannot delete %s: %s", recording.job.key,
				  remove.error.code != 0 ? remove.error.detail : err_text(stored->status));
	struct ledger_request request = {.op = LEDGER_DELETED_OBJECT, .recording_sid = *sid};
	status = cmd_ledger_run(session, &request);
	ledger_request_release(&request);
	if (status != 0)
		return CMD_FAILED;
	printf("%s deleted\n", recording.job.key);
	return CMD_OK;
}

static int with_store(struct cmd_ledger *session, const struct config *config, bool remove, const struct sid *sid)
{
	struct store_session stored = {0};
	struct storage *storage;
	struct error error = {0};
	if (storage_open(&storage, &session->loop, config, &error) != 0)
		return cmd_failed("recordings", "%s", error.detail);
	stored.store = storage_store(storage);
	int status = storage_wait_credentials(storage, &error) == 0 ? CMD_OK : cmd_failed("recordings", "%s", error.detail);
	if (status == CMD_OK)
		status = remove ? recordings_delete(session, &stored, sid) : recordings_url(session, stored.store, sid);
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
