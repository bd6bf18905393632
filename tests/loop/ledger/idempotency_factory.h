/* SPDX-License-Identifier: MIT */
/* What the suite of the idempotency filters needs of one. */
#ifndef REELD_TESTS_LOOP_LEDGER_IDEMPOTENCY_FACTORY_H
#define REELD_TESTS_LOOP_LEDGER_IDEMPOTENCY_FACTORY_H

#include "ledger/idempotency.h"

/* An empty one that is up. */
struct idempotency *idempotency_factory_open(uv_loop_t *loop);

#endif
