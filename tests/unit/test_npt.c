/* test_npt.c - the control protocol of the Python sockets study */
#include "bench/npt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(npt, .fini = vly_leak_gate);

static int parsed(const char *text, struct npt_request *request)
{
	char why[256] = "";

	return npt_parse(text, request, why, sizeof(why));
}

Test(npt, a_request_has_seven_fields)
{
	struct npt_request r;

	cr_assert_eq(parsed("192.0.2.7 33332 100 30 1000 2000 64", &r), 0);
	cr_assert_eq(r.target.family, VLY_IP4);
	cr_assert(!memcmp(r.target.ip4, (uint8_t[]){192, 0, 2, 7}, 4));
	cr_assert_eq(r.target.port, 33332);
	cr_assert_eq(r.connections, 100);
	cr_assert_eq(r.runtime_ns, 30000000000);
	cr_assert_eq(r.think_min_ns, 1000);
	cr_assert_eq(r.think_max_ns, 2000);
	cr_assert_eq(r.size_bytes, 64);
}

Test(npt, a_part_of_one_waits_for_the_rest)
{
	struct npt_request r;

	cr_assert_eq(parsed("192", &r), -EAGAIN);
	cr_assert_eq(parsed("192.0.2.7 33332 100 30 1000 2000", &r), -EAGAIN);
	cr_assert_eq(parsed("192.0.2.7 33332 100 30 1000 2000 ", &r), -EAGAIN);
}

Test(npt, what_is_no_request_is_refused)
{
	static const char *const wrong[] = {
		"",
		"GET / HTTP/1.1-",
		"192.0.2.7 33332 100 30 0 0 64 9",
		"192.0.2.7 -1 100 30 0 0 64",
		"192.0.2.7 0 100 30 0 0 64",
		"192.0.2.7 65536 100 30 0 0 64",
		"host 33332 100 30 0 0 64",
		"192.0.2.7 33332 0 30 0 0 64",
		"192.0.2.7 33332 100 0 0 0 64",
		"192.0.2.7 33332 100 30 2 1 64",
		"192.0.2.7 33332 100 30 0 0 0",
		"192.0.2.7 33332 100 30 0 0 99999999",
	};
	struct npt_request r;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_eq(parsed(wrong[i], &r), -EINVAL, "%s", wrong[i]);
}

Test(npt, what_can_never_become_a_request_is_not_waited_for)
{
	struct npt_request r;

	cr_assert_eq(parsed("GET / HTTP", &r), -EINVAL);
	cr_assert_eq(parsed("192.0.2.7 x", &r), -EINVAL);
	cr_assert_eq(parsed("192.0.2.7 33332 100 30 0 0x", &r), -EINVAL);
	cr_assert_eq(parsed("192.0.2.7 33332 100 30 0 0 64 \n", &r), 0);
}

Test(npt, a_reply_has_counts_by_powers_and_quantiles_of_connections)
{
	uint64_t per_conn[40];
	struct load_result result = {.messages = 6, .connections = 40, .per_conn = per_conn};
	char *text;

	cr_assert_eq(histogram_init(&result.latency), 0);
	for (int i = 0; i < 3; i++)
		histogram_record(&result.latency, 1024); /* 2^10 */
	histogram_record(&result.latency, 1);
	for (int i = 0; i < 2; i++)
		histogram_record(&result.latency, 1u << 20);
	for (uint64_t i = 0; i < 40; i++)
		per_conn[i] = 39 - i; /* not in order */
	text = npt_reply(&result);
	cr_assert_not_null(text);
	cr_assert_str_eq(text, "6 1.07177346254 3 0 1 100 3 200 2 "
			       "19 2 4 6 8 10 12 14 16 18 20 22 24 26 28 30 32 34 36 38");
	free(text);
	histogram_fini(&result.latency);
}

Test(npt, a_reply_without_a_message_is_whole)
{
	struct load_result result = {.messages = 0};
	char *text = npt_reply(&result);

	cr_assert_str_eq(text, "0 1.07177346254 0 19 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
	free(text);
}
