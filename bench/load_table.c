/* load_table.c - what lets a reader doubt or believe a row, and the load's side of it */
#include "bench/load_table.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bench/series.h"
#include "bench/sheet.h"

#define CELL_BYTES SHEET_CELL_BYTES

enum check {
	CHECK_NAME,
	CHECK_SERVER, /* busy */
	CHECK_CPUS,
	CHECK_LOAD,
	CHECK_LITTLE,
	CHECK_LEAST, /* messages of a connection, from here on */
	CHECK_P5,
	CHECK_P50,
	CHECK_P95,
	CHECK_JAIN,
	CHECKS
};

enum column {
	COL_NAME,
	COL_CONNECTS,
	COL_SENT, /* from here on: of an open loop */
	COL_UNSENT,
	COL_LAG,
	COL_SERVICE_P50,
	COL_SERVICE_P99,
	COL_SERVICE_P999,
	COLS
};

static void set(struct sheet_row *row, int column, int digits, double value, const char *unit)
{
	if (isnan(value))
		snprintf(row->cells[column], CELL_BYTES, "-");
	else
		snprintf(row->cells[column], CELL_BYTES, "%.*f%s", digits, value, unit);
}

static void set_count(struct sheet_row *row, int column, double value)
{
	if (isnan(value))
		snprintf(row->cells[column], CELL_BYTES, "-");
	else
		sheet_count(value, row->cells[column]);
}

#define MEAN(field) series_plain_mean(runs, count, name, offsetof(struct run_result, field))

static void fill_checks(struct sheet_row *row, const char *name, const struct run_result *runs,
			size_t count)
{
	struct series_spread spread = series_spread(runs, count, name);

	snprintf(row->cells[CHECK_NAME], CELL_BYTES, "%s", name);
	set(row, CHECK_SERVER, 0, MEAN(server_busy_share) * 100, "%");
	set(row, CHECK_CPUS, 0, MEAN(server_cpus_busy_share) * 100, "%");
	set(row, CHECK_LOAD, 0, MEAN(load_busy_share) * 100, "%");
	set(row, CHECK_LITTLE, 3, MEAN(little), "");
	set_count(row, CHECK_LEAST, spread.least);
	set_count(row, CHECK_P5, spread.p5);
	set_count(row, CHECK_P50, spread.p50);
	set_count(row, CHECK_P95, spread.p95);
	set(row, CHECK_JAIN, 3, spread.jain, "");
}

void load_table_print_checks(FILE *out, const struct load_options *options,
			     const char *const *names, size_t names_count,
			     const struct run_result *runs, size_t runs_count)
{
	static const char *const heads[CHECKS] = {"checks", "server busy", "its CPUs", "load busy",
						  "Little", "least/conn",  "p5",       "median",
						  "p95",    "Jain"};
	struct sheet_row *rows = calloc(names_count + 1, sizeof(*rows));
	struct sheet sheet = {.columns_count = CHECKS, .rows = rows, .rows_count = names_count};

	for (size_t i = 0; rows && i < names_count; i++)
		fill_checks(&rows[i], names[i], runs, runs_count);
	for (int c = 0; c < CHECKS; c++)
		sheet.columns[c] = (struct sheet_column){.head = heads[c], .left = c == CHECK_NAME};
	if (rows) {
		fprintf(out, "\n");
		sheet_print(out, &sheet, options->format);
	}
	free(rows);
}

static void fill(struct sheet_row *row, const char *name, const struct run_result *runs,
		 size_t count)
{
	snprintf(row->cells[COL_NAME], CELL_BYTES, "%s", name);
	set_count(row, COL_CONNECTS, MEAN(load.connects_per_s));
	set_count(row, COL_SENT, MEAN(rate_msg_per_s));
	set(row, COL_UNSENT, 2, series_unsent_share(runs, count, name) * 100, "%");
	sheet_time(MEAN(load.lag_mean_ns), row->cells[COL_LAG]);
	sheet_time(MEAN(load.service_ns[RUN_P50]), row->cells[COL_SERVICE_P50]);
	sheet_time(MEAN(load.service_ns[RUN_P99]), row->cells[COL_SERVICE_P99]);
	sheet_time(MEAN(load.service_ns[RUN_P999]), row->cells[COL_SERVICE_P999]);
}

void load_table_print(FILE *out, const struct load_options *options, const char *const *names,
		      size_t names_count, const struct run_result *runs, size_t runs_count)
{
	static const char *const heads[COLS] = {"load",    "connects/s",  "answered/s", "unsent",
						"late by", "service p50", "p99",        "p99.9"};
	const struct load_shape *shape = &options->shape;
	bool open_loop = shape->rate_msg_per_s > 0;
	struct sheet_row *rows = calloc(names_count + 1, sizeof(*rows));
	struct sheet sheet = {.columns_count = COLS, .rows = rows, .rows_count = names_count};

	if (!rows || (!open_loop && !shape->reconnect)) {
		free(rows);
		return;
	}
	for (int c = 0; c < COLS; c++)
		sheet.columns[c] = (struct sheet_column){
			.head = heads[c],
			.left = c == COL_NAME,
			.hidden = c >= COL_SENT ? !open_loop
						: c == COL_CONNECTS && !shape->reconnect,
		};
	for (size_t i = 0; i < names_count; i++)
		fill(&rows[i], names[i], runs, runs_count);
	fprintf(out, "\n");
	sheet_print(out, &sheet, options->format);
	if (open_loop) {
		fputc('\n', out);
		sheet_note(
			out,
			"The first table's percentiles count from the intended send (response), these "
			"from the actual one (service).");
		sheet_note(
			out,
			"Between them lies what messages waited for their turn, which a closed loop "
			"never tells.");
	}
	free(rows);
}
