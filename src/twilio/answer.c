/* SPDX-License-Identifier: MIT */
#include "twilio/answer.h"

#include "base/clock.h"
#include "base/err.h"

#include <expat.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- JSON ---- */

static json_t *load_object(struct slice body)
{
	json_error_t error;
	if (body.len == 0)
		return NULL;
	json_t *root = json_loadb(body.ptr, body.len, 0, &error);
	if (root != NULL && !json_is_object(root)) {
		json_decref(root);
		return NULL;
	}
	return root;
}

static struct slice text_of(const json_t *root, const char *key)
{
	const json_t *value = json_object_get(root, key);
	return json_is_string(value) ? slice_make(json_string_value(value), json_string_length(value)) : slice_make("", 0);
}

/* Bytes above 0x7f may be cut in the middle of a character: the tail of such a one is dropped. */
static void keep_text(char *out, size_t size, struct slice text)
{
	size_t len = text.len < size ? text.len : size - 1;
	if (len < text.len) {
		while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		out[i] = c < 0x20 || c == 0x7f ? '?' : text.ptr[i];
	}
	out[len] = '\0';
}

/* Twilio writes numbers as numbers, as text or as null. */
static int64_t number_of(const json_t *root, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(root, key);
	if (json_is_integer(value))
		return json_integer_value(value) >= 0 ? json_integer_value(value) : fallback;
	struct slice text = text_of(root, key);
	int64_t number = 0;
	if (text.len == 0)
		return fallback;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, text.ptr[i] - '0', &number))
			return fallback;
	}
	return number;
}

static bool is_about(const json_t *root, const struct sid *sid)
{
	return slice_equal(text_of(root, "sid"), slice_from_cstr(sid->text));
}

/* Twilio's own URL has the recording's path, on whatever host; that of an external storage is somebody else's. */
static bool is_external(struct slice url, const struct sid *account_sid, const struct sid *recording_sid)
{
	char path[160];
	if (url.len == 0)
		return false;
	int len = snprintf(path, sizeof(path), "/2010-04-01/Accounts/%s/Recordings/%s", account_sid->text, recording_sid->text);
	const char *host = memmem(url.ptr, url.len, "://", 3);
	if (host == NULL)
		return true;
	host += 3;
	const char *start = memchr(host, '/', url.len - (size_t)(host - url.ptr));
	if (start == NULL)
		return true;
	return !slice_starts_with(slice_make(start, url.len - (size_t)(start - url.ptr)), slice_make(path, (size_t)len));
}

int twilio_answer_recording(struct slice body, const struct sid *account_sid, const struct sid *recording_sid,
			    struct twilio_answer_recording *out)
{
	*out = (struct twilio_answer_recording){.duration_s = -1, .start_time_ms = -1};
	json_t *root = load_object(body);
	if (root == NULL || !is_about(root, recording_sid)) {
		json_decref(root);
		return ERR_PROTOCOL;
	}
	keep_text(out->status, sizeof(out->status), text_of(root, "status"));
	keep_text(out->source, sizeof(out->source), text_of(root, "source"));
	out->duration_s = number_of(root, "duration", -1);
	int64_t channels = number_of(root, "channels", 0);
	out->channels = channels > INT_MAX ? 0 : (int)channels;
	out->error_code = number_of(root, "error_code", 0);
	struct slice start = text_of(root, "start_time");
	if (clock_parse_rfc2822(start.ptr, start.len, &out->start_time_ms) != 0)
		out->start_time_ms = -1;
	sid_parse(text_of(root, "call_sid"), "CA", &out->call_sid);
	sid_parse(text_of(root, "conference_sid"), "CF", &out->conference_sid);
	out->external = is_external(text_of(root, "media_url"), account_sid, recording_sid);
	out->encrypted = twilio_encryption_from_json(json_object_get(root, "encryption_details"), &out->encryption, NULL) == 0;
	json_decref(root);
	return 0;
}

int twilio_answer_call(struct slice body, const struct sid *call_sid, struct twilio_answer_call *out)
{
	*out = (struct twilio_answer_call){.duration_s = -1};
	json_t *root = load_object(body);
	if (root == NULL || !is_about(root, call_sid)) {
		json_decref(root);
		return ERR_PROTOCOL;
	}
	keep_text(out->from, sizeof(out->from), text_of(root, "from"));
	keep_text(out->to, sizeof(out->to), text_of(root, "to"));
	keep_text(out->status, sizeof(out->status), text_of(root, "status"));
	out->duration_s = number_of(root, "duration", -1);
	json_decref(root);
	return 0;
}

/* ---- Errors in XML ---- */

enum xml_field { XML_OTHER, XML_CODE, XML_MESSAGE };

struct xml_error {
	bool in_exception;
	enum xml_field field;
	char code[24];
	size_t code_len;
	char message[sizeof(((struct twilio_answer_error *)0)->message)];
	size_t message_len;
};

static void xml_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
	struct xml_error *error = XML_GetUserData((XML_Parser)data);
	(void)attributes;
	if (strcmp(name, "RestException") == 0)
		error->in_exception = true;
	else if (error->in_exception)
		error->field = strcmp(name, "Code") == 0 ? XML_CODE : strcmp(name, "Message") == 0 ? XML_MESSAGE : XML_OTHER;
}

static void xml_end(void *data, const XML_Char *name)
{
	struct xml_error *error = XML_GetUserData((XML_Parser)data);
	error->field = XML_OTHER;
	if (strcmp(name, "RestException") == 0)
		error->in_exception = false;
}

static void xml_append(char *out, size_t size, size_t *len, const XML_Char *text, int count)
{
	for (int i = 0; i < count && *len + 1 < size; i++)
		out[(*len)++] = text[i];
}

static void xml_text(void *data, const XML_Char *text, int count)
{
	struct xml_error *error = XML_GetUserData((XML_Parser)data);
	if (error->field == XML_CODE)
		xml_append(error->code, sizeof(error->code), &error->code_len, text, count);
	else if (error->field == XML_MESSAGE)
		xml_append(error->message, sizeof(error->message), &error->message_len, text, count);
}

/* Errors need no document type; without one no entity can be declared. */
static void xml_doctype(void *data, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
			int has_internal_subset)
{
	XML_Parser parser = data;
	(void)name;
	(void)system_id;
	(void)public_id;
	(void)has_internal_subset;
	XML_StopParser(parser, XML_FALSE);
}

static void read_xml_error(struct slice body, struct twilio_answer_error *out)
{
	struct xml_error error = {0};
	XML_Parser parser = XML_ParserCreate(NULL);
	if (parser == NULL || body.len > INT_MAX)
		goto out;
	XML_SetUserData(parser, &error);
	XML_SetElementHandler(parser, xml_start, xml_end);
	XML_SetCharacterDataHandler(parser, xml_text);
	XML_SetStartDoctypeDeclHandler(parser, xml_doctype);
	/* The handlers get the parser, so that one can stop it. */
	XML_UseParserAsHandlerArg(parser);
	/* What was read before the XML went wrong counts. */
	XML_Parse(parser, body.ptr, (int)body.len, XML_TRUE);
	for (size_t i = 0; i < error.code_len; i++) {
		if (error.code[i] < '0' || error.code[i] > '9' || i >= 9) {
			out->code = 0;
			break;
		}
		out->code = out->code * 10 + (error.code[i] - '0');
	}
	keep_text(out->message, sizeof(out->message), slice_make(error.message, error.message_len));
out:
	if (parser != NULL)
		XML_ParserFree(parser);
}

void twilio_answer_error(struct slice body, struct twilio_answer_error *out)
{
	*out = (struct twilio_answer_error){0};
	while (body.len > 0 && (unsigned char)body.ptr[0] <= ' ')
		body = slice_make(body.ptr + 1, body.len - 1);
	if (body.len == 0)
		return;
	if (body.ptr[0] == '<') {
		read_xml_error(body, out);
		return;
	}
	json_t *root = load_object(body);
	if (root == NULL)
		return;
	out->code = number_of(root, "code", 0);
	keep_text(out->message, sizeof(out->message), text_of(root, "message"));
	json_decref(root);
}
