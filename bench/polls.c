/* polls.c - how busy the cores of a server are that never sleep, told in a page it shares with its supervisor */
#include "bench/polls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_BYTES (POLLS_CORES_MAX * sizeof(struct polls_core))

static struct polls_core *map(int fd)
{
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return page == MAP_FAILED ? NULL : page;
}

int polls_make(struct polls *polls)
{
	int fd = memfd_create("volley-polls", MFD_CLOEXEC);
	int err = 0;

	*polls = (struct polls){0};
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, PAGE_BYTES) != 0 || !(polls->cores = map(fd)))
		err = -errno;
	if (err)
		close(fd);
	else
		polls->fd = fd;
	return err;
}

void polls_inherit(const struct polls *polls)
{
	char text[16];

	if (!polls->cores)
		return;
	snprintf(text, sizeof(text), "%d", polls->fd);
	if (fcntl(polls->fd, F_SETFD, 0) == 0)
		(void)setenv(POLLS_ENV, text, 1);
}

bool polls_sum(const struct polls *polls, uint64_t *busy_ns, uint64_t *idle_ns)
{
	*busy_ns = *idle_ns = 0;
	for (unsigned i = 0; polls->cores && i < POLLS_CORES_MAX; i++) {
		struct polls_core *core = &polls->cores[i];

		*busy_ns += atomic_load_explicit(&core->busy_ns, memory_order_relaxed);
		*idle_ns += atomic_load_explicit(&core->idle_ns, memory_order_relaxed);
	}
	return *busy_ns || *idle_ns;
}

void polls_fini(struct polls *polls)
{
	if (polls->cores) {
		munmap(polls->cores, PAGE_BYTES);
		close(polls->fd);
	}
	*polls = (struct polls){0};
}

struct polls_core *polls_attach(void)
{
	const char *text = getenv(POLLS_ENV);
	char *end = NULL;
	struct stat file;
	long fd = text ? strtol(text, &end, 10) : -1;

	/* whoever set it may have set nonsense: writing beyond a file's end would kill us */
	if (fd < 0 || fd > INT32_MAX || end == text || *end || fstat((int)fd, &file) != 0 ||
	    file.st_size != (off_t)PAGE_BYTES)
		return NULL;
	return map((int)fd);
}
