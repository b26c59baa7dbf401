/* test_polls.c - a server that never sleeps tells its supervisor how busy it is */
#include "bench/polls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(polls, .fini = vly_leak_gate);

Test(polls, what_cores_of_another_process_tell_is_summed)
{
	struct polls polls;
	uint64_t busy_ns, idle_ns;
	int status;

	cr_assert_eq(polls_make(&polls), 0);
	cr_assert_not(polls_sum(&polls, &busy_ns, &idle_ns)); /* nobody told anything */
	pid_t pid = fork();
	if (pid == 0) {
		polls_inherit(&polls);
		struct polls_core *cores = polls_attach();

		if (!cores)
			_exit(1);
		atomic_store(&cores[0].busy_ns, 5);
		atomic_store(&cores[POLLS_CORES_MAX - 1].busy_ns, 6);
		atomic_store(&cores[1].idle_ns, 7);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert(polls_sum(&polls, &busy_ns, &idle_ns));
	cr_assert_eq(busy_ns, 11);
	cr_assert_eq(idle_ns, 7);
	polls_fini(&polls);
	cr_assert_not(polls_sum(&polls, &busy_ns, &idle_ns));
}

Test(polls, a_descriptor_that_is_no_page_of_ours_is_left_alone)
{
	char text[16];
	FILE *file = tmpfile(); /* empty: to write into its page would be the end of us */

	unsetenv(POLLS_ENV);
	cr_assert_null(polls_attach());
	cr_assert_not_null(file);
	snprintf(text, sizeof(text), "%d", fileno(file));
	const char *const values[] = {"", "x", "-1", "9999999999", "3x", "1000000", text};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		setenv(POLLS_ENV, values[i], 1);
		cr_assert_null(polls_attach(), "%s", values[i]);
	}
	unsetenv(POLLS_ENV);
	fclose(file);
}

Test(polls, without_a_page_nothing_is_passed_on)
{
	const struct polls none = {0};

	unsetenv(POLLS_ENV);
	polls_inherit(&none);
	cr_assert_null(getenv(POLLS_ENV));
}
