/* relay_share.c - what the cores of an engine on one port share: making and finding it */
#include "nic/inet/relay_share.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "nic/inet/eth.h"

/* Rings of all pairs together take some 32 MiB, but each has room for a burst. */
#define RINGS_BYTES ((size_t)32 << 20)
#define RING_SLOTS_MAX 1024u
#define RING_SLOTS_MIN 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vly_relay_share *shares;

/* An odd number of lines: equal offsets of consecutive slots fall into different sets. */
static uint32_t slot_bytes_for(uint32_t mtu)
{
	uint32_t bytes = (uint32_t)sizeof(struct vly_relay_slot) + VLY_ETH_BYTES + mtu;

	return VLY_ALIGN_UP(bytes, 2u * VLY_CACHE_LINE) + VLY_CACHE_LINE;
}

/* Zeros that take memory only where they are written; NULL: none. */
static void *map_zeros(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	(void)madvise(memory, bytes, MADV_DONTFORK);
	return memory;
}

static size_t have_bytes(const struct vly_relay_share *share)
{
	return (size_t)share->cores * VLY_RELAY_WHATS * VLY_RELAY_PORTS * sizeof(uint32_t);
}

static void share_free(struct vly_relay_share *share)
{
	if (share->seats[0].have[0])
		munmap(share->seats[0].have[0], have_bytes(share));
	if (share->rings)
		munmap(share->rings, share->map_bytes);
	free(share);
}

static struct vly_relay_share *share_make(const void *key, uint32_t cores, uint32_t queues,
					  const struct vly_relay_port *port)
{
	size_t bytes = sizeof(struct vly_relay_share) + cores * sizeof(struct vly_relay_seat);
	uint32_t slot_bytes = slot_bytes_for(port->mtu), rings = cores * cores + cores - queues;
	struct vly_relay_share *share =
		aligned_alloc(VLY_WRITER_GAP, VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP));

	if (!share)
		return NULL;
	memset(share, 0, bytes);
	share->key = key;
	share->cores = cores;
	share->queues = queues;
	share->port = *port;
	share->ring_slots = RING_SLOTS_MAX;
	while (share->ring_slots > RING_SLOTS_MIN &&
	       (size_t)share->ring_slots * slot_bytes * rings > RINGS_BYTES)
		share->ring_slots /= 2;
	share->ring_bytes = vly_ring_bytes(share->ring_slots, slot_bytes);
	share->map_bytes = share->ring_bytes * rings;
	share->rings = map_zeros(share->map_bytes);
	uint32_t *have = map_zeros(have_bytes(share));

	if (!share->rings || !have) {
		share->seats[0].have[0] = (_Atomic uint32_t *)have;
		share_free(share);
		return NULL;
	}
	for (uint32_t i = 0; i < rings; i++)
		vly_ring_init(share->rings + i * share->ring_bytes, share->ring_slots, slot_bytes);
	for (uint32_t i = 0; i < cores * VLY_RELAY_WHATS; i++)
		share->seats[i / VLY_RELAY_WHATS].have[i % VLY_RELAY_WHATS] =
			(_Atomic uint32_t *)(have + (size_t)i * VLY_RELAY_PORTS);
	return share;
}

struct vly_relay_share *vly_relay_share_get(const void *key, uint32_t cores, uint32_t queues,
					    const struct vly_relay_port *port)
{
	pthread_mutex_lock(&lock);
	struct vly_relay_share *share = shares;

	while (share && share->key != key)
		share = share->next;
	if (!share && port) {
		share = share_make(key, cores, queues, port);
		if (share) {
			share->next = shares;
			shares = share;
		}
	}
	if (share)
		share->refs++;
	pthread_mutex_unlock(&lock);
	return share;
}

void vly_relay_share_put(struct vly_relay_share *share)
{
	pthread_mutex_lock(&lock);
	if (--share->refs == 0) {
		struct vly_relay_share **link = &shares;

		while (*link != share)
			link = &(*link)->next;
		*link = share->next;
		share_free(share);
	}
	pthread_mutex_unlock(&lock);
}
