/* variant.c - the ways of serving sockets that can be compared: a row each */
#include "bench/variant.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/suggest.h"
#include "volley/config.h"
#include "volley/loop.h"

#ifndef VOLLEY_LIBEXEC_DIR
#define VOLLEY_LIBEXEC_DIR "/usr/local/libexec/volley"
#endif

/*
 * At least as many as a loop has by default: 2 MiB for each direction. With few messages under way a smaller ring would be gone
 * round while its lines are still in the other CPU's own cache, from where they take longer to come than from one that both share.
 */
#define LOOP_SLOTS_MIN 1024u
#define LOOP_SLOTS_MAX 65536u
/* Of one slot: a frame of 1,500 bytes of IP. */
#define LOOP_SLOT_LINES 25u
#define LOOP_SEGMENT_BYTES 1460u
/* The ring's own, Ethernet, IP, TCP; and TCP's timestamps. */
#define LOOP_HEADER_BYTES (2u + 14u + 20u + 20u)
#define LOOP_STAMP_BYTES 12u
/* Of a frame without TCP: what tells it from others. */
#define LOOP_MARK_BYTES 16u

int variant_file(const char *name, char *path, size_t path_bytes)
{
	/* The build folder, a tree moved after installation, the configured place. */
	static const char *const beside[] = {"bench", "../libexec/volley"};
	char self[PATH_MAX];

	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; slash && i < sizeof(beside) / sizeof(beside[0]); i++) {
		snprintf(path, path_bytes, "%s/%s/%s", self, beside[i], name);
		if (access(path, R_OK) == 0)
			return 0;
	}
	snprintf(path, path_bytes, "%s/%s", VOLLEY_LIBEXEC_DIR, name);
	return access(path, R_OK) == 0 ? 0 : -ENOENT;
}

static int check_file(const struct variant *variant, const struct variant_setting *setting,
		      char *why, size_t why_bytes)
{
	char path[PATH_MAX];

	(void)setting;
	if (variant_file(variant->file, path, sizeof(path)) == 0)
		return 0;
	snprintf(
		why, why_bytes,
		"%s is neither in the build folder nor in %s; build everything: make build, or make install",
		variant->file, VOLLEY_LIBEXEC_DIR);
	return -ENOENT;
}

/* Cache lines of a ring that the frames of one message take. */
static uint64_t loop_lines(const struct variant *variant, uint32_t size_bytes)
{
	bool stamps = !variant->workload && !strstr(variant->nic, "ts=0");

	if (variant->workload && size_bytes < LOOP_MARK_BYTES)
		size_bytes = LOOP_MARK_BYTES;
	uint32_t header_bytes = LOOP_HEADER_BYTES + (stamps ? LOOP_STAMP_BYTES : 0);
	uint64_t whole = size_bytes / LOOP_SEGMENT_BYTES;
	uint32_t rest_bytes = size_bytes % LOOP_SEGMENT_BYTES;

	return whole * LOOP_SLOT_LINES + (rest_bytes ? (rest_bytes + header_bytes + 63) / 64 : 0);
}

uint32_t variant_loop_slots(const struct variant *variant, uint32_t messages, uint32_t size_bytes)
{
	uint64_t lines = messages * loop_lines(variant, size_bytes);
	/* and some more: connects, ACKs alone */
	uint64_t slots = lines / LOOP_SLOT_LINES + LOOP_SLOTS_MIN / 16;

	if (slots < LOOP_SLOTS_MIN)
		return LOOP_SLOTS_MIN;
	return slots < LOOP_SLOTS_MAX ? (uint32_t)slots : LOOP_SLOTS_MAX;
}

void variant_loop_nic(const struct variant *variant, int loop, bool is_load, char *text,
		      size_t text_bytes)
{
	/* so many addresses that 64,000 connections each find ports of their own */
	const char *ips = is_load ? ",ips=32" : "";
	const char *ip = is_load ? "10.77.1.1/16" : VARIANT_LOOP_HOST "/16";

	if (variant->memif)
		/* a name for each run of this process; it vanishes with the server */
		snprintf(text, text_bytes,
			 "inet:dpdk,port=0,eal=\"--vdev=net_memif0,role=%s,socket=volley-%d-%d,"
			 "rsize=14\",ip=%s%s%s",
			 is_load ? "client" : "server", (int)getpid(), loop, ip, ips, variant->nic);
	else
		snprintf(text, text_bytes, "inet:loop,fd=%d,side=%d,ip=%s%s%s", loop, is_load, ip,
			 ips, variant->nic);
}

/* Whether the row's nic can be had, on a loop that is made for the question. */
static int check_nic(const struct variant *variant, char *why, size_t why_bytes)
{
	char nic[VARIANT_NIC_BYTES];

	if (!variant->loop)
		return vly_nic_check(variant->nic, why, why_bytes);
	int loop = vly_loop_make(NULL);
	if (loop < 0) {
		snprintf(why, why_bytes, "no wire in memory: %s", strerror(-loop));
		return loop;
	}
	if (variant->workload && !variant->memif) {
		vly_loop_close(loop); /* the wire is all that it needs */
		return 0;
	}
	variant_loop_nic(variant, loop, false, nic, sizeof(nic));
	int err = vly_nic_check(nic, why, why_bytes);
	vly_loop_close(loop);
	return err;
}

static int check_engine(const struct variant *variant, const struct variant_setting *setting,
			char *why, size_t why_bytes)
{
	(void)setting;
	return check_nic(variant, why, why_bytes);
}

/* The nic of the server's end; -EINVAL if its loop is missing. */
static int server_nic(const struct variant *variant, const struct variant_setting *setting,
		      char nic[VARIANT_NIC_BYTES], char *why, size_t why_bytes)
{
	snprintf(nic, VARIANT_NIC_BYTES, "%s", variant->nic);
	if (!variant->loop)
		return 0;
	if (setting->loop <= 0) {
		snprintf(why, why_bytes, "%s runs beside its load only: volley pingpong %s",
			 variant->name, variant->name);
		return -EINVAL;
	}
	variant_loop_nic(variant, setting->loop, false, nic, VARIANT_NIC_BYTES);
	if (variant->server_nic) {
		size_t len = strlen(nic);

		snprintf(nic + len, VARIANT_NIC_BYTES - len, "%s", variant->server_nic);
	}
	return 0;
}

/* Runs "<python> -c <code>" quietly. Its exit code; 127 if there is no such program. */
static int python_runs(const char *python, const char *code)
{
	int status = 0;

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
			_exit(126);
		execlp(python, python, "-c", code, (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return 126;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int check_python(const struct variant *variant, const struct variant_setting *setting,
			char *why, size_t why_bytes)
{
	int err = check_file(variant, setting, why, why_bytes);

	if (err)
		return err;
	int code = python_runs(setting->python, "import sys; sys.exit(sys.version_info < (3, 7))");
	if (code == 0)
		return 0;
	if (code == 127)
		snprintf(
			why, why_bytes,
			"there is no Python at %s; apt install python3, or name one with --python PATH",
			setting->python);
	else
		snprintf(why, why_bytes,
			 "%s is not Python 3.7 or newer; name one with --python PATH",
			 setting->python);
	return -ENOENT;
}

static int check_uvloop(const struct variant *variant, const struct variant_setting *setting,
			char *why, size_t why_bytes)
{
	int err = check_python(variant, setting, why, why_bytes);

	if (err || python_runs(setting->python, "import uvloop") == 0)
		return err;
	snprintf(
		why, why_bytes,
		"%s has no module uvloop; apt install python3-uvloop, or name another Python with --python PATH",
		setting->python);
	return -ENOENT;
}

/* The module, for the interpreter that was named, and what the style needs besides. */
static int check_module(const struct variant *variant, const struct variant_setting *setting,
			char *why, size_t why_bytes)
{
	char path[PATH_MAX], code[PATH_MAX + 128];
	int err = check_python(variant, setting, why, why_bytes);

	err = err ? err : check_nic(variant, why, why_bytes);
	err = err ? err : variant_file(variant->file, path, sizeof(path));
	if (err)
		return err;
	/* the path goes through no shell, and a quote in it only fails the check */
	snprintf(
		code, sizeof(code),
		"import sys, runpy; sys.argv[1:] = ['%s', '--check']; runpy.run_path('%s', run_name='__main__')",
		variant->style, path);
	int exit_code = python_runs(setting->python, code);
	if (exit_code == 0)
		return 0;
	if (exit_code == 4)
		snprintf(
			why, why_bytes,
			"%s has no module numpy; apt install python3-numpy, or name another Python with --python PATH",
			setting->python);
	else
		snprintf(
			why, why_bytes,
			"%s cannot import volley's module; apt install python3-dev and build again, or name the Python it was built for with --python PATH",
			setting->python);
	return -ENOENT;
}

static int command_engine(const struct variant *variant, const struct variant_setting *setting,
			  struct words *words, char *why, size_t why_bytes)
{
	char self[PATH_MAX], cpus[CPUS_TEXT_MAX], nic[VARIANT_NIC_BYTES];
	const char *host = variant->loop ? VARIANT_LOOP_HOST : setting->host;

	int err = server_nic(variant, setting, nic, why, why_bytes);
	if (err)
		return err;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	err = words_add(words, "%s", self);
	err = err ? err : words_add(words, "echo-server");
	err = err ? err : words_add(words, "--nic=%s", nic);
	if (variant->forward)
		err = err ? err : words_add(words, "--forward");
	if (variant->workload)
		err = err ? err : words_add(words, "--layer2");
	err = err ? err : words_add(words, "--idle=%s", variant->idle_policy);
	err = err ? err : words_add(words, "--connections=%u", setting->connections);
	if (variant->loop && !variant->workload && setting->size_bytes)
		err = err ? err : words_add(words, "--size=%u", setting->size_bytes);
	err = err ? err
		  : words_add(words, "--cpus=%s", cpus_format(setting->cpus, cpus, sizeof(cpus)));
	err = err ? err
		  : words_add(words, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, setting->port);
	if (err)
		snprintf(why, why_bytes, "%s", strerror(-err));
	return err;
}

/* PROGRAM PORT: listens on every IPv4 address; pinned by who starts it. */
static int command_program(const struct variant *variant, const struct variant_setting *setting,
			   struct words *words, char *why, size_t why_bytes)
{
	char path[PATH_MAX];

	int err = variant_file(variant->file, path, sizeof(path));
	err = err ? err : words_add(words, "%s", path);
	err = err ? err : words_add(words, "%u", setting->port);
	if (err)
		snprintf(why, why_bytes, "%s: %s", variant->file, strerror(-err));
	return err;
}

/* PROGRAM PORT [CPUS]: a thread on each. */
static int command_baseline(const struct variant *variant, const struct variant_setting *setting,
			    struct words *words, char *why, size_t why_bytes)
{
	char cpus[CPUS_TEXT_MAX];

	int err = command_program(variant, setting, words, why, why_bytes);
	if (err || setting->cpus->count == 0)
		return err;
	err = words_add(words, "%s", cpus_format(setting->cpus, cpus, sizeof(cpus)));
	if (err)
		snprintf(why, why_bytes, "%s: %s", variant->file, strerror(-err));
	return err;
}

static int command_python(const struct variant *variant, const struct variant_setting *setting,
			  struct words *words, char *why, size_t why_bytes)
{
	/* -B: no compiled files beside the scripts */
	int err = words_add(words, "%s", setting->python);
	err = err ? err : words_add(words, "-B");
	err = err ? err : command_program(variant, setting, words, why, why_bytes);
	return err ? err : words_add(words, "%s", setting->host);
}

/* SCRIPT STYLE PORT HOST --nic=... --idle=... --connections=... --size=... */
static int command_module(const struct variant *variant, const struct variant_setting *setting,
			  struct words *words, char *why, size_t why_bytes)
{
	char path[PATH_MAX], nic[VARIANT_NIC_BYTES];

	int err = server_nic(variant, setting, nic, why, why_bytes);
	if (err)
		return err;
	err = variant_file(variant->file, path, sizeof(path));
	err = err ? err : words_add(words, "%s", setting->python);
	err = err ? err : words_add(words, "-B");
	err = err ? err : words_add(words, "%s", path);
	err = err ? err : words_add(words, "%s", variant->style);
	err = err ? err : words_add(words, "%u", setting->port);
	err = err ? err : words_add(words, "%s", variant->loop ? VARIANT_LOOP_HOST : setting->host);
	err = err ? err : words_add(words, "--nic=%s", nic);
	err = err ? err : words_add(words, "--idle=%s", variant->idle_policy);
	err = err ? err : words_add(words, "--connections=%u", setting->connections);
	if (setting->size_bytes)
		err = err ? err : words_add(words, "--size=%u", setting->size_bytes);
	if (err)
		snprintf(why, why_bytes, "%s: %s", variant->file, strerror(-err));
	return err;
}

/* As execvp() would look for it. */
static bool program_exists(const char *name)
{
	const char *at = getenv("PATH");
	char path[PATH_MAX];

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	for (at = at ? at : "/usr/bin:/bin"; *at; at += *at == ':') {
		size_t len = strcspn(at, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)len, at, name);
		if (access(path, X_OK) == 0)
			return true;
		at += len;
	}
	return false;
}

static int check_exec(const struct variant *variant, const struct variant_setting *setting,
		      char *why, size_t why_bytes)
{
	struct words words = {.count = 0};

	int err = words_split(&words, variant->exec, setting->port, why, why_bytes);
	if (!err && !program_exists(words.argv[0])) {
		snprintf(why, why_bytes, "there is no program '%s' that may be run (--exec)",
			 words.argv[0]);
		err = -ENOENT;
	}
	words_fini(&words);
	return err;
}

static int command_exec(const struct variant *variant, const struct variant_setting *setting,
			struct words *words, char *why, size_t why_bytes)
{
	return words_split(words, variant->exec, setting->port, why, why_bytes);
}

/* volley's Python module in one of its styles, over one nic: it has to tell its TOTAL. */
#define PYTHON_ROW(row, row_style, text)                                                           \
	.name = row, .summary = text, .style = row_style, .file = "volley_python.py",              \
	.fds_base = 64, .threads_max = 1, .counts = true, .check = check_module,                   \
	.command = command_module
#define PYTHON_SOCKET_ROW(row, row_style, text)                                                    \
	{                                                                                          \
		PYTHON_ROW(row, row_style, text), .idle_policy = "sleep", .nic = "uring",          \
	}
/* Python pays for each batch: its server takes large ones. A row in C does so for comparison alone. */
#define BATCHED ",burst=256"
#define PYTHON_LOOP_ROW(row, row_style, text)                                                      \
	{                                                                                          \
		PYTHON_ROW(row, row_style, text), .idle_policy = "busy", .loop = true,             \
						  .nic = ",ts=0", .server_nic = BATCHED,           \
	}

/* This engine over its own TCP/IP: server and load on the two sides of one loop. */
#define LOOP_ROW(row, nic_options, moves, text)                                                    \
	{                                                                                          \
		.name = row, .summary = text, .idle_policy = "busy", .nic = nic_options,           \
		.fds_base = 64, .loop = true, .forward = moves, .check = check_engine,             \
		.command = command_engine,                                                         \
	}

static const struct variant variants[] = {
	{
		.name = "volley_uring",
		.summary = "this engine over kernel sockets by io_uring",
		.idle_policy = "sleep",
		.nic = "uring",
		.fds_base = 64,
		.check = check_engine,
		.command = command_engine,
	},
	{
		.name = "volley_epoll",
		.summary = "this engine over kernel sockets by epoll",
		.idle_policy = "sleep",
		.nic = "epoll",
		.fds_base = 64,
		.check = check_engine,
		.command = command_engine,
	},
	{
		.name = "raw_wire",
		.summary = "frames of the same size bounced at layer 2, no TCP: the wire's limit",
		.idle_policy = "busy",
		.nic = "",
		.fds_base = 64,
		.threads_max = 1,
		.loop = true,
		.workload = "raw_wire",
		.check = check_engine,
		.command = command_engine,
	},
	LOOP_ROW("volley_inet", ",ts=0", false,
		 "this engine's own TCP/IP on a wire in memory, no timestamps"),
	{
		.name = "volley_inet_burst",
		.summary = "volley_inet with batches as large as Python's rows take",
		.idle_policy = "busy",
		.nic = ",ts=0",
		.server_nic = BATCHED,
		.fds_base = 64,
		.loop = true,
		.check = check_engine,
		.command = command_engine,
	},
	LOOP_ROW("volley_inet_ts", "", false, "the same with TCP timestamps"),
	LOOP_ROW("volley_inet_offload", ",ts=0,csum=offload", false,
		 "volley_inet with checksums left to the wire"),
	LOOP_ROW("volley_inet_forward", ",ts=0", true,
		 "volley_inet with what came moved on (vly_send_event), not sent anew"),
	{
		.name = "raw_dpdk",
		.summary = "frames bounced at layer 2 over a DPDK port (memif): that wire's limit",
		.idle_policy = "busy",
		.nic = "",
		.fds_base = 128,
		.threads_max = 1,
		.loop = true,
		.memif = true,
		.workload = "raw_wire",
		.check = check_engine,
		.command = command_engine,
	},
	{
		.name = "volley_dpdk",
		.summary = "this engine's own TCP/IP over a DPDK port (memif), no timestamps",
		.idle_policy = "busy",
		.nic = ",ts=0",
		.fds_base = 128,
		.threads_max = 1,
		.loop = true,
		.memif = true,
		.check = check_engine,
		.command = command_engine,
	},
	{
		.name = "c_epoll",
		.summary = "plain C: epoll, one recv and one send per message",
		.idle_policy = "sleep",
		.file = "volley-c_epoll",
		.any_ip4 = true,
		.fds_base = 96, /* a listener for each CPU */
		.table_per_cpu = true,
		.check = check_file,
		.command = command_baseline,
	},
	{
		.name = "c_poll",
		.summary = "plain C: poll, one recv and one send per message",
		.idle_policy = "sleep",
		.file = "volley-c_poll",
		.any_ip4 = true,
		.fds_base = 96, /* a listener for each CPU */
		.table_per_cpu = true,
		.check = check_file,
		.command = command_baseline,
	},
	{
		.name = "c_thread",
		.summary = "plain C: a thread per connection, blocking recv and send",
		.idle_policy = "sleep",
		.file = "volley-c_thread",
		.any_ip4 = true,
		.fds_base = 16,
		.thread_per_conn = true,
		.check = check_file,
		.command = command_baseline,
	},
	{
		.name = "asyncio_proto",
		.summary = "Python: asyncio Protocol, data_received to transport.write",
		.idle_policy = "sleep",
		.file = "asyncio_proto.py",
		.fds_base = 64,
		.threads_max = 1,
		.check = check_python,
		.command = command_python,
	},
	{
		.name = "uvloop_proto",
		.summary = "Python: the same Protocol on uvloop",
		.idle_policy = "sleep",
		.file = "uvloop_proto.py",
		.fds_base = 64,
		.threads_max = 1,
		.check = check_uvloop,
		.command = command_python,
	},
	PYTHON_SOCKET_ROW("volley_proto", "proto", "Python on this engine: an asyncio Protocol"),
	PYTHON_SOCKET_ROW("volley_completion", "completion",
			  "Python on this engine: data_received returns the answer"),
	PYTHON_SOCKET_ROW("volley_coro", "coro",
			  "Python on this engine: a coroutine per connection"),
	PYTHON_SOCKET_ROW("volley_batch", "batch", "Python on this engine: a loop over each batch"),
	PYTHON_SOCKET_ROW("volley_columns", "columns",
			  "Python on this engine: numpy over whole batches"),
	PYTHON_LOOP_ROW("volley_inet_proto", "proto",
			"Python over this engine's own TCP/IP: an asyncio Protocol"),
	PYTHON_LOOP_ROW("volley_inet_batch", "batch",
			"Python over this engine's own TCP/IP: a loop over each batch"),
	PYTHON_LOOP_ROW("volley_inet_columns", "columns",
			"Python over this engine's own TCP/IP: numpy over whole batches"),
};

#define VARIANTS_COUNT (sizeof(variants) / sizeof(variants[0]))

const struct variant *variant_at(size_t index)
{
	return index < VARIANTS_COUNT ? &variants[index] : NULL;
}

const struct variant *variant_find(const char *name, const char **nearest)
{
	const char *names[VARIANTS_COUNT];

	for (size_t i = 0; i < VARIANTS_COUNT; i++) {
		if (strcmp(variants[i].name, name) == 0)
			return &variants[i];
		names[i] = variants[i].name;
	}
	if (nearest)
		*nearest = suggest_nearest(name, names, VARIANTS_COUNT);
	return NULL;
}

void variant_from_exec(struct variant *variant, const char *name, const char *command)
{
	*variant = (struct variant){
		.name = name,
		.summary = "the program given with --exec",
		.idle_policy = "unknown",
		.exec = command,
		.fds_base = 64,
		.check = check_exec,
		.command = command_exec,
	};
}
