/* SPDX-License-Identifier: MIT */
/*
 * An account's walk: day by day, page by page. Fetch a page, compare it with the ledger, give what lacks something its event, and only then the next page; a day
 * that was walked is saved. An event that is in the ledger twice changes nothing the second time, so any step may be done again.
 */
#include "reconcile/reconcile_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* More pages of one day than any account has: a server that never ends. */
#define PAGES_MAX 1000000
#define ROOM_MS 1000
/* Not of the days that are walked. */
#define OUTSIDE RECONCILE_VERDICT_COUNT
/* How often a day is begun anew because its next page is gone. */
#define RESTARTS_MAX 3

static const struct sid *account_of(const struct reconcile *reconcile)
{
	return &reconcile->run->accounts[reconcile->run->account];
}

void reconcile_drop_page(struct reconcile *reconcile)
{
	twilio_request_release(&reconcile->twilio);
	reconcile->twilio = (struct twilio_request){0};
}

/* ---- days ---- */

static void begin_day(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	run->day_ms = reconcile->plan.day_ms;
	run->days_left = reconcile_plan_left(&reconcile->plan);
	reconcile->next_page[0] = '\0';
	reconcile->pages = 0;
	reconcile->restarts = 0;
}

static void begin_account(struct reconcile *reconcile, int64_t walked_from_ms, int64_t walked_to_ms)
{
	struct reconcile_run *run = reconcile->run;
	reconcile_plan_begin(&reconcile->plan, run->from_ms, run->to_ms, walked_from_ms, walked_to_ms);
	run->continued_ms = reconcile->plan.gap ? reconcile->plan.walked_from_ms : -1;
	run->days_done = 0;
	if (run->continued_ms != -1)
		log_event(LOG_INFO, "reconcile.continued", LOG_STR("account_sid", account_of(reconcile)->text),
			  LOG_I64("days_left", reconcile_plan_left(&reconcile->plan)));
	begin_day(reconcile);
	reconcile_go(reconcile, RECONCILE_STEP_FETCH);
}

static void on_loaded(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	if (status != 0) {
		reconcile_retry(reconcile, status, -1, &request->error, reconcile_run_failed);
		return;
	}
	reconcile->failures = 0;
	begin_account(reconcile, request->reconcile.walked_from_ms, request->reconcile.walked_to_ms);
}

void reconcile_step_load(struct reconcile *reconcile)
{
	const struct reconcile_run *run = reconcile->run;
	if (run->dry_run || run->restart) {
		begin_account(reconcile, -1, -1);
		return;
	}
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_RECONCILE_LOAD,
		.reconcile = {.kind = run->kind, .account_sid = *account_of(reconcile)},
	};
	reconcile_submit(reconcile, on_loaded);
}

static void next_day(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	run->days_done++;
	if (reconcile->more)
		begin_day(reconcile);
	else
		run->days_left = 0;
	if (run->progress != NULL)
		run->progress(run);
	if (reconcile->more)
		reconcile_later(reconcile, RECONCILE_STEP_FETCH, reconcile->pause_ms);
	else
		reconcile_next_account(reconcile);
}

static void on_saved(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	if (status != 0) {
		reconcile_retry(reconcile, status, -1, &request->error, reconcile_run_failed);
		return;
	}
	reconcile->failures = 0;
	next_day(reconcile);
}

/* The day was walked. */
void reconcile_step_save(struct reconcile *reconcile)
{
	const struct reconcile_plan *plan = &reconcile->plan;
	if (reconcile->run->dry_run || plan->gap) {
		next_day(reconcile);
		return;
	}
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_RECONCILE_SAVE,
		.reconcile = {.kind = reconcile->run->kind,
			      .epoch = reconcile->beat.reconcile.epoch,
			      .account_sid = *account_of(reconcile),
			      .walked_from_ms = plan->walked_from_ms,
			      .walked_to_ms = plan->walked_to_ms},
	};
	reconcile_submit(reconcile, on_saved);
}

/* ---- pages ---- */

static void on_page(struct twilio_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	reconcile->fetching = false;
	if (status == 0) {
		uint64_t usual_ms = reconcile->options.pause_ms;
		reconcile->failures = 0;
		reconcile->run->throttled_ms = 0;
		reconcile->pause_ms = usual_ms + (reconcile->pause_ms - usual_ms) * 7 / 8;
		reconcile->at = 0;
		reconcile_go(reconcile, RECONCILE_STEP_COMPARE);
		return;
	}
	struct error error = request->error;
	int64_t retry_after_ms = request->http.retry_after_ms;
	bool gone = status == ERR_HTTP_NOT_FOUND || status == ERR_HTTP_CLIENT;
	reconcile_drop_page(reconcile);
	/* A page that is not there any more (its token is old): the day once more from its first. */
	if (gone && reconcile->next_page[0] != '\0' && reconcile->restarts++ < RESTARTS_MAX) {
		reconcile->next_page[0] = '\0';
		status = ERR_PROTOCOL;
	} else if (gone && !reconcile->stopping) {
		reconcile_account_failed(reconcile, status, &error);
		return;
	}
	reconcile_retry(reconcile, status, retry_after_ms, &error, reconcile_account_failed);
}

void reconcile_step_fetch(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	reconcile_drop_page(reconcile);
	reconcile->twilio = (struct twilio_request){
		.op = TWILIO_LIST_RECORDINGS,
		.account_sid = *account_of(reconcile),
		.from_ms = reconcile->plan.day_ms,
		.to_ms = reconcile->plan.day_ms,
		.page_size = reconcile->options.page_size,
		.next_page = reconcile->next_page,
		.done = on_page,
		.data = reconcile,
	};
	run->requests++;
	int status = twilio_start(reconcile->options.twilio, &reconcile->twilio);
	if (status != 0) {
		struct error error = reconcile->twilio.error;
		reconcile_retry(reconcile, status, -1, &error, reconcile_account_failed);
		return;
	}
	reconcile->fetching = true;
}

static void page_done(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	const char *next = reconcile->twilio.listed_next;
	if (next[0] == '\0') {
		reconcile_drop_page(reconcile);
		reconcile->more = reconcile_plan_next(&reconcile->plan);
		reconcile_go(reconcile, RECONCILE_STEP_SAVE);
		return;
	}
	if (strcmp(next, reconcile->next_page) == 0 || ++reconcile->pages == PAGES_MAX) {
		struct error error = {0};
		error_set(&error, ERR_PROTOCOL, "Twilio's list of recordings of %s does not end", account_of(reconcile)->text);
		reconcile_account_failed(reconcile, ERR_PROTOCOL, &error);
		return;
	}
	memcpy(reconcile->next_page, next, strlen(next) + 1); /* it fits: twilio_answer_list keeps no longer one */
	reconcile_drop_page(reconcile);
	if (run->progress != NULL)
		run->progress(run);
	reconcile_later(reconcile, RECONCILE_STEP_FETCH, reconcile->pause_ms);
}

/* ---- compare ---- */

static size_t judge(struct reconcile *reconcile, const enum ledger_standing *standings)
{
	const struct twilio_request *page = &reconcile->twilio;
	int64_t now_ms = clock_wall_ms();
	size_t lacking = 0;
	for (size_t i = 0; i < page->listed_count; i++) {
		const struct twilio_listed *listed = &page->listed[i];
		enum reconcile_verdict verdict = reconcile_compare(listed, standings[i], now_ms, reconcile->options.young_ms);
		/* The filter is Twilio's, and nothing says how exactly it takes it. */
		if (listed->created_ms >= 0 && listed->created_ms < reconcile_day(reconcile->run->from_ms))
			verdict = OUTSIDE;
		reconcile->verdicts[i] = (unsigned char)verdict;
		lacking += reconcile_verdict_lacks(verdict);
	}
	return lacking;
}

static void count_page(struct reconcile *reconcile)
{
	struct reconcile_run *run = reconcile->run;
	const struct twilio_request *page = &reconcile->twilio;
	for (size_t i = 0; i < page->listed_count; i++) {
		enum reconcile_verdict verdict = (enum reconcile_verdict)reconcile->verdicts[i];
		if (verdict == OUTSIDE)
			continue;
		run->seen++;
		run->verdicts[verdict]++;
		if (reconcile->metric_seen != NULL) {
			reconcile->metric_seen->value++;
			reconcile->metric_verdicts[verdict]->value++;
		}
		if (reconcile_verdict_lacks(verdict) && run->found != NULL)
			run->found(run, &page->listed[i], verdict);
	}
}

/* Whether the recordings that wait already leave room for more. */
static bool has_room(struct reconcile *reconcile, const struct ledger_request *answer)
{
	uint64_t patience_ms = reconcile->options.unattended_ms;
	uint64_t now = uv_now(reconcile->loop);
	if (answer->working || answer->waiting < (int64_t)reconcile->options.backlog)
		reconcile->unattended_since = 0;
	else if (reconcile->unattended_since == 0)
		reconcile->unattended_since = now;
	if (answer->waiting < (int64_t)reconcile->options.backlog)
		return true;
	return patience_ms != 0 && reconcile->unattended_since != 0 && now - reconcile->unattended_since >= patience_ms;
}

static void on_compared(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	struct reconcile_run *run = reconcile->run;
	if (status != 0) {
		reconcile_retry(reconcile, status, -1, &request->error, reconcile_run_failed);
		return;
	}
	reconcile->failures = 0;
	size_t lacking = judge(reconcile, request->standings);
	run->waiting = lacking > 0 && !run->dry_run && !has_room(reconcile, request);
	if (run->waiting) {
		if (run->progress != NULL)
			run->progress(run);
		reconcile_later(reconcile, RECONCILE_STEP_COMPARE, ROOM_MS);
		return;
	}
	count_page(reconcile);
	if (lacking == 0 || run->dry_run) {
		page_done(reconcile);
		return;
	}
	log_event(LOG_INFO, "reconcile.found", LOG_STR("account_sid", account_of(reconcile)->text),
		  LOG_U64("recordings", lacking), LOG_U64("of", reconcile->twilio.listed_count));
	reconcile_go(reconcile, RECONCILE_STEP_FORWARD);
}

void reconcile_step_compare(struct reconcile *reconcile)
{
	const struct twilio_request *page = &reconcile->twilio;
	REQUIRE(page->listed_count <= TWILIO_LIST_MAX);
	for (size_t i = 0; i < page->listed_count; i++)
		reconcile->sids[i] = page->listed[i].recording_sid;
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_LACKING,
		.sids = reconcile->sids,
		.count = page->listed_count,
		.limit = reconcile->options.backlog,
	};
	reconcile_submit(reconcile, on_compared);
}

/* ---- events ---- */

static void on_forwarded(struct ledger_request *request, int status)
{
	struct reconcile *reconcile = request->data;
	if (status != 0) {
		reconcile->at = 0;
		reconcile_retry(reconcile, status, -1, &request->error, reconcile_run_failed);
		return;
	}
	size_t healed = request->count - request->duplicates;
	reconcile->failures = 0;
	reconcile->run->healed += healed;
	if (reconcile->metric_healed != NULL)
		reconcile->metric_healed->value += (double)healed;
	if (healed > 0 && reconcile->options.put != NULL)
		reconcile->options.put(reconcile->options.data);
	reconcile_go(reconcile, RECONCILE_STEP_FORWARD);
}

/* Payloads first, since the buffer moves while it grows; then the events, which point into it. */
static int make_events(struct reconcile *reconcile)
{
	const struct twilio_request *page = &reconcile->twilio;
	size_t ends[RECONCILE_BATCH];
	size_t count = 0;
	int64_t now_ms = clock_wall_ms();
	buffer_clear(&reconcile->payloads);
	reconcile->event_count = 0;
	for (; reconcile->at < page->listed_count && count < RECONCILE_BATCH; reconcile->at++) {
		if (!reconcile_verdict_lacks((enum reconcile_verdict)reconcile->verdicts[reconcile->at]))
			continue;
		int status = reconcile_encode(&page->listed[reconcile->at], account_of(reconcile), now_ms, &reconcile->payloads);
		if (status != 0)
			return status;
		ends[count++] = reconcile->payloads.len;
	}
	char *scratch = malloc(reconcile->payloads.len + 1);
	if (scratch == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		size_t start = i == 0 ? 0 : ends[i - 1];
		struct event *event = &reconcile->events[reconcile->event_count];
		struct slice payload = slice_make(reconcile->payloads.data + start, ends[i] - start);
		/* The page's parser and reconcile_compare let nothing through that an event may not have. */
		REQUIRE(event_decode(event, payload, scratch, reconcile->payloads.len + 1) == 0);
		event->reconciled = true;
		reconcile->event_count++;
	}
	free(scratch);
	return 0;
}

void reconcile_step_forward(struct reconcile *reconcile)
{
	int status = make_events(reconcile);
	if (status != 0) {
		struct error error = {0};
		error_set(&error, status, "out of memory for a page of events");
		reconcile->at = 0;
		reconcile_retry(reconcile, status, -1, &error, reconcile_run_failed);
		return;
	}
	if (reconcile->event_count == 0) {
		page_done(reconcile);
		return;
	}
	ledger_request_release(&reconcile->ledger);
	reconcile->ledger = (struct ledger_request){
		.op = LEDGER_FORWARD,
		.events = reconcile->events,
		.count = reconcile->event_count,
		.lease_max = 0,
	};
	reconcile_submit(reconcile, on_forwarded);
}
