/* SPDX-License-Identifier: MIT */
/*
 * The filter in this process: a 4-way set-associative table of recordings, keyed by the 16 bytes of the SID, and a ring for the URLs.
 *
 * A set that is full gives up an entry that nobody asked about since the last time it had to (second chance), any one if all were asked about.
 * The ring is written round and round; an entry holds the position that its URL was written at, counted from the start of
 * time, and knows by it whether the URL has been overwritten since. Then the recording is merely seen, not archived: still no false answer.
 */
#include "ledger/idempotency.h"

#include "base/check.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4
#define CACHE_LINE 64
#define URL_ROOM 192 /* bytes of ring per entry: what URLs take on average, at most */

struct entry {
	uint8_t key[16];
	uint64_t url_at;
	uint16_t url_len; /* 0: not archived */
	uint8_t seen;     /* bit per enum recording_status */
	bool used;
	bool asked;
};

struct local {
	struct idempotency base; /* first */
	struct entry *entries;
	char *ring;
	uint64_t ring_size;
	uint64_t ring_at; /* bytes ever written */
	size_t set_mask;
	uint64_t seed;
	uv_timer_t handle; /* never started: its closing is what makes `closed` come later */
	void (*closed)(void *data);
	void *closed_data;
};

/* SIDs are random already; the seed keeps a chosen set of them from meeting in one place. */
static struct entry *set_of(const struct local *local, const uint8_t key[16])
{
	uint64_t a;
	uint64_t b;
	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	uint64_t hash = (a ^ local->seed) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
	hash = (hash ^ (hash >> 32) ^ b) * 0x9e3779b97f4a7c15ULL;
	return &local->entries[((hash >> 32) & local->set_mask) * WAYS];
}

static struct entry *find(struct local *local, const struct sid *sid)
{
	uint8_t key[16];
	if (!sid_binary(sid, key))
		return NULL;
	struct entry *set = set_of(local, key);
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].used && memcmp(set[i].key, key, sizeof(key)) == 0)
			return &set[i];
	}
	return NULL;
}

static struct entry *make_room(struct entry *set)
{
	for (size_t i = 0; i < WAYS; i++) {
		if (!set[i].used)
			return &set[i];
	}
	struct entry *victim = &set[random_below(WAYS)];
	for (size_t i = 0; i < WAYS; i++) {
		if (!set[i].asked)
			victim = &set[i];
		set[i].asked = false;
	}
	return victim;
}

static struct entry *find_or_add(struct local *local, const struct sid *sid)
{
	struct entry *entry = find(local, sid);
	uint8_t key[16];
	if (entry != NULL || !sid_binary(sid, key))
		return entry;
	entry = make_room(set_of(local, key));
	*entry = (struct entry){.used = true};
	memcpy(entry->key, key, sizeof(key));
	return entry;
}

static bool url_is_there(const struct local *local, const struct entry *entry)
{
	return entry->url_len > 0 && local->ring_at - entry->url_at <= local->ring_size;
}

static void local_expect(const struct idempotency *filter, const struct sid *sid)
{
	const struct local *local = (const struct local *)filter;
	uint8_t key[16];
	if (!sid_binary(sid, key))
		return;
	const struct entry *set = set_of(local, key);
	for (size_t offset = 0; offset < WAYS * sizeof(*set); offset += CACHE_LINE)
		__builtin_prefetch((const char *)set + offset);
}

static void local_ask(struct idempotency *filter, struct idempotency_question *question, const struct sid *sid,
		      enum recording_status status)
{
	struct local *local = (struct local *)filter;
	struct entry *entry = find(local, sid);
	if (entry == NULL)
		return;
	entry->asked = true;
	if (url_is_there(local, entry)) {
		question->answer = IDEMPOTENCY_ARCHIVED;
		memcpy(question->url, local->ring + entry->url_at % local->ring_size, entry->url_len);
		question->url[entry->url_len] = '\0';
	} else if ((entry->seen & (1u << status)) != 0) {
		question->answer = IDEMPOTENCY_SEEN;
	}
}

static void local_set_seen(struct idempotency *filter, const struct sid *sid, enum recording_status status)
{
	/* Two words that we do not know are not the same word. */
	if (status == RECORDING_UNKNOWN)
		return;
	struct entry *entry = find_or_add((struct local *)filter, sid);
	if (entry != NULL)
		entry->seen |= (uint8_t)(1u << status);
}

static void local_set_archived(struct idempotency *filter, const struct sid *sid, const char *url)
{
	struct local *local = (struct local *)filter;
	size_t len = strlen(url);
	struct entry *entry = find_or_add(local, sid);
	if (entry == NULL)
		return;
	entry->seen |= 1u << RECORDING_COMPLETED;
	entry->url_len = 0;
	if (len == 0 || len >= IDEMPOTENCY_URL_SIZE || len > local->ring_size)
		return;
	/* In one piece: what does not fit before the end of the ring goes to its start. */
	uint64_t left = local->ring_size - local->ring_at % local->ring_size;
	if (len > left)
		local->ring_at += left;
	memcpy(local->ring + local->ring_at % local->ring_size, url, len);
	entry->url_at = local->ring_at;
	entry->url_len = (uint16_t)len;
	local->ring_at += len;
}

static void local_clear(struct idempotency *filter, const struct sid *sid)
{
	struct entry *entry = find((struct local *)filter, sid);
	if (entry != NULL)
		*entry = (struct entry){0};
}

static bool local_up(const struct idempotency *filter)
{
	(void)filter;
	return true;
}

static void handle_closed(uv_handle_t *handle)
{
	struct local *local = handle->data;
	void (*closed)(void *data) = local->closed;
	void *data = local->closed_data;
	free(local->entries);
	free(local->ring);
	free(local);
	closed(data);
}

static void local_close(struct idempotency *filter, void (*closed)(void *data), void *data)
{
	struct local *local = (struct local *)filter;
	local->closed = closed;
	local->closed_data = data;
	uv_close((uv_handle_t *)&local->handle, handle_closed);
}

static const struct idempotency_ops local_ops = {
	.kind = "local",
	.expect = local_expect,
	.ask = local_ask,
	.set_seen = local_set_seen,
	.set_archived = local_set_archived,
	.clear = local_clear,
	.up = local_up,
	.close = local_close,
};

struct idempotency *idempotency_local_new(uv_loop_t *loop, size_t entries)
{
	size_t rounded = WAYS;
	while (rounded < entries && rounded <= SIZE_MAX / (2 * URL_ROOM))
		rounded *= 2;
	struct local *local = calloc(1, sizeof(*local));
	if (local == NULL)
		return NULL;
	local->base.ops = &local_ops;
	local->set_mask = rounded / WAYS - 1;
	local->ring_size = (uint64_t)rounded * URL_ROOM;
	/* calloc of this size is fresh zero pages, which cost nothing until they are written. */
	local->entries = calloc(rounded, sizeof(*local->entries));
	local->ring = malloc(local->ring_size);
	if (local->entries == NULL || local->ring == NULL || uv_timer_init(loop, &local->handle) != 0) {
		free(local->entries);
		free(local->ring);
		free(local);
		return NULL;
	}
	local->handle.data = local;
	uv_unref((uv_handle_t *)&local->handle);
	random_bytes(&local->seed, sizeof(local->seed));
	return &local->base;
}
