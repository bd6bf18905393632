/* SPDX-License-Identifier: MIT */
/*
 * Twilio's refusals in words an operator can act on. Pure. Sources: Twilio's error dictionary
 * (https://www.twilio.com/docs/api/errors/CODE) and its page on the Recordings resource.
 */
#ifndef REELD_TWILIO_EXPLAIN_H
#define REELD_TWILIO_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What to look at when a request was refused with this HTTP status and code (0: none), or NULL. At most 110 bytes. It says what is
 * likely, since the answers themselves do not tell a suspended account from a changed token.
 */
const char *twilio_explain_refusal(long http_status, int64_t code);

/*
 * Does such an answer refuse the account that asked, whatever it asked for? 401; 403 in Twilio's words (without a code it may be a proxy's, or Twilio refusing
 * this machine); 429, since Twilio limits by concurrency of an account (error 20429).
 */
bool twilio_refuses_account(long http_status, int64_t code);

#endif
