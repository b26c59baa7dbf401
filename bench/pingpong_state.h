/* pingpong_state.h - a load core's connections, as the parts of the client share them */
#ifndef VLY_BENCH_PINGPONG_STATE_H
#define VLY_BENCH_PINGPONG_STATE_H

#include "bench/agenda.h"
#include "bench/load.h"
#include "bench/pingpong_client.h"

#include <stddef.h>
#include <string.h>

#define NEVER_NS UINT64_MAX

enum ping_state {
	PING_IDLE = 0,   /* to be connected */
	PING_CONNECTING, /* the first time: up to the echo of its first message */
	PING_UP,
	PING_CLOSING, /* by us */
	PING_CLOSED,  /* for good */
	PING_FAILED,
};

/* One connection: one cache line. */
struct ping {
	vly_conn conn;
	uint64_t key;
	uint64_t sent;     /* messages given to the engine */
	uint64_t received; /* of them, back whole; messages under way: sent - received <= depth */
	uint64_t counted;  /* round trips that ended in the window */
	uint64_t begun_ns; /* of depth 1; else in client->begun: see begun_at() */
	uint64_t heard_ns; /* when bytes last came */
	uint32_t offset;   /* bytes of message `received` that have come, below size_bytes */
	uint8_t state;     /* enum ping_state */
	bool entered;      /* in the agenda */
	uint16_t spare;
};

static_assert(sizeof(struct ping) == 64, "one line per connection");
static_assert(offsetof(struct ping, offset) == 56 && offsetof(struct ping, state) == 60,
	      "one word, as ping_awaits_whole() builds it");

/* Up, nothing of an echo has come yet, not in the agenda: one comparison. */
static inline bool ping_awaits_whole(const struct ping *ping)
{
	const struct {
		uint32_t offset;
		uint8_t state, entered;
		uint16_t spare;
	} rest = {.state = PING_UP};
	uint64_t have, want;

	memcpy(&have, (const uint8_t *)ping + offsetof(struct ping, offset), sizeof(have));
	memcpy(&want, &rest, sizeof(want));
	return have == want;
}

/* What a connection has besides, unless it only answers echoes at once. */
struct pace {
	uint64_t due_ns;      /* of message `sent`; NEVER_NS: not known yet */
	schedule_place place; /* of that message, in an open loop */
	uint64_t until;       /* number of the message before which it is opened again */
};

struct pingpong_client {
	struct vly_core *core;
	struct pingpong_params params;
	struct ping *pings;
	struct pace *paces;    /* NULL: none has one */
	bool simple;           /* a message is answered by the next, one at a time, for ever */
	bool open_loop, timed; /* messages are meant for a time; they wait for one */
	uint32_t ring, mask;   /* depth, rounded up to a power of two */
	uint64_t *begun;       /* `ring` of them for each connection; NULL: of depth 1 */
	uint64_t *intended;    /* the same, in an open loop: when it was meant to be sent */
	uint8_t *scratch;      /* the message being built */
	uint32_t *todo;        /* a stack of connections that are to be opened */
	uint32_t todo_count, connecting, closing;
	uint32_t opened;         /* connects tried, for the ramp */
	uint64_t ramp_begin_ns;  /* 0: not begun */
	uint64_t pause_until_ns; /* no connect before */
	bool running;            /* echoes are answered */
	uint64_t start_ns, begin_ns, end_ns;
	uint64_t seen_ns, echo_ns;       /* when `outstanding` was last accounted; the last echo */
	uint64_t *unstamped[LOAD_BATCH]; /* send times that the next reading sets */
	unsigned unstamped_count;
	unsigned unflushed; /* messages given to the engine since its last flush, at least those */
	struct agenda agenda; /* connections by due_ns */
	struct pingpong_figures figures;
};

static inline struct pace *pace_of(const struct pingpong_client *client, const struct ping *ping)
{
	return &client->paces[ping - client->pings];
}

/*
 * When a message was sent; 0: it was not tried yet. One of a connection lies in its own cache line, so
 * that thousands of connections cost one line each and not two.
 */
static inline uint64_t *begun_at(struct pingpong_client *client, struct ping *ping, uint64_t number)
{
	if (!client->begun)
		return &ping->begun_ns;
	return &client->begun[(size_t)(ping - client->pings) * client->ring +
			      (number & client->mask)];
}

static inline uint32_t id_of(const struct pingpong_client *client, const struct ping *ping)
{
	return client->params.first_id + (uint32_t)(ping - client->pings);
}

static inline bool in_window(const struct pingpong_client *client, uint64_t now_ns)
{
	return now_ns >= client->begin_ns && now_ns < client->end_ns && client->begin_ns;
}

/*
 * Adds up messages under way since it was last called; before `outstanding` changes at a later
 * time.
 */
static inline void under_way_until(struct pingpong_client *client, uint64_t now_ns)
{
	uint64_t from_ns = client->seen_ns, until_ns = now_ns;

	if (now_ns <= from_ns)
		return; /* a batch reads the clock again while it is handled */
	if (from_ns < client->begin_ns)
		from_ns = client->begin_ns;
	if (until_ns > client->end_ns)
		until_ns = client->end_ns;
	if (client->begin_ns && from_ns < until_ns)
		client->figures.under_way_ns += client->figures.outstanding * (until_ns - from_ns);
	client->seen_ns = now_ns;
}

#endif
