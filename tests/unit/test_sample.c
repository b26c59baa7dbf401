/* test_sample.c - what a supervisor reads arrives whole */
#include "bench/sample.h"

#include "tests/support/leak.h"

TestSuite(sample, .fini = vly_leak_gate);

/* Interrupts were forgotten once: a kernel that accounts for them would have billed nobody. */
Test(sample, every_figure_survives_the_way_over_the_control_socket)
{
	const struct sample sent = {
		.taken = true,
		.cpus_known = true,
		.polls_known = true,
		.cost = {.stamp_ns = 1,
			 .run_ns = 2,
			 .user_ns = 3,
			 .system_ns = 4,
			 .switches_voluntary = 5,
			 .switches_involuntary = 6,
			 .switches_known = true,
			 .rss_bytes = 7,
			 .processes = 8,
			 .threads = 9},
		.cpus = {.stamp_ns = 11,
			 .busy_ns = 12,
			 .user_ns = 13,
			 .system_ns = 14,
			 .irq_ns = 15,
			 .softirq_ns = 16,
			 .idle_ns = 17,
			 .steal_ns = 18,
			 .ksoftirqd_ns = 19},
		.polls_busy_ns = 21,
		.polls_idle_ns = 22,
	};
	struct sample got;
	json_t *message = sample_to_json(&sent, "end");

	cr_assert_str_eq(json_string_value(json_object_get(message, "id")), "end");
	sample_from_json(message, &got);
	json_decref(message);
	cr_assert(got.taken && got.cpus_known && got.polls_known && got.cost.switches_known);
	const uint64_t values[] = {
		got.cost.stamp_ns,
		got.cost.run_ns,
		got.cost.user_ns,
		got.cost.system_ns,
		got.cost.switches_voluntary,
		got.cost.switches_involuntary,
		got.cost.rss_bytes,
		got.cost.processes,
		got.cost.threads,
		10,
		got.cpus.stamp_ns,
		got.cpus.busy_ns,
		got.cpus.user_ns,
		got.cpus.system_ns,
		got.cpus.irq_ns,
		got.cpus.softirq_ns,
		got.cpus.idle_ns,
		got.cpus.steal_ns,
		got.cpus.ksoftirqd_ns,
		20,
		got.polls_busy_ns,
		got.polls_idle_ns,
	};
	for (uint64_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		cr_assert_eq(values[i], i + 1, "figure %llu", (unsigned long long)i);
	/* a field more wants a line above */
	cr_assert_eq(sizeof(struct cost_cpus), 9 * sizeof(uint64_t));
}

Test(sample, what_was_not_taken_is_not_known)
{
	const struct sample sent = {.taken = false};
	struct sample got = {.taken = true};
	json_t *message = sample_to_json(&sent, "begin");

	sample_from_json(message, &got);
	json_decref(message);
	cr_assert_not(got.taken);
	cr_assert_not(got.cpus_known);
	cr_assert_not(got.polls_known);
}
