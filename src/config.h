/* SPDX-License-Identifier: MIT */
/*
 * Configuration: one table of settings (config.def) read from --env-file and the environment (which wins), with X_FILE for every
 * secret. A bad value is one line naming the variable, the problem and an example; never the secret.
 */
#ifndef REELD_CONFIG_H
#define REELD_CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum config_ack { CONFIG_ACK_ACCEPTED, CONFIG_ACK_LEDGER, CONFIG_ACK_ARCHIVED };
enum config_unknown_call { CONFIG_UNKNOWN_CALL_FETCH, CONFIG_UNKNOWN_CALL_ARCHIVE, CONFIG_UNKNOWN_CALL_SKIP };
enum config_format { CONFIG_FORMAT_WAV, CONFIG_FORMAT_MP3 };

/* Strings are owned by the config; NULL when unset. Durations in ms, sizes in bytes. */
struct config {
	char *env_file;        /* what was read besides the environment; read again on reload */
	struct env_file *file; /* its pairs, for config_variable; NULL: none */
	bool embedded;         /* the engines in DATA_DIR, whatever else is set: for the demo */
	char *listen;
	char *admin_listen; /* NULL: off */
	char *admin_token;
	char *tls_cert;
	char *tls_key;
	char *data_dir;
	char *public_url;
	char *greeting;
	char *stream_url;
	char *trusted_proxies;
	char *twilio_account_sid;
	char *twilio_auth_token;
	char *twilio_accounts_file;
	char *twilio_api_key;
	char *twilio_api_secret;
	char *twilio_api_base;
	char *twilio_encryption_keys;
	bool validate_signature;
	char *database_url;
	bool database_prepared;
	char *redis_url;
	char *redis_prefix;
	char *s3_bucket;
	char *s3_endpoint;
	char *s3_prefix;
	int s3_addressing; /* enum s3_addressing */
	char *s3_sse;
	char *s3_storage_class;
	char *s3_public_url;
	char *aws_region;
	char *aws_access_key_id;
	char *aws_secret_access_key;
	char *aws_session_token;
	int aws_checksums; /* 1: when_required */
	enum config_format recording_format;
	int recording_channels; /* 0: source */
	enum config_ack ack;
	int64_t ack_timeout_ms;
	enum config_unknown_call unknown_call;
	bool delete_from_twilio;
	int64_t reconcile_every_ms; /* 0: off */
	int64_t reconcile_window_ms;
	uint64_t journal_max;
	uint64_t journal_segment;
	uint64_t max_transfers;
	uint64_t transfer_buffer;
	uint64_t multipart_threshold;
	uint64_t max_attempts;
	int64_t retry_base_ms;
	int64_t retry_max_ms;
	uint64_t max_body;
	uint64_t max_connections;
	int64_t header_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t shutdown_grace_ms;
	bool migrate;
	uint64_t workers;
	int log_level;  /* enum log_level */
	int log_format; /* enum log_format */
};

/*
 * Reads everything; `env_file` may be NULL. An empty value counts as unset. 0 or ERR_CONFIG with the one line; on failure *config is
 * empty. Blocking: reads files. May be called again later (reload) into another struct.
 */
int config_load(struct config *config, const char *env_file, struct error *error);
/* What only the daemon needs: an auth token (fail closed), engines that this build has. 0 or ERR_CONFIG with the one line. */
int config_require_serve(const struct config *config, struct error *error);
/*
 * The variables that differ between two configurations and only count at the start, as a list "A, B" in `names`, cut short when it does not
 * fit. How many.
 */
size_t config_need_restart(const struct config *config, const struct config *fresh, char *names, size_t size);
/*
 * The text of a variable, in the table or not: of the environment, else of the env-file; NULL when unset or empty. Of AWS's variables that are in
 * the table the value that counts here, so that AWS_SECRET_ACCESS_KEY_FILE works too. Good until config_free.
 */
const char *config_variable(const struct config *config, const char *name);
/* Frees what it owns, secrets wiped. Harmless on an empty one and twice. */
void config_free(struct config *config);

/* One row of the table, for documentation. `limits` is "low..high" or "a|b|c"; "" when there is none. */
struct config_doc {
	const char *variable;
	const char *default_value;
	const char *limits;
	const char *doc;
	bool secret; /* VARIABLE_FILE may name a file with it */
};

/* Row `index` of the settings; false behind the last. */
bool config_describe(size_t index, struct config_doc *doc);

#endif
