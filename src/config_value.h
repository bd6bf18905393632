/* SPDX-License-Identifier: MIT */
/* The forms that configuration values take. Pure: text in, value out. Each parser takes the whole text or nothing. */
#ifndef REELD_CONFIG_VALUE_H
#define REELD_CONFIG_VALUE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* "500ms" "10s" "5m" "2h" "7d" in milliseconds; the unit is required. At most INT64_MAX / 2. */
bool config_parse_duration(struct slice text, int64_t *ms);
/* "65536" "64KiB" "8MiB" "4GiB" "1TiB" in bytes. */
bool config_parse_size(struct slice text, uint64_t *bytes);
/* Decimal digits. */
bool config_parse_count(struct slice text, uint64_t *count);

/* Where `text` stands in "a|b|c", or -1. */
int config_parse_choice(struct slice text, const char *choices);

/* "host:port" or "[IPv6]:port", port 0 to 65535. *host is without brackets. */
bool config_parse_address(struct slice text, struct slice *host, uint16_t *port);
/* True for localhost, 127.0.0.0/8 and ::1. */
bool config_host_is_loopback(struct slice host);

/* Comma list of addresses with or without a prefix length; not empty. */
bool config_cidrs_valid(struct slice text);
/* http:// or https://, a host, no user, query or fragment, no white space. */
bool config_url_valid(struct slice text);
/* UTF-8 that XML can hold and Twilio can say, at most 4096 bytes. */
bool config_speech_valid(struct slice text);
/* A URL that Twilio can stream to: wss://, a host, no user, query or fragment; at most 2048 bytes. */
bool config_stream_valid(struct slice text);
/* Comma list without an empty entry: an empty token would be a key that everybody knows. */
bool config_tokens_valid(struct slice text);
/* Printable ASCII without blanks. What goes into a header or a line must not begin another one. */
bool config_is_graphic(struct slice text);
/* Start of a storage key: relative, of characters that need no escape, no empty, "." or ".." part. */
bool config_prefix_valid(struct slice text);

#endif
