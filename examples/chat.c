/* chat.c - a line typed by one client goes to all clients of all cores: chat ADDRESS [CORES] */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <volley/volley.h>

#define CORES_MAX 16
#define CONNS_MAX 256
#define TEXT_MAX 1024
#define PIECE_MAX 56 /* the default of vly_config.mail_bytes */

struct voice {
	vly_conn conn; /* 0, which no call takes for a connection: nobody */
	uint32_t len;  /* of the line so far */
	char line[TEXT_MAX];
};

/* Cores share nothing: row i is core i's alone. By vly_conn_slot(), and by the core that mails. */
static struct voice clients[CORES_MAX][CONNS_MAX], neighbours[CORES_MAX][CORES_MAX];

/* A mail is small, so a line travels in pieces; those of one core arrive in order. */
static void mail_line(struct vly_core *core, unsigned to, const struct voice *from)
{
	for (uint32_t at = 0, len; at < from->len; at += len) {
		char piece[PIECE_MAX] = {at == 0}; /* its first byte: whether a line begins */

		len = from->len - at < PIECE_MAX - 1 ? from->len - at : PIECE_MAX - 1;
		memcpy(piece + 1, from->line + at, len);
		if (vly_mail(core, to, piece, 1 + len))
			return; /* -EAGAIN: that core is too slow, and misses this line */
	}
}

/* Better the next line than a late one: a slow reader (-EAGAIN) misses whole lines. No queue. */
static void hear(struct vly_core *core, const struct voice *row, const struct vly_event *mail)
{
	struct voice *from = &neighbours[vly_core_index(core)][mail->aux];

	from->len = mail->data[0] ? 0 : from->len;
	memcpy(from->line + from->len, mail->data + 1, mail->len - 1);
	from->len += mail->len - 1;
	for (unsigned i = 0; i < CONNS_MAX && from->line[from->len - 1] == '\n'; i++)
		vly_send(core, row[i].conn, from->line, from->len);
}

static void type(struct vly_core *core, struct voice *client, const struct vly_event *event)
{
	for (uint32_t i = 0; i < event->len; i++) {
		client->len -= client->len == TEXT_MAX; /* too long: its newline still counts */
		client->line[client->len++] = (char)event->data[i];
		if (event->data[i] != '\n')
			continue;
		for (unsigned to = 0; to < vly_engine_cores(vly_core_engine(core)); to++)
			mail_line(core, to, client); /* to ourselves, too */
		client->len = 0;
	}
}

static void events(struct vly_core *core, struct vly_event *events, int count, void *row)
{
	for (struct vly_event *event = events; event < events + count; event++) {
		struct voice *client = (struct voice *)row + vly_conn_slot(event->conn);

		if (event->kind == VLY_MAIL)
			hear(core, row, event);
		else if (event->kind == VLY_DATA)
			type(core, client, event);
		else if (event->kind == VLY_EOF)
			vly_close(core, event->conn); /* CLOSED follows */
		else if (event->kind == VLY_OPEN || event->kind == VLY_CLOSED)
			*client = (struct voice){.conn = event->kind == VLY_OPEN ? event->conn : 0};
	}
}

static int start(struct vly_core *core, void *addr, void **row)
{
	*row = clients[vly_core_index(core)];
	return vly_listen(core, addr, NULL, NULL, &(vly_conn){0});
}

int main(int argc, char **argv)
{
	const struct vly_app app = {.start = start, .events = events};
	int cores = argc > 2 ? atoi(argv[2]) : 1;
	struct vly_config config;
	struct vly_addr addr;

	if (argc < 2 || vly_addr_parse(argv[1], &addr) || cores < 1 || cores > CORES_MAX)
		errx(2, "usage: chat ADDRESS [CORES], 1..%d cores", CORES_MAX);
	vly_config_init(&config);
	config.cores = (unsigned)cores;
	config.conns_max = CONNS_MAX;
	config.allow_overlap = config.stop_on_signals = true;
	errno = -vly_run(&config, &app, &addr);
	if (errno)
		err(1, "%s", argv[1]);
	return 0;
}
