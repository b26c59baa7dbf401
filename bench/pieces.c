/* pieces.c - the turns of a window: what each brought, and whether the CPUs were all ours meanwhile */
#include "bench/pieces.h"

#include <math.h>
#include <string.h>

#include "bench/number.h"
#include "bench/pace.h"
#include "bench/run.h"
#include "bench/series.h"
#include "bench/sheet.h"

#define UNKNOWN ((double)NAN)

/* --- one run --- */

struct cpupair pieces_probe(const struct load_options *options)
{
	return cpupair_probe_sides(&options->server_cpus, &options->load_cpus);
}

void pieces_add(struct pieces *pieces, struct cpupair cpus, double server_cpus)
{
	if (pieces->count < SLICES_MAX)
		pieces->piece[pieces->count++] = (struct piece){
			.cpus = cpus,
			.rate_msg_per_s = UNKNOWN,
			.server_cpus = server_cpus,
		};
}

void pieces_take_rates(struct pieces *pieces, const struct slices *slices)
{
	for (unsigned int i = 0; i < pieces->count && i < slices->count; i++)
		pieces->piece[i].rate_msg_per_s = slices->rate_per_s[i];
}

static double cpu_us_per_msg(const struct piece *piece)
{
	return piece->server_cpus * 1e6 / piece->rate_msg_per_s;
}

json_t *pieces_json(const struct pieces *pieces)
{
	json_t *list;

	if (!pieces->count)
		return json_null();
	list = json_array();
	for (unsigned int i = 0; i < pieces->count; i++) {
		const struct piece *piece = &pieces->piece[i];

		json_array_append_new(list,
				      json_pack("{s:o, s:o, s:o, s:o}", "pace_op_per_ns",
						number(piece->cpus.pace_op_per_ns), "line_ns",
						number(piece->cpus.line_ns), "rate_msg_per_s",
						number(piece->rate_msg_per_s), "cpu_us_per_msg",
						number(cpu_us_per_msg(piece))));
	}
	return list;
}

/* --- all runs --- */

/* What pieces are held to, over all rows. */
struct scale {
	double best_pace; /* 0: none is known */
	/* Of a line, in pieces whose cores were all ours; infinite and 0: none is known. */
	double nearest_ns, farthest_ns;
};

/* Pieces of a run, if it counts for `row` (NULL: for any). */
static unsigned int counted(const struct run_result *run, const char *row)
{
	return series_counts(run, row) ? run->pieces.count : 0;
}

/* Whether the cores were all ours in this piece, and it brought something. */
static bool is_ours(const struct run_result *run, const struct piece *piece, double best_pace)
{
	double slower_ghz = fmin(run->server_ghz, run->load_ghz);
	double full = fmax(best_pace * PACE_FULL, slower_ghz * PACE_PER_CYCLE_MIN);

	return piece->cpus.pace_op_per_ns >= full && piece->rate_msg_per_s > 0;
}

static struct scale scale_of(const struct run_result *runs, size_t count)
{
	struct scale scale = {.nearest_ns = (double)INFINITY};

	/* fmax() and fmin() pass by what is not known */
	for (size_t i = 0; i < count; i++)
		for (unsigned int j = 0; j < counted(&runs[i], NULL); j++)
			scale.best_pace =
				fmax(scale.best_pace, runs[i].pieces.piece[j].cpus.pace_op_per_ns);
	for (size_t i = 0; i < count; i++) {
		for (unsigned int j = 0; j < counted(&runs[i], NULL); j++) {
			const struct piece *piece = &runs[i].pieces.piece[j];

			if (!is_ours(&runs[i], piece, scale.best_pace))
				continue;
			scale.nearest_ns = fmin(scale.nearest_ns, piece->cpus.line_ns);
			scale.farthest_ns = fmax(scale.farthest_ns, piece->cpus.line_ns);
		}
	}
	return scale;
}

static enum pieces_distance distance_of(double line_ns, const struct scale *scale)
{
	return line_ns > scale->nearest_ns * PIECES_NEAR ? PIECES_ARE_FAR : PIECES_ARE_NEAR;
}

struct pieces_mean pieces_mean(const char *row, enum pieces_distance distance,
			       const struct run_result *runs, size_t count)
{
	struct pieces_mean mean = {.line_least_ns = UNKNOWN, .line_most_ns = UNKNOWN};
	struct scale scale = scale_of(runs, count);
	double rates = 0, known_rates = 0, cpus = 0, cycles = 0;

	for (size_t i = 0; i < count; i++) {
		mean.all += counted(&runs[i], row);
		for (unsigned int j = 0; j < counted(&runs[i], row); j++) {
			const struct piece *piece = &runs[i].pieces.piece[j];

			if (!is_ours(&runs[i], piece, scale.best_pace) ||
			    distance_of(piece->cpus.line_ns, &scale) != distance)
				continue;
			mean.count++;
			mean.line_least_ns = fmin(mean.line_least_ns, piece->cpus.line_ns);
			mean.line_most_ns = fmax(mean.line_most_ns, piece->cpus.line_ns);
			/* pieces are equally long, so rates are numbers of messages */
			rates += piece->rate_msg_per_s;
			if (isnan(piece->server_cpus))
				continue;
			known_rates += piece->rate_msg_per_s;
			cpus += piece->server_cpus;
			cycles += piece->server_cpus * runs[i].server_ghz * 1e9;
		}
	}
	mean.rate_msg_per_s = mean.count ? rates / mean.count : UNKNOWN;
	mean.cpu_us_per_msg = cpus * 1e6 / known_rates;
	mean.cycles_per_msg = cycles / known_rates;
	return mean;
}

/* --- for people --- */

/* " (a line there and back in 101 to 108 ns)", or nothing. */
static const char *line_text(const struct pieces_mean *mean, char *text, size_t bytes)
{
	int len;

	text[0] = '\0';
	if (isnan(mean->line_least_ns))
		return text;
	len = snprintf(text, bytes, " (a line there and back in %.0f", mean->line_least_ns);
	if (round(mean->line_most_ns) > round(mean->line_least_ns))
		len += snprintf(text + len, bytes - (size_t)len, " to %.0f", mean->line_most_ns);
	snprintf(text + len, bytes - (size_t)len, " ns)");
	return text;
}

static const char *cost_text(const struct pieces_mean *mean, char *text, size_t bytes)
{
	int len = 0;

	text[0] = '\0';
	if (!isnan(mean->cpu_us_per_msg))
		len = snprintf(text, bytes, ", CPU %.3g us/msg", mean->cpu_us_per_msg);
	if (!isnan(mean->cycles_per_msg))
		snprintf(text + len, bytes - (size_t)len, ", %.0f cycles", mean->cycles_per_msg);
	return text;
}

static void print_mean(FILE *out, const char *name, const char *where,
		       const struct pieces_mean *mean)
{
	char rate[SHEET_CELL_BYTES], line[96], cost[64];

	if (mean->count)
		sheet_note(out, "%s, cores all ours%s%s in %u of %u turns: %s msg/s%s", name, where,
			   line_text(mean, line, sizeof(line)), mean->count, mean->all,
			   sheet_count(mean->rate_msg_per_s, rate),
			   cost_text(mean, cost, sizeof(cost)));
	else
		sheet_note(out, "%s, cores all ours%s: in none of %u turns", name, where,
			   mean->all);
}

void pieces_print(FILE *out, const char *const *names, size_t names_count,
		  const struct run_result *runs, size_t count)
{
	struct scale scale = scale_of(runs, count);
	/* where all were as far apart, nobody was near */
	bool moved = distance_of(scale.farthest_ns, &scale) == PIECES_ARE_FAR;

	if (!(scale.best_pace > 0))
		return;
	for (size_t i = 0; i < names_count; i++) {
		struct pieces_mean near = pieces_mean(names[i], PIECES_ARE_NEAR, runs, count);
		struct pieces_mean far = pieces_mean(names[i], PIECES_ARE_FAR, runs, count);

		if (!near.all)
			continue;
		print_mean(out, names[i], moved ? " and near" : "", &near);
		if (far.count)
			print_mean(out, names[i], " but far apart", &far);
	}
}
