/* SPDX-License-Identifier: MIT */
#include "base/check.h"
#include "base/turn.h"
#include "idempotency_factory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One server for all tests: each has a prefix of its own. */
struct idempotency *idempotency_factory_open(uv_loop_t *loop)
{
	static unsigned opened;
	struct idempotency *filter;
	struct error error;
	char prefix[64];
	signal(SIGPIPE, SIG_IGN);
	snprintf(prefix, sizeof(prefix), "test%d-%u:", (int)getpid(), opened++);
	const struct idempotency_redis_options options = {.url = getenv("REELD_TEST_REDIS_URL"), .prefix = prefix};
	REQUIRE(options.url != NULL && idempotency_redis_open(&filter, loop, &options, &error) == 0);
	while (!idempotency_up(filter))
		turn_run(loop);
	return filter;
}
