/* load_usage.c - what the load generator spends on a window, and how busy its cores are */
#include "bench/load_usage.h"

#include "volley/volley.h"

void load_usage_take(const struct load_params *params, const struct load_core *cores,
		     unsigned cores_count, struct load_usage *usage)
{
	usage->stamp_ns = vly_now_ns();
	usage->cores_count = cores_count;
	for (unsigned i = 0; i < cores_count; i++) {
		struct vly_stats stats = {0};

		usage->core_ns[i] = load_core_cpu_ns(&cores[i]);
		if (vly_stats(cores[i].engine, i, &stats) < 0)
			stats = (struct vly_stats){0};
		usage->busy_ns[i] = stats.busy_ns;
		usage->idle_ns[i] = stats.idle_ns;
	}
	if (cost_cpus_sample(params->cpus, params->cpus_count, &usage->cpus) != 0)
		usage->cpus.stamp_ns = 0;
}

void load_usage_skip(struct load_usage *before, const struct load_usage *from,
		     const struct load_usage *to)
{
	before->stamp_ns += to->stamp_ns - from->stamp_ns;
	for (unsigned i = 0; i < before->cores_count; i++) {
		before->core_ns[i] += to->core_ns[i] - from->core_ns[i];
		before->busy_ns[i] += to->busy_ns[i] - from->busy_ns[i];
		before->idle_ns[i] += to->idle_ns[i] - from->idle_ns[i];
	}
	cost_cpus_skip(&before->cpus, &from->cpus, &to->cpus);
}

static double busy_share(const struct load_usage usage[2], unsigned core, bool polls)
{
	uint64_t busy_ns = usage[1].busy_ns[core] - usage[0].busy_ns[core];
	uint64_t idle_ns = usage[1].idle_ns[core] - usage[0].idle_ns[core];
	double share = (double)(usage[1].core_ns[core] - usage[0].core_ns[core]) /
		       (double)(usage[1].stamp_ns - usage[0].stamp_ns);

	if (polls && busy_ns + idle_ns)
		share = (double)busy_ns / (double)(busy_ns + idle_ns);
	return share < 1.0 ? share : 1.0;
}

void load_usage_judge(const struct load_usage usage[2], uint64_t window_ns, bool polls,
		      struct load_result *result)
{
	double cpu_ns = 0, scale;

	result->cpu_ns = 0;
	result->busy_share = 0;
	if (usage[1].stamp_ns <= usage[0].stamp_ns)
		return;
	scale = (double)window_ns / (double)(usage[1].stamp_ns - usage[0].stamp_ns);
	for (unsigned i = 0; i < usage[0].cores_count; i++) {
		double share = busy_share(usage, i, polls);

		cpu_ns += (double)(usage[1].core_ns[i] - usage[0].core_ns[i]);
		if (share > result->busy_share)
			result->busy_share = share;
	}
	result->unbilled_known = usage[0].cpus.stamp_ns && usage[1].cpus.stamp_ns;
	if (result->unbilled_known) {
		struct cost_cpus spent = cost_cpus_between(&usage[0].cpus, &usage[1].cpus);

		result->unbilled = cost_cpus_unbilled(&spent, cost_irq_time_apart());
		cost_unbilled_scale(&result->unbilled, scale);
	}
	result->cpu_ns = (uint64_t)(cpu_ns * scale) + cost_unbilled_ns(&result->unbilled);
}
