/* consumer.h - what volley keepup measures: consumers in C and Python, and where their messages come from */
#ifndef VLY_BENCH_CONSUMER_H
#define VLY_BENCH_CONSUMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/variant.h"

/* Where messages come from. */
enum feed {
	FEED_INTERNAL, /* a generator inside the consumer's process, on a CPU of its own; no network */
	FEED_KERNEL, /* the load generator, over kernel sockets; the consumer's engine on io_uring */
	FEED_LOOP,   /* the same over the engine's own TCP/IP on a wire in memory */
	FEED_DPDK,   /* and on two ports of DPDK's memif */
	FEEDS
};

const char *feed_name(enum feed feed);
/* -1: there is none of that name. */
int feed_of(const char *name);

#define CONSUMER_PATH_BYTES 96

/* How all consumers of a command are set up, and what one trial gives them. */
struct consumer_setting {
	enum feed feed;
	const char *work; /* "echo", "sink", "record" */
	const char *mode; /* "inline", "thread", "process" */
	const char *gc;   /* "on", "off", "frozen" */
	bool no_prefetch, compete;
	uint32_t slow_ns;
	const char *module; /* MODULE:NAME of --consumer; NULL */
	char source[512];   /* of a trial from inside: what follows "source:" */
	char meter[CONSUMER_PATH_BYTES], report[CONSUMER_PATH_BYTES]; /* files of a trial */
};

/* `variant` is first: what is given one of them finds the whole. */
struct consumer {
	struct variant variant;
	unsigned int feeds; /* bits: 1 << FEED_... */
	bool control;       /* in C: what others are compared with */
	bool metered;       /* tells lag, batches and time in Python */
	double least_ns,
		second_ns; /* the least that messages were seen to take without --slow; 0: not yet */
	double unslowed_ns; /* what one takes on a core that is all ours, by these; 0: not known */
	const struct consumer_setting *setting; /* of the command, by consumer_set_up() */
};

/* The registry in order of listing; NULL past the last. Written by the command: its settings. */
struct consumer *consumer_at(size_t index);
struct consumer *consumer_find(const char *name, const char **nearest);

/* Rows for --consumer and --exec; names live as long as the process. */
void consumer_from_module(struct consumer *consumer, const char *name, const char *module);
void consumer_from_exec(struct consumer *consumer, const char *name, const char *command);

/* How it runs from there: before anything else is done with it. The setting stays the caller's. */
void consumer_set_up(struct consumer *consumer, const struct consumer_setting *setting);

/* Why it cannot take messages from there: NULL, it can. */
const char *consumer_refuses(const struct consumer *consumer,
			     const struct consumer_setting *setting);

#endif
