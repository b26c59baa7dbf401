/* test_cc.c - congestion control by its formulas */
#include "nic/inet/cc.h"

#include <math.h>
#include <string.h>

#include <criterion/criterion.h>

#include "nic/inet/tcp.h"
#include "tests/support/leak.h"

TestSuite(cc, .fini = vly_leak_gate);

#define MSS 1000u
#define TICKS_PER_SEC 976562.5

Test(cc, newreno_grows_one_segment_per_window_and_halves)
{
	struct vly_tcp tcp = {.mss = MSS, .cwnd = 20 * MSS};
	struct vly_side side = {0};

	for (int i = 0; i < 20; i++)
		vly_cc_newreno.acked(&tcp, &side, MSS, 0);
	cr_assert_eq(tcp.cwnd, 21 * MSS);
	cr_assert_eq(vly_cc_newreno.cut(&tcp, &side, 20 * MSS, 0), 10 * MSS);
	cr_assert_eq(vly_cc_newreno.cut(&tcp, &side, 2 * MSS, 0), 2 * MSS);
}

/* RFC 9438, 4.2: W(t) = 0.4 (t - K)^3 + W_max, in segments and seconds. */
Test(cc, cubic_follows_its_curve)
{
	struct vly_tcp tcp = {.mss = MSS, .cwnd = 100 * MSS, .srtt = 8 * 97656 /* 100 ms */};
	struct vly_side side = {0};
	uint32_t start = 1000000;

	tcp.cwnd = tcp.ssthresh = vly_cc_cubic.cut(&tcp, &side, 100 * MSS, start);
	cr_assert_eq(tcp.cwnd, 70 * MSS);
	double k = cbrt(30 / 0.4);

	for (double t = 0; t < 8; t += 0.1) {
		uint32_t now = start + (uint32_t)(t * TICKS_PER_SEC);
		uint32_t window = tcp.cwnd;

		for (uint32_t acked = 0; acked < window; acked += MSS)
			vly_cc_cubic.acked(&tcp, &side, MSS, now);
		double curve = 0.4 * pow(t + 0.1 - k, 3) + 100;

		if (t > 1)
			cr_assert_float_eq(tcp.cwnd / (double)MSS, curve, 0.1 * curve,
					   "at %.1f s: %.1f, not %.1f", t, tcp.cwnd / (double)MSS,
					   curve);
	}
	cr_assert_gt(tcp.cwnd, 100 * MSS);
}

/* RFC 9438, 4.3: where Reno would have more, 9/17 segments per window up to where the loss was, then one. */
Test(cc, cubic_grows_as_reno_beyond_the_window_of_the_last_loss)
{
	struct vly_tcp tcp = {.mss = MSS, .srtt = 8 * 977 /* 1 ms */};
	struct vly_side side = {0};
	double window[61];
	uint32_t now = 1;

	tcp.cwnd = tcp.ssthresh = vly_cc_cubic.cut(&tcp, &side, 40 * MSS, now);
	for (unsigned i = 0; i <= 60; i++, now += 977) {
		uint32_t round = tcp.cwnd;

		window[i] = tcp.cwnd / (double)MSS;
		for (uint32_t acked = 0; acked < round; acked += MSS)
			vly_cc_cubic.acked(&tcp, &side, MSS, now);
	}
	cr_assert_float_eq(window[17], 28 + 9, 0.5, "%.2f", window[17]);
	cr_assert_float_eq(window[60] - window[40], 20, 1, "%.2f", window[60] - window[40]);
}

/* What belongs to the losses goes when all is acknowledged; the last loss's window does not. */
Test(cc, cubic_knows_the_window_of_the_last_loss_without_its_side)
{
	struct vly_tcp tcp = {.mss = MSS};
	struct vly_side side = {0};
	uint32_t now = 1;

	tcp.cwnd = tcp.ssthresh = vly_cc_cubic.cut(&tcp, &side, 40 * MSS, now);
	side = (struct vly_side){0};
	for (unsigned i = 0; i < 17; i++, now += 977) {
		uint32_t round = tcp.cwnd;

		for (uint32_t acked = 0; acked < round; acked += MSS)
			vly_cc_cubic.acked(&tcp, &side, MSS, now);
	}
	cr_assert_float_eq(tcp.cwnd / (double)MSS, 28 + 9, 0.5, "%.2f", tcp.cwnd / (double)MSS);
}

Test(cc, cubic_that_had_to_give_way_again_aims_lower)
{
	struct vly_tcp tcp = {.mss = MSS};
	struct vly_side side = {0};

	vly_cc_cubic.cut(&tcp, &side, 100 * MSS, 1);
	cr_assert_eq(side.cc.w_max, 100 * MSS);
	vly_cc_cubic.cut(&tcp, &side, 80 * MSS, 2);
	cr_assert_eq(side.cc.w_max, 68 * MSS);
}

Test(cc, names_find_them)
{
	cr_assert_eq(vly_cc_find("cubic"), &vly_cc_cubic);
	cr_assert_eq(vly_cc_find("newreno"), &vly_cc_newreno);
	cr_assert_null(vly_cc_find("bbr"));
}
