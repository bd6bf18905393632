/* SPDX-License-Identifier: MIT */
/* What an S3 server may answer: every reader takes any bytes, fills only what it was given, and ends its strings. */
#include "base/check.h"
#include "store/s3_xml.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IS_ENDED(array) (memchr((array), '\0', sizeof(array)) != NULL)

static bool on_entry(void *data, const struct s3_xml_entry *entry)
{
	unsigned *count = data;
	REQUIRE(IS_ENDED(entry->key) && IS_ENDED(entry->upload_id) && entry->key[0] != '\0');
	return ++*count < 100;
}

static void check_error(const struct s3_xml_error *error)
{
	REQUIRE(IS_ENDED(error->code) && IS_ENDED(error->message) && IS_ENDED(error->region) && IS_ENDED(error->endpoint));
}

static void check_page(int status, const struct s3_xml_page *page)
{
	REQUIRE(IS_ENDED(page->next_key) && IS_ENDED(page->next_upload_id));
	REQUIRE(!page->truncated || (status == 0 && page->next_key[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice document = slice_make((const char *)data, size);
	struct s3_xml_error error;
	struct s3_xml_complete complete;
	struct s3_xml_page page;
	char upload_id[S3_UPLOAD_ID_SIZE];
	unsigned count = 0;

	bool is_error = s3_xml_read_error(document, &error) == 0;
	check_error(&error);
	int status = s3_xml_read_initiate(document, upload_id, &error);
	REQUIRE(IS_ENDED(upload_id) && (status != 0 || upload_id[0] != '\0'));
	REQUIRE((status == ERR_STORE) == is_error);
	check_error(&error);
	status = s3_xml_read_complete(document, &complete, &error);
	REQUIRE(IS_ENDED(complete.etag) && IS_ENDED(complete.checksum_sha256));
	REQUIRE((status == ERR_STORE) == is_error);
	check_error(&error);
	check_page(s3_xml_read_uploads(document, on_entry, &count, &page), &page);
	check_page(s3_xml_read_objects(document, on_entry, &count, &page), &page);
	REQUIRE(count <= 200);
	return 0;
}
