/* load_table.c - the load's side of a comparison: what it cost, and what it offered */
#include "bench/load_table.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench/series.h"
#include "bench/sheet.h"

#define CELL_BYTES SHEET_CELL_BYTES

enum column {
	COL_NAME,
	COL_BUSY,
	COL_LITTLE,
	COL_CONNECTS,
	COL_SENT, /* from here on: of an open loop */
	COL_UNSENT,
	COL_LAG,
	COL_SERVICE_P50,
	COL_SERVICE_P99,
	COL_SERVICE_P999,
	COLS
};

static void set(struct sheet_row *row, enum column column, int digits, double value,
		const char *unit)
{
	if (isnan(value))
		snprintf(row->cells[column], CELL_BYTES, "-");
	else
		snprintf(row->cells[column], CELL_BYTES, "%.*f%s", digits, value, unit);
}

#define MEAN(field) series_plain_mean(runs, count, name, offsetof(struct run_result, field))

static void fill(struct sheet_row *row, const char *name, const struct run_result *runs,
		 size_t count)
{
	snprintf(row->cells[COL_NAME], CELL_BYTES, "%s", name);
	set(row, COL_BUSY, 0, MEAN(load_busy_share) * 100, "%");
	set(row, COL_LITTLE, 3, MEAN(little), "");
	set(row, COL_CONNECTS, 0, MEAN(load.connects_per_s), "");
	set(row, COL_SENT, 0, MEAN(rate_msg_per_s), "");
	set(row, COL_UNSENT, 2, series_unsent_share(runs, count, name) * 100, "%");
	sheet_time(MEAN(load.lag_mean_ns), row->cells[COL_LAG]);
	sheet_time(MEAN(load.service_ns[RUN_P50]), row->cells[COL_SERVICE_P50]);
	sheet_time(MEAN(load.service_ns[RUN_P99]), row->cells[COL_SERVICE_P99]);
	sheet_time(MEAN(load.service_ns[RUN_P999]), row->cells[COL_SERVICE_P999]);
}

void load_table_print(FILE *out, const struct load_options *options, const char *const *names,
		      size_t names_count, const struct run_result *runs, size_t runs_count)
{
	static const char *const heads[COLS] = {"load",       "busy",   "Little",  "connects/s",
						"answered/s", "unsent", "late by", "service p50",
						"p99",        "p99.9"};
	const struct load_shape *shape = &options->shape;
	bool open_loop = shape->rate_msg_per_s > 0;
	struct sheet_row *rows = calloc(names_count + 1, sizeof(*rows));
	struct sheet sheet = {.columns_count = COLS, .rows = rows, .rows_count = names_count};

	if (!rows || (!open_loop && !shape->reconnect && !shape->think_max_ns)) {
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
	if (open_loop)
		fprintf(out,
			"\nThe first table's percentiles count from the intended send (response), the second's from the actual "
			"one (service).\nBetween them lies what messages waited for their turn, which a closed loop never tells.\n");
	free(rows);
}
