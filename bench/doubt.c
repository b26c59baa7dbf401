/* doubt.c - what makes a run invalid, and what a reader has to know of one that counts */
#include "bench/doubt.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench/cpuspeed.h"
#include "bench/slope.h"

void doubt_reason(struct run_result *result, enum run_status status, const char *format, ...)
{
	va_list args;

	if (result->status == RUN_OK)
		result->status = status;
	if (result->reasons_count == RUN_REASONS_MAX)
		return;
	va_start(args, format);
	vsnprintf(result->reasons[result->reasons_count++], RUN_REASON_BYTES, format, args);
	va_end(args);
}

void doubt_warn(struct run_result *result, const char *format, ...)
{
	va_list args;

	if (result->warnings_count == RUN_WARNINGS_MAX)
		return;
	va_start(args, format);
	vsnprintf(result->warnings[result->warnings_count++], RUN_REASON_BYTES, format, args);
	va_end(args);
}

void doubt_speed(struct run_result *r, const char *role, const struct cpus *cpus,
		 const struct speed *before, const struct speed *after)
{
	unsigned int index;

	if (speed_change(before, after, &index) <= CPUSPEED_CHANGE_MAX)
		return;
	doubt_reason(
		r, RUN_INVALID,
		"the speed of %s CPU %d changed from %.2f to %.2f GHz during the run, more than %.0f%%",
		role, cpus->list[index], before->ghz[index], after->ghz[index],
		CPUSPEED_CHANGE_MAX * 100);
}

/* What others did to the run. */
static void doubt_disturbances(struct run_result *r)
{
	if (!isnan(r->steal_share) && r->steal_share > RUN_STEAL_MAX)
		doubt_warn(r, "the hypervisor took %.0f%% of the server's CPU time",
			   r->steal_share * 100);
	if (!isnan(r->server_cpus_other_share) && r->server_cpus_other_share > RUN_OTHERS_MAX)
		doubt_warn(
			r,
			"something else used %.0f%% of the server's CPUs: is the machine idle otherwise?",
			r->server_cpus_other_share * 100);
	if (r->throttled_s > 0)
		doubt_warn(r, "the CPU quota of the control group stopped its threads for %.3f s",
			   r->throttled_s);
	if (r->retransmits >= DOUBT_RETRANSMITS_MIN &&
	    r->retransmits > (double)r->messages * DOUBT_RETRANSMITS_SHARE)
		doubt_warn(r, "TCP sent %.0f segments again: something was lost on the way",
			   r->retransmits);
}

void doubt_limits(struct run_result *r)
{
	if (!isnan(r->server_busy_share) && !isnan(r->load_busy_share)) {
		r->limited = "no";
		if (r->load_busy_share > RUN_SATURATED)
			r->limited = r->server_busy_share > RUN_SATURATED ? "both" : "client";
	}
	if (r->limited && strcmp(r->limited, "client") == 0)
		doubt_warn(
			r,
			"client-limited: the load generator was %.0f%% busy, the server only %.0f%%: the rate is a lower bound",
			r->load_busy_share * 100, r->server_busy_share * 100);
	if (r->unfair)
		doubt_warn(
			r,
			"UNFAIR: Jain's index is %.3f, the slowest connection had %llu messages, the median one %llu",
			r->fairness.jain, (unsigned long long)r->fairness.min,
			(unsigned long long)r->fairness.p50);
	if (!r->steady)
		doubt_warn(
			r,
			"not steady: the rate moved by %+.1f%% over the window, more than %.0f%% and than chance; a longer --warmup may help",
			r->steady_change * 100, SLOPE_MAX * 100);
	doubt_disturbances(r);
}
