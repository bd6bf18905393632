/* SPDX-License-Identifier: MIT */
/* Invariants. REQUIRE is always on: a broken one logs where and aborts, because going on could lose or double data. */
#ifndef REELD_BASE_CHECK_H
#define REELD_BASE_CHECK_H

#define REQUIRE(condition)                                            \
	do {                                                          \
		if (__builtin_expect(!(condition), 0))                \
			check_failed(#condition, __FILE__, __LINE__); \
	} while (0)

/* Writes the condition and its place to stderr and aborts. Async-signal-safe. */
_Noreturn void check_failed(const char *condition, const char *file, int line);

/* The struct that embeds `member` at address `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
