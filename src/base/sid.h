/* SPDX-License-Identifier: MIT */
/* Twilio SIDs: two capital letters and 32 hex digits (Twilio OpenAPI, ^RE[0-9a-fA-F]{32}$). */
#ifndef REELD_BASE_SID_H
#define REELD_BASE_SID_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define SID_LEN 34

/* A SID with its NUL, or "" for none. Case is kept as received. */
struct sid {
	char text[SID_LEN + 1];
};

/* True and fills *sid when s is `prefix` ("RE") and 32 hex digits; else false and *sid is "". */
bool sid_parse(struct slice s, const char prefix[2], struct sid *sid);
static inline bool sid_is_set(const struct sid *sid)
{
	return sid->text[0] != '\0';
}
/* The 16 bytes of the hex part: a compact key. False for "". */
bool sid_binary(const struct sid *sid, uint8_t out[16]);

#endif
