/* table.c - the text table of a command's runs */
#include "bench/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load_table.h"
#include "bench/series.h"
#include "bench/sheet.h"
#include "bench/stats.h"

#define CELL_BYTES SHEET_CELL_BYTES
#define UNKNOWN ((double)NAN)

/* What people read. */
enum {
	COL_NAME,
	COL_RATE,
	COL_INTERVAL,
	COL_SPREAD,
	COL_RATIO,
	COL_P50,
	COL_P99,
	COL_P999,
	COL_CPU,
	COL_CPU_RATIO,
	COL_LOAD_CPU,
	COL_SYSCALLS,
	COL_USER,
	COL_FLAGS,
	COLS
};

static const struct sheet read_by_people = {
	.columns_count = COLS,
	.columns =
		{
			[COL_NAME] = {"variant", true, false},
			[COL_RATE] = {"msg/s", false, false},
			[COL_INTERVAL] = {"95%", false, false},
			[COL_SPREAD] = {"spread", false, false},
			[COL_RATIO] = {"ratio", false, false},
			[COL_P50] = {"p50", false, false},
			[COL_P99] = {"p99", false, false},
			[COL_P999] = {"p99.9", false, false},
			[COL_CPU] = {"CPU us/msg", false, false},
			[COL_CPU_RATIO] = {"CPU ratio", false, false},
			[COL_LOAD_CPU] = {"load us/msg", false, false},
			[COL_SYSCALLS] = {"calls/msg", false, false},
			[COL_USER] = {"user", false, false},
			[COL_FLAGS] = {"", true, false},
		},
};

/* Numbers of a row; NAN: unknown. */
enum {
	FIG_CONNECTIONS,
	FIG_SIZE,
	FIG_DEPTH,
	FIG_RUNS, /* ok ones */
	FIG_RATE,
	FIG_RATE_LOWER,
	FIG_RATE_UPPER,
	FIG_RATE_SPREAD,
	FIG_RATIO,
	FIG_P50,
	FIG_P99,
	FIG_P999,
	FIG_CPU,
	FIG_CPU_RATIO,
	FIG_LOAD_CPU,
	FIG_SYSCALLS,
	FIG_USER,
	FIG_JAIN,
	FIG_LEAST,
	FIG_CONN_P5,
	FIG_CONN_P50,
	FIG_CONN_P95,
	FIG_LITTLE,
	FIG_SERVER_BUSY,
	FIG_CPUS_BUSY,
	FIG_LOAD_BUSY,
	FIG_CONNECTS,
	FIG_OFFERED, /* from here on: of an open loop */
	FIG_UNSENT,
	FIG_SERVICE_P50,
	FIG_SERVICE_P99,
	FIG_SERVICE_P999,
	FIGS
};

/* What programs read: keys as in the result file, where they mean the same. */
static const char *const figure_names[FIGS] = {
	"connections",
	"size_bytes",
	"depth",
	"runs_ok",
	"rate_msg_per_s",
	"rate_lower_95",
	"rate_upper_95",
	"rate_spread_factor",
	"rate_ratio",
	"p50_ns",
	"p99_ns",
	"p999_ns",
	"cpu_us_per_msg",
	"cpu_ratio",
	"load_cpu_us_per_msg",
	"syscalls_per_msg",
	"user_share",
	"fairness_jain",
	"least_per_connection",
	"p5_per_connection",
	"p50_per_connection",
	"p95_per_connection",
	"little",
	"server_busy_share",
	"server_cpus_busy_share",
	"load_busy_share",
	"connects_per_s",
	"offered_msg_per_s",
	"unsent_share",
	"service_p50_ns",
	"service_p99_ns",
	"service_p999_ns",
};

struct figures {
	const char *name;
	double value[FIGS];
	bool bound; /* the rate is a lower bound */
	char flags[CELL_BYTES];
};

struct table_mean table_mean(const double *values, size_t count)
{
	struct stats_logs logs = stats_logs(values, count);
	struct stats_estimate estimate = stats_mean(&logs);
	struct stats_interval interval = stats_interval(&estimate, STATS_ALPHA);
	struct stats_interval spread = stats_spread(&logs);

	return (struct table_mean){
		.count = (unsigned int)logs.count,
		.mean = interval.mean,
		.factor = interval.upper / interval.mean,
		.spread = spread.upper / spread.mean,
	};
}

/* Mean over the ok runs of a row of the double at `offset` in struct run_result. */
static struct table_mean mean_of(const char *name, const struct run_result *runs, size_t count,
				 size_t offset)
{
	double *values = calloc(count ? count : 1, sizeof(*values));
	size_t used = 0;

	for (size_t i = 0; values && i < count; i++)
		if (series_counts(&runs[i], name))
			memcpy(&values[used++], (const char *)&runs[i] + offset, sizeof(double));
	struct table_mean mean = table_mean(values, used);
	/* A percentile that some runs had to hide is hidden. */
	if (mean.count < used)
		mean.mean = mean.factor = mean.spread = UNKNOWN;
	free(values);
	return mean;
}

/* What the row's probe counted, the same for every run; NULL: nothing. */
static const struct syscalls *syscalls_of(const char *name, const struct run_result *runs,
					  size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(runs[i].variant, name) == 0 && runs[i].syscalls &&
		    runs[i].syscalls->counted)
			return runs[i].syscalls;
	return NULL;
}

#define MEAN(name, runs, count, field)                                                             \
	mean_of(name, runs, count, offsetof(struct run_result, field))

#define PLAIN_MEAN(name, runs, count, field)                                                       \
	series_plain_mean(runs, count, name, offsetof(struct run_result, field))

static void append_flag(char *cell, const char *flag)
{
	size_t len = strlen(cell);

	snprintf(cell + len, CELL_BYTES - len, "%s%s", len ? " " : "", flag);
}

static void fill_flags(char *flags, const char *name, const struct run_result *runs, size_t count)
{
	unsigned int by_status[5] = {0};
	unsigned int unfair = 0;
	char text[CELL_BYTES];

	for (size_t i = 0; i < count; i++) {
		if (strcmp(runs[i].variant, name) != 0)
			continue;
		by_status[runs[i].status]++;
		unfair += runs[i].status == RUN_OK && runs[i].unfair;
	}
	for (int status = RUN_INVALID; status <= RUN_INTERRUPTED; status++) {
		if (!by_status[status])
			continue;
		if (by_status[status] > 1)
			snprintf(text, sizeof(text), "%s(%u)",
				 run_status_name((enum run_status)status), by_status[status]);
		else
			snprintf(text, sizeof(text), "%s",
				 run_status_name((enum run_status)status));
		append_flag(flags, text);
	}
	if (unfair)
		append_flag(flags, "UNFAIR");
	if (series_limited(runs, count, name, "client"))
		append_flag(flags, "client-limited");
	else if (series_limited(runs, count, name, "both"))
		append_flag(flags, "both-limited");
}

static void fill_load(double *value, const struct load_options *options, const char *name,
		      const struct run_result *runs, size_t count)
{
	double rate = options->shape.rate_msg_per_s;

	struct series_spread spread = series_spread(runs, count, name);

	value[FIG_JAIN] = spread.jain;
	value[FIG_LEAST] = spread.least;
	value[FIG_CONN_P5] = spread.p5;
	value[FIG_CONN_P50] = spread.p50;
	value[FIG_CONN_P95] = spread.p95;
	value[FIG_LITTLE] = PLAIN_MEAN(name, runs, count, little);
	value[FIG_SERVER_BUSY] = PLAIN_MEAN(name, runs, count, server_busy_share);
	value[FIG_CPUS_BUSY] = PLAIN_MEAN(name, runs, count, server_cpus_busy_share);
	value[FIG_LOAD_BUSY] = PLAIN_MEAN(name, runs, count, load_busy_share);
	value[FIG_CONNECTS] = PLAIN_MEAN(name, runs, count, load.connects_per_s);
	value[FIG_OFFERED] = rate > 0 ? rate : UNKNOWN;
	value[FIG_UNSENT] = series_unsent_share(runs, count, name);
	value[FIG_SERVICE_P50] = MEAN(name, runs, count, load.service_ns[RUN_P50]).mean;
	value[FIG_SERVICE_P99] = MEAN(name, runs, count, load.service_ns[RUN_P99]).mean;
	value[FIG_SERVICE_P999] = MEAN(name, runs, count, load.service_ns[RUN_P999]).mean;
}

static void fill_figures(struct figures *f, const struct load_options *options, const char *name,
			 const struct run_result *runs, size_t count)
{
	struct table_mean rate = MEAN(name, runs, count, rate_msg_per_s);

	memset(f, 0, sizeof(*f));
	f->name = name;
	f->bound = series_limited(runs, count, name, "client");
	fill_flags(f->flags, name, runs, count);
	f->value[FIG_CONNECTIONS] = options->connections;
	f->value[FIG_SIZE] = options->size_bytes;
	f->value[FIG_DEPTH] = options->depth;
	f->value[FIG_RUNS] = rate.count;
	f->value[FIG_RATE] = rate.mean;
	f->value[FIG_RATE_LOWER] = rate.mean / rate.factor;
	f->value[FIG_RATE_UPPER] = rate.mean * rate.factor;
	f->value[FIG_RATE_SPREAD] = rate.spread;
	f->value[FIG_P50] = MEAN(name, runs, count, latency_ns[RUN_P50]).mean;
	f->value[FIG_P99] = MEAN(name, runs, count, latency_ns[RUN_P99]).mean;
	f->value[FIG_P999] = MEAN(name, runs, count, latency_ns[RUN_P999]).mean;
	f->value[FIG_CPU] = MEAN(name, runs, count, server_cpu_us_per_msg).mean;
	f->value[FIG_LOAD_CPU] = MEAN(name, runs, count, load_cpu_us_per_msg).mean;
	const struct syscalls *syscalls = syscalls_of(name, runs, count);
	f->value[FIG_SYSCALLS] = syscalls ? syscalls->total : UNKNOWN;
	f->value[FIG_USER] = PLAIN_MEAN(name, runs, count, user_share);
	fill_load(f->value, options, name, runs, count);
}

/* Ratios to the first row that has the figure; a rate that is only a bound has none and gives none. */
static void fill_ratios(struct figures *figures, size_t count)
{
	double rate = UNKNOWN, cpu = UNKNOWN;

	for (size_t i = 0; i < count; i++) {
		struct figures *f = &figures[i];
		if (isnan(rate) && !f->bound)
			rate = f->value[FIG_RATE];
		if (isnan(cpu))
			cpu = f->value[FIG_CPU];
		f->value[FIG_RATIO] = f->bound ? UNKNOWN : f->value[FIG_RATE] / rate;
		f->value[FIG_CPU_RATIO] = f->value[FIG_CPU] / cpu;
	}
}

/* With so many decimals between two texts; "-" for what is unknown. */
static void put(struct sheet_row *row, int column, const char *before, int decimals, double value,
		const char *after)
{
	if (isnan(value))
		snprintf(row->cells[column], CELL_BYTES, "-");
	else
		snprintf(row->cells[column], CELL_BYTES, "%s%.*f%s", before, decimals, value,
			 after);
}

static void fill_row(struct sheet_row *row, const struct figures *f)
{
	const double *v = f->value;
	char number[CELL_BYTES] = "-";

	snprintf(row->cells[COL_NAME], CELL_BYTES, "%s", f->name);
	snprintf(row->cells[COL_FLAGS], CELL_BYTES, "%s", f->flags);
	if (!isnan(v[FIG_RATE]))
		sheet_count(v[FIG_RATE], number);
	/* The generator could not offer more: a lower bound, and nothing to compare. */
	snprintf(row->cells[COL_RATE], CELL_BYTES, "%s%.40s",
		 f->bound && !isnan(v[FIG_RATE]) ? ">=" : "", number);
	put(row, COL_INTERVAL, "+-", 1, (v[FIG_RATE_UPPER] / v[FIG_RATE] - 1) * 100, "%");
	put(row, COL_SPREAD, "+-", 1, (v[FIG_RATE_SPREAD] - 1) * 100, "%");
	put(row, COL_RATIO, "", 3, v[FIG_RATIO], "");
	sheet_time(v[FIG_P50], row->cells[COL_P50]);
	sheet_time(v[FIG_P99], row->cells[COL_P99]);
	sheet_time(v[FIG_P999], row->cells[COL_P999]);
	put(row, COL_CPU, "", 3, v[FIG_CPU], "");
	put(row, COL_CPU_RATIO, "", 3, v[FIG_CPU_RATIO], "");
	put(row, COL_LOAD_CPU, "", 3, v[FIG_LOAD_CPU], "");
	put(row, COL_SYSCALLS, "", 3, v[FIG_SYSCALLS], "");
	put(row, COL_USER, "", 0, v[FIG_USER] * 100, "%");
}

/* For programs: plain numbers with all their digits; empty: unknown. */
static void print_csv(FILE *out, const struct figures *figures, struct sheet_row *rows,
		      size_t count)
{
	struct sheet sheet = {.columns_count = FIGS + 3, .rows = rows, .rows_count = count};

	sheet.columns[0].head = "variant";
	for (int i = 0; i < FIGS; i++)
		sheet.columns[i + 1].head = figure_names[i];
	sheet.columns[FIGS + 1].head = "rate_is_lower_bound";
	sheet.columns[FIGS + 2].head = "flags";
	for (size_t i = 0; i < count; i++) {
		const struct figures *f = &figures[i];
		snprintf(rows[i].cells[0], CELL_BYTES, "%s", f->name);
		for (int c = 0; c < FIGS; c++)
			if (isfinite(f->value[c]))
				snprintf(rows[i].cells[c + 1], CELL_BYTES, "%.9g", f->value[c]);
		snprintf(rows[i].cells[FIGS + 1], CELL_BYTES, "%d", f->bound);
		snprintf(rows[i].cells[FIGS + 2], CELL_BYTES, "%s", f->flags);
	}
	sheet_print(out, &sheet, SHEET_CSV);
}

/* A column in which nobody has anything takes room from the others. */
static void hide_empty(struct sheet *sheet, int column)
{
	bool empty = true;

	for (size_t i = 0; i < sheet->rows_count; i++)
		empty = empty && strcmp(sheet->rows[i].cells[column], "-") == 0;
	sheet->columns[column].hidden = empty;
}

static void print_for_people(FILE *out, const struct figures *figures, struct sheet_row *rows,
			     size_t count, enum sheet_format format)
{
	struct sheet sheet = read_by_people;

	for (size_t i = 0; i < count; i++)
		fill_row(&rows[i], &figures[i]);
	sheet.rows = rows;
	sheet.rows_count = count;
	hide_empty(&sheet, COL_INTERVAL);
	hide_empty(&sheet, COL_SPREAD);
	hide_empty(&sheet, COL_SYSCALLS);
	sheet_print(out, &sheet, format);
}

/* Whether two warnings differ in their numbers only. */
static bool alike(const char *a, const char *b)
{
	for (;;) {
		a += strspn(a, "0123456789.");
		b += strspn(b, "0123456789.");
		if (*a != *b)
			return false;
		if (!*a)
			return true;
		a++;
		b++;
	}
}

/* How many warnings of this kind the row has from run `from` on; 0 if an earlier run has one. */
static unsigned int count_alike(const struct run_result *runs, size_t count, size_t from,
				const char *warning)
{
	unsigned int found = 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(runs[i].variant, runs[from].variant) != 0)
			continue;
		for (unsigned int j = 0; j < runs[i].warnings_count; j++) {
			if (!alike(runs[i].warnings[j], warning))
				continue;
			if (i < from)
				return 0;
			found++;
		}
	}
	return found;
}

static void print_calls(FILE *out, const char *name, const struct run_result *runs, size_t count)
{
	const struct syscalls *syscalls = syscalls_of(name, runs, count);
	char text[512];

	if (syscalls)
		sheet_note(out, "%s, system calls of a message: %s", name,
			   syscalls_text(syscalls, text, sizeof(text)));
}

/* Each reason, and each kind of warning once, with the row it belongs to. */
static void print_notes(FILE *out, const char *name, const struct run_result *runs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct run_result *r = &runs[i];
		if (strcmp(r->variant, name) != 0)
			continue;
		for (unsigned int j = 0; j < r->reasons_count; j++)
			sheet_note(out, "%s, run %u: %s: %s", name, r->run,
				   run_status_name(r->status), r->reasons[j]);
		for (unsigned int j = 0; j < r->warnings_count; j++) {
			unsigned int found = count_alike(runs, count, i, r->warnings[j]);

			if (found > 1)
				sheet_note(out, "%s, run %u and %u more: %s", name, r->run,
					   found - 1, r->warnings[j]);
			else if (found)
				sheet_note(out, "%s, run %u: %s", name, r->run, r->warnings[j]);
		}
	}
}

void table_print(FILE *out, const struct load_options *options, const char *const *names,
		 size_t names_count, const struct run_result *runs, size_t runs_count)
{
	struct figures *figures = calloc(names_count + 1, sizeof(*figures));
	struct sheet_row *rows = calloc(names_count + 1, sizeof(*rows));
	uint32_t blocks = series_blocks(runs, runs_count);
	char text[CELL_BYTES], shape[256];

	for (size_t i = 0; figures && i < names_count; i++)
		fill_figures(&figures[i], options, names[i], runs, runs_count);
	if (figures)
		fill_ratios(figures, names_count);
	if (figures && rows && options->format == SHEET_CSV) {
		print_csv(out, figures, rows, names_count);
	} else if (figures && rows) {
		fprintf(out, "%u connections, %u bytes, %u in flight on each, %s window",
			options->connections, options->size_bytes, options->depth,
			option_duration_format(options->duration_ns, text, sizeof(text)));
		fprintf(out, "%s", load_shape_format(&options->shape, shape, sizeof(shape)));
		/* Those that were made: a session may stop early. */
		fprintf(out, blocks > 1 ? ", %u runs\n\n" : "\n\n", blocks);
		print_for_people(out, figures, rows, names_count, options->format);
		load_table_print_checks(out, options, names, names_count, runs, runs_count);
		load_table_print(out, options, names, names_count, runs, runs_count);
	}
	free(figures);
	free(rows);
}

void table_notes(FILE *out, const char *const *names, size_t names_count,
		 const struct run_result *runs, size_t runs_count)
{
	for (size_t i = 0; i < names_count; i++) {
		print_calls(out, names[i], runs, runs_count);
		print_notes(out, names[i], runs, runs_count);
	}
}
