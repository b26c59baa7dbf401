/* doctor.c - volley doctor: what limits a bench here and mends it; what an engine would take; what a port says */
#include "bench/commands.h"

#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/finding.h"
#include "bench/options.h"
#include "volley/config.h"

#define COMMAND "doctor"

struct arguments {
	bool plan;
	uint32_t connections; /* 0: the default */
	uint32_t cores;
	const char *nic;
	const char *port; /* NULL: none */
};

static const struct argp_option option_table[] = {
	{"plan", 'P', NULL, 0,
	 "print the memory that an engine would take, item by item, and open nothing", 0},
	{"connections", 'c', "N", 0,
	 "with --plan: connections of each core (default: the library's)", 0},
	{"cores", 'C', "N", 0, "with --plan: number of cores (default 1)", 0},
	{"nic", 'N', "NIC", 0, "with --plan: way into the kernel (default epoll)", 0},
	{"port", 'p', "NIC", 0,
	 "print what a port of DPDK's needs of this machine, what its driver says, and every setting with where it comes from",
	 0},
	{0},
};

static const char doc[] =
	"Looks at limits, memory, CPUs and kernel, measures the speed of every CPU and how far apart those of server and load are, and names what would blur or stop a bench "
	"with the command that mends it. It reads only and changes nothing."
	"\v"
	"Examples:\n"
	"  volley doctor\n"
	"  volley doctor --plan --connections 10000\n"
	"  volley doctor --port=inet:dpdk,port=0000:03:00.0,ip=192.0.2.1/24\n";

static uint32_t number_of(const char *name, const char *arg, uint64_t max)
{
	return (uint32_t)option_take_number(COMMAND, name, arg, 1, max);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case 'P':
		args->plan = true;
		break;
	case 'c':
		args->connections = number_of("connections", arg, OPTION_CONNECTIONS_MAX);
		break;
	case 'C':
		args->cores = number_of("cores", arg, 256);
		break;
	case 'N':
		args->nic = arg;
		break;
	case 'p':
		args->port = arg;
		break;
	case ARGP_KEY_ARG:
		usage_error(COMMAND, "'%s' is one argument too many", arg);
	case ARGP_KEY_END:
		if (!args->plan && (args->connections || args->cores != 1 || args->nic))
			usage_error(COMMAND, "--connections, --cores and --nic belong to --plan");
		if (args->plan && args->port)
			usage_error(COMMAND, "--plan and --port are two questions: ask one");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {.options = option_table, .parser = parse_option, .doc = doc};

static int print_plan(const struct arguments *args)
{
	struct vly_config config;
	struct vly_plan plan;

	vly_config_init(&config);
	config.cores = args->cores;
	config.nic = args->nic ? args->nic : "epoll";
	/* One slot more: the listener. */
	if (args->connections)
		config.conns_max = args->connections + 1;
	if (vly_config_plan(&config, &plan) != 0)
		return EXIT_USAGE; /* the library said why */
	printf("memory of an engine with %u core%s, nic %s, %u slots for connections and listeners on each\n\n",
	       config.cores, config.cores > 1 ? "s" : "", config.nic, config.conns_max);
	printf("%16s %16s %16s  %s\n", "count", "each (bytes)", "bytes", "what");
	for (unsigned int i = 0; i < plan.items_count; i++)
		printf("%16" PRIu64 " %16" PRIu64 " %16" PRIu64 "  %s\n", plan.items[i].count,
		       plan.items[i].each_bytes, plan.items[i].bytes, plan.items[i].what);
	printf("%16s %16s %16" PRIu64 "  one core\n", "", "", plan.core_bytes);
	printf("%16s %16s %16" PRIu64 "  of it for each connection slot\n", "", "",
	       plan.conn_bytes);
	printf("%16s %16s %16" PRIu64 "  shared by the cores: mail, ports\n", "", "",
	       plan.shared_bytes);
	printf("%16s %16s %16" PRIu64 "  in all, %.1f MiB\n", "", "", plan.total_bytes,
	       (double)plan.total_bytes / (1 << 20));
	return EXIT_OK;
}

/* What the nics use of this kernel. */
static void print_features(void)
{
	const char *nic;

	for (unsigned int i = 0; (nic = vly_nic_name(i)); i++) {
		unsigned int count;
		const struct vly_nic_feature *features = vly_nic_features(nic, &count);

		if (!features)
			continue;
		printf("\nwhat nic %s uses of this kernel, and since which one it is there:\n",
		       nic);
		for (unsigned int k = 0; k < count; k++) {
			const struct vly_nic_feature *f = &features[k];
			const char *state = f->used ? "used" : f->present ? "off" : "none";

			printf("%-5s %-14s %-5s %s\n", state, f->name, f->kernel, f->worth);
		}
	}
}

/* Returns how many of them warn. */
static unsigned int print_list(const struct findings *findings)
{
	static const char *const marks[] = {"ok", "note", "WARN"};
	unsigned int warnings = 0;

	for (unsigned int i = 0; i < findings->count; i++) {
		const struct finding *f = &findings->list[i];
		warnings += f->level == FINDING_WARN;
		printf("%-5s %-14s %s\n", marks[f->level], f->name, f->text);
		if (f->mend[0])
			printf("%-5s %-14s   %s\n", "", "", f->mend);
	}
	return warnings;
}

static void print_port_steps(void)
{
	struct findings findings;

	findings_port(&findings);
	printf("what a port of DPDK's needs besides, by the steps of docs/10gbe.md:\n");
	(void)print_list(&findings);
}

static int print_findings(void)
{
	struct findings findings;

	findings_collect(&findings);
	findings_cpu_speed(&findings);
	findings_cpu_distance(&findings);
	unsigned int warnings = print_list(&findings);
	if (warnings)
		printf("\n%u warning%s: results from this machine will suffer until mended\n",
		       warnings, warnings > 1 ? "s" : "");
	else
		printf("\nnothing stands in the way\n");
	print_features();
	printf("\n");
	print_port_steps();
	return EXIT_OK;
}

static int print_port(const char *nic)
{
	char text[8192], why[512];

	print_port_steps();
	printf("\n");
	fflush(stdout);
	if (vly_nic_describe(nic, text, sizeof(text), why, sizeof(why)) != 0) {
		fprintf(stderr, "volley: " COMMAND ": %s\n", why);
		return EXIT_FAILED;
	}
	printf("what the driver says of %s, and each setting with where it comes from:\n%s", nic,
	       text);
	return EXIT_OK;
}

int command_doctor(int argc, char **argv)
{
	struct arguments args = {.cores = 1};

	command_parse(COMMAND, &parser, argc, argv, &args);
	if (args.port)
		return print_port(args.port);
	return args.plan ? print_plan(&args) : print_findings();
}
