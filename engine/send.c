/* send.c - queueing what is to be sent: all of a message or nothing of it */
#include <errno.h>
#include <string.h>

#include "engine/core.h"

/* Below this a copy is cheaper than the bookkeeping of a reference (measured: some 0.5 KB). */
#define COPY_BELOW 512u

/*
 * What a send asks of the pools; `bufs` and `refs` are upper bounds, since the last buffer of the
 * queue may have room.
 */
struct need {
	uint32_t len, bufs, refs;
};

static int block(struct vly_conn_head *conn, uint32_t mark, uint64_t *counter)
{
	conn->flags |= VLY_F_TX_BLOCKED;
	conn->tx_mark = mark;
	vly_count(counter, 1);
	return -EAGAIN;
}

/* The pool of which buffers are promised to the connection in this batch, or -1. */
static int granted_pool(const struct vly_env *env, const struct vly_conn_head *conn)
{
	if (conn->granted_seq != env->batch.seq)
		return -1;
	return conn->flags & VLY_F_TX_WANTS_REF ? VLY_TX_REFS : VLY_TX_COPIES;
}

static void drop_grant(struct vly_env *env, struct vly_conn_head *conn)
{
	int pool = granted_pool(env, conn);

	if (pool >= 0)
		env->starved[pool].granted -= conn->want_bufs;
	conn->granted_seq = 0;
}

/* Which pool a message wants. A message is copied or referred to, never both. */
static enum vly_tx_pool pool_of(const struct need *need)
{
	return need->refs ? VLY_TX_REFS : VLY_TX_COPIES;
}

/* Joins the FIFO of those who wait for buffers of a pool. */
static int starve(struct vly_core *core, struct vly_conn_head *conn, const struct need *need)
{
	struct vly_env *env = &core->env;
	struct vly_starved *starved = &env->starved[pool_of(need)];

	drop_grant(env, conn); /* what is left of a promise that was too small */
	conn->flags |= VLY_F_TX_STARVED;
	if (need->refs)
		conn->flags |= VLY_F_TX_WANTS_REF;
	else
		conn->flags &= (uint16_t)~VLY_F_TX_WANTS_REF;
	conn->want_bufs = need->bufs + need->refs;
	conn->starved_next = VLY_NO_SLOT;
	conn->starved_prev = starved->tail;
	if (starved->tail == VLY_NO_SLOT)
		starved->head = vly_conn_index(conn);
	else
		vly_conn_at(&env->conns, starved->tail)->starved_next = vly_conn_index(conn);
	starved->tail = vly_conn_index(conn);
	return block(conn, 0, &env->stats->tx_blocked_pool);
}

/*
 * A connection that has something queued may have as much as is left for all others together, so
 * that peers which stop reading share a part of the pool and never take the whole. (Dynamic
 * thresholds, as in switches: Choudhury and Hahne 1998.) Of references, whose sizes differ, the last
 * quarter is for those who have nothing queued.
 */
static bool within_share(const struct vly_env *env, const struct vly_conn_head *conn,
			 const struct need *need)
{
	const struct vly_slab *refs = &env->ref_pool.slab;
	uint64_t left = (uint64_t)env->tx_pool.slab.free_count * env->config->tx_buf_bytes;

	if (!conn->tx_head)
		return true;
	if (need->refs)
		return refs->free_count > refs->count / 4;
	return (uint64_t)conn->tx_bytes + need->len <= left;
}

/* Whether the pool has what is needed, promises to others left aside. Nobody overtakes those who wait. */
static bool pool_serves(struct vly_env *env, struct vly_conn_head *conn, const struct need *need)
{
	const struct vly_starved *starved = &env->starved[pool_of(need)];
	uint32_t promised = starved->granted;
	uint32_t wanted = need->bufs + need->refs;

	if (granted_pool(env, conn) == (int)pool_of(need))
		promised -= conn->want_bufs;
	else if (starved->head != VLY_NO_SLOT && wanted)
		return false;
	return vly_env_tx_pool(env, pool_of(need))->slab.free_count >= promised + wanted;
}

/* The promise shrinks by what is taken. */
static void take_grant(struct vly_env *env, struct vly_conn_head *conn, const struct need *need)
{
	uint32_t taken = VLY_MIN(need->bufs + need->refs, conn->want_bufs);

	if (granted_pool(env, conn) != (int)pool_of(need))
		return;
	conn->want_bufs -= taken;
	env->starved[pool_of(need)].granted -= taken;
}

/* 0: the message may be queued; the pools have what it needs. */
static int admit(struct vly_core *core, struct vly_conn_head *conn, const struct need *need)
{
	struct vly_env *env = &core->env;

	vly_env_near_home(env);
	if (need->len > conn->tx_budget || need->bufs > env->tx_pool.slab.count ||
	    need->refs > env->ref_pool.slab.count)
		return -EMSGSIZE;
	if (conn->flags & VLY_F_TX_BLOCKED)
		return -EAGAIN;
	if (vly_unlikely(need->len > conn->tx_budget - conn->tx_bytes))
		return block(conn, conn->tx_budget / 2, &env->stats->tx_blocked_budget);
	if (vly_unlikely(!within_share(env, conn, need)))
		return block(conn, conn->tx_bytes / 2, &env->stats->tx_blocked_budget);
	if (vly_unlikely(!pool_serves(env, conn, need)))
		return starve(core, conn, need);
	if (vly_unlikely(conn->granted_seq == env->batch.seq))
		take_grant(env, conn, need);
	return 0;
}

static void link_buf(struct vly_conn_head *conn, struct vly_buf *buf)
{
	if (conn->tx_tail)
		conn->tx_tail->next = buf;
	else
		conn->tx_head = buf;
	conn->tx_tail = buf;
}

/* Room in the last buffer of the queue that a copy may use. */
static uint32_t tail_room(const struct vly_conn_head *conn)
{
	return conn->tx_tail && vly_buf_writable(conn->tx_tail) ? vly_buf_tailroom(conn->tx_tail)
								: 0;
}

static uint32_t bufs_for(const struct vly_env *env, uint32_t len)
{
	return len / env->config->tx_buf_bytes + (len % env->config->tx_buf_bytes > 0);
}

/* Copies to the end of the queue; admit() has said that the pool serves. */
static void append_copy(struct vly_core *core, struct vly_conn_head *conn, const void *data,
			uint32_t len)
{
	const uint8_t *from = data;

	while (len > 0) {
		uint32_t room = tail_room(conn);

		if (!room) {
			struct vly_buf *buf = vly_buf_get(&core->env.tx_pool);

			link_buf(conn, buf);
			room = vly_buf_tailroom(buf);
		}
		uint32_t part = VLY_MIN(room, len);

		memcpy(vly_buf_append(conn->tx_tail, part), from, part);
		from += part;
		len -= part;
	}
}

/* The stream that a handle names, if it can be sent on. */
static int find_stream(struct vly_core *core, vly_conn handle, struct vly_conn_head **conn)
{
	int error = vly_core_find(core, handle, conn);

	if (vly_unlikely(error))
		return error;
	if (vly_unlikely((*conn)->type != VLY_STREAM))
		return -EINVAL;
	if (vly_unlikely((*conn)->state != VLY_OPENED))
		return -ENOTCONN;
	vly_env_tx_whole(*conn);
	return vly_unlikely((*conn)->flags & VLY_F_SHUT) ? -EPIPE : 0;
}

static inline void queued(struct vly_core *core, struct vly_conn_head *conn, uint32_t len)
{
	conn->tx_bytes += len;
	vly_core_dirty(core, conn);
	vly_count(&core->env.stats->tx_sends, 1);
}

static struct need need_of_copy(struct vly_core *core, struct vly_conn_head *conn, uint32_t len)
{
	uint32_t room = tail_room(conn);

	return (struct need){.len = len, .bufs = len > room ? bufs_for(&core->env, len - room) : 0};
}

/*
 * What most messages are, for a nic that keeps what it has sent: 64 bytes, the first of a connection whose
 * queue is empty, into a buffer at hand. There is none while anybody waits for buffers. Nothing is called, so
 * no register is saved. False: nothing was done.
 */
static inline bool send_near(struct vly_core *core, vly_conn handle, const void *data, uint32_t len)
{
	struct vly_env *env = &core->env;
	uint32_t slot = vly_conn_slot(handle);

	if (vly_forked() || len != VLY_MESSAGE_BYTES || slot >= env->conns.count ||
	    !env->near.count)
		return false;
	struct vly_conn_head *conn = vly_conn_at(&env->conns, slot);

	if (conn->handle != handle || !vly_conn_plain(conn, VLY_F_SHUT | VLY_F_TX_BLOCKED) ||
	    conn->tx_head || conn->tx_budget < VLY_MESSAGE_BYTES)
		return false;
	struct vly_buf *buf = env->near.bufs[--env->near.count];

	memcpy(vly_env_tx_data(env, buf), data, VLY_MESSAGE_BYTES);
	conn->tx_head = conn->tx_tail = buf;
	conn->tx_bytes = VLY_MESSAGE_BYTES;
	conn->flags |= VLY_F_TX_PLAIN;
	vly_core_dirty(core, conn);
	vly_count(&env->stats->tx_sends, 1);
	return true;
}

/* A fresh send buffer; NULL: none is home. */
static struct vly_buf *first_buf(struct vly_env *env)
{
	if (env->near.count)
		return env->near.bufs[--env->near.count];
	return vly_likely(env->tx_pool.slab.free_count) ? vly_buf_get(&env->tx_pool) : NULL;
}

/*
 * The first message of a connection whose queue is empty, as most are: one buffer, and nobody waits or
 * was promised any. Admission would say yes to it. False: the long way, which also knows the errors.
 */
static inline bool send_first(struct vly_core *core, vly_conn handle, const void *data,
			      uint32_t len)
{
	struct vly_env *env = &core->env;
	const struct vly_starved *starved = &env->starved[VLY_TX_COPIES];

	if (vly_forked() || vly_conn_core(handle) != core->index)
		return false;
	struct vly_conn_head *conn = vly_conn_find(&env->conns, handle);

	if (!conn || !vly_conn_plain(conn, VLY_F_SHUT | VLY_F_TX_BLOCKED) || conn->tx_head)
		return false;
	if (!len || len > core->config->tx_buf_bytes || len > conn->tx_budget ||
	    starved->head != VLY_NO_SLOT || starved->granted)
		return false;
	struct vly_buf *buf = first_buf(env);

	if (vly_unlikely(!buf))
		return false;
	memcpy(vly_env_tx_data(env, buf), data, len);
	if (env->near.on)
		conn->flags |= VLY_F_TX_PLAIN;
	else
		buf->len = len;
	conn->tx_head = conn->tx_tail = buf;
	queued(core, conn, len);
	return true;
}

static int send_long(struct vly_core *core, vly_conn handle, const void *data, uint32_t len)
{
	struct vly_conn_head *conn;
	int error = find_stream(core, handle, &conn);

	if (vly_unlikely(error || !len))
		return error;
	struct need need = need_of_copy(core, conn, len);

	error = admit(core, conn, &need);
	if (vly_unlikely(error))
		return error;
	append_copy(core, conn, data, len);
	queued(core, conn, len);
	return 0;
}

/* Apart, so that the short way saves no registers for it. */
static __attribute__((noinline)) int send_far(struct vly_core *core, vly_conn handle,
					      const void *data, uint32_t len)
{
	if (vly_likely(send_first(core, handle, data, len)))
		return 0;
	return send_long(core, handle, data, len);
}

int vly_send(struct vly_core *core, vly_conn handle, const void *data, uint32_t len)
{
	if (vly_likely(send_near(core, handle, data, len)))
		return 0;
	return send_far(core, handle, data, len);
}

int vly_sendv(struct vly_core *core, vly_conn handle, const struct iovec *iov, int iov_count)
{
	struct vly_conn_head *conn;
	int error = find_stream(core, handle, &conn);
	uint64_t len = 0;

	if (error)
		return error;
	if (iov_count < 0)
		return -EINVAL;
	for (int i = 0; i < iov_count; i++) {
		if (iov[i].iov_len > UINT32_MAX)
			return -EMSGSIZE;
		len += iov[i].iov_len;
	}
	if (len > UINT32_MAX)
		return -EMSGSIZE;
	if (!len)
		return 0;
	struct need need = need_of_copy(core, conn, (uint32_t)len);

	error = admit(core, conn, &need);
	if (error)
		return error;
	for (int i = 0; i < iov_count; i++)
		append_copy(core, conn, iov[i].iov_base, (uint32_t)iov[i].iov_len);
	queued(core, conn, (uint32_t)len);
	return 0;
}

int vly_send_owned(struct vly_core *core, vly_conn handle, const void *data, uint32_t len,
		   void *cookie)
{
	struct vly_conn_head *conn;
	struct need need = {.len = len, .refs = 1};
	int error = find_stream(core, handle, &conn);

	if (error)
		return error;
	error = admit(core, conn, &need);
	if (error)
		return error;
	struct vly_buf *buf = vly_buf_get(&core->env.ref_pool);

	vly_buf_borrow(buf, (uint8_t *)(uintptr_t)data, len, cookie);
	link_buf(conn, buf);
	queued(core, conn, len);
	return 0;
}

/* The receive buffer that an event's data lies in, or NULL if it lies elsewhere. */
static struct vly_buf *event_buf(struct vly_core *core, const struct vly_event *event)
{
	struct vly_buf_pool *pool = &core->env.rx_pool;

	return event->buf < pool->slab.count ? vly_buf_at(pool, event->buf) : NULL;
}

int vly_send_event(struct vly_core *core, vly_conn handle, const struct vly_event *event)
{
	struct vly_conn_head *conn;
	struct need need = {.len = event->len, .refs = 1};
	int error = find_stream(core, handle, &conn);

	if (error)
		return error;
	if (event->kind != VLY_DATA && event->kind != VLY_DGRAM)
		return -EINVAL;
	struct vly_buf *parent = event_buf(core, event);

	if (event->len < COPY_BELOW || !parent || !vly_rx_may_pin(&core->env.rx, parent))
		return vly_send(core, handle, event->data, event->len);
	error = admit(core, conn, &need);
	if (error)
		return error;
	struct vly_buf *buf = vly_buf_get(&core->env.ref_pool);

	vly_buf_attach(buf, parent, event->data, event->len);
	link_buf(conn, buf);
	queued(core, conn, event->len);
	return 0;
}

/* The pieces of one datagram: its receiver's address, then its bytes; the first says how many there are. */
static void append_dgram(struct vly_core *core, struct vly_conn_head *conn,
			 const struct vly_addr *to, const uint8_t *from, uint32_t len)
{
	struct vly_buf *first = vly_buf_get(&core->env.tx_pool);
	struct vly_buf *buf = first;

	memcpy(vly_buf_append(first, sizeof(*to)), to, sizeof(*to));
	for (first->mark = 1;; first->mark++) {
		uint32_t part = VLY_MIN(vly_buf_tailroom(buf), len);

		if (part)
			memcpy(vly_buf_append(buf, part), from, part);
		link_buf(conn, buf);
		from += part;
		len -= part;
		if (!len)
			return;
		buf = vly_buf_get(&core->env.tx_pool);
	}
}

int vly_sendto(struct vly_core *core, vly_conn handle, const struct vly_addr *to, const void *data,
	       uint32_t len)
{
	struct vly_conn_head *conn;
	int error = vly_core_find(core, handle, &conn);

	if (error)
		return error;
	if (conn->type != VLY_UDP || to->family == VLY_NO_FAMILY || to->family == VLY_UNIX)
		return -EINVAL;
	if (conn->state != VLY_OPENED)
		return -ENOTCONN;
	if (len > VLY_DGRAM_BYTES_MAX)
		return -EMSGSIZE;
	struct need need = {.len = len + (uint32_t)sizeof(*to)};

	need.bufs = bufs_for(&core->env, need.len);
	if (need.bufs > VLY_DGRAM_PIECES_MAX)
		return -EMSGSIZE;
	error = admit(core, conn, &need);
	if (error)
		return error;
	append_dgram(core, conn, to, data, len);
	queued(core, conn, need.len);
	return 0;
}
