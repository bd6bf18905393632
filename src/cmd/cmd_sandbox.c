/* SPDX-License-Identifier: MIT */
/*
 * reeld sandbox: the stand-in for Twilio as a process of its own. With --target it delivers callbacks; without, its recordings are only there to be
 * listed and fetched.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "cmd/arguments.h"
#include "cmd/cmd.h"
#include "config_value.h"
#include "intake/connection.h"
#include "sandbox/sandbox.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define USAGE                                                                                                             \
	"reeld sandbox [--listen ADDRESS] [--target URL] [--rate N] [--count N] [--size SIZE] [--fault LIST] (see reeld " \
	"sandbox --help)"
#define DEFAULT_LISTEN "127.0.0.1:8090"
#define DEFAULT_COUNT 10
#define POLL_MS 100
/* How long --exit-when-done waits for the last requests to come, and for those that never do. */
#define QUIET_POLLS 10
#define GIVE_UP_POLLS 600

const char cmd_sandbox_help[] =
	"usage: reeld sandbox [options]\n"
	"\n"
	"A local stand-in for Twilio: recordings (JSON, list, WAV and MP3, DELETE) and calls with Basic auth, signed callbacks, "
	"faults on\n"
	"demand. What it serves follows from the seed, so a run can be repeated. GET /sandbox/stats shows what happened. Do not "
	"expose it.\n"
	"\n"
	"  --listen ADDRESS      where it listens (127.0.0.1:8090; port 0: any)\n"
	"  --account-sid SID     the account, and its\n"
	"  --auth-token TOKEN    token; a comma list: each opens REST, the first signs\n"
	"  --target URL          send callbacks there, like http://127.0.0.1:8080/api/twilio/recording; else the recordings are "
	"only there to fetch\n"
	"  --count N             how many recordings (10; 0 with --target: until stopped)\n"
	"  --existing N          further ones that are there without a callback\n"
	"  --days N              recordings are spread over the last N days (1)\n"
	"  --rate N              callbacks a second (0: as fast as they are answered)\n"
	"  --concurrency N       callbacks under way at once (64)\n"
	"  --calls               whole calls: --target is the URL that answers them, like "
	"http://127.0.0.1:8080/api/twilio/incoming; "
	"status\n"
	"                        callbacks go to its sibling /status, a recording's to where the TwiML says; --rate is calls a "
	"second\n"
	"  --retry               try a callback again like Twilio with #rc=5&rp=all, whatever the fragment of its URL says\n"
	"  --exit-when-done      end when each acknowledged recording was fetched; exit 1 when one was not, or a callback "
	"failed\n"
	"  --size SIZE           of a recording, like 1MB, 64KiB or a range 10KB-2MB (64KiB)\n"
	"  --channels N          1 or 2 (some of each)\n"
	"  --format wav|mp3      what a media URL without extension gives (wav)\n"
	"  --encrypt FILE        encrypt recordings with the RSA key of this PEM file; its name, CR….pem, is the public key's "
	"SID\n"
	"  --encrypted RATE      only that part of them, between 0 and 1 (1)\n"
	"  --seed N              another seed, other recordings (1)\n"
	"  --fault LIST          name[:RATE],…  A rate between 0 and 1 holds for its name and for those before it that have "
	"none; the last ones\n"
	"                        without get 1. Names: 404-first 429 500 reset stall slow truncate wrong-length xml-body "
	"redirect dup reorder lost trunk\n"
	"  --fault-attempts N    only the first N requests of a kind for a recording are hit (2; 0: every one)\n"
	"  --stall DURATION      how long a stalled download stands still (60s)\n";

struct sandbox_command {
	struct sandbox_options options;
	struct callbacks_delivery delivery;
	uint64_t count;
	bool exit_when_done;
	struct sandbox *sandbox;
	uv_signal_t signals[2];
	uv_timer_t poll;
	uint64_t delivered_ns; /* when the last callback ended; 0: not yet */
	uint64_t fetched;      /* recordings below this number are settled */
	uint64_t last_activity;
	unsigned quiet_polls;
	bool stopping;
	int status;
};

/* What came from the command line as text. */
struct sandbox_texts {
	const char *count, *existing, *days, *rate, *concurrency, *size, *channels, *format, *seed, *fault, *fault_attempts,
		*stall, *encrypted;
};

static int take_numbers(struct sandbox_command *command, const struct sandbox_texts *texts)
{
	struct sandbox_options *options = &command->options;
	uint64_t concurrency = 0, channels = 0, attempts = FAULT_DEFAULT_ATTEMPTS, rate = 0;
	const struct {
		const char *name;
		const char *text;
		uint64_t max;
		uint64_t *value;
	} numbers[] = {
		{"--count", texts->count, MODEL_MAX_RECORDINGS, &command->count},
		{"--existing", texts->existing, MODEL_MAX_RECORDINGS, &options->existing},
		{"--days", texts->days, 4000, &options->days},
		{"--rate", texts->rate, 1000000, &rate},
		{"--concurrency", texts->concurrency, CALLBACKS_MAX_CONCURRENCY, &concurrency},
		{"--channels", texts->channels, 2, &channels},
		{"--seed", texts->seed, UINT64_MAX, &options->seed},
		{"--fault-attempts", texts->fault_attempts, UINT16_MAX, &attempts},
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!argument_number(numbers[i].text, numbers[i].max, numbers[i].value))
			return cmd_usage_error("sandbox", USAGE, "%s '%s' is not a number from 0 to %" PRIu64, numbers[i].name,
					       numbers[i].text, numbers[i].max);
	command->delivery.rate = (double)rate;
	command->delivery.concurrency = (unsigned)concurrency;
	options->channels = (int)channels;
	options->faults.attempts = (unsigned)attempts;
	return CMD_OK;
}

static int take_texts(struct sandbox_command *command, const struct sandbox_texts *texts)
{
	struct sandbox_options *options = &command->options;
	struct error error = {0};
	int64_t stall_ms = 0;
	int status = take_numbers(command, texts);
	if (status != CMD_OK)
		return status;
	if (!argument_size_range(texts->size, &options->bytes_min, &options->bytes_max))
		return cmd_usage_error("sandbox", USAGE, "--size '%s' is not a size, like 1MB, 64KiB or 10KB-2MB", texts->size);
	if (texts->format != NULL && strcmp(texts->format, "wav") != 0 && strcmp(texts->format, "mp3") != 0)
		return cmd_usage_error("sandbox", USAGE, "--format is wav or mp3, not '%s'", texts->format);
	options->format = texts->format != NULL && strcmp(texts->format, "mp3") == 0 ? AUDIO_MP3 : AUDIO_WAV;
	if (texts->stall != NULL && (!config_parse_duration(slice_from_cstr(texts->stall), &stall_ms) || stall_ms > INT32_MAX))
		return cmd_usage_error("sandbox", USAGE, "--stall '%s' is not a duration, like 500ms or 60s", texts->stall);
	options->stall_ms = (uint32_t)stall_ms;
	if (texts->encrypted != NULL) {
		char *end;
		options->encrypted_rate = strtod(texts->encrypted, &end);
		if (*end != '\0' || !(options->encrypted_rate > 0 && options->encrypted_rate <= 1) || options->encrypt == NULL)
			return cmd_usage_error("sandbox", USAGE, "--encrypted is a rate above 0, at most 1, beside --encrypt");
	}
	if (texts->fault != NULL && fault_plan_parse(&options->faults, slice_from_cstr(texts->fault), &error) != 0)
		return cmd_usage_error("sandbox", USAGE, "%s", error.detail);
	return CMD_OK;
}

static int take_arguments(struct sandbox_command *command, int argc, char **argv)
{
	struct sandbox_texts texts = {0};
	char problem[256];
	const struct argument table[] = {
		{"--listen", &command->options.listen, NULL},
		{"--account-sid", &command->options.account_sid, NULL},
		{"--auth-token", &command->options.auth_token, NULL},
		{"--target", &command->options.target, NULL},
		{"--count", &texts.count, NULL},
		{"--existing", &texts.existing, NULL},
		{"--days", &texts.days, NULL},
		{"--rate", &texts.rate, NULL},
		{"--concurrency", &texts.concurrency, NULL},
		{"--calls", NULL, &command->delivery.calls},
		{"--retry", NULL, &command->delivery.retry},
		{"--exit-when-done", NULL, &command->exit_when_done},
		{"--size", &texts.size, NULL},
		{"--channels", &texts.channels, NULL},
		{"--format", &texts.format, NULL},
		{"--encrypt", &command->options.encrypt, NULL},
		{"--encrypted", &texts.encrypted, NULL},
		{"--seed", &texts.seed, NULL},
		{"--fault", &texts.fault, NULL},
		{"--fault-attempts", &texts.fault_attempts, NULL},
		{"--stall", &texts.stall, NULL},
	};
	if (arguments_parse(argc, argv, table, sizeof(table) / sizeof(table[0]), problem, sizeof(problem)) != 0)
		return cmd_usage_error("sandbox", USAGE, "%s", problem);
	struct error error;
	if (server_can_listen(command->options.listen, &error) == ERR_CONFIG)
		return cmd_usage_error("sandbox", USAGE, "--listen: %s", error.detail);
	int status = take_texts(command, &texts);
	if (status != CMD_OK)
		return status;
	if (command->options.target == NULL) {
		if (command->exit_when_done || command->delivery.calls)
			return cmd_usage_error("sandbox", USAGE, "%s needs --target",
					       command->exit_when_done ? "--exit-when-done" : "--calls");
		command->options.existing += command->count;
	} else if (command->count == 0) {
		command->count = MODEL_MAX_RECORDINGS - command->options.existing;
	}
	command->delivery.count = command->count;
	return CMD_OK;
}

/* ---- running ---- */

static void print_summary(const struct sandbox_command *command)
{
	struct sandbox_stats stats;
	sandbox_stats(command->sandbox, &stats);
	printf("callbacks: %" PRIu64 " sent (%" PRIu64 " duplicates, %" PRIu64 " in-progress), %" PRIu64 " acknowledged, %" PRIu64
	       " refused, %" PRIu64 " failed, %" PRIu64 " retries\n",
	       stats.callbacks.sent, stats.callbacks.duplicates, stats.callbacks.in_progress, stats.callbacks.acknowledged,
	       stats.callbacks.refused, stats.callbacks.failed, stats.callbacks.retried);
	if (stats.callbacks.calls > 0)
		printf("calls: %" PRIu64 " (%" PRIu64 " answers that were no TwiML)\n", stats.callbacks.calls,
		       stats.callbacks.bad_twiml);
	printf("requests: %" PRIu64 " media, %" PRIu64 " recording, %" PRIu64 " call, %" PRIu64 " list, %" PRIu64
	       " delete, %" PRIu64 " other; %" PRIu64 " unauthorized; %" PRIu64 " media bytes\n",
	       stats.requests[SANDBOX_MEDIA], stats.requests[SANDBOX_RECORDING], stats.requests[SANDBOX_CALL],
	       stats.requests[SANDBOX_LIST], stats.requests[SANDBOX_DELETE],
	       stats.requests[SANDBOX_ACCOUNT] + stats.requests[SANDBOX_UNKNOWN], stats.unauthorized, stats.media_bytes);
	for (int i = 0; i < FAULT_COUNT; i++)
		if (stats.faults[i] > 0)
			printf("fault %s: %" PRIu64 "\n", fault_name((enum fault)i), stats.faults[i]);
	fflush(stdout);
}

static void command_stop(struct sandbox_command *command)
{
	if (command->stopping)
		return;
	command->stopping = true;
	print_summary(command);
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&command->signals[i], NULL);
	uv_close((uv_handle_t *)&command->poll, NULL);
	sandbox_close(command->sandbox, NULL, NULL);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	(void)signum;
	command_stop(handle->data);
}

static void delivery_done(void *data)
{
	struct sandbox_command *command = data;
	command->delivered_ns = clock_mono_ns();
}

/* Every recording with an acknowledged callback was sent whole. Goes on where it stopped the last time. */
static bool all_fetched(struct sandbox_command *command)
{
	const struct model *model = sandbox_model(command->sandbox);
	for (; command->fetched < model_count(model); command->fetched++) {
		struct model_state state = model_look(model, command->fetched);
		if (state.callbacks_ok > 0 && state.media_complete == 0)
			return false;
	}
	return true;
}

static void on_poll(uv_timer_t *timer)
{
	struct sandbox_command *command = timer->data;
	struct sandbox_stats stats;
	uint64_t activity;
	if (command->delivered_ns == 0)
		return;
	sandbox_stats(command->sandbox, &stats);
	activity = stats.media_bytes + stats.unauthorized;
	for (int i = 0; i < SANDBOX_REQUEST_KINDS; i++)
		activity += stats.requests[i];
	command->quiet_polls = activity == command->last_activity ? command->quiet_polls + 1 : 0;
	command->last_activity = activity;
	bool fetched = all_fetched(command);
	if (command->quiet_polls < (fetched ? QUIET_POLLS : GIVE_UP_POLLS))
		return;
	if (!fetched)
		fputs("reeld sandbox: an acknowledged recording was never fetched\n", stderr);
	if (!fetched || stats.callbacks.refused + stats.callbacks.failed > 0)
		command->status = CMD_FAILED;
	command_stop(command);
}

static void print_start(const struct sandbox_command *command)
{
	const struct sandbox_options *options = &command->options;
	const char *listen = options->listen == NULL ? DEFAULT_LISTEN : options->listen;
	const char *colon = strrchr(listen, ':');
	int host = colon == NULL ? (int)strlen(listen) : (int)(colon - listen);
	/* A token that was given is not repeated: it might be a real one. */
	printf("sandbox at http://%.*s:%d; use it: TWILIO_API_BASE=http://%.*s:%d TWILIO_ACCOUNT_SID=%s TWILIO_AUTH_TOKEN=%s "
	       "reeld serve\n",
	       host, listen, sandbox_port(command->sandbox), host, listen, sandbox_port(command->sandbox),
	       options->account_sid == NULL ? SANDBOX_ACCOUNT_SID : options->account_sid,
	       options->auth_token == NULL ? SANDBOX_AUTH_TOKEN : "(as given)");
	if (options->encrypt != NULL)
		printf("encrypted with %s; decrypt: TWILIO_ENCRYPTION_KEYS=a directory with its private key as %s.pem\n",
		       sandbox_public_key_sid(command->sandbox), sandbox_public_key_sid(command->sandbox));
	fflush(stdout);
}

static void start_handles(struct sandbox_command *command, uv_loop_t *loop)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	for (size_t i = 0; i < 2; i++) {
		REQUIRE(uv_signal_init(loop, &command->signals[i]) == 0);
		command->signals[i].data = command;
		REQUIRE(uv_signal_start(&command->signals[i], on_signal, numbers[i]) == 0);
	}
	REQUIRE(uv_timer_init(loop, &command->poll) == 0);
	command->poll.data = command;
	if (command->exit_when_done)
		REQUIRE(uv_timer_start(&command->poll, on_poll, POLL_MS, POLL_MS) == 0);
}

/* 0, or -1 when nothing is left but to turn the loop until it is empty. */
static int command_start(struct sandbox_command *command, uv_loop_t *loop)
{
	struct error error = {0};
	if (sandbox_new(&command->sandbox, loop, &command->options, &error) != 0) {
		fprintf(stderr, "reeld sandbox: %s\n", error.detail);
		return -1;
	}
	if (command->options.target != NULL && sandbox_start_callbacks(command->sandbox, &command->delivery, &error) != 0) {
		fprintf(stderr, "reeld sandbox: %s\n", error.detail);
		sandbox_close(command->sandbox, NULL, NULL);
		return -1;
	}
	start_handles(command, loop);
	print_start(command);
	return 0;
}

int cmd_sandbox(const struct config *config, int argc, char **argv)
{
	struct sandbox_command command = {
		.options = {.listen = DEFAULT_LISTEN, .seed = 1, .faults = {.attempts = FAULT_DEFAULT_ATTEMPTS}},
		.delivery = {.from = CALLBACKS_FROM_NEW, .done_cb = delivery_done},
		.count = DEFAULT_COUNT,
	};
	uv_loop_t loop;
	(void)config;
	int status = take_arguments(&command, argc, argv);
	if (status != CMD_OK)
		return status;
	command.delivery.data = &command;
	descriptors_raise();
	if (uv_loop_init(&loop) != 0) {
		fputs("reeld sandbox: cannot create the event loop (file descriptor limit?)\n", stderr);
		return CMD_FAILED;
	}
	if (command_start(&command, &loop) != 0)
		command.status = CMD_FAILED;
	uv_run(&loop, UV_RUN_DEFAULT);
	REQUIRE(uv_loop_close(&loop) == 0);
	return command.status;
}
