/* SPDX-License-Identifier: MIT */
/*
 * One HTTP request as parsed by llhttp (strict): slices into the connection's buffer, valid only during on_request. A handler
 * that replies later copies what it needs, or asks for a copy of all of it with connection_retain().
 */
#ifndef REELD_INTAKE_REQUEST_H
#define REELD_INTAKE_REQUEST_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define REQUEST_MAX_HEADERS 64

struct request_header {
	struct slice name;
	struct slice value;
};

enum request_method { REQUEST_GET, REQUEST_HEAD, REQUEST_POST, REQUEST_PUT, REQUEST_DELETE, REQUEST_OTHER };

struct request {
	enum request_method method;
	struct slice method_name;
	struct slice target; /* path and query as received; of an absolute "http://host/path" the part from the path on */
	struct slice path;
	struct slice query; /* behind '?', without it; ptr NULL when there was none */
	struct slice body;
	struct request_header headers[REQUEST_MAX_HEADERS];
	size_t header_count;
	bool keep_alive; /* the client would go on using the connection */
	bool http10;
	uint64_t received_ns; /* clock_mono_ns when it was complete */
};

/* First header of that name (ASCII case-insensitive), or an empty slice with ptr NULL. */
struct slice request_header(const struct request *request, struct slice name);

#endif
