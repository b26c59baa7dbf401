/* test_progress.c - a line twice a second on a terminal, one every 10 s elsewhere, with the time left */
#include "bench/progress.h"

#include "tests/support/leak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "volley/core.h"

TestSuite(progress, .fini = vly_leak_gate);

#define NS_PER_S UINT64_C(1000000000)

/* What is written to stderr from capture() to captured(). */
static char path[] = "/tmp/volley-progress-XXXXXX";
static int kept_fd;

static void capture(void)
{
	strcpy(path + strlen(path) - 6, "XXXXXX");
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	fflush(stderr);
	kept_fd = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static const char *captured(void)
{
	static char text[4096];

	fflush(stderr);
	dup2(kept_fd, STDERR_FILENO);
	close(kept_fd);
	FILE *file = fopen(path, "re");
	cr_assert_not_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	unlink(path);
	return text;
}

static const struct load_progress load = {
	.phase = LOAD_WINDOW_BEGIN,
	.connected = 100,
	.connections = 100,
	.rate_msg_per_s = 123456,
	.phase_s = 1.5,
};

static struct progress begun(bool terminal)
{
	struct progress progress;

	progress_init(&progress, 4, 5 * NS_PER_S);
	progress.terminal = terminal;
	progress_run(&progress, "c_epoll", 2, true);
	return progress;
}

Test(progress, elsewhere_than_on_a_terminal_the_first_line_comes_after_ten_seconds)
{
	struct progress progress = begun(false);
	uint64_t now_ns = vly_now_ns();

	capture();
	progress_tick(&progress, &load);
	cr_assert_str_empty(captured());
	cr_assert_gt(progress.next_ns, now_ns + 9 * NS_PER_S);
	/* Ten seconds later. */
	progress.next_ns = now_ns;
	capture();
	progress_tick(&progress, &load);
	progress_tick(&progress, &load);
	const char *text = captured();
	cr_assert_not_null(strstr(text, "[1/4] c_epoll, run 2: window, 1.5 s, 123,456 msg/s; "),
			   "%s", text);
	cr_assert_str_eq(strchr(text, '\n'), "\n", "one line: %s", text);
	cr_assert_gt(progress.next_ns, now_ns + 9 * NS_PER_S);
}

Test(progress, on_a_terminal_one_line_is_written_again_twice_a_second)
{
	struct progress progress = begun(true);
	uint64_t now_ns = vly_now_ns();

	capture();
	progress.next_ns = 0;
	progress_tick(&progress, &load);
	const char *text = captured();
	cr_assert_eq(text[0], '\r');
	cr_assert_null(strchr(text, '\n'), "%s", text);
	cr_assert(progress.line_open);
	cr_assert_geq(progress.next_ns, now_ns + NS_PER_S / 2);
	cr_assert_leq(progress.next_ns, vly_now_ns() + NS_PER_S / 2);
	/* Nothing else is written into it. */
	capture();
	progress_note(&progress, "a note");
	cr_assert_str_eq(captured(), "\r\033[Ka note\n");
	cr_assert_not(progress.line_open);
}

Test(progress, the_time_left_counts_this_run_and_those_to_come)
{
	struct progress progress = begun(false);

	progress.run_began_ns = vly_now_ns() - 2 * NS_PER_S;
	progress.next_ns = 0;
	capture();
	progress_tick(&progress, &load);
	const char *text = captured();
	/* 3 s of this one and three of 5 s, rounded down. */
	cr_assert(strstr(text, "; 17 s left\n") || strstr(text, "; 18 s left\n"), "%s", text);
	/* A run that takes longer than was thought. */
	progress.run_began_ns = vly_now_ns() - 60 * NS_PER_S;
	progress.runs_done = 3;
	progress.next_ns = 0;
	capture();
	progress_tick(&progress, &load);
	text = captured();
	cr_assert_not_null(strstr(text, "[4/4]"), "%s", text);
	cr_assert_not_null(strstr(text, "; 0 s left\n"), "%s", text);
}

Test(progress, a_server_that_starts_and_connections_that_come_up_are_told)
{
	struct progress progress = begun(false);
	struct load_progress ramp = {.phase = LOAD_CONNECTING, .connected = 7, .connections = 100};

	progress.next_ns = 0;
	capture();
	progress_tick(&progress, NULL);
	cr_assert_not_null(strstr(captured(), ": starting; "));
	progress.next_ns = 0;
	capture();
	progress_tick(&progress, &ramp);
	cr_assert_not_null(strstr(captured(), ": connecting, 7 of 100; "));
}

Test(progress, while_connections_come_up_the_whole_run_is_still_to_come)
{
	const struct load_progress connecting = {
		.phase = LOAD_CONNECTING, .connected = 40, .connections = 100};
	struct progress progress = begun(false);

	progress.runs_done = 3;
	progress.run_began_ns = vly_now_ns() - 60 * NS_PER_S;
	progress.next_ns = 0;
	capture();
	progress_tick(&progress, &connecting);
	const char *text = captured();
	cr_assert_not_null(strstr(text, "connecting, 40 of 100; 5 s left\n"), "%s", text);
	/* And from there on it passes. */
	progress.next_ns = 0;
	capture();
	progress_tick(&progress, &load);
	text = captured();
	cr_assert(strstr(text, "; 4 s left\n") || strstr(text, "; 5 s left\n"), "%s", text);
}
