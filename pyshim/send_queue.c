/* send_queue.c - what the engine does not take yet, and memory lent to it until it is sent */
#include "pyshim/send_queue.h"

#include <errno.h>

/* One borrowed send takes no more, so that a connection cannot ask for more than its budget. */
#define PIECE_MAX 65536

static void charge(struct transport *transport, Py_ssize_t bytes_count)
{
	transport->pending_bytes += (uint64_t)bytes_count;
	transport->engine->pending_bytes += (uint64_t)bytes_count;
}

int send_queue_add(struct transport *transport, PyObject *bytes, uint64_t send_id)
{
	struct piece *piece = PyMem_Malloc(sizeof(*piece));

	if (!piece) {
		PyErr_NoMemory();
		return -1;
	}
	*piece = (struct piece){.bytes = Py_NewRef(bytes), .send_id = send_id};
	if (transport->queue)
		*transport->queue_end = piece;
	else
		transport->queue = piece;
	transport->queue_end = &piece->next;
	charge(transport, PyBytes_GET_SIZE(bytes));
	return 0;
}

static void take_first(struct transport *transport)
{
	struct piece *piece = transport->queue;

	transport->queue = piece->next;
	charge(transport, piece->offset - PyBytes_GET_SIZE(piece->bytes));
	Py_DECREF(piece->bytes);
	PyMem_Free(piece);
}

void send_queue_clear(struct transport *transport)
{
	while (transport->queue)
		take_first(transport);
}

static struct ticket *ticket_new(struct transport *transport, PyObject *bytes, uint64_t send_id)
{
	struct engine *engine = transport->engine;
	struct ticket *ticket = engine->tickets_free;

	if (ticket)
		engine->tickets_free = ticket->next;
	else
		ticket = PyMem_Malloc(sizeof(*ticket));
	if (!ticket)
		return NULL;
	*ticket = (struct ticket){
		.next = engine->tickets,
		.back = &engine->tickets,
		.bytes = Py_NewRef(bytes),
		.transport = (struct transport *)Py_NewRef((PyObject *)transport),
		.send_id = send_id,
	};
	if (ticket->next)
		ticket->next->back = &ticket->next;
	engine->tickets = ticket;
	return ticket;
}

static void ticket_free(struct engine *engine, struct ticket *ticket)
{
	PyObject *bytes = ticket->bytes;
	struct transport *transport = ticket->transport;

	*ticket->back = ticket->next;
	if (ticket->next)
		ticket->next->back = ticket->back;
	ticket->next = engine->tickets_free;
	engine->tickets_free = ticket;
	Py_DECREF(bytes);
	Py_DECREF((PyObject *)transport);
}

void ticket_sent(struct engine *engine, struct ticket *ticket)
{
	struct transport *transport = ticket->transport;
	uint64_t send_id = ticket->send_id;

	Py_INCREF((PyObject *)transport);
	ticket_free(engine, ticket);
	if (send_id && transport->style->sent && transport->state == T_OPEN)
		transport->style->sent(transport, send_id);
	Py_DECREF((PyObject *)transport);
}

void ticket_drop_all(struct engine *engine)
{
	while (engine->tickets)
		ticket_free(engine, engine->tickets);
	while (engine->tickets_free) {
		struct ticket *ticket = engine->tickets_free;

		engine->tickets_free = ticket->next;
		PyMem_Free(ticket);
	}
}

/* Gives the engine one part of the first piece: bytes taken, or -errno. */
static Py_ssize_t send_part(struct transport *transport)
{
	struct link *link = transport->engine->link;
	struct piece *piece = transport->queue;
	const char *from = PyBytes_AS_STRING(piece->bytes) + piece->offset;
	Py_ssize_t left = PyBytes_GET_SIZE(piece->bytes) - piece->offset;
	Py_ssize_t part_max =
		Py_MIN(PIECE_MAX, (Py_ssize_t)transport->engine->options.config.tx_budget);
	Py_ssize_t part = Py_MIN(left, part_max);
	uint64_t send_id = part == left ? piece->send_id : 0;
	int error;

	if (part >= SEND_LENT_MIN || send_id) {
		struct ticket *ticket = ticket_new(transport, piece->bytes, send_id);

		if (!ticket)
			return -ENOMEM;
		error = link->ops->send_owned(link, transport->handle, from, (uint32_t)part,
					      ticket);
		if (error)
			ticket_free(transport->engine, ticket);
	} else {
		error = link->ops->send(link, transport->handle, from, (uint32_t)part);
	}
	return error ? error : part;
}

/* What waited for the queue to empty. */
static void queue_is_empty(struct transport *transport)
{
	struct link *link = transport->engine->link;

	if (transport->state == T_CLOSING)
		link->ops->close_conn(link, transport->handle);
	else if (transport->flags & T_EOF_WANTED)
		link->ops->shutdown(link, transport->handle);
}

void send_queue_pump(struct transport *transport)
{
	if (!transport->queue || transport->state == T_CLOSED || transport->state == T_CONNECTING)
		return;
	while (transport->queue) {
		Py_ssize_t sent = send_part(transport);

		if (sent == -EAGAIN)
			break;
		if (sent < 0) { /* it is gone, and CLOSED is on its way */
			send_queue_clear(transport);
			break;
		}
		transport->queue->offset += sent;
		charge(transport, -sent);
		if (transport->queue->offset == PyBytes_GET_SIZE(transport->queue->bytes))
			take_first(transport);
	}
	if (!transport->queue)
		queue_is_empty(transport);
	if (transport->flags & T_WRITING_PAUSED && transport->pending_bytes <= transport->low &&
	    transport->state == T_OPEN) {
		transport->flags &= (uint16_t)~T_WRITING_PAUSED;
		transport->style->resume_writing(transport);
	}
}
