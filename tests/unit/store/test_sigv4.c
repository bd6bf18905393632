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
	const char *sent;
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
	cr_assert_eq(json_unpack(json, "{s:s, s:s, s:s, s:s%, s:o, s:o, s:s%, s:s, s:b, s:b, s:b, s:i, s:o, s?o, s?s, s?s}",
				 "source", &sample->source, "name", &sample->name, "method", &request->method, "path",
				 &request->path, &request->path_len, "query", &query, "headers", &headers, "body", &request->body,
				 &request->body_len, "token", &sample->token, "token_unsigned", &token_unsigned, "normalize",
				 &normalize, "hash_header", &hash_header, "expires", &sample->expires, "header", &sample->header,
				 "presigned", &sample->presigned, "payload_hash", &request->payload_hash, "sent", &sample->sent),
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
		if (sample.sent != NULL)
			cr_expect_str_eq(out.target, sample.sent, "%s", sample.name);
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

Test(sigv4, signs_by_the_rules_of_s3)
{
	cr_expect_eq(check_file(TEST_DATA_DIR "/sigv4/s3_cases.json"), 38);
}

/* Single requests */

#define NOW_MS INT64_C(1440938160000) /* 2015-08-30T12:36:00Z */

static const struct reeld_sigv4_credentials plain = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL};
static const struct reeld_sigv4_credentials temporary = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "to/ken="};
static struct reeld_sigv4_key *key;
static struct reeld_sigv4_signed out;

static void setup(void)
{
	key = reeld_sigv4_key_new(&plain, "us-east-1", "s3");
	cr_assert_not_null(key);
}

static void teardown(void)
{
	reeld_sigv4_key_free(&key);
	cr_expect_null(key);
	reeld_sigv4_key_free(&key);
}

TestSuite(sigv4_request, .init = setup, .fini = teardown);

static struct reeld_sigv4_pair pair(const char *name, const char *value)
{
	return (struct reeld_sigv4_pair){name, strlen(name), value, strlen(value)};
}

static struct reeld_sigv4_pair host[1];

static struct reeld_sigv4_request request(const char *path)
{
	host[0] = pair("Host", "h.example:9000");
	return (struct reeld_sigv4_request){
		.method = "GET",
		.path = path,
		.path_len = strlen(path),
		.flags = REELD_SIGV4_S3,
		.headers = host,
		.header_count = 1,
		.payload_hash = REELD_SIGV4_UNSIGNED_PAYLOAD,
		.now_ms = NOW_MS,
	};
}

static int sign(const struct reeld_sigv4_request *r)
{
	return reeld_sigv4_sign(key, r, scratch, sizeof(scratch), &out);
}

static int presign(const struct reeld_sigv4_request *r, unsigned expires_s)
{
	return reeld_sigv4_presign(key, r, expires_s, scratch, sizeof(scratch), &out);
}

static bool line_is(const char *line, unsigned number, const char *text)
{
	for (; number > 0 && line != NULL; number--)
		line = strchr(line, '\n') == NULL ? NULL : strchr(line, '\n') + 1;
	return line != NULL && strncmp(line, text, strlen(text)) == 0 &&
	       (line[strlen(text)] == '\n' || line[strlen(text)] == '\0');
}

Test(sigv4_request, gives_what_is_to_be_sent)
{
	struct reeld_sigv4_request r = request("/key");

	cr_assert_eq(sign(&r), REELD_SIGV4_OK);
	cr_expect_str_eq(out.target, "/key");
	cr_expect_str_eq(out.date, "20150830T123600Z");
	cr_expect_str_eq(out.headers[0], "x-amz-date: 20150830T123600Z");
	cr_expect_str_eq(out.headers[1], "x-amz-content-sha256: UNSIGNED-PAYLOAD");
	cr_expect(strncmp(out.headers[2],
			  "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/s3/aws4_request, "
			  "SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=",
			  150) == 0,
		  "%s", out.headers[2]);
	cr_expect_str_eq(out.headers[2] + strlen("Authorization: "), out.authorization);
	cr_expect_str_eq(strstr(out.authorization, "Signature=") + strlen("Signature="), out.signature);
	cr_expect_eq(strlen(out.signature), 64);
	cr_expect_null(out.headers[3]);
}

Test(sigv4_request, sends_the_session_token)
{
	struct reeld_sigv4_request r = request("/key");

	reeld_sigv4_key_free(&key);
	key = reeld_sigv4_key_new(&temporary, "us-east-1", "s3");
	cr_assert_eq(sign(&r), REELD_SIGV4_OK);
	cr_expect_str_eq(out.headers[2], "x-amz-security-token: to/ken=");
	cr_expect_not_null(out.headers[3]);
	cr_expect_null(out.headers[4]);
	cr_expect_not_null(strstr(out.authorization, "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
	r.flags |= REELD_SIGV4_TOKEN_UNSIGNED;
	cr_assert_eq(sign(&r), REELD_SIGV4_OK);
	cr_expect_str_eq(out.headers[2], "x-amz-security-token: to/ken=");
	cr_expect_not_null(strstr(out.authorization, "SignedHeaders=host;x-amz-content-sha256;x-amz-date,"));
}

Test(sigv4_request, presigns_a_url)
{
	struct reeld_sigv4_pair query[] = {pair("versionId", "a b")};
	struct reeld_sigv4_request r = request("/a b");
	char expected[512];

	r.query = query;
	r.query_count = 1;
	cr_assert_eq(presign(&r, 60), REELD_SIGV4_OK);
	snprintf(expected, sizeof(expected),
		 "/a%%20b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%%2F20150830%%2Fus-east-1%%2Fs3%%2Faws4_"
		 "request"
		 "&X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&versionId=a%%20b&X-Amz-Signature=%s",
		 out.signature);
	cr_expect_str_eq(out.target, expected);
	cr_expect_null(out.headers[0]);
	cr_expect_null(out.authorization);
}

Test(sigv4_request, presigns_with_a_session_token)
{
	struct reeld_sigv4_request r = request("/key");

	reeld_sigv4_key_free(&key);
	key = reeld_sigv4_key_new(&temporary, "us-east-1", "s3");
	cr_assert_eq(presign(&r, 60), REELD_SIGV4_OK);
	cr_expect_not_null(strstr(out.target, "&X-Amz-Security-Token=to%2Fken%3D&X-Amz-SignedHeaders=host&X-Amz-Signature="));
	cr_expect_not_null(strstr(out.canonical_request, "X-Amz-Security-Token"));
	r.flags |= REELD_SIGV4_TOKEN_UNSIGNED;
	cr_assert_eq(presign(&r, 60), REELD_SIGV4_OK);
	cr_expect_not_null(strstr(out.target, "&X-Amz-SignedHeaders=host&X-Amz-Security-Token=to%2Fken%3D&X-Amz-Signature="));
	cr_expect_null(strstr(out.canonical_request, "X-Amz-Security-Token"));
}

Test(sigv4_request, spells_paths_by_the_service)
{
	static const struct {
		const char *path;
		unsigned flags;
		const char *sent;
		const char *canonical;
	} rows[] = {
		{"", REELD_SIGV4_S3, "/", "/"},
		{"/a//./b/../c+d", REELD_SIGV4_S3, "/a//./b/../c%2Bd", "/a//./b/../c%2Bd"},
		{"/a//./b/../c+d", REELD_SIGV4_OTHER_SERVICE, "/a//./b/../c%2Bd", "/a/c%252Bd"},
		{"/a b", REELD_SIGV4_ENCODE_PATH_TWICE, "/a%20b", "/a%2520b"},
		{"/../../a/..", REELD_SIGV4_NORMALIZE_PATH, "/../../a/..", "/"},
		{"/a/b/..", REELD_SIGV4_NORMALIZE_PATH, "/a/b/..", "/a/"},
		{"/a/b/../", REELD_SIGV4_NORMALIZE_PATH, "/a/b/../", "/a/"},
		{"/a/...", REELD_SIGV4_NORMALIZE_PATH, "/a/...", "/a/..."},
		{"//", REELD_SIGV4_NORMALIZE_PATH, "//", "/"},
		{"/%7e%2B%2f%c3%bc+", REELD_SIGV4_PATH_IS_ENCODED, "/~%2B/%C3%BC%2B", "/~%2B/%C3%BC%2B"},
		{"/%2e%2e/a", REELD_SIGV4_PATH_IS_ENCODED | REELD_SIGV4_NORMALIZE_PATH, "/../a", "/a"},
		{"/%2525", REELD_SIGV4_PATH_IS_ENCODED, "/%2525", "/%2525"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reeld_sigv4_request r = request(rows[i].path);
		r.flags = rows[i].flags;
		cr_assert_eq(sign(&r), REELD_SIGV4_OK, "%s", rows[i].path);
		cr_expect_str_eq(out.target, rows[i].sent, "%s: %s", rows[i].path, out.target);
		cr_expect(line_is(out.canonical_request, 1, rows[i].canonical), "%s: %s", rows[i].path, out.canonical_request);
	}
}

Test(sigv4_request, keeps_a_key_per_day)
{
	struct reeld_sigv4_request r = request("/key");
	int64_t days[] = {0, 1, 0, 1, 365};
	char signatures[5][65];

	for (size_t i = 0; i < 5; i++) {
		r.now_ms = NOW_MS + days[i] * 86400000;
		cr_assert_eq(sign(&r), REELD_SIGV4_OK);
		struct reeld_sigv4_key *fresh = reeld_sigv4_key_new(&plain, "us-east-1", "s3");
		memcpy(signatures[i], out.signature, 65);
		cr_assert_eq(reeld_sigv4_sign(fresh, &r, scratch, sizeof(scratch), &out), REELD_SIGV4_OK);
		cr_expect_str_eq(signatures[i], out.signature, "day %zu", i);
		reeld_sigv4_key_free(&fresh);
	}
	cr_expect_str_eq(signatures[0], signatures[2]);
	cr_expect_str_neq(signatures[0], signatures[1]);
}

Test(sigv4_request, differs_in_whatever_differs)
{
	struct reeld_sigv4_credentials other_secret = {plain.access_key_id, "another", NULL};
	char first[65];
	struct reeld_sigv4_request r = request("/key");
	struct reeld_sigv4_key *others[] = {reeld_sigv4_key_new(&other_secret, "us-east-1", "s3"),
					    reeld_sigv4_key_new(&plain, "us-east-2", "s3"),
					    reeld_sigv4_key_new(&plain, "us-east-1", "sts")};

	cr_assert_eq(sign(&r), REELD_SIGV4_OK);
	memcpy(first, out.signature, sizeof(first));
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(reeld_sigv4_sign(others[i], &r, scratch, sizeof(scratch), &out), REELD_SIGV4_OK);
		cr_expect_str_neq(out.signature, first);
		reeld_sigv4_key_free(&others[i]);
	}
	struct reeld_sigv4_pair other_host[] = {pair("host", "h.example")};
	struct reeld_sigv4_request changed[] = {r, r, r, r, r};
	changed[0].method = "PUT";
	changed[1].path_len = 3;
	changed[2].now_ms += 1000;
	changed[3].payload_hash = NULL;
	changed[4].headers = other_host;
	for (size_t i = 0; i < 5; i++) {
		cr_assert_eq(sign(&changed[i]), REELD_SIGV4_OK);
		cr_expect_str_neq(out.signature, first, "change %zu", i);
	}
	changed[2].now_ms = NOW_MS + 999; /* a second has one date */
	cr_assert_eq(sign(&changed[2]), REELD_SIGV4_OK);
	cr_expect_str_eq(out.signature, first);
}

/* Refusals */

Test(sigv4_request, refuses_keys_that_cannot_sign)
{
	static const struct {
		struct reeld_sigv4_credentials credentials;
		const char *region;
		const char *service;
	} rows[] = {
		{{"", "s", NULL}, "r", "s3"},    {{"A", "", NULL}, "r", "s3"},     {{"A\r\nX: y", "s", NULL}, "r", "s3"},
		{{"A", "s\n", NULL}, "r", "s3"}, {{"A", "s", "t\r\n"}, "r", "s3"}, {{"A", "s", NULL}, "", "s3"},
		{{"A", "s", NULL}, "r/s", "s3"}, {{"A", "s", NULL}, "r", ""},      {{"A", "s", NULL}, "r", "s3/"},
		{{"A", "s", NULL}, "r\n", "s3"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_null(reeld_sigv4_key_new(&rows[i].credentials, rows[i].region, rows[i].service), "row %zu", i);
}

Test(sigv4_request, refuses_headers_it_cannot_sign)
{
	static const char *const ours[] = {"X-Amz-Date", "x-amz-content-sha256", "X-AMZ-SECURITY-TOKEN", "Authorization"};
	static const char *const malformed[] = {"", "a:b", "a b", "a\n", "\xc3\xbc"};
	struct reeld_sigv4_pair headers[REELD_SIGV4_MAX_HEADERS + 1] = {pair("host", "h.example")};
	struct reeld_sigv4_request r = request("/key");

	r.headers = headers;
	r.header_count = 2;
	for (size_t i = 0; i < 4; i++) {
		headers[1] = pair(ours[i], "x");
		cr_expect_eq(sign(&r), REELD_SIGV4_INVALID, "%s", ours[i]);
	}
	for (size_t i = 0; i < 5; i++) {
		headers[1] = pair(malformed[i], "x");
		cr_expect_eq(sign(&r), REELD_SIGV4_INVALID, "%s", malformed[i]);
	}
	headers[1] = (struct reeld_sigv4_pair){"a", 1, "x\0y", 3};
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
	r.header_count = 0;
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID, "no host");
	headers[1] = pair("x-host", "x");
	r.headers = &headers[1];
	r.header_count = 1;
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID, "no host but another header");
	r.headers = headers;
	for (size_t i = 1; i <= REELD_SIGV4_MAX_HEADERS; i++)
		headers[i] = pair("a", "x");
	r.header_count = REELD_SIGV4_MAX_HEADERS;
	cr_expect_eq(sign(&r), REELD_SIGV4_OK);
	r.header_count++;
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID, "too many");
}

Test(sigv4_request, refuses_what_else_is_no_request)
{
	static const char *const paths[] = {"key", "?", "%2Fkey", "*"};
	static const char *const malformed[] = {"/%", "/%2", "/%zz", "/a%f", "/%%20", "/%2g"};
	struct reeld_sigv4_request r = request("/key");
	struct reeld_sigv4_pair query[REELD_SIGV4_MAX_QUERY + 1];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct reeld_sigv4_request other = request(paths[i]);
		cr_expect_eq(sign(&other), REELD_SIGV4_INVALID, "%s", paths[i]);
	}
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct reeld_sigv4_request other = request(malformed[i]);
		cr_expect_eq(sign(&other), REELD_SIGV4_OK, "a raw %s", malformed[i]);
		other.flags |= REELD_SIGV4_PATH_IS_ENCODED;
		cr_expect_eq(sign(&other), REELD_SIGV4_INVALID, "%s", malformed[i]);
	}
	r.method = "";
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
	r.method = "GET /";
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
	r = request("/key");
	r.payload_hash = "";
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
	r.payload_hash = "a\r\nb";
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
	r = request("/key");
	for (size_t i = 0; i <= REELD_SIGV4_MAX_QUERY; i++)
		query[i] = pair("a", "b");
	r.query = query;
	r.query_count = REELD_SIGV4_MAX_QUERY;
	cr_expect_eq(sign(&r), REELD_SIGV4_OK);
	cr_expect_eq(presign(&r, 1), REELD_SIGV4_OK);
	r.query_count++;
	cr_expect_eq(sign(&r), REELD_SIGV4_INVALID);
}

Test(sigv4_request, refuses_times_that_it_cannot_write)
{
	struct reeld_sigv4_request r = request("/key");
	static const struct {
		int64_t now_ms;
		const char *date;
	} rows[] = {
		{0, "19700101T000000Z"},
		{INT64_C(253402300799999), "99991231T235959Z"},
		{INT64_C(1709164799999), "20240228T235959Z"},
		{INT64_C(1709164800000), "20240229T000000Z"},
		{-1, NULL},
		{INT64_C(253402300800000), NULL},
		{INT64_MAX, NULL},
		{INT64_MIN, NULL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.now_ms = rows[i].now_ms;
		cr_expect_eq(sign(&r), rows[i].date != NULL ? REELD_SIGV4_OK : REELD_SIGV4_INVALID, "%zu", i);
		if (rows[i].date != NULL)
			cr_expect_str_eq(out.date, rows[i].date);
	}
}

Test(sigv4_request, presigns_only_for_a_while_and_only_once)
{
	struct reeld_sigv4_pair query[] = {pair("x-amz-signature", "x")};
	struct reeld_sigv4_request r = request("/key");

	cr_expect_eq(presign(&r, 0), REELD_SIGV4_INVALID);
	cr_expect_eq(presign(&r, REELD_SIGV4_EXPIRES_MAX), REELD_SIGV4_OK);
	cr_expect_eq(presign(&r, REELD_SIGV4_EXPIRES_MAX + 1), REELD_SIGV4_INVALID);
	r.query = query;
	r.query_count = 1;
	cr_expect_eq(presign(&r, 1), REELD_SIGV4_INVALID);
	cr_expect_eq(sign(&r), REELD_SIGV4_OK);
}

/* Room */

Test(sigv4_request, writes_nothing_behind_the_scratch_buffer)
{
	struct reeld_sigv4_pair query[] = {pair("a", "b c"), pair("A", "")};
	struct reeld_sigv4_request r = request("/a/../b c");
	size_t needed = 0;

	reeld_sigv4_key_free(&key);
	key = reeld_sigv4_key_new(&temporary, "us-east-1", "s3");
	r.flags |= REELD_SIGV4_OTHER_SERVICE | REELD_SIGV4_PATH_IS_ENCODED;
	r.query = query;
	r.query_count = 2;
	for (size_t size = 0; size < 4096; size++) {
		char *room = malloc(size == 0 ? 1 : size); /* of its own, for the sanitizer */
		int signed_ = reeld_sigv4_sign(key, &r, room, size, &out);
		int presigned = reeld_sigv4_presign(key, &r, 1, room, size, &out);
		cr_assert(signed_ == REELD_SIGV4_OK || signed_ == REELD_SIGV4_NO_ROOM);
		cr_assert(presigned == REELD_SIGV4_OK || presigned == REELD_SIGV4_NO_ROOM);
		if (signed_ == REELD_SIGV4_OK && needed == 0)
			needed = size;
		cr_assert_eq(signed_ == REELD_SIGV4_OK, needed != 0, "what fits in less fits in more");
		free(room);
	}
	cr_expect_neq(needed, 0);
}

Test(sigv4_request, the_usual_scratch_buffer_suffices_for_s3)
{
	static char path[1025], token[2049];
	struct reeld_sigv4_credentials credentials = {"AKIDEXAMPLE", "s", token};
	struct reeld_sigv4_pair headers[12] = {pair("host", "h.example")};

	memset(path, '+', sizeof(path) - 1); /* each of which is encoded */
	path[0] = '/';
	memset(token, '/', sizeof(token) - 1);
	for (size_t i = 1; i < 12; i++)
		headers[i] = pair("x-amz-meta-something", "a value of an ordinary length, as they are");
	reeld_sigv4_key_free(&key);
	key = reeld_sigv4_key_new(&credentials, "us-east-1", "s3");
	struct reeld_sigv4_request r = request(path);
	r.headers = headers;
	r.header_count = 12;
	cr_expect_eq(sign(&r), REELD_SIGV4_OK);
	cr_expect_eq(presign(&r, 1), REELD_SIGV4_OK);
}

/* Encoding */

Test(sigv4_encode, keeps_only_unreserved_characters)
{
	char text[256], encoded[1024];
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

	for (int i = 0; i < 256; i++) {
		char expected[4] = {(char)i, '\0'};
		text[0] = (char)i;
		if (i == 0 || strchr(unreserved, i) == NULL)
			snprintf(expected, sizeof(expected), "%%%02X", i);
		cr_expect_eq(reeld_sigv4_encode(text, 1, false, encoded, sizeof(encoded)), (int)strlen(expected));
		cr_expect_str_eq(encoded, expected, "byte %d", i);
	}
	cr_expect_eq(reeld_sigv4_encode("a/b", 3, true, encoded, sizeof(encoded)), 3);
	cr_expect_str_eq(encoded, "a/b");
	cr_expect_eq(reeld_sigv4_encode("", 0, true, encoded, 1), 0);
	cr_expect_str_empty(encoded);
	cr_expect_eq(reeld_sigv4_encode("a/", 2, false, encoded, 5), 4);
	cr_expect_eq(reeld_sigv4_encode("a/", 2, false, encoded, 4), -1);
	cr_expect_eq(reeld_sigv4_encode("", 0, false, encoded, 0), -1);
}
