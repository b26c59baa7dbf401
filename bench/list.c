/* list.c - volley list: the servers that can be compared, and which of them can run here */
#include "bench/commands.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "bench/options.h"
#include "bench/variant.h"

#define COMMAND "list"

static const struct argp_option option_table[] = {
	{"python", 'y', "PATH", 0, "interpreter of the Python rows (default /usr/bin/python3)", 0},
	{0},
};

static const char doc[] =
	"Lists the servers that volley pingpong can compare: name, whether it can run here, what it is. A server that "
	"cannot run is listed with the reason and the way out."
	"\v"
	"Any other program can be a row: volley pingpong --exec './my_server {port}'. It prints READY on a line of its "
	"own once it accepts connections, echoes every byte, and ends on SIGTERM.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	const char **python = state->input;

	if (key == 'y')
		*python = arg;
	else if (key == ARGP_KEY_ARG)
		usage_error(COMMAND, "'%s' is one argument too many", arg);
	else
		return ARGP_ERR_UNKNOWN;
	return 0;
}

static const struct argp parser = {.options = option_table, .parser = parse_option, .doc = doc};

int command_list(int argc, char **argv)
{
	const char *python = "/usr/bin/python3";
	const struct cpus none = {.count = 0};
	const struct variant *variant;
	int width = 0;

	command_parse(COMMAND, &parser, argc, argv, &python);
	for (size_t i = 0; (variant = variant_at(i)); i++)
		if ((int)strlen(variant->name) > width)
			width = (int)strlen(variant->name);
	for (size_t i = 0; (variant = variant_at(i)); i++) {
		struct variant_setting setting = {
			.host = "127.0.0.1", .cpus = &none, .python = python};
		char why[512] = "";
		int err = variant->check(variant, &setting, why, sizeof(why));
		printf("%-*s  %-12s %s%s%s\n", width, variant->name,
		       err ? "unavailable" : "available", variant->summary, err ? "; " : "", why);
	}
	return EXIT_OK;
}
