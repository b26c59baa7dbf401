/* pieces.c - the turns of a window: what each brought, and whether the CPUs were all ours meanwhile */
#include "bench/pieces.h"

#include <math.h>
#include <sched.h>
#include <string.h>

#include "bench/number.h"
#include "bench/pace.h"
#include "bench/run.h"
#include "bench/series.h"
#include "bench/sheet.h"

#define UNKNOWN ((double)NAN)

/* --- one run --- */

/* The lower of `pace` and that of these CPUs; the thread visits them. */
static double slowest(const struct cpus *cpus, double pace)
{
	for (unsigned int i = 0; i < cpus->count; i++)
		if (cpus_pin(&(struct cpus){.count = 1, .list = {cpus->list[i]}}) == 0)
			pace = fmin(pace, pace_probe());
	return pace;
}

double pieces_pace(const struct load_options *options)
{
	double pace = UNKNOWN; /* fmin() passes it by */
	cpu_set_t own;

	/* of a side that may run anywhere nobody knows */
	if (!options->server_cpus.count || !options->load_cpus.count ||
	    sched_getaffinity(0, sizeof(own), &own) != 0)
		return pace;
	pace = slowest(&options->server_cpus, pace);
	pace = slowest(&options->load_cpus, pace);
	(void)sched_setaffinity(0, sizeof(own), &own);
	return pace;
}

void pieces_add(struct pieces *pieces, double pace_op_per_ns, double server_cpus)
{
	if (pieces->count < SLICES_MAX)
		pieces->piece[pieces->count++] = (struct piece){
			.pace_op_per_ns = pace_op_per_ns,
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
				      json_pack("{s:o, s:o, s:o}", "pace_op_per_ns",
						number(piece->pace_op_per_ns), "rate_msg_per_s",
						number(piece->rate_msg_per_s), "cpu_us_per_msg",
						number(cpu_us_per_msg(piece))));
	}
	return list;
}

/* --- all runs --- */

static double best_pace(const struct run_result *runs, size_t count)
{
	double best = 0;

	for (size_t i = 0; i < count; i++)
		for (unsigned int j = 0; series_counts(&runs[i], NULL) && j < runs[i].pieces.count;
		     j++)
			best = fmax(best, runs[i].pieces.piece[j].pace_op_per_ns);
	return best;
}

/* What a piece of this run needs for its cores to have been all ours. */
static double full_pace(const struct run_result *run, double best)
{
	double slower_ghz = fmin(run->server_ghz, run->load_ghz);

	return fmax(best * PACE_FULL, slower_ghz * PACE_PER_CYCLE_MIN);
}

struct pieces_mean pieces_mean(const char *row, const struct run_result *runs, size_t count)
{
	struct pieces_mean mean = {0};
	double best = best_pace(runs, count);
	double rates = 0, known_rates = 0, cpus = 0, cycles = 0;

	for (size_t i = 0; i < count; i++) {
		if (!series_counts(&runs[i], row))
			continue;
		mean.all += runs[i].pieces.count;
		for (unsigned int j = 0; j < runs[i].pieces.count; j++) {
			const struct piece *piece = &runs[i].pieces.piece[j];

			if (!(piece->pace_op_per_ns >= full_pace(&runs[i], best)) ||
			    !(piece->rate_msg_per_s > 0))
				continue;
			mean.full++;
			/* pieces are equally long, so rates are numbers of messages */
			rates += piece->rate_msg_per_s;
			if (isnan(piece->server_cpus))
				continue;
			known_rates += piece->rate_msg_per_s;
			cpus += piece->server_cpus;
			cycles += piece->server_cpus * runs[i].server_ghz * 1e9;
		}
	}
	mean.rate_msg_per_s = mean.full ? rates / mean.full : UNKNOWN;
	mean.cpu_us_per_msg = cpus * 1e6 / known_rates;
	mean.cycles_per_msg = cycles / known_rates;
	return mean;
}

void pieces_print(FILE *out, const char *const *names, size_t names_count,
		  const struct run_result *runs, size_t count)
{
	char rate[SHEET_CELL_BYTES], cost[64];

	if (!(best_pace(runs, count) > 0))
		return;
	for (size_t i = 0; i < names_count; i++) {
		struct pieces_mean mean = pieces_mean(names[i], runs, count);

		if (!mean.all)
			continue;
		if (!mean.full) {
			sheet_note(out, "%s, cores all ours: in none of %u turns", names[i],
				   mean.all);
			continue;
		}
		int len = 0;

		cost[0] = '\0';
		if (!isnan(mean.cpu_us_per_msg))
			len = snprintf(cost, sizeof(cost), ", CPU %.3g us/msg",
				       mean.cpu_us_per_msg);
		if (!isnan(mean.cycles_per_msg))
			snprintf(cost + len, sizeof(cost) - (size_t)len, ", %.0f cycles",
				 mean.cycles_per_msg);
		sheet_note(out, "%s, cores all ours in %u of %u turns: %s msg/s%s", names[i],
			   mean.full, mean.all, sheet_count(mean.rate_msg_per_s, rate), cost);
	}
}
