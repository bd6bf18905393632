/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 request parsing on top of llhttp (strict mode: no bare LF, no request smuggling by conflicting lengths). What llhttp
 * leaves to its user is added here: limits, Host, Expect, unknown transfer codings, folded headers.
 */
#include "intake/request_parser.h"

#include "base/check.h"

#include <llhttp.h>
#include <stdlib.h>

struct span {
	uint32_t offset;
	uint32_t len;
};

struct request_parser {
	llhttp_t http;
	char *base; /* of the running request_parse() */
	struct request_limits limits;
	size_t body_offset;
	size_t body_len;
	size_t head_end;  /* end of the last header value; chunk framing behind it need not be kept */
	size_t extra_len; /* trailers and chunk extensions */
	int status;       /* of the refusal; 0: none */
	const char *sentence;
	struct span target;
	uint32_t header_count;
	bool header_open; /* the last header may still grow */
	bool head_complete;
	bool chunked;
	bool body_begun;
	bool wants_continue;
	bool keep_alive;
	struct span names[REQUEST_MAX_HEADERS];
	struct span values[REQUEST_MAX_HEADERS];
};

/* A callback's way to stop: HPE_USER is passed through llhttp for all kinds of callbacks. */
static int refuse(struct request_parser *parser, int status, const char *sentence)
{
	parser->status = status;
	parser->sentence = sentence;
	return HPE_USER;
}

static int count_extra(struct request_parser *parser, size_t len)
{
	parser->extra_len += len;
	return parser->extra_len <= parser->limits.max_head ? 0 : refuse(parser, 431, "Trailers or chunk extensions too large");
}

/* Adds a piece to a span that may have begun in an earlier read. False when the piece does not follow: a folded line. */
static bool span_extend(struct span *span, size_t offset, size_t len)
{
	if (span->len == 0)
		span->offset = (uint32_t)offset;
	else if (span->offset + span->len != offset)
		return false;
	span->len += (uint32_t)len;
	return true;
}

static int head_piece(struct request_parser *parser, struct span *span, const char *at, size_t len)
{
	size_t offset = (size_t)(at - parser->base);
	if (offset + len > parser->limits.max_head)
		return refuse(parser, 431, "Request line or headers too large");
	if (!span_extend(span, offset, len))
		return refuse(parser, 400, "Folded header lines are not accepted");
	parser->head_end = offset + len;
	return 0;
}

static int on_url(llhttp_t *http, const char *at, size_t len)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	return head_piece(parser, &parser->target, at, len);
}

static int on_header_field(llhttp_t *http, const char *at, size_t len)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	if (parser->head_complete)
		return count_extra(parser, len);
	if (!parser->header_open) {
		if (parser->header_count == REQUEST_MAX_HEADERS)
			return refuse(parser, 431, "Too many headers");
		parser->names[parser->header_count] = (struct span){0, 0};
		parser->values[parser->header_count] = (struct span){0, 0};
		parser->header_count++;
		parser->header_open = true;
	}
	return head_piece(parser, &parser->names[parser->header_count - 1], at, len);
}

/* llhttp lets ": value" pass. */
static bool header_has_name(const struct request_parser *parser)
{
	return parser->header_open && parser->names[parser->header_count - 1].len > 0;
}

static int on_header_value(llhttp_t *http, const char *at, size_t len)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	if (parser->head_complete)
		return count_extra(parser, len);
	if (!header_has_name(parser))
		return refuse(parser, 400, "Header without a name");
	if (len == 0)
		return 0;
	struct span *value = &parser->values[parser->header_count - 1];
	const struct span *name = &parser->names[parser->header_count - 1];
	const char *name_end = parser->base + name->offset + name->len;
	/* A value that begins on a later line than its name. */
	if (value->len == 0 && memchr(name_end, '\n', (size_t)(at - name_end)) != NULL)
		return refuse(parser, 400, "Folded header lines are not accepted");
	return head_piece(parser, value, at, len);
}

static int on_header_value_complete(llhttp_t *http)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	if (!parser->head_complete && !header_has_name(parser))
		return refuse(parser, 400, "Header without a name");
	parser->header_open = false;
	return 0;
}

static int on_chunk_extension(llhttp_t *http, const char *at, size_t len)
{
	(void)at;
	return count_extra(CONTAINER_OF(http, struct request_parser, http), len);
}

/* llhttp leaves optional whitespace behind a value in place. */
static struct slice value_slice(const struct request_parser *parser, const char *base, size_t index)
{
	struct slice value = {base + parser->values[index].offset, parser->values[index].len};
	while (value.len > 0 && (value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
		value.len--;
	return value;
}

/* The headers that concern the connection and not the handler. */
static int check_headers(struct request_parser *parser)
{
	unsigned hosts = 0;
	bool http11 = parser->http.http_minor > 0;
	for (size_t i = 0; i < parser->header_count; i++) {
		struct slice name = {parser->base + parser->names[i].offset, parser->names[i].len};
		switch (name.len) {
		case sizeof("host") - 1:
			hosts += slice_equal_nocase(name, SLICE("host"));
			break;
		case sizeof("expect") - 1:
			if (!http11 || !slice_equal_nocase(name, SLICE("expect")))
				break;
			if (!slice_equal_nocase(value_slice(parser, parser->base, i), SLICE("100-continue")))
				return refuse(parser, 417, "Unknown expectation");
			parser->wants_continue = true;
			break;
		case sizeof("transfer-encoding") - 1:
			if (!slice_equal_nocase(name, SLICE("transfer-encoding")))
				break;
			if (!http11)
				return refuse(parser, 400, "Transfer-Encoding needs HTTP/1.1");
			if (!slice_equal_nocase(value_slice(parser, parser->base, i), SLICE("chunked")))
				return refuse(parser, 501, "Unknown transfer coding");
			break;
		default:
			break;
		}
	}
	if (hosts > 1 || (hosts == 0 && http11))
		return refuse(parser, 400, "Exactly one Host header is needed");
	return 0;
}

static int on_headers_complete(llhttp_t *http)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	parser->head_complete = true;
	parser->keep_alive = llhttp_should_keep_alive(http) != 0;
	parser->chunked = (http->flags & F_CHUNKED) != 0;
	if (http->http_major != 1)
		return refuse(parser, 505, "HTTP version not supported");
	/* What follows a CONNECT is not HTTP, and a length in it would not be honoured by the parser. */
	if (http->method == HTTP_CONNECT)
		return refuse(parser, 501, "CONNECT is not supported");
	/* No form of a target has a fragment (RFC 9112, section 3.2), and none is signed: nobody vouches for what stands behind '#'. */
	if (parser->target.len > 0 && memchr(parser->base + parser->target.offset, '#', parser->target.len) != NULL)
		return refuse(parser, 400, "Fragment in the request target");
	int failed = check_headers(parser);
	if (failed != 0)
		return failed;
	if (!parser->chunked && http->content_length > parser->limits.max_body)
		return refuse(parser, 413, "Request body too large");
	if (!parser->chunked && http->content_length == 0)
		parser->wants_continue = false;
	return 0;
}

static int on_chunk_header(llhttp_t *http)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	if (http->content_length > parser->limits.max_body - parser->body_len)
		return refuse(parser, 413, "Request body too large");
	return 0;
}

static int on_body(llhttp_t *http, const char *at, size_t len)
{
	struct request_parser *parser = CONTAINER_OF(http, struct request_parser, http);
	size_t offset = (size_t)(at - parser->base);
	if (!parser->body_begun) {
		parser->body_begun = true;
		parser->body_offset = parser->chunked ? parser->head_end : offset;
	}
	size_t to = parser->body_offset + parser->body_len;
	REQUIRE(to <= offset);
	if (to != offset)
		memmove(parser->base + to, at, len);
	parser->body_len += len;
	return 0;
}

static int on_message_complete(llhttp_t *http)
{
	(void)http;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_chunk_extension_name = on_chunk_extension,
	.on_chunk_extension_value = on_chunk_extension,
	.on_headers_complete = on_headers_complete,
	.on_chunk_header = on_chunk_header,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

struct request_parser *request_parser_new(void)
{
	return malloc(sizeof(struct request_parser));
}

void request_parser_free(struct request_parser **parser)
{
	free(*parser);
	*parser = NULL;
}

void request_parser_init(struct request_parser *parser, const struct request_limits *limits)
{
	/* The header spans are set as headers come. */
	memset(parser, 0, offsetof(struct request_parser, names));
	llhttp_init(&parser->http, HTTP_REQUEST, &settings);
	parser->limits = *limits;
}

static enum request_progress fail(struct request_parser *parser, llhttp_errno_t code)
{
	if (parser->status != 0)
		return REQUEST_BAD;
	const char *reason = llhttp_get_error_reason(&parser->http);
	if (code == HPE_PAUSED_H2_UPGRADE ||
	    (code == HPE_INVALID_VERSION && reason != NULL && strcmp(reason, "Invalid HTTP version") == 0))
		refuse(parser, 505, "HTTP version not supported");
	else if (code == HPE_UNEXPECTED_CONTENT_LENGTH || code == HPE_INVALID_CONTENT_LENGTH ||
		 code == HPE_INVALID_TRANSFER_ENCODING)
		refuse(parser, 400, "Malformed request: body length is ambiguous");
	else
		refuse(parser, 400, "Malformed request");
	return REQUEST_BAD;
}

enum request_progress request_parse(struct request_parser *parser, char *base, size_t from, size_t to, size_t *end)
{
	parser->base = base;
	llhttp_errno_t code = llhttp_execute(&parser->http, base + from, to - from);
	if (code == HPE_PAUSED) {
		*end = (size_t)(llhttp_get_error_pos(&parser->http) - base);
		return REQUEST_COMPLETE;
	}
	if (code != HPE_OK)
		return fail(parser, code);
	/* Blank lines before a request, and the line ends that no callback sees. */
	if (!parser->head_complete && to > parser->limits.max_head) {
		refuse(parser, 431, "Request line or headers too large");
		return REQUEST_BAD;
	}
	if (parser->chunked)
		*end = parser->body_begun ? parser->body_offset + parser->body_len : parser->head_end;
	else
		*end = to;
	return REQUEST_MORE;
}

static enum request_method method_of(uint8_t method)
{
	switch (method) {
	case HTTP_GET:
		return REQUEST_GET;
	case HTTP_HEAD:
		return REQUEST_HEAD;
	case HTTP_POST:
		return REQUEST_POST;
	case HTTP_PUT:
		return REQUEST_PUT;
	case HTTP_DELETE:
		return REQUEST_DELETE;
	default:
		return REQUEST_OTHER;
	}
}

/* "http://host/path?query" (a proxy's form) is reduced to "/path?query". */
static struct slice origin_form(struct slice target)
{
	if (target.len == 0 || target.ptr[0] == '/' || target.ptr[0] == '*')
		return target;
	const char *end = target.ptr + target.len;
	const char *colon = memchr(target.ptr, ':', target.len);
	if (colon == NULL || end - colon < 3 || colon[1] != '/' || colon[2] != '/')
		return target;
	const char *slash = memchr(colon + 3, '/', (size_t)(end - colon - 3));
	return slash == NULL ? SLICE("/") : slice_make(slash, (size_t)(end - slash));
}

static void split_target(struct request *request)
{
	request->path = request->target;
	request->query = (struct slice){NULL, 0};
	const char *mark = request->target.len == 0 ? NULL : memchr(request->target.ptr, '?', request->target.len);
	if (mark == NULL)
		return;
	request->path.len = (size_t)(mark - request->target.ptr);
	request->query = slice_make(mark + 1, request->target.len - request->path.len - 1);
}

void request_fill(const struct request_parser *parser, const char *base, struct request *request)
{
	request->method = method_of(parser->http.method);
	request->method_name = slice_from_cstr(llhttp_method_name((llhttp_method_t)parser->http.method));
	request->target = origin_form(slice_make(base + parser->target.offset, parser->target.len));
	split_target(request);
	request->body = slice_make(base + parser->body_offset, parser->body_len);
	for (size_t i = 0; i < parser->header_count; i++) {
		request->headers[i].name = slice_make(base + parser->names[i].offset, parser->names[i].len);
		request->headers[i].value = value_slice(parser, base, i);
	}
	request->header_count = parser->header_count;
	request->keep_alive = parser->keep_alive;
	request->http10 = parser->http.http_minor == 0;
}

int request_parser_problem(const struct request_parser *parser, const char **sentence)
{
	*sentence = parser->sentence;
	return parser->status;
}

struct slice request_parser_path(const struct request_parser *parser, const char *base)
{
	struct request request = {.target = origin_form(slice_make(base + parser->target.offset, parser->target.len))};
	split_target(&request);
	return request.path;
}

bool request_parser_take_continue(struct request_parser *parser)
{
	bool take = parser->wants_continue && parser->head_complete && !parser->body_begun;
	if (take)
		parser->wants_continue = false;
	return take;
}

struct slice request_header(const struct request *request, struct slice name)
{
	for (size_t i = 0; i < request->header_count; i++) {
		if (slice_equal_nocase(request->headers[i].name, name))
			return request->headers[i].value;
	}
	return (struct slice){NULL, 0};
}
