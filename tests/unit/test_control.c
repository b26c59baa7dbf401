/* test_control.c - messages between the bench and its processes */
#include "bench/control.h"

#include "tests/support/leak.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS INT64_C(20000000000)

static struct control a, b;
static char why[256];

static void open_pair(void)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	control_init(&a, ends[0]);
	control_init(&b, ends[1]);
}

static void close_pair(void)
{
	control_fini(&a);
	control_fini(&b);
	vly_leak_gate();
}

static void write_raw(const char *text)
{
	cr_assert_eq(write(a.fd, text, strlen(text)), (ssize_t)strlen(text));
}

TestSuite(control, .init = open_pair, .fini = close_pair);

Test(control, messages_arrive_whole_and_in_order)
{
	json_t *message;

	for (int i = 0; i < 100; i++)
		cr_assert_eq(control_send(&a, json_pack("{s:s, s:i}", "type", "n", "i", i)), 0);
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(control_receive(&b, &message, PATIENCE_NS), 1);
		cr_assert_str_eq(control_type(message), "n");
		cr_assert_eq(control_int(message, "i", -1), i);
		json_decref(message);
	}
	cr_assert_eq(control_receive(&b, &message, 0), 0);
	cr_assert_null(message);
}

Test(control, pieces_of_a_line_are_put_together)
{
	json_t *message;

	write_raw("{\"type\":");
	cr_assert_eq(control_receive(&b, &message, 0), 0);
	write_raw("\"x\"}\n{\"type\":\"y\"}");
	cr_assert_eq(control_receive(&b, &message, 0), 1);
	cr_assert_str_eq(control_type(message), "x");
	json_decref(message);
	cr_assert_eq(control_receive(&b, &message, 0), 0);
	write_raw("\n");
	cr_assert_eq(control_receive(&b, &message, 0), 1);
	cr_assert_str_eq(control_type(message), "y");
	json_decref(message);
}

Test(control, line_breaks_in_text_stay_inside_a_message)
{
	json_t *message;

	cr_assert_eq(control_send(&a, json_pack("{s:s}", "type", "one\ntwo")), 0);
	cr_assert_eq(control_receive(&b, &message, PATIENCE_NS), 1);
	cr_assert_str_eq(control_type(message), "one\ntwo");
	json_decref(message);
}

Test(control, what_is_no_object_is_a_protocol_error)
{
	static const char *const bad[] = {"GET / HTTP/1.1\r\n", "[1]\n", "\n",
					  "{\"a\":1,\"a\":2}\n"};
	json_t *message;

	for (size_t i = 0; i < 4; i++) {
		write_raw(bad[i]);
		cr_assert_eq(control_receive(&b, &message, PATIENCE_NS), -EPROTO, "%s", bad[i]);
		cr_assert_null(message);
	}
}

Test(control, peer_that_is_gone_is_told_both_ways)
{
	json_t *message;

	cr_assert_eq(control_send(&a, json_pack("{s:s}", "type", "last")), 0);
	control_fini(&a);
	cr_assert_eq(control_receive(&b, &message, PATIENCE_NS), 1);
	json_decref(message);
	cr_assert_eq(control_receive(&b, &message, PATIENCE_NS), -EPIPE);
	cr_assert_eq(control_send(&b, json_pack("{s:s}", "type", "x")), -EPIPE);
	cr_assert_eq(control_receive(&a, &message, 0), -EPIPE);
}

Test(control, message_that_could_not_be_made_is_an_error_not_a_crash)
{
	cr_assert_eq(control_send(&a, NULL), -ENOMEM);
}

Test(control, handshake_tells_the_peers_role)
{
	char role[32] = "";

	/* Both sides speak first: the answer may be there before the question. */
	cr_assert_eq(control_send(&a, json_pack("{s:s, s:s, s:i, s:s}", "type", "hello", "magic",
						CONTROL_MAGIC, "version", CONTROL_VERSION, "role",
						"load")),
		     0);
	cr_assert_eq(control_hello(&b, "bench", role, sizeof(role), PATIENCE_NS, why, sizeof(why)),
		     0);
	cr_assert_str_eq(role, "load");
	cr_assert_eq(control_hello(&a, "load", role, sizeof(role), PATIENCE_NS, why, sizeof(why)),
		     0);
	cr_assert_str_eq(role, "bench");
}

Test(control, handshake_names_both_versions)
{
	cr_assert_eq(control_send(&a,
				  json_pack("{s:s, s:i}", "magic", CONTROL_MAGIC, "version", 99)),
		     0);
	cr_assert_eq(control_hello(&b, "bench", NULL, 0, PATIENCE_NS, why, sizeof(why)), -EPROTO);
	cr_assert_not_null(strstr(why, "version 99"), "%s", why);
	cr_assert_not_null(strstr(why, "this volley version 1"), "%s", why);
}

Test(control, handshake_refuses_who_is_no_volley)
{
	write_raw("{\"magic\":\"something\"}\n");
	cr_assert_eq(control_hello(&b, "bench", NULL, 0, PATIENCE_NS, why, sizeof(why)), -EPROTO);
	cr_assert_not_null(strstr(why, "something"), "%s", why);
	write_raw("220 smtp ready\n");
	cr_assert_eq(control_hello(&b, "bench", NULL, 0, PATIENCE_NS, why, sizeof(why)), -EPROTO);
	cr_assert_eq(control_hello(&b, "bench", NULL, 0, 1000000, why, sizeof(why)), -ETIMEDOUT);
}

Test(control, missing_and_mistyped_members_take_the_fallback)
{
	json_t *message = json_pack("{s:s, s:i, s:f}", "text", "t", "int", 5, "real", 2.5);

	cr_assert_eq(control_int(message, "int", -1), 5);
	cr_assert_eq(control_int(message, "text", -1), -1);
	cr_assert_eq(control_int(message, "none", -1), -1);
	cr_assert(control_real(message, "real", 0) > 2.4);
	cr_assert(control_real(message, "int", 0) > 4.9);
	cr_assert_str_eq(control_text(message, "text", ""), "t");
	cr_assert_str_eq(control_text(message, "int", "no"), "no");
	cr_assert_str_eq(control_type(message), "");
	json_decref(message);
}
