/* SPDX-License-Identifier: MIT */
/*
 * reeld serve: the daemon. Owns the loop and the signals; everything else is the app's.
 * SIGTERM, SIGINT: drain and exit 0; a second one, a second later or more, exits at once. SIGHUP: read secrets and certificates again.
 *
 * With WORKERS above 1 this is the supervisor, which starts `reeld serve --worker K/N --owner NAME` for each.
 */
#include "app.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "cmd/arguments.h"
#include "cmd/cmd.h"
#include "supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const int serve_signals[] = {SIGTERM, SIGINT, SIGHUP};
#define SERVE_SIGNALS (sizeof(serve_signals) / sizeof(serve_signals[0]))

struct serve {
	struct app *app;
	const struct app_worker *worker; /* NULL: the only process */
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
		if (serve->worker != NULL)
			supervisor_tell_ready();
		return;
	}
	/* Terminals and service managers send theirs to the whole group, and the supervisor once more; it kills who is to leave at once. */
	if (serve->stopping && serve->worker != NULL)
		return;
	if (serve->stopping) {
		/* The journal holds what was acknowledged, leases expire: leaving now loses nothing. */
		if (supervisor_is_second_signal(serve->stopping_ns))
			_exit(CMD_FAILED);
		return;
	}
	serve->stopping = true;
	serve->stopping_ns = clock_mono_ns();
	log_event(LOG_INFO, "reeld.stopping", LOG_STR("signal", signum == SIGTERM ? "SIGTERM" : "SIGINT"));
	notify_send("STOPPING=1");
	app_stop(serve->app, serve_stopped, serve);
}

static int serve_run(const struct config *config, const struct app_worker *worker)
{
	struct error error = {0};
	uv_loop_t loop;
	if (uv_loop_init(&loop) != 0) {
		fputs("reeld: cannot create the event loop (file descriptor limit?)\n", stderr);
		return CMD_FAILED;
	}
	struct serve serve = {.worker = worker};
	log_attach(&loop);
	if (app_new(&serve.app, &loop, config, worker, &error) != 0) {
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
	if (worker != NULL)
		supervisor_tell_ready();
	uv_run(&loop, UV_RUN_DEFAULT);

	log_event(LOG_INFO, "reeld.stopped");
	log_detach();
	/* A handle left open would be a leak that only shows as a hang elsewhere: say so loudly. */
	REQUIRE(uv_loop_close(&loop) == 0);
	return CMD_OK;
}

static int serve_worker(const struct config *config, const char *place, const char *owner)
{
	struct app_worker worker;
	if (supervisor_greet(&worker, place, owner) != 0)
		return cmd_usage_error("serve", "reeld serve", "--worker is for the workers that it starts itself");
	log_set_worker((int)worker.number);
	return serve_run(config, &worker);
}

static int serve_workers(const struct config *config)
{
	struct error error = {0};
	if (supervisor_run(config, &error) == 0)
		return CMD_OK;
	if (error.code != 0)
		fprintf(stderr, "reeld: %s\n", error.detail);
	return CMD_FAILED;
}

int cmd_serve(const struct config *config, int argc, char **argv)
{
	const char *place = NULL;
	const char *owner = NULL;
	char problem[256];
	const struct argument table[] = {{"--worker", &place, NULL}, {"--owner", &owner, NULL}};
	if (arguments_parse(argc, argv, table, 2, problem, sizeof(problem)) != 0)
		return cmd_usage_error("serve", "reeld serve", "%s", problem);

	struct error error = {0};
	if (config_require_serve(config, &error) != 0) {
		fprintf(stderr, "reeld: %s\n", error.detail);
		return CMD_FAILED;
	}
	if (place != NULL)
		return serve_worker(config, place, owner);
	return config->workers > 1 ? serve_workers(config) : serve_run(config, NULL);
}
