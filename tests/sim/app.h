/* app.h - the applications of a simulation: what each end of each connection does, and what it must see */
#ifndef VLY_TESTS_SIM_APP_H
#define VLY_TESTS_SIM_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/host.h"
#include "tests/sim/rng.h"
#include "tests/sim/violation.h"

#define APP_LINKS 512
#define APP_PORTS 4

enum app_finish {
	APP_CLOSE,      /* all sent (and, in a ping-pong, all come back): vly_close */
	APP_SHUT,       /* all sent: vly_shutdown; the peer's EOF: vly_close */
	APP_WAIT,       /* the peer's EOF and all sent: vly_close */
	APP_ABORT,      /* at some byte: vly_abort */
	APP_CLOSE_SOON, /* in the batch of OPEN, or of the first DATA */
};

/* What one end is to do. */
struct app_plan {
	uint64_t bytes; /* it sends so many */
	bool echo;      /* it sends what it gets, instead */
	uint32_t chunk_min, chunk_max;
	uint32_t ahead; /* a ping-pong: so far ahead of what came back at most; 0: not one */
	enum app_finish finish;
	uint64_t abort_at;                            /* bytes sent and received */
	double pause, hold, owned, vectored, forward; /* chances per event, per send */
	uint64_t pause_ns, hold_ns;
};

enum app_stage {
	APP_IDLE,    /* not begun, or not yet accepted */
	APP_OPENING, /* OPEN is to come */
	APP_OPENED,
	APP_OVER, /* its last event was seen */
};

struct app_link;

struct app_end {
	struct app_link *link;
	struct app_end *peer;
	unsigned host;
	enum app_stage stage;
	struct app_plan plan;
	vly_conn conn;
	uint64_t tx_key, rx_key;
	uint64_t sent, received;
	bool blocked, shut, closed, aborted, eof, paused;
	bool gone;      /* a call said so; its last event is to come */
	uint32_t owned; /* lent to the engine, SENT to come */
	int status;     /* of OPEN, or of CLOSED */
	uint64_t changed_ns;
};

enum app_kind {
	APP_NORMAL,
	APP_REFUSED,      /* nobody listens */
	APP_NOBODY,       /* no such host */
	APP_SIMULTANEOUS, /* both connect */
};

struct app_link {
	enum app_kind kind;
	unsigned index;
	struct app_end end[2]; /* the one that connects, the one that accepts */
	uint64_t start_ns;
	uint32_t ip[2];
	uint16_t port[2];
	bool started;
};

/* Which end of its link it is. */
static inline unsigned app_side(const struct app_end *end)
{
	return end == &end->link->end[1];
}

/* What must hold of an end, in the name of its link. */
#define claim(e, cond, format, ...)                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			violated("link %u, end %u on host %u, port %u to %u: " format,             \
				 (e)->link->index, app_side(e), (e)->host,                         \
				 (e)->link->port[app_side(e)],                                     \
				 (e)->link->port[!app_side(e)] __VA_OPT__(, ) __VA_ARGS__);        \
	} while (0)

struct app {
	struct hosts *hosts;
	struct rng rng;
	uint32_t ip, ips; /* of host 0; each has so many */
	uint16_t listen_ports[APP_PORTS];
	unsigned links_count;
	struct app_link links[APP_LINKS];
	bool gentle; /* nothing happens that TCP does not get over: only planned ends are right */
	bool foes;   /* frames from nowhere are about */
	bool ghosts_may_come; /* SYN cookies: an old ACK may open a connection once more */
	uint32_t ghosts;
	uint32_t holds, chores;
	uint32_t stillborn; /* OPEN was seen of them, and they are gone: CLOSED is to come */
	uint64_t opened, bytes;
};

/* Wires itself to `hosts`, whose events are its own from now on. */
void app_init(struct app *app, struct hosts *hosts, struct rng rng);

/* Every host listens on every port of the application. */
void app_listen(struct app *app, int backlog);

/* Starts what is due; when the next link starts, UINT64_MAX: all have. */
uint64_t app_start(struct app *app, uint64_t now_ns);

/* Whether every link has come to its end. */
bool app_done(const struct app *app);

/* What is not over, in words. */
const char *app_unfinished(const struct app *app);

/*
 * Takes down those whose peer has gone for good without their knowing, as happens when a reset is
 * lost, and who have seen nothing for so long.
 */
void app_abort_orphans(struct app *app, uint64_t now_ns, uint64_t patience_ns);

/* Takes down whatever still stands. */
void app_abort_all(struct app *app);

/* What must hold once all is over. */
void app_check_end(const struct app *app);

#endif
