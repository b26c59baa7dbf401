/* udp.h - UDP sockets: datagrams in, datagrams out */
#ifndef VLY_NIC_INET_UDP_H
#define VLY_NIC_INET_UDP_H

#include "nic/conn.h"
#include "nic/inet/ipv4.h"

struct vly_inet;
struct vly_config;
struct vly_udp_core;

/* Datagrams that wait because their socket is paused, or had its share of the batch; of all sockets. */
#define VLY_UDP_WAITING_MAX 128u

enum vly_udp_bit {
	VLY_UDP_B_FLOW = 1 << 0,    /* its port is in the flow table */
	VLY_UDP_B_STALLED = 1 << 1, /* in the list of those whose first datagram could not go */
	VLY_UDP_B_READY = 1 << 2,   /* in the list of those with datagrams waiting */
};

/* A record of type VLY_UDP. */
struct vly_udp {
	struct vly_conn_head head;
	uint32_t laddr; /* network order, as the next; 0: all own addresses */
	uint16_t lport;
	uint16_t hop;                        /* held while stalled; VLY_NO_HOP */
	uint32_t stalled_next;               /* slot */
	uint32_t ready_next;                 /* slot */
	uint32_t waiting_head, waiting_tail; /* 1 + index */
	uint32_t waiting;
	uint32_t events_seq; /* the batch that `events` counts in */
	uint16_t events;
	uint16_t bits; /* enum vly_udp_bit */
};

/* Memory besides the records, and taking it from the core's region: 0 or -ENOMEM. */
size_t vly_udp_bytes(const struct vly_config *config, uint32_t mtu);
int vly_udp_init(struct vly_inet *inet);

/* The nic's operations. */
int vly_udp_open_at(struct vly_inet *inet, struct vly_udp *udp, const struct vly_addr *addr);
void vly_udp_flush(struct vly_inet *inet, struct vly_udp *udp);
void vly_udp_let_go(struct vly_inet *inet, struct vly_udp *udp, int status);
void vly_udp_name(const struct vly_inet *inet, const struct vly_udp *udp, struct vly_addr *local,
		  struct vly_addr *peer);

/* A packet for one of our addresses: becomes DGRAM now, waits, or is dropped and counted. */
void vly_udp_input(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint16_t frame_flags);

/* Once per poll, before frames are received: what waits goes on. */
void vly_udp_poll(struct vly_inet *inet);

/* Whether vly_udp_poll() would add to the batch. */
bool vly_udp_has_work(const struct vly_inet *inet);

#endif
