/* test_dpdk_replay.c - net_pcap: a capture played into the stack, and what the stack answers in another */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nic/inet/arp_header.h"
#include "nic/inet/eth.h"
#include "tests/support/frames.h"
#include "volley/volley.h"

TestSuite(dpdk_replay, .timeout = 60);

#define PATIENCE_NS 30000000000ull
#define PORT 2000
#define PING "sixteen bytes of"

static const uint8_t their_mac[VLY_MAC_BYTES] = {2, 0, 0, 0, 0, 9};
static const uint8_t our_mac[VLY_MAC_BYTES] = {2, 'p', 'c', 'a', 'p', 0}; /* net_pcap's */

/* --- capture files: the classic format, microseconds --- */

static void put(FILE *file, const void *data, size_t len)
{
	cr_assert_eq(fwrite(data, 1, len, file), len);
}

static FILE *capture_begin(const char *path)
{
	const uint32_t head[] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
	FILE *file = fopen(path, "wb");

	cr_assert_not_null(file);
	put(file, head, sizeof(head));
	return file;
}

static void capture_frame(FILE *file, const uint8_t *data, uint32_t len)
{
	const uint32_t head[] = {1, 0, len, len};

	put(file, head, sizeof(head));
	put(file, data, len);
}

/* A packet of 10.0.0.2 to us, between its Ethernet headers. */
static void capture_packet(FILE *file, const struct packet *p)
{
	uint8_t frame[FRAME_ROOM + VLY_ETH_BYTES];
	struct vly_eth *eth = (struct vly_eth *)frame;

	memcpy(eth->dst, our_mac, VLY_MAC_BYTES);
	memcpy(eth->src, their_mac, VLY_MAC_BYTES);
	eth->type = htons(VLY_ETH_IPV4);
	memcpy(frame + VLY_ETH_BYTES, p->data, p->len);
	capture_frame(file, frame, p->len + VLY_ETH_BYTES);
}

/* Who has 10.0.0.1? Tell 10.0.0.2. */
static void capture_question(FILE *file)
{
	uint8_t frame[60] = {0};
	struct vly_eth *eth = (struct vly_eth *)frame;
	static const uint8_t question[] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint8_t *arp = frame + VLY_ETH_BYTES;

	memset(eth->dst, 0xff, VLY_MAC_BYTES);
	memcpy(eth->src, their_mac, VLY_MAC_BYTES);
	eth->type = htons(VLY_ETH_ARP);
	memcpy(arp, question, sizeof(question));
	memcpy(arp + 8, their_mac, VLY_MAC_BYTES);
	memcpy(arp + 14, "\x0a\0\0\x02", 4);
	memcpy(arp + 24, "\x0a\0\0\x01", 4);
	capture_frame(file, frame, sizeof(frame));
}

/* --- what was answered --- */

struct answers {
	unsigned arp, echo, syn_ack, reset, other;
};

static void count_packet(struct answers *a, const uint8_t *ip)
{
	const struct vly_tcp_header *tcp =
		(const struct vly_tcp_header *)(const void *)(ip + VLY_IPV4_BYTES);
	struct vly_ipv4_view view;

	cr_assert_eq(vly_ipv4_parse(ip,
				    ntohs(((const struct vly_ipv4 *)(const void *)ip)->total_len),
				    true, &view),
		     VLY_DROP_NONE);
	if (ip[9] == VLY_IP_ICMP && ip[VLY_IPV4_BYTES] == 0 &&
	    memcmp(ip + VLY_IPV4_BYTES + VLY_ICMP_BYTES, PING, 16) == 0)
		a->echo++;
	else if (ip[9] == VLY_IP_TCP && tcp->flags == (VLY_TCP_SYN | VLY_TCP_ACK) &&
		 ntohl(tcp->ack) == 0x01020304 + 1 && ntohs(tcp->src_port) == PORT)
		a->syn_ack++;
	else if (ip[9] == VLY_IP_TCP && tcp->flags & VLY_TCP_RST &&
		 ntohs(tcp->src_port) == PORT + 1)
		a->reset++;
	else
		a->other++;
}

static struct answers answers_read(const char *path)
{
	struct answers a = {0};
	uint32_t head[4];
	uint8_t data[4096];
	FILE *file = fopen(path, "rb");

	cr_assert_not_null(file);
	cr_assert_eq(fseek(file, 24, SEEK_SET), 0);
	while (fread(head, sizeof(head), 1, file) == 1) {
		const struct vly_eth *eth = (const struct vly_eth *)data;

		cr_assert(head[2] <= sizeof(data));
		cr_assert_eq(fread(data, 1, head[2], file), head[2]);
		cr_assert(memcmp(eth->src, our_mac, VLY_MAC_BYTES) == 0);
		if (eth->type == htons(VLY_ETH_ARP))
			a.arp += memcmp(eth->dst, their_mac, VLY_MAC_BYTES) == 0 && data[21] == 2;
		else
			count_packet(&a, data + VLY_ETH_BYTES);
	}
	fclose(file);
	return a;
}

static void capture_make(const char *path)
{
	static const uint8_t mss[] = {2, 4, 5, 0xb4};
	FILE *file = capture_begin(path);
	struct packet p;

	capture_question(file);
	packet_icmp(&p, 8, 0, (const uint8_t *)PING, 16);
	capture_packet(file, &p);
	packet_tcp(&p, VLY_TCP_SYN, mss, sizeof(mss), 0);
	capture_packet(file, &p);
	/* nobody listens one port further */
	struct vly_tcp_header *tcp = packet_tcp(&p, VLY_TCP_SYN, mss, sizeof(mss), 0);

	tcp->dst_port = htons(PORT + 1);
	packet_sum_transport(&p);
	capture_packet(file, &p);
	/* spoilt: no answer */
	tcp = packet_tcp(&p, VLY_TCP_SYN, mss, sizeof(mss), 0);
	tcp->check ^= 1;
	capture_packet(file, &p);
	fclose(file);
}

static void play(const char *nic)
{
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {10, 0, 0, 1}, .port = PORT};
	uint64_t end_ns = vly_now_ns() + PATIENCE_NS;
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_event *events;
	struct vly_stats stats = {0};
	vly_conn listener;

	vly_config_init(&config);
	config.nic = nic;
	config.pin = false;
	config.idle = VLY_IDLE_BUSY;
	config.lock_memory = false;
	cr_assert_eq(vly_engine_open(&config, &engine), 0);
	cr_assert_eq(vly_core_open(engine, 0, &core), 0);
	cr_assert_eq(vly_listen(core, &addr, NULL, NULL, &listener), 0);
	/* five in, four out; the device is asked every second */
	while (stats.port_rx_frames < 5 || stats.port_tx_frames < 4) {
		cr_assert_geq(vly_poll(core, &events, 0), 0);
		cr_assert_eq(vly_stats(engine, 0, &stats), 0);
		cr_assert(vly_now_ns() < end_ns, "%llu in, %llu out",
			  (unsigned long long)stats.port_rx_frames,
			  (unsigned long long)stats.port_tx_frames);
	}
	vly_core_close(core);
	vly_engine_close(engine);
}

Test(dpdk_replay, a_capture_is_answered_as_its_frames_were_live)
{
	char folder[] = "/tmp/volley-replay-XXXXXX", in[64], out[64], nic[400], why[512];

	cr_assert_not_null(mkdtemp(folder));
	snprintf(in, sizeof(in), "%s/in.pcap", folder);
	snprintf(out, sizeof(out), "%s/out.pcap", folder);
	snprintf(nic, sizeof(nic),
		 "inet:dpdk,port=0,eal=\"--vdev=net_pcap0,rx_pcap=%s,tx_pcap=%s\",ip=10.0.0.1/24",
		 in, out);
	capture_make(in);
	if (vly_nic_check(nic, why, sizeof(why)) == -ENOTSUP)
		cr_skip_test("%s", why);
	play(nic);
	struct answers a = answers_read(out);

	cr_assert_eq(a.arp, 1);
	cr_assert_eq(a.echo, 1);
	cr_assert_geq(a.syn_ack, 1); /* and again, as nobody acknowledges it */
	cr_assert_eq(a.reset, 1);
	unlink(in);
	unlink(out);
	rmdir(folder);
}
