/* stream.h - what each connection sends: every byte follows from its place and from who sends it */
#ifndef VLY_TESTS_SIM_STREAM_H
#define VLY_TESTS_SIM_STREAM_H

#include <stdbool.h>
#include <stdint.h>

/* Whoever listens there sends back what it gets (RFC 862). */
#define STREAM_ECHO_PORT 7

/* One direction; addresses and ports in host order. */
struct stream {
	uint32_t src_ip, dst_ip;
	uint16_t src_port, dst_port;
};

/* So the network, which sees addresses alone, knows what a segment has to contain. */
static inline uint64_t stream_key(const struct stream *s)
{
	uint64_t a = (uint64_t)s->src_ip << 16 | s->src_port;
	uint64_t b = (uint64_t)s->dst_ip << 16 | s->dst_port;
	bool echo = s->src_port == STREAM_ECHO_PORT;

	return echo ? b * 0x9e3779b97f4a7c15u + a : a * 0x9e3779b97f4a7c15u + b;
}

static inline uint8_t stream_byte(uint64_t key, uint64_t offset)
{
	uint64_t z = (key ^ (offset >> 3)) * 0xbf58476d1ce4e5b9u;

	z ^= z >> 29;
	return (uint8_t)((z * 0x94d049bb133111ebu) >> (8 * (offset & 7)));
}

static inline void stream_fill(uint8_t *to, uint64_t len, uint64_t key, uint64_t offset)
{
	for (uint64_t i = 0; i < len; i++)
		to[i] = stream_byte(key, offset + i);
}

/* How many of the bytes are right, from the first on. */
static inline uint64_t stream_matches(const uint8_t *data, uint64_t len, uint64_t key,
				      uint64_t offset)
{
	for (uint64_t i = 0; i < len; i++) {
		if (data[i] != stream_byte(key, offset + i))
			return i;
	}
	return len;
}

#endif
