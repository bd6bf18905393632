/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "base/buffer.h"
#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCOUNT "AC0123456789abcdef0123456789abcdef"
#define KEY "SK0123456789abcdef0123456789abcdef"

static struct config config;
static struct error error;
static char folder[] = "/tmp/reeld-config-XXXXXX";

static void setup(void)
{
	clearenv();
	cr_assert_not_null(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
}

static void teardown(void)
{
	config_free(&config);
	unlink("env");
	unlink("secret");
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(config, .init = setup, .fini = teardown);

static void put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

static void load(const char *env_file)
{
	config_free(&config);
	cr_assert_eq(config_load(&config, env_file, &error), 0, "%s", error.detail);
}

/* The variable with this value is refused, and the one line has these words. */
static void refuse(const char *variable, const char *value, const char *words)
{
	config_free(&config);
	setenv(variable, value, 1);
	cr_expect_eq(config_load(&config, NULL, &error), ERR_CONFIG, "%s=%s", variable, value);
	cr_expect_eq(strncmp(error.detail, variable, strlen(variable)), 0, "%s", error.detail);
	cr_expect_not_null(strstr(error.detail, words), "\"%s\" is not in: %s", words, error.detail);
	cr_expect_null(strchr(error.detail, '\n'));
	cr_expect_null(config.listen, "nothing is left after a failure");
	unsetenv(variable);
}

Test(config, without_any_variable_the_documented_defaults_hold)
{
	load(NULL);
	cr_expect_str_eq(config.listen, "0.0.0.0:8080");
	cr_expect_str_eq(config.admin_listen, "127.0.0.1:9464");
	cr_expect_null(config.admin_token);
	cr_expect_null(config.tls_cert);
	cr_expect_str_eq(config.data_dir, "./data");
	cr_expect_null(config.public_url);
	cr_expect_str_eq(config.twilio_api_base, "https://api.twilio.com");
	cr_expect(config.validate_signature);
	cr_expect_str_eq(config.s3_prefix, "recordings/");
	cr_expect_eq(config.recording_format, CONFIG_FORMAT_WAV);
	cr_expect_eq(config.recording_channels, 0);
	cr_expect_eq(config.ack, CONFIG_ACK_ACCEPTED);
	cr_expect_eq(config.ack_timeout_ms, 10000);
	cr_expect_eq(config.unknown_call, CONFIG_UNKNOWN_CALL_FETCH);
	cr_expect_not(config.delete_from_twilio);
	cr_expect_eq(config.journal_max, UINT64_C(4) << 30);
	cr_expect_eq(config.journal_segment, UINT64_C(64) << 20);
	cr_expect_eq(config.max_transfers, 64);
	cr_expect_eq(config.transfer_buffer, 256 << 10);
	cr_expect_eq(config.multipart_threshold, 64 << 20);
	cr_expect_eq(config.max_attempts, 12);
	cr_expect_eq(config.retry_base_ms, 2000);
	cr_expect_eq(config.retry_max_ms, 3600000);
	cr_expect_eq(config.max_body, 64 << 10);
	cr_expect_eq(config.max_connections, 4096);
	cr_expect_eq(config.header_timeout_ms, 10000);
	cr_expect_eq(config.idle_timeout_ms, 60000);
	cr_expect_eq(config.shutdown_grace_ms, 25000);
	cr_expect(config.migrate);
	cr_expect_eq(config.workers, 1);
	cr_expect_eq(config.log_level, LOG_INFO);
}

Test(config, values_of_every_kind_are_read)
{
	setenv("LISTEN", "[::1]:0", 1);
	setenv("ADMIN_LISTEN", "off", 1);
	setenv("ACK", "archived", 1);
	setenv("UNKNOWN_CALL", "skip", 1);
	setenv("RECORDING_FORMAT", "mp3", 1);
	setenv("RECORDING_CHANNELS", "2", 1);
	setenv("DELETE_FROM_TWILIO", "archived", 1);
	setenv("VALIDATE_TWILIO_SIGNATURE", "false", 1);
	setenv("MIGRATE", "off", 1);
	setenv("ACK_TIMEOUT", "500ms", 1);
	setenv("RETRY_MAX", "7d", 1);
	setenv("IDLE_TIMEOUT", "5m", 1);
	setenv("MAX_BODY", "2048", 1);
	setenv("TRANSFER_BUFFER", "1MiB", 1);
	setenv("MAX_ATTEMPTS", "3", 1);
	setenv("LOG_LEVEL", "error", 1);
	setenv("LOG_FORMAT", "text", 1);
	setenv("TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,192.0.2.1", 1);
	setenv("TWILIO_ACCOUNT_SID", ACCOUNT, 1);
	setenv("TWILIO_AUTH_TOKEN", "one,two", 1);
	load(NULL);
	cr_expect_str_eq(config.listen, "[::1]:0");
	cr_expect_null(config.admin_listen);
	cr_expect_eq(config.ack, CONFIG_ACK_ARCHIVED);
	cr_expect_eq(config.unknown_call, CONFIG_UNKNOWN_CALL_SKIP);
	cr_expect_eq(config.recording_format, CONFIG_FORMAT_MP3);
	cr_expect_eq(config.recording_channels, 2);
	cr_expect(config.delete_from_twilio);
	cr_expect_not(config.validate_signature);
	cr_expect_not(config.migrate);
	cr_expect_eq(config.ack_timeout_ms, 500);
	cr_expect_eq(config.retry_max_ms, INT64_C(604800000));
	cr_expect_eq(config.idle_timeout_ms, 300000);
	cr_expect_eq(config.max_body, 2048);
	cr_expect_eq(config.transfer_buffer, 1 << 20);
	cr_expect_eq(config.max_attempts, 3);
	cr_expect_eq(config.log_level, LOG_ERROR);
	cr_expect_eq(config.log_format, LOG_FORMAT_TEXT);
	cr_expect_str_eq(config.trusted_proxies, "10.0.0.0/8, fd00::/8,192.0.2.1");
	cr_expect_str_eq(config.twilio_account_sid, ACCOUNT);
	cr_expect_str_eq(config.twilio_auth_token, "one,two");
}

Test(config, an_empty_value_counts_as_unset)
{
	setenv("LISTEN", "", 1);
	setenv("TWILIO_AUTH_TOKEN", "", 1);
	setenv("MAX_BODY", "", 1);
	load(NULL);
	cr_expect_str_eq(config.listen, "0.0.0.0:8080");
	cr_expect_null(config.twilio_auth_token);
	cr_expect_eq(config.max_body, 65536);
}

Test(config, bad_values_name_the_variable_the_problem_and_an_example)
{
	refuse("LISTEN", "8080", "example: LISTEN=0.0.0.0:8080");
	refuse("LISTEN", "::1:8080", "is not host:port");
	refuse("LISTEN", "0.0.0.0:65536", "is not host:port");
	refuse("ADMIN_LISTEN", "no", "is not host:port");
	refuse("PORT", "http", "is not a port");
	refuse("PORT", "70000", "is not a port");
	refuse("MAX_BODY", "64kb", "\"64kb\" is not a size");
	refuse("MAX_BODY", "10", "is out of range (1KiB..512KiB)");
	refuse("MAX_BODY", "99999999999999999999", "is not a size");
	refuse("IDLE_TIMEOUT", "60", "is not a duration");
	refuse("IDLE_TIMEOUT", "2h", "is out of range");
	refuse("MAX_ATTEMPTS", "-1", "is not a number");
	refuse("MAX_ATTEMPTS", "0", "is out of range");
	refuse("ACK", "Accepted", "is none of accepted|ledger|archived");
	refuse("VALIDATE_TWILIO_SIGNATURE", "no", "is none of false|true");
	refuse("TWILIO_ACCOUNT_SID", "AC123", "is not such a SID");
	refuse("TWILIO_ACCOUNT_SID", KEY, "is not such a SID");
	refuse("PUBLIC_URL", "hooks.example.com", "is not an http(s) URL");
	refuse("PUBLIC_URL", "https://user:secret@example.com", "is not an http(s) URL");
	refuse("TWILIO_API_BASE", "https://example.com/?x=1", "is not an http(s) URL");
	refuse("TRUSTED_PROXIES", "10.0.0.0/33", "is not a comma list of networks");
	refuse("TRUSTED_PROXIES", "10.0.0.0/8,", "is not a comma list of networks");
	refuse("S3_PREFIX", "../up/", "is not a relative path");
	refuse("S3_PREFIX", "/root", "is not a relative path");
	refuse("LOG_LEVEL", "INFO", "is none of debug|info|warn|error|off");
}

Test(config, a_long_or_odd_value_still_makes_one_short_line)
{
	char value[2000];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	refuse("ACK", value, "xxx...\" is none of");
	refuse("ACK", "a\nb\x1b[2J\xff", "\"a?b?[2J?\" is none of");
}

Test(config, a_secret_never_gets_into_a_message)
{
	static const char *const rows[][2] = {
		{"TWILIO_AUTH_TOKEN", "hunter2 hunter2"}, {"TWILIO_AUTH_TOKEN", "hunter2,,x"},
		{"TWILIO_AUTH_TOKEN", "hunter2,"},        {"TWILIO_API_SECRET", "hunter2\n"},
		{"ADMIN_TOKEN", "hunter2\xc3\xa9"},       {"DATABASE_URL", "postgres://u:hunter2@h/d b"},
		{"REDIS_URL", "redis://:hunter2@h /"}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		refuse(rows[i][0], rows[i][1], "the value (not shown)");
		cr_expect_null(strstr(error.detail, "hunter2"), "%s", error.detail);
	}
}

Test(config, port_replaces_the_port_of_listen)
{
	setenv("PORT", "9000", 1);
	load(NULL);
	cr_expect_str_eq(config.listen, "0.0.0.0:9000");
	setenv("LISTEN", "[::]:80", 1);
	load(NULL);
	cr_expect_str_eq(config.listen, "[::]:9000");
}

Test(config, a_small_journal_gets_small_segments_by_itself)
{
	setenv("JOURNAL_MAX", "8MiB", 1);
	load(NULL);
	cr_expect_eq(config.journal_segment, 2 << 20);
	setenv("JOURNAL_MAX", "128KiB", 1);
	load(NULL);
	cr_expect_eq(config.journal_segment, 64 << 10);
}

Test(config, slashes_at_the_end_of_a_url_are_dropped)
{
	setenv("PUBLIC_URL", "https://hooks.example.com/base//", 1);
	setenv("TWILIO_API_BASE", "http://127.0.0.1:4010/", 1);
	load(NULL);
	cr_expect_str_eq(config.public_url, "https://hooks.example.com/base");
	cr_expect_str_eq(config.twilio_api_base, "http://127.0.0.1:4010");
}

Test(config, a_secret_may_come_from_a_file_without_its_last_newline)
{
	put("secret", "one,two\r\n\n");
	setenv("TWILIO_AUTH_TOKEN_FILE", "secret", 1);
	load(NULL);
	cr_expect_str_eq(config.twilio_auth_token, "one,two");
}

Test(config, a_secret_file_that_gives_nothing_is_an_error)
{
	refuse("TWILIO_AUTH_TOKEN_FILE", "missing", "missing: No such file or directory");
	put("secret", "\n");
	refuse("TWILIO_AUTH_TOKEN_FILE", "secret", "secret is empty");
	put("secret", "two words");
	setenv("ADMIN_TOKEN_FILE", "secret", 1);
	cr_expect_eq(config_load(&config, NULL, &error), ERR_CONFIG);
	cr_expect_null(strstr(error.detail, "words"), "%s", error.detail);
	unsetenv("ADMIN_TOKEN_FILE");
	refuse("ADMIN_TOKEN_FILE", "/dev/zero", "longer than");
}

Test(config, a_secret_and_its_file_together_are_an_error)
{
	put("secret", "x");
	setenv("ADMIN_TOKEN", "y", 1);
	setenv("ADMIN_TOKEN_FILE", "secret", 1);
	cr_expect_eq(config_load(&config, NULL, &error), ERR_CONFIG);
	cr_expect_str_eq(error.detail, "ADMIN_TOKEN: is set and so is ADMIN_TOKEN_FILE; unset one of them");
	unsetenv("ADMIN_TOKEN_FILE");
	put("env", "ADMIN_TOKEN_FILE=secret\n");
	load("env");
	cr_expect_str_eq(config.admin_token, "y", "the environment's pair wins over the file's");
	unsetenv("ADMIN_TOKEN");
	load("env");
	cr_expect_str_eq(config.admin_token, "x");
}

Test(config, only_secrets_have_a_file_form)
{
	setenv("LISTEN_FILE", "missing", 1);
	load(NULL);
	cr_expect_str_eq(config.listen, "0.0.0.0:8080");
}

Test(config, the_environment_wins_over_the_env_file_even_when_empty)
{
	put("env", "MAX_BODY=1KiB\nMAX_ATTEMPTS=5\nPUBLIC_URL=https://file.example.com\n");
	setenv("MAX_BODY", "2KiB", 1);
	setenv("PUBLIC_URL", "", 1);
	load("env");
	cr_expect_eq(config.max_body, 2048);
	cr_expect_eq(config.max_attempts, 5);
	cr_expect_null(config.public_url);
	cr_expect_str_eq(config.env_file, "env");
}

Test(config, a_bad_env_file_is_one_line_with_its_place)
{
	put("env", "# fine\nLISTEN\n");
	cr_expect_eq(config_load(&config, "env", &error), ERR_CONFIG);
	cr_expect_str_eq(error.detail, "--env-file: env:2: expected KEY=VALUE; example: LISTEN=0.0.0.0:8080");
	cr_expect_eq(config_load(&config, "missing", &error), ERR_CONFIG);
	cr_expect_str_eq(error.detail, "--env-file: missing: No such file or directory");
	cr_expect_eq(config_load(&config, folder, &error), ERR_CONFIG);
	cr_expect_null(config.env_file);
}

Test(config, an_open_admin_listener_wants_a_token)
{
	static const char *const open[] = {"0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "admin.example.com:9464",
					   "[::ffff:127.0.0.1]:1"};
	static const char *const closed[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "off"};
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		setenv("ADMIN_LISTEN", open[i], 1);
		config_free(&config);
		cr_expect_eq(config_load(&config, NULL, &error), ERR_CONFIG, "%s", open[i]);
		cr_expect_eq(strncmp(error.detail, "ADMIN_TOKEN: ", 13), 0, "%s", error.detail);
		setenv("ADMIN_TOKEN", "x", 1);
		load(NULL);
		unsetenv("ADMIN_TOKEN");
	}
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		setenv("ADMIN_LISTEN", closed[i], 1);
		load(NULL);
	}
}

Test(config, what_does_not_fit_together_is_refused)
{
	static const struct {
		const char *set[3][2];
		const char *words;
	} rows[] = {
		{{{"TLS_CERT", "c"}}, "TLS_KEY: is unset although TLS_CERT is set"},
		{{{"TLS_KEY", "k"}}, "TLS_CERT: is unset although TLS_KEY is set"},
		{{{"TWILIO_API_KEY", KEY}}, "TWILIO_API_SECRET: is unset although"},
		{{{"TWILIO_API_SECRET", "s"}}, "TWILIO_API_KEY: is unset although"},
		{{{"TWILIO_API_KEY", KEY}, {"TWILIO_API_SECRET", "s"}}, "TWILIO_ACCOUNT_SID: is unset although"},
		{{{"JOURNAL_MAX", "100MiB"}, {"JOURNAL_SEGMENT", "64MiB"}}, "JOURNAL_SEGMENT: is more than half"},
		{{{"RETRY_BASE", "1h"}, {"RETRY_MAX", "1m"}}, "RETRY_BASE: is more than RETRY_MAX"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int k = 0; k < 3 && rows[i].set[k][0] != NULL; k++)
			setenv(rows[i].set[k][0], rows[i].set[k][1], 1);
		cr_expect_eq(config_load(&config, NULL, &error), ERR_CONFIG, "row %zu", i);
		cr_expect_not_null(strstr(error.detail, rows[i].words), "%s", error.detail);
		clearenv();
	}
}

Test(config, serve_fails_closed_without_a_token)
{
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), ERR_CONFIG);
	cr_expect_eq(strncmp(error.detail, "TWILIO_AUTH_TOKEN: ", 19), 0);
	setenv("TWILIO_ACCOUNT_SID", ACCOUNT, 1);
	setenv("TWILIO_API_KEY", KEY, 1);
	setenv("TWILIO_API_SECRET", "s", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), ERR_CONFIG, "an API key cannot verify webhooks");
	setenv("TWILIO_ACCOUNTS_FILE", "accounts", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0);
	clearenv();
	setenv("TWILIO_AUTH_TOKEN", "t", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0);
	clearenv();
	setenv("VALIDATE_TWILIO_SIGNATURE", "false", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0);
	/* An account is made of its token; a key alone would be used by nobody. */
	setenv("TWILIO_ACCOUNT_SID", ACCOUNT, 1);
	setenv("TWILIO_API_KEY", KEY, 1);
	setenv("TWILIO_API_SECRET", "s", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), ERR_CONFIG);
	cr_expect_eq(strncmp(error.detail, "TWILIO_AUTH_TOKEN: ", 19), 0, "%s", error.detail);
}

Test(config, workers_are_some_and_each_has_a_private_port)
{
	refuse("WORKERS", "0", "1..64");
	refuse("WORKERS", "65", "1..64");
	refuse("WORKERS", "two", "not a number");
	setenv("WORKERS", "64", 1);
	setenv("TWILIO_AUTH_TOKEN", "t", 1);
	setenv("ADMIN_LISTEN", "127.0.0.1:65472", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0, "%s", error.detail);
	setenv("ADMIN_LISTEN", "127.0.0.1:65473", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), ERR_CONFIG);
	cr_expect_eq(strncmp(error.detail, "WORKERS: ", 9), 0, "%s", error.detail);
	setenv("ADMIN_LISTEN", "off", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0, "%s", error.detail);
}

Test(config, serve_takes_what_this_build_has)
{
	static const char *const harmless[][2] = {{"RECONCILE_EVERY", "off"},
						  {"S3_SSE", "AES256"},
						  {"S3_ADDRESSING", "path"},
						  {"ACK", "archived"},
						  {"ACK", "ledger"},
						  {"GREETING", "hi"},
						  {"STREAM_URL", "wss://h/p"},
						  {"AWS_ACCESS_KEY_ID", "x"},
						  {"DATABASE_URL", "postgres://h/d"},
						  {"REDIS_URL", "redis://h"},
						  {"S3_BUCKET", "b"},
						  {"S3_ENDPOINT", "http://h"},
						  {"WORKERS", "2"}};
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		clearenv();
		setenv("TWILIO_AUTH_TOKEN", "t", 1);
		setenv(harmless[i][0], harmless[i][1], 1);
		load(NULL);
		cr_expect_eq(config_require_serve(&config, &error), 0, "%s", error.detail);
	}
}

Test(config, reconciling_is_off_unless_it_is_set_and_then_wants_an_account)
{
	clearenv();
	setenv("TWILIO_AUTH_TOKEN", "t", 1);
	load(NULL);
	cr_expect_eq(config.reconcile_every_ms, 0);
	cr_expect_eq(config.reconcile_window_ms, 2 * 86400000);
	setenv("RECONCILE_EVERY", "off", 1);
	load(NULL);
	cr_expect_eq(config.reconcile_every_ms, 0);
	setenv("RECONCILE_EVERY", "1h", 1);
	load(NULL);
	cr_expect_eq(config.reconcile_every_ms, 3600000);
	cr_expect_eq(config_require_serve(&config, &error), ERR_CONFIG);
	cr_expect_eq(strncmp(error.detail, "RECONCILE_EVERY: ", 17), 0, "%s", error.detail);
	setenv("TWILIO_ACCOUNT_SID", "AC0123456789abcdef0123456789abcdef", 1);
	load(NULL);
	cr_expect_eq(config_require_serve(&config, &error), 0, "%s", error.detail);
	refuse("RECONCILE_EVERY", "500ms", "is out of range");
	refuse("RECONCILE_EVERY", "on", "is not a duration");
	refuse("RECONCILE_WINDOW", "off", "is not a duration");
}

Test(config, variables_outside_the_table_come_from_the_environment_and_then_the_file)
{
	char path[] = "/tmp/reeld-config-XXXXXX";
	static const char text[] =
		"AWS_PROFILE=from_file\nAWS_ROLE_ARN=from_file\nAWS_SECRET_ACCESS_KEY=hidden\nAWS_ENDPOINT_URL_S3=http://s3\n";
	int fd = mkstemp(path);
	cr_assert_eq(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	close(fd);
	setenv("AWS_PROFILE", "from_environment", 1);
	load(path);
	cr_expect_str_eq(config_variable(&config, "AWS_PROFILE"), "from_environment");
	cr_expect_str_eq(config_variable(&config, "AWS_ROLE_ARN"), "from_file");
	cr_expect_str_eq(config_variable(&config, "AWS_SECRET_ACCESS_KEY"), "hidden");
	cr_expect_null(config_variable(&config, "AWS_SESSION_TOKEN"));
	cr_expect_str_eq(config.s3_endpoint, "http://s3");
	unlink(path);
}

Test(config, can_be_freed_twice_and_loaded_again)
{
	load(NULL);
	config_free(&config);
	config_free(&config);
	load(NULL);
}

/* ---- The documentation ---- */

static char *read_documentation(void)
{
	static char text[256 * 1024];
	FILE *file = fopen(TEST_DATA_DIR "/../../../docs/configuration.md", "r");
	cr_assert_not_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

/* The row of a setting as the documentation has it. */
static const char *expected_row(struct buffer *row, const struct config_doc *doc)
{
	buffer_clear(row);
	buffer_printf(row, "\n| `%s` | ", doc->variable);
	if (doc->default_value[0] == '\0')
		buffer_append_cstr(row, "unset");
	else
		buffer_printf(row, "`%s`", doc->default_value);
	buffer_append_cstr(row, " | ");
	if (doc->secret)
		buffer_append_cstr(row, "*secret*");
	else if (doc->limits[0] != '\0') {
		buffer_append_char(row, '`');
		for (const char *p = doc->limits; *p != '\0'; p++)
			buffer_printf(row, *p == '|' ? "\\|" : "%c", *p);
		buffer_append_char(row, '`');
	}
	buffer_printf(row, " | %s |\n", doc->doc);
	return buffer_cstr(row);
}

Test(config, the_documentation_has_the_row_of_every_setting_and_no_other)
{
	char *text = read_documentation();
	struct buffer row;
	struct config_doc doc;
	int settings = 0;
	buffer_init(&row, 4096);
	for (size_t i = 0; config_describe(i, &doc); i++, settings++) {
		const char *expected = expected_row(&row, &doc);
		cr_expect_not_null(strstr(text, expected), "docs/configuration.md lacks:%s", expected);
	}
	int rows = 0;
	for (const char *p = text; (p = strstr(p, "\n| `")) != NULL; p++)
		rows++;
	cr_expect_eq(rows, settings);
	buffer_free(&row);
}

Test(config, every_default_is_within_its_own_limits)
{
	struct config_doc doc;
	for (size_t i = 0; config_describe(i, &doc); i++) {
		if (doc.default_value[0] == '\0')
			continue;
		setenv(doc.variable, doc.default_value, 1);
		load(NULL);
		unsetenv(doc.variable);
	}
}

/* ---- reload ---- */

static const char *changed_to(const char *lines)
{
	static char names[2048];
	struct config fresh;
	put("env", lines);
	cr_assert_eq(config_load(&fresh, "env", &error), 0, "%s", error.detail);
	config_need_restart(&config, &fresh, names, sizeof(names));
	config_free(&fresh);
	return names;
}

Test(config, a_reload_names_every_kind_of_setting_that_only_a_restart_changes)
{
	static const char before[] = "LISTEN=127.0.0.1:1\nMAX_BODY=32KiB\n";
	put("env", before);
	load("env");
	cr_expect_str_eq(changed_to(before), "");
	cr_expect_str_eq(changed_to("MAX_BODY=32KiB\n"), "LISTEN");
	cr_expect_str_eq(changed_to("LISTEN=127.0.0.1:1\nDATA_DIR=x\nGREETING=hello\nACK=ledger\nMIGRATE=off\nIDLE_TIMEOUT=1s\n"),
			 "DATA_DIR, GREETING, ACK, MAX_BODY, IDLE_TIMEOUT, MIGRATE");
	cr_expect_str_eq(
		changed_to("LISTEN=127.0.0.1:1\nMAX_BODY=32KiB\nTWILIO_AUTH_TOKEN=new\nADMIN_TOKEN=t\nAWS_ACCESS_KEY_ID=k\n"), "",
		"they are read again");
	cr_expect_str_eq(changed_to("LISTEN=127.0.0.1:1\nMAX_BODY=32KiB\nTLS_CERT=c\nTLS_KEY=k\n"), "TLS_CERT",
			 "TLS is not switched on by a reload");
}

Test(config, what_is_documented_as_read_again_needs_no_restart)
{
	struct config_doc doc;
	for (size_t i = 0; config_describe(i, &doc); i++) {
		char lines[256];
		if (strstr(doc.doc, "Read again on SIGHUP") == NULL || strncmp(doc.variable, "TLS_", 4) == 0)
			continue;
		put("env", "");
		load("env");
		snprintf(lines, sizeof(lines), "%s=x\n", doc.variable);
		cr_expect_str_eq(changed_to(lines), "", "%s", doc.variable);
	}
}
