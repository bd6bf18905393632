/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	const char *text;
	enum err_class class;
} err_table[ERR_ORDINAL_COUNT] = {
	[ERR_ORDINAL_OK] = {"ok", "success", ERR_CLASS_RETRY},
#define ERR(NAME, name, class, text) [ERR_ORDINAL_##NAME] = {name, text, ERR_CLASS_##class},
#include "base/err.def"
#undef ERR
};

static bool err_known(int code)
{
	return code <= 0 && -code < ERR_ORDINAL_COUNT;
}

const char *err_name(int code)
{
	return err_known(code) ? err_table[-code].name : "unknown";
}

const char *err_text(int code)
{
	return err_known(code) ? err_table[-code].text : "unknown error";
}

enum err_class err_class(int code)
{
	return err_known(code) ? err_table[-code].class : ERR_CLASS_RETRY;
}

int err_from_errno(int errnum)
{
	switch (errnum) {
	case 0:
		return 0;
	case ENOMEM:
		return ERR_NOMEM;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_NO_SPACE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_DENIED;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EINVAL:
		return ERR_INVALID;
	case ECANCELED:
		return ERR_CANCELLED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return ERR_RESET;
	case ECONNREFUSED:
	case ENETUNREACH:
	case EHOSTUNREACH:
		return ERR_CONNECT;
	default:
		return ERR_IO;
	}
}

int error_set(struct error *error, int code, const char *format, ...)
{
	if (error == NULL)
		return code;
	error->code = code;
	va_list args;
	va_start(args, format);
	int len = vsnprintf(error->detail, sizeof(error->detail), format, args);
	va_end(args);
	if (len < 0)
		error->detail[0] = '\0';
	/* What somebody else said is part of it, and it was cut. */
	utf8_repair(error->detail, strlen(error->detail));
	return code;
}
