/* SPDX-License-Identifier: MIT */
/*
 * The API between raw clients, a ledger that answers when the test says so and what it says, and a store: a real directory, or one that has only links.
 */
#include "admin/admin.h"

#include "base/check.h"
#include "ledger/ledger_impl.h"
#include "loop/intake/fixture.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SID "RE0123456789abcdef0123456789abcdef"
#define KEY "recordings/2026/11/26/CA0123/" SID ".wav"
#define HOST "Host: localhost\r\n"

/* ---- the ledger ---- */

static struct list asked; /* not answered yet, oldest first */
static unsigned submitted[LEDGER_PING + 1];
static unsigned outstanding;

static void ledger_fake_submit(struct ledger *ledger, struct ledger_request *request)
{
	(void)ledger;
	submitted[request->op]++;
	outstanding++;
	list_append(&asked, &request->link);
}

static const struct ledger_ops ledger_fake_ops = {.kind = "fake", .submit = ledger_fake_submit, .release = ledger_arena_free};
static struct ledger fake_ledger = {&ledger_fake_ops};

static struct ledger_request *next_asked(enum ledger_op op)
{
	TURN_UNTIL(!list_empty(&asked));
	struct list *link = list_take(&asked);
	REQUIRE(link != NULL);
	struct ledger_request *request = LIST_ENTRY(link, struct ledger_request, link);
	cr_assert_eq(request->op, op);
	outstanding--;
	return request;
}

static void answer(enum ledger_op op, int status)
{
	struct ledger_request *request = next_asked(op);
	if (status != 0)
		error_set(&request->error, status, "the ledger says \"%s\"", err_name(status));
	request->done(request, status);
}

static void cancel_all(void)
{
	for (struct list *link; (link = list_first(&asked)) != NULL;)
		answer(LIST_ENTRY(link, struct ledger_request, link)->op, ERR_CANCELLED);
}

static struct ledger_recording *one_row(struct ledger_request *request)
{
	request->recordings = ledger_arena_alloc(request, 1, sizeof(*request->recordings));
	request->recording_count = 1;
	struct ledger_recording *row = request->recordings;
	*row = (struct ledger_recording){
		.job = {.recording_sid = {SID}, .start_time_ms = -1, .duration_s = -1, .stored = true, .key = KEY},
		.status = LEDGER_STORED,
		.next_attempt_ms = -1,
		.error_code = -1,
		.stored_at_ms = -1,
		.deleted_at_twilio_ms = -1,
		.content_type = "audio/wav"};
	return row;
}

/* ---- the stores ---- */

static char directory[64];
static struct store *store; /* of files */
static bool store_is_closed;
static struct store_request *removing; /* not answered yet */
static struct store_request *looking;
static int link_status;

static int links_url(const struct store *links, const char *key, char *out, size_t size)
{
	(void)links;
	return snprintf(out, size, "https://bucket/%s", key) < (int)size ? 0 : ERR_LIMIT;
}

static int links_link(const struct store *links, const char *key, int64_t valid_s, char *out, size_t size)
{
	(void)links;
	cr_assert_eq(valid_s, 600);
	return link_status != 0                                                              ? link_status
	       : snprintf(out, size, "https://bucket/%s?X-Amz-Expires=600", key) < (int)size ? 0
											     : ERR_LIMIT;
}

static void links_submit(struct store *links, struct store_request *request)
{
	(void)links;
	cr_assert(removing == NULL && looking == NULL);
	cr_assert_str_eq(request->key, KEY);
	if (request->op == STORE_DELETE)
		removing = request;
	else
		looking = request;
}

static const struct store_ops links_ops = {.kind = "s3", .submit = links_submit, .url = links_url, .link = links_link};
static struct store links = {&links_ops};

static void remove_answered(int status)
{
	struct store_request *request = removing;
	cr_assert_not_null(request);
	removing = NULL;
	if (status != 0)
		error_set(&request->error, status, "the store refused");
	request->done(request, status);
}

static void look_answered(int status)
{
	struct store_request *request = looking;
	cr_assert_not_null(request);
	looking = NULL;
	if (status != 0)
		error_set(&request->error, status, "the store looked");
	request->done(request, status);
}

static void on_store_closed(void *data)
{
	*(bool *)data = true;
}

/* Its bytes follow from their place. */
static void make_file(size_t bytes)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/" KEY, directory);
	for (char *slash = path + strlen(directory); (slash = strchr(slash + 1, '/')) != NULL; *slash = '/') {
		*slash = '\0';
		mkdir(path, 0700);
	}
	FILE *file = fopen(path, "w");
	for (size_t i = 0; i < bytes; i++)
		fputc((int)('a' + i * 7 % 26), file);
	fclose(file);
}

/* ---- the listener ---- */

static struct admin *admin;
static const char *token; /* NULL: none */
static struct raw_client client;
static unsigned requeued;
static bool admin_is_closed;
static struct idempotency *filter;

static void on_requeued(void *data)
{
	cr_assert_eq(data, &admin);
	requeued++;
}

static bool health(void *data, struct buffer *body)
{
	(void)data;
	(void)body;
	return true;
}

static void open_admin(struct store *on)
{
	struct admin_options options = {.listen = "127.0.0.1:0",
					.token = token,
					.metrics = fixture.metrics,
					.ledger = &fake_ledger,
					.store = on,
					.filter = filter,
					.health = health,
					.requeued = on_requeued,
					.data = &admin};
	struct error error = {0};
	cr_assert_eq(admin_new(&admin, &fixture.loop, &options, &error), 0, "%s", error.detail);
	raw_connect_port(&client, admin_port(admin));
}

static void setup(void)
{
	struct error error = {0};
	fixture_init();
	list_init(&asked);
	snprintf(directory, sizeof(directory), "/tmp/reeld-api-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL);
	cr_assert_eq(store_directory_open(&store, &fixture.loop, directory, &error), 0, "%s", error.detail);
	filter = idempotency_local_new(&fixture.loop, 64);
	REQUIRE(filter != NULL);
}

static enum idempotency_answer known_to_filter(void)
{
	struct idempotency_question question;
	const struct sid sid = {SID};
	idempotency_ask(filter, &question, &sid, RECORDING_COMPLETED);
	idempotency_forget(&question);
	return question.answer;
}

static void on_admin_closed(void *data)
{
	admin_is_closed = true;
	(void)data;
}

static void close_admin(void)
{
	admin_close(admin, on_admin_closed, NULL);
	admin = NULL;
}

static void teardown(void)
{
	char command[128];
	if (admin != NULL)
		close_admin();
	cancel_all();
	if (client.open)
		raw_close(&client);
	TURN_UNTIL(admin_is_closed);
	cr_expect_eq(outstanding, 0);
	store_close(store, on_store_closed, &store_is_closed);
	TURN_UNTIL(store_is_closed);
	bool filter_is_closed = false;
	idempotency_close(filter, on_store_closed, &filter_is_closed);
	TURN_UNTIL(filter_is_closed);
	fixture_fini();
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	FILE *run = popen(command, "r");
	cr_assert(run != NULL && pclose(run) == 0);
}

TestSuite(api, .init = setup, .fini = teardown, .timeout = 60);

static void ask(const char *method, const char *target, const char *headers)
{
	char text[1024];
	snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\n" HOST "%s\r\n", method, target, headers == NULL ? "" : headers);
	raw_send_text(&client, text);
}

static void expect_status(int status, size_t nth)
{
	char line[32];
	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	TURN_UNTIL(raw_count(&client, line) >= nth);
}

/* ---- figures ---- */

static void answer_stats(int64_t calls)
{
	struct ledger_request *request = next_asked(LEDGER_STATS);
	request->stats = ledger_arena_alloc(request, 1, sizeof(*request->stats));
	request->stats->calls_by_status[2] = calls;
	request->done(request, 0);
}

Test(api, figures_are_asked_for_once_by_all_who_wait_and_kept_for_a_moment)
{
	struct raw_client second;
	open_admin(store);
	raw_connect_port(&second, admin_port(admin));
	ask("GET", "/api/stats", NULL);
	raw_send_text(&second, "GET /api/stats HTTP/1.1\r\n" HOST "\r\n");
	TURN_UNTIL(!list_empty(&asked));
	for (int i = 0; i < 10; i++)
		fixture_turn();
	answer_stats(42);
	TURN_UNTIL(raw_has(&client, "{\"totalCalls\":42,") && raw_has(&second, "{\"totalCalls\":42,"));
	ask("GET", "/api/stats", NULL);
	expect_status(200, 2);
	cr_expect_eq(submitted[LEDGER_STATS], 1);
	cr_expect_eq(raw_count(&client, "\r\nCache-Control: no-store\r\n"), 2);
	for (size_t n = 3; submitted[LEDGER_STATS] == 1; n++) {
		ask("GET", "/api/stats", NULL);
		TURN_UNTIL(submitted[LEDGER_STATS] == 2 || raw_count(&client, "HTTP/1.1 200 ") == n);
	}
	answer_stats(43);
	TURN_UNTIL(raw_has(&client, "{\"totalCalls\":43,"));
	raw_close(&second);
}

Test(api, figures_that_cannot_be_had_are_503_and_asked_for_again)
{
	open_admin(store);
	ask("GET", "/api/stats", NULL);
	answer(LEDGER_STATS, ERR_LEDGER);
	expect_status(503, 1);
	cr_expect(raw_has(&client, "\r\nRetry-After: 5\r\n"));
	cr_expect(raw_has(&client, "{\"error\":\"the ledger says \\\"ledger\\\"\"}"));
	ask("GET", "/api/stats", NULL);
	answer_stats(1);
	expect_status(200, 1);
}

/* ---- recordings ---- */

Test(api, lists_pass_their_filters_on)
{
	open_admin(store);
	ask("GET", "/api/recordings?status=dead&q=CA0123456789abcdef0123456789abcdef&cursor=17&limit=3", NULL);
	struct ledger_request *request = next_asked(LEDGER_LIST);
	cr_expect_eq(request->status_filter, LEDGER_DEAD);
	cr_expect_str_eq(request->of.text, "CA0123456789abcdef0123456789abcdef");
	cr_expect_str_eq(request->cursor, "17");
	cr_expect_eq(request->limit, 3);
	one_row(request);
	snprintf(request->next_cursor, sizeof(request->next_cursor), "12");
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "\"nextCursor\":\"12\"}"));
	cr_expect(raw_has(&client, "{\"recordings\":[{\"sid\":\"" SID "\","));
	ask("GET", "/api/recordings", NULL);
	request = next_asked(LEDGER_LIST);
	cr_expect_eq(request->status_filter, -1);
	cr_expect_str_eq(request->of.text, "");
	cr_expect_eq(request->limit, 50);
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "{\"recordings\":[],\"nextCursor\":null}"));
	ask("GET", "/api/recordings", NULL);
	answer(LEDGER_LIST, ERR_LEDGER);
	expect_status(503, 1);
	ask("GET", "/api/recordings?cursor=5", NULL);
	answer(LEDGER_LIST, ERR_INVALID);
	expect_status(400, 1);
}

Test(api, retry_wakes_the_pipeline_only_when_something_changed)
{
	open_admin(store);
	ask("POST", "/api/recordings/" SID "/retry", NULL);
	struct ledger_request *request = next_asked(LEDGER_RETRY);
	cr_expect_str_eq(request->by, "api");
	cr_expect_str_eq(request->recording_sid.text, SID);
	request->changed = 1;
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "{\"sid\":\"" SID "\",\"status\":\"pending\"}"));
	cr_expect_eq(requeued, 1);
	ask("POST", "/api/recordings/" SID "/retry", NULL);
	answer(LEDGER_RETRY, 0);
	expect_status(409, 1);
	ask("POST", "/api/recordings/" SID "/retry", NULL);
	answer(LEDGER_RETRY, ERR_NOT_FOUND);
	expect_status(404, 1);
	cr_expect_eq(requeued, 1);
}

Test(api, retry_of_all_dead_asks_for_one_bounded_step_and_wakes_the_pipeline_when_it_did_something)
{
	open_admin(store);
	ask("POST", "/api/recordings/retry?status=dead&limit=3&cursor=7", NULL);
	struct ledger_request *request = next_asked(LEDGER_RETRY);
	cr_expect(request->all_dead);
	cr_expect_eq(request->limit, 3);
	cr_expect_str_eq(request->by, "api");
	cr_expect_str_eq(request->cursor, "7");
	request->changed = 3;
	snprintf(request->next_cursor, sizeof(request->next_cursor), "12");
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "{\"retried\":3,\"nextCursor\":\"12\"}"));
	cr_expect_eq(requeued, 1);
	ask("POST", "/api/recordings/retry?status=dead", NULL);
	request = next_asked(LEDGER_RETRY);
	cr_expect_eq(request->limit, 500);
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "{\"retried\":0,\"nextCursor\":null}"));
	cr_expect_eq(requeued, 1);
	ask("POST", "/api/recordings/retry?status=dead", NULL);
	answer(LEDGER_RETRY, ERR_LEDGER);
	expect_status(503, 1);
	ask("POST", "/api/recordings/retry", NULL);
	expect_status(400, 1);
	cr_expect_eq(submitted[LEDGER_RETRY], 3, "what does not say which ones reaches no ledger");
}

static void answer_get(enum ledger_status status, const char *url)
{
	struct ledger_request *request = next_asked(LEDGER_GET);
	struct ledger_recording *row = one_row(request);
	row->status = status;
	row->job.bytes = 100000;
	snprintf(row->job.url, sizeof(row->job.url), "%s", url);
	request->done(request, 0);
}

#define LINK_URL "https://bucket/" KEY

Test(api, deletion_is_the_object_first_and_then_the_ledger)
{
	open_admin(&links);
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	cr_expect_eq(submitted[LEDGER_DELETED_OBJECT], 0);
	remove_answered(ERR_STORE);
	expect_status(502, 1);
	cr_expect_eq(submitted[LEDGER_DELETED_OBJECT], 0, "what is still there is not deleted");
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	remove_answered(0);
	answer(LEDGER_DELETED_OBJECT, ERR_LEDGER);
	expect_status(503, 1);
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	const struct sid sid = {SID};
	idempotency_set_archived(filter, &sid, LINK_URL);
	remove_answered(0);
	struct ledger_request *request = next_asked(LEDGER_DELETED_OBJECT);
	cr_expect_str_eq(request->by, "api");
	request->changed = 1;
	request->done(request, 0);
	TURN_UNTIL(raw_has(&client, "{\"sid\":\"" SID "\",\"status\":\"deleted\"}"));
	cr_expect_eq(known_to_filter(), IDEMPOTENCY_UNKNOWN, "no callback is answered with where it was");
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_DELETED, LINK_URL);
	expect_status(200, 2);
	cr_expect_null(removing);
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_STORED, "https://another-bucket/" KEY);
	look_answered(ERR_NOT_FOUND);
	expect_status(409, 1);
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_RUNNING, LINK_URL);
	expect_status(409, 2);
	cr_expect_null(removing);
	ask("DELETE", "/api/recordings/" SID, NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	remove_answered(0);
	answer(LEDGER_DELETED_OBJECT, 0); /* somebody was faster */
	expect_status(409, 3);
}

/* ---- audio ---- */

Test(api, audio_in_a_bucket_is_a_link)
{
	open_admin(&links);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	look_answered(0);
	expect_status(302, 1);
	cr_expect(raw_has(&client, "\r\nLocation: " LINK_URL "?X-Amz-Expires=600\r\n"));
	cr_expect(raw_has(&client, "\r\nCache-Control: no-store\r\n"));
	ask("GET", "/api/recordings/" SID "/audio?as=link", NULL);
	answer_get(LEDGER_STORED, "https://spelled-otherwise/" KEY);
	look_answered(0);
	TURN_UNTIL(raw_has(&client, "{\"url\":\"" LINK_URL "?X-Amz-Expires=600\",\"expiresAt\":\"20"));
	link_status = ERR_CREDENTIALS;
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_get(LEDGER_STORED, LINK_URL);
	look_answered(0);
	expect_status(503, 1);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_get(LEDGER_STORED, "file:///elsewhere");
	expect_status(404, 1);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_get(LEDGER_PENDING, "");
	expect_status(404, 2);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer(LEDGER_GET, ERR_NOT_FOUND);
	expect_status(404, 3);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer(LEDGER_GET, ERR_LEDGER);
	expect_status(503, 2);
	static const struct {
		int looked;
		int status;
		unsigned count;
	} rows[] = {{ERR_NOT_FOUND, 404, 4}, {ERR_CHECKSUM, 500, 1}, {ERR_TIMEOUT, 502, 1}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ask("GET", "/api/recordings/" SID "/audio", NULL);
		answer_get(LEDGER_STORED, LINK_URL);
		look_answered(rows[i].looked);
		expect_status(rows[i].status, rows[i].count);
	}
}

static void answer_stored_file(size_t bytes)
{
	char url[LEDGER_URL_SIZE];
	struct ledger_request *request = next_asked(LEDGER_GET);
	struct ledger_recording *row = one_row(request);
	row->job.bytes = (int64_t)bytes;
	cr_assert_eq(store_url(store, KEY, url, sizeof(url)), 0);
	snprintf(row->job.url, sizeof(row->job.url), "%s", url);
	memset(row->job.sha256, 'a', 64);
	request->done(request, 0);
}

static unsigned open_recordings(void)
{
	char path[64];
	char target[256];
	unsigned count = 0;
	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(path, target, sizeof(target) - 1);
		target[len < 0 ? 0 : len] = '\0';
		count += strstr(target, SID) != NULL;
	}
	return count;
}

Test(api, audio_is_the_file_and_its_parts)
{
	enum { BYTES = 200001 }; /* several pieces, the last one short */
	make_file(BYTES);
	open_admin(store);
	client.in.max = (size_t)1 << 20;
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_stored_file(BYTES);
	expect_status(200, 1);
	TURN_UNTIL(client.in.len > BYTES);
	const char *body = (const char *)memmem(client.in.data, client.in.len, "\r\n\r\n", 4) + 4;
	TURN_UNTIL((size_t)(client.in.data + client.in.len - body) >= BYTES &&
		   (body = (const char *)memmem(client.in.data, client.in.len, "\r\n\r\n", 4) + 4) != NULL);
	for (size_t i = 0; i < BYTES; i++)
		cr_assert_eq(body[i], (char)('a' + i * 7 % 26), "%zu", i);
	TURN_UNTIL(open_recordings() == 0);
	ask("GET", "/api/recordings/" SID "/audio", "Range: bytes=65530-65545\r\n");
	answer_stored_file(BYTES);
	expect_status(206, 1);
	char expected[17] = "";
	for (size_t i = 0; i < 16; i++)
		expected[i] = (char)('a' + (65530 + i) * 7 % 26);
	char head[80];
	snprintf(head, sizeof(head), "\r\n\r\n%s", expected);
	TURN_UNTIL(raw_has(&client, head));
	TURN_UNTIL(open_recordings() == 0);
}

#define TAG_OF_64_A "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""

Test(api, a_listener_that_has_the_file_already_is_told_so)
{
	make_file(1000);
	open_admin(store);
	ask("GET", "/api/recordings/" SID "/audio", "If-None-Match: \"other\", " TAG_OF_64_A "\r\n");
	answer_stored_file(1000);
	expect_status(304, 1);
	TURN_UNTIL(raw_has(&client, "\r\n\r\n"));
	cr_expect(raw_has(&client, "\r\nETag: " TAG_OF_64_A "\r\n"));
	TURN_UNTIL(open_recordings() == 0);
	ask("GET", "/api/recordings/" SID "/audio", "If-None-Match: \"other\"\r\n");
	answer_stored_file(1000);
	expect_status(200, 1);
	TURN_UNTIL(open_recordings() == 0);
}

Test(api, a_range_behind_the_end_is_refused_with_the_length_that_there_is)
{
	make_file(1000);
	open_admin(store);
	ask("GET", "/api/recordings/" SID "/audio", "Range: bytes=1000-\r\n");
	answer_stored_file(1000);
	expect_status(416, 1);
	TURN_UNTIL(raw_has(&client, "outside of the recording"));
	cr_expect(raw_has(&client, "\r\nContent-Range: bytes */1000\r\n"));
	TURN_UNTIL(open_recordings() == 0);
	/* One of another file is no range at all. */
	ask("GET", "/api/recordings/" SID "/audio", "Range: bytes=1000-\r\nIf-Range: \"other\"\r\n");
	answer_stored_file(1000);
	expect_status(200, 1);
	TURN_UNTIL(open_recordings() == 0);
}

/* The path and ticket of the last link that came. */
static void copy_link(char *out, size_t size)
{
	static const char before[] = "{\"url\":\"";
	TURN_UNTIL(raw_has(&client, "\"expiresAt\":\"20"));
	const char *url = (const char *)memmem(client.in.data, client.in.len, before, strlen(before)) + strlen(before);
	snprintf(out, size, "%.*s", (int)strcspn(url, "\""), url);
}

Test(api, audio_in_a_directory_has_a_link_that_opens_this_recording_without_the_token)
{
	static const char before[] = "/api/recordings/" SID "/audio?ticket=";
	char url[512];
	make_file(1000);
	token = "sesame";
	open_admin(store);
	ask("GET", "/api/recordings/" SID "/audio?as=link", "Authorization: Bearer sesame\r\n");
	answer_stored_file(1000);
	copy_link(url, sizeof(url));
	cr_assert_eq(strncmp(url, before, strlen(before)), 0, "%s", url);
	cr_expect_eq(open_recordings(), 0);
	ask("GET", url, NULL);
	answer_stored_file(1000);
	expect_status(200, 2);
	TURN_UNTIL(open_recordings() == 0);
	url[strlen(before) - strlen("/audio?ticket=") - 1] = '0'; /* the same ticket, another recording */
	ask("GET", url, NULL);
	expect_status(401, 1);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	expect_status(401, 2);
}

Test(api, a_listener_that_leaves_closes_the_file)
{
	enum { BYTES = 20 << 20 };
	make_file(BYTES);
	open_admin(store);
	raw_pause(&client);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_stored_file(BYTES);
	TURN_UNTIL(open_recordings() == 1);
	for (int i = 0; i < 50; i++)
		fixture_turn();
	raw_reset(&client);
	TURN_UNTIL(open_recordings() == 0);
}

Test(api, closing_in_the_middle_of_audio_closes_the_file)
{
	enum { BYTES = 20 << 20 };
	make_file(BYTES);
	open_admin(store);
	raw_pause(&client);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_stored_file(BYTES);
	TURN_UNTIL(open_recordings() == 1);
	close_admin();
	TURN_UNTIL(admin_is_closed);
	cr_expect_eq(open_recordings(), 0);
}

Test(api, a_file_that_is_cut_meanwhile_is_a_broken_answer)
{
	enum { BYTES = 20 << 20 };
	char path[256];
	make_file(BYTES);
	open_admin(store);
	client.in.max = (size_t)64 << 20;
	raw_pause(&client);
	ask("GET", "/api/recordings/" SID "/audio", NULL);
	answer_stored_file(BYTES);
	TURN_UNTIL(open_recordings() == 1);
	snprintf(path, sizeof(path), "%s/" KEY, directory);
	cr_assert_eq(truncate(path, 100000), 0);
	raw_resume(&client);
	TURN_UNTIL(client.ended);
	cr_expect_lt(client.in.len, BYTES, "an end that looks like one");
	TURN_UNTIL(open_recordings() == 0);
}

/* ---- the end ---- */

Test(api, closing_waits_for_what_the_ledger_was_asked)
{
	static const char *const targets[] = {"/api/stats", "/api/recordings", "/api/recordings/" SID,
					      "/api/recordings/" SID "/audio"};
	struct raw_client others[3];
	open_admin(store);
	for (size_t i = 0; i < 3; i++) {
		char text[256];
		raw_connect_port(&others[i], admin_port(admin));
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n" HOST "\r\n", targets[i + 1]);
		raw_send_text(&others[i], text);
	}
	ask("GET", targets[0], NULL);
	TURN_UNTIL(outstanding == 4);
	close_admin();
	for (int i = 0; i < 10; i++)
		fixture_turn();
	cr_expect_not(admin_is_closed);
	cancel_all();
	TURN_UNTIL(admin_is_closed);
	for (size_t i = 0; i < 3; i++)
		raw_close(&others[i]);
}

Test(api, a_client_that_leaves_before_its_answer_hurts_nobody)
{
	static const char *const targets[] = {"/api/stats", "/api/recordings", "/api/recordings/" SID,
					      "/api/recordings/" SID "/audio"};
	make_file(1000);
	open_admin(store);
	for (size_t i = 0; i < 4; i++) {
		if (i > 0)
			raw_connect_port(&client, admin_port(admin));
		ask("GET", targets[i], NULL);
		TURN_UNTIL(outstanding == 1);
		raw_reset(&client);
		for (int turn = 0; turn < 5; turn++)
			fixture_turn();
		if (i == 0)
			answer_stats(1);
		else if (i == 1)
			answer(LEDGER_LIST, 0);
		else
			answer_stored_file(1000);
	}
	TURN_UNTIL(open_recordings() == 0);
}
