/* pingpong_client.c - every echo is checked, timed, and answered by the next message */
#include "bench/pingpong_client.h"

#include "bench/load.h"
#include "bench/payload.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS UINT64_C(10000000)
#define PREFETCH_AHEAD 4

enum ping_state {
	PING_IDLE = 0,   /* to be connected */
	PING_CONNECTING, /* up to the echo of its first message */
	PING_UP,
	PING_FAILED,
};

/* One connection: one cache line. */
struct ping {
	vly_conn conn;
	uint64_t key;
	uint64_t sent;      /* messages given to the engine */
	uint64_t received;  /* of them, back whole; messages under way: sent - received <= depth */
	uint64_t counted;   /* round trips that ended in the window */
	uint64_t *begun_ns; /* when each message under way was sent: a ring of depth */
	uint64_t heard_ns;  /* when bytes last came */
	uint32_t offset;    /* bytes of message `received` that have come, below size_bytes */
	uint16_t slot;      /* of message `received` in that ring */
	uint8_t state;      /* enum ping_state */
};

static_assert(sizeof(struct ping) == 64, "one line per connection");
static_assert(LOAD_DEPTH_MAX <= UINT16_MAX, "ping.slot");

struct pingpong_client {
	struct vly_core *core;
	struct pingpong_params params;
	struct ping *pings;
	uint64_t *begun;  /* depth of them for each connection */
	uint8_t *scratch; /* the message being built */
	uint32_t *todo;   /* a stack of connections that are to be opened */
	uint32_t todo_count, connecting, up;
	uint64_t pause_until_ns; /* no connect before */
	bool running;            /* echoes are answered */
	uint64_t begin_ns, end_ns;
	uint64_t messages, outstanding, retries;
	uint64_t *unstamped[LOAD_BATCH]; /* send times that the next flush sets */
	unsigned unstamped_count;
	struct histogram latency;
	struct pingpong_errors errors;
};

int pingpong_client_open(struct vly_core *core, const struct pingpong_params *params,
			 struct pingpong_client **client)
{
	struct pingpong_client *made = calloc(1, sizeof(*made));
	uint32_t count = params->connections;

	*client = NULL;
	if (!made)
		return -ENOMEM;
	made->core = core;
	made->params = *params;
	made->pings = aligned_alloc(64, count * sizeof(*made->pings));
	made->begun = calloc((size_t)count * params->depth, sizeof(*made->begun));
	made->scratch = malloc(params->size_bytes);
	made->todo = malloc(count * sizeof(*made->todo));
	if (!made->pings || !made->begun || !made->scratch || !made->todo ||
	    histogram_init(&made->latency) < 0) {
		pingpong_client_close(made);
		return -ENOMEM;
	}
	memset(made->pings, 0, count * sizeof(*made->pings));
	for (uint32_t i = 0; i < count; i++) {
		made->pings[i].key = payload_key(params->seed, (uint64_t)params->first_id + i);
		made->pings[i].begun_ns = made->begun + (size_t)i * params->depth;
		made->todo[i] = count - 1 - i;
	}
	made->todo_count = count;
	*client = made;
	return 0;
}

void pingpong_client_close(struct pingpong_client *client)
{
	if (!client)
		return;
	histogram_fini(&client->latency);
	free(client->todo);
	free(client->scratch);
	free(client->begun);
	free(client->pings);
	free(client);
}

/*
 * --- failing -------------------------------------------------------------------------------------
 */

__attribute__((format(printf, 5, 6))) static void fail(struct pingpong_client *client,
						       struct ping *ping, uint64_t *counter,
						       int err, const char *format, ...)
{
	struct pingpong_errors *errors = &client->errors;

	if (ping->state == PING_CONNECTING)
		client->connecting--;
	ping->state = PING_FAILED;
	client->outstanding -= ping->sent - ping->received;
	(*counter)++;
	if (!errors->first_err) {
		uint32_t id = client->params.first_id + (uint32_t)(ping - client->pings);
		va_list args;
		int n;

		errors->first_err = err;
		n = snprintf(errors->first, sizeof(errors->first), "connection %u ", id);
		va_start(args, format);
		vsnprintf(errors->first + n, sizeof(errors->first) - (size_t)n, format, args);
		va_end(args);
	}
	vly_abort(client->core, ping->conn);
}

static const char *connect_hint(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return " (local ports exhausted? widen net.ipv4.ip_local_port_range)";
	case -EMFILE:
		return " (raise the descriptor limit: ulimit -n)";
	case -ECONNREFUSED:
		return " (nothing listens there)";
	default:
		return "";
	}
}

static void connect_failed(struct pingpong_client *client, struct ping *ping, int err)
{
	char target[VLY_ADDR_TEXT_MAX];

	/* a full backlog: Unix sockets say EAGAIN, a server with tcp_abort_on_overflow resets */
	if (err == -EAGAIN || err == -ECONNRESET) {
		if (ping->state == PING_CONNECTING)
			client->connecting--;
		ping->state = PING_IDLE;
		client->todo[client->todo_count++] = (uint32_t)(ping - client->pings);
		client->pause_until_ns = vly_now_ns() + RETRY_NS;
		client->retries++;
		return;
	}
	fail(client, ping, &client->errors.connect, err, "could not connect to %s: %s%s",
	     vly_addr_format(&client->params.target, target, sizeof(target)), strerror(-err),
	     connect_hint(err));
}

/*
 * --- sending -------------------------------------------------------------------------------------
 */

/*
 * One reading for all messages that the coming flush sends, taken before it: a round trip is never
 * measured too short.
 */
static void stamp(struct pingpong_client *client)
{
	uint64_t now_ns = vly_now_ns();

	for (unsigned i = 0; i < client->unstamped_count; i++)
		*client->unstamped[i] = now_ns;
	client->unstamped_count = 0;
}

/* The message that will use `begun_ns` begins with the next flush. */
static void stamp_later(struct pingpong_client *client, uint64_t *begun_ns)
{
	if (client->unstamped_count == LOAD_BATCH) {
		stamp(client);
		vly_flush(client->core);
	}
	client->unstamped[client->unstamped_count++] = begun_ns;
}

/*
 * Sends up to message number `limit` (exclusive). What the engine refuses is sent when it has
 * DRAINED; its time runs already.
 */
static void send_until(struct pingpong_client *client, struct ping *ping, uint64_t limit)
{
	uint32_t size_bytes = client->params.size_bytes;

	while (ping->sent < limit) {
		int err;

		payload_fill(payload_base(ping->key, ping->sent), client->scratch, size_bytes);
		err = vly_send(client->core, ping->conn, client->scratch, size_bytes);
		if (err == -EAGAIN || err == -ENOTCONN)
			return; /* DRAINED follows, or CLOSED */
		if (err < 0) {
			fail(client, ping, &client->errors.lost, err, "could not send: %s",
			     strerror(-err));
			return;
		}
		ping->sent++;
		client->outstanding++;
	}
}

/* What a connection may send now: its first message only, until all start. */
static void send_due(struct pingpong_client *client, struct ping *ping)
{
	if (client->running)
		send_until(client, ping, ping->received + client->params.depth);
	else if (ping->state == PING_CONNECTING)
		send_until(client, ping, 1);
}

bool pingpong_client_connect(struct pingpong_client *client, uint64_t now_ns)
{
	const struct pingpong_params *params = &client->params;

	if (now_ns < client->pause_until_ns)
		return true;
	while (client->todo_count && client->connecting < params->connecting_max) {
		struct ping *ping = &client->pings[client->todo[--client->todo_count]];
		int err = vly_connect(client->core, &params->target,
				      params->source.family ? &params->source : NULL, ping,
				      &ping->conn);

		if (err < 0) {
			connect_failed(client, ping, err);
			return client->todo_count > 0;
		}
		ping->state = PING_CONNECTING;
		client->connecting++;
	}
	return false;
}

void pingpong_client_start(struct pingpong_client *client)
{
	uint64_t now_ns = vly_now_ns();

	client->running = true;
	for (uint32_t i = 0; i < client->params.connections; i++) {
		struct ping *ping = &client->pings[i];

		if (ping->state != PING_UP)
			continue;
		ping->heard_ns = now_ns;
		for (uint32_t k = 0; k < client->params.depth; k++)
			stamp_later(client, &ping->begun_ns[k]);
		send_due(client, ping);
	}
	stamp(client);
	vly_flush(client->core);
}

void pingpong_client_drain(struct pingpong_client *client)
{
	client->running = false;
}

void pingpong_client_window(struct pingpong_client *client, uint64_t begin_ns, uint64_t end_ns)
{
	client->begin_ns = begin_ns;
	client->end_ns = end_ns;
}

/*
 * --- receiving -----------------------------------------------------------------------------------
 */

/* Message `received` is back whole. */
static void complete(struct pingpong_client *client, struct ping *ping, uint64_t now_ns)
{
	uint64_t *begun_ns = &ping->begun_ns[ping->slot];

	if (now_ns >= client->begin_ns && now_ns < client->end_ns) {
		histogram_record(&client->latency, now_ns - *begun_ns);
		ping->counted++;
	}
	client->messages++;
	client->outstanding--;
	ping->received++;
	ping->slot = (uint16_t)(ping->slot + 1u == client->params.depth ? 0 : ping->slot + 1u);
	ping->offset = 0;
	if (client->running) {
		/* its successor has the same place: message m + depth */
		stamp_later(client, begun_ns);
	} else if (ping->state == PING_CONNECTING) {
		ping->state = PING_UP;
		ping->slot = 0;
		client->connecting--;
		client->up++;
	}
}

/* Bytes may hold a part of a message, or several. */
static void on_data(struct pingpong_client *client, struct ping *ping,
		    const struct vly_event *event, uint64_t now_ns)
{
	const uint8_t *data = event->data;
	uint32_t len = event->len;

	ping->heard_ns = now_ns;
	while (len) {
		uint32_t take = client->params.size_bytes - ping->offset, same;
		uint64_t base = payload_base(ping->key, ping->received);

		if (ping->received == ping->sent) {
			fail(client, ping, &client->errors.excess, -EBADMSG,
			     "got %u bytes more than it sent", len);
			return;
		}
		if (take > len)
			take = len;
		same = payload_differs(base, ping->offset, data, take);
		if (same < take) {
			uint32_t place = ping->offset + same;

			fail(client, ping, &client->errors.wrong, -EBADMSG,
			     "got a wrong echo: byte %u of message %llu is 0x%02x, not 0x%02x",
			     place, (unsigned long long)ping->received, data[same],
			     payload_byte(base, place));
			return;
		}
		ping->offset += take;
		data += take;
		len -= take;
		if (ping->offset == client->params.size_bytes)
			complete(client, ping, now_ns);
	}
	send_due(client, ping);
}

static void on_open(struct pingpong_client *client, struct ping *ping, int status, uint64_t now_ns)
{
	if (status < 0) {
		connect_failed(client, ping, status);
		return;
	}
	ping->heard_ns = now_ns;
	stamp_later(client, &ping->begun_ns[0]);
	send_due(client, ping);
}

static void on_event(struct pingpong_client *client, const struct vly_event *event, uint64_t now_ns)
{
	struct ping *ping = event->user;

	if (event->kind == VLY_NONE || ping->state == PING_FAILED)
		return; /* its own end has been told already */
	switch (event->kind) {
	case VLY_DATA:
		on_data(client, ping, event, now_ns);
		break;
	case VLY_OPEN:
		on_open(client, ping, event->status, now_ns);
		break;
	case VLY_DRAINED:
		send_due(client, ping);
		break;
	case VLY_EOF:
		fail(client, ping, &client->errors.lost, -ECONNRESET, "was closed by the server");
		break;
	case VLY_CLOSED:
		fail(client, ping, &client->errors.lost,
		     event->status ? event->status : -ECONNRESET, "was lost: %s",
		     event->status ? strerror(-event->status) : "closed");
		break;
	default:
		break;
	}
}

void pingpong_client_events(struct pingpong_client *client, const struct vly_event *events,
			    int count, uint64_t now_ns)
{
	for (int i = 0; i < count && i < PREFETCH_AHEAD; i++)
		__builtin_prefetch(events[i].user, 1);
	for (int i = 0; i < count; i++) {
		if (i + PREFETCH_AHEAD < count)
			__builtin_prefetch(events[i + PREFETCH_AHEAD].user, 1);
		on_event(client, &events[i], now_ns);
	}
	/* vly_poll() flushes first */
	stamp(client);
}

/*
 * --- what came of it -----------------------------------------------------------------------------
 */

uint32_t pingpong_client_up(const struct pingpong_client *client)
{
	return client->up;
}

uint64_t pingpong_client_messages(const struct pingpong_client *client)
{
	return client->messages;
}

uint64_t pingpong_client_outstanding(const struct pingpong_client *client)
{
	return client->outstanding;
}

uint64_t pingpong_client_sum(const struct pingpong_client *client)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < client->params.connections; i++)
		sum += payload_sum(client->pings[i].key, client->pings[i].received,
				   client->params.size_bytes);
	return sum;
}

uint64_t pingpong_client_retries(const struct pingpong_client *client)
{
	return client->retries;
}

const struct pingpong_errors *pingpong_client_errors(const struct pingpong_client *client)
{
	return &client->errors;
}

const struct histogram *pingpong_client_latency(const struct pingpong_client *client)
{
	return &client->latency;
}

uint64_t pingpong_client_count(const struct pingpong_client *client, uint32_t index)
{
	assert(index < client->params.connections);
	return client->pings[index].counted;
}

uint32_t pingpong_client_silent(const struct pingpong_client *client, uint64_t since_ns)
{
	uint32_t silent = 0;

	for (uint32_t i = 0; i < client->params.connections; i++) {
		const struct ping *ping = &client->pings[i];

		if (ping->state == PING_UP && ping->sent > ping->received &&
		    ping->heard_ns < since_ns)
			silent++;
	}
	return silent;
}
