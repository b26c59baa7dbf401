/* turns.c - runs that alternate: each has its turn, again and again, on the same CPUs */
#include "bench/turns.h"

#include <math.h>
#include <stdlib.h>

#include "bench/child.h"
#include "bench/doubt.h"
#include "bench/live.h"
#include "bench/load.h"
#include "bench/run_cost.h"
#include "bench/slices.h"

#define TURN_NS UINT64_C(50000000)
#define MESSAGE_NS UINT64_C(25000) /* each connection shall have a few of them in a piece */
#define SPARE_NS UINT64_C(30000000000)

uint32_t turns_for(uint64_t duration_ns, uint32_t connections, uint32_t depth)
{
	uint64_t least_ns = (uint64_t)connections * depth * MESSAGE_NS;
	uint64_t turns = duration_ns / (least_ns > TURN_NS ? least_ns : TURN_NS);

	if (turns > SLICES_MAX)
		turns = SLICES_MAX;
	return turns ? (uint32_t)turns : 1;
}

/* What goes on, and in which order. */
struct round {
	struct live *lives;
	bool *opened; /* server and load came to be */
	bool *over;   /* it has ended, well or not */
	unsigned count;
};

static void end(struct live *live, bool *over)
{
	*over = true;
	live_close(live);
}

/* Until it is held. */
static void await_hold(struct live *live, bool *over)
{
	while (!live_is_held(live)) {
		if (!live_step(live)) {
			end(live, over);
			return;
		}
	}
	live_pause(live);
}

static uint64_t patience_ns(const struct live *live)
{
	const struct load_options *o = live->spec->options;

	return o->duration_ns + load_settle_ns(o->connections, o->depth) + o->stall_timeout_ns +
	       SPARE_NS;
}

/* CPUs that its server used in its last turn; NAN: not known. */
static double server_cpus(const struct live *live)
{
	const struct sample *before = &live->server->before, *after = &live->server->after;
	struct cost_unbilled unbilled;

	if (!before->taken || !after->taken)
		return (double)NAN;
	struct cost spent = run_cost_between(before, after, &unbilled);

	return (double)spent.run_ns / (double)spent.stamp_ns;
}

static void have_turn(struct live *live, bool *over)
{
	struct cpupair before;

	if (*over)
		return;
	before = pieces_probe(live->spec->options);
	live_go_on(live, patience_ns(live));
	await_hold(live, over);
	if (!*over)
		pieces_add(&live->result->pieces,
			   cpupair_worse(before, pieces_probe(live->spec->options)),
			   server_cpus(live));
}

/* One piece of each window; the order is reversed each time, so that no one is always the first. */
static void go_round(const struct round *round, bool reversed)
{
	for (unsigned i = 0; i < round->count; i++) {
		unsigned at = reversed ? round->count - 1 - i : i;

		have_turn(&round->lives[at], &round->over[at]);
	}
}

/* The last word: connections are closed, and the load tells its result. */
static void finish(struct live *live, bool *over)
{
	if (*over)
		return;
	live_go_on(live, patience_ns(live));
	while (live_step(live))
		;
	end(live, over);
}

static void run_round(const struct round *round, const struct run_spec *specs,
		      struct run_result *results)
{
	unsigned count = round->count;

	for (unsigned i = 0; i < count; i++) {
		struct live *live = &round->lives[i];

		round->opened[i] = live_open(live, &specs[i], &results[i]);
		if (round->opened[i])
			await_hold(live, &round->over[i]);
		else
			end(live, &round->over[i]);
	}
	for (uint32_t turn = 0; turn < specs[0].turns; turn++)
		go_round(round, turn % 2);
	for (unsigned i = 0; i < count; i++)
		finish(&round->lives[i], &round->over[i]);
	for (unsigned i = 0; i < count; i++) {
		if (round->opened[i])
			run_conclude(&round->lives[i]);
		live_fini(&round->lives[i]);
	}
}

void turns_execute(const struct run_spec *specs, unsigned count, struct run_result *results)
{
	struct round round = {
		.lives = calloc(count, sizeof(*round.lives)),
		.opened = calloc(count, sizeof(*round.opened)),
		.over = calloc(count, sizeof(*round.over)),
		.count = count,
	};

	if (round.lives && round.opened && round.over) {
		run_round(&round, specs, results);
	} else {
		for (unsigned i = 0; i < count; i++) {
			run_describe(&specs[i], &results[i]);
			doubt_reason(&results[i], RUN_FAILED, "out of memory");
		}
	}
	free(round.over);
	free(round.opened);
	free(round.lives);
	(void)child_kill_all();
}
