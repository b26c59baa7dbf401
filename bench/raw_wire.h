/* raw_wire.h - frames bounced at layer 2: what the wire alone can do, with no TCP */
#ifndef VLY_BENCH_RAW_WIRE_H
#define VLY_BENCH_RAW_WIRE_H

#include "bench/load.h"

/*
 * Frames as long as those of TCP with such messages and no options, as many under way as the
 * ping-pong has, over the same wire: copied in, copied back, nothing looked up. The load sees that
 * each came back whole and times it. What it reaches is the physical limit of the rows beside it.
 */

/*
 * The server: opens the wire of `nic` ("inet:loop,fd=N,side=0"), prints "READY PORT", bounces
 * until SIGTERM or SIGINT. 0 or -errno with a line on stderr.
 */
int raw_wire_serve(const char *nic, uint16_t port, const int *cpus, unsigned int cpus_count);

/* A workload, as load_run(): params->nic names the wire. One thread, whatever CPUs there are. */
int raw_wire_run(const struct load_params *params, struct load_result *result);

#endif
