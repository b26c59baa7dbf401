/* agenda.h - which of many things is due next: a line of those that came in order, and a heap */
#ifndef VLY_BENCH_AGENDA_H
#define VLY_BENCH_AGENDA_H

#include <stdbool.h>
#include <stdint.h>

struct agenda_entry {
	uint64_t due_ns;
	uint32_t index;
};

/*
 * What is due no earlier than everything in the line joins its end, the rest goes into the heap: evenly
 * spaced things never meet the heap, which took a load generator 17% of its time. Four children to a node:
 * half the levels of two, and they share a cache line.
 */
struct agenda {
	struct agenda_entry *entries, *line; /* owned */
	uint32_t count, size;                /* of the heap */
	uint32_t line_head, line_count, line_mask;
};

/* Room for `size` entries. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int agenda_init(struct agenda *agenda, uint32_t size);

/* Frees; a zeroed or finished one is allowed. */
void agenda_fini(struct agenda *agenda);

/* There is room: each thing is entered once. */
void agenda_push(struct agenda *agenda, uint64_t due_ns, uint32_t index);

/* Whether the line has the first; there is one. */
static inline bool agenda_line_first(const struct agenda *agenda)
{
	return agenda->line_count && (!agenda->count || agenda->line[agenda->line_head].due_ns <=
								agenda->entries[0].due_ns);
}

static inline const struct agenda_entry *agenda_top(const struct agenda *agenda)
{
	return agenda_line_first(agenda) ? &agenda->line[agenda->line_head] : &agenda->entries[0];
}

/* When the first is due; UINT64_MAX: nothing is. */
static inline uint64_t agenda_next_ns(const struct agenda *agenda)
{
	return agenda->count || agenda->line_count ? agenda_top(agenda)->due_ns : UINT64_MAX;
}

/* Which one that is. */
static inline uint32_t agenda_first(const struct agenda *agenda)
{
	return agenda_top(agenda)->index;
}

/* Takes the first out, which is there. */
uint32_t agenda_pop(struct agenda *agenda);

/* Enters the first, which is there, again for another time: a pop and a push, in one way down the heap. */
void agenda_delay(struct agenda *agenda, uint64_t due_ns);

/* Whether no entry is due before its parent, and none of the line before the one ahead. For tests. */
bool agenda_valid(const struct agenda *agenda);

#endif
