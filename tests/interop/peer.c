/* peer.c - the engine's side of the talks with the kernel's TCP: peer NIC serve IP | peer NIC connect ADDRESS COUNT BYTES */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <volley/volley.h>

/*
 * serve: ports of IP, by what they do:
 *	7  TCP and UDP: everything comes back (TCP: bounded by what the peer reads)
 *	9  TCP: nothing is read, for 1 s; then everything, and thrown away
 *	13 TCP: 100 bytes, then the first to close
 *	15 TCP: reset as soon as a byte comes
 * connect: COUNT connections, 64 at once: each sends BYTES, awaits as many back, closes first; prints
 * "DONE <good> <bad>".
 */
#define CONNS_MAX 4096
#define TOGETHER 64

enum {
	ECHO = 7,
	DEAF = 9,
	SPEAK = 13,
	RESET = 15,
	OUT = 1, /* we connected */
};

static struct {
	uint32_t got;
	int port; /* what it does */
	int end;  /* EOF came while something was queued */
	uint8_t *kept;
	uint32_t kept_len, kept_at;
} conns[CONNS_MAX];

static struct vly_addr target;
static unsigned long todo, good, bad, under_way;
static uint32_t bytes_each;
static const char *mode;

static void catch_up(struct vly_core *core, vly_conn conn)
{
	uint32_t slot = vly_conn_slot(conn);

	while (conns[slot].kept_at < conns[slot].kept_len) {
		uint32_t piece = conns[slot].kept_len - conns[slot].kept_at;

		piece = piece < 16384 ? piece : 16384;
		if (vly_send(core, conn, conns[slot].kept + conns[slot].kept_at, piece))
			return; /* DRAINED follows */
		conns[slot].kept_at += piece;
	}
	conns[slot].kept_at = conns[slot].kept_len = 0;
	if (conns[slot].end)
		vly_close(core, conn);
	else
		vly_resume(core, conn);
}

static void send_back(struct vly_core *core, const struct vly_event *event)
{
	uint32_t slot = vly_conn_slot(event->conn);

	if (!conns[slot].kept_len && vly_send(core, event->conn, event->data, event->len) == 0)
		return;
	uint8_t *more = realloc(conns[slot].kept, conns[slot].kept_len + event->len);

	if (!more)
		errx(1, "out of memory");
	memcpy(more + conns[slot].kept_len, event->data, event->len);
	conns[slot].kept = more;
	conns[slot].kept_len += event->len;
	vly_pause(core, event->conn);
}

static void connect_more(struct vly_core *core)
{
	while (todo && under_way < TOGETHER) {
		vly_conn conn;

		if (vly_connect(core, &target, NULL, (void *)(uintptr_t)OUT, &conn))
			return;
		conns[vly_conn_slot(conn)].got = 0;
		conns[vly_conn_slot(conn)].port = OUT;
		todo--;
		under_way++;
	}
}

static void end_one(struct vly_core *core, struct vly_engine *engine, int is_good)
{
	under_way--;
	*(is_good ? &good : &bad) += 1;
	connect_more(core);
	if (!todo && !under_way) {
		printf("DONE %lu %lu\n", good, bad);
		fflush(stdout);
		vly_stop(engine);
	}
}

static void out_event(struct vly_core *core, struct vly_engine *engine,
		      const struct vly_event *event)
{
	static const uint8_t zeros[65536];
	uint32_t slot = vly_conn_slot(event->conn);

	switch (event->kind) {
	case VLY_OPEN:
		if (event->status) {
			end_one(core, engine, 0);
		} else if (!bytes_each) {
			vly_close(core, event->conn);
		} else if (vly_send(core, event->conn, zeros, bytes_each)) {
			vly_abort(core, event->conn);
		}
		break;
	case VLY_DATA:
		conns[slot].got += event->len;
		if (conns[slot].got == bytes_each)
			vly_close(core, event->conn);
		break;
	case VLY_CLOSED:
		end_one(core, engine, !event->status && conns[slot].got == bytes_each);
		break;
	default:
		break;
	}
}

static void in_open(struct vly_core *core, const struct vly_event *event)
{
	static const uint8_t hundred[100];
	uint32_t slot = vly_conn_slot(event->conn);
	vly_timer timer;

	conns[slot].port = (int)(uintptr_t)event->user;
	conns[slot].end = 0;
	conns[slot].kept_at = conns[slot].kept_len = 0;
	if (conns[slot].port == DEAF) {
		vly_pause(core, event->conn);
		if (vly_timer_start(core, 1000000000, (void *)(uintptr_t)event->conn, &timer))
			vly_abort(core, event->conn);
	} else if (conns[slot].port == SPEAK) {
		if (vly_send(core, event->conn, hundred, sizeof(hundred)))
			vly_abort(core, event->conn);
		vly_close(core, event->conn);
	}
}

static void in_event(struct vly_core *core, const struct vly_event *event)
{
	uint32_t slot = vly_conn_slot(event->conn);

	if (event->kind == VLY_OPEN) {
		in_open(core, event);
	} else if (event->kind == VLY_DATA && conns[slot].port == ECHO) {
		send_back(core, event);
	} else if (event->kind == VLY_DATA && conns[slot].port == RESET) {
		vly_abort(core, event->conn);
	} else if (event->kind == VLY_EOF) {
		conns[slot].end = 1;
		if (!conns[slot].kept_len)
			vly_close(core, event->conn);
	} else if (event->kind == VLY_DRAINED && conns[slot].port == ECHO) {
		catch_up(core, event->conn);
	} else if (event->kind == VLY_DGRAM) {
		struct vly_addr from = *vly_event_addr(event);

		(void)vly_sendto(core, event->conn, &from, event->data, event->len);
	} else if (event->kind == VLY_TIMER) {
		vly_resume(core, (vly_conn)(uintptr_t)event->user);
	}
}

static void events(struct vly_core *core, struct vly_event *events, int count, void *engine)
{
	for (struct vly_event *event = events; event < events + count; event++) {
		if (event->kind != VLY_TIMER && (uintptr_t)event->user == OUT)
			out_event(core, engine, event);
		else
			in_event(core, event);
	}
}

static int start(struct vly_core *core, void *arg, void **state)
{
	static const int ports[] = {ECHO, DEAF, SPEAK, RESET};
	struct vly_addr addr = target;
	int error = 0;
	vly_conn conn;

	(void)arg;
	*state = vly_core_engine(core);
	if (strcmp(mode, "connect") == 0) {
		connect_more(core);
	} else {
		for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]) && !error; i++) {
			addr.port = (uint16_t)ports[i];
			error = vly_listen(core, &addr, NULL, (void *)(uintptr_t)ports[i], &conn);
		}
		addr.port = ECHO;
		if (!error)
			error = vly_udp_open(core, &addr, NULL, &conn);
	}
	printf("READY\n");
	fflush(stdout);
	return error;
}

int main(int argc, char **argv)
{
	const struct vly_app app = {.start = start, .events = events};
	struct vly_config config;

	if (argc < 4 || vly_addr_parse(argv[3], &target))
		errx(2, "usage: peer NIC serve IP:0 | peer NIC connect ADDRESS COUNT BYTES");
	mode = argv[2];
	todo = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	bytes_each = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0;
	vly_config_init(&config);
	config.nic = argv[1];
	config.conns_max = CONNS_MAX;
	config.pin = false;
	config.stop_on_signals = true;
	errno = -vly_run(&config, &app, NULL);
	if (errno)
		err(1, "%s", argv[1]);
	return 0;
}
