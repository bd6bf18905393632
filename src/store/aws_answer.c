/* SPDX-License-Identifier: MIT */
#include "store/aws_answer.h"

#include "base/clock.h"

#include <expat.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>

#define XML_DEPTH_MAX 16

static void keep_code(struct aws_answer_error *out, struct slice code)
{
	static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

	out->code[0] = '\0';
	if (code.len >= sizeof(out->code))
		return;
	for (size_t i = 0; i < code.len; i++) {
		if (memchr(characters, code.ptr[i], sizeof(characters) - 1) == NULL)
			return;
	}
	memcpy(out->code, code.ptr, code.len);
	out->code[code.len] = '\0';
}

/* ---- JSON ---- */

static struct slice text_of(const json_t *root, const char *key)
{
	const json_t *value = json_object_get(root, key);

	return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : slice_make("", 0);
}

static json_t *load(struct slice body)
{
	json_error_t error;

	return body.len == 0 ? NULL : json_loadb(body.ptr, body.len, 0, &error);
}

static int read_keys(const json_t *root, struct aws_keys *keys)
{
	const json_t *expiration = json_object_get(root, "Expiration");
	struct slice date = text_of(root, "Expiration");

	if (!aws_keys_set(keys->access_key_id, sizeof(keys->access_key_id), text_of(root, "AccessKeyId")) ||
	    !aws_keys_set(keys->secret_access_key, sizeof(keys->secret_access_key), text_of(root, "SecretAccessKey")) ||
	    !aws_keys_set(keys->session_token, sizeof(keys->session_token), text_of(root, "Token")) || !aws_keys_complete(keys))
		return ERR_PROTOCOL;
	keys->expires_ms = -1;
	if (expiration != NULL && !json_is_null(expiration) && clock_parse_iso8601(date.ptr, date.len, &keys->expires_ms) != 0)
		return ERR_PROTOCOL;
	return 0;
}

int aws_answer_json(struct slice body, struct aws_keys *keys, struct aws_answer_error *refused)
{
	json_t *root = load(body);
	struct slice code = text_of(root, "Code");
	int status;

	*refused = (struct aws_answer_error){0};
	if (code.len > 0 && !slice_equal(code, SLICE("Success"))) {
		keep_code(refused, code);
		status = ERR_DENIED;
	} else {
		status = read_keys(root, keys);
	}
	if (status != 0)
		aws_keys_wipe(keys);
	json_decref(root);
	return status;
}

void aws_answer_json_error(struct slice body, struct aws_answer_error *out)
{
	json_t *root = load(body);
	struct slice code = text_of(root, "code"); /* of a container's endpoint; the metadata service writes it with a C */

	keep_code(out, code.len > 0 ? code : text_of(root, "Code"));
	json_decref(root);
}

/* ---- XML ---- */

/* An element that is looked for: its name and its parent's, and where its text goes. */
struct field {
	const char *parent;
	const char *name;
	char *out;
	size_t size;
	bool found;
	bool too_long;
};

struct xml {
	XML_Parser parser;
	struct field *fields;
	size_t field_count;
	struct field *current; /* whose text is being read */
	size_t current_depth;
	size_t len;
	size_t depth;
	char names[XML_DEPTH_MAX][64]; /* of the open elements */
};

static void XMLCALL on_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
	struct xml *xml = data;
	const char *parent = xml->depth > 0 ? xml->names[xml->depth - 1] : "";

	(void)attributes;
	if (xml->depth == XML_DEPTH_MAX) {
		XML_StopParser(xml->parser, XML_FALSE);
		return;
	}
	(void)snprintf(xml->names[xml->depth], sizeof(xml->names[0]), "%s", name);
	xml->depth++;
	for (size_t i = 0; i < xml->field_count && xml->current == NULL; i++) {
		struct field *field = &xml->fields[i];
		if (!field->found && strcmp(field->name, name) == 0 && strcmp(field->parent, parent) == 0) {
			xml->current = field;
			xml->current_depth = xml->depth;
			xml->len = 0;
			field->found = true;
		}
	}
}

static void XMLCALL on_end(void *data, const XML_Char *name)
{
	struct xml *xml = data;

	(void)name;
	if (xml->current != NULL && xml->depth == xml->current_depth) {
		xml->current->out[xml->len] = '\0';
		xml->current = NULL;
	}
	xml->depth--;
}

static void XMLCALL on_text(void *data, const XML_Char *text, int len)
{
	struct xml *xml = data;

	if (xml->current == NULL || xml->depth != xml->current_depth)
		return;
	size_t room = xml->current->size - 1 - xml->len;
	size_t taken = (size_t)len < room ? (size_t)len : room;
	xml->current->too_long = xml->current->too_long || taken < (size_t)len;
	memcpy(xml->current->out + xml->len, text, taken);
	xml->len += taken;
}

/* No answer has a document type; one that has is not from STS. Without it there are no entities to expand. */
static void XMLCALL on_doctype(void *data, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
	struct xml *xml = data;

	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	XML_StopParser(xml->parser, XML_FALSE);
}

/* False when it is no well-formed XML; the fields hold what was found before. */
static bool read_xml(struct slice body, struct field *fields, size_t count)
{
	struct xml xml = {.parser = XML_ParserCreate(NULL), .fields = fields, .field_count = count};

	for (size_t i = 0; i < count; i++)
		fields[i].out[0] = '\0';
	if (xml.parser == NULL || body.len > INT_MAX) {
		if (xml.parser != NULL)
			XML_ParserFree(xml.parser);
		return false;
	}
	XML_SetUserData(xml.parser, &xml);
	XML_SetElementHandler(xml.parser, on_start, on_end);
	XML_SetCharacterDataHandler(xml.parser, on_text);
	XML_SetStartDoctypeDeclHandler(xml.parser, on_doctype);
	bool right = XML_Parse(xml.parser, body.ptr, (int)body.len, XML_TRUE) == XML_STATUS_OK;
	if (xml.current != NULL)
		xml.current->out[xml.len] = '\0';
	XML_ParserFree(xml.parser);
	return right;
}

static bool keep_checked(char *out, size_t size, const struct field *field)
{
	return field->found && !field->too_long && aws_keys_set(out, size, slice_from_cstr(field->out)) && out[0] != '\0';
}

int aws_answer_sts(struct slice body, struct aws_keys *keys)
{
	char id[AWS_KEY_ID_SIZE], secret[AWS_SECRET_SIZE], token[AWS_TOKEN_SIZE], date[64] = "";
	struct field fields[] = {
		{.parent = "Credentials", .name = "AccessKeyId", .out = id, .size = sizeof(id)},
		{.parent = "Credentials", .name = "SecretAccessKey", .out = secret, .size = sizeof(secret)},
		{.parent = "Credentials", .name = "SessionToken", .out = token, .size = sizeof(token)},
		{.parent = "Credentials", .name = "Expiration", .out = date, .size = sizeof(date)},
	};
	bool right = read_xml(body, fields, sizeof(fields) / sizeof(fields[0])) &&
		     keep_checked(keys->access_key_id, sizeof(keys->access_key_id), &fields[0]) &&
		     keep_checked(keys->secret_access_key, sizeof(keys->secret_access_key), &fields[1]) &&
		     keep_checked(keys->session_token, sizeof(keys->session_token), &fields[2]) &&
		     clock_parse_iso8601(date, strlen(date), &keys->expires_ms) == 0;

	OPENSSL_cleanse(secret, sizeof(secret));
	OPENSSL_cleanse(token, sizeof(token));
	if (!right)
		aws_keys_wipe(keys);
	return right ? 0 : ERR_PROTOCOL;
}

void aws_answer_sts_error(struct slice body, struct aws_answer_error *out)
{
	char code[sizeof(out->code)] = "";
	struct field field = {.parent = "Error", .name = "Code", .out = code, .size = sizeof(code)};

	(void)read_xml(body, &field, 1);
	keep_code(out, field.too_long ? slice_make("", 0) : slice_from_cstr(code));
}
