/* control.c - consumers in C of the same source: what Python is compared with */
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "pyshim/link.h"
#include "pyshim/meter.h"

/*
 * usage: volley-control null|echo SPEC METER
 * Polls the source that SPEC describes, as the module does, counts the messages and sums the first 8 bytes
 * of each; "echo" also sends each back. Prints READY, ends on SIGTERM with TOTAL MESSAGES SUM.
 */
#define SLICE_NS INT64_C(20000000)

static atomic_bool stopped;

struct control {
	struct link *link;
	struct meter *meter;
	bool echo;
	uint64_t messages, sum;
};

static void on_signal(int number)
{
	(void)number;
	atomic_store_explicit(&stopped, true, memory_order_relaxed);
}

static void take(struct control *control, const struct vly_event *event)
{
	uint64_t first = 0;

	memcpy(&first, event->data, event->len < sizeof(first) ? event->len : sizeof(first));
	control->messages++;
	control->sum += first;
	if (control->echo &&
	    control->link->ops->send(control->link, event->conn, event->data, event->len))
		control->link->ops->abort(control->link, event->conn);
}

static int serve(struct control *control)
{
	struct vly_event *events;
	int count = 0;

	while (count >= 0 && !atomic_load_explicit(&stopped, memory_order_relaxed)) {
		count = control->link->ops->poll(control->link, &events, SLICE_NS);
		uint64_t began_ns = vly_now_ns();

		for (int i = 0; i < count; i++)
			if (events[i].kind == VLY_DATA)
				take(control, &events[i]);
		if (count > 0)
			meter_batch(control->meter, events, count, began_ns, vly_now_ns());
	}
	return count;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct control control = {0};
	struct vly_config config;
	vly_conn listener;
	char why[256] = "";

	if (argc != 4 || (strcmp(argv[1], "null") != 0 && strcmp(argv[1], "echo") != 0)) {
		fprintf(stderr, "usage: volley-control null|echo SPEC METER\n");
		return 2;
	}
	control.echo = strcmp(argv[1], "echo") == 0;
	vly_config_init(&config);
	config.events_max = 65536;
	config.conns_max = 1u << 24;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	int error = meter_open(argv[3], &control.meter);

	if (!error)
		error = link_open_source(argv[2], &config, why, sizeof(why), &control.link);
	if (error) {
		fprintf(stderr, "%s\n", why[0] ? why : strerror(-error));
		return 1;
	}
	error = control.link->ops->listen(control.link, NULL, NULL, &control, &listener);
	printf("READY 1\n");
	fflush(stdout);
	error = error ? error : serve(&control);
	control.link->ops->close(control.link);
	meter_close(control.meter);
	printf("TOTAL %" PRIu64 " %" PRIu64 "\n", control.messages, control.sum);
	return error ? 1 : 0;
}
