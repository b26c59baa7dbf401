/* table.c - the text table of a command's runs */
#include "bench/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/series.h"
#include "bench/stats.h"

#define CELL_BYTES 48
#define UNKNOWN ((double)NAN)

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
	COL_USER,
	COL_FLAGS,
	COLS
};

struct row {
	char cells[COLS][CELL_BYTES];
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

/* "1,234,567" */
static void format_count(double value, char *text, size_t size_bytes)
{
	char digits[CELL_BYTES];
	size_t len = (size_t)snprintf(digits, sizeof(digits), "%.0f", value);
	size_t out = 0;

	for (size_t i = 0; i < len && out + 2 < size_bytes; i++) {
		if (i && (len - i) % 3 == 0)
			text[out++] = ',';
		text[out++] = digits[i];
	}
	text[out] = '\0';
}

static void format_ns(double ns, char *text, size_t size_bytes)
{
	if (isnan(ns))
		snprintf(text, size_bytes, "-");
	else if (ns < 1e3)
		snprintf(text, size_bytes, "%.0f ns", ns);
	else if (ns < 1e6)
		snprintf(text, size_bytes, "%.3g us", ns / 1e3);
	else if (ns < 1e9)
		snprintf(text, size_bytes, "%.3g ms", ns / 1e6);
	else
		snprintf(text, size_bytes, "%.3g s", ns / 1e9);
}

/* Mean over the ok runs of a row of the double at `offset` in struct run_result. */
static struct table_mean mean_of(const char *name, const struct run_result *runs, size_t count,
				 size_t offset)
{
	double *values = calloc(count ? count : 1, sizeof(*values));
	size_t used = 0;

	for (size_t i = 0; values && i < count; i++)
		if (runs[i].status == RUN_OK && !runs[i].canary &&
		    strcmp(runs[i].variant, name) == 0)
			memcpy(&values[used++], (const char *)&runs[i] + offset, sizeof(double));
	struct table_mean mean = table_mean(values, used);
	/* A percentile that some runs had to hide is hidden. */
	if (mean.count < used)
		mean.mean = mean.factor = mean.spread = UNKNOWN;
	free(values);
	return mean;
}

/* Arithmetic mean of their user shares, which may be 0. NAN if an ok run has none. */
static double share_of(const char *name, const struct run_result *runs, size_t count)
{
	double sum = 0;
	unsigned int used = 0;

	for (size_t i = 0; i < count; i++) {
		if (runs[i].status != RUN_OK || strcmp(runs[i].variant, name) != 0)
			continue;
		sum += runs[i].user_share;
		used++;
	}
	return used ? sum / used : UNKNOWN;
}

#define MEAN(name, runs, count, field)                                                             \
	mean_of(name, runs, count, offsetof(struct run_result, field))

static bool any_limited(const char *name, const struct run_result *runs, size_t count,
			const char *limited)
{
	for (size_t i = 0; i < count; i++)
		if (runs[i].status == RUN_OK && strcmp(runs[i].variant, name) == 0 &&
		    runs[i].limited && strcmp(runs[i].limited, limited) == 0)
			return true;
	return false;
}

static void append_flag(char *cell, const char *flag)
{
	size_t len = strlen(cell);

	snprintf(cell + len, CELL_BYTES - len, "%s%s", len ? " " : "", flag);
}

static void fill_flags(struct row *row, const char *name, const struct run_result *runs,
		       size_t count)
{
	unsigned int by_status[5] = {0};
	unsigned int unfair = 0;
	char text[CELL_BYTES];

	for (size_t i = 0; i < count; i++) {
		if (strcmp(runs[i].variant, name) != 0)
			continue;
		by_status[runs[i].status]++;
		unfair += runs[i].status == RUN_OK && runs[i].fairness.jain < FAIRNESS_JAIN_MIN;
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
		append_flag(row->cells[COL_FLAGS], text);
	}
	if (unfair)
		append_flag(row->cells[COL_FLAGS], "UNFAIR");
	if (any_limited(name, runs, count, "client"))
		append_flag(row->cells[COL_FLAGS], "client-limited");
	else if (any_limited(name, runs, count, "both"))
		append_flag(row->cells[COL_FLAGS], "both-limited");
}

static void fill_row(struct row *row, const char *name, const struct run_result *runs, size_t count,
		     double reference)
{
	struct table_mean rate = MEAN(name, runs, count, rate_msg_per_s);
	struct table_mean cpu = MEAN(name, runs, count, server_cpu_us_per_msg);
	double user = share_of(name, runs, count);
	char number[CELL_BYTES];

	memset(row, 0, sizeof(*row));
	for (int i = COL_RATE; i < COL_FLAGS; i++)
		snprintf(row->cells[i], CELL_BYTES, "-");
	snprintf(row->cells[COL_NAME], CELL_BYTES, "%s", name);
	fill_flags(row, name, runs, count);
	bool bound = any_limited(name, runs, count, "client");
	if (!isnan(rate.mean)) {
		format_count(rate.mean, number, sizeof(number));
		/* The generator could not offer more: a lower bound, and nothing to compare. */
		snprintf(row->cells[COL_RATE], CELL_BYTES, "%s%.40s", bound ? ">=" : "", number);
		if (!isnan(rate.factor))
			snprintf(row->cells[COL_INTERVAL], CELL_BYTES, "+-%.1f%%",
				 (rate.factor - 1) * 100);
		if (!isnan(rate.spread))
			snprintf(row->cells[COL_SPREAD], CELL_BYTES, "+-%.1f%%",
				 (rate.spread - 1) * 100);
		if (!bound && !isnan(reference))
			snprintf(row->cells[COL_RATIO], CELL_BYTES, "%.3f", rate.mean / reference);
	}
	format_ns(MEAN(name, runs, count, latency_ns[RUN_P50]).mean, row->cells[COL_P50],
		  CELL_BYTES);
	format_ns(MEAN(name, runs, count, latency_ns[RUN_P99]).mean, row->cells[COL_P99],
		  CELL_BYTES);
	format_ns(MEAN(name, runs, count, latency_ns[RUN_P999]).mean, row->cells[COL_P999],
		  CELL_BYTES);
	if (!isnan(cpu.mean))
		snprintf(row->cells[COL_CPU], CELL_BYTES, "%.3f", cpu.mean);
	if (!isnan(user))
		snprintf(row->cells[COL_USER], CELL_BYTES, "%.0f%%", user * 100);
}

static void print_rows(FILE *out, const struct row *rows, size_t count, bool intervals)
{
	size_t widths[COLS] = {0};

	for (size_t i = 0; i < count; i++)
		for (int c = 0; c < COLS; c++)
			if (strlen(rows[i].cells[c]) > widths[c])
				widths[c] = strlen(rows[i].cells[c]);
	for (size_t i = 0; i < count; i++) {
		char line[COLS * CELL_BYTES];
		size_t len = 0;
		for (int c = 0; c < COLS; c++) {
			if ((c == COL_INTERVAL || c == COL_SPREAD) && !intervals)
				continue;
			bool left = c == COL_NAME || c == COL_FLAGS;
			len += (size_t)snprintf(line + len, sizeof(line) - len,
						left ? "%s%-*s" : "%s%*s", c ? "  " : "",
						(int)widths[c], rows[i].cells[c]);
		}
		while (len && line[len - 1] == ' ')
			line[--len] = '\0';
		fprintf(out, "%s\n", line);
	}
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

/* Each reason, and each kind of warning once, with the row it belongs to. */
static void print_notes(FILE *out, const char *name, const struct run_result *runs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct run_result *r = &runs[i];
		if (strcmp(r->variant, name) != 0)
			continue;
		for (unsigned int j = 0; j < r->reasons_count; j++)
			fprintf(out, "%s, run %u: %s: %s\n", name, r->run,
				run_status_name(r->status), r->reasons[j]);
		for (unsigned int j = 0; j < r->warnings_count; j++) {
			unsigned int found = count_alike(runs, count, i, r->warnings[j]);

			if (found > 1)
				fprintf(out, "%s, run %u and %u more: %s\n", name, r->run,
					found - 1, r->warnings[j]);
			else if (found)
				fprintf(out, "%s, run %u: %s\n", name, r->run, r->warnings[j]);
		}
	}
}

void table_print(FILE *out, const struct load_options *options, const char *const *names,
		 size_t names_count, const struct run_result *runs, size_t runs_count)
{
	static const struct row head = {.cells = {"variant", "msg/s", "95%", "spread", "ratio",
						  "p50", "p99", "p99.9", "CPU us/msg", "user", ""}};
	struct row *rows = calloc(names_count + 1, sizeof(*rows));
	double reference = UNKNOWN;
	bool intervals = false;
	char text[CELL_BYTES];

	if (!rows)
		return;
	rows[0] = head;
	for (size_t i = 0; i < names_count; i++) {
		struct table_mean rate = MEAN(names[i], runs, runs_count, rate_msg_per_s);
		/* Rates relate to the first row that has one and was not limited by the client. */
		if (isnan(reference) && !any_limited(names[i], runs, runs_count, "client"))
			reference = rate.mean;
		intervals = intervals || !isnan(rate.factor);
		fill_row(&rows[i + 1], names[i], runs, runs_count, reference);
	}
	fprintf(out, "%u connections, %u bytes, %u in flight on each, %s window",
		options->connections, options->size_bytes, options->depth,
		option_duration_format(options->duration_ns, text, sizeof(text)));
	/* Those that were made: a session may stop early. */
	uint32_t blocks = series_blocks(runs, runs_count);
	fprintf(out, blocks > 1 ? ", %u runs\n\n" : "\n\n", blocks);
	print_rows(out, rows, names_count + 1, intervals);
	bool first = true;
	for (size_t i = 0; i < runs_count; i++)
		if (first && (runs[i].reasons_count || runs[i].warnings_count)) {
			fprintf(out, "\n");
			first = false;
		}
	for (size_t i = 0; i < names_count; i++)
		print_notes(out, names[i], runs, runs_count);
	free(rows);
}
