/* SPDX-License-Identifier: MIT */
/* HTTPS: OpenSSL as the client, on the fixture's loop and over its raw connections, so that every byte between the two can be held, cut and replaced. */
#include "intake/tls.h"

#include "base/check.h"
#include "loop/intake/fixture.h"
#include "loop/support/certificate.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: t\r\n\r\n"

/* ---- files ---- */

static char directory[64];
static char certificate_path[96];
static char key_path[96];
static struct tls_context *context;

static FILE *open_for_writing(const char *path)
{
	FILE *file = fopen(path, "w");
	REQUIRE(file != NULL);
	return file;
}

static void write_text(const char *path, const char *text)
{
	FILE *file = open_for_writing(path);
	REQUIRE(fputs(text, file) >= 0 && fclose(file) == 0);
}

static void write_certificate(const char *common_name)
{
	X509 *certificate;
	EVP_PKEY *key;
	certificate_make("IP:127.0.0.1", common_name, &certificate, &key);
	FILE *file = open_for_writing(certificate_path);
	REQUIRE(PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
	file = open_for_writing(key_path);
	REQUIRE(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void reload(void)
{
	struct error error = {0};
	cr_assert_eq(tls_context_reload(context, certificate_path, key_path, &error), 0, "%s", error.detail);
}

/* ---- fixture ---- */

static void set_up(void)
{
	struct error error = {0};
	snprintf(directory, sizeof(directory), "/tmp/reeld-tls-XXXXXX");
	REQUIRE(mkdtemp(directory) != NULL);
	snprintf(certificate_path, sizeof(certificate_path), "%s/certificate.pem", directory);
	snprintf(key_path, sizeof(key_path), "%s/key.pem", directory);
	write_certificate("first");
	context = tls_context_new(certificate_path, key_path, &error);
	cr_assert_not_null(context, "%s", error.detail);
	fixture_init();
	fixture.options.tls = context;
}

static void tear_down(void)
{
	fixture_fini();
	tls_context_free(&context);
	unlink(certificate_path);
	unlink(key_path);
	cr_expect_eq(rmdir(directory), 0);
}

TestSuite(tls, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- the client ---- */

struct tls_client {
	struct raw_client raw;
	SSL_CTX *context;
	SSL *ssl;
	BIO *in;  /* what came */
	BIO *out; /* what is to be sent */
	struct buffer plain;
	bool failed;   /* handshake or record refused, by either side */
	bool notified; /* close_notify came */
};

/* What OpenSSL wants to send. */
static void send_records(struct tls_client *client)
{
	char *records;
	long len = BIO_get_mem_data(client->out, &records);
	if (len > 0)
		raw_send(&client->raw, records, (size_t)len);
	(void)BIO_reset(client->out);
}

/* Gives OpenSSL what came and takes from it what there is. */
static void client_work(struct tls_client *client)
{
	char bytes[16384];
	size_t len;
	if (client->raw.in.len > 0)
		REQUIRE(BIO_write(client->in, client->raw.in.data, (int)client->raw.in.len) == (int)client->raw.in.len);
	buffer_clear(&client->raw.in);
	ERR_clear_error();
	while (SSL_read_ex(client->ssl, bytes, sizeof(bytes), &len) == 1)
		cr_assert_eq(buffer_append(&client->plain, bytes, len), 0);
	int error = SSL_get_error(client->ssl, 0);
	client->notified = client->notified || error == SSL_ERROR_ZERO_RETURN;
	client->failed = client->failed || error == SSL_ERROR_SSL;
	send_records(client);
}

#define CLIENT_UNTIL(client, condition) TURN_UNTIL((client_work(client), (condition)))

static void client_connect(struct tls_client *client, int version)
{
	raw_connect(&client->raw);
	client->failed = client->notified = false;
	buffer_init(&client->plain, (size_t)64 << 20);
	client->context = SSL_CTX_new(TLS_client_method());
	client->in = BIO_new(BIO_s_mem());
	client->out = BIO_new(BIO_s_mem());
	REQUIRE(client->context != NULL && client->in != NULL && client->out != NULL);
	REQUIRE(SSL_CTX_set_min_proto_version(client->context, version) == 1);
	REQUIRE(SSL_CTX_set_max_proto_version(client->context, version) == 1);
	BIO_set_mem_eof_return(client->in, -1);
	BIO_set_mem_eof_return(client->out, -1);
	client->ssl = SSL_new(client->context);
	REQUIRE(client->ssl != NULL);
	SSL_set_bio(client->ssl, client->in, client->out);
	SSL_set_connect_state(client->ssl);
}

/* …and the handshake. */
static void client_open(struct tls_client *client, int version)
{
	client_connect(client, version);
	CLIENT_UNTIL(client, SSL_is_init_finished(client->ssl) == 1 || client->failed);
	cr_assert_not(client->failed);
}

static void client_write(struct tls_client *client, const char *text, size_t len)
{
	size_t written;
	cr_assert(SSL_write_ex(client->ssl, text, len, &written) == 1 && written == len);
}

static bool client_has(const struct tls_client *client, const char *text)
{
	return client->plain.len > 0 && memmem(client->plain.data, client->plain.len, text, strlen(text)) != NULL;
}

static void client_expect(struct tls_client *client, const char *send, const char *text)
{
	buffer_clear(&client->plain);
	client_write(client, send, strlen(send));
	CLIENT_UNTIL(client, client_has(client, text) || client->failed || client->raw.ended);
	cr_assert(client_has(client, text), "got: %s", buffer_cstr(&client->plain));
}

static const char *client_sees(const struct tls_client *client)
{
	static char name[64];
	X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(client->ssl)), NID_commonName, name,
				  sizeof(name));
	return name;
}

static void client_close(struct tls_client *client)
{
	SSL_free(client->ssl);
	SSL_CTX_free(client->context);
	buffer_free(&client->plain);
	raw_close(&client->raw);
}

/* ---- handshake and records ---- */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

Test(tls, both_versions_answer_one_request_after_the_other)
{
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		client_open(&client, versions[i]);
		cr_expect_eq(SSL_version(client.ssl), versions[i]);
		client_expect(&client, GET("/now"), "\r\n\r\nnow");
		client_expect(&client, GET("/echo"), "GET /echo host=t");
		client_expect(&client, GET("/now"), "\r\n\r\nnow");
		client_close(&client);
	}
	cr_expect_eq(fixture.requests, 6);
}

Test(tls, older_versions_are_refused)
{
	struct tls_client client;
	fixture_start();
	client_connect(&client, TLS1_1_VERSION);
	SSL_CTX_set_security_level(client.context, 0);
	SSL_set_security_level(client.ssl, 0);
	CLIENT_UNTIL(&client, client.failed);
	cr_expect_eq(SSL_is_init_finished(client.ssl), 0);
	client_close(&client);
	TURN_UNTIL(fixture_connections() == 0);
}

Test(tls, http_1_1_is_agreed_on_and_nothing_else)
{
	static const unsigned char both[] = "\x02h2\x08http/1.1", other[] = "\x02h2";
	const unsigned char *chosen;
	unsigned len;
	struct tls_client client;
	fixture_start();
	client_connect(&client, TLS1_3_VERSION);
	REQUIRE(SSL_set_alpn_protos(client.ssl, both, sizeof(both) - 1) == 0);
	CLIENT_UNTIL(&client, SSL_is_init_finished(client.ssl) == 1);
	SSL_get0_alpn_selected(client.ssl, &chosen, &len);
	cr_expect(len == 8 && memcmp(chosen, "http/1.1", 8) == 0);
	client_close(&client);
	client_connect(&client, TLS1_3_VERSION);
	REQUIRE(SSL_set_alpn_protos(client.ssl, other, sizeof(other) - 1) == 0);
	CLIENT_UNTIL(&client, client.failed);
	client_close(&client);
}

Test(tls, a_request_of_many_small_records_is_one_request)
{
	static const char request[] = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nsmall";
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		client_open(&client, versions[i]);
		for (size_t at = 0; at < sizeof(request) - 1; at++)
			client_write(&client, request + at, 1);
		CLIENT_UNTIL(&client, client_has(&client, "body=small"));
		cr_expect_eq(fixture.requests, i + 1);
		client_close(&client);
	}
}

Test(tls, a_handshake_and_a_request_may_come_byte_by_byte)
{
	struct tls_client client;
	fixture_start();
	client_connect(&client, TLS1_3_VERSION);
	while (!client_has(&client, "\r\n\r\nnow")) {
		char bytes[16384], *records;
		size_t len;
		if (client.raw.in.len > 0)
			BIO_write(client.in, client.raw.in.data, (int)client.raw.in.len);
		buffer_clear(&client.raw.in);
		if (SSL_is_init_finished(client.ssl) == 1 && fixture.requests == 0 && BIO_pending(client.out) == 0)
			client_write(&client, GET("/now"), sizeof(GET("/now")) - 1);
		while (SSL_read_ex(client.ssl, bytes, sizeof(bytes), &len) == 1)
			buffer_append(&client.plain, bytes, len);
		long count = BIO_get_mem_data(client.out, &records);
		for (long at = 0; at < count; at++) {
			raw_send(&client.raw, records + at, 1);
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		}
		(void)BIO_reset(client.out);
		fixture_turn();
	}
	client_close(&client);
}

Test(tls, what_is_no_tls_is_cut_and_the_next_one_is_served)
{
	static const char *const garbage[] = {GET("/now"), "\x16\x03\x01\x00\x05\xff\xff\xff\xff\xff",
					      "\x15\x03\x03\x00\x02\x02\x28", "\xff\xff\xff\xff\xff\xff"};
	struct raw_client raw;
	struct tls_client client;
	fixture_start();
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		raw_connect(&raw);
		raw_send(&raw, garbage[i], i == 1 ? 10 : i == 2 ? 7 : strlen(garbage[i]));
		TURN_UNTIL(raw.ended);
		cr_expect_not(raw_has(&raw, "HTTP/1.1"), "%zu", i);
		raw_close(&raw);
		TURN_UNTIL(fixture_connections() == 0);
		cr_expect_eq(fixture_closed_for("tls"), i + 1);
	}
	client_open(&client, TLS1_3_VERSION);
	client_expect(&client, GET("/now"), "\r\n\r\nnow");
	client_close(&client);
	cr_expect_eq(fixture.requests, 1);
}

Test(tls, a_record_that_was_changed_on_its_way_ends_the_connection)
{
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		char *records;
		client_open(&client, versions[i]);
		client_expect(&client, GET("/now"), "\r\n\r\nnow");
		client_write(&client, GET("/echo"), sizeof(GET("/echo")) - 1);
		long len = BIO_get_mem_data(client.out, &records);
		records[len - 1] ^= 1;
		CLIENT_UNTIL(&client, client.failed || client.raw.ended);
		TURN_UNTIL(fixture_connections() == 0);
		cr_expect_eq(fixture_closed_for("tls"), i + 1);
		cr_expect_eq(fixture.requests, i + 1);
		client_close(&client);
	}
}

/* ---- the end ---- */

Test(tls, a_close_notify_ends_an_idle_connection_in_order)
{
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		client_open(&client, versions[i]);
		client_expect(&client, GET("/now"), "\r\n\r\nnow");
		SSL_shutdown(client.ssl);
		CLIENT_UNTIL(&client, client.raw.ended);
		cr_expect_eq(fixture_closed_for("peer"), i + 1);
		client_close(&client);
	}
}

Test(tls, an_end_without_close_notify_is_an_end_too)
{
	struct tls_client client;
	fixture_start();
	client_open(&client, TLS1_3_VERSION);
	client_expect(&client, GET("/now"), "\r\n\r\nnow");
	raw_shutdown(&client.raw);
	TURN_UNTIL(fixture_closed_for("peer") == 1);
	client_close(&client);
	client_open(&client, TLS1_3_VERSION);
	client_write(&client, "GET /now HT", 11);
	send_records(&client);
	raw_shutdown(&client.raw);
	TURN_UNTIL(fixture_closed_for("peer_early") == 1);
	client_close(&client);
	cr_expect_eq(fixture.requests, 1);
}

Test(tls, the_last_answer_is_followed_by_a_close_notify)
{
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		client_open(&client, versions[i]);
		client_expect(&client, "GET /now HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "\r\n\r\nnow");
		CLIENT_UNTIL(&client, client.notified);
		cr_expect_not(client.failed);
		SSL_shutdown(client.ssl);
		CLIENT_UNTIL(&client, client.raw.ended);
		cr_expect_eq(client.raw.error, 0);
		TURN_UNTIL(fixture_closed_for("done") == i + 1);
		client_close(&client);
	}
}

/* ---- backpressure ---- */

#define BIG (INT64_C(24) << 20)
static int64_t filled;

static enum reply_fill fill(void *data, char *out, size_t cap, size_t *len)
{
	(void)data;
	*len = BIG - filled < (int64_t)cap ? (size_t)(BIG - filled) : cap;
	for (size_t i = 0; i < *len; i++)
		out[i] = (char)((filled + (int64_t)i) % 251);
	filled += (int64_t)*len;
	return filled == BIG ? REPLY_END : REPLY_MORE;
}

static bool streamed;

static void on_streamed(void *data, bool complete)
{
	(void)data;
	streamed = complete;
}

static void on_big(struct connection *connection, struct request *request)
{
	(void)request;
	filled = 0;
	reply_stream(connection, &(struct reply_stream){.status = 200, .length = BIG, .fill = fill, .done = on_streamed});
}

Test(tls, a_big_answer_waits_for_a_reader_that_pauses_and_comes_whole)
{
	fixture.on_other = on_big;
	fixture_start();
	for (size_t i = 0; i < 2; i++) {
		struct tls_client client;
		int64_t before = -1;
		streamed = false;
		client_open(&client, versions[i]);
		raw_pause(&client.raw);
		client_write(&client, GET("/big"), sizeof(GET("/big")) - 1);
		send_records(&client);
		/* Until the kernel takes no more. */
		TURN_UNTIL(filled > 0);
		for (int still = 0; still < 20; still = filled == before ? still + 1 : 0) {
			before = filled;
			fixture_turn();
		}
		cr_expect_lt(filled, BIG, "it went on without its reader");
		raw_resume(&client.raw);
		CLIENT_UNTIL(&client, client_has(&client, "\r\n\r\n"));
		const char *body = (const char *)memmem(client.plain.data, client.plain.len, "\r\n\r\n", 4) + 4;
		size_t head = (size_t)(body - client.plain.data);
		CLIENT_UNTIL(&client, client.plain.len >= head + BIG);
		cr_expect_eq(client.plain.len, head + BIG);
		for (size_t at = 0; at < BIG; at++)
			cr_assert_eq(client.plain.data[head + at], (char)(at % 251), "byte %zu", at);
		TURN_UNTIL(streamed);
		client_close(&client);
	}
}

/* ---- certificates ---- */

Test(tls, a_reload_is_for_new_connections_and_the_open_ones_go_on)
{
	struct tls_client old, fresh, between;
	fixture_start();
	client_open(&old, TLS1_2_VERSION);
	client_connect(&between, TLS1_3_VERSION);
	TURN_UNTIL(fixture_connections() == 2);
	write_certificate("second");
	reload();
	client_open(&fresh, TLS1_3_VERSION);
	cr_expect_str_eq(client_sees(&fresh), "second");
	client_expect(&fresh, GET("/now"), "\r\n\r\nnow");
	cr_expect_str_eq(client_sees(&old), "first");
	client_expect(&old, GET("/now"), "\r\n\r\nnow");
	CLIENT_UNTIL(&between, SSL_is_init_finished(between.ssl) == 1);
	cr_expect_str_eq(client_sees(&between), "first", "its connection was there before");
	client_expect(&between, GET("/now"), "\r\n\r\nnow");
	client_close(&old);
	client_close(&fresh);
	client_close(&between);
}

static void reload_fails(const char *certificate, const char *key, const char *first, const char *second)
{
	struct error error = {0};
	struct tls_client client;
	cr_expect_eq(tls_context_reload(context, certificate, key, &error), ERR_CONFIG);
	cr_expect_not_null(strstr(error.detail, first), "no \"%s\": %s", first, error.detail);
	cr_expect_not_null(strstr(error.detail, second), "no \"%s\": %s", second, error.detail);
	cr_expect_eq(tls_context_reload(context, certificate, key, NULL), ERR_CONFIG);
	client_open(&client, TLS1_3_VERSION);
	cr_expect_str_eq(client_sees(&client), "first");
	client_expect(&client, GET("/now"), "\r\n\r\nnow");
	client_close(&client);
}

Test(tls, a_reload_of_files_that_are_no_good_says_so_and_keeps_the_old_certificate)
{
	char good_key[96], good_certificate[96];
	fixture_start();
	snprintf(good_certificate, sizeof(good_certificate), "%s/good", directory);
	snprintf(good_key, sizeof(good_key), "%s/good.key", directory);
	REQUIRE(rename(certificate_path, good_certificate) == 0 && rename(key_path, good_key) == 0);
	reload_fails(certificate_path, good_key, "TLS_CERT", "No such file");
	reload_fails(good_certificate, key_path, "TLS_KEY", "No such file");
	write_text(certificate_path, "not PEM\n");
	reload_fails(certificate_path, good_key, "TLS_CERT", certificate_path);
	write_text(key_path, "");
	reload_fails(good_certificate, key_path, "TLS_KEY", key_path);
	write_certificate("other");
	reload_fails(good_certificate, key_path, "TLS_KEY", "mismatch");
	struct error error = {0};
	cr_expect_null(tls_context_new(good_certificate, key_path, &error));
	cr_expect_eq(error.code, ERR_CONFIG);
	unlink(good_certificate);
	unlink(good_key);
}
