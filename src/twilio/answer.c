/* SPDX-License-Identifier: MIT */
#include "twilio/answer.h"

#include "base/clock.h"
#include "base/err.h"

#include <expat.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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

static int64_t time_of(const json_t *root, const char *key)
{
	struct slice text = text_of(root, key);
	int64_t ms;
	return clock_parse_rfc2822(text.ptr, text.len, &ms) == 0 && ms >= 0 ? ms : -1;
}

static bool is_about(const json_t *root, const struct sid *sid)
{
	return slice_equal(text_of(root, "sid"), slice_from_cstr(sid->text));
}

/* Twilio's own URL has the recording's path, on whatever host and scheme (its examples say http); that of an external storage is
 * somebody else's. */
static bool is_external(struct slice url, const struct sid *account_sid, const struct sid *recording_sid, char *host, size_t size)
{
	char path[160];
	if (url.len == 0)
		return false;
	int len = snprintf(path, sizeof(path), "/2010-04-01/Accounts/%s/Recordings/%s", account_sid->text, recording_sid->text);
	const char *start = memmem(url.ptr, url.len, "://", 3);
	if (start == NULL)
		return true;
	start += 3;
	struct slice rest = slice_make(start, url.len - (size_t)(start - url.ptr));
	const char *slash = memchr(rest.ptr, '/', rest.len);
	size_t host_len = slash == NULL ? rest.len : (size_t)(slash - rest.ptr);
	if (slash != NULL && slice_starts_with(slice_make(slash, rest.len - host_len), slice_make(path, (size_t)len)))
		return false;
	/* Neither half a name nor credentials. */
	if (host_len < size && memchr(rest.ptr, '@', host_len) == NULL)
		keep_text(host, size, slice_make(rest.ptr, host_len));
	return true;
}

static void read_recording(const json_t *root, const struct sid *account_sid, const struct sid *recording_sid,
			   struct twilio_answer_recording *out)
{
	*out = (struct twilio_answer_recording){.duration_s = -1, .start_time_ms = -1};
	keep_text(out->status, sizeof(out->status), text_of(root, "status"));
	keep_text(out->source, sizeof(out->source), text_of(root, "source"));
	out->duration_s = number_of(root, "duration", -1);
	int64_t channels = number_of(root, "channels", 0);
	out->channels = channels > INT_MAX ? 0 : (int)channels;
	out->error_code = number_of(root, "error_code", 0);
	out->start_time_ms = time_of(root, "start_time");
	sid_parse(text_of(root, "call_sid"), "CA", &out->call_sid);
	sid_parse(text_of(root, "conference_sid"), "CF", &out->conference_sid);
	out->external = is_external(text_of(root, "media_url"), account_sid, recording_sid, out->media_host,
				    sizeof(out->media_host));
	out->encrypted = twilio_encryption_from_json(json_object_get(root, "encryption_details"), &out->encryption, NULL) == 0;
}

int twilio_answer_recording(struct slice body, const struct sid *account_sid, const struct sid *recording_sid,
			    struct twilio_answer_recording *out)
{
	json_t *root = load_object(body);
	bool good = root != NULL && is_about(root, recording_sid);
	*out = (struct twilio_answer_recording){.duration_s = -1, .start_time_ms = -1};
	if (good)
		read_recording(root, account_sid, recording_sid, out);
	json_decref(root);
	return good ? 0 : ERR_PROTOCOL;
}

/* ---- Pages of the list ---- */

#define ENCRYPTION_MAX ((size_t)4096)

bool twilio_answer_is_next_page(struct slice uri, const struct sid *account_sid)
{
	char path[96];
	int len = snprintf(path, sizeof(path), "/2010-04-01/Accounts/%s/Recordings.json?", account_sid->text);
	if (uri.len >= TWILIO_NEXT_PAGE_SIZE || !slice_starts_with(uri, slice_make(path, (size_t)len)))
		return false;
	for (size_t i = 0; i < uri.len; i++) {
		if (uri.ptr[i] <= ' ' || uri.ptr[i] > '~' || uri.ptr[i] == '#')
			return false;
	}
	return true;
}

static int list_failed(struct twilio_answer_list *out, const char *problem)
{
	twilio_answer_list_free(out);
	out->problem = problem;
	return ERR_PROTOCOL;
}

static char *dump_encryption(const json_t *entry)
{
	const json_t *details = json_object_get(entry, "encryption_details");
	char *text = json_is_object(details) ? json_dumps(details, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (text != NULL && strlen(text) > ENCRYPTION_MAX) {
		free(text);
		return NULL;
	}
	return text;
}

static bool read_listed(const json_t *entry, const struct sid *account_sid, struct twilio_listed *out)
{
	struct sid owner;
	if (!json_is_object(entry) || !sid_parse(text_of(entry, "sid"), "RE", &out->recording_sid) ||
	    !sid_parse(text_of(entry, "account_sid"), "AC", &owner) ||
	    !slice_equal_nocase(slice_from_cstr(owner.text), slice_from_cstr(account_sid->text)))
		return false;
	read_recording(entry, account_sid, &out->recording_sid, &out->about);
	out->created_ms = time_of(entry, "date_created");
	out->encryption = dump_encryption(entry);
	return true;
}

static int read_page(const json_t *root, const struct sid *account_sid, size_t max, struct twilio_answer_list *out)
{
	const json_t *entries = json_object_get(root, "recordings");
	const json_t *next = json_object_get(root, "next_page_uri");
	size_t count = json_array_size(entries);
	if (!json_is_array(entries))
		return list_failed(out, "no list of recordings in it");
	if (count > max)
		return list_failed(out, "more recordings than were asked for");
	if (json_is_string(next)) {
		struct slice uri = text_of(root, "next_page_uri");
		if (!twilio_answer_is_next_page(uri, account_sid))
			return list_failed(out, "its next_page_uri does not lead to this account's list");
		memcpy(out->next_page, uri.ptr, uri.len);
	} else if (!json_is_null(next)) {
		return list_failed(out, "no next_page_uri in it");
	}
	out->items = calloc(count > 0 ? count : 1, sizeof(*out->items));
	if (out->items == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < count; i++) {
		if (!read_listed(json_array_get(entries, i), account_sid, &out->items[i]))
			return list_failed(out, "an entry that is no recording of this account");
		out->count++;
	}
	return 0;
}

int twilio_answer_list(struct slice body, const struct sid *account_sid, size_t max, struct twilio_answer_list *out)
{
	*out = (struct twilio_answer_list){0};
	json_t *root = load_object(body);
	if (root == NULL)
		return list_failed(out, "no JSON object");
	int status = read_page(root, account_sid, max, out);
	json_decref(root);
	return status;
}

void twilio_answer_list_free(struct twilio_answer_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].encryption);
	free(list->items);
	*list = (struct twilio_answer_list){0};
}

/* ---- Calls ---- */

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

/* The number at the end of ".../errors/20404", which is how `type` names a problem that has no `code`. */
static int64_t code_of_type(struct slice type)
{
	static const char marker[] = "/errors/";
	const char *at = type.len > 0 ? memmem(type.ptr, type.len, marker, sizeof(marker) - 1) : NULL;
	if (at == NULL)
		return 0;
	int64_t code = 0;
	for (at += sizeof(marker) - 1; at < type.ptr + type.len && *at >= '0' && *at <= '9' && code < 100000000; at++)
		code = code * 10 + (*at - '0');
	return at == type.ptr + type.len ? code : 0;
}

static void read_json_error(const json_t *root, struct twilio_answer_error *out)
{
	static const char *const texts[] = {"message", "detail", "title"};
	out->code = number_of(root, "code", 0);
	if (out->code == 0)
		out->code = code_of_type(text_of(root, "type"));
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && out->message[0] == '\0'; i++)
		keep_text(out->message, sizeof(out->message), text_of(root, texts[i]));
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
	read_json_error(root, out);
	json_decref(root);
}
