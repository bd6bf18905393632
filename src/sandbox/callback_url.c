/* SPDX-License-Identifier: MIT */
#include "sandbox/callback_url.h"

#include <stdio.h>
#include <string.h>

enum policy { POLICY_4XX = 1, POLICY_5XX = 2, POLICY_NO_ANSWER = 4, POLICY_ALL = 7 };

static const struct {
	struct slice word;
	unsigned policies;
} policy_words[] = {
	{{"4xx", 3}, POLICY_4XX},      {{"5xx", 3}, POLICY_5XX}, {{"ct", 2}, POLICY_NO_ANSWER},
	{{"rt", 2}, POLICY_NO_ANSWER}, {{"all", 3}, POLICY_ALL},
};

static unsigned policies_of(struct slice words)
{
	unsigned policies = 0;
	for (size_t at = 0; at < words.len;) {
		const char *comma = memchr(words.ptr + at, ',', words.len - at);
		size_t end = comma == NULL ? words.len : (size_t)(comma - words.ptr);
		for (size_t i = 0; i < sizeof(policy_words) / sizeof(policy_words[0]); i++)
			if (slice_equal(slice_make(words.ptr + at, end - at), policy_words[i].word))
				policies |= policy_words[i].policies;
		at = end + 1;
	}
	return policies;
}

/* "rc=5&rp=all"; what is not understood is left alone, as Twilio does. */
static void take_overrides(struct callback_url *url, const char *fragment)
{
	url->policies = POLICY_NO_ANSWER;
	while (*fragment != '\0') {
		size_t len = strcspn(fragment, "&");
		struct slice item = slice_make(fragment, len);
		if (len == 4 && slice_starts_with(item, SLICE("rc=")) && item.ptr[3] >= '0' &&
		    item.ptr[3] <= '0' + CALLBACK_URL_RETRIES)
			url->retries = (unsigned)(item.ptr[3] - '0');
		else if (slice_starts_with(item, SLICE("rp=")))
			url->policies = policies_of(slice_make(item.ptr + 3, len - 3));
		fragment += len + (fragment[len] == '&');
	}
}

static bool is_absolute(const char *url)
{
	return strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0;
}

int callback_url_resolve(struct callback_url *ret, const char *reference, const struct callback_url *base, struct error *error)
{
	struct callback_url url = {0};
	size_t len = strcspn(reference, "#");
	size_t origin = 0;
	if (reference[0] == '/' && reference[1] != '/' && base != NULL) {
		const char *host = strstr(base->text, "://") + strlen("://");
		origin = (size_t)(host - base->text) + strcspn(host, "/?");
	} else if (!is_absolute(reference)) {
		return error_set(error, ERR_INVALID,
				 "callbacks need a target URL, like http://127.0.0.1:8080/api/twilio/recording");
	}
	if (origin + len >= sizeof(url.text))
		return error_set(error, ERR_LIMIT, "the target URL is longer than %zu bytes", sizeof(url.text) - 1);
	if (origin > 0)
		memcpy(url.text, base->text, origin);
	memcpy(url.text + origin, reference, len);
	if (reference[len] == '#')
		take_overrides(&url, reference + len + 1);
	*ret = url;
	return 0;
}

int callback_url_parse(struct callback_url *ret, const char *url, struct error *error)
{
	return callback_url_resolve(ret, url == NULL ? "" : url, NULL, error);
}

void callback_url_retry_all(struct callback_url *url)
{
	url->retries = CALLBACK_URL_RETRIES;
	url->policies = POLICY_ALL;
}

bool callback_url_replace_end(struct callback_url *url, struct slice from, struct slice to)
{
	size_t len = strlen(url->text);
	if (len < from.len || memcmp(url->text + len - from.len, from.ptr, from.len) != 0 ||
	    len - from.len + to.len >= sizeof(url->text))
		return false;
	snprintf(url->text + len - from.len, sizeof(url->text) - (len - from.len), "%.*s", SLICE_FMT(to));
	return true;
}

bool callback_url_tries_again(const struct callback_url *url, unsigned tries, long status)
{
	unsigned policy = status == 0 ? POLICY_NO_ANSWER : status >= 500 ? POLICY_5XX : status >= 400 ? POLICY_4XX : 0;
	return tries < url->retries && (url->policies & policy) != 0;
}
