/* run_load.c - what a run says about its load: what was offered, sent, and waited for */
#include "bench/run_load.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/doubt.h"
#include "bench/number.h"
#include "bench/sheet.h"
#include "bench/stats.h"

#define UNKNOWN ((double)NAN)

void run_load_blank(struct run_load *load)
{
	double *const unknown[] = {
		&load->service_mean_ns, &load->service_max_ns, &load->under_way,
		&load->silence_ns,      &load->connecting_s,   &load->connects_per_s,
		&load->lag_mean_ns,     &load->lag_max_ns,
	};

	memset(load, 0, sizeof(*load));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		*unknown[i] = UNKNOWN;
	for (int i = 0; i < RUN_PERCENTILES; i++)
		load->service_ns[i] = UNKNOWN;
}

void run_load_take(struct run_result *run, struct loader *loader)
{
	const struct load_result *result = &loader->result;
	struct run_load *load = &run->load;

	load->under_way = result->under_way;
	load->silence_ns = result->silence_ns;
	load->connecting_s = result->connecting_s;
	load->connects_per_s = result->connects_per_s;
	load->scheduled = result->scheduled;
	load->unsent = result->unsent;
	load->unsent_before = result->unsent_before;
	load->lag_mean_ns = result->lag_mean_ns;
	load->lag_max_ns = result->lag_max_ns;
	load->hdr_per_connection = loader->hdr_per_connection;
	loader->hdr_per_connection = NULL;
	if (result->service.total == 0)
		return;
	load->service_mean_ns = result->service_mean_ns;
	load->service_max_ns = (double)result->service.max_ns;
	run_take_percentiles(&result->service, load->service_ns);
	load->hdr_service = loader->hdr_service;
	loader->hdr_service = NULL;
}

double run_load_jain_min(const struct run_result *run, const struct load_options *options)
{
	double mean = (double)run->messages / options->connections;

	if (options->shape.rate_msg_per_s <= 0)
		return FAIRNESS_JAIN_MIN;
	return FAIRNESS_JAIN_MIN * mean / (mean + 1);
}

static void judge_schedule(struct run_result *run)
{
	const struct run_load *load = &run->load;
	double share = (double)load->unsent / (double)(load->scheduled ? load->scheduled : 1);
	bool own = run->load_busy_share > RUN_SATURATED;

	if (share <= RUN_UNSENT_MAX)
		return;
	doubt_warn(
		run,
		"the rate was not kept: of %llu messages due in the window %llu (%.3g%%) were not sent by its end, and no percentile "
		"tells how long they would have taken; %s",
		(unsigned long long)load->scheduled, (unsigned long long)load->unsent, share * 100,
		own ? "the load generator was busy all the time: it cannot offer so much"
		    : "their connections waited for the server: it cannot carry so much, or --connections or --depth allow too few at once");
}

/* In a closed loop nobody notices that nobody asks. */
static void judge_silence(struct run_result *run, const struct load_options *options)
{
	double window_ns = run->window_s * 1e9;
	double silence_ns = run->load.silence_ns;
	char silence[SHEET_CELL_BYTES];

	if (options->shape.rate_msg_per_s > 0 || options->shape.think_max_ns ||
	    !(silence_ns > RUN_SILENCE_MAX * window_ns) ||
	    !(silence_ns > 10 * run->latency_mean_ns))
		return;
	doubt_warn(
		run,
		"coordinated omission: for %s nothing came back, and in a closed loop nothing is sent meanwhile: %.2g%% of the time, "
		"but only %.2g%% of the messages met it, so percentiles below %.6g hide it; --rate R sends, and times, whatever is answered",
		sheet_time(silence_ns, silence), silence_ns / window_ns * 100,
		(double)options->connections * options->depth / (double)run->messages * 100,
		100 - (double)options->connections * options->depth / (double)run->messages * 100);
}

/* What the round trips that reach beyond the window's ends may be of those within, at most. */
static double beyond_window(const struct run_result *run, const struct load_options *options)
{
	double all = (double)options->connections * options->depth;

	return all * run->latency_max_ns / (run->load.under_way * run->window_s * 1e9);
}

static void judge_little(struct run_result *run, const struct load_options *options)
{
	char longest[SHEET_CELL_BYTES];

	if (isnan(run->little) || stats_little_agrees(run->little))
		return;
	if (fabs(run->little - 1) <= beyond_window(run, options)) {
		doubt_warn(
			run,
			"Little's law: rate times mean latency is %.2f of the messages under way: round trips took up to %s, and those that "
			"reach beyond the window count on one side only; a longer --duration has fewer of them",
			run->little, sheet_time(run->latency_max_ns, longest));
		return;
	}
	doubt_warn(
		run, "Little's law: rate times mean latency is %.2f of the messages under way: %s",
		run->little,
		run->little > 1
			? "some were timed longer than they were under way"
			: "the others were waiting in the load generator, outside what is timed");
}

void run_load_judge(struct run_result *run, const struct load_options *options)
{
	if (options->shape.rate_msg_per_s > 0)
		judge_schedule(run);
	judge_silence(run, options);
	judge_little(run, options);
}

static json_t *service_json(const struct run_load *load)
{
	json_t *service = json_object();

	if (isnan(load->service_mean_ns)) {
		json_decref(service);
		return json_null();
	}
	json_object_set_new(service, "mean", number(load->service_mean_ns));
	for (int i = 0; i < RUN_PERCENTILES; i++)
		json_object_set_new(service, run_percentile_names[i], number(load->service_ns[i]));
	json_object_set_new(service, "max", number(load->service_max_ns));
	return service;
}

void run_load_json(json_t *line, const struct run_result *run, const struct load_options *options)
{
	const struct run_load *load = &run->load;
	bool open_loop = options->shape.rate_msg_per_s > 0;
	bool counted = open_loop && run->measured;
	json_t *lag = json_null();

	if (counted)
		lag = json_pack("{s:o, s:o}", "mean", number(load->lag_mean_ns), "max",
				number(load->lag_max_ns));
	json_object_set_new(line, "loop", json_string(open_loop ? "open" : "closed"));
	json_object_set_new(line, "offered_msg_per_s",
			    open_loop ? json_real(options->shape.rate_msg_per_s) : json_null());
	json_object_set_new(line, "scheduled",
			    counted ? json_integer((json_int_t)load->scheduled) : json_null());
	json_object_set_new(line, "unsent",
			    counted ? json_integer((json_int_t)load->unsent) : json_null());
	json_object_set_new(line, "unsent_before",
			    counted ? json_integer((json_int_t)load->unsent_before) : json_null());
	json_object_set_new(line, "send_lag_ns", lag);
	json_object_set_new(line, "service_ns", service_json(load));
	json_object_set_new(line, "under_way", number(load->under_way));
	json_object_set_new(line, "silence_ns", number(load->silence_ns));
	json_object_set_new(line, "connecting_s", number(load->connecting_s));
	json_object_set_new(line, "connects_per_s", number(load->connects_per_s));
	json_object_set_new(line, "hdr_service",
			    load->hdr_service ? json_string(load->hdr_service) : json_null());
	json_object_set_new(line, "hdr_per_connection",
			    load->hdr_per_connection ? json_string(load->hdr_per_connection)
						     : json_null());
}

void run_load_fini(struct run_load *load)
{
	free(load->hdr_service);
	free(load->hdr_per_connection);
	load->hdr_service = load->hdr_per_connection = NULL;
}
