/* SPDX-License-Identifier: MIT */
/* The service manager is a datagram socket of the test's. */
#include "base/notify.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1;
static char directory[64];
static char path[128];
static char state[4096];

static void setup(void)
{
	snprintf(directory, sizeof(directory), "/tmp/reeld-notify-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/socket", directory);
}

static void teardown(void)
{
	if (manager >= 0)
		close(manager);
	unlink(path);
	rmdir(directory);
}

TestSuite(notify, .init = setup, .fini = teardown, .timeout = 20);

/* `name` as in NOTIFY_SOCKET: '@' begins a name of Linux' abstract space. */
static void listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	cr_assert_eq(bind(manager, (struct sockaddr *)&address, len), 0, "%s", strerror(errno));
	setenv("NOTIFY_SOCKET", name, 1);
}

static const char *heard(void)
{
	ssize_t len = recv(manager, state, sizeof(state) - 1, 0);
	state[len < 0 ? 0 : len] = '\0';
	return state;
}

Test(notify, tells_the_socket_that_is_named)
{
	listen_at(path);
	notify_send("READY=1\nSTATUS=up");
	cr_assert_str_eq(heard(), "READY=1\nSTATUS=up");
	cr_assert_str_eq(heard(), "");
}

Test(notify, tells_an_abstract_socket)
{
	char name[64];
	snprintf(name, sizeof(name), "@reeld-test-%ld", (long)getpid());
	listen_at(name);
	notify_send("STOPPING=1");
	cr_assert_str_eq(heard(), "STOPPING=1");
}

Test(notify, a_reload_says_when_it_began)
{
	uint64_t before = clock_mono_ns() / 1000;
	uint64_t said = 0;
	listen_at(path);
	notify_reloading();
	cr_assert_eq(sscanf(heard(), "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &said), 1, "%s", state);
	cr_assert(said >= before && said <= clock_mono_ns() / 1000);
}

Test(notify, without_a_manager_or_with_one_that_is_gone_nothing_happens)
{
	static const char *const names[] = {"relative/path", "", "/nonexistent/socket", "@", "@reeld-nobody"};
	char longer[300];
	unsetenv("NOTIFY_SOCKET");
	notify_send("READY=1");
	notify_reloading();
	memset(longer, 'a', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	notify_send("READY=1");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		notify_send("READY=1");
	}
}

Test(notify, a_manager_that_does_not_read_holds_nobody_up)
{
	listen_at(path);
	for (int i = 0; i < 5000; i++)
		notify_send("STATUS=on and on");
	cr_assert_str_eq(heard(), "STATUS=on and on");
}

Test(notify, leaves_no_descriptor_open)
{
	listen_at(path);
	int first = dup(manager);
	close(first);
	for (int i = 0; i < 50; i++)
		notify_send("READY=1");
	int second = dup(manager);
	close(second);
	cr_assert_eq(first, second);
}
