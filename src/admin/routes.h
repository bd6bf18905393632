/* SPDX-License-Identifier: MIT */
/* Paths and methods of the private listener. Pure; the table is routes.def. */
#ifndef REELD_ADMIN_ROUTES_H
#define REELD_ADMIN_ROUTES_H

#include "base/sid.h"
#include "intake/request.h"

#include <stdbool.h>

enum route_method { ROUTE_GET = 1, ROUTE_POST = 2, ROUTE_DELETE = 4 };

/* Who may ask. */
enum route_guard {
	ROUTE_OPEN,    /* everybody who reaches the listener */
	ROUTE_PRIVATE, /* the guard of guard.h */
	ROUTE_TICKET,  /* the same, or a ticket for the one recording (ticket.h) */
};

/* True when `path` is what `pattern` says; sets *sid when there is a {sid} in it, else to none. */
bool route_matches(const char *pattern, struct slice path, struct sid *sid);
/* True when a route with these methods answers requests of that method. */
bool route_allows(unsigned methods, enum request_method method);
/* "Allow: GET, HEAD\r\n" for an or of enum route_method. */
const char *route_allow_header(unsigned methods);

#endif
