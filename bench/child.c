/* child.c - processes that the bench starts, and that none of them is left over */
#include "bench/child.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/sysfile.h"
#include "volley/core.h"

#define CONTROL_FD 3
#define NS_PER_MS INT64_C(1000000)
#define NICE_FIRST (-20)

static bool first; /* children go before others */

int child_adopt_orphans(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : -errno;
}

bool child_go_first(void)
{
	int own = getpriority(PRIO_PROCESS, 0);

	first = setpriority(PRIO_PROCESS, 0, NICE_FIRST) == 0;
	if (first)
		(void)setpriority(PRIO_PROCESS, 0, own);
	return first;
}

void child_step_back(void)
{
	if (getpriority(PRIO_PROCESS, 0) < 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
}

/* In the child: async-signal-safe until exec. */
static _Noreturn void become(const char *command, int death_signal, pid_t parent, int control_fd)
{
	char *argv[] = {(char[]){"volley"}, strdupa(command), (char[]){"--control-fd"},
			(char[]){"3"}, NULL};
	sigset_t none;

	(void)setpgid(0, 0);
	if (first)
		(void)setpriority(PRIO_PROCESS, 0, NICE_FIRST);
	(void)prctl(PR_SET_PDEATHSIG, death_signal);
	/* The parent may have died before the line above. */
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Ignored signals would stay ignored in the server, too. */
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	int null_fd = open("/dev/null", O_RDONLY);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	if (control_fd == CONTROL_FD)
		fcntl(CONTROL_FD, F_SETFD, 0);
	else
		dup2(control_fd, CONTROL_FD);
	if (null_fd > CONTROL_FD)
		close(null_fd);
	execv("/proc/self/exe", argv);
	_exit(127);
}

int child_spawn_self(const char *command, int death_signal, pid_t *pid, int *control_fd)
{
	int ends[2];
	pid_t parent = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	fflush(NULL);
	*pid = fork();
	if (*pid < 0) {
		int err = -errno;
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	if (*pid == 0)
		become(command, death_signal, parent, ends[1]);
	close(ends[1]);
	*control_fd = ends[0];
	return 0;
}

static void sleep_ms(long ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&pause, NULL);
}

int child_wait(pid_t pid, int64_t timeout_ns)
{
	uint64_t deadline = vly_now_ns() + (uint64_t)timeout_ns;
	int status = 0;
	int killed = 0;

	for (;;) {
		pid_t got = waitpid(pid, &status, killed ? 0 : WNOHANG);
		if (got == pid)
			return status;
		if (got < 0 && errno != EINTR)
			return 0;
		if (!killed && vly_now_ns() >= deadline) {
			kill(pid, SIGKILL);
			killed = 1;
		} else if (!killed) {
			sleep_ms(2);
		}
	}
}

/* The parent of a process by /proc; -1 if it is gone. */
static pid_t parent_of(const char *pid_text)
{
	char path[64], text[1024];
	int parent = -1;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid_text);
	if (sysfile_read(path, text, sizeof(text)) < 0)
		return -1;
	/* The name is in brackets and may contain anything, brackets too. */
	const char *after = strrchr(text, ')');
	if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
		return -1;
	return parent;
}

pid_t child_first_of(pid_t parent)
{
	DIR *proc = opendir("/proc");
	pid_t child = 0;

	for (struct dirent *entry; proc && !child && (entry = readdir(proc));)
		if (isdigit((unsigned char)entry->d_name[0]) && parent_of(entry->d_name) == parent)
			child = (pid_t)atoi(entry->d_name);
	if (proc)
		closedir(proc);
	return child;
}

/* Sends SIGKILL to all children. Their number. */
static int kill_children(void)
{
	DIR *proc = opendir("/proc");
	int count = 0;

	if (!proc)
		return 0;
	for (struct dirent *entry; (entry = readdir(proc));) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    parent_of(entry->d_name) != getpid())
			continue;
		count += kill((pid_t)atoi(entry->d_name), SIGKILL) == 0;
	}
	closedir(proc);
	return count;
}

int child_kill_all(void)
{
	int reaped = 0;

	/*
	 * Children of the killed become ours: again, until there are none. What the kernel cannot
	 * kill now is given 5 s.
	 */
	for (int round = 0; round < 500; round++) {
		pid_t got;
		kill_children();
		while ((got = waitpid(-1, NULL, WNOHANG)) > 0)
			reaped++;
		if (got < 0 && errno == ECHILD)
			break;
		sleep_ms(round < 10 ? 1 : 10);
	}
	return reaped;
}

char *child_status_text(int status, char *text, size_t size_bytes)
{
	if (WIFSIGNALED(status))
		snprintf(text, size_bytes, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(text, size_bytes, "exit code %d", WEXITSTATUS(status));
	return text;
}
