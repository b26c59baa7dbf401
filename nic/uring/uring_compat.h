/* uring_compat.h - what liburing 2.3's headers lack: names of newer io_uring flags, opcodes and structures */
#ifndef VLY_NIC_URING_URING_COMPAT_H
#define VLY_NIC_URING_URING_COMPAT_H

#include <liburing.h>

/* Each is tried at start before it is used; the number behind it is the kernel that brought it. */

#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14) /* 6.5 */
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16) /* 6.6 */
#endif
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7) /* 6.15 */
#endif
#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15) /* 6.12 */
#endif
#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17) /* 6.15 */
#endif
#ifndef IORING_CQE_F_BUF_MORE
#define IORING_CQE_F_BUF_MORE (1U << 4) /* 6.12 */
#endif
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3) /* 6.2 */
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* Enumerators upstream: no #ifndef can see them, so they have names of their own. */
enum {
	VLY_IOU_PBUF_RING_INC = 2,           /* 6.12: io_uring_buf_reg.flags (liburing 2.3: pad) */
	VLY_IORING_REGISTER_NAPI = 27,       /* 6.9 */
	VLY_IORING_UNREGISTER_NAPI = 28,     /* 6.9 */
	VLY_IORING_OP_FIXED_FD_INSTALL = 54, /* 6.8 */
};

/* io_uring_napi, 6.9 */
struct vly_uring_napi {
	uint32_t busy_poll_to; /* us */
	uint8_t prefer_busy_poll;
	uint8_t pad[3];
	uint64_t resv;
};

/* io_uring_getevents_arg with the field that 6.12 put where `pad` was. */
struct vly_uring_wait_arg {
	uint64_t sigmask;
	uint32_t sigmask_sz;
	uint32_t min_wait_usec;
	uint64_t ts; /* struct __kernel_timespec * */
};

/* Where the application's own memory is named under IORING_SETUP_NO_MMAP: `resv2` in liburing 2.3. */
#define vly_uring_cq_user_addr(params) ((params)->cq_off.resv2)
#define vly_uring_sq_user_addr(params) ((params)->sq_off.resv2)

#endif
