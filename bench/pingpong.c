/* pingpong.c - volley pingpong: starts servers, loads each, prints the comparison */
#include "bench/commands.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/lineup.h"
#include "bench/options.h"
#include "bench/session.h"

#define COMMAND "pingpong"
struct arguments {
	struct load_options load;
	struct lineup lineup;
};

static const char doc[] =
	"Starts each server in turn, loads it with messages that it has to echo, verifies every byte, and prints rates, latency percentiles "
	"and the CPU time that a message cost the server. A message is one round trip."
	"\v"
	"Examples:\n"
	"  volley pingpong c_epoll volley_epoll\n"
	"      two servers, 100 connections, 64 bytes, 10 s each after 3 s of warm-up\n"
	"  volley pingpong c_epoll volley_epoll -c 10000 --runs 10 --json out.jsonl\n"
	"      10 blocks in random order; 95% intervals; every run in a file\n"
	"  volley pingpong volley_epoll --size 1024 --depth 16 --duration 2s\n"
	"  volley pingpong c_epoll --exec './my_server --listen {port}'\n"
	"  volley pingpong uvloop_proto --python ~/venv/bin/python3\n\n"
	"volley list names the servers. Ctrl-C ends the run in progress and keeps what was measured. Any program can be a row: it prints READY on "
	"a line of its own once it accepts connections (READY PORT if it chose the port), echoes every byte, and ends on SIGTERM.\n"
	"Exit codes: 0 ok, 1 a run failed, 2 usage, 3 a row is unavailable here (the others ran), 4 invalid data, 130 interrupted.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->load;
		state->child_inputs[1] = &args->lineup;
		break;
	case ARGP_KEY_END:
		if (args->lineup.session.rows_count == 0)
			usage_error(COMMAND,
				    "name at least one variant, or --exec; volley list names them");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {
	{&load_options_argp, 0, NULL, 0}, {&lineup_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {NULL, parse_option, "VARIANT...", doc, children, NULL, NULL};

int command_pingpong(int argc, char **argv)
{
	struct arguments *args = calloc(1, sizeof(*args));
	int whole_argc = argc;

	if (!args) {
		fprintf(stderr, "volley " COMMAND ": out of memory\n");
		return EXIT_FAILED;
	}
	load_options_init(&args->load, COMMAND);
	args->lineup.command = COMMAND;
	/* argp moves what it has read: the result file tells the words as they were. */
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	for (int i = 0; words && i < argc; i++)
		words[i] = argv[i];
	command_parse(COMMAND, &parser, argc, argv, args);
	load_options_finish(&args->load);
	lineup_finish(&args->lineup, &args->load, words ? whole_argc : 0, words);
	int code = session_run(&args->lineup.session);
	free(words);
	free(args);
	return code;
}
