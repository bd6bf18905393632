/* SPDX-License-Identifier: MIT */
#include "pipeline/hasher.h"

#include "base/check.h"

/* Pool thread. */
static void batch_work(uv_work_t *work)
{
	struct hasher_batch *batch = CONTAINER_OF(work, struct hasher_batch, work);
	struct crypto_digest_input inputs[CRYPTO_DIGEST_LANES];
	struct hasher_item *hashed[CRYPTO_DIGEST_LANES];
	size_t count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct hasher_item *item = batch->items[i];
		item->status = item->decrypt == NULL ? 0 : decrypt_chunk(item->decrypt, item->bytes, item->len, &item->error);
		if (item->status != 0)
			continue;
		hashed[count] = item;
		inputs[count++] = (struct crypto_digest_input){.digest = item->digest, .bytes = item->bytes, .len = *item->len};
	}
	crypto_digest_update_many(inputs, count);
	for (size_t i = 0; i < count; i++)
		hashed[i]->status = inputs[i].status;
}

static void batch_done(uv_work_t *work, int status)
{
	struct hasher_batch *batch = CONTAINER_OF(work, struct hasher_batch, work);
	struct hasher *hasher = batch->hasher;
	struct hasher_item *items[CRYPTO_DIGEST_LANES];
	size_t count = batch->count;
	(void)status; /* never cancelled */
	for (size_t i = 0; i < count; i++)
		items[i] = batch->items[i];
	batch->count = 0;
	if (!list_empty(&hasher->waiting))
		soon_add(hasher->soon, &hasher->turn);
	for (size_t i = 0; i < count; i++)
		items[i]->done(items[i], items[i]->status);
}

static void start_batch(struct hasher_batch *batch)
{
	struct list *link;
	while (batch->count < CRYPTO_DIGEST_LANES && (link = list_take(&batch->hasher->waiting)) != NULL)
		batch->items[batch->count++] = LIST_ENTRY(link, struct hasher_item, link);
	int rc = uv_queue_work(batch->hasher->loop, &batch->work, batch_work, batch_done);
	REQUIRE(rc == 0);
}

static void on_turn(struct soon_item *turn)
{
	struct hasher *hasher = CONTAINER_OF(turn, struct hasher, turn);
	for (size_t i = 0; i < hasher->batches_max && !list_empty(&hasher->waiting); i++) {
		if (hasher->batches[i].count == 0)
			start_batch(&hasher->batches[i]);
	}
}

void hasher_init(struct hasher *hasher, uv_loop_t *loop, struct soon *soon)
{
	unsigned cores = uv_available_parallelism();
	*hasher = (struct hasher){.loop = loop, .soon = soon, .batches_max = cores < HASHER_BATCHES ? cores : HASHER_BATCHES};
	list_init(&hasher->waiting);
	soon_item_init(&hasher->turn, on_turn);
	for (size_t i = 0; i < HASHER_BATCHES; i++)
		hasher->batches[i].hasher = hasher;
}

void hasher_close(struct hasher *hasher)
{
	REQUIRE(list_empty(&hasher->waiting));
	for (size_t i = 0; i < HASHER_BATCHES; i++)
		REQUIRE(hasher->batches[i].count == 0);
	soon_cancel(&hasher->turn);
}

void hasher_add(struct hasher *hasher, struct hasher_item *item)
{
	item->error = (struct error){0};
	list_init(&item->link);
	list_append(&hasher->waiting, &item->link);
	soon_add(hasher->soon, &hasher->turn);
}

bool hasher_cancel(struct hasher_item *item)
{
	/* In a batch it is in no list. */
	if (list_empty(&item->link))
		return false;
	list_remove(&item->link);
	return true;
}
