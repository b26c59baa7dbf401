/* test_send.c - what a send needs, who shares the pool, who waits for it */
#include "engine/core.h"

#include <sys/mman.h>

#include "tests/support/rig.h"

TestSuite(send, .fini = vly_leak_gate, .timeout = 60);

#define BUF 256u
#define LINKS_MAX 8

static struct rig rig;
static struct vly_config config;
static vly_conn conns[LINKS_MAX];
static int fds[LINKS_MAX], links;
static const uint8_t junk[64 * BUF];

static void open_links(int count, uint32_t tx_bufs, uint32_t tx_refs)
{
	rig_config(&config);
	config.tx_bufs = tx_bufs;
	config.tx_refs = tx_refs;
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	for (links = 0; links < count; links++)
		conns[links] = rig_accept(&rig, &fds[links]);
}

static void close_links(void)
{
	rig_close(&rig);
	while (links > 0)
		close(fds[--links]);
}

static int send_on(int link, uint32_t len)
{
	return vly_send(rig.core[0], conns[link], junk, len);
}

static uint32_t bufs_free(void)
{
	return vly_buf_free_count(&rig.core[0]->env.tx_pool);
}

Test(send, takes_as_many_buffers_as_its_bytes_need)
{
	static const uint32_t lens[] = {1,           BUF - 1, BUF,        BUF + 1,
					2 * BUF - 1, 2 * BUF, 2 * BUF + 1};

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		open_links(1, 64, 8);
		cr_assert_eq(send_on(0, lens[i]), 0);
		cr_assert_eq(64 - bufs_free(), (lens[i] + BUF - 1) / BUF, "%u", lens[i]);
		close_links();
	}
}

Test(send, fills_the_room_of_the_last_buffer_first)
{
	for (uint32_t first = BUF - 1; first <= BUF + 1; first++) {
		for (uint32_t second = BUF - 1; second <= BUF + 1; second++) {
			open_links(1, 64, 8);
			cr_assert_eq(send_on(0, first), 0);
			cr_assert_eq(send_on(0, second), 0);
			cr_assert_eq(64 - bufs_free(), (first + second + BUF - 1) / BUF,
				     "%u then %u", first, second);
			cr_assert_eq(rig_head(&rig, conns[0])->tx_bytes, first + second);
			close_links();
		}
	}
}

Test(send, message_of_the_whole_pool_is_taken_and_one_byte_more_is_emsgsize)
{
	open_links(1, 4, 8);
	cr_assert_eq(send_on(0, 4 * BUF + 1), -EMSGSIZE);
	cr_assert_eq(send_on(0, 4 * BUF), 0);
	cr_assert_eq(bufs_free(), 0);
	close_links();
}

Test(send, copy_behind_lent_memory_starts_a_buffer)
{
	open_links(1, 4, 8);
	cr_assert_eq(send_on(0, 10), 0);
	cr_assert_eq(vly_send_owned(rig.core[0], conns[0], junk, 10, NULL), 0);
	cr_assert_eq(send_on(0, 10), 0);
	cr_assert_eq(bufs_free(), 2, "lent memory is not written into");
	close_links();
}

Test(send, empty_owned_piece_is_sent_once)
{
	int cookie;

	open_links(1, 4, 8);
	alarm(5); /* a loop without end is the failure */
	cr_assert_eq(vly_send_owned(rig.core[0], conns[0], junk, 0, &cookie), 0);
	cr_assert_eq(rig_await(&rig, conns[0], VLY_SENT).data, (void *)&cookie);
	close_links();
}

Test(send, one_that_has_something_queued_gets_no_more_than_is_left_for_the_others)
{
	open_links(1, 8, 8);
	cr_assert_eq(send_on(0, 4 * BUF), 0);
	cr_assert_eq(send_on(0, 1), -EAGAIN, "5 of 8 buffers");
	cr_assert_eq(rig.core[0]->env.stats->tx_blocked_budget, 1);
	cr_assert_eq(rig.core[0]->env.stats->tx_blocked_pool, 0);
	cr_assert_eq(rig_head(&rig, conns[0])->tx_mark, 2 * BUF);
	rig_await(&rig, conns[0], VLY_DRAINED);
	cr_assert_eq(send_on(0, 1), 0);
	close_links();
}

/* Everybody but link 0, which takes the whole pool, comes to wait. */
static void starve_all(void)
{
	cr_assert_eq(send_on(0, config.tx_bufs * BUF), 0);
	for (int i = 1; i < links; i++)
		cr_assert_eq(send_on(i, 1), -EAGAIN);
	cr_assert_eq(rig.core[0]->env.stats->tx_blocked_pool, links - 1);
}

Test(send, starved_ones_are_granted_in_their_order)
{
	struct vly_event *events;
	int next = 1;

	open_links(6, 4, 8);
	starve_all();
	for (int polls = 0; polls < 20 && next < 6; polls++) {
		int count = vly_poll(rig.core[0], &events, 0);

		for (int i = 0; i < count; i++) {
			if (events[i].kind == VLY_DRAINED)
				cr_assert_eq(events[i].conn, conns[next++]);
		}
	}
	cr_assert_eq(next, 6);
	close_links();
}

Test(send, grant_is_kept_for_its_batch_and_lapses_with_it)
{
	struct vly_event *events;

	open_links(6, 4, 8);
	starve_all();
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 4, "as many as there are buffers");
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].granted, 4);
	cr_assert_eq(send_on(0, 1), -EAGAIN, "all is promised, and somebody waits");
	cr_assert_eq(send_on(4, 1), 0);
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].granted, 3);
	cr_assert_eq(send_on(3, 1), 0);
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].granted, 2);
	/* Links 1 and 2 do not use theirs. */
	cr_assert_geq(vly_poll(rig.core[0], &events, 0), 2);
	cr_assert_eq(events[0].conn, conns[5]);
	cr_assert_eq(events[1].conn, conns[0]);
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].head, VLY_NO_SLOT);
	close_links();
}

Test(send, granted_one_that_starves_again_forgets_nobody)
{
	bool drained[LINKS_MAX] = {false};
	struct vly_event *events;

	open_links(8, 4, 8);
	cr_assert_eq(send_on(0, 4 * BUF), 0);
	for (int i = 1; i < 5; i++)
		cr_assert_eq(send_on(i, 1), -EAGAIN);
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 4);
	cr_assert_eq(send_on(2, BUF), 0);
	cr_assert_eq(send_on(2, BUF), -EAGAIN, "what is left is the others'");
	cr_assert(rig_head(&rig, conns[2])->flags & VLY_F_TX_STARVED);
	for (int i = 5; i < 8; i++)
		cr_assert_eq(send_on(i, 1), -EAGAIN);
	for (int polls = 0; polls < 10; polls++) {
		int count = vly_poll(rig.core[0], &events, 0);

		for (int e = 0; e < count; e++) {
			for (int i = 0; i < links; i++)
				drained[i] |= events[e].conn == conns[i];
		}
	}
	cr_assert(drained[2] && drained[5] && drained[6] && drained[7]);
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].head, VLY_NO_SLOT);
	cr_assert_eq(rig.core[0]->env.starved[VLY_TX_COPIES].tail, VLY_NO_SLOT);
	close_links();
}

/* A copy needs buffers only: few references must not keep it waiting for ever. */
Test(send, starved_copy_larger_than_all_references_is_drained)
{
	struct vly_event event;

	open_links(2, 8, 1);
	cr_assert_eq(send_on(0, 8 * BUF), 0);
	cr_assert_eq(send_on(1, 2 * BUF), -EAGAIN);
	cr_assert(rig_find(&rig, conns[1], VLY_DRAINED, &event, 20), "DRAINED never comes");
	cr_assert_eq(send_on(1, 2 * BUF), 0);
	close_links();
}

/* Lent memory in front of a peer that does not read is its own connection's trouble. */
Test(send, one_stuck_with_lent_memory_leaves_references_and_copies_to_the_others)
{
	struct vly_event event;
	int small = 4096;

	open_links(3, 64, 4);
	cr_assert_eq(setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (int i = 0; i < RIG_TRIES && vly_buf_free_count(&rig.core[0]->env.ref_pool); i++) {
		(void)vly_send_owned(rig.core[0], conns[0], junk, 4096, NULL);
		rig_spin(&rig, 2);
	}
	if (vly_send_owned(rig.core[0], conns[1], junk, 1, NULL) == -EAGAIN)
		cr_expect(rig_find(&rig, conns[1], VLY_DRAINED, &event, 20),
			  "one connection holds every reference for ever");
	if (send_on(2, 1) == -EAGAIN)
		cr_expect(rig_find(&rig, conns[2], VLY_DRAINED, &event, 20),
			  "a copy waits behind it, with all %u buffers home", bufs_free());
	close_links();
}

Test(send, budget_of_a_listener_beyond_the_limit_is_einval)
{
	struct vly_listen_opts opts = {.tx_budget = (1u << 30) + 1};
	vly_conn listener;

	open_links(0, 8, 8);
	cr_assert_eq(vly_listen(rig.core[0], &rig.addr, &opts, NULL, &listener), -EINVAL);
	close_links();
}

/* The count of buffers for it wraps 32 bits. */
Test(send, longest_message_of_all_is_emsgsize_whatever_the_budget)
{
	struct vly_listen_opts opts = {.tx_budget = UINT32_MAX};
	void *data = mmap(NULL, UINT32_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	struct vly_addr any;
	vly_conn listener;

	cr_assert_neq(data, MAP_FAILED);
	open_links(0, 8, 8);
	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &any), 0);
	if (vly_listen(rig.core[0], &any, &opts, NULL, &listener) == 0) {
		cr_assert_eq(vly_name(rig.core[0], listener, &rig.addr, NULL), 0);
		conns[0] = rig_accept(&rig, &fds[0]);
		links = 1;
		cr_assert_eq(vly_send(rig.core[0], conns[0], data, UINT32_MAX), -EMSGSIZE);
	}
	close_links();
	munmap(data, UINT32_MAX);
}
