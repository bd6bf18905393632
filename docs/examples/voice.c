/* SPDX-License-Identifier: MIT */
/*
 * A CGI program (RFC 3875) for a Twilio number, with all parts of libreeld. A call is greeted and recorded; when Twilio says that the
 * recording is done, the log gets the key under which reeld stores it, and a link to it that works for an hour.
 *
 *	cc -o voice.cgi voice.c $(pkg-config --cflags --libs libreeld)
 *
 * Environment beside CGI's own: TWILIO_AUTH_TOKEN; VOICE_URL, the URL of this program as Twilio has it; COUNTRY, where numbers without
 * '+' are from ("US"); S3_HOST ("bucket.s3.eu-central-1.amazonaws.com"), AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
 */
#include <reeld/form.h>
#include <reeld/phone.h>
#include <reeld/signature.h>
#include <reeld/sigv4.h>
#include <reeld/storage_key.h>
#include <reeld/twiml.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY_MAX 65536
#define FIELDS_MAX 128

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value == NULL ? "" : value;
}

static int refuse(const char *status, const char *why)
{
	fprintf(stderr, "voice: %s\n", why);
	printf("Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n", status, why);
	return 0;
}

/* Copies a field, with a NUL; "" when it is not there or does not fit. */
static void take(const struct reeld_form_field *fields, size_t count, const char *name, char *out, size_t size)
{
	const struct reeld_form_field *field = reeld_form_find(fields, count, name);

	*out = '\0';
	if (field == NULL || field->value_len >= size)
		return;
	memcpy(out, field->value, field->value_len);
	out[field->value_len] = '\0';
}

static bool is_genuine(struct reeld_form_field *fields, size_t count)
{
	const char *token = variable("TWILIO_AUTH_TOKEN"), *url = variable("VOICE_URL"),
		   *header = variable("HTTP_X_TWILIO_SIGNATURE");
	struct reeld_signature_request request = {.base = url, .base_len = strlen(url), .fields = fields, .field_count = count};
	struct reeld_signature_key *key = reeld_signature_key_new(token, strlen(token));
	bool genuine = key != NULL && reeld_signature_verify(key, &request, header, strlen(header));

	reeld_signature_key_free(&key);
	return genuine;
}

/* Says where the recording will be. */
static void log_recording(const char *call, const char *recording, time_t now)
{
	const struct reeld_sigv4_credentials credentials = {variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"),
							    NULL};
	const char *host = variable("S3_HOST");
	char path[512] = "/", scratch[REELD_SIGV4_SCRATCH_SIZE];
	struct reeld_sigv4_signed link;
	int len = reeld_storage_key(path + 1, sizeof(path) - 1, "recordings/", (int64_t)now * 1000, call, recording, "wav");

	if (len < 0) {
		fprintf(stderr, "voice: CallSid or RecordingSid is no SID\n");
		return;
	}
	fprintf(stderr, "voice: key %s\n", path + 1);
	struct reeld_sigv4_key *key = reeld_sigv4_key_new(&credentials, variable("AWS_REGION"), "s3");
	struct reeld_sigv4_pair headers[] = {{"host", 4, host, strlen(host)}};
	struct reeld_sigv4_request request = {
		.method = "GET",
		.path = path,
		.path_len = (size_t)len + 1,
		.flags = REELD_SIGV4_S3,
		.headers = headers,
		.header_count = 1,
		.payload_hash = REELD_SIGV4_UNSIGNED_PAYLOAD,
		.now_ms = (int64_t)now * 1000,
	};
	if (key != NULL && reeld_sigv4_presign(key, &request, 3600, scratch, sizeof(scratch), &link) == REELD_SIGV4_OK)
		fprintf(stderr, "voice: link https://%s%s\n", host, link.target);
	reeld_sigv4_key_free(&key);
}

/* Never a whole number in a log. */
static void log_caller(const char *from)
{
	struct reeld_phone phone;
	char masked[128];
	enum reeld_phone_result result = reeld_phone_parse(from, strlen(from), variable("COUNTRY"), &phone);

	if (result != REELD_PHONE_OK) {
		fprintf(stderr, "voice: a call from an unreadable number: %s\n", reeld_phone_message(result));
		return;
	}
	if (phone.kind == REELD_PHONE_NUMBER)
		reeld_phone_mask(phone.number, strlen(phone.number), masked, sizeof(masked));
	else
		reeld_phone_mask(phone.text, phone.text_len, masked, sizeof(masked));
	fprintf(stderr, "voice: a call from %s%s\n", masked, phone.kind == REELD_PHONE_WITHHELD ? " (withheld)" : "");
}

static int answer_call(void)
{
	static const char greeting[] = "This call is recorded & kept.";
	char callback[1024], out[4096];
	struct reeld_twiml twiml;
	size_t len;

	/* #rc=5&rp=all: Twilio tries again when the callback fails. */
	(void)snprintf(callback, sizeof(callback), "%s#rc=5&rp=all", variable("VOICE_URL"));
	const struct reeld_twiml_recording recording = {.callback = callback, .events = "completed absent", .channels = "dual"};
	reeld_twiml_begin(&twiml, out, sizeof(out));
	reeld_twiml_start_recording(&twiml, &recording);
	reeld_twiml_say(&twiml, greeting, strlen(greeting), NULL, "en-GB");
	enum reeld_twiml_result result = reeld_twiml_end(&twiml, &len);
	if (result != REELD_TWIML_OK)
		return refuse("500 Internal Server Error", reeld_twiml_message(result));
	printf("Content-Type: text/xml\r\n\r\n%s", out);
	return 0;
}

int main(void)
{
	static char body[BODY_MAX], scratch[BODY_MAX];
	static struct reeld_form_field fields[FIELDS_MAX];
	size_t len = fread(body, 1, sizeof(body), stdin), count;
	char call[64], recording[64], from[256];

	if (len == sizeof(body))
		return refuse("413 Content Too Large", "the form is too large");
	enum reeld_form_result result = reeld_form_parse(body, len, fields, FIELDS_MAX, scratch, sizeof(scratch), &count);
	if (result != REELD_FORM_OK)
		return refuse("400 Bad Request", reeld_form_message(result));
	if (!is_genuine(fields, count))
		return refuse("403 Forbidden", "the signature is wrong");
	take(fields, count, "CallSid", call, sizeof(call));
	take(fields, count, "RecordingSid", recording, sizeof(recording));
	take(fields, count, "From", from, sizeof(from));
	if (*recording == '\0') {
		log_caller(from);
		return answer_call();
	}
	/* reeld takes the date from RecordingStartTime; a program that looks for its objects does the same. */
	log_recording(call, recording, time(NULL));
	printf("Status: 204 No Content\r\n\r\n");
	return 0;
}
