/* variant.h - the ways of serving sockets that can be compared: a row each */
#ifndef VLY_BENCH_VARIANT_H
#define VLY_BENCH_VARIANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/cpus.h"
#include "bench/words.h"

/* What a row is started with. */
struct variant_setting {
	const char *host; /* address to bind, "127.0.0.1" */
	uint16_t port;
	const struct cpus *cpus; /* empty: not pinned */
	uint32_t connections;    /* at most so many at once */
	uint32_t size_bytes;     /* of a message; 0: not known */
	const char *python;
	int loop; /* of a row on one: its descriptor */
};

/* A further row is one more entry in variant.c's table. */
struct variant {
	const char *name;
	const char *summary;      /* one line for `volley list` */
	const char *idle_policy;  /* "sleep": waits in the kernel; "busy": polls */
	const char *nic;          /* of an engine row; NULL: a program with sockets of its own */
	const char *exec;         /* command of --exec; NULL: built in */
	const char *style;        /* of a row of volley_python.py */
	const char *file;         /* program or script beside the command */
	bool any_ip4;             /* listens on every IPv4 address, whatever it is told */
	unsigned int fds_base;    /* descriptors beyond one per connection, generously */
	unsigned int threads_max; /* CPUs it can use; 0: as many as it gets */
	bool counts;              /* ends with a TOTAL of what it has seen, see total.h */
	bool thread_per_conn;     /* needs a thread for every connection */
	bool table_per_cpu;       /* its thread on each CPU has descriptors of its own */
	/*
	 * Server and load are the two ends of one wire in memory, made for each run: `nic` is what follows
	 * "inet:loop,fd=N,side=S,ip=A" on both sides, such as ",ts=0".
	 */
	bool loop;
	bool memif;             /* the wire is DPDK's memif, between two ports of it */
	const char *server_nic; /* what follows that on the server's side alone; NULL: nothing */
	bool forward;           /* an engine row that moves what it received (vly_send_event) */
	const char *workload;   /* of its own; NULL: as asked for */

	/* Whether it can run here: 0, or -errno with one line in `why` that names the way out. */
	int (*check)(const struct variant *variant, const struct variant_setting *setting,
		     char *why, size_t why_bytes);
	/* Appends the command line. 0, or -errno with one line in `why`. */
	int (*command)(const struct variant *variant, const struct variant_setting *setting,
		       struct words *words, char *why, size_t why_bytes);
};

/* The registry in order of listing; NULL past the last. */
const struct variant *variant_at(size_t index);

/* By name; NULL if there is none, then `nearest` (may be NULL) is the likeliest name or NULL. */
const struct variant *variant_find(const char *name, const char **nearest);

/*
 * A row for --exec: fills in `variant`, which borrows `command`. `name` lives as long as the
 * process.
 */
void variant_from_exec(struct variant *variant, const char *name, const char *command);

/* The address of a row's server on its loop, and the nic that either end opens on it. */
#define VARIANT_LOOP_HOST "10.77.0.1"
#define VARIANT_NIC_BYTES 1024
/* Slots of a ring with room for so many messages in flight, so that none waits for it. */
uint32_t variant_loop_slots(const struct variant *variant, uint32_t messages, uint32_t size_bytes);
void variant_loop_nic(const struct variant *variant, int loop, bool is_load, char *text,
		      size_t text_bytes);

/*
 * Finds a file that comes with the command, in the build folder or where it was installed. 0 or
 * -ENOENT.
 */
int variant_file(const char *name, char *path, size_t path_bytes);

#endif
