/* leak_gate.c - leaks on purpose: under ASan this program must fail, or no suite would notice a leak */
#include "tests/support/leak.h"

#include <stdlib.h>

TestSuite(leak_gate, .fini = vly_leak_gate);

/* In its own frame, and several times: the last pointer may linger in a register or on the stack. */
__attribute__((noinline)) static void lose(void)
{
	char *lost = malloc(100);

	__asm__ __volatile__("" : : "r"(lost) : "memory");
}

Test(leak_gate, a_lost_allocation_fails_the_program)
{
	for (int i = 0; i < 10; i++)
		lose();
}
