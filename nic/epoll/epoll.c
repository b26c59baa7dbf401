/* epoll.c - the epoll nic: opening, polling, the ready FIFO */
#include "nic/epoll/epoll.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "nic/epoll/calls.h"
#include "nic/epoll/private.h"
#include "nic/socket.h"

/*
 * One wait takes no more: at 10,000 connections a batch of 512 costs some 5% more CPU per message
 * than one of 64, because what it touches leaves the caches before the flush comes back to it. The
 * wait itself is then 1/64 of a call per message.
 */
#define EDGES_MAX 64

static void list_push(struct epoll_nic *epoll, struct conn_list *list, struct epoll_conn *conn)
{
	conn->next = VLY_NO_SLOT;
	conn->prev = list->tail;
	if (list->tail == VLY_NO_SLOT)
		list->head = vly_conn_index(&conn->head);
	else
		conn_at(epoll, list->tail)->next = vly_conn_index(&conn->head);
	list->tail = vly_conn_index(&conn->head);
	list->count++;
}

static void list_remove(struct epoll_nic *epoll, struct conn_list *list, struct epoll_conn *conn)
{
	if (conn->prev == VLY_NO_SLOT)
		list->head = conn->next;
	else
		conn_at(epoll, conn->prev)->next = conn->next;
	if (conn->next == VLY_NO_SLOT)
		list->tail = conn->prev;
	else
		conn_at(epoll, conn->next)->prev = conn->prev;
	list->count--;
}

void epoll_queue(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	if (conn->ready & (READY_QUEUED | READY_BLOCKED))
		return;
	conn->ready |= READY_QUEUED;
	list_push(epoll, &epoll->ready, conn);
}

void epoll_unqueue(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	if (conn->ready & READY_QUEUED)
		list_remove(epoll, &epoll->ready, conn);
	else if (conn->ready & READY_BLOCKED)
		list_remove(epoll, &epoll->blocked, conn);
	conn->ready &= ~(uint32_t)(READY_QUEUED | READY_BLOCKED);
}

int epoll_register(struct epoll_nic *epoll, struct epoll_conn *conn, uint32_t edges)
{
	struct epoll_event edge = {
		.events = edges,
		.data.u64 = conn->head.handle,
	};

	return epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, conn->fd, &edge) ? -errno : 0;
}

void epoll_let_go(struct epoll_nic *epoll, struct epoll_conn *conn, int status)
{
	epoll_unqueue(epoll, conn);
	/*
	 * A child may hold a duplicate: the registration must not outlive our descriptor. A watched
	 * one stays its owner's.
	 */
	if (conn->head.type == VLY_WATCH)
		epoll_ctl(epoll->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
	else if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	epoll->no_files = false;
	/*
	 * A reset after the peer's FIN is an EPIPE to the kernel; to the application a reset is a
	 * reset.
	 */
	vly_env_dead(epoll->nic.env, &conn->head, status == -EPIPE ? -ECONNRESET : status);
}

/* A listener that found no slot or no descriptor has its READY_BLOCKED and waits here. */
static void block_listener(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	conn->ready |= READY_BLOCKED;
	list_push(epoll, &epoll->blocked, conn);
}

static void unblock_listeners(struct epoll_nic *epoll)
{
	while (epoll->blocked.count) {
		struct epoll_conn *conn = conn_at(epoll, epoll->blocked.head);

		list_remove(epoll, &epoll->blocked, conn);
		conn->ready &= ~(uint32_t)READY_BLOCKED;
		epoll_queue(epoll, conn);
	}
}

static int epoll_check(const struct vly_nic_spec *spec, char *why, size_t why_bytes)
{
	static const char *const known[] = {NULL};

	return vly_spec_known(spec, known, why, why_bytes);
}

static uint32_t edges_max(const struct vly_config *config)
{
	return VLY_MIN(config->events_max, EDGES_MAX);
}

static size_t epoll_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec)
{
	(void)spec;
	return VLY_ALIGN_UP(sizeof(struct epoll_nic), (size_t)VLY_WRITER_GAP) +
	       VLY_ALIGN_UP(edges_max(config) * sizeof(struct epoll_event), (size_t)VLY_WRITER_GAP);
}

/* Whole pairs of lines, so that the sum is what epoll_region_bytes() said. */
static void *take(struct vly_env *env, size_t bytes)
{
	return vly_region_take(env->region, VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP),
			       VLY_WRITER_GAP);
}

static int watch_own(struct epoll_nic *epoll, int fd, uint64_t mark)
{
	/* Edge-triggered: never read, each write to it is an edge. */
	struct epoll_event edge = {.events = EPOLLIN | EPOLLET, .data.u64 = mark};

	return epoll_ctl(epoll->epoll_fd, EPOLL_CTL_ADD, fd, &edge) ? -errno : 0;
}

static int epoll_open(struct vly_env *env, const struct vly_nic_spec *spec, struct vly_nic **nic)
{
	struct epoll_nic *epoll = take(env, sizeof(*epoll));
	uint32_t max = edges_max(env->config);
	struct epoll_event *edges = take(env, max * sizeof(*edges));

	(void)spec;
	if (!epoll || !edges)
		return -ENOMEM;
	epoll->nic.ops = &vly_epoll_ops;
	epoll->nic.env = env;
	epoll->edges = edges;
	epoll->edges_max = max;
	epoll->ready = epoll->blocked =
		(struct conn_list){.head = VLY_NO_SLOT, .tail = VLY_NO_SLOT};
	epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int error = epoll->epoll_fd < 0 ? -errno : watch_own(epoll, env->wake_fd, EDGE_WAKE);

	if (error) {
		vly_log(VLY_LOG_ERROR, "epoll: %s%s", strerror(-error),
			error == -EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
		if (epoll->epoll_fd >= 0)
			close(epoll->epoll_fd);
		return error;
	}
	*nic = &epoll->nic;
	return 0;
}

static void epoll_close(struct vly_nic *nic)
{
	struct epoll_nic *epoll = epoll_of(nic);

	close(epoll->epoll_fd);
}

static int epoll_watch(struct vly_nic *nic, struct vly_conn_head *head, int fd, short poll_events)
{
	struct epoll_conn *conn = conn_of(head);

	conn->fd = fd;
	/*
	 * Level-triggered: the promise is READY in every batch. The low bits of poll(2) and
	 * epoll(7) are the same.
	 */
	return epoll_register(epoll_of(nic), conn, (uint16_t)poll_events);
}

static int epoll_name_of(struct vly_nic *nic, struct vly_conn_head *head, struct vly_addr *local,
			 struct vly_addr *peer)
{
	(void)nic;
	*local = *peer = (struct vly_addr){0};
	if (head->type != VLY_WATCH)
		vly_socket_name(conn_of(head)->fd, local, head->type == VLY_STREAM ? peer : NULL);
	return 0;
}

static void epoll_abort(struct vly_nic *nic, struct vly_conn_head *head, int status)
{
	struct epoll_nic *epoll = epoll_of(nic);

	if (head->type == VLY_STREAM)
		epoll_stream_abort(epoll, conn_of(head), status);
	else
		epoll_let_go(epoll, conn_of(head), status);
}

static void epoll_flush(struct vly_nic *nic, struct vly_conn_head **conns, uint32_t count)
{
	struct epoll_nic *epoll = epoll_of(nic);

	for (uint32_t i = 0; i < count; i++) {
		struct epoll_conn *conn = conn_of(conns[i]);

		if (i + 4 < count)
			vly_prefetch(conns[i + 4]->tx_head);
		switch (conn->head.type) {
		case VLY_STREAM:
			epoll_stream_flush(epoll, conn);
			break;
		case VLY_UDP:
			epoll_udp_flush(epoll, conn);
			break;
		default:
			if (conn->head.state == VLY_CLOSING)
				epoll_let_go(epoll, conn, 0);
		}
	}
}

static void epoll_alarm(struct vly_nic *nic, struct vly_conn_head *head)
{
	struct epoll_nic *epoll = epoll_of(nic);

	if (head->type == VLY_LISTENER)
		epoll->no_files = false;
	else
		epoll_connect_again(epoll, conn_of(head));
}

/* Both lines of a record. */
static void prefetch_conn(const struct epoll_conn *conn)
{
	vly_prefetch(conn);
	vly_prefetch(&conn->fd);
}

/* Turns what the kernel reported into bits and places in the FIFO. */
static void take_edges(struct epoll_nic *epoll, int count)
{
	struct vly_env *env = epoll->nic.env;

	for (int i = 0; i < count; i++) {
		uint32_t slot = vly_conn_slot(epoll->edges[i].data.u64);

		if (slot < env->conns.count) /* the marks are no slots */
			prefetch_conn(conn_at(epoll, slot));
	}
	for (int i = 0; i < count; i++) {
		uint32_t edge = epoll->edges[i].events;
		struct vly_conn_head *head = vly_conn_find(&env->conns, epoll->edges[i].data.u64);

		if (epoll->edges[i].data.u64 == EDGE_TIMER)
			env->timer_rang = true;
		/* A dead one's descriptor, and so its registration, may live on in a child. */
		if (!head || head->state == VLY_DEAD)
			continue;
		struct epoll_conn *conn = conn_of(head);

		if (head->type == VLY_WATCH) {
			if (head->state == VLY_OPENED && !(head->flags & VLY_F_PAUSED) &&
			    env->batch.count < env->batch.max - env->batch.max / 8)
				vly_batch_add_conn(&env->batch, head, VLY_READY)->status =
					(int32_t)edge;
			continue;
		}
		if (edge & EPOLLIN)
			conn->ready |= READY_READABLE;
		if (edge & EPOLLOUT)
			conn->ready |= READY_WRITABLE;
		if (edge & (EPOLLRDHUP | EPOLLHUP))
			conn->ready |= READY_HANGUP | READY_READABLE;
		if (edge & EPOLLPRI)
			conn->ready |= READY_PIECES;
		if (edge & EPOLLERR)
			conn->ready |= READY_ERROR;
		epoll_queue(epoll, conn);
	}
}

static enum turn take_turn(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	switch (conn->head.type) {
	case VLY_STREAM:
		return epoll_stream_turn(epoll, conn);
	case VLY_LISTENER:
		return epoll_listener_turn(epoll, conn);
	default:
		return epoll_udp_turn(epoll, conn);
	}
}

/* One turn for each record that is in the FIFO now, as long as the batch has room. */
static void take_turns(struct epoll_nic *epoll)
{
	struct vly_batch *batch = &epoll->nic.env->batch;

	for (uint32_t left = epoll->ready.count;
	     left > 0 && epoll->ready.count && !vly_batch_full(batch); left--) {
		struct epoll_conn *conn = conn_at(epoll, epoll->ready.head);

		if (conn->next != VLY_NO_SLOT)
			vly_prefetch(conn_at(epoll, conn->next));
		epoll_unqueue(epoll, conn);
		enum turn turn = take_turn(epoll, conn);

		if (turn == TURN_MORE) {
			if (conn->head.type == VLY_LISTENER && conn->ready & READY_BLOCKED)
				block_listener(epoll, conn);
			else
				epoll_queue(epoll, conn);
		}
	}
}

static bool epoll_has_work(struct vly_nic *nic)
{
	struct epoll_nic *epoll = epoll_of(nic);

	return epoll->ready.count > 0 || (epoll->blocked.count > 0 && !epoll->no_files &&
					  nic->env->conns.slab.free_count > 0);
}

static void epoll_poll(struct vly_nic *nic, int64_t timeout_ns)
{
	struct epoll_nic *epoll = epoll_of(nic);
	struct timespec timeout = {0};
	struct timespec *wait = &timeout;

	if (epoll->blocked.count && !epoll->no_files && nic->env->conns.slab.free_count)
		unblock_listeners(epoll);
	if (epoll->ready.count)
		timeout_ns = 0;
	if (timeout_ns < 0)
		wait = NULL;
	else if (timeout_ns > 0)
		timeout = (struct timespec){.tv_sec = timeout_ns / 1000000000,
					    .tv_nsec = timeout_ns % 1000000000};
	int count = call_epoll_wait(epoll->epoll_fd, epoll->edges, (int)epoll->edges_max, wait);

	if (!nic->env->batch.count)
		nic->env->batch.stamp_ns = vly_clock_ns();
	if (count > 0)
		take_edges(epoll, count);
	take_turns(epoll);
}

static int epoll_poll_fd(struct vly_nic *nic)
{
	struct epoll_nic *epoll = epoll_of(nic);

	if (!epoll->timer_watched && nic->env->timer_fd >= 0) {
		int error = watch_own(epoll, nic->env->timer_fd, EDGE_TIMER);

		if (error)
			return error;
		epoll->timer_watched = true;
	}
	return epoll->epoll_fd;
}

const struct vly_nic_ops vly_epoll_ops = {
	.name = "epoll",
	.conn_bytes = sizeof(struct epoll_conn),
	.check = epoll_check,
	.region_bytes = epoll_region_bytes,
	.open = epoll_open,
	.close = epoll_close,
	.listen = epoll_listen,
	.connect = epoll_connect,
	.udp_open = epoll_udp_open,
	.watch = epoll_watch,
	.name_of = epoll_name_of,
	.flush = epoll_flush,
	.abort = epoll_abort,
	.unlisten = epoll_unlisten,
	.alarm = epoll_alarm,
	.poll = epoll_poll,
	.has_work = epoll_has_work,
	.poll_fd = epoll_poll_fd,
};
