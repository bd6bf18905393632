/* SPDX-License-Identifier: MIT */
/*
 * The signature of whatever URL and parameters: what was signed verifies, in any order of the fields, and a changed
 * signature does not. Input: lines of URL, signature, raw body; the rest is the form.
 */
#include "base/check.h"
#include "base/slice.h"

#include <reeld/signature.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_FIELDS 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct reeld_signature_key *key;

static struct slice take_line(struct slice *input)
{
	const char *newline = input->len == 0 ? NULL : memchr(input->ptr, '\n', input->len);
	size_t len = newline == NULL ? input->len : (size_t)(newline - input->ptr);
	struct slice line = {input->ptr, len};

	*input = newline == NULL ? slice_make(input->ptr + len, 0) : slice_make(newline + 1, input->len - len - 1);
	return line;
}

static void reverse(struct reeld_form_field *fields, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		struct reeld_form_field other = fields[i];
		fields[i] = fields[count - 1 - i];
		fields[count - 1 - i] = other;
	}
}

static void check(struct reeld_signature_request *request, struct slice claimed)
{
	char signature[REELD_SIGNATURE_SIZE];
	char again[REELD_SIGNATURE_SIZE];

	REQUIRE(reeld_signature_sign(key, request, signature));
	REQUIRE(strlen(signature) == REELD_SIGNATURE_SIZE - 1);
	reverse(request->fields, request->field_count);
	REQUIRE(reeld_signature_sign(key, request, again));
	REQUIRE(strcmp(signature, again) == 0);
	/* with a raw body all depends on the hash in the URL, which may or may not be there */
	bool right = reeld_signature_verify(key, request, signature, REELD_SIGNATURE_SIZE - 1);
	REQUIRE(right || request->body != NULL);
	(void)reeld_signature_verify(key, request, claimed.ptr, claimed.len);
	signature[0] = signature[0] == 'A' ? 'B' : 'A';
	REQUIRE(!reeld_signature_verify(key, request, signature, REELD_SIGNATURE_SIZE - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = {(const char *)data, size};
	struct slice url = take_line(&input);
	struct slice claimed = take_line(&input);
	struct slice body = take_line(&input);
	struct reeld_form_field fields[MAX_FIELDS];
	size_t count;

	if (key == NULL)
		key = reeld_signature_key_new("12345", 5);
	REQUIRE(key != NULL);
	char *scratch = malloc(input.len > 0 ? input.len : 1);
	REQUIRE(scratch != NULL);
	(void)reeld_form_parse(input.ptr, input.len, fields, MAX_FIELDS, scratch, input.len, &count);

	size_t cut = url.len / 2; /* also in pieces, wherever that cuts */
	struct reeld_signature_request whole = {url.ptr, url.len, NULL, 0, fields, count, NULL, 0};
	struct reeld_signature_request pieces = {url.ptr, cut, url.ptr + cut, url.len - cut, fields, count, NULL, 0};
	struct reeld_signature_request raw = {url.ptr, url.len, NULL, 0, NULL, 0, body.ptr, body.len};
	check(&whole, claimed);
	check(&pieces, claimed);
	check(&raw, claimed);
	free(scratch);
	return 0;
}
