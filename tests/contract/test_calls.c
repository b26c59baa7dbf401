/* test_calls.c - the system calls of a core that exchanges messages, counted by ptrace */
#include "tests/contract/harness.h"
#include "tests/contract/intercept.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After <sys/ptrace.h>: the two collide in older headers. */
#include <linux/ptrace.h>

TestSuite(calls, .fini = vly_leak_gate, .timeout = 120);

#define PAIRS 10
#define POLLS 300
/* A call that nobody makes otherwise: the window's begin and end. */
#define MARKER SYS_getpgid

struct calls {
	uint64_t waits, reads, writes, others;
	long last_other;
};

/* Written by the traced child. */
struct report {
	uint64_t messages, polls;
	bool done;
};

static void play(struct vly_core *core, uint64_t polls, uint64_t *messages)
{
	struct vly_event *events;

	while (polls--) {
		int count = vly_poll(core, &events, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].kind != VLY_DATA)
				continue;
			if (vly_send(core, events[i].conn, events[i].data, events[i].len))
				_exit(3);
			++*messages;
		}
	}
}

/* Makes no assertion: Criterion's would speak for the parent. */
static void child(struct report *report, struct vly_addr addr)
{
	static const uint8_t ball[64];
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_event *events;
	vly_conn conn[PAIRS], listener;
	unsigned opened = 0;
	uint64_t warm = 0;

	world_config(&config, 1);
	if (vly_engine_open(&config, &engine) || vly_core_open(engine, 0, &core) ||
	    vly_listen(core, &addr, NULL, NULL, &listener) || vly_name(core, listener, &addr, NULL))
		_exit(1);
	for (int i = 0; i < PAIRS; i++)
		if (vly_connect(core, &addr, NULL, NULL, &conn[i]))
			_exit(1);
	while (opened < 2 * PAIRS) {
		int count = vly_poll(core, &events, -1);

		for (int i = 0; i < count; i++)
			opened += events[i].kind == VLY_OPEN && events[i].status == 0;
	}
	for (int i = 0; i < PAIRS; i++)
		if (vly_send(core, conn[i], ball, sizeof(ball)))
			_exit(1);
	play(core, 50, &warm);
	syscall(MARKER, 0);
	play(core, POLLS, &report->messages);
	syscall(MARKER, 0);
	report->polls = POLLS;
	report->done = true;
	_exit(0);
}

static void classify(struct calls *calls, long number)
{
	switch (number) {
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_ppoll:
	case SYS_poll:
		calls->waits++;
		break;
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
		calls->reads++;
		break;
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
		calls->writes++;
		break;
	default:
		calls->others++;
		calls->last_other = number;
		break;
	}
}

/* Runs the traced child to its end; counts what lies between the two markers. */
static int trace(pid_t pid, struct calls *calls)
{
	unsigned markers = 0;
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
		   (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)))
		return -1;
	for (;;) {
		struct __ptrace_syscall_info info = {.op = 0};
		long signal = 0;

		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)signal))
			return -1;
		if (waitpid(pid, &status, 0) != pid)
			return -1;
		if (WIFEXITED(status))
			return markers == 2 ? WEXITSTATUS(status) : -1;
		if (WIFSIGNALED(status))
			return -1;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof(info), &info) < 0)
			return -1;
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if ((long)info.entry.nr == MARKER)
			markers++;
		else if (markers == 1)
			classify(calls, (long)info.entry.nr);
	}
}

Test(calls, of_epoll_are_one_wait_per_poll_and_one_read_and_one_write_per_message)
{
	struct report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vly_addr addr = addr_parsed("127.0.0.1:0");
	struct calls calls = {.waits = 0};
	pid_t pid;
	int result;

	if (!intercept_works())
		cr_skip_test("a sanitizer makes calls of its own");
	if (!harness_nic_is("epoll"))
		cr_skip_test("%s asks otherwise", harness_nic());
	cr_assert(report != MAP_FAILED);
	pid = fork();
	cr_assert(pid >= 0);
	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		child(report, addr);
	}
	result = trace(pid, &calls);
	if (result < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		cr_skip_test("ptrace is not permitted here");
	}
	check_eq(result, 0);
	cr_assert(report->done);
	check_at_least(report->messages, POLLS);
	check_at_most(calls.waits, report->polls);
	check_eq(calls.reads, report->messages);
	/*
	 * Answers of the last batch before the window leave in it, those of its last batch do not.
	 */
	check_at_most(calls.writes, report->messages + 2 * PAIRS);
	check_at_least(calls.writes, report->messages - 2 * PAIRS);
	cr_assert(!calls.others, "%llu other calls, the last of number %ld",
		  (unsigned long long)calls.others, calls.last_other);
	munmap(report, sizeof(*report));
}
