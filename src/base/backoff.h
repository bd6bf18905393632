/* SPDX-License-Identifier: MIT */
/* How long to wait after a failure: pauses that double up to a bound. Any unit of time. Thread-safe. */
#ifndef REELD_BASE_BACKOFF_H
#define REELD_BASE_BACKOFF_H

#include <stdint.h>

/* min(most, first * 2^doublings), without overflow. Pure. */
uint64_t backoff_bound(uint64_t first, uint64_t most, unsigned doublings);
/* Full jitter: by chance from 1 up to that bound, so that those that failed together do not come back together. */
uint64_t backoff_full_jitter(uint64_t first, uint64_t most, unsigned doublings);

#endif
