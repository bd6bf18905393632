/* SPDX-License-Identifier: MIT */
/* The documents are shaped like those in https://docs.aws.amazon.com/AmazonS3/latest/API/ and like Swift's and Ceph's answers. */
#include "store/s3_xml.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

Test(s3_xml, errors_have_a_code_and_perhaps_more)
{
	struct s3_xml_error error;
	cr_assert_eq(s3_xml_read_error(SLICE(HEAD "<Error><Code>NoSuchKey</Code><Message>The resource &lt;you&gt; requested"
						  " does not exist</Message><Resource>/b/k</Resource></Error>"),
				       &error),
		     0);
	cr_expect_str_eq(error.code, "NoSuchKey");
	cr_expect_str_eq(error.message, "The resource <you> requested does not exist");
	cr_expect_str_eq(error.region, "");
	cr_assert_eq(s3_xml_read_error(
			     SLICE("<s3:Error xmlns:s3='x'><s3:Code>AuthorizationHeaderMalformed</s3:Code>"
				   "<s3:Region>eu-west-1</s3:Region><s3:Other><s3:Code>not this</s3:Code></s3:Other></s3:Error>"),
			     &error),
		     0);
	cr_expect_str_eq(error.code, "AuthorizationHeaderMalformed");
	cr_expect_str_eq(error.region, "eu-west-1");
	cr_assert_eq(
		s3_xml_read_error(
			SLICE("<Error><Code>PermanentRedirect</Code><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint></Error>"),
			&error),
		0);
	cr_expect_str_eq(error.endpoint, "b.s3.eu-west-1.amazonaws.com");
}

Test(s3_xml, a_long_message_is_cut_and_a_long_id_is_none)
{
	struct s3_xml_error error;
	char text[4096], id[S3_UPLOAD_ID_SIZE];
	snprintf(text, sizeof(text), "<Error><Code>C</Code><Message>%0*d</Message></Error>", 1000, 0);
	cr_assert_eq(s3_xml_read_error(slice_from_cstr(text), &error), 0);
	cr_expect_eq(strlen(error.message), sizeof(error.message) - 1);
	snprintf(text, sizeof(text), "<InitiateMultipartUploadResult><UploadId>%0*d</UploadId></InitiateMultipartUploadResult>",
		 1023, 7);
	cr_expect_eq(s3_xml_read_initiate(slice_from_cstr(text), id, &error), 0);
	cr_expect_eq(strlen(id), 1023);
	snprintf(text, sizeof(text), "<InitiateMultipartUploadResult><UploadId>%0*d</UploadId></InitiateMultipartUploadResult>",
		 1024, 7);
	cr_expect_eq(s3_xml_read_initiate(slice_from_cstr(text), id, &error), ERR_MALFORMED);
}

Test(s3_xml, what_is_not_the_document_asked_for_is_malformed)
{
	const char *const bad[] = {
		"",
		" ",
		"not xml",
		"<Error>",
		"<Error></Other>",
		"<html><body>502</body></html>",
		"<Error/><Error/>",
		"<!DOCTYPE Error [<!ENTITY a \"aaaa\">]><Error><Code>&a;</Code></Error>",
		"<Error><a><b><c><d><e><f><g><h></h></g></f></e></d></c></b></a></Error>",
		"<Error>\x01</Error>",
	};
	struct s3_xml_error error;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(s3_xml_read_error(slice_from_cstr(bad[i]), &error), ERR_MALFORMED, "%s", bad[i]);
	cr_expect_eq(s3_xml_read_error(slice_make(NULL, 0), &error), ERR_MALFORMED);
}

Test(s3_xml, an_upload_id_comes_with_its_creation)
{
	struct s3_xml_error error;
	char id[S3_UPLOAD_ID_SIZE];
	cr_assert_eq(s3_xml_read_initiate(SLICE(HEAD "<InitiateMultipartUploadResult" NS "><Bucket>b</Bucket><Key>k</Key>"
						     "<UploadId>VXBsb2FkIElE</UploadId></InitiateMultipartUploadResult>"),
					  id, &error),
		     0);
	cr_expect_str_eq(id, "VXBsb2FkIElE");
	cr_expect_eq(s3_xml_read_initiate(SLICE("<InitiateMultipartUploadResult/>"), id, &error), ERR_MALFORMED);
	cr_expect_eq(s3_xml_read_initiate(SLICE("<Error><Code>AccessDenied</Code></Error>"), id, &error), ERR_STORE);
	cr_expect_str_eq(error.code, "AccessDenied");
}

Test(s3_xml, a_completion_may_turn_out_to_be_an_error)
{
	struct s3_xml_error error;
	struct s3_xml_complete complete;
	/* S3 sends white space to keep the connection, then the document. */
	cr_assert_eq(s3_xml_read_complete(SLICE(HEAD "\n \n <CompleteMultipartUploadResult" NS
						     "><Location>http://x</Location><Key>k</Key>"
						     "<ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag>"
						     "<ChecksumSHA256>abc=-9</ChecksumSHA256></CompleteMultipartUploadResult>"),
					  &complete, &error),
		     0);
	cr_expect_str_eq(complete.etag, "3858f62230ac3c915f300c664312c11f-9");
	cr_expect_str_eq(complete.checksum_sha256, "abc=-9");
	cr_assert_eq(
		s3_xml_read_complete(SLICE(HEAD " \n<Error><Code>InternalError</Code><Message>We encountered an internal error."
						" Please try again.</Message></Error>"),
				     &complete, &error),
		ERR_STORE);
	cr_expect_str_eq(error.code, "InternalError");
	cr_expect_str_eq(complete.etag, "");
	cr_expect_eq(s3_xml_read_complete(SLICE("   "), &complete, &error), ERR_MALFORMED);
}

struct seen {
	unsigned count;
	unsigned stop_after;
	char text[1024];
};

static bool on_entry(void *data, const struct s3_xml_entry *entry)
{
	struct seen *seen = data;
	size_t len = strlen(seen->text);
	seen->count++;
	snprintf(seen->text + len, sizeof(seen->text) - len, "%s|%s|%lld\n", entry->key, entry->upload_id,
		 (long long)entry->time_ms);
	return seen->count != seen->stop_after;
}

#define UPLOADS                                                                                                            \
	HEAD "<ListMultipartUploadsResult" NS "><Bucket>b</Bucket><KeyMarker/><NextKeyMarker>r/b.wav</NextKeyMarker>"      \
	     "<NextUploadIdMarker>id2</NextUploadIdMarker><MaxUploads>2</MaxUploads><IsTruncated>true</IsTruncated>"       \
	     "<Upload><Key>r/a.wav</Key><UploadId>id1</UploadId><Initiator><ID>x</ID></Initiator>"                         \
	     "<Initiated>2026-11-23T23:10:05.123Z</Initiated></Upload>"                                                    \
	     "<Upload><Key>r/&amp;b.wav</Key><UploadId>id2</UploadId><Initiated>1970-01-01T00:00:01Z</Initiated></Upload>" \
	     "<Upload><Key>no id</Key><Initiated>1970-01-01T00:00:01Z</Initiated></Upload>"                                \
	     "<Upload><Key>r/c.wav</Key><UploadId>id3</UploadId><Initiated>yesterday</Initiated></Upload>"                 \
	     "<CommonPrefixes><Prefix>r/</Prefix></CommonPrefixes></ListMultipartUploadsResult>"

Test(s3_xml, uploads_are_listed_page_by_page)
{
	struct seen seen = {0};
	struct s3_xml_page page;
	cr_assert_eq(s3_xml_read_uploads(SLICE(UPLOADS), on_entry, &seen, &page), 0);
	cr_expect_str_eq(seen.text, "r/a.wav|id1|1795475405123\nr/&b.wav|id2|1000\nr/c.wav|id3|-1\n");
	cr_expect(page.truncated);
	cr_expect_str_eq(page.next_key, "r/b.wav");
	cr_expect_str_eq(page.next_upload_id, "id2");
	seen = (struct seen){.stop_after = 1};
	cr_assert_eq(s3_xml_read_uploads(SLICE(UPLOADS), on_entry, &seen, &page), 0);
	cr_expect_eq(seen.count, 1);
	cr_expect(!page.truncated, "who stops does not want a next page");
	/* a truncated list that does not say where to go on would never end */
	cr_assert_eq(s3_xml_read_uploads(
			     SLICE("<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"),
			     on_entry, &seen, &page),
		     0);
	cr_expect(!page.truncated);
	cr_expect_eq(s3_xml_read_uploads(SLICE("<Error><Code>AccessDenied</Code></Error>"), on_entry, &seen, &page), ERR_STORE);
	cr_expect_eq(s3_xml_read_uploads(SLICE("<ListBucketResult/>"), on_entry, &seen, &page), ERR_MALFORMED);
}

Test(s3_xml, objects_are_listed)
{
	struct seen seen = {0};
	struct s3_xml_page page;
	cr_assert_eq(
		s3_xml_read_objects(
			SLICE(HEAD "<ListBucketResult" NS "><Name>b</Name><Prefix>r/</Prefix><KeyCount>1</KeyCount>"
				   "<IsTruncated>true</IsTruncated><NextContinuationToken>1ueGc=</NextContinuationToken>"
				   "<Contents><Key>r/x</Key><LastModified>1970-01-01T00:00:02.5Z</LastModified><Size>3</Size>"
				   "</Contents></ListBucketResult>"),
			on_entry, &seen, &page),
		0);
	cr_expect_str_eq(seen.text, "r/x||2500\n");
	cr_expect(page.truncated);
	cr_expect_str_eq(page.next_key, "1ueGc=");
}
