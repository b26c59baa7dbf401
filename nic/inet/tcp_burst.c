/* tcp_burst.c - a burst of received frames, staged; the fast path of TCP */
#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/ip.h"
#include "nic/inet/tcp.h"

#define BURST 32u

/* A frame on its way through the stages. */
struct item {
	struct vly_tcp *tcp; /* NULL: the slow path */
	const struct vly_ipv4 *ip;
	const struct vly_tcp_header *header;
	uint32_t hash;
	uint32_t l4_len;
};

/*
 * Stage 1: what the fast path takes as far as the IP header tells: for us, IPv4 without options, TCP,
 * whole, its checksum right. Everything else is looked at again by vly_ip_input(), which counts.
 */
static bool is_plain(const struct vly_inet *inet, const struct vly_frame *frame, struct item *item)
{
	const struct vly_eth *eth = (const struct vly_eth *)frame->data;
	const struct vly_ipv4 *ip = (const struct vly_ipv4 *)(frame->data + VLY_ETH_BYTES);

	if (frame->len < VLY_ETH_BYTES + VLY_IPV4_BYTES + VLY_TCP_BYTES)
		return false;
	uint32_t total_len = ntohs(ip->total_len);

	if (eth->type != htons(VLY_ETH_IPV4) || ip->version_ihl != 0x45 ||
	    ip->protocol != VLY_IP_TCP ||
	    ip->fragment & htons(VLY_IPV4_MORE_FRAGMENTS | VLY_IPV4_OFFSET_MASK) ||
	    total_len > frame->len - VLY_ETH_BYTES || total_len < VLY_IPV4_BYTES + VLY_TCP_BYTES ||
	    frame->flags & VLY_FRAME_BAD || memcmp(eth->dst, inet->wire->mac, VLY_MAC_BYTES) != 0)
		return false;
	if (!(frame->flags & VLY_FRAME_CHECKED) &&
	    vly_checksum_fold(vly_checksum_add(0, ip, VLY_IPV4_BYTES)) != 0xffff)
		return false;
	item->ip = ip;
	item->header = (const struct vly_tcp_header *)(ip + 1);
	item->l4_len = total_len - VLY_IPV4_BYTES;
	return true;
}

static void stage_hash(struct vly_inet *inet, const struct vly_frame *frames, struct item *items,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];

		item->header = NULL;
		if (!is_plain(inet, &frames[i], item))
			continue;
		item->hash = vly_flow_hash(&inet->flows, item->ip->src, item->ip->dst,
					   (uint32_t)item->header->src_port << 16 |
						   item->header->dst_port);
		vly_prefetch(&inet->flows.entries[vly_flow_home(&inet->flows, item->hash)]);
	}
}

/* Stage 2: the first record of that hash; whether it is the right one is seen when it has come. */
static void stage_find(struct vly_inet *inet, struct item *items, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];

		item->tcp = NULL;
		if (!item->header)
			continue;
		uint32_t at = vly_flow_home(&inet->flows, item->hash);
		uint32_t name = vly_flow_next(&inet->flows, item->hash, &at);

		if (!name || (name & VLY_FLOW_TYPE) != VLY_FLOW_CONN)
			continue;
		item->tcp = vly_tcp_at(inet, VLY_FLOW_SLOT(name));
		vly_prefetch_write(item->tcp);
		vly_prefetch_write(&item->tcp->raddr);
	}
}

/* Stage 3: the buffers that will be acknowledged, which are also the next to be filled. */
static void stage_buffers(struct item *items, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct vly_tcp *tcp = items[i].tcp;

		if (!tcp || !tcp->head.tx_head)
			continue;
		vly_prefetch_write(tcp->head.tx_head);
		vly_prefetch_write(tcp->head.tx_head + 1);
	}
}

static bool key_is(const struct vly_tcp *tcp, const struct item *item)
{
	return tcp->raddr == item->ip->src && tcp->laddr == item->ip->dst &&
	       tcp->rport == item->header->src_port && tcp->lport == item->header->dst_port;
}

static bool checksum_right(const struct item *item, uint32_t header_len)
{
	uint64_t sum = vly_checksum_pseudo(item->ip->src, item->ip->dst, VLY_IP_TCP, item->l4_len);

	sum = vly_checksum_plus(sum, vly_checksum_add(0, item->header, VLY_TCP_BYTES));
	if (header_len != VLY_TCP_BYTES)
		sum = vly_checksum_plus(sum,
					vly_checksum_add(0, item->header + 1, VLY_TCP_TS_BYTES));
	sum = vly_checksum_plus(sum, vly_checksum_add(0, (const uint8_t *)item->header + header_len,
						      item->l4_len - header_len));
	return vly_checksum_fold(sum) == 0xffff;
}

/* The form of RFC 7323, appendix A, and not older than what was seen: its value in `*stamp`. */
static bool only_timestamps(const struct vly_tcp *tcp, const struct vly_tcp_header *header,
			    uint32_t *stamp)
{
	static const uint8_t form[4] = {VLY_TCP_OPT_NOP, VLY_TCP_OPT_NOP, VLY_TCP_OPT_TIMESTAMPS,
					10};
	const uint8_t *options = (const uint8_t *)(header + 1);

	if (memcmp(options, form, sizeof(form)) != 0)
		return false;
	memcpy(stamp, options + 4, sizeof(*stamp));
	*stamp = ntohl(*stamp);
	return !vly_seq_before(*stamp, tcp->ts_recent);
}

/* Everything in flight was acknowledged: one buffer, as good as always. */
static void all_acked(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t ack)
{
	struct vly_conn_head *head = &tcp->head;
	struct vly_buf *buf = head->tx_head;

	if (!(tcp->bits & VLY_TCP_B_REXMIT))
		vly_tcp_rtt(tcp, inet->now - tcp->rtx_base);
	uint32_t bytes = ack - tcp->snd_una;

	tcp->snd_una = ack;
	tcp->retries = 0;
	if (vly_likely(!buf->next && buf->len == bytes && !(buf->flags & VLY_BUF_BORROWED) &&
		       !(head->flags & VLY_F_TX_BLOCKED))) {
		head->tx_head = head->tx_tail = NULL;
		head->tx_bytes = 0;
		vly_buf_put(buf);
		return;
	}
	vly_env_tx_done(inet->nic.env, head, bytes);
}

/*
 * The fast path: established, in order, no options (or timestamps alone), nothing lost, nothing
 * waiting, first data of its connection in this batch. False: the slow path takes it, nothing was done.
 */
static inline bool fast(struct vly_inet *inet, const struct vly_frame *frame,
			const struct item *item)
{
	struct vly_tcp *tcp = item->tcp;
	const struct vly_tcp_header *header = item->header;
	struct vly_env *env = inet->nic.env;
	uint32_t seq = ntohl(header->seq), ack = ntohl(header->ack);
	uint32_t header_len = VLY_TCP_BYTES + (tcp->bits & VLY_TCP_B_TS ? VLY_TCP_TS_BYTES : 0);
	uint32_t len = item->l4_len - header_len, stamp = tcp->ts_recent;

	if (tcp->state != VLY_TCP_ESTABLISHED || tcp->bits & VLY_TCP_SLOW ||
	    header->offset != header_len / 4 << 4 || item->l4_len <= header_len ||
	    (header->flags & ~VLY_TCP_PSH) != VLY_TCP_ACK || seq != tcp->rcv_nxt ||
	    !key_is(tcp, item))
		return false;
	if (tcp->head.state != VLY_OPENED || tcp->head.flags & (VLY_F_PAUSED | VLY_F_SHUT) ||
	    len > VLY_MIN(env->config->hold_bytes, VLY_TCP_IN_PLACE) ||
	    tcp->head.batch_seq == env->batch.seq || env->batch.count + 1 >= env->batch.max)
		return false;
	/* all in flight is acknowledged, or nothing is: the rest is arithmetic for others */
	if (ack != tcp->snd_nxt || (ack != tcp->snd_una && vly_tcp_unsent(tcp)))
		return false;
	if (header_len != VLY_TCP_BYTES && !only_timestamps(tcp, header, &stamp))
		return false;
	if (!(frame->flags & VLY_FRAME_CHECKED) && !checksum_right(item, header_len))
		return false;
	if (ack != tcp->snd_una)
		all_acked(inet, tcp, ack);
	tcp->snd_wnd = (uint32_t)ntohs(header->window) << (tcp->wscale & 15);
	tcp->rcv_nxt = seq + len;
	tcp->ts_recent = stamp;
	struct vly_event *event =
		vly_batch_add_conn(&env->batch, &env->conns, &tcp->head, VLY_DATA);

	event->data = (uint8_t *)(uintptr_t)header + header_len;
	event->len = len;
	vly_tcp_owe_ack(inet, tcp, ++tcp->unacked >= 2 ? VLY_TCP_B_ACK_NOW : 0);
	return true;
}

bool vly_tcp_burst(struct vly_inet *inet)
{
	struct vly_frame frames[BURST];
	struct item items[BURST];
	const struct vly_batch *batch = &inet->nic.env->batch;
	/* a segment makes two events at most */
	uint32_t room = (batch->max - batch->count) / 2;
	uint32_t count =
		inet->wire->ops->rx_burst(inet->wire, inet->now_ns, frames, VLY_MIN(room, BURST));

	if (!count)
		return false;
	for (uint32_t i = 0; i < count; i++)
		vly_prefetch(frames[i].data);
	stage_hash(inet, frames, items, count);
	stage_find(inet, items, count);
	stage_buffers(items, count);
	uint32_t quick = 0, bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (vly_likely(items[i].tcp && fast(inet, &frames[i], &items[i]))) {
			quick++;
			bytes += items[i].l4_len - VLY_TCP_BYTES;
		} else {
			vly_ip_input(inet, &frames[i]);
		}
	}
	inet->stats.rx_frames += count;
	inet->stats.tcp_fast += quick;
	vly_count(&inet->nic.env->stats->rx_events, quick);
	vly_count(&inet->nic.env->stats->rx_bytes, bytes);
	return true;
}
