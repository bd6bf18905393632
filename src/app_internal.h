/* SPDX-License-Identifier: MIT */
/* What app.c (start and stop), app_limits.c (open files), app_secrets.c (accounts, keys, reload), app_settled.c (ACK=archived) and app_health.c (how it goes) share; nobody else includes it. */
#ifndef REELD_APP_INTERNAL_H
#define REELD_APP_INTERNAL_H

#include "app.h"

#include "base/buffer.h"
#include "base/metrics.h"
#include "base/sid.h"

#include <stdint.h>

#define APP_LAG_INTERVAL_MS 100

struct app {
	uv_loop_t *loop;
	const struct config *config;
	const struct app_worker *worker; /* NULL: the only process */
	struct config reloaded;          /* of the last SIGHUP: secrets are looked up in it */
	struct app_limits limits;
	struct metrics *metrics;
	struct twilio_accounts *accounts;
	struct private_keys *keys; /* NULL: encrypted recordings are not decrypted */
	struct journal *journal;
	struct ledger *ledger;
	struct idempotency *filter;
	struct http_client *http;
	struct twilio_client *twilio;
	struct storage *storage;
	struct pipeline *pipeline;
	struct forwarder *forwarder;
	struct strays *strays;                /* NULL: none were left */
	struct reconcile_schedule *reconcile; /* NULL: off */
	struct tls_context *tls;
	struct webhook *webhook;
	struct admin *admin;

	uv_timer_t lag_timer;
	uint64_t lag_expected_ns;
	struct histogram *lag;
	uv_timer_t drain_timer;
	uint64_t drain_until_ms;
	bool pipeline_drained;

	app_outcome_cb *on_outcome;
	void *on_outcome_data;

	bool started;
	bool stopping;
	size_t stage;
	unsigned open_timers;
	void (*stopped)(void *data);
	void *stopped_data;
};

/* TWILIO_ENCRYPTION_KEYS: *ret stays NULL when it is unset. 0, or an error with a message. Blocking. */
int app_load_keys(const struct config *config, struct private_keys **ret, struct error *error);

/* A webhook waits for this recording's outcome (ACK=archived): if there was one before, tells it; `data` is the app. */
void app_look_if_settled(void *data, const struct sid *recording_sid);

/* Appends the body of /readyz; true when events can be accepted. A dead dependency does not make us unready: events are safe on disk. */
bool app_health(void *data, struct buffer *body);
/* Sets the gauges that are only worth computing when somebody looks. */
void app_collect(void *data);
/* Every APP_LAG_INTERVAL_MS: how late the loop is. */
void app_measure_lag(uv_timer_t *timer);

#endif
