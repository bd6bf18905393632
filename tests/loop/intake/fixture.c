/* SPDX-License-Identifier: MIT */
#include "loop/intake/fixture.h"

#include "base/check.h"
#include "base/turn.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct fixture fixture;
static struct reply_fixed now_answer;

static void wait_for_answer(struct connection *connection, const struct request *retained)
{
	REQUIRE(fixture.waiting_count < FIXTURE_MAX_WAITING);
	fixture.waiting[fixture.waiting_count] = connection;
	fixture.retained[fixture.waiting_count] = retained;
	fixture.waiting_count++;
}

static void echo(struct connection *connection, const struct request *request)
{
	struct buffer body;
	struct slice host = request_header(request, SLICE("Host"));
	buffer_init(&body, 1 << 20);
	buffer_printf(&body, "%.*s %.*s host=%.*s query=%.*s body=", SLICE_FMT(request->method_name), SLICE_FMT(request->path),
		      SLICE_FMT(host), SLICE_FMT(request->query));
	buffer_append_slice(&body, request->body);
	reply_send(connection, &(struct reply){.status = 200, .content_type = "text/plain", .body = buffer_slice(&body)});
	buffer_free(&body);
}

static void on_request(struct connection *connection, struct request *request, void *data)
{
	REQUIRE(data == &fixture);
	fixture.requests++;
	if (slice_equal(request->path, SLICE("/now")))
		reply_fixed_send(connection, &now_answer);
	else if (slice_equal(request->path, SLICE("/echo")))
		echo(connection, request);
	else if (slice_equal(request->path, SLICE("/later")))
		wait_for_answer(connection, NULL);
	else if (slice_equal(request->path, SLICE("/retain")))
		wait_for_answer(connection, connection_retain(connection));
	else if (slice_equal(request->path, SLICE("/abort")))
		reply_abort(connection);
	else if (fixture.on_other != NULL)
		fixture.on_other(connection, request);
	else
		reply_error(connection, 404, "Not \"found\"");
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
}

void fixture_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(uv_loop_init(&fixture.loop), 0);
	uv_timer_init(&fixture.loop, &fixture.watchdog);
	uv_timer_start(&fixture.watchdog, on_watchdog, 20, 20);
	fixture.metrics = metrics_new();
	fixture.options = (struct server_options){
		.on_request = on_request,
		.data = &fixture,
		.max_connections = 64,
		.max_body = 4096,
		.max_header = 2048,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
		.connections = &fixture.gauge,
		.metrics = fixture.metrics,
		.name = "test",
	};
	cr_assert_eq(reply_fixed_build(&now_answer, 200, "text/plain", NULL, SLICE("now")), 0);
}

void fixture_start(void)
{
	struct error error = {0};
	fixture.started = true;
	fixture.server = server_new(&fixture.loop, &fixture.options);
	cr_assert_not_null(fixture.server);
	cr_assert_eq(server_listen(fixture.server, "127.0.0.1:0", &error), 0, "%s", error.detail);
}

void fixture_answer_next(void)
{
	static unsigned number;
	char body[256];
	REQUIRE(fixture.waiting_count > 0);
	struct connection *connection = fixture.waiting[0];
	const struct request *retained = fixture.retained[0];
	fixture.waiting_count--;
	memmove(fixture.waiting, fixture.waiting + 1, fixture.waiting_count * sizeof(fixture.waiting[0]));
	memmove(fixture.retained, fixture.retained + 1, fixture.waiting_count * sizeof(fixture.retained[0]));
	if (retained == NULL)
		snprintf(body, sizeof(body), "answer %u", ++number);
	else
		snprintf(body, sizeof(body), "retained %.*s?%.*s %.*s", SLICE_FMT(retained->path), SLICE_FMT(retained->query),
			 SLICE_FMT(retained->body));
	reply_send(connection, &(struct reply){.status = 200, .body = slice_from_cstr(body)});
}

static void on_closed(void *data)
{
	((struct fixture *)data)->closed = true;
}

void fixture_close_server(void)
{
	server_close(fixture.server, on_closed, &fixture);
	fixture.server = NULL;
}

void fixture_fini(void)
{
	if (fixture.server != NULL)
		fixture_close_server();
	while (fixture.waiting_count > 0)
		fixture_answer_next();
	TURN_UNTIL(fixture.closed || !fixture.started);
	cr_assert_eq(fixture.gauge.value, 0);
	uv_close((uv_handle_t *)&fixture.watchdog, NULL);
	uv_run(&fixture.loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&fixture.loop), 0, "handles are left open");
	metrics_free(&fixture.metrics);
}

void fixture_turn(void)
{
	turn_run(&fixture.loop);
}

size_t fixture_connections(void)
{
	return (size_t)fixture.gauge.value;
}

double fixture_closed_for(const char *reason)
{
	return metrics_get(fixture.metrics, METRIC_HTTP_CLOSED, reason)->value;
}

/* ---- raw clients ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char bytes[65536];
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct raw_client *client = stream->data;
	if (nread > 0) {
		cr_assert_eq(buffer_append(&client->in, buf->base, (size_t)nread), 0);
	} else if (nread < 0) {
		client->ended = true;
		client->error = nread == UV_EOF ? 0 : (int)nread;
		uv_read_stop(stream);
	}
}

static void on_connect(uv_connect_t *connect, int status)
{
	struct raw_client *client = connect->data;
	cr_assert_eq(status, 0);
	client->connected = true;
	raw_resume(client);
}

void raw_connect(struct raw_client *client)
{
	raw_connect_port(client, server_port(fixture.server));
}

void raw_connect_port(struct raw_client *client, int port)
{
	struct sockaddr_in address;
	memset(client, 0, sizeof(*client));
	buffer_init(&client->in, (size_t)64 << 20);
	uv_ip4_addr("127.0.0.1", port, &address);
	uv_tcp_init(&fixture.loop, &client->tcp);
	client->tcp.data = client;
	client->connect.data = client;
	client->open = true;
	cr_assert_eq(uv_tcp_connect(&client->connect, &client->tcp, (struct sockaddr *)&address, on_connect), 0);
	TURN_UNTIL(client->connected);
}

static void on_written(uv_write_t *write, int status)
{
	(void)status;
	free(write->data);
	free(write);
}

void raw_send(struct raw_client *client, const char *bytes, size_t len)
{
	uv_write_t *write = malloc(sizeof(*write));
	char *copy = malloc(len);
	REQUIRE(write != NULL && copy != NULL);
	memcpy(copy, bytes, len);
	write->data = copy;
	uv_buf_t buf = uv_buf_init(copy, (unsigned)len);
	if (uv_write(write, (uv_stream_t *)&client->tcp, &buf, 1, on_written) != 0)
		on_written(write, 0);
}

void raw_send_text(struct raw_client *client, const char *text)
{
	raw_send(client, text, strlen(text));
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
	(void)status;
	free(shutdown);
}

void raw_shutdown(struct raw_client *client)
{
	uv_shutdown_t *shutdown = malloc(sizeof(*shutdown));
	REQUIRE(shutdown != NULL);
	cr_assert_eq(uv_shutdown(shutdown, (uv_stream_t *)&client->tcp, on_shutdown), 0);
}

void raw_pause(struct raw_client *client)
{
	uv_read_stop((uv_stream_t *)&client->tcp);
}

void raw_resume(struct raw_client *client)
{
	cr_assert_eq(uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read), 0);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct raw_client *client = handle->data;
	buffer_free(&client->in);
	client->open = false;
}

void raw_reset(struct raw_client *client)
{
	cr_assert_eq(uv_tcp_close_reset(&client->tcp, on_client_closed), 0);
	TURN_UNTIL(!client->open);
}

void raw_close(struct raw_client *client)
{
	uv_close((uv_handle_t *)&client->tcp, on_client_closed);
	TURN_UNTIL(!client->open);
}

bool raw_has(struct raw_client *client, const char *text)
{
	return raw_count(client, text) > 0;
}

size_t raw_count(struct raw_client *client, const char *text)
{
	size_t count = 0;
	const char *at = client->in.data;
	const char *end = at + client->in.len;
	while (at != NULL && at < end && (at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
		count++;
		at += strlen(text);
	}
	return count;
}

void raw_expect(struct raw_client *client, const char *send, const char *text)
{
	raw_send_text(client, send);
	TURN_UNTIL(raw_has(client, text) || client->ended);
	cr_assert(raw_has(client, text), "got: %s", buffer_cstr(&client->in));
}

void raw_expect_end(struct raw_client *client, const char *text)
{
	TURN_UNTIL(client->ended);
	cr_assert_eq(client->error, 0, "not closed in order: %s", uv_strerror(client->error));
	const char *got = buffer_cstr(&client->in);
	cr_assert(strncmp(got, text, strlen(text)) == 0, "got: %s", got);
}
