/* config.c - defaults, checks and the memory plan of a config */
#include "volley/config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "engine/core.h"
#include "engine/engine.h"

/*
 * Layers below IP need this much in front of a payload; sockets need none, but one layout serves
 * both.
 */
#define TX_HEADROOM 0u
/* Everything is taken in pairs of lines: what two parts share, no line does. */
#define TAKE_ALIGN ((uint64_t)VLY_WRITER_GAP)

void vly_config_init(struct vly_config *config)
{
	*config = (struct vly_config){
		.nic = "auto",
		.cores = 1,
		.numa_node = -1,
		.pin = true,
		.idle = VLY_IDLE_ADAPTIVE,
		.spin_ns = 20000,
		.conns_max = 16384,
		.timers_max = 1024,
		.events_max = 512,
		.burst_max = 16,
		.burst_bytes = 262144,
		.tx_bufs = 4096,
		.tx_buf_bytes = 2048,
		.tx_refs = 4096,
		.tx_budget = 262144,
		.rx_bufs = 64,
		.rx_buf_bytes = 65536,
		.hold_slots = 4096,
		.hold_bytes = 256,
		.mail_slots = 256,
		.mail_bytes = 56,
		.ports_max = 8,
		.backlog = 4096,
		.close_timeout_ns = 10000000000ull,
		.stop_timeout_ns = 5000000000ull,
		.huge_pages = true,
		.lock_memory = true,
	};
}

struct limit {
	const char *name;
	uint64_t value, min, max;
};

static int check_limits(const struct vly_config *c)
{
	const struct limit limits[] = {
		{"cores", c->cores, 1, VLY_CORES_MAX},
		{"conns_max", c->conns_max, 1, (1u << VLY_SLOT_BITS) - 1},
		{"timers_max", c->timers_max, 1, 1u << 26},
		{"events_max", c->events_max, 16, 65536},
		{"burst_max", c->burst_max, 1, c->events_max},
		{"burst_bytes", c->burst_bytes, 1, 1u << 30},
		{"tx_bufs", c->tx_bufs, 2, 1u << 24},
		{"tx_buf_bytes", c->tx_buf_bytes, 64, 1u << 20},
		{"tx_refs", c->tx_refs, 1, 1u << 24},
		{"tx_budget", c->tx_budget, 1, 1u << 30},
		{"rx_bufs", c->rx_bufs, 4, 1u << 20},
		{"rx_buf_bytes", c->rx_buf_bytes, 256, 1u << 24},
		{"dgram_max", c->dgram_max, 0, c->rx_buf_bytes},
		{"hold_slots", c->hold_slots, 1, 1u << 24},
		{"hold_bytes", c->hold_bytes, 1, 65536},
		{"mail_slots", c->mail_slots, 2, 1u << 20},
		{"mail_bytes", c->mail_bytes, 1, 1u << 20},
		{"ports_max", c->ports_max, 0, VLY_PORTS_MAX},
		{"backlog", (uint64_t)(int64_t)c->backlog, 1, 1u << 30},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		const struct limit *l = &limits[i];

		if (l->value >= l->min && l->value <= l->max)
			continue;
		vly_log(VLY_LOG_ERROR, "config: %s = %lld is outside %llu..%llu", l->name,
			(long long)l->value, (unsigned long long)l->min,
			(unsigned long long)l->max);
		return -EINVAL;
	}
	return 0;
}

int vly_config_check(const struct vly_config *config)
{
	int error = check_limits(config);

	if (error)
		return error;
	if (config->mail_slots & (config->mail_slots - 1)) {
		vly_log(VLY_LOG_ERROR, "config: mail_slots = %u is not a power of two",
			config->mail_slots);
		return -EINVAL;
	}
	if (config->idle > VLY_IDLE_BUSY) {
		vly_log(VLY_LOG_ERROR, "config: idle = %d is no idle policy", (int)config->idle);
		return -EINVAL;
	}
	return 0;
}

void vly_core_layout(const struct vly_config *config, struct vly_core_layout *layout)
{
	*layout = (struct vly_core_layout){
		.tx = {.count = config->tx_bufs,
		       .data_bytes = config->tx_buf_bytes,
		       .headroom_bytes = TX_HEADROOM},
		.ref = {.count = config->tx_refs},
		/* A datagram carries its sender's address in front. */
		.rx = {.count = config->rx_bufs,
		       .data_bytes = config->rx_buf_bytes + VLY_RX_HEAD_BYTES},
		/* A held datagram keeps its sender's address in front. */
		.held_bytes = (uint32_t)VLY_ALIGN_UP(
			config->hold_bytes + sizeof(struct vly_addr) + sizeof(uint64_t), 64u),
		/* Timers that fired keep their slot until their batch is over. */
		.timers_count = config->timers_max + config->events_max,
	};
}

static void add_item(struct vly_plan *plan, const char *what, uint64_t count, uint64_t each_bytes)
{
	struct vly_plan_item *item = &plan->items[plan->items_count++];

	*item = (struct vly_plan_item){
		.what = what,
		.count = count,
		.each_bytes = each_bytes,
		.bytes = VLY_ALIGN_UP(count * each_bytes, TAKE_ALIGN),
	};
	plan->core_bytes += item->bytes;
}

void vly_config_plan_for(const struct vly_config *config, const struct vly_nic_ops *ops,
			 const struct vly_nic_spec *spec, struct vly_plan *plan)
{
	struct vly_core_layout layout;

	vly_core_layout(config, &layout);
	*plan = (struct vly_plan){0};
	add_item(plan, "core", 1, sizeof(struct vly_core));
	add_item(plan, "connection records", config->conns_max, ops->conn_bytes);
	add_item(plan, "connections to flush and to retire", config->conns_max, 2 * sizeof(void *));
	add_item(plan, "events", config->events_max, sizeof(struct vly_event) + sizeof(uint32_t));
	add_item(plan, "timers", layout.timers_count, sizeof(struct vly_timer_slot));
	add_item(plan, "send buffers", layout.tx.count, vly_buf_pool_stride(&layout.tx));
	add_item(plan, "send references", layout.ref.count, vly_buf_pool_stride(&layout.ref));
	add_item(plan, "receive buffers", layout.rx.count, vly_buf_pool_stride(&layout.rx));
	add_item(plan, "held slices", config->hold_slots, layout.held_bytes);
	add_item(plan, "mail counts", VLY_CORES_MAX + config->ports_max, 2 * sizeof(uint32_t));
	add_item(plan, ops->name, 1, ops->region_bytes(config, spec));
	plan->conn_bytes = ops->conn_bytes + ops->conn_more_bytes + 2 * sizeof(void *);
	plan->shared_bytes = config->cores * vly_engine_shared_bytes(config);
	plan->total_bytes = config->cores * plan->core_bytes + plan->shared_bytes;
}

int vly_config_plan(const struct vly_config *config, struct vly_plan *plan)
{
	char why[256];
	struct vly_nic_spec spec;
	const struct vly_nic_ops *ops;
	int error = vly_config_check(config);

	if (error)
		return error;
	error = vly_nic_resolve(config->nic, &spec, &ops, why, sizeof(why));
	if (error) {
		vly_log(VLY_LOG_ERROR, "nic %s: %s", config->nic, why);
		return -EINVAL;
	}
	vly_config_plan_for(config, ops, &spec, plan);
	return 0;
}

const char *vly_nic_name(unsigned index)
{
	const struct vly_nic_ops *ops = vly_nic_at(index);

	return ops ? ops->name : NULL;
}

int vly_nic_check(const char *nic, char *why, size_t why_bytes)
{
	struct vly_nic_spec spec;
	const struct vly_nic_ops *ops;

	if (why_bytes)
		why[0] = '\0';
	return vly_nic_resolve(nic, &spec, &ops, why, why_bytes);
}

int vly_nic_describe(const char *nic, char *text, size_t text_bytes, char *why, size_t why_bytes)
{
	struct vly_nic_spec spec;
	const struct vly_nic_ops *ops;

	if (why_bytes)
		why[0] = '\0';
	int error = vly_nic_resolve(nic, &spec, &ops, why, why_bytes);

	if (error)
		return error;
	if (ops->describe)
		return ops->describe(&spec, text, text_bytes, why, why_bytes);
	snprintf(why, why_bytes, "nic %s has no device of its own to tell of", ops->name);
	return -ENOTSUP;
}

const struct vly_nic_feature *vly_nic_features(const char *name, unsigned *count)
{
	const struct vly_nic_ops *ops;

	*count = 0;
	for (unsigned i = 0; (ops = vly_nic_at(i)); i++) {
		if (strcmp(ops->name, name) == 0 && ops->features)
			return ops->features(count);
	}
	return NULL;
}
