/* loop_map.c - the memory of a loop wire: two sides, their queues, a ring for each pair of queues */
#include "nic/inet/loop_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define HUGE_BYTES ((uint64_t)2 << 20)
/* Low numbers are what parents hand to their children by habit, over whatever was there. */
#define FDS_FROM 32
#define SLOTS_DEFAULT 1024u
#define SLOTS_MIN 16u
#define SLOTS_MAX 65536u

/*
 * More than the longest frame has, so that the place behind a WHOLE frame is never the one right behind it; and an odd number
 * of lines: equal offsets of consecutive frames fall into different sets.
 */
static uint32_t stride_for(uint32_t mtu)
{
	return ((vly_loop_lines_of(VLY_ETH_BYTES + mtu) + 1) | 1) * VLY_CACHE_LINE;
}

uint32_t vly_loop_lines(const struct vly_loop_head *head)
{
	uint32_t lines = 1;

	while (lines < vly_loop_room(head))
		lines *= 2;
	return lines;
}

/* Of the frames of a ring. */
static uint64_t ring_bytes(const struct vly_loop_head *head)
{
	return (uint64_t)vly_loop_lines(head) * VLY_CACHE_LINE + head->stride;
}

static uint64_t seats_at(void)
{
	return VLY_ALIGN_UP(sizeof(struct vly_loop_head), (size_t)4096);
}

/* Of queues, each direction for itself: so many rings and seats there are. */
static uint64_t pairs_count(const struct vly_loop_head *head)
{
	return 2ull * head->queues[0] * head->queues[1];
}

static uint64_t rings_at(const struct vly_loop_head *head)
{
	return seats_at() + pairs_count(head) * sizeof(struct vly_loop_seat);
}

/* Frames begin on a page of their own. */
static uint64_t frames_at(const struct vly_loop_head *head)
{
	uint64_t end = rings_at(head) + pairs_count(head) * sizeof(struct vly_loop_ring);

	return VLY_ALIGN_UP(end, (uint64_t)4096);
}

static uint64_t bytes_for(const struct vly_loop_head *head)
{
	uint64_t bytes = frames_at(head) + pairs_count(head) * ring_bytes(head);

	return VLY_ALIGN_UP(bytes, HUGE_BYTES);
}

static uint64_t pair_index(const struct vly_loop_head *head, unsigned side, unsigned from,
			   unsigned to)
{
	uint64_t first = side ? (uint64_t)head->queues[0] * head->queues[1] : 0;

	return first + (uint64_t)from * head->queues[!side] + to;
}

struct vly_loop_seat *vly_loop_seat(const struct vly_loop_map *map, unsigned side, unsigned from,
				    unsigned to)
{
	return (struct vly_loop_seat *)(void *)(map->base + seats_at()) +
	       pair_index(&map->head, side, from, to);
}

struct vly_loop_ring *vly_loop_ring(const struct vly_loop_map *map, unsigned side, unsigned from,
				    unsigned to)
{
	return (struct vly_loop_ring *)(void *)(map->base + rings_at(&map->head)) +
	       pair_index(&map->head, side, from, to);
}

uint8_t *vly_loop_frames(const struct vly_loop_map *map, unsigned side, unsigned from, unsigned to)
{
	return map->base + frames_at(&map->head) +
	       pair_index(&map->head, side, from, to) * ring_bytes(&map->head);
}

/* 0: it is one of ours, and nothing in it leads outside. */
static int check_head(const struct vly_loop_head *head, uint64_t bytes)
{
	if (head->magic != VLY_LOOP_MAGIC || head->bytes != bytes)
		return -EINVAL;
	if (head->slots < SLOTS_MIN || head->slots > SLOTS_MAX)
		return -EINVAL;
	if (head->mtu < VLY_WIRE_MTU_MIN || head->mtu > VLY_WIRE_MTU_MAX ||
	    head->stride != stride_for(head->mtu))
		return -EINVAL;
	for (unsigned side = 0; side < VLY_LOOP_SIDES; side++) {
		if (!head->queues[side] || head->queues[side] > VLY_LOOP_QUEUES_MAX ||
		    head->rss[side] > VLY_LOOP_RSS_SPRAY)
			return -EINVAL;
	}
	return bytes_for(head) == bytes ? 0 : -EINVAL;
}

/* Aligned so that the kernel can use huge pages, if it has any. */
static uint8_t *map_aligned(int fd, uint64_t bytes)
{
	uint8_t *room = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	uint8_t *base = (uint8_t *)VLY_ALIGN_UP((uintptr_t)room, (uintptr_t)HUGE_BYTES);
	uint8_t *end = room + bytes + HUGE_BYTES;

	if (mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED) {
		munmap(room, bytes + HUGE_BYTES);
		return MAP_FAILED;
	}
	if (base > room)
		munmap(room, (size_t)(base - room));
	munmap(base + bytes, (size_t)(end - (base + bytes)));
	/* Each may be refused: small pages serve, too. */
	(void)madvise(base, bytes, MADV_DONTFORK);
	(void)madvise(base, bytes, MADV_POPULATE_WRITE);
	(void)madvise(base, bytes, MADV_COLLAPSE);
	return base;
}

int vly_loop_map_head(struct vly_loop_head *head, int fd)
{
	struct stat stat;

	if (fstat(fd, &stat) != 0)
		return -errno;
	if (pread(fd, head, sizeof(*head), 0) != (ssize_t)sizeof(*head))
		return -EINVAL;
	return check_head(head, (uint64_t)stat.st_size);
}

int vly_loop_map_open(struct vly_loop_map *map, int fd)
{
	struct vly_loop_head head;
	int error = vly_loop_map_head(&head, fd);

	if (error)
		return error;
	*map = (struct vly_loop_map){.head = head, .bytes = head.bytes};
	map->base = map_aligned(fd, head.bytes);
	if (map->base == MAP_FAILED) {
		map->base = NULL;
		return -errno;
	}
	return 0;
}

void vly_loop_map_close(struct vly_loop_map *map)
{
	if (map->base)
		munmap(map->base, map->bytes);
	map->base = NULL;
}

static void close_fds(const struct vly_loop_head *head)
{
	for (unsigned side = 0; side < VLY_LOOP_SIDES; side++) {
		for (unsigned queue = 0; queue < head->queues[side]; queue++) {
			if (head->fds[side][queue] >= 0)
				close(head->fds[side][queue]);
		}
	}
}

/* Takes `fd`, or the error that stands for it. */
static int move_up(int fd)
{
	if (fd < 0)
		return -errno;
	/* inherited on purpose: not F_DUPFD_CLOEXEC */
	int moved = fcntl(fd, F_DUPFD, FDS_FROM);
	int error = moved < 0 ? -errno : 0;

	close(fd);
	return error ? error : moved;
}

static int open_fds(struct vly_loop_head *head)
{
	memset(head->fds, 0xff, sizeof(head->fds));
	for (unsigned side = 0; side < VLY_LOOP_SIDES; side++) {
		for (unsigned queue = 0; queue < head->queues[side]; queue++) {
			int fd = move_up(eventfd(0, EFD_NONBLOCK));

			if (fd < 0)
				return fd;
			head->fds[side][queue] = fd;
		}
	}
	return 0;
}

/* All rings together have room for as many frames as eight of one queue have, each for a burst. */
static uint32_t slots_default(const struct vly_loop_head *head)
{
	uint32_t slots = SLOTS_DEFAULT;

	for (uint64_t pairs = pairs_count(head); pairs > 8 && slots > 64; pairs /= 2)
		slots /= 2;
	return slots;
}

int vly_loop_make(const struct vly_loop_opts *given)
{
	const struct vly_loop_opts opts = given ? *given : (struct vly_loop_opts){0};
	struct vly_loop_head head = {
		.magic = VLY_LOOP_MAGIC,
		.mtu = opts.mtu ? opts.mtu : 1500,
		.rss = {opts.rss[0], opts.rss[1]},
	};

	for (unsigned side = 0; side < VLY_LOOP_SIDES; side++) {
		if (opts.queues[side] > VLY_LOOP_QUEUES_MAX)
			return -EINVAL;
		head.queues[side] = opts.queues[side] ? opts.queues[side] : 1;
	}
	head.slots = opts.slots ? opts.slots : slots_default(&head);
	if (head.mtu > VLY_WIRE_MTU_MAX || head.slots > SLOTS_MAX)
		return -EINVAL;
	head.stride = stride_for(head.mtu);
	head.bytes = bytes_for(&head);
	int error = check_head(&head, head.bytes);

	if (error)
		return error;
	int fd = move_up(memfd_create("volley-loop", MFD_ALLOW_SEALING));

	if (fd < 0)
		return fd;
	error = open_fds(&head);
	if (!error && ftruncate(fd, (off_t)head.bytes) != 0)
		error = -errno;
	if (!error && pwrite(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		error = -EIO;
	/* Nobody can take pages away from under the other side. */
	if (!error && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		error = -errno;
	if (error) {
		close_fds(&head);
		close(fd);
		return error;
	}
	return fd;
}

void vly_loop_close(int fd)
{
	struct vly_loop_head head;

	if (pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	    check_head(&head, head.bytes) == 0)
		close_fds(&head);
	close(fd);
}
