/* test_sources.c - ranges of local addresses */
#include "bench/sources.h"

#include <string.h>

#include "tests/support/leak.h"

TestSuite(sources, .fini = vly_leak_gate);

static void expect(const char *text, uint32_t count, const char *formatted)
{
	struct sources sources;
	char why[256] = "", out[SOURCES_TEXT_MAX];

	cr_assert_eq(sources_parse(text, &sources, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(sources.count, count, "%s: %u", text, sources.count);
	cr_assert_str_eq(sources_format(&sources, out, sizeof(out)), formatted);
}

static void refused(const char *text, const char *word)
{
	struct sources sources;
	char why[256] = "";

	cr_assert_lt(sources_parse(text, &sources, why, sizeof(why)), 0, "%s", text);
	cr_assert(strstr(why, word), "%s", why);
}

Test(sources, one_address_a_range_and_a_network_are_understood)
{
	expect("192.0.2.7", 1, "192.0.2.7");
	expect("192.0.2.7-192.0.2.7", 1, "192.0.2.7");
	expect("192.0.2.250-192.0.3.5", 12, "192.0.2.250-192.0.3.5");
	expect("192.0.2.0/24", 254, "192.0.2.1-192.0.2.254");
	expect("192.0.2.9/24", 246, "192.0.2.9-192.0.2.254");
	expect("192.0.2.6/31", 2, "192.0.2.6-192.0.2.7");
	expect("192.0.2.7/31", 1, "192.0.2.7");
	expect("192.0.2.7/32", 1, "192.0.2.7");
	expect("127.0.0.0/8", SOURCES_MAX, "127.0.0.1-127.1.0.0");
	expect("2001:db8::5", 1, "2001:db8::5");
	expect("2001:db8::5-2001:db8::1:2", 65534, "2001:db8::5-2001:db8::1:2");
	expect("2001:db8::/120", 254, "2001:db8::1-2001:db8::fe");
	expect("2001:db8::1/64", SOURCES_MAX, "2001:db8::1-2001:db8::1:0");
}

Test(sources, what_is_none_is_refused)
{
	refused("", "is no range");
	refused("localhost", "is no range");
	refused("192.0.2.7-", "is no range");
	refused("192.0.2.7-192.0.2.6", "is no range");
	refused("192.0.2.7-2001:db8::1", "is no range");
	refused("2001:db8::1-2001:db9::1", "is no range");
	refused("192.0.2.7/", "is no range");
	refused("192.0.2.7/33", "is no range");
	refused("192.0.2.7/x", "is no range");
	refused("192.0.2.7/24x", "is no range");
	refused("192.0.2.255/24", "is no range");
	refused("2001:db8::/63", "is no range");
	refused("10.0.0.0-10.1.0.0", "more than 65536");
}

Test(sources, connections_take_turns)
{
	struct sources sources;
	struct vly_addr addr;
	char why[64];

	cr_assert_eq(sources_parse("10.0.0.255-10.0.1.1", &sources, why, sizeof(why)), 0);
	addr = sources_at(&sources, 0);
	cr_assert(!memcmp(addr.ip4, (uint8_t[]){10, 0, 0, 255}, 4));
	addr = sources_at(&sources, 4);
	cr_assert(!memcmp(addr.ip4, (uint8_t[]){10, 0, 1, 0}, 4));
	cr_assert_eq(addr.family, VLY_IP4);
	cr_assert_eq(addr.port, 0);
}

Test(sources, loopback_has_as_many_addresses_as_are_needed)
{
	struct sources sources;
	char out[SOURCES_TEXT_MAX];

	sources_on_loopback(&sources, 28000, 28000);
	cr_assert_str_eq(sources_format(&sources, out, sizeof(out)), "127.0.0.1");
	sources_on_loopback(&sources, 28001, 28000);
	cr_assert_str_eq(sources_format(&sources, out, sizeof(out)), "127.0.0.1-127.0.0.2");
	sources_on_loopback(&sources, 10000000, 1);
	cr_assert_eq(sources.count, SOURCES_MAX);
}
