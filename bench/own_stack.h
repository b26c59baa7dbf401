/* own_stack.h - what a nic with a TCP/IP of its own asks of a config */
#ifndef VLY_BENCH_OWN_STACK_H
#define VLY_BENCH_OWN_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "volley/config.h"

static inline bool bench_own_stack(const char *nic)
{
	return strncmp(nic, "inet", 4) == 0;
}

/*
 * Such a stack keeps each message until it is acknowledged, which the answer to it does: of conns_max
 * connections all have one out at the same time. `size_bytes`: of most messages; 0: not known. Buffers
 * that are no longer lie closer together, in fewer pages.
 */
static inline void bench_own_stack_config(struct vly_config *config, uint32_t size_bytes)
{
	uint32_t bytes = (size_bytes + 63) / 64 * 64;

	if (config->tx_bufs < config->conns_max + config->tx_bufs / 4)
		config->tx_bufs = config->conns_max + config->tx_bufs / 4;
	if (bytes && bytes < config->tx_buf_bytes)
		config->tx_buf_bytes = bytes;
}

#endif
