/* SPDX-License-Identifier: MIT */
/*
 * One table (config.def), one loop over it: find the text of a variable (environment, env-file, VARIABLE_FILE, default), check it by its
 * kind, put it into its member. What concerns several variables is checked afterwards.
 */
#include "config.h"

#include "base/log.h"
#include "base/sid.h"
#include "config_value.h"
#include "env_file.h"
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_FILE_MAX ((size_t)64 * 1024)
#define VARIABLE_NAME_MAX 64
#define SHOWN_VALUE_MAX 60
#define JOURNAL_SEGMENT_MIN ((uint64_t)64 * 1024)

enum kind {
	KIND_TEXT_FIRST,
	KIND_ADDRESS = KIND_TEXT_FIRST,
	KIND_PATH,
	KIND_SECRET,
	KIND_TOKENS,
	KIND_DSN,
	KIND_URL,
	KIND_SID,
	KIND_CIDRS,
	KIND_PREFIX,
	KIND_WORD,
	KIND_SPEECH,
	KIND_STREAM,
	KIND_TEXT_LAST = KIND_STREAM,
	KIND_CHOICE,
	KIND_SWITCH,
	KIND_DURATION,
	KIND_SIZE,
	KIND_COUNT,
};

struct setting {
	enum kind kind;
	const char *variable;
	size_t offset; /* of the member in struct config */
	const char *default_value;
	const char *limits;
	const char *example;
	const char *doc;
};

#define SETTING(KIND, VARIABLE, member, default_value, limits, example, doc) \
	{KIND_##KIND, #VARIABLE, offsetof(struct config, member), default_value, limits, example, doc},
static const struct setting settings[] = {
#include "config.def"
};
#undef SETTING

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The order of the choices in config.def is that of the enums. */
_Static_assert(CONFIG_ACK_ACCEPTED == 0 && CONFIG_ACK_LEDGER == 1 && CONFIG_ACK_ARCHIVED == 2, "accepted|ledger|archived");
_Static_assert(CONFIG_UNKNOWN_CALL_FETCH == 0 && CONFIG_UNKNOWN_CALL_ARCHIVE == 1 && CONFIG_UNKNOWN_CALL_SKIP == 2,
	       "fetch|archive|skip");
_Static_assert(CONFIG_FORMAT_WAV == 0 && CONFIG_FORMAT_MP3 == 1, "wav|mp3");
_Static_assert(LOG_DEBUG == 0 && LOG_INFO == 1 && LOG_WARN == 2 && LOG_ERROR == 3 && LOG_OFF == 4, "debug|info|warn|error|off");
_Static_assert(LOG_FORMAT_JSON == 0 && LOG_FORMAT_TEXT == 1, "json|text");
_Static_assert(sizeof(enum config_ack) == sizeof(int), "a choice is stored as an int");

static bool is_text(enum kind kind)
{
	return kind >= KIND_TEXT_FIRST && kind <= KIND_TEXT_LAST;
}

static bool is_secret(enum kind kind)
{
	return kind == KIND_SECRET || kind == KIND_TOKENS || kind == KIND_DSN;
}

static void *member_of(struct config *config, const struct setting *setting)
{
	return (char *)config + setting->offset;
}

/* ---- Messages ---- */

/* A value as one short line can show it. */
static void show_value(const char *value, char out[SHOWN_VALUE_MAX + 4])
{
	size_t len = strlen(value);
	size_t shown = len > SHOWN_VALUE_MAX ? SHOWN_VALUE_MAX : len;
	for (size_t i = 0; i < shown; i++)
		out[i] = value[i] >= ' ' && value[i] <= '~' ? value[i] : '?';
	snprintf(out + shown, 4, "%s", len > shown ? "..." : "");
}

/* Also where a secret may stand by mistake: a token in place of a SID, a password in a URL. */
static bool may_show(const struct setting *setting, const char *value)
{
	if (setting->kind == KIND_URL || setting->kind == KIND_STREAM)
		return strchr(value, '@') == NULL;
	return !is_secret(setting->kind) && setting->kind != KIND_SID;
}

static int bad_value(const struct setting *setting, const char *value, const char *problem, struct error *error)
{
	if (!may_show(setting, value))
		return error_set(error, ERR_CONFIG, "%s: the value (not shown) %s; example: %s=%s", setting->variable, problem,
				 setting->variable, setting->example);
	char shown[SHOWN_VALUE_MAX + 4];
	show_value(value, shown);
	return error_set(error, ERR_CONFIG, "%s: \"%s\" %s; example: %s=%s", setting->variable, shown, problem, setting->variable,
			 setting->example);
}

static int no_memory(struct error *error)
{
	return error_set(error, ERR_CONFIG, "out of memory while reading the configuration");
}

/* ---- Where a value comes from ---- */

static const char *set_or_null(const char *value)
{
	return value == NULL || value[0] == '\0' ? NULL : value;
}

/* The environment wins, also with an empty value: that unsets what the file sets. NULL when unset. */
static const char *get_variable(const struct env_file *file, const char *variable)
{
	const char *value = getenv(variable);
	return set_or_null(value != NULL ? value : env_file_get(file, variable));
}

/* A variable and its _FILE are one pair: when the environment has one of them, the pair of the env-file is not looked at. */
static void get_pair(const struct env_file *file, const char *variable, const char *file_variable, const char **value,
		     const char **path)
{
	bool from_environment = getenv(variable) != NULL || getenv(file_variable) != NULL;
	*value = set_or_null(from_environment ? getenv(variable) : env_file_get(file, variable));
	*path = set_or_null(from_environment ? getenv(file_variable) : env_file_get(file, file_variable));
}

static int read_secret(const struct setting *setting, const char *file_variable, const char *path, char **ret,
		       struct error *error)
{
	struct error why;
	char *text;
	size_t len;
	if (text_file_read(path, SECRET_FILE_MAX, &text, &len, &why) != 0)
		return error_set(error, ERR_CONFIG, "%s: %s; example: %s=/run/secrets/reeld", file_variable, why.detail,
				 file_variable);
	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	if (len == 0) {
		free(text);
		return error_set(error, ERR_CONFIG, "%s: %s is empty; put the value of %s into it", file_variable, path,
				 setting->variable);
	}
	*ret = text;
	return 0;
}

/* *ret: the text to use, malloc'ed, or NULL when the variable is unset. */
static int find_value(const struct setting *setting, const struct env_file *file, char **ret, struct error *error)
{
	const char *value;
	*ret = NULL;
	if (is_secret(setting->kind)) {
		char file_variable[VARIABLE_NAME_MAX];
		const char *path;
		snprintf(file_variable, sizeof(file_variable), "%s_FILE", setting->variable);
		get_pair(file, setting->variable, file_variable, &value, &path);
		if (value != NULL && path != NULL)
			return error_set(error, ERR_CONFIG, "%s: is set and so is %s; unset one of them", setting->variable,
					 file_variable);
		if (path != NULL)
			return read_secret(setting, file_variable, path, ret, error);
	} else {
		value = get_variable(file, setting->variable);
	}
	if (value == NULL)
		return 0;
	*ret = strdup(value);
	return *ret == NULL ? no_memory(error) : 0;
}

/* ---- Checks by kind ---- */

/* NULL, or what is wrong with the text. */
static const char *text_problem(const struct setting *setting, const char *value)
{
	struct slice text = slice_from_cstr(value);
	struct slice host;
	uint16_t port;
	struct sid sid;
	switch (setting->kind) {
	case KIND_ADDRESS:
		return config_parse_address(text, &host, &port) ? NULL : "is not host:port";
	case KIND_URL:
		return config_url_valid(text) ? NULL : "is not an http(s) URL of scheme, host and path only";
	case KIND_SID:
		return sid_parse(text, setting->limits, &sid) ? NULL : "is not such a SID, two letters and 32 hex digits";
	case KIND_CIDRS:
		return config_cidrs_valid(text) ? NULL : "is not a comma list of networks";
	case KIND_TOKENS:
		return config_tokens_valid(text) ? NULL : "has an empty entry, white space or a character that is not ASCII";
	case KIND_SECRET:
	case KIND_DSN:
		return config_is_graphic(text) ? NULL : "has white space or a character that is not ASCII";
	case KIND_WORD:
		return config_is_graphic(text) ? NULL : "has white space or a character that is not ASCII";
	case KIND_SPEECH:
		return config_speech_valid(text) ? NULL : "is not UTF-8, has control characters or is longer than 4096 bytes";
	case KIND_STREAM:
		return config_stream_valid(text) ? NULL : "is not a wss:// URL without user, query and fragment";
	case KIND_PREFIX:
		return config_prefix_valid(text) ? NULL : "is not a relative path of letters, digits and ._-/";
	default:
		return NULL;
	}
}

static int set_text(struct config *config, const struct setting *setting, const char *value, struct error *error)
{
	if (setting->kind == KIND_ADDRESS && strcmp(setting->variable, "ADMIN_LISTEN") == 0 && strcmp(value, "off") == 0)
		return 0;
	const char *problem = text_problem(setting, value);
	if (problem != NULL)
		return bad_value(setting, value, problem, error);
	char *copy = strdup(value);
	if (copy == NULL)
		return no_memory(error);
	if (setting->kind == KIND_URL) {
		/* Paths are joined to it. */
		for (size_t len = strlen(copy); copy[len - 1] == '/'; len--)
			copy[len - 1] = '\0';
	}
	*(char **)member_of(config, setting) = copy;
	return 0;
}

static int set_choice(struct config *config, const struct setting *setting, const char *value, struct error *error)
{
	int index = config_parse_choice(slice_from_cstr(value), setting->limits);
	if (index < 0) {
		char problem[80];
		snprintf(problem, sizeof(problem), "is none of %s", setting->limits);
		return bad_value(setting, value, problem, error);
	}
	if (setting->kind == KIND_SWITCH)
		*(bool *)member_of(config, setting) = index == 1;
	else
		*(int *)member_of(config, setting) = index;
	return 0;
}

static bool parse_amount(enum kind kind, struct slice text, uint64_t *amount)
{
	int64_t ms;
	switch (kind) {
	case KIND_DURATION:
		if (!config_parse_duration(text, &ms))
			return false;
		*amount = (uint64_t)ms;
		return true;
	case KIND_SIZE:
		return config_parse_size(text, amount);
	default:
		return config_parse_count(text, amount);
	}
}

static int set_amount(struct config *config, const struct setting *setting, const char *value, struct error *error)
{
	uint64_t amount;
	/* A duration that is off unless it is set. */
	if (setting->kind == KIND_DURATION && strcmp(setting->default_value, "off") == 0 && strcmp(value, "off") == 0) {
		*(int64_t *)member_of(config, setting) = 0;
		return 0;
	}
	if (!parse_amount(setting->kind, slice_from_cstr(value), &amount))
		return bad_value(setting, value,
				 setting->kind == KIND_DURATION ? "is not a duration (number and ms, s, m, h or d)"
				 : setting->kind == KIND_SIZE   ? "is not a size (number and KiB, MiB, GiB or nothing)"
								: "is not a number",
				 error);
	const char *dots = strstr(setting->limits, "..");
	uint64_t low, high;
	bool limits_ok = parse_amount(setting->kind, slice_make(setting->limits, (size_t)(dots - setting->limits)), &low) &&
			 parse_amount(setting->kind, slice_from_cstr(dots + 2), &high);
	if (!limits_ok || amount < low || amount > high) {
		char problem[80];
		snprintf(problem, sizeof(problem), "is out of range (%s)", setting->limits);
		return bad_value(setting, value, problem, error);
	}
	if (setting->kind == KIND_DURATION)
		*(int64_t *)member_of(config, setting) = (int64_t)amount;
	else
		*(uint64_t *)member_of(config, setting) = amount;
	return 0;
}

static int set_value(struct config *config, const struct setting *setting, const char *value, struct error *error)
{
	if (is_text(setting->kind))
		return set_text(config, setting, value, error);
	if (setting->kind == KIND_CHOICE || setting->kind == KIND_SWITCH)
		return set_choice(config, setting, value, error);
	return set_amount(config, setting, value, error);
}

/* Another name for a variable of the table. */
static int set_named(struct config *config, const char *variable, const char *value, struct error *error)
{
	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		if (strcmp(settings[i].variable, variable) == 0)
			return set_value(config, &settings[i], value, error);
	}
	return 0;
}

/* ---- Special variables and what concerns several ---- */

/* PORT, as platforms give it, replaces the port of LISTEN. */
static int apply_port(struct config *config, const struct env_file *file, struct error *error)
{
	const char *text = get_variable(file, "PORT");
	uint64_t port;
	if (text == NULL)
		return 0;
	if (!config_parse_count(slice_from_cstr(text), &port) || port > UINT16_MAX) {
		char shown[SHOWN_VALUE_MAX + 4];
		show_value(text, shown);
		return error_set(error, ERR_CONFIG, "PORT: \"%s\" is not a port (0 to 65535); example: PORT=8080", shown);
	}
	int host_len = (int)(strrchr(config->listen, ':') - config->listen);
	char *listen;
	if (asprintf(&listen, "%.*s:%u", host_len, config->listen, (unsigned)port) < 0)
		return no_memory(error);
	free(config->listen);
	config->listen = listen;
	return 0;
}

static int check_together(const struct config *config, struct error *error)
{
	struct slice host;
	uint16_t port;
	if (config->admin_listen != NULL && config->admin_token == NULL &&
	    config_parse_address(slice_from_cstr(config->admin_listen), &host, &port) && !config_host_is_loopback(host))
		return error_set(error, ERR_CONFIG,
				 "ADMIN_TOKEN: is unset although ADMIN_LISTEN is not a loopback address; set it, or "
				 "ADMIN_LISTEN=127.0.0.1:9464");
	if ((config->tls_cert == NULL) != (config->tls_key == NULL))
		return error_set(error, ERR_CONFIG, "%s: is unset although %s is set; example: TLS_CERT=cert.pem TLS_KEY=key.pem",
				 config->tls_cert == NULL ? "TLS_CERT" : "TLS_KEY",
				 config->tls_cert == NULL ? "TLS_KEY" : "TLS_CERT");
	if ((config->twilio_api_key == NULL) != (config->twilio_api_secret == NULL))
		return error_set(error, ERR_CONFIG, "%s: is unset although %s is set; set both or none",
				 config->twilio_api_key == NULL ? "TWILIO_API_KEY" : "TWILIO_API_SECRET",
				 config->twilio_api_key == NULL ? "TWILIO_API_SECRET" : "TWILIO_API_KEY");
	if (config->twilio_api_key != NULL && config->twilio_account_sid == NULL)
		return error_set(error, ERR_CONFIG,
				 "TWILIO_ACCOUNT_SID: is unset although TWILIO_API_KEY is set; set the account of the key");
	if (config->journal_segment > config->journal_max / 2)
		return error_set(
			error, ERR_CONFIG,
			"JOURNAL_SEGMENT: is more than half of JOURNAL_MAX; example: JOURNAL_MAX=4GiB JOURNAL_SEGMENT=64MiB");
	if (config->retry_base_ms > config->retry_max_ms)
		return error_set(error, ERR_CONFIG, "RETRY_BASE: is more than RETRY_MAX; example: RETRY_BASE=2s RETRY_MAX=1h");
	return 0;
}

static int load_settings(struct config *config, const struct env_file *file, struct error *error)
{
	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		const struct setting *setting = &settings[i];
		char *value;
		int rc = find_value(setting, file, &value, error);
		if (rc != 0)
			return rc;
		const char *text = value != NULL ? value : setting->default_value;
		if (text[0] != '\0')
			rc = set_value(config, setting, text, error);
		if (value != NULL)
			explicit_bzero(value, strlen(value));
		free(value);
		if (rc != 0)
			return rc;
	}
	if (config->s3_endpoint == NULL) {
		const char *endpoint = get_variable(file, "AWS_ENDPOINT_URL_S3");
		int rc = endpoint == NULL ? 0 : set_named(config, "S3_ENDPOINT", endpoint, error);
		if (rc != 0)
			return rc;
	}
	if (get_variable(file, "LOG_FORMAT") == NULL && isatty(STDERR_FILENO))
		config->log_format = LOG_FORMAT_TEXT;
	/* Who bounds the journal tightly need not know of segments. */
	if (get_variable(file, "JOURNAL_SEGMENT") == NULL && config->journal_segment > config->journal_max / 4)
		config->journal_segment = config->journal_max / 4 < JOURNAL_SEGMENT_MIN ? JOURNAL_SEGMENT_MIN
											: config->journal_max / 4;
	int rc = apply_port(config, file, error);
	return rc != 0 ? rc : check_together(config, error);
}

/* ---- Public ---- */

int config_load(struct config *config, const char *env_file, struct error *error)
{
	*config = (struct config){0};
	config->file = calloc(1, sizeof(*config->file));
	if (config->file == NULL)
		return no_memory(error);
	if (env_file != NULL) {
		struct error why;
		if (env_file_read(config->file, env_file, &why) != 0) {
			config_free(config);
			return error_set(error, ERR_CONFIG, "--env-file: %s", why.detail);
		}
		config->env_file = strdup(env_file);
	}
	int rc = env_file != NULL && config->env_file == NULL ? no_memory(error) : load_settings(config, config->file, error);
	if (rc != 0)
		config_free(config);
	return rc;
}

int config_require_serve(const struct config *config, struct error *error)
{
	if (config->validate_signature && config->twilio_auth_token == NULL && config->twilio_accounts_file == NULL)
		return error_set(error, ERR_CONFIG,
				 "TWILIO_AUTH_TOKEN: is unset, so no webhook could be verified; set it, or TWILIO_ACCOUNTS_FILE "
				 "(to try reeld "
				 "without an account: reeld demo)");
	if (config->reconcile_every_ms != 0 && config->twilio_account_sid == NULL && config->twilio_accounts_file == NULL)
		return error_set(
			error, ERR_CONFIG,
			"RECONCILE_EVERY: needs TWILIO_ACCOUNT_SID or TWILIO_ACCOUNTS_FILE: whose recordings are to be listed?");
	if (config->twilio_api_key != NULL && config->twilio_auth_token == NULL && config->twilio_accounts_file == NULL)
		return error_set(
			error, ERR_CONFIG,
			"TWILIO_AUTH_TOKEN: is unset although TWILIO_API_KEY is set; set the token of that account too, since "
			"an API key verifies no signatures");
	char last[256];
	if (config->workers > 1 && config->admin_listen != NULL &&
	    workers_admin_address(config->admin_listen, (unsigned)config->workers - 1, last, sizeof(last)) != 0)
		return error_set(
			error, ERR_CONFIG,
			"WORKERS: each worker has a port of its own from that of ADMIN_LISTEN on, and there are not so many "
			"behind %s; example: ADMIN_LISTEN=127.0.0.1:9464",
			config->admin_listen);
	return 0;
}

/* What SIGHUP brings into force: app_reload. */
static bool is_reloaded(const char *variable)
{
	static const char *const reloaded[] = {
		"ADMIN_TOKEN",           "TLS_CERT",          "TLS_KEY",           "TWILIO_ACCOUNT_SID",     "TWILIO_AUTH_TOKEN",
		"TWILIO_ACCOUNTS_FILE",  "TWILIO_API_KEY",    "TWILIO_API_SECRET", "TWILIO_ENCRYPTION_KEYS", "AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	};
	for (size_t i = 0; i < COUNT_OF(reloaded); i++) {
		if (strcmp(reloaded[i], variable) == 0)
			return true;
	}
	return false;
}

static bool same_text(const char *one, const char *two)
{
	return one == NULL || two == NULL ? one == two : strcmp(one, two) == 0;
}

static bool same_value(const struct setting *setting, const struct config *one, const struct config *two)
{
	const void *a = (const char *)one + setting->offset;
	const void *b = (const char *)two + setting->offset;
	if (is_text(setting->kind))
		return same_text(*(char *const *)a, *(char *const *)b);
	if (setting->kind == KIND_SWITCH)
		return *(const bool *)a == *(const bool *)b;
	if (setting->kind == KIND_CHOICE)
		return *(const int *)a == *(const int *)b;
	return memcmp(a, b, sizeof(uint64_t)) == 0;
}

/* TLS is switched on and off at the start only. */
static bool switches_tls(const struct setting *setting, const struct config *one, const struct config *two)
{
	return strcmp(setting->variable, "TLS_CERT") == 0 && (one->tls_cert == NULL) != (two->tls_cert == NULL);
}

size_t config_need_restart(const struct config *config, const struct config *fresh, char *names, size_t size)
{
	size_t count = 0;
	size_t len = 0;
	names[0] = '\0';
	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		const struct setting *setting = &settings[i];
		if (same_value(setting, config, fresh) ||
		    (is_reloaded(setting->variable) && !switches_tls(setting, config, fresh)))
			continue;
		count++;
		if (len < size)
			len += (size_t)snprintf(names + len, size - len, "%s%s", len == 0 ? "" : ", ", setting->variable);
	}
	return count;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < COUNT_OF(settings); i++) {
		if (!is_text(settings[i].kind))
			continue;
		char **text = member_of(config, &settings[i]);
		if (*text != NULL && is_secret(settings[i].kind))
			explicit_bzero(*text, strlen(*text));
		free(*text);
	}
	free(config->env_file);
	if (config->file != NULL)
		env_file_free(config->file);
	free(config->file);
	*config = (struct config){0};
}

const char *config_variable(const struct config *config, const char *name)
{
	const struct {
		const char *name;
		const char *value;
	} own[] = {
		{"AWS_REGION", config->aws_region},
		{"AWS_ACCESS_KEY_ID", config->aws_access_key_id},
		{"AWS_SECRET_ACCESS_KEY", config->aws_secret_access_key},
		{"AWS_SESSION_TOKEN", config->aws_session_token},
	};
	for (size_t i = 0; i < COUNT_OF(own); i++) {
		if (strcmp(name, own[i].name) == 0)
			return own[i].value;
	}
	static const struct env_file none = {0};
	return get_variable(config->file != NULL ? config->file : &none, name);
}

bool config_describe(size_t index, struct config_doc *doc)
{
	if (index >= COUNT_OF(settings))
		return false;
	const struct setting *setting = &settings[index];
	*doc = (struct config_doc){
		.variable = setting->variable,
		.default_value = setting->default_value,
		.limits = setting->kind == KIND_SID ? "" : setting->limits,
		.doc = setting->doc,
		.secret = is_secret(setting->kind),
	};
	return true;
}
