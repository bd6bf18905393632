/* SPDX-License-Identifier: MIT */
/* What every store promises (store/store.h), whatever lies behind it. */
#include "loop/store/store_factory.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(store, .init = factory_setup, .fini = factory_teardown, .timeout = 60);

#define KEY "2026/11/23/CA0123/RE0123.wav"

static int commit_text(struct put *put, const char *text)
{
	const struct store_digest digest = digest_of(slice_from_cstr(text));
	return put_commit(put, &digest);
}

Test(store, nothing_is_visible_before_commit_and_all_of_it_after)
{
	for (int known = 0; known < 2; known++) {
		const char *key = factory_key(known ? "known.wav" : "unknown.wav");
		struct put put = {0};
		cr_assert_eq(put_open(&put, key, known ? 8 : -1), 0);
		cr_assert_eq(put_write_text(&put, "RIFF"), 0);
		cr_assert_eq(put_write_text(&put, "data"), 0);
		cr_assert(!factory_exists(key));
		cr_assert_eq(commit_text(&put, "RIFFdata"), 0, "%s", put.put.error.detail);
		cr_assert(factory_holds(key, "RIFFdata"));
	}
	cr_assert_eq(factory_leftovers(), 0);
	cr_assert(store_up(store));
	cr_assert_str_eq(store_kind(store), factory_kind());
}

Test(store, a_later_put_of_the_same_key_replaces_the_earlier_at_once)
{
	struct put first = {0}, second = {0};
	const char *key = factory_key(KEY);
	cr_assert_eq(put_open(&first, key, -1), 0);
	cr_assert_eq(put_open(&second, key, -1), 0);
	cr_assert_eq(put_write_text(&first, "first"), 0);
	cr_assert_eq(commit_text(&first, "first"), 0);
	cr_assert_eq(put_write_text(&second, "two"), 0);
	cr_assert(factory_holds(key, "first"));
	cr_assert_eq(put_write_text(&second, "end"), 0);
	cr_assert(factory_holds(key, "first"));
	cr_assert_eq(commit_text(&second, "twoend"), 0);
	cr_assert(factory_holds(key, "twoend"));
	/* the same bytes once more, as after a crash */
	struct put again = {0};
	cr_assert_eq(put_open(&again, key, 6), 0);
	cr_assert_eq(put_write_text(&again, "twoend"), 0);
	cr_assert_eq(commit_text(&again, "twoend"), 0);
	cr_assert(factory_holds(key, "twoend"));
}

Test(store, a_wrong_length_leaves_nothing_behind)
{
	struct put put = {0};
	const char *key = factory_key(KEY);
	cr_assert_eq(put_open(&put, key, -1), 0);
	cr_assert_eq(put_write_text(&put, "short"), 0);
	cr_assert_eq(commit_text(&put, "shorty"), ERR_CHECKSUM);
	cr_assert(strstr(put.put.error.detail, "6 were received") != NULL, "%s", put.put.error.detail);
	cr_assert(!factory_exists(key));
	cr_assert_eq(put_abort(&put), 0);
	cr_assert(!factory_exists(key));
	cr_assert_eq(factory_leftovers(), 0);
	cr_assert(store_up(store), "the object is wrong, not the store");
}

Test(store, abort_in_every_state_leaves_nothing)
{
	for (int state = 0; state < 4; state++) {
		struct put put = {0};
		const char *key = state == 0 ? "../x" : factory_key(KEY);
		cr_assert_eq(put_open(&put, key, -1), state == 0 ? ERR_INVALID : 0);
		if (state >= 2)
			cr_assert_eq(put_write_text(&put, "bytes"), 0);
		if (state >= 3)
			cr_assert_eq(commit_text(&put, "byte"), ERR_CHECKSUM);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert_eq(factory_leftovers(), 0, "state %d", state);
		cr_assert(!factory_exists(factory_key(KEY)));
	}
}

Test(store, keys_that_leave_the_store_are_refused)
{
	const char *const bad[] = {"", "/etc/x", "a/../b", "../x", "a//b", "a/./b", ".tmp/put-0", "a/.hidden", "a/", "a\nb", "."};
	const char *const good[] = {"a", "a/b", "recordings/2026/01/02/CAx/REx.wav", "a b/ü.wav", "a/b..c"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct put put = {0};
		struct request request = {0};
		cr_assert(!store_key_is_valid(bad[i]), "%s", bad[i]);
		cr_assert_eq(put_open(&put, bad[i], -1), ERR_INVALID);
		cr_assert_eq(put_abort(&put), 0);
		cr_assert_eq(submit(&request, STORE_DELETE, bad[i]), ERR_INVALID);
		cr_assert_eq(submit(&request, STORE_VERIFY, bad[i]), ERR_INVALID);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		cr_assert(store_key_is_valid(good[i]), "%s", good[i]);
}

Test(store, keys_may_hold_what_urls_may_not)
{
	const char *const names[] = {"a b.wav", "ü+=&?#%41.wav", "x:y@z!$'()*,;[].wav", "~tilde_-.wav"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *key = factory_key(names[i]);
		struct request request = {0};
		cr_assert_eq(put_text(key, names[i]), 0, "%s", key);
		cr_assert(factory_holds(key, names[i]), "%s", key);
		cr_assert_eq(verify_bytes(key, slice_from_cstr(names[i])), 0, "%s", key);
		cr_assert_eq(submit(&request, STORE_DELETE, key), 0, "%s", key);
		cr_assert(!factory_exists(key), "%s", key);
	}
}

Test(store, verify_compares_bytes_and_checksum_and_says_what_is_missing)
{
	struct request request = {0};
	const char *key = factory_key(KEY);
	cr_assert_eq(put_text(key, "content"), 0);
	cr_assert_eq(verify_bytes(key, SLICE("content")), 0);
	request.request.digest = digest_of(SLICE("contenu"));
	cr_assert_eq(submit(&request, STORE_VERIFY, key), ERR_CHECKSUM);
	cr_assert(request.request.error.detail[0] != '\0');
	cr_assert_eq(verify_bytes(key, SLICE("contents")), ERR_CHECKSUM);
	request.request.digest = digest_of(SLICE("content"));
	cr_assert_eq(submit(&request, STORE_LOOK, key), 0);
	cr_assert_eq(submit(&request, STORE_LOOK, factory_key("none.wav")), ERR_NOT_FOUND);
	request.request.digest = digest_of(SLICE("contents"));
	cr_assert_eq(submit(&request, STORE_LOOK, key), ERR_CHECKSUM);
	cr_assert(request.request.error.detail[0] != '\0');
	cr_assert_eq(verify_bytes(factory_key("none.wav"), SLICE("content")), ERR_NOT_FOUND);
	cr_assert(store_up(store));
}

Test(store, delete_is_harmless_twice)
{
	struct request request = {0};
	const char *key = factory_key("top.wav");
	cr_assert_eq(put_text(key, ""), 0);
	cr_assert(factory_holds(key, ""));
	cr_assert_eq(submit(&request, STORE_DELETE, key), 0);
	cr_assert(!factory_exists(key));
	cr_assert_eq(submit(&request, STORE_DELETE, key), 0);
	cr_assert_eq(submit(&request, STORE_DELETE, factory_key(KEY)), 0);
}

Test(store, probe_and_clean_leave_nothing)
{
	struct request request = {0};
	cr_assert_eq(submit(&request, STORE_PROBE, NULL), 0, "%s", request.request.error.detail);
	cr_assert_eq(factory_leftovers(), 0);
	cr_assert_eq(submit(&request, STORE_CLEAN, NULL), 0, "%s", request.request.error.detail);
}

Test(store, urls_fit_or_fail)
{
	char url[1024], other[1024];
	cr_assert_eq(store_url(store, "a b/ü.wav", url, sizeof(url)), 0);
	cr_assert(strstr(url, "/a%20b/%C3%BC.wav") != NULL, "%s", url);
	cr_assert_eq(store_url(store, "a b/ü.wav", other, strlen(url) + 1), 0);
	cr_assert_eq(store_url(store, "a b/ü.wav", other, strlen(url)), ERR_LIMIT);
	cr_assert_eq(store_link(store, "a b/ü.wav", 60, url, sizeof(url)), 0);
	cr_assert(strstr(url, "/a%20b/%C3%BC.wav") != NULL, "%s", url);
	cr_assert_eq(store_link(store, "a b/ü.wav", 60, other, strlen(url)), ERR_LIMIT);
}

Test(store, close_waits_for_what_is_in_flight_and_takes_nothing_new)
{
	struct put put = {0}, late = {0};
	struct request request = {0};
	const struct store_object object = {.key = factory_key(KEY), .length = -1};
	put_start_open(&put, &object);
	store_close(store, support_on_closed, NULL);
	put_start_open(&late, &object);
	request_start(&request, STORE_PROBE, NULL);
	cr_assert_eq(late.done + request.done + put.done, 0);
	cr_assert_eq(put_wait(&put), 0);
	cr_assert_eq(put_wait(&late), ERR_CANCELLED);
	cr_assert_eq(request_wait(&request), ERR_CANCELLED);
	cr_assert(!support_store_closed, "closed under an open put");
	cr_assert_eq(put_write_text(&put, "still"), 0);
	cr_assert_eq(put_abort(&put), 0);
	support_run_until(&support_store_closed);
}

/* A loop that is turned n times more before the end finds the operations in another state each time. */
Test(store, close_at_any_moment_gives_each_operation_one_end)
{
	for (unsigned turns = 0; turns < 12; turns++) {
		struct put put = {0};
		struct request verify = {.request.digest = digest_of(SLICE("content"))};
		struct request probe = {0};
		const char *key = factory_key(KEY);
		const struct store_digest digest = digest_of(SLICE("content"));
		cr_assert_eq(put_open(&put, key, -1), 0);
		cr_assert_eq(put_write_text(&put, "content"), 0);
		put_start_commit(&put, &digest);
		request_start(&verify, STORE_VERIFY, key);
		request_start(&probe, STORE_PROBE, NULL);
		for (unsigned i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		store_close(store, support_on_closed, NULL);
		int status = put_wait(&put);
		if (status != 0)
			cr_assert_eq(put_abort(&put), 0);
		request_wait(&verify);
		request_wait(&probe);
		support_run_until(&support_store_closed);
		factory_teardown();
		factory_setup();
	}
}
