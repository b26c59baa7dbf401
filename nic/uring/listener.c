/* listener.c - accepting on the uring nic: by itself while there is plenty of room, singly when there is not */
#include <errno.h>
#include <unistd.h>

#include "nic/addr.h"
#include "nic/socket.h"
#include "nic/uring/private.h"

#define ACCEPT_RETRY_NS 100000000u /* descriptors may be freed by other parts of the process */

/* Slots and places of the table that nothing claims yet. */
static uint32_t slots_free(const struct uring_nic *uring)
{
	uint32_t slots = uring->nic.env->conns.slab.free_count;
	uint32_t claimed = uring->singles + uring->orphans_count;

	if (uring->direct)
		slots = VLY_MIN(slots,
				uring->fixed_max - VLY_MIN(uring->fixed_count, uring->fixed_max));
	return slots - VLY_MIN(claimed, slots);
}

static void block(struct uring_nic *uring, struct uring_conn *conn, uint64_t *counter)
{
	struct vly_env *env = uring->nic.env;

	if (conn->marks & MARK_BLOCKED)
		return;
	vly_count(counter, 1);
	uring_list_remove(uring, conn);
	uring_list_push(uring, &uring->blocked, conn, MARK_BLOCKED);
	if (uring->no_files && !vly_wheel_armed(&conn->head.alarm.node)) {
		conn->head.alarm.kind = VLY_ALARM_NIC;
		vly_wheel_add(&env->wheel, &conn->head.alarm.node,
			      env->batch.stamp_ns + ACCEPT_RETRY_NS);
	}
}

void uring_accept_step(struct uring_nic *uring, struct uring_conn *conn)
{
	struct vly_stats *stats = uring->nic.env->stats;

	if (conn->ops & 1u << OP_ACCEPT || conn->marks & MARK_BLOCKED)
		return;
	if (uring->no_files || !slots_free(uring)) {
		block(uring, conn, uring->no_files ? &stats->accept_nofile : &stats->accept_full);
		return;
	}
	struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_ACCEPT, OP_ACCEPT);

	if (!sqe) {
		uring_ready(uring, conn);
		return;
	}
	if (uring->direct)
		sqe->file_index = IORING_FILE_INDEX_ALLOC;
	else
		sqe->accept_flags = SOCK_CLOEXEC;
	if (slots_free(uring) >= uring->multi_floor) {
		sqe->ioprio = IORING_ACCEPT_MULTISHOT;
		conn->marks |= MARK_MULTI;
	} else {
		uring->singles++;
	}
	conn->ops |= 1u << OP_ACCEPT;
}

int uring_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		 const struct vly_listen_opts *opts)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_conn *conn = conn_of(head);

	conn->file = vly_socket_listen(addr, opts, 0);
	if (conn->file < 0)
		return conn->file;
	if (addr->family == VLY_UNIX)
		head->flags |= VLY_F_LOCAL;
	uring_accept_step(uring, conn);
	return 0;
}

static void drop_orphans(struct uring_nic *uring, vly_conn listener, bool local)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < uring->orphans_count; i++) {
		struct orphan *orphan = &uring->orphans[i];

		if (orphan->listener != listener) {
			uring->orphans[left++] = *orphan;
			continue;
		}
		uring_reset_file(uring, orphan->file, uring->direct, local);
		uring->fixed_count -= uring->direct;
	}
	uring->orphans_count = left;
}

void uring_unlisten(struct vly_nic *nic, struct vly_conn_head *head)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_conn *conn = conn_of(head);
	struct uring_wait wait = {.count = 0};

	vly_wheel_cancel(&nic->env->wheel, &head->alarm.node);
	vly_socket_unlink(conn->file);
	uring_list_remove(uring, conn);
	if (conn->ops & 1u << OP_ACCEPT) {
		uring_cancel(uring, user_data_of(conn, OP_ACCEPT));
		if (!(conn->marks & MARK_MULTI))
			uring->singles--;
		conn->ops = 0;
	}
	drop_orphans(uring, head->handle, head->flags & VLY_F_LOCAL);
	/* An accept under way keeps the socket and its name; nor may entries speak of a descriptor that is gone. */
	uring_enter(uring, &wait);
	shutdown(conn->file, SHUT_RDWR);
	close(conn->file);
	conn->file = -1;
}

/* The batch has room and the table a slot. */
static void admit(struct uring_nic *uring, struct uring_conn *listener, int32_t file)
{
	struct vly_env *env = uring->nic.env;
	struct vly_conn_head *head = vly_conn_take(&env->conns, VLY_STREAM, VLY_OPENED,
						   listener->head.user, listener->head.tx_budget);
	struct uring_conn *conn = conn_of(head);

	head->flags |= listener->head.flags & VLY_F_LOCAL;
	conn->file = file;
	if (uring->direct)
		conn->marks |= MARK_FIXED;
	vly_count(&env->stats->accepted, 1);
	vly_batch_add_conn(&env->batch, head, VLY_OPEN)->flags = VLY_ACCEPTED;
	conn->share_seq =
		env->batch.seq; /* OPEN is the last event of its connection in this batch */
	uring_recv_step(uring, conn);
}

bool uring_may_adopt(const struct uring_nic *uring)
{
	return uring->orphans_count && uring->nic.env->conns.slab.free_count;
}

void uring_adopt(struct uring_nic *uring)
{
	struct vly_env *env = uring->nic.env;
	uint32_t adopted = 0;

	while (adopted < uring->orphans_count && env->conns.slab.free_count && !batch_full(uring)) {
		struct orphan *orphan = &uring->orphans[adopted++];

		admit(uring, conn_of(vly_conn_find(&env->conns, orphan->listener)), orphan->file);
	}
	if (!adopted)
		return;
	uring->orphans_count -= adopted;
	for (uint32_t i = 0; i < uring->orphans_count; i++)
		uring->orphans[i] = uring->orphans[i + adopted];
}

/* A socket that nobody can take now. */
static void put_up(struct uring_nic *uring, struct uring_conn *listener, int32_t file)
{
	struct vly_env *env = uring->nic.env;

	vly_count(&env->stats->accept_full, 1);
	if (uring->orphans_count < ORPHANS_MAX) {
		uring->orphans[uring->orphans_count++] =
			(struct orphan){.listener = listener->head.handle, .file = file};
		return;
	}
	uring_reset_file(uring, file, uring->direct, listener->head.flags & VLY_F_LOCAL);
	uring->fixed_count -= uring->direct;
}

static bool out_of_files(int result)
{
	return result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM;
}

/* `user_data` as user_data_of() has made it. */
static struct uring_conn *find_listener(struct uring_nic *uring, uint64_t user_data)
{
	const struct vly_conn_table *conns = &uring->nic.env->conns;
	struct vly_conn_head *head =
		vly_conn_find(conns, vly_conn_name(conns->core, vly_conn_generation(user_data),
						   vly_conn_slot(user_data)));

	return head && head->type == VLY_LISTENER && head->state == VLY_OPENED ? conn_of(head)
									       : NULL;
}

void uring_accepted(struct uring_nic *uring, const struct io_uring_cqe *cqe)
{
	struct uring_conn *listener = find_listener(uring, cqe->user_data);
	struct vly_env *env = uring->nic.env;

	if (!listener || uring->closing) {
		/* It came too late: turned away as the backlog's are. */
		if (cqe->res >= 0)
			uring_reset_file(uring, cqe->res, uring->direct, false);
		return;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		listener->ops = 0;
		if (!(listener->marks & MARK_MULTI))
			uring->singles--;
		listener->marks &= (uint16_t) ~(MARK_MULTI | MARK_CANCELLING);
	}
	if (cqe->res >= 0) {
		uring->fixed_count += uring->direct;
		if (env->conns.slab.free_count > uring->orphans_count)
			admit(uring, listener, cqe->res);
		else
			put_up(uring, listener, cqe->res);
	} else if (out_of_files(cqe->res)) {
		uring->no_files = true;
	}
	if (!(listener->ops & 1u << OP_ACCEPT))
		uring_accept_step(uring, listener);
	else if (!(listener->marks & MARK_CANCELLING) && slots_free(uring) < uring->multi_floor &&
		 uring_cancel(uring, user_data_of(listener, OP_ACCEPT)))
		listener->marks |= MARK_CANCELLING;
}

void uring_unblock(struct uring_nic *uring)
{
	for (uint32_t left = uring->blocked.count; left > 0; left--) {
		struct uring_conn *conn = conn_at(uring, uring->blocked.head);

		if (uring->no_files || !slots_free(uring))
			return;
		uring_list_remove(uring, conn);
		uring_accept_step(uring, conn);
	}
}
