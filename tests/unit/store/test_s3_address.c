/* SPDX-License-Identifier: MIT */
#include "store/s3_address.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const char *url_of(const struct s3_address_options *options, const char *key)
{
	static char text[1024];
	struct s3_address address;
	struct error error = {0};
	struct buffer url;
	cr_assert_eq(s3_address_make(&address, options, &error), 0, "%s", error.detail);
	buffer_init(&url, sizeof(text) - 1);
	cr_assert_eq(s3_address_url(&address, key, &url), 0);
	snprintf(text, sizeof(text), "%.*s", (int)url.len, url.data);
	buffer_free(&url);
	return text;
}

Test(s3_address, the_style_follows_the_endpoint_and_the_bucket)
{
	static const struct {
		const char *endpoint, *region, *bucket;
		enum s3_addressing addressing;
		const char *url;
	} cases[] = {
		/* AWS */
		{NULL, "us-east-1", "my-bucket", S3_ADDRESSING_AUTO, "https://my-bucket.s3.us-east-1.amazonaws.com/a/b.wav"},
		{"", "eu-west-1", "my-bucket", S3_ADDRESSING_VIRTUAL, "https://my-bucket.s3.eu-west-1.amazonaws.com/a/b.wav"},
		{NULL, "eu-west-1", "my-bucket", S3_ADDRESSING_PATH, "https://s3.eu-west-1.amazonaws.com/my-bucket/a/b.wav"},
		{NULL, "cn-north-1", "my-bucket", S3_ADDRESSING_AUTO, "https://my-bucket.s3.cn-north-1.amazonaws.com.cn/a/b.wav"},
		/* its certificate covers one label only */
		{NULL, "us-east-1", "my.bucket", S3_ADDRESSING_AUTO, "https://s3.us-east-1.amazonaws.com/my.bucket/a/b.wav"},
		{NULL, "us-east-1", "Old_Bucket", S3_ADDRESSING_AUTO, "https://s3.us-east-1.amazonaws.com/Old_Bucket/a/b.wav"},
		/* others */
		{"http://127.0.0.1:9000", "x", "my-bucket", S3_ADDRESSING_AUTO, "http://127.0.0.1:9000/my-bucket/a/b.wav"},
		{"https://S3.Example.com/", "x", "my-bucket", S3_ADDRESSING_AUTO, "https://s3.example.com/my-bucket/a/b.wav"},
		{"https://s3.example.com:443", "x", "my-bucket", S3_ADDRESSING_PATH, "https://s3.example.com/my-bucket/a/b.wav"},
		{"http://s3.example.com:80", "x", "my-bucket", S3_ADDRESSING_VIRTUAL, "http://my-bucket.s3.example.com/a/b.wav"},
		{"https://s3.example.com:80", "x", "my-bucket", S3_ADDRESSING_VIRTUAL,
		 "https://my-bucket.s3.example.com:80/a/b.wav"},
		{"https://gw.example.com/s3/", "x", "my-bucket", S3_ADDRESSING_AUTO,
		 "https://gw.example.com/s3/my-bucket/a/b.wav"},
		{"http://[::1]:9000", "x", "my-bucket", S3_ADDRESSING_AUTO, "http://[::1]:9000/my-bucket/a/b.wav"},
		{"http://[2001:DB8::7]", "x", "my-bucket", S3_ADDRESSING_AUTO, "http://[2001:db8::7]/my-bucket/a/b.wav"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct s3_address_options options = {cases[i].endpoint, cases[i].region, cases[i].bucket,
							   cases[i].addressing};
		cr_expect_str_eq(url_of(&options, "a/b.wav"), cases[i].url);
	}
}

Test(s3_address, keys_are_encoded_once_and_fully)
{
	const struct s3_address_options options = {"http://h", "x", "b", S3_ADDRESSING_PATH};
	cr_expect_str_eq(url_of(&options, "a b/ü+=&?#%41~-_."), "http://h/b/a%20b/%C3%BC%2B%3D%26%3F%23%2541~-_.");
}

Test(s3_address, what_cannot_be_an_endpoint_a_bucket_or_a_region_is_refused_with_a_reason)
{
	static const struct {
		const char *endpoint, *region, *bucket;
		enum s3_addressing addressing;
		const char *says;
	} cases[] = {
		{"s3.example.com", "x", "b", S3_ADDRESSING_AUTO, "https://s3.example.com:9000"},
		{"ftp://s3.example.com", "x", "b", S3_ADDRESSING_AUTO, "ftp://"},
		{"http://", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://user:secret@host", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://host:port", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://host:0", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://host:65536", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://host:", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://host/a?b", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://ho st", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://[::1", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://[host]", "x", "b", S3_ADDRESSING_AUTO, "http or https"},
		{"http://127.0.0.1", "x", "b", S3_ADDRESSING_VIRTUAL, "; example: S3_ADDRESSING=path"},
		{"http://[::1]", "x", "b", S3_ADDRESSING_VIRTUAL, "; example: S3_ADDRESSING=path"},
		{"http://host", "x", "a.b", S3_ADDRESSING_VIRTUAL, "; example: S3_ADDRESSING=path"},
		{NULL, "eu west", "b", S3_ADDRESSING_AUTO, "AWS_REGION: "},
		{NULL, "", "b", S3_ADDRESSING_AUTO, "AWS_REGION: "},
		{NULL, "evil.example.com/", "b", S3_ADDRESSING_AUTO, "AWS_REGION: "},
		{NULL, "us-east-1", "", S3_ADDRESSING_AUTO, "bucket"},
		{NULL, "us-east-1", "a/b", S3_ADDRESSING_AUTO, "bucket"},
		{NULL, "us-east-1", "..", S3_ADDRESSING_AUTO, "bucket"},
		{NULL, "us-east-1", "a b", S3_ADDRESSING_AUTO, "bucket"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct s3_address_options options = {cases[i].endpoint, cases[i].region, cases[i].bucket,
							   cases[i].addressing};
		struct s3_address address;
		struct error error = {0};
		cr_expect_eq(s3_address_make(&address, &options, &error), ERR_CONFIG, "case %zu", i);
		cr_expect(strstr(error.detail, cases[i].says) != NULL, "case %zu: %s", i, error.detail);
	}
}

Test(s3_address, the_path_of_the_bucket_is_a_slash_where_its_name_is_in_the_host)
{
	static const struct {
		const char *endpoint;
		const char *path;
	} cases[] = {{NULL, "/"}, {"http://h", "/b"}, {"http://h/base", "/base/b"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct s3_address_options options = {cases[i].endpoint, "us-east-1", "b", S3_ADDRESSING_AUTO};
		struct s3_address address;
		struct buffer path;
		cr_assert_eq(s3_address_make(&address, &options, NULL), 0);
		buffer_init(&path, 64);
		cr_assert_eq(s3_address_path(&address, NULL, &path), 0);
		cr_expect_str_eq(buffer_cstr(&path), cases[i].path);
		buffer_free(&path);
		buffer_init(&path, 4);
		cr_expect_eq(s3_address_path(&address, "longer", &path), ERR_LIMIT);
		buffer_free(&path);
	}
}

Test(s3_address, the_public_url_and_the_key_have_one_slash_between_them)
{
	const char *const bases[] = {"https://cdn.example.com/r", "https://cdn.example.com/r/", "https://cdn.example.com/r//"};
	for (size_t i = 0; i < 3; i++) {
		struct buffer url;
		buffer_init(&url, 256);
		cr_assert_eq(s3_address_public_url(bases[i], "a/b c.wav", &url), 0);
		cr_expect_str_eq(buffer_cstr(&url), "https://cdn.example.com/r/a/b%20c.wav");
		buffer_free(&url);
	}
}

Test(s3_address, regions_are_read_from_hosts_of_aws)
{
	static const struct {
		const char *host, *region;
	} cases[] = {
		{"bucket.s3.eu-west-1.amazonaws.com", "eu-west-1"},
		{"bucket.s3-us-west-2.amazonaws.com", "us-west-2"},
		{"s3.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"bucket.s3.amazonaws.com", NULL},
		{"s3.example.com", NULL},
		{"", NULL},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char region[S3_REGION_SIZE] = "";
		bool found = s3_address_region_of_host(slice_from_cstr(cases[i].host), region, sizeof(region));
		cr_expect_eq(found, cases[i].region != NULL, "%s", cases[i].host);
		if (found)
			cr_expect_str_eq(region, cases[i].region);
	}
}
