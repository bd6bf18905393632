/* SPDX-License-Identifier: MIT */
/*
 * One request's easy handle: its options, curl's callbacks, and the translation of what curl says into ours.
 *
 * Callbacks of ours that want to stop curl set `status` first; curl then ends the transfer with an error of its own, which
 * is not looked at.
 */
#include "adapters/http_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_SECTION_MAX ((size_t)64 * 1024)
#define COLLECT_MAX_DEFAULT ((size_t)1024 * 1024)
#define CONNECT_TIMEOUT_DEFAULT_MS 10000
#define SPARE_MAX 64

/* ---- The answer ---- */

/* A blank line ended a header section. False: stop here. */
static bool headers_complete(struct http_transfer *transfer)
{
	struct http_client_request *request = transfer->request;
	long status = 0;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	request->http_status = status;
	if (status >= 100 && status <= 199)
		return true;
	/* What curl follows: any 3xx that says where to. */
	transfer->redirecting = request->max_redirects > 0 && status >= 300 && status <= 399 && transfer->has_location;
	if (transfer->redirecting) {
		if (!transfer->destination.with_credentials)
			return true;
		transfer->status = ERR_REDIRECT;
		transfer->destination.refused = true;
		return false;
	}
	transfer->headers_done = true;
	if (request->on_headers == NULL || request->on_headers(request))
		return true;
	request->refused = true;
	transfer->status = ERR_CANCELLED;
	return false;
}

static size_t on_curl_header(char *bytes, size_t size, size_t count, void *data)
{
	struct http_transfer *transfer = data;
	size_t len = size * count;
	struct slice line = slice_make(bytes, len);
	if (transfer->cancelled)
		return 0;
	transfer->idle_ms = 0;
	if (transfer->headers_done)
		return len; /* trailers */
	if (slice_starts_with(line, SLICE("HTTP/"))) {
		http_answer_reset(transfer->request);
		transfer->header_bytes = 0;
		transfer->has_location = false;
		transfer->redirecting = false;
		transfer->destination.with_credentials = false;
	}
	transfer->header_bytes += len;
	if (transfer->header_bytes > HEADER_SECTION_MAX) {
		transfer->status = ERR_PROTOCOL;
		return 0;
	}
	if (line.len > 0 && (line.ptr[0] == '\r' || line.ptr[0] == '\n'))
		return headers_complete(transfer) ? len : 0;
	struct slice name, value;
	bool named = http_answer_split(line, &name, &value);
	if (named && value.len > 0 && slice_equal_nocase(name, SLICE("Location"))) {
		transfer->has_location = true;
		if (transfer->request->max_redirects > 0)
			http_destination_location(transfer, value);
	}
	if (transfer->request->on_header != NULL && named)
		transfer->request->on_header(transfer->request, name, value);
	int status = http_answer_header(transfer->request, line, clock_wall_ms());
	if (status != 0) {
		transfer->status = status;
		return 0;
	}
	return len;
}

static size_t collect(struct http_transfer *transfer, const char *bytes, size_t len)
{
	int status = buffer_append(&transfer->collected, bytes, len);
	if (status == 0)
		return len;
	transfer->status = status == ERR_LIMIT ? ERR_TOO_LARGE : status;
	return 0;
}

static size_t on_curl_write(char *bytes, size_t size, size_t count, void *data)
{
	struct http_transfer *transfer = data;
	struct http_client_request *request = transfer->request;
	size_t len = size * count;
	if (transfer->cancelled)
		return 0;
	transfer->idle_ms = 0;
	size_t taken = request->on_receive == NULL ? collect(transfer, bytes, len) : request->on_receive(request, bytes, len);
	if (taken == HTTP_CLIENT_PAUSE) {
		transfer->paused_receive = true;
		if (transfer->resume_receive)
			http_client_note(transfer->client);
		return CURL_WRITEFUNC_PAUSE;
	}
	if (taken != len) {
		if (transfer->status == 0)
			transfer->status = ERR_CANCELLED;
		return 0;
	}
	request->received_bytes += len;
	return len;
}

/* ---- The request's body ---- */

static size_t on_curl_read(char *out, size_t size, size_t count, void *data)
{
	struct http_transfer *transfer = data;
	struct http_client_request *request = transfer->request;
	size_t cap = size * count;
	if (transfer->cancelled)
		return CURL_READFUNC_ABORT;
	transfer->idle_ms = 0;
	if (request->on_send == NULL) {
		size_t len = request->body.len - transfer->sent;
		if (len > cap)
			len = cap;
		if (len > 0)
			memcpy(out, request->body.ptr + transfer->sent, len);
		transfer->sent += len;
		return len;
	}
	size_t len = request->on_send(request, out, cap);
	if (len == HTTP_CLIENT_PAUSE) {
		transfer->paused_send = true;
		if (transfer->resume_send)
			http_client_note(transfer->client);
		return CURL_READFUNC_PAUSE;
	}
	if (len > cap) {
		transfer->status = ERR_CANCELLED;
		return CURL_READFUNC_ABORT;
	}
	return len;
}

/* A kept connection may turn out to be dead after part of the body went into it, and a redirect may want the body again. */
static int on_curl_seek(void *data, curl_off_t offset, int origin)
{
	struct http_transfer *transfer = data;
	struct http_client_request *request = transfer->request;
	if (origin != SEEK_SET || offset < 0)
		return CURL_SEEKFUNC_CANTSEEK;
	if (request->on_send != NULL) {
		bool rewound = offset == 0 && request->on_rewind != NULL && request->on_rewind(request);
		return rewound ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_CANTSEEK;
	}
	if ((uint64_t)offset > request->body.len)
		return CURL_SEEKFUNC_CANTSEEK;
	transfer->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* ---- Set up ---- */

static int on_curl_close(void *data, curl_socket_t fd)
{
	return http_client_socket_close(data, fd);
}

static bool has_header(const struct http_client_request *request, struct slice name)
{
	for (size_t i = 0; i < HTTP_CLIENT_MAX_HEADERS && request->headers[i] != NULL; i++) {
		struct slice header = slice_from_cstr(request->headers[i]);
		if (header.len > name.len && slice_equal_nocase(slice_make(header.ptr, name.len), name) &&
		    header.ptr[name.len] == ':')
			return true;
	}
	return false;
}

static bool add_header(struct http_transfer *transfer, const char *line)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, line);
	if (list != NULL)
		transfer->headers = list;
	return list != NULL;
}

static int set_headers(struct http_transfer *transfer)
{
	const struct http_client_request *request = transfer->request;
	for (size_t i = 0; i < HTTP_CLIENT_MAX_HEADERS && request->headers[i] != NULL; i++) {
		if (strpbrk(request->headers[i], "\r\n") != NULL)
			return ERR_INVALID;
		if (!add_header(transfer, request->headers[i]))
			return ERR_NOMEM;
	}
	/*
	 * A name without a value takes curl's own header away: waiting for "100 Continue" costs a second where it never
	 * comes, and a body is not a form unless the caller says so.
	 */
	if (!has_header(request, SLICE("Expect")) && !add_header(transfer, "Expect:"))
		return ERR_NOMEM;
	if (!has_header(request, SLICE("Content-Type")) && !add_header(transfer, "Content-Type:"))
		return ERR_NOMEM;
	bool chunked = request->on_send != NULL && request->send_length < 0;
	if (chunked && request->method == HTTP_POST && !add_header(transfer, "Transfer-Encoding: chunked"))
		return ERR_NOMEM;
	return curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK ? 0 : ERR_NOMEM;
}

static const char *method_name(enum http_method method)
{
	static const char *const names[] = {
		[HTTP_GET] = "GET", [HTTP_HEAD] = "HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT", [HTTP_DELETE] = "DELETE"};
	return names[method];
}

static void set_method(struct http_transfer *transfer)
{
	const struct http_client_request *request = transfer->request;
	CURL *easy = transfer->easy;
	curl_off_t length = request->on_send != NULL ? (curl_off_t)request->send_length : (curl_off_t)request->body.len;
	switch (request->method) {
	case HTTP_GET:
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
		break;
	case HTTP_HEAD:
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		break;
	case HTTP_POST:
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, length);
		break;
	case HTTP_PUT:
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, length);
		break;
	case HTTP_DELETE:
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
		break;
	}
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_curl_read);
	curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_curl_seek);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
}

static int set_connection(struct http_transfer *transfer)
{
	const struct http_client *client = transfer->client;
	const struct http_client_request *request = transfer->request;
	CURL *easy = transfer->easy;
	bool streamed = request->on_receive != NULL || request->on_send != NULL;
	long connect_timeout_ms = request->connect_timeout_ms != 0 ? (long)request->connect_timeout_ms
								   : CONNECT_TIMEOUT_DEFAULT_MS;
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->total_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)client->buffer_bytes);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)client->buffer_bytes);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	if (request->direct && curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK)
		return ERR_NOMEM;
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, client->unverified ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, client->unverified ? 0L : 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	/* In curl 7.88 a paused HTTP/2 stream stops every stream of its connection. What may pause has a connection to itself. */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, streamed ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(easy, CURLOPT_PIPEWAIT, streamed ? 0L : 1L);
	/* A proxy's answer to CONNECT is not the server's. */
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, http_destination_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	/* A connection outlives its transfer: closing is the client's. */
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_curl_close);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, client);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_destination_prereq);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	if (client->ca_file != NULL && curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file) != CURLE_OK)
		return ERR_NOMEM;
	if (curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent) != CURLE_OK)
		return ERR_NOMEM;
	if (request->username == NULL)
		return 0;
	curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	if (curl_easy_setopt(easy, CURLOPT_USERNAME, request->username) != CURLE_OK ||
	    curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password != NULL ? request->password : "") != CURLE_OK)
		return ERR_NOMEM;
	return 0;
}

/* Checks the URL and what a redirect from it may lead to. */
static int set_url(struct http_transfer *transfer)
{
	struct http_client_request *request = transfer->request;
	CURL *easy = transfer->easy;
	int status = ERR_INVALID;
	char *scheme = NULL;
	char *host = NULL;
	CURLU *url = curl_url();
	if (url == NULL)
		return ERR_NOMEM;
	/* Credentials in a URL would end up in messages. */
	CURLUcode parsed = curl_url_set(url, CURLUPART_URL, request->url, CURLU_DISALLOW_USER | CURLU_PATH_AS_IS);
	if (parsed == CURLUE_OK)
		parsed = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
	if (parsed == CURLUE_OK)
		parsed = curl_url_get(url, CURLUPART_HOST, &host, 0);
	if (parsed == CURLUE_OUT_OF_MEMORY) {
		status = ERR_NOMEM;
	} else if (parsed == CURLUE_OK && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)) {
		snprintf(transfer->host, sizeof(transfer->host), "%s", host);
		http_destination_begin(transfer, scheme, host);
		const char *onward = strcmp(scheme, "http") == 0 ? "http,https" : "https";
		if (curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK &&
		    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
		    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, onward) == CURLE_OK)
			status = 0;
		else
			status = ERR_NOMEM;
	}
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->max_redirects > 0 ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->max_redirects);
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(url);
	return status;
}

static int transfer_setup(struct http_transfer *transfer)
{
	CURL *easy = transfer->easy;
	int status = set_url(transfer);
	if (status == 0)
		status = set_headers(transfer);
	if (status == 0)
		status = set_connection(transfer);
	if (status != 0)
		return status;
	set_method(transfer);
	transfer->curl_error[0] = '\0';
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_curl_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_curl_write);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	return 0;
}

static struct http_transfer *transfer_new(void)
{
	struct http_transfer *transfer = calloc(1, sizeof(*transfer));
	if (transfer == NULL)
		return NULL;
	list_init(&transfer->link);
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL) {
		free(transfer);
		return NULL;
	}
	return transfer;
}

int http_transfer_open(struct http_client *client, struct http_client_request *request, struct http_transfer **ret)
{
	struct http_transfer *transfer;
	struct list *link = list_take(&client->spare);
	if (link != NULL) {
		client->spare_count--;
		transfer = LIST_ENTRY(link, struct http_transfer, link);
	} else {
		transfer = transfer_new();
		if (transfer == NULL)
			return ERR_NOMEM;
	}
	CURL *easy = transfer->easy;
	*transfer = (struct http_transfer){.client = client, .request = request, .easy = easy};
	list_init(&transfer->link);
	buffer_init(&transfer->collected, request->collect_max != 0 ? request->collect_max : COLLECT_MAX_DEFAULT);
	int status = transfer_setup(transfer);
	if (status != 0) {
		http_transfer_recycle(transfer);
		return status;
	}
	*ret = transfer;
	return 0;
}

void http_transfer_free(struct http_transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	buffer_free(&transfer->collected);
	free(transfer);
}

void http_transfer_recycle(struct http_transfer *transfer)
{
	struct http_client *client = transfer->client;
	if (client->spare_count == SPARE_MAX || client->closing) {
		http_transfer_free(transfer);
		return;
	}
	/* Nothing of a request, its credentials least of all, stays in a spare handle. */
	curl_easy_reset(transfer->easy);
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	buffer_free(&transfer->collected);
	list_append(&client->spare, &transfer->link);
	client->spare_count++;
}

/* ---- The result ---- */

static int translate(const struct http_transfer *transfer, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return ERR_RESOLVE;
	case CURLE_COULDNT_CONNECT:
	case CURLE_PROXY:
		return transfer->destination.refused && transfer->redirecting ? ERR_REDIRECT : ERR_CONNECT;
	case CURLE_OPERATION_TIMEDOUT:
		return transfer->begun ? ERR_TIMEOUT : ERR_CONNECT;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_ENGINE_NOTFOUND:
	case CURLE_SSL_ENGINE_SETFAILED:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return ERR_TLS;
	case CURLE_TOO_MANY_REDIRECTS:
		return ERR_REDIRECT;
	case CURLE_UNSUPPORTED_PROTOCOL: /* also an answer that is not HTTP */
	case CURLE_URL_MALFORMAT:
		return transfer->redirecting ? ERR_REDIRECT : ERR_PROTOCOL;
	case CURLE_SEND_FAIL_REWIND:
		return transfer->redirecting ? ERR_REDIRECT : ERR_RESET;
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
	case CURLE_SSL_SHUTDOWN_FAILED:
		return ERR_RESET;
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return ERR_PROTOCOL;
	case CURLE_OUT_OF_MEMORY: /* also what curl 7.88 says of a header line of more than 100 KB */
		return transfer->begun && !transfer->headers_done ? ERR_PROTOCOL : ERR_NOMEM;
	default:
		return ERR_IO;
	}
}

static const char *own_reason(const struct http_transfer *transfer, int status)
{
	if (transfer->request->refused)
		return "the answer was refused";
	if (transfer->destination.refused)
		return http_destination_reason(transfer);
	switch (status) {
	case ERR_TOO_LARGE:
		return "the answer is larger than allowed";
	case ERR_TIMEOUT:
		return "no byte moved for the stall timeout";
	case ERR_PROTOCOL:
		return "header section too large, or contradicting lengths";
	default:
		return err_text(status);
	}
}

int http_transfer_result(struct http_transfer *transfer, CURLcode code)
{
	struct http_client_request *request = transfer->request;
	int status;
	const char *reason;
	if (transfer->cancelled || transfer->status != 0) {
		status = transfer->status != 0 ? transfer->status : ERR_CANCELLED;
		reason = own_reason(transfer, status);
	} else {
		status = translate(transfer, code);
		reason = transfer->destination.refused     ? own_reason(transfer, status)
			 : transfer->curl_error[0] != '\0' ? transfer->curl_error
							   : curl_easy_strerror(code);
	}
	if (status != 0)
		error_set(&request->error, status, "%s %s: %s", method_name(request->method), transfer->host, reason);
	return status;
}
