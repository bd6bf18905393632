/* SPDX-License-Identifier: MIT */
/*
 * Signing whatever request: nothing is written beyond the buffer, the order of headers and query does not matter, and what is to be
 * sent is made of URL characters alone. Input: a byte of flags, a byte of room, lines of method, path, and then "name:value"
 * (a header) or "name=value" (a parameter).
 */
#include "base/check.h"
#include "base/slice.h"

#include <reeld/sigv4.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct reeld_sigv4_key *key;

struct sample {
	struct reeld_sigv4_request request;
	struct reeld_sigv4_pair headers[REELD_SIGV4_MAX_HEADERS];
	struct reeld_sigv4_pair query[REELD_SIGV4_MAX_QUERY];
};

static struct slice take_line(struct slice *input)
{
	const char *newline = input->len == 0 ? NULL : memchr(input->ptr, '\n', input->len);
	size_t len = newline == NULL ? input->len : (size_t)(newline - input->ptr);
	struct slice line = {input->ptr, len};

	*input = newline == NULL ? slice_make(input->ptr + len, 0) : slice_make(newline + 1, input->len - len - 1);
	return line;
}

static void take_pairs(struct sample *sample, struct slice input)
{
	sample->headers[0] = (struct reeld_sigv4_pair){"host", 4, "h", 1};
	sample->request.header_count = 1;
	while (input.len > 0) {
		struct slice line = take_line(&input);
		size_t name_len = 0;
		while (name_len < line.len && line.ptr[name_len] != ':' && line.ptr[name_len] != '=')
			name_len++;
		size_t behind = name_len < line.len ? name_len + 1 : name_len;
		struct reeld_sigv4_pair pair = {line.ptr, name_len, line.ptr + behind, line.len - behind};
		bool is_header = name_len < line.len && line.ptr[name_len] == ':';
		if (is_header && sample->request.header_count < REELD_SIGV4_MAX_HEADERS)
			sample->headers[sample->request.header_count++] = pair;
		else if (!is_header && sample->request.query_count < REELD_SIGV4_MAX_QUERY)
			sample->query[sample->request.query_count++] = pair;
	}
	sample->request.headers = sample->headers;
	sample->request.query = sample->query;
}

static void reverse(struct reeld_sigv4_pair *pairs, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		struct reeld_sigv4_pair other = pairs[i];
		pairs[i] = pairs[count - 1 - i];
		pairs[count - 1 - i] = other;
	}
}

/* Repeated headers are joined in their order; everything else may be turned around. */
static bool repeats_a_header(const struct sample *sample)
{
	for (size_t i = 0; i < sample->request.header_count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (slice_equal_nocase(slice_make(sample->headers[i].name, sample->headers[i].name_len),
					       slice_make(sample->headers[k].name, sample->headers[k].name_len)))
				return true;
		}
	}
	return false;
}

static void check_target(const char *target)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/%?&=";

	REQUIRE(target[0] == '/');
	REQUIRE(strspn(target, characters) == strlen(target));
}

static void check(struct sample *sample, bool presigned, size_t room)
{
	char *scratch = malloc(room == 0 ? 1 : room);
	char *other_scratch = malloc(REELD_SIGV4_SCRATCH_SIZE);
	struct reeld_sigv4_signed out, again;

	REQUIRE(scratch != NULL && other_scratch != NULL);
	int status = presigned ? reeld_sigv4_presign(key, &sample->request, 60, scratch, room, &out)
			       : reeld_sigv4_sign(key, &sample->request, scratch, room, &out);
	if (status == REELD_SIGV4_OK) {
		check_target(out.target);
		REQUIRE(strlen(out.signature) == 64);
		if (!repeats_a_header(sample))
			reverse(sample->headers, sample->request.header_count);
		reverse(sample->query, sample->request.query_count);
		status = presigned
				 ? reeld_sigv4_presign(key, &sample->request, 60, other_scratch, REELD_SIGV4_SCRATCH_SIZE, &again)
				 : reeld_sigv4_sign(key, &sample->request, other_scratch, REELD_SIGV4_SCRATCH_SIZE, &again);
		REQUIRE(status == REELD_SIGV4_OK);
		REQUIRE(strcmp(out.target, again.target) == 0);
		REQUIRE(strcmp(out.canonical_request, again.canonical_request) == 0);
		REQUIRE(strcmp(out.signature, again.signature) == 0);
	}
	free(scratch);
	free(other_scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct reeld_sigv4_credentials credentials = {"AKIDEXAMPLE", "secret", "token"};
	char method[16] = "";
	struct sample sample = {0};

	if (key == NULL)
		key = reeld_sigv4_key_new(&credentials, "us-east-1", "s3");
	REQUIRE(key != NULL);
	if (size < 2 || size > 4096)
		return 0;
	struct slice input = {(const char *)data + 2, size - 2};
	struct slice line = take_line(&input);
	memcpy(method, line.ptr, line.len < sizeof(method) ? line.len : sizeof(method) - 1);
	struct slice path = take_line(&input);
	sample.request = (struct reeld_sigv4_request){.method = method,
						      .path = path.ptr,
						      .path_len = path.len,
						      .flags = data[0] & 31u,
						      .now_ms = INT64_C(1440938160000)};
	take_pairs(&sample, input);
	size_t room = data[1] == 255 ? REELD_SIGV4_SCRATCH_SIZE : (size_t)data[1] * 16;
	check(&sample, false, room);
	check(&sample, true, room);
	return 0;
}
