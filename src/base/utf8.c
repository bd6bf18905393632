/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

size_t utf8_char(struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	unsigned char lead = p[0];
	size_t need;
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	if (lead < 0x80)
		return 1;
	if (lead >= 0xC2 && lead <= 0xDF) {
		need = 2;
	} else if (lead >= 0xE0 && lead <= 0xEF) {
		need = 3;
		low = lead == 0xE0 ? 0xA0 : low;
		high = lead == 0xED ? 0x9F : high;
	} else if (lead >= 0xF0 && lead <= 0xF4) {
		need = 4;
		low = lead == 0xF0 ? 0x90 : low;
		high = lead == 0xF4 ? 0x8F : high;
	} else {
		return 0;
	}
	if (s.len < need || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++) {
		if (p[i] < 0x80 || p[i] > 0xBF)
			return 0;
	}
	return need;
}

void utf8_repair(char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t size = utf8_char(slice_make(text + i, len - i));
		if (size == 0)
			text[i] = '?';
		i += size > 0 ? size : 1;
	}
}
