/* test_addr.c - addresses: text, sockets, comparison */
#include "nic/addr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(addr, .fini = vly_leak_gate);

static void check_round_trip(const char *text, const char *want)
{
	struct vly_addr addr, again;
	char out[VLY_ADDR_TEXT_MAX];

	cr_assert_eq(vly_addr_parse(text, &addr), 0, "%s", text);
	cr_assert_str_eq(vly_addr_format(&addr, out, sizeof(out)), want);
	cr_assert_eq(vly_addr_parse(out, &again), 0, "%s", out);
	cr_assert(vly_addr_equal(&addr, &again), "%s", out);
}

static void check_sockets(const struct vly_addr *addr, socklen_t want_len)
{
	struct sockaddr_storage storage;
	struct vly_addr back;
	socklen_t len;

	memset(&storage, 0xaa, sizeof(storage));
	len = vly_addr_to_sockaddr(addr, &storage);
	cr_assert_eq(len, want_len, "%u bytes", len);
	memset(&back, 0xaa, sizeof(back));
	vly_addr_from_sockaddr(&storage, len, &back);
	cr_assert(vly_addr_equal(addr, &back));
}

Test(addr, text_of_every_family_comes_back)
{
	check_round_trip("192.0.2.1:80", "192.0.2.1:80");
	check_round_trip(":65535", "0.0.0.0:65535");
	check_round_trip("0.0.0.0:0", "0.0.0.0:0");
	check_round_trip("[2001:db8::1]:80", "[2001:db8::1]:80");
	check_round_trip("[::]:0", "[::]:0");
	check_round_trip("[fe80::1%7]:443", "[fe80::1%7]:443");
	check_round_trip("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:1");
	check_round_trip("unix:/run/x.sock", "unix:/run/x.sock");
	check_round_trip("unix:relative", "unix:relative");
	check_round_trip("unix:@name", "unix:@name");
	check_round_trip("unix:@", "unix:@");
}

Test(addr, scope_may_be_an_interfaces_name)
{
	unsigned index = if_nametoindex("lo");
	struct vly_addr addr;

	if (!index)
		cr_skip_test("there is no interface lo");
	cr_assert_eq(vly_addr_parse("[fe80::1%lo]:1", &addr), 0);
	cr_assert_eq(addr.scope_id, index);
}

Test(addr, bad_texts_are_einval_and_leave_no_address)
{
	static const char *const bad[] = {
		"",
		"192.0.2.1",
		"192.0.2.1:",
		"192.0.2.1:65536",
		"192.0.2.1:-1",
		"192.0.2.1:+1",
		"192.0.2.1: 1",
		"192.0.2.1:1 ",
		"192.0.2.1:80:80",
		"192.0.2.256:1",
		"192.0.2:1",
		"localhost:1",
		"1234567890123456789:1",
		"192.0.2.1:99999999999999999999999",
		"2001:db8::1:80",
		"[2001:db8::1]",
		"[2001:db8::1]80",
		"[2001:db8::1:80",
		"[]:80",
		"[192.0.2.1]:80",
		"[fe80::1%]:80",
		"[fe80::1%0]:80",
		"[fe80::1%nosuchinterface0]:80",
		"unix:",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vly_addr addr;

		memset(&addr, 0xaa, sizeof(addr));
		cr_assert_eq(vly_addr_parse(bad[i], &addr), -EINVAL, "\"%s\"", bad[i]);
		cr_assert_eq(addr.family, VLY_NO_FAMILY, "\"%s\"", bad[i]);
	}
}

Test(addr, scope_that_is_no_whole_number_is_einval)
{
	struct vly_addr addr;

	cr_assert_eq(vly_addr_parse("[fe80::1%1x]:80", &addr), -EINVAL);
	cr_assert_eq(vly_addr_parse("[fe80::1%4294967297]:80", &addr), -EINVAL);
	cr_assert_eq(vly_addr_parse("[fe80::1%-1]:80", &addr), -EINVAL);
}

Test(addr, hosts_longer_than_any_address_are_einval)
{
	char text[256] = "[";
	struct vly_addr addr;

	memset(text + 1, 'f', 200);
	strcpy(text + 201, "]:80");
	cr_assert_eq(vly_addr_parse(text, &addr), -EINVAL);
	text[0] = '1';
	memset(text + 1, '1', 200);
	strcpy(text + 201, ":80");
	cr_assert_eq(vly_addr_parse(text, &addr), -EINVAL);
}

Test(addr, unix_path_of_107_bytes_is_taken_and_of_108_is_not)
{
	char text[5 + 108 + 1] = "unix:";
	struct vly_addr addr;

	memset(text + 5, 'p', 107);
	check_round_trip(text, text);
	text[5 + 107] = 'p';
	cr_assert_eq(vly_addr_parse(text, &addr), -EINVAL);
}

Test(addr, formatted_text_is_cut_and_terminated)
{
	struct vly_addr addr;
	char text[8];

	cr_assert_eq(vly_addr_parse("192.0.2.1:80", &addr), 0);
	memset(text, 'x', sizeof(text));
	vly_addr_format(&addr, text, sizeof(text));
	cr_assert_str_eq(text, "192.0.2");
	addr = (struct vly_addr){0};
	cr_assert_str_eq(vly_addr_format(&addr, text, sizeof(text)), "none");
}

Test(addr, longest_text_of_every_family_fits)
{
	struct vly_addr addr = {.family = VLY_IP6, .port = 65535, .scope_id = UINT32_MAX};
	char text[VLY_ADDR_TEXT_MAX + 1];

	memset(addr.ip6, 0xff, sizeof(addr.ip6));
	memset(text, 'x', sizeof(text));
	vly_addr_format(&addr, text, VLY_ADDR_TEXT_MAX);
	cr_assert_str_eq(text, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
	addr = (struct vly_addr){.family = VLY_UNIX, .path_len = sizeof(addr.path)};
	memset(addr.path, 'p', sizeof(addr.path));
	vly_addr_format(&addr, text, VLY_ADDR_TEXT_MAX);
	cr_assert_eq(strlen(text), 5 + sizeof(addr.path));
}

Test(addr, equal_looks_at_family_port_address_and_scope)
{
	static const char *const texts[] = {
		"192.0.2.1:80",   "192.0.2.1:81", "192.0.2.2:80", "[fe80::1]:80",
		"[fe80::1%1]:80", "[fe80::2]:80", "[fe80::1]:81", "unix:/a",
		"unix:/ab",       "unix:@a",      "unix:@ab",
	};
	const size_t count = sizeof(texts) / sizeof(texts[0]);

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < count; j++) {
			struct vly_addr a, b;

			cr_assert_eq(vly_addr_parse(texts[i], &a), 0);
			cr_assert_eq(vly_addr_parse(texts[j], &b), 0);
			cr_assert_eq(vly_addr_equal(&a, &b), i == j, "%s, %s", texts[i], texts[j]);
		}
	}
}

Test(addr, sockaddr_of_ip_addresses_comes_back)
{
	struct vly_addr addr;

	cr_assert_eq(vly_addr_parse("192.0.2.1:8080", &addr), 0);
	check_sockets(&addr, sizeof(struct sockaddr_in));
	cr_assert_eq(vly_addr_parse("[fe80::1%3]:8080", &addr), 0);
	check_sockets(&addr, sizeof(struct sockaddr_in6));
}

Test(addr, sockaddr_is_in_network_order_and_carries_the_scope)
{
	struct sockaddr_storage storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
	struct vly_addr addr;

	cr_assert_eq(vly_addr_parse("[fe80::1%3]:8080", &addr), 0);
	vly_addr_to_sockaddr(&addr, &storage);
	cr_assert_eq(in6->sin6_family, AF_INET6);
	cr_assert_eq(in6->sin6_port, htons(8080));
	cr_assert_eq(in6->sin6_scope_id, 3);
	cr_assert_eq(in6->sin6_addr.s6_addr[0], 0xfe);
}

Test(addr, abstract_name_is_as_long_as_it_is_said_to_be)
{
	struct vly_addr addr = {.family = VLY_UNIX, .path_len = 5};
	socklen_t head = offsetof(struct sockaddr_un, sun_path);

	memcpy(addr.path, "\0a\0b\0", 5); /* NULs inside are part of the name */
	check_sockets(&addr, head + 5);
	addr.path_len = sizeof(addr.path);
	memset(addr.path + 1, 'n', sizeof(addr.path) - 1);
	check_sockets(&addr, head + sizeof(addr.path));
}

Test(addr, path_ends_with_its_nul_where_there_is_room)
{
	struct vly_addr addr = {.family = VLY_UNIX, .path_len = 107};
	socklen_t head = offsetof(struct sockaddr_un, sun_path);

	memset(addr.path, 'p', sizeof(addr.path));
	check_sockets(&addr, head + 108);
	addr.path_len = 108;
	check_sockets(&addr, head + 108);
}

Test(addr, path_longer_than_a_sockets_is_no_sockaddr)
{
	struct vly_addr addr = {.family = VLY_UNIX, .path_len = 109};
	struct sockaddr_storage storage;

	cr_assert_eq(vly_addr_to_sockaddr(&addr, &storage), 0);
}

Test(addr, unnamed_and_foreign_sockets_have_an_address_without_content)
{
	struct sockaddr_storage storage = {.ss_family = AF_UNIX};
	struct vly_addr addr;

	vly_addr_from_sockaddr(&storage, sizeof(sa_family_t), &addr);
	cr_assert_eq(addr.family, VLY_UNIX);
	cr_assert_eq(addr.path_len, 0);
	storage.ss_family = AF_NETLINK;
	vly_addr_from_sockaddr(&storage, sizeof(storage), &addr);
	cr_assert_eq(addr.family, VLY_NO_FAMILY);
	vly_addr_from_sockaddr(&storage, 0, &addr);
	cr_assert_eq(addr.family, VLY_NO_FAMILY);
	cr_assert_eq(vly_addr_to_sockaddr(&addr, &storage), 0);
}

Test(addr, kernel_agrees_about_abstract_names)
{
	struct sockaddr_storage storage;
	struct vly_addr addr, back;
	char text[64];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(text, sizeof(text), "unix:@vly-test-addr-%d", (int)getpid());
	cr_assert_eq(vly_addr_parse(text, &addr), 0);
	socklen_t len = vly_addr_to_sockaddr(&addr, &storage);

	cr_assert_eq(bind(fd, (struct sockaddr *)&storage, len), 0);
	len = sizeof(storage);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&storage, &len), 0);
	vly_addr_from_sockaddr(&storage, len, &back);
	cr_assert(vly_addr_equal(&addr, &back));
	close(fd);
}
