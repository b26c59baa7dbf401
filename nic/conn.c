/* conn.c - taking and retiring the records of connections */
#include "nic/conn.h"

#include <string.h>

#include "base/check.h"

struct vly_conn_head *vly_conn_take(struct vly_conn_table *table, enum vly_conn_type type,
				    enum vly_conn_state state, void *user, uint32_t tx_budget)
{
	struct vly_conn_head *conn = vly_slab_get(&table->slab);

	if (!conn)
		return NULL;
	uint32_t slot = vly_slab_index(&table->slab, conn);
	uint32_t last = conn->handle ? vly_conn_generation(conn->handle) : table->first_generation;
	uint32_t generation = (last + 1) & VLY_GENERATION_MAX;

	memset(conn, 0, table->record_bytes);
	conn->handle = vly_conn_name(table->core, generation ? generation : 1, slot);
	conn->type = (uint8_t)type;
	conn->state = (uint8_t)state;
	conn->user = user;
	conn->tx_budget = tx_budget;
	conn->starved_prev = conn->starved_next = VLY_NO_SLOT;
	return conn;
}

void vly_conn_retire(struct vly_conn_table *table, struct vly_conn_head *conn)
{
	VLY_CHECK(conn->state == VLY_DEAD);
	VLY_CHECK(!conn->tx_head);
	VLY_CHECK(!vly_wheel_armed(&conn->alarm.node));
	conn->state = VLY_FREE;
	vly_slab_put(&table->slab, conn);
}
