/* wire_impair.c - a wire around another that loses, doubles, delays, reorders and corrupts what comes */
#include "nic/inet/wire_impair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

#define LIMIT_DEFAULT 1024u
#define LIMIT_MAX (1u << 20)
#define BURST 32u

struct settings {
	/* of 2^32 */
	uint64_t loss, dup, corrupt, reorder;
	uint64_t delay_ns, jitter_ns, late_ns, up_ns, down_ns;
	uint64_t limit;
};

/* A frame on its way; a heap orders them by due_ns, then by the order in which they came. */
struct held {
	uint64_t due_ns, number;
	uint32_t buf; /* index */
};

struct wire {
	struct vly_wire wire;
	struct vly_wire *below;
	struct settings set;
	uint64_t random;
	uint64_t began_ns;
	uint64_t last_ns; /* due time of the last one that was not held back */
	uint64_t number;
	struct held *heap;
	uint32_t held;
	uint8_t *bufs;
	uint32_t buf_bytes;
	struct vly_frame *meta; /* of each buffer: len and flags */
	uint32_t *free;         /* a stack of buffers */
	uint32_t free_count;
	uint32_t *lent;
	uint32_t lent_count;
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

static uint64_t draw(struct wire *w)
{
	return vly_hash_u64(w->random += 0x9e3779b97f4a7c15u);
}

static bool happens(struct wire *w, uint64_t of_2_32)
{
	return of_2_32 && (uint32_t)draw(w) < of_2_32;
}

/* --- the heap --- */

static bool earlier(const struct held *a, const struct held *b)
{
	return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

static void heap_push(struct wire *w, struct held held)
{
	uint32_t at = w->held++;

	while (at && earlier(&held, &w->heap[(at - 1) / 2])) {
		w->heap[at] = w->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	w->heap[at] = held;
}

static struct held heap_pop(struct wire *w)
{
	struct held first = w->heap[0], last = w->heap[--w->held];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= w->held)
			break;
		if (child + 1 < w->held && earlier(&w->heap[child + 1], &w->heap[child]))
			child++;
		if (!earlier(&w->heap[child], &last))
			break;
		w->heap[at] = w->heap[child];
		at = child;
	}
	w->heap[at] = last;
	return first;
}

/* --- faults --- */

static void link_turn(struct wire *w, uint64_t now_ns)
{
	bool up = w->below->link_up;

	if (w->set.down_ns && w->set.up_ns)
		up = up && (now_ns - w->began_ns) % (w->set.up_ns + w->set.down_ns) < w->set.up_ns;
	w->wire.link_up = up;
}

static void corrupt(struct wire *w, uint8_t *data, struct vly_frame *meta)
{
	uint64_t bit = draw(w) % (meta->len * 8ull);

	data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	/* What the wire below had verified, it would not have. */
	if (meta->flags & VLY_FRAME_CHECKED)
		meta->flags = VLY_FRAME_BAD;
}

/* When a frame that comes now is to be seen. */
static uint64_t due(struct wire *w, uint64_t now_ns)
{
	uint64_t due_ns = now_ns + w->set.delay_ns;

	if (w->set.jitter_ns)
		due_ns += draw(w) % (w->set.jitter_ns + 1);
	if (happens(w, w->set.reorder))
		return due_ns + w->set.late_ns;
	w->last_ns = VLY_MAX(w->last_ns, due_ns);
	return w->last_ns;
}

static void hold(struct wire *w, const struct vly_frame *frame, uint64_t now_ns)
{
	if (!w->free_count || frame->len > w->buf_bytes) {
		w->wire.rx_dropped++;
		return;
	}
	uint32_t buf = w->free[--w->free_count];
	uint8_t *data = w->bufs + (size_t)buf * w->buf_bytes;

	memcpy(data, frame->data, frame->len);
	w->meta[buf] = (struct vly_frame){
		.data = data, .len = frame->len, .flags = frame->flags, .mss = frame->mss};
	if (happens(w, w->set.corrupt))
		corrupt(w, data, &w->meta[buf]);
	heap_push(w, (struct held){.due_ns = due(w, now_ns), .number = w->number++, .buf = buf});
}

static void take_from_below(struct wire *w, uint64_t now_ns)
{
	struct vly_frame frames[BURST];
	uint32_t count;

	w->below->ops->rx_done(w->below, now_ns);
	link_turn(w, now_ns);
	while ((count = w->below->ops->rx_burst(w->below, now_ns, frames, BURST))) {
		for (uint32_t i = 0; i < count; i++) {
			if (!w->wire.link_up || happens(w, w->set.loss)) {
				w->wire.rx_dropped++;
				continue;
			}
			hold(w, &frames[i], now_ns);
			if (happens(w, w->set.dup))
				hold(w, &frames[i], now_ns);
		}
		w->below->ops->rx_done(w->below, now_ns);
	}
}

static uint32_t impair_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
				uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = 0;

	take_from_below(w, now_ns);
	while (count < max && w->held && w->heap[0].due_ns <= now_ns) {
		uint32_t buf = heap_pop(w).buf;

		w->lent[w->lent_count++] = buf;
		frames[count++] = w->meta[buf];
	}
	return count;
}

static void impair_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	while (w->lent_count)
		w->free[w->free_count++] = w->lent[--w->lent_count];
	w->below->ops->rx_done(w->below, now_ns);
}

static uint32_t impair_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			       uint32_t max)
{
	struct wire *w = wire_of(wire);

	link_turn(w, now_ns);
	return w->below->ops->tx_take(w->below, now_ns, frames, max);
}

static void impair_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			   uint32_t count)
{
	struct wire *w = wire_of(wire);

	/* A link that is down takes them, and nothing comes of it. */
	if (!wire->link_up)
		wire->tx_dropped += count;
	w->below->ops->tx_send(w->below, now_ns, frames, wire->link_up ? count : 0);
}

/* --- sleeping --- */

static bool impair_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	return (w->held && w->heap[0].due_ns <= now_ns) ||
	       w->below->ops->has_work(w->below, now_ns);
}

static uint64_t impair_next_ns(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);
	uint64_t next_ns = w->below->ops->next_ns ? w->below->ops->next_ns(w->below) : UINT64_MAX;

	return w->held ? VLY_MIN(next_ns, w->heap[0].due_ns) : next_ns;
}

static int impair_fd(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->fd(below);
}

static bool impair_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);

	if (w->held && w->heap[0].due_ns <= now_ns)
		return false;
	return w->below->ops->arm(w->below, now_ns, tx_wanted);
}

static void impair_disarm(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	below->ops->disarm(below);
}

/* --- options, opening and closing --- */

static const char *const keys[] = {"loss", "dup",   "corrupt", "reorder", "delay", "jitter",
				   "late", "limit", "up",      "down",    NULL};

static int parse_share(const struct vly_nic_spec *spec, const char *key, uint64_t *share, char *why,
		       size_t why_bytes)
{
	const char *text = vly_spec_get(spec, key);
	char *end;

	*share = 0;
	if (!text)
		return 0;
	double value = strtod(text, &end);

	if (*text < '0' || *text > '9' || *end || value > 1) {
		snprintf(why, why_bytes, "%s=%s: a probability from 0 to 1 is expected", key, text);
		return -EINVAL;
	}
	*share = (uint64_t)(value * 4294967296.0);
	return 0;
}

static int parse_time(const struct vly_nic_spec *spec, const char *key, uint64_t fallback,
		      uint64_t unit_ns, uint64_t *ns, char *why, size_t why_bytes)
{
	int error = vly_spec_number(spec, key, 100000000, fallback, ns, why, why_bytes);

	*ns *= unit_ns;
	return error;
}

static int parse(struct settings *set, const struct vly_nic_spec *spec, char *why, size_t why_bytes)
{
	*set = (struct settings){0};
	if (parse_share(spec, "loss", &set->loss, why, why_bytes) ||
	    parse_share(spec, "dup", &set->dup, why, why_bytes) ||
	    parse_share(spec, "corrupt", &set->corrupt, why, why_bytes) ||
	    parse_share(spec, "reorder", &set->reorder, why, why_bytes) ||
	    parse_time(spec, "delay", 0, 1000, &set->delay_ns, why, why_bytes) ||
	    parse_time(spec, "jitter", 0, 1000, &set->jitter_ns, why, why_bytes) ||
	    parse_time(spec, "late", 200, 1000, &set->late_ns, why, why_bytes) ||
	    parse_time(spec, "up", 0, 1000000, &set->up_ns, why, why_bytes) ||
	    parse_time(spec, "down", 0, 1000000, &set->down_ns, why, why_bytes) ||
	    vly_spec_number(spec, "limit", LIMIT_MAX, LIMIT_DEFAULT, &set->limit, why, why_bytes))
		return -EINVAL;
	if (!set->limit || !set->up_ns != !set->down_ns) {
		snprintf(why, why_bytes, "impair: limit= is at least 1; up= and down= go together");
		return -EINVAL;
	}
	return 0;
}

static int impair_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
			char *why, size_t why_bytes)
{
	struct settings set;
	int error = parse(&set, spec, why, why_bytes);

	return error ? error : stack[1]->check(spec, stack + 1, why, why_bytes);
}

static uint32_t buf_bytes_for(uint32_t mtu)
{
	return VLY_ALIGN_UP(mtu + VLY_ETH_BYTES, (uint32_t)VLY_CACHE_LINE);
}

static size_t impair_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				  const struct vly_wire_ops *const *stack)
{
	struct settings set;

	(void)parse(&set, spec, NULL, 0);
	return stack[1]->region_bytes(config, spec, stack + 1) +
	       vly_wire_take_bytes(sizeof(struct wire)) +
	       vly_wire_take_bytes(set.limit * sizeof(struct held)) +
	       vly_wire_take_bytes(set.limit * sizeof(struct vly_frame)) +
	       2 * vly_wire_take_bytes(set.limit * sizeof(uint32_t)) +
	       vly_wire_take_bytes(set.limit * buf_bytes_for(vly_wire_mtu(stack, spec)));
}

static void impair_close(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	below->ops->close(below);
}

static int impair_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct settings set;
	struct vly_wire *below;
	char why[160] = "";
	int error = parse(&set, setup->spec, why, sizeof(why));

	if (error) {
		vly_log(VLY_LOG_ERROR, "wire impair: %s", why);
		return error;
	}
	error = vly_wire_open_below(setup, &below);
	if (error)
		return error;
	uint32_t buf_bytes = buf_bytes_for(below->mtu);
	struct wire *w = vly_wire_take(setup->region, sizeof(*w));
	struct held *heap = vly_wire_take(setup->region, set.limit * sizeof(*heap));
	struct vly_frame *meta = vly_wire_take(setup->region, set.limit * sizeof(*meta));
	uint32_t *free_bufs = vly_wire_take(setup->region, set.limit * sizeof(uint32_t));
	uint32_t *lent = vly_wire_take(setup->region, set.limit * sizeof(uint32_t));
	uint8_t *bufs = vly_wire_take(setup->region, set.limit * buf_bytes);

	if (!w || !heap || !meta || !free_bufs || !lent || !bufs) {
		below->ops->close(below);
		return -ENOMEM;
	}
	*w = (struct wire){
		.wire = *below,
		.below = below,
		.set = set,
		.random = setup->seed ^ (uint64_t)setup->queue << 32,
		.began_ns = setup->now_ns,
		.heap = heap,
		.bufs = bufs,
		.buf_bytes = buf_bytes,
		.meta = meta,
		.free = free_bufs,
		.free_count = (uint32_t)set.limit,
		.lent = lent,
	};
	w->wire.ops = &vly_wire_impair;
	w->wire.caps &= ~(uint32_t)VLY_WIRE_TSO; /* a frame has its own fate */
	w->wire.rx_dropped = w->wire.tx_dropped = 0;
	for (uint32_t i = 0; i < w->free_count; i++)
		w->free[i] = w->free_count - 1 - i;
	*wire = &w->wire;
	return 0;
}

const struct vly_wire_ops vly_wire_impair = {
	.name = "impair",
	.keys = keys,
	.wraps = true,
	.check = impair_check,
	.region_bytes = impair_region_bytes,
	.open = impair_open,
	.close = impair_close,
	.rx_burst = impair_rx_burst,
	.rx_done = impair_rx_done,
	.tx_take = impair_tx_take,
	.tx_send = impair_tx_send,
	.has_work = impair_has_work,
	.next_ns = impair_next_ns,
	.fd = impair_fd,
	.arm = impair_arm,
	.disarm = impair_disarm,
};
