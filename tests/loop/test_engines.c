/* SPDX-License-Identifier: MIT */
/* Which engines a configuration names, and that each can be opened and closed without its server. */
#include "engines.h"

#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
	uv_loop_t loop;
	struct config config;
	struct error error;
	char directory[64];
	unsigned closed;
} f;

static void setup(void)
{
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	clearenv();
	snprintf(f.directory, sizeof(f.directory), "/tmp/reeld-engines-XXXXXX");
	cr_assert_not_null(mkdtemp(f.directory));
	setenv("DATA_DIR", f.directory, 1);
	/* No profile of whoever runs the tests. */
	setenv("HOME", f.directory, 1);
	cr_assert_eq(uv_loop_init(&f.loop), 0);
}

static void teardown(void)
{
	char command[128];
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&f.loop), 0);
	config_free(&f.config);
	snprintf(command, sizeof(command), "rm -rf '%s'", f.directory);
	cr_assert_eq(system(command), 0);
}

TestSuite(engines, .init = setup, .fini = teardown, .timeout = 30);

static void load(void)
{
	cr_assert_eq(config_load(&f.config, NULL, &f.error), 0, "%s", f.error.detail);
}

static void closed(void *data)
{
	(void)data;
	f.closed++;
}

static void open_all(const char *ledger, const char *filter, const char *store, const char *described)
{
	struct ledger *opened_ledger;
	struct idempotency *opened_filter;
	struct storage *storage;
	char text[512];
	cr_assert_eq(engines_open_ledger(&opened_ledger, &f.loop, &f.config, "test", ENGINES_DAEMON, &f.error), 0, "%s",
		     f.error.detail);
	cr_assert_eq(engines_open_filter(&opened_filter, &f.loop, &f.config, &f.error), 0, "%s", f.error.detail);
	cr_assert_eq(storage_open(&storage, &f.loop, &f.config, &f.error), 0, "%s", f.error.detail);
	cr_expect_str_eq(ledger_kind(opened_ledger), ledger);
	cr_expect_str_eq(idempotency_kind(opened_filter), filter);
	cr_expect_str_eq(store_kind(storage_store(storage)), store);
	storage_describe(storage, text, sizeof(text));
	cr_expect_not_null(strstr(text, described), "%s", text);
	cr_expect_null(strstr(text, "hunter2"), "%s", text);
	ledger_close(opened_ledger, closed, NULL);
	idempotency_close(opened_filter, closed, NULL);
	storage_close(storage, closed, NULL);
	cr_expect_eq(f.closed, 0, "never inside the call");
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(f.closed, 3);
}

Test(engines, without_any_variable_all_are_embedded)
{
	load();
	cr_expect_not(engines_use_postgres(&f.config));
	open_all("sqlite", "local", "directory", f.directory);
}

Test(engines, each_variable_names_its_engine_and_no_server_has_to_be_there)
{
	setenv("DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:9/d", 1);
	setenv("REDIS_URL", "redis://:hunter2@127.0.0.1:9", 1);
	setenv("S3_BUCKET", "my-recordings", 1);
	setenv("S3_ENDPOINT", "http://127.0.0.1:9", 1);
	setenv("AWS_ACCESS_KEY_ID", "id", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
	load();
	cr_expect(engines_use_postgres(&f.config));
	open_all("postgres", "redis", "s3", "s3 bucket my-recordings, credentials from environment");
}

Test(engines, a_storage_that_is_tended_closes_like_any_other)
{
	struct storage *storage;
	load();
	cr_assert_eq(storage_open(&storage, &f.loop, &f.config, &f.error), 0);
	cr_assert_eq(storage_wait_credentials(storage, &f.error), 0, "a directory needs none");
	storage_tend(storage);
	uv_run(&f.loop, UV_RUN_NOWAIT);
	storage_close(storage, closed, NULL);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	cr_assert_eq(f.closed, 1);
}

Test(engines, the_demo_is_embedded_whatever_is_set)
{
	setenv("DATABASE_URL", "postgresql://h/d", 1);
	setenv("REDIS_URL", "redis://h", 1);
	setenv("S3_BUCKET", "my-recordings", 1);
	load();
	f.config.embedded = true;
	open_all("sqlite", "local", "directory", f.directory);
}

Test(engines, credentials_without_a_bucket_mean_the_default_bucket)
{
	setenv("AWS_ACCESS_KEY_ID", "id", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
	load();
	open_all("sqlite", "local", "s3", "s3 bucket scamscrammer-recordings");
}

Test(engines, what_cannot_be_opened_is_one_line_without_secrets_and_leaves_nothing_behind)
{
	static const char *const rows[][2] = {
		{"DATABASE_URL", "postgresql://u:hunter2@h/d?nonsense=1"},
		{"REDIS_URL", "gopher://:hunter2@h"},
		{"S3_SSE", "rot13"},
		{"AWS_SECRET_ACCESS_KEY", "hunter2"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ledger *ledger = NULL;
		struct idempotency *filter = NULL;
		struct storage *storage = NULL;
		setenv("S3_BUCKET", "b", 1);
		setenv(rows[i][0], rows[i][1], 1);
		load();
		int status = 0;
		if (i == 0)
			status = engines_open_ledger(&ledger, &f.loop, &f.config, "test", ENGINES_DAEMON, &f.error);
		else if (i == 1)
			status = engines_open_filter(&filter, &f.loop, &f.config, &f.error);
		else
			status = storage_open(&storage, &f.loop, &f.config, &f.error);
		cr_expect_eq(status, ERR_CONFIG, "%s", rows[i][0]);
		cr_expect_null(strstr(f.error.detail, "hunter2"), "%s", f.error.detail);
		cr_expect_null(strchr(f.error.detail, '\n'), "%s", f.error.detail);
		config_free(&f.config);
		unsetenv(rows[i][0]);
		uv_run(&f.loop, UV_RUN_DEFAULT);
	}
}
