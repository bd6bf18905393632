/* SPDX-License-Identifier: MIT */
#include "store/s3_answer.h"

#include "base/clock.h"
#include "base/hex.h"
#include "store/s3_address.h"

#include <stdio.h>
#include <stdlib.h>

/* S3 allows 15 minutes of difference; less is not the reason of a refusal. */
#define SKEW_SUSPICIOUS_MS ((int64_t)5 * 60 * 1000)

void s3_answer_reset(struct s3_answer *answer)
{
	*answer = (struct s3_answer){.length = -1, .date_ms = -1, .retry_after_ms = -1};
}

/* A value that does not fit is left out: half of it would be wrong. */
static void keep(char *out, size_t size, struct slice value)
{
	if (value.len >= size)
		value.len = 0;
	if (value.len > 0)
		memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
}

void s3_answer_header(struct s3_answer *answer, struct slice name, struct slice value)
{
	static const struct {
		struct slice name;
		size_t offset;
		size_t size;
	} kept[] = {
#define KEPT(header, member) {SLICE(header), offsetof(struct s3_answer, member), sizeof(((struct s3_answer *)NULL)->member)}
		KEPT("ETag", etag),
		KEPT("x-amz-server-side-encryption", encryption),
		KEPT("x-amz-checksum-sha256", checksum_sha256),
		KEPT("x-amz-meta-sha256", meta_sha256),
		KEPT("x-amz-bucket-region", region),
#undef KEPT
	};
	if (slice_equal_nocase(name, SLICE("Date"))) {
		if (clock_parse_rfc2822(value.ptr, value.len, &answer->date_ms) != 0)
			answer->date_ms = -1;
		return;
	}
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (!slice_equal_nocase(name, kept[i].name))
			continue;
		keep((char *)answer + kept[i].offset, kept[i].size, value);
		if (i == 0)
			s3_xml_unquote_etag(answer->etag);
		return;
	}
}

/* ---- What to do ---- */

static const struct {
	const char *code;
	enum s3_action action;
	int error;
} codes[] = {
	{"AuthorizationHeaderMalformed", S3_LEARN_REGION, ERR_HTTP_FORBIDDEN},
	{"PermanentRedirect", S3_LEARN_REGION, ERR_UNAVAILABLE},
	{"TemporaryRedirect", S3_LEARN_REGION, ERR_UNAVAILABLE},
	{"IllegalLocationConstraintException", S3_LEARN_REGION, ERR_UNAVAILABLE},
	{"RequestTimeTooSkewed", S3_LEARN_TIME, ERR_HTTP_FORBIDDEN},
	{"InvalidAccessKeyId", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
	{"ExpiredToken", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
	{"InvalidToken", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
	{"TokenRefreshRequired", S3_RENEW_CREDENTIALS, ERR_HTTP_FORBIDDEN},
	{"SlowDown", S3_AGAIN, ERR_HTTP_THROTTLED},
	{"RequestLimitExceeded", S3_AGAIN, ERR_HTTP_THROTTLED},
	{"ServiceUnavailable", S3_AGAIN, ERR_HTTP_THROTTLED},
	{"InternalError", S3_AGAIN, ERR_HTTP_SERVER},
	{"RequestTimeout", S3_AGAIN, ERR_TIMEOUT},
	{"IncompleteBody", S3_AGAIN, ERR_RESET},
	{"OperationAborted", S3_AGAIN, ERR_STORE},
	{"ConditionalRequestConflict", S3_AGAIN, ERR_STORE},
	{"BadDigest", S3_FAIL, ERR_CHECKSUM},
	{"InvalidDigest", S3_FAIL, ERR_CHECKSUM},
	{"XAmzContentSHA256Mismatch", S3_FAIL, ERR_CHECKSUM},
	{"XAmzContentChecksumMismatch", S3_FAIL, ERR_CHECKSUM},
	{"NoSuchBucket", S3_FAIL, ERR_UNAVAILABLE},
	{"NoSuchKey", S3_FAIL, ERR_NOT_FOUND},
	{"NoSuchUpload", S3_FAIL, ERR_STORE},
	{"KeyTooLongError", S3_FAIL, ERR_INVALID},
	{"EntityTooLarge", S3_FAIL, ERR_TOO_LARGE},
	{"QuotaExceeded", S3_FAIL, ERR_NO_SPACE},
	{"XMinioStorageFull", S3_FAIL, ERR_NO_SPACE},
	/* The operator can mend these; no recording shall be given up for them. */
	{"InvalidStorageClass", S3_FAIL, ERR_UNAVAILABLE},
	{"InvalidEncryptionAlgorithmError", S3_FAIL, ERR_UNAVAILABLE},
	{"KMS.DisabledException", S3_FAIL, ERR_UNAVAILABLE},
	{"KMS.NotFoundException", S3_FAIL, ERR_UNAVAILABLE},
	{"KMS.KMSInvalidStateException", S3_FAIL, ERR_UNAVAILABLE},
	{"MethodNotAllowed", S3_FAIL, ERR_UNAVAILABLE},
	{"NotImplemented", S3_UNSUPPORTED, ERR_UNAVAILABLE},
	{"InvalidRequest", S3_UNSUPPORTED, ERR_STORE},
	{"InvalidArgument", S3_UNSUPPORTED, ERR_STORE},
};

static enum s3_action judge_status(const struct s3_answer *answer, int64_t now_wall_ms, int *code)
{
	switch (answer->http_status) {
	case 400: /* of a HEAD, which has no body: S3 says so to a signature for another region */
		*code = ERR_STORE;
		return answer->region[0] != '\0' ? S3_LEARN_REGION : S3_UNSUPPORTED;
	case 401:
		*code = ERR_HTTP_UNAUTHORIZED;
		return S3_FAIL;
	case 403: {
		int64_t skew = answer->date_ms < 0 ? 0 : llabs(answer->date_ms - now_wall_ms);
		*code = ERR_HTTP_FORBIDDEN;
		return answer->error.code[0] == '\0' && skew > SKEW_SUSPICIOUS_MS ? S3_LEARN_TIME : S3_FAIL;
	}
	case 404:
		*code = ERR_NOT_FOUND;
		return S3_FAIL;
	case 408:
		*code = ERR_TIMEOUT;
		return S3_AGAIN;
	case 409:
	case 425:
		*code = ERR_STORE;
		return S3_AGAIN;
	case 429:
	case 503:
		*code = ERR_HTTP_THROTTLED;
		return S3_AGAIN;
	case 501:
		*code = ERR_UNAVAILABLE;
		return S3_UNSUPPORTED;
	case 507:
		*code = ERR_NO_SPACE;
		return S3_FAIL;
	default:
		break;
	}
	if (answer->http_status >= 500) {
		*code = ERR_HTTP_SERVER;
		return S3_AGAIN;
	}
	bool redirect = answer->http_status >= 300 && answer->http_status <= 399;
	*code = redirect ? ERR_UNAVAILABLE : ERR_STORE;
	return redirect ? S3_LEARN_REGION : S3_FAIL;
}

enum s3_action s3_answer_judge(const struct s3_answer *answer, int64_t now_wall_ms, int *code)
{
	*code = 0;
	if (answer->http_status >= 200 && answer->http_status <= 299 && answer->error.code[0] == '\0')
		return S3_OK;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(answer->error.code, codes[i].code) != 0)
			continue;
		*code = codes[i].error;
		return codes[i].action;
	}
	/* An error under status 200 that we do not know: as if it were a server error. */
	if (answer->http_status >= 200 && answer->http_status <= 299) {
		*code = ERR_HTTP_SERVER;
		return S3_AGAIN;
	}
	return judge_status(answer, now_wall_ms, code);
}

bool s3_answer_region(const struct s3_answer *answer, char *region, size_t size)
{
	const char *named = answer->region[0] != '\0' ? answer->region : answer->error.region;
	if (named[0] != '\0' && strlen(named) < size && s3_address_region_is_valid(named)) {
		snprintf(region, size, "%s", named);
		return true;
	}
	return s3_address_region_of_host(slice_from_cstr(answer->error.endpoint), region, size);
}

void s3_answer_reason(const struct s3_answer *answer, char *out, size_t size)
{
	if (answer->error.code[0] != '\0')
		snprintf(out, size, "%s", answer->error.code);
	else
		snprintf(out, size, "%ld", answer->http_status);
}

/* ---- What it proves ---- */

static bool is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdefABCDEF") == len;
}

static bool is_known(const uint8_t *digest, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (digest[i] != 0)
			return true;
	}
	return false;
}

/* From all that the answer says: AWS's is not where a KMS key encrypts. */
static bool etag_can_be_md5(const struct s3_answer *answer, const struct s3_expected *expected)
{
	return is_hex(answer->etag, 32) && strncmp(answer->encryption, "aws:", 4) != 0 &&
	       is_known(expected->md5, sizeof(expected->md5));
}

static bool etag_is(const struct s3_answer *answer, const uint8_t md5[16])
{
	char text[33];
	hex_encode(md5, 16, text);
	return strcasecmp(answer->etag, text) == 0;
}

bool s3_answer_etag_differs(const struct s3_answer *answer, const struct s3_expected *expected)
{
	return etag_can_be_md5(answer, expected) && !etag_is(answer, expected->md5);
}

enum s3_match s3_answer_match(const struct s3_answer *answer, const struct s3_expected *expected, bool etag_is_md5)
{
	char sha256[S3_SHA256_TEXT_SIZE], checksum[BASE64_LEN(32) + 1];
	hex_encode(expected->sha256, sizeof(expected->sha256), sha256);
	base64_encode(expected->sha256, sizeof(expected->sha256), checksum);
	if (answer->length >= 0 && answer->length != expected->bytes)
		return S3_MATCH_DIFFERENT;
	/* With a number of parts behind it, it is a checksum of checksums. */
	bool composite = strchr(answer->checksum_sha256, '-') != NULL;
	if (answer->checksum_sha256[0] != '\0' && !composite)
		return strcmp(answer->checksum_sha256, checksum) == 0 ? S3_MATCH_SAME : S3_MATCH_DIFFERENT;
	if (composite && strcmp(answer->checksum_sha256, expected->composite_sha256) == 0)
		return S3_MATCH_SAME;
	if (answer->etag[0] != '\0' && strcmp(answer->etag, expected->composite_etag) == 0)
		return S3_MATCH_SAME;
	if (etag_is_md5 && etag_can_be_md5(answer, expected))
		return etag_is(answer, expected->md5) ? S3_MATCH_SAME : S3_MATCH_UNKNOWN;
	if (is_hex(answer->meta_sha256, 64))
		return strcasecmp(answer->meta_sha256, sha256) == 0 ? S3_MATCH_SAME : S3_MATCH_UNKNOWN;
	return S3_MATCH_UNKNOWN;
}
