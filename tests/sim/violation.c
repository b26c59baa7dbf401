/* violation.c - the end of a simulation in which an invariant did not hold */
#include "tests/sim/violation.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t violation_seed, violation_now_ns, violation_start_ns;

void violated(const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printf("seed %llu violates an invariant after %.6f s: %s\n",
	       (unsigned long long)violation_seed,
	       (double)(violation_now_ns - violation_start_ns) / 1e9, text);
	fflush(NULL);
	_exit(VIOLATION_STATUS);
}
