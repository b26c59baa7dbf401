/* hop.c - next hops: the neighbours that frames go to, their Ethernet headers, kept fresh by ARP */
#include "nic/inet/hop.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "nic/inet/arp_header.h"
#include "nic/inet/handover.h"
#include "nic/inet/stack.h"
#include "nic/inet/wire_options.h"

#define VICTIMS_SEEN 8u
#define AGE_STEP_NS 100000000u /* the table is walked no more often */

struct vly_hop_pending {
	uint32_t next; /* 1 + index: of the free list, or of the hop's frames in their order */
	uint32_t len;
	uint16_t flags;
	uint16_t hop;
	uint32_t spare;
	uint8_t frame[VLY_HOP_PENDING_BYTES];
};

size_t vly_hops_bytes(const struct vly_config *config)
{
	(void)config;
	return vly_wire_take_bytes(VLY_HOPS_MAX * sizeof(struct vly_hop)) +
	       vly_wire_take_bytes(VLY_HOPS_MAX * sizeof(uint16_t)) +
	       vly_wire_take_bytes(VLY_HOP_PENDING_MAX * sizeof(struct vly_hop_pending));
}

int vly_hops_init(struct vly_inet *inet)
{
	struct vly_hops *hops = &inet->hops;
	struct vly_region *region = inet->nic.env->region;

	*hops = (struct vly_hops){.count = VLY_HOPS_MAX, .next_ns = UINT64_MAX};
	hops->table = vly_wire_take(region, VLY_HOPS_MAX * sizeof(struct vly_hop));
	hops->buckets = vly_wire_take(region, VLY_HOPS_MAX * sizeof(uint16_t));
	hops->pending = vly_wire_take(region, VLY_HOP_PENDING_MAX * sizeof(struct vly_hop_pending));
	if (!hops->table || !hops->buckets || !hops->pending)
		return -ENOMEM;
	memset(hops->buckets, 0xff, VLY_HOPS_MAX * sizeof(uint16_t));
	for (uint32_t i = 0; i < VLY_HOP_PENDING_MAX; i++)
		hops->pending[i].next = i + 1 < VLY_HOP_PENDING_MAX ? i + 2 : 0;
	hops->pending_free = 1;
	return 0;
}

static uint16_t *bucket_of(struct vly_inet *inet, uint32_t ip)
{
	/* keyed: neighbours choose their addresses */
	return &inet->hops.buckets[vly_hash_u64(ip ^ inet->secret.k0) % VLY_HOPS_MAX];
}

static uint16_t index_of(const struct vly_hops *hops, const struct vly_hop *hop)
{
	return (uint16_t)(hop - hops->table);
}

static struct vly_hop *find(struct vly_inet *inet, uint32_t ip)
{
	for (uint16_t i = *bucket_of(inet, ip); i != VLY_NO_HOP;) {
		struct vly_hop *hop = &inet->hops.table[i];

		if (hop->ip == ip)
			return hop;
		i = (uint16_t)hop->next;
	}
	return NULL;
}

static void watch(struct vly_hops *hops, const struct vly_hop *hop)
{
	hops->next_ns = VLY_MIN(hops->next_ns, hop->due_ns);
}

/* --- frames that wait --- */

uint8_t *vly_hop_wait(struct vly_inet *inet, struct vly_hop *hop, uint32_t frame_bytes)
{
	struct vly_hops *hops = &inet->hops;

	if (frame_bytes > VLY_HOP_PENDING_BYTES || hop->waiting == VLY_HOP_PENDING_EACH ||
	    !hops->pending_free) {
		inet->drops[VLY_DROP_ARP_PENDING]++;
		return NULL;
	}
	hops->begun = hops->pending_free;
	return hops->pending[hops->begun - 1].frame;
}

void vly_hop_wait_end(struct vly_inet *inet, struct vly_hop *hop, uint32_t frame_bytes,
		      uint16_t flags)
{
	struct vly_hops *hops = &inet->hops;
	struct vly_hop_pending *pending = &hops->pending[hops->begun - 1];

	hops->pending_free = pending->next;
	pending->len = frame_bytes;
	pending->flags = flags;
	pending->hop = index_of(hops, hop);
	pending->next = 0;
	uint32_t *link = &hop->pending;

	while (*link)
		link = &hops->pending[*link - 1].next;
	*link = hops->begun;
	hop->waiting++;
	hops->begun = 0;
}

static void pending_home(struct vly_hops *hops, struct vly_hop *hop)
{
	uint32_t first = hop->pending;

	hop->pending = hops->pending[first - 1].next;
	hop->waiting--;
	hops->pending[first - 1].next = hops->pending_free;
	hops->pending_free = first;
}

static void pending_drop(struct vly_inet *inet, struct vly_hop *hop)
{
	while (hop->pending) {
		inet->drops[VLY_DROP_ARP_PENDING]++;
		pending_home(&inet->hops, hop);
	}
}

static void pending_send(struct vly_inet *inet, struct vly_hop *hop)
{
	while (hop->pending) {
		const struct vly_hop_pending *pending = &inet->hops.pending[hop->pending - 1];
		struct vly_frame *frame = vly_out_frame(inet);

		if (!frame) {
			inet->hops.blocked = true;
			return;
		}
		memcpy(frame->data, hop->eth, VLY_HOP_ETH_BYTES);
		memcpy(frame->data + VLY_HOP_ETH_BYTES, pending->frame + VLY_HOP_ETH_BYTES,
		       pending->len - VLY_HOP_ETH_BYTES);
		frame->len = pending->len;
		frame->flags = pending->flags;
		frame->mss = 0;
		vly_out_done(inet);
		pending_home(&inet->hops, hop);
	}
}

/* --- asking --- */

/* False: the wire is full. */
static bool arp_send(struct vly_inet *inet, const struct vly_arp_opts *opts)
{
	struct vly_frame *frame = vly_out_frame(inet);

	if (!frame)
		return false;
	vly_arp_write(frame->data, opts);
	frame->len = VLY_ARP_FRAME_BYTES;
	frame->flags = 0;
	frame->mss = 0;
	vly_out_done(inet);
	return true;
}

/*
 * Whoever provokes a question (hop.h) would be believed if he answered first. So a neighbour that is known is asked
 * alone, at the address we know, before everybody is (as Linux does: unicast before multicast solicitations, RFC 4861,
 * 7.3.3); until then an answer with another address was not asked for.
 */
static bool asked_alone(const struct vly_hop *hop)
{
	return hop->state == VLY_HOP_STALE && hop->tries <= VLY_HOP_TRIES_ALONE;
}

static void ask(struct vly_inet *inet, struct vly_hop *hop)
{
	bool alone = hop->state == VLY_HOP_STALE && hop->tries < VLY_HOP_TRIES_ALONE;
	struct vly_arp_opts opts = {.operation = VLY_ARP_REQUEST,
				    .sender_mac = inet->wire->mac,
				    .target_mac = alone ? hop->eth : NULL,
				    .sender_ip = inet->route.ip,
				    .target_ip = hop->ip};

	hop->asked_ns = inet->now_ns;
	hop->due_ns = inet->now_ns + VLY_HOP_ASK_NS;
	hop->unasked = !arp_send(inet, &opts);
	if (!hop->unasked) {
		if (hop->tries < UINT8_MAX)
			hop->tries++;
		inet->stats.arp_asked++;
	} else {
		hop->due_ns = inet->now_ns + AGE_STEP_NS;
		inet->hops.blocked = true;
	}
	watch(&inet->hops, hop);
}

/* False: it waits for room on the wire. */
static bool answer(struct vly_inet *inet, const struct vly_hop_owed *to)
{
	return arp_send(inet, &(struct vly_arp_opts){.operation = VLY_ARP_REPLY,
						     .sender_mac = inet->wire->mac,
						     .target_mac = to->mac,
						     .sender_ip = to->target_ip,
						     .target_ip = to->ip});
}

/* A lost answer costs a second, a lost frame of a handshake as much: so they wait, as TCP's segments do. */
static void answer_later(struct vly_inet *inet, const struct vly_hop_owed *to)
{
	struct vly_hops *hops = &inet->hops;

	if (hops->owed_count == VLY_HOP_OWED_MAX) {
		inet->drops[VLY_DROP_ARP_RATE]++;
		return;
	}
	hops->owed[(hops->owed_first + hops->owed_count++) % VLY_HOP_OWED_MAX] = *to;
	hops->blocked = true;
}

void vly_hops_unblock(struct vly_inet *inet)
{
	struct vly_hops *hops = &inet->hops;

	for (; hops->owed_count; hops->owed_count--) {
		if (!answer(inet, &hops->owed[hops->owed_first]))
			return;
		hops->owed_first = (hops->owed_first + 1) % VLY_HOP_OWED_MAX;
	}
	hops->blocked = false;
	for (uint32_t i = 0; i < hops->count && !hops->blocked; i++) {
		struct vly_hop *hop = &hops->table[i];

		if (hop->unasked)
			ask(inet, hop);
		if (hop->pending && hop->state != VLY_HOP_ASKING)
			pending_send(inet, hop);
	}
}

/* --- coming and going --- */

static void forget(struct vly_inet *inet, struct vly_hop *hop)
{
	struct vly_hops *hops = &inet->hops;
	uint16_t index = index_of(hops, hop);
	uint16_t *bucket = bucket_of(inet, hop->ip);

	assert(hop->refs == 0);
	pending_drop(inet, hop);
	if (*bucket == index) {
		*bucket = (uint16_t)hop->next;
	} else {
		struct vly_hop *before = &hops->table[*bucket];

		while (before->next != index)
			before = &hops->table[before->next];
		before->next = hop->next;
	}
	*hop = (struct vly_hop){.state = VLY_HOP_FREE};
	hops->used--;
}

/* A free hop; else one that nobody uses: rather one that never answered. */
static struct vly_hop *find_room(struct vly_inet *inet)
{
	struct vly_hops *hops = &inet->hops;
	struct vly_hop *victim = NULL;
	uint32_t seen =
		0; /* since the first victim: a full table is not walked for each stranger */

	for (uint32_t i = 0; i < hops->count && seen < VICTIMS_SEEN; i++) {
		struct vly_hop *hop = &hops->table[hops->hand];

		hops->hand = (hops->hand + 1) % hops->count;
		if (hop->state == VLY_HOP_FREE)
			return hop;
		if (hop->refs)
			continue;
		if (!victim || (victim->state != VLY_HOP_ASKING && hop->state == VLY_HOP_ASKING))
			victim = hop;
		if (hops->used == hops->count)
			seen++;
	}
	if (victim)
		forget(inet, victim);
	else
		inet->stats.hop_full++;
	return victim;
}

static struct vly_hop *add(struct vly_inet *inet, uint32_t ip, enum vly_hop_state state)
{
	struct vly_hop *hop = find_room(inet);
	uint16_t *bucket = bucket_of(inet, ip);
	struct vly_eth *eth;

	if (!hop)
		return NULL;
	*hop = (struct vly_hop){.ip = ip,
				.state = (uint8_t)state,
				.mtu = inet->wire->mtu,
				.due_ns = UINT64_MAX,
				.next = *bucket};
	*bucket = index_of(&inet->hops, hop);
	inet->hops.used++;
	eth = (struct vly_eth *)hop->eth;
	memcpy(eth->src, inet->wire->mac, VLY_MAC_BYTES);
	eth->type = htons(VLY_ETH_IPV4);
	return hop;
}

/* Good until its next time. */
static void refresh(struct vly_inet *inet, struct vly_hop *hop)
{
	hop->state = VLY_HOP_READY;
	hop->tries = 0;
	hop->doubted = false;
	hop->due_ns = inet->now_ns + VLY_HOP_FRESH_NS;
	watch(&inet->hops, hop);
}

/* An answer, or somebody who asked us. */
static void learn(struct vly_inet *inet, struct vly_hop *hop, const uint8_t mac[VLY_MAC_BYTES])
{
	memcpy(hop->eth, mac, VLY_MAC_BYTES);
	inet->hops.learned += hop->state == VLY_HOP_ASKING;
	refresh(inet, hop);
	pending_send(inet, hop);
}

uint16_t vly_hop_take(struct vly_inet *inet, uint32_t dst)
{
	bool self = vly_route_own(&inet->route, dst);
	uint32_t ip = vly_route_next(&inet->route, dst);

	/* Only where each core is a host does the wire bring a frame back to its sender. */
	if (ip == 0 || (self && !(inet->wire->caps & VLY_WIRE_HOST_PER_CORE)))
		return VLY_NO_HOP;
	struct vly_hop *hop = find(inet, ip);

	if (!hop) {
		hop = add(inet, ip, VLY_HOP_ASKING);
		if (!hop)
			return VLY_NO_HOP;
		if (self) {
			memcpy(hop->eth, inet->wire->mac, VLY_MAC_BYTES);
			hop->state = VLY_HOP_READY;
		} else {
			ask(inet, hop);
		}
	}
	hop->refs++;
	return index_of(&inet->hops, hop);
}

static void doubt(struct vly_inet *inet, struct vly_hop *hop)
{
	if (hop->state < VLY_HOP_READY || inet->now_ns - hop->asked_ns < VLY_HOP_ASK_NS ||
	    vly_mac_equal(hop->eth, inet->wire->mac))
		return;
	/* of one that is being asked already the tries go on counting */
	if (hop->state == VLY_HOP_READY) {
		hop->tries = 0;
		hop->doubted = true;
	}
	hop->state = VLY_HOP_STALE;
	ask(inet, hop);
}

void vly_hop_doubt(struct vly_inet *inet, uint16_t index)
{
	if (index != VLY_NO_HOP)
		doubt(inet, &inet->hops.table[index]);
}

void vly_hop_put(struct vly_inet *inet, uint16_t index)
{
	assert(index < inet->hops.count);
	assert(inet->hops.table[index].refs > 0);
	inet->hops.table[index].refs--;
}

static void age(struct vly_inet *inet, struct vly_hop *hop)
{
	if (!hop->refs && (hop->state == VLY_HOP_READY || hop->tries >= VLY_HOP_TRIES)) {
		inet->stats.arp_expired++;
		forget(inet, hop);
		return;
	}
	if (hop->state == VLY_HOP_STALE && hop->doubted && hop->tries >= VLY_HOP_TRIES) {
		/* nobody else has the address: as good as it was, until it is asked at its time */
		refresh(inet, hop);
		return;
	}
	if (hop->state == VLY_HOP_READY) {
		hop->state = VLY_HOP_STALE;
		hop->tries = 0;
	} else if (hop->state == VLY_HOP_STALE && hop->tries >= VLY_HOP_TRIES) {
		hop->state = VLY_HOP_ASKING; /* it is gone: nothing is sent there any more */
		inet->stats.arp_expired++;
	} else if (hop->state == VLY_HOP_ASKING && hop->tries >= VLY_HOP_TRIES) {
		pending_drop(inet, hop);
	}
	ask(inet, hop);
}

void vly_hops_age(struct vly_inet *inet)
{
	struct vly_hops *hops = &inet->hops;
	uint64_t next_ns = UINT64_MAX;

	if (vly_likely(inet->now_ns < hops->next_ns))
		return;
	for (uint32_t i = 0; i < hops->count; i++) {
		struct vly_hop *hop = &hops->table[i];

		if (hop->state != VLY_HOP_FREE && hop->due_ns <= inet->now_ns)
			age(inet, hop);
		if (hop->state != VLY_HOP_FREE)
			next_ns = VLY_MIN(next_ns, hop->due_ns);
	}
	hops->next_ns = next_ns == UINT64_MAX ? UINT64_MAX
					      : VLY_MAX(next_ns, inet->now_ns + AGE_STEP_NS);
}

/* --- input --- */

static void request_in(struct vly_inet *inet, const struct vly_arp_header *arp, bool copy)
{
	uint32_t ip = arp->sender_ip;
	struct vly_hop *hop = vly_route_near(&inet->route, ip) ? find(inet, ip) : NULL;

	/*
	 * Who asks for us will hear from us. But whoever claims the address of a neighbour that we
	 * know by another one does not get its traffic: the address is asked for.
	 */
	if (!hop && vly_route_near(&inet->route, ip))
		hop = add(inet, ip, VLY_HOP_ASKING);
	if (hop && (hop->state == VLY_HOP_ASKING || vly_mac_equal(hop->eth, arp->sender_mac))) {
		learn(inet, hop, arp->sender_mac);
	} else if (hop) {
		doubt(inet, hop);
	}
	/* Of several cores on one port that one answers at whose queue it came in. */
	if (copy)
		return;
	if (!vly_hop_rate_ok(&inet->hops.replies, inet->now_ns, VLY_ARP_REPLIES_PER_S)) {
		inet->drops[VLY_DROP_ARP_RATE]++;
		return;
	}
	struct vly_hop_owed asker = {.ip = ip, .target_ip = arp->target_ip};

	memcpy(asker.mac, arp->sender_mac, sizeof(asker.mac));
	if (inet->hops.owed_count || !answer(inet, &asker))
		answer_later(inet, &asker);
}

static void reply_in(struct vly_inet *inet, const struct vly_frame *frame,
		     const struct vly_arp_header *arp)
{
	struct vly_hop *hop = find(inet, arp->sender_ip);
	bool asked = hop && (hop->state == VLY_HOP_ASKING || hop->state == VLY_HOP_STALE);

	/* To us alone, from whom we asked, once. */
	if (asked && asked_alone(hop))
		asked = vly_mac_equal(hop->eth, arp->sender_mac);
	if (!asked || !vly_mac_equal(frame->data, inet->wire->mac)) {
		/* what comes in here may be the answer to another core */
		inet->drops[VLY_DROP_ARP_UNSOLICITED] += !inet->relay;
		return;
	}
	learn(inet, hop, arp->sender_mac);
}

/* About himself, to everybody: not believed, but reason enough to ask whom we know otherwise. */
static void announcement_in(struct vly_inet *inet, const struct vly_arp_header *arp)
{
	struct vly_hop *hop = arp->sender_ip == arp->target_ip ? find(inet, arp->sender_ip) : NULL;

	if (!hop || hop->state < VLY_HOP_READY || vly_mac_equal(hop->eth, arp->sender_mac))
		return;
	vly_hand_arp(inet); /* it came in at one core's queue */
	doubt(inet, hop);
}

void vly_arp_input(struct vly_inet *inet, const struct vly_frame *frame)
{
	const struct vly_arp_header *arp;
	enum vly_inet_drop drop = vly_arp_parse(frame->data, frame->len, &arp);

	if (!drop && vly_route_own(&inet->route, arp->sender_ip))
		drop = VLY_DROP_ARP_CONFLICT;
	if (!drop && !vly_route_own(&inet->route, arp->target_ip))
		drop = VLY_DROP_ARP_NOT_OURS;
	if (drop == VLY_DROP_ARP_NOT_OURS)
		announcement_in(inet, arp);
	if (drop) {
		inet->drops[drop]++;
		return;
	}
	vly_hand_arp(inet);
	if (arp->operation == htons(VLY_ARP_REQUEST))
		request_in(inet, arp, frame->flags & VLY_FRAME_COPY);
	else
		reply_in(inet, frame, arp);
}
