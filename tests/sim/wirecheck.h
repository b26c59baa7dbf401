/* wirecheck.h - a second opinion on frames: a small parser that shares no line with the stack's */
#ifndef VLY_TESTS_SIM_WIRECHECK_H
#define VLY_TESTS_SIM_WIRECHECK_H

#include <stdbool.h>
#include <stdint.h>

enum wirecheck_kind {
	WIRECHECK_ARP,
	WIRECHECK_ICMP,
	WIRECHECK_UDP,
	WIRECHECK_TCP,
};

enum {
	WIRECHECK_FIN = 1,
	WIRECHECK_SYN = 2,
	WIRECHECK_RST = 4,
	WIRECHECK_PSH = 8,
	WIRECHECK_ACK = 16,
	WIRECHECK_URG = 32,
};

/* What a frame says; all in host order. */
struct wirecheck {
	enum wirecheck_kind kind;
	uint32_t src_ip, dst_ip;
	uint16_t src_port, dst_port;
	/* TCP */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	const uint8_t *payload;
	uint32_t payload_bytes, options_bytes;
	bool has_mss, has_wscale, has_sack_permitted, has_ts;
	uint16_t mss;
	uint8_t wscale;
	uint32_t ts_value, ts_echo;
	unsigned sacks;
	uint32_t sack_from[4], sack_to[4];
};

/* NULL, or what is wrong with the frame: static text. Every length, reserved bit and checksum is looked at. */
const char *wirecheck_parse(const uint8_t *data, uint32_t len, uint32_t mtu, struct wirecheck *out);

/* What a wire that verifies checksums says of a frame: enum vly_frame_flag. */
uint16_t wirecheck_sums(const uint8_t *data, uint32_t len);

/* What a wire that completes checksums does. */
void wirecheck_complete(uint8_t *data, uint32_t len);

#endif
