/* options.h - strict numbers and times, and the options that every load command has */
#ifndef VLY_BENCH_OPTIONS_H
#define VLY_BENCH_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/cpus.h"
#include "bench/load_shape.h"
#include "bench/sheet.h"

/* Exit codes of every command. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_FAILED = 1,      /* a run, or the command, went wrong */
	EXIT_USAGE = 2,       /* the command line makes no sense */
	EXIT_ENVIRONMENT = 3, /* the machine refuses: a limit, a missing program */
	EXIT_DATA = 4,        /* invalid or incomplete data */
	EXIT_REGRESSION = 5,
	EXIT_INTERRUPTED = 130,
};

#define OPTION_CONNECTIONS_MAX 10000000
#define OPTION_RUNS_MAX 10000
#define OPTION_PILOT_RUNS 10 /* blocks by which --preset publish sizes the rest */

enum preset {
	PRESET_NONE,
	PRESET_SMOKE,
	PRESET_STANDARD,
	PRESET_PUBLISH
};

/*
 * Prints "volley <command>: <message>" and how to get help, on one line, and exits with EXIT_USAGE.
 */
_Noreturn void usage_error(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * A decimal number of [min, max]: no sign, no fraction, nothing behind it. 0, or -EINVAL with one
 * line in `why` that names what was given and the range.
 */
int option_number(const char *text, uint64_t min, uint64_t max, uint64_t *value, char *why,
		  size_t why_bytes);

/*
 * A time: 500ms, 10s, 1.5m, 2h; a bare number means seconds. Range in nanoseconds. Errors as
 * option_number.
 */
int option_duration(const char *text, uint64_t min_ns, uint64_t max_ns, uint64_t *value_ns,
		    char *why, size_t why_bytes);

/* The same for the argument of option --`name`; usage_error() if it is none. */
uint64_t option_take_number(const char *command, const char *name, const char *text, uint64_t min,
			    uint64_t max);
uint64_t option_take_duration(const char *command, const char *name, const char *text,
			      uint64_t min_ns, uint64_t max_ns);

/* The number that the text begins with, as 20 of 20k, and in `rest` what follows it; -1: there is none. */
double option_leading(const char *text, const char **rest);

/*
 * A limit such as 5%: of [2%, 1000%], as parts of 1. Differences within 2% are none. Errors as
 * option_number.
 */
int option_percent(const char *text, double *value, char *why, size_t why_bytes);

/* A list of CPUs, or "none": then `unpinned`. usage_error() if it is neither. */
void option_cpus(const char *command, const char *name, const char *text, struct cpus *cpus,
		 bool *unpinned);

/* Each of `cpus` must be one that may be used; usage_error() else. */
void option_check_cpus(const char *command, const char *name, const struct cpus *cpus,
		       const struct cpus *allowed);

/* Writes a time the way people read it ("10 s", "500 ms", "2 h 5 min"). Returns `text`. */
char *option_duration_format(uint64_t ns, char *text, size_t size_bytes);

/*
 * Looks for a long option that `argp` and its children do not know, before argp_parse() complains
 * with less help: usage_error() with the nearest name.
 */
void option_check_names(const char *command, const struct argp *argp, int argc, char **argv);

/* What the load commands share. */
struct load_options {
	const char *command; /* "pingpong": for messages */
	uint32_t connections, size_bytes, depth, runs;
	uint64_t duration_ns, warmup_ns, stall_timeout_ns, ready_timeout_ns;
	uint32_t turns;              /* of the rows of a block; 0 and 1: none; see turns.h */
	uint64_t connect_timeout_ns; /* 0: load_connect_timeout_ns() */
	struct load_shape shape;
	uint64_t seed;
	enum preset preset; /* what was not given follows from it */
	bool runs_given, duration_given, warmup_given, depth_given;
	bool syscalls;                      /* count them */
	struct cpus allowed;                /* of this process, on the NUMA node if one was named */
	struct cpus server_cpus, load_cpus; /* empty: not pinned */
	bool server_cpus_given, load_cpus_given, server_unpinned, load_unpinned;
	bool cpus_shared; /* only one CPU: server and load take turns on it */
	int numa_node;    /* -1: any */
	const char *python;
	const char *json_path;    /* NULL: none; "-": stdout */
	enum sheet_format format; /* of the table */
};

/* Fills in the defaults; the seed comes from the clock. */
void load_options_init(struct load_options *options, const char *command);

/* A child parser for struct argp_child; its input is a struct load_options. */
extern const struct argp load_options_argp;

/*
 * After parsing: chooses CPUs that were not given, checks those that were; usage_error() if they
 * make no sense.
 */
void load_options_finish(struct load_options *options);

#endif
