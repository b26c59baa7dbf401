/* icmp.h - ICMP: echoes answered, errors handed to whom they are about */
#ifndef VLY_NIC_INET_ICMP_H
#define VLY_NIC_INET_ICMP_H

#include "nic/inet/icmp_header.h"

struct vly_inet;

/* Echo replies and errors of ours, per second and core. */
#define VLY_ICMP_PER_S 1000u

/* A packet for one of our addresses. */
void vly_icmp_input(struct vly_inet *inet, const struct vly_ipv4_view *ip);

/* Tells the sender of a packet for us that nobody takes it; at the rate above, else counted. */
void vly_icmp_unreachable(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint8_t code);

#endif
