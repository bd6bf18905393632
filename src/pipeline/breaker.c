/* SPDX-License-Identifier: MIT */
#include "pipeline/breaker.h"

#include "base/backoff.h"
#include "base/check.h"
#include "base/err.h"
#include "pipeline/retry.h"

#include <limits.h>

void breaker_init(struct breaker *breaker, const struct breaker_options *options)
{
	REQUIRE(options->threshold > 0);
	*breaker = (struct breaker){.options = *options};
}

bool breaker_counts(int code)
{
	switch (code) {
	case ERR_RESOLVE:
	case ERR_CONNECT:
	case ERR_TLS:
	case ERR_TIMEOUT:
	case ERR_RESET:
	case ERR_PROTOCOL:
	case ERR_HTTP_SERVER:
	case ERR_HTTP_UNAUTHORIZED:
	case ERR_HTTP_FORBIDDEN:
	case ERR_UNAVAILABLE:
	case ERR_NO_SPACE:
	case ERR_DENIED:
	case ERR_IO:
	case ERR_STORE:
	case ERR_LEDGER:
		return true;
	default:
		return false;
	}
}

static void breaker_open(struct breaker *breaker, int64_t now_ms, uint64_t random)
{
	int64_t interval = (int64_t)backoff_bound((uint64_t)breaker->options.base_ms, (uint64_t)breaker->options.max_ms,
						  breaker->opened);
	if (breaker->opened < UINT_MAX)
		breaker->opened++;
	breaker->state = BREAKER_OPEN;
	breaker->probe_at_ms = now_ms + retry_between(interval / 2, interval, random);
}

bool breaker_failed(struct breaker *breaker, int code, uint64_t subject, int64_t now_ms, uint64_t random)
{
	if (breaker->failures == 0)
		breaker->first_subject = subject;
	if (subject != breaker->first_subject || breaker->options.min_recordings < 2 || err_class(code) == ERR_CLASS_WAIT)
		breaker->certain = true;
	if (breaker->failures < UINT_MAX)
		breaker->failures++;

	if (breaker->state == BREAKER_PROBING) {
		breaker_open(breaker, now_ms, random);
		return false;
	}
	if (breaker->state == BREAKER_OPEN || breaker->failures < breaker->options.threshold)
		return false;
	if (!breaker->certain)
		return false;
	breaker_open(breaker, now_ms, random);
	return true;
}

bool breaker_succeeded(struct breaker *breaker)
{
	bool changed = breaker->state != BREAKER_CLOSED;
	breaker->state = BREAKER_CLOSED;
	breaker->failures = 0;
	breaker->certain = false;
	breaker->opened = 0;
	return changed;
}

size_t breaker_permits(const struct breaker *breaker, int64_t now_ms)
{
	if (breaker->state == BREAKER_CLOSED)
		return SIZE_MAX;
	return breaker->state == BREAKER_OPEN && now_ms >= breaker->probe_at_ms ? 1 : 0;
}

bool breaker_start(struct breaker *breaker, int64_t now_ms)
{
	if (breaker->state == BREAKER_CLOSED)
		return false;
	REQUIRE(breaker_permits(breaker, now_ms) == 1);
	breaker->state = BREAKER_PROBING;
	return true;
}

void breaker_probe_abandoned(struct breaker *breaker, int64_t now_ms)
{
	if (breaker->state != BREAKER_PROBING)
		return;
	breaker->state = BREAKER_OPEN;
	breaker->probe_at_ms = now_ms;
}

void breaker_hurry(struct breaker *breaker, int64_t now_ms)
{
	breaker->opened = 0;
	if (breaker->state == BREAKER_OPEN && breaker->probe_at_ms > now_ms)
		breaker->probe_at_ms = now_ms;
}

int64_t breaker_delay_ms(const struct breaker *breaker, int64_t now_ms)
{
	if (breaker->state == BREAKER_CLOSED)
		return 0;
	if (breaker->state == BREAKER_PROBING)
		return breaker->options.base_ms;
	return breaker->probe_at_ms > now_ms ? breaker->probe_at_ms - now_ms : 0;
}
