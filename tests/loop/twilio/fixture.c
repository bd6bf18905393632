/* SPDX-License-Identifier: MIT */
#include "loop/twilio/fixture.h"

#include "base/check.h"
#include "base/turn.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct twilio_fixture fx;

void fixture_init(void)
{
	const struct http_client_options options = {0};
	struct error error;
	signal(SIGPIPE, SIG_IGN);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	unsetenv("ALL_PROXY");
	REQUIRE(uv_loop_init(&fx.loop) == 0);
	fx.http = http_client_new(&fx.loop, &options);
	fx.accounts = twilio_accounts_new();
	REQUIRE(fx.http != NULL && fx.accounts != NULL);
	REQUIRE(twilio_accounts_add(fx.accounts, AC, TOKEN, NULL, NULL, &error) == 0);
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

void fixture_end(void)
{
	bool closed = false;
	if (fx.peer != NULL)
		peer_close(fx.peer);
	twilio_client_free(&fx.client);
	twilio_accounts_free(&fx.accounts);
	http_client_close(fx.http, on_closed, &closed);
	uv_run(&fx.loop, UV_RUN_DEFAULT);
	cr_assert(closed);
	cr_assert_eq(uv_loop_close(&fx.loop), 0, "handles are left open");
}

void fixture_serve(const struct peer_script *scripts, size_t count)
{
	char base[64];
	fx.peer = peer_new(&fx.loop, "127.0.0.1", scripts, count);
	snprintf(base, sizeof(base), "http://127.0.0.1:%d//", peer_port(fx.peer));
	const struct twilio_client_options options = {.http = fx.http, .base = base, .accounts = fx.accounts};
	fx.client = twilio_client_new(&options);
	REQUIRE(fx.client != NULL);
}

void fixture_wait(const unsigned *done)
{
	for (unsigned turns = 0; *done == 0; turns++) {
		cr_assert_lt(turns, 100000);
		turn_run(&fx.loop);
	}
}

void fixture_check_request(unsigned n, const char *start)
{
	const char *text = peer_request(fx.peer, n);
	cr_assert(strncmp(text, start, strlen(start)) == 0, "%s", text);
	/* base64("AC…01:0123…") */
	cr_assert(strstr(text, "\r\nAuthorization: Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTow") != NULL, "%s", text);
}
