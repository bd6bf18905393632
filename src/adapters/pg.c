/* SPDX-License-Identifier: MIT */
/*
 *   submit ──▶ lane's queue ──turn──▶ group of a free connection ──▶ receive, settle ──▶ finished ──turn──▶ done
 *
 * Everything that is answered goes through `finished`, and `done` is called from the turn only (or with `closed`), so it is never inside a call of the client.
 */
#include "adapters/pg_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 16
#define BACKOFF_MAX_MS 10000
#define CONNECT_MS 5000
#define STATEMENT_MS 15000
#define GREET_MS 600000
#define PATIENCE_MS 10000
#define CLOSE_MS 10000
#define BACKOFF_MS 250
#define MAX_QUEUE 8192

/* ---- closing ---- */

static void free_pool(struct pg *pg)
{
	for (unsigned i = 0; pg->connections != NULL && i < pg->connection_count; i++) {
		pg_group_free(&pg->connections[i]);
		free(pg->connections[i].prepared);
	}
	free(pg->connections);
	pg_url_free(pg);
	free(pg);
}

static void give_back(struct pg *pg)
{
	struct list done;
	list_move(&done, &pg->finished);
	for (struct list *item = list_take(&done); item != NULL; item = list_take(&done))
		pg->ops->done(pg->context, item);
}

static void maybe_closed(struct pg *pg)
{
	if (!pg->shut || pg->open_handles > 0)
		return;
	/* Submitted while the handles were closing, when there are no turns any more. */
	while (!list_empty(&pg->finished))
		give_back(pg);
	void (*closed)(void *data) = pg->closed;
	void *data = pg->closed_data;
	free_pool(pg);
	closed(data);
}

void pg_handle_closed(struct pg *pg)
{
	pg->open_handles--;
	maybe_closed(pg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	pg_handle_closed(handle->data);
}

static void close_handle(struct pg *pg, void *handle)
{
	((uv_handle_t *)handle)->data = pg;
	uv_close(handle, on_handle_closed);
}

/* Everything is answered: the connections go, then the handles. */
static void shut(struct pg *pg)
{
	pg->shut = true;
	for (unsigned i = 0; i < pg->connection_count; i++) {
		struct pg_connection *connection = &pg->connections[i];
		pg_disconnect(connection);
		connection->state = PG_ENDED;
		close_handle(pg, &connection->timer);
	}
	close_handle(pg, &pg->turn);
	close_handle(pg, &pg->patience);
	close_handle(pg, &pg->close_timer);
}

static void maybe_shut(struct pg *pg)
{
	if (!pg->closing || pg->shut || pg->queued > 0 || !list_empty(&pg->finished))
		return;
	for (unsigned i = 0; i < pg->connection_count; i++) {
		if (pg->connections[i].state == PG_BUSY || !list_empty(&pg->connections[i].alone))
			return;
	}
	shut(pg);
}

/* ---- items ---- */

void pg_settle(struct pg *pg, struct list *item, int status, const struct error *error)
{
	pg->ops->settle(pg->context, item, status, error);
	list_append(&pg->finished, item);
	pg_turn_soon(pg);
}

static void settle_queues(struct pg *pg, int status, const struct error *error)
{
	for (unsigned i = 0; i < PG_LANES; i++) {
		for (struct list *item = list_take(&pg->queues[i]); item != NULL; item = list_take(&pg->queues[i]))
			pg_settle(pg, item, status, error);
	}
	pg->queued = 0;
}

static bool works(const struct pg_connection *connection)
{
	return connection->state == PG_READY || connection->state == PG_BUSY;
}

static bool lane_has_own(const struct pg *pg, unsigned lane)
{
	for (unsigned i = 0; i < pg->connection_count; i++) {
		if ((pg->connections[i].lanes & 1U << lane) != 0 && works(&pg->connections[i]))
			return true;
	}
	return false;
}

static struct list *take(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	for (unsigned lane = 0; lane < PG_LANES; lane++) {
		if (list_empty(&pg->queues[lane]))
			continue;
		if ((connection->lanes & 1U << lane) == 0 && lane_has_own(pg, lane))
			continue;
		pg->queued--;
		return list_take(&pg->queues[lane]);
	}
	return NULL;
}

static void on_turn(uv_idle_t *handle)
{
	struct pg *pg = handle->data;
	uv_idle_stop(handle);
	give_back(pg);
	for (unsigned i = 0; i < pg->connection_count; i++) {
		if (pg->connections[i].state == PG_READY)
			pg_group_start(&pg->connections[i], take);
	}
	maybe_shut(pg);
}

void pg_turn_soon(struct pg *pg)
{
	if (!pg->shut)
		uv_idle_start(&pg->turn, on_turn);
}

void pg_submit(struct pg *pg, unsigned lane, struct list *item)
{
	struct error error;
	REQUIRE(lane < PG_LANES);
	list_init(item);
	if (pg->closing) {
		pg_settle(pg, item, ERR_CANCELLED, NULL);
	} else if (pg->down) {
		pg_settle(pg, item, ERR_LEDGER, &pg->refusal);
	} else if (pg->queued >= pg->max_queue) {
		error_set(&error, ERR_LEDGER, "Postgres: %zu requests are waiting already", pg->queued);
		pg_settle(pg, item, ERR_LEDGER, &error);
	} else {
		list_append(&pg->queues[lane], item);
		pg->queued++;
		pg_turn_soon(pg);
	}
}

/* ---- connections ---- */

static uint64_t backoff(const struct pg *pg, unsigned failures)
{
	uint64_t most = pg->backoff_ms;
	for (unsigned i = 1; i < failures && most < BACKOFF_MAX_MS; i++)
		most *= 2;
	return 1 + random_below(most < BACKOFF_MAX_MS ? most : BACKOFF_MAX_MS);
}

static void refuse(struct pg *pg, const struct error *error)
{
	if (!pg->down || strcmp(pg->error.detail, error->detail) != 0)
		log_event(LOG_WARN, "postgres.down", LOG_STR("error", error->detail));
	pg->error = *error;
	pg->refusal = *error;
	pg->refusal.code = ERR_LEDGER;
	pg->down = true;
	settle_queues(pg, ERR_LEDGER, &pg->refusal);
}

static void on_patience(uv_timer_t *timer)
{
	struct pg *pg = timer->data;
	struct error error;
	if (pg->down)
		return;
	error_set(&error, ERR_LEDGER, "Postgres: no connection within %u ms", pg->patience_ms);
	refuse(pg, &error);
}

void pg_on_ready(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	if (pg->ready++ == 0)
		log_event(LOG_INFO, "postgres.up");
	pg->down = false;
	uv_timer_stop(&pg->patience);
	pg_turn_soon(pg);
	if (pg->greeted)
		return;
	pg->greeted = true;
	for (unsigned i = 0; i < pg->connection_count; i++) {
		if (&pg->connections[i] != connection)
			pg_connect_after(&pg->connections[i], 0);
	}
}

void pg_on_failed(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	connection->failures++;
	if (pg->ready == 0)
		refuse(pg, &connection->error);
	pg_connect_after(connection, backoff(pg, connection->failures));
}

void pg_on_lost(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	log_event(LOG_WARN, "postgres.connection_lost", LOG_STR("error", connection->error.detail));
	if (--pg->ready == 0)
		uv_timer_start(&pg->patience, on_patience, pg->patience_ms, 0);
	pg_turn_soon(pg);
	/* The first time in a row it is tried at once and what waits goes on waiting; after that it is an outage. */
	if (connection->failures++ == 0) {
		pg_connect_after(connection, 0);
		return;
	}
	if (pg->ready == 0)
		refuse(pg, &connection->error);
	pg_connect_after(connection, backoff(pg, connection->failures));
}

/* ---- the pool ---- */

bool pg_ready(const struct pg *pg)
{
	return pg->ready > 0;
}

const struct error *pg_error(const struct pg *pg)
{
	return &pg->error;
}

static void on_close_deadline(uv_timer_t *timer)
{
	struct pg *pg = timer->data;
	settle_queues(pg, ERR_CANCELLED, NULL);
	for (unsigned i = 0; i < pg->connection_count; i++) {
		struct pg_connection *connection = &pg->connections[i];
		pg_group_fail(connection, ERR_CANCELLED, NULL);
		if (works(connection))
			pg->ready--;
		pg_disconnect(connection);
	}
	pg_turn_soon(pg);
}

void pg_close(struct pg *pg, void (*closed)(void *data), void *data)
{
	REQUIRE(!pg->closing);
	pg->closing = true;
	pg->closed = closed;
	pg->closed_data = data;
	uv_timer_start(&pg->close_timer, on_close_deadline, pg->close_ms, 0);
	pg_turn_soon(pg);
}

/* Which lanes the n-th of `count` connections serves: one lane each, the last of few takes the rest, what is over helps in lane 1. */
static unsigned lanes_of(unsigned n, unsigned count)
{
	unsigned all = (1U << PG_LANES) - 1;
	if (n >= PG_LANES)
		return 1U << 1;
	if (n + 1 == count)
		return all & ~((1U << n) - 1);
	return 1U << n;
}

static unsigned or_else(unsigned value, unsigned otherwise)
{
	return value != 0 ? value : otherwise;
}

static int open_connections(struct pg *pg)
{
	pg->connections = calloc(pg->connection_count, sizeof(*pg->connections));
	if (pg->connections == NULL)
		return ERR_NOMEM;
	for (unsigned i = 0; i < pg->connection_count; i++) {
		struct pg_connection *connection = &pg->connections[i];
		connection->pool = pg;
		connection->lanes = lanes_of(i, pg->connection_count);
		list_init(&connection->alone);
		connection->prepared = calloc(or_else((unsigned)pg->sql_count, 1), sizeof(bool));
		if (connection->prepared == NULL)
			return ERR_NOMEM;
	}
	return 0;
}

static void start(struct pg *pg)
{
	uv_update_time(pg->loop); /* its clock stood still while whoever opens us was busy */
	uv_idle_init(pg->loop, &pg->turn);
	pg->turn.data = pg;
	uv_timer_init(pg->loop, &pg->close_timer);
	pg->close_timer.data = pg;
	uv_timer_init(pg->loop, &pg->patience);
	pg->patience.data = pg;
	uv_timer_start(&pg->patience, on_patience, pg->patience_ms, 0);
	pg->open_handles = 3;
	for (unsigned i = 0; i < pg->connection_count; i++) {
		struct pg_connection *connection = &pg->connections[i];
		uv_timer_init(pg->loop, &connection->timer);
		connection->timer.data = connection;
		pg->open_handles++;
	}
	/* The others wait for the first: migrating is one's work, and a server that is away is asked by one. */
	pg_connect_after(&pg->connections[0], 0);
}

int pg_open(struct pg **ret, const struct pg_options *options, struct error *error)
{
	*ret = NULL;
	struct pg *pg = calloc(1, sizeof(*pg));
	if (pg == NULL)
		return error_set(error, ERR_NOMEM, "opening the database: out of memory");
	pg->loop = options->loop;
	pg->ops = options->ops;
	pg->context = options->context;
	pg->sql = options->sql;
	pg->sql_count = options->sql_count;
	pg->prepared = options->prepared;
	pg->connect_ms = options->connect_ms;
	pg->statement_ms = or_else(options->statement_ms, STATEMENT_MS);
	pg->greet_ms = or_else(options->greet_ms, GREET_MS);
	pg->close_ms = or_else(options->close_ms, CLOSE_MS);
	pg->patience_ms = or_else(options->patience_ms, PATIENCE_MS);
	pg->backoff_ms = or_else(options->backoff_ms, BACKOFF_MS);
	pg->max_queue = options->max_queue == 0 ? MAX_QUEUE : options->max_queue;
	pg->connection_count = or_else(options->connections, PG_LANES);
	if (pg->connection_count > CONNECTIONS_MAX)
		pg->connection_count = CONNECTIONS_MAX;
	list_init(&pg->finished);
	for (unsigned i = 0; i < PG_LANES; i++)
		list_init(&pg->queues[i]);

	int status = pg_parse_url(pg, options->url, error);
	if (status == 0 && open_connections(pg) != 0)
		status = error_set(error, ERR_NOMEM, "opening the database: out of memory");
	if (status != 0) {
		free_pool(pg);
		return status;
	}
	pg->connect_ms = or_else(pg->connect_ms, CONNECT_MS);
	start(pg);
	*ret = pg;
	return 0;
}
