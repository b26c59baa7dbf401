/* sample.c - what a server and its CPUs have spent at one instant, as a message */
#include "bench/sample.h"

#include <string.h>
#include <unistd.h>

#include "bench/control.h"

void sample_take(bool alive, const struct cpus *cpus, struct sample *sample)
{
	memset(sample, 0, sizeof(*sample));
	if (alive)
		cost_catch_up(cpus->list, cpus->count);
	/* Everything below this process is the server, forks and orphans of its own included. */
	sample->taken = alive && cost_sample(getpid(), COST_DESCENDANTS, &sample->cost) == 0;
	sample->cpus_known = cpus->count &&
			     cost_cpus_sample(cpus->list, cpus->count, &sample->cpus) == 0;
}

void sample_skip(struct sample *before, const struct sample *from, const struct sample *to)
{
	before->taken = before->taken && from->taken && to->taken;
	before->cpus_known = before->cpus_known && from->cpus_known && to->cpus_known;
	before->polls_known = before->polls_known && from->polls_known && to->polls_known;
	cost_skip(&before->cost, &from->cost, &to->cost);
	cost_cpus_skip(&before->cpus, &from->cpus, &to->cpus);
	before->polls_busy_ns += to->polls_busy_ns - from->polls_busy_ns;
	before->polls_idle_ns += to->polls_idle_ns - from->polls_idle_ns;
}

static json_t *cost_to_json(const struct cost *cost)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I}", "stamp_ns",
			 (json_int_t)cost->stamp_ns, "run_ns", (json_int_t)cost->run_ns, "user_ns",
			 (json_int_t)cost->user_ns, "system_ns", (json_int_t)cost->system_ns,
			 "switches_voluntary", (json_int_t)cost->switches_voluntary,
			 "switches_involuntary", (json_int_t)cost->switches_involuntary,
			 "switches_known", (int)cost->switches_known, "rss_bytes",
			 (json_int_t)cost->rss_bytes, "processes", (json_int_t)cost->processes,
			 "threads", (json_int_t)cost->threads);
}

static json_t *cpus_to_json(const struct cost_cpus *cpus)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "stamp_ns",
			 (json_int_t)cpus->stamp_ns, "busy_ns", (json_int_t)cpus->busy_ns,
			 "user_ns", (json_int_t)cpus->user_ns, "system_ns",
			 (json_int_t)cpus->system_ns, "irq_ns", (json_int_t)cpus->irq_ns,
			 "softirq_ns", (json_int_t)cpus->softirq_ns, "idle_ns",
			 (json_int_t)cpus->idle_ns, "steal_ns", (json_int_t)cpus->steal_ns,
			 "ksoftirqd_ns", (json_int_t)cpus->ksoftirqd_ns);
}

static json_t *polls_to_json(const struct sample *sample)
{
	return json_pack("{s:I, s:I}", "busy_ns", (json_int_t)sample->polls_busy_ns, "idle_ns",
			 (json_int_t)sample->polls_idle_ns);
}

json_t *sample_to_json(const struct sample *sample, const char *id)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o}", "type", "sample", "id", id, "cost",
			 sample->taken ? cost_to_json(&sample->cost) : json_null(), "cpus",
			 sample->cpus_known ? cpus_to_json(&sample->cpus) : json_null(), "polls",
			 sample->polls_known ? polls_to_json(sample) : json_null());
}

static uint64_t count_of(const json_t *json, const char *key)
{
	int64_t value = control_int(json, key, 0);

	return value > 0 ? (uint64_t)value : 0;
}

void sample_from_json(const json_t *message, struct sample *sample)
{
	const json_t *cost = json_object_get(message, "cost");
	const json_t *cpus = json_object_get(message, "cpus");
	const json_t *polls = json_object_get(message, "polls");

	memset(sample, 0, sizeof(*sample));
	sample->taken = json_is_object(cost);
	sample->cpus_known = json_is_object(cpus);
	sample->polls_known = json_is_object(polls);
	sample->polls_busy_ns = count_of(polls, "busy_ns");
	sample->polls_idle_ns = count_of(polls, "idle_ns");
	sample->cost = (struct cost){
		.stamp_ns = count_of(cost, "stamp_ns"),
		.run_ns = count_of(cost, "run_ns"),
		.user_ns = count_of(cost, "user_ns"),
		.system_ns = count_of(cost, "system_ns"),
		.switches_voluntary = count_of(cost, "switches_voluntary"),
		.switches_involuntary = count_of(cost, "switches_involuntary"),
		.switches_known = json_is_true(json_object_get(cost, "switches_known")),
		.rss_bytes = count_of(cost, "rss_bytes"),
		.processes = (uint32_t)count_of(cost, "processes"),
		.threads = (uint32_t)count_of(cost, "threads"),
	};
	sample->cpus = (struct cost_cpus){
		.stamp_ns = count_of(cpus, "stamp_ns"),
		.busy_ns = count_of(cpus, "busy_ns"),
		.user_ns = count_of(cpus, "user_ns"),
		.system_ns = count_of(cpus, "system_ns"),
		.irq_ns = count_of(cpus, "irq_ns"),
		.idle_ns = count_of(cpus, "idle_ns"),
		.softirq_ns = count_of(cpus, "softirq_ns"),
		.steal_ns = count_of(cpus, "steal_ns"),
		.ksoftirqd_ns = count_of(cpus, "ksoftirqd_ns"),
	};
}
