/* npt.h - the control protocol of the Python sockets study: its request and its reply */
#ifndef VLY_BENCH_NPT_H
#define VLY_BENCH_NPT_H

#include <stddef.h>
#include <stdint.h>

#include "bench/load.h"

#define NPT_PORT 33331
#define NPT_REQUEST_MAX 1024 /* bytes of a request */
#define NPT_QUANTILES 19     /* 5, 10, ... 95% */

/* "ip port count runtime_s min_timeout_ns max_timeout_ns msize": one line without any end. */
struct npt_request {
	struct vly_addr target; /* family IP4; 0.0.0.0: wherever the request came from */
	uint32_t connections, size_bytes;
	uint64_t runtime_ns, think_min_ns, think_max_ns;
};

/*
 * 0; -EAGAIN: fewer than seven fields yet; -EINVAL with one line in `why`. A last field may still
 * be cut: nothing marks its end.
 */
int npt_parse(const char *text, struct npt_request *request, char *why, size_t why_bytes);

/* The run that the request asks for; nic and cpus are left to the caller. */
struct load_params npt_params(const struct npt_request *request);

/*
 * "mcount base n (idx count)*n 19 p5 ... p95": bucket idx stands for base^idx nanoseconds, base
 * 2^0.1; quantiles of the messages of a connection. Returns a string for free(), or NULL without
 * memory.
 */
char *npt_reply(const struct load_result *result);

#endif
