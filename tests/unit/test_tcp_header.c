/* test_tcp_header.c - TCP headers and options: whole ones, and each way of being wrong */
#include "nic/inet/tcp_header.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/frames.h"
#include "tests/support/leak.h"

TestSuite(tcp_header, .fini = vly_leak_gate);

static enum vly_inet_drop verdict(const struct packet *p, struct vly_tcp_view *view)
{
	struct vly_ipv4_view ip;

	cr_assert_eq(packet_verdict(p, p->len, &ip), VLY_DROP_NONE);
	return vly_tcp_parse(&ip, true, view);
}

/* Parses a copy that ends where the options end, so that a sanitizer sees a read behind it. */
static enum vly_inet_drop options_of(const uint8_t *data, uint32_t len, bool is_syn,
				     struct vly_tcp_options *options)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (len)
		memcpy(copy, data, len);
	enum vly_inet_drop drop = vly_tcp_options_parse(copy, len, is_syn, options);
	free(copy);
	return drop;
}

Test(tcp_header, a_whole_segment_is_read)
{
	struct packet p;
	struct vly_tcp_view view;

	packet_tcp(&p, VLY_TCP_ACK | VLY_TCP_PSH, (const uint8_t *)"\1\1\1\1", 4, 33);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
	cr_assert_eq(view.src_port, 1000);
	cr_assert_eq(view.dst_port, 2000);
	cr_assert_eq(view.seq, 0x01020304);
	cr_assert_eq(view.ack, 0x05060708);
	cr_assert_eq(view.window, 5000);
	cr_assert_eq(view.flags, VLY_TCP_ACK | VLY_TCP_PSH);
	cr_assert_eq(view.header_bytes, 24);
	cr_assert_eq(view.payload_bytes, 33);
	cr_assert_eq(view.payload, p.data + 44);
	cr_assert_eq(view.options, p.data + 40);
}

Test(tcp_header, a_truncated_header_is_dropped)
{
	struct packet p;
	struct vly_tcp_view view;

	for (uint32_t len = 0; len < VLY_TCP_BYTES; len++) {
		packet_ip(&p, VLY_IP_TCP, len);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_TCP_SHORT);
	}
}

Test(tcp_header, an_offset_that_cannot_be_is_dropped)
{
	struct packet p;
	struct vly_tcp_view view;

	for (unsigned words = 0; words < 16; words++) {
		struct vly_tcp_header *tcp = packet_tcp(&p, VLY_TCP_ACK, NULL, 0, 12);

		tcp->offset = (uint8_t)(words << 4);
		packet_sum_transport(&p);
		cr_assert_eq(verdict(&p, &view),
			     words >= 5 && words <= 8 ? VLY_DROP_NONE : VLY_DROP_TCP_OFFSET,
			     "%u words", words);
	}
}

Test(tcp_header, every_wrong_bit_spoils_the_checksum)
{
	struct packet p;
	struct vly_tcp_view view;

	packet_tcp(&p, VLY_TCP_ACK, NULL, 0, 9);
	for (unsigned bit = 0; bit < 29 * 8; bit++) {
		p.data[20 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(verdict(&p, &view), VLY_DROP_NONE, "bit %u", bit);
		p.data[20 + bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	p.data[48] ^= 1; /* the last byte, an odd one */
	cr_assert_eq(verdict(&p, &view), VLY_DROP_TCP_CHECKSUM);
}

Test(tcp_header, a_segment_for_another_address_fails_its_checksum)
{
	struct packet p;
	struct vly_tcp_view view;

	packet_tcp(&p, VLY_TCP_ACK, NULL, 0, 9);
	((struct vly_ipv4 *)p.data)->dst = htonl(FRAME_DST_IP + 1);
	packet_sum(&p);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_TCP_CHECKSUM);
}

Test(tcp_header, flags_that_no_stack_sends_are_dropped)
{
	struct packet p;
	struct vly_tcp_view view;

	for (unsigned flags = 0; flags < 256; flags++) {
		bool syn = flags & VLY_TCP_SYN, fin = flags & VLY_TCP_FIN;
		bool rst = flags & VLY_TCP_RST, ack = flags & VLY_TCP_ACK;
		bool lie = (syn && (fin || rst)) || (!syn && !rst && !ack);

		packet_tcp(&p, (uint8_t)flags, NULL, 0, 0);
		cr_assert_eq(verdict(&p, &view), lie ? VLY_DROP_TCP_FLAGS : VLY_DROP_NONE, "%02x",
			     flags);
	}
}

Test(tcp_header, port_zero_is_dropped)
{
	struct packet p;
	struct vly_tcp_view view;

	packet_tcp(&p, VLY_TCP_SYN, NULL, 0, 0)->src_port = 0;
	packet_sum_transport(&p);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_TCP_FLAGS);
	packet_tcp(&p, VLY_TCP_SYN, NULL, 0, 0)->dst_port = 0;
	packet_sum_transport(&p);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_TCP_FLAGS);
}

Test(tcp_header, the_options_of_a_linux_syn_are_read)
{
	static const uint8_t syn[] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0,
				      0, 1, 0,    0,    0, 0, 1, 3,  3, 7};
	struct vly_tcp_options options;

	cr_assert_eq(options_of(syn, sizeof(syn), true, &options), VLY_DROP_NONE);
	cr_assert_eq(options.has, VLY_TCP_HAS_MSS | VLY_TCP_HAS_SACK_PERMITTED |
					  VLY_TCP_HAS_TIMESTAMPS | VLY_TCP_HAS_WSCALE);
	cr_assert_eq(options.mss, 1460);
	cr_assert_eq(options.wscale, 7);
	cr_assert_eq(options.ts_value, 1);
	cr_assert_eq(options.ts_echo, 0);
}

Test(tcp_header, options_of_a_syn_do_not_count_later)
{
	static const uint8_t syn[] = {2, 4, 0x05, 0xb4, 4, 2, 1, 3, 3, 7};
	struct vly_tcp_options options;

	cr_assert_eq(options_of(syn, sizeof(syn), false, &options), VLY_DROP_NONE);
	cr_assert_eq(options.has, 0);
}

Test(tcp_header, one_to_four_sack_blocks_are_read)
{
	uint8_t data[40] = {5};
	struct vly_tcp_options options;

	for (uint8_t i = 0; i < 38; i++)
		data[2 + i] = i;
	for (uint8_t blocks = 1; blocks <= 4; blocks++) {
		data[1] = (uint8_t)(2 + 8 * blocks);
		cr_assert_eq(options_of(data, data[1], false, &options), VLY_DROP_NONE);
		cr_assert_eq(options.sack_count, blocks);
		for (uint32_t i = 0; i < blocks; i++) {
			cr_assert_eq(options.sack[i].from, 0x00010203u + 0x08080808u * i);
			cr_assert_eq(options.sack[i].to, 0x04050607u + 0x08080808u * i);
		}
	}
}

Test(tcp_header, a_window_scale_is_at_most_fourteen)
{
	struct vly_tcp_options options;

	for (unsigned shift = 0; shift < 256; shift++) {
		uint8_t data[3] = {3, 3, (uint8_t)shift};

		cr_assert_eq(options_of(data, 3, true, &options), VLY_DROP_NONE);
		cr_assert_eq(options.wscale, shift < 14 ? shift : 14);
	}
}

Test(tcp_header, lengths_that_lie_are_dropped)
{
	static const struct {
		uint8_t data[12];
		uint32_t len;
	} lies[] = {
		{{2}, 1},          /* no length */
		{{2, 0, 0, 0}, 4}, /* would never end */
		{{2, 1, 0, 0}, 4},
		{{2, 4, 5}, 3},    /* beyond the header */
		{{2, 3, 5, 1}, 4}, /* not this kind's */
		{{3, 4, 5, 1}, 4},
		{{4, 3, 0, 1}, 4},
		{{8, 9, 1, 1, 1, 1, 1, 1, 1, 1}, 10},
		{{8, 10, 1, 1, 1, 1, 1, 1, 1}, 9},
		{{5, 2, 1, 1}, 4},                /* no block */
		{{5, 9, 1, 1, 1, 1, 1, 1, 1}, 9}, /* half a block */
		{{5, 11, 1, 1, 1, 1, 1, 1, 1, 1, 1}, 11},
		{{254, 0}, 2}, /* unknown ones may not lie either */
		{{254, 200, 1, 1}, 4},
		{{1, 1, 1, 254}, 4},
	};
	struct vly_tcp_options options;

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		cr_assert_eq(options_of(lies[i].data, lies[i].len, true, &options),
			     VLY_DROP_TCP_OPTIONS, "lie %zu", i);
}

Test(tcp_header, unknown_options_are_skipped)
{
	static const uint8_t data[] = {254, 6, 1, 2, 3, 4, 19, 2, 3, 3, 5, 1, 2, 4, 2, 0};
	struct vly_tcp_options options;

	cr_assert_eq(options_of(data, sizeof(data), true, &options), VLY_DROP_NONE);
	cr_assert_eq(options.wscale, 5);
	cr_assert_eq(options.mss, 512);
}

Test(tcp_header, nothing_counts_behind_the_end_of_options)
{
	static const uint8_t data[] = {1, 0, 3, 3, 5, 2, 0};
	struct vly_tcp_options options;

	cr_assert_eq(options_of(data, sizeof(data), true, &options), VLY_DROP_NONE);
	cr_assert_eq(options.has, 0);
}

Test(tcp_header, random_options_never_lead_outside)
{
	struct vly_tcp_options options;
	uint8_t data[40];

	for (uint64_t seed = 0; seed < 200000; seed++) {
		uint32_t len = (uint32_t)(vly_hash_u64(seed) % 41);

		for (uint32_t i = 0; i < len; i++) {
			uint64_t random = vly_hash_u64(seed * 41 + i);

			/* mostly small numbers: those are kinds and lengths */
			data[i] = (uint8_t)(random & 0x700 ? random % 11 : random);
		}
		(void)options_of(data, len, seed & 1, &options);
		cr_assert(options.sack_count <= VLY_TCP_SACKS_MAX);
		cr_assert(options.wscale <= VLY_TCP_WSCALE_MAX);
	}
}
