/* consumer.c - what volley keepup measures: consumers in C and Python, and where their messages come from */
#include "bench/consumer.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/suggest.h"
#include "volley/config.h"

#define SCRIPT "keepup.py"
#define CONTROL "volley-control"
#define ON(feed) (1u << (feed))
#define NETWORKS (ON(FEED_KERNEL) | ON(FEED_LOOP) | ON(FEED_DPDK))
#define EVERYWHERE (ON(FEED_INTERNAL) | NETWORKS)

static const char *const feed_names[FEEDS] = {"internal", "uring", "loop", "dpdk"};
/* Messages of a poll at most. Over sockets a larger batch leaves the caches before its answers are sent. */
static const unsigned int feed_batches[FEEDS] = {1024, 256, 512, 512};
/* The row of volley pingpong whose engine is the same. */
static const char *const feed_rows[FEEDS] = {"", "volley_uring", "volley_inet_burst",
					     "volley_dpdk"};

const char *feed_name(enum feed feed)
{
	return feed_names[feed];
}

int feed_of(const char *name)
{
	for (int i = 0; i < FEEDS; i++)
		if (strcmp(name, feed_names[i]) == 0)
			return i;
	return -1;
}

static const struct consumer *of(const struct variant *variant)
{
	return (const struct consumer *)variant;
}

/* Runs words quietly but for the last line of stderr, which goes to `line`. Its exit code; 127: no such program. */
static int run_quietly(struct words *words, char *line, size_t line_bytes)
{
	char text[4096];
	size_t len = 0;
	int out[2], status = 0;
	ssize_t got;

	line[0] = '\0';
	if (pipe(out) != 0)
		return 126;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(out[0]);
		dup2(out[1], STDERR_FILENO);
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execvp(words->argv[0], words->argv);
		_exit(127);
	}
	close(out[1]);
	while (pid > 0 && (got = read(out[0], text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)got;
		if (len > sizeof(text) / 2) { /* its end alone matters */
			memmove(text, text + len - sizeof(text) / 4, sizeof(text) / 4);
			len = sizeof(text) / 4;
		}
	}
	close(out[0]);
	if (pid < 0)
		return 126;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	text[len] = '\0';
	const char *last = strrchr(text, '\n');
	snprintf(line, line_bytes, "%.200s", last ? last + 1 : text);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Whether its source can be had: as for the row of the same engine. */
static int check_feed(const struct variant_setting *setting, const struct consumer_setting *own,
		      char *why, size_t why_bytes)
{
	const struct variant *row = variant_find(feed_rows[own->feed], NULL);

	return row ? row->check(row, setting, why, why_bytes) : 0;
}

static int add_script(const struct variant *variant, const char *python, struct words *words)
{
	char path[PATH_MAX];
	int err = variant_file(variant->file, path, sizeof(path));

	err = err ? err : words_add(words, "%s", python);
	err = err ? err : words_add(words, "-B");
	err = err ? err : words_add(words, "%s", path);
	return err ? err : words_add(words, "%s", variant->style);
}

static int check_script(const struct variant *variant, const struct variant_setting *setting,
			char *why, size_t why_bytes)
{
	const struct consumer_setting *own = of(variant)->setting;
	struct words words = {.count = 0};
	char line[256];
	int err = check_feed(setting, own, why, why_bytes);

	if (err)
		return err;
	err = add_script(variant, setting->python, &words);
	err = err ? err : words_add(&words, "--check");
	err = err ? err : words_add(&words, "--nic=%s", feed_names[own->feed]);
	if (!err && own->module)
		err = words_add(&words, "--consumer=%s", own->module);
	err = err ? err : words_add(&words, "--work=%s", own->work);
	if (err) {
		words_fini(&words);
		snprintf(why, why_bytes, "%s is not where the command looks for it: %s",
			 variant->file, strerror(-err));
		return err;
	}
	int code = run_quietly(&words, line, sizeof(line));
	words_fini(&words);
	if (code == 0)
		return 0;
	if (code == 127)
		snprintf(
			why, why_bytes,
			"there is no Python at %s; apt install python3, or name one with --python PATH",
			setting->python);
	else if (code == 3)
		snprintf(
			why, why_bytes,
			"%s cannot import volley's module; apt install python3-dev and build again, or name the Python it was built for with --python PATH",
			setting->python);
	else if (code == 4)
		snprintf(
			why, why_bytes,
			"%s has no module numpy; apt install python3-numpy, or name another Python with --python PATH",
			setting->python);
	else if (code == 5)
		snprintf(
			why, why_bytes,
			"%s has no module uvloop; apt install python3-uvloop, or name another Python with --python PATH",
			setting->python);
	else
		snprintf(why, why_bytes, "%s cannot be loaded: %s",
			 own->module ? own->module : variant->name, line);
	return -ENOENT;
}

/* SCRIPT STYLE PORT HOST --nic=... and the rest. */
static int command_script(const struct variant *variant, const struct variant_setting *setting,
			  struct words *words, char *why, size_t why_bytes)
{
	const struct consumer_setting *own = of(variant)->setting;
	char nic[sizeof(own->source) + VARIANT_NIC_BYTES];
	const char *host = variant->loop ? VARIANT_LOOP_HOST : setting->host;
	int err = add_script(variant, setting->python, words);

	snprintf(nic, sizeof(nic), "uring");
	if (own->feed == FEED_INTERNAL) {
		snprintf(nic, sizeof(nic), "source:%s", own->source);
	} else if (variant->loop) {
		char wire[VARIANT_NIC_BYTES];

		variant_loop_nic(variant, setting->loop, false, wire, sizeof(wire));
		/* Python pays for each batch: it takes large ones */
		snprintf(nic, sizeof(nic), "%s,burst=256", wire);
	}
	err = err ? err : words_add(words, "%u", setting->port);
	err = err ? err : words_add(words, "%s", host);
	err = err ? err : words_add(words, "--nic=%s", nic);
	err = err ? err : words_add(words, "--connections=%u", setting->connections);
	err = err ? err : words_add(words, "--size=%u", setting->size_bytes);
	err = err ? err : words_add(words, "--idle=%s", variant->idle_policy);
	err = err ? err : words_add(words, "--batch=%u", feed_batches[own->feed]);
	err = err ? err : words_add(words, "--work=%s", own->work);
	err = err ? err : words_add(words, "--mode=%s", own->mode);
	err = err ? err : words_add(words, "--gc=%s", own->gc);
	if (of(variant)->metered)
		err = err ? err : words_add(words, "--meter=%s", own->meter);
	err = err ? err : words_add(words, "--report=%s", own->report);
	if (own->slow_ns)
		err = err ? err : words_add(words, "--slow-ns=%u", own->slow_ns);
	if (own->slow_ns && of(variant)->unslowed_ns > 0)
		err = err ? err : words_add(words, "--unslowed-ns=%.1f", of(variant)->unslowed_ns);
	if (own->no_prefetch)
		err = err ? err : words_add(words, "--no-prefetch");
	if (own->compete)
		err = err ? err : words_add(words, "--compete");
	if (own->module && strcmp(variant->style, "own") == 0)
		err = err ? err : words_add(words, "--consumer=%s", own->module);
	if (err)
		snprintf(why, why_bytes, "%s: %s", variant->file, strerror(-err));
	return err;
}

static int check_control(const struct variant *variant, const struct variant_setting *setting,
			 char *why, size_t why_bytes)
{
	const struct consumer_setting *own = of(variant)->setting;
	char path[PATH_MAX];

	if (own->feed != FEED_INTERNAL)
		return check_feed(setting, own, why, why_bytes);
	if (variant_file(CONTROL, path, sizeof(path)) == 0)
		return 0;
	snprintf(why, why_bytes, "%s was not built; build everything: make build", CONTROL);
	return -ENOENT;
}

/* From inside the control program; over a network the engine's own echo. */
static int command_control(const struct variant *variant, const struct variant_setting *setting,
			   struct words *words, char *why, size_t why_bytes)
{
	const struct consumer_setting *own = of(variant)->setting;
	char path[PATH_MAX];

	if (own->feed != FEED_INTERNAL) {
		const struct variant *row = variant_find(feed_rows[own->feed], NULL);
		struct variant_setting one = *setting;
		struct cpus first = *setting->cpus;

		/* as many cores as Python has */
		first.count = first.count && variant->threads_max == 1 ? 1 : first.count;
		one.cpus = &first;
		return row->command(row, &one, words, why, why_bytes);
	}
	int err = variant_file(CONTROL, path, sizeof(path));
	err = err ? err : words_add(words, "%s", path);
	err = err ? err : words_add(words, "%s", variant->style);
	err = err ? err : words_add(words, "%s", own->source);
	err = err ? err : words_add(words, "%s", own->meter);
	if (err)
		snprintf(why, why_bytes, "%s: %s", CONTROL, strerror(-err));
	return err;
}

#define C_ROW(row, row_style, row_feeds, text)                                                     \
	{                                                                                          \
		.variant = {.name = row,                                                           \
			    .summary = text,                                                       \
			    .idle_policy = "busy",                                                 \
			    .nic = "",                                                             \
			    .style = row_style,                                                    \
			    .fds_base = 64,                                                        \
			    .threads_max = 1,                                                      \
			    .check = check_control,                                                \
			    .command = command_control},                                           \
		.feeds = row_feeds, .control = true, .metered = true,                              \
	}

#define PYTHON_ROW(row, row_style, row_feeds, has_meter, text)                                     \
	{                                                                                          \
		.variant = {.name = row,                                                           \
			    .summary = text,                                                       \
			    .idle_policy = "sleep",                                                \
			    .nic = "",                                                             \
			    .style = row_style,                                                    \
			    .file = SCRIPT,                                                        \
			    .fds_base = 64,                                                        \
			    .threads_max = 1,                                                      \
			    .counts = true,                                                        \
			    .check = check_script,                                                 \
			    .command = command_script},                                            \
		.feeds = row_feeds, .metered = has_meter,                                          \
	}

static struct consumer consumers[] = {
	C_ROW("c_null", "null", ON(FEED_INTERNAL), "C: counts and sums"),
	C_ROW("c_echo", "echo", EVERYWHERE, "C: and sends each back"),
	PYTHON_ROW("volley_proto", "proto", EVERYWHERE, true,
		   "Python: an asyncio Protocol on this engine"),
	PYTHON_ROW("volley_completion", "completion", EVERYWHERE, true,
		   "Python: data_received returns the answer"),
	PYTHON_ROW("volley_coro", "coro", EVERYWHERE, true, "Python: a coroutine per connection"),
	PYTHON_ROW("volley_batch", "batch", EVERYWHERE, true, "Python: a loop over each batch"),
	PYTHON_ROW("volley_columns", "columns", EVERYWHERE, true,
		   "Python: numpy over whole batches"),
	PYTHON_ROW("volley_loop", "loop", NETWORKS, true,
		   "Python: streams on this engine's event loop"),
	PYTHON_ROW("asyncio_proto", "asyncio_proto", ON(FEED_KERNEL), false,
		   "Python: a Protocol on asyncio"),
	PYTHON_ROW("uvloop_proto", "uvloop_proto", ON(FEED_KERNEL), false,
		   "Python: a Protocol on uvloop"),
	PYTHON_ROW("asyncio", "asyncio", ON(FEED_KERNEL), false, "Python: streams on asyncio"),
	PYTHON_ROW("uvloop", "uvloop", ON(FEED_KERNEL), false, "Python: streams on uvloop"),
};

#define CONSUMERS_COUNT (sizeof(consumers) / sizeof(consumers[0]))

struct consumer *consumer_at(size_t index)
{
	return index < CONSUMERS_COUNT ? &consumers[index] : NULL;
}

struct consumer *consumer_find(const char *name, const char **nearest)
{
	const char *names[CONSUMERS_COUNT];

	for (size_t i = 0; i < CONSUMERS_COUNT; i++) {
		if (strcmp(consumers[i].variant.name, name) == 0)
			return &consumers[i];
		names[i] = consumers[i].variant.name;
	}
	if (nearest)
		*nearest = suggest_nearest(name, names, CONSUMERS_COUNT);
	return NULL;
}

void consumer_from_module(struct consumer *consumer, const char *name, const char *module)
{
	(void)module; /* the command's settings have it */
	*consumer = (struct consumer)PYTHON_ROW("", "own", EVERYWHERE, true,
						"the consumer given with --consumer");
	consumer->variant.name = name;
	consumer->variant.counts = false; /* it may */
}

void consumer_from_exec(struct consumer *consumer, const char *name, const char *command)
{
	*consumer = (struct consumer){.feeds = ON(FEED_KERNEL)};
	variant_from_exec(&consumer->variant, name, command);
}

void consumer_set_up(struct consumer *consumer, const struct consumer_setting *setting)
{
	struct variant *variant = &consumer->variant;

	consumer->setting = setting;
	variant->loop = setting->feed == FEED_LOOP || setting->feed == FEED_DPDK;
	variant->memif = setting->feed == FEED_DPDK;
	if (variant->exec)
		return;
	variant->nic = variant->loop ? ",ts=0" : feed_name(setting->feed);
	variant->idle_policy = setting->feed == FEED_KERNEL ? "sleep" : "busy";
	variant->fds_base = setting->feed == FEED_DPDK ? 128 : 64;
	variant->threads_max = strcmp(setting->mode, "process") == 0 ? 0 : 1;
}

const char *consumer_refuses(const struct consumer *consumer,
			     const struct consumer_setting *setting)
{
	bool inside = consumer->control || consumer->metered; /* on this engine */

	if (strcmp(setting->mode, "process") == 0 && setting->feed != FEED_KERNEL)
		return "several processes share a port of the kernel's; name its sockets with --source uring";
	if (strcmp(setting->mode, "thread") == 0 &&
	    (!inside || strcmp(consumer->variant.style, "loop") == 0))
		return "an event loop has no engine on a thread of its own; leave --mode out";
	if (setting->slow_ns &&
	    (!consumer->variant.file || strcmp(consumer->variant.style, "own") == 0))
		return "--slow is a delay in the bench's own Python consumers, and this one would run without; name one of them, as volley_batch, or leave --slow out";
	if (consumer->feeds & ON(setting->feed)) {
		if (strcmp(setting->work, "sink") == 0 && setting->feed != FEED_INTERNAL)
			return "a sink answers nothing, and the load generator waits for answers; --source internal has no such wait";
		return NULL;
	}
	if (setting->feed == FEED_INTERNAL)
		return "it reads from sockets; name a network with --source uring";
	return consumer->control
		       ? "without answers the load generator does not know what arrived; c_echo does answer"
		       : "it has kernel sockets only; name them with --source uring";
}
