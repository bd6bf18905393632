/* SPDX-License-Identifier: MIT */
#include "adapters/redis_internal.h"

bool redis_error_is(struct slice text, struct slice word)
{
	return slice_starts_with(text, word) && (text.len == word.len || text.ptr[word.len] == ' ');
}

bool redis_error_passes(struct slice text)
{
	return redis_error_is(text, SLICE("LOADING")) || redis_error_is(text, SLICE("MASTERDOWN")) ||
	       redis_error_is(text, SLICE("BUSY")) || redis_error_is(text, SLICE("TRYAGAIN")) ||
	       (redis_error_is(text, SLICE("ERR")) && memmem(text.ptr, text.len, "max number of clients", 21) != NULL);
}

const char *redis_error_word(struct slice text)
{
	static const char *const words[] = {"ERR", "WRONGPASS", "NOAUTH", "NOPERM", "LOADING", "MASTERDOWN", "BUSY"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (redis_error_is(text, slice_from_cstr(words[i])))
			return words[i];
	}
	return "an error";
}
