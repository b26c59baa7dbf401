/* options.c - strict numbers and times, and the options that every load command has */
#include "bench/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/load.h"
#include "bench/stats.h"
#include "bench/suggest.h"

#define NS_PER_S UINT64_C(1000000000)
#define NAMES_MAX 128

void usage_error(const char *command, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "volley%s%s: ", *command ? " " : "", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (help: volley%s%s --help)\n", *command ? " " : "", command);
	exit(EXIT_USAGE);
}

int option_number(const char *text, uint64_t min, uint64_t max, uint64_t *value, char *why,
		  size_t why_bytes)
{
	char *end = NULL;

	errno = 0;
	unsigned long long number = isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
	if (!end || *end) {
		snprintf(why, why_bytes,
			 "'%s' is not a whole number; %" PRIu64 " to %" PRIu64 " are allowed", text,
			 min, max);
		return -EINVAL;
	}
	if (errno == ERANGE || number < min || number > max) {
		snprintf(why, why_bytes,
			 "%s is out of range; %" PRIu64 " to %" PRIu64 " are allowed", text, min,
			 max);
		return -EINVAL;
	}
	*value = number;
	return 0;
}

char *option_duration_format(uint64_t ns, char *text, size_t size_bytes)
{
	if (ns > 0 && ns < NS_PER_S)
		snprintf(text, size_bytes, "%.6g ms", (double)ns / 1e6);
	else if (ns < 120 * NS_PER_S)
		snprintf(text, size_bytes, "%.3g s", (double)ns / 1e9);
	else if (ns < 7200 * NS_PER_S)
		snprintf(text, size_bytes, "%" PRIu64 " min %" PRIu64 " s", ns / (60 * NS_PER_S),
			 ns / NS_PER_S % 60);
	else
		snprintf(text, size_bytes, "%" PRIu64 " h %" PRIu64 " min", ns / (3600 * NS_PER_S),
			 ns / (60 * NS_PER_S) % 60);
	return text;
}

int option_duration(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *value_ns,
		    char *why, size_t why_bytes)
{
	static const struct {
		const char *suffix;
		double ns;
	} units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"m", 60e9}, {"h", 3600e9}};
	char from[32], to[32];

	option_duration_format(min_ns, from, sizeof(from));
	option_duration_format(max_ns, to, sizeof(to));
	/* strtod() alone would take "inf", "nan", "0x10" and "1e9". */
	size_t digits = strspn(text, "0123456789.");
	char *end = NULL;
	double number = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1.0;
	double ns = -1.0;
	for (size_t i = 0; end == text + digits && i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(end, units[i].suffix) == 0)
			ns = number * units[i].ns;
	if (ns < 0) {
		snprintf(
			why, why_bytes,
			"'%s' is not a time; write 500ms, 10s, 5m or 2h (a bare number is seconds), %s to %s",
			text, from, to);
		return -EINVAL;
	}
	if (ns < (double)min_ns || ns > (double)max_ns) {
		snprintf(why, why_bytes, "%s is out of range; %s to %s are allowed", text, from,
			 to);
		return -EINVAL;
	}
	*value_ns = (uint64_t)llround(ns);
	return 0;
}

uint64_t option_take_number(const char *command, const char *name, const char *text, uint64_t min,
			    uint64_t max)
{
	char why[256];
	uint64_t value = 0;

	if (option_number(text, min, max, &value, why, sizeof(why)) != 0)
		usage_error(command, "--%s: %s", name, why);
	return value;
}

uint64_t option_take_duration(const char *command, const char *name, const char *text,
			      uint64_t min_ns, uint64_t max_ns)
{
	char why[256];
	uint64_t value_ns = 0;

	if (option_duration(text, min_ns, max_ns, &value_ns, why, sizeof(why)) != 0)
		usage_error(command, "--%s: %s", name, why);
	return value_ns;
}

double option_leading(const char *text, const char **rest)
{
	char *end = NULL;
	double number = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1.0;

	*rest = text + strspn(text, "0123456789.");
	return end == *rest ? number : -1.0;
}

int option_percent(const char *text, double *value, char *why, size_t why_bytes)
{
	const char *unit;
	double number = option_leading(text, &unit);

	if (number < 0 || strcmp(unit, "%") != 0) {
		snprintf(why, why_bytes, "'%s' is not a limit; write 5%%, 2%% to 1000%%", text);
		return -EINVAL;
	}
	if (number < STATS_ZONE * 100 || number > 1000) {
		snprintf(
			why, why_bytes,
			"%s is out of range; 2%% to 1000%% are allowed (below that nothing differs)",
			text);
		return -EINVAL;
	}
	*value = number / 100;
	return 0;
}

/* Appends the long options of `argp` and of its children. */
static size_t collect_options(const struct argp *argp, const struct argp_option **out, size_t count)
{
	for (const struct argp_option *o = argp->options; o && (o->name || o->key || o->doc); o++)
		if (o->name && count < NAMES_MAX)
			out[count++] = o;
	for (const struct argp_child *child = argp->children; child && child->argp; child++)
		count = collect_options(child->argp, out, count);
	return count;
}

/*
 * The option that `word` (of `len` bytes) names, exactly or as an unambiguous beginning; NULL if
 * there is none.
 */
static const struct argp_option *find_option(const struct argp_option *const *known, size_t count,
					     const char *word, size_t len)
{
	const struct argp_option *found = NULL;
	size_t begins = 0;

	for (size_t i = 0; i < count; i++) {
		if (strncmp(known[i]->name, word, len) != 0)
			continue;
		if (strlen(known[i]->name) == len)
			return known[i];
		begins++;
		found = known[i];
	}
	return begins == 1 ? found : NULL;
}

void option_check_names(const char *command, const struct argp *argp, int argc, char **argv)
{
	static const struct argp_option builtin[] = {
		{.name = "help"}, {.name = "usage"}, {.name = "version"}};
	const struct argp_option *known[NAMES_MAX + 3];
	const char *names[NAMES_MAX + 3];
	size_t visible = 0;

	size_t count = collect_options(argp, known, 0);
	for (size_t i = 0; i < 3; i++)
		known[count++] = &builtin[i];
	for (size_t i = 0; i < count; i++)
		if (!(known[i]->flags & OPTION_HIDDEN))
			names[visible++] = known[i]->name;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			return;
		if (strncmp(argv[i], "--", 2) != 0)
			continue;
		const char *word = argv[i] + 2;
		size_t len = strcspn(word, "=");
		const struct argp_option *option = find_option(known, count, word, len);
		if (option) {
			/* Its argument may look like an option. */
			i += option->arg && !(option->flags & OPTION_ARG_OPTIONAL) && !word[len];
			continue;
		}
		char cut[64];
		snprintf(cut, sizeof(cut), "%.*s", (int)(len < 60 ? len : 60), word);
		const char *nearest = suggest_nearest(cut, names, visible);
		if (nearest)
			usage_error(command, "there is no option --%s; did you mean --%s?", cut,
				    nearest);
		usage_error(command, "there is no option --%s", cut);
	}
}

enum key {
	KEY_CONNECTIONS = 'c',
	KEY_SIZE = 's',
	KEY_DEPTH = 'p',
	KEY_DURATION = 'd',
	KEY_WARMUP = 'w',
	KEY_RUNS = 'n',
	KEY_JSON = 'j',
	KEY_SEED = 0x100,
	KEY_PRESET,
	KEY_SERVER_CPUS,
	KEY_LOAD_CPUS,
	KEY_NUMA_NODE,
	KEY_PYTHON,
	KEY_CONNECT_TIMEOUT,
	KEY_STALL_TIMEOUT,
	KEY_READY_TIMEOUT,
	KEY_SYSCALLS,
	KEY_FORMAT,
};

static const struct argp_option load_option_table[] = {
	{NULL, 0, NULL, 0, "Load:", 1},
	{"connections", KEY_CONNECTIONS, "N", 0,
	 "connections, all open before the warm-up starts (default 100)", 0},
	{"size", KEY_SIZE, "BYTES", 0, "payload of a message (default 64)", 0},
	{"depth", KEY_DEPTH, "N", 0, "messages in flight on each connection (default 1)", 0},
	{"duration", KEY_DURATION, "T", 0,
	 "measured window: 500ms, 10s, 5m, 1h; bare numbers are seconds (default 10s)", 0},
	{"warmup", KEY_WARMUP, "T", 0, "traffic before the window, not measured (default 3s)", 0},
	{"runs", KEY_RUNS, "N", 0,
	 "runs of every row, in blocks of random order (default 1, ab: at most 33; from 5 on intervals are printed)",
	 0},
	{"preset", KEY_PRESET, "NAME", 0,
	 "smoke: 1 short run; standard: 10 runs; publish: 33 or as many more as the first 10 ask for",
	 0},
	{"seed", KEY_SEED, "N", 0,
	 "of order and payload (default: from the clock; the result file tells it)", 0},
	{"connect-timeout", KEY_CONNECT_TIMEOUT, "T", 0,
	 "for all connections to come up (default 30s, or 10 ms for each if that is more)", 0},
	{"stall-timeout", KEY_STALL_TIMEOUT, "T", 0,
	 "a connection that gets no echo for so long fails the run (default 10s)", 0},
	{"syscalls", KEY_SYSCALLS, NULL, 0,
	 "count each row's system calls, by name, in a short run of its own under perf before the others",
	 0},
	{NULL, 0, NULL, 0, "Placement:", 2},
	{"server-cpus", KEY_SERVER_CPUS, "LIST", 0,
	 "CPUs of the server under test, 0-3,8 or none (default: the first CPU allowed)", 0},
	{"load-cpus", KEY_LOAD_CPUS, "LIST", 0,
	 "CPUs of the load generator, a thread on each (default: up to 4 others)", 0},
	{"numa-node", KEY_NUMA_NODE, "N", 0, "choose CPUs of this node only", 0},
	{NULL, 0, NULL, 0, "Results:", 3},
	{"json", KEY_JSON, "FILE", 0,
	 "write JSON Lines, overwriting FILE; - is stdout, the table then goes to stderr", 0},
	{"format", KEY_FORMAT, "NAME", 0,
	 "of the table: text, markdown, or csv, with what else is told on stderr (default text)",
	 0},
	{NULL, 0, NULL, 0, "Programs:", 4},
	{"ready-timeout", KEY_READY_TIMEOUT, "T", 0, "for a server to print READY (default 15s)",
	 0},
	{"python", KEY_PYTHON, "PATH", 0,
	 "interpreter of the Python rows (default /usr/bin/python3)", 0},
	{0},
};

static uint64_t number_of(const struct load_options *options, const char *name, const char *text,
			  uint64_t min, uint64_t max)
{
	return option_take_number(options->command, name, text, min, max);
}

static uint64_t duration_of(const struct load_options *options, const char *name, const char *text,
			    uint64_t min_ns)
{
	return option_take_duration(options->command, name, text, min_ns, 24 * 3600 * NS_PER_S);
}

void option_cpus(const char *command, const char *name, const char *text, struct cpus *cpus,
		 bool *unpinned)
{
	char why[256];

	*unpinned = strcmp(text, "none") == 0;
	cpus->count = 0;
	if (!*unpinned && cpus_parse(text, cpus, why, sizeof(why)) != 0)
		usage_error(command, "--%s: %s", name, why);
}

static enum preset preset_of(const struct load_options *options, const char *text)
{
	static const char *const names[] = {"smoke", "standard", "publish"};

	for (size_t i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum preset)(PRESET_SMOKE + i);
	const char *nearest = suggest_nearest(text, names, 3);
	usage_error(options->command,
		    "--preset: there is no preset '%s'%s%s; there are smoke, standard and publish",
		    text, nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static enum sheet_format format_of(const struct load_options *options, const char *text)
{
	int format = sheet_format_of(text);

	if (format < 0)
		usage_error(options->command, "--format: '%s' is none of text, markdown, csv",
			    text);
	return (enum sheet_format)format;
}

/* What was given stands, whatever the order of options. */
static void apply_preset(struct load_options *o)
{
	static const uint32_t runs[] = {1, 1, 10, 33};

	if (o->preset == PRESET_NONE)
		return;
	if (!o->runs_given)
		o->runs = runs[o->preset];
	if (o->preset == PRESET_SMOKE && !o->duration_given)
		o->duration_ns = NS_PER_S;
	if (o->preset == PRESET_SMOKE && !o->warmup_given)
		o->warmup_ns = NS_PER_S / 5;
}

/* Options about where: false if `key` is none of them. */
static bool parse_placement(struct load_options *o, int key, const char *arg)
{
	switch (key) {
	case KEY_SERVER_CPUS:
		option_cpus(o->command, "server-cpus", arg, &o->server_cpus, &o->server_unpinned);
		o->server_cpus_given = true;
		return true;
	case KEY_LOAD_CPUS:
		option_cpus(o->command, "load-cpus", arg, &o->load_cpus, &o->load_unpinned);
		o->load_cpus_given = true;
		return true;
	case KEY_NUMA_NODE:
		o->numa_node = (int)number_of(o, "numa-node", arg, 0, 1023);
		return true;
	default:
		return false;
	}
}

static error_t parse_load_option(int key, char *arg, struct argp_state *state)
{
	struct load_options *o = state->input;

	if (parse_placement(o, key, arg))
		return 0;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->shape;
		break;
	case KEY_CONNECTIONS:
		o->connections =
			(uint32_t)number_of(o, "connections", arg, 1, OPTION_CONNECTIONS_MAX);
		break;
	case KEY_SIZE:
		o->size_bytes = (uint32_t)number_of(o, "size", arg, LOAD_SIZE_MIN, LOAD_SIZE_MAX);
		break;
	case KEY_DEPTH:
		o->depth = (uint32_t)number_of(o, "depth", arg, 1, LOAD_DEPTH_MAX);
		o->depth_given = true;
		break;
	case KEY_RUNS:
		o->runs = (uint32_t)number_of(o, "runs", arg, 1, OPTION_RUNS_MAX);
		o->runs_given = true;
		break;
	case KEY_SEED:
		o->seed = number_of(o, "seed", arg, 0, (1ull << 53) - 1);
		break;
	case KEY_PRESET:
		o->preset = preset_of(o, arg);
		break;
	case KEY_DURATION:
		o->duration_ns = duration_of(o, "duration", arg, 1000000);
		o->duration_given = true;
		break;
	case KEY_WARMUP:
		o->warmup_ns = duration_of(o, "warmup", arg, 0);
		o->warmup_given = true;
		break;
	case KEY_CONNECT_TIMEOUT:
		o->connect_timeout_ns = duration_of(o, "connect-timeout", arg, 1000000);
		break;
	case KEY_STALL_TIMEOUT:
		o->stall_timeout_ns = duration_of(o, "stall-timeout", arg, 1000000);
		break;
	case KEY_READY_TIMEOUT:
		o->ready_timeout_ns = duration_of(o, "ready-timeout", arg, 1000000);
		break;
	case KEY_JSON:
		if (!*arg)
			usage_error(o->command, "--json: needs a file name, or - for stdout");
		o->json_path = arg;
		break;
	case KEY_PYTHON:
		o->python = arg;
		break;
	case KEY_FORMAT:
		o->format = format_of(o, arg);
		break;
	case KEY_SYSCALLS:
		o->syscalls = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child load_option_children[] = {
	{&load_shape_argp, 0, "Shape of the load:", 1}, {0}};
const struct argp load_options_argp = {.options = load_option_table,
				       .parser = parse_load_option,
				       .children = load_option_children};

void load_options_init(struct load_options *options, const char *command)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(options, 0, sizeof(*options));
	options->command = command;
	options->connections = 100;
	options->size_bytes = 64;
	options->depth = 1;
	options->runs = 1;
	options->duration_ns = 10 * NS_PER_S;
	options->warmup_ns = 3 * NS_PER_S;
	options->stall_timeout_ns = 10 * NS_PER_S;
	options->ready_timeout_ns = 15 * NS_PER_S;
	options->seed =
		((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) % 1000000007;
	options->numa_node = -1;
	options->shape.command = command;
	options->python = "/usr/bin/python3";
}

void option_check_cpus(const char *command, const char *name, const struct cpus *cpus,
		       const struct cpus *allowed)
{
	char text[CPUS_TEXT_MAX];

	for (unsigned int i = 0; i < cpus->count; i++)
		if (!cpus_has(allowed, cpus->list[i]))
			usage_error(
				command,
				"--%s: CPU %d does not exist or may not be used; allowed are %s",
				name, cpus->list[i], cpus_format(allowed, text, sizeof(text)));
}

void load_options_finish(struct load_options *o)
{
	if (cpus_allowed(&o->allowed) != 0)
		usage_error(o->command, "cannot read the CPU affinity: %s", strerror(errno));
	if ((uint64_t)o->size_bytes * o->depth > LOAD_INFLIGHT_MAX)
		usage_error(
			o->command,
			"--size %u times --depth %u is above the %u bytes that may be under way on a connection",
			o->size_bytes, o->depth, LOAD_INFLIGHT_MAX);
	load_shape_finish(&o->shape, o->connections, o->depth);
	if (o->numa_node >= 0) {
		struct cpus node;
		if (cpus_of_node(o->numa_node, &node) != 0)
			usage_error(o->command, "--numa-node: there is no node %d on this machine",
				    o->numa_node);
		cpus_keep(&o->allowed, &node);
		if (o->allowed.count == 0)
			usage_error(o->command, "--numa-node: node %d has no CPU that may be used",
				    o->numa_node);
	}
	apply_preset(o);
	option_check_cpus(o->command, "server-cpus", &o->server_cpus, &o->allowed);
	option_check_cpus(o->command, "load-cpus", &o->load_cpus, &o->allowed);
	struct cpus server = o->server_cpus;
	struct cpus load = o->load_cpus;
	cpus_split(&o->allowed, &server, &load);
	if (!o->server_cpus_given)
		o->server_cpus = server;
	if (!o->load_cpus_given)
		o->load_cpus = load;
	for (unsigned int i = 0; i < o->server_cpus.count; i++) {
		int cpu = o->server_cpus.list[i];
		if (!cpus_has(&o->load_cpus, cpu))
			continue;
		if (o->allowed.count > 1)
			usage_error(
				o->command,
				"--server-cpus and --load-cpus overlap at CPU %d: each would take the other's time; "
				"name different CPUs, or none",
				cpu);
		o->cpus_shared = true;
	}
}
