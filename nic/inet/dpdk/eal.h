/* eal.h - starting DPDK's environment once per process, without leaving traces on its caller */
#ifndef VLY_NIC_INET_DPDK_EAL_H
#define VLY_NIC_INET_DPDK_EAL_H

#include "nic/inet/dpdk/conf.h"

/*
 * Starts EAL with the words of `conf`, and what they leave open chosen; once per process: later ones
 * must have the same words, or none. It runs on a thread of its own that ends again, so its caller
 * keeps affinity and thread state, and its own threads take no signals. What DPDK logs goes to the
 * library's log, level debug. 0, or -errno with one line in `why` that tells the fix.
 */
int vly_dpdk_eal_start(const struct vly_dpdk_conf *conf, char *why, size_t why_bytes);

/* The words that it was started with. */
void vly_dpdk_eal_words(char *text, size_t text_bytes);

/* What check() can tell without starting it: whether a PCI port is there, and not the kernel's. */
int vly_dpdk_eal_check(const struct vly_dpdk_conf *conf, char *why, size_t why_bytes);

/*
 * Forgets what DPDK has logged; what it has logged since, as the reason of a failure with its fix behind
 * `what`.
 */
void vly_dpdk_log_forget(void);
void vly_dpdk_log_reason(const char *what, int error, char *why, size_t why_bytes);

/*
 * The calling thread gets a number of DPDK's, without which its mempools have no caches; counted, so that
 * one thread may open several wires. 0, or -errno with `why`.
 */
int vly_dpdk_thread_enter(char *why, size_t why_bytes);
void vly_dpdk_thread_leave(void);

#endif
