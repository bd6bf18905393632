/* SPDX-License-Identifier: MIT */
/* Whether an object is the recording, between a ledger with one row and a store that is whatever the test says: what is asked of it, and what is deleted. */
#include "pipeline/archived.h"

#include "base/check.h"
#include "base/soon.h"
#include "ledger/ledger_impl.h"

#include <criterion/criterion.h>
#include <string.h>

#define SID "RE0123456789abcdef0123456789abcdef"
#define KEY "recordings/2026/11/26/CA0123/" SID ".wav"
#define SHA256 "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"

/* The recorded URL is OWN, or another one. */
#define OWN "https://b.s3.eu-west-1.amazonaws.com/" KEY
#define PUBLIC "https://cdn.example.com/" KEY
#define OTHER "https://s3.eu-west-1.amazonaws.com/b/" KEY
#define A_FILE "file:///var/lib/reeld/" KEY

static uv_loop_t loop;
static struct soon soon;

/* ---- the ledger ---- */

static const char *recorded;
static unsigned deleted;
static struct soon_item ledger_item;
static struct ledger_request *ledger_asked;

static void ledger_answer(struct soon_item *item)
{
	struct ledger_request *request = ledger_asked;
	(void)item;
	if (request->op == LEDGER_GET) {
		request->recordings = ledger_arena_alloc(request, 1, sizeof(*request->recordings));
		request->recordings[0] = (struct ledger_recording){
			.job = {.recording_sid = {SID}, .key = KEY, .sha256 = SHA256, .bytes = 7}, .status = LEDGER_STORED};
		snprintf(request->recordings[0].job.url, LEDGER_URL_SIZE, "%s", recorded);
	} else {
		cr_assert_eq(request->op, LEDGER_DELETED_OBJECT);
		request->changed = 1;
		deleted++;
	}
	request->done(request, 0);
}

static void ledger_take(struct ledger *ledger, struct ledger_request *request)
{
	(void)ledger;
	ledger_asked = request;
	soon_add(&soon, &ledger_item);
}

static const struct ledger_ops ledger_ops = {.kind = "fake", .submit = ledger_take, .release = ledger_arena_free};
static struct ledger ledger = {&ledger_ops};

/* ---- the store ---- */

static struct {
	const char *address;
	const char *learned; /* its address after the first request; NULL: the same */
	const char *public_url;
	int holds; /* the answer to LOOK and VERIFY */
	bool reads;
	unsigned looked;
	unsigned verified;
	unsigned removed;
} bucket;
static struct soon_item store_item;
static struct store_request *store_asked;

static int give(const char *url, char *out, size_t size)
{
	return snprintf(out, size, "%s", url) < (int)size ? 0 : ERR_LIMIT;
}

static int bucket_address(const struct store *store, const char *key, char *out, size_t size)
{
	(void)store;
	(void)key;
	return give(bucket.address, out, size);
}

static int bucket_url(const struct store *store, const char *key, char *out, size_t size)
{
	return bucket.public_url != NULL ? give(bucket.public_url, out, size) : bucket_address(store, key, out, size);
}

static void bucket_answer(struct soon_item *item)
{
	struct store_request *request = store_asked;
	int status = request->op == STORE_DELETE ? 0 : bucket.holds;
	(void)item;
	cr_expect_str_eq(request->key, KEY);
	bucket.looked += request->op == STORE_LOOK;
	bucket.verified += request->op == STORE_VERIFY;
	bucket.removed += request->op == STORE_DELETE;
	if (request->op != STORE_DELETE) {
		cr_expect_eq(request->digest.bytes, 7);
		cr_expect_eq(request->digest.sha256[0], 0xed, "the digest is the ledger's");
	}
	if (bucket.learned != NULL)
		bucket.address = bucket.learned;
	if (status != 0)
		error_set(&request->error, status, "the store says %s", err_name(status));
	request->done(request, status);
}

static void bucket_submit(struct store *store, struct store_request *request)
{
	(void)store;
	store_asked = request;
	soon_add(&soon, &store_item);
}

static const struct store_ops bucket_ops = {.kind = "s3", .submit = bucket_submit, .url = bucket_url, .address = bucket_address};
static void never(struct store *store, struct store_read *read)
{
	(void)store;
	(void)read;
	cr_assert_fail("opening a file is the caller's");
}
static const struct store_ops files_ops = {
	.kind = "directory", .submit = bucket_submit, .read_open = never, .url = bucket_address};
static struct store s3 = {&bucket_ops};
static struct store files = {&files_ops};

/* ---- one operation ---- */

static struct archived archived;
static bool answered;
static int result;

static void on_done(struct archived *of, int status)
{
	cr_assert_eq(of, &archived);
	cr_assert(!answered, "answered twice");
	answered = true;
	result = status;
}

static void setup(void)
{
	memset(&bucket, 0, sizeof(bucket));
	bucket.address = OWN;
	deleted = 0;
	REQUIRE(uv_loop_init(&loop) == 0);
	soon_init(&soon, &loop);
	soon_item_init(&ledger_item, ledger_answer);
	soon_item_init(&store_item, bucket_answer);
}

static void on_closed(uv_handle_t *handle)
{
	(void)handle;
}

static void teardown(void)
{
	soon_close(&soon, on_closed);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(archived, .init = setup, .fini = teardown, .timeout = 30);

static int run(struct store *store, const char *url, int holds, void (*operation)(struct archived *, archived_cb *))
{
	recorded = url;
	bucket.holds = holds;
	archived = (struct archived){.ledger = &ledger, .store = store, .recording_sid = {SID}, .by = "test"};
	answered = false;
	operation(&archived, on_done);
	cr_assert(!answered, "inside the call");
	while (!answered)
		uv_run(&loop, UV_RUN_ONCE);
	return result;
}

static void expect_elsewhere(int status, const char *url)
{
	cr_expect_eq(status, ERR_CONFIG, "%s: %d", url, status);
	cr_expect_eq(archived.place, ARCHIVED_ELSEWHERE, "%s", url);
	cr_expect_not_null(strstr(archived.error.detail, url), "%s", archived.error.detail);
	cr_expect_eq(bucket.removed, 0, "another store's object was deleted: %s", url);
	cr_expect_eq(deleted, 0);
}

/* ---- what it is, not how it is spelled ---- */

Test(archived, an_object_that_the_store_knows_is_found_however_its_url_was_spelled)
{
	static const char *const urls[] = {OWN, PUBLIC, OTHER, "http://minio:9000/b/" KEY};
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		cr_expect_eq(run(&s3, urls[i], 0, archived_find), 0, "%s: %s", urls[i], archived.error.detail);
		cr_expect_eq(bucket.looked, i + 1, "it was taken for granted: %s", urls[i]);
	}
	cr_expect_eq(bucket.verified + bucket.removed + deleted, 0);
	cr_expect_eq(run(&s3, OTHER, 0, archived_delete), 0, "%s", archived.error.detail);
	cr_expect_eq(bucket.verified, 1, "it was deleted without having been compared");
	cr_expect_eq(bucket.removed, 1);
	cr_expect_eq(deleted, 1);
}

Test(archived, a_directory_that_was_moved_still_has_its_recordings)
{
	bucket.address = "file:///srv/" KEY;
	cr_expect_eq(run(&files, A_FILE, 0, archived_find), 0, "%s", archived.error.detail);
	cr_expect_eq(bucket.looked, 1);
	cr_expect_eq(run(&files, A_FILE, 0, archived_delete), 0, "%s", archived.error.detail);
	cr_expect_eq(bucket.verified, 1);
	cr_expect_eq(bucket.removed, 1);
	bucket.address = A_FILE;
	cr_expect_eq(run(&files, A_FILE, ERR_NOT_FOUND, archived_find), 0, "its own address needs no question");
	cr_expect_eq(bucket.looked, 1);
}

Test(archived, what_asking_teaches_the_store_counts)
{
	bucket.address = "https://b.s3.us-east-1.amazonaws.com/" KEY;
	bucket.learned = OWN;
	cr_expect_eq(run(&s3, OWN, ERR_NOT_FOUND, archived_find), ERR_NOT_FOUND);
	cr_expect_eq(archived.place, ARCHIVED_STORE, "its place is this one");
	bucket.address = "https://b.s3.us-east-1.amazonaws.com/" KEY;
	cr_expect_eq(run(&s3, OWN, ERR_NOT_FOUND, archived_delete), 0, "what is gone already is deleted: %s",
		     archived.error.detail);
	cr_expect_eq(deleted, 1);
}

/* ---- what stays refused ---- */

Test(archived, another_kind_of_store_is_not_even_asked)
{
	expect_elsewhere(run(&s3, A_FILE, 0, archived_find), A_FILE);
	expect_elsewhere(run(&s3, A_FILE, 0, archived_delete), A_FILE);
	bucket.address = A_FILE;
	expect_elsewhere(run(&files, OWN, 0, archived_find), OWN);
	expect_elsewhere(run(&files, OWN, 0, archived_delete), OWN);
	cr_expect_eq(bucket.looked + bucket.verified, 0);
}

Test(archived, what_lies_in_another_bucket_is_neither_shown_nor_counted_as_deleted)
{
	static const int holds[] = {ERR_NOT_FOUND, ERR_CHECKSUM};
	for (size_t i = 0; i < 2; i++) {
		expect_elsewhere(run(&s3, OTHER, holds[i], archived_find), OTHER);
		expect_elsewhere(run(&s3, OTHER, holds[i], archived_delete), OTHER);
	}
}

Test(archived, a_public_url_does_not_prove_that_an_object_is_ours)
{
	bucket.public_url = PUBLIC;
	expect_elsewhere(run(&s3, PUBLIC, ERR_CHECKSUM, archived_find), PUBLIC);
	expect_elsewhere(run(&s3, PUBLIC, ERR_CHECKSUM, archived_delete), PUBLIC);
	cr_expect_eq(run(&s3, PUBLIC, 0, archived_find), 0);
	cr_expect_eq(run(&s3, OWN, 0, archived_find), 0, "from before there was a public URL");
	cr_expect_eq(run(&s3, PUBLIC, 0, archived_delete), 0);
	cr_expect_eq(bucket.removed, 1);
	cr_expect_eq(deleted, 1);
}

Test(archived, a_deletion_that_was_cut_is_finished)
{
	cr_expect_eq(run(&s3, OWN, ERR_NOT_FOUND, archived_delete), 0);
	cr_expect_eq(bucket.verified, 0, "its own address needs no question");
	bucket.public_url = PUBLIC;
	cr_expect_eq(run(&s3, PUBLIC, ERR_NOT_FOUND, archived_delete), 0, "%s", archived.error.detail);
	cr_expect_eq(deleted, 2);
}

Test(archived, a_spoiled_object_at_its_own_address_can_be_deleted_but_is_not_shown)
{
	cr_expect_eq(run(&s3, OWN, ERR_CHECKSUM, archived_find), ERR_CHECKSUM);
	cr_expect_eq(archived.place, ARCHIVED_STORE);
	cr_expect_eq(run(&s3, OWN, ERR_CHECKSUM, archived_delete), 0);
	cr_expect_eq(bucket.removed, 1);
}

Test(archived, a_store_that_does_not_answer_decides_nothing)
{
	cr_expect_eq(run(&s3, OTHER, ERR_TIMEOUT, archived_find), ERR_TIMEOUT);
	cr_expect_eq(archived.place, ARCHIVED_STORE);
	cr_expect_eq(run(&s3, OTHER, ERR_TIMEOUT, archived_delete), ERR_TIMEOUT);
	cr_expect_eq(archived.place, ARCHIVED_STORE);
	cr_expect_not_null(strstr(archived.error.detail, "the store says"));
	cr_expect_eq(bucket.removed + deleted, 0);
}
