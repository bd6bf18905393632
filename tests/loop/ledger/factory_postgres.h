/* SPDX-License-Identifier: MIT */
/* What tests of the Postgres ledger alone need beside ledger_factory.h. */
#ifndef REELD_TESTS_FACTORY_POSTGRES_H
#define REELD_TESTS_FACTORY_POSTGRES_H

/* The server's port on 127.0.0.1. */
int factory_postgres_port(void);
/* The test's database, through another port (a proxy's); 0: straight. Valid until the next call. */
const char *factory_postgres_url(int port);

#endif
