/* keepup.c - volley keepup: at what rate does a consumer fall behind? */
#include "bench/keepup.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/commands.h"
#include "bench/descriptors.h"
#include "bench/preflight.h"
#include "volley/config.h"
#include "volley/core.h"

#define COMMAND KEEPUP_COMMAND
#define OWN_MAX 8
#define ATTEMPTS 4
#define ATTEMPTS_MAX 9
#define NS_PER_MS UINT64_C(1000000)
#define RATE_LIMIT 1e9
#define PATIENCE_NS (4000 * NS_PER_MS)
#define UNDER_WAY 1024u
#define DEPTH_MAX 64u
#define NO_PACE                                                                                    \
	"no number from 1 to 1000 (operations per ns); full_pace_op_per_ns in the --json FILE of another search has it, and left out it is measured"

enum key {
	KEY_SOURCE = 0x500,
	KEY_WORK,
	KEY_MODE,
	KEY_GC,
	KEY_PREFETCH,
	KEY_COMPETE,
	KEY_SLOW,
	KEY_CONSUMER,
	KEY_EXEC,
	KEY_LAG,
	KEY_ONE_LAG,
	KEY_START,
	KEY_MIN,
	KEY_MAX,
	KEY_CONFIRM,
	KEY_ATTEMPTS,
	KEY_FULL_PACE,
	KEY_NO_OVERLOAD,
	KEY_RESUME,
	KEY_PLOT,
};

struct arguments {
	struct keepup keepup;
	struct consumer own[OWN_MAX]; /* of --consumer and --exec */
	unsigned int own_count;
	bool lag_given;
};

static const char doc[] =
	"Finds the highest rate of messages at which a consumer keeps up: all that is offered is consumed, no backlog grows, and the 99th "
	"percentile of the lag, from the time when a message was due to its turn, stays within 1 ms, and within 100 us. The rate is doubled "
	"from 10,000 messages per second until the consumer falls behind, then bisected to 1%, and confirmed in a long trial. Then 1.1, 1.5 and "
	"2 times as much is offered, to see what is left of it and whether it comes back. Rates are an open loop: nobody waits for the consumer."
	"\v"
	"Examples:\n"
	"  volley keepup c_null volley_columns volley_batch\n"
	"      without a network: a generator on a CPU of its own\n"
	"  volley keepup --source uring c_echo volley_proto asyncio_proto uvloop_proto\n"
	"  volley keepup --consumer mymodule:Protocol\n"
	"      your own: a Protocol class, a coroutine function (conn) or (reader, writer), or a function (batch)\n"
	"  volley keepup --source uring --exec './my_server {port}'\n"
	"  volley keepup volley_batch --gc frozen --json out.jsonl --save-plot=lag.svg\n"
	"  volley keepup volley_batch --json out.jsonl --resume\n\n"
	"Consumers: c_null c_echo volley_proto volley_completion volley_coro volley_batch volley_columns volley_loop asyncio_proto uvloop_proto "
	"asyncio uvloop. Each counts its messages and sums their first 8 bytes, and is held to both.\n"
	"--rate, --runs, --preset, --think, --reconnect and --syscalls of the other commands have no meaning here.\n"
	"Exit codes: 0 ok, 1 a consumer failed, 2 usage, 3 one is unavailable here (the others ran), 4 a file cannot be resumed, 130 interrupted.";

static const struct argp_option option_table[] = {
	{NULL, 0, NULL, 0, "Consumer:", 5},
	{"source", KEY_SOURCE, "NAME", 0,
	 "where messages come from: internal (default), uring (kernel sockets), loop (this engine's TCP/IP in memory), dpdk (and on DPDK's memif)",
	 0},
	{"work", KEY_WORK, "NAME", 0,
	 "echo (default); sink: no answer; record: parse a binary record, update a dictionary, append to a column, echo",
	 0},
	{"mode", KEY_MODE, "NAME", 0,
	 "of the engine: inline (default), thread, or process: one for each server CPU, two at least, on one port",
	 0},
	{"gc", KEY_GC, "NAME", 0, "the garbage collector: on (default), off, or frozen", 0},
	{"no-prefetch", KEY_PREFETCH, NULL, 0, "without staged prefetch of a batch's objects", 0},
	{"competing-thread", KEY_COMPETE, NULL, 0, "beside another Python thread that computes", 0},
	{"slow", KEY_SLOW, "T", 0, "every message takes so much longer, calibrated: 1us, 500ns", 0},
	{"consumer", KEY_CONSUMER, "MODULE:NAME", 0, "a consumer of your own, in any style", 0},
	{"exec", KEY_EXEC, "COMMAND", 0,
	 "any program that echoes, as for volley pingpong (network only)", 0},
	{NULL, 0, NULL, 0, "Search:", 6},
	{"lag", KEY_LAG, "T", 0,
	 "the limit of the 99th percentile, instead of 1 ms; the second stays a tenth of it", 0},
	{"one-lag", KEY_ONE_LAG, NULL, 0, "search for that limit alone", 0},
	{"start", KEY_START, "RATE", 0, "the first rate (default 10k)", 0},
	{"min-rate", KEY_MIN, "RATE", 0, "lower rates are not tried (default 100)", 0},
	{"max-rate", KEY_MAX, "RATE", 0,
	 "the highest rate that is tried (default 40M; over a network 10M)", 0},
	{"confirm", KEY_CONFIRM, "T", 0, "length of the confirming trial (default 2s)", 0},
	{"attempts", KEY_ATTEMPTS, "N", 0, "of a trial that others disturbed (default 4)", 0},
	{"full-pace", KEY_FULL_PACE, "N", 0,
	 "operations per ns of cores that are all ours, as another search has seen it", 0},
	{"no-overload", KEY_NO_OVERLOAD, NULL, 0, "do not offer more than it keeps up with", 0},
	{"resume", KEY_RESUME, NULL, 0, "go on with the trials that --json FILE has already", 0},
	{"save-plot", KEY_PLOT, "FILE", 0, "lag against rate, as FILE.png or FILE.svg", 0},
	{0},
};

static const char *one_of(const char *option, const char *text, const char *const *names,
			  size_t count)
{
	char list[128] = "";

	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, names[i]) == 0)
			return names[i];
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
			 names[i]);
	}
	usage_error(COMMAND, "--%s: '%s' is none of %s", option, text, list);
}

/* 5000, 20k, 1.5M */
static double rate_of(const char *option, const char *text)
{
	const char *unit;
	double rate = option_leading(text, &unit);

	if (strcmp(unit, "k") == 0)
		rate *= 1e3;
	else if (strcmp(unit, "M") == 0)
		rate *= 1e6;
	else if (*unit)
		rate = -1;
	if (rate < 0)
		usage_error(
			COMMAND,
			"--%s: '%s' is not a rate; write 5000, 20k or 1.5M (messages per second)",
			option, text);
	if (rate < 100 || rate > RATE_LIMIT)
		usage_error(
			COMMAND,
			"--%s: %s is out of range; 100 to 1000M messages per second are allowed",
			option, text);
	return floor(rate);
}

/* A short time: 100us, 1ms, 500ns; a bare number has no unit and is refused. */
static double short_time(const char *option, const char *text, double min_ns, double max_ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
	const char *unit;
	double value = option_leading(text, &unit), ns = -1;

	for (size_t i = 0; i < 4; i++)
		if (strcmp(unit, units[i].unit) == 0)
			ns = value * units[i].ns;
	if (ns < 0)
		usage_error(COMMAND, "--%s: '%s' is not a time; write 100us, 1ms or 500ns", option,
			    text);
	if (ns < min_ns || ns > max_ns)
		usage_error(COMMAND, "--%s: %s is out of range; %.0f ns to %.0f ms are allowed",
			    option, text, min_ns, max_ns / 1e6);
	return ns;
}

static struct keepup_row *new_row(struct keepup *keepup, struct consumer *consumer)
{
	if (keepup->rows_count == KEEPUP_ROWS_MAX)
		usage_error(COMMAND, "%d consumers are allowed", KEEPUP_ROWS_MAX);
	for (unsigned int i = 0; i < keepup->rows_count; i++)
		if (keepup->rows[i].consumer == consumer)
			usage_error(COMMAND, "%s is named twice", consumer->variant.name);
	struct keepup_row *row = &keepup->rows[keepup->rows_count++];

	row->consumer = consumer;
	return row;
}

static void add_named(struct keepup *keepup, const char *name)
{
	const char *nearest = NULL;
	struct consumer *consumer = consumer_find(name, &nearest);

	if (!consumer)
		usage_error(COMMAND, "there is no consumer '%s'%s%s; --help lists them", name,
			    nearest ? "; did you mean " : "", nearest ? nearest : "");
	new_row(keepup, consumer);
}

static void add_own(struct arguments *args, const char *text, bool exec)
{
	if (args->own_count == OWN_MAX)
		usage_error(COMMAND, "%d of --consumer and --exec are allowed", OWN_MAX);
	struct consumer *consumer = &args->own[args->own_count++];

	if (exec) {
		static char names[OWN_MAX][16];
		char *name = names[args->own_count - 1];

		snprintf(name, sizeof(names[0]), args->own_count > 1 ? "exec-%u" : "exec",
			 args->own_count);
		consumer_from_exec(consumer, name, text);
	} else {
		if (args->keepup.setting.module)
			usage_error(COMMAND, "one --consumer is allowed");
		args->keepup.setting.module = text;
		consumer_from_module(consumer, text, text);
	}
	new_row(&args->keepup, consumer);
}

static bool parse_search(struct arguments *args, int key, const char *arg)
{
	struct keepup *keepup = &args->keepup;
	const char *rest;
	uint64_t number;
	char why[256];

	switch (key) {
	case KEY_LAG:
		keepup->limits_ns[0] = short_time("lag", arg, 1000, 10e9);
		keepup->limits_ns[1] = keepup->limits_ns[0] / 10;
		return true;
	case KEY_ONE_LAG:
		keepup->limits_count = 1;
		return true;
	case KEY_START:
		keepup->start = rate_of("start", arg);
		return true;
	case KEY_MIN:
		keepup->min = rate_of("min-rate", arg);
		return true;
	case KEY_MAX:
		keepup->max = rate_of("max-rate", arg);
		return true;
	case KEY_CONFIRM:
		if (option_duration(arg, 50 * NS_PER_MS, 30000 * NS_PER_MS,
				    &keepup->plan.confirm_ns, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--confirm: %s", why);
		return true;
	case KEY_ATTEMPTS:
		if (option_number(arg, 1, ATTEMPTS_MAX, &number, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--attempts: %s", why);
		keepup->attempts = (uint32_t)number;
		return true;
	case KEY_FULL_PACE:
		keepup->full_pace[0] = keepup->full_pace[1] = option_leading(arg, &rest);
		if (*rest || !(keepup->full_pace[0] >= 1 && keepup->full_pace[0] <= 1000))
			usage_error(COMMAND, "--full-pace: '%s' is " NO_PACE, arg);
		return true;
	case KEY_NO_OVERLOAD:
		return keepup->no_overload = true;
	case KEY_RESUME:
		return keepup->resume = true;
	case KEY_PLOT:
		keepup->plot_path = arg;
		return true;
	default:
		return false;
	}
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	static const char *const works[] = {"echo", "sink", "record"},
				 *const modes[] = {"inline", "thread", "process"},
				 *const gcs[] = {"on", "off", "frozen"};
	struct arguments *args = state->input;
	struct consumer_setting *setting = &args->keepup.setting;

	if (parse_search(args, key, arg))
		return 0;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->keepup.options;
		break;
	case KEY_SOURCE:
		if (feed_of(arg) < 0)
			usage_error(COMMAND,
				    "--source: '%s' is none of internal, uring, loop, dpdk", arg);
		setting->feed = (enum feed)feed_of(arg);
		break;
	case KEY_WORK:
		setting->work = one_of("work", arg, works, 3);
		break;
	case KEY_MODE:
		setting->mode = one_of("mode", arg, modes, 3);
		break;
	case KEY_GC:
		setting->gc = one_of("gc", arg, gcs, 3);
		break;
	case KEY_PREFETCH:
		setting->no_prefetch = true;
		break;
	case KEY_COMPETE:
		setting->compete = true;
		break;
	case KEY_SLOW:
		setting->slow_ns = (uint32_t)short_time("slow", arg, 200, 1e9);
		break;
	case KEY_CONSUMER:
		add_own(args, arg, false);
		break;
	case KEY_EXEC:
		add_own(args, arg, true);
		break;
	case ARGP_KEY_ARG:
		add_named(&args->keepup, arg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {{&load_options_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {option_table, parse_option, "CONSUMER...", doc,
				   children,     NULL,         NULL};

static struct keepup *running;
static atomic_int interrupted_by;

static void handle_signal(int number)
{
	atomic_store_explicit(&interrupted_by, number, memory_order_relaxed);
	atomic_store_explicit(&running->interrupted, true, memory_order_relaxed);
}

/* The second signal ends us at once; children notice. */
static void catch_signals(struct keepup *keepup)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = (int)SA_RESETHAND};

	running = keepup;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

static void refuse(const struct keepup *keepup)
{
	const struct load_options *o = &keepup->options;
	const char *dot = keepup->plot_path ? strrchr(keepup->plot_path, '.') : NULL;

	if (keepup->rows_count == 0)
		usage_error(COMMAND,
			    "name at least one consumer, --consumer or --exec; --help lists them");
	if (o->shape.rate_msg_per_s > 0 || o->runs_given || o->preset != PRESET_NONE ||
	    o->shape.think_max_ns || o->shape.reconnect || o->syscalls)
		usage_error(
			COMMAND,
			"--rate, --runs, --preset, --think, --reconnect and --syscalls have no meaning "
			"here: the rate is what is looked for");
	if (keepup->setting.feed == FEED_INTERNAL && o->shape.arrivals_given)
		usage_error(COMMAND, "--arrivals is about a network; name one with --source");
	if (keepup->start > keepup->max || keepup->min > keepup->start)
		usage_error(COMMAND, "--start is not between --min-rate and --max-rate");
	if (keepup->plot_path && o->json_path && strcmp(o->json_path, "-") == 0)
		usage_error(COMMAND, "--save-plot draws what a file has: --json FILE instead of -");
	if (keepup->resume && (!o->json_path || strcmp(o->json_path, "-") == 0))
		usage_error(COMMAND, "--resume needs the file to go on with: --json FILE");
	if (keepup->plot_path && (!dot || (strcmp(dot, ".png") != 0 && strcmp(dot, ".svg") != 0)))
		usage_error(COMMAND, "--save-plot: '%s' ends neither in .png nor in .svg",
			    keepup->plot_path);
	if (keepup->setting.feed == FEED_INTERNAL && (o->size_bytes < 16 || o->size_bytes > 65536))
		usage_error(
			COMMAND,
			"--size: %u is out of range; 16 to 65536 are allowed from the internal source",
			o->size_bytes);
	if (keepup->setting.feed == FEED_INTERNAL && keepup->plan.window_ns > 30000 * NS_PER_MS)
		usage_error(COMMAND,
			    "--duration: at most 30 s are allowed from the internal source");
}

/*
 * Of a connection: so that a thousand messages may be under way. What is due beyond that waits in the load
 * generator, and its wait counts.
 */
static uint32_t depth_for(uint32_t connections)
{
	uint32_t depth = UNDER_WAY / connections;

	return depth < 1 ? 1 : depth > DEPTH_MAX ? DEPTH_MAX : depth;
}

static void finish(struct keepup *keepup)
{
	struct load_options *o = &keepup->options;
	bool network = keepup->setting.feed != FEED_INTERNAL;

	keepup->plan.options = o;
	keepup->plan.setting = &keepup->setting;
	keepup->plan.interrupted = &keepup->interrupted;
	keepup->plan.progress = &keepup->progress;
	keepup->plan.full_pace = keepup->full_pace;
	keepup->plan.patience_ns = keepup->attempts > 1 ? PATIENCE_NS : 0;
	if (!o->duration_given)
		o->duration_ns = (network ? 1000 : 500) * NS_PER_MS;
	if (!o->warmup_given)
		o->warmup_ns = (network ? 300 : 200) * NS_PER_MS;
	if (network && !o->depth_given)
		o->depth = depth_for(o->connections);
	/* evenly, as from the internal source */
	o->shape.constant = network && !(o->shape.arrivals_given && !o->shape.constant);
	keepup->plan.window_ns = o->duration_ns;
	keepup->plan.limit_ns = keepup->limits_ns[0];
	keepup->plan.warmup_ns = o->warmup_ns;
	if (keepup->max == 0)
		keepup->max = network ? 10e6 : 40e6;
	refuse(keepup);
	o->shape.arrivals_given = false; /* there is no --rate that it would be about */
	load_options_finish(o);
	for (unsigned int i = 0; i < keepup->rows_count; i++) {
		struct keepup_row *row = &keepup->rows[i];
		const char *why = consumer_refuses(row->consumer, &keepup->setting);

		consumer_set_up(row->consumer, &keepup->setting);
		struct variant_setting setting = {
			.host = "127.0.0.1",
			.cpus = &o->server_cpus,
			.connections = o->connections,
			.size_bytes = o->size_bytes,
			.python = o->python,
		};

		if (why)
			snprintf(row->unavailable, sizeof(row->unavailable), "%s", why);
		else if (row->consumer->variant.check(&row->consumer->variant, &setting,
						      row->unavailable,
						      sizeof(row->unavailable)) == 0)
			row->unavailable[0] = '\0';
	}
}

/* What others do compared with C at the same work. */
static void compare_with_control(struct keepup *keepup)
{
	const char *name = strcmp(keepup->setting.work, "sink") == 0 ? "c_null" : "c_echo";
	double control = 0;

	for (unsigned int i = 0; i < keepup->rows_count; i++)
		if (strcmp(keepup->rows[i].consumer->variant.name, name) == 0 &&
		    keepup->rows[i].answer.known[0])
			control = keepup->rows[i].answer.searches[0].rate;
	for (unsigned int i = 0; i < keepup->rows_count; i++)
		keepup->rows[i].answer.kappa =
			control > 0 && keepup->rows[i].answer.known[0]
				? keepup->rows[i].answer.searches[0].rate / control
				: (double)NAN;
}

static int exit_code_of(const struct keepup *keepup)
{
	int code = EXIT_OK;

	if (atomic_load_explicit(&keepup->interrupted, memory_order_relaxed))
		return 128 + atomic_load_explicit(&interrupted_by, memory_order_relaxed);
	for (unsigned int i = 0; i < keepup->rows_count; i++) {
		enum run_status status = keepup->rows[i].answer.status;

		if (status == RUN_FAILED || status == RUN_INVALID)
			return EXIT_FAILED;
		if (status == RUN_UNAVAILABLE)
			code = EXIT_ENVIRONMENT;
	}
	return code;
}

/* Of a row that was not reached. */
static const struct keepup_answer never_measured = {
	.status = RUN_INTERRUPTED,
	.kappa = (double)NAN,
	.cpu_us_per_msg = (double)NAN,
	.batch_p50 = (double)NAN,
	.ghz = (double)NAN,
	.pace = (double)NAN,
	.slowed_by_ns = (double)NAN,
	.unslowed_ns = (double)NAN,
};

static int run(struct keepup *keepup)
{
	struct load_options *o = &keepup->options;
	char server[CPUS_TEXT_MAX], load[CPUS_TEXT_MAX];

	catch_signals(keepup);
	(void)child_adopt_orphans();
	(void)descriptors_raise();
	/* A picture is drawn from a file; without one of the user's, from one of ours. */
	char drawn[48];

	snprintf(drawn, sizeof(drawn), "/tmp/volley-keepup-%d-XXXXXX", (int)getpid());
	int drawn_fd = keepup->plot_path && !o->json_path ? mkostemp(drawn, O_CLOEXEC) : -1;

	if (drawn_fd >= 0) {
		close(drawn_fd);
		o->json_path = drawn;
	}
	int code = keepup_file_open(keepup);
	if (code)
		return code;
	progress_init(&keepup->progress, keepup->rows_count * 30,
		      keepup->plan.warmup_ns + keepup->plan.window_ns + KEEPUP_TRIAL_OVERHEAD_NS);
	fprintf(stderr, "volley keepup: consumer on CPU %s, messages from CPU %s%s; seed %llu\n",
		cpus_format(&o->server_cpus, server, sizeof(server)),
		cpus_format(&o->load_cpus, load, sizeof(load)),
		child_go_first() ? ", before others (nice -20)"
				 : ", nice as it is (a higher priority is not permitted)",
		(unsigned long long)o->seed);
	keepup_prove_generator(keepup);
	for (unsigned int i = 0; i < keepup->rows_count; i++) {
		struct keepup_row *row = &keepup->rows[i];
		char text[1024];

		if (atomic_load_explicit(&keepup->interrupted, memory_order_relaxed)) {
			row->answer = never_measured;
			continue;
		}
		keepup_search_row(keepup, row);
		keepup_sentence(keepup, row, text, sizeof(text));
		progress_note(&keepup->progress, "volley keepup: %s", text);
	}
	progress_clear(&keepup->progress);
	compare_with_control(keepup);
	FILE *out = keepup->file.file == stdout ? stderr : stdout;

	keepup_print(keepup, out);
	code = command_flush(COMMAND, out, exit_code_of(keepup));
	keepup_file_answers(keepup);
	result_end(&keepup->file,
		   atomic_load_explicit(&keepup->interrupted, memory_order_relaxed) ? "interrupted"
										    : "complete",
		   code);
	int err = result_close(&keepup->file);
	if (err) {
		fprintf(stderr,
			"volley keepup: --json: writing %s failed: %s; the file is incomplete\n",
			o->json_path, strerror(-err));
		return code == EXIT_OK ? EXIT_FAILED : code;
	}
	if (keepup->plot_path && keepup_plot(keepup, o->json_path) != 0 && code == EXIT_OK)
		code = EXIT_ENVIRONMENT;
	if (drawn_fd >= 0)
		unlink(drawn);
	return code;
}

int command_keepup(int argc, char **argv)
{
	struct arguments *args = calloc(1, sizeof(*args));
	char **words = calloc((size_t)argc + 1, sizeof(*words));

	if (!args || !words) {
		fprintf(stderr, "volley " COMMAND ": out of memory\n");
		free(args);
		free(words);
		return EXIT_FAILED;
	}
	for (int i = 0; i < argc; i++)
		words[i] = argv[i];
	struct keepup *keepup = &args->keepup;

	keepup->argc = argc;
	keepup->argv = words;
	keepup->limits_ns[0] = 1e6;
	keepup->limits_ns[1] = 1e5;
	keepup->limits_count = KEEPUP_LIMITS;
	keepup->start = 10e3;
	keepup->min = 100;
	keepup->plan.confirm_ns = 2000 * NS_PER_MS;
	keepup->attempts = ATTEMPTS;
	keepup->setting.work = "echo";
	keepup->setting.mode = "inline";
	keepup->setting.gc = "on";
	load_options_init(&keepup->options, COMMAND);
	command_parse(COMMAND, &parser, argc, argv, args);
	finish(keepup);
	int code = run(keepup);

	free(keepup->pasts);
	free(words);
	free(args);
	return code;
}
