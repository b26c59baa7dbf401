/* harness.c - opens cores over the nic of VOLLEY_TEST_NIC, polls them, checks every event */
#include "tests/contract/harness.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

uint64_t harness_patience_s(void)
{
	const char *seconds = getenv("VOLLEY_TEST_PATIENCE");

	return seconds && *seconds ? strtoul(seconds, NULL, 10) : 40;
}

/* --- the nic under test ---------------------------------------------------------------------- */

/* {pid} in it is the process that asks: what has a name in the system is a test's own. */
const char *harness_nic(void)
{
	static char text[1024];
	const char *nic = getenv("VOLLEY_TEST_NIC"), *pid = nic ? strstr(nic, "{pid}") : NULL;
	size_t at = 0;

	if (!nic || !*nic)
		return "epoll";
	if (!pid)
		return nic;
	for (; pid && at < sizeof(text); nic = pid + 5, pid = strstr(nic, "{pid}"))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%.*s%d", (int)(pid - nic),
				       nic, (int)getpid());
	cr_assert(at + strlen(nic) < sizeof(text), "VOLLEY_TEST_NIC is too long");
	memcpy(text + at, nic, strlen(nic) + 1);
	return text;
}

void harness_need_cores(unsigned cores)
{
	const char *most = getenv("VOLLEY_TEST_CORES");

	if (most && *most && cores > strtoul(most, NULL, 10))
		cr_skip_test("%s: %s cores meet here, not %u", harness_nic(), most, cores);
}

bool harness_nic_is(const char *name)
{
	size_t len = strcspn(harness_nic(), ":");

	return strlen(name) == len && !strncmp(harness_nic(), name, len);
}

bool harness_kernel_sockets(void)
{
	return harness_nic_is("epoll") || harness_nic_is("uring") || harness_nic_is("auto");
}

/* Containers often have no IPv6 at all. */
static bool loopback6_exists(void)
{
	struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool bound;

	if (fd < 0)
		return false;
	bound = !bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	close(fd);
	return bound;
}

bool harness_family(enum vly_family family)
{
	if (family == VLY_IP4)
		return true;
	if (!harness_kernel_sockets())
		return false;
	return family == VLY_UNIX || loopback6_exists();
}

static void swallow(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

void harness_hush(void)
{
	vly_log_set(swallow, NULL, VLY_LOG_DEBUG);
}

/* --- the world ------------------------------------------------------------------------------- */

/* A loop has two sides, and each world one of its own, named after the nic under test. */
static const char *loop_nic(unsigned cores)
{
	static char text[256];
	static int loop = -1;

	if (cores > 2)
		cr_skip_test("%s is between two cores", harness_nic());
	if (loop >= 0)
		vly_loop_close(loop);
	loop = vly_loop_make(&(struct vly_loop_opts){.slots = 1024, .mtu = 4000});
	cr_assert_geq(loop, 0);
	snprintf(text, sizeof(text), "%s,fd=%d", harness_nic(), loop);
	return text;
}

void world_config(struct vly_config *config, unsigned cores)
{
	harness_need_cores(cores);
	vly_config_init(config);
	config->nic = strstr(harness_nic(), "loop,") ? loop_nic(cores) : harness_nic();
	config->cores = cores;
	config->allow_overlap = true;
	config->pin = false;
	config->idle = VLY_IDLE_SLEEP;
	config->conns_max = 64;
	config->timers_max = 64;
	config->events_max = 256;
	config->tx_bufs = 1024;
	config->tx_buf_bytes = 2048;
	config->tx_refs = 1024;
	config->tx_budget = 16384;
	config->rx_bufs = 64;
	config->rx_buf_bytes = 4096;
	config->dgram_max = 2048;
	config->hold_slots = 64;
	config->hold_bytes = 256;
	config->mail_slots = 64;
	config->mail_bytes = 56;
	config->ports_max = 8;
	config->close_timeout_ns = 30 * SEC;
	config->huge_pages = false;
	config->lock_memory = false;
}

void world_open_config(struct world *w, const struct vly_config *config)
{
	harness_need_cores(config->cores);
	memset(w, 0, sizeof(*w));
	tracks_init(&w->tracks);
	check_eq(vly_engine_open(config, &w->engine), 0);
	for (; w->cores < config->cores; w->cores++)
		check_eq(vly_core_open(w->engine, w->cores, &w->core[w->cores]), 0);
}

void world_open(struct world *w)
{
	struct vly_config config;

	world_config(&config, 2);
	world_open_config(w, &config);
}

void world_close(struct world *w)
{
	while (w->cores)
		vly_core_close(w->core[--w->cores]);
	vly_engine_close(w->engine);
	w->engine = NULL;
	tracks_fini(&w->tracks);
}

int world_poll(struct world *w, unsigned core, int64_t timeout_ns)
{
	struct vly_event *events = NULL;
	int count = vly_poll(w->core[core], &events, timeout_ns);

	cr_assert(count >= 0, "vly_poll returned %d", count);
	tracks_batch(&w->tracks, core, events, count);
	if (w->on_batch)
		w->on_batch(w, core, events, count);
	for (int i = 0; i < count; i++) {
		tracks_event(&w->tracks, core, &events[i]);
		if (events[i].kind == VLY_OPEN && (events[i].flags & VLY_ACCEPTED))
			w->accepted = events[i].conn;
		if (w->on_event)
			w->on_event(w, core, &events[i]);
	}
	return count;
}

int world_round(struct world *w)
{
	int count = 0;

	for (struct world *each = w; each; each = each->next)
		for (unsigned i = 0; i < each->cores; i++)
			count += world_poll(each, i, 0);
	if (!count)
		count = world_poll(w, (unsigned)(w->rounds % w->cores), MSEC / 5);
	w->rounds++;
	return count;
}

void world_quiet(struct world *w)
{
	uint64_t give_up = vly_now_ns() + PATIENCE_NS;
	uint64_t quiet_since = vly_now_ns();

	while (vly_now_ns() < quiet_since + 20 * MSEC) {
		if (world_round(w))
			quiet_since = vly_now_ns();
		cr_assert(vly_now_ns() < give_up, "the events never end");
	}
}

struct vly_stats world_stats(struct world *w, unsigned core)
{
	struct vly_stats stats;

	memset(&stats, 0, sizeof(stats));
	check_eq(vly_stats(w->engine, core, &stats), 0);
	return stats;
}

struct vly_addr addr_parsed(const char *text)
{
	struct vly_addr addr;

	cr_assert(vly_addr_parse(text, &addr) == 0, "%s is no address", text);
	return addr;
}

struct vly_addr world_addr(struct world *w, unsigned core)
{
	struct vly_addr addr = addr_parsed("127.0.0.1:0");

	(void)w;
	if (harness_nic_is("inet")) {
		/* Over the hub each core is a host of its own: 10.0.0.1, 10.0.0.2, ... */
		addr = addr_parsed("10.0.0.1:0");
		addr.ip4[3] = (uint8_t)(addr.ip4[3] + core);
	}
	return addr;
}

vly_conn world_listen(struct world *w, unsigned core, const struct vly_listen_opts *opts,
		      void *user)
{
	struct vly_addr any = world_addr(w, core);
	vly_conn listener = 0;

	check_eq(vly_listen(w->core[core], &any, opts, user, &listener), 0);
	cr_assert(listener != 0);
	check_eq(vly_name(w->core[core], listener, &w->addr, NULL), 0);
	return listener;
}

struct link world_link(struct world *w)
{
	struct link link = {0, 0};

	w->accepted = 0;
	check_eq(vly_connect(w->core[CLIENT], &w->addr, NULL, NULL, &link.client), 0);
	pump_until(w, w->accepted && seen(w, link.client, VLY_OPEN));
	check_eq(track_of(w, link.client)->open_status, 0);
	link.server = w->accepted;
	return link;
}

struct link world_open_link(struct world *w)
{
	world_open(w);
	world_listen(w, SERVER, NULL, NULL);
	return world_link(w);
}

void world_send(struct world *w, unsigned core, vly_conn conn, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	while (len) {
		uint32_t piece = len < 1000 ? (uint32_t)len : 1000;
		unsigned drained = seen(w, conn, VLY_DRAINED);
		int status = vly_send(w->core[core], conn, bytes, piece);

		if (status == -EAGAIN) {
			pump_until(w, seen(w, conn, VLY_DRAINED) > drained);
			continue;
		}
		check_eq(status, 0);
		bytes += piece;
		len -= piece;
	}
}

void world_send_pattern(struct world *w, unsigned core, vly_conn conn, uint64_t seed, size_t len)
{
	uint8_t *data = malloc(len);

	cr_assert_not_null(data);
	pattern_fill(data, len, seed, 0);
	world_send(w, core, conn, data, len);
	free(data);
}

struct track *track_of(struct world *w, vly_conn conn)
{
	return tracks_get(&w->tracks, conn);
}

unsigned seen(struct world *w, vly_conn conn, enum vly_kind kind)
{
	return track_of(w, conn)->count[kind];
}

uint64_t got_bytes(struct world *w, vly_conn conn)
{
	return track_of(w, conn)->bytes;
}

bool got_text(struct world *w, vly_conn conn, const char *text)
{
	struct track *track = track_of(w, conn);

	return track->bytes == strlen(text) &&
	       (!track->bytes || !memcmp(track->data, text, strlen(text)));
}

bool got_pattern(struct world *w, vly_conn conn, uint64_t seed, size_t len)
{
	struct track *track = track_of(w, conn);

	return track->bytes == len && (!len || pattern_is(track->data, len, seed, 0));
}

void world_set_user(struct world *w, unsigned core, vly_conn conn, void *user)
{
	check_eq(vly_set_user(w->core[core], conn, user), 0);
	track_of(w, conn)->user = user;
}

uint8_t pattern_byte(uint64_t seed, uint64_t offset)
{
	/* A period of 251 * 256 bytes: no buffer's size divides it. */
	return (uint8_t)(seed * 37 + offset % 251 + offset / 251);
}

void pattern_fill(void *data, size_t len, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = pattern_byte(seed, offset + i);
}

bool pattern_is(const void *data, size_t len, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)data)[i] != pattern_byte(seed, offset + i))
			return false;
	return true;
}
