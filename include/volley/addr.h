/* addr.h - addresses of IPv4, IPv6 and Unix sockets, and their text form */
#ifndef VOLLEY_ADDR_H
#define VOLLEY_ADDR_H

#include "volley/api.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vly_family {
	VLY_NO_FAMILY = 0,
	VLY_IP4 = 4,
	VLY_IP6 = 6,
	VLY_UNIX = 1
};

/* 116 bytes, aligned to 4; compare two of them with vly_addr_equal(). */
struct vly_addr {
	uint8_t family;    /* enum vly_family */
	uint8_t path_len;  /* VLY_UNIX: bytes used in `path`; an abstract name starts with a NUL */
	uint16_t port;     /* host byte order; 0: any */
	uint32_t scope_id; /* VLY_IP6: interface index of a link-local address */
	union {
		uint8_t ip4[4];
		uint8_t ip6[16];
		char path[108];
	};
};

#define VLY_ADDR_TEXT_MAX 128 /* bytes that hold any formatted address and its NUL */

/*
 * Parses "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80", ":80" (any IPv4 address),
 * "unix:/path" or "unix:@abstract". No name look-up. Returns 0, or -EINVAL.
 */
VLY_API VLY_MUST_USE int vly_addr_parse(const char *text, struct vly_addr *addr);

/* Writes the text form, always terminated and cut to `size_bytes`; returns `text`. */
VLY_API char *vly_addr_format(const struct vly_addr *addr, char *text, size_t size_bytes);

/* 1 if family, port and address (for IPv6 the scope, too) are the same, else 0. */
VLY_API int vly_addr_equal(const struct vly_addr *a, const struct vly_addr *b);

#ifdef __cplusplus
}
#endif

#endif
