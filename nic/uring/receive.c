/* receive.c - receiving on streams: arming, showing within a connection's share, setting the rest aside */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "nic/uring/private.h"

#define NO_SLICE UINT32_MAX

/* --- slices: received, not shown yet ------------------------------------------------------------------------------------------ */

static struct uring_slice *slice_at(const struct uring_nic *uring, uint32_t index)
{
	return vly_slab_at(&uring->slices, index);
}

static struct uring_group *group_of(struct uring_nic *uring, uint32_t token)
{
	return token != GROUP_NO_TOKEN && token & TOKEN_DGRAM ? &uring->dgrams : &uring->streams;
}

void uring_give(struct uring_nic *uring, uint32_t token)
{
	if (token != GROUP_NO_TOKEN)
		uring_group_give(group_of(uring, token), token & ~TOKEN_DGRAM);
}

bool uring_has_aside(const struct uring_conn *conn)
{
	return conn->aside_head != 0;
}

/* Indexes are kept plus one: a record starts as zeros. The caller has seen that a slice is home. */
static void set_aside(struct uring_nic *uring, struct uring_conn *conn,
		      const struct uring_span *span)
{
	if (conn->aside_tail) {
		struct uring_slice *last = slice_at(uring, conn->aside_tail - 1);

		/* Neighbours in a buffer become one: a stream has no borders. */
		if (last->buf == span->buf && last->data + last->len == span->data &&
		    span->token == GROUP_NO_TOKEN) {
			last->len += span->len;
			return;
		}
	}
	struct uring_slice *slice = vly_slab_get(&uring->slices);

	*slice = (struct uring_slice){.buf = vly_buf_ref(span->buf),
				      .data = span->data,
				      .len = span->len,
				      .token = span->token,
				      .flags = span->flags};
	uint32_t name = vly_slab_index(&uring->slices, slice) + 1;

	if (conn->aside_tail)
		slice_at(uring, conn->aside_tail - 1)->next = name;
	else
		conn->aside_head = name;
	conn->aside_tail = name;
}

static struct uring_slice *pop_aside(struct uring_nic *uring, struct uring_conn *conn)
{
	struct uring_slice *slice = slice_at(uring, conn->aside_head - 1);

	conn->aside_head = slice->next;
	if (!conn->aside_head)
		conn->aside_tail = 0;
	return slice;
}

static void drop_slice(struct uring_nic *uring, struct uring_slice *slice)
{
	uint32_t token = slice->token;

	vly_buf_put(slice->buf);
	vly_slab_put(&uring->slices, slice);
	uring_give(uring, token);
}

void uring_drop_aside(struct uring_nic *uring, struct uring_conn *conn)
{
	while (uring_has_aside(conn))
		drop_slice(uring, pop_aside(uring, conn));
}

void uring_recycle(struct uring_nic *uring)
{
	uint32_t name = uring->shown_aside;

	uring->shown_aside = 0;
	while (name) {
		struct uring_slice *slice = slice_at(uring, name - 1);

		name = slice->next;
		drop_slice(uring, slice);
	}
	for (uint32_t i = 0; i < uring->shown_count; i++)
		uring_give(uring, uring->shown[i]);
	uring->shown_count = 0;
}

/* --- showing ------------------------------------------------------------------------------------------------------------------ */

/* What is left of the connection's share of this batch. */
static void begin_share(struct uring_nic *uring, struct uring_conn *conn)
{
	const struct vly_env *env = uring->nic.env;

	if (conn->share_seq == env->batch.seq)
		return;
	conn->share_seq = env->batch.seq;
	conn->share_events = env->config->burst_max;
	conn->share_bytes = env->config->burst_bytes;
}

static bool share_left(const struct uring_conn *conn)
{
	return conn->share_events && conn->share_bytes;
}

struct vly_event *uring_show(struct uring_nic *uring, struct uring_conn *conn, enum vly_kind kind,
			     const struct uring_span *span)
{
	struct vly_env *env = uring->nic.env;
	struct vly_event *event = vly_batch_add_conn(&env->batch, &conn->head, kind);

	event->data = span->data;
	event->len = span->len;
	event->buf = span->buf->index;
	event->flags = (uint8_t)span->flags;
	if (span->token != GROUP_NO_TOKEN)
		uring->shown[uring->shown_count++] = span->token;
	vly_count(&env->stats->rx_events, 1);
	vly_count(&env->stats->rx_bytes, span->len);
	return event;
}

/* Shows the front of `span` as far as the share goes; what is left stays in it. */
static void show_part(struct uring_nic *uring, struct uring_conn *conn, struct uring_span *span)
{
	struct uring_span part = *span;

	if (vly_unlikely(part.len > conn->share_bytes)) {
		part.len = conn->share_bytes;
		part.token = GROUP_NO_TOKEN; /* its chunk goes back with the rest */
	}
	uring_show(uring, conn, VLY_DATA, &part);
	conn->share_events--;
	conn->share_bytes -= part.len;
	span->data += part.len;
	span->len -= part.len;
}

static void show_dgram(struct uring_nic *uring, struct uring_conn *conn,
		       const struct uring_span *span)
{
	uring_show(uring, conn, VLY_DGRAM, span);
	conn->share_events--;
}

void uring_bring_dgram(struct uring_nic *uring, struct uring_conn *conn,
		       const struct uring_span *span)
{
	begin_share(uring, conn);
	if (vly_likely(!uring_has_aside(conn) && conn->share_events &&
		       !(conn->head.flags & VLY_F_PAUSED))) {
		show_dgram(uring, conn, span);
		return;
	}
	if (!(conn->head.flags & VLY_F_PAUSED))
		vly_count(&uring->nic.env->stats->rx_capped, 1);
	set_aside(uring, conn, span);
}

static void show_eof(struct uring_nic *uring, struct uring_conn *conn)
{
	struct vly_env *env = uring->nic.env;

	conn->marks &= (uint16_t)~MARK_EOF_NEXT;
	conn->head.flags |= VLY_F_EOF;
	vly_batch_add_conn(&env->batch, &conn->head, VLY_EOF);
	/* Nothing is read any more; if it is still open at the next poll, errors are to be noticed all the same. */
	conn->marks |= MARK_QUIET;
	uring_ready(uring, conn);
}

void uring_show_aside(struct uring_nic *uring, struct uring_conn *conn)
{
	begin_share(uring, conn);
	while (uring_has_aside(conn) && share_left(conn) && !batch_full(uring)) {
		struct uring_slice *slice = slice_at(uring, conn->aside_head - 1);
		struct uring_span span = {.buf = slice->buf,
					  .data = slice->data,
					  .len = slice->len,
					  .token = GROUP_NO_TOKEN};

		if (conn->head.type == VLY_UDP) {
			span.flags = slice->flags;
			show_dgram(uring, conn, &span);
			span.len = 0;
		} else {
			show_part(uring, conn, &span);
		}
		if (span.len) {
			slice->data = span.data;
			slice->len = span.len;
			break;
		}
		pop_aside(uring, conn);
		slice->next = uring->shown_aside;
		uring->shown_aside = vly_slab_index(&uring->slices, slice) + 1;
	}
	if (uring_has_aside(conn) || batch_full(uring) || !share_left(conn))
		return;
	if (conn->marks & MARK_EOF_NEXT)
		show_eof(uring, conn);
	else if (conn->marks & MARK_FAIL_NEXT)
		uring_let_go(uring, conn, conn->status);
}

/* --- arming ------------------------------------------------------------------------------------------------------------------- */

static bool wants_input(const struct uring_conn *conn)
{
	const struct vly_conn_head *head = &conn->head;

	if (head->flags & VLY_F_EOF || conn->marks & (MARK_EOF_NEXT | MARK_FAIL_NEXT))
		return false;
	return head->state == VLY_CLOSING || !(head->flags & VLY_F_PAUSED);
}

static void starve(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->marks & MARK_LISTED)
		return;
	vly_count(&uring->nic.env->stats->rx_starved, 1);
	uring_list_push(uring, &uring->starved, conn, MARK_STARVED);
}

static void arm(struct uring_nic *uring, struct uring_conn *conn)
{
	if (vly_unlikely(!uring->streams.free_entries)) {
		starve(uring, conn);
		return;
	}
	struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_RECV, OP_RECV);

	if (!sqe) {
		uring_ready(uring, conn);
		return;
	}
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = uring->streams.id;
	if (!(conn->marks & MARK_FLOOD))
		sqe->ioprio = IORING_RECV_MULTISHOT;
	conn->ops |= 1u << OP_RECV;
}

/* A reset must not go unseen because nobody reads. */
void uring_guard(struct uring_nic *uring, struct uring_conn *conn)
{
	conn->marks &= (uint16_t)~MARK_QUIET;
	if (conn->head.state != VLY_OPENED || conn->ops & (1u << OP_GUARD | 1u << OP_RECV))
		return;
	struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_POLL_ADD, OP_GUARD);

	if (!sqe)
		return;
	sqe->len =
		IORING_POLL_ADD_MULTI; /* at each change: the end of input alone must not end it */
	conn->ops |= 1u << OP_GUARD;
}

void uring_guarded(struct uring_nic *uring, struct uring_conn *conn, const struct io_uring_cqe *cqe)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (!(cqe->flags & IORING_CQE_F_MORE))
		conn->ops &= (uint16_t) ~(1u << OP_GUARD);
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	if (cqe->res < 0 || !(cqe->res & POLLERR) || conn->ops & 1u << OP_RECV)
		return;
	if (conn->marks & MARK_FIXED ||
	    getsockopt(conn->file, SOL_SOCKET, SO_ERROR, &error, &len) || !error)
		error = ECONNRESET;
	uring_let_go(uring, conn, -error);
}

void uring_recv_step(struct uring_nic *uring, struct uring_conn *conn)
{
	bool wanted = wants_input(conn);

	if (vly_unlikely(conn->head.state == VLY_CLOSING))
		uring_drop_aside(uring, conn);
	if (conn->ops & 1u << OP_RECV) {
		if (vly_likely(wanted && !uring_has_aside(conn)) || conn->marks & MARK_CANCELLING)
			return;
		if (uring_cancel(uring, user_data_of(conn, OP_RECV)))
			conn->marks |= MARK_CANCELLING;
		else
			uring_ready(uring, conn);
		return;
	}
	if (uring_has_aside(conn) || conn->marks & (MARK_EOF_NEXT | MARK_FAIL_NEXT)) {
		if (!(conn->head.flags & VLY_F_PAUSED))
			uring_ready(uring, conn);
		return;
	}
	if (wanted && !(conn->marks & MARK_STARVED))
		arm(uring, conn);
	else if (!wanted && conn->head.flags & VLY_F_PAUSED)
		uring_guard(uring, conn);
}

void uring_feed_starved(struct uring_nic *uring)
{
	/* More than can be served would only come back. */
	uint32_t left = uring->streams.chunk_bytes ? uring->streams.free_entries : UINT32_MAX;

	left = VLY_MIN(left, uring->starved.count);
	for (; left > 0 && uring->streams.free_entries; left--) {
		struct uring_conn *conn = conn_at(uring, uring->starved.head);

		uring_list_remove(uring, conn);
		uring_recv_step(uring, conn);
	}
}

/* --- completions -------------------------------------------------------------------------------------------------------------- */

static void bring(struct uring_nic *uring, struct uring_conn *conn, struct uring_span *span)
{
	if (vly_unlikely(conn->marks & MARK_ENDING || conn->head.state != VLY_OPENED)) {
		uring_give(uring, span->token);
		return;
	}
	begin_share(uring, conn);
	if (vly_likely(!uring_has_aside(conn) && share_left(conn) &&
		       !(conn->head.flags & VLY_F_PAUSED))) {
		show_part(uring, conn, span);
		if (vly_likely(!span->len))
			return;
	}
	if (!(conn->marks & MARK_FLOOD) && !(conn->head.flags & VLY_F_PAUSED)) {
		vly_count(&uring->nic.env->stats->rx_capped, 1);
		conn->marks |= MARK_FLOOD;
	}
	set_aside(uring, conn, span);
}

/* The end of input, or of the connection, behind what is still to be shown. */
static void ended(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	struct vly_conn_head *head = &conn->head;

	if (result == 0) {
		if (head->state == VLY_CLOSING) {
			head->flags |= VLY_F_EOF;
			return;
		}
		conn->marks |= MARK_EOF_NEXT;
		if (!uring_has_aside(conn) && !(head->flags & VLY_F_PAUSED)) {
			begin_share(uring, conn);
			if (share_left(conn))
				show_eof(uring, conn);
		}
		return;
	}
	conn->status = result;
	if (uring_has_aside(conn) && !(head->flags & VLY_F_PAUSED) && head->state == VLY_OPENED)
		conn->marks |= MARK_FAIL_NEXT;
	else
		uring_let_go(uring, conn, result);
}

static bool is_failure(int result)
{
	return result != -ENOBUFS && result != -ECANCELED && result != -EINTR && result != -EAGAIN;
}

void uring_received(struct uring_nic *uring, struct uring_conn *conn,
		    const struct io_uring_cqe *cqe)
{
	int result = cqe->res;

	if (vly_likely(cqe->flags & IORING_CQE_F_BUFFER)) {
		struct uring_span span;

		uring_group_take(&uring->streams, cqe, result > 0 ? (uint32_t)result : 0, &span);
		if (vly_likely(span.len))
			bring(uring, conn, &span);
		else
			uring_give(uring, span.token);
	}
	if (vly_likely(cqe->flags & IORING_CQE_F_MORE)) {
		if (vly_unlikely(uring_has_aside(conn) && !(conn->marks & MARK_ENDING)))
			uring_recv_step(uring, conn);
		return;
	}
	conn->ops &= (uint16_t) ~(1u << OP_RECV);
	conn->marks &= (uint16_t)~MARK_CANCELLING;
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	/* The flood is over when a single receive has left nothing behind. */
	if (conn->marks & MARK_FLOOD && !(cqe->flags & IORING_CQE_F_SOCK_NONEMPTY) &&
	    !uring_has_aside(conn))
		conn->marks &= (uint16_t)~MARK_FLOOD;
	if (result == 0 || (result < 0 && is_failure(result))) {
		ended(uring, conn, result);
		if (conn->marks & MARK_ENDING)
			return;
	}
	if (result == -ENOBUFS && !uring_has_aside(conn) && wants_input(conn)) {
		starve(uring, conn);
		return;
	}
	uring_stream_step(uring, conn);
}
