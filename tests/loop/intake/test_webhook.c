/* SPDX-License-Identifier: MIT */
/*
 * The public listener between raw clients, a journal that keeps its word only when the test says so (linked instead of the real
 * one) and a filter that answers what the test wants, at once or late.
 */
#include "intake/webhook.h"

#include "base/check.h"
#include "base/log.h"
#include "loop/intake/fixture.h"
#include "twilio/event.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AC "AC0123456789abcdef0123456789abcdef"
#define AC_OTHER "ACffffffffffffffffffffffffffffffff"
#define AC_UNKNOWN "AC00000000000000000000000000000000"
#define CA "CA0123456789abcdef0123456789abcdef"
#define CF "CF0123456789abcdef0123456789abcdef"
#define RE "RE0123456789abcdef0123456789abcdef"
#define RE_OTHER "REffffffffffffffffffffffffffffffff"
#define PATH "/api/twilio/recording"
#define FORM "application/x-www-form-urlencoded"
#define CALLBACK "AccountSid=" AC "&CallSid=" CA "&RecordingSid=" RE "&RecordingStatus="
#define COMPLETED CALLBACK "completed"
#define TOKEN "the-token-in-use"
#define OLD_TOKEN "the-token-before"
#define OTHER_TOKEN "of-the-other-account"
#define ACCEPTED "{\"success\":true,\"message\":\"Recording accepted\"}"

/* ---- the journal ---- */

static struct {
	struct journal_append *appends[32]; /* not answered yet */
	size_t count;
	size_t taken;
	int refuse; /* an append fails at once with this */
	char payload[8192];
	size_t payload_len;
} fake_journal;

int journal_append(struct journal *journal, struct journal_append *append, const struct slice *parts, size_t count)
{
	(void)journal;
	if (fake_journal.refuse != 0)
		return fake_journal.refuse;
	fake_journal.payload_len = 0;
	for (size_t i = 0; i < count; i++) {
		REQUIRE(fake_journal.payload_len + parts[i].len <= sizeof(fake_journal.payload));
		if (parts[i].len > 0)
			memcpy(fake_journal.payload + fake_journal.payload_len, parts[i].ptr, parts[i].len);
		fake_journal.payload_len += parts[i].len;
	}
	REQUIRE(fake_journal.count < 32);
	append->sequence = ++fake_journal.taken;
	fake_journal.appends[fake_journal.count++] = append;
	return 0;
}

/* The oldest append is on disk, or is not going to be. */
static void disk_says(int status)
{
	cr_assert_gt(fake_journal.count, 0);
	struct journal_append *append = fake_journal.appends[0];
	memmove(fake_journal.appends, fake_journal.appends + 1, --fake_journal.count * sizeof(fake_journal.appends[0]));
	append->done(append, status);
}

/* ---- the filter ---- */

struct fake_filter {
	struct idempotency filter;
	enum idempotency_answer answer;
	bool late; /* the question stays open until filter_answers() */
	struct idempotency_question *open[8];
	struct idempotency_pending pending;
	unsigned asked;
};

static struct fake_filter fake_filter;
#define ARCHIVED_URL "https://x/\"quoted\".wav"

static void fill(struct idempotency_question *question)
{
	question->answer = fake_filter.answer;
	snprintf(question->url, sizeof(question->url), "%s", fake_filter.answer == IDEMPOTENCY_ARCHIVED ? ARCHIVED_URL : "");
}

static void filter_ask(struct idempotency *filter, struct idempotency_question *question, const struct sid *recording_sid,
		       enum recording_status status)
{
	(void)recording_sid;
	(void)status;
	*question = (struct idempotency_question){0};
	fake_filter.asked++;
	if (!fake_filter.late) {
		fill(question);
		return;
	}
	fake_filter.pending.filter = filter;
	question->pending = &fake_filter.pending;
	for (size_t i = 0; i < 8; i++) {
		if (fake_filter.open[i] == NULL) {
			fake_filter.open[i] = question;
			return;
		}
	}
	REQUIRE(false);
}

static void filter_forget(struct idempotency_question *question)
{
	question->pending = NULL;
	for (size_t i = 0; i < 8; i++) {
		if (fake_filter.open[i] == question)
			fake_filter.open[i] = NULL;
	}
}

static void filter_answers(void)
{
	for (size_t i = 0; i < 8; i++) {
		if (fake_filter.open[i] == NULL)
			continue;
		fill(fake_filter.open[i]);
		fake_filter.open[i]->pending = NULL;
		fake_filter.open[i] = NULL;
	}
}

static size_t questions_open(void)
{
	size_t count = 0;
	for (size_t i = 0; i < 8; i++)
		count += fake_filter.open[i] != NULL;
	return count;
}

/* ---- the webhook ---- */

static struct webhook *webhook;
static struct webhook_options options;
static struct twilio_accounts *accounts;
static struct raw_client client;
static bool ready = true;
static bool webhook_is_closed;

static bool health(void *data, struct buffer *body)
{
	cr_assert_eq(data, &ready);
	buffer_append_cstr(body, "{\"what\":\"health\"}");
	return ready;
}

static struct twilio_accounts *build_accounts(const char *tokens)
{
	struct error error = {0};
	struct twilio_accounts *built = twilio_accounts_new();
	cr_assert_eq(twilio_accounts_add(built, AC, tokens, NULL, NULL, &error), 0);
	cr_assert_eq(twilio_accounts_add(built, AC_OTHER, OTHER_TOKEN, NULL, NULL, &error), 0);
	return built;
}

static void setup(void)
{
	static const struct idempotency_ops ops = {.kind = "redis", .ask = filter_ask, .forget = filter_forget};
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	fixture_init();
	fake_filter.filter.ops = &ops;
	accounts = build_accounts(TOKEN "," OLD_TOKEN);
	options = (struct webhook_options){
		.listen = "127.0.0.1:0",
		.filter = &fake_filter.filter,
		.accounts = accounts,
		.metrics = fixture.metrics,
		.validate_signature = true,
		.ack_timeout_ms = 10000,
		.max_connections = 64,
		.max_body = 4096,
		.header_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
		.health = health,
		.data = &ready,
	};
}

static void start(void)
{
	struct error error = {0};
	cr_assert_eq(webhook_new(&webhook, &fixture.loop, &options, &error), 0, "%s", error.detail);
	raw_connect_port(&client, webhook_port(webhook));
}

static void on_webhook_closed(void *data)
{
	cr_assert_eq(data, &webhook);
	webhook_is_closed = true;
}

static void close_webhook(void)
{
	webhook_close(webhook, on_webhook_closed, &webhook);
	cr_assert_not(webhook_is_closed, "closed inside close");
	webhook = NULL;
}

static void teardown(void)
{
	if (webhook != NULL)
		close_webhook();
	while (fake_journal.count > 0)
		disk_says(0);
	if (client.open)
		raw_close(&client);
	TURN_UNTIL(webhook_is_closed);
	cr_assert_eq(questions_open(), 0, "a question was left open");
	twilio_accounts_free(&accounts);
	fixture_fini();
}

TestSuite(webhook, .init = setup, .fini = teardown, .timeout = 60);

/* ---- requests and answers ---- */

static struct reeld_form_field fields[EVENT_MAX_FIELDS];

/* What Twilio would sign: the URL, and the form of a POST. */
static const char *sign(const char *token, const char *base, const char *target, const char *form)
{
	static char signature[REELD_SIGNATURE_SIZE];
	static char scratch[8192];
	struct reeld_signature_key *key = reeld_signature_key_new(token, strlen(token));
	struct reeld_signature_request request = {
		.base = base, .base_len = strlen(base), .target = target, .target_len = strlen(target), .fields = fields};
	cr_assert_eq(
		reeld_form_parse(form, strlen(form), fields, EVENT_MAX_FIELDS, scratch, sizeof(scratch), &request.field_count),
		REELD_FORM_OK);
	cr_assert(reeld_signature_sign(key, &request, signature));
	reeld_signature_key_free(&key);
	return signature;
}

static void send_request(const char *method, const char *target, const char *type, const char *signature, const char *body)
{
	char text[16384];
	int len = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: t\r\n", method, target);
	if (type != NULL)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "Content-Type: %s\r\n", type);
	if (signature != NULL)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "X-Twilio-Signature: %s\r\n", signature);
	if (body != NULL)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	else
		len += snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
	REQUIRE(len < (int)sizeof(text));
	raw_send(&client, text, (size_t)len);
}

static struct {
	int status;
	char head[2048];
	char body[4096];
} answer;

/* Takes the next whole answer off what came. */
static void receive(void)
{
	const char *end;
	TURN_UNTIL((client.in.len > 0 && (end = strstr(buffer_cstr(&client.in), "\r\n\r\n")) != NULL) || client.ended);
	const char *text = buffer_cstr(&client.in);
	const char *length = strstr(text, "Content-Length: ");
	cr_assert(client.in.len > 0 && length != NULL, "no whole answer came: %s", text);
	size_t head_len = (size_t)(end + 4 - text);
	size_t body_len = strtoul(length + 16, NULL, 10);
	REQUIRE(head_len < sizeof(answer.head) && body_len < sizeof(answer.body));
	TURN_UNTIL(client.in.len >= head_len + body_len);
	text = buffer_cstr(&client.in);
	snprintf(answer.head, sizeof(answer.head), "%.*s", (int)head_len, text);
	snprintf(answer.body, sizeof(answer.body), "%.*s", (int)body_len, text + head_len);
	answer.status = (int)strtol(text + 9, NULL, 10);
	client.in.len -= head_len + body_len;
	memmove(client.in.data, client.in.data + head_len + body_len, client.in.len);
}

static void expect(int status, const char *body)
{
	receive();
	cr_assert_eq(answer.status, status, "%d, not %d: %s", answer.status, status, answer.body);
	cr_assert_str_eq(answer.body, body);
	cr_assert_not_null(strstr(answer.head, "\r\nContent-Type: application/json\r\n"), "%s", answer.head);
}

static void post_form(const char *form)
{
	send_request("POST", PATH, FORM, sign(TOKEN, "http://t", PATH, form), form);
}

/* A whole callback, to where the journal has it. */
static void post_to_the_disk(const char *form)
{
	size_t before = fake_journal.count;
	post_form(form);
	TURN_UNTIL(fake_journal.count == before + 1);
}

static void expect_silence(void)
{
	for (int i = 0; i < 5; i++)
		fixture_turn();
	cr_assert_eq(client.in.len, 0, "answered too early: %s", buffer_cstr(&client.in));
}

static double counted_at(const char *endpoint, const char *status, const char *outcome)
{
	return metrics_get(fixture.metrics, METRIC_WEBHOOKS, endpoint, status, outcome)->value;
}

static double counted(const char *status, const char *outcome)
{
	return counted_at("recording", status, outcome);
}

static double caught(void)
{
	return metrics_get(fixture.metrics, METRIC_DUPLICATES, "redis")->value;
}

/* ---- what is acknowledged, and when ---- */

Test(webhook, answers_only_when_the_event_is_on_disk)
{
	start();
	post_to_the_disk(COMPLETED);
	expect_silence();
	cr_assert_eq(webhook_busy(webhook), 1);
	disk_says(0);
	expect(200, ACCEPTED);
	cr_assert_eq(webhook_busy(webhook), 0);
	cr_assert_eq(counted("200", "accepted"), 1);
}

Test(webhook, each_status_has_its_answer)
{
	static const struct {
		const char *status;
		const char *message;
	} cases[] = {
		{"completed", "Recording accepted"},          {"COMPLETED", "Recording accepted"},
		{"failed", "Recording failure acknowledged"}, {"in-progress", "Recording in progress acknowledged"},
		{"absent", "Recording absent acknowledged"},  {"paused", "Unknown status acknowledged"},
		{"", "Unknown status acknowledged"},
	};
	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char form[512];
		char body[256];
		snprintf(form, sizeof(form), CALLBACK "%s", cases[i].status);
		snprintf(body, sizeof(body), "{\"success\":true,\"message\":\"%s\"}", cases[i].message);
		post_to_the_disk(form);
		expect_silence();
		disk_says(0);
		expect(200, body);
	}
	cr_assert_eq(counted("200", "accepted"), 7);
}

static void expect_event(const char *params)
{
	char scratch[8192];
	struct event event;
	struct slice payload = slice_make(fake_journal.payload, fake_journal.payload_len);
	cr_assert_eq(event_decode(&event, payload, scratch, sizeof(scratch)), 0);
	cr_assert_eq(event.kind, EVENT_RECORDING);
	cr_assert_str_eq(event.recording_sid.text, RE);
	cr_assert(slice_equal(event.params, slice_from_cstr(params)), "the parameters are not what came");
}

Test(webhook, the_journal_gets_the_parameters_as_they_came)
{
	static const char form[] = COMPLETED
		"&RecordingStartTime=Wed%2C+20%20Apr%202022%2023%3a45%3a25%20%2B0000&New.One=%C3%A9&x";
	start();
	post_to_the_disk(form);
	expect_event(form);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, a_get_carries_its_parameters_in_the_query)
{
	static const char target[] = PATH "?" COMPLETED "&a=%20";
	start();
	send_request("GET", target, NULL, sign(TOKEN, "http://t", target, ""), NULL);
	TURN_UNTIL(fake_journal.count == 1);
	expect_event(COMPLETED "&a=%20");
	disk_says(0);
	expect(200, ACCEPTED);
	send_request("GET", PATH, NULL, sign(TOKEN, "http://t", PATH, ""), NULL);
	expect(400, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}");
	send_request("GET", target, NULL, sign(TOKEN, "http://t", PATH, COMPLETED "&a=%20"), NULL);
	expect(403, "{\"error\":\"Invalid request signature\"}");
}

Test(webhook, a_conference_has_no_call)
{
	start();
	post_to_the_disk("ConferenceSid=" CF "&RecordingSid=" RE "&RecordingStatus=completed&AccountSid=" AC);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, answers_come_in_the_order_of_the_requests)
{
	start();
	post_to_the_disk(COMPLETED);
	post_form(CALLBACK "absent");
	expect_silence();
	disk_says(0);
	expect(200, ACCEPTED);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, "{\"success\":true,\"message\":\"Recording absent acknowledged\"}");
}

Test(webhook, a_client_that_goes_away_takes_nothing_with_it)
{
	fake_filter.late = true;
	start();
	post_to_the_disk(COMPLETED);
	raw_close(&client);
	expect_silence();
	disk_says(0);
	TURN_UNTIL(webhook_busy(webhook) == 0);
	cr_assert_eq(questions_open(), 0);
}

/* ---- what is refused ---- */

Test(webhook, each_malformed_field_is_named)
{
	static const struct {
		const char *form;
		const char *error;
	} cases[] = {
		{"AccountSid=" AC, "Missing required fields: CallSid or RecordingSid"},
		{"AccountSid=" AC "&CallSid=" CA, "Missing required fields: CallSid or RecordingSid"},
		{"AccountSid=" AC "&RecordingSid=" RE, "Missing required fields: CallSid or RecordingSid"},
		{"AccountSid=" AC "&RecordingSid=RE1&CallSid=" CA, "RecordingSid is not RE and 32 hex digits"},
		{"AccountSid=" AC "&RecordingSid=" RE "&CallSid=" CF, "CallSid is not CA and 32 hex digits"},
		{"AccountSid=" AC "&RecordingSid=" RE "&ConferenceSid=%22", "ConferenceSid is not CF and 32 hex digits"},
		{"AccountSid=AC1&RecordingSid=" RE "&CallSid=" CA, "AccountSid is not AC and 32 hex digits"},
		{COMPLETED "&RecordingDuration=1.5", "RecordingDuration is not a whole number of seconds"},
		{COMPLETED "&RecordingChannels=two", "RecordingChannels is not a whole number"},
		{COMPLETED "&ErrorCode=-1", "ErrorCode is not a whole number"},
	};
	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char body[256];
		snprintf(body, sizeof(body), "{\"error\":\"%s\"}", cases[i].error);
		post_form(cases[i].form);
		expect(400, body);
	}
	cr_assert_eq(counted("400", "bad_request"), 10);
	cr_assert_eq(fake_journal.taken, 0);
	cr_assert_eq(fake_filter.asked, 0);
}

Test(webhook, malformed_forms_are_refused_before_anything_is_read_from_them)
{
	static const char *const forms[] = {"a=%", "a=%4", "a=%zz", "a=%00", COMPLETED "&b=%0"};
	start();
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		send_request("POST", PATH, FORM, "x", forms[i]);
		receive();
		cr_assert_eq(answer.status, 400, "%s", forms[i]);
		cr_assert_eq(strncmp(answer.body, "{\"error\":\"", 10), 0, "%s", answer.body);
	}
	char many[8 * EVENT_MAX_FIELDS + 1] = "";
	for (int i = 0; i <= EVENT_MAX_FIELDS; i++)
		strcat(many, "a=1&");
	send_request("POST", PATH, FORM, "x", many);
	receive();
	cr_assert_eq(answer.status, 400);
}

/* One request that is wrong in every way, mended step by step: what is found first is what was wrong before. */
Test(webhook, checks_size_then_media_type_then_form_then_signature_then_fields)
{
	char large[5000];
	memset(large, '%', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	start();
	send_request("POST", PATH, "text/plain", NULL, "%");
	expect(415, "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}");
	send_request("POST", PATH, FORM, NULL, "%");
	receive();
	cr_assert_eq(answer.status, 400);
	send_request("POST", PATH, FORM, NULL, "CallSid=1&RecordingDuration=x");
	expect(403, "{\"error\":\"Invalid request signature\"}");
	post_form("CallSid=1&RecordingDuration=x");
	expect(400, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}");
	post_form("CallSid=1&RecordingDuration=x&RecordingSid=" RE);
	expect(400, "{\"error\":\"RecordingDuration is not a whole number of seconds\"}");
	post_form("CallSid=1&RecordingDuration=1&RecordingSid=" RE);
	expect(400, "{\"error\":\"CallSid is not CA and 32 hex digits\"}");
	post_to_the_disk("CallSid=" CA "&RecordingDuration=1&RecordingSid=" RE);
	disk_says(0);
	expect(200, "{\"success\":true,\"message\":\"Unknown status acknowledged\"}");
	send_request("POST", PATH, "text/plain", NULL, large); /* last: the connection ends with it */
	receive();
	cr_assert_eq(answer.status, 413);
	cr_assert_eq(strncmp(answer.body, "{\"error\":\"", 10), 0);
}

/* The whole answer but for its date. */
static const char *refused(const char *signature, const char *form)
{
	static char text[sizeof(answer.head) + sizeof(answer.body)];
	send_request("POST", PATH, FORM, signature, form);
	receive();
	char *date = strstr(answer.head, "Date: ");
	cr_assert_not_null(date);
	memset(date, '-', strlen("Date: Wed, 20 Apr 2022 23:45:25"));
	snprintf(text, sizeof(text), "%s%s", answer.head, answer.body);
	return text;
}

Test(webhook, without_the_signature_everybody_is_told_the_same_and_nothing_is_touched)
{
	static const char *const forms[] = {
		COMPLETED,
		"",
		"AccountSid=" AC_UNKNOWN "&CallSid=" CA "&RecordingSid=" RE,
		"AccountSid=" AC_OTHER "&CallSid=" CA "&RecordingSid=" RE,
		"AccountSid=nonsense&CallSid=" CA "&RecordingSid=" RE,
		"CallSid=" CA "&RecordingSid=" RE,
		"RecordingSid=nonsense&RecordingDuration=x",
		COMPLETED "&RecordingChannels=x",
	};
	static char first[8192];
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	fake_journal.refuse = ERR_JOURNAL_FULL;
	start();
	snprintf(first, sizeof(first), "%s", refused(NULL, forms[0]));
	cr_assert_not_null(strstr(first, "HTTP/1.1 403 Forbidden\r\n"));
	cr_assert_not_null(strstr(first, "\r\n\r\n{\"error\":\"Invalid request signature\"}"));
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		static const char *const signatures[] = {NULL, "", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "=" TOKEN};
		for (size_t s = 0; s < sizeof(signatures) / sizeof(signatures[0]); s++)
			cr_assert_str_eq(refused(signatures[s], forms[i]), first, "%s", forms[i]);
	}
	/* Signed, but by another account. */
	cr_assert_str_eq(refused(sign(OTHER_TOKEN, "http://t", PATH, COMPLETED), COMPLETED), first);
	/* Signed for another host and another path. */
	cr_assert_str_eq(refused(sign(TOKEN, "http://u", PATH, COMPLETED), COMPLETED), first);
	cr_assert_str_eq(refused(sign(TOKEN, "http://t", PATH "x", COMPLETED), COMPLETED), first);
	cr_assert_eq(fake_filter.asked, 0);
	cr_assert_eq(counted("403", "invalid_signature"), 1 + 8 * 5 + 3);
}

/* The event would be fetched with the credentials of the one, though the other had signed. */
Test(webhook, a_repeated_account_is_that_of_the_event_and_must_have_signed)
{
	static const char *const forms[] = {"AccountSid=" AC_OTHER "&" COMPLETED, COMPLETED "&AccountSid=" AC_OTHER};
	start();
	for (size_t i = 0; i < 2; i++) {
		cr_assert_not_null(strstr(refused(sign(OTHER_TOKEN, "http://t", PATH, forms[i]), forms[i]), " 403 "));
		post_to_the_disk(forms[i]);
		disk_says(0);
		expect(200, ACCEPTED);
	}
}

Test(webhook, every_token_of_the_account_signs_until_a_reload_takes_it_away)
{
	start();
	send_request("POST", PATH, FORM, sign(OLD_TOKEN, "http://t", PATH, COMPLETED), COMPLETED);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, ACCEPTED);
	struct twilio_accounts *fresh = build_accounts("a-new-one," TOKEN);
	webhook_set_accounts(webhook, fresh);
	twilio_accounts_free(&accounts);
	accounts = fresh;
	cr_assert_not_null(strstr(refused(sign(OLD_TOKEN, "http://t", PATH, COMPLETED), COMPLETED), " 403 "));
	send_request("POST", PATH, FORM, sign("a-new-one", "http://t", PATH, COMPLETED), COMPLETED);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, public_url_is_what_was_signed)
{
	options.public_url = "https://calls.example.com/hook/";
	start();
	send_request("POST", PATH, FORM, sign(TOKEN, "https://calls.example.com/hook", PATH, COMPLETED), COMPLETED);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, ACCEPTED);
	post_form(COMPLETED);
	expect(403, "{\"error\":\"Invalid request signature\"}");
}

Test(webhook, a_trusted_proxy_says_what_was_called)
{
	options.trusted_proxies = "127.0.0.0/8";
	start();
	char text[2048];
	snprintf(text, sizeof(text),
		 "POST " PATH " HTTP/1.1\r\nHost: t\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: calls.example.com\r\n"
		 "Content-Type: " FORM "\r\nX-Twilio-Signature: %s\r\nContent-Length: %zu\r\n\r\n" COMPLETED,
		 sign(TOKEN, "https://calls.example.com", PATH, COMPLETED), strlen(COMPLETED));
	raw_send_text(&client, text);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, without_validation_anybody_may)
{
	options.validate_signature = false;
	start();
	send_request("POST", PATH, FORM, NULL, COMPLETED);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, only_a_form_is_a_form)
{
	static const char *const forms[] = {FORM,
					    "Application/X-WWW-Form-URLencoded",
					    FORM "; charset=UTF-8",
					    FORM ";charset=utf-8",
					    FORM " ; charset=UTF-8",
					    FORM "\t"};
	static const char *const others[] = {
		"application/json", "multipart/form-data; boundary=x", FORM "x", "x" FORM, "", ";" FORM};
	start();
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		send_request("POST", PATH, forms[i], sign(TOKEN, "http://t", PATH, COMPLETED), COMPLETED);
		TURN_UNTIL(fake_journal.count == 1);
		disk_says(0);
		expect(200, ACCEPTED);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		send_request("POST", PATH, others[i], sign(TOKEN, "http://t", PATH, COMPLETED), COMPLETED);
		expect(415, "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}");
	}
	send_request("POST", PATH, NULL, "x", COMPLETED);
	expect(415, "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}");
	send_request("POST", PATH, NULL, sign(TOKEN, "http://t", PATH, ""), ""); /* nothing at all is an empty form */
	expect(400, "{\"error\":\"Missing required fields: CallSid or RecordingSid\"}");
}

Test(webhook, other_methods_and_paths)
{
	static const char *const methods[] = {"PUT", "DELETE", "PATCH", "OPTIONS"};
	static const char *const paths[] = {"/",        "/api",       "/api/twilio/recording/", "/api/twilio/Recording",
					    "/metrics", "/api/twilio"};
	start();
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		send_request(methods[i], PATH, FORM, NULL, "");
		expect(405, "{\"error\":\"Method not allowed\"}");
		cr_assert_not_null(strstr(answer.head, "\r\nAllow: GET, POST\r\n"));
	}
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		send_request("POST", paths[i], FORM, NULL, COMPLETED);
		expect(404, "{\"error\":\"Not found\"}");
	}
}

/* ---- when the disk refuses ---- */

Test(webhook, says_503_and_when_to_come_back_where_the_journal_takes_nothing)
{
	static const int codes[] = {ERR_JOURNAL_FULL, ERR_NO_SPACE, ERR_JOURNAL_FAILED, ERR_NOMEM, ERR_CANCELLED};
	start();
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		fake_journal.refuse = codes[i];
		post_form(COMPLETED);
		expect(503, "{\"error\":\"Temporarily unable to store the event\"}");
		cr_assert_not_null(strstr(answer.head, "\r\nRetry-After: 5\r\n"));
	}
	cr_assert_eq(counted("503", "unavailable"), 5);
	fake_journal.refuse = 0;
	post_to_the_disk(COMPLETED);
	disk_says(0);
	expect(200, ACCEPTED);
}

Test(webhook, says_503_where_the_disk_did_not_keep_it)
{
	options.ack_archived = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(ERR_JOURNAL_FAILED);
	expect(503, "{\"error\":\"Temporarily unable to store the event\"}");
	/* Even where the filter says, late, that it is archived: that is not what was asked. */
	fake_filter.late = true;
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	post_to_the_disk(COMPLETED);
	filter_answers();
	disk_says(ERR_NO_SPACE);
	expect(503, "{\"error\":\"Temporarily unable to store the event\"}");
}

/* ---- ACK=ledger ---- */

Test(webhook, with_ack_ledger_the_disk_is_not_enough)
{
	options.ack_ledger = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	expect_silence();
	webhook_committed(webhook, fake_journal.taken - 1);
	expect_silence();
	webhook_committed(webhook, fake_journal.taken);
	expect(200, ACCEPTED);
}

Test(webhook, with_ack_ledger_an_event_that_the_ledger_refuses_is_503)
{
	options.ack_ledger = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	webhook_refused(webhook, fake_journal.taken);
	webhook_committed(webhook, fake_journal.taken);
	expect(503, "{\"error\":\"Temporarily unable to store the event\"}");
}

Test(webhook, with_ack_ledger_a_ledger_that_does_not_commit_in_time_is_503)
{
	options.ack_ledger = true;
	options.ack_timeout_ms = 30;
	start();
	/* A remote filter may say what it wants: it is not the ledger. */
	fake_filter.late = true;
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	post_to_the_disk(COMPLETED);
	filter_answers();
	disk_says(0);
	expect(503, "{\"error\":\"Temporarily unable to store the event\"}");
	cr_assert_not_null(strstr(answer.head, "\r\nRetry-After: 5\r\n"));
	webhook_committed(webhook, fake_journal.taken);
	expect_silence();
}

/* ---- the filter ---- */

#define PROCESSED \
	"{\"success\":true,\"message\":\"Recording already processed\",\"recordingUrl\":\"https://x/\\\"quoted\\\".wav\"}"

Test(webhook, what_is_archived_already_is_answered_without_the_disk)
{
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	start();
	post_form(COMPLETED);
	expect(200, PROCESSED);
	cr_assert_eq(fake_journal.taken, 0);
	cr_assert_eq(counted("200", "duplicate"), 1);
	cr_assert_eq(caught(), 1);
}

Test(webhook, another_status_of_an_archived_recording_is_an_event_of_its_own)
{
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	start();
	post_to_the_disk(CALLBACK "absent");
	disk_says(0);
	expect(200, "{\"success\":true,\"message\":\"Recording absent acknowledged\"}");
	cr_assert_eq(caught(), 0);
}

Test(webhook, what_the_ledger_has_is_not_written_again)
{
	fake_filter.answer = IDEMPOTENCY_SEEN;
	start();
	post_form(COMPLETED);
	expect(200, ACCEPTED);
	cr_assert_eq(counted("200", "duplicate"), 1);
	post_form(CALLBACK "in-progress");
	expect(200, "{\"success\":true,\"message\":\"Recording in progress acknowledged\"}");
	cr_assert_eq(fake_journal.taken, 0);
	cr_assert_eq(caught(), 2);
}

Test(webhook, a_filter_that_answers_late_is_not_waited_for_but_heard)
{
	fake_filter.late = true;
	fake_filter.answer = IDEMPOTENCY_ARCHIVED;
	start();
	post_to_the_disk(COMPLETED);
	filter_answers();
	expect_silence();
	disk_says(0);
	expect(200, PROCESSED);
	cr_assert_eq(caught(), 1);
	post_to_the_disk(COMPLETED); /* no answer at all */
	disk_says(0);
	expect(200, ACCEPTED);
	cr_assert_eq(questions_open(), 0);
}

/* ---- ACK=archived ---- */

static struct sid sid_of(const char *text)
{
	struct sid sid;
	cr_assert(sid_parse(slice_from_cstr(text), "RE", &sid));
	return sid;
}

static void outcome(const char *recording, enum ledger_outcome what, const char *step, const char *url)
{
	struct sid sid = sid_of(recording);
	webhook_outcome(webhook, &sid, what, step, url);
}

Test(webhook, waits_for_the_outcome_and_tells_it)
{
	static const struct {
		enum ledger_outcome outcome;
		const char *step;
		int status;
		const char *body;
	} cases[] = {
		{LEDGER_OUTCOME_SKIPPED, NULL, 200,
		 "{\"success\":true,\"message\":\"Recording received but call not found in database\"}"},
		{LEDGER_OUTCOME_RELEASE, NULL, 200, ACCEPTED},
		{LEDGER_OUTCOME_RETRY, "transfer", 502, "{\"error\":\"Failed to fetch recording from Twilio\"}"},
		{LEDGER_OUTCOME_WAIT, "transfer", 502, "{\"error\":\"Failed to fetch recording from Twilio\"}"},
		{LEDGER_OUTCOME_DEAD, "describe", 502, "{\"error\":\"Failed to fetch recording from Twilio\"}"},
		{LEDGER_OUTCOME_RETRY, "store", 502, "{\"error\":\"Failed to upload recording to storage\"}"},
		{LEDGER_OUTCOME_DEAD, "lookup", 500, "{\"error\":\"Internal server error processing recording\"}"},
		{LEDGER_OUTCOME_DEAD, NULL, 500, "{\"error\":\"Internal server error processing recording\"}"},
	};
	options.ack_archived = true;
	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		post_to_the_disk(COMPLETED);
		disk_says(0);
		expect_silence();
		outcome(RE_OTHER, LEDGER_OUTCOME_DONE, NULL, "elsewhere");
		expect_silence();
		outcome(RE, cases[i].outcome, cases[i].step, NULL);
		expect(cases[i].status, cases[i].body);
	}
	post_to_the_disk(COMPLETED);
	disk_says(0);
	outcome(RE, LEDGER_OUTCOME_DONE, NULL, "file:///a \"b\"\n.wav");
	expect(200, "{\"success\":true,\"message\":\"Recording processed successfully\",\"recordingUrl\":\"file:///a "
		    "\\\"b\\\"\\n.wav\"}");
	outcome(RE, LEDGER_OUTCOME_DONE, NULL, "nobody waits any more");
	expect_silence();
}

static unsigned waits_told;

static void on_waits(void *data, const struct sid *recording_sid)
{
	cr_assert_eq(data, &ready);
	cr_assert_str_eq(recording_sid->text, RE);
	waits_told++;
}

Test(webhook, who_begins_to_wait_is_told_of_an_end_that_came_before)
{
	options.ack_archived = true;
	options.waits = on_waits;
	start();
	post_to_the_disk(COMPLETED);
	cr_assert_eq(waits_told, 0, "not before it is on disk");
	disk_says(0);
	expect_silence();
	cr_assert_eq(waits_told, 1);
	struct sid sid = sid_of(RE);
	webhook_archived_before(webhook, &sid, "file:///a.wav");
	expect(200, "{\"success\":true,\"message\":\"Recording already processed\",\"recordingUrl\":\"file:///a.wav\"}");
	webhook_archived_before(webhook, &sid, "nobody waits any more");
	expect_silence();
}

Test(webhook, all_that_wait_for_a_recording_are_told)
{
	struct raw_client second;
	options.ack_archived = true;
	start();
	post_to_the_disk(COMPLETED);
	raw_connect_port(&second, webhook_port(webhook));
	char text[1024];
	snprintf(text, sizeof(text),
		 "POST " PATH " HTTP/1.1\r\nHost: t\r\nContent-Type: " FORM
		 "\r\nX-Twilio-Signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
		 sign(TOKEN, "http://t", PATH, COMPLETED), strlen(COMPLETED), COMPLETED);
	raw_send_text(&second, text);
	TURN_UNTIL(fake_journal.count == 2);
	disk_says(0);
	disk_says(0);
	outcome("RE0123456789ABCDEF0123456789ABCDEF", LEDGER_OUTCOME_SKIPPED, NULL, NULL); /* either case */
	receive();
	cr_assert_eq(answer.status, 200);
	TURN_UNTIL(raw_has(&second, "call not found in database"));
	raw_close(&second);
}

Test(webhook, what_is_not_completed_waits_for_nothing)
{
	options.ack_archived = true;
	start();
	post_to_the_disk(CALLBACK "in-progress");
	disk_says(0);
	expect(200, "{\"success\":true,\"message\":\"Recording in progress acknowledged\"}");
}

Test(webhook, waits_no_longer_than_it_may)
{
	options.ack_archived = true;
	options.ack_timeout_ms = 60;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	uint64_t began = uv_hrtime();
	expect(200, ACCEPTED);
	cr_assert_geq(uv_hrtime() - began, 40 * 1000000);
	outcome(RE, LEDGER_OUTCOME_DONE, NULL, "too late");
	expect_silence();
}

Test(webhook, a_duplicate_waits_too_without_the_disk)
{
	options.ack_archived = true;
	fake_filter.answer = IDEMPOTENCY_SEEN;
	start();
	post_form(COMPLETED);
	TURN_UNTIL(fake_filter.asked == 1);
	expect_silence();
	outcome(RE, LEDGER_OUTCOME_DEAD, "store", NULL);
	expect(502, "{\"error\":\"Failed to upload recording to storage\"}");
	cr_assert_eq(fake_journal.taken, 0);
}

Test(webhook, closing_tells_those_that_wait_that_it_is_on_disk)
{
	options.ack_archived = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	expect_silence();
	close_webhook();
	expect(200, ACCEPTED);
}

Test(webhook, what_reaches_the_disk_while_closing_is_not_made_to_wait)
{
	options.ack_archived = true;
	start();
	post_to_the_disk(COMPLETED);
	close_webhook();
	disk_says(0);
	TURN_UNTIL(webhook_is_closed);
}

Test(webhook, draining_lets_the_busy_finish_and_takes_nobody_new)
{
	start();
	post_to_the_disk(COMPLETED);
	webhook_drain(webhook);
	expect_silence();
	cr_assert_eq(webhook_busy(webhook), 1);
	disk_says(0);
	expect(200, ACCEPTED);
	TURN_UNTIL(client.ended);
	cr_assert_eq(webhook_busy(webhook), 0);
}

/* ---- ACK=ledger ---- */

#define NOT_KEPT "{\"error\":\"Temporarily unable to store the event\"}"

Test(webhook, waits_for_the_ledger_where_that_is_wanted)
{
	options.ack_ledger = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	expect_silence();
	webhook_committed(webhook, 0);
	expect_silence();
	webhook_committed(webhook, 1);
	expect(200, ACCEPTED);
	post_to_the_disk(CALLBACK "absent");
	disk_says(ERR_NO_SPACE);
	expect(503, NOT_KEPT);
}

Test(webhook, says_503_where_the_ledger_does_not_commit_in_time)
{
	options.ack_ledger = true;
	options.ack_timeout_ms = 50;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	expect(503, NOT_KEPT);
	cr_assert_not_null(strstr(answer.head, "\r\nRetry-After: 5\r\n"));
	webhook_committed(webhook, 1);
	expect_silence();
}

Test(webhook, closing_promises_nothing_that_the_ledger_does_not_have)
{
	options.ack_ledger = true;
	start();
	post_to_the_disk(COMPLETED);
	disk_says(0);
	close_webhook();
	expect(503, NOT_KEPT);
}

Test(webhook, what_reaches_the_disk_while_closing_is_not_in_the_ledger)
{
	options.ack_ledger = true;
	start();
	post_to_the_disk(COMPLETED);
	close_webhook();
	disk_says(0);
	TURN_UNTIL(webhook_is_closed);
	cr_assert_eq(counted("200", "accepted"), 0);
	cr_assert_eq(counted("503", "unavailable"), 1);
}

/* ---- calls ---- */

#define INCOMING "/api/twilio/incoming"
#define STATUS "/api/twilio/status"
#define CALL "AccountSid=" AC "&CallSid=" CA "&From=%2B15005550006&To=client%3Aearl&CallStatus="
#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define RECORD(base)                                                                                   \
	"<Start><Recording recordingStatusCallback=\"" base "/api/twilio/recording#rc=5&amp;rp=all\" " \
	"recordingStatusCallbackEvent=\"in-progress completed absent failed\"/></Start>"
#define TWIML(base) XML "<Response>" RECORD(base) "</Response>"
#define STATUS_ACCEPTED "{\"success\":true,\"message\":\"Call status accepted\"}"
#define UNKNOWN_STATUS "{\"success\":true,\"message\":\"Unknown status acknowledged\"}"
#define FORBIDDEN "{\"error\":\"Invalid request signature\"}"
#define NO_CALL "{\"error\":\"Missing required fields: CallSid\"}"

static void post_call(const char *path, const char *form)
{
	send_request("POST", path, FORM, sign(TOKEN, "http://t", path, form), form);
}

static void post_call_to_the_disk(const char *path, const char *form)
{
	size_t before = fake_journal.count;
	post_call(path, form);
	TURN_UNTIL(fake_journal.count == before + 1);
}

static void expect_twiml(const char *document)
{
	receive();
	cr_assert_eq(answer.status, 200, "%d: %s", answer.status, answer.body);
	cr_assert_str_eq(answer.body, document);
	cr_assert_not_null(strstr(answer.head, "\r\nContent-Type: text/xml\r\n"), "%s", answer.head);
}

static struct event journaled(void)
{
	static char scratch[8192];
	struct event event;
	struct slice payload = slice_make(fake_journal.payload, fake_journal.payload_len);
	cr_assert_eq(event_decode(&event, payload, scratch, sizeof(scratch)), 0);
	return event;
}

Test(webhook, an_incoming_call_is_answered_with_twiml_only_when_it_is_on_disk)
{
	static const char form[] = CALL "ringing&CallerCity=K%C3%B6ln&New";
	start();
	post_call_to_the_disk(INCOMING, form);
	expect_silence();
	cr_assert_eq(webhook_busy(webhook), 1);
	disk_says(0);
	expect_twiml(TWIML("http://t"));
	struct event event = journaled();
	cr_assert_eq(event.kind, EVENT_CALL_INCOMING);
	cr_assert_str_eq(event.call_sid.text, CA);
	cr_assert_str_eq(event.from, "+15005550006");
	cr_assert_str_eq(event.to, "client:earl");
	cr_assert_str_eq(event.call_status, "ringing");
	cr_assert(slice_equal(event.params, slice_from_cstr(form)), "the parameters are not what came");
	cr_assert_eq(counted_at("incoming", "200", "accepted"), 1);
	cr_assert_eq(counted("200", "accepted"), 0);
	cr_assert_eq(fake_filter.asked, 0, "the filter is about recordings");
}

Test(webhook, a_call_status_is_acknowledged_only_when_it_is_on_disk)
{
	static const char *const known[] = {"queued",    "initiated", "ringing",   "in-progress", "answered",
					    "completed", "busy",      "no-answer", "failed",      "canceled"};
	start();
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		char form[512];
		snprintf(form, sizeof(form), "%s%s&CallDuration=42&SequenceNumber=%zu", CALL, known[i], i);
		post_call_to_the_disk(STATUS, form);
		expect_silence();
		disk_says(0);
		expect(200, STATUS_ACCEPTED);
		struct event event = journaled();
		cr_assert_eq(event.kind, EVENT_CALL_STATUS);
		cr_assert_str_eq(event.call_status, known[i]);
		cr_assert_eq(event.duration_s, 42);
	}
	/* What we do not know is kept too. */
	post_call_to_the_disk(STATUS, CALL "parked");
	disk_says(0);
	expect(200, UNKNOWN_STATUS);
	post_call_to_the_disk(STATUS, "AccountSid=" AC "&CallSid=" CA);
	disk_says(0);
	expect(200, UNKNOWN_STATUS);
	cr_assert_eq(counted_at("status", "200", "accepted"), 12);
	cr_assert_eq(fake_filter.asked, 0);
}

Test(webhook, calls_come_by_get_too)
{
	static const char incoming[] = INCOMING "?" CALL "ringing";
	static const char status[] = STATUS "?" CALL "completed";
	start();
	send_request("GET", incoming, NULL, sign(TOKEN, "http://t", incoming, ""), NULL);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect_twiml(TWIML("http://t"));
	send_request("GET", status, NULL, sign(TOKEN, "http://t", status, ""), NULL);
	TURN_UNTIL(fake_journal.count == 1);
	disk_says(0);
	expect(200, STATUS_ACCEPTED);
	send_request("GET", status, NULL, sign(TOKEN, "http://t", incoming, ""), NULL);
	expect(403, FORBIDDEN);
}

Test(webhook, calls_are_checked_like_recordings)
{
	static const char *const paths[] = {INCOMING, STATUS};
	start();
	for (size_t i = 0; i < 2; i++) {
		const char *path = paths[i];
		const char *endpoint = i == 0 ? "incoming" : "status";
		send_request("PUT", path, FORM, NULL, "");
		expect(405, "{\"error\":\"Method not allowed\"}");
		cr_assert_not_null(strstr(answer.head, "\r\nAllow: GET, POST\r\n"));
		send_request("POST", path, "application/json", "x", "{}");
		expect(415, "{\"error\":\"Content-Type must be application/x-www-form-urlencoded\"}");
		send_request("POST", path, FORM, NULL, "a=%");
		receive();
		cr_assert_eq(answer.status, 400, "syntax before signature: %s", answer.body);
		/* Nothing about the fields before the signature holds. */
		send_request("POST", path, FORM, NULL, CALL "ringing");
		expect(403, FORBIDDEN);
		send_request("POST", path, FORM, "bm90IGl0", "CallSid=x");
		expect(403, FORBIDDEN);
		send_request("POST", path, FORM, sign(OTHER_TOKEN, "http://t", path, CALL "ringing"), CALL "ringing");
		expect(403, FORBIDDEN);
		send_request("POST", path, FORM, sign(TOKEN, "http://t", PATH, CALL "ringing"), CALL "ringing");
		expect(403, FORBIDDEN);
		send_request("POST", path, FORM, sign(TOKEN, "http://t", path, "AccountSid=" AC_UNKNOWN "&CallSid=" CA),
			     "AccountSid=" AC_UNKNOWN "&CallSid=" CA);
		expect(403, FORBIDDEN);
		post_call(path, "AccountSid=" AC "&RecordingSid=" RE);
		expect(400, NO_CALL);
		post_call(path, "AccountSid=" AC "&CallSid=");
		expect(400, NO_CALL);
		post_call(path, "AccountSid=" AC "&CallSid=" CF);
		expect(400, "{\"error\":\"CallSid is not CA and 32 hex digits\"}");
		post_call(path, CALL "completed&CallDuration=1.5");
		expect(400, "{\"error\":\"CallDuration is not a whole number of seconds\"}");
		cr_assert_eq(counted_at(endpoint, "403", "invalid_signature"), 5);
		cr_assert_eq(counted_at(endpoint, "400", "bad_request"), 5);
		cr_assert_eq(counted_at(endpoint, "405", "bad_request"), 1);
		cr_assert_eq(counted_at(endpoint, "415", "bad_request"), 1);
	}
	send_request("POST", INCOMING "/", FORM, NULL, CALL "ringing");
	expect(404, "{\"error\":\"Not found\"}");
	cr_assert_eq(fake_journal.taken, 0);
	cr_assert_eq(counted("403", "invalid_signature"), 0);
}

Test(webhook, the_twiml_says_greets_records_and_connects)
{
	options.greeting = "One & <two> \"three\" K\xc3\xb6ln";
	options.stream_url = "wss://bridge.example.com/a&b='c'";
	options.public_url = "https://hooks.example.com/a&b/";
	start();
	for (int i = 0; i < 2; i++) {
		send_request("POST", INCOMING, FORM, sign(TOKEN, "https://hooks.example.com/a&b", INCOMING, CALL "ringing"),
			     CALL "ringing");
		TURN_UNTIL(fake_journal.count == 1);
		disk_says(0);
		receive();
		cr_assert_eq(answer.status, 200);
		static const char *const parts[] = {
			XML "<Response><Say>One &amp; &lt;two&gt; ",
			"K\xc3\xb6ln</Say>" RECORD("https://hooks.example.com/a&amp;b"),
			"<Connect><Stream url=\"wss://bridge.example.com/a&amp;b=", "</Connect></Response>"};
		const char *at = answer.body;
		for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++) {
			at = strstr(at, parts[k]);
			cr_assert_not_null(at, "%zu: %s", k, answer.body);
			at += strlen(parts[k]);
		}
		cr_assert_str_eq(at, "");
	}
}

Test(webhook, the_callback_is_where_the_call_came_to)
{
	static const struct {
		const char *headers;
		const char *base;
		const char *document;
	} cases[] = {
		{"Host: calls.example.com:8443\r\n", "http://calls.example.com:8443", TWIML("http://calls.example.com:8443")},
		{"Host: t\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example, t\r\n", "https://b.example",
		 TWIML("https://b.example")},
		{"Host: t\r\nX-Forwarded-Proto: https\r\n", "https://t", TWIML("https://t")},
		/* What cannot stand in a URL that Twilio calls is left to Twilio, which knows where it called. */
		{"Host: a\"><Hangup/>\r\n", "http://a\"><Hangup/>", TWIML("")},
	};
	options.trusted_proxies = "127.0.0.0/8";
	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[2048];
		snprintf(text, sizeof(text),
			 "POST " INCOMING " HTTP/1.1\r\n%sContent-Type: " FORM
			 "\r\nX-Twilio-Signature: %s\r\nContent-Length: %zu\r\n\r\n%s",
			 cases[i].headers, sign(TOKEN, cases[i].base, INCOMING, CALL "ringing"), strlen(CALL "ringing"),
			 CALL "ringing");
		raw_send_text(&client, text);
		TURN_UNTIL(fake_journal.count == 1 || client.in.len > 0 || client.ended);
		if (fake_journal.count == 0) {
			receive();
			cr_assert_eq(answer.status, 403, "case %zu: %s", i, answer.body);
			continue;
		}
		disk_says(0);
		expect_twiml(cases[i].document);
	}
}

Test(webhook, a_call_that_the_disk_does_not_keep_is_503)
{
	static const char *const paths[] = {INCOMING, STATUS};
	start();
	for (size_t i = 0; i < 2; i++) {
		fake_journal.refuse = ERR_JOURNAL_FULL;
		post_call(paths[i], CALL "ringing");
		expect(503, NOT_KEPT);
		cr_assert_not_null(strstr(answer.head, "\r\nRetry-After: 5\r\n"));
		fake_journal.refuse = 0;
		post_call_to_the_disk(paths[i], CALL "ringing");
		disk_says(ERR_JOURNAL_FAILED);
		expect(503, NOT_KEPT);
		cr_assert_eq(counted_at(i == 0 ? "incoming" : "status", "503", "unavailable"), 2);
	}
	cr_assert_eq(counted("503", "unavailable"), 0);
}

Test(webhook, calls_wait_for_the_ledger_where_that_is_wanted)
{
	options.ack_ledger = true;
	start();
	post_call_to_the_disk(INCOMING, CALL "ringing");
	disk_says(0);
	expect_silence();
	webhook_committed(webhook, 1);
	expect_twiml(TWIML("http://t"));
	post_call_to_the_disk(STATUS, CALL "completed");
	disk_says(0);
	expect_silence();
	webhook_committed(webhook, 1);
	expect_silence();
	webhook_committed(webhook, 2);
	expect(200, STATUS_ACCEPTED);
	/* Among recordings. */
	post_to_the_disk(COMPLETED);
	disk_says(0);
	webhook_committed(webhook, 3);
	expect(200, ACCEPTED);
	post_call_to_the_disk(INCOMING, CALL "ringing");
	disk_says(0);
	close_webhook();
	expect(503, NOT_KEPT);
	cr_assert_eq(counted_at("incoming", "503", "unavailable"), 1);
}

Test(webhook, a_call_that_the_ledger_does_not_commit_in_time_is_503)
{
	options.ack_ledger = true;
	options.ack_timeout_ms = 30;
	start();
	post_call_to_the_disk(INCOMING, CALL "ringing");
	disk_says(0);
	expect(503, NOT_KEPT);
	post_call_to_the_disk(STATUS, CALL "completed");
	disk_says(0);
	expect(503, NOT_KEPT);
	webhook_committed(webhook, fake_journal.taken);
	expect_silence();
}

Test(webhook, a_call_that_reaches_the_disk_while_closing_is_not_in_the_ledger)
{
	options.ack_ledger = true;
	start();
	post_call_to_the_disk(STATUS, CALL "completed");
	close_webhook();
	disk_says(0);
	TURN_UNTIL(webhook_is_closed);
	cr_assert_eq(counted_at("status", "200", "accepted"), 0);
	cr_assert_eq(counted_at("status", "503", "unavailable"), 1);
}

Test(webhook, ack_archived_has_nothing_to_wait_for_at_calls)
{
	options.ack_archived = true;
	start();
	post_call_to_the_disk(INCOMING, CALL "ringing");
	disk_says(0);
	expect_twiml(TWIML("http://t"));
	post_call_to_the_disk(STATUS, CALL "completed");
	disk_says(0);
	expect(200, STATUS_ACCEPTED);
}

Test(webhook, a_caller_who_goes_away_takes_nothing_with_him)
{
	start();
	post_call_to_the_disk(INCOMING, CALL "ringing");
	raw_close(&client);
	expect_silence();
	disk_says(0);
	TURN_UNTIL(webhook_busy(webhook) == 0);
}

Test(webhook, twiml_that_cannot_be_written_stops_the_start)
{
	struct error error = {0};
	options.greeting = "\xff";
	cr_assert_eq(webhook_new(&webhook, &fixture.loop, &options, &error), ERR_CONFIG);
	cr_assert_null(webhook);
	cr_assert_not_null(strstr(error.detail, "GREETING"), "%s", error.detail);
	webhook_is_closed = true;
}

/* ---- health ---- */

Test(webhook, health_and_readiness)
{
	start();
	send_request("GET", "/healthz", NULL, NULL, NULL);
	expect(200, "{\"status\":\"ok\"}");
	cr_assert_not_null(strstr(answer.head, "\r\nCache-Control: no-store\r\n"));
	send_request("GET", "/readyz", NULL, NULL, NULL);
	expect(200, "{\"what\":\"health\"}");
	ready = false;
	send_request("GET", "/readyz", NULL, NULL, NULL);
	expect(503, "{\"what\":\"health\"}");
	send_request("GET", "/healthz?x=1", NULL, NULL, NULL);
	expect(200, "{\"status\":\"ok\"}");
	send_request("POST", "/readyz", NULL, NULL, "");
	expect(405, "{\"error\":\"Method not allowed\"}");
	cr_assert_not_null(strstr(answer.head, "\r\nAllow: GET, HEAD\r\n"));
	raw_send_text(&client,
		      "HEAD /healthz HTTP/1.1\r\nHost: t\r\n\r\nGET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
	TURN_UNTIL(client.ended);
	cr_assert_eq(raw_count(&client, "HTTP/1.1 200 OK\r\n"), 2);
	cr_assert_eq(raw_count(&client, "{\"status\":\"ok\"}"), 1, "a HEAD has no body");
	ready = true;
}

/* ---- the log ---- */

static char logged[1 << 20];

static size_t count_logged(const char *text)
{
	size_t count = 0;
	for (const char *at = logged; (at = strstr(at, text)) != NULL; at += strlen(text))
		count++;
	return count;
}

Test(webhook, refusals_cannot_fill_the_disk_with_log_lines)
{
	int ends[2];
	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	int kept = dup(STDERR_FILENO);
	start();
	log_configure(LOG_INFO, LOG_FORMAT_JSON);
	dup2(ends[1], STDERR_FILENO);
	uint64_t began = uv_hrtime();
	for (int i = 0; i < 200; i++) {
		send_request("POST", PATH, FORM, "wrong", COMPLETED);
		receive();
	}
	/* In a later second the rest is told as one number. */
	uint64_t seconds = 0;
	do {
		send_request("POST", PATH, FORM, "wrong", COMPLETED);
		receive();
		seconds = (uv_hrtime() - began) / 1000000000 + 2;
		ssize_t got = read(ends[0], logged + strlen(logged), sizeof(logged) - 1 - strlen(logged));
		(void)got;
	} while (count_logged("webhook.refusals_suppressed") == 0 && seconds < 20);
	dup2(kept, STDERR_FILENO);
	log_configure(LOG_OFF, LOG_FORMAT_JSON);
	cr_assert_geq(count_logged("\"webhook.refused\""), 10);
	cr_assert_leq(count_logged("\"webhook.refused\""), 10 * seconds);
	cr_assert_geq(count_logged("webhook.refusals_suppressed"), 1);
	cr_assert_eq(count_logged(TOKEN), 0);
	close(ends[0]);
	close(ends[1]);
	close(kept);
}

/* ---- start ---- */

Test(webhook, a_bad_proxy_list_stops_the_start_with_one_line)
{
	struct error error = {0};
	options.trusted_proxies = "10.0.0.0/8,here";
	cr_assert_eq(webhook_new(&webhook, &fixture.loop, &options, &error), ERR_CONFIG);
	cr_assert_null(webhook);
	cr_assert_not_null(strstr(error.detail, "TRUSTED_PROXIES: 'here'"));
	webhook_is_closed = true;
}

Test(webhook, an_address_in_use_is_an_error_and_still_closes)
{
	struct webhook *second = NULL;
	struct error error = {0};
	char address[32];
	start();
	snprintf(address, sizeof(address), "127.0.0.1:%d", webhook_port(webhook));
	options.listen = address;
	cr_assert_lt(webhook_new(&second, &fixture.loop, &options, &error), 0);
	cr_assert_not_null(second);
	cr_assert_not_null(strstr(error.detail, address), "%s", error.detail);
	webhook_close(second, on_webhook_closed, &webhook);
	TURN_UNTIL(webhook_is_closed);
	webhook_is_closed = false;
}
