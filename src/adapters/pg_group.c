/* SPDX-License-Identifier: MIT */
/*
 * One group on one connection: its queries go out in a pipeline with one sync at the end, so that the server runs them as one transaction
 * (https://www.postgresql.org/docs/15/libpq-pipeline-mode.html). Rows are kept until the sync said that it is committed.
 */
#include "adapters/pg_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* A serialization failure or a deadlock is tried again so often. */
#define TRIES_MAX 8

static void drop_results(struct pg_group *group)
{
	for (size_t i = 0; i < group->result_count; i++)
		PQclear(group->results[i]);
	group->result_count = 0;
}

void pg_group_free(struct pg_connection *connection)
{
	drop_results(&connection->group);
	free(connection->group.sent);
	free(connection->group.results);
	connection->group = (struct pg_group){0};
	if (connection->batch.connection != NULL)
		buffer_free(&connection->batch.values);
}

static void lost(struct pg_connection *connection)
{
	struct error error = connection->group.error;
	connection->group.failure = PG_FAILURE_NONE;
	pg_group_fail(connection, ERR_LEDGER, &error);
	connection->error = error;
	pg_disconnect(connection);
	pg_on_lost(connection);
}

static void lost_by_words(struct pg_connection *connection)
{
	/* What the server said before it hung up is worth more than that it did. */
	if (connection->group.failure == PG_FAILURE_LOST) {
		lost(connection);
		return;
	}
	const char *words = PQerrorMessage(connection->handle);
	size_t len = strcspn(words, "\n");
	error_set(&connection->group.error, ERR_LEDGER, "Postgres: %.*s", len == 0 ? 23 : (int)len,
		  len == 0 ? "the connection was lost" : words);
	lost(connection);
}

/* ---- sending ---- */

static bool make_room(struct pg_group *group)
{
	if (group->sent_count + 2 <= group->sent_capacity)
		return true;
	size_t capacity = group->sent_capacity == 0 ? 2 * PG_GROUP_MAX : 2 * group->sent_capacity;
	if (capacity > PG_QUERIES_MAX)
		return false;
	void *sent = realloc(group->sent, capacity * sizeof(group->sent[0]));
	if (sent == NULL)
		return false;
	group->sent = sent;
	PGresult **results = realloc(group->results, capacity * sizeof(group->results[0]));
	if (results == NULL)
		return false;
	group->results = results;
	group->sent_capacity = capacity;
	return true;
}

/* Prepared in this group already: its answer has not come, but it is before us in the pipeline. */
static bool is_preparing(const struct pg_group *group, unsigned slot)
{
	for (size_t i = 0; i < group->sent_count; i++) {
		if (group->sent[i].preparation && group->sent[i].slot == slot)
			return true;
	}
	return false;
}

int pg_group_send(struct pg_connection *connection, const struct pg_batch *batch)
{
	struct pg_group *group = &connection->group;
	const char *sql = connection->pool->sql[batch->slot];
	const char *values[PG_PARAMS_MAX];
	int lengths[PG_PARAMS_MAX];
	int formats[PG_PARAMS_MAX];
	Oid types[PG_PARAMS_MAX];
	char name[32];
	int count = (int)batch->param_count;
	int sent = 1;
	REQUIRE(batch->slot < connection->pool->sql_count);
	if (!make_room(group))
		return ERR_LIMIT;
	for (int i = 0; i < count; i++) {
		const struct pg_param *param = &batch->params[i];
		values[i] = param->length < 0 ? NULL : batch->values.data + param->offset;
		lengths[i] = param->length < 0 ? 0 : param->length;
		formats[i] = 1;
		types[i] = param->oid;
	}
	if (!connection->pool->prepared || batch->fresh) {
		sent = PQsendQueryParams(connection->handle, sql, count, types, values, lengths, formats, 1);
	} else {
		snprintf(name, sizeof(name), "reeld_%u", batch->slot);
		if (!connection->prepared[batch->slot] && !is_preparing(group, batch->slot)) {
			sent = PQsendPrepare(connection->handle, name, sql, count, types);
			group->sent[group->sent_count].slot = (unsigned short)batch->slot;
			group->sent[group->sent_count++].preparation = true;
		}
		if (sent == 1)
			sent = PQsendQueryPrepared(connection->handle, name, count, values, lengths, formats, 1);
	}
	if (sent != 1)
		return ERR_LEDGER;
	group->sent[group->sent_count].slot = (unsigned short)batch->slot;
	group->sent[group->sent_count++].preparation = false;
	group->query_count++;
	return 0;
}

/* Takes one item into the group. False when what was sent of it cannot be taken back: the connection is spoiled. */
static bool add_part(struct pg_connection *connection, struct list *item)
{
	struct pg *pg = connection->pool;
	struct pg_group *group = &connection->group;
	struct pg_batch *batch = &connection->batch;
	size_t before = group->sent_count;
	struct pg_part part = {.item = item, .first = group->query_count};
	pg_batch_begin(batch, connection);
	int status = pg->ops->send(pg->context, item, batch);
	int sending = pg_batch_status(batch);
	if (status == 0)
		status = sending;
	if (status == 0 && batch->queries == 0)
		status = pg->ops->receive(pg->context, item, NULL, 0);
	if (status != 0 || batch->queries == 0) {
		pg_settle(pg, item, status, NULL);
		return group->sent_count == before;
	}
	part.count = batch->queries;
	group->parts[group->part_count++] = part;
	return true;
}

static void flush(struct pg_connection *connection)
{
	int left = PQflush(connection->handle);
	if (left < 0)
		lost_by_words(connection);
	else if (!pg_watch(connection, left == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE))
		lost_by_words(connection);
}

bool pg_group_start(struct pg_connection *connection, struct list *(*take)(struct pg_connection *connection))
{
	struct pg_group *group = &connection->group;
	size_t most = list_empty(&connection->alone) ? PG_GROUP_MAX : 1;
	bool spoiled = false;
	group->part_count = group->sent_count = group->answered = group->query_count = 0;
	group->has_result = false;
	group->failure = PG_FAILURE_NONE;
	connection->single = most == 1;
	while (group->part_count < most && !spoiled) {
		struct list *item = connection->single ? list_take(&connection->alone) : take(connection);
		if (item == NULL)
			break;
		spoiled = !add_part(connection, item);
	}
	if (group->part_count == 0 && !spoiled)
		return false;
	connection->state = PG_BUSY;
	if (spoiled || PQpipelineSync(connection->handle) != 1) {
		lost_by_words(connection);
		return true;
	}
	pg_deadline(connection, connection->pool->statement_ms);
	flush(connection);
	return true;
}

/* ---- answers ---- */

static void settle_parts(struct pg_connection *connection, int status, const struct error *error)
{
	struct pg_group *group = &connection->group;
	for (size_t i = 0; i < group->part_count; i++)
		pg_settle(connection->pool, group->parts[i].item, status, error);
	group->part_count = 0;
	drop_results(group);
}

void pg_group_fail(struct pg_connection *connection, int status, const struct error *error)
{
	struct list *item;
	settle_parts(connection, status, error);
	while ((item = list_take(&connection->alone)) != NULL)
		pg_settle(connection->pool, item, status, error);
}

static void committed(struct pg_connection *connection)
{
	struct pg *pg = connection->pool;
	struct pg_group *group = &connection->group;
	connection->failures = 0;
	connection->tries = 0;
	REQUIRE(group->result_count == group->query_count);
	for (size_t i = 0; i < group->part_count; i++) {
		const struct pg_part *part = &group->parts[i];
		const void *results = group->results + part->first;
		pg_settle(pg, part->item, pg->ops->receive(pg->context, part->item, results, part->count), NULL);
	}
	group->part_count = 0;
	drop_results(group);
}

static void taken_back(struct pg_connection *connection)
{
	struct pg_group *group = &connection->group;
	bool again = group->failure == PG_FAILURE_AGAIN && connection->tries < TRIES_MAX;
	if (group->failure == PG_FAILURE_DOWN || (group->part_count == 1 && !again)) {
		connection->tries = 0;
		settle_parts(connection, group->error.code, &group->error);
		return;
	}
	connection->tries = group->part_count == 1 ? connection->tries + 1 : 0;
	/* The one that runs alone comes before the others that wait for the same. */
	struct list rest;
	list_move(&rest, &connection->alone);
	for (size_t i = 0; i < group->part_count; i++)
		list_append(&connection->alone, group->parts[i].item);
	for (struct list *item = list_take(&rest); item != NULL; item = list_take(&rest))
		list_append(&connection->alone, item);
	group->part_count = 0;
	drop_results(group);
}

static void synced(struct pg_connection *connection)
{
	uv_timer_stop(&connection->timer);
	if (connection->group.failure == PG_FAILURE_LOST) {
		lost(connection);
		return;
	}
	connection->state = PG_READY;
	if (connection->group.failure == PG_FAILURE_NONE)
		committed(connection);
	else
		taken_back(connection);
	pg_turn_soon(connection->pool);
}

/* Keeps or drops what the server said to the next thing that was sent. False when the group is over. */
static bool take_result(struct pg_connection *connection, PGresult *result)
{
	struct pg_group *group = &connection->group;
	ExecStatusType status = PQresultStatus(result);
	if (status == PGRES_PIPELINE_SYNC) {
		PQclear(result);
		synced(connection);
		return false;
	}
	group->has_result = true;
	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
		if (group->answered < group->sent_count && !group->sent[group->answered].preparation) {
			REQUIRE(group->result_count < group->sent_capacity);
			group->results[group->result_count++] = result;
			return true;
		}
		if (group->answered < group->sent_count)
			connection->prepared[group->sent[group->answered].slot] = true;
	} else if (status != PGRES_PIPELINE_ABORTED && group->failure == PG_FAILURE_NONE) {
		group->failure = pg_error_of_result(result, &group->error);
	}
	PQclear(result);
	return true;
}

static void read_results(struct pg_connection *connection)
{
	struct pg_group *group = &connection->group;
	unsigned nothing = 0;
	while (PQisBusy(connection->handle) == 0 && connection->state == PG_BUSY && nothing < 2) {
		PGresult *result = PQgetResult(connection->handle);
		if (result != NULL) {
			nothing = 0;
			if (!take_result(connection, result))
				return;
		} else if (group->has_result) {
			group->has_result = false;
			group->answered++;
		} else {
			nothing++; /* between two groups there may be one */
		}
	}
	if (PQstatus(connection->handle) == CONNECTION_BAD)
		lost_by_words(connection);
}

void pg_group_on_poll(struct pg_connection *connection, int events)
{
	if ((events & UV_WRITABLE) != 0) {
		flush(connection);
		if (connection->handle == NULL)
			return;
	}
	if (PQconsumeInput(connection->handle) != 1) {
		if (connection->state == PG_BUSY)
			read_results(connection);
		if (connection->handle != NULL)
			lost_by_words(connection);
		return;
	}
	read_results(connection);
}

void pg_group_on_deadline(struct pg_connection *connection)
{
	error_set(&connection->group.error, ERR_LEDGER, "Postgres: no answer within %u ms", connection->pool->statement_ms);
	lost(connection);
}
