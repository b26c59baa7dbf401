/* epoll.h - kernel sockets by readiness: the nic for machines that refuse io_uring */
#ifndef VLY_NIC_EPOLL_EPOLL_H
#define VLY_NIC_EPOLL_EPOLL_H

#include "nic/nic.h"

extern const struct vly_nic_ops vly_epoll_ops;

#endif
