/* SPDX-License-Identifier: MIT */
/*
 * All texts are written one after the other into the caller's scratch buffer, and each step keeps pointers to those it needs
 * later.
 */
#include "store/sigv4_internal.h"

#include <stdio.h>
#include <strings.h>
#include <time.h>

#define ALGORITHM "AWS4-HMAC-SHA256"
#define AUTHORIZATION "Authorization: "
/* The first millisecond of the year 10000, which would need a fifth digit. */
#define END_OF_TIME INT64_C(253402300800000)
/* What signing adds: date, hash, token; or six parameters of a presigned URL. */
#define ADDED_HEADERS 3
#define ADDED_QUERY 6

struct pair {
	struct text name;
	struct text value;
};

/* What the steps hand on. */
struct signing {
	struct reeld_sigv4_key *key;
	const struct reeld_sigv4_request *request;
	struct reeld_sigv4_signed *out;
	struct writer writer;
	char payload_hash_room[SHA256_HEX_SIZE];
	const char *payload_hash;
	struct text scope; /* "20150830/us-east-1/s3/aws4_request" */
	struct text path;  /* as sent */
	struct text canonical_path;
	struct text canonical_query;
	struct text canonical_headers; /* each with its newline */
	struct text signed_headers;    /* "host;x-amz-date" */
	struct pair headers[REELD_SIGV4_MAX_HEADERS + ADDED_HEADERS];
	size_t header_count;
	struct pair query[REELD_SIGV4_MAX_QUERY + ADDED_QUERY];
	size_t query_count;
};

/* Order */

static int compare_text(struct text a, struct text b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_names(const struct pair *a, const struct pair *b)
{
	return compare_text(a->name, b->name);
}

static int compare_pairs(const struct pair *a, const struct pair *b)
{
	int order = compare_text(a->name, b->name);

	return order != 0 ? order : compare_text(a->value, b->value);
}

/* By insertion: stable, so that repeated headers keep their order, and there are few. */
static void sort(struct pair *pairs, size_t count, int (*compare)(const struct pair *, const struct pair *))
{
	for (size_t i = 1; i < count; i++) {
		struct pair pair = pairs[i];
		size_t at = i;
		for (; at > 0 && compare(&pairs[at - 1], &pair) > 0; at--)
			pairs[at] = pairs[at - 1];
		pairs[at] = pair;
	}
}

/* Headers */

/* RFC 9110, 5.6.2; no function of ctype.h, which the locale changes. */
static bool is_token(const char *bytes, size_t len)
{
	static const char characters[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	for (size_t i = 0; i < len; i++) {
		if (memchr(characters, bytes[i], sizeof(characters) - 1) == NULL)
			return false;
	}
	return len > 0;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Without white space around it, and each run of it inside as one space. */
static void put_folded(struct writer *writer, const char *value, size_t len)
{
	bool blank = false;
	bool begun = false;

	for (size_t i = 0; i < len; i++) {
		if (is_blank(value[i])) {
			blank = true;
			continue;
		}
		if (blank && begun)
			put_char(writer, ' ');
		put_char(writer, value[i]);
		blank = false;
		begun = true;
	}
}

static void add_header(struct signing *s, struct text name, const char *value, size_t value_len)
{
	struct pair *header = &s->headers[s->header_count++];
	const char *start = s->writer.at;

	for (size_t i = 0; i < name.len; i++)
		put_char(&s->writer, lower(name.ptr[i]));
	header->name = finish(&s->writer, start);
	start = s->writer.at;
	put_folded(&s->writer, value, value_len);
	header->value = finish(&s->writer, start);
}

static void send_header(struct signing *s, const char *line)
{
	size_t count = 0;

	while (s->out->headers[count] != NULL)
		count++;
	s->out->headers[count] = line;
}

/* Adds "name: value" to what is to be sent and, when asked, to what is signed. */
static void add_own_header(struct signing *s, const char *name, const char *value, bool is_signed)
{
	if (is_signed)
		add_header(s, text_from(name), value, strlen(value));
	const char *start = s->writer.at;
	put_cstr(&s->writer, name);
	put_cstr(&s->writer, ": ");
	put_cstr(&s->writer, value);
	send_header(s, finish(&s->writer, start).ptr);
}

static bool is_name(struct text name, const char *expected)
{
	return name.len == strlen(expected) && strncasecmp(name.ptr, expected, name.len) == 0;
}

/* The caller's headers; false when one is malformed or ours to add, or Host is missing. */
static bool take_headers(struct signing *s)
{
	static const char *const ours[] = {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "authorization"};
	bool has_host = false;

	if (s->request->header_count > REELD_SIGV4_MAX_HEADERS)
		return false;
	for (size_t i = 0; i < s->request->header_count; i++) {
		const struct reeld_sigv4_pair *header = &s->request->headers[i];
		struct text name = {header->name, header->name_len};
		if (!is_token(name.ptr, name.len) || (header->value_len > 0 && memchr(header->value, '\0', header->value_len)))
			return false;
		for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++) {
			if (is_name(name, ours[k]))
				return false;
		}
		has_host = has_host || is_name(name, "host");
		add_header(s, name, header->value, header->value_len);
	}
	return has_host;
}

static void write_headers(struct signing *s)
{
	const char *start = s->writer.at;

	sort(s->headers, s->header_count, compare_names);
	for (size_t i = 0; i < s->header_count; i++) {
		bool repeated = i > 0 && compare_names(&s->headers[i - 1], &s->headers[i]) == 0;
		bool goes_on = i + 1 < s->header_count && compare_names(&s->headers[i], &s->headers[i + 1]) == 0;
		if (!repeated) {
			put_text(&s->writer, s->headers[i].name);
			put_char(&s->writer, ':');
		}
		put_text(&s->writer, s->headers[i].value);
		put_char(&s->writer, goes_on ? ',' : '\n');
	}
	s->canonical_headers = finish(&s->writer, start);

	start = s->writer.at;
	for (size_t i = 0; i < s->header_count; i++) {
		if (i > 0 && compare_names(&s->headers[i - 1], &s->headers[i]) == 0)
			continue;
		if (i > 0)
			put_char(&s->writer, ';');
		put_text(&s->writer, s->headers[i].name);
	}
	s->signed_headers = finish(&s->writer, start);
}

/* Query */

static struct text encode(struct writer *writer, struct text raw)
{
	const char *start = writer->at;

	reeld_sigv4_put_encoded(writer, raw, false);
	return finish(writer, start);
}

static void add_query(struct signing *s, struct text name, struct text value)
{
	struct pair *parameter = &s->query[s->query_count++];

	parameter->name = encode(&s->writer, name);
	parameter->value = encode(&s->writer, value);
}

static bool take_query(struct signing *s)
{
	if (s->request->query_count > REELD_SIGV4_MAX_QUERY)
		return false;
	for (size_t i = 0; i < s->request->query_count; i++) {
		const struct reeld_sigv4_pair *parameter = &s->request->query[i];
		add_query(s, (struct text){parameter->name, parameter->name_len},
			  (struct text){parameter->value, parameter->value_len});
	}
	return true;
}

/* The order is that of the encoded texts: name by name, not of the joined "name=value", in which '-' comes before '='. */
static void write_query(struct signing *s)
{
	sort(s->query, s->query_count, compare_pairs);
	const char *start = s->writer.at;
	for (size_t i = 0; i < s->query_count; i++) {
		if (i > 0)
			put_char(&s->writer, '&');
		put_text(&s->writer, s->query[i].name);
		put_char(&s->writer, '=');
		put_text(&s->writer, s->query[i].value);
	}
	s->canonical_query = finish(&s->writer, start);
}

/* The steps */

static bool write_date(struct signing *s)
{
	int64_t now_ms = s->request->now_ms;
	struct tm tm;

	if (now_ms < 0 || now_ms >= END_OF_TIME)
		return false;
	time_t seconds = (time_t)(now_ms / 1000);
	return gmtime_r(&seconds, &tm) != NULL &&
	       strftime(s->out->date, sizeof(s->out->date), "%Y%m%dT%H%M%SZ", &tm) == sizeof(s->out->date) - 1;
}

static void write_scope(struct signing *s)
{
	const char *start = s->writer.at;

	put(&s->writer, s->out->date, DAY_LEN);
	put_char(&s->writer, '/');
	put_cstr(&s->writer, s->key->region);
	put_char(&s->writer, '/');
	put_cstr(&s->writer, s->key->service);
	put_cstr(&s->writer, "/aws4_request");
	s->scope = finish(&s->writer, start);
}

/* Date, scope, payload hash, path, and what the caller gave of headers and query. */
static enum reeld_sigv4_status begin(struct signing *s)
{
	const struct reeld_sigv4_request *request = s->request;

	memset(s->out, 0, sizeof(*s->out));
	s->header_count = 0;
	s->query_count = 0;
	if (!is_token(request->method, strlen(request->method)) || !write_date(s))
		return REELD_SIGV4_INVALID;
	write_scope(s);
	s->payload_hash = request->payload_hash;
	if (s->payload_hash == NULL) {
		if (!reeld_sigv4_sha256(s->key, request->body, request->body_len, s->payload_hash_room))
			return REELD_SIGV4_CRYPTO;
		s->payload_hash = s->payload_hash_room;
	}
	if (s->payload_hash[0] == '\0' || !reeld_sigv4_is_printable(s->payload_hash) || !take_headers(s) || !take_query(s))
		return REELD_SIGV4_INVALID;
	if (!reeld_sigv4_write_path(&s->writer, request, &s->path, &s->canonical_path))
		return REELD_SIGV4_INVALID;
	return REELD_SIGV4_OK;
}

/* Headers and query are complete: the canonical request, the string to sign and the signature. */
static enum reeld_sigv4_status seal(struct signing *s)
{
	struct writer *writer = &s->writer;
	const char *start = writer->at;
	char digest[SHA256_HEX_SIZE];
	char day[DAY_LEN + 1] = "";

	put_cstr(writer, s->request->method);
	put_char(writer, '\n');
	put_text(writer, s->canonical_path);
	put_char(writer, '\n');
	put_text(writer, s->canonical_query);
	put_char(writer, '\n');
	put_text(writer, s->canonical_headers);
	put_char(writer, '\n');
	put_text(writer, s->signed_headers);
	put_char(writer, '\n');
	put_cstr(writer, s->payload_hash);
	struct text canonical = finish(writer, start);
	if (writer->full)
		return REELD_SIGV4_NO_ROOM;
	if (!reeld_sigv4_sha256(s->key, canonical.ptr, canonical.len, digest))
		return REELD_SIGV4_CRYPTO;

	start = writer->at;
	put_cstr(writer, ALGORITHM "\n");
	put_cstr(writer, s->out->date);
	put_char(writer, '\n');
	put_text(writer, s->scope);
	put_char(writer, '\n');
	put_cstr(writer, digest);
	struct text to_sign = finish(writer, start);
	if (writer->full)
		return REELD_SIGV4_NO_ROOM;
	memcpy(day, s->out->date, DAY_LEN);
	if (!reeld_sigv4_mac(s->key, day, to_sign, s->out->signature))
		return REELD_SIGV4_CRYPTO;
	s->out->canonical_request = canonical.ptr;
	s->out->string_to_sign = to_sign.ptr;
	return REELD_SIGV4_OK;
}

/* Public */

enum reeld_sigv4_status reeld_sigv4_sign(struct reeld_sigv4_key *key, const struct reeld_sigv4_request *request, char *scratch,
					 size_t scratch_len, struct reeld_sigv4_signed *out)
{
	struct signing s = {.key = key, .request = request, .out = out, .writer = {scratch, scratch + scratch_len, false}};
	enum reeld_sigv4_status status = begin(&s);

	if (status != REELD_SIGV4_OK)
		return status;
	add_own_header(&s, "x-amz-date", out->date, true);
	if ((request->flags & REELD_SIGV4_HASH_HEADER) != 0)
		add_own_header(&s, "x-amz-content-sha256", s.payload_hash, true);
	if (key->session_token[0] != '\0')
		add_own_header(&s, "x-amz-security-token", key->session_token,
			       (request->flags & REELD_SIGV4_TOKEN_UNSIGNED) == 0);
	write_headers(&s);
	write_query(&s);
	status = seal(&s);
	if (status != REELD_SIGV4_OK)
		return status;

	const char *start = s.writer.at;
	put_text(&s.writer, s.path);
	if (s.canonical_query.len > 0) {
		put_char(&s.writer, '?');
		put_text(&s.writer, s.canonical_query);
	}
	out->target = finish(&s.writer, start).ptr;
	start = s.writer.at;
	put_cstr(&s.writer, AUTHORIZATION ALGORITHM " Credential=");
	put_cstr(&s.writer, key->access_key_id);
	put_char(&s.writer, '/');
	put_text(&s.writer, s.scope);
	put_cstr(&s.writer, ", SignedHeaders=");
	put_text(&s.writer, s.signed_headers);
	put_cstr(&s.writer, ", Signature=");
	put_cstr(&s.writer, out->signature);
	send_header(&s, finish(&s.writer, start).ptr);
	if (s.writer.full)
		return REELD_SIGV4_NO_ROOM;
	out->authorization = start + strlen(AUTHORIZATION);
	return REELD_SIGV4_OK;
}

/* False when the caller's query holds a parameter that presigning adds. */
static bool query_is_free(const struct reeld_sigv4_request *request)
{
	static const char *const ours[] = {"X-Amz-Algorithm", "X-Amz-Credential",    "X-Amz-Date",          "X-Amz-Expires",
					   "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Security-Token"};

	for (size_t i = 0; i < request->query_count; i++) {
		for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++) {
			if (is_name((struct text){request->query[i].name, request->query[i].name_len}, ours[k]))
				return false;
		}
	}
	return true;
}

enum reeld_sigv4_status reeld_sigv4_presign(struct reeld_sigv4_key *key, const struct reeld_sigv4_request *request,
					    unsigned expires_s, char *scratch, size_t scratch_len, struct reeld_sigv4_signed *out)
{
	struct signing s = {.key = key, .request = request, .out = out, .writer = {scratch, scratch + scratch_len, false}};
	struct text token = text_from(key->session_token);
	bool token_after = token.len > 0 && (request->flags & REELD_SIGV4_TOKEN_UNSIGNED) != 0;
	char expires[16];

	if (expires_s == 0 || expires_s > REELD_SIGV4_EXPIRES_MAX || !query_is_free(request))
		return REELD_SIGV4_INVALID;
	enum reeld_sigv4_status status = begin(&s);
	if (status != REELD_SIGV4_OK)
		return status;
	write_headers(&s);

	const char *start = s.writer.at;
	put_cstr(&s.writer, key->access_key_id);
	put_char(&s.writer, '/');
	put_text(&s.writer, s.scope);
	struct text credential = finish(&s.writer, start);
	(void)snprintf(expires, sizeof(expires), "%u", expires_s);
	add_query(&s, text_from("X-Amz-Algorithm"), text_from(ALGORITHM));
	add_query(&s, text_from("X-Amz-Credential"), credential);
	add_query(&s, text_from("X-Amz-Date"), text_from(out->date));
	add_query(&s, text_from("X-Amz-Expires"), text_from(expires));
	add_query(&s, text_from("X-Amz-SignedHeaders"), s.signed_headers);
	if (token.len > 0 && !token_after)
		add_query(&s, text_from("X-Amz-Security-Token"), token);
	write_query(&s);
	status = seal(&s);
	if (status != REELD_SIGV4_OK)
		return status;

	start = s.writer.at;
	put_text(&s.writer, s.path);
	put_char(&s.writer, '?');
	put_text(&s.writer, s.canonical_query);
	if (token_after) {
		put_cstr(&s.writer, "&X-Amz-Security-Token=");
		reeld_sigv4_put_encoded(&s.writer, token, false);
	}
	put_cstr(&s.writer, "&X-Amz-Signature=");
	put_cstr(&s.writer, out->signature);
	out->target = finish(&s.writer, start).ptr;
	return s.writer.full ? REELD_SIGV4_NO_ROOM : REELD_SIGV4_OK;
}
