/* list.c - records with something to do, linked by slot */
#include "nic/uring/private.h"

void uring_list_init(struct conn_list *list)
{
	*list = (struct conn_list){.head = VLY_NO_SLOT, .tail = VLY_NO_SLOT};
}

void uring_list_push(struct uring_nic *uring, struct conn_list *list, struct uring_conn *conn,
		     uint16_t mark)
{
	assert(!(conn->marks & MARK_LISTED));
	conn->marks |= mark;
	conn->next = VLY_NO_SLOT;
	conn->prev = list->tail;
	if (list->tail == VLY_NO_SLOT)
		list->head = vly_conn_index(&conn->head);
	else
		conn_at(uring, list->tail)->next = vly_conn_index(&conn->head);
	list->tail = vly_conn_index(&conn->head);
	list->count++;
}

static struct conn_list *list_of(struct uring_nic *uring, const struct uring_conn *conn)
{
	if (conn->marks & MARK_READY)
		return &uring->ready;
	if (conn->marks & MARK_STARVED)
		return &uring->starved;
	return conn->marks & MARK_BLOCKED ? &uring->blocked : &uring->watches;
}

void uring_list_remove(struct uring_nic *uring, struct uring_conn *conn)
{
	if (!(conn->marks & MARK_LISTED))
		return;
	struct conn_list *list = list_of(uring, conn);

	if (conn->prev == VLY_NO_SLOT)
		list->head = conn->next;
	else
		conn_at(uring, conn->prev)->next = conn->next;
	if (conn->next == VLY_NO_SLOT)
		list->tail = conn->prev;
	else
		conn_at(uring, conn->next)->prev = conn->prev;
	list->count--;
	conn->marks &= (uint16_t)~MARK_LISTED;
}

void uring_ready(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->marks & MARK_READY)
		return;
	uring_list_remove(uring, conn);
	uring_list_push(uring, &uring->ready, conn, MARK_READY);
}
