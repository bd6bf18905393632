/* SPDX-License-Identifier: MIT */
#include "idempotency_factory.h"

struct idempotency *idempotency_factory_open(uv_loop_t *loop)
{
	return idempotency_local_new(loop, 65536);
}
