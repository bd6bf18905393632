/* SPDX-License-Identifier: MIT */
/*
 * reeld check: the configuration was read by main already; here every dependency that it names is reached, one after the other, one line each.
 */
#include "adapters/http_client.h"
#include "app.h"
#include "base/check.h"
#include "base/descriptors.h"
#include "base/turn.h"
#include "cmd/cmd.h"
#include "cmd/cmd_ledger.h"
#include "engines.h"
#include "intake/connection.h"
#include "intake/tls.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "store/store.h"
#include "twilio/accounts.h"
#include "twilio/client.h"
#include "twilio/private_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer than a name and a connection take. */
#define CHECK_FILTER_MS 5000

struct check_run {
	const struct config *config;
	uv_loop_t loop;
	bool failed;
	bool answered;
	bool running; /* another process has the journal */
	int status;
	struct error listen;
	struct error admin_listen;
	struct ledger_request ping;
	struct store_request probe;
	struct twilio_request account;
};

static void check_report(struct check_run *run, const char *what, int status, const char *detail)
{
	printf("%-4s  %-8s  %s\n", status == 0 ? "ok" : "FAIL", what, detail);
	if (status != 0)
		run->failed = true;
}

static void check_closed(void *data)
{
	(void)data;
}

/* Turns the loop until the request under way has answered and everything is closed. */
static void check_wait(struct check_run *run)
{
	while (!run->answered && turn_run(&run->loop) != 0)
		;
}

static void check_ledger_done(struct ledger_request *request, int status)
{
	struct check_run *run = request->data;
	run->status = status;
	run->answered = true;
}

/* `where` is for people. What only lacks migrations is made complete by serve, unless it was told not to. */
static void check_report_ledger(struct check_run *run, const char *where, int status, const struct error *error)
{
	char detail[4608];
	const char *kind = engines_use_postgres(run->config) ? "postgres" : "sqlite";
	bool pending = status == ERR_MIGRATION && run->config->migrate;
	if (pending)
		snprintf(detail, sizeof(detail), "%s %s: serve applies the migrations that it lacks", kind, where);
	else if (status != 0)
		snprintf(detail, sizeof(detail), "%s %s: %s", kind, where, error->code != 0 ? error->detail : err_text(status));
	else
		snprintf(detail, sizeof(detail), "%s %s", kind, where);
	check_report(run, "ledger", pending ? 0 : status, detail);
}

/* Opens and asks. */
static void check_open_ledger(struct check_run *run, const char *where)
{
	struct ledger *ledger = NULL;
	struct error error = {0};
	if (engines_open_ledger(&ledger, &run->loop, run->config, "check", ENGINES_COMMAND, &error) != 0) {
		check_report_ledger(run, where, error.code, &error);
		return;
	}
	run->answered = false;
	run->ping = (struct ledger_request){.op = LEDGER_PING, .done = check_ledger_done, .data = run};
	ledger_submit(ledger, &run->ping);
	check_wait(run);
	/* To requests it is an outage like others. */
	bool lacks = engines_use_postgres(run->config) && ledger_postgres_lacks_migrations(ledger);
	check_report_ledger(run, where, lacks ? ERR_MIGRATION : run->status, &run->ping.error);
	ledger_request_release(&run->ping);
	ledger_close(ledger, check_closed, NULL);
	uv_run(&run->loop, UV_RUN_DEFAULT);
}

static void check_ledger(struct check_run *run)
{
	char path[4096];
	char detail[4352];
	if (engines_use_postgres(run->config)) {
		/* Not the URL: it may hold a password. */
		check_open_ledger(run, "at DATABASE_URL");
		return;
	}
	int status = ledger_sqlite_path(run->config->data_dir, path, sizeof(path));
	if (status != 0) {
		check_report(run, "ledger", status, "DATA_DIR is too long");
		return;
	}
	/* Looking must not create it. */
	if (access(path, F_OK) != 0 && errno == ENOENT) {
		bool migrate = run->config->migrate;
		snprintf(detail, sizeof(detail), "%s does not exist yet: %s", path,
			 migrate ? "serve creates it" : "MIGRATE=off, so run `reeld migrate`");
		check_report(run, "ledger", migrate ? 0 : ERR_MIGRATION, detail);
		return;
	}
	check_open_ledger(run, path);
}

static void check_filter_timeout(uv_timer_t *timer)
{
	struct check_run *run = timer->data;
	run->answered = true;
}

/* Redis connects in the background: until it is up, or says why not. */
static void check_filter(struct check_run *run)
{
	struct idempotency *filter = NULL;
	struct error error = {0};
	char detail[512];
	if (run->config->redis_url == NULL)
		return;
	if (engines_open_filter(&filter, &run->loop, run->config, &error) != 0) {
		check_report(run, "redis", error.code, error.detail);
		return;
	}
	uv_timer_t timer;
	REQUIRE(uv_timer_init(&run->loop, &timer) == 0);
	timer.data = run; // cppcheck-suppress autoVariables ; closed before this returns
	uv_timer_start(&timer, check_filter_timeout, CHECK_FILTER_MS, 0);
	run->answered = false;
	while (!run->answered && !idempotency_up(filter) && idempotency_redis_problem(filter)->code == 0)
		turn_run(&run->loop);
	const struct error *problem = idempotency_redis_problem(filter);
	bool up = idempotency_up(filter);
	if (up)
		snprintf(detail, sizeof(detail), "at REDIS_URL: answers");
	else
		snprintf(detail, sizeof(detail), "at REDIS_URL: %s", problem->code != 0 ? problem->detail : "no answer in time");
	check_report(run, "redis", up ? 0 : ERR_UNAVAILABLE, detail);
	uv_close((uv_handle_t *)&timer, NULL);
	idempotency_close(filter, check_closed, NULL);
	uv_run(&run->loop, UV_RUN_DEFAULT);
}

static void check_store_done(struct store_request *request, int status)
{
	struct check_run *run = request->data;
	run->status = status;
	run->answered = true;
}

static void check_store(struct check_run *run)
{
	struct storage *storage = NULL;
	struct error error = {0};
	char where[4224];
	char detail[4608];
	if (storage_open(&storage, &run->loop, run->config, &error) != 0) {
		check_report(run, "storage", error.code, error.detail);
		uv_run(&run->loop, UV_RUN_DEFAULT);
		return;
	}
	storage_describe(storage, where, sizeof(where));
	run->answered = false;
	run->probe = (struct store_request){.op = STORE_PROBE, .done = check_store_done, .data = run};
	store_submit(storage_store(storage), &run->probe);
	check_wait(run);
	if (run->status == 0)
		snprintf(detail, sizeof(detail), "%s: wrote, read and deleted a probe", where);
	else
		snprintf(detail, sizeof(detail), "%s: %s", where,
			 run->probe.error.code != 0 ? run->probe.error.detail : err_text(run->status));
	check_report(run, "storage", run->status, detail);
	storage_close(storage, check_closed, NULL);
	uv_run(&run->loop, UV_RUN_DEFAULT);
}

static void check_twilio_done(struct twilio_request *request, int status)
{
	struct check_run *run = request->data;
	run->status = status;
	run->answered = true;
}

static void check_twilio_account(struct check_run *run, struct twilio_accounts *accounts)
{
	char detail[512];
	struct http_client *http = http_client_new(&run->loop,
						   &(struct http_client_options){.user_agent = "reeld/" REELD_VERSION});
	struct twilio_client *twilio = http == NULL ? NULL
						    : twilio_client_new(&(struct twilio_client_options){
							      .http = http,
							      .base = run->config->twilio_api_base,
							      .accounts = accounts});
	int status = twilio == NULL ? ERR_NOMEM : 0;
	if (status == 0) {
		run->answered = false;
		run->account = (struct twilio_request){.op = TWILIO_ACCOUNT, .done = check_twilio_done, .data = run};
		(void)sid_parse(slice_from_cstr(twilio_accounts_first(accounts)), "AC", &run->account.account_sid);
		status = twilio_start(twilio, &run->account);
	}
	if (status == 0) {
		check_wait(run);
		status = run->status;
	}
	if (status == 0)
		snprintf(detail, sizeof(detail), "%s accepts the credentials of %s", run->config->twilio_api_base,
			 run->account.account_sid.text);
	else
		snprintf(detail, sizeof(detail), "%s: %s", err_text(status), run->account.error.detail);
	check_report(run, "twilio", status, detail);
	twilio_request_release(&run->account);
	twilio_client_free(&twilio);
	if (http != NULL)
		http_client_close(http, check_closed, NULL);
	uv_run(&run->loop, UV_RUN_DEFAULT);
}

static void check_certificate(struct check_run *run)
{
	struct error error = {0};
	char detail[4352];
	if (run->config->tls_cert == NULL)
		return;
	struct tls_context *tls = tls_context_new(run->config->tls_cert, run->config->tls_key, &error);
	snprintf(detail, sizeof(detail), "%s and its key fit", run->config->tls_cert);
	check_report(run, "tls", error.code, tls == NULL ? error.detail : detail);
	tls_context_free(&tls);
}

static void check_twilio(struct check_run *run)
{
	struct twilio_accounts *accounts = NULL;
	struct error error = {0};
	if (app_build_accounts(run->config, &accounts, &error) != 0) {
		check_report(run, "twilio", error.code, error.detail);
		return;
	}
	if (twilio_accounts_first(accounts)[0] == '\0')
		check_report(run, "twilio", 0,
			     "no TWILIO_ACCOUNT_SID: signatures can be checked, credentials cannot; media will be fetched per "
			     "AccountSid");
	else
		check_twilio_account(run, accounts);
	twilio_accounts_free(&accounts);
}

/* Makes a file there and removes it. 0 or an errno. */
static int check_write(const char *directory)
{
	static const char text[] = "reeld can write here\n";
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/.check-XXXXXX", directory) >= (int)sizeof(path))
		return ENAMETOOLONG;
	int fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return errno;
	int errnum = unlink(path) == 0 && write(fd, text, sizeof(text)) == (ssize_t)sizeof(text) && fsync(fd) == 0 ? 0 : errno;
	close(fd);
	return errnum;
}

static void check_no_journal(struct check_run *run, const char *path)
{
	char detail[4352];
	int errnum = check_write(run->config->data_dir);
	if (errnum == 0)
		snprintf(detail, sizeof(detail), "%s does not exist yet: serve creates it", path);
	else
		snprintf(detail, sizeof(detail), "DATA_DIR: cannot write to %s: %s", run->config->data_dir, strerror(errnum));
	check_report(run, "journal", err_from_errno(errnum), detail);
}

static void check_journal_with(struct check_run *run, struct metrics *metrics)
{
	struct error error = {0};
	struct journal_stats stats;
	char path[4096];
	char detail[4352];
	snprintf(path, sizeof(path), "%s/journal", run->config->data_dir);
	const struct journal_options options = {.directory = path,
						.max_bytes = run->config->journal_max,
						.segment_bytes = run->config->journal_segment,
						.metrics = metrics};
	int status = journal_inspect(&options, &stats, &error);
	unsigned long long events = status == 0 ? (unsigned long long)stats.events : 0;
	run->running = status == ERR_LOCKED;
	if (run->running) {
		check_report(run, "journal", 0, "in use by a running reeld");
	} else if (status == ERR_NOT_FOUND) {
		check_no_journal(run, path);
	} else if (status != 0) {
		check_report(run, "journal", status, error.detail);
	} else if (stats.last_error == ERR_JOURNAL_FULL) {
		/* Not a failure of the start: that is what empties it. */
		printf("%-4s  %-8s  %s: at JOURNAL_MAX, %llu events waiting: webhooks are answered 503 until the ledger has "
		       "them\n",
		       "warn", "journal", path, events);
	} else {
		snprintf(detail, sizeof(detail), "%s: %s, %llu events waiting", path,
			 stats.accepting ? "writable" : err_text(stats.last_error), events);
		check_report(run, "journal", stats.last_error, detail);
	}
}

/* The journal counts what it does, also here where nobody asks. */
static void check_journal(struct check_run *run)
{
	struct metrics *metrics = metrics_new();
	if (metrics == NULL)
		check_report(run, "journal", ERR_NOMEM, err_text(ERR_NOMEM));
	else
		check_journal_with(run, metrics);
	metrics_free(&metrics);
}

/* ---- what the machine gives ---- */

static void check_limits(struct check_run *run)
{
	struct app_limits limits;
	struct error error = {0};
	if (app_limit_connections(run->config, descriptors_raise(), &limits, &error) != 0)
		check_report(run, "limits", error.code, error.detail);
	else if (limits.limit < limits.wanted)
		printf("%-4s  %-8s  %" PRIu64 " open files, the settings want %" PRIu64 ": %" PRIu64
		       " public connections instead of MAX_CONNECTIONS\n",
		       "warn", "limits", limits.limit, limits.wanted, limits.connections);
}

/* Who may bind a low port may no longer when it has become the owner of DATA_DIR: before that. */
static void check_bind(struct check_run *run)
{
	server_can_listen(run->config->listen, &run->listen);
	if (run->config->admin_listen != NULL)
		server_can_listen(run->config->admin_listen, &run->admin_listen);
}

static void check_listen(struct check_run *run, const char *what, const char *variable, const char *address,
			 const struct error *error)
{
	char detail[512];
	bool ours = error->code == ERR_LOCKED && run->running;
	if (address == NULL)
		return;
	if (error->code == 0 || ours)
		snprintf(detail, sizeof(detail), "%s %s%s", variable, address, ours ? " is in use by a running reeld" : "");
	else
		snprintf(detail, sizeof(detail), "%s: %s", variable, error->detail);
	check_report(run, what, ours ? 0 : error->code, detail);
}

static void check_key_warning(void *data, const char *name, const char *warning)
{
	(void)data;
	printf("%-4s  %-8s  %s: %s\n", "warn", "keys", name, warning);
}

static void check_keys(struct check_run *run)
{
	struct private_keys *keys = NULL;
	struct error error = {0};
	char detail[4352];
	const char *directory = run->config->twilio_encryption_keys;
	if (directory == NULL)
		return;
	if (private_keys_load(&keys, directory, check_key_warning, NULL, &error) != 0) {
		check_report(run, "keys", error.code, error.detail);
		return;
	}
	snprintf(detail, sizeof(detail), "%zu in %s, each opens what its public key seals", private_keys_count(keys), directory);
	check_report(run, "keys", 0, detail);
	private_keys_free(&keys);
}

int cmd_check(const struct config *config, int argc, char **argv)
{
	if (argc > 1)
		return cmd_usage_error("check", "reeld check", "unexpected argument '%s'", argv[1]);
	struct check_run run = {.config = config};
	struct error error = {0};
	if (config_require_serve(config, &error) != 0)
		check_report(&run, "config", error.code, error.detail);
	else
		check_report(&run, "config", 0, "valid");
	check_bind(&run);
	if (cmd_become_owner("check", config->data_dir) != CMD_OK)
		return CMD_FAILED;
	bool made = mkdir(config->data_dir, 0700) == 0;
	if (!made && errno != EEXIST) {
		char detail[4352];
		snprintf(detail, sizeof(detail), "DATA_DIR: cannot create %s: %s", config->data_dir, strerror(errno));
		check_report(&run, "journal", ERR_DENIED, detail);
		return CMD_FAILED;
	}
	REQUIRE(uv_loop_init(&run.loop) == 0);
	check_limits(&run);
	check_certificate(&run);
	check_keys(&run);
	check_journal(&run);
	check_listen(&run, "listen", "LISTEN", config->listen, &run.listen);
	check_listen(&run, "admin", "ADMIN_LISTEN", config->admin_listen, &run.admin_listen);
	check_ledger(&run);
	check_filter(&run);
	check_store(&run);
	check_twilio(&run);
	uv_run(&run.loop, UV_RUN_DEFAULT);
	REQUIRE(uv_loop_close(&run.loop) == 0);
	if (made)
		rmdir(config->data_dir); /* unless somebody has begun to use it */
	return run.failed ? CMD_FAILED : CMD_OK;
}
