/* SPDX-License-Identifier: MIT */
#include "store/aws_answer.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct aws_keys keys;
static struct aws_answer_error refused;

static int json(const char *text)
{
	memset(&keys, 'x', sizeof(keys));
	return aws_answer_json(slice_from_cstr(text), &keys, &refused);
}

static int sts(const char *text)
{
	memset(&keys, 'x', sizeof(keys));
	return aws_answer_sts(slice_from_cstr(text), &keys);
}

static void expect_wiped(const char *text)
{
	cr_expect_str_empty(keys.access_key_id, "%s", text);
	cr_expect_str_empty(keys.secret_access_key, "%s", text);
	cr_expect_str_empty(keys.session_token, "%s", text);
	cr_expect_eq(keys.secret_access_key[100], 0);
}

/* JSON */

Test(aws_answer, reads_the_json_of_a_container)
{
	cr_assert_eq(json("{\"RoleArn\":\"arn:aws:iam::1:role/r\",\"AccessKeyId\":\"ASIAX\",\"SecretAccessKey\":\"a/b+c=\","
			  "\"Token\":\"FwoG//8=\",\"Expiration\":\"2026-11-26T06:00:00Z\"}"),
		     0);
	cr_expect_str_eq(keys.access_key_id, "ASIAX");
	cr_expect_str_eq(keys.secret_access_key, "a/b+c=");
	cr_expect_str_eq(keys.session_token, "FwoG//8=");
	cr_expect_eq(keys.expires_ms, 1795672800000);
}

Test(aws_answer, reads_the_json_of_the_metadata_service)
{
	cr_assert_eq(
		json("{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"2026-11-26T00:00:00Z\",\n  \"Type\" : \"AWS-HMAC\",\n"
		     "  \"AccessKeyId\" : \"ASIAX\",\n  \"SecretAccessKey\" : \"s\",\n  \"Token\" : \"t\",\n"
		     "  \"Expiration\" : \"2026-11-26T06:00:00Z\"\n}"),
		0);
	cr_expect_str_eq(keys.session_token, "t");
	cr_expect_eq(keys.expires_ms, 1795672800000);
}

Test(aws_answer, takes_credentials_without_token_or_end)
{
	cr_assert_eq(json("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"}"), 0);
	cr_expect_str_empty(keys.session_token);
	cr_expect_eq(keys.expires_ms, -1);
	cr_assert_eq(json("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":null,\"Token\":null}"), 0);
	cr_expect_eq(keys.expires_ms, -1);
}

Test(aws_answer, refuses_json_that_holds_no_credentials)
{
	static const char *const texts[] = {
		"",
		"null",
		"[]",
		"\"x\"",
		"{}",
		"{",
		"<html>",
		"{\"AccessKeyId\":\"A\"}",
		"{\"SecretAccessKey\":\"s\"}",
		"{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"s\"}",
		"{\"AccessKeyId\":1,\"SecretAccessKey\":\"s\"}",
		"{\"AccessKeyId\":\"A\\r\\nX: y\",\"SecretAccessKey\":\"s\"}",
		"{\"AccessKeyId\":\"A B\",\"SecretAccessKey\":\"s\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"a\\nb\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"soon\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":1795672800}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"\"}",
		"{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\"} x",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cr_expect_eq(json(texts[i]), ERR_PROTOCOL, "%s", texts[i]);
		expect_wiped(texts[i]);
	}
}

Test(aws_answer, refuses_what_is_longer_than_credentials_are)
{
	char text[AWS_TOKEN_SIZE + 200];
	char *value = malloc(AWS_TOKEN_SIZE + 1);

	memset(value, 'v', AWS_TOKEN_SIZE);
	value[AWS_TOKEN_SIZE] = '\0';
	snprintf(text, sizeof(text), "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"%s\"}", value);
	cr_expect_eq(json(text), ERR_PROTOCOL);
	value[AWS_TOKEN_SIZE - 1] = '\0';
	snprintf(text, sizeof(text), "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"%s\"}", value);
	cr_expect_eq(json(text), 0);
	cr_expect_eq(strlen(keys.session_token), AWS_TOKEN_SIZE - 1);
	free(value);
}

Test(aws_answer, reads_a_refusal_inside_an_answer)
{
	cr_expect_eq(json("{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"EC2 cannot assume the role\"}"), ERR_DENIED);
	cr_expect_str_eq(refused.code, "AssumeRoleUnauthorizedAccess");
	expect_wiped("refusal");
	/* a code that is no word is not repeated */
	cr_expect_eq(json("{\"Code\":\"\\u001b[31mx y\"}"), ERR_DENIED);
	cr_expect_str_empty(refused.code);
}

Test(aws_answer, reads_the_code_of_json_errors)
{
	static const char *const rows[][2] = {
		{"{\"code\":\"AccessDenied\",\"message\":\"m\"}", "AccessDenied"},
		{"{\"Code\":\"NotFound\"}", "NotFound"},
		{"{\"code\":\"has space\"}", ""},
		{"{\"code\":5}", ""},
		{"not found", ""},
		{"", ""},
		{"{\"code\":\"a234567890123456789012345678901234567890123456789012345678901234\"}", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct aws_answer_error error;
		aws_answer_json_error(slice_from_cstr(rows[i][0]), &error);
		cr_expect_str_eq(error.code, rows[i][1], "%s", rows[i][0]);
	}
}

/* XML */

#define STS_HEAD                                                                                  \
	"<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">" \
	"<AssumeRoleWithWebIdentityResult>"
#define STS_TAIL                                                                                          \
	"</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>" \
	"</AssumeRoleWithWebIdentityResponse>"
#define STS_CREDENTIALS(id, secret, token, date)                                                                              \
	"<Credentials><SessionToken>" token "</SessionToken>\n<SecretAccessKey>" secret "</SecretAccessKey><Expiration>" date \
	"</Expiration><AccessKeyId>" id "</AccessKeyId></Credentials>"

Test(aws_answer, reads_the_xml_of_sts)
{
	/* the form of the example in AWS's reference */
	cr_assert_eq(sts(STS_HEAD "<SubjectFromWebIdentityToken>amzn1.account.AF6</SubjectFromWebIdentityToken>"
				  "<Audience>client.5498841531868486423.1548@apps.example.com</Audience>"
				  "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/app1</Arn>"
				  "<AssumedRoleId>AROACLKWSDQRAOEXAMPLE:app1</AssumedRoleId></AssumedRoleUser>" STS_CREDENTIALS(
					  "ASIAX", "a/b+c&amp;=", "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE",
					  "2026-11-26T06:00:00.5Z") "<Provider>www.amazon.com</Provider>" STS_TAIL),
		     0);
	cr_expect_str_eq(keys.access_key_id, "ASIAX");
	cr_expect_str_eq(keys.secret_access_key, "a/b+c&=");
	cr_expect_str_eq(keys.session_token, "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE");
	cr_expect_eq(keys.expires_ms, 1795672800500);
}

Test(aws_answer, refuses_xml_that_holds_no_credentials)
{
	static const char *const texts[] = {
		"",
		"{}",
		STS_HEAD,
		STS_HEAD STS_TAIL,
		STS_HEAD STS_CREDENTIALS("A", "s", "t", "soon") STS_TAIL,
		STS_HEAD STS_CREDENTIALS("A", "s", "", "2026-11-26T06:00:00Z") STS_TAIL,
		STS_HEAD STS_CREDENTIALS("", "s", "t", "2026-11-26T06:00:00Z") STS_TAIL,
		STS_HEAD STS_CREDENTIALS("A", "s&#10;X: y", "t", "2026-11-26T06:00:00Z") STS_TAIL,
		STS_HEAD "<Other><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
			 "<Expiration>2026-11-26T06:00:00Z</Expiration></Other>" STS_TAIL,
		STS_HEAD STS_CREDENTIALS("A", "s", "t", "2026-11-26T06:00:00Z"),
		"<!DOCTYPE x [<!ENTITY s \"s\">]>" STS_HEAD STS_CREDENTIALS("A", "&s;", "t", "2026-11-26T06:00:00Z") STS_TAIL,
		STS_HEAD STS_CREDENTIALS("A", "&undefined;", "t", "2026-11-26T06:00:00Z") STS_TAIL,
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cr_expect_eq(sts(texts[i]), ERR_PROTOCOL, "%s", texts[i]);
		expect_wiped(texts[i]);
	}
}

Test(aws_answer, is_not_led_astray_by_nesting)
{
	/* a child of the element is no part of its text, and the first of two counts */
	cr_assert_eq(sts(STS_HEAD STS_CREDENTIALS("A<b>x</b>B", "s", "t", "2026-11-26T06:00:00Z")
				 STS_CREDENTIALS("C", "c", "c", "2026-11-26T07:00:00Z") STS_TAIL),
		     0);
	cr_expect_str_eq(keys.access_key_id, "AB");
	cr_expect_str_eq(keys.session_token, "t");
	cr_expect_eq(keys.expires_ms, 1795672800000);

	char deep[2048] = "";
	size_t len = 0;
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(deep + len, sizeof(deep) - len, "<a>");
	cr_expect_eq(sts(deep), ERR_PROTOCOL);
}

Test(aws_answer, refuses_xml_texts_that_do_not_fit)
{
	char id[AWS_KEY_ID_SIZE + 1];
	char text[2048];

	memset(id, 'A', sizeof(id));
	id[AWS_KEY_ID_SIZE] = '\0';
	snprintf(text, sizeof(text), STS_HEAD STS_CREDENTIALS("%s", "s", "t", "2026-11-26T06:00:00Z") STS_TAIL, id);
	cr_expect_eq(sts(text), ERR_PROTOCOL);
	id[AWS_KEY_ID_SIZE - 1] = '\0';
	snprintf(text, sizeof(text), STS_HEAD STS_CREDENTIALS("%s", "s", "t", "2026-11-26T06:00:00Z") STS_TAIL, id);
	cr_expect_eq(sts(text), 0);
}

Test(aws_answer, reads_the_code_of_sts_errors)
{
	static const char *const rows[][2] = {
		{"<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>"
		 "<Code>ExpiredTokenException</Code><Message>m</Message></Error><RequestId>r</RequestId></ErrorResponse>",
		 "ExpiredTokenException"},
		{"<ErrorResponse><Error><Code>a b</Code></Error></ErrorResponse>", ""},
		{"<ErrorResponse><Code>X</Code></ErrorResponse>", ""},
		{"<ErrorResponse><Error><Code>Cut</Co", "Cut"},
		{"<html>", ""},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct aws_answer_error error;
		aws_answer_sts_error(slice_from_cstr(rows[i][0]), &error);
		cr_expect_str_eq(error.code, rows[i][1], "%s", rows[i][0]);
	}
}
