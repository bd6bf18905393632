/* SPDX-License-Identifier: MIT */
/* The S3 store against OpenStack Swift, which verifies every signature and checksum; what is stored is looked at with curl. */
#include "loop/store/s3_fixture.h"

#include "base/hex.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MIB ((size_t)1024 * 1024)
#define SID "0123456789abcdef0123456789abcdef"

static void set_up(void)
{
	const struct store_s3_options options = s3_fixture_options();
	s3_fixture_open(&options);
}

TestSuite(store_s3, .init = set_up, .fini = s3_fixture_close, .timeout = 120);

static int put_bytes(const char *key, int64_t length, struct slice bytes, size_t piece)
{
	const struct store_object object = {.key = key, .length = length, .content_type = "audio/wav"};
	struct error error = {0};
	int status = put_object(&object, bytes, piece, &error);
	cr_expect_eq(status, 0, "%s", error.detail);
	return status;
}

/* curl gets exactly these bytes. */
static bool holds(const char *key, struct slice bytes)
{
	size_t len;
	char *answer = s3_fetch(key, &len);
	const char *body = strstr(answer, "\r\n\r\n");
	bool same = strncmp(answer, "HTTP/1.1 200", 12) == 0 && body != NULL && len - (size_t)(body + 4 - answer) == bytes.len &&
		    memcmp(body + 4, bytes.ptr, bytes.len) == 0;
	free(answer);
	return same;
}

static bool is_absent(const char *key)
{
	char *answer = s3_fetch(key, NULL);
	bool absent = strncmp(answer, "HTTP/1.1 404", 12) == 0;
	free(answer);
	return absent;
}

Test(store_s3, every_length_and_way_up_arrives_whole)
{
	static const struct {
		const char *name;
		size_t len;
		bool known;
		size_t piece;
	} cases[] = {
		{"empty.wav", 0, true, 1},
		{"empty-unknown.wav", 0, false, 1},
		{"one.wav", 1, true, 1},
		{"small.wav", 1000, true, 333},
		{"held.wav", 256 * 1024, true, 65536},
		{"streamed-one-more.wav", 256 * 1024 + 1, true, 65536},
		{"streamed.wav", MIB + 17, true, 65536},
		{"streamed-big-pieces.wav", 3 * MIB, true, MIB},
		{"streamed-last-byte-alone.wav", MIB + 1, true, MIB},
		{"unknown-small.wav", 70000, false, 65536},
	};
	char *bytes = make_bytes(3 * MIB, 7);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *key = s3_key(cases[i].name);
		struct slice content = slice_make(bytes + i, cases[i].len < 3 * MIB ? cases[i].len : 3 * MIB - i);
		cr_assert_eq(put_bytes(key, cases[i].known ? (int64_t)content.len : -1, content, cases[i].piece), 0, "%s", key);
		cr_assert(holds(key, content), "%s", key);
		cr_assert_eq(verify_bytes(key, content), 0, "%s", key);
	}
	cr_assert(store_up(store));
	cr_assert_str_eq(store_kind(store), "s3");
	free(bytes);
}

Test(store_s3, delete_is_harmless_twice_and_verify_says_what_is_missing)
{
	struct request request = {0};
	const char *key = s3_key("deleted.wav");
	cr_assert_eq(put_text(key, "content"), 0);
	cr_assert_eq(submit(&request, STORE_DELETE, key), 0);
	cr_assert(is_absent(key));
	cr_assert_eq(submit(&request, STORE_DELETE, key), 0);
	cr_assert_eq(verify_bytes(key, SLICE("content")), ERR_NOT_FOUND);
	cr_assert(store_up(store));
}

Test(store_s3, verify_tells_other_bytes_from_ours)
{
	const char *key = s3_key("verified.wav");
	struct request request = {0};
	cr_assert_eq(put_text(key, "content"), 0);
	cr_assert_eq(verify_bytes(key, SLICE("content")), 0);
	cr_assert_eq(verify_bytes(key, SLICE("contenu")), ERR_CHECKSUM);
	cr_assert_eq(verify_bytes(key, SLICE("longer content")), ERR_CHECKSUM);
	/* an older ledger may not know the MD5 */
	request.request.digest = digest_of(SLICE("content"));
	memset(request.request.digest.md5, 0, sizeof(request.request.digest.md5));
	cr_assert_eq(submit(&request, STORE_VERIFY, key), 0);
}

Test(store_s3, nothing_is_visible_before_commit_and_abort_leaves_nothing)
{
	char *bytes = make_bytes(12 * MIB, 3);
	static const struct {
		const char *name;
		size_t len;
		bool known;
	} cases[] = {{"small.wav", 1000, true}, {"streamed.wav", MIB, true}, {"unknown.wav", 12 * MIB, false}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *key = s3_key(cases[i].name);
		struct put put = {0};
		cr_assert_eq(put_open(&put, key, cases[i].known ? (int64_t)cases[i].len : -1), 0);
		for (size_t at = 0; at < cases[i].len; at += MIB) {
			size_t len = cases[i].len - at < MIB ? cases[i].len - at : MIB;
			cr_assert_eq(put_write(&put, slice_make(bytes + at, len)), 0, "%s", put.put.error.detail);
		}
		cr_assert(is_absent(key), "%s is there before commit", key);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert(is_absent(key), "%s is there after abort", key);
	}
	cr_assert_eq(s3_open_uploads(), 0);
	free(bytes);
}

Test(store_s3, a_wrong_digest_leaves_nothing)
{
	static const size_t lens[] = {1000, MIB, 20 * MIB};
	char *bytes = make_bytes(20 * MIB, 5);
	for (size_t i = 0; i < 3; i++) {
		const char *key = s3_key("wrong.wav");
		struct put put = {0};
		struct store_digest digest = digest_of(slice_make(bytes, lens[i]));
		digest.md5[3] ^= 1;
		digest.sha256[3] ^= 1;
		cr_assert_eq(put_open(&put, key, i == 2 ? -1 : (int64_t)lens[i]), 0);
		for (size_t at = 0; at < lens[i]; at += MIB)
			cr_assert_eq(put_write(&put, slice_make(bytes + at, lens[i] - at < MIB ? lens[i] - at : MIB)), 0);
		cr_assert_eq(put_commit(&put, &digest), ERR_CHECKSUM, "%zu", lens[i]);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert(is_absent(key), "%zu bytes", lens[i]);
	}
	cr_assert(store_up(store), "the object is wrong, not the store");
	cr_assert_eq(s3_open_uploads(), 0);
	free(bytes);
}

Test(store_s3, what_does_not_fit_into_a_part_goes_up_in_parts)
{
	char *bytes = make_bytes(21 * MIB + 1, 11);
	struct slice content = slice_make(bytes, 21 * MIB + 1);
	struct store_s3_options options = s3_fixture_options();
	options.part_bytes = 5 * MIB;
	options.multipart_threshold = 20 * MIB;
	s3_fixture_reopen(&options);
	for (int known = 0; known < 2; known++) {
		const char *key = s3_key(known ? "parts-known.wav" : "parts-unknown.wav");
		cr_assert_eq(put_bytes(key, known ? (int64_t)content.len : -1, content, MIB + 4321), 0);
		cr_assert(holds(key, content));
		cr_assert_eq(verify_bytes(key, content), 0);
	}
	/* exactly two parts, and exactly one: the latter is no upload in parts */
	struct slice two = slice_make(bytes, 10 * MIB);
	struct slice one = slice_make(bytes, 5 * MIB);
	cr_assert_eq(put_bytes(s3_key("two-parts.wav"), -1, two, MIB), 0);
	cr_assert(holds(s3_key("two-parts.wav"), two));
	cr_assert_eq(put_bytes(s3_key("one-part.wav"), -1, one, MIB), 0);
	cr_assert(holds(s3_key("one-part.wav"), one));
	cr_assert_eq(s3_open_uploads(), 0);
	free(bytes);
}

/* As long as that of a key of 4096 bits: 684 characters. */
#define CEK_64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
#define CEK_256 CEK_64 CEK_64 CEK_64 CEK_64
#define CEK_172 CEK_64 CEK_64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq="
#define CEK CEK_256 CEK_256 CEK_172

Test(store_s3, headers_and_metadata_are_kept)
{
	char *big = make_bytes(MIB, 2);
	const struct slice contents[] = {SLICE("RIFF"), slice_make(big, MIB)};
	for (int i = 0; i < 2; i++) {
		struct store_object object = {
			.key = s3_key("meta ü+&=.wav"),
			.length = (int64_t)contents[i].len,
			.content_type = "audio/mpeg",
			.call_sid = "CA" SID,
			.recording_sid = "RE" SID,
			.account_sid = "AC" SID,
			.duration = "12",
			.channels = "2",
			.source = "DialVerb",
			.start_time = "2026-11-23T23:10:05.123Z",
			.encryption_type = "rsa-aes",
			.encryption_public_key_sid = "CR" SID,
			.encryption_cek = CEK,
			.encryption_iv = "AAECAwQFBgcICQoL",
		};
		cr_assert_eq(put_object(&object, contents[i], MIB, NULL), 0);
		char *answer = s3_fetch(object.key, NULL);
		const char *const expected[] = {
			"Content-Type: audio/mpeg",
			"x-amz-meta-call-sid: CA" SID,
			"x-amz-meta-recording-sid: RE" SID,
			"x-amz-meta-account-sid: AC" SID,
			"x-amz-meta-duration: 12",
			"x-amz-meta-channels: 2",
			"x-amz-meta-source: DialVerb",
			"x-amz-meta-start-time: 2026-11-23T23:10:05.123Z",
			"x-amz-meta-encryption-type: rsa-aes",
			"x-amz-meta-encryption-public-key-sid: CR" SID,
			"x-amz-meta-encryption-encrypted-cek: " CEK_256 "\r\n",
			"x-amz-meta-encryption-encrypted-cek-2: " CEK_256 "\r\n",
			"x-amz-meta-encryption-encrypted-cek-3: " CEK_172 "\r\n",
			"x-amz-meta-encryption-iv: AAECAwQFBgcICQoL",
		};
		for (size_t n = 0; n < sizeof(expected) / sizeof(expected[0]); n++)
			cr_expect(strcasestr(answer, expected[n]) != NULL, "%s is missing in %.900s", expected[n], answer);
		cr_expect_eq(strcasestr(answer, "x-amz-meta-sha256: ") != NULL, i == 0,
			     "known only when it is held until commit");
		free(answer);
	}
	free(big);
}

Test(store_s3, a_later_put_replaces_the_earlier)
{
	const char *key = s3_key("replaced.wav");
	cr_assert_eq(put_text(key, "first"), 0);
	cr_assert_eq(put_text(key, "second"), 0);
	cr_assert(holds(key, SLICE("second")));
	cr_assert_eq(put_text(key, "second"), 0);
	char *bytes = make_bytes(MIB, 9);
	cr_assert_eq(put_bytes(key, MIB, slice_make(bytes, MIB), MIB), 0);
	cr_assert(holds(key, slice_make(bytes, MIB)));
	free(bytes);
}

Test(store_s3, a_probe_leaves_nothing)
{
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), 0, "%s", request.request.error.detail);
	struct store_s3_options options = s3_fixture_options();
	options.bucket = "no-such-bucket";
	s3_fixture_reopen(&options);
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), ERR_UNAVAILABLE);
	cr_assert(strstr(request.request.error.detail, "NoSuchBucket") != NULL, "%s", request.request.error.detail);
	cr_assert(!store_up(store));
}

Test(store_s3, a_wrong_secret_is_said_and_not_told)
{
	struct request request = {0};
	struct put put = {0};
	struct store_s3_options options = s3_fixture_options();
	char *bytes = make_bytes(MIB, 9);
	s3_fixture_close();
	s3_variables.secret = "a-secret-that-is-wrong";
	s3_fixture_open(&options);
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), ERR_HTTP_FORBIDDEN);
	cr_assert(strstr(request.request.error.detail, "SignatureDoesNotMatch") != NULL, "%s", request.request.error.detail);
	cr_assert(strstr(request.request.error.detail, "that-is-wrong") == NULL);
	cr_assert(!store_up(store));
	/* said before the body was sent: it waits for consent as long as no signature has pleased */
	cr_assert_eq(put_open(&put, s3_key("x.wav"), MIB), 0);
	cr_assert_eq(put_write(&put, slice_make(bytes, MIB)), ERR_HTTP_FORBIDDEN);
	cr_assert_eq(put_abort(&put), 0);
	free(bytes);
}

Test(store_s3, a_wrong_region_is_learned)
{
	struct store_s3_options options = s3_fixture_options();
	char *bytes = make_bytes(MIB, 4);
	options.region = "eu-nowhere-7";
	s3_fixture_reopen(&options);
	cr_assert_eq(put_bytes(s3_key("region.wav"), MIB, slice_make(bytes, MIB), MIB), 0);
	cr_assert(holds(s3_key("region.wav"), slice_make(bytes, MIB)));
	free(bytes);
}

Test(store_s3, clean_removes_old_uploads_in_parts_and_no_young_ones)
{
	struct request request = {0};
	struct put left = {0};
	struct store_s3_options options = s3_fixture_options();
	char *bytes = make_bytes(9 * MIB, 6);
	cr_assert_eq(put_open(&left, s3_key("2026/11/23/CA" SID "/RE" SID ".wav"), -1), 0);
	cr_assert_eq(put_write(&left, slice_make(bytes, 8 * MIB)), 0);
	cr_assert_eq(put_write(&left, slice_make(bytes + 8 * MIB, MIB)), 0);
	while (s3_open_uploads() == 0)
		turn_run(&loop);
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0, "%s", request.request.error.detail);
	cr_assert_eq(s3_open_uploads(), 1, "it is in use");
	free(bytes);
	/* Another process, for which everything is old, comes upon it. */
	struct store *first = store;
	options.clean_age_ms = -1000000;
	options.http = s3_http;
	options.credentials = s3_credentials;
	cr_assert_eq(store_s3_open(&store, &loop, &options, NULL), 0);
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0, "%s", request.request.error.detail);
	cr_assert_eq(s3_open_uploads(), 0);
	support_close_store();
	support_store_closed = false;
	store = first;
	cr_assert_eq(put_abort(&left), 0);
}
