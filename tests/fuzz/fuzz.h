/* fuzz.h - what a fuzzed program is: one function, called with one input after another */
#ifndef VLY_TESTS_FUZZ_FUZZ_H
#define VLY_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called by libFuzzer, or by replay.c. Returns 0; what it finds wrong, it aborts for. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Always on, whatever the build. */
#define fuzz_claim(cond)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			__builtin_trap();                                                          \
	} while (0)

#endif
