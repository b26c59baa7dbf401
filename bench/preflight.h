/* preflight.h - what a run needs of this machine, checked before anything starts */
#ifndef VLY_BENCH_PREFLIGHT_H
#define VLY_BENCH_PREFLIGHT_H

#include <stddef.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/variant.h"
#include "volley/addr.h"

/*
 * Each returns 0, or -errno with one line in `why` that names the limit, its value, what is needed,
 * and the command that mends it.
 */
int preflight_server(const struct variant *variant, const struct variant_setting *setting,
		     char *why, size_t why_bytes);
int preflight_load(const struct load_options *options, const struct vly_addr *target, char *why,
		   size_t why_bytes);
int preflight_port(const struct vly_addr *addr, char *why, size_t why_bytes);

/*
 * A free port of 127.0.0.1, outside the range of outgoing connections if possible: the load's own
 * would take it otherwise. `seed` varies it. 0, or -EADDRINUSE.
 */
int preflight_choose_port(uint64_t seed, uint16_t *port);

/* Receives one line about something that does not stop a run but blurs its result. */
typedef void (*preflight_warn_fn)(const char *line, void *arg);
void preflight_warnings(const struct load_options *options, preflight_warn_fn warn, void *arg);

#endif
