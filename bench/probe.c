/* probe.c - the separate run that counts a row's system calls */
#include "bench/probe.h"

#include <stdio.h>
#include <string.h>

static uint64_t at_most(uint64_t value, uint64_t limit)
{
	return value < limit ? value : limit;
}

void probe_syscalls(const struct run_spec *spec, struct syscalls *syscalls)
{
	struct load_options options = *spec->options;
	struct run_spec probe = *spec;
	struct run_result result;

	memset(syscalls, 0, sizeof(*syscalls));
	if (!spec->variant) {
		snprintf(syscalls->reason, sizeof(syscalls->reason),
			 "this command does not start the server; pingpong and ab do");
		return;
	}
	options.duration_ns = at_most(options.duration_ns, PROBE_WINDOW_MAX_NS);
	options.warmup_ns = at_most(options.warmup_ns, PROBE_WARMUP_MAX_NS);
	probe.options = &options;
	probe.probe = syscalls;
	run_execute(&probe, &result);
	/* A CPU that changed its speed did not change what was called. */
	bool good = (result.status == RUN_OK || result.status == RUN_INVALID) &&
		    result.messages > 0;
	if (good && syscalls->counted && syscalls->counted_ns > 0) {
		/* Counted a little longer than the window: by the same measure as CPU time. */
		syscalls_scale(syscalls, result.window_s * 1e9 / (double)syscalls->counted_ns /
						 (double)result.messages);
	} else {
		syscalls->counted = false;
		if (result.reasons_count && result.status != RUN_INVALID)
			snprintf(syscalls->reason, sizeof(syscalls->reason), "%.380s",
				 result.reasons[0]);
		else if (!syscalls->reason[0])
			snprintf(syscalls->reason, sizeof(syscalls->reason),
				 "the server did not end in time under perf");
	}
	run_result_fini(&result);
}
