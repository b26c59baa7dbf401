/* rss.c - how a port is to spread flows over its queues, and whether it says that it does */
#include "nic/inet/dpdk/rss.h"

#include <string.h>

#include "base/compiler.h"
#include "base/hash.h"
#include "base/log.h"

/* Nothing else comes to us in numbers, and what is not hashed comes in at the first queue. */
#define HASHES (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP)
#define GROUPS (VLY_DPDK_TABLE_MAX / RTE_ETH_RETA_GROUP_SIZE)

/* Some drivers do not tell how long a key is: all of those have Microsoft's 40 bytes. */
static uint32_t key_bytes(const struct rte_eth_dev_info *info)
{
	return info->hash_key_size ? info->hash_key_size : VLY_TOEPLITZ_KEY_BYTES;
}

static const char *why_not(const struct rte_eth_dev_info *info)
{
	uint32_t count = info->reta_size;

	if (!(info->flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_TCP))
		return "the driver offers no hash of TCP's ports";
	if (key_bytes(info) < VLY_TOEPLITZ_KEY_BYTES || key_bytes(info) > VLY_DPDK_KEY_MAX)
		return "the driver takes no key of 40 bytes or more";
	if (!count || count > VLY_DPDK_TABLE_MAX || count & (count - 1))
		return "the driver takes no table of a power of two, 512 at most";
	return NULL;
}

void vly_dpdk_rss_choose(struct vly_dpdk_rss *rss, const struct rte_eth_dev_info *info,
			 unsigned queues)
{
	*rss = (struct vly_dpdk_rss){.why = why_not(info)};
	rss->hashes = queues > 1 ? info->flow_type_rss_offloads & HASHES : 0;
	rss->foretold = !rss->why && queues > 1;
	if (!rss->why && queues <= 1)
		rss->why = "there is one queue";
	if (!rss->foretold)
		return;
	rss->key_bytes = (uint8_t)key_bytes(info);
	for (unsigned i = 0; i < rss->key_bytes; i++)
		rss->key[i] = vly_toeplitz_key_default[i % VLY_TOEPLITZ_KEY_BYTES];
	rss->table_count = info->reta_size;
	for (unsigned i = 0; i < rss->table_count; i++)
		rss->table[i] = (uint16_t)(i % queues);
}

void vly_dpdk_rss_configure(struct vly_dpdk_rss *rss, struct rte_eth_conf *conf)
{
	if (!rss->hashes)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf = (struct rte_eth_rss_conf){
		.rss_key = rss->foretold ? rss->key : NULL,
		.rss_key_len = rss->key_bytes,
		.rss_hf = rss->hashes,
	};
}

static uint64_t mask_of(const struct vly_dpdk_rss *rss)
{
	return rss->table_count < RTE_ETH_RETA_GROUP_SIZE ? (UINT64_C(1) << rss->table_count) - 1
							  : UINT64_MAX;
}

/* What is wrong with its table; NULL: nothing. */
static const char *set_table(const struct vly_dpdk_rss *rss, uint16_t id)
{
	struct rte_eth_rss_reta_entry64 groups[GROUPS] = {0};
	uint16_t count = (uint16_t)rss->table_count;

	for (unsigned i = 0; i < count; i++) {
		groups[i / RTE_ETH_RETA_GROUP_SIZE].mask = mask_of(rss);
		groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
			rss->table[i];
	}
	if (rte_eth_dev_rss_reta_update(id, groups, count))
		return "it does not take our table";
	for (unsigned i = 0; i < count; i++)
		groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = UINT16_MAX;
	if (rte_eth_dev_rss_reta_query(id, groups, count))
		return NULL; /* it takes it, and does not tell */
	for (unsigned i = 0; i < count; i++) {
		if (groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] !=
		    rss->table[i])
			return "it tells of another table than it was given";
	}
	return NULL;
}

static const char *look_at_key(const struct vly_dpdk_rss *rss, uint16_t id)
{
	uint8_t key[VLY_DPDK_KEY_MAX] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = rss->key_bytes};

	if (rte_eth_dev_rss_hash_conf_get(id, &conf))
		return NULL;
	if (!(conf.rss_hf & RTE_ETH_RSS_NONFRAG_IPV4_TCP))
		return "it does not hash TCP's ports, it tells";
	if (memcmp(key, rss->key, VLY_TOEPLITZ_KEY_BYTES) != 0)
		return "it tells of another key than it was given";
	return NULL;
}

void vly_dpdk_rss_verify(const struct vly_dpdk_rss *rss, uint16_t id, const char *name)
{
	if (!rss->foretold)
		return;
	const char *wrong = rss->hashes ? set_table(rss, id) : "it does not start with RSS";

	wrong = wrong ? wrong : look_at_key(rss, id);
	if (wrong)
		vly_log(VLY_LOG_WARN, "port %s: RSS: %s", name, wrong);
}
