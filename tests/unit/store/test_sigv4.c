/* SPDX-License-Identifier: MIT */
#include <reeld/sigv4.h>

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char scratch[REELD_SIGV4_SCRATCH_SIZE];

/* Cases from the files */

struct sample {
	const char *source;
	const char *name;
	const char *token;
	int expires;
	struct reeld_sigv4_pair query[REELD_SIGV4_MAX_QUERY];
	struct reeld_sigv4_pair headers[REELD_SIGV4_MAX_HEADERS];
	struct reeld_sigv4_request request;
	json_t *header; /* expected: canonical request, string to sign, signature */
	json_t *presigned;
};

static size_t read_pairs(json_t *array, struct reeld_sigv4_pair *pairs)
{
	size_t i;
	json_t *pair;

	json_array_foreach(array, i, pair)
	{
		json_t *name = json_array_get(pair, 0);
		json_t *value = json_array_get(pair, 1);
		pairs[i] = (struct reeld_sigv4_pair){json_string_value(name), json_string_length(name), json_string_value(value),
						     json_string_length(value)};
	}
	return json_array_size(array);
}

static void read_sample(json_t *json, json_int_t now_ms, struct sample *sample)
{
	json_t *query, *headers;
	int token_unsigned, normalize, hash_header;
	struct reeld_sigv4_request *request = &sample->request;

	memset(sample, 0, sizeof(*sample));
	cr_assert_eq(json_unpack(json, "{s:s, s:s, s:s, s:s%, s:o, s:o, s:s%, s:s, s:b, s:b, s:b, s:i, s:o, s?o, s?s}", "source",
				 &sample->source, "name", &sample->name, "method", &request->method, "path", &request->path,
				 &request->path_len, "query", &query, "headers", &headers, "body", &request->body,
				 &request->body_len, "token", &sample->token, "token_unsigned", &token_unsigned, "normalize",
				 &normalize, "hash_header", &hash_header, "expires", &sample->expires, "header", &sample->header,
				 "presigned", &sample->presigned, "payload_hash", &request->payload_hash),
		     0);
	request->query = sample->query;
	request->query_count = read_pairs(query, sample->query);
	request->headers = sample->headers;
	request->header_count = read_pairs(headers, sample->headers);
	request->flags = (token_unsigned ? REELD_SIGV4_TOKEN_UNSIGNED : 0u) | (normalize ? REELD_SIGV4_NORMALIZE_PATH : 0u) |
			 (hash_header ? REELD_SIGV4_HASH_HEADER : 0u);
	request->now_ms = now_ms;
}

static void expect_signed(const struct sample *sample, const char *kind, json_t *expected, int status,
			  const struct reeld_sigv4_signed *out)
{
	cr_assert_eq(status, REELD_SIGV4_OK, "%s %s %s: %d", sample->source, sample->name, kind, status);
	cr_expect_str_eq(out->canonical_request, json_string_value(json_array_get(expected, 0)), "%s %s %s: %s", sample->source,
			 sample->name, kind, out->canonical_request);
	cr_expect_str_eq(out->string_to_sign, json_string_value(json_array_get(expected, 1)), "%s %s %s", sample->source,
			 sample->name, kind);
	cr_expect_str_eq(out->signature, json_string_value(json_array_get(expected, 2)), "%s %s %s", sample->source, sample->name,
			 kind);
}

/* Returns how many signatures were compared. */
static size_t check_file(const char *path)
{
	json_error_t error;
	json_t *file = json_load_file(path, 0, &error);
	const char *id, *secret, *region, *service;
	json_int_t now_ms;
	json_t *cases, *json;
	size_t index;
	size_t compared = 0;
	static struct sample sample;

	cr_assert_not_null(file, "%s: %s", path, error.text);
	cr_assert_eq(json_unpack(file, "{s:s, s:s, s:s, s:s, s:I, s:o}", "access_key_id", &id, "secret_access_key", &secret,
				 "region", &region, "service", &service, "now_ms", &now_ms, "cases", &cases),
		     0);
	json_array_foreach(cases, index, json)
	{
		struct reeld_sigv4_signed out;
		read_sample(json, now_ms, &sample);
		struct reeld_sigv4_credentials credentials = {id, secret, sample.token};
		struct reeld_sigv4_key *key = reeld_sigv4_key_new(&credentials, region, service);
		cr_assert_not_null(key);
		int status = reeld_sigv4_sign(key, &sample.request, scratch, sizeof(scratch), &out);
		expect_signed(&sample, "header", sample.header, status, &out);
		compared++;
		if (sample.presigned != NULL) {
			status = reeld_sigv4_presign(key, &sample.request, (unsigned)sample.expires, scratch, sizeof(scratch),
						     &out);
			expect_signed(&sample, "presigned", sample.presigned, status, &out);
			compared++;
		}
		reeld_sigv4_key_free(&key);
	}
	json_decref(file);
	return compared;
}

Test(sigv4, signs_every_published_case)
{
	cr_expect_eq(check_file(TEST_DATA_DIR "/sigv4/cases.json"), 110);
}
