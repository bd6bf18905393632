/* SPDX-License-Identifier: MIT */
#include "store/s3_answer.h"

#include "base/clock.h"
#include "base/hex.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW INT64_C(1795475405000)
/* of "content" */
#define MD5_HEX "9a0364b9e99bb480dd25e1f0284c8555"
#define SHA256_HEX "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
#define SHA256_BASE64 "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="

static struct s3_answer answer_of(long status, const char *code)
{
	struct s3_answer answer;
	s3_answer_reset(&answer);
	answer.http_status = status;
	snprintf(answer.error.code, sizeof(answer.error.code), "%s", code);
	return answer;
}

Test(s3_answer, each_code_has_an_action_and_a_class)
{
	static const struct {
		long status;
		const char *code;
		enum s3_action action;
		int error;
	} cases[] = {
		{200, "", S3_OK, 0},
		{204, "", S3_OK, 0},
		{200, "InternalError", S3_AGAIN, ERR_HTTP_SERVER},
		{200, "SomethingNew", S3_AGAIN, ERR_HTTP_SERVER},
		{301, "PermanentRedirect", S3_LEARN_REGION, ERR_UNAVAILABLE},
		{301, "", S3_LEARN_REGION, ERR_UNAVAILABLE},
		{307, "TemporaryRedirect", S3_LEARN_REGION, ERR_UNAVAILABLE},
		{400, "AuthorizationHeaderMalformed", S3_LEARN_REGION, ERR_HTTP_FORBIDDEN},
		{400, "ExpiredToken", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
		{400, "BadDigest", S3_FAIL, ERR_CHECKSUM},
		{400, "XAmzContentSHA256Mismatch", S3_FAIL, ERR_CHECKSUM},
		{400, "RequestTimeout", S3_AGAIN, ERR_TIMEOUT},
		{400, "KeyTooLongError", S3_FAIL, ERR_INVALID},
		{400, "InvalidStorageClass", S3_FAIL, ERR_UNAVAILABLE},
		{400, "SomethingNew", S3_UNSUPPORTED, ERR_STORE},
		{401, "", S3_FAIL, ERR_HTTP_UNAUTHORIZED},
		{403, "AccessDenied", S3_FAIL, ERR_HTTP_FORBIDDEN},
		{403, "SignatureDoesNotMatch", S3_FAIL, ERR_HTTP_FORBIDDEN},
		{403, "InvalidAccessKeyId", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
		{403, "RequestTimeTooSkewed", S3_LEARN_TIME, ERR_HTTP_FORBIDDEN},
		{403, "", S3_FAIL, ERR_HTTP_FORBIDDEN},
		{404, "NoSuchBucket", S3_FAIL, ERR_UNAVAILABLE},
		{404, "NoSuchKey", S3_FAIL, ERR_NOT_FOUND},
		{404, "NoSuchUpload", S3_FAIL, ERR_STORE},
		{404, "", S3_FAIL, ERR_NOT_FOUND},
		{408, "", S3_AGAIN, ERR_TIMEOUT},
		{409, "OperationAborted", S3_AGAIN, ERR_STORE},
		{412, "PreconditionFailed", S3_FAIL, ERR_STORE},
		{429, "", S3_AGAIN, ERR_HTTP_THROTTLED},
		{500, "InternalError", S3_AGAIN, ERR_HTTP_SERVER},
		{501, "NotImplemented", S3_UNSUPPORTED, ERR_UNAVAILABLE},
		{501, "", S3_UNSUPPORTED, ERR_UNAVAILABLE},
		{502, "", S3_AGAIN, ERR_HTTP_SERVER},
		{503, "SlowDown", S3_AGAIN, ERR_HTTP_THROTTLED},
		{503, "", S3_AGAIN, ERR_HTTP_THROTTLED},
		{507, "", S3_FAIL, ERR_NO_SPACE},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct s3_answer answer = answer_of(cases[i].status, cases[i].code);
		int code;
		cr_expect_eq(s3_answer_judge(&answer, NOW, &code), cases[i].action, "%ld %s", cases[i].status, cases[i].code);
		cr_expect_eq(code, cases[i].error, "%ld %s: %s", cases[i].status, cases[i].code, err_name(code));
	}
}

Test(s3_answer, what_the_operator_can_mend_burns_no_attempt)
{
	static const struct {
		long status;
		const char *code;
	} cases[] = {{403, "AccessDenied"},
		     {403, "SignatureDoesNotMatch"},
		     {404, "NoSuchBucket"},
		     {400, "ExpiredToken"},
		     {301, ""},
		     {400, "KMS.DisabledException"},
		     {501, ""},
		     {503, "SlowDown"},
		     {429, ""},
		     {507, ""}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct s3_answer answer = answer_of(cases[i].status, cases[i].code);
		int code;
		s3_answer_judge(&answer, NOW, &code);
		cr_expect_eq(err_class(code), ERR_CLASS_WAIT, "%ld %s", cases[i].status, cases[i].code);
	}
}

Test(s3_answer, a_head_has_no_code_but_a_date_and_a_region)
{
	int code;
	char region[64];
	struct s3_answer answer = answer_of(403, "");
	char date[CLOCK_RFC2822_SIZE];
	clock_format_rfc2822(NOW + 20 * 60000, date);
	s3_answer_header(&answer, SLICE("date"), slice_from_cstr(date));
	cr_expect_eq(answer.date_ms, NOW + 20 * 60000);
	cr_expect_eq(s3_answer_judge(&answer, NOW, &code), S3_LEARN_TIME);
	cr_expect_eq(s3_answer_judge(&answer, NOW + 20 * 60000, &code), S3_FAIL);
	answer = answer_of(400, "");
	s3_answer_header(&answer, SLICE("X-Amz-Bucket-Region"), SLICE("eu-west-1"));
	cr_expect_eq(s3_answer_judge(&answer, NOW, &code), S3_LEARN_REGION);
	cr_expect(s3_answer_region(&answer, region, sizeof(region)));
	cr_expect_str_eq(region, "eu-west-1");
	answer = answer_of(301, "PermanentRedirect");
	cr_expect(!s3_answer_region(&answer, region, sizeof(region)));
	snprintf(answer.error.endpoint, sizeof(answer.error.endpoint), "b.s3.eu-west-3.amazonaws.com");
	cr_expect(s3_answer_region(&answer, region, sizeof(region)));
	cr_expect_str_eq(region, "eu-west-3");
	/* it becomes a part of a host name */
	snprintf(answer.region, sizeof(answer.region), "evil.example.com/x");
	cr_expect(!s3_answer_region(&answer, region, sizeof(region)) || strcmp(region, "eu-west-3") == 0);
}

Test(s3_answer, dates_that_are_none_are_not_known)
{
	struct s3_answer answer = answer_of(200, "");
	s3_answer_header(&answer, SLICE("Date"), SLICE("yesterday"));
	cr_expect_eq(answer.date_ms, -1);
}

Test(s3_answer, reasons_are_codes_or_statuses)
{
	char reason[64];
	struct s3_answer answer = answer_of(403, "AccessDenied");
	s3_answer_reason(&answer, reason, sizeof(reason));
	cr_expect_str_eq(reason, "AccessDenied");
	answer = answer_of(502, "");
	s3_answer_reason(&answer, reason, sizeof(reason));
	cr_expect_str_eq(reason, "502");
}

/* ---- What proves that the bytes are there ---- */

static struct s3_expected content(void)
{
	struct s3_expected expected = {.bytes = 7};
	cr_assert(hex_decode(SLICE(MD5_HEX), expected.md5) && hex_decode(SLICE(SHA256_HEX), expected.sha256));
	return expected;
}

static enum s3_match match(const char *etag, const char *checksum, const char *meta, const char *encryption, int64_t length)
{
	struct s3_expected expected = content();
	struct s3_answer answer = answer_of(200, "");
	snprintf(expected.composite_etag, sizeof(expected.composite_etag), MD5_HEX "-2");
	snprintf(expected.composite_sha256, sizeof(expected.composite_sha256), SHA256_BASE64 "-2");
	answer.length = length;
	s3_answer_header(&answer, SLICE("ETag"), slice_from_cstr(etag));
	s3_answer_header(&answer, SLICE("x-amz-checksum-sha256"), slice_from_cstr(checksum));
	s3_answer_header(&answer, SLICE("x-amz-meta-sha256"), slice_from_cstr(meta));
	s3_answer_header(&answer, SLICE("x-amz-server-side-encryption"), slice_from_cstr(encryption));
	return s3_answer_match(&answer, &expected, true);
}

#define OTHER_MD5 "00000000000000000000000000000001"
#define OTHER_SHA256 "0000000000000000000000000000000000000000000000000000000000000001"
#define OTHER_BASE64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="

Test(s3_answer, the_length_comes_first)
{
	cr_expect_eq(match("\"" MD5_HEX "\"", SHA256_BASE64, SHA256_HEX, "", 8), S3_MATCH_DIFFERENT);
	cr_expect_eq(match("", "", "", "", 7), S3_MATCH_UNKNOWN);
}

Test(s3_answer, a_digest_proves_it)
{
	cr_expect_eq(match("\"" MD5_HEX "\"", "", "", "", 7), S3_MATCH_SAME);
	cr_expect_eq(match("\"" MD5_HEX "\"", "", "", "", -1), S3_MATCH_SAME);
	cr_expect_eq(match(MD5_HEX, "", "", "AES256", 7), S3_MATCH_SAME);
	cr_expect_eq(match("", SHA256_BASE64, "", "", 7), S3_MATCH_SAME);
	cr_expect_eq(match("", "", SHA256_HEX, "", 7), S3_MATCH_SAME);
	cr_expect_eq(match("\"" MD5_HEX "-2\"", "", "", "", 7), S3_MATCH_SAME);
	cr_expect_eq(match("\"opaque\"", SHA256_BASE64 "-2", "", "aws:kms", 7), S3_MATCH_SAME);
}

Test(s3_answer, another_checksum_disproves_it_and_another_etag_raises_a_doubt)
{
	cr_expect_eq(match("\"" MD5_HEX "\"", OTHER_BASE64, "", "", 7), S3_MATCH_DIFFERENT);
	cr_expect_eq(match("\"" OTHER_MD5 "\"", "", "", "", 7), S3_MATCH_UNKNOWN);
	/* what the writer said of itself does not outweigh the server's own MD5 */
	cr_expect_eq(match("\"" OTHER_MD5 "\"", "", SHA256_HEX, "", 7), S3_MATCH_UNKNOWN);
	cr_expect_eq(match("", "", OTHER_SHA256, "", 7), S3_MATCH_UNKNOWN);
	cr_expect_eq(match("\"" OTHER_MD5 "-2\"", "", "", "", 7), S3_MATCH_UNKNOWN);
	cr_expect_eq(match("", OTHER_BASE64 "-2", "", "", 7), S3_MATCH_UNKNOWN);
}

Test(s3_answer, an_etag_is_no_md5_where_a_kms_key_encrypts)
{
	cr_expect_eq(match("\"" OTHER_MD5 "\"", "", SHA256_HEX, "aws:kms", 7), S3_MATCH_SAME);
	cr_expect_eq(match("\"" MD5_HEX "\"", "", "", "aws:kms:dsse", 7), S3_MATCH_UNKNOWN);
}

Test(s3_answer, an_md5_of_zeros_is_not_known)
{
	struct s3_expected expected = content();
	struct s3_answer answer = answer_of(200, "");
	memset(expected.md5, 0, sizeof(expected.md5));
	snprintf(answer.etag, sizeof(answer.etag), "00000000000000000000000000000000");
	cr_expect_eq(s3_answer_match(&answer, &expected, true), S3_MATCH_UNKNOWN);
	cr_expect(!s3_answer_etag_differs(&answer, &expected));
	snprintf(answer.meta_sha256, sizeof(answer.meta_sha256), SHA256_HEX);
	cr_expect_eq(s3_answer_match(&answer, &expected, true), S3_MATCH_SAME);
}
