/* echo_command.c - volley echo-server: the engine's row, started by the bench */
#include "bench/commands.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "bench/cpus.h"
#include "bench/echo_server.h"
#include "bench/load.h"
#include "bench/options.h"
#include "bench/raw_wire.h"
#include "bench/supervise.h"

#define COMMAND "echo-server"

struct arguments {
	struct echo_server_params params;
	struct cpus cpus;
	bool layer2;
	bool address_given;
};

static const struct argp_option option_table[] = {
	{"nic", 'N', "NIC", 0, "way into the kernel (default epoll)", 0},
	{"idle", 'i', "POLICY", 0, "sleep, adaptive or busy (default sleep)", 0},
	{"forward", 'f', NULL, 0, "move what came on instead of copying it", 0},
	{"layer2", 'l', NULL, 0, "bounce frames, without TCP", 0},
	{"connections", 'c', "N", 0, "at most so many at once", 0},
	{"size", 's', "BYTES", 0, "messages have mostly so many bytes: send buffers of that size",
	 0},
	{"cpus", 'S', "LIST", 0, "a pinned core on each; none: one that is not pinned (default)",
	 0},
	{0},
};

static enum vly_idle idle_of(const char *name)
{
	if (strcmp(name, "sleep") == 0)
		return VLY_IDLE_SLEEP;
	if (strcmp(name, "adaptive") == 0)
		return VLY_IDLE_ADAPTIVE;
	if (strcmp(name, "busy") == 0)
		return VLY_IDLE_BUSY;
	usage_error(COMMAND, "--idle: '%s' is none of sleep, adaptive, busy", name);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char why[256];

	switch (key) {
	case 'N':
		args->params.nic = arg;
		break;
	case 'f':
		args->params.forward = true;
		break;
	case 'l':
		args->layer2 = true;
		break;
	case 'i':
		args->params.idle = idle_of(arg);
		break;
	case 'c':
		args->params.conns_max = (uint32_t)option_take_number(COMMAND, "connections", arg,
								      1, OPTION_CONNECTIONS_MAX);
		break;
	case 's':
		args->params.size_bytes =
			(uint32_t)option_take_number(COMMAND, "size", arg, 1, LOAD_SIZE_MAX);
		break;
	case 'S':
		if (strcmp(arg, "none") != 0 && cpus_parse(arg, &args->cpus, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--cpus: %s", why);
		break;
	case ARGP_KEY_ARG:
		if (args->address_given || vly_addr_parse(arg, &args->params.listen) != 0)
			usage_error(COMMAND, "'%s' is not the one address to listen on", arg);
		args->address_given = true;
		break;
	case ARGP_KEY_END:
		if (!args->address_given)
			usage_error(COMMAND, "name the address to listen on");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	.options = option_table,
	.parser = parse_option,
	.args_doc = "ADDR",
	.doc = "Echoes every byte with the engine. Started by volley pingpong and volley serve as volley_epoll.",
};

int command_echo_server(int argc, char **argv)
{
	static struct arguments args;

	args.params.idle = VLY_IDLE_SLEEP;
	command_parse(COMMAND, &parser, argc, argv, &args);
	args.params.cpus = args.cpus.list;
	args.params.cpus_count = args.cpus.count;
	if (args.layer2)
		return raw_wire_serve(args.params.nic ? args.params.nic : "",
				      args.params.listen.port, args.cpus.list, args.cpus.count) == 0
			       ? EXIT_OK
			       : EXIT_FAILED;
	return echo_server_run(&args.params) == 0 ? EXIT_OK : EXIT_FAILED;
}

int command_supervise(int argc, char **argv)
{
	int control_fd = command_control_fd(argc, argv);

	if (control_fd < 0)
		usage_error("supervise", "is started by the other commands only");
	return supervise_main(control_fd);
}
