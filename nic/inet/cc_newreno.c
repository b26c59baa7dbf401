/* cc_newreno.c - NewReno: RFC 5681, RFC 6582 */
#include "nic/inet/cc.h"

#include <string.h>

#include "nic/inet/tcp.h"

/* One segment per window (RFC 5681, 3.1), counted in bytes (RFC 3465). */
static void newreno_acked(struct vly_tcp *tcp, struct vly_side *side, uint32_t bytes, uint32_t now)
{
	(void)now;
	side->cc.acked += bytes;
	if (side->cc.acked < tcp->cwnd)
		return;
	side->cc.acked -= tcp->cwnd;
	tcp->cwnd += tcp->mss;
}

static uint32_t newreno_cut(struct vly_tcp *tcp, struct vly_side *side, uint32_t cwnd, uint32_t now)
{
	(void)now;
	side->cc.acked = 0;
	return VLY_MAX(cwnd / 2, 2u * tcp->mss);
}

const struct vly_cc_ops vly_cc_newreno = {
	.name = "newreno",
	.acked = newreno_acked,
	.cut = newreno_cut,
};

const struct vly_cc_ops *vly_cc_find(const char *name)
{
	static const struct vly_cc_ops *const built[] = {&vly_cc_cubic, &vly_cc_newreno};

	for (unsigned i = 0; i < sizeof(built) / sizeof(built[0]); i++) {
		if (strcmp(built[i]->name, name) == 0)
			return built[i];
	}
	return NULL;
}
