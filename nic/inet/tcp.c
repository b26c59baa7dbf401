/* tcp.c - opening TCP connections and listeners, finding them, ending them */
#include "nic/inet/tcp.h"

#include <errno.h>
#include <string.h>

#include "nic/inet/handover.h"
#include "nic/inet/isn.h"

/* A connect whose ports are used up looks at so many of our addresses. */
#define ADDRESSES_TRIED 8u

/* --- finding --- */

static bool key_is(const struct vly_tcp *tcp, const struct vly_flow_key *key)
{
	return tcp->raddr == key->raddr && tcp->laddr == key->laddr && tcp->rport == key->rport &&
	       tcp->lport == key->lport;
}

static bool keys_equal(const struct vly_flow_key *a, const struct vly_flow_key *b)
{
	return a->raddr == b->raddr && a->laddr == b->laddr && a->rport == b->rport &&
	       a->lport == b->lport;
}

struct vly_tcp *vly_tcp_find(struct vly_inet *inet, const struct vly_flow_key *key,
			     struct vly_mini **mini)
{
	uint32_t hash = vly_flow_hash_tcp(inet, key);
	uint32_t at = vly_flow_home(&inet->flows, hash);
	uint32_t name;

	*mini = NULL;
	while ((name = vly_flow_next(&inet->flows, hash, &at))) {
		uint32_t slot = VLY_FLOW_SLOT(name);

		if ((name & VLY_FLOW_TYPE) == VLY_FLOW_MINI) {
			struct vly_mini *found = vly_mini_at(&inet->tcp->minis, slot);

			if (!keys_equal(&found->key, key))
				continue;
			*mini = found;
			return NULL;
		}
		struct vly_tcp *tcp = vly_tcp_at(inet, slot);

		if (tcp->head.type != VLY_UDP && key_is(tcp, key))
			return tcp;
	}
	return NULL;
}

struct vly_tcp *vly_tcp_find_listener(struct vly_inet *inet, uint32_t laddr, uint16_t lport)
{
	struct vly_flow_key key = {.laddr = laddr, .lport = lport};
	struct vly_mini *mini;

	if (!inet->tcp->listeners)
		return NULL;
	struct vly_tcp *tcp = vly_tcp_find(inet, &key, &mini);

	if (!tcp) {
		key.laddr = 0;
		tcp = vly_tcp_find(inet, &key, &mini);
	}
	return tcp;
}

/* --- addresses and ports --- */

static int own_address(const struct vly_inet *inet, const struct vly_addr *addr, uint32_t *net)
{
	if (addr->family != VLY_IP4)
		return -EAFNOSUPPORT;
	memcpy(net, addr->ip4, sizeof(*net));
	return !*net || vly_route_own(&inet->route, *net) ? 0 : -EADDRNOTAVAIL;
}

static bool key_taken(struct vly_inet *inet, const struct vly_flow_key *key)
{
	struct vly_mini *mini;

	return vly_tcp_find(inet, key, &mini) || mini;
}

/*
 * Whether a new flow, or a listener (raddr 0), may have this port as far as other cores go: a flow's
 * frames come to this core, and no other listens there.
 */
static bool port_serves(const struct vly_inet *inet, const struct vly_flow_key *key)
{
	if (!inet->relay)
		return true;
	return key->raddr ? vly_hand_home(inet, key)
			  : !vly_relay_elsewhere(inet->relay, VLY_RELAY_LISTENS, key->lport);
}

/* A port that makes `key` new, from the range of ephemeral ones; false: all are taken. */
static bool find_port(struct vly_inet *inet, struct vly_flow_key *key)
{
	const uint32_t ports = 65536 - VLY_TCP_PORT_FIRST;

	for (uint32_t i = 0; i < ports; i++) {
		uint32_t port = VLY_TCP_PORT_FIRST + inet->tcp->port_next++ % ports;

		key->lport = htons((uint16_t)port);
		if (port_serves(inet, key) && !key_taken(inet, key))
			return true;
	}
	return false;
}

/* The same from each of our addresses in turn, a few of them at most. */
static bool find_port_of_any(struct vly_inet *inet, struct vly_flow_key *key)
{
	uint32_t first = (uint32_t)(vly_inet_random(inet) >> 32) % inet->route.ips;

	for (uint32_t i = 0; i < VLY_MIN(inet->route.ips, ADDRESSES_TRIED); i++) {
		key->laddr = htonl(ntohl(inet->route.ip) + (first + i) % inet->route.ips);
		if (find_port(inet, key))
			return true;
	}
	return false;
}

int vly_tcp_listen(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_addr *addr,
		   const struct vly_listen_opts *opts)
{
	struct vly_flow_key key = {.lport = htons(addr->port)};
	int error = own_address(inet, addr, &key.laddr);

	if (error)
		return error;
	if (!addr->port && !find_port(inet, &key))
		return -EADDRINUSE;
	if (key_taken(inet, &key))
		return -EADDRINUSE;
	if (!vly_flow_insert(&inet->flows, vly_flow_hash_tcp(inet, &key),
			     1 + vly_conn_index(&tcp->head)))
		return -ENOBUFS;
	vly_hand_flow(inet, &key, 1);
	tcp->laddr = key.laddr;
	tcp->lport = key.lport;
	tcp->hop = VLY_NO_HOP;
	tcp->bits = VLY_TCP_B_FLOW;
	tcp->lst_backlog = (uint32_t)VLY_MAX(opts->backlog, 1);
	inet->tcp->listeners++;
	return 0;
}

static void flow_remove(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_flow_key key = vly_tcp_key(tcp);

	if (!(tcp->bits & VLY_TCP_B_FLOW))
		return;
	tcp->bits &= (uint16_t)~VLY_TCP_B_FLOW;
	vly_flow_remove(&inet->flows, vly_flow_hash_tcp(inet, &key),
			1 + vly_conn_index(&tcp->head));
	vly_hand_flow(inet, &key, -1);
}

void vly_tcp_unlisten(struct vly_inet *inet, struct vly_tcp *tcp)
{
	vly_tcp_minis_drop(inet, tcp);
	flow_remove(inet, tcp);
	inet->tcp->listeners--;
}

/* --- connecting --- */

static int connect_key(struct vly_inet *inet, const struct vly_addr *to,
		       const struct vly_addr *from, struct vly_flow_key *key)
{
	if (to->family != VLY_IP4)
		return -EAFNOSUPPORT;
	if (!to->port)
		return -EINVAL;
	memcpy(&key->raddr, to->ip4, sizeof(key->raddr));
	key->rport = htons(to->port);
	int error = from ? own_address(inet, from, &key->laddr) : 0;

	if (error)
		return error;
	if (!from || !from->port) {
		bool found = key->laddr ? find_port(inet, key) : find_port_of_any(inet, key);

		return found ? 0 : -EADDRNOTAVAIL;
	}
	if (!key->laddr)
		key->laddr = htonl(ntohl(inet->route.ip) +
				   (uint32_t)(vly_inet_random(inet) >> 32) % inet->route.ips);
	key->lport = htons(from->port);
	return key_taken(inet, key) ? -EADDRINUSE : 0;
}

int vly_tcp_connect(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_addr *to,
		    const struct vly_addr *from)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	struct vly_flow_key key = {0};
	int error = connect_key(inet, to, from, &key);

	tcp->hop = VLY_NO_HOP;
	if (error == -EADDRNOTAVAIL) {
		vly_env_dead(inet->nic.env, &tcp->head, error);
		return 0;
	}
	if (error)
		return error;
	tcp->hop = vly_hop_take(inet, key.raddr);
	if (tcp->hop == VLY_NO_HOP) {
		vly_env_dead(inet->nic.env, &tcp->head, -ENETUNREACH);
		return 0;
	}
	if (!vly_flow_insert(&inet->flows, vly_flow_hash_tcp(inet, &key),
			     1 + vly_conn_index(&tcp->head))) {
		vly_hop_put(inet, tcp->hop);
		return -ENOBUFS;
	}
	vly_hand_flow(inet, &key, 1);
	tcp->raddr = key.raddr;
	tcp->laddr = key.laddr;
	tcp->rport = key.rport;
	tcp->lport = key.lport;
	tcp->bits = VLY_TCP_B_FLOW;
	tcp->state = VLY_TCP_SYN_SENT;
	tcp->snd_una = vly_isn(&inet->secret, &key, inet->now_ns);
	tcp->snd_nxt = tcp->snd_una + 1;
	tcp->mss = VLY_TCP_MSS_DEFAULT;
	tcp->wscale = (uint8_t)(conf->wscale << 4);
	tcp->ssthresh = UINT32_MAX;
	tcp->rtx_base = inet->now;
	vly_tcp_send_syn(inet, tcp);
	vly_tcp_arm(inet, tcp, inet->now + conf->rto_init);
	return 0;
}

/* --- ending --- */

static void linger(struct vly_inet *inet, const struct vly_tcp *tcp)
{
	struct vly_minis *minis = &inet->tcp->minis;
	struct vly_mini *mini = vly_mini_take(minis, true);

	if (!mini) {
		/* Bounded: the oldest has waited longest. */
		inet->stats.tcp_time_wait_full++;
		vly_tcp_mini_end(inet, vly_mini_first(minis, VLY_MINI_TIME_WAIT));
		mini = vly_mini_take(minis, true);
		if (!mini)
			return;
	}
	mini->key = vly_tcp_key(tcp);
	mini->hash = vly_flow_hash_tcp(inet, &mini->key);
	mini->wscale = tcp->wscale;
	mini->ts = tcp->bits & VLY_TCP_B_TS;
	mini->hop = VLY_NO_HOP;
	mini->iss = tcp->snd_nxt;
	mini->rcv_nxt = tcp->rcv_nxt;
	mini->ts_recent = tcp->ts_recent;
	mini->due = inet->now + inet->tcp->conf.time_wait;
	if (!vly_flow_insert(&inet->flows, mini->hash,
			     VLY_FLOW_MINI | (1 + vly_mini_index(minis, mini)))) {
		vly_mini_put(minis, mini);
		return;
	}
	vly_hand_flow(inet, &mini->key, 1);
	vly_mini_list(minis, mini, VLY_MINI_TIME_WAIT);
	vly_tcp_minis_watch(inet, mini->due);
	inet->stats.tcp_time_wait++;
}

void vly_tcp_let_go(struct vly_inet *inet, struct vly_tcp *tcp, int status, bool lingers)
{
	flow_remove(inet, tcp);
	if (lingers)
		linger(inet, tcp);
	vly_tcp_tx_unlist(inet, tcp);
	if (tcp->bits & VLY_TCP_B_SIDE)
		vly_side_put(&inet->tcp->sides, tcp->side);
	if (tcp->hop != VLY_NO_HOP)
		vly_hop_put(inet, tcp->hop);
	tcp->hop = VLY_NO_HOP;
	/* ACK_LISTED stays: the list knows the slot, and looks at ACK_DUE */
	tcp->bits &= VLY_TCP_B_ACK_LISTED;
	tcp->state = VLY_TCP_CLOSED;
	vly_env_dead(inet->nic.env, &tcp->head, status);
}

void vly_tcp_abort(struct vly_inet *inet, struct vly_tcp *tcp, int status)
{
	bool synchronised = tcp->state != VLY_TCP_CLOSED && tcp->state != VLY_TCP_SYN_SENT;

	if (synchronised) {
		vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
						 .key = vly_tcp_key(tcp),
						 .hop = tcp->hop,
						 .seq = tcp->snd_nxt,
						 .ack = tcp->rcv_nxt,
						 .flags = VLY_TCP_RST | VLY_TCP_ACK,
					 });
		inet->stats.tcp_reset_sent++;
	}
	vly_tcp_let_go(inet, tcp, status, false);
}

void vly_tcp_finish(struct vly_inet *inet, struct vly_tcp *tcp)
{
	bool lingers = tcp->state == VLY_TCP_FIN_WAIT_2 || tcp->state == VLY_TCP_CLOSING;

	if (tcp->head.state == VLY_CLOSING) {
		vly_tcp_let_go(inet, tcp, 0, lingers);
		return;
	}
	/* Half-closed by both: the application has still to close. Its peer may have to be answered. */
	flow_remove(inet, tcp);
	if (lingers)
		linger(inet, tcp);
	tcp->state = VLY_TCP_CLOSED;
}

void vly_tcp_name(const struct vly_tcp *tcp, struct vly_addr *local, struct vly_addr *peer)
{
	*local = *peer = (struct vly_addr){0};
	local->family = VLY_IP4;
	local->port = ntohs(tcp->lport);
	memcpy(local->ip4, &tcp->laddr, sizeof(tcp->laddr));
	if (tcp->head.type != VLY_STREAM)
		return;
	peer->family = VLY_IP4;
	peer->port = ntohs(tcp->rport);
	memcpy(peer->ip4, &tcp->raddr, sizeof(tcp->raddr));
}
