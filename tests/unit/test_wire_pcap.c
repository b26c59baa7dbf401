/* test_wire_pcap.c - what passes is in the file, whole, in order, with its checksums */
#include "nic/inet/wire_pcap.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/frames.h"
#include "tests/support/leak.h"
#include "tests/support/wire_rig.h"

TestSuite(wire_pcap, .fini = vly_leak_gate, .timeout = 60);

static uint8_t *read_all(const char *path, size_t *len)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(1 << 20);

	cr_assert_not_null(file);
	*len = fread(data, 1, 1 << 20, file);
	fclose(file);
	return data;
}

static uint32_t word(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, 4);
	return value;
}

Test(wire_pcap, every_frame_sent_and_received_is_written)
{
	struct wire_rig rig;
	struct vly_frame frames[64];
	char folder[] = "/tmp/volley-pcap-XXXXXX", text[200], path[64], other[64];
	size_t len;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(other, sizeof(other), "%s/a.1", folder);
	snprintf(text, sizeof(text), "inet:pcap,hub,file=%s", path);
	rig_open(&rig, text, 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	for (uint32_t i = 0; i < 1000; i += 50) {
		cr_assert_eq(wire_send(a, b->mac, 60 + i, i, 50, 7000000000ull + i), 50);
		cr_assert_eq(wire_receive(b, frames, 64, 8000000000ull), 50);
	}
	a->ops->close(a);
	b->ops->close(b);
	rig_close(&rig);
	for (int side = 0; side < 2; side++) {
		uint8_t *data = read_all(side ? other : path, &len);
		const uint8_t *at = data + 24;

		cr_assert_eq(word(data), 0xa1b23c4d);
		cr_assert_eq(word(data + 20), 1);
		for (uint32_t i = 0; i < 1000; i++) {
			uint32_t bytes = 60 + i / 50 * 50;
			struct vly_frame frame = {.data = data + (at - data) + 16, .len = bytes};

			cr_assert_lt((size_t)(at - data), len);
			cr_assert_eq(word(at), side ? 8 : 7);
			cr_assert_eq(word(at + 4), side ? 0 : i / 50 * 50);
			cr_assert_eq(word(at + 8), bytes);
			cr_assert_eq(word(at + 12), bytes);
			cr_assert_eq(frame_number(&frame), i);
			cr_assert(frame_intact(&frame, bytes));
			at += 16 + bytes;
		}
		cr_assert_eq((size_t)(at - data), len);
		free(data);
	}
	unlink(path);
	unlink(other);
	rmdir(folder);
}

Test(wire_pcap, checksums_left_to_the_wire_are_right_in_the_file)
{
	struct wire_rig rig;
	struct vly_frame frame;
	struct packet p;
	struct vly_ipv4_view ip;
	struct vly_tcp_view tcp;
	char folder[] = "/tmp/volley-pcap-XXXXXX", text[200], path[64];
	size_t len;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/a", folder);
	snprintf(text, sizeof(text), "inet:pcap,hub,csum=offload,file=%s", path);
	rig_open(&rig, text, 1);
	struct vly_wire *a = rig_wire(&rig, 0);

	packet_tcp(&p, VLY_TCP_ACK, NULL, 0, 33)->check = 0x1234;
	((struct vly_ipv4 *)p.data)->check = 0;
	cr_assert_eq(a->ops->tx_take(a, 0, &frame, 1), 1);
	frame_fill(frame.data, 60, a->mac, a->mac, 1);
	frame.data[12] = 8;
	frame.data[13] = 0;
	memcpy(frame.data + 14, p.data, p.len);
	frame.len = 14 + p.len;
	frame.flags = VLY_FRAME_COMPLETE;
	a->ops->tx_send(a, 0, &frame, 1);
	cr_assert_eq(wire_receive(a, &frame, 1, 0), 1);
	cr_assert_eq(frame.flags, VLY_FRAME_CHECKED);
	a->ops->close(a);
	rig_close(&rig);
	uint8_t *data = read_all(path, &len);

	for (uint32_t i = 0; i < 2; i++) {
		const uint8_t *packet = data + 24 + 16 + 14 + i * (16 + 14 + p.len);

		cr_assert_eq(vly_ipv4_parse(packet, p.len, true, &ip), VLY_DROP_NONE);
		cr_assert_eq(vly_tcp_parse(&ip, true, &tcp), VLY_DROP_NONE);
	}
	free(data);
	unlink(path);
	rmdir(folder);
}
