/* load_shape.h - how a load comes: its rate or its pauses, its ramp, where it comes from */
#ifndef VLY_BENCH_LOAD_SHAPE_H
#define VLY_BENCH_LOAD_SHAPE_H

#include <argp.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/load.h"
#include "bench/sources.h"

/* Without a rate the loop is closed: a message follows an echo. All zero: as fast as it goes. */
struct load_shape {
	const char *command;    /* for messages */
	const char *nic;        /* of the load generator; NULL: load_shape_finish() chooses */
	double rate_msg_per_s;  /* offered by all connections together; 0: closed loop */
	double surge_msg_per_s; /* offered instead for the first surge_ns of an open loop */
	uint64_t surge_ns;      /* 0: none */
	bool constant;          /* arrivals evenly spaced, else Poisson */
	bool arrivals_given;    /* which makes sense with a rate only */
	uint64_t think_min_ns, think_max_ns;
	uint64_t reconnect; /* messages; 0: never */
	uint64_t ramp_ns;
	struct sources sources;
};

/* A child parser for struct argp_child; its input is a struct load_shape. */
extern const struct argp load_shape_argp;

/*
 * After parsing: chooses what was not given; usage_error() if options contradict each other. `depth`
 * is messages in flight on each of `connections`.
 */
void load_shape_finish(struct load_shape *shape, uint32_t connections, uint32_t depth);

/* The nic that costs the load generator least CPU time at so many connections, of those allowed. */
const char *load_shape_nic(uint32_t connections);

/* Ports that this machine gives to outgoing connections of one address. */
uint32_t load_shape_ports(void);

/*
 * Chooses source addresses on loopback, unless they were given, if `connections` to `target` need
 * more ports than one address has, or use them up by connecting again.
 */
void load_shape_spread(struct load_shape *shape, const struct vly_addr *target,
		       uint32_t connections);

/* For a load process, and there. */
json_t *load_shape_message(const struct load_shape *shape);
void load_shape_from_message(const json_t *message, struct load_params *params);

/* For a result file: what was not asked for is null. */
json_t *load_shape_plan(const struct load_shape *shape);

/* ", 50,000 msg/s offered (Poisson)" and the like: "" for a plain load. Returns `text`. */
char *load_shape_format(const struct load_shape *shape, char *text, size_t size_bytes);

#endif
