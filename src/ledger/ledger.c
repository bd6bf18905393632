/* SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

#include "base/check.h"
#include "ledger/ledger_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const status_names[LEDGER_STATUS_COUNT] = {
	[LEDGER_PENDING] = "pending", [LEDGER_RUNNING] = "running", [LEDGER_STORED] = "stored", [LEDGER_SKIPPED] = "skipped",
	[LEDGER_ABSENT] = "absent",   [LEDGER_FAILED] = "failed",   [LEDGER_DEAD] = "dead",     [LEDGER_DELETED] = "deleted",
};

const char *ledger_status_name(enum ledger_status status)
{
	REQUIRE(status < LEDGER_STATUS_COUNT);
	return status_names[status];
}

bool ledger_status_parse(struct slice text, enum ledger_status *status)
{
	for (int i = 0; i < LEDGER_STATUS_COUNT; i++) {
		if (slice_equal(text, slice_from_cstr(status_names[i]))) {
			*status = (enum ledger_status)i;
			return true;
		}
	}
	return false;
}

struct arena_block {
	struct arena_block *next;
	max_align_t memory[];
};

void *ledger_arena_alloc(struct ledger_request *request, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(bytes, sizeof(struct arena_block), &bytes))
		return NULL;
	struct arena_block *block = calloc(1, bytes);
	if (block == NULL)
		return NULL;
	block->next = request->arena;
	request->arena = block;
	return block->memory;
}

void ledger_results_clear(struct ledger_request *request)
{
	request->leased = NULL;
	request->leased_count = 0;
	request->lost = NULL;
	request->duplicates = 0;
	request->changed = 0;
	request->call_known = false;
	request->recordings = NULL;
	request->recording_count = 0;
	request->next_cursor[0] = '\0';
	request->audit = NULL;
	request->audit_count = 0;
	request->stats = NULL;
	request->next_due_ms = -1;
	request->standings = NULL;
	request->waiting = 0;
	request->working = false;
}

void ledger_arena_free(struct ledger_request *request)
{
	struct arena_block *block = request->arena;
	while (block != NULL) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
	request->arena = NULL;
	ledger_results_clear(request);
}

void ledger_settle(struct ledger_request *request, int status, const struct error *error)
{
	request->status = status;
	if (status == 0)
		return;
	ledger_arena_free(request);
	/* The operation's own message is better than the database's last one, which may be an old one. */
	if (request->error.code != status) {
		if (error != NULL && error->code == status)
			request->error = *error;
		else
			error_set(&request->error, status, "%s", err_text(status));
	}
}

bool ledger_means_down(int status)
{
	return status == ERR_LEDGER || status == ERR_NO_SPACE || status == ERR_DENIED || status == ERR_NOMEM;
}

int ledger_parse_cursor(struct ledger_request *request, int64_t *id)
{
	if (request->cursor == NULL || request->cursor[0] == '\0')
		return 0;
	char *end;
	errno = 0;
	long long value = strtoll(request->cursor, &end, 10);
	if (errno != 0 || *end != '\0' || value < 1)
		return error_set(&request->error, ERR_INVALID, "not a cursor of this list");
	*id = value;
	return 0;
}

size_t ledger_page_size(const struct ledger_request *request)
{
	return request->limit == 0 || request->limit > LEDGER_LIST_LIMIT ? LEDGER_LIST_LIMIT : request->limit;
}

int ledger_alloc_standings(struct ledger_request *request)
{
	if (request->count > LEDGER_LACKING_MAX)
		return error_set(&request->error, ERR_LIMIT, "%zu recordings are more than one question may hold",
				 request->count);
	request->standings = ledger_arena_alloc(request, request->count, sizeof(*request->standings));
	if (request->standings == NULL)
		return error_set(&request->error, ERR_NOMEM, "out of memory for %zu recordings", request->count);
	for (size_t i = 0; i < request->count; i++)
		request->standings[i] = LEDGER_STANDING_MISSING;
	return 0;
}

enum ledger_standing ledger_standing_of(enum ledger_status status, bool completed_known)
{
	if (completed_known)
		return LEDGER_STANDING_KNOWN;
	if (status == LEDGER_ABSENT || status == LEDGER_FAILED || status == LEDGER_DEAD)
		return LEDGER_STANDING_ENDED;
	return status == LEDGER_PENDING || status == LEDGER_RUNNING ? LEDGER_STANDING_WAITING : LEDGER_STANDING_KNOWN;
}

const char *ledger_reconcile_kind_name(enum ledger_reconcile_kind kind)
{
	return kind == LEDGER_RECONCILE_SCHEDULED ? "scheduled" : "requested";
}

enum ledger_of ledger_list_of(struct ledger_request *request)
{
	struct sid sid;
	struct slice text = slice_from_cstr(request->of.text);
	if (text.len == 0)
		return LEDGER_OF_ALL;
	if (sid_parse(text, "RE", &sid))
		return LEDGER_OF_RECORDING;
	if (sid_parse(text, "CA", &sid))
		return LEDGER_OF_CALL;
	if (sid_parse(text, "CF", &sid))
		return LEDGER_OF_CONFERENCE;
	error_set(&request->error, ERR_INVALID, "not the SID of a recording, call or conference: \"%s\"", request->of.text);
	return LEDGER_OF_UNKNOWN;
}

const char *ledger_by(const struct ledger_request *request)
{
	return request->by == NULL ? "request" : request->by;
}

void ledger_submit(struct ledger *ledger, struct ledger_request *request)
{
	request->ops = ledger->ops;
	request->status = 0;
	request->error = (struct error){0};
	ledger_results_clear(request);
	ledger->ops->submit(ledger, request);
}

void ledger_request_release(struct ledger_request *request)
{
	if (request->ops != NULL && request->ops->release != NULL)
		request->ops->release(request);
}

bool ledger_up(const struct ledger *ledger)
{
	return ledger->ops->up(ledger);
}

const char *ledger_kind(const struct ledger *ledger)
{
	return ledger->ops->kind;
}

void ledger_close(struct ledger *ledger, void (*closed)(void *data), void *data)
{
	ledger->ops->close(ledger, closed, data);
}

int ledger_sqlite_path(const char *data_dir, char *out, size_t size)
{
	int len = snprintf(out, size, "%s/ledger.db", data_dir);
	return len < 0 || (size_t)len >= size ? ERR_LIMIT : 0;
}
