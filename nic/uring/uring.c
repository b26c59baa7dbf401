/* uring.c - the io_uring nic: opening, polling */
#include "nic/uring/uring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/log.h"
#include "nic/uring/private.h"
#include "nic/uring/probe.h"

#define CQ_ENTRIES_MAX 65536u
#define SQ_ENTRIES_MAX 32768u
#define STREAM_GROUP 0
#define DGRAM_GROUP 1
/* Without incremental use a buffer is cut into pieces of so many bytes. */
#define CHUNK_BYTES 4096u
/* From here on zero-copy pays where the network can do it. */
#define ZC_FLOOR_BYTES 16384u
#define PAGE 4096u

/* What the nic's own options choose. */
struct choice {
	uint64_t sq_entries, cq_entries;
	uint64_t napi_us;
	uint64_t zc_bytes;
};

static uint64_t power_of_two(uint64_t n)
{
	uint64_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

static int read_choice(const struct vly_nic_spec *spec, struct choice *choice, char *why,
		       size_t why_bytes)
{
	static const char *const known[] = {"sq", "cq", "napi", "zc", NULL};
	int error = vly_spec_known(spec, known, why, why_bytes);

	if (!error)
		error = vly_spec_number(spec, "sq", SQ_ENTRIES_MAX, 0, &choice->sq_entries, why,
					why_bytes);
	if (!error)
		error = vly_spec_number(spec, "cq", CQ_ENTRIES_MAX, 0, &choice->cq_entries, why,
					why_bytes);
	if (!error)
		error = vly_spec_number(spec, "napi", 1000000, 0, &choice->napi_us, why, why_bytes);
	if (!error)
		error = vly_spec_number(spec, "zc", UINT32_MAX, ZC_FLOOR_BYTES, &choice->zc_bytes,
					why, why_bytes);
	return error;
}

static int uring_check(const struct vly_nic_spec *spec, char *why, size_t why_bytes)
{
	struct choice choice;
	int error = read_choice(spec, &choice, why, why_bytes);

	if (!error)
		error = uring_probe(why, why_bytes);
	if (!error && choice.napi_us && !uring_has(URING_NAPI)) {
		snprintf(why, why_bytes,
			 "napi=: this kernel cannot poll network cards; it takes 6.9");
		return -ENOTSUP;
	}
	return error;
}

/* --- memory ------------------------------------------------------------------------------------------------------------------- */

/* All sizes, from the config: what is taken is what was planned. */
struct sizes {
	uint32_t sq_entries, cq_entries;
	uint32_t slices;
	struct uring_group_opts streams, dgrams;
};

static void find_sizes(const struct vly_config *config, const struct vly_nic_spec *spec,
		       struct sizes *sizes)
{
	struct choice choice = {0};
	char why[128];
	bool whole = uring_has(URING_INCREMENTAL);

	if (read_choice(spec, &choice, why, sizeof(why)))
		choice = (struct choice){0};
	if (!choice.cq_entries)
		choice.cq_entries = VLY_MAX(8ull * config->events_max, 1024ull);
	if (!choice.sq_entries)
		choice.sq_entries = VLY_MAX(2ull * config->events_max, 256ull);
	choice.cq_entries = VLY_MIN(VLY_MAX(choice.cq_entries, 16ull), (uint64_t)CQ_ENTRIES_MAX);
	sizes->cq_entries = (uint32_t)power_of_two(choice.cq_entries);
	sizes->sq_entries = (uint32_t)power_of_two(
		VLY_MIN(VLY_MAX(choice.sq_entries, 4ull), choice.cq_entries));
	sizes->sq_entries = VLY_MIN(sizes->sq_entries, sizes->cq_entries);
	sizes->slices = 2 * sizes->cq_entries;
	sizes->streams = (struct uring_group_opts){
		.id = STREAM_GROUP,
		.buffers = VLY_MIN(config->rx_bufs, GROUP_ENTRIES_MAX),
		.buf_bytes = config->rx_buf_bytes,
		.chunk_bytes = whole ? 0 : VLY_MIN(CHUNK_BYTES, config->rx_buf_bytes),
	};
	sizes->dgrams = (struct uring_group_opts){
		.id = DGRAM_GROUP,
		.buffers = VLY_MAX(VLY_MIN(config->rx_bufs / 4, 64u), 1u),
		.buf_bytes = config->rx_buf_bytes,
		.chunk_bytes = DGRAM_HEAD_BYTES + config->dgram_max,
	};
}

static size_t gap(size_t bytes)
{
	return VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP);
}

static size_t tables_bytes(const struct vly_config *config, const struct sizes *sizes)
{
	return gap(config->events_max * sizeof(uint32_t)) +
	       gap(sizes->slices * sizeof(struct uring_slice));
}

/* The pages come first and their start is aligned by the region: at most one page is lost. */
static size_t pages_bytes(const struct sizes *sizes)
{
	return uring_ring_bytes(sizes->sq_entries, sizes->cq_entries) +
	       uring_group_bytes(&sizes->streams) + uring_group_bytes(&sizes->dgrams);
}

static size_t uring_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec)
{
	struct sizes sizes;

	find_sizes(config, spec, &sizes);
	return gap(sizeof(struct uring_nic)) + tables_bytes(config, &sizes) + PAGE +
	       pages_bytes(&sizes);
}

static void *take(struct vly_env *env, size_t bytes)
{
	return vly_region_take(env->region, gap(bytes), VLY_WRITER_GAP);
}

/* What the alignment of the pages leaves unused is taken behind them: the sum is the same wherever the nic's part begins. */
static size_t bytes_to_page(const struct vly_env *env)
{
	return (PAGE - env->region->used_bytes % PAGE) % PAGE;
}

static int take_tables(struct uring_nic *uring, const struct sizes *sizes)
{
	struct vly_env *env = uring->nic.env;
	const struct vly_config *config = env->config;

	uring->shown = take(env, config->events_max * sizeof(uint32_t));
	void *slices = take(env, sizes->slices * sizeof(struct uring_slice));

	if (!uring->shown || !slices)
		return -ENOMEM;
	return vly_slab_init(&uring->slices, slices, sizes->slices, sizeof(struct uring_slice),
			     offsetof(struct uring_slice, buf));
}

/* --- opening ------------------------------------------------------------------------------------------------------------------ */

/* The table of direct sockets, as large as connections can be and the limit of open files allows. */
static int open_files(struct uring_nic *uring)
{
	uint32_t conns_max = uring->nic.env->config->conns_max;
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
	struct io_uring_rsrc_register table = {.flags = IORING_RSRC_REGISTER_SPARSE};

	getrlimit(RLIMIT_NOFILE, &limit);
	if (conns_max > limit.rlim_cur)
		vly_log(VLY_LOG_WARN,
			"uring: conns_max is %u, but the limit of open files is %llu: accepting stops there; raise it (ulimit -n)",
			conns_max, (unsigned long long)limit.rlim_cur);
	uring->fixed_max = (uint32_t)VLY_MIN((uint64_t)conns_max, (uint64_t)limit.rlim_cur);
	uring->direct = uring_has(URING_DIRECT);
	if (!uring->direct)
		return 0;
	table.nr = uring->fixed_max;
	return io_uring_register((unsigned)uring->ring.fd, IORING_REGISTER_FILES2, &table,
				 sizeof(table));
}

static int open_napi(struct uring_nic *uring, uint64_t napi_us)
{
	struct vly_uring_napi napi = {.busy_poll_to = (uint32_t)napi_us, .prefer_busy_poll = 1};

	if (!napi_us)
		return 0;
	return io_uring_register((unsigned)uring->ring.fd, VLY_IORING_REGISTER_NAPI, &napi, 1);
}

static int open_rings(struct uring_nic *uring, const struct sizes *sizes,
		      const struct choice *choice, const char **part)
{
	struct vly_env *env = uring->nic.env;
	void *memory = vly_region_take(
		env->region, uring_ring_bytes(sizes->sq_entries, sizes->cq_entries), PAGE);
	struct uring_ring_opts opts = {
		.sq_entries = sizes->sq_entries,
		.cq_entries = sizes->cq_entries,
		.no_sqarray = uring_has(URING_NO_SQARRAY),
		.no_iowait = uring_has(URING_NO_IOWAIT),
		.min_wait = uring_has(URING_MIN_WAIT),
		.memory = uring_has(URING_NO_MMAP) ? memory : NULL,
	};
	int error = memory ? uring_ring_open(&uring->ring, &opts) : -ENOMEM;

	*part = "the ring";
	if (error)
		return error;
	*part = "receive buffers";
	error = uring_group_open(&uring->streams, &sizes->streams, &env->rx, env->region,
				 &uring->ring);
	if (!error)
		error = uring_group_open(&uring->dgrams, &sizes->dgrams, &env->rx, env->region,
					 &uring->ring);
	if (error)
		return error;
	*part = "the table of direct sockets";
	error = open_files(uring);
	if (error)
		return error;
	*part = "busy polling";
	return open_napi(uring, choice->napi_us);
}

static int uring_open(struct vly_env *env, const struct vly_nic_spec *spec, struct vly_nic **nic)
{
	struct uring_nic *uring = take(env, sizeof(*uring));
	struct choice choice;
	struct sizes sizes;
	const char *part = "memory";
	char why[128];
	int error = uring ? read_choice(spec, &choice, why, sizeof(why)) : -ENOMEM;

	if (error)
		return error;
	find_sizes(env->config, spec, &sizes);
	uring->nic.ops = &vly_uring_ops;
	uring->nic.env = env;
	uring->ring.fd = uring->embed_fd = uring->signal_fd = -1;
	uring->quiet_sends = uring_has(URING_QUIET_SEND);
	uring->zc_floor = uring_has(URING_SEND_ZC) && choice.zc_bytes ? (uint32_t)choice.zc_bytes
								      : UINT32_MAX;
	uring->multi_floor = 2 * (uint32_t)env->config->backlog + 64;
	uring->dgram_shape.msg_namelen = DGRAM_NAME_BYTES;
	uring->unspec.sa_family = AF_UNSPEC;
	uring_list_init(&uring->ready);
	uring_list_init(&uring->starved);
	uring_list_init(&uring->blocked);
	uring_list_init(&uring->watches);
	uring_pace_init(&uring->pace, env->config->events_max);
	error = take_tables(uring, &sizes);
	size_t lost = bytes_to_page(env);

	if (!error)
		error = open_rings(uring, &sizes, &choice, &part);
	if (!error && !take(env, PAGE - lost))
		error = -ENOMEM;
	if (!error) {
		uring_group_refill(&uring->streams, env->rx.reserve, true);
		uring_watch_wake(uring);
		*nic = &uring->nic;
		return 0;
	}
	vly_log(VLY_LOG_ERROR, "uring: %s: %s%s", part, strerror(-error),
		error == -ENOMEM   ? "; raise the limit of locked memory (ulimit -l)"
		: error == -EMFILE ? "; raise the limit of open files (ulimit -n)"
				   : "");
	uring_group_close(&uring->streams);
	uring_ring_close(&uring->ring);
	return error;
}

static void uring_close(struct vly_nic *nic)
{
	struct uring_nic *uring = uring_of(nic);

	uring_recycle(uring);
	uring_embed_close(uring);
	uring_ring_close(&uring->ring);
	uring_group_close(&uring->streams);
	uring_group_close(&uring->dgrams);
	nic->env->rx.lent_count = 0;
}

/* --- polling ------------------------------------------------------------------------------------------------------------------ */

static void uring_flush(struct vly_nic *nic, struct vly_conn_head **conns, uint32_t count)
{
	struct uring_nic *uring = uring_of(nic);

	for (uint32_t i = 0; i < count; i++) {
		struct uring_conn *conn = conn_of(conns[i]);

		if (i + 4 < count)
			vly_prefetch(conns[i + 4]->tx_head);
		switch (conn->head.type) {
		case VLY_STREAM:
			uring_stream_step(uring, conn);
			break;
		case VLY_UDP:
			uring_udp_step(uring, conn);
			break;
		default:
			uring_watch_step(uring, conn);
		}
	}
}

static void uring_alarm(struct vly_nic *nic, struct vly_conn_head *head)
{
	(void)head; /* listeners alone arm one */
	uring_of(nic)->no_files = false;
}

static bool starved_can_eat(const struct uring_nic *uring)
{
	const struct vly_rx *rx = &uring->nic.env->rx;

	return uring->starved.count &&
	       (uring->streams.free_entries || rx->lent || vly_buf_free_count(rx->pool));
}

/* Those that the kernel keeps because the queue was full are counted, too. */
static bool completions_wait(const struct uring_nic *uring)
{
	return uring_ring_tail(&uring->ring) != uring->ring.cq_head ||
	       uring_ring_flags(&uring->ring) & IORING_SQ_CQ_OVERFLOW;
}

static bool uring_has_work(struct vly_nic *nic)
{
	struct uring_nic *uring = uring_of(nic);

	return completions_wait(uring) || uring->ready.count || uring_may_adopt(uring) ||
	       vly_unlikely(starved_can_eat(uring));
}

/* Buffers and records that the last batch has left. */
static void prepare(struct uring_nic *uring)
{
	struct vly_env *env = uring->nic.env;

	if (uring->shown_seq != env->batch.seq || !env->batch.count) {
		uring->shown_seq = env->batch.seq;
		uring_recycle(uring);
		if (!env->batch.count)
			vly_rx_recycle(&env->rx);
	}
	uring_group_refill(&uring->streams, env->rx.reserve, !completions_wait(uring));
	if (vly_unlikely(uring->udp_count))
		uring_group_refill(&uring->dgrams, 0, false);
	if (vly_unlikely(uring->starved.count))
		uring_feed_starved(uring);
	if (vly_unlikely(uring->blocked.count))
		uring_unblock(uring);
}

/* At most one system call; none if nothing is to be submitted, run or waited for. */
static void enter(struct uring_nic *uring, int64_t timeout_ns)
{
	uint32_t flags = uring_ring_flags(&uring->ring);
	const struct vly_conn_table *conns = &uring->nic.env->conns;
	bool news = completions_wait(uring);
	struct uring_wait wait;

	if (!uring_ring_filled(&uring->ring) && !(flags & IORING_SQ_CQ_OVERFLOW) &&
	    (news || (timeout_ns == 0 && !(flags & IORING_SQ_TASKRUN)))) {
		uring_settle_sends(uring);
		return;
	}
	uring_pace_next(&uring->pace, timeout_ns, conns->count - conns->slab.free_count, &wait);
	if (news)
		wait = (struct uring_wait){.count = 0};
	uint32_t brought = uring_enter(uring, &wait);

	uring_pace_learn(&uring->pace, brought, uring_ring_flags(&uring->ring) & IORING_SQ_TASKRUN);
}

static void uring_poll(struct vly_nic *nic, int64_t timeout_ns)
{
	struct uring_nic *uring = uring_of(nic);
	struct vly_env *env = nic->env;

	if (vly_unlikely(uring->embed_fd >= 0))
		uring_embed_disarm(uring);
	prepare(uring);
	if (env->batch.count || uring->ready.count || uring_may_adopt(uring))
		timeout_ns = 0;
	if (vly_unlikely(uring->embed_fd >= 0) && timeout_ns && !completions_wait(uring)) {
		uring_embed_wait(uring, timeout_ns);
		timeout_ns = 0;
	}
	enter(uring, timeout_ns);
	env->batch.stamp_ns = vly_clock_ns();
	if (vly_unlikely(uring->orphans_count))
		uring_adopt(uring);
	if (uring->ready.count)
		uring_turns(uring);
	uring_reap(uring);
	if (vly_unlikely(uring->embed_fd >= 0) && !env->batch.count)
		uring_embed_arm(uring);
}

const struct vly_nic_ops vly_uring_ops = {
	.name = "uring",
	.conn_bytes = sizeof(struct uring_conn),
	.check = uring_check,
	.region_bytes = uring_region_bytes,
	.open = uring_open,
	.close = uring_close,
	.listen = uring_listen,
	.connect = uring_connect,
	.udp_open = uring_udp_open,
	.watch = uring_watch,
	.name_of = uring_name_of,
	.flush = uring_flush,
	.abort = uring_abort,
	.unlisten = uring_unlisten,
	.alarm = uring_alarm,
	.poll = uring_poll,
	.has_work = uring_has_work,
	.poll_fd = uring_poll_fd,
	.push = uring_push,
	.bell = uring_bell,
	.ring = uring_ring_bell,
	.settle = uring_settle,
	.features = uring_features,
};
