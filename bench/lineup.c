/* lineup.c - the rows that a command line names, and the session that runs them */
#include "bench/lineup.h"

#include <stdio.h>
#include <string.h>

#include "bench/preflight.h"
#include "bench/slices.h"
#include "bench/turns.h"
#include "bench/words.h"
#include "volley/addr.h"

enum key {
	KEY_EXEC = 'e',
	KEY_PORT = 0x200,
	KEY_TURNS,
};

static const struct argp_option option_table[] = {
	{"exec", KEY_EXEC, "COMMAND", 0,
	 "a row of your own: COMMAND with {port} in it prints READY, echoes, ends on SIGTERM", 4},
	{"port", KEY_PORT, "N", 0, "of the servers (default: a free one for each run)", 4},
	{"turns", KEY_TURNS, "N", 0,
	 "all rows of a block are up at once, and their windows alternate in N pieces, so that all meet the same machine; what the pieces brought during which no "
	 "neighbour used the cores stands below the table, apart for CPUs near each other and far apart (default: for ab as many as make sense, else 1, that is: one row behind the other)",
	 1},
	{0},
};

static bool has_row(const struct lineup *lineup, const char *name)
{
	for (unsigned int i = 0; i < lineup->session.rows_count; i++)
		if (strcmp(lineup->session.rows[i].name, name) == 0)
			return true;
	return false;
}

static void add_row(struct lineup *lineup, const struct variant *variant)
{
	struct session *session = &lineup->session;

	if (session->rows_count == SESSION_ROWS_MAX)
		usage_error(lineup->command, "more than %d rows", SESSION_ROWS_MAX);
	session->rows[session->rows_count++] =
		(struct session_row){.variant = variant, .name = variant->name};
}

/* The index of a free copy; its name is `name`, with a number from the second on. */
static unsigned int take_copy(struct lineup *lineup, const char *name, unsigned int number)
{
	unsigned int index = lineup->copies_count;

	if (index == LINEUP_COPIES_MAX)
		usage_error(lineup->command, "more than %d rows by --exec or named again",
			    LINEUP_COPIES_MAX);
	lineup->copies_count++;
	if (number == 1)
		snprintf(lineup->copy_names[index], LINEUP_NAME_BYTES, "%.48s", name);
	else
		snprintf(lineup->copy_names[index], LINEUP_NAME_BYTES, "%.48s-%u", name, number);
	return index;
}

static void add_variant(struct lineup *lineup, const char *name)
{
	const char *nearest = NULL;
	const struct variant *variant = variant_find(name, &nearest);

	if (!variant && nearest)
		usage_error(lineup->command, "there is no variant '%s'; did you mean %s?", name,
			    nearest);
	if (!variant)
		usage_error(lineup->command, "there is no variant '%s'; volley list names them",
			    name);
	if (has_row(lineup, name)) {
		if (!lineup->twice)
			usage_error(lineup->command, "%s is named twice", name);
		unsigned int index = take_copy(lineup, name, 2);
		lineup->copies[index] = *variant;
		lineup->copies[index].name = lineup->copy_names[index];
		variant = &lineup->copies[index];
	}
	add_row(lineup, variant);
}

static void add_exec(struct lineup *lineup, const char *command)
{
	struct words words = {.count = 0};
	char why[256];

	if (words_split(&words, command, 0, why, sizeof(why)) != 0)
		usage_error(lineup->command, "--exec: %s", why);
	words_fini(&words);
	unsigned int index = take_copy(lineup, "exec", ++lineup->execs_count);
	variant_from_exec(&lineup->copies[index], lineup->copy_names[index], command);
	add_row(lineup, &lineup->copies[index]);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct lineup *lineup = state->input;

	switch (key) {
	case KEY_EXEC:
		add_exec(lineup, arg);
		break;
	case KEY_PORT:
		lineup->port = (uint16_t)option_take_number(lineup->command, "port", arg, 1, 65535);
		break;
	case KEY_TURNS:
		lineup->turns =
			(uint32_t)option_take_number(lineup->command, "turns", arg, 1, SLICES_MAX);
		break;
	case ARGP_KEY_ARG:
		add_variant(lineup, arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const struct argp lineup_argp = {.options = option_table, .parser = parse_option};

static void check_rows(struct lineup *lineup)
{
	const struct load_options *o = lineup->session.options;
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}, .port = lineup->port};
	struct variant_setting setting = {
		.host = "127.0.0.1",
		.port = lineup->port,
		.cpus = &o->server_cpus,
		.connections = o->connections,
		.python = o->python,
	};

	for (unsigned int i = 0; i < lineup->session.rows_count; i++) {
		struct session_row *row = &lineup->session.rows[i];
		char *why = row->unavailable;
		int err = preflight_server(row->variant, &setting, why, sizeof(row->unavailable));
		/* what the load takes of the kernel: on a wire in memory nothing */
		if (!err && !row->variant->loop)
			err = preflight_load(o, &addr, why, sizeof(row->unavailable));
		if (!err && lineup->port)
			err = preflight_port(&addr, why, sizeof(row->unavailable));
		if (!err)
			why[0] = '\0';
	}
}

/* What keeps the rows from having turns, as words that follow "because of"; NULL: nothing does. */
static const char *obstacle_of(const struct lineup *lineup, const struct load_options *options)
{
	const struct load_shape *shape = &options->shape;

	if (shape->rate_msg_per_s > 0)
		return "--rate: who pauses falls behind its schedule";
	if (shape->think_max_ns)
		return "--think: it needs a closed loop in which a message follows each echo";
	if (shape->reconnect)
		return "--reconnect: it needs a closed loop in which a message follows each echo";
	if (lineup->port)
		return "--port: all servers are up at once, and cannot have the same";
	return NULL;
}

static void choose_turns(const struct lineup *lineup, struct load_options *options)
{
	const char *obstacle = obstacle_of(lineup, options);

	if (lineup->turns > 1 && obstacle)
		usage_error(
			lineup->command,
			"--turns cannot be had because of %s; --turns 1 runs one row behind the other",
			obstacle);
	options->turns = lineup->turns;
	if (!lineup->turns && lineup->alternate && !obstacle)
		options->turns =
			turns_for(options->duration_ns, options->connections, options->depth);
}

void lineup_finish(struct lineup *lineup, struct load_options *options, int argc, char **argv)
{
	const struct vly_addr target = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}};
	struct session *session = &lineup->session;

	session->workload = "pingpong";
	session->options = options;
	session->argc = argc;
	session->argv = argv;
	session->port = lineup->port;
	session->load_nic = options->shape.nic;
	choose_turns(lineup, options);
	load_shape_spread(&options->shape, &target, options->connections);
	check_rows(lineup);
}
