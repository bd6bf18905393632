/* SPDX-License-Identifier: MIT */
/*
 * A URL that callbacks are sent to. Its fragment has Twilio's connection overrides: rc, how many further tries there are, and rp, after what. It is neither sent
 * nor signed. Without it a callback is tried once. Pure.
 * Source: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
 */
#ifndef REELD_SANDBOX_CALLBACK_URL_H
#define REELD_SANDBOX_CALLBACK_URL_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

#define CALLBACK_URL_SIZE 1024
/* Twilio's most for rc. */
#define CALLBACK_URL_RETRIES 5

struct callback_url {
	char text[CALLBACK_URL_SIZE]; /* without fragment; "": none */
	unsigned retries;
	unsigned policies; /* of rp; private */
};

/* `url`: absolute, http or https, with or without fragment. 0, or ERR_INVALID or ERR_LIMIT with a message and *ret unchanged. */
int callback_url_parse(struct callback_url *ret, const char *url, struct error *error);
/* The same for what a document from `base` names, which may also be a path ("/callback#rc=5"). */
int callback_url_resolve(struct callback_url *ret, const char *reference, const struct callback_url *base, struct error *error);
/* As if its fragment were #rc=5&rp=all. */
void callback_url_retry_all(struct callback_url *url);
/* Replaces the end of the path: false, and nothing changed, when `text` does not end in `from` or the new one does not fit. */
bool callback_url_replace_end(struct callback_url *url, struct slice from, struct slice to);

/* Whether try number `tries` (from 0) that ended with this status (0: no answer) is followed by another. */
bool callback_url_tries_again(const struct callback_url *url, unsigned tries, long status);

#endif
