/* SPDX-License-Identifier: MIT */
/*
 * The server alone: every request is answered with a prepared 200, no webhook and no journal behind it. What the ack path costs before it does anything.
 *
 *   bench_http [address] [certificate key]
 */
#include "intake/connection.h"
#include "intake/tls.h"

#include <signal.h>
#include <stdio.h>

static struct reply_fixed answer;

static void on_request(struct connection *connection, struct request *request, void *data)
{
	(void)request;
	(void)data;
	reply_fixed_send(connection, &answer);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	server_close(handle->data, NULL, NULL);
	uv_close((uv_handle_t *)handle, NULL);
}

int main(int argc, char **argv)
{
	uv_loop_t loop;
	uv_signal_t stop;
	struct error error = {0};
	const char *address = argc > 1 ? argv[1] : "127.0.0.1:18080";
	struct tls_context *tls = NULL;
	signal(SIGPIPE, SIG_IGN);
	if (argc > 3) {
		tls = tls_context_new(argv[2], argv[3], &error);
		if (tls == NULL) {
			fprintf(stderr, "%s\n", error.detail);
			return 1;
		}
	}
	const struct server_options options = {
		.on_request = on_request,
		.max_connections = 4096,
		.max_body = 65536,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
		.tls = tls,
		.name = "bench",
	};
	uv_loop_init(&loop);
	uv_signal_init(&loop, &stop);
	struct server *server = server_new(&loop, &options);
	if (server == NULL || reply_fixed_build(&answer, 200, "application/json", NULL,
						SLICE("{\"success\":true,\"message\":\"Recording accepted\"}")) != 0)
		return 1;
	if (server_listen(server, address, &error) != 0) {
		fprintf(stderr, "%s\n", error.detail);
		return 1;
	}
	printf("%d\n", server_port(server));
	fflush(stdout);
	stop.data = server;
	uv_signal_start(&stop, on_signal, SIGTERM);
	uv_run(&loop, UV_RUN_DEFAULT);
	tls_context_free(&tls);
	return uv_loop_close(&loop) == 0 ? 0 : 1;
}
