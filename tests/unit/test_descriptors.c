/* test_descriptors.c - a thread's own table of descriptors */
#include "bench/descriptors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(descriptors, .fini = vly_leak_gate);

struct seen {
	int fd;     /* opened by the thread */
	int before; /* opened before the thread began */
	bool unshared, copied;
};

static void *open_one(void *arg)
{
	struct seen *seen = arg;

	seen->unshared = descriptors_unshare();
	seen->copied = fcntl(seen->before, F_GETFD) >= 0;
	close(seen->before);
	seen->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return NULL;
}

Test(descriptors, what_a_thread_opens_and_closes_is_its_own_from_then_on)
{
	struct seen seen = {.before = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, open_one, &seen), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	if (!seen.unshared)
		cr_skip_test("unshare(CLONE_FILES) is refused here");
	cr_assert(seen.copied);
	/* the lowest number, that of what it had closed: ours is still open, and nothing else came */
	cr_assert_eq(seen.fd, seen.before);
	cr_assert_geq(fcntl(seen.before, F_GETFD), 0);
	close(seen.before);
}

Test(descriptors, the_soft_limit_becomes_the_hard_one)
{
	cr_assert_eq(descriptors_raise(), (uint64_t)sysconf(_SC_OPEN_MAX));
}
