/* pingpong_client.c - every echo is checked, timed, and answered by the next message */
#include "bench/pingpong_client.h"

#include "bench/payload.h"
#include "bench/pingpong_fail.h"
#include "bench/pingpong_quick.h"
#include "bench/pingpong_send.h"
#include "bench/pingpong_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_MAX                                                                                  \
	16 /* messages of one receive that are handled between two readings of the clock */

/* Memory by `params`. 0 or -ENOMEM. */
static int allocate(struct pingpong_client *client)
{
	uint32_t count = client->params.connections;
	size_t places = (size_t)count * client->ring;

	client->pings = aligned_alloc(64, count * sizeof(*client->pings));
	if (client->ring > 1)
		client->begun = calloc(places, sizeof(*client->begun));
	client->scratch = malloc(client->params.size_bytes);
	client->todo = malloc(count * sizeof(*client->todo));
	if (!client->pings || (client->ring > 1 && !client->begun) || !client->scratch ||
	    !client->todo || histogram_init(&client->figures.latency) < 0)
		return -ENOMEM;
	if (client->timed || client->params.reconnect) {
		client->paces = calloc(count, sizeof(*client->paces));
		if (!client->paces || agenda_init(&client->agenda, count) < 0)
			return -ENOMEM;
	}
	if (client->open_loop) {
		client->intended = calloc(places, sizeof(*client->intended));
		if (!client->intended || histogram_init(&client->figures.service) < 0)
			return -ENOMEM;
	}
	return 0;
}

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
	made->open_loop = params->schedule && params->schedule->steps_count > 0;
	made->timed = made->open_loop || params->think_max_ns;
	made->simple = !made->timed && !params->reconnect && !params->plain && params->depth == 1;
	for (made->ring = 1; made->ring < params->depth; made->ring *= 2)
		;
	made->mask = made->ring - 1;
	if (allocate(made) < 0) {
		pingpong_client_close(made);
		return -ENOMEM;
	}
	memset(made->pings, 0, count * sizeof(*made->pings));
	memset(made->scratch, 'X', params->size_bytes);
	for (uint32_t i = 0; i < count; i++) {
		made->pings[i].key = payload_key(params->seed, (uint64_t)params->first_id + i);
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
	histogram_fini(&client->figures.latency);
	histogram_fini(&client->figures.service);
	agenda_fini(&client->agenda);
	free(client->intended);
	free(client->paces);
	free(client->todo);
	free(client->scratch);
	free(client->begun);
	free(client->pings);
	free(client);
}

/*
 * --- opening and closing -------------------------------------------------------------------------
 */

/* Connects that the ramp allows by now. */
static uint32_t ramp_allows(struct pingpong_client *client, uint64_t now_ns)
{
	uint64_t ramp_ns = client->params.ramp_ns;

	if (!client->ramp_begin_ns)
		client->ramp_begin_ns = now_ns;
	if (now_ns - client->ramp_begin_ns >= ramp_ns)
		return UINT32_MAX;
	return 1 + (uint32_t)((double)client->params.connections *
			      (double)(now_ns - client->ramp_begin_ns) / (double)ramp_ns);
}

bool pingpong_client_connect(struct pingpong_client *client, uint64_t now_ns)
{
	const struct pingpong_params *params = &client->params;
	uint32_t allowed;

	if (!client->todo_count || now_ns < client->pause_until_ns)
		return client->todo_count > 0;
	allowed = ramp_allows(client, now_ns);
	while (client->todo_count && client->connecting < params->connecting_max) {
		struct ping *ping = &client->pings[client->todo[client->todo_count - 1]];
		struct vly_addr source;
		int err;

		if (client->opened >= allowed)
			return true;
		if (params->sources && params->sources->count)
			source = sources_at(params->sources, id_of(client, ping));
		client->todo_count--;
		err = vly_connect(client->core, &params->target,
				  params->sources && params->sources->count ? &source : NULL, ping,
				  &ping->conn);
		if (err < 0) {
			pingpong_connect_failed(client, ping, err);
			return client->todo_count > 0;
		}
		client->opened += client->opened < UINT32_MAX - 1;
		ping->state = PING_CONNECTING;
		client->connecting++;
	}
	return false;
}

static void now_up(struct pingpong_client *client, struct ping *ping)
{
	ping->state = PING_UP;
	client->connecting--;
	if (client->paces)
		pace_of(client, ping)->until = ping->sent + client->params.reconnect;
}

static void on_open(struct pingpong_client *client, struct ping *ping, int status, uint64_t now_ns)
{
	if (status < 0) {
		pingpong_connect_failed(client, ping, status);
		return;
	}
	ping->heard_ns = now_ns;
	if (client->running) {
		now_up(client, ping);
		client->figures.reopened += in_window(client, now_ns);
	} else if (client->params.plain) {
		now_up(client, ping);
		client->figures.up++;
	}
	pingpong_send_due(client, ping, now_ns);
}

static void on_closed(struct pingpong_client *client, struct ping *ping, int status,
		      uint64_t now_ns)
{
	if (ping->state != PING_CLOSING) {
		pingpong_fail(client, ping, &client->figures.errors.lost,
			      status ? status : -ECONNRESET, "was lost: %s",
			      status ? strerror(-status) : "closed");
		return;
	}
	if (status == -ETIMEDOUT) {
		pingpong_fail(client, ping, &client->figures.errors.lost, status,
			      "was closed by us, and the server did not close it");
		return;
	}
	client->closing--;
	ping->heard_ns = now_ns;
	ping->state = client->running ? PING_IDLE : PING_CLOSED;
	if (client->running)
		client->todo[client->todo_count++] = (uint32_t)(ping - client->pings);
}

static void hang_up(struct pingpong_client *client, struct ping *ping)
{
	ping->state = PING_CLOSING;
	client->closing++;
	vly_close(client->core, ping->conn);
}

void pingpong_client_start(struct pingpong_client *client, uint64_t start_ns)
{
	const struct pingpong_params *params = &client->params;
	uint64_t now_ns = vly_now_ns();

	client->running = true;
	client->start_ns = start_ns;
	client->end_ns = NEVER_NS; /* until the window is known */
	client->seen_ns = client->echo_ns = now_ns;
	for (uint32_t i = 0; i < params->connections; i++) {
		struct ping *ping = &client->pings[i];

		if (ping->state != PING_UP)
			continue;
		ping->heard_ns = now_ns;
		if (client->open_loop) {
			uint32_t id = id_of(client, ping);

			client->paces[i].place = schedule_first(params->schedule, id);
			client->paces[i].due_ns =
				start_ns + schedule_ns(params->schedule, client->paces[i].place);
		} else if (client->timed && !params->plain) {
			/* not all at once, or they would stay together */
			client->paces[i].due_ns =
				now_ns + schedule_random(params->seed, id_of(client, ping), 0) %
						 (params->think_max_ns + 1);
		}
		pingpong_send_due(client, ping, now_ns);
	}
	pingpong_stamp(client);
	vly_flush(client->core);
	client->unflushed = 0;
}

void pingpong_client_drain(struct pingpong_client *client)
{
	client->running = false;
}

void pingpong_client_hang_up(struct pingpong_client *client)
{
	client->running = false;
	for (uint32_t i = 0; i < client->params.connections; i++)
		if (client->pings[i].state == PING_UP)
			hang_up(client, &client->pings[i]);
}

uint32_t pingpong_client_closing(const struct pingpong_client *client)
{
	return client->closing;
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
static inline void complete(struct pingpong_client *client, struct ping *ping, uint64_t now_ns)
{
	const struct pingpong_params *params = &client->params;
	struct pingpong_figures *figures = &client->figures;
	uint64_t place = ping->received & client->mask;
	uint64_t *at = begun_at(client, ping, ping->received);
	uint64_t begun_ns = *at;

	*at = 0;
	if (in_window(client, now_ns)) {
		if (client->open_loop) {
			histogram_record(&figures->service, now_ns - begun_ns);
			begun_ns = client->intended[(size_t)(ping - client->pings) * client->ring +
						    place];
		}
		histogram_record(&figures->latency, now_ns - begun_ns);
		ping->counted++;
	}
	figures->messages++;
	figures->outstanding--;
	ping->received++;
	if (ping->state == PING_CONNECTING) {
		now_up(client, ping);
		figures->up++;
	} else if (client->timed && !client->open_loop) {
		uint64_t span_ns = params->think_max_ns - params->think_min_ns + 1;

		pace_of(client, ping)->due_ns =
			now_ns + params->think_min_ns +
			schedule_random(params->seed, id_of(client, ping), ping->received) %
				span_ns;
	}
}

/* How many bytes of message `number`, from `offset` on, are right. */
static uint32_t right_bytes(const struct pingpong_client *client, const struct ping *ping,
			    uint64_t number, uint32_t offset, const uint8_t *data, uint32_t len)
{
	uint32_t i = 0;

	if (!client->params.plain)
		return payload_differs(payload_base(ping->key, number), offset, data, len);
	while (i < len && data[i] == 'X')
		i++;
	return i;
}

static void fail_wrong(struct pingpong_client *client, struct ping *ping, uint64_t number,
		       uint8_t got, uint32_t place)
{
	uint64_t base = payload_base(ping->key, number);

	pingpong_fail(client, ping, &client->figures.errors.wrong, -EBADMSG,
		      "got a wrong echo: byte %u of message %llu is 0x%02x, not 0x%02x", place,
		      (unsigned long long)number, got,
		      client->params.plain ? 'X' : payload_byte(base, place));
}

/*
 * Compares what came, up to GROUP_MAX messages that it ends: they are counted in `whole`. The bytes
 * that were right; 0: the connection has failed.
 */
static uint32_t compare(struct pingpong_client *client, struct ping *ping, const uint8_t *data,
			uint32_t len, uint32_t *whole)
{
	uint32_t size_bytes = client->params.size_bytes;
	uint32_t offset = ping->offset, done = 0;

	*whole = 0;
	while (done < len && *whole < GROUP_MAX) {
		uint64_t number = ping->received + *whole;
		uint32_t take = size_bytes - offset, same;

		if (number == ping->sent) {
			pingpong_fail(client, ping, &client->figures.errors.excess, -EBADMSG,
				      "got %u bytes more than it sent", len - done);
			return 0;
		}
		if (take > len - done)
			take = len - done;
		same = right_bytes(client, ping, number, offset, data + done, take);
		if (same < take) {
			fail_wrong(client, ping, number, data[done + same], offset + same);
			return 0;
		}
		done += take;
		offset = offset + take < size_bytes ? offset + take : 0;
		*whole += !offset;
	}
	ping->offset = offset;
	return done;
}

/*
 * Bytes may hold a part of a message, or several. Several are timed by a reading of their own, once
 * they were compared, and those that follow them by one as soon as they are built: in between they are
 * in our hands, under way no longer, and that shall be no part of a round trip to speak of (Little's law
 * would miss it). With 64 at a time it was 5% of the round trips of 10 connections.
 */
static void on_data(struct pingpong_client *client, struct ping *ping,
		    const struct vly_event *event, uint64_t now_ns)
{
	const uint8_t *data = event->data;
	uint32_t len = event->len;
	bool several = len > client->params.size_bytes;

	ping->heard_ns = now_ns;
	while (len) {
		uint32_t whole, done = compare(client, ping, data, len, &whole);

		if (!done)
			return;
		if (several) {
			now_ns = vly_now_ns();
			under_way_until(client, now_ns);
		}
		for (uint32_t i = 0; i < whole; i++)
			complete(client, ping, now_ns);
		pingpong_send_due(client, ping, now_ns);
		if (ping->state == PING_FAILED)
			return;
		if (several)
			pingpong_stamp(client);
		data += done;
		len -= done;
	}
	if (client->params.reconnect && client->running && ping->state == PING_UP &&
	    ping->received == pace_of(client, ping)->until)
		hang_up(client, ping);
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
		pingpong_send_due(client, ping, now_ns);
		break;
	case VLY_EOF:
		pingpong_fail(client, ping, &client->figures.errors.lost, -ECONNRESET,
			      "was closed by the server");
		break;
	case VLY_CLOSED:
		on_closed(client, ping, event->status, now_ns);
		break;
	default:
		break;
	}
}

/* An echo ends the time without one, of which counts what lies in the window. */
static void end_silence(struct pingpong_client *client, uint64_t now_ns)
{
	uint64_t from_ns = client->echo_ns > client->begin_ns ? client->echo_ns : client->begin_ns;
	uint64_t until_ns = now_ns < client->end_ns ? now_ns : client->end_ns;

	if (client->begin_ns && until_ns > from_ns &&
	    until_ns - from_ns > client->figures.silence_ns)
		client->figures.silence_ns = until_ns - from_ns;
	client->echo_ns = now_ns;
}

void pingpong_client_events(struct pingpong_client *client, const struct vly_event *events,
			    int events_count, uint64_t now_ns)
{
	uint32_t count = events_count > 0 ? (uint32_t)events_count : 0;
	uint64_t messages = client->figures.messages;
	uint64_t timed = messages; /* that had come when now_ns was read */

	under_way_until(client, now_ns);
	for (uint32_t i = 0; i < count && i < PINGPONG_AHEAD; i++)
		__builtin_prefetch(events[i].user, 1);
	for (uint32_t i = 0; i < count;) {
		uint64_t since = client->figures.messages - timed;

		if (since >= LOAD_BATCH) {
			now_ns = vly_now_ns();
			under_way_until(client, now_ns);
			timed = client->figures.messages;
			since = 0;
		}
		uint32_t done = 0;

		if (client->simple && client->running)
			done = pingpong_quick(client, events + i, count - i,
					      LOAD_BATCH - (uint32_t)since, now_ns);
		if (!done)
			on_event(client, &events[i], now_ns);
		i += done ? done : 1;
	}
	if (client->figures.messages != messages)
		end_silence(client, now_ns);
}

/*
 * --- what came of it -----------------------------------------------------------------------------
 */

const struct pingpong_figures *pingpong_client_figures(const struct pingpong_client *client)
{
	return &client->figures;
}

uint64_t pingpong_client_sum(const struct pingpong_client *client)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < client->params.connections; i++)
		sum += payload_sum(client->pings[i].key, client->pings[i].received,
				   client->params.size_bytes);
	return sum;
}

uint64_t pingpong_client_count(const struct pingpong_client *client, uint32_t index)
{
	assert(index < client->params.connections);
	return client->pings[index].counted;
}

uint32_t pingpong_client_silent(struct pingpong_client *client, uint64_t since_ns)
{
	uint32_t silent = 0;

	for (uint32_t i = 0; i < client->params.connections; i++) {
		struct ping *ping = &client->pings[i];
		bool away = ping->state == PING_CLOSING || ping->state == PING_CONNECTING ||
			    ping->state == PING_IDLE;

		if (ping->state == PING_UP && ping->sent > ping->received)
			away = *begun_at(client, ping, ping->received) < since_ns;
		silent += away && ping->heard_ns < since_ns;
	}
	return silent;
}
