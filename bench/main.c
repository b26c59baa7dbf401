/* main.c - the volley command: finds the sub-command */
#include "bench/commands.h"

#include <argp.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options.h"
#include "bench/suggest.h"
#include "bench/version.h"

struct command {
	const char *name;
	const char *summary; /* NULL: not for people */
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{"pingpong", "start servers one after another, load each, print the comparison",
	 command_pingpong},
	{"ab", "compare two servers in alternating blocks until it is decided", command_ab},
	{"keepup", "find the rate at which a consumer, in Python or C, falls behind",
	 command_keepup},
	{"compare", "compare two result files", command_compare},
	{"serve", "run one server for a load generator on this or another machine", command_serve},
	{"load", "load a server that runs already", command_load},
	{"list", "the servers that can be compared, and which of them can run here", command_list},
	{"doctor", "what limits a bench on this machine, and how to mend it", command_doctor},
	{"supervise", NULL, command_supervise},
	{"echo-server", NULL, command_echo_server},
};

#define COMMANDS_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
	fprintf(out,
		"volley %s - measures ways of serving sockets with a verified ping-pong\n\n"
		"usage: volley COMMAND [OPTION...]\n\n",
		VOLLEY_VERSION);
	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		if (commands[i].summary)
			fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(out,
		"\nexamples:\n"
		"  volley pingpong c_epoll volley_epoll              compare two servers, 100 connections\n"
		"  volley pingpong volley_epoll -c 10000 --runs 10   many connections, with intervals\n"
		"  volley pingpong --exec './my_server {port}'       any program that prints READY and echoes\n"
		"  volley ab c_epoll volley_epoll --fail-if 5%%        exit code 5 if the second is slower by 5%%\n"
		"  volley doctor                                     before the first serious measurement\n\n"
		"volley COMMAND --help tells the rest; volley --version the version.\n"
		"exit codes: 0 ok, 1 failure, 2 usage, 3 the machine refuses (a limit, a missing program),\n"
		"4 invalid or incomplete data, 5 regression, 130 interrupted\n");
}

void command_parse(const char *command, const struct argp *argp, int argc, char **argv, void *input)
{
	char name[64];

	snprintf(name, sizeof(name), "volley %s", command);
	option_check_names(command, argp, argc, argv);
	argp_err_exit_status = EXIT_USAGE;
	argv[0] = name;
	/* In order: rows stand in the table as they were named, those of --exec, too. */
	argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input);
	argv[0] = NULL;
}

int command_flush(const char *command, FILE *out, int code)
{
	bool failed = ferror(out) != 0;

	errno = 0;
	failed = fflush(out) != 0 || failed;
	if (!failed)
		return code;
	clearerr(out); /* told once */
	fprintf(stderr, "volley%s%s: the output could not be written%s%s\n", *command ? " " : "",
		command, errno ? ": " : "", errno ? strerror(errno) : "");
	return code == EXIT_OK ? EXIT_FAILED : code;
}

int command_control_fd(int argc, char **argv)
{
	char why[128];
	uint64_t fd;

	if (argc != 3 || strcmp(argv[1], "--control-fd") != 0 ||
	    option_number(argv[2], 0, 1023, &fd, why, sizeof(why)) != 0)
		return -1;
	return (int)fd;
}

static const struct command *find_command(const char *name)
{
	const char *names[COMMANDS_COUNT];
	size_t count = 0;

	for (size_t i = 0; i < COMMANDS_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		if (commands[i].summary)
			names[count++] = commands[i].name;
	}
	const char *nearest = suggest_nearest(name, names, count);
	if (nearest)
		usage_error("", "there is no command '%s'; did you mean %s?", name, nearest);
	usage_error("", "there is no command '%s'", name);
}

static int run(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    (strcmp(argv[1], "help") == 0 && argc == 2)) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("volley %s (%s)\n", VOLLEY_VERSION, VOLLEY_COMMIT);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "help") == 0) {
		char help[] = "--help";
		char *words[] = {argv[2], help, NULL};
		return find_command(argv[2])->run(2, words);
	}
	if (argv[1][0] == '-')
		usage_error("", "there is no option %s before the command", argv[1]);
	return find_command(argv[1])->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	/* The command's parser overwrites it. */
	const char *command = argc > 1 && argv[1][0] != '-' ? argv[1] : "";
	int code = run(argc, argv);

	return command_flush(command, stdout, code);
}
