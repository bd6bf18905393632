/* SPDX-License-Identifier: MIT */
/*
 * Every byte that comes from outside goes through put_text: it decodes UTF-8, looks up the character and escapes it. The rest are
 * literals of this file.
 */
#include <reeld/twiml.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define DIGITS "0123456789"
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define HEX_DIGITS DIGITS "ABCDEFabcdef"
/* RFC 3986: unreserved, reserved and '%'. The brackets are for IPv6 hosts. */
#define URL_CHARACTERS LETTERS DIGITS "-._~:/?#[]@!$&'()*+,;=%"

#define MAX_LENGTH_MIN_S 2
#define MAX_LENGTH_MAX_S 86400

static void fail(struct reeld_twiml *t, enum reeld_twiml_result result, const char *what)
{
	if (t->failed)
		return;
	t->failed = true;
	t->result = result;
	t->what = what;
}

static void put(struct reeld_twiml *t, const char *bytes, size_t len, const char *what)
{
	if (t->failed)
		return;
	if (len >= t->cap - t->len) { /* one is the NUL's */
		fail(t, REELD_TWIML_TOO_LONG, what);
		return;
	}
	memcpy(t->out + t->len, bytes, len);
	t->len += len;
}

static void put_literal(struct reeld_twiml *t, const char *literal)
{
	put(t, literal, strlen(literal), "Response");
}

/* The bytes of the character at `in`, and the character; 0 when it is not well-formed UTF-8 (Unicode, table 3-7). */
static size_t decode_utf8(const unsigned char *in, size_t len, uint32_t *character)
{
	unsigned char lead = in[0];
	size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;

	if (size == 0 || size > len)
		return 0;
	uint32_t value = size == 1 ? lead : lead & (0x7fU >> size);
	for (size_t i = 1; i < size; i++) {
		if ((in[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (in[i] & 0x3fU);
	}
	bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
	if (overlong || value > 0x10ffff)
		return 0;
	*character = value;
	return size;
}

/* https://www.w3.org/TR/xml/#NT-Char */
static bool is_xml_character(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xd7ff) || (c >= 0xe000 && c <= 0xfffd) ||
	       (c >= 0x10000 && c <= 0x10ffff);
}

/* NULL: goes as it is. A parser turns a raw CR into LF, and white space in an attribute into a space. */
static const char *escape_of(uint32_t c, bool attribute)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '\r':
		return "&#13;";
	case '"':
		return attribute ? "&quot;" : NULL;
	case '\t':
		return attribute ? "&#9;" : NULL;
	case '\n':
		return attribute ? "&#10;" : NULL;
	default:
		return NULL;
	}
}

static void put_text(struct reeld_twiml *t, const char *text, size_t len, bool attribute, const char *what)
{
	const unsigned char *in = (const unsigned char *)text;
	size_t size;

	for (size_t i = 0; i < len && !t->failed; i += size) {
		uint32_t character = 0;
		size = decode_utf8(in + i, len - i, &character);
		if (size == 0 || !is_xml_character(character)) {
			fail(t, REELD_TWIML_BAD_TEXT, what);
			return;
		}
		const char *escape = escape_of(character, attribute);
		if (escape != NULL)
			put(t, escape, strlen(escape), what);
		else
			put(t, text + i, size, what);
	}
}

/* Nothing for NULL. */
static void put_attribute(struct reeld_twiml *t, const char *name, const char *value)
{
	if (value == NULL)
		return;
	put(t, " ", 1, name);
	put(t, name, strlen(name), name);
	put(t, "=\"", 2, name);
	put_text(t, value, strlen(value), true, name);
	put(t, "\"", 1, name);
}

static bool is_word_of(const char *word, size_t len, const char *const *allowed)
{
	for (; *allowed != NULL; allowed++)
		if (strlen(*allowed) == len && memcmp(*allowed, word, len) == 0)
			return true;
	return false;
}

/* `allowed` ends with NULL. */
static void put_choice(struct reeld_twiml *t, const char *name, const char *value, const char *const *allowed)
{
	if (value != NULL && !is_word_of(value, strlen(value), allowed))
		fail(t, REELD_TWIML_BAD_VALUE, name);
	put_attribute(t, name, value);
}

/* A value made of these characters, not empty. */
static void put_token(struct reeld_twiml *t, const char *name, const char *value, const char *characters)
{
	if (value != NULL && (*value == '\0' || value[strspn(value, characters)] != '\0'))
		fail(t, REELD_TWIML_BAD_VALUE, name);
	put_attribute(t, name, value);
}

static void put_callback(struct reeld_twiml *t, const char *name, const char *url)
{
	if (url != NULL && !reeld_twiml_callback_url_valid(url))
		fail(t, REELD_TWIML_BAD_URL, name);
	put_attribute(t, name, url);
}

static void put_number(struct reeld_twiml *t, const char *name, unsigned value)
{
	char digits[16];

	if (value == 0)
		return;
	(void)snprintf(digits, sizeof(digits), "%u", value);
	put_attribute(t, name, digits);
}

static void put_method(struct reeld_twiml *t, const char *name, const char *value)
{
	static const char *const methods[] = {"POST", "GET", NULL};

	put_choice(t, name, value, methods);
}

static void put_flag(struct reeld_twiml *t, const char *name, const char *value)
{
	static const char *const flags[] = {"true", "false", NULL};

	put_choice(t, name, value, flags);
}

static void put_trim(struct reeld_twiml *t, const char *value)
{
	static const char *const trims[] = {"trim-silence", "do-not-trim", NULL};

	put_choice(t, "trim", value, trims);
}

/* Words with one space between them. */
static void put_events(struct reeld_twiml *t, const char *value)
{
	static const char *const events[] = {"in-progress", "completed", "absent", "failed", NULL};
	const char *name = "recordingStatusCallbackEvent";
	size_t len;

	for (const char *word = value; word != NULL && !t->failed; word = word[len] == '\0' ? NULL : word + len + 1) {
		len = strcspn(word, " ");
		if (!is_word_of(word, len, events))
			fail(t, REELD_TWIML_BAD_VALUE, name);
	}
	put_attribute(t, name, value);
}

void reeld_twiml_begin(struct reeld_twiml *t, char *out, size_t cap)
{
	*t = (struct reeld_twiml){.out = out, .cap = cap > REELD_TWIML_MAX ? REELD_TWIML_MAX + 1 : cap};
	if (cap == 0)
		fail(t, REELD_TWIML_TOO_LONG, "Response");
	put_literal(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>");
}

void reeld_twiml_say(struct reeld_twiml *t, const char *text, size_t len, const char *voice, const char *language)
{
	if (len == 0)
		fail(t, REELD_TWIML_BAD_TEXT, "Say");
	put_literal(t, "<Say");
	put_token(t, "voice", voice, LETTERS DIGITS "._-");
	put_token(t, "language", language, LETTERS DIGITS "-");
	put_literal(t, ">");
	put_text(t, text, len, false, "Say");
	put_literal(t, "</Say>");
}

void reeld_twiml_start_recording(struct reeld_twiml *t, const struct reeld_twiml_recording *options)
{
	static const char *const channels[] = {"mono", "dual", NULL};
	static const char *const tracks[] = {"inbound", "outbound", "both", NULL};
	static const struct reeld_twiml_recording none = {0};

	if (options == NULL)
		options = &none;
	put_literal(t, "<Start><Recording");
	if (options->name != NULL && *options->name == '\0')
		fail(t, REELD_TWIML_BAD_TEXT, "name");
	put_attribute(t, "name", options->name);
	put_callback(t, "recordingStatusCallback", options->callback);
	put_method(t, "recordingStatusCallbackMethod", options->method);
	put_events(t, options->events);
	put_choice(t, "channels", options->channels, channels);
	put_choice(t, "track", options->track, tracks);
	put_trim(t, options->trim);
	put_literal(t, "/></Start>");
}

void reeld_twiml_record(struct reeld_twiml *t, const struct reeld_twiml_record *options)
{
	static const struct reeld_twiml_record none = {0};

	if (options == NULL)
		options = &none;
	put_literal(t, "<Record");
	put_callback(t, "action", options->action);
	put_method(t, "method", options->method);
	put_number(t, "timeout", options->timeout_s);
	if (options->max_length_s != 0 && (options->max_length_s < MAX_LENGTH_MIN_S || options->max_length_s > MAX_LENGTH_MAX_S))
		fail(t, REELD_TWIML_BAD_VALUE, "maxLength");
	put_number(t, "maxLength", options->max_length_s);
	put_token(t, "finishOnKey", options->finish_on_key, DIGITS "*#");
	put_flag(t, "playBeep", options->play_beep);
	put_trim(t, options->trim);
	put_callback(t, "recordingStatusCallback", options->callback);
	put_method(t, "recordingStatusCallbackMethod", options->callback_method);
	put_events(t, options->events);
	put_flag(t, "transcribe", options->transcribe);
	put_callback(t, "transcribeCallback", options->transcribe_callback);
	put_literal(t, "/>");
}

void reeld_twiml_connect_stream(struct reeld_twiml *t, const char *url, const char *track,
				const struct reeld_twiml_parameter *parameters, size_t count)
{
	static const char *const tracks[] = {"inbound_track", "outbound_track", "both_tracks", NULL};

	if (!reeld_twiml_stream_url_valid(url))
		fail(t, REELD_TWIML_BAD_URL, "url");
	put_literal(t, "<Connect><Stream");
	put_attribute(t, "url", url);
	put_choice(t, "track", track, tracks);
	put_literal(t, count == 0 ? "/>" : ">");
	for (size_t i = 0; i < count; i++) {
		if (*parameters[i].name == '\0')
			fail(t, REELD_TWIML_BAD_TEXT, "Parameter");
		put_literal(t, "<Parameter");
		put_attribute(t, "name", parameters[i].name);
		put_attribute(t, "value", parameters[i].value);
		put_literal(t, "/>");
	}
	put_literal(t, count == 0 ? "</Connect>" : "</Stream></Connect>");
}

enum reeld_twiml_result reeld_twiml_end(struct reeld_twiml *t, size_t *len)
{
	put_literal(t, "</Response>");
	if (t->failed)
		t->len = 0;
	if (t->cap > 0)
		t->out[t->len] = '\0';
	*len = t->len;
	return t->result;
}

const char *reeld_twiml_message(enum reeld_twiml_result result)
{
	switch (result) {
	case REELD_TWIML_OK:
		return "ok";
	case REELD_TWIML_TOO_LONG:
		return "the document is too long";
	case REELD_TWIML_BAD_TEXT:
		return "not UTF-8, not allowed in XML, or empty";
	case REELD_TWIML_BAD_URL:
		return "not a URL that Twilio calls";
	case REELD_TWIML_BAD_VALUE:
		return "not a value that Twilio knows";
	}
	return "unknown result";
}

/* Only characters a URL may have, and no half of a percent escape. */
static bool is_url_text(const char *url)
{
	if (*url == '\0' || url[strspn(url, URL_CHARACTERS)] != '\0')
		return false;
	for (const char *at = strchr(url, '%'); at != NULL; at = strchr(at + 1, '%'))
		if (strspn(at + 1, HEX_DIGITS) < 2)
			return false;
	return true;
}

/* ASCII, whatever the locale. */
static bool has_prefix_nocase(const char *text, const char *prefix)
{
	for (; *prefix != '\0'; text++, prefix++) {
		char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
		if (c != *prefix)
			return false;
	}
	return true;
}

/* `authority` follows "//": "user:password@host:port/path". Twilio refuses host names with an underscore. */
static bool has_host(const char *authority)
{
	size_t len = strcspn(authority, "/?#");
	const char *host = authority;

	for (size_t i = 0; i < len; i++)
		if (authority[i] == '@')
			host = authority + i + 1;
	size_t host_len = *host == '[' ? strspn(host + 1, HEX_DIGITS ":.") + 2 : strspn(host, LETTERS DIGITS ".-");
	if (host_len == 0 || host + host_len > authority + len || (*host == '[' && host[host_len - 1] != ']'))
		return false;
	const char *port = host + host_len;
	if (*port == ':')
		port += 1 + strspn(port + 1, DIGITS);
	return port == authority + len;
}

bool reeld_twiml_callback_url_valid(const char *url)
{
	if (!is_url_text(url))
		return false;
	if (has_prefix_nocase(url, "https://"))
		return has_host(url + 8);
	if (has_prefix_nocase(url, "http://"))
		return has_host(url + 7);
	/* Relative: no scheme, so no ':' before the first '/', and no other host. */
	return url[strcspn(url, ":/?#")] != ':' && strncmp(url, "//", 2) != 0;
}

bool reeld_twiml_stream_url_valid(const char *url)
{
	if (!is_url_text(url) || !has_prefix_nocase(url, "wss://") || !has_host(url + 6))
		return false;
	size_t authority_len = strcspn(url + 6, "/");
	return url[strcspn(url, "?#")] == '\0' && strcspn(url + 6, "@") >= authority_len;
}
