/* SPDX-License-Identifier: MIT */
/*
 * reeld serve: the daemon. Owns the loop and the signals; everything else is the app's.
 * SIGTERM, SIGINT: drain and exit 0; a second one, a second later or more, exits at once. SIGHUP: read secrets and certificates again.
 */
#include "app.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "cmd/cmd.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const int serve_signals[] = {SIGTERM, SIGINT, SIGHUP};
#define SAME_SIGNAL_NS UINT64_C(1000000000)
#define SERVE_SIGNALS (sizeof(serve_signals) / sizeof(serve_signals[0]))

struct serve {
	struct app *app;
	uv_signal_t signals[SERVE_SIGNALS];
	bool stopping;
	uint64_t stopping_ns; /* since when */
};

static void serve_stopped(void *data)
{
	struct serve *serve = data;
	for (size_t i = 0; i < SERVE_SIGNALS; i++)
		uv_close((uv_handle_t *)&serve->signals[i], NULL);
}

static void serve_on_signal(uv_signal_t *handle, int signum)
{
	struct serve *serve = handle->data;
	if (signum == SIGHUP) {
		if (!serve->stopping)
			app_reload(serve->app);
		return;
	}
	if (serve->stopping) {
		/* Sent to the process and to its group (timeout, shells) it is one signal that comes twice. */
		if (clock_mono_ns() - serve->stopping_ns < SAME_SIGNAL_NS)
			return;
		/* The journal holds what was acknowledged, leases expire: leaving now loses nothing. */
		static const char text[] = "reeld: second signal, leaving at once\n";
		ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
		(void)ignored;
		_exit(CMD_FAILED);
	}
	serve->stopping = true;
	serve->stopping_ns = clock_mono_ns();
	log_event(LOG_INFO, "reeld.stopping", LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"));
	notify_send("STOPPING=1");
	app_stop(serve->app, serve_stopped, serve);
}

int cmd_serve(const struct config *config, int argc, char **argv)
{
	if (argc > 1)
		return cmd_usage_error("serve", "reeld serve", "unexpected argument '%s'", argv[1]);

	struct error error = {0};
	if (config_require_serve(config, &error) != 0) {
		fprintf(stderr, "reeld: %s\n", error.detail);
		return CMD_FAILED;
	}
	uv_loop_t loop;
	if (uv_loop_init(&loop) != 0) {
		fputs("reeld: cannot create the event loop (file descriptor limit?)\n", stderr);
		return CMD_FAILED;
	}
	struct serve serve = {0};
	log_attach(&loop);
	if (app_new(&serve.app, &loop, config, &error) != 0) {
		uv_run(&loop, UV_RUN_DEFAULT);
		log_detach();
		REQUIRE(uv_loop_close(&loop) == 0);
		fprintf(stderr, "reeld: %s\n", error.detail);
		return CMD_FAILED;
	}
	for (size_t i = 0; i < SERVE_SIGNALS; i++) {
		REQUIRE(uv_signal_init(&loop, &serve.signals[i]) == 0);
		serve.signals[i].data = &serve;
		REQUIRE(uv_signal_start(&serve.signals[i], serve_on_signal, serve_signals[i]) == 0);
	}
	notify_send("READY=1");
	uv_run(&loop, UV_RUN_DEFAULT);

	log_event(LOG_INFO, "reeld.stopped");
	log_detach();
	/* A handle left open would be a leak that only shows as a hang elsewhere: say so loudly. */
	REQUIRE(uv_loop_close(&loop) == 0);
	return CMD_OK;
}
