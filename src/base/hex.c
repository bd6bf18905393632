/* SPDX-License-Identifier: MIT */
#include "base/hex.h"

void hex_encode(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

/* The value of a hex digit and 1; 0 for any other byte. Every webhook has over a hundred of them. */
static const uint8_t hex_digit[256] = {
	['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
	['8'] = 9,  ['9'] = 10, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
	['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

bool hex_decode(struct slice text, uint8_t *out)
{
	bool bad = text.len % 2 != 0;
	for (size_t i = 0; i < text.len / 2; i++) {
		unsigned high = hex_digit[(uint8_t)text.ptr[2 * i]];
		unsigned low = hex_digit[(uint8_t)text.ptr[2 * i + 1]];
		bad |= high == 0 || low == 0;
		out[i] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	return !bad;
}

void base64_encode(const void *data, size_t len, char *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;
	for (; len > 0; p += 3) {
		uint32_t group = (uint32_t)p[0] << 16 | (len > 1 ? (uint32_t)p[1] << 8 : 0) | (len > 2 ? p[2] : 0);
		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 63];
		*out++ = len > 1 ? alphabet[group >> 6 & 63] : '=';
		*out++ = len > 2 ? alphabet[group & 63] : '=';
		len = len > 3 ? len - 3 : 0;
	}
	*out = '\0';
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

bool base64_decode(struct slice text, uint8_t *out, size_t *len)
{
	*len = 0;
	if (text.len % 4 != 0)
		return false;
	size_t written = 0;
	for (size_t i = 0; i < text.len; i += 4) {
		const char *c = text.ptr + i;
		bool last = i + 4 == text.len;
		int padding = !last || c[3] != '=' ? 0 : c[2] == '=' ? 2 : 1;
		uint32_t group = 0;
		for (int k = 0; k < 4 - padding; k++) {
			int value = base64_value(c[k]);
			if (value < 0)
				return false;
			group |= (uint32_t)value << (18 - 6 * k);
		}
		/* Bits behind the last byte must be zero: one value has one spelling. */
		if (padding > 0 && (group & (padding == 1 ? 0xFFU : 0xFFFFU)) != 0)
			return false;
		for (int k = 0; k < 3 - padding; k++)
			out[written++] = (uint8_t)(group >> (16 - 8 * k));
	}
	*len = written;
	return true;
}
