/* app.c - the applications of a simulation: what each end of each connection does, and what it must see */
#include "tests/sim/app.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "tests/sim/stream.h"
#include "tests/sim/violation.h"

#define CHUNK_MAX 65536u

/* Something to be done later: what a TIMER's user points to. */
struct chore {
	enum {
		CHORE_RESUME,
		CHORE_RELEASE
	} what;
	struct app_end *end;
	vly_conn conn;
	uint8_t *data;
	uint32_t len, buf;
	uint64_t key, offset;
};

/* Memory that vly_send_owned borrows: its cookie. */
struct loan {
	struct app_end *end;
	uint64_t key, offset;
	uint32_t len;
	uint8_t data[];
};

static struct app *the_app;

static struct vly_core *core_of(const struct app_end *end)
{
	return the_app->hosts->core[end->host];
}

static struct vly_addr addr_of(uint32_t ip, uint16_t port)
{
	struct vly_addr addr = {.family = VLY_IP4, .port = port};

	for (unsigned i = 0; i < 4; i++)
		addr.ip4[i] = (uint8_t)(ip >> (24 - 8 * i));
	return addr;
}

static void chore_later(struct app *app, struct chore *chore, uint64_t delay_ns)
{
	vly_timer timer;
	int error = vly_timer_start(core_of(chore->end), delay_ns, chore, &timer);

	must(!error, "no timer: %s", strerror(-error));
	app->chores++;
}

/* --- sending ---------------------------------------------------------------------------------- */

static int send_owned(struct app_end *end, uint32_t len)
{
	struct loan *loan = malloc(sizeof(*loan) + len);

	*loan = (struct loan){end, end->tx_key, end->sent, len};
	stream_fill(loan->data, len, end->tx_key, end->sent);
	int error = vly_send_owned(core_of(end), end->conn, loan->data, len, loan);

	if (error)
		free(loan);
	else
		end->owned++;
	return error;
}

static int send_chunk(struct app *app, struct app_end *end, uint32_t len)
{
	static uint8_t chunk[CHUNK_MAX];

	if (rng_chance(&app->rng, end->plan.owned))
		return send_owned(end, len);
	stream_fill(chunk, len, end->tx_key, end->sent);
	if (len > 1 && rng_chance(&app->rng, end->plan.vectored)) {
		uint32_t cut = (uint32_t)rng_below(&app->rng, len);
		struct iovec iov[2] = {{chunk, cut}, {chunk + cut, len - cut}};

		return vly_sendv(core_of(end), end->conn, iov, 2);
	}
	return vly_send(core_of(end), end->conn, chunk, len);
}

static uint64_t may_send(const struct app_end *end)
{
	const struct app_plan *plan = &end->plan;
	uint64_t limit = plan->echo ? end->received : plan->bytes;

	if (plan->ahead)
		limit = VLY_MIN(limit, end->received + plan->ahead);
	return limit > end->sent ? limit - end->sent : 0;
}

static bool all_sent(const struct app_end *end)
{
	const struct app_plan *plan = &end->plan;

	if (plan->echo)
		return end->eof && end->sent == end->received;
	return end->sent == plan->bytes && (!plan->ahead || end->received == plan->bytes);
}

/* False: the connection has died since the batch was made, and its last event is to come. */
static bool went_well(struct app_end *end, int error, const char *call)
{
	end->gone |= error == -ENOTCONN;
	claim(end, !error || error == -ENOTCONN, "%s: %s", call, strerror(-error));
	return !error;
}

static void end_close(struct app_end *end)
{
	if (went_well(end, vly_close(core_of(end), end->conn), "vly_close"))
		end->closed = true;
}

static void end_abort(struct app_end *end)
{
	if (went_well(end, vly_abort(core_of(end), end->conn), "vly_abort"))
		end->aborted = true;
}

/* Sends what may be sent, and finishes when there is nothing more to do. */
static void end_push(struct app *app, struct app_end *end)
{
	struct app_plan *plan = &end->plan;
	uint64_t left;

	if (end->stage != APP_OPENED || end->closed || end->aborted || end->gone)
		return;
	while (!end->shut && !end->blocked && (left = may_send(end)) > 0) {
		uint64_t most = rng_range(&app->rng, plan->chunk_min, plan->chunk_max);
		uint32_t len = (uint32_t)VLY_MIN(left, most);
		int error = send_chunk(app, end, len);

		if (error == -EAGAIN) {
			end->blocked = true;
			break;
		}
		if (!went_well(end, error, "sending"))
			return;
		end->sent += len;
		app->bytes += len;
		if (plan->finish == APP_ABORT && end->sent + end->received >= plan->abort_at) {
			end_abort(end);
			return;
		}
	}
	if (!all_sent(end) || end->blocked)
		return;
	if (plan->finish == APP_CLOSE || plan->finish == APP_CLOSE_SOON || end->eof) {
		end_close(end);
	} else if (plan->finish == APP_SHUT && !end->shut) {
		end->shut = went_well(end, vly_shutdown(core_of(end), end->conn), "vly_shutdown");
	} else if (plan->finish == APP_ABORT) {
		end_abort(end);
	}
}

/* --- what comes ------------------------------------------------------------------------------- */

static void keys_set(struct app_end *end)
{
	unsigned side = app_side(end);
	struct app_link *link = end->link;
	struct stream tx = {link->ip[side], link->ip[!side], link->port[side], link->port[!side]};
	struct stream rx = {tx.dst_ip, tx.src_ip, tx.dst_port, tx.src_port};

	end->tx_key = stream_key(&tx);
	end->rx_key = stream_key(&rx);
}

/* The link whose other end has connected from `peer`. */
static struct app_end *accepted_by(struct app *app, unsigned host, const struct vly_event *event)
{
	struct vly_addr local, peer;
	int error = vly_name(app->hosts->core[host], event->conn, &local, &peer);
	char text[2][64];

	if (error == -ENOTCONN)
		return NULL; /* reset before anybody looked: only its CLOSED will be seen */
	must(!error, "host %u: no name of an accepted connection: %s", host, strerror(-error));
	vly_addr_format(&local, text[0], sizeof(text[0]));
	vly_addr_format(&peer, text[1], sizeof(text[1]));
	for (unsigned i = app->links_count; i-- > 0;) {
		struct app_link *link = &app->links[i];
		struct vly_addr from = addr_of(link->ip[0], link->port[0]);
		struct vly_addr to = addr_of(link->ip[1], link->port[1]);

		if (link->started && link->kind == APP_NORMAL && link->end[1].stage == APP_IDLE &&
		    vly_addr_equal(&from, &peer) && vly_addr_equal(&to, &local))
			return &link->end[1];
	}
	must(app->ghosts_may_come, "host %u: %s accepted from %s, who did not connect", host,
	     text[0], text[1]);
	app->ghosts++;
	must(vly_abort(app->hosts->core[host], event->conn) == 0, "a ghost cannot be aborted");
	return NULL;
}

/* A gentle world lets a connect fail for no other reason than the planned one. */
static void check_failed(const struct app *app, const struct app_end *end)
{
	bool wanted = end->closed || end->aborted || end->peer->aborted;

	if (!app->gentle || wanted)
		return;
	claim(end, end->link->kind == APP_REFUSED || end->link->kind == APP_NOBODY,
	      "does not connect: %s", strerror(-end->status));
	claim(end, (end->status == -ECONNREFUSED) == (end->link->kind == APP_REFUSED),
	      "does not connect as it should: %s", strerror(-end->status));
}

static void on_open(struct app *app, struct app_end *end, const struct vly_event *event)
{
	claim(end, end->stage == APP_OPENING, "OPEN in stage %d", end->stage);
	end->status = event->status;
	if (event->status) {
		end->stage = APP_OVER;
		check_failed(app, end);
		return;
	}
	claim(end, end->link->kind == APP_NORMAL || end->link->kind == APP_SIMULTANEOUS,
	      "connected to nobody");
	app->opened++;
	end->stage = APP_OPENED;
	if (end->plan.finish == APP_CLOSE_SOON && !end->plan.bytes)
		end_close(end);
}

static void hold_data(struct app *app, struct app_end *end, struct vly_event *event,
		      uint64_t offset)
{
	int error = vly_hold(core_of(end), event);

	if (error == -ENOBUFS)
		return;
	claim(end, !error, "vly_hold: %s", strerror(-error));
	struct chore *chore = malloc(sizeof(*chore));

	*chore = (struct chore){CHORE_RELEASE, end,        end->conn,   event->data,
				event->len,    event->buf, end->rx_key, offset};
	chore_later(app, chore, end->plan.hold_ns);
	app->holds++;
}

static void pause_reading(struct app *app, struct app_end *end)
{
	if (!went_well(end, vly_pause(core_of(end), end->conn), "vly_pause"))
		return;
	struct chore *chore = malloc(sizeof(*chore));

	end->paused = true;
	*chore = (struct chore){.what = CHORE_RESUME, .end = end, .conn = end->conn};
	chore_later(app, chore, end->plan.pause_ns);
}

static void on_data(struct app *app, struct app_end *end, struct vly_event *event)
{
	uint64_t right = stream_matches(event->data, event->len, end->rx_key, end->received);

	claim(end, event->len > 0, "DATA of nothing");
	claim(end, !end->eof, "DATA after EOF");
	claim(end, right == event->len, "wrong byte at %llu of what it receives",
	      (unsigned long long)(end->received + right));
	end->received += event->len;
	claim(end, end->received <= end->peer->sent, "received %llu, sent were %llu",
	      (unsigned long long)end->received, (unsigned long long)end->peer->sent);
	if (rng_chance(&app->rng, end->plan.hold))
		hold_data(app, end, event, end->received - event->len);
	if (end->plan.echo && end->sent + event->len == end->received && !end->blocked &&
	    rng_chance(&app->rng, end->plan.forward)) {
		int error = vly_send_event(core_of(end), end->conn, event);

		end->blocked = error == -EAGAIN;
		if (!end->blocked && error != -EMSGSIZE)
			went_well(end, error, "vly_send_event");
		end->sent += error ? 0 : event->len;
	}
	if (!end->paused && rng_chance(&app->rng, end->plan.pause))
		pause_reading(app, end);
	if (end->plan.finish == APP_CLOSE_SOON && !end->closed)
		end_close(end);
	else if (end->plan.finish == APP_ABORT && end->sent + end->received >= end->plan.abort_at)
		end_abort(end);
}

static void on_eof(struct app_end *end)
{
	claim(end, !end->eof, "a second EOF");
	end->eof = true;
	claim(end, end->peer->shut || end->peer->closed, "EOF, but the peer has not finished");
	claim(end, end->received == end->peer->sent, "EOF after %llu of %llu bytes",
	      (unsigned long long)end->received, (unsigned long long)end->peer->sent);
}

/* A gentle world ends a connection in no other way than one of its ends has chosen. */
static void check_status(const struct app_end *end, int status)
{
	const struct app_end *peer = end->peer;
	/* A foe's SYN may take the place of the peer's TIME-WAIT, which owes the last ACK. */
	bool ends_in_time_wait = the_app->foes && end->closed && peer->stage == APP_OVER &&
				 !peer->status && status == -ECONNRESET;

	if (end->aborted)
		claim(end, status == -ECONNABORTED, "aborted, and CLOSED says %s",
		      strerror(-status));
	else if (status == 0)
		claim(end, end->closed, "CLOSED 0, and it was not closed");
	else if (the_app->gentle && !ends_in_time_wait)
		claim(end, peer->aborted && (status == -ECONNRESET || status == -EPIPE),
		      "CLOSED says %s", strerror(-status));
}

static void on_closed(struct app_end *end, const struct vly_event *event)
{
	claim(end, end->stage == APP_OPENED, "CLOSED in stage %d", end->stage);
	claim(end, !end->gone || event->status, "CLOSED 0, and it was dead before");
	claim(end, end->owned == 0, "CLOSED, and %u SENT are to come", end->owned);
	check_status(end, event->status);
	end->status = event->status;
	end->stage = APP_OVER;
}

static void on_sent(const struct vly_event *event)
{
	struct loan *loan = (struct loan *)event->data;
	struct app_end *end = loan->end;

	claim(end, end->owned > 0, "SENT of nothing");
	claim(end, stream_matches(loan->data, loan->len, loan->key, loan->offset) == loan->len,
	      "borrowed memory was changed");
	end->owned--;
	memset(loan->data, 0xee, loan->len);
	free(loan);
}

static void on_timer(struct app *app, struct chore *chore)
{
	struct app_end *end = chore->end;

	app->chores--;
	if (chore->what == CHORE_RELEASE) {
		claim(end,
		      stream_matches(chore->data, chore->len, chore->key, chore->offset) ==
			      chore->len,
		      "held data has changed");
		int error = vly_release(core_of(end), chore->buf);

		claim(end, !error, "vly_release: %s", strerror(-error));
		app->holds--;
	} else {
		end->paused = false;
		if (end->stage == APP_OPENED && end->conn == chore->conn && !end->aborted)
			(void)vly_resume(core_of(end), end->conn);
	}
	free(chore);
}

static void on_event(void *arg, unsigned host, struct vly_event *event)
{
	struct app *app = arg;
	struct app_end *end = event->user;

	if (event->kind == VLY_NONE)
		return;
	if (event->kind == VLY_TIMER) {
		on_timer(app, event->user);
		return;
	}
	if (event->kind == VLY_SENT) {
		on_sent(event);
		return;
	}
	if (event->kind == VLY_OPEN && event->flags & VLY_ACCEPTED) {
		end = accepted_by(app, host, event);
		if (!end) {
			app->stillborn++;
			return;
		}
		end->conn = event->conn;
		end->stage = APP_OPENING;
		keys_set(end);
		must(vly_set_user(app->hosts->core[host], event->conn, end) == 0, "no user");
	}
	if (!end && event->kind == VLY_CLOSED && app->stillborn) {
		app->stillborn--;
		return;
	}
	must(end != NULL, "host %u: event %u of nobody", host, event->kind);
	claim(end, end->host == host && end->conn == event->conn, "another's event %u",
	      event->kind);
	claim(end, end->stage != APP_OVER, "event %u after its last one", event->kind);
	end->changed_ns = vly_clock_ns();
	switch (event->kind) {
	case VLY_OPEN:
		on_open(app, end, event);
		break;
	case VLY_DATA:
		claim(end, !end->closed && !end->aborted, "DATA after vly_close");
		on_data(app, end, event);
		break;
	case VLY_EOF:
		on_eof(end);
		break;
	case VLY_DRAINED:
		claim(end, end->blocked, "DRAINED, and it was not blocked");
		end->blocked = false;
		break;
	case VLY_CLOSED:
		on_closed(end, event);
		return;
	default:
		violated("host %u: event of kind %u", host, event->kind);
	}
	end_push(app, end);
}

/* --- beginning and end ------------------------------------------------------------------------ */

void app_init(struct app *app, struct hosts *hosts, struct rng rng)
{
	the_app = app;
	app->hosts = hosts;
	app->rng = rng;
	hosts->on_event = on_event;
	hosts->arg = app;
}

void app_listen(struct app *app, int backlog)
{
	for (unsigned host = 0; host < app->hosts->count; host++) {
		for (unsigned i = 0; i < APP_PORTS; i++) {
			struct vly_listen_opts opts = {.backlog = backlog};
			struct vly_addr addr = addr_of(0, app->listen_ports[i]);
			vly_conn listener;
			int error =
				vly_listen(app->hosts->core[host], &addr, &opts, NULL, &listener);

			must(!error, "host %u does not listen on port %u: %s", host,
			     app->listen_ports[i], strerror(-error));
		}
	}
}

static void end_connect(struct app *app, struct app_end *end)
{
	struct app_link *link = end->link;
	unsigned side = app_side(end);
	struct vly_addr to = addr_of(link->ip[!side], link->port[!side]);
	struct vly_addr from = addr_of(link->ip[side], link->port[side]), local;
	int error = vly_connect(core_of(end), &to, &from, end, &end->conn);

	app->hosts->touched[end->host] = true;
	if (error == -ENOBUFS && !app->gentle) {
		end->stage = APP_OVER; /* the table is full: that is an answer */
		end->status = error;
		return;
	}
	claim(end, !error, "vly_connect: %s", strerror(-error));
	end->stage = APP_OPENING;
	error = vly_name(core_of(end), end->conn, &local, NULL);
	claim(end, !error, "no name of a connecting connection: %s", strerror(-error));
	link->port[side] = local.port;
	link->ip[side] = (uint32_t)local.ip4[0] << 24 | (uint32_t)local.ip4[1] << 16 |
			 (uint32_t)local.ip4[2] << 8 | local.ip4[3];
	claim(end, link->port[side] != 0, "no port of its own");
	keys_set(end);
}

uint64_t app_start(struct app *app, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	for (unsigned i = 0; i < app->links_count; i++) {
		struct app_link *link = &app->links[i];

		if (link->started)
			continue;
		if (link->start_ns > now_ns) {
			next_ns = VLY_MIN(next_ns, link->start_ns);
			continue;
		}
		link->started = true;
		link->index = i;
		for (unsigned side = 0; side < 2; side++) {
			struct app_end *end = &link->end[side];

			end->link = link;
			end->peer = &link->end[!side];
		}
		end_connect(app, &link->end[0]);
		if (link->kind == APP_SIMULTANEOUS)
			end_connect(app, &link->end[1]);
	}
	return next_ns;
}
