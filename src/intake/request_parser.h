/* SPDX-License-Identifier: MIT */
/*
 * The request parser: llhttp in strict mode behind offsets. Pure: no loop, no clock, no log.
 *
 * It is fed a growing message: base[0] is the first byte of the request, and each call adds bytes at its end. It remembers
 * offsets only, so the caller may move the message between two calls. Where a chunked body has framing between its pieces the
 * parser moves the pieces together inside the caller's bytes. A parser does one request; initialise it again for the next one.
 */
#ifndef REELD_INTAKE_REQUEST_PARSER_H
#define REELD_INTAKE_REQUEST_PARSER_H

#include "intake/request.h"

#include <stdbool.h>
#include <stddef.h>

struct request_parser;

struct request_limits {
	size_t max_head; /* request line and headers; trailers and chunk extensions count anew */
	size_t max_body; /* decoded */
};

/* NULL when out of memory. */
struct request_parser *request_parser_new(void);
void request_parser_free(struct request_parser **parser);
/* Ready for the first byte of a request. */
void request_parser_init(struct request_parser *parser, const struct request_limits *limits);

enum request_progress {
	REQUEST_MORE,     /* *end: keep base[0..end), go on at `end` */
	REQUEST_COMPLETE, /* *end: where the next request begins */
	REQUEST_BAD,      /* request_parser_problem says why; nothing after this byte can be trusted */
};
/* Parses base[from..to). `from` is the *end of the call before, 0 at first. */
enum request_progress request_parse(struct request_parser *parser, char *base, size_t from, size_t to, size_t *end);

/* After REQUEST_COMPLETE: fills everything but received_ns, with slices into base. */
void request_fill(const struct request_parser *parser, const char *base, struct request *request);

/* After REQUEST_BAD: the status to answer (400, 413, 417, 431, 501, 505), and a sentence for the client. */
int request_parser_problem(const struct request_parser *parser, const char **sentence);

/* The path of the target as far as it was read, without the query; may be empty. `base` is that of the last request_parse. */
struct slice request_parser_path(const struct request_parser *parser, const char *base);

/* True once, when the client waits for "100 Continue" and has not begun to send the body by itself. */
bool request_parser_take_continue(struct request_parser *parser);

#endif
