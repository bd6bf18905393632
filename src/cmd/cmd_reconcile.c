/* SPDX-License-Identifier: MIT */
/*
 * reeld reconcile: the walk of src/reconcile, beside a daemon that may be running. It puts events into the ledger, whose replicas do the work; nothing of the
 * data directory but the ledger is opened.
 */
#include "adapters/http_client.h"
#include "app.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/turn.h"
#include "cmd/arguments.h"
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "cmd/table.h"
#include "config_value.h"
#include "reconcile/plan.h"
#include "reconcile/reconcile.h"
#include "twilio/accounts.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SINCE "7d"
#define PAGE_SIZE TWILIO_LIST_MAX
#define PAUSE_MS 100
/* Nobody takes the recordings that wait: no daemon runs, and waiting for it is of no use. */
#define UNATTENDED_MS 10000
/* How long another walk is waited for: as long as it takes to take over from one that died, and a little more. */
#define LOCKED_MS (2 * LEDGER_RECONCILE_LEASE_MS)
#define LOCKED_POLL_MS 1000
/* A daemon looks for work every two seconds. */
#define ATTENDED_MS 5000
#define ATTENDED_POLL_MS 200

static const char usage[] = "reeld reconcile [--since 7d|2026-05-01] [--dry-run] [--restart]";

const char cmd_reconcile_help[] =
	"usage: reeld reconcile [options]\n"
	"\n"
	"Walks Twilio's list of recordings and archives every completed one that the ledger does not have: callbacks that were "
	"lost, recordings of\n"
	"SIP trunks, which have none. The newest day comes first. A walk that was cut is continued by the next one.\n"
	"\n"
	"  --since WHEN          how far back: a duration (12h, 7d, 400d), or a date (2026-05-01, UTC) (7d)\n"
	"  --dry-run             list what is lacking, change nothing\n"
	"  --restart             from the newest day again, also if the last walk was cut\n";

struct session {
	struct cmd_ledger ledger;
	struct http_client *http;
	struct twilio_accounts *accounts;
	struct twilio_client *twilio;
	struct reconcile *reconcile;
	struct reconcile_run run;
	struct sid *sids;
	uv_signal_t signals[2];
	uv_timer_t timer;
	bool tick;
	bool interrupted;
	bool done;
	int status;
	bool terminal;
	bool line; /* a line of progress stands on the terminal */
	uint64_t started_ns;
	int64_t continued_of; /* account whose continuation was told */
	struct table table;
};

static struct session *session_of(struct reconcile_run *run)
{
	return CONTAINER_OF(run, struct session, run);
}

/* ---- what is shown ---- */

static void clear_line(struct session *session)
{
	if (session->line)
		fputs("\r\033[K", stderr);
	session->line = false;
}

static void date_of(int64_t ms, char out[11])
{
	char text[CLOCK_ISO8601_SIZE];
	clock_format_iso8601(ms, text);
	memcpy(out, text, 10);
	out[10] = '\0';
}

static void on_found(struct reconcile_run *run, const struct twilio_listed *listed, enum reconcile_verdict verdict)
{
	struct session *session = session_of(run);
	const struct twilio_answer_recording *about = &listed->about;
	if (!run->dry_run)
		return;
	clear_line(session);
	table_cell(&session->table, "%s", listed->recording_sid.text);
	table_time(&session->table, about->start_time_ms >= 0 ? about->start_time_ms : listed->created_ms);
	table_cell(&session->table, "%s", sid_is_set(&about->call_sid) ? about->call_sid.text : about->conference_sid.text);
	if (about->duration_s >= 0)
		table_cell(&session->table, "%" PRId64, about->duration_s);
	else
		table_cell(&session->table, "%s", "");
	table_cell(&session->table, "%s", about->source);
	table_cell(&session->table, "%s", reconcile_verdict_name(verdict));
}

static void tell_continued(struct session *session)
{
	const struct reconcile_run *run = &session->run;
	char day[11];
	if (run->continued_ms == -1 || session->continued_of == (int64_t)run->account)
		return;
	session->continued_of = (int64_t)run->account;
	clear_line(session);
	date_of(run->continued_ms, day);
	fprintf(stderr, "continuing the walk that was cut: %s is done from %s on (--restart begins anew)\n",
		run->accounts[run->account].text, day);
}

/* "2h 05m" */
static void duration_of(uint64_t seconds, char *out, size_t size)
{
	if (seconds < 90)
		snprintf(out, size, "%" PRIu64 "s", seconds);
	else if (seconds < 5400)
		snprintf(out, size, "%" PRIu64 "m", (seconds + 30) / 60);
	else
		snprintf(out, size, "%" PRIu64 "h %02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
}

static void on_progress(struct reconcile_run *run)
{
	struct session *session = session_of(run);
	tell_continued(session);
	if (!session->terminal)
		return;
	char day[11], eta[32] = "?";
	double seconds = (double)(clock_mono_ns() - session->started_ns) / 1e9;
	int64_t days = run->days_done + run->days_left;
	if (run->days_done > 0 && run->account_count == 1)
		duration_of((uint64_t)(seconds / (double)run->days_done * (double)run->days_left), eta, sizeof(eta));
	date_of(run->day_ms, day);
	fprintf(stderr, "\r\033[K%s  day %" PRId64 " of %" PRId64, day, run->days_done, days);
	if (run->account_count > 1)
		fprintf(stderr, ", account %zu of %zu", run->account + 1, run->account_count);
	fprintf(stderr, "  %" PRIu64 " seen, %" PRIu64 " missing  %.0f/s  %s left", run->seen,
		run->verdicts[RECONCILE_MISSING] + run->verdicts[RECONCILE_INCOMPLETE],
		seconds > 0 ? (double)run->seen / seconds : 0, eta);
	if (run->throttled_ms > 0)
		fputs("  (Twilio asks for patience)", stderr);
	else if (run->waiting)
		fputs("  (waiting for the daemon to work off the backlog)", stderr);
	fflush(stderr);
	session->line = true;
}

static void print_summary(struct session *session)
{
	const struct reconcile_run *run = &session->run;
	char from[11];
	const uint64_t *verdicts = run->verdicts;
	/* Zeros of a walk that came nowhere would read as "nothing is missing". */
	if (session->status != 0 && run->seen == 0)
		return;
	date_of(run->from_ms, from);
	printf("%ssince %s: %" PRIu64 " recordings at Twilio, %" PRIu64 " known, %" PRIu64 " missing, %" PRIu64 " incomplete",
	       session->status != 0 ? "as far as it came, " : "", from, run->seen, verdicts[RECONCILE_KNOWN],
	       verdicts[RECONCILE_MISSING], verdicts[RECONCILE_INCOMPLETE]);
	if (verdicts[RECONCILE_RECENT] > 0)
		printf(", %" PRIu64 " too recent", verdicts[RECONCILE_RECENT]);
	if (verdicts[RECONCILE_EXTERNAL] > 0)
		printf(", %" PRIu64 " in external storage", verdicts[RECONCILE_EXTERNAL]);
	if (verdicts[RECONCILE_OTHER] > 0)
		printf(", %" PRIu64 " not to be archived", verdicts[RECONCILE_OTHER]);
	if (run->dry_run)
		printf("; nothing was changed\n");
	else
		printf("; %" PRIu64 " put to work\n", run->healed);
	fflush(stdout);
}

/* ---- waiting ---- */

static void on_done(struct reconcile_run *run, int status)
{
	struct session *session = session_of(run);
	session->done = true;
	session->status = status;
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct session *session = signal->data;
	(void)number;
	session->interrupted = true;
	reconcile_stop(session->reconcile);
}

static void on_tick(uv_timer_t *timer)
{
	struct session *session = timer->data;
	session->tick = true;
}

static void pause_for(struct session *session, uint64_t ms)
{
	session->tick = false;
	uv_timer_start(&session->timer, on_tick, ms, 0);
	while (!session->tick && !session->interrupted)
		turn_run(&session->ledger.loop);
	uv_timer_stop(&session->timer);
}

static void walk_once(struct session *session)
{
	session->done = false;
	session->started_ns = clock_mono_ns();
	reconcile_start(session->reconcile, &session->run);
	while (!session->done)
		turn_run(&session->ledger.loop);
}

/* A scheduled walk takes seconds, and a lease of a dead one runs out: both are waited for. */
static void walk(struct session *session)
{
	uint64_t until_ns = clock_mono_ns() + (uint64_t)LOCKED_MS * 1000000;
	bool told = false;
	walk_once(session);
	while (session->status == ERR_LOCKED && !session->interrupted && clock_mono_ns() < until_ns) {
		if (!told)
			fprintf(stderr, "reeld reconcile: %s; waiting for it to end\n", session->run.error.detail);
		told = true;
		pause_for(session, LOCKED_POLL_MS);
		if (!session->interrupted)
			walk_once(session);
	}
	clear_line(session);
}

/* Whether the recordings that wait are being worked on: somebody holds a lease, or there are none that wait. */
static bool is_attended(struct session *session, bool *attended)
{
	struct ledger_request request = {.op = LEDGER_LACKING, .limit = 1};
	int status = cmd_ledger_run(&session->ledger, &request);
	*attended = request.working || request.waiting == 0;
	ledger_request_release(&request);
	return status == 0;
}

static void tell_who_works(struct session *session)
{
	bool attended = false;
	uint64_t until_ns = clock_mono_ns() + (uint64_t)ATTENDED_MS * 1000000;
	while (is_attended(session, &attended) && !attended && !session->interrupted && clock_mono_ns() < until_ns)
		pause_for(session, ATTENDED_POLL_MS);
	if (attended)
		printf("reeld serve is fetching them: reeld jobs list\n");
	else
		printf("no reeld serve is at work: they are fetched when one runs\n");
}

static int result_of(struct session *session)
{
	const struct reconcile_run *run = &session->run;
	if (session->interrupted || session->status == ERR_CANCELLED)
		return cmd_failed("reconcile", "interrupted%s", run->dry_run ? "" : "; the next one continues");
	if (session->status == 0)
		return CMD_OK;
	if (run->failed_accounts > 0 && run->account_count > 1)
		return cmd_failed("reconcile", "%zu of %zu accounts could not be walked: %s", run->failed_accounts,
				  run->account_count, run->error.detail);
	return cmd_failed("reconcile", "%s%s", run->error.detail,
			  run->dry_run || session->status == ERR_LOCKED ? "" : "; the next one continues");
}

/* ---- open and close ---- */

static int open_session(struct session *session, const struct config *config)
{
	struct error error = {0};
	size_t count = 0;
	if (app_build_accounts(config, &session->accounts, &error) != 0)
		return cmd_failed("reconcile", "%s", error.detail);
	session->sids = twilio_accounts_sids(session->accounts, &count);
	if (count == 0)
		return cmd_failed("reconcile",
				  "whose recordings? Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or TWILIO_ACCOUNTS_FILE");
	session->run.accounts = session->sids;
	session->run.account_count = count;
	if (cmd_ledger_open(&session->ledger, config, "reconcile") != CMD_OK)
		return CMD_FAILED;
	uv_loop_t *loop = &session->ledger.loop;
	const struct http_client_options http_options = {.max_connections = 2, .user_agent = "reeld/" REELD_VERSION};
	session->http = http_client_new(loop, &http_options);
	REQUIRE(session->http != NULL);
	const struct twilio_client_options twilio_options = {
		.http = session->http, .base = config->twilio_api_base, .accounts = session->accounts};
	session->twilio = twilio_client_new(&twilio_options);
	REQUIRE(session->twilio != NULL);
	const struct reconcile_options options = {
		.ledger = session->ledger.ledger,
		.twilio = session->twilio,
		.page_size = PAGE_SIZE,
		.pause_ms = PAUSE_MS,
		.unattended_ms = UNATTENDED_MS,
		.retry_after_max_ms = config->retry_max_ms,
	};
	session->reconcile = reconcile_new(loop, &options);
	REQUIRE(session->reconcile != NULL);
	static const int numbers[] = {SIGINT, SIGTERM};
	for (size_t i = 0; i < 2; i++) {
		REQUIRE(uv_signal_init(loop, &session->signals[i]) == 0);
		session->signals[i].data = session;
		REQUIRE(uv_signal_start(&session->signals[i], on_signal, numbers[i]) == 0);
	}
	REQUIRE(uv_timer_init(loop, &session->timer) == 0);
	session->timer.data = session;
	return CMD_OK;
}

static void part_closed(void *data)
{
	*(bool *)data = true;
}

static void close_session(struct session *session)
{
	uv_loop_t *loop = &session->ledger.loop;
	bool reconcile_closed = false, http_closed = false;
	uv_close((uv_handle_t *)&session->timer, NULL);
	uv_close((uv_handle_t *)&session->signals[0], NULL);
	uv_close((uv_handle_t *)&session->signals[1], NULL);
	reconcile_close(session->reconcile, part_closed, &reconcile_closed);
	while (!reconcile_closed)
		turn_run(loop);
	http_client_close(session->http, part_closed, &http_closed);
	while (!http_closed)
		turn_run(loop);
	twilio_client_free(&session->twilio);
	cmd_ledger_close(&session->ledger);
}

/* ---- the command ---- */

/* "7d" before now, or the start of a day. */
static bool parse_since(const char *text, int64_t now_ms, int64_t *from_ms)
{
	char day[32];
	int64_t ms;
	if (config_parse_duration(slice_from_cstr(text), &ms)) {
		*from_ms = ms < now_ms ? now_ms - ms : 0;
		return ms > 0;
	}
	int len = snprintf(day, sizeof(day), "%sT00:00:00Z", text);
	if (strlen(text) != 10 || clock_parse_iso8601(day, (size_t)len, from_ms) != 0)
		return false;
	return *from_ms >= 0 && *from_ms <= now_ms;
}

static void begin_table(struct session *session)
{
	static const char *const headings[] = {"RECORDING", "STARTED", "CALL", "SECONDS", "SOURCE", "IS"};
	static const int widths[] = {SID_LEN, 20, SID_LEN, 7, 22, 10};
	if (session->run.dry_run)
		table_init(&session->table, stdout, isatty(STDOUT_FILENO) == 1, 6, headings, widths);
}

int cmd_reconcile(const struct config *config, int argc, char **argv)
{
	const char *since = DEFAULT_SINCE;
	bool dry_run = false, restart = false;
	const struct argument table[] = {{"--since", &since, NULL}, {"--dry-run", NULL, &dry_run}, {"--restart", NULL, &restart}};
	char problem[160];
	int64_t now_ms = clock_wall_ms();
	int64_t from_ms;
	if (arguments_parse(argc, argv, table, sizeof(table) / sizeof(table[0]), problem, sizeof(problem)) != 0)
		return cmd_usage_error("reconcile", usage, "%s", problem);
	if (!parse_since(since, now_ms, &from_ms))
		return cmd_usage_error("reconcile", usage,
				       "--since: '%s' is neither a duration like 7d nor a day of the past like 2026-05-01",
				       since);
	signal(SIGPIPE, SIG_IGN);
	struct session *session = calloc(1, sizeof(*session));
	REQUIRE(session != NULL);
	session->terminal = isatty(STDERR_FILENO) == 1;
	session->continued_of = -1;
	session->run = (struct reconcile_run){
		.kind = LEDGER_RECONCILE_REQUESTED,
		.dry_run = dry_run,
		.restart = restart,
		.from_ms = from_ms,
		.to_ms = now_ms,
		.found = on_found,
		.progress = on_progress,
		.done = on_done,
	};
	int status = open_session(session, config);
	if (status == CMD_OK) {
		/* What it does is printed; lines of a log would only be in between. */
		log_configure(LOG_ERROR, (enum log_format)config->log_format);
		begin_table(session);
		walk(session);
		if (session->status != ERR_LOCKED)
			print_summary(session);
		if (session->run.healed > 0 && !session->interrupted)
			tell_who_works(session);
		status = result_of(session);
		close_session(session);
	}
	free(session->sids);
	twilio_accounts_free(&session->accounts);
	free(session);
	return status;
}
