/* wire_device.c - wires over a device of the kernel: a tap, or an interface by a packet socket */
#include "nic/inet/wire_device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"
#include "nic/inet/wire_vnet.h"

#define RX_BUFS 256u
#define TX_BUFS 64u
#define SOCKET_BYTES (4 << 20)

#define AT_ONCE 32u /* frames that one call of a packet socket takes, or brings */

union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

/* What recvmmsg() and sendmmsg() want to be told. */
struct messages {
	struct mmsghdr headers[AT_ONCE];
	struct iovec pieces[AT_ONCE];
	union control controls[AT_ONCE];
};

struct wire {
	struct vly_wire wire;
	int fd;
	struct messages *messages; /* a packet socket; NULL: a tap */
	bool vnet;                 /* a tap that leaves checksums to the kernel */
	uint32_t buf_bytes;
	uint8_t *rx, *tx;
	uint32_t lent, taken;
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

/* What the kernel says about the checksums of a frame from a packet socket. */
static uint16_t aux_flags(struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		return aux.tp_status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID)
			       ? VLY_FRAME_CHECKED
			       : 0;
	}
	return 0;
}

static uint8_t *rx_buf(const struct wire *w, uint32_t index)
{
	return w->rx + (size_t)index * w->buf_bytes;
}

/* Up to `max` frames into the buffers behind those lent, in one call: how many; -1: none. */
static int read_messages(struct wire *w, struct vly_frame *frames, uint32_t max)
{
	struct messages *m = w->messages;

	max = VLY_MIN(max, AT_ONCE);
	for (uint32_t i = 0; i < max; i++) {
		m->pieces[i] = (struct iovec){rx_buf(w, w->lent + i), w->buf_bytes};
		m->headers[i].msg_hdr = (struct msghdr){.msg_iov = &m->pieces[i],
							.msg_iovlen = 1,
							.msg_control = &m->controls[i],
							.msg_controllen = sizeof(m->controls[i])};
	}
	int count = recvmmsg(w->fd, m->headers, max, MSG_DONTWAIT | MSG_TRUNC, NULL);

	for (int i = 0; i < count; i++)
		frames[i] = (struct vly_frame){.data = m->pieces[i].iov_base,
					       .len = m->headers[i].msg_len,
					       .flags = aux_flags(&m->headers[i].msg_hdr)};
	return count;
}

static int read_frame(struct wire *w, struct vly_frame *frame)
{
	uint8_t *data = rx_buf(w, w->lent);

	if (w->vnet)
		return vly_vnet_read(w->fd, frame, data, w->buf_bytes);
	ssize_t got = read(w->fd, data, w->buf_bytes);

	if (got < 0)
		return -1;
	*frame = (struct vly_frame){.data = data, .len = (uint32_t)got};
	return 1;
}

/* Without those that are too long: how many of `count` remain. */
static uint32_t weed(struct vly_wire *wire, struct vly_frame *frames, uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (frames[i].len > wire->mtu + VLY_ETH_BYTES)
			wire->rx_dropped++;
		else
			frames[kept++] = frames[i];
	}
	return kept;
}

static uint32_t device_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
				uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = 0;

	(void)now_ns;
	while (count < max && w->lent < RX_BUFS) {
		uint32_t room = VLY_MIN(max - count, RX_BUFS - w->lent);
		int got = w->messages ? read_messages(w, frames + count, room)
				      : read_frame(w, frames + count);

		if (got <= 0) {
			if (got < 0 && errno == EINTR)
				continue;
			/* An interface that is down, or was taken away. */
			wire->link_up = errno == EAGAIN ? wire->link_up : false;
			break;
		}
		wire->link_up = true;
		w->lent += (uint32_t)got;
		count += weed(wire, frames + count, (uint32_t)got);
		/* fewer than there was room for: it has no more */
		if (w->messages && (uint32_t)got < VLY_MIN(room, AT_ONCE))
			break;
	}
	return count;
}

static void device_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	(void)now_ns;
	wire_of(wire)->lent = 0;
}

static uint32_t device_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			       uint32_t max)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	w->taken = VLY_MIN(max, TX_BUFS);
	for (uint32_t i = 0; i < w->taken; i++)
		frames[i] = (struct vly_frame){.data = w->tx + (size_t)i * w->buf_bytes,
					       .len = wire->mtu + VLY_ETH_BYTES};
	return w->taken;
}

/* As many as go in one call: how many; -1: the first does not. */
static int write_messages(struct wire *w, const struct vly_frame *frames, uint32_t count)
{
	struct messages *m = w->messages;

	count = VLY_MIN(count, AT_ONCE);
	for (uint32_t i = 0; i < count; i++) {
		m->pieces[i] = (struct iovec){frames[i].data, frames[i].len};
		m->headers[i].msg_hdr = (struct msghdr){.msg_iov = &m->pieces[i], .msg_iovlen = 1};
	}
	return sendmmsg(w->fd, m->headers, count, MSG_DONTWAIT);
}

/* How many have gone; -1: the first has not. */
static ssize_t write_some(struct wire *w, const struct vly_frame *frames, uint32_t count)
{
	if (w->messages)
		return write_messages(w, frames, count);
	if (w->vnet)
		return vly_vnet_write(w->fd, frames, count);
	return write(w->fd, frames[0].data, frames[0].len) >= 0 ? 1 : -1;
}

static void device_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			   uint32_t count)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	assert(count <= w->taken);
	for (uint32_t i = 0; i < count;) {
		ssize_t sent = write_some(w, frames + i, count - i);

		if (sent > 0) {
			i += (uint32_t)sent;
		} else if (errno != EINTR) {
			uint32_t lost = w->vnet ? vly_vnet_pieces(frames + i, count - i) : 1;

			wire->tx_dropped += lost;
			wire->link_up = errno == EAGAIN || errno == ENOBUFS;
			i += lost;
		}
	}
	w->taken = 0;
}

static bool device_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct pollfd poller = {.fd = wire_of(wire)->fd, .events = POLLIN};

	(void)now_ns;
	return poll(&poller, 1, 0) == 1 && poller.revents & POLLIN;
}

static int device_fd(struct vly_wire *wire)
{
	return wire_of(wire)->fd;
}

/* The descriptor is level-triggered, and a send never waits. */
static bool device_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	return !tx_wanted && !device_has_work(wire, now_ns);
}

static void device_disarm(struct vly_wire *wire)
{
	(void)wire;
}

static const char *const keys[] = {"dev", "mtu", NULL};
static const char *const tap_keys[] = {"dev", "mtu", "csum", "tso", NULL};

static int parse(const struct vly_nic_spec *spec, struct vly_wire_options *options,
		 const char **dev, char *why, size_t why_bytes)
{
	*dev = vly_spec_get(spec, "dev");
	if (!*dev || !**dev || strlen(*dev) >= IFNAMSIZ) {
		snprintf(why, why_bytes, "dev=NAME of an interface is expected");
		return -EINVAL;
	}
	return vly_wire_options_parse(options, spec, why, why_bytes);
}

/*
 * A device that others made keeps what was asked of it before: the kernel would go on leaving checksums to us,
 * without a header that says so. True: where it cannot be asked, nothing was.
 */
static bool leave_nothing(int fd)
{
	(void)ioctl(fd, TUNSETOFFLOAD, 0);
	return true;
}

static int open_tap(const char *dev, unsigned queues, bool vnet)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (queues > 1)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	if (vnet)
		request.ifr_flags |= IFF_VNET_HDR;
	memcpy(request.ifr_name, dev, strlen(dev) + 1);
	if (ioctl(fd, TUNSETIFF, &request) == 0 &&
	    (vnet ? vly_vnet_setup(fd) == 0 : leave_nothing(fd)))
		return fd;
	int error = -errno;

	close(fd);
	return error;
}

static int setup_packet(int fd, const char *dev)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int one = 1, bytes = SOCKET_BYTES;

	address.sll_ifindex = (int)if_nametoindex(dev);
	if (!address.sll_ifindex ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		return -errno;
	/* Each may be refused: then we see our own frames and drop them, or lose bursts. */
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

static int open_packet(const char *dev, uint8_t mac[6])
{
	struct ifreq request = {0};
	/* protocol 0: nothing comes before bind() has named the interface */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(request.ifr_name, dev, strlen(dev) + 1);
	int error = setup_packet(fd, dev);

	if (!error && ioctl(fd, SIOCGIFHWADDR, &request) != 0)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	return fd;
}

static int tap_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		     char *why, size_t why_bytes)
{
	struct vly_wire_options options;
	const char *dev;
	int error = parse(spec, &options, &dev, why, why_bytes);

	(void)stack;
	if (error)
		return error;
	if (access("/dev/net/tun", R_OK | W_OK) != 0) {
		error = -errno;
		snprintf(why, why_bytes, "/dev/net/tun: %s", strerror(-error));
	}
	return error;
}

static int packet_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
			char *why, size_t why_bytes)
{
	struct vly_wire_options options;
	const char *dev;
	uint8_t mac[6];
	int error = parse(spec, &options, &dev, why, why_bytes);

	(void)stack;
	if (error)
		return error;
	int fd = open_packet(dev, mac);

	if (fd < 0) {
		snprintf(why, why_bytes, "dev=%s: %s", dev, strerror(-fd));
		return fd;
	}
	close(fd);
	return 0;
}

static uint32_t buf_bytes_for(uint32_t mtu)
{
	/* One byte more than fits: a longer frame is seen to be one. */
	return VLY_ALIGN_UP(mtu + VLY_ETH_BYTES + 1, (uint32_t)VLY_CACHE_LINE);
}

static size_t device_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				  const struct vly_wire_ops *const *stack)
{
	struct vly_wire_options options;

	(void)config;
	(void)stack;
	(void)vly_wire_options_parse(&options, spec, NULL, 0);
	return vly_wire_take_bytes(sizeof(struct wire)) +
	       vly_wire_take_bytes(sizeof(struct messages)) +
	       vly_wire_take_bytes((size_t)RX_BUFS * buf_bytes_for(options.mtu)) +
	       vly_wire_take_bytes((size_t)TX_BUFS * buf_bytes_for(options.mtu));
}

static void device_close(struct vly_wire *wire)
{
	close(wire_of(wire)->fd);
}

static int device_open(const struct vly_wire_setup *setup, struct vly_wire **wire, bool packet)
{
	struct vly_wire_options options;
	char why[160] = "";
	const char *dev;
	uint8_t mac[6] = {2, 0x54, 0, 0, 0, 1};
	int error = parse(setup->spec, &options, &dev, why, sizeof(why));
	int fd = error;

	if (!error)
		fd = packet ? open_packet(dev, mac) : open_tap(dev, setup->queues, options.offload);
	if (fd < 0) {
		vly_log(VLY_LOG_ERROR, "wire %s: %s", packet ? "packet" : "tap",
			why[0] ? why : strerror(-fd));
		return fd;
	}
	uint32_t buf_bytes = buf_bytes_for(options.mtu);
	struct wire *w = vly_wire_take(setup->region, sizeof(*w));
	struct messages *messages = vly_wire_take(setup->region, sizeof(*messages));
	uint8_t *rx = vly_wire_take(setup->region, (size_t)RX_BUFS * buf_bytes);
	uint8_t *tx = vly_wire_take(setup->region, (size_t)TX_BUFS * buf_bytes);

	if (!w || !messages || !rx || !tx) {
		close(fd);
		return -ENOMEM;
	}
	*w = (struct wire){
		.wire = {.ops = packet ? &vly_wire_packet : &vly_wire_tap,
			 .mtu = options.mtu,
			 .queue = setup->queue,
			 .queues = setup->queues,
			 .link_up = true},
		.fd = fd,
		.messages = packet ? messages : NULL,
		.vnet = !packet && options.offload,
		.buf_bytes = buf_bytes,
		.rx = rx,
		.tx = tx,
	};
	memcpy(w->wire.mac, mac, sizeof(mac));
	if (w->vnet)
		vly_vnet_offer(&w->wire, options.cut);
	*wire = &w->wire;
	return 0;
}

static int tap_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	return device_open(setup, wire, false);
}

static int packet_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	return device_open(setup, wire, true);
}

/* Each packet socket sees every frame. */
static int packet_queues(const struct vly_wire_setup *setup)
{
	(void)setup;
	return 1;
}

#define DEVICE_OPS                                                                                 \
	.region_bytes = device_region_bytes, .close = device_close, .rx_burst = device_rx_burst,   \
	.rx_done = device_rx_done, .tx_take = device_tx_take, .tx_send = device_tx_send,           \
	.has_work = device_has_work, .fd = device_fd, .arm = device_arm, .disarm = device_disarm

const struct vly_wire_ops vly_wire_tap = {
	.name = "tap", .keys = tap_keys, .check = tap_check, .open = tap_open, DEVICE_OPS};

const struct vly_wire_ops vly_wire_packet = {
	.name = "packet",
	.keys = keys,
	.check = packet_check,
	.queues = packet_queues,
	.open = packet_open,
	DEVICE_OPS,
};
