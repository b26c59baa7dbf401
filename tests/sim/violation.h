/* violation.h - the end of a simulation in which an invariant did not hold */
#ifndef VLY_TESTS_SIM_VIOLATION_H
#define VLY_TESTS_SIM_VIOLATION_H

#include <stdint.h>

/* Exit status of a process whose seed violated an invariant. */
#define VIOLATION_STATUS 3

/* What the message names; set by whoever runs the seed. */
extern uint64_t violation_seed, violation_now_ns, violation_start_ns;

/* Says what did not hold, and exits: the state is of no further use. */
void violated(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define must(cond, ...)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			violated(__VA_ARGS__);                                                     \
	} while (0)

#endif
