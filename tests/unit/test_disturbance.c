/* test_disturbance.c - retransmits and throttling from the kernel's text files */
#include "bench/disturbance.h"

#include "tests/support/leak.h"

#include <math.h>

TestSuite(disturbance, .fini = vly_leak_gate);

static const char snmp[] = "Ip: Forwarding DefaultTTL\n"
			   "Ip: 1 64\n"
			   "Tcp: RtoAlgorithm InSegs OutSegs RetransSegs InErrs\n"
			   "Tcp: 1 20 30 4711 0\n"
			   "Udp: InDatagrams RetransSegs\n"
			   "Udp: 5 6\n";

Test(disturbance, retransmits_are_found_by_their_heading)
{
	uint64_t found = 0;

	cr_assert(disturbance_parse_snmp(snmp, &found));
	cr_assert_eq(found, 4711);
	/* The first lines of a file. */
	cr_assert(disturbance_parse_snmp("Tcp: A RetransSegs\nTcp: 1 2\n", &found));
	cr_assert_eq(found, 2);
}

Test(disturbance, what_is_not_there_is_not_known)
{
	static const char *const texts[] = {
		"",
		"Tcp: RtoAlgorithm RetransSegs\n",
		"Tcp: A B\nTcp: 1 2\n",
		"Tcp: A RetransSegs\nTcp: 1\n",
		"Udp: RetransSegs\nUdp: 1\n",
		"Tcp: \nTcp: \n",
	};
	uint64_t found = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert(!disturbance_parse_snmp(texts[i], &found), "%s", texts[i]);
}

Test(disturbance, the_difference_of_two_is_told_and_of_none_it_is_not)
{
	struct disturbance before = {true, true, 10, 500000}, after = {true, true, 13, 2000000};

	cr_assert_eq((int)disturbance_retransmits(&before, &after), 3);
	cr_assert(fabs(disturbance_throttled_s(&before, &after) - 1.5) < 1e-9);
	before.retransmits_known = false;
	after.throttled_known = false;
	cr_assert(isnan(disturbance_retransmits(&before, &after)));
	cr_assert(isnan(disturbance_throttled_s(&before, &after)));
}

Test(disturbance, this_kernel_counts_retransmits)
{
	struct disturbance now;

	disturbance_take(&now);
	cr_assert(now.retransmits_known);
}
