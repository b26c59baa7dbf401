/* cost.c - run time, switches and memory of processes; time of CPUs */
#include "bench/cost.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#include "bench/sysfile.h"

/* One line of /proc/PID/stat, as far as it is used. */
struct process {
	pid_t pid, parent;
	uint64_t user_ticks, system_ticks;
	uint64_t waited_user_ticks, waited_system_ticks; /* of children waited for */
	uint64_t threads, rss_pages;
	bool in_tree;
};

struct process_list {
	struct process *items;
	size_t count, room;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* /proc counts in USER_HZ, 100 on Linux wherever we know of, but asking is cheap. */
static uint64_t ticks_ns(uint64_t ticks)
{
	return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* Reads a whole small file; 0, or -errno (-ESRCH for a process that is gone). */
static int slurp(const char *path, char *text, size_t size_bytes)
{
	FILE *file = fopen(path, "re");
	size_t n;
	int err = 0;

	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	n = fread(text, 1, size_bytes - 1, file);
	if (ferror(file))
		err = -errno;
	text[n] = '\0';
	fclose(file);
	return err ? err : n ? 0 : -ESRCH;
}

static int process_read(pid_t pid, struct process *process)
{
	char path[64], text[1024];
	const char *fields;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	err = slurp(path, text, sizeof(text));
	if (err < 0)
		return err;
	*process = (struct process){.pid = pid};
	/* the name is in brackets and may hold anything, brackets and blanks included */
	fields = strrchr(text, ')');
	if (!fields || sscanf(fields + 1,
			      " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			      " %" SCNu64 " %" SCNu64 " %*d %*d %" SCNu64 " %*d %*u %*u %" SCNu64,
			      &process->parent, &process->user_ticks, &process->system_ticks,
			      &process->waited_user_ticks, &process->waited_system_ticks,
			      &process->threads, &process->rss_pages) != 7)
		return -EPROTO;
	return 0;
}

static int list_add(struct process_list *list, const struct process *process)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 128;
		struct process *items = realloc(list->items, room * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = *process;
	return 0;
}

/* Every process there is. */
static int list_read(struct process_list *list)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int err = 0;

	if (!proc)
		return -errno;
	while (!err && (entry = readdir(proc))) {
		struct process process;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		err = process_read((pid_t)strtol(entry->d_name, NULL, 10), &process);
		if (!err)
			err = list_add(list, &process);
		else if (err == -ESRCH)
			err = 0; /* ended meanwhile */
	}
	closedir(proc);
	return err;
}

static struct process *list_find(const struct process_list *list, pid_t pid)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].pid == pid)
			return &list->items[i];
	return NULL;
}

/*
 * Marks `root` and all that descend from it. Numbers wrap, so a child may stand before its parent:
 * repeat until nothing changes.
 */
static void list_mark(struct process_list *list, struct process *root)
{
	bool changed = true;

	root->in_tree = true;
	while (changed) {
		changed = false;
		for (size_t i = 0; i < list->count; i++) {
			struct process *process = &list->items[i];
			const struct process *parent;

			if (process->in_tree)
				continue;
			parent = list_find(list, process->parent);
			if (parent && parent->in_tree) {
				process->in_tree = true;
				changed = true;
			}
		}
	}
}

/* Adds one thread's switches; a thread that is gone adds nothing. */
static void switches_add(pid_t pid, const char *thread, struct cost *cost)
{
	char path[96], text[4096];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, thread);
	if (slurp(path, text, sizeof(text)) < 0)
		return;
	line = strstr(text, "\nvoluntary_ctxt_switches:");
	if (line)
		cost->switches_voluntary += strtoull(line + 25, NULL, 10);
	line = strstr(text, "\nnonvoluntary_ctxt_switches:");
	if (line)
		cost->switches_involuntary += strtoull(line + 28, NULL, 10);
}

static void process_switches_add(pid_t pid, struct cost *cost)
{
	struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		return;
	while ((entry = readdir(tasks)))
		if (isdigit((unsigned char)entry->d_name[0]))
			switches_add(pid, entry->d_name, cost);
	closedir(tasks);
}

/* Adds what the process itself has spent, its ended threads included. */
static void process_add(const struct process *process, struct cost *cost)
{
	struct timespec run;
	clockid_t clock;

	if (!clock_getcpuclockid(process->pid, &clock) && !clock_gettime(clock, &run))
		cost->run_ns += (uint64_t)run.tv_sec * 1000000000u + (uint64_t)run.tv_nsec;
	else /* a zombie: /proc still has it */
		cost->run_ns += ticks_ns(process->user_ticks + process->system_ticks);
	cost->user_ns += ticks_ns(process->user_ticks);
	cost->system_ns += ticks_ns(process->system_ticks);
	cost->rss_bytes += process->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE);
	cost->processes++;
	cost->threads += (uint32_t)process->threads;
	if (cost->switches_known && cost->threads <= COST_THREADS_MAX)
		process_switches_add(process->pid, cost);
	else
		cost->switches_known = false;
}

static void waited_add(const struct process *process, struct cost *cost)
{
	cost->user_ns += ticks_ns(process->waited_user_ticks);
	cost->system_ns += ticks_ns(process->waited_system_ticks);
	cost->run_ns += ticks_ns(process->waited_user_ticks + process->waited_system_ticks);
}

static int one_add(pid_t pid, struct cost *cost)
{
	struct process process;
	int err = process_read(pid, &process);

	if (!err)
		process_add(&process, cost);
	return err;
}

static int tree_add(pid_t pid, enum cost_scope scope, struct process_list *list, struct cost *cost)
{
	struct process *root = list_find(list, pid);

	if (!root)
		return -ESRCH;
	for (size_t i = 0; i < list->count; i++)
		list->items[i].in_tree = false;
	list_mark(list, root);
	for (size_t i = 0; i < list->count; i++) {
		const struct process *process = &list->items[i];

		if (!process->in_tree)
			continue;
		if (process != root || scope == COST_TREE)
			process_add(process, cost);
		waited_add(process, cost);
	}
	return 0;
}

static int sample(const pid_t *pids, unsigned count, enum cost_scope scope, struct cost *cost)
{
	struct process_list list = {0};
	uint64_t begin_ns = now_ns();
	unsigned gone = 0;
	int err = 0;

	*cost = (struct cost){.switches_known = true};
	if (scope != COST_ONE)
		err = list_read(&list);
	for (unsigned i = 0; i < count && !err; i++) {
		if (scope == COST_ONE)
			err = one_add(pids[i], cost);
		else
			err = tree_add(pids[i], scope, &list, cost);
		if (err == -ESRCH) {
			gone++;
			err = 0;
		}
	}
	free(list.items);
	cost->stamp_ns = begin_ns + (now_ns() - begin_ns) / 2;
	if (!err && count && gone == count)
		err = -ESRCH;
	return err;
}

void cost_catch_up(const int *cpus, unsigned count)
{
	const struct sched_param first = {.sched_priority = 1}, usual = {.sched_priority = 0};
	cpu_set_t own, there, elsewhere;

	if (!count || sched_getscheduler(0) != SCHED_OTHER ||
	    sched_getaffinity(0, sizeof(own), &own) != 0)
		return;
	/*
	 * A server may have a higher priority than we (keepup's has): then a visit took up to 300 ms. Where it
	 * may not, this is refused, and not needed.
	 */
	bool raised = sched_setscheduler(0, SCHED_FIFO, &first) == 0;

	elsewhere = own;
	for (unsigned i = 0; i < count; i++) {
		CPU_ZERO(&there);
		CPU_SET(cpus[i], &there);
		CPU_CLR(cpus[i], &elsewhere);
		/* returns when we have been moved; a CPU that we may not use stays behind */
		(void)sched_setaffinity(0, sizeof(there), &there);
	}
	/* not to wait there for our turn; if there is nowhere else, this is refused */
	(void)sched_setaffinity(0, sizeof(elsewhere), &elsewhere);
	(void)sched_setaffinity(0, sizeof(own), &own);
	if (raised)
		(void)sched_setscheduler(0, SCHED_OTHER, &usual);
}

int cost_sample(pid_t pid, enum cost_scope scope, struct cost *cost)
{
	return sample(&pid, 1, scope, cost);
}

int cost_sample_pids(const pid_t *pids, unsigned count, enum cost_scope scope, struct cost *cost)
{
	int err = sample(pids, count, scope, cost);

	return err == -ESRCH ? 0 : err;
}

/* A process that ended unwaited takes its share along: the difference would wrap. */
static uint64_t grown(uint64_t before, uint64_t after)
{
	return after > before ? after - before : 0;
}

struct cost cost_between(const struct cost *before, const struct cost *after)
{
	struct cost spent = *after;

	spent.stamp_ns = grown(before->stamp_ns, after->stamp_ns);
	spent.run_ns = grown(before->run_ns, after->run_ns);
	spent.user_ns = grown(before->user_ns, after->user_ns);
	spent.system_ns = grown(before->system_ns, after->system_ns);
	spent.switches_voluntary = grown(before->switches_voluntary, after->switches_voluntary);
	spent.switches_involuntary =
		grown(before->switches_involuntary, after->switches_involuntary);
	spent.switches_known = before->switches_known && after->switches_known;
	return spent;
}

void cost_skip(struct cost *before, const struct cost *from, const struct cost *to)
{
	struct cost spent = cost_between(from, to);

	before->stamp_ns += spent.stamp_ns;
	before->run_ns += spent.run_ns;
	before->user_ns += spent.user_ns;
	before->system_ns += spent.system_ns;
	before->switches_voluntary += spent.switches_voluntary;
	before->switches_involuntary += spent.switches_involuntary;
	before->switches_known = before->switches_known && spent.switches_known;
}

double cost_user_share(const struct cost *spent)
{
	uint64_t both = spent->user_ns + spent->system_ns;

	return both ? (double)spent->user_ns / (double)both : -1.0;
}

/*
 * --- CPUs ----------------------------------------------------------------------------------------
 */

/* The text of /proc/stat for free(): its line of interrupts grows with the machine. */
static int stat_read(char **text)
{
	FILE *file = fopen("/proc/stat", "re");
	size_t room = 0;
	int err = 0;

	*text = NULL;
	if (!file)
		return -errno;
	/* up to the first NUL, that is: all of it */
	if (getdelim(text, &room, '\0', file) < 0 || !*text)
		err = errno ? -errno : -EIO;
	fclose(file);
	return err;
}

static int cpu_add(const char *text, int cpu, struct cost_cpus *sample)
{
	uint64_t user, nice, system, idle, iowait, irq, softirq, steal;
	char name[24];
	const char *line;

	snprintf(name, sizeof(name), "\ncpu%d ", cpu);
	line = strstr(text, name);
	/* guest time, the columns after, is contained in user and nice */
	if (!line || sscanf(line + strlen(name),
			    "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			    " %" SCNu64 " %" SCNu64,
			    &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) != 8)
		return -EINVAL;
	sample->user_ns += ticks_ns(user + nice);
	sample->system_ns += ticks_ns(system);
	sample->irq_ns += ticks_ns(irq);
	sample->softirq_ns += ticks_ns(softirq);
	sample->busy_ns += ticks_ns(user + nice + system + irq + softirq);
	sample->idle_ns += ticks_ns(idle + iowait);
	sample->steal_ns += ticks_ns(steal);
	return 0;
}

/* The thread named ksoftirqd/CPU, or 0. They live as long as the machine: looked up once. */
static pid_t ksoftirqd_of(int cpu)
{
	static pid_t known[COST_KSOFTIRQD_CPUS];
	char name[32], path[300], comm[32];

	if (cpu < 0 || cpu >= COST_KSOFTIRQD_CPUS)
		return 0;
	DIR *proc = known[cpu] ? NULL : opendir("/proc");

	snprintf(name, sizeof(name), "ksoftirqd/%d", cpu);
	for (struct dirent *entry; proc && !known[cpu] && (entry = readdir(proc));) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (sysfile_read(path, comm, sizeof(comm)) > 0 && strcmp(comm, name) == 0)
			known[cpu] = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	if (proc)
		closedir(proc);
	return known[cpu];
}

/* Its run time; 0 where it cannot be seen, in a container for example. */
static uint64_t ksoftirqd_ns(int cpu)
{
	char path[64];
	uint64_t run_ns = 0;
	pid_t pid = ksoftirqd_of(cpu);

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	return pid && sysfile_u64(path, &run_ns) == 0 ? run_ns : 0;
}

int cost_cpus_sample(const int *cpus, unsigned count, struct cost_cpus *sample)
{
	char *text;
	int err;

	*sample = (struct cost_cpus){.stamp_ns = now_ns()};
	if (!count)
		return -EINVAL;
	err = stat_read(&text);
	if (!text)
		return err ? err : -EIO;
	for (unsigned i = 0; i < count && !err; i++) {
		err = cpu_add(text, cpus[i], sample);
		sample->ksoftirqd_ns += ksoftirqd_ns(cpus[i]);
	}
	free(text);
	return err;
}

bool cost_config_has_irq_time(const char *path)
{
	gzFile file = gzopen(path, "r"); /* reads what is not compressed as it is */
	char line[512];
	bool found = false;

	while (file && !found && gzgets(file, line, sizeof(line)))
		found = strcmp(line, "CONFIG_IRQ_TIME_ACCOUNTING=y\n") == 0;
	if (file)
		gzclose(file);
	return found;
}

bool cost_cmdline_without_irq_time(const char *text)
{
	static const char word[] = "tsc=noirqtime";
	const size_t len = sizeof(word) - 1;

	for (const char *at = text; (at = strstr(at, word)); at += len)
		if ((at == text || isspace((unsigned char)at[-1])) &&
		    (!at[len] || isspace((unsigned char)at[len])))
			return true;
	return false;
}

bool cost_irq_time_apart(void)
{
	static int known = -1;
	struct utsname name;
	char path[512], text[4096];

	if (known < 0 && uname(&name) == 0) {
		snprintf(path, sizeof(path), "/boot/config-%s", name.release);
		known = cost_config_has_irq_time("/proc/config.gz") ||
			cost_config_has_irq_time(path);
		if (slurp("/proc/cmdline", text, sizeof(text)) == 0 &&
		    cost_cmdline_without_irq_time(text))
			known = 0;
	}
	return known == 1;
}

struct cost_unbilled cost_cpus_unbilled(const struct cost_cpus *spent, bool irq_time_apart)
{
	if (irq_time_apart)
		return (struct cost_unbilled){.irq_ns = spent->irq_ns,
					      .softirq_ns = spent->softirq_ns};
	return (struct cost_unbilled){.ksoftirqd_ns = spent->ksoftirqd_ns};
}

uint64_t cost_unbilled_ns(const struct cost_unbilled *unbilled)
{
	return unbilled->ksoftirqd_ns + unbilled->irq_ns + unbilled->softirq_ns;
}

void cost_unbilled_scale(struct cost_unbilled *unbilled, double factor)
{
	unbilled->ksoftirqd_ns = (uint64_t)((double)unbilled->ksoftirqd_ns * factor);
	unbilled->irq_ns = (uint64_t)((double)unbilled->irq_ns * factor);
	unbilled->softirq_ns = (uint64_t)((double)unbilled->softirq_ns * factor);
}

struct cost_cpus cost_cpus_between(const struct cost_cpus *before, const struct cost_cpus *after)
{
	return (struct cost_cpus){
		.stamp_ns = grown(before->stamp_ns, after->stamp_ns),
		.busy_ns = grown(before->busy_ns, after->busy_ns),
		.user_ns = grown(before->user_ns, after->user_ns),
		.system_ns = grown(before->system_ns, after->system_ns),
		.irq_ns = grown(before->irq_ns, after->irq_ns),
		.softirq_ns = grown(before->softirq_ns, after->softirq_ns),
		.idle_ns = grown(before->idle_ns, after->idle_ns),
		.steal_ns = grown(before->steal_ns, after->steal_ns),
		.ksoftirqd_ns = grown(before->ksoftirqd_ns, after->ksoftirqd_ns),
	};
}

void cost_cpus_skip(struct cost_cpus *before, const struct cost_cpus *from,
		    const struct cost_cpus *to)
{
	struct cost_cpus spent = cost_cpus_between(from, to);

	before->stamp_ns += spent.stamp_ns;
	before->busy_ns += spent.busy_ns;
	before->user_ns += spent.user_ns;
	before->system_ns += spent.system_ns;
	before->irq_ns += spent.irq_ns;
	before->softirq_ns += spent.softirq_ns;
	before->idle_ns += spent.idle_ns;
	before->steal_ns += spent.steal_ns;
	before->ksoftirqd_ns += spent.ksoftirqd_ns;
}
