/* SPDX-License-Identifier: MIT */
/* Accounts, tokens, keys and certificates: read at the start, and again on SIGHUP. */
#include "app_internal.h"

#include "admin/admin.h"
#include "base/log.h"
#include "base/notify.h"
#include "engines.h"
#include "intake/tls.h"
#include "intake/webhook.h"
#include "pipeline/pipeline.h"
#include "twilio/accounts.h"
#include "twilio/client.h"
#include "twilio/private_keys.h"

int app_build_accounts(const struct config *config, struct twilio_accounts **ret, struct error *error)
{
	struct twilio_accounts *accounts = twilio_accounts_new();
	if (accounts == NULL)
		return error_set(error, ERR_NOMEM, "accounts: out of memory");
	int err = 0;
	if (config->twilio_auth_token != NULL)
		err = twilio_accounts_add(accounts, config->twilio_account_sid == NULL ? "" : config->twilio_account_sid,
					  config->twilio_auth_token, config->twilio_api_key, config->twilio_api_secret, error);
	if (err == 0 && config->twilio_accounts_file != NULL)
		err = twilio_accounts_load(accounts, config->twilio_accounts_file, error);
	/* The token is in the file, the key is not. */
	if (err == 0 && config->twilio_auth_token == NULL && config->twilio_api_key != NULL)
		err = twilio_accounts_set_key(accounts, config->twilio_account_sid, config->twilio_api_key,
					      config->twilio_api_secret, error);
	if (err == 0 && config->validate_signature && config->twilio_accounts_file != NULL &&
	    twilio_accounts_count(accounts) == 0)
		err = error_set(error, ERR_CONFIG,
				"TWILIO_ACCOUNTS_FILE: %s names no account, so no webhook could be verified; example of a line: "
				"AC0123456789abcdef0123456789abcdef the_token",
				config->twilio_accounts_file);
	if (err != 0) {
		twilio_accounts_free(&accounts);
		return err;
	}
	*ret = accounts;
	return 0;
}

static void warn_of_key(void *data, const char *name, const char *warning)
{
	const char *directory = data;
	log_event(LOG_WARN, "keys.warning", LOG_STR("directory", directory), LOG_STR("file", name), LOG_STR("detail", warning));
}

int app_load_keys(const struct config *config, struct private_keys **ret, struct error *error)
{
	*ret = NULL;
	if (config->twilio_encryption_keys == NULL)
		return 0;
	return private_keys_load(ret, config->twilio_encryption_keys, warn_of_key, config->twilio_encryption_keys, error);
}

/* ---- reload ---- */

/* A token can be added and changed, but only a restart removes it, whoever set it: the start or an earlier reload. */
static void app_reload_admin(struct app *app, const struct config *fresh)
{
	if (app->admin == NULL)
		return;
	if (fresh->admin_token == NULL && admin_has_token(app->admin)) {
		log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", "ADMIN_TOKEN: is unset, but a token is in force"),
			  LOG_STR("advice", "the old token stays in force until a restart"));
		return;
	}
	if (admin_set_token(app->admin, fresh->admin_token) != 0)
		log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", "ADMIN_TOKEN: OpenSSL failed"),
			  LOG_STR("advice", "the old token stays in force"));
}

static void app_reload_keys(struct app *app, const struct config *fresh)
{
	struct private_keys *keys = NULL;
	struct error error = {0};
	if (app_load_keys(fresh, &keys, &error) != 0) {
		log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", error.detail),
			  LOG_STR("advice", "the old private keys stay in use"));
		return;
	}
	pipeline_set_keys(app->pipeline, keys);
	if (keys != NULL || app->keys != NULL)
		log_event(LOG_INFO, "reload.keys", LOG_U64("keys", keys != NULL ? private_keys_count(keys) : 0));
	private_keys_free(&app->keys);
	app->keys = keys;
}

/* A setting that was changed and does not count would otherwise be believed to. */
static void warn_of_restart(const struct app *app, const struct config *fresh)
{
	char names[2048];
	if (config_need_restart(app->config, fresh, names, sizeof(names)) > 0)
		log_event(LOG_WARN, "reload.needs_restart", LOG_STR("variables", names),
			  LOG_STR("advice", "these were changed and count only after a restart"));
}

void app_reload(struct app *app)
{
	struct config fresh;
	struct error error = {0};
	notify_reloading();
	if (config_load(&fresh, app->config->env_file, &error) != 0) {
		log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", error.detail),
			  LOG_STR("advice", "the old settings stay in force"));
		notify_send("READY=1");
		return;
	}
	warn_of_restart(app, &fresh);
	struct twilio_accounts *accounts = NULL;
	if (app_build_accounts(&fresh, &accounts, &error) == 0) {
		webhook_set_accounts(app->webhook, accounts);
		twilio_client_set_accounts(app->twilio, accounts);
		if (pipeline_set_accounts(app->pipeline, accounts) != 0)
			log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", "out of memory"),
				  LOG_STR("advice", "accounts that are new are held back together"));
		twilio_accounts_free(&app->accounts);
		app->accounts = accounts;
		log_event(LOG_INFO, "reload.accounts", LOG_U64("accounts", twilio_accounts_count(accounts)));
	} else {
		log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", error.detail),
			  LOG_STR("advice", "the old tokens stay in force"));
	}
	if (app->tls != NULL && fresh.tls_cert != NULL) {
		if (tls_context_reload(app->tls, fresh.tls_cert, fresh.tls_key, &error) == 0)
			log_event(LOG_INFO, "reload.certificate");
		else
			log_event(LOG_ERROR, "reload.failed", LOG_STR("detail", error.detail),
				  LOG_STR("advice", "the old certificate stays in use"));
	}
	app_reload_admin(app, &fresh);
	app_reload_keys(app, &fresh);
	config_free(&app->reloaded);
	app->reloaded = fresh;
	storage_reload(app->storage, &app->reloaded);
	notify_send("READY=1");
}
