/* test_memory.c - after opening nothing allocates, maps, locks or logs */
#include "tests/contract/harness.h"
#include "tests/contract/intercept.h"

#include <stdatomic.h>
#include <stdlib.h>

TestSuite(memory, .fini = vly_leak_gate, .timeout = 120);

#define PAIRS 50
#define MESSAGES 1000000ull

static atomic_uint lines_logged;

static void count_line(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
	atomic_fetch_add(&lines_logged, 1);
}

/* Everything that the counted loop needs, taken beforehand: it may not allocate either. */
struct rally {
	struct vly_core *core;
	uint64_t messages; /* DATA seen, 64 bytes each */
	uint64_t other_lengths, failures;
	vly_conn client[PAIRS];
};

/* One poll; each message of 64 bytes is returned to where it came from. */
static void rally_once(struct rally *rally)
{
	struct vly_event *events;
	int count = vly_poll(rally->core, &events, -1);

	for (int i = 0; i < count; i++) {
		if (events[i].kind != VLY_DATA)
			continue;
		rally->messages++;
		rally->other_lengths += events[i].len != 64;
		rally->failures +=
			vly_send(rally->core, events[i].conn, events[i].data, events[i].len) != 0;
	}
}

static void rally_open(struct world *w, struct rally *rally, unsigned pairs)
{
	static const uint8_t ball[64];
	struct vly_config config;

	world_config(&config, 1);
	config.conns_max = 2 * PAIRS + 10;
	world_open_config(w, &config);
	world_listen(w, 0, NULL, NULL);
	memset(rally, 0, sizeof(*rally));
	rally->core = w->core[0];
	for (unsigned i = 0; i < pairs; i++)
		check_eq(vly_connect(w->core[0], &w->addr, NULL, NULL, &rally->client[i]), 0);
	pump_until(w, w->tracks.count[VLY_OPEN] == 2 * pairs);
	for (unsigned i = 0; i < pairs; i++)
		check_eq(vly_send(w->core[0], rally->client[i], ball, sizeof(ball)), 0);
}

Test(memory, a_million_messages_allocate_map_lock_and_log_nothing)
{
	struct world w;
	static struct rally rally;
	struct intercept got;

	need_talk_to_itself();
	if (!intercept_works())
		cr_skip_test("the sanitizer has taken the allocator");
	vly_log_set(count_line, NULL, VLY_LOG_DEBUG);
	rally_open(&w, &rally, PAIRS);
	atomic_store(&lines_logged, 0);
	intercept_begin();
	while (rally.messages < MESSAGES)
		rally_once(&rally);
	got = intercept_end();
	check_eq(got.allocations, 0);
	check_eq(got.mappings, 0);
	check_eq(got.locks, 0);
	check_eq(atomic_load(&lines_logged), 0);
	check_eq(rally.failures, 0);
	check_eq(rally.other_lengths, 0);
	world_close(&w);
}

Test(memory, gate_of_this_very_test_sees_an_allocation)
{
	struct intercept got;
	/* Out of the compiler's sight, which knows that the pair is of no use. */
	void *(*volatile allocate)(size_t size) = malloc;
	void (*volatile give_back)(void *block) = free;

	if (!intercept_works())
		cr_skip_test("the sanitizer has taken the allocator");
	intercept_begin();
	give_back(allocate(100));
	got = intercept_end();
	check_eq(got.allocations, 2);
}

/* One of everything: a stream opened, used in every way, and closed; a timer, mail, a datagram. */
static void whole_life(struct world *w, vly_conn udp, const struct vly_addr *udp_addr)
{
	struct vly_event *events;
	struct iovec iov = {(void *)(uintptr_t) "vector", 6};
	vly_conn client = 0;
	vly_timer timer;
	unsigned closed = 0, failures = 0;

	failures += vly_connect(w->core[0], &w->addr, NULL, NULL, &client) != 0;
	failures += vly_timer_start(w->core[0], 1000, NULL, &timer) != 0;
	failures += vly_mail(w->core[0], 0, "mail", 4) != 0;
	failures += vly_sendto(w->core[0], udp, udp_addr, "datagram", 8) != 0;
	while (closed < 2 && !failures) {
		int count = vly_poll(w->core[0], &events, -1);

		for (int i = 0; i < count; i++) {
			struct vly_event *event = &events[i];

			if (event->kind == VLY_OPEN && event->conn == client) {
				failures += vly_send(w->core[0], client, "copy", 4) != 0;
				failures += vly_sendv(w->core[0], client, &iov, 1) != 0;
				failures += vly_send_owned(w->core[0], client, "own", 3, NULL) != 0;
				failures += vly_shutdown(w->core[0], client) != 0;
			} else if (event->kind == VLY_DATA) {
				failures += vly_hold(w->core[0], event) != 0;
				if (event->conn != client)
					failures +=
						vly_send_event(w->core[0], event->conn, event) != 0;
				failures += vly_release(w->core[0], event->buf) != 0;
			} else if (event->kind == VLY_EOF) {
				failures += vly_close(w->core[0], event->conn) != 0;
			} else if (event->kind == VLY_CLOSED) {
				closed++;
			}
		}
	}
	cr_assert(!failures);
}

Test(memory, opening_using_and_closing_streams_allocates_maps_locks_and_logs_nothing)
{
	struct world w;
	struct vly_config config;
	struct vly_addr any, addr;
	struct intercept got;
	vly_conn udp;

	need_talk_to_itself();
	if (!intercept_works())
		cr_skip_test("the sanitizer has taken the allocator");
	vly_log_set(count_line, NULL, VLY_LOG_DEBUG);
	world_config(&config, 1);
	world_open_config(&w, &config);
	world_listen(&w, 0, NULL, NULL);
	any = world_addr(&w, 0);
	check_eq(vly_udp_open(w.core[0], &any, NULL, &udp), 0);
	check_eq(vly_name(w.core[0], udp, &addr, NULL), 0);
	atomic_store(&lines_logged, 0);
	intercept_begin();
	for (int i = 0; i < 500; i++)
		whole_life(&w, udp, &addr);
	got = intercept_end();
	check_eq(got.allocations, 0);
	check_eq(got.mappings, 0);
	check_eq(got.locks, 0);
	check_eq(atomic_load(&lines_logged), 0);
	world_close(&w);
}
