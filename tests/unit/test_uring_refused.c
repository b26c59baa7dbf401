/* test_uring_refused.c - a machine that refuses io_uring: auto goes on with epoll and one line, by name it is told why */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nic/addr.h"
#include "tests/support/leak.h"
#include "volley/volley.h"

TestSuite(uring_refused, .fini = vly_leak_gate, .timeout = 60);

#define SKIP 77
#define SYSCTL "/proc/sys/kernel/io_uring_disabled"

static char said[4][256];
static unsigned lines;

static void note(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)arg;
	if (lines < 4)
		snprintf(said[lines], sizeof(said[0]), "%s", line);
	lines++;
}

/* What a container's filter does: the call `number` fails with `error` from now on. */
static int refuse(unsigned number, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* The sysctl belongs to the whole machine; what this process reads of it is covered by a file. */
static int pretend_sysctl(const char *value)
{
	char path[] = "/tmp/volley-sysctl-XXXXXX";
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	fd = mkstemp(path);
	if (fd < 0)
		return -errno;
	bool written = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	int error = !written || mount(path, SYSCTL, NULL, MS_BIND, NULL) ? -EPERM : 0;

	close(fd);
	unlink(path);
	return error;
}

static void config_for(struct vly_config *config, const char *nic)
{
	vly_config_init(config);
	config->nic = nic;
	config->pin = false;
	config->idle = VLY_IDLE_SLEEP;
	config->conns_max = 16;
	config->huge_pages = config->lock_memory = false;
}

/* One echo through whatever nic was chosen. */
static bool serves(struct vly_engine *engine)
{
	struct sockaddr_storage to;
	struct vly_event *events;
	struct vly_core *core;
	struct vly_addr addr;
	vly_conn listener;
	char back[5] = "";
	int fd;

	if (vly_core_open(engine, 0, &core) || vly_addr_parse("127.0.0.1:0", &addr) ||
	    vly_listen(core, &addr, NULL, NULL, &listener) || vly_name(core, listener, &addr, NULL))
		return false;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&to, vly_addr_to_sockaddr(&addr, &to)) ||
	    write(fd, "hello", 5) != 5)
		return false;
	while (recv(fd, back, 5, MSG_DONTWAIT) != 5) {
		int count = vly_poll(core, &events, 1000000);

		for (int i = 0; i < count; i++) {
			if (events[i].kind == VLY_DATA &&
			    vly_send(core, events[i].conn, events[i].data, events[i].len))
				return false;
		}
	}
	close(fd);
	vly_core_close(core);
	return memcmp(back, "hello", 5) == 0;
}

/* By itself it takes epoll, serves, and has said one line, which names `reason`. */
static int check_auto(const char *reason)
{
	struct vly_config config;
	struct vly_engine *engine;

	config_for(&config, "auto");
	lines = 0;
	if (vly_engine_open(&config, &engine))
		return 10;
	if (strcmp(vly_engine_nic(engine), "epoll") != 0)
		return 11;
	if (lines != 1 || !strstr(said[0], "nic uring is refused here") || !strstr(said[0], reason))
		return 12;
	if (!serves(engine))
		return 13;
	vly_engine_close(engine);
	return 0;
}

/* Asked for by name it fails, with the reason and what mends it. */
static int check_by_name(const char *reason, const char *mend)
{
	struct vly_config config;
	struct vly_engine *engine = NULL;
	char why[256] = "";

	config_for(&config, "uring");
	lines = 0;
	if (vly_engine_open(&config, &engine) != -ENOTSUP || engine)
		return 20;
	if (lines != 1 || !strstr(said[0], reason) || !strstr(said[0], mend))
		return 21;
	if (vly_nic_check("uring", why, sizeof(why)) != -ENOTSUP || !strstr(why, mend))
		return 22;
	/* And epoll by name is left alone. */
	lines = 0;
	if (vly_nic_check("epoll", why, sizeof(why)) || lines)
		return 23;
	return 0;
}

struct refusal {
	unsigned number;
	int error;
	const char *sysctl; /* NULL: left as it is */
	const char *reason, *mend;
};

static int live_under(const struct refusal *refusal)
{
	vly_log_set(note, NULL, VLY_LOG_WARN);
	if (refusal->sysctl && pretend_sysctl(refusal->sysctl))
		return SKIP;
	if (refuse(refusal->number, refusal->error))
		return SKIP;
	int failed = check_auto(refusal->reason);

	return failed ? failed : check_by_name(refusal->reason, refusal->mend);
}

/* In a child, since neither a filter nor a namespace can be left again. */
static void refused(const struct refusal *refusal)
{
	int status;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid) {
		int failed = live_under(refusal);

		if (failed && failed != SKIP)
			fprintf(stderr, "%d: \"%s\"\n", failed, said[0]);
		_exit(failed);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIP)
		cr_skip_test("no filters or namespaces here");
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d failed", WEXITSTATUS(status));
}

Test(uring_refused, by_a_seccomp_filter_that_answers_eperm)
{
	refused(&(struct refusal){SYS_io_uring_setup, EPERM, "0\n", "Operation not permitted",
				  "seccomp filter"});
}

Test(uring_refused, by_a_seccomp_filter_that_answers_enosys)
{
	refused(&(struct refusal){SYS_io_uring_setup, ENOSYS, NULL, "Function not implemented",
				  "a kernel from 6.1 on"});
}

Test(uring_refused, by_a_seccomp_filter_that_lets_rings_open_but_not_be_entered)
{
	refused(&(struct refusal){SYS_io_uring_enter, EPERM, "0\n", "Operation not permitted",
				  "io_uring_setup, _enter and _register"});
}

Test(uring_refused, by_a_seccomp_filter_that_lets_rings_open_but_nothing_be_registered)
{
	refused(&(struct refusal){SYS_io_uring_register, EPERM, "0\n", "Operation not permitted",
				  "io_uring_setup, _enter and _register"});
}

Test(uring_refused, by_the_sysctl_for_everybody)
{
	refused(&(struct refusal){SYS_io_uring_setup, EPERM, "2\n", "kernel.io_uring_disabled is 2",
				  "sysctl kernel.io_uring_disabled=0"});
}

Test(uring_refused, by_the_sysctl_for_the_unprivileged)
{
	refused(&(struct refusal){SYS_io_uring_setup, EPERM, "1\n", "kernel.io_uring_disabled is 1",
				  "sysctl kernel.io_uring_disabled=0"});
}
