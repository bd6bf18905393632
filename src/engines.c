/* SPDX-License-Identifier: MIT */
#include "engines.h"

#include "adapters/http_client.h"
#include "base/check.h"
#include "base/log.h"
#include "base/turn.h"
#include "store/aws_credentials.h"
#include "store/store_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER_ENTRIES 65536
/* Directory storage: a key names a file below DATA_DIR, so recordings are found in DATA_DIR/recordings. */
#define DIRECTORY_PREFIX "recordings/"
#define DEFAULT_BUCKET "scamscrammer-recordings"
#define DEFAULT_REGION "us-east-1"
#define REGION_SIZE 64
#define CLEAN_FIRST_MS 5000
#define CLEAN_EVERY_MS ((uint64_t)6 * 3600 * 1000)

/* ---- ledger ---- */

bool engines_use_postgres(const struct config *config)
{
	return config->database_url != NULL && !config->embedded;
}

int engines_take_over_ledger(const struct config *config, struct error *error)
{
	char path[4096];
	if (engines_use_postgres(config))
		return 0;
	if (ledger_sqlite_path(config->data_dir, path, sizeof(path)) != 0)
		return error_set(error, ERR_CONFIG, "DATA_DIR: path is too long");
	return ledger_sqlite_take_over(path, config->migrate, error);
}

static int open_sqlite(struct ledger **ret, uv_loop_t *loop, const struct config *config, const char *owner,
		       enum engines_user user, struct error *error)
{
	char path[4096];
	if (ledger_sqlite_path(config->data_dir, path, sizeof(path)) != 0)
		return error_set(error, ERR_CONFIG, "DATA_DIR: path is too long");
	return ledger_sqlite_open(ret, loop, path, owner, user != ENGINES_COMMAND && config->migrate, user == ENGINES_DAEMON,
				  error);
}

int engines_open_ledger(struct ledger **ret, uv_loop_t *loop, const struct config *config, const char *owner,
			enum engines_user user, struct error *error)
{
	if (!engines_use_postgres(config))
		return open_sqlite(ret, loop, config, owner, user, error);
	const struct ledger_postgres_options options = {
		.url = config->database_url,
		.owner = owner,
		.migrate = user != ENGINES_COMMAND && config->migrate,
		.prepared = config->database_prepared,
		.connections = user == ENGINES_COMMAND ? 1 : 0,
	};
	return ledger_postgres_open(ret, loop, &options, error);
}

/* ---- filter ---- */

int engines_open_filter(struct idempotency **ret, uv_loop_t *loop, const struct config *config, struct error *error)
{
	if (config->redis_url != NULL && !config->embedded) {
		const struct idempotency_redis_options options = {.url = config->redis_url, .prefix = config->redis_prefix};
		return idempotency_redis_open(ret, loop, &options, error);
	}
	*ret = idempotency_local_new(loop, FILTER_ENTRIES);
	return *ret != NULL ? 0 : error_set(error, ERR_NOMEM, "idempotency filter: out of memory");
}

/* ---- store ---- */

struct storage {
	uv_loop_t *loop;
	const struct config *config;
	char *data_dir;
	struct store *store;
	struct aws_credentials *credentials; /* NULL: a directory */
	struct http_client *http;
	uv_timer_t timer; /* when tended */
	bool tended;
	bool cleaning;
	struct store_request clean;
	void (*closed)(void *data);
	void *closed_data;
};

static const char *aws_variable(void *data, const char *name)
{
	const struct storage *storage = data;
	return config_variable(storage->config, name);
}

static struct aws_credentials_options credentials_options(struct storage *storage)
{
	return (struct aws_credentials_options){.variable = aws_variable, .variable_data = storage};
}

static bool wants_s3(struct storage *storage)
{
	if (storage->config->embedded)
		return false;
	const struct aws_credentials_options options = credentials_options(storage);
	return storage->config->s3_bucket != NULL || aws_credentials_can(&options, NULL);
}

static int open_credentials(struct storage *storage, uv_loop_t *loop, struct error *error)
{
	struct aws_credentials_options options = credentials_options(storage);
	options.loop = loop;
	options.http = storage->http;
	/* Who names a bucket and no credentials means the machine's own role. */
	options.instance_role = true;
	return aws_credentials_new(&storage->credentials, &options, error);
}

static int open_s3(struct storage *storage, uv_loop_t *loop, struct error *error)
{
	const struct config *config = storage->config;
	char region[REGION_SIZE] = DEFAULT_REGION;
	const struct http_client_options http_options = {
		/* Requests beside the bodies: verify, complete, clean. */
		.max_connections = config->max_transfers * 2 + 8,
		.buffer_bytes = config->transfer_buffer / 4,
		.user_agent = "reeld/" REELD_VERSION,
	};
	storage->http = http_client_new(loop, &http_options);
	if (storage->http == NULL)
		return error_set(error, ERR_NOMEM, "HTTP client: cannot start");
	int err = open_credentials(storage, loop, error);
	if (err != 0)
		return err;
	const struct aws_credentials_options variables = credentials_options(storage);
	if (!aws_credentials_find_region(&variables, region, sizeof(region)))
		snprintf(region, sizeof(region), "%s", DEFAULT_REGION);
	const struct store_s3_options options = {
		.http = storage->http,
		.credentials = storage->credentials,
		.bucket = config->s3_bucket == NULL ? DEFAULT_BUCKET : config->s3_bucket,
		.endpoint = config->s3_endpoint,
		.region = region,
		.prefix = config->s3_prefix,
		.addressing = (enum s3_addressing)config->s3_addressing,
		.sse = config->s3_sse,
		.storage_class = config->s3_storage_class,
		.public_url = config->s3_public_url,
		.multipart_threshold = (int64_t)config->multipart_threshold,
		.no_checksums = config->aws_checksums == 1,
	};
	return store_s3_open(&storage->store, loop, &options, error);
}

static void storage_free(struct storage *storage)
{
	void (*closed)(void *data) = storage->closed;
	void *data = storage->closed_data;
	free(storage->data_dir);
	free(storage);
	closed(data);
}

static void on_http_closed(void *data)
{
	storage_free(data);
}

static void on_credentials_closed(void *data)
{
	struct storage *storage = data;
	http_client_close(storage->http, on_http_closed, storage);
}

/* The credentials use the client, the store both. */
static void close_rest(struct storage *storage)
{
	if (storage->credentials != NULL)
		aws_credentials_close(storage->credentials, on_credentials_closed, storage);
	else if (storage->http != NULL)
		http_client_close(storage->http, on_http_closed, storage);
	else
		storage_free(storage);
}

static void on_store_closed(void *data)
{
	close_rest(data);
}

static void ignore_closed(void *data)
{
	(void)data;
}

int storage_open(struct storage **ret, uv_loop_t *loop, const struct config *config, struct error *error)
{
	struct storage *storage = calloc(1, sizeof(*storage));
	*ret = NULL;
	if (storage == NULL)
		return error_set(error, ERR_NOMEM, "storage: out of memory");
	storage->loop = loop;
	storage->config = config;
	storage->closed = ignore_closed;
	storage->data_dir = strdup(config->data_dir);
	int err = storage->data_dir == NULL ? error_set(error, ERR_NOMEM, "storage: out of memory") : 0;
	if (err == 0)
		err = wants_s3(storage) ? open_s3(storage, loop, error)
					: store_directory_open(&storage->store, loop, config->data_dir, error);
	if (err != 0) {
		close_rest(storage);
		return err;
	}
	*ret = storage;
	return 0;
}

struct store *storage_store(const struct storage *storage)
{
	return storage->store;
}

const char *storage_prefix(const struct storage *storage)
{
	return storage->credentials == NULL ? DIRECTORY_PREFIX : storage->config->s3_prefix;
}

void storage_describe(const struct storage *storage, char *out, size_t size)
{
	if (storage->credentials == NULL)
		snprintf(out, size, "directory %s/" DIRECTORY_PREFIX, storage->data_dir);
	else
		snprintf(out, size, "s3 bucket %s, credentials from %s",
			 storage->config->s3_bucket == NULL ? DEFAULT_BUCKET : storage->config->s3_bucket,
			 aws_credentials_source(storage->credentials));
}

void storage_reload(struct storage *storage, const struct config *config)
{
	storage->config = config;
	if (storage->credentials != NULL)
		aws_credentials_reload(storage->credentials);
}

static void clean_done(struct store_request *request, int status)
{
	struct storage *storage = request->data;
	storage->cleaning = false;
	if (status != 0 && status != ERR_CANCELLED)
		log_event(LOG_WARN, "store.clean_failed", LOG_STR("reason", err_name(status)),
			  LOG_STR("detail", request->error.detail));
}

static void clean_due(uv_timer_t *timer)
{
	struct storage *storage = timer->data;
	if (storage->cleaning)
		return;
	storage->cleaning = true;
	storage->clean = (struct store_request){.op = STORE_CLEAN, .done = clean_done, .data = storage};
	store_submit(storage->store, &storage->clean);
}

void storage_tend(struct storage *storage)
{
	REQUIRE(!storage->tended && uv_timer_init(storage->loop, &storage->timer) == 0);
	storage->tended = true;
	storage->timer.data = storage;
	uv_timer_start(&storage->timer, clean_due, CLEAN_FIRST_MS, CLEAN_EVERY_MS);
}

struct credentials_wait {
	struct aws_credentials_request request;
	bool answered;
	int status;
};

static void credentials_come(struct aws_credentials_request *request, int status, const struct aws_credentials_value *value)
{
	struct credentials_wait *wait = request->data;
	(void)value;
	wait->answered = true;
	wait->status = status;
}

int storage_wait_credentials(struct storage *storage, struct error *error)
{
	struct credentials_wait wait = {.request = {.done = credentials_come}};
	wait.request.data = &wait; // cppcheck-suppress autoVariables ; the answer comes before this returns
	if (storage->credentials == NULL)
		return 0;
	int status = aws_credentials_get(storage->credentials, &wait.request);
	if (status != 0)
		return error_set(error, status, "no AWS credentials: %s", err_text(status));
	while (!wait.answered)
		turn_run(storage->loop);
	if (wait.status != 0)
		*error = wait.request.error;
	return wait.status;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct storage *storage = handle->data;
	store_close(storage->store, on_store_closed, storage);
}

void storage_close(struct storage *storage, void (*closed)(void *data), void *data)
{
	storage->closed = closed;
	storage->closed_data = data;
	if (storage->tended)
		uv_close((uv_handle_t *)&storage->timer, on_timer_closed);
	else
		store_close(storage->store, on_store_closed, storage);
}
