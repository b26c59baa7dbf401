/* inet.h - TCP/IP of our own on frames: the nic that needs no kernel sockets */
#ifndef VLY_NIC_INET_INET_H
#define VLY_NIC_INET_INET_H

#include "nic/nic.h"

extern const struct vly_nic_ops vly_inet_ops;

#endif
