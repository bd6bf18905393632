/* SPDX-License-Identifier: MIT */
/* Arguments → command. Options that every command knows are handled here. */
#include "base/err.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct command {
	const char *name;
	int (*run)(const struct config *config, int argc, char **argv);
	const char *summary;
	const char *usage;
	const char *help; /* the long text of --help; NULL: usage and summary */
};

static const struct command commands[] = {
	{"serve", cmd_serve, "run the daemon (the default)", "reeld serve", NULL},
	{"demo", cmd_demo, "archive a few recordings from a sandbox; no account needed", "", cmd_demo_help},
	{"sandbox", cmd_sandbox, "run a local stand-in for Twilio", "", cmd_sandbox_help},
	{"check", cmd_check, "validate the configuration and reach every dependency", "reeld check", NULL},
	{"migrate", cmd_migrate, "apply database migrations", "reeld migrate", NULL},
	{"jobs", cmd_jobs, "what is pending, running or dead; put it back or drop it", "", cmd_jobs_help},
	{"reconcile", cmd_reconcile, "archive what Twilio's list has and the ledger lacks", "", cmd_reconcile_help},
	{"recordings", cmd_recordings, "what is stored; a link to it; delete it; decrypt it", "", cmd_recordings_help},
	{"healthcheck", cmd_healthcheck, "ask the local /healthz (for containers)", "reeld healthcheck", NULL},
	{"sign", cmd_sign, "print or verify an X-Twilio-Signature", "", cmd_sign_help},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *out)
{
	fputs("usage: reeld [--env-file FILE] [COMMAND] [options]\n"
	      "\n"
	      "Keeps Twilio call recordings: every one once, none lost.\n"
	      "\n"
	      "commands:\n",
	      out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
	fputs("\n"
	      "options:\n"
	      "  --env-file FILE  read KEY=VALUE lines; the environment wins\n"
	      "  --help           this text; after a command, its usage\n"
	      "  --version        the version\n"
	      "\n"
	      "Settings are environment variables: docs/configuration.md. First try: reeld demo\n",
	      out);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

struct arguments {
	const char *env_file;
	bool help;
	bool version;
	bool missing_env_file;
	int argc; /* what is left: the command and its own arguments */
	char **argv;
};

/* Takes the options that every command knows out of argv, wherever they stand before a "--". */
static void take_common_options(struct arguments *arguments, int argc, char **argv)
{
	int kept = 0;
	*arguments = (struct arguments){.argv = argv + 1};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < argc)
				arguments->argv[kept++] = argv[i++];
			break;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			arguments->help = true;
		} else if (strcmp(argv[i], "--version") == 0) {
			arguments->version = true;
		} else if (strncmp(argv[i], "--env-file=", 11) == 0) {
			arguments->env_file = argv[i] + 11;
		} else if (strcmp(argv[i], "--env-file") == 0) {
			if (i + 1 < argc)
				arguments->env_file = argv[++i];
			else
				arguments->missing_env_file = true;
		} else {
			arguments->argv[kept++] = argv[i];
		}
	}
	arguments->argc = kept;
	arguments->argv[kept] = NULL;
}

static int run_command(const struct command *command, const struct arguments *arguments, int argc, char **argv)
{
	struct config config;
	struct error error = {0};
	if (config_load(&config, arguments->env_file, &error) != 0) {
		fprintf(stderr, "reeld: %s\n", error.detail);
		return CMD_FAILED;
	}
	/* The daemon's log is its output; of the other commands something else is to be seen, unless asked otherwise. */
	bool quiet = command->run != cmd_serve && config_variable(&config, "LOG_LEVEL") == NULL && config.log_level < LOG_ERROR;
	/* What check finds it says itself, a line each. */
	enum log_level least = command->run == cmd_check ? LOG_OFF : LOG_ERROR;
	log_configure(quiet ? least : (enum log_level)config.log_level, (enum log_format)config.log_format);
	int status = command->run(&config, argc, argv);
	config_free(&config);
	return status;
}

/* Where one of the standard streams is closed, the next file or socket opened would take its number, and get what is printed. */
static void hold_standard_streams(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* What was printed but did not arrive (a full disk, a closed pipe) is a failure, whatever the command achieved. */
static int finish_output(int status)
{
	bool written = fflush(stdout) == 0 && ferror(stdout) == 0;
	if (written || status != CMD_OK)
		return status;
	fputs("reeld: could not write all of its output\n", stderr);
	return CMD_FAILED;
}

static int run(int argc, char **argv)
{
	struct arguments arguments;
	take_common_options(&arguments, argc, argv);

	if (arguments.version) {
		puts("reeld " REELD_VERSION);
		return CMD_OK;
	}
	if (arguments.missing_env_file) {
		fputs("reeld: --env-file needs a file name\n", stderr);
		print_usage(stderr);
		return CMD_USAGE;
	}
	static char serve_name[] = "serve";
	static char *serve_argv[] = {serve_name, NULL};
	int command_argc = arguments.argc;
	char **command_argv = arguments.argv;
	if (command_argc == 0) {
		if (arguments.help) {
			print_usage(stdout);
			return CMD_OK;
		}
		command_argc = 1;
		command_argv = serve_argv;
	}
	const struct command *command = find_command(command_argv[0]);
	if (command == NULL) {
		fprintf(stderr, "reeld: unknown %s '%s'\n", command_argv[0][0] == '-' ? "option" : "command", command_argv[0]);
		print_usage(stderr);
		return CMD_USAGE;
	}
	if (arguments.help) {
		if (command->help != NULL)
			fputs(command->help, stdout);
		else
			printf("usage: %s\n\n%s\n", command->usage, command->summary);
		return CMD_OK;
	}
	return run_command(command, &arguments, command_argc, command_argv);
}

int main(int argc, char **argv)
{
	/* A peer that closes its end must be an error of that write, not the end of the process. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* likewise a file that outgrows its limit */
	/* Sent by tools that rotate logs or set timers, none of which is ours: must not end the process without a line. */
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGALRM, SIG_IGN);
	hold_standard_streams();
	return finish_output(run(argc, argv));
}
