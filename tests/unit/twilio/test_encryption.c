/* SPDX-License-Identifier: MIT */
#include "twilio/encryption.h"

#include "support/sealed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SID "CR0123456789abcdef0123456789abcdef"
#define IV "AAECAwQFBgcICQoL"

static struct twilio_encryption got;
static struct error error;

static int parse(const char *text)
{
	error = (struct error){0};
	return twilio_encryption_parse(slice_from_cstr(text), &got, &error);
}

static void expect_good(const char *text)
{
	cr_assert_eq(parse(text), 0, "%s: %s", text, error.detail);
	cr_assert_str_eq(got.public_key_sid.text, SID);
	cr_assert_str_eq(got.encrypted_cek, SEALED_CEK_BASE64);
	cr_assert_str_eq(got.iv_text, IV);
	cr_assert_eq(got.sealed_len, 256);
	cr_assert_eq(got.sealed[0], 0x09);
	cr_assert_eq(got.sealed[255], 0xcb);
	cr_assert_eq(got.iv_len, 12);
	for (size_t i = 0; i < 12; i++)
		cr_assert_eq(got.iv[i], i);
}

static void expect_bad(const char *text, const char *word)
{
	cr_assert_eq(parse(text), ERR_ENCRYPTION_DETAILS, "%s", text);
	cr_assert_not_null(strstr(error.detail, word), "%s: %s", text, error.detail);
}

#define CALLBACK \
	"{\"type\":\"rsa-aes\",\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"" IV "\"}"

Test(encryption, names_of_the_callback_and_of_the_resource)
{
	expect_good(CALLBACK);
	expect_good("{\"encryption_public_key_sid\":\"" SID "\",\"encryption_cek\":\"" SEALED_CEK_BASE64
		    "\",\"encryption_iv\":\"" IV "\"}");
	expect_good("{\"type\":\"rsa-aes\",\"encryption_public_key_sid\":\"" SID "\",\"encryption_cek\":\"" SEALED_CEK_BASE64
		    "\",\"iv\":\"" IV "\"}");
	expect_good("{\"encryption_type\":\"rsa-aes\",\"public_key_sid\":null,\"encryption_public_key_sid\":\"" SID
		    "\",\"encryption_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"" IV "\",\"more\":[1]}");
}

Test(encryption, what_the_ledger_keeps_is_read_again)
{
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	expect_good(CALLBACK);
	twilio_encryption_format(&got, text);
	cr_assert_str_eq(text, CALLBACK);
	expect_good(text);
}

Test(encryption, every_field_is_checked)
{
	expect_bad("", "empty");
	expect_bad("null", "not JSON"); /* a text that is no object or array */
	expect_bad("{}", "empty");
	expect_bad("[]", "not a JSON object");
	expect_bad("{\"type\":\"rsa-aes\"", "not JSON");
	expect_bad("{\"type\":\"rsa-aes\"}", "public_key_sid");
	expect_bad("{\"type\":\"ec-aes\",\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"" IV
		   "\"}",
		   "type");
	expect_bad("{\"type\":1,\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"" IV "\"}",
		   "type");
	expect_bad("{\"public_key_sid\":\"RE0123456789abcdef0123456789abcdef\",\"encrypted_cek\":\"" SEALED_CEK_BASE64
		   "\",\"iv\":\"" IV "\"}",
		   "public_key_sid");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"iv\":\"" IV "\"}", "encrypted_cek");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"AAAA\",\"iv\":\"" IV "\"}", "encrypted_cek");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "A\",\"iv\":\"" IV "\"}",
		   "encrypted_cek");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\" " SEALED_CEK_BASE64 "\",\"iv\":\"" IV "\"}",
		   "encrypted_cek");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"AAEC\"}", "iv");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":\"AAECAwQFBgcICQoL====\"}",
		   "iv");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64 "\",\"iv\":12}", "iv");
	expect_bad("{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"" SEALED_CEK_BASE64
		   "\",\"iv\":\"AAECAwQFBgcICQoLAAECAwQFBgcICQoL\"}",
		   "iv");
}

/* `bytes` zero bytes as base64. */
static int parse_with_cek(size_t bytes)
{
	char *zeros = calloc(1, bytes), *base64 = malloc(BASE64_LEN(bytes) + 1), *text;
	base64_encode(zeros, bytes, base64);
	cr_assert_gt(asprintf(&text, "{\"public_key_sid\":\"" SID "\",\"encrypted_cek\":\"%s\",\"iv\":\"" IV "\"}", base64), 0);
	int status = parse(text);
	free(zeros);
	free(base64);
	free(text);
	return status;
}

Test(encryption, sealed_keys_of_2048_to_4096_bits)
{
	cr_assert_eq(parse_with_cek(255), ERR_ENCRYPTION_DETAILS);
	cr_assert_eq(parse_with_cek(256), 0);
	cr_assert_eq(parse_with_cek(512), 0);
	char text[TWILIO_ENCRYPTION_TEXT_SIZE];
	twilio_encryption_format(&got, text); /* has room for the longest */
	cr_assert_eq(parse_with_cek(513), ERR_ENCRYPTION_DETAILS);
	cr_assert_eq(parse_with_cek(100000), ERR_ENCRYPTION_DETAILS);
}
