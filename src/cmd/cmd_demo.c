/* SPDX-License-Identifier: MIT */
/*
 * reeld demo: the daemon and the sandbox in one process on one loop. Signed callbacks go through real sockets; what ends up on disk is read again
 * and compared with what the sandbox is known to have served. It uses its own directory and ports, and no account.
 *
 * Order: sandbox, daemon, callbacks; every recording reaches an end (or nothing moves for DEMO_PATIENCE_MS); daemon stopped; files verified; sandbox closed.
 */
#include "adapters/crypto.h"
#include "app.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "cmd/arguments.h"
#include "cmd/cmd.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USAGE "reeld demo [--count N] [--data-dir DIR] [--size SIZE] [--calls]"
const char cmd_demo_help[] =
	"usage: " USAGE "\n"
	"\n"
	"Starts reeld and a stand-in for Twilio in this process, lets it deliver signed callbacks, and checks every stored "
	"recording. No account, no server and\n"
	"no configuration are needed. Exit status 0 only if all of them verified.\n"
	"\n"
	"  --count N             recordings (3)\n"
	"  --data-dir DIR        where everything goes (a fresh temporary directory, which stays)\n"
	"  --size SIZE           of a recording, or a range: 1MB, 10KB-2MB\n"
	"  --calls               whole calls: incoming, statuses, and the recording that the TwiML asks for\n";
#define DEMO_MAX_COUNT 1000000
#define DEMO_POLL_MS 100
#define DEMO_PATIENCE_MS 60000
#define DEMO_BYTES 262144
/* So many of those that were not archived get a line of their own. */
#define DEMO_SHOWN_FAILURES 20
#define READ_CHUNK 262144
#define FILE_URL "file://"

enum demo_state { DEMO_WAITING, DEMO_ARCHIVED, DEMO_FAILED, DEMO_VERIFIED };

struct demo_recording {
	enum demo_state state;
	char *url;
	const char *reason; /* static; the last thing that went wrong */
	const char *step;   /* where; static */
};

struct demo {
	struct config config; /* the command's, with everything foreign taken out; owns nothing */
	char directory[PATH_MAX];
	char api_base[64];
	char target[96];
	uint64_t count;
	bool calls;
	uint64_t bytes_min;
	uint64_t bytes_max;
	uv_loop_t loop;
	struct app *app;
	struct sandbox *sandbox;
	uv_signal_t signals[2];
	uv_timer_t poll;
	struct demo_recording *recordings;
	uint64_t archived;
	uint64_t failed;
	uint64_t started_ns;
	uint64_t finished_ns; /* when the last recording reached its end */
	uint64_t activity;
	uint64_t active_ns;
	const char *cut; /* why it ended early */
	bool stopping;
	bool terminal;
	uint64_t verified;
	uint64_t unverified;
	uint64_t verified_bytes;
};

/* ---- verifying ---- */

/* The path of a file:// URL, percent escapes decoded. */
static bool url_path(const char *url, char *path, size_t size)
{
	size_t len = 0;
	if (strncmp(url, FILE_URL, strlen(FILE_URL)) != 0)
		return false;
	for (const char *at = url + strlen(FILE_URL); *at != '\0'; at++) {
		uint8_t byte = (uint8_t)*at;
		if (*at == '%') {
			if (strlen(at) < 3 || !hex_decode(slice_make(at + 1, 2), &byte))
				return false;
			at += 2;
		}
		if (len + 1 >= size)
			return false;
		path[len++] = (char)byte;
	}
	path[len] = '\0';
	return true;
}

/* Reads all of the file. 0 or an error. Blocking. */
static int digest_file(const char *path, struct crypto_digest_result *result)
{
	struct crypto_digest *digest = NULL;
	char *chunk = malloc(READ_CHUNK);
	FILE *file = fopen(path, "rbe");
	int code = chunk == NULL ? ERR_NOMEM : file == NULL ? err_from_errno(errno) : crypto_digest_new(&digest, NULL);
	while (code == 0) {
		size_t len = fread(chunk, 1, READ_CHUNK, file);
		if (len == 0)
			break;
		code = crypto_digest_update(digest, chunk, len);
	}
	if (code == 0 && ferror(file) != 0)
		code = ERR_IO;
	if (code == 0)
		code = crypto_digest_final(digest, result);
	crypto_digest_free(&digest);
	if (file != NULL)
		fclose(file);
	free(chunk);
	return code;
}

/* What the sandbox serves for this configuration. */
static int expected_audio(const struct demo *demo, const struct model_recording *recording, struct audio *audio)
{
	const struct model *model = sandbox_model(demo->sandbox);
	enum audio_format format = demo->config.recording_format == CONFIG_FORMAT_MP3 ? AUDIO_MP3 : AUDIO_WAV;
	if (model_audio(model, recording, format, demo->config.recording_channels, audio))
		return 0;
	/* A recording with one channel: asking for two falls back to it. */
	return model_audio(model, recording, format, 1, audio) ? 0 : ERR_INVALID;
}

/* NULL, or why the stored file is not what was served. */
static const char *verify_file(const struct demo *demo, const struct model_recording *recording, const char *path, char hex[65])
{
	struct audio audio;
	struct crypto_digest_result actual;
	uint8_t expected[32];
	int code = expected_audio(demo, recording, &audio);
	if (code == 0)
		code = sandbox_audio_sha256(&audio, expected);
	if (code == 0)
		code = digest_file(path, &actual);
	if (code != 0)
		return err_text(code);
	hex_encode(actual.sha256, sizeof(actual.sha256), hex);
	if (actual.bytes != audio.bytes)
		return "the stored file has another size than what was served";
	return memcmp(actual.sha256, expected, sizeof(expected)) == 0 ? NULL
								      : "the stored file has other bytes than what was served";
}

/* One line for one recording. */
static void report(struct demo *demo, uint64_t index)
{
	struct demo_recording *entry = &demo->recordings[index];
	struct model_recording recording;
	struct stat info = {0};
	char path[PATH_MAX];
	char hex[65] = "";
	model_recording(sandbox_model(demo->sandbox), index, &recording);
	if (entry->state == DEMO_ARCHIVED) {
		if (!url_path(entry->url, path, sizeof(path)))
			entry->reason = "not stored in the demo's directory";
		else
			entry->reason = verify_file(demo, &recording, path, hex);
		entry->state = entry->reason == NULL ? DEMO_VERIFIED : DEMO_FAILED;
		entry->step = NULL;
	}
	if (entry->state != DEMO_VERIFIED) {
		if (demo->unverified++ < DEMO_SHOWN_FAILURES)
			printf("%s  NOT ARCHIVED: %s%s%s\n", recording.recording_sid.text,
			       entry->reason == NULL ? demo->cut : entry->reason, entry->step == NULL ? "" : ", in step ",
			       entry->step == NULL ? "" : entry->step);
		return;
	}
	if (stat(path, &info) == 0)
		demo->verified_bytes += (uint64_t)info.st_size;
	demo->verified++;
	printf("%s  %" PRId64 " bytes  sha256 %s  %s\n", recording.recording_sid.text, (int64_t)info.st_size, hex, path);
}

static void report_all(struct demo *demo)
{
	double seconds = demo->finished_ns == 0 ? 0 : (double)(demo->finished_ns - demo->started_ns) / 1e9;
	if (demo->terminal)
		fputs("\r\033[K", stdout);
	for (uint64_t i = 0; i < demo->count; i++)
		report(demo, i);
	if (demo->unverified > DEMO_SHOWN_FAILURES)
		printf("and %" PRIu64 " more that were not archived\n", demo->unverified - DEMO_SHOWN_FAILURES);
	if (demo->verified == demo->count) {
		printf("\n%" PRIu64 " recordings archived and verified: %" PRIu64 " bytes in %.2f s, %.1f recordings/s\n",
		       demo->count, demo->verified_bytes, seconds, (double)demo->count / (seconds > 0 ? seconds : 1));
	} else {
		printf("\nonly %" PRIu64 " of %" PRIu64 " recordings archived and verified%s%s\n", demo->verified, demo->count,
		       demo->cut == NULL ? "" : ": ", demo->cut == NULL ? "" : demo->cut);
	}
	printf("Everything is in %s; remove it when you have looked.\n", demo->directory);
	fflush(stdout);
}

/* ---- running ---- */

static void demo_stopped(void *data)
{
	struct demo *demo = data;
	report_all(demo);
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&demo->signals[i], NULL);
	uv_close((uv_handle_t *)&demo->poll, NULL);
	sandbox_close(demo->sandbox, NULL, NULL);
}

static void demo_stop(struct demo *demo, const char *cut)
{
	if (demo->stopping)
		return;
	demo->stopping = true;
	demo->cut = cut;
	uv_timer_stop(&demo->poll);
	sandbox_stop_callbacks(demo->sandbox);
	app_stop(demo->app, demo_stopped, demo);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	(void)signum;
	demo_stop(handle->data, "interrupted");
}

/* A recording reached its end. Ends are only counted here; the poll acts on them, outside of the daemon's callbacks. */
static void settle(struct demo *demo, struct demo_recording *entry, enum demo_state state)
{
	if (entry->state != DEMO_WAITING)
		return;
	entry->state = state;
	demo->archived += state == DEMO_ARCHIVED;
	demo->failed += state == DEMO_FAILED;
	demo->finished_ns = clock_mono_ns();
}

static void on_outcome(void *data, const struct sid *recording_sid, enum ledger_outcome outcome, int code, const char *step,
		       const char *url)
{
	struct demo *demo = data;
	uint64_t index;
	if (!model_find(sandbox_model(demo->sandbox), slice_from_cstr(recording_sid->text), "RE", &index) || index >= demo->count)
		return;
	struct demo_recording *entry = &demo->recordings[index];
	if (outcome == LEDGER_OUTCOME_DONE && entry->state == DEMO_WAITING) {
		entry->url = strdup(url == NULL ? "" : url);
		entry->reason = "out of memory";
		settle(demo, entry, entry->url == NULL ? DEMO_FAILED : DEMO_ARCHIVED);
		return;
	}
	if (outcome == LEDGER_OUTCOME_RELEASE)
		return; /* by our own stop; says nothing about the recording */
	entry->reason = code == 0 ? "skipped" : err_text(code);
	entry->step = step;
	if (outcome != LEDGER_OUTCOME_RETRY && outcome != LEDGER_OUTCOME_WAIT)
		settle(demo, entry, DEMO_FAILED);
}

static void on_event(void *data, const struct model_recording *recording, long status)
{
	struct demo *demo = data;
	struct demo_recording *entry = &demo->recordings[recording->index];
	if (status >= 200 && status <= 299)
		return;
	entry->reason = status == 0 ? "the callback got no answer" : "the callback was refused";
	settle(demo, entry, DEMO_FAILED);
}

static void on_poll(uv_timer_t *timer)
{
	struct demo *demo = timer->data;
	struct sandbox_stats stats;
	uint64_t now = clock_mono_ns();
	sandbox_stats(demo->sandbox, &stats);
	uint64_t activity = stats.media_bytes + stats.callbacks.acknowledged + demo->archived + demo->failed;
	if (activity != demo->activity) {
		demo->activity = activity;
		demo->active_ns = now;
	}
	if (demo->terminal) {
		printf("\r%" PRIu64 " of %" PRIu64 " archived, %" PRIu64 " failed, %.1f MB \033[K", demo->archived, demo->count,
		       demo->failed, (double)stats.media_bytes / 1e6);
		fflush(stdout);
	}
	if (demo->archived + demo->failed == demo->count)
		demo_stop(demo, NULL);
	else if (now - demo->active_ns > DEMO_PATIENCE_MS * UINT64_C(1000000))
		demo_stop(demo, "nothing moved for a minute");
}

static void start_handles(struct demo *demo)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	for (size_t i = 0; i < 2; i++) {
		REQUIRE(uv_signal_init(&demo->loop, &demo->signals[i]) == 0);
		demo->signals[i].data = demo;
		REQUIRE(uv_signal_start(&demo->signals[i], on_signal, numbers[i]) == 0);
	}
	REQUIRE(uv_timer_init(&demo->loop, &demo->poll) == 0);
	demo->poll.data = demo;
	REQUIRE(uv_timer_start(&demo->poll, on_poll, DEMO_POLL_MS, DEMO_POLL_MS) == 0);
}

/* The defaults, whatever the environment says about accounts, databases, buckets and ports; how recordings are handled stays as configured. */
static void set_config(struct demo *demo)
{
	static char loopback[] = "127.0.0.1:0";
	static char account[] = SANDBOX_ACCOUNT_SID;
	static char token[] = SANDBOX_AUTH_TOKEN;
	struct config *config = &demo->config;
	config->env_file = NULL;
	config->listen = loopback;
	config->admin_listen = NULL;
	config->tls_cert = NULL;
	config->tls_key = NULL;
	config->data_dir = demo->directory;
	config->public_url = NULL;
	config->trusted_proxies = NULL;
	config->twilio_account_sid = account;
	config->twilio_auth_token = token;
	config->twilio_accounts_file = NULL;
	config->twilio_api_key = NULL;
	config->twilio_api_secret = NULL;
	config->twilio_api_base = demo->api_base;
	config->validate_signature = true;
	config->embedded = true;
	config->delete_from_twilio = false;
	config->unknown_call = CONFIG_UNKNOWN_CALL_FETCH;
	config->migrate = true;
	config->reconcile_every_ms = 0;
	config->twilio_encryption_keys = NULL;
}

/* 0, or -1 with the sandbox, if there is one, closing. */
static int start_services(struct demo *demo)
{
	struct error error = {0};
	const struct sandbox_options options = {
		.seed = random_below(UINT64_MAX), .bytes_min = demo->bytes_min, .bytes_max = demo->bytes_max};
	if (sandbox_new(&demo->sandbox, &demo->loop, &options, &error) != 0) {
		fprintf(stderr, "reeld demo: %s\n", error.detail);
		return -1;
	}
	snprintf(demo->api_base, sizeof(demo->api_base), "http://127.0.0.1:%d", sandbox_port(demo->sandbox));
	set_config(demo);
	if (app_new(&demo->app, &demo->loop, &demo->config, NULL, &error) != 0) {
		fprintf(stderr, "reeld demo: %s\n", error.detail);
		sandbox_close(demo->sandbox, NULL, NULL);
		return -1;
	}
	app_on_outcome(demo->app, on_outcome, demo);
	snprintf(demo->target, sizeof(demo->target), "http://127.0.0.1:%d/api/twilio/%s", app_public_port(demo->app),
		 demo->calls ? "incoming" : "recording");
	start_handles(demo);
	demo->started_ns = clock_mono_ns();
	demo->active_ns = demo->started_ns;
	const struct callbacks_delivery delivery = {.from = CALLBACKS_FROM_NEW,
						    .count = demo->count,
						    .target = demo->target,
						    .retry = true,
						    .calls = demo->calls,
						    .event_cb = on_event,
						    .data = demo};
	int code = sandbox_start_callbacks(demo->sandbox, &delivery, &error);
	REQUIRE(code == 0 || code == ERR_NOMEM);
	if (code != 0)
		demo_stop(demo, "out of memory");
	return 0;
}

static int make_directory(struct demo *demo, const char *data_dir)
{
	const char *temporary = getenv("TMPDIR");
	char name[PATH_MAX];
	if (data_dir != NULL) {
		if (mkdir(data_dir, 0700) != 0 && errno != EEXIST) {
			fprintf(stderr, "reeld demo: cannot create %s: %s\n", data_dir, strerror(errno));
			return -1;
		}
		snprintf(name, sizeof(name), "%s", data_dir);
	} else {
		snprintf(name, sizeof(name), "%s/reeld-demo-XXXXXX",
			 temporary == NULL || temporary[0] == '\0' ? "/tmp" : temporary);
		if (mkdtemp(name) == NULL) {
			fprintf(stderr, "reeld demo: cannot create a directory like %s: %s\n", name, strerror(errno));
			return -1;
		}
	}
	if (realpath(name, demo->directory) == NULL) {
		fprintf(stderr, "reeld demo: %s: %s\n", name, strerror(errno));
		return -1;
	}
	return 0;
}

static int demo_run(struct demo *demo)
{
	if (uv_loop_init(&demo->loop) != 0) {
		fputs("reeld demo: cannot create the event loop (file descriptor limit?)\n", stderr);
		return CMD_FAILED;
	}
	log_attach(&demo->loop);
	int started = start_services(demo);
	uv_run(&demo->loop, UV_RUN_DEFAULT);
	log_detach();
	REQUIRE(uv_loop_close(&demo->loop) == 0);
	return started == 0 && demo->verified == demo->count ? CMD_OK : CMD_FAILED;
}

static int take_arguments(struct demo *demo, int argc, char **argv, const char **data_dir)
{
	const char *count = NULL;
	const char *size = NULL;
	char problem[256];
	const struct argument table[] = {{"--count", &count, NULL},
					 {"--data-dir", data_dir, NULL},
					 {"--size", &size, NULL},
					 {"--calls", NULL, &demo->calls}};
	if (arguments_parse(argc, argv, table, sizeof(table) / sizeof(table[0]), problem, sizeof(problem)) != 0)
		return cmd_usage_error("demo", USAGE, "%s", problem);
	if (!argument_number(count, DEMO_MAX_COUNT, &demo->count) || demo->count == 0)
		return cmd_usage_error("demo", USAGE, "--count '%s' is not a number from 1 to %d", count, DEMO_MAX_COUNT);
	if (!argument_size_range(size, &demo->bytes_min, &demo->bytes_max))
		return cmd_usage_error("demo", USAGE, "--size '%s' is not a size, like 1MB, 64KiB or 10KB-2MB", size);
	return CMD_OK;
}

int cmd_demo(const struct config *config, int argc, char **argv)
{
	const char *data_dir = NULL;
	struct demo *demo = calloc(1, sizeof(*demo));
	if (demo == NULL) {
		fputs("reeld demo: out of memory\n", stderr);
		return CMD_FAILED;
	}
	demo->count = 3;
	demo->bytes_min = demo->bytes_max = DEMO_BYTES;
	demo->config = *config;
	demo->terminal = isatty(STDOUT_FILENO) == 1;
	int status = take_arguments(demo, argc, argv, &data_dir);
	if (status == CMD_OK && make_directory(demo, data_dir) != 0)
		status = CMD_FAILED;
	if (status == CMD_OK) {
		demo->recordings = calloc(demo->count, sizeof(*demo->recordings));
		status = demo->recordings == NULL ? CMD_FAILED : demo_run(demo);
	}
	for (uint64_t i = 0; demo->recordings != NULL && i < demo->count; i++)
		free(demo->recordings[i].url);
	free(demo->recordings);
	free(demo);
	return status;
}
