/* http.c - answers every GET: http ADDRESS [NIC], as in http 127.0.0.1:8080, or http 10.0.0.2:80 inet:tap,dev=tap0,ip=10.0.0.2/24 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <volley/volley.h>

#define CONNS_MAX 4096

static const char body[] = "Hello from user space.\n";

/*
 * How far each connection is in a request's end, "\r\n\r\n". A request may come in any number of pieces,
 * and several in one: HTTP/1.1 keeps the connection and allows the next to follow at once.
 */
static unsigned char matched[CONNS_MAX];

static char answer[256];
static unsigned answer_len;

/* Requests that end in these bytes. */
static unsigned count_requests(unsigned char *state, const uint8_t *data, uint32_t len)
{
	static const char end[] = "\r\n\r\n";
	unsigned count = 0;

	for (uint32_t i = 0; i < len; i++) {
		if (data[i] == (uint8_t)end[*state])
			++*state;
		else
			*state = data[i] == '\r';
		if (*state == 4) {
			*state = 0;
			count++;
		}
	}
	return count;
}

static void events(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	(void)state;
	for (struct vly_event *event = events; event < events + count; event++) {
		unsigned char *end = &matched[vly_conn_slot(event->conn)];

		if (event->kind == VLY_OPEN) {
			*end = 0;
		} else if (event->kind == VLY_EOF) {
			vly_close(core, event->conn);
		} else if (event->kind == VLY_DATA) {
			unsigned requests = count_requests(end, event->data, event->len);

			/* Whoever asks on and on without reading is not served for ever. */
			while (requests--) {
				if (vly_send(core, event->conn, answer, answer_len)) {
					vly_abort(core, event->conn);
					break;
				}
			}
		}
	}
}

static int start(struct vly_core *core, void *addr, void **state)
{
	vly_conn listener;

	(void)state;
	return vly_listen(core, addr, NULL, NULL, &listener);
}

int main(int argc, char **argv)
{
	const struct vly_app app = {.start = start, .events = events};
	struct vly_config config;
	struct vly_addr addr;

	if (argc < 2 || vly_addr_parse(argv[1], &addr))
		errx(2, "usage: http ADDRESS [NIC]");
	answer_len = (unsigned)snprintf(answer, sizeof(answer),
					"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
					"Content-Length: %zu\r\n\r\n%s",
					sizeof(body) - 1, body);
	vly_config_init(&config);
	if (argc > 2)
		config.nic = argv[2];
	config.conns_max = CONNS_MAX;
	config.pin = false;
	config.stop_on_signals = true;
	errno = -vly_run(&config, &app, &addr);
	if (errno)
		err(1, "%s", argv[1]);
	return 0;
}
