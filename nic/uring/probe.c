/* probe.c - trying each part of io_uring on a scratch ring; no kernel version is ever compared */
#include "nic/uring/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/uring/ring.h"

#define SQ_ENTRIES 8u
#define CQ_ENTRIES 16u
#define PAGE 4096u
#define FDS_NEEDED 10         /* open at once during the trials, and some more */
#define PATIENCE_NS 100000000 /* what should come at once may take this long on a loaded machine */

static struct vly_nic_feature features[URING_FEATURES] = {
	[URING_NO_MMAP] = {.name = "no_mmap",
			   .kernel = "6.5",
			   .worth = "rings in the core's own (huge) pages"},
	[URING_NO_SQARRAY] = {.name = "no_sqarray",
			      .kernel = "6.6",
			      .worth = "no index array beside the submission entries"},
	[URING_DIRECT] = {.name = "direct",
			  .kernel = "6.8",
			  .worth =
				  "accepted sockets without descriptors; else plain ones are used"},
	[URING_INCREMENTAL] = {.name = "incremental",
			       .kernel = "6.12",
			       .worth =
				       "one receive buffer serves many messages; else it is cut up"},
	[URING_QUIET_SEND] = {.name = "quiet_send",
			      .kernel = "6.1",
			      .worth = "half the completions: a finished send posts none"},
	[URING_SEND_ZC] = {.name = "send_zc",
			   .kernel = "6.2",
			   .worth = "large sends without a copy, where the network allows"},
	[URING_MIN_WAIT] = {.name = "min_wait",
			    .kernel = "6.12",
			    .worth = "a busy core that runs dry enters once less"},
	[URING_NO_IOWAIT] = {.name = "no_iowait",
			     .kernel = "6.15",
			     .worth = "waiting is not shown as 100% iowait"},
	[URING_NAPI] = {.name = "napi",
			.kernel = "6.9",
			.worth = "uring:napi=US polls the network card while waiting"},
	[URING_MSG_RING] = {.name = "msg_ring",
			    .kernel = "6.1",
			    .worth = "mail wakes a sleeping neighbour without a call of its own"},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool tried;
static int base_error;
static const char *base_part; /* what of the required failed */

/* --- the scratch ring --------------------------------------------------------------------------------------------------------- */

static int open_scratch(struct uring_ring *ring)
{
	struct uring_ring_opts opts = {.sq_entries = SQ_ENTRIES, .cq_entries = CQ_ENTRIES};

	return uring_ring_open(ring, &opts);
}

/* Memory is counted against a limit: a ring as large as a core's. */
static int try_size(void)
{
	struct uring_ring_opts opts = {.sq_entries = 1024, .cq_entries = 4096};
	struct uring_ring ring;
	int error = uring_ring_open(&ring, &opts);

	if (!error)
		uring_ring_close(&ring);
	return error;
}

/* Submits and takes the next completion. False: none comes. */
static bool next_cqe(struct uring_ring *ring, struct io_uring_cqe *cqe)
{
	struct uring_wait wait = {.count = 1, .timeout_ns = PATIENCE_NS};

	if (uring_ring_filled(ring) || uring_ring_tail(ring) == ring->cq_head)
		uring_ring_enter(ring, &wait);
	if (uring_ring_tail(ring) == ring->cq_head)
		return false;
	*cqe = *uring_ring_cqe(ring, ring->cq_head++);
	uring_ring_seen(ring);
	return true;
}

/* A filter may let a ring be opened and not entered. */
static int try_enter(struct uring_ring *ring)
{
	struct uring_wait wait = {.count = 1, .timeout_ns = PATIENCE_NS};
	struct io_uring_cqe cqe;

	uring_ring_sqe(ring)->opcode = IORING_OP_NOP;
	int error = uring_ring_enter(ring, &wait);

	if (error && error != -EINTR && error != -ETIME)
		return error;
	return next_cqe(ring, &cqe) ? 0 : -EIO;
}

static bool none_waits(struct uring_ring *ring)
{
	struct uring_wait wait = {.count = 0};

	uring_ring_enter(ring, &wait);
	return uring_ring_tail(ring) == ring->cq_head;
}

static void *map_pages(size_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

/* --- one trial each ----------------------------------------------------------------------------------------------------------- */

static bool try_layout(bool own_memory, bool no_sqarray)
{
	size_t bytes = uring_ring_bytes(SQ_ENTRIES, CQ_ENTRIES);
	void *memory = own_memory ? map_pages(bytes) : NULL;
	struct uring_ring_opts opts = {.sq_entries = SQ_ENTRIES,
				       .cq_entries = CQ_ENTRIES,
				       .no_sqarray = no_sqarray,
				       .memory = memory};
	struct uring_ring ring;
	struct io_uring_cqe cqe;
	bool works = false;

	if (own_memory && !memory)
		return false;
	if (uring_ring_open(&ring, &opts) == 0) {
		for (unsigned i = 0; i < 3; i++) {
			struct io_uring_sqe *sqe = uring_ring_sqe(&ring);

			sqe->opcode = IORING_OP_NOP;
			sqe->user_data = 7 + i;
			works = next_cqe(&ring, &cqe) && cqe.user_data == 7 + i;
		}
		works = works && ring.own_memory == own_memory;
		uring_ring_close(&ring);
	}
	if (memory)
		munmap(memory, bytes);
	return works;
}

static bool try_min_wait(struct uring_ring *ring)
{
	struct uring_wait wait = {.count = 2, .min_wait_us = 1, .timeout_ns = PATIENCE_NS};
	struct io_uring_cqe cqe;

	uring_ring_sqe(ring)->opcode = IORING_OP_NOP;
	if (uring_ring_submit(ring))
		return false;
	ring->min_wait = true;
	/* One of two has come: an older kernel refuses the argument. */
	int error = uring_ring_enter(ring, &wait);

	ring->min_wait = false;
	return next_cqe(ring, &cqe) && error != -EINVAL;
}

static bool try_no_iowait(struct uring_ring *ring)
{
	struct uring_wait wait = {.count = 0};

	ring->wait_flags = IORING_ENTER_NO_IOWAIT;
	int error = uring_ring_enter(ring, &wait);

	ring->wait_flags = 0;
	return error == 0;
}

static bool try_napi(struct uring_ring *ring)
{
	struct vly_uring_napi napi = {.busy_poll_to = 1};

	if (io_uring_register((unsigned)ring->fd, VLY_IORING_REGISTER_NAPI, &napi, 1))
		return false;
	return io_uring_register((unsigned)ring->fd, VLY_IORING_UNREGISTER_NAPI, &napi, 1) == 0;
}

static bool try_direct(struct uring_ring *ring, int fd)
{
	struct io_uring_cqe cqe;

	if (io_uring_register((unsigned)ring->fd, IORING_REGISTER_FILES, &fd, 1))
		return false;
	struct io_uring_sqe *sqe = uring_ring_sqe(ring);

	sqe->opcode = VLY_IORING_OP_FIXED_FD_INSTALL;
	sqe->flags = IOSQE_FIXED_FILE;
	bool works = next_cqe(ring, &cqe) && cqe.res >= 0;

	if (works)
		close(cqe.res);
	io_uring_register((unsigned)ring->fd, IORING_UNREGISTER_FILES, NULL, 0);
	return works;
}

static void fill_quiet_send(struct uring_ring *ring, int fd, const void *data, uint32_t len)
{
	struct io_uring_sqe *sqe = uring_ring_sqe(ring);

	sqe->opcode = IORING_OP_SEND;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->fd = fd;
	sqe->addr = (uint64_t)(uintptr_t)data;
	sqe->len = len;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL;
}

/* A send that is done posts nothing; one that is cut short tells how much went; one that finds no room says -EAGAIN. */
static bool try_quiet_send(struct uring_ring *ring, const int *pair)
{
	uint32_t len = 1 << 20;
	void *data = map_pages(len);
	struct io_uring_cqe cqe;

	if (!data)
		return false;
	fill_quiet_send(ring, pair[0], data, 8);
	bool works = none_waits(ring);

	fill_quiet_send(ring, pair[0], data, len);
	works = next_cqe(ring, &cqe) && works && cqe.res > 0 && cqe.res < (int)len;
	fill_quiet_send(ring, pair[0], data, len);
	works = next_cqe(ring, &cqe) && works && cqe.res == -EAGAIN;
	munmap(data, len);
	return works;
}

static void fill_recv(struct uring_ring *ring, int fd, bool multishot, uint64_t user_data)
{
	struct io_uring_sqe *sqe = uring_ring_sqe(ring);

	sqe->opcode = IORING_OP_RECV;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->fd = fd;
	sqe->ioprio = multishot ? IORING_RECV_MULTISHOT : 0;
	sqe->user_data = user_data;
}

static bool got_four(struct uring_ring *ring, uint64_t user_data, const char *text,
		     const uint8_t *at)
{
	struct io_uring_cqe cqe;

	return next_cqe(ring, &cqe) && cqe.user_data == user_data && cqe.res == 4 &&
	       cqe.flags & IORING_CQE_F_BUF_MORE && memcmp(at, text, 4) == 0;
}

/*
 * Two things beyond the registration. Completions must come in the order in which their bytes lie in the buffer: kernels before
 * 6.16 let a multishot receive overtake a single one. And what is left of the first buffer may be given anew, from its start.
 */
static bool try_order(struct uring_ring *ring, const int *first, const int *second, uint8_t *memory)
{
	struct io_uring_buf_ring *bufs = (struct io_uring_buf_ring *)(void *)memory;
	uint8_t *data = memory + PAGE;

	bufs->bufs[0].addr = (uint64_t)(uintptr_t)data;
	bufs->bufs[0].len = PAGE;
	bufs->bufs[0].bid = 0;
	__atomic_store_n(&bufs->tail, (uint16_t)1, __ATOMIC_RELEASE);
	if (write(first[1], "aaaa", 4) != 4 || write(second[1], "bbbb", 4) != 4)
		return false;
	fill_recv(ring, first[0], false, 1);
	fill_recv(ring, second[0], true, 2);
	if (!got_four(ring, 1, "aaaa", data) || !got_four(ring, 2, "bbbb", data + 4))
		return false;
	bufs->bufs[0].addr = (uint64_t)(uintptr_t)data;
	bufs->bufs[0].len = PAGE;
	return write(second[1], "cccc", 4) == 4 && got_four(ring, 2, "cccc", data);
}

static bool try_incremental(void)
{
	struct io_uring_buf_reg reg = {.ring_entries = 4, .pad = VLY_IOU_PBUF_RING_INC};
	int first[2] = {-1, -1}, second[2] = {-1, -1};
	uint8_t *memory = map_pages(2 * PAGE);
	struct uring_ring ring;
	bool works = false;

	if (!memory || open_scratch(&ring)) {
		if (memory)
			munmap(memory, 2 * PAGE);
		return false;
	}
	reg.ring_addr = (uint64_t)(uintptr_t)memory;
	if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, first) &&
	    !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, second) &&
	    !io_uring_register((unsigned)ring.fd, IORING_REGISTER_PBUF_RING, &reg, 1))
		works = try_order(&ring, first, second, memory);
	for (int i = 0; i < 2; i++) {
		if (first[i] >= 0)
			close(first[i]);
		if (second[i] >= 0)
			close(second[i]);
	}
	uring_ring_close(&ring);
	munmap(memory, 2 * PAGE);
	return works;
}

/* A datagram to nobody in particular: the socket's own address. */
static bool try_send_zc(struct uring_ring *ring)
{
	static const char text[8] = "volley";
	struct sockaddr_in self = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(self);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct io_uring_cqe sent, freed;
	bool works = false;

	if (fd >= 0 && !bind(fd, (struct sockaddr *)&self, len) &&
	    !getsockname(fd, (struct sockaddr *)&self, &len) &&
	    !connect(fd, (struct sockaddr *)&self, len)) {
		struct io_uring_sqe *sqe = uring_ring_sqe(ring);

		sqe->opcode = IORING_OP_SEND_ZC;
		sqe->ioprio = IORING_SEND_ZC_REPORT_USAGE;
		sqe->fd = fd;
		sqe->addr = (uint64_t)(uintptr_t)text;
		sqe->len = sizeof(text);
		works = next_cqe(ring, &sent) && sent.res == sizeof(text) &&
			sent.flags & IORING_CQE_F_MORE && next_cqe(ring, &freed) &&
			freed.flags & IORING_CQE_F_NOTIF;
	}
	if (fd >= 0)
		close(fd);
	return works;
}

/* The other core of a wake-up: a ring of its own thread, which waits. */
struct sleeper {
	struct uring_ring ring;
	sem_t open, told;
	bool opened, woken;
};

static void *sleep_in_ring(void *arg)
{
	struct sleeper *sleeper = arg;
	struct io_uring_cqe cqe;

	sleeper->opened = open_scratch(&sleeper->ring) == 0;
	sem_post(&sleeper->open);
	if (!sleeper->opened)
		return NULL;
	sleeper->woken = next_cqe(&sleeper->ring, &cqe) && cqe.user_data == 7;
	sem_wait(&sleeper->told);
	uring_ring_close(&sleeper->ring);
	return NULL;
}

static void fill_message(struct uring_ring *ring, int fd)
{
	struct io_uring_sqe *sqe = uring_ring_sqe(ring);

	sqe->opcode = IORING_OP_MSG_RING;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->fd = fd;
	sqe->off = 7;
}

/* A message ends the wait in another thread's ring; one to what is no ring fails. */
static bool try_msg_ring(struct uring_ring *ring, int no_ring)
{
	struct sleeper sleeper = {.woken = false};
	struct io_uring_cqe cqe;
	pthread_t thread;

	sem_init(&sleeper.open, 0, 0);
	sem_init(&sleeper.told, 0, 0);
	if (pthread_create(&thread, NULL, sleep_in_ring, &sleeper))
		return false;
	sem_wait(&sleeper.open);
	if (sleeper.opened) {
		fill_message(ring, sleeper.ring.fd);
		uring_ring_submit(ring);
	}
	sem_post(&sleeper.told);
	pthread_join(thread, NULL);
	fill_message(ring, no_ring);
	return next_cqe(ring, &cqe) && cqe.res < 0 && sleeper.woken;
}

/* --- all of them -------------------------------------------------------------------------------------------------------------- */

/* A list of names in the environment switches off what they name. */
static void switch_off(void)
{
	const char *list = getenv("VOLLEY_URING_OFF");
	char copy[256];
	char *rest = NULL;

	if (!list)
		return;
	snprintf(copy, sizeof(copy), "%s", list);
	for (char *name = strtok_r(copy, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
		unsigned i = 0;

		while (i < URING_FEATURES && strcmp(features[i].name, name) != 0)
			i++;
		if (i < URING_FEATURES)
			features[i].used = false;
		else
			vly_log(VLY_LOG_WARN, "VOLLEY_URING_OFF: there is no \"%s\"", name);
	}
}

static void try_all(struct uring_ring *ring, const int *pair)
{
	features[URING_NO_MMAP].present = try_layout(true, false);
	features[URING_NO_SQARRAY].present = try_layout(false, true);
	features[URING_DIRECT].present = try_direct(ring, pair[0]);
	features[URING_INCREMENTAL].present = try_incremental();
	features[URING_MIN_WAIT].present = try_min_wait(ring);
	features[URING_NO_IOWAIT].present = try_no_iowait(ring);
	features[URING_NAPI].present = try_napi(ring);
	features[URING_SEND_ZC].present = try_send_zc(ring);
	features[URING_MSG_RING].present = try_msg_ring(ring, pair[0]);
	/* Last: it leaves the pair full. */
	features[URING_QUIET_SEND].present = try_quiet_send(ring, pair);
	for (unsigned i = 0; i < URING_FEATURES; i++)
		features[i].used = features[i].present;
}

static void require(int error, const char *part)
{
	if (error && !base_error) {
		base_error = error;
		base_part = part;
	}
}

/* Whether as many descriptors are to be had as the trials need: else what is there would look as if it were not. */
static int try_descriptors(void)
{
	int fds[FDS_NEEDED];
	unsigned count = 0;
	int error = 0;

	while (count < FDS_NEEDED && !error) {
		fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		error = fds[count] < 0 ? -errno : 0;
		count += !error;
	}
	while (count > 0)
		close(fds[--count]);
	return error;
}

static void try_on_ring(struct uring_ring *ring)
{
	struct io_uring_buf_reg reg = {.ring_entries = 4};
	uint8_t *memory = map_pages(PAGE);
	int pair[2];

	require(memory ? 0 : -ENOMEM, "memory");
	if (!memory)
		return;
	reg.ring_addr = (uint64_t)(uintptr_t)memory;
	require(io_uring_register((unsigned)ring->fd, IORING_REGISTER_PBUF_RING, &reg, 1),
		"a ring of receive buffers");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		require(-errno, "a socket");
	} else {
		if (!base_error)
			try_all(ring, pair);
		close(pair[0]);
		close(pair[1]);
	}
	io_uring_register((unsigned)ring->fd, IORING_UNREGISTER_PBUF_RING, &reg, 1);
	munmap(memory, PAGE);
}

/* Lacking descriptors or memory passes: it is not remembered. */
static bool passes(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

static void probe_once(void)
{
	struct uring_ring ring;

	pthread_mutex_lock(&lock);
	if (!tried) {
		base_error = 0;
		require(try_descriptors(), "descriptors");
		if (!base_error)
			require(try_size(), "io_uring_setup");
		if (!base_error)
			require(open_scratch(&ring), "io_uring_setup");
		if (!base_error) {
			require(try_enter(&ring), "io_uring_enter");
			if (!base_error)
				try_on_ring(&ring);
			uring_ring_close(&ring);
			switch_off();
		}
		tried = !passes(base_error);
	}
	pthread_mutex_unlock(&lock);
}

/* kernel.io_uring_disabled: 1 asks for privilege, 2 refuses everybody. */
static int read_sysctl(void)
{
	char text[8] = "";
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '0';
		close(fd);
	}
	return text[0] >= '1' ? text[0] - '0' : 0;
}

static void explain(char *why, size_t why_bytes)
{
	const char *mend = "";
	char sysctl[96];

	switch (base_error) {
	case -EPERM:
		if (read_sysctl()) {
			snprintf(
				sysctl, sizeof(sysctl),
				": kernel.io_uring_disabled is %d; sysctl kernel.io_uring_disabled=0",
				read_sysctl());
			mend = sysctl;
			break;
		}
		mend = ": a seccomp filter, as containers have; allow io_uring_setup, _enter and _register";
		break;
	case -ENOSYS:
		mend = ": this kernel, or a seccomp filter, has no io_uring; a kernel from 6.1 on has";
		break;
	case -EINVAL:
		mend = ": a kernel before 6.1";
		break;
	case -ENOMEM:
		mend = ": raise the limit of locked memory (ulimit -l)";
		break;
	case -EMFILE:
		mend = ": raise the limit of open files (ulimit -n)";
		break;
	default:
		break;
	}
	snprintf(why, why_bytes, "%s: %s%s", base_part, strerror(-base_error), mend);
}

int uring_probe(char *why, size_t why_bytes)
{
	probe_once();
	if (!base_error)
		return 0;
	explain(why, why_bytes);
	return base_error == -EMFILE || base_error == -ENOMEM ? base_error : -ENOTSUP;
}

const struct vly_nic_feature *uring_features(unsigned *count)
{
	probe_once();
	*count = URING_FEATURES;
	return features;
}

bool uring_has(enum uring_feature feature)
{
	probe_once();
	return features[feature].used;
}
