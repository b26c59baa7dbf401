/* cc_cubic.c - CUBIC: RFC 9438 */
#include "nic/inet/cc.h"

#include "nic/inet/tcp.h"

/*
 *	W(t) = C (t - K)^3 + W_max		C = 0.4 segments / s^3, t in seconds
 *	K = cbrt((W_max - cwnd_epoch) / C)
 *
 * in integers: times in ticks of 2^10 ns, windows in bytes. A loss leaves beta = 0.7 of the window.
 */
#define BETA_NUM 7
#define BETA_DEN 10
#define TICKS_PER_SEC 976562 /* 10^9 / 1024 */

/* Integer cube root, by Newton from above. */
static uint64_t cube_root(uint64_t x)
{
	if (x < 2)
		return x;
	unsigned bits = 64 - (unsigned)__builtin_clzll(x);
	uint64_t root = 1ull << (bits + 2) / 3;

	for (;;) {
		uint64_t next = (2 * root + x / (root * root)) / 3;

		if (next >= root)
			return root;
		root = next;
	}
}

/* K in ticks: cbrt((w_max - cwnd) / mss / 0.4) s, with 2^30 under the root for 2^10 of precision. */
static uint32_t time_to_origin(uint32_t missing_bytes, uint32_t mss)
{
	uint64_t cube = ((uint64_t)missing_bytes << 30) / mss * 5 / 2;

	return (uint32_t)(cube_root(cube) * TICKS_PER_SEC >> 10);
}

/* The cubic's window at `ticks` after the epoch's start. */
static uint64_t window_at(const struct vly_tcp *tcp, const struct vly_side *side, uint32_t ticks)
{
	int64_t t = (int64_t)ticks - side->cc.k;
	int64_t ms = t * 1000 / TICKS_PER_SEC;

	/* beyond that the window is bounded by others */
	ms = VLY_MAX(VLY_MIN(ms, 100000), -100000);
	/* 0.4 mss ms^3 / 10^9 */
	int64_t grown = ms * ms * ms / 1000000 * 4 * tcp->mss / 10000;
	int64_t window = (int64_t)side->cc.w_max + grown;

	return window > 0 ? (uint64_t)window : 0;
}

static void begin_epoch(struct vly_tcp *tcp, struct vly_side *side, uint32_t now)
{
	side->cc.epoch = now ? now : 1;
	side->cc.w_est = tcp->cwnd;
	side->cc.acked = 0;
	if (side->cc.w_max > tcp->cwnd) {
		side->cc.k = time_to_origin(side->cc.w_max - tcp->cwnd, tcp->mss);
	} else {
		side->cc.k = 0;
		side->cc.w_max = tcp->cwnd;
	}
}

static void cubic_acked(struct vly_tcp *tcp, struct vly_side *side, uint32_t bytes, uint32_t now)
{
	if (!side->cc.epoch)
		begin_epoch(tcp, side, now);
	uint32_t rtt = tcp->srtt >> 3;
	uint64_t target = window_at(tcp, side, now - side->cc.epoch + rtt);

	target = VLY_MAX(VLY_MIN(target, (uint64_t)tcp->cwnd + tcp->cwnd / 2), (uint64_t)tcp->cwnd);
	/*
	 * What Reno would have: with beta 0.7, 3 (1 - beta) / (1 + beta) = 9/17 segments per window are what
	 * makes up for cutting less; a whole one from where the last loss was on (4.3).
	 */
	uint64_t reno = (uint64_t)bytes * tcp->mss;
	uint64_t prior = (uint64_t)tcp->ssthresh * BETA_DEN / BETA_NUM;

	if (side->cc.w_est < prior)
		reno = reno * 9 / 17;
	side->cc.w_est += (uint32_t)(reno / tcp->cwnd);
	/* (target - cwnd) / cwnd segments for each one acknowledged */
	uint64_t grow = (target - tcp->cwnd) * bytes / tcp->cwnd + side->cc.acked;

	side->cc.acked = 0;
	if (grow < tcp->mss / 8u)
		side->cc.acked = (uint32_t)grow; /* too little to matter: kept for the next */
	else
		tcp->cwnd += (uint32_t)VLY_MIN(grow, (uint64_t)bytes);
	tcp->cwnd = VLY_MAX(tcp->cwnd, side->cc.w_est);
}

static uint32_t cubic_cut(struct vly_tcp *tcp, struct vly_side *side, uint32_t cwnd, uint32_t now)
{
	(void)now;
	side->cc.epoch = 0;
	/* fast convergence: a flow that had to give way gives up a little more */
	if (cwnd < side->cc.w_max)
		side->cc.w_max =
			(uint32_t)((uint64_t)cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN));
	else
		side->cc.w_max = cwnd;
	return VLY_MAX((uint32_t)((uint64_t)cwnd * BETA_NUM / BETA_DEN), 2u * tcp->mss);
}

const struct vly_cc_ops vly_cc_cubic = {
	.name = "cubic",
	.acked = cubic_acked,
	.cut = cubic_cut,
};
