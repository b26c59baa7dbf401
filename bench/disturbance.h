/* disturbance.h - what the kernel did meanwhile that no server asked for */
#ifndef VLY_BENCH_DISTURBANCE_H
#define VLY_BENCH_DISTURBANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Since the machine (the control group) started. All zero: not taken. */
struct disturbance {
	bool retransmits_known, throttled_known;
	uint64_t retransmits;  /* TCP segments sent again, in this network namespace */
	uint64_t throttled_us; /* for which the control group's CPU quota stopped its threads */
};

void disturbance_take(struct disturbance *disturbance);

/* Leaves out what happened from `from` to `to`, as if `before` had been taken so much later. */
void disturbance_skip(struct disturbance *before, const struct disturbance *from,
		      const struct disturbance *to);

/* From `before` to `after`; NAN: not known. */
double disturbance_retransmits(const struct disturbance *before, const struct disturbance *after);
double disturbance_throttled_s(const struct disturbance *before, const struct disturbance *after);

/* The number below the heading "RetransSegs" of the text of /proc/net/snmp: false if there is none. */
bool disturbance_parse_snmp(const char *text, uint64_t *retransmits);

#endif
