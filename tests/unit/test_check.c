/* test_check.c - always-on checks and the small helpers of compiler.h */
#include "base/check.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/compiler.h"
#include "tests/support/leak.h"
#include "volley/log.h"

TestSuite(check, .fini = vly_leak_gate);

Test(check, holds_and_says_nothing)
{
	unsigned int evaluated = 0;

	VLY_CHECK(++evaluated == 1);
	cr_assert_eq(evaluated, 1, "the condition is evaluated once, in release builds too");
}

/* The receiver of a dying child: hands the line to its parent. */
static void line_write(enum vly_log_level level, const char *line, void *arg)
{
	const int *fd = arg;

	if (level == VLY_LOG_ERROR && write(*fd, line, strlen(line)) < 0)
		_exit(1);
}

Test(check, failure_logs_condition_and_place_then_aborts)
{
	char line[256] = "";
	int status, ends[2];
	pid_t child;

	cr_assert_eq(pipe(ends), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		int one = 1;

		signal(SIGABRT, SIG_DFL);
		vly_log_set(line_write, &ends[1], VLY_LOG_ERROR);
		VLY_CHECK(one == 2);
		_exit(0);
	}
	close(ends[1]);
	cr_assert_gt(read(ends[0], line, sizeof(line) - 1), 0);
	close(ends[0]);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status));
	cr_assert_eq(WTERMSIG(status), SIGABRT);
	cr_assert_eq(strncmp(line, "broken invariant: one == 2 (test_check.c:", 41), 0, "%s", line);
	cr_assert_null(strchr(line, '/'), "no directory of the builder: %s", line);
}

Test(check, align_up_keeps_multiples_and_raises_the_rest)
{
	cr_assert_eq(VLY_ALIGN_UP((size_t)0, (size_t)64), 0);
	cr_assert_eq(VLY_ALIGN_UP((size_t)1, (size_t)64), 64);
	cr_assert_eq(VLY_ALIGN_UP((size_t)63, (size_t)64), 64);
	cr_assert_eq(VLY_ALIGN_UP((size_t)64, (size_t)64), 64);
	cr_assert_eq(VLY_ALIGN_UP((size_t)65, (size_t)64), 128);
	cr_assert_eq(VLY_ALIGN_UP(UINT64_C(0x100000001), 16), UINT64_C(0x100000010),
		     "a 64-bit number is not cut by a 32-bit alignment");
}

Test(check, container_of_finds_the_holder)
{
	struct holder {
		int before;
		int member;
	} holder;

	cr_assert_eq(vly_container_of(&holder.member, struct holder, member), &holder);
}
