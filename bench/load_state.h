/* load_state.h - a run of the load generator while it goes on, as its parts share it */
#ifndef VLY_BENCH_LOAD_STATE_H
#define VLY_BENCH_LOAD_STATE_H

#include "bench/load.h"
#include "bench/load_core.h"
#include "bench/load_outcome.h"
#include "bench/load_usage.h"

struct load {
	const struct load_params *params;
	struct load_result *result;
	struct vly_engine *engine;
	struct load_core *cores;
	unsigned cores_count;
	struct load_orders orders;
	struct schedule schedule;
	enum load_phase phase;
	uint64_t start_ns, phase_ns;
	struct load_times times;
	uint32_t turns;
	struct load_usage *usage;          /* before and after the window, and a reading */
	uint64_t told_ns, told_messages;   /* the last progress */
	uint64_t heard_ns, heard_messages; /* when a message last came back */
	uint64_t stall_ns, connect_ns;
	bool polls; /* cores never sleep */
	bool cut;   /* the run was interrupted before its end */
};

/* Whether the parameters make sense. 0, or -EINVAL with the reason in `result`. */
__attribute__((warn_unused_result)) int load_check(const struct load_params *params,
						   struct load_result *result);

/* The engine, and a core for each CPU with its share of the connections. 0, or -errno and a reason. */
__attribute__((warn_unused_result)) int load_open_engine(struct load *load);
__attribute__((warn_unused_result)) int load_make_cores(struct load *load);

#endif
