/* ring.c - setting up an io_uring by hand: rings in our own memory where the kernel allows, no index array */
#include "nic/uring/ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Room for the kernel's ring header in front of the completion entries; 5.1 to 6.18 use less than 256 bytes. */
#define HEADER_BYTES 1024u
#define PAGE 4096u

#define BASE_FLAGS                                                                                 \
	(IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |              \
	 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG)

static size_t sqes_bytes(uint32_t sq_entries)
{
	return VLY_ALIGN_UP(sq_entries * sizeof(struct io_uring_sqe), (size_t)PAGE);
}

/* The array of indices is counted even where it is left out: one size serves both. */
static size_t rings_bytes(uint32_t sq_entries, uint32_t cq_entries)
{
	return VLY_ALIGN_UP(HEADER_BYTES + cq_entries * sizeof(struct io_uring_cqe) +
				    sq_entries * sizeof(uint32_t),
			    (size_t)PAGE);
}

size_t uring_ring_bytes(uint32_t sq_entries, uint32_t cq_entries)
{
	return sqes_bytes(sq_entries) + rings_bytes(sq_entries, cq_entries);
}

/* The kernel's heads and tails are not in the ring's own order: it tells where they lie. */
static void find_parts(struct uring_ring *ring, const struct io_uring_params *params,
		       uint8_t *rings, void *sqes)
{
	const struct io_sqring_offsets *sq = &params->sq_off;
	const struct io_cqring_offsets *cq = &params->cq_off;
	unsigned *array = (unsigned *)(void *)(rings + sq->array);

	ring->sq_khead = (unsigned *)(void *)(rings + sq->head);
	ring->sq_ktail = (unsigned *)(void *)(rings + sq->tail);
	ring->sq_kflags = (unsigned *)(void *)(rings + sq->flags);
	ring->cq_khead = (unsigned *)(void *)(rings + cq->head);
	ring->cq_ktail = (unsigned *)(void *)(rings + cq->tail);
	ring->cq_kflags = (unsigned *)(void *)(rings + cq->flags);
	ring->cqes = (struct io_uring_cqe *)(void *)(rings + cq->cqes);
	ring->sqes = sqes;
	ring->sq_entries = params->sq_entries;
	ring->sq_mask = params->sq_entries - 1;
	ring->cq_entries = params->cq_entries;
	ring->cq_mask = params->cq_entries - 1;
	/* Without the array its offset is the ring header's: writing through it would destroy the heads and tails. */
	if (params->flags & IORING_SETUP_NO_SQARRAY)
		return;
	for (uint32_t i = 0; i < params->sq_entries; i++)
		array[i] = i;
}

static int map_part(struct uring_ring *ring, unsigned part, size_t bytes, uint64_t offset)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
			 (off_t)offset);

	if (map == MAP_FAILED)
		return -errno;
	ring->maps[part] = map;
	ring->map_bytes[part] = bytes;
	madvise(map, bytes, MADV_DONTFORK);
	return 0;
}

static int map_parts(struct uring_ring *ring, const struct io_uring_params *params)
{
	size_t rings = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	size_t array = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	int error = map_part(ring, 0, VLY_MAX(rings, array), IORING_OFF_SQ_RING);

	if (!error)
		error = map_part(ring, 1, params->sq_entries * sizeof(struct io_uring_sqe),
				 IORING_OFF_SQES);
	if (!error)
		find_parts(ring, params, ring->maps[0], ring->maps[1]);
	return error;
}

static int try_setup(struct uring_ring *ring, const struct uring_ring_opts *opts, uint32_t flags)
{
	struct io_uring_params params = {.flags = BASE_FLAGS | flags,
					 .cq_entries = opts->cq_entries};
	uint8_t *rings = (uint8_t *)opts->memory + sqes_bytes(opts->sq_entries);

	if (flags & IORING_SETUP_NO_MMAP) {
		vly_uring_sq_user_addr(&params) = (uint64_t)(uintptr_t)opts->memory;
		vly_uring_cq_user_addr(&params) = (uint64_t)(uintptr_t)rings;
	}
	ring->fd = io_uring_setup(opts->sq_entries, &params);
	if (ring->fd < 0)
		return ring->fd;
	if (!(params.features & IORING_FEAT_SINGLE_MMAP) ||
	    !(params.features & IORING_FEAT_NODROP) || !(params.features & IORING_FEAT_EXT_ARG))
		return -ENOTSUP;
	if (!(flags & IORING_SETUP_NO_MMAP))
		return map_parts(ring, &params);
	ring->own_memory = true;
	find_parts(ring, &params, rings, opts->memory);
	return 0;
}

/* Spares the kernel the look-up of the ring's descriptor; a thread has 16 places for that. */
static void register_ring(struct uring_ring *ring)
{
	struct io_uring_rsrc_update place = {.offset = UINT32_MAX, .data = (uint64_t)ring->fd};

	ring->enter_fd = ring->fd;
	if (io_uring_register((unsigned)ring->fd, IORING_REGISTER_RING_FDS, &place, 1) != 1)
		return;
	ring->enter_fd = (int)place.offset;
	ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	ring->registered = true;
}

int uring_ring_open(struct uring_ring *ring, const struct uring_ring_opts *opts)
{
	uint32_t flags = opts->no_sqarray ? IORING_SETUP_NO_SQARRAY : 0;
	int error = -EINVAL;

	*ring = (struct uring_ring){.fd = -1};
	if (opts->memory) {
		error = try_setup(ring, opts, flags | IORING_SETUP_NO_MMAP);
		if (error)
			uring_ring_close(ring);
	}
	if (error)
		error = try_setup(ring, opts, flags);
	if (error) {
		uring_ring_close(ring);
		return error;
	}
	register_ring(ring);
	ring->owner = gettid();
	ring->min_wait = opts->min_wait;
	ring->wait_flags = opts->no_iowait ? IORING_ENTER_NO_IOWAIT : 0;
	return 0;
}

void uring_ring_close(struct uring_ring *ring)
{
	if (ring->registered) {
		/* Else the thread would keep the ring alive to its end. */
		struct io_uring_rsrc_update place = {.offset = (uint32_t)ring->enter_fd};

		io_uring_register((unsigned)ring->fd, IORING_UNREGISTER_RING_FDS, &place, 1);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (ring->maps[i])
			munmap(ring->maps[i], ring->map_bytes[i]);
	}
	if (ring->fd >= 0)
		close(ring->fd);
	*ring = (struct uring_ring){.fd = -1};
}

static int enter(struct uring_ring *ring, uint32_t wait_count, uint32_t flags,
		 const struct vly_uring_wait_arg *arg)
{
	/* A plain store would do: the kernel reads it in this thread's own system call. */
	__atomic_store_n(ring->sq_ktail, ring->sq_tail, __ATOMIC_RELEASE);
	uint32_t filled = uring_ring_filled(ring);
	int done;

	ring->enters++;
	if (arg) {
		union {
			const void *constant;
			sigset_t *plain;
		} pointer = {.constant = arg}; /* the prototype knows the older argument only */

		done = io_uring_enter2((unsigned)ring->enter_fd, filled, wait_count,
				       flags | ring->enter_flags | IORING_ENTER_EXT_ARG,
				       pointer.plain, sizeof(*arg));
	} else {
		done = io_uring_enter2((unsigned)ring->enter_fd, filled, wait_count,
				       flags | ring->enter_flags, NULL, 0);
	}
	return done < 0 ? done : 0;
}

int uring_ring_submit(struct uring_ring *ring)
{
	return uring_ring_filled(ring) ? enter(ring, 0, 0, NULL) : 0;
}

int uring_ring_enter(struct uring_ring *ring, const struct uring_wait *wait)
{
	uint32_t flags = IORING_ENTER_GETEVENTS | ring->wait_flags;
	int64_t timeout_ns = wait->timeout_ns;
	struct vly_uring_wait_arg arg = {.min_wait_usec = wait->min_wait_us};
	struct __kernel_timespec ts;

	if (!wait->count || (timeout_ns < 0 && !wait->min_wait_us))
		return enter(ring, wait->count, flags, NULL);
	if (wait->min_wait_us && !ring->min_wait) {
		/* Without the kernel's help the wait ends there, whether anything has come or not. */
		int64_t min_wait_ns = (int64_t)wait->min_wait_us * 1000;

		arg.min_wait_usec = 0;
		timeout_ns = timeout_ns < 0 ? min_wait_ns : VLY_MIN(timeout_ns, min_wait_ns);
	}
	/* Without an end to the wait the kernel would take the minimum for the end. */
	if (timeout_ns < 0)
		timeout_ns = 3600000000000;
	ts = (struct __kernel_timespec){.tv_sec = timeout_ns / 1000000000,
					.tv_nsec = timeout_ns % 1000000000};
	arg.ts = (uint64_t)(uintptr_t)&ts;
	return enter(ring, wait->count, flags, &arg);
}
