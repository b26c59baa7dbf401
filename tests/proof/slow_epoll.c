/* slow_epoll.c - c_epoll, slowed down by a busy loop of known length: what a comparison has to find */
#include "bench/baselines/baseline.h"

#include <stdlib.h>

/*
 * The environment's SLOW_CYCLES: core cycles spent for each message before it is answered, in a
 * chain of dependent multiply-adds (4 cycles each on every x86-64 of the last 15 years), so that the
 * loop is as long whatever the clock does. Not set: 0, which is c_epoll.
 */
#define LINK_CYCLES 4

static unsigned long links;

static void spin(void)
{
	static uint64_t x = 1;

	for (unsigned long i = 0; i < links; i++) {
		x = x * UINT64_C(6364136223846793005) + 1;
		__asm__("" : "+r"(x));
	}
}

static ssize_t slow_send(int fd, const void *bytes, size_t len_bytes)
{
	spin();
	return bare_send(fd, bytes, len_bytes);
}

/* The program itself is included as it is, but for these two names. */
#define bare_send slow_send
#define main c_epoll_main
int main(int argc, char **argv);
#include "bench/baselines/c_epoll.c"
#undef main

int main(int argc, char **argv)
{
	const char *cycles = getenv("SLOW_CYCLES");

	links = cycles ? strtoul(cycles, NULL, 10) / LINK_CYCLES : 0;
	return c_epoll_main(argc, argv);
}
