/* cpuspeed.h - the speed at which a CPU really runs now */
#ifndef VLY_BENCH_CPUSPEED_H
#define VLY_BENCH_CPUSPEED_H

/*
 * Times a chain of dependent multiply-adds (4 core cycles each on x86-64: 3 for the multiplication,
 * 1 for the addition) on one CPU, five times some 2 ms, and keeps the fastest: what the CPU runs at
 * when nothing interrupts it. The clock is the thread's own run time: other threads on the CPU do
 * not slow it down, and the figure turns run time into core cycles. On a virtual machine it
 * includes a hyper-threaded neighbour or a throttled host, which no register of the guest tells.
 */
#define CPUSPEED_CHAIN_CYCLES 4

/* A change of speed beyond this ratio between two readings makes the run between them invalid. */
#define CPUSPEED_CHANGE_MAX 0.10

/*
 * Runs on a thread of its own, pinned to `cpu`, for some 10 ms of run time. 0 and core cycles per
 * nanosecond; -EINVAL: no such CPU, or not allowed for this process; or what pthread_create says.
 * Call it before and after a window, never during one.
 */
__attribute__((warn_unused_result)) int cpuspeed_measure(int cpu, double *effective_ghz);

/* |b - a| relative to the larger of the two; 0 if both are 0. */
double cpuspeed_change(double before_ghz, double after_ghz);

#endif
