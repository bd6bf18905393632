/* SPDX-License-Identifier: MIT */
#include "store/store_soon.h"

#include "base/check.h"

#include <stddef.h>

static void soon_flush(uv_idle_t *idle)
{
	struct store_soon *soon = CONTAINER_OF(idle, struct store_soon, idle);
	struct store_put *puts = soon->puts;
	struct store_request *requests = soon->requests;
	soon->puts = NULL;
	soon->requests = NULL;
	uv_idle_stop(idle);
	while (puts != NULL) {
		struct store_put *put = puts;
		puts = put->impl;
		put->impl = NULL;
		put->done(put, put->error.code);
	}
	while (requests != NULL) {
		struct store_request *request = requests;
		requests = request->impl;
		request->impl = NULL;
		request->done(request, request->error.code);
	}
	soon->flushed(soon->data);
}

void store_soon_init(struct store_soon *soon, uv_loop_t *loop, void (*flushed)(void *data), void *data)
{
	*soon = (struct store_soon){.flushed = flushed, .data = data};
	uv_idle_init(loop, &soon->idle); /* cannot fail */
}

void store_soon_put(struct store_soon *soon, struct store_put *put)
{
	put->impl = soon->puts;
	soon->puts = put;
	uv_idle_start(&soon->idle, soon_flush);
}

void store_soon_request(struct store_soon *soon, struct store_request *request)
{
	request->impl = soon->requests;
	soon->requests = request;
	uv_idle_start(&soon->idle, soon_flush);
}

bool store_soon_is_busy(const struct store_soon *soon)
{
	return soon->puts != NULL || soon->requests != NULL;
}
