/* SPDX-License-Identifier: MIT */
#include "store/aws_credentials.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/turn.h"
#include "loop/support/peer.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLES_MAX 16
#define ANSWER_SIZE 1024
#define MINUTE INT64_C(60000)
#define DEADLINE_NS UINT64_C(40000000000)
#define JWT "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2ln"

static uv_loop_t loop;
static uv_timer_t tick; /* so that a turn that only ran timers does not wait for something else to happen */
static struct http_client *http;
static struct aws_credentials *credentials;
static struct peer *peer;
static bool http_closed;
static bool closed;
static int64_t wall;
static char token_path[] = "/tmp/test-aws-token-XXXXXX";
static struct {
	char name[64];
	char value[128];
} variables[VARIABLES_MAX];
static size_t variable_count;

/* ---- The world ---- */

static void set(const char *name, const char *value)
{
	size_t i = 0;
	while (i < variable_count && strcmp(variables[i].name, name) != 0)
		i++;
	REQUIRE(i < VARIABLES_MAX);
	variable_count = i == variable_count ? i + 1 : variable_count;
	snprintf(variables[i].name, sizeof(variables[i].name), "%s", name);
	snprintf(variables[i].value, sizeof(variables[i].value), "%s", value);
}

static const char *lookup(void *data, const char *name)
{
	(void)data;
	for (size_t i = 0; i < variable_count; i++) {
		if (strcmp(variables[i].name, name) == 0)
			return variables[i].value;
	}
	return NULL;
}

static int64_t wall_ms(void)
{
	return wall;
}

static void write_token(const char *text)
{
	FILE *file = fopen(token_path, "we");
	REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

static void set_up(void)
{
	const struct http_client_options options = {0};
	signal(SIGPIPE, SIG_IGN);
	/* Nothing listens there: whoever asks through a proxy fails. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	unsetenv("no_proxy");
	unsetenv("NO_PROXY");
	log_configure(LOG_OFF, LOG_FORMAT_TEXT);
	wall = INT64_C(1795672800000); /* 2026-11-26T06:00:00Z */
	REQUIRE(uv_loop_init(&loop) == 0);
	REQUIRE(uv_timer_init(&loop, &tick) == 0 && uv_timer_start(&tick, on_tick, 1, 1) == 0);
	uv_unref((uv_handle_t *)&tick);
	http = http_client_new(&loop, &options);
	REQUIRE(http != NULL);
	int fd = mkstemp(token_path);
	REQUIRE(fd >= 0 && close(fd) == 0);
	write_token(JWT "\n");
}

static void on_http_closed(void *data)
{
	(void)data;
	http_closed = true;
}

static void on_closed(void *data)
{
	cr_assert_eq(data, &closed);
	cr_assert_not(closed);
	closed = true;
	credentials = NULL;
}

static void turn_until(const bool *condition)
{
	for (uint64_t begun = uv_hrtime(); !*condition;) {
		cr_assert_lt(uv_hrtime() - begun, DEADLINE_NS);
		turn_run(&loop);
	}
}

static void close_credentials(void)
{
	if (credentials == NULL)
		return;
	closed = false;
	aws_credentials_close(credentials, on_closed, &closed);
	turn_until(&closed);
}

static void tear_down(void)
{
	close_credentials();
	if (peer != NULL)
		peer_close(peer);
	uv_close((uv_handle_t *)&tick, NULL);
	http_client_close(http, on_http_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert(http_closed);
	cr_assert_eq(uv_loop_close(&loop), 0, "handles are left open");
	unlink(token_path);
}

TestSuite(aws_credentials, .init = set_up, .fini = tear_down, .timeout = 60);

static void serve(const struct peer_script *scripts, size_t count)
{
	peer = peer_new(&loop, "127.0.0.1", scripts, count);
}

static void set_url(const char *name, const char *path)
{
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", peer_port(peer), path);
	set(name, url);
}

static struct aws_credentials_options usual_options(void)
{
	return (struct aws_credentials_options){
		.loop = &loop, .http = http, .variable = lookup, .wall_ms = wall_ms, .retry_ms = 2, .hold_ms = 1};
}

static void create_with(struct aws_credentials_options options)
{
	struct error error = {0};
	int status = aws_credentials_new(&credentials, &options, &error);
	cr_assert_eq(status, 0, "%s", error.detail);
}

static void create(void)
{
	create_with(usual_options());
}

/* ---- Answers ---- */

static const char *answer(char out[ANSWER_SIZE], int status, const char *body)
{
	int len = snprintf(out, ANSWER_SIZE, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
	REQUIRE(len > 0 && len < ANSWER_SIZE);
	return out;
}

static const char *json(char out[ANSWER_SIZE], const char *id, int64_t valid_ms)
{
	char date[CLOCK_ISO8601_SIZE], body[512];
	clock_format_iso8601(wall + valid_ms, date);
	snprintf(body, sizeof(body),
		 "{\"Code\":\"Success\",\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"s-%s\",\"Token\":\"t-%s\",\"Expiration\":\"%"
		 "s\"}",
		 id, id, id, date);
	return answer(out, 200, body);
}

static const char *xml(char out[ANSWER_SIZE], const char *id, int64_t valid_ms)
{
	char date[CLOCK_ISO8601_SIZE], body[768];
	clock_format_iso8601(wall + valid_ms, date);
	snprintf(body, sizeof(body),
		 "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
		 "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>s-%s</"
		 "SecretAccessKey>"
		 "<SessionToken>t-%s</SessionToken><Expiration>%s</Expiration></Credentials>"
		 "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
		 id, id, id, date);
	return answer(out, 200, body);
}

/* ---- Asking ---- */

struct call {
	struct aws_credentials_request request;
	unsigned done;
	bool is_done;
	int status;
	char id[64];
	char secret[64];
	char token[64];
	uint64_t generation;
	bool cancel_other; /* in the callback */
	struct call *other;
	bool close;
	bool invalidate;
};

static bool inside;

static void on_done(struct aws_credentials_request *request, int status, const struct aws_credentials_value *value)
{
	struct call *call = request->data;
	cr_assert(!inside);
	call->done++;
	call->is_done = true;
	call->status = status;
	cr_assert_eq(value != NULL, status == 0);
	if (value != NULL) {
		snprintf(call->id, sizeof(call->id), "%s", value->access_key_id);
		snprintf(call->secret, sizeof(call->secret), "%s", value->secret_access_key);
		snprintf(call->token, sizeof(call->token), "%s", value->session_token);
		call->generation = value->generation;
	}
	if (call->cancel_other)
		aws_credentials_cancel(&call->other->request);
	if (call->invalidate)
		aws_credentials_invalidate(credentials, call->generation);
	if (call->close)
		aws_credentials_close(credentials, on_closed, &closed);
}

static int start(struct call *call)
{
	call->request.done = on_done;
	call->request.data = call;
	inside = true;
	int status = aws_credentials_get(credentials, &call->request);
	inside = false;
	return status;
}

static struct call get(void)
{
	struct call call = {0};
	cr_assert_eq(start(&call), 0);
	turn_until(&call.is_done);
	cr_assert_eq(call.done, 1);
	return call;
}

static void expect_got(struct call call, const char *id)
{
	cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
	cr_expect_str_eq(call.id, id);
	cr_expect(strncmp(call.secret, "s-", 2) == 0 && strcmp(call.secret + 2, id) == 0);
	cr_expect(strncmp(call.token, "t-", 2) == 0 && strcmp(call.token + 2, id) == 0);
}

static void expect_failed(struct call call, const char *detail)
{
	cr_assert_eq(call.status, ERR_CREDENTIALS, "%s", err_name(call.status));
	cr_expect(strstr(call.request.error.detail, detail) != NULL, "%s", call.request.error.detail);
	cr_expect(strstr(call.request.error.detail, "eyJ") == NULL, "%s", call.request.error.detail);
}

/* Asks until credentials of that id come: a refresh runs beside. */
static void get_until(const char *id)
{
	for (uint64_t begun = uv_hrtime();;) {
		cr_assert_lt(uv_hrtime() - begun, DEADLINE_NS);
		struct call call = get();
		cr_assert_eq(call.status, 0, "%s", call.request.error.detail);
		if (strcmp(call.id, id) == 0)
			return;
	}
}

/* Lets the backoff pass: asks until a fetch was made. */
static struct call get_after_backoff(unsigned requests)
{
	for (uint64_t begun = uv_hrtime();;) {
		cr_assert_lt(uv_hrtime() - begun, DEADLINE_NS);
		struct call call = get();
		if (call.status == 0 || peer_requests(peer) >= requests)
			return call;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
}

static bool requested(unsigned n, const char *text)
{
	return strstr(peer_request(peer, n), text) != NULL;
}

static void use_sts(void)
{
	set_url("AWS_ENDPOINT_URL_STS", "/");
	set("AWS_WEB_IDENTITY_TOKEN_FILE", token_path);
	set("AWS_ROLE_ARN", "arn:aws:iam::1:role/r+x");
	/* STS may be behind a proxy, which here is none. */
	unsetenv("http_proxy");
}

static void use_container(void)
{
	set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v1/credentials?x=1");
}

static void use_instance(void)
{
	struct aws_credentials_options options = usual_options();
	set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "/");
	options.instance_role = true;
	create_with(options);
}

/* ---- Environment and profile ---- */

Test(aws_credentials, of_the_environment_are_there_at_once)
{
	set("AWS_ACCESS_KEY_ID", "rec:rec");
	set("AWS_SECRET_ACCESS_KEY", "s-rec:rec");
	set("AWS_SESSION_TOKEN", "t-rec:rec");
	create();
	cr_assert_not_null(aws_credentials_now(credentials));
	cr_expect_str_eq(aws_credentials_now(credentials)->access_key_id, "rec:rec");
	cr_expect_eq(aws_credentials_now(credentials)->expires_ms, -1);
	cr_expect_str_eq(aws_credentials_source(credentials), "environment");
	struct call call = get();
	expect_got(call, "rec:rec");
	cr_expect_eq(call.generation, aws_credentials_now(credentials)->generation);
	cr_expect_neq(call.generation, 0);
}

Test(aws_credentials, are_read_anew_on_reload)
{
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "s-A");
	set("AWS_SESSION_TOKEN", "t-A");
	create();
	uint64_t generation = get().generation;
	set("AWS_ACCESS_KEY_ID", "B");
	set("AWS_SECRET_ACCESS_KEY", "s-B");
	set("AWS_SESSION_TOKEN", "t-B");
	expect_got(get(), "A");
	aws_credentials_reload(credentials);
	cr_expect_str_eq(aws_credentials_now(credentials)->access_key_id, "A");
	get_until("B");
	cr_expect_neq(get().generation, generation);
	/* what cannot be used leaves what was */
	set("AWS_SECRET_ACCESS_KEY", "");
	aws_credentials_reload(credentials);
	for (int i = 0; i < 50; i++)
		expect_got(get(), "B");
}

Test(aws_credentials, that_were_refused_are_looked_up_again)
{
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "s-A");
	struct aws_credentials_options options = usual_options();
	options.hold_ms = 200;
	create_with(options);
	uint64_t created_ms = uv_now(&loop);
	uint64_t generation = get().generation;
	set("AWS_ACCESS_KEY_ID", "B");
	set("AWS_SECRET_ACCESS_KEY", "s-B");
	set("AWS_SESSION_TOKEN", "t-B");
	while (uv_now(&loop) < created_ms + 200) {
		aws_credentials_invalidate(credentials, generation);
		cr_assert_not_null(aws_credentials_now(credentials), "they are too fresh");
		turn_run(&loop);
	}
	aws_credentials_invalidate(credentials, generation + 1);
	cr_expect_not_null(aws_credentials_now(credentials), "another generation");
	aws_credentials_invalidate(credentials, generation);
	cr_expect_null(aws_credentials_now(credentials));
	expect_got(get(), "B");
}

Test(aws_credentials, need_a_source)
{
	struct aws_credentials_options options = usual_options();
	struct error error = {0};
	const char *source = "x";
	char region[16];
	cr_expect_eq(aws_credentials_new(&credentials, &options, &error), ERR_CONFIG);
	cr_expect_null(credentials);
	cr_expect_not(aws_credentials_can(&options, &source));
	cr_expect_null(source);
	cr_expect_not(aws_credentials_find_region(&options, region, sizeof(region)));
	options.instance_role = true;
	cr_expect(aws_credentials_can(&options, &source));
	cr_expect_str_eq(source, "instance role");
	set("AWS_ACCESS_KEY_ID", "half a pair");
	set("AWS_DEFAULT_REGION", "eu-central-1");
	cr_expect(aws_credentials_can(&options, &source), "a broken configuration is one");
	cr_expect_str_eq(source, "environment");
	cr_expect_eq(aws_credentials_new(&credentials, &options, &error), ERR_CONFIG);
	cr_expect(aws_credentials_find_region(&options, region, sizeof(region)));
	cr_expect_str_eq(region, "eu-central-1");
	cr_expect_not(aws_credentials_find_region(&options, region, 12));
}

/* ---- Web identity ---- */

Test(aws_credentials, web_identity)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = xml(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_sts();
	create();
	cr_expect_null(aws_credentials_now(credentials));
	cr_expect_eq(peer_requests(peer), 0, "nothing is fetched before somebody asks");
	expect_got(get(), "ASIA1");
	cr_expect_str_eq(aws_credentials_source(credentials), "web identity");
	cr_expect_str_eq(aws_credentials_now(credentials)->access_key_id, "ASIA1");
	cr_expect_eq(aws_credentials_now(credentials)->expires_ms, wall + 60 * MINUTE);
	cr_expect(requested(0, "POST / HTTP/1.1\r\n"));
	cr_expect(requested(0, "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
	cr_expect(requested(
		0, "\r\n\r\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr%2Bx"
		   "&RoleSessionName=reeld&WebIdentityToken=" JWT));
	for (int i = 0; i < 10; i++)
		expect_got(get(), "ASIA1");
	cr_expect_eq(peer_requests(peer), 1);
}

Test(aws_credentials, web_identity_goes_through_the_proxy)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = xml(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_sts();
	set_url("AWS_ENDPOINT_URL_STS", "");
	set("AWS_ENDPOINT_URL_STS", "http://sts.invalid/");
	char proxy[64];
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", peer_port(peer));
	setenv("http_proxy", proxy, 1);
	create();
	expect_got(get(), "ASIA1");
	cr_expect(requested(0, "POST http://sts.invalid/ HTTP/1.1\r\n"));
	unsetenv("http_proxy");
}

Test(aws_credentials, the_token_file_is_read_each_time)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = xml(first, "ASIA1", 60 * MINUTE)},
					      {.answer = xml(second, "ASIA2", 120 * MINUTE)}};
	serve(scripts, 2);
	use_sts();
	create();
	expect_got(get(), "ASIA1");
	write_token("rotated");
	wall += 59 * MINUTE;
	get_until("ASIA2");
	cr_expect(requested(1, "&WebIdentityToken=rotated"));
	cr_expect(!requested(1, JWT));
}

Test(aws_credentials, web_identity_refused_by_sts)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {
		{.answer = answer(text, 400,
				  "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredTokenException</Code><Message>Token " JWT
				  " expired</Message></Error></ErrorResponse>")}};
	serve(scripts, 1);
	use_sts();
	create();
	expect_failed(get(), "web identity: HTTP 400, ExpiredTokenException");
}

Test(aws_credentials, web_identity_without_its_file)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = xml(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_sts();
	set("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token");
	create();
	expect_failed(get(), "web identity: /nonexistent/token: No such file");
	cr_expect_eq(peer_requests(peer), 0);
	set("AWS_WEB_IDENTITY_TOKEN_FILE", token_path);
	expect_got(get_after_backoff(1), "ASIA1");
}

Test(aws_credentials, web_identity_with_an_endpoint_that_is_none)
{
	set("AWS_ENDPOINT_URL_STS", "ftp://127.0.0.1/");
	set("AWS_WEB_IDENTITY_TOKEN_FILE", token_path);
	set("AWS_ROLE_ARN", "arn");
	create();
	expect_failed(get(), "web identity: the request cannot be made");
}

/* ---- Container ---- */

Test(aws_credentials, container)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_container();
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic eyJx");
	create();
	expect_got(get(), "ASIA1");
	cr_expect_str_eq(aws_credentials_source(credentials), "container");
	cr_expect(requested(0, "GET /v1/credentials?x=1 HTTP/1.1\r\n"));
	cr_expect(requested(0, "\r\nAuthorization: Basic eyJx\r\n"));
}

Test(aws_credentials, container_with_a_token_file)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(first, "ASIA1", 60 * MINUTE)},
					      {.answer = json(second, "ASIA2", 120 * MINUTE)}};
	serve(scripts, 2);
	use_container();
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this");
	set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_path);
	create();
	expect_got(get(), "ASIA1");
	cr_expect(requested(0, "\r\nAuthorization: " JWT "\r\n"));
	write_token("Bearer rotated");
	wall += 59 * MINUTE;
	get_until("ASIA2");
	cr_expect(requested(1, "\r\nAuthorization: Bearer rotated\r\n"));
}

Test(aws_credentials, answers_that_are_none)
{
	static const struct {
		int status;
		const char *body;
		const char *detail;
	} rows[] = {
		{401, "{\"code\":\"InvalidToken\",\"message\":\"eyJ\"}", "container: HTTP 401, InvalidToken"},
		{403, "", "container: HTTP 403"},
		{404, "{\"code\":\"eyJ eyJ\"}", "container: HTTP 404"},
		{429, "", "container: HTTP 429"},
		{500, "<html>", "container: HTTP 500"},
		{503, "", "container: HTTP 503"},
		{302, "", "container: HTTP 302"},
		{204, "", "container: HTTP 204"},
		{200, "", "container: the answer holds no credentials"},
		{200, "garbage", "container: the answer holds no credentials"},
		{200, "{\"AccessKeyId\":\"A\"}", "container: the answer holds no credentials"},
		{200, "{\"Code\":\"Failed\"}", "container: Failed"},
	};
	enum { COUNT = sizeof(rows) / sizeof(rows[0]) };
	static char texts[COUNT + 1][ANSWER_SIZE];
	struct peer_script scripts[COUNT + 1] = {0};
	for (size_t i = 0; i < COUNT; i++)
		scripts[i].answer = answer(texts[i], rows[i].status, rows[i].body);
	scripts[COUNT].answer = json(texts[COUNT], "ASIA1", 60 * MINUTE);
	serve(scripts, COUNT + 1);
	use_container();
	struct aws_credentials_options options = usual_options();
	options.retry_ms = 1; /* half of it is nothing, which is as good as no backoff; the doubled is not */
	for (unsigned i = 0; i < COUNT; i++) {
		create_with(options);
		expect_failed(get(), rows[i].detail);
		cr_expect_eq(peer_requests(peer), i + 1);
		cr_expect_null(aws_credentials_now(credentials));
		close_credentials();
	}
	create_with(options);
	expect_got(get(), "ASIA1");
}

Test(aws_credentials, an_answer_that_is_too_long_is_not_read)
{
	const struct peer_script scripts[] = {
		{.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", .body_bytes = 1000000}};
	serve(scripts, 1);
	use_container();
	create();
	expect_failed(get(), "container: ");
	cr_expect_lt(peer_sent(peer), 1000000 + 100);
}

Test(aws_credentials, a_peer_that_hangs_or_is_gone_is_given_up)
{
	const struct peer_script scripts[] = {{.answer = "", .hang = true},
					      {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", .cut_after = 20},
					      {.answer = "HTTP/1.1 200 OK\r\n", .reset = true},
					      {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n",
					       .body_bytes = 60000,
					       .slow_ms = 10,
					       .slow_bytes = 20}};
	serve(scripts, 4);
	use_container();
	struct aws_credentials_options options = usual_options();
	options.timeout_ms = 1000;
	for (unsigned i = 0; i < 4; i++) {
		create_with(options);
		struct call call = get();
		expect_failed(call, "container: ");
		cr_expect(strstr(call.request.error.detail, "no credentials") == NULL, "the answer was waited for");
		cr_expect_eq(peer_requests(peer), i + 1);
		close_credentials();
	}
	peer_close(peer);
	peer = NULL;
	create_with(options);
	expect_failed(get(), "container: ");
}

Test(aws_credentials, that_have_expired_on_arrival_are_none)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(text, "ASIA1", -MINUTE)}};
	serve(scripts, 1);
	use_container();
	create();
	expect_failed(get(), "have expired already");
}

/* ---- Instance role ---- */

#define TOKEN_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nAQAEAtoken+="
#define ROLE_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nmy-role@1.x"

Test(aws_credentials, instance_role)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {
		{.answer = TOKEN_ANSWER}, {.answer = ROLE_ANSWER}, {.answer = json(text, "ASIA1", 360 * MINUTE)}};
	serve(scripts, 3);
	use_instance();
	expect_got(get(), "ASIA1");
	cr_expect_str_eq(aws_credentials_source(credentials), "instance role");
	cr_expect(requested(0, "PUT /latest/api/token HTTP/1.1\r\n"));
	cr_expect(requested(0, "\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"));
	cr_expect(requested(0, "\r\nContent-Length: 0\r\n"));
	cr_expect(!requested(0, "100-continue"));
	cr_expect(requested(1, "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n"));
	cr_expect(requested(1, "\r\nX-aws-ec2-metadata-token: AQAEAtoken+=\r\n"));
	cr_expect(requested(2, "GET /latest/meta-data/iam/security-credentials/my-role@1.x HTTP/1.1\r\n"));
	cr_expect(requested(2, "\r\nX-aws-ec2-metadata-token: AQAEAtoken+=\r\n"));
}

Test(aws_credentials, instance_role_fails_at_each_of_its_steps)
{
	static const struct {
		const char *answers[3];
		const char *detail;
	} rows[] = {
		{{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"}, "instance role: HTTP 403"},
		{{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, "gives no session token"},
		{{"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na b\r\nc"}, "gives no session token"},
		{{TOKEN_ANSWER, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, "instance role: HTTP 404"},
		{{TOKEN_ANSWER, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"}, "instance role: HTTP 401"},
		{{TOKEN_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n../x\r\n"}, "names no role"},
		{{TOKEN_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, "names no role"},
		{{TOKEN_ANSWER, ROLE_ANSWER, "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"}, "instance role: HTTP 500"},
		{{TOKEN_ANSWER, ROLE_ANSWER,
		  "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{\"Code\":\"AssumeRoleUnauthorizedAccess\"}"},
		 "the answer holds no credentials"},
		{{TOKEN_ANSWER, ROLE_ANSWER,
		  "HTTP/1.1 200 OK\r\nContent-Length: 39\r\n\r\n{\"Code\":\"AssumeRoleUnauthorizedAccess\"}"},
		 "instance role: AssumeRoleUnauthorizedAccess"},
	};
	enum { COUNT = sizeof(rows) / sizeof(rows[0]) };
	struct peer_script scripts[3 * COUNT] = {0};
	size_t count = 0;
	for (size_t i = 0; i < COUNT; i++) {
		for (size_t k = 0; k < 3 && rows[i].answers[k] != NULL; k++) {
			scripts[count].answer = rows[i].answers[k];
			scripts[count++].close = true;
		}
	}
	serve(scripts, count);
	for (size_t i = 0; i < COUNT; i++) {
		use_instance();
		expect_failed(get(), rows[i].detail);
		close_credentials();
	}
	cr_expect_eq(peer_requests(peer), count);
}

Test(aws_credentials, instance_role_lives_on_old_ones_when_aws_cannot_renew_them)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {
		{.answer = TOKEN_ANSWER}, {.answer = ROLE_ANSWER}, {.answer = json(text, "ASIA1", -MINUTE)}};
	serve(scripts, 3);
	use_instance();
	expect_got(get(), "ASIA1");
	cr_expect_gt(aws_credentials_now(credentials)->expires_ms, wall + 5 * MINUTE);
}

/* ---- Expiry ---- */

Test(aws_credentials, are_renewed_before_they_expire)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(first, "ASIA1", 60 * MINUTE)},
					      {.answer = json(second, "ASIA2", 120 * MINUTE)}};
	serve(scripts, 2);
	use_container();
	create();
	uint64_t generation = get().generation;
	wall += 53 * MINUTE; /* five minutes before, and at most one for the spread */
	expect_got(get(), "ASIA1");
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_expect_eq(peer_requests(peer), 1);
	wall += 2 * MINUTE;
	expect_got(get(), "ASIA1"); /* at once, while the new ones are fetched */
	get_until("ASIA2");
	cr_expect_eq(peer_requests(peer), 2);
	cr_expect_neq(get().generation, generation);
}

Test(aws_credentials, are_renewed_without_anybody_asking)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = first}, {.answer = second}};
	serve(scripts, 2);
	use_container();
	struct aws_credentials_options options = usual_options();
	options.wall_ms = NULL;
	wall = clock_wall_ms();
	json(first, "ASIA1", 11000);
	json(second, "ASIA2", 60 * MINUTE);
	create_with(options);
	expect_got(get(), "ASIA1");
	/* they are used for six seconds; after three of them, in which nobody asks */
	for (uint64_t begun = uv_hrtime(); peer_requests(peer) < 2;) {
		cr_assert_lt(uv_hrtime() - begun, DEADLINE_NS);
		turn_run(&loop);
	}
	get_until("ASIA2");
}

Test(aws_credentials, stay_while_a_renewal_fails_and_until_they_expire)
{
	char first[ANSWER_SIZE], last[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(first, "ASIA1", 60 * MINUTE)},
					      {.answer = "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = json(last, "ASIA2", 120 * MINUTE)}};
	serve(scripts, 5);
	use_container();
	create();
	expect_got(get(), "ASIA1");
	wall += 56 * MINUTE;
	while (peer_requests(peer) < 3)
		expect_got(get(), "ASIA1");
	wall += 5 * MINUTE;
	cr_expect_null(aws_credentials_now(credentials));
	struct call call = get();
	while (call.status != 0) {
		expect_failed(call, "container: HTTP 500");
		call = get();
	}
	expect_got(call, "ASIA2");
	cr_expect_eq(peer_requests(peer), 5);
}

Test(aws_credentials, that_expire_in_a_moment_are_not_given_out)
{
	char first[ANSWER_SIZE], second[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(first, "ASIA1", 60 * MINUTE)},
					      {.answer = json(second, "ASIA2", 120 * MINUTE)}};
	serve(scripts, 2);
	use_container();
	create();
	expect_got(get(), "ASIA1");
	wall += 60 * MINUTE - 5000;
	expect_got(get(), "ASIA2");
}

Test(aws_credentials, a_failure_answers_all_until_the_backoff_is_over)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = "HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n"},
					      {.answer = json(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 2);
	use_container();
	struct aws_credentials_options options = usual_options();
	options.retry_ms = 60000;
	create_with(options);
	for (int i = 0; i < 20; i++)
		expect_failed(get(), "container: HTTP 500");
	cr_expect_eq(peer_requests(peer), 1);
}

/* ---- Many, cancel, close ---- */

Test(aws_credentials, one_fetch_serves_all_who_wait)
{
	char text[ANSWER_SIZE];
	static struct call calls[1024];
	struct call one_more = {0};
	const struct peer_script scripts[] = {{.answer = json(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_container();
	create();
	for (size_t i = 0; i < 1024; i++)
		cr_assert_eq(start(&calls[i]), 0);
	cr_expect_eq(start(&one_more), ERR_UNAVAILABLE);
	for (size_t i = 0; i < 1024; i++) {
		turn_until(&calls[i].is_done);
		expect_got(calls[i], "ASIA1");
	}
	cr_expect_eq(peer_requests(peer), 1);
	cr_expect_eq(one_more.done, 0);
	expect_got(get(), "ASIA1");
}

Test(aws_credentials, cancel_while_waiting_leaves_the_others)
{
	char text[ANSWER_SIZE];
	struct call calls[3] = {0};
	const struct peer_script scripts[] = {{.answer = json(text, "ASIA1", 60 * MINUTE)}};
	serve(scripts, 1);
	use_container();
	create();
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(start(&calls[i]), 0);
	inside = true;
	aws_credentials_cancel(&calls[1].request);
	inside = false;
	turn_until(&calls[1].is_done);
	cr_expect_eq(calls[1].status, ERR_CANCELLED);
	cr_expect_eq(calls[0].done, 0);
	turn_until(&calls[0].is_done);
	turn_until(&calls[2].is_done);
	expect_got(calls[0], "ASIA1");
	expect_got(calls[2], "ASIA1");
	cr_expect_eq(calls[1].done, 1);
}

Test(aws_credentials, cancel_of_what_was_answered_already)
{
	struct call call = {0};
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "s-A");
	create();
	cr_assert_eq(start(&call), 0);
	aws_credentials_cancel(&call.request);
	turn_until(&call.is_done);
	cr_expect_eq(call.status, ERR_CANCELLED);
	uv_run(&loop, UV_RUN_NOWAIT);
	cr_expect_eq(call.done, 1);
}

Test(aws_credentials, cancel_invalidate_and_close_inside_a_callback)
{
	struct call calls[4] = {0};
	set("AWS_ACCESS_KEY_ID", "A");
	set("AWS_SECRET_ACCESS_KEY", "s-A");
	set("AWS_SESSION_TOKEN", "t-A");
	create();
	uint64_t start_ms = uv_now(&loop);
	while (uv_now(&loop) < start_ms + 2)
		uv_update_time(&loop);
	calls[0].cancel_other = true;
	calls[0].other = &calls[1];
	calls[2].invalidate = true;
	calls[2].close = true;
	for (size_t i = 0; i < 4; i++)
		cr_assert_eq(start(&calls[i]), 0);
	for (size_t i = 0; i < 4; i++)
		turn_until(&calls[i].is_done);
	turn_until(&closed);
	expect_got(calls[0], "A");
	cr_expect_eq(calls[1].status, ERR_CANCELLED);
	expect_got(calls[2], "A");
	cr_expect_eq(calls[3].status, ERR_CREDENTIALS, "those were invalidated");
	for (size_t i = 0; i < 4; i++)
		cr_expect_eq(calls[i].done, 1);
}

/* Closes after `turns` turns of the loop; whatever is under way then, everybody gets exactly one answer. False: all was done. */
static bool close_after(unsigned turns)
{
	struct call calls[3] = {0};
	struct call late = {0};
	closed = false;
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(start(&calls[i]), 0);
	for (unsigned i = 0; i < turns; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	bool was_done = calls[0].is_done;
	if (turns % 2 == 1 && !calls[1].is_done)
		aws_credentials_cancel(&calls[1].request);
	inside = true;
	aws_credentials_close(credentials, on_closed, &closed);
	cr_expect_eq(start(&late), ERR_CANCELLED);
	inside = false;
	cr_assert_not(closed);
	turn_until(&closed);
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(calls[i].done, 1, "turn %u, call %zu: %u", turns, i, calls[i].done);
		cr_assert(calls[i].status == 0 || calls[i].status == ERR_CANCELLED, "%s", err_name(calls[i].status));
	}
	cr_assert_eq(late.done, 0);
	return !was_done;
}

Test(aws_credentials, closes_at_every_turn_of_a_web_identity)
{
	char text[ANSWER_SIZE];
	struct peer_script scripts[] = {{.answer = xml(text, "ASIA1", 60 * MINUTE)}};
	unsigned turns = 0;
	serve(scripts, 1);
	use_sts();
	do {
		cr_assert_lt(turns, 10000);
		create();
	} while (close_after(turns++));
	cr_expect_gt(turns, 2);
}

Test(aws_credentials, closes_at_every_turn_of_an_instance_role)
{
	char text[ANSWER_SIZE];
	struct peer_script scripts[] = {
		{.answer = TOKEN_ANSWER}, {.answer = ROLE_ANSWER}, {.answer = json(text, "ASIA1", 60 * MINUTE)}};
	unsigned turns = 0;
	bool more = true;
	while (more) {
		cr_assert_lt(turns, 10000);
		serve(scripts, 3);
		use_instance();
		more = close_after(turns++);
		peer_close(peer);
	}
	peer = NULL;
	cr_expect_gt(turns, 6);
}

Test(aws_credentials, closes_while_metadata_is_silent)
{
	const struct peer_script scripts[] = {{.answer = TOKEN_ANSWER}, {.answer = ROLE_ANSWER}, {.answer = "", .hang = true}};
	struct call call = {0};
	struct aws_credentials_options options = usual_options();
	serve(scripts, 3);
	set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
	options.instance_role = true;
	options.timeout_ms = 600000; /* longer than the test may take */
	create_with(options);
	cr_assert_eq(start(&call), 0);
	for (uint64_t begun = uv_hrtime(); peer_requests(peer) < 3;) {
		cr_assert_lt(uv_hrtime() - begun, DEADLINE_NS);
		turn_run(&loop);
	}
	close_credentials();
	cr_expect_eq(call.done, 1);
	cr_expect_eq(call.status, ERR_CANCELLED);
}

Test(aws_credentials, do_not_keep_the_loop_running)
{
	char text[ANSWER_SIZE];
	const struct peer_script scripts[] = {{.answer = json(text, "ASIA1", 60 * MINUTE), .close = true}};
	serve(scripts, 1);
	use_container();
	create();
	expect_got(get(), "ASIA1");
	peer_close(peer);
	peer = NULL;
	uv_run(&loop, UV_RUN_DEFAULT); /* returns */
	cr_expect_not_null(aws_credentials_now(credentials));
}
