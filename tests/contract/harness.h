/* harness.h - opens cores over the nic of VOLLEY_TEST_NIC, polls them, checks every event */
#ifndef VLY_TESTS_CONTRACT_HARNESS_H
#define VLY_TESTS_CONTRACT_HARNESS_H

#include "tests/contract/track.h"
#include "tests/support/leak.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "volley/volley.h"

#define WORLD_CORES 16

/* The two cores of the default world. */
#define SERVER 0
#define CLIENT 1

#define MSEC 1000000ull
#define SEC 1000000000ull
/*
 * How long anything may take before a test gives up; no claim about speed. VOLLEY_TEST_PATIENCE: the
 * seconds, for machines that are emulated.
 */
#define PATIENCE_NS (harness_patience_s() * SEC)
uint64_t harness_patience_s(void);

/*
 * An engine whose cores were opened by, and are polled on, the test's own thread. Every batch goes
 * through the tracks (track.h), which hold the rules that any sequence of events obeys; then the
 * hooks see it.
 */
struct world {
	struct vly_engine *engine;
	struct vly_core *core[WORLD_CORES];
	unsigned cores;
	struct world *next; /* another world that takes part in this one's rounds */
	struct tracks tracks;
	struct vly_addr addr; /* of the last listener */
	vly_conn accepted;    /* connection of the last OPEN with VLY_ACCEPTED */
	uint64_t rounds;
	/* Before the batch is looked at, and for each event after it was recorded. */
	void (*on_batch)(struct world *w, unsigned core, struct vly_event *events, int count);
	void (*on_event)(struct world *w, unsigned core, struct vly_event *event);
	void *arg;
};

/* One stream, both of its ends in the world. */
struct link {
	vly_conn client;
	vly_conn server;
};

/* --- the nic under test ---------------------------------------------------------------------- */

/* VOLLEY_TEST_NIC, default "epoll". */
const char *harness_nic(void);

/* Skips a test of more cores than VOLLEY_TEST_CORES, where the nic under test joins so many. */
void harness_need_cores(unsigned cores);

/* Whether a plain socket of this machine can talk to the nic. */
bool harness_kernel_sockets(void);

/* Whether the nic speaks this family here. */
bool harness_family(enum vly_family family);

/*
 * Whether the nic's name (before the colon) is `name`: for the few claims about one nic's system
 * calls.
 */
bool harness_nic_is(const char *name);

/* Swallows log lines: for tests that provoke them. */
void harness_hush(void);

#define need_kernel_sockets()                                                                      \
	do {                                                                                       \
		if (!harness_kernel_sockets())                                                     \
			cr_skip_test("%s is not reached by kernel sockets", harness_nic());        \
	} while (0)

/* Whether sockets shake hands before their core polls: the kernel does, a stack of our own cannot. */
#define shakes_hands_unpolled() harness_kernel_sockets()

/* Over the hub each core is a host of its own, and each engine a network of its own. */
#define need_one_network()                                                                         \
	do {                                                                                       \
		if (harness_nic_is("inet"))                                                        \
			cr_skip_test("%s: engines, or one address of many cores, do not meet",     \
				     harness_nic());                                               \
	} while (0)

/* A side of the loop hears the other only, never itself. */
#define need_talk_to_itself()                                                                      \
	do {                                                                                       \
		if (strstr(harness_nic(), "loop,"))                                                \
			cr_skip_test("%s: a core does not reach itself", harness_nic());           \
	} while (0)

#define need_family(family)                                                                        \
	do {                                                                                       \
		if (!harness_family(family))                                                       \
			cr_skip_test("%s has no such addresses here", harness_nic());              \
	} while (0)

/* --- the world ------------------------------------------------------------------------------- */

/* Small pools, sleep idle, no pinning, no huge pages; `cores` cores. */
void world_config(struct vly_config *config, unsigned cores);

/* Opens an engine and all its cores. */
void world_open_config(struct world *w, const struct vly_config *config);

/* The default: SERVER and CLIENT. */
void world_open(struct world *w);
void world_close(struct world *w);

/* Polls one core; its events are recorded. Returns their count. */
int world_poll(struct world *w, unsigned core, int64_t timeout_ns);

/* Polls every core once, and waits a moment on one of them if nothing came. */
int world_round(struct world *w);

/* Rounds until nothing has come for 20 ms: the base of "and nothing more". */
void world_quiet(struct world *w);

/* The counters of a core of the world. */
struct vly_stats world_stats(struct world *w, unsigned core);

/* An address of `core` that the others reach, port 0. */
struct vly_addr world_addr(struct world *w, unsigned core);

/* Listens on a port of the nic's choice and sets w->addr. */
vly_conn world_listen(struct world *w, unsigned core, const struct vly_listen_opts *opts,
		      void *user);

/* Connects CLIENT to w->addr and waits for both ends. SERVER must listen. */
struct link world_link(struct world *w);
/* World, listener and one link in one go. */
struct link world_open_link(struct world *w);

/* Sends all of a string, or of a pattern, polling while the budget is full. */
void world_send(struct world *w, unsigned core, vly_conn conn, const void *data, size_t len);
void world_send_pattern(struct world *w, unsigned core, vly_conn conn, uint64_t seed, size_t len);

/* The track of a handle, made if it is new; and the shortest questions to it. */
struct track *track_of(struct world *w, vly_conn conn);
unsigned seen(struct world *w, vly_conn conn, enum vly_kind kind);
uint64_t got_bytes(struct world *w, vly_conn conn);
bool got_text(struct world *w, vly_conn conn, const char *text);
/* All bytes received so far are those of pattern `seed` from its start. */
bool got_pattern(struct world *w, vly_conn conn, uint64_t seed, size_t len);

/* vly_set_user, told to the track too. */
void world_set_user(struct world *w, unsigned core, vly_conn conn, void *user);

/* Byte `offset` of pattern `seed`. */
uint8_t pattern_byte(uint64_t seed, uint64_t offset);
void pattern_fill(void *data, size_t len, uint64_t seed, uint64_t offset);
bool pattern_is(const void *data, size_t len, uint64_t seed, uint64_t offset);

struct vly_addr addr_parsed(const char *text);

/*
 * An event of another round may still be needed after it: waits until `cond`, or fails naming it.
 */
#define pump_until(w, cond)                                                                        \
	do {                                                                                       \
		uint64_t pump_end = vly_now_ns() + PATIENCE_NS;                                    \
		while (!(cond)) {                                                                  \
			world_round(w);                                                            \
			cr_assert(vly_now_ns() < pump_end, "waited in vain for: %s", #cond);       \
		}                                                                                  \
	} while (0)

#define check_eq(got, want)                                                                        \
	do {                                                                                       \
		long long check_got = (long long)(got), check_want = (long long)(want);            \
		cr_assert(check_got == check_want, "%s is %lld, not %lld (%s)", #got, check_got,   \
			  check_want, #want);                                                      \
	} while (0)

#define check_at_least(got, least)                                                                 \
	do {                                                                                       \
		long long check_got = (long long)(got), check_least = (long long)(least);          \
		cr_assert(check_got >= check_least, "%s is %lld, below %lld (%s)", #got,           \
			  check_got, check_least, #least);                                         \
	} while (0)

#define check_at_most(got, most)                                                                   \
	do {                                                                                       \
		long long check_got = (long long)(got), check_most = (long long)(most);            \
		cr_assert(check_got <= check_most, "%s is %lld, above %lld (%s)", #got, check_got, \
			  check_most, #most);                                                      \
	} while (0)

#endif
