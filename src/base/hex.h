/* SPDX-License-Identifier: MIT */
/* Hexadecimal and Base64 (RFC 4648, the standard alphabet with padding). Pure. */
#ifndef REELD_BASE_HEX_H
#define REELD_BASE_HEX_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * len lower-case digits and a NUL. */
void hex_encode(const void *data, size_t len, char *out);
/* Writes text.len / 2 bytes. False (out may be partly written) when the length is odd or a character is no hex digit. */
bool hex_decode(struct slice text, uint8_t *out);

/* Characters of the Base64 form of len bytes, without NUL. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)
/* Most bytes that `len` Base64 characters can hold. */
#define BASE64_DECODED_MAX(len) ((len) / 4 * 3)

/* Writes BASE64_LEN(len) characters and a NUL. */
void base64_encode(const void *data, size_t len, char *out);
/* Strict: padding required, no white space, unused bits zero. Writes at most BASE64_DECODED_MAX(text.len) bytes; *len is what was written. */
bool base64_decode(struct slice text, uint8_t *out, size_t *len);

#endif
