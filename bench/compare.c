/* compare.c - volley compare: two result files, row against row */
#include "bench/commands.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/comparison.h"
#include "bench/options.h"
#include "bench/result_reader.h"
#include "bench/series.h"
#include "bench/verdict.h"

#define COMMAND "compare"
#define PAIRS_MAX 256
#define KEY_FAIL_IF 0x300

struct arguments {
	const char *paths[2];
	unsigned int paths_count;
	double limit; /* of --fail-if; 0: none */
};

/* A row with the load it was under: what may be compared with the same in the other file. */
struct group {
	const char *variant;
	struct result_plan plan;
};

/* Two groups that belong together, and the runs of each. */
struct pair {
	struct group base, tested;
	struct comparison by[2]; /* CPU, rate */
	bool ranked;             /* by[1] counts */
};

static const struct argp_option option_table[] = {
	{"fail-if", KEY_FAIL_IF, "P%", 0,
	 "exit code 5 if a row of the second file is SLOWER by P% or more, 4 if that cannot be told",
	 0},
	{0},
};

static const char doc[] =
	"Compares the rows of two result files that have the same name and were under the same load: the second file against the first. "
	"The runs have nothing to do with each other (Welch's test, unpaired), so that whatever changed on the machine in between counts as a difference: "
	"where it can, let volley ab decide."
	"\v"
	"Examples:\n"
	"  volley compare before.jsonl after.jsonl\n"
	"  volley compare before.jsonl after.jsonl --fail-if 5%\n\n"
	"If each file has one row, their names need not be the same.\n"
	"Exit codes: 0 ok, whatever the verdicts, 2 usage, 3 a file cannot be read, 4 a file is cut off, foreign or newer, has nothing to compare, or "
	"--fail-if could not be decided, 5 regression.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;
	char why[256];

	switch (key) {
	case KEY_FAIL_IF:
		if (option_percent(arg, &args->limit, why, sizeof(why)) != 0)
			usage_error(COMMAND, "--fail-if: %s", why);
		break;
	case ARGP_KEY_ARG:
		if (args->paths_count == 2)
			usage_error(COMMAND, "'%s' is one argument too many", arg);
		args->paths[args->paths_count++] = arg;
		break;
	case ARGP_KEY_END:
		if (args->paths_count != 2)
			usage_error(COMMAND, "name two result files");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {
	.options = option_table, .parser = parse_option, .args_doc = "FILE FILE", .doc = doc};

static bool same_plan(const struct result_plan *a, const struct result_plan *b)
{
	return strcmp(a->workload, b->workload) == 0 && a->connections == b->connections &&
	       a->size_bytes == b->size_bytes && a->depth == b->depth;
}

/* The groups that have an ok run, in the order of the file. */
static size_t groups_of(const struct result_data *data, struct group *groups)
{
	size_t count = 0;

	for (size_t i = 0; i < data->count; i++) {
		bool known = data->runs[i].status != RUN_OK;
		for (size_t j = 0; j < count && !known; j++)
			known = same_plan(&groups[j].plan, &data->plans[i]) &&
				strcmp(groups[j].variant, data->runs[i].variant) == 0;
		if (!known && count < PAIRS_MAX)
			groups[count++] = (struct group){data->runs[i].variant, data->plans[i]};
	}
	return count;
}

/* Copies the runs under the plan; NULL without memory. `count` becomes how many. */
static struct run_result *runs_under(const struct result_data *data, const struct result_plan *plan,
				     size_t *count)
{
	struct run_result *runs = calloc(data->count + 1, sizeof(*runs));

	*count = 0;
	for (size_t i = 0; runs && i < data->count; i++)
		if (same_plan(&data->plans[i], plan))
			runs[(*count)++] = data->runs[i];
	return runs;
}

/* Logarithms of one figure of a group. */
static struct stats_logs logs_of(const struct run_result *runs, size_t count, const char *variant,
				 enum metric metric, size_t *used)
{
	double *values = calloc(count + 1, sizeof(*values));

	*used = values ? series_all(runs, count, variant, metric, false, values) : 0;
	struct stats_logs logs = stats_logs(values, *used);
	free(values);
	return logs;
}

static int compare_pair(struct pair *pair, const struct result_data *base,
			const struct result_data *tested)
{
	size_t base_count, tested_count, base_used, tested_used;
	struct run_result *x = runs_under(base, &pair->base.plan, &base_count);
	struct run_result *y = runs_under(tested, &pair->tested.plan, &tested_count);
	enum metric metrics[] = {METRIC_CPU_SCALED, METRIC_RATE};

	if (!x || !y) {
		free(x);
		free(y);
		return -ENOMEM;
	}
	for (int i = 0; i < 2; i++) {
		struct stats_logs a =
			logs_of(x, base_count, pair->base.variant, metrics[i], &base_used);
		struct stats_logs b =
			logs_of(y, tested_count, pair->tested.variant, metrics[i], &tested_used);
		/* The clock is compared away only if it is known of every run. */
		if (metrics[i] == METRIC_CPU_SCALED &&
		    (a.count < base_used || b.count < tested_used)) {
			metrics[i--] = METRIC_CPU;
			continue;
		}
		pair->by[i] = (struct comparison){
			.base = "",
			.tested = pair->tested.variant,
			.metric = metrics[i],
			.unit = "runs",
			.ratio = stats_unpaired(&a, &b),
			.alpha = STATS_ALPHA,
		};
	}
	pair->ranked = !series_limited(x, base_count, NULL, "client") &&
		       !series_limited(y, tested_count, NULL, "client") &&
		       !series_limited(x, base_count, pair->base.variant, "both") &&
		       !series_limited(y, tested_count, pair->tested.variant, "both");
	free(x);
	free(y);
	return 0;
}

/* Holm's families: all rows of a number of connections, by both figures. */
static void judge(struct pair *pairs, size_t count)
{
	static struct comparison family[2 * PAIRS_MAX];
	static struct comparison *members[2 * PAIRS_MAX];
	bool done[PAIRS_MAX] = {false};

	for (size_t i = 0; i < count; i++) {
		size_t used = 0;
		for (size_t j = i; j < count; j++) {
			if (done[j] ||
			    pairs[j].base.plan.connections != pairs[i].base.plan.connections)
				continue;
			done[j] = true;
			for (int by = 0; by <= (int)pairs[j].ranked; by++)
				members[used++] = &pairs[j].by[by];
		}
		for (size_t j = 0; j < used; j++)
			family[j] = *members[j];
		comparison_judge(family, used);
		for (size_t j = 0; j < used; j++)
			*members[j] = family[j];
	}
}

/* Open or closed loop, think time and the like, which hold for a whole file. Older ones have none. */
static bool same_shape(const struct result_data *data)
{
	const json_t *a = json_object_get(json_object_get(data[0].header, "plan"), "load");
	const json_t *b = json_object_get(json_object_get(data[1].header, "plan"), "load");

	return a == b || json_equal(a, b);
}

static size_t find_pairs(const struct result_data *data, struct pair *pairs)
{
	static struct group groups[2][PAIRS_MAX];
	size_t counts[2] = {groups_of(&data[0], groups[0]), groups_of(&data[1], groups[1])};
	size_t used = 0;

	for (size_t i = 0; i < counts[0]; i++)
		for (size_t j = 0; j < counts[1]; j++) {
			bool single = counts[0] == 1 && counts[1] == 1;
			if (!same_plan(&groups[0][i].plan, &groups[1][j].plan))
				continue;
			if (!single && strcmp(groups[0][i].variant, groups[1][j].variant) != 0)
				continue;
			pairs[used++] = (struct pair){.base = groups[0][i], .tested = groups[1][j]};
			break;
		}
	return used;
}

static const char *environment_of(const struct result_data *data, const char *key)
{
	const json_t *environment = json_object_get(data->header, "environment");
	const char *text = json_string_value(json_object_get(environment, key));

	return text ? text : "unknown";
}

/* Pieces of a window, which older files do not tell. */
static int turns_of(const struct result_data *data)
{
	const json_t *turns = json_object_get(json_object_get(data->header, "plan"), "turns");

	return turns ? (int)json_integer_value(turns) : 1;
}

/* What else differs between the files, and so may be the cause. */
static void print_differences(const struct result_data *data)
{
	static const char *const keys[] = {"host", "cpu_model", "kernel"};
	static const char *const plan_keys[] = {"warmup_s", "duration_s", "server_cpus",
						"load_cpus"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *a = environment_of(&data[0], keys[i]);
		const char *b = environment_of(&data[1], keys[i]);
		if (strcmp(a, b) != 0)
			fprintf(stderr, "volley compare: warning: %s differs: %s and %s\n", keys[i],
				a, b);
	}
	for (size_t i = 0; i < sizeof(plan_keys) / sizeof(plan_keys[0]); i++) {
		const json_t *a =
			json_object_get(json_object_get(data[0].header, "plan"), plan_keys[i]);
		const json_t *b =
			json_object_get(json_object_get(data[1].header, "plan"), plan_keys[i]);
		if (!json_equal(a, b))
			fprintf(stderr, "volley compare: warning: %s differs\n", plan_keys[i]);
	}
	if (turns_of(&data[0]) != turns_of(&data[1]))
		fprintf(stderr, "volley compare: warning: turns differ: %d and %d\n",
			turns_of(&data[0]), turns_of(&data[1]));
	for (int i = 0; i < 2; i++)
		if (data[i].interrupted)
			fprintf(stderr, "volley compare: warning: %s was interrupted\n",
				data[i].path);
}

static enum verdict_gate print_pair(const struct pair *pair, double limit)
{
	char text[COMPARISON_TEXT_BYTES], base[128];
	/* Rates decide where they may be ranked, as in ab. */
	const struct comparison *decides = &pair->by[pair->ranked];

	snprintf(base, sizeof(base), "%.100s of the first file", pair->base.variant);
	printf("\n%u connections, %u bytes, %u in flight on each\n", pair->base.plan.connections,
	       pair->base.plan.size_bytes, pair->base.plan.depth);
	for (int i = 0; i < 2; i++) {
		struct comparison c = pair->by[i];
		c.base = base;
		if (i == 1 && !pair->ranked)
			printf("no verdict on %s by rate: a load generator was saturated\n",
			       c.tested);
		else
			printf("%s\n", comparison_sentence(&c, text));
	}
	if (limit <= 0)
		return GATE_PASSED;
	return verdict_gate(&decides->ratio, decides->verdict, decides->alpha, limit,
			    metric_more_is_better(decides->metric));
}

static int compare_files(const struct arguments *args, const struct result_data *data)
{
	static struct pair pairs[PAIRS_MAX];
	bool seen[GATE_UNDECIDED + 1] = {false};
	size_t count = same_shape(data) ? find_pairs(data, pairs) : 0;

	if (count == 0) {
		fprintf(stderr,
			"volley compare: %s and %s have no row in common that was measured under the same load\n",
			data[0].path, data[1].path);
		return EXIT_DATA;
	}
	for (size_t i = 0; i < count; i++)
		if (compare_pair(&pairs[i], &data[0], &data[1]) != 0)
			return EXIT_FAILED;
	print_differences(data);
	judge(pairs, count);
	printf("UNPAIRED: %s against %s; the machine may have changed in between\n", data[1].path,
	       data[0].path);
	for (size_t i = 0; i < count; i++)
		seen[print_pair(&pairs[i], args->limit)] = true;
	if (args->limit > 0)
		printf("\n--fail-if %.4g%%: %s\n", args->limit * 100,
		       seen[GATE_REGRESSION]  ? "regression"
		       : seen[GATE_UNDECIDED] ? "could not be decided"
					      : "passed");
	if (seen[GATE_REGRESSION])
		return EXIT_REGRESSION;
	return seen[GATE_UNDECIDED] ? EXIT_DATA : EXIT_OK;
}

int command_compare(int argc, char **argv)
{
	struct arguments args = {.limit = 0};
	struct result_data data[2] = {{.count = 0}};
	char why[512] = "";
	int code = EXIT_OK;

	command_parse(COMMAND, &parser, argc, argv, &args);
	for (int i = 0; i < 2 && code == EXIT_OK; i++) {
		int err = result_read(args.paths[i], &data[i], why, sizeof(why));
		if (err) {
			fprintf(stderr, "volley compare: %s\n", why);
			code = err == -EBADMSG ? EXIT_DATA : EXIT_ENVIRONMENT;
		}
	}
	if (code == EXIT_OK)
		code = compare_files(&args, data);
	for (int i = 0; i < 2; i++)
		result_data_fini(&data[i]);
	return code;
}
