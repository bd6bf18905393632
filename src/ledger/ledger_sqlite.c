/* SPDX-License-Identifier: MIT */
/*
 * The SQLite ledger: requests go through the queue of sqlite_thread, which groups commits; what they do is in ledger_sqlite_*.c. Time is this
 * machine's wall clock, taken once a request: the database has no other.
 */
#include "ledger/ledger_sqlite.h"

#include "adapters/sqlite_thread.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "ledger/ledger_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests waiting for the thread: one batch, one claim, one heartbeat and one per job in flight, several times over. */
#define MAX_QUEUE 8192
/* How long another process's transaction is waited for. */
#define BUSY_TIMEOUT_MS 5000

const char *const ledger_sqlite_sql[STMT_COUNT] = {
#define STMT(NAME, sql) [STMT_##NAME] = sql,
#include "ledger/ledger_sqlite.def"
#undef STMT
};

struct ledger_sqlite {
	struct ledger base; /* first */
	struct sqlite_thread *thread;
	bool up;
	char owner[LEDGER_OWNER_SIZE];
	void (*closed)(void *data);
	void *closed_data;
};

static int ping(struct ledger_run *run)
{
	struct sqlite_stmt *stmt = sqlite_stmt_begin(run->db, STMT_PING);
	int row = sqlite_stmt_step(stmt);
	sqlite_stmt_end(stmt);
	return row < 0 ? row : 0;
}

static const struct {
	int (*run)(struct ledger_run *run);
	bool writes;
} operations[] = {
	[LEDGER_FORWARD] = {ledger_sqlite_forward, true},
	[LEDGER_CLAIM] = {ledger_sqlite_claim, true},
	[LEDGER_CLAIM_WAITING] = {ledger_sqlite_claim_waiting, true},
	[LEDGER_HEARTBEAT] = {ledger_sqlite_heartbeat, true},
	[LEDGER_RECLAIM] = {ledger_sqlite_reclaim, true},
	[LEDGER_LOOKUP_CALL] = {ledger_sqlite_lookup_call, false},
	[LEDGER_CREATE_CALL] = {ledger_sqlite_create_call, true},
	[LEDGER_STORED_OBJECT] = {ledger_sqlite_stored_object, true},
	[LEDGER_FINISH] = {ledger_sqlite_finish, true},
	[LEDGER_COUNTS] = {ledger_sqlite_counts, false},
	[LEDGER_LIST] = {ledger_sqlite_list, false},
	[LEDGER_GET] = {ledger_sqlite_get, false},
	[LEDGER_RETRY] = {ledger_sqlite_retry, true},
	[LEDGER_DROP] = {ledger_sqlite_drop, true},
	[LEDGER_DELETED_OBJECT] = {ledger_sqlite_deleted_object, true},
	[LEDGER_LACKING] = {ledger_sqlite_lacking, false},
	[LEDGER_RECONCILE_BEGIN] = {ledger_sqlite_reconcile_begin, true},
	[LEDGER_RECONCILE_SAVE] = {ledger_sqlite_reconcile_save, true},
	[LEDGER_RECONCILE_LOAD] = {ledger_sqlite_reconcile_load, false},
	[LEDGER_RECONCILE_END] = {ledger_sqlite_reconcile_end, true},
	[LEDGER_STATS] = {ledger_sqlite_stats, false},
	[LEDGER_PING] = {ping, false},
};

static struct ledger_request *request_of(struct list *item)
{
	return LIST_ENTRY(item, struct ledger_request, link);
}

static bool item_writes(const struct list *item)
{
	return operations[LIST_ENTRY(item, const struct ledger_request, link)->op].writes;
}

static int item_run(void *context, struct sqlite_db *db, struct list *item)
{
	const struct ledger_sqlite *self = context;
	struct ledger_request *request = request_of(item);
	ledger_arena_free(request); /* of a first run in a group that was taken back */
	request->error = (struct error){0};
	struct ledger_run run = {.db = db, .request = request, .owner = self->owner, .now = clock_wall_ms()};
	return operations[request->op].run(&run);
}

static void item_settle(void *context, struct list *item, int status, const struct error *error)
{
	(void)context;
	ledger_settle(request_of(item), status, error);
}

static void item_done(void *context, struct list *item)
{
	struct ledger_sqlite *self = context;
	struct ledger_request *request = request_of(item);
	if (request->status != ERR_CANCELLED)
		self->up = !ledger_means_down(request->status);
	request->done(request, request->status);
}

static const struct sqlite_thread_ops thread_ops = {
	.writes = item_writes,
	.run = item_run,
	.settle = item_settle,
	.done = item_done,
};

static void sqlite_submit(struct ledger *ledger, struct ledger_request *request)
{
	struct ledger_sqlite *self = (struct ledger_sqlite *)ledger;
	REQUIRE(request->op < sizeof(operations) / sizeof(operations[0]));
	list_init(&request->link);
	sqlite_thread_submit(self->thread, &request->link);
}

static bool sqlite_up(const struct ledger *ledger)
{
	return ((const struct ledger_sqlite *)ledger)->up;
}

static void thread_closed(void *data)
{
	struct ledger_sqlite *self = data;
	void (*closed)(void *data) = self->closed;
	void *closed_data = self->closed_data;
	free(self);
	closed(closed_data);
}

static void sqlite_close(struct ledger *ledger, void (*closed)(void *data), void *data)
{
	struct ledger_sqlite *self = (struct ledger_sqlite *)ledger;
	self->closed = closed;
	self->closed_data = data;
	sqlite_thread_close(self->thread, thread_closed, self);
}

static const struct ledger_ops sqlite_ops = {
	.kind = "sqlite",
	.submit = sqlite_submit,
	.up = sqlite_up,
	.release = ledger_arena_free,
	.close = sqlite_close,
};

int ledger_sqlite_migrate(const char *path, size_t *applied, struct error *error)
{
	struct sqlite_db *db;
	int status = sqlite_db_open(&db, &(struct sqlite_db_options){path, true, ledger_sqlite_sql, STMT_COUNT, BUSY_TIMEOUT_MS},
				    error);
	if (status != 0)
		return status;
	status = migrations_apply_sqlite(db, &migrations_sqlite, applied, error);
	sqlite_db_close(&db);
	return status;
}

/* Nobody else works here, so who holds a lease is dead: its work is due now, not when the lease runs out. The epoch rises with the next one. */
static int end_leases(struct sqlite_db *db, struct error *error)
{
	int status = sqlite_db_exec(db, "UPDATE recordings SET lease_expires_at = 0 WHERE status = 'running'");
	if (status != 0)
		return error_set(error, status, "%s", sqlite_db_error(db)->detail);
	if (sqlite_db_changes(db) > 0)
		log_event(LOG_INFO, "ledger.leases_ended", LOG_I64("recordings", sqlite_db_changes(db)));
	return 0;
}

static int open_file(struct sqlite_db **ret, const char *path, bool migrate, bool sole, struct error *error)
{
	struct sqlite_db *db;
	size_t applied = 0;
	*ret = NULL;
	int status = sqlite_db_open(&db, &(struct sqlite_db_options){path, true, ledger_sqlite_sql, STMT_COUNT, BUSY_TIMEOUT_MS},
				    error);
	if (status != 0)
		return status;
	status = migrate ? migrations_apply_sqlite(db, &migrations_sqlite, &applied, error)
			 : migrations_verify_sqlite(db, &migrations_sqlite, error);
	if (status == 0 && applied > 0)
		log_event(LOG_INFO, "ledger.migrated", LOG_STR("path", path), LOG_U64("migrations", applied));
	if (status == 0 && sole)
		status = end_leases(db, error);
	if (status != 0)
		sqlite_db_close(&db);
	*ret = db;
	return status;
}

int ledger_sqlite_take_over(const char *path, bool migrate, struct error *error)
{
	struct sqlite_db *db;
	int status = open_file(&db, path, migrate, true, error);
	sqlite_db_close(&db);
	return status;
}

int ledger_sqlite_open(struct ledger **ret, uv_loop_t *loop, const char *path, const char *owner, bool migrate, bool sole,
		       struct error *error)
{
	*ret = NULL;
	struct ledger_sqlite *self = calloc(1, sizeof(*self));
	if (self == NULL)
		return error_set(error, ERR_NOMEM, "opening the ledger %s: out of memory", path);
	self->base.ops = &sqlite_ops;
	self->up = true;
	snprintf(self->owner, sizeof(self->owner), "%s", owner);

	struct sqlite_db *db;
	int status = open_file(&db, path, migrate, sole, error);
	if (status != 0)
		goto err_free;
	status = sqlite_thread_start(&self->thread,
				     &(struct sqlite_thread_options){
					     .loop = loop, .db = db, .ops = &thread_ops, .context = self, .max_queue = MAX_QUEUE},
				     error);
	if (status != 0)
		goto err_db;
	*ret = &self->base;
	return 0;

err_db:
	sqlite_db_close(&db);
err_free:
	free(self);
	return status;
}
