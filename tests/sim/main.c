/* main.c - the sim program: many seeds in several processes; one that fails is run again for its pcap file */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "tests/sim/sim.h"
#include "tests/sim/violation.h"
#include "volley/log.h"

#define JOBS_MAX 16u
/* A seed takes milliseconds; one that takes so much of a CPU hangs. The clock on the wall would count what others take. */
#define PATIENCE_S 60

struct worker {
	struct sim_result result;
	uint64_t seed; /* it is at this one */
	pid_t pid;
};

struct options {
	uint64_t from, count;
	unsigned jobs;
	bool keep_going, verbose, capture;
};

static void work(struct worker *worker, const struct options *o, unsigned index)
{
	const struct itimerval patience = {.it_value.tv_sec = PATIENCE_S};

	for (uint64_t i = index; i < o->count; i += o->jobs) {
		struct sim_opts opts = {.seed = o->from + i, .verbose = o->verbose};
		char path[64];

		if (o->capture) {
			snprintf(path, sizeof(path), "sim-%llu.pcap",
				 (unsigned long long)opts.seed);
			opts.capture = path;
		}
		worker->seed = opts.seed;
		setitimer(ITIMER_PROF, &patience, NULL);
		sim_run(&opts, &worker->result);
	}
	fflush(NULL);
	_exit(0);
}

static pid_t start(struct worker *worker, const struct options *o, unsigned index)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		work(worker, o, index);
	worker->pid = pid; /* it is the parent's alone to write */
	return pid;
}

/* Again, with every frame written down; a second run that ends otherwise is a bug of its own. */
static void replay(uint64_t seed, struct worker *worker)
{
	struct options o = {.from = seed, .count = 1, .jobs = 1, .verbose = true, .capture = true};
	int status = 0;

	if (start(worker, &o, 0) > 0)
		waitpid(worker->pid, &status, 0);
	printf("replay: make sim SEED=%llu    frames: sim-%llu.pcap%s\n", (unsigned long long)seed,
	       (unsigned long long)seed, status ? "" : "    (the second run was well!)");
}

static void report(const struct worker *worker, int status)
{
	if (WIFSIGNALED(status))
		printf("seed %llu ends by signal %d (%s)\n", (unsigned long long)worker->seed,
		       WTERMSIG(status),
		       WTERMSIG(status) == SIGPROF ? "it hangs" : strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != VIOLATION_STATUS)
		printf("seed %llu ends with exit status %d\n", (unsigned long long)worker->seed,
		       WEXITSTATUS(status));
}

/* What the stack went through: what is 0 here was never tried. */
static void print_stack(const struct vly_inet_stats *s)
{
	const struct {
		const char *name;
		uint64_t count;
	} list[] = {
		{"time-outs", s->tcp_rto},
		{"segments sent again", s->tcp_retransmit},
		{"fast recoveries", s->tcp_fast_retransmit},
		{"tail-loss probes", s->tcp_tlp},
		{"reported as spurious", s->tcp_spurious},
		{"cuts undone", s->tcp_undo},
		{"window probes", s->tcp_persist},
		{"keep-alives", s->tcp_keepalive},
		{"out of order", s->tcp_out_of_order},
		{"no room to keep", s->tcp_ooo_dropped},
		{"delayed ACKs", s->tcp_delayed_ack},
		{"out of window", s->tcp_out_of_window},
		{"bad ACKs", s->tcp_bad_ack},
		{"too old", s->tcp_paws},
		{"bad resets", s->tcp_reset_bad},
		{"challenges", s->tcp_challenge},
		{"cookies sent", s->tcp_cookie_sent},
		{"cookies redeemed", s->tcp_cookie_ok},
		{"TIME-WAIT", s->tcp_time_wait},
		{"TIME-WAIT used again", s->tcp_time_wait_reused},
		{"TIME-WAIT full", s->tcp_time_wait_full},
		{"wire full", s->tx_full},
	};

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		printf("%s%s %llu", i ? ", " : "the stack: ", list[i].name,
		       (unsigned long long)list[i].count);
	putchar('\n');
}

static void sum_up(const struct worker *workers, unsigned jobs, double seconds)
{
	struct sim_result sum = {0};

	for (unsigned i = 0; i < jobs; i++) {
		const struct sim_result *r = &workers[i].result;

		sum.seeds += r->seeds;
		sum.frames += r->frames;
		sum.lost += r->lost;
		sum.again += r->again;
		sum.foes += r->foes;
		sum.polls += r->polls;
		sum.bytes += r->bytes;
		sum.connections += r->connections;
		sum.virtual_ns += r->virtual_ns;
		states_add(&sum.states, &r->states);
		sim_add_stack(&sum.stack, &r->stack);
	}
	printf("%llu seeds, %llu connection ends, %llu bytes sent; %llu frames, %llu lost or spoilt, "
	       "%llu segments sent again, %llu hostile frames; %.0f s of theirs in %.1f s\n",
	       (unsigned long long)sum.seeds, (unsigned long long)sum.connections,
	       (unsigned long long)sum.bytes, (unsigned long long)sum.frames,
	       (unsigned long long)sum.lost, (unsigned long long)sum.again,
	       (unsigned long long)sum.foes, (double)sum.virtual_ns / 1e9, seconds);
	print_stack(&sum.stack);
	states_print(&sum.states, stdout);
}

static int run(const struct options *o, struct worker *workers)
{
	uint64_t began_ns = vly_clock_gettime_ns();
	unsigned failures = 0, running = 0;

	for (unsigned i = 0; i < o->jobs; i++)
		running += start(&workers[i], o, i) > 0;
	while (running--) {
		int status;
		pid_t pid = wait(&status);
		unsigned i = 0;

		while (i < o->jobs && workers[i].pid != pid)
			i++;
		if (i == o->jobs || status == 0)
			continue;
		report(&workers[i], status);
		replay(workers[i].seed, &workers[JOBS_MAX]);
		if (failures++ == 0 && !o->keep_going) {
			for (unsigned j = 0; j < o->jobs; j++) {
				if (j != i)
					kill(workers[j].pid, SIGKILL);
			}
			return 1;
		}
		/* The rest of its share. */
		struct options rest = *o;
		uint64_t done = (workers[i].seed - o->from) / o->jobs + 1;

		rest.from += done * o->jobs;
		rest.count = o->count > done * o->jobs ? o->count - done * o->jobs : 0;
		running += start(&workers[i], &rest, i) > 0;
	}
	sum_up(workers, o->jobs, (double)(vly_clock_gettime_ns() - began_ns) / 1e9);
	if (failures)
		printf("%u seeds violate an invariant\n", failures);
	return failures != 0;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{"seeds", required_argument, NULL, 'n'},
		{"from", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'},
		{"jobs", required_argument, NULL, 'j'},
		{"keep-going", no_argument, NULL, 'k'},
		{"verbose", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "n:f:s:j:kv", names, NULL)) != -1) {
		unsigned long long number = optarg ? strtoull(optarg, NULL, 10) : 0;

		switch (c) {
		case 'n':
			o->count = number;
			break;
		case 'f':
			o->from = number;
			break;
		case 's':
			o->from = number;
			o->count = 1;
			o->verbose = o->capture = true;
			break;
		case 'j':
			o->jobs = (unsigned)VLY_MIN(number, (unsigned long long)JOBS_MAX);
			break;
		case 'k':
			o->keep_going = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		default:
			return false;
		}
	}
	o->jobs = (unsigned)VLY_MIN((uint64_t)VLY_MAX(o->jobs, 1u), VLY_MAX(o->count, 1));
	return optind == argc;
}

int main(int argc, char **argv)
{
	struct options o = {.from = 1, .count = 100, .jobs = 2};
	struct worker *workers;

	if (!parse(argc, argv, &o)) {
		fprintf(stderr,
			"usage: sim [--seeds N] [--from N] [--jobs N] [--keep-going] [--verbose]\n"
			"       sim --seed N      one seed, in words, with sim-N.pcap\n");
		return 2;
	}
	workers = mmap(NULL, (JOBS_MAX + 1) * sizeof(*workers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (workers == MAP_FAILED) {
		perror("sim");
		return 1;
	}
	vly_log_set(NULL, NULL, VLY_LOG_ERROR);
	return run(&o, workers);
}
