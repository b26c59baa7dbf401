/* test_handle.c - a stale or foreign handle is an error on every call, never another connection */
#include "tests/contract/harness.h"

TestSuite(handle, .fini = vly_leak_gate, .timeout = 120);

/* A DATA event of the current batch, for vly_send_event. */
static struct vly_event *data_event;

static int call_send(struct vly_core *core, vly_conn conn)
{
	return vly_send(core, conn, "x", 1);
}

static int call_sendv(struct vly_core *core, vly_conn conn)
{
	struct iovec iov = {(void *)(uintptr_t) "x", 1};

	return vly_sendv(core, conn, &iov, 1);
}

static int call_send_owned(struct vly_core *core, vly_conn conn)
{
	return vly_send_owned(core, conn, "x", 1, NULL);
}

static int call_send_event(struct vly_core *core, vly_conn conn)
{
	return vly_send_event(core, conn, data_event);
}

static int call_set_user(struct vly_core *core, vly_conn conn)
{
	return vly_set_user(core, conn, NULL);
}

static int call_name(struct vly_core *core, vly_conn conn)
{
	return vly_name(core, conn, NULL, NULL);
}

static int call_sendto(struct vly_core *core, vly_conn conn)
{
	struct vly_addr to = addr_parsed("127.0.0.1:9");

	return vly_sendto(core, conn, &to, "x", 1);
}

static const struct call {
	const char *name;
	int (*fn)(struct vly_core *core, vly_conn conn);
} calls[] = {
	{"vly_send", call_send},
	{"vly_sendv", call_sendv},
	{"vly_send_owned", call_send_owned},
	{"vly_send_event", call_send_event},
	{"vly_sendto", call_sendto},
	{"vly_set_user", call_set_user},
	{"vly_name", call_name},
	{"vly_shutdown", vly_shutdown},
	{"vly_pause", vly_pause},
	{"vly_resume", vly_resume},
	{"vly_close", vly_close},
	{"vly_abort", vly_abort},
	{"vly_unlisten", vly_unlisten},
};

#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* What the hook below is to try inside a DATA event of SERVER. */
struct attempt {
	vly_conn conn;
	int want;
	bool done;
};

static void try_all(struct world *w, unsigned core, struct vly_event *event)
{
	struct attempt *attempt = w->arg;

	if (core != SERVER || event->kind != VLY_DATA || attempt->done)
		return;
	data_event = event;
	for (size_t i = 0; i < CALLS; i++) {
		int status = calls[i].fn(w->core[core], attempt->conn);

		cr_assert(status == attempt->want, "%s returned %d, not %d", calls[i].name, status,
			  attempt->want);
	}
	attempt->done = true;
}

/* Tries every call on `conn` from SERVER's batch, and checks that `link` lives on unharmed. */
static void expect_of_all(struct world *w, struct link link, vly_conn conn, int want)
{
	struct attempt attempt = {.conn = conn, .want = want};
	uint64_t before = got_bytes(w, link.server);

	w->arg = &attempt;
	w->on_event = try_all;
	world_send(w, CLIENT, link.client, "ping", 4);
	pump_until(w, attempt.done && got_bytes(w, link.server) == before + 4);
	w->on_event = NULL;
	before = got_bytes(w, link.client);
	world_send(w, SERVER, link.server, "pong", 4);
	pump_until(w, got_bytes(w, link.client) == before + 4);
	world_quiet(w);
	check_eq(got_bytes(w, link.client), before + 4);
	check_eq(seen(w, link.server, VLY_CLOSED), 0);
	check_eq(seen(w, link.client, VLY_CLOSED), 0);
	check_eq(seen(w, link.client, VLY_EOF), 0);
}

/* Closes both ends and waits for both CLOSED. */
static void part(struct world *w, struct link link)
{
	check_eq(vly_close(w->core[CLIENT], link.client), 0);
	check_eq(vly_close(w->core[SERVER], link.server), 0);
	pump_until(w, seen(w, link.client, VLY_CLOSED) && seen(w, link.server, VLY_CLOSED));
}

Test(handle, that_is_stale_is_enotconn_for_every_call)
{
	struct world w;
	struct link old = world_open_link(&w), link;

	part(&w, old);
	link = world_link(&w);
	expect_of_all(&w, link, old.server, -ENOTCONN);
	world_close(&w);
}

Test(handle, of_another_core_is_exdev_for_every_call)
{
	struct world w;
	struct link link = world_open_link(&w);

	expect_of_all(&w, link, link.client, -EXDEV);
	world_close(&w);
}

Test(handle, of_a_core_that_does_not_exist_is_exdev)
{
	struct world w;
	struct link link = world_open_link(&w);
	vly_conn conn = link.server | ((vly_conn)200 << (VLY_SLOT_BITS + VLY_GENERATION_BITS));

	expect_of_all(&w, link, conn, -EXDEV);
	world_close(&w);
}

Test(handle, zero_is_never_valid)
{
	struct world w;
	struct link link = world_open_link(&w);

	expect_of_all(&w, link, 0, -ENOTCONN);
	world_close(&w);
}

Test(handle, of_another_generation_is_enotconn)
{
	struct world w;
	struct link link = world_open_link(&w);
	vly_conn step = (vly_conn)1 << VLY_SLOT_BITS;

	expect_of_all(&w, link, link.server + step, -ENOTCONN);
	expect_of_all(&w, link, link.server - step, -ENOTCONN);
	world_close(&w);
}

Test(handle, with_a_slot_beyond_the_table_is_enotconn)
{
	struct world w;
	struct link link = world_open_link(&w);
	vly_conn last = (1u << VLY_SLOT_BITS) - 1;

	expect_of_all(&w, link, link.server | last, -ENOTCONN);
	expect_of_all(&w, link, (link.server & ~last) | 64, -ENOTCONN);
	world_close(&w);
}

Test(handle, of_a_slot_that_was_never_used_is_enotconn)
{
	struct world w;
	struct link link = world_open_link(&w);
	vly_conn mask = (1u << VLY_SLOT_BITS) - 1;

	expect_of_all(&w, link, (link.server & ~mask) | 20, -ENOTCONN);
	world_close(&w);
}

Test(handle, names_its_core_and_a_slot_below_conns_max)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_conn_core(link.server), SERVER);
	check_eq(vly_conn_core(link.client), CLIENT);
	for (int i = 0; i < 20; i++) {
		link = world_link(&w);
		check_at_most(vly_conn_slot(link.server), 63);
		check_at_most(vly_conn_slot(link.client), 63);
	}
	world_close(&w);
}

Test(handle, of_a_reused_slot_is_new_and_the_old_ones_stay_stale)
{
	struct world w;
	struct vly_config config;
	struct link old[300], link;

	/* A listener and two connections: every slot is reused again and again. */
	world_config(&config, 2);
	config.conns_max = 3;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 300; i++) {
		old[i] = world_link(&w);
		for (int j = 0; j < i; j++) {
			cr_assert(old[j].server != old[i].server && old[j].client != old[i].client);
			check_eq(vly_send(w.core[SERVER], old[j].server, "x", 1), -ENOTCONN);
			check_eq(vly_abort(w.core[CLIENT], old[j].client), -ENOTCONN);
		}
		part(&w, old[i]);
		check_eq(got_bytes(&w, old[i].client), 0);
	}
	link = world_link(&w);
	world_send(&w, SERVER, link.server, "hello", 5);
	pump_until(&w, got_text(&w, link.client, "hello"));
	world_close(&w);
}

Test(handle, is_stale_from_its_closed_on)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	for (size_t i = 0; i < CALLS; i++) {
		if (calls[i].fn == call_send_event)
			continue;
		check_eq(calls[i].fn(w.core[CLIENT], link.client), -ENOTCONN);
		check_eq(calls[i].fn(w.core[SERVER], link.server), -ENOTCONN);
	}
	world_close(&w);
}
