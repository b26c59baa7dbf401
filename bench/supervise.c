/* supervise.c - the process above the server under test: starts it, lets nothing survive */
#include "bench/supervise.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/control.h"
#include "bench/cpus.h"
#include "bench/perf.h"
#include "bench/polls.h"
#include "bench/sample.h"
#include "bench/words.h"
#include "volley/core.h"

#define LINE_BYTES 512
#define STOP_PATIENCE_NS INT64_C(2000000000)
#define PERF_PATIENCE_NS INT64_C(5000000000) /* it adds up the counts of every thread */
#define HELLO_PATIENCE_NS INT64_C(5000000000)
#define NS_PER_MS 1000000
#define LOOK_US 5000 /* for which a server is watched */
#define LOOKS 5

/* Lines of one output of the server. */
struct lines {
	int fd;               /* -1: closed */
	char now[LINE_BYTES]; /* the unfinished one, cut */
	size_t now_len;
	char last[LINE_BYTES]; /* the last one that was not blank */
};

struct supervisor {
	struct control control;
	int signal_fd;
	pid_t server;     /* 0: not started; with perf in front of it: perf */
	struct perf perf; /* if wanted */
	struct polls polls;
	struct cpus cpus;
	struct lines out, err;
	bool ready, exited, stopping, end;
	unsigned int looks;   /* at whether the server polls */
	bool polling;         /* it does */
	int status;           /* of wait, once exited */
	uint64_t deadline_ns; /* for READY, or for the end after SIGTERM; 0: none */
};

static void say(struct supervisor *s, json_t *message)
{
	/* A bench that is gone is noticed by reading. */
	(void)control_send(&s->control, message);
}

static void say_failed(struct supervisor *s, const char *reason)
{
	say(s, json_pack("{s:s, s:s}", "type", "failed", "reason", reason));
}

/* "READY" or "READY <port>": the server accepts connections from now on. */
static void handle_out_line(struct supervisor *s, const char *line)
{
	char *end;

	if (s->ready || strncmp(line, "READY", 5) != 0 ||
	    (line[5] && !isspace((unsigned char)line[5])))
		return;
	long port = strtol(line + 5, &end, 10);
	end += strspn(end, " \t\r");
	if (*end || port < 0 || port > 65535) {
		char reason[LINE_BYTES + 64];
		snprintf(reason, sizeof(reason),
			 "printed '%s' where READY or READY <port> is expected", line);
		say_failed(s, reason);
		return;
	}
	s->ready = true;
	s->deadline_ns = 0;
	say(s, json_pack("{s:s, s:i, s:i}", "type", "ready", "port", (int)port, "pid",
			 (int)s->server));
}

static void finish_line(struct supervisor *s, struct lines *lines)
{
	lines->now[lines->now_len] = '\0';
	if (lines->now[strspn(lines->now, " \t\r")])
		memcpy(lines->last, lines->now, lines->now_len + 1);
	lines->now_len = 0;
	if (lines == &s->out)
		handle_out_line(s, lines->now);
}

/* Takes all that can be read now, so that the server never waits for us. */
static void drain(struct supervisor *s, struct lines *lines)
{
	char bytes[4096];

	while (lines->fd >= 0) {
		ssize_t got = read(lines->fd, bytes, sizeof(bytes));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			close(lines->fd);
			lines->fd = -1;
			if (lines->now_len)
				finish_line(s, lines);
			return;
		}
		for (ssize_t i = 0; i < got; i++) {
			/* What goes into JSON and onto terminals is plain ASCII. */
			char c = isprint((unsigned char)bytes[i]) || bytes[i] == '\n' ? bytes[i]
										      : '?';
			if (bytes[i] == '\r' || bytes[i] == '\t')
				c = ' ';
			if (c == '\n')
				finish_line(s, lines);
			else if (lines->now_len < LINE_BYTES - 1)
				lines->now[lines->now_len++] = c;
		}
	}
}

/*
 * In the new process. An error goes to the parent as a number through `err_fd`, which a successful
 * exec closes.
 */
static _Noreturn void become_server(const struct supervisor *s, const struct words *words,
				    int out_fd, int stderr_fd, int err_fd, pid_t parent)
{
	const struct cpus *cpus = &s->cpus;
	sigset_t none;
	int err = 0;

	(void)setpgid(0, 0); /* see handle_pause() */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(out_fd, STDOUT_FILENO);
	dup2(stderr_fd, STDERR_FILENO);
	perf_inherit(&s->perf);
	polls_inherit(&s->polls);
	if (cpus->count)
		err = -cpus_pin(cpus);
	if (!err) {
		execvp(words->argv[0], words->argv);
		err = errno;
	}
	if (write(err_fd, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

static void close_pair(int pair[2])
{
	close(pair[0]);
	close(pair[1]);
}

/* Starts the server. 0, or -errno: of pipes and fork, or what its exec said. */
static int start_server(struct supervisor *s, const struct words *words)
{
	int out[2], err[2], failure[2];
	int exec_err = 0;
	pid_t parent = getpid();

	if (pipe2(out, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC) != 0) {
		close_pair(out);
		return -EMFILE;
	}
	if (pipe2(failure, O_CLOEXEC) != 0) {
		close_pair(out);
		close_pair(err);
		return -EMFILE;
	}
	s->server = fork();
	if (s->server == 0)
		become_server(s, words, out[1], err[1], failure[1], parent);
	child_step_back();
	perf_started(&s->perf);
	close(out[1]);
	close(err[1]);
	close(failure[1]);
	if (s->server < 0)
		exec_err = errno;
	else if (read(failure[0], &exec_err, sizeof(exec_err)) != (ssize_t)sizeof(exec_err))
		exec_err = 0;
	close(failure[0]);
	s->out.fd = out[0];
	s->err.fd = err[0];
	(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(err[0], F_SETFL, O_NONBLOCK);
	if (exec_err && s->server > 0)
		(void)waitpid(s->server, NULL, 0);
	if (exec_err)
		s->server = 0;
	return -exec_err;
}

static void handle_start(struct supervisor *s, const json_t *message)
{
	const json_t *cpus = json_object_get(message, "cpus");
	struct words words = {.count = 0};
	char reason[LINE_BYTES];

	for (size_t i = 0; i < json_array_size(cpus); i++)
		cpus_add(&s->cpus, (int)json_integer_value(json_array_get(cpus, i)));
	if (s->server != 0 || words_from_json(&words, json_object_get(message, "argv")) != 0) {
		say_failed(s, "the start message makes no sense");
		words_fini(&words);
		return;
	}
	s->perf.wanted = json_is_true(json_object_get(message, "count_syscalls"));
	if (s->perf.wanted && perf_prepare(&s->perf, &words, reason, sizeof(reason)) != 0) {
		say(s, json_pack("{s:s, s:s, s:b}", "type", "failed", "reason", reason, "perf", 1));
		words_fini(&words);
		return;
	}
	int err = start_server(s, &words);
	if (err) {
		snprintf(reason, sizeof(reason), "cannot start '%.200s': %s", words.argv[0],
			 strerror(-err));
		say_failed(s, reason);
	} else {
		s->deadline_ns = vly_now_ns() +
				 (uint64_t)control_int(message, "ready_timeout_ns", 10000000000);
	}
	words_fini(&words);
}

static void handle_sample(struct supervisor *s, const json_t *message)
{
	const char *id = control_text(message, "id", "");
	bool begins = strcmp(id, "begin") == 0;
	struct sample sample;

	/* Whoever is not counted in time has no result, and that says so. */
	if (s->perf.wanted && !s->exited)
		(void)perf_count(&s->perf, begins);
	sample_take(s->server && !s->exited, &s->cpus, &sample);
	sample.polls_known = polls_sum(&s->polls, &sample.polls_busy_ns, &sample.polls_idle_ns);
	say(s, sample_to_json(&sample, id));
}

static void say_stopped(struct supervisor *s)
{
	struct syscalls syscalls;
	char text[96];
	json_t *message = json_pack("{s:s, s:s, s:s}", "type", "stopped", "text",
				    child_status_text(s->status, text, sizeof(text)), "last_line",
				    s->out.last);

	if (s->perf.wanted && s->exited) {
		perf_result(&s->perf, &syscalls);
		json_object_set_new(message, "syscalls", syscalls_to_json(&syscalls));
	}
	say(s, message);
	s->end = true;
}

/*
 * Whether the server uses the CPU while nobody asks it for anything. Others have theirs on it already, so one
 * look may miss it: some are taken.
 */
static bool server_polls(struct supervisor *s)
{
	struct sample before, after;

	if (s->polling || s->looks == LOOKS)
		return s->polling;
	s->looks++;
	sample_take(true, &s->cpus, &before);
	usleep(LOOK_US);
	sample_take(true, &s->cpus, &after);
	struct cost spent = cost_between(&before.cost, &after.cost);
	s->polling = before.taken && after.taken && spent.run_ns > spent.stamp_ns / 10;
	return s->polling;
}

/* It and its children are a process group of their own. */
static void handle_pause(struct supervisor *s, const json_t *message)
{
	if (s->server == 0 || s->exited)
		return;
	/* Others would see their waits cut short when they go on, and not all bear that. */
	if (json_is_true(json_object_get(message, "surely")) || server_polls(s))
		kill(-s->server, SIGSTOP);
}

static void handle_go_on(struct supervisor *s)
{
	if (s->server && !s->exited)
		kill(-s->server, SIGCONT);
}

/* Whom SIGTERM ends: perf would not say what it counted, and ends after its server anyway. */
static pid_t real_server(const struct supervisor *s)
{
	pid_t pid = s->perf.wanted ? perf_server(s->server) : 0;

	return pid ? pid : s->server;
}

static void handle_stop(struct supervisor *s)
{
	if (s->server == 0 || s->exited) {
		say_stopped(s);
		return;
	}
	s->stopping = true;
	s->deadline_ns =
		vly_now_ns() + (uint64_t)(s->perf.wanted ? PERF_PATIENCE_NS : STOP_PATIENCE_NS);
	kill(real_server(s), SIGTERM);
}

/* The likeliest explanation of why it ended. */
static const char *last_words(const struct supervisor *s)
{
	static char diagnosis[LINE_BYTES];

	if (s->perf.wanted && !s->ready)
		perf_diagnose(&s->perf, diagnosis, sizeof(diagnosis));
	if (diagnosis[0])
		return diagnosis;
	if (s->err.last[0])
		return s->err.last;
	return strncmp(s->out.last, "READY", 5) == 0 ? "" : s->out.last;
}

/* One or more children ended; all but the server itself are adopted orphans. */
static void handle_children(struct supervisor *s)
{
	int status;
	char text[96];

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid != s->server || s->exited)
			continue;
		s->exited = true;
		s->status = status;
		s->deadline_ns = 0;
		drain(s, &s->out);
		drain(s, &s->err);
		if (s->stopping)
			say_stopped(s);
		else
			say(s, json_pack("{s:s, s:b, s:s, s:s}", "type", "exited", "ready",
					 (int)s->ready, "text",
					 child_status_text(status, text, sizeof(text)),
					 "last_words", last_words(s)));
	}
}

static void handle_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			handle_children(s);
		else
			s->end = true; /* the bench died, or somebody wants us gone */
	}
}

static void handle_control(struct supervisor *s)
{
	json_t *message;
	int got;

	while ((got = control_receive(&s->control, &message, 0)) == 1) {
		const char *type = control_type(message);
		if (strcmp(type, "start") == 0)
			handle_start(s, message);
		else if (strcmp(type, "sample") == 0)
			handle_sample(s, message);
		else if (strcmp(type, "pause") == 0)
			handle_pause(s, message);
		else if (strcmp(type, "go on") == 0)
			handle_go_on(s);
		else if (strcmp(type, "stop") == 0)
			handle_stop(s);
		json_decref(message);
	}
	if (got < 0 && got != -EINTR)
		s->end = true;
}

static void handle_deadline(struct supervisor *s)
{
	s->deadline_ns = 0;
	if (s->stopping) {
		kill(s->server, SIGKILL);
		return;
	}
	char reason[LINE_BYTES + 96];
	snprintf(reason, sizeof(reason), "did not print READY in time%s%.400s",
		 s->err.last[0] ? "; its last line: " : "", s->err.last);
	say_failed(s, reason);
}

static void serve(struct supervisor *s)
{
	/* What came together with the handshake is in our buffer: no poll would tell. */
	handle_control(s);
	while (!s->end) {
		struct pollfd ready[] = {
			{.fd = s->control.fd, .events = POLLIN},
			{.fd = s->signal_fd, .events = POLLIN},
			{.fd = s->out.fd, .events = POLLIN},
			{.fd = s->err.fd, .events = POLLIN},
		};
		int wait_ms = -1;
		if (s->deadline_ns) {
			uint64_t now = vly_now_ns();
			wait_ms = now < s->deadline_ns
					  ? (int)((s->deadline_ns - now) / NS_PER_MS) + 1
					  : 0;
		}
		if (poll(ready, 4, wait_ms) < 0 && errno != EINTR)
			return;
		if (ready[2].revents)
			drain(s, &s->out);
		if (ready[3].revents)
			drain(s, &s->err);
		if (ready[1].revents)
			handle_signals(s);
		if (ready[0].revents)
			handle_control(s);
		if (s->deadline_ns && vly_now_ns() >= s->deadline_ns)
			handle_deadline(s);
	}
}

int supervise_main(int control_fd)
{
	struct supervisor s = {.out = {.fd = -1}, .err = {.fd = -1}, .perf = PERF_NONE};
	sigset_t signals, pipes;
	char why[256];

	control_init(&s.control, control_fd);
	(void)fcntl(control_fd, F_SETFD, FD_CLOEXEC);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	/* Of a perf that has died; blocked, not ignored: that the server would inherit. */
	sigemptyset(&pipes);
	sigaddset(&pipes, SIGPIPE);
	sigprocmask(SIG_BLOCK, &pipes, NULL);
	s.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.signal_fd < 0 || child_adopt_orphans() != 0) {
		fprintf(stderr, "volley supervise: %s\n", strerror(errno));
		return 1;
	}
	if (control_hello(&s.control, "supervisor", NULL, 0, HELLO_PATIENCE_NS, why, sizeof(why)) !=
	    0) {
		fprintf(stderr, "volley supervise: %s\n", why);
		return 1;
	}
	(void)polls_make(&s.polls); /* else busy shares are told by run time */
	serve(&s);
	child_kill_all();
	polls_fini(&s.polls);
	perf_fini(&s.perf);
	control_fini(&s.control);
	return 0;
}
