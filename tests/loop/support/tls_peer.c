/* SPDX-License-Identifier: MIT */
#include "loop/support/tls_peer.h"

#include "base/check.h"
#include "loop/support/certificate.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tls_peer {
	SSL_CTX *context;
	char certificate[64];
	const char *answer;
	int listener;
	int port;
	unsigned requests;
	pthread_mutex_t lock; /* of `text` */
	char text[4096];
	pthread_t thread;
};

static void make_certificate(struct tls_peer *peer, const char *name)
{
	X509 *certificate;
	EVP_PKEY *key;
	certificate_make(name, "test", &certificate, &key);
	REQUIRE(SSL_CTX_use_certificate(peer->context, certificate) == 1 && SSL_CTX_use_PrivateKey(peer->context, key) == 1);
	snprintf(peer->certificate, sizeof(peer->certificate), "/tmp/reeld-cert-XXXXXX");
	int fd = mkstemp(peer->certificate);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	REQUIRE(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void serve(struct tls_peer *peer, int fd)
{
	char text[4096];
	size_t len = 0;
	SSL *ssl = SSL_new(peer->context);
	REQUIRE(ssl != NULL && SSL_set_fd(ssl, fd) == 1);
	if (SSL_accept(ssl) != 1)
		goto out;
	while (len < sizeof(text) - 1) {
		int count = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));
		if (count <= 0)
			goto out;
		len += (size_t)count;
		text[len] = '\0';
		if (strstr(text, "\r\n\r\n") != NULL)
			break;
	}
	peer->requests++;
	pthread_mutex_lock(&peer->lock);
	memcpy(peer->text, text, len + 1);
	pthread_mutex_unlock(&peer->lock);
	SSL_write(ssl, peer->answer, (int)strlen(peer->answer));
	SSL_shutdown(ssl);
out:
	SSL_free(ssl);
}

static void *run(void *data)
{
	struct tls_peer *peer = data;
	int fd;
	/* Ends when the listener is shut down. */
	while ((fd = accept(peer->listener, NULL, NULL)) >= 0) {
		serve(peer, fd);
		close(fd);
	}
	return NULL;
}

struct tls_peer *tls_peer_new(const char *name, const char *answer)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	struct tls_peer *peer = calloc(1, sizeof(*peer));
	REQUIRE(peer != NULL);
	peer->answer = answer;
	pthread_mutex_init(&peer->lock, NULL);
	peer->context = SSL_CTX_new(TLS_server_method());
	REQUIRE(peer->context != NULL);
	make_certificate(peer, name);
	peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	REQUIRE(peer->listener >= 0 && bind(peer->listener, (struct sockaddr *)&at, sizeof(at)) == 0 &&
		listen(peer->listener, 8) == 0);
	REQUIRE(getsockname(peer->listener, (struct sockaddr *)&at, &len) == 0);
	peer->port = ntohs(at.sin_port);
	REQUIRE(pthread_create(&peer->thread, NULL, run, peer) == 0);
	return peer;
}

int tls_peer_port(const struct tls_peer *peer)
{
	return peer->port;
}

const char *tls_peer_certificate(const struct tls_peer *peer)
{
	return peer->certificate;
}

void tls_peer_request(struct tls_peer *peer, char *out, size_t size)
{
	pthread_mutex_lock(&peer->lock);
	snprintf(out, size, "%s", peer->text);
	pthread_mutex_unlock(&peer->lock);
}

unsigned tls_peer_close(struct tls_peer *peer)
{
	shutdown(peer->listener, SHUT_RDWR);
	pthread_join(peer->thread, NULL);
	unsigned requests = peer->requests;
	close(peer->listener);
	unlink(peer->certificate);
	SSL_CTX_free(peer->context);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
	return requests;
}
