/* SPDX-License-Identifier: MIT */
#include "sandbox/faults.h"

#include "sandbox/random.h"

#include <stdlib.h>

enum fault_where { FAULT_AT_MEDIA, FAULT_AT_ANY, FAULT_AT_CALLBACK };

static const struct {
	const char *name;
	enum fault_where where;
} fault_defs[FAULT_COUNT] = {
#define FAULT_DEF(NAME, name, where) [FAULT_##NAME] = {name, FAULT_AT_##where},
	FAULTS(FAULT_DEF)
#undef FAULT_DEF
};

/* Keeps the draws of different questions apart. */
enum fault_salt { SALT_HIT = 0x100, SALT_CHOICE = 0x200, SALT_DUPLICATES = 0x300, SALT_LATE = 0x400, SALT_VARIANT = 0x500 };

const char *fault_name(enum fault fault)
{
	return fault >= 0 && fault < FAULT_COUNT ? fault_defs[fault].name : "none";
}

static enum fault fault_find(struct slice name)
{
	for (int i = 0; i < FAULT_COUNT; i++)
		if (slice_equal(name, slice_from_cstr(fault_defs[i].name)))
			return (enum fault)i;
	return FAULT_NONE;
}

static bool parse_rate(struct slice text, double *rate)
{
	char number[16];
	char *end;
	if (text.len == 0 || text.len >= sizeof(number))
		return false;
	memcpy(number, text.ptr, text.len);
	number[text.len] = '\0';
	if (strspn(number, "0123456789.") < text.len)
		return false;
	*rate = strtod(number, &end);
	return *end == '\0' && *rate >= 0 && *rate <= 1;
}

/* One "name[:RATE]"; names without a rate wait in `open` for the next one. */
static int parse_item(struct fault_plan *plan, bool open[FAULT_COUNT], struct slice item, struct error *error)
{
	const char *colon = memchr(item.ptr, ':', item.len);
	struct slice name = slice_make(item.ptr, colon == NULL ? item.len : (size_t)(colon - item.ptr));
	double rate;
	enum fault fault = fault_find(name);
	if (fault == FAULT_NONE)
		return error_set(error, ERR_INVALID,
				 "unknown fault '%.*s'; known: 404-first, 429, 500, reset, stall, slow, truncate, wrong-length, "
				 "xml-body, redirect, dup, reorder, lost, trunk",
				 SLICE_FMT(name));
	open[fault] = true;
	if (colon == NULL)
		return 0;
	if (!parse_rate(slice_make(colon + 1, item.len - name.len - 1), &rate))
		return error_set(error, ERR_INVALID, "bad rate in '%.*s'; it must be between 0 and 1, like 500:0.2",
				 SLICE_FMT(item));
	for (int i = 0; i < FAULT_COUNT; i++) {
		if (open[i])
			plan->rate[i] = rate;
		open[i] = false;
	}
	return 0;
}

int fault_plan_parse(struct fault_plan *plan, struct slice text, struct error *error)
{
	struct fault_plan parsed = {.attempts = plan->attempts};
	bool open[FAULT_COUNT] = {false};
	while (text.len > 0) {
		const char *comma = memchr(text.ptr, ',', text.len);
		size_t len = comma == NULL ? text.len : (size_t)(comma - text.ptr);
		if (len > 0) {
			int code = parse_item(&parsed, open, slice_make(text.ptr, len), error);
			if (code != 0)
				return code;
		}
		len += comma != NULL;
		text = slice_make(text.ptr + len, text.len - len);
	}
	for (int i = 0; i < FAULT_COUNT; i++)
		if (open[i])
			parsed.rate[i] = 1;
	*plan = parsed;
	return 0;
}

static uint64_t draw(uint64_t seed, uint64_t index, uint64_t question)
{
	return scramble3(seed, index, question);
}

static bool may_strike(enum fault fault, enum fault_request kind, unsigned attempt)
{
	if (fault == FAULT_404_FIRST)
		return kind == FAULT_REQUEST_MEDIA && attempt == 0;
	if (fault_defs[fault].where == FAULT_AT_MEDIA)
		return kind == FAULT_REQUEST_MEDIA;
	return fault_defs[fault].where == FAULT_AT_ANY;
}

enum fault fault_decide(const struct fault_plan *plan, uint64_t seed, uint64_t index, enum fault_request kind, unsigned attempt)
{
	enum fault hits[FAULT_COUNT];
	size_t count = 0;
	uint64_t place = ((uint64_t)attempt << 16) | ((uint64_t)kind << 12);

	if (plan->attempts != 0 && attempt >= plan->attempts)
		return FAULT_NONE;
	for (int i = 0; i < FAULT_COUNT; i++) {
		enum fault fault = (enum fault)i;
		if (plan->rate[i] <= 0 || !may_strike(fault, kind, attempt))
			continue;
		if (scramble_unit(draw(seed, index, place | SALT_HIT | (uint64_t)i)) < plan->rate[i])
			hits[count++] = fault;
	}
	return count == 0 ? FAULT_NONE : hits[draw(seed, index, place | SALT_CHOICE) % count];
}

unsigned fault_duplicates(const struct fault_plan *plan, uint64_t seed, uint64_t index)
{
	uint64_t value = draw(seed, index, SALT_DUPLICATES);
	if (plan->rate[FAULT_DUP] <= 0 || scramble_unit(value) >= plan->rate[FAULT_DUP])
		return 0;
	return 1 + (unsigned)(scramble(value) % 3);
}

bool fault_duplicate_late(uint64_t seed, uint64_t index, unsigned copy)
{
	return (draw(seed, index, SALT_LATE | copy) & 1) != 0;
}

static bool strikes(const struct fault_plan *plan, uint64_t seed, uint64_t index, enum fault fault)
{
	return plan->rate[fault] > 0 && scramble_unit(draw(seed, index, SALT_HIT | (uint64_t)fault)) < plan->rate[fault];
}

bool fault_reordered(const struct fault_plan *plan, uint64_t seed, uint64_t index)
{
	return strikes(plan, seed, index, FAULT_REORDER);
}

bool fault_lost(const struct fault_plan *plan, uint64_t seed, uint64_t index)
{
	return strikes(plan, seed, index, FAULT_LOST);
}

bool fault_trunk(const struct fault_plan *plan, uint64_t seed, uint64_t index)
{
	return strikes(plan, seed, index, FAULT_TRUNK);
}

bool fault_variant(uint64_t seed, uint64_t index, unsigned attempt)
{
	return (draw(seed, index, ((uint64_t)attempt << 16) | SALT_VARIANT) & 1) != 0;
}
