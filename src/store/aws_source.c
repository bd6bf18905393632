/* SPDX-License-Identifier: MIT */
/* Each source has a function find_x: FOUND, NOT_CONFIGURED or an error; the first that is not NOT_CONFIGURED ends the search. */
#include "store/aws_source.h"

#include "store/aws_file.h"
#include "store/aws_profile.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <strings.h>

#define PROFILE_FILE_MAX ((size_t)256 * 1024)
#define SESSION_NAME_DEFAULT "reeld"
#define NOT_CONFIGURED 1
#define FOUND 0

/* What one search hands around. */
struct search {
	const struct aws_variables *variables;
	struct aws_source *source;
	struct error *error;
};

const char *aws_source_name(enum aws_source_kind kind)
{
	switch (kind) {
	case AWS_SOURCE_ENVIRONMENT:
		return "environment";
	case AWS_SOURCE_WEB_IDENTITY:
		return "web identity";
	case AWS_SOURCE_PROFILE:
		return "profile";
	case AWS_SOURCE_CONTAINER:
		return "container";
	case AWS_SOURCE_INSTANCE:
		return "instance role";
	case AWS_SOURCE_NONE:
		break;
	}
	return "none";
}

void aws_source_wipe(struct aws_source *source)
{
	OPENSSL_cleanse(source, sizeof(*source));
	source->keys.expires_ms = -1;
}

static struct slice value_of(const struct search *search, enum aws_variable variable)
{
	const char *value = search->variables->values[variable];

	return slice_make(value == NULL ? "" : value, value == NULL ? 0 : strlen(value));
}

static bool is_set(const struct search *search, enum aws_variable variable)
{
	return search->variables->values[variable] != NULL;
}

/* The first that is set. */
static struct slice either(struct slice a, struct slice b)
{
	return a.len > 0 ? a : b;
}

static bool is_printable(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
			return false;
	}
	return true;
}

/* 0 or ERR_CONFIG about `what`; never the value, which may be a secret. */
static int copy(const struct search *search, char *out, size_t size, struct slice text, const char *what)
{
	if (text.len >= size || !is_printable(text))
		return error_set(search->error, ERR_CONFIG, "%s is %s", what, text.len >= size ? "too long" : "malformed");
	if (text.len > 0)
		memcpy(out, text.ptr, text.len);
	out[text.len] = '\0';
	return 0;
}

/* A complete pair of keys, with the names of both for the message. */
static int take_keys(const struct search *search, struct slice id, struct slice secret, struct slice token, const char *where)
{
	struct aws_keys *keys = &search->source->keys;

	if (!aws_keys_set(keys->access_key_id, sizeof(keys->access_key_id), id) ||
	    !aws_keys_set(keys->secret_access_key, sizeof(keys->secret_access_key), secret) ||
	    !aws_keys_set(keys->session_token, sizeof(keys->session_token), token))
		return error_set(search->error, ERR_CONFIG, "%s: key id, secret or session token has a space or is too long",
				 where);
	if (!aws_keys_complete(keys))
		return error_set(search->error, ERR_CONFIG, "%s: %s is missing", where,
				 id.len == 0 ? "the access key id" : "the secret access key");
	keys->expires_ms = -1;
	return FOUND;
}

static int find_environment(const struct search *search)
{
	if (!is_set(search, VARIABLE_AWS_ACCESS_KEY_ID) && !is_set(search, VARIABLE_AWS_SECRET_ACCESS_KEY))
		return NOT_CONFIGURED;
	search->source->kind = AWS_SOURCE_ENVIRONMENT;
	return take_keys(search, value_of(search, VARIABLE_AWS_ACCESS_KEY_ID), value_of(search, VARIABLE_AWS_SECRET_ACCESS_KEY),
			 value_of(search, VARIABLE_AWS_SESSION_TOKEN), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
}

/* ---- Profile files ---- */

struct profile_file {
	enum aws_profile_file kind;
	enum aws_variable variable;
	const char *below_home;
	char path[AWS_SOURCE_PATH_SIZE];
	struct aws_file file;
	struct aws_profile profile;
};

/* A file that is not there says nothing; one that was named and cannot be read is an error. */
static int read_profile_file(const struct search *search, struct profile_file *file, const char *name)
{
	const char *named = search->variables->values[file->variable];
	const char *home = search->variables->values[VARIABLE_HOME];
	struct error error = {0};

	int len = snprintf(file->path, sizeof(file->path), "%s%s",
			   named != NULL  ? named
			   : home != NULL ? home
					  : "",
			   named != NULL ? "" : file->below_home);
	if (named == NULL && home == NULL)
		return 0;
	if (len < 0 || (size_t)len >= sizeof(file->path))
		return error_set(search->error, ERR_CONFIG, "the path of an AWS profile file is too long");
	int status = aws_file_read(&file->file, file->path, PROFILE_FILE_MAX, &error);
	if (status == ERR_NOMEM)
		return error_set(search->error, status, "%s", error.detail);
	if (status != 0 && status != ERR_NOT_FOUND && named != NULL)
		return error_set(search->error, ERR_CONFIG, "%s", error.detail);
	return aws_profile_parse(aws_file_text(&file->file), file->kind, name, file->path, &file->profile, search->error);
}

static const char *profile_name(const struct search *search)
{
	const char *named = search->variables->values[VARIABLE_AWS_PROFILE];

	return named != NULL ? named : "default";
}

struct profile_files {
	struct profile_file config;
	struct profile_file shared;
};

static void close_profile_files(struct profile_files *files)
{
	aws_file_free(&files->config.file);
	aws_file_free(&files->shared.file);
}

/* To be closed, also after a failure. */
static int read_profile_files(const struct search *search, struct profile_files *files)
{
	const char *name = profile_name(search);

	*files = (struct profile_files){
		.config = {.kind = AWS_PROFILE_CONFIG, .variable = VARIABLE_AWS_CONFIG_FILE, .below_home = "/.aws/config"},
		.shared = {.kind = AWS_PROFILE_CREDENTIALS,
			   .variable = VARIABLE_AWS_SHARED_CREDENTIALS_FILE,
			   .below_home = "/.aws/credentials"},
	};
	int status = read_profile_file(search, &files->config, name);
	return status == 0 ? read_profile_file(search, &files->shared, name) : status;
}

static int find_region(const struct search *search, char *out, size_t size)
{
	struct profile_files files;
	struct slice region = either(value_of(search, VARIABLE_AWS_REGION), value_of(search, VARIABLE_AWS_DEFAULT_REGION));

	if (region.len > 0)
		return copy(search, out, size, region, "AWS_REGION");
	out[0] = '\0';
	int status = read_profile_files(search, &files);
	if (status == 0)
		status = copy(search, out, size, either(files.config.profile.region, files.shared.profile.region),
			      "the region of the AWS profile");
	close_profile_files(&files);
	return status;
}

/* ---- Web identity ---- */

/* A region becomes part of a host name. */
static bool is_region(const char *text)
{
	return text[0] != '\0' && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static int set_sts_url(const struct search *search, struct slice endpoint_url)
{
	struct aws_source *source = search->source;
	char region[64];
	struct slice endpoint = either(value_of(search, VARIABLE_AWS_ENDPOINT_URL_STS),
				       either(value_of(search, VARIABLE_AWS_ENDPOINT_URL), endpoint_url));

	if (endpoint.len > 0)
		return copy(search, source->url, sizeof(source->url), endpoint, "the endpoint URL of STS");
	int status = find_region(search, region, sizeof(region));
	if (status != 0)
		return status;
	if (region[0] == '\0') {
		(void)snprintf(source->url, sizeof(source->url), "https://sts.amazonaws.com/");
		return 0;
	}
	if (!is_region(region))
		return error_set(search->error, ERR_CONFIG, "%s is no AWS region: STS needs one, or AWS_ENDPOINT_URL_STS",
				 region);
	bool china = strncmp(region, "cn-", 3) == 0;
	(void)snprintf(source->url, sizeof(source->url), "https://sts.%s.amazonaws.com%s/", region, china ? ".cn" : "");
	return 0;
}

static int take_web_identity(const struct search *search, struct slice role, struct slice file, struct slice session,
			     struct slice endpoint_url)
{
	struct aws_source *source = search->source;
	int status;

	source->kind = AWS_SOURCE_WEB_IDENTITY;
	if (role.len == 0)
		return error_set(search->error, ERR_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not");
	status = copy(search, source->role_arn, sizeof(source->role_arn), role, "the role's ARN");
	if (status == 0)
		status = copy(search, source->token_file, sizeof(source->token_file), file, "the web identity token's file");
	if (status == 0)
		status = copy(search, source->session_name, sizeof(source->session_name),
			      either(session, SLICE(SESSION_NAME_DEFAULT)), "the role session name");
	return status == 0 ? set_sts_url(search, endpoint_url) : status;
}

static int find_web_identity(const struct search *search)
{
	if (!is_set(search, VARIABLE_AWS_WEB_IDENTITY_TOKEN_FILE))
		return NOT_CONFIGURED;
	return take_web_identity(search, value_of(search, VARIABLE_AWS_ROLE_ARN),
				 value_of(search, VARIABLE_AWS_WEB_IDENTITY_TOKEN_FILE),
				 value_of(search, VARIABLE_AWS_ROLE_SESSION_NAME), SLICE(""));
}

/* ---- Profile ---- */

/* What a profile can ask for that only the SDKs do. */
static int refuse_unsupported(const struct search *search, const struct aws_profile *profile, const char *name)
{
	const char *what = NULL;

	if (profile->source_profile.len > 0)
		what = "source_profile";
	else if (profile->credential_source.len > 0)
		what = "credential_source";
	else if (profile->credential_process.len > 0)
		what = "credential_process";
	else if (profile->sso_session.len > 0 || profile->sso_start_url.len > 0)
		what = "SSO";
	if (what == NULL)
		return NOT_CONFIGURED;
	search->source->kind = AWS_SOURCE_PROFILE;
	return error_set(search->error, ERR_CONFIG,
			 "AWS profile %s uses %s, which is not supported: use keys, or role_arn with web_identity_token_file",
			 name, what);
}

static int take_profile(const struct search *search, const struct aws_profile *config, const struct aws_profile *shared,
			const char *name)
{
	struct slice role = either(config->role_arn, shared->role_arn);
	struct slice token_file = either(config->web_identity_token_file, shared->web_identity_token_file);
	struct aws_source *source = search->source;
	char where[160];

	if (role.len > 0 && token_file.len > 0)
		return take_web_identity(search, role, token_file, either(config->role_session_name, shared->role_session_name),
					 either(config->endpoint_url, shared->endpoint_url));
	if (role.len > 0) {
		int status = refuse_unsupported(search, config, name);
		if (status == NOT_CONFIGURED)
			status = refuse_unsupported(search, shared, name);
		if (status != NOT_CONFIGURED)
			return status;
	}
	/* The pair comes from one file, the credentials file first. */
	bool in_shared = shared->access_key_id.len > 0 || shared->secret_access_key.len > 0;
	const struct aws_profile *keys = in_shared ? shared : config;
	if (keys->access_key_id.len > 0 || keys->secret_access_key.len > 0) {
		source->kind = AWS_SOURCE_PROFILE;
		(void)snprintf(where, sizeof(where), "AWS profile %.100s", name);
		return take_keys(search, keys->access_key_id, keys->secret_access_key, keys->session_token, where);
	}
	int status = refuse_unsupported(search, config, name);
	return status == NOT_CONFIGURED ? refuse_unsupported(search, shared, name) : status;
}

static int find_profile(const struct search *search)
{
	const char *name = profile_name(search);
	struct profile_files files;
	int status = read_profile_files(search, &files);

	if (status != 0) {
		search->source->kind = AWS_SOURCE_PROFILE;
	} else if (files.config.profile.found || files.shared.profile.found) {
		status = take_profile(search, &files.config.profile, &files.shared.profile, name);
	} else if (search->variables->values[VARIABLE_AWS_PROFILE] != NULL) {
		search->source->kind = AWS_SOURCE_PROFILE;
		status = error_set(search->error, ERR_CONFIG, "AWS_PROFILE=%.64s: no such profile in %.64s or %.64s", name,
				   files.config.path, files.shared.path);
	} else {
		status = NOT_CONFIGURED;
	}
	close_profile_files(&files);
	return status;
}

/* ---- Container ---- */

/* The host of "http://host:port/…", without brackets. False when it is no http(s) URL, or one with userinfo. */
static bool split_url(const char *url, bool *is_https, char *host, size_t size)
{
	*is_https = strncasecmp(url, "https://", 8) == 0;
	if (!*is_https && strncasecmp(url, "http://", 7) != 0)
		return false;
	const char *start = url + (*is_https ? 8 : 7);
	size_t authority = strcspn(start, "/?#\\");
	if (memchr(start, '@', authority) != NULL)
		return false;
	size_t len = strcspn(start, ":/?#\\");
	if (start[0] == '[') {
		start++;
		len = strcspn(start, "]/");
		if (start[len] != ']')
			return false;
	}
	if (len == 0 || len >= size)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	return true;
}

bool aws_source_url_is_safe(const char *url)
{
	/* ECS, EKS, EKS over IPv6: the addresses that AWS names */
	static const char *const metadata[] = {"169.254.170.2", "169.254.170.23", "fd00:ec2::23"};
	bool is_https;
	char host[256];
	struct in_addr v4;
	struct in6_addr v6, known;

	if (!is_printable(slice_from_cstr(url)) || !split_url(url, &is_https, host, sizeof(host)))
		return false;
	if (is_https || strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1) {
		return (ntohl(v4.s_addr) >> 24) == 127 || strcmp(host, metadata[0]) == 0 || strcmp(host, metadata[1]) == 0;
	}
	if (inet_pton(AF_INET6, host, &v6) != 1 || inet_pton(AF_INET6, metadata[2], &known) != 1)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&v6) || memcmp(&v6, &known, sizeof(v6)) == 0;
}

static int find_container(const struct search *search)
{
	struct slice relative = value_of(search, VARIABLE_AWS_CONTAINER_CREDENTIALS_RELATIVE_URI);
	struct slice full = value_of(search, VARIABLE_AWS_CONTAINER_CREDENTIALS_FULL_URI);
	struct aws_source *source = search->source;
	char *url = source->url;
	int status;

	if (relative.len == 0 && full.len == 0)
		return NOT_CONFIGURED;
	source->kind = AWS_SOURCE_CONTAINER;
	if (relative.len > 0) {
		int len = snprintf(url, sizeof(source->url), "http://169.254.170.2%s", relative.ptr);
		if (relative.ptr[0] != '/' || len < 0 || (size_t)len >= sizeof(source->url))
			return error_set(search->error, ERR_CONFIG,
					 "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is too long or does not begin with /");
	} else {
		status = copy(search, url, sizeof(source->url), full, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
		if (status != 0)
			return status;
	}
	if (!aws_source_url_is_safe(url))
		return error_set(
			search->error, ERR_CONFIG,
			"AWS_CONTAINER_CREDENTIALS_FULL_URI: http is allowed only to loopback and the container's metadata "
			"addresses, https to any host");
	status = copy(search, source->token_file, sizeof(source->token_file),
		      value_of(search, VARIABLE_AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE),
		      "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	if (status == 0 && source->token_file[0] == '\0')
		status = copy(search, source->token, sizeof(source->token),
			      value_of(search, VARIABLE_AWS_CONTAINER_AUTHORIZATION_TOKEN), "AWS_CONTAINER_AUTHORIZATION_TOKEN");
	return status;
}

/* ---- Instance ---- */

static int find_instance(const struct search *search)
{
	struct aws_source *source = search->source;
	struct slice mode = value_of(search, VARIABLE_AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE);
	struct slice endpoint = value_of(search, VARIABLE_AWS_EC2_METADATA_SERVICE_ENDPOINT);
	bool is_https;
	char host[256];

	if (slice_equal_nocase(value_of(search, VARIABLE_AWS_EC2_METADATA_DISABLED), SLICE("true")))
		return NOT_CONFIGURED;
	source->kind = AWS_SOURCE_INSTANCE;
	if (endpoint.len == 0)
		endpoint = slice_equal_nocase(mode, SLICE("IPv6")) ? SLICE("http://[fd00:ec2::254]")
								   : SLICE("http://169.254.169.254");
	while (endpoint.len > 0 && endpoint.ptr[endpoint.len - 1] == '/')
		endpoint.len--;
	int status = copy(search, source->url, sizeof(source->url), endpoint, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
	if (status == 0 && !split_url(source->url, &is_https, host, sizeof(host)))
		status = error_set(search->error, ERR_CONFIG, "AWS_EC2_METADATA_SERVICE_ENDPOINT is no http URL");
	return status;
}

/* ---- Public ---- */

int aws_source_find(const struct aws_variables *variables, bool instance_role, struct aws_source *source, struct error *error)
{
	struct search search = {.variables = variables, .source = source, .error = error};
	int (*const finders[])(const struct search *) = {find_environment, find_web_identity, find_profile, find_container};

	aws_source_wipe(source);
	int status = NOT_CONFIGURED;
	for (size_t i = 0; status == NOT_CONFIGURED && i < sizeof(finders) / sizeof(finders[0]); i++)
		status = finders[i](&search);
	if (status == NOT_CONFIGURED && instance_role)
		status = find_instance(&search);
	if (status == NOT_CONFIGURED)
		status = error_set(
			error, ERR_CONFIG,
			"no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or another source of the chain");
	return status;
}

int aws_source_find_region(const struct aws_variables *variables, char *out, size_t size, struct error *error)
{
	struct search search = {.variables = variables, .error = error};

	return find_region(&search, out, size);
}

int aws_source_read_token(struct aws_source *source, struct error *error)
{
	struct aws_file file;

	if (source->token_file[0] == '\0')
		return 0;
	int status = aws_file_read(&file, source->token_file, sizeof(source->token) - 1, error);
	if (status != 0)
		return status;
	struct slice token = aws_file_text(&file);
	while (token.len > 0 && (unsigned char)token.ptr[token.len - 1] <= ' ')
		token.len--;
	if (token.len == 0 || !is_printable(token)) {
		status = error_set(error, ERR_MALFORMED, "%s: %s", source->token_file,
				   token.len == 0 ? "is empty" : "has control characters");
	} else {
		memcpy(source->token, token.ptr, token.len);
		source->token[token.len] = '\0';
	}
	aws_file_free(&file);
	return status;
}
