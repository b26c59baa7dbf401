/* load_shape.c - how a load comes: its rate or its pauses, its ramp, where it comes from */
#include "bench/load_shape.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/control.h"
#include "bench/options.h"
#include "bench/suggest.h"
#include "bench/sysfile.h"
#include "volley/config.h"

#define NS_PER_S UINT64_C(1000000000)
#define SPAN_MAX_NS (24 * 3600 * NS_PER_S)
#define RECONNECT_MAX 1000000000
#define RECONNECT_SOURCES 16       /* closed ports rest for a second at least */
#define URING_CONNECTIONS_MAX 4000 /* beyond, epoll costs less: docs/bench.md has the figures */

enum key {
	KEY_RATE = 'r',
	KEY_ARRIVALS = 0x300,
	KEY_THINK,
	KEY_RECONNECT,
	KEY_RAMP,
	KEY_SOURCE,
	KEY_NIC,
};

static const struct argp_option option_table[] = {
	{"rate", KEY_RATE, "R", 0,
	 "open loop: R messages per second in all, sent when they are due, whatever is answered; 5000, 20k, 1.5M",
	 0},
	{"arrivals", KEY_ARRIVALS, "KIND", 0, "of --rate: poisson (default) or constant", 0},
	{"think", KEY_THINK, "T[-T]", 0,
	 "closed loop: pause from an echo to the next message, fixed or uniform, 10ms or 10ms-50ms",
	 0},
	{"reconnect", KEY_RECONNECT, "N", 0,
	 "close and open each connection again after every N messages", 0},
	{"ramp", KEY_RAMP, "T", 0, "spread the connects over T (default: as fast as they go)", 0},
	{"source-ip", KEY_SOURCE, "A[-B|/P]", 0,
	 "local addresses of the connections, in turn (default: what the system chooses; on loopback 127.0.0.1 and following if ports would run out)",
	 0},
	{"load-nic", KEY_NIC, "NIC", 0,
	 "how the load generator reaches the network: uring, epoll, or auto (default): the cheaper one at so many connections",
	 0},
	{0},
};

/* "20k" into 20000. Below 0: it is no rate. */
static double parse_rate(const char *text)
{
	size_t digits = strspn(text, "0123456789.");
	char *end = NULL;
	double rate = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1;

	if (end != text + digits)
		return -1;
	if (strcmp(end, "k") == 0)
		rate *= 1e3;
	else if (strcmp(end, "M") == 0)
		rate *= 1e6;
	else if (*end)
		return -1;
	return rate;
}

static void set_rate(struct load_shape *shape, const char *text)
{
	double rate = parse_rate(text);

	if (rate < 0)
		usage_error(
			shape->command,
			"--rate: '%s' is not a rate; write 5000, 20k or 1.5M (messages per second)",
			text);
	if (rate < 0.001 || rate > SCHEDULE_RATE_MAX)
		usage_error(
			shape->command,
			"--rate: %s is out of range; 0.001 to %d messages per second are allowed",
			text, SCHEDULE_RATE_MAX);
	shape->rate_msg_per_s = rate;
}

static void set_arrivals(struct load_shape *shape, const char *text)
{
	static const char *const names[] = {"poisson", "constant"};
	const char *nearest;

	shape->arrivals_given = true;
	shape->constant = strcmp(text, names[1]) == 0;
	if (shape->constant || strcmp(text, names[0]) == 0)
		return;
	nearest = suggest_nearest(text, names, 2);
	usage_error(shape->command, "--arrivals: '%s' is none; there are poisson and constant%s%s",
		    text, nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static uint64_t span_of(const struct load_shape *shape, const char *name, const char *text)
{
	return option_take_duration(shape->command, name, text, 0, SPAN_MAX_NS);
}

static void set_think(struct load_shape *shape, const char *text)
{
	const char *dash = strchr(text, '-');
	char first[64];

	snprintf(first, sizeof(first), "%.*s", dash ? (int)(dash - text) : 63, text);
	shape->think_min_ns = span_of(shape, "think", first);
	shape->think_max_ns = dash ? span_of(shape, "think", dash + 1) : shape->think_min_ns;
	if (shape->think_max_ns < shape->think_min_ns)
		usage_error(shape->command, "--think: %s ends before it begins", text);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct load_shape *shape = state->input;
	char why[256];

	switch (key) {
	case KEY_RATE:
		set_rate(shape, arg);
		break;
	case KEY_ARRIVALS:
		set_arrivals(shape, arg);
		break;
	case KEY_THINK:
		set_think(shape, arg);
		break;
	case KEY_RECONNECT:
		shape->reconnect =
			option_take_number(shape->command, "reconnect", arg, 1, RECONNECT_MAX);
		break;
	case KEY_RAMP:
		shape->ramp_ns = span_of(shape, "ramp", arg);
		break;
	case KEY_SOURCE:
		if (sources_parse(arg, &shape->sources, why, sizeof(why)) != 0)
			usage_error(shape->command, "--source-ip: %s", why);
		break;
	case KEY_NIC:
		shape->nic = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const struct argp load_shape_argp = {.options = option_table, .parser = parse_option};

const char *load_shape_nic(uint32_t connections)
{
	char why[256];

	return connections <= URING_CONNECTIONS_MAX && vly_nic_check("uring", why, sizeof(why)) == 0
		       ? "uring"
		       : "epoll";
}

void load_shape_finish(struct load_shape *shape, uint32_t connections, uint32_t depth)
{
	if (!shape->nic || strcmp(shape->nic, "auto") == 0)
		shape->nic = load_shape_nic(connections);
	if (shape->arrivals_given && shape->rate_msg_per_s <= 0)
		usage_error(shape->command, "--arrivals is about --rate, which is missing");
	if (shape->think_max_ns && shape->rate_msg_per_s > 0)
		usage_error(
			shape->command,
			"--think and --rate exclude each other: with a rate nothing waits for an echo");
	if (shape->think_max_ns && depth > 1)
		usage_error(shape->command,
			    "--think goes with --depth 1: it is the pause between two messages");
}

uint32_t load_shape_ports(void)
{
	char text[64];
	unsigned int first, last;

	if (sysfile_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) < 0 ||
	    sscanf(text, "%u %u", &first, &last) != 2 || last < first)
		return 28232; /* 32768 to 60999 */
	return last - first + 1;
}

void load_shape_spread(struct load_shape *shape, const struct vly_addr *target,
		       uint32_t connections)
{
	/* a search for the last free ones takes long, and others need some */
	uint32_t ports_max = load_shape_ports() / 8 * 7;

	if (shape->sources.count || target->family != VLY_IP4 || target->ip4[0] != 127)
		return;
	if (ports_max == 0)
		ports_max = 1;
	if (connections > ports_max)
		sources_on_loopback(&shape->sources, connections, ports_max);
	if (shape->reconnect && shape->sources.count < RECONNECT_SOURCES)
		sources_on_loopback(&shape->sources, RECONNECT_SOURCES, 1);
}

json_t *load_shape_message(const struct load_shape *shape)
{
	char sources[SOURCES_TEXT_MAX];
	json_t *steps = json_array();

	if (shape->surge_ns)
		json_array_append_new(steps, json_pack("{s:I, s:f}", "at_ns", (json_int_t)0,
						       "rate_msg_per_s", shape->surge_msg_per_s));
	if (shape->rate_msg_per_s > 0)
		json_array_append_new(steps,
				      json_pack("{s:I, s:f}", "at_ns", (json_int_t)shape->surge_ns,
						"rate_msg_per_s", shape->rate_msg_per_s));
	return json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:s}", "steps", steps, "poisson",
			 (int)!shape->constant, "think_min_ns", (json_int_t)shape->think_min_ns,
			 "think_max_ns", (json_int_t)shape->think_max_ns, "reconnect",
			 (json_int_t)shape->reconnect, "ramp_ns", (json_int_t)shape->ramp_ns,
			 "sources", sources_format(&shape->sources, sources, sizeof(sources)));
}

void load_shape_from_message(const json_t *message, struct load_params *params)
{
	const json_t *steps = json_object_get(message, "steps");
	const char *sources = control_text(message, "sources", "");
	struct schedule *schedule = &params->schedule;
	char why[256];

	for (size_t i = 0; i < json_array_size(steps) && i < SCHEDULE_STEPS_MAX; i++) {
		const json_t *step = json_array_get(steps, i);

		schedule->steps[schedule->steps_count++] = (struct schedule_step){
			.at_ns = (uint64_t)control_int(step, "at_ns", 0),
			.rate_msg_per_s = control_real(step, "rate_msg_per_s", 1),
		};
	}
	schedule->poisson = json_is_true(json_object_get(message, "poisson"));
	params->think_min_ns = (uint64_t)control_int(message, "think_min_ns", 0);
	params->think_max_ns = (uint64_t)control_int(message, "think_max_ns", 0);
	params->reconnect = (uint64_t)control_int(message, "reconnect", 0);
	params->ramp_ns = (uint64_t)control_int(message, "ramp_ns", 0);
	if (*sources && sources_parse(sources, &params->sources, why, sizeof(why)) != 0)
		params->sources.count = 0;
}

json_t *load_shape_plan(const struct load_shape *shape)
{
	bool open_loop = shape->rate_msg_per_s > 0;
	char sources[SOURCES_TEXT_MAX];

	sources_format(&shape->sources, sources, sizeof(sources));
	return json_pack(
		"{s:s, s:o, s:s?, s:f, s:f, s:o, s:f, s:s?}", "loop", open_loop ? "open" : "closed",
		"rate_msg_per_s", open_loop ? json_real(shape->rate_msg_per_s) : json_null(),
		"arrivals",
		!open_loop        ? NULL
		: shape->constant ? "constant"
				  : "poisson",
		"think_min_s", (double)shape->think_min_ns / 1e9, "think_max_s",
		(double)shape->think_max_ns / 1e9, "reconnect_messages",
		shape->reconnect ? json_integer((json_int_t)shape->reconnect) : json_null(),
		"ramp_s", (double)shape->ramp_ns / 1e9, "sources", *sources ? sources : NULL);
}

/* Appends to what is there. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t size_bytes,
							 const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + len, size_bytes - len, format, args);
	va_end(args);
}

char *load_shape_format(const struct load_shape *shape, char *text, size_t size_bytes)
{
	char from[32], to[32];

	text[0] = '\0';
	if (shape->rate_msg_per_s > 0)
		append(text, size_bytes, ", open loop at %.12g msg/s (%s)", shape->rate_msg_per_s,
		       shape->constant ? "constant" : "Poisson");
	option_duration_format(shape->think_min_ns, from, sizeof(from));
	option_duration_format(shape->think_max_ns, to, sizeof(to));
	if (shape->think_max_ns > shape->think_min_ns)
		append(text, size_bytes, ", %s to %s of thinking", from, to);
	else if (shape->think_max_ns)
		append(text, size_bytes, ", %s of thinking", from);
	if (shape->reconnect)
		append(text, size_bytes, ", connecting anew after %llu message%s",
		       (unsigned long long)shape->reconnect, shape->reconnect > 1 ? "s" : "");
	return text;
}
