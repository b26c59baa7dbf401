/* uring.h - kernel sockets by completion: the io_uring nic */
#ifndef VLY_NIC_URING_URING_H
#define VLY_NIC_URING_URING_H

#include "nic/nic.h"

extern const struct vly_nic_ops vly_uring_ops;

#endif
