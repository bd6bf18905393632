/* SPDX-License-Identifier: MIT */
#include "admin/routes.h"

#define SID_PLACE "{sid}"

bool route_matches(const char *pattern, struct slice path, struct sid *sid)
{
	*sid = (struct sid){""};
	const char *place = strstr(pattern, SID_PLACE);
	if (place == NULL)
		return slice_equal(path, slice_from_cstr(pattern));
	struct slice before = slice_make(pattern, (size_t)(place - pattern));
	struct slice behind = slice_from_cstr(place + sizeof(SID_PLACE) - 1);
	if (path.len != before.len + SID_LEN + behind.len || !slice_starts_with(path, before) ||
	    !slice_equal(slice_make(path.ptr + before.len + SID_LEN, behind.len), behind))
		return false;
	return sid_parse(slice_make(path.ptr + before.len, SID_LEN), "RE", sid);
}

bool route_allows(unsigned methods, enum request_method method)
{
	switch (method) {
	case REQUEST_GET:
	case REQUEST_HEAD:
		return (methods & ROUTE_GET) != 0;
	case REQUEST_POST:
		return (methods & ROUTE_POST) != 0;
	case REQUEST_DELETE:
		return (methods & ROUTE_DELETE) != 0;
	default:
		return false;
	}
}

const char *route_allow_header(unsigned methods)
{
	static const char *const headers[] = {
		[ROUTE_GET] = "Allow: GET, HEAD\r\n",
		[ROUTE_POST] = "Allow: POST\r\n",
		[ROUTE_GET | ROUTE_POST] = "Allow: GET, HEAD, POST\r\n",
		[ROUTE_DELETE] = "Allow: DELETE\r\n",
		[ROUTE_GET | ROUTE_DELETE] = "Allow: GET, HEAD, DELETE\r\n",
		[ROUTE_POST | ROUTE_DELETE] = "Allow: POST, DELETE\r\n",
		[ROUTE_GET | ROUTE_POST | ROUTE_DELETE] = "Allow: GET, HEAD, POST, DELETE\r\n",
	};
	return headers[methods];
}
