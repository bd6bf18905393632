/* SPDX-License-Identifier: MIT */
/* The whole daemon on a loop of the test's: it starts or says why not, and however it ends nothing stays open. */
#include "app.h"

#include "base/check.h"
#include "base/log.h"
#include "ledger/ledger.h"
#include "loop/intake/fixture.h"
#include "loop/support/peer.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AC "AC0123456789abcdef0123456789abcdef"
#define FORM                                                                                           \
	"AccountSid=" AC "&CallSid=CA0123456789abcdef0123456789abcdef&RecordingSid=RE0123456789abcdef" \
	"0123456789abcdef&RecordingStatus=completed"

static char directory[64];
static char data_dir[128];
static char path[256];
static struct config config;
static struct app *app;
static bool stopped;
static int fds_before;

/* Those that are open now: what a failed start leaves behind would show here. */
static int count_fds(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void set(const char *name, const char *value)
{
	if (value == NULL)
		unsetenv(name);
	else
		setenv(name, value, 1);
}

static void load_config(void)
{
	struct error error = {0};
	config_free(&config);
	cr_assert_eq(config_load(&config, NULL, &error), 0, "%s", error.detail);
}

static void setup(void)
{
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	snprintf(directory, sizeof(directory), "/tmp/reeld-app-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(data_dir, sizeof(data_dir), "%s/data", directory);
	set("DATA_DIR", data_dir);
	set("LISTEN", "127.0.0.1:0");
	set("ADMIN_LISTEN", "127.0.0.1:0");
	set("TWILIO_ACCOUNT_SID", AC);
	set("TWILIO_AUTH_TOKEN", "a-token");
	set("TWILIO_API_BASE", "http://127.0.0.1:9");
	set("VALIDATE_TWILIO_SIGNATURE", "false");
	set("UNKNOWN_CALL", "archive");
	set("JOURNAL_MAX", "4MiB");
	set("JOURNAL_SEGMENT", "1MiB");
	set("SHUTDOWN_GRACE", "300ms");
	set("LOG_LEVEL", "error");
	load_config();
	fixture_init();
	uv_loop_t *loop = &fixture.loop;
	/* The pool's threads and libuv's own descriptors come with first use and stay. */
	uv_fs_t stat;
	uv_fs_stat(loop, &stat, directory, NULL);
	uv_fs_req_cleanup(&stat);
}

static int remove_entry(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void on_stopped(void *data)
{
	cr_assert_eq(data, &stopped);
	stopped = true;
}

static void stop(void)
{
	stopped = false;
	app_stop(app, on_stopped, &stopped);
	cr_assert_not(stopped, "stopped inside stop");
	app = NULL;
}

static void teardown(void)
{
	if (app != NULL) {
		stop();
		TURN_UNTIL(stopped);
	}
	fixture_fini();
	config_free(&config);
	nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(app, .init = setup, .fini = teardown, .timeout = 60);

static void start(void)
{
	struct error error = {0};
	cr_assert_eq(app_new(&app, &fixture.loop, &config, NULL, &error), 0, "%s", error.detail);
	cr_assert_not_null(app);
}

/* Only what was there before is left on the loop. */
static unsigned handles_before = 1; /* the fixture's timer */
static bool nothing_left(void)
{
	const uv_loop_t *loop = &fixture.loop;
	return loop->active_handles <= handles_before && loop->active_reqs.count == 0 && loop->closing_handles == NULL;
}

/* ---- starting ---- */

static const char *get(int port, const char *target, struct raw_client *client)
{
	char text[256];
	raw_connect_port(client, port);
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", target);
	raw_send_text(client, text);
	TURN_UNTIL(client->ended);
	const char *body = strstr(buffer_cstr(&client->in), "\r\n\r\n");
	cr_assert_not_null(body);
	return body + 4;
}

Test(app, both_listeners_say_that_it_is_ready_and_what_it_depends_on)
{
	static const char *const names[] = {"ledger", "idempotency", "twilio", "store"};
	start();
	for (int i = 0; i < 2; i++) {
		struct raw_client client;
		const char *body = get(i == 0 ? app_public_port(app) : app_admin_port(app), "/readyz", &client);
		cr_assert(raw_has(&client, "HTTP/1.1 200 OK\r\n"));
		json_t *json = json_loads(body, 0, NULL);
		cr_assert(json_is_true(json_object_get(json, "ready")), "%s", body);
		cr_assert(json_is_false(json_object_get(json, "stopping")));
		cr_assert(json_is_true(json_object_get(json_object_get(json, "inbox"), "writable")));
		cr_assert_eq(json_integer_value(json_object_get(json_object_get(json, "inbox"), "events")), 0);
		for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
			cr_assert(json_is_true(json_object_get(json_object_get(json_object_get(json, "dependencies"), names[n]),
							       "up")),
				  "%s: %s", names[n], body);
		json_decref(json);
		raw_close(&client);
	}
}

Test(app, metrics_show_the_build_and_the_gauges_that_are_set_when_asked)
{
	struct raw_client client;
	start();
	get(app_admin_port(app), "/metrics", &client);
	cr_assert(raw_has(&client, "reeld_build_info{version=\"" REELD_VERSION "\"} 1\n"));
	cr_assert(raw_has(&client, "\nreeld_inbox_events 0\n"));
	cr_assert(raw_has(&client, "reeld_dependency_up{dependency=\"ledger\"} 1\n"));
	cr_assert(raw_has(&client, "reeld_jobs{state=\"pending\"} 0\n"));
	raw_close(&client);
}

Test(app, the_private_listener_may_be_off)
{
	set("ADMIN_LISTEN", "off");
	load_config();
	start();
	cr_assert_eq(app_admin_port(app), 0);
	cr_assert_gt(app_public_port(app), 0);
}

/* ---- failing to start ---- */

static void expect_no_start(int code, const char *word)
{
	struct error error = {0};
	struct app *none = NULL;
	fds_before = count_fds();
	handles_before = fixture.loop.active_handles;
	int status = app_new(&none, &fixture.loop, &config, NULL, &error);
	cr_assert_lt(status, 0);
	cr_assert(code == 0 || status == code, "%s: %s", err_name(status), error.detail);
	cr_assert_null(none);
	cr_assert_not_null(strstr(error.detail, word), "%s", error.detail);
	cr_assert_null(strstr(error.detail, "a-token"));
	TURN_UNTIL(nothing_left());
	cr_assert_eq(count_fds(), fds_before, "descriptors are left open");
}

/* And whatever stood in the way gone, it starts on the same directory. */
static void expect_a_start(void)
{
	load_config();
	start();
}

static void write_file(const char *name, const char *text)
{
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

Test(app, an_accounts_file_that_is_not_there_stops_the_start)
{
	set("TWILIO_ACCOUNTS_FILE", "/nonexistent/accounts");
	load_config();
	expect_no_start(ERR_CONFIG, "/nonexistent/accounts");
	set("TWILIO_ACCOUNTS_FILE", NULL);
	expect_a_start();
}

Test(app, a_broken_accounts_file_stops_the_start)
{
	write_file("accounts", AC "\n");
	set("TWILIO_ACCOUNTS_FILE", path);
	load_config();
	expect_no_start(ERR_CONFIG, path);
	set("TWILIO_ACCOUNTS_FILE", NULL);
	expect_a_start();
}

Test(app, a_data_directory_that_cannot_be_made_stops_the_start)
{
	set("DATA_DIR", "/proc/self/nothing/here");
	load_config();
	expect_no_start(0, "DATA_DIR: cannot create /proc/self/nothing/here");
	write_file("file", "");
	set("DATA_DIR", path);
	load_config();
	expect_no_start(0, "file");
	set("DATA_DIR", data_dir);
	expect_a_start();
}

Test(app, a_data_directory_in_use_stops_the_start_and_leaves_the_other_alone)
{
	struct raw_client client;
	start();
	expect_no_start(ERR_LOCKED, "journal");
	get(app_public_port(app), "/readyz", &client);
	cr_assert(raw_has(&client, "\"ready\":true"));
	raw_close(&client);
}

Test(app, a_ledger_that_is_none_stops_the_start)
{
	char name[256];
	cr_assert_eq(mkdir(data_dir, 0700), 0);
	cr_assert_eq(ledger_sqlite_path(data_dir, name, sizeof(name)), 0);
	FILE *file = fopen(name, "w");
	for (int i = 0; i < 1000; i++)
		fputs("this is no database ", file);
	fclose(file);
	expect_no_start(0, "ledger");
	cr_assert_eq(unlink(name), 0);
	expect_a_start();
}

Test(app, a_store_that_cannot_be_opened_stops_the_start)
{
	char name[256];
	start();
	stop();
	TURN_UNTIL(stopped);
	snprintf(name, sizeof(name), "%s/.tmp", data_dir);
	nftw(name, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	FILE *file = fopen(name, "w");
	cr_assert_not_null(file);
	fclose(file);
	expect_no_start(0, data_dir);
	cr_assert_eq(unlink(name), 0);
	expect_a_start();
}

Test(app, a_certificate_that_is_not_there_stops_the_start)
{
	set("TLS_CERT", "/nonexistent/cert.pem");
	set("TLS_KEY", "/nonexistent/key.pem");
	load_config();
	expect_no_start(0, "/nonexistent/cert.pem");
	set("TLS_CERT", NULL);
	set("TLS_KEY", NULL);
	expect_a_start();
}

Test(app, a_public_address_in_use_stops_the_start)
{
	char address[32];
	fixture_start(); /* another server of ours holds an address */
	snprintf(address, sizeof(address), "127.0.0.1:%d", server_port(fixture.server));
	set("LISTEN", address);
	load_config();
	struct error error = {0};
	fds_before = count_fds();
	cr_assert_lt(app_new(&app, &fixture.loop, &config, NULL, &error), 0);
	cr_assert_not_null(strstr(error.detail, address), "%s", error.detail);
	TURN_UNTIL(count_fds() == fds_before);
	set("LISTEN", "127.0.0.1:0");
	set("ADMIN_LISTEN", address);
	load_config();
	cr_assert_lt(app_new(&app, &fixture.loop, &config, NULL, &error), 0);
	cr_assert_not_null(strstr(error.detail, address), "%s", error.detail);
	TURN_UNTIL(count_fds() == fds_before);
	set("ADMIN_LISTEN", "127.0.0.1:0");
	expect_a_start();
}

Test(app, a_bad_proxy_list_stops_the_start)
{
	free(config.trusted_proxies);
	config.trusted_proxies = strdup("nonsense");
	expect_no_start(ERR_CONFIG, "TRUSTED_PROXIES");
	expect_a_start();
}

/* ---- stopping ---- */

static void post(struct raw_client *client)
{
	char text[1024];
	raw_connect_port(client, app_public_port(app));
	snprintf(text, sizeof(text),
		 "POST /api/twilio/recording HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n"
		 "Content-Length: %zu\r\n\r\n" FORM,
		 strlen(FORM));
	raw_send_text(client, text);
}

/* With an event under way somewhere between the socket and Twilio, which is not there. */
Test(app, can_be_stopped_at_every_turn_of_the_loop)
{
	set("SHUTDOWN_GRACE", "2s");
	load_config();
	for (int turns = 0; turns < 24; turns++) {
		struct raw_client client;
		if (turns == 1) /* what comes with first use stays: the pool, curl */
			fds_before = count_fds();
		start();
		post(&client);
		for (int i = 0; i < turns; i++)
			fixture_turn();
		stop();
		TURN_UNTIL(stopped);
		raw_close(&client);
		cr_assert(nothing_left(), "after %d turns", turns);
		cr_assert(turns == 0 || count_fds() == fds_before, "after %d turns", turns);
	}
}

/* Twilio keeps the pipeline busy for ever. */
Test(app, who_is_not_done_within_the_grace_is_let_go)
{
	struct raw_client client;
	static const struct peer_script silent = {.hang = true};
	char base[64];
	struct peer *peer = peer_new(&fixture.loop, "127.0.0.1", &silent, 1);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", peer_port(peer));
	set("TWILIO_API_BASE", base);
	set("ACK", "archived");
	set("ACK_TIMEOUT", "60s");
	load_config();
	start();
	post(&client);
	TURN_UNTIL(peer_requests(peer) == 1);
	uint64_t began = uv_hrtime();
	stop();
	TURN_UNTIL(stopped);
	cr_assert_geq(uv_hrtime() - began, UINT64_C(250000000));
	/* It is on disk, and the job was released: the client is told so before the connection ends. */
	TURN_UNTIL(client.ended);
	cr_assert(raw_has(&client, "Recording accepted"), "%s", buffer_cstr(&client.in));
	raw_close(&client);
	peer_close(peer);
	TURN_UNTIL(nothing_left());
	/* What was acknowledged is still there after the restart, and is taken up at once. */
	peer = peer_new(&fixture.loop, "127.0.0.1", &silent, 1);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d", peer_port(peer));
	set("TWILIO_API_BASE", base);
	load_config();
	start();
	TURN_UNTIL(peer_requests(peer) == 1);
	stop();
	TURN_UNTIL(stopped);
	peer_close(peer);
	TURN_UNTIL(nothing_left());
}

/* ---- reload ---- */

static int answer_to(const char *signature)
{
	struct raw_client client;
	char text[1024];
	raw_connect_port(&client, app_public_port(app));
	snprintf(text, sizeof(text),
		 "POST /api/twilio/recording HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n"
		 "X-Twilio-Signature: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n" FORM,
		 signature, strlen(FORM));
	raw_send_text(&client, text);
	TURN_UNTIL(client.ended);
	int status = (int)strtol(buffer_cstr(&client.in) + 9, NULL, 10);
	raw_close(&client);
	return status;
}

static const char *sign(const char *token)
{
	static char signature[REELD_SIGNATURE_SIZE];
	static char scratch[1024];
	struct reeld_form_field fields[8];
	struct reeld_signature_key *key = reeld_signature_key_new(token, strlen(token));
	struct reeld_signature_request request = {
		.base = "http://t", .base_len = 8, .target = "/api/twilio/recording", .target_len = 21, .fields = fields};
	cr_assert_eq(reeld_form_parse(FORM, strlen(FORM), fields, 8, scratch, sizeof(scratch), &request.field_count),
		     REELD_FORM_OK);
	cr_assert(reeld_signature_sign(key, &request, signature));
	reeld_signature_key_free(&key);
	return signature;
}

Test(app, a_reload_takes_new_tokens_and_a_broken_one_keeps_the_old)
{
	set("VALIDATE_TWILIO_SIGNATURE", "true");
	load_config();
	start();
	cr_assert_eq(answer_to(sign("a-token")), 200);
	cr_assert_eq(answer_to(sign("b-token")), 403);
	set("TWILIO_AUTH_TOKEN", "b-token,a-token");
	app_reload(app);
	cr_assert_eq(answer_to(sign("b-token")), 200);
	set("MAX_ATTEMPTS", "many"); /* a setting that nobody can read */
	set("TWILIO_AUTH_TOKEN", "c-token");
	app_reload(app);
	cr_assert_eq(answer_to(sign("c-token")), 403);
	cr_assert_eq(answer_to(sign("a-token")), 200);
	set("MAX_ATTEMPTS", NULL);
	set("TWILIO_ACCOUNTS_FILE", "/nonexistent/accounts");
	app_reload(app);
	cr_assert_eq(answer_to(sign("c-token")), 403);
	cr_assert_eq(answer_to(sign("b-token")), 200);
}

/* The status of /api/history to a client without a token. */
static int api_answers(void)
{
	struct raw_client client;
	raw_connect_port(&client, app_admin_port(app));
	raw_send_text(&client, "GET /api/history HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
	TURN_UNTIL(client.ended);
	int status = (int)strtol(buffer_cstr(&client.in) + 9, NULL, 10);
	raw_close(&client);
	return status;
}

Test(app, a_token_of_the_api_that_a_reload_brought_is_not_taken_away_by_the_next)
{
	start();
	cr_assert_eq(api_answers(), 200);
	app_reload(app);
	cr_assert_eq(api_answers(), 200, "there never was one");
	set("ADMIN_TOKEN", "correct-horse-battery-staple");
	app_reload(app);
	cr_assert_eq(api_answers(), 401);
	set("ADMIN_TOKEN", NULL);
	app_reload(app);
	cr_assert_eq(api_answers(), 401, "the API is open again");
	app_reload(app);
	cr_assert_eq(api_answers(), 401, "the API is open again");
}
