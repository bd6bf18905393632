/* SPDX-License-Identifier: MIT */
/*
 * The XML that S3 answers. Element names are compared without their namespace, which some servers leave out; elements that are
 * not known are skipped; documents with a DTD are refused. Pure.
 * Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ (REST error responses and the named operations).
 *
 * Every function takes one whole document and returns 0, ERR_MALFORMED when it is not well-formed or of another kind,
 * ERR_STORE when it is an <Error> where a result was expected (CompleteMultipartUpload sends one under status 200), ERR_NOMEM.
 */
#ifndef REELD_STORE_S3_XML_H
#define REELD_STORE_S3_XML_H

#include "base/err.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_ETAG_SIZE 96
#define S3_KEY_SIZE 1025
#define S3_UPLOAD_ID_SIZE 1024
#define S3_CHECKSUM_SIZE 64 /* Base64 of a SHA-256, and "-10000" */

/* Longer values are cut. */
struct s3_xml_error {
	char code[64];
	char message[192];
	char region[64];
	char endpoint[320];
};

int s3_xml_read_error(struct slice document, struct s3_xml_error *ret);

/* InitiateMultipartUploadResult. An id that does not fit: ERR_MALFORMED. */
int s3_xml_read_initiate(struct slice document, char upload_id[S3_UPLOAD_ID_SIZE], struct s3_xml_error *error);

struct s3_xml_complete {
	char etag[S3_ETAG_SIZE];                /* without quotes; "" when not told */
	char checksum_sha256[S3_CHECKSUM_SIZE]; /* as told: of the parts' checksums, with "-N" behind it */
};
/* CompleteMultipartUploadResult. */
int s3_xml_read_complete(struct slice document, struct s3_xml_complete *ret, struct s3_xml_error *error);

/* An object or an unfinished upload of a listing. */
struct s3_xml_entry {
	char key[S3_KEY_SIZE];
	char upload_id[S3_UPLOAD_ID_SIZE]; /* of uploads */
	int64_t time_ms;                   /* Initiated or LastModified; -1 when it cannot be read */
};
/* Called for each entry whose key (and upload id) fits. Return false to stop; what was read counts. */
typedef bool s3_xml_entry_cb(void *data, const struct s3_xml_entry *entry);

/* Where the next page begins. */
struct s3_xml_page {
	bool truncated;
	char next_key[S3_KEY_SIZE];             /* NextKeyMarker, or NextContinuationToken */
	char next_upload_id[S3_UPLOAD_ID_SIZE]; /* NextUploadIdMarker */
};
/* ListMultipartUploadsResult and ListBucketResult (ListObjectsV2). */
int s3_xml_read_uploads(struct slice document, s3_xml_entry_cb *on_entry, void *data, struct s3_xml_page *page);
int s3_xml_read_objects(struct slice document, s3_xml_entry_cb *on_entry, void *data, struct s3_xml_page *page);

/* Takes the quotes of an ETag away, in place. */
void s3_xml_unquote_etag(char *etag);

#endif
