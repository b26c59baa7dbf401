/* test_raw_wire.c - frames bounced at layer 2 are counted, timed, and each as it was sent */
#include "bench/raw_wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"
#include "volley/loop.h"

TestSuite(raw_wire, .fini = vly_leak_gate, .timeout = 60);

#define MS 1000000ull

/* A server in a process of its own; returns once it is ready. */
static pid_t serve(int loop)
{
	char nic[64], line[64] = "";
	int out[2];

	snprintf(nic, sizeof(nic), "inet:loop,fd=%d,side=0", loop);
	cr_assert_eq(pipe(out), 0);
	fflush(NULL);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		_exit(raw_wire_serve(nic, 4321, NULL, 0) ? 1 : 0);
	}
	close(out[1]);
	cr_assert_gt(read(out[0], line, sizeof(line) - 1), 0);
	cr_assert_str_eq(line, "READY 4321\n");
	close(out[0]);
	return pid;
}

static void end(pid_t pid, int loop)
{
	int status;

	cr_assert_eq(kill(pid, SIGTERM), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "it ends orderly");
	vly_loop_close(loop);
}

static int run(int loop, uint32_t connections, uint32_t size_bytes, struct load_result *result)
{
	static char nic[64];
	struct load_params params = {
		.nic = nic,
		.connections = connections,
		.size_bytes = size_bytes,
		.depth = 1,
		.warmup_ns = 20 * MS,
		.duration_ns = 300 * MS,
	};

	snprintf(nic, sizeof(nic), "inet:loop,fd=%d,side=1", loop);
	return raw_wire_run(&params, result);
}

Test(raw_wire, frames_are_counted_and_timed)
{
	struct load_result result;
	int loop = vly_loop_make(NULL);
	pid_t pid = serve(loop);
	uint64_t sum = 0;

	cr_assert_eq(run(loop, 100, 64, &result), 0, "%s", result.reason);
	cr_assert_gt(result.messages, 0);
	cr_assert_eq(result.latency.total, result.messages);
	cr_assert_eq(result.wrong, 0);
	cr_assert_eq(result.connections, 100);
	for (uint32_t i = 0; i < 100; i++)
		sum += result.per_conn[i];
	cr_assert_eq(sum, result.messages);
	/* Little's law: what is timed is what is under way. */
	cr_assert(result.little > 0.5 && result.little < 1.5, "%f", result.little);
	load_result_fini(&result);
	end(pid, loop);
}

Test(raw_wire, more_messages_than_slots_take_turns)
{
	struct load_result result;
	int loop = vly_loop_make(&(struct vly_loop_opts){.slots = 64});
	pid_t pid = serve(loop);

	cr_assert_eq(run(loop, 1000, 64, &result), 0, "%s", result.reason);
	/* more than there are slots: they go round */
	cr_assert_gt(result.messages, 128);
	load_result_fini(&result);
	end(pid, loop);
}

Test(raw_wire, the_longest_message_fits_and_a_longer_one_is_refused)
{
	struct load_result result;
	int loop = vly_loop_make(NULL);
	pid_t pid = serve(loop);

	cr_assert_eq(run(loop, 10, 1460, &result), 0, "%s", result.reason);
	load_result_fini(&result);
	cr_assert_eq(run(loop, 10, 1461, &result), -EMSGSIZE);
	load_result_fini(&result);
	end(pid, loop);
}

Test(raw_wire, a_wire_that_is_none_is_refused)
{
	struct load_params params = {.nic = "inet:loop,fd=99,side=1", .connections = 1, .depth = 1};
	struct load_result result;

	cr_assert_neq(raw_wire_run(&params, &result), 0);
	cr_assert_str_neq(result.reason, "");
	load_result_fini(&result);
}
