/* pingpong_send.c - when a connection sends, and from when on its message is timed */
#include "bench/pingpong_send.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/payload.h"
#include "bench/pingpong_fail.h"

#define UNSENT_STEPS_MAX 100000 /* messages that are counted one by one */

/*
 * One reading for all messages that were built since the last one, taken before the flush that sends
 * them: a round trip is never measured too short.
 */
void pingpong_stamp(struct pingpong_client *client)
{
	uint64_t now_ns;

	if (!client->unstamped_count)
		return;
	now_ns = vly_now_ns();
	for (unsigned i = 0; i < client->unstamped_count; i++)
		*client->unstamped[i] = now_ns;
	client->unstamped_count = 0;
}

void pingpong_stamp_flush(struct pingpong_client *client)
{
	pingpong_stamp(client);
	vly_flush(client->core);
	client->unflushed = 0;
}

bool pingpong_not_sent(struct pingpong_client *client, struct ping *ping, int err)
{
	if (err != -EAGAIN && err != -ENOTCONN) /* else DRAINED follows, or CLOSED */
		pingpong_fail(client, ping, &client->figures.errors.lost, err, "could not send: %s",
			      strerror(-err));
	return false;
}

bool pingpong_send_next(struct pingpong_client *client, struct ping *ping)
{
	uint32_t size_bytes = client->params.size_bytes;
	uint64_t *begun_ns = begun_at(client, ping, ping->sent);
	int err;

	if (!*begun_ns)
		pingpong_stamp_later(client, begun_ns);
	if (!client->params.plain)
		payload_fill(payload_base(ping->key, ping->sent), client->scratch, size_bytes);
	err = vly_send(client->core, ping->conn, client->scratch, size_bytes);
	if (err < 0)
		return pingpong_not_sent(client, ping, err);
	ping->sent++;
	client->figures.outstanding++;
	return true;
}

/* The number of the first message that may not be sent yet, whatever the time. */
static uint64_t limit_of(const struct pingpong_client *client, const struct ping *ping)
{
	uint64_t limit = ping->received + client->params.depth;

	if (client->params.reconnect && limit > pace_of(client, ping)->until)
		limit = pace_of(client, ping)->until;
	return limit;
}

/* In an open loop: where message `sent` belongs, now that the one before it was sent. */
static void plan_next(struct pingpong_client *client, struct ping *ping, struct pace *pace)
{
	const struct schedule *schedule = client->params.schedule;
	uint64_t due_ns;

	if (pace->due_ns >= client->begin_ns)
		client->figures.due_sent += client->begin_ns > 0;
	pace->place = schedule_next(schedule, id_of(client, ping), ping->sent, pace->place);
	due_ns = schedule_ns(schedule, pace->place);
	pace->due_ns = due_ns < NEVER_NS - client->start_ns ? client->start_ns + due_ns : NEVER_NS;
}

/* Nothing but the time keeps its next message from being sent. */
static bool may_wait(const struct pingpong_client *client, const struct ping *ping,
		     const struct pace *pace)
{
	return ping->sent < limit_of(client, ping) && pace->due_ns < client->end_ns;
}

/* The first of the agenda, which it is, is not in it any more. */
static void leave(struct pingpong_client *client, struct ping *ping)
{
	(void)agenda_pop(&client->agenda);
	ping->entered = false;
}

/* Sends what is due, and enters what will be. */
static void send_timed(struct pingpong_client *client, struct ping *ping, uint64_t now_ns)
{
	struct pace *pace = pace_of(client, ping);
	uint64_t limit = limit_of(client, ping);

	while (ping->sent < limit && pace->due_ns <= now_ns && pace->due_ns < client->end_ns) {
		if (client->open_loop)
			client->intended[(size_t)(ping - client->pings) * client->ring +
					 (ping->sent & client->mask)] = pace->due_ns;
		if (!pingpong_send_next(client, ping))
			return;
		if (client->open_loop)
			plan_next(client, ping, pace);
		else
			pace->due_ns = NEVER_NS; /* until the echo */
	}
	if (!ping->entered && may_wait(client, ping, pace)) {
		agenda_push(&client->agenda, pace->due_ns, (uint32_t)(ping - client->pings));
		ping->entered = true;
	}
}

/* What a connection may send now. */
void pingpong_send_due(struct pingpong_client *client, struct ping *ping, uint64_t now_ns)
{
	if (ping->state == PING_CONNECTING) {
		/* its first message, before all start */
		if (!ping->sent)
			pingpong_send_next(client, ping);
	} else if (client->running && ping->state == PING_UP) {
		if (client->timed)
			send_timed(client, ping, now_ns);
		else
			for (uint64_t limit = limit_of(client, ping); ping->sent < limit;)
				if (!pingpong_send_next(client, ping))
					break;
	}
}

uint64_t pingpong_client_tick(struct pingpong_client *client, uint64_t now_ns)
{
	struct pingpong_figures *figures = &client->figures;

	under_way_until(client, now_ns);
	while (agenda_next_ns(&client->agenda) <= now_ns) {
		uint64_t late_ns = now_ns - agenda_next_ns(&client->agenda);
		struct ping *ping = &client->pings[agenda_first(&client->agenda)];
		struct pace *pace = pace_of(client, ping);

		if (!client->running || ping->state != PING_UP) {
			leave(client, ping);
			continue;
		}
		figures->lags++;
		figures->lag_sum_ns += late_ns;
		if (late_ns > figures->lag_max_ns)
			figures->lag_max_ns = late_ns;
		/* meanwhile it stays the first: nobody else is entered */
		pingpong_send_due(client, ping, now_ns);
		if (may_wait(client, ping, pace) && pace->due_ns > now_ns)
			agenda_delay(&client->agenda, pace->due_ns);
		else
			leave(client, ping);
	}
	/* vly_poll() flushes first */
	pingpong_stamp(client);
	client->unflushed = 0;
	return agenda_next_ns(&client->agenda);
}

/* Messages of a connection, from `place` on, that are due before `end`. */
static uint64_t due_before(const struct schedule *schedule, schedule_place place,
			   schedule_place end)
{
	return place < end ? (uint64_t)ceil((end - place) / schedule->connections) : 0;
}

struct pingpong_unsent pingpong_client_unsent(const struct pingpong_client *client)
{
	const struct schedule *schedule = client->params.schedule;
	struct pingpong_unsent unsent = {0, 0};
	schedule_place begin, end;
	uint32_t steps = 0;

	if (!client->open_loop || !client->begin_ns)
		return unsent;
	begin = schedule_at(schedule, client->begin_ns - client->start_ns);
	end = schedule_at(schedule, client->end_ns - client->start_ns);
	for (uint32_t i = 0; i < client->params.connections; i++) {
		schedule_place place = client->paces[i].place;
		uint64_t number = client->pings[i].sent, before;

		for (; place < end && steps < UNSENT_STEPS_MAX; steps++) {
			unsent.before += place < begin;
			unsent.within += place >= begin;
			place = schedule_next(schedule, client->params.first_id + i, ++number,
					      place);
		}
		/* so many that their mean number is near enough */
		before = due_before(schedule, place, begin);
		unsent.before += before;
		unsent.within += due_before(schedule, place, end) - before;
	}
	return unsent;
}
