/* SPDX-License-Identifier: MIT */
#include "base/sid.h"

#include "base/hex.h"

bool sid_parse(struct slice s, const char prefix[2], struct sid *sid)
{
	sid->text[0] = '\0';
	if (s.len != SID_LEN || s.ptr[0] != prefix[0] || s.ptr[1] != prefix[1])
		return false;
	uint8_t binary[16];
	if (!hex_decode(slice_make(s.ptr + 2, 32), binary))
		return false;
	memcpy(sid->text, s.ptr, SID_LEN);
	sid->text[SID_LEN] = '\0';
	return true;
}

bool sid_binary(const struct sid *sid, uint8_t out[16])
{
	return sid_is_set(sid) && hex_decode(slice_make(sid->text + 2, 32), out);
}
