/* SPDX-License-Identifier: MIT */
/* jobs, recordings and migrate on a DATA_DIR of their own, by their exit status and what they print. */
#include "base/clock.h"
#include "base/turn.h"
#include "cmd/cmd.h"
#include "cmd/table.h"
#include "ledger/ledger.h"
#include "store/store.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORED "RE00000000000000000000000000000001"
#define DEAD "RE00000000000000000000000000000002"
#define PENDING "RE00000000000000000000000000000003"
#define CALL "CA00000000000000000000000000000009"
#define SHA256 "a40ff3d5900fb7698b8c865041347cb49eccedc8f93945f89629ad104aaecce4" /* of "RIFF" */
#define KEY "recordings/2023/11/14/" CALL "/" STORED ".wav"

static char directory[64];
static char data_dir[128];
static struct config config;
static char out[16384];
static char err[4096];

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void setup(void)
{
	strcpy(directory, "/tmp/reeld-cmd-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(data_dir, sizeof(data_dir), "%s/data", directory);
	config = (struct config){.data_dir = data_dir};
}

static void teardown(void)
{
	nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(ledger_commands, .init = setup, .fini = teardown, .timeout = 60);

static void read_all(FILE *file, char *text, size_t size)
{
	rewind(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

/* Runs a command with its words; `out` and `err` are what it printed. */
static int run(int (*command)(const struct config *, int, char **), ...)
{
	char *argv[8];
	int argc = 0;
	va_list words;
	va_start(words, command);
	while ((argv[argc] = va_arg(words, char *)) != NULL)
		argc++;
	va_end(words);
	fflush(stdout);
	fflush(stderr);
	FILE *files[2] = {tmpfile(), tmpfile()};
	int kept[2] = {dup(STDOUT_FILENO), dup(STDERR_FILENO)};
	dup2(fileno(files[0]), STDOUT_FILENO);
	dup2(fileno(files[1]), STDERR_FILENO);
	int status = command(&config, argc, argv);
	fflush(stdout);
	fflush(stderr);
	dup2(kept[0], STDOUT_FILENO);
	dup2(kept[1], STDERR_FILENO);
	close(kept[0]);
	close(kept[1]);
	read_all(files[0], out, sizeof(out));
	read_all(files[1], err, sizeof(err));
	return status;
}

static size_t lines(const char *text)
{
	size_t count = 0;
	for (; *text != '\0'; text++)
		count += *text == '\n';
	return count;
}

/* ---- a ledger with one stored, one dead, one pending recording ---- */

static uv_loop_t loop;

static void answered(struct ledger_request *request, int status)
{
	cr_assert_eq(status, 0, "%s", request->error.detail);
	*(bool *)request->data = true;
}

static void wait_for(struct ledger *ledger, struct ledger_request *request)
{
	bool come = false;
	request->done = answered;
	request->data = &come;
	ledger_submit(ledger, request);
	while (!come)
		turn_run(&loop);
}

static void nothing(void *data)
{
	(void)data;
}

static void fill(void)
{
	struct event events[3] = {0};
	static const char *const sids[] = {STORED, DEAD, PENDING};
	char path[256];
	char url[LEDGER_URL_SIZE];
	struct ledger *ledger;
	struct store *store;
	struct error error = {0};
	cr_assert_eq(run(cmd_migrate, "migrate", NULL), CMD_OK, "%s", err);
	cr_assert_eq(uv_loop_init(&loop), 0);
	ledger_sqlite_path(data_dir, path, sizeof(path));
	cr_assert_eq(ledger_sqlite_open(&ledger, &loop, path, "test", false, false, &error), 0);
	cr_assert_eq(store_directory_open(&store, &loop, data_dir, &error), 0);
	cr_assert_eq(store_url(store, KEY, url, sizeof(url)), 0);
	for (size_t i = 0; i < 3; i++) {
		events[i] = (struct event){.kind = EVENT_RECORDING,
					   .received_at_ms = 1700000000000,
					   .status = RECORDING_COMPLETED,
					   .duration_s = 7,
					   .start_time_ms = -1,
					   .call_sid = {CALL},
					   .source = "Dial\tVerb"};
		strcpy(events[i].recording_sid.text, sids[i]);
	}
	struct ledger_request forward = {.op = LEDGER_FORWARD, .events = events, .count = 3, .lease_max = 2};
	wait_for(ledger, &forward);
	ledger_request_release(&forward);
	struct ledger_request stored = {
		.op = LEDGER_STORED_OBJECT,
		.recording_sid = {STORED},
		.epoch = 1,
		.object = {.key = KEY, .url = url, .bytes = 4, .sha256 = SHA256, .content_type = "audio/wav", .duration_s = -1}};
	wait_for(ledger, &stored);
	struct ledger_request dead = {.op = LEDGER_FINISH,
				      .recording_sid = {DEAD},
				      .epoch = 1,
				      .finish = {.outcome = LEDGER_OUTCOME_DEAD, .error = "media_type:\ttext/xml\n"}};
	wait_for(ledger, &dead);
	ledger_close(ledger, nothing, NULL);
	store_close(store, nothing, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);

	char file[512];
	snprintf(file, sizeof(file), "%s/%s", data_dir, KEY);
	for (char *slash = strchr(file + strlen(data_dir) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(file, 0700);
		*slash = '/';
	}
	FILE *object = fopen(file, "w");
	cr_assert_not_null(object);
	fputs("RIFF", object);
	fclose(object);
}

/* ---- migrate ---- */

Test(ledger_commands, migrate_creates_what_is_missing_and_then_has_nothing_to_do)
{
	cr_expect_eq(run(cmd_migrate, "migrate", NULL), CMD_OK, "%s", err);
	cr_expect_not_null(strstr(out, "applied"));
	cr_expect_eq(run(cmd_migrate, "migrate", NULL), CMD_OK);
	cr_expect_not_null(strstr(out, "up to date"));
	cr_expect_eq(run(cmd_migrate, "migrate", "now", NULL), CMD_USAGE);
}

/* ---- jobs ---- */

Test(ledger_commands, wrong_usage_is_two_lines_and_status_2)
{
	static const struct {
		int (*command)(const struct config *, int, char **);
		const char *words[4];
	} rows[] = {
		{cmd_jobs, {"jobs"}},
		{cmd_jobs, {"jobs", "explode"}},
		{cmd_jobs, {"jobs", "show"}},
		{cmd_jobs, {"jobs", "show", "CA00000000000000000000000000000001"}},
		{cmd_jobs, {"jobs", "list", "all"}},
		{cmd_jobs, {"jobs", "retry", "--all"}},
		{cmd_jobs, {"jobs", "drop", "--all-dead"}},
		{cmd_jobs, {"jobs", "retry", STORED, STORED}},
		{cmd_recordings, {"recordings"}},
		{cmd_recordings, {"recordings", "copy"}},
		{cmd_recordings, {"recordings", "list", "--prefix"}},
		{cmd_recordings, {"recordings", "url", "../../etc/passwd"}},
		{cmd_recordings, {"recordings", "delete"}},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int status = run(rows[i].command, rows[i].words[0], rows[i].words[1], rows[i].words[2], rows[i].words[3], NULL);
		cr_expect_eq(status, CMD_USAGE, "row %zu: %d", i, status);
		cr_expect_eq(lines(err), 2, "%s", err);
		cr_expect_str_eq(out, "");
	}
}

Test(ledger_commands, without_a_ledger_they_say_so_and_create_none)
{
	cr_expect_eq(run(cmd_jobs, "jobs", "list", NULL), CMD_FAILED);
	cr_expect_eq(lines(err), 1);
	cr_expect_not_null(strstr(err, "no ledger at"));
	cr_expect_eq(run(cmd_recordings, "recordings", "list", NULL), CMD_FAILED);
	cr_expect_neq(access(data_dir, F_OK), 0);
}

Test(ledger_commands, jobs_list_is_what_is_not_at_its_end_one_tabbed_line_each)
{
	fill();
	cr_expect_eq(run(cmd_jobs, "jobs", "list", NULL), CMD_OK, "%s", err);
	cr_expect_eq(lines(out), 2, "%s", out);
	cr_expect_not_null(strstr(out, PENDING "\tpending\t0\t2023-11-14T22:13:20Z\t"));
	cr_expect_not_null(strstr(out, DEAD "\tdead\t1\t2023-11-14T22:13:20Z\t\t\tmedia_type: text/xml \n"),
			   "control characters cannot break a line: %s", out);
	cr_expect_null(strstr(out, STORED));
}

Test(ledger_commands, jobs_show_has_the_row_and_the_trail)
{
	fill();
	cr_expect_eq(run(cmd_jobs, "jobs", "show", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_not_null(strstr(out, "status\tstored\n"));
	cr_expect_not_null(strstr(out, "key\t" KEY "\n"));
	cr_expect_not_null(strstr(out, "\treceived\tcompleted\n"));
	cr_expect_not_null(strstr(out, "\tstored\t4 bytes"));
	cr_expect_eq(run(cmd_jobs, "jobs", "show", "RE000000000000000000000000000000ff", NULL), CMD_FAILED);
	cr_expect_eq(lines(err), 1);
}

Test(ledger_commands, jobs_retry_and_drop_say_what_became_of_it_or_why_not)
{
	fill();
	cr_expect_eq(run(cmd_jobs, "jobs", "retry", DEAD, NULL), CMD_OK, "%s", err);
	cr_expect_str_eq(out, DEAD " is pending\n");
	cr_expect_eq(run(cmd_jobs, "jobs", "drop", DEAD, NULL), CMD_OK);
	cr_expect_str_eq(out, DEAD " is skipped\n");
	cr_expect_eq(run(cmd_jobs, "jobs", "drop", STORED, NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "is stored: nothing to drop"));
	cr_expect_eq(run(cmd_jobs, "jobs", "retry", STORED, NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "is stored: nothing to retry"));
}

Test(ledger_commands, jobs_retry_all_dead_counts_them)
{
	fill();
	cr_expect_eq(run(cmd_jobs, "jobs", "retry", "--all-dead", NULL), CMD_OK, "%s", err);
	cr_expect_str_eq(out, "1 put back\n");
	cr_expect_eq(run(cmd_jobs, "jobs", "retry", "--all-dead", NULL), CMD_OK);
	cr_expect_str_eq(out, "0 put back\n");
}

Test(ledger_commands, jobs_retry_all_dead_ends_though_all_of_them_die_again_at_once)
{
	sqlite3 *db;
	char path[256];
	fill();
	ledger_sqlite_path(data_dir, path, sizeof(path));
	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db,
				  "CREATE TRIGGER die AFTER UPDATE OF status ON recordings WHEN NEW.status = 'pending' AND "
				  "OLD.status = 'dead' BEGIN UPDATE recordings SET status = 'dead' WHERE id = NEW.id; END",
				  NULL, NULL, NULL),
		     SQLITE_OK, "%s", sqlite3_errmsg(db));
	sqlite3_close(db);
	cr_expect_eq(run(cmd_jobs, "jobs", "retry", "--all-dead", NULL), CMD_OK, "%s", err);
	cr_expect_str_eq(out, "1 put back\n");
}

/* ---- recordings ---- */

Test(ledger_commands, recordings_list_is_what_is_stored_by_prefix)
{
	fill();
	cr_expect_eq(run(cmd_recordings, "recordings", "list", NULL), CMD_OK, "%s", err);
	cr_expect_eq(lines(out), 1);
	cr_expect_eq(strncmp(out, STORED "\t", SID_LEN + 1), 0);
	cr_expect_not_null(strstr(out, "\t4\t7\t" KEY "\n"));
	cr_expect_eq(run(cmd_recordings, "recordings", "list", "--prefix", "recordings/2023/", NULL), CMD_OK);
	cr_expect_eq(lines(out), 1);
	cr_expect_eq(run(cmd_recordings, "recordings", "list", "--prefix=recordings/2024/", NULL), CMD_OK);
	cr_expect_eq(lines(out), 0);
}

Test(ledger_commands, recordings_url_and_delete_reach_the_object)
{
	char file[512];
	fill();
	snprintf(file, sizeof(file), "%s/%s", data_dir, KEY);
	cr_expect_eq(run(cmd_recordings, "recordings", "url", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_eq(strncmp(out, "file:///", 8), 0, "%s", out);
	cr_expect_not_null(strstr(out, KEY "\n"));
	cr_expect_eq(access(file, F_OK), 0);
	cr_expect_eq(run(cmd_recordings, "recordings", "delete", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_neq(access(file, F_OK), 0);
	cr_expect_eq(run(cmd_recordings, "recordings", "delete", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_not_null(strstr(out, "was deleted before"));
	cr_expect_eq(run(cmd_recordings, "recordings", "url", DEAD, NULL), CMD_FAILED);
}

Test(ledger_commands, recordings_of_a_data_dir_that_was_moved_are_reached)
{
	char moved[160];
	char file[512];
	fill();
	snprintf(moved, sizeof(moved), "%s/moved", directory);
	cr_assert_eq(rename(data_dir, moved), 0);
	config.data_dir = moved;
	snprintf(file, sizeof(file), "%s/%s", moved, KEY);
	cr_expect_eq(run(cmd_recordings, "recordings", "url", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_not_null(strstr(out, "/moved/" KEY "\n"), "%s", out);
	FILE *object = fopen(file, "w");
	fputs("RIFX", object); /* somebody else's, of the same length */
	fclose(object);
	cr_expect_eq(run(cmd_recordings, "recordings", "delete", STORED, NULL), CMD_FAILED);
	cr_expect_not_null(strstr(err, "which is not in the storage of this configuration"), "%s", err);
	cr_expect_eq(access(file, F_OK), 0, "what is not the recording was deleted");
	object = fopen(file, "w");
	fputs("RIFF", object);
	fclose(object);
	cr_expect_eq(run(cmd_recordings, "recordings", "delete", STORED, NULL), CMD_OK, "%s", err);
	cr_expect_neq(access(file, F_OK), 0);
}

/* ---- table ---- */

Test(ledger_commands, a_table_for_people_is_aligned_under_its_heading)
{
	static const char *const headings[] = {"A", "B"};
	static const int widths[] = {5, 1};
	struct table table;
	FILE *file = tmpfile();
	table_init(&table, file, true, 2, headings, widths);
	table_cell(&table, "%s", "x");
	table_cell(&table, "%s", "");
	table_time(&table, 0);
	table_time(&table, -1);
	read_all(file, out, sizeof(out));
	cr_expect_str_eq(out, "A      B\nx      -\n1970-01-01T00:00:00Z  -\n");
}
