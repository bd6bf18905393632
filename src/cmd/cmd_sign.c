/* SPDX-License-Identifier: MIT */
/*
 * reeld sign: the signature Twilio would send with a request, or whether a given one is right. For trying a webhook out by hand
 * and for finding out why one is refused.
 */
#include "base/buffer.h"
#include "base/err.h"
#include "base/hex.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <reeld/signature.h>
#include <stdio.h>
#include <string.h>

#define MAX_FIELDS 1024
#define MAX_BODY ((size_t)16 << 20)
#define MAX_URL ((size_t)64 << 10)
#define BODY_HASH_PARAM "bodySHA256="

#define USAGE "reeld sign --url URL [--token TOKEN] [--verify SIGNATURE] [--body FILE [--form]] [NAME=VALUE ...]"
static const char usage[] = USAGE;
const char cmd_sign_help[] =
	"usage: " USAGE "\n"
	"\n"
	"The signature that Twilio would send with a request to URL, or whether a given one is right (exit status 0 or 1).\n"
	"\n"
	"  --url URL             as Twilio was given it\n"
	"  --token TOKEN         the auth token (TWILIO_AUTH_TOKEN; the first one signs, any may verify)\n"
	"  --verify SIGNATURE    of the X-Twilio-Signature header\n"
	"  --body FILE           the body as it was sent, e.g. JSON; - is standard input\n"
	"  --form                that body is a form\n"
	"  NAME=VALUE ...        the form's fields instead of a body\n";

struct sign {
	const char *url_option;
	const char *token_option;
	const char *body_path;
	const char *signature; /* to verify; NULL: sign */
	bool form;
	const char *tokens; /* comma list: the first signs, any may have signed */
	struct buffer url;
	struct buffer body;
	struct buffer scratch;
	struct reeld_form_field fields[MAX_FIELDS];
	size_t field_count;
};

static int usage_error(const char *message, const char *subject)
{
	return cmd_usage_error("sign", usage, "%s%s", message, subject);
}

static int failed(const char *subject, const char *reason)
{
	fprintf(stderr, "reeld sign: %s: %s\n", subject, reason);
	return CMD_FAILED;
}

/* Arguments */

static int parse_options(struct sign *sign, int argc, char **argv)
{
	static const struct option options[] = {
		{"url", required_argument, NULL, 'u'},  {"token", required_argument, NULL, 't'},
		{"body", required_argument, NULL, 'b'}, {"verify", required_argument, NULL, 'v'},
		{"form", no_argument, NULL, 'f'},       {NULL, 0, NULL, 0},
	};
	int option;

	opterr = 0;
	optind = 0; /* start over, wherever an earlier scan ended */
	while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (option) {
		case 'u':
			sign->url_option = optarg;
			break;
		case 't':
			sign->token_option = optarg;
			break;
		case 'b':
			sign->body_path = optarg;
			break;
		case 'v':
			sign->signature = optarg;
			break;
		case 'f':
			sign->form = true;
			break;
		case ':':
			return usage_error("a value is missing after ", argv[optind - 1]);
		default:
			return usage_error("unknown option ", argv[optind - 1]);
		}
	}
	return CMD_OK;
}

static int parse_fields(struct sign *sign, int argc, char **argv)
{
	for (int i = optind; i < argc; i++) {
		const char *equals = strchr(argv[i], '=');
		if (equals == NULL || equals == argv[i])
			return usage_error("expected NAME=VALUE, not ", argv[i]);
		if (sign->field_count == MAX_FIELDS)
			return usage_error("too many parameters", "");
		sign->fields[sign->field_count++] = (struct reeld_form_field){argv[i], (size_t)(equals - argv[i]), equals + 1,
									      strlen(equals + 1)};
	}
	return CMD_OK;
}

static int check_arguments(struct sign *sign, const struct config *config)
{
	if (sign->url_option == NULL || strstr(sign->url_option, "://") == NULL)
		return usage_error("--url must give the whole URL, like https://example.com/api/twilio/recording", "");
	if (sign->form && sign->body_path == NULL)
		return usage_error("--form says how to read --body, which is missing", "");
	if (sign->body_path != NULL && !sign->form && sign->field_count > 0)
		return usage_error("a raw --body has no parameters beside it (a form body needs --form)", "");
	sign->tokens = sign->token_option != NULL ? sign->token_option : config->twilio_auth_token;
	if (sign->tokens == NULL)
		return usage_error("no auth token: set TWILIO_AUTH_TOKEN or give --token", "");
	return CMD_OK;
}

/* The request */

static int read_stream(struct sign *sign, FILE *file)
{
	char chunk[16384];
	size_t len;

	while ((len = fread(chunk, 1, sizeof(chunk), file)) > 0) {
		int status = buffer_append(&sign->body, chunk, len);
		if (status != 0)
			return failed(sign->body_path, err_text(status));
	}
	return ferror(file) ? failed(sign->body_path, strerror(errno)) : CMD_OK;
}

static int read_body(struct sign *sign)
{
	if (strcmp(sign->body_path, "-") == 0)
		return read_stream(sign, stdin);
	FILE *file = fopen(sign->body_path, "re");
	if (file == NULL)
		return failed(sign->body_path, strerror(errno));
	int status = read_stream(sign, file);
	fclose(file);
	return status;
}

static int parse_form(struct sign *sign)
{
	size_t count;

	if (buffer_reserve(&sign->scratch, sign->body.len) != 0)
		return failed(sign->body_path, err_text(ERR_NOMEM));
	enum reeld_form_result result = reeld_form_parse(sign->body.data, sign->body.len, sign->fields + sign->field_count,
							 MAX_FIELDS - sign->field_count, sign->scratch.data, sign->body.len,
							 &count);
	sign->field_count += count;
	return result == REELD_FORM_OK ? CMD_OK : failed(sign->body_path, reeld_form_message(result));
}

/* Twilio binds a body that is no form by putting its hash into the URL it signs. */
static int append_body_hash(struct sign *sign)
{
	const char *url = buffer_cstr(&sign->url);
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int len;
	char hex[2 * EVP_MAX_MD_SIZE + 1];

	if (url == NULL)
		return failed("--url", err_text(ERR_NOMEM));
	if (strstr(url, "?" BODY_HASH_PARAM) != NULL || strstr(url, "&" BODY_HASH_PARAM) != NULL)
		return CMD_OK;
	if (EVP_Digest(sign->body.data, sign->body.len, hash, &len, EVP_sha256(), NULL) != 1)
		return failed("bodySHA256", "the crypto library failed");
	hex_encode(hash, len, hex);
	if (buffer_printf(&sign->url, "%c" BODY_HASH_PARAM "%s", strchr(url, '?') == NULL ? '?' : '&', hex) != 0)
		return failed("--url", err_text(ERR_LIMIT));
	fprintf(stderr, "URL: %s\n", buffer_cstr(&sign->url));
	return CMD_OK;
}

static int build_request(struct sign *sign, struct reeld_signature_request *request)
{
	/* The fragment (connection overrides) is not sent and not signed. */
	if (buffer_append(&sign->url, sign->url_option, strcspn(sign->url_option, "#")) != 0)
		return failed("--url", err_text(ERR_LIMIT));
	int status = sign->body_path == NULL ? CMD_OK : read_body(sign);
	if (status == CMD_OK && sign->form)
		status = parse_form(sign);
	bool raw = sign->body_path != NULL && !sign->form;
	if (status == CMD_OK && raw && sign->signature == NULL)
		status = append_body_hash(sign);
	*request = (struct reeld_signature_request){
		.base = sign->url.data,
		.base_len = sign->url.len,
		.fields = sign->fields,
		.field_count = sign->field_count,
		/* an empty file has no memory, but is a body all the same */
		.body = !raw                  ? NULL
			: sign->body.len == 0 ? ""
					      : sign->body.data,
		.body_len = sign->body.len,
	};
	return status;
}

/* The answer */

static struct slice next_token(const char **tokens)
{
	size_t len = strcspn(*tokens, ",");
	struct slice token = {*tokens, len};

	*tokens += len + ((*tokens)[len] == ',');
	while (token.len > 0 && token.ptr[0] == ' ')
		token = slice_make(token.ptr + 1, token.len - 1);
	while (token.len > 0 && token.ptr[token.len - 1] == ' ')
		token.len--;
	return token;
}

static int print_line(const char *line)
{
	return puts(line) == EOF || fflush(stdout) != 0 ? failed("standard output", strerror(errno)) : CMD_OK;
}

static int print_signature(struct sign *sign, struct reeld_signature_request *request)
{
	const char *tokens = sign->tokens;
	struct slice token = next_token(&tokens);
	char signature[REELD_SIGNATURE_SIZE];
	struct reeld_signature_key *key = reeld_signature_key_new(token.ptr, token.len);

	if (key == NULL)
		return failed("auth token", token.len == 0 ? "it is empty" : err_text(ERR_NOMEM));
	bool made = reeld_signature_sign(key, request, signature);
	bool right = made && reeld_signature_verify(key, request, signature, strlen(signature));
	reeld_signature_key_free(&key);
	if (!made)
		return failed("signature", "the crypto library failed");
	if (!right)
		return failed("--url", "its bodySHA256 is not the hash of --body");
	return print_line(signature);
}

static int print_verdict(struct sign *sign, struct reeld_signature_request *request)
{
	const char *tokens = sign->tokens;
	bool right = false;

	do {
		struct slice token = next_token(&tokens);
		struct reeld_signature_key *key = reeld_signature_key_new(token.ptr, token.len);
		if (key == NULL)
			return failed("auth token", token.len == 0 ? "it is empty" : err_text(ERR_NOMEM));
		right = reeld_signature_verify(key, request, sign->signature, strlen(sign->signature));
		reeld_signature_key_free(&key);
	} while (!right && *tokens != '\0');
	int status = print_line(right ? "valid" : "invalid");
	return right ? status : CMD_FAILED;
}

int cmd_sign(const struct config *config, int argc, char **argv)
{
	static struct sign sign; /* too large for the stack */
	struct reeld_signature_request request;

	sign = (struct sign){0};
	buffer_init(&sign.url, MAX_URL);
	buffer_init(&sign.body, MAX_BODY);
	buffer_init(&sign.scratch, MAX_BODY);
	int status = parse_options(&sign, argc, argv);
	if (status == CMD_OK)
		status = parse_fields(&sign, argc, argv);
	if (status == CMD_OK)
		status = check_arguments(&sign, config);
	if (status == CMD_OK)
		status = build_request(&sign, &request);
	if (status == CMD_OK)
		status = sign.signature == NULL ? print_signature(&sign, &request) : print_verdict(&sign, &request);
	buffer_free(&sign.url);
	buffer_free(&sign.body);
	buffer_free(&sign.scratch);
	return status;
}
