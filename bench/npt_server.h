/* npt_server.h - volley as the load generator of the Python sockets study */
#ifndef VLY_BENCH_NPT_SERVER_H
#define VLY_BENCH_NPT_SERVER_H

#include <stdint.h>

#include "bench/options.h"

/*
 * Serves one request after another on `port` (0: any) of every IPv4 address, until a signal, or
 * options->runs of them if they were given. Prints READY and the port, then a line for each.
 * Returns an exit code.
 */
int npt_server(const struct load_options *options, uint16_t port);

#endif
