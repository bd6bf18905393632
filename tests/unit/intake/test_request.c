/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/check.h"
#include "intake/request_parser.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static const struct request_limits limits = {.max_head = 512, .max_body = 64};

/* Feeds `text` in pieces of `step` bytes, moving the message to a block of its own before each, as a connection may. */
static enum request_progress feed(struct request_parser *parser, const char *text, size_t len, size_t step, char **message,
				  size_t *end)
{
	size_t kept = 0;
	size_t fed = 0;
	enum request_progress progress = REQUEST_MORE;
	*message = NULL;
	while (progress == REQUEST_MORE && fed < len) {
		size_t piece = len - fed < step ? len - fed : step;
		char *moved = malloc(kept + piece);
		REQUIRE(moved != NULL);
		if (kept > 0)
			memcpy(moved, *message, kept);
		free(*message);
		*message = moved;
		memcpy(moved + kept, text + fed, piece);
		fed += piece;
		progress = request_parse(parser, moved, kept, kept + piece, end);
		if (progress == REQUEST_MORE)
			kept = *end;
	}
	return progress;
}

struct good {
	const char *text;
	const char *seen; /* method path?query [name=value…] body keep */
};

static const struct good good[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / ? [Host=a] <> keep"},
	{"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / ? [Host=a] <> keep"},
	{"GET /p?a=b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /p ?a=b?c [Host=a] <> keep"},
	{"GET /p? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /p ? [Host=a] <> keep"},
	{"GET http://h:8/p?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /p ?q [Host=a] <> keep"},
	{"GET http://h HTTP/1.1\r\nHost: a\r\n\r\n", "GET / ? [Host=a] <> keep"},
	{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * ? [Host=a] <> keep"},
	{"GET / HTTP/1.0\r\n\r\n", "GET / ? <> close"},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / ? [Connection=keep-alive] <> keep"},
	{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / ? [Host=a] [Connection=close] <> close"},
	{"GET / HTTP/1.1\r\nHost: \t a \t \r\nX:\r\nY: \r\n\r\n", "GET / ? [Host=a] [X=] [Y=] <> keep"},
	{"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	 "GET / ? [Host=a] [Connection=upgrade] [Upgrade=websocket] <> keep"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / ? [Host=a] [Content-Length=5] <hello> keep"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n,\r\n06\r\n world\r\n0\r\nT: "
	 "1\r\n\r\n",
	 "POST / ? [Host=a] [Transfer-Encoding=chunked] <hello, world> keep"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	 "POST / ? [Host=a] [Transfer-Encoding=chunked] <> keep"},
	{"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "PATCH / ? [Host=a] [Content-Length=0] <> keep"},
};

static void describe(const struct request *request, struct buffer *out)
{
	buffer_init(out, 4096);
	buffer_printf(out, "%.*s %.*s ?%.*s ", SLICE_FMT(request->method_name), SLICE_FMT(request->path),
		      SLICE_FMT(request->query));
	for (size_t i = 0; i < request->header_count; i++)
		buffer_printf(out, "[%.*s=%.*s] ", SLICE_FMT(request->headers[i].name), SLICE_FMT(request->headers[i].value));
	buffer_printf(out, "<%.*s> %s", SLICE_FMT(request->body), request->keep_alive ? "keep" : "close");
}

Test(request, is_parsed_alike_whole_and_in_pieces_of_any_size)
{
	struct request_parser *parser = request_parser_new();
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		size_t len = strlen(good[i].text);
		for (size_t step = 1; step <= len; step++) {
			char *message;
			size_t end;
			struct request request;
			struct buffer seen;
			request_parser_init(parser, &limits);
			cr_assert_eq(feed(parser, good[i].text, len, step, &message, &end), REQUEST_COMPLETE, "row %zu step %zu",
				     i, step);
			request_fill(parser, message, &request);
			describe(&request, &seen);
			cr_assert_str_eq(buffer_cstr(&seen), good[i].seen, "row %zu step %zu", i, step);
			buffer_free(&seen);
			free(message);
		}
	}
	request_parser_free(&parser);
}

Test(request, ends_where_the_next_one_begins)
{
	static const char *const firsts[] = {
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
	};
	struct request_parser *parser = request_parser_new();
	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		char text[512];
		size_t end;
		int len = snprintf(text, sizeof(text), "%sDELETE /next HTTP/1.1\r\n", firsts[i]);
		request_parser_init(parser, &limits);
		cr_assert_eq(request_parse(parser, text, 0, (size_t)len, &end), REQUEST_COMPLETE);
		cr_assert_eq(strncmp(text + end, "DELETE /next", 12), 0, "row %zu: ends before \"%s\"", i, text + end);
	}
	request_parser_free(&parser);
}

struct bad {
	const char *text;
	int status;
};

#define HOST "Host: a\r\n"
static const struct bad bad[] = {
	{"GET / HTTP/1.1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"GET / HTTP/1.1\nHost: a\n\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "X: 1\r\n folded\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "X:\r\n folded\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "X : 1\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST "X: a\001b\r\n\r\n", 400},
	{"GET / HTTP/1.1\r\n" HOST ": empty\r\n\r\n", 400},
	{"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
	{"get / HTTP/1.1\r\n" HOST "\r\n", 400},
	{"NONSENSE\r\n\r\n", 400},
	{"\x16\x03\x01\x02\x00\x01\x00\x01", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\na", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\na", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\na", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\n", 413},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n41\r\n", 413},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n40\r\n", 413},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: miracles\r\n\r\n", 417},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
	{"CONNECT a:443 HTTP/1.1\r\n" HOST "\r\n", 501},
	{"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
	{"GET / HTTP/1.7\r\n" HOST "\r\n", 505},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"GET /a?b=1#&b=2 HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET /a# HTTP/1.1\r\n" HOST "\r\n", 400},
	{"GET http://a/b#c HTTP/1.1\r\n" HOST "\r\n", 400},
};

Test(request, that_is_wrong_is_refused_with_the_right_status_whole_and_in_pieces)
{
	struct request_parser *parser = request_parser_new();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t len = i == 12 ? 8 : strlen(bad[i].text);
		for (size_t step = 1; step <= len; step++) {
			char *message;
			size_t end;
			const char *sentence;
			request_parser_init(parser, &limits);
			enum request_progress progress = feed(parser, bad[i].text, len, step, &message, &end);
			free(message);
			cr_assert_eq(progress, REQUEST_BAD, "row %zu step %zu: %s", i, step, bad[i].text);
			cr_assert_eq(request_parser_problem(parser, &sentence), bad[i].status, "row %zu step %zu: %d %s", i, step,
				     request_parser_problem(parser, &sentence), bad[i].text);
			cr_assert_not_null(sentence);
		}
	}
	request_parser_free(&parser);
}

static int status_of(const char *text, size_t len, size_t step)
{
	struct request_parser *parser = request_parser_new();
	char *message;
	size_t end;
	const char *sentence;
	request_parser_init(parser, &limits);
	enum request_progress progress = feed(parser, text, len, step, &message, &end);
	int status = progress == REQUEST_BAD ? request_parser_problem(parser, &sentence) : progress == REQUEST_COMPLETE ? 200 : 0;
	free(message);
	request_parser_free(&parser);
	return status;
}

Test(request, head_is_bounded_wherever_the_bytes_go)
{
	static const char *const starts[] = {
		"\r\n\r\n",
		"GET /",
		"GET / HTTP/1.1\r\n" HOST "X-",
		"GET / HTTP/1.1\r\n" HOST "X: ",
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1;e=",
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: ",
	};
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		char text[2048];
		size_t len = strlen(starts[i]);
		memcpy(text, starts[i], len);
		for (; len < sizeof(text); len++)
			text[len] = i == 0 ? (len % 2 == 0 ? '\r' : '\n') : 'a';
		cr_assert_eq(status_of(text, len, len), 431, "row %zu", i);
		cr_assert_eq(status_of(text, len, 1), 431, "row %zu", i);
	}
}

Test(request, header_count_is_bounded)
{
	struct buffer text;
	buffer_init(&text, 4096);
	buffer_append_cstr(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
	for (int i = 0; i < REQUEST_MAX_HEADERS - 1; i++)
		buffer_append_cstr(&text, "X:\r\n");
	buffer_append_cstr(&text, "\r\n");
	cr_assert_eq(status_of(text.data, text.len, text.len), 200);
	text.len -= 2;
	buffer_append_cstr(&text, "X:\r\n\r\n");
	cr_assert_eq(status_of(text.data, text.len, text.len), 431);
	buffer_free(&text);
}

Test(request, largest_body_passes_in_both_framings)
{
	char text[512];
	char body[65];
	memset(body, 'b', 64);
	body[64] = '\0';
	int len = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "Content-Length: 64\r\n\r\n%s", body);
	cr_assert_eq(status_of(text, (size_t)len, 1), 200);
	len = snprintf(text, sizeof(text),
		       "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3f\r\n%s\r\n1\r\nb\r\n0\r\n\r\n", body + 1);
	cr_assert_eq(status_of(text, (size_t)len, 1), 200);
}

Test(request, continue_is_taken_once_and_only_while_the_body_is_awaited)
{
	static const char head[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 4\r\nExpect: 100-Continue\r\n\r\n";
	struct request_parser *parser = request_parser_new();
	char text[256];
	size_t end;
	snprintf(text, sizeof(text), "%sbody", head);
	request_parser_init(parser, &limits);
	cr_assert_eq(request_parse(parser, text, 0, 30, &end), REQUEST_MORE);
	cr_assert_not(request_parser_take_continue(parser), "the head is not complete");
	cr_assert_eq(request_parse(parser, text, end, sizeof(head) - 1, &end), REQUEST_MORE);
	cr_assert(request_parser_take_continue(parser));
	cr_assert_not(request_parser_take_continue(parser));
	request_parser_init(parser, &limits);
	cr_assert_eq(request_parse(parser, text, 0, sizeof(head) + 1, &end), REQUEST_MORE);
	cr_assert_not(request_parser_take_continue(parser), "the client did not wait");
	request_parser_free(&parser);
}

Test(request, chunk_framing_is_not_kept)
{
	static const char head[] = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
	struct request_parser *parser = request_parser_new();
	char text[4096];
	size_t end;
	size_t kept = sizeof(head) - 1;
	request_parser_init(parser, &limits);
	memcpy(text, head, kept);
	cr_assert_eq(request_parse(parser, text, 0, kept, &kept), REQUEST_MORE);
	for (int i = 0; i < 60; i++) {
		memcpy(text + kept, "0001;x\r\nb\r\n", 11);
		cr_assert_eq(request_parse(parser, text, kept, kept + 11, &end), REQUEST_MORE, "chunk %d", i);
		kept = end;
	}
	cr_assert_lt(kept, sizeof(head) + 60);
	request_parser_free(&parser);
}

Test(request, header_is_found_without_regard_to_case)
{
	struct request request = {.header_count = 2};
	request.headers[0] = (struct request_header){SLICE("X-Twilio-Signature"), SLICE("first")};
	request.headers[1] = (struct request_header){SLICE("x-twilio-signature"), SLICE("second")};
	cr_assert(slice_equal(request_header(&request, SLICE("X-TWILIO-signature")), SLICE("first")));
	cr_assert_null(request_header(&request, SLICE("X-Twilio")).ptr);
}
