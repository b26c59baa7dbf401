/* udp.c - UDP sockets: datagrams in, datagrams out */
#include "nic/inet/udp.h"

#include <errno.h>

#include "nic/inet/handover.h"
#include "nic/inet/icmp.h"
#include "nic/inet/ip.h"
#include "nic/inet/stack.h"
#include "nic/inet/udp_header.h"
#include "nic/inet/wire_options.h"

#define PORT_FIRST 49152u /* RFC 6335: for those who do not ask for one */

struct waiting {
	uint32_t next; /* 1 + index */
	uint32_t addr; /* of the sender, network order */
	uint16_t port; /* host order */
	uint16_t len;
	uint8_t data[];
};

struct vly_udp_core {
	uint8_t *waiting; /* VLY_UDP_WAITING_MAX of them */
	uint32_t waiting_bytes;
	uint32_t free, free_count;
	uint32_t stalled_head, stalled_tail; /* slots */
	uint32_t ready_head, ready_tail;
};

static struct vly_udp *udp_at(const struct vly_inet *inet, uint32_t slot)
{
	return vly_container_of(vly_conn_at(&inet->nic.env->conns, slot), struct vly_udp, head);
}

static struct waiting *waiting_at(const struct vly_udp_core *core, uint32_t name)
{
	return (struct waiting *)(void *)(core->waiting + (size_t)(name - 1) * core->waiting_bytes);
}

static uint32_t waiting_bytes_for(uint32_t mtu)
{
	return VLY_ALIGN_UP((uint32_t)sizeof(struct waiting) + mtu, (uint32_t)VLY_CACHE_LINE);
}

size_t vly_udp_bytes(const struct vly_config *config, uint32_t mtu)
{
	(void)config;
	return vly_wire_take_bytes(sizeof(struct vly_udp_core)) +
	       vly_wire_take_bytes((size_t)VLY_UDP_WAITING_MAX * waiting_bytes_for(mtu));
}

int vly_udp_init(struct vly_inet *inet)
{
	struct vly_region *region = inet->nic.env->region;
	uint32_t bytes = waiting_bytes_for(inet->wire->mtu);
	struct vly_udp_core *core = vly_wire_take(region, sizeof(*core));
	uint8_t *waiting = vly_wire_take(region, (size_t)VLY_UDP_WAITING_MAX * bytes);

	if (!core || !waiting)
		return -ENOMEM;
	*core = (struct vly_udp_core){
		.waiting = waiting,
		.waiting_bytes = bytes,
		.free = 1,
		.free_count = VLY_UDP_WAITING_MAX,
		.stalled_head = VLY_NO_SLOT,
		.stalled_tail = VLY_NO_SLOT,
		.ready_head = VLY_NO_SLOT,
		.ready_tail = VLY_NO_SLOT,
	};
	for (uint32_t name = 1; name < VLY_UDP_WAITING_MAX; name++)
		waiting_at(core, name)->next = name + 1;
	inet->udp = core;
	return 0;
}

/* --- opening and ending --- */

static uint32_t hash_of(const struct vly_inet *inet, uint32_t laddr, uint16_t lport)
{
	struct vly_flow_key key = {.laddr = laddr, .lport = lport};

	return vly_flow_hash_udp(inet, &key);
}

static struct vly_udp *find(const struct vly_inet *inet, uint32_t laddr, uint16_t lport)
{
	uint32_t hash = hash_of(inet, laddr, lport);
	uint32_t at = vly_flow_home(&inet->flows, hash), name;

	while ((name = vly_flow_next(&inet->flows, hash, &at))) {
		struct vly_udp *udp;

		if ((name & VLY_FLOW_TYPE) != VLY_FLOW_CONN)
			continue;
		udp = udp_at(inet, VLY_FLOW_SLOT(name));
		if (udp->head.type == VLY_UDP && udp->laddr == laddr && udp->lport == lport)
			return udp;
	}
	return NULL;
}

static bool port_taken(const struct vly_inet *inet, uint32_t laddr, uint16_t lport)
{
	return find(inet, laddr, lport) || (laddr && find(inet, 0, lport));
}

/* A free port, network order; 0: there is none. */
static uint16_t port_choose(struct vly_inet *inet, uint32_t laddr)
{
	uint32_t count = 65536 - PORT_FIRST;
	uint32_t first = (uint32_t)(vly_inet_random(inet) % count);

	for (uint32_t i = 0; i < count; i++) {
		uint16_t port = htons((uint16_t)(PORT_FIRST + (first + i) % count));

		if (!port_taken(inet, laddr, port) &&
		    !(inet->relay && vly_relay_elsewhere(inet->relay, VLY_RELAY_SOCKETS, port)))
			return port;
	}
	return 0;
}

int vly_udp_open_at(struct vly_inet *inet, struct vly_udp *udp, const struct vly_addr *addr)
{
	uint32_t laddr;
	uint16_t lport = htons(addr->port);

	if (addr->family != VLY_IP4)
		return -EAFNOSUPPORT;
	memcpy(&laddr, addr->ip4, sizeof(laddr));
	if (laddr && !vly_route_own(&inet->route, laddr))
		return -EADDRNOTAVAIL;
	if (!lport)
		lport = port_choose(inet, laddr);
	if (!lport || port_taken(inet, laddr, lport))
		return -EADDRINUSE;
	if (!vly_flow_insert(&inet->flows, hash_of(inet, laddr, lport),
			     vly_conn_index(&udp->head) + 1))
		return -ENOBUFS;
	if (inet->relay)
		vly_relay_have(inet->relay, VLY_RELAY_SOCKETS, lport, 1);
	udp->laddr = laddr;
	udp->lport = lport;
	udp->hop = VLY_NO_HOP;
	udp->waiting_head = udp->waiting_tail = udp->waiting = 0;
	udp->events_seq = udp->events = 0;
	udp->bits = VLY_UDP_B_FLOW;
	return 0;
}

static void waiting_home(struct vly_udp_core *core, struct vly_udp *udp)
{
	uint32_t name = udp->waiting_head;
	struct waiting *waiting = waiting_at(core, name);

	udp->waiting_head = waiting->next;
	if (!udp->waiting_head)
		udp->waiting_tail = 0;
	udp->waiting--;
	waiting->next = core->free;
	core->free = name;
	core->free_count++;
}

static void unlist(const struct vly_inet *inet, uint32_t *head, uint32_t *tail, uint32_t slot,
		   size_t link)
{
	uint32_t before = VLY_NO_SLOT;
	uint32_t *at = head;

	while (*at != slot) {
		before = *at;
		at = (uint32_t *)(void *)((uint8_t *)udp_at(inet, before) + link);
	}
	*at = *(uint32_t *)(void *)((uint8_t *)udp_at(inet, slot) + link);
	if (*tail == slot)
		*tail = before;
}

static void unstall(struct vly_inet *inet, struct vly_udp *udp)
{
	if (udp->hop != VLY_NO_HOP)
		vly_hop_put(inet, udp->hop);
	udp->hop = VLY_NO_HOP;
	if (!(udp->bits & VLY_UDP_B_STALLED))
		return;
	udp->bits &= (uint16_t)~VLY_UDP_B_STALLED;
	unlist(inet, &inet->udp->stalled_head, &inet->udp->stalled_tail, vly_conn_index(&udp->head),
	       offsetof(struct vly_udp, stalled_next));
}

void vly_udp_let_go(struct vly_inet *inet, struct vly_udp *udp, int status)
{
	struct vly_udp_core *core = inet->udp;

	unstall(inet, udp);
	while (udp->waiting_head)
		waiting_home(core, udp);
	if (udp->bits & VLY_UDP_B_READY)
		unlist(inet, &core->ready_head, &core->ready_tail, vly_conn_index(&udp->head),
		       offsetof(struct vly_udp, ready_next));
	if (udp->bits & VLY_UDP_B_FLOW) {
		vly_flow_remove(&inet->flows, hash_of(inet, udp->laddr, udp->lport),
				vly_conn_index(&udp->head) + 1);
		if (inet->relay)
			vly_relay_have(inet->relay, VLY_RELAY_SOCKETS, udp->lport, -1);
	}
	udp->bits = 0;
	vly_env_dead(inet->nic.env, &udp->head, status);
}

static void fill_addr(struct vly_addr *addr, uint32_t ip, uint16_t port)
{
	*addr = (struct vly_addr){.family = VLY_IP4, .port = port};
	memcpy(addr->ip4, &ip, sizeof(addr->ip4));
}

void vly_udp_name(const struct vly_inet *inet, const struct vly_udp *udp, struct vly_addr *local,
		  struct vly_addr *peer)
{
	(void)inet;
	fill_addr(local, udp->laddr, ntohs(udp->lport));
	*peer = (struct vly_addr){0};
}

/* --- sending --- */

enum sent {
	SENT,
	STALLED, /* the wire is full, or the neighbour has not answered */
	LOST,    /* no way to go: datagrams may be lost */
};

static void build(struct vly_inet *inet, const struct vly_udp *udp, uint8_t *to,
		  const struct vly_addr *addr, uint32_t len)
{
	struct vly_udp_header *header = (struct vly_udp_header *)to;
	const struct vly_buf *buf = udp->head.tx_head;
	uint32_t skip = sizeof(*addr);

	*header = (struct vly_udp_header){.src_port = udp->lport,
					  .dst_port = htons(addr->port),
					  .len = htons((uint16_t)(VLY_UDP_BYTES + len))};
	to += VLY_UDP_BYTES;
	for (uint32_t i = 0; i < udp->head.tx_head->mark; i++, buf = buf->next) {
		memcpy(to, buf->data + skip, buf->len - skip);
		to += buf->len - skip;
		skip = 0;
	}
	vly_ip_end(inet, offsetof(struct vly_udp_header, check));
}

/* The first datagram of the queue; `*len` becomes its payload's length. */
static enum sent send_first(struct vly_inet *inet, struct vly_udp *udp, uint32_t *len)
{
	struct vly_buf *buf = udp->head.tx_head;
	struct vly_addr addr;
	uint32_t bytes = 0, dst;

	memcpy(&addr, buf->data, sizeof(addr));
	for (uint32_t i = 0; i < udp->head.tx_head->mark; i++, buf = buf->next)
		bytes += buf->len;
	*len = bytes - (uint32_t)sizeof(addr);
	if (addr.family != VLY_IP4 || !addr.port ||
	    VLY_IPV4_BYTES + VLY_UDP_BYTES + *len > inet->wire->mtu)
		return LOST;
	memcpy(&dst, addr.ip4, sizeof(dst));
	if (udp->hop == VLY_NO_HOP)
		udp->hop = vly_hop_take(inet, dst);
	if (udp->hop == VLY_NO_HOP)
		return LOST;
	const struct vly_hop *hop = &inet->hops.table[udp->hop];

	if (hop->state == VLY_HOP_ASKING)
		return hop->tries > VLY_HOP_TRIES ? LOST : STALLED;
	uint8_t *to = vly_ip_begin(inet, udp->hop, VLY_IP_UDP,
				   udp->laddr ? udp->laddr : inet->route.ip, dst,
				   VLY_UDP_BYTES + *len);
	if (!to)
		return STALLED;
	build(inet, udp, to, &addr, *len);
	return SENT;
}

static void stall(struct vly_inet *inet, struct vly_udp *udp)
{
	struct vly_udp_core *core = inet->udp;

	if (udp->bits & VLY_UDP_B_STALLED)
		return;
	udp->bits |= VLY_UDP_B_STALLED;
	udp->stalled_next = VLY_NO_SLOT;
	if (core->stalled_tail == VLY_NO_SLOT)
		core->stalled_head = vly_conn_index(&udp->head);
	else
		udp_at(inet, core->stalled_tail)->stalled_next = vly_conn_index(&udp->head);
	core->stalled_tail = vly_conn_index(&udp->head);
}

static void ready_add(struct vly_inet *inet, struct vly_udp *udp)
{
	struct vly_udp_core *core = inet->udp;

	if (udp->bits & VLY_UDP_B_READY)
		return;
	udp->bits |= VLY_UDP_B_READY;
	udp->ready_next = VLY_NO_SLOT;
	if (core->ready_tail == VLY_NO_SLOT)
		core->ready_head = vly_conn_index(&udp->head);
	else
		udp_at(inet, core->ready_tail)->ready_next = vly_conn_index(&udp->head);
	core->ready_tail = vly_conn_index(&udp->head);
}

void vly_udp_flush(struct vly_inet *inet, struct vly_udp *udp)
{
	struct vly_env *env = inet->nic.env;

	while (udp->head.tx_head) {
		uint32_t len;
		enum sent sent = send_first(inet, udp, &len);

		if (sent == STALLED) {
			stall(inet, udp);
			return;
		}
		if (udp->hop != VLY_NO_HOP)
			vly_hop_put(inet, udp->hop);
		udp->hop = VLY_NO_HOP;
		vly_count(sent == SENT ? &env->stats->dgrams_tx : &env->stats->dgrams_dropped, 1);
		if (sent == SENT)
			vly_count(&env->stats->tx_bytes, len);
		vly_env_dgram_done(env, &udp->head);
	}
	if (udp->head.state == VLY_CLOSING)
		vly_udp_let_go(inet, udp, 0);
	else if (udp->waiting && !(udp->head.flags & VLY_F_PAUSED))
		ready_add(inet, udp);
}

/* --- receiving --- */

/* False: no room in the batch, no receive buffer, or the socket's share of the batch is used up. */
static bool deliver(struct vly_inet *inet, struct vly_udp *udp, uint32_t addr, uint16_t port,
		    const uint8_t *data, uint32_t len)
{
	struct vly_env *env = inet->nic.env;
	uint32_t kept = VLY_MIN(len, env->config->dgram_max), room;
	struct vly_addr from;

	if (udp->events_seq != env->batch.seq) {
		udp->events_seq = env->batch.seq;
		udp->events = 0;
	}
	if (udp->head.flags & VLY_F_PAUSED || vly_batch_full(&env->batch))
		return false;
	if (udp->events == env->config->burst_max) {
		vly_count(&env->stats->rx_capped, 1);
		return false;
	}
	uint8_t *span = vly_rx_span(&env->rx, VLY_RX_HEAD_BYTES + kept, &room);

	if (!span) {
		vly_count(&env->stats->rx_starved, 1);
		return false;
	}
	struct vly_event *event = vly_batch_add_conn(&env->batch, &udp->head, VLY_DGRAM);

	fill_addr(&from, addr, port);
	event->data = span + VLY_RX_HEAD_BYTES;
	event->len = kept;
	event->buf = env->rx.current->index;
	memcpy(event->data, data, kept);
	memcpy(event->data - sizeof(from), &from, sizeof(from));
	vly_rx_commit(&env->rx, VLY_RX_HEAD_BYTES + kept);
	udp->events++;
	vly_count(&env->stats->dgrams_rx, 1);
	vly_count(&env->stats->rx_events, 1);
	vly_count(&env->stats->rx_bytes, kept);
	if (kept < len) {
		event->flags |= VLY_TRUNCATED;
		vly_count(&env->stats->dgrams_truncated, 1);
	}
	return true;
}

/* A socket may have as many waiting as are free for all others together. */
static bool keep(struct vly_inet *inet, struct vly_udp *udp, const struct vly_ipv4_view *ip,
		 const struct vly_udp_view *view)
{
	struct vly_udp_core *core = inet->udp;
	uint32_t name = core->free;
	struct waiting *waiting;

	if (udp->waiting >= core->free_count ||
	    sizeof(*waiting) + view->payload_bytes > core->waiting_bytes)
		return false;
	waiting = waiting_at(core, name);
	core->free = waiting->next;
	core->free_count--;
	waiting->next = 0;
	waiting->addr = ip->src;
	waiting->port = view->src_port;
	waiting->len = view->payload_bytes;
	memcpy(waiting->data, view->payload, view->payload_bytes);
	if (udp->waiting_tail)
		waiting_at(core, udp->waiting_tail)->next = name;
	else
		udp->waiting_head = name;
	udp->waiting_tail = name;
	udp->waiting++;
	if (!(udp->head.flags & VLY_F_PAUSED))
		ready_add(inet, udp);
	return true;
}

void vly_udp_input(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint16_t frame_flags)
{
	struct vly_udp_view view;
	enum vly_inet_drop drop = vly_udp_parse(ip, !(frame_flags & VLY_FRAME_CHECKED), &view);

	if (drop) {
		inet->drops[drop]++;
		return;
	}
	struct vly_udp *udp = find(inet, ip->dst, htons(view.dst_port));

	if (!udp)
		udp = find(inet, 0, htons(view.dst_port));
	if (!udp && vly_hand_udp(inet, htons(view.dst_port)))
		return;
	if (!udp || udp->head.state != VLY_OPENED) {
		inet->drops[VLY_DROP_UDP_PORT]++;
		if (!udp)
			vly_icmp_unreachable(inet, ip, VLY_ICMP_UNREACHABLE_PORT);
		return;
	}
	if (!udp->waiting &&
	    deliver(inet, udp, ip->src, view.src_port, view.payload, view.payload_bytes))
		return;
	if (!keep(inet, udp, ip, &view)) {
		inet->drops[VLY_DROP_UDP_NO_BUF]++;
		vly_count(&inet->nic.env->stats->dgrams_dropped, 1);
	}
}

/* One turn: who has more goes to the end. */
static void take_turn(struct vly_inet *inet, struct vly_udp *udp)
{
	struct vly_udp_core *core = inet->udp;

	while (udp->waiting_head) {
		const struct waiting *waiting = waiting_at(core, udp->waiting_head);

		if (!deliver(inet, udp, waiting->addr, waiting->port, waiting->data, waiting->len))
			break;
		waiting_home(core, udp);
	}
	if (udp->waiting && !(udp->head.flags & VLY_F_PAUSED))
		ready_add(inet, udp);
}

void vly_udp_poll(struct vly_inet *inet)
{
	struct vly_udp_core *core = inet->udp;
	uint32_t last = core->stalled_tail;

	while (core->stalled_head != VLY_NO_SLOT) {
		struct vly_udp *udp = udp_at(inet, core->stalled_head);
		bool is_last = core->stalled_head == last;

		core->stalled_head = udp->stalled_next;
		if (core->stalled_head == VLY_NO_SLOT)
			core->stalled_tail = VLY_NO_SLOT;
		udp->bits &= (uint16_t)~VLY_UDP_B_STALLED;
		vly_udp_flush(inet, udp);
		if (is_last)
			break;
	}
	last = core->ready_tail;
	while (core->ready_head != VLY_NO_SLOT && !vly_batch_full(&inet->nic.env->batch)) {
		struct vly_udp *udp = udp_at(inet, core->ready_head);
		bool is_last = core->ready_head == last;

		core->ready_head = udp->ready_next;
		if (core->ready_head == VLY_NO_SLOT)
			core->ready_tail = VLY_NO_SLOT;
		udp->bits &= (uint16_t)~VLY_UDP_B_READY;
		take_turn(inet, udp);
		if (is_last)
			break;
	}
}

bool vly_udp_has_work(const struct vly_inet *inet)
{
	return inet->udp->ready_head != VLY_NO_SLOT;
}
