/* SPDX-License-Identifier: MIT */
#include "pipeline/chunk_pool.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

static char *pop(struct chunk_pool *pool)
{
	char *chunk = pool->spare;
	memcpy(&pool->spare, chunk, sizeof(pool->spare));
	pool->spare_count--;
	return chunk;
}

void chunk_pool_init(struct chunk_pool *pool, size_t chunk_size)
{
	REQUIRE(chunk_size >= sizeof(pool->spare));
	*pool = (struct chunk_pool){.chunk_size = chunk_size};
}

void chunk_pool_free(struct chunk_pool *pool)
{
	REQUIRE(pool->in_use == 0);
	while (pool->spare_count > 0)
		free(pop(pool));
}

char *chunk_pool_take(struct chunk_pool *pool)
{
	char *chunk = pool->spare_count > 0 ? pop(pool) : malloc(pool->chunk_size);
	if (chunk != NULL)
		pool->in_use++;
	return chunk;
}

void chunk_pool_give(struct chunk_pool *pool, char *chunk)
{
	REQUIRE(pool->in_use > 0);
	pool->in_use--;
	memcpy(chunk, &pool->spare, sizeof(pool->spare));
	pool->spare = chunk;
	pool->spare_count++;
	while (pool->in_use == 0 && pool->spare_count > CHUNK_POOL_IDLE)
		free(pop(pool));
}
