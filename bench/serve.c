/* serve.c - volley serve: one server under a supervisor, for a load generator elsewhere */
#include "bench/commands.h"

#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/control.h"
#include "bench/control_socket.h"
#include "bench/options.h"
#include "bench/own_stack.h"
#include "bench/preflight.h"
#include "bench/server.h"
#include "bench/variant.h"
#include "volley/addr.h"

#define COMMAND "serve"
#define DEFAULT_ADDR ":7007"
#define READY_TIMEOUT_NS INT64_C(15000000000)
#define HELLO_PATIENCE_NS INT64_C(2000000000)
#define TICK_MS 200

struct serving {
	struct cpus server_cpus;
	bool cpus_given, unpinned;
	uint32_t connections;
	const char *python;
	const char *addr_text, *control_text;
	const char *nic; /* instead of the row's own; NULL: that */
	const struct variant *variant;
	struct variant exec; /* of --exec, or the row with another nic */
	struct vly_addr addr;
	struct vly_addr control; /* the port below that on which load is told */
	struct server server;
	int listen_fd;         /* of control connections; -1: none */
	struct control client; /* the load generator that measures now; fd -1: nobody */
};

static atomic_int ended_by;

static void handle_signal(int number)
{
	atomic_store_explicit(&ended_by, number, memory_order_relaxed);
}

static const struct argp_option option_table[] = {
	{"exec", 'e', "COMMAND", 0, "serve with COMMAND, {port} replaced, instead of a VARIANT", 0},
	{"connections", 'c', "N", 0, "at most so many at once (default 16384)", 0},
	{"server-cpus", 'S', "LIST", 0,
	 "CPUs of the server, 0-3,8 or none (default: the first CPU allowed)", 0},
	{"python", 'y', "PATH", 0, "interpreter of the Python rows (default /usr/bin/python3)", 0},
	{"nic", 'N', "NIC", 0,
	 "serve a row of the engine over NIC: a port of one's own, inet:dpdk,port=...,ip=...; ADDR is of that nic then",
	 0},
	{"control", 'C', "ADDR", 0,
	 "tell load there what the server costs (default: the port above ADDR's; over a nic with addresses of its own, on every address of this machine)",
	 0},
	{0},
};

static const char doc[] =
	"Runs one server until Ctrl-C, on ADDR (" DEFAULT_ADDR
	" unless given), and prints READY PORT once it accepts connections. On PORT+1 it tells volley "
	"load what the server costs; whoever reaches that port can read this, and nothing else."
	"\v"
	"Examples:\n"
	"  volley serve c_epoll                       here, on port 7007 of every address\n"
	"  volley load 192.0.2.1:7007 -c 1000         there\n"
	"  volley serve volley_epoll 127.0.0.1:9000 --server-cpus 2\n"
	"  volley serve --exec './my_server {port}' :9000\n"
	"  volley serve volley_dpdk 192.0.2.1:9000 --nic=inet:dpdk,port=0000:03:00.0,ip=192.0.2.1/24,ts=0\n\n"
	"Exit codes: 0 ended by SIGTERM, 130 by Ctrl-C, 1 the server failed, 2 usage, 3 it cannot run here.";

static void parse_argument(struct serving *s, struct argp_state *state, const char *arg)
{
	const char *nearest = NULL;

	if (state->arg_num == 0 && !s->variant) {
		s->variant = variant_find(arg, &nearest);
		if (!s->variant && nearest)
			usage_error(COMMAND, "there is no variant '%s'; did you mean %s?", arg,
				    nearest);
		if (!s->variant)
			usage_error(COMMAND, "there is no variant '%s'; volley list names them",
				    arg);
		return;
	}
	if (s->addr_text)
		usage_error(COMMAND, "'%s' is one argument too many", arg);
	s->addr_text = arg;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct serving *s = state->input;

	switch (key) {
	case 'e':
		variant_from_exec(&s->exec, "exec", arg);
		s->variant = &s->exec;
		break;
	case 'c':
		s->connections = (uint32_t)option_take_number(COMMAND, "connections", arg, 1,
							      OPTION_CONNECTIONS_MAX);
		break;
	case 'S':
		s->cpus_given = true;
		option_cpus(COMMAND, "server-cpus", arg, &s->server_cpus, &s->unpinned);
		break;
	case 'y':
		s->python = arg;
		break;
	case 'N':
		s->nic = arg;
		break;
	case 'C':
		s->control_text = arg;
		break;
	case ARGP_KEY_ARG:
		parse_argument(s, state, arg);
		break;
	case ARGP_KEY_END:
		if (!s->variant)
			usage_error(COMMAND, "name a variant, or --exec; volley list names them");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp parser = {option_table, parse_option, "[VARIANT] [ADDR]", doc, NULL,
				   NULL,         NULL};

/* The row with another nic. */
static void take_nic(struct serving *s)
{
	if (!s->nic)
		return;
	if (!s->variant->nic || s->variant->workload)
		usage_error(COMMAND, "--nic belongs to the rows of this engine, volley_...");
	s->exec = *s->variant;
	s->exec.nic = s->nic;
	s->exec.loop = s->exec.memif = false;
	s->exec.idle_policy = bench_own_stack(s->nic) ? "busy" : "sleep";
	s->variant = &s->exec;
}

static void choose_control(struct serving *s)
{
	s->control = s->addr;
	if (s->nic && bench_own_stack(s->nic)) /* its addresses are none of the kernel's */
		s->control = (struct vly_addr){.family = VLY_IP4, .port = s->addr.port};
	if (!s->control_text)
		return;
	if (vly_addr_parse(s->control_text, &s->control) != 0 || s->control.family == VLY_UNIX ||
	    s->control.port < 2)
		usage_error(COMMAND, "--control: '%s' is not an address; write 192.0.2.9:7008",
			    s->control_text);
	s->control.port--;
}

static void check_arguments(struct serving *s)
{
	struct cpus allowed, load = {.count = 0};

	take_nic(s);
	if (!s->addr_text)
		s->addr_text = DEFAULT_ADDR;
	if (vly_addr_parse(s->addr_text, &s->addr) != 0 || s->addr.family == VLY_UNIX ||
	    s->addr.port == 0)
		usage_error(
			COMMAND,
			"'%s' is not an address; write 192.0.2.1:7007, [2001:db8::1]:7007 or :7007",
			s->addr_text);
	if (s->addr.port == 65535)
		usage_error(COMMAND, "port 65535 leaves none above it for control");
	choose_control(s);
	if (s->variant->any_ip4 && s->addr.family != VLY_IP4)
		usage_error(COMMAND, "%s serves IPv4 only", s->variant->name);
	if (cpus_allowed(&allowed) != 0)
		usage_error(COMMAND, "cannot read the CPU affinity: %s", strerror(errno));
	option_check_cpus(COMMAND, "server-cpus", &s->server_cpus, &allowed);
	if (!s->cpus_given)
		cpus_split(&allowed, &s->server_cpus, &load);
}

/* The address without its port, as servers are told it. */
static void host_of(const struct vly_addr *addr, char *host, size_t size_bytes)
{
	char text[VLY_ADDR_TEXT_MAX];

	vly_addr_format(addr, text, sizeof(text));
	char *colon = strrchr(text, ':');
	if (colon)
		*colon = '\0';
	char *from = text;
	if (*from == '[') {
		from++;
		from[strcspn(from, "]")] = '\0';
	}
	snprintf(host, size_bytes, "%s", from);
}

static void relay_sample(const json_t *message, void *arg)
{
	struct serving *s = arg;

	if (s->client.fd >= 0 && control_send(&s->client, json_deep_copy(message)) != 0)
		control_fini(&s->client);
}

static void accept_client(struct serving *s)
{
	struct control client;
	char why[256];

	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	control_init(&client, fd);
	if (control_hello(&client, "serve", NULL, 0, HELLO_PATIENCE_NS, why, sizeof(why)) != 0) {
		fprintf(stderr, "volley serve: %s\n", why);
		control_fini(&client);
		return;
	}
	bool busy = s->client.fd >= 0;
	json_t *about = json_pack("{s:s, s:b, s:s, s:s, s:s?, s:i}", "type", "about", "busy",
				  (int)busy, "variant", s->variant->name, "idle_policy",
				  s->variant->idle_policy, "nic", s->variant->nic, "cpus_count",
				  (int)s->server_cpus.count);
	if (control_send(&client, about) != 0 || busy) {
		control_fini(&client);
		return;
	}
	s->client = client;
}

static void handle_client(struct serving *s)
{
	json_t *message;
	int got = 0;

	while (s->client.fd >= 0 && (got = control_receive(&s->client, &message, 0)) == 1) {
		if (strcmp(control_type(message), "sample") == 0)
			server_ask_sample(&s->server,
					  strcmp(control_text(message, "id", ""), "end") == 0);
		json_decref(message);
	}
	if (s->client.fd >= 0 && got < 0 && got != -EINTR)
		control_fini(&s->client);
}

/* Until a signal, or the server's end. */
static void serve(struct serving *s)
{
	bool told = false;

	while (!atomic_load_explicit(&ended_by, memory_order_relaxed) && !s->server.failed) {
		struct pollfd ready[] = {
			{.fd = s->server.control.fd, .events = POLLIN},
			{.fd = s->listen_fd, .events = POLLIN},
			{.fd = s->client.fd, .events = POLLIN},
		};
		/* A signal between the check above and here waits for one tick. */
		(void)poll(ready, 3, TICK_MS);
		server_handle(&s->server);
		if (s->server.ready && !told) {
			printf("READY %u\n", s->addr.port);
			fflush(stdout);
			told = true;
		}
		if (ready[1].revents)
			accept_client(s);
		handle_client(s);
	}
}

static bool preflight(struct serving *s, const struct variant_setting *setting)
{
	struct vly_addr control = s->control;
	char why[512];

	control.port++;
	int err = preflight_server(s->variant, setting, why, sizeof(why));
	if (!s->nic || !bench_own_stack(s->nic))
		err = err ? err : preflight_port(&s->addr, why, sizeof(why));
	err = err ? err : preflight_port(&control, why, sizeof(why));
	if (err)
		fprintf(stderr, "volley serve: %s: %s\n", s->variant->name, why);
	return err == 0;
}

static int run(struct serving *s)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = (int)SA_RESETHAND};
	char host[VLY_ADDR_TEXT_MAX], why[512];
	struct words words = {.count = 0};

	host_of(&s->addr, host, sizeof(host));
	struct variant_setting setting = {
		.host = host,
		.port = s->addr.port,
		.cpus = &s->server_cpus,
		.connections = s->connections,
		.python = s->python,
	};
	if (!preflight(s, &setting))
		return EXIT_ENVIRONMENT;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	(void)child_adopt_orphans();
	if (s->variant->command(s->variant, &setting, &words, why, sizeof(why)) != 0) {
		fprintf(stderr, "volley serve: %s\n", why);
		return EXIT_FAILED;
	}
	s->listen_fd = control_listen(&s->control);
	if (s->listen_fd < 0)
		fprintf(stderr,
			"volley serve: no control on port %u: %s; volley load will know no server costs\n",
			s->control.port + 1, strerror(-s->listen_fd));
	if (server_start(&s->server, &words, &s->server_cpus, READY_TIMEOUT_NS, false) == 0) {
		s->server.relay = relay_sample;
		s->server.relay_arg = s;
		serve(s);
	}
	words_fini(&words);
	bool failed = s->server.failed && !atomic_load_explicit(&ended_by, memory_order_relaxed);
	if (failed)
		fprintf(stderr, "volley serve: %s: %s\n", s->variant->name, s->server.reason);
	server_stop(&s->server, NULL, 0);
	control_fini(&s->client);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	(void)child_kill_all();
	int number = atomic_load_explicit(&ended_by, memory_order_relaxed);
	if (failed)
		return EXIT_FAILED;
	return number == SIGTERM ? EXIT_OK : 128 + number;
}

int command_serve(int argc, char **argv)
{
	static struct serving serving; /* large: CPU lists */

	serving.connections = 16384;
	serving.python = "/usr/bin/python3";
	serving.listen_fd = -1;
	serving.client.fd = -1;
	serving.server.control.fd = -1;
	command_parse(COMMAND, &parser, argc, argv, &serving);
	check_arguments(&serving);
	return run(&serving);
}
