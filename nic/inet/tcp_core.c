/* tcp_core.c - what a core has of TCP: choices, memory */
#include "nic/inet/tcp.h"

#include <errno.h>
#include <stdio.h>

#include "nic/inet/cc.h"

const char *const vly_tcp_keys[] = {"window",        "ts",        "sack",      "cookies", "rto_min",
				    "max_ack_delay", "time_wait", "keepalive", "cc",      "profile",
				    "time_waits",    "ooo",       "sides",     "segs",    "seed",
				    "burst",         NULL};

#define CHUNK_BYTES 1584u /* with its 16 bytes of header 25 lines */
/* Of a core, however many connections it has; options change them. */
#define LINGER_MAX 16384u
#define SIDES 4096u
#define SEGS 16384u

static uint32_t ms_to_ticks(uint64_t ms)
{
	return vly_tick_of(ms * 1000000);
}

struct numbers {
	uint64_t window, ts, sack, cookies, rto_min, max_ack_delay, time_wait, keepalive;
	uint64_t time_waits, ooo, sides, segs, burst;
};

static int parse(const struct vly_nic_spec *spec, struct numbers *n, char *why, size_t why_bytes)
{
	const char *profile = vly_spec_get(spec, "profile");
	const char *cc = vly_spec_get(spec, "cc");
	bool datacentre = profile && strcmp(profile, "dc") == 0;
	/* As Linux has them; a data centre's are 5 ms. */
	uint64_t delay_ms = datacentre ? 5 : 40, rto_ms = datacentre ? 5 : 200;
	struct {
		const char *key;
		uint64_t max, fallback, *number;
	} all[] = {
		{"window", 1u << 30, 262144, &n->window},
		{"ts", 1, 1, &n->ts},
		{"sack", 1, 1, &n->sack},
		{"cookies", 2, 1, &n->cookies},
		{"rto_min", 60000, rto_ms, &n->rto_min},
		{"max_ack_delay", 500, delay_ms, &n->max_ack_delay},
		{"time_wait", 240000, 60000, &n->time_wait},
		{"keepalive", 1800, 0, &n->keepalive},
		{"time_waits", 1u << 24, 0, &n->time_waits},
		{"ooo", 1u << 24, 0, &n->ooo},
		{"sides", 1u << 24, 0, &n->sides},
		{"segs", 1u << 24, 0, &n->segs},
		{"burst", VLY_TCP_BURST, 32, &n->burst},
	};

	if (profile && !datacentre && strcmp(profile, "default") != 0) {
		snprintf(why, why_bytes, "profile=%s: default and dc are known", profile);
		return -EINVAL;
	}
	if (cc && !vly_cc_find(cc)) {
		snprintf(why, why_bytes, "cc=%s: cubic and newreno are known", cc);
		return -EINVAL;
	}
	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int error = vly_spec_number(spec, all[i].key, all[i].max, all[i].fallback,
					    all[i].number, why, why_bytes);

		if (error)
			return error;
	}
	n->window = VLY_MAX(n->window, 4096ull);
	n->rto_min = VLY_MAX(n->rto_min, 1ull);
	return 0;
}

int vly_tcp_conf_check(const struct vly_nic_spec *spec, char *why, size_t why_bytes)
{
	struct numbers numbers;

	return parse(spec, &numbers, why, why_bytes);
}

static void conf_fill(struct vly_tcp_conf *conf, const struct vly_nic_spec *spec,
		      const struct numbers *n)
{
	const char *cc = vly_spec_get(spec, "cc");

	*conf = (struct vly_tcp_conf){
		.window = (uint32_t)n->window,
		.timestamps = n->ts,
		.sack = n->sack,
		.cookies = (uint8_t)n->cookies,
		.rto_min = ms_to_ticks(n->rto_min),
		.rto_max = ms_to_ticks(60000),
		.rto_init = ms_to_ticks(1000),
		.delack = ms_to_ticks(n->max_ack_delay),
		.time_wait = ms_to_ticks(n->time_wait),
		.keepalive = ms_to_ticks(n->keepalive * 1000),
		.keepalive_interval = ms_to_ticks(VLY_MIN(n->keepalive * 1000, 75000ull)),
		.retries = 15,
		.syn_retries = 6,
		.cwnd_init = 10,
		.burst = (uint32_t)n->burst,
		.cc = vly_cc_find(cc ? cc : "cubic"),
	};
	while (conf->window >> conf->wscale > 65534)
		conf->wscale++;
	/* what a shifted field can say */
	conf->window = conf->window >> conf->wscale << conf->wscale;
}

static uint32_t half_max(const struct vly_config *config)
{
	return (uint32_t)VLY_MIN(VLY_MAX(config->backlog, 16), 65536);
}

static uint32_t linger_max(const struct vly_config *config, const struct numbers *n)
{
	(void)config;
	return n->time_waits ? (uint32_t)n->time_waits : LINGER_MAX;
}

static void sides_size(const struct vly_config *config, const struct numbers *n,
		       struct vly_sides_size *size)
{
	uint64_t rx_bytes = (uint64_t)config->rx_bufs * config->rx_buf_bytes;
	uint32_t chunks = (uint32_t)VLY_MIN(rx_bytes / CHUNK_BYTES, 1u << 20);

	*size = (struct vly_sides_size){
		.sides = n->sides ? (uint32_t)n->sides : SIDES,
		.segs = n->segs ? (uint32_t)n->segs : SEGS,
		.chunks = n->ooo ? (uint32_t)n->ooo : VLY_MAX(chunks, 256u),
		.chunk_bytes = CHUNK_BYTES,
	};
}

static uint32_t flows_limit(const struct vly_config *config, const struct numbers *n)
{
	return config->conns_max + half_max(config) + linger_max(config, n);
}

static size_t padded(size_t bytes)
{
	return VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP);
}

size_t vly_tcp_core_bytes(const struct vly_config *config, const struct vly_nic_spec *spec)
{
	struct vly_sides_size size;
	struct numbers n;
	char why[128];

	if (parse(spec, &n, why, sizeof(why)))
		return 0; /* check() has refused it */
	sides_size(config, &n, &size);
	return padded(sizeof(struct vly_tcp_core)) +
	       padded(vly_minis_bytes(half_max(config), linger_max(config, &n))) +
	       padded(vly_sides_bytes(&size)) + padded(vly_flow_bytes(flows_limit(config, &n)));
}

static void *take(struct vly_inet *inet, size_t bytes)
{
	return vly_region_take(inet->nic.env->region, padded(bytes), VLY_WRITER_GAP);
}

int vly_tcp_core_open(struct vly_inet *inet, const struct vly_nic_spec *spec)
{
	const struct vly_config *config = inet->nic.env->config;
	struct vly_sides_size size;
	struct numbers n;
	char why[128];
	int error = parse(spec, &n, why, sizeof(why));

	if (error)
		return error;
	sides_size(config, &n, &size);
	struct vly_tcp_core *core = take(inet, sizeof(*core));
	void *minis = take(inet, vly_minis_bytes(half_max(config), linger_max(config, &n)));
	void *sides = take(inet, vly_sides_bytes(&size));
	void *flows = take(inet, vly_flow_bytes(flows_limit(config, &n)));

	if (!core || !flows)
		return -ENOMEM;
	inet->tcp = core;
	conf_fill(&core->conf, spec, &n);
	for (unsigned shift = 0; shift <= VLY_TCP_WSCALE_MAX; shift++)
		core->window_fields[shift] =
			htons((uint16_t)(vly_tcp_window_by(&core->conf, shift) >> shift));
	core->tx_head = core->tx_tail = VLY_NO_SLOT;
	core->port_next = (uint32_t)vly_inet_random(inet);
	vly_flow_init(&inet->flows, flows, flows_limit(config, &n), vly_inet_random(inet),
		      vly_inet_random(inet));
	error = vly_minis_init(&core->minis, minis, half_max(config), linger_max(config, &n));
	return error ? error : vly_sides_init(&core->sides, sides, &size);
}

void vly_tcp_core_close(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;

	for (unsigned list = 0; list < VLY_MINI_LISTS; list++) {
		struct vly_mini *mini;

		while ((mini = vly_mini_first(&core->minis, list)))
			vly_mini_put(&core->minis, mini);
	}
	vly_minis_fini(&core->minis);
	vly_sides_fini(&core->sides);
}
