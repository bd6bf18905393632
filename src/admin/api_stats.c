/* SPDX-License-Identifier: MIT */
/*
 * GET /api/stats: one question to the ledger at a time, shared by all who wait, and its answer kept for a moment: for ten times as long as it took, so that
 * the database spends no more than a tenth of its time on it however many ask. When nobody asks, this does once a minute: Postgres adds up what changed since
 * whenever it is asked (STATS_FOLD), and so it never has much to add up.
 */
#include "admin/admin_internal.h"

#include "admin/json.h"
#include "base/check.h"

#include <stdlib.h>

#define STATS_ASK_MS 60000
#define STATS_KEEP_MS 1000
#define STATS_KEEP_MAX_MS 60000
#define STATS_SIZE ((size_t)4 << 20)

struct stats_waiter {
	struct list link;
	struct connection *connection;
};

static void stats_answered(struct ledger_request *request, int status)
{
	struct admin *admin = request->data;
	struct admin_stats *stats = &admin->stats;
	stats->asking = false;
	if (status == 0) {
		uint64_t took_ms = uv_now(admin->loop) - stats->asked_ms;
		uint64_t keep_ms = took_ms * 10 < STATS_KEEP_MS ? STATS_KEEP_MS : took_ms * 10;
		buffer_clear(&stats->body);
		json_stats(&stats->body, request->stats);
		stats->fresh = !stats->body.failed;
		stats->until_ms = uv_now(admin->loop) + (keep_ms > STATS_KEEP_MAX_MS ? STATS_KEEP_MAX_MS : keep_ms);
	}
	struct list waiting;
	list_move(&waiting, &stats->waiting);
	for (struct list *link = list_take(&waiting); link != NULL; link = list_take(&waiting)) {
		struct stats_waiter *waiter = LIST_ENTRY(link, struct stats_waiter, link);
		if (status == 0)
			admin_reply_json(waiter->connection, &stats->body);
		else
			admin_reply_ledger_error(waiter->connection, status, &request->error);
		free(waiter);
	}
	ledger_request_release(request);
	admin_release(admin);
}

static void stats_ask(struct admin *admin)
{
	struct admin_stats *stats = &admin->stats;
	stats->asking = true;
	stats->asked_ms = uv_now(admin->loop);
	admin_hold(admin);
	stats->request = (struct ledger_request){.op = LEDGER_STATS, .done = stats_answered, .data = admin};
	ledger_submit(admin->options.ledger, &stats->request);
}

void admin_on_stats(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)request;
	(void)sid;
	struct admin_stats *stats = &admin->stats;
	if (stats->fresh && uv_now(admin->loop) < stats->until_ms) {
		admin_reply_json(connection, &stats->body);
		return;
	}
	struct stats_waiter *waiter = malloc(sizeof(*waiter));
	if (waiter == NULL) {
		admin_reply_error(connection, 500, NULL, "out of memory");
		return;
	}
	waiter->connection = connection;
	list_append(&stats->waiting, &waiter->link);
	if (!stats->asking)
		stats_ask(admin);
}

static void stats_due(uv_timer_t *timer)
{
	struct admin *admin = timer->data;
	if (!admin->stats.asking)
		stats_ask(admin);
}

void admin_stats_init(struct admin *admin)
{
	struct admin_stats *stats = &admin->stats;
	list_init(&stats->waiting);
	buffer_init(&stats->body, STATS_SIZE);
	REQUIRE(uv_timer_init(admin->loop, &stats->timer) == 0);
	stats->timer.data = admin;
	admin->open_handles++;
	REQUIRE(uv_timer_start(&stats->timer, stats_due, STATS_ASK_MS, STATS_ASK_MS) == 0);
}

void admin_stats_close(struct admin *admin)
{
	uv_close((uv_handle_t *)&admin->stats.timer, admin_handle_closed);
}

void admin_stats_free(struct admin_stats *stats)
{
	buffer_free(&stats->body);
}
