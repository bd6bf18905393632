/* SPDX-License-Identifier: MIT */
/*
 * Tickets: what opens one recording's audio for a while without the token, so that a player in a page can fetch and seek by itself. A ticket is
 * "expiry-mac": seconds since the epoch in hex, and an HMAC-SHA256 over SID and expiry under a random key of this process. Pure but for the key.
 */
#ifndef REELD_ADMIN_TICKET_H
#define REELD_ADMIN_TICKET_H

#include "base/sid.h"

#include <stdint.h>

#define TICKET_KEY_SIZE 32
#define TICKET_SIZE 96 /* with the NUL */
#define TICKET_VALID_S 600

struct ticket_key {
	uint8_t bytes[TICKET_KEY_SIZE];
};

void ticket_key_init(struct ticket_key *key);
/* 0 or ERR_IO (OpenSSL failed). */
int ticket_make(const struct ticket_key *key, const struct sid *sid, int64_t expires_s, char out[TICKET_SIZE]);
/* In constant time. False also when it has expired at `now_s`. */
bool ticket_holds(const struct ticket_key *key, const struct sid *sid, const char *ticket, int64_t now_s);

#endif
