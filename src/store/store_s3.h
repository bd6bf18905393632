/* SPDX-License-Identifier: MIT */
/*
 * The store in an S3 bucket: AWS, or any server that speaks its API and verifies Signature Version 4. docs/s3.md says how the parts of
 * an upload fit together and what is there at each point where the process can die.
 *
 * Three ways up, by what is known of the length:
 *   small       up to hold_bytes, held in memory and sent at commit with MD5 and SHA-256, which the server checks before anything is
 *               visible. So is what turns out to fit into one part when the length is not known.
 *   streaming   up to multipart_threshold: one PUT while the bytes come. Its last byte is held back until commit, so that an object
 *               appears only then; the server's MD5 (its ETag) is compared afterwards, and an object that differs is deleted.
 *   parts       longer, or of unknown length: parts of part_bytes, each checked by the server; visible when they are completed.
 *
 * Memory: hold_bytes for each small or streaming put at most, and parts_max buffers of part_bytes for all uploads in parts together: one
 * that finds none waits in its write. HTTP's own buffers are the client's.
 */
#ifndef REELD_STORE_STORE_S3_H
#define REELD_STORE_STORE_S3_H

#include "adapters/http_client.h"
#include "store/aws_credentials.h"
#include "store/s3_address.h"
#include "store/store.h"

#define S3_PART_MIN ((size_t)5 * 1024 * 1024)

struct store_s3_options {
	struct http_client *http; /* must live until the store is closed; so must the credentials */
	struct aws_credentials *credentials;
	const char *bucket;
	const char *endpoint; /* "https://host[:port][/path]"; NULL or "": AWS */
	const char *region;   /* NULL or "": us-east-1; AWS corrects a wrong one */
	const char *prefix;   /* of our keys ("recordings/"): where CLEAN looks and PROBE writes. NULL: "" */
	enum s3_addressing addressing;
	const char *sse;             /* "none", "AES256", "aws:kms", "aws:kms:KEY"; NULL or "": none */
	const char *storage_class;   /* NULL or "": the bucket's */
	const char *public_url;      /* what recordingUrl begins with, NULL or "": the endpoint */
	int64_t multipart_threshold; /* 0: 64 MiB */
	size_t part_bytes;           /* 0: 8 MiB; at least S3_PART_MIN */
	size_t parts_max;            /* 0: 8 */
	size_t hold_bytes;           /* 0: 256 KiB */
	bool no_checksums; /* x-amz-checksum-sha256 only where required (AWS_REQUEST_CHECKSUM_CALCULATION=when_required) */
	/* For tests; 0 means the default. */
	uint32_t stall_timeout_ms; /* no byte either way: 30 s */
	uint32_t retry_ms;         /* first backoff inside one operation: 200 ms */
	int64_t clean_age_ms;      /* uploads younger than this are somebody's work: a day */
};

/*
 * 0; ERR_CONFIG with a message that names the bad option; ERR_NOMEM. Nothing is sent: STORE_PROBE tells whether it works. The options
 * are copied.
 */
int store_s3_open(struct store **ret, uv_loop_t *loop, const struct store_s3_options *options, struct error *error);

#endif
