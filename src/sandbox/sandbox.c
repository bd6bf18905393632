/* SPDX-License-Identifier: MIT */
/*
 * Life of the sandbox. It is closed when the server is, the callbacks and then their client are, and the last download has let go of its timer.
 */
#include "sandbox/sandbox.h"

#include "adapters/crypto.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "sandbox/internal.h"

#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_BYTES 65536
#define DEFAULT_STALL_MS 60000
#define DAY_MS INT64_C(86400000)
#define HASH_CHUNK 262144

static void handle_request(struct connection *connection, struct request *request, void *data)
{
	struct sandbox *sandbox = data;
	if (slice_starts_with(request->path, SLICE("/sandbox/")))
		control_handle(sandbox, connection, request);
	else
		routes_handle(sandbox, connection, request);
}

static int add_credential(struct sandbox *sandbox, const char *user, struct slice password, struct error *error)
{
	char plain[256];
	int len = snprintf(plain, sizeof(plain), "%s:%.*s", user, SLICE_FMT(password));
	if (len < 0 || (size_t)len >= sizeof(plain) || password.len == 0 || sandbox->credential_count == SANDBOX_MAX_CREDENTIALS)
		return error_set(error, ERR_INVALID,
				 "an auth token or API key of the sandbox is empty, too long, or one too many");
	char *text = malloc(BASE64_LEN((size_t)len) + 1);
	if (text == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	base64_encode(plain, (size_t)len, text);
	sandbox->credentials[sandbox->credential_count++] = text;
	return 0;
}

/* Every token of the list opens REST, the first one signs. */
static int take_tokens(struct sandbox *sandbox, const char *list, struct error *error)
{
	size_t first = strcspn(list, ",");
	if (first >= sizeof(sandbox->signing_token))
		return error_set(error, ERR_INVALID, "the auth token is too long");
	memcpy(sandbox->signing_token, list, first);
	for (;;) {
		size_t len = strcspn(list, ",");
		int code = add_credential(sandbox, sandbox->account_sid, slice_make(list, len), error);
		if (code != 0 || list[len] == '\0')
			return code;
		list += len + 1;
	}
}

static int take_options(struct sandbox *sandbox, const struct sandbox_options *options, struct error *error)
{
	struct sandbox_options *own = &sandbox->options;
	struct sid account;
	int code;
	*own = *options;
	if (!sid_parse(slice_from_cstr(own->account_sid == NULL ? SANDBOX_ACCOUNT_SID : own->account_sid), "AC", &account))
		return error_set(error, ERR_INVALID, "the account SID must be AC and 32 hex digits");
	memcpy(sandbox->account_sid, account.text, sizeof(account.text));
	if (own->target != NULL &&
	    (size_t)snprintf(sandbox->target, sizeof(sandbox->target), "%s", own->target) >= sizeof(sandbox->target))
		return error_set(error, ERR_INVALID, "the target URL is too long");
	own->bytes_min = own->bytes_min == 0 ? DEFAULT_BYTES : own->bytes_min;
	own->bytes_max = own->bytes_max == 0 ? own->bytes_min : own->bytes_max;
	if (own->bytes_min < AUDIO_MIN_BYTES || own->bytes_max > AUDIO_MAX_BYTES || own->bytes_min > own->bytes_max)
		return error_set(error, ERR_INVALID,
				 "the size of a recording must lie between %d bytes and 4 GiB, like 1MB or 64KiB-2MiB",
				 AUDIO_MIN_BYTES);
	own->stall_ms = own->stall_ms == 0 ? DEFAULT_STALL_MS : own->stall_ms;
	if (own->base_ms == 0)
		own->base_ms = clock_wall_ms() / DAY_MS * DAY_MS - DAY_MS;
	sandbox->faults = own->faults;
	code = take_tokens(sandbox, own->auth_token == NULL ? SANDBOX_AUTH_TOKEN : own->auth_token, error);
	if (code == 0 && own->api_key != NULL)
		code = add_credential(sandbox, own->api_key, slice_from_cstr(own->api_secret), error);
	return code;
}

const char *sandbox_public_key_sid(const struct sandbox *sandbox)
{
	return sandbox->sealing == NULL ? "" : sealing_public_key_sid(sandbox->sealing);
}

static int load_sealing(struct sandbox *sandbox, struct error *error)
{
	const struct sandbox_options *options = &sandbox->options;
	if (options->encrypt == NULL)
		return 0;
	double rate = options->encrypted_rate == 0 ? 1 : options->encrypted_rate;
	return sealing_load(&sandbox->sealing, options->encrypt, rate, options->seed, error);
}

static int build_model(struct sandbox *sandbox, struct error *error)
{
	struct model_options options = {
		.seed = sandbox->options.seed,
		.bytes_min = sandbox->options.bytes_min,
		.bytes_max = sandbox->options.bytes_max,
		.channels = sandbox->options.channels,
		.base_ms = sandbox->options.base_ms,
		.days = sandbox->options.days,
		.account_sid = sandbox->account_sid,
		.sealing = sandbox->sealing,
	};
	sandbox->model = model_new(&options);
	if (sandbox->model == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	if (model_grow(sandbox->model, sandbox->options.existing) != 0)
		return error_set(error, ERR_LIMIT, "the sandbox has at most %llu recordings",
				 (unsigned long long)MODEL_MAX_RECORDINGS);
	return 0;
}

/* What needs no loop; freed by sandbox_free in whatever state it is. */
static int sandbox_prepare(struct sandbox *sandbox, const struct sandbox_options *options, struct error *error)
{
	int code = take_options(sandbox, options, error);
	if (code == 0)
		code = load_sealing(sandbox, error);
	return code != 0 ? code : build_model(sandbox, error);
}

static void sandbox_free(struct sandbox *sandbox)
{
	for (size_t i = 0; i < sandbox->credential_count; i++)
		free(sandbox->credentials[i]);
	model_free(&sandbox->model);
	sealing_free(&sandbox->sealing);
	free(sandbox);
}

static void maybe_closed(struct sandbox *sandbox)
{
	if (!sandbox->closing || sandbox->open_parts > 0 || sandbox->open_streams > 0)
		return;
	void (*closed)(void *data) = sandbox->closed;
	void *data = sandbox->closed_data;
	sandbox_free(sandbox);
	if (closed != NULL)
		closed(data);
}

static void part_closed(void *data)
{
	struct sandbox *sandbox = data;
	sandbox->open_parts--;
	maybe_closed(sandbox);
}

static void callbacks_closed(void *data)
{
	struct sandbox *sandbox = data;
	http_client_close(sandbox->http, part_closed, sandbox);
}

void sandbox_stream_closed(struct sandbox *sandbox)
{
	sandbox->open_streams--;
	maybe_closed(sandbox);
}

void sandbox_close(struct sandbox *sandbox, void (*closed)(void *data), void *data)
{
	REQUIRE(!sandbox->closing);
	sandbox->closing = true;
	sandbox->closed = closed;
	sandbox->closed_data = data;
	server_close(sandbox->server, part_closed, sandbox);
	callbacks_close(sandbox->callbacks, callbacks_closed, sandbox);
}

/* Everything that lives on the loop. On an error what was built is on its way out, and only the caller's loop has to turn. */
static int sandbox_open(struct sandbox *sandbox, struct error *error)
{
	const struct server_options server = {
		.on_request = handle_request,
		.data = sandbox,
		.max_connections = 4096,
		.max_body = 65536,
		.header_timeout_ms = 30000,
		.idle_timeout_ms = 120000,
		.name = "sandbox",
	};
	const struct http_client_options http = {
		.max_connections = CALLBACKS_MAX_CONCURRENCY, .user_agent = "TwilioProxy/1.1", .buffer_bytes = 16384};
	struct callbacks_options callbacks = {
		.loop = sandbox->loop,
		.model = sandbox->model,
		.faults = &sandbox->faults,
		.seed = sandbox->options.seed,
		.account_sid = sandbox->account_sid,
		.auth_token = sandbox->signing_token,
	};
	sandbox->server = server_new(sandbox->loop, &server);
	if (sandbox->server == NULL)
		goto out_of_memory;
	sandbox->http = http_client_new(sandbox->loop, &http);
	if (sandbox->http == NULL)
		goto err_after_server;
	callbacks.http = sandbox->http;
	sandbox->callbacks = callbacks_new(&callbacks);
	if (sandbox->callbacks == NULL)
		goto err_after_http;
	sandbox->open_parts = 2;
	return server_listen(sandbox->server, sandbox->options.listen == NULL ? "127.0.0.1:0" : sandbox->options.listen, error);

err_after_http:
	sandbox->open_parts++;
	http_client_close(sandbox->http, part_closed, sandbox);
err_after_server:
	sandbox->open_parts++;
	server_close(sandbox->server, part_closed, sandbox);
out_of_memory:
	sandbox->closing = true;
	return error_set(error, ERR_NOMEM, "out of memory");
}

int sandbox_new(struct sandbox **ret, uv_loop_t *loop, const struct sandbox_options *options, struct error *error)
{
	struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
	int code;
	*ret = NULL;
	if (sandbox == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	sandbox->loop = loop;
	code = sandbox_prepare(sandbox, options, error);
	if (code != 0) {
		sandbox_free(sandbox);
		return code;
	}
	code = sandbox_open(sandbox, error);
	if (code == 0) {
		*ret = sandbox;
		return 0;
	}
	if (!sandbox->closing)
		sandbox_close(sandbox, NULL, NULL);
	else
		maybe_closed(sandbox);
	return code;
}

void sandbox_recording(const struct sandbox *sandbox, uint64_t index, struct model_recording *recording)
{
	model_recording(sandbox->model, index, recording);
	if (fault_trunk(&sandbox->faults, sandbox->options.seed, index))
		recording->source = "Trunking";
}

int sandbox_port(const struct sandbox *sandbox)
{
	return server_port(sandbox->server);
}

int sandbox_start_callbacks(struct sandbox *sandbox, const struct callbacks_delivery *delivery, struct error *error)
{
	struct callbacks_delivery own = *delivery;
	bool grow = own.from == CALLBACKS_FROM_NEW;
	if (own.target == NULL && sandbox->target[0] != '\0')
		own.target = sandbox->target;
	if (callbacks_running(sandbox->callbacks))
		return error_set(error, ERR_LOCKED, "another delivery is running");
	if (grow) {
		own.from = model_count(sandbox->model);
		if (model_grow(sandbox->model, own.count) != 0)
			return error_set(error, ERR_LIMIT, "the sandbox has at most %llu recordings",
					 (unsigned long long)MODEL_MAX_RECORDINGS);
	}
	return callbacks_start(sandbox->callbacks, &own, error);
}

void sandbox_stop_callbacks(struct sandbox *sandbox)
{
	callbacks_stop(sandbox->callbacks);
}

void sandbox_set_faults(struct sandbox *sandbox, const struct fault_plan *faults)
{
	sandbox->faults = *faults;
}

const struct fault_plan *sandbox_faults(const struct sandbox *sandbox)
{
	return &sandbox->faults;
}

struct model *sandbox_model(struct sandbox *sandbox)
{
	return sandbox->model;
}

void sandbox_stats(const struct sandbox *sandbox, struct sandbox_stats *stats)
{
	*stats = sandbox->stats;
	stats->callbacks = callbacks_get_stats(sandbox->callbacks);
	stats->faults[FAULT_DUP] = stats->callbacks.duplicates;
	stats->faults[FAULT_REORDER] = stats->callbacks.reordered;
}

enum fault sandbox_strike(struct sandbox *sandbox, uint64_t index, enum fault_request kind, unsigned *attempt)
{
	struct model_state *state = model_touch(sandbox->model, index);
	*attempt = 0;
	if (state == NULL)
		return FAULT_500;
	*attempt = state->requests[kind];
	if (state->requests[kind] < UINT16_MAX)
		state->requests[kind]++;
	enum fault fault = fault_decide(&sandbox->faults, sandbox->options.seed, index, kind, *attempt);
	if (fault != FAULT_NONE)
		sandbox->stats.faults[fault]++;
	return fault;
}

int sandbox_audio_sha256(const struct audio *media, uint8_t out[32])
{
	struct crypto_digest *digest = NULL;
	struct crypto_digest_result result;
	char *chunk = malloc(HASH_CHUNK);
	int code = chunk == NULL ? ERR_NOMEM : crypto_digest_new(&digest, NULL);
	for (uint64_t offset = 0; code == 0 && offset < media->bytes;) {
		size_t len = media->bytes - offset < HASH_CHUNK ? (size_t)(media->bytes - offset) : HASH_CHUNK;
		audio_read(media, offset, chunk, len);
		code = crypto_digest_update(digest, chunk, len);
		offset += len;
	}
	if (code == 0)
		code = crypto_digest_final(digest, &result);
	if (code == 0)
		memcpy(out, result.sha256, sizeof(result.sha256));
	crypto_digest_free(&digest);
	free(chunk);
	return code;
}
