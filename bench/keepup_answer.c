/* keepup_answer.c - what volley keepup says in the end: a table, and one sentence for each consumer */
#include "bench/keepup.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sheet.h"

#define CELL SHEET_CELL_BYTES

/* "4,812,000" */
static char *grouped(double value, char text[CELL])
{
	char digits[CELL];
	int len = snprintf(digits, sizeof(digits), "%.0f", value), to = 0;

	for (int i = 0; i < len && to < CELL - 2; i++) {
		text[to++] = digits[i];
		if ((len - i - 1) % 3 == 0 && i + 1 < len)
			text[to++] = ',';
	}
	text[to] = '\0';
	return text;
}

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t text_bytes,
						      const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + used, text_bytes - used, format, args);
	va_end(args);
}

static void add_rate(const struct keepup *keepup, const struct keepup_answer *answer,
		     unsigned int index, char *text, size_t text_bytes)
{
	const struct search *search = &answer->searches[index];
	char rate[CELL], lag[CELL];

	sheet_time(keepup->limits_ns[index], lag);
	if (!answer->known[index])
		add(text, text_bytes, "at a lag of %s it is not known", lag);
	else if (search->rate <= 0)
		add(text, text_bytes, "not with even %.0f msg/s within %s", search->min, lag);
	else
		add(text, text_bytes, "%s%s msg/s (p99 lag within %s%s)",
		    search->at_max || answer->limited ? "at least " : "",
		    grouped(search->rate, rate), lag, search->confirmed ? "" : ", not confirmed");
}

static void add_overload(const struct keepup_answer *answer, char *text, size_t text_bytes)
{
	const struct keepup_overload *o = NULL;
	unsigned int worst = 0;
	char time[CELL];

	for (unsigned int i = 0; i < KEEPUP_OVERLOADS; i++)
		if (answer->overloads[i].known && (!o || !answer->overloads[i].held || o->held)) {
			o = &answer->overloads[i];
			worst = i;
		}
	if (!o)
		return;
	add(text, text_bytes, "; offered %.2g times as much it still does %.0f%% of that",
	    keepup_overloads[worst], o->goodput_share * 100);
	if (isfinite(o->recovery_ns))
		add(text, text_bytes, " and is back within %s",
		    sheet_time(fmax(o->recovery_ns, 1e7), time));
	else if (!isnan(o->recovery_ns))
		add(text, text_bytes, " and does not come back");
}

double keepup_predicted(const struct keepup_answer *answer)
{
	return 1e9 / (answer->unslowed_ns + answer->slowed_by_ns);
}

/* What arithmetic says of a consumer that was slowed, beside what was found. */
static void add_predicted(const struct keepup_answer *answer, char *text, size_t text_bytes)
{
	double predicted = keepup_predicted(answer), off = answer->searches[0].rate / predicted - 1;
	char rate[CELL];

	if (!answer->known[0] || isnan(predicted))
		return;
	add(text, text_bytes,
	    "; a message that took %.0f ns was slowed by %.0f ns, so arithmetic predicts %s msg/s: found %.1f%% %s",
	    answer->unslowed_ns, answer->slowed_by_ns, grouped(predicted, rate), fabs(off) * 100,
	    off < 0 ? "less" : "more");
}

void keepup_sentence(const struct keepup *keepup, const struct keepup_row *row, char *text,
		     size_t text_bytes)
{
	const struct keepup_answer *answer = &row->answer;
	const char *name = row->consumer->variant.name;

	text[0] = '\0';
	if (answer->status == RUN_UNAVAILABLE) {
		add(text, text_bytes, "%s cannot be measured here: %s.", name, answer->reason);
		return;
	}
	if (answer->status == RUN_FAILED || answer->status == RUN_INVALID) {
		add(text, text_bytes, "%s failed: %s.", name, answer->reason);
		return;
	}
	if (answer->status == RUN_INTERRUPTED && !answer->known[0]) {
		const struct search *s = &answer->searches[0];
		char low[CELL], high[CELL];

		add(text, text_bytes, "%s was interrupted", name);
		if (s->passed > 0)
			add(text, text_bytes, "; it keeps up with %s msg/s",
			    grouped(s->passed, low));
		if (s->failed > 0)
			add(text, text_bytes, "%s not with %s", s->passed > 0 ? " and" : ";",
			    grouped(s->failed, high));
		add(text, text_bytes, ".");
		return;
	}
	if (answer->known[0] && answer->searches[0].rate <= 0) {
		char lag[CELL];

		add(text, text_bytes,
		    "%s does not keep up with even %.0f msg/s (p99 lag within %s).", name,
		    answer->searches[0].min, sheet_time(keepup->limits_ns[0], lag));
		return;
	}
	add(text, text_bytes, "%s keeps up with ", name);
	for (unsigned int i = 0; i < keepup->limits_count; i++) {
		add(text, text_bytes, "%s", i ? ", " : "");
		add_rate(keepup, answer, i, text, text_bytes);
	}
	if (!isnan(answer->kappa) && !row->consumer->control)
		add(text, text_bytes, ", %.2f of what C does", answer->kappa);
	add_predicted(answer, text, text_bytes);
	add_overload(answer, text, text_bytes);
	if (answer->limited)
		add(text, text_bytes, "; generator-limited: the generator could offer no more");
	add(text, text_bytes, ".");
}

enum column {
	COL_NAME,
	COL_RATE,
	COL_RATE_SHORT,
	COL_KAPPA,
	COL_US,
	COL_GHZ,
	COL_BATCH,
	COL_GOODPUT,
	COL_RECOVERY,
	COLS
};

static void set_rate(struct sheet_row *row, enum column column, const struct keepup_answer *answer,
		     unsigned int index)
{
	char text[CELL];

	if (!answer->known[index])
		snprintf(row->cells[column], CELL, "-");
	else
		snprintf(row->cells[column], CELL, "%s%.*s",
			 answer->searches[index].rate > 0 &&
					 (answer->limited || answer->searches[index].at_max)
				 ? ">="
				 : "",
			 (int)sizeof(text) - 3, grouped(answer->searches[index].rate, text));
}

static void set(struct sheet_row *row, enum column column, int digits, double value,
		const char *unit)
{
	if (isnan(value))
		snprintf(row->cells[column], CELL, "-");
	else
		snprintf(row->cells[column], CELL, "%.*f%s", digits, value, unit);
}

static void fill(struct sheet_row *cells, const struct keepup_row *row)
{
	const struct keepup_answer *answer = &row->answer;
	const struct keepup_overload *twice = &answer->overloads[KEEPUP_OVERLOADS - 1];

	snprintf(cells->cells[COL_NAME], CELL, "%.60s", row->consumer->variant.name);
	set_rate(cells, COL_RATE, answer, 0);
	set_rate(cells, COL_RATE_SHORT, answer, 1);
	set(cells, COL_KAPPA, 2, row->consumer->control ? (double)NAN : answer->kappa, "");
	set(cells, COL_US, 3, answer->cpu_us_per_msg, "");
	set(cells, COL_GHZ, 2, answer->ghz, "");
	set(cells, COL_BATCH, 0, answer->batch_p50, "");
	set(cells, COL_GOODPUT, 0, twice->known ? twice->goodput_share * 100 : (double)NAN, "%");
	if (twice->known && isinf(twice->recovery_ns))
		snprintf(cells->cells[COL_RECOVERY], CELL, "never");
	else
		sheet_time(twice->known ? twice->recovery_ns : (double)NAN,
			   cells->cells[COL_RECOVERY]);
}

static void print_table(const struct keepup *keepup, FILE *out)
{
	static const char *const heads[COLS] = {"consumer",  NULL,  NULL,    "of C",
						"us/msg",    "GHz", "batch", "goodput at 2x",
						"back after"};
	struct sheet_row *rows = calloc(keepup->rows_count + 1, sizeof(*rows));
	struct sheet sheet = {
		.columns_count = COLS, .rows = rows, .rows_count = keepup->rows_count};
	char limits[KEEPUP_LIMITS][CELL + 16], lag[CELL];

	if (!rows)
		return;
	for (unsigned int i = 0; i < KEEPUP_LIMITS; i++)
		snprintf(limits[i], sizeof(limits[i]), "msg/s, %s",
			 sheet_time(keepup->limits_ns[i], lag));
	for (int c = 0; c < COLS; c++)
		sheet.columns[c] = (struct sheet_column){
			.head = c == COL_RATE         ? limits[0]
				: c == COL_RATE_SHORT ? limits[1]
						      : heads[c],
			.left = c == COL_NAME,
		};
	for (unsigned int i = 0; i < keepup->rows_count; i++)
		fill(&rows[i], &keepup->rows[i]);
	sheet_print(out, &sheet, keepup->options.format);
	free(rows);
}

void keepup_print(const struct keepup *keepup, FILE *out)
{
	/* Rows of CSV stand alone: what reads them does not read sentences. */
	FILE *words = keepup->options.format == SHEET_CSV ? stderr : out;
	char text[1024], a[CELL], b[CELL];

	print_table(keepup, out);
	fputc('\n', words);
	for (unsigned int i = 0; i < keepup->rows_count; i++) {
		keepup_sentence(keepup, &keepup->rows[i], text, sizeof(text));
		fprintf(words, "%s%s\n", keepup->options.format == SHEET_MARKDOWN ? "- " : "",
			text);
	}
	if (!isnan(keepup->generator) && !isnan(keepup->ceiling))
		fprintf(words,
			"%sThe generator can offer %s msg/s, a consumer in C takes at most %s of it%s.\n",
			keepup->options.format == SHEET_MARKDOWN ? "- " : "",
			grouped(keepup->generator, a), grouped(keepup->ceiling, b),
			keepup->generator < KEEPUP_GENERATOR_MARGIN * keepup->ceiling
				? ": not a fifth more is left to prove that the consumer was the limit"
				: "");
	for (unsigned int i = 0; i < keepup->rows_count; i++)
		if (keepup->rows[i].answer.slowed)
			fprintf(words,
				"Others used the cores of these CPUs all the time in some trials of %s: its rates may be too low.\n",
				keepup->rows[i].consumer->variant.name);
	for (unsigned int i = 0; i < keepup->rows_count; i++)
		if (keepup->rows[i].answer.taken_share > 0.01)
			fprintf(words,
				"Other work took up to %.0f%% of the CPUs while %s was measured: its rates may be too low.\n",
				keepup->rows[i].answer.taken_share * 100,
				keepup->rows[i].consumer->variant.name);
}
