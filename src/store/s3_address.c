/* SPDX-License-Identifier: MIT */
#include "store/s3_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

bool s3_address_region_is_valid(const char *region)
{
	size_t len = strlen(region);
	return len > 0 && len < S3_REGION_SIZE && strspn(region, LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS "-_") == len;
}

/* What any server could have as a bucket's name and a URL can hold unencoded. AWS's own rules are narrower. */
static int check_bucket(const char *bucket, struct error *error)
{
	size_t len = strlen(bucket);
	bool plain = strspn(bucket, LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS ".-_") == len;
	if (len < 1 || len >= S3_BUCKET_SIZE || !plain || strcmp(bucket, ".") == 0 || strcmp(bucket, "..") == 0)
		return error_set(error, ERR_CONFIG,
				 "S3_BUCKET: \"%.64s\" is not a bucket's name of letters, digits, '.', '-' and '_'; example: "
				 "S3_BUCKET=my-recordings",
				 bucket);
	return 0;
}

/* A name that can be put before a host's: RFC 1123, without dots, because a wildcard certificate covers one label. */
static bool is_label(const char *bucket)
{
	size_t len = strlen(bucket);
	return len <= 63 && strspn(bucket, LETTERS DIGITS "-") == len && bucket[0] != '-' && bucket[len - 1] != '-';
}

/* ---- The endpoint ---- */

struct endpoint {
	bool https;
	struct slice name; /* "[::1]" with its brackets */
	struct slice port; /* empty: the scheme's */
	struct slice path;
};

static bool is_port(struct slice text)
{
	unsigned long value = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.len > 5 || !isdigit((unsigned char)text.ptr[i]))
			return false;
		value = value * 10 + (unsigned long)(text.ptr[i] - '0');
	}
	return value >= 1 && value <= 65535;
}

static struct slice slice_from(struct slice s, size_t at)
{
	return slice_make(s.ptr + at, s.len - at);
}

static bool name_is_good(struct slice name)
{
	if (name.len == 0)
		return false;
	if (name.ptr[0] == '[') {
		char text[INET6_ADDRSTRLEN];
		struct in6_addr address;
		if (name.len < 4 || name.ptr[name.len - 1] != ']' || name.len - 2 >= sizeof(text))
			return false;
		memcpy(text, name.ptr + 1, name.len - 2);
		text[name.len - 2] = '\0';
		return inet_pton(AF_INET6, text, &address) == 1;
	}
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (!isalnum(c) && c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

static bool path_is_good(struct slice path)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];
		if (!isalnum(c) && strchr("/-._~", c) == NULL)
			return false;
	}
	return true;
}

static bool endpoint_split(struct slice text, struct endpoint *ret)
{
	if (slice_starts_with(text, SLICE("https://")))
		ret->https = true;
	else if (slice_starts_with(text, SLICE("http://")))
		ret->https = false;
	else
		return false;
	text = slice_from(text, ret->https ? 8 : 7);
	const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
	size_t authority = slash != NULL ? (size_t)(slash - text.ptr) : text.len;
	ret->path = slice_from(text, authority);
	while (ret->path.len > 0 && ret->path.ptr[ret->path.len - 1] == '/')
		ret->path.len--;
	ret->name = slice_make(text.ptr, authority);
	ret->port = slice_make(NULL, 0);
	for (size_t i = authority; i > 0 && text.ptr[i - 1] != ']'; i--) {
		if (text.ptr[i - 1] != ':')
			continue;
		ret->port = slice_make(text.ptr + i, authority - i);
		ret->name.len = i - 1;
		if (!is_port(ret->port))
			return false;
		break;
	}
	return name_is_good(ret->name) && path_is_good(ret->path);
}

static bool is_ip(struct slice name)
{
	char text[INET_ADDRSTRLEN] = "";
	struct in_addr address;
	if (name.ptr[0] == '[')
		return true;
	if (name.len >= sizeof(text))
		return false;
	memcpy(text, name.ptr, name.len);
	return inet_pton(AF_INET, text, &address) == 1;
}

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)tolower((unsigned char)*text);
}

static int make_custom(struct s3_address *ret, const struct s3_address_options *options, struct error *error)
{
	struct endpoint endpoint;
	if (!endpoint_split(slice_from_cstr(options->endpoint), &endpoint))
		return error_set(
			error, ERR_CONFIG,
			"S3_ENDPOINT: \"%.100s\" is not an http or https URL; example: S3_ENDPOINT=https://s3.example.com:9000",
			options->endpoint);
	bool virtual_hosted = options->addressing == S3_ADDRESSING_VIRTUAL;
	if (virtual_hosted && (is_ip(endpoint.name) || !is_label(options->bucket)))
		return error_set(
			error, ERR_CONFIG,
			"S3_ADDRESSING: bucket \"%.64s\" cannot be put before the host of %.100s; example: S3_ADDRESSING=path",
			options->bucket, options->endpoint);
	bool own_port = slice_equal(endpoint.port, endpoint.https ? SLICE("443") : SLICE("80"));
	bool port = endpoint.port.len > 0 && !own_port;
	ret->https = endpoint.https;
	int len = snprintf(ret->host, sizeof(ret->host), "%s%s%.*s%s%.*s", virtual_hosted ? options->bucket : "",
			   virtual_hosted ? "." : "", SLICE_FMT(endpoint.name), port ? ":" : "",
			   port ? (int)endpoint.port.len : 0, port ? endpoint.port.ptr : "");
	if (len >= (int)sizeof(ret->host) || endpoint.path.len >= sizeof(ret->base_path))
		return error_set(error, ERR_CONFIG, "S3_ENDPOINT: \"%.100s\" is too long", options->endpoint);
	lower(ret->host);
	snprintf(ret->base_path, sizeof(ret->base_path), "%.*s", SLICE_FMT(endpoint.path));
	if (!virtual_hosted)
		snprintf(ret->bucket, sizeof(ret->bucket), "%s", options->bucket);
	return 0;
}

static void make_aws(struct s3_address *ret, const struct s3_address_options *options)
{
	const char *domain = strncmp(options->region, "cn-", 3) == 0 ? "amazonaws.com.cn" : "amazonaws.com";
	bool virtual_hosted = options->addressing != S3_ADDRESSING_PATH && is_label(options->bucket);
	ret->https = true;
	/* Fits: bucket and region have their own bounds. */
	if (virtual_hosted) {
		snprintf(ret->host, sizeof(ret->host), "%.63s.s3.%.63s.%s", options->bucket, options->region, domain);
	} else {
		snprintf(ret->host, sizeof(ret->host), "s3.%.63s.%s", options->region, domain);
		snprintf(ret->bucket, sizeof(ret->bucket), "%s", options->bucket);
	}
	lower(ret->host);
}

int s3_address_make(struct s3_address *ret, const struct s3_address_options *options, struct error *error)
{
	*ret = (struct s3_address){0};
	int status = check_bucket(options->bucket, error);
	if (status != 0)
		return status;
	if (!s3_address_region_is_valid(options->region))
		return error_set(error, ERR_CONFIG,
				 "AWS_REGION: \"%.64s\" is not a region's name; example: AWS_REGION=eu-central-1",
				 options->region);
	if (options->endpoint != NULL && options->endpoint[0] != '\0')
		return make_custom(ret, options, error);
	make_aws(ret, options);
	return 0;
}

/* ---- Paths and URLs ---- */

static int result(const struct buffer *out)
{
	return out->failed ? ERR_LIMIT : 0;
}

static void append_bucket(const struct s3_address *address, struct buffer *out)
{
	buffer_append_cstr(out, address->base_path);
	if (address->bucket[0] != '\0') {
		buffer_append_char(out, '/');
		buffer_append_cstr(out, address->bucket);
	}
}

int s3_address_path(const struct s3_address *address, const char *key, struct buffer *out)
{
	append_bucket(address, out);
	/* The bucket itself is "/" where its name is in the host, "/bucket" elsewhere. */
	if (key != NULL || address->bucket[0] == '\0')
		buffer_append_char(out, '/');
	if (key != NULL)
		buffer_append_cstr(out, key);
	return result(out);
}

int s3_address_origin(const struct s3_address *address, struct buffer *out)
{
	buffer_append_cstr(out, address->https ? "https://" : "http://");
	buffer_append_cstr(out, address->host);
	return result(out);
}

int s3_address_url(const struct s3_address *address, const char *key, struct buffer *out)
{
	s3_address_origin(address, out);
	/* Endpoint and bucket have no character that needs encoding. */
	append_bucket(address, out);
	buffer_append_char(out, '/');
	buffer_append_percent(out, slice_from_cstr(key), true);
	return result(out);
}

int s3_address_public_url(const char *public_url, const char *key, struct buffer *out)
{
	size_t len = strlen(public_url);
	while (len > 0 && public_url[len - 1] == '/')
		len--;
	buffer_append(out, public_url, len);
	buffer_append_char(out, '/');
	buffer_append_percent(out, slice_from_cstr(key), true);
	return result(out);
}

bool s3_address_region_of_host(struct slice host, char *region, size_t size)
{
	const char *end = memmem(host.ptr, host.len, ".amazonaws.com", strlen(".amazonaws.com"));
	if (host.len == 0 || end == NULL)
		return false;
	/* The label before it is REGION, or s3-REGION in the old form. */
	const char *start = end;
	while (start > host.ptr && start[-1] != '.')
		start--;
	struct slice label = slice_make(start, (size_t)(end - start));
	if (slice_starts_with(label, SLICE("s3-")))
		label = slice_from(label, 3);
	else if (slice_equal(label, SLICE("s3")))
		return false;
	if (label.len == 0 || label.len >= size)
		return false;
	memcpy(region, label.ptr, label.len);
	region[label.len] = '\0';
	return s3_address_region_is_valid(region);
}
