/* SPDX-License-Identifier: MIT */
#include "store/aws_keys.h"

#include <openssl/crypto.h>

void aws_keys_wipe(struct aws_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
	keys->expires_ms = -1;
}

bool aws_keys_complete(const struct aws_keys *keys)
{
	return keys->access_key_id[0] != '\0' && keys->secret_access_key[0] != '\0';
}

bool aws_keys_set(char *out, size_t size, struct slice text)
{
	out[0] = '\0';
	if (text.len >= size)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
			return false;
	}
	if (text.len > 0)
		memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return true;
}
