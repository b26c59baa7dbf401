/* stream.c - one bulk stream by the engine: stream NIC send ADDRESS SECONDS | stream NIC receive ADDRESS */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <volley/volley.h>

/*
 * send: as fast as it is taken, for so long, then closes. receive: one stream, to its end; prints "BYTES SECONDS", from the first
 * byte to the last. Every byte is its place in the stream, modulo 251.
 */
#define PIECE 16384u
#define PERIOD 251u

static struct vly_addr address;
static bool sends;
static uint64_t for_ns, began_ns, last_ns, count;
static uint8_t pattern[PIECE + PERIOD];

static void send_more(struct vly_core *core, vly_conn conn)
{
	while (vly_now_ns() - began_ns < for_ns) {
		if (vly_send(core, conn, pattern + count % PERIOD, PIECE))
			return; /* DRAINED follows */
		count += PIECE;
	}
	(void)vly_close(core, conn);
}

static void take(const struct vly_event *event)
{
	if (!count)
		began_ns = vly_now_ns();
	for (uint32_t done = 0; done < event->len;) {
		uint32_t part = event->len - done < PIECE ? event->len - done : PIECE;

		if (memcmp(event->data + done, pattern + count % PERIOD, part) != 0)
			errx(1, "a wrong byte near place %llu", (unsigned long long)count);
		done += part;
		count += part;
	}
	last_ns = vly_now_ns();
}

static void events(struct vly_core *core, struct vly_event *events, int n, void *engine)
{
	for (struct vly_event *event = events; event < events + n; event++) {
		switch (event->kind) {
		case VLY_OPEN:
			if (event->status)
				errx(1, "no connection: %s", strerror(-event->status));
			if (sends) {
				began_ns = vly_now_ns();
				send_more(core, event->conn);
			}
			break;
		case VLY_DRAINED:
			send_more(core, event->conn);
			break;
		case VLY_DATA:
			take(event);
			break;
		case VLY_EOF:
			(void)vly_close(core, event->conn);
			break;
		case VLY_CLOSED:
			if (!sends) {
				printf("%llu %.6f\n", (unsigned long long)count,
				       (double)(last_ns - began_ns) / 1e9);
				fflush(stdout);
			}
			vly_stop(engine);
			break;
		default:
			break;
		}
	}
}

static int start(struct vly_core *core, void *arg, void **state)
{
	vly_conn conn;
	int error;

	(void)arg;
	*state = vly_core_engine(core);
	error = sends ? vly_connect(core, &address, NULL, NULL, &conn)
		      : vly_listen(core, &address, NULL, NULL, &conn);
	printf("READY\n");
	fflush(stdout);
	return error;
}

int main(int argc, char **argv)
{
	const struct vly_app app = {.start = start, .events = events};
	struct vly_config config;

	if (argc < 4 || vly_addr_parse(argv[3], &address))
		errx(2, "usage: stream NIC send ADDRESS SECONDS | stream NIC receive ADDRESS");
	sends = strcmp(argv[2], "send") == 0;
	for_ns = argc > 4 ? (uint64_t)(atof(argv[4]) * 1e9) : 0;
	for (unsigned i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i % PERIOD);
	vly_config_init(&config);
	config.nic = argv[1];
	config.conns_max = 16;
	config.pin = false;
	config.stop_on_signals = true;
	/* as much as the kernel lets a socket have */
	config.tx_budget = 4u << 20;
	config.tx_buf_bytes = PIECE;
	config.tx_bufs = 1024;
	config.burst_bytes = 1u << 20;
	config.close_timeout_ns = 60000000000ull;
	errno = -vly_run(&config, &app, NULL);
	if (errno)
		err(1, "%s", argv[1]);
	return 0;
}
