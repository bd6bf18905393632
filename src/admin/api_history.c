/* SPDX-License-Identifier: MIT */
/* GET /api/history, the page's one request every few seconds: the last hour, and how things are. And the page itself. */
#include "admin/admin_internal.h"

#include "admin/page.h"

static void collect(void *data)
{
	struct admin *admin = data;
	if (admin->options.collect != NULL)
		admin->options.collect(admin->options.data);
}

static void ask(void *data)
{
	admin_ask_counts(data);
}

bool admin_open_history(struct admin *admin)
{
	struct history_options options = {.metrics = admin->options.metrics, .collect = collect, .ask = ask, .data = admin};
	admin->history = history_new(admin->loop, &options);
	if (admin->history == NULL)
		return false;
	admin->open_handles++;
	return true;
}

/* "since=123" or nothing. False when it is anything else. */
static bool parse_since(struct slice query, int64_t *since_ms)
{
	static const struct slice name = SLICE("since=");
	*since_ms = -1;
	if (query.len == 0)
		return true;
	if (!slice_starts_with(query, name) || query.len == name.len || query.len > name.len + 15)
		return false;
	int64_t value = 0;
	for (size_t i = name.len; i < query.len; i++) {
		if (query.ptr[i] < '0' || query.ptr[i] > '9')
			return false;
		value = value * 10 + (query.ptr[i] - '0');
	}
	*since_ms = value;
	return true;
}

void admin_on_history(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)sid;
	int64_t since_ms;
	if (admin->history == NULL) {
		admin_reply_error(connection, 404, NULL, "Not found");
		return;
	}
	if (!parse_since(request->query, &since_ms)) {
		admin_reply_error(connection, 400, NULL,
				  "since: a number of milliseconds since the Unix epoch is wanted, as in since=1790000000000");
		return;
	}
	struct buffer body;
	buffer_init(&body, HISTORY_MAX_JSON + 16384);
	buffer_append_cstr(&body, "{\"version\":\"" REELD_VERSION "\",\"health\":");
	(void)admin->options.health(admin->options.data, &body);
	buffer_append_char(&body, ',');
	history_append_json(admin->history, since_ms, &body);
	buffer_append_char(&body, '}');
	admin_reply_json(connection, &body);
	buffer_free(&body);
}

void admin_on_page(struct admin *admin, struct connection *connection, const struct request *request, const struct sid *sid)
{
	(void)sid;
	if (!page_reply(connection, request, admin->options.store))
		admin_reply_error(connection, 404, NULL, "Not found");
}
