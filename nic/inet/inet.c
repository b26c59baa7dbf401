/* inet.c - the inet nic: opening, polling, and what it hands on to TCP and UDP */
#include "nic/inet/inet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "nic/inet/handover.h"
#include "nic/inet/ip.h"
#include "nic/inet/sleep.h"
#include "nic/inet/tcp.h"
#include "nic/inet/udp.h"

static const char *const own_keys[] = {"ip", "ips", "gw", "probe", NULL};

/* --- opening --- */

static bool is_key(const char *const *keys, const char *key)
{
	for (; *keys; keys++) {
		if (strcmp(*keys, key) == 0)
			return true;
	}
	return false;
}

static bool is_known(const struct vly_wire_ops *const *stack, const char *key)
{
	if (is_key(own_keys, key) || is_key(vly_tcp_keys, key) || vly_wire_find(key))
		return true;
	for (; *stack; stack++) {
		if (is_key((*stack)->keys, key))
			return true;
	}
	return false;
}

static int inet_check(const struct vly_nic_spec *spec, char *why, size_t why_bytes)
{
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	int error = vly_wire_resolve(spec, stack, why, why_bytes);

	if (error)
		return error;
	for (unsigned i = 0; i < spec->options_count; i++) {
		if (is_known(stack, spec->options[i].key))
			continue;
		snprintf(why, why_bytes, "nic %s over %s has no option \"%s\"", spec->name,
			 stack[0]->name, spec->options[i].key);
		return -EINVAL;
	}
	error = vly_tcp_conf_check(spec, why, why_bytes);
	if (error)
		return error;
	struct vly_wire none = {.mtu = 1500};
	struct vly_route route;

	error = vly_route_parse(&route, spec, &none, why, why_bytes);
	return error ? error : stack[0]->check(spec, stack, why, why_bytes);
}

static int inet_describe(const struct vly_nic_spec *spec, char *text, size_t text_bytes, char *why,
			 size_t why_bytes)
{
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	int error = vly_wire_resolve(spec, stack, why, why_bytes);
	unsigned last = 0;

	if (error)
		return error;
	while (stack[last + 1])
		last++;
	if (stack[last]->describe)
		return stack[last]->describe(spec, text, text_bytes, why, why_bytes);
	snprintf(why, why_bytes, "wire %s has no device that tells of itself", stack[last]->name);
	return -ENOTSUP;
}

static size_t padded(size_t bytes)
{
	return VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP);
}

static size_t inet_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec)
{
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	char why[128];

	if (vly_wire_resolve(spec, stack, why, sizeof(why)))
		return 0; /* check() has refused it */
	return padded(sizeof(struct vly_inet)) + vly_tcp_core_bytes(config, spec) +
	       vly_hops_bytes(config) + vly_udp_bytes(config, vly_wire_mtu(stack, spec)) +
	       (config->cores > 1 ? vly_relay_bytes(config, spec, stack)
				  : stack[0]->region_bytes(config, spec, stack));
}

/* The seed of everything random: given, then each core has its own; or the system's. */
static uint64_t seed_of(const struct vly_env *env, const struct vly_nic_spec *spec)
{
	char why[128];
	uint64_t seed;

	if (vly_spec_get(spec, "seed") &&
	    !vly_spec_number(spec, "seed", UINT64_MAX, 0, &seed, why, sizeof(why)))
		return vly_hash_u64(seed * 256 + env->conns.core);
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = vly_clock_ns() ^ (uintptr_t)env; /* only while the machine boots */
	return seed;
}

static int open_wire(struct vly_inet *inet, const struct vly_nic_spec *spec, uint64_t seed)
{
	const struct vly_env *env = inet->nic.env;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	char why[256];
	int error = vly_wire_resolve(spec, stack, why, sizeof(why));

	if (error)
		return error;
	struct vly_wire_setup setup = {
		.region = env->region,
		.config = env->config,
		.spec = spec,
		.stack = stack,
		.queue = (uint16_t)env->conns.core,
		.now_ns = inet->now_ns,
		.seed = seed,
		.stats = env->stats,
		.counters = env->counters,
		.opening = env->opening,
		.told = env->told,
	};
	int queues = vly_wire_queues(&setup);

	if (queues < 0)
		return queues;
	setup.queues = (uint16_t)queues;
	struct vly_relay_opts opts = {
		.setup = &setup,
		.stats = env->stats,
		.wake_fd = env->wake_fd,
		.cores = env->config->cores,
	};

	if (opts.cores == 1)
		return stack[0]->open(&setup, &inet->wire);
	return vly_relay_open(&opts, &inet->relay, &inet->wire);
}

static int open_parts(struct vly_inet *inet, const struct vly_nic_spec *spec)
{
	char why[256] = "";
	int error = vly_route_parse(&inet->route, spec, inet->wire, why, sizeof(why));

	if (!error)
		error = vly_hops_init(inet);
	if (!error)
		error = vly_tcp_core_open(inet, spec);
	if (!error)
		error = vly_udp_init(inet);
	if (!error)
		error = vly_inet_sleep_open(inet);
	if (error)
		vly_log(VLY_LOG_ERROR, "inet: %s%s%s", strerror(-error), why[0] ? ": " : "", why);
	return error;
}

static int inet_open(struct vly_env *env, const struct vly_nic_spec *spec, struct vly_nic **nic)
{
	struct vly_inet *inet = vly_region_take(env->region, padded(sizeof(*inet)), VLY_WRITER_GAP);

	if (!inet)
		return -ENOMEM;
	inet->nic.ops = &vly_inet_ops;
	inet->nic.env = env;
	env->near.on = true;
	inet->now_ns = vly_clock_ns();
	inet->now = vly_tick_of(inet->now_ns);
	inet->random = seed_of(env, spec);
	inet->secret = (struct vly_siphash_key){vly_inet_random(inet), vly_inet_random(inet)};
	int error = open_wire(inet, spec, vly_inet_random(inet));

	if (error)
		return error;
	error = open_parts(inet, spec);
	if (error) {
		inet->wire->ops->close(inet->wire);
		return error;
	}
	vly_hand_probe(inet, inet->route.probe);
	*nic = &inet->nic;
	return 0;
}

static void inet_close(struct vly_nic *nic)
{
	struct vly_inet *inet = vly_inet_of(nic);

	vly_out_push(inet);
	vly_wheel_cancel(&nic->env->wheel, &inet->alarm.node);
	vly_tcp_core_close(inet);
	vly_inet_sleep_close(inet);
	inet->wire->ops->close(inet->wire);
	__atomic_store_n(&nic->env->stats->link_up, 0, __ATOMIC_RELAXED);
}

/* --- time --- */

static void set_now(struct vly_inet *inet, uint64_t now_ns)
{
	if (now_ns < inet->now_ns)
		return;
	inet->now_ns = now_ns;
	inet->now = vly_tick_of(now_ns);
}

void vly_inet_tick(struct vly_inet *inet)
{
	set_now(inet, vly_clock_ns());
}

void vly_inet_watch(struct vly_inet *inet, uint64_t due_ns)
{
	struct vly_wheel *wheel = &inet->nic.env->wheel;
	struct vly_wheel_node *node = &inet->alarm.node;

	if (vly_wheel_armed(node)) {
		if (node->deadline_ns <= due_ns)
			return;
		vly_wheel_cancel(wheel, node);
	}
	inet->alarm.kind = VLY_ALARM_NIC_OWN;
	vly_wheel_add(wheel, node, due_ns);
}

static void inet_alarm(struct vly_nic *nic, struct vly_conn_head *head)
{
	struct vly_inet *inet = vly_inet_of(nic);

	set_now(inet, nic->env->batch.stamp_ns);
	if (!head) {
		/*
		 * Polling looks at what is due. What it put off while this alarm was still armed is armed
		 * now; not in the past, where it would ring without end.
		 */
		uint64_t due_ns = VLY_MIN(inet->tcp->minis_ns, inet->hops.next_ns);

		if (due_ns != UINT64_MAX)
			vly_inet_watch(inet, VLY_MAX(due_ns, inet->now_ns + 1));
		return;
	}
	if (head->type == VLY_STREAM)
		vly_tcp_alarm(inet, vly_tcp_of(head));
}

/* --- operations --- */

static struct vly_udp *udp_of(struct vly_conn_head *head)
{
	return vly_container_of(head, struct vly_udp, head);
}

static int inet_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		       const struct vly_listen_opts *opts)
{
	return vly_tcp_listen(vly_inet_of(nic), vly_tcp_of(head), addr, opts);
}

static void inet_unlisten(struct vly_nic *nic, struct vly_conn_head *head)
{
	vly_tcp_unlisten(vly_inet_of(nic), vly_tcp_of(head));
}

static int inet_connect(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *to,
			const struct vly_addr *from)
{
	struct vly_inet *inet = vly_inet_of(nic);

	set_now(inet, vly_clock_ns());
	return vly_tcp_connect(inet, vly_tcp_of(head), to, from);
}

static int inet_udp_open(struct vly_nic *nic, struct vly_conn_head *head,
			 const struct vly_addr *addr)
{
	return vly_udp_open_at(vly_inet_of(nic), udp_of(head), addr);
}

static int inet_watch_fd(struct vly_nic *nic, struct vly_conn_head *head, int fd, short poll_events)
{
	return vly_inet_watch_fd(vly_inet_of(nic), head, fd, poll_events);
}

static int inet_name_of(struct vly_nic *nic, struct vly_conn_head *head, struct vly_addr *local,
			struct vly_addr *peer)
{
	*local = *peer = (struct vly_addr){0};
	if (head->type == VLY_UDP)
		vly_udp_name(vly_inet_of(nic), udp_of(head), local, peer);
	else if (head->type != VLY_WATCH)
		vly_tcp_name(vly_tcp_of(head), local, peer);
	return 0;
}

static void inet_flush(struct vly_nic *nic, struct vly_conn_head **conns, uint32_t count)
{
	struct vly_inet *inet = vly_inet_of(nic);

	set_now(inet, nic->env->batch.stamp_ns);
	/* nobody overtakes those who wait for the wire */
	if (vly_unlikely(inet->tcp->tx_head != VLY_NO_SLOT))
		vly_tcp_send_waiting(inet);
	count = vly_tcp_flush_fast(inet, conns, count);
	for (uint32_t i = 0; i < count; i++) {
		conns[i]->flags &= (uint16_t)~VLY_F_DIRTY;
		if (conns[i]->state == VLY_DEAD)
			continue;
		switch (conns[i]->type) {
		case VLY_STREAM:
			vly_tcp_flush(inet, vly_tcp_of(conns[i]));
			break;
		case VLY_UDP:
			vly_udp_flush(inet, udp_of(conns[i]));
			break;
		default:
			if (conns[i]->state == VLY_CLOSING)
				vly_inet_unwatch(inet, conns[i], 0);
		}
	}
	vly_out_push(inet);
}

static void inet_abort(struct vly_nic *nic, struct vly_conn_head *head, int status)
{
	struct vly_inet *inet = vly_inet_of(nic);

	if (head->type == VLY_STREAM)
		vly_tcp_abort(inet, vly_tcp_of(head), status);
	else if (head->type == VLY_UDP)
		vly_udp_let_go(inet, udp_of(head), status);
	else
		vly_inet_unwatch(inet, head, status);
}

static void inet_push(struct vly_nic *nic)
{
	vly_out_push(vly_inet_of(nic));
}

/* --- polling --- */

/* One pass: what was owed, what has come, what may go now. */
static void pass(struct vly_inet *inet)
{
	struct vly_env *env = inet->nic.env;
	const struct vly_batch *batch = &env->batch;
	struct vly_tcp_core *tcp = inet->tcp;
	uint32_t before = batch->count, frames = 0;

	inet->wire->ops->rx_done(inet->wire, inet->now_ns);
	if (vly_unlikely(inet->hops.blocked))
		vly_hops_unblock(inet);
	if (tcp->acks_count)
		vly_tcp_send_acks(inet);
	if (vly_unlikely(inet->now_ns >= tcp->minis_ns))
		vly_tcp_minis_age(inet);
	if (vly_unlikely(inet->now_ns >= inet->hops.next_ns))
		vly_hops_age(inet);
	if (vly_unlikely(tcp->tx_head != VLY_NO_SLOT))
		vly_tcp_send_waiting(inet);
	if (vly_unlikely(tcp->minis.lists[VLY_MINI_UNSENT].count))
		vly_tcp_send_syn_acks(inet);
	vly_udp_poll(inet);
	if (vly_unlikely(tcp->minis.lists[VLY_MINI_WAITING].count))
		vly_tcp_accept_waiting(inet);
	if (vly_unlikely(tcp->sides.ready_count))
		vly_tcp_deliver_ready(inet);
	/* beyond what burst= says only as long as they brought the application nothing */
	while (frames < VLY_TCP_BURST && batch->max - batch->count >= 2 && vly_tcp_burst(inet)) {
		frames += 32;
		if (batch->count != before && frames >= tcp->conf.burst)
			break;
	}
	if (vly_unlikely(tcp->sides.ready_count) && batch->count == before)
		vly_tcp_deliver_ready(inet);
	vly_out_push(inet);
}

static bool inet_has_work(struct vly_nic *nic)
{
	struct vly_inet *inet = vly_inet_of(nic);
	const struct vly_tcp_core *tcp = inet->tcp;

	return inet->refused || tcp->acks_count || tcp->sides.ready_count ||
	       vly_udp_has_work(inet) ||
	       (tcp->minis.lists[VLY_MINI_WAITING].count && nic->env->conns.slab.free_count) ||
	       inet->wire->ops->has_work(inet->wire, inet->now_ns);
}

static void show_wire(struct vly_inet *inet)
{
	struct vly_stats *stats = inet->nic.env->stats;

	__atomic_store_n(&stats->link_up, inet->wire->link_up, __ATOMIC_RELAXED);
	__atomic_store_n(&stats->wire_rx_dropped, inet->wire->rx_dropped, __ATOMIC_RELAXED);
	__atomic_store_n(&stats->wire_tx_dropped, inet->wire->tx_dropped, __ATOMIC_RELAXED);
}

static void inet_poll(struct vly_nic *nic, int64_t timeout_ns)
{
	struct vly_inet *inet = vly_inet_of(nic);
	struct vly_env *env = nic->env;
	uint64_t now_ns = env->batch.stamp_ns;

	if (!env->batch.count)
		now_ns = env->batch.stamp_ns = vly_clock_ns();
	set_now(inet, now_ns);
	if (vly_unlikely(inet->embedded))
		vly_inet_embedded_begin(inet);
	pass(inet);
	show_wire(inet);
	if (env->batch.count || timeout_ns == 0) {
		vly_inet_look(inet);
		if (vly_unlikely(inet->embedded) && !env->batch.count)
			vly_inet_embedded_end(inet);
		return;
	}
	if (!inet_has_work(nic))
		vly_inet_sleep(inet, timeout_ns);
	env->batch.stamp_ns = vly_clock_ns();
	set_now(inet, env->batch.stamp_ns);
}

static int inet_poll_fd(struct vly_nic *nic)
{
	return vly_inet_sleep_fd(vly_inet_of(nic));
}

const struct vly_nic_ops vly_inet_ops = {
	.name = "inet",
	.conn_bytes = sizeof(struct vly_tcp),
	/* entries of the flow table: two thirds are used */
	.conn_more_bytes = sizeof(struct vly_flow_entry) * 3 / 2,
	.own_alarm = true,
	.flush_raw = true,
	.by_name_only = true,
	.check = inet_check,
	.region_bytes = inet_region_bytes,
	.open = inet_open,
	.close = inet_close,
	.listen = inet_listen,
	.connect = inet_connect,
	.udp_open = inet_udp_open,
	.watch = inet_watch_fd,
	.name_of = inet_name_of,
	.flush = inet_flush,
	.abort = inet_abort,
	.unlisten = inet_unlisten,
	.alarm = inet_alarm,
	.poll = inet_poll,
	.has_work = inet_has_work,
	.poll_fd = inet_poll_fd,
	.push = inet_push,
	.describe = inet_describe,
};
