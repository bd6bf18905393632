/* SPDX-License-Identifier: MIT */
#include "loop/store/s3_fixture.h"

#include "base/buffer.h"
#include "base/check.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <reeld/sigv4.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct s3_fixture_variables s3_variables;
struct http_client *s3_http;
struct aws_credentials *s3_credentials;
static char prefix[64];

static const char *variable(void *data, const char *name)
{
	(void)data;
	if (strcmp(name, "AWS_ACCESS_KEY_ID") == 0)
		return s3_variables.key_id;
	if (strcmp(name, "AWS_SECRET_ACCESS_KEY") == 0)
		return s3_variables.secret;
	if (strcmp(name, "AWS_SESSION_TOKEN") == 0)
		return s3_variables.token;
	return NULL;
}

static const char *needed(const char *name)
{
	const char *value = getenv(name);
	cr_assert(value != NULL, "%s is not set: run it through tests/servers/run.py", name);
	return value;
}

const char *s3_fixture_prefix(void)
{
	if (prefix[0] == '\0')
		snprintf(prefix, sizeof(prefix), "t%08llx/", (unsigned long long)random_below(UINT32_MAX));
	return prefix;
}

struct store_s3_options s3_fixture_options(void)
{
	s3_variables = (struct s3_fixture_variables){needed("REELD_TEST_S3_KEY_ID"), needed("REELD_TEST_S3_SECRET"), NULL};
	return (struct store_s3_options){
		.bucket = needed("REELD_TEST_S3_BUCKET"),
		.endpoint = needed("REELD_TEST_S3_ENDPOINT"),
		.region = needed("REELD_TEST_S3_REGION"),
		.prefix = s3_fixture_prefix(),
		.retry_ms = 5,
	};
}

static void open_store(const struct store_s3_options *options)
{
	struct error error = {0};
	struct store_s3_options with = *options;
	with.http = s3_http;
	with.credentials = s3_credentials;
	cr_assert_eq(store_s3_open(&store, &loop, &with, &error), 0, "%s", error.detail);
	support_store_closed = false;
}

void s3_fixture_open(const struct store_s3_options *options)
{
	const struct http_client_options http = {0};
	struct error error = {0};
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	support_init_loop();
	s3_http = http_client_new(&loop, &http);
	cr_assert_not_null(s3_http);
	const struct aws_credentials_options credentials = {.loop = &loop, .http = s3_http, .variable = variable, .hold_ms = 1};
	cr_assert_eq(aws_credentials_new(&s3_credentials, &credentials, &error), 0, "%s", error.detail);
	open_store(options);
}

void s3_fixture_reopen(const struct store_s3_options *options)
{
	support_close_store();
	open_store(options);
}

static void set_flag(void *data)
{
	*(bool *)data = true;
}

void s3_fixture_close(void)
{
	bool closed = false;
	support_close_store();
	aws_credentials_close(s3_credentials, set_flag, &closed);
	support_run_until(&closed);
	closed = false;
	http_client_close(s3_http, set_flag, &closed);
	support_run_until(&closed);
	support_close_loop();
}

const char *s3_key(const char *name)
{
	static char keys[4][256];
	static unsigned next;
	char *key = keys[next++ % 4];
	snprintf(key, sizeof(keys[0]), "%s%s", s3_fixture_prefix(), name);
	return key;
}

static char *run(const char *command, size_t *len)
{
	struct buffer out;
	char part[4096];
	buffer_init(&out, (size_t)64 * 1024 * 1024);
	FILE *pipe = popen(command, "r");
	REQUIRE(pipe != NULL);
	size_t count;
	while ((count = fread(part, 1, sizeof(part), pipe)) > 0)
		REQUIRE(buffer_append(&out, part, count) == 0);
	cr_assert_eq(pclose(pipe), 0, "%s", command);
	REQUIRE(buffer_cstr(&out) != NULL);
	if (len != NULL)
		*len = out.len;
	return out.data;
}

char *s3_fetch(const char *key, size_t *len)
{
	char link[4096], command[4400];
	cr_assert_eq(store_link(store, key, 60, link, sizeof(link)), 0);
	snprintf(command, sizeof(command), "curl -s -S -i --noproxy '*' --max-time 30 '%s'", link);
	return run(command, len);
}

unsigned s3_open_uploads(void)
{
	const char *endpoint = needed("REELD_TEST_S3_ENDPOINT");
	const char *bucket = needed("REELD_TEST_S3_BUCKET");
	char path[128], command[4400], scratch[8192];
	const struct reeld_sigv4_credentials credentials = {needed("REELD_TEST_S3_KEY_ID"), needed("REELD_TEST_S3_SECRET"), NULL};
	struct reeld_sigv4_key *key = reeld_sigv4_key_new(&credentials, needed("REELD_TEST_S3_REGION"), "s3");
	const char *host = strstr(endpoint, "//") + 2;
	const struct reeld_sigv4_pair query[] = {{"uploads", 7, "", 0}, {"prefix", 6, prefix, strlen(prefix)}};
	const struct reeld_sigv4_pair header = {"host", 4, host, strlen(host)};
	struct reeld_sigv4_signed presigned;
	snprintf(path, sizeof(path), "/%s", bucket);
	const struct reeld_sigv4_request request = {.method = "GET",
						    .path = path,
						    .path_len = strlen(path),
						    .query = query,
						    .query_count = 2,
						    .headers = &header,
						    .header_count = 1,
						    .payload_hash = REELD_SIGV4_UNSIGNED_PAYLOAD,
						    .now_ms = clock_wall_ms()};
	REQUIRE(reeld_sigv4_presign(key, &request, 60, scratch, sizeof(scratch), &presigned) == REELD_SIGV4_OK);
	reeld_sigv4_key_free(&key);
	snprintf(command, sizeof(command), "curl -s -S -f --noproxy '*' --max-time 30 '%s%s'", endpoint, presigned.target);
	char *text = run(command, NULL);
	unsigned count = 0;
	for (const char *at = text; (at = strstr(at, "<UploadId>")) != NULL; at++)
		count++;
	free(text);
	return count;
}
