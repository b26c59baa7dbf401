/* cutter.h - cuts a long segment as a port with TSO does, checking what it was given; shares no line with the stack */
#ifndef VLY_TESTS_CUTTER_H
#define VLY_TESTS_CUTTER_H

#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "nic/inet/wire.h"

#define CUTTER_BYTES (14u + 65535u)

struct cutter {
	uint8_t whole[CUTTER_BYTES];
	uint32_t headers, payload, at, mss;
	uint8_t segment[14 + 65535];
	uint32_t segment_bytes;
};

static inline uint32_t cutter_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline void cutter_put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* The folded sum of the pseudo header of `l4_bytes` of TCP. */
static inline uint32_t cutter_pseudo(const uint8_t *ip, uint32_t l4_bytes)
{
	uint32_t sum = 6 + l4_bytes;

	for (unsigned i = 12; i < 20; i += 2)
		sum += cutter_be16(ip + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Takes the frame, and those of the `count` that go on with it; how many these are. */
static inline uint32_t cutter_take(struct cutter *c, const struct vly_wire *wire,
				   const struct vly_frame *frames, uint32_t count)
{
	uint32_t pieces = 0, bytes = 0;
	const uint8_t *ip = c->whole + 14;

	do {
		VLY_CHECK(frames[pieces].len <= wire->mtu + 14);
		memcpy(c->whole + bytes, frames[pieces].data, frames[pieces].len);
		bytes += frames[pieces++].len;
	} while (pieces < count && frames[pieces].flags & VLY_FRAME_MORE);
	c->headers = 14 + 20 + (c->whole[14 + 20 + 12] >> 4) * 4u;
	c->payload = bytes - c->headers;
	c->mss = frames[0].mss;
	c->at = 0;
	VLY_CHECK(wire->caps & VLY_WIRE_TSO && frames[0].flags & VLY_FRAME_COMPLETE);
	VLY_CHECK(pieces > 1 && pieces <= wire->tso_pieces && bytes <= wire->tso_bytes);
	VLY_CHECK(c->mss && c->mss < c->payload && c->headers + c->mss <= wire->mtu + 14);
	VLY_CHECK(memcmp(c->whole, wire->mac, 6) != 0);
	VLY_CHECK(ip[0] == 0x45 && ip[9] == 6 && cutter_be16(ip + 2) == bytes - 14);
	VLY_CHECK(cutter_be16(ip + 20 + 16) == cutter_pseudo(ip, bytes - 34));
	return pieces;
}

/* The next segment in `segment`, its checksums to be completed; false: there is none. */
static inline bool cutter_next(struct cutter *c)
{
	uint32_t len = VLY_MIN(c->payload - c->at, c->mss);
	uint8_t *ip = c->segment + 14, *tcp = ip + 20;
	uint32_t seq;

	if (!len)
		return false;
	memcpy(c->segment, c->whole, c->headers);
	memcpy(c->segment + c->headers, c->whole + c->headers + c->at, len);
	seq = (cutter_be16(tcp + 4) << 16 | cutter_be16(tcp + 6)) + c->at;
	cutter_put16(tcp + 4, seq >> 16);
	cutter_put16(tcp + 6, seq & 0xffff);
	c->at += len;
	if (c->at < c->payload)
		tcp[13] &= (uint8_t)~9u; /* FIN and PSH are the last one's */
	c->segment_bytes = c->headers + len;
	cutter_put16(ip + 2, c->segment_bytes - 14);
	cutter_put16(tcp + 16, cutter_pseudo(ip, c->segment_bytes - 34));
	return true;
}

#endif
