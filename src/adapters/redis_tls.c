/* SPDX-License-Identifier: MIT */
#include "adapters/redis_internal.h"

#ifdef HAVE_HIREDIS_SSL

#include <arpa/inet.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

struct redis_tls {
	SSL_CTX *context;
	char host[256];
};

int redis_tls_new(struct redis_tls **ret, const char *host, struct error *error)
{
	struct redis_tls *tls = calloc(1, sizeof(*tls));
	*ret = tls;
	if (tls == NULL)
		return error_set(error, ERR_NOMEM, "out of memory");
	snprintf(tls->host, sizeof(tls->host), "%s", host);
	tls->context = SSL_CTX_new(TLS_client_method());
	if (tls->context == NULL || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_default_verify_paths(tls->context) != 1) {
		redis_tls_free(ret);
		return error_set(error, ERR_TLS, "Redis: OpenSSL cannot be set up");
	}
	SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
	return 0;
}

void redis_tls_free(struct redis_tls **tls)
{
	if (*tls != NULL)
		SSL_CTX_free((*tls)->context);
	free(*tls);
	*tls = NULL;
}

/* The peer must be whom the URL names, be it by name or by address. */
static bool expect_host(SSL *ssl, const char *host)
{
	struct in6_addr address;
	if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

int redis_tls_start(struct redis_tls *tls, redisAsyncContext *context, struct error *error)
{
	SSL *ssl = SSL_new(tls->context);
	if (ssl == NULL || !expect_host(ssl, tls->host)) {
		SSL_free(ssl);
		return error_set(error, ERR_TLS, "OpenSSL refuses the host name");
	}
	/* Owns the SSL from here on, also when it fails. The handshake goes on with the first reads and writes. */
	if (redisInitiateSSL(&context->c, ssl) != REDIS_OK)
		return error_set(error, ERR_TLS, "%s", context->c.errstr);
	return 0;
}

#else

int redis_tls_new(struct redis_tls **ret, const char *host, struct error *error)
{
	(void)host;
	*ret = NULL;
	return error_set(
		error, ERR_CONFIG,
		"REDIS_URL: rediss:// needs a reeld that was built with hiredis_ssl (hiredis 1.0 or later); use redis:// through "
		"stunnel, or unix:/path");
}

void redis_tls_free(struct redis_tls **tls)
{
	(void)tls;
}

int redis_tls_start(struct redis_tls *tls, redisAsyncContext *context, struct error *error)
{
	(void)tls;
	(void)context;
	return error_set(error, ERR_TLS, "not in this build");
}

#endif
