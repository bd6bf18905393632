/* SPDX-License-Identifier: MIT */
/* What the limit of open files leaves to the public listener. Everything else comes first: a listener that took all would leave the journal none. */
#include "app.h"

#include <inttypes.h>

/* Journal, ledger, filter, log and the private listener. */
#define RESERVED_DESCRIPTORS 100
/* Fewer public connections than this are no service. */
#define LEAST_CONNECTIONS 16

int app_limit_connections(const struct config *config, uint64_t limit, struct app_limits *ret, struct error *error)
{
	/* Each transfer has one connection to Twilio and one to the store, or a file. */
	uint64_t reserved = 2 * config->max_transfers + RESERVED_DESCRIPTORS;
	uint64_t least = config->max_connections < LEAST_CONNECTIONS ? config->max_connections : LEAST_CONNECTIONS;
	*ret = (struct app_limits){
		.limit = limit, .wanted = config->max_connections + reserved, .connections = config->max_connections};
	if (limit < reserved + least)
		return error_set(error, ERR_CONFIG,
				 "MAX_TRANSFERS: %" PRIu64 " need %" PRIu64 " open files, the limit is %" PRIu64
				 "; raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=), or lower it; example: MAX_TRANSFERS=8",
				 config->max_transfers, reserved + least, limit);
	if (limit < ret->wanted)
		ret->connections = limit - reserved;
	return 0;
}
