/* SPDX-License-Identifier: MIT */
/*
 * Where a bucket is: host, path and URLs, from what the operator configured. Pure.
 *
 * Path style:     https://HOST/BUCKET/KEY        virtual-hosted: https://BUCKET.HOST/KEY
 *
 * AWS has one host a region and wants the virtual-hosted form (its certificates are *.s3.REGION.amazonaws.com, so a bucket with
 * dots in its name can only be had by path); other servers mostly answer to one name only and want the path form.
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
 */
#ifndef REELD_STORE_S3_ADDRESS_H
#define REELD_STORE_S3_ADDRESS_H

#include "base/buffer.h"
#include "base/err.h"

#include <stdbool.h>

enum s3_addressing { S3_ADDRESSING_AUTO, S3_ADDRESSING_PATH, S3_ADDRESSING_VIRTUAL };

#define S3_HOST_SIZE 320
#define S3_BUCKET_SIZE 256
#define S3_BASE_PATH_SIZE 128
#define S3_REGION_SIZE 64

struct s3_address {
	bool https;
	char host[S3_HOST_SIZE];           /* lower case, with the port unless it is the scheme's own: what "Host:" holds */
	char base_path[S3_BASE_PATH_SIZE]; /* of the endpoint: "" or "/gateway" */
	char bucket[S3_BUCKET_SIZE];       /* path style: a part of the path; "" when it is in the host */
};

struct s3_address_options {
	const char *endpoint; /* "https://host[:port][/path]"; NULL or "": AWS in `region` */
	const char *region;
	const char *bucket;
	enum s3_addressing addressing; /* auto: path style with an endpoint, virtual-hosted on AWS */
};

/* 0, or ERR_CONFIG with what is wrong with the endpoint, the region or the bucket's name. */
int s3_address_make(struct s3_address *ret, const struct s3_address_options *options, struct error *error);
/* The path of a key, or of the bucket when `key` is NULL, in raw bytes; begins with '/'. 0, or ERR_LIMIT. */
int s3_address_path(const struct s3_address *address, const char *key, struct buffer *out);
/* "https://host". The same errors. */
int s3_address_origin(const struct s3_address *address, struct buffer *out);
/* The URL of a key, encoded. The same errors. */
int s3_address_url(const struct s3_address *address, const char *key, struct buffer *out);
/* PUBLIC_URL/key with exactly one slash between them. The same errors. */
int s3_address_public_url(const char *public_url, const char *key, struct buffer *out);
/* The region in the name of an AWS host: "bucket.s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com". False when there is none. */
bool s3_address_region_of_host(struct slice host, char *region, size_t size);
/* Letters, digits and '-' only: what may become a part of a host name. */
bool s3_address_region_is_valid(const char *region);

#endif
