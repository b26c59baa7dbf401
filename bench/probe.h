/* probe.h - the separate run that counts a row's system calls */
#ifndef VLY_BENCH_PROBE_H
#define VLY_BENCH_PROBE_H

#include "bench/run.h"
#include "bench/syscalls.h"

#define PROBE_WINDOW_MAX_NS UINT64_C(2000000000)
#define PROBE_WARMUP_MAX_NS UINT64_C(1000000000)

/*
 * Runs the row once under perf stat, with a window of at most PROBE_WINDOW_MAX_NS: calls for each
 * message. Tracepoints slow every system call of the machine down, so nothing else that this run
 * measures counts. Where it cannot be done, syscalls->reason says why.
 */
void probe_syscalls(const struct run_spec *spec, struct syscalls *syscalls);

#endif
