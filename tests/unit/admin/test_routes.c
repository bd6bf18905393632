/* SPDX-License-Identifier: MIT */
#include "admin/routes.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SID "REabcdefabcdef0123456789ABCDEF012345"

Test(routes, a_path_without_a_sid_is_compared_whole)
{
	struct sid sid = {"x"};
	cr_expect(route_matches("/api/stats", SLICE("/api/stats"), &sid));
	cr_expect_str_eq(sid.text, "");
	static const char *const other[] = {"", "/", "/api/stat", "/api/stats/", "/API/stats", "/api/stats?", "//api/stats"};
	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		cr_expect_not(route_matches("/api/stats", slice_from_cstr(other[i]), &sid), "%s", other[i]);
}

Test(routes, a_sid_is_taken_out_of_the_path)
{
	struct sid sid = {""};
	cr_expect_not(route_matches("/api/recordings/{sid}", SLICE("/api/recordings/" SID), &sid), "36 characters");
	static const char good[] = "/api/recordings/RE0123456789abcdefABCDEF0123456789";
	cr_expect(route_matches("/api/recordings/{sid}", slice_from_cstr(good), &sid));
	cr_expect_str_eq(sid.text, "RE0123456789abcdefABCDEF0123456789");
	char path[128];
	snprintf(path, sizeof(path), "%s/audio", good);
	cr_expect(route_matches("/api/recordings/{sid}/audio", slice_from_cstr(path), &sid));
	cr_expect_not(route_matches("/api/recordings/{sid}", slice_from_cstr(path), &sid));
	cr_expect_not(route_matches("/api/recordings/{sid}/retry", slice_from_cstr(path), &sid));
	static const char *const bad[] = {
		"/api/recordings/CA0123456789abcdefABCDEF0123456789", "/api/recordings/RE0123456789abcdefABCDEF012345678g",
		"/api/recordings/RE0123456789abcdefABCDEF012345678",  "/api/recordings/",
		"/api/recordings/../../etc/passwd/xxxxxxxxxxxxxxxxx", "/api/recordingsxRE0123456789abcdefABCDEF0123456789"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect_not(route_matches("/api/recordings/{sid}", slice_from_cstr(bad[i]), &sid), "%s", bad[i]);
		cr_expect_str_eq(sid.text, "", "%s", bad[i]);
	}
}

Test(routes, methods_and_what_allow_says)
{
	cr_expect(route_allows(ROUTE_GET, REQUEST_GET) && route_allows(ROUTE_GET, REQUEST_HEAD));
	cr_expect_not(route_allows(ROUTE_GET, REQUEST_POST) || route_allows(ROUTE_GET, REQUEST_DELETE) ||
		      route_allows(ROUTE_GET, REQUEST_PUT) || route_allows(ROUTE_GET, REQUEST_OTHER));
	cr_expect(route_allows(ROUTE_POST, REQUEST_POST) && route_allows(ROUTE_GET | ROUTE_DELETE, REQUEST_DELETE));
	cr_expect_not(route_allows(ROUTE_POST, REQUEST_GET) || route_allows(ROUTE_DELETE, REQUEST_HEAD));
	cr_expect_str_eq(route_allow_header(ROUTE_GET), "Allow: GET, HEAD\r\n");
	cr_expect_str_eq(route_allow_header(ROUTE_GET | ROUTE_POST | ROUTE_DELETE), "Allow: GET, HEAD, POST, DELETE\r\n");
	for (unsigned methods = 1; methods <= 7; methods++)
		cr_expect_not_null(route_allow_header(methods));
}
