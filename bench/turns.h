/* turns.h - runs that alternate: each has its turn, again and again, on the same CPUs */
#ifndef VLY_BENCH_TURNS_H
#define VLY_BENCH_TURNS_H

#include "bench/run.h"

/*
 * The speed of a machine that others use changes from one second to the next, so that two runs, one behind
 * the other, differ although nothing about them does. Here the servers of all `count` specs are up at
 * once, each with its load and its connections. Their windows are cut into spec->turns pieces (of 50 ms at
 * least, unless more are asked for), one of each in turn, in an order that is reversed from one round to the next: what
 * the machine does in the meantime, it does to all of them. Whoever does not have its turn has nothing
 * under way, and neither its waiting nor the settling before each piece counts.
 *
 * Results as of run_execute(), in the order of the specs.
 */
void turns_execute(const struct run_spec *specs, unsigned count, struct run_result *results);

/* Pieces for a window of `duration_ns`, so long that each connection has several messages in a piece. */
uint32_t turns_for(uint64_t duration_ns, uint32_t connections, uint32_t depth);

#endif
