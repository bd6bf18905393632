/* SPDX-License-Identifier: MIT */
/* reeld healthcheck: asks the local daemon's /healthz; exit 0 when it answers 200. For container health checks. */
#include "adapters/http_client.h"
#include "base/check.h"
#include "base/turn.h"
#include "cmd/cmd.h"

#include <stdio.h>
#include <string.h>

#define HEALTHCHECK_TIMEOUT_MS 3000

struct healthcheck {
	bool answered;
	int status;
};

static void healthcheck_closed(void *data)
{
	(void)data;
}

static void healthcheck_done(struct http_client_request *request, int status)
{
	struct healthcheck *check = request->data;
	check->answered = true;
	check->status = status;
}

/* The URL of /healthz on this machine: the private listener is plain HTTP, so it is asked first; else the public one. */
static void healthcheck_url(const struct config *config, char *out, size_t size)
{
	const char *address = config->admin_listen != NULL ? config->admin_listen : config->listen;
	const char *scheme = config->admin_listen == NULL && config->tls_cert != NULL ? "https" : "http";
	const char *port = strrchr(address, ':');
	bool any = strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0 || port == address;
	if (any)
		snprintf(out, size, "%s://127.0.0.1%s/healthz", scheme, port == NULL ? "" : port);
	else
		snprintf(out, size, "%s://%s/healthz", scheme, address);
}

int cmd_healthcheck(const struct config *config, int argc, char **argv)
{
	if (argc > 1)
		return cmd_usage_error("healthcheck", "reeld healthcheck", "unexpected argument '%s'", argv[1]);
	char url[512];
	uv_loop_t loop;
	struct healthcheck check = {0};
	healthcheck_url(config, url, sizeof(url));
	REQUIRE(uv_loop_init(&loop) == 0);
	const struct http_client_options options = {.user_agent = "reeld-healthcheck", .unverified = true};
	struct http_client *http = http_client_new(&loop, &options);
	struct http_client_request request = {
		.method = HTTP_GET,
		.url = url,
		.total_timeout_ms = HEALTHCHECK_TIMEOUT_MS,
		.done = healthcheck_done,
		.data = &check,
	};
	int status = http == NULL ? ERR_NOMEM : http_client_start(http, &request);
	if (status == 0) {
		while (!check.answered && turn_run(&loop) != 0)
			;
		status = check.status != 0 ? check.status : http_status_error(request.http_status);
	}
	if (status != 0)
		fprintf(stderr, "reeld healthcheck: %s: %s\n", url, err_text(status));
	if (http != NULL)
		http_client_close(http, healthcheck_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	http_client_request_release(&request);
	REQUIRE(uv_loop_close(&loop) == 0);
	return status == 0 ? CMD_OK : CMD_FAILED;
}
