/* agenda.h - which of many things is due next: a heap */
#ifndef VLY_BENCH_AGENDA_H
#define VLY_BENCH_AGENDA_H

#include <stdbool.h>
#include <stdint.h>

struct agenda_entry {
	uint64_t due_ns;
	uint32_t index;
};

/* Four children to a node: half the levels of two, and they share a cache line. */
struct agenda {
	struct agenda_entry *entries; /* owned */
	uint32_t count, size;
};

/* Room for `size` entries. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int agenda_init(struct agenda *agenda, uint32_t size);

/* Frees; a zeroed or finished one is allowed. */
void agenda_fini(struct agenda *agenda);

/* There is room: each thing is entered once. */
void agenda_push(struct agenda *agenda, uint64_t due_ns, uint32_t index);

/* When the first is due; UINT64_MAX: nothing is. */
static inline uint64_t agenda_next_ns(const struct agenda *agenda)
{
	return agenda->count ? agenda->entries[0].due_ns : UINT64_MAX;
}

/* Takes the first out, which is there. */
uint32_t agenda_pop(struct agenda *agenda);

/* Whether no entry is due before its parent. For tests. */
bool agenda_valid(const struct agenda *agenda);

#endif
