/* SPDX-License-Identifier: MIT */
/*
 * One fetch at a time. Requests wait on `waiting` for it, or, when their answer is known, on `ready` for the loop to turn. The
 * refresh timer looks at the wall clock at least once a minute, because that is what credentials expire by, and it may be set.
 */
#include "store/aws_credentials.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/aws_fetch.h"
#include "store/aws_source.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define REFRESH_LEAD_MS INT64_C(300000)
#define REFRESH_JITTER_MS INT64_C(60000)
#define REFRESH_MIN_MS INT64_C(1000)
#define REFRESH_LOOK_MS INT64_C(60000)
/* A request that is signed now has to be there before they expire. */
#define EXPIRY_MARGIN_MS INT64_C(5000)
/* Metadata services that cannot renew credentials go on giving out the old, which the other services then take for longer. */
#define EXTENSION_MS INT64_C(600000)
#define RETRY_MS 1000
#define RETRY_MAX_MS 60000
#define MAX_WAITING 1024
#define HOLD_MS 10000

struct aws_credentials {
	struct aws_credentials_options options;
	enum aws_source_kind kind;

	bool present; /* keys are some that were not refused */
	struct aws_keys keys;
	struct aws_credentials_value value; /* points into keys */
	uint64_t since_ms;                  /* loop time when they came */
	int64_t refresh_ms;                 /* wall clock */

	bool fetching;
	struct aws_fetch fetch;
	unsigned failures; /* in a row */
	uint64_t retry_at; /* loop time before which no fetch begins */
	struct error failure;

	struct list waiting;
	struct list ready;
	unsigned requests; /* in both */

	uv_timer_t refresh;
	uv_timer_t deliver;
	unsigned open_handles;
	bool closing;
	void (*closed)(void *data);
	void *closed_data;
};

static int64_t wall_ms(const struct aws_credentials *credentials)
{
	return credentials->options.wall_ms != NULL ? credentials->options.wall_ms() : clock_wall_ms();
}

static bool is_valid(const struct aws_credentials *credentials)
{
	int64_t expires_ms = credentials->keys.expires_ms;

	return credentials->present && (expires_ms < 0 || wall_ms(credentials) < expires_ms - EXPIRY_MARGIN_MS);
}

/* ---- Requests ---- */

static void deliver_ready(uv_timer_t *timer);

/* The answer is known; `done` follows. */
static void request_ready(struct aws_credentials *credentials, struct aws_credentials_request *request, int status)
{
	request->status = status;
	list_remove(&request->link);
	list_append(&credentials->ready, &request->link);
	REQUIRE(uv_timer_start(&credentials->deliver, deliver_ready, 0, 0) == 0);
}

static void all_ready(struct aws_credentials *credentials, int status)
{
	struct list *link;

	while ((link = list_first(&credentials->waiting)) != NULL)
		request_ready(credentials, LIST_ENTRY(link, struct aws_credentials_request, link), status);
}

static void request_done(struct aws_credentials *credentials, struct aws_credentials_request *request)
{
	int status = request->status;

	credentials->requests--;
	request->credentials = NULL;
	if (status == 0 && !is_valid(credentials))
		/* an earlier callback had them invalidated */
		status = error_set(&request->error, ERR_CREDENTIALS, "the credentials were refused just now");
	else if (status == ERR_CREDENTIALS)
		error_set(&request->error, status, "%s", credentials->failure.detail);
	request->done(request, status, status == 0 ? &credentials->value : NULL); /* may free the request */
}

static void handle_closed(uv_handle_t *handle);

static void deliver_ready(uv_timer_t *timer)
{
	struct aws_credentials *credentials = timer->data;
	struct list now;
	struct list *link;

	list_move(&now, &credentials->ready);
	while ((link = list_take(&now)) != NULL)
		request_done(credentials, LIST_ENTRY(link, struct aws_credentials_request, link));
	/* What came meanwhile has its own turn. */
	if (!credentials->closing || !list_empty(&credentials->ready))
		return;
	uv_close((uv_handle_t *)&credentials->refresh, handle_closed);
	uv_close((uv_handle_t *)&credentials->deliver, handle_closed);
}

/* ---- Fetching ---- */

static void look(uv_timer_t *timer);

static void refresh_after(struct aws_credentials *credentials, int64_t delay_ms)
{
	delay_ms = delay_ms < 1 ? 1 : delay_ms > REFRESH_LOOK_MS ? REFRESH_LOOK_MS : delay_ms;
	REQUIRE(uv_timer_start(&credentials->refresh, look, (uint64_t)delay_ms, 0) == 0);
}

static bool in_backoff(const struct aws_credentials *credentials)
{
	return uv_now(credentials->options.loop) < credentials->retry_at;
}

static void note_failure(struct aws_credentials *credentials)
{
	const struct error *failure = &credentials->failure;
	uint64_t backoff_ms = random_upper_half(
		backoff_bound(credentials->options.retry_ms, RETRY_MAX_MS, credentials->failures));

	credentials->failures++;
	credentials->retry_at = uv_now(credentials->options.loop) + backoff_ms;
	log_event(LOG_WARN, "aws.credentials_failed", LOG_STR("source", aws_source_name(credentials->kind)),
		  LOG_STR("reason", err_name(failure->code)), LOG_STR("error", failure->detail),
		  LOG_BOOL("old_ones_valid", is_valid(credentials)));
	all_ready(credentials, ERR_CREDENTIALS);
	if (is_valid(credentials) && credentials->keys.expires_ms >= 0)
		refresh_after(credentials, (int64_t)backoff_ms);
}

/* Takes over *keys; when to fetch the next ones. */
static void adopt(struct aws_credentials *credentials, struct aws_keys *keys)
{
	int64_t now = wall_ms(credentials);
	int64_t life = keys->expires_ms - EXPIRY_MARGIN_MS - now;

	credentials->keys = *keys;
	aws_keys_wipe(keys);
	credentials->present = true;
	credentials->since_ms = uv_now(credentials->options.loop);
	credentials->failures = 0;
	credentials->retry_at = 0;
	credentials->value = (struct aws_credentials_value){
		.access_key_id = credentials->keys.access_key_id,
		.secret_access_key = credentials->keys.secret_access_key,
		.session_token = credentials->keys.session_token,
		.expires_ms = credentials->keys.expires_ms,
		.generation = credentials->value.generation + 1,
	};
	if (credentials->keys.expires_ms < 0) {
		uv_timer_stop(&credentials->refresh);
		return;
	}
	int64_t lead = life / 2 < REFRESH_LEAD_MS ? life / 2 : REFRESH_LEAD_MS;
	int64_t spread = life / 10 < REFRESH_JITTER_MS ? life / 10 : REFRESH_JITTER_MS;
	int64_t delay = life - lead - (int64_t)random_below((uint64_t)spread + 1);
	credentials->refresh_ms = now + (delay < REFRESH_MIN_MS ? REFRESH_MIN_MS : delay);
	refresh_after(credentials, delay);
}

static void credentials_maybe_closed(struct aws_credentials *credentials)
{
	if (!credentials->closing || credentials->open_handles > 0 || credentials->fetching)
		return;
	void (*closed)(void *) = credentials->closed;
	void *data = credentials->closed_data;
	OPENSSL_cleanse(credentials, sizeof(*credentials));
	free(credentials);
	closed(data);
}

static void handle_closed(uv_handle_t *handle)
{
	struct aws_credentials *credentials = handle->data;

	credentials->open_handles--;
	credentials_maybe_closed(credentials);
}

static void fetch_done(struct aws_fetch *fetch, int status)
{
	struct aws_credentials *credentials = fetch->data;
	struct aws_keys *keys = &fetch->keys;

	credentials->fetching = false;
	if (credentials->closing) {
		aws_keys_wipe(keys);
		credentials_maybe_closed(credentials);
		return;
	}
	credentials->kind = fetch->kind;
	int64_t now = wall_ms(credentials);
	bool expired = status == 0 && keys->expires_ms >= 0 && keys->expires_ms <= now + EXPIRY_MARGIN_MS;
	if (expired && fetch->kind == AWS_SOURCE_INSTANCE) {
		log_event(LOG_WARN, "aws.credentials_extended", LOG_STR("source", aws_source_name(fetch->kind)));
		keys->expires_ms = now + EXTENSION_MS;
	} else if (expired) {
		status = error_set(&fetch->error, ERR_PROTOCOL,
				   "%s: the credentials it gives have expired already: is the clock right?",
				   aws_source_name(fetch->kind));
	}
	if (status != 0) {
		aws_keys_wipe(keys);
		credentials->failure = fetch->error;
		note_failure(credentials);
		return;
	}
	adopt(credentials, keys);
	log_event(LOG_INFO, "aws.credentials", LOG_STR("source", aws_source_name(credentials->kind)),
		  LOG_I64("valid_s", credentials->value.expires_ms < 0 ? -1 : (credentials->value.expires_ms - now) / 1000));
	all_ready(credentials, 0);
}

static void fetch_begin(struct aws_credentials *credentials)
{
	struct aws_credentials_options *options = &credentials->options;

	credentials->fetch = (struct aws_fetch){
		.loop = options->loop,
		.http = options->http,
		.instance_role = options->instance_role,
		.timeout_ms = options->timeout_ms,
		.done = fetch_done,
		.data = credentials,
	};
	int status = aws_fetch_start(&credentials->fetch, options->variable, options->variable_data);
	if (status == 0) {
		credentials->fetching = true;
		return;
	}
	error_set(&credentials->failure, status, "out of memory");
	note_failure(credentials);
}

static bool is_due(const struct aws_credentials *credentials)
{
	return credentials->present && credentials->keys.expires_ms >= 0 && wall_ms(credentials) >= credentials->refresh_ms;
}

/* Renews what will expire; what has expired waits until somebody asks. */
static void refresh_if_due(struct aws_credentials *credentials)
{
	if (!credentials->closing && !credentials->fetching && !in_backoff(credentials) && is_due(credentials))
		fetch_begin(credentials);
}

static void look(uv_timer_t *timer)
{
	struct aws_credentials *credentials = timer->data;

	if (credentials->closing || !credentials->present)
		return;
	if (!is_valid(credentials)) {
		credentials->present = false;
		aws_keys_wipe(&credentials->keys);
		return;
	}
	refresh_if_due(credentials);
	if (credentials->fetching)
		return; /* its end sets the timer again */
	refresh_after(credentials, is_due(credentials) ? (int64_t)(credentials->retry_at - uv_now(credentials->options.loop))
						       : credentials->refresh_ms - wall_ms(credentials));
}

/* ---- Public ---- */

/* Finds the source for a look at it; to be wiped and freed. NULL: out of memory. */
static struct aws_source *find_source(const struct aws_credentials_options *options, int *status, struct error *error)
{
	struct aws_variables variables;
	struct aws_source *source = calloc(1, sizeof(*source));

	*status = source == NULL ? ERR_NOMEM : aws_variables_read(&variables, options->variable, options->variable_data);
	if (*status != 0) {
		error_set(error, *status, "out of memory");
		free(source);
		return NULL;
	}
	*status = aws_source_find(&variables, options->instance_role, source, error);
	aws_variables_free(&variables);
	return source;
}

static void source_free(struct aws_source *source)
{
	if (source != NULL)
		aws_source_wipe(source);
	free(source);
}

int aws_credentials_new(struct aws_credentials **ret, const struct aws_credentials_options *options, struct error *error)
{
	int status;
	struct aws_source *source = find_source(options, &status, error);
	struct aws_credentials *credentials = status == 0 ? calloc(1, sizeof(*credentials)) : NULL;

	if (credentials == NULL) {
		source_free(source);
		return status != 0 ? status : error_set(error, ERR_NOMEM, "out of memory");
	}
	credentials->options = *options;
	credentials->options.retry_ms = options->retry_ms != 0 ? options->retry_ms : RETRY_MS;
	credentials->options.max_waiting = options->max_waiting != 0 ? options->max_waiting : MAX_WAITING;
	credentials->options.hold_ms = options->hold_ms != 0 ? options->hold_ms : HOLD_MS;
	credentials->kind = source->kind;
	list_init(&credentials->waiting);
	list_init(&credentials->ready);
	REQUIRE(uv_timer_init(options->loop, &credentials->refresh) == 0);
	REQUIRE(uv_timer_init(options->loop, &credentials->deliver) == 0);
	credentials->open_handles = 2;
	credentials->refresh.data = credentials;
	credentials->deliver.data = credentials;
	/* To be refreshed some day is no reason to keep the loop running. */
	uv_unref((uv_handle_t *)&credentials->refresh);
	if (source->kind == AWS_SOURCE_ENVIRONMENT || source->kind == AWS_SOURCE_PROFILE)
		adopt(credentials, &source->keys);
	source_free(source);
	*ret = credentials;
	return 0;
}

int aws_credentials_get(struct aws_credentials *credentials, struct aws_credentials_request *request)
{
	if (credentials->closing)
		return ERR_CANCELLED;
	if (credentials->requests >= credentials->options.max_waiting)
		return ERR_UNAVAILABLE;
	credentials->requests++;
	request->credentials = credentials;
	request->error = (struct error){0};
	list_init(&request->link);
	if (is_valid(credentials)) {
		refresh_if_due(credentials);
		request_ready(credentials, request, 0);
	} else if (!credentials->fetching && in_backoff(credentials)) {
		request_ready(credentials, request, ERR_CREDENTIALS);
	} else {
		list_append(&credentials->waiting, &request->link);
		if (!credentials->fetching)
			fetch_begin(credentials);
	}
	return 0;
}

void aws_credentials_cancel(struct aws_credentials_request *request)
{
	request_ready(request->credentials, request, ERR_CANCELLED);
}

const struct aws_credentials_value *aws_credentials_now(struct aws_credentials *credentials)
{
	refresh_if_due(credentials);
	return is_valid(credentials) ? &credentials->value : NULL;
}

void aws_credentials_invalidate(struct aws_credentials *credentials, uint64_t generation)
{
	uint64_t now = uv_now(credentials->options.loop);

	if (!credentials->present || generation != credentials->value.generation)
		return;
	if (now - credentials->since_ms < credentials->options.hold_ms)
		return;
	log_event(LOG_WARN, "aws.credentials_refused", LOG_STR("source", aws_source_name(credentials->kind)));
	/* The texts stay until the next ones come: a caller may be in the middle of using them. */
	credentials->present = false;
}

void aws_credentials_reload(struct aws_credentials *credentials)
{
	if (!credentials->closing && !credentials->fetching)
		fetch_begin(credentials);
}

const char *aws_credentials_source(const struct aws_credentials *credentials)
{
	return aws_source_name(credentials->kind);
}

void aws_credentials_close(struct aws_credentials *credentials, void (*closed)(void *data), void *data)
{
	if (credentials->closing)
		return;
	credentials->closing = true;
	credentials->closed = closed;
	credentials->closed_data = data;
	uv_timer_stop(&credentials->refresh);
	all_ready(credentials, ERR_CANCELLED);
	if (credentials->fetching)
		aws_fetch_cancel(&credentials->fetch);
	REQUIRE(uv_timer_start(&credentials->deliver, deliver_ready, 0, 0) == 0);
}

bool aws_credentials_can(const struct aws_credentials_options *options, const char **source)
{
	int status;
	struct aws_source *found = find_source(options, &status, NULL);
	bool can = found != NULL && found->kind != AWS_SOURCE_NONE;

	if (source != NULL)
		*source = can ? aws_source_name(found->kind) : NULL;
	source_free(found);
	return can;
}

bool aws_credentials_find_region(const struct aws_credentials_options *options, char *out, size_t size)
{
	struct aws_variables variables;

	if (aws_variables_read(&variables, options->variable, options->variable_data) != 0)
		return false;
	bool found = aws_source_find_region(&variables, out, size, NULL) == 0 && out[0] != '\0';
	aws_variables_free(&variables);
	return found;
}
