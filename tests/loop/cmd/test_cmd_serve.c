/* SPDX-License-Identifier: MIT */
/* The daemon in a child process; the test is its service manager, hears what it says on NOTIFY_SOCKET, and sends signals. */
#include "cmd/cmd.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];
static char said[256];
static int manager;
static pid_t child;
static int output[2];

static void set(const char *name, const char *format, const char *value)
{
	char text[256];
	snprintf(text, sizeof(text), format, value);
	setenv(name, text, 1);
}

static void setup(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	snprintf(directory, sizeof(directory), "/tmp/reeld-serve-XXXXXX");
	cr_assert_not_null(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", directory);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(manager, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	set("NOTIFY_SOCKET", "%s", address.sun_path);
	set("DATA_DIR", "%s/data", directory);
	set("LISTEN", "%s", "127.0.0.1:0");
	set("ADMIN_LISTEN", "%s", "127.0.0.1:0");
	set("TWILIO_AUTH_TOKEN", "%s", "a-token");
	set("JOURNAL_MAX", "%s", "4MiB");
	set("JOURNAL_SEGMENT", "%s", "1MiB");
	set("SHUTDOWN_GRACE", "%s", "2s");
}

static int remove_entry(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void teardown(void)
{
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(manager);
	nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(serve, .init = setup, .fini = teardown, .timeout = 60);

static void start(void)
{
	cr_assert_eq(pipe(output), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		char *argv[] = {(char *)"serve", NULL};
		struct config config;
		struct error error = {0};
		dup2(output[1], STDERR_FILENO);
		close(output[0]);
		close(output[1]);
		if (config_load(&config, NULL, &error) != 0)
			_exit(99);
		int status = cmd_serve(&config, 1, argv);
		config_free(&config);
		_exit(status);
	}
	close(output[1]);
}

static const char *hear(void)
{
	ssize_t len = recv(manager, said, sizeof(said) - 1, 0);
	said[len < 0 ? 0 : len] = '\0';
	return said;
}

/* How it ended, and all that it wrote. */
static int end(char *text, size_t size)
{
	size_t len = 0;
	ssize_t got;
	int status = 0;
	while (len < size - 1 && (got = read(output[0], text + len, size - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	close(output[0]);
	cr_assert_eq(waitpid(child, &status, 0), child);
	child = 0;
	cr_assert(WIFEXITED(status), "ended by signal %d: %s", WTERMSIG(status), text);
	return WEXITSTATUS(status);
}

static char text[65536];

static void ends_in_order_after(int signum, const char *name)
{
	char field[64];
	start();
	cr_assert_str_eq(hear(), "READY=1");
	cr_assert_eq(kill(child, signum), 0);
	cr_assert_str_eq(hear(), "STOPPING=1");
	cr_assert_eq(end(text, sizeof(text)), CMD_OK, "%s", text);
	snprintf(field, sizeof(field), "\"signal\":\"%s\"", name);
	cr_assert_not_null(strstr(text, "\"event\":\"reeld.started\""), "%s", text);
	cr_assert_not_null(strstr(text, field), "%s", text);
	cr_assert_not_null(strstr(text, "\"event\":\"reeld.stopped\""), "%s", text);
	cr_assert_null(strstr(text, "a-token"));
}

Test(serve, sigterm_ends_it_in_order)
{
	ends_in_order_after(SIGTERM, "SIGTERM");
}

Test(serve, sigint_ends_it_in_order)
{
	ends_in_order_after(SIGINT, "SIGINT");
}

Test(serve, sighup_reloads_and_it_goes_on)
{
	start();
	cr_assert_str_eq(hear(), "READY=1");
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(kill(child, SIGHUP), 0);
		cr_assert_eq(strncmp(hear(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0, "%s", said);
		cr_assert_str_eq(hear(), "READY=1");
	}
	kill(child, SIGTERM);
	cr_assert_str_eq(hear(), "STOPPING=1");
	cr_assert_eq(end(text, sizeof(text)), CMD_OK, "%s", text);
}

Test(serve, what_stops_the_start_is_one_line_and_exit_1)
{
	unsetenv("TWILIO_AUTH_TOKEN");
	start();
	cr_assert_eq(end(text, sizeof(text)), CMD_FAILED);
	cr_assert_eq(strncmp(text, "reeld: ", 7), 0, "%s", text);
	cr_assert_not_null(strstr(text, "TWILIO_AUTH_TOKEN"));
	cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1, "more than a line: %s", text);
}

Test(serve, a_data_directory_in_use_is_said_and_the_other_one_stays)
{
	start();
	cr_assert_str_eq(hear(), "READY=1");
	pid_t first = child;
	int first_output = output[0];
	start();
	cr_assert_eq(end(text, sizeof(text)), CMD_FAILED);
	cr_assert_not_null(strstr(text, "journal"), "%s", text);
	child = first;
	output[0] = first_output;
	kill(child, SIGTERM);
	cr_assert_str_eq(hear(), "STOPPING=1");
	cr_assert_eq(end(text, sizeof(text)), CMD_OK);
}

Test(serve, takes_no_words)
{
	char *argv[] = {(char *)"serve", (char *)"quickly", NULL};
	struct config config = {0};
	cr_assert_eq(cmd_serve(&config, 2, argv), CMD_USAGE);
}
