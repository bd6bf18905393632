/* SPDX-License-Identifier: MIT */
#include "pipeline/gate.h"

#include "base/check.h"
#include "base/err.h"
#include "twilio/accounts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void gate_init(const struct gates *gates, struct gate *gate, const struct sid *account)
{
	*gate = (struct gate){.account = *account};
	list_init(&gate->link);
	breaker_init(&gate->breaker, &gates->breaker);
	limit_init(&gate->limit, gates->max);
}

void gates_init(struct gates *gates, size_t max, const struct breaker_options *breaker)
{
	*gates = (struct gates){.breaker = *breaker, .max = max};
	list_init(&gates->watched);
	list_init(&gates->leaving);
	gate_init(gates, &gates->others, &(struct sid){0});
	gates->others.known = true;
	gates->others.waiting = true;
	list_append(&gates->watched, &gates->others.link);
	gates->first = &gates->others;
}

void gates_free(struct gates *gates)
{
	REQUIRE(list_empty(&gates->leaving));
	for (size_t i = 0; i < gates->count; i++)
		free(gates->by_sid[i]);
	free(gates->by_sid);
	gates->by_sid = NULL;
	gates->count = 0;
}

/* Brings the list and the counts up to date with one gate. */
static void review(struct gates *gates, struct gate *gate)
{
	bool held = gate->breaker.state != BREAKER_CLOSED;
	bool restricting = held || gate->limit.current < gate->limit.max;
	gates->held += held;
	gates->held -= gate->held;
	gates->restricting += restricting && gate->known;
	gates->restricting -= gate->restricting;
	gate->held = held;
	gate->restricting = restricting && gate->known;
	list_remove(&gate->link);
	if (!gate->known && gate != &gates->others)
		list_append(&gates->leaving, &gate->link);
	else if (restricting || gate->waiting)
		list_append(&gates->watched, &gate->link);
}

/* ---- accounts ---- */

static struct gate *find(struct gate *const *by_sid, size_t count, const char *sid)
{
	size_t low = 0;
	for (size_t high = count; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcasecmp(by_sid[middle]->account.text, sid);
		if (order == 0)
			return by_sid[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct gate *gates_find(struct gates *gates, const struct sid *account_sid)
{
	if (!sid_is_set(account_sid))
		return gates->first;
	struct gate *gate = find(gates->by_sid, gates->count, account_sid->text);
	return gate != NULL ? gate : &gates->others;
}

static void free_gate(struct gates *gates, struct gate *gate)
{
	list_remove(&gate->link);
	gates->held -= gate->held;
	free(gate);
}

void gates_let_go(struct gates *gates, struct gate *gate)
{
	bool leaving = gate != &gates->others && !gate->known;
	if (leaving && gate->queued + gate->running == 0)
		free_gate(gates, gate);
}

/* Gates of these accounts, those that there were among them. NULL when out of memory. */
static struct gate **build(const struct gates *gates, const struct sid *sids, size_t count)
{
	struct gate **built = calloc(count + 1, sizeof(struct gate *));
	bool complete = built != NULL;
	for (size_t i = 0; complete && i < count; i++) {
		built[i] = find(gates->by_sid, gates->count, sids[i].text);
		if (built[i] != NULL)
			continue;
		built[i] = malloc(sizeof(struct gate));
		complete = built[i] != NULL;
		if (complete)
			gate_init(gates, built[i], &sids[i]);
	}
	if (complete)
		return built;
	for (size_t i = 0; built != NULL && i < count; i++) {
		if (built[i] != NULL && !built[i]->known)
			free(built[i]);
	}
	free(built);
	return NULL;
}

static void renew(struct gates *gates, struct gate *gate, bool known, int64_t now_ms)
{
	gate->known = known;
	gate->waiting = known;
	breaker_hurry(&gate->breaker, now_ms);
	review(gates, gate);
}

static void leave(struct gates *gates, struct gate *gate)
{
	gate->known = false;
	gate->waiting = false;
	review(gates, gate);
	gates_let_go(gates, gate);
}

int gates_set_accounts(struct gates *gates, const struct twilio_accounts *accounts, int64_t now_ms)
{
	size_t count;
	struct sid *sids = twilio_accounts_sids(accounts, &count);
	struct gate **built = sids == NULL ? NULL : build(gates, sids, count);
	free(sids);
	if (built == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < gates->count; i++) {
		if (find(built, count, gates->by_sid[i]->account.text) == NULL)
			leave(gates, gates->by_sid[i]);
	}
	free(gates->by_sid);
	gates->by_sid = built;
	gates->count = count;
	for (size_t i = 0; i < count; i++)
		renew(gates, built[i], true, now_ms);
	/* Recordings of accounts that nothing is known of end as what they are: they say nothing about the others. */
	renew(gates, &gates->others, count == 0 || twilio_accounts_count(accounts) > count, now_ms);
	struct gate *first = find(built, count, twilio_accounts_first(accounts));
	gates->first = first != NULL ? first : &gates->others;
	return 0;
}

const char *gate_name(const struct gate *gate)
{
	return sid_is_set(&gate->account) ? gate->account.text : "other accounts";
}

/* ---- who may pass ---- */

/* How many more jobs are worth having here. */
static size_t gate_room(const struct gate *gate, int64_t now_ms)
{
	size_t jobs = gate->queued + gate->running;
	size_t permits = breaker_permits(&gate->breaker, now_ms);
	if (permits <= 1)
		return permits == 1 && gate->queued == 0 ? 1 : 0;
	return jobs < 2 * gate->limit.current ? 2 * gate->limit.current - jobs : 0;
}

enum gate_verdict gate_verdict(const struct gate *gate, int64_t now_ms)
{
	size_t permits = breaker_permits(&gate->breaker, now_ms);
	if (permits <= 1)
		return permits == 1 ? GATE_ADMITS : GATE_REFUSES;
	if (gate->running < gate->limit.current)
		return GATE_ADMITS;
	bool restricting = gate->limit.current < gate->limit.max;
	return restricting && gate->queued + gate->running > 2 * gate->limit.current ? GATE_REFUSES : GATE_QUEUES;
}

/* ---- what was learned ---- */

enum gate_change gates_refused(struct gates *gates, struct gate *gate, struct gate_refusal refusal, int64_t now_ms,
			       uint64_t random)
{
	bool throttled = refusal.code == ERR_HTTP_THROTTLED;
	bool at_one = gate->limit.current == 1;
	bool cut = throttled && limit_throttled(&gate->limit, now_ms);
	gate->reason = refusal.code;
	/* Fewer at once is the answer to 429, as long as there can be fewer. */
	bool held = (!throttled || at_one) && breaker_failed(&gate->breaker, refusal.code, 0, now_ms, random);
	if (gate->breaker.state == BREAKER_OPEN) {
		int64_t most = gates->breaker.max_ms;
		int64_t asked = now_ms + (refusal.retry_after_ms < most ? refusal.retry_after_ms : most);
		gate->breaker.probe_at_ms = gate->breaker.probe_at_ms < asked ? asked : gate->breaker.probe_at_ms;
	}
	gate->waiting = gate->waiting || held; /* those that were refused before it was clear that it is not their time */
	review(gates, gate);
	return held ? GATE_HELD : cut && !at_one ? GATE_THROTTLED : GATE_AS_BEFORE;
}

enum gate_change gates_accepted(struct gates *gates, struct gate *gate)
{
	bool released = breaker_succeeded(&gate->breaker);
	if (released)
		review(gates, gate);
	return released ? GATE_RELEASED : GATE_AS_BEFORE;
}

void gates_moved(struct gates *gates, struct gate *gate)
{
	bool restricted = gate->limit.current < gate->limit.max;
	limit_succeeded(&gate->limit);
	if (restricted)
		review(gates, gate);
}

void gates_set_waiting(struct gates *gates, struct gate *gate, bool waiting)
{
	gate->waiting = waiting;
	review(gates, gate);
}

/* ---- all together ---- */

static bool all_restrict(const struct gates *gates)
{
	return gates->restricting == gates->count + gates->others.known;
}

size_t gates_limit(const struct gates *gates)
{
	size_t limit = 0;
	if (!all_restrict(gates))
		return SIZE_MAX;
	for (const struct list *link = gates->watched.next; link != &gates->watched; link = link->next) {
		const struct gate *gate = LIST_ENTRY(link, const struct gate, link);
		if (gate->restricting)
			limit += gate->held ? 1 : gate->limit.current;
	}
	return limit;
}

size_t gates_room(const struct gates *gates, int64_t now_ms)
{
	size_t room = 0;
	if (!all_restrict(gates))
		return SIZE_MAX;
	for (const struct list *link = gates->watched.next; link != &gates->watched; link = link->next) {
		const struct gate *gate = LIST_ENTRY(link, const struct gate, link);
		if (gate->restricting)
			room += gate_room(gate, now_ms);
	}
	return room;
}

struct gate *gates_hungry(struct gates *gates, int64_t now_ms, size_t *room)
{
	for (struct list *link = gates->watched.next; link != &gates->watched; link = link->next) {
		struct gate *gate = LIST_ENTRY(link, struct gate, link);
		*room = gate->waiting ? gate_room(gate, now_ms) : 0;
		if (*room > 0) {
			review(gates, gate); /* to the end: others come next */
			return gate;
		}
	}
	return NULL;
}

int64_t gates_next_probe_ms(const struct gates *gates, int64_t now_ms)
{
	int64_t next = INT64_MAX;
	for (const struct list *link = gates->watched.next; link != &gates->watched; link = link->next) {
		const struct breaker *breaker = &LIST_ENTRY(link, const struct gate, link)->breaker;
		if (breaker->state == BREAKER_OPEN && breaker->probe_at_ms > now_ms && breaker->probe_at_ms < next)
			next = breaker->probe_at_ms;
	}
	return next;
}
