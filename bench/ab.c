/* ab.c - volley ab: two rows in alternating blocks until it is decided which one is faster */
#include "bench/commands.h"

#include <argp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/comparison.h"
#include "bench/lineup.h"
#include "bench/options.h"
#include "bench/series.h"
#include "bench/verdict.h"

#define COMMAND "ab"
#define OVERHEAD_NS UINT64_C(1000000000) /* of a run, around warm-up and window: a guess */
#define NS_PER_HOUR UINT64_C(3600000000000)

enum key {
	KEY_BUDGET = 0x300,
	KEY_FAIL_IF,
	KEY_BY,
};

enum by {
	BY_AUTO,
	BY_CPU,
	BY_RATE
};

struct arguments {
	struct load_options load;
	struct lineup lineup;
	uint64_t budget_ns;
	double limit; /* of --fail-if; 0: none */
	enum by by;
	struct verdict_plan plan;
	struct verdict_stage stages[METRICS];
};

static const struct argp_option option_table[] = {
	{"budget", KEY_BUDGET, "T", 0, "begin no block that would not end within T", 1},
	{"by", KEY_BY, "FIGURE", 0,
	 "what decides: cpu, rate, or auto: rate, but CPU per message where the load generator is saturated (default auto)",
	 1},
	{"fail-if", KEY_FAIL_IF, "P%", 0,
	 "exit code 5 if B is SLOWER by P% or more, 4 if that cannot be told", 3},
	{0},
};

static const char doc[] =
	"Compares two servers: a block runs both, with windows that alternate in short turns (--turns), and gives one ratio. After 5, 10, 20 and 33 blocks it looks whether "
	"the ratio's interval lies wholly beyond +-2% (B is FASTER or SLOWER) or wholly within (EQUIVALENT), and stops if so. The chance to err, "
	"5% in all, is split among these looks, and among rate and CPU per message unless --by names one: then each look has an interval of "
	"98.75% confidence, otherwise of 99.375%."
	"\v"
	"Examples:\n"
	"  volley ab c_epoll volley_epoll\n"
	"  volley ab c_epoll volley_epoll -c 10000 --budget 10m --json ab.jsonl\n"
	"  volley ab c_epoll c_epoll -d 1s -w 200ms\n"
	"      the same server twice: what the machine's own noise does\n"
	"  volley ab --exec './old {port}' --exec './new {port}' --fail-if 5%\n"
	"      exit code 5 if the new one is slower by 5% or more\n\n"
	"--runs is the most blocks it takes (default 33); --preset smoke takes 5 short ones, standard 10, publish 33. Rates are compared only "
	"where the load generator was not saturated.\n"
	"Exit codes: 0 ok, whatever the verdict, 1 a run failed, 2 usage, 3 a row is unavailable here, 4 invalid data, or --fail-if could not be "
	"decided, 5 regression, 130 interrupted.";

static enum by by_of(const char *text)
{
	static const char *const names[] = {"auto", "cpu", "rate"};

	for (size_t i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0)
			return (enum by)i;
	usage_error(COMMAND, "--by: '%s' is none of auto, cpu, rate", text);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char why[256];

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->load;
		state->child_inputs[1] = &args->lineup;
		break;
	case KEY_BUDGET:
		args->budget_ns =
			option_take_duration(COMMAND, "budget", arg, 1000000, 24 * 7 * NS_PER_HOUR);
		break;
	case KEY_FAIL_IF:
		if (option_percent(arg, &args->limit, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--fail-if: %s", why);
		break;
	case KEY_BY:
		args->by = by_of(arg);
		break;
	case ARGP_KEY_END:
		if (args->lineup.session.rows_count != 2)
			usage_error(COMMAND,
				    "name two variants, or one and --exec; volley list names them");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {
	{&load_options_argp, 0, NULL, 0}, {&lineup_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {option_table, parse_option, "A B", doc, children, NULL, NULL};

/* What decides, as far as these runs tell. */
static enum metric deciding(const struct arguments *args, const struct run_result *runs,
			    size_t count)
{
	const struct session_row *rows = args->lineup.session.rows;

	if (args->by != BY_AUTO)
		return args->by == BY_CPU ? METRIC_CPU : METRIC_RATE;
	return series_rates_count(runs, count, rows[0].name, rows[1].name) ? METRIC_RATE
									   : METRIC_CPU;
}

/* Looks at both figures, as far as that is due. */
static void look(struct arguments *args, const struct run_result *runs, size_t count, bool last)
{
	static const enum metric by[] = {METRIC_CPU, METRIC_RATE};
	const struct session_row *rows = args->lineup.session.rows;
	uint32_t blocks = series_blocks(runs, count);
	double *values = calloc((size_t)blocks * 2 + 1, sizeof(*values));

	for (size_t i = 0; values && i < 2; i++) {
		series_by_block(runs, count, rows[0].name, by[i], values, blocks);
		series_by_block(runs, count, rows[1].name, by[i], values + blocks, blocks);
		verdict_look(&args->stages[by[i]], &args->plan, values, values + blocks, blocks,
			     last, metric_more_is_better(by[i]));
	}
	free(values);
}

static uint32_t after_block(struct session *session, const struct run_result *runs, size_t count,
			    uint32_t block, uint32_t blocks)
{
	struct arguments *args = session->arg;

	for (size_t i = 0; i < count; i++)
		if (runs[i].status == RUN_FAILED)
			return block;
	look(args, runs, count, false);
	if (verdict_is_decided(args->stages[deciding(args, runs, count)].verdict))
		return block;
	return blocks;
}

static struct comparison comparison_of(const struct arguments *args, enum metric metric)
{
	const struct session_row *rows = args->lineup.session.rows;

	return (struct comparison){
		.base = rows[0].name,
		.tested = rows[1].name,
		.metric = metric,
		.unit = "blocks",
		.alpha = args->plan.alpha,
		.ratio = args->stages[metric].ratio,
		.verdict = args->stages[metric].verdict,
	};
}

static int gate(const struct arguments *args, FILE *out, const struct comparison *c, int code)
{
	bool more_is_better = metric_more_is_better(c->metric);

	if (args->limit <= 0 || code != EXIT_OK)
		return code;
	switch (verdict_gate(&c->ratio, c->verdict, c->alpha, args->limit, more_is_better)) {
	case GATE_REGRESSION:
		fprintf(out, "--fail-if %.4g%%: regression\n", args->limit * 100);
		return EXIT_REGRESSION;
	case GATE_UNDECIDED:
		fprintf(out, "--fail-if %.4g%%: could not be decided\n", args->limit * 100);
		return EXIT_DATA;
	default:
		fprintf(out, "--fail-if %.4g%%: passed\n", args->limit * 100);
		return code;
	}
}

static int conclude(struct session *session, FILE *out, const struct run_result *runs, size_t count,
		    int code)
{
	struct arguments *args = session->arg;
	const struct session_row *rows = session->rows;
	const char *const names[] = {rows[0].name, rows[1].name};
	enum metric first = deciding(args, runs, count);
	enum metric other = first == METRIC_CPU ? METRIC_RATE : METRIC_CPU;
	bool ranked = series_rates_count(runs, count, names[0], names[1]);
	char text[COMPARISON_TEXT_BYTES];

	if (rows[0].unavailable[0] || rows[1].unavailable[0])
		return code;
	look(args, runs, count, true);
	struct comparison c = comparison_of(args, first);
	fprintf(out, "%s\n", comparison_sentence(&c, text));
	if (first == METRIC_RATE && !ranked)
		fprintf(out,
			"(the load generator was saturated: a difference of rates may be its own)\n");
	if (other == METRIC_RATE && !ranked) {
		fprintf(out, "no verdict by rate: the load generator was saturated\n");
	} else {
		struct comparison second = comparison_of(args, other);
		/* A figure that was declared to decide decides alone. */
		fprintf(out, "%s\n",
			args->by == BY_AUTO ? comparison_sentence(&second, text)
					    : comparison_aside(&second, text));
	}
	fprintf(out, "(paired by block; %u of %u looks, each with confidence %.4g%%)\n",
		args->stages[first].looks, args->plan.looks, (1 - args->plan.alpha) * 100);
	comparison_print_drift(out, names[0], runs, count);
	comparison_print_outliers(out, names, 2, runs, count);
	/* Runs that stayed invalid are missing pairs: no matter if the others decided. */
	if (code == EXIT_DATA && verdict_is_decided(c.verdict))
		code = EXIT_OK;
	return gate(args, out, &c, code);
}

static void finish_options(struct arguments *args)
{
	struct load_options *o = &args->load;
	static const uint32_t blocks[] = {VERDICT_BLOCKS, 5, 10, VERDICT_BLOCKS};
	char text[32];

	load_options_finish(o);
	if (!o->runs_given)
		o->runs = blocks[o->preset];
	if (o->runs < STATS_RUNS_MIN)
		usage_error(COMMAND, "--runs: at least %d blocks are needed for a verdict",
			    STATS_RUNS_MIN);
	/* Five blocks of two runs, and two canaries. */
	uint64_t least_ns =
		(o->warmup_ns + o->duration_ns + OVERHEAD_NS) * (2 * STATS_RUNS_MIN + 2);
	if (args->budget_ns && args->budget_ns < least_ns)
		usage_error(COMMAND,
			    "--budget: %d blocks take about %s; shorten --duration and --warmup",
			    STATS_RUNS_MIN, option_duration_format(least_ns, text, sizeof(text)));
	verdict_plan(&args->plan, o->runs, args->by == BY_AUTO ? 2 : 1);
}

int command_ab(int argc, char **argv)
{
	struct arguments *args = calloc(1, sizeof(*args));
	int whole_argc = argc;

	if (!args) {
		fprintf(stderr, "volley " COMMAND ": out of memory\n");
		return EXIT_FAILED;
	}
	load_options_init(&args->load, COMMAND);
	args->lineup.command = COMMAND;
	args->lineup.twice = args->lineup.alternate = true;
	/* argp moves what it has read: the result file tells the words as they were. */
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	for (int i = 0; words && i < argc; i++)
		words[i] = argv[i];
	command_parse(COMMAND, &parser, argc, argv, args);
	finish_options(args);
	lineup_finish(&args->lineup, &args->load, words ? whole_argc : 0, words);
	struct session *session = &args->lineup.session;
	/* With one of them missing there is nothing to compare: the other need not run. */
	for (int i = 0; i < 2; i++)
		if (session->rows[i].unavailable[0] && !session->rows[!i].unavailable[0])
			snprintf(session->rows[!i].unavailable, RUN_REASON_BYTES,
				 "there is nothing to compare it with: %s is unavailable",
				 session->rows[i].name);
	session->budget_ns = args->budget_ns;
	session->after_block = after_block;
	session->conclude = conclude;
	session->arg = args;
	int code = session_run(session);
	free(words);
	free(args);
	return code;
}
