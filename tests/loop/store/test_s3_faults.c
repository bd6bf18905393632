/* SPDX-License-Identifier: MIT */
/* What no real server does on demand: a scripted peer answers each request in turn, and the requests are looked at. */
#include "loop/store/s3_fixture.h"
#include "loop/support/peer.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/turn.h"
#include "store/s3_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB ((size_t)1024 * 1024)
#define KEY "r/2026/11/23/CA0123/RE0123.wav"
#define SID "0123456789abcdef0123456789abcdef"
/* of "content" */
#define MD5_HEX "9a0364b9e99bb480dd25e1f0284c8555"
#define MD5_BASE64 "mgNkuembtIDdJeHwKEyFVQ=="
#define SHA256_HEX "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
#define SHA256_BASE64 "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="
#define OTHER_MD5 "00000000000000000000000000000001"

#define ANSWER(status, headers, length) "HTTP/1.1 " status "\r\nServer: peer\r\n" headers "Content-Length: " length "\r\n\r\n"
#define EMPTY(status, headers) ANSWER(status, headers, "0")
#define STORED EMPTY("200 OK", "ETag: \"" MD5_HEX "\"\r\n")
#define NO_CONTENT "HTTP/1.1 204 No Content\r\n\r\n"
#define HEAD_OF(length, headers) "HTTP/1.1 200 OK\r\n" headers "Content-Length: " length "\r\n\r\n"

static struct peer *peer;
static struct store_s3_options options;

static void start(const struct peer_script *scripts, size_t count)
{
	static char endpoint[64];
	peer = peer_new(&loop, "127.0.0.1", scripts, count);
	snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", peer_port(peer));
	options.endpoint = endpoint;
	s3_fixture_reopen(&options);
}

#define START(...)                                                 \
	static const struct peer_script scripts[] = {__VA_ARGS__}; \
	start(scripts, sizeof(scripts) / sizeof(scripts[0]))

static void set_up(void)
{
	s3_variables = (struct s3_fixture_variables){"AKIDEXAMPLE", "a-secret", NULL};
	options = (struct store_s3_options){.bucket = "b",
					    .endpoint = "http://127.0.0.1:9",
					    .region = "us-east-1",
					    .prefix = "r/",
					    .retry_ms = 1,
					    .stall_timeout_ms = 200};
	s3_fixture_open(&options);
}

static void tear_down(void)
{
	support_close_store();
	if (peer != NULL)
		peer_close(peer);
	s3_fixture_close();
}

TestSuite(s3_faults, .init = set_up, .fini = tear_down, .timeout = 30);

static bool asked(unsigned n, const char *text)
{
	return strcasestr(peer_request(peer, n), text) != NULL;
}

static bool is_request(unsigned n, const char *start_line)
{
	return strncmp(peer_request(peer, n), start_line, strlen(start_line)) == 0;
}

/* An XML answer; static memory, for a few of them. */
static const char *xml(const char *status, const char *headers, const char *body)
{
	static char texts[8][4096];
	static unsigned next;
	char *text = texts[next++ % 8];
	snprintf(text, sizeof(texts[0]), "HTTP/1.1 %s\r\n%sContent-Type: application/xml\r\nContent-Length: %zu\r\n\r\n%s",
		 status, headers, strlen(body), body);
	return text;
}

static const char *refusal(const char *status, const char *code, const char *headers)
{
	char body[512];
	snprintf(body, sizeof(body), "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>said the peer</Message></Error>",
		 code);
	return xml(status, headers, body);
}

static int put_content(struct error *error)
{
	const struct store_object object = {.key = KEY, .length = 7, .content_type = "audio/wav"};
	return put_object(&object, SLICE("content"), 7, error);
}

/* After this, signatures please: a streamed body is sent without asking first. */
static void prove(void)
{
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_DELETE, "r/x"), 0, "%s", request.request.error.detail);
}

/* ---- Trying again ---- */

Test(s3_faults, throttling_and_server_errors_are_tried_again)
{
	const struct peer_script scripts[] = {{.answer = refusal("503 Slow Down", "SlowDown", "")},
					      {.answer = refusal("500 Internal", "InternalError", "")},
					      {.answer = EMPTY("502 Bad Gateway", "")},
					      {.answer = STORED}};
	start(scripts, 4);
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 4);
	cr_assert(store_up(store));
}

Test(s3_faults, throttling_that_lasts_makes_the_job_wait)
{
	const struct peer_script scripts[] = {{.answer = refusal("503 Slow Down", "SlowDown", "")}};
	start(scripts, 1);
	struct error error = {0};
	cr_assert_eq(put_content(&error), ERR_HTTP_THROTTLED);
	cr_assert_eq(err_class(error.code), ERR_CLASS_WAIT);
	cr_assert(strstr(error.detail, "SlowDown") != NULL, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 4, "a few tries, not for ever");
	cr_assert(!store_up(store));
}

Test(s3_faults, a_long_retry_after_is_handed_on_and_not_waited_for)
{
	const struct peer_script scripts[] = {{.answer = refusal("503 Slow Down", "SlowDown", "Retry-After: 30\r\n")}};
	start(scripts, 1);
	struct put put = {0};
	const struct store_digest digest = digest_of(SLICE("content"));
	cr_assert_eq(put_open(&put, KEY, 7), 0);
	cr_assert_eq(put.put.retry_after_ms, -1);
	cr_assert_eq(put_write_text(&put, "content"), 0);
	cr_assert_eq(put_commit(&put, &digest), ERR_HTTP_THROTTLED);
	cr_assert_eq(put.put.retry_after_ms, 30000);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(peer_requests(peer), 1);
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_DELETE, KEY), ERR_HTTP_THROTTLED);
	cr_assert_eq(request.request.retry_after_ms, 30000);
}

Test(s3_faults, a_silent_server_is_given_up)
{
	START({.answer = "", .hang = true});
	struct error error = {0};
	cr_assert_eq(put_content(&error), ERR_TIMEOUT);
	cr_assert(!store_up(store));
}

Test(s3_faults, closing_does_not_wait_for_another_try)
{
	options.retry_ms = 60000;
	const struct peer_script scripts[] = {{.answer = refusal("503 Slow Down", "SlowDown", "")}};
	start(scripts, 1);
	struct put put = {0};
	const struct store_digest digest = digest_of(SLICE("content"));
	cr_assert_eq(put_open(&put, KEY, 7), 0);
	cr_assert_eq(put_write_text(&put, "content"), 0);
	put_start_commit(&put, &digest);
	store_close(store, support_on_closed, NULL);
	cr_assert_eq(put_wait(&put), ERR_HTTP_THROTTLED);
	cr_assert_eq(peer_requests(peer), 1);
	cr_assert_eq(put_abort(&put), 0);
	support_run_until(&support_store_closed);
}

/* ---- Names ---- */

Test(s3_faults, a_recorded_url_is_judged_by_the_buckets_address_not_by_the_public_one)
{
	options.endpoint = NULL;
	options.bucket = "recordings-eu";
	options.public_url = "https://cdn.example.com/x";
	s3_fixture_reopen(&options);
	static const char *const west = "https://recordings-eu.s3.eu-west-1.amazonaws.com/" KEY;
	cr_expect_eq(store_url_judge(store, KEY, "https://recordings-eu.s3.us-east-1.amazonaws.com/" KEY), STORE_URL_OWN);
	cr_expect_eq(store_url_judge(store, KEY, "https://cdn.example.com/x/" KEY), STORE_URL_NAMED);
	cr_expect_eq(store_url_judge(store, KEY, "https://s3.us-east-1.amazonaws.com/recordings-eu/" KEY), STORE_URL_OTHER);
	cr_expect_eq(store_url_judge(store, KEY, "https://recordings-us.s3.us-east-1.amazonaws.com/" KEY), STORE_URL_OTHER);
	cr_expect_eq(store_url_judge(store, KEY, "file:///var/lib/reeld/" KEY), STORE_URL_FOREIGN);
	cr_expect_eq(store_url_judge(store, KEY, west), STORE_URL_OTHER);
	s3_store_set_region(CONTAINER_OF(store, struct s3_store, store), "eu-west-1");
	cr_expect_eq(store_url_judge(store, KEY, west), STORE_URL_OWN, "what was learned counts");
}

/* ---- Learning ---- */

Test(s3_faults, the_region_of_a_redirect_is_learned)
{
	const char *const answers[] = {
		refusal("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: eu-west-1\r\n"),
		xml("400 Bad Request", "", "<Error><Code>AuthorizationHeaderMalformed</Code><Region>ap-south-1</Region></Error>"),
		xml("307 Temporary Redirect", "",
		    "<Error><Code>TemporaryRedirect</Code><Endpoint>b.s3-us-west-2.amazonaws.com</Endpoint></Error>"),
	};
	static const char *const regions[] = {"eu-west-1", "ap-south-1", "us-west-2"};
	struct peer_script scripts[6];
	struct error error = {0};
	for (size_t i = 0; i < 3; i++) {
		scripts[2 * i] = (struct peer_script){.answer = answers[i]};
		scripts[2 * i + 1] = (struct peer_script){.answer = STORED};
	}
	start(scripts, 6);
	for (unsigned i = 0; i < 3; i++) {
		char scope[64];
		snprintf(scope, sizeof(scope), "/%s/s3/aws4_request", regions[i]);
		cr_assert_eq(put_content(&error), 0, "%s", error.detail);
		cr_assert_eq(peer_requests(peer), 2 * i + 2);
		cr_assert(!asked(2 * i, scope));
		cr_assert(asked(2 * i + 1, scope), "%s", peer_request(peer, 2 * i + 1));
	}
}

Test(s3_faults, a_redirect_that_names_no_region_waits_for_the_operator)
{
	START({.answer = EMPTY("301 Moved Permanently", "Location: http://example.com/\r\n")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), ERR_UNAVAILABLE);
	cr_assert_eq(err_class(ERR_UNAVAILABLE), ERR_CLASS_WAIT);
	cr_assert_eq(peer_requests(peer), 1);
}

Test(s3_faults, the_same_region_again_is_no_lesson)
{
	const struct peer_script scripts[] = {
		{.answer = refusal("301 Moved Permanently", "PermanentRedirect", "x-amz-bucket-region: us-east-1\r\n")}};
	start(scripts, 1);
	cr_assert_eq(put_content(NULL), ERR_UNAVAILABLE);
	cr_assert_eq(peer_requests(peer), 1);
}

Test(s3_faults, the_servers_clock_is_believed)
{
	char date[CLOCK_RFC2822_SIZE], headers[128], iso[CLOCK_ISO8601_SIZE], sent[64];
	int64_t there = clock_wall_ms() + INT64_C(3) * 86400000;
	clock_format_rfc2822(there, date);
	clock_format_iso8601(there, iso);
	snprintf(headers, sizeof(headers), "Date: %s\r\n", date);
	const struct peer_script scripts[] = {{.answer = refusal("403 Forbidden", "RequestTimeTooSkewed", headers)},
					      {.answer = STORED}};
	start(scripts, 2);
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	snprintf(sent, sizeof(sent), "x-amz-date: %.4s%.2s%.2s", iso, iso + 5, iso + 8);
	cr_assert(!asked(0, sent));
	cr_assert(asked(1, sent), "%s in %s", sent, peer_request(peer, 1));
	cr_assert(asked(2, sent), "remembered");
}

Test(s3_faults, an_expired_session_is_renewed_and_its_token_signed)
{
	s3_fixture_close();
	s3_variables.token = "token-one";
	s3_fixture_open(&options);
	const struct peer_script scripts[] = {
		{.answer = STORED}, {.answer = refusal("400 Bad Request", "ExpiredToken", "")}, {.answer = STORED}};
	start(scripts, 3);
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert(asked(0, "x-amz-security-token: token-one\r\n"));
	cr_assert(asked(0, "SignedHeaders="));
	cr_assert(strstr(strcasestr(peer_request(peer, 0), "SignedHeaders="), "x-amz-security-token") != NULL);
	s3_variables.token = "token-two";
	uint64_t until = uv_hrtime() + 5000000;
	while (uv_hrtime() < until) /* credentials are not thrown away in the moment they came */
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 3);
	cr_assert(asked(1, "x-amz-security-token: token-one\r\n"));
	cr_assert(asked(2, "x-amz-security-token: token-two\r\n"), "%s", peer_request(peer, 2));
}

Test(s3_faults, a_refusal_is_not_hammered_at)
{
	static const char *const codes[] = {"AccessDenied", "SignatureDoesNotMatch", "AllAccessDisabled"};
	struct peer_script scripts[3];
	for (size_t i = 0; i < 3; i++)
		scripts[i] = (struct peer_script){.answer = refusal("403 Forbidden", codes[i], "")};
	start(scripts, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct error error = {0};
		cr_assert_eq(put_content(&error), ERR_HTTP_FORBIDDEN);
		cr_assert(strstr(error.detail, codes[i]) != NULL, "%s", error.detail);
		cr_assert_eq(peer_requests(peer), i + 1);
	}
}

/* ---- What is sent ---- */

Test(s3_faults, a_small_object_carries_its_checksums_and_options)
{
	options.sse = "aws:kms:arn:aws:kms:eu-west-1:1:key/2";
	options.storage_class = "STANDARD_IA";
	START({.answer = EMPTY(
		       "200 OK",
		       "ETag: \"opaque\"\r\nx-amz-server-side-encryption: aws:kms\r\nx-amz-checksum-sha256: " SHA256_BASE64
		       "\r\n")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 1, "the checksum in the answer is proof enough");
	cr_assert(is_request(0, "PUT /b/" KEY " HTTP/1.1\r\n"));
	const char *const expected[] = {
		"Content-Type: audio/wav\r\n",
		"Content-Length: 7\r\n",
		"Content-MD5: " MD5_BASE64 "\r\n",
		"x-amz-content-sha256: " SHA256_HEX "\r\n",
		"x-amz-checksum-sha256: " SHA256_BASE64 "\r\n",
		"x-amz-meta-sha256: " SHA256_HEX "\r\n",
		"x-amz-server-side-encryption: aws:kms\r\n",
		"x-amz-server-side-encryption-aws-kms-key-id: arn:aws:kms:eu-west-1:1:key/2\r\n",
		"x-amz-storage-class: STANDARD_IA\r\n",
		"If-None-Match: *\r\n",
		"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		cr_expect(asked(0, expected[i]), "%s is missing in %s", expected[i], peer_request(peer, 0));
	cr_expect(!asked(0, "a-secret"));
	cr_expect(!asked(0, "Expect:"));
}

Test(s3_faults, checksums_are_left_out_where_only_required_ones_are_wanted)
{
	options.no_checksums = true;
	START({.answer = STORED});
	cr_assert_eq(put_content(NULL), 0);
	cr_assert(!asked(0, "x-amz-checksum"));
	cr_assert(asked(0, "Content-MD5: " MD5_BASE64 "\r\n"));
}

Test(s3_faults, what_a_server_does_not_know_is_not_asked_of_it_again)
{
	const struct peer_script scripts[] = {{.answer = refusal("501 Not Implemented", "NotImplemented", "")},
					      {.answer = refusal("400 Bad Request", "InvalidArgument", "")},
					      {.answer = STORED}};
	start(scripts, 3);
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 3);
	cr_assert(asked(0, "If-None-Match") && asked(0, "x-amz-checksum-sha256"));
	cr_assert(!asked(1, "If-None-Match") && asked(1, "x-amz-checksum-sha256"));
	cr_assert(!asked(2, "If-None-Match") && !asked(2, "x-amz-checksum-sha256"));
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 4);
	cr_assert(!asked(3, "If-None-Match") && !asked(3, "x-amz-checksum-sha256"));
}

/* ---- An object that is there already ---- */

Test(s3_faults, the_same_object_is_adopted)
{
	START({.answer = EMPTY("412 Precondition Failed", "")}, {.answer = HEAD_OF("7", "ETag: \"" MD5_HEX "\"\r\n")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 2);
	cr_assert(is_request(1, "HEAD /b/" KEY " "));
}

Test(s3_faults, another_object_is_replaced)
{
	START({.answer = EMPTY("412 Precondition Failed", "")}, {.answer = HEAD_OF("8", "ETag: \"" OTHER_MD5 "\"\r\n")},
	      {.answer = STORED});
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 3);
	cr_assert(is_request(2, "PUT /b/" KEY " ") && !asked(2, "If-None-Match"));
}

Test(s3_faults, a_lost_answer_is_asked_for_again)
{
	START({.answer = STORED, .cut_after = 5}, {.answer = EMPTY("412 Precondition Failed", "")},
	      {.answer = HEAD_OF("7", "ETag: \"" MD5_HEX "\"\r\n")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 3);
}

/* ---- Proof ---- */

Test(s3_faults, an_etag_that_is_no_md5_is_found_out_by_reading_once)
{
	START({.answer = EMPTY("200 OK", "ETag: \"" OTHER_MD5 "\"\r\n")}, {.answer = HEAD_OF("7", "ETag: \"" OTHER_MD5 "\"\r\n")},
	      {.answer = ANSWER("200 OK", "ETag: \"" OTHER_MD5 "\"\r\n", "7") "content"},
	      {.answer = EMPTY("200 OK", "ETag: \"" OTHER_MD5 "\"\r\n")},
	      {.answer = HEAD_OF("7", "ETag: \"" OTHER_MD5 "\"\r\nx-amz-meta-sha256: " SHA256_HEX "\r\n")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 3);
	cr_assert(is_request(2, "GET /b/" KEY " "));
	cr_assert_eq(put_content(&error), 0, "%s", error.detail);
	cr_assert_eq(peer_requests(peer), 5, "not read again");
}

Test(s3_faults, wrong_bytes_are_taken_back)
{
	START({.answer = EMPTY("200 OK", "ETag: \"" OTHER_MD5 "\"\r\n")}, {.answer = HEAD_OF("7", "ETag: \"" OTHER_MD5 "\"\r\n")},
	      {.answer = ANSWER("200 OK", "", "7") "contend"}, {.answer = NO_CONTENT});
	struct error error = {0};
	cr_assert_eq(put_content(&error), ERR_CHECKSUM);
	cr_assert_eq(peer_requests(peer), 4);
	cr_assert(is_request(3, "DELETE /b/" KEY " "));
}

Test(s3_faults, an_object_that_vanished_is_not_stored)
{
	START({.answer = EMPTY("200 OK", "")}, {.answer = EMPTY("404 Not Found", "")});
	struct error error = {0};
	cr_assert_eq(put_content(&error), ERR_STORE);
	cr_assert(strstr(error.detail, "not there") != NULL, "%s", error.detail);
}

static struct store_digest digest_of_peer_body(size_t len)
{
	char *bytes = malloc(len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = peer_body(i);
	struct store_digest digest = digest_of(slice_make(bytes, len));
	free(bytes);
	return digest;
}

Test(s3_faults, an_object_without_comparable_headers_is_read_and_hashed)
{
	START({.answer = HEAD_OF("3000000", "ETag: \"abc-2\"\r\n")},
	      {.answer = ANSWER("200 OK", "", "3000000"), .body_bytes = 3000000});
	struct request request = {.request.digest = digest_of_peer_body(3000000)};
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), 0, "%s", request.request.error.detail);
	request.request.digest.sha256[0] ^= 1;
	cr_assert_eq(peer_requests(peer), 2);
}

Test(s3_faults, to_look_at_an_object_is_one_request)
{
	START({.answer = HEAD_OF("3000000", "ETag: \"abc-2\"\r\n")}, {.answer = HEAD_OF("2999999", "ETag: \"abc-2\"\r\n")});
	struct request request = {.request.digest = digest_of_peer_body(3000000)};
	cr_assert_eq(submit(&request, STORE_LOOK, KEY), 0, "%s", request.request.error.detail);
	cr_assert_eq(submit(&request, STORE_LOOK, KEY), ERR_CHECKSUM);
	cr_assert_eq(peer_requests(peer), 2);
}

Test(s3_faults, other_bytes_of_the_same_length_are_found)
{
	START({.answer = HEAD_OF("3000000", "ETag: \"abc-2\"\r\n")},
	      {.answer = ANSWER("200 OK", "", "3000000"), .body_bytes = 3000000});
	struct request request = {.request.digest = digest_of_peer_body(3000000)};
	request.request.digest.sha256[0] ^= 1;
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), ERR_CHECKSUM);
}

Test(s3_faults, reading_that_is_cut_proves_nothing)
{
	START({.answer = HEAD_OF("3000000", "ETag: \"abc-2\"\r\n")},
	      {.answer = ANSWER("200 OK", "", "3000000"), .body_bytes = 3000000, .cut_after = 1000000});
	struct request request = {.request.digest = digest_of_peer_body(3000000)};
	cr_assert_eq(submit(&request, STORE_VERIFY, KEY), ERR_RESET);
}

/* ---- Streaming ---- */

static char *stream_bytes;
#define STREAM_LEN (MIB + 5)

static int stream(struct put *put, size_t piece)
{
	struct slice bytes = slice_make(stream_bytes, STREAM_LEN);
	int status = put_open(put, KEY, (int64_t)STREAM_LEN);
	for (size_t at = 0; status == 0 && at < bytes.len; at += piece)
		status = put_write(put, slice_make(bytes.ptr + at, bytes.len - at < piece ? bytes.len - at : piece));
	return status;
}

static int stream_commit(struct put *put)
{
	const struct store_digest digest = digest_of(slice_make(stream_bytes, STREAM_LEN));
	return put_commit(put, &digest);
}

/* Answers that hold the stream's MD5. */
static const char *stored_stream(bool head)
{
	static char texts[2][256];
	char md5[33];
	if (stream_bytes == NULL)
		stream_bytes = make_bytes(STREAM_LEN, 1);
	const struct store_digest digest = digest_of(slice_make(stream_bytes, STREAM_LEN));
	hex_encode(digest.md5, sizeof(digest.md5), md5);
	snprintf(texts[head], sizeof(texts[0]), "HTTP/1.1 200 OK\r\nETag: \"%s\"\r\nContent-Length: %zu\r\n\r\n", md5,
		 head ? (size_t)STREAM_LEN : (size_t)0);
	return texts[head];
}

Test(s3_faults, the_last_byte_waits_for_commit)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT}, {.answer = stored_stream(false)}};
	start(scripts, 2);
	struct put put = {0};
	prove();
	size_t before = peer_received(peer);
	cr_assert_eq(stream(&put, 65536), 0, "%s", put.put.error.detail);
	for (uint64_t until = uv_hrtime() + 50000000; uv_hrtime() < until;)
		uv_run(&loop, UV_RUN_NOWAIT);
	const char *head_end = strstr(peer_request(peer, 1), "\r\n\r\n");
	cr_assert(head_end != NULL);
	size_t head = (size_t)(head_end + 4 - peer_request(peer, 1));
	cr_assert_eq(peer_received(peer) - before, head + STREAM_LEN - 1);
	cr_assert(asked(1, "x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"));
	cr_assert(!asked(1, "Expect:"));
	cr_assert_eq(stream_commit(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_received(peer) - before, head + STREAM_LEN);
}

Test(s3_faults, an_unproven_signature_asks_before_the_body)
{
	const struct peer_script scripts[] = {
		{.answer = refusal("403 Forbidden", "AccessDenied", ""), .early = true, .deaf = true}};
	stored_stream(false);
	start(scripts, 1);
	struct put put = {0};
	cr_assert_eq(stream(&put, MIB), ERR_HTTP_FORBIDDEN);
	cr_assert(asked(0, "Expect: 100-continue\r\n"));
	cr_assert_lt(peer_received(peer), 4096);
	cr_assert_eq(put_abort(&put), 0);
}

Test(s3_faults, an_answer_before_the_end_of_the_body_is_heard)
{
	const struct peer_script scripts[] = {
		{.answer = NO_CONTENT},
		{.answer = refusal("400 Bad Request", "InvalidStorageClass", ""), .early = true, .deaf = true}};
	stored_stream(false);
	start(scripts, 2);
	struct put put = {0};
	prove();
	/* the body pauses after the first piece: the answer must come through all the same */
	cr_assert_eq(put_open(&put, KEY, (int64_t)STREAM_LEN), 0);
	int status = put_write(&put, slice_make(stream_bytes, 1000));
	for (uint64_t until = uv_hrtime() + 50000000; uv_hrtime() < until;)
		uv_run(&loop, UV_RUN_NOWAIT);
	if (status == 0)
		status = put_write(&put, slice_make(stream_bytes + 1000, 1000));
	cr_assert_eq(status, ERR_UNAVAILABLE, "%s: %s", err_name(status), put.put.error.detail);
	cr_assert(strstr(put.put.error.detail, "InvalidStorageClass") != NULL, "%s", put.put.error.detail);
	cr_assert_eq(put_abort(&put), 0);
}

Test(s3_faults, a_connection_cut_in_the_body_ends_the_put)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT}, {.answer = "", .early = true, .reset = true}};
	stored_stream(false);
	start(scripts, 2);
	struct put put = {0};
	prove();
	int status = stream(&put, 65536);
	if (status == 0)
		status = stream_commit(&put);
	cr_assert_eq(err_class(status), ERR_CLASS_RETRY, "%s", err_name(status));
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(put.done, 1);
}

Test(s3_faults, a_lost_answer_to_a_stream_is_looked_up)
{
	const struct peer_script scripts[] = {
		{.answer = NO_CONTENT}, {.answer = stored_stream(false), .cut_after = 3}, {.answer = stored_stream(true)}};
	start(scripts, 3);
	struct put put = {0};
	prove();
	cr_assert_eq(stream(&put, 65536), 0);
	cr_assert_eq(stream_commit(&put), 0, "%s", put.put.error.detail);
	cr_assert(is_request(2, "HEAD "));
}

Test(s3_faults, a_lost_answer_and_no_object_is_the_first_failure)
{
	const struct peer_script scripts[] = {
		{.answer = NO_CONTENT}, {.answer = stored_stream(false), .cut_after = 3}, {.answer = EMPTY("404 Not Found", "")}};
	start(scripts, 3);
	struct put put = {0};
	prove();
	cr_assert_eq(stream(&put, 65536), 0);
	int status = stream_commit(&put);
	cr_assert(status == ERR_RESET || status == ERR_PROTOCOL, "%s", err_name(status));
	cr_assert_eq(put_abort(&put), 0);
}

Test(s3_faults, a_stream_begins_again_while_its_first_bytes_are_there)
{
	const struct peer_script scripts[] = {
		{.answer = NO_CONTENT},
		{.answer = refusal("501 Not Implemented", "NotImplemented", ""), .early = true, .deaf = true},
		{.answer = stored_stream(false)}};
	start(scripts, 3);
	struct put put = {0};
	prove();
	cr_assert_eq(put_open(&put, KEY, (int64_t)STREAM_LEN), 0);
	cr_assert_eq(put_write(&put, slice_make(stream_bytes, STREAM_LEN)), 0, "%s", put.put.error.detail);
	cr_assert_eq(stream_commit(&put), 0, "%s", put.put.error.detail);
	cr_assert(asked(1, "If-None-Match") && !asked(2, "If-None-Match"));
}

Test(s3_faults, a_stream_that_learns_too_late_teaches_the_next_one)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT},
					      {.answer = refusal("501 Not Implemented", "NotImplemented", "")},
					      {.answer = stored_stream(false)}};
	start(scripts, 3);
	struct put put = {0}, again = {0};
	prove();
	cr_assert_eq(stream(&put, 65536), 0);
	cr_assert_eq(stream_commit(&put), ERR_UNAVAILABLE);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(stream(&again, 65536), 0);
	cr_assert_eq(stream_commit(&again), 0, "%s", again.put.error.detail);
	cr_assert(asked(1, "If-None-Match") && !asked(2, "If-None-Match"));
}

Test(s3_faults, a_stream_adopts_the_same_object)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT},
					      {.answer = EMPTY("412 Precondition Failed", ""), .early = true, .deaf = true},
					      {.answer = stored_stream(true)}};
	start(scripts, 3);
	struct put put = {0};
	prove();
	cr_assert_eq(stream(&put, 65536), 0, "%s", put.put.error.detail);
	cr_assert_eq(stream_commit(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 3);
}

Test(s3_faults, a_stream_replaces_another_object_at_the_next_try)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT},
					      {.answer = EMPTY("412 Precondition Failed", ""), .early = true, .deaf = true},
					      {.answer = HEAD_OF("8", "")},
					      {.answer = stored_stream(false)}};
	start(scripts, 4);
	struct put put = {0}, again = {0};
	prove();
	cr_assert_eq(stream(&put, 65536), 0);
	cr_assert_eq(stream_commit(&put), ERR_STORE);
	cr_assert_eq(err_class(ERR_STORE), ERR_CLASS_RETRY);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(stream(&again, 65536), 0);
	cr_assert_eq(stream_commit(&again), 0, "%s", again.put.error.detail);
	cr_assert(!asked(3, "If-None-Match"));
}

Test(s3_faults, a_server_that_does_not_read_pushes_back)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT}, {.answer = "", .hang = true, .deaf = true}};
	options.stall_timeout_ms = 20000;
	start(scripts, 2);
	struct put put = {0};
	char *bytes = make_bytes(8 * MIB, 1);
	prove();
	cr_assert_eq(put_open(&put, KEY, (int64_t)(60 * MIB)), 0);
	unsigned written = 0;
	bool blocked = false;
	while (!blocked && written < 7) {
		put_start_write(&put, slice_make(bytes, 8 * MIB));
		for (uint64_t until = uv_hrtime() + 300000000; put.done == 0 && uv_hrtime() < until;)
			uv_run(&loop, UV_RUN_NOWAIT);
		blocked = put.done == 0;
		written += !blocked;
	}
	/* the kernel's buffers take a little, nobody else does */
	cr_assert(blocked && written <= 2, "%u writes of 8 MiB were taken", written);
	peer_close(peer);
	peer = NULL;
	cr_assert_neq(put_wait(&put), 0);
	cr_assert_eq(put_abort(&put), 0);
	free(bytes);
}

Test(s3_faults, a_kept_connection_that_died_is_replaced)
{
	const struct peer_script scripts[] = {
		{.answer = NO_CONTENT}, {.answer = "", .early = true, .reset = true}, {.answer = stored_stream(false)}};
	start(scripts, 3);
	struct put put = {0};
	prove();
	cr_assert_eq(put_open(&put, KEY, (int64_t)STREAM_LEN), 0);
	cr_assert_eq(put_write(&put, slice_make(stream_bytes, STREAM_LEN)), 0, "%s", put.put.error.detail);
	cr_assert_eq(stream_commit(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_connections(peer), 2);
}

Test(s3_faults, abort_at_any_moment_of_a_stream_ends_it_once)
{
	const struct peer_script scripts[] = {{.answer = NO_CONTENT}, {.answer = stored_stream(false)}};
	start(scripts, 2);
	prove();
	for (unsigned turns = 0; turns < 12; turns++) {
		struct put put = {0};
		cr_assert_eq(put_open(&put, KEY, (int64_t)STREAM_LEN), 0);
		cr_assert_eq(put_write(&put, slice_make(stream_bytes, 1000)), 0, "%s", put.put.error.detail);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		cr_assert_eq(put_abort(&put), 0);
	}
}

/* ---- Parts ---- */

#define PART (5 * MIB)
#define PARTS_LEN (PART + MIB + 1)

static char *parts_bytes;

static const char *created(void)
{
	return xml("200 OK", "x-amz-checksum-algorithm: SHA256\r\n",
		   "<InitiateMultipartUploadResult><UploadId>upload+1/=</UploadId></InitiateMultipartUploadResult>");
}

static struct slice part_of(unsigned number)
{
	return number == 1 ? slice_make(parts_bytes, PART) : slice_make(parts_bytes + PART, PARTS_LEN - PART);
}

/* The ETag that S3 makes of the two parts'. */
static void composite_etag(char out[64])
{
	uint8_t sums[32];
	char md5[33];
	parts_bytes = parts_bytes != NULL ? parts_bytes : make_bytes(PARTS_LEN, 3);
	for (unsigned i = 0; i < 2; i++) {
		struct store_digest digest = digest_of(part_of(i + 1));
		memcpy(sums + 16 * i, digest.md5, 16);
	}
	struct store_digest whole = digest_of(slice_make((const char *)sums, sizeof(sums)));
	hex_encode(whole.md5, 16, md5);
	snprintf(out, 64, "%s-2", md5);
}

static const char *completed(void)
{
	char etag[64], body[256];
	composite_etag(etag);
	snprintf(body, sizeof(body), "<CompleteMultipartUploadResult><ETag>\"%s\"</ETag></CompleteMultipartUploadResult>", etag);
	return xml("200 OK", "", body);
}

static const char *head_of_parts(void)
{
	char etag[64];
	static char text[256];
	composite_etag(etag);
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nETag: \"%s\"\r\nContent-Length: %zu\r\n\r\n", etag, (size_t)PARTS_LEN);
	return text;
}

#define PART_SENT EMPTY("200 OK", "ETag: \"part\"\r\n")

/* The answer of a server that understands checksums. */
static const char *part_sent(unsigned number)
{
	char headers[256] = "ETag: \"part\"\r\nx-amz-checksum-sha256: ";
	const struct store_digest digest = digest_of(part_of(number));
	base64_encode(digest.sha256, 32, headers + strlen(headers));
	return xml("200 OK", strcat(headers, "\r\n"), "");
}

static int put_parts(struct put *put)
{
	const struct store_digest digest = digest_of(slice_make(parts_bytes, PARTS_LEN));
	int status = put_open(put, KEY, -1);
	for (size_t at = 0; status == 0 && at < PARTS_LEN; at += MIB)
		status = put_write(put, slice_make(parts_bytes + at, PARTS_LEN - at < MIB ? PARTS_LEN - at : MIB));
	return status != 0 ? status : put_commit(put, &digest);
}

static void start_parts(const struct peer_script *scripts, size_t count)
{
	options.part_bytes = PART;
	options.sse = "AES256";
	options.storage_class = "STANDARD_IA";
	start(scripts, count);
}

Test(s3_faults, parts_are_created_sent_and_completed)
{
	composite_etag((char[64]){0});
	const struct peer_script scripts[] = {
		{.answer = created()}, {.answer = part_sent(1)}, {.answer = part_sent(2)}, {.answer = completed()}};
	start_parts(scripts, 4);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 4);
	cr_assert(is_request(0, "POST /b/" KEY "?uploads= HTTP"));
	cr_assert(asked(0, "x-amz-checksum-algorithm: SHA256\r\n") && asked(0, "Content-Type: audio/wav\r\n"));
	cr_assert(asked(0, "x-amz-server-side-encryption: AES256\r\n") && asked(0, "x-amz-storage-class: STANDARD_IA\r\n"));
	for (unsigned i = 1; i <= 2; i++) {
		char md5[64] = "Content-MD5: ", target[128];
		const struct store_digest digest = digest_of(part_of(i));
		base64_encode(digest.md5, 16, md5 + strlen(md5));
		snprintf(target, sizeof(target), "PUT /b/" KEY "?partNumber=%u&uploadId=upload%%2B1%%2F%%3D HTTP", i);
		cr_assert(is_request(i, target), "%.200s", peer_request(peer, i));
		cr_assert(asked(i, md5) && asked(i, "x-amz-checksum-sha256: "));
		cr_assert(!asked(i, "x-amz-storage-class"));
	}
	cr_assert(is_request(3, "POST /b/" KEY "?uploadId=upload%2B1%2F%3D HTTP"));
	cr_assert(asked(3, "If-None-Match: *\r\n"));
	cr_assert(asked(3, "<Part><PartNumber>2</PartNumber><ETag>\"part\"</ETag><ChecksumSHA256>"), "%s", peer_request(peer, 3));
}

Test(s3_faults, a_part_that_arrived_otherwise_is_noticed)
{
	composite_etag((char[64]){0});
	const struct peer_script scripts[] = {
		{.answer = created()}, {.answer = part_sent(2)}, {.answer = PART_SENT}, {.answer = NO_CONTENT}};
	start_parts(scripts, 4);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), ERR_CHECKSUM);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert(is_request(peer_requests(peer) - 1, "DELETE /b/" KEY "?uploadId="));
	for (unsigned i = 1; i < peer_requests(peer); i++)
		cr_assert(!is_request(i, "POST "), "completed all the same");
}

Test(s3_faults, what_a_server_does_not_answer_is_not_told_of_at_completion)
{
	composite_etag((char[64]){0});
	const struct peer_script scripts[] = {
		{.answer = created()}, {.answer = PART_SENT}, {.answer = PART_SENT}, {.answer = completed()}};
	start_parts(scripts, 4);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert(!asked(3, "ChecksumSHA256"), "%s", peer_request(peer, 3));
}

Test(s3_faults, an_error_under_status_200_is_an_error)
{
	const struct peer_script scripts[] = {
		{.answer = created()},
		{.answer = PART_SENT},
		{.answer = PART_SENT},
		{.answer = xml("200 OK", "", "  \n<Error><Code>InternalError</Code><Message>try again</Message></Error>")},
		{.answer = completed()}};
	start_parts(scripts, 5);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 5);
}

Test(s3_faults, an_error_under_status_200_that_lasts_fails_and_the_parts_are_removed)
{
	const char *error = xml("200 OK", "", "<Error><Code>InternalError</Code></Error>");
	const struct peer_script scripts[] = {{.answer = created()}, {.answer = PART_SENT}, {.answer = PART_SENT},
					      {.answer = error},     {.answer = error},     {.answer = error},
					      {.answer = error},     {.answer = NO_CONTENT}};
	composite_etag((char[64]){0});
	start_parts(scripts, 8);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), ERR_HTTP_SERVER);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(peer_requests(peer), 8);
	cr_assert(is_request(7, "DELETE /b/" KEY "?uploadId=upload%2B1%2F%3D HTTP"));
}

Test(s3_faults, a_completion_whose_answer_was_lost_is_looked_up)
{
	const struct peer_script scripts[] = {{.answer = created()},
					      {.answer = PART_SENT},
					      {.answer = PART_SENT},
					      {.answer = completed(), .cut_after = 3},
					      {.answer = refusal("404 Not Found", "NoSuchUpload", "")},
					      {.answer = head_of_parts()}};
	start_parts(scripts, 6);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 6);
	cr_assert(is_request(5, "HEAD "));
}

Test(s3_faults, parts_put_together_wrongly_are_taken_back)
{
	const struct peer_script scripts[] = {
		{.answer = created()},
		{.answer = PART_SENT},
		{.answer = PART_SENT},
		{.answer = xml("200 OK", "",
			       "<CompleteMultipartUploadResult><ETag>other-2</ETag></CompleteMultipartUploadResult>")},
		{.answer = HEAD_OF("12345", "")},
		{.answer = NO_CONTENT}};
	composite_etag((char[64]){0});
	start_parts(scripts, 6);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), ERR_CHECKSUM);
	cr_assert(is_request(5, "DELETE /b/" KEY " HTTP"));
	cr_assert_eq(put_abort(&put), 0);
}

Test(s3_faults, a_part_is_sent_again)
{
	const struct peer_script scripts[] = {{.answer = created()},
					      {.answer = refusal("503 Slow Down", "SlowDown", "")},
					      {.answer = PART_SENT},
					      {.answer = PART_SENT},
					      {.answer = completed()}};
	start_parts(scripts, 5);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 5);
}

Test(s3_faults, a_part_is_given_up_after_a_few_tries)
{
	const struct peer_script scripts[] = {{.answer = created()}, {.answer = refusal("503 Slow Down", "SlowDown", "")}};
	composite_etag((char[64]){0});
	start_parts(scripts, 2);
	struct put put = {0};
	unsigned tries = 0;
	cr_assert_eq(put_parts(&put), ERR_HTTP_THROTTLED);
	cr_assert_eq(put_abort(&put), 0);
	for (unsigned i = 0; i < peer_requests(peer); i++)
		tries += is_request(i, "PUT /b/" KEY "?partNumber=1&");
	cr_assert_leq(tries, 4);
	cr_assert(is_request(peer_requests(peer) - 1, "DELETE /b/" KEY "?uploadId="));
}

Test(s3_faults, the_same_object_in_place_of_the_parts_is_adopted_and_the_parts_are_removed)
{
	const struct peer_script scripts[] = {{.answer = created()},       {.answer = PART_SENT},
					      {.answer = PART_SENT},       {.answer = EMPTY("412 Precondition Failed", "")},
					      {.answer = head_of_parts()}, {.answer = NO_CONTENT}};
	start_parts(scripts, 6);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 6);
	cr_assert(is_request(5, "DELETE /b/" KEY "?uploadId="));
}

Test(s3_faults, another_object_in_place_of_the_parts_is_replaced)
{
	const struct peer_script scripts[] = {{.answer = created()},        {.answer = PART_SENT},
					      {.answer = PART_SENT},        {.answer = EMPTY("412 Precondition Failed", "")},
					      {.answer = HEAD_OF("1", "")}, {.answer = completed()}};
	start_parts(scripts, 6);
	struct put put = {0};
	cr_assert_eq(put_parts(&put), 0, "%s", put.put.error.detail);
	cr_assert_eq(peer_requests(peer), 6);
	cr_assert(is_request(5, "POST ") && !asked(5, "If-None-Match"));
}

Test(s3_faults, abort_at_any_moment_of_an_upload_in_parts_ends_it_once)
{
	const struct peer_script scripts[] = {{.answer = created()}};
	options.stall_timeout_ms = 20000;
	composite_etag((char[64]){0});
	start_parts(scripts, 1);
	for (unsigned turns = 0; turns < 40; turns += 3) {
		struct put put = {0};
		cr_assert_eq(put_open(&put, KEY, -1), 0);
		put_start_write(&put, slice_make(parts_bytes, PART));
		cr_assert_eq(put_wait(&put), 0);
		put_start_write(&put, slice_make(parts_bytes, MIB));
		put_wait(&put);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		cr_assert_eq(put_abort(&put), 0);
	}
}

Test(s3_faults, abort_does_not_wait_for_parts_under_way)
{
	const struct peer_script scripts[] = {{.answer = created()}, {.answer = "", .hang = true}, {.answer = NO_CONTENT}};
	options.stall_timeout_ms = 20000;
	composite_etag((char[64]){0});
	start_parts(scripts, 3);
	struct put put = {0};
	cr_assert_eq(put_open(&put, KEY, -1), 0);
	cr_assert_eq(put_write(&put, slice_make(parts_bytes, PART)), 0);
	cr_assert_eq(put_write(&put, slice_make(parts_bytes, 1)), 0);
	while (peer_requests(peer) < 2)
		turn_run(&loop);
	uint64_t begun = uv_hrtime();
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_lt(uv_hrtime() - begun, UINT64_C(10000000000));
	cr_assert(is_request(2, "DELETE /b/" KEY "?uploadId="));
}

Test(s3_faults, abort_does_not_wait_for_another_try_of_a_part)
{
	const char *created_text = created(), *again = refusal("503 Slow Down", "SlowDown", "");
	const struct peer_script scripts[] = {{.answer = created_text}, {.answer = again}, {.answer = NO_CONTENT}};
	options.retry_ms = 60000;
	composite_etag((char[64]){0});
	start_parts(scripts, 3);
	struct put put = {0};
	cr_assert_eq(put_open(&put, KEY, -1), 0);
	cr_assert_eq(put_write(&put, slice_make(parts_bytes, PART)), 0);
	cr_assert_eq(put_write(&put, slice_make(parts_bytes, 1)), 0);
	while (peer_sent(peer) < strlen(created_text) + strlen(again))
		turn_run(&loop);
	/* Until the refusal is read; earlier would be the abort of a part under way. */
	for (unsigned i = 0; i < 20; i++)
		turn_run(&loop);
	cr_assert_eq(put_abort(&put), 0);
	cr_assert_eq(peer_requests(peer), 3, "the part was not sent again");
	cr_assert(is_request(2, "DELETE /b/" KEY "?uploadId="));
}

Test(s3_faults, part_buffers_are_shared_in_turn)
{
	options.parts_max = 1;
	const struct peer_script scripts[] = {{.answer = STORED}};
	start_parts(scripts, 1);
	struct put first = {0}, second = {0}, third = {0};
	cr_assert_eq(put_open(&first, KEY, -1), 0);
	cr_assert_eq(put_open(&second, KEY "2", -1), 0);
	cr_assert_eq(put_open(&third, KEY "3", -1), 0);
	cr_assert_eq(put_write_text(&first, "content"), 0);
	put_start_write(&second, SLICE("content"));
	put_start_write(&third, SLICE("content"));
	for (unsigned i = 0; i < 50; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(second.done + third.done, 0, "there is one buffer");
	const struct store_digest digest = digest_of(SLICE("content"));
	cr_assert_eq(put_commit(&first, &digest), 0, "%s", first.put.error.detail);
	cr_assert_eq(put_wait(&second), 0);
	for (unsigned i = 0; i < 50; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	cr_assert_eq(third.done, 0);
	cr_assert_eq(put_abort(&second), 0);
	cr_assert_eq(put_wait(&third), 0);
	cr_assert_eq(put_commit(&third, &digest), 0, "%s", third.put.error.detail);
}

/* ---- Probe and clean ---- */

Test(s3_faults, a_probe_that_reads_other_bytes_fails_and_still_deletes)
{
	START({.answer = EMPTY("200 OK", "")}, {.answer = ANSWER("200 OK", "", "5") "other"}, {.answer = NO_CONTENT});
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), ERR_STORE);
	cr_assert_eq(peer_requests(peer), 3);
	cr_assert(is_request(2, "DELETE /b/r/.reeld-probe-"));
}

#define UPLOAD(key, id, time) "<Upload><Key>" key "</Key><UploadId>" id "</UploadId><Initiated>" time "</Initiated></Upload>"
#define OLD "2020-01-01T00:00:00.000Z"

Test(s3_faults, clean_turns_the_pages_and_touches_only_what_is_old_and_ours)
{
	const struct peer_script scripts[] = {
		{.answer = xml(
			 "200 OK", "Date: Wed, 01 Jan 2020 12:00:00 GMT\r\n",
			 "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>r/k&amp;1</NextKeyMarker>"
			 "<NextUploadIdMarker>m1</NextUploadIdMarker>" UPLOAD("r/2020/RE" SID ".wav", "young",
									      OLD) "</ListMultipartUploadsResult>")},
		{.answer = xml("200 OK", "Date: Fri, 03 Jan 2020 12:00:00 GMT\r\n",
			       "<ListMultipartUploadsResult>" UPLOAD("r/2020/RE" SID ".wav", "id1", OLD)
				       UPLOAD("r/notes.txt", "id2", OLD) UPLOAD("r/2020/RE12.wav", "id6", OLD) UPLOAD(
					       "other/RE" SID ".wav", "id3", OLD) UPLOAD("r/2020/RE" SID ".mp3", "id4", OLD)
					       UPLOAD("r/2020/RE" SID ".wav", "id5", "never") "</ListMultipartUploadsResult>")},
		{.answer = NO_CONTENT},
		{.answer = refusal("404 Not Found", "NoSuchUpload", "")},
		{.answer = xml("200 OK", "Date: Fri, 03 Jan 2020 12:00:00 GMT\r\n",
			       "<ListBucketResult><Contents><Key>r/.reeld-probe-1</Key><LastModified>" OLD
			       "</LastModified></Contents>"
			       "<Contents><Key>r/.reeld-probe-2</Key><LastModified>2020-01-03T11:00:00Z</LastModified></Contents>"
			       "</ListBucketResult>")},
		{.answer = NO_CONTENT}};
	start(scripts, 6);
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0, "%s", request.request.error.detail);
	cr_assert_eq(peer_requests(peer), 6);
	cr_assert(is_request(0, "GET /b?max-uploads=100&prefix=r%2F&uploads= HTTP"), "%s", peer_request(peer, 0));
	cr_assert(is_request(1, "GET /b?key-marker=r%2Fk%261&max-uploads=100&prefix=r%2F&upload-id-marker=m1&uploads= HTTP"),
		  "%s", peer_request(peer, 1));
	cr_assert(is_request(2, "DELETE /b/r/2020/RE" SID ".wav?uploadId=id1 HTTP"));
	cr_assert(is_request(3, "DELETE /b/r/2020/RE" SID ".mp3?uploadId=id4 HTTP"));
	cr_assert(is_request(4, "GET /b?list-type=2&max-keys=100&prefix=r%2F.reeld-probe- HTTP"), "%s", peer_request(peer, 4));
	cr_assert(is_request(5, "DELETE /b/r/.reeld-probe-1 HTTP"));
}

Test(s3_faults, clean_that_may_not_list_says_so)
{
	const struct peer_script scripts[] = {{.answer = refusal("403 Forbidden", "AccessDenied", "")}};
	start(scripts, 1);
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), ERR_HTTP_FORBIDDEN);
	cr_assert_eq(peer_requests(peer), 1);
}
