/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#ifndef REELD_BASE_UTF8_H
#define REELD_BASE_UTF8_H

#include "base/slice.h"

/* Bytes of the character at the start of `s`, which must not be empty; 0: it is none. */
size_t utf8_char(struct slice s);
/* Every byte that belongs to no character becomes '?', also those of one that was cut at the end. */
void utf8_repair(char *text, size_t len);

#endif
