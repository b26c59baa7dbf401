/* echo.c - sends everything back: echo ADDRESS [CORES], as in echo 127.0.0.1:7777 2 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <volley/volley.h>

#define CORES_MAX 16
#define CONNS_MAX 1024
#define KEPT_MAX 16

/* What could not be sent back yet. Row i is core i's alone; vly_conn_slot() is a dense index. */
static struct client {
	struct vly_event kept[KEPT_MAX];
	unsigned first, count;
} clients[CORES_MAX][CONNS_MAX];

static int take(struct vly_core *core, const struct vly_event *event)
{
	if (event->kind == VLY_EOF)
		return vly_close(core, event->conn); /* sends all that was accepted, then FIN */
	return vly_send(core, event->conn, event->data, event->len);
}

/*
 * A send that returns -EAGAIN took nothing: the peer does not read. So we hold the event, which
 * keeps its data past this batch; pause reading, which slows the peer down; and wait for DRAINED.
 * Until it comes every send fails: nothing can overtake.
 */
static int keep(struct vly_core *core, struct client *client, struct vly_event *event)
{
	int error = client->count == KEPT_MAX ? -ENOBUFS : 0;

	if (!error && event->kind == VLY_DATA)
		error = vly_hold(core, event); /* may move the data: copy the event after it */
	if (error)
		return error;
	client->kept[client->count++] = *event;
	return vly_pause(core, event->conn); /* what this batch still brings is kept, too */
}

/* Until the next -EAGAIN, which a DRAINED follows. After CLOSED sends fail: all is let go of. */
static void catch_up(struct vly_core *core, struct client *client, vly_conn conn)
{
	for (; client->first < client->count; client->first++) {
		if (take(core, &client->kept[client->first]) == -EAGAIN)
			return;
		vly_release(core, client->kept[client->first].buf);
	}
	client->first = client->count = 0;
	vly_resume(core, conn);
}

static void events(struct vly_core *core, struct vly_event *events, int count, void *row)
{
	for (struct vly_event *event = events; event < events + count; event++) {
		struct client *client = (struct client *)row + vly_conn_slot(event->conn);

		if (event->kind == VLY_DATA || event->kind == VLY_EOF) {
			int error = client->count ? -EAGAIN : take(core, event);

			if (error == -EAGAIN && keep(core, client, event))
				vly_abort(core, event->conn); /* better a reset than a gap */
		} else if (event->kind == VLY_DRAINED || event->kind == VLY_CLOSED) {
			catch_up(core, client, event->conn);
		}
	}
}

static int start(struct vly_core *core, void *addr, void **row)
{
	*row = clients[vly_core_index(core)];
	return vly_listen(core, addr, NULL, NULL, &(vly_conn){0}); /* the kernel spreads clients */
}

int main(int argc, char **argv)
{
	const struct vly_app app = {.start = start, .events = events};
	int cores = argc > 2 ? atoi(argv[2]) : 1;
	struct vly_config config;
	struct vly_addr addr;

	if (argc < 2 || vly_addr_parse(argv[1], &addr) || cores < 1 || cores > CORES_MAX)
		errx(2, "usage: echo ADDRESS [CORES], 1..%d cores", CORES_MAX);
	vly_config_init(&config);
	config.cores = (unsigned)cores;
	config.allow_overlap = true; /* more cores than CPUs: slower, but it runs anywhere */
	config.conns_max = CONNS_MAX;
	config.burst_max = 1; /* one span of a client per batch, and for everyone ... */
	config.burst_bytes = config.hold_bytes = 16384;
	config.hold_slots = CONNS_MAX; /* ... a slice that takes it: vly_hold finds room */
	config.stop_on_signals = true;
	errno = -vly_run(&config, &app, &addr);
	if (errno)
		err(1, "%s", argv[1]);
	return 0;
}
