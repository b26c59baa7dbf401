/* pingpong.c - volley pingpong: starts servers, loads each, prints the comparison */
#include "bench/commands.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options.h"
#include "bench/preflight.h"
#include "bench/session.h"
#include "bench/variant.h"
#include "volley/addr.h"

#define COMMAND "pingpong"
#define EXECS_MAX 16
#define NAME_BYTES 16

enum key {
	KEY_EXEC = 'e',
	KEY_PORT = 0x200
};

struct arguments {
	struct load_options load;
	struct session session;
	uint16_t port;
	struct variant execs[EXECS_MAX];
	char exec_names[EXECS_MAX][NAME_BYTES];
	unsigned int execs_count;
};

static const struct argp_option option_table[] = {
	{"exec", KEY_EXEC, "COMMAND", 0,
	 "a row of your own: COMMAND with {port} in it prints READY, echoes, ends on SIGTERM", 4},
	{"port", KEY_PORT, "N", 0, "of the servers (default: a free one for each run)", 4},
	{0},
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

static void add_row(struct arguments *args, const struct variant *variant)
{
	struct session *session = &args->session;

	for (unsigned int i = 0; i < session->rows_count; i++)
		if (strcmp(session->rows[i].name, variant->name) == 0)
			usage_error(COMMAND, "%s is named twice", variant->name);
	if (session->rows_count == SESSION_ROWS_MAX)
		usage_error(COMMAND, "more than %d rows", SESSION_ROWS_MAX);
	session->rows[session->rows_count++] =
		(struct session_row){.variant = variant, .name = variant->name};
}

static void add_variant(struct arguments *args, const char *name)
{
	const char *nearest = NULL;
	const struct variant *variant = variant_find(name, &nearest);

	if (!variant && nearest)
		usage_error(COMMAND, "there is no variant '%s'; did you mean %s?", name, nearest);
	if (!variant)
		usage_error(COMMAND, "there is no variant '%s'; volley list names them", name);
	add_row(args, variant);
}

static void add_exec(struct arguments *args, const char *command)
{
	unsigned int index = args->execs_count;
	struct words words = {.count = 0};
	char why[256];

	if (index == EXECS_MAX)
		usage_error(COMMAND, "--exec: more than %d of them", EXECS_MAX);
	if (words_split(&words, command, 0, why, sizeof(why)) != 0)
		usage_error(COMMAND, "--exec: %s", why);
	words_fini(&words);
	if (index == 0)
		snprintf(args->exec_names[0], NAME_BYTES, "exec");
	else
		snprintf(args->exec_names[index], NAME_BYTES, "exec-%u", index + 1);
	variant_from_exec(&args->execs[index], args->exec_names[index], command);
	args->execs_count++;
	add_row(args, &args->execs[index]);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char why[256];
	uint64_t port;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->load;
		break;
	case KEY_EXEC:
		add_exec(args, arg);
		break;
	case KEY_PORT:
		if (option_number(arg, 1, 65535, &port, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--port: %s", why);
		args->port = (uint16_t)port;
		break;
	case ARGP_KEY_ARG:
		add_variant(args, arg);
		break;
	case ARGP_KEY_END:
		if (args->session.rows_count == 0)
			usage_error(COMMAND,
				    "name at least one variant, or --exec; volley list names them");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {{&load_options_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {option_table, parse_option, "VARIANT...", doc,
				   children,     NULL,         NULL};

/* Finds out before anything starts which rows cannot run. */
static void check_rows(struct arguments *args)
{
	const struct load_options *o = &args->load;
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}, .port = args->port};
	struct variant_setting setting = {
		.host = "127.0.0.1",
		.port = args->port,
		.cpus = &o->server_cpus,
		.connections = o->connections,
		.python = o->python,
	};

	for (unsigned int i = 0; i < args->session.rows_count; i++) {
		struct session_row *row = &args->session.rows[i];
		char *why = row->unavailable;
		int err = preflight_server(row->variant, &setting, why, sizeof(row->unavailable));
		err = err ? err : preflight_load(o, why, sizeof(row->unavailable));
		if (!err && args->port)
			err = preflight_port(&addr, why, sizeof(row->unavailable));
		if (!err)
			why[0] = '\0';
	}
}

int command_pingpong(int argc, char **argv)
{
	struct arguments *args = calloc(1, sizeof(*args));
	int whole_argc = argc;

	if (!args) {
		fprintf(stderr, "volley " COMMAND ": out of memory\n");
		return EXIT_FAILED;
	}
	load_options_init(&args->load, COMMAND);
	/* argp moves what it has read: the result file tells the words as they were. */
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	for (int i = 0; words && i < argc; i++)
		words[i] = argv[i];
	command_parse(COMMAND, &parser, argc, argv, args);
	load_options_finish(&args->load);
	args->session.workload = "pingpong";
	args->session.options = &args->load;
	args->session.argc = words ? whole_argc : 0;
	args->session.argv = words;
	args->session.port = args->port;
	args->session.load_nic = "epoll";
	check_rows(args);
	int code = session_run(&args->session);
	free(words);
	free(args);
	return code;
}
