/* SPDX-License-Identifier: MIT */
#include "admin/ticket.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NOW 1800000000

static const struct sid sid = {"RE00000000000000000000000000000001"};
static const struct sid other = {"RE00000000000000000000000000000002"};

Test(ticket, opens_its_recording_until_it_expires)
{
	struct ticket_key key;
	char ticket[TICKET_SIZE];
	ticket_key_init(&key);
	cr_assert_eq(ticket_make(&key, &sid, NOW + 600, ticket), 0);
	cr_expect(ticket_holds(&key, &sid, ticket, NOW));
	cr_expect(ticket_holds(&key, &sid, ticket, NOW + 599));
	cr_expect_not(ticket_holds(&key, &sid, ticket, NOW + 600));
	cr_expect_not(ticket_holds(&key, &other, ticket, NOW));
	struct ticket_key another;
	ticket_key_init(&another);
	cr_expect_not(ticket_holds(&another, &sid, ticket, NOW), "each process has a key of its own");
}

Test(ticket, cannot_be_prolonged_or_changed)
{
	struct ticket_key key;
	char ticket[TICKET_SIZE];
	char changed[TICKET_SIZE + 2];
	ticket_key_init(&key);
	cr_assert_eq(ticket_make(&key, &sid, NOW + 600, ticket), 0);
	for (size_t i = 0; i < strlen(ticket); i++) {
		snprintf(changed, sizeof(changed), "%s", ticket);
		changed[i] = changed[i] == 'f' ? 'e' : 'f';
		cr_expect_not(ticket_holds(&key, &sid, changed, NOW), "%zu", i);
		snprintf(changed, sizeof(changed), "%s", ticket);
		changed[i] = '\0';
		cr_expect_not(ticket_holds(&key, &sid, changed, NOW), "%zu", i);
	}
	static const char *const forms[] = {"0x%s", "+%s", " %s", "-%s", "0%s", "%s0", "%s "};
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		snprintf(changed, sizeof(changed), forms[i], ticket);
		cr_expect_not(ticket_holds(&key, &sid, changed, NOW), "%s", forms[i]);
	}
	static const char *const strange[] = {"", "-", "ffffffffffffffffffff-00", "g", "7fffffff", "7fffffff-"};
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
		cr_expect_not(ticket_holds(&key, &sid, strange[i], NOW), "%s", strange[i]);
}
