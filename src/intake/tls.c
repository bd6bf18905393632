/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL behind a BIO of our own: it reads from the slice and writes to the buffer of the running call. OpenSSL's memory BIOs
 * would do as well, but never give back what they once grew to.
 */
#include "intake/tls.h"

#include "base/check.h"
#include "base/log.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

struct tls_context {
	SSL_CTX *ssl_ctx;
	BIO_METHOD *method;
};

struct tls_session {
	SSL *ssl;
	struct slice *input;   /* of the running call */
	struct buffer *output; /* of the running call */
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, int size)
{
	struct tls_session *session = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (session->input == NULL || session->input->len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t len = (size_t)size < session->input->len ? (size_t)size : session->input->len;
	memcpy(out, session->input->ptr, len);
	session->input->ptr += len;
	session->input->len -= len;
	return (int)len;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
	struct tls_session *session = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (session->output == NULL || buffer_append(session->output, bytes, (size_t)size) != 0)
		return -1;
	return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *make_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "reeld");
	if (method == NULL)
		return NULL;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	BIO_meth_set_create(method, bio_create);
	return method;
}

/* ---- context ---- */

static const char *last_reason(void)
{
	/* A file that cannot be opened: the first error is the system's, what follows only says that it came from there. */
	unsigned long first = ERR_peek_error();
	if (ERR_SYSTEM_ERROR(first))
		return strerror(ERR_GET_REASON(first));
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());
	return reason == NULL ? "unknown reason" : reason;
}

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len,
			   void *data)
{
	static const unsigned char ours[] = "\x08http/1.1";
	(void)ssl;
	(void)data;
	unsigned char *chosen;
	if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool configure(SSL_CTX *ctx)
{
	/* Tickets need no memory here; a cache would. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"reeld", 5);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
	return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL") == 1;
}

static SSL_CTX *load(const char *certificate, const char *key, struct error *error)
{
	ERR_clear_error();
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL || !configure(ctx))
		error_set(error, ERR_TLS, "cannot set up TLS: %s", last_reason());
	else if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
		error_set(error, ERR_CONFIG,
			  "TLS_CERT: cannot use \"%.150s\" (%s): want a PEM file, the server's certificate first", certificate,
			  last_reason());
	else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		error_set(error, ERR_CONFIG,
			  "TLS_KEY: cannot use \"%.150s\" (%s): want the PEM private key of TLS_CERT, without a passphrase", key,
			  last_reason());
	else
		return ctx;
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

struct tls_context *tls_context_new(const char *certificate, const char *key, struct error *error)
{
	struct tls_context *context = calloc(1, sizeof(*context));
	if (context == NULL || (context->method = make_method()) == NULL) {
		error_set(error, ERR_NOMEM, "cannot set up TLS: out of memory");
		free(context);
		return NULL;
	}
	context->ssl_ctx = load(certificate, key, error);
	if (context->ssl_ctx == NULL)
		tls_context_free(&context);
	return context;
}

int tls_context_reload(struct tls_context *context, const char *certificate, const char *key, struct error *error)
{
	struct error local = {0};
	SSL_CTX *fresh = load(certificate, key, error == NULL ? &local : error);
	if (fresh == NULL)
		return error == NULL ? local.code : error->code;
	SSL_CTX_free(context->ssl_ctx);
	context->ssl_ctx = fresh;
	return 0;
}

void tls_context_free(struct tls_context **context)
{
	struct tls_context *old = *context;
	*context = NULL;
	if (old == NULL)
		return;
	SSL_CTX_free(old->ssl_ctx);
	BIO_meth_free(old->method);
	free(old);
}

/* ---- session ---- */

struct tls_session *tls_session_new(struct tls_context *context)
{
	struct tls_session *session = calloc(1, sizeof(*session));
	if (session == NULL)
		return NULL;
	BIO *bio = BIO_new(context->method);
	session->ssl = SSL_new(context->ssl_ctx);
	if (bio == NULL || session->ssl == NULL) {
		BIO_free(bio);
		SSL_free(session->ssl);
		free(session);
		return NULL;
	}
	BIO_set_data(bio, session);
	SSL_set_bio(session->ssl, bio, bio);
	SSL_set_accept_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session **session)
{
	struct tls_session *old = *session;
	*session = NULL;
	if (old == NULL)
		return;
	SSL_free(old->ssl);
	free(old);
}

bool tls_session_established(const struct tls_session *session)
{
	return SSL_is_init_finished(session->ssl) == 1;
}

static void begin(struct tls_session *session, struct slice *input, struct buffer *output)
{
	session->input = input;
	session->output = output;
	ERR_clear_error();
}

static void end(struct tls_session *session)
{
	session->input = NULL;
	session->output = NULL;
}

int tls_session_read(struct tls_session *session, struct slice *input, char *plain, size_t cap, size_t *len,
		     struct buffer *output)
{
	begin(session, input, output);
	*len = 0;
	int got = SSL_read(session->ssl, plain, cap > INT_MAX ? INT_MAX : (int)cap);
	int code = got > 0 ? SSL_ERROR_NONE : SSL_get_error(session->ssl, got);
	end(session);
	switch (code) {
	case SSL_ERROR_NONE:
		*len = (size_t)got;
		return 0;
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return ERR_RESET;
	default:
		log_event(LOG_DEBUG, "tls.failed", LOG_STR("during", tls_session_established(session) ? "session" : "handshake"),
			  LOG_STR("error", last_reason()));
		ERR_clear_error();
		return ERR_TLS;
	}
}

int tls_session_write(struct tls_session *session, const char *plain, size_t len, struct buffer *output)
{
	if (len == 0)
		return 0;
	begin(session, NULL, output);
	size_t written = 0;
	int done = SSL_write_ex(session->ssl, plain, len, &written);
	end(session);
	ERR_clear_error();
	return done == 1 && written == len ? 0 : ERR_TLS;
}

void tls_session_close_notify(struct tls_session *session, struct buffer *output)
{
	begin(session, NULL, output);
	SSL_shutdown(session->ssl);
	end(session);
	ERR_clear_error();
}
