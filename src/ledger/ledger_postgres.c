/* SPDX-License-Identifier: MIT */
/*
 * The Postgres ledger: requests go through the queues of the adapter's pool, which groups them into transactions; what they say is in
 * ledger_postgres.def, how it is sent and read in ledger_postgres_*.c. Time is the server's.
 */
#include "ledger/ledger_postgres.h"

#include "base/check.h"
#include "base/turn.h"
#include "ledger/ledger_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A long migration is waited for by who asked for it, not by the daemon. */
#define MIGRATE_MS 86400000

/* Lanes: the forwarder's batches are big, people's requests may be slow, and neither may hold up the jobs. */
enum { LANE_FORWARD, LANE_JOBS, LANE_PEOPLE };

const char *const ledger_postgres_sql[QUERY_COUNT] = {
#define QUERY(NAME, sql) [QUERY_##NAME] = sql,
#include "ledger/ledger_postgres.def"
#undef QUERY
};

struct ledger_postgres {
	struct ledger base; /* first */
	struct pg *pg;
	struct ledger_greeting greeting;
	bool up; /* by the last operation */
	bool lacks_migrations;
	char owner[LEDGER_OWNER_SIZE];
	void (*closed)(void *data);
	void *closed_data;
};

static int send_ping(struct ledger_request *request, const char *owner, struct pg_batch *batch)
{
	(void)request;
	(void)owner;
	pg_query(batch, QUERY_PING);
	return 0;
}

static int receive_nothing(struct ledger_request *request, const struct pg_result *const *results, size_t count)
{
	(void)request;
	(void)results;
	(void)count;
	return 0;
}

static const struct {
	ledger_postgres_send *send;
	ledger_postgres_receive *receive;
	unsigned lane;
} operations[] = {
	[LEDGER_FORWARD] = {ledger_postgres_send_forward, ledger_postgres_receive_forward, LANE_FORWARD},
	[LEDGER_CLAIM] = {ledger_postgres_send_claim, ledger_postgres_receive_claim, LANE_JOBS},
	[LEDGER_CLAIM_WAITING] = {ledger_postgres_send_claim_waiting, ledger_postgres_receive_reclaim, LANE_JOBS},
	[LEDGER_HEARTBEAT] = {ledger_postgres_send_heartbeat, ledger_postgres_receive_heartbeat, LANE_JOBS},
	[LEDGER_RECLAIM] = {ledger_postgres_send_reclaim, ledger_postgres_receive_reclaim, LANE_JOBS},
	[LEDGER_LOOKUP_CALL] = {ledger_postgres_send_lookup_call, ledger_postgres_receive_lookup_call, LANE_JOBS},
	[LEDGER_CREATE_CALL] = {ledger_postgres_send_create_call, receive_nothing, LANE_JOBS},
	[LEDGER_STORED_OBJECT] = {ledger_postgres_send_stored_object, ledger_postgres_receive_stored_object, LANE_JOBS},
	[LEDGER_FINISH] = {ledger_postgres_send_finish, ledger_postgres_receive_finish, LANE_JOBS},
	[LEDGER_COUNTS] = {ledger_postgres_send_counts, ledger_postgres_receive_counts, LANE_PEOPLE},
	[LEDGER_LIST] = {ledger_postgres_send_list, ledger_postgres_receive_list, LANE_PEOPLE},
	[LEDGER_GET] = {ledger_postgres_send_get, ledger_postgres_receive_get, LANE_JOBS},
	[LEDGER_RETRY] = {ledger_postgres_send_retry, ledger_postgres_receive_retry, LANE_PEOPLE},
	[LEDGER_DROP] = {ledger_postgres_send_drop, ledger_postgres_receive_changed, LANE_PEOPLE},
	[LEDGER_DELETED_OBJECT] = {ledger_postgres_send_deleted_object, ledger_postgres_receive_changed, LANE_PEOPLE},
	[LEDGER_LACKING] = {ledger_postgres_send_lacking, ledger_postgres_receive_lacking, LANE_PEOPLE},
	[LEDGER_RECONCILE_BEGIN] = {ledger_postgres_send_reconcile_begin, ledger_postgres_receive_reconcile_begin, LANE_PEOPLE},
	[LEDGER_RECONCILE_SAVE] = {ledger_postgres_send_reconcile_save, ledger_postgres_receive_reconcile_lease, LANE_PEOPLE},
	[LEDGER_RECONCILE_LOAD] = {ledger_postgres_send_reconcile_load, ledger_postgres_receive_reconcile_load, LANE_PEOPLE},
	[LEDGER_RECONCILE_END] = {ledger_postgres_send_reconcile_end, ledger_postgres_receive_reconcile_lease, LANE_PEOPLE},
	[LEDGER_STATS] = {ledger_postgres_send_stats, ledger_postgres_receive_stats, LANE_PEOPLE},
	[LEDGER_PING] = {send_ping, receive_nothing, LANE_PEOPLE},
};

static struct ledger_request *request_of(struct list *item)
{
	return LIST_ENTRY(item, struct ledger_request, link);
}

static int item_send(void *context, struct list *item, struct pg_batch *batch)
{
	const struct ledger_postgres *self = context;
	struct ledger_request *request = request_of(item);
	ledger_arena_free(request); /* of a first run in a group that was taken back */
	request->error = (struct error){0};
	return operations[request->op].send(request, self->owner, batch);
}

static int item_receive(void *context, struct list *item, const struct pg_result *const *results, size_t count)
{
	struct ledger_request *request = request_of(item);
	(void)context;
	return operations[request->op].receive(request, results, count);
}

static void item_settle(void *context, struct list *item, int status, const struct error *error)
{
	(void)context;
	ledger_settle(request_of(item), status, error);
}

static void item_done(void *context, struct list *item)
{
	struct ledger_postgres *self = context;
	struct ledger_request *request = request_of(item);
	if (request->status != ERR_CANCELLED)
		self->up = !ledger_means_down(request->status);
	request->done(request, request->status);
}

static int greet(void *context, unsigned step, const struct pg_result *previous, const char **sql, struct error *error)
{
	struct ledger_postgres *self = context;
	int status = ledger_greeting_step(&self->greeting, step, previous, sql, error);
	self->lacks_migrations = status == ERR_MIGRATION;
	if (status == 0 && *sql == NULL)
		self->up = true;
	return status;
}

static const struct pg_ops pg_ops = {
	.send = item_send,
	.receive = item_receive,
	.settle = item_settle,
	.done = item_done,
	.greet = greet,
};

static void postgres_submit(struct ledger *ledger, struct ledger_request *request)
{
	struct ledger_postgres *self = (struct ledger_postgres *)ledger;
	REQUIRE(request->op < sizeof(operations) / sizeof(operations[0]));
	pg_submit(self->pg, operations[request->op].lane, &request->link);
}

static bool postgres_up(const struct ledger *ledger)
{
	const struct ledger_postgres *self = (const struct ledger_postgres *)ledger;
	return self->up && pg_ready(self->pg);
}

static void pg_closed(void *data)
{
	struct ledger_postgres *self = data;
	void (*closed)(void *data) = self->closed;
	void *closed_data = self->closed_data;
	ledger_greeting_free(&self->greeting);
	free(self);
	closed(closed_data);
}

static void postgres_close(struct ledger *ledger, void (*closed)(void *data), void *data)
{
	struct ledger_postgres *self = (struct ledger_postgres *)ledger;
	self->closed = closed;
	self->closed_data = data;
	pg_close(self->pg, pg_closed, self);
}

static const struct ledger_ops postgres_ops = {
	.kind = "postgres",
	.submit = postgres_submit,
	.up = postgres_up,
	.release = ledger_arena_free,
	.close = postgres_close,
};

/* wait_ms: how long a migration may take, another's included; 0: the adapter's own limits. */
static int open_pool(struct ledger_postgres **ret, uv_loop_t *loop, const struct ledger_postgres_options *options,
		     unsigned wait_ms, struct error *error)
{
	*ret = NULL;
	struct ledger_postgres *self = calloc(1, sizeof(*self));
	if (self == NULL)
		return error_set(error, ERR_NOMEM, "opening the ledger: out of memory");
	self->base.ops = &postgres_ops;
	snprintf(self->owner, sizeof(self->owner), "%s", options->owner);
	ledger_greeting_init(&self->greeting, &migrations_postgres, options->migrate, options->prepared);
	int status = pg_open(&self->pg,
			     &(struct pg_options){.loop = loop,
						  .url = options->url,
						  .ops = &pg_ops,
						  .context = self,
						  .sql = ledger_postgres_sql,
						  .sql_count = QUERY_COUNT,
						  .prepared = options->prepared,
						  .connections = options->connections,
						  .greet_ms = wait_ms,
						  .patience_ms = wait_ms},
			     error);
	if (status != 0) {
		free(self);
		return status;
	}
	*ret = self;
	return 0;
}

int ledger_postgres_open(struct ledger **ret, uv_loop_t *loop, const struct ledger_postgres_options *options, struct error *error)
{
	struct ledger_postgres *self;
	int status = open_pool(&self, loop, options, 0, error);
	*ret = status == 0 ? &self->base : NULL;
	return status;
}

bool ledger_postgres_lacks_migrations(const struct ledger *ledger)
{
	return ((const struct ledger_postgres *)ledger)->lacks_migrations;
}

static void ignore(void *data)
{
	(void)data;
}

int ledger_postgres_migrate(const char *url, size_t *applied, struct error *error)
{
	uv_loop_t loop;
	struct ledger_postgres *self;
	struct ledger_postgres_options options = {.url = url, .owner = "migrate", .migrate = true, .connections = 1};
	if (uv_loop_init(&loop) != 0)
		return error_set(error, ERR_NOMEM, "migrating the ledger: no event loop");
	int status = open_pool(&self, &loop, &options, MIGRATE_MS, error);
	if (self != NULL) {
		while (!pg_ready(self->pg) && pg_error(self->pg)->code == 0)
			turn_run(&loop);
		if (!pg_ready(self->pg)) {
			status = pg_error(self->pg)->code;
			if (error != NULL)
				*error = *pg_error(self->pg);
		} else if (applied != NULL) {
			*applied = self->greeting.applied;
		}
		postgres_close(&self->base, ignore, NULL);
		uv_run(&loop, UV_RUN_DEFAULT);
	}
	REQUIRE(uv_loop_close(&loop) == 0);
	return status;
}
