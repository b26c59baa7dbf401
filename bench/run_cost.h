/* run_cost.h - what a run says about its cost: CPU time of the server, by message, and who else used its CPUs */
#ifndef VLY_BENCH_RUN_COST_H
#define VLY_BENCH_RUN_COST_H

#include "bench/cost.h"
#include "bench/run.h"

/*
 * Fills in what the server's samples around the window tell, which lie a little outside it: `result` has
 * messages, window and CPU speeds already. What cannot be told stays NAN.
 */
void run_cost_take(const struct run_spec *spec, const struct server *server,
		   struct run_result *result);

/* What a server spent from one sample to another, with what the kernel's helpers did for it. */
struct cost run_cost_between(const struct sample *before, const struct sample *after,
			     struct cost_unbilled *unbilled);

/* By name, each in microseconds per message; NAN: does not apply on this kernel. */
void run_cost_unbilled(const struct cost_unbilled *unbilled, double per_msg,
		       struct run_unbilled *taken);

#endif
