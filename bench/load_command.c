/* load_command.c - volley load: loads a server that runs already, here or elsewhere */
#include "bench/commands.h"

#include <argp.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/control_socket.h"
#include "bench/loader.h"
#include "bench/npt.h"
#include "bench/npt_server.h"
#include "bench/options.h"
#include "bench/preflight.h"
#include "bench/session.h"

#define COMMAND "load"
#define HELLO_PATIENCE_NS INT64_C(2000000000)

#define KEY_NPT 0x400
#define KEY_CONTROL 0x401

struct arguments {
	struct load_options load;
	const char *target;
	bool npt; /* the other way round: servers come to us */
	uint16_t npt_port;
	const char *control; /* where volley serve tells costs; NULL: the port above the target's */
	struct run_peer peer;
	struct session session;
};

static const char doc[] =
	"Loads a server that runs already: anything that echoes. If it was started by volley serve, its CPU cost is measured, too; otherwise those "
	"columns stay empty."
	"\v"
	"Examples:\n"
	"  volley load 192.0.2.1:7007                    a server started there by volley serve\n"
	"  volley load [2001:db8::1]:7 -c 1000 -d 30s    any echo service\n"
	"  volley load localhost:9000 --runs 5 --json out.jsonl\n"
	"  volley load localhost:9000 --rate 20k         an open loop: how long messages take at that rate\n"
	"  volley load 192.0.2.1:9000 --load-nic=inet:dpdk,port=0000:03:00.0,ip=192.0.2.2/24,ips=32,ts=0 --control=server:9001\n"
	"  volley load --npt-server                      as load generator of the Python sockets study\n\n"
	"Exit codes: 0 ok, 1 a run failed, 2 usage, 3 this machine refuses, 4 invalid data, 130 interrupted.";

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *args = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &args->load;
		break;
	case KEY_NPT:
		args->npt = true;
		args->npt_port = NPT_PORT;
		if (arg)
			args->npt_port =
				(uint16_t)option_take_number(COMMAND, "npt-server", arg, 0, 65535);
		break;
	case KEY_CONTROL:
		args->control = arg;
		break;
	case ARGP_KEY_ARG:
		if (args->target)
			usage_error(COMMAND, "'%s' is one argument too many", arg);
		args->target = arg;
		break;
	case ARGP_KEY_END:
		if (!args->target && !args->npt)
			usage_error(COMMAND, "name the server: HOST:PORT");
		if (args->target && args->npt)
			usage_error(COMMAND,
				    "--npt-server takes no HOST:PORT: servers name themselves");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {{&load_options_argp, 0, NULL, 0}, {0}};
static const struct argp_option option_table[] = {
	{"npt-server", KEY_NPT, "PORT", OPTION_ARG_OPTIONAL,
	 "serve the servers of the Python sockets study, which name load and address themselves (default port 33331)",
	 0},
	{"control", KEY_CONTROL, "HOST:PORT", 0,
	 "where volley serve tells what the server costs (default: the port above the server's)",
	 0},
	{0},
};
static const struct argp parser = {option_table, parse_option, "HOST:PORT", doc,
				   children,     NULL,         NULL};

/* "HOST:PORT" or "[HOST]:PORT" into its two parts. False: it is not that. */
static bool split_target(const char *text, char *host, size_t host_bytes, uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	char why[128];
	uint64_t number;

	if (!colon || colon == text ||
	    option_number(colon + 1, 1, 65534, &number, why, sizeof(why)) != 0)
		return false;
	size_t len = (size_t)(colon - text);
	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return false; /* IPv6 without brackets */
	}
	if (len == 0 || len >= host_bytes)
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*port = (uint16_t)number;
	return true;
}

static void resolve(const char *text, struct vly_addr *addr)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char host[256];
	uint16_t port;

	if (strncmp(text, "unix:", 5) == 0 && vly_addr_parse(text, addr) == 0)
		return;
	if (!split_target(text, host, sizeof(host), &port))
		usage_error(
			COMMAND,
			"'%s' is not HOST:PORT; write 192.0.2.1:7007, [2001:db8::1]:7007 or name:7007",
			text);
	int err = getaddrinfo(host, NULL, &hints, &found);
	if (err) {
		fprintf(stderr, "volley load: %s: %s\n", host, gai_strerror(err));
		exit(EXIT_FAILED);
	}
	memset(addr, 0, sizeof(*addr));
	addr->port = port;
	if (found->ai_family == AF_INET) {
		struct sockaddr_in name;
		memcpy(&name, found->ai_addr, sizeof(name));
		addr->family = VLY_IP4;
		memcpy(addr->ip4, &name.sin_addr, 4);
	} else {
		struct sockaddr_in6 name;
		memcpy(&name, found->ai_addr, sizeof(name));
		addr->family = VLY_IP6;
		addr->scope_id = name.sin6_scope_id;
		memcpy(addr->ip6, &name.sin6_addr, 16);
	}
	freeaddrinfo(found);
}

/* Asks volley serve, if there is one, who it is. Without it only the server's costs are unknown. */
static void join_server(struct run_peer *peer, const char *where)
{
	struct vly_addr control_addr = peer->addr;

	json_t *about = NULL;
	char why[256] = "";

	snprintf(peer->variant, sizeof(peer->variant), "external");
	snprintf(peer->idle_policy, sizeof(peer->idle_policy), "unknown");
	peer->server.control.fd = -1;
	if (where) {
		resolve(where, &control_addr);
		control_addr.port--;
	}
	int fd = control_addr.family == VLY_UNIX ? -ENOENT : control_connect(&control_addr);
	if (fd < 0) {
		fprintf(stderr,
			"volley load: no volley serve on port %u: the server's costs stay unknown\n",
			control_addr.port + 1);
		return;
	}
	struct control *control = &peer->server.control;
	control_init(control, fd);
	int err = control_hello(control, "load", NULL, 0, HELLO_PATIENCE_NS, why, sizeof(why));
	if (err == 0 && control_receive(control, &about, HELLO_PATIENCE_NS) != 1)
		snprintf(why, sizeof(why), "the server does not say who it is");
	else if (about && json_is_true(json_object_get(about, "busy")))
		snprintf(why, sizeof(why), "another load is using the server");
	if (why[0]) {
		fprintf(stderr, "volley load: %s; the server's costs stay unknown\n", why);
		control_fini(control);
	} else {
		snprintf(peer->variant, sizeof(peer->variant), "%s",
			 control_text(about, "variant", "external"));
		snprintf(peer->idle_policy, sizeof(peer->idle_policy), "%s",
			 control_text(about, "idle_policy", "unknown"));
		snprintf(peer->nic, sizeof(peer->nic), "%s", control_text(about, "nic", ""));
		peer->cpus_count = (unsigned int)control_int(about, "cpus_count", 0);
	}
	json_decref(about);
}

int command_load(int argc, char **argv)
{
	int control_fd = command_control_fd(argc, argv);

	if (control_fd >= 0)
		return loader_main(control_fd);
	struct arguments *args = calloc(1, sizeof(*args));
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	if (!args || !words) {
		fprintf(stderr, "volley " COMMAND ": out of memory\n");
		free(args);
		free(words);
		return EXIT_FAILED;
	}
	for (int i = 0; i < argc; i++)
		words[i] = argv[i];
	load_options_init(&args->load, COMMAND);
	command_parse(COMMAND, &parser, argc, argv, args);
	load_options_finish(&args->load);
	if (args->npt) {
		int npt_code = npt_server(&args->load, args->npt_port);

		free(words);
		free(args);
		return npt_code;
	}
	resolve(args->target, &args->peer.addr);
	load_shape_spread(&args->load.shape, &args->peer.addr, args->load.connections);
	struct session *session = &args->session;
	session->workload = "pingpong";
	session->options = &args->load;
	session->argc = argc;
	session->argv = words;
	session->peer = &args->peer;
	session->load_nic = args->load.shape.nic;
	session->rows_count = 1;
	struct session_row *row = &session->rows[0];
	if (preflight_load(&args->load, &args->peer.addr, row->unavailable,
			   sizeof(row->unavailable)) == 0)
		row->unavailable[0] = '\0';
	join_server(&args->peer, args->control);
	row->name = args->peer.variant;
	int code = session_run(session);
	control_fini(&args->peer.server.control);
	free(words);
	free(args);
	return code;
}
