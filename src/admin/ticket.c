/* SPDX-License-Identifier: MIT */
#include "admin/ticket.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hex.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#define MAC_SIZE 32

void ticket_key_init(struct ticket_key *key)
{
	random_bytes(key->bytes, sizeof(key->bytes));
}

int ticket_make(const struct ticket_key *key, const struct sid *sid, int64_t expires_s, char out[TICKET_SIZE])
{
	char text[SID_LEN + 32];
	uint8_t mac[MAC_SIZE];
	unsigned len = sizeof(mac);
	int text_len = snprintf(text, sizeof(text), "%s %" PRIx64, sid->text, (uint64_t)expires_s);
	if (HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes), (const unsigned char *)text, (size_t)text_len, mac, &len) ==
		    NULL ||
	    len != sizeof(mac))
		return ERR_IO;
	int head = snprintf(out, TICKET_SIZE, "%" PRIx64 "-", (uint64_t)expires_s);
	hex_encode(mac, sizeof(mac), out + head);
	return 0;
}

bool ticket_holds(const struct ticket_key *key, const struct sid *sid, const char *ticket, int64_t now_s)
{
	char expected[TICKET_SIZE];
	char *end;
	if (ticket[0] == '-' || ticket[0] == '+' || ticket[0] == ' ')
		return false;
	errno = 0;
	long long expires_s = strtoll(ticket, &end, 16);
	if (errno != 0 || *end != '-' || expires_s <= now_s || ticket_make(key, sid, expires_s, expected) != 0)
		return false;
	size_t len = strlen(expected);
	return strlen(ticket) == len && CRYPTO_memcmp(ticket, expected, len) == 0;
}
