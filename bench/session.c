/* session.c - all runs of one command: order, result file, table, exit code */
#include "bench/session.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/child.h"
#include "bench/commands.h"
#include "bench/comparison.h"
#include "bench/doubt.h"
#include "bench/finding.h"
#include "bench/preflight.h"
#include "bench/probe.h"
#include "bench/progress.h"
#include "bench/result.h"
#include "bench/series.h"
#include "bench/sheet.h"
#include "bench/stats.h"
#include "bench/table.h"
#include "bench/turns.h"
#include "volley/core.h"

#define RUN_OVERHEAD_NS                                                                            \
	UINT64_C(1000000000) /* start, ramp, CPU speeds, stop: a guess for the time left */

#define TURN_OVERHEAD_NS UINT64_C(20000000)

static atomic_bool interrupted;
static atomic_int interrupted_by;

static void handle_signal(int number)
{
	atomic_store_explicit(&interrupted_by, number, memory_order_relaxed);
	atomic_store_explicit(&interrupted, true, memory_order_relaxed);
}

/* All that session_run() keeps while it goes on. */
struct state {
	struct session *session;
	struct progress progress;
	struct result_file file;
	struct run_result *runs; /* owned */
	size_t runs_count, runs_size;
	unsigned int never_ok;               /* runs that stayed invalid after all attempts */
	uint32_t blocks;                     /* wanted in all, as things stand */
	uint64_t began_ns, block_ns, run_ns; /* when it began; how long these take */
	bool canaries;
};

/* The second signal ends us at once; children notice. */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static bool is_interrupted(void)
{
	return atomic_load_explicit(&interrupted, memory_order_relaxed);
}

/* Room for one more result; NULL without memory. */
static struct run_result *next_result(struct state *state)
{
	if (state->runs_count == state->runs_size) {
		size_t size = state->runs_size * 2 + 16;
		struct run_result *runs = realloc(state->runs, size * sizeof(*runs));
		if (!runs)
			return NULL;
		state->runs = runs;
		state->runs_size = size;
	}
	return &state->runs[state->runs_count];
}

/* Writes the result down, says what went wrong, and keeps it for the table. */
static void keep(struct state *state, struct run_result *result)
{
	const struct session *session = state->session;

	result_run(&state->file, session->workload, session->options, result);
	/* Needed by the file alone, and large. */
	run_result_fini(result);
	state->runs_count++;
	/* The first reason is the cause; the table has them all. */
	if (result->status != RUN_OK)
		progress_note(&state->progress, "volley %s: %s: %s: %s", session->options->command,
			      result->variant, run_status_name(result->status), result->reasons[0]);
}

static struct run_spec spec_of(struct state *state, const struct session_row *row, uint32_t run,
			       uint32_t order)
{
	const struct session *session = state->session;

	return (struct run_spec){
		.workload = session->workload,
		.variant = row->variant,
		.peer = session->peer,
		.options = session->options,
		.port = session->port,
		.load_nic = session->load_nic,
		.run = run,
		.order = order,
		.attempt = 1,
		.syscalls = session->options->syscalls ? &row->syscalls : NULL,
		.interrupted = &interrupted,
		.progress = &state->progress,
	};
}

/* One run, again while it is invalid. 0 or -ENOMEM. */
static int run_row(struct state *state, const struct session_row *row, uint32_t run, uint32_t order,
		   bool canary)
{
	struct run_spec spec = spec_of(state, row, run, order);

	spec.canary = canary;
	for (spec.attempt = 1; spec.attempt <= SESSION_ATTEMPTS; spec.attempt++) {
		struct run_result *result = next_result(state);
		if (!result)
			return -ENOMEM;
		progress_run(&state->progress, row->name, run, state->blocks > 1);
		run_execute(&spec, result);
		keep(state, result);
		if (result->status != RUN_INVALID || is_interrupted())
			break;
		if (spec.attempt == SESSION_ATTEMPTS)
			state->never_ok++;
	}
	state->progress.runs_done++;
	return 0;
}

/* Rows of a block, all at once. */
struct block {
	const unsigned int *order;
	unsigned int count;
	uint32_t number;
};

/* One attempt. -ENOMEM, or whether one of them is invalid. */
static int attempt_turns(struct state *state, const struct block *block, uint32_t attempt)
{
	static struct run_spec specs[SESSION_ROWS_MAX];
	struct run_result *results = calloc(block->count, sizeof(*results));
	bool invalid = false;

	if (!results)
		return -ENOMEM;
	for (unsigned int i = 0; i < block->count; i++) {
		specs[i] = spec_of(state, &state->session->rows[block->order[i]], block->number,
				   i + 1);
		specs[i].attempt = attempt;
		specs[i].turns = state->session->options->turns;
		specs[i].others = block->count - 1;
	}
	turns_execute(specs, block->count, results);
	for (unsigned int i = 0; i < block->count; i++)
		invalid |= results[i].status == RUN_INVALID;
	bool lost = false;
	for (unsigned int i = 0; i < block->count; i++) {
		struct run_result *result = next_result(state);

		if (!result) {
			run_result_fini(&results[i]);
			lost = true;
			continue;
		}
		/* A pair is of one attempt, or it did not have its turns together. */
		if (invalid && results[i].status != RUN_INVALID)
			doubt_reason(&results[i], RUN_INVALID,
				     "another row of the block is invalid");
		*result = results[i];
		keep(state, result);
	}
	free(results);
	return lost ? -ENOMEM : invalid;
}

/* As run_row() for all of them, again while one is invalid. */
static int run_turns(struct state *state, const struct block *block)
{
	for (uint32_t attempt = 1; attempt <= SESSION_ATTEMPTS; attempt++) {
		progress_run(&state->progress, "all rows in turns", block->number,
			     state->blocks > 1);
		int invalid = attempt_turns(state, block, attempt);
		if (invalid < 0)
			return invalid;
		if (!invalid || is_interrupted())
			break;
		if (attempt == SESSION_ATTEMPTS)
			state->never_ok++;
	}
	state->progress.runs_done += block->count;
	return 0;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Rows that can run; the first one is what others are compared with. */
static unsigned int runnable_rows(const struct session *session, unsigned int *rows)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < session->rows_count; i++)
		if (!session->rows[i].unavailable[0])
			rows[count++] = i;
	return count;
}

static void shuffle(unsigned int *rows, unsigned int count, uint64_t *random)
{
	for (unsigned int i = count; i > 1; i--) {
		unsigned int j = (unsigned int)(next_random(random) % i);
		unsigned int swapped = rows[i - 1];
		rows[i - 1] = rows[j];
		rows[j] = swapped;
	}
}

/* Whether one more block, and the canary behind it, would go beyond the budget. */
static bool out_of_budget(const struct state *state)
{
	uint64_t end_ns = vly_now_ns() - state->began_ns + state->block_ns +
			  (state->canaries ? state->run_ns : 0);

	return state->session->budget_ns && end_ns > state->session->budget_ns;
}

static void plan_runs(struct state *state, unsigned int rows)
{
	unsigned int probes = state->session->options->syscalls ? rows : 0;

	state->progress.runs = state->blocks * rows + (state->canaries ? 2 : 0) + probes;
}

/* Before the first block, so that every run line can tell. */
static void count_syscalls(struct state *state, const unsigned int *rows, unsigned int count)
{
	for (unsigned int i = 0; i < count && !is_interrupted(); i++) {
		struct session_row *row = &state->session->rows[rows[i]];
		struct run_spec spec = spec_of(state, row, 1, 0);

		spec.syscalls = NULL;
		progress_run(&state->progress, row->name, 0, false);
		probe_syscalls(&spec, &row->syscalls);
		state->progress.runs_done++;
		if (!row->syscalls.counted && !is_interrupted())
			progress_note(&state->progress,
				      "volley %s: %s: system calls were not counted: %s",
				      state->session->options->command, row->name,
				      row->syscalls.reason);
	}
}

/*
 * After the pilot of --preset publish: as many blocks as the most restless figure asks for. It is
 * the only look that is taken at them before the end.
 */
static uint32_t size_by_pilot(const struct state *state)
{
	static const enum metric by[] = {METRIC_CPU, METRIC_RATE};
	double values[OPTION_PILOT_RUNS];
	uint32_t blocks = state->blocks;

	for (unsigned int i = 0; i < state->session->rows_count; i++) {
		for (unsigned int m = 0; m < 2; m++) {
			series_by_block(state->runs, state->runs_count,
					state->session->rows[i].name, by[m], values,
					OPTION_PILOT_RUNS);
			struct stats_logs pilot = stats_logs(values, OPTION_PILOT_RUNS);
			blocks = stats_runs_needed(&pilot, STATS_ZONE, blocks);
		}
	}
	return blocks < OPTION_RUNS_MAX ? blocks : OPTION_RUNS_MAX;
}

/* Decides how many blocks it shall be, now that `block` is complete. */
static void reconsider(struct state *state, uint32_t block, unsigned int rows)
{
	struct session *session = state->session;
	char text[32];

	if (session->after_block) {
		state->blocks = session->after_block(session, state->runs, state->runs_count, block,
						     state->blocks);
	} else if (session->options->preset == PRESET_PUBLISH && !session->options->runs_given &&
		   block == OPTION_PILOT_RUNS) {
		state->blocks = size_by_pilot(state);
		progress_note(&state->progress,
			      "volley %s: the pilot of %u blocks asks for %u; about %s to go",
			      session->options->command, block, state->blocks,
			      option_duration_format((state->blocks - block) * state->block_ns,
						     text, sizeof(text)));
	}
	plan_runs(state, rows);
}

static int run_block(struct state *state, const unsigned int *order, unsigned int count,
		     uint32_t block)
{
	const struct block whole = {.order = order, .count = count, .number = block};
	uint64_t began_ns = vly_now_ns();
	bool turns = state->session->options->turns > 1;

	if (turns && run_turns(state, &whole) != 0)
		return -ENOMEM;
	for (unsigned int i = 0; !turns && i < count && !is_interrupted(); i++)
		if (run_row(state, &state->session->rows[order[i]], block, i + 1, false) != 0)
			return -ENOMEM;
	/* The slowest block so far tells what to expect. */
	uint64_t took_ns = vly_now_ns() - began_ns;
	if (took_ns > state->block_ns || block == 1)
		state->block_ns = took_ns;
	return 0;
}

static int run_blocks(struct state *state)
{
	const struct session *session = state->session;
	uint64_t random = session->options->seed;
	unsigned int order[SESSION_ROWS_MAX];
	uint32_t block = 0;

	unsigned int count = runnable_rows(session, order);
	if (count == 0)
		return 0;
	const struct session_row *reference = &session->rows[order[0]];
	state->block_ns = count * state->run_ns;
	if (session->options->syscalls)
		count_syscalls(state, order, count);
	if (state->canaries && run_row(state, reference, 1, 0, true) != 0)
		return -ENOMEM;
	while (block < state->blocks && !is_interrupted() && !out_of_budget(state)) {
		shuffle(order, count, &random);
		if (run_block(state, order, count, ++block) != 0)
			return -ENOMEM;
		if (!is_interrupted())
			reconsider(state, block, count);
	}
	if (state->canaries && block > 0 && !is_interrupted() &&
	    run_row(state, reference, block, count + 1, true) != 0)
		return -ENOMEM;
	return 0;
}

/* Rows that cannot run: one line each, before anything starts. */
static int note_unavailable(struct state *state)
{
	const struct session *session = state->session;

	for (unsigned int i = 0; i < session->rows_count; i++) {
		const struct session_row *row = &session->rows[i];
		if (!row->unavailable[0])
			continue;
		struct run_spec spec = spec_of(state, row, 1, 0);
		struct run_result *result = next_result(state);
		if (!result)
			return -ENOMEM;
		run_unavailable(&spec, row->unavailable, result);
		keep(state, result);
	}
	return 0;
}

static int exit_code_of(const struct state *state)
{
	const uint32_t *by_status = state->file.runs;

	if (is_interrupted()) {
		int number = atomic_load_explicit(&interrupted_by, memory_order_relaxed);
		return 128 + number;
	}
	if (by_status[RUN_FAILED] || by_status[RUN_INTERRUPTED])
		return EXIT_FAILED;
	if (by_status[RUN_UNAVAILABLE])
		return EXIT_ENVIRONMENT;
	return state->never_ok ? EXIT_DATA : EXIT_OK;
}

static json_t *rows_json(const struct session *session)
{
	json_t *rows = json_array();

	for (unsigned int i = 0; i < session->rows_count; i++) {
		const struct variant *variant = session->rows[i].variant;
		json_array_append_new(rows, json_pack("{s:s, s:s?}", "name", session->rows[i].name,
						      "exec", variant ? variant->exec : NULL));
	}
	return rows;
}

static void write_header(struct state *state)
{
	const struct session *session = state->session;
	struct findings findings;

	if (!state->file.file)
		return;
	findings_collect(&findings);
	struct result_head head = {
		.workload = session->workload,
		.argc = session->argc,
		.argv = session->argv,
		.options = session->options,
		.load_nic = session->load_nic,
		.rows = rows_json(session),
		.environment = findings_environment(&findings),
	};
	result_header(&state->file, &head);
	json_decref(head.rows);
	json_decref(head.environment);
}

static void announce(const struct state *state, uint32_t runs, uint64_t run_ns)
{
	char text[32], server[CPUS_TEXT_MAX], load[CPUS_TEXT_MAX];
	const struct load_options *o = state->session->options;

	if (runs == 0)
		return;
	/* With after_block it may be decided sooner. */
	fprintf(stderr, "volley %s: %s%u run%s, about %s; ", o->command,
		state->session->after_block ? "at most " : "", runs, runs > 1 ? "s" : "",
		option_duration_format(run_ns * runs / 1000000000 * 1000000000, text,
				       sizeof(text)));
	if (!state->session->peer)
		fprintf(stderr, "server on CPU %s, ",
			cpus_format(&o->server_cpus, server, sizeof(server)));
	fprintf(stderr, "load on CPU %s over %s; seed %llu\n",
		cpus_format(&o->load_cpus, load, sizeof(load)), state->session->load_nic,
		(unsigned long long)o->seed);
}

static void print_warning(const char *line, void *arg)
{
	const struct load_options *options = arg;

	fprintf(stderr, "volley %s: warning: %s\n", options->command, line);
}

/* Lines of text as they are; in Markdown each becomes an item of a list. */
static void print_lines(FILE *out, const char *lines, enum sheet_format format)
{
	if (*lines && format != SHEET_CSV)
		fputc('\n', out);
	while (*lines) {
		size_t len = strcspn(lines, "\n");
		if (format == SHEET_MARKDOWN && len)
			fputs("- ", out);
		if (len && format == SHEET_TEXT)
			sheet_note(out, "%.*s", (int)len, lines);
		else if (len || format != SHEET_MARKDOWN)
			fprintf(out, "%.*s\n", (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

/* The table, and what the command has to say below it. Returns the exit code. */
static int conclude(const struct state *state, int code)
{
	struct session *session = state->session;
	enum sheet_format format = session->options->format;
	const char *names[SESSION_ROWS_MAX];
	/* With the file on stdout, the table would spoil it. */
	FILE *out = state->file.file == stdout ? stderr : stdout;
	char *lines = NULL;
	size_t lines_bytes = 0;
	FILE *notes = open_memstream(&lines, &lines_bytes);

	if (!notes)
		return EXIT_FAILED;
	for (unsigned int i = 0; i < session->rows_count; i++)
		names[i] = session->rows[i].name;
	if (state->runs_count) {
		table_print(out, session->options, names, session->rows_count, state->runs,
			    state->runs_count);
		table_notes(notes, names, session->rows_count, state->runs, state->runs_count);
		pieces_print(notes, names, session->rows_count, state->runs, state->runs_count);
	}
	if (session->conclude)
		code = session->conclude(session, notes, state->runs, state->runs_count, code);
	else if (state->runs_count)
		comparison_print_rows(notes, names, session->rows_count, state->runs,
				      state->runs_count);
	fclose(notes);
	/* Rows of CSV stand alone: what reads them does not read sentences. */
	if (lines)
		print_lines(format == SHEET_CSV ? stderr : out, lines, format);
	free(lines);
	return command_flush(session->options->command, out, code);
}

int session_run(struct session *session)
{
	const struct load_options *o = session->options;
	struct state state = {.session = session};
	uint64_t run_ns = o->warmup_ns + o->duration_ns + RUN_OVERHEAD_NS;
	if (o->turns > 1)
		run_ns += o->turns * (load_settle_ns(o->connections, o->depth) + TURN_OVERHEAD_NS);
	unsigned int rows[SESSION_ROWS_MAX];

	catch_signals();
	/*
	 * A reader of stdout that went away is an error of writing, not a reason to die half-way.
	 */
	signal(SIGPIPE, SIG_IGN);
	/* Nor is a file that has grown too large. */
	signal(SIGXFSZ, SIG_IGN);
	int err = result_open(&state.file, o->json_path);
	if (err) {
		fprintf(stderr, "volley %s: --json: cannot write %s: %s\n", o->command,
			o->json_path, strerror(-err));
		return EXIT_ENVIRONMENT;
	}
	unsigned int runnable = runnable_rows(session, rows);
	state.blocks = o->runs;
	state.run_ns = run_ns;
	state.began_ns = vly_now_ns();
	state.canaries = runnable > 1 && o->runs >= STATS_RUNS_MIN;
	plan_runs(&state, runnable);
	uint32_t runs = state.progress.runs;
	(void)child_adopt_orphans();
	preflight_warnings(o, print_warning, (void *)(uintptr_t)o);
	write_header(&state);
	progress_init(&state.progress, runs, run_ns);
	announce(&state, runs, run_ns);
	err = note_unavailable(&state);
	err = err ? err : run_blocks(&state);
	progress_clear(&state.progress);
	int code = err ? EXIT_FAILED : exit_code_of(&state);
	code = conclude(&state, code);
	result_end(&state.file, is_interrupted() ? "interrupted" : "complete", code);
	int file_err = result_close(&state.file);
	if (file_err) {
		fprintf(stderr,
			"volley %s: --json: writing %s failed: %s; the file is incomplete\n",
			o->command, o->json_path, strerror(-file_err));
		code = code == EXIT_OK ? EXIT_FAILED : code;
	}
	if (err)
		fprintf(stderr, "volley %s: %s\n", o->command, strerror(-err));
	for (size_t i = 0; i < state.runs_count; i++)
		run_result_fini(&state.runs[i]);
	free(state.runs);
	return code;
}
