/* wire_pcap.c - a wire around another that writes what passes into a file for tshark */
#include "nic/inet/wire_pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

#define MAGIC_NS 0xa1b23c4du
#define LINKTYPE_ETHERNET 1u
#define GATHER_BYTES ((uint32_t)256 << 10)
#define SNAP_MAX 65535u

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	int32_t zone;
	uint32_t accuracy, snap, link;
};

struct record {
	uint32_t seconds, nanoseconds;
	uint32_t kept, len;
};

struct wire {
	struct vly_wire wire;
	struct vly_wire *below;
	int fd;
	uint32_t snap;
	uint8_t *gathered;
	uint32_t used;
	uint64_t lost; /* frames that the file did not take */
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

static void write_out(struct wire *w)
{
	uint32_t done = 0;

	while (done < w->used) {
		ssize_t wrote = write(w->fd, w->gathered + done, w->used - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0) {
			w->lost++;
			break; /* a full disk stops no frame */
		}
		done += (uint32_t)wrote;
	}
	w->used = 0;
}

static void note(struct wire *w, uint64_t now_ns, const struct vly_frame *frame)
{
	struct vly_frame copy = *frame;
	struct record record = {.seconds = (uint32_t)(now_ns / 1000000000u),
				.nanoseconds = (uint32_t)(now_ns % 1000000000u),
				.kept = VLY_MIN(frame->len, w->snap),
				.len = frame->len};

	if (w->used + sizeof(record) + frame->len > GATHER_BYTES)
		write_out(w);
	memcpy(w->gathered + w->used, &record, sizeof(record));
	w->used += (uint32_t)sizeof(record);
	copy.data = w->gathered + w->used;
	memcpy(copy.data, frame->data, frame->len);
	if (frame->flags & (VLY_FRAME_COMPLETE | VLY_FRAME_CHECKED)) {
		copy.flags |= VLY_FRAME_COMPLETE;
		vly_wire_complete(&copy);
	}
	w->used += record.kept;
}

static uint32_t pcap_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = w->below->ops->rx_burst(w->below, now_ns, frames, max);

	wire->link_up = w->below->link_up;
	for (uint32_t i = 0; i < count; i++)
		note(w, now_ns, &frames[i]);
	return count;
}

static void pcap_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct vly_wire *below = wire_of(wire)->below;

	below->ops->rx_done(below, now_ns);
}

static uint32_t pcap_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->tx_take(below, now_ns, frames, max);
}

static void pcap_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			 uint32_t count)
{
	struct wire *w = wire_of(wire);

	/* Before: afterwards they are not ours to read. */
	for (uint32_t i = 0; i < count; i++)
		note(w, now_ns, &frames[i]);
	w->below->ops->tx_send(w->below, now_ns, frames, count);
	wire->link_up = w->below->link_up;
}

static bool pcap_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->has_work(below, now_ns);
}

static uint64_t pcap_next_ns(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->next_ns ? below->ops->next_ns(below) : UINT64_MAX;
}

static int pcap_fd(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->fd(below);
}

static bool pcap_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct vly_wire *below = wire_of(wire)->below;

	return below->ops->arm(below, now_ns, tx_wanted);
}

static void pcap_disarm(struct vly_wire *wire)
{
	struct vly_wire *below = wire_of(wire)->below;

	below->ops->disarm(below);
}

static const char *const keys[] = {"file", "snap", NULL};

static int pcap_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	const char *file = vly_spec_get(spec, "file");
	uint64_t snap;

	if (!file || !*file) {
		snprintf(why, why_bytes, "wire pcap needs file=PATH");
		return -EINVAL;
	}
	if (vly_spec_number(spec, "snap", SNAP_MAX, SNAP_MAX, &snap, why, why_bytes))
		return -EINVAL;
	return stack[1]->check(spec, stack + 1, why, why_bytes);
}

static size_t pcap_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				const struct vly_wire_ops *const *stack)
{
	return stack[1]->region_bytes(config, spec, stack + 1) +
	       vly_wire_take_bytes(sizeof(struct wire)) + vly_wire_take_bytes(GATHER_BYTES);
}

static void pcap_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);

	write_out(w);
	if (w->lost)
		vly_log(VLY_LOG_WARN, "wire pcap: the file took not everything");
	close(w->fd);
	w->below->ops->close(w->below);
}

static int open_file(const struct vly_wire_setup *setup)
{
	const char *file = vly_spec_get(setup->spec, "file");
	char path[VLY_SPEC_TEXT_MAX + 16];

	if (setup->queue)
		snprintf(path, sizeof(path), "%s.%u", file, setup->queue);
	else
		snprintf(path, sizeof(path), "%s", file);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd >= 0)
		return fd;
	int error = -errno;

	vly_log(VLY_LOG_ERROR, "wire pcap: %s: %s", path, strerror(-error));
	return error;
}

static int pcap_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	uint64_t snap = SNAP_MAX;
	struct vly_wire *below;
	int fd = open_file(setup);

	if (fd < 0)
		return fd;
	(void)vly_spec_number(setup->spec, "snap", SNAP_MAX, SNAP_MAX, &snap, NULL, 0);
	struct wire *w = vly_wire_take(setup->region, sizeof(*w));
	uint8_t *gathered = vly_wire_take(setup->region, GATHER_BYTES);
	int error = w && gathered ? vly_wire_open_below(setup, &below) : -ENOMEM;

	if (error) {
		close(fd);
		return error;
	}
	*w = (struct wire){.wire = *below,
			   .below = below,
			   .fd = fd,
			   .snap = (uint32_t)snap,
			   .gathered = gathered};
	w->wire.ops = &vly_wire_pcap;
	w->wire.caps &= ~(uint32_t)VLY_WIRE_TSO; /* what is written is what is on the wire */
	w->wire.rx_dropped = w->wire.tx_dropped = 0;
	struct file_header header = {.magic = MAGIC_NS,
				     .major = 2,
				     .minor = 4,
				     .snap = SNAP_MAX,
				     .link = LINKTYPE_ETHERNET};

	memcpy(gathered, &header, sizeof(header));
	w->used = sizeof(header);
	*wire = &w->wire;
	return 0;
}

const struct vly_wire_ops vly_wire_pcap = {
	.name = "pcap",
	.keys = keys,
	.wraps = true,
	.check = pcap_check,
	.region_bytes = pcap_region_bytes,
	.open = pcap_open,
	.close = pcap_close,
	.rx_burst = pcap_rx_burst,
	.rx_done = pcap_rx_done,
	.tx_take = pcap_tx_take,
	.tx_send = pcap_tx_send,
	.has_work = pcap_has_work,
	.next_ns = pcap_next_ns,
	.fd = pcap_fd,
	.arm = pcap_arm,
	.disarm = pcap_disarm,
};
