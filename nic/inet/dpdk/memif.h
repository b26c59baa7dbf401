/* memif.h - what is peculiar to ports of memif: sockets left behind, frames that must fit a slot */
#ifndef VLY_NIC_INET_DPDK_MEMIF_H
#define VLY_NIC_INET_DPDK_MEMIF_H

#include "nic/inet/dpdk/conf.h"

/*
 * A server of memif that was killed leaves its socket behind, which the next one cannot bind. Where nobody answers
 * at it, it goes. (Those of the abstract kind, the default, vanish with their process.) `vdev`: any --vdev=.
 */
void vly_dpdk_memif_clear_socket(const char *vdev);

/*
 * Bytes of a slot of the port called `name`, by the words it was made with; 0: it is none of memif's. A longer frame would
 * lie in several slots, and the driver (rte_eth_memif.c:eth_memif_tx, 22.11) then takes one more than is free, which
 * the peer has not read yet, and leaves marks of a chain on slots that the next frames use.
 */
uint32_t vly_dpdk_memif_slot(const struct vly_dpdk_conf *conf, const char *name);

#endif
