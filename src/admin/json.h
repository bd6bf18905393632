/* SPDX-License-Identifier: MIT */
/* What the API says about recordings and calls, as JSON (docs/api.md). Appended to a buffer, whose `failed` says whether it fitted. Pure. */
#ifndef REELD_ADMIN_JSON_H
#define REELD_ADMIN_JSON_H

#include "base/buffer.h"
#include "ledger/ledger.h"

/* "name":"text", ; "" is null. */
void json_text(struct buffer *out, const char *name, const char *text);
/* "name":"2026-11-26T08:30:00.123Z", ; -1 is null. */
void json_time(struct buffer *out, const char *name, int64_t ms);
/* Closes the object: the brace takes the place of the comma behind its last member. */
void json_end(struct buffer *out);
/* "name":number, ; null_value is null. */
void json_number(struct buffer *out, const char *name, int64_t value, int64_t null_value);

/* The members of a recording's object, without braces and without a comma behind the last. */
void json_recording(struct buffer *out, const struct ledger_recording *recording);
/* The members of a call's object; the caller's number is masked but for the last four digits. */
void json_call(struct buffer *out, const struct ledger_call_row *call);
/* The object of /api/stats. */
void json_stats(struct buffer *out, const struct ledger_stats *stats);

#endif
