/* SPDX-License-Identifier: MIT */
/*
 * Errors are values: 0 or a negative enum err. Where a message helps an operator, `struct error` carries it along
 * (what failed, with which input, what to do); it never holds a secret or a full phone number.
 */
#ifndef REELD_BASE_ERR_H
#define REELD_BASE_ERR_H

#include <stddef.h>

enum err_class { ERR_CLASS_RETRY, ERR_CLASS_WAIT, ERR_CLASS_PERMANENT };

enum err_ordinal {
	ERR_ORDINAL_OK,
#define ERR(NAME, name, class, text) ERR_ORDINAL_##NAME,
#include "base/err.def"
#undef ERR
	ERR_ORDINAL_COUNT
};

enum err {
	ERR_OK = 0,
#define ERR(NAME, name, class, text) ERR_##NAME = -ERR_ORDINAL_##NAME,
#include "base/err.def"
#undef ERR
};

struct error {
	int code; /* enum err; 0 when none is set */
	char detail[256];
};

/* "media_not_ready": lower-case name, the value of `reason` in logs and metrics. "ok" for 0, "unknown" for a stranger. */
const char *err_name(int code);
/* Text for people. */
const char *err_text(int code);
enum err_class err_class(int code);

/* The code for an errno (ENOSPC, EDQUOT → NO_SPACE; EACCES, EPERM, EROFS → DENIED; ENOENT → NOT_FOUND; …; else IO). */
int err_from_errno(int errnum);

/* Sets code and a formatted detail (cut to fit, made valid UTF-8). Returns code, so `return error_set(…)` works. `error` may be NULL. */
int error_set(struct error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
