/* bridge.c - joins two wires, each as a nic's name says: bridge inet:impair,tap,dev=a,loss=0.01 inet:impair,tap,dev=b */
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "mempool/region.h"
#include "nic/inet/wire.h"

#define BURST 32u

/* What an end's wrappers do happens to the frames that come from there: with one at each end, each way is impaired once. */
struct end {
	struct vly_config config;
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	struct vly_region region;
	struct vly_wire *wire;
	uint64_t moved;
};

static volatile sig_atomic_t over;

static void on_signal(int number)
{
	(void)number;
	over = 1;
}

static void end_open(struct end *end, const char *name, uint64_t seed)
{
	char why[256] = "";

	end->config = (struct vly_config){.cores = 1, .nic = name};
	if (vly_spec_parse(&end->spec, name, why, sizeof(why)) ||
	    vly_wire_resolve(&end->spec, end->stack, why, sizeof(why)) ||
	    end->stack[0]->check(&end->spec, end->stack, why, sizeof(why)))
		errx(2, "%s: %s", name, why);
	struct vly_region_opts opts = {
		.size_bytes = end->stack[0]->region_bytes(&end->config, &end->spec, end->stack),
		.numa_node = -1};

	if (vly_region_open(&end->region, &opts))
		errx(1, "%s: no memory", name);
	struct vly_wire_setup setup = {
		.region = &end->region,
		.config = &end->config,
		.spec = &end->spec,
		.stack = end->stack,
		.queues = 1,
		.now_ns = vly_clock_ns(),
		.seed = seed,
	};

	if (end->stack[0]->open(&setup, &end->wire))
		errx(1, "%s: cannot be opened", name);
}

/* One burst from one end to the other. What finds no room waits no longer than in any bridge: it is dropped. */
static uint32_t move(struct end *from, struct end *to, uint64_t now_ns)
{
	struct vly_frame in[BURST], out[BURST];

	from->wire->ops->rx_done(from->wire, now_ns);
	uint32_t count = from->wire->ops->rx_burst(from->wire, now_ns, in, BURST);

	if (!count)
		return 0;
	uint32_t room = to->wire->ops->tx_take(to->wire, now_ns, out, count);

	for (uint32_t i = 0; i < room; i++) {
		memcpy(out[i].data, in[i].data, in[i].len);
		out[i].len = in[i].len;
		out[i].flags = out[i].mss = 0;
	}
	if (room)
		to->wire->ops->tx_send(to->wire, now_ns, out, room);
	from->moved += room;
	return count;
}

static uint64_t next_ns(const struct end *end)
{
	return end->wire->ops->next_ns ? end->wire->ops->next_ns(end->wire) : UINT64_MAX;
}

static void wait_for(struct end *a, struct end *b)
{
	uint64_t now_ns = vly_clock_ns(), due_ns = VLY_MIN(next_ns(a), next_ns(b));
	struct pollfd fds[2] = {{.fd = a->wire->ops->fd(a->wire), .events = POLLIN},
				{.fd = b->wire->ops->fd(b->wire), .events = POLLIN}};
	uint64_t ns = due_ns > now_ns ? VLY_MIN(due_ns - now_ns, 100000000ull) : 0;
	struct timespec timeout = {.tv_nsec = (long)ns};

	if (a->wire->ops->arm(a->wire, now_ns, false)) {
		if (b->wire->ops->arm(b->wire, now_ns, false) && ns)
			(void)ppoll(fds, 2, &timeout, NULL);
		b->wire->ops->disarm(b->wire);
	}
	a->wire->ops->disarm(a->wire);
}

int main(int argc, char **argv)
{
	static struct end a, b;
	const struct sigaction action = {.sa_handler = on_signal};

	if (argc != 3)
		errx(2, "usage: bridge NIC NIC");
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	end_open(&a, argv[1], 1);
	end_open(&b, argv[2], 2);
	printf("READY\n");
	fflush(stdout);
	while (!over) {
		uint64_t now_ns = vly_clock_ns();

		if (!(move(&a, &b, now_ns) + move(&b, &a, now_ns)))
			wait_for(&a, &b);
	}
	printf("%llu frames one way, %llu lost; %llu the other, %llu lost\n",
	       (unsigned long long)a.moved, (unsigned long long)a.wire->rx_dropped,
	       (unsigned long long)b.moved, (unsigned long long)b.wire->rx_dropped);
	a.wire->ops->close(a.wire);
	b.wire->ops->close(b.wire);
	vly_region_close(&a.region);
	vly_region_close(&b.region);
	return 0;
}
