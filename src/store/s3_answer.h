/* SPDX-License-Identifier: MIT */
/*
 * What an S3 server's answer means: whether to go on, try again, or learn something first; and whether it proves that the server
 * holds the bytes we think it holds. Pure.
 * Source of the codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
#ifndef REELD_STORE_S3_ANSWER_H
#define REELD_STORE_S3_ANSWER_H

#include "store/s3_xml.h"

#include <stdbool.h>
#include <stdint.h>

#define S3_SHA256_TEXT_SIZE 65

struct s3_answer {
	long http_status; /* 0: none came */
	int64_t length;   /* Content-Length; of a HEAD the object's. -1: not told */
	int64_t date_ms;  /* the server's clock; -1: not told */
	int64_t retry_after_ms;
	char etag[S3_ETAG_SIZE]; /* without quotes */
	char encryption[32];     /* x-amz-server-side-encryption */
	char checksum_sha256[S3_CHECKSUM_SIZE];
	char meta_sha256[S3_SHA256_TEXT_SIZE];
	char region[64];           /* x-amz-bucket-region */
	struct s3_xml_error error; /* of the body, when it has one */
};

void s3_answer_reset(struct s3_answer *answer);
/* Takes what is of interest from one header. */
void s3_answer_header(struct s3_answer *answer, struct slice name, struct slice value);

enum s3_action {
	S3_OK,
	S3_FAIL,
	S3_AGAIN,             /* the same request may succeed in a moment */
	S3_LEARN_REGION,      /* the bucket is in another region: s3_answer_region */
	S3_LEARN_TIME,        /* our clock is wrong: date_ms */
	S3_RENEW_CREDENTIALS, /* the session has expired */
	S3_UNSUPPORTED,       /* the server does not know something that was asked for */
};

/* What to do after this answer; *code is the error (0 with S3_OK) that remains when that does not help. */
enum s3_action s3_answer_judge(const struct s3_answer *answer, int64_t now_wall_ms, int *code);
/* The region an answer points to. False when it names none. */
bool s3_answer_region(const struct s3_answer *answer, char *region, size_t size);
/* "AccessDenied", or "503" where there was no code. */
void s3_answer_reason(const struct s3_answer *answer, char *out, size_t size);

/* What an object should be. */
struct s3_expected {
	int64_t bytes;
	uint8_t md5[16]; /* zeros: not known */
	uint8_t sha256[32];
	/* Of an object that was put together from parts; "" when it was not, or nobody remembers. */
	char composite_etag[S3_ETAG_SIZE];
	char composite_sha256[S3_CHECKSUM_SIZE];
};

enum s3_match {
	S3_MATCH_SAME,      /* a digest that the server computed, or keeps, is ours */
	S3_MATCH_DIFFERENT, /* its length or a checksum is another one */
	S3_MATCH_UNKNOWN,   /* only reading it can tell */
};

/*
 * `etag_is_md5`: so it was in this server's answers up to now. AWS's is not with SSE-KMS, which the answer says; some other servers'
 * never is. So an ETag that differs proves nothing.
 */
enum s3_match s3_answer_match(const struct s3_answer *answer, const struct s3_expected *expected, bool etag_is_md5);

/* The ETag looks like an MD5, and is not the expected one. */
bool s3_answer_etag_differs(const struct s3_answer *answer, const struct s3_expected *expected);

#endif
