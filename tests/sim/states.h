/* states.h - which states of TCP were reached, and by which steps */
#ifndef VLY_TESTS_SIM_STATES_H
#define VLY_TESTS_SIM_STATES_H

#include <stdint.h>
#include <stdio.h>

#include "tests/sim/host.h"

/* RFC 9293's states by name; CLOSED is both ends of the diagram. */
enum states_name {
	STATES_CLOSED,
	STATES_SYN_SENT,
	STATES_SYN_RECEIVED,
	STATES_ESTABLISHED,
	STATES_FIN_WAIT_1,
	STATES_FIN_WAIT_2,
	STATES_CLOSE_WAIT,
	STATES_CLOSING,
	STATES_LAST_ACK,
	STATES_TIME_WAIT,
	STATES_COUNT
};

/* Plain counts, so that those of several processes can be added. */
struct states {
	uint64_t steps[STATES_COUNT][STATES_COUNT];
};

/* What each record was in when last looked at; by host and slot. */
struct states_last {
	uint8_t *was[NET_HOSTS];
	vly_conn *handle[NET_HOSTS];
	uint64_t lingering[NET_HOSTS], half[NET_HOSTS];
};

void states_begin(struct states_last *last, const struct hosts *hosts, uint32_t conns_max);
void states_end(struct states_last *last);

/* Looks at all records of a host, and checks what must hold for each at any time. */
void states_look(struct states *states, struct states_last *last, const struct hosts *hosts,
		 unsigned host);

/* What must hold when all hosts are done at a moment: nobody waits for what will never come. */
void states_rest(const struct hosts *hosts);

void states_add(struct states *to, const struct states *from);
void states_print(const struct states *states, FILE *file);

#endif
