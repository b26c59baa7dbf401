/* test_uring_race.c - ends that cross: cancels beside completions, closes and dead peers with everything in flight */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/support/uring_rig.h"

TestSuite(uring_race, .fini = vly_leak_gate, .timeout = 120);

#if defined(__SANITIZE_ADDRESS__)
#define SHORTER 4
#else
#define SHORTER 1
#endif

/* --- a receive is cancelled while it completes -------------------------------------------------------------------------------- */

#define TALKERS 8
#define TALK_BYTES (2000000u / SHORTER)

struct talk {
	int fds[TALKERS];
	vly_conn conns[TALKERS];
	uint32_t got[TALKERS];
	unsigned pauses;
	bool faulty;
};

static uint8_t word_at(uint32_t talker, uint32_t at)
{
	return (uint8_t)(talker * 31 + at % 251 + at / 251);
}

/* Small pieces to all of them in turn, as fast as they are taken. */
static void *talk_on(void *arg)
{
	struct talk *talk = arg;
	uint8_t piece[700];

	for (uint32_t at = 0; at < TALK_BYTES;) {
		uint32_t len = at + 700 < TALK_BYTES ? 1 + at % 700 : TALK_BYTES - at;

		for (uint32_t i = 0; i < TALKERS; i++) {
			for (uint32_t j = 0; j < len; j++)
				piece[j] = word_at(i, at + j);
			for (uint32_t sent = 0; sent < len;) {
				ssize_t done = write(talk->fds[i], piece + sent, len - sent);

				if (done <= 0)
					return NULL;
				sent += (uint32_t)done;
			}
		}
		at += len;
	}
	return NULL;
}

static void listen_to(struct server *server, struct talk *talk, const struct vly_event *event)
{
	uint32_t i = 0;

	if (event->kind != VLY_DATA)
		return;
	while (i < TALKERS && talk->conns[i] != event->conn)
		i++;
	/* The first bytes tell who it is: each begins with its own. */
	if (i == TALKERS) {
		for (i = 0; i < TALKERS && word_at(i, 0) != event->data[0]; i++)
			;
		cr_assert(i < TALKERS && !talk->conns[i]);
		talk->conns[i] = event->conn;
	}
	for (uint32_t j = 0; j < event->len; j++)
		talk->faulty |= event->data[j] != word_at(i, talk->got[i] + j);
	talk->got[i] += event->len;
	/* The receive is cancelled while more comes; a third of them is taken back at once. */
	cr_assert_eq(vly_pause(server->core, event->conn), 0);
	talk->pauses++;
	if (talk->pauses % 3 == 0)
		cr_assert_eq(vly_resume(server->core, event->conn), 0);
}

static void resume_all(struct server *server, const struct talk *talk)
{
	for (uint32_t i = 0; i < TALKERS; i++)
		if (talk->conns[i])
			cr_assert_eq(vly_resume(server->core, talk->conns[i]), 0);
}

static bool heard_all(const struct talk *talk)
{
	for (uint32_t i = 0; i < TALKERS; i++)
		if (talk->got[i] < TALK_BYTES)
			return false;
	return true;
}

Test(uring_race, receive_cancelled_while_it_completes_loses_no_byte)
{
	struct vly_config config;
	struct server server;
	struct talk talk = {.pauses = 0};
	pthread_t thread;

	need_uring("uring");
	small_config(&config, "uring");
	server_open(&server, &config);
	for (unsigned i = 0; i < TALKERS; i++)
		talk.fds[i] = client_connect(&server);
	cr_assert_eq(pthread_create(&thread, NULL, talk_on, &talk), 0);
	for (unsigned round = 0; !heard_all(&talk); round++) {
		struct vly_event *events;
		int count = vly_poll(server.core, &events, MSEC);

		for (int i = 0; i < count; i++)
			listen_to(&server, &talk, &events[i]);
		/* Before the cancel is handed over, or a poll after it. */
		if (round % 2)
			vly_flush(server.core);
		resume_all(&server, &talk);
	}
	pthread_join(thread, NULL);
	cr_assert_not(talk.faulty);
	for (unsigned i = 0; i < TALKERS; i++) {
		cr_assert_eq(talk.got[i], TALK_BYTES);
		close(talk.fds[i]);
	}
	cr_assert_gt(talk.pauses, 100);
	server_close(&server);
}

/* --- everything is in flight when the end comes ------------------------------------------------------------------------------- */

#define CROWD 64
#define LOAD_BYTES 300000u

static uint8_t load[LOAD_BYTES];

struct ends {
	unsigned opens, closes, sents, owned;
	bool finish; /* at the next DATA: closes and aborts everybody in the batch, in turn */
};

static void open_loaded(struct server *server, const char *nic)
{
	struct vly_config config;

	small_config(&config, nic);
	config.tx_budget = 1 << 20;
	config.tx_bufs = 256;
	config.tx_buf_bytes = 2048;
	config.tx_refs = 1024;
	config.close_timeout_ns = 100 * MSEC;
	server_open(server, &config);
}

static void lend(struct server *server, struct ends *ends, vly_conn conn, uint32_t len)
{
	int status = vly_send_owned(server->core, conn, load, len, &ends->owned);

	cr_assert(status == 0 || status == -EAGAIN || status == -ENOTCONN, "%d", status);
	ends->owned += status == 0;
}

static void ends_poll(struct server *server, struct ends *ends, int64_t timeout_ns)
{
	struct vly_event *events;
	int count = vly_poll(server->core, &events, timeout_ns);

	cr_assert(count >= 0);
	for (int i = 0; i < count; i++) {
		struct vly_event *event = &events[i];

		ends->opens += event->kind == VLY_OPEN;
		ends->closes += event->kind == VLY_CLOSED;
		ends->sents += event->kind == VLY_SENT;
		if (event->kind == VLY_OPEN) /* more than the socket takes: it stays in flight */
			lend(server, ends, event->conn, LOAD_BYTES);
		if (event->kind != VLY_DATA)
			continue;
		lend(server, ends, event->conn, 40000);
		vly_send(server->core, event->conn, event->data, event->len);
		if (ends->finish && i % 3 == 0)
			vly_close(server->core, event->conn);
		else if (ends->finish)
			vly_abort(server->core, event->conn);
		if (ends->finish && i % 3 == 2)
			vly_flush(server->core);
	}
}

static int connect_small(const struct server *server)
{
	int fd = client_connect(server), bytes = 4096;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

static void reset_by_peer(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static void all_is_home(struct server *server, const struct ends *ends,
			const struct vly_stats *before)
{
	for (int i = 0; i < 5; i++)
		server_poll(server, MSEC);
	struct vly_stats after = stats_of(server);

	cr_assert_eq(ends->sents, ends->owned, "%u of %u pieces came back", ends->sents,
		     ends->owned);
	cr_assert_eq(ends->closes, ends->opens);
	cr_assert_eq(after.conns, before->conns);
	cr_assert_eq(after.tx_bufs_free, before->tx_bufs_free);
	cr_assert_eq(after.tx_refs_free, before->tx_refs_free);
	cr_assert_eq(after.rx_bufs_free, before->rx_bufs_free);
}

static void end_inside_a_batch(const char *nic)
{
	struct server server;
	int fds[CROWD];

	need_uring(nic);
	open_loaded(&server, nic);
	server_poll(&server, 0);
	struct vly_stats before = stats_of(&server);

	for (unsigned round = 0; round < 12 / SHORTER; round++) {
		struct ends ends = {.opens = 0};

		for (unsigned i = 0; i < CROWD; i++)
			fds[i] = connect_small(&server);
		while (ends.opens < CROWD)
			ends_poll(&server, &ends, MSEC);
		/* Receives are armed, sends wait for room. */
		ends_poll(&server, &ends, 0);
		for (unsigned i = 0; i < CROWD; i++)
			cr_assert_eq(write(fds[i], "go", 2), 2);
		ends.finish = true;
		while (ends.closes < CROWD)
			ends_poll(&server, &ends, MSEC);
		for (unsigned i = 0; i < CROWD; i++)
			close(fds[i]);
		all_is_home(&server, &ends, &before);
	}
	server_close(&server);
}

Test(uring_race, close_inside_a_batch_with_operations_in_flight_brings_everything_home)
{
	end_inside_a_batch("uring");
}

Test(uring_race, close_inside_a_batch_with_zero_copy_in_flight_brings_everything_home)
{
	end_inside_a_batch("uring:zc=1");
}

/* The peer dies at every moment: before the sends, between their hand-over and their answers, with the socket full. */
static void die_while_sent_to(const char *nic)
{
	struct server server;

	need_uring(nic);
	open_loaded(&server, nic);
	server_poll(&server, 0);
	struct vly_stats before = stats_of(&server);

	for (unsigned round = 0; round < 200 / SHORTER; round++) {
		struct ends ends = {.opens = 0};
		int fd = connect_small(&server);

		if (round % 4 == 0)
			reset_by_peer(fd);
		while (ends.opens < 1)
			ends_poll(&server, &ends, MSEC);
		if (round % 4 == 1) {
			reset_by_peer(fd);
		} else if (round % 4 > 1) {
			cr_assert_eq(write(fd, "talk", 4), 4);
			ends_poll(&server, &ends, round % 8 < 4 ? 0 : MSEC);
			if (round % 4 == 2)
				vly_flush(server.core);
			reset_by_peer(fd);
		}
		while (ends.closes < 1)
			ends_poll(&server, &ends, MSEC);
		all_is_home(&server, &ends, &before);
	}
	cr_assert_gt(stats_of(&server).closed_error, 0);
	server_close(&server);
}

Test(uring_race, send_to_a_dead_peer_brings_everything_home)
{
	die_while_sent_to("uring");
}

Test(uring_race, zero_copy_send_to_a_dead_peer_brings_everything_home)
{
	die_while_sent_to("uring:zc=1");
}

/* --- a storm of datagrams ----------------------------------------------------------------------------------------------------- */

#define DGRAMS 100u

Test(uring_race, datagrams_beyond_the_buffers_are_counted_as_starved_and_all_come)
{
	struct vly_config config;
	struct server server;
	struct vly_addr any;
	vly_conn udp;
	unsigned got = 0;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	need_uring("uring");
	small_config(&config, "uring");
	server_open(&server, &config);
	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &any), 0);
	cr_assert_eq(vly_udp_open(server.core, &any, NULL, &udp), 0);
	cr_assert_eq(vly_name(server.core, udp, &any, NULL), 0);
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(any.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < DGRAMS; i++)
			cr_assert_eq(send(fd, &i, sizeof(i), 0), (ssize_t)sizeof(i));
		for (unsigned next = 0; next < DGRAMS;) {
			struct vly_event *events;
			int count = vly_poll(server.core, &events, MSEC);

			for (int i = 0; i < count; i++) {
				unsigned number;

				cr_assert_eq(events[i].kind, VLY_DGRAM);
				memcpy(&number, events[i].data, sizeof(number));
				cr_assert_eq(number, next++);
				got++;
			}
		}
	}
	cr_assert_eq(got, 20 * DGRAMS);
	cr_assert_gt(stats_of(&server).rx_starved, 0);
	close(fd);
	server_close(&server);
}
